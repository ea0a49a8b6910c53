//! The lock-free protocols under a model checker: every interleaving, up to a number of
//! preemptions, of the code that runs in production. Run by `rib/sanitize loom`.
//!
//! Reclamation is not modelled (the collector's own atomics are the real ones); AddressSanitizer
//! looks after that. Each model is as small as shows the race that it is named after.

use std::net::Ipv4Addr;
use std::ops::ControlFlow;
use std::sync::Arc;
// Not the model checker's: it counts over all executions.
use std::sync::atomic::{AtomicU32, Ordering};

use codec::{Family, Ipv4Prefix, Prefix};
use crossbeam_epoch::Collector;
use loom::thread;

use crate::best::Selection;
use crate::epoch::{self, Pinned};
use crate::ids::{AttributeId, PrefixId, ShardId, SourceId};
use crate::inbox::Inbox;
use crate::path::{Path, PathFlags};
use crate::rib::{Rib, RibOptions};
use crate::sources::{SourceInfo, SourceKind};
use crate::table::{Spare, Table};
use crate::trie::Key;
use crate::writer::RibWriter;

const FAMILY: Family = Family::Ipv4Unicast;

/// Explores `model` twice, with either side of its races going first by default: the checker
/// remembers one access to each atomic, so what it goes back to depends on which it saw first.
fn explore(model: impl Fn(bool) + Send + Sync + Copy + 'static) {
    for swapped in [false, true] {
        loom::model(move || model(swapped));
    }
}

/// What two threads come to that race each other.
fn race<A: 'static, B: 'static>(
    swapped: bool,
    first: impl FnOnce() -> A + 'static,
    second: impl FnOnce() -> B + 'static,
) -> (A, B) {
    if swapped {
        let second = thread::spawn(second);
        let first = thread::spawn(first);
        let second = second.join().unwrap();
        (first.join().unwrap(), second)
    } else {
        let first = thread::spawn(first);
        let second = thread::spawn(second);
        let first = first.join().unwrap();
        (first, second.join().unwrap())
    }
}

fn key(address: [u8; 4], length: u8) -> Key {
    Ipv4Prefix::masked(Ipv4Addr::from(address), length).into()
}

/// Both claim ids for the same keys, in the same nodes that are not there yet.
fn race_for_keys(swapped: bool, first: [Key; 2], second: [Key; 2]) {
    let collector = Collector::new();
    let table = Arc::new(Table::new(FAMILY, 2));
    let claim = {
        let (table, collector) = (table.clone(), collector.clone());
        move |keys: [Key; 2]| {
            let guard = epoch::pin(&collector);
            let pinned = Pinned::new(&guard, &collector);
            let mut spare = Spare::default();
            keys.map(|key| {
                let id = table
                    .claim(key, table.find_all(&[key], pinned)[0], pinned, &mut spare)
                    .unwrap();
                // What this thread entered stays where it is, whatever the other does.
                assert_eq!(table.lookup(key, pinned), Some(id));
                (key, id)
            })
        }
    };
    let other = claim.clone();
    let (ours, theirs) = race(swapped, move || claim(first), move || other(second));
    let guard = epoch::pin(&collector);
    let pinned = Pinned::new(&guard, &collector);
    for (key, id) in ours.into_iter().chain(theirs) {
        assert_eq!(table.lookup(key, pinned), Some(id), "{key:?} was lost");
        assert_eq!(crate::table::key_of(table.prefix(id)), key);
        assert!(table.slot(id).is_some());
    }
    for ((our_key, our_id), (their_key, their_id)) in ours.into_iter().zip(theirs) {
        assert_eq!(our_key == their_key, our_id == their_id);
    }
}

#[test]
fn one_prefix_gets_one_id() {
    explore(|swapped| {
        let key = key([10, 0, 0, 0], 3);
        race_for_keys(swapped, [key, key], [key, key]);
    });
}

#[test]
fn prefixes_below_a_node_that_is_made_meanwhile_are_kept() {
    explore(|swapped| {
        let first = [key([10, 0, 0, 0], 6), key([12, 0, 0, 0], 6)];
        let second = [key([8, 0, 0, 0], 5), key([14, 0, 0, 0], 7)];
        race_for_keys(swapped, first, second);
    });
}

