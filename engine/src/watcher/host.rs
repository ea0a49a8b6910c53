//! What must be known of the machine: its addresses, subnets and gateways, and password files.
//!
//! A trait, so that tests and the simulator bring a machine of their own. Nothing is cached: the
//! watcher asks when it works something out, and now and then to see whether that changed.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use codec::{Family, IpPrefix};

use crate::config::PeerAddress;
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

    /// The gateways of the default routes of a family with the lowest metric, in ascending order.
    fn default_gateways(&self, family: Family) -> Vec<PeerAddress>;

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

    fn default_gateways(&self, family: Family) -> Vec<PeerAddress> {
        let routes: Vec<DefaultRoute> = match family {
            Family::Ipv4Unicast => parsed("/proc/net/route", ipv4_default),
            Family::Ipv6Unicast => parsed("/proc/net/ipv6_route", ipv6_default),
        };
        best_gateways(routes)
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

/// A default route that leads over a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct DefaultRoute {
    metric: u32,
    gateway: PeerAddress,
}

fn best_gateways(routes: Vec<DefaultRoute>) -> Vec<PeerAddress> {
    let lowest = routes.iter().map(|route| route.metric).min();
    let best = routes.iter().filter(|route| Some(route.metric) == lowest);
    let mut gateways: Vec<PeerAddress> = best.map(|route| route.gateway).collect();
    gateways.sort_unstable();
    gateways.dedup();
    gateways
}

/// Interface, destination, gateway, flags, …, metric (decimal), mask. Of a route with several next
/// hops the kernel shows the first here.
fn ipv4_default(line: &str) -> Option<DefaultRoute> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let (destination, metric, mask) = (words.get(1)?, words.get(6)?, words.get(7)?);
    if u32::from_str_radix(destination, 16) != Ok(0) || u32::from_str_radix(mask, 16) != Ok(0) {
        return None;
    }
    Some(DefaultRoute {
        metric: metric.parse().ok()?,
        gateway: ipv4_gateway(line)?.into(),
    })
}

/// Destination, length, source, length, next hop, metric, …, interface, all in hexadecimal but the
/// last. A next hop that is link-local is on that interface.
fn ipv6_default(line: &str) -> Option<DefaultRoute> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let (destination, length) = (words.first()?, words.get(1)?);
    if u128::from_str_radix(destination, 16) != Ok(0) || *length != "00" {
        return None;
    }
    let gateway = ipv6_gateway(line)?;
    let on_link = PeerAddress::on_link(gateway, words.get(9)?);
    Some(DefaultRoute {
        metric: u32::from_str_radix(words.get(5)?, 16).ok()?,
        gateway: on_link.unwrap_or_else(|_| gateway.into()),
    })
}

fn gateways(path: &str, parse: fn(&str) -> Option<IpAddr>) -> Vec<IpAddr> {
    parsed(path, parse)
}

/// A table that can't be read has no gateways: other systems have none of these files.
fn parsed<T>(path: &str, parse: fn(&str) -> Option<T>) -> Vec<T> {
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
    fn the_gateways_of_the_best_default_routes() {
        let zero = "0".repeat(32);
        let ipv6 = |next_hop: &str, metric: &str, interface: &str| {
            ipv6_default(&format!(
                "{zero} 00 {zero} 00 {next_hop} {metric} 00000001 00000000 00000003 {interface}"
            ))
        };
        let link_local = "fe800000000000000000000000000001";
        let routes = [
            ipv6(link_local, "00000064", "eth1"),
            ipv6(link_local, "00000064", "eth0"),
            ipv6("20010db8000000000000000000000001", "00000400", "eth2"),
            ipv6(&zero, "00000001", "lo"),
        ];
        let gateways = best_gateways(routes.into_iter().flatten().collect());
        let shown: Vec<String> = gateways.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["fe80::1%eth0", "fe80::1%eth1"]);
        let ipv4 = |destination: &str, metric: &str| {
            let line = format!("eth0\t{destination}\t0100000A\t0003\t0\t0\t{metric}\t00000000");
            ipv4_default(&line)
        };
        assert_eq!(ipv4("00000000", "100").map(|route| route.metric), Some(100));
        assert_eq!(ipv4("0000000A", "100"), None);
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
