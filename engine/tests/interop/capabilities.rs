//! All that a router can be told to offer at once, with all of ours; and as little as it can be told to,
//! which for most is an OPEN without a capability.

use crate::daemon::{Daemon, config, neighbor, policy};
use crate::lab::{Lab, RINGBGP_V4, RINGBGP_V6};
use crate::router::{Over, RouterKind, RouterSpec};

const OURS: [&str; 2] = ["10.0.1.0/24", "2001:db8:1::/48"];
const THEIRS: [&str; 2] = ["192.168.100.0/24", "2001:db8:100::/48"];

/// Routes of both families go both ways over an IPv6 session on which everything is negotiated.
fn with_all(kind: RouterKind, role: &str, of_neighbor: &'static str, of_family: &'static str) {
    let Some(lab) = Lab::for_routers(&[kind]) else {
        return;
    };
    let spec = RouterSpec {
        over: Over::Ipv6,
        graceful: true,
        long_lived: Some((60, 3600)),
        of_neighbor,
        of_family,
        announce: THEIRS.to_vec(),
        ..RouterSpec::new(65002, 65001)
    };
    let more = format!(
        "import: all, gracefulRestart: {{enabled: true}}, longLivedGracefulRestart: {{enabled: true}}, \
         addPaths: {{send: 4, receive: true}}{role}"
    );
    let router = kind.start(&lab, &spec);
    let config = config(65001, "", &[neighbor(spec.local(), 65002, &more)]);
    let manifests = [
        ("config.yaml", &*config),
        ("policy.yaml", &*policy("ours", &OURS)),
    ];
    let daemon = Daemon::start(Some(&lab.node), &manifests);
    daemon.wait_established(spec.local());
    let table = router.wait_for(&OURS);
    assert_eq!(table[OURS[1]].next_hop, RINGBGP_V6);
    let received = ["routes", "received", "--peer", spec.local()];
    daemon.wait_for_some_prefixes(&received, &THEIRS);
    let row = daemon.wait_established(spec.local());
    assert!(row["lastError"].is_null(), "{row}");
}

// INTEROP bird: all capabilities
#[test]
fn bird_with_all_capabilities() {
    with_all(
        RouterKind::Bird,
        ", role: provider",
        "local role customer; enable extended messages yes;",
        "add paths on; extended next hop on;",
    );
}

// INTEROP frr: all capabilities
#[test]
fn frr_with_all_capabilities() {
    with_all(
        RouterKind::Frr,
        ", role: provider",
        " neighbor PEER local-role customer\n neighbor PEER capability extended-nexthop",
        "  neighbor PEER addpath-tx-all-paths",
    );
}

// INTEROP gobgp: all capabilities
#[test]
fn gobgp_with_all_capabilities() {
    let paths =
        "    [neighbors.afi-safis.add-paths.config]\n      receive = true\n      send-max = 4\n";
    let ipv4 = "  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = \"ipv4-unicast\"
    [neighbors.afi-safis.mp-graceful-restart.config]
      enabled = true
    [neighbors.afi-safis.add-paths.config]
      receive = true
      send-max = 4
";
    with_all(RouterKind::Gobgp, "", ipv4, paths);
}

// INTEROP openbgpd: all capabilities
#[test]
fn openbgpd_with_all_capabilities() {
    let all = "  announce refresh yes
  announce enhanced refresh yes
  announce add-path recv yes
  announce add-path send all
  announce policy customer
";
    with_all(RouterKind::Openbgpd, ", role: provider", all, "");
}

// INTEROP exabgp: all capabilities
#[test]
fn exabgp_with_all_capabilities() {
    let all = "  capability {
    route-refresh enable;
    graceful-restart 60;
    extended-message enable;
    nexthop enable;
    add-path send/receive;
  }
  nexthop { ipv4 unicast ipv6; }
";
    with_all(RouterKind::Exabgp, "", all, "ipv4 unicast;");
}

/// An AS of ours that does not fit in two octets.
const LARGE: u32 = 4_200_000_001;
/// What stands for it in an OPEN and a path of an old speaker.
const TRANS: u32 = 23_456;

/// IPv4 goes both ways with a router that offers as little as it can, and knows us as an AS number
/// that it can write.
fn with_none(kind: RouterKind, known_as: u32, of_neighbor: &'static str) {
    let Some(lab) = Lab::for_routers(&[kind]) else {
        return;
    };
    let spec = RouterSpec {
        of_neighbor,
        announce: vec![THEIRS[0]],
        ..RouterSpec::new(65002, known_as)
    };
    let router = kind.start(&lab, &spec);
    let none = "import: all, capabilities: {extendedMessages: false, extendedNextHop: false, \
                enhancedRefresh: false, fqdn: false}, gracefulRestart: {helper: false}";
    let config = config(LARGE, "", &[neighbor(spec.local(), 65002, none)]);
    let manifests = [
        ("config.yaml", &*config),
        ("policy.yaml", &*policy("ours", &OURS[..1])),
    ];
    let daemon = Daemon::start(Some(&lab.node), &manifests);
    daemon.wait_established(spec.local());
    let table = router.wait_for(&OURS[..1]);
    assert_eq!(table[OURS[0]].next_hop, RINGBGP_V4);
    // AS4_PATH is beside it, which not all of them look at.
    let path = &table[OURS[0]].as_path;
    let is_ours = *path == [TRANS] || *path == [LARGE];
    assert!(is_ours, "{path:?}");
    let received = ["routes", "received", "--peer", spec.local()];
    daemon.wait_for_some_prefixes(&received, &spec.announce);
    let routes = daemon.ask(&[&received[..], &spec.announce].concat());
    let routes = routes.expect("a route");
    assert_eq!(routes[0]["asPath"][0]["asns"], serde_json::json!([65002]));
}

// INTEROP bird: no capabilities
#[test]
fn bird_without_capabilities() {
    with_none(RouterKind::Bird, TRANS, "capabilities off;");
}

// INTEROP frr: no capabilities
#[test]
fn frr_without_capabilities() {
    let none = " neighbor PEER dont-capability-negotiate";
    with_none(RouterKind::Frr, LARGE, none);
}

// INTEROP openbgpd: no capabilities
#[test]
fn openbgpd_without_capabilities() {
    with_none(RouterKind::Openbgpd, LARGE, "  announce capabilities no\n");
}

// INTEROP exabgp: no capabilities
#[test]
fn exabgp_without_capabilities() {
    let none = "  capability { asn4 disable; route-refresh disable; }\n";
    with_none(RouterKind::Exabgp, TRANS, none);
}
