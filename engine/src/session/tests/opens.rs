//! Every way in which a peer's OPEN can be refused, and what a good one comes to.

use std::net::Ipv4Addr;

use bytes::Bytes;
use codec::{AddPath, Capability, ExtendedNextHop, Family, FamilySet, Open, PeerKind};

use super::scripted::{drain, hear, keepalive_bytes, open_bytes, peer_open, session_in};
use super::{at, config, seconds};
use crate::config::{Capabilities, PeerAsn, Role};
use crate::session::{OwnRestart, Session, SessionConfig, Slot, State, open};

fn answer(config: SessionConfig, open: &Open) -> (Vec<String>, Session) {
    let mut session = session_in(State::OpenSent, Slot::Outgoing, config);
    hear(&mut session, at(1), Slot::Outgoing, &open_bytes(open));
    (drain(&mut session), session)
}

fn assert_refused(config: SessionConfig, open: &Open, subcode: u8, words: &str) {
    let (done, session) = answer(config, open);
    assert_eq!(
        done,
        [
            format!("2/{subcode} to Outgoing"),
            "close Outgoing".to_owned()
        ]
    );
    let error = session.last_error().expect("there is an error");
    assert!(error.contains(words), "{error}");
    assert!(error.contains("10.0.0.6"), "{error}");
}

fn with_asn(asn: u32) -> Open {
    let mut open = peer_open();
    open.asn = asn;
    open.capabilities.pop();
    open.capabilities.push(Capability::FourOctetAs(asn));
    open
}

fn expecting(peer_asn: PeerAsn) -> SessionConfig {
    let mut config = config();
    config.peer_asn = peer_asn;
    config
}

// RFC-SHOWN 4271 §6.2
// RFC-SHOWN 6793 §4.2.1
#[test]
fn the_as_has_to_be_the_one_that_is_configured() {
    assert_refused(
        expecting(PeerAsn::Number(65009)),
        &peer_open(),
        2,
        "says AS 65002, this neighbor is configured with peerASN 65009: correct peerASN or the \
         router's AS",
    );
    assert_refused(
        expecting(PeerAsn::Internal),
        &peer_open(),
        2,
        "peerASN internal",
    );
    assert_refused(
        expecting(PeerAsn::External),
        &with_asn(65001),
        2,
        "peerASN external",
    );
    for peer_asn in [PeerAsn::Any, PeerAsn::External, PeerAsn::Number(23456)] {
        assert_refused(expecting(peer_asn), &with_asn(23456), 2, "AS 23456");
    }
    for (peer_asn, asn) in [
        (PeerAsn::Number(65002), 65002),
        (PeerAsn::Number(4_200_000_000), 4_200_000_000),
        (PeerAsn::Any, 65002),
        (PeerAsn::Any, 65001),
        (PeerAsn::Internal, 65001),
        (PeerAsn::External, 65002),
    ] {
        let (done, _) = answer(expecting(peer_asn), &with_asn(asn));
        assert_eq!(done, ["keepalive to Outgoing"], "{peer_asn:?} {asn}");
    }
}

// RFC-SHOWN 7607 §2
#[test]
fn as_0_is_refused_whatever_is_configured() {
    for peer_asn in [
        PeerAsn::Any,
        PeerAsn::External,
        PeerAsn::Internal,
        PeerAsn::Number(1),
    ] {
        let (done, _) = answer(expecting(peer_asn), &with_asn(0));
        assert_eq!(done[0], "2/2 to Outgoing");
    }
}

// RFC-SHOWN 6286 §2.2
#[test]
fn the_identifier_is_not_zero_and_not_ours_inside_one_as() {
    let mut open = peer_open();
    open.identifier = Ipv4Addr::UNSPECIFIED;
    let (done, _) = answer(config(), &open);
    assert_eq!(done[0], "2/3 to Outgoing");

    let ours = config().router_id;
    let mut open = with_asn(65001);
    open.identifier = ours;
    assert_refused(expecting(PeerAsn::Any), &open, 3, "which is ours");

    let mut open = peer_open();
    open.identifier = ours;
    let (done, _) = answer(config(), &open);
    assert_eq!(
        done,
        ["keepalive to Outgoing"],
        "RFC 6286 allows it between two"
    );
}

