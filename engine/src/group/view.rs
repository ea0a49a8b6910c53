//! The export view: everything about a peer that changes the bytes it is sent.
//!
//! Peers with equal views share an update group. A field that does not change bytes must not be
//! here, or sharing is lost (a test counts groups); one that does and is missing sends somebody
//! wrong bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use codec::{Family, FamilySet, NextHop, PeerKind};
use rib::SourceKind;

use super::refusal::Refusal;
use crate::config::{Client, Export, Neighbor, NextHopIpv6, NextHopSelf, Role, SendCommunities};
use crate::interfaces::Interfaces;
use crate::policy::Applied;

/// What decides the bytes of an UPDATE for a peer. Message size is not in it: all are sent 4,096.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ExportView {
    /// External or internal: AS_PATH, LOCAL_PREF, MED and next hop depend on it.
    pub peer: PeerKind,
    /// Prepended towards external peers.
    pub local_asn: u32,
    /// Whether AS numbers take four octets (RFC 6793).
    pub four_octet_as: bool,
    /// The families exchanged.
    pub families: FamilySet,
    /// Whether IPv4 routes may be told with the IPv6 next hops that they came with (RFC 8950); false
    /// where none could be.
    pub extended_next_hop: bool,
    /// Ourselves as next hop, by family; none: routes that need it are not announced.
    pub own_next_hop: [Option<NextHop>; Family::ALL.len()],
    /// When learned routes carry ourselves as next hop.
    pub next_hop_self: NextHopSelf,
    /// What the peers are clients of, where it makes a difference to peers of their kind.
    pub client: Option<Client>,
    /// Towards internal peers: put in front of the CLUSTER_LIST of what is reflected.
    pub cluster_id: Option<Ipv4Addr>,
    /// What roles ask for (RFC 9234).
    pub otc: Otc,
    /// The peers offered long-lived graceful restart (RFC 9494): they know what LLGR_STALE means.
    pub long_lived: bool,
    /// Which routes go out at all.
    pub export: Export,
    /// Where that is a policy: as these peers meet it.
    pub policy: Option<Applied>,
    /// Which kinds of communities go out.
    pub send_communities: SendCommunities,
    /// The sessions are about to be closed: routes carry GRACEFUL_SHUTDOWN (RFC 8326).
    pub graceful_shutdown: bool,
    /// How many paths a prefix the peers are told at most, by family; 0: one, without an identifier
    /// (RFC 7911). Only peers that negotiated the same share a group.
    pub add_paths: [u8; Family::ALL.len()],
    /// The least time between two changes that the peers are told of (RFC 4271 §9.2.1.1). It changes
    /// no bytes, but which are sent at all.
    pub advertisement_interval: Duration,
}

/// What is done about Only to Customer (RFC 9234 §5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Otc {
    /// It is attached, with our AS, where it is missing.
    pub attached: bool,
    /// Routes with it are not told.
    pub stopped: bool,
}

impl Otc {
    /// What our role towards the peers asks for.
    pub fn of(role: Option<Role>) -> Otc {
        Otc {
            attached: role.is_some_and(Role::marks_what_it_tells),
            stopped: role.is_some_and(Role::marks_what_it_hears),
        }
    }
}

impl ExportView {
    /// What plain peers are told: IPv4 with four-octet AS numbers, everything, and nothing that a
    /// setting or a capability would add. Sessions name every field; this is where to fill one in for
    /// whoever makes groups without them.
    pub fn plain(peer: PeerKind, local_asn: u32, own_next_hop: Ipv4Addr) -> ExportView {
        ExportView {
            peer,
            local_asn,
            four_octet_as: true,
            families: FamilySet::from_iter([Family::Ipv4Unicast]),
            extended_next_hop: false,
            own_next_hop: [Some(NextHop::V4(own_next_hop)), None],
            next_hop_self: NextHopSelf::Auto,
            client: None,
            cluster_id: None,
            otc: Otc::default(),
            long_lived: false,
            export: Export::All,
            policy: None,
            send_communities: SendCommunities::default(),
            graceful_shutdown: false,
            add_paths: Default::default(),
            advertisement_interval: Duration::ZERO,
        }
    }

    /// Why a path is not told to these peers, for people.
    pub fn words(&self, refusal: Refusal) -> String {
        match (refusal, &self.policy) {
            (Refusal::Statement(statement), Some(applied)) => {
                format!("rejected by {}", applied.policy().words(statement))
            }
            _ => refusal.words().to_owned(),
        }
    }

    /// Whether the peers are told AS_PATH, next hop and MED of what the source said unchanged, as a
    /// route server tells them (RFC 7947 §2.2).
    pub(super) fn is_transparent(&self, source: SourceKind) -> bool {
        // RFC-DONE 7947 §2.2: AS_PATH, next hop and MED pass to clients unchanged, from other external peers
        // too.
        self.client == Some(Client::RouteServer) && source.is_external()
    }

