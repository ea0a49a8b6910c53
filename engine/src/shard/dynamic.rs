//! Peers of a `peerPrefix`: made when they connect, forgotten with their last connection.
//!
//! Invariants: a dynamic peer has a connection, or routes that are kept while it restarts, or goes
//! before its shard does anything else; it
//! follows the longest prefix that holds its address, which counts it; an address that a neighbor
//! has for itself is no dynamic peer's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use codec::notification::cease;
use codec::{IpPrefix, Notification};

use super::Shard;
use super::peer::{Peer, PeerId};
use crate::config::{DynamicNeighbors, InstanceId, Password, PeerAddress, longest_match};
use crate::time::Time;

/// How many dynamic peers there are under each prefix, on all shards of an engine together. Locked
/// for as long as one is counted; no route is.
#[derive(Clone, Debug, Default)]
pub struct DynamicPeers(Arc<Mutex<Counts>>);

type Counts = BTreeMap<(InstanceId, IpPrefix), u32>;

impl DynamicPeers {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more, unless there are `max` already.
    fn enter(&self, instance: InstanceId, prefix: IpPrefix, max: u32) -> bool {
        let mut counts = self.counts();
        let count = counts.entry((instance, prefix)).or_default();
        let fits = *count < max;
        *count += u32::from(fits);
        fits
    }

    fn leave(&self, instance: InstanceId, prefix: IpPrefix) {
        let mut counts = self.counts();
        if let Some(count) = counts.get_mut(&(instance, prefix)) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&(instance, prefix));
            }
        }
    }
}

impl Shard {
    /// A new peer at an address that no peer has.
    ///
    /// # Errors
    /// It is none of ours, or there is no room for it: what it is told, if anything.
    pub(super) fn admit(
        &mut self,
        now: Time,
        id: InstanceId,
        address: PeerAddress,
    ) -> Result<PeerId, Option<Notification>> {
        let instance = self.instances.get(&id).filter(|_| !self.shut_down);
        let instance = instance.ok_or(None)?;
        let range = longest_match(&instance.dynamic_neighbors, address.ip()).ok_or(None)?;
        let rejected = || Some(Notification::cease(cease::CONNECTION_REJECTED));
        if !instance.enabled()
            || instance.drained.holds(address)
            || matches!(range.settings.password, Password::Missing(_))
        {
            return Err(rejected());
        }
        let range = Arc::clone(range);
        if !self.dynamic_peers.enter(id, range.prefix, range.max_peers) {
            tracing::warn!(
                peer = %address,
                prefix = %range.prefix,
                "rejected: there are maxDynamicPeers ({}) peers of the prefix already",
                range.max_peers
            );
            return Err(rejected());
        }
        let neighbor = Arc::new(range.neighbor(address));
        let mut peer = self.new_peer(id, neighbor, Some(range.prefix));
        // It is passive: there is nothing to be done for it before it is handed its connection.
        peer.session.handle_start(now);
        Ok(self.peers.add(peer))
    }

    /// Follows new prefixes, and new settings of old ones.
    pub(super) fn set_dynamic_neighbors(
        &mut self,
        now: Time,
        id: InstanceId,
        ranges: &[Arc<DynamicNeighbors>],
    ) {
        let Some(instance) = self.instances.get_mut(&id) else {
            return;
        };
        let by_prefix = ranges.iter().map(|range| (range.prefix, Arc::clone(range)));
        instance.dynamic_neighbors = by_prefix.collect();
        let mut changed = Vec::new();
        for peer in self.peers_of(id) {
            if self.follow_range(now, peer) {
                changed.push(peer);
            }
        }
        self.regroup(&changed);
    }

    /// Whether the peer is a dynamic one that stays and has new settings.
    fn follow_range(&mut self, now: Time, id: PeerId) -> bool {
        let Some(peer) = self.peers.get_mut(id) else {
            return false;
        };
        let Some(was) = peer.dynamic else {
            return false;
        };
        let instance = self.instances.get(&peer.instance);
        let ranges = instance.map(|instance| &instance.dynamic_neighbors);
        let range = ranges.and_then(|ranges| longest_match(ranges, peer.neighbor.address.ip()));
        let Some(range) = range.cloned() else {
            self.remove_peer(now, id);
            return false;
        };
        if range.prefix != was {
            if !self
                .dynamic_peers
                .enter(peer.instance, range.prefix, range.max_peers)
            {
                self.remove_peer(now, id);
                return false;
            }
            self.dynamic_peers.leave(peer.instance, was);
            peer.dynamic = Some(range.prefix);
        }
        let neighbor = range.neighbor(peer.neighbor.address);
        if neighbor == *peer.neighbor {
            return false;
        }
        self.change_peer(now, id, Arc::new(neighbor));
        true
    }

