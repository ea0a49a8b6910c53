//! How slots change: by compare-and-swap, with the best path of what is swapped in.
//!
//! For writers only, each for its own sources' paths. Invariant: whatever a slot holds, its best
//! path is what selection says of its paths and of what their sources are *now*, once the writers
//! that are in here have left; after a change of selection itself, once every writer has looked at the
//! slot ([`Rib::reselect`]).

use std::cell::Cell;
use std::mem;

use codec::Family;
use smallvec::SmallVec;

use crate::best::{Candidate, Selection, med_decides, outlives, overtakes, select, select_from};
use crate::epoch::Pinned;
use crate::ids::SourceId;
use crate::path::{PATHS_OF_SOURCE_MAX, Path, PathBuffer, PathFlags};
use crate::rib::Rib;
use crate::slot::{Slot, Snapshot};
use crate::sources::SourceKind;
use crate::sync::Ordering;

/// How a slot changed.
pub(crate) struct Edited {
    /// Paths that are gone or were replaced.
    pub(crate) removed: SmallVec<[Path; 1]>,
    pub(crate) best_changed: bool,
    /// The best path is the same, and of the others one that may be used came, changed or went; only
    /// looked for where some shard wants to know.
    pub(crate) others_changed: bool,
    /// How many more slots are idle for it: one, none or one less.
    pub(crate) idle: i64,
}

/// What an edit does to the paths of a slot.
#[derive(Clone, Copy)]
enum Change {
    /// Adds this one, where others of its source may have gone.
    Put(Path),
    /// Takes some out.
    Take,
    /// Anything: which is best is open.
    Any,
}

/// Why a path was not put in.
pub(crate) enum Refused {
    /// The id of the slot is given up: its prefix needs another one.
    Buried,
    /// The source has [`PATHS_OF_SOURCE_MAX`] other paths there, and none of them is stale.
    Full,
}

/// The paths that a source has to a prefix.
#[derive(Clone, Copy, Default)]
pub(crate) struct OfSource {
    pub(crate) paths: usize,
    /// Whether one of them may be the best path.
    pub(crate) usable: bool,
}

impl OfSource {
    fn among(paths: &[Path], source: SourceId) -> OfSource {
        let own = || paths.iter().filter(|path| path.source == source);
        OfSource {
            paths: own().count(),
            usable: own().any(Path::is_usable),
        }
    }
}

