//! Limits on prefixes: a router that says more than it may, until it may; and we, who do.

use crate::daemon::{Daemon, config, neighbor, policy};
use crate::lab::{Lab, ROUTER_V4};
use crate::process::eventually;
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

// INTEROP exabgp: max-prefix out
#[test]
fn exabgp_is_held_until_it_may() {
    held_until_it_may(RouterKind::Exabgp);
}

/// It says what it is told to, and hands on what it hears.
// INTEROP-LACKS exabgp: max-prefix in: has no setting for a limit
#[test]
fn exabgp_knows_no_limit() {
    let Some(lab) = Lab::for_routers(&[RouterKind::Exabgp]) else {
        return;
    };
    for setting in ["maximum-prefix", "max-prefix", "prefix-limit"] {
        let spec = RouterSpec {
            of_neighbor: format!("  {setting} 1;\n").leak(),
            ..RouterSpec::new(65002, 65001)
        };
        let exabgp = RouterKind::Exabgp.start(&lab, &spec);
        eventually("its configuration is refused", || {
            let said = exabgp.session();
            match said.contains(&format!("invalid keyword \"{setting}\"")) {
                true => Ok(()),
                false => Err(said),
            }
        });
    }
}

/// A router that takes one prefix of ours and is told two: it says so, and so do we.
fn a_routers_limit_is_said(kind: RouterKind, of_neighbor: &'static str, of_family: &'static str) {
    let Some(lab) = Lab::for_routers(&[kind]) else {
        return;
    };
    let spec = RouterSpec {
        of_neighbor,
        of_family,
        ..RouterSpec::new(65002, 65001)
    };
    let router = kind.start(&lab, &spec);
    let config = config(65001, "", &[neighbor(ROUTER_V4, 65002, "import: all")]);
    let ours = |prefixes: &[&str]| policy("ours", prefixes);
    let manifests = [
        ("config.yaml", &*config),
        ("policy.yaml", &*ours(&["10.0.1.0/24"])),
    ];
    let daemon = Daemon::start(Some(&lab.node), &manifests);
    daemon.wait_established(ROUTER_V4);
    router.wait_for(&["10.0.1.0/24"]);
    let words = "we sent more routes than it allows; raise its limit or announce fewer";
    let mut prefixes = vec!["10.0.1.0/24".to_owned()];
    // FRR counts behind its reading, so that it takes one more.
    eventually("the router's limit is said", || {
        prefixes.push(format!("10.1.{}.0/24", prefixes.len()));
        let all: Vec<&str> = prefixes.iter().map(String::as_str).collect();
        daemon.write("policy.yaml", &ours(&all));
        let peer = daemon.peer(ROUTER_V4)?;
        let error = peer["lastError"].as_str().unwrap_or_default();
        match error.contains(words) {
            true => Ok(()),
            false => Err(peer.to_string()),
        }
    });
}

// INTEROP frr: max-prefix in
#[test]
fn frr_has_a_limit_on_us() {
    let limit = "  neighbor PEER maximum-prefix 1";
    a_routers_limit_is_said(RouterKind::Frr, "", limit);
}

// INTEROP bird: max-prefix in
#[test]
fn bird_has_a_limit_on_us() {
    let limit = "import limit 1 action restart;";
    a_routers_limit_is_said(RouterKind::Bird, "", limit);
}

// INTEROP gobgp: max-prefix in
#[test]
fn gobgp_has_a_limit_on_us() {
    let limit = "    [neighbors.afi-safis.prefix-limit.config]\n      max-prefixes = 1\n";
    a_routers_limit_is_said(RouterKind::Gobgp, "", limit);
}

// INTEROP openbgpd: max-prefix in
#[test]
fn openbgpd_has_a_limit_on_us() {
    a_routers_limit_is_said(RouterKind::Openbgpd, "  max-prefix 1\n", "");
}
