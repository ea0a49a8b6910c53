//! The table of one family: trie, prefix of each id, slot of each id.
//!
//! Invariants: an id is below `limit`; its prefix is stored, and its slot is there, before the trie
//! names it, so whoever has an id from the trie or from a mark finds both. A prefix is stored only for
//! an id that one writer alone has and that no guard is left to find: so the trie may compare the
//! prefix of an id that it found, under the guard under which it did. An id that the trie does
//! not name is a writer's spare (its slot is fresh), or given up (its slot is buried, or fresh once
//! its memory was given back) and waiting for readers, free, or taken by a writer: it goes from each of these to the next, and to the trie, by
//! one hand.

use std::ops::{ControlFlow, Range};

use codec::{Family, IpPrefix, Ipv4Prefix, Ipv6Prefix, Prefix};

use crate::epoch::Pinned;
use crate::free::{BLOCK, FreeIds, Taken};
use crate::ids::Full;
use crate::segments::Segments;
use crate::slot::Slot;
use crate::sync::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use crate::trie::{Key, Keys, Place, SpareNodes, Trie, WINDOW};

/// Ids that a family can have; far below what the trie can tell from a node, so that racing claims
/// stay below that too.
const MAX_PREFIXES: u32 = 1 << 30;

pub(crate) struct Table {
    trie: Trie,
    prefixes: Prefixes,
    slots: Segments<Slot>,
    claimed: AtomicU32,
    /// Ids that a writer claims at once: with several writers as many as share a word of marks, so
    /// that no two of them fill neighboring slots, which share cache lines.
    at_once: u32,
    pub(crate) free: FreeIds,
}

/// The prefix of each id, as few octets as the family allows.
enum Prefixes {
    /// Bits and length in one word.
    V4(Segments<AtomicU64>),
    /// Words `2 * id` and `2 * id + 1` are the bits.
    V6 {
        bits: Segments<AtomicU64>,
        lengths: Segments<AtomicU8>,
    },
}

/// Ids that are claimed at once where several writers claim them. The model checker pays for each.
const IDS_AT_ONCE: u32 = if cfg!(loom) { 1 } else { 64 };

/// What a writer claimed and did not use, because another was faster.
#[derive(Default)]
pub(crate) struct Spare {
    nodes: SpareNodes,
    id: Option<u32>,
    /// Free ids for the next prefixes, their slots buried still.
    free: Taken,
}

impl Spare {
    /// The ids that it keeps.
    pub(crate) fn ids(&self) -> impl Iterator<Item = u32> {
        self.id.into_iter().chain(self.free.ids())
    }
}

impl Table {
    /// The table of a family for so many writers.
    pub(crate) fn new(family: Family, writers: u8) -> Table {
        Table {
            trie: Trie::new(),
            prefixes: match family {
                Family::Ipv4Unicast => Prefixes::V4(Segments::new()),
                Family::Ipv6Unicast => Prefixes::V6 {
                    bits: Segments::new(),
                    lengths: Segments::new(),
                },
            },
            slots: Segments::new(),
            claimed: AtomicU32::new(0),
            at_once: if writers > 1 { IDS_AT_ONCE } else { 1 },
            free: FreeIds::new(),
        }
    }

    /// Ids are below this.
    pub(crate) fn limit(&self) -> u32 {
        self.claimed.load(Ordering::Acquire)
    }

    /// The slot of an id; `None` past the ids that were given out.
    pub(crate) fn slot(&self, id: u32) -> Option<&Slot> {
        self.slots.get(id)
    }

    /// The prefix of an id; for one that is not in the trie, what it had before or is to get.
    pub(crate) fn prefix(&self, id: u32) -> IpPrefix {
        self.prefix_of(self.prefixes.key(id))
    }

    /// The prefix that a key of this table is.
    pub(crate) fn prefix_of(&self, Key { bits, length }: Key) -> IpPrefix {
        match self.prefixes {
            Prefixes::V4(_) => Ipv4Prefix::from_left_aligned(bits, length).erase(),
            Prefixes::V6 { .. } => Ipv6Prefix::from_left_aligned(bits, length).erase(),
        }
    }

    /// The id of exactly this prefix.
    pub(crate) fn lookup(&self, key: Key, pinned: Pinned<'_>) -> Option<u32> {
        self.trie.lookup(key, &self.prefixes, pinned)
    }

    /// As [`Trie::find_all`].
    pub(crate) fn find_all(&self, sought: &[Key], pinned: Pinned<'_>) -> [Place; WINDOW] {
        self.trie.find_all(sought, &self.prefixes, pinned)
    }

    /// As [`Trie::longest_match`].
    pub(crate) fn longest_match(
        &self,
        key: Key,
        pinned: Pinned<'_>,
        accept: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        self.trie.longest_match(key, &self.prefixes, pinned, accept)
    }

    /// As [`Trie::walk`].
    pub(crate) fn walk(
        &self,
        within: Key,
        after: Option<Key>,
        pinned: Pinned<'_>,
        visit: &mut dyn FnMut(u32, Key) -> ControlFlow<()>,
    ) {
        self.trie.walk(within, after, &self.prefixes, pinned, visit);
    }

