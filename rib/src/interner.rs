//! The owner's side of one shard's attribute sets: entering, counting, freeing.
//!
//! Lives in the shard's writer, so nothing here is shared. Invariants: every index that is counted
//! has its entry in the store and is in the table once; an index whose counts fell to zero is out
//! of the table at once, keeps its entry until every guard of that moment is gone, and only then is
//! free for other attributes. A set that was made of another one holds a count on that.

use ahash::{AHashMap, RandomState};
use hashbrown::HashTable;

use crate::attributes::AttributeStore;
use crate::epoch::Pinned;
use crate::ids::{AttributeId, Full, ShardId};
use crate::summary::Summary;

/// Sets that the table has room for anyway.
const SMALL: usize = 256;

pub(crate) struct Interner {
    shard: ShardId,
    /// Indices by the hash of their bytes and of what they were made of.
    table: HashTable<u32>,
    hasher: RandomState,
    /// Of sets that were made of another one: that one.
    made_of: AHashMap<u32, u32>,
    /// By index: paths of this shard in slots, and what callers of `intern` hold.
    counts: Vec<u32>,
    /// By index: the hash of the bytes, so that a table that grows need not read them all.
    hashes: Vec<u32>,
    /// All that callers of `intern` hold.
    held: u64,
    free: Vec<u32>,
    /// Indices that nothing refers to any more, since the last [`Interner::take_released`].
    released: Vec<u32>,
}

impl Interner {
    pub(crate) fn new(shard: ShardId) -> Interner {
        Interner {
            shard,
            table: HashTable::new(),
            hasher: RandomState::new(),
            made_of: AHashMap::new(),
            counts: Vec::new(),
            hashes: Vec::new(),
            held: 0,
            free: Vec::new(),
            released: Vec::new(),
        }
    }

    /// The id of these bytes, with one more count for the caller. Sets that were made of different
    /// ones are different, though their bytes be the same.
    pub(crate) fn intern(
        &mut self,
        bytes: &[u8],
        made_of: Option<AttributeId>,
        store: &AttributeStore,
        pinned: Pinned<'_>,
    ) -> Result<AttributeId, Full> {
        let shard = self.shard;
        let made_of = made_of.map(|of| of.index());
        let bytes_of = |index: u32| -> &[u8] {
            let set = store.get(AttributeId::new(shard, index), pinned);
            set.map_or(&[], |set| set.bytes)
        };
        let hash = self.hash(bytes, made_of);
        let hashes = &self.hashes;
        let found = self.table.find(spread(hash), |index| {
            hashes[*index as usize] == hash
                && bytes_of(*index) == bytes
                && self.made_of.get(index).copied() == made_of
        });
        let index = match found {
            Some(index) => *index,
            None => {
                let index = self.claim()?;
                store.enter(AttributeId::new(shard, index), bytes, pinned);
                self.hashes[index as usize] = hash;
                let hashes = &self.hashes;
                self.table
                    .insert_unique(spread(hash), index, |index| spread(hashes[*index as usize]));
                if let Some(of) = made_of {
                    self.made_of.insert(index, of);
                    self.add_path(AttributeId::new(shard, of));
                }
                index
            }
        };
        self.counts[index as usize] += 1;
        self.held += 1;
        Ok(AttributeId::new(shard, index))
    }

    fn claim(&mut self) -> Result<u32, Full> {
        if let Some(index) = self.free.pop() {
            return Ok(index);
        }
        let index = self.counts.len() as u32;
        if index >= AttributeId::LIMIT {
            return Err(Full::Attributes);
        }
        self.counts.push(0);
        self.hashes.push(0);
        Ok(index)
    }

    /// The hash of a set; most were made of no other.
    fn hash(&self, bytes: &[u8], made_of: Option<u32>) -> u32 {
        let hash = match made_of {
            None => self.hasher.hash_one(bytes),
            Some(of) => self.hasher.hash_one((bytes, of)),
        };
        hash as u32
    }

