//! Where a sidecar is: an address that was given, or the first of the default places where one answers.

use std::fmt;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::cli::folder::is_ours_alone;
use crate::config::{Vars, last_resort, runtime_dir};

/// The address of a sidecar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) enum Address {
    /// A unix socket.
    Socket(PathBuf),
    /// Loopback TCP.
    Tcp(SocketAddr),
    /// TLS, to that host and port.
    Tls(String),
}

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected a socket's path, unix:PATH, http://127.0.0.1:PORT or https://HOST:PORT";
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() { Err(EXPECTED) } else { Ok(Self::Socket(path.into())) };
        }
        if text.starts_with("https://") {
            let url = url::Url::parse(text).map_err(|_| EXPECTED)?;
            let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
            let nobody = url.username().is_empty() && url.password().is_none();
            return match url.host_str() {
                Some(host) if bare && nobody => Ok(Self::Tls(format!("{host}:{}", url.port().unwrap_or(443)))),
                Some(_) | None => Err(EXPECTED),
            };
        }
        let Some(host) = text.strip_prefix("http://") else {
            return if text.contains('/') { Ok(Self::Socket(text.into())) } else { Err(EXPECTED) };
        };
        let host = host.strip_suffix('/').unwrap_or(host);
        let host = host.strip_prefix("localhost:").map_or_else(|| host.to_owned(), |port| format!("127.0.0.1:{port}"));
        match host.parse::<SocketAddr>() {
            // A token or a value must not cross a network in the clear.
            Ok(address) if !address.ip().is_loopback() => {
                Err("must be a loopback address such as http://127.0.0.1:7733; elsewhere, https://HOST:PORT")
            }
            Ok(address) => Ok(Self::Tcp(address)),
            Err(_) => Err(EXPECTED),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "http://{address}"),
            Self::Tls(authority) => write!(f, "https://{authority}"),
        }
    }
}

/// The sockets that are tried where no address was given, nearest first.
pub(super) fn default_places(vars: &Vars, uid: u32) -> Vec<PathBuf> {
    let set = vars.get("SIDEKEY_LISTEN_SOCKET").filter(|path| *path != "off").map(PathBuf::from);
    let own = runtime_dir(vars, uid).join("sidekey.sock");
    let roots = runtime_dir(vars, 0).join("sidekey.sock");
    let mut places: Vec<PathBuf> = Vec::new();
    for place in set.into_iter().chain([own, roots]) {
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

/// The first place where somebody answers whom we can believe.
pub(super) fn first_that_answers(places: &[PathBuf], uid: u32) -> Option<PathBuf> {
    places.iter().find(|path| is_trustworthy(path, uid) && UnixStream::connect(path).is_ok()).cloned()
}

/// Nobody but root and ourselves can have put the socket into its folder.
fn is_trustworthy(socket: &Path, uid: u32) -> bool {
    socket.parent() != Some(&last_resort(uid)) || is_ours_alone(&last_resort(uid), uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_an_address_is_understood_and_no_other_host_is_asked() {
        let socket = |path: &str| Ok(Address::Socket(path.into()));
        assert_eq!("/run/x.sock".parse(), socket("/run/x.sock"));
        assert_eq!("unix:/run/x.sock".parse(), socket("/run/x.sock"));
        assert_eq!("unix:///run/x.sock".parse(), socket("/run/x.sock"));
        assert_eq!("unix:x.sock".parse(), socket("x.sock"));
        assert_eq!("./x.sock".parse(), socket("./x.sock"));
        assert_eq!("http://localhost:7733/".parse(), Ok(Address::Tcp("127.0.0.1:7733".parse().unwrap())));
        assert_eq!("http://[::1]:7733".parse(), Ok(Address::Tcp("[::1]:7733".parse().unwrap())));
        for (text, authority) in [
            ("https://keys.example:7733", "keys.example:7733"),
            ("https://10.0.0.1:7733/", "10.0.0.1:7733"),
            ("https://[2001:db8::1]:1", "[2001:db8::1]:1"),
            ("https://keys.example", "keys.example:443"),
        ] {
            assert_eq!(text.parse(), Ok(Address::Tls(authority.to_owned())));
        }
        for bad in [
            "",
            "unix:",
            "sidekey",
            "https://",
            "https://a@keys.example:1",
            "https://keys.example:1/x",
            "https://keys.example:1?x",
            "http://10.0.0.1:1",
            "http://evil.example:1",
            "http://127.0.0.1:1/x",
        ] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }
}
