//! What an Adj-RIB-Out with ADD-PATH says of one prefix (RFC 7911): a short list of paths in order
//! of preference, each with the identifier that it is sent with. Values only.
//!
//! Each member is told the first `max` of the list that are not its own. So the list goes on past
//! `max` where paths of members stand before; what stands there is told to those members alone.
//!
//! Invariants: the identifiers of a list differ, and a path keeps its own as long as it is in the
//! list. One whose path is gone stays at the end, without an advert, until nobody is owed the prefix
//! any more: so it is not given to another path before its withdraw was told.

use std::collections::VecDeque;

use codec::Family;
use rib::{Path, PrefixId, SourceId};
use smallvec::SmallVec;

use super::advert::AdvertId;
use super::cohort::Sets;

/// Ends of paths that a list keeps for those who are behind. Past it, a new path gets the identifier
/// of the oldest: whoever is behind is then told the new path under it, or that it is gone.
const ENDS_MAX: usize = 64;

/// A path as members are told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SentPath {
    /// The identifier that it is sent with, above 0.
    pub(super) id: u32,
    /// None: it is gone.
    pub(super) advert: AdvertId,
    pub(super) source: SourceId,
    /// The identifier that its source gave it.
    pub(super) path_id: u32,
}

impl SentPath {
    fn key(&self) -> (SourceId, u32) {
        (self.source, self.path_id)
    }
}

/// The paths of one prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PathList {
    paths: Box<[SentPath]>,
    /// How many of them a member is told at most.
    max: u8,
}

/// Who is told a path of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Holders {
    /// Everybody but its source.
    AllBut(SourceId),
    /// These members.
    Each(SmallVec<[SourceId; 4]>),
}

impl PathList {
    /// The list that comes after `self` where these are the paths by now, in order of preference.
    /// `keep_ends`: somebody may have yet to hear that a path is gone.
    pub(super) fn next(&self, paths: &[(Path, AdvertId)], max: u8, keep_ends: bool) -> PathList {
        let mut list: SmallVec<[SentPath; 8]> = SmallVec::new();
        for (path, advert) in paths {
            let key = (path.source, path.path_id);
            let known = self.paths.iter().find(|known| known.key() == key);
            list.push(SentPath {
                id: known.map_or(0, |known| known.id),
                advert: *advert,
                source: path.source,
                path_id: path.path_id,
            });
        }
        let gone = |path: &&SentPath| keep_ends && !list.iter().any(|kept| kept.id == path.id);
        let mut ended: VecDeque<SentPath> = self.ends().iter().filter(gone).copied().collect();
        let ending: SmallVec<[SentPath; 8]> = self.live().iter().filter(gone).copied().collect();
        let mut fresh = self.fresh_ids();
        for path in list.iter_mut().filter(|path| path.id == 0) {
            let is_full = ended.len() + ending.len() > ENDS_MAX;
            let old = ended.pop_front_if(|_| is_full);
            path.id = old.map_or_else(|| fresh.next().unwrap_or(u32::MAX), |old| old.id);
        }
        list.extend(ended.into_iter().chain(ending).map(|path| SentPath {
            advert: AdvertId::NONE,
            ..path
        }));
        PathList {
            paths: list.into_vec().into_boxed_slice(),
            max,
        }
    }

    /// The identifiers that nothing here has or had, lowest first.
    fn fresh_ids(&self) -> impl Iterator<Item = u32> + use<> {
        let mut taken: SmallVec<[u32; 16]> = self.paths.iter().map(|path| path.id).collect();
        taken.sort_unstable();
        (1..).filter(move |id| taken.binary_search(id).is_err())
    }

    /// Those that are told.
    pub(super) fn live(&self) -> &[SentPath] {
        let live = self
            .paths
            .partition_point(|path| path.advert != AdvertId::NONE);
        &self.paths[..live]
    }

    /// Those that are gone, and whose end somebody may have yet to hear.
    pub(super) fn ends(&self) -> &[SentPath] {
        &self.paths[self.live().len()..]
    }

    /// Live ones and ends.
    pub(super) fn all(&self) -> &[SentPath] {
        &self.paths
    }

    fn without_ends(&self) -> PathList {
        PathList {
            paths: self.live().into(),
            max: self.max,
        }
    }

    /// What a member is told.
    pub(super) fn told_to(&self, member: SourceId) -> impl Iterator<Item = &SentPath> {
        let others = self.live().iter().filter(move |path| path.source != member);
        others.take(usize::from(self.max))
    }

    /// Who is told the live path at `at`. Sources that are no members do not matter.
    pub(super) fn holders(&self, at: usize, is_member: impl Fn(SourceId) -> bool) -> Holders {
        let live = self.live();
        let (source, max) = (live[at].source, usize::from(self.max));
        if at < max {
            return Holders::AllBut(source);
        }
        let mut members: SmallVec<[SourceId; 4]> = SmallVec::new();
        for path in &live[..at] {
            let member = path.source;
            let own = live[..at].iter().filter(|path| path.source == member);
            if member != source
                && at - own.count() < max
                && !members.contains(&member)
                && is_member(member)
            {
                members.push(member);
            }
        }
        Holders::Each(members)
    }

    /// If all that is told came from one source: which.
    pub(super) fn only_source(&self) -> Option<SourceId> {
        let (first, rest) = self.live().split_first()?;
        let alike = rest.iter().all(|path| path.source == first.source);
        alike.then_some(first.source)
    }
}

/// The lists of all prefixes. Owns no memory without ADD-PATH.
#[derive(Default)]
pub(super) struct PathLists {
    lists: [Vec<PathList>; Family::ALL.len()],
    /// The prefixes whose list has ends.
    ended: Sets,
    empty: PathList,
}

