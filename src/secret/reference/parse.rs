//! Every form of reference. A fault is told with its place, by which whoever wrote the text finds it: the text itself may be a
//! secret that stands where a reference was expected, and is never told.

use std::str::FromStr;

use super::{BadName, BadReference, Misplaced, Pointer, Reference, SecretName, VaultName, Version};

/// What only references begin with, and slips of the pen of one, whatever the case: an app must not get these as its password.
pub(super) const OURS: [&str; 4] = ["secret:/", "secrets:/", "akv:/", APP_SERVICE];
const SECRET: &str = "secret://";
const AKV: &str = "akv://";
const APP_SERVICE: &str = "@Microsoft.KeyVault(";
const HTTPS: &str = "https://";

/// A part of a text, and where it begins in it.
#[derive(Clone, Copy)]
pub(super) struct Piece<'t> {
    text: &'t str,
    at: usize,
}

pub(super) fn begins(text: &str, start: &str) -> bool {
    text.get(..start.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(start))
}

/// The forms that say what they are.
pub(super) fn any(text: Piece<'_>) -> Result<Reference, Misplaced> {
    if let Some(body) = text.after(APP_SERVICE) {
        let inside = body.text.strip_suffix(')').map(|inside| Piece { text: inside, at: body.at });
        return app_service(inside.ok_or_else(|| body.end(BadReference::AppService("its closing ')'")))?);
    }
    if let Some(rest) = text.after(SECRET).or_else(|| text.after(AKV)) {
        let (address, pointer) = rest.pointer()?;
        let (vault, rest) = address.split('/').ok_or_else(|| address.wrong(BadReference::Form))?;
        return Ok(Reference { pointer, ..path(vault, rest, '@')? });
    }
    if text.after(HTTPS).is_some() { url(text) } else { Err(text.wrong(BadReference::Form)) }
}

/// `VAULT/NAME[@VERSION]` and `NAME[@VERSION]`.
pub(super) fn short(text: Piece<'_>) -> Result<Reference, Misplaced> {
    let (address, pointer) = text.pointer()?;
    let parsed = match address.split('/') {
        Some((vault, rest)) => path(vault, rest, '@')?,
        None => {
            let (name, version) = named(address, '@')?;
            Reference { vault: None, name, version, pointer: None }
        }
    };
    Ok(Reference { pointer, ..parsed })
}

/// `https://V.<suffix>/secrets/NAME[/VERSION]`. Only the vault's label is taken: which host is asked is decided by
/// discovery and the allow-list, never by a reference.
fn url(text: Piece<'_>) -> Result<Reference, Misplaced> {
    let wrong = || text.wrong(BadReference::Form);
    let (address, pointer) = text.pointer()?;
    let url = url::Url::parse(address.text).map_err(|_| wrong())?;
    let (vault, suffix) = url.host_str().and_then(|host| host.split_once('.')).ok_or_else(wrong)?;
    let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    if !plain || !suffix.starts_with("vault.") || vault == "*" || !url.path().starts_with(SECRETS) {
        return Err(wrong());
    }
    // As it is written, so that a place is one in the text: a parser of URLs would have put it another way.
    let (_, rest) = address.split_text(SECRETS).ok_or_else(wrong)?;
    let rest = Piece { text: rest.text.strip_suffix('/').unwrap_or(rest.text), at: rest.at };
    let (name, version) = named(rest, '/')?;
    let vault = vault.parse().map_err(|bad: BadName| address.wrong(bad.into()))?;
    Ok(Reference { vault: Some(vault), name, version, pointer })
}

const SECRETS: &str = "/secrets/";

