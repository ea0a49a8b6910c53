//! The addresses of this machine's interfaces: for next hops, and for what the guard must not
//! announce.
//!
//! Read when asked, not followed. Whether an IPv6 address is temporary (RFC 8981) is not in what
//! the portable call returns, so on Linux it is read beside it.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};

use codec::{IpPrefix, Ipv4Prefix, Ipv6Prefix};

use crate::config::PeerAddress;

/// The addresses of the interface that holds a session's local address. Sessions come up rarely,
/// so this is asked then and not followed.
pub trait Interfaces: Send {
    /// Global, non-temporary addresses on the interface that holds `local`.
    fn beside(&self, local: IpAddr) -> Vec<IpAddr>;
}

/// One address of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The interface's name.
    pub interface: String,
    /// The address.
    pub address: IpAddr,
    /// The length of the connected subnet.
    pub prefix_length: u8,
    /// A temporary address of RFC 8981, which is no next hop to rely on.
    pub temporary: bool,
}

impl InterfaceAddress {
    /// The connected subnet.
    pub fn subnet(&self) -> IpPrefix {
        match self.address {
            IpAddr::V4(address) => IpPrefix::V4(Ipv4Prefix::masked(address, self.prefix_length)),
            IpAddr::V6(address) => IpPrefix::V6(Ipv6Prefix::masked(address, self.prefix_length)),
        }
    }

    /// Whether the address means something beyond its link and this machine.
    pub fn is_global(&self) -> bool {
        match self.address {
            IpAddr::V4(address) => !address.is_loopback() && !address.is_link_local(),
            IpAddr::V6(address) => !address.is_loopback() && !address.is_unicast_link_local(),
        }
    }
}

/// All addresses of all interfaces.
///
/// # Errors
/// What the system says if it does not list them.
pub fn addresses() -> io::Result<Vec<InterfaceAddress>> {
    let temporary = temporary_addresses();
    let interfaces = if_addrs::get_if_addrs()?;
    Ok(interfaces
        .into_iter()
        .map(|interface| {
            let address = interface.ip();
            let prefix_length = match &interface.addr {
                if_addrs::IfAddr::V4(v4) => v4.prefixlen,
                if_addrs::IfAddr::V6(v6) => v6.prefixlen,
            };
            InterfaceAddress {
                interface: interface.name,
                address,
                prefix_length,
                temporary: temporary.contains(&address),
            }
        })
        .collect())
}

/// The peer at the other end of a connection. None: its link has no name any more.
pub fn peer_address(remote: SocketAddr) -> Option<PeerAddress> {
    match remote {
        SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() => {
            let index = v6.scope_id();
            let interfaces = if_addrs::get_if_addrs().ok()?;
            let mut named = interfaces.iter();
            let interface = named.find(|interface| interface.index == Some(index))?;
            PeerAddress::on_link(remote.ip(), &interface.name).ok()
        }
        _ => Some(PeerAddress::from(remote.ip())),
    }
}

/// Where to connect to.
///
/// # Errors
/// Words with the mend: the peer's link is not there.
pub fn socket_address(peer: PeerAddress, port: u16) -> Result<SocketAddr, String> {
    let (IpAddr::V6(ip), Some(zone)) = (peer.ip(), peer.zone()) else {
        return Ok(SocketAddr::new(peer.ip(), port));
    };
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let mut named = interfaces.iter();
    match named.find_map(|interface| interface.index.filter(|_| interface.name == zone)) {
        Some(index) => Ok(SocketAddrV6::new(ip, port, 0, index).into()),
        None => Err(format!(
            "this machine has no interface {zone}, or none of that name with an address; correct what \
             stands behind % in the neighbor's address, or bring the interface up"
        )),
    }
}

/// This machine's interfaces.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemInterfaces;

impl Interfaces for SystemInterfaces {
    fn beside(&self, local: IpAddr) -> Vec<IpAddr> {
        // A machine that does not list its interfaces has no next hop to offer; the caller says so.
        beside(&addresses().unwrap_or_default(), local)
    }
}

/// The global, lasting addresses on the interface that holds `local`.
fn beside(addresses: &[InterfaceAddress], local: IpAddr) -> Vec<IpAddr> {
    let Some(holder) = addresses.iter().find(|entry| entry.address == local) else {
        return Vec::new();
    };
    let same = addresses
        .iter()
        .filter(|entry| entry.interface == holder.interface);
    same.filter(|entry| entry.is_global() && !entry.temporary)
        .map(|entry| entry.address)
        .collect()
}

/// Linux: each line is address, index, prefix length, scope, flags and name, all in hexadecimal
/// but the name. Elsewhere the file does not exist, and no address counts as temporary.
fn temporary_addresses() -> BTreeSet<IpAddr> {
    let text = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    text.lines().filter_map(temporary_address).collect()
}

fn temporary_address(line: &str) -> Option<IpAddr> {
    const IFA_F_TEMPORARY: u32 = 0x01;
    let mut fields = line.split_whitespace();
    let address = u128::from_str_radix(fields.next()?, 16).ok()?;
    let flags = u32::from_str_radix(fields.nth(3)?, 16).ok()?;
    (flags & IFA_F_TEMPORARY != 0).then_some(IpAddr::V6(Ipv6Addr::from(address)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(interface: &str, address: &str, temporary: bool) -> InterfaceAddress {
        InterfaceAddress {
            interface: interface.to_owned(),
            address: address.parse().unwrap(),
            prefix_length: 64,
            temporary,
        }
    }

    #[test]
    fn only_lasting_global_addresses_of_the_same_interface_stand_beside() {
        let addresses = [
            entry("eth0", "10.0.0.5", false),
            entry("eth0", "2001:db8::5", false),
            entry("eth0", "2001:db8::1234", true),
            entry("eth0", "fe80::5", false),
            entry("eth1", "2001:db8:1::5", false),
        ];
        let local: IpAddr = "10.0.0.5".parse().unwrap();
        let expected: Vec<IpAddr> = vec![local, "2001:db8::5".parse().unwrap()];
        assert_eq!(beside(&addresses, local), expected);
        assert_eq!(
            beside(&addresses, "10.9.9.9".parse().unwrap()),
            Vec::<IpAddr>::new()
        );
    }

    #[test]
    fn the_flags_tell_a_temporary_address() {
        let line = "20010db8000000000000000000001234 04 40 00 01     eth0";
        assert_eq!(
            temporary_address(line),
            Some("2001:db8::1234".parse().unwrap())
        );
        let lasting = "20010db8000000000000000000000005 04 40 00 80     eth0";
        assert_eq!(temporary_address(lasting), None);
    }

    #[test]
    fn this_machine_has_a_loopback_subnet() {
        let all = addresses().unwrap();
        let loopback = all.iter().find(|entry| entry.address.is_loopback());
        assert!(loopback.is_some_and(|entry| !entry.is_global()));
    }
}
