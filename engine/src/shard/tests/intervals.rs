//! Changes wait for the neighbor's advertisement interval (RFC 4271 §9.2.1.1).

use std::sync::Arc;
use std::time::Duration;

use codec::{Message, WireFormat};

use crate::config::{Delta, Neighbor, OriginChange};
use crate::shard::ConnectionId;
use crate::shard::rig::{INSTANCE, Rig, neighbor};

const PACED: &str = "10.0.0.6";
const PROMPT: &str = "10.0.0.7";
const FIRST: &str = "192.0.2.0/24";
const SECOND: &str = "198.51.100.0/24";
const THIRD: &str = "203.0.113.0/24";
const INTERVAL: Duration = Duration::from_secs(10);

fn with_interval(address: &str, interval: Duration) -> Delta {
    let mut neighbor: Neighbor = neighbor(address);
    neighbor.timers.advertisement_interval = interval;
    Delta::Neighbors(INSTANCE, Box::new([Arc::new(neighbor)]))
}

fn withdraw(rig: &mut Rig, prefix: &str) {
    let change = OriginChange {
        prefix: prefix.parse::<ipnet::IpNet>().unwrap().into(),
        kinds: Default::default(),
        attributes: None,
    };
    rig.tell(Delta::Origins(INSTANCE, Box::new([change])));
}

/// What a peer was told since the last look, withdrawals with a minus.
fn heard(rig: &mut Rig, connection: ConnectionId) -> Vec<String> {
    let mut heard = Vec::new();
    for message in std::mem::take(rig.open.get_mut(&connection).unwrap()) {
        let Ok(Message::Update(body)) = codec::parse_message(&message) else {
            continue;
        };
        let wire = WireFormat {
            four_octet_as: true,
            ..WireFormat::default()
        };
        let update = codec::parse_update(body, &wire).unwrap();
        let withdrawn = update.withdrawn.iter();
        heard.extend(withdrawn.map(|(_, prefix)| format!("-{prefix}")));
        let announced = update.announced.iter();
        heard.extend(announced.map(|(_, prefix)| prefix.to_string()));
    }
    heard
}

/// A peer with an interval and one without that have been told of one route.
fn scene() -> (Rig, ConnectionId, ConnectionId) {
    let mut rig = Rig::new();
    rig.originate(&[FIRST]);
    rig.tell(with_interval(PACED, INTERVAL));
    rig.tell(with_interval(PROMPT, Duration::ZERO));
    let [paced, prompt] = [PACED, PROMPT].map(|peer| rig.establish(peer, 65002));
    for connection in [paced, prompt] {
        assert_eq!(
            heard(&mut rig, connection),
            [FIRST],
            "the table comes at once"
        );
    }
    (rig, paced, prompt)
}

// RFC-SHOWN 4271 §9.2.1.1
#[test]
fn changes_wait_for_the_interval_and_go_in_their_newest_state() {
    let (mut rig, paced, prompt) = scene();
    rig.originate(&[SECOND]);
    rig.originate(&[THIRD]);
    withdraw(&mut rig, SECOND);
    withdraw(&mut rig, FIRST);
    let minus = |prefix: &str| format!("-{prefix}");
    let all = [SECOND.into(), THIRD.into(), minus(SECOND), minus(FIRST)];
    assert_eq!(heard(&mut rig, prompt), all);
    assert!(!rig.shard.is_quiet());
    // RFC 4271 §10: jittered down to three quarters.
    rig.pass(INTERVAL * 3 / 4 - Duration::from_millis(1));
    assert!(heard(&mut rig, paced).is_empty());
    rig.pass(INTERVAL / 4 + Duration::from_millis(1));
    assert_eq!(heard(&mut rig, paced), [minus(FIRST), THIRD.into()]);
    assert!(heard(&mut rig, prompt).is_empty() && rig.shard.is_quiet());
}

// RFC-SHOWN 4271 §9.2.1.1
#[test]
fn what_comes_after_a_quiet_interval_goes_at_once_and_begins_another() {
    let (mut rig, paced, _) = scene();
    rig.pass(INTERVAL);
    rig.originate(&[SECOND]);
    assert_eq!(heard(&mut rig, paced), [SECOND]);
    rig.originate(&[THIRD]);
    assert!(heard(&mut rig, paced).is_empty());
    rig.pass(INTERVAL);
    assert_eq!(heard(&mut rig, paced), [THIRD]);
}

#[test]
fn peers_with_one_interval_share_a_group_and_a_newcomer_waits_for_none() {
    let (mut rig, paced, _) = scene();
    rig.originate(&[SECOND]);
    rig.tell(with_interval("10.0.0.8", INTERVAL));
    let newcomer = rig.establish("10.0.0.8", 65002);
    // It has the same as the others of its group, and hears of the change with them.
    assert_eq!(heard(&mut rig, newcomer), [FIRST]);
    rig.pass(INTERVAL);
    for connection in [paced, newcomer] {
        assert_eq!(heard(&mut rig, connection), [SECOND]);
    }
    let groups: std::collections::BTreeMap<_, _> = rig.shard.groups().collect();
    let of = |peer: &str| groups[&peer.parse().unwrap()];
    assert_eq!(of(PACED), of("10.0.0.8"));
    assert_ne!(of(PACED), of(PROMPT));
}

#[test]
fn an_interval_that_is_taken_away_holds_nothing_back() {
    let (mut rig, paced, _) = scene();
    rig.originate(&[SECOND]);
    rig.tell(with_interval(PACED, Duration::from_secs(1)));
    assert_eq!(heard(&mut rig, paced), [SECOND]);
    rig.originate(&[THIRD]);
    // It moves to the group of the other one, and is told there what it does not have.
    rig.tell(with_interval(PACED, Duration::ZERO));
    assert_eq!(heard(&mut rig, paced), [THIRD]);
    rig.originate(&["10.1.0.0/16"]);
    assert_eq!(heard(&mut rig, paced), ["10.1.0.0/16"]);
    assert!(rig.closed.is_empty(), "the session stays");
}

#[test]
fn new_settings_are_told_with_the_next_changes_however_often_there_are_some() {
    let (mut rig, paced, _) = scene();
    rig.originate(&[SECOND]);
    let mut changed: Neighbor = neighbor(PACED);
    changed.timers.advertisement_interval = INTERVAL;
    changed.next_hop_ipv4 = Some(std::net::Ipv4Addr::new(10, 0, 0, 99));
    rig.tell(Delta::Neighbors(INSTANCE, Box::new([Arc::new(changed)])));
    rig.pass(INTERVAL);
    let mut told = heard(&mut rig, paced);
    told.sort();
    assert_eq!(told, [FIRST, SECOND]);
}
