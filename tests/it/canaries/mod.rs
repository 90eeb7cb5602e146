//! Nothing that is secret leaves but in the answer that was asked for. A sidecar, told to tell everything, is taken through
//! reads, failures, searches, a snapshot and a reload, with values and credentials that are each unlike anything else; then
//! everything that it has put anywhere is searched for them in every form, its memory and a core image too.
//!
//! That a search finds is shown in the same run: a name that is no secret is planted in every kind of place, and a place in
//! which it is not found fails the test, as a leak does.
mod forms;
mod house;
mod idle;
mod image;
mod traces;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sidekey::emulator::{Effect, Endpoint, Fault, Respond};

use forms::Scanner;
use house::{CLIENT_SECRET, House, PLANTED, SECRETS, TOKEN, UPSTREAM_BODY, WRONG_TOKEN, canary};
use traces::{memory, of_folder, of_process};

/// How often memory is looked at, half a second apart, until upstream connections are closed and their buffers wiped.
const LOOKS: usize = 60;

fn holds(answer: &[u8], text: &str) -> bool {
    memchr::memmem::find(answer, text.as_bytes()).is_some()
}

#[test]
fn nothing_secret_is_anywhere_but_in_the_answer_that_was_asked_for() {
    let mut house = House::open(true);
    let control = house.azure.emulator.control();
    let secret = |number: usize| format!("/v1/vaults/{PLANTED}/secrets/s-{number}");

    // Reads, in every form that there is.
    for number in 0..SECRETS {
        assert!(holds(&house.ask(&format!("GET {}", secret(number))), &canary(number)), "{number}");
    }
    assert!(holds(&house.ask("GET /v1/secrets/s-1?field=/password"), &canary(1)));
    let json = house.ask_with(&format!("GET {}", secret(2)), "Accept: application/json\r\n", "");
    assert!(holds(&json, &canary(2)) && holds(&json, "s-2"));
    let refs = format!(r#"{{"refs": {{"A": "secret://{PLANTED}/s-3", "B": "secret://*/s-1#/password"}}}}"#);
    assert!(holds(&house.ask_with("POST /v1/resolve", "Content-Type: application/json\r\n", &refs), &canary(3)));
    assert!(holds(&house.ask_tcp(&secret(4), &canary(TOKEN)), &canary(4)));
    // A caller that has read and stays: what it was sent is not kept for it.
    let mut staying = UnixStream::connect(house.azure.path("s.sock")).unwrap();
    write!(staying, "GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", secret(5)).unwrap();
    let mut start = vec![0; 1_024];
    let read = staying.read(&mut start).unwrap();
    assert!(holds(&start[..read], &canary(5)));

    // Answers that hold no value.
    let mut answers: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    answers.insert("search", house.ask("GET /v1/search?q=s-"));
    answers.insert("list", house.ask(&format!("GET /v1/vaults/{PLANTED}/secrets")));
    answers.insert("vaults", house.ask("GET /v1/vaults"));
    answers.insert("versions", house.ask(&format!("GET {}/versions", secret(0))));
    answers.insert("ready", house.ask("GET /readyz?verbose"));
    answers.insert("problem", house.ask(&format!("GET /v1/vaults/{PLANTED}/secrets/no-such-secret")));
    let wrong = house.ask_tcp(&secret(4), &canary(WRONG_TOKEN));
    assert!(wrong.starts_with(b"HTTP/1.1 401"));
    answers.insert("wrong token", wrong);
    // A vault that fails, with words of its own, and with an answer that is none.
    let body = format!("{{\"error\": {{\"code\": \"X\", \"message\": \"{}\"}}}}", canary(UPSTREAM_BODY));
    let fails = Effect::Respond(Respond { status: 500, body: Some(body), ..Respond::default() });
    for (name, effect) in [
        ("fails", fails),
        ("garbage", Effect::Garbage),
        ("another", Effect::WrongId("s-7".to_owned())),
        ("half", Effect::Truncate),
    ] {
        let fault = control.fault(Fault::new(effect).on(Endpoint::Get).secret("s-6"));
        answers.insert(name, house.ask_with(&format!("GET {}", secret(6)), "Cache-Control: no-cache\r\n", ""));
        control.clear_fault(fault);
    }
    answers.insert("metrics", house.ask("GET /metrics"));
    // What our own commands tell, on stdout and on stderr.
    let mut told_by_commands = BTreeMap::new();
    let absent = format!("get {PLANTED} no-such-secret");
    let direct = format!("-vv {absent} --direct");
    for line in ["vaults", "list", "search s-", &absent, "check", "doctor", &direct] {
        let run = house.command(&crate::cli::process::words(line));
        told_by_commands.insert(format!("stdout of {line}"), run.out);
        told_by_commands.insert(format!("stderr of {line}"), run.err.into_bytes());
    }
    house.serving.signal(rustix::process::Signal::HUP);
    house.log.push_str(&house.told.until("the new configuration is in force"));
    // Connections to the vault that carried values, and stay for a while.
    for number in 0..SECRETS {
        let read = house.ask_with(&format!("GET {}", secret(number)), "Cache-Control: no-cache\r\n", "");
        assert!(holds(&read, &canary(number)), "{number}");
    }

    let mut canaries: Vec<String> = (0..SECRETS).map(canary).collect();
    canaries.extend([CLIENT_SECRET, TOKEN, WRONG_TOKEN, UPSTREAM_BODY].map(canary));
    canaries.push(PLANTED.to_owned());
    let mut canaries: Vec<_> = canaries.into_iter().map(|canary| (canary.clone(), canary.into_bytes())).collect();
    let key = fs::read_to_string(house.folder().join("key")).unwrap();
    canaries.push(("the snapshot's key".to_owned(), STANDARD.decode(key.trim_end()).unwrap()));
    let scanner = Scanner::of(canaries.iter().map(|(name, canary)| (name.as_str(), canary.as_slice())));
    // What nobody has put there must be found all the same, encoded as it is.
    fs::write(house.folder().join("tmp/left"), STANDARD.encode(format!("x{PLANTED}"))).unwrap();
    let snapshot = fs::read(house.folder().join("kept/snapshot")).unwrap();
    let utf16: Vec<u8> = PLANTED.bytes().flat_map(|byte| [byte, 0]).collect();
    fs::write(house.folder().join("kept/snapshot-with-a-leak"), [snapshot, utf16].concat()).unwrap();

    // Everywhere: what was told, what was answered, what the kernel shows of the process, what lies on disk.
    let mut places: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for (name, answer) in answers {
        places.insert(format!("answer {name}"), answer);
    }
    places.extend(told_by_commands);
    let pid = house.serving.pid();
    places.extend(of_process(pid));
    places.extend(of_folder(&house.azure.path(""), &["token", "program", "client-secret", "key"]));
    // Told so far, once its last line is there.
    let told = house.told.until_quiet();
    house.log.push_str(&told);
    places.insert("log".to_owned(), house.log.clone().into_bytes());
    let mut planted: Vec<&str> = Vec::new();
    for (place, bytes) in &places {
        assert!(!traces::holds_access_token(bytes), "{place} holds an access token");
        let (plants, leaks): (Vec<_>, Vec<_>) =
            scanner.hits(bytes).into_iter().partition(|hit| hit.starts_with(PLANTED));
        // What a value is cannot be held against the answer that carries it.
        assert!(leaks.is_empty(), "{place}: {leaks:?}");
        planted.extend((!plants.is_empty()).then_some(place.as_str()));
    }
    for blind in [
        "log",
        "file stdout",
        "stdout of vaults",
        &format!("stderr of {absent}"),
        "answer search",
        "answer metrics",
        "answer problem",
        "file audit.log",
        "proc cmdline",
        "proc environ",
        "proc maps",
        "file sidekey.toml",
        "file left",
        "file snapshot-with-a-leak",
    ] {
        assert!(planted.contains(&blind), "{blind}: what was planted there was not found; found in {planted:?}");
    }
    assert!(places.keys().any(|place| place.ends_with("snapshot")), "{:?}", places.keys());

    // Memory, as root could read it, once nothing is under way.
    if !rustix::process::geteuid().is_root() {
        eprintln!("not root: memory is not searched");
        return;
    }
    let mut left = Vec::new();
    for _ in 0..LOOKS {
        left = memory(pid, &scanner);
        assert!(left.iter().any(|hit| hit.starts_with(PLANTED)), "what was planted in memory was not found");
        left.retain(|hit| !hit.starts_with(PLANTED));
        if left.is_empty() {
            break;
        }
        house.told.until_quiet();
    }
    assert!(left.is_empty(), "{left:#?}");
    // And as a debugger writes it to a file, with what the kernel would leave out, and the registers.
    if let Some(core) = image::of(pid) {
        let (plants, leaks): (Vec<_>, Vec<_>) =
            scanner.hits(&core).into_iter().partition(|hit| hit.starts_with(PLANTED));
        assert!(!plants.is_empty(), "what was planted was not found in the core image");
        assert!(leaks.is_empty(), "in the core image: {leaks:#?}");
        assert!(!traces::holds_access_token(&core), "the core image holds an access token");
    }
    // What it tells at its end.
    drop(staying);
    assert_eq!(house.serving.stop(), Some(0));
    let mut last = house.told.until_end().into_bytes();
    last.extend(fs::read(house.folder().join("stdout")).unwrap());
    let leaks: Vec<_> = scanner.hits(&last).into_iter().filter(|hit| !hit.starts_with(PLANTED)).collect();
    assert!(leaks.is_empty(), "{leaks:?}");
}
