//! `[sandbox]`: whether `serve` gives up what it does not need.

use super::kinds::{Raw, text};
use super::reader::Section;
use crate::sandbox::Mode;

pub(super) fn sandbox(section: Section<'_>) -> Mode {
    let mode = section.read_or("mode", mode, Mode::default());
    section.finish(&[]);
    mode
}

fn mode(raw: Raw<'_>) -> Result<Mode, String> {
    match text(raw)?.as_str() {
        "auto" => Ok(Mode::Auto),
        "off" => Ok(Mode::Off),
        "required" => Ok(Mode::Required),
        _ => Err("expected \"auto\", \"off\" or \"required\"".to_owned()),
    }
}
