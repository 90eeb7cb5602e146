use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::hydrate::Format;
use crate::hydrate::set;
use crate::secret::SecretValue;

/// A value in every format, between two others: its reader's rules, said here in other words, give the same three, or the
/// format refuses this one by its name.
pub fn formats(input: &[u8]) {
    let values: [(&str, &[u8]); 3] = [("A", b"before"), ("B", input), ("C", b"behind")];
    let set = || values.iter().map(|(name, value)| ((*name).to_owned(), SecretValue::new(*value))).collect();
    for (word, format) in Format::ALL {
        match format.print(&set(), "app") {
            Ok(page) => {
                let read = read(format, &page).unwrap_or_else(|| panic!("{word}: cannot be read"));
                let same = values.iter().all(|(name, value)| read.get(*name).is_some_and(|found| found == value));
                assert!(same && read.len() == values.len(), "{word}: comes out as another");
            }
            Err(unfit) => {
                let refused: Vec<_> = unfit.0.iter().map(|(name, _)| name.as_str()).collect();
                assert_eq!(refused, ["B"], "{word}");
            }
        }
    }
}

type Read = BTreeMap<String, Vec<u8>>;

fn read(format: Format, page: &[u8]) -> Option<Read> {
    let text = || std::str::from_utf8(page).ok();
    match format {
        Format::Json | Format::DotnetJson => of_json(text()?),
        // Each line is a name and a value in JSON's quotes.
        Format::Yaml => of_json(&format!("{{{}}}", text()?.trim_end().replace('\n', ","))),
        Format::Sh => {
            let words: Vec<_> = shlex::bytes::Shlex::new(page).collect();
            words.iter().filter(|word| *word != b"export").map(|word| pair(word)).collect()
        }
        Format::Docker => text()?.split_terminator('\n').map(|line| pair(line.as_bytes())).collect(),
        Format::K8sSecret => text()?.lines().skip_while(|line| *line != "data:").skip(1).map(encoded).collect(),
        Format::Dotenv => {
            let none = SecretValue::new(*b"");
            let layer = set::env_file(text()?).ok()?;
            let value = |template: &crate::hydrate::Template| template.render(|_| &none).ok();
            layer.iter().map(|(name, template)| Some((name.clone(), value(template)?.expose().to_vec()))).collect()
        }
        Format::Systemd => of_systemd(text()?),
        Format::Github => of_github(text()?),
    }
}

fn pair(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let at = line.iter().position(|byte| *byte == b'=')?;
    Some((String::from_utf8(line[..at].to_vec()).ok()?, line[at + 1..].to_vec()))
}

fn of_json(text: &str) -> Option<Read> {
    let read: BTreeMap<String, String> = serde_json::from_str(text).ok()?;
    Some(read.into_iter().map(|(name, value)| (name, value.into_bytes())).collect())
}

fn encoded(line: &str) -> Option<(String, Vec<u8>)> {
    let (name, value) = line.trim().split_once(": ")?;
    Some((name.trim_matches('"').to_owned(), STANDARD.decode(value.trim_matches('"')).ok()?))
}

fn of_systemd(mut text: &str) -> Option<Read> {
    let mut read = Read::new();
    while let Some((name, rest)) = text.split_once("=\"") {
        let (mut value, mut chars) = (String::new(), rest.char_indices());
        let end = loop {
            match chars.next()? {
                (end, '"') => break end,
                (_, '\\') => match chars.next()?.1 {
                    '\n' => {}
                    c @ ('"' | '\\' | '`' | '$') => value.push(c),
                    c => value.extend(['\\', c]),
                },
                (_, c) => value.push(c),
            }
        };
        read.insert(name.to_owned(), value.into_bytes());
        text = rest[end + 1..].strip_prefix('\n')?;
    }
    text.is_empty().then_some(read)
}

fn of_github(text: &str) -> Option<Read> {
    let (mut read, mut lines) = (Read::new(), text.split_inclusive('\n'));
    while let Some(line) = lines.next() {
        let (name, delimiter) = line.strip_suffix('\n')?.split_once("<<")?;
        let value: String = lines.by_ref().take_while(|line| line.trim_end_matches('\n') != delimiter).collect();
        read.insert(name.to_owned(), value.strip_suffix('\n')?.as_bytes().to_vec());
    }
    Some(read)
}
