//! A BGP instance on one shard: the shard's writer of its table, its update groups, and a turn of the
//! table work that is queued (`own_routes`, `teardown`, `reselect`).
//!
//! Everything here is done in bounded quanta: originations, the paths of peers that went down,
//! dirty prefixes, groups' walks.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::Arc;

use ahash::AHashMap;
use codec::{Family, FamilySet, IpPrefix};
use rib::{IdSet, OpenChange, PrefixId, RibWriter, ShardMask, SourceId, SourceInfo, SourceKind};

use super::arrivals::Arrivals;
use super::graceful_shutdown::Drained;
use super::import::Imports;
use super::own_routes::Origination;
use super::reselect::Reselection;
use super::stale::Swept;
use super::teardown::Teardown;
use super::validation::Vrps;
use crate::config::{DynamicNeighbors, InstanceSettings, PeerAddress};
use crate::group::{ExportView, Group, MemberId, Outbox};
use crate::time::Time;

/// Prefixes that one kind of table work may touch in one turn.
pub(super) const QUANTUM: usize = 4096;

pub(super) struct Instance {
    pub(super) settings: Option<Arc<InstanceSettings>>,
    pub(super) dynamic_neighbors: BTreeMap<IpPrefix, Arc<DynamicNeighbors>>,
    pub(super) drained: Drained,
    pub(super) writer: RibWriter,
    pub(super) local: SourceId,
    /// Own routes of this shard.
    pub(super) own: [usize; Family::ALL.len()],
    /// Peers that are away and may have routes of a family, which are judged anew as others are.
    pub(super) away: [usize; Family::ALL.len()],
    /// Places of groups that emptied are reused.
    pub(super) groups: Vec<Option<Group>>,
    views: AHashMap<ExportView, usize>,
    pub(super) originations: VecDeque<Origination>,
    /// Shares of changes that are in the table and not published.
    pub(super) settled: Vec<OpenChange>,
    /// Marks that may be of the time in which nobody was told anything, and still wait; none: it is
    /// that time.
    deferred: Option<usize>,
    pub(super) teardowns: VecDeque<Teardown>,
    /// The walk that chooses best paths anew; none: they are as the settings say.
    pub(super) reselection: Option<Reselection>,
    /// What was swept in this turn.
    pub(super) swept: Vec<Swept>,
    /// Whether somebody watches: then it is noted what goes without its peer saying so.
    pub(super) watched: bool,
    /// What went in this turn, and whose it was.
    pub(super) gone: Vec<(PeerAddress, IpPrefix)>,
    /// What the peer that is being read has said.
    pub(super) arrivals: Arrivals,
    /// The import policies of this shard's peers.
    pub(super) imports: Imports,
    /// What is valid of its routes (RFC 6811).
    pub(super) vrps: Vrps,
    /// Prefixes that peers said while we originated them.
    pub(super) echoes: [IdSet; Family::ALL.len()],
    /// Prefixes of which an own route came or went, and that peers of this shard may have said.
    pub(super) own_changed: Vec<(Family, PrefixId)>,
    /// The own families as of when peers were last looked at for them.
    pub(super) known_own_families: FamilySet,
    /// Room for one attribute set.
    pub(super) canonical: Vec<u8>,
    pub(super) dirty: Vec<(Family, PrefixId)>,
    /// Routes that did not fit the table's limits, since the start.
    refused: u64,
    /// Decides the jitter of groups.
    seed: u64,
    /// When something that waits in a group is to be told.
    due: Option<Time>,
    #[cfg(test)]
    pub(super) fault: Option<crate::group::Fault>,
}

