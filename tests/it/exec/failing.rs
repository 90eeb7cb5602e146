//! Whatever fails, at whichever reference: nothing is started, every failure is told at once, and none hides another.
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

use sidekey::emulator::{Change, Effect, Estate, Fault, Respond};

use super::exec;
use crate::cli::process::{Azure, Run, SIDEKEY, Staying, finish};

const ESTATE: &str = r#"
[[tenant]]
id = "72f988bf-0000-4000-8000-00000000c0de"
[[app]]
name = "sidekey"
id = "5ec2e7aa-0000-4000-8000-000000051de0"
secret = [{ value = "demo-client-secret" }]
[[subscription]]
id = "aaaa0000-0000-4000-8000-00000000000a"
name = "first"
[[grant]]
app = "sidekey"
subscriptions = ["*"]
[[grant]]
app = "sidekey"
vaults = ["*"]
rights = ["all"]
"#;

const VALUE: &str = "canary-7f2e";

/// A sidecar with a vault for each failure, as some of them close a whole vault for a while. Every vault has the secrets
/// `good`, `off`, `twin` and `json`.
fn failing_site() -> (Azure, Staying) {
    let vaults = ["well", "other", "forbidding", "busy", "broken", "gone"];
    let one = |name| format!("[[vault]]\nname = \"{name}\"\nsubscription = \"first\"\n");
    let estate = format!("{ESTATE}{}", vaults.map(one).concat());
    let azure = Azure::of(Estate::parse(&estate).unwrap_or_else(|faults| panic!("{faults:#?}")));
    for vault in vaults {
        azure.set(vault, "good", VALUE);
        azure.set(vault, "large", &"v".repeat(24 * 1024));
    }
    for vault in ["well", "other"] {
        azure.set(vault, "twin", VALUE);
    }
    azure.set("well", "nul", "a\0canary-7f2e");
    azure.set("well", "off", VALUE);
    let control = azure.emulator.control();
    control.change(Change::Disable { vault: "well".into(), secret: "off".into() }).unwrap();
    azure.configure("[limits]\nretries = 0\n");
    let (serving, _) = azure.serve("");
    for (vault, status, inner) in
        [("forbidding", 403, "ForbiddenByRbac"), ("busy", 429, ""), ("broken", 500, ""), ("gone", 503, "")]
    {
        let innererror = (!inner.is_empty()).then(|| inner.to_owned());
        control.fault(Fault::new(Effect::Respond(Respond { status, innererror, ..Respond::default() })).vault(vault));
    }
    (azure, serving)
}

/// What refers to something that fails; the exit code, and what is told.
const FAILURES: &[(&str, i32, &str)] = &[
    ("secret://well/absent", 1, "vault well has no secret absent"),
    ("secret://well/good@0123456789abcdef0123456789abcdef", 1, "no such version"),
    ("secret://well/good#/field", 1, "field"),
    ("secret://nowhere/good", 1, "no vault nowhere"),
    ("secret://*/twin", 1, "it is one of secret://other/twin, secret://well/twin"),
    ("secret://well/off", 77, "disabled"),
    ("secret://forbidding/good", 77, "role"),
    ("secret://busy/good", 69, "throttles"),
    ("secret://broken/good", 69, "server error"),
    ("secret://gone/good", 69, "server error"),
    ("secret://well/nul", 64, "NUL"),
    ("${secret://well/good|base64d}", 64, "is not base64"),
    ("secret://well/a/b", 64, "at character 1"),
    ("x${secret://well/good", 64, "at character 2"),
    (
        "${secret://well/large}${secret://well/large}${secret://well/large}${secret://well/large}${secret://well/large}${secret://well/large}",
        64,
        "131072",
    ),
];

fn set(command: &mut Command, vars: &[(&str, &str)]) {
    command.envs(vars.iter().copied());
}

/// Starts nothing, writes nothing, and tells no value: `run` with files for its values, too.
fn starts_nothing(azure: &Azure, mut vars: impl FnMut(&mut Command), extra: &[&str]) -> Run {
    let marker = azure.path("started");
    let flags = [&["--wait", "0s"], extra].concat();
    let mut command = exec(azure, &flags, &format!("touch {}; echo $0 started", marker.display()));
    vars(&mut command);
    let run = finish(&mut command);
    assert!(!marker.exists() && run.out.is_empty(), "it was started: {run:?}");
    assert!(!run.err.contains("canary") && !run.err.contains("vvvv"), "{}", run.err);
    run
}

