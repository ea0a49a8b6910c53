//! How many octets a table takes, by kind.
//!
//! Counted by walking the table, so that no writer pays for it. What allocators add, what waits for
//! readers to move on, room in chunks that no id has reached, and that of free ids, which goes back to
//! the system by the block, are left out.

use codec::Family;
use crossbeam_epoch::Guard;

use crate::ids::ShardId;
use crate::rib::Rib;
use crate::slot::Slot;

/// Octets that a table takes, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// The tries: cells and blocks.
    pub tries: usize,
    /// The prefix of each id that is not free.
    pub prefixes: usize,
    /// The slots of those.
    pub slots: usize,
    /// Path lists outside their slots.
    pub path_lists: usize,
    /// Dirty bits of all shards.
    pub marks: usize,
    /// Attribute sets, without their owners' tables.
    pub attributes: usize,
}

impl Memory {
    /// All of it.
    pub fn total(&self) -> usize {
        self.without_attributes() + self.attributes
    }

    /// What grows with prefixes and paths alone.
    pub fn without_attributes(&self) -> usize {
        self.tries + self.prefixes + self.slots + self.path_lists + self.marks
    }
}

impl Rib {
    /// Octets in use. Walks the whole table: for tests and operators, not for a turn of work.
    pub fn memory(&self, guard: &Guard) -> Memory {
        let pinned = self.pinned(guard);
        let mut memory = Memory::default();
        for family in Family::ALL {
            let table = self.table(family);
            let ids = table.limit();
            let used = (ids - table.free.count().min(ids)) as usize;
            memory.tries += table.trie_octets(pinned);
            memory.prefixes += used * table.prefix_octets();
            memory.slots += used * size_of::<Slot>();
            let slots = (0..ids).filter_map(|id| table.slot(id));
            memory.path_lists += slots
                .map(|slot| slot.load(pinned).list_octets())
                .sum::<usize>();
            memory.marks += self.marks.len() * ids.div_ceil(64) as usize * size_of::<u64>();
        }
        for shard in 0..self.marks.len() {
            memory.attributes += self.attributes.octets(ShardId(shard as u8), pinned);
        }
        memory
    }
}
