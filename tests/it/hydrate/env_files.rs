//! `.env` files of others: where their readers agree what a file says, so does ours.

use std::collections::BTreeMap;
use std::fs;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use sidekey::hydrate::set;

use super::consumers::dotenv::texts;
use super::consumers::{has, program_with, reader};

type Read = Option<BTreeMap<String, Option<String>>>;

/// Files of a few lines, without a `$`: whether that is expanded is what readers are asked for not to agree on.
fn files() -> Vec<String> {
    let mut runner = TestRunner::deterministic();
    let value = prop_oneof![
        "[a-z0-9 #=:/.@-]{0,12}",
        "'[a-z \"#=\\\\n]{0,8}'",
        "\"[a-z '#=]{0,8}\"",
        "\"[a-z]{0,3}(\\\\n|\\\\t|\\\\\\\\|\\\\\"|\\\\r)[a-z]{0,3}\"",
        "'[a-z]{0,4}\n[a-z #]{0,4}'",
        "\"[a-z]{0,4}\n[a-z #]{0,4}\"",
        "['\" a\\\\#]{0,6}",
    ];
    let line = prop_oneof![
        8 => ("(export |export\t| |)[A-D][a-z_0-9]{0,2} ?= ?", value, "( |\t|)(#[ a-z'\"]{0,5}|)").prop_map(|(a, b, c)| a + &b + &c),
        1 => "#[ a-z='\"]{0,8}",
        1 => "[ \t]{0,3}",
    ];
    let file = (proptest::collection::vec(line, 1..4), prop_oneof![4 => Just("\n"), 1 => Just("\r\n")], any::<bool>());
    let file = file.prop_map(|(lines, end, last)| lines.join(end) + if last { end } else { "" });
    (0..4000).map(|_| file.new_tree(&mut runner).unwrap().current()).collect()
}

fn each(program: &str, args: &[&str], path: &str) -> Vec<Read> {
    let output = program_with(program, path, args).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn ours(file: &str) -> Read {
    let layer = set::env_file(file).ok()?;
    let text = |value: Vec<u8>| String::from_utf8(value).unwrap();
    Some(texts(&layer).into_iter().map(|(name, value)| (name, Some(text(value)))).collect())
}

#[test]
fn where_the_readers_of_env_files_agree_ours_agrees_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("files.json");
    let files = files();
    fs::write(&path, serde_json::to_vec(&files).unwrap()).unwrap();
    let path = path.display().to_string();
    let (python, node) = (reader("read.py"), reader("read.js"));
    let mut all = Vec::new();
    if has("python3", &[&python, "has", "dotenv"]) {
        all.push(each("python3", &[&python, "each", "{}"], &path));
    }
    if has("node", &["-e", "require('util').parseEnv('')"]) {
        all.push(each("node", &[&node, "each", "{}"], &path));
    }
    if has("go-readers", &[]) {
        all.push(each("go-readers", &["each", "{}"], &path));
    }
    if all.len() < 2 {
        return;
    }
    let (mut agreed, mut refused) = (0, 0);
    for (at, file) in files.iter().enumerate() {
        let read = &all[0][at];
        if read.is_none() || all.iter().any(|reader| &reader[at] != read) {
            continue;
        }
        match ours(file) {
            None => refused += 1,
            some => {
                agreed += 1;
                assert_eq!(&some, read, "{file:?}");
            }
        }
    }
    assert!(agreed > files.len() / 4 && refused < agreed / 10, "{agreed} alike, {refused} refused");
}