#[test]
fn whichever_reference_fails_and_however_nothing_is_started_and_it_is_told() {
    let (azure, _serving) = failing_site();
    for watch in [&[][..], &["--watch", "restart"]] {
        for (bad, code, told) in FAILURES {
            for at in 0..3 {
                let vars = |command: &mut Command| {
                    for n in 0..3 {
                        let (name, reference) = if n == at { ("BAD", *bad) } else { ("GOOD", "secret://well/good") };
                        command.env(format!("{name}{n}"), reference);
                    }
                };
                let run = starts_nothing(&azure, vars, watch);
                assert_eq!(run.code, *code, "{bad} at {at}: {}", run.err);
                // Where the machine is slow, that it was waited for comes before.
                assert!(run.err.contains("sidekey: nothing was started:\n"), "{}", run.err);
                assert!(run.err.contains(&format!("  BAD{at}: ")) && run.err.contains(told), "{bad}: {}", run.err);
                assert!(!run.err.contains("GOOD"), "{}", run.err);
            }
        }
    }
}

#[test]
fn every_failure_is_told_at_once_and_what_waiting_does_not_mend_decides_the_exit_code() {
    let (azure, _serving) = failing_site();
    // What is found out before anybody is asked is told before.
    let asked = || FAILURES.iter().enumerate().filter(|(_, (_, code, _))| *code != 64);
    let vars = |command: &mut Command| {
        command.env("GOOD", "secret://well/good");
        for (at, (bad, _, _)) in asked() {
            command.env(format!("BAD{at}"), bad);
        }
    };
    let run = starts_nothing(&azure, vars, &[]);
    assert_eq!(run.code, 77, "{}", run.err);
    for (at, (bad, _, told)) in asked() {
        let line = run.err.lines().find(|line| line.starts_with(&format!("  BAD{at}: {bad}: ")));
        assert!(line.is_some() && run.err.contains(told), "{bad}: {}", run.err);
    }
    assert!(!run.err.contains("GOOD"), "{}", run.err);
    for (bad, code) in [
        (["secret://busy/good", "secret://well/absent"], 1),
        (["secret://well/absent", "secret://busy/good"], 1),
        (["secret://busy/good", "secret://gone/good"], 69),
        (["secret://well/absent", "secret://forbidding/good"], 77),
    ] {
        let vars = |command: &mut Command| set(command, &[("A", bad[0]), ("B", bad[1])]);
        assert_eq!(starts_nothing(&azure, vars, &[]).code, code, "{bad:?}");
    }
}

/// A sidecar that takes one request on each connection and answers with these bytes, whatever it is asked.
fn answering(azure: &Azure, answer: Vec<u8>) {
    let socket = azure.socket();
    let _ = fs::remove_file(&socket);
    let listener = UnixListener::bind(socket).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut line, mut length) = (String::new(), 0);
            while reader.read_line(&mut line).unwrap_or(0) > 2 {
                let (name, value) = line.split_once(':').unwrap_or_default();
                if name.eq_ignore_ascii_case("content-length") {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            let _ = reader.read_exact(&mut vec![0; length]);
            let _ = stream.write_all(&answer);
        }
    });
}

