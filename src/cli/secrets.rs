//! Secrets' metadata as a table, as CSV and as TSV: one look for `search` and `list`.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::phrase::{Due, expiry, since};
use super::table::{Cell, Tone, render};
use super::{Exit, Failure};
use crate::api::model::SecretSummary;

/// As a table; `now` is what expiries are told from.
pub(super) fn table(secrets: &[SecretSummary], now: OffsetDateTime, coloured: bool) -> String {
    let rows = secrets.iter().map(|secret| row(secret, now)).collect();
    render(&["VAULT", "NAME", "STATE", "EXPIRES", "UPDATED", "TYPE", "TAGS"], rows, coloured)
}

fn row(secret: &SecretSummary, now: OffsetDateTime) -> Vec<Cell> {
    let attributes = &secret.attributes;
    let (state, tone) = if attributes.enabled { ("enabled", Tone::Plain) } else { ("disabled", Tone::Bad) };
    let name = Cell::new(secret.name.as_str()).tone(if attributes.enabled { Tone::Plain } else { Tone::Dim });
    let expires = match attributes.expires_on.map(|expires| expiry(expires, now)) {
        None => Cell::new(""),
        Some((text, due)) => Cell::new(text).tone(match due {
            Due::Past => Tone::Bad,
            Due::Soon => Tone::Warn,
            Due::Later => Tone::Plain,
        }),
    };
    let kind = match (&attributes.content_type, secret.managed) {
        (Some(kind), true) => format!("{kind} (certificate)"),
        (Some(kind), false) => kind.clone(),
        (None, true) => "certificate".to_owned(),
        (None, false) => String::new(),
    };
    let tags: Vec<_> = attributes.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
    vec![
        Cell::new(secret.vault.as_str()),
        name,
        Cell::new(state).tone(tone),
        expires,
        Cell::new(attributes.updated_on.map(|moment| since(moment, now)).unwrap_or_default()),
        Cell::new(kind),
        Cell::new(tags.join(" ")),
    ]
}

/// Separated by `delimiter`, under a header. Times are RFC 3339, tags a JSON object.
pub(super) fn separated(secrets: &[SecretSummary], delimiter: u8) -> Result<Vec<u8>, Failure> {
    const HEADER: [&str; 11] = [
        "vault",
        "name",
        "enabled",
        "expires_on",
        "not_before",
        "created_on",
        "updated_on",
        "content_type",
        "managed",
        "tags",
        "reference",
    ];
    let rows = secrets.iter().map(|secret| {
        let attributes = &secret.attributes;
        let tags = if attributes.tags.is_empty() {
            String::new()
        } else {
            serde_json::to_string(&attributes.tags).expect("text to text is JSON")
        };
        vec![
            secret.vault.to_string(),
            secret.name.to_string(),
            attributes.enabled.to_string(),
            moment(attributes.expires_on),
            moment(attributes.not_before),
            moment(attributes.created_on),
            moment(attributes.updated_on),
            attributes.content_type.clone().unwrap_or_default(),
            secret.managed.to_string(),
            tags,
            secret.reference.to_string(),
        ]
    });
    records(&HEADER, rows, delimiter)
}

/// A header and rows, quoted where they need it.
pub(super) fn records(
    header: &[&str],
    rows: impl Iterator<Item = Vec<String>>,
    delimiter: u8,
) -> Result<Vec<u8>, Failure> {
    let failed = |_| Failure::new(Exit::InputOutput, "the rows cannot be written");
    let mut writer = csv::WriterBuilder::new().delimiter(delimiter).from_writer(Vec::new());
    writer.write_record(header).map_err(failed)?;
    for row in rows {
        writer.write_record(row).map_err(failed)?;
    }
    writer.into_inner().map_err(|_| Failure::new(Exit::InputOutput, "the rows cannot be written"))
}

/// RFC 3339, or nothing.
fn moment(moment: Option<OffsetDateTime>) -> String {
    moment.and_then(|moment| moment.format(&Rfc3339).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Metadata;

    fn secrets() -> Vec<SecretSummary> {
        let at = |days| Some(OffsetDateTime::UNIX_EPOCH + time::Duration::days(days));
        let of = |name: &str| Metadata::new(name.parse().unwrap());
        let vault = || "pay-prod".parse().unwrap();
        vec![
            SecretSummary::new(vault(), &Metadata { expires: at(12), updated: at(-3), ..of("db-password") }),
            SecretSummary::new(vault(), &Metadata { enabled: false, expires: at(-3), ..of("old") }),
            SecretSummary::new(
                "web".parse().unwrap(),
                &Metadata {
                    managed: true,
                    content_type: Some("application/x-pkcs12".to_owned()),
                    tags: [("team".to_owned(), "a, \"b\"\u{1b}[2J".to_owned())].into(),
                    ..of("tls")
                },
            ),
        ]
    }

    #[test]
    fn a_table_tells_states_and_expiries_as_a_person_says_them() {
        assert_eq!(
            table(&secrets(), OffsetDateTime::UNIX_EPOCH, false),
            "\
VAULT     NAME         STATE     EXPIRES          UPDATED  TYPE                                TAGS
pay-prod  db-password  enabled   12 d             3 d ago
pay-prod  old          disabled  expired 3 d ago
web       tls          enabled                             application/x-pkcs12 (certificate)  team=a, \"b\"\\u{1b}[2J
"
        );
    }

    #[test]
    fn separated_rows_are_read_back_as_they_were() {
        let csv = separated(&secrets(), b',').unwrap();
        let rows: Vec<_> = csv::Reader::from_reader(csv.as_slice()).into_records().map(Result::unwrap).collect();
        assert_eq!(rows.len(), 3);
        assert_eq!((&rows[0][3], &rows[1][2]), ("1970-01-13T00:00:00Z", "false"));
        assert_eq!(&rows[2][9], r#"{"team":"a, \"b\"\u001b[2J"}"#);
    }
}
