//! Rules of the house that the compiler does not hold: imports point down, and values leave in few places.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Lower may not import higher; equals may not import each other.
const LAYERS: &[(&str, i8)] = &[
    ("kernel", -1),
    ("sandbox", 0),
    ("clock", 0),
    ("secret", 0),
    ("metrics", 0),
    ("flight", 0),
    ("rights", 1),
    ("vaults", 1),
    ("sparing", 1),
    ("tasks", 1),
    ("budget", 2),
    ("snapshot", 2),
    ("cache", 2),
    ("catalog", 2),
    ("emulator", 2),
    ("broker", 3),
    ("access", 4),
    ("api", 5),
    ("hydrate", 6),
    ("credentials", 6),
    ("config", 7),
    ("cli", 8),
    ("fuzzing", 9),
];

#[test]
fn imports_point_down() {
    let rank: BTreeMap<&str, i8> = LAYERS.iter().copied().collect();
    let crate_path = regex::Regex::new(r"(?-u:\b)crate::([a-z_]+)").unwrap();
    let mut checked = 0;
    for (file, text) in sources() {
        let module = top_module(&file);
        if module == "lib" || module == "main" {
            continue;
        }
        let own = *rank.get(module.as_str()).unwrap_or_else(|| panic!("{module} has no layer; give it one"));
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for found in crate_path.captures_iter(line) {
                let target = &found[1];
                let Some(&other) = rank.get(target) else { continue };
                checked += 1;
                assert!(
                    target == module || other < own,
                    "{} imports {target}, which is not beneath {module}",
                    file.display()
                );
            }
        }
    }
    assert!(checked > 20, "only {checked} imports seen: the pattern no longer matches");
}

#[test]
fn only_the_edges_know_http_and_only_config_and_main_read_the_environment() {
    for (file, text) in sources() {
        let module = top_module(&file);
        let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        if !["api", "emulator", "cli"].contains(&module.as_str()) {
            assert!(!code.contains("axum::"), "{} knows axum", file.display());
        }
        if !["config", "main"].contains(&module.as_str()) {
            assert!(!code.contains("env::vars"), "{} reads the environment", file.display());
        }
    }
}

/// Where a value may leave its type, and how often. A new place is a decision: add it here, with its reason in the code.
const EXPOSED: &[(&str, usize)] = &[
    ("api/model/value.rs", 2),               // onto the wire: the cached value, or a view of it
    ("api/routes/together.rs", 1),           // a resolved value, into the answer
    ("api/routes/secrets.rs", 1),            // the body of a get
    ("access/token.rs", 2),                  // a token: into its header, into its digest
    ("broker/view.rs", 2),                   // a field of a JSON value, a certificate as PEM: into a value again
    ("emulator/key_vault/secrets.rs", 1),    // the fake service gives a made-up value away
    ("snapshot/key.rs", 2),                  // a key from a file, into what seals or authenticates with it
    ("snapshot/document.rs", 1),             // a value held, into the buffer that is then sealed
    ("cli/exec/deliver.rs", 1), // a value into what a program is started with: environment, file, descriptor
    ("credentials/serve.rs", 1), // a credential, to systemd
    ("hydrate/formats/mod.rs", 1), // a set, printed for its reader
    ("hydrate/page.rs", 1),     // a value, into what a template is rendered with
    ("hydrate/replace.rs", 2),  // a rendered file, or a set of them: compared with what is there, and written
    ("hydrate/template.rs", 1), // a value joins the text that it stands in, and is sealed again
    ("vaults/azure/bearer.rs", 3), // a token: to the service that it is for, and compared with the one refused
    ("vaults/azure/credential/proof.rs", 1), // client secret, certificate, its password or federated token, to Entra
    ("vaults/memory.rs", 2),    // a stored version is given out, or kept with other attributes
];

#[test]
fn values_are_exposed_in_few_places() {
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    for (file, text) in sources() {
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let count = code.matches(".expose()").count();
        let name = file.strip_prefix(root().join("src")).unwrap().display().to_string();
        // The contract suite and what is fuzzed are test code that the library carries.
        if count > 0 && name != "vaults/contract.rs" && !name.starts_with("fuzzing/") {
            found.insert(name, count);
        }
    }
    let allowed: BTreeMap<String, usize> = EXPOSED.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
    assert_eq!(found, allowed);
}

#[test]
fn tokens_live_on_the_clock_that_goes_on_in_a_suspend() {
    for (file, text) in sources() {
        let name = file.strip_prefix(root().join("src")).unwrap().display().to_string();
        if name.starts_with("vaults/azure/credential/") && !name.ends_with("_tests.rs") {
            assert!(!text.contains("Instant"), "{name} counts on a clock that stands still in a suspend");
        }
    }
}

