//! A table of FSM events: state, event, next state, what is done.

use codec::notification::{self as code, cease};
use codec::{Capability, Notification};

use super::scripted::{
    drain, hear, keepalive_bytes, notification_bytes, open_bytes, outgoing_in, peer_open,
    refresh_bytes, session_in, update_bytes,
};
use super::{at, config, local, seconds};
use crate::config::PeerAsn;
use crate::session::{Accept, ConnectFailure, Session, Slot, State};

use State::{Active, Connect, Established, Idle, OpenConfirm, OpenSent};

type Event = fn(&mut Session);

const START: Event = |s| s.handle_start(at(1));
const STOP: Event = |s| s.handle_stop(at(1), Notification::cease(cease::ADMINISTRATIVE_SHUTDOWN));
const RESET: Event = |s| s.handle_reset(at(1), Notification::cease(cease::ADMINISTRATIVE_RESET));
const CONNECTED: Event = |s| s.handle_connected(at(1), local());
const FAILED: Event = |s| s.handle_connect_failed(at(1), "connection refused");
const ACCEPTED: Event = |s| drop(s.handle_accepted(at(1), local()));
const CLOSED: Event = |s| s.handle_closed(at(1), Slot::Outgoing, "reset by peer");
const OPEN: Event = |s| {
    hear(s, at(1), Slot::Outgoing, &open_bytes(&peer_open()));
};
const KEEPALIVE: Event = |s| {
    hear(s, at(1), Slot::Outgoing, &keepalive_bytes());
};
const UPDATE: Event = |s| {
    hear(s, at(1), Slot::Outgoing, &update_bytes());
};
const REFRESH: Event = |s| {
    hear(s, at(1), Slot::Outgoing, &refresh_bytes(1));
};
const CEASE: Event = |s| {
    hear(s, at(1), Slot::Outgoing, &notification_bytes(6, 2));
};
const GARBAGE: Event = |s| {
    hear(s, at(1), Slot::Outgoing, &[0; 19]);
};
const LATER: Event = |s| s.handle_timeout(at(1000));

