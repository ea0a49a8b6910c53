//! Evaluation and telling with ADD-PATH (RFC 7911): what the newest paths of a prefix mean for the
//! members of a group that are told several.
//!
//! As `apply` and `walk` do it for one path a prefix, with the same cohorts and the same packers.
//! A path is told, changed and withdrawn under the identifier that its list gives it.

use std::sync::Arc;

use codec::{Family, IpPrefix};
use rib::{Guard, Path, PrefixId, Rib, RibWriter, SourceId};
use smallvec::SmallVec;

#[cfg(test)]
use super::Fault;
use super::Group;
use super::advert::{AdvertId, Told};
use super::pack::Packer;
use super::paths::{Holders, PathList};
use super::run::Audience;

/// Something that members are told of a path.
struct Step {
    /// The identifier of the path.
    id: u32,
    /// None: they are to forget it.
    advert: AdvertId,
    whom: Whom,
}

/// Who is told.
enum Whom {
    AllBut(SourceId),
    AllButEach(SmallVec<[SourceId; 4]>),
    Only(SourceId),
}

impl Group {
    /// Most paths of a prefix that a member is told; 0: one, and without identifier.
    pub(super) fn paths_max(&self, family: Family) -> u8 {
        self.view.add_paths[family.index()]
    }

    pub(super) fn apply_paths(
        &mut self,
        writer: &mut RibWriter,
        guard: &Guard,
        family: Family,
        ids: &[PrefixId],
    ) {
        let rib = &Arc::clone(writer.rib());
        for id in ids {
            let paths = self.evaluate_paths(writer, guard, family, *id);
            self.change_paths((rib, guard), family, *id, &paths);
        }
    }

    /// The paths that export does not refuse, in order of preference, until each member finds as many
    /// as it is told that are not its own.
    // RFC-LEFT 7964 §3: Not all paths are told, but the best ones, as many as addPaths.send says.
    // RFC-LEFT 7964 §4: The best of all paths are told, not the best path of each neighbor AS.
    // RFC-DONE 7947 §2.3: with ADD-PATH, a client's own paths hide none of the others either.
    fn evaluate_paths(
        &mut self,
        writer: &mut RibWriter,
        guard: &Guard,
        family: Family,
        id: PrefixId,
    ) -> SmallVec<[(Path, AdvertId); 4]> {
        let rib = &Arc::clone(writer.rib());
        let max = usize::from(self.paths_max(family));
        let mut found: SmallVec<[(Path, AdvertId); 4]> = SmallVec::new();
        let mut members: SmallVec<[(SourceId, usize); 4]> = SmallVec::new();
        let mut most_of_one = 0;
        for path in rib.ranked(rib.paths(family, id, guard), guard) {
            if found.len() >= max + most_of_one {
                break;
            }
            let (advert, _) = self.evaluate(writer, guard, (family, id), path);
            if advert == AdvertId::NONE {
                continue;
            }
            found.push((path, advert));
            if self.is_member(path.source) {
                let known = members
                    .iter_mut()
                    .find(|(member, _)| *member == path.source);
                let count = match known {
                    Some((_, count)) => {
                        *count += 1;
                        *count
                    }
                    None => {
                        members.push((path.source, 1));
                        1
                    }
                };
                most_of_one = most_of_one.max(count);
            }
        }
        found
    }

    fn change_paths(
        &mut self,
        (rib, guard): (&Rib, &Guard),
        family: Family,
        id: PrefixId,
        paths: &[(Path, AdvertId)],
    ) {
        let (max, old) = (self.paths_max(family), self.paths.get(family, id));
        #[cfg(test)]
        let paths = &self.with_fault(old, paths)[..];
        let keep_ends = !self.lagging.is_empty();
        #[cfg(test)]
        let keep_ends = keep_ends && self.fault != Some(Fault::ReusedPathId);
        let new = old.next(paths, max, keep_ends);
        if new == *old {
            return;
        }
        for path in new.live() {
            self.adverts.hold(path.advert, 1);
        }
        let old = self.paths.replace(family, id, new.clone());
        for path in old.live() {
            self.adverts.release(path.advert);
        }
        self.count_paths(family, &old, -1);
        self.count_paths(family, &new, 1);
        let steps = self.steps(&old, &new);
        if steps.is_empty() {
            return;
        }
        if !self.in_sync.members.is_empty() {
            let told = Told::by(&self.adverts, &self.view, (rib, guard));
            let prefix = rib.prefix(family, id);
            let is_member = |source| self.sources.contains_key(&source);
            let packer = &mut self.in_sync.packer;
            packer.begin(family, id);
            for step in &steps {
                step.pack(packer, prefix, told, is_member);
            }
        }
        let forget = steps.iter().any(|step| step.advert == AdvertId::NONE);
        for cohort in &mut self.lagging {
            cohort.mark(family, id, forget);
        }
    }

