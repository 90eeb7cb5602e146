//! `[listen]`: where the sidecar answers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::Vars;
use super::kinds::{Raw, address, text};
use super::reader::{At, Reader, Section};
use crate::api::{TlsFiles, UnixOptions};

/// Where the sidecar answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// The unix socket; `None` where it was switched off.
    pub socket: Option<UnixOptions>,
    /// A loopback address, or any with TLS; off unless set.
    pub tcp: Option<SocketAddr>,
    /// Holds the token that TCP asks for where no client is configured; made at start if it does not exist.
    pub token_file: PathBuf,
    /// What TCP is encrypted with.
    pub tls: Option<TlsFiles>,
    /// The unix socket on which systemd asks for what units are to start with; off unless set.
    pub credentials: Option<UnixOptions>,
    /// Where health and metrics are told, and nothing else; any address; off unless set.
    pub metrics: Option<SocketAddr>,
}

impl Listen {
    /// Whether callers over TCP may bring the token: not where all of them must have a certificate.
    #[must_use]
    pub fn takes_token(&self) -> bool {
        self.tls.as_ref().is_none_or(|tls| !tls.certificate_required)
    }
}

/// `clients`: there are some, and tokens are theirs.
pub(super) fn listen<'r>(reader: &'r Reader<'r>, section: Section<'r>, runtime_dir: &Path, clients: bool) -> Listen {
    // 'off' is no path, and any other text is one. Read once, so that a fault is told once.
    let told = section.read("socket", text);
    let off = told.as_ref().filter(|at| at.value == "off").map(|at| at.place.clone());
    let socket = told.filter(|_| off.is_none()).and_then(|_| section.path("socket")).map(|at| at.value);
    let mode = section.read_or("mode", mode, 0o660);
    let group = section.read("group", text).and_then(|at| at.value.parse().ok());
    let tcp = section.read("tcp", address);
    let token_file = section.path("token_file");
    if let Some(At { place, .. }) = token_file.as_ref().filter(|_| clients) {
        let what =
            "goes with no [[client]]: where there are some, each has its own token; name the file in a [[client]]";
        section.fault_at(place.clone(), "token_file", what);
    }
    let token_file = token_file.map(|at| at.value);
    // A client may be known by a token of its own.
    let (asks_tls, tls) = tls(reader, &section, token_file.is_none() && !clients);
    if let Some(At { place, .. }) = tcp.as_ref().filter(|at| !asks_tls && !is_literal_loopback(at.value.ip())) {
        let what = "must be a loopback address, 127.0.0.1 or [::1]: other addresses need TLS, as listen.tls has it";
        section.fault_at(place.clone(), "tcp", what);
    }
    let metrics = section.read("metrics", address);
    if let (Some(at), Some(tcp)) = (&metrics, &tcp)
        && at.value.port() == tcp.value.port()
        && at.value.port() != 0
    {
        section.fault_at(at.place.clone(), "metrics", "must have another port than listen.tcp");
    }
    if let Some(place) = off.clone().filter(|_| !section.is_set("tcp")) {
        section.fault_at(place, "socket", "is off and listen.tcp is not set: nobody could ask");
    }
    let credentials = section.path("credentials");
    if let Some(At { value, place }) = &credentials
        && off.is_none()
        && *value == socket.clone().unwrap_or_else(|| runtime_dir.join("sidekey.sock"))
    {
        section.fault_at(
            place.clone(),
            "credentials",
            "must be another path than listen.socket: no HTTP is spoken there",
        );
    }
    section.finish(&[]);
    Listen {
        // For root, and for who runs us.
        credentials: credentials.map(|at| UnixOptions { mode: 0o600, ..UnixOptions::new(at.value) }),
        socket: off.is_none().then(|| UnixOptions {
            path: socket.unwrap_or_else(|| runtime_dir.join("sidekey.sock")),
            mode,
            group,
        }),
        tcp: tcp.map(|at| at.value),
        token_file: token_file.unwrap_or_else(|| runtime_dir.join("token")),
        tls,
        metrics: metrics.map(|at| at.value),
    }
}

/// `[listen.tls]`: whether it is asked for, and what it says. Without a token file that somebody named, an authority for
/// clients means that all of them have a certificate.
fn tls<'r>(reader: &'r Reader<'r>, listen: &Section<'r>, no_token: bool) -> (bool, Option<TlsFiles>) {
    let table = listen.tables("tls").into_iter().next();
    let is_there = table.is_some();
    let section = Section::new(reader, "listen.tls", Some("SIDEKEY_LISTEN_TLS_"), table);
    let keys = ["cert", "key", "client_ca", "client_crl"];
    let [cert, key, client_ca, client_crl] = keys.map(|name| section.readable_file(name));
    let asked = is_there || keys.iter().any(|key| section.is_set(key));
    for key in ["cert", "key"] {
        if asked && !section.is_set(key) {
            section.fault_of_absent(key, "is missing: TLS needs a cert and a key");
        }
    }
    if asked && !listen.is_set("tcp") {
        section.fault_of_absent("", "needs listen.tcp, the address that is to speak TLS");
    }
    if let Some(At { place, .. }) = client_crl.as_ref().filter(|_| !section.is_set("client_ca")) {
        section.fault_at(place.clone(), "client_crl", "needs client_ca, whose certificates it is about");
    }
    section.finish(&[]);
    let certificate_required = client_ca.is_some() && no_token;
    let files = cert.zip(key).map(|(cert, key)| TlsFiles {
        cert: cert.value,
        key: key.value,
        client_ca: client_ca.map(|at| at.value),
        client_crl: client_crl.map(|at| at.value),
        certificate_required,
    });
    (asked, files)
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
