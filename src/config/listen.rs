//! `[listen]`: where the sidecar answers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::Vars;
use super::kinds::{Raw, address, text};
use super::reader::{At, Section};
use crate::api::UnixOptions;

/// Keys that a later version will have. To pass them over would leave somebody believing in a guard that is not there.
const LATER: &[(&str, &str)] = &[
    ("tls", "TLS listeners are not supported by this version"),
    ("metrics", "a separate listener for metrics is not supported by this version; /metrics is on every listener"),
];

/// Where the sidecar answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// The unix socket; `None` where it was switched off.
    pub socket: Option<UnixOptions>,
    /// A loopback address; off unless set.
    pub tcp: Option<SocketAddr>,
    /// Holds the token that TCP asks for where no client is configured; made at start if it does not exist.
    pub token_file: PathBuf,
}

/// `clients`: there are some, and tokens are theirs.
pub(super) fn listen(section: Section<'_>, runtime_dir: &Path, clients: bool) -> Listen {
    // 'off' is no path, and any other text is one. Read once, so that a fault is told once.
    let told = section.read("socket", text);
    let off = told.as_ref().filter(|at| at.value == "off").map(|at| at.place.clone());
    let socket = told.filter(|_| off.is_none()).and_then(|_| section.path("socket")).map(|at| at.value);
    let mode = section.read_or("mode", mode, 0o660);
    let group = section.read("group", text).and_then(|at| at.value.parse().ok());
    let tcp = section.read("tcp", address);
    if let Some(At { place, .. }) = tcp.as_ref().filter(|at| !is_literal_loopback(at.value.ip())) {
        let what = "must be a loopback address, 127.0.0.1 or [::1]: other addresses need TLS, which this version does not have";
        section.fault_at(place.clone(), "tcp", what);
    }
    if let Some(place) = off.clone().filter(|_| !section.is_set("tcp")) {
        section.fault_at(place, "socket", "is off and listen.tcp is not set: nobody could ask");
    }
    let token_file = section.path("token_file");
    if let Some(At { place, .. }) = token_file.as_ref().filter(|_| clients) {
        let what =
            "goes with no [[client]]: where there are some, each has its own token; name the file in a [[client]]";
        section.fault_at(place.clone(), "token_file", what);
    }
    let token_file = token_file.map(|at| at.value);
    section.finish(LATER);
    Listen {
        socket: off.is_none().then(|| UnixOptions {
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
        None => last_resort(uid),
    }
}

/// The folder for a user who has none of their own. Anybody may make it before us: whoever uses it checks first that it
/// is ours and closed to others.
#[must_use]
pub fn last_resort(uid: u32) -> PathBuf {
    PathBuf::from(format!("/tmp/sidekey-{uid}"))
}

/// The rest of 127.0.0.0/8 is loopback too, but no `Host` that a caller sends would fit it.
fn is_literal_loopback(ip: IpAddr) -> bool {
    ip == IpAddr::V4(Ipv4Addr::LOCALHOST) || ip == IpAddr::V6(Ipv6Addr::LOCALHOST)
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
