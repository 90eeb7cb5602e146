//! What must hold of every error's text, whoever tells it.

/// A stranger's text in one line of ours, or too much of it, would reach a terminal or a log.
#[track_caller]
pub(crate) fn assert_tellable(text: &str, most: usize) {
    assert!(text.len() <= most, "{} bytes where {most} are the most: {:?}", text.len(), text.get(..200));
    assert!(!text.chars().any(char::is_control), "a control character goes out: {text:?}");
}
