//! Graceful shutdown (RFC 8326) begun by ringbgp: routers hear of it before the session goes.

use crate::daemon::{Daemon, config, neighbor, policy};
use crate::lab::{Lab, ROUTER_V4};
use crate::process::eventually;
use crate::router::{Router, RouterKind, RouterSpec};
use crate::scripted::{Addresses, End, PEER_ASN, Peer, RINGBGP_ASN};

const POLICY: &str = "10.0.1.0/24";

fn drained(kind: RouterKind, asn: u32, community: &str) {
    let Some(lab) = Lab::for_routers(&[kind]) else {
        return;
    };
    let router = kind.start(&lab, &RouterSpec::new(asn, 65001));
    let config = config(65001, "", &[neighbor(ROUTER_V4, asn, "")]);
    let daemon = Daemon::start(
        Some(&lab.node),
        &[
            ("config.yaml", &config),
            ("policy.yaml", &policy("drained", &[POLICY])),
        ],
    );
    let router: &dyn Router = &*router;
    let table = router.wait_for(&[POLICY]);
    assert_eq!(table[POLICY].communities, [""; 0]);
    std::thread::scope(|scope| {
        // It returns once the session is closed.
        let drain = scope.spawn(|| daemon.ask(&["drain", ROUTER_V4, "--wait", "5s"]));
        eventually("the route carries GRACEFUL_SHUTDOWN", || {
            let table = router.learned()?;
            let route = table.get(POLICY).ok_or("the route is gone")?;
            let is_marked = route.communities.iter().any(|known| known == community);
            match is_marked && (asn != 65001 || route.local_pref == Some(0)) {
                true => Ok(()),
                false => Err(format!("{route:?}")),
            }
        });
        let row = daemon.peer(ROUTER_V4).unwrap();
        assert_eq!(
            (&row["state"], &row["drain"]),
            (&"established".into(), &"draining".into())
        );
        assert_eq!(drain.join().unwrap().unwrap()["peers"], 1);
    });
    router.wait_for(&[]);
    let row = daemon.peer(ROUTER_V4).unwrap();
    assert_eq!(
        (&row["state"], &row["drain"]),
        (&"idle".into(), &"drained".into())
    );
    assert_eq!(daemon.ask(&["undrain"]).unwrap()["peers"], 1);
    let table = router.wait_for(&[POLICY]);
    assert_eq!(table[POLICY].communities, [""; 0]);
}

/// Who connects from a prefix is kept out by its address, whether or not it is there when it is
/// drained, and whichever shard it would live on.
#[test]
fn who_would_connect_from_a_prefix_is_drained_by_its_address() {
    let addresses = Addresses::new();
    let range = format!(
        "peerPrefix: {}/24, peerASN: {PEER_ASN}, nextHop: {{ipv4: 192.0.2.5}}",
        addresses.host(0)
    );
    let config = config(RINGBGP_ASN, &addresses.options(), &[range]);
    let manifests = [
        ("config.yaml", &*config),
        ("policy.yaml", &*policy("ours", &[POLICY])),
    ];
    let daemon = Daemon::start(None, &manifests);
    let mut there = Peer::establish(addresses, 10);
    there.wait_for_prefixes(&[POLICY]);
    for number in 10..14 {
        let address = addresses.host(number).to_string();
        let drained = daemon.ask(&["drain", &address, "--wait", "0s"]).unwrap();
        assert_eq!(drained["peers"], 1);
        let row = daemon.peer(&address).unwrap();
        assert_eq!(
            (&row["state"], &row["drain"]),
            (&"idle".into(), &"drained".into())
        );
    }
    there.wait_for_end();
    assert_eq!(daemon.ask(&["peers"]).unwrap().as_array().unwrap().len(), 4);
    let mut late = Peer::connect(addresses, 11);
    let End::Notification(refusal) = late.wait_for_end() else {
        panic!("closed without a word");
    };
    assert_eq!((refusal.code, refusal.subcode), (6, 5));
    let address = addresses.host(11).to_string();
    assert_eq!(daemon.ask(&["undrain", &address]).unwrap()["peers"], 1);
    let again = daemon.ask(&["undrain", &address]);
    assert!(again.is_err_and(|error| error.contains("is not drained")));
    Peer::establish(addresses, 11).wait_for_prefixes(&[POLICY]);
    assert_eq!(daemon.ask(&["undrain"]).unwrap()["peers"], 3);
    let elsewhere = daemon.ask(&["drain", "192.0.2.77"]);
    assert!(elsewhere.is_err_and(|error| error.contains("is not a neighbor")));
}

// RFC-SHOWN 8326 §4.2
// INTEROP frr: graceful shutdown out
#[test]
fn frr_hears_of_a_drain_before_the_session_goes() {
    drained(RouterKind::Frr, 65002, "graceful-shutdown");
    drained(RouterKind::Frr, 65001, "graceful-shutdown");
}

// INTEROP bird: graceful shutdown out
#[test]
fn bird_hears_of_a_drain_before_the_session_goes() {
    drained(RouterKind::Bird, 65002, "65535:0");
    drained(RouterKind::Bird, 65001, "65535:0");
}

// INTEROP gobgp: graceful shutdown out
#[test]
fn gobgp_hears_of_a_drain_before_the_session_goes() {
    drained(RouterKind::Gobgp, 65002, "65535:0");
}

// INTEROP openbgpd: graceful shutdown out
#[test]
fn openbgpd_hears_of_a_drain_before_the_session_goes() {
    drained(RouterKind::Openbgpd, 65002, "GRACEFUL_SHUTDOWN");
}

// INTEROP exabgp: graceful shutdown out
#[test]
fn exabgp_hears_of_a_drain_before_the_session_goes() {
    drained(RouterKind::Exabgp, 65002, "65535:0");
}

/// What a router outside is about to take back is the last choice.
fn shutting_down(kind: RouterKind) {
    let Some(lab) = Lab::for_routers(&[kind]) else {
        return;
    };
    let announced = "192.168.100.0/24";
    let spec = RouterSpec {
        announce: vec![announced],
        communities: Some(["65535:0", "65010:1:2", "65010:3"]),
        ..RouterSpec::new(65002, 65001)
    };
    let _router = kind.start(&lab, &spec);
    let config = config(65001, "", &[neighbor(ROUTER_V4, 65002, "import: all")]);
    let daemon = Daemon::start(Some(&lab.node), &[("config.yaml", &config)]);
    eventually("the route is the last choice", || {
        let routes = daemon.ask(&["routes", "available", announced])?;
        match routes[0]["localPref"] == 0 {
            true => Ok(()),
            false => Err(routes.to_string()),
        }
    });
}

// INTEROP bird, frr, gobgp, openbgpd, exabgp: graceful shutdown in
#[test]
fn routers_that_shut_down_are_the_last_choice() {
    for kind in [
        RouterKind::Bird,
        RouterKind::Frr,
        RouterKind::Gobgp,
        RouterKind::Openbgpd,
        RouterKind::Exabgp,
    ] {
        shutting_down(kind);
    }
}
