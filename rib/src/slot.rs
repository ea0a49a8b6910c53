//! The paths of one prefix and the best of them, in one atomic word.
//!
//! The word is a state without paths, a packed path (bit 0 set: the only path, path id 0), or a
//! pointer to an immutable list. A packed path is `attributes:32 | source:24 | flags:7 | 1`. A list is words:
//! a head `best:32 | wide:1 | length:31`, one packed path each, and, where some path id is not 0
//! (wide), the path ids, two a word.
//!
//! Invariants: paths are ordered by (source, path id), no two alike; `best` is what
//! [`crate::best::select`] says of that set, because the writer that changed the set computed it on
//! its copy and swapped both in by one compare-and-swap. A list is never written to after it was
//! published, and is retired by the one compare-and-swap that took it out.
//!
//! States without paths, which readers don't tell apart: *fresh*, the id has yet to get its first path;
//! *idle*, it lost its last one; *condemned*, idle and a candidate for reclaiming; *buried*, the id is
//! given up. A path can follow each but the last: who finds a slot buried needs another id. Idle comes
//! after a path only, condemned after idle only, buried after condemned only, and fresh again only
//! where the id is taken from those that are free, or its memory given back (`reclaim`, `table`).
//!
//! A word may come back to an earlier value while a writer computes. For a list that cannot happen
//! (its memory is not reused while the writer is pinned). For a packed path it is harmless as far as
//! the word goes: equal words mean equal paths, because ids of attributes are not given out anew
//! while the writer is pinned. What the *source* says may differ: see `Rib::settle`.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::ptr;
use std::slice;

use crate::epoch::Pinned;
use crate::ids::{AttributeId, SourceId};
use crate::path::{Path, PathBuffer, PathFlags};
use crate::segments::Zeroed;
use crate::sync::{AtomicPtr, Ordering};

const _: () = assert!(
    size_of::<usize>() == 8,
    "a slot packs a path into a pointer"
);

const FRESH: u64 = 0;
const IDLE: u64 = 2;
const CONDEMNED: u64 = 4;
const BURIED: u64 = 6;
const PACKED: u64 = 1;
const WIDE: u64 = 1 << 31;
const NO_BEST: u32 = u32::MAX;

pub(crate) struct Slot {
    word: AtomicPtr<u64>,
}

impl Default for Slot {
    fn default() -> Slot {
        Slot {
            word: AtomicPtr::new(ptr::null_mut()),
        }
    }
}

// SAFETY: one atomic pointer, null by default, and null is all zeroes.
unsafe impl Zeroed for Slot {}

/// What a slot held at one moment, readable for as long as the guard is held.
#[derive(Clone, Copy)]
pub(crate) struct Snapshot<'g> {
    word: *mut u64,
    guard: PhantomData<&'g ()>,
}

impl Slot {
    #[inline]
    pub(crate) fn load<'g>(&self, _: Pinned<'g>) -> Snapshot<'g> {
        Snapshot {
            // Pairs with the release in `swap`: the list is seen whole, and with it whatever its
            // writer did before (attributes interned, source set).
            word: self.word.load(Ordering::Acquire),
            guard: PhantomData,
        }
    }

    /// As [`Slot::replace`] with one path of path id 0, or none.
    #[inline]
    pub(crate) fn replace_only<'g>(
        &self,
        expected: Snapshot<'g>,
        path: Option<Path>,
        pinned: Pinned<'g>,
    ) -> Result<(), Snapshot<'g>> {
        let word = path.as_ref().map_or(IDLE, pack);
        self.swap(expected, plain(word), pinned)
    }

    /// Swaps in `paths` (ordered, distinct) with the best of them if the slot still holds what
    /// `expected` does; else gives what it holds now.
    pub(crate) fn replace<'g>(
        &self,
        expected: Snapshot<'g>,
        paths: &[Path],
        best: Option<usize>,
        pinned: Pinned<'g>,
    ) -> Result<(), Snapshot<'g>> {
        let fresh = encode(paths, best);
        let swapped = self.swap(expected, fresh, pinned);
        if swapped.is_err() && is_list(fresh) {
            // SAFETY: made by `encode` above and never published.
            unsafe { free_list(fresh) };
        }
        swapped
    }

    /// Makes an idle slot a candidate for reclaiming. Whether it was idle.
    pub(crate) fn condemn(&self) -> bool {
        self.turn(IDLE, CONDEMNED)
    }

    /// Makes a condemned slot idle again. Whether it was condemned still.
    pub(crate) fn acquit(&self) -> bool {
        self.turn(CONDEMNED, IDLE)
    }

    /// Gives a condemned slot up. Whether it was condemned still: nobody puts a path in any more.
    pub(crate) fn bury(&self) -> bool {
        self.turn(CONDEMNED, BURIED)
    }

    /// Readies a slot that was buried for the next prefix of its id. Only for who took the id from
    /// those that are free; the trie does not name it. It is fresh if its memory was given back.
    pub(crate) fn unbury(&self) {
        let fresh = self.turn(BURIED, FRESH) || self.turn(FRESH, FRESH);
        assert!(fresh, "an id that was free has a slot that is in use");
    }

    fn turn(&self, from: u64, to: u64) -> bool {
        // Nothing but the word is told: what it stands for is ordered by who hands ids around.
        let turned =
            self.word
                .compare_exchange(plain(from), plain(to), Ordering::AcqRel, Ordering::Relaxed);
        turned.is_ok()
    }

    #[inline]
    fn swap<'g>(
        &self,
        expected: Snapshot<'g>,
        fresh: *mut u64,
        pinned: Pinned<'g>,
    ) -> Result<(), Snapshot<'g>> {
        // Release publishes the list. Acquire on both ends: on success because this thread retires
        // the old list, on failure because the caller reads the new one. Sequentially consistent,
        // which costs nothing more, for `Rib::wants_others`.
        match self
            .word
            .compare_exchange(expected.word, fresh, Ordering::SeqCst, Ordering::Acquire)
        {
            Ok(old) => {
                if is_list(old) {
                    // SAFETY: this compare-and-swap took `old` out, so it alone retires it and no
                    // new reader finds it; readers that did hold guards, which deferral outlasts.
                    unsafe {
                        pinned.guard().defer_unchecked(move || {
                            free_list(old);
                        });
                    }
                }
                Ok(())
            }
            Err(word) => Err(Snapshot {
                word,
                guard: PhantomData,
            }),
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let word = self.word.load(Ordering::Relaxed);
        if is_list(word) {
            // SAFETY: `&mut self`: nobody reads any more, and a list still in place was not retired.
            unsafe { free_list(word) };
        }
    }
}

