//! Every form in which a text may leave: as it is, encoded, escaped, in other alphabets.
use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// What is looked for, and where it came from.
pub struct Scanner {
    patterns: AhoCorasick,
    /// Of each pattern: which canary, in which form.
    names: Vec<(String, &'static str)>,
}

impl Scanner {
    /// Each with its name.
    pub fn of<'c>(canaries: impl IntoIterator<Item = (&'c str, &'c [u8])>) -> Self {
        let (mut patterns, mut names) = (Vec::new(), Vec::new());
        for (name, canary) in canaries {
            for (form, bytes) in forms(canary) {
                patterns.push(bytes);
                names.push((name.to_owned(), form));
            }
        }
        let patterns = AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(patterns).unwrap();
        Self { patterns, names }
    }

    /// What is in there, each once. Of memory the most was never written.
    pub fn hits(&self, bytes: &[u8]) -> Vec<String> {
        let is_written = |page: &[u8]| *page != [0; 4_096][..page.len()];
        let pages: Vec<bool> = bytes.chunks(4_096).map(is_written).collect();
        let mut at = 0;
        let runs = pages.chunk_by(|one, other| one == other).map(|run| {
            let from = at;
            at += run.len() * 4_096;
            (run[0], &bytes[from..at.min(bytes.len())])
        });
        let written = runs.filter(|(is_written, _)| *is_written).map(|(_, run)| run);
        let found = written.flat_map(|run| self.patterns.find_iter(run).map(|found| found.pattern().as_usize()));
        let mut hits: Vec<_> = found.map(|pattern| &self.names[pattern]).collect();
        hits.sort_unstable();
        hits.dedup();
        hits.into_iter().map(|(canary, form)| format!("{canary} as {form}")).collect()
    }
}

/// All forms of bytes that are ASCII letters and digits, or no text at all.
pub fn forms(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let each = |form: &dyn Fn(u8) -> String| bytes.iter().map(|byte| form(*byte)).collect::<String>().into_bytes();
    let mut forms = vec![
        ("itself", bytes.to_vec()),
        ("hex", each(&|byte| format!("{byte:02x}"))),
        ("HEX", each(&|byte| format!("{byte:02X}"))),
        ("percent", each(&|byte| format!("%{byte:02x}"))),
        ("PERCENT", each(&|byte| format!("%{byte:02X}"))),
        ("JSON escapes", each(&|byte| format!("\\u{byte:04x}"))),
        ("decimal bytes", bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(", ").into_bytes()),
        ("UTF-16LE", bytes.iter().flat_map(|byte| [*byte, 0]).collect()),
        ("UTF-16BE", bytes.iter().flat_map(|byte| [0, *byte]).collect()),
        ("reversed", bytes.iter().rev().copied().collect()),
    ];
    // Wherever it begins within the three bytes that four letters stand for; letters that depend on neighbours left off.
    for shift in 0..3 {
        let padded = [&b"\0\0"[..shift], bytes].concat();
        for (name, text) in
            [("base64", STANDARD_NO_PAD.encode(&padded)), ("base64url", URL_SAFE_NO_PAD.encode(&padded))]
        {
            let first = (shift * 8).div_ceil(6);
            forms.push((name, text.as_bytes()[first..padded.len() * 8 / 6].to_vec()));
        }
    }
    forms
}

#[test]
fn every_form_is_found_wherever_it_stands() {
    let scanner = Scanner::of(["K7x9QmZp2LwVt4Rb", "another0canary"].map(|canary| (canary, canary.as_bytes())));
    for canary in ["K7x9QmZp2LwVt4Rb", "another0canary"] {
        for (form, bytes) in forms(canary.as_bytes()) {
            let hits = scanner.hits(&[b"before ", bytes.as_slice(), b" after"].concat());
            // Both alphabets of base64 are often the same letters.
            assert!(hits.len() == 1 && hits[0].starts_with(&format!("{canary} as {}", &form[..2])), "{form}: {hits:?}");
        }
        // Encoded with what stands around it, at each of the three places.
        for before in ["", "x", "xy", "xyz"] {
            let text = format!("{before}{canary}tail");
            for encoded in [STANDARD_NO_PAD.encode(&text), URL_SAFE_NO_PAD.encode(&text)] {
                assert_eq!(scanner.hits(encoded.as_bytes()).len(), 1, "{text} as {encoded}");
            }
        }
    }
    assert_eq!(scanner.hits(b"K7x9QmZp2LwVt4R another canary"), Vec::<String>::new());
}
