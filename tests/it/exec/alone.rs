//! In sidekey's place.
use std::fs;
use std::process::{Command, Stdio};

use super::{alone, exec, site};
use crate::cli::process::{CLIENT_SECRET, SIDEKEY, finish};

const PASSWORD: &str = "Autumn-2026-staple";

#[test]
fn the_program_finds_what_it_refers_to_and_nothing_of_sidekeys_own() {
    let (azure, _serving) = site();
    let mut all = exec(&azure, &["--set", "SET=pay-prod/db-password"], "exec env -0");
    all.envs([
        ("PLAIN", "as it was"),
        ("WHOLE", "secret://pay-prod/db-password"),
        ("WITHIN", "postgres://app:${secret://pay-prod/db-password|url}@db/x"),
        ("APP_SERVICE", "@Microsoft.KeyVault(VaultName=pay-prod;SecretName=db-password)"),
        ("AZURE_CLIENT_SECRET", CLIENT_SECRET),
        ("AZURE_FEDERATED_TOKEN_FILE", "/x"),
        ("AZURE_CLIENT_ID", "an id"),
        ("SIDEKEY_TOKEN_FILE", ""),
        ("SIDEKEY_LOG_LEVEL", "info"),
    ]);
    let run = finish(&mut all);
    assert_eq!(run.code, 0, "{}", run.err);
    let mut found: Vec<_> = run.text().split_terminator('\0').filter(|one| !one.starts_with("PWD=")).collect();
    found.sort_unstable();
    let within = format!("WITHIN=postgres://app:{PASSWORD}@db/x");
    let values = ["APP_SERVICE", "SET", "WHOLE"].map(|name| format!("{name}={PASSWORD}"));
    let expected = [
        &values[0],
        "AZURE_CLIENT_ID=an id",
        "PATH=/usr/bin:/bin",
        "PLAIN=as it was",
        &values[1],
        &values[2],
        &within,
        "XDG_RUNTIME_DIR=/nonexistent-sidekey-test",
    ];
    assert_eq!(found, expected);
    let run = finish(exec(&azure, &["--clean", "--set", "A=pay-prod/db-password"], "exec env").env("PLAIN", "x"));
    assert!(run.text().contains(PASSWORD) && !run.text().contains("PLAIN"), "{run:?}");
}

#[test]
fn whichever_reference_fails_all_failures_are_told_and_nothing_is_started() {
    let (azure, _serving) = site();
    let marker = azure.path("started");
    let script = format!("touch {}", marker.display());
    let good = "secret://pay-prod/db-password";
    for (bad, code, told) in [
        ("secret://pay-prod/absent", 1, "vault pay-prod has no secret absent"),
        ("secret://nowhere/absent", 1, "no vault nowhere is known"),
        ("secret://pay-prod/a/b", 64, "BAD"),
        ("before ${secret://pay-prod/db-password|frob} after", 64, "BAD"),
    ] {
        for at in 0..3 {
            let mut command = exec(&azure, &[], &script);
            for n in 0..3 {
                let name = if n == at { format!("BAD{n}") } else { format!("GOOD{n}") };
                command.env(name, if n == at { bad } else { good });
            }
            let run = finish(&mut command);
            assert_eq!((run.code, run.text()), (code, ""), "{bad}: {}", run.err);
            assert!(run.err.contains(told) && run.err.contains(&format!("BAD{at}")), "{}", run.err);
            assert!(!run.err.contains("GOOD") && !run.err.contains(PASSWORD), "{}", run.err);
        }
    }
    let mut two = exec(&azure, &[], &script);
    two.envs([("A", "secret://pay-prod/absent"), ("B", "secret://nowhere/x")]);
    let run = finish(&mut two);
    assert!(run.err.contains("  A: ") && run.err.contains("  B: "), "{}", run.err);
    assert!(!marker.exists());
}

