//! Writing for people: to a terminal nothing passes that the terminal would take as a command, and a reader that goes
//! away ends the writing without a fault.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use super::Failure;
use crate::config::Vars;

/// Whether a text may be coloured: a terminal that wants it, and nobody who said no (<https://no-color.org>).
pub(super) fn colour_allowed(vars: &Vars, no_color: bool) -> bool {
    !no_color
        && io::stdout().is_terminal()
        && vars.get("NO_COLOR").is_none()
        && vars.get("TERM").is_some_and(|term| term != "dumb")
}

/// Whether somebody looks at stdout.
pub(super) fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Whether somebody looks at stderr.
pub(super) fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Bytes to stdout, and to the reader behind it.
pub(super) fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| Failure::io("stdout", &error))
}

/// A line to stderr, harmless to a terminal. Nobody is left to tell if that fails.
pub fn tell(text: &str) {
    let lines: Vec<_> = text.lines().map(harmless).collect();
    let _ = writeln!(io::stderr().lock(), "{}", lines.join("\n"));
}

/// The text with its control characters, and the marks that turn the direction of writing, escaped.
pub(super) fn harmless(text: &str) -> Cow<'_, str> {
    if !text.contains(acts_on_a_terminal) {
        return Cow::Borrowed(text);
    }
    let escape = |c: char| if acts_on_a_terminal(c) { c.escape_default().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(escape).collect())
}

/// The same for JSON text, where such a character can stand in a string only and `\u` means the same character.
pub(super) fn harmless_json(json: &str) -> Cow<'_, str> {
    let layout = |c: char| matches!(c, '\n' | '\t' | '\r');
    if !json.contains(|c| acts_on_a_terminal(c) && !layout(c)) {
        return Cow::Borrowed(json);
    }
    let escape = |c: char| match c {
        c if acts_on_a_terminal(c) && !layout(c) => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    };
    Cow::Owned(json.chars().map(escape).collect())
}

/// Whether a terminal would show these bytes as they are: UTF-8 text whose only control characters are line ends and
/// tabs.
pub(super) fn is_plain_text(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| !text.contains(|c| acts_on_a_terminal(c) && c != '\n' && c != '\t'))
}

/// C0, DEL, C1, and Unicode's overrides of direction, all below U+10000.
fn acts_on_a_terminal(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        assert_eq!(harmless("a\u{1b}[31mb\u{9b}c\u{202e}\r"), "a\\u{1b}[31mb\\u{9b}c\\u{202e}\\r");
        assert!(matches!(harmless("plain – ключ"), Cow::Borrowed(_)));
        let json = "{\n \"a\": \"x\u{9b}y\u{202e}\"\n}";
        assert_eq!(harmless_json(json), "{\n \"a\": \"x\\u009by\\u202e\"\n}");
        let (before, after): (serde_json::Value, serde_json::Value) =
            (serde_json::from_str(json).unwrap(), serde_json::from_str(&harmless_json(json)).unwrap());
        assert_eq!(before, after);
    }

    #[test]
    fn a_pem_is_plain_and_an_escape_sequence_or_a_carriage_return_is_not() {
        assert!(is_plain_text(b"-----BEGIN X-----\nabc\n"));
        assert!(!is_plain_text(b"a\x1b]0;x\x07") && !is_plain_text(b"a\rb") && !is_plain_text(b"\xff"));
    }
}
