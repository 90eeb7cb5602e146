//! Nothing that is secret leaves but in the answer that was asked for. A sidecar, told to tell everything, is taken through
//! reads, failures, searches, a snapshot and a reload, with values and credentials that are each unlike anything else; then
//! everything that it has put anywhere is searched for them in every form, its memory too.
mod forms;
mod traces;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use sidekey::emulator::{Effect, Endpoint, Estate, Fault, Respond};

use crate::cli::process::{Azure, SIDEKEY, Staying, Told};
use forms::Scanner;
use traces::{memory, of_folder, of_process};

const SECRETS: usize = 140;
/// What is put, as a name, wherever names may stand: it must be found there, or the search there is blind.
const PLANTED: &str = "pl4nt3d7hr5wq2";
/// How often memory is looked at, half a second apart, until upstream connections are closed and their buffers wiped.
const LOOKS: usize = 60;

/// A text like no other: letters and digits, the same in every run.
fn canary(number: usize) -> String {
    let mut state = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut text = String::from("Zq");
    for _ in 0..18 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.push(char::from(b"0123456789abcdefghjkmnpqrstvwxyzABCDEFGHJKMNPQRSTVWXYZ"[(state >> 33) as usize % 54]));
    }
    text
}

/// The value of that secret: its canary, in what values look like.
fn value(number: usize) -> String {
    let canary = canary(number);
    match number % 5 {
        0 => canary,
        1 => format!(r#"{{"user": "ann", "password": "{canary}"}}"#),
        2 => format!("-----BEGIN KEY-----\nline \"{canary}\" \\ é\n-----END KEY-----\n"),
        3 => format!("{canary}{}{canary}", "=".repeat(4_000)),
        _ => format!("{}{canary}{}", "x".repeat(9_000), "y".repeat(15_000)),
    }
}

const CLIENT_SECRET: usize = 1_000;
const TOKEN: usize = 1_001;
const WRONG_TOKEN: usize = 1_002;
const UPSTREAM_BODY: usize = 1_003;

fn estate() -> Estate {
    let mut text = format!(
        r#"
        [[tenant]]
        id = "72f988bf-0000-4000-8000-00000000c0de"
        domain = "contoso.onmicrosoft.com"
        [[app]]
        name = "sidekey"
        tenant = "contoso.onmicrosoft.com"
        id = "5ec2e7aa-0000-4000-8000-000000051de0"
        secret = [{{ value = "{}" }}]
        [[subscription]]
        id = "0b1f6471-0000-4000-8000-0000000000a1"
        name = "production"
        [[grant]]
        app = "sidekey"
        subscriptions = ["*"]
        [[grant]]
        app = "sidekey"
        vaults = ["*"]
        rights = ["get", "list"]
        [[vault]]
        name = "{PLANTED}"
        subscription = "production"
        resource_group = "rg"
        location = "westeurope"
        "#,
        canary(CLIENT_SECRET)
    );
    for number in 0..SECRETS {
        let value = serde_json::Value::from(value(number));
        write!(text, "[[vault.secret]]\nname = \"s-{number}\"\nvalue = {value}\n").unwrap();
    }
    Estate::parse(&text).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

struct House {
    azure: Azure,
    serving: Staying,
    told: Told,
    /// What it told so far.
    log: String,
    port: String,
}

impl House {
    fn open() -> Self {
        let azure = Azure::of(estate());
        let folder = azure.path(PLANTED);
        fs::create_dir_all(folder.join("tmp")).unwrap();
        fs::create_dir_all(folder.join("kept")).unwrap();
        fs::write(azure.path("token"), canary(TOKEN)).unwrap();
        fs::set_permissions(azure.path("token"), fs::Permissions::from_mode(0o600)).unwrap();
        let to = azure.emulator.addr();
        let config = format!(
            "[listen]\nsocket = \"../s.sock\"\ntcp = \"127.0.0.1:0\"\ntoken_file = \"../token\"\n[cache]\nsnapshot = {{ file \
             = \"kept/snapshot\", key_file = \"key\" }}\nprefetch = [\"secret://{PLANTED}/s-1*\"]\n[limits]\nretries = 0\n\
             [[source]]\nca_file = \"../ca.pem\"\nresolve = {{ \"login.microsoftonline.com\" = \"{to}\", \
             \"management.azure.com\" = \"{to}\", \"*.vault.azure.net\" = \"{to}\" }}\n"
        );
        fs::write(folder.join("sidekey.toml"), config).unwrap();
        // Its own path is one of the places that are searched.
        let program = folder.join("program");
        fs::hard_link(SIDEKEY, &program).or_else(|_| fs::copy(SIDEKEY, &program).map(drop)).unwrap();
        let mut begin = Command::new(&program);
        begin
            .args(["serve", "-vv", "--config"])
            .arg(folder.join("sidekey.toml"))
            .env_clear()
            .env("XDG_RUNTIME_DIR", "/nonexistent-sidekey-test")
            .env("AZURE_TENANT_ID", "contoso.onmicrosoft.com")
            .env("AZURE_CLIENT_ID", "5ec2e7aa-0000-4000-8000-000000051de0")
            .env("AZURE_CLIENT_SECRET", canary(CLIENT_SECRET))
            .env("SOMETHING_ELSE", PLANTED)
            .env("TMPDIR", folder.join("tmp"))
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        let mut serving = Staying::start(begin);
        let told = Told::of(serving.stderr());
        let log = told.until("first round done");
        let port = log.split("127.0.0.1:").find_map(|rest| {
            let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
            (rest[port.len()..].starts_with('"') && port != to.port().to_string()).then_some(port)
        });
        Self { azure, serving, told, log, port: port.unwrap() }
    }

    /// One request through the socket, on a connection of its own.
    fn ask(&self, line: &str) -> Vec<u8> {
        self.ask_with(line, "", "")
    }

    /// The same with headers, each with its end, and a body.
    fn ask_with(&self, line: &str, headers: &str, body: &str) -> Vec<u8> {
        let mut stream = UnixStream::connect(self.azure.path("s.sock")).unwrap();
        let length = body.len();
        write!(stream, "{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n")
            .unwrap();
        write!(stream, "{headers}\r\n{body}").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        answer
    }

    /// The same through TCP, with that token.
    fn ask_tcp(&self, path: &str, token: &str) -> Vec<u8> {
        let mut stream = std::net::TcpStream::connect(format!("127.0.0.1:{}", self.port)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost:{}\r\nConnection: close\r\n", self.port).unwrap();
        write!(stream, "Authorization: Bearer {token}\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        answer
    }
}

fn holds(answer: &[u8], text: &str) -> bool {
    memchr::memmem::find(answer, text.as_bytes()).is_some()
}

#[test]
fn nothing_secret_is_anywhere_but_in_the_answer_that_was_asked_for() {
    let mut house = House::open();
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
    let scanner = Scanner::of(canaries.iter().map(String::as_str));

    // Everywhere: what was told, what was answered, what the kernel shows of the process, what lies on disk.
    let mut places: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for (name, answer) in answers {
        places.insert(format!("answer {name}"), answer);
    }
    let pid = house.serving.pid();
    places.extend(of_process(pid));
    places.extend(of_folder(&house.azure.path(""), &["token", "program", "client-secret"]));
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
    for blind in
        ["log", "answer search", "answer metrics", "proc cmdline", "proc environ", "proc maps", "file sidekey.toml"]
    {
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
    drop(staying);
}