    /// What has to be told where a list follows on another.
    fn steps(&self, old: &PathList, new: &PathList) -> SmallVec<[Step; 4]> {
        let is_member = |source| self.is_member(source);
        let mut steps = SmallVec::new();
        let mut step = |id, advert, whom| {
            #[cfg(test)]
            if self.fault == Some(Fault::LostPathWithdraw)
                && advert == AdvertId::NONE
                && !new.live().is_empty()
            {
                return;
            }
            steps.push(Step { id, advert, whom });
        };
        for (at, path) in old.live().iter().enumerate() {
            if new.live().iter().any(|kept| kept.id == path.id) {
                continue;
            }
            match old.holders(at, is_member) {
                Holders::AllBut(source) => step(path.id, AdvertId::NONE, Whom::AllBut(source)),
                Holders::Each(members) => members
                    .iter()
                    .for_each(|member| step(path.id, AdvertId::NONE, Whom::Only(*member))),
            }
        }
        for (at, path) in new.live().iter().enumerate() {
            let place = old.live().iter().position(|known| known.id == path.id);
            let before = place.map(|place| old.holders(place, is_member));
            let same = place.is_some_and(|place| old.live()[place].advert == path.advert);
            let members = match new.holders(at, is_member) {
                Holders::AllBut(source) => {
                    if !(same && before == Some(Holders::AllBut(source))) {
                        step(path.id, path.advert, Whom::AllBut(source));
                    }
                    continue;
                }
                Holders::Each(members) => members,
            };
            let had = |member: &SourceId| match &before {
                None => false,
                Some(Holders::AllBut(source)) => member != source,
                Some(Holders::Each(before)) => before.contains(member),
            };
            for member in members.iter().filter(|member| !(same && had(member))) {
                step(path.id, path.advert, Whom::Only(*member));
            }
            match &before {
                None => {}
                Some(Holders::AllBut(source)) => {
                    let mut but = members.clone();
                    but.push(*source);
                    step(path.id, AdvertId::NONE, Whom::AllButEach(but));
                }
                Some(Holders::Each(before)) => before
                    .iter()
                    .filter(|member| !members.contains(member))
                    .for_each(|member| step(path.id, AdvertId::NONE, Whom::Only(*member))),
            }
        }
        steps
    }

    /// Counts the prefix of a list, `by` 1 or -1.
    fn count_paths(&mut self, family: Family, list: &PathList, by: i64) {
        if list.live().is_empty() {
            return;
        }
        let total = &mut self.announced[family.index()];
        *total = total.wrapping_add_signed(by);
        if let Some(source) = list.only_source() {
            let of_source = self.announced_from.entry(source).or_default();
            let count = &mut of_source[family.index()];
            *count = count.wrapping_add_signed(by);
            if of_source.iter().all(|count| *count == 0) {
                self.announced_from.remove(&source);
            }
        }
    }

    /// Tells a lagging cohort the newest state of a prefix.
    pub(super) fn tell_paths_lagging(
        &mut self,
        place: usize,
        (rib, guard): (&Rib, &Guard),
        prefix: IpPrefix,
        id: PrefixId,
    ) {
        let family = prefix.family();
        let told = Told::by(&self.adverts, &self.view, (rib, guard));
        let is_member = |source| self.sources.contains_key(&source);
        let list = self.paths.get(family, id);
        let cohort = &mut self.lagging[place];
        let forget = cohort.displaced[family.index()].remove(id);
        let foreign = cohort.foreign.of(family, id);
        let members = &cohort.members;
        let is_here = |member: &SourceId| members.iter().any(|m| m.source == *member);
        let packer = &mut cohort.packer;
        packer.begin(family, id);
        for (at, path) in list.live().iter().enumerate() {
            // Somebody may hold another path under this identifier, or held this one.
            let may_hold = forget || foreign.iter().any(|(_, known)| *known == path.id);
            let mut pack = |advert, whom| {
                let id = path.id;
                let step = Step { id, advert, whom };
                step.pack(packer, prefix, told, is_member);
            };
            match list.holders(at, is_member) {
                Holders::AllBut(source) => {
                    pack(path.advert, Whom::AllBut(source));
                    if may_hold && is_here(&source) {
                        pack(AdvertId::NONE, Whom::Only(source));
                    }
                }
                Holders::Each(holders) => {
                    for member in holders.iter().filter(|member| is_here(member)) {
                        pack(path.advert, Whom::Only(*member));
                    }
                    if may_hold {
                        pack(AdvertId::NONE, Whom::AllButEach(holders));
                    }
                }
            }
        }
        let ends = list.ends().iter().map(|path| path.id);
        let unknown = foreign.iter().map(|(_, known)| *known);
        let unknown = unknown.filter(|known| !list.all().iter().any(|path| path.id == *known));
        for path_id in ends.chain(unknown) {
            packer.withdraw_path(prefix, path_id, Audience::All);
        }
        let mut others = self.lagging.iter().enumerate();
        let owed = others.any(|(other, cohort)| other != place && cohort.owes(family, id));
        if !owed {
            self.paths.forget_ends(family, id);
        }
    }

    #[cfg(test)]
    fn with_fault(&self, old: &PathList, paths: &[(Path, AdvertId)]) -> Vec<(Path, AdvertId)> {
        let mut paths = paths.to_vec();
        let is = |sent: &super::paths::SentPath, path: &Path| {
            (sent.source, sent.path_id) == (path.source, path.path_id)
        };
        let has_gone = |sent| !paths.iter().any(|(path, _)| is(sent, path));
        if self.fault == Some(Fault::UnfilledPlace) && old.live().iter().any(has_gone) {
            paths.retain(|(path, _)| old.live().iter().any(|sent| is(sent, path)));
        }
        paths
    }
}

impl Step {
    fn pack(
        &self,
        packer: &mut Packer,
        prefix: IpPrefix,
        told: Told<'_>,
        is_member: impl Fn(SourceId) -> bool,
    ) {
        let is_end = self.advert == AdvertId::NONE;
        let audience = match &self.whom {
            // All ends go together.
            Whom::AllBut(source) if is_end && !is_member(*source) => Audience::All,
            Whom::AllBut(source) => Audience::AllBut(*source),
            Whom::Only(member) => Audience::Only(*member),
            Whom::AllButEach(members) => packer.all_but_each(members),
        };
        #[cfg(test)]
        let audience = match audience {
            Audience::AllBut(_) if packer.tells_own_paths && !is_end => Audience::All,
            audience => audience,
        };
        match is_end {
            true => packer.withdraw_path(prefix, self.id, audience),
            false => packer.announce_path((prefix, self.id), self.advert, told, audience),
        }
    }
}
