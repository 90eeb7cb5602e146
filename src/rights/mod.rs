//! What somebody may read and list: globs over vaults and names, as a configuration writes them.
//!
//! This is the one function that everything is filtered by: a read, a search, a listing, a stream of events. It decides
//! from texts alone, never from what exists: the vault's address as it was asked for or is shown, and the secret's name,
//! both lower-cased, as Key Vault tells no case apart. A glob without a source does not cover `source:vault`, unless it
//! says so (`*`): the same name in another tenant is another vault.
//!
//! Must never happen: a decision that depends on what exists; rights that grow because something could not be parsed.

pub(crate) mod bounded;
mod glob;
mod pattern;
mod piece;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

pub(crate) use glob::Glob;
pub use pattern::{BadPattern, Pattern};

use crate::secret::{SecretName, SourceName, VaultName};

/// What may be done with a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Its value and the metadata of its versions may be read.
    Read,
    /// It may be found: in searches and listings, which show what may be read as well, and nothing else.
    List,
}

impl Verb {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Read, Self::List];

    /// As a configuration writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::List => "list",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What somebody may do. A cheap handle, decided once and asked often: no question allocates.
#[derive(Clone)]
pub struct Rights(Extent);

#[derive(Clone)]
enum Extent {
    All,
    /// What any of these grants.
    These(Arc<[Arc<Table>]>),
}

/// One client's grants.
#[derive(Default)]
struct Table {
    read: Covered,
    list: Covered,
}

/// By vault: those that are named, and globs.
#[derive(Default)]
struct Covered {
    named: HashMap<Box<str>, Names>,
    globs: Vec<(Glob, Names)>,
}

#[derive(Default)]
struct Names {
    all: bool,
    named: HashSet<Box<str>>,
    globs: Vec<Glob>,
}

impl Rights {
    /// Everything: callers in this process, and all callers where no grants are configured.
    #[must_use]
    pub const fn all() -> Self {
        Self(Extent::All)
    }

    /// Nothing.
    #[must_use]
    pub fn none() -> Self {
        Self(Extent::These(Arc::new([])))
    }

    /// What these patterns grant.
    #[must_use]
    pub fn granted(read: &[Pattern], list: &[Pattern]) -> Self {
        Self(Extent::These(Arc::new([Arc::new(Table { read: Covered::by(read), list: Covered::by(list) })])))
    }

    /// All that any of these allows.
    #[must_use]
    pub fn united<'r>(all: impl IntoIterator<Item = &'r Self>) -> Self {
        let mut tables = Vec::new();
        for rights in all {
            match &rights.0 {
                Extent::All => return Self::all(),
                Extent::These(these) => tables.extend(these.iter().cloned()),
            }
        }
        Self(Extent::These(tables.into()))
    }

    /// Whether nothing is kept from them.
    #[must_use]
    pub fn is_all(&self) -> bool {
        matches!(self.0, Extent::All)
    }

    /// Whether that may be done with that secret, by the vault's address as it was asked for or is shown.
    #[must_use]
    pub fn may(&self, verb: Verb, vault: &VaultName, name: &SecretName) -> bool {
        self.any(verb, |covered| covered.has(vault.as_str(), |names| names.has(name.as_str())))
    }

    /// Whether some grant covers the name, in whatever vault.
    #[must_use]
    pub fn may_anywhere(&self, verb: Verb, name: &SecretName) -> bool {
        self.any(verb, |covered| covered.sets().any(|names| names.has(name.as_str())))
    }

    /// Whether some grant covers the vault, for whatever name.
    #[must_use]
    pub fn may_in(&self, verb: Verb, vault: &VaultName) -> bool {
        self.any(verb, |covered| covered.has(vault.as_str(), |_| true))
    }

    /// Whether some grant may cover a secret, or that one, in a vault of that source that nobody knows of.
    #[must_use]
    pub fn may_of_source(&self, verb: Verb, source: &SourceName, name: Option<&SecretName>) -> bool {
        self.any(verb, |covered| {
            let named = covered.named.iter().map(|(vault, names)| (&**vault, names));
            let starts = named.chain(covered.globs.iter().map(|(glob, names)| (glob.start(), names)));
            let is_of = |start: &str| start.split_once(':').is_none_or(|(of, _)| of == source.as_str());
            // What is fixed of a pattern's start tells the source, if the ':' is in it.
            starts.into_iter().any(|(start, names)| is_of(start) && name.is_none_or(|name| names.has(name.as_str())))
        })
    }

    /// Under which of its addresses they see a secret, with which they may do all of that: the one it has for all, or
    /// else `source:vault`. `None`: it is not there for them.
    #[must_use]
    pub fn shows<'v>(
        &self,
        verbs: &[Verb],
        address: &'v VaultName,
        id: &'v VaultName,
        name: &SecretName,
    ) -> Option<&'v VaultName> {
        [address, id].into_iter().find(|vault| verbs.iter().all(|verb| self.may(*verb, vault, name)))
    }

    /// Under which of its addresses they see a vault in which they may do all of that with some name.
    #[must_use]
    pub fn shows_vault<'v>(&self, verbs: &[Verb], address: &'v VaultName, id: &'v VaultName) -> Option<&'v VaultName> {
        [address, id].into_iter().find(|vault| verbs.iter().all(|verb| self.may_in(*verb, vault)))
    }

    /// What of one vault they find, worked out once for very many names.
    pub(crate) fn view<'v>(&self, address: &'v VaultName, id: &'v VaultName) -> View<'_, 'v> {
        let way = |vault: &'v VaultName| Some((vault, Finding::of(self, vault)?));
        View { ways: [way(address), if address == id { None } else { way(id) }] }
    }

    /// The same under one address.
    pub(crate) fn view_of<'v>(&self, vault: &'v VaultName) -> View<'_, 'v> {
        self.view(vault, vault)
    }

    fn any(&self, verb: Verb, mut grants: impl FnMut(&Covered) -> bool) -> bool {
        match &self.0 {
            Extent::All => true,
            Extent::These(tables) => tables.iter().any(|table| grants(table.of(verb))),
        }
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Extent::All => f.write_str("Rights(all)"),
            Extent::These(tables) => write!(f, "Rights(of {} grants)", tables.len()),
        }
    }
}