    /// A neighbor has the address for itself from now on. True: it had a dynamic peer's before.
    pub(super) fn make_static(&mut self, id: PeerId) -> bool {
        let Some(peer) = self.peers.get_mut(id) else {
            return false;
        };
        let prefix = peer.dynamic.take();
        if let Some(prefix) = prefix {
            self.dynamic_peers.leave(peer.instance, prefix);
        }
        prefix.is_some()
    }

    /// A dynamic peer without a connection is no more.
    pub(super) fn forget_if_gone(&mut self, id: PeerId) {
        let is_gone = |peer: &Peer| {
            peer.dynamic.is_some()
                // Its routes may wait for it to restart.
                && peer.retained.is_none()
                && peer.held.is_none()
                && peer.next_incoming.is_none()
                && peer.connections.iter().all(Option::is_none)
        };
        if self.peers.get(id).is_some_and(is_gone) {
            self.forget_peer(id);
        }
    }

    /// The place of a peer whose session is stopped or gone is free.
    pub(super) fn forget_peer(&mut self, id: PeerId) {
        self.stop_waiting(id);
        if let Some(peer) = self.peers.remove(id)
            && let Some(prefix) = peer.dynamic
        {
            self.dynamic_peers.leave(peer.instance, prefix);
        }
    }
}

#[cfg(test)]
mod tests {
    use ipnet::IpNet;

    use super::*;
    use crate::config::{Delta, Import, Neighbor, PeerAsn};
    use crate::model::PeerState;
    use crate::shard::rig::{INSTANCE, Rig, neighbor};

    fn range(
        prefix: &str,
        max_peers: u32,
        change: impl FnOnce(&mut Neighbor),
    ) -> Arc<DynamicNeighbors> {
        let mut settings = neighbor("10.0.0.0");
        change(&mut settings);
        Arc::new(DynamicNeighbors {
            prefix: prefix.parse::<IpNet>().unwrap().into(),
            max_peers,
            settings,
        })
    }

    fn rig(ranges: &[Arc<DynamicNeighbors>]) -> Rig {
        let mut rig = Rig::new();
        rig.tell(Delta::DynamicNeighbors(INSTANCE, ranges.into()));
        rig
    }

    fn none_is_counted(rig: &Rig) -> bool {
        rig.shard.dynamic_peers.counts().is_empty()
    }

    #[test]
    fn who_connects_from_a_prefix_is_a_peer_until_it_goes() {
        let mut rig = rig(&[range("10.0.0.0/24", 2, |_| {})]);
        assert_eq!(rig.addresses(), [""; 0]);
        assert_eq!(rig.connect("10.0.1.6"), None);
        let first = rig.establish("10.0.0.6", 65002);
        let peers = rig.peers();
        assert_eq!(peers.len(), 1);
        assert_eq!(peers[0].state, PeerState::Established);
        assert_eq!(peers[0].peer_asn, Some(65002));
        assert_eq!(
            rig.options.len(),
            1,
            "TTL and key are set on what was accepted"
        );
        let second = rig.establish("10.0.0.7", 65003);
        // Past the bound: Cease/Connection Rejected.
        let third = rig.connect("10.0.0.8").unwrap();
        assert_eq!(rig.notification(third).subcode, cease::CONNECTION_REJECTED);
        assert_eq!(rig.addresses(), ["10.0.0.6", "10.0.0.7"]);
        rig.closed_by_peer(first);
        assert_eq!(rig.addresses(), ["10.0.0.7"]);
        rig.establish("10.0.0.8", 65004);
        rig.closed_by_peer(second);
        assert_eq!(rig.addresses(), ["10.0.0.8"]);
        assert_eq!(rig.dialled, []);
        let gone = rig.shard.poll_timeout();
        rig.tell(Delta::DynamicNeighbors(INSTANCE, [].into()));
        assert!(gone.is_some() && rig.shard.poll_timeout().is_none());
        assert!(none_is_counted(&rig));
    }

    #[test]
    fn whoever_does_not_say_its_as_rightly_is_forgotten() {
        let mut rig = rig(&[range("10.0.0.0/24", 1, |n| n.peer_asn = PeerAsn::Internal)]);
        let connection = rig.establish("10.0.0.6", 65002);
        assert_eq!(
            rig.notification(connection).to_string(),
            "OPEN Message Error/Bad Peer AS"
        );
        assert_eq!(rig.addresses(), [""; 0]);
        rig.establish("10.0.0.6", 65001);
        assert_eq!(rig.addresses(), ["10.0.0.6"]);
    }