    /// The id of a prefix that the trie followed to `from`, a new one if it has none.
    pub(crate) fn claim(
        &self,
        key: Key,
        from: Place,
        pinned: Pinned<'_>,
        spare: &mut Spare,
    ) -> Result<u32, Full> {
        if let Some(id) = from.id {
            return Ok(id);
        }
        let Spare {
            nodes,
            id: spare,
            free,
        } = spare;
        let mut offered = None;
        let keys = &self.prefixes;
        let id = self.trie.insert(key, from, keys, pinned, nodes, || {
            if let Some(id) = offered {
                return Ok(id);
            }
            let id = match spare.take() {
                Some(id) => id,
                None => self.claim_id(free)?,
            };
            self.prefixes.store(id, key);
            offered = Some(id);
            Ok(id)
        })?;
        *spare = offered.filter(|offered| *offered != id).or(*spare);
        Ok(id)
    }

    /// An id that nobody else has, of a fresh slot.
    fn claim_id(&self, free: &mut Taken) -> Result<u32, Full> {
        let reused = free.pop().or_else(|| {
            *free = self.free.take(self.limit())?;
            free.pop()
        });
        if let Some(id) = reused {
            self.slots.grow(id).unbury();
            return Ok(id);
        }
        if self.claimed.load(Ordering::Relaxed) >= MAX_PREFIXES {
            return Err(Full::Prefixes);
        }
        // Release: nobody learns of the id from `limit` without what this thread did before.
        let id = self.claimed.fetch_add(self.at_once, Ordering::AcqRel);
        *free = Taken::run(id, self.at_once);
        self.slots.grow(free.pop().unwrap_or(id));
        Ok(id)
    }

    /// Takes ids in that nothing can find any more. Where that leaves a block of ids that are all
    /// free, its memory is given back.
    pub(crate) fn free_ids(&self, ids: &[u32]) {
        self.free.add(ids);
        for run in ids.chunk_by(|a, b| a / BLOCK == b / BLOCK) {
            let block = run[0] / BLOCK;
            // Taken, so that nobody writes what is about to go.
            if self.free.take_block(block) {
                self.give_back(block * BLOCK..(block + 1) * BLOCK);
                self.free.add_block(block);
            }
        }
    }

    fn give_back(&self, ids: Range<u32>) {
        self.slots.give_back(ids.clone());
        match &self.prefixes {
            Prefixes::V4(words) => words.give_back(ids),
            Prefixes::V6 { bits, lengths } => {
                bits.give_back(2 * ids.start..2 * ids.end);
                lengths.give_back(ids);
            }
        }
    }

    /// Takes an id whose slot was buried from its prefix, if nobody did so yet. Whoever comes upon
    /// one may help.
    pub(crate) fn unlink(&self, id: u32, pinned: Pinned<'_>) {
        let keys = &self.prefixes;
        self.trie.remove(keys.key(id), id, keys, pinned);
    }

    /// Octets of the trie.
    pub(crate) fn trie_octets(&self, pinned: Pinned<'_>) -> usize {
        self.trie.octets(pinned)
    }

    /// Octets of what is stored for each id, beside the slot.
    pub(crate) fn prefix_octets(&self) -> usize {
        match self.prefixes {
            Prefixes::V4(_) => size_of::<u64>(),
            Prefixes::V6 { .. } => 2 * size_of::<u64>() + 1,
        }
    }
}

impl Prefixes {
    fn store(&self, id: u32, key: Key) {
        // Relaxed: published by the block that names the id, or by one above it.
        match self {
            Prefixes::V4(words) => {
                words.grow(id).store(packed(key), Ordering::Relaxed);
            }
            Prefixes::V6 { bits, lengths } => {
                let (high, low) = ((key.bits >> 64) as u64, key.bits as u64);
                bits.grow(2 * id).store(high, Ordering::Relaxed);
                bits.grow(2 * id + 1).store(low, Ordering::Relaxed);
                lengths.grow(id).store(key.length, Ordering::Relaxed);
            }
        }
    }
}

impl Keys for Prefixes {
    #[inline]
    fn key(&self, id: u32) -> Key {
        // Relaxed throughout: an id travels by release and acquire, and its prefix came before it.
        // It is another prefix's only once no guard is left under which the trie named it.
        match self {
            Prefixes::V4(words) => {
                let word = words.get(id).map_or(0, |word| word.load(Ordering::Relaxed));
                Key {
                    bits: u128::from(word >> 8) << 96,
                    length: word as u8,
                }
            }
            Prefixes::V6 { bits, lengths } => {
                let half = |half: u32| {
                    let word = bits.get(2 * id + half);
                    u128::from(word.map_or(0, |word| word.load(Ordering::Relaxed)))
                };
                let length = lengths.get(id);
                Key {
                    bits: half(0) << 64 | half(1),
                    length: length.map_or(0, |length| length.load(Ordering::Relaxed)),
                }
            }
        }
    }

    #[inline]
    fn is(&self, id: u32, key: Key) -> bool {
        match self {
            Prefixes::V4(words) => words
                .get(id)
                .is_some_and(|word| word.load(Ordering::Relaxed) == packed(key)),
            Prefixes::V6 { .. } => self.key(id) == key,
        }
    }
}

/// Bits and length of an IPv4 prefix in one word.
#[inline]
fn packed(key: Key) -> u64 {
    ((key.bits >> 96) as u64) << 8 | u64::from(key.length)
}

impl<P: Prefix> From<P> for Key {
    fn from(prefix: P) -> Key {
        Key {
            bits: prefix.bits_left_aligned(),
            length: prefix.length(),
        }
    }
}

/// The key of a prefix of either family.
pub(crate) fn key_of(prefix: IpPrefix) -> Key {
    match prefix {
        IpPrefix::V4(prefix) => prefix.into(),
        IpPrefix::V6(prefix) => prefix.into(),
    }
}
