//! Routes that a peer has yet to say again, or lose.
//!
//! A peer that begins to refresh a family (RFC 7313) or has restarted (RFC 4724, see `retained`) says
//! all of it anew. What it had said is marked stale: used like any other, but gone once the peer says
//! that it is done, or takes too long. A path that comes again is not stale.
//!
//! Invariants: `ids` of a [`Stale`] name prefixes that have a path of the peer, and so does
//! `unrepeated`, until the sweep has taken what was not said again; marks are set and
//! stale paths removed in quanta, in the order in which they were asked for (`instance`), so that a
//! sweep finds every path marked that was not said again. What an operation costs is what the peer
//! had, and nothing waits for it.

use std::time::Duration;

use codec::Family;
use rib::{IdSet, PrefixId, SourceId};

use super::Shard;
use super::peer::{Established, Peer, PeerId};
use crate::config::Import;
use crate::time::Time;

/// How long a refresh may take (RFC 7313 §4).
const REFRESH_TIME: Duration = Duration::from_secs(360);

/// What ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The peer refreshes: EoRR.
    Refresh,
    /// The peer restarted: End-of-RIB.
    Restart,
}

/// What of a family a peer has yet to say again.
pub(super) struct Stale {
    pub(super) ids: IdSet,
    pub(super) cause: Cause,
    /// What is not said again by then is removed.
    pub(super) until: Time,
    /// Since it became long-lived (RFC 9494): the end of that, whatever happens meanwhile.
    pub(super) long_lived_until: Option<Time>,
}

/// By family.
pub(super) type StaleFamilies = [Option<Stale>; Family::ALL.len()];

/// A prefix of which the last path of a source was swept, or the last that is not rejected.
pub(super) struct Swept {
    pub(super) peer: PeerId,
    pub(super) source: SourceId,
    pub(super) family: Family,
    pub(super) id: PrefixId,
    /// The source has no path to it any more.
    pub(super) last: bool,
}

impl Peer {
    pub(super) fn has_stale_routes(&self) -> bool {
        let up = self.established.as_ref();
        self.retained.is_some() || up.is_some_and(|up| up.stale_until().is_some())
    }

    /// When its session or what it has yet to say is due.
    pub(super) fn next_timeout(&self) -> Option<Time> {
        let session = self.session.poll_timeout();
        let stale = self.established.as_ref().and_then(|up| up.stale_until());
        let away = self.retained.as_ref().map(|kept| kept.until());
        let draining = self.draining.map(|draining| draining.next_timeout());
        let held = self.held.and_then(|held| held.until);
        let timers = session.into_iter().chain(stale).chain(away);
        let timers = timers.chain(draining).chain(held);
        timers.chain(self.awaited).min()
    }
}

impl Established {
    fn stale_until(&self) -> Option<Time> {
        let stale = self.stale.iter().flatten();
        stale.map(|stale| stale.until).min()
    }

    /// A prefix was said again, or has no path of the peer any more.
    pub(super) fn is_said(&mut self, family: Family, id: PrefixId) {
        if let Some(stale) = &mut self.stale[family.index()] {
            stale.ids.remove(id);
        }
        self.is_said_in_part(family, id);
    }

    /// A path to a prefix was said; of others (RFC 7911) that may have to come yet.
    pub(super) fn is_said_in_part(&mut self, family: Family, id: PrefixId) {
        let unrepeated = &mut self.unrepeated[family.index()];
        if !unrepeated.is_empty() {
            unrepeated.remove(id);
        }
    }
}

