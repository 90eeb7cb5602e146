//! The values that go through every reader: generated ones, the same in each run, and those that are known to be hard.

use std::sync::OnceLock;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

/// Of each kind.
const COUNT: usize = 700;

/// No NUL is in any, which no variable holds.
pub(super) fn all() -> &'static [Vec<u8>] {
    static ALL: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut all = known();
        let mut runner = TestRunner::deterministic();
        let kinds: [BoxedStrategy<String>; 5] = [
            // What some reader takes for its own.
            "[-'\"$`\\\\{}()#!=&|;<>*?~%@:, \t\n\ra-cEOF0_é\u{85}\u{2028}\u{feff}\u{1f600}\u{7f}\u{1}]{0,24}".boxed(),
            // Quotes at the edges and in rows.
            "['\"\\\\ \n$a]{0,10}".boxed(),
            "[ -~]{0,40}".boxed(),
            "\\PC{0,30}".boxed(),
            proptest::collection::vec(any::<char>().prop_filter("NUL", |c| *c != '\0'), 0..20)
                .prop_map(String::from_iter)
                .boxed(),
        ];
        for kind in kinds {
            let mut one = || kind.new_tree(&mut runner).unwrap().current().into_bytes();
            all.extend((0..COUNT).map(|_| one()));
        }
        let bytes = proptest::collection::vec(1..=255_u8, 0..16);
        all.extend((0..COUNT).map(|_| bytes.new_tree(&mut runner).unwrap().current()));
        all
    })
}

fn known() -> Vec<Vec<u8>> {
    let mut known: Vec<Vec<u8>> = Vec::new();
    for byte in 1..=255_u8 {
        known.push(vec![byte]);
        known.push(vec![b'a', byte, b'b']);
        known.push(vec![byte, byte, b'\'', byte]);
        // Before what ends a text, or makes it run.
        known.extend([b"'", b"\"", b"\\", b"$", b"`"].map(|end| [&[byte], end.as_slice()].concat()));
    }
    known.extend(PLAIN.iter().chain(INJECTIONS).map(|text| text.as_bytes().to_vec()));
    known.push("0123456789abcdef\n".repeat(1500).into_bytes());
    known.push("0123456789abcde'".repeat(1600).into_bytes());
    known.push(vec![b'x'; 25 * 1024]);
    known.push(vec![b' '; 2000]);
    known
}

