//! A set of prefix ids that costs next to nothing while it is sparse and a bit an id when dense.
//!
//! Invariants: chunks are ordered by key and never empty; `length` is the number of bits set in all
//! of them. `last` is only where to look first: ids mostly come in order.

use std::fmt::{self, Debug};

use crate::ids::PrefixId;

const WORDS: usize = 16;
const IDS: u32 = 64 * WORDS as u32;

/// A sparse set of [`PrefixId`]s of one family: a peer's Adj-RIB-In, a cohort's pending ids.
#[derive(Clone, Default)]
pub struct IdSet {
    chunks: Vec<(u32, Box<Chunk>)>,
    length: usize,
    last: usize,
}

#[derive(Clone, Default, PartialEq, Eq)]
struct Chunk {
    words: [u64; WORDS],
}

impl IdSet {
    /// The empty set.
    pub fn new() -> IdSet {
        IdSet::default()
    }

    /// Ids in the set.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is no id in the set.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Where the chunk of a key is, or would be.
    #[inline]
    fn find(&self, key: u32) -> Result<usize, usize> {
        match self.chunks.get(self.last) {
            Some((last, _)) if *last == key => Ok(self.last),
            _ => self.chunks.binary_search_by_key(&key, |(key, _)| *key),
        }
    }

    /// The chunk of a key, made if there is none.
    #[inline]
    fn chunk(&mut self, key: u32) -> &mut Chunk {
        self.last = match self.find(key) {
            Ok(place) => place,
            Err(place) => {
                self.chunks.insert(place, (key, Box::default()));
                place
            }
        };
        &mut self.chunks[self.last].1
    }

    /// Adds `id`. Whether it was not in the set.
    #[inline]
    pub fn insert(&mut self, id: PrefixId) -> bool {
        let (key, word, bit) = place(id);
        let word = &mut self.chunk(key).words[word];
        let added = *word & bit == 0;
        *word |= bit;
        self.length += usize::from(added);
        added
    }

    /// Takes `id` out. Whether it was in the set.
    #[inline]
    pub fn remove(&mut self, id: PrefixId) -> bool {
        let (key, word, bit) = place(id);
        let Ok(place) = self.find(key) else {
            return false;
        };
        self.last = place;
        let chunk = &mut self.chunks[place].1;
        let removed = chunk.words[word] & bit != 0;
        chunk.words[word] &= !bit;
        if chunk.is_empty() {
            self.chunks.remove(place);
        }
        self.length -= usize::from(removed);
        removed
    }

    /// Whether `id` is in the set.
    #[inline]
    pub fn contains(&self, id: PrefixId) -> bool {
        let (key, word, bit) = place(id);
        let chunk = self.find(key).map(|place| &self.chunks[place].1);
        chunk.is_ok_and(|chunk| chunk.words[word] & bit != 0)
    }

    /// The ids in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = PrefixId> {
        self.chunks.iter().flat_map(|(key, chunk)| {
            let words = chunk.words.iter().zip((key * IDS..).step_by(64));
            words.flat_map(|(word, base)| Bits(*word).map(move |bit| PrefixId(base + bit)))
        })
    }

    /// Takes out the lowest id.
    pub fn pop_first(&mut self) -> Option<PrefixId> {
        let (key, chunk) = self.chunks.first_mut()?;
        let words = chunk.words.iter_mut();
        let (word, base) = words
            .zip((*key * IDS..).step_by(64))
            .find(|(word, _)| **word != 0)?;
        let id = base + word.trailing_zeros();
        *word &= *word - 1;
        if chunk.is_empty() {
            self.chunks.remove(0);
        }
        self.length -= 1;
        Some(PrefixId(id))
    }

    /// Takes out the lowest ids, at most `max`, and appends them to `out`.
    pub fn take_first(&mut self, max: usize, out: &mut Vec<PrefixId>) {
        let mut left = max.min(self.length);
        self.length -= left;
        let mut emptied = 0;
        for (key, chunk) in &mut self.chunks {
            let words = chunk.words.iter_mut();
            for (word, base) in words.zip((*key * IDS..).step_by(64)) {
                while *word != 0 && left > 0 {
                    out.push(PrefixId(base + word.trailing_zeros()));
                    *word &= *word - 1;
                    left -= 1;
                }
            }
            if !chunk.is_empty() {
                break;
            }
            emptied += 1;
        }
        self.chunks.drain(..emptied);
        if self.chunks.is_empty() {
            self.clear();
        }
    }

    /// Adds every id of `other`.
    pub fn union_with(&mut self, other: &IdSet) {
        for (key, theirs) in &other.chunks {
            let ours = self.chunk(*key);
            let mut added = 0;
            for (ours, theirs) in ours.words.iter_mut().zip(&theirs.words) {
                added += (theirs & !*ours).count_ones() as usize;
                *ours |= theirs;
            }
            self.length += added;
        }
    }

    /// Empties the set.
    pub fn clear(&mut self) {
        *self = IdSet::default();
    }

    /// Octets that the set takes on the heap.
    pub fn memory(&self) -> usize {
        self.chunks.capacity() * size_of::<(u32, Box<Chunk>)>()
            + self.chunks.len() * size_of::<Chunk>()
    }
}

