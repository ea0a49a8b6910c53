//! Evaluation: what the newest best paths mean for the members of a group.
//!
//! Reads the RIB, keeps the Adj-RIB-Out, packs for the in-sync cohort and notes for the others. What
//! lagging cohorts are told, and when messages leave, is `walk`'s.

use std::sync::Arc;

use codec::Family;
use rib::{AttributeId, Guard, Path, PrefixId, Rib, RibWriter, SourceId};
use smallvec::SmallVec;

#[cfg(test)]
use super::Fault;
use super::Group;
use super::advert::{AdvertId, Exporter, Told};
use super::eligible::tell_each;
use super::entry::Entry;
use super::policy::{self, Asked};
use super::reflect::PathSource;
use super::run::Audience;

/// What tells paths apart for export: attributes, source, and what asks for an own route.
type Key = (AttributeId, SourceId, u8);

/// Prefixes that follow each other and share attributes and source.
#[derive(Default)]
struct Run {
    key: Option<Key>,
    /// What is told of them.
    entry: Entry,
    /// Whether it is the entry of other prefixes with the key too.
    settled: bool,
    /// How many of them were not announced before, and are not counted yet.
    fresh: u32,
    /// How many there are beyond the first, which policy was not asked about.
    alike: u32,
}

/// By how much the announced prefixes of each source grew; few sources change at a time.
#[derive(Default)]
struct Counts(SmallVec<[(SourceId, i64); 4]>);

impl Counts {
    fn add(&mut self, source: SourceId, by: i64) {
        match self.0.iter_mut().find(|(known, _)| *known == source) {
            Some((_, count)) => *count += by,
            None => self.0.push((source, by)),
        }
    }
}

impl Group {
    /// Reads the newest state of prefixes and tells the in-sync members what changed for them;
    /// for the others it is noted.
    pub fn apply(
        &mut self,
        writer: &mut RibWriter,
        guard: &Guard,
        family: Family,
        ids: &[PrefixId],
    ) {
        if !self.view.families.contains(family) {
            return;
        }
        let Some(highest) = ids.iter().max() else {
            return;
        };
        if self.paths_max(family) > 0 {
            return self.apply_paths(writer, guard, family, ids);
        }
        let entries = &mut self.adj_rib_out[family.index()];
        if entries.len() <= highest.0 as usize {
            entries.resize(highest.0 as usize + 1, AdvertId::NONE);
        }
        let mut counts = Counts::default();
        if self.view.wants_others(family) {
            for id in ids {
                let new = self.evaluate_both(writer, guard, family, *id);
                self.change((writer.rib(), guard), family, *id, &new, &mut counts);
            }
        } else {
            self.apply_best(writer, guard, family, ids, &mut counts);
        }
        self.count(family, counts);
    }

    /// For a view in which only the best paths count. What arrives together mostly shares its
    /// attributes and is new: a run of such prefixes is evaluated and counted once.
    fn apply_best(
        &mut self,
        writer: &mut RibWriter,
        guard: &Guard,
        family: Family,
        ids: &[PrefixId],
        counts: &mut Counts,
    ) {
        let mut run = Run::default();
        let nothing = Entry::default();
        let rib = &Arc::clone(writer.rib());
        for id in ids {
            let path = rib.best(family, *id, guard);
            let key = path.map(|path| (path.attributes, path.source, path.flags.rules()));
            if key != run.key || !run.settled {
                self.end_run(&mut run, counts);
                run.key = key;
                let (advert, settled) = path.map_or((AdvertId::NONE, true), |path| {
                    self.evaluate(writer, guard, (family, *id), path)
                });
                (run.entry, run.settled) = (Entry::of(advert), settled);
            } else {
                run.alike += 1;
            }
            if self.adj_rib_out[family.index()][id.0 as usize] != AdvertId::NONE
                || !self.lagging.is_empty()
            {
                self.change((rib, guard), family, *id, &run.entry, counts);
            } else if run.entry.first != AdvertId::NONE {
                self.adj_rib_out[family.index()][id.0 as usize] = run.entry.first;
                run.fresh += 1;
                if !self.in_sync.members.is_empty() {
                    self.tell_in_sync((rib, guard), (family, *id), &nothing, &run.entry);
                }
            }
        }
        self.end_run(&mut run, counts);
    }

    fn end_run(&mut self, run: &mut Run, counts: &mut Counts) {
        let alike = std::mem::take(&mut run.alike);
        if let (Some(policy), Some(_)) = (&mut self.policy, run.key) {
            policy.count_alike(u64::from(alike));
        }
        let fresh = std::mem::take(&mut run.fresh);
        if fresh > 0 {
            let advert = run.entry.first;
            self.adverts.hold(advert, fresh);
            counts.add(self.adverts.get(advert).source, i64::from(fresh));
            self.count_long(advert, i64::from(fresh));
        }
    }

