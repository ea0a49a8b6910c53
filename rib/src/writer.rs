//! What one shard may change: its own sources, attributes and paths; and what it is told.
//!
//! Invariants: a path in a slot whose attributes this shard owns is counted once in its interner;
//! a prefix to look at again is in `pending` until [`RibWriter::publish`] has marked it for every
//! subscriber; an id that [`RibWriter::take_dirty`] gives is no longer marked.

use std::cell::Cell;
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::mem;
use std::sync::Arc;

use crate::dirty::Batch;
use crate::edit::{Edited, Refused};
use crate::epoch::{Grace, Pinned};
use crate::ids::{AttributeId, Full, PrefixId, ShardId, ShardMask, SourceId};
use crate::interner::Interner;
use crate::path::{Path, PathFlags};
use crate::reclaim::Duty;
use crate::rib::Rib;
use crate::sources::SourceInfo;
use crate::sync::{Ordering, fence};
use crate::table::Spare;
use crate::trie::{Key, Place};
use codec::Family;
use crossbeam_epoch::Guard;

/// Changes kept back before they are published without being asked to.
const MAX_PENDING: usize = 4096;
/// Attribute sets released before they are retired without being asked to.
const MAX_RELEASED: usize = 1024;
/// One collection frees up to 512 objects, and a change of a slot retires two at most, or a few more
/// where its prefix is new. A writer that edits under a long guard collects only when it flushes.
const EDITS_A_COLLECTION: usize = 128;
/// Source numbers that lie idle before the oldest is used again: a shard that has yet to process a
/// mark may still compare the number with what it sent.
const IDLE_SOURCES: usize = 4096;

/// What putting a path in did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upserted {
    /// The prefix.
    pub id: PrefixId,
    /// The source had no path with this path id before.
    pub new_path: bool,
    /// The best path is another one, or has other attributes.
    pub best_changed: bool,
    /// A path of the source to this prefix may be the best.
    pub usable_of_source: bool,
}

/// What taking a path out did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Withdrawn {
    /// The prefix.
    pub id: PrefixId,
    /// The best path is another one, or there is none any more.
    pub best_changed: bool,
    /// The source has no path to this prefix left.
    pub last_of_source: bool,
    /// A path that the source has left to this prefix may be the best.
    pub usable_of_source: bool,
}

/// The one writer of a shard: it goes where the shard goes, and is used by nobody else.
pub struct RibWriter {
    rib: Arc<Rib>,
    shard: ShardId,
    /// In a box, as writers are handed from thread to thread.
    interner: Box<Interner>,
    /// Paths of each source, where the source is this writer's: by number.
    source_paths: Vec<u32>,
    idle_sources: VecDeque<SourceId>,
    spares: [Spare; Family::ALL.len()],
    pending: [Vec<u32>; Family::ALL.len()],
    /// Shards that a publication in between found asleep.
    owed_wakes: ShardMask,
    /// Taken from the inbox and not handed out yet; the first batch from `handed` on.
    taken: VecDeque<Batch>,
    handed: usize,
    /// Released attribute sets, each batch until no reader knows it.
    waiting: VecDeque<(Grace, Vec<u32>)>,
    pub(crate) duties: Box<[Duty; Family::ALL.len()]>,
    /// Changes since the last flush.
    edits: usize,
    not_sync: PhantomData<Cell<()>>,
}

impl RibWriter {
    pub(crate) fn new(rib: Arc<Rib>, shard: ShardId) -> RibWriter {
        RibWriter {
            rib,
            shard,
            interner: Box::new(Interner::new(shard)),
            source_paths: Vec::new(),
            idle_sources: VecDeque::new(),
            spares: Default::default(),
            pending: Default::default(),
            owed_wakes: 0,
            taken: VecDeque::new(),
            handed: 0,
            waiting: VecDeque::new(),
            duties: Box::default(),
            edits: 0,
            not_sync: PhantomData,
        }
    }

    /// The table.
    pub fn rib(&self) -> &Arc<Rib> {
        &self.rib
    }

