//! A router that says more prefixes than it may, until it may.

use crate::daemon::{Daemon, config, neighbor};
use crate::lab::{Lab, ROUTER_V4};
use crate::router::{RouterKind, RouterSpec};

const PREFIXES: [&str; 2] = ["192.168.100.0/24", "192.168.101.0/24"];

fn held_until_it_may(kind: RouterKind) {
    let Some(lab) = Lab::for_routers(&[kind]) else {
        return;
    };
    let spec = RouterSpec {
        announce: PREFIXES.to_vec(),
        ..RouterSpec::new(65002, 65001)
    };
    let _router = kind.start(&lab, &spec);
    let limited = |limit: u32| {
        let more = format!("import: all, maxPrefixes: {{ipv4: {limit}}}");
        config(65001, "", &[neighbor(ROUTER_V4, 65002, &more)])
    };
    let daemon = Daemon::start(Some(&lab.node), &[("config.yaml", &limited(1))]);
    daemon.wait_for_error(ROUTER_V4, &["more than the 1 prefixes"]);
    daemon.write("config.yaml", &limited(2));
    daemon.wait_established(ROUTER_V4);
    let question = ["routes", "received", "--peer", ROUTER_V4];
    daemon.wait_for_some_prefixes(&question, &PREFIXES);
}

// INTEROP frr: max-prefix out
#[test]
fn frr_is_held_until_it_may() {
    held_until_it_may(RouterKind::Frr);
}

// INTEROP gobgp: max-prefix out
#[test]
fn gobgp_is_held_until_it_may() {
    held_until_it_may(RouterKind::Gobgp);
}

// INTEROP openbgpd: max-prefix out
#[test]
fn openbgpd_is_held_until_it_may() {
    held_until_it_may(RouterKind::Openbgpd);
}
