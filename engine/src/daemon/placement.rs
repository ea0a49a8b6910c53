//! Which shard a peer lives on, and which one a route of our own goes to. No I/O, no threads.
//!
//! Peers that are told the same bytes belong together: a group encodes once for all its members
//! on one shard. Invariant: a peer stays where it was placed until it is gone.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use codec::{FamilySet, IpPrefix};

use crate::config::{
    Client, Export, InstanceId, Neighbor, NextHopIpv6, NextHopSelf, PeerAddress, PeerAsn, Role,
    SendCommunities,
};

/// Peers that stay together however idle the other shards are.
const ALWAYS_TOGETHER: usize = 64;

/// What of a neighbor's settings decides the bytes it is told, as far as it is known before the
/// session is up.
#[derive(Clone, PartialEq, Eq, Hash)]
struct View {
    instance: InstanceId,
    is_internal: bool,
    is_ipv6: bool,
    local_asn: u32,
    local_address: Option<IpAddr>,
    families: FamilySet,
    next_hop_ipv4: Option<Ipv4Addr>,
    next_hop_ipv6: NextHopIpv6,
    next_hop_self: NextHopSelf,
    client: Option<Client>,
    role: Option<Role>,
    export: Export,
    send_communities: SendCommunities,
    paths_sent: u8,
    advertisement_interval: Duration,
}

impl View {
    fn of(instance: InstanceId, neighbor: &Neighbor) -> View {
        let is_internal = match neighbor.peer_asn {
            PeerAsn::Internal => true,
            PeerAsn::Number(asn) => asn == neighbor.local_asn,
            PeerAsn::Any | PeerAsn::External => false,
        };
        View {
            instance,
            is_internal,
            is_ipv6: neighbor.address.ip().is_ipv6(),
            local_asn: neighbor.local_asn,
            local_address: neighbor.local_address,
            families: neighbor.families,
            next_hop_ipv4: neighbor.next_hop_ipv4,
            next_hop_ipv6: neighbor.next_hop_ipv6,
            next_hop_self: neighbor.next_hop_self,
            client: neighbor.client,
            role: neighbor.role,
            export: neighbor.export.clone(),
            send_communities: neighbor.send_communities,
            paths_sent: neighbor.add_paths.send,
            advertisement_interval: neighbor.timers.advertisement_interval,
        }
    }
}

/// Where every peer lives.
pub(super) struct Placement {
    /// Peers of each shard.
    load: Vec<usize>,
    /// Peers of each view, by shard.
    views: HashMap<Arc<View>, BTreeMap<u8, usize>>,
    placed: HashMap<(InstanceId, PeerAddress), (u8, Arc<View>)>,
}

impl Placement {
    pub(super) fn new(shards: usize) -> Placement {
        Placement {
            load: vec![0; shards.max(1)],
            views: HashMap::new(),
            placed: HashMap::new(),
        }
    }

    /// The shard of a peer, which is placed if it is new: where its view already is, unless that
    /// one has twice the peers of the least loaded.
    pub(super) fn place(&mut self, instance: InstanceId, neighbor: &Neighbor) -> u8 {
        let view = View::of(instance, neighbor);
        let key = (instance, neighbor.address);
        if let Some((shard, old)) = self.placed.get(&key).cloned() {
            if *old != view {
                self.leave(&old, shard);
                self.join(&key, view, shard);
            }
            return shard;
        }
        let shard = self.choose(&view);
        self.join(&key, view, shard);
        shard
    }

    /// Forgets a peer: the shard it lived on, if it was known.
    pub(super) fn remove(&mut self, instance: InstanceId, peer: PeerAddress) -> Option<u8> {
        let (shard, view) = self.placed.remove(&(instance, peer))?;
        self.leave(&view, shard);
        Some(shard)
    }

    fn load_of(&self, shard: u8) -> usize {
        self.load
            .get(usize::from(shard))
            .copied()
            .unwrap_or_default()
    }