    /// The shard whose writer this is.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// Attribute sets of this shard in use.
    pub fn attribute_sets(&self) -> usize {
        self.interner.len()
    }

    /// Frees what readers have moved on from: memory that was replaced, and attribute sets that
    /// nothing refers to. Call it each turn, without a guard, at a cost in step with the changes
    /// since the last call.
    pub fn flush(&mut self) {
        for _ in 0..mem::take(&mut self.edits) / EDITS_A_COLLECTION {
            self.rib.guard().flush();
        }
        let guard = self.rib.guard();
        self.retire_released(&guard);
        let over = |batch: &mut (Grace, _)| batch.0.is_over();
        while let Some((_, indices)) = self.waiting.pop_front_if(over) {
            let pinned = self.rib.pinned(&guard);
            self.interner.reclaim(indices, &self.rib.attributes, pinned);
        }
        self.free_ids();
        guard.flush();
    }

    /// Notes changes that retire memory.
    pub(crate) fn note_edits(&mut self, edits: usize) {
        self.edits += edits;
    }

    /// Lets what was released wait for the guards of this moment.
    fn retire_released(&mut self, guard: &Guard) {
        if self.interner.released() > 0 {
            let released = self.interner.take_released();
            self.waiting.push_back((Grace::begin(guard), released));
        }
    }
}

/// Sources and attributes.
impl RibWriter {
    /// A number for a source. Panics where [`SourceId::LIMIT`] sources are in use.
    pub fn add_source(&mut self, info: SourceInfo) -> SourceId {
        let id = if self.idle_sources.len() > IDLE_SOURCES {
            self.idle_sources.pop_front()
        } else {
            None
        };
        let id = id.unwrap_or_else(|| self.rib.sources.claim());
        if self.source_paths.len() <= id.index() {
            self.source_paths.resize(id.index() + 1, 0);
        }
        self.set_source(id, info);
        id
    }

    /// Changes what is known of a source. Panics if the source has a path, best paths having been
    /// chosen by what it said, unless all that changes is whether it is a reflector's or a route
    /// server's client: then the caller marks its prefixes ([`RibWriter::mark`]).
    pub fn set_source(&mut self, id: SourceId, info: SourceInfo) {
        let guard = self.rib.guard();
        let pinned = self.rib.pinned(&guard);
        let before = self.rib.sources.get(id, pinned);
        let selects_alike = before.is_some_and(|before| before.selects_like(&info));
        assert!(self.paths_of(id) == 0 || selects_alike, "{id:?} has paths");
        self.rib.sources.set(id, info, pinned);
    }

    /// Gives a source's number back. Panics if the source has a path.
    pub fn remove_source(&mut self, id: SourceId) {
        assert_eq!(self.paths_of(id), 0, "{id:?} has paths");
        self.idle_sources.push_back(id);
    }

    /// Paths that a source of this writer has, in all families.
    pub fn paths_of(&self, id: SourceId) -> u32 {
        self.source_paths.get(id.index()).copied().unwrap_or(0)
    }

    /// The id of attributes in canonical form, with one count for the caller, to be given back by
    /// [`RibWriter::release`].
    pub fn intern(&mut self, canonical: &[u8]) -> Result<AttributeId, Full> {
        let guard = self.rib.guard();
        let pinned = self.rib.pinned(&guard);
        self.interner
            .intern(canonical, None, &self.rib.attributes, pinned)
    }

    /// As [`RibWriter::intern`], for attributes that policy made of others as they were received:
    /// these stay as long as those, and [`RibWriter::received`] finds them. Panics if they are not in
    /// use, are another shard's, or were made of others themselves.
    pub fn intern_made_of(
        &mut self,
        canonical: &[u8],
        received: AttributeId,
    ) -> Result<AttributeId, Full> {
        self.assert_own(received);
        assert_eq!(self.received(received), received, "made of what was made");
        let guard = self.rib.guard();
        let pinned = self.rib.pinned(&guard);
        self.interner
            .intern(canonical, Some(received), &self.rib.attributes, pinned)
    }