/// One place, empty at first, and two that go the same way for two nodes more.
#[test]
fn two_leaves_for_one_place_are_both_kept() {
    explore(|swapped| {
        let (first, second) = (key([10, 0, 0, 0], 11), key([10, 16, 0, 0], 12));
        race_for_keys(swapped, [first, first], [second, second]);
    });
}

/// A leaf, with its id, in a table for two writers.
fn leaf(collector: &Collector) -> (Arc<Table>, Key, u32) {
    let table = Arc::new(Table::new(FAMILY, 2));
    let guard = epoch::pin(collector);
    let leaf = key([10, 0, 0, 0], 11);
    let id = enter(&table, leaf, Pinned::new(&guard, collector));
    (table, leaf, id)
}

fn enter(table: &Table, key: Key, pinned: Pinned<'_>) -> u32 {
    let from = table.find_all(&[key], pinned)[0];
    let entered = table.claim(key, from, pinned, &mut Spare::default());
    entered.unwrap()
}

/// What a walk of the whole table finds, checked for order.
fn walked(table: &Table, pinned: Pinned<'_>) -> Vec<(Key, u32)> {
    let mut found = Vec::new();
    let everything = Key { bits: 0, length: 0 };
    table.walk(everything, None, pinned, &mut |id, key| {
        found.push((key, id));
        ControlFlow::Continue(())
    });
    assert!(found.is_sorted_by(|a, b| a < b), "{found:?}");
    found
}

#[test]
fn a_leaf_that_is_pushed_down_is_found_all_the_time() {
    explore(|swapped| {
        let collector = Collector::new();
        let (table, leaf, id) = leaf(&collector);
        let with = |work: fn(&Table, Key, Pinned<'_>) -> u32, key| {
            let (table, collector) = (table.clone(), collector.clone());
            move || {
                let guard = epoch::pin(&collector);
                work(&table, key, Pinned::new(&guard, &collector))
            }
        };
        let look = |table: &Table, leaf, pinned: Pinned<'_>| {
            let found = walked(table, pinned);
            let walked = found.into_iter().find(|(key, _)| *key == leaf);
            let inside = key([10, 0, 0, 1], 32);
            let longest = table.longest_match(inside, pinned, |_| true);
            assert_eq!(walked.map(|(_, id)| id), longest);
            table.lookup(leaf, pinned).unwrap()
        };
        let reader = thread::spawn(with(look, leaf));
        let (second, third) = (key([10, 16, 0, 0], 12), key([12, 0, 0, 0], 8));
        let (ours, theirs) = race(swapped, with(enter, second), with(enter, third));
        assert_eq!(reader.join().unwrap(), id);
        let guard = epoch::pin(&collector);
        let expected = [(leaf, id), (second, ours), (third, theirs)];
        assert_eq!(walked(&table, Pinned::new(&guard, &collector)), expected);
    });
}

#[test]
fn a_leaf_that_is_pushed_down_is_taken_out_all_the_same() {
    explore(|swapped| {
        let collector = Collector::new();
        let (table, leaf, id) = leaf(&collector);
        let second = key([10, 16, 0, 0], 12);
        let push = {
            let (table, collector) = (table.clone(), collector.clone());
            move || {
                let guard = epoch::pin(&collector);
                enter(&table, second, Pinned::new(&guard, &collector))
            }
        };
        let remove = {
            let (table, collector) = (table.clone(), collector.clone());
            move || {
                let guard = epoch::pin(&collector);
                table.unlink(id, Pinned::new(&guard, &collector));
            }
        };
        let look = {
            let (table, collector) = (table.clone(), collector.clone());
            move || {
                let guard = epoch::pin(&collector);
                let pinned = Pinned::new(&guard, &collector);
                let first = table.lookup(leaf, pinned);
                let again = table.lookup(leaf, pinned);
                assert!(first.is_none_or(|first| first == id), "{first:?}");
                assert!(again.is_none() || again == first, "it came back");
            }
        };
        let reader = thread::spawn(look);
        let (ours, ()) = race(swapped, push, remove);
        reader.join().unwrap();
        let guard = epoch::pin(&collector);
        let left = walked(&table, Pinned::new(&guard, &collector));
        assert_eq!(left, [(second, ours)]);
    });
}

