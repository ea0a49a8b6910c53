//! The table against plain maps: whatever two shards do, in any order, readers see what the model
//! says, marks tell of every change, and the audit finds nothing.
#![cfg(not(loom))]

mod steps;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::sync::Arc;

use codec::{Family, IpPrefix};
use proptest::prelude::*;
use rib::{
    AttributeId, Candidate, Collector, Path, PathFlags, PrefixId, Rib, RibOptions, RibWriter,
    Selection, ShardId, SourceId, SourceInfo, SourceKind, Summary, select,
};
use steps::{SHARDS, SOURCES, Step, step};

/// Canonical attributes that differ in what selection looks at.
fn attributes(variant: u8) -> Vec<u8> {
    let origin = variant % 2;
    let med = variant / 2 % 3;
    let neighbor = 1 + variant / 6;
    let mut bytes = vec![0x40, 1, 1, origin];
    bytes.extend([0x40, 2, 6, 2, 1, 0, 0, 0, neighbor]);
    bytes.extend([0x80, 4, 4, 0, 0, 0, med]);
    bytes
}

fn source_info(shard: usize, source: usize) -> SourceInfo {
    let address = Ipv4Addr::new(10, 0, shard as u8, source as u8);
    SourceInfo {
        kind: if source == 0 {
            SourceKind::Internal
        } else {
            SourceKind::External
        },
        asn: 65000 + source as u32,
        router_id: Ipv4Addr::new(1, 1, 1, source as u8),
        address: Some(address.into()),
    }
}

type Key = (SourceId, u32);

/// What export tells apart.
type Route = (Key, AttributeId);

fn route(path: Path) -> Route {
    ((path.source, path.path_id), path.attributes)
}

struct World {
    collector: Collector,
    rib: Arc<Rib>,
    writers: Vec<RibWriter>,
    sources: Vec<Vec<SourceId>>,
    infos: HashMap<SourceId, SourceInfo>,
    /// What each prefix should hold.
    model: BTreeMap<IpPrefix, BTreeMap<Key, (u8, PathFlags)>>,
    selection: Selection,
    /// The best path that each shard last read after a mark, and whose it was: what it holds.
    seen: Vec<HashMap<(Family, PrefixId), (IpPrefix, Route)>>,
}