impl PartialEq for IdSet {
    fn eq(&self, other: &IdSet) -> bool {
        self.length == other.length && self.chunks == other.chunks
    }
}

impl Eq for IdSet {}

impl FromIterator<PrefixId> for IdSet {
    fn from_iter<I: IntoIterator<Item = PrefixId>>(ids: I) -> IdSet {
        let mut set = IdSet::new();
        set.extend(ids);
        set
    }
}

impl Extend<PrefixId> for IdSet {
    fn extend<I: IntoIterator<Item = PrefixId>>(&mut self, ids: I) {
        for id in ids {
            self.insert(id);
        }
    }
}

impl Debug for IdSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(|id| id.0)).finish()
    }
}

impl Chunk {
    fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }
}

/// The numbers of the bits set in a word, ascending.
struct Bits(u64);

impl Iterator for Bits {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let bit = (self.0 != 0).then(|| self.0.trailing_zeros())?;
        self.0 &= self.0 - 1;
        Some(bit)
    }
}

/// Key of the chunk, word in it, bit in that.
fn place(id: PrefixId) -> (u32, usize, u64) {
    let rest = id.0 % IDS;
    (id.0 / IDS, (rest / 64) as usize, 1 << (rest % 64))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u32),
        Remove(u32),
        PopFirst,
        TakeFirst(usize),
        Union(Vec<u32>),
        Clear,
    }

    fn step() -> impl Strategy<Value = Step> {
        let id = prop_oneof![0..3000u32, Just(u32::MAX), u32::MAX - 2000..u32::MAX];
        prop_oneof![
            8 => id.clone().prop_map(Step::Insert),
            4 => id.clone().prop_map(Step::Remove),
            2 => Just(Step::PopFirst),
            1 => (0..20usize).prop_map(Step::TakeFirst),
            1 => prop::collection::vec(id, 0..50).prop_map(Step::Union),
            1 => Just(Step::Clear),
        ]
    }

    proptest! {
        #[test]
        fn behaves_like_a_sorted_set(steps in prop::collection::vec(step(), 0..200)) {
            let mut set = IdSet::new();
            let mut model = BTreeSet::new();
            for step in steps {
                match step {
                    Step::Insert(id) => {
                        prop_assert_eq!(set.insert(PrefixId(id)), model.insert(id));
                    }
                    Step::Remove(id) => {
                        prop_assert_eq!(set.remove(PrefixId(id)), model.remove(&id));
                    }
                    Step::PopFirst => {
                        prop_assert_eq!(set.pop_first().map(|id| id.0), model.pop_first());
                    }
                    Step::TakeFirst(max) => {
                        let mut taken = Vec::new();
                        set.take_first(max, &mut taken);
                        let expected: Vec<_> =
                            (0..max).map_while(|_| model.pop_first()).map(PrefixId).collect();
                        prop_assert_eq!(taken, expected);
                    }
                    Step::Union(ids) => {
                        set.union_with(&ids.iter().copied().map(PrefixId).collect());
                        model.extend(ids);
                    }
                    Step::Clear => {
                        set.clear();
                        model.clear();
                    }
                }
                prop_assert_eq!(set.len(), model.len());
                prop_assert!(set.iter().map(|id| id.0).eq(model.iter().copied()));
                prop_assert!(model.iter().all(|id| set.contains(PrefixId(*id))));
            }
            set.extend(model.iter().copied().map(PrefixId));
            prop_assert_eq!(set.len(), model.len());
        }
    }

    #[test]
    fn a_dense_set_costs_about_a_bit_an_id() {
        let set: IdSet = (0..1_000_000).map(PrefixId).collect();
        assert!(set.memory() < 200_000, "{}", set.memory());
    }
}
