//! Round trips through the real readers of each format: what comes out is what went in, for thousands of values. Each
//! reader is started a few times for all of them. A reader that this machine does not have is skipped, and says so.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use sidekey::hydrate::{Format, Template};
use sidekey::secret::SecretValue;

const COUNT: usize = 1500;

/// Generated values, the same in each run, and those that are known to be hard.
fn values() -> Vec<String> {
    let mut runner = TestRunner::deterministic();
    let hard = "[-'\"$`\\\\{}()#!=&|;<>*?~%@:, \t\n\ra-cEOF0_é\u{85}\u{2028}\u{feff}\u{1f600}\u{7f}\u{1}]{0,24}";
    let strategy = prop_oneof![hard, "[a-z$'\" \n]{0,12}", "[ -~]{0,40}", "\\PC{0,30}"];
    let mut values: Vec<String> = (0..COUNT).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect();
    let known = [
        "",
        " ",
        "-n",
        "--",
        "no",
        "on",
        "1e3",
        "null",
        "~",
        "a\n",
        "\n\n",
        "trailing  ",
        "#x",
        "a #b",
        "'",
        "\"",
        "\\",
    ];
    values.extend(known.map(str::to_owned));
    values.extend(["${HOME}", "$HOME", "$(id)", "`id`", "a\\nb", "!x", "\u{1f600}", "a\r\nb", "\r"].map(str::to_owned));
    values.push("0123456789abcdef\n".repeat(1600));
    values
}

/// What the format can carry of them, in one text.
fn carried(format: Format) -> (BTreeMap<String, String>, Vec<u8>) {
    let (mut kept, mut set) = (BTreeMap::new(), BTreeMap::new());
    for (at, value) in values().into_iter().enumerate() {
        let name = format!("V{at:05}");
        let alone = BTreeMap::from([(name.clone(), SecretValue::new(value.as_bytes()))]);
        if format.print(&alone, "x").is_ok() {
            set.insert(name.clone(), SecretValue::new(value.as_bytes()));
            kept.insert(name, value);
        }
    }
    assert!(kept.len() > COUNT / 4, "{format} carries only {}", kept.len());
    (kept, format.print(&set, "app").unwrap().to_vec())
}

/// Whether the reader is here; the reason why not is told.
#[allow(clippy::print_stderr, reason = "who runs the tests is to know what was not tried")]
fn has(program: &str, args: &[&str]) -> bool {
    let run = Command::new(program).args(args).stdin(Stdio::null()).output();
    let found = run.as_ref().is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("skipped: {program} {args:?} does not run here");
    }
    found
}

/// Runs a reader in an empty environment, which prints `NAME=VALUE\0…`.
fn read(program: &str, args: &[&str]) -> BTreeMap<String, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let home = std::env::var_os("HOME").unwrap_or_default();
    let output = Command::new(program).args(args).env_clear().env("PATH", path).env("HOME", home).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let pairs = text.split('\0').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(name, _)| name.starts_with('V')).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn same(reader: &str, expected: &BTreeMap<String, String>, found: &BTreeMap<String, String>) {
    for (name, value) in expected {
        assert_eq!(found.get(name), Some(value), "{reader}: {name}");
    }
    assert_eq!(found.len(), expected.len(), "{reader}: as many as were given");
}

fn file(text: &[u8], name: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    let path = path.display().to_string();
    (folder, path)
}

#[test]
fn shells_evaluate_what_went_in() {
    let (expected, text) = carried(Format::Sh);
    assert_eq!(expected.len(), values().len(), "a shell carries everything");
    let (_folder, path) = file(&text, "env.sh");
    for shell in ["dash", "bash", "zsh"] {
        if has(shell, &["-c", "true"]) {
            same(shell, &expected, &read(shell, &["-c", "eval \"$(cat \"$1\")\" && exec env -0", "x", &path]));
        }
    }
}

const PYTHON: &str = "sys.stdout.buffer.write(b''.join(f'{k}={v}\\0'.encode() for k, v in d.items()))";