impl Instance {
    pub(super) fn new(mut writer: RibWriter, seed: u64) -> Instance {
        let local = writer.add_source(SourceInfo {
            kind: SourceKind::Local,
            asn: 0,
            router_id: Ipv4Addr::UNSPECIFIED,
            address: None,
        });
        Instance {
            settings: None,
            dynamic_neighbors: BTreeMap::new(),
            drained: Drained::default(),
            writer,
            local,
            own: Default::default(),
            away: Default::default(),
            groups: Vec::new(),
            views: AHashMap::new(),
            originations: VecDeque::new(),
            settled: Vec::new(),
            deferred: None,
            teardowns: VecDeque::new(),
            reselection: None,
            swept: Vec::new(),
            watched: false,
            gone: Vec::new(),
            arrivals: Arrivals::default(),
            imports: Imports::default(),
            vrps: Vrps::default(),
            echoes: Default::default(),
            own_changed: Vec::new(),
            known_own_families: FamilySet::NONE,
            canonical: Vec::new(),
            dirty: Vec::new(),
            refused: 0,
            seed,
            due: None,
            #[cfg(test)]
            fault: None,
        }
    }

    pub(super) fn name(&self) -> &str {
        self.settings.as_ref().map_or("", |settings| &settings.name)
    }

    pub(super) fn enabled(&self) -> bool {
        self.settings
            .as_ref()
            .is_some_and(|settings| settings.enabled)
    }

    /// The group of a view, made if there is none.
    pub(super) fn group_of(&mut self, view: ExportView) -> usize {
        if let Some(group) = self.views.get(&view) {
            return *group;
        }
        // First the marks, then the walk, so that no change falls between them.
        for family in view.families.iter() {
            self.writer.subscribe(family, true);
        }
        self.subscribe_others(Some(&view));
        let place = match self.groups.iter().position(Option::is_none) {
            Some(place) => place,
            None => {
                self.groups.push(None);
                self.groups.len() - 1
            }
        };
        let seed = self.seed.wrapping_add(place as u64);
        let mut group = Group::new(view.clone(), self.writer.rib(), seed);
        group.set_vrps(self.vrps.table.clone());
        #[cfg(test)]
        group.plant(self.fault);
        self.groups[place] = Some(group);
        self.views.insert(view, place);
        place
    }

    /// Gives a group another view. False, and nothing changes: another group has it already.
    pub(super) fn change_view(&mut self, place: usize, view: &ExportView) -> bool {
        if self.views.contains_key(view) {
            return false;
        }
        let rib = Arc::clone(self.writer.rib());
        let Some(group) = self.group_mut(place) else {
            return false;
        };
        // What a session exchanges was settled when it came up: the best paths of the same families
        // are marked.
        if group.view().families != view.families {
            return false;
        }
        let old = group.change_view(view.clone(), &rib);
        self.views.remove(&old);
        self.views.insert(view.clone(), place);
        self.subscribe_others(None);
        true
    }

    pub(super) fn group(&self, place: usize) -> Option<&Group> {
        self.groups.get(place)?.as_ref()
    }

    /// Both, for what a group does to the table.
    pub(super) fn writer_and_group(
        &mut self,
        place: usize,
    ) -> (&mut RibWriter, Option<&mut Group>) {
        let group = self.groups.get_mut(place).and_then(Option::as_mut);
        (&mut self.writer, group)
    }

    pub(super) fn group_mut(&mut self, place: usize) -> Option<&mut Group> {
        self.groups.get_mut(place)?.as_mut()
    }

    /// A member leaves its group; a group without members goes.
    pub(super) fn leave(
        &mut self,
        place: usize,
        member: MemberId,
        source: SourceId,
        outbox: &mut impl Outbox,
    ) {
        let Some(group) = self.group_mut(place) else {
            return;
        };
        group.leave(member, source, outbox);
        if group.members() > 0 {
            return;
        }
        if let Some(group) = self.groups[place].take() {
            self.views.remove(group.view());
            for attributes in group.into_counts() {
                self.writer.release(attributes);
            }
        }
        for family in Family::ALL {
            self.end_subscription(family);
        }
        self.subscribe_others(None);
    }

    /// Marks of a family are not wanted any more unless somebody is told it, or is away and has routes
    /// of it.
    fn end_subscription(&mut self, family: Family) {
        let mut groups = self.groups.iter().flatten();
        let is_told = groups.any(|group| group.view().families.contains(family));
        if !is_told && self.away[family.index()] == 0 {
            self.writer.subscribe(family, false);
        }
    }

    /// A peer is about to be away that may have routes of a family: before its group goes, so that no
    /// mark is missed.
    pub(super) fn hear_on(&mut self, family: Family) {
        self.away[family.index()] += 1;
    }

