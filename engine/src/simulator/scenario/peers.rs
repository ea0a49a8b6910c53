//! Routers that are drawn, and how the node is configured for them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use codec::{Family, FamilySet, IpPrefix, Ipv4Prefix, Ipv6Prefix};

use super::{NODE, NODE_ASN, Theme};
use crate::config::{
    AddPaths, BuiltinFilters, Capabilities, Client, Export, GracefulRestart, Import, Neighbor,
    NextHopIpv6, NextHopSelf, PeerAsn, Role, SendCommunities, Timers,
};
use crate::random::Random;
use crate::simulator::policy;
use crate::simulator::router::{RouterGraceful, RouterSpec};

pub(super) fn router(index: usize, theme: Theme, random: &mut Random) -> RouterSpec {
    let last = index as u16 + 1;
    let address_ipv4 = Ipv4Addr::new(10, 0, 0, index as u8 + 1);
    let address_ipv6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last);
    let asn = match theme {
        Theme::Reflector if random.percent(80) => NODE_ASN,
        Theme::Server if random.percent(80) => *random.pick(&[65002, 65002, 65003]),
        _ => *random.pick(&[NODE_ASN, NODE_ASN, 65002, 65003, 4_200_000_000]),
    };
    let (dials, listens) =
        *random.pick(&[(true, true), (true, true), (true, false), (false, true)]);
    // Above and below the node's, and between two ASes the same one.
    let router_id = match (random.below(3), asn == NODE_ASN) {
        (0, _) => Ipv4Addr::new(10, 0, 0, index as u8 + 1),
        (1, false) => Ipv4Addr::new(10, 0, 0, 200),
        _ => Ipv4Addr::new(200, 0, 0, index as u8 + 1),
    };
    RouterSpec {
        index,
        address: match random.percent(30) {
            true => IpAddr::V6(address_ipv6),
            false => IpAddr::V4(address_ipv4),
        },
        address_ipv6,
        address_ipv4,
        asn,
        router_id,
        node_asn: NODE_ASN,
        dials,
        listens,
        hold_time: *random.pick(&[9, 30, 90, 0]),
        families: draw_families(random),
        role: match (theme, random.percent(40)) {
            (Theme::Mixed, true) => Some(*random.pick(&Role::ALL)),
            _ => None,
        },
        capabilities: match theme {
            Theme::Mixed => draw_capabilities(random),
            _ => Capabilities {
                extended_messages: random.percent(70),
                ..Capabilities::default()
            },
        },
        four_octet_as: asn >= 65536 || random.percent(80),
        enhanced_refresh: random.percent(70),
        add_path_send: random.percent(50),
        add_path_receive: random.percent(70),
        graceful: random.percent(60).then(|| RouterGraceful {
            restart_time: *random.pick(&[5, 60, 120]),
            notification: random.percent(60),
            preserves: random.percent(70),
            long_lived: random.percent(50).then(|| *random.pick(&[3, 40])),
        }),
    }
}

