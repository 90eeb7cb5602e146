//! sidekey took the place of sixty lines in a container, which did seven things wrong. Each is held here, by the built
//! binary and over real sockets; what each module must do besides is tested with the module.
//!
//! 1. [`told_apart`]: 'Secret Not Found' was said for every failure.
//! 2. [`version`]: the version was ignored in a search over all vaults.
//! 3. [`which_vault`]: the first hit was given without its vault's name.
//! 4. [`every_vault`]: one subscription was searched, and nothing that Resource Manager did not show.
//! 5. [`many_reads`]: a new token for every call, vaults one after the other, no time limit, exit code 0 on failure.
//! 6. [`network_api`]: no API, and the credentials were on the command line and in the image.
//! 7. [`clouds`]: one cloud's addresses were written into the code.

mod clouds;
mod every_vault;
mod many_reads;
mod network_api;
mod told_apart;
mod version;
mod which_vault;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use serde_json::Value;
use sidekey::emulator::Estate;

use crate::cli::process::Azure;

/// Everything but vaults: the demo's application, which may do everything, and two subscriptions.
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
[[subscription]]
id = "aaaa0000-0000-4000-8000-00000000000b"
name = "second"
[[grant]]
app = "sidekey"
subscriptions = ["*"]
[[grant]]
app = "sidekey"
vaults = ["*"]
rights = ["all"]
"#;

fn azure(vaults: &str) -> Azure {
    Azure::of(Estate::parse(&format!("{ESTATE}{vaults}")).unwrap_or_else(|faults| panic!("{faults:#?}")))
}

/// What came back over HTTP.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }

    /// The status, the problem's code and its reason.
    #[track_caller]
    fn problem(&self) -> (u16, String, String) {
        let problem = self.json();
        let word = |key: &str| problem[key].as_str().unwrap_or_default().to_owned();
        (self.status, word("code"), word("reason"))
    }

    fn header(&self, name: &str) -> Option<&str> {
        let of = |line: &'_ str| line.split_once(": ").is_some_and(|(key, _)| key.eq_ignore_ascii_case(name));
        self.head.lines().find(|line| of(line)).and_then(|line| line.split_once(": ")).map(|(_, value)| value)
    }
}

/// A request by hand, as any program can make it.
fn request(mut stream: impl Read + Write, host: &str, path: &str, headers: &str) -> Answer {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no HTTP: {text}"));
    let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// Over the sidecar's socket.
fn get(azure: &Azure, path: &str) -> Answer {
    request(UnixStream::connect(azure.socket()).unwrap(), "localhost", path, "")
}

fn get_json(azure: &Azure, path: &str) -> Answer {
    request(UnixStream::connect(azure.socket()).unwrap(), "localhost", path, "Accept: application/json\r\n")
}