impl World {
    fn new() -> World {
        let options = RibOptions {
            shards: SHARDS,
            selection: Selection::default(),
        };
        let collector = Collector::new();
        let rib = Rib::with_collector(options, collector.clone());
        rib.reclaim_from(1);
        let mut writers: Vec<_> = (0..SHARDS)
            .map(|shard| rib.writer(ShardId(shard)))
            .collect();
        let mut infos = HashMap::new();
        let sources = (0..SHARDS as usize)
            .map(|shard| {
                writers[shard].subscribe(Family::Ipv4Unicast, true);
                writers[shard].subscribe(Family::Ipv6Unicast, true);
                (0..SOURCES)
                    .map(|source| {
                        let info = source_info(shard, source);
                        let id = writers[shard].add_source(info);
                        infos.insert(id, info);
                        id
                    })
                    .collect()
            })
            .collect();
        World {
            collector,
            rib,
            writers,
            sources,
            infos,
            model: BTreeMap::new(),
            selection: Selection::default(),
            seen: vec![HashMap::new(); SHARDS as usize],
        }
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Upsert {
                shard,
                source,
                prefix,
                path_id,
                attributes: variant,
                flags,
            } => {
                let source = self.sources[shard][source];
                let before = self.best(prefix);
                let writer = &mut self.writers[shard];
                let id = writer.intern(&attributes(variant)).unwrap();
                let path = Path {
                    attributes: id,
                    source,
                    path_id,
                    flags,
                };
                let upserted = match prefix {
                    IpPrefix::V4(prefix) => writer.upsert(prefix, path),
                    IpPrefix::V6(prefix) => writer.upsert(prefix, path),
                }
                .unwrap();
                writer.release(id);
                let paths = self.model.entry(prefix).or_default();
                let old = paths.insert((source, path_id), (variant, flags));
                assert_eq!(upserted.new_path, old.is_none());
                assert_eq!(upserted.best_changed, self.best(prefix) != before);
            }
            Step::Withdraw {
                shard,
                source,
                prefix,
                path_id,
            } => {
                let source = self.sources[shard][source];
                let before = self.best(prefix);
                let writer = &mut self.writers[shard];
                let withdrawn = match prefix {
                    IpPrefix::V4(prefix) => writer.withdraw(prefix, source, path_id),
                    IpPrefix::V6(prefix) => writer.withdraw(prefix, source, path_id),
                };
                let paths = self.model.entry(prefix).or_default();
                let old = paths.remove(&(source, path_id));
                let last = paths.keys().all(|(other, _)| *other != source);
                assert_eq!(withdrawn.is_some(), old.is_some());
                if let Some(withdrawn) = withdrawn {
                    assert_eq!(withdrawn.last_of_source, last);
                    assert_eq!(withdrawn.best_changed, self.best(prefix) != before);
                }
            }
            Step::UpsertBatch { shard, paths } => self.upsert_batch(shard, paths),
            Step::WithdrawBatch {
                shard,
                source,
                paths,
            } => self.withdraw_batch(shard, self.sources[shard][source], paths),
            Step::WithdrawAll { shard, source } => {
                let source = self.sources[shard][source];
                for family in Family::ALL {
                    for id in 0..self.rib.id_limit(family) {
                        let gone = self.writers[shard].withdraw_id(family, PrefixId(id), source);
                        assert!(gone.is_none_or(|gone| gone.last_of_source));
                    }
                }
                for paths in self.model.values_mut() {
                    paths.retain(|(other, _), _| *other != source);
                }
                assert_eq!(self.writers[shard].paths_of(source), 0);
                self.writers[shard].set_source(source, self.infos[&source]);
            }
            Step::Publish { shard } => {
                let idle: u64 = (0..SHARDS)
                    .filter(|other| !self.writers[usize::from(*other)].has_dirty())
                    .map(|other| ShardId(other).mask())
                    .sum();
                let woken = self.writers[shard].publish();
                assert_eq!(woken & ShardId(shard as u8).mask(), 0);
                for other in (0..SHARDS)
                    .map(ShardId)
                    .filter(|other| other.index() != shard)
                {
                    let now = self.writers[other.index()].has_dirty();
                    let was_idle = idle & other.mask() != 0;
                    assert!(
                        !(was_idle && now) || woken & other.mask() != 0,
                        "{other:?} sleeps on"
                    );
                }
            }
            Step::Take { shard, max } => self.take(shard, max),
            Step::Flush { shard } => self.writers[shard].flush(),
            Step::Reclaim { shard } => {
                self.reclaim(shard);
            }
            Step::Select { always_compare_med } => {
                self.selection = Selection {
                    always_compare_med,
                    ..Selection::default()
                };
                self.rib.set_selection(self.selection);
                for family in Family::ALL {
                    let ids = 0..self.rib.id_limit(family) + 1;
                    for writer in &mut self.writers {
                        writer.reselect(family, ids.clone().map(PrefixId), |_| false);
                    }
                }
            }
        }
    }

    /// Whether there is more to do.
    fn reclaim(&mut self, shard: usize) -> bool {
        let seen = &self.seen[shard];
        let holds = |family, id| seen.contains_key(&(family, id));
        let (wake, more) = self.writers[shard].reclaim(holds);
        assert_eq!(wake & ShardId(shard as u8).mask(), 0);
        more
    }

    fn upsert_batch(&mut self, shard: usize, paths: Vec<(usize, IpPrefix, u32, u8, PathFlags)>) {
        let writer = &mut self.writers[shard];
        let sources = &self.sources[shard];
        let paths: Vec<_> = paths
            .into_iter()
            .map(|(source, prefix, path_id, variant, flags)| {
                let path = Path {
                    attributes: writer.intern(&attributes(variant)).unwrap(),
                    source: sources[source],
                    path_id,
                    flags,
                };
                (prefix, path, variant)
            })
            .collect();
        let mut results = Vec::new();
        let batch = paths.iter().map(|(prefix, path, _)| (*prefix, *path));
        writer.upsert_all(batch, |at, upserted| {
            assert_eq!(at, results.len());
            results.push(upserted.unwrap());
        });
        for (_, path, _) in &paths {
            writer.release(path.attributes);
        }
        assert_eq!(results.len(), paths.len());
        // As if they had come one by one.
        for ((prefix, path, variant), upserted) in paths.into_iter().zip(results) {
            let before = self.modelled_best(prefix);
            let of_prefix = self.model.entry(prefix).or_default();
            let old = of_prefix.insert((path.source, path.path_id), (variant, path.flags));
            assert_eq!(upserted.new_path, old.is_none());
            assert_eq!(upserted.best_changed, self.modelled_best(prefix) != before);
            let guard = self.collector.register().pin();
            assert_eq!(self.rib.lookup(prefix, &guard), Some(upserted.id));
        }
    }

    fn withdraw_batch(&mut self, shard: usize, source: SourceId, paths: Vec<(IpPrefix, u32)>) {
        let mut results = Vec::new();
        self.writers[shard].withdraw_all(source, paths.iter().copied(), |at, withdrawn| {
            assert_eq!(at, results.len());
            results.push(withdrawn);
        });
        assert_eq!(results.len(), paths.len());
        for ((prefix, path_id), withdrawn) in paths.into_iter().zip(results) {
            let before = self.modelled_best(prefix);
            let of_prefix = self.model.entry(prefix).or_default();
            let old = of_prefix.remove(&(source, path_id));
            let last = of_prefix.keys().all(|(other, _)| *other != source);
            assert_eq!(withdrawn.is_some(), old.is_some());
            if let Some(withdrawn) = withdrawn {
                assert_eq!(withdrawn.last_of_source, last);
                assert_eq!(withdrawn.best_changed, self.modelled_best(prefix) != before);
            }
        }
    }

    /// What export tells of the best path that the model has.
    fn modelled_best(&self, prefix: IpPrefix) -> Option<(Key, u8)> {
        let paths = self.model.get(&prefix)?;
        let best = self.expected_best(paths)?;
        Some((best, paths[&best].0))
    }

    fn take(&mut self, shard: usize, max: usize) {
        let mut taken = Vec::new();
        self.writers[shard].take_dirty(max, &mut taken);
        assert!(taken.len() <= max);
        let guard = self.collector.register().pin();
        for (family, id) in taken {
            let prefix = self.rib.prefix(family, id);
            let best = self.rib.best(family, id, &guard).map(route);
            let old = match best {
                Some(route) => self.seen[shard].insert((family, id), (prefix, route)),
                None => self.seen[shard].remove(&(family, id)),
            };
            assert!(old.is_none_or(|(old, _)| old == prefix), "{id:?} was held");
        }
    }

    fn best(&self, prefix: IpPrefix) -> Option<Route> {
        let guard = self.collector.register().pin();
        let id = self.rib.lookup(prefix, &guard)?;
        self.rib.best(prefix.family(), id, &guard).map(route)
    }

    fn check(&mut self) {
        for writer in &mut self.writers {
            writer.audit();
        }
        RibWriter::audit_ids(&self.writers);
        for ((family, id), (prefix, _)) in self.seen.iter().flatten() {
            assert_eq!(self.rib.prefix(*family, *id), *prefix, "{id:?} is held");
        }
        let guard = self.collector.register().pin();
        for (prefix, expected) in &self.model {
            let Some(id) = self.rib.lookup(*prefix, &guard) else {
                assert!(expected.is_empty());
                continue;
            };
            assert_eq!(self.rib.prefix(prefix.family(), id), *prefix);
            let paths = self.rib.paths(prefix.family(), id, &guard);
            let read: BTreeMap<Key, _> = paths
                .iter()
                .map(|path| {
                    let bytes = self.rib.attributes(path.attributes, &guard).bytes.to_vec();
                    ((path.source, path.path_id), (bytes, path.flags))
                })
                .collect();
            let wanted: BTreeMap<Key, _> = expected
                .iter()
                .map(|(key, (variant, flags))| (*key, (attributes(*variant), *flags)))
                .collect();
            assert_eq!(read, wanted, "{prefix}");
            let best = paths.best().map(|path| (path.source, path.path_id));
            assert_eq!(best, self.expected_best(expected), "best of {prefix}");
        }
        self.check_order(&guard);
        self.check_reading_many(&guard);
    }

    /// Reading many best paths says what reading each does.
    fn check_reading_many(&self, guard: &rib::Guard) {
        for family in Family::ALL {
            let ids: Vec<_> = (0..self.rib.id_limit(family) + 3).map(PrefixId).collect();
            let mut read = Vec::new();
            self.rib.best_of_each(family, &ids, guard, |id, best| {
                read.push(id);
                assert_eq!(best.map(|best| best.path), self.rib.best(family, id, guard));
                let Some(best) = best else { return };
                let attributes = self.rib.attributes(best.path.attributes, guard);
                assert_eq!(best.generation, attributes.generation);
                assert_eq!(best.kind, self.rib.source(best.path.source, guard).kind);
            });
            assert_eq!(read, ids);
        }
    }

    fn expected_best(&self, paths: &BTreeMap<Key, (u8, PathFlags)>) -> Option<Key> {
        let keys: Vec<Key> = paths.keys().copied().collect();
        let candidates: Vec<Candidate> = paths
            .iter()
            .map(|((source, path_id), (variant, flags))| {
                let info = &self.infos[source];
                Candidate {
                    usable: !flags.contains(PathFlags::REJECTED),
                    local: flags.contains(PathFlags::LOCAL),
                    external: info.kind == SourceKind::External,
                    router_id: info.router_id.into(),
                    address: info.address,
                    path_id: *path_id,
                    summary: Summary::of(&attributes(*variant)),
                }
            })
            .collect();
        select(self.selection, &candidates).map(|best| keys[best])
    }

    /// Walks, whole and in parts, within prefixes or not; longest matches.
    fn check_order(&self, guard: &rib::Guard) {
        let everything: BTreeSet<IpPrefix> = self
            .model
            .keys()
            .copied()
            .filter(|prefix| self.rib.lookup(*prefix, guard).is_some())
            .collect();
        for family in Family::ALL {
            let inside: Vec<_> = everything
                .iter()
                .copied()
                .filter(|p| p.family() == family)
                .collect();
            let mut walked = Vec::new();
            loop {
                let before = walked.len();
                let after = walked.last().copied();
                self.rib.walk(family, None, after, 3, guard, |_, prefix| {
                    walked.push(prefix)
                });
                assert!(walked.len() <= before + 3);
                if walked.len() == before {
                    break;
                }
            }
            assert_eq!(walked, inside);
        }
        for within in &everything {
            let mut walked = Vec::new();
            let limit = usize::MAX;
            self.rib.walk(
                within.family(),
                Some(*within),
                None,
                limit,
                guard,
                |id, prefix| {
                    assert_eq!(self.rib.lookup(prefix, guard), Some(id));
                    walked.push(prefix);
                },
            );
            let expected = everything
                .iter()
                .copied()
                .filter(|prefix| within.contains(*prefix));
            let expected: Vec<_> = expected.collect();
            assert_eq!(walked, expected);
            let mut in_parts = Vec::new();
            let mut take_part = |after| {
                let part = in_parts.len()..;
                self.rib.walk(
                    within.family(),
                    Some(*within),
                    after,
                    2,
                    guard,
                    |_, prefix| in_parts.push(prefix),
                );
                in_parts[part].last().copied()
            };
            let mut after = take_part(None);
            while after.is_some() {
                after = take_part(after);
            }
            assert_eq!(in_parts, expected);
            let longest = self
                .model
                .iter()
                .filter(|(prefix, paths)| prefix.contains(*within) && !paths.is_empty())
                .map(|(prefix, _)| *prefix)
                .max_by_key(|prefix| prefix.length());
            let found = self.rib.longest_match(*within, guard);
            assert_eq!(
                found.map(|id| self.rib.prefix(within.family(), id)),
                longest
            );
        }
    }

    /// Once everything is published and taken, every shard has seen every best path.
    fn settle(&mut self) {
        for writer in &mut self.writers {
            writer.publish();
        }
        for shard in 0..usize::from(SHARDS) {
            while self.writers[shard].has_dirty() {
                self.take(shard, 5);
            }
        }
        let guard = self.collector.register().pin();
        for family in Family::ALL {
            for id in (0..self.rib.id_limit(family)).map(PrefixId) {
                let best = self.rib.best(family, id, &guard).map(route);
                for seen in &self.seen {
                    assert_eq!(seen.get(&(family, id)).map(|(_, route)| *route), best);
                }
            }
        }
    }

    /// With nothing left, nothing is held.
    fn empty(&mut self) {
        for shard in 0..usize::from(SHARDS) {
            for source in 0..SOURCES {
                self.apply(Step::WithdrawAll { shard, source });
            }
        }
        self.settle();
        for writer in &mut self.writers {
            writer.audit();
            assert_eq!(writer.attribute_sets(), 0);
            // A flush advances the epoch at most once and frees a bounded number of objects.
            for _ in 0..8 {
                writer.flush();
            }
        }
        self.give_ids_back();
        let guard = self.collector.register().pin();
        let memory = self.rib.memory(&guard);
        assert_eq!((memory.path_lists, memory.attributes), (0, 0));
        for family in Family::ALL {
            let mut left = 0;
            self.rib
                .walk(family, None, None, usize::MAX, &guard, |_, _| left += 1);
            assert_eq!(left, 0, "prefixes without a path");
        }
    }

    /// Nobody holds anything: ids that had a prefix are free soon.
    fn give_ids_back(&mut self) {
        for _ in 0..8 {
            while (0..usize::from(SHARDS)).any(|shard| self.reclaim(shard)) {}
            self.writers.iter_mut().for_each(RibWriter::flush);
        }
        RibWriter::audit_ids(&self.writers);
        for family in Family::ALL {
            assert_eq!(self.rib.id_counts(family).idle, 0);
        }
    }
}

