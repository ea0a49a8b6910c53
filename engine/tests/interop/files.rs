//! Files and directories that misbehave under a running daemon: nothing is withdrawn for it.

use std::fs::{self, File};
use std::io::Write;

use crate::daemon::{Daemon, config, policy};
use crate::scripted::{Addresses, Peer, RINGBGP_ASN};

const PREFIX: &str = "10.0.1.0/24";
const SENTINEL: &str = "10.0.2.0/24";
const PEER: u8 = 10;

/// A daemon that announces one policy to one scripted peer.
fn daemon_with_a_policy() -> (Daemon<'static>, Addresses, Peer) {
    let addresses = Addresses::new();
    let config = config(
        RINGBGP_ASN,
        &addresses.options(),
        &[addresses.neighbor(PEER, "")],
    );
    let daemon = Daemon::start(
        None,
        &[
            ("config.yaml", &config),
            ("policy.yaml", &policy("first", &[PREFIX])),
        ],
    );
    let mut peer = Peer::establish(addresses, PEER);
    peer.wait_for_prefixes(&[PREFIX]);
    (daemon, addresses, peer)
}

/// A later change arrives, and nothing was withdrawn before it.
fn nothing_was_withdrawn(daemon: &Daemon<'_>, peer: &mut Peer) {
    daemon.write("sentinel.yaml", &policy("sentinel", &[SENTINEL]));
    peer.wait_for(&format!("the peer holds {SENTINEL}"), |peer| {
        peer.table.contains_key(SENTINEL)
    });
    assert!(peer.withdrawn.is_empty(), "{:?}", peer.withdrawn);
    assert!(peer.table.contains_key(PREFIX));
}

#[test]
fn a_directory_that_vanishes_and_comes_back() {
    let (daemon, _, mut peer) = daemon_with_a_policy();
    let away = daemon.manifests().with_extension("away");
    fs::rename(daemon.manifests(), &away).expect("the directory is moved away");
    daemon.wait_for_prefixes(&["routes", "available"], &[PREFIX]);
    fs::rename(&away, daemon.manifests()).expect("the directory is moved back");
    nothing_was_withdrawn(&daemon, &mut peer);
}

#[test]
fn a_directory_that_is_deleted_and_made_again() {
    let (daemon, _, mut peer) = daemon_with_a_policy();
    let files: Vec<(String, String)> = ["config.yaml", "policy.yaml"]
        .map(|name| {
            let text = fs::read_to_string(daemon.manifests().join(name));
            (name.to_owned(), text.expect("a manifest is read"))
        })
        .into();
    fs::remove_dir_all(daemon.manifests()).expect("the directory is deleted");
    daemon.wait_for_prefixes(&["routes", "available"], &[PREFIX]);
    fs::create_dir(daemon.manifests()).expect("the directory is made again");
    for (name, text) in &files {
        daemon.write(name, text);
    }
    nothing_was_withdrawn(&daemon, &mut peer);
}

#[test]
fn a_file_that_is_truncated_and_written_again() {
    let (daemon, _, mut peer) = daemon_with_a_policy();
    daemon.write("policy.yaml", "");
    nothing_was_withdrawn(&daemon, &mut peer);
    // Written again it is in force as it stands.
    daemon.write("policy.yaml", &policy("first", &["10.0.3.0/24"]));
    peer.wait_for_prefixes(&["10.0.3.0/24", SENTINEL]);
}

#[test]
fn a_file_that_is_half_written() {
    let (daemon, _, mut peer) = daemon_with_a_policy();
    let text = policy("first", &[PREFIX, "10.0.3.0/24"]);
    let (half, rest) = text.split_at(text.find("egress").expect("a policy has egress rules"));
    let mut file = File::create(daemon.manifests().join("policy.yaml")).expect("it is opened");
    file.write_all(half.as_bytes()).expect("half is written");
    file.flush().expect("half is on its way");
    nothing_was_withdrawn(&daemon, &mut peer);
    file.write_all(rest.as_bytes())
        .expect("the rest is written");
    drop(file);
    peer.wait_for_prefixes(&[PREFIX, "10.0.3.0/24", SENTINEL]);
    assert!(peer.withdrawn.is_empty(), "{:?}", peer.withdrawn);
}

#[test]
fn a_file_that_no_longer_parses() {
    let (daemon, _, mut peer) = daemon_with_a_policy();
    daemon.write("policy.yaml", "apiVersion: cilium.io/v2\nkind: [\n");
    nothing_was_withdrawn(&daemon, &mut peer);
    assert!(
        daemon.log().contains("policy.yaml"),
        "the log names the file"
    );
}

#[test]
fn the_settings_are_broken_and_mended() {
    let (daemon, addresses, mut peer) = daemon_with_a_policy();
    let broken = config(
        RINGBGP_ASN,
        &addresses.options(),
        &[addresses.neighbor(PEER, "hodlTime: 3")],
    );
    daemon.write("config.yaml", &broken);
    nothing_was_withdrawn(&daemon, &mut peer);
    assert!(daemon.log().contains("hodlTime"), "the log names the field");
    fs::remove_file(daemon.manifests().join("config.yaml")).expect("it is deleted");
    // Only `enabled: false` switches off: without any settings the last ones stay.
    daemon.write("third.yaml", &policy("third", &["10.0.3.0/24"]));
    peer.wait_for_prefixes(&[PREFIX, SENTINEL, "10.0.3.0/24"]);
}

#[test]
fn a_crash_loses_nothing() {
    let (mut daemon, addresses, mut peer) = daemon_with_a_policy();
    daemon.write(
        "second.yaml",
        &policy("second", &["10.0.3.0/24", "2001:db8:1::/48"]),
    );
    let all = [PREFIX, "10.0.3.0/24", "2001:db8:1::/48"];
    peer.wait_for_prefixes(&all);
    daemon.crash_and_restart();
    peer.wait_for_end();
    let mut peer = Peer::establish(addresses, PEER);
    peer.wait_for_prefixes(&all);
}
