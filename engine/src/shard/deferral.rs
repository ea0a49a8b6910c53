//! After a restart: nothing is told before what peers say has come (RFC 4724 §4.1).
//!
//! Route selection would go through the tables of all peers one by one, and an early End-of-RIB would
//! have peers forget what a later one brings. So groups tell nothing until each peer that is waited
//! for has said End-of-RIB, or its time is over. Own routes are in the table meanwhile, and peers hold
//! on to what they heard before the restart.
//!
//! Only whoever was asked to keep our routes holds on to any. So those are waited for from the start,
//! be they there or not, and without one of them nothing is deferred. Of the others only those are
//! waited for that are there before it is over: one that cannot be reached delays nobody.
//!
//! Whoever is waited for, it is from one moment on: when the first neighbors were dealt out. Peers that
//! come and go do not make it longer.
//!
//! It is one wait for all families: their routes come over the same sessions, at the same time.
//!
//! Meanwhile nobody is told anything, whoever kept nothing no more than the others: it is the selection of
//! routes that RFC 4724 §4.1 defers, and there is one for all. Before it a best path is the best of those
//! that happen to be back, and a peer with nothing to lose would be told one after the other.
//!
//! One for all shards of an engine. Invariant: once it is over it stays over; it is over when nobody
//! is waited for and the first neighbors have been dealt out.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use codec::{Family, FamilySet};

use super::Shard;
use super::command::Action;
use super::instance::Instance;
use super::peer::PeerId;
use crate::config::{Import, InstanceId, Keepers, Neighbor, Password};
use crate::session::OwnRestart;
use crate::time::Time;

/// Whether peers are told nothing yet.
///
/// Flags and a count, and no other memory is read because of them, but for the order in which they
/// are seen: whoever sees `over` does what it does anyway.
#[derive(Clone, Debug, Default)]
pub struct Deferral(Option<Arc<Waiting>>);

#[derive(Debug)]
struct Waiting {
    /// Peers that are waited for, and one until the first neighbors have been dealt out.
    peers: AtomicUsize,
    is_open: AtomicBool,
    over: AtomicBool,
    /// When the first neighbor that is waited for was dealt out.
    begun: OnceLock<Time>,
    /// Whom the process before asked to keep our routes; none: whoever is asked now.
    keepers: Option<Keepers>,
}

impl Deferral {
    /// Of a process that restarted, and whom the one before had asked to keep our routes: if that is not
    /// known, whoever is asked now. Without it ([`Deferral::default`]) nothing is deferred.
    pub fn after_restart(keepers: Option<Keepers>) -> Deferral {
        Deferral(Some(Arc::new(Waiting {
            peers: AtomicUsize::new(1),
            is_open: AtomicBool::new(true),
            over: AtomicBool::new(false),
            begun: OnceLock::new(),
            keepers,
        })))
    }

    /// The families of which a neighbor, known by its address or by a prefix, was asked to keep our
    /// routes before this process restarted, be the deferral over or not.
    fn kept(&self, instance: &str, place: &str) -> FamilySet {
        match &self.0 {
            None => FamilySet::NONE,
            Some(waiting) => match &waiting.keepers {
                Some(keepers) => keepers.families(instance, place),
                None => FamilySet::ALL,
            },
        }
    }

    /// Whether a neighbor is waited for, be it there or not: it may have kept our routes, and what it
    /// says is taken.
    pub fn awaits(&self, instance: &str, neighbor: &Neighbor) -> bool {
        neighbor.graceful_restart.enabled
            && neighbor.import != Import::None
            && !matches!(neighbor.password, Password::Missing(_))
            && !self
                .kept(instance, &neighbor.address.to_string())
                .is_empty()
    }

    /// Whether peers are told what there is.
    pub fn is_over(&self) -> bool {
        let over = |waiting: &Arc<Waiting>| waiting.over.load(Ordering::Acquire);
        self.0.as_ref().is_none_or(over)
    }

    /// So many neighbors are about to be dealt out that are waited for.
    pub fn expect(&self, peers: usize) {
        if let Some(waiting) = &self.0 {
            waiting.peers.fetch_add(peers, Ordering::AcqRel);
        }
    }

    /// Until when a neighbor is waited for at most.
    fn until(&self, now: Time, neighbor: &Neighbor) -> Time {
        let begun = self
            .0
            .as_ref()
            .map(|waiting| *waiting.begun.get_or_init(|| now));
        begun.unwrap_or(now) + neighbor.graceful_restart.selection_deferral
    }

    /// A peer is there that is waited for, unless it is over. True: it was counted.
    fn expect_one_more(&self) -> bool {
        let more = |peers| (peers > 0).then_some(peers + 1);
        self.0.as_ref().is_some_and(|waiting| {
            let peers = &waiting.peers;
            let counted = peers.fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
            counted.is_ok()
        })
    }

    /// The first neighbors have been counted. True: nobody is waited for, it is over.
    pub fn begin(&self) -> bool {
        match &self.0 {
            Some(waiting) if waiting.is_open.swap(false, Ordering::AcqRel) => self.release(),
            _ => false,
        }
    }

    /// A peer is waited for no longer. True: it was the last, it is over.
    pub fn release(&self) -> bool {
        let Some(waiting) = &self.0 else {
            return false;
        };
        let last = waiting.peers.fetch_sub(1, Ordering::AcqRel) == 1;
        if last {
            waiting.over.store(true, Ordering::Release);
        }
        last
    }
}

