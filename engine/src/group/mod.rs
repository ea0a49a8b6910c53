//! Update groups: peers with one export view share one Adj-RIB-Out, and each UPDATE is encoded
//! once for all of them.
//!
//! A group knows no sockets and no sessions: it reads the RIB, keeps what its members have been
//! told as one flat array of adverts, and hands messages to an [`Outbox`].
//!
//! Invariants ([`Group::audit`] checks them): the in-sync cohort has been told exactly the
//! Adj-RIB-Out, but for what stands in its open messages; every other cohort, once its sets are
//! empty, too. A member never holds a path learned from itself. Each advert's count is the number
//! of Adj-RIB-Out entries that hold it.

mod advert;
mod cohort;
mod export;
mod holds;
mod pack;
mod view;
mod walk;

#[cfg(test)]
mod tests;

use ahash::AHashMap;
use bytes::Bytes;
use codec::{Family, FamilySet, IpPrefix};
use rib::{Guard, IdSet, PrefixId, Rib, SourceId};

use advert::Adverts;
pub use advert::{Advert, AdvertId};
pub use cohort::MemberId;
pub use cohort::Sets;
use cohort::{Cohort, Member, unite};
pub use export::{Exported, Refusal, export};
use pack::Audience;
pub use view::{ExportView, Interfaces, own_next_hop};
use walk::{can_go_on, deliver, is_slow};

/// Where a group's messages go: the connections of the shard.
pub trait Outbox {
    /// Queues a message for a member.
    fn send(&mut self, member: MemberId, message: Bytes);
    /// Octets queued for a member that its socket has not taken.
    fn backlog(&self, member: MemberId) -> usize;
}

/// A member with more than this queued waits in a cohort of its own; the others go on.
const BACKLOG_MAX: usize = 1 << 20;

/// A cohort goes on when one of its members has less than this queued.
const BACKLOG_RESUME: usize = 256 << 10;

/// Past this many cohorts the two nearest are merged.
const COHORTS_MAX: usize = 32;

/// Prefixes that one cohort is told of in one turn.
const QUANTUM: usize = 4096;

/// Adverts that may await freeing before open messages are sent early.
const UNREFERENCED_MAX: usize = 65_536;

/// Faults that tests plant to see that the simulator finds them.
#[cfg(test)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// One withdraw in seven is not told.
    LostWithdraw,
    /// A second change of a prefix that is still owed cancels the first.
    MissedCoalesce,
    /// A member is told its own paths.
    WrongSplitHorizon,
    /// The group does not say which prefix ids it holds.
    NothingHeld,
}

/// Peers that are told the same.
pub struct Group {
    view: ExportView,
    adj_rib_out: [Vec<AdvertId>; Family::ALL.len()],
    adverts: Adverts,
    /// Announced prefixes by family: all, and those learned from a member.
    announced: [u64; Family::ALL.len()],
    announced_from: AHashMap<SourceId, [u64; Family::ALL.len()]>,
    /// Members that are owed nothing but the newest changes.
    in_sync: Cohort,
    lagging: Vec<Cohort>,
    /// Where every member is, by its source.
    sources: AHashMap<SourceId, MemberId>,
    /// The ids below `limit` from `next` on have not been evaluated since the group was made.
    unevaluated: [std::ops::Range<u32>; Family::ALL.len()],
    #[cfg(test)]
    fault: Option<Fault>,
}

impl Group {
    /// A group with no members. Before this the caller has subscribed to the dirty marks of the
    /// view's families, so that what changes from here on is not missed.
    pub fn new(view: ExportView, rib: &Rib) -> Group {
        let limit = |family| match view.families.contains(family) {
            true => 0..rib.id_limit(family),
            false => 0..0,
        };
        let unevaluated = Family::ALL.map(limit);
        Group {
            view,
            adj_rib_out: Default::default(),
            adverts: Adverts::default(),
            announced: Default::default(),
            announced_from: AHashMap::new(),
            in_sync: Cohort::default(),
            lagging: Vec::new(),
            sources: AHashMap::new(),
            unevaluated,
            #[cfg(test)]
            fault: None,
        }
    }

    /// Plants a fault.
    #[cfg(test)]
    pub fn plant(&mut self, fault: Option<Fault>) {
        self.fault = fault;
    }

    /// What the members have in common.
    pub fn view(&self) -> &ExportView {
        &self.view
    }

