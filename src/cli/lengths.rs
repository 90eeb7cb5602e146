//! How long something is to take, as a flag tells it: so short that a moment so long from now can always be told.

use std::time::Duration;

use crate::api::AwsProfile;

/// Nobody waits for longer.
const DAY: Duration = Duration::from_hours(24);

/// A day at most.
pub(super) fn length(text: &str) -> Result<Duration, String> {
    let length = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if length <= DAY { Ok(length) } else { Err("must be at most 24h".to_owned()) }
}

/// For how long credentials of AWS may be used, within the bounds that the configuration has for it.
pub(super) fn lifetime(text: &str) -> Result<Duration, String> {
    match length(text)? {
        Duration::ZERO => Err("must be longer than 0s".to_owned()),
        length if length > AwsProfile::LONGEST_LIFETIME => Err("must be at most 12h".to_owned()),
        length => Ok(length),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn nothing_takes_longer_than_a_day() {
        assert_eq!(length("0s"), Ok(Duration::ZERO));
        assert_eq!(length("1d"), Ok(DAY));
        assert_eq!(length("1m 30s"), Ok(Duration::from_secs(90)));
        for bad in ["1d 1ns", "500000000000y", "99999999999999999999y", "-1s", "", "frob"] {
            assert!(length(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn credentials_live_for_some_time_and_no_more_than_twelve_hours() {
        assert_eq!(lifetime("12h"), Ok(AwsProfile::LONGEST_LIFETIME));
        assert_eq!(lifetime("1s"), Ok(Duration::from_secs(1)));
        for bad in ["0s", "12h 1s", "1d", "500000000000y"] {
            assert!(lifetime(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_flag_that_tells_a_length_is_bounded() {
        for line in [
            "exec --wait LENGTH -- true",
            "exec --watch restart --grace LENGTH -- true",
            "exec --watch restart --jitter LENGTH -- true",
            "env --wait LENGTH",
            "render -t a -o b --wait LENGTH",
            "render -t a -o b --watch --jitter LENGTH",
            "render -t a -o b --on-change c --on-change-timeout LENGTH",
            "wait --timeout LENGTH",
            "aws-credentials v/a v/b --lifetime LENGTH",
        ] {
            let parse = |length: &str| {
                let line = line.replace("LENGTH", length);
                crate::cli::Cli::try_parse_from(std::iter::once("sidekey").chain(line.split(' '))).map(drop)
            };
            assert!(parse("12h").is_ok(), "{line}");
            assert!(parse("500000000000y").unwrap_err().to_string().contains("must be at most"), "{line}");
        }
    }
}
