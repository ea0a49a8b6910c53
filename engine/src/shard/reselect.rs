//! Best paths chosen anew after the settings say otherwise how: each shard walks the table, in bounded
//! quanta, and marks what comes out otherwise. No session hears of it but by what differs, and no peer is
//! asked for anything.
//!
//! Invariants: a walk begins after the table's selection was changed, which is not the shards' to do
//! (`daemon::dispatcher`); a change during a walk begins it again. Every shard walks the whole table:
//! only behind its own walk nothing is left that it chose by what was said before.

use codec::Family;
use rib::PrefixId;

use super::instance::Instance;

/// Ids in a row of which one of the shards marks what stands behind the best.
const SHARE: u32 = 1024;

/// Ids that are looked at in one turn.
const QUANTUM: usize = 4096;

/// Which ids are yet to be looked at.
pub(super) struct Reselection {
    families: std::slice::Iter<'static, Family>,
    family: Option<Family>,
    next: u32,
}

impl Reselection {
    fn begin() -> Reselection {
        let mut families = Family::ALL.iter();
        let family = families.next().copied();
        Reselection {
            families,
            family,
            next: 0,
        }
    }
}

impl Instance {
    /// The table's selection is another one.
    pub(super) fn begin_reselecting(&mut self) {
        #[cfg(test)]
        if self.fault == Some(crate::group::Fault::StaleSelection) {
            return;
        }
        self.reselection = Some(Reselection::begin());
    }

    /// One bounded piece of it. Whether there is more.
    pub(super) fn reselect_some(&mut self) -> bool {
        let Some(mut walk) = self.reselection.take() else {
            return false;
        };
        let rib = self.writer.rib();
        let (shards, own) = (u32::from(rib.shards()), self.writer.shard().index() as u32);
        let is_own = |id: PrefixId| id.0 / SHARE % shards == own;
        let mut left = QUANTUM;
        while left > 0
            && let Some(family) = walk.family
        {
            // Ids that come meanwhile are chosen from as is said now.
            let limit = self.writer.rib().id_limit(family);
            if walk.next >= limit {
                walk.family = walk.families.next().copied();
                walk.next = 0;
                continue;
            }
            let end = limit.min(walk.next.saturating_add(left as u32));
            let ids = (walk.next..end).map(PrefixId);
            self.writer.reselect(family, ids, is_own);
            left -= (end - walk.next) as usize;
            walk.next = end;
        }
        if walk.family.is_none() {
            return false;
        }
        self.reselection = Some(walk);
        true
    }
}

#[cfg(test)]
mod tests;
