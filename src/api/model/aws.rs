use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, PrimitiveDateTime};

use super::Value;

/// Credentials, as the SDKs of AWS ask a container for them.
#[derive(Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "PascalCase")]
pub struct AwsCredentials {
    /// The access key's id.
    #[cfg_attr(test, schema(value_type = String, example = "AKIAIOSFODNN7EXAMPLE"))]
    pub access_key_id: Value,
    /// The access key.
    #[cfg_attr(test, schema(value_type = String))]
    pub secret_access_key: Value,
    /// The session's token; empty where the key needs none.
    #[cfg_attr(test, schema(value_type = String))]
    pub token: Value,
    /// When to ask again, at the latest.
    #[cfg_attr(test, schema(example = "2026-11-21T09:47:07Z"))]
    pub expiration: String,
}

/// The same, as they ask a program for them (`credential_process`).
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AwsProcessCredentials {
    /// Of this format: 1.
    pub version: u8,
    /// The access key's id.
    pub access_key_id: Value,
    /// The access key.
    pub secret_access_key: Value,
    /// The session's token, if the key needs one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_token: Option<Value>,
    /// When to ask again, at the latest.
    pub expiration: String,
}

/// So long after now, to the second, or the end of all time.
#[must_use]
pub fn expiration(now: OffsetDateTime, lifetime: Duration) -> String {
    let end = now.checked_add(lifetime.try_into().unwrap_or(time::Duration::MAX));
    let end = end.unwrap_or(PrimitiveDateTime::MAX.assume_utc());
    let end = end.replace_nanosecond(0).unwrap_or(now);
    end.format(&Rfc3339).expect("a year of four digits")
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn the_end_is_told_in_utc_to_the_second() {
        let now = datetime!(2026-11-21 09:41:07.042 UTC);
        assert_eq!(expiration(now, Duration::from_mins(6)), "2026-11-21T09:47:07Z");
        assert_eq!(expiration(now, Duration::MAX), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn the_keys_are_those_that_the_sdks_look_for() {
        let value = |text: &str| serde_json::from_value::<Value>(text.into()).unwrap();
        let expiration = "2026-11-21T09:47:07Z".to_owned();
        let told = AwsCredentials {
            access_key_id: value("AKIA"),
            secret_access_key: value("s/+"),
            token: value(""),
            expiration: expiration.clone(),
        };
        let expected =
            r#"{"AccessKeyId":"AKIA","SecretAccessKey":"s/+","Token":"","Expiration":"2026-11-21T09:47:07Z"}"#;
        assert_eq!(serde_json::to_string(&told).unwrap(), expected);
        let told = AwsProcessCredentials {
            version: 1,
            access_key_id: value("AKIA"),
            secret_access_key: value("s/+"),
            session_token: None,
            expiration,
        };
        let expected =
            r#"{"Version":1,"AccessKeyId":"AKIA","SecretAccessKey":"s/+","Expiration":"2026-11-21T09:47:07Z"}"#;
        assert_eq!(serde_json::to_string(&told).unwrap(), expected);
    }
}