    /// What attributes of this shard were before policy changed them; themselves where it did not.
    pub fn received(&self, id: AttributeId) -> AttributeId {
        self.interner.made_of(id)
    }

    /// One more count on attributes that are in use. Panics if they are not, or are another shard's.
    pub fn hold(&mut self, id: AttributeId) {
        self.assert_own(id);
        self.interner.hold(id);
    }

    /// Gives a count back. Panics if the caller has none, or the attributes are another shard's.
    pub fn release(&mut self, id: AttributeId) {
        self.assert_own(id);
        self.interner.release(id);
        if self.interner.released() >= MAX_RELEASED {
            let guard = self.rib.guard();
            self.retire_released(&guard);
        }
    }

    pub(crate) fn bound_released(&mut self, guard: &Guard) {
        if self.interner.released() >= MAX_RELEASED {
            self.retire_released(guard);
        }
    }

    pub(crate) fn assert_own(&self, id: AttributeId) {
        assert_eq!(id.shard(), self.shard, "attributes of another shard");
    }

    pub(crate) fn assert_own_source(&self, id: SourceId) {
        assert!(
            id.index() < self.source_paths.len(),
            "a source of another shard"
        );
    }
}

/// Counts and marks.
impl RibWriter {
    /// Puts a path in the slot of a prefix that the trie followed to `from`, with a count on its
    /// attributes.
    pub(crate) fn put(
        &mut self,
        family: Family,
        key: Key,
        mut from: Place,
        path: Path,
        pinned: Pinned<'_>,
    ) -> Result<Upserted, Full> {
        // Before the swap: once in the slot, other shards read what the count keeps alive.
        self.interner.add_path(path.attributes);
        let (id, (edited, of_source)) = loop {
            let table = self.rib.table(family);
            let spare = &mut self.spares[family.index()];
            let id = match table.claim(key, from, pinned, spare) {
                Ok(id) => id,
                Err(full) => {
                    self.interner.drop_path(path.attributes);
                    return Err(full);
                }
            };
            let slot = table.slot(id).expect("an id has its slot");
            match self.rib.put(family, slot, path, pinned) {
                Ok(put) => break (PrefixId(id), put),
                Err(Refused::Buried) => table.unlink(id, pinned),
                Err(Refused::Full) => {
                    self.interner.drop_path(path.attributes);
                    return Err(Full::Paths);
                }
            }
            from = Place::default();
        };
        let Some(edited) = edited else {
            self.interner.drop_path(path.attributes);
            return Ok(Upserted {
                id,
                new_path: false,
                best_changed: false,
                usable_of_source: of_source.usable,
            });
        };
        self.source_paths[path.source.index()] += 1;
        self.settle(family, id, &edited);
        Ok(Upserted {
            id,
            new_path: edited.removed.iter().all(|gone| gone.key() != path.key()),
            best_changed: edited.best_changed,
            usable_of_source: of_source.usable,
        })
    }

    /// Takes out the path of this path id, or all paths, of a source.
    pub(crate) fn take(
        &mut self,
        family: Family,
        id: PrefixId,
        source: SourceId,
        path_id: Option<u32>,
        pinned: Pinned<'_>,
    ) -> Option<Withdrawn> {
        let slot = self.rib.table(family).slot(id.0)?;
        let (edited, left) = self.rib.take(family, slot, source, path_id, pinned)?;
        self.settle(family, id, &edited);
        Some(Withdrawn {
            id,
            best_changed: edited.best_changed,
            last_of_source: left.paths == 0,
            usable_of_source: left.usable,
        })
    }

    /// Takes out the paths of a source that have all of `flags`.
    pub(crate) fn take_flagged(
        &mut self,
        family: Family,
        id: PrefixId,
        (source, flags): (SourceId, PathFlags),
        pinned: Pinned<'_>,
    ) -> Option<Withdrawn> {
        let slot = self.rib.table(family).slot(id.0)?;
        let (edited, left) = self.rib.take_flagged(family, slot, source, flags, pinned)?;
        self.settle(family, id, &edited);
        Some(Withdrawn {
            id,
            best_changed: edited.best_changed,
            last_of_source: left.paths == 0,
            usable_of_source: left.usable,
        })
    }