#[test]
fn a_mistyped_reference_is_not_given_to_the_program_for_a_password() {
    let (azure, _serving) = site();
    for (text, told) in [
        ("pay-prod/db_password", "holds no reference"),
        ("db password", "holds no reference"),
        ("", "holds no reference"),
        ("secrets://pay-prod/db_password", "at character 1: what begins like a reference is not a secret's address"),
    ] {
        let run = finish(&mut exec(&azure, &["--set", &format!("A={text}")], "echo started"));
        assert_eq!((run.code, run.text()), (64, ""), "{text}");
        assert!(run.err.contains(&format!("--set A: {told}")) && !run.err.contains("db_p"), "{}", run.err);
    }
}

#[test]
fn what_could_take_the_program_over_is_set_only_where_that_is_allowed() {
    let (azure, _serving) = site();
    for name in ["LD_PRELOAD", "BASH_ENV", "NODE_OPTIONS", "GIT_SSH_COMMAND", "PYTHONPATH"] {
        let set = format!("{name}=pay-prod/db-password");
        let run = finish(&mut exec(&azure, &["--set", &set], "env"));
        assert_eq!((run.code, run.text()), (64, ""), "{name}");
        assert!(run.err.contains(&format!("--allow {name}")), "{}", run.err);
    }
    let set = "NODE_OPTIONS=pay-prod/db-password";
    let run = finish(&mut exec(&azure, &["--set", set, "--allow", "NODE_OPTIONS"], "echo $NODE_OPTIONS"));
    assert_eq!(run.text().trim(), PASSWORD, "{}", run.err);
    let run = finish(&mut exec(&azure, &["--pass", "AZURE_CLIENT_SECRET"], "env"));
    assert_eq!(run.code, 64, "what signs in is never passed on");
}

#[test]
fn it_is_the_same_process_with_its_own_end_and_everything_as_if_it_were_started_alone() {
    let (azure, _serving) = site();
    let set = ["--set", "A=pay-prod/db-password"];
    let mut command = exec(&azure, &set, "echo $$; tr '\\0' ' ' </proc/$$/cmdline");
    let child = command.stdout(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let text = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    assert!(text.starts_with(&format!("{pid}\n")), "{text}");
    assert!(!text.contains(PASSWORD), "{text}");
    assert_eq!(finish(&mut exec(&azure, &set, "exit 41")).code, 41);
    let mut command = exec(&azure, &set, "kill -TERM $$");
    let status = command.status().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15));

    let state = "grep -E '^(Sig(Blk|Ign)|NoNewPrivs)' /proc/self/status; ulimit -S -c; ulimit -H -c; ls /proc/self/fd";
    let under = finish(&mut exec(&azure, &set, state));
    assert_eq!(under.text(), finish(&mut alone(state)).text());
}

#[test]
fn a_program_that_cannot_be_run_is_126_and_one_that_is_not_there_127() {
    let (azure, _serving) = site();
    let of = |program: &str| {
        let run = finish(Command::new(SIDEKEY).args(["exec", "--addr", &azure.socket(), "--", program]).env_clear());
        (run.code, run.err)
    };
    assert_eq!(of("/nonexistent/app"), (127, "sidekey: /nonexistent/app: no such program\n".to_owned()));
    let file = azure.path("no-program");
    fs::write(&file, "x").unwrap();
    assert_eq!(of(file.to_str().unwrap()).0, 126);
    let run = finish(
        Command::new(SIDEKEY)
            .args(["exec", "--addr", "/nonexistent/s", "--wait", "0s", "--set", "A=b/c", "--", "/bin/true"])
            .env_clear(),
    );
    assert_eq!(run.code, 69, "{}", run.err);
}