impl Rib {
    /// Adds a path, or replaces the one of the same source and path id; where the source has too many
    /// then, a stale one makes room. `None`: it is there. Which paths the source has then is told too.
    pub(crate) fn put(
        &self,
        family: Family,
        slot: &Slot,
        path: Path,
        pinned: Pinned<'_>,
    ) -> Result<(Option<Edited>, OfSource), Refused> {
        let mut before = slot.load(pinned);
        let lone = OfSource {
            paths: 1,
            usable: path.is_usable(),
        };
        // What mostly happens: this is the only path, now and then. With one path there is nothing
        // to choose, whatever its source says, so sources that change need no second look.
        let alone = |before: Snapshot<'_>| {
            let only = before.only();
            path.path_id == 0
                && (before.is_empty() || only.is_some_and(|only| only.source == path.source))
        };
        while alone(before) {
            let old = before.only();
            if before.is_buried() {
                return Err(Refused::Buried);
            }
            if old == Some(path) {
                return Ok((None, lone));
            }
            match slot.replace_only(before, Some(path), pinned) {
                Ok(()) => {
                    let edited = Edited {
                        removed: old.map_or_else(SmallVec::new, |old| SmallVec::from_buf([old])),
                        best_changed: differs(before.best(), Some(path).filter(Path::is_usable)),
                        others_changed: false,
                        idle: -i64::from(before.is_idle()),
                    };
                    return Ok((Some(edited), lone));
                }
                Err(now) => before = now,
            }
        }
        let left = Cell::new(OfSource::default());
        let edited = self.edit(family, slot, Change::Put(path), pinned, |paths, removed| {
            let changed = put(paths, removed, path);
            left.set(OfSource::among(paths, path.source));
            // A peer that restarted may name what it says now by other identifiers than before
            // (RFC 7911 §3): what it has not said again stands in the way of nothing that it says.
            if left.get().paths > PATHS_OF_SOURCE_MAX
                && let Some(at) = paths.iter().position(|known| gives_way(known, &path))
            {
                removed.push(paths.remove(at));
                left.set(OfSource::among(paths, path.source));
            }
            // Only by a path that is new can they be too many.
            changed && (left.get().paths <= PATHS_OF_SOURCE_MAX)
        })?;
        match left.get().paths > PATHS_OF_SOURCE_MAX {
            true => Err(Refused::Full),
            false => Ok((edited, left.get())),
        }
    }

    /// Takes out the path of this path id, or all paths, of a source. `None`: there is none. Which
    /// paths the source has left is told too.
    pub(crate) fn take(
        &self,
        family: Family,
        slot: &Slot,
        source: SourceId,
        path_id: Option<u32>,
        pinned: Pinned<'_>,
    ) -> Option<(Edited, OfSource)> {
        let mut before = slot.load(pinned);
        while let Some(only) = before.only() {
            if !is_meant(&only, source, path_id) {
                return None;
            }
            match slot.replace_only(before, None, pinned) {
                Ok(()) => {
                    let edited = Edited {
                        removed: SmallVec::from_buf([only]),
                        best_changed: only.is_usable(),
                        others_changed: false,
                        idle: 1,
                    };
                    return Some((edited, OfSource::default()));
                }
                Err(now) => before = now,
            }
        }
        if before.is_empty() {
            return None;
        }
        let left = Cell::new(OfSource::default());
        let edited = self.edit(family, slot, Change::Take, pinned, |paths, removed| {
            take(paths, removed, source, path_id);
            left.set(OfSource::among(paths, source));
            !removed.is_empty()
        });
        // Buried, it has no path either.
        Some((edited.unwrap_or(None)?, left.get()))
    }

    /// Sets flags on all paths of a source. `None`: they had them.
    pub(crate) fn flag(
        &self,
        family: Family,
        slot: &Slot,
        source: SourceId,
        flags: PathFlags,
        pinned: Pinned<'_>,
    ) -> Option<Edited> {
        let edited = self.edit(family, slot, Change::Any, pinned, |paths, _| {
            let mut changed = false;
            for path in paths.iter_mut().filter(|path| path.source == source) {
                changed |= !path.flags.contains(flags);
                path.flags = path.flags | flags;
            }
            changed
        });
        edited.unwrap_or(None)
    }

    /// Takes out the paths of a source that have all of `flags`. `None`: there is none. Which paths
    /// the source has left is told too.
    pub(crate) fn take_flagged(
        &self,
        family: Family,
        slot: &Slot,
        source: SourceId,
        flags: PathFlags,
        pinned: Pinned<'_>,
    ) -> Option<(Edited, OfSource)> {
        let left = Cell::new(OfSource::default());
        let edited = self.edit(family, slot, Change::Take, pinned, |paths, removed| {
            let goes = |path: &Path| path.source == source && path.flags.contains(flags);
            removed.extend(paths.iter().copied().filter(goes));
            paths.retain(|path| !goes(path));
            left.set(OfSource::among(paths, source));
            !removed.is_empty()
        });
        Some((edited.unwrap_or(None)?, left.get()))
    }

    /// Applies `change` to a slot's paths until no other writer is faster. `change` gets the paths
    /// in order and keeps them so; it puts what it takes out into its second argument, does
    /// nothing but what `what` says, and says whether it changed anything. `None`: it did not.
    fn edit(
        &self,
        family: Family,
        slot: &Slot,
        what: Change,
        pinned: Pinned<'_>,
        change: impl Fn(&mut PathBuffer, &mut SmallVec<[Path; 1]>) -> bool,
    ) -> Result<Option<Edited>, Refused> {
        let mut before = slot.load(pinned);
        loop {
            if before.is_buried() {
                return Err(Refused::Buried);
            }
            let revision = self.sources.revision();
            let mut paths = before.paths();
            let mut removed = SmallVec::new();
            if !change(&mut paths, &mut removed) {
                return Ok(None);
            }
            let best = self.select_anew(before.best(), &paths, &removed, what, pinned);
            match slot.replace(before, &paths, best, pinned) {
                Ok(()) => {
                    let best = best.map(|best| paths[best]);
                    let best_changed = differs(before.best(), best);
                    let best_changed = self.settle(slot, revision, pinned) || best_changed;
                    let others_changed = !best_changed
                        && self.wants_others(family)
                        && others_differ(&before.paths(), &paths);
                    return Ok(Some(Edited {
                        removed,
                        best_changed,
                        others_changed,
                        idle: i64::from(paths.is_empty()) - i64::from(before.is_idle()),
                    }));
                }
                Err(now) => before = now,
            }
        }
    }

    /// Whether some shard wants marks where only other paths than the best changed. Asked after the
    /// swap: like it and the fence in `subscribe_others` it is sequentially consistent, so either the
    /// subscriber is seen here, or it sees what was swapped in.
    #[inline]
    pub(crate) fn wants_others(&self, family: Family) -> bool {
        self.others_subscribers[family.index()].load(Ordering::SeqCst) != 0
    }

    /// What is usable of `left` in order of preference: `first`, which is the best of all, then the
    /// best of those that are left, and so on. Who is left out strikes nobody out by its MED.
    pub(crate) fn rank<'r>(
        &'r self,
        mut left: PathBuffer,
        mut first: Option<Path>,
        pinned: Pinned<'r>,
    ) -> impl Iterator<Item = Path> + use<'r> {
        let mut candidates: SmallVec<[Candidate; 4]> = SmallVec::new();
        std::iter::from_fn(move || {
            if let Some(best) = first.take() {
                left.retain(|path| *path != best);
                return Some(best);
            }
            if candidates.len() != left.len() {
                let all = left.iter().map(|path| self.candidate(path, pinned));
                candidates = all.collect();
            }
            let at = select(self.selection(), &candidates)?;
            candidates.remove(at);
            Some(left.remove(at))
        })
    }

    /// See [`Rib::med_decides`].
    pub(crate) fn is_decided_by_med(&self, paths: &[Path], pinned: Pinned<'_>) -> bool {
        let candidates = paths.iter().map(|path| self.candidate(path, pinned));
        med_decides(self.selection(), candidates)
    }

    /// Chooses again if a source changed while a best path was computed. Whether that changed it.
    ///
    /// Another writer may take the last path of a source out, change what the source says, and put
    /// an equal path back, all between this writer's load and its swap; the slot's word can then be
    /// what it was (see `slot`), and the choice made from the old source stands. The revision was
    /// raised before that path came back, and the swap that met it saw it: so it is seen here.
    fn settle(&self, slot: &Slot, mut revision: u64, pinned: Pinned<'_>) -> bool {
        let mut changed = false;
        while self.sources.revision() != revision {
            revision = self.sources.revision();
            let before = slot.load(pinned);
            let paths = before.paths();
            let best = self.select(&paths, before.best(), pinned);
            if !differs(before.best(), best.map(|best| paths[best])) {
                continue;
            }
            match slot.replace(before, &paths, best, pinned) {
                Ok(()) => changed = true,
                // Somebody swapped in a choice of theirs; look at that one too.
                Err(_) => revision = revision.wrapping_sub(1),
            }
        }
        changed
    }

    /// Chooses the best of a slot's paths anew, after selection changed. Whether it is another one.
    pub(crate) fn reselect(&self, slot: &Slot, pinned: Pinned<'_>) -> bool {
        let mut before = slot.load(pinned);
        loop {
            let revision = self.sources.revision();
            let paths = before.paths();
            let best = self.select(&paths, before.best(), pinned);
            if !differs(before.best(), best.map(|best| paths[best])) {
                return false;
            }
            match slot.replace(before, &paths, best, pinned) {
                Ok(()) => {
                    self.settle(slot, revision, pinned);
                    return true;
                }
                Err(now) => before = now,
            }
        }
    }

    /// As [`Rib::select`], for paths that were another set of which `best` was the best: mostly two
    /// of them tell, and the attributes of the others need not be read.
    ///
    /// Where `best` was chosen from what a source said before, whoever chose it chooses again (see
    /// [`Rib::settle`]), after this.
    fn select_anew(
        &self,
        best: Option<Path>,
        paths: &[Path],
        removed: &[Path],
        what: Change,
        pinned: Pinned<'_>,
    ) -> Option<usize> {
        self.still_best(best, removed, what, pinned)
            .and_then(|best| paths.binary_search_by_key(&best.key(), Path::key).ok())
            .or_else(|| self.select(paths, best, pinned))
    }

    /// The best path after a change, where the one before and what changed tell.
    fn still_best(
        &self,
        best: Option<Path>,
        removed: &[Path],
        what: Change,
        pinned: Pinned<'_>,
    ) -> Option<Path> {
        let best = best.filter(|best| removed.iter().all(|gone| gone.key() != best.key()))?;
        let selection = self.selection();
        let candidate = self.candidate(&best, pinned);
        let outlives = |gone: &Path| outlives(selection, &candidate, &self.candidate(gone, pinned));
        if !removed.iter().all(outlives) {
            return None;
        }
        match what {
            Change::Any => None,
            Change::Take => Some(best),
            Change::Put(added) => {
                let is_new = overtakes(selection, &candidate, &self.candidate(&added, pinned))?;
                Some(if is_new { added } else { best })
            }
        }
    }

    /// The place of the best path among `paths`, of which `existing` is the one that stands, if one does:
    /// then they are in order.
    #[inline]
    pub(crate) fn select(
        &self,
        paths: &[Path],
        existing: Option<Path>,
        pinned: Pinned<'_>,
    ) -> Option<usize> {
        self.select_by(self.selection(), paths, existing, pinned)
    }

    #[inline]
    pub(crate) fn select_by(
        &self,
        selection: Selection,
        paths: &[Path],
        existing: Option<Path>,
        pinned: Pinned<'_>,
    ) -> Option<usize> {
        match paths {
            [] => None,
            [only] => (only.is_usable()).then_some(0),
            _ => {
                let candidates: SmallVec<[Candidate; 4]> = paths
                    .iter()
                    .map(|path| self.candidate(path, pinned))
                    .collect();
                let existing = existing.filter(|_| selection.prefer_existing_external);
                let place = |path: Path| paths.binary_search_by_key(&path.key(), Path::key).ok();
                select_from(selection, &candidates, existing.and_then(place))
            }
        }
    }

    fn candidate(&self, path: &Path, pinned: Pinned<'_>) -> Candidate {
        let attributes = self.attributes.get(path.attributes, pinned);
        let attributes = attributes.expect("attributes outlive their paths");
        let source = self.sources.get(path.source, pinned);
        let source = source.expect("sources outlive their paths");
        Candidate {
            usable: path.is_usable(),
            local: path.flags.contains(PathFlags::LOCAL) || source.kind == SourceKind::Local,
            external: source.kind.is_external(),
            router_id: source.router_id.into(),
            address: source.address,
            path_id: path.path_id,
            summary: *attributes.summary,
        }
    }
}

