//! An array that grows without ever moving an element.
//!
//! Chunk `k` holds `256 << k` elements, so 25 chunk pointers span all of `u32` and a small table
//! stays small. New chunks come from the allocator zeroed: pages that no id has reached cost no
//! memory, and pages of elements that are in nobody's use can be given back. Invariant: a chunk pointer goes from null to its chunk once, and the chunk lives as long
//! as the array; hence `&T` may be handed out for the lifetime of `&self`.

use std::ops::Range;
use std::ptr;

use crate::sync::{AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering};

// Smaller under the model checker, which pays for each atomic, used or not.
const FIRST_CHUNK_BITS: u32 = if cfg!(loom) { 1 } else { 8 };
const CHUNKS: usize = if cfg!(loom) { 4 } else { 25 };

/// # Safety
/// All-zero bytes are a valid value, equal to the default one.
pub(crate) unsafe trait Zeroed: Default {}

// SAFETY: each has the representation of its integer or pointer, whose default is zero or null.
// (Not so under the model checker, which is why `zeroed_chunk` has a second form there.)
unsafe impl Zeroed for AtomicU8 {}
// SAFETY: as above.
unsafe impl Zeroed for AtomicU32 {}
// SAFETY: as above.
unsafe impl Zeroed for AtomicU64 {}

pub(crate) struct Segments<T> {
    chunks: [AtomicPtr<T>; CHUNKS],
}

impl<T: Zeroed + Send + Sync> Segments<T> {
    pub(crate) fn new() -> Segments<T> {
        Segments {
            chunks: std::array::from_fn(|_| AtomicPtr::new(ptr::null_mut())),
        }
    }

    /// The element, or `None` if nothing near it was ever grown.
    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        let (chunk, offset) = locate(index);
        // Pairs with the release of `grow`: the zeroes are seen before the pointer.
        let start = self.chunks[chunk].load(Ordering::Acquire);
        // SAFETY: a chunk pointer that is not null points to `chunk_length(chunk)` elements which
        // live until `self` is dropped, and `locate` keeps `offset` below that length.
        (!start.is_null()).then(|| unsafe { &*start.add(offset) })
    }

    /// The element; its chunk is made if it is not there yet.
    pub(crate) fn grow(&self, index: u32) -> &T {
        if let Some(element) = self.get(index) {
            return element;
        }
        let (chunk, offset) = locate(index);
        let fresh = Box::into_raw(zeroed_chunk::<T>(chunk_length(chunk))).cast::<T>();
        // Release publishes the zeroes; acquire sees those of the winner.
        let start = match self.chunks[chunk].compare_exchange(
            ptr::null_mut(),
            fresh,
            Ordering::AcqRel,
            Ordering::Acquire,
        ) {
            Ok(_) => fresh,
            Err(winner) => {
                // SAFETY: `fresh` was made above by `zeroed_chunk` and never shared.
                unsafe { drop_chunk(fresh, chunk) };
                winner
            }
        };
        // SAFETY: as in `get`.
        unsafe { &*start.add(offset) }
    }
}

impl<T> Segments<T> {
    /// Gives memory back to the system, as far as these elements make up whole pages. They read as
    /// zero after that, or as before where the system would not have it. Only for elements that
    /// nobody writes to meanwhile; whoever reads them must be content with either.
    pub(crate) fn give_back(&self, elements: Range<u32>) {
        let mut from = elements.start;
        while from < elements.end {
            let (chunk, offset) = locate(from);
            let end = (chunk_length(chunk) - offset).min((elements.end - from) as usize);
            // Acquire: as in `get`.
            let start = self.chunks[chunk].load(Ordering::Acquire);
            if !start.is_null() {
                give_back_pages(start.wrapping_add(offset).cast(), end * size_of::<T>());
            }
            from += end as u32;
        }
    }
}

/// The whole pages among `octets` from `start` on, all in one chunk.
#[cfg(all(target_os = "linux", not(loom)))]
fn give_back_pages(start: *mut u8, octets: usize) {
    // SAFETY: asks for a number.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let Some(page) = usize::try_from(page)
        .ok()
        .filter(|page| page.is_power_of_two())
    else {
        return;
    };
    let skipped = start.align_offset(page).min(octets);
    let whole = (octets - skipped) & !(page - 1);
    if whole > 0 {
        // SAFETY: these pages are part of a chunk, which lives as long as `self` and holds atomics
        // that are valid when zero. That is what they turn to, or nothing happens to them: private
        // memory is dropped and filled with zeroes when it is touched, anything else keeps its
        // content. An error means that nothing was done.
        unsafe { libc::madvise(start.add(skipped).cast(), whole, libc::MADV_DONTNEED) };
    }
}

