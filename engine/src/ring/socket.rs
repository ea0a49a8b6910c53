//! Sockets before and beside their operations: making them, their options, and the two calls that
//! have no safe wrapper.
//!
//! The only unsafe code here is `setsockopt` and `recv` on a borrowed descriptor, each with a
//! buffer whose length is passed along. Errors come back as words with the mend, where there is one.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use codec::IpPrefix;
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

use super::core::{ConnectTarget, SocketOptions};
use crate::config::host_prefix;
use crate::session::ConnectFailure;

/// Internetwork control, class selector 6 (RFC 4271 §5 leaves it open; RFC 4594 §3.1 says CS6).
const CLASS_CS6: u32 = 0xC0;

/// Connections that may wait to be accepted: thousands of peers come back at once.
const BACKLOG: i32 = 4096;

/// The longest key of TCP MD5 that Linux takes.
pub(super) const MAX_PASSWORD_LEN: usize = 80;

/// A key of TCP MD5 could not be set.
#[derive(Debug, thiserror::Error)]
pub enum PasswordUnusable {
    /// Longer than the kernel takes, or empty.
    #[error("a password must have 1 to 80 octets, this one has {0}")]
    Length(usize),
    /// The kernel said no.
    #[error("TCP MD5 signatures cannot be set for {peers}: {error}{}", no_support(.error))]
    Refused {
        /// The peer or peers.
        peers: IpPrefix,
        /// Its answer.
        error: io::Error,
    },
}

fn no_support(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::ENOPROTOOPT | libc::EOPNOTSUPP) => {
            " (this kernel is built without CONFIG_TCP_MD5SIG)"
        }
        _ => "",
    }
}

/// Opens a listener, not yet accepting in any runtime. TTL 255, so that what it answers passes a
/// peer's GTSM (RFC 5082 §3); IPv6 listeners take no IPv4.
///
/// # Errors
/// What the kernel said, for the caller to put the address to.
pub fn listen(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.cloexec().nonblocking(),
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    set_send_ttl(&socket, address.is_ipv6(), Some(255))?;
    set_class(&socket, address.is_ipv6())?;
    socket.bind(&SockAddr::from(address))?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// Makes the socket of an outgoing connection, blocking and unconnected.
///
/// # Errors
/// Words: which option or address could not be had.
pub(super) fn outgoing(target: &ConnectTarget, remote: SocketAddr) -> Result<Socket, String> {
    let is_ipv6 = remote.is_ipv6();
    let socket = Socket::new(
        Domain::for_address(remote),
        Type::STREAM.cloexec(),
        Some(Protocol::TCP),
    )
    .map_err(|error| format!("no socket: {error}"))?;
    if is_ipv6 {
        socket
            .set_only_v6(true)
            .map_err(|error| error.to_string())?;
    }
    set_common(&socket, is_ipv6).map_err(|error| format!("socket options: {error}"))?;
    apply(&socket, remote.ip(), &target.options)?;
    if let Some(local) = target.local {
        // The port is chosen at connect, when the whole 4-tuple is known: thousands of sessions
        // may then share one source address.
        set_int(&socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)
            .map_err(|error| format!("socket options: {error}"))?;
        socket
            .bind(&SockAddr::from(SocketAddr::new(local, 0)))
            .map_err(|error| cannot_bind(local, &error))?;
    }
    Ok(socket)
}

fn cannot_bind(local: IpAddr, error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EADDRNOTAVAIL) => {
            format!("the local address {local} is not on this machine; correct localAddress")
        }
        _ => format!("the local address {local} cannot be used: {error}"),
    }
}

