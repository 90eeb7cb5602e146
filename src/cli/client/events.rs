//! A stream of Server-Sent Events, taken apart as the HTML standard (9.2.6) tells, from pieces of any size.

/// A sidecar's events are some hundred bytes long. What is longer is none.
const LONGEST: usize = 64 * 1024;

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::cli) struct SentEvent {
    /// Its kind.
    pub(in crate::cli) kind: String,
    /// Where to go on behind it.
    pub(in crate::cli) id: String,
    /// What it tells.
    pub(in crate::cli) data: String,
}

/// Takes events from a stream, and keeps where it stands.
#[derive(Debug, Default)]
pub(in crate::cli) struct Parser {
    line: Vec<u8>,
    /// The last byte was a carriage return: a line feed belongs to it.
    returned: bool,
    kind: String,
    data: String,
    has_data: bool,
    id: String,
    /// Milliseconds to wait before coming back.
    retry: Option<u64>,
}

/// The stream is no stream of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) struct NotEvents;

impl Parser {
    /// For the stream that goes on where this one has ended: what was cut off comes again.
    pub(in crate::cli) fn again(&self) -> Self {
        Self { id: self.id.clone(), retry: self.retry, ..Self::default() }
    }

    /// The events that end in this piece.
    pub(in crate::cli) fn feed(&mut self, piece: &[u8]) -> Result<Vec<SentEvent>, NotEvents> {
        let mut events = Vec::new();
        for byte in piece {
            match byte {
                b'\n' if self.returned => {}
                b'\n' | b'\r' => events.extend(self.end_line()),
                other => self.line.push(*other),
            }
            self.returned = *byte == b'\r';
            if self.line.len() + self.data.len() > LONGEST {
                return Err(NotEvents);
            }
        }
        Ok(events)
    }

    /// The id to go on behind; empty if none was told.
    pub(in crate::cli) fn id(&self) -> &str {
        &self.id
    }

    /// Milliseconds that the server wants to be left alone before the next try.
    pub(in crate::cli) fn retry(&self) -> Option<u64> {
        self.retry
    }

    fn end_line(&mut self) -> Option<SentEvent> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        if line.is_empty() {
            let (kind, data) = (std::mem::take(&mut self.kind), std::mem::take(&mut self.data));
            return std::mem::take(&mut self.has_data).then(|| SentEvent { kind, id: self.id.clone(), data });
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.kind),
            "data" => {
                if self.has_data {
                    self.data.push('\n');
                }
                self.data.push_str(value);
                self.has_data = true;
            }
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            "retry" => self.retry = value.parse().ok().or(self.retry),
            // A comment, or what a later version may add.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_the_same_in_whatever_pieces_and_with_whatever_ends_of_lines_they_come() {
        let text = "retry: 2000\nid: a-0\n\n: \nid: a-1\n\nevent: changed\nid: a-2\ndata: {\"a\":1}\n\n\
                    data:x\ndata\ndata:  y\nother: z\n\nevent: lost\n\nid: cut";
        let event =
            |kind: &str, id: &str, data: &str| SentEvent { kind: kind.into(), id: id.into(), data: data.into() };
        let expected = [event("changed", "a-2", "{\"a\":1}"), event("", "a-2", "x\n\n y")];
        for ends in ["\n", "\r\n", "\r"] {
            let text = text.replace('\n', ends);
            for size in 1..text.len() {
                let mut parser = Parser::default();
                let pieces = text.as_bytes().chunks(size);
                let events: Vec<_> = pieces.flat_map(|piece| parser.feed(piece).unwrap()).collect();
                assert_eq!((&events[..], parser.id(), parser.retry()), (&expected[..], "a-2", Some(2000)));
            }
        }
    }

    #[test]
    fn what_has_no_end_is_given_up() {
        assert_eq!(Parser::default().feed(&[b'x'; LONGEST + 1]), Err(NotEvents));
        let mut parser = Parser::default();
        assert!((0..LONGEST).any(|_| parser.feed(b"data: more\n").is_err()));
    }
}
