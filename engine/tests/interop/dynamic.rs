//! Neighbors by prefix: whoever connects from it, signed with the prefix's key, up to a number.

use crate::daemon::{Daemon, config, neighbor, policy, secret};
use crate::lab::{Lab, ROUTER_V4, ROUTER_V6, SECOND_ROUTER_V4};
use crate::process::eventually;
use crate::router::{Over, RouterKind, RouterSpec};

const POLICY: &str = "10.0.1.0/24";

fn range(prefix: &str, more: &str) -> String {
    format!(
        "peerPrefix: \"{prefix}\", peerASN: external, import: all, authSecretRef: bgp-auth{more}"
    )
}

fn manifests(options: &str, neighbors: &[String]) -> [(&'static str, String); 3] {
    [
        ("config.yaml", config(65001, options, neighbors)),
        ("policy.yaml", policy("dynamic", &[POLICY])),
        ("secret.yaml", secret("bgp-auth", "of-all")),
    ]
}

fn start<'lab>(lab: &'lab Lab, manifests: &[(&'static str, String); 3]) -> Daemon<'lab> {
    let manifests: Vec<(&str, &str)> = manifests
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    Daemon::start(Some(&lab.node), &manifests)
}

// INTEROP bird, frr: dynamic, md5
#[test]
fn routers_connect_from_a_signed_prefix_of_either_family() {
    let Some(lab) = Lab::for_routers(&[RouterKind::Frr, RouterKind::Bird]) else {
        return;
    };
    connect_from_a_signed_prefix(&lab, &[RouterKind::Frr, RouterKind::Bird]);
}

// INTEROP gobgp, openbgpd: dynamic in, md5
// INTEROP exabgp: dynamic in
#[test]
fn other_routers_connect_from_a_signed_prefix_of_either_family() {
    let kinds = [RouterKind::Gobgp, RouterKind::Openbgpd, RouterKind::Exabgp];
    let Some(lab) = Lab::for_routers(&kinds) else {
        return;
    };
    connect_from_a_signed_prefix(&lab, &kinds);
}

fn connect_from_a_signed_prefix(lab: &Lab, kinds: &[RouterKind]) {
    for kind in kinds {
        for (over, peer) in [(Over::Ipv4, ROUTER_V4), (Over::Ipv6, ROUTER_V6)] {
            let ranges = [range("10.0.0.0/24", ""), range("2001:db8::/64", "")];
            let daemon = start(lab, &manifests("", &ranges));
            assert_eq!(daemon.ask(&["peers"]), Ok(serde_json::json!([])));
            let announced = match over {
                Over::Ipv4 => "192.168.100.0/24",
                Over::Ipv6 => "2001:db8:100::/48",
            };
            let router = kind.start(
                lab,
                &RouterSpec {
                    over,
                    password: Some("of-all"),
                    announce: vec![announced],
                    ..RouterSpec::new(65002, 65001)
                },
            );
            let row = daemon.wait_established(peer);
            assert_eq!(row["peerASN"], 65002, "{row}");
            if over == Over::Ipv4 {
                router.wait_for(&[POLICY]);
            }
            daemon.wait_for_some_prefixes(&["routes", "received", "--peer", peer], &[announced]);
            drop(router);
            // Gone with its session: no row is left, and nothing of its routes.
            eventually("the peer is forgotten", || {
                match daemon.ask(&["peers"])? {
                    rows if rows == serde_json::json!([]) => Ok(()),
                    rows => Err(rows.to_string()),
                }
            });
            daemon.wait_for_prefixes(&["routes", "available"], &[POLICY]);
            let unknown = daemon.ask(&["routes", "received", "--peer", peer]);
            assert!(unknown.is_err_and(|error| error.contains("is not a neighbor")));
        }
    }
}

#[test]
fn the_key_of_an_address_and_the_bound_of_a_prefix_hold() {
    let Some(lab) = Lab::for_routers(&[RouterKind::Frr, RouterKind::Bird]) else {
        return;
    };
    let own =
        format!("peerAddress: {ROUTER_V4}, peerASN: 65002, passive: true, authSecretRef: of-one");
    // An address with a key of its own within the prefix, and room for one more peer.
    let mut files = manifests("", &[range("10.0.0.0/24", ", maxDynamicPeers: 1"), own]);
    files[2].1 += &format!("---\n{}", secret("of-one", "of-one"));
    let daemon = start(&lab, &files);
    let frr = RouterKind::Frr.start(
        &lab,
        &RouterSpec {
            password: Some("of-one"),
            ..RouterSpec::new(65002, 65001)
        },
    );
    let bird = RouterKind::Bird.start(
        &lab,
        &RouterSpec {
            second: true,
            password: Some("of-all"),
            ..RouterSpec::new(65003, 65001)
        },
    );
    daemon.wait_established(ROUTER_V4);
    daemon.wait_established(SECOND_ROUTER_V4);
    // Without its own neighbor the first router is one of the prefix, signed with another key.
    let (head, _) = files[0].1.split_once("    - {peerAddress").unwrap();
    daemon.write("config.yaml", head);
    eventually("only the dynamic peer is left", || {
        let rows = daemon.ask(&["peers"])?;
        match rows.as_array().map(Vec::len) {
            Some(1) => Ok(()),
            _ => Err(rows.to_string()),
        }
    });
    bird.wait_for(&[POLICY]);
    drop(frr);
}

/// Each knows us by a prefix, and waits for us to connect.
fn we_connect_to_who_knows_us_by_prefix(kind: RouterKind) {
    let Some(lab) = Lab::for_routers(&[kind]) else {
        return;
    };
    let spec = RouterSpec {
        by_prefix: true,
        announce: vec!["192.168.100.0/24"],
        ..RouterSpec::new(65002, 65001)
    };
    let router = kind.start(&lab, &spec);
    let config = config(65001, "", &[neighbor(ROUTER_V4, 65002, "import: all")]);
    let manifests = [
        ("config.yaml", &*config),
        ("policy.yaml", &*policy("dynamic", &[POLICY])),
    ];
    let daemon = Daemon::start(Some(&lab.node), &manifests);
    daemon.wait_established(ROUTER_V4);
    router.wait_for(&[POLICY]);
    let received = ["routes", "received", "--peer", ROUTER_V4];
    daemon.wait_for_some_prefixes(&received, &spec.announce);
}

// INTEROP gobgp: dynamic out
#[test]
fn we_connect_to_gobgp_which_knows_us_by_prefix() {
    we_connect_to_who_knows_us_by_prefix(RouterKind::Gobgp);
}

// INTEROP openbgpd: dynamic out
#[test]
fn we_connect_to_openbgpd_which_knows_us_by_prefix() {
    we_connect_to_who_knows_us_by_prefix(RouterKind::Openbgpd);
}

// INTEROP exabgp: dynamic out
#[test]
fn we_connect_to_exabgp_which_knows_us_by_prefix() {
    we_connect_to_who_knows_us_by_prefix(RouterKind::Exabgp);
}
