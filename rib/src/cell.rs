//! A place for one immutable value, replaced whole and freed by epoch.
//!
//! Invariants: the pointer is null or came from `Box::into_raw`; whoever swaps it out retires it,
//! so it is retired once; a reader's borrow ends with its guard, and no value is freed while a
//! guard from before its retirement is held.

use std::marker::PhantomData;
use std::ptr;

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
    pub(crate) fn store(&self, value: Option<Box<T>>, pinned: Pinned<'_>) {
        let fresh = value.map_or(ptr::null_mut(), Box::into_raw);
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