#[test]
fn readers_of_env_files_agree_on_what_went_in() {
    let (expected, text) = carried(Format::Dotenv);
    let (_folder, path) = file(&text, ".env");
    if has("python3", &["-c", "import dotenv"]) {
        let code = format!("import sys, dotenv; d = dotenv.dotenv_values(sys.argv[1]); {PYTHON}");
        same("python-dotenv", &expected, &read("python3", &["-c", &code, &path]));
    }
    if has("node", &["-e", "require('util').parseEnv('')"]) {
        let code = "const d = require('util').parseEnv(require('fs').readFileSync(process.argv[1], 'utf8'));\
                    process.stdout.write(Object.entries(d).map(([k, v]) => `${k}=${v}\\0`).join(''))";
        same("node", &expected, &read("node", &["-e", code, &path]));
    }
    let own = sidekey::hydrate::set::env_file(std::str::from_utf8(&text).unwrap()).unwrap_or_default();
    let none = SecretValue::new(*b"");
    let text = |template: &Template| String::from_utf8(template.render(|_| &none).unwrap().expose().to_vec()).unwrap();
    let found = own.iter().map(|(name, template)| (name.clone(), text(template))).collect();
    same("our own reader", &expected, &found);
}

#[test]
fn json_and_yaml_are_read_as_what_went_in() {
    let (expected, text) = carried(Format::Json);
    assert_eq!(expected.len(), values().len(), "JSON carries every text");
    let (_folder, path) = file(&text, "env.json");
    if has("jq", &["--version"]) {
        let code = "to_entries[] | \"\\(.key)=\\(.value)\\u0000\"";
        same("jq", &expected, &read("jq", &["-j", code, &path]));
    }
    let parsed: BTreeMap<String, String> = serde_json::from_slice(&carried(Format::DotnetJson).1).unwrap();
    same("serde_json", &expected, &parsed);
    let (expected, text) = carried(Format::Yaml);
    assert_eq!(expected.len(), values().len(), "YAML carries every text");
    let (_folder, path) = file(&text, "env.yaml");
    if has("python3", &["-c", "import yaml"]) {
        let code =
            format!("import sys, yaml; d = yaml.safe_load(open(sys.argv[1], encoding='utf8', newline='')); {PYTHON}");
        same("PyYAML", &expected, &read("python3", &["-c", &code, &path]));
        let (expected, text) = carried(Format::K8sSecret);
        let (_folder, path) = file(&text, "secret.yaml");
        let code = format!(
            "import sys, yaml, base64; s = yaml.safe_load(open(sys.argv[1])); assert s['kind'] == 'Secret' and s['metadata']['name'] == 'app'; \
             d = {{k: base64.b64decode(v, validate=True).decode() for k, v in s['data'].items()}}; {PYTHON}"
        );
        same("a Secret's reader", &expected, &read("python3", &["-c", &code, &path]));
    }
}

/// Docker's own rules, written here: `docker run` needs a daemon. Lines of less than 64 KiB without a CR at the end, the
/// name up to `=`, the rest as it stands.
#[test]
fn docker_s_rules_give_what_went_in() {
    let (expected, text) = carried(Format::Docker);
    let text = String::from_utf8(text).unwrap();
    let lines = text.strip_suffix('\n').unwrap().split('\n');
    let found = lines.map(|line| line.strip_suffix('\r').unwrap_or(line).split_once('=').unwrap());
    same("docker", &expected, &found.map(|(name, value)| (name.to_owned(), value.to_owned())).collect());
}

/// The runner's rules, written here: it runs on GitHub alone.
#[test]
fn github_s_rules_give_what_went_in() {
    let (expected, text) = carried(Format::Github);
    let text = String::from_utf8(text).unwrap();
    let (mut found, mut lines) = (BTreeMap::new(), text.split('\n'));
    while let Some((name, delimiter)) = lines.next().and_then(|line| line.split_once("<<")) {
        let value: Vec<_> = lines.by_ref().take_while(|line| *line != delimiter).collect();
        found.insert(name.to_owned(), value.join("\n"));
    }
    same("github", &expected, &found);
}

/// systemd's rules for double quotes, written here (`parse_env_file_internal`): a service manager that reads a file needs
/// to be this machine's first process.
#[test]
fn systemd_s_rules_give_what_went_in() {
    let (expected, text) = carried(Format::Systemd);
    let text = String::from_utf8(text).unwrap();
    let (mut found, mut chars) = (BTreeMap::new(), text.chars());
    loop {
        let name: String = chars.by_ref().take_while(|c| *c != '=').collect();
        if name.is_empty() {
            break;
        }
        assert_eq!(chars.next(), Some('"'));
        let mut value = String::new();
        while let Some(c) = chars.next().filter(|c| *c != '"') {
            match c {
                '\\' => match chars.next().unwrap() {
                    '\n' => {}
                    c if "\"\\`$".contains(c) => value.push(c),
                    c => value.extend(['\\', c]),
                },
                c => value.push(c),
            }
        }
        assert_eq!(chars.next(), Some('\n'));
        found.insert(name, value);
    }
    same("systemd", &expected, &found);
}
