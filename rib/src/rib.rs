//! The routing table as every shard may read it.
//!
//! Reading takes a guard ([`Rib::pin`]), never waits, and sees each prefix at one moment: its paths
//! and the best of them fit together. Nothing here changes a slot (that is `edit`'s), counts, frees or
//! marks (`writer`'s).

use std::hint::black_box;
use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::sync::Arc;

use codec::{Family, IpPrefix};
use crossbeam_epoch::{Collector, Guard};
use crossbeam_utils::CachePadded;
use smallvec::SmallVec;

use crate::attributes::{AttributeStore, Attributes};
use crate::best::Selection;
use crate::dirty::Marks;
use crate::epoch::{self, Pinned};
use crate::ids::{AttributeId, PrefixId, ShardId, ShardMask, SourceId};
use crate::path::{Path, PathBuffer, Paths};
use crate::reclaim::Cycle;
use crate::slot::Snapshot;
use crate::sources::{SourceInfo, SourceKind, Sources};
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use crate::table::{Table, key_of};
use crate::trie::{Key, WINDOW};
use crate::writer::RibWriter;

/// What a routing table is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RibOptions {
    /// Shards that write to it, 1 to [`ShardId::LIMIT`].
    pub shards: u8,
    /// How best paths are chosen at first.
    pub selection: Selection,
}

/// The routing table of one instance, shared by its shards and whoever looks in.
pub struct Rib {
    pub(crate) tables: [Table; Family::ALL.len()],
    pub(crate) attributes: AttributeStore,
    pub(crate) sources: Sources,
    pub(crate) marks: Box<[CachePadded<Marks>]>,
    cycles: [Cycle; Family::ALL.len()],
    /// Per family, the shards that want marks.
    pub(crate) subscribers: [CachePadded<AtomicU64>; Family::ALL.len()],
    /// Per family, the shards that want marks where only other paths than the best changed too.
    pub(crate) others_subscribers: [CachePadded<AtomicU64>; Family::ALL.len()],
    /// Per shard, the shares of changes that it has yet to publish.
    pub(crate) open_changes: Box<[CachePadded<AtomicU32>]>,
    shards: u8,
    /// How best paths are chosen.
    always_compare_med: AtomicBool,
    prefer_existing_external: AtomicBool,
    collector: Collector,
    /// The collector is the one that `crossbeam_epoch::pin` pins.
    collector_is_default: bool,
    /// Shards whose writer was handed out.
    writers: AtomicU64,
    /// The shards that may have paths of our own in the table, by family.
    pub(crate) originators: [AtomicU64; Family::ALL.len()],
}

impl Rib {
    /// An empty table. Panics unless there are 1 to [`ShardId::LIMIT`] shards.
    pub fn new(options: RibOptions) -> Arc<Rib> {
        let collector = crossbeam_epoch::default_collector().clone();
        Rib::with_parts(options, collector, true)
    }

    /// An empty table that retires memory through a collector of its own, not the process-wide one,
    /// so that what other threads do elsewhere cannot change when ids are reused: a simulation
    /// replays exactly. Its guards come from [`Rib::guard`] or the collector itself.
    pub fn with_collector(options: RibOptions, collector: Collector) -> Arc<Rib> {
        Rib::with_parts(options, collector, false)
    }

    fn with_parts(
        options: RibOptions,
        collector: Collector,
        collector_is_default: bool,
    ) -> Arc<Rib> {
        assert!(
            (1..=ShardId::LIMIT).contains(&options.shards),
            "a table has 1 to {} shards",
            ShardId::LIMIT
        );
        Arc::new(Rib {
            tables: Family::ALL.map(|family| Table::new(family, options.shards)),
            attributes: AttributeStore::new(options.shards),
            sources: Sources::new(),
            marks: (0..options.shards).map(|_| Marks::new().into()).collect(),
            cycles: Family::ALL.map(|_| Cycle::new(options.shards)),
            subscribers: Family::ALL.map(|_| AtomicU64::new(0).into()),
            others_subscribers: Family::ALL.map(|_| AtomicU64::new(0).into()),
            open_changes: (0..options.shards)
                .map(|_| AtomicU32::new(0).into())
                .collect(),
            shards: options.shards,
            always_compare_med: AtomicBool::new(options.selection.always_compare_med),
            prefer_existing_external: AtomicBool::new(options.selection.prefer_existing_external),
            collector,
            collector_is_default,
            writers: AtomicU64::new(0),
            originators: Family::ALL.map(|_| AtomicU64::new(0)),
        })
    }

    /// The writer of a shard. Panics if the shard has had one, or is past the table's shards.
    pub fn writer(self: &Arc<Self>, shard: ShardId) -> RibWriter {
        assert!(shard.0 < self.shards, "the table has no {shard:?}");
        let before = self.writers.fetch_or(shard.mask(), Ordering::AcqRel);
        assert!(before & shard.mask() == 0, "{shard:?} has its writer");
        RibWriter::new(self.clone(), shard)
    }

