//! Checks of every invariant, by walking everything. For tests and simulations: slow, and exact
//! only while no other thread writes. Each panics with what is wrong.

use std::collections::HashMap;
use std::ops::ControlFlow;

use codec::Family;

use crate::best::Selection;
use crate::epoch::Pinned;
use crate::ids::AttributeId;
use crate::path::Path;
use crate::rib::Rib;
use crate::table::{Table, key_of};
use crate::trie::Key;
use crate::writer::RibWriter;

impl Rib {
    /// Checks tries, ids, slots, best paths, and that whatever paths refer to is there.
    pub fn audit(&self) {
        let guard = self.guard();
        let pinned = self.pinned(&guard);
        for family in Family::ALL {
            let table = self.table(family);
            let entered = audit_trie(table, family, pinned);
            let mut idle = 0;
            for id in 0..table.limit() {
                let Some(slot) = table.slot(id) else {
                    continue;
                };
                let snapshot = slot.load(pinned);
                let paths = snapshot.paths();
                idle += u32::from(snapshot.is_idle());
                assert!(
                    entered[id as usize] || snapshot.is_fresh() || snapshot.is_buried(),
                    "{family} id {id} is in use and is not in the trie"
                );
                assert!(
                    !entered[id as usize] || !snapshot.is_buried(),
                    "{family} id {id} was given up and is in the trie"
                );
                assert!(
                    !entered[id as usize] || !table.free.contains(id),
                    "{family} id {id} is in use and free"
                );
                self.audit_paths(&paths, pinned);
                // Selection may have changed, and the slot not have been looked at since.
                let chosen = [0, 1, 2, 3].map(|settings| {
                    let selection = Selection {
                        always_compare_med: settings & 1 != 0,
                        prefer_existing_external: settings & 2 != 0,
                    };
                    let best = self.select_by(selection, &paths, snapshot.best(), pinned);
                    best.map(|best| paths[best])
                });
                assert!(
                    chosen.contains(&snapshot.best()),
                    "best path of {family} id {id}: {:?} of {paths:?}",
                    snapshot.best()
                );
            }
            assert_eq!(
                self.cycle(family).idle(),
                idle,
                "{family} ids without paths"
            );
        }
    }

    fn audit_paths(&self, paths: &[Path], pinned: Pinned<'_>) {
        assert!(
            paths.is_sorted_by(|a, b| a.key() < b.key()),
            "order of {paths:?}"
        );
        for path in paths {
            let attributes = self.attributes.get(path.attributes, pinned);
            assert!(attributes.is_some(), "attributes of {path:?} are gone");
            let source = self.sources.get(path.source, pinned);
            assert!(source.is_some(), "the source of {path:?} was never set");
            assert!(
                path.source.0 < self.sources.limit(),
                "the source of {path:?}"
            );
        }
    }
}

/// Which ids are in the trie: each once, in order, under the prefix that is stored for it.
fn audit_trie(table: &Table, family: Family, pinned: Pinned<'_>) -> Vec<bool> {
    let mut entered = vec![false; table.limit() as usize];
    let mut last: Option<Key> = None;
    let everything = Key { bits: 0, length: 0 };
    table.walk(everything, None, pinned, &mut |id, key| {
        let entered = entered
            .get_mut(id as usize)
            .expect("ids are below the limit");
        assert!(!*entered, "{family} id {id} is in the trie twice");
        *entered = true;
        assert!(last.is_none_or(|last| last < key), "{key:?} after {last:?}");
        last = Some(key);
        assert_eq!(key_of(table.prefix(id)), key, "prefix of {family} id {id}");
        assert_eq!(table.lookup(key, pinned), Some(id), "lookup of {key:?}");
        ControlFlow::Continue(())
    });
    entered
}

impl RibWriter {
    /// Checks this writer's counts and marks against the table, and the table itself.
    pub fn audit(&mut self) {
        self.rib().audit();
        self.audit_counts();
        let queued = self.queued();
        for (family, mut words) in Family::ALL.into_iter().zip(queued) {
            let marks = &self.rib().marks[self.shard().index()];
            let dirty = marks.dirty_words(family, self.rib().id_limit(family));
            assert_eq!(dirty, words.len(), "{family} words with marks, and queued");
            words.sort_unstable();
            assert!(
                words.is_sorted_by(|a, b| a < b),
                "a word is queued twice: {words:?}"
            );
            let idle = words.iter().find(|word| !marks.is_dirty(family, **word));
            assert_eq!(idle, None, "a {family} word is queued and has no marks");
        }
    }

    /// Checks, of all writers of a table, that every id is in the trie, free, or one writer's.
    pub fn audit_ids(writers: &[RibWriter]) {
        let Some(rib) = writers.first().map(RibWriter::rib) else {
            return;
        };
        let guard = rib.guard();
        for family in Family::ALL {
            let table = rib.table(family);
            let mut places = vec![0; table.limit() as usize];
            let entered = audit_trie(table, family, rib.pinned(&guard));
            for (place, entered) in places.iter_mut().zip(entered) {
                *place += u32::from(entered);
            }
            let free = (0..table.limit()).filter(|id| table.free.contains(*id));
            let own = writers.iter().flat_map(|writer| {
                let spare = writer.spares()[family.index()].ids();
                spare.chain(writer.waiting_ids(family))
            });
            for id in free.chain(own) {
                places[id as usize] += 1;
            }
            let lost = places.iter().position(|places| *places != 1);
            assert_eq!(lost, None, "a {family} id is in no place, or in two");
        }
    }

    fn audit_counts(&self) {
        let rib = self.rib();
        let guard = rib.guard();
        let pinned = rib.pinned(&guard);
        let mut attributes = Vec::new();
        let mut sources = HashMap::new();
        for family in Family::ALL {
            let table = rib.table(family);
            let slots = (0..table.limit()).filter_map(|id| table.slot(id));
            for path in slots.flat_map(|slot| slot.load(pinned).paths()) {
                if path.attributes.shard() == self.shard() {
                    count(&mut attributes, path.attributes);
                    *sources.entry(path.source).or_insert(0) += 1;
                }
            }
        }
        self.interner().audit(&attributes, &rib.attributes, pinned);
        let counted: u64 = self.source_paths().iter().copied().map(u64::from).sum();
        assert_eq!(
            counted,
            sources.values().map(|n: &u32| u64::from(*n)).sum::<u64>()
        );
        for (source, paths) in sources {
            assert_eq!(self.paths_of(source), paths, "paths of {source:?}");
        }
    }
}

fn count(counts: &mut Vec<u32>, id: AttributeId) {
    let index = id.index() as usize;
    if counts.len() <= index {
        counts.resize(index + 1, 0);
    }
    counts[index] += 1;
}