    /// Whether a route server's client said it, and others of its clients are told: their communities
    /// are for each other, and neither heeded nor taken off here.
    pub(super) fn is_between_clients(&self, source: SourceKind) -> bool {
        // RFC-DONE 7947 §2.2.4: Communities of a client pass to the others unheeded and unchanged, those of
        // anybody else don't.
        self.client == Some(Client::RouteServer) && source == SourceKind::Served
    }

    /// Whether other paths than the best are told: several (RFC 7911), or where the best is a peer's
    /// own or is refused, the next in order of preference (RFC 7947 §2.3).
    pub fn wants_others(&self, family: Family) -> bool {
        self.client == Some(Client::RouteServer) || self.add_paths[family.index()] > 0
    }

    /// Whether in some family what a member is told depends on the others' paths and on its own.
    pub fn wants_others_at_all(&self) -> bool {
        let mut families = self.families.iter();
        families.any(|family| self.wants_others(family))
    }
}

/// Our own next hop for a family on a session whose local address is `local` and that negotiated
/// extended next hop or not, or why there is none: then the routes that need it are not announced.
pub fn own_next_hop(
    family: Family,
    neighbor: &Neighbor,
    local: IpAddr,
    extended_next_hop: bool,
    interfaces: &dyn Interfaces,
) -> Result<NextHop, &'static str> {
    match (family, local) {
        (Family::Ipv4Unicast, local) => {
            if let Some(address) = neighbor.next_hop_ipv4 {
                return Ok(NextHop::V4(address));
            }
            match local {
                IpAddr::V4(address) => Ok(NextHop::V4(address)),
                // RFC-DONE 8950 §4: IPv6 next hops go only to peers that offered to take them.
                IpAddr::V6(address) if extended_next_hop => Ok(own_ipv6(address, interfaces)),
                IpAddr::V6(_) => one(interfaces.beside(local), ipv4)
                    .map(NextHop::V4)
                    .ok_or("the session is over IPv6 without extended next hop (RFC 8950), and its interface has no or several IPv4 addresses: set nextHop.ipv4"),
            }
        }
        (Family::Ipv6Unicast, local) => match (neighbor.next_hop_ipv6, local) {
            (NextHopIpv6::Address(address), _) => Ok(NextHop::V6(address)),
            (_, IpAddr::V6(address)) => Ok(own_ipv6(address, interfaces)),
            (NextHopIpv6::Mapped, IpAddr::V4(address)) => {
                Ok(NextHop::V6(address.to_ipv6_mapped()))
            }
            (NextHopIpv6::Auto, IpAddr::V4(_)) => one(interfaces.beside(local), ipv6)
                .map(NextHop::V6)
                .ok_or("the session's interface has no or several global IPv6 addresses: set nextHop.ipv6"),
        },
    }
}

/// Our address as next hop.
//
// RFC-DONE 2545 §3: on a link-local session the link-local address stands behind the global one.
// Without a global address it stands alone, as routers take it on links that have nothing else.
fn own_ipv6(address: Ipv6Addr, interfaces: &dyn Interfaces) -> NextHop {
    if !address.is_unicast_link_local() {
        return NextHop::V6(address);
    }
    match one(interfaces.beside(address.into()), ipv6) {
        Some(global) => NextHop::V6WithLinkLocal(global, address),
        None => NextHop::V6(address),
    }
}

fn ipv4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

fn ipv6(address: IpAddr) -> Option<Ipv6Addr> {
    match address {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => Some(address),
    }
}

/// The only one of a kind; none or several are no answer.
fn one<A>(addresses: Vec<IpAddr>, kind: fn(IpAddr) -> Option<A>) -> Option<A> {
    let mut matching = addresses.into_iter().filter_map(kind);
    match (matching.next(), matching.next()) {
        (Some(address), None) => Some(address),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Beside(Vec<IpAddr>);

    impl Interfaces for Beside {
        fn beside(&self, _: IpAddr) -> Vec<IpAddr> {
            self.0.clone()
        }
    }

    // RFC-SHOWN 2545 §3
    #[test]
    fn on_a_link_the_link_local_address_stands_behind_the_global_one() {
        let local: Ipv6Addr = "fe80::5".parse().unwrap();
        let global: Ipv6Addr = "2001:db8::5".parse().unwrap();
        let own = |beside: Vec<IpAddr>| own_ipv6(local, &Beside(beside));
        let ipv4 = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert_eq!(
            own(vec![ipv4, global.into()]),
            NextHop::V6WithLinkLocal(global, local)
        );
        assert_eq!(own(vec![ipv4]), NextHop::V6(local));
        let two = vec![global.into(), "2001:db8::6".parse().unwrap()];
        assert_eq!(own(two), NextHop::V6(local));
        assert_eq!(own_ipv6(global, &Beside(vec![])), NextHop::V6(global));
    }
}
