//! The owner's side of one shard's attribute sets: entering, counting, freeing.
//!
//! Lives in the shard's writer, so nothing here is shared. Invariants: every index that is counted
//! has its entry in the store and is in the table once; an index whose counts fell to zero is out
//! of the table at once, keeps its entry until every guard of that moment is gone, and only then is
//! free for other attributes.

use ahash::RandomState;
use hashbrown::HashTable;

use crate::attributes::{AttributeStore, Entry};
use crate::epoch::Pinned;
use crate::ids::{AttributeId, Full, ShardId};
use crate::summary::Summary;

pub(crate) struct Interner {
    shard: ShardId,
    /// Indices by the hash of their bytes.
    table: HashTable<u32>,
    hasher: RandomState,
    records: Vec<Record>,
    free: Vec<u32>,
    /// Indices that nothing refers to any more, since the last [`Interner::take_released`].
    released: Vec<u32>,
}

#[derive(Clone, Copy, Default)]
struct Record {
    /// Paths of this shard in slots.
    paths: u32,
    /// What callers of `intern` hold.
    held: u32,
    generation: u32,
}

impl Record {
    fn is_used(self) -> bool {
        self.paths != 0 || self.held != 0
    }
}

impl Interner {
    pub(crate) fn new(shard: ShardId) -> Interner {
        Interner {
            shard,
            table: HashTable::new(),
            hasher: RandomState::new(),
            records: Vec::new(),
            free: Vec::new(),
            released: Vec::new(),
        }
    }

    /// The id of these bytes, with one more count for the caller.
    pub(crate) fn intern(
        &mut self,
        bytes: &[u8],
        store: &AttributeStore,
        pinned: Pinned<'_>,
    ) -> Result<AttributeId, Full> {
        let shard = self.shard;
        let bytes_of = |index: u32| -> &[u8] {
            let entry = store.get(AttributeId::new(shard, index), pinned);
            entry.map_or(&[], |entry| &entry.bytes)
        };
        let hash = self.hasher.hash_one(bytes);
        let found = self.table.find(hash, |index| bytes_of(*index) == bytes);
        let index = match found {
            Some(index) => *index,
            None => {
                let index = self.claim()?;
                let generation = self.records[index as usize].generation;
                let entry = Entry {
                    summary: Summary::of(bytes),
                    generation,
                    bytes: bytes.into(),
                };
                store.set(
                    AttributeId::new(shard, index),
                    Some(Box::new(entry)),
                    pinned,
                );
                let hasher = &self.hasher;
                self.table
                    .insert_unique(hash, index, |index| hasher.hash_one(bytes_of(*index)));
                index
            }
        };
        self.records[index as usize].held += 1;
        Ok(AttributeId::new(shard, index))
    }

    fn claim(&mut self) -> Result<u32, Full> {
        if let Some(index) = self.free.pop() {
            let generation = &mut self.records[index as usize].generation;
            *generation = generation.wrapping_add(1);
            return Ok(index);
        }
        let index = self.records.len() as u32;
        if index >= AttributeId::LIMIT {
            return Err(Full::Attributes);
        }
        self.records.push(Record::default());
        Ok(index)
    }

    /// Counts one more path.
    pub(crate) fn add_path(&mut self, id: AttributeId) {
        let record = &mut self.records[id.index() as usize];
        assert!(record.is_used(), "{id:?} was released");
        record.paths += 1;
    }

    /// Counts one path less.
    pub(crate) fn drop_path(
        &mut self,
        id: AttributeId,
        store: &AttributeStore,
        pinned: Pinned<'_>,
    ) {
        let record = &mut self.records[id.index() as usize];
        record.paths = record.paths.checked_sub(1).expect("each path was counted");
        self.release_if_unused(id, store, pinned);
    }

    /// Gives back a count that [`Interner::intern`] gave.
    pub(crate) fn release(&mut self, id: AttributeId, store: &AttributeStore, pinned: Pinned<'_>) {
        let record = &mut self.records[id.index() as usize];
        record.held = record
            .held
            .checked_sub(1)
            .expect("each count is given back once");
        self.release_if_unused(id, store, pinned);
    }

    fn release_if_unused(&mut self, id: AttributeId, store: &AttributeStore, pinned: Pinned<'_>) {
        let index = id.index();
        if self.records[index as usize].is_used() {
            return;
        }
        let entry = store.get(id, pinned).expect("a counted set has its entry");
        let hash = self.hasher.hash_one(&*entry.bytes);
        let found = self.table.find_entry(hash, |at| *at == index);
        found.expect("a counted set is in the table").remove();
        self.released.push(index);
    }

    /// What was released and still waits for readers to move on.
    pub(crate) fn take_released(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.released)
    }

    pub(crate) fn released(&self) -> usize {
        self.released.len()
    }

    /// Frees indices that no reader can know of any more.
    pub(crate) fn reclaim(
        &mut self,
        indices: Vec<u32>,
        store: &AttributeStore,
        pinned: Pinned<'_>,
    ) {
        for index in &indices {
            store.set(AttributeId::new(self.shard, *index), None, pinned);
        }
        self.free.extend(indices);
    }

    /// Attribute sets in use.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Checks the invariants, given how many paths refer to each index.
    pub(crate) fn audit(&self, paths: &[u32], store: &AttributeStore, pinned: Pinned<'_>) {
        assert!(
            paths.len() <= self.records.len(),
            "a path has attributes that nobody interned"
        );
        let mut used = 0;
        for (index, record) in self.records.iter().enumerate() {
            let expected = paths.get(index).copied().unwrap_or(0);
            assert_eq!(record.paths, expected, "paths of attribute set {index}");
            if !record.is_used() {
                continue;
            }
            used += 1;
            let id = AttributeId::new(self.shard, index as u32);
            let entry = store.get(id, pinned).expect("a used set has its entry");
            assert_eq!(entry.generation, record.generation, "generation of {id:?}");
            assert_eq!(
                entry.summary,
                Summary::of(&entry.bytes),
                "summary of {id:?}"
            );
            let hash = self.hasher.hash_one(&*entry.bytes);
            let found = self.table.find(hash, |at| *at == index as u32);
            assert!(found.is_some(), "{id:?} is not found by its bytes");
        }
        assert_eq!(
            used,
            self.table.len(),
            "the table has sets that are not in use"
        );
    }
}