#[test]
fn a_value_can_come_as_a_file_in_memory_or_as_a_descriptor_instead() {
    let (azure, _serving) = site();
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let files = folder.path().join("values").display().to_string();
    let flags =
        ["--set", "A=pay-prod/db-password", "--set", "B=pay-prod/db-password", "--fd", "B", "--as-files", &files];
    let script = "cat $A; stat -L -c %a $A; cat $B; echo; cat $B; echo x >$B; ls /proc/self/fd; env";
    let run = finish(&mut exec(&azure, &flags, script));
    let text = run.text();
    assert!(text.starts_with(&format!("{PASSWORD}400\n{PASSWORD}\n{PASSWORD}")), "{run:?}");
    assert_eq!(text.matches(PASSWORD).count(), 3, "nothing is in the environment: {text}");
    assert!(text.contains(&format!("A={files}/A\n")) && text.contains("B=/proc/self/fd/"), "{text}");
    let disk = azure.path("on-disk");
    let run =
        finish(&mut exec(&azure, &["--set", "A=pay-prod/db-password", "--as-files", disk.to_str().unwrap()], "env"));
    // Where even temporary folders are in memory there is no disk to be refused.
    let in_memory =
        Command::new("stat").args(["-f", "-c", "%T"]).arg(azure.path("")).output().unwrap().stdout == b"tmpfs\n";
    assert_eq!(run.code == 64 && run.err.contains("--allow-disk"), !in_memory, "{}", run.err);
}

#[test]
fn what_the_kernel_would_refuse_is_told_by_its_variable() {
    let (azure, mut serving) = site();
    azure.set("pay-prod", "large", &"v".repeat(24 * 1024));
    serving.stop();
    let (_serving, _) = azure.serve("");
    let value = "${secret://pay-prod/large}".repeat(6);
    let marker = azure.path("started");
    let run = finish(exec(&azure, &[], &format!("touch {}", marker.display())).env("LARGE", &value));
    assert_eq!(run.code, 64, "{}", run.err);
    assert!(run.err.contains("LARGE: ") && run.err.contains("131072") && run.err.contains("--as-files"), "{}", run.err);
    assert!(!marker.exists());
    // All together have a quarter of the stack's limit: just below it the kernel agrees, just above it is not asked.
    let together = |variables: usize| {
        let mut command = Command::new("/bin/sh");
        let script = "ulimit -s 8192; exec \"$0\" exec --addr \"$1\" -- /bin/sh -c 'echo started'";
        command.args(["-c", script, SIDEKEY, &azure.socket()]).env_clear().env("PATH", "/usr/bin:/bin");
        let value = "${secret://pay-prod/large}".repeat(5);
        finish(command.envs((0..variables).map(|n| (format!("V{n}"), value.clone()))))
    };
    let (below, above) = (together(16), together(18));
    assert_eq!((below.code, below.text()), (0, "started\n"), "{}", below.err);
    assert_eq!((above.code, above.text()), (64, ""), "{}", above.err);
    assert!(above.err.contains("arguments and environment have"), "{}", above.err);
}

#[test]
fn without_a_sidecar_it_signs_in_itself_and_the_program_gets_nothing_of_that() {
    let azure = crate::cli::process::Azure::demo();
    let config = azure.config();
    for watch in [&[][..], &["--watch", "restart"]] {
        let words = [&["--config", &config, "exec", "--direct"], watch].concat();
        let mut direct = Command::new(SIDEKEY);
        direct.args(words).args(["--set", "A=pay-prod/db-password", "--", "/bin/sh", "-c", "exec env"]).env_clear();
        let run = finish(direct.env("PATH", "/usr/bin:/bin").env("SIDEKEY_LOG_LEVEL", "warn").stdin(Stdio::null()));
        assert_eq!(run.code, 0, "{}", run.err);
        let mut found: Vec<_> = run.text().lines().filter(|line| !line.starts_with("PWD=")).collect();
        found.sort_unstable();
        assert_eq!(found, [&format!("A={PASSWORD}"), "PATH=/usr/bin:/bin"]);
    }
}

