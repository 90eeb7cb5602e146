//! How long a service asks to be left alone.

use std::time::Duration;

use azure_core::http::headers::{HeaderName, Headers};

const MILLISECONDS: [HeaderName; 2] =
    [HeaderName::from_static("x-ms-retry-after-ms"), HeaderName::from_static("retry-after-ms")];
const STANDARD: HeaderName = HeaderName::from_static("retry-after");

/// The wait that an answer asks for, unclamped: milliseconds in Azure's own headers, else `Retry-After` in seconds or
/// as an HTTP date (RFC 9110, section 10.2.3). What cannot be parsed is as if it were not there.
pub(in crate::vaults::azure) fn retry_after(headers: &Headers) -> Option<Duration> {
    let number = |name: &HeaderName| headers.get_optional_str(name)?.trim().parse::<u64>().ok();
    if let Some(milliseconds) = MILLISECONDS.iter().find_map(number) {
        return Some(Duration::from_millis(milliseconds));
    }
    if let Some(seconds) = number(&STANDARD) {
        return Some(Duration::from_secs(seconds));
    }
    let date = azure_core::time::parse_rfc7231(headers.get_optional_str(&STANDARD)?).ok()?;
    let wait = date - time::OffsetDateTime::now_utc();
    Some(wait.try_into().unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_understood_and_nonsense_is_none() {
        let with = |name: &'static str, value: &str| {
            let mut headers = Headers::new();
            headers.insert(name, value.to_owned());
            retry_after(&headers)
        };
        assert_eq!(with("retry-after", "20"), Some(Duration::from_secs(20)));
        assert_eq!(with("x-ms-retry-after-ms", "1500"), Some(Duration::from_millis(1500)));
        assert_eq!(with("retry-after", "Fri, 01 Jan 2021 00:00:00 GMT"), Some(Duration::ZERO));
        assert!(with("retry-after", "Fri, 01 Jan 2100 00:00:00 GMT").unwrap() > Duration::from_secs(1_000_000_000));
        assert_eq!(with("retry-after", "-3"), None);
        assert_eq!(with("retry-after", "soon"), None);
        assert_eq!(with("x-other", "1"), None);
    }
}
