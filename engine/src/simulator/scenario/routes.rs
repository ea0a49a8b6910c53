//! Routes that are drawn: what the node originates, what routers say, and what caches of the RPKI say of
//! whose they are.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use codec::{Family, IpPrefix, Ipv4Prefix, Ipv6Prefix};

use super::{CLUSTER_IDS, NODE, NODE_ASN, OTHER_ASN, Scenario};
use crate::config::{Origin, OriginAttributes};
use crate::simulator::route::Route;

/// A prefix, the longest that may be announced of it, and who may (RFC 6811); 0: nobody.
pub(in crate::simulator) type Vrp = (IpPrefix, u8, u32);

/// Whom VRPs name: ASes of routers, of the node and of what they say, and nobody.
const ORIGINS: [u32; 7] = [NODE_ASN, 65002, 65003, 64500, 64501, 4_200_000_001, 0];

/// RFC 9494 §2.
const LLGR_STALE: u32 = 0xffff_0006;
const NO_LLGR: u32 = 0xffff_0007;

/// RFC 8326 §5.
pub(in crate::simulator) const GRACEFUL_SHUTDOWN: u32 = 0xffff_0000;

impl Scenario {
    /// Some routes of our own come, change or go.
    pub(in crate::simulator) fn change_origins(&mut self) {
        let count = match self.bulky {
            true => 250 + self.random.below(250),
            false => 1 + self.random.below(12),
        };
        let goes = match self.bulky {
            true => 20,
            false => *self.random.pick(&[0, 30, 60, 100]),
        };
        for _ in 0..count {
            let prefix = *self.random.pick(&self.prefixes);
            if self.random.percent(goes) {
                self.instance().origins.remove(&prefix);
                continue;
            }
            let origin = Origin {
                attributes: Arc::new(self.draw_origin_attributes()),
                sources: vec![],
                kinds: crate::policy::Sources::NETWORK_POLICY,
            };
            self.instance().origins.insert(prefix, origin);
        }
    }

    /// Some VRPs come or go; now and then all do, with the caches or without.
    pub(in crate::simulator) fn change_vrps(&mut self) {
        match self.random.below(12) {
            0 => return self.vrps = None,
            1 => self.vrps = Some(BTreeSet::new()),
            _ => {}
        }
        let mut vrps = self.vrps.take().unwrap_or_default();
        for _ in 0..1 + self.random.below(16) {
            if self.random.percent(30) {
                let place = self.random.below(vrps.len());
                if let Some(gone) = vrps.iter().nth(place).copied() {
                    vrps.remove(&gone);
                }
                continue;
            }
            // Around prefixes of the run, and of them.
            let prefix = *self.random.pick(&self.prefixes);
            let shorter = self.random.below(13) as u8;
            let prefix = shortened(prefix, prefix.length().saturating_sub(shorter));
            let longest = prefix.length() + self.random.below(14) as u8;
            let asn = *self.random.pick(&ORIGINS);
            let most = if prefix.family() == Family::Ipv4Unicast {
                32
            } else {
                128
            };
            vrps.insert((prefix, longest.min(most), asn));
        }
        self.vrps = Some(vrps);
    }

    /// What caches say.
    pub(in crate::simulator) fn vrps(&self) -> Option<&BTreeSet<Vrp>> {
        self.vrps.as_ref()
    }

    fn draw_origin_attributes(&mut self) -> OriginAttributes {
        let large_communities = match self.bulky {
            true => {
                let value = self.random.below(1000) as u32;
                (0..250).map(|n| [NODE_ASN, value, n]).collect()
            }
            false if self.random.percent(20) => vec![[NODE_ASN, 1, 2]],
            false if self.random.percent(8) => long_communities(1),
            false => vec![],
        };
        OriginAttributes {
            communities: match self.random.below(4) {
                0 => vec![0xffff_ff01],
                1 => vec![0xfde9_0001, 0xfde9_0002],
                _ => vec![],
            },
            large_communities,
            local_preference: *self.random.pick(&[100, 200]),
        }
    }

    /// A prefix of a family that a router speaks.
    pub(in crate::simulator) fn draw_prefix(&mut self, router: usize) -> Option<IpPrefix> {
        let prefix = *self.random.pick(&self.prefixes);
        let families = self.routers[router].families;
        families.contains(prefix.family()).then_some(prefix)
    }