// RFC-SHOWN 4271 §4.2
#[test]
fn hold_times_below_the_least_are_refused_and_the_smaller_counts() {
    for offered in [1, 2] {
        let mut open = peer_open();
        open.hold_time = offered;
        let (done, _) = answer(config(), &open);
        assert_eq!(done[0], "2/6 to Outgoing");
    }
    let mut strict = config();
    strict.timers.min_hold = seconds(20);
    let mut open = peer_open();
    open.hold_time = 19;
    assert_refused(strict, &open, 6, "minHoldTimeSeconds");

    for (offered, hold, keepalive) in [(3, 3, 1), (60, 60, 20), (65535, 90, 30), (0, 0, 0)] {
        let mut open = peer_open();
        open.hold_time = offered;
        let (_, mut session) = answer(config(), &open);
        hear(&mut session, at(1), Slot::Outgoing, &keepalive_bytes());
        let (_, negotiated) = session.established().expect("it is up");
        assert_eq!(negotiated.hold_time, seconds(hold));
        assert_eq!(negotiated.keepalive, seconds(keepalive));
    }
}

// RFC-SHOWN 4760 §8
// RFC-SHOWN 6793 §4.1
#[test]
fn families_are_those_of_both() {
    let ipv4: FamilySet = [Family::Ipv4Unicast].into_iter().collect();
    let ipv6: FamilySet = [Family::Ipv6Unicast].into_iter().collect();
    let mp = |afi, safi| Capability::Multiprotocol { afi, safi };
    let cases: [(Vec<Capability>, FamilySet, FamilySet); 5] = [
        (vec![], FamilySet::ALL, ipv4),
        (vec![mp(1, 1), mp(2, 1)], ipv6, ipv6),
        (vec![mp(2, 1)], FamilySet::ALL, ipv6),
        (vec![mp(1, 128), mp(1, 1), mp(1, 1)], FamilySet::ALL, ipv4),
        (vec![mp(1, 1), mp(2, 1)], FamilySet::ALL, FamilySet::ALL),
    ];
    for (offered, ours, expected) in cases {
        let mut config = config();
        config.families = ours;
        let mut open = peer_open();
        open.capabilities = offered.clone();
        let (_, mut session) = answer(config, &open);
        hear(&mut session, at(1), Slot::Outgoing, &keepalive_bytes());
        let (_, negotiated) = session.established().expect("it is up");
        assert_eq!(negotiated.families, expected, "{offered:?}");
        assert_eq!(negotiated.wire.families, expected);
        assert!(!negotiated.wire.four_octet_as);
    }
}

// RFC-SHOWN 7911 §4
#[test]
fn several_paths_go_only_the_ways_that_one_offers_and_the_other_takes() {
    let ipv4: FamilySet = [Family::Ipv4Unicast].into_iter().collect();
    let tuple = |afi, safi, receive, send| AddPath {
        afi,
        safi,
        receive,
        send,
    };
    // What the peer offers, whether we ask for the other way, and in which families we get it.
    let cases = [
        (vec![], true, FamilySet::NONE),
        (vec![tuple(1, 1, true, false)], true, FamilySet::NONE),
        (vec![tuple(1, 1, false, true)], false, FamilySet::NONE),
        (vec![tuple(1, 1, false, true)], true, ipv4),
        (
            vec![tuple(1, 1, true, true), tuple(2, 1, true, true)],
            true,
            FamilySet::ALL,
        ),
        (vec![tuple(1, 128, true, true)], true, FamilySet::NONE),
        (
            vec![tuple(1, 1, true, true), tuple(1, 1, true, false)],
            true,
            ipv4,
        ),
    ];
    let turned = |tuple: &AddPath| AddPath {
        receive: tuple.send,
        send: tuple.receive,
        ..*tuple
    };
    for (sends, (offered, wanted, expected)) in cases.iter().flat_map(|c| [(false, c), (true, c)]) {
        let mut config = config();
        let mut offered = offered.clone();
        match sends {
            true => {
                config.add_paths.send = if *wanted { 3 } else { 0 };
                offered = offered.iter().map(turned).collect();
            }
            false => config.add_paths.receive = *wanted,
        }
        let mut open = peer_open();
        open.capabilities.push(Capability::AddPath(offered.clone()));
        let (_, mut session) = answer(config, &open);
        hear(&mut session, at(1), Slot::Outgoing, &keepalive_bytes());
        let (_, negotiated) = session.established().expect("it is up");
        let wire = &negotiated.wire;
        let (got, other) = match sends {
            true => (wire.add_path_send, wire.add_path_receive),
            false => (wire.add_path_receive, wire.add_path_send),
        };
        assert_eq!((got, other), (*expected, FamilySet::NONE), "{offered:?}");
        let ours = negotiated.offered.iter().find_map(|ours| match ours {
            Capability::AddPath(tuples) => Some(tuples.clone()),
            _ => None,
        });
        let offer = [tuple(1, 1, !sends, sends), tuple(2, 1, !sends, sends)];
        assert_eq!(ours, wanted.then_some(offer.to_vec()));
    }
}

