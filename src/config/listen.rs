//! `[listen]`: where the sidecar answers.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::Vars;
use super::kinds::{Raw, address, text};
use super::reader::{At, Section};

/// Keys that a later version will have. To pass them over would leave somebody believing in a guard that is not there.
const LATER: &[(&str, &str)] = &[
    ("tls", "TLS listeners are not supported by this version"),
    ("metrics", "a separate listener for metrics is not supported by this version; /metrics is on every listener"),
];

/// Where the sidecar answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// The unix socket; `None` where it was switched off.
    pub socket: Option<Socket>,
    /// A loopback address; off unless set.
    pub tcp: Option<SocketAddr>,
    /// Holds the token that TCP asks for; made at start if it does not exist.
    pub token_file: PathBuf,
}

/// A unix socket and who may open it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    /// Its path.
    pub path: PathBuf,
    /// Its permission bits.
    pub mode: u32,
    /// The group that is to own it.
    pub group: Option<String>,
}

pub(super) fn listen(section: Section<'_>, runtime_dir: &Path) -> Listen {
    let socket = section.path("socket").map(|at| at.value);
    let off = section.read("socket", text).is_some_and(|at| at.value == "off");
    let mode = section.read_or("mode", mode, 0o660);
    let group = section.read("group", text).map(|at| at.value);
    let tcp = section.read("tcp", address);
    if let Some(At { place, .. }) = tcp.as_ref().filter(|at| !at.value.ip().is_loopback()) {
        let what = "must be a loopback address, 127.0.0.1 or [::1]: other addresses need TLS, which this version does not have";
        section.fault_at(place.clone(), "tcp", what);
    }
    if let Some(At { place, .. }) = section.read("socket", text).filter(|_| off && !section.is_set("tcp")) {
        section.fault_at(place, "socket", "is off and listen.tcp is not set: nobody could ask");
    }
    let token_file = section.path("token_file").map(|at| at.value);
    section.finish(LATER);
    Listen {
        socket: (!off).then(|| Socket {
            path: socket.unwrap_or_else(|| runtime_dir.join("sidekey.sock")),
            mode,
            group,
        }),
        tcp: tcp.map(|at| at.value),
        token_file: token_file.unwrap_or_else(|| runtime_dir.join("token")),
    }
}

/// Where sockets and tokens live by default: a folder that only root, or only this user, may write to.
#[must_use]
pub fn runtime_dir(vars: &Vars, uid: u32) -> PathBuf {
    if uid == 0 {
        return PathBuf::from("/run/sidekey");
    }
    match vars.get("XDG_RUNTIME_DIR").filter(|dir| dir.starts_with('/')) {
        Some(dir) => Path::new(dir).join("sidekey"),
        // Anybody may make a folder there: whoever uses it checks that it is ours and closed to others.
        None => PathBuf::from(format!("/tmp/sidekey-{uid}")),
    }
}

/// Permission bits in octal, without any for the whole world.
fn mode(raw: Raw<'_>) -> Result<u32, String> {
    let text = text(raw).map_err(|_| EXPECTED_MODE.to_owned())?;
    let digits = text.strip_prefix("0o").unwrap_or(&text);
    match u32::from_str_radix(digits, 8) {
        Ok(mode) if mode & !0o770 != 0 => Err("must not open the socket to all users: at most \"0770\"".to_owned()),
        Ok(mode) => Ok(mode),
        Err(_) => Err(EXPECTED_MODE.to_owned()),
    }
}

const EXPECTED_MODE: &str = "expected permission bits in quotes such as \"0660\"";
