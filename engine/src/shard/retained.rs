//! Routes that outlive the session of the peer that said them: the helper's side of graceful restart
//! (RFC 4724 §4.2, RFC 8538 §4).
//!
//! A peer that is held to restart loses its connection and not its routes: they stay in the table
//! under their source, marked stale, used as before, until the peer is back and has said them again
//! (`stale`), or does not come back, or comes back as somebody who does not know of them.
//!
//! Invariants: a peer has an [`Established`] or a [`Retained`] or neither, never both; what has
//! nobody who may bring it back is in the instance's queue of removals, with its source.

use std::sync::Arc;
use std::time::Duration;

use codec::{Family, FamilySet};
use rib::{IdSet, SourceId};

use super::Shard;
use super::instance::Instance;
use super::memory::Volume;
use super::peer::{Established, Peer, PeerId, source_info};
use super::stale::{Cause, Stale, StaleFamilies};
use crate::config::{Import, Neighbor};
use crate::session::{Graceful, Negotiated};
use crate::time::Time;

/// What a peer that is away has in the table.
pub(super) struct Retained {
    pub(super) source: SourceId,
    /// By the session that ended.
    pub(super) negotiated: Arc<Negotiated>,
    pub(super) adj_rib_in: [IdSet; Family::ALL.len()],
    pub(super) rejected: [IdSet; Family::ALL.len()],
    pub(super) stale: StaleFamilies,
    pub(super) volume: Volume,
    /// The peer is expected back by then.
    back_by: Time,
}

impl Retained {
    /// When something of it is due.
    pub(super) fn until(&self) -> Time {
        let stale = self.stale.iter().flatten().map(|stale| stale.until);
        stale.chain([self.back_by]).min().unwrap_or(self.back_by)
    }

    /// How many prefixes of a family came from the peer, and how many of them are used.
    pub(super) fn counts(&self, family: Family) -> (u64, u64) {
        let family = family.index();
        let received = self.adj_rib_in[family].len() as u64;
        (received, received - self.rejected[family].len() as u64)
    }

    fn is_empty(&self) -> bool {
        self.adj_rib_in.iter().all(IdSet::is_empty)
    }

    /// The paths of a family must go.
    fn give_up(&mut self, instance: &mut Instance, family: Family) {
        let ids = std::mem::take(&mut self.adj_rib_in[family.index()]);
        self.rejected[family.index()] = IdSet::default();
        self.stale[family.index()] = None;
        instance.remove_paths(self.source, family, ids);
    }
}

/// The families of which a session's routes stay when it ends.
fn kept(neighbor: &Neighbor, graceful: &Graceful) -> FamilySet {
    match (&neighbor.import, graceful.restart_time) {
        (Import::None, _) | (_, Duration::ZERO) => FamilySet::NONE,
        (Import::All | Import::Policy(_), _) => graceful.families,
    }
}

