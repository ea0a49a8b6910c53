//! Recorded dumps, made here or public, through the relay and through BIRD.

use std::io::Write;
use std::path::{Path, PathBuf};

use crate::support::{Bird, BirdOptions, Relay, json, run, skipped};

/// An MRT record (RFC 6396 §2).
fn record(kind: u16, subtype: u16, body: &[u8]) -> Vec<u8> {
    let mut octets = vec![0; 4];
    octets.extend_from_slice(&kind.to_be_bytes());
    octets.extend_from_slice(&subtype.to_be_bytes());
    octets.extend_from_slice(&(body.len() as u32).to_be_bytes());
    octets.extend_from_slice(body);
    octets
}

/// Peers 0 and 1: 20.0.0.1 in AS 64601, 20.0.0.2 in AS 64602.
fn peer_table() -> Vec<u8> {
    let mut body = vec![0; 6];
    body.extend_from_slice(&[0, 2]);
    for peer in [1, 2] {
        body.extend_from_slice(&[2, 0, 0, 0, peer, 20, 0, 0, peer]);
        body.extend_from_slice(&(64_600 + u32::from(peer)).to_be_bytes());
    }
    record(13, 1, &body)
}

/// ORIGIN IGP and a path of four-octet AS numbers.
fn attributes(path: &[u32]) -> Vec<u8> {
    let mut octets = vec![0x40, 1, 1, 0, 0x40, 2];
    octets.extend_from_slice(&[(2 + 4 * path.len()) as u8, 2, path.len() as u8]);
    path.iter()
        .for_each(|asn| octets.extend_from_slice(&asn.to_be_bytes()));
    octets.extend_from_slice(&[0x40, 3, 4, 20, 0, 0, 1]);
    octets
}

/// A route of 30.N.0.0/16 from each of the peers that are named.
fn table(number: u8, routes: &[(u16, &[u32])]) -> Vec<u8> {
    let mut body = vec![0, 0, 0, number, 16, 30, number];
    body.extend_from_slice(&(routes.len() as u16).to_be_bytes());
    for (peer, path) in routes {
        let attributes = attributes(path);
        body.extend_from_slice(&peer.to_be_bytes());
        body.extend_from_slice(&[0; 4]);
        body.extend_from_slice(&(attributes.len() as u16).to_be_bytes());
        body.extend_from_slice(&attributes);
    }
    record(13, 2, &body)
}

/// An UPDATE of the first peer that withdraws 30.1.0.0/16 and announces 30.9.0.0/16.
fn update() -> Vec<u8> {
    let attributes = attributes(&[64_601, 5]);
    let mut inside = vec![0, 3, 16, 30, 1];
    inside.extend_from_slice(&(attributes.len() as u16).to_be_bytes());
    inside.extend_from_slice(&attributes);
    inside.extend_from_slice(&[16, 30, 9]);
    let mut body = Vec::new();
    body.extend_from_slice(&64_601u32.to_be_bytes());
    body.extend_from_slice(&65_000u32.to_be_bytes());
    body.extend_from_slice(&[0, 0, 0, 1, 20, 0, 0, 1, 20, 0, 0, 9]);
    body.extend_from_slice(&[0xff; 16]);
    body.extend_from_slice(&((19 + inside.len()) as u16).to_be_bytes());
    body.push(2);
    body.extend_from_slice(&inside);
    record(16, 4, &body)
}

fn dump() -> Vec<Vec<u8>> {
    vec![
        peer_table(),
        table(1, &[(0, &[64_601, 3])]),
        table(2, &[(0, &[64_601, 3]), (1, &[64_602, 4, 3])]),
        update(),
    ]
}

