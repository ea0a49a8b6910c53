//! What peers are told when MEDs come to be compared between neighbor ASes, and no more.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use codec::{AttributeWriter, IpPrefix, Ipv4Prefix, Message, Origin, WireFormat};
use rib::Selection;

use super::super::rig::{INSTANCE, Rig, neighbor};
use super::super::*;
use crate::config::{Client, Delta, Instance, InstanceSettings, Neighbor};

const LISTENER: &str = "10.0.0.8";

struct Bed {
    rig: Rig,
    listener: ConnectionId,
    /// What the listener holds: where each prefix comes from.
    held: BTreeMap<IpPrefix, u32>,
}

/// The settings, and what of them the dispatcher tells the table first.
fn settings(always_compare_med: bool) -> (Delta, Selection) {
    let selection = Selection {
        always_compare_med,
        ..Selection::default()
    };
    let settings = InstanceSettings {
        selection,
        ..Instance::new(Ipv4Addr::new(10, 0, 0, 5)).settings()
    };
    (Delta::Instance(INSTANCE, Arc::new(settings)), selection)
}

impl Bed {
    /// Two peers of different ASes, of which the one with the higher identifier says the lower MED, and
    /// one that is told what comes out.
    fn new(prefixes: u32, change: impl Fn(&mut Neighbor)) -> Bed {
        let mut rig = Rig::new();
        let mut listener = neighbor(LISTENER);
        change(&mut listener);
        let neighbors = [neighbor("10.0.0.6"), neighbor("10.0.0.7"), listener];
        let neighbors = neighbors.map(Arc::new);
        rig.tell(Delta::Neighbors(INSTANCE, neighbors.into()));
        for (peer, asn, med) in [("10.0.0.6", 65002, 9), ("10.0.0.7", 65003, 1)] {
            let connection = rig.establish(peer, asn);
            for message in announcements(peer.parse().unwrap(), asn, med, prefixes) {
                rig.say(connection, &message);
            }
        }
        let listener = rig.establish(LISTENER, 65004);
        Bed {
            rig,
            listener,
            held: BTreeMap::new(),
        }
    }

    /// As the dispatcher does it.
    fn set(&mut self, always_compare_med: bool) {
        let (delta, selection) = settings(always_compare_med);
        self.rig.rib.set_selection(selection);
        self.rig.tell(delta);
    }

    /// What the listener was told since the last look: how many prefixes, and from which ASes.
    fn told(&mut self) -> (usize, Vec<u32>) {
        let mut prefixes = 0;
        let mut ases = BTreeSet::new();
        let sent = self.rig.open.get_mut(&self.listener).expect("it is up");
        for message in std::mem::take(sent) {
            let body = match codec::parse_message(&message).unwrap() {
                Message::Update(body) => body,
                Message::Open(_) | Message::Keepalive => continue,
                other => panic!("{other:?}"),
            };
            let update = codec::parse_update(body, &WireFormat::default()).unwrap();
            assert_eq!(update.withdrawn.iter().count(), 0);
            let mut canonical = Vec::new();
            update.canonical(codec::NlriField::Plain, &mut canonical);
            let path: Vec<u32> = codec::AttributeSet::new(&canonical)
                .as_path()
                .asns()
                .collect();
            for (_, prefix) in update.announced.iter() {
                prefixes += 1;
                self.held.extend(path.last().map(|asn| (prefix, *asn)));
            }
            ases.extend(path.last());
        }
        (prefixes, ases.into_iter().collect())
    }
}

fn prefix(number: u32) -> Ipv4Prefix {
    Ipv4Prefix::masked((0x1400_0000 | number << 8).into(), 24)
}

fn announcements(peer: Ipv4Addr, asn: u32, med: u32, prefixes: u32) -> Vec<Vec<u8>> {
    let mut attributes = Vec::new();
    let mut writer = AttributeWriter::new(&mut attributes);
    writer.origin(Origin::Igp);
    writer.as_path(&codec::AsPath::default(), &[asn], true);
    writer.next_hop(peer);
    writer.med(med);
    let numbers: Vec<u32> = (0..prefixes).collect();
    let messages = numbers.chunks(900).map(|numbers| {
        let mut nlri = Vec::new();
        for number in numbers {
            codec::encode_nlri(prefix(*number), None, &mut nlri);
        }
        let mut message = Vec::new();
        codec::encode_update(&attributes, &nlri, &mut message);
        message
    });
    messages.collect()
}

// RFC-SHOWN 4451 §3.3
#[test]
fn a_change_of_selection_tells_only_what_comes_out_otherwise() {
    let mut bed = Bed::new(3000, |_| ());
    assert_eq!(bed.told(), (3000, vec![65002]));
    bed.set(true);
    assert_eq!(bed.told(), (3000, vec![65003]));
    bed.set(true);
    assert_eq!(bed.told(), (0, vec![]));
    bed.set(false);
    assert_eq!(bed.told(), (3000, vec![65002]));
}

#[test]
fn who_is_told_of_others_than_the_best_hears_of_their_order() {
    // As the client of a route server it is told the best path of those that are not its own.
    let mut bed = Bed::new(10, |neighbor| neighbor.client = Some(Client::RouteServer));
    assert_eq!(bed.told(), (10, vec![65002]));
    // Another one takes the best path's place with its own, so that none is told of that.
    bed.set(true);
    assert_eq!(bed.told(), (10, vec![65003]));
}

/// What lives goes on between its pieces, and a change in its midst begins it again.
#[test]
fn a_walk_is_made_of_bounded_pieces() {
    let mut bed = Bed::new(9000, |_| ());
    let now = bed.rig.now;
    let is_walking = |bed: &Bed| bed.rig.shard.instances[&INSTANCE].reselection.is_some();
    let (delta, selection) = settings(true);
    bed.rig.rib.set_selection(selection);
    bed.rig
        .shard
        .handle_command(now, ShardCommand::Delta(delta));
    assert!(is_walking(&bed));
    assert!(bed.rig.shard.work(now));
    assert!(is_walking(&bed), "9,000 ids in one turn");
    let (delta, selection) = settings(false);
    bed.rig.rib.set_selection(selection);
    bed.rig.tell(delta);
    assert!(!is_walking(&bed));
    bed.told();
    let ases: BTreeSet<u32> = bed.held.values().copied().collect();
    assert_eq!((bed.held.len(), ases), (9000, [65002].into()));
}