// RFC-SHOWN 4271 §8
// RFC-SHOWN 4271 §6.6
// RFC-SHOWN 6608 §4
// RFC-SHOWN 4271 §6.4
#[test]
fn every_event_in_every_state() {
    let table: &[(State, &str, Event, State, &[&str])] = &[
        (Idle, "start", START, Connect, &["connect"]),
        (Idle, "stop", STOP, Idle, &[]),
        (Idle, "accepted", ACCEPTED, Idle, &[]),
        (Idle, "connected", CONNECTED, Idle, &[]),
        (Idle, "timeout", LATER, Idle, &[]),
        (Connect, "start", START, Connect, &[]),
        (Connect, "stop", STOP, Idle, &["close Outgoing"]),
        (Connect, "reset", RESET, Active, &["close Outgoing"]),
        (
            Connect,
            "connected",
            CONNECTED,
            OpenSent,
            &["open to Outgoing"],
        ),
        (Connect, "failed", FAILED, Active, &[]),
        (
            Connect,
            "accepted",
            ACCEPTED,
            OpenSent,
            &["open to Incoming"],
        ),
        (
            Connect,
            "timeout",
            LATER,
            Connect,
            &["close Outgoing", "connect"],
        ),
        (Active, "stop", STOP, Idle, &[]),
        (
            Active,
            "accepted",
            ACCEPTED,
            OpenSent,
            &["open to Incoming"],
        ),
        (Active, "connected", CONNECTED, Active, &[]),
        (Active, "timeout", LATER, Connect, &["connect"]),
        (
            OpenSent,
            "stop",
            STOP,
            Idle,
            &["6/2 to Outgoing", "close Outgoing"],
        ),
        (
            OpenSent,
            "reset",
            RESET,
            Active,
            &["6/4 to Outgoing", "close Outgoing"],
        ),
        (
            OpenSent,
            "accepted",
            ACCEPTED,
            OpenSent,
            &["open to Incoming"],
        ),
        (OpenSent, "closed", CLOSED, Active, &[]),
        (
            OpenSent,
            "open",
            OPEN,
            OpenConfirm,
            &["keepalive to Outgoing"],
        ),
        (
            OpenSent,
            "keepalive",
            KEEPALIVE,
            Idle,
            &["5/1 to Outgoing", "close Outgoing"],
        ),
        (
            OpenSent,
            "update",
            UPDATE,
            Idle,
            &["5/1 to Outgoing", "close Outgoing"],
        ),
        (
            OpenSent,
            "refresh",
            REFRESH,
            Idle,
            &["5/1 to Outgoing", "close Outgoing"],
        ),
        (OpenSent, "notification", CEASE, Active, &["close Outgoing"]),
        (
            OpenSent,
            "garbage",
            GARBAGE,
            Idle,
            &["1/1 to Outgoing", "close Outgoing"],
        ),
        (
            OpenSent,
            "timeout",
            LATER,
            Active,
            &["4/0 to Outgoing", "close Outgoing"],
        ),
        (
            OpenConfirm,
            "stop",
            STOP,
            Idle,
            &["6/2 to Outgoing", "close Outgoing"],
        ),
        (OpenConfirm, "closed", CLOSED, Active, &[]),
        (
            OpenConfirm,
            "open",
            OPEN,
            Idle,
            &["5/2 to Outgoing", "close Outgoing"],
        ),
        (
            OpenConfirm,
            "keepalive",
            KEEPALIVE,
            Established,
            &["up Outgoing"],
        ),
        (
            OpenConfirm,
            "update",
            UPDATE,
            Idle,
            &["5/2 to Outgoing", "close Outgoing"],
        ),
        (
            OpenConfirm,
            "refresh",
            REFRESH,
            Idle,
            &["5/2 to Outgoing", "close Outgoing"],
        ),
        (
            OpenConfirm,
            "notification",
            CEASE,
            Active,
            &["close Outgoing"],
        ),
        (
            OpenConfirm,
            "timeout",
            LATER,
            Active,
            &["4/0 to Outgoing", "close Outgoing"],
        ),
        (Established, "start", START, Established, &[]),
        (
            Established,
            "stop",
            STOP,
            Idle,
            &["down", "6/2 to Outgoing", "close Outgoing"],
        ),
        (
            Established,
            "reset",
            RESET,
            Active,
            &["down", "6/4 to Outgoing", "close Outgoing"],
        ),
        (Established, "connected", CONNECTED, Established, &[]),
        (Established, "accepted", ACCEPTED, Established, &[]),
        (Established, "closed", CLOSED, Active, &["down"]),
        (
            Established,
            "open",
            OPEN,
            Idle,
            &["down", "5/3 to Outgoing", "close Outgoing"],
        ),
        (Established, "keepalive", KEEPALIVE, Established, &[]),
        (Established, "update", UPDATE, Established, &[]),
        (Established, "refresh", REFRESH, Established, &[]),
        (
            Established,
            "notification",
            CEASE,
            Active,
            &["down", "close Outgoing"],
        ),
        (
            Established,
            "garbage",
            GARBAGE,
            Idle,
            &["down", "1/1 to Outgoing", "close Outgoing"],
        ),
        (
            Established,
            "timeout",
            LATER,
            Active,
            &["down", "4/0 to Outgoing", "close Outgoing"],
        ),
    ];
    for (from, name, event, to, actions) in table {
        let mut session = outgoing_in(*from);
        event(&mut session);
        let mut done = drain(&mut session);
        // Event 9 after a hold expiry may find its retry due already.
        done.retain(|action| *name != "timeout" || *to != Active || action != "connect");
        assert_eq!(done, *actions, "{from:?}, {name}");
        if *name != "timeout" || session.state() != Connect {
            assert_eq!(session.state(), *to, "{from:?}, {name}");
        }
        session.audit();
    }
}

#[test]
fn a_passive_session_waits_for_the_peer() {
    let mut passive = config();
    passive.passive = true;
    let mut session = Session::new(passive, 1);
    session.handle_start(at(0));
    assert_eq!(session.state(), Active);
    assert_eq!(session.poll_timeout(), None);
    assert_eq!(session.handle_accepted(at(5), local()), Accept::Taken);
    assert_eq!(drain(&mut session), ["open to Incoming"]);
    session.handle_closed(at(6), Slot::Incoming, "end of stream");
    assert_eq!(session.state(), Active);
    assert_eq!(session.poll_timeout(), None);
}