#[test]
fn a_value_has_no_way_to_be_printed_or_copied() {
    let text = fs::read_to_string(root().join("src/secret/value.rs")).unwrap();
    assert!(!text.contains("#[derive("), "nothing is derived for a value");
    assert!(!text.contains("for SecretValue"), "no trait is implemented for a value");
}

#[test]
fn a_lock_that_a_panic_left_behind_is_taken_all_the_same() {
    let mut checked = 0;
    for (file, text) in sources() {
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for (at, line) in code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            let name = file.file_name().unwrap().to_str().unwrap();
            if name.ends_with("_tests.rs") {
                continue;
            }
            for taken in [".lock()", ".read()", ".write()"] {
                let poisons = |after: &str| ["unwrap()", "expect(", "?"].iter().any(|how| after.starts_with(how));
                for after in line.split(taken).skip(1) {
                    checked += 1;
                    let after = after.strip_prefix('.').unwrap_or(after);
                    assert!(!poisons(after), "{}:{}: a poisoned lock ends here", file.display(), at + 1);
                }
            }
        }
    }
    assert!(checked > 10, "only {checked} locks seen");
}

#[test]
fn unsafe_code_is_in_one_module_and_each_block_has_its_proof() {
    let (mut blocks, root) = (0, root());
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    assert!(manifest.contains("unsafe_code = \"deny\""), "unsafe code is refused everywhere else");
    let lax = ["allow(unsafe", "expect(unsafe", "warn(unsafe"];
    for (file, text) in sources() {
        let name = file.strip_prefix(root.join("src")).unwrap().display().to_string();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert!(name == "kernel/mod.rs" || !lax.iter().any(|lax| text.contains(lax)), "{name} allows itself more");
        let code = lines.iter().enumerate().filter(|(_, line)| !line.starts_with("//"));
        for (at, line) in
            code.filter(|(_, line)| line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe"))
        {
            assert!(name.starts_with("kernel/"), "{name}:{}: unsafe code", at + 1);
            assert!(!line.contains("unsafe fn"), "{name}:{}: it must be safe to call", at + 1);
            if line.contains("unsafe extern") {
                continue;
            }
            blocks += 1;
            // The proof is the comment right above the statement, which may have begun a line or two earlier.
            let above = &lines[at.saturating_sub(2)..at];
            let comment =
                above.iter().rposition(|line| line.starts_with("//")).map(|found| at.saturating_sub(2) + found);
            let start =
                comment.map(|end| (0..=end).rev().take_while(|at| lines[*at].starts_with("//")).last().unwrap());
            let proof = start.is_some_and(|start| lines[start].starts_with("// SAFETY: "));
            assert!(proof, "{name}:{}: no proof stands above it", at + 1);
        }
    }
    assert!(blocks > 5, "only {blocks} unsafe blocks seen: the pattern no longer matches");
}

fn sources() -> Vec<(PathBuf, String)> {
    let (mut found, mut folders) = (Vec::new(), vec![root().join("src")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(found.len() > 10);
    found
}

fn top_module(file: &Path) -> String {
    let inside = file.strip_prefix(root().join("src")).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_readme_names_every_problem_code_every_command_and_every_metric() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    for code in sidekey::api::Code::ALL {
        let status = code.status().as_u16().to_string();
        assert!(readme.contains(&format!("`{code}`")), "the README does not tell of {code}");
        assert!(readme.contains(&format!("| {status}")), "the README does not tell of {status}, {code}'s");
    }
    for command in <sidekey::cli::Cli as clap::CommandFactory>::command().get_subcommands() {
        let name = command.get_name();
        assert!(readme.contains(&format!("| `{name}")), "the README does not tell of `{name}`");
    }
    // Those that nobody has counted yet are not told: their names are in the source.
    let named = regex::Regex::new(r#"(?:family\([ \n]*all,|\(Level::[A-Za-z]+,)[ \n]*"([a-z_]+)""#).unwrap();
    let metrics = sources().into_iter().filter(|(file, _)| top_module(file) == "metrics").map(|(_, text)| text);
    let metrics = metrics.collect::<Vec<_>>().concat();
    let names: Vec<_> = named.captures_iter(&metrics).map(|found| found[1].to_owned()).collect();
    assert!(names.len() > 25, "only {names:?} seen: the pattern no longer matches");
    for name in names {
        assert!(readme.contains(&format!("`sidekey_{name}`")), "the README does not tell of sidekey_{name}");
    }
}
