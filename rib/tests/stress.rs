//! Several writers and readers at once on one table: every read fits together, nothing is lost,
//! nothing is freed too early. Made to run under sanitizers too (`rib/sanitize`): scoped threads, a
//! collector of their own, and no synchronisation but the table's.
#![cfg(not(loom))]

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use codec::{Family, Ipv4Prefix, Prefix};
use rib::{
    Collector, IdSet, Path, PathFlags, PrefixId, Rib, RibOptions, RibWriter, Selection, ShardId,
    SourceId, SourceInfo, SourceKind,
};

const FAMILY: Family = Family::Ipv4Unicast;
const WRITERS: u8 = 3;
const READERS: usize = 2;
const PREFIXES: u32 = 300;

/// Steps of a writer; fewer where the run is slowed down by a sanitizer.
fn steps() -> u32 {
    match std::env::var("RINGBGP_STRESS_STEPS") {
        Ok(steps) => steps.parse().expect("a number of steps"),
        Err(_) => 30_000,
    }
}

/// Small, fast, and different for each thread.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as u32 % limit
    }
}

/// Nested and neighboring prefixes, so that writers meet in the trie's nodes.
fn prefix(n: u32) -> Ipv4Prefix {
    let length = [8, 13, 16, 20, 22, 24, 28, 32][n as usize % 8];
    Ipv4Prefix::masked(
        Ipv4Addr::from(0x0a00_0000 | (n / 8).wrapping_mul(0x0001_2355)),
        length,
    )
}

/// Attributes whose bytes tell which shard wrote them, so that a reader can tell if it was handed
/// something else's.
fn attributes(shard: u8, med: u32) -> Vec<u8> {
    let mut bytes = vec![0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0, shard + 1];
    bytes.extend([0x80, 4, 4]);
    bytes.extend(med.to_be_bytes());
    bytes
}

fn table() -> Arc<Rib> {
    let options = RibOptions {
        shards: WRITERS,
        selection: Selection::default(),
    };
    Rib::with_collector(options, Collector::new())
}

fn source(writer: &mut RibWriter, n: u8) -> SourceId {
    writer.add_source(SourceInfo {
        kind: SourceKind::External,
        asn: 65000 + u32::from(n),
        router_id: Ipv4Addr::new(1, 1, writer.shard().0, n),
        address: Some(Ipv4Addr::new(10, 0, writer.shard().0, n).into()),
    })
}

/// Announces, replaces and withdraws at random; takes its marks, publishes and flushes as a shard
/// does each turn. At the end all of its paths are gone.
fn write(writer: &mut RibWriter, mirror: &mut Mirror) {
    let shard = writer.shard().0;
    let sources = [source(writer, 1), source(writer, 2)];
    let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ u64::from(shard) << 20);
    let mut held = [IdSet::new(), IdSet::new()];
    for step in 0..steps() {
        let which = random.below(2) as usize;
        let prefix = prefix(random.below(PREFIXES));
        if random.below(3) > 0 {
            let id = writer.intern(&attributes(shard, random.below(40))).unwrap();
            let path = Path {
                attributes: id,
                source: sources[which],
                path_id: 0,
                flags: if random.below(8) == 0 {
                    PathFlags::REJECTED
                } else {
                    PathFlags::NONE
                },
            };
            let upserted = writer.upsert(prefix, path).unwrap();
            writer.release(id);
            assert_eq!(upserted.new_path, held[which].insert(upserted.id));
        } else if let Some(withdrawn) = writer.withdraw(prefix, sources[which], 0) {
            assert!(withdrawn.last_of_source && held[which].remove(withdrawn.id));
        }
        if step % 61 == 0 {
            writer.publish();
            mirror.take(writer, 40);
            writer.flush();
        }
    }
    for (source, held) in sources.into_iter().zip(&mut held) {
        while let Some(id) = held.pop_first() {
            assert!(writer.withdraw_id(FAMILY, id, source).is_some());
        }
    }
    writer.publish();
}

/// What a shard believes every best path to be, by its marks alone.
struct Mirror(Vec<Option<Path>>);