    /// Pins the current thread: what it reads from tables made by [`Rib::new`] stays readable until
    /// the guard is dropped. Hold it for one turn of work at most, never while parked: memory that
    /// was replaced meanwhile waits for it.
    pub fn pin() -> Guard {
        crossbeam_epoch::pin()
    }

    /// As [`Rib::pin`], for a table with a collector of its own too.
    pub fn guard(&self) -> Guard {
        if self.collector_is_default {
            crossbeam_epoch::pin()
        } else {
            epoch::pin(&self.collector)
        }
    }

    /// Shards that write to it.
    pub fn shards(&self) -> u8 {
        self.shards
    }

    /// How best paths are chosen.
    #[inline]
    pub fn selection(&self) -> Selection {
        Selection {
            // Relaxed: who is told of another one afterwards, by whatever way, reads that.
            always_compare_med: self.always_compare_med.load(Ordering::Relaxed),
            prefer_existing_external: self.prefer_existing_external.load(Ordering::Relaxed),
        }
    }

    /// Has best paths chosen otherwise from now on. Each writer has to be told once this returned, and
    /// then to call [`RibWriter::reselect`] for every id: what it chose before it was told, and what
    /// others made of that, is chosen anew by itself.
    pub fn set_selection(&self, selection: Selection) {
        let Selection {
            always_compare_med,
            prefer_existing_external,
        } = selection;
        let relaxed = Ordering::Relaxed;
        self.always_compare_med.store(always_compare_med, relaxed);
        self.prefer_existing_external
            .store(prefer_existing_external, relaxed);
    }

    /// Whether there may be paths of our own of a family. Whoever takes the mark of such a path finds it
    /// so as long as the path is there, whichever shard put it in: the table says it, as a message from
    /// elsewhere may come later than the path.
    pub fn has_own(&self, family: Family) -> bool {
        self.originators[family.index()].load(Ordering::Acquire) != 0
    }

    pub(crate) fn pinned<'g>(&self, guard: &'g Guard) -> Pinned<'g> {
        Pinned::new(guard, &self.collector)
    }

    pub(crate) fn table(&self, family: Family) -> &Table {
        &self.tables[family.index()]
    }

    pub(crate) fn cycle(&self, family: Family) -> &Cycle {
        &self.cycles[family.index()]
    }

    /// Shards whose writer was handed out.
    pub(crate) fn writers(&self) -> ShardMask {
        self.writers.load(Ordering::Acquire)
    }

    /// The shards that want marks of a family.
    pub(crate) fn subscribers(&self, family: Family) -> ShardMask {
        self.subscribers[family.index()].load(Ordering::Relaxed)
    }
}

/// A best path, and what tells whether something derived from its attributes still holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Best {
    /// The path.
    pub path: Path,
    /// What kind of neighbor it was learned from.
    pub kind: SourceKind,
    /// [`Attributes::generation`] of its attributes.
    pub generation: u32,
}

/// For readers, from any thread. Each panics if the guard is of another table's collector.
impl Rib {
    /// The id of exactly this prefix, if it has a path or had one lately. Under this guard, or while
    /// it has a path or the caller's shard holds the id (see [`RibWriter::reclaim`]), it is this
    /// prefix's.
    pub fn lookup(&self, prefix: IpPrefix, guard: &Guard) -> Option<PrefixId> {
        let table = self.table(prefix.family());
        let id = table.lookup(key_of(prefix), self.pinned(guard))?;
        Some(PrefixId(id))
    }

    /// The id of the longest prefix that contains `prefix`, or equals it, and has a path.
    pub fn longest_match(&self, prefix: IpPrefix, guard: &Guard) -> Option<PrefixId> {
        let pinned = self.pinned(guard);
        let table = self.table(prefix.family());
        let has_path = |id| {
            table
                .slot(id)
                .is_some_and(|slot| !slot.load(pinned).is_empty())
        };
        let id = table.longest_match(key_of(prefix), pinned, has_path)?;
        Some(PrefixId(id))
    }

    /// The prefix of an id that was read from this table; the default route for any other number.
    pub fn prefix(&self, family: Family, id: PrefixId) -> IpPrefix {
        self.table(family).prefix(id.0)
    }

    /// Ids of the family are below this. It only grows.
    pub fn id_limit(&self, family: Family) -> u32 {
        self.table(family).limit()
    }

    /// The best path, if any path is usable.
    pub fn best(&self, family: Family, id: PrefixId, guard: &Guard) -> Option<Path> {
        self.snapshot(family, id, self.pinned(guard))?.best()
    }

    /// The best path of each of many ids, with what export asks of it first: a few together, so
    /// that they don't wait for each other's cache misses.
    pub fn best_of_each(
        &self,
        family: Family,
        ids: &[PrefixId],
        guard: &Guard,
        mut each: impl FnMut(PrefixId, Option<Best>),
    ) {
        let pinned = self.pinned(guard);
        for ids in ids.chunks(WINDOW) {
            let mut paths = [None; WINDOW];
            let snapshots: SmallVec<[_; WINDOW]> = ids
                .iter()
                .map(|id| self.snapshot(family, *id, pinned))
                .collect();
            for (path, snapshot) in paths.iter_mut().zip(snapshots) {
                *path = snapshot.and_then(Snapshot::best);
            }
            let bests = paths.map(|path| {
                path.map(|path| Best {
                    path,
                    kind: self.kind(path.source),
                    generation: self.attributes.generation(path.attributes),
                })
            });
            for (id, best) in ids.iter().zip(bests) {
                each(*id, best);
            }
        }
    }