fn attributes() -> [u8; 4] {
    [0x40, 1, 1, 0]
}

fn table(shards: u8) -> Arc<Rib> {
    let options = RibOptions {
        shards,
        selection: Selection::default(),
    };
    Rib::with_collector(options, Collector::new())
}

fn prefix() -> Ipv4Prefix {
    Ipv4Prefix::masked(Ipv4Addr::UNSPECIFIED, 0)
}

fn info(router_id: u32) -> SourceInfo {
    SourceInfo {
        kind: SourceKind::External,
        asn: 65000,
        router_id: router_id.into(),
        address: None,
    }
}

/// A writer with a source and attributes of its own, and the path that says both.
fn speaker(rib: &Arc<Rib>, shard: u8, router_id: u32) -> (RibWriter, Path) {
    let mut writer = rib.writer(ShardId(shard));
    let source = writer.add_source(info(router_id));
    let attributes = writer.intern(&attributes()).unwrap();
    let path = Path {
        attributes,
        source,
        path_id: 0,
        flags: PathFlags::NONE,
    };
    (writer, path)
}

#[test]
fn no_path_is_lost_when_two_writers_meet_in_a_slot() {
    explore(|swapped| {
        let rib = table(2);
        let (mut ours, path) = speaker(&rib, 0, 2);
        let (mut theirs, their_path) = speaker(&rib, 1, 1);
        ours.upsert(prefix(), path).unwrap();
        let (gone, came) = race(
            swapped,
            move || ours.withdraw(prefix(), path.source, 0).unwrap(),
            move || theirs.upsert(prefix(), their_path).unwrap(),
        );
        let guard = rib.guard();
        let paths = rib.paths(FAMILY, gone.id, &guard);
        assert_eq!(&paths[..], [their_path]);
        assert_eq!(paths.best(), Some(their_path));
        // The lower router id wins whether or not the other path is there: its coming is always a
        // change, the other's going is one only if it went first.
        assert!(came.best_changed);
        rib.audit();
    });
}

#[test]
fn a_reader_sees_paths_and_best_that_fit_together() {
    explore(|swapped| {
        let rib = table(2);
        let (mut ours, path) = speaker(&rib, 0, 2);
        let (mut theirs, their_path) = speaker(&rib, 1, 1);
        let id = ours.upsert(prefix(), path).unwrap().id;
        let write = move || {
            theirs.upsert(prefix(), their_path).unwrap();
            theirs.withdraw(prefix(), their_path.source, 0).unwrap();
        };
        let read = move || {
            let guard = rib.guard();
            let paths = rib.paths(FAMILY, id, &guard);
            let expected = if paths.len() == 2 { their_path } else { path };
            assert_eq!(paths.best(), Some(expected));
            for path in paths.iter() {
                assert_eq!(rib.attributes(path.attributes, &guard).bytes, attributes());
                rib.source(path.source, &guard);
            }
        };
        race(swapped, write, read);
    });
}

/// A path that goes and comes back with its source changed, while the other writer chooses.
#[test]
fn the_choice_follows_a_source_that_changes() {
    explore(|swapped| {
        let rib = table(2);
        let (mut ours, path) = speaker(&rib, 0, 2);
        let (mut theirs, their_path) = speaker(&rib, 1, 1);
        theirs.upsert(prefix(), their_path).unwrap();
        let change = move || {
            theirs.withdraw(prefix(), their_path.source, 0);
            theirs.set_source(their_path.source, info(3));
            theirs.upsert(prefix(), their_path).unwrap();
        };
        race(
            swapped,
            move || ours.upsert(prefix(), path).unwrap(),
            change,
        );
        let guard = rib.guard();
        assert_eq!(rib.best(FAMILY, PrefixId(0), &guard), Some(path));
        rib.audit();
    });
}