    /// It is back, or has none any more.
    pub(super) fn hear_no_more(&mut self, family: Family) {
        self.away[family.index()] -= 1;
        self.end_subscription(family);
    }

    /// Marks of other paths than the best are wanted as long as a group tells them, or one that is
    /// about to be made.
    fn subscribe_others(&mut self, coming: Option<&ExportView>) {
        #[cfg(test)]
        if self.fault == Some(crate::group::Fault::UnmarkedOthers) {
            return;
        }
        for family in Family::ALL {
            let views = self.groups.iter().flatten().map(Group::view).chain(coming);
            let wanted = views
                .filter(|view| view.families.contains(family))
                .any(|view| view.wants_others(family));
            self.writer.subscribe_others(family, wanted);
        }
    }

    /// One bounded quantum. Returns the shards to wake, and whether there is more to do. `defers`:
    /// nobody is told anything yet (`deferral`); what changes is marked and waits.
    pub(super) fn work(
        &mut self,
        now: Time,
        outbox: &mut impl Outbox,
        defers: bool,
    ) -> (ShardMask, bool) {
        self.due = None;
        self.run_originations();
        self.run_teardowns();
        let mut more = self.reselect_some();
        let wake = self.publish();
        if defers {
            self.writer.flush();
            self.deferred = None;
            more |= !self.originations.is_empty() || !self.teardowns.is_empty();
            return (wake, more);
        }
        // Before the marks are taken: what the others published by then is among them.
        let alone = !self.writer.rib().is_changing_beside(self.writer.shard());
        for group in self.groups.iter_mut().flatten() {
            group.begin_turn(now);
        }
        self.apply_dirty(outbox);
        let rib = Arc::clone(self.writer.rib());
        more |=
            self.writer.has_dirty() || !self.originations.is_empty() || !self.teardowns.is_empty();
        let guard = rib.guard();
        for group in self.groups.iter_mut().flatten() {
            more |= group.apply_waiting(&mut self.writer, &guard);
        }
        for group in self.groups.iter_mut().flatten() {
            // A change is told as one, whoever of the shards carries it out; so is a first table.
            if more || !alone || group.is_evaluating() || group.is_resting() {
                group.deliver_in_sync(outbox);
            } else {
                group.flush_live(outbox);
            }
        }
        let deferred = self.count_deferred();
        // Live changes have gone out; what new and slow members are owed comes behind them. So does
        // End-of-RIB: after a restart what was deferred is their first table.
        for group in self.groups.iter_mut().flatten() {
            if deferred == 0 {
                more |= group.work(&mut self.writer, &guard, outbox);
            }
            for attributes in group.take_released() {
                self.writer.release(attributes);
            }
        }
        drop(guard);
        let groups = self.groups.iter().flatten();
        self.due = groups.filter_map(Group::next_timeout).min();
        self.imports.flush();
        for group in self.groups.iter_mut().flatten() {
            group.count_hits();
        }
        more |= !self.own_changed.is_empty();
        let (asked, reclaiming) = self.reclaim();
        self.writer.flush();
        (wake | asked, more | reclaiming)
    }

    /// How many marks may still wait that are of the time in which nobody was told anything. Marks are
    /// taken in order: should new ones never cease, those of before are done with once as many were
    /// taken as the table had prefixes, whoever of the shards put them there.
    fn count_deferred(&mut self) -> usize {
        let rib = self.writer.rib();
        let all = || {
            let limits = Family::ALL.map(|family| rib.id_limit(family) as usize);
            limits.iter().sum()
        };
        let left = match self.writer.has_dirty() {
            true => self
                .deferred
                .unwrap_or_else(all)
                .saturating_sub(self.dirty.len()),
            false => 0,
        };
        self.deferred = Some(left);
        left
    }

    /// When [`Instance::work`] is wanted next, whatever happens.
    pub(super) fn next_timeout(&self) -> Option<Time> {
        self.due
    }

    /// Marks what changed. Returns the shards to wake.
    fn publish(&mut self) -> ShardMask {
        let mut wake = self.writer.publish();
        if !self.settled.is_empty() {
            // They may hold back what they have until this share is there, even an empty one.
            self.settled.clear();
            wake |= self.writer.other_subscribers();
        }
        wake
    }