impl Shard {
    // RFC-DONE 7313 §4: at BoRR what the peer had said of the family is marked stale.
    /// The peer begins to refresh a family.
    pub(super) fn begin_refresh(&mut self, now: Time, id: PeerId, family: Family) {
        self.settle_arrivals(id);
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let (Some(established), Some(instance)) = (
            &mut peer.established,
            self.instances.get_mut(&peer.instance),
        ) else {
            return;
        };
        // RFC-DONE 7313 §4: of a peer that knows graceful restart, BoRR before End-of-RIB is ignored.
        let is_new = !established.ended.contains(family);
        if is_new && established.negotiated.graceful.is_some() {
            return;
        }
        if peer.neighbor.import == Import::None {
            // Nothing is kept: what is counted is counted anew.
            established.counted[family.index()].clear();
            return;
        }
        let ids = established.adj_rib_in[family.index()].clone();
        tracing::debug!(
            peer = %peer.neighbor.address,
            %family,
            routes = ids.len(),
            "the peer begins to refresh its routes"
        );
        established.unrepeated[family.index()] = ids.clone();
        instance.mark_stale(established.source, family, ids.clone());
        established.stale[family.index()] = Some(Stale {
            ids,
            cause: Cause::Refresh,
            long_lived_until: None,
            until: now + REFRESH_TIME,
        });
        self.peers.arm(id);
    }

    // RFC-DONE 7313 §4: at EoRR what is stale still is removed.
    // RFC-DONE 4724 §4.2: at End-of-RIB what a peer that restarted did not say again is removed, once.
    /// The peer has said a family anew.
    pub(super) fn end_stale(&mut self, id: PeerId, family: Family, cause: Cause) {
        self.settle_arrivals(id);
        let Some(established) = self.peers.get_mut(id).and_then(|p| p.established.as_mut()) else {
            return;
        };
        let stale = &mut established.stale[family.index()];
        if let Some(stale) = stale.take_if(|stale| stale.cause == cause) {
            tracing::debug!(
                ?cause,
                %family,
                missing = stale.ids.len(),
                "a peer has said its routes again"
            );
            self.sweep(id, family, stale.ids);
            self.peers.arm(id);
        }
    }

    // RFC-DONE 7313 §4: a refresh that does not end within 360 s is held to have ended.
    /// Removes what was not said again in time.
    pub(super) fn end_overdue(&mut self, now: Time, id: PeerId) {
        for family in Family::ALL {
            let Some(peer) = self.peers.get_mut(id) else {
                return;
            };
            let Some(established) = &mut peer.established else {
                return;
            };
            let stale = &mut established.stale[family.index()];
            if let Some(stale) = stale.take_if(|stale| stale.until <= now) {
                tracing::warn!(
                    peer = %peer.neighbor.address,
                    %family,
                    routes = stale.ids.len(),
                    cause = ?stale.cause,
                    "the peer did not say all its routes again in time: what is missing is removed"
                );
                self.sweep(id, family, stale.ids);
            }
        }
    }

    fn sweep(&mut self, id: PeerId, family: Family, ids: IdSet) {
        let Some(peer) = self.peers.get(id) else {
            return;
        };
        if let (Some(established), Some(instance)) =
            (&peer.established, self.instances.get_mut(&peer.instance))
        {
            instance.sweep(id, established.source, family, ids);
        }
    }

    /// Notes what was swept in this turn with the peers whose it was. True: there is more to be done.
    pub(super) fn note_swept(&mut self) -> bool {
        let mut emptied = Vec::new();
        for instance in self.instances.values_mut() {
            for swept in instance.swept.drain(..) {
                let peer = self.peers.get_mut(swept.peer);
                let Some(peer) = peer.filter(|peer| {
                    peer.learned()
                        .is_some_and(|learned| learned.source == swept.source)
                }) else {
                    continue;
                };
                match swept.last {
                    true => peer.forget(swept.family, swept.id),
                    false => peer.is_rejected(swept.family, swept.id),
                }
                let away = peer.retained.as_ref();
                if away.is_some_and(|away| away.is_empty()) {
                    emptied.push(swept.peer);
                }
            }
        }
        let more = !emptied.is_empty();
        for id in emptied {
            self.give_up(id);
        }
        more
    }
}

#[cfg(test)]
pub(super) mod tests;