    /// All paths, rejected ones too, at one moment.
    pub fn paths<'g>(&self, family: Family, id: PrefixId, guard: &'g Guard) -> Paths<'g> {
        let snapshot = self.snapshot(family, id, self.pinned(guard));
        Paths {
            paths: snapshot.map_or_else(PathBuffer::new, Snapshot::paths),
            best: snapshot.and_then(Snapshot::best),
            guard: PhantomData,
        }
    }

    /// The usable ones of a prefix's `paths` in order of preference: the best path, then the best of
    /// those that are left, and so on. A path that is behind strikes nobody out by its MED.
    pub fn ranked<'g>(
        &'g self,
        paths: Paths<'g>,
        guard: &'g Guard,
    ) -> impl Iterator<Item = Path> + use<'g> {
        self.rank(paths.paths, paths.best, self.pinned(guard))
    }

    /// The best of some paths that were read under this guard, by its place. None of them stands.
    pub fn best_of(&self, paths: &[Path], guard: &Guard) -> Option<usize> {
        self.select(paths, None, self.pinned(guard))
    }

    /// Whether one of these paths, which were read under this guard, may strike another one out by
    /// its MED (RFC 4271 §9.1.2.2 c): then the best of some of them need not be the first of those in
    /// the order of all ([`Rib::ranked`]).
    pub fn med_decides(&self, paths: &[Path], guard: &Guard) -> bool {
        paths.len() > 1 && self.is_decided_by_med(paths, self.pinned(guard))
    }

    /// The attributes of a path that was read under this guard. Panics if nothing has that id,
    /// which cannot be where that is kept.
    pub fn attributes<'g>(&self, id: AttributeId, guard: &'g Guard) -> Attributes<'g> {
        let set = self.attributes.get(id, self.pinned(guard));
        set.expect("attributes outlive their paths")
    }

    /// The source of a path that was read under this guard, or one of the caller's own. Panics if
    /// the number was never given out.
    pub fn source<'g>(&self, id: SourceId, guard: &'g Guard) -> &'g SourceInfo {
        let info = self.sources.get(id, self.pinned(guard));
        info.expect("sources outlive their paths")
    }

    /// The kind of such a source.
    fn kind(&self, id: SourceId) -> SourceKind {
        let kind = self.sources.kind(id);
        kind.expect("sources outlive their paths")
    }

    /// Visits at most `limit` prefixes that lie within `within` (or anywhere) and come after
    /// `after`, in ascending order, with or without paths. Prefixes that appear meanwhile may or
    /// may not be met. A walk in parts passes the last prefix of a part as `after` of the next.
    pub fn walk(
        &self,
        family: Family,
        within: Option<IpPrefix>,
        after: Option<IpPrefix>,
        limit: usize,
        guard: &Guard,
        mut visit: impl FnMut(PrefixId, IpPrefix),
    ) {
        let table = self.table(family);
        let other_family = |prefix: Option<IpPrefix>| prefix.is_some_and(|p| p.family() != family);
        if limit == 0 || other_family(within) || other_family(after) {
            return;
        }
        let everything = Key { bits: 0, length: 0 };
        let within = within.map_or(everything, key_of);
        let mut left = limit;
        table.walk(
            within,
            after.map(key_of),
            self.pinned(guard),
            &mut |id, key| {
                visit(PrefixId(id), table.prefix_of(key));
                left -= 1;
                if left == 0 {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            },
        );
    }

    /// Reads what a look at the paths of these prefixes, and at the attributes of the only or best
    /// one, will read: where there are some to be looked at, their cache misses overlap. For a few
    /// tens at a time.
    pub fn read_ahead(
        &self,
        family: Family,
        ids: impl IntoIterator<Item = PrefixId>,
        guard: &Guard,
    ) {
        let pinned = self.pinned(guard);
        let snapshots: SmallVec<[_; 32]> = ids
            .into_iter()
            .filter_map(|id| self.snapshot(family, id, pinned))
            .collect();
        let mut read = 0;
        for snapshot in snapshots {
            let path = snapshot.only().or_else(|| snapshot.best());
            let set = path.and_then(|path| self.attributes.get(path.attributes, pinned));
            read ^= set.map_or(0, |set| set.bytes.first().copied().unwrap_or_default());
        }
        black_box(read);
    }

    fn snapshot<'g>(
        &self,
        family: Family,
        id: PrefixId,
        pinned: Pinned<'g>,
    ) -> Option<Snapshot<'g>> {
        Some(self.table(family).slot(id.0)?.load(pinned))
    }
}