    fn choose(&self, view: &View) -> u8 {
        let shards = 0..self.load.len() as u8;
        let least = shards.min_by_key(|shard| self.load_of(*shard)).unwrap_or(0);
        let bound = (2 * self.load_of(least)).max(ALWAYS_TOGETHER);
        let homes = self.views.get(view);
        homes
            .into_iter()
            .flat_map(BTreeMap::keys)
            .copied()
            .filter(|shard| self.load_of(*shard) < bound)
            .min_by_key(|shard| self.load_of(*shard))
            .unwrap_or(least)
    }

    fn join(&mut self, key: &(InstanceId, PeerAddress), view: View, shard: u8) {
        if let Some(load) = self.load.get_mut(usize::from(shard)) {
            *load += 1;
        }
        // Thousands of peers have one view.
        let known = self.views.get_key_value(&view);
        let view = known.map_or_else(|| Arc::new(view), |(known, _)| Arc::clone(known));
        let homes = self.views.entry(Arc::clone(&view)).or_default();
        *homes.entry(shard).or_default() += 1;
        self.placed.insert(*key, (shard, view));
    }

    fn leave(&mut self, view: &View, shard: u8) {
        if let Some(load) = self.load.get_mut(usize::from(shard)) {
            *load = load.saturating_sub(1);
        }
        if let Some(homes) = self.views.get_mut(view) {
            if let Some(peers) = homes.get_mut(&shard) {
                *peers -= 1;
                if *peers == 0 {
                    homes.remove(&shard);
                }
            }
            if homes.is_empty() {
                self.views.remove(view);
            }
        }
    }
}

/// The shard that originates a prefix: always the same one, so that its changes stay in order.
pub fn shard_of(prefix: IpPrefix, shards: usize) -> usize {
    let hash = ahash::RandomState::with_seeds(1, 2, 3, 4).hash_one(prefix);
    (hash % shards.max(1) as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::some_neighbor;

    const INSTANCE: InstanceId = InstanceId(0);

    fn numbered(number: u16) -> Neighbor {
        some_neighbor(&format!("10.0.{}.{}", number >> 8, number & 255))
    }

    #[test]
    fn peers_of_one_view_stay_together_until_they_crowd() {
        let mut placement = Placement::new(4);
        for number in 0..16 {
            assert_eq!(placement.place(INSTANCE, &numbered(number)), 0);
        }
        for number in 16..4000 {
            placement.place(INSTANCE, &numbered(number));
        }
        let (most, least) = (placement.load.iter().max(), placement.load.iter().min());
        assert!(
            most.unwrap() <= &(2 * least.unwrap()),
            "{:?}",
            placement.load
        );
    }

    #[test]
    fn different_views_spread() {
        let mut placement = Placement::new(3);
        let mut homes: Vec<u8> = (0..3)
            .map(|number| {
                let mut neighbor = numbered(number);
                neighbor.local_asn += u32::from(number);
                placement.place(INSTANCE, &neighbor)
            })
            .collect();
        homes.sort_unstable();
        assert_eq!(homes, [0, 1, 2]);
    }

    #[test]
    fn a_peer_stays_where_it_is_when_its_settings_change() {
        let mut placement = Placement::new(2);
        let mut neighbor = numbered(1);
        let home = placement.place(INSTANCE, &neighbor);
        let mut other = numbered(2);
        other.export = Export::All;
        assert_ne!(placement.place(INSTANCE, &other), home);
        neighbor.export = Export::All;
        assert_eq!(placement.place(INSTANCE, &neighbor), home);
        assert_eq!(placement.remove(INSTANCE, neighbor.address), Some(home));
        assert_eq!(placement.remove(INSTANCE, neighbor.address), None);
        assert_eq!(placement.remove(INSTANCE, other.address), Some(1 - home));
        assert_eq!(placement.load, [0, 0]);
        assert!(placement.views.is_empty());
    }

    #[test]
    fn a_prefix_has_one_shard_and_prefixes_spread() {
        let mut count = [0; 4];
        for third in 0..=255 {
            let prefix = codec::Ipv4Prefix::new(Ipv4Addr::new(10, 0, third, 0), 24).unwrap();
            let prefix = IpPrefix::V4(prefix);
            assert_eq!(shard_of(prefix, 4), shard_of(prefix, 4));
            count[shard_of(prefix, 4)] += 1;
        }
        assert!(count.iter().all(|count| *count > 30), "{count:?}");
    }
}