    /// How many members there are.
    pub fn members(&self) -> usize {
        self.sources.len()
    }

    /// A peer came up, or changes groups. It is owed the whole Adj-RIB-Out and then End-of-RIB for
    /// each family. `told` are the prefixes that another group told it of: what this one does not
    /// announce, it has to hear withdrawn.
    pub fn join(
        &mut self,
        id: MemberId,
        source: SourceId,
        told: Option<Sets>,
        outbox: &mut impl Outbox,
    ) {
        self.sources.insert(source, id);
        let mut member = Member {
            id,
            source,
            owed: self.view.families,
            missed: Sets::default(),
        };
        let announced = self.announced_ids(self.view.families);
        let walking = self.lagging.iter_mut().find(|cohort| !cohort.is_walked());
        match (told, walking) {
            (Some(told), _) => {
                let mut cohort = Cohort {
                    members: vec![member],
                    walk: announced,
                    displaced: told.clone(),
                    ..Cohort::default()
                };
                unite(&mut cohort.walk, &told);
                self.lagging.push(cohort);
            }
            (None, Some(cohort)) => {
                member.missed = announced;
                for (missed, walk) in member.missed.iter_mut().zip(&cohort.walk) {
                    for id in walk.iter() {
                        missed.remove(id);
                    }
                }
                cohort.members.push(member);
            }
            (None, None) if announced.iter().all(IdSet::is_empty) => {
                self.flush_live(outbox);
                self.in_sync.members.push(member);
            }
            (None, None) => self.lagging.push(Cohort {
                members: vec![member],
                walk: announced,
                ..Cohort::default()
            }),
        }
        self.bound_cohorts(outbox);
    }

    /// A member that joined has paths already: adverts of them that were made when it was no
    /// member lack its name, and would be told to it.
    pub fn adopt(&mut self, rib: &Rib, guard: &Guard, adj_rib_in: &Sets) {
        for family in Family::ALL {
            let ids: Vec<PrefixId> = adj_rib_in[family.index()].iter().collect();
            self.apply(rib, guard, family, &ids);
        }
    }

    /// The prefixes that a member may hold: what is announced to it, and what was once and whose
    /// end it is still owed.
    pub fn told_ids(&self, source: SourceId) -> Sets {
        let mut sets = self.announced_ids(self.view.families);
        for (family, set) in Family::ALL.into_iter().zip(&mut sets) {
            let own: Vec<PrefixId> = set
                .iter()
                .filter(|id| self.told(source, family, *id).is_none())
                .collect();
            for id in own {
                set.remove(id);
            }
        }
        for cohort in &self.lagging {
            let members = cohort.members.iter();
            for member in members.filter(|member| member.source == source) {
                for owed in [
                    &cohort.walk,
                    &cohort.changed,
                    &cohort.displaced,
                    &member.missed,
                ] {
                    unite(&mut sets, owed);
                }
            }
        }
        sets
    }

    /// A peer went down or changes groups.
    pub fn leave(&mut self, id: MemberId, source: SourceId, outbox: &mut impl Outbox) {
        self.flush_all(outbox);
        self.sources.remove(&source);
        self.in_sync.remove(id);
        for cohort in &mut self.lagging {
            cohort.remove(id);
        }
        self.lagging.retain(|cohort| !cohort.members.is_empty());
    }

    /// A member asks to hear a family again (RFC 2918 §4).
    pub fn refresh(&mut self, id: MemberId, family: Family, outbox: &mut impl Outbox) {
        self.flush_all(outbox);
        let mut families = FamilySet::NONE;
        families.insert(family);
        let again = self.announced_ids(families);
        let mut cohorts = std::iter::once(&mut self.in_sync).chain(&mut self.lagging);
        let found = cohorts.find_map(|cohort| Some((cohort.remove(id)?, cohort.fork())));
        let Some((member, mut cohort)) = found else {
            return;
        };
        cohort.members.push(member);
        cohort.walk[family.index()].union_with(&again[family.index()]);
        self.lagging.retain(|cohort| !cohort.members.is_empty());
        self.lagging.push(cohort);
        self.bound_cohorts(outbox);
    }