impl PathLists {
    pub(super) fn get(&self, family: Family, id: PrefixId) -> &PathList {
        let list = self.lists[family.index()].get(id.index());
        list.unwrap_or(&self.empty)
    }

    /// Puts a list in its place, and gives the one that was there.
    pub(super) fn replace(&mut self, family: Family, id: PrefixId, list: PathList) -> PathList {
        let ended = &mut self.ended[family.index()];
        match list.ends() {
            [] if ended.is_empty() => {}
            [] => drop(ended.remove(id)),
            _ => drop(ended.insert(id)),
        }
        let lists = &mut self.lists[family.index()];
        if lists.len() <= id.index() {
            lists.resize(id.index() + 1, PathList::default());
        }
        std::mem::replace(&mut lists[id.index()], list)
    }

    /// Everybody has heard the ends of a prefix's paths.
    pub(super) fn forget_ends(&mut self, family: Family, id: PrefixId) {
        let list = self.get(family, id);
        if !list.ends().is_empty() {
            let list = list.without_ends();
            self.replace(family, id, list);
        }
    }

    /// Nobody is owed anything: forgets the ends of up to `max` prefixes.
    pub(super) fn forget_some_ends(&mut self, max: usize) {
        for family in Family::ALL {
            let mut ids = Vec::new();
            self.ended[family.index()].take_first(max, &mut ids);
            for id in ids {
                self.forget_ends(family, id);
            }
        }
    }

    /// The prefixes whose list has ends.
    pub(super) fn ended(&self) -> &Sets {
        &self.ended
    }

    /// Prefixes of a family that have a list, with it.
    pub(super) fn of(&self, family: Family) -> impl Iterator<Item = (PrefixId, &PathList)> {
        let lists = self.lists[family.index()].iter().zip(0u32..);
        let lists = lists.filter(|(list, _)| !list.paths.is_empty());
        lists.map(|(list, id)| (PrefixId(id), list))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(source: u32, path_id: u32) -> Path {
        Path {
            attributes: rib::AttributeId::default(),
            source: SourceId(source),
            path_id,
            flags: rib::PathFlags::NONE,
        }
    }

    fn after(list: &PathList, sources: &[u32], max: u8, keep_ends: bool) -> PathList {
        let advert = AdvertId::numbered(7);
        let paths = sources.iter().map(|source| (path(*source, 0), advert));
        list.next(&paths.collect::<Vec<_>>(), max, keep_ends)
    }

    /// Sources with the identifiers of their paths, and the identifiers that are gone.
    fn names(list: &PathList) -> (Vec<(u32, u32)>, Vec<u32>) {
        let live = list.live().iter().map(|path| (path.source.0, path.id));
        let ends = list.ends().iter().map(|path| path.id);
        (live.collect(), ends.collect())
    }

    // RFC-SHOWN 7911 §3
    #[test]
    fn a_path_keeps_its_identifier_and_no_other_gets_it_before_its_end_is_told() {
        let list = after(&PathList::default(), &[10, 20, 30], 2, true);
        assert_eq!(names(&list), (vec![(10, 1), (20, 2), (30, 3)], vec![]));
        let list = after(&list, &[30, 40, 10], 2, true);
        assert_eq!(names(&list), (vec![(30, 3), (40, 4), (10, 1)], vec![2]));
        let list = after(&list, &[50, 30], 2, true);
        assert_eq!(names(&list), (vec![(50, 5), (30, 3)], vec![2, 4, 1]));
        // One that comes back before everybody heard of its end.
        let list = after(&list, &[40, 50], 2, true);
        assert_eq!(names(&list), (vec![(40, 4), (50, 5)], vec![2, 1, 3]));
        let list = list.without_ends();
        let list = after(&list, &[60, 40, 70], 2, false);
        assert_eq!(names(&list), (vec![(60, 1), (40, 4), (70, 2)], vec![]));
        // Nobody is behind, yet what goes and what comes at once are two.
        let list = after(&list, &[80], 2, false);
        assert_eq!(names(&list), (vec![(80, 3)], vec![]));
    }

    #[test]
    fn ends_are_kept_in_bounds_and_none_is_forgotten() {
        let mut list = PathList::default();
        for source in 0..1000 {
            list = after(&list, &[source], 1, true);
            let most = list.all().iter().map(|path| path.id).max();
            assert!(most <= Some(ENDS_MAX as u32 + 2), "{most:?}");
        }
        assert_eq!(list.ends().len(), ENDS_MAX);
    }

    #[test]
    fn members_whose_own_paths_are_among_the_first_are_told_those_behind_them() {
        // Each of ten sources is a member but 40.
        let is_member = |source: SourceId| source.0 != 40;
        let list = after(&PathList::default(), &[10, 40, 20, 30, 50], 2, false);
        let each = |sources: &[u32]| {
            let sources = sources.iter().map(|source| SourceId(*source));
            Holders::Each(sources.collect())
        };
        let holders: Vec<_> = (0..5).map(|at| list.holders(at, is_member)).collect();
        assert_eq!(
            holders,
            [
                Holders::AllBut(SourceId(10)),
                Holders::AllBut(SourceId(40)),
                each(&[10]),
                each(&[]),
                each(&[]),
            ]
        );
        let told = |member| -> Vec<u32> {
            let told = list.told_to(SourceId(member));
            told.map(|path| path.source.0).collect()
        };
        assert_eq!(told(10), [40, 20]);
        assert_eq!(told(20), [10, 40]);
        assert_eq!(told(99), [10, 40]);
        assert_eq!(list.only_source(), None);
        assert_eq!(
            after(&list, &[20], 2, true).only_source(),
            Some(SourceId(20))
        );
    }
}