#[test]
fn a_withheld_session_says_why_and_neither_dials_nor_accepts() {
    let mut withheld = config();
    withheld.withheld = Some("Secret kube-system/bgp-auth has no key password".into());
    let mut session = Session::new(withheld, 1);
    session.handle_start(at(0));
    assert_eq!(session.state(), Idle);
    assert!(drain(&mut session).is_empty());
    assert!(matches!(
        session.handle_accepted(at(1), local()),
        Accept::Refused(Some(_))
    ));
    assert_eq!(
        session.last_error(),
        Some("Secret kube-system/bgp-auth has no key password")
    );
    session.handle_config(at(2), config());
    assert_eq!(session.state(), Connect);
    assert_eq!(drain(&mut session), ["connect"]);
}

#[test]
fn a_key_that_goes_missing_stops_the_session_until_it_is_there_again() {
    let mut withheld = config();
    withheld.withheld = Some("the key is gone".into());
    let close = ["6/6 to Outgoing", "close Outgoing"];
    let cases: [(State, bool, &[&str]); 4] = [
        (Connect, false, &["close Outgoing"]),
        (OpenSent, true, &close),
        (OpenConfirm, true, &close),
        (
            Established,
            true,
            &["down", "6/6 to Outgoing", "close Outgoing"],
        ),
    ];
    for (from, reset, actions) in cases {
        let mut session = outgoing_in(from);
        let changed = session.handle_config(at(2), withheld.clone());
        assert_eq!(changed, reset, "{from:?}");
        assert_eq!(drain(&mut session), actions, "{from:?}");
        assert_eq!(session.state(), Idle, "{from:?}");
        assert_eq!(session.poll_timeout(), None, "{from:?}");
        assert_eq!(session.last_error(), Some("the key is gone"), "{from:?}");
        session.audit();
        assert!(matches!(
            session.handle_accepted(at(3), local()),
            Accept::Refused(Some(_))
        ));

        session.handle_config(at(4), config());
        assert_eq!(drain(&mut session), ["connect"], "{from:?}");
        // What fails now is said, not the key that is there again.
        session.handle_connect_failed(at(5), "connection refused");
        let words = session.last_error().unwrap();
        assert!(words.contains("connection refused"), "{words}");
        session.audit();
    }
}

#[test]
fn what_has_to_be_configured_outlives_a_closed_door_until_the_session_is_up() {
    let mut session = outgoing_in(OpenSent);
    session.handle_fault(
        at(1),
        Slot::Outgoing,
        Notification::new(code::OPEN, code::open::BAD_PEER_AS),
    );
    let words = session.last_error().unwrap().to_owned();
    drain(&mut session);
    session.handle_timeout(at(100));
    assert_eq!(drain(&mut session), ["connect"]);
    session.handle_connect_failed(at(101), "connection refused");
    assert_eq!(session.last_error(), Some(&*words));
    assert_eq!(session.last_error_at(), Some(at(1)));
    assert_eq!(outgoing_in(Established).last_error(), None);
}

#[test]
fn why_a_session_went_down_is_told_of_the_last_one_that_was_up() {
    let mut session = outgoing_in(Established);
    let shutdown = notification_bytes(code::CEASE, cease::ADMINISTRATIVE_SHUTDOWN);
    hear(&mut session, at(2), Slot::Outgoing, &shutdown);
    let said = session.last_error().unwrap().to_owned();
    drain(&mut session);
    let due = session.poll_timeout().expect("it is tried again");
    session.handle_timeout(due);
    session.handle_connected(due, local());
    hear(&mut session, due, Slot::Outgoing, &open_bytes(&peer_open()));
    hear(&mut session, due, Slot::Outgoing, &keepalive_bytes());
    assert_eq!(session.state(), Established);
    assert_eq!(session.last_error(), Some(&*said), "it is up again");
    let lost = due + seconds(5);
    session.handle_closed(lost, Slot::Outgoing, "the peer closed the connection");
    let words = session.last_error().unwrap();
    assert!(words.contains("closed the connection"), "{words}");
    assert_eq!(session.last_error_at(), Some(lost));
    // However often it is tried since, it is down as long as that.
    drain(&mut session);
    for _ in 0..3 {
        let due = session.poll_timeout().expect("it is tried again");
        session.handle_timeout(due);
        session.handle_connect_failed(due, "connection refused");
        assert_eq!(session.since(), lost);
    }
}

