//! What must be known of the machine: its addresses, subnets and gateways, and password files.
//!
//! A trait, so that tests and the simulator bring a machine of their own. Nothing is cached: the
//! watcher asks when it works something out, and now and then to see whether that changed.

use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::Path;

use codec::{Family, IpPrefix};

use super::kernel_routes::{self, KernelRoute};
use crate::config::PeerAddress;
use crate::interfaces::{self, InterfaceAddress};

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
        let routes = Family::ALL.into_iter().flat_map(kernel_routes);
        let gateways = routes.flat_map(|route| route.gateways);
        network
            .gateways
            .extend(gateways.map(|gateway| gateway.ip()));
        network.normalize();
        network
    }

    fn default_gateways(&self, family: Family) -> Vec<PeerAddress> {
        best_gateways(kernel_routes(family))
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

/// A family whose routes can't be had has no gateways, and that is said.
fn kernel_routes(family: Family) -> Vec<KernelRoute> {
    kernel_routes::routes(family).unwrap_or_else(|error| {
        tracing::warn!(%error, %family, "the kernel's routes can't be read: gateways are not known");
        Vec::new()
    })
}

fn best_gateways(routes: Vec<KernelRoute>) -> Vec<PeerAddress> {
    let default = || routes.iter().filter(|route| route.is_default);
    let lowest = default().map(|route| route.metric).min();
    let best = default().filter(|route| Some(route.metric) == lowest);
    let mut gateways: Vec<PeerAddress> = best.flat_map(|route| &route.gateways).copied().collect();
    gateways.sort_unstable();
    gateways.dedup();
    gateways
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateways_of_the_best_default_routes() {
        let route = |is_default, metric, gateways: &[&str]| KernelRoute {
            is_default,
            metric,
            gateways: gateways.iter().map(|text| text.parse().unwrap()).collect(),
        };
        let routes = vec![
            route(true, 100, &["fe80::1%eth1", "fe80::1%eth0"]),
            route(true, 1024, &["2001:db8::1"]),
            route(false, 0, &["2001:db8::2"]),
            route(true, 100, &["fe80::1%eth0"]),
        ];
        let gateways = best_gateways(routes);
        let shown: Vec<String> = gateways.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["fe80::1%eth0", "fe80::1%eth1"]);
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
