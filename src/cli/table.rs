//! Tables for a terminal: aligned, without frames, coloured where that is allowed.

use comfy_table::{Attribute, CellAlignment, Color, ContentArrangement, Table, presets};

use super::terminal::harmless;

/// One cell. What it shows is made harmless here, whoever wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cell {
    text: String,
    tone: Tone,
    right: bool,
}

/// What a cell says beyond its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    /// Of less interest.
    Dim,
    /// Look at it soon.
    Warn,
    /// Something is wrong with it.
    Bad,
}

impl Cell {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), tone: Tone::Plain, right: false }
    }

    pub(super) fn tone(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }

    /// A number: aligned to the right.
    pub(super) fn number(number: &impl ToString) -> Self {
        Self { text: number.to_string(), tone: Tone::Plain, right: true }
    }
}

/// The rows under a header, one line each.
pub(super) fn render(header: &[&str], rows: Vec<Vec<Cell>>, coloured: bool) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    if coloured {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    let bold = |text: &&str| {
        let cell = comfy_table::Cell::new(text);
        if coloured { cell.add_attribute(Attribute::Bold) } else { cell }
    };
    table.set_header(header.iter().map(bold));
    for row in rows {
        table.add_row(row.iter().map(|cell| show(cell, coloured)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: Vec<_> = table.lines().map(|line| without_tail(&line)).collect();
    lines.join("\n") + "\n"
}

/// Without the blanks that fill the last column, which would make a narrow terminal wrap, wherever colours end.
fn without_tail(line: &str) -> String {
    let (mut text, mut ends) = (line.trim_end(), String::new());
    while let Some(start) =
        text.rfind('\u{1b}').filter(|start| text[*start..].find('m') == Some(text.len() - start - 1))
    {
        ends.insert_str(0, &text[start..]);
        text = text[..start].trim_end();
    }
    format!("{text}{ends}")
}

fn show(cell: &Cell, coloured: bool) -> comfy_table::Cell {
    let shown = comfy_table::Cell::new(harmless(&cell.text));
    let shown = if cell.right { shown.set_alignment(CellAlignment::Right) } else { shown };
    match cell.tone {
        _ if !coloured => shown,
        Tone::Plain => shown,
        Tone::Dim => shown.add_attribute(Attribute::Dim),
        Tone::Warn => shown.fg(Color::Yellow),
        Tone::Bad => shown.fg(Color::Red),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_what_a_terminal_would_obey_is_escaped() {
        let rows = vec![
            vec![Cell::new("pay-prod"), Cell::number(&7), Cell::new("ok")],
            vec![Cell::new("a\u{1b}[2J"), Cell::number(&120), Cell::new("").tone(Tone::Bad)],
        ];
        assert_eq!(
            render(&["VAULT", "SECRETS", "STATE"], rows, false),
            "VAULT       SECRETS  STATE\npay-prod          7  ok\na\\u{1b}[2J      120\n"
        );
    }

    #[test]
    fn colours_only_where_they_are_allowed() {
        let rows = || vec![vec![Cell::new("x").tone(Tone::Bad)]];
        assert!(render(&["A"], rows(), true).contains("\u{1b}["));
        assert!(!render(&["A"], rows(), false).contains('\u{1b}'));
    }

    #[test]
    fn no_line_ends_in_blanks_whatever_its_colours() {
        let rows = vec![
            vec![Cell::new("x").tone(Tone::Bad), Cell::new("a long note").tone(Tone::Warn)],
            vec![Cell::new("y").tone(Tone::Dim), Cell::new("short").tone(Tone::Bad)],
            vec![Cell::new("z"), Cell::new("").tone(Tone::Bad)],
        ];
        for line in render(&["A", "NOTE"], rows, true).lines() {
            let seen = line.split('\u{1b}').map(|part| part.split_once('m').map_or(part, |(_, text)| text));
            let seen: String = seen.collect();
            assert_eq!(seen, seen.trim_end(), "{line:?}");
            assert!(line.ends_with('m') || line == "z", "{line:?}");
        }
    }
}