impl Shard {
    /// What the first session of a peer, known by its address or by a prefix, says of us.
    ///
    // RFC-DONE 4724 §4.1: R after a restart, once; F if what was told before it stands, which is known
    // only of a restart within one boot; both to those that were asked before it to keep our routes.
    pub(super) fn own_restart(&self, instance: InstanceId, place: &str) -> OwnRestart {
        let instance = self.instances.get(&instance);
        let kept = |instance: &Instance| self.deferral.kept(instance.name(), place);
        let forwarding = instance.map_or(FamilySet::NONE, kept);
        OwnRestart {
            restarting: !forwarding.is_empty(),
            forwarding,
        }
    }

    fn is_awaited(&self, id: PeerId) -> bool {
        self.peers.get(id).is_some_and(|peer| {
            let instance = self.instances.get(&peer.instance);
            let awaits = |of: &Instance| self.deferral.awaits(of.name(), &peer.neighbor);
            peer.dynamic.is_none() && instance.is_some_and(awaits)
        })
    }

    /// A neighbor that was dealt out: the dispatcher counted it if it is waited for.
    pub(super) fn expect(&mut self, now: Time, id: PeerId) {
        if self.deferral.is_over() || !self.is_awaited(id) {
            return;
        }
        if let Some(peer) = self.peers.get_mut(id) {
            let until = self.deferral.until(now, &peer.neighbor);
            let before = peer.awaited.replace(until);
            // It was counted as one that was there.
            self.released += usize::from(before.is_some());
            self.peers.arm(id);
        }
    }

    // RFC-DONE 4724 §4.1: a peer that restarted itself, or knows no End-of-RIB, is not waited for.
    /// A session is up.
    pub(super) fn look_whether_to_wait(&mut self, now: Time, id: PeerId) {
        if self.deferral.is_over() {
            return;
        }
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let graceful = (peer.established.as_ref()).and_then(|up| up.negotiated.graceful.as_ref());
        if graceful.is_none_or(|graceful| graceful.restarting || graceful.marked.is_empty()) {
            self.stop_waiting(id);
            return;
        }
        let until = self.deferral.until(now, &peer.neighbor);
        if peer.awaited.is_none()
            && peer.neighbor.import != Import::None
            && now < until
            && self.deferral.expect_one_more()
        {
            peer.awaited = Some(until);
        }
    }

    /// A session is down, or the settings are others: who was waited for only because it was there, or
    /// was asked to keep our routes, is not any more.
    pub(super) fn look_whether_to_wait_on(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get(id) else {
            return;
        };
        let says = peer.established.is_some() && peer.neighbor.import != Import::None;
        if !says && !self.is_awaited(id) {
            self.stop_waiting(id);
        }
    }

    // RFC-DONE 4724 §4.1: selection waits for End-of-RIB of peers: from the start of those that were asked
    // to keep our routes, of others only while they are there; of the families that their capabilities
    // name.
    /// A peer said all that it has of a family.
    pub(super) fn note_end_of_rib(&mut self, id: PeerId, family: Family) {
        let peer = self.peers.get_mut(id);
        let Some(established) = peer.and_then(|peer| peer.established.as_mut()) else {
            return;
        };
        established.ended.insert(family);
        let graceful = established.negotiated.graceful.as_ref();
        let families = graceful.map_or(FamilySet::NONE, |graceful| graceful.marked);
        if families.intersection(established.ended) == families {
            self.stop_waiting(id);
        }
    }

    // RFC-DONE 4724 §4.1: selection waits for the Selection_Deferral_Timer at most.
    /// The time of a peer may be over.
    pub(super) fn end_waiting(&mut self, now: Time, id: PeerId) {
        let peer = self.peers.get(id);
        if peer
            .and_then(|peer| peer.awaited)
            .is_some_and(|until| until <= now)
        {
            self.stop_waiting(id);
        }
    }

    pub(super) fn stop_waiting(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        self.released += usize::from(peer.awaited.take().is_some());
        self.peers.arm(id);
    }

    /// What the peers said is published: those that are done are waited for no longer. True: it is
    /// over, and what waited can be told.
    pub(super) fn release_deferral(&mut self) -> bool {
        let mut over = false;
        for _ in 0..std::mem::take(&mut self.released) {
            over |= self.deferral.release();
        }
        if over {
            tracing::info!("peers are told all routes: nobody is waited for after the restart");
            // The other shards see it when they look, also those that want no marks any more: what was
            // marked before waits there too.
            for instance in self.instances.values() {
                let others = instance.writer.other_shards();
                self.actions.push_back(Action::Wake(others));
            }
        }
        over
    }

    /// Once it is over, what waited is told.
    pub(super) fn look_at_deferral(&mut self) {
        self.defers = self.defers && !self.deferral.is_over();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_with_the_last_peer_once_the_first_neighbors_are_known() {
        assert!(Deferral::default().is_over());
        let deferral = Deferral::after_restart(None);
        assert!(!deferral.is_over());
        deferral.expect(2);
        assert!(!deferral.release());
        assert!(!deferral.begin());
        assert!(!deferral.begin());
        assert!(!deferral.is_over());
        assert!(deferral.clone().release());
        assert!(deferral.is_over());
        // Nobody to wait for.
        let deferral = Deferral::after_restart(None);
        deferral.expect(0);
        assert!(deferral.begin() && deferral.is_over());
    }
}
