//! Peers on a link: `fe80::6%eth0`, dialled and accepted, and the default gateway as a neighbor.

use crate::bird::Bird;
use crate::daemon::{Daemon, config, policy};
use crate::frr::Frr;
use crate::lab::{Lab, Namespace};
use crate::process::{eventually, output};
use crate::router::{Router, RouterKind};

const POLICY: &str = "2001:db8:1::/48";
const ANNOUNCED: &str = "2001:db8:100::/48";
const PEER: &str = "fe80::6%eth0";

fn ip(host: &Namespace, arguments: &[&str]) {
    output(host.command("ip").args(arguments)).expect("ip does it");
}

/// A lab whose node and router are `fe80::5` and `fe80::6` on their link too.
fn lab(kind: RouterKind) -> Option<Lab> {
    let lab = Lab::for_routers(&[kind])?;
    for (host, address) in [(&lab.node, "fe80::5/64"), (&lab.router, "fe80::6/64")] {
        ip(host, &["addr", "add", address, "dev", "eth0", "nodad"]);
    }
    Some(lab)
}

fn start<'lab>(lab: &'lab Lab, neighbor: &str) -> Daemon<'lab> {
    let neighbor = format!(
        "{neighbor}, peerASN: external, import: all, timers: {{connectRetryTimeSeconds: 1}}"
    );
    Daemon::start(
        Some(&lab.node),
        &[
            ("config.yaml", &config(65001, "", &[neighbor])),
            ("policy.yaml", &policy("link", &[POLICY])),
        ],
    )
}

fn bird(lab: &Lab, more: &str) -> Bird {
    let conf = format!(
        "log stderr all;
router id 10.0.0.6;
protocol device {{}}
protocol static {{ ipv6; route {ANNOUNCED} blackhole; }}
protocol bgp ringbgp {{
  local fe80::6 as 65002;
  neighbor fe80::5 % 'eth0' as 65001;
  direct;
  strict bind yes;
  connect delay time 1;
  connect retry time 1;
  error wait time 1, 2;{more}
  ipv6 {{ import all; export where source = RTS_STATIC; }};
}}
"
    );
    Bird::start_with(&lab.router, &conf)
}

fn routes_go_both_ways(daemon: &Daemon<'_>, router: &dyn Router) {
    let row = daemon.wait_established(PEER);
    assert_eq!(row["localAddress"], "fe80::5", "{row}");
    let table = router.wait_for(&[POLICY]);
    assert_eq!(table[POLICY].next_hop, "2001:db8::5");
    daemon.wait_for_some_prefixes(&["routes", "received", "--peer", PEER], &[ANNOUNCED]);
    let told = daemon.ask(&["routes", "advertised", "--peer", PEER, POLICY]);
    assert_eq!(told.unwrap()[0]["linkLocalNextHop"], "fe80::5");
}

#[test]
fn bird_is_dialled_and_accepted_on_a_link() {
    for (theirs, ours) in [(" passive yes;", ""), ("", ", passive: true")] {
        let Some(lab) = lab(RouterKind::Bird) else {
            return;
        };
        let bird = bird(&lab, theirs);
        let daemon = start(&lab, &format!("peerAddress: \"{PEER}\"{ours}"));
        routes_go_both_ways(&daemon, &bird);
    }
}

#[test]
fn frr_connects_on_a_link() {
    let Some(lab) = lab(RouterKind::Frr) else {
        return;
    };
    let conf = format!(
        "router bgp 65002
 bgp router-id 10.0.0.6
 no bgp default ipv4-unicast
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor fe80::5 remote-as 65001
 neighbor fe80::5 interface eth0
 neighbor fe80::5 timers connect 1
 address-family ipv6 unicast
  neighbor fe80::5 activate
  network {ANNOUNCED}
 exit-address-family
"
    );
    let daemon = start(&lab, &format!("peerAddress: \"{PEER}\""));
    let frr = Frr::start_with(&lab.router, &conf, "::", "fe80::5");
    routes_go_both_ways(&daemon, &frr);
}

#[test]
fn the_default_gateway_is_a_neighbor() {
    let Some(lab) = lab(RouterKind::Bird) else {
        return;
    };
    let default = [
        "-6", "route", "add", "default", "via", "fe80::6", "dev", "eth0",
    ];
    ip(&lab.node, &default);
    let bird = bird(&lab, "");
    let discovery = "autoDiscovery: {mode: DefaultGateway, addressFamily: ipv6}";
    let daemon = start(&lab, discovery);
    routes_go_both_ways(&daemon, &bird);
    // Not followed: the session outlives the route.
    ip(&lab.node, &["-6", "route", "del", "default"]);
    daemon.write("policy.yaml", &policy("link", &["2001:db8:2::/48"]));
    let bird: &dyn Router = &bird;
    bird.wait_for(&["2001:db8:2::/48"]);
    eventually("the session stands", || daemon.peer(PEER).map(|_| ()));
}

#[test]
fn all_next_hops_of_a_default_route_are_neighbors() {
    let Some(lab) = lab(RouterKind::Bird) else {
        return;
    };
    let hops = "route add default nexthop via 10.0.0.6 dev eth0 nexthop via 10.0.0.7 dev eth0";
    let hops: Vec<&str> = hops.split(' ').collect();
    ip(&lab.node, &hops);
    let daemon = start(
        &lab,
        "autoDiscovery: {mode: DefaultGateway, addressFamily: ipv4}",
    );
    eventually("both gateways are neighbors", || {
        daemon
            .peer("10.0.0.6")
            .and(daemon.peer("10.0.0.7"))
            .map(|_| ())
    });
}
