use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::access::audit::Recorded;
use crate::secret::{Exposed, Secret, SecretValue};

/// A secret's value on its way over the wire. Serialises as text, deserialises into wiped memory, prints as
/// `[redacted]`. On the server's side it is the cached value itself, not a copy, and opened only once it
/// is written.
pub struct Value(Held);

/// A value that may not leave yet: nobody has shown that its reading was recorded.
pub(in crate::api) struct Withheld(Value);

enum Held {
    Shared(Arc<Secret>),
    Own(SecretValue),
}

impl Value {
    /// The value's bytes, for whoever hands them on.
    #[must_use]
    pub fn expose(&self) -> Exposed {
        match &self.0 {
            Held::Shared(secret) => secret.value.expose(),
            Held::Own(value) => value.expose(),
        }
    }

    /// What stands where there is none.
    #[must_use]
    pub(in crate::api) fn empty() -> Self {
        Self(Held::Own(SecretValue::new("")))
    }

    /// Bytes in the value.
    pub(in crate::api) fn len(&self) -> usize {
        match &self.0 {
            Held::Shared(secret) => secret.value.len(),
            Held::Own(value) => value.len(),
        }
    }

    /// Whether it can stand in JSON: only UTF-8 text can.
    #[must_use]
    pub(in crate::api) fn is_text(&self) -> bool {
        std::str::from_utf8(&Self::expose(self)).is_ok()
    }

    /// Takes the value out, for whoever keeps it.
    #[must_use]
    pub fn into_secret(self) -> SecretValue {
        match self.0 {
            Held::Own(value) => value,
            held @ Held::Shared(_) => SecretValue::new(Self::expose(&Self(held))),
        }
    }
}

impl Withheld {
    /// Whether it can stand in JSON: only UTF-8 text can.
    pub(in crate::api) fn is_text(&self) -> bool {
        self.0.is_text()
    }

    /// It was recorded that it leaves.
    pub(in crate::api) fn release(self, _: Recorded) -> Value {
        self.0
    }
}

impl From<Arc<Secret>> for Withheld {
    fn from(secret: Arc<Secret>) -> Self {
        Self(Value(Held::Shared(secret)))
    }
}

impl From<SecretValue> for Withheld {
    fn from(value: SecretValue) -> Self {
        Self(Value(Held::Own(value)))
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value = Self::expose(self);
        let text = std::str::from_utf8(&value).map_err(|_| serde::ser::Error::custom("the value is not text"))?;
        serializer.serialize_str(text)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut text = Zeroizing::new(String::deserialize(deserializer)?);
        Ok(Self(Held::Own(SecretValue::new(std::mem::take(&mut *text).into_bytes()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_sent_and_received_and_never_printed() {
        let value: Value = serde_json::from_str("\"hun\\nter2\"").unwrap();
        assert_eq!(value.expose(), b"hun\nter2");
        assert_eq!(format!("{value:?}"), "[redacted]");
        assert_eq!(serde_json::to_string(&value).unwrap(), "\"hun\\nter2\"");
        let bytes = Value(Held::Own(SecretValue::new(vec![0xff])));
        assert!(!bytes.is_text() && serde_json::to_string(&bytes).is_err());
    }
}
