//! What `GET /openapi.json` answers: the document that `openapi` makes and holds to its annotations, without the line ends
//! and indents that let people compare two of it. They are taken out while this is compiled: nobody pays for them.

const LINES: &[u8] = include_bytes!("openapi/document.json");
const LENGTH: usize = each(&mut []);
static COMPACT: [u8; LENGTH] = {
    let mut compact = [0; LENGTH];
    each(&mut compact);
    compact
};

/// The API, as OpenAPI 3.1.
pub const DOCUMENT: &str = match std::str::from_utf8(&COMPACT) {
    Ok(text) => text,
    Err(_) => panic!("it is UTF-8"),
};

/// Puts what is neither a line's end nor its indent where it fits; how much there is. Within a text of JSON is no line's end.
const fn each(to: &mut [u8]) -> usize {
    let (mut at, mut length, mut indent) = (0, 0, true);
    while at < LINES.len() {
        let byte = LINES[at];
        indent = byte == b'\n' || indent && byte == b' ';
        if !indent {
            if length < to.len() {
                to[length] = byte;
            }
            length += 1;
        }
        at += 1;
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_served_is_the_file_on_one_line() {
        let file: serde_json::Value = serde_json::from_slice(LINES).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(DOCUMENT).unwrap(), file);
        assert!(!DOCUMENT.contains('\n'));
    }
}
