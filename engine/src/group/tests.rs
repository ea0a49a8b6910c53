//! What members of a group are told, and when.

mod dumps;
mod long;
mod rest;
mod served;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use codec::{
    AttributeSet, AttributeWriter, IpPrefix, Ipv4Prefix, Message, Origin, PeerKind, WireFormat,
};
use rib::{Path, PathFlags, RibOptions, RibWriter, ShardId, SourceInfo, SourceKind};

use super::*;
use crate::config::Client;

/// What a member's router holds: prefix to the AS path as text.
type Table = BTreeMap<IpPrefix, String>;

#[derive(Default)]
struct Routers {
    tables: BTreeMap<MemberId, Table>,
    messages: BTreeMap<MemberId, usize>,
    end_of_rib: BTreeMap<MemberId, usize>,
    backlog: BTreeMap<MemberId, usize>,
    /// Prefixes that were not told again since a refresh began.
    stale: BTreeMap<(MemberId, Family), BTreeSet<IpPrefix>>,
    /// Refreshes that ended.
    refreshed: BTreeMap<MemberId, usize>,
    /// Members that take messages of more than 4,096 octets.
    long: Vec<MemberId>,
    /// Members that were told that something is withdrawn for being too long.
    oversized: Vec<(MemberId, IpPrefix)>,
    /// Members whose sockets take nothing.
    stuck: Vec<MemberId>,
}

impl Outbox for Routers {
    fn send(&mut self, member: MemberId, messages: Bytes) {
        if self.stuck.contains(&member) {
            *self.backlog.entry(member).or_default() += messages.len();
        }
        let mut rest = &messages[..];
        let max_len = match self.long.contains(&member) {
            true => codec::MAX_EXTENDED_LEN,
            false => codec::MAX_LEN,
        };
        while let Some(length) = codec::frame(rest, max_len).expect("whole messages") {
            self.take(member, &rest[..length]);
            rest = &rest[length..];
        }
        assert!(rest.is_empty());
    }

    fn takes_long(&self, member: MemberId) -> bool {
        self.long.contains(&member)
    }

    fn say_oversized(&mut self, member: MemberId, prefix: IpPrefix) {
        self.oversized.push((member, prefix));
    }

    fn backlog(&self, member: MemberId) -> usize {
        self.backlog.get(&member).copied().unwrap_or(0)
    }
}

impl Routers {
    fn take(&mut self, member: MemberId, message: &[u8]) {
        *self.messages.entry(member).or_default() += 1;
        let body = match codec::parse_message(message) {
            Ok(Message::Update(body)) => body,
            Ok(Message::RouteRefresh(refresh)) => return self.take_bound(member, refresh),
            other => panic!("{other:?}"),
        };
        let update = codec::parse_update(body, &wire()).expect("our own UPDATE parses");
        assert!(update.faults.is_empty());
        let table = self.tables.entry(member).or_default();
        if update.end_of_rib().is_some() {
            *self.end_of_rib.entry(member).or_default() += 1;
        }
        let gone = update.mp_withdrawn.iter().flat_map(|mp| mp.nlri.iter());
        for (_, prefix) in update.withdrawn.iter().chain(gone) {
            table.remove(&prefix);
        }
        let announced = [
            (codec::NlriField::Plain, Some(update.announced)),
            (
                codec::NlriField::MpReach,
                update.mp_announced.map(|mp| mp.nlri),
            ),
        ];
        for (field, nlri) in announced {
            let Some(nlri) = nlri.filter(|nlri| !nlri.is_empty()) else {
                continue;
            };
            let mut canonical = Vec::new();
            update.canonical(field, &mut canonical);
            let path = AttributeSet::new(&canonical).as_path().to_string();
            for (_, prefix) in nlri.iter() {
                table.insert(prefix, path.clone());
                if let Some(stale) = self.stale.get_mut(&(member, prefix.family())) {
                    stale.remove(&prefix);
                }
            }
        }
    }

    /// As a router does that takes RFC 7313 at its word.
    fn take_bound(&mut self, member: MemberId, refresh: RouteRefresh) {
        let family = Family::from_afi_safi(refresh.afi, refresh.safi).unwrap();
        let table = self.tables.entry(member).or_default();
        if refresh.subtype == RouteRefresh::BEGIN {
            assert!(self.end_of_rib.contains_key(&member), "before End-of-RIB");
            let all = table.keys().copied().filter(|p| p.family() == family);
            let begun = self.stale.insert((member, family), all.collect());
            assert!(begun.is_none(), "begun twice");
            return;
        }
        assert_eq!(refresh.subtype, RouteRefresh::END);
        let stale = self.stale.remove(&(member, family));
        for prefix in stale.expect("it began") {
            table.remove(&prefix);
        }
        *self.refreshed.entry(member).or_default() += 1;
    }
}

