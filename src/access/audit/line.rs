use std::io::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use time::{OffsetDateTime, UtcOffset};

use super::Names;
use super::names::{write_text, write_word};
use crate::access::{Caller, Peer};
use crate::broker::{Origin, Reading};
use crate::secret::{SecretName, VaultName, Version};

/// One read, as it is told: who, what, and what became of it.
#[derive(Debug, Clone)]
pub struct Line<'a> {
    /// What tells one request from another: all lines of one carry the same.
    pub request: &'a str,
    /// Who asked; `None` where nobody was let in.
    pub caller: Option<&'a Caller>,
    /// Whom the kernel names at the other end of the unix socket, where nobody was let in.
    pub peer: Option<&'a Peer>,
    /// From where somebody came over TCP who was not let in; of IPv6 the network of 64 bits.
    pub from: Option<IpAddr>,
    /// What was asked for.
    pub operation: Operation,
    /// The vault that was asked for, or the one that was found.
    pub vault: Option<&'a VaultName>,
    /// The secret that was asked for.
    pub name: Option<&'a SecretName>,
    /// The version that was asked for; `None`: whichever was current.
    pub version: Option<&'a Version>,
    /// `ok`, or why not, in a word of ours.
    pub outcome: &'static str,
    /// What the caller got.
    pub served: Option<Served<'a>>,
    /// What was searched for.
    pub searched: Option<Searched<'a>>,
}

/// What a caller wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A value.
    Read,
    /// One of the values of a resolve.
    Resolve,
    /// The versions of a secret.
    Versions,
    /// What a vault holds.
    List,
    /// Which vaults there are.
    Vaults,
    /// What matches.
    Search,
    /// What changes.
    Watch,
    /// One of the values of credentials of AWS.
    Aws,
    /// A credential that a unit of systemd is to start with.
    Credential,
}

/// A value that a caller got.
#[derive(Debug, Clone, Copy)]
pub struct Served<'a> {
    /// Its version.
    pub version: Option<&'a Version>,
    /// Where it came from.
    pub freshness: Freshness,
    /// Time since it was last known to be true.
    pub age: Duration,
}

impl<'a> From<&'a Reading> for Served<'a> {
    fn from(reading: &'a Reading) -> Self {
        let freshness = match (reading.origin, reading.stale) {
            (Origin::Held, None) => Freshness::Fresh,
            (Origin::Held, Some(why)) => Freshness::Stale(why),
            (Origin::Read(_) | Origin::Collapsed(_), _) => Freshness::Read,
        };
        Self { version: reading.secret.metadata.version.as_ref(), freshness, age: reading.age }
    }
}

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// It was held, and is fresh.
    Fresh,
    /// It was held, and is not: why, in a word of ours.
    Stale(&'static str),
    /// It was read for this caller, or for another in the same moment.
    Read,
}

/// What was searched for, and how much of it was told.
#[derive(Debug, Clone, Copy)]
pub struct Searched<'a> {
    /// The caller's words; they may be a name. The first 256 bytes are told.
    pub text: &'a str,
    /// How they must match, in a word of ours; `None` where there was nothing to match.
    pub matching: Option<&'static str>,
    /// How many of what was found the caller was told of; `None` where that is not known yet.
    pub hits: Option<usize>,
}

const LONGEST_TEXT: usize = 256;

impl Line<'_> {
    /// As one object of JSON, with a line feed behind it.
    pub(super) fn write(&self, out: &mut Vec<u8>, now: OffsetDateTime, names: &Names) {
        out.extend_from_slice(b"{\"time\":\"");
        write_time(out, now);
        out.push(b'"');
        let key = |out: &mut Vec<u8>, key: &str| {
            out.extend_from_slice(b",\"");
            out.extend_from_slice(key.as_bytes());
            out.extend_from_slice(b"\":");
        };
        key(out, "request");
        write_text(out, self.request);
        key(out, "caller");
        match self.caller {
            Some(caller) => out.extend_from_slice(caller.as_told(told_of)),
            None => out.extend_from_slice(b"null"),
        }
        if let (None, Some(peer)) = (self.caller.and_then(Caller::peer), self.peer) {
            write_peer(out, peer);
        }
        write_from(out, self.from);
        key(out, "operation");
        write_word(out, self.operation.as_str());
        match self.vault {
            Some(vault) => {
                key(out, "vault");
                names.write_vault(out, vault);
            }
            // Whichever has it.
            None if self.name.is_some() => out.extend_from_slice(b",\"vault\":\"*\""),
            None => {}
        }
        if let Some(name) = self.name {
            key(out, "name");
            names.write_secret(out, self.vault.map_or("*", VaultName::as_str), name);
        }
        if let Some(version) = self.version {
            key(out, "asked_version");
            write_word(out, version.as_str());
        }
        if let Some(Searched { text, matching, hits }) = self.searched {
            if !text.is_empty() {
                key(out, "query");
                names.write(out, beginning(text));
            }
            if let Some(matching) = matching {
                key(out, "match");
                write_word(out, matching);
            }
            if let Some(hits) = hits {
                key(out, "hits");
                write_number(out, hits as u64);
            }
        }
        key(out, "outcome");
        write_word(out, self.outcome);
        if let Some(Served { version, freshness, age }) = self.served {
            if let Some(version) = version {
                key(out, "version");
                write_word(out, version.as_str());
            }
            key(out, "freshness");
            match freshness {
                Freshness::Fresh => write_word(out, "fresh"),
                Freshness::Read => write_word(out, "read"),
                Freshness::Stale(why) => {
                    write_word(out, "stale");
                    key(out, "stale");
                    write_word(out, why);
                }
            }
            key(out, "age");
            write_number(out, age.as_secs());
        }
        out.extend_from_slice(b"}\n");
    }
}