    fn change(
        &mut self,
        (rib, guard): (&Rib, &Guard),
        family: Family,
        id: PrefixId,
        new: &Entry,
        counts: &mut Counts,
    ) {
        let old = self.entry(family, id);
        if *new == old {
            return;
        }
        #[cfg(test)]
        if self.fault == Some(Fault::AttributesOnly) && self.is_alike(&old, new) {
            return;
        }
        self.set((family, id), &old, new, counts);
        if old.others == new.others && self.is_same_to_all(old.first, new.first) {
            return;
        }
        #[cfg(test)]
        if self.fault == Some(Fault::StaleSecond) && old.first == new.first {
            return;
        }
        if !self.in_sync.members.is_empty() {
            self.tell_in_sync((rib, guard), (family, id), &old, new);
        }
        if !self.lagging.is_empty() {
            self.note_for_lagging((family, id), &old, new);
        }
    }

    /// Of two paths that no member said and that are told alike, nobody needs to hear.
    fn is_same_to_all(&self, old: AdvertId, new: AdvertId) -> bool {
        if old == AdvertId::NONE || new == AdvertId::NONE {
            return false;
        }
        let is_from_member = |advert| self.is_member(self.adverts.get(advert).source);
        self.adverts.are_alike(old, new) && !is_from_member(old) && !is_from_member(new)
    }

    #[cfg(test)]
    fn is_alike(&self, old: &Entry, new: &Entry) -> bool {
        let announced = old.first != AdvertId::NONE && new.first != AdvertId::NONE;
        announced && self.adverts.are_alike(old.first, new.first)
    }

    pub(super) fn is_member(&self, source: SourceId) -> bool {
        self.sources.contains_key(&source)
    }

    /// What the view's members are told of a path; nothing, if export refuses it.
    pub(super) fn evaluate(
        &mut self,
        writer: &mut RibWriter,
        guard: &Guard,
        (family, id): (Family, PrefixId),
        path: Path,
    ) -> (AdvertId, bool) {
        let rib = &Arc::clone(writer.rib());
        let found = rib.attributes(path.attributes, guard);
        let info = rib.source(path.source, guard);
        let view = &self.view;
        let said = PathSource::of(view, info, found.summary);
        let from = Exporter { view, rib, guard };
        let Some(evaluator) = &mut self.policy else {
            let attributes = (path.attributes, &found);
            let advert = self
                .adverts
                .intern(writer, from, family, attributes, (path.source, said));
            return (advert.unwrap_or_default(), true);
        };
        let asked = Asked {
            path,
            attributes: found,
            said,
            prefix: rib.prefix(family, id),
            vrps: self
                .vrps
                .as_deref()
                .filter(|_| evaluator.applied().asks_for_validation()),
            own_asn: policy::own_asn(view, info),
        };
        let (verdict, settled) = asked.judge(evaluator);
        let Ok(passed) = policy::pass(writer, &asked, &verdict) else {
            return (AdvertId::NONE, settled);
        };
        let found = rib.attributes(passed.attributes, guard);
        let attributes = (passed.attributes, &found);
        let source = (path.source, passed.said);
        let advert = self
            .adverts
            .intern(writer, from, family, attributes, source);
        if passed.counted {
            writer.release(passed.attributes);
        }
        (advert.unwrap_or_default(), settled)
    }

    /// The first path in order of preference that export does not refuse; and where a member said
    /// it, the first of the others. So a path that the view refuses hides none behind it.
    // RFC-DONE 7947 §2.3: what a client said, or must not be told, hides no other path from it.
    // RFC-DONE 7948 §4.1: no path hides another from a client, though one table serves all of them.
    fn evaluate_both(
        &mut self,
        writer: &mut RibWriter,
        guard: &Guard,
        family: Family,
        id: PrefixId,
    ) -> Entry {
        let rib = &Arc::clone(writer.rib());
        let mut entry = Entry::default();
        let mut first_source = None;
        // One look at the paths, so that the two fit together.
        let paths = rib.paths(family, id, guard);
        if rib.med_decides(&paths, guard) {
            return self.evaluate_eligible(writer, guard, (family, id), &paths);
        }
        for path in rib.ranked(paths, guard) {
            if first_source == Some(path.source) {
                continue;
            }
            let (advert, _) = self.evaluate(writer, guard, (family, id), path);
            if advert == AdvertId::NONE {
                continue;
            }
            if first_source.is_some() {
                entry.second = advert;
                break;
            }
            entry.first = advert;
            if !self.is_member(path.source) {
                break;
            }
            first_source = Some(path.source);
        }
        entry
    }

    pub(super) fn entry(&self, family: Family, id: PrefixId) -> Entry {
        Entry {
            first: self.advert_of(family, id),
            second: self.seconds.get(family, id),
            others: self.seconds.others(family, id),
        }
    }

    /// What a member is told of a prefix by its entry.
    pub(super) fn told_by(&self, entry: &Entry, source: SourceId) -> AdvertId {
        if let Some((_, advert)) = entry.others.iter().find(|(member, _)| *member == source) {
            return *advert;
        }
        let own = entry.first != AdvertId::NONE && self.adverts.get(entry.first).source == source;
        if own { entry.second } else { entry.first }
    }

