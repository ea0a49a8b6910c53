//! Interned attribute sets as every shard may read them.
//!
//! Who may enter, count and free them is `interner`'s business: one owner a shard. Invariant: an
//! entry that a path in some slot refers to, now or when a held guard was pinned, is in place.

use crate::cell::EpochCell;
use crate::epoch::Pinned;
use crate::ids::{AttributeId, ShardId};
use crate::segments::Segments;
use crate::summary::Summary;

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

/// One interned set.
pub(crate) struct Entry {
    pub(crate) summary: Summary,
    pub(crate) generation: u32,
    pub(crate) bytes: Box<[u8]>,
}

pub(crate) struct AttributeStore {
    shards: Box<[Segments<EpochCell<Entry>>]>,
}

impl AttributeStore {
    pub(crate) fn new(shards: u8) -> AttributeStore {
        AttributeStore {
            shards: (0..shards).map(|_| Segments::new()).collect(),
        }
    }

    pub(crate) fn get<'g>(&self, id: AttributeId, pinned: Pinned<'g>) -> Option<&'g Entry> {
        let entries = self.shards.get(id.shard().index())?;
        entries.get(id.index())?.load(pinned)
    }

    /// Only for the owner of the shard.
    pub(crate) fn set(&self, id: AttributeId, entry: Option<Box<Entry>>, pinned: Pinned<'_>) {
        self.entries(id.shard())
            .grow(id.index())
            .store(entry, pinned);
    }

    pub(crate) fn entries(&self, shard: ShardId) -> &Segments<EpochCell<Entry>> {
        &self.shards[shard.index()]
    }
}

impl Entry {
    pub(crate) fn view(&self) -> Attributes<'_> {
        Attributes {
            bytes: &self.bytes,
            generation: self.generation,
            summary: &self.summary,
        }
    }

    /// Octets it takes, the box of its bytes included.
    pub(crate) fn octets(&self) -> usize {
        size_of::<Entry>() + self.bytes.len()
    }
}