/// What readers take for something else than a text, or lose.
const PLAIN: &[&str] = &[
    "",
    " ",
    "  ",
    "\t",
    "\n",
    "\n\n",
    "\r",
    "\r\n",
    " x",
    "x ",
    "\tx\t",
    "a\n",
    "\na",
    "a\n\n",
    "a\r\nb",
    "a\rb",
    "trailing  ",
    "-",
    "-n",
    "--",
    "-e x",
    "--help",
    "- a",
    "no",
    "No",
    "NO",
    "y",
    "on",
    "off",
    "true",
    "False",
    "null",
    "Null",
    "~",
    "NaN",
    ".inf",
    "-.INF",
    "0",
    "-0",
    "007",
    "0o17",
    "0x1f",
    "0b1",
    "1_000",
    "1e3",
    "1E+3",
    ".5",
    "190:20:30",
    "12:30",
    "2026-11-21",
    "2026-11-21T12:00:00Z",
    "<<",
    "=",
    "==",
    "===",
    "a=b",
    "#",
    "#x",
    "a #b",
    "a#b",
    "'",
    "\"",
    "''",
    "\"\"",
    "'a'",
    "\"a\"",
    "`a`",
    "'a",
    "a'",
    "\"a",
    "a\"",
    "'\"",
    "\"'",
    "it's",
    "say \"hi\"",
    "\\",
    "\\\\",
    "a\\",
    "\\a",
    "\\'",
    "\\\"",
    "\\n",
    "a\\nb",
    "\\\n",
    "a\\\nb",
    "\\t",
    "\\x41",
    "\\u0041",
    "\\0",
    "\\$",
    "$",
    "$$",
    "$a",
    "$HOME",
    "${HOME}",
    "${HOME:-x}",
    "$(id)",
    "`id`",
    "$((1+1))",
    "$'a'",
    "\\${HOME}",
    "%",
    "%s",
    "%%",
    "%h",
    "%n%d",
    "%PATH%",
    "!",
    "!!",
    "!x",
    "!secret x",
    "&a",
    "&a b",
    "*a",
    "|",
    "|-",
    ">",
    ">-",
    "[",
    "]",
    "[a]",
    "{",
    "}",
    "{a: b}",
    "{}",
    "[]",
    "? a",
    ": a",
    "a: b",
    "a:",
    "@a",
    "---",
    "...",
    "--- a",
    "%YAML 1.2",
    "!!python/object/apply:os.system ['id']",
    "EOF",
    "EOF\n",
    "a\nEOF\nb",
    "<<EOF",
    "A<<EOF",
    "export A=b",
    "A=b\nB=c",
    "\u{feff}",
    "\u{feff}a",
    "a\u{feff}",
    "\u{85}",
    "a\u{85}b",
    "\u{2028}",
    "a\u{2029}b",
    "\u{a0}",
    "é",
    "e\u{301}",
    "\u{301}",
    "\u{1f600}",
    "\u{10ffff}",
    "\u{ffff}",
    "\u{fffe}",
    "\u{fdd0}",
    "\u{1fffe}",
    "\u{e000}",
    "\u{ad}",
    "\u{200b}",
    "\u{202e}abc",
    "ﬀ",
    "ı",
    "ſ",
    "日本語",
    "\u{1b}[31mred\u{1b}[0m",
    "\u{7f}",
    "\u{1}",
    "\u{1a}",
    "\u{4}",
    "Password=1;Server=tcp:x,1433;",
    "{\"a\":\"b\\n\"}",
    "<a b=\"c\">&amp;</a>",
    "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----\n",
];

/// What a hostile secret would set `EVIL` by, in some format or other.
pub(in crate::hydrate) const INJECTIONS: &[&str] = &[
    "x\nEVIL=1",
    "x\nEVIL=1\n",
    "x\r\nEVIL=1",
    "x\rEVIL=1",
    "x\u{85}EVIL=1",
    "x\u{2028}EVIL=1",
    "x\u{2029}EVIL=1",
    "x\u{b}EVIL=1",
    "x\u{c}EVIL=1",
    "x\u{1e}EVIL=1",
    "x'\nEVIL='1",
    "x\"\nEVIL=\"1",
    "x`\nEVIL=`1",
    "'\nEVIL=1\n'",
    "\"\nEVIL=1\n\"",
    "x\\'\nEVIL='1",
    "x\\\"\nEVIL=\"1",
    "x\\\\'\nEVIL='1",
    "x\\\nEVIL=1",
    "x\\",
    "\\",
    "x'; export EVIL='1",
    "x\"; export EVIL=\"1",
    "$(export EVIL=1)",
    "`export EVIL=1`",
    "${EVIL:=1}",
    "x'\"'\"'; export EVIL=1; '",
    "x\nEVIL: 1",
    "x\"\n\"EVIL\": \"1",
    "x\", \"EVIL\": \"1",
    "x\"\n\"EVIL\": &e \"1",
    "*evil",
    "!!map {EVIL: 1}",
    "{EVIL: 1}",
    "<<: {EVIL: 1}",
    "x\n---\nEVIL: 1",
    "x\nEVIL<<EOF\n1\nEOF",
    "x\nghadelimiter_0\nEVIL=1",
    "x\nsidekey_00000000000000000000000000000000\nEVIL=1",
    "EOF\nEVIL=1",
    "x\n\nEVIL=1",
    "x #\nEVIL=1",
    "x\n#\nEVIL=1",
    "eCB5\"\n  \"EVIL\": \"MQ==",
    "x\nstringData:\n  EVIL: 1",
    "%0aEVIL=1",
    "%0AEVIL%3D1",
    "\\nEVIL=1",
    "\\u000aEVIL=1",
];
