//! The options that all scenarios share, and who their routers are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use codec::{Family, FamilySet, NextHop};
use serde::Serialize;

use crate::fleet::Identity;
use crate::speaker::SpeakerConfig;
use crate::truth::{Export, Party};
use crate::workload::{self, Announcer, Order, Shape};

/// What every scenario takes.
#[derive(Args, Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Common {
    /// The speaker to load, as ADDRESS:PORT; it has a passive neighbor for each router.
    #[arg(long, default_value = "127.0.0.1:179")]
    pub(crate) target: SocketAddr,
    /// Address of the first router; each has the address after the one before. Also its BGP
    /// identifier.
    #[arg(long, default_value = "127.1.0.1")]
    pub(crate) first_address: Ipv4Addr,
    /// AS number of the first router; each has the number after the one before.
    #[arg(long, default_value_t = 100_001)]
    pub(crate) first_asn: u32,
    /// AS number of the target.
    #[arg(long, default_value_t = 65_000)]
    pub(crate) dut_asn: u32,
    /// All routers are in the target's own AS: clients of a route reflector.
    #[arg(long, conflicts_with = "route_server")]
    pub(crate) internal: bool,
    /// The target is a transparent route server (RFC 7947): it changes no attribute.
    #[arg(long)]
    pub(crate) route_server: bool,
    /// Family announced.
    #[arg(long, default_value = "ipv4")]
    pub(crate) family: FamilyName,
    /// Prefixes that share an attribute set.
    #[arg(long, default_value_t = 5)]
    pub(crate) per_attributes: usize,
    /// Whether senders announce in the order of prefixes or in none.
    #[arg(long, default_value = "shuffled")]
    pub(crate) order: Order,
    /// Where tables are drawn from.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Next hop of the first router; each has the one after the one before [default: 198.18.0.1,
    /// 2001:2::1 for IPv6].
    #[arg(long)]
    pub(crate) next_hop: Option<IpAddr>,
    /// Next hop that the target gives its routes [default: its address for IPv4; for IPv6 any but the
    /// sender's].
    #[arg(long)]
    pub(crate) dut_next_hop: Option<IpAddr>,
    /// Compare what every router holds in the end with what it should hold, prefix by prefix and
    /// attribute by attribute. Such a run is not for timing: senders read what they are told.
    #[arg(long)]
    pub(crate) verify: bool,
    /// Process of the target: its CPU time and memory, and those of its descendants, are measured.
    #[arg(long)]
    pub(crate) pid: Option<u32>,
    /// One JSON object on standard output instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
    /// Draw what the receivers were told over time, and latencies by percentile where a scenario
    /// measures them.
    #[arg(long)]
    pub(crate) svg: Option<PathBuf>,
    /// No progress bar, not even on a terminal.
    #[arg(long)]
    pub(crate) no_progress: bool,
    /// Hold time offered, in seconds; 0: no KEEPALIVEs.
    #[arg(long, default_value_t = 180)]
    pub(crate) hold_time: u16,
    /// Give up after so many seconds.
    #[arg(long, default_value_t = 300.0)]
    pub(crate) timeout: f64,
}

/// An address family by its short name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FamilyName {
    Ipv4,
    Ipv6,
}

impl From<FamilyName> for Family {
    fn from(name: FamilyName) -> Family {
        match name {
            FamilyName::Ipv4 => Family::Ipv4Unicast,
            FamilyName::Ipv6 => Family::Ipv6Unicast,
        }
    }
}

/// Reads a number of routers.
pub(crate) fn routers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number <= ROUTERS_MAX => Ok(number),
        _ => Err(format!("not a number of routers, 0 to {ROUTERS_MAX}")),
    }
}

impl Common {
    /// The family announced.
    pub(crate) fn family(&self) -> Family {
        self.family.into()
    }

    /// How long a run may take.
    pub(crate) fn timeout(&self) -> Duration {
        Duration::try_from_secs_f64(self.timeout).unwrap_or(Duration::MAX)
    }

    /// The routers that the target has as neighbors.
    pub(crate) fn parties(&self, routers: usize) -> Vec<Party> {
        let party = |router: u32| Party {
            address: Ipv4Addr::from(u32::from(self.first_address).wrapping_add(router)),
            asn: if self.internal {
                self.dut_asn
            } else {
                self.first_asn.wrapping_add(router)
            },
        };
        (0..routers as u32).map(party).collect()
    }

    /// A router as one that dials the target.
    pub(crate) fn identity(&self, party: &Party) -> Identity {
        Identity {
            address: party.address.into(),
            speaker: SpeakerConfig {
                asn: party.asn,
                peer_asn: Some(self.dut_asn),
                router_id: party.address,
                families: FamilySet::from_iter([self.family()]),
                hold_time: self.hold_time,
            },
        }
    }

    /// A router as one that announces.
    pub(crate) fn announcer(&self, router: usize, party: &Party) -> Announcer {
        Announcer {
            router,
            asn: party.asn,
            internal: self.internal,
            next_hop: self.next_hop_of(router),
        }
    }

    /// The table that `owners` routers announce, `prefixes_each` each.
    pub(crate) fn shape(&self, owners: usize, prefixes_each: usize) -> Shape {
        Shape {
            family: self.family(),
            owners,
            prefixes_each,
            per_attributes: self.per_attributes,
            order: self.order,
            seed: self.seed,
        }
    }

    /// What the target does to attributes on the way.
    pub(crate) fn export(&self) -> Export {
        let own_address = match (self.family, self.target.ip()) {
            (FamilyName::Ipv4, IpAddr::V4(address)) => Some(address.into()),
            _ => None,
        };
        if self.internal {
            Export::Reflected
        } else if self.route_server {
            Export::Unchanged
        } else {
            Export::External {
                asn: self.dut_asn,
                next_hop: self.dut_next_hop.or(own_address),
            }
        }
    }

    fn next_hop_of(&self, router: usize) -> NextHop {
        let first = match (self.family, self.next_hop) {
            (FamilyName::Ipv6, Some(IpAddr::V4(address))) => address.to_ipv6_mapped().into(),
            (FamilyName::Ipv6, None) => BENCHMARK_IPV6.into(),
            // Plain IPv4 needs an IPv4 next hop.
            (FamilyName::Ipv4, None | Some(IpAddr::V6(_))) => BENCHMARK_IPV4.into(),
            (_, Some(address)) => address,
        };
        workload::next_hop(first, router)
    }
}

/// More routers than any machine has ports and memory for.
const ROUTERS_MAX: usize = 1_000_000;
/// The first next hop: from the block for benchmarks (RFC 2544).
const BENCHMARK_IPV4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// The same for IPv6 (RFC 5180).
const BENCHMARK_IPV6: Ipv6Addr = Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 1);
