//! The layers under every setting: a flag, else a `SIDEKEY_…` variable, else the file. Whoever reads a key makes it
//! known, so that what is left over at the end was never meant for us and is a fault: a misspelled key must not become
//! a default in silence.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::{Fault, Place, cause};
use super::kinds::Raw;
use super::vars::Vars;

/// A setting given on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// The key it stands for, such as `listen.socket`.
    pub key: &'static str,
    /// As the user typed it, such as `--socket`.
    pub flag: &'static str,
    /// What was given.
    pub value: String,
}

/// What all sections share while one configuration is read.
pub(super) struct Reader<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
    pub(super) vars: &'a Vars,
    pub(super) flags: &'a [Flag],
    known_vars: RefCell<BTreeSet<String>>,
    faults: RefCell<Vec<Fault>>,
}

/// A value and where it was set.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

impl<'a> Reader<'a> {
    pub(super) fn new(path: &'a Path, text: &'a str, vars: &'a Vars, flags: &'a [Flag]) -> Self {
        Self { path, text, vars, flags, known_vars: RefCell::default(), faults: RefCell::default() }
    }

    pub(super) fn place(&self, offset: usize) -> Place {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Place::File {
            path: self.path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    pub(super) fn fault(&self, place: Place, key: impl Into<String>, what: impl Into<String>) {
        self.faults.borrow_mut().push(Fault { place, key: key.into(), what: what.into() });
    }

    /// Another name that a variable may have; it is then known, whatever reads it.
    pub(super) fn know_variable(&self, name: &str) {
        self.known_vars.borrow_mut().insert(name.to_owned());
    }

    /// All faults, sorted by place; with those of `SIDEKEY_` variables that nothing read.
    pub(super) fn finish(self) -> Vec<Fault> {
        let known = self.known_vars.borrow();
        for name in self.vars.names().filter(|name| name.starts_with("SIDEKEY_") && !known.contains(*name)) {
            if !is_kubernetes_service_link(name) {
                // What all of them begin with makes none of them near.
                let own = |name: &'_ str| name.strip_prefix("SIDEKEY_").map(str::to_owned);
                let known: Vec<_> = known.iter().filter_map(|name| own(name)).collect();
                let hint = nearest("SIDEKEY_", &own(name).unwrap_or_default(), known.iter().map(String::as_str));
                self.fault(Place::Variable(name.to_owned()), "", format!("no such setting{hint}"));
            }
        }
        drop(known);
        let mut faults = self.faults.into_inner();
        faults.sort_by(|a, b| a.place.cmp(&b.place));
        faults
    }
}

/// `SIDEKEY_SERVICE_HOST`, `SIDEKEY_X_PORT_80_TCP_ADDR` and the like: what Kubernetes puts into every container of a
/// namespace that has a service named `sidekey…`. None of it is meant for us.
fn is_kubernetes_service_link(name: &str) -> bool {
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || name.contains("_PORT_") && (name.contains("_TCP") || name.contains("_UDP"))
}

/// One table of the file with the variables and flags that stand over it.
pub(super) struct Section<'r> {
    reader: &'r Reader<'r>,
    /// `cache`, `source[prod]`: as it is told in faults.
    name: String,
    /// `SIDEKEY_CACHE_`; none where no variable can say which entry it means.
    variables: Option<String>,
    table: Option<&'r DeTable<'r>>,
    begin: Place,
    known: RefCell<Vec<&'static str>>,
}

impl<'r> Section<'r> {
    pub(super) fn new(
        reader: &'r Reader<'r>,
        name: impl Into<String>,
        variables: Option<&str>,
        table: Option<(&'r DeTable<'r>, Range<usize>)>,
    ) -> Self {
        let begin = table.as_ref().map_or(Place::Unset, |(_, span)| reader.place(span.start));
        let table = table.map(|(table, _)| table);
        Self {
            reader,
            name: name.into(),
            variables: variables.map(str::to_owned),
            table,
            begin,
            known: RefCell::default(),
        }
    }

    /// The setting, parsed, with its place; a fault and `None` if it does not parse.
    pub(super) fn read<T>(&self, key: &'static str, parse: fn(Raw<'_>) -> Result<T, String>) -> Option<At<T>> {
        let (raw, place) = self.raw(key)?;
        match parse(raw) {
            Ok(value) => Some(At { value, place }),
            Err(what) => {
                self.fault_at(place, key, what);
                None
            }
        }
    }

