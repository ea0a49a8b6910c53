//! Groups whose members are told several paths a prefix (RFC 7911). What members hold after any
//! course of events is the simulator's to check; here is how it is told.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use codec::{
    AttributeSet, AttributeWriter, IpPrefix, Ipv4Prefix, Message, NlriField, Origin, PeerKind,
    WireFormat,
};
use rib::{Path, PathFlags, RibOptions, ShardId, SourceInfo, SourceKind};

use super::*;
use crate::config::Client;

const FAMILY: Family = Family::Ipv4Unicast;

/// What routers hold, and the UPDATEs that brought it.
#[derive(Default)]
struct Routers {
    /// By prefix and identifier the AS that the path begins with.
    tables: BTreeMap<MemberId, BTreeMap<(IpPrefix, u32), u32>>,
    announces: usize,
    withdraws: usize,
    /// Nothing has an identifier.
    plain: bool,
    /// Members whose sockets take nothing.
    stuck: Vec<MemberId>,
}

impl Outbox for Routers {
    fn send(&mut self, member: MemberId, messages: Bytes) {
        let mut rest = &messages[..];
        while let Some(length) = codec::frame(rest, codec::MAX_LEN).expect("whole messages") {
            self.take(member, &rest[..length]);
            rest = &rest[length..];
        }
    }

    fn backlog(&self, member: MemberId) -> usize {
        match self.stuck.contains(&member) {
            true => usize::MAX,
            false => 0,
        }
    }
}

impl Routers {
    fn take(&mut self, member: MemberId, message: &[u8]) {
        let Ok(Message::Update(body)) = codec::parse_message(message) else {
            panic!("not an UPDATE");
        };
        let format = WireFormat {
            add_path_receive: match self.plain {
                true => FamilySet::NONE,
                false => FamilySet::ALL,
            },
            ..WireFormat::default()
        };
        let update = codec::parse_update(body, &format).expect("our own UPDATE parses");
        let table = self.tables.entry(member).or_default();
        self.withdraws += usize::from(!update.withdrawn.is_empty());
        for (path_id, prefix) in update.withdrawn.iter() {
            table.remove(&(prefix, path_id));
        }
        if update.announced.is_empty() {
            return;
        }
        self.announces += 1;
        let mut canonical = Vec::new();
        update.canonical(NlriField::Plain, &mut canonical);
        let path = AttributeSet::new(&canonical).as_path();
        let said_by = path.asns().find(|asn| *asn != 65001).expect("somebody");
        for (path_id, prefix) in update.announced.iter() {
            table.insert((prefix, path_id), said_by);
        }
    }
}

struct Bed {
    rib: Arc<Rib>,
    writer: RibWriter,
    group: Group,
    routers: Routers,
    sources: Vec<SourceId>,
}

fn view(max: u8) -> ExportView {
    ExportView {
        add_paths: [max, 0],
        ..ExportView::plain(PeerKind::External, 65001, Ipv4Addr::new(10, 0, 0, 5))
    }
}

fn prefix(number: u32) -> Ipv4Prefix {
    Ipv4Prefix::masked(Ipv4Addr::from(0x1400_0000 + (number << 8)), 24)
}

/// The AS of a source, after which its routers are named here too.
fn asn(source: usize) -> u32 {
    65100 + source as u32
}

impl Bed {
    /// Five sources, of which the first ones are members.
    fn new(view: ExportView, members: u32) -> Bed {
        let rib = Rib::new(RibOptions {
            shards: 1,
            selection: rib::Selection::default(),
        });
        let mut writer = rib.writer(ShardId(0));
        writer.subscribe(FAMILY, true);
        writer.subscribe_others(FAMILY, view.wants_others(FAMILY));
        let kind = |number| match number {
            4 => SourceKind::Internal,
            _ => SourceKind::External,
        };
        let sources = (0..5u32).map(|number| {
            writer.add_source(SourceInfo {
                kind: kind(number),
                asn: asn(number as usize),
                router_id: Ipv4Addr::from(number + 1),
                address: Some(IpAddr::V4(Ipv4Addr::from(0x0a01_0000 + number)).into()),
            })
        });
        let sources = sources.collect();
        let mut bed = Bed {
            group: Group::new(view, &rib, 1),
            rib,
            writer,
            routers: Routers::default(),
            sources,
        };
        for number in 0..members {
            bed.join(number);
        }
        bed.turn();
        bed
    }

    fn join(&mut self, number: u32) {
        let source = self.sources[number as usize];
        self.group.join(MemberId(number), source, &mut self.routers);
    }

    /// A path whose length decides; of length 0, its end.
    fn say(&mut self, source: usize, path_id: u32, number: u32, length: usize) {
        self.say_with(source, path_id, number, length, None);
    }

