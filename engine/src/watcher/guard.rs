//! The guard: what this node never announces as its own, whatever a resource says.
//!
//! Pure: it is built from the settings, the machine and the neighbors, and judges prefixes. Deny
//! beats allow; some ranges and this node's own subnets are refused always. Addresses and subnets
//! that lie within this node's pod CIDRs don't count: the node's end of its pod network is there.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use codec::{Family, IpPrefix, Ipv4Prefix, Ipv6Prefix, Prefix};

use super::host::HostNetwork;
use super::resource::{GuardSpec, PrefixMatch, Whom};
use crate::config::host_prefix;

/// Judges prefixes.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    spec: GuardSpec,
    subnets: Vec<IpPrefix>,
    /// By family, ascending.
    holders: [Vec<(u128, Holder)>; 2],
    /// Where dynamic neighbors connect from.
    dynamic: Vec<IpPrefix>,
}

/// Whose address a prefix must not draw here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Holder {
    Neighbor(IpAddr),
    Gateway(IpAddr),
    Node(IpAddr),
}

/// Why a prefix is not announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    DefaultRoute,
    Reserved(IpPrefix),
    Denied(PrefixMatch),
    NotAllowed,
    TooShort(u8),
    TooLong(u8),
    Connected(IpPrefix),
    Covers(Holder),
    CoversPeers(IpPrefix),
}

/// What no node may announce, with everything within (RFC 6890 and the ranges that have no
/// meaning beyond a link or a host).
static RESERVED: LazyLock<Vec<IpPrefix>> = LazyLock::new(|| {
    let v4 = |a, b, length| Ipv4Prefix::masked(Ipv4Addr::new(a, b, 0, 0), length).erase();
    let v6 =
        |segments: [u16; 8], length| Ipv6Prefix::masked(Ipv6Addr::from(segments), length).erase();
    vec![
        v4(0, 0, 8),
        v4(127, 0, 8),
        v4(169, 254, 16),
        v4(224, 0, 4),
        v4(240, 0, 4),
        v6([0; 8], 128),
        v6([0, 0, 0, 0, 0, 0, 0, 1], 128),
        v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
        v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8),
        v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96),
    ]
});

impl Guard {
    pub(crate) fn new(
        spec: &GuardSpec,
        network: &HostNetwork,
        node_addresses: &[IpAddr],
        neighbors: impl Iterator<Item = Whom>,
        pod_cidrs: &[IpPrefix],
    ) -> Guard {
        let is_pod_network = |prefix: IpPrefix| pod_cidrs.iter().any(|pod| pod.contains(prefix));
        let subnets = network.subnets.iter().copied();
        let subnets = subnets.filter(|subnet| !is_pod_network(*subnet)).collect();
        let mut holders = [Vec::new(), Vec::new()];
        let own = network.addresses.iter().chain(node_addresses);
        let mut dynamic = Vec::new();
        let named = neighbors.filter_map(|whom| match whom {
            Whom::Address(address) => Some(address.ip()),
            // Gateways are guarded whether they are neighbors or not.
            Whom::DefaultGateways(_) => None,
            Whom::Prefix(prefix) => {
                dynamic.push(prefix);
                None
            }
        });
        let named: Vec<IpAddr> = named.collect();
        let all = named
            .into_iter()
            .map(Holder::Neighbor)
            .chain(network.gateways.iter().copied().map(Holder::Gateway))
            .chain(own.copied().map(Holder::Node));
        for holder in all {
            let host = host_prefix(holder.address());
            if !is_pod_network(host) {
                holders[host.family().index()].push((left_aligned(host), holder));
            }
        }
        for list in &mut holders {
            list.sort_unstable();
            list.dedup_by_key(|(bits, _)| *bits);
        }
        Guard {
            spec: spec.clone(),
            subnets,
            holders,
            dynamic,
        }
    }

