//! Changes that several shards carry out together, each its share.
//!
//! A reader that tells others what it sees would send the first share by itself, and then the
//! next: twice the messages. So whoever deals a change out holds it open for each shard until that
//! shard has published its share. Only a hint about when to send: nothing waits for it.

use std::sync::Arc;

use crate::ids::ShardId;
use crate::rib::Rib;
use crate::sync::Ordering;

/// A shard's share of a change that is not published yet. Drop it once it is.
pub struct OpenChange {
    rib: Arc<Rib>,
    shard: ShardId,
}

impl Rib {
    /// Notes that a share of a change is on its way to a shard.
    pub fn open_change(self: &Arc<Self>, shard: ShardId) -> OpenChange {
        self.open_changes[shard.index()].fetch_add(1, Ordering::Relaxed);
        OpenChange {
            rib: Arc::clone(self),
            shard,
        }
    }

    /// Whether a shard other than `shard` has a share of a change to publish. If not, the marks of
    /// all shares that there were can be seen.
    pub fn is_changing_beside(&self, shard: ShardId) -> bool {
        // Pairs with the release in `drop`: the marks were set before it.
        let open = |count: &crate::sync::AtomicU32| count.load(Ordering::Acquire) > 0;
        let mut shards = self.open_changes.iter().enumerate();
        shards.any(|(index, count)| index != shard.index() && open(count))
    }
}

impl Drop for OpenChange {
    fn drop(&mut self) {
        self.rib.open_changes[self.shard.index()].fetch_sub(1, Ordering::Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use crate::{Rib, RibOptions, Selection, ShardId};

    #[test]
    fn a_change_is_open_for_the_others_until_its_share_is_dropped() {
        let rib = Rib::new(RibOptions {
            shards: 2,
            selection: Selection::default(),
        });
        let share = rib.open_change(ShardId(1));
        assert!(rib.is_changing_beside(ShardId(0)));
        assert!(!rib.is_changing_beside(ShardId(1)));
        drop(share);
        assert!(!rib.is_changing_beside(ShardId(0)));
    }
}
