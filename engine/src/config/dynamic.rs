//! Neighbors that are not named one by one: whoever connects from a prefix (`peerPrefix`).

use std::collections::BTreeMap;
use std::net::IpAddr;

use codec::{IpPrefix, Ipv4Prefix, Ipv6Prefix, Prefix};

use super::{Neighbor, PeerAddress};

/// The peers of one prefix: accepted, never connected to, and gone with their session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DynamicNeighbors {
    /// Where they connect from; the key in the instance. Of overlapping prefixes the longest
    /// counts, and a neighbor with an address of its own counts before all.
    pub prefix: IpPrefix,
    /// How many there may be at a time; a connection past it gets Cease/Connection Rejected.
    pub max_peers: u32,
    /// What they are told and what is expected of them; passive. Its address is nobody's.
    pub settings: Neighbor,
}

impl DynamicNeighbors {
    /// The neighbor that the peer at `address` is.
    pub fn neighbor(&self, address: PeerAddress) -> Neighbor {
        Neighbor {
            address,
            ..self.settings.clone()
        }
    }
}

/// What stands under the longest prefix that holds an address.
pub fn longest_match<T>(prefixes: &BTreeMap<IpPrefix, T>, address: IpAddr) -> Option<&T> {
    if prefixes.is_empty() {
        return None;
    }
    match address {
        IpAddr::V4(address) => (0..=32u8)
            .rev()
            .find_map(|length| prefixes.get(&Ipv4Prefix::masked(address, length).erase())),
        IpAddr::V6(address) => (0..=128u8)
            .rev()
            .find_map(|length| prefixes.get(&Ipv6Prefix::masked(address, length).erase())),
    }
}

/// The prefix that holds an address and nothing else.
pub fn host_prefix(address: IpAddr) -> IpPrefix {
    match address {
        IpAddr::V4(address) => Ipv4Prefix::masked(address, 32).erase(),
        IpAddr::V6(address) => Ipv6Prefix::masked(address, 128).erase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ipnet::IpNet;

    #[test]
    fn the_longest_prefix_counts() {
        let prefix = |text: &str| IpPrefix::from(text.parse::<IpNet>().unwrap());
        let texts = ["10.0.0.0/8", "10.0.1.0/24", "2001:db8::/32", "0.0.0.0/0"];
        let prefixes: BTreeMap<IpPrefix, &str> =
            texts.iter().map(|text| (prefix(text), *text)).collect();
        let of = |text: &str| longest_match(&prefixes, text.parse().unwrap()).copied();
        assert_eq!(of("10.0.1.7"), Some("10.0.1.0/24"));
        assert_eq!(of("10.0.2.7"), Some("10.0.0.0/8"));
        assert_eq!(of("192.0.2.1"), Some("0.0.0.0/0"));
        assert_eq!(of("2001:db8::1"), Some("2001:db8::/32"));
        assert_eq!(of("2001:db9::1"), None);
        assert_eq!(
            longest_match::<()>(&BTreeMap::new(), "::1".parse().unwrap()),
            None
        );
    }
}
