//! The recordings, and what an answer's shape is.

use serde::Deserialize;
use serde_json::Value;

/// One file: the exchanges in their order.
#[derive(Deserialize)]
pub(crate) struct Recording {
    pub(crate) interactions: Vec<Exchange>,
}

/// One request and its answer.
#[derive(Deserialize)]
pub(crate) struct Exchange {
    pub(crate) method: String,
    pub(crate) uri: String,
    pub(crate) request_body: Option<Value>,
    pub(crate) status: u16,
    pub(crate) headers: std::collections::BTreeMap<String, String>,
    body: Option<String>,
}

impl Recording {
    pub(crate) fn of(file: &str) -> Self {
        let path = format!("{}/tests/golden/{file}.json", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The first exchange whose address has that in it, with that status.
    pub(crate) fn find(&self, in_uri: &str, status: u16) -> &Exchange {
        let found = self.interactions.iter().find(|one| one.uri.contains(in_uri) && one.status == status);
        found.unwrap_or_else(|| panic!("no {status} for {in_uri}"))
    }
}

impl Exchange {
    pub(crate) fn json(&self) -> Value {
        let body = self.body.as_deref().unwrap_or_default();
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{}: {error}: {body}", self.uri))
    }
}

/// Keys and types, without the values: what a parser depends on. A list has the shape of its first item.
pub(crate) fn shape(value: &Value) -> Value {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "bool".into(),
        Value::Number(number) if number.is_i64() || number.is_u64() => "integer".into(),
        Value::Number(_) => "number".into(),
        Value::String(_) => "text".into(),
        Value::Array(items) => items.iter().take(1).map(shape).collect(),
        Value::Object(entries) => {
            entries.iter().map(|(key, value)| (key.clone(), shape(value))).collect::<serde_json::Map<_, _>>().into()
        }
    }
}

/// Whether a shape has all that another has: newer versions of a service add keys.
pub(crate) fn covers(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(key, value)| whole.get(key).is_some_and(|found| covers(found, value)))
        }
        // An empty list says nothing of its items.
        (Value::Array(whole), Value::Array(part)) => {
            whole.first().zip(part.first()).is_none_or(|(whole, part)| covers(whole, part))
        }
        (whole, part) => whole == part,
    }
}
