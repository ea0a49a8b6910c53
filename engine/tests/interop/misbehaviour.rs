//! Peers that send what no peer should: the right NOTIFICATION, a word to the operator, and every
//! other session as it was.

use std::net::Ipv4Addr;

use codec::Family;
use codec::notification::{self, cease, message_header, open};

use crate::daemon::{Daemon, config, policy};
use crate::process::eventually;
use crate::scripted::{Addresses, End, PEER_ASN, Peer, RINGBGP_ASN};

const PREFIX: &str = "10.0.1.0/24";
const SENTINEL: &str = "10.0.2.0/24";
/// The number of the peer that behaves.
const GOOD: u8 = 10;
/// The number of the peer that does not.
const BAD: u8 = 11;

/// A daemon with a good session; the bad neighbor has these options.
fn daemon_with_a_good_session(bad: &str) -> (Daemon<'static>, Addresses, Peer) {
    let addresses = Addresses::new();
    let config = config(
        RINGBGP_ASN,
        &addresses.options(),
        &[addresses.neighbor(GOOD, ""), addresses.neighbor(BAD, bad)],
    );
    let daemon = Daemon::start(
        None,
        &[
            ("config.yaml", &config),
            ("policy.yaml", &policy("first", &[PREFIX])),
        ],
    );
    let mut good = Peer::establish(addresses, GOOD);
    good.wait_for_prefixes(&[PREFIX]);
    (daemon, addresses, good)
}

