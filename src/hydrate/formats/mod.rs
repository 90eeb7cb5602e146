//! A set of variables in the formats that others read, each in a file of its own, with the rules of its reader.
//!
//! Must never happen: a value that comes out as another one. What a format cannot carry is refused, by the variable's
//! name, and then nothing of the set is printed.

mod docker;
mod dotenv;
mod dotnet_json;
mod github;
mod json;
mod k8s_secret;
mod sh;
mod systemd;
mod yaml;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use zeroize::Zeroizing;

use crate::secret::SecretValue;

/// Who is to read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `.env` files, as node, python-dotenv and their like all read them.
    Dotenv,
    /// `eval` of a POSIX shell.
    Sh,
    /// One JSON object.
    Json,
    /// One YAML mapping, 1.1 and 1.2.
    Yaml,
    /// `docker run --env-file`.
    Docker,
    /// `EnvironmentFile=`.
    Systemd,
    /// A manifest for `kubectl apply`.
    K8sSecret,
    /// What is appended to `$GITHUB_ENV`.
    Github,
    /// .NET's JSON configuration.
    DotnetJson,
}

/// What a format cannot carry: each variable with the reason. Never a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit(pub Vec<(String, &'static str)>);

/// One variable in the clear, for as long as it is written.
struct Clear<'a> {
    name: &'a str,
    value: &'a [u8],
}

/// The output, in a buffer that wipes itself when it grows and when it goes.
struct Page(Zeroizing<Vec<u8>>);

impl Format {
    /// All, with the words for them.
    pub const ALL: [(&'static str, Self); 9] = [
        ("dotenv", Self::Dotenv),
        ("sh", Self::Sh),
        ("json", Self::Json),
        ("yaml", Self::Yaml),
        ("docker", Self::Docker),
        ("systemd", Self::Systemd),
        ("k8s-secret", Self::K8sSecret),
        ("github", Self::Github),
        ("dotnet-json", Self::DotnetJson),
    ];

    /// The whole set as its reader takes it; `title` is the name of the Kubernetes secret, and of no use elsewhere.
    ///
    /// # Errors
    /// [`Unfit`] names every variable that the format cannot carry.
    pub fn print(self, set: &BTreeMap<String, SecretValue>, title: &str) -> Result<Zeroizing<Vec<u8>>, Unfit> {
        let mut size = 256;
        for (name, value) in set {
            size += 2 * (name.len() + value.len()) + 128;
        }
        let mut page = Page(Zeroizing::new(Vec::with_capacity(size)));
        self.begin(&mut page, title);
        let (mut unfit, mut first) = (Vec::new(), true);
        for (name, value) in set {
            // Where a value goes to its reader.
            let value = value.expose();
            if value.contains(&0) {
                unfit.push((name.clone(), "a NUL byte, which no variable holds"));
                continue;
            }
            let clear = Clear { name, value: &value };
            if !std::mem::take(&mut first) {
                page.put(self.between());
            }
            if let Err(why) = self.one(&mut page, &clear) {
                unfit.push((name.clone(), why));
            }
        }
        page.put(self.end());
        if let Some(why) = self.whole(set) {
            unfit.extend(why);
        }
        if unfit.is_empty() { Ok(page.0) } else { Err(Unfit(unfit)) }
    }

    fn begin(self, page: &mut Page, title: &str) {
        match self {
            Self::Json | Self::DotnetJson => page.put(b"{\n  "),
            Self::K8sSecret => k8s_secret::begin(page, title),
            Self::Yaml | Self::Dotenv | Self::Sh | Self::Docker | Self::Systemd | Self::Github => {}
        }
    }

    fn one(self, page: &mut Page, variable: &Clear<'_>) -> Result<(), &'static str> {
        match self {
            Self::Dotenv => dotenv::write(page, variable),
            Self::Sh => sh::write(page, variable),
            Self::Json => json::write(page, variable.name, variable),
            Self::Yaml => yaml::write(page, variable),
            Self::Docker => docker::write(page, variable),
            Self::Systemd => systemd::write(page, variable),
            Self::K8sSecret => k8s_secret::write(page, variable),
            Self::Github => github::write(page, variable),
            Self::DotnetJson => dotnet_json::write(page, variable),
        }
    }

    fn between(self) -> &'static [u8] {
        match self {
            Self::Json | Self::DotnetJson => b",\n  ",
            Self::Yaml | Self::Dotenv | Self::Sh | Self::Docker | Self::Systemd | Self::Github | Self::K8sSecret => b"",
        }
    }

    fn end(self) -> &'static [u8] {
        match self {
            Self::Json | Self::DotnetJson => b"\n}\n",
            Self::Yaml | Self::Dotenv | Self::Sh | Self::Docker | Self::Systemd | Self::Github | Self::K8sSecret => b"",
        }
    }

