//! Interned attribute sets as every shard may read them.
//!
//! Who may enter, count and free them is `interner`'s business: one owner a shard. Invariant: an
//! entry that a path in some slot refers to, now or when a held guard was pinned, is in place.

use crate::cell::BlobCell;
use crate::epoch::Pinned;
use crate::ids::{AttributeId, ShardId};
use crate::segments::Segments;
use crate::summary::Summary;
use crate::sync::{AtomicU32, Ordering};

/// An attribute set, as long as the guard is held that it was read under.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'g> {
    /// The canonical form: 4-octet AS numbers, ascending codes.
    pub bytes: &'g [u8],
    /// Tells this set from earlier ones of the same id: a reader who keeps what it derived under
    /// (id, generation) needs no count to know whether it still holds.
    pub generation: u32,
    /// What decides between paths.
    pub summary: &'g Summary,
}

pub(crate) struct AttributeStore {
    shards: Box<[Sets]>,
}

/// The sets of one shard by index.
struct Sets {
    /// The summary, and the bytes behind it.
    entries: Segments<BlobCell<Summary>>,
    /// Changes each time an index is given to other attributes. Beside the entries, so that who
    /// knows what it derived from an entry can tell so without reading it.
    generations: Segments<AtomicU32>,
}

impl AttributeStore {
    pub(crate) fn new(shards: u8) -> AttributeStore {
        let sets = |_| Sets {
            entries: Segments::new(),
            generations: Segments::new(),
        };
        AttributeStore {
            shards: (0..shards).map(sets).collect(),
        }
    }

    pub(crate) fn get<'g>(&self, id: AttributeId, pinned: Pinned<'g>) -> Option<Attributes<'g>> {
        let sets = self.shards.get(id.shard().index())?;
        let (summary, bytes) = sets.entries.get(id.index())?.load(pinned)?;
        Some(Attributes {
            bytes,
            generation: self.generation(id),
            summary,
        })
    }

    /// The generation of a set that a path read under a held guard refers to: it does not change
    /// while the guard is held.
    #[inline]
    pub(crate) fn generation(&self, id: AttributeId) -> u32 {
        let generation = self.shards[id.shard().index()].generations.get(id.index());
        // Relaxed: written before the path could be read.
        generation.map_or(0, |generation| generation.load(Ordering::Relaxed))
    }

    /// Puts a set in the place of an index that no reader knows. Only for the owner of the shard.
    pub(crate) fn enter(&self, id: AttributeId, bytes: &[u8], pinned: Pinned<'_>) {
        let sets = &self.shards[id.shard().index()];
        let generation = sets.generations.grow(id.index());
        // Only the owner writes it. Relaxed: published by the slot that names the set.
        let next = generation.load(Ordering::Relaxed).wrapping_add(1);
        generation.store(next, Ordering::Relaxed);
        let entry = sets.entries.grow(id.index());
        entry.store(Summary::of(bytes), bytes, pinned);
    }

    /// Takes a set away that no reader knows. Only for the owner of the shard.
    pub(crate) fn remove(&self, id: AttributeId, pinned: Pinned<'_>) {
        if let Some(entry) = self.shards[id.shard().index()].entries.get(id.index()) {
            entry.clear(pinned);
        }
    }

    /// Octets of one shard's sets.
    pub(crate) fn octets(&self, shard: ShardId, pinned: Pinned<'_>) -> usize {
        let each = size_of::<BlobCell<Summary>>() + size_of::<AtomicU32>();
        let sets = &self.shards[shard.index()];
        // Indices are dense, so the first that was never grown ends them.
        let entries = (0..).map_while(|index| sets.entries.get(index));
        let entries = entries.filter_map(|entry| entry.load(pinned));
        entries
            .map(|(_, bytes)| each + BlobCell::<Summary>::octets(bytes.len()))
            .sum()
    }
}