proptest! {
    #[test]
    fn behaves_like_plain_maps(steps in prop::collection::vec(step(), 0..150)) {
        let mut world = World::new();
        for (at, step) in steps.into_iter().enumerate() {
            world.apply(step);
            if at % 16 == 0 {
                world.check();
            }
        }
        world.check();
        world.settle();
        world.check();
        world.empty();
    }
}

#[test]
fn an_attribute_id_is_reused_only_with_another_generation() {
    let mut world = World::new();
    let writer = &mut world.writers[0];
    let mut seen: BTreeSet<(AttributeId, u32)> = BTreeSet::new();
    for variant in 0..12 {
        let id = writer.intern(&attributes(variant)).unwrap();
        let guard = world.collector.register().pin();
        assert!(seen.insert((id, world.rib.attributes(id, &guard).generation)));
        drop(guard);
        writer.release(id);
        for _ in 0..8 {
            writer.flush();
        }
    }
    let ids: BTreeSet<_> = seen.iter().map(|(id, _)| *id).collect();
    assert!(ids.len() < seen.len(), "indices are never reused");
}

#[test]
fn a_held_guard_keeps_attributes_and_their_id() {
    let mut world = World::new();
    let guard = world.collector.register().pin();
    let id = world.writers[0].intern(&attributes(1)).unwrap();
    let held = world.rib.attributes(id, &guard);
    world.writers[0].release(id);
    for variant in 2..12 {
        world.writers[0].flush();
        assert_ne!(world.writers[0].intern(&attributes(variant)).unwrap(), id);
    }
    assert_eq!(held.bytes, attributes(1));
}

#[test]
#[should_panic(expected = "pinned for another routing table")]
fn a_guard_of_another_collector_is_refused() {
    let world = World::new();
    world
        .rib
        .best(Family::Ipv4Unicast, PrefixId(0), &Rib::pin());
}

#[test]
#[should_panic(expected = "has its writer")]
fn a_shard_has_one_writer() {
    let world = World::new();
    world.rib.writer(ShardId(0));
}