    /// [`Section::read`] where a default stands in for what is not set or does not parse.
    pub(super) fn read_or<T>(&self, key: &'static str, parse: fn(Raw<'_>) -> Result<T, String>, default: T) -> T {
        self.read(key, parse).map_or(default, |at| at.value)
    }

    /// A path: one in the file is relative to the file's folder, others to the working directory.
    pub(super) fn path(&self, key: &'static str) -> Option<At<PathBuf>> {
        let At { value, place } = self.read(key, super::kinds::text)?;
        let value = match (&place, self.reader.path.parent()) {
            (Place::File { .. }, Some(folder)) => folder.join(value),
            _ => PathBuf::from(value),
        };
        Some(At { value, place })
    }

    /// A path to a file that must be there and readable now.
    pub(super) fn readable_file(&self, key: &'static str) -> Option<At<PathBuf>> {
        let at = self.path(key)?;
        if let Err(error) = std::fs::File::open(&at.value).and_then(|file| file.metadata()) {
            self.fault_at(at.place, key, format!("the file cannot be read: {}", cause(&error)));
            return None;
        }
        Some(at)
    }

    pub(super) fn is_set(&self, key: &'static str) -> bool {
        self.raw(key).is_some()
    }

    pub(super) fn fault_at(&self, place: Place, key: &str, what: impl Into<String>) {
        let key = if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) };
        self.reader.fault(place, key, what);
    }

    /// A fault of something that is not set: told where the section begins.
    pub(super) fn fault_of_absent(&self, key: &str, what: impl Into<String>) {
        let key = if key.is_empty() { self.name.clone() } else { format!("{}.{key}", self.name) };
        self.reader.fault(self.begin.clone(), key, what);
    }

    /// Tells every key that nothing read: as not supported yet if it is one of `later`, else as unknown.
    pub(super) fn finish(self, later: &[(&'static str, &str)]) {
        for (key, why) in later {
            if let Some((_, place)) = self.raw(key) {
                self.fault_at(place, key, *why);
            }
        }
        let known = self.known.borrow();
        for (key, _) in self.table.into_iter().flatten() {
            if !known.contains(&key.get_ref().as_ref()) {
                let hint =
                    nearest("", key.get_ref(), known.iter().copied().filter(|k| !later.iter().any(|(l, _)| l == k)));
                let shown = key.get_ref().escape_debug().to_string();
                self.fault_at(self.reader.place(key.span().start), &shown, format!("no such key{hint}"));
            }
        }
    }

    /// The table, or the tables of an array, under a key of the file, each with its place.
    pub(super) fn tables(&self, key: &'static str) -> Vec<(&'r DeTable<'r>, Range<usize>)> {
        self.known.borrow_mut().push(key);
        let Some(value) = self.in_file(key) else { return Vec::new() };
        let items = match value.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            _ => vec![value],
        };
        let mut tables = Vec::new();
        for item in items {
            match item.get_ref().as_table() {
                Some(table) => tables.push((table, item.span())),
                None => self.fault_at(
                    self.reader.place(item.span().start),
                    key,
                    format!("expected a table, found {}", super::kinds::type_of(item.get_ref())),
                ),
            }
        }
        tables
    }

    fn raw(&self, key: &'static str) -> Option<(Raw<'r>, Place)> {
        self.known.borrow_mut().push(key);
        let variable = self.variables.as_ref().map(|prefix| format!("{prefix}{}", key.to_ascii_uppercase()));
        if let Some(variable) = &variable {
            self.reader.know_variable(variable);
        }
        let full = format!("{}.{key}", self.name);
        if let Some(flag) = self.reader.flags.iter().find(|flag| flag.key == full) {
            return Some((Raw::Text(&flag.value), Place::Flag(flag.flag)));
        }
        if let Some((variable, value)) = variable.and_then(|name| Some((name.clone(), self.reader.vars.get(&name)?))) {
            return Some((Raw::Text(value), Place::Variable(variable)));
        }
        let value = self.in_file(key)?;
        Some((Raw::Value(value.get_ref()), self.reader.place(value.span().start)))
    }

    fn in_file(&self, key: &str) -> Option<&'r Spanned<DeValue<'r>>> {
        self.table?.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }
}

/// `; did you mean 'ttl'?`, or nothing if nothing is near.
fn nearest<'k>(prefix: &str, wrong: &str, known: impl Iterator<Item = &'k str>) -> String {
    known
        .map(|key| (strsim::damerau_levenshtein(&wrong.to_ascii_lowercase(), &key.to_ascii_lowercase()), key))
        .min()
        .filter(|(distance, key)| *distance <= key.len().max(3) / 3 + 1)
        .map_or_else(String::new, |(_, key)| format!("; did you mean '{prefix}{key}'?"))
}
