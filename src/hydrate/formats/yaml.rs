//! One YAML mapping of double-quoted strings, which are JSON's (YAML 1.2, 1.3 and 7.3.1), so that nothing becomes a
//! number, a date or a `no`. What YAML does not count as printable (5.1) is escaped besides: readers refuse it raw.

use zeroize::Zeroizing;

use super::{Clear, Page, json};

/// Of an implicit key, with its quotes (YAML 1.2, 7.4.2): readers take a longer one for no key.
const LONGEST_KEY: usize = 1024;

pub(super) fn write(page: &mut Page, variable: &Clear<'_>) -> Result<(), &'static str> {
    let (key, text) = (quoted(variable.name), variable.text()?);
    if key.chars().count() > LONGEST_KEY {
        return Err("a name longer than the 1,024 characters that YAML's keys may have");
    }
    page.put(key.as_bytes());
    page.put(b": ");
    page.put(quoted(text).as_bytes());
    page.put(b"\n");
    Ok(())
}

pub(super) fn quoted(text: &str) -> Zeroizing<String> {
    let json = json::quoted(text);
    let escaped =
        |c: char| matches!(c, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}');
    let count = json.chars().filter(|c| escaped(*c)).count();
    let mut whole = Zeroizing::new(String::with_capacity(json.len() + 6 * count));
    for c in json.chars() {
        if escaped(c) {
            whole.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            whole.push(c);
        }
    }
    whole
}