impl Mirror {
    fn take(&mut self, writer: &mut RibWriter, max: usize) {
        let mut taken = Vec::new();
        writer.take_dirty(max, &mut taken);
        let guard = writer.rib().guard();
        for (family, id) in taken {
            if self.0.len() <= id.index() {
                self.0.resize(id.index() + 1, None);
            }
            self.0[id.index()] = writer.rib().best(family, id, &guard);
        }
    }
}

/// Reads what it can reach and checks that it fits together.
fn read(rib: &Rib, random: &mut Random) {
    let guard = rib.guard();
    let prefix = prefix(random.below(PREFIXES)).erase();
    let Some(id) = rib.lookup(prefix, &guard) else {
        return;
    };
    assert_eq!(rib.prefix(FAMILY, id), prefix);
    check_paths(rib, id, &guard);
    if let Some(id) = rib.longest_match(prefix, &guard) {
        assert!(id.0 < rib.id_limit(FAMILY));
    }
    if random.below(50) == 0 {
        let mut last = None;
        rib.walk(FAMILY, None, None, usize::MAX, &guard, |id, prefix| {
            assert!(last < Some(prefix));
            last = Some(prefix);
            check_paths(rib, id, &guard);
        });
    }
}

fn check_paths(rib: &Rib, id: PrefixId, guard: &rib::Guard) {
    let paths = rib.paths(FAMILY, id, guard);
    let usable = paths
        .iter()
        .any(|path| !path.flags.contains(PathFlags::REJECTED));
    assert_eq!(paths.best().is_some(), usable);
    assert!(paths.best().is_none_or(|best| paths.contains(&best)));
    for path in paths.iter() {
        let owner = path.attributes.shard().0;
        let read = rib.attributes(path.attributes, guard);
        assert_eq!(read.bytes, attributes(owner, read.summary.med));
        let info = rib.source(path.source, guard);
        assert_eq!(info.router_id.octets()[2], owner);
    }
}