    fn apply_dirty(&mut self, outbox: &mut impl Outbox) {
        self.dirty.clear();
        self.writer.take_dirty(QUANTUM, &mut self.dirty);
        if self.dirty.is_empty() {
            return;
        }
        self.note_own_changes();
        let guard = self.writer.rib().guard();
        for family in Family::ALL {
            let of_family = self.dirty.iter().filter(|(marked, _)| *marked == family);
            let ids: Vec<PrefixId> = of_family.map(|(_, id)| *id).collect();
            if ids.is_empty() {
                continue;
            }
            for group in self.groups.iter_mut().flatten() {
                group.take_changes(&mut self.writer, &guard, family, &ids);
            }
        }
        for group in self.groups.iter_mut().flatten() {
            group.deliver_in_sync(outbox);
        }
    }

    /// A route found no room. Said ever more rarely: the 1st, 2nd, 4th, 8th … time.
    pub(super) fn refuse(&mut self, what: &str) {
        self.refused += 1;
        if self.refused.is_power_of_two() {
            tracing::warn!(
                instance = self.name(),
                times = self.refused,
                "a route is not taken: the table has no room for more {what}"
            );
        }
    }

    /// Whether no table work is left and every member has been told everything.
    pub(super) fn is_quiet(&self) -> bool {
        self.originations.is_empty()
            && self.own_changed.is_empty()
            && self.vrps.is_quiet()
            && self.teardowns.is_empty()
            && self.reselection.is_none()
            && !self.writer.has_dirty()
            && self.groups.iter().flatten().all(Group::is_quiet)
    }
}

#[cfg(test)]
mod tests {

    use bytes::Bytes;
    use codec::{Ipv4Prefix, PeerKind};
    use rib::{Rib, RibOptions, Selection, ShardId};

    use super::*;
    use crate::config::Export;
    use crate::config::{OriginAttributes, OriginChange};
    use crate::policy::Sources;

    /// Counts messages, as sockets that take everything at once.
    #[derive(Default)]
    struct Counter(usize);

    impl Outbox for Counter {
        fn send(&mut self, _: MemberId, _: Bytes) {
            self.0 += 1;
        }

        fn backlog(&self, _: MemberId) -> usize {
            0
        }
    }

    fn view() -> ExportView {
        ExportView {
            export: Export::Originated,
            ..ExportView::plain(PeerKind::External, 65001, Ipv4Addr::new(10, 0, 0, 5))
        }
    }

    #[test]
    fn a_peer_that_comes_later_is_told_the_table_in_full_messages_too() {
        let rib = Rib::new(RibOptions {
            shards: 1,
            selection: Selection::default(),
        });
        let mut instance = Instance::new(rib.writer(ShardId(0)), 0);
        let attributes = Arc::new(OriginAttributes {
            communities: Vec::new(),
            large_communities: Vec::new(),
            local_preference: 100,
        });
        let change = |number: u32| OriginChange {
            prefix: IpPrefix::V4(Ipv4Prefix::masked(
                Ipv4Addr::from(0x1400_0000 + (number << 8)),
                24,
            )),
            attributes: Some(Arc::clone(&attributes)),
            kinds: Sources::NETWORK_POLICY,
        };
        instance.originate((0..100_000).map(change).collect(), None);
        while instance
            .work(Time::default(), &mut Counter::default(), false)
            .1
        {}
        for member in 0..2 {
            let mut counter = Counter::default();
            let source = instance.writer.add_source(SourceInfo {
                kind: SourceKind::External,
                asn: 65002 + member,
                router_id: Ipv4Addr::from(member + 1),
                address: Some(Ipv4Addr::from(0x0a00_0006 + member).into()),
            });
            let place = instance.group_of(view());
            if let Some(group) = instance.group_mut(place) {
                group.join(MemberId(member), source, &mut counter);
            }
            while instance.work(Time::default(), &mut counter, false).1 {}
            assert!(instance.is_quiet());
            // One of them is the End-of-RIB.
            assert!(counter.0 <= 101, "{} messages", counter.0);
        }
    }
}
