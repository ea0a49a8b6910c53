//! Both sides dial at once: whatever the identifiers, AS numbers and delays, one session remains.

use std::net::Ipv4Addr;

use super::pair::Pair;
use super::{at, config, local, seconds};
use crate::config::PeerAsn;
use crate::session::tests::scripted::{
    drain, hear, keepalive_bytes, notification_bytes, open_bytes, outgoing_in, peer_open,
};
use crate::session::{Accept, SessionConfig, Slot, State};
use crate::time::Time;

fn side(router_id: u32, local_asn: u32) -> SessionConfig {
    let mut side = config();
    side.peer_address = Ipv4Addr::from(router_id ^ 1).into();
    side.router_id = Ipv4Addr::from(router_id);
    side.local_asn = local_asn;
    side.peer_asn = PeerAsn::Any;
    side
}

/// Identifiers and AS numbers in every order, inside one AS and between two.
const ORDERS: [((u32, u32), (u32, u32)); 8] = [
    ((1, 65001), (2, 65002)),
    ((2, 65001), (1, 65002)),
    ((1, 65002), (2, 65001)),
    ((7, 65001), (7, 65002)),
    ((7, 65002), (7, 65001)),
    ((7, 4_200_000_000), (7, 65001)),
    ((0x8000_0000, 65001), (0x7fff_ffff, 65001)),
    ((1, 65001), (0xffff_ffff, 65001)),
];

// RFC-SHOWN 4271 §6.8
// RFC-SHOWN 6286 §2.3
#[test]
fn every_collision_ends_in_exactly_one_session() {
    for (a, b) in ORDERS {
        for seed in 0..60 {
            let configs = [side(a.0, a.1), side(b.0, b.1)];
            let mut pair = Pair::new(configs, seed, seconds(1));
            pair.start();
            pair.run_until(at(300), |_| false);
            assert!(pair.both_established(), "{a:?} {b:?} seed {seed}");
            let links = pair.established_links();
            assert_eq!(links[0], links[1], "{a:?} {b:?} seed {seed}: two halves");
        }
    }
}

#[test]
fn without_skew_the_connection_of_the_higher_identifier_stays() {
    for (a, b) in ORDERS {
        let configs = [side(a.0, a.1), side(b.0, b.1)];
        // With next to no delay both OPENs are out before either is read.
        let mut pair = Pair::new(configs, 1, std::time::Duration::from_nanos(1));
        pair.start();
        pair.run_until(at(30), |_| false);
        assert!(pair.both_established());
        let [Some(link), _] = pair.established_links() else {
            panic!("no link");
        };
        let expected = usize::from(b > a);
        assert_eq!(pair.dialer(link), expected, "{a:?} {b:?}");
        assert_eq!(pair.sides[0].ups, 1);
    }
}

#[test]
fn a_pair_survives_resets_and_peers_that_come_late() {
    for seed in 0..60 {
        let mut pair = Pair::new([side(1, 65001), side(2, 65002)], seed, seconds(2));
        pair.sides[1].deaf = true;
        pair.start();
        pair.run_until(at(40), |_| false);
        pair.sides[1].deaf = false;
        for round in 1..5 {
            pair.run_until(at(round * 200), |_| false);
            assert!(pair.both_established(), "seed {seed} round {round}");
            pair.reset_all();
        }
    }
}

#[test]
fn an_idle_pair_stays_up_on_keepalives_alone() {
    let mut pair = Pair::new([side(1, 65001), side(2, 65002)], 5, seconds(1));
    pair.start();
    pair.run_until(at(100_000), |_| false);
    assert!(pair.both_established());
    assert_eq!(pair.sides[0].downs + pair.sides[1].downs, 0);
}

#[test]
fn established_stays_and_a_newcomer_is_refused() {
    let mut session = outgoing_in(State::Established);
    let Accept::Refused(Some(notification)) = session.handle_accepted(at(2), local()) else {
        panic!("a newcomer must be refused");
    };
    assert_eq!((notification.code, notification.subcode), (6, 7));
    assert_eq!(session.state(), State::Established);
}

#[test]
fn the_loser_hears_cease_7() {
    // Ours is 10.0.0.5, theirs 10.0.0.6: their connection stays.
    let mut session = outgoing_in(State::OpenConfirm);
    assert_eq!(session.handle_accepted(at(1), local()), Accept::Taken);
    hear(
        &mut session,
        at(1),
        Slot::Incoming,
        &open_bytes(&peer_open()),
    );
    assert_eq!(
        drain(&mut session),
        [
            "open to Incoming",
            "6/7 to Outgoing",
            "close Outgoing",
            "keepalive to Incoming"
        ]
    );
    // And if ours is the higher one, theirs goes.
    let mut session = outgoing_in(State::OpenConfirm);
    let mut low = peer_open();
    low.identifier = Ipv4Addr::new(10, 0, 0, 4);
    assert_eq!(session.handle_accepted(at(1), local()), Accept::Taken);
    hear(&mut session, at(1), Slot::Incoming, &open_bytes(&low));
    assert_eq!(
        drain(&mut session),
        ["open to Incoming", "6/7 to Incoming", "close Incoming"]
    );
    hear(&mut session, at(1), Slot::Outgoing, &keepalive_bytes());
    assert_eq!(session.state(), State::Established);
    assert_eq!(session.last_error(), None);
}

#[test]
fn a_connection_that_becomes_established_ends_the_other_one_and_the_attempt() {
    let mut session = outgoing_in(State::Connect);
    assert_eq!(session.handle_accepted(at(1), local()), Accept::Taken);
    hear(
        &mut session,
        at(1),
        Slot::Incoming,
        &open_bytes(&peer_open()),
    );
    hear(&mut session, at(1), Slot::Incoming, &keepalive_bytes());
    assert_eq!(
        drain(&mut session),
        [
            "open to Incoming",
            "keepalive to Incoming",
            "close Outgoing",
            "up Incoming"
        ]
    );
    let mut session = outgoing_in(State::OpenSent);
    assert_eq!(session.handle_accepted(at(1), local()), Accept::Taken);
    hear(
        &mut session,
        at(1),
        Slot::Incoming,
        &open_bytes(&peer_open()),
    );
    hear(&mut session, at(1), Slot::Incoming, &keepalive_bytes());
    assert_eq!(session.state(), State::Established);
    assert!(drain(&mut session).contains(&"6/7 to Outgoing".to_owned()));
    session.audit();
}

#[test]
fn a_second_connection_of_the_peer_replaces_its_first() {
    let mut session = outgoing_in(State::Active);
    assert_eq!(session.handle_accepted(at(1), local()), Accept::Taken);
    drain(&mut session);
    assert_eq!(session.handle_accepted(at(2), local()), Accept::Taken);
    assert_eq!(
        drain(&mut session),
        ["6/7 to Incoming", "close Incoming", "open to Incoming"]
    );
}

#[test]
fn losing_the_last_connection_to_cease_7_costs_a_second() {
    let mut session = outgoing_in(State::OpenSent);
    hear(
        &mut session,
        at(1),
        Slot::Outgoing,
        &notification_bytes(6, 7),
    );
    assert_eq!(session.state(), State::Active);
    assert!(session.poll_timeout() <= Some(Time(2_000_000_000)));
}