/// What every line of a caller tells of them.
fn told_of(caller: &Caller) -> Vec<u8> {
    let mut out = Vec::new();
    write_text(&mut out, caller.name());
    let _ = write!(out, ",\"by\":\"{}\"", caller.known());
    if let Some(peer) = caller.peer() {
        write_peer(&mut out, peer);
    }
    out
}

fn write_peer(out: &mut Vec<u8>, peer: &Peer) {
    let _ = write!(out, ",\"uid\":{},\"gid\":{}", peer.uid, peer.gid);
}

/// Refusals of those who were not let in that have no line of their own, as there were too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeftOut {
    /// When the first of them was.
    pub since: OffsetDateTime,
    /// How many.
    pub lines: u64,
    /// Of which user on the socket.
    pub uid: Option<u32>,
    /// From which address on TCP; of IPv6 the network of 64 bits. `None`, as the user: of several.
    pub from: Option<IpAddr>,
}

impl LeftOut {
    /// As one object of JSON, with a line feed behind it.
    pub(super) fn write(&self, out: &mut Vec<u8>, now: OffsetDateTime) {
        out.extend_from_slice(b"{\"time\":\"");
        write_time(out, now);
        out.extend_from_slice(b"\",\"left_out\":{\"since\":\"");
        write_time(out, self.since);
        let _ = write!(out, "\",\"lines\":{}", self.lines);
        if let Some(uid) = self.uid {
            let _ = write!(out, ",\"uid\":{uid}");
        }
        write_from(out, self.from);
        out.extend_from_slice(b"}}\n");
    }
}

fn write_from(out: &mut Vec<u8>, from: Option<IpAddr>) {
    if let Some(from) = from {
        let _ = write!(out, ",\"from\":\"{from}\"");
    }
}

/// Tells that so many lines are missing.
pub(super) fn write_gap(out: &mut Vec<u8>, now: OffsetDateTime, since: OffsetDateTime, lines: u64, answered: bool) {
    out.extend_from_slice(b"{\"time\":\"");
    write_time(out, now);
    out.extend_from_slice(b"\",\"gap\":{\"since\":\"");
    write_time(out, since);
    let _ = writeln!(out, "\",\"lines\":{lines},\"answered\":{answered}}}}}");
}

impl Operation {
    /// The word that a line has for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Resolve => "resolve",
            Self::Versions => "versions",
            Self::List => "list",
            Self::Vaults => "vaults",
            Self::Search => "search",
            Self::Watch => "watch",
            Self::Aws => "aws",
            Self::Credential => "credential",
        }
    }
}

/// The longest beginning of so many bytes that ends between two characters.
fn beginning(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST_TEXT)]
}

/// RFC 3339 in UTC, to the millisecond.
fn write_time(out: &mut Vec<u8>, at: OffsetDateTime) {
    let at = at.to_offset(UtcOffset::UTC);
    let (year, month, day) = at.to_calendar_date();
    let (hour, minute, second, millisecond) = at.to_hms_milli();
    digits(out, u64::try_from(year).unwrap_or_default(), 4);
    for (mark, number) in [(b'-', u8::from(month)), (b'-', day), (b'T', hour), (b':', minute), (b':', second)] {
        out.push(mark);
        digits(out, number.into(), 2);
    }
    out.push(b'.');
    digits(out, millisecond.into(), 3);
    out.push(b'Z');
}