pub(super) fn neighbor(
    router: &RouterSpec,
    theme: Theme,
    cluster_id: Ipv4Addr,
    random: &mut Random,
) -> Neighbor {
    let internal = router.asn == NODE_ASN;
    let kind = if internal {
        PeerAsn::Internal
    } else {
        PeerAsn::External
    };
    let wrong = if internal {
        PeerAsn::External
    } else {
        PeerAsn::Number(64999)
    };
    // What its kind of peer can be a client of; the other has no effect.
    let (fitting, other) = match internal {
        true => (Client::RouteReflector, Client::RouteServer),
        false => (Client::RouteServer, Client::RouteReflector),
    };
    let client = match theme {
        Theme::Mixed => *random.pick(&[None, None, Some(fitting), Some(other)]),
        _ => *random.pick(&[None, Some(fitting), Some(fitting), Some(fitting)]),
    };
    let plain = theme != Theme::Mixed && random.percent(70);
    let neighbor = Neighbor {
        peer_asn: match random.below(12) {
            0 => wrong,
            1..4 => PeerAsn::Any,
            4..7 => kind,
            _ => PeerAsn::Number(router.asn),
        },
        cluster_id,
        passive: router.dials && random.percent(25),
        timers: Timers {
            connect_retry: Duration::from_secs(*random.pick(&[5, 30, 120])),
            hold: Duration::from_secs(*random.pick(&[9, 30, 90])),
            keepalive: Duration::from_secs(*random.pick(&[3, 10, 30])),
            advertisement_interval: Duration::from_secs(*random.pick(&[0, 0, 0, 5])),
            ..Timers::default()
        },
        families: draw_families(random),
        add_paths: draw_add_paths(random),
        capabilities: draw_capabilities(random),
        // A router that does not tell its role may have any.
        role: match (router.role, random.percent(60)) {
            (_, false) => None,
            (Some(theirs), true) => Some(theirs.counterpart()),
            (None, true) if theme == Theme::Mixed => Some(*random.pick(&Role::ALL)),
            (None, true) => None,
        },
        host_name: random.percent(50).then(|| "node-1".into()),
        next_hop_ipv4: random.percent(10).then_some(Ipv4Addr::new(10, 0, 0, 201)),
        next_hop_ipv6: match random.below(4) {
            0 => NextHopIpv6::Address(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 201)),
            1 => NextHopIpv6::Mapped,
            _ => NextHopIpv6::Auto,
        },
        next_hop_self: *random.pick(&[
            NextHopSelf::Auto,
            NextHopSelf::Auto,
            NextHopSelf::Always,
            NextHopSelf::Never,
        ]),
        client,
        import: match random.percent(40) {
            true => Import::Policy(policy::draw(random)),
            false => random
                .pick(&[Import::All, Import::All, Import::All, Import::None])
                .clone(),
        },
        export: match random.percent(30) {
            true => Export::Policy(policy::draw(random)),
            false => random
                .pick(&[
                    Export::All,
                    Export::All,
                    Export::All,
                    Export::Originated,
                    Export::None,
                ])
                .clone(),
        },
        send_communities: SendCommunities {
            standard: random.percent(80),
            large: random.percent(80),
            extended: true,
        },
        graceful_restart: GracefulRestart {
            enabled: random.percent(30),
            helper: random.percent(80),
            stale_time: Duration::from_secs(*random.pick(&[20, 180])),
            notification: random.percent(70),
            ..GracefulRestart::default()
        },
        long_lived: random.percent(50).then_some(Duration::from_secs(20)),
        enhanced_refresh: random.percent(70),
        allow_own_asn: u8::from(random.percent(20)),
        builtin_filters: BuiltinFilters {
            own_prefixes: random.percent(60),
            ..BuiltinFilters::default()
        },
        ..Neighbor::new(router.address.into(), NODE.ipv4, NODE_ASN, PeerAsn::Any)
    };
    if !plain {
        return neighbor;
    }
    // Routers that are alike share groups.
    Neighbor {
        families: FamilySet::ALL,
        capabilities: Capabilities::default(),
        add_paths: AddPaths {
            send: match neighbor.add_paths.send {
                0..3 => 0,
                _ => 2,
            },
            ..neighbor.add_paths
        },
        next_hop_ipv4: None,
        next_hop_ipv6: NextHopIpv6::Auto,
        next_hop_self: NextHopSelf::Auto,
        import: Import::All,
        export: Export::All,
        send_communities: SendCommunities::default(),
        ..neighbor
    }
}

fn draw_add_paths(random: &mut Random) -> AddPaths {
    AddPaths {
        send: *random.pick(&[0, 0, 1, 2, 3, 4]),
        receive: random.percent(60),
    }
}

fn draw_capabilities(random: &mut Random) -> Capabilities {
    Capabilities {
        extended_messages: random.percent(70),
        extended_next_hop: random.percent(70),
    }
}

fn draw_families(random: &mut Random) -> FamilySet {
    let ipv4 = FamilySet::from_iter([Family::Ipv4Unicast]);
    *random.pick(&[FamilySet::ALL, FamilySet::ALL, FamilySet::ALL, ipv4])
}

/// Where routers may connect from without a name; one lies within another.
pub(super) fn ranges() -> impl Iterator<Item = IpPrefix> {
    let v4 = |length| IpPrefix::V4(Ipv4Prefix::masked(Ipv4Addr::new(10, 0, 0, 0), length));
    let v6 = IpPrefix::V6(Ipv6Prefix::masked(NODE.ipv6, 112));
    [v4(28), v4(30), v6].into_iter()
}