fn wire() -> WireFormat {
    WireFormat {
        families: FamilySet::ALL,
        ..WireFormat::default()
    }
}

fn view() -> ExportView {
    ExportView::plain(PeerKind::External, 65001, Ipv4Addr::new(10, 0, 0, 5))
}

/// A route server's clients.
fn served() -> ExportView {
    ExportView {
        client: Some(Client::RouteServer),
        ..view()
    }
}

struct Bed {
    rib: Arc<Rib>,
    writer: RibWriter,
    group: Group,
    routers: Routers,
    sources: BTreeMap<MemberId, SourceId>,
    paths: BTreeMap<(Ipv4Prefix, MemberId), u32>,
    /// All members are of one AS, so that what they say may be the same.
    one_as: bool,
}

impl Bed {
    fn new() -> Bed {
        Bed::of(view())
    }

    fn of(view: ExportView) -> Bed {
        let rib = Rib::new(RibOptions {
            shards: 1,
            selection: rib::Selection::default(),
        });
        let mut writer = rib.writer(ShardId(0));
        writer.subscribe(Family::Ipv4Unicast, true);
        writer.subscribe_others(Family::Ipv4Unicast, view.wants_others(Family::Ipv4Unicast));
        let group = Group::new(view, &rib, 1);
        Bed {
            rib,
            writer,
            group,
            routers: Routers::default(),
            sources: BTreeMap::new(),
            paths: BTreeMap::new(),
            one_as: false,
        }
    }

    fn asn(&self, member: MemberId) -> u32 {
        match self.one_as {
            true => 65100,
            false => 65100 + member.0,
        }
    }

    fn source(&mut self, number: u32) -> SourceId {
        self.writer.add_source(SourceInfo {
            kind: SourceKind::External,
            asn: self.asn(MemberId(number)),
            router_id: Ipv4Addr::from(number + 1),
            address: Some(Ipv4Addr::from(0x0a01_0000 + number).into()),
        })
    }

    fn join(&mut self, number: u32) -> MemberId {
        let member = MemberId(number);
        let source = self.source(number);
        self.sources.insert(member, source);
        self.routers.tables.insert(member, Table::new());
        self.group.join(member, source, &mut self.routers);
        member
    }

    fn leave(&mut self, member: MemberId) {
        let Some(source) = self.sources.remove(&member) else {
            return;
        };
        self.group.leave(member, source, &mut self.routers);
        self.routers.tables.remove(&member);
        self.routers.end_of_rib.remove(&member);
        self.routers.stale.retain(|(of, _), _| *of != member);
        self.routers.backlog.remove(&member);
        let gone: Vec<_> = self
            .paths
            .keys()
            .filter(|(_, m)| *m == member)
            .copied()
            .collect();
        for (prefix, _) in gone {
            self.paths.remove(&(prefix, member));
            self.writer.withdraw(prefix, source, 0);
        }
        self.writer.publish();
    }

    /// A path whose length decides: `length` AS numbers, all of them the member's.
    fn announce(&mut self, member: MemberId, prefix: Ipv4Prefix, length: u32) {
        self.upsert(member, prefix, length);
        self.paths.insert((prefix, member), length);
    }

    fn upsert<P: codec::Prefix>(&mut self, member: MemberId, prefix: P, length: u32) {
        self.upsert_with(member, prefix, length, &[]);
    }

    /// With these large communities on it.
    fn upsert_with<P: codec::Prefix>(
        &mut self,
        member: MemberId,
        prefix: P,
        length: u32,
        communities: &[[u32; 3]],
    ) {
        let asn = self.asn(member);
        let mut canonical = Vec::new();
        let mut writer = AttributeWriter::new(&mut canonical);
        writer.origin(Origin::Igp);
        let asns = vec![asn; length as usize];
        writer.as_path(&AttributeSet::new(&[]).as_path(), &asns, true);
        writer.next_hop(Ipv4Addr::new(10, 1, 0, 1));
        writer.large_communities(communities);
        let attributes = self.writer.intern(&canonical).expect("room");
        let path = Path {
            attributes,
            source: self.sources[&member],
            path_id: 0,
            flags: PathFlags::NONE,
        };
        self.writer.upsert(prefix, path).expect("room");
        self.writer.release(attributes);
    }

