use std::io;
use std::os::fd::{AsFd, AsRawFd as _};

/// As many as one call asks for first; the kernel allows 65,536 to a process.
const USUAL: usize = 32;

/// The supplementary groups of a unix socket's peer, as they were when it connected. Its effective group need not be
/// among them. Groups that our user namespace does not know are told as 65534.
///
/// # Errors
/// The system's own: `ENODATA` or `ENOPROTOOPT` where the socket has no such peer.
pub fn peer_groups(socket: &impl AsFd) -> io::Result<Vec<u32>> {
    let socket = socket.as_fd().as_raw_fd();
    let mut groups = vec![0_u32; USUAL];
    loop {
        let mut bytes = libc::socklen_t::try_from(size_of_val(groups.as_slice())).map_err(io::Error::other)?;
        // SAFETY: the descriptor is borrowed for the whole of this function, so it is open. `groups` is a live,
        // writable buffer of exactly `bytes` bytes, properly aligned for `gid_t` (a `u32`), and any bit pattern that
        // the kernel writes is a valid `u32`. `bytes` is a live `socklen_t`. The kernel keeps neither pointer.
        let done = unsafe {
            libc::getsockopt(socket, libc::SOL_SOCKET, libc::SO_PEERGROUPS, groups.as_mut_ptr().cast(), &raw mut bytes)
        };
        let told = usize::try_from(bytes).map_err(io::Error::other)? / size_of::<u32>();
        if done == 0 {
            groups.truncate(told);
            return Ok(groups);
        }
        match io::Error::last_os_error() {
            // The kernel told how many there are.
            error if error.raw_os_error() == Some(libc::ERANGE) && told > groups.len() => groups.resize(told, 0),
            error => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    use super::peer_groups;

    #[test]
    fn a_peer_in_our_own_process_has_our_groups() {
        let (one, _other) = UnixStream::pair().unwrap();
        let mut told = peer_groups(&one).unwrap();
        let mut own: Vec<u32> = rustix::process::getgroups().unwrap().iter().map(|group| group.as_raw()).collect();
        told.sort_unstable();
        own.sort_unstable();
        assert_eq!(told, own);
    }

    #[test]
    fn a_tcp_connection_has_no_groups_to_tell() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(peer_groups(&stream).is_err());
    }
}
