//! Proof that the current thread is pinned in the collector of the table at hand, and knowledge
//! that all who were pinned at some moment no longer are.
//!
//! Invariant: a [`Pinned`] is made only from a guard of the very collector through which the
//! table's writers retire memory. All that the unsafe modules hand out for `'g` rests on it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
// Not the model checker's: the collector, which raises it, is not modelled.
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_epoch::{Collector, Guard, LocalHandle};

/// A guard that was checked against the table's collector.
#[derive(Clone, Copy)]
pub(crate) struct Pinned<'g>(&'g Guard);

impl<'g> Pinned<'g> {
    /// Panics if the guard belongs to another collector: it would protect nothing here.
    pub(crate) fn new(guard: &'g Guard, collector: &Collector) -> Pinned<'g> {
        assert!(
            guard.collector() == Some(collector),
            "the guard was pinned for another routing table"
        );
        Pinned(guard)
    }

    pub(crate) fn guard(self) -> &'g Guard {
        self.0
    }
}

/// Is over once every guard of the moment at which it began is gone.
pub(crate) struct Grace(Arc<AtomicBool>);

impl Grace {
    pub(crate) fn begin(guard: &Guard) -> Grace {
        let over = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&over);
        // Release: pairs with the acquire in `is_over`; what others read before it is read.
        guard.defer(move || flag.store(true, Ordering::Release));
        Grace(over)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Collectors, beside the process-wide one, that a thread stays registered with.
const MAX_HANDLES: usize = 4;

thread_local! {
    static HANDLES: RefCell<VecDeque<LocalHandle>> = const { RefCell::new(VecDeque::new()) };
}

/// Pins the current thread in a collector that is not the process-wide one.
pub(crate) fn pin(collector: &Collector) -> Guard {
    HANDLES.with_borrow_mut(|handles| {
        if let Some(handle) = handles
            .iter()
            .find(|handle| handle.collector() == collector)
        {
            return handle.pin();
        }
        // A guard outlives its handle, so the oldest can go whatever it is used for.
        handles.truncate(MAX_HANDLES - 1);
        let handle = collector.register();
        let guard = handle.pin();
        handles.push_front(handle);
        guard
    })
}
