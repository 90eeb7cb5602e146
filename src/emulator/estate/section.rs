//! Reading a TOML table key by key, so that every fault is told with its place and no key is passed over.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::EstateFault;

/// The faults found so far.
#[derive(Default)]
pub(super) struct Faults(RefCell<Vec<EstateFault>>);

/// One table. [`Section::finish`] tells the keys that nobody asked for.
pub(super) struct Section<'t> {
    text: &'t str,
    faults: &'t Faults,
    path: String,
    span: Range<usize>,
    table: &'t DeTable<'t>,
    asked: Vec<&'static str>,
}

impl Faults {
    pub(super) fn add(&self, text: &str, at: usize, path: String, message: impl Into<String>) {
        let line = 1 + text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count();
        self.0.borrow_mut().push(EstateFault { path, line, message: message.into() });
    }

    pub(super) fn into_sorted(self) -> Vec<EstateFault> {
        let mut faults = self.0.into_inner();
        faults.sort_by_key(|fault| fault.line);
        faults
    }
}

impl<'t> Section<'t> {
    pub(super) fn new(
        text: &'t str,
        faults: &'t Faults,
        path: String,
        span: Range<usize>,
        table: &'t DeTable<'t>,
    ) -> Self {
        Self { text, faults, path, span, table, asked: Vec::new() }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Says what is wrong with a key, at its place, or at the table's if it is missing.
    pub(super) fn fault(&self, key: &str, message: impl Into<String>) {
        let at = self.table.get(key).map_or(self.span.start, |value| value.span().start);
        self.faults.add(self.text, at, self.path_of(key), message);
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        self.take(key, "a text", |value| value.as_str().map(str::to_owned))
    }

    /// A text that must be there; where it is not, the fault is noted and an empty one stands in.
    pub(super) fn required(&mut self, key: &'static str) -> String {
        if !self.has(key) {
            self.asked.push(key);
            self.fault(key, "is missing");
            return String::new();
        }
        self.text(key).unwrap_or_default()
    }

    pub(super) fn flag(&mut self, key: &'static str) -> Option<bool> {
        self.take(key, "true or false", DeValue::as_bool)
    }

    pub(super) fn number(&mut self, key: &'static str) -> Option<u32> {
        self.take(key, "a whole number, 0 or more", number)
    }

    /// How many of something are to be made. The fault is noted where it is more than that, and none are.
    pub(super) fn count(&mut self, key: &'static str, most: u32) -> Option<u32> {
        let count = self.number(key)?;
        if count > most {
            self.fault(key, format!("is {count}; {most} is the most"));
            return Some(0);
        }
        Some(count)
    }

    pub(super) fn numbers(&mut self, key: &'static str) -> Option<Vec<u32>> {
        self.take(key, "a list of whole numbers", |value| {
            value.as_array()?.iter().map(|item| number(item.get_ref())).collect()
        })
    }

    pub(super) fn words(&mut self, key: &'static str) -> Option<Vec<String>> {
        self.take(key, "a list of texts", |value| {
            value.as_array()?.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect()
        })
    }

    /// A table of texts.
    pub(super) fn map(&mut self, key: &'static str) -> BTreeMap<String, String> {
        self.take(key, "a table of texts", |value| {
            let entries = value.as_table()?.iter();
            entries
                .map(|(key, value)| Some((key.get_ref().to_string(), value.get_ref().as_str()?.to_owned())))
                .collect()
        })
        .unwrap_or_default()
    }

    /// One of these words.
    pub(super) fn choice<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(key)?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            self.fault(key, format!("is {text:?}; it must be one of {}", known.join(", ")));
        }
        found.map(|(_, value)| *value)
    }

    /// A point in time: RFC 3339, or days from now such as `12d` or `-3d`.
    pub(super) fn when(&mut self, key: &'static str, now: OffsetDateTime) -> Option<OffsetDateTime> {
        let text = self.text(key)?;
        let parsed = match text.strip_suffix('d') {
            Some(days) => days.parse::<i32>().ok().and_then(|days| now.checked_add(time::Duration::days(days.into()))),
            None => OffsetDateTime::parse(&text, &Rfc3339).ok(),
        };
        if parsed.is_none() {
            self.fault(
                key,
                "is no time: write days from now (\"12d\", \"-3d\") or RFC 3339 (\"2027-01-31T00:00:00Z\")",
            );
        }
        parsed
    }

    /// One table under this one.
    pub(super) fn section(&mut self, key: &'static str) -> Option<Self> {
        self.asked.push(key);
        let value = self.table.get(key)?;
        self.child(value, self.path_of(key))
    }

    /// An array of tables under this one.
    pub(super) fn sections(&mut self, key: &'static str) -> Vec<Self> {
        self.asked.push(key);
        let Some(value) = self.table.get(key) else { return Vec::new() };
        match value.get_ref().as_array() {
            Some(items) => {
                let children = items.iter().enumerate();
                children.filter_map(|(at, item)| self.child(item, format!("{}[{at}]", self.path_of(key)))).collect()
            }
            None => {
                self.fault(key, format!("must be an array of tables: [[{}]]", self.path_of(key)));
                Vec::new()
            }
        }
    }

    /// Tells the keys that were not asked for.
    pub(super) fn finish(self) {
        for (key, _) in self.table {
            let name: &str = key.get_ref();
            if self.asked.contains(&name) {
                continue;
            }
            let nearest = self.asked.iter().max_by(|a, b| strsim::jaro(name, a).total_cmp(&strsim::jaro(name, b)));
            let hint = match nearest {
                Some(known) if strsim::jaro(name, known) > 0.7 => format!("; did you mean {known:?}?"),
                _ => format!("; known here: {}", self.asked.join(", ")),
            };
            self.faults.add(self.text, key.span().start, self.path_of(name), format!("is not a known key{hint}"));
        }
    }

    fn child(&self, value: &'t Spanned<DeValue<'t>>, path: String) -> Option<Self> {
        match value.get_ref().as_table() {
            Some(table) => Some(Self::new(self.text, self.faults, path, value.span(), table)),
            None => {
                self.faults.add(self.text, value.span().start, path, "must be a table");
                None
            }
        }
    }

    fn take<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        read: impl FnOnce(&DeValue<'t>) -> Option<T>,
    ) -> Option<T> {
        self.asked.push(key);
        let value = self.table.get(key)?;
        let read = read(value.get_ref());
        if read.is_none() {
            self.fault(key, format!("must be {expected}"));
        }
        read
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

fn number(value: &DeValue<'_>) -> Option<u32> {
    let number = value.as_integer()?;
    u32::from_str_radix(&number.as_str().replace('_', ""), number.radix()).ok()
}
