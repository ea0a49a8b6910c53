//! Ids of one family that are free: given up by their prefixes, and known to no reader any more.
//!
//! One bit an id. Writers take whole words, the lowest first, so that ids stay dense where they are
//! used. Invariant: an id is free for one taker: it goes by the swap that clears its word.

use crate::segments::Segments;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// Ids whose memory is given back together.
pub(crate) const BLOCK: u32 = 4096;
const BLOCK_WORDS: u32 = BLOCK / 64;

pub(crate) struct FreeIds {
    bits: Segments<AtomicU64>,
    /// Bits set, or about to be.
    count: AtomicU32,
    /// No word below this is worth a look, most likely.
    lowest: AtomicU32,
}

/// Free ids that one writer took, of one word.
#[derive(Clone, Copy, Default)]
pub(crate) struct Taken {
    word: u32,
    bits: u64,
}

impl FreeIds {
    pub(crate) fn new() -> FreeIds {
        FreeIds {
            bits: Segments::new(),
            count: AtomicU32::new(0),
            lowest: AtomicU32::new(0),
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u32 {
        self.count.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, ids: &[u32]) {
        self.count.fetch_add(ids.len() as u32, Ordering::Relaxed);
        for run in ids.chunk_by(|a, b| a / 64 == b / 64) {
            let word = run[0] / 64;
            let bits = run.iter().fold(0, |bits, id| bits | 1u64 << (id % 64));
            // Release: what made the ids free comes before they are.
            let before = self.bits.grow(word).fetch_or(bits, Ordering::Release);
            debug_assert_eq!(before & bits, 0, "an id is free twice");
            self.lowest.fetch_min(word, Ordering::Relaxed);
        }
    }

    /// Takes the ids of a word; of the lowest that has any, unless others are at it too. `limit`:
    /// ids are below it.
    pub(crate) fn take(&self, limit: u32) -> Option<Taken> {
        if self.count() == 0 {
            return None;
        }
        let lowest = self.lowest.load(Ordering::Relaxed);
        let words = limit.div_ceil(64);
        // `lowest` may have passed a word that came to be free meanwhile.
        let found = (lowest..words)
            .chain(0..lowest.min(words))
            .find_map(|word| {
                let cell = self.bits.get(word)?;
                if cell.load(Ordering::Relaxed) == 0 {
                    return None;
                }
                // Acquire: pairs with the release in `add`.
                let bits = cell.swap(0, Ordering::Acquire);
                (bits != 0).then_some(Taken { word, bits })
            });
        let taken = found?;
        self.lowest.store(taken.word, Ordering::Relaxed);
        self.count
            .fetch_sub(taken.bits.count_ones(), Ordering::Relaxed);
        Some(taken)
    }

    /// Takes a block of [`BLOCK`] ids, if every one of them is free. Give them back by
    /// [`FreeIds::add_block`].
    pub(crate) fn take_block(&self, block: u32) -> bool {
        let words = block * BLOCK_WORDS..(block + 1) * BLOCK_WORDS;
        let full = |word| {
            let bits = self.bits.get(word);
            bits.is_some_and(|bits| bits.load(Ordering::Relaxed) == u64::MAX)
        };
        if !words.clone().all(full) {
            return false;
        }
        let mut got = Vec::with_capacity(BLOCK_WORDS as usize);
        for word in words {
            // Acquire: as in `take`.
            let bits = self.bits.grow(word).swap(0, Ordering::Acquire);
            got.push(Taken { word, bits });
            if bits != u64::MAX {
                // Somebody else was at it.
                got.into_iter().for_each(|taken| self.put(taken));
                return false;
            }
        }
        true
    }

    /// Gives a block back that was taken whole.
    pub(crate) fn add_block(&self, block: u32) {
        for word in block * BLOCK_WORDS..(block + 1) * BLOCK_WORDS {
            let bits = u64::MAX;
            self.put(Taken { word, bits });
        }
    }

    fn put(&self, taken: Taken) {
        // Release: as in `add`.
        let cell = self.bits.grow(taken.word);
        cell.fetch_or(taken.bits, Ordering::Release);
        self.lowest.fetch_min(taken.word, Ordering::Relaxed);
    }

    /// Whether an id is free. Exact while nobody takes or adds.
    pub(crate) fn contains(&self, id: u32) -> bool {
        let cell = self.bits.get(id / 64);
        cell.is_some_and(|cell| cell.load(Ordering::Relaxed) >> (id % 64) & 1 != 0)
    }
}

impl Taken {
    /// The lowest of them.
    /// `count` ids from `first` on, which are all in one word.
    pub(crate) fn run(first: u32, count: u32) -> Taken {
        debug_assert!(first % 64 + count <= 64);
        Taken {
            word: first / 64,
            bits: u64::MAX >> (64 - count) << (first % 64),
        }
    }

    pub(crate) fn pop(&mut self) -> Option<u32> {
        let bit = (self.bits != 0).then(|| self.bits.trailing_zeros())?;
        self.bits &= self.bits - 1;
        Some(self.word * 64 + bit)
    }

    /// Which they are.
    pub(crate) fn ids(mut self) -> impl Iterator<Item = u32> {
        std::iter::from_fn(move || self.pop())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_is_taken_once_and_lowest_first() {
        let free = FreeIds::new();
        assert!(free.take(1000).is_none());
        free.add(&[700, 701, 3, 64, 130]);
        free.add(&[2]);
        assert_eq!(free.count(), 6);
        assert!(free.contains(701) && !free.contains(702));
        let mut ids = Vec::new();
        while let Some(taken) = free.take(1000) {
            ids.extend(taken.ids());
        }
        assert_eq!(ids, [2, 3, 64, 130, 700, 701]);
        assert_eq!(free.count(), 0);
        // Behind where the last one was found.
        free.add(&[5]);
        assert_eq!(free.take(1000).and_then(|mut taken| taken.pop()), Some(5));
    }

    #[test]
    fn a_block_is_taken_whole_or_not_at_all() {
        let free = FreeIds::new();
        let ids: Vec<u32> = (0..2 * BLOCK).filter(|id| *id != 77).collect();
        free.add(&ids);
        assert!(!free.take_block(0));
        assert!(free.take_block(1));
        assert!(!free.contains(BLOCK) && !free.take_block(1));
        free.add_block(1);
        assert!(ids.iter().all(|id| free.contains(*id)));
        let all: usize = std::iter::from_fn(|| free.take(2 * BLOCK))
            .map(|taken| taken.ids().count())
            .sum();
        assert_eq!((all, free.count()), (ids.len(), 0));
    }

    #[test]
    fn takers_share_what_there_is() {
        let free = FreeIds::new();
        free.add(&(0..10_000).collect::<Vec<u32>>());
        let mut all: Vec<u32> = std::thread::scope(|scope| {
            let taker = || {
                let takes = std::iter::from_fn(|| free.take(10_000));
                takes.flat_map(Taken::ids).collect::<Vec<_>>()
            };
            let threads: Vec<_> = (0..3).map(|_| scope.spawn(taker)).collect();
            let taken = threads
                .into_iter()
                .flat_map(|thread| thread.join().unwrap());
            taken.collect()
        });
        all.sort_unstable();
        assert!(all.into_iter().eq(0..10_000));
    }
}
