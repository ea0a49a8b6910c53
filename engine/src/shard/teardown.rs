//! What is still to be done to the paths that a source has: they go with its session, become stale, are
//! swept, or become long-lived (`retained`, `stale`, `long_lived`).
//!
//! Invariant: tasks are carried out in the order in which they were asked for, in bounded quanta; what is
//! still to be done to a prefix's paths is done before the source says it anew.

use std::sync::Arc;

use codec::{Family, IpPrefix};
use rib::{IdSet, Path, PathFlags, PrefixId, SourceId};

use super::instance::{Instance, QUANTUM};
use super::stale::Swept;
use crate::group::MemberId;

/// Something to be done to the paths that a source has to some prefixes.
pub(super) struct Teardown {
    source: SourceId,
    ids: [IdSet; Family::ALL.len()],
    task: Task,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Task {
    /// They must go.
    Remove {
        /// The source goes with its last path: its session is down.
        forget: bool,
    },
    /// They are stale.
    Mark,
    /// Those that are stale must go, and the peer's tables follow.
    Sweep(MemberId),
    /// That, and then those that are left are stale.
    Renew(MemberId),
    /// Those that are stale become long-lived ones, and the peer's tables follow.
    MakeLongLived(MemberId),
}

impl Instance {
    /// Queues the removal of a source's paths.
    pub(super) fn tear_down(
        &mut self,
        source: SourceId,
        ids: [IdSet; Family::ALL.len()],
        forget: bool,
    ) {
        let task = Task::Remove { forget };
        self.teardowns.push_back(Teardown { source, ids, task });
    }

    /// Queues marks on a source's paths to these prefixes: they are stale.
    pub(super) fn mark_stale(&mut self, source: SourceId, family: Family, ids: IdSet) {
        self.queue(source, family, ids, Task::Mark);
    }

    /// Queues the removal of a source's paths that are stale, among those to these prefixes.
    pub(super) fn sweep(&mut self, peer: MemberId, source: SourceId, family: Family, ids: IdSet) {
        #[cfg(test)]
        if self.fault == Some(crate::group::Fault::NoSweep) {
            return;
        }
        self.queue(source, family, ids, Task::Sweep(peer));
    }

    /// Queues the removal of a source's paths to these prefixes that are stale, and marks on the others:
    /// they are stale from then on.
    pub(super) fn renew_stale(
        &mut self,
        peer: MemberId,
        source: SourceId,
        family: Family,
        ids: IdSet,
    ) {
        self.queue(source, family, ids, Task::Renew(peer));
    }

    /// Queues that a source's stale paths to these prefixes become long-lived (RFC 9494).
    pub(super) fn queue_long_lived(
        &mut self,
        peer: MemberId,
        source: SourceId,
        family: Family,
        ids: IdSet,
    ) {
        self.queue(source, family, ids, Task::MakeLongLived(peer));
    }

    fn queue(&mut self, source: SourceId, family: Family, ids: IdSet, task: Task) {
        if ids.is_empty() {
            return;
        }
        let mut all: [IdSet; Family::ALL.len()] = Default::default();
        all[family.index()] = ids;
        self.teardowns.push_back(Teardown {
            source,
            ids: all,
            task,
        });
    }

    /// Whether paths of some source have yet to go.
    pub(super) fn is_tearing_down(&self) -> bool {
        !self.teardowns.is_empty()
    }

    /// One bounded piece of what is queued.
    pub(super) fn run_teardowns(&mut self) {
        let mut budget = QUANTUM;
        let mut ids = Vec::new();
        while budget > 0
            && let Some(mut teardown) = self.teardowns.pop_front()
        {
            for family in Family::ALL {
                teardown.ids[family.index()].take_first(budget, &mut ids);
                budget -= ids.len();
                self.run_task(teardown.task, teardown.source, family, &ids);
                ids.clear();
            }
            if teardown.ids.iter().any(|set| !set.is_empty()) {
                self.teardowns.push_front(teardown);
            } else if teardown.task == (Task::Remove { forget: true }) {
                self.writer.remove_source(teardown.source);
            }
        }
    }

    /// What is still to be done to the paths of a source is done before new ones to the same prefixes
    /// come: of several to one, those that do not come again must not stay as they were.
    pub(super) fn end_teardowns(&mut self, source: SourceId, coming: &[(IpPrefix, Path)]) {
        let meant = |teardown: &Teardown| {
            teardown.source == source && !matches!(teardown.task, Task::Sweep(_))
        };
        for place in 0..self.teardowns.len() {
            if !meant(&self.teardowns[place]) {
                continue;
            }
            let task = self.teardowns[place].task;
            let rib = Arc::clone(self.writer.rib());
            let guard = rib.guard();
            for (prefix, _) in coming {
                let ids = &mut self.teardowns[place].ids[prefix.family().index()];
                if let Some(id) = rib.lookup(*prefix, &guard)
                    && ids.remove(id)
                {
                    let (noted, gone) = (self.swept.len(), self.gone.len());
                    self.run_task(task, source, prefix.family(), &[id]);
                    // Whatever of it went: the prefix has a path again, which is noted as it comes.
                    self.swept.truncate(noted);
                    self.gone.truncate(gone);
                }
            }
        }
    }

    fn run_task(&mut self, task: Task, source: SourceId, family: Family, ids: &[PrefixId]) {
        let stale = PathFlags::STALE;
        match task {
            Task::Remove { .. } => {
                self.note_gone(source, family, ids);
                self.writer.withdraw_ids(family, ids, source, |_| {});
            }
            Task::Mark => self.writer.flag_ids(family, ids, source, stale),
            Task::MakeLongLived(peer) => {
                let mut gone = Vec::new();
                self.make_long_lived(family, ids, source, |id| gone.push(id));
                self.note_gone(source, family, &gone);
                self.swept.extend(gone.into_iter().map(|id| Swept {
                    peer,
                    source,
                    family,
                    id,
                    last: true,
                }));
            }
            Task::Sweep(peer) => self.sweep_some(peer, source, family, ids),
            Task::Renew(peer) => {
                self.sweep_some(peer, source, family, ids);
                self.writer.flag_ids(family, ids, source, stale);
            }
        }
    }

    fn sweep_some(&mut self, peer: MemberId, source: SourceId, family: Family, ids: &[PrefixId]) {
        let swept = &mut self.swept;
        let noted = swept.len();
        let meant = (source, PathFlags::STALE);
        self.writer.withdraw_flagged(family, ids, meant, |gone| {
            let matters = gone.last_of_source || !gone.usable_of_source;
            swept.extend(matters.then_some(Swept {
                peer,
                source,
                family,
                id: gone.id,
                last: gone.last_of_source,
            }));
        });
        if self.watched {
            let last = self.swept[noted..].iter().filter(|swept| swept.last);
            let gone: Vec<PrefixId> = last.map(|swept| swept.id).collect();
            self.note_gone(source, family, &gone);
        }
    }

    /// The paths of a source to these prefixes go: while somebody watches that is noted. The ids are
    /// not given to others before the end of the turn.
    fn note_gone(&mut self, source: SourceId, family: Family, ids: &[PrefixId]) {
        if !self.watched {
            return;
        }
        let rib = self.writer.rib();
        if let Some(peer) = rib.source(source, &rib.guard()).address {
            let gone = ids.iter().map(|id| (peer, rib.prefix(family, *id)));
            self.gone.extend(gone);
        }
    }
}