/// The options that every connection has.
pub(super) fn set_common(socket: &impl AsFd, is_ipv6: bool) -> io::Result<()> {
    set_int(socket, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
    set_class(socket, is_ipv6)
}

/// Sets what `options` say on a live or future connection to `remote`.
///
/// # Errors
/// Words: which option could not be set.
pub(super) fn apply(
    socket: &impl AsFd,
    remote: IpAddr,
    options: &SocketOptions,
) -> Result<(), String> {
    set_send_ttl(socket, remote.is_ipv6(), options.send_ttl)
        .map_err(|error| format!("TTL: {error}"))?;
    set_min_ttl(socket, remote.is_ipv6(), options.min_ttl)
        .map_err(|error| format!("TTL security (RFC 5082): {error}"))?;
    set_password(socket, remote, options.password.as_deref()).map_err(|error| error.to_string())
}

fn set_send_ttl(socket: &impl AsFd, is_ipv6: bool, ttl: Option<u8>) -> io::Result<()> {
    // -1: back to the kernel's default.
    let ttl = ttl.map_or(-1, i32::from);
    if is_ipv6 {
        set_int(socket, libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, ttl)
    } else {
        set_int(socket, libc::IPPROTO_IP, libc::IP_TTL, ttl)
    }
}

fn set_min_ttl(socket: &impl AsFd, is_ipv6: bool, ttl: Option<u8>) -> io::Result<()> {
    let ttl = i32::from(ttl.unwrap_or(0));
    if is_ipv6 {
        const IPV6_MINHOPCOUNT: i32 = 73;
        set_int(socket, libc::IPPROTO_IPV6, IPV6_MINHOPCOUNT, ttl)
    } else {
        set_int(socket, libc::IPPROTO_IP, libc::IP_MINTTL, ttl)
    }
}

fn set_class(socket: &impl AsFd, is_ipv6: bool) -> io::Result<()> {
    let class = CLASS_CS6 as i32;
    if is_ipv6 {
        set_int(socket, libc::IPPROTO_IPV6, libc::IPV6_TCLASS, class)
    } else {
        set_int(socket, libc::IPPROTO_IP, libc::IP_TOS, class)
    }
}

/// The kernel's `struct tcp_md5sig` (RFC 2385).
#[repr(C)]
struct TcpMd5Sig {
    address: SockAddrStorage,
    flags: u8,
    prefix_len: u8,
    key_len: u16,
    interface: libc::c_int,
    key: [u8; MAX_PASSWORD_LEN],
}

/// Sets, changes or (none) removes the key for segments to and from `peer` on a connection,
/// unconnected or live.
///
/// # Errors
/// The key has no usable length, or the kernel refuses it.
// RFC-DONE 2385 §2: Segments are signed by the kernel, listeners before the first SYN.
pub fn set_password(
    socket: &impl AsFd,
    peer: IpAddr,
    password: Option<&[u8]>,
) -> Result<(), PasswordUnusable> {
    set_password_of(socket, host_prefix(peer), password)
}

/// The same for all `peers` of a prefix, on a listener. Of overlapping prefixes the longest counts.
///
/// # Errors
/// As [`set_password`].
pub(super) fn set_password_of(
    socket: &impl AsFd,
    peers: IpPrefix,
    password: Option<&[u8]>,
) -> Result<(), PasswordUnusable> {
    const TCP_MD5SIG_EXT: i32 = 32;
    const TCP_MD5SIG_FLAG_PREFIX: u8 = 1;
    let (peer, is_host) = match peers {
        IpPrefix::V4(prefix) => (IpAddr::V4(prefix.address()), peers.length() == 32),
        IpPrefix::V6(prefix) => (IpAddr::V6(prefix.address()), peers.length() == 128),
    };
    let key = password.unwrap_or_default();
    if key.len() > MAX_PASSWORD_LEN || password.is_some_and(<[u8]>::is_empty) {
        return Err(PasswordUnusable::Length(key.len()));
    }
    let mut option = TcpMd5Sig {
        address: SockAddr::from(SocketAddr::new(peer, 0)).as_storage(),
        flags: if is_host { 0 } else { TCP_MD5SIG_FLAG_PREFIX },
        prefix_len: if is_host { 0 } else { peers.length() },
        key_len: key.len() as u16,
        interface: 0,
        key: [0; MAX_PASSWORD_LEN],
    };
    option.key[..key.len()].copy_from_slice(key);
    // Kernels before 4.13 have no prefixes.
    let name = if is_host {
        libc::TCP_MD5SIG
    } else {
        TCP_MD5SIG_EXT
    };
    match set_option(socket, libc::IPPROTO_TCP, name, &option) {
        // ENOENT: there was none to remove.
        Err(error) if password.is_none() && error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        // A kernel without TCP MD5 has no key to remove either.
        Err(error) if password.is_none() && !no_support(&error).is_empty() => Ok(()),
        result => result.map_err(|error| PasswordUnusable::Refused { peers, error }),
    }
}

fn set_int(socket: &impl AsFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    set_option(socket, level, name, &value)
}

fn set_option<T>(socket: &impl AsFd, level: i32, name: i32, value: &T) -> io::Result<()> {
    let descriptor: BorrowedFd<'_> = socket.as_fd();
    // SAFETY: the descriptor is borrowed for the call; the kernel reads `size_of::<T>()` octets of
    // `value`, which lives that long, and keeps no reference. T is a plain C value in both uses.
    let result = unsafe {
        libc::setsockopt(
            descriptor.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Reads what has arrived into `buffer`, without waiting. 0: the peer closed.
///
/// # Errors
/// `WouldBlock` if nothing has arrived, else what broke the connection.
pub(super) fn receive(socket: &impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    receive_with(socket, buffer, 0)
}

/// Whether something has arrived that was not read. The end of the stream and an error are not.
pub(super) fn has_unread(socket: &impl AsFd) -> bool {
    receive_with(socket, &mut [0], libc::MSG_PEEK).is_ok_and(|octets| octets > 0)
}

fn receive_with(socket: &impl AsFd, buffer: &mut [u8], flags: i32) -> io::Result<usize> {
    loop {
        // SAFETY: the kernel writes at most `buffer.len()` octets into `buffer`, which is borrowed
        // exclusively for the call; the descriptor is borrowed for the call.
        let count = unsafe {
            libc::recv(
                socket.as_fd().as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                libc::MSG_DONTWAIT | flags,
            )
        };
        if let Ok(count) = usize::try_from(count) {
            return Ok(count);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Has the kernel throw away what is unsent when the socket is closed, and reset the peer.
pub(super) fn abandon_on_close(socket: &impl AsFd) {
    // A socket that is already broken refuses this; then there is nothing to abandon.
    let _ = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
}

/// Local and remote address of a connection.
///
/// # Errors
/// The connection is already gone.
pub(super) fn addresses(socket: &impl AsFd) -> io::Result<(SocketAddr, SocketAddr)> {
    let socket = socket2::SockRef::from(socket);
    let no_ip = || io::Error::other("not an IP connection");
    let local = socket.local_addr()?.as_socket().ok_or_else(no_ip)?;
    let remote = socket.peer_addr()?.as_socket().ok_or_else(no_ip)?;
    Ok((local, remote))
}

/// Why a connection could not be had.
pub(super) fn connect_failure(error: &io::Error, target: &ConnectTarget) -> ConnectFailure {
    let signed = target.options.password.is_some();
    ConnectFailure::There(match error.raw_os_error() {
        Some(libc::EADDRNOTAVAIL) => {
            return ConnectFailure::Here(match target.local {
                Some(local) => format!(
                    "the local address {local} cannot be used, or has no free port; correct \
                     localAddress"
                ),
                None => "there is no local address, or no free port; give this machine an address \
                         that reaches the peer"
                    .to_owned(),
            });
        }
        Some(libc::EACCES | libc::EPERM) => {
            let words = "not permitted; see whether a firewall of this machine forbids it";
            return ConnectFailure::Here(words.to_owned());
        }
        Some(libc::ECONNREFUSED) => {
            format!(
                "connection refused (nothing listens on port {}, or a firewall rejects it)",
                target.port
            )
        }
        Some(libc::ETIMEDOUT) if signed => {
            "timed out (is the MD5 password the same on both sides?)".to_owned()
        }
        Some(libc::ETIMEDOUT) if target.options.min_ttl.is_some() => {
            "timed out (is the peer further away than TTL security allows?)".to_owned()
        }
        Some(libc::ETIMEDOUT) => {
            "timed out (the peer does not answer; does it want an MD5 password?)".to_owned()
        }
        Some(libc::ENETUNREACH) => "no route to the peer's network".to_owned(),
        Some(libc::EHOSTUNREACH) => "no route to the peer".to_owned(),
        // The last is what a connection says that was reset as soon as it stood.
        Some(libc::ECONNRESET | libc::ENOTCONN) => {
            "the peer reset the connection at once (does it know this address as a neighbor?)"
                .to_owned()
        }
        _ => error.to_string(),
    })
}

/// Why a connection ended, in words.
pub(super) fn closed_words(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ECONNRESET) => "the peer reset the connection".to_owned(),
        Some(libc::EPIPE) => "the peer closed the connection".to_owned(),
        Some(libc::ETIMEDOUT) => "timed out: the peer no longer answers".to_owned(),
        Some(libc::EHOSTUNREACH) => "no route to the peer any more".to_owned(),
        Some(libc::ENETUNREACH) => "no route to the peer's network any more".to_owned(),
        Some(libc::ENETDOWN) => "the network is down".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_md5_option_has_the_kernels_layout() {
        assert_eq!(size_of::<TcpMd5Sig>(), 216);
        assert_eq!(std::mem::offset_of!(TcpMd5Sig, key_len), 130);
        assert_eq!(std::mem::offset_of!(TcpMd5Sig, key), 136);
    }

    #[test]
    fn an_outgoing_socket_has_its_options() {
        let remote: SocketAddr = "127.0.0.2:179".parse().unwrap();
        let target = ConnectTarget {
            peer: remote.ip().into(),
            port: 179,
            local: Some("127.0.0.3".parse().unwrap()),
            options: SocketOptions {
                password: None,
                send_ttl: Some(255),
                min_ttl: Some(254),
            },
        };
        let socket = outgoing(&target, remote).unwrap();
        assert_eq!(socket.ttl_v4().unwrap(), 255);
        assert_eq!(socket.tos_v4().unwrap(), CLASS_CS6);
        assert!(socket.tcp_nodelay().unwrap());
        apply(&socket, remote.ip(), &SocketOptions::default()).unwrap();
        assert_eq!(socket.ttl_v4().unwrap(), 64);
    }

    #[test]
    fn an_address_of_another_machine_is_named() {
        let remote: SocketAddr = "127.0.0.2:179".parse().unwrap();
        let target = ConnectTarget {
            peer: remote.ip().into(),
            port: 179,
            local: Some("192.0.2.7".parse().unwrap()),
            options: SocketOptions::default(),
        };
        let words = outgoing(&target, remote).unwrap_err();
        assert_eq!(
            words,
            "the local address 192.0.2.7 is not on this machine; correct localAddress"
        );
    }

    #[test]
    fn a_password_has_1_to_80_octets() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let peer = "127.0.0.2".parse().unwrap();
        for bad in [&[0u8; 81][..], &[]] {
            assert!(matches!(
                set_password(&socket, peer, Some(bad)),
                Err(PasswordUnusable::Length(_))
            ));
        }
        set_password(&socket, peer, None).unwrap();
    }
}