/// Puts `path` in its place. Whether that changed anything.
fn put(paths: &mut PathBuffer, removed: &mut SmallVec<[Path; 1]>, path: Path) -> bool {
    match paths.binary_search_by_key(&path.key(), Path::key) {
        Ok(at) if paths[at] == path => return false,
        Ok(at) => removed.push(mem::replace(&mut paths[at], path)),
        Err(at) => paths.insert(at, path),
    }
    true
}

/// Whether a path is a stale one of the source of another.
fn gives_way(known: &Path, to: &Path) -> bool {
    let is_other = known.source == to.source && known.path_id != to.path_id;
    is_other && known.flags.contains(PathFlags::STALE)
}

/// Takes out the path of this path id, or all, of a source.
fn take(
    paths: &mut PathBuffer,
    removed: &mut SmallVec<[Path; 1]>,
    source: SourceId,
    path_id: Option<u32>,
) {
    let goes = |path: &Path| is_meant(path, source, path_id);
    removed.extend(paths.iter().copied().filter(goes));
    paths.retain(|path| !goes(path));
}

/// Whether other paths can be chosen from now.
fn others_differ(before: &[Path], after: &[Path]) -> bool {
    let usable = |paths: &[Path]| -> PathBuffer {
        let usable = paths.iter().copied().filter(Path::is_usable);
        usable.collect()
    };
    let (before, after) = (usable(before), usable(after));
    let mut pairs = before.iter().zip(&after);
    before.len() != after.len() || !pairs.all(|(before, after)| before.same_route(after))
}

/// Whether a path is the one of this source and path id, or one of the source.
fn is_meant(path: &Path, source: SourceId, path_id: Option<u32>) -> bool {
    path.source == source && path_id.is_none_or(|id| id == path.path_id)
}

/// Whether export could tell the two best paths apart.
fn differs(before: Option<Path>, after: Option<Path>) -> bool {
    match (before, after) {
        (None, None) => false,
        (Some(before), Some(after)) => !before.same_route(&after),
        _ => true,
    }
}