#[test]
fn what_is_in_the_way_here_is_not_blamed_on_the_peer() {
    let words = |why: ConnectFailure| {
        let mut session = Session::new(config(), 1);
        session.handle_start(at(0));
        session.handle_connect_failed(at(1), why);
        session.last_error().unwrap().to_owned()
    };
    let here = ConnectFailure::Here("this machine has no interface eth9".to_owned());
    assert_eq!(
        words(here),
        "cannot connect to peer 10.0.0.6 from here: this machine has no interface eth9"
    );
    assert!(words("connection refused".into()).contains("see whether BGP runs there"));
}

#[test]
fn an_attempt_without_an_answer_is_named_within_ten_seconds() {
    let mut session = Session::new(config(), 1);
    session.handle_start(at(0));
    let due = session.poll_timeout().unwrap();
    assert!(due <= at(10), "{due:?}");
    session.handle_timeout(due);
    let words = session.last_error().unwrap();
    assert!(words.contains("no answer"), "{words}");
}

#[test]
fn only_what_open_negotiates_resets() {
    let mut session = outgoing_in(Established);
    let mut changed = config();
    changed.timers.keepalive = seconds(10);
    changed.timers.connect_retry = seconds(5);
    changed.timers.send_hold = Some(seconds(20));
    changed.peer_asn = PeerAsn::External;
    changed.passive = true;
    assert!(!session.handle_config(at(2), changed.clone()));
    assert_eq!(session.state(), Established);
    assert!(session.poll_timeout() <= Some(at(12)));

    changed.timers.hold = seconds(30);
    assert!(session.handle_config(at(3), changed.clone()));
    assert_eq!(
        drain(&mut session),
        ["down", "6/6 to Outgoing", "close Outgoing"]
    );
    assert_eq!(session.state(), Active);

    let mut session = outgoing_in(Established);
    let mut other_peer = config();
    other_peer.peer_asn = PeerAsn::Number(65003);
    assert!(session.handle_config(at(2), other_peer));
}

// RFC-SHOWN 9003 §2
#[test]
fn a_shutdown_communication_travels_both_ways() {
    let mut session = outgoing_in(Established);
    let shutdown = Notification::cease(cease::ADMINISTRATIVE_SHUTDOWN)
        .with_shutdown_communication("rack 7 moves, back at 04:00");
    session.handle_stop(at(2), shutdown.clone());
    let mut sent = None;
    while let Some(action) = session.poll_action() {
        if let crate::session::SessionAction::Transmit(_, message) = action {
            sent = Some(message);
        }
    }
    let sent = sent.expect("a NOTIFICATION is sent");

    let mut other = session_in(Established, Slot::Incoming, config());
    hear(&mut other, at(2), Slot::Incoming, &sent);
    let words = other.last_error().expect("there is an error");
    assert!(words.contains("rack 7 moves, back at 04:00"), "{words}");
    assert!(words.contains("10.0.0.6"), "{words}");
}

#[test]
fn a_refresh_of_a_family_that_was_not_negotiated_is_ignored() {
    let mut session = outgoing_in(Established);
    assert!(hear(&mut session, at(1), Slot::Outgoing, &refresh_bytes(1)));
    assert!(!hear(
        &mut session,
        at(1),
        Slot::Outgoing,
        &refresh_bytes(25)
    ));
    assert_eq!(session.state(), Established);
}

// RFC-SHOWN 4724 §4
#[test]
fn who_leaves_says_that_it_does_and_not_that_the_peer_restarted() {
    let mut keeping = config();
    keeping.graceful_restart.enabled = true;
    let mut session = Session::new(keeping, 1);
    session.handle_start(at(1));
    session.handle_connected(at(1), local());
    let mut open = peer_open();
    open.capabilities.push(Capability::GracefulRestart {
        restarting: false,
        notification: false,
        restart_time: 120,
        families: vec![],
    });
    hear(&mut session, at(1), Slot::Outgoing, &open_bytes(&open));
    hear(&mut session, at(1), Slot::Outgoing, &keepalive_bytes());
    drain(&mut session);
    let notification = Notification::cease(cease::ADMINISTRATIVE_SHUTDOWN);
    session.handle_leave(at(2), notification);
    assert_eq!(drain(&mut session), ["down", "close Outgoing"]);
    assert_eq!(session.state(), Idle);
    let words = session.last_error().expect("it says why it is down");
    assert!(words.starts_with("ringbgp stops"), "{words}");
    assert!(!words.contains("opened a new session"), "{words}");
}