    /// Whether `prefix` may be announced as own.
    pub(crate) fn judge(&self, prefix: IpPrefix) -> Result<(), Refusal> {
        if prefix.length() == 0 {
            return Err(Refusal::DefaultRoute);
        }
        if let Some(range) = RESERVED.iter().find(|range| range.contains(prefix)) {
            return Err(Refusal::Reserved(*range));
        }
        if let Some(denied) = self.spec.deny.iter().find(|deny| deny.matches(prefix)) {
            return Err(Refusal::Denied(*denied));
        }
        if !self.spec.allow.is_empty() && !self.spec.allow.iter().any(|a| a.matches(prefix)) {
            return Err(Refusal::NotAllowed);
        }
        let (min, max) = self.spec.lengths[prefix.family().index()];
        if prefix.length() < min {
            return Err(Refusal::TooShort(min));
        }
        if prefix.length() > max {
            return Err(Refusal::TooLong(max));
        }
        if let Some(subnet) = self.subnets.iter().find(|subnet| subnet.contains(prefix)) {
            return Err(Refusal::Connected(*subnet));
        }
        let peers = || self.dynamic.iter().find(|peers| prefix.contains(**peers));
        let refusal = self.covered_holder(prefix).map(Refusal::Covers);
        let refusal = refusal.or_else(|| peers().map(|peers| Refusal::CoversPeers(*peers)));
        match refusal.filter(|_| !self.is_allowed_exactly(prefix)) {
            Some(refusal) => Err(refusal),
            None => Ok(()),
        }
    }

    fn covered_holder(&self, prefix: IpPrefix) -> Option<Holder> {
        let list = &self.holders[prefix.family().index()];
        let first = left_aligned(prefix);
        let index = list.partition_point(|(bits, _)| *bits < first);
        let (_, holder) = list.get(index)?;
        prefix
            .contains(host_prefix(holder.address()))
            .then_some(*holder)
    }

    fn is_allowed_exactly(&self, prefix: IpPrefix) -> bool {
        let mut allow = self.spec.allow.iter();
        allow.any(|allow| allow.prefix == prefix && allow.matches(prefix))
    }
}

impl Holder {
    fn address(self) -> IpAddr {
        match self {
            Holder::Neighbor(address) | Holder::Gateway(address) | Holder::Node(address) => address,
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Holder::Neighbor(address) => write!(f, "the neighbor {address}"),
            Holder::Gateway(address) => write!(f, "the gateway {address}"),
            Holder::Node(address) => write!(f, "this node's address {address}"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::DefaultRoute => f.write_str("a default route is never announced"),
            Refusal::Reserved(range) => write!(f, "what lies within {range} is never announced"),
            Refusal::Denied(denied) => write!(f, "guard.deny has {denied}"),
            Refusal::NotAllowed => f.write_str("it lies within no prefix of guard.allow"),
            Refusal::TooShort(min) => write!(f, "guard.prefixLength allows no less than /{min}"),
            Refusal::TooLong(max) => write!(f, "guard.prefixLength allows no more than /{max}"),
            Refusal::Connected(subnet) => {
                write!(
                    f,
                    "it lies within {subnet}, which this node is connected to"
                )
            }
            Refusal::Covers(holder) => {
                write!(
                    f,
                    "it covers {holder}; guard.allow would have to name it exactly"
                )
            }
            Refusal::CoversPeers(peers) => {
                write!(
                    f,
                    "it covers the neighbors of peerPrefix {peers}; guard.allow would have to \
                     name it exactly"
                )
            }
        }
    }
}

impl fmt::Display for PrefixMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = self.prefix.length();
        write!(f, "{}", self.prefix)?;
        if (self.shortest, self.longest) != (length, length) {
            write!(f, " ge {} le {}", self.shortest, self.longest)?;
        }
        Ok(())
    }
}

fn left_aligned(prefix: IpPrefix) -> u128 {
    match prefix {
        IpPrefix::V4(prefix) => prefix.bits_left_aligned(),
        IpPrefix::V6(prefix) => prefix.bits_left_aligned(),
    }
}

