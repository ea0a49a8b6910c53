//! Communities of all three kinds, from a router through ringbgp to another one: as they were.

use crate::daemon::{Daemon, config, neighbor};
use crate::lab::{Lab, ROUTER_V4, SECOND_ROUTER_V4};
use crate::process::eventually;
use crate::router::{Router, RouterKind, RouterSpec};

/// What BIRD, on the other side, announces, and the router in question.
const PREFIXES: [&str; 2] = ["192.168.101.0/24", "192.168.100.0/24"];
const COMMUNITIES: [[&str; 3]; 2] = [
    ["65010:7", "65010:1:2", "65010:3"],
    ["65020:8", "4200000000:4:5", "65020:6"],
];

/// The router and BIRD, each in an AS of its own, tell each other through ringbgp.
fn unchanged(kind: RouterKind) {
    let Some(lab) = Lab::for_routers(&[kind, RouterKind::Bird]) else {
        return;
    };
    let start = |kind: RouterKind, at: usize| {
        let spec = RouterSpec {
            second: at == 0,
            announce: vec![PREFIXES[at]],
            communities: Some(COMMUNITIES[at]),
            ..RouterSpec::new([65003, 65002][at], 65001)
        };
        kind.start(&lab, &spec)
    };
    let routers = [start(RouterKind::Bird, 0), start(kind, 1)];
    let more = "import: all, export: all, families: [{afi: ipv4, safi: unicast}]";
    let neighbors = [
        neighbor(SECOND_ROUTER_V4, 65003, more),
        neighbor(ROUTER_V4, 65002, more),
    ];
    let text = config(65001, "", &neighbors);
    let _daemon = Daemon::start(Some(&lab.node), &[("config.yaml", &text)]);
    for (at, router) in routers.iter().enumerate() {
        let (prefix, [standard, large, target]) = (PREFIXES[1 - at], COMMUNITIES[1 - at]);
        let router: &dyn Router = &**router;
        let route = eventually(&format!("router {at} holds {prefix}"), || {
            let table = router.learned()?;
            table.get(prefix).cloned().ok_or_else(|| router.session())
        });
        assert_eq!(route.communities, [standard], "{route:?}");
        assert_eq!(route.large_communities, [large], "{route:?}");
        assert_eq!(
            route.extended_communities,
            [format!("rt:{target}")],
            "{route:?}"
        );
    }
}

// INTEROP bird: communities
#[test]
fn bird_hears_and_says_communities_unchanged() {
    unchanged(RouterKind::Bird);
}

// INTEROP frr: communities
#[test]
fn frr_hears_and_says_communities_unchanged() {
    unchanged(RouterKind::Frr);
}

// INTEROP gobgp: communities
#[test]
fn gobgp_hears_and_says_communities_unchanged() {
    unchanged(RouterKind::Gobgp);
}

// INTEROP openbgpd: communities
#[test]
fn openbgpd_hears_and_says_communities_unchanged() {
    unchanged(RouterKind::Openbgpd);
}

// INTEROP exabgp: communities
#[test]
fn exabgp_hears_and_says_communities_unchanged() {
    unchanged(RouterKind::Exabgp);
}
