//! What a POSIX shell evaluates: `eval "$(sidekey env --format sh)"`, with its quotes, lest the shell split it.

use zeroize::Zeroizing;

use super::{Clear, Page};

pub(super) fn write(page: &mut Page, variable: &Clear<'_>) -> Result<(), &'static str> {
    let name = variable.plain_name()?;
    let quoted = shlex::bytes::try_quote(variable.value).map_err(|_| "a NUL byte, which no shell carries")?;
    let quoted = Zeroizing::new(quoted.into_owned());
    for piece in [b"export ", name.as_bytes(), b"=", &quoted, b"\n"] {
        page.put(piece);
    }
    Ok(())
}
