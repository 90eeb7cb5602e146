use std::cmp::Ordering;
use std::collections::BTreeMap;

/// What a secret is labelled with: keys with their values, in the order of keys, each once.
///
/// A listing that is coming in holds them for every secret, and most have two or three: a map's node would take ten times as
/// much memory as they do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Tags(Box<[(Box<str>, Box<str>)]>);

impl Tags {
    /// Keys and values.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }

    /// The value of that key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|(known, _)| (**known).cmp(key)).ok()?;
        Some(&*self.0[at].1)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Of a key that is told twice, the last value counts.
impl<K: Into<Box<str>>, V: Into<Box<str>>> FromIterator<(K, V)> for Tags {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(tags: I) -> Self {
        let all = tags.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        Self(told_last(all, |(one, _): &(Box<str>, Box<str>), (other, _)| one.cmp(other)).into())
    }
}

/// In that order, and of those that are equal in it the one that was told last. In place: most come in order.
pub(crate) fn told_last<T>(mut all: Vec<T>, order: impl Fn(&T, &T) -> Ordering) -> Vec<T> {
    all.sort_by(&order);
    all.dedup_by(|later, kept| {
        let again = order(later, kept).is_eq();
        if again {
            std::mem::swap(later, kept);
        }
        again
    });
    all
}

impl<const N: usize> From<[(String, String); N]> for Tags {
    fn from(tags: [(String, String); N]) -> Self {
        tags.into_iter().collect()
    }
}

impl From<&Tags> for BTreeMap<String, String> {
    fn from(tags: &Tags) -> Self {
        tags.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_stand_in_order_and_of_a_key_told_twice_the_last_value_counts() {
        let tags: Tags = [("team", "pay"), ("env", "test"), ("a", ""), ("env", "prod")].into_iter().collect();
        assert_eq!(tags.iter().collect::<Vec<_>>(), [("a", ""), ("env", "prod"), ("team", "pay")]);
        assert_eq!((tags.get("env"), tags.get("a"), tags.get("b"), tags.len()), (Some("prod"), Some(""), None, 3));
        assert!(Tags::default().is_empty() && !tags.is_empty());
    }
}