    /// Reads the newest state of prefixes and tells the in-sync members what changed for them;
    /// for the others it is noted.
    pub fn apply(&mut self, rib: &Rib, guard: &Guard, family: Family, ids: &[PrefixId]) {
        if !self.view.families.contains(family) {
            return;
        }
        for id in ids {
            let new = self.evaluate(rib, guard, family, *id);
            let old = self.advert_of(family, *id);
            if new != old {
                self.set(family, *id, old, new);
                self.tell_in_sync(rib.prefix(family, *id), *id, old, new);
                self.note_for_lagging(family, *id, old, new);
            }
        }
    }

    /// One bounded piece of what is owed apart from live changes: the group's first evaluation,
    /// then the lagging cohorts. True if there is more that could be done now; members whose
    /// sockets have to drain first don't count.
    pub fn work(&mut self, rib: &Rib, guard: &Guard, outbox: &mut impl Outbox) -> bool {
        self.evaluate_some(rib, guard);
        for place in 0..self.lagging.len() {
            self.tell_lagging(place, rib, outbox);
        }
        self.settle(outbox);
        !self.is_evaluated() || self.lagging.iter().any(|cohort| can_go_on(cohort, outbox))
    }

    /// No more live changes are at hand: what is open for the in-sync members leaves.
    pub fn flush_live(&mut self, outbox: &mut impl Outbox) {
        self.in_sync.packer.flush();
        self.deliver_in_sync(outbox);
    }

    /// Hands on the full messages for in-sync members, and moves those that are too slow into a
    /// cohort of their own.
    pub fn deliver_in_sync(&mut self, outbox: &mut impl Outbox) {
        deliver(&mut self.in_sync, outbox);
        if self.in_sync.members.iter().any(|m| is_slow(m, outbox)) {
            self.in_sync.packer.flush();
            deliver(&mut self.in_sync, outbox);
            let (slow, rest) = std::mem::take(&mut self.in_sync.members)
                .into_iter()
                .partition(|member| is_slow(member, outbox));
            self.in_sync.members = rest;
            self.lagging.push(Cohort {
                members: slow,
                ..Cohort::default()
            });
            self.bound_cohorts(outbox);
        }
        if self.adverts.unreferenced() > UNREFERENCED_MAX {
            self.flush_all(outbox);
        }
        self.reap();
    }

    /// Whether every member has been told everything.
    pub fn is_quiet(&self) -> bool {
        self.lagging.is_empty()
            && self.in_sync.packer.is_flushed()
            && self.is_evaluated()
            && self.in_sync.members.iter().all(|m| m.owed.is_empty())
    }

    /// The advert of a prefix, [`AdvertId::NONE`] if it is not announced.
    pub fn advert_of(&self, family: Family, id: PrefixId) -> AdvertId {
        let entries = &self.adj_rib_out[family.index()];
        entries.get(id.0 as usize).copied().unwrap_or_default()
    }

    /// What a member is told of a prefix.
    pub fn told(&self, source: SourceId, family: Family, id: PrefixId) -> Option<&Advert> {
        let advert = self.advert_of(family, id);
        if advert == AdvertId::NONE {
            return None;
        }
        let advert = self.adverts.get(advert);
        (advert.source != Some(source)).then_some(advert)
    }

    /// How many prefixes a member is told of.
    pub fn announced_to(&self, source: SourceId, family: Family) -> u64 {
        let own = self.announced_from.get(&source);
        self.announced[family.index()] - own.map_or(0, |counts| counts[family.index()])
    }

    fn evaluate(&mut self, rib: &Rib, guard: &Guard, family: Family, id: PrefixId) -> AdvertId {
        let Some(path) = rib.best(family, id, guard) else {
            return AdvertId::NONE;
        };
        let kind = rib.source(path.source, guard).kind;
        let member = self.sources.contains_key(&path.source);
        let attributes = rib.attributes(path.attributes, guard);
        self.adverts
            .intern(
                &self.view,
                family,
                (path.attributes, &attributes),
                kind,
                member.then_some(path.source),
            )
            .unwrap_or_default()
    }

    fn set(&mut self, family: Family, id: PrefixId, old: AdvertId, new: AdvertId) {
        if new != AdvertId::NONE {
            self.adverts.hold(new);
            self.count(family, new, 1);
        }
        if old != AdvertId::NONE {
            self.count(family, old, -1);
            self.adverts.release(old);
        }
        let entries = &mut self.adj_rib_out[family.index()];
        let place = id.0 as usize;
        if entries.len() <= place {
            entries.resize(place + 1, AdvertId::NONE);
        }
        entries[place] = new;
    }

