//! When a file of a directory was last written, renamed or removed, so that the demo can say how
//! long a change took to reach the router.

use std::path::Path;

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::watch;

use crate::time::{Clock, Time};

/// Tells when something under a directory changed last.
pub(crate) struct Changes {
    last: watch::Receiver<Option<Time>>,
    _watcher: RecommendedWatcher,
}

impl Changes {
    /// Watches `directory` from now on.
    ///
    /// # Errors
    /// If the kernel refuses another watch.
    pub(crate) fn watch(directory: &Path, clock: Clock) -> notify::Result<Changes> {
        let (sender, last) = watch::channel(None);
        let mut watcher =
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                if event.is_ok_and(|event| ends_a_change(&event.kind)) {
                    sender.send_replace(Some(clock.now()));
                }
            })?;
        watcher.watch(directory, RecursiveMode::Recursive)?;
        Ok(Changes {
            last,
            _watcher: watcher,
        })
    }

    /// When the last change was; none: there was none yet.
    pub(crate) fn last(&self) -> Option<Time> {
        *self.last.borrow()
    }

    /// Waits for the next change.
    pub(crate) async fn changed(&mut self) {
        if self.last.changed().await.is_err() {
            // The watcher is gone: no change will ever be seen.
            std::future::pending::<()>().await;
        }
    }
}

/// Whether a file is complete after this event, as the daemon sees it too: a file that is still
/// being written is no change.
fn ends_a_change(kind: &EventKind) -> bool {
    matches!(
        kind,
        EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(_))
            | EventKind::Remove(_)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_file_is_a_change() {
        let directory = tempfile::tempdir().unwrap();
        let clock = Clock::system();
        let mut changes = Changes::watch(directory.path(), clock).unwrap();
        assert_eq!(changes.last(), None);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let before = clock.now();
        std::fs::write(directory.path().join("a.yaml"), "a: 1").unwrap();
        runtime.block_on(changes.changed());
        assert!(changes.last().unwrap() >= before);
    }
}
