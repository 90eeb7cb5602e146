//! `EnvironmentFile=` (systemd.exec(5)): double quotes, in which `"`, `\`, `` ` `` and `$` are escaped by a backslash, and all
//! else is taken as it stands, newlines too. Values must be UTF-8 without non-characters, as systemd checks them.

use super::{Clear, Page};

pub(super) fn write(page: &mut Page, variable: &Clear<'_>) -> Result<(), &'static str> {
    let (name, text) = (variable.plain_name()?, variable.text()?);
    if text.chars().any(|c| matches!(u32::from(c), 0xfdd0..=0xfdef) || u32::from(c) & 0xfffe == 0xfffe) {
        return Err("a Unicode non-character, which systemd refuses");
    }
    page.put(name.as_bytes());
    page.put(b"=\"");
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| b"\"\\`$".contains(byte)) {
        page.put(&rest[..at]);
        page.put(&[b'\\', rest[at]]);
        rest = &rest[at + 1..];
    }
    page.put(rest);
    page.put(b"\"\n");
    Ok(())
}