#[test]
fn of_the_environment_only_what_is_wanted_is_passed_on() {
    let (azure, _serving) = site();
    let env = |flags: &[&str]| {
        let mut command = exec(&azure, flags, "exec env");
        command.envs([
            ("PLAIN", "x"),
            ("LC_ALL", "C"),
            ("SIDEKEY_ADDR", "/x"),
            ("REF", "secret://pay-prod/db-password"),
        ]);
        let run = finish(&mut command);
        let names = run.text().lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name);
        let mut names: Vec<_> = names.filter(|name| !["PWD", "PATH"].contains(name)).map(str::to_owned).collect();
        names.sort_unstable();
        names.join(" ")
    };
    assert_eq!(env(&[]), "LC_ALL PLAIN REF XDG_RUNTIME_DIR");
    assert_eq!(env(&["--clean"]), "LC_ALL REF");
    assert_eq!(env(&["--clean", "--pass", "PLAIN"]), "LC_ALL PLAIN REF");
    assert_eq!(env(&["--pass", "SIDEKEY_ADDR"]), "LC_ALL PLAIN REF SIDEKEY_ADDR XDG_RUNTIME_DIR");
}

#[test]
fn more_references_than_one_request_takes_are_resolved_all_the_same() {
    let (azure, _serving) = site();
    azure.set(
        "pay-prod",
        "fields",
        &format!("{{{}}}", (0..1_100).map(|n| format!("\"f{n}\":\"v{n}\"")).collect::<Vec<_>>().join(",")),
    );
    let map = azure.path("map.toml");
    let line = |n: usize| format!("F{n} = \"secret://pay-prod/fields#/f{n}\"\n");
    fs::write(&map, (0..1_100).map(line).collect::<String>()).unwrap();
    let run = finish(&mut exec(&azure, &["--map", map.to_str().unwrap()], "echo $F0 $F999 $F1000 $F1099"));
    assert_eq!(run.text(), "v0 v999 v1000 v1099\n", "{}", run.err);
}

#[test]
fn a_sidecar_that_is_still_starting_is_waited_for() {
    let azure = crate::cli::process::Azure::demo();
    let mut command = exec(&azure, &["--set", "A=pay-prod/db-password", "--wait", "10m"], "echo $A");
    let waiting = command.stdout(Stdio::piped()).spawn().unwrap();
    let (_serving, _) = azure.serve("");
    let output = waiting.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), PASSWORD);
}

#[test]
fn files_maps_and_listings_set_variables_and_the_later_place_wins() {
    let (azure, _serving) = site();
    let (env_file, map) = (azure.path(".env"), azure.path("map.json"));
    fs::write(
        &env_file,
        "ONE=env-file\nTWO=env-file\nTHREE=env-file\nPLAIN='a b'\nSECRET=secret://pay-prod/db-password\n",
    )
    .unwrap();
    fs::write(&map, r#"{"TWO": "map", "THREE": "map"}"#).unwrap();
    let (env_file, map) = (env_file.display().to_string(), map.display().to_string());
    let flags = [
        "--env-file",
        &env_file,
        "--map",
        &map,
        "--set",
        "THREE=pay-prod/db-password",
        "--all-from",
        "pay-prod/db-pass*",
        "--prefix",
        "ALL_",
    ];
    let script = "echo \"$ZERO,$ONE,$TWO,$THREE,$PLAIN,$SECRET,$ALL_DB_PASSWORD\"";
    let run = finish(exec(&azure, &flags, script).envs([("ZERO", "environment"), ("ONE", "environment")]));
    assert_eq!(run.text(), format!("environment,env-file,map,{PASSWORD},a b,{PASSWORD},{PASSWORD}\n"), "{}", run.err);
    fs::write(azure.path(".env"), "LD_PRELOAD=/tmp/evil.so\n").unwrap();
    let run = finish(&mut exec(&azure, &["--env-file", &env_file], "env"));
    assert_eq!((run.code, run.text()), (64, ""), "{}", run.err);
}
