//! Where a peer is: an address, and for a link-local one the link that it is on.
//!
//! A link-local address says nothing without its link (RFC 4007 §6): two peers may both be
//! `fe80::1`, on two interfaces. The link goes by its interface's name, as in `fe80::1%eth0`, which
//! stays the same when the interface goes and comes back.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An address with its zone. Small and `Copy`, since it is the key of most tables about peers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerAddress {
    ip: IpAddr,
    /// An interface's name, filled up with zeros; only zeros: none.
    zone: [u8; ZONE_MAX],
}

/// The longest name of an interface, in octets.
const ZONE_MAX: usize = 15;

/// A text that is no peer's address: one sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoPeerAddress(&'static str);

impl fmt::Display for NoPeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for NoPeerAddress {}

impl PeerAddress {
    /// A link-local address on an interface.
    ///
    /// # Errors
    /// The address is not link-local, or no interface can have that name.
    pub fn on_link(ip: IpAddr, interface: &str) -> Result<PeerAddress, NoPeerAddress> {
        if !is_link_local(ip) {
            return Err(NoPeerAddress(
                "only a link-local address (fe80::/10) has an interface after it",
            ));
        }
        let is_fit = |octet: u8| octet.is_ascii_graphic() && octet != b'/' && octet != b'%';
        let name = interface.as_bytes();
        if name.is_empty() || name.len() > ZONE_MAX || !name.iter().copied().all(is_fit) {
            return Err(NoPeerAddress(
                "after % stands the name of an interface: 1 to 15 characters",
            ));
        }
        let mut zone = [0; ZONE_MAX];
        zone[..name.len()].copy_from_slice(name);
        Ok(PeerAddress { ip, zone })
    }

    /// The address without its link.
    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    /// The interface that a link-local peer is on.
    pub fn zone(&self) -> Option<&str> {
        let length = self.zone.iter().position(|octet| *octet == 0);
        let name = self.zone.get(..length.unwrap_or(ZONE_MAX))?;
        // It was made of text.
        std::str::from_utf8(name)
            .ok()
            .filter(|name| !name.is_empty())
    }

    /// Whether the address means something on one link only.
    pub fn is_link_local(&self) -> bool {
        is_link_local(self.ip)
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

impl From<IpAddr> for PeerAddress {
    fn from(ip: IpAddr) -> PeerAddress {
        PeerAddress {
            ip,
            zone: [0; ZONE_MAX],
        }
    }
}

impl From<Ipv4Addr> for PeerAddress {
    fn from(ip: Ipv4Addr) -> PeerAddress {
        IpAddr::V4(ip).into()
    }
}

impl From<Ipv6Addr> for PeerAddress {
    fn from(ip: Ipv6Addr) -> PeerAddress {
        IpAddr::V6(ip).into()
    }
}

impl FromStr for PeerAddress {
    type Err = NoPeerAddress;

    fn from_str(text: &str) -> Result<PeerAddress, NoPeerAddress> {
        let (ip, zone) = match text.split_once('%') {
            Some((ip, zone)) => (ip, Some(zone)),
            None => (text, None),
        };
        let ip = ip.parse().map_err(|_| {
            NoPeerAddress("an IP address, for example 10.0.0.6, 2001:db8::6 or fe80::6%eth0")
        })?;
        match zone {
            Some(zone) => PeerAddress::on_link(ip, zone),
            None => Ok(PeerAddress::from(ip)),
        }
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.zone() {
            Some(zone) => write!(f, "{}%{zone}", self.ip),
            None => self.ip.fmt(f),
        }
    }
}

impl fmt::Debug for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_as_it_is_shown() {
        for text in ["10.0.0.6", "2001:db8::6", "fe80::1", "fe80::1%eth0"] {
            let address: PeerAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
        }
        let one: PeerAddress = "fe80::1%eth0".parse().unwrap();
        let other: PeerAddress = "fe80::1%eth1".parse().unwrap();
        assert_eq!(one.zone(), Some("eth0"));
        assert_eq!(one.ip(), other.ip());
        assert!(one < other && one.is_link_local());
        let refused = [
            "10.0.0.6%eth0",
            "2001:db8::6%eth0",
            "fe80::1%",
            "fe80::1%an-interface-too-long",
            "fe80::1%a/b",
            "eth0",
        ];
        for text in refused {
            assert!(text.parse::<PeerAddress>().is_err(), "{text}");
        }
    }
}