fn file(octets: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(octets).expect("it takes the dump");
    file
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn a_dump_is_said_again() {
    let file = file(&dump().concat());
    let file = shown(file.path());
    let neighbors = run(&format!("neighbors replay {file}"));
    let neighbors = String::from_utf8(neighbors.stdout).expect("text");
    assert_eq!(neighbors.lines().count(), 3, "{neighbors}");
    let options = BirdOptions {
        session: "",
        channel: "next hop self;",
    };
    if let Some(bird) = Bird::start(&format!("replay {file}"), options) {
        let target = &bird.address;
        let output = run(&format!("replay {file} --verify --json --target {target}"));
        assert!(output.status.success(), "{output:?}");
        assert_eq!(json(&output)["verified"], true);
    }
}

#[test]
fn a_damaged_dump_is_used_up_to_the_damage_if_that_is_asked_for() {
    let parts = dump();
    let whole = parts.concat();
    let second = parts[0].len() + parts[1].len();
    let file = file(&whole[..second + 20]);
    let file = shown(file.path());
    let relay = Relay::start();
    let arguments = format!("replay {file} --json --target {}", relay.address);

    let output = run(&arguments);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    let place = format!("record 3 at octet {second}");
    assert!(
        words.contains(&place) && words.contains("--lenient"),
        "{words}"
    );

    let output = run(&format!("{arguments} --lenient"));
    assert!(output.status.success(), "{output:?}");
    assert_eq!(json(&output)["receivers"]["nlri"], 1);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        words.contains("the 2 records before it are used"),
        "{words}"
    );
}

#[test]
fn a_message_whose_lengths_lie_is_a_damaged_record() {
    let parts = dump();
    let whole = parts.concat();
    let last = whole.len() - parts.last().map_or(0, Vec::len);
    // The message inside the record: its marker, length and type, and how long what it withdraws is.
    let message = last + 12 + 20;
    for damaged in [message + 16, message + 18, message + 19] {
        let mut octets = whole.clone();
        octets[damaged] = 0xee;
        let file = file(&octets);
        let relay = Relay::start();
        let arguments = format!("replay {} --target {}", shown(file.path()), relay.address);

        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        let place = format!("record {} at octet {last}", parts.len());
        assert!(words.contains(&place), "{words}");

        let output = run(&format!("{arguments} --lenient"));
        assert!(output.status.success(), "{output:?}");
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            words.contains(&format!("{} records:", parts.len() - 1)),
            "{words}"
        );
    }
}

/// Its lengths are right, so what follows can be read; what it said is not known.
#[test]
fn a_message_with_another_marker_is_counted_as_left_out() {
    let mut parts = dump();
    let last = parts.last_mut().expect("an UPDATE");
    last[12 + 20] = 0xee;
    let file = file(&parts.concat());
    let relay = Relay::start();
    let target = &relay.address;
    let output = run(&format!("replay {} --target {target}", shown(file.path())));
    assert!(output.status.success(), "{output:?}");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(words.contains("1 routes are left out"), "{words}");
}

#[test]
fn what_is_no_dump_is_refused_in_words() {
    for (octets, words) in [
        (&b"no dump at all, but some text"[..], "record 1 at octet 0"),
        (&peer_table()[..], "hold no routes of ipv4/unicast"),
    ] {
        let file = file(octets);
        let output = run(&format!("replay {}", shown(file.path())));
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(words), "{said}");
    }
    let output = run("replay /nowhere/at/all");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn public_dumps_go_through_bird_as_they_should() {
    let Some(root) = std::env::var_os("RINGBGP_TEST_DATA") else {
        return skipped("RINGBGP_TEST_DATA is not set").unwrap_or_default();
    };
    let options = BirdOptions {
        session: "",
        channel: "next hop self;",
    };
    for name in [
        "updates.20160811.1600.gz",
        "rrc15.updates.20100227.1600.gz",
        "updates.20070211.0141.gz",
    ] {
        let file = shown(&PathBuf::from(&root).join("mrt").join(name));
        let Some(bird) = Bird::start(&format!("replay {file}"), options) else {
            return;
        };
        let target = &bird.address;
        let output = run(&format!("replay {file} --verify --json --target {target}"));
        assert!(output.status.success(), "{name}: {output:?}");
        assert_eq!(json(&output)["verified"], true, "{name}");
    }
}