    /// Sets flags on all paths of a source but the one of a path id.
    pub(crate) fn flag(
        &mut self,
        family: Family,
        id: PrefixId,
        source: SourceId,
        flags: PathFlags,
        pinned: Pinned<'_>,
    ) {
        let slot = self.rib.table(family).slot(id.0);
        let edited = slot.and_then(|slot| self.rib.flag(family, slot, source, flags, pinned));
        if let Some(edited) = edited {
            self.settle(family, id, &edited);
        }
    }

    /// Chooses the best paths of these ids anew, after [`Rib::set_selection`], and marks those that are
    /// others; with `others` also where those behind the best may stand in another order, if some shard
    /// wants to know of them. Ids that never had a prefix are passed over.
    pub fn reselect(
        &mut self,
        family: Family,
        ids: impl Iterator<Item = PrefixId>,
        others: impl Fn(PrefixId) -> bool,
    ) {
        let rib = Arc::clone(&self.rib);
        let guard = rib.guard();
        let pinned = rib.pinned(&guard);
        let others_wanted = rib.wants_others(family);
        for id in ids {
            let Some(slot) = rib.table(family).slot(id.0) else {
                continue;
            };
            let snapshot = slot.load(pinned);
            if snapshot.is_empty() || snapshot.only().is_some() {
                continue;
            }
            let changed = rib.reselect(slot, pinned);
            self.edits += usize::from(changed);
            if changed || (others_wanted && others(id)) {
                self.mark(family, id);
            }
        }
    }

    /// Counts and marks what an edit did.
    fn settle(&mut self, family: Family, id: PrefixId, edited: &Edited) {
        self.edits += 1;
        if edited.idle != 0 {
            let cycle = self.rib.cycle(family);
            cycle.count_idle(self.shard, edited.idle);
        }
        for path in &edited.removed {
            self.source_paths[path.source.index()] -= 1;
            self.interner.drop_path(path.attributes);
        }
        if edited.best_changed || edited.others_changed {
            self.mark(family, id);
        }
    }

    /// Has a prefix marked with the next publication: export has to look at it again.
    pub fn mark(&mut self, family: Family, id: PrefixId) {
        let pending = &mut self.pending[family.index()];
        pending.push(id.0);
        if pending.len() >= MAX_PENDING {
            self.owed_wakes |= self.mark_pending();
        }
    }
}

/// Marks.
impl RibWriter {
    /// Marks what changed since the last publication for every shard that subscribed, this one
    /// included. Gives the *other* shards that had no mark and now have one: wake them.
    pub fn publish(&mut self) -> ShardMask {
        let woken = self.mark_pending();
        (mem::take(&mut self.owed_wakes) | woken) & !self.shard.mask()
    }

    fn mark_pending(&mut self) -> ShardMask {
        if self.pending.iter().all(Vec::is_empty) {
            return 0;
        }
        // Pairs with the fence in `subscribe`: either the subscriber is seen here, or it sees the
        // slots that were swapped before this.
        fence(Ordering::SeqCst);
        let mut woken = 0;
        for family in Family::ALL {
            let ids = &mut self.pending[family.index()];
            let subscribers = self.rib.subscribers(family);
            for (shard, marks) in self.rib.marks.iter().enumerate() {
                if subscribers >> shard & 1 != 0 && marks.mark(family, ids) {
                    woken |= 1 << shard;
                }
            }
            ids.clear();
        }
        woken
    }