    /// What only the set as a whole can break.
    fn whole(self, set: &BTreeMap<String, SecretValue>) -> Option<Vec<(String, &'static str)>> {
        match self {
            Self::DotnetJson => Some(dotnet_json::twins(set)),
            Self::K8sSecret => k8s_secret::too_large(set),
            Self::Dotenv | Self::Sh | Self::Json | Self::Yaml | Self::Docker | Self::Systemd | Self::Github => None,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::ALL.iter().find(|(_, format)| format == self).map_or("", |(word, _)| word))
    }
}

impl FromStr for Format {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        Self::ALL.iter().find(|(known, _)| *known == word).map(|(_, format)| *format).ok_or(())
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, why)) in self.0.iter().enumerate() {
            let end = if at == 0 { "" } else { "\n" };
            write!(f, "{end}{}: {why}", name.escape_debug())?;
        }
        Ok(())
    }
}

impl std::error::Error for Unfit {}

impl Page {
    fn put(&mut self, bytes: &[u8]) {
        if self.0.capacity() - self.0.len() < bytes.len() {
            let mut larger = Zeroizing::new(Vec::with_capacity((self.0.len() + bytes.len()).next_power_of_two()));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
        self.0.extend_from_slice(bytes);
    }
}

impl Clear<'_> {
    fn text(&self) -> Result<&str, &'static str> {
        std::str::from_utf8(self.value).map_err(|_| "not UTF-8; |base64 in a template carries it")
    }

    /// The name, where it must be one that every shell takes.
    fn plain_name(&self) -> Result<&str, &'static str> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let good = self.name.bytes().all(fits) && self.name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
        if good {
            Ok(self.name)
        } else {
            Err("this format's names have letters, digits and _ only, and no digit first")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(entries: &[(&str, &[u8])]) -> BTreeMap<String, SecretValue> {
        entries.iter().map(|(name, value)| ((*name).to_owned(), SecretValue::new(*value))).collect()
    }

    fn printed(format: Format, entries: &[(&str, &[u8])]) -> String {
        String::from_utf8(format.print(&set(entries), "app").unwrap().to_vec()).unwrap()
    }

    #[test]
    fn each_format_is_written_as_its_reader_takes_it() {
        let of = |format| printed(format, &[("A", b"x y"), ("B__C", b"it's")]);
        assert_eq!(of(Format::Dotenv), "A='x y'\nB__C=\"it's\"\n");
        assert_eq!(of(Format::Sh), "export A='x y'\nexport B__C='it'\"'\"'s'\n");
        assert_eq!(of(Format::Json), "{\n  \"A\": \"x y\",\n  \"B__C\": \"it's\"\n}\n");
        assert_eq!(of(Format::Yaml), "\"A\": \"x y\"\n\"B__C\": \"it's\"\n");
        assert_eq!(of(Format::Docker), "A=x y\nB__C=it's\n");
        assert_eq!(of(Format::Systemd), "A=\"x y\"\nB__C=\"it's\"\n");
        assert_eq!(of(Format::DotnetJson), "{\n  \"A\": \"x y\",\n  \"B:C\": \"it's\"\n}\n");
        assert!(of(Format::K8sSecret).ends_with("\ndata:\n  \"A\": \"eCB5\"\n  \"B__C\": \"aXQncw==\"\n"));
    }

    #[test]
    fn a_format_names_what_it_cannot_carry_and_prints_nothing() {
        let refused = |format: Format, value: &[u8]| {
            let unfit = format.print(&set(&[("GOOD", b"x"), ("BAD", value)]), "app").expect_err("it does not fit");
            assert_eq!(unfit.0.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["BAD"], "{format}");
            assert!(!unfit.to_string().contains("hunter2"));
        };
        for (_, format) in Format::ALL {
            refused(format, b"hunter2\0");
        }
        refused(Format::Dotenv, b"hunter2'\"");
        refused(Format::Dotenv, b"hunter2${X}");
        refused(Format::Dotenv, b"hunter2\\");
        refused(Format::Docker, b"hunter2\nx");
        refused(Format::Docker, b"hunter2\r");
        refused(Format::Docker, &[b'x'; 1 << 16]);
        refused(Format::Systemd, "hunter2\u{fdd0}".as_bytes());
        refused(Format::Github, b"hunter2\r");
        refused(Format::Json, b"hunter2\xff");
    }

    #[test]
    fn names_that_a_reader_would_take_for_something_else_are_refused() {
        for format in [Format::Dotenv, Format::Sh, Format::Docker, Format::Systemd, Format::Github] {
            for name in ["A=B", "A B", "1A", "", "A\nB", "$(id)"] {
                assert!(format.print(&set(&[(name, b"x")]), "").is_err(), "{format} {name:?}");
            }
        }
        assert!(Format::DotnetJson.print(&set(&[("A__b", b"x"), ("a__B", b"y")]), "").is_err());
        assert!(Format::K8sSecret.print(&set(&[("a/b", b"x")]), "").is_err());
    }

    #[test]
    fn nobody_can_know_the_end_of_a_github_value() {
        let (one, other) = (printed(Format::Github, &[("A", b"x")]), printed(Format::Github, &[("A", b"x")]));
        assert_ne!(one, other);
    }
}
