//! Every parser that meets strangers' bytes, and the whole service, each as a function of bytes that panics when
//! something does not hold. `fuzz/` throws random bytes at them; the test below throws all inputs that are kept.
//!
//! Each module has its own beside what it knows, so that nothing private is opened for this. In no product: tests and
//! the feature `fuzzing` have it.
//!
//! Must never happen: a target that only waits for a crash. Each says what is true of every answer: what was parsed
//! prints as something that parses to the same, a bound holds, what must be refused is refused, a mark that a stranger
//! left does not come out where it must not.

mod config;
mod estate;
mod formats;
mod references;
mod templates;

pub use crate::api::fuzzing::{patterns, search, service};
pub use crate::snapshot::fuzzing::snapshot;
pub use crate::vaults::azure::fuzzing::{challenge, entra, key_vault, resource_manager};
pub use config::config;
pub use estate::estate;
pub use formats::formats;
pub use references::references;
pub use templates::templates;

/// Takes any bytes, and panics if something does not hold.
pub type Target = fn(&[u8]);

/// All of them by name, which is also the name of their folders under `fuzz/seeds` and `fuzz/regressions`.
pub const TARGETS: &[(&str, Target)] = &[
    ("challenge", challenge),
    ("config", config),
    ("entra", entra),
    ("estate", estate),
    ("formats", formats),
    ("key_vault", key_vault),
    ("patterns", patterns),
    ("references", references),
    ("resource_manager", resource_manager),
    ("search", search),
    ("service", service),
    ("snapshot", snapshot),
    ("templates", templates),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::TARGETS;

    #[test]
    fn every_input_that_is_kept_holds() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        for (name, target) in TARGETS {
            let mut inputs = 0;
            for kind in ["seeds", "regressions"] {
                let Ok(folder) = fs::read_dir(fuzz.join(kind).join(name)) else { continue };
                let files: BTreeSet<_> = folder.map(|entry| entry.unwrap().path()).collect();
                inputs += files.len();
                for file in files {
                    let input = fs::read(&file).unwrap();
                    let ran = std::panic::catch_unwind(|| target(&input));
                    assert!(ran.is_ok(), "{}: see above", file.display());
                }
            }
            assert!(inputs > 2, "{name} has {inputs} inputs");
        }
    }

    #[test]
    fn every_target_has_a_program_and_the_other_way_round() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
        for (name, _) in TARGETS {
            assert!(manifest.contains(&format!("[[bin]]\nname = \"{name}\"\n")), "{name} is not in fuzz/Cargo.toml");
            let program = fs::read_to_string(fuzz.join(format!("fuzz_targets/{name}.rs"))).unwrap();
            assert!(program.contains(&format!("sidekey::fuzzing::{name}(")), "{name}'s program runs another");
        }
        assert_eq!(fs::read_dir(fuzz.join("fuzz_targets")).unwrap().count(), TARGETS.len());
    }

    #[test]
    fn random_bytes_hold_too() {
        use proptest::prelude::*;
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::with_cases(64)
        });
        runner
            .run(&proptest::collection::vec(any::<u8>(), 0..200), |input| {
                TARGETS.iter().for_each(|(_, target)| target(&input));
                Ok(())
            })
            .unwrap();
    }
}