fn read(rib: &Rib) -> Option<(SourceId, AttributeId)> {
    let guard = rib.guard();
    let best = rib.best(FAMILY, PrefixId(0), &guard)?;
    Some((best.source, best.attributes))
}

/// Looks at what is marked; the last look is what the shard believes.
fn look(reader: &mut RibWriter, seen: &mut Option<(SourceId, AttributeId)>) {
    let mut taken = Vec::new();
    reader.take_dirty(usize::MAX, &mut taken);
    if !taken.is_empty() {
        *seen = read(reader.rib());
    }
}

#[test]
fn no_change_is_missed_by_a_reader_that_looks_meanwhile() {
    explore(|swapped| {
        let rib = table(2);
        let (mut writer, path) = speaker(&rib, 0, 1);
        let mut reader = rib.writer(ShardId(1));
        reader.subscribe(FAMILY, true);
        let write = move || {
            writer.upsert(prefix(), path).unwrap();
            let woken = writer.publish();
            writer.withdraw(prefix(), path.source, 0).unwrap();
            woken | writer.publish()
        };
        let look_once = move || {
            let mut seen = None;
            look(&mut reader, &mut seen);
            (reader, seen)
        };
        let (woken, (mut reader, early)) = race(swapped, write, look_once);
        assert_eq!(woken, ShardId(1).mask(), "nobody woke the reader");
        let mut seen = early;
        look(&mut reader, &mut seen);
        assert_eq!(seen, None, "{early:?} stands though it was withdrawn");
        assert!(!reader.has_dirty());
        reader.audit();
    });
}

#[test]
fn no_change_is_missed_by_a_shard_that_subscribes_meanwhile() {
    explore(|swapped| {
        let rib = table(2);
        let (mut writer, path) = speaker(&rib, 0, 1);
        let mut reader = rib.writer(ShardId(1));
        let write = move || {
            writer.upsert(prefix(), path).unwrap();
            writer.publish();
        };
        let subscribe = move || {
            reader.subscribe(FAMILY, true);
            let seen = read(reader.rib());
            (reader, seen)
        };
        let ((), (mut reader, mut seen)) = race(swapped, write, subscribe);
        look(&mut reader, &mut seen);
        assert_eq!(seen, Some((path.source, path.attributes)));
    });
}

/// A prefix without a path, and a cycle that condemned its id and that the second of the two
/// writers has answered.
fn condemned() -> (Arc<Rib>, [(RibWriter, Path); 2]) {
    condemned_of(prefix())
}

fn condemned_of(prefix: Ipv4Prefix) -> (Arc<Rib>, [(RibWriter, Path); 2]) {
    let rib = table(2);
    rib.reclaim_from(1);
    let (mut ours, path) = speaker(&rib, 0, 2);
    let (mut theirs, their_path) = speaker(&rib, 1, 1);
    ours.upsert(prefix, path).unwrap();
    ours.withdraw(prefix, path.source, 0).unwrap();
    // It begins, it condemns and asks, it is answered.
    assert_eq!(reclaim(&mut ours), (0, true));
    assert_eq!(reclaim(&mut ours), (ShardId(1).mask(), true));
    assert_eq!(reclaim(&mut theirs), (0, false));
    (rib, [(ours, path), (theirs, their_path)])
}

/// One call of a writer whose shard holds nothing.
fn reclaim(writer: &mut RibWriter) -> (u64, bool) {
    writer.reclaim(|_, _| false)
}

/// The last answer, then the burial.
fn bury(writer: &mut RibWriter) {
    assert_eq!(reclaim(writer), (0, true));
    assert_eq!(reclaim(writer), (0, false));
}

/// The prefix has just these paths, whatever id it has come to have.
fn check_paths(rib: &Rib, writers: &[RibWriter], expected: &[Path]) {
    let guard = rib.guard();
    let id = rib.lookup(prefix().erase(), &guard).unwrap();
    assert_eq!(&rib.paths(FAMILY, id, &guard)[..], expected);
    rib.audit();
    RibWriter::audit_ids(writers);
}