impl<'g> Snapshot<'g> {
    /// Whether there is no path.
    #[inline]
    pub(crate) fn is_empty(self) -> bool {
        self.state() & PACKED == 0 && self.state() <= BURIED
    }

    /// Whether the last path is gone, and the id not given up.
    #[inline]
    pub(crate) fn is_idle(self) -> bool {
        matches!(self.state(), IDLE | CONDEMNED)
    }

    /// Whether the id has yet to get its first path.
    pub(crate) fn is_fresh(self) -> bool {
        self.state() == FRESH
    }

    /// Whether the id is given up.
    #[inline]
    pub(crate) fn is_buried(self) -> bool {
        self.state() == BURIED
    }

    fn state(self) -> u64 {
        self.word.addr() as u64
    }

    /// The path, where it is the only one and has path id 0.
    #[inline]
    pub(crate) fn only(self) -> Option<Path> {
        let word = self.word.addr() as u64;
        (word & PACKED != 0).then(|| unpack(word, 0))
    }

    #[inline]
    pub(crate) fn best(self) -> Option<Path> {
        match self.list() {
            Some(list) => list.best(),
            None => self.only().filter(Path::is_usable),
        }
    }

    pub(crate) fn paths(self) -> PathBuffer {
        let mut paths = PathBuffer::new();
        self.for_each(|path| paths.push(path));
        paths
    }

    /// All paths in order.
    #[inline]
    pub(crate) fn for_each(self, mut each: impl FnMut(Path)) {
        match self.list() {
            Some(list) => (0..list.length()).for_each(|at| each(list.path(at))),
            None => self.only().into_iter().for_each(each),
        }
    }

    /// Octets outside the slot itself.
    pub(crate) fn list_octets(self) -> usize {
        self.list().map_or(0, |list| size_of_val(list.words))
    }

    fn list(self) -> Option<List<'g>> {
        // SAFETY: a word that is neither a state nor packed is a list made by `encode`; it was in the
        // slot while the guard of `'g` was held, so it is freed only after that guard is gone.
        is_list(self.word).then(|| unsafe { List::from_raw(self.word) })
    }
}

/// A list as its words.
#[derive(Clone, Copy)]
struct List<'g> {
    words: &'g [u64],
}

impl<'g> List<'g> {
    /// # Safety
    /// `start` was made by `encode` and is not freed during `'g`.
    unsafe fn from_raw(start: *mut u64) -> List<'g> {
        // SAFETY: every list has a head, which says how many words there are in all.
        let words = unsafe { slice::from_raw_parts(start, words_of(*start)) };
        List { words }
    }

    fn length(self) -> usize {
        length_of(self.words[0])
    }

    fn best(self) -> Option<Path> {
        let best = (self.words[0] >> 32) as u32;
        (best != NO_BEST).then(|| self.path(best as usize))
    }

    fn path(self, at: usize) -> Path {
        let path_id = if self.words[0] & WIDE == 0 {
            0
        } else {
            let pair = self.words[1 + self.length() + at / 2];
            (pair >> (at % 2 * 32)) as u32
        };
        unpack(self.words[1 + at], path_id)
    }
}

/// States are below any address that an allocation can have.
fn is_list(word: *mut u64) -> bool {
    let word = word.addr() as u64;
    word & PACKED == 0 && word > BURIED
}

/// A word that is no pointer.
fn plain(word: u64) -> *mut u64 {
    ptr::without_provenance_mut(word as usize)
}

