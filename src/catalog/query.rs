//! What can be asked of the catalog, as typed values and as text parameters (the same names on the API and the command
//! line).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A search. The default matches everything.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// What a name must match; case does not matter. Empty: every name.
    pub text: String,
    /// How it must.
    pub matching: Matching,
    /// A glob on vaults, by their address or as `source:vault`; `None`: all.
    pub vault: Option<String>,
    /// All of these must hold.
    pub tags: Vec<TagFilter>,
    /// Only enabled, or only disabled secrets.
    pub enabled: Option<bool>,
    /// Only those that Key Vault made for a certificate, or only the others.
    pub managed: Option<bool>,
    /// The whole content type; case does not matter.
    pub content_type: Option<String>,
    /// Only those that expire from now on, and within that time. What has expired is asked for by `expired`.
    pub expires_within: Option<Duration>,
    /// Only those that have expired, or only the others.
    pub expired: Option<bool>,
    /// Only those whose attributes or value moved at that time or later.
    pub updated_since: Option<OffsetDateTime>,
    /// `None`: by name, or by score where the matching is fuzzy.
    pub sort: Option<Sort>,
    /// Hits on a page: 1 to [`Query::MOST`]; `None`: [`Query::USUAL`].
    pub limit: Option<usize>,
    /// [`super::Page::next`] of the page before.
    pub cursor: Option<String>,
    /// What 'now' is for the two questions about expiry; `None`: the wall clock.
    pub now: Option<OffsetDateTime>,
}

/// How a name must match.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Matching {
    /// Holds the text anywhere.
    #[default]
    Substring,
    /// Is the text.
    Exact,
    /// Starts with the text.
    Prefix,
    /// `*`, `?`, `[a-z]`, `{a,b}` over the whole name.
    Glob,
    /// A regular expression found anywhere in the name, unless anchored. Names are ASCII, and so are its classes.
    Regex,
    /// Holds the text's characters in this order, best first. Words apart are looked for one by one.
    Fuzzy,
}

/// In which order hits come. Equal ones come by name, then by vault; what has no such time comes last either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sort {
    /// By what.
    pub key: SortKey,
    /// The other way round.
    pub descending: bool,
}

/// By what hits are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SortKey {
    /// The secret's name, then the vault.
    Name,
    /// The vault's address, then the name.
    Vault,
    /// When it expires.
    Expires,
    /// When it moved last.
    Updated,
}

/// A tag that must be there, with a value where one is told.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TagFilter {
    /// The whole key, case kept.
    pub key: String,
    /// The whole value, case kept; `None`: any.
    pub value: Option<String>,
}

/// Why a query cannot be understood: which parameter, what is wrong and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadQuery {
    /// The parameter's name.
    pub parameter: String,
    /// What is wrong with it.
    pub problem: String,
    /// At which character, counted from 1.
    pub at: Option<usize>,
}

impl Query {
    /// Hits on a page if none are told.
    pub const USUAL: usize = 100;
    /// The most hits on a page.
    pub const MOST: usize = 1000;
    /// The longest text, in bytes. Names have 127 characters at most; patterns may be longer.
    pub const LONGEST: usize = 1024;

    const PARAMETERS: [&str; 13] = [
        "q",
        "match",
        "vault",
        "tag",
        "enabled",
        "managed",
        "content_type",
        "expires_within",
        "expired",
        "updated_since",
        "sort",
        "limit",
        "cursor",
    ];