#[test]
fn a_prefix_that_comes_back_while_it_is_buried_is_kept() {
    explore(|swapped| {
        let (rib, [(mut ours, _), (mut theirs, their_path)]) = condemned();
        let (ours, theirs) = race(
            swapped,
            move || {
                bury(&mut ours);
                ours
            },
            move || {
                theirs.upsert(prefix(), their_path).unwrap();
                theirs
            },
        );
        check_paths(&rib, &[ours, theirs], &[their_path]);
    });
}

#[test]
fn who_buried_a_prefix_and_another_that_needs_it_give_it_one_id() {
    explore(|swapped| {
        let (rib, [(mut ours, path), (mut theirs, their_path)]) = condemned();
        let (ours, theirs) = race(
            swapped,
            move || {
                bury(&mut ours);
                ours.upsert(prefix(), path).unwrap();
                ours
            },
            move || {
                theirs.upsert(prefix(), their_path).unwrap();
                theirs
            },
        );
        check_paths(&rib, &[ours, theirs], &[path, their_path]);
    });
}

/// It has a path before it is condemned, or between that and its burial, and loses it again: then it
/// is not given up, as whoever looked at it in between may hold it.
#[test]
fn an_id_that_had_a_path_meanwhile_is_not_buried() {
    explore(|swapped| {
        let (rib, [(mut ours, _), (mut theirs, their_path)]) = condemned();
        let ((), (theirs, id)) = race(
            swapped,
            move || bury(&mut ours),
            move || {
                let id = theirs.upsert(prefix(), their_path).unwrap().id;
                theirs.withdraw(prefix(), their_path.source, 0).unwrap();
                (theirs, id)
            },
        );
        let guard = rib.guard();
        assert_eq!(rib.lookup(prefix().erase(), &guard), Some(id));
        assert_eq!(rib.id_counts(FAMILY).idle, 1);
        rib.audit();
        drop(theirs);
    });
}

#[test]
fn an_id_that_one_shard_holds_is_not_buried() {
    explore(|swapped| {
        let rib = table(2);
        rib.reclaim_from(1);
        let (mut ours, path) = speaker(&rib, 0, 2);
        let (theirs, _) = speaker(&rib, 1, 1);
        let held = ours.upsert(prefix(), path).unwrap().id;
        ours.withdraw(prefix(), path.source, 0).unwrap();
        reclaim(&mut ours);
        reclaim(&mut ours);
        let finish = |mut writer: RibWriter, holds: bool| {
            move || {
                for _ in 0..2 {
                    writer.reclaim(|_, _| holds);
                }
                writer
            }
        };
        let (ours, theirs) = race(swapped, finish(ours, false), finish(theirs, true));
        let guard = rib.guard();
        assert_eq!(rib.lookup(prefix().erase(), &guard), Some(held));
        rib.audit();
        RibWriter::audit_ids(&[ours, theirs]);
    });
}

#[test]
fn an_id_that_was_claimed_in_vain_stays_its_writers() {
    explore(|swapped| {
        let rib = table(2);
        rib.reclaim_from(1);
        let speakers = [speaker(&rib, 0, 2), speaker(&rib, 1, 1)];
        let [first, second] = speakers.map(|(mut writer, path)| {
            move || {
                writer.upsert(prefix(), path).unwrap();
                writer.withdraw(prefix(), path.source, 0).unwrap();
                writer
            }
        });
        let (ours, theirs) = race(swapped, first, second);
        let mut writers = [ours, theirs];
        while writers.iter_mut().any(|writer| reclaim(writer).1) {}
        assert_eq!(rib.id_counts(FAMILY).idle, 0);
        rib.audit();
        RibWriter::audit_ids(&writers);
    });
}

