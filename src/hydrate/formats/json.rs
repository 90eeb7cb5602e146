//! One JSON object of strings.

use zeroize::Zeroizing;

use super::{Clear, Page};

pub(super) fn write(page: &mut Page, key: &str, variable: &Clear<'_>) -> Result<(), &'static str> {
    let text = variable.text()?;
    page.put(quoted(key).as_bytes());
    page.put(b": ");
    page.put(quoted(text).as_bytes());
    Ok(())
}

/// A JSON string with its quotes.
pub(super) fn quoted(text: &str) -> Zeroizing<String> {
    Zeroizing::new(serde_json::to_string(text).expect("a text is always JSON"))
}