    /// Everybody is told of another AS of ours from now on.
    fn change_view(&mut self, local_asn: u32) {
        let view = ExportView {
            local_asn,
            ..view()
        };
        self.group.change_view(view, &self.rib);
    }

    /// Everybody goes to another group, so many at a time.
    fn move_over(&mut self, view: ExportView, at_a_time: usize) {
        let others = view.wants_others_at_all();
        let mut old = std::mem::replace(&mut self.group, Group::new(view, &self.rib, 1));
        let members: Vec<_> = self.sources.iter().map(|(id, of)| (*id, *of)).collect();
        for joining in members.chunks(at_a_time) {
            let before = old.told_by_now();
            let owed = joining.iter().map(|(id, _)| (*id, old.owed_ends(*id)));
            let owed: Vec<_> = owed.collect();
            for (id, source) in joining {
                old.leave(*id, *source, &mut self.routers);
            }
            self.group.move_in(joining, &before, &mut self.routers);
            for (id, owed) in owed {
                self.group.take_over_ends(id, owed.expect("it is a member"));
            }
            if others {
                let guard = Rib::pin();
                let said = self
                    .paths
                    .keys()
                    .filter(|(_, by)| joining.iter().any(|(id, _)| id == by));
                let ids =
                    said.filter_map(|(prefix, _)| self.rib.lookup(IpPrefix::V4(*prefix), &guard));
                let mut adj_rib_in = Sets::default();
                adj_rib_in[Family::Ipv4Unicast.index()].extend(ids);
                self.group.adopt(&mut self.writer, &guard, &adj_rib_in);
            }
        }
        for attributes in old.into_counts() {
            self.writer.release(attributes);
        }
    }

    fn withdraw(&mut self, member: MemberId, prefix: Ipv4Prefix) {
        self.writer.withdraw(prefix, self.sources[&member], 0);
        self.paths.remove(&(prefix, member));
    }

    fn apply(&mut self, dirty: &[(Family, PrefixId)], guard: &Guard) {
        for family in Family::ALL {
            let of_family = dirty.iter().filter(|(marked, _)| *marked == family);
            let ids: Vec<PrefixId> = of_family.map(|(_, id)| *id).collect();
            self.group.apply(&mut self.writer, guard, family, &ids);
        }
    }

    /// Looks at all live changes without sending what is open.
    fn look(&mut self) {
        self.writer.publish();
        let mut dirty = Vec::new();
        self.writer.take_dirty(usize::MAX, &mut dirty);
        let guard = Rib::pin();
        self.apply(&dirty, &guard);
    }

    /// One turn with at most `max` live changes; true if something is left.
    fn turn(&mut self, max: usize) -> bool {
        self.writer.publish();
        let mut dirty = Vec::new();
        self.writer.take_dirty(max, &mut dirty);
        let guard = Rib::pin();
        self.apply(&dirty, &guard);
        if self.writer.has_dirty() {
            self.group.deliver_in_sync(&mut self.routers);
        } else {
            self.group.flush_live(&mut self.routers);
        }
        let more = self.group.work(&mut self.writer, &guard, &mut self.routers);
        self.group.audit();
        for attributes in self.group.take_released() {
            self.writer.release(attributes);
        }
        more || self.writer.has_dirty()
    }

    fn settle(&mut self) {
        while self.turn(usize::MAX) {}
        assert!(self.group.is_quiet() || !self.routers.backlog.is_empty());
    }

    /// The best path of a prefix, without what `but` says.
    fn best(&self, prefix: Ipv4Prefix, but: Option<MemberId>) -> Option<(u32, MemberId)> {
        let all = (prefix, MemberId(0))..=(prefix, MemberId(u32::MAX));
        let paths = self.paths.range(all);
        let paths = paths.map(|((_, from), length)| (*length, *from));
        paths.filter(|(_, from)| Some(*from) != but).min()
    }