    #[test]
    fn a_connection_that_says_nothing_goes_with_its_timer() {
        let mut rig = rig(&[range("10.0.0.0/24", 1, |_| {})]);
        let connection = rig.connect("10.0.0.6").unwrap();
        rig.now = rig.shard.poll_timeout().unwrap();
        rig.shard.handle_timeout(rig.now, &mut |_| false);
        rig.turn();
        assert!(rig.closed.contains_key(&connection));
        assert!(none_is_counted(&rig) && rig.addresses().is_empty());
    }

    #[test]
    fn the_longest_prefix_counts_and_an_address_of_its_own_before_all() {
        let ranges = [
            range("10.0.0.0/16", 9, |n| n.local_asn = 65016),
            range("10.0.0.0/24", 9, |n| n.local_asn = 65024),
        ];
        let mut rig = rig(&ranges);
        let mut own = neighbor("10.0.0.9");
        own.local_asn = 65032;
        rig.tell(Delta::Neighbors(INSTANCE, [Arc::new(own.clone())].into()));
        for peer in ["10.0.0.6", "10.0.0.9", "10.0.7.6"] {
            rig.establish(peer, 65002);
        }
        let asns =
            |rig: &mut Rig| -> Vec<u32> { rig.peers().iter().map(|peer| peer.local_asn).collect() };
        assert_eq!(asns(&mut rig), [65024, 65032, 65016]);
        // A neighbor of its own takes the address over; its settings ask for a reset.
        own.address = "10.0.0.6".parse().unwrap();
        rig.tell(Delta::Neighbors(INSTANCE, [Arc::new(own)].into()));
        assert_eq!(asns(&mut rig), [65032, 65032, 65016]);
        assert_eq!(rig.shard.dynamic_peers.counts().len(), 1);
    }

    #[test]
    fn new_settings_reach_live_peers_and_a_prefix_that_goes_takes_its_peers() {
        let mut rig = rig(&[range("10.0.0.0/16", 9, |_| {})]);
        let stays = rig.establish("10.0.7.6", 65002);
        let goes = rig.establish("10.0.0.6", 65002);
        let (wide, narrow) = (
            range("10.0.0.0/16", 9, |n| n.ttl_security = true),
            range("10.0.0.0/24", 9, |n| n.import = Import::None),
        );
        rig.options.clear();
        rig.tell(Delta::DynamicNeighbors(
            INSTANCE,
            [wide, narrow.clone()].into(),
        ));
        // Nothing that OPEN negotiates changed: both sessions stand, each under its own prefix.
        assert!(rig.open.contains_key(&stays) && rig.open.contains_key(&goes));
        assert_eq!(rig.options.len(), 1);
        assert_eq!(
            (rig.options[0].0, rig.options[0].1.min_ttl),
            (stays, Some(255))
        );
        assert_eq!(rig.shard.dynamic_peers.counts().len(), 2);
        rig.tell(Delta::DynamicNeighbors(INSTANCE, [narrow].into()));
        assert_eq!(rig.notification(stays).subcode, cease::PEER_DECONFIGURED);
        assert_eq!(rig.addresses(), ["10.0.0.6"]);
    }

    #[test]
    fn one_address_on_two_links_is_two_peers() {
        let mut rig = rig(&[]);
        let peers = ["fe80::6%eth0", "fe80::6%eth1"];
        let neighbors = peers.map(|peer| Arc::new(neighbor(peer)));
        rig.tell(Delta::Neighbors(INSTANCE, neighbors.into()));
        assert_eq!(rig.connect("fe80::6%eth2"), None);
        let first = rig.establish(peers[0], 65002);
        rig.establish(peers[1], 65003);
        assert_eq!(rig.addresses(), peers);
        rig.closed_by_peer(first);
        let states: Vec<PeerState> = rig.peers().iter().map(|peer| peer.state).collect();
        assert_eq!(states, [PeerState::Active, PeerState::Established]);
    }

    #[test]
    fn nobody_is_taken_while_the_key_is_missing() {
        let missing = Password::Missing("Secret kube-system/a is not there".into());
        let mut rig = rig(&[range("10.0.0.0/24", 9, |n| n.password = missing)]);
        let connection = rig.connect("10.0.0.6").unwrap();
        assert_eq!(
            rig.notification(connection).subcode,
            cease::CONNECTION_REJECTED
        );
        assert!(none_is_counted(&rig) && rig.addresses().is_empty());
    }
}