    fn set(
        &mut self,
        (family, id): (Family, PrefixId),
        old: &Entry,
        new: &Entry,
        counts: &mut Counts,
    ) {
        self.set_second(family, id, old, new);
        if old.others != new.others {
            for (_, advert) in &new.others {
                self.adverts.hold(*advert, 1);
            }
            for (_, advert) in &old.others {
                self.adverts.release(*advert);
            }
            self.seconds.set_others(family, id, new.others.clone());
        }
        let (old, new) = (old.first, new.first);
        if old == new {
            return;
        }
        if new != AdvertId::NONE {
            self.adverts.hold(new, 1);
            counts.add(self.adverts.get(new).source, 1);
            self.count_long(new, 1);
        }
        if old != AdvertId::NONE {
            counts.add(self.adverts.get(old).source, -1);
            self.count_long(old, -1);
            self.adverts.release(old);
        }
        self.adj_rib_out[family.index()][id.0 as usize] = new;
    }

    /// Counts Adj-RIB-Out entries of an advert, if it is one of the few that need long messages.
    fn count_long(&mut self, advert: AdvertId, by: i64) {
        let advert = self.adverts.get(advert);
        let Some(family) = advert.family().filter(|_| advert.long) else {
            return;
        };
        let source = advert.source;
        let counts = self.long_from.entry(source).or_default();
        counts[family.index()] = counts[family.index()].wrapping_add_signed(by);
        if counts.iter().all(|count| *count == 0) {
            self.long_from.remove(&source);
        }
    }

    fn set_second(&mut self, family: Family, id: PrefixId, old: &Entry, new: &Entry) {
        if new.second != AdvertId::NONE {
            self.adverts.hold(new.second, 1);
            let source = self.adverts.get(new.first).source;
            self.seconds.count(source, family, 1);
        }
        if old.second != AdvertId::NONE {
            let source = self.adverts.get(old.first).source;
            self.seconds.count(source, family, -1);
            self.adverts.release(old.second);
        }
        self.seconds.set(family, id, new.second);
    }

    fn count(&mut self, family: Family, counts: Counts) {
        let family = family.index();
        for (source, by) in counts.0 {
            let total = &mut self.announced[family];
            *total = total.wrapping_add_signed(by);
            let of_source = self.announced_from.entry(source).or_default();
            of_source[family] = of_source[family].wrapping_add_signed(by);
            if of_source.iter().all(|count| *count == 0) {
                self.announced_from.remove(&source);
            }
        }
    }

    /// The member that an advert's path came from.
    fn member_of(&self, advert: AdvertId) -> Option<SourceId> {
        if advert == AdvertId::NONE {
            return None;
        }
        let source = self.adverts.get(advert).source;
        self.is_member(source).then_some(source)
    }

    fn tell_in_sync(
        &mut self,
        (rib, guard): (&Rib, &Guard),
        (family, id): (Family, PrefixId),
        old: &Entry,
        new: &Entry,
    ) {
        let prefix = rib.prefix(family, id);
        if new.first == AdvertId::NONE {
            #[cfg(test)]
            if self.fault == Some(Fault::LostWithdraw) && id.0 % 7 == 3 {
                return;
            }
            let untold = self.member_of(old.first);
            let audience = match untold.filter(|_| old.second == AdvertId::NONE) {
                Some(source) => Audience::AllBut(source),
                None => Audience::All,
            };
            self.in_sync.packer.withdraw(id, prefix, audience);
            return;
        }
        let told = Told::by(&self.adverts, &self.view, (rib, guard));
        let packer = &mut self.in_sync.packer;
        if !(old.others.is_empty() && new.others.is_empty()) {
            return tell_each(packer, told, (id, prefix), new);
        }
        if new.first == old.first {
            packer.begin(family, id);
        } else {
            packer.announce(id, prefix, new.first, told);
        }
        #[cfg(test)]
        if self.fault == Some(Fault::WrongSplitHorizon) {
            packer.tell_sources_too();
        }
        #[cfg(test)]
        if self.fault == Some(Fault::LostDisplacement) && new.second == AdvertId::NONE {
            return;
        }
        // The member whose path it is now.
        if let Some(source) = self.member_of(new.first)
            && self.told_by(old, source) != new.second
        {
            let packer = &mut self.in_sync.packer;
            packer.tell_source(told, prefix, source, new.second);
        }
    }

    fn note_for_lagging(&mut self, (family, id): (Family, PrefixId), old: &Entry, new: &Entry) {
        let own = self.member_of(new.first);
        let had = |source| self.told_by(old, source) != AdvertId::NONE;
        let displaced = own.is_some_and(had);
        for cohort in &mut self.lagging {
            #[cfg(test)]
            if self.fault == Some(Fault::MissedCoalesce)
                && cohort.changed[family.index()].remove(id)
            {
                continue;
            }
            if !(old.others.is_empty() && new.others.is_empty()) {
                cohort.mark(family, id, true);
                continue;
            }
            let own = own.filter(|source| cohort.has_source(*source));
            if new.first == old.first && own.is_none() {
                continue;
            }
            // What is still owed of the prefix may be the end of a path that a member was told.
            let forget = own.is_some() && (displaced || cohort.owes(family, id));
            cohort.mark(family, id, forget);
        }
    }
}