// RFC-SHOWN 5492 §5
#[test]
fn no_family_in_common_is_refused_with_what_we_miss() {
    for offered in [
        vec![],
        vec![Capability::Multiprotocol { afi: 1, safi: 128 }],
    ] {
        let mut config = config();
        config.families = [Family::Ipv6Unicast].into_iter().collect();
        let mut open = peer_open();
        open.capabilities = offered;
        assert_refused(config, &open, 7, "no address family in common");
    }
}

fn ipv4_over_ipv6() -> Capability {
    Capability::ExtendedNextHop(vec![ExtendedNextHop {
        afi: 1,
        safi: 1,
        next_hop_afi: 2,
    }])
}

// RFC-SHOWN 8654 §3
// RFC-SHOWN 8950 §4
#[test]
fn an_option_is_used_where_both_offer_it() {
    for (ours, theirs) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut config = config();
        config.capabilities = Capabilities {
            extended_messages: ours,
            extended_next_hop: ours,
        };
        config.host_name = ours.then(|| "node-1.example.net".into());
        let mut open = peer_open();
        if theirs {
            open.capabilities.push(Capability::ExtendedMessages);
            open.capabilities.push(ipv4_over_ipv6());
        }
        let mut session = session_in(State::OpenSent, Slot::Outgoing, config);
        assert_eq!(session.message_len_max(Slot::Outgoing), 4096);
        hear(&mut session, at(1), Slot::Outgoing, &open_bytes(&open));
        let most = if ours && theirs { 65_535 } else { 4096 };
        assert_eq!(session.message_len_max(Slot::Outgoing), most);
        assert_eq!(session.message_len_max(Slot::Incoming), 4096);
        hear(&mut session, at(1), Slot::Outgoing, &keepalive_bytes());
        let (_, negotiated) = session.established().expect("it is up");
        assert_eq!(negotiated.wire.extended_messages, ours && theirs);
        assert_eq!(negotiated.wire.extended_next_hop, ours && theirs);
        let offers = |capability: &Capability| negotiated.offered.contains(capability);
        assert_eq!(offers(&Capability::ExtendedMessages), ours);
        assert_eq!(offers(&ipv4_over_ipv6()), ours);
        let name = Capability::Fqdn {
            host: Bytes::from_static(b"node-1"),
            domain: Bytes::from_static(b"example.net"),
        };
        assert_eq!(offers(&name), ours);
    }
}

#[test]
fn ipv6_next_hops_are_not_offered_where_ipv4_is_not() {
    let mut config = config();
    config.families = [Family::Ipv6Unicast].into_iter().collect();
    let mut open = peer_open();
    open.capabilities.push(ipv4_over_ipv6());
    let (_, mut session) = answer(config, &open);
    hear(&mut session, at(1), Slot::Outgoing, &keepalive_bytes());
    let (_, negotiated) = session.established().expect("it is up");
    assert!(!negotiated.offered.contains(&ipv4_over_ipv6()));
    assert!(!negotiated.wire.extended_next_hop);
}

