//! Places for one immutable value, replaced whole and freed by epoch: [`EpochCell`] for a value of
//! one type, [`BlobCell`] for a head and a number of octets in one allocation.
//!
//! Invariants: the pointer is null, or came from `Box::into_raw` or [`Blob::allocate`]; whoever
//! swaps it out retires it, so it is retired once; a reader's borrow ends with its guard, and no
//! value is freed while a guard from before its retirement is held.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::ptr;
use std::slice;

use crate::epoch::Pinned;
use crate::segments::Zeroed;
use crate::sync::{AtomicPtr, Ordering};

pub(crate) struct EpochCell<T> {
    pointer: AtomicPtr<T>,
    owns: PhantomData<T>,
}

impl<T> Default for EpochCell<T> {
    fn default() -> EpochCell<T> {
        EpochCell {
            pointer: AtomicPtr::new(ptr::null_mut()),
            owns: PhantomData,
        }
    }
}

// SAFETY: one atomic pointer, null by default, and null is all zeroes.
unsafe impl<T> Zeroed for EpochCell<T> {}

impl<T: Send + Sync + 'static> EpochCell<T> {
    pub(crate) fn load<'g>(&self, _: Pinned<'g>) -> Option<&'g T> {
        // Pairs with the release in `store`: the value is seen whole.
        let pointer = self.pointer.load(Ordering::Acquire);
        // SAFETY: not null, so it came from `Box::into_raw` in `store`, and `store` frees it only
        // after every guard held at its retirement is gone; this thread's guard lasts for `'g`.
        (!pointer.is_null()).then(|| unsafe { &*pointer })
    }

    /// Puts `value` in place; what was there is dropped once no reader can hold it.
    pub(crate) fn store(&self, value: Box<T>, pinned: Pinned<'_>) {
        let fresh = Box::into_raw(value);
        // Release publishes the value to `load`; acquire because this thread may drop the old one.
        let old = self.pointer.swap(fresh, Ordering::AcqRel);
        if !old.is_null() {
            // SAFETY: the swap made this call the only one that retires `old`, new readers no
            // longer find it, and `T` is `Send`, so any thread may drop it.
            unsafe {
                pinned.guard().defer_unchecked(move || {
                    drop(Box::from_raw(old));
                });
            }
        }
    }
}

impl<T> Drop for EpochCell<T> {
    fn drop(&mut self) {
        let pointer = self.pointer.load(Ordering::Relaxed);
        if !pointer.is_null() {
            // SAFETY: `&mut self`: no reader borrows from the cell, and it was not retired, since
            // it is still in place.
            drop(unsafe { Box::from_raw(pointer) });
        }
    }
}

/// A cell for a head and octets behind it.
pub(crate) struct BlobCell<H> {
    blob: AtomicPtr<Blob<H>>,
    owns: PhantomData<H>,
}

/// What an allocation begins with; `length` octets follow.
#[repr(C)]
struct Blob<H> {
    length: u32,
    head: H,
}

impl<H> Default for BlobCell<H> {
    fn default() -> BlobCell<H> {
        BlobCell {
            blob: AtomicPtr::new(ptr::null_mut()),
            owns: PhantomData,
        }
    }
}

// SAFETY: one atomic pointer, null by default, and null is all zeroes.
unsafe impl<H> Zeroed for BlobCell<H> {}

impl<H: Copy + Send + Sync + 'static> BlobCell<H> {
    pub(crate) fn load<'g>(&self, _: Pinned<'g>) -> Option<(&'g H, &'g [u8])> {
        // Pairs with the release in `swap`: the blob is seen whole.
        let blob = self.blob.load(Ordering::Acquire);
        if blob.is_null() {
            return None;
        }
        // SAFETY: not null, so made by `Blob::allocate`, which wrote the head and as many octets as
        // it says; and `swap` frees it only after every guard held at its retirement is gone; this
        // thread's guard lasts for `'g`.
        unsafe {
            let octets = blob.add(1).cast::<u8>();
            let length = (*blob).length as usize;
            Some((&(*blob).head, slice::from_raw_parts(octets, length)))
        }
    }

    /// Puts a head and octets in place; what was there is freed once no reader can hold it. Panics
    /// for more octets than `u32` counts.
    pub(crate) fn store(&self, head: H, octets: &[u8], pinned: Pinned<'_>) {
        self.swap(Blob::allocate(head, octets), pinned);
    }

    /// Empties the cell; what was there is freed once no reader can hold it.
    pub(crate) fn clear(&self, pinned: Pinned<'_>) {
        self.swap(ptr::null_mut(), pinned);
    }

    fn swap(&self, fresh: *mut Blob<H>, pinned: Pinned<'_>) {
        // Release publishes the blob to `load`; acquire because this thread may free the old one.
        let old = self.blob.swap(fresh, Ordering::AcqRel);
        if !old.is_null() {
            // SAFETY: the swap made this call the only one that retires `old`, new readers no
            // longer find it, and `H` is `Send` and `Copy`, so any thread may forget it.
            unsafe {
                pinned.guard().defer_unchecked(move || {
                    Blob::free(old);
                });
            }
        }
    }

    /// Octets outside a cell that holds this many.
    pub(crate) fn octets(length: usize) -> usize {
        size_of::<Blob<H>>() + length
    }
}

impl<H> Drop for BlobCell<H> {
    fn drop(&mut self) {
        let blob = self.blob.load(Ordering::Relaxed);
        if !blob.is_null() {
            // SAFETY: `&mut self`: no reader borrows from the cell, and it was not retired, since
            // it is still in place.
            unsafe { Blob::free(blob) };
        }
    }
}

impl<H> Blob<H> {
    fn allocate(head: H, octets: &[u8]) -> *mut Blob<H> {
        let length = u32::try_from(octets.len()).expect("an attribute set fits a message");
        let layout = Blob::<H>::layout(length);
        // SAFETY: the layout begins with a `Blob`, so it is not of zero size.
        let blob = unsafe { alloc(layout) }.cast::<Blob<H>>();
        if blob.is_null() {
            handle_alloc_error(layout);
        }
        // SAFETY: just allocated with room for the head and, right behind it, `length` octets, and
        // aligned for the head; all of it is written.
        unsafe {
            blob.write(Blob { length, head });
            ptr::copy_nonoverlapping(octets.as_ptr(), blob.add(1).cast::<u8>(), octets.len());
        }
        blob
    }

    fn layout(length: u32) -> Layout {
        let octets = size_of::<Blob<H>>() + length as usize;
        Layout::from_size_align(octets, align_of::<Blob<H>>()).expect("4 GiB fit an address space")
    }

    /// # Safety
    /// `blob` was made by `allocate`, and nobody refers to it any more. The head needs no drop.
    unsafe fn free(blob: *mut Blob<H>) {
        // SAFETY: blobs are never written to, so the layout is the one that `allocate` used.
        unsafe { dealloc(blob.cast(), Blob::<H>::layout((*blob).length)) };
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crossbeam_epoch::Collector;

    #[test]
    fn a_blob_is_read_as_it_was_stored() {
        let collector = Collector::new();
        let guard = collector.register().pin();
        let pinned = Pinned::new(&guard, &collector);
        let cell = BlobCell::<(u32, u16)>::default();
        assert!(cell.load(pinned).is_none());
        let long = vec![7; 70_000];
        for (head, octets) in [((1, 2), &b"octets"[..]), ((3, 4), b""), ((5, 6), &long)] {
            cell.store(head, octets, pinned);
            assert_eq!(cell.load(pinned), Some((&head, octets)));
        }
        cell.clear(pinned);
        assert!(cell.load(pinned).is_none());
    }
}