/// What of one vault somebody finds: what they may list and read.
pub(crate) struct View<'r, 'v> {
    /// By address; none: nothing.
    ways: [Option<(&'v VaultName, Finding<'r>)>; 2],
}

enum Finding<'r> {
    All,
    /// What one of the first and one of the second has.
    Some([Vec<&'r Names>; 2]),
}

impl<'v> View<'_, 'v> {
    /// Under which address they find a secret of that name.
    pub(crate) fn shows(&self, name: &str) -> Option<&'v VaultName> {
        self.ways().find(|(_, finding)| finding.has(name)).map(|(vault, _)| *vault)
    }

    /// Under which address they find the vault.
    pub(crate) fn vault(&self) -> Option<&'v VaultName> {
        self.ways().next().map(|(vault, _)| *vault)
    }

    /// Whether they find all that is in it, under one address.
    pub(crate) fn is_whole(&self) -> bool {
        self.ways().next().is_some_and(|(_, finding)| matches!(finding, Finding::All))
    }

    fn ways(&self) -> impl Iterator<Item = &(&'v VaultName, Finding<'_>)> {
        self.ways.iter().flatten()
    }
}

impl<'r> Finding<'r> {
    fn of(rights: &'r Rights, vault: &VaultName) -> Option<Self> {
        let Extent::These(tables) = &rights.0 else { return Some(Self::All) };
        let sets = Verb::ALL.map(|verb| {
            let mut sets = Vec::new();
            for covered in tables.iter().map(|table| table.of(verb)) {
                sets.extend(covered.named.get(vault.as_str()));
                sets.extend(
                    covered.globs.iter().filter(|(glob, _)| glob.matches(vault.as_str())).map(|(_, names)| names),
                );
            }
            sets
        });
        if sets.iter().any(Vec::is_empty) {
            return None;
        }
        let all = sets.iter().all(|sets| sets.iter().any(|names: &&Names| names.all));
        Some(if all { Self::All } else { Self::Some(sets) })
    }

    fn has(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Some(sets) => sets.iter().all(|sets| sets.iter().any(|names| names.has(name))),
        }
    }
}

impl Table {
    fn of(&self, verb: Verb) -> &Covered {
        match verb {
            Verb::Read => &self.read,
            Verb::List => &self.list,
        }
    }
}

