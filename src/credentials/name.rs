use std::fmt;

/// The unit that a credential is for, and what the unit calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitAndId {
    unit: String,
    id: String,
}

/// As long as systemd lets a unit's name be, and more than a socket's address holds.
const LONGEST: usize = 255;

impl UnitAndId {
    /// From the abstract address that systemd connects from (systemd.exec(5)): random hexadecimal digits, `/unit/`, the
    /// unit's name, `/`, the id. Anything else is not systemd's.
    #[must_use]
    pub fn of_address(address: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(address).ok()?;
        let [random, "unit", unit, id] = *text.split('/').collect::<Vec<_>>() else { return None };
        let is_random = !random.is_empty() && random.len() <= 16 && random.bytes().all(|b| b.is_ascii_hexdigit());
        let (unit, id) = is_random.then_some((unit, id))?;
        Self::new(unit, id)
    }

    /// `None`: no unit of systemd, and no credential, is called so.
    #[must_use]
    pub fn new(unit: &str, id: &str) -> Option<Self> {
        let is_unit = |b: u8| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b);
        let fits =
            |text: &str, good: &dyn Fn(u8) -> bool| (1..=LONGEST).contains(&text.len()) && text.bytes().all(good);
        let good = fits(unit, &is_unit) && is_credential_id(id);
        good.then(|| Self { unit: unit.to_owned(), id: id.to_owned() })
    }

    /// The unit, with its type: `orders.service`.
    #[must_use]
    pub fn unit(&self) -> &str {
        &self.unit
    }

    /// What the unit calls it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// Whether a credential can be called so: visible, no separator of ours or systemd's, and no folder.
#[must_use]
pub(crate) fn is_credential_id(id: &str) -> bool {
    let good = |b: u8| b.is_ascii_graphic() && !b"/:".contains(&b);
    (1..=LONGEST).contains(&id.len()) && id.bytes().all(good) && ![".", ".."].contains(&id)
}

impl fmt::Display for UnitAndId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.unit, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_and_the_id_are_read_from_systemds_address_and_no_other() {
        let of = |address: &str| UnitAndId::of_address(address.as_bytes()).map(|asked| asked.to_string());
        assert_eq!(of("a0ddb3fcab81b84c/unit/orders.service/db").as_deref(), Some("orders.service/db"));
        assert_eq!(of("1/unit/dev-x\\x2d1@a:b_c.mount/id.x").as_deref(), Some("dev-x\\x2d1@a:b_c.mount/id.x"));
        for other in [
            "",
            "unit/orders.service/db",
            "/unit/orders.service/db",
            "xyz/unit/orders.service/db",
            "0123456789abcdef0/unit/orders.service/db",
            "a0/Unit/orders.service/db",
            "a0/unit//db",
            "a0/unit/orders.service/",
            "a0/unit/orders.service",
            "a0/unit/orders.service/db/x",
            "a0/unit/orders.service/..",
            "a0/unit/orders service/db",
            "a0/unit/orders.service/d\nb",
            "a0/unit/orders.service/d:b",
            "\0a0/unit/orders.service/db",
        ] {
            assert_eq!(of(other), None, "{other:?}");
        }
        assert!(UnitAndId::of_address(b"a0/unit/orders.service/d\xffb").is_none());
        assert!(UnitAndId::new(&"x".repeat(256), "db").is_none());
    }
}
