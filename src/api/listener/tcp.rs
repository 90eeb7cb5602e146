use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

use super::{Door, Kind, ListenError, Listener, Tls};

/// Tries for a free port that is free in both families.
const TRIES: usize = 16;
/// As long as the system lets it be, mostly: a burst of connects is no reason to fail one.
const BACKLOG: i32 = 4_096;

/// Listens on 127.0.0.1 and on \[::1\] at that port, whichever of them `address` is; port 0 takes one that is free in
/// both. Where the machine has no IPv6, on 127.0.0.1 alone. Both, because a client that is told `localhost` may go to
/// either, and another user could take the one that is left free.
///
/// # Errors
/// If `address` is any other, the port is in use, or cannot be bound.
pub fn bind_tcp(address: SocketAddr) -> Result<Vec<Listener>, ListenError> {
    if is_loopback(address.ip()) {
        bind_loopback(address.port(), &Door::Plain)
    } else {
        Err(ListenError::NotLoopback(address))
    }
}

/// Listens at that address with TLS, whatever address it is; on loopback as [`bind_tcp`] does.
///
/// # Errors
/// If the port is in use, or cannot be bound.
pub fn bind_tls(address: SocketAddr, tls: &Tls) -> Result<Vec<Listener>, ListenError> {
    let door = Door::Tls(tls.clone());
    if is_loopback(address.ip()) { bind_loopback(address.port(), &door) } else { Ok(vec![bind(address, door)?]) }
}

/// Listens at that address for who asks after health and metrics, and serves nothing else there.
///
/// # Errors
/// If the port is in use, or cannot be bound.
pub fn bind_metrics(address: SocketAddr) -> Result<Listener, ListenError> {
    bind(address, Door::Metrics)
}

/// The two addresses of loopback that a `Host` names.
pub(super) fn is_loopback(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip == Ipv4Addr::LOCALHOST,
        IpAddr::V6(ip) => ip == Ipv6Addr::LOCALHOST,
    }
}

fn bind_loopback(port: u16, door: &Door) -> Result<Vec<Listener>, ListenError> {
    let mut tries = if port == 0 { TRIES } else { 1 };
    loop {
        tries -= 1;
        match bind_both(port, door) {
            Err(ListenError::PortInUse(_)) if tries > 0 => {}
            outcome => return outcome,
        }
    }
}

fn bind_both(port: u16, door: &Door) -> Result<Vec<Listener>, ListenError> {
    let four = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), door.clone())?;
    let port = four.port().unwrap_or(port);
    match bind(SocketAddr::from((Ipv6Addr::LOCALHOST, port)), door.clone()) {
        Ok(six) => Ok(vec![four, six]),
        Err(ListenError::Tcp { error, .. }) if is_without_ipv6(&error) => {
            tracing::info!(port, "this machine has no IPv6: listening on 127.0.0.1 alone");
            Ok(vec![four])
        }
        Err(error) => Err(error),
    }
}

fn bind(address: SocketAddr, door: Door) -> Result<Listener, ListenError> {
    let socket = open(address).and_then(|socket| {
        let listener = tokio::net::TcpListener::from_std(socket.into())?;
        let bound = listener.local_addr()?;
        Ok(Listener(Kind::Tcp(listener, bound, door)))
    });
    socket.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => ListenError::PortInUse(address),
        _ => ListenError::Tcp { address, error },
    })
}

fn open(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // Every address of both families is one listener.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    limit_hops(&socket, address)?;
    socket.set_tcp_nodelay(true)?;
    // Lets a restart have the port while old connections fade. Two listeners it does not allow; SO_REUSEPORT would.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// Connections inherit it. What leaves this machine all the same does not get past the first router.
pub(super) fn limit_hops(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    match address.ip() {
        ip if !ip.is_loopback() => Ok(()),
        IpAddr::V4(_) => socket.set_ttl_v4(1),
        IpAddr::V6(_) => socket.set_unicast_hops_v6(1),
    }
}

fn is_without_ipv6(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let missing = [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|code| missing.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn connections_leave_with_a_hop_limit_of_one_and_without_delay() {
        let listeners = bind_tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        assert!(!listeners.is_empty());
        for listener in listeners {
            let Kind::Tcp(listener, address, _) = listener.0 else { panic!("a TCP listener") };
            let client = tokio::net::TcpStream::connect(address).await.unwrap();
            let (accepted, _) = listener.accept().await.unwrap();
            let socket = socket2::SockRef::from(&accepted);
            let hops = if address.is_ipv6() { socket.unicast_hops_v6() } else { socket.ttl_v4() };
            assert_eq!((hops.unwrap(), socket.tcp_nodelay().unwrap()), (1, true), "{address}");
            drop(client);
        }
    }
}
