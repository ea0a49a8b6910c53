//! A stack of batches that many push and one takes whole.
//!
//! Invariants: a node belongs to its pusher until the compare-and-swap that publishes it, and to
//! the taker after the swap that takes it; nobody in between frees or reads behind it. So pushing
//! needs no epoch, and a head that comes back to an earlier address does no harm: the new node's
//! `next` is whatever the head was at that instant.

use std::marker::PhantomData;
use std::ptr;

use crate::sync::{AtomicPtr, Ordering};

pub(crate) struct Inbox<T> {
    head: AtomicPtr<Link<T>>,
    owns: PhantomData<T>,
}

struct Link<T> {
    value: T,
    next: *mut Link<T>,
}

impl<T: Send> Inbox<T> {
    pub(crate) fn new() -> Inbox<T> {
        Inbox {
            head: AtomicPtr::new(ptr::null_mut()),
            owns: PhantomData,
        }
    }

    /// Whether there is nothing to take at this moment.
    pub(crate) fn is_empty(&self) -> bool {
        self.head.load(Ordering::Acquire).is_null()
    }

    /// Adds `value`. Whether the inbox was empty: then its reader must be told.
    pub(crate) fn push(&self, value: T) -> bool {
        let link = Box::into_raw(Box::new(Link {
            value,
            next: ptr::null_mut(),
        }));
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            // SAFETY: not published yet, so this thread's alone.
            unsafe { (*link).next = head };
            // Release publishes the link and its value to the acquire in `take`. It also carries on
            // what earlier pushers released: a read-modify-write continues their sequence.
            match self
                .head
                .compare_exchange_weak(head, link, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => return head.is_null(),
                Err(now) => head = now,
            }
        }
    }

    /// Takes everything and hands it over, oldest first.
    pub(crate) fn take(&self, each: impl FnMut(T)) {
        // Relaxed look first: the usual answer is nothing, and a swap would claim the cache line.
        // (Not under the model checker, which would take the look for all there is to explore.)
        if !cfg!(loom) && self.head.load(Ordering::Relaxed).is_null() {
            return;
        }
        let mut head = self.head.swap(ptr::null_mut(), Ordering::Acquire);
        let mut values = Vec::new();
        while !head.is_null() {
            // SAFETY: made by `Box::into_raw` in `push`, published whole, and taken by this swap
            // alone.
            let link = unsafe { Box::from_raw(head) };
            head = link.next;
            values.push(link.value);
        }
        values.into_iter().rev().for_each(each);
    }
}

impl<T> Drop for Inbox<T> {
    fn drop(&mut self) {
        let mut head = self.head.load(Ordering::Relaxed);
        while !head.is_null() {
            // SAFETY: `&mut self`: what is still linked is nobody else's.
            let link = unsafe { Box::from_raw(head) };
            head = link.next;
        }
    }
}

// SAFETY: values go in by value on one thread and out by value on another; never shared.
unsafe impl<T: Send> Sync for Inbox<T> {}
// SAFETY: as above; the inbox owns what is linked.
unsafe impl<T: Send> Send for Inbox<T> {}