#[test]
fn writers_and_readers_do_not_disturb_each_other() {
    let rib = table();
    let done = AtomicBool::new(false);
    let reads = AtomicU64::new(0);
    let mut writers: Vec<_> = (0..WRITERS)
        .map(|shard| rib.writer(ShardId(shard)))
        .collect();
    let mut mirrors: Vec<_> = (0..WRITERS).map(|_| Mirror(Vec::new())).collect();
    for writer in &mut writers {
        writer.subscribe(FAMILY, true);
    }
    thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS)
            .map(|n| {
                let (rib, done, reads) = (&rib, &done, &reads);
                scope.spawn(move || {
                    let mut random = Random(77 + n as u64);
                    while !done.load(Ordering::Acquire) {
                        read(rib, &mut random);
                        reads.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        let working: Vec<_> = writers
            .iter_mut()
            .zip(&mut mirrors)
            .map(|(writer, mirror)| scope.spawn(|| write(writer, mirror)))
            .collect();
        for thread in working {
            thread.join().unwrap();
        }
        done.store(true, Ordering::Release);
        for thread in readers {
            thread.join().unwrap();
        }
    });
    assert!(reads.into_inner() > 0);
    for (writer, mirror) in writers.iter_mut().zip(&mut mirrors) {
        writer.audit();
        while writer.has_dirty() {
            mirror.take(writer, 1000);
        }
        assert!(
            mirror.0.iter().all(Option::is_none),
            "a last withdrawal was not marked"
        );
        assert_eq!(writer.attribute_sets(), 0);
        assert_eq!(writer.publish(), 0);
    }
    // A flush advances the epoch at most once and frees a bounded number of objects.
    for _ in 0..1000 {
        writers.iter_mut().for_each(RibWriter::flush);
    }
    let memory = rib.memory(&rib.guard());
    assert_eq!(
        (memory.path_lists, memory.attributes),
        (0, 0),
        "something was never freed"
    );
}

/// Writers race for the same new prefixes: each gets one id, in one place. What a loser claimed in
/// vain stays its own, whatever is reclaimed.
#[test]
fn a_race_for_a_prefix_has_one_winner() {
    for round in 0..(steps() / 1500).max(4) {
        let rib = table();
        rib.reclaim_from(1);
        let mut writers: Vec<_> = (0..WRITERS)
            .map(|shard| rib.writer(ShardId(shard)))
            .collect();
        let mut sources: Vec<SourceId> = Vec::new();
        let mut ids: Vec<Vec<PrefixId>> = Vec::new();
        thread::scope(|scope| {
            let race = |writer| scope.spawn(move || announce_all(writer, round));
            let threads: Vec<_> = writers.iter_mut().map(race).collect();
            for thread in threads {
                let (source, of_writer) = thread.join().unwrap();
                sources.push(source);
                ids.push(of_writer);
            }
        });
        assert!(ids.iter().all(|other| *other == ids[0]));
        let guard = rib.guard();
        for id in &ids[0] {
            assert_eq!(rib.paths(FAMILY, *id, &guard).len(), usize::from(WRITERS));
        }
        rib.audit();
        drop(guard);
        for (writer, source) in writers.iter_mut().zip(sources) {
            writer.withdraw_ids(FAMILY, &ids[0], source, |_| ());
        }
        let reclaim = |writer: &mut RibWriter| writer.reclaim(|_, _| false).1;
        while writers.iter_mut().any(reclaim) {}
        assert_eq!(rib.id_counts(FAMILY).idle, 0);
        RibWriter::audit_ids(&writers);
    }
}

/// The ids that the prefixes come to have, and the source of the paths.
fn announce_all(writer: &mut RibWriter, round: u32) -> (SourceId, Vec<PrefixId>) {
    let source = source(writer, 1);
    let attributes = writer.intern(&attributes(writer.shard().0, 1)).unwrap();
    let path = Path {
        attributes,
        source,
        path_id: 0,
        flags: PathFlags::NONE,
    };
    let mut upsert = |n| writer.upsert(prefix(n + round), path).unwrap().id;
    (source, (0..PREFIXES).map(&mut upsert).collect())
}

/// One writer of many that announce and withdraw so that prefixes lose all their paths, and their
/// ids go to others. The attributes of a path tell which prefix it is for.
fn churn(writer: &mut RibWriter, told: &mut HashMap<PrefixId, Ipv4Prefix>) {
    let shard = writer.shard().0;
    let source = source(writer, 1);
    let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ u64::from(shard) << 20);
    let mut held = IdSet::new();
    for step in 0..steps() {
        let n = random.below(PREFIXES);
        if random.below(3) == 0 {
            let attributes = writer.intern(&attributes(shard, n)).unwrap();
            let path = Path {
                attributes,
                source,
                path_id: 0,
                flags: PathFlags::NONE,
            };
            let upserted = writer.upsert(prefix(n), path).unwrap();
            writer.release(attributes);
            assert_eq!(upserted.new_path, held.insert(upserted.id));
        } else if let Some(withdrawn) = writer.withdraw(prefix(n), source, 0) {
            assert!(withdrawn.last_of_source && held.remove(withdrawn.id));
        }
        if step % 17 == 0 {
            churn_turn(writer, told);
        }
    }
    while let Some(id) = held.pop_first() {
        assert!(writer.withdraw_id(FAMILY, id, source).is_some());
    }
    writer.publish();
}

/// What a shard does each turn: it looks at what changed, which it holds on to by id until it finds
/// the path gone, and says so.
fn churn_turn(writer: &mut RibWriter, told: &mut HashMap<PrefixId, Ipv4Prefix>) -> bool {
    writer.publish();
    let mut taken = Vec::new();
    writer.take_dirty(20, &mut taken);
    let guard = writer.rib().guard();
    for (family, id) in taken {
        match writer.rib().best(family, id, &guard) {
            Some(best) => {
                let read = writer.rib().attributes(best.attributes, &guard);
                let prefix = prefix(read.summary.med);
                assert_eq!(writer.rib().prefix(family, id), prefix.erase());
                let before = told.insert(id, prefix);
                assert!(
                    before.is_none_or(|before| before == prefix),
                    "{id:?} was held"
                );
            }
            None => {
                told.remove(&id);
            }
        }
    }
    drop(guard);
    let (_, more) = writer.reclaim(|_, id| told.contains_key(&id));
    writer.flush();
    more || writer.has_dirty()
}

#[test]
fn ids_go_to_other_prefixes_while_all_look() {
    let rib = table();
    rib.reclaim_from(16);
    let done = AtomicBool::new(false);
    let mut writers: Vec<_> = (0..WRITERS)
        .map(|shard| rib.writer(ShardId(shard)))
        .collect();
    let mut told: Vec<_> = (0..WRITERS).map(|_| HashMap::new()).collect();
    for writer in &mut writers {
        writer.subscribe(FAMILY, true);
    }
    thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS)
            .map(|n| {
                let (rib, done) = (&rib, &done);
                scope.spawn(move || {
                    let mut random = Random(77 + n as u64);
                    while !done.load(Ordering::Acquire) {
                        read_by_prefix(rib, random.below(PREFIXES));
                    }
                })
            })
            .collect();
        let working: Vec<_> = writers
            .iter_mut()
            .zip(&mut told)
            .map(|(writer, told)| scope.spawn(|| churn(writer, told)))
            .collect();
        for thread in working {
            thread.join().unwrap();
        }
        done.store(true, Ordering::Release);
        for thread in readers {
            thread.join().unwrap();
        }
    });
    let turn = |(writer, told): (&mut RibWriter, &mut _)| churn_turn(writer, told);
    for _ in 0..1000 {
        while writers.iter_mut().zip(&mut told).any(turn) {}
    }
    assert!(told.iter().all(HashMap::is_empty));
    writers.iter_mut().for_each(RibWriter::audit);
    RibWriter::audit_ids(&writers);
    let counts = rib.id_counts(FAMILY);
    assert!(
        counts.free > 0 && counts.idle <= counts.limit / 4,
        "{counts:?}"
    );
    assert!(
        counts.limit < 4 * PREFIXES,
        "ids are not reused: {counts:?}"
    );
}