// RFC-SHOWN 9234 §4.1
// RFC-SHOWN 9234 §4.2
#[test]
fn roles_have_to_fit() {
    let told = |theirs: &[u8]| {
        let mut open = peer_open();
        let roles = theirs.iter().map(|role| Capability::Role(*role));
        open.capabilities.extend(roles);
        open
    };
    let with = |role, strict| {
        let mut config = config();
        config.role = Some(role);
        config.role_strict = strict;
        config
    };
    for ours in Role::ALL {
        for theirs in 0..=5 {
            let open = told(&[theirs]);
            if theirs == ours.counterpart().code() {
                let (done, _) = answer(with(ours, true), &open);
                assert_eq!(done, ["keepalive to Outgoing"], "{ours:?} {theirs}");
                // Said twice alike it is said once.
                let (done, _) = answer(with(ours, true), &told(&[theirs, theirs]));
                assert_eq!(done, ["keepalive to Outgoing"]);
            } else {
                assert_refused(with(ours, false), &open, 11, "does not fit ours");
            }
        }
        let offered = open::offer(&with(ours, false), OwnRestart::default());
        assert!(
            offered
                .capabilities
                .contains(&Capability::Role(ours.code()))
        );
    }
    assert_refused(
        with(Role::Customer, false),
        &told(&[0, 3]),
        11,
        "several roles",
    );
    let (done, _) = answer(with(Role::Customer, false), &peer_open());
    assert_eq!(done, ["keepalive to Outgoing"], "an old peer is taken");
    assert_refused(with(Role::Customer, true), &peer_open(), 11, "roleStrict");
    let (done, _) = answer(config(), &told(&[4]));
    assert_eq!(done, ["keepalive to Outgoing"], "without a role of ours");
    // Inside an AS there are no roles.
    let mut inside = with(Role::Customer, true);
    inside.peer_asn = PeerAsn::Any;
    let (done, _) = answer(inside, &with_asn(65001));
    assert_eq!(done, ["keepalive to Outgoing"]);
}

// RFC-SHOWN 9234 §4
#[test]
fn no_role_is_offered_within_an_as() {
    let offers = |peer_asn| {
        let mut config = config();
        config.role = Some(Role::Customer);
        config.peer_asn = peer_asn;
        let capabilities = open::offer(&config, OwnRestart::default()).capabilities;
        open::roles(&capabilities).count() > 0
    };
    let own = config().local_asn;
    assert!(!offers(PeerAsn::Internal) && !offers(PeerAsn::Number(own)));
    // Of one of any AS it is not known before it has spoken.
    assert!(offers(PeerAsn::External) && offers(PeerAsn::Any));
    assert!(offers(PeerAsn::Number(own + 1)));
}

#[test]
fn strict_mode_ends_a_session_with_a_peer_that_told_no_role() {
    for (theirs, stays) in [(vec![], false), (vec![Capability::Role(0)], true)] {
        let mut config = config();
        config.role = Some(Role::Customer);
        let mut open = peer_open();
        open.capabilities.extend(theirs);
        let (_, mut session) = answer(config.clone(), &open);
        hear(&mut session, at(1), Slot::Outgoing, &keepalive_bytes());
        config.role_strict = true;
        assert_eq!(session.handle_config(at(2), config), !stays);
    }
}

#[test]
fn a_good_open_comes_to_what_both_offered() {
    let (_, mut session) = answer(config(), &peer_open());
    hear(&mut session, at(1), Slot::Outgoing, &keepalive_bytes());
    let (slot, negotiated) = session.established().expect("it is up");
    assert_eq!(slot, Slot::Outgoing);
    assert_eq!(negotiated.peer_asn, 65002);
    assert_eq!(negotiated.peer_router_id, Ipv4Addr::new(10, 0, 0, 6));
    assert!(negotiated.wire.four_octet_as);
    assert!(!negotiated.wire.extended_messages);
    assert_eq!(negotiated.wire.peer, PeerKind::External);
    assert_eq!(negotiated.received, peer_open().capabilities);
    assert_eq!(
        negotiated.offered,
        [
            Capability::Multiprotocol { afi: 1, safi: 1 },
            Capability::Multiprotocol { afi: 2, safi: 1 },
            Capability::RouteRefresh,
            Capability::FourOctetAs(65001),
            Capability::EnhancedRouteRefresh,
            Capability::ExtendedMessages,
            ipv4_over_ipv6(),
            Capability::Fqdn {
                host: Bytes::from_static(b"node-1"),
                domain: Bytes::new(),
            },
        ]
    );
    assert!(negotiated.refresh && !negotiated.enhanced_refresh);

    let (_, mut session) = answer(expecting(PeerAsn::Any), &with_asn(65001));
    hear(&mut session, at(1), Slot::Outgoing, &keepalive_bytes());
    let (_, negotiated) = session.established().expect("it is up");
    assert_eq!(negotiated.wire.peer, PeerKind::Internal);
}