    /// What a member is told of a prefix: the best path, and where that is its own, nothing; but
    /// a route server's client the best of the others.
    fn expected(&self, member: MemberId, prefix: Ipv4Prefix) -> Option<String> {
        let served = self.group.view().client.is_some();
        let but = served.then_some(member);
        let (length, from) = self.best(prefix, but)?;
        let ours = (!served).then_some(self.group.view().local_asn);
        let said = std::iter::repeat_n(self.asn(from), length as usize);
        let path: Vec<String> = ours
            .into_iter()
            .chain(said)
            .map(|asn| asn.to_string())
            .collect();
        (from != member).then(|| path.join(" "))
    }

    /// Everybody leaves and the group goes: no attribute set stays behind.
    fn close(mut self) {
        for member in self.sources.keys().copied().collect::<Vec<_>>() {
            self.leave(member);
        }
        for attributes in self.group.into_counts() {
            self.writer.release(attributes);
        }
        assert_eq!(self.writer.attribute_sets(), 0);
    }

    /// Every router that is up holds what it must.
    fn check(&self) {
        let prefixes: BTreeSet<Ipv4Prefix> = self.paths.keys().map(|(prefix, _)| *prefix).collect();
        for (member, table) in &self.routers.tables {
            if self.routers.stuck.contains(member) {
                continue;
            }
            let expected = prefixes.iter().filter_map(|prefix| {
                let path = self.expected(*member, *prefix)?;
                Some((IpPrefix::V4(*prefix), path))
            });
            let expected: Table = expected.collect();
            assert_eq!(*table, expected, "table of {member:?}");
            let long = self.routers.long.contains(member);
            let source = self.sources[member];
            let told = self.group.announced_to(source, Family::Ipv4Unicast, long);
            assert_eq!(told, expected.len() as u64, "counted for {member:?}");
        }
    }
}

fn prefix(number: u32) -> Ipv4Prefix {
    Ipv4Prefix::masked(Ipv4Addr::from(0x1400_0000 + (number << 8)), 24)
}

// RFC-SHOWN 4271 §4.3
#[test]
fn prefixes_with_one_attribute_set_fill_their_messages() {
    let mut bed = Bed::new();
    let sender = bed.join(0);
    let receiver = bed.join(1);
    bed.settle();
    let before = bed.routers.messages.get(&receiver).copied().unwrap_or(0);
    for number in 0..100_000 {
        bed.announce(sender, prefix(number), 1);
    }
    while bed.turn(4096) {}
    let messages = bed.routers.messages[&receiver] - before;
    assert!(messages <= 100, "{messages} messages for 100,000 prefixes");
    assert_eq!(bed.routers.tables[&receiver].len(), 100_000);
}

#[test]
fn a_member_never_gets_its_own_path_and_forgets_what_its_own_displaced() {
    let mut bed = Bed::new();
    let (a, b) = (bed.join(0), bed.join(1));
    bed.announce(a, prefix(1), 5);
    bed.settle();
    bed.check();
    assert_eq!(bed.routers.tables[&b].len(), 1);
    // The better path of b goes to a, and b has to forget a's.
    bed.announce(b, prefix(1), 1);
    bed.settle();
    bed.check();
    assert_eq!(bed.routers.tables[&b].len(), 0);
    bed.withdraw(b, prefix(1));
    bed.settle();
    bed.check();
}

#[test]
fn equal_attributes_of_two_neighbors_are_not_the_same_advert() {
    for view in [view(), served()] {
        let mut bed = Bed::of(view);
        bed.one_as = true;
        let (a, b, c) = (bed.join(0), bed.join(1), bed.join(2));
        bed.announce(a, prefix(1), 2);
        bed.announce(b, prefix(1), 2);
        bed.settle();
        bed.check();
        bed.withdraw(a, prefix(1));
        bed.settle();
        bed.check();
        assert_eq!(bed.routers.tables[&a].len(), 1);
        assert_eq!(bed.routers.tables[&c].len(), 1);
    }
}

