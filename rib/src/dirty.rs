//! Dirty marks: which ids have a best path that a shard has not looked at yet.
//!
//! Per shard and family one bit an id, in words of 64, and per shard a queue of the words that were
//! zero and no longer are. Level triggered: a bit that is set already promises that its shard will
//! read the newest state, so the queue never holds a word twice and is bounded by the table.
//!
//! Invariant: a word is queued, or about to be by whoever set its first bit, exactly while it is
//! not zero; the reader takes it off the queue when its own read-modify-write leaves zero behind.
//!
//! Why no change is lost: a writer swaps the slot, then sets the bit; the reader clears the bit,
//! then reads the slot. Both touch the word by read-modify-write, so one comes first. If the writer,
//! the reader's clearing, which reads what the writer wrote, sees the slot too. If the reader, the
//! writer sets the bit anew, in a word that is queued or that it queues.

use std::hint::black_box;

use codec::Family;

use crate::ids::PrefixId;
use crate::inbox::Inbox;
use crate::segments::Segments;
use crate::sync::{AtomicU64, Ordering};

/// Words that are read before they are written.
const READ_AHEAD: usize = 32;

/// Words of one family that came to be dirty, in that order.
pub(crate) struct Batch {
    pub(crate) family: Family,
    pub(crate) words: Box<[u32]>,
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

    /// Marks ids and queues the words that this makes dirty. Whether the queue was empty and no
    /// longer is: the shard must be woken.
    pub(crate) fn mark(&self, family: Family, ids: &[u32]) -> bool {
        let mut fresh = Vec::new();
        // Ids next to each other share a word, and one write to it.
        let mut runs = [(0, 0u64); READ_AHEAD];
        let mut count = 0;
        for id in ids {
            let (word, bit) = (id / 64, 1 << (id % 64));
            if count > 0 && runs[count - 1].0 == word {
                runs[count - 1].1 |= bit;
                continue;
            }
            if count == READ_AHEAD {
                self.set(family, &runs, &mut fresh);
                count = 0;
            }
            runs[count] = (word, bit);
            count += 1;
        }
        self.set(family, &runs[..count], &mut fresh);
        let words = fresh.into_boxed_slice();
        !words.is_empty() && self.inbox.push(Batch { family, words })
    }

    /// Sets bits of words, and notes those that were zero.
    fn set(&self, family: Family, runs: &[(u32, u64)], fresh: &mut Vec<u32>) {
        // A locked write waits for its cache line, and those behind it wait too: plain reads of all
        // of them first don't.
        let words = runs.iter().map(|(word, _)| self.word(family, *word));
        black_box(words.fold(0, |all, word| all | word));
        for (word, bits) in runs {
            let cell = self.bits[family.index()].grow(*word);
            // Release: the slots' changes come before the marks (head of this file).
            if cell.fetch_or(*bits, Ordering::AcqRel) == 0 {
                fresh.push(*word);
            }
        }
    }

    /// Clears up to `max` marks of a queued word, the lowest first, and appends their ids to `out`.
    /// Whether none is left: then the word is off the queue. Only for the shard that the marks
    /// belong to, before it reads the slots.
    pub(crate) fn take(
        &self,
        family: Family,
        word: u32,
        max: usize,
        out: &mut Vec<(Family, PrefixId)>,
    ) -> bool {
        let cell = self.bits[family.index()].grow(word);
        // Acquire: what was swapped before the marks is seen after this (head of this file).
        let (mut taken, left) = if max >= 64 {
            (cell.swap(0, Ordering::AcqRel), 0)
        } else {
            let taken = lowest(cell.load(Ordering::Relaxed), max);
            (taken, cell.fetch_and(!taken, Ordering::AcqRel) & !taken)
        };
        while taken != 0 {
            out.push((family, PrefixId(word * 64 + taken.trailing_zeros())));
            taken &= taken - 1;
        }
        left == 0
    }

    /// The marks of a word, at some moment.
    fn word(&self, family: Family, word: u32) -> u64 {
        let cell = self.bits[family.index()].get(word);
        cell.map_or(0, |cell| cell.load(Ordering::Relaxed))
    }

    /// Whether a word has marks.
    pub(crate) fn is_dirty(&self, family: Family, word: u32) -> bool {
        self.word(family, word) != 0
    }

    /// Words of a family, of those below `limit`, that have marks.
    pub(crate) fn dirty_words(&self, family: Family, limit: u32) -> usize {
        let words = 0..limit.div_ceil(64);
        words.filter(|word| self.is_dirty(family, *word)).count()
    }
}

/// The lowest `max` of the bits that are set.
fn lowest(bits: u64, max: usize) -> u64 {
    let mut rest = bits;
    for _ in 0..max {
        rest &= rest.wrapping_sub(1);
    }
    bits & !rest
}