fn digits(out: &mut Vec<u8>, mut number: u64, places: usize) {
    let from = out.len();
    out.resize(from + places, b'0');
    for place in out[from..].iter_mut().rev() {
        *place = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

fn write_number(out: &mut Vec<u8>, number: u64) {
    digits(out, number, number.checked_ilog10().unwrap_or_default() as usize + 1);
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;
    use crate::access::{Known, Rights};

    fn told(line: &Line<'_>, names: &Names) -> serde_json::Value {
        let mut out = Vec::new();
        line.write(&mut out, datetime!(2026-11-21 10:41:07.042_9 +1), names);
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert_eq!(out.last(), Some(&b'\n'));
        serde_json::from_slice(&out).unwrap()
    }

    fn caller(name: &str) -> Caller {
        let peer = Peer { uid: 1001, gid: 1002, groups: [7].into() };
        let known = Known { peer: true, token: true, ..Known::default() };
        Caller::new(name, known, Some(peer), Rights::all(), None)
    }

    fn plain<'a>() -> Line<'a> {
        Line {
            request: "r-1",
            caller: None,
            peer: None,
            from: None,
            operation: Operation::Read,
            vault: None,
            name: None,
            version: None,
            outcome: "unauthenticated",
            served: None,
            searched: None,
        }
    }

    #[test]
    fn a_read_is_told_whole() {
        let (vault, name): (VaultName, SecretName) = ("pay-prod".parse().unwrap(), "db-password".parse().unwrap());
        let version: Version = "0b31729e2750416caba40429a1f3bea4".parse().unwrap();
        let served = Served {
            version: Some(&version),
            freshness: Freshness::Stale("vault-unavailable"),
            age: Duration::from_millis(61_900),
        };
        let line = Line {
            caller: Some(&caller("orders")),
            vault: Some(&vault),
            name: Some(&name),
            version: Some(&version),
            outcome: "ok",
            served: Some(served),
            ..plain()
        };
        let expected = json!({
            "time": "2026-11-21T09:41:07.042Z", "request": "r-1", "caller": "orders", "by": "peer+token", "uid": 1001, "gid": 1002,
            "operation": "read", "vault": "pay-prod", "name": "db-password", "asked_version": version.as_str(),
            "outcome": "ok", "version": version.as_str(), "freshness": "stale", "stale": "vault-unavailable", "age": 61,
        });
        assert_eq!(told(&line, &Names::default()), expected);
    }

    #[test]
    fn who_was_not_let_in_is_told_as_nobody_with_what_the_kernel_says() {
        let expected = json!({
            "time": "2026-11-21T09:41:07.042Z", "request": "r-1", "caller": null, "uid": 7, "gid": 8, "operation": "read",
            "outcome": "unauthenticated",
        });
        let peer = Peer { uid: 7, gid: 8, groups: [].into() };
        assert_eq!(told(&Line { peer: Some(&peer), ..plain() }, &Names::default()), expected);
    }

    #[test]
    fn a_callers_words_end_no_line_and_begin_none() {
        let evil = "x\"}\n{\"caller\":\"root\u{7f}\u{0}\u{2028}\u{1b}[31m";
        let searched = Searched { text: evil, matching: Some("regex"), hits: Some(3) };
        let evil_caller = caller(evil);
        let line =
            Line { caller: Some(&evil_caller), operation: Operation::Search, searched: Some(searched), ..plain() };
        let told = told(&line, &Names::default());
        assert_eq!((&told["caller"], &told["query"], &told["hits"]), (&json!(evil), &json!(evil), &json!(3)));
    }

    #[test]
    fn of_a_long_text_the_beginning_is_told() {
        let long = "ä".repeat(5_000);
        let searched = Searched { text: &long, matching: Some("substring"), hits: Some(0) };
        let told = told(&Line { searched: Some(searched), ..plain() }, &Names::default());
        assert_eq!(told["query"], "ä".repeat(LONGEST_TEXT / 2));
    }

    #[test]
    fn what_has_no_line_of_its_own_is_told_by_one_for_all() {
        let (since, now) = (datetime!(2026-11-21 8:00 UTC), datetime!(2026-11-21 8:01 UTC));
        for (uid, from, who) in [
            (Some(7), None, json!({"uid": 7})),
            (None, Some("2001:db8::".parse().unwrap()), json!({"from": "2001:db8::"})),
            (None, None, json!({})),
        ] {
            let mut out = Vec::new();
            LeftOut { since, lines: 190, uid, from }.write(&mut out, now);
            let mut left_out = json!({"since": "2026-11-21T08:00:00.000Z", "lines": 190});
            left_out.as_object_mut().unwrap().extend(who.as_object().unwrap().clone());
            let told: serde_json::Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(told, json!({"time": "2026-11-21T08:01:00.000Z", "left_out": left_out}));
            assert_eq!(out.last(), Some(&b'\n'));
        }
    }

    #[test]
    fn a_gap_is_a_line_too() {
        let mut out = Vec::new();
        let (since, now) = (datetime!(2026-11-21 8:00 UTC), datetime!(2026-11-21 8:01 UTC));
        write_gap(&mut out, now, since, 7, true);
        let told: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let gap = json!({"since": "2026-11-21T08:00:00.000Z", "lines": 7, "answered": true});
        assert_eq!(told, json!({"time": "2026-11-21T08:01:00.000Z", "gap": gap}));
        assert_eq!(out.last(), Some(&b'\n'));
    }
}
