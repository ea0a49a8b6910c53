//! Changes while sessions stand: only what changed is told, and only who must is reset.

use codec::notification::cease;
use codec::{FamilySet, notification};

use crate::daemon::{Daemon, config, policy};
use crate::scripted::{Addresses, End, Peer, RINGBGP_ASN};

const PREFIX: &str = "10.0.1.0/24";

fn settings(addresses: Addresses, options: &str, peers: &[u8]) -> String {
    let neighbors: Vec<String> = peers
        .iter()
        .map(|number| addresses.neighbor(*number, ""))
        .collect();
    config(RINGBGP_ASN, &(addresses.options() + options), &neighbors)
}

fn daemon(addresses: Addresses, options: &str, peers: &[u8]) -> Daemon<'static> {
    Daemon::start(
        None,
        &[
            ("config.yaml", &settings(addresses, options, peers)),
            ("policy.yaml", &policy("first", &[PREFIX])),
        ],
    )
}

fn cease_subcode(peer: &mut Peer) -> u8 {
    match peer.wait_for_end() {
        End::Notification(notification) => {
            assert_eq!(notification.code, notification::CEASE, "{notification}");
            notification.subcode
        }
        End::Closed => panic!("closed without a NOTIFICATION"),
    }
}

#[test]
fn a_peer_is_added_and_another_removed() {
    let addresses = Addresses::new();
    let daemon = daemon(addresses, "", &[10]);
    let mut first = Peer::establish(addresses, 10);
    first.wait_for_prefixes(&[PREFIX]);

    daemon.write("config.yaml", &settings(addresses, "", &[10, 11]));
    let mut second = Peer::establish(addresses, 11);
    second.wait_for_prefixes(&[PREFIX]);
    second.wait_for("End-of-RIB", |peer| peer.end_of_rib == FamilySet::ALL);

    daemon.write("config.yaml", &settings(addresses, "", &[11]));
    assert_eq!(cease_subcode(&mut first), cease::PEER_DECONFIGURED);
    daemon.write("policy.yaml", &policy("first", &[PREFIX, "10.0.2.0/24"]));
    second.wait_for_prefixes(&[PREFIX, "10.0.2.0/24"]);
    assert_eq!(second.updates, 2, "nobody is told a thing twice");
}

#[test]
fn an_edited_policy_sends_the_difference_alone() {
    let addresses = Addresses::new();
    let daemon = daemon(addresses, "", &[10]);
    let mut peer = Peer::establish(addresses, 10);
    peer.wait_for_prefixes(&[PREFIX]);
    let before = peer.updates;

    daemon.write("policy.yaml", &policy("first", &[PREFIX, "10.0.2.0/24"]));
    peer.wait_for_prefixes(&[PREFIX, "10.0.2.0/24"]);
    assert_eq!(peer.updates, before + 1);
    daemon.write("policy.yaml", &policy("first", &["10.0.2.0/24"]));
    peer.wait_for_prefixes(&["10.0.2.0/24"]);
    assert_eq!(peer.updates, before + 2);

    // A second owner of a prefix changes nothing, nor does the going of one of two owners.
    daemon.write("second.yaml", &policy("second", &["10.0.2.0/24"]));
    daemon.write("third.yaml", &policy("third", &["10.0.3.0/24"]));
    peer.wait_for_prefixes(&["10.0.2.0/24", "10.0.3.0/24"]);
    daemon.remove("policy.yaml");
    daemon.write("third.yaml", &policy("third", &["10.0.4.0/24"]));
    peer.wait_for_prefixes(&["10.0.2.0/24", "10.0.4.0/24"]);
    assert!(!peer.withdrawn.contains("10.0.2.0/24"));
    daemon.remove("second.yaml");
    peer.wait_for_prefixes(&["10.0.4.0/24"]);
}

#[test]
fn attributes_change_without_a_reset_or_a_withdrawal() {
    let addresses = Addresses::new();
    let daemon = daemon(addresses, "", &[10]);
    let mut peer = Peer::establish(addresses, 10);
    peer.wait_for_prefixes(&[PREFIX]);
    let options = "    advertise: {attributes: {communities: {standard: [\"65001:7\"]}}}\n";
    daemon.write("config.yaml", &settings(addresses, options, &[10]));
    peer.wait_for("the community", |peer| {
        peer.table
            .get(PREFIX)
            .is_some_and(|communities| *communities == [65001 << 16 | 7])
    });
    assert!(peer.withdrawn.is_empty(), "{:?}", peer.withdrawn);
}

#[test]
fn switched_off_and_on_again() {
    let addresses = Addresses::new();
    let daemon = daemon(addresses, "", &[10]);
    let mut peer = Peer::establish(addresses, 10);
    peer.wait_for_prefixes(&[PREFIX]);
    let off = settings(addresses, "    enabled: false\n", &[10]);
    daemon.write("config.yaml", &off);
    assert_eq!(cease_subcode(&mut peer), cease::ADMINISTRATIVE_SHUTDOWN);
    daemon.write("config.yaml", &settings(addresses, "", &[10]));
    let mut peer = Peer::establish(addresses, 10);
    peer.wait_for_prefixes(&[PREFIX]);
}

#[test]
fn a_reset_by_command() {
    let addresses = Addresses::new();
    let daemon = daemon(addresses, "", &[10, 11]);
    let mut first = Peer::establish(addresses, 10);
    let mut second = Peer::establish(addresses, 11);
    first.wait_for_prefixes(&[PREFIX]);
    second.wait_for_prefixes(&[PREFIX]);
    let address = addresses.host(10).to_string();
    daemon.ask(&["reset", &address]).expect("the peer is reset");
    assert_eq!(cease_subcode(&mut first), cease::ADMINISTRATIVE_RESET);
    let mut first = Peer::establish(addresses, 10);
    first.wait_for_prefixes(&[PREFIX]);
    daemon.write("policy.yaml", &policy("first", &["10.0.2.0/24"]));
    second.wait_for_prefixes(&["10.0.2.0/24"]);
}

#[test]
fn a_daemon_that_is_told_to_end_says_goodbye() {
    let addresses = Addresses::new();
    let mut daemon = daemon(addresses, "", &[10]);
    let mut peer = Peer::establish(addresses, 10);
    peer.wait_for_prefixes(&[PREFIX]);
    assert_eq!(daemon.terminate(), Some(0));
    assert_eq!(cease_subcode(&mut peer), cease::ADMINISTRATIVE_SHUTDOWN);
}
