//! What a step of GitHub Actions appends to `$GITHUB_ENV`: `NAME<<DELIMITER`, the lines, the delimiter. It is random, so that
//! no value can end itself and set another variable.

use ring::rand::{SecureRandom as _, SystemRandom};

use super::{Clear, Page};

pub(super) fn write(page: &mut Page, variable: &Clear<'_>) -> Result<(), &'static str> {
    let (name, text) = (variable.plain_name()?, variable.text()?);
    if text.ends_with('\r') {
        return Err("a CR at the end, which a runner on Windows takes for the line's");
    }
    let mut random = [0; 16];
    SystemRandom::new().fill(&mut random).map_err(|_| "the system gives no random bytes for its delimiter")?;
    let delimiter = format!("sidekey_{:032x}", u128::from_ne_bytes(random));
    for piece in [name, "<<", &delimiter, "\n", text, "\n", &delimiter, "\n"] {
        page.put(piece.as_bytes());
    }
    Ok(())
}