fn app_service(body: Piece<'_>) -> Result<Reference, Misplaced> {
    const KEYS: &str = "a known key before each '=': SecretUri, VaultName, SecretName, SecretVersion, each once";
    let (mut uri, mut vault, mut name, mut version) = (None, None, None, None);
    let mut rest = Some(body);
    while let Some(piece) = rest {
        let (part, after) = piece.split(';').map_or((piece, None), |(part, after)| (part, Some(after)));
        rest = after;
        let part = part.trimmed();
        if part.text.is_empty() {
            continue;
        }
        let (key, value) = part.split('=').ok_or_else(|| part.wrong(BadReference::AppService(KEYS)))?;
        let known = match key.trimmed().text.to_ascii_lowercase().as_str() {
            "secreturi" => &mut uri,
            "vaultname" => &mut vault,
            "secretname" => &mut name,
            "secretversion" => &mut version,
            _ => return Err(key.wrong(BadReference::AppService(KEYS))),
        };
        if known.replace(value.trimmed()).is_some() {
            return Err(key.wrong(BadReference::AppService(KEYS)));
        }
    }
    if let Some(uri) = uri {
        let alone = vault.or(name).or(version);
        return match alone {
            None => url(uri),
            Some(more) => Err(more.wrong(BadReference::AppService("a SecretUri that stands alone"))),
        };
    }
    let missing = |what| move || body.wrong(BadReference::AppService(what));
    Ok(Reference {
        vault: Some(vault.ok_or_else(missing("VaultName"))?.vault()?),
        name: name.ok_or_else(missing("SecretName"))?.parse::<SecretName>()?,
        // An empty one is what templates leave for 'the current one'.
        version: version.filter(|version| !version.text.is_empty()).map(Piece::parse::<Version>).transpose()?,
        pointer: None,
    })
}

fn path(vault: Piece<'_>, rest: Piece<'_>, version_mark: char) -> Result<Reference, Misplaced> {
    let (name, version) = named(rest, version_mark)?;
    let vault = if vault.text == "*" { None } else { Some(vault.vault()?) };
    Ok(Reference { vault, name, version, pointer: None })
}

fn named(text: Piece<'_>, version_mark: char) -> Result<(SecretName, Option<Version>), Misplaced> {
    Ok(match text.split(version_mark) {
        None => (text.parse()?, None),
        Some((name, version)) => (name.parse()?, Some(version.parse()?)),
    })
}

impl<'t> Piece<'t> {
    pub(super) fn whole(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    fn after(self, start: &str) -> Option<Self> {
        begins(self.text, start).then(|| Self { text: &self.text[start.len()..], at: self.at + start.len() })
    }

    fn split(self, mark: char) -> Option<(Self, Self)> {
        self.split_text(mark.encode_utf8(&mut [0; 4]))
    }

    fn split_text(self, mark: &str) -> Option<(Self, Self)> {
        let (before, after) = self.text.split_once(mark)?;
        let at = self.at + before.len() + mark.len();
        Some((Self { text: before, at: self.at }, Self { text: after, at }))
    }

    fn trimmed(self) -> Self {
        let text = self.text.trim_start();
        Self { text: text.trim_end(), at: self.at + self.text.len() - text.len() }
    }

    /// What stands before the `#`, and the field after it.
    fn pointer(self) -> Result<(Self, Option<Pointer>), Misplaced> {
        match self.split('#') {
            None => Ok((self, None)),
            Some((address, pointer)) => {
                Ok((address, Some(pointer.text.parse().map_err(|fault| pointer.wrong(fault))?)))
            }
        }
    }

    fn vault(self) -> Result<VaultName, Misplaced> {
        // A fault of the bare name is counted from behind the source.
        let skipped = self.split(':').map_or(0, |(source, bare)| {
            if source.text.parse::<super::super::SourceName>().is_ok() { bare.at - self.at } else { 0 }
        });
        let parsed = self.text.parse::<VaultName>();
        parsed.map_err(|bad| Misplaced { at: self.at + skipped + bad.offset(), fault: bad.into() })
    }

    fn parse<T: FromStr<Err = BadName>>(self) -> Result<T, Misplaced> {
        self.text.parse::<T>().map_err(|bad| Misplaced { at: self.at + bad.offset(), fault: bad.into() })
    }

    fn wrong(self, fault: BadReference) -> Misplaced {
        Misplaced { at: self.at, fault }
    }

    fn end(self, fault: BadReference) -> Misplaced {
        Misplaced { at: self.at + self.text.len(), fault }
    }
}
