//! `.env` files: every one of their readers gets the same out of what is printed.

use sidekey::hydrate::set::{self, Layer};
use sidekey::hydrate::{Format, Template};
use sidekey::secret::SecretValue;

use super::{Found, Trip, has, print, program_with, reader};

fn readers(trip: &Trip) {
    let (python, node, ruby) = (reader("read.py"), reader("read.js"), reader("read.rb"));
    if has("python3", &[&python, "has", "dotenv"]) {
        trip.read_by("python3", &[&python, "dotenv", "{}"]);
    }
    let nodes = std::env::var_os("ROUND_TRIPS_NODES").unwrap_or_else(|| "node".into());
    for program in nodes.to_str().unwrap().split_whitespace() {
        if has(program, &["-e", "require('util').parseEnv('')"]) {
            trip.read_by(program, &[&node, "parseEnv", "{}"]);
            trip.read_by(program, &["--env-file={}", &node, "environment"]);
        }
    }
    if has("node", &[&node, "has", "dotenv"]) {
        trip.read_by("node", &[&node, "dotenv", "{}"]);
    }
    if has("ruby", &[&ruby, "dotenv"]) {
        let old = "require 'dotenv/version'; exit Dotenv::VERSION.to_i < 3";
        if program_with("ruby", "", &["-e", old]).status().unwrap().success() {
            // Before it knew values of several lines.
            trip.of_those(|value| !value.contains(&b'\n')).read_by("ruby", &[&ruby, "dotenv", "{}"]);
        } else {
            trip.read_by("ruby", &[&ruby, "dotenv", "{}"]);
        }
    }
    if has("go-readers", &[]) {
        trip.read_by("go-readers", &["godotenv", "{}"]);
        trip.read_by("go-readers", &["compose", "{}"]);
    }
    for shell in ["dash", "bash"] {
        if has(shell, &["-c", "true"]) {
            trip.read_by(shell, &["-c", "set -a && . \"$1\" && exec env -0", "x", "{}"]);
        }
    }
    let own = set::env_file(std::str::from_utf8(&trip.page).unwrap()).unwrap_or_default();
    trip.same("sidekey's own reader", texts(&own));
}

/// What stands in a layer without references.
pub(in crate::hydrate) fn texts(layer: &Layer) -> Found {
    let none = SecretValue::new(*b"");
    let text = |template: &Template| template.render(|_| &none).unwrap().expose().to_vec();
    layer.iter().map(|(name, template)| (name.clone(), text(template))).collect()
}

#[test]
fn all_readers_of_env_files_get_what_went_in() {
    let trip = Trip::of(Format::Dotenv);
    readers(&trip);
    // What they disagree about: nothing more is refused, and it is told.
    trip.refuses(|value| {
        let Ok(text) = std::str::from_utf8(value) else { return true };
        let single = !text.contains('\'') && !text.contains("\\\\") && !text.ends_with('\\');
        let double = !text.contains(['"', '\\', '$', '`']);
        text.contains("${") || text.contains("$(") || text.contains('\r') || !(single || double)
    });
}

#[test]
fn odd_names_arrive_too() {
    let names = ["_", "a", "A__B", "A1", "export", "constructor", "toString", "true", "null", "PATH_", "if"];
    let given: Vec<(&str, &[u8])> = names.iter().map(|name| (*name, b"a b".as_slice())).collect();
    readers(&Trip::of_these(Format::Dotenv, &given[1..]));
    assert!(print(Format::Dotenv, &[("__proto__", b"x")]).is_err(), "JavaScript loses it");
}
