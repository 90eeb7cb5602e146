//! `.env` files. Their readers disagree, so a value is written only in a way that all of them read alike:
//!
//! - node (`--env-file`) takes quotes literally, but turns `\n` into a newline in double quotes, and drops every CR;
//! - python-dotenv undoes `\\` and `\'` in single quotes, and puts variables in for `${…}` in any quotes;
//! - ruby's, Rust's and Docker Compose's expand `$` and `\` in double quotes;
//! - dotenv-expand, which comes after them, sees no quotes any more: its newest runs every `$(…)`, and would run what a secret
//!   says.
//!
//! So: single quotes where nothing in the value means anything there, else double quotes likewise, else refusal.

use super::{Clear, Page};

pub(super) fn write(page: &mut Page, variable: &Clear<'_>) -> Result<(), &'static str> {
    let (name, text) = (variable.plain_name()?, variable.text()?);
    if name == "__proto__" {
        return Err("a name that JavaScript's readers lose");
    }
    let common = !text.contains("${") && !text.contains("$(") && !text.contains('\r');
    let single = !text.contains('\'') && !text.contains("\\\\") && !text.ends_with('\\');
    let double = !text.contains(['"', '\\', '$', '`']);
    let quote = match (common, single, double) {
        (true, true, _) => "'",
        (true, false, true) => "\"",
        (false, _, _) | (true, false, false) => {
            return Err(
                "the readers of .env files disagree about such a value (quotes, \\, ${, $( or CR); use sh or json",
            );
        }
    };
    for piece in [name, "=", quote, text, quote, "\n"] {
        page.put(piece.as_bytes());
    }
    Ok(())
}
