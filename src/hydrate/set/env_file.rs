//! `.env` files. Written here because the libraries for them put variables in for `${…}`, which would eat references.
//!
//! A line is `NAME=VALUE`, `export ` before it, blanks around both. A value in single quotes is literal; in double quotes
//! `\n`, `\r`, `\t`, `\\`, `\"` and `\$` mean what they do in C and in a shell, and any other `\` is itself; both may hold newlines.
//! Without quotes it ends at a ` #` or at the line's end. A later line of the same name wins.

use zeroize::Zeroizing;

use super::{Told, Wrong, is_name};

pub(super) fn parse(text: &str) -> Result<Vec<Told>, Vec<Wrong>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (mut told, mut wrong) = (Vec::new(), Vec::new());
    let (mut rest, mut line) = (text, 1);
    while !rest.is_empty() {
        let (found, after) = one(rest);
        match found {
            Ok(Some((name, text))) => told.push(Told { place: format!("line {line}"), name: name.to_owned(), text }),
            Ok(None) => {}
            Err(why) => wrong.push(Wrong { place: format!("line {line}"), why: why.to_owned() }),
        }
        line += rest[..rest.len() - after.len()].matches('\n').count();
        rest = after;
    }
    if wrong.is_empty() { Ok(told) } else { Err(wrong) }
}

type Pair<'t> = Option<(&'t str, Zeroizing<String>)>;

/// The first line, or the lines of a quoted value, and what follows.
fn one(text: &str) -> (Result<Pair<'_>, &'static str>, &str) {
    let (line, after) = text.split_once('\n').unwrap_or((text, ""));
    let trimmed = line.trim();
    if trimmed.is_empty() || trimmed.starts_with('#') {
        return (Ok(None), after);
    }
    let Some((name, _)) = line.split_once('=') else { return (Err("expected NAME=VALUE"), after) };
    let value = text[name.len() + 1..].trim_start_matches([' ', '\t']);
    let name = name.trim();
    let name = name.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t'])).map_or(name, str::trim);
    if !is_name(name) {
        return (Err("a name has letters, digits and _ only, and no digit first"), after);
    }
    let Some(quote) = value.chars().next().filter(|c| matches!(c, '\'' | '"')) else {
        let line = value.split('\n').next().unwrap_or_default();
        let end = comment(line).unwrap_or(line.len());
        return (Ok(Some((name, Zeroizing::new(line[..end].trim().to_owned())))), after);
    };
    let Some((inside, behind)) = quoted(&value[1..], quote) else {
        return (Err("a quote that nothing closes"), "");
    };
    let (line, after) = behind.split_once('\n').unwrap_or((behind, ""));
    let line = line.trim();
    if !line.is_empty() && !line.starts_with('#') {
        return (Err("something follows the closing quote"), after);
    }
    (Ok(Some((name, inside))), after)
}

/// Where a comment begins: at the start, or behind a blank.
fn comment(line: &str) -> Option<usize> {
    line.match_indices('#').map(|(at, _)| at).find(|at| *at == 0 || line[..*at].ends_with([' ', '\t']))
}

/// What stands before the closing quote, and what behind it.
fn quoted(text: &str, quote: char) -> Option<(Zeroizing<String>, &str)> {
    let mut inside = Zeroizing::new(String::with_capacity(text.len()));
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => return Some((inside, &text[at + 1..])),
            '\\' if quote == '"' => match chars.next()?.1 {
                'n' => inside.push('\n'),
                'r' => inside.push('\r'),
                't' => inside.push('\t'),
                c @ ('\\' | '"' | '$') => inside.push(c),
                c => inside.extend(['\\', c]),
            },
            c => inside.push(c),
        }
    }
    None
}
