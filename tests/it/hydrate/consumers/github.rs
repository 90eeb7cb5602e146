//! `$GITHUB_ENV`, by the runner's rules, written here from its source (`SetEnvFileCommand`), as it runs on GitHub alone: on
//! Linux a line ends at LF, on Windows at LF or CRLF; a value is the text between two lines, without the last line's end.

use sidekey::hydrate::Format;

use super::{Found, Trip, print};

/// `None` where the runner fails.
fn runner(text: &str, windows: bool) -> Option<Found> {
    let (mut found, mut rest) = (Found::new(), text.strip_prefix('\u{feff}').unwrap_or(text));
    while let Some((line, _, after)) = line(rest, windows) {
        rest = after;
        let (equals, heredoc) = (line.find('=').unwrap_or(usize::MAX), line.find("<<").unwrap_or(usize::MAX));
        if line.is_empty() {
        } else if equals < heredoc {
            found.insert(line[..equals].to_owned(), line.as_bytes()[equals + 1..].to_vec());
        } else {
            let (name, delimiter) = line.split_once("<<").filter(|(name, end)| !name.is_empty() && !end.is_empty())?;
            let (start, mut end) = (rest, 0);
            loop {
                let (line, newline, after) = self::line(rest, windows)?;
                rest = after;
                if line == delimiter {
                    break;
                }
                end = start.len() - after.len() - newline;
            }
            found.insert(name.to_owned(), start.as_bytes()[..end].to_vec());
        }
    }
    Some(found)
}

/// A line, the length of its end, and what follows.
fn line(text: &str, windows: bool) -> Option<(&str, usize, &str)> {
    if text.is_empty() {
        return None;
    }
    let Some(at) = text.find('\n') else { return Some((text, 0, "")) };
    let end = if windows && text[..at].ends_with('\r') { at - 1 } else { at };
    Some((&text[..end], at + 1 - end, &text[at + 1..]))
}

#[test]
fn the_runner_gets_what_went_in_on_linux_and_on_windows() {
    let trip = Trip::of(Format::Github);
    trip.refuses(|value| std::str::from_utf8(value).is_err() || value.ends_with(b"\r"));
    let text = std::str::from_utf8(&trip.page).unwrap();
    for windows in [false, true] {
        trip.same(if windows { "on Windows" } else { "on Linux" }, runner(text, windows).unwrap());
    }
}

/// Behind what a step before has left there, with and without its last line's end, and before what comes after.
#[test]
fn it_is_appended_to_what_is_there() {
    let page = print(Format::Github, &[("A", b"x\n"), ("B", b"")]).unwrap();
    let text = format!("BEFORE=1\n{}AFTER=1\n", String::from_utf8(page).unwrap());
    let found = runner(&text, false).unwrap();
    assert_eq!(found.keys().collect::<Vec<_>>(), ["A", "AFTER", "B", "BEFORE"]);
    assert_eq!((found["A"].as_slice(), found["B"].as_slice()), (b"x\n".as_slice(), b"".as_slice()));
}

/// A secret that knew one delimiter does not know the next: each value has its own.
#[test]
fn each_value_has_a_delimiter_of_its_own() {
    let text = String::from_utf8(print(Format::Github, &[("A", b"x"), ("B", b"y")]).unwrap()).unwrap();
    let delimiters: std::collections::BTreeSet<_> =
        text.lines().filter_map(|line| line.split_once("<<")).map(|(_, d)| d).collect();
    assert_eq!(delimiters.len(), 2);
    assert!(delimiters.iter().all(|delimiter| delimiter.len() >= 32));
}
