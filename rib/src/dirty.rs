//! Dirty marks: which ids have a best path that a shard has not looked at yet.
//!
//! Per shard and family one bit an id, and per shard a queue of the ids whose bit was set. Level
//! triggered: a bit that is set already promises that its shard will read the newest state, so the
//! queue never holds an id twice and is bounded by the table.
//!
//! Why no change is lost: a writer swaps the slot, then sets the bit; the reader clears the bit,
//! then reads the slot. Both touch the bit by read-modify-write, so one comes first. If the writer,
//! it found the bit set or queued the id, and the reader's clearing, which reads what the writer
//! wrote, sees the slot too. If the reader, the writer finds the bit clear and queues the id anew.

use codec::Family;

use crate::inbox::Inbox;
use crate::segments::Segments;
use crate::sync::{AtomicU64, Ordering};

/// Ids of one family, newly dirty, in the order of their marking.
pub(crate) struct Batch {
    pub(crate) family: Family,
    pub(crate) ids: Box<[u32]>,
}

/// The marks of one shard.
pub(crate) struct Marks {
    bits: [Segments<AtomicU64>; Family::ALL.len()],
    pub(crate) inbox: Inbox<Batch>,
}

impl Marks {
    pub(crate) fn new() -> Marks {
        Marks {
            bits: Family::ALL.map(|_| Segments::new()),
            inbox: Inbox::new(),
        }
    }

    /// Marks the ids that are not marked yet and queues them. Whether the queue was empty and no
    /// longer is: the shard must be woken.
    pub(crate) fn mark(&self, family: Family, ids: &[u32]) -> bool {
        let fresh: Box<[u32]> = ids
            .iter()
            .copied()
            .filter(|id| self.set(family, *id))
            .collect();
        !fresh.is_empty() && self.inbox.push(Batch { family, ids: fresh })
    }

    /// Sets the bit. Whether it was clear.
    fn set(&self, family: Family, id: u32) -> bool {
        let word = self.bits[family.index()].grow(id / 64);
        let bit = 1 << (id % 64);
        // Release: the slot's change comes before the mark (head of this file).
        word.fetch_or(bit, Ordering::AcqRel) & bit == 0
    }

    /// Clears the bit. Whether it was set. Only for the shard that the marks belong to, before it
    /// reads the slot.
    pub(crate) fn clear(&self, family: Family, id: u32) -> bool {
        let Some(word) = self.bits[family.index()].get(id / 64) else {
            return false;
        };
        let bit = 1 << (id % 64);
        // Acquire: what was swapped before the mark is seen after this (head of this file).
        word.fetch_and(!bit, Ordering::AcqRel) & bit != 0
    }

    /// Marked ids of a family below `limit`.
    pub(crate) fn count(&self, family: Family, limit: u32) -> usize {
        (0..limit.div_ceil(64))
            .filter_map(|word| self.bits[family.index()].get(word))
            .map(|word| word.load(Ordering::Relaxed).count_ones() as usize)
            .sum()
    }
}