    /// What a router could say of a prefix.
    pub(in crate::simulator) fn draw_route(&mut self, router: usize, family: Family) -> Route {
        let spec = self.routers[router].clone();
        let internal = spec.asn == NODE_ASN;
        let mut as_path = if internal { vec![] } else { vec![spec.asn] };
        for _ in 0..self.random.below(3) {
            as_path.push(*self.random.pick(&[64500, 64501, 4_200_000_001]));
        }
        if self.random.percent(8) {
            // A loop: it went through us already, or so it is while the other AS is ours too.
            as_path.push(*self.random.pick(&[NODE_ASN, OTHER_ASN]));
        }
        let of_another = self.random.below(100);
        let third_party = of_another < 20;
        // Some neighbors' settings have .201 as our own next hop.
        let last = if of_another < 5 { 201 } else { 99 };
        let next_hop = match (family, third_party) {
            (Family::Ipv4Unicast, false) if self.random.percent(20) => {
                IpAddr::V6(spec.address_ipv6)
            }
            (Family::Ipv4Unicast, false) => IpAddr::V4(spec.address_ipv4),
            (Family::Ipv4Unicast, true) => IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)),
            (Family::Ipv6Unicast, false) => IpAddr::V6(spec.address_ipv6),
            (Family::Ipv6Unicast, true) => {
                IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into()))
            }
        };
        let (originator_id, cluster_list) = self.draw_reflection(internal);
        Route {
            origin: self.random.below(2) as u8,
            as_path,
            next_hop,
            med: *self.random.pick(&[None, Some(0), Some(10), Some(20)]),
            local_pref: internal.then(|| *self.random.pick(&[50, 100, 200])),
            communities: match self.random.below(12) {
                0 => vec![0xffff_ff01],
                1 => vec![0xffff_ff02],
                2 => vec![0xffff_ff03],
                3..6 => vec![0xfbf4_0007],
                6 => vec![0xfbf4_0007, LLGR_STALE],
                7 => vec![NO_LLGR],
                8 => vec![0xfbf4_0007, GRACEFUL_SHUTDOWN],
                _ => vec![],
            },
            large_communities: match self.random.below(24) {
                0..4 => vec![[64500, 1, 1]],
                4 => long_communities(2),
                _ => vec![],
            },
            originator_id,
            cluster_list,
            otc: match self.random.below(10) {
                0 => Some(spec.asn),
                1 => Some(64500),
                _ => None,
            },
        }
    }

    /// Some routes were reflected on their way; that an external router says so is its mistake.
    fn draw_reflection(&mut self, internal: bool) -> (Option<Ipv4Addr>, Vec<Ipv4Addr>) {
        if !self.random.percent(if internal { 30 } else { 5 }) {
            return (None, vec![]);
        }
        // A router of the run, or, looped, the node.
        let originators = [
            Ipv4Addr::new(10, 0, 0, 2),
            Ipv4Addr::new(200, 0, 0, 3),
            NODE.ipv4,
        ];
        let others = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)];
        let mut clusters = others[..1 + self.random.below(2)].to_vec();
        if self.random.percent(15) {
            clusters.push(*self.random.pick(&CLUSTER_IDS));
        }
        (Some(*self.random.pick(&originators)), clusters)
    }
}

/// More than one message of 4,096 octets can hold.
fn long_communities(value: u32) -> Vec<[u32; 3]> {
    (0..400).map(|n| [NODE_ASN, value, n]).collect()
}

fn shortened(prefix: IpPrefix, length: u8) -> IpPrefix {
    match prefix {
        IpPrefix::V4(prefix) => IpPrefix::V4(Ipv4Prefix::masked(prefix.address(), length)),
        IpPrefix::V6(prefix) => IpPrefix::V6(Ipv6Prefix::masked(prefix.address(), length)),
    }
}

/// The prefixes of the run: neighbors of each other, some within others.
pub(super) fn prefixes(bulky: bool) -> Vec<IpPrefix> {
    let mut prefixes = Vec::new();
    let count = if bulky { 400 } else { 24 };
    for n in 0..count {
        let [_, _, high, low] = u32::to_be_bytes(n);
        let address = Ipv4Addr::new(172, 16 + high, low, 0);
        prefixes.push(IpPrefix::V4(Ipv4Prefix::masked(address, 24)));
    }
    for length in [8, 12, 16, 25, 32] {
        let address = Ipv4Addr::new(172, 16, 3, 129);
        prefixes.push(IpPrefix::V4(Ipv4Prefix::masked(address, length)));
    }
    for n in 0..10 {
        let address = Ipv6Addr::new(0x2001, 0xdb8, n, 0, 0, 0, 0, 1);
        let length = if n % 3 == 0 { 128 } else { 48 };
        prefixes.push(IpPrefix::V6(Ipv6Prefix::masked(address, length)));
    }
    prefixes
}
