//! A sidecar that is told to tell everything, and all in it that is secret is unlike anything else.
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use sidekey::emulator::Estate;

use crate::cli::process::{Azure, Run, SIDEKEY, Staying, Told, command, finish};

pub const SECRETS: usize = 140;
/// What is put, as a name, wherever names may stand: it must be found there, or the search there is blind.
pub const PLANTED: &str = "pl4nt3d7hr5wq2";

/// A text like no other: letters and digits, the same in every run.
pub fn canary(number: usize) -> String {
    let mut state = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut text = String::from("Zq");
    // Some are as short as passwords are.
    for _ in 0..if number.is_multiple_of(10) { 13 } else { 18 } {
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

pub const CLIENT_SECRET: usize = 1_000;
pub const TOKEN: usize = 1_001;
pub const WRONG_TOKEN: usize = 1_002;
pub const UPSTREAM_BODY: usize = 1_003;

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

pub struct House {
    pub azure: Azure,
    pub serving: Staying,
    pub told: Told,
    /// What it told so far.
    pub log: String,
    port: String,
}

impl House {
    /// `required`: no value is answered before the audit's line of it is written.
    pub fn open(required: bool) -> Self {
        let azure = Azure::of(estate());
        let folder = azure.path(PLANTED);
        fs::create_dir_all(folder.join("tmp")).unwrap();
        fs::create_dir_all(folder.join("kept")).unwrap();
        fs::write(azure.path("token"), canary(TOKEN)).unwrap();
        fs::set_permissions(azure.path("token"), fs::Permissions::from_mode(0o600)).unwrap();
        let to = azure.emulator.addr();
        let config = format!(
            "[listen]\nsocket = \"../s.sock\"\ntcp = \"127.0.0.1:0\"\ntoken_file = \"../token\"\n[cache]\nsnapshot = {{ file \
             = \"kept/snapshot\", key_file = \"key\" }}\nprefetch = [\"secret://{PLANTED}/s-1*\"]\nlisting_interval = \"1h\"\n[limits]\nretries = 0\n\
             [audit]\nfile = \"kept/audit.log\"\nrequired = {required}\n[[source]]\nca_file = \"../ca.pem\"\nresolve = {{ \"login.microsoftonline.com\" = \"{to}\", \
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
            // Found there must be what was there before.
            .stdout({
                let mut out = File::options().create(true).append(true).open(folder.join("stdout")).unwrap();
                writeln!(out, "{PLANTED}").unwrap();
                out
            })
            .stderr(Stdio::piped());
        let mut serving = Staying::start_as_it_is(begin);
        let told = Told::of(serving.stderr());
        let log = told.until("first round done");
        let port = log.split("127.0.0.1:").find_map(|rest| {
            let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
            (rest[port.len()..].starts_with('"') && port != to.port().to_string()).then_some(port)
        });
        Self { azure, serving, told, log, port: port.unwrap() }
    }

    /// One request through the socket, on a connection of its own.
    pub fn ask(&self, line: &str) -> Vec<u8> {
        self.ask_with(line, "", "")
    }

    /// The same with headers, each with its end, and a body.
    pub fn ask_with(&self, line: &str, headers: &str, body: &str) -> Vec<u8> {
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
    pub fn ask_tcp(&self, path: &str, token: &str) -> Vec<u8> {
        let mut stream = std::net::TcpStream::connect(format!("127.0.0.1:{}", self.port)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost:{}\r\nConnection: close\r\n", self.port).unwrap();
        write!(stream, "Authorization: Bearer {token}\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        answer
    }

    /// Where TCP is listened on.
    pub fn port(&self) -> &str {
        &self.port
    }

    /// One of our own commands, with the sidecar's configuration and environment; what it tells is searched too.
    pub fn command(&self, words: &[&str]) -> Run {
        let mut command = command(words);
        let config = self.folder().join("sidekey.toml");
        command
            .env("SIDEKEY_CONFIG", config)
            .env("SIDEKEY_ADDR", self.azure.path("s.sock"))
            .env("AZURE_TENANT_ID", "contoso.onmicrosoft.com")
            .env("AZURE_CLIENT_ID", "5ec2e7aa-0000-4000-8000-000000051de0")
            .env("AZURE_CLIENT_SECRET", canary(CLIENT_SECRET));
        finish(&mut command)
    }

    /// Where its configuration is, and all that it writes but the socket and the token.
    pub fn folder(&self) -> PathBuf {
        self.azure.path(PLANTED)
    }
}