impl Shard {
    /// A session ended that its peer's routes outlive. `established` is what it had.
    ///
    // RFC-DONE 4724 §4.2: the routes of a peer that restarts stay, marked stale.
    pub(super) fn retain(&mut self, now: Time, id: PeerId, established: Established) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let Some(instance) = self.instances.get_mut(&peer.instance) else {
            return;
        };
        let negotiated = Arc::clone(&established.negotiated);
        let graceful = negotiated.graceful.clone().unwrap_or_default();
        let kept = kept(&peer.neighbor, &graceful);
        let mut retained = Retained {
            source: established.source,
            negotiated,
            adj_rib_in: established.adj_rib_in,
            rejected: established.rejected,
            stale: established.stale,
            volume: established.volume,
            back_by: now + graceful.restart_time,
        };
        let until = now + peer.neighbor.graceful_restart.stale_time;
        for family in Family::ALL {
            if kept.contains(family) {
                retained.mark(instance, family, until, graceful.notification);
            } else {
                retained.give_up(instance, family);
            }
        }
        if retained.is_empty() {
            instance.forget(retained.source);
            return;
        }
        tracing::info!(
            peer = %peer.neighbor.address,
            routes = retained.adj_rib_in.iter().map(IdSet::len).sum::<usize>(),
            seconds = graceful.restart_time.as_secs(),
            "the peer is held to restart: its routes stay meanwhile"
        );
        peer.retained = Some(Box::new(retained));
        self.peers.arm(id);
    }

    /// A peer is back: what it had is its own again, as far as it says that it still forwards by it.
    pub(super) fn take_back(&mut self, id: PeerId, established: &mut Established) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let Some(instance) = self.instances.get_mut(&peer.instance) else {
            return;
        };
        let Some(mut retained) = peer.retained.take() else {
            return;
        };
        let negotiated = &established.negotiated;
        if !instance.is_still(&retained, &peer.neighbor, negotiated) {
            // Somebody else has its address.
            return instance.remove_all(*retained);
        }
        // RFC-DONE 4724 §4.2: what the peer does not forward any more, or does not name, goes at once.
        for family in Family::ALL {
            let stands = negotiated.graceful.as_ref().is_some_and(|graceful| {
                negotiated.families.contains(family)
                    && graceful.families.contains(family)
                    && graceful.forwarding.contains(family)
            });
            if !stands {
                retained.give_up(instance, family);
            }
        }
        instance.writer.remove_source(established.source);
        established.source = retained.source;
        established.adj_rib_in = retained.adj_rib_in;
        established.rejected = retained.rejected;
        established.stale = retained.stale;
        established.volume = retained.volume;
    }

    /// Nobody will bring the peer's routes back: they go.
    pub(super) fn give_up(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let retained = peer.retained.take();
        if let (Some(retained), Some(instance)) = (retained, self.instances.get_mut(&peer.instance))
        {
            instance.remove_all(*retained);
        }
        self.peers.arm(id);
        self.forget_if_gone(id);
    }

    /// The peer did not come back in time.
    ///
    // RFC-DONE 4724 §4.2: past the peer's restart time, or our own bound, stale routes go.
    pub(super) fn end_absence(&mut self, now: Time, id: PeerId) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let due = peer
            .retained
            .as_ref()
            .is_some_and(|kept| kept.until() <= now);
        if due {
            tracing::warn!(
                peer = %peer.neighbor.address,
                "the peer did not come back in time: its routes are removed"
            );
            self.give_up(id);
        }
    }
}

impl Retained {
    /// Marks the paths of a family stale, until a time.
    ///
    // RFC-DONE 4724 §4.2: what was stale before goes, so that no restart after restart keeps it.
    // RFC-DONE 8538 §4: where both keep routes over a NOTIFICATION it stays, as long as it had.
    fn mark(&mut self, instance: &mut Instance, family: Family, until: Time, keeps: bool) {
        let mut until = until;
        match self.stale[family.index()].take() {
            Some(stale) if stale.cause == Cause::Restart && !keeps => {
                for id in stale.ids.iter() {
                    self.adj_rib_in[family.index()].remove(id);
                    self.rejected[family.index()].remove(id);
                }
                instance.remove_paths(self.source, family, stale.ids);
            }
            Some(stale) if stale.cause == Cause::Restart => until = until.min(stale.until),
            Some(_) | None => {}
        }
        let ids = self.adj_rib_in[family.index()].clone();
        if ids.is_empty() {
            return;
        }
        instance.mark_stale(self.source, family, ids.clone());
        self.stale[family.index()] = Some(Stale {
            ids,
            cause: Cause::Restart,
            until,
        });
    }
}

impl Instance {
    /// Whether the peer that negotiated this is the one whose routes were kept, to selection too.
    fn is_still(&self, retained: &Retained, neighbor: &Neighbor, negotiated: &Negotiated) -> bool {
        let rib = self.writer.rib();
        let known = *rib.source(retained.source, &rib.guard());
        known.selects_like(&source_info(neighbor, negotiated))
    }

    /// All that a peer that is away has in the table must go.
    fn remove_all(&mut self, retained: Retained) {
        self.tear_down(retained.source, retained.adj_rib_in, true);
    }

    fn remove_paths(&mut self, source: SourceId, family: Family, ids: IdSet) {
        if ids.is_empty() {
            return;
        }
        let mut all: [IdSet; Family::ALL.len()] = Default::default();
        all[family.index()] = ids;
        self.tear_down(source, all, false);
    }

    /// The source goes once what is queued of it is done.
    fn forget(&mut self, source: SourceId) {
        self.tear_down(source, Default::default(), true);
    }
}

impl Peer {
    /// Of whom the paths are that the peer has in the table, up or away.
    pub(super) fn source(&self) -> Option<SourceId> {
        let up = self.established.as_ref().map(|up| up.source);
        up.or_else(|| self.retained.as_ref().map(|kept| kept.source))
    }
}