    fn count(&mut self, family: Family, advert: AdvertId, by: i64) {
        let family = family.index();
        let total = &mut self.announced[family];
        *total = total.wrapping_add_signed(by);
        if let Some(source) = self.adverts.get(advert).source {
            let counts = self.announced_from.entry(source).or_default();
            counts[family] = counts[family].wrapping_add_signed(by);
            if counts.iter().all(|count| *count == 0) {
                self.announced_from.remove(&source);
            }
        }
    }

    /// Whether the member whose path is told now had been told another one before.
    fn displaced(&self, old: AdvertId, new: AdvertId) -> Option<SourceId> {
        if old == AdvertId::NONE || new == AdvertId::NONE {
            return None;
        }
        let source = self.adverts.get(new).source?;
        (self.adverts.get(old).source != Some(source)).then_some(source)
    }

    fn tell_in_sync(&mut self, prefix: IpPrefix, id: PrefixId, old: AdvertId, new: AdvertId) {
        if self.in_sync.members.is_empty() {
            return;
        }
        if new == AdvertId::NONE {
            #[cfg(test)]
            if self.fault == Some(Fault::LostWithdraw) && id.0 % 7 == 3 {
                return;
            }
            let source = self.adverts.get(old).source;
            let source = source.filter(|source| self.in_sync.has_source(*source));
            let audience = source.map_or(Audience::All, Audience::AllBut);
            self.in_sync.packer.withdraw(id, prefix, audience);
            return;
        }
        let displaced = self.displaced(old, new);
        let advert = self.advert_to_pack(new);
        self.in_sync.packer.announce(id, prefix, new, &advert);
        if let Some(source) = displaced
            && self.in_sync.has_source(source)
        {
            self.in_sync.packer.withdraw_from_source(id, prefix, source);
        }
    }

    fn advert_to_pack(&self, id: AdvertId) -> Advert {
        #[cfg_attr(not(test), expect(unused_mut))]
        let mut advert = self.adverts.get(id).clone();
        #[cfg(test)]
        if self.fault == Some(Fault::WrongSplitHorizon) {
            advert.source = None;
        }
        advert
    }

    fn note_for_lagging(&mut self, family: Family, id: PrefixId, old: AdvertId, new: AdvertId) {
        let displaced = self.displaced(old, new).is_some();
        let own = match new {
            AdvertId::NONE => None,
            advert => self.adverts.get(advert).source,
        };
        for cohort in &mut self.lagging {
            #[cfg(test)]
            if self.fault == Some(Fault::MissedCoalesce)
                && cohort.changed[family.index()].remove(id)
            {
                continue;
            }
            // What is still owed of the prefix may be the end of a path that a member was told.
            let own = own.filter(|source| cohort.has_source(*source));
            let forget = own.is_some() && (displaced || cohort.owes(family, id));
            cohort.mark(family, id, forget);
        }
    }

    /// The prefixes that are announced, of some families.
    fn announced_ids(&self, families: FamilySet) -> Sets {
        let mut sets = Sets::default();
        for family in families.iter() {
            let entries = self.adj_rib_out[family.index()].iter().zip(0u32..);
            for (_, id) in entries.filter(|(advert, _)| **advert != AdvertId::NONE) {
                sets[family.index()].insert(PrefixId(id));
            }
        }
        sets
    }

    /// Panics if an invariant of this module does not hold. For tests and the simulator.
    pub fn audit(&self) {
        let held = self.adj_rib_out.iter().flatten();
        let held = held.filter(|advert| **advert != AdvertId::NONE).count() as u64;
        assert_eq!(held, self.adverts.references(), "advert counts");
        assert_eq!(held, self.announced.iter().sum::<u64>(), "announced counts");
        let cohorts = || std::iter::once(&self.in_sync).chain(&self.lagging);
        let members: usize = cohorts().map(|cohort| cohort.members.len()).sum();
        assert_eq!(members, self.sources.len(), "each member is in one cohort");
        assert!(
            self.in_sync.is_level(),
            "the in-sync cohort is owed nothing"
        );
        assert!(self.lagging.len() <= COHORTS_MAX, "cohorts are bounded");
        for cohort in &self.lagging {
            assert!(!cohort.members.is_empty(), "no cohort without members");
        }
    }
}