    /// Whether this shard wants marks of a family. What changed earlier is not marked: subscribe,
    /// then walk the table. Marks from before an end of the subscription are still handed out.
    pub fn subscribe(&mut self, family: Family, wanted: bool) {
        let subscribers = &self.rib.subscribers[family.index()];
        if wanted {
            subscribers.fetch_or(self.shard.mask(), Ordering::Relaxed);
        } else {
            subscribers.fetch_and(!self.shard.mask(), Ordering::Relaxed);
        }
        // Pairs with the fence in `mark_pending`: the caller's walk comes after this.
        fence(Ordering::SeqCst);
    }

    /// Whether this shard, which has subscribed to the family, wants marks too where the best path
    /// stays and of the others one that may be used comes, changes or goes. As with
    /// [`RibWriter::subscribe`], what changed earlier is not marked.
    pub fn subscribe_others(&mut self, family: Family, wanted: bool) {
        let subscribers = &self.rib.others_subscribers[family.index()];
        if wanted {
            subscribers.fetch_or(self.shard.mask(), Ordering::SeqCst);
        } else {
            subscribers.fetch_and(!self.shard.mask(), Ordering::SeqCst);
        }
        // Pairs with `Rib::wants_others`: the caller's walk comes after this.
        fence(Ordering::SeqCst);
    }

    /// Says whether this shard has paths of our own of a family: before the first of them comes, and
    /// after the last of them went.
    pub fn set_originating(&mut self, family: Family, originating: bool) {
        let originators = &self.rib.originators[family.index()];
        match originating {
            true => originators.fetch_or(self.shard.mask(), Ordering::AcqRel),
            false => originators.fetch_and(!self.shard.mask(), Ordering::AcqRel),
        };
    }

    /// The other shards that want marks of some family.
    pub fn other_subscribers(&self) -> ShardMask {
        let families = Family::ALL.map(|family| self.rib.subscribers(family));
        families.into_iter().fold(0, |all, of| all | of) & !self.shard.mask()
    }

    /// The other shards of the table.
    pub fn other_shards(&self) -> ShardMask {
        let all = (0..self.rib.shards()).map(|shard| ShardId(shard).mask());
        all.sum::<ShardMask>() & !self.shard.mask()
    }

    /// Whether [`RibWriter::take_dirty`] has something to give.
    pub fn has_dirty(&self) -> bool {
        !self.taken.is_empty() || !self.rib.marks[self.shard.index()].inbox.is_empty()
    }

    /// Takes up to `max` marks of this shard, oldest first, and appends them to `out`. A mark is
    /// cleared before it is given: a change after that marks the id again, so the caller reads the
    /// slot only after this returns, and then nothing is missed.
    pub fn take_dirty(&mut self, max: usize, out: &mut Vec<(Family, PrefixId)>) {
        let marks = &self.rib.marks[self.shard.index()];
        marks.inbox.take(|batch| self.taken.push_back(batch));
        let mut left = max;
        while left > 0
            && let Some(batch) = self.taken.front()
        {
            let before = out.len();
            if marks.take(batch.family, batch.words[self.handed], left, out) {
                self.handed += 1;
            }
            left -= out.len() - before;
            if self.handed == batch.words.len() {
                self.taken.pop_front();
                self.handed = 0;
            }
        }
    }
}

/// What the audit looks at.
impl RibWriter {
    pub(crate) fn interner(&self) -> &Interner {
        &self.interner
    }

    pub(crate) fn spares(&self) -> &[Spare] {
        &self.spares
    }

    pub(crate) fn source_paths(&self) -> &[u32] {
        &self.source_paths
    }

    /// Words of marks queued for this shard and not handed out, by family; empties the inbox to see
    /// them.
    pub(crate) fn queued(&mut self) -> [Vec<u32>; Family::ALL.len()] {
        let marks = &self.rib.marks[self.shard.index()];
        marks.inbox.take(|batch| self.taken.push_back(batch));
        let mut queued: [Vec<u32>; Family::ALL.len()] = Default::default();
        for (at, batch) in self.taken.iter().enumerate() {
            let handed = if at == 0 { self.handed } else { 0 };
            queued[batch.family.index()].extend(&batch.words[handed..]);
        }
        queued
    }
}