impl Covered {
    fn by(patterns: &[Pattern]) -> Self {
        let mut covered = Self::default();
        for Pattern { vault, name, .. } in patterns {
            let names = match vault.exact() {
                Some(exact) => covered.named.entry(exact.into()).or_default(),
                None => match covered.globs.iter().position(|(glob, _)| glob.text() == vault.text()) {
                    Some(at) => &mut covered.globs[at].1,
                    None => {
                        covered.globs.push((vault.clone(), Names::default()));
                        &mut covered.globs.last_mut().expect("it was pushed just now").1
                    }
                },
            };
            match name.exact() {
                Some(exact) => drop(names.named.insert(exact.into())),
                None if name.text() == "*" => names.all = true,
                None => names.globs.push(name.clone()),
            }
        }
        covered
    }

    /// Whether any set of names that is granted in that vault is so.
    fn has(&self, vault: &str, is_so: impl Fn(&Names) -> bool) -> bool {
        self.named.get(vault).is_some_and(&is_so)
            || self.globs.iter().any(|(glob, names)| glob.matches(vault) && is_so(names))
    }

    fn sets(&self) -> impl Iterator<Item = &Names> {
        self.named.values().chain(self.globs.iter().map(|(_, names)| names))
    }
}

impl Names {
    fn has(&self, name: &str) -> bool {
        self.all || self.named.contains(name) || self.globs.iter().any(|glob| glob.matches(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(read: &[&str]) -> Rights {
        let read: Vec<Pattern> = read.iter().map(|text| text.parse().unwrap()).collect();
        Rights::granted(&read, &[])
    }

    fn reads(rights: &Rights, vault: &str, name: &str) -> bool {
        rights.may(Verb::Read, &vault.parse().unwrap(), &name.parse().unwrap())
    }

    #[test]
    fn a_glob_without_a_source_does_not_reach_into_another_one() {
        let granted = rights(&["pay-prod/db-*", "shared-*/*", "GOV:pay/x"]);
        assert!(reads(&granted, "pay-prod", "DB-password") && reads(&granted, "shared-a", "any"));
        assert!(reads(&granted, "gov:pay", "x"));
        for (vault, name) in
            [("gov:pay-prod", "db-x"), ("gov:shared-a", "any"), ("pay-prod", "d"), ("pay", "x"), ("pay-prod2", "db-x")]
        {
            assert!(!reads(&granted, vault, name), "{vault}/{name}");
        }
        assert!(reads(&rights(&["*/x"]), "gov:pay", "x"));
        assert!(reads(&rights(&["gov:*/x"]), "gov:pay", "x") && !reads(&rights(&["gov:*/x"]), "pay", "x"));
    }

    #[test]
    fn verbs_are_apart_and_rights_unite() {
        let one = rights(&["a/x"]);
        let other = Rights::granted(&["b/y".parse().unwrap()], &["a/*".parse().unwrap()]);
        let (a, x) = ("a".parse().unwrap(), "x".parse().unwrap());
        assert!(!one.may(Verb::List, &a, &x) && !other.may(Verb::Read, &a, &x));
        let both = Rights::united([&one, &other]);
        assert!(Verb::ALL.iter().all(|verb| both.may(*verb, &a, &x)) && reads(&both, "b", "y"));
        assert!(!reads(&both, "b", "x") && !both.is_all() && Rights::united([&one, &Rights::all()]).is_all());
        assert!(!reads(&Rights::none(), "a", "x") && !reads(&Rights::united([]), "a", "x"));
    }

    #[test]
    fn a_vault_and_a_name_by_themselves() {
        let granted = rights(&["pay-*/db-*", "gov:hr/*"]);
        let anywhere = |name: &str| granted.may_anywhere(Verb::Read, &name.parse().unwrap());
        assert!(anywhere("db-x") && anywhere("other"));
        assert!(!rights(&["pay-*/db-*"]).may_anywhere(Verb::Read, &"other".parse().unwrap()));
        let in_vault = |vault: &str| granted.may_in(Verb::Read, &vault.parse().unwrap());
        assert!(in_vault("pay-x") && in_vault("gov:hr") && !in_vault("hr") && !in_vault("gov:pay-x"));
        let of = |rights: &Rights, source: &str| rights.may_of_source(Verb::Read, &source.parse().unwrap(), None);
        assert!(of(&granted, "any") && of(&rights(&["gov:*/*"]), "gov") && !of(&rights(&["gov:*/*"]), "any"));
        assert!(of(&rights(&["*/*"]), "any") && !of(&Rights::none(), "any"));
    }
}