    fn say_with(
        &mut self,
        source: usize,
        path_id: u32,
        number: u32,
        length: usize,
        community: Option<u32>,
    ) {
        let from = self.sources[source];
        if length == 0 {
            self.writer.withdraw(prefix(number), from, path_id);
            return;
        }
        let mut canonical = Vec::new();
        let mut writer = AttributeWriter::new(&mut canonical);
        writer.origin(Origin::Igp);
        let asns = vec![asn(source); length];
        writer.as_path(&AttributeSet::new(&[]).as_path(), &asns, true);
        writer.next_hop(Ipv4Addr::new(10, 1, 0, 1));
        if let Some(community) = community {
            writer.communities(&[community]);
        }
        let attributes = self.writer.intern(&canonical).expect("room");
        let path = Path {
            attributes,
            source: from,
            path_id,
            flags: PathFlags::NONE,
        };
        self.writer.upsert(prefix(number), path).expect("room");
        self.writer.release(attributes);
    }

    /// Until nothing is left to do. Returns how many UPDATEs announced and withdrew.
    fn turn(&mut self) -> (usize, usize) {
        (self.routers.announces, self.routers.withdraws) = (0, 0);
        loop {
            self.writer.publish();
            let mut dirty = Vec::new();
            self.writer.take_dirty(usize::MAX, &mut dirty);
            let guard = Rib::pin();
            let ids: Vec<PrefixId> = dirty.iter().map(|(_, id)| *id).collect();
            self.group.apply(&mut self.writer, &guard, FAMILY, &ids);
            self.group.flush_live(&mut self.routers);
            let more = self.group.work(&mut self.writer, &guard, &mut self.routers);
            self.group.audit();
            for attributes in self.group.take_released() {
                self.writer.release(attributes);
            }
            if !more {
                return (self.routers.announces, self.routers.withdraws);
            }
        }
    }

    /// What a member holds of a prefix: identifiers, and who said the path.
    fn held(&self, member: u32, number: u32) -> Vec<(u32, u32)> {
        let table = &self.routers.tables[&MemberId(member)];
        let prefix = IpPrefix::V4(prefix(number));
        let held = table.range((prefix, 0)..=(prefix, u32::MAX));
        held.map(|((_, id), said_by)| (*id, said_by - asn(0)))
            .collect()
    }
}

// RFC-SHOWN 7911 §3
#[test]
fn many_prefixes_with_several_paths_go_out_in_full_messages() {
    let mut bed = Bed::new(view(2), 1);
    for number in 0..1000 {
        bed.say(1, 1, number, 1);
        bed.say(1, 2, number, 2);
        bed.say(2, 0, number, 3);
    }
    // 1,000 prefixes of eight octets twice; the third path is one too many.
    assert_eq!(bed.turn(), (4, 0));
    assert_eq!(bed.held(0, 7), [(1, 1), (2, 1)]);
    for number in 0..1000 {
        bed.say(1, 1, number, 0);
    }
    // The ends first; the third path takes the place under an identifier of its own.
    assert_eq!(bed.turn(), (2, 2));
    assert_eq!(bed.held(0, 7), [(2, 1), (3, 2)]);
}

// RFC-SHOWN 7911 §3
#[test]
fn a_path_that_changes_or_moves_up_is_told_under_its_identifier_or_not_at_all() {
    let mut bed = Bed::new(view(2), 2);
    bed.say(1, 0, 1, 2);
    bed.say(2, 0, 1, 3);
    bed.turn();
    assert_eq!(bed.held(0, 1), [(1, 1), (2, 2)]);
    assert_eq!(bed.held(1, 1), [(2, 2)]);
    // It becomes the best, which members need not hear.
    bed.say(2, 0, 1, 1);
    assert_eq!(bed.turn(), (2, 0), "its attributes changed");
    bed.say(1, 0, 1, 2);
    assert_eq!(bed.turn(), (0, 0));
    assert_eq!(bed.held(0, 1), [(1, 1), (2, 2)]);
}

