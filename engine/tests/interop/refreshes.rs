//! Route refresh with real routers, asked for by either side.

use crate::daemon::{Daemon, config, neighbor, policy};
use crate::lab::{Lab, ROUTER_V4};
use crate::process::eventually;
use crate::router::{RouterKind, RouterSpec};

const OURS: [&str; 3] = ["10.0.1.0/24", "10.0.2.0/24", "10.0.3.0/24"];

/// Both sides ask each other for their routes again; nothing is lost, and nothing stays stale.
/// `bounded`: the router knows enhanced route refresh (RFC 7313).
fn refresh_each_other(kind: RouterKind, bounded: bool) {
    let Some(lab) = Lab::for_routers(&[kind]) else {
        return;
    };
    let spec = RouterSpec {
        announce: vec!["192.168.100.0/24", "192.168.101.0/24"],
        ..RouterSpec::new(65002, 65001)
    };
    let families = "import: all, families: [{afi: ipv4, safi: unicast}]";
    let router = kind.start(&lab, &spec);
    let daemon = Daemon::start(
        Some(&lab.node),
        &[
            (
                "config.yaml",
                &config(65001, "", &[neighbor(ROUTER_V4, 65002, families)]),
            ),
            ("policy.yaml", &policy("ours", &OURS)),
        ],
    );
    daemon.wait_established(ROUTER_V4);
    router.wait_for(&OURS);
    let received = ["routes", "received", "ipv4", "--peer", ROUTER_V4];
    daemon.wait_for_some_prefixes(&received, &spec.announce);

    let answer = daemon.ask(&["refresh", ROUTER_V4]).expect("it is asked");
    assert_eq!(answer["peers"], 1, "{answer}");
    if bounded {
        eventually("the router refreshes between bounds", || {
            let log = daemon.log();
            match log.contains("begins to refresh") && log.contains("has said its routes again") {
                true => Ok(()),
                false => Err("not yet".to_owned()),
            }
        });
    }
    daemon.wait_for_some_prefixes(&received, &spec.announce);
    let routes = daemon.ask(&received).expect("routes");
    let rows = routes.as_array().expect("rows");
    assert!(rows.iter().all(|row| row["stale"] == false), "{routes}");

    // What is told afterwards arrives behind the answer.
    router.ask_refresh();
    daemon.write("more.yaml", &policy("more", &["10.0.4.0/24"]));
    router.wait_for(&[OURS[0], OURS[1], OURS[2], "10.0.4.0/24"]);
    daemon.wait_established(ROUTER_V4);
}

// RFC-SHOWN 7313 §4
// INTEROP frr: refresh, enhanced refresh
#[test]
fn frr_refreshes_and_is_refreshed() {
    refresh_each_other(RouterKind::Frr, true);
}

// RFC-SHOWN 7313 §4
// INTEROP bird: refresh, enhanced refresh
#[test]
fn bird_refreshes_and_is_refreshed() {
    refresh_each_other(RouterKind::Bird, true);
}

// RFC-SHOWN 2918 §4
// INTEROP gobgp: refresh
#[test]
fn gobgp_refreshes_and_is_refreshed() {
    refresh_each_other(RouterKind::Gobgp, false);
}
