//! JSON, YAML, and .NET's JSON.

use sidekey::hydrate::Format;

use super::{Found, Trip, has, print, reader};

/// Names that only a document can have, and what YAML or JavaScript take for something else.
const NAMES: &[&str] = &[
    "A",
    "a b",
    "A.B",
    "A-B",
    "é",
    "\u{1f600}",
    "\u{2028}",
    "\u{85}",
    "\u{feff}",
    "\u{7f}",
    "a\nb",
    "\t",
    "''",
    "\"",
    "\\",
    "#",
    "# a",
    "a: b",
    ":",
    "- a",
    "-",
    "&a",
    "*a",
    "!t",
    "!!str",
    "<<",
    "~",
    "null",
    "y",
    "no",
    "1",
    "0x1f",
    "2026-11-21",
    "[",
    "{",
    "?",
    "? a",
    "|",
    ">",
    "%",
    "@",
    "`",
    "${A}",
    "constructor",
    "toString",
    "",
];

fn utf8(value: &[u8]) -> bool {
    std::str::from_utf8(value).is_ok()
}

fn odd_names(format: Format) -> Trip {
    let given: Vec<(&str, &[u8])> = NAMES.iter().map(|name| (*name, name.as_bytes())).collect();
    Trip::of_these(format, &given)
}

fn json_readers(trip: &Trip) {
    if has("jq", &["--version"]) {
        trip.read_by("jq", &["-j", "to_entries[] | \"\\(.key)=\\(.value)\\u0000\"", "{}"]);
    }
    trip.same("serde_json", parsed(trip));
}

fn parsed(trip: &Trip) -> Found {
    let parsed: std::collections::BTreeMap<String, String> = serde_json::from_slice(&trip.page).unwrap();
    parsed.into_iter().map(|(name, value)| (name, value.into_bytes())).collect()
}

#[test]
fn json_is_read_as_what_went_in() {
    let trip = Trip::of(Format::Json);
    trip.refuses(|value| !utf8(value));
    json_readers(&trip);
    json_readers(&odd_names(Format::Json));
}

fn yaml_readers(trip: &Trip) {
    let (python, node, ruby) = (reader("read.py"), reader("read.js"), reader("read.rb"));
    for (kind, module) in [("pyyaml", "yaml"), ("libyaml", "yaml._yaml"), ("ruamel", "ruamel.yaml")] {
        if has("python3", &[&python, "has", module]) {
            trip.read_by("python3", &[&python, kind, "{}"]);
        }
    }
    for module in ["js-yaml", "yaml"] {
        if has("node", &[&node, "has", module]) {
            trip.read_by("node", &[&node, module, "{}"]);
        }
    }
    if has("ruby", &[&ruby, "yaml"]) {
        trip.read_by("ruby", &[&ruby, "yaml", "{}"]);
    }
    if has("go-readers", &[]) {
        trip.read_by("go-readers", &["yaml", "{}"]);
    }
}

#[test]
fn yaml_is_read_as_what_went_in() {
    let trip = Trip::of(Format::Yaml);
    trip.refuses(|value| !utf8(value));
    yaml_readers(&trip);
    yaml_readers(&odd_names(Format::Yaml));
}

/// A key of more than 1,024 characters is none to a YAML reader (YAML 1.2, 7.4.2), so it is refused; one less is read.
#[test]
fn the_longest_name_of_yaml_is_read_and_a_longer_one_refused() {
    let longest = "a".repeat(1022);
    yaml_readers(&Trip::of_these(Format::Yaml, &[("B", b"x"), (&longest, b"y")]));
    assert!(print(Format::Yaml, &[(&"a".repeat(1023), b"y")]).is_err());
    assert!(print(Format::Yaml, &[(&"\u{85}".repeat(200), b"y")]).is_err(), "escaped, it is longer");
}

#[test]
fn dotnet_reads_what_went_in() {
    let trip = Trip::of(Format::DotnetJson);
    trip.refuses(|value| !utf8(value));
    trip.same("serde_json", parsed(&trip));
    let python = reader("read.py");
    let names = odd_names(Format::DotnetJson);
    if has("python3", &[&python, "has", "pythonnet", "dotnetcore2"]) {
        trip.read_by("python3", &[&python, "dotnet", "{}"]);
        names.read_by("python3", &[&python, "dotnet", "{}"]);
    }
    for (one, other) in [("A__B", "a:b"), ("Σ", "ς"), ("É", "é"), ("\u{1c5}", "\u{1c6}")] {
        assert!(print(Format::DotnetJson, &[(one, b"x"), (other, b"y")]).is_err(), "{one} and {other} are one key");
    }
}

/// `__` is `:` there, as .NET reads it in the names of variables.
#[test]
fn dotnet_s_sections_are_its_own() {
    let page = print(Format::DotnetJson, &[("A__B__C", b"x"), ("D___E", b"y"), ("F_G", b"z")]).unwrap();
    let parsed: serde_json::Value = serde_json::from_slice(&page).unwrap();
    assert_eq!(parsed, serde_json::json!({"A:B:C": "x", "D:_E": "y", "F_G": "z"}));
}