    /// What a set was made of: another one, or nothing but itself.
    pub(crate) fn made_of(&self, id: AttributeId) -> AttributeId {
        let of = self.made_of.get(&id.index());
        of.map_or(id, |of| AttributeId::new(self.shard, *of))
    }

    /// Counts one more path.
    pub(crate) fn add_path(&mut self, id: AttributeId) {
        let count = &mut self.counts[id.index() as usize];
        assert!(*count > 0, "{id:?} was released");
        *count += 1;
    }

    /// Counts once more for a caller.
    pub(crate) fn hold(&mut self, id: AttributeId) {
        self.add_path(id);
        self.held += 1;
    }

    /// How often a set is referred to; 0 for one of another shard.
    pub(crate) fn count(&self, id: AttributeId) -> u32 {
        let own = id.shard() == self.shard;
        let count = self.counts.get(id.index() as usize);
        count.filter(|_| own).copied().unwrap_or(0)
    }

    /// Counts one path less.
    pub(crate) fn drop_path(&mut self, id: AttributeId) {
        let count = &mut self.counts[id.index() as usize];
        *count = count.checked_sub(1).expect("each path was counted");
        if *count == 0 {
            self.release_unused(id);
        }
    }

    /// Gives back a count that [`Interner::intern`] gave.
    pub(crate) fn release(&mut self, id: AttributeId) {
        let held = self.held.checked_sub(1);
        self.held = held.expect("each count is given back once");
        self.drop_path(id);
    }

    fn release_unused(&mut self, id: AttributeId) {
        let index = id.index();
        let hash = spread(self.hashes[index as usize]);
        let found = self.table.find_entry(hash, |at| *at == index);
        found.expect("a counted set is in the table").remove();
        self.released.push(index);
        if let Some(of) = self.made_of.remove(&index) {
            self.drop_path(AttributeId::new(self.shard, of));
        }
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
            store.remove(AttributeId::new(self.shard, *index), pinned);
        }
        self.free.extend(indices);
        // What was a large table once need not stay one.
        let length = self.table.len();
        if self.table.capacity() > 8 * length.max(SMALL) {
            let hashes = &self.hashes;
            self.table
                .shrink_to(2 * length, |index| spread(hashes[*index as usize]));
        }
    }

    /// Attribute sets in use.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Checks the invariants, given how many paths refer to each index.
    pub(crate) fn audit(&self, paths: &[u32], store: &AttributeStore, pinned: Pinned<'_>) {
        assert!(
            paths.len() <= self.counts.len(),
            "a path has attributes that nobody interned"
        );
        let (mut used, mut held) = (0, 0);
        for (index, count) in self.counts.iter().enumerate() {
            let paths = paths.get(index).copied().unwrap_or(0);
            assert!(paths <= *count, "paths of attribute set {index}");
            held += u64::from(count - paths);
            if *count == 0 {
                continue;
            }
            used += 1;
            let id = AttributeId::new(self.shard, index as u32);
            let set = store.get(id, pinned).expect("a used set is there");
            assert_eq!(*set.summary, Summary::of(set.bytes), "summary of {id:?}");
            let made_of = self.made_of.get(&(index as u32)).copied();
            let hash = self.hash(set.bytes, made_of);
            assert_eq!(hash, self.hashes[index], "hash of {id:?}");
            let found = self.table.find(spread(hash), |at| *at == index as u32);
            assert!(found.is_some(), "{id:?} is not found by its bytes");
        }
        for (index, of) in &self.made_of {
            assert!(
                self.counts[*index as usize] > 0,
                "attribute set {index} is in use"
            );
            assert!(
                !self.made_of.contains_key(of),
                "a set is made of one as received"
            );
        }
        let links = self.made_of.len() as u64;
        assert_eq!(held, self.held + links, "counts that callers and sets hold");
        assert_eq!(
            used,
            self.table.len(),
            "the table has sets that are not in use"
        );
    }
}

/// Of the 32 bits of a hash, 64 that the table can use: it takes low ones for the place and the
/// seven highest to tell neighbors apart.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
