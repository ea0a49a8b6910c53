//! Sessions with real routers in every shape: FRR and BIRD in full, GoBGP and OpenBGPD once for
//! each family.

use crate::daemon::{Daemon, config, neighbor, policy, secret};
use crate::lab::{Lab, RINGBGP_V4, RINGBGP_V6, ROUTER_V4, SECOND_ROUTER_V4};
use crate::router::{Over, Router, RouterKind, RouterSpec};

const POLICY_V4: &str = "10.0.1.0/24";
const POLICY_V6: &str = "2001:db8:1::/48";

/// What a scenario varies; the rest is the same for all.
#[derive(Clone, Copy)]
struct Scenario {
    over: Over,
    internal: bool,
    password: Option<&'static str>,
    gtsm: bool,
    dials: Dials,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Dials {
    Ringbgp,
    Router,
    Both,
}

const PLAIN: Scenario = Scenario {
    over: Over::Ipv4,
    internal: false,
    password: None,
    gtsm: false,
    dials: Dials::Both,
};

/// One IPv4 and one IPv6 policy reach the router, and its routes of both families come in.
fn routes_go_both_ways(kind: RouterKind, scenario: Scenario) {
    let Some(lab) = Lab::for_routers(&[kind]) else {
        return;
    };
    let asn = if scenario.internal { 65001 } else { 65002 };
    let spec = RouterSpec {
        over: scenario.over,
        password: scenario.password,
        gtsm: scenario.gtsm,
        passive: scenario.dials == Dials::Ringbgp,
        ..RouterSpec::new(asn, 65001)
    };
    let mut more = vec![
        format!("localAddress: \"{}\"", spec.peer()),
        "import: all".to_owned(),
    ];
    if scenario.password.is_some() {
        more.push("authSecretRef: bgp-auth".to_owned());
    }
    if scenario.gtsm {
        more.push("ttlSecurity: true".to_owned());
    }
    if scenario.dials == Dials::Router {
        more.push("passive: true".to_owned());
    }
    let config = config(65001, "", &[neighbor(spec.local(), asn, &more.join(", "))]);
    let router = kind.start(&lab, &spec);
    let daemon = Daemon::start(
        Some(&lab.node),
        &[
            ("config.yaml", &config),
            ("policy.yaml", &policy("both", &[POLICY_V4, POLICY_V6])),
            (
                "secret.yaml",
                &secret("bgp-auth", scenario.password.unwrap_or("unused")),
            ),
        ],
    );
    daemon.wait_established(spec.local());

    let table = router.wait_for(&[POLICY_V4, POLICY_V6]);
    let as_path: &[u32] = if scenario.internal { &[] } else { &[65001] };
    for (prefix, next_hop) in [(POLICY_V4, RINGBGP_V4), (POLICY_V6, RINGBGP_V6)] {
        assert_eq!(table[prefix].next_hop, next_hop, "{prefix}");
        assert_eq!(table[prefix].as_path, as_path, "{prefix}");
    }
    // FRR tells an external peer its own routes back, so that more may come than it announces.
    daemon.wait_for_some_prefixes(
        &["routes", "received", "--peer", spec.local()],
        &spec.announce,
    );
    let mut available = spec.announce.clone();
    available.extend([POLICY_V4, POLICY_V6]);
    daemon.wait_for_prefixes(&["routes", "available"], &available);

    daemon.remove("policy.yaml");
    router.wait_for(&[]);
    let peer = daemon.wait_established(spec.local());
    assert_eq!(peer["peerASN"], asn, "{peer}");
}

const SHAPES: [Scenario; 4] = [
    PLAIN,
    Scenario {
        internal: true,
        ..PLAIN
    },
    Scenario {
        over: Over::Ipv6,
        ..PLAIN
    },
    Scenario {
        over: Over::Ipv6,
        internal: true,
        ..PLAIN
    },
];

// INTEROP frr: sessions
#[test]
fn frr_over_either_family_inside_and_outside_the_as() {
    for scenario in SHAPES {
        routes_go_both_ways(RouterKind::Frr, scenario);
    }
}

// INTEROP bird: sessions
#[test]
fn bird_over_either_family_inside_and_outside_the_as() {
    for scenario in SHAPES {
        routes_go_both_ways(RouterKind::Bird, scenario);
    }
}

/// MD5 and GTSM over both families; who dials is varied along the way, since keys and hop limits
/// are set in another place on each side of a connection.
fn keyed_and_guarded(kind: RouterKind) {
    for over in [Over::Ipv4, Over::Ipv6] {
        for dials in [Dials::Ringbgp, Dials::Router] {
            let scenario = Scenario {
                over,
                dials,
                ..PLAIN
            };
            let password = Some("correct-horse");
            routes_go_both_ways(
                kind,
                Scenario {
                    password,
                    ..scenario
                },
            );
            routes_go_both_ways(
                kind,
                Scenario {
                    gtsm: true,
                    ..scenario
                },
            );
        }
    }
}

// INTEROP frr: md5, gtsm
#[test]
fn frr_with_md5_and_gtsm() {
    keyed_and_guarded(RouterKind::Frr);
}

// INTEROP bird: md5, gtsm
#[test]
fn bird_with_md5_and_gtsm() {
    keyed_and_guarded(RouterKind::Bird);
}

#[test]
fn frr_whoever_dials() {
    for dials in [Dials::Ringbgp, Dials::Router, Dials::Both] {
        routes_go_both_ways(RouterKind::Frr, Scenario { dials, ..PLAIN });
    }
}

#[test]
fn bird_whoever_dials() {
    for dials in [Dials::Ringbgp, Dials::Router, Dials::Both] {
        routes_go_both_ways(RouterKind::Bird, Scenario { dials, ..PLAIN });
    }
}

/// An external session over one family that carries that family.
fn one_family(kind: RouterKind, scenario: Scenario) {
    let Some(lab) = Lab::for_routers(&[kind]) else {
        return;
    };
    let (family, prefix, announced, next_hop) = match scenario.over {
        Over::Ipv4 => ("ipv4", POLICY_V4, "192.168.100.0/24", RINGBGP_V4),
        Over::Ipv6 => ("ipv6", POLICY_V6, "2001:db8:100::/48", RINGBGP_V6),
    };
    let spec = RouterSpec {
        over: scenario.over,
        password: scenario.password,
        gtsm: scenario.gtsm,
        announce: vec![announced],
        ..RouterSpec::new(65002, 65001)
    };
    let mut more = format!(
        "localAddress: \"{}\", import: all, families: [{{afi: {family}, safi: unicast}}]",
        spec.peer()
    );
    if scenario.password.is_some() {
        more += ", authSecretRef: bgp-auth";
    }
    if scenario.gtsm {
        more += ", ttlSecurity: true";
    }
    let config = config(65001, "", &[neighbor(spec.local(), 65002, &more)]);
    let router = kind.start(&lab, &spec);
    let daemon = Daemon::start(
        Some(&lab.node),
        &[
            ("config.yaml", &config),
            ("policy.yaml", &policy("one", &[prefix])),
            (
                "secret.yaml",
                &secret("bgp-auth", scenario.password.unwrap_or("unused")),
            ),
        ],
    );
    daemon.wait_established(spec.local());
    let table = router.wait_for(&[prefix]);
    assert_eq!(table[prefix].next_hop, next_hop);
    assert_eq!(table[prefix].as_path, [65001]);
    daemon.wait_for_prefixes(
        &["routes", "received", "--peer", spec.local()],
        &[announced],
    );
    daemon.remove("policy.yaml");
    router.wait_for(&[]);
}

fn each_family(kind: RouterKind, scenario: Scenario) {
    for over in [Over::Ipv4, Over::Ipv6] {
        one_family(kind, Scenario { over, ..scenario });
    }
}

fn keyed_and_guarded_by_family(kind: RouterKind) {
    let password = Some("correct-horse");
    each_family(kind, Scenario { password, ..PLAIN });
    let gtsm = true;
    each_family(kind, Scenario { gtsm, ..PLAIN });
}

// INTEROP gobgp: sessions
#[test]
fn gobgp_over_either_family() {
    each_family(RouterKind::Gobgp, PLAIN);
}

// INTEROP openbgpd: sessions
#[test]
fn openbgpd_over_either_family() {
    each_family(RouterKind::Openbgpd, PLAIN);
}

// INTEROP exabgp: sessions
#[test]
fn exabgp_over_either_family() {
    each_family(RouterKind::Exabgp, PLAIN);
}

// INTEROP gobgp: md5, gtsm
#[test]
fn gobgp_with_md5_and_gtsm() {
    keyed_and_guarded_by_family(RouterKind::Gobgp);
}

// INTEROP openbgpd: md5, gtsm
#[test]
fn openbgpd_with_md5_and_gtsm() {
    keyed_and_guarded_by_family(RouterKind::Openbgpd);
}

// INTEROP exabgp: md5, gtsm
#[test]
fn exabgp_with_md5_and_gtsm() {
    keyed_and_guarded_by_family(RouterKind::Exabgp);
}

#[test]
fn a_wrong_md5_key_is_said_and_harms_nobody_else() {
    let Some(lab) = Lab::for_routers(&[RouterKind::Frr, RouterKind::Bird]) else {
        return;
    };
    let right = RouterSpec {
        second: true,
        password: Some("right"),
        ..RouterSpec::new(65002, 65001)
    };
    let wrong = RouterSpec {
        password: Some("wrong"),
        ..RouterSpec::new(65002, 65001)
    };
    let keyed = "authSecretRef: bgp-auth";
    let config = config(
        65001,
        "",
        &[
            neighbor(ROUTER_V4, 65002, keyed),
            neighbor(SECOND_ROUTER_V4, 65002, keyed),
        ],
    );
    let bird = RouterKind::Bird.start(&lab, &right);
    let frr = RouterKind::Frr.start(&lab, &wrong);
    let daemon = Daemon::start(
        Some(&lab.node),
        &[
            ("config.yaml", &config),
            ("secret.yaml", &secret("bgp-auth", "right")),
            ("policy.yaml", &policy("keyed", &[POLICY_V4])),
        ],
    );
    let table = bird.wait_for(&[POLICY_V4]);
    assert_eq!(table[POLICY_V4].next_hop, RINGBGP_V4);
    // The kernel drops what is signed with another key in silence: a dial that nobody answers is
    // all that there is to see, so that is where the key has to be named.
    let error = daemon.wait_for_error(ROUTER_V4, &["password", "MD5"]);
    let frr: &dyn Router = &*frr;
    assert_eq!(frr.learned(), Ok(Default::default()), "{error}");
    daemon.wait_established(SECOND_ROUTER_V4);
}

#[test]
fn a_missing_secret_keeps_its_neighbor_idle() {
    let Some(lab) = Lab::for_routers(&[RouterKind::Frr]) else {
        return;
    };
    let spec = RouterSpec {
        password: Some("late"),
        ..RouterSpec::new(65002, 65001)
    };
    let frr = RouterKind::Frr.start(&lab, &spec);
    let config = config(
        65001,
        "",
        &[neighbor(ROUTER_V4, 65002, "authSecretRef: bgp-auth")],
    );
    let daemon = Daemon::start(
        Some(&lab.node),
        &[
            ("config.yaml", &config),
            ("policy.yaml", &policy("late", &[POLICY_V4])),
        ],
    );
    daemon.wait_for_error(ROUTER_V4, &["bgp-auth"]);
    daemon.write("secret.yaml", &secret("bgp-auth", "late"));
    daemon.wait_established(ROUTER_V4);
    frr.wait_for(&[POLICY_V4]);
}
