//! Times as a person says them.

use std::time::Duration;

use time::OffsetDateTime;

/// How near an expiry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Past,
    Soon,
    Later,
}

/// A month: what 'expires soon' means in a table.
const SOON: Duration = Duration::from_secs(30 * 24 * 3600);

/// `12 d`, `expired 3 d ago`.
pub(super) fn expiry(expires: OffsetDateTime, now: OffsetDateTime) -> (String, Due) {
    match Duration::try_from(expires - now) {
        Ok(left) => (coarse(left), if left <= SOON { Due::Soon } else { Due::Later }),
        Err(_) => (format!("expired {} ago", coarse((now - expires).unsigned_abs())), Due::Past),
    }
}

/// `3 d ago`.
pub(super) fn since(moment: OffsetDateTime, now: OffsetDateTime) -> String {
    match Duration::try_from(now - moment) {
        Ok(past) => format!("{} ago", coarse(past)),
        // Clocks differ.
        Err(_) => "just now".to_owned(),
    }
}

/// One number and the largest unit of which there is one at least: `45 s`, `12 min`, `5 h`, `12 d`.
pub(super) fn coarse(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiries_are_told_from_now() {
        let now = OffsetDateTime::UNIX_EPOCH;
        let at = |seconds| now + time::Duration::seconds(seconds);
        assert_eq!(expiry(at(12 * 86_400 + 5), now), ("12 d".to_owned(), Due::Soon));
        assert_eq!(expiry(at(31 * 86_400), now), ("31 d".to_owned(), Due::Later));
        assert_eq!(expiry(at(-3 * 86_400 - 9), now), ("expired 3 d ago".to_owned(), Due::Past));
        assert_eq!(expiry(at(7 * 3600), now).0, "7 h");
        assert_eq!(since(at(-130), now), "2 min ago");
        assert_eq!(since(at(5), now), "just now");
    }
}
