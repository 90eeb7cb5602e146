//! `docker run --env-file`: a line is `NAME=VALUE`, taken as it stands. Its reader (docker/cli, `pkg/kvfile`) scans lines with
//! Go's `bufio.Scanner`: nothing can hold a newline, a CR at the end is dropped, and 64 KiB is the longest line, its end
//! included.

use super::{Clear, Page};

const LONGEST: usize = 64 * 1024;

pub(super) fn write(page: &mut Page, variable: &Clear<'_>) -> Result<(), &'static str> {
    let (name, text) = (variable.plain_name()?, variable.text()?);
    if text.contains('\n') {
        return Err("a newline, which Docker's env files cannot carry");
    }
    if text.ends_with('\r') {
        return Err("a CR at the end, which Docker's env files cannot carry");
    }
    if name.len() + text.len() + 2 > LONGEST {
        return Err("longer than 64 KiB, which Docker's env files cannot carry");
    }
    for piece in [name, "=", text, "\n"] {
        page.put(piece.as_bytes());
    }
    Ok(())
}
