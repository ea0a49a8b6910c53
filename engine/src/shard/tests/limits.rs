//! `maxPrefixes`.

use std::time::Duration;

use super::*;
use crate::config::{LimitAction, MaxPrefixes};
use crate::model::PeerState;

const SAYS: &str = "10.0.0.6";

fn address() -> IpAddr {
    SAYS.parse().unwrap()
}

fn limited(most: u32, action: LimitAction) -> Neighbor {
    Neighbor {
        max_prefixes: MaxPrefixes {
            most: [Some(most), None],
            action,
            warning_percent: 50,
        },
        ..neighbor(SAYS, 65002)
    }
}

/// A bed with a peer that has said this many prefixes.
fn said(neighbor: &Neighbor, prefixes: u32) -> (Bed, ConnectionId) {
    let mut bed = Bed::new();
    bed.configure(neighbor.clone());
    let connection = bed.connect(address(), &open(65002, 6, &[]));
    bed.messages(connection);
    for number in 0..prefixes {
        bed.say(connection, &announce(number, 65002, 6, |_| ()));
    }
    (bed, connection)
}

fn error(bed: &Bed) -> String {
    bed.peer(address()).last_error.unwrap_or_default()
}

// RFC-SHOWN 4271 §6.7
// RFC-SHOWN 4486 §4
// RFC-SHOWN 7454 §8
#[test]
fn a_session_past_its_limit_ends_and_stays_down_until_it_is_reset() {
    for import in [Import::All, Import::None] {
        let mut limited = limited(3, LimitAction::Reset(None));
        limited.import = import;
        let (mut bed, connection) = said(&limited, 3);
        // The same prefixes again are no more.
        bed.say(connection, &announce(2, 65002, 6, |_| ()));
        assert_eq!(bed.peer(address()).state, PeerState::Established);
        bed.say(connection, &announce(3, 65002, 6, |_| ()));
        let notification = bed.notification(connection).unwrap();
        assert_eq!((notification.code, notification.subcode), (6, 1));
        assert_eq!(&notification.data[..], [0, 1, 1, 0, 0, 0, 3]);
        assert_eq!(bed.peer(address()).state, PeerState::Idle);
        assert!(error(&bed).contains("ringbgp reset"), "{}", error(&bed));
        assert!(error(&bed).contains("3 prefixes"), "{}", error(&bed));

        bed.wait(100_000);
        assert_eq!(bed.peer(address()).state, PeerState::Idle);
        assert!(bed.is_refused(address()), "nor may it connect");
        // Another setting does not bring it back.
        limited.allow_own_asn = 1;
        bed.configure(limited.clone());
        // Nor does a limit of another family, or a drain that is over.
        limited.max_prefixes.most[1] = Some(9);
        bed.configure(limited.clone());
        for wait in [Some(Duration::ZERO), None] {
            bed.drain(wait);
        }
        assert!(bed.is_refused(address()));
        assert!(error(&bed).contains("ringbgp reset"), "{}", error(&bed));
        bed.reset();
        bed.connect(address(), &open(65002, 6, &[]));
        assert_eq!(bed.peer(address()).state, PeerState::Established);
    }
}

#[test]
fn it_comes_back_after_its_time() {
    let after = LimitAction::Reset(Some(Duration::from_secs(60)));
    let (mut bed, _) = said(&limited(3, after), 4);
    assert_eq!(bed.peer(address()).state, PeerState::Idle);
    bed.wait(59);
    assert!(bed.is_refused(address()));
    bed.wait(1);
    bed.connect(address(), &open(65002, 6, &[]));
    let peer = bed.peer(address());
    assert_eq!(peer.state, PeerState::Established);
    // What it was down for is told still, and when that was.
    assert!(error(&bed).contains("restartAfterSeconds"));
    assert_eq!(peer.last_error_age_seconds, Some(60));
}

#[test]
fn a_warning_is_shown_while_it_holds() {
    let (mut bed, connection) = said(&limited(4, LimitAction::Reset(None)), 2);
    assert_eq!(error(&bed), "");
    bed.say(connection, &announce(2, 65002, 6, |_| ()));
    assert!(error(&bed).starts_with("warning: "), "{}", error(&bed));
    assert!(error(&bed).contains("of at most 4 prefixes"));
    assert_eq!(bed.peer(address()).last_error_age_seconds, None, "it is so");
    bed.say(connection, &withdraw(2));
    assert_eq!(error(&bed), "");
}

#[test]
fn action_warn_lets_the_session_stand() {
    let (bed, _) = said(&limited(3, LimitAction::Warn), 5);
    assert_eq!(bed.peer(address()).state, PeerState::Established);
    assert!(error(&bed).contains("3 prefixes"), "{}", error(&bed));
    assert_eq!(bed.peer(address()).families[0].received, 5);
}

#[test]
fn a_changed_limit_acts_at_once() {
    let (mut bed, connection) = said(&neighbor(SAYS, 65002), 5);
    bed.configure(limited(4, LimitAction::Reset(None)));
    let notification = bed.notification(connection).unwrap();
    assert_eq!((notification.code, notification.subcode), (6, 1));
    assert!(bed.is_refused(address()));
    // Raised, it brings the session back.
    bed.configure(limited(40, LimitAction::Reset(None)));
    bed.connect(address(), &open(65002, 6, &[]));
    assert_eq!(bed.peer(address()).state, PeerState::Established);
}

#[test]
fn what_policy_rejects_counts() {
    let (mut bed, connection) = said(&limited(3, LimitAction::Reset(None)), 0);
    for number in 0..4 {
        // A loop: kept, and not used.
        let mut attributes = Vec::new();
        let mut writer = AttributeWriter::new(&mut attributes);
        writer.origin(Origin::Igp);
        writer.as_path(&codec::AsPath::default(), &[65002, ASN], true);
        writer.next_hop(Ipv4Addr::new(10, 0, 0, 6));
        let mut nlri = Vec::new();
        codec::encode_nlri(prefix(number), None, &mut nlri);
        let mut update = Vec::new();
        codec::encode_update(&attributes, &nlri, &mut update);
        bed.say(connection, &update);
    }
    assert_eq!(bed.peer(address()).state, PeerState::Idle);
}