/// What is found under a prefix is that prefix's.
fn read_by_prefix(rib: &Rib, n: u32) {
    let guard = rib.guard();
    let prefix = prefix(n).erase();
    let Some(id) = rib.lookup(prefix, &guard) else {
        return;
    };
    assert_eq!(rib.prefix(FAMILY, id), prefix);
    for path in rib.paths(FAMILY, id, &guard).iter() {
        let read = rib.attributes(path.attributes, &guard);
        // Some of the numbers stand for the same prefix.
        assert_eq!(self::prefix(read.summary.med).erase(), prefix);
    }
}

/// A source that changes its identity between withdrawing and announcing again, while another shard
/// chooses: the best path that stands at last is the one of the newest identities.
#[test]
fn the_choice_follows_a_source_that_changes() {
    let rib = table();
    let mut changing = rib.writer(ShardId(0));
    let mut steady = rib.writer(ShardId(1));
    let prefix = prefix(5);
    thread::scope(|scope| {
        scope.spawn(|| {
            let changes = source(&mut changing, 1);
            let attributes = changing.intern(&attributes(0, 0)).unwrap();
            let path = Path {
                attributes,
                source: changes,
                path_id: 0,
                flags: PathFlags::NONE,
            };
            for n in 0..steps() {
                changing.withdraw(prefix, changes, 0);
                changing.set_source(
                    changes,
                    SourceInfo {
                        kind: SourceKind::External,
                        asn: 65000,
                        router_id: Ipv4Addr::from(if n % 2 == 0 { 1 } else { u32::MAX }),
                        address: None,
                    },
                );
                changing.upsert(prefix, path).unwrap();
                changing.flush();
            }
        });
        scope.spawn(|| {
            let source = source(&mut steady, 1);
            let attributes = steady.intern(&attributes(0, 0)).unwrap();
            let path = Path {
                attributes,
                source,
                path_id: 0,
                flags: PathFlags::NONE,
            };
            for _ in 0..steps() {
                steady.upsert(prefix, path).unwrap();
                steady.withdraw(prefix, source, 0);
                steady.flush();
            }
            steady.upsert(prefix, path).unwrap();
        });
    });
    // The audit chooses anew and compares.
    changing.audit();
    steady.audit();
}