fn ok(length: usize, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

#[test]
fn an_answer_that_is_cut_off_or_lacks_a_value_starts_nothing() {
    let azure = Azure::demo();
    let from = r#"{"vault":"v","name":"n","version":null,"reference":"secret://v/n","age":0}"#;
    let one = |key: &str| (format!("\"{key}\":\"canary\""), format!("\"{key}\":{from}"));
    let body = |values: &str, resolved: &str| format!("{{\"values\":{{{values}}},\"resolved\":{{{resolved}}}}}");
    let ((a, from_a), (b, from_b)) = (one("secret://v/a"), one("secret://v/b"));
    let whole = body(&format!("{a},{b}"), &format!("{from_a},{from_b}"));
    let vars = |command: &mut Command| set(command, &[("A", "secret://v/a"), ("B", "secret://v/b")]);

    answering(&azure, ok(whole.len(), &whole));
    let run = finish(exec(&azure, &[], "echo $A$B").env("A", "secret://v/a").env("B", "secret://v/b"));
    assert_eq!(run.text(), "canarycanary\n", "the whole answer would do: {}", run.err);

    for cut in (0..whole.len()).step_by(7) {
        answering(&azure, ok(whole.len(), &whole[..cut]));
        let run = starts_nothing(&azure, vars, &[]);
        assert!(run.code == 69 && run.err.contains("broke the connection off"), "{cut}: {run:?}");
        answering(&azure, ok(cut, &whole[..cut]));
        let run = starts_nothing(&azure, vars, &[]);
        assert!(run.code == 69 && run.err.contains("is not understood"), "{cut}: {run:?}");
    }
    let chunked = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    for answer in [
        Vec::new(),
        b"HTTP/1.1 200 OK\r\n".to_vec(),
        b"canary\r\n\r\n".to_vec(),
        format!("{chunked}{:x}\r\n{whole}\r\n", whole.len()).into_bytes(),
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\ncanary".to_vec(),
        b"HTTP/1.1 302 Found\r\nLocation: http://localhost/canary\r\nContent-Length: 0\r\n\r\n".to_vec(),
    ] {
        let told = String::from_utf8_lossy(&answer).into_owned();
        answering(&azure, answer);
        assert_eq!(starts_nothing(&azure, vars, &[]).code, 69, "{told}");
    }
    for lacking in [
        body(&a, &format!("{from_a},{from_b}")),
        body(&b, &format!("{from_a},{from_b}")),
        body(&format!("{a},{b}"), &from_a),
        body(&format!("{a},\"secret://v/other\":\"canary\""), &format!("{from_a},{from_b}")),
        body(&format!("{a},\"secret://v/b\":null"), &format!("{from_a},{from_b}")),
        body(&format!("{a},\"secret://v/b\":7"), &format!("{from_a},{from_b}")),
    ] {
        answering(&azure, ok(lacking.len(), &lacking));
        let run = starts_nothing(&azure, vars, &[]);
        assert!(run.code == 69 && run.err.contains("is not understood"), "{lacking}: {run:?}");
    }
}

#[test]
fn a_sidecar_that_is_gone_is_told_with_its_address() {
    let azure = Azure::demo();
    let vars = |command: &mut Command| set(command, &[("A", "secret://v/a")]);
    let run = starts_nothing(&azure, vars, &[]);
    assert!(run.code == 69 && run.err.contains(&azure.socket()), "{run:?}");
    // It was there, and only its socket is left.
    drop(UnixListener::bind(azure.socket()).unwrap());
    let run = starts_nothing(&azure, vars, &[]);
    assert!(run.code == 69 && run.err.contains(&azure.socket()), "{run:?}");
    // Who waits is told for what, and in the end why it was in vain.
    let run = finish(exec(&azure, &["--wait", "2500ms"], "echo started").env("A", "secret://v/a"));
    assert_eq!((run.code, run.text()), (69, ""));
    let mut lines = run.err.lines();
    assert!(lines.next().unwrap().starts_with("sidekey: still waiting: the sidecar at "), "{}", run.err);
    assert_eq!(lines.next(), Some("sidekey: nothing was started:"), "{}", run.err);
}

#[test]
fn files_for_which_there_is_no_memory_start_nothing_and_leave_nothing() {
    let (azure, _serving) = failing_site();
    let room = azure.path("room");
    fs::create_dir(&room).unwrap();
    let marker = azure.path("started");
    let script = format!(
        "mount -t tmpfs -o size=32k,mode=700 none {room} || exit 99; \
         \"$0\" exec --addr {socket} --as-files {room}/values --set A=well/good --set B=well/large --set C=other/large -- touch {marker}; \
         code=$?; ls -A {room}; exit $code",
        room = room.display(),
        socket = azure.socket(),
        marker = marker.display(),
    );
    let mut apart = Command::new("unshare");
    apart.args(["--user", "--map-root-user", "--mount", "--", "sh", "-c", &script, SIDEKEY]);
    let run = finish(apart.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null()));
    if run.code == 99 || run.err.contains("unshare: ") {
        eprintln!("not shown: a full tmpfs ({})", run.err.trim());
        return;
    }
    assert!(run.code == 74 && run.err.contains("--as-files"), "{run:?}");
    assert_eq!(run.text(), "", "nothing is left in the folder: {run:?}");
    assert!(!marker.exists());
}