    /// Reads text parameters: `q`, `match`, `vault`, `tag` (repeatable), `enabled`, `managed`, `content_type`,
    /// `expires_within` (such as `30d`), `expired`, `updated_since` (RFC 3339), `sort` (`-` for descending), `limit`,
    /// `cursor`.
    ///
    /// # Errors
    /// A parameter that is unknown, malformed, or told twice. What takes a compiler to see (an invalid regex) is told
    /// by the search.
    pub fn from_parameters<'p>(parameters: impl IntoIterator<Item = (&'p str, &'p str)>) -> Result<Self, BadQuery> {
        let mut query = Self::default();
        let mut seen: Vec<&str> = Vec::new();
        for (name, value) in parameters {
            if name != "tag" && seen.contains(&name) {
                return Err(BadQuery::new(name, "is told twice"));
            }
            seen.push(name);
            query.set(name, value)?;
        }
        Ok(query)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), BadQuery> {
        let told = Some(value.to_owned());
        match name {
            "q" => value.clone_into(&mut self.text),
            "match" => self.matching = value.parse()?,
            "vault" => self.vault = told,
            "tag" => self.tags.push(value.parse()?),
            "enabled" => self.enabled = Some(yes_or_no(name, value)?),
            "managed" => self.managed = Some(yes_or_no(name, value)?),
            "content_type" => self.content_type = told,
            "expires_within" => {
                let duration = humantime::parse_duration(value);
                self.expires_within = Some(duration.map_err(|e| BadQuery::new(name, format!("is no duration: {e}")))?);
            }
            "expired" => self.expired = Some(yes_or_no(name, value)?),
            "updated_since" => {
                let moment = OffsetDateTime::parse(value, &Rfc3339);
                self.updated_since =
                    Some(moment.map_err(|_| BadQuery::new(name, "is no RFC 3339 time, such as 2026-01-31T00:00:00Z"))?);
            }
            "sort" => self.sort = Some(value.parse()?),
            "limit" => {
                let limit = value.parse().map_err(|_| BadQuery::new(name, "is no number"))?;
                self.limit = Some(limit);
            }
            "cursor" => self.cursor = told,
            unknown => return Err(unknown_parameter(unknown)),
        }
        Ok(())
    }

    /// The one vault that the query names, if what it says of vaults is a name and no pattern.
    #[must_use]
    pub fn named_vault(&self) -> Option<&str> {
        self.vault.as_deref().filter(|text| !text.contains(['*', '?', '[', ']', '{', '}', '\\']))
    }

    /// The limit that holds.
    pub(super) fn page_size(&self) -> Result<usize, BadQuery> {
        match self.limit {
            None => Ok(Self::USUAL),
            Some(0) => Err(BadQuery::new("limit", "is 0; 1 is the least")),
            Some(limit) if limit > Self::MOST => {
                Err(BadQuery::new("limit", format!("is {limit}; {} is the most", Self::MOST)))
            }
            Some(limit) => Ok(limit),
        }
    }
}

impl BadQuery {
    pub(super) fn new(parameter: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { parameter: parameter.into(), problem: problem.into(), at: None }
    }

    pub(super) fn at(self, character: usize) -> Self {
        Self { at: Some(character), ..self }
    }
}

impl fmt::Display for BadQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.parameter.escape_debug(), self.problem)?;
        self.at.map_or(Ok(()), |at| write!(f, ", at character {at}"))
    }
}

impl std::error::Error for BadQuery {}

impl Matching {
    /// The word that asks for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Substring => "substring",
            Self::Exact => "exact",
            Self::Prefix => "prefix",
            Self::Glob => "glob",
            Self::Regex => "regex",
            Self::Fuzzy => "fuzzy",
        }
    }
}

impl FromStr for Matching {
    type Err = BadQuery;

    fn from_str(text: &str) -> Result<Self, BadQuery> {
        Ok(match text {
            "substring" => Self::Substring,
            "exact" => Self::Exact,
            "prefix" => Self::Prefix,
            "glob" => Self::Glob,
            "regex" => Self::Regex,
            "fuzzy" => Self::Fuzzy,
            _ => return Err(BadQuery::new("match", "is none of substring, exact, prefix, glob, regex, fuzzy")),
        })
    }
}

impl FromStr for Sort {
    type Err = BadQuery;

    fn from_str(text: &str) -> Result<Self, BadQuery> {
        let (text, descending) = text.strip_prefix('-').map_or((text, false), |rest| (rest, true));
        let key = match text {
            "name" => SortKey::Name,
            "vault" => SortKey::Vault,
            "expires" => SortKey::Expires,
            "updated" => SortKey::Updated,
            _ => {
                return Err(BadQuery::new("sort", "is none of name, vault, expires, updated, with '-' for descending"));
            }
        };
        Ok(Self { key, descending })
    }
}

impl FromStr for TagFilter {
    type Err = BadQuery;

    /// `key`, or `key=value`; a value may hold further `=`.
    fn from_str(text: &str) -> Result<Self, BadQuery> {
        let (key, value) = text.split_once('=').map_or((text, None), |(key, value)| (key, Some(value.to_owned())));
        if key.is_empty() {
            return Err(BadQuery::new("tag", "has no key; expected KEY or KEY=VALUE"));
        }
        Ok(Self { key: key.to_owned(), value })
    }
}

fn yes_or_no(name: &str, value: &str) -> Result<bool, BadQuery> {
    value.parse().map_err(|_| BadQuery::new(name, "is neither true nor false"))
}

fn unknown_parameter(name: &str) -> BadQuery {
    let near = Query::PARAMETERS
        .iter()
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .min()
        .filter(|(distance, known)| *distance <= 2.min(known.len() / 2));
    match near {
        Some((_, known)) => BadQuery::new(name, format!("is not a parameter here; did you mean `{known}`?")),
        None => BadQuery::new(name, "is not a parameter here"),
    }
}