#[test]
fn a_route_servers_client_whose_own_path_is_best_is_told_the_best_of_the_others() {
    let mut bed = Bed::of(served());
    let (a, b, c) = (bed.join(0), bed.join(1), bed.join(2));
    bed.settle();
    let messages = |bed: &Bed| [a, b, c].map(|member| bed.routers.messages.get(&member).copied());
    bed.announce(a, prefix(1), 1);
    bed.announce(b, prefix(1), 2);
    bed.settle();
    bed.check();
    assert_eq!(bed.routers.tables[&a].len(), 1, "the path of b");
    // The best of the others changes: only the member that is told it hears of it.
    let before = messages(&bed);
    bed.announce(c, prefix(1), 1);
    bed.settle();
    bed.check();
    let after = messages(&bed);
    assert_ne!(before[0], after[0]);
    assert_eq!(before[1..], after[1..]);
    // The best one changes hands: its old and its new member are told what they must be.
    bed.withdraw(a, prefix(1));
    bed.settle();
    bed.check();
    bed.withdraw(b, prefix(1));
    bed.settle();
    bed.check();
    assert_eq!(bed.routers.tables[&c].len(), 0);
    bed.withdraw(c, prefix(1));
    bed.settle();
    bed.check();
}

#[test]
fn within_a_batch_the_newest_state_of_a_prefix_wins() {
    for view in [view(), served()] {
        let mut bed = Bed::of(view);
        let (a, b) = (bed.join(0), bed.join(1));
        bed.join(2);
        bed.settle();
        // No flush between these: they meet in one batch, each with other prefixes around it.
        for round in 0..20u32 {
            for number in 0..4 {
                let (one, other) = match (round + number) % 3 {
                    0 => (a, b),
                    _ => (b, a),
                };
                match (round * 7 + number * 3) % 5 {
                    0 => bed.withdraw(one, prefix(number)),
                    1 => bed.announce(one, prefix(number), 1 + round % 3),
                    2 => {
                        bed.withdraw(one, prefix(number));
                        bed.announce(other, prefix(number), 2);
                    }
                    _ => bed.announce(other, prefix(number), 1 + number % 3),
                }
                bed.look();
            }
        }
        bed.settle();
        bed.check();
    }
}

#[test]
fn a_stuck_member_costs_the_others_nothing_and_gets_only_the_newest() {
    let mut bed = Bed::new();
    let (a, b, stuck) = (bed.join(0), bed.join(1), bed.join(2));
    bed.settle();
    bed.routers.stuck.push(stuck);
    bed.routers.backlog.insert(stuck, BACKLOG_MAX + 1);
    for round in 1..20 {
        for number in 0..1000 {
            bed.announce(a, prefix(number), 1 + round % 3);
        }
        bed.settle();
        bed.check();
        assert_eq!(bed.routers.tables[&b].len(), 1000);
    }
    assert!(bed.routers.messages[&stuck] < bed.routers.messages[&b] / 4);
    bed.routers.stuck.clear();
    bed.routers.backlog.clear();
    bed.settle();
    bed.check();
}

#[test]
fn random_members_and_changes_end_in_the_right_tables() {
    for (seed, view) in (0..400u64).zip([view(), served()].iter().cycle()) {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = move |below: u32| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random >> 33) as u32 % below
        };
        let mut bed = Bed::of(view.clone());
        bed.one_as = next(2) == 0;
        for _ in 0..300 {
            let member = MemberId(next(6));
            match next(10) {
                0 if !bed.sources.contains_key(&member) => drop(bed.join(member.0)),
                1 if bed.sources.contains_key(&member) && next(3) == 0 => bed.leave(member),
                2 if bed.sources.contains_key(&member) => {
                    let bounds = next(2) == 0;
                    bed.group
                        .refresh(member, Family::Ipv4Unicast, bounds, &mut bed.routers);
                }
                3 if next(4) == 0 => bed.change_view(65001 + next(2)),
                3 if next(4) == 0 => {
                    let view = ExportView {
                        local_asn: 65001 + next(2),
                        ..bed.group.view().clone()
                    };
                    bed.move_over(view, 1 + next(6) as usize);
                }
                3 => drop(bed.turn(next(20) as usize)),
                4 => bed.settle(),
                // A member slow enough to fall behind, or not slow any more.
                5 => match bed.routers.backlog.remove(&member) {
                    Some(_) => {}
                    None => drop(bed.routers.backlog.insert(member, BACKLOG_MAX + 1)),
                },
                6 | 7 if bed.sources.contains_key(&member) => {
                    bed.withdraw(member, prefix(next(30)));
                }
                _ if bed.sources.contains_key(&member) => {
                    bed.announce(member, prefix(next(30)), 1 + next(3));
                }
                _ => {}
            }
        }
        bed.routers.backlog.clear();
        bed.settle();
        bed.check();
        assert!(bed.routers.stale.is_empty(), "a refresh did not end");
        bed.close();
    }
}