fn length_of(head: u64) -> usize {
    (head & (WIDE - 1)) as usize
}

fn words_of(head: u64) -> usize {
    let length = length_of(head);
    1 + length
        + if head & WIDE == 0 {
            0
        } else {
            length.div_ceil(2)
        }
}

fn pack(path: &Path) -> u64 {
    assert!(path.source.0 < SourceId::LIMIT);
    u64::from(path.attributes.bits()) << 32
        | u64::from(path.source.0) << 8
        | u64::from(path.flags.bits()) << 1
        | PACKED
}

fn unpack(word: u64, path_id: u32) -> Path {
    Path {
        attributes: AttributeId::from_bits((word >> 32) as u32),
        source: SourceId((word >> 8) as u32 & (SourceId::LIMIT - 1)),
        path_id,
        flags: PathFlags::from_bits((word >> 1) as u8 & PathFlags::MASK),
    }
}

/// The word for a set of paths. A list is the caller's to publish or free.
fn encode(paths: &[Path], best: Option<usize>) -> *mut u64 {
    match paths {
        [] => plain(IDLE),
        [only] if only.path_id == 0 => plain(pack(only)),
        _ => encode_list(paths, best),
    }
}

fn encode_list(paths: &[Path], best: Option<usize>) -> *mut u64 {
    assert!((paths.len() as u64) < WIDE);
    let wide = paths.iter().any(|path| path.path_id != 0);
    let best = best.map_or(NO_BEST, |best| best as u32);
    let head = u64::from(best) << 32 | if wide { WIDE } else { 0 } | paths.len() as u64;
    let layout = list_layout(head);
    // SAFETY: the layout is of at least two words, so not of zero size.
    let start = unsafe { alloc(layout) }.cast::<u64>();
    if start.is_null() {
        handle_alloc_error(layout);
    }
    // SAFETY: `words_of(head)` words were just allocated and are this function's alone: the head,
    // one word a path, and if wide one for each two of them. All of them are written.
    unsafe {
        start.write(head);
        for (at, path) in paths.iter().enumerate() {
            start.add(1 + at).write(pack(path));
        }
        if wide {
            for (at, pair) in paths.chunks(2).enumerate() {
                let high = pair.get(1).map_or(0, |path| u64::from(path.path_id));
                start
                    .add(1 + paths.len() + at)
                    .write(high << 32 | u64::from(pair[0].path_id));
            }
        }
    }
    start
}

fn list_layout(head: u64) -> Layout {
    Layout::array::<u64>(words_of(head)).expect("bounded by the length field")
}

/// # Safety
/// `start` was made by `encode_list` and nobody refers to it any more.
unsafe fn free_list(start: *mut u64) {
    // SAFETY: the head is intact, since lists are never written to, so the layout is the one that
    // `encode_list` allocated with.
    unsafe { dealloc(start.cast(), list_layout(*start)) };
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::ids::ShardId;
    use crossbeam_epoch::Collector;
    use proptest::prelude::*;

    fn path() -> impl Strategy<Value = Path> {
        (
            any::<u8>(),
            0..AttributeId::LIMIT,
            0..SourceId::LIMIT,
            prop_oneof![Just(0), any::<u32>()],
            0..=PathFlags::MASK,
        )
            .prop_map(|(shard, index, source, path_id, flags)| Path {
                attributes: AttributeId::new(ShardId(shard), index),
                source: SourceId(source),
                path_id,
                flags: PathFlags::from_bits(flags),
            })
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(
            paths in prop::collection::vec(path(), 0..9),
            plain: bool,
            best: prop::sample::Index,
            some: bool,
        ) {
            let mut paths = paths;
            if plain {
                paths.iter_mut().for_each(|path| path.path_id = 0);
            }
            let collector = Collector::new();
            let guard = collector.register().pin();
            let pinned = Pinned::new(&guard, &collector);
            let slot = Slot::default();
            let best = (some && !paths.is_empty()).then(|| best.index(paths.len()));
            prop_assert!(slot.replace(slot.load(pinned), &paths, best, pinned).is_ok());
            let snapshot = slot.load(pinned);
            let read = snapshot.paths();
            prop_assert_eq!(read.as_slice(), paths.as_slice());
            if snapshot.list_octets() > 0 {
                prop_assert_eq!(snapshot.best(), best.map(|best| paths[best]));
            }
        }
    }

    #[test]
    fn a_second_path_costs_three_words() {
        let collector = Collector::new();
        let guard = collector.register().pin();
        let pinned = Pinned::new(&guard, &collector);
        let slot = Slot::default();
        let path = |source| Path {
            attributes: AttributeId::new(ShardId(0), 1),
            source: SourceId(source),
            path_id: 0,
            flags: PathFlags::NONE,
        };
        slot.replace(slot.load(pinned), &[path(1), path(2)], Some(0), pinned)
            .unwrap_or_else(|_| panic!("nobody else writes"));
        assert_eq!(slot.load(pinned).list_octets(), 24);
    }
}