// RFC-SHOWN 7947 §2.3
#[test]
fn own_paths_and_refused_ones_hide_none_behind_them() {
    let served = |max| ExportView {
        client: Some(Client::RouteServer),
        ..view(max)
    };
    const NO_EXPORT: u32 = 0xffff_ff01;
    for max in [1, 2] {
        let mut bed = Bed::new(served(max), 2);
        bed.routers.tables.insert(MemberId(1), BTreeMap::new());
        // The best is internal and must not leave the AS.
        bed.say_with(4, 0, 1, 1, Some(NO_EXPORT));
        bed.say(0, 0, 1, 2);
        bed.say(1, 0, 1, 3);
        bed.say(2, 0, 1, 4);
        bed.say(3, 0, 1, 5);
        bed.turn();
        let held = |member: usize| -> Vec<u32> {
            let held = bed.held(member as u32, 1);
            held.iter().map(|(_, said_by)| *said_by).collect()
        };
        let wanted = |member: usize| match (max, member) {
            (1, 0) => vec![1],
            (1, _) => vec![0],
            (_, 0) => vec![1, 2],
            _ => vec![0, 2],
        };
        for member in 0..2 {
            let mut held = held(member);
            held.sort_unstable();
            assert_eq!(held, wanted(member), "{member}");
        }
    }
}

#[test]
fn a_best_path_that_is_refused_hides_none_from_a_client_that_is_told_one() {
    const NO_EXPORT: u32 = 0xffff_ff01;
    let view = ExportView {
        client: Some(Client::RouteServer),
        ..view(0)
    };
    let mut bed = Bed::new(view, 0);
    bed.routers.plain = true;
    bed.join(0);
    bed.join(1);
    bed.say_with(4, 0, 1, 1, Some(NO_EXPORT));
    bed.say(0, 0, 1, 2);
    bed.say(2, 0, 1, 3);
    bed.turn();
    let group = &bed.group;
    let told = |source: usize| -> Vec<SourceId> {
        let guard = Rib::pin();
        let id = bed.rib.lookup(IpPrefix::V4(prefix(1)), &guard).unwrap();
        let told = group.told(bed.sources[source], FAMILY, id, (&bed.rib, &guard));
        told.iter().map(|path| path.source).collect()
    };
    assert_eq!(told(0), [bed.sources[2]]);
    assert_eq!(told(1), [bed.sources[0]]);
}

// RFC-SHOWN 7911 §3
#[test]
fn an_identifier_is_free_again_once_the_last_who_was_behind_has_heard() {
    let mut bed = Bed::new(view(4), 2);
    bed.say(2, 1, 1, 1);
    bed.turn();
    bed.routers.stuck.push(MemberId(1));
    // It is told this, and is behind from here on.
    bed.say(2, 2, 1, 1);
    bed.turn();
    bed.say(2, 1, 1, 0);
    bed.say(2, 3, 1, 1);
    bed.turn();
    assert_eq!(bed.held(0, 1), [(2, 2), (3, 2)]);
    assert_eq!(bed.held(1, 1), [(1, 2), (2, 2)]);
    bed.say(2, 4, 1, 1);
    bed.turn();
    assert_eq!(bed.held(0, 1).last(), Some(&(4, 2)), "1 is not free");
    bed.routers.stuck.clear();
    bed.turn();
    assert_eq!(bed.held(1, 1), bed.held(0, 1));
    bed.say(2, 5, 1, 1);
    bed.turn();
    assert_eq!(bed.held(0, 1).first(), Some(&(1, 2)));
    assert_eq!(bed.held(1, 1), bed.held(0, 1));
}

#[test]
fn more_or_fewer_paths_are_told_without_taking_any_back_that_stays() {
    let mut bed = Bed::new(view(2), 1);
    for source in 1..4 {
        bed.say(source, 0, 1, source);
    }
    bed.turn();
    assert_eq!(bed.held(0, 1), [(1, 1), (2, 2)]);
    bed.group.change_view(view(3), &bed.rib);
    assert_eq!(bed.turn(), (1, 0));
    assert_eq!(bed.held(0, 1), [(1, 1), (2, 2), (3, 3)]);
    bed.group.change_view(view(1), &bed.rib);
    assert_eq!(bed.turn(), (0, 1));
    assert_eq!(bed.held(0, 1), [(1, 1)]);
}

#[test]
fn who_comes_from_another_group_holds_nothing_of_it_any_more() {
    let mut bed = Bed::new(view(4), 1);
    for source in [3, 1, 2] {
        bed.say(source, 0, 1, source);
        bed.turn();
    }
    bed.say(3, 0, 2, 1);
    bed.say(3, 0, 1, 0);
    bed.turn();
    assert_eq!(bed.held(0, 1), [(2, 1), (3, 2)]);
    let told = bed.group.told_by_now();
    let mut second = Group::new(view(2), &bed.rib, 1);
    std::mem::swap(&mut bed.group, &mut second);
    second.leave(MemberId(0), bed.sources[0], &mut bed.routers);
    bed.group
        .move_in(&[(MemberId(0), bed.sources[0])], &told, &mut bed.routers);
    bed.turn();
    assert_eq!(bed.held(0, 1), [(1, 1), (2, 2)]);
    assert_eq!(bed.held(0, 2), [(1, 3)]);
}
