//! What must be known of the machine: its addresses, subnets and gateways, and password files.
//!
//! A trait, so that tests and the simulator bring a machine of their own. Nothing is cached: the
//! watcher asks when it works something out, and now and then to see whether that changed.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use codec::IpPrefix;

use crate::interfaces::{self, InterfaceAddress};

/// Lines read of a routing table; a node may hold the whole Internet's, and its gateways stand in
/// front.
const ROUTES_MAX: usize = 4096;
/// Octets read of a password file; more than any key has.
const PASSWORD_FILE_MAX: u64 = 4096;

/// The addresses around this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostNetwork {
    /// The node's own addresses.
    pub addresses: Vec<IpAddr>,
    /// The subnets that its interfaces are connected to.
    pub subnets: Vec<IpPrefix>,
    /// Next hops of its routes.
    pub gateways: Vec<IpAddr>,
}

/// The machine, as far as the watcher looks at it.
pub trait Host: Send {
    /// What the machine is connected to now.
    fn network(&self) -> HostNetwork;

    /// The content of a password file, at most a few kilobytes.
    ///
    /// # Errors
    /// Whatever the operating system says.
    fn password_file(&self, path: &Path) -> io::Result<Vec<u8>>;
}

/// The machine that this runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemHost;

impl Host for SystemHost {
    fn network(&self) -> HostNetwork {
        let mut network = HostNetwork::default();
        match interfaces::addresses() {
            Ok(addresses) => {
                network.addresses = addresses.iter().map(|entry| entry.address).collect();
                network.subnets = addresses.iter().map(InterfaceAddress::subnet).collect();
            }
            Err(error) => {
                tracing::warn!(%error, "the node's addresses can't be read: the guard does not know them");
            }
        }
        network
            .gateways
            .extend(gateways("/proc/net/route", ipv4_gateway));
        network
            .gateways
            .extend(gateways("/proc/net/ipv6_route", ipv6_gateway));
        network.normalize();
        network
    }

    fn password_file(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        File::open(path)?
            .take(PASSWORD_FILE_MAX)
            .read_to_end(&mut content)?;
        Ok(content)
    }
}

impl HostNetwork {
    /// The same network always compares equal.
    fn normalize(&mut self) {
        self.addresses.sort_unstable();
        self.addresses.dedup();
        self.subnets.sort_unstable();
        self.subnets.dedup();
        self.gateways.sort_unstable();
        self.gateways.dedup();
    }
}

/// A table that can't be read has no gateways: other systems have none of these files.
fn gateways(path: &str, parse: fn(&str) -> Option<IpAddr>) -> Vec<IpAddr> {
    let Ok(file) = File::open(path) else {
        return Vec::new();
    };
    BufReader::new(file)
        .lines()
        .take(ROUTES_MAX)
        .map_while(Result::ok)
        .filter_map(|line| parse(&line))
        .collect()
}

/// `eth0 00000000 0100000A …`: the third column is the gateway as the CPU stores it.
fn ipv4_gateway(line: &str) -> Option<IpAddr> {
    let word = line.split_ascii_whitespace().nth(2)?;
    let bits = u32::from_str_radix(word, 16)
        .ok()
        .filter(|bits| *bits != 0)?;
    Some(IpAddr::V4(Ipv4Addr::from(bits.to_ne_bytes())))
}

/// Destination, length, source, length, next hop: 32 hexadecimal digits in network order.
fn ipv6_gateway(line: &str) -> Option<IpAddr> {
    let word = line.split_ascii_whitespace().nth(4)?;
    let bits = u128::from_str_radix(word, 16)
        .ok()
        .filter(|bits| *bits != 0)?;
    Some(IpAddr::V6(Ipv6Addr::from(bits)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_of_the_kernels_tables() {
        let line = "eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0";
        let expected = if cfg!(target_endian = "little") {
            "10.0.0.1"
        } else {
            "1.0.0.10"
        };
        assert_eq!(ipv4_gateway(line), expected.parse().ok());
        assert_eq!(ipv4_gateway("Iface\tDestination\tGateway \tFlags"), None);
        assert_eq!(ipv4_gateway("eth0\t0000000A\t00000000\t0001"), None);
        let line = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 \
                    20010db8000000000000000000000001 00000400 00000001 00000000 00000003     eth0";
        assert_eq!(ipv6_gateway(line), "2001:db8::1".parse().ok());
    }

    #[test]
    fn this_machine_has_a_loopback_address() {
        let network = SystemHost.network();
        assert!(
            network.addresses.iter().any(IpAddr::is_loopback),
            "{network:?}"
        );
        assert_eq!(network, SystemHost.network());
    }
}