#[cfg(not(all(target_os = "linux", not(loom))))]
fn give_back_pages(_: *mut u8, _: usize) {}

impl<T> Drop for Segments<T> {
    fn drop(&mut self) {
        for (chunk, pointer) in self.chunks.iter().enumerate() {
            // Relaxed: `&mut self` means that every other thread is done and ordered before.
            let start = pointer.load(Ordering::Relaxed);
            if !start.is_null() {
                // SAFETY: made by `zeroed_chunk` in `grow`, and nobody borrows from `self` any more.
                unsafe { drop_chunk(start, chunk) };
            }
        }
    }
}

/// # Safety
/// `start` comes from `zeroed_chunk(chunk_length(chunk))`, and nobody else refers to it.
unsafe fn drop_chunk<T>(start: *mut T, chunk: usize) {
    // SAFETY: the caller's contract gives back the box that `zeroed_chunk` made.
    drop(unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(start, chunk_length(chunk))) });
}

#[cfg(not(loom))]
fn zeroed_chunk<T: Zeroed>(length: usize) -> Box<[T]> {
    // SAFETY: `T: Zeroed` says that zeroes are a valid `T`.
    unsafe { Box::new_zeroed_slice(length).assume_init() }
}

#[cfg(loom)]
fn zeroed_chunk<T: Zeroed>(length: usize) -> Box<[T]> {
    (0..length).map(|_| T::default()).collect()
}

fn chunk_length(chunk: usize) -> usize {
    1 << (FIRST_CHUNK_BITS as usize + chunk)
}

/// The chunk of an index and the place in it.
#[inline]
fn locate(index: u32) -> (usize, usize) {
    let group = (index >> FIRST_CHUNK_BITS) + 1;
    let chunk = 31 - group.leading_zeros();
    let start = ((1u32 << chunk) - 1) << FIRST_CHUNK_BITS;
    (chunk as usize, (index - start) as usize)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_index_has_one_place() {
        let mut expected = (0, 0);
        for index in 0..100_000 {
            assert_eq!(locate(index), expected);
            expected.1 += 1;
            if expected.1 == chunk_length(expected.0) {
                expected = (expected.0 + 1, 0);
            }
        }
        let (chunk, offset) = locate(u32::MAX);
        assert!(chunk < CHUNKS && offset < chunk_length(chunk));
    }

    #[test]
    fn elements_start_at_zero_and_stay_put() {
        let segments = Segments::<AtomicU64>::new();
        assert!(segments.get(5).is_none());
        let first = segments.grow(5) as *const AtomicU64;
        segments.grow(5).store(7, Ordering::Relaxed);
        assert_eq!(segments.grow(70_000).load(Ordering::Relaxed), 0);
        assert_eq!(segments.get(5).unwrap() as *const AtomicU64, first);
        assert_eq!(segments.get(5).unwrap().load(Ordering::Relaxed), 7);
    }

    #[test]
    fn what_is_given_back_takes_no_neighbor_along() {
        let segments = Segments::<AtomicU64>::new();
        for index in 0..50_000 {
            segments.grow(index).store(1, Ordering::Relaxed);
        }
        // Across the end of a chunk, and less than a page.
        for range in [5000..20_000, 30_000..30_010, 49_999..50_000] {
            segments.give_back(range.clone());
            for index in range {
                let element = segments.get(index).unwrap();
                assert!(element.load(Ordering::Relaxed) <= 1);
                element.store(1, Ordering::Relaxed);
            }
            let elements = (0..50_000).filter_map(|index| segments.get(index));
            let sum: u64 = elements
                .map(|element| element.load(Ordering::Relaxed))
                .sum();
            assert_eq!(sum, 50_000);
        }
    }

    #[test]
    fn a_race_for_a_chunk_has_one_winner() {
        let segments = Segments::<AtomicU64>::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for index in 0..2000 {
                        segments.grow(index).fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        for index in 0..2000 {
            assert_eq!(segments.get(index).unwrap().load(Ordering::Relaxed), 4);
        }
    }
}