/// The bad peer's session ended with this NOTIFICATION, the daemon says one of these words about
/// it, and the good session goes on.
fn expect(
    (daemon, addresses, mut good): (Daemon<'_>, Addresses, Peer),
    mut bad: Peer,
    (code, subcode): (u8, u8),
    words: &[&str],
) {
    match bad.wait_for_end() {
        End::Notification(notification) => {
            let sent = (notification.code, notification.subcode);
            assert_eq!(sent, (code, subcode), "{notification}");
        }
        End::Closed => panic!("closed without a NOTIFICATION"),
    }
    let address = addresses.host(BAD).to_string();
    let error = daemon.wait_for_error(&address, words);
    assert!(
        daemon.log().contains(&address),
        "the log names the peer: {error}"
    );
    // The good session stands and learns what is new.
    daemon.write("sentinel.yaml", &policy("sentinel", &[SENTINEL]));
    good.wait_for_prefixes(&[PREFIX, SENTINEL]);
    assert!(good.withdrawn.is_empty(), "{:?}", good.withdrawn);
}

// INTEROP scripted: nonsense in
#[test]
fn a_wrong_as() {
    let scene = daemon_with_a_good_session("");
    let mut bad = Peer::connect(scene.1, BAD);
    bad.send_open(PEER_ASN + 1, scene.1.host(BAD), 90);
    let verdict = (notification::OPEN, open::BAD_PEER_AS);
    expect(scene, bad, verdict, &["peerASN", "AS 65003"]);
}

// INTEROP scripted: nonsense in
#[test]
fn garbage_in_place_of_an_open() {
    let scene = daemon_with_a_good_session("");
    let mut bad = Peer::connect(scene.1, BAD);
    bad.send(b"GET / HTTP/1.1\r\nHost: ringbgp.example\r\nAccept: */*\r\n\r\n");
    let verdict = (
        notification::MESSAGE_HEADER,
        message_header::NOT_SYNCHRONIZED,
    );
    expect(scene, bad, verdict, &["no BGP message"]);
}

// INTEROP scripted: nonsense in
#[test]
fn garbage_in_a_session_that_stands() {
    let scene = daemon_with_a_good_session("");
    let mut bad = Peer::establish(scene.1, BAD);
    bad.wait_for_prefixes(&[PREFIX]);
    bad.send(&[0; 64]);
    let verdict = (
        notification::MESSAGE_HEADER,
        message_header::NOT_SYNCHRONIZED,
    );
    expect(scene, bad, verdict, &["no BGP message"]);
}

// INTEROP scripted: nonsense in
#[test]
fn half_a_message_for_ever_in_a_session_that_stands() {
    let scene = daemon_with_a_good_session("");
    let mut bad = Peer::establish_with(scene.1, BAD, 3);
    bad.wait_for_prefixes(&[PREFIX]);
    // The header of an UPDATE of 100 octets, and no more.
    let mut half = [0xff; 19];
    half[16..].copy_from_slice(&[0, 100, 2]);
    bad.send(&half);
    let verdict = (notification::HOLD_TIMER_EXPIRED, 0);
    expect(scene, bad, verdict, &["hold", "Hold"]);
}

// INTEROP scripted: nonsense in
#[test]
fn half_an_open_for_ever() {
    let scene = daemon_with_a_good_session("timers: {openTimeSeconds: 3}");
    let mut bad = Peer::connect(scene.1, BAD);
    let mut half = [0xff; 19];
    half[16..].copy_from_slice(&[0, 29, 1]);
    bad.send(&half);
    let verdict = (notification::HOLD_TIMER_EXPIRED, 0);
    expect(scene, bad, verdict, &["hold", "Hold", "OPEN"]);
}

// INTEROP scripted: nonsense in
#[test]
fn an_update_that_cannot_be_read() {
    let scene = daemon_with_a_good_session("");
    let mut bad = Peer::establish(scene.1, BAD);
    bad.wait_for_prefixes(&[PREFIX]);
    // Withdrawn routes that are longer than the message (RFC 4271 §6.3: Malformed Attribute List).
    let mut update = vec![0xff; 16];
    update.extend_from_slice(&[0, 23, 2, 0, 9, 0, 0]);
    bad.send(&update);
    let verdict = (
        notification::UPDATE,
        notification::update::MALFORMED_ATTRIBUTE_LIST,
    );
    expect(scene, bad, verdict, &["UPDATE", "route"]);
}

#[test]
fn a_second_connection_of_a_session_that_stands() {
    let scene = daemon_with_a_good_session("");
    let mut bad = Peer::establish(scene.1, BAD);
    bad.wait_for_prefixes(&[PREFIX]);
    let mut second = Peer::connect(scene.1, BAD);
    second.send_open(PEER_ASN, scene.1.host(BAD), 90);
    match second.wait_for_end() {
        End::Notification(notification) => {
            let sent = (notification.code, notification.subcode);
            assert_eq!(sent, (notification::CEASE, cease::CONNECTION_COLLISION));
        }
        End::Closed => {}
    }
    // RFC 4271 §6.8: the session that stands is untouched.
    scene
        .0
        .write("sentinel.yaml", &policy("sentinel", &[SENTINEL]));
    bad.wait_for_prefixes(&[PREFIX, SENTINEL]);
}

#[test]
fn a_stranger_is_turned_away() {
    let (daemon, addresses, mut good) = daemon_with_a_good_session("");
    let mut stranger = Peer::connect(addresses, 99);
    stranger.send_open(PEER_ASN, addresses.host(99), 90);
    match stranger.wait_for_end() {
        End::Notification(notification) => assert_eq!(notification.code, notification::CEASE),
        End::Closed => {}
    }
    daemon.write("sentinel.yaml", &policy("sentinel", &[SENTINEL]));
    good.wait_for_prefixes(&[PREFIX, SENTINEL]);
}

// RFC-SHOWN 9687 §3
// INTEROP scripted: send hold out
#[test]
fn who_stops_reading_is_told_so_and_dropped() {
    let scene = daemon_with_a_good_session(
        "timers: {holdTimeSeconds: 3, keepAliveTimeSeconds: 1, sendHoldTimeSeconds: 4}",
    );
    let (daemon, addresses, _good) = &scene;
    let mut bad = Peer::connect_by(*addresses, BAD, |socket| {
        socket.set_tcp_mss(536)?;
        socket.set_recv_buffer_size(32 << 10)
    });
    bad.send_open(PEER_ASN, addresses.host(BAD), 3);
    bad.wait_established();
    let many: Vec<String> = (0..60_000u32)
        .map(|n| format!("{}/32", Ipv4Addr::from(0x0a80_0000 + n)))
        .collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    daemon.write("many.yaml", &policy("many", &many));
    let words = "Send Hold Timer Expired";
    eventually("the daemon gives up", || {
        bad.send_keepalive();
        // More than the buffers between the two hold.
        bad.send_refresh(Family::Ipv4Unicast);
        let log = daemon.log();
        log.contains(words).then_some(()).ok_or(log)
    });
    // It is told if it reads on at once, else the connection is reset.
    match bad.wait_for_end() {
        End::Notification(notification) => {
            assert_eq!(notification.code, notification::SEND_HOLD_TIMER_EXPIRED);
        }
        End::Closed => panic!("closed without a NOTIFICATION"),
    }
    daemon.wait_for_error(&addresses.host(BAD).to_string(), &[words]);
}

#[test]
fn a_stranger_is_turned_away_and_named_once() {
    let (daemon, addresses, mut good) = daemon_with_a_good_session("");
    let address = addresses.host(77);
    for _ in 0..3 {
        assert_eq!(Peer::connect(addresses, 77).wait_for_end(), End::Closed);
    }
    let words = format!("closed a connection from {address}: no neighbor has this address");
    eventually("the stranger is named", || {
        match daemon.log().matches(&words).count() {
            1 => Ok(()),
            count => Err(format!("{count} times")),
        }
    });
    daemon.write("second.yaml", &policy("second", &[SENTINEL]));
    good.wait_for_prefixes(&[PREFIX, SENTINEL]);
}