/// The id is another prefix's now: nobody finds it under the one that had it.
#[test]
fn an_id_that_is_given_out_anew_is_the_new_prefixs() {
    explore(|swapped| {
        let (rib, [(mut ours, path), (mut theirs, their_path)]) = condemned();
        bury(&mut ours);
        while rib.id_counts(FAMILY).free == 0 {
            ours.flush();
            theirs.flush();
        }
        let other = Ipv4Prefix::masked(Ipv4Addr::UNSPECIFIED, 1);
        let look = {
            let rib = rib.clone();
            move || {
                let guard = rib.guard();
                for prefix in [other.erase(), prefix().erase()] {
                    if let Some(id) = rib.lookup(prefix, &guard) {
                        assert_eq!(rib.prefix(FAMILY, id), prefix);
                    }
                }
            }
        };
        let reuse = move || {
            assert_eq!(ours.upsert(other, path).unwrap().id, PrefixId(0));
            ours
        };
        let (ours, ()) = race(swapped, reuse, look);
        theirs.upsert(prefix(), their_path).unwrap();
        check_paths(&rib, &[ours, theirs], &[their_path]);
    });
}

/// A reader compares the key of an id that stands in a leaf, while the id is buried and, if nobody
/// can have found it any more, given to another prefix in the same place.
///
/// Whoever is pinned after a grace period began sees what was done before it. That is the real
/// epoch's, which is not modelled: `begun` stands for it. Nothing is switched between it and the pin,
/// and the epoch goes on by the flushes only.
#[test]
fn an_id_in_a_leaf_is_not_given_out_anew_under_a_reader() {
    static REUSED: AtomicU32 = AtomicU32::new(0);
    static FOUND: AtomicU32 = AtomicU32::new(0);
    explore(|swapped| {
        let leaf = Ipv4Prefix::masked(Ipv4Addr::new(10, 0, 0, 0), 8);
        let other = Ipv4Prefix::masked(Ipv4Addr::new(12, 0, 0, 0), 8);
        let (rib, [(mut ours, path), (theirs, _)]) = condemned_of(leaf);
        let begun = Arc::new(loom::sync::atomic::AtomicU32::new(0));
        let look = {
            let (rib, begun) = (rib.clone(), begun.clone());
            move || {
                begun.fetch_add(1, Ordering::Acquire);
                let guard = rib.guard();
                let found =
                    [leaf, other].map(|prefix| (prefix, rib.lookup(prefix.erase(), &guard)));
                for (prefix, id) in found {
                    let Some(id) = id else { continue };
                    assert_eq!(rib.prefix(FAMILY, id), prefix.erase());
                    FOUND.fetch_add(u32::from(prefix == leaf), Ordering::Relaxed);
                }
            }
        };
        let reuse = move || {
            bury(&mut ours);
            begun.fetch_add(1, Ordering::Release);
            for _ in 0..4 {
                ours.flush();
            }
            let id = ours.upsert(other, path).unwrap().id;
            REUSED.fetch_add(u32::from(id == PrefixId(0)), Ordering::Relaxed);
            ours
        };
        let (ours, ()) = race(swapped, reuse, look);
        let guard = rib.guard();
        assert_eq!(rib.lookup(leaf.erase(), &guard), None);
        rib.audit();
        RibWriter::audit_ids(&[ours, theirs]);
    });
    let seen = [&REUSED, &FOUND].map(|count| count.load(Ordering::Relaxed) > 0);
    assert_eq!(seen, [true, true], "the model shows nothing");
}

#[test]
fn an_inbox_hands_over_everything_once_in_order() {
    explore(|swapped| {
        let inbox = Arc::new(Inbox::new());
        let pusher = |base: u32| {
            let inbox = inbox.clone();
            move || [inbox.push(base), inbox.push(base + 1)]
        };
        let other = thread::spawn(pusher(10));
        let taker = {
            let inbox = inbox.clone();
            move || {
                let mut taken = Vec::new();
                inbox.take(|value| taken.push(value));
                taken
            }
        };
        let (woken, mut taken) = race(swapped, pusher(20), taker);
        let woken = [woken, other.join().unwrap()];
        let first = taken.len();
        inbox.take(|value| taken.push(value));
        for base in [10, 20] {
            let own = taken
                .iter()
                .copied()
                .filter(|value| value / 10 == base / 10);
            assert!(own.eq([base, base + 1]));
        }
        // One wake for what the early look found, if it found anything, and one for the rest.
        let wakes = woken.iter().flatten().filter(|woken| **woken).count();
        assert_eq!(
            wakes,
            usize::from(first > 0) + usize::from(first < taken.len())
        );
    });
}