/// The own routes of a family that fit under `guard.maxPrefixes`.
pub(crate) fn limit(spec: &GuardSpec, family: Family) -> usize {
    spec.max_prefixes[family.index()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use ipnet::IpNet;

    fn prefix(text: &str) -> IpPrefix {
        IpPrefix::from(text.parse::<IpNet>().unwrap())
    }

    fn exactly(text: &str) -> PrefixMatch {
        let prefix = prefix(text);
        PrefixMatch {
            prefix,
            shortest: prefix.length(),
            longest: prefix.length(),
        }
    }

    fn within(text: &str) -> PrefixMatch {
        PrefixMatch {
            longest: 32,
            ..exactly(text)
        }
    }

    fn spec() -> GuardSpec {
        GuardSpec {
            deny: vec![],
            allow: vec![],
            lengths: [(8, 32), (16, 128)],
            max_prefixes: [10, 10],
            cluster_cidrs: None,
        }
    }

    fn guard(spec: &GuardSpec) -> Guard {
        let network = HostNetwork {
            addresses: vec!["10.0.0.5".parse().unwrap(), "10.244.1.9".parse().unwrap()],
            subnets: vec![prefix("10.0.0.0/24"), prefix("10.244.1.0/24")],
            gateways: vec!["10.0.0.1".parse().unwrap()],
        };
        let address = |text: &str| Whom::Address(text.parse().unwrap());
        let neighbors = [
            address("10.0.0.6"),
            address("203.0.113.9"),
            Whom::Prefix(prefix("198.18.4.0/24")),
        ];
        let pods = [prefix("10.244.1.0/24")];
        Guard::new(spec, &network, &[], neighbors.into_iter(), &pods)
    }

    fn says(guard: &Guard, text: &str) -> String {
        match guard.judge(prefix(text)) {
            Ok(()) => "ok".into(),
            Err(refusal) => refusal.to_string(),
        }
    }

    #[test]
    fn what_is_always_refused() {
        let guard = guard(&spec());
        for text in [
            "0.0.0.0/0",
            "::/0",
            "0.0.0.0/8",
            "0.1.0.0/16",
            "127.0.0.0/8",
            "127.0.0.1/32",
            "169.254.0.0/16",
            "169.254.1.0/24",
            "224.0.0.0/4",
            "239.1.0.0/16",
            "240.0.0.0/8",
            "255.255.255.255/32",
            "::/128",
            "::1/128",
            "fe80::/10",
            "fe80::/64",
            "ff02::/16",
            "::ffff:10.0.0.0/104",
        ] {
            assert!(says(&guard, text).contains("never announced"), "{text}");
        }
        assert_eq!(says(&guard, "10.0.1.0/24"), "ok");
        assert_eq!(says(&guard, "2001:db8::/32"), "ok");
    }

    #[test]
    fn this_nodes_surroundings() {
        let guard = guard(&spec());
        assert!(says(&guard, "10.0.0.0/24").contains("connected to"));
        assert!(says(&guard, "10.0.0.128/25").contains("connected to"));
        assert!(says(&guard, "10.0.0.0/16").contains("covers the gateway 10.0.0.1"));
        assert!(says(&guard, "203.0.113.0/24").contains("covers the neighbor 203.0.113.9"));
        // The node's own end of its pod network is no reason.
        assert_eq!(says(&guard, "10.244.0.0/16"), "ok");
        assert_eq!(says(&guard, "10.244.1.0/24"), "ok");
    }

    #[test]
    fn allow_must_name_exactly_what_covers() {
        let mut spec = spec();
        spec.allow = vec![within("203.0.0.0/8"), within("10.0.0.0/8")];
        assert!(says(&guard(&spec), "203.0.113.0/24").contains("covers"));
        spec.allow.push(within("203.0.113.0/24"));
        assert_eq!(says(&guard(&spec), "203.0.113.0/24"), "ok");
        spec.allow.push(within("10.0.0.0/24"));
        assert!(says(&guard(&spec), "10.0.0.0/24").contains("connected to"));
        assert!(says(&guard(&spec), "192.0.2.0/24").contains("no prefix of guard.allow"));
    }

    #[test]
    fn deny_beats_allow_and_lengths_count() {
        let mut spec = spec();
        spec.allow = vec![within("10.0.0.0/8")];
        spec.deny = vec![exactly("10.1.0.0/16")];
        spec.lengths[0] = (12, 24);
        let guard = guard(&spec);
        assert_eq!(says(&guard, "10.1.0.0/16"), "guard.deny has 10.1.0.0/16");
        assert_eq!(says(&guard, "10.1.1.0/24"), "ok");
        assert!(says(&guard, "10.1.1.0/25").contains("no more than /24"));
        assert!(says(&guard, "10.96.0.0/11").contains("no less than /12"));
    }
}
