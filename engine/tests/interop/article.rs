//! The scenario that ringbgp was first described with: a node in AS 65001, a router in the same
//! AS, one network policy.

use crate::daemon::{Daemon, NODE, config, neighbor, policy};
use crate::frr::Frr;
use crate::lab::{Lab, RINGBGP_V4, ROUTER_V4};
use crate::router::{Router, RouterKind};

const FRR: &str = "router bgp 65001
 bgp router-id 10.0.0.6
 no bgp network import-check
 neighbor 10.0.0.5 remote-as 65001
 neighbor 10.0.0.5 update-source 10.0.0.6
 address-family ipv4 unicast
  network 192.168.100.0/24
 exit-address-family
";

#[test]
fn a_policy_reaches_frr_and_goes_again() {
    let Some(lab) = Lab::for_routers(&[RouterKind::Frr]) else {
        return;
    };
    let frr = Frr::start_with(&lab.router, FRR, ROUTER_V4, RINGBGP_V4);
    let config = config(65001, "", &[neighbor(ROUTER_V4, 65001, "import: all")]);
    let daemon = Daemon::start(Some(&lab.node), &[("config.yaml", &config)]);
    daemon.wait_established(ROUTER_V4);
    let router: &dyn Router = &frr;

    daemon.write(
        "policy.yaml",
        &policy("allow-external-access", &["10.0.1.0/24"]),
    );
    let table = router.wait_for(&["10.0.1.0/24"]);
    let route = &table["10.0.1.0/24"];
    assert_eq!(route.next_hop, RINGBGP_V4);
    assert_eq!(route.local_pref, Some(100));
    assert!(route.as_path.is_empty(), "iBGP adds no AS: {route:?}");

    // What FRR announces is seen, as received and as available.
    let wanted = ["192.168.100.0/24"];
    daemon.wait_for_prefixes(&["routes", "received", "--peer", ROUTER_V4], &wanted);
    daemon.wait_for_prefixes(
        &["routes", "available"],
        &["10.0.1.0/24", "192.168.100.0/24"],
    );
    daemon.wait_for_prefixes(
        &["routes", "advertised", "--peer", ROUTER_V4],
        &["10.0.1.0/24"],
    );
    let available = daemon.ask(&["routes", "available", "10.0.1.0/24"]);
    let available = available.expect("the route is known");
    let source = &available[0]["source"];
    assert_eq!(source["kind"], "CiliumNetworkPolicy", "{available}");
    assert_eq!(source["name"], "allow-external-access", "{available}");

    daemon.remove("policy.yaml");
    router.wait_for(&[]);
    let peer = daemon.wait_established(ROUTER_V4);
    assert_eq!(peer["families"][0]["advertised"], 0, "{peer}");
}

#[test]
fn the_pod_cidr_is_announced_while_a_policy_covers_it() {
    let Some(lab) = Lab::for_routers(&[RouterKind::Frr]) else {
        return;
    };
    let frr = Frr::start_with(&lab.router, FRR, ROUTER_V4, RINGBGP_V4);
    let router: &dyn Router = &frr;
    let node = format!(
        "apiVersion: cilium.io/v2
kind: CiliumNode
metadata: {{name: {NODE}}}
spec:
  addresses: [{{type: InternalIP, ip: {RINGBGP_V4}}}]
  ipam: {{podCIDRs: [10.244.1.0/24]}}
"
    );
    let config = config(65001, "", &[neighbor(ROUTER_V4, 65001, "")]);
    let daemon = Daemon::start(
        Some(&lab.node),
        &[("config.yaml", &config), ("node.yaml", &node)],
    );
    daemon.wait_established(ROUTER_V4);
    // The sentinel shows that the node's pod CIDR alone announces nothing.
    daemon.write("sentinel.yaml", &policy("sentinel", &["10.0.9.0/24"]));
    router.wait_for(&["10.0.9.0/24"]);
    daemon.write("policy.yaml", &policy("pods", &["10.244.0.0/16"]));
    let table = router.wait_for(&["10.0.9.0/24", "10.244.1.0/24"]);
    assert_eq!(table["10.244.1.0/24"].next_hop, RINGBGP_V4);
    daemon.remove("policy.yaml");
    router.wait_for(&["10.0.9.0/24"]);
}

#[test]
fn a_node_that_stops_takes_its_routes_along() {
    let Some(lab) = Lab::for_routers(&[RouterKind::Frr]) else {
        return;
    };
    let frr = Frr::start_with(&lab.router, FRR, ROUTER_V4, RINGBGP_V4);
    let router: &dyn Router = &frr;
    let config = config(65001, "", &[neighbor(ROUTER_V4, 65001, "")]);
    let policy = policy("allow-external-access", &["10.0.1.0/24"]);
    let mut daemon = Daemon::start(
        Some(&lab.node),
        &[("config.yaml", &config), ("policy.yaml", &policy)],
    );
    router.wait_for(&["10.0.1.0/24"]);
    assert_eq!(daemon.terminate(), Some(0));
    router.wait_for(&[]);
}
