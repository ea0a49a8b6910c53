//! Proof that the current thread is pinned in the collector of the table at hand.
//!
//! Invariant: a [`Pinned`] is made only from a guard of the very collector through which the
//! table's writers retire memory. All that the unsafe modules hand out for `'g` rests on it.

use crossbeam_epoch::{Collector, Guard};

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
