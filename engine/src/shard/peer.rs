//! Peers: a neighbor as configured, its session, its connections and its tables.

use std::collections::BTreeSet;
use std::sync::Arc;

use codec::{Family, FamilySet, IpPrefix, PeerKind};
use rib::{IdSet, PATHS_OF_SOURCE_MAX, SourceId, SourceInfo, SourceKind};
use smallvec::{SmallVec, smallvec};

use super::command::{ConnectionId, SocketOptions};
use super::graceful_shutdown::Draining;
use super::import::OwnAddresses;
use super::limits::{Held, Level};
use super::malformed::Malformed;
use super::memory::Volume;
use super::retained::Retained;
use super::stale::StaleFamilies;
use crate::config::{Client, InstanceId, Neighbor, Password, PeerAddress};
use crate::group::MemberId;
use crate::session::{Negotiated, Session, Slot, State};
use crate::time::Time;

/// A peer within its shard; the same number that its group knows it by.
pub(super) type PeerId = MemberId;

/// One neighbor.
pub(super) struct Peer {
    pub(super) instance: InstanceId,
    pub(super) neighbor: Arc<Neighbor>,
    pub(super) session: Session,
    /// By slot.
    pub(super) connections: [Option<ConnectionId>; 2],
    /// Takes the incoming slot once the connection that stands there is closed.
    pub(super) next_incoming: Option<ConnectionId>,
    /// Apart: most neighbors of a large configuration may be down.
    pub(super) established: Option<Box<Established>>,
    /// What it has in the table while its session is down and it is expected back.
    pub(super) retained: Option<Box<Retained>>,
    /// It said more prefixes than it may.
    pub(super) held: Option<Held>,
    /// After our restart: until when its End-of-RIB is waited for.
    pub(super) awaited: Option<Time>,
    /// When its timer is set to fire.
    pub(super) armed: Option<Time>,
    /// What was wrong in its UPDATEs.
    pub(super) malformed: Malformed,
    /// The state of its session that whoever watches knows.
    pub(super) shown: State,
    /// Its session is closed once it was told so and has had its time.
    pub(super) draining: Option<Draining>,
    /// The prefix that it is a dynamic peer of.
    pub(super) dynamic: Option<IpPrefix>,
}

/// What a peer has while its session is up.
pub(super) struct Established {
    pub(super) connection: ConnectionId,
    pub(super) negotiated: Arc<Negotiated>,
    pub(super) source: SourceId,
    /// Index in the instance's groups.
    pub(super) group: usize,
    pub(super) since: Time,
    /// The prefixes that have a path from this peer.
    pub(super) adj_rib_in: [IdSet; Family::ALL.len()],
    /// Those of them of which import policy rejected every path.
    pub(super) rejected: [IdSet; Family::ALL.len()],
    /// Those of them that it has yet to say again (`stale`): all its paths to them are stale, or are
    /// about to go.
    pub(super) unrepeated: [IdSet; Family::ALL.len()],
    /// Those of them that are to be judged anew.
    pub(super) reconsider: [IdSet; Family::ALL.len()],
    /// The place of its import policy in the instance; none: `import` is `all` or `none`.
    pub(super) import: Option<usize>,
    /// A next hop that is one of these is a loop.
    pub(super) own_addresses: OwnAddresses,
    /// Under `import: none`: what was announced, counted and not kept. While `unsaid` says so, what of
    /// that has yet to be said again.
    pub(super) counted: [Counted; Family::ALL.len()],
    /// What it said under `import: none` and cannot be asked for again.
    pub(super) unsaid: Unsaid,
    /// The families whose End-of-RIB it has said.
    pub(super) ended: FamilySet,
    /// What it has yet to say again.
    pub(super) stale: StaleFamilies,
    /// How near to its limits it is.
    pub(super) limit_levels: [Level; Family::ALL.len()],
    /// What its routes may take of memory.
    pub(super) volume: Volume,
    /// Nothing is read from it (`memory`).
    pub(super) paused: bool,
    /// The families whose own routes it is not told for want of a next hop.
    pub(super) withheld: FamilySet,
}

/// Routes that are missing since `import` was `none` when a peer without route refresh said them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Unsaid {
    /// None are.
    #[default]
    Nothing,
    /// Those that are `counted`.
    Counted,
    /// Nobody knows which, until the session is a new one.
    Unknown,
}

impl Established {
    /// The peer's routes are kept from now on, or no more.
    pub(super) fn change_keeping(&mut self, kept: bool) {
        let has_kept = self.adj_rib_in.iter().any(|set| !set.is_empty());
        let has_counted = self.counted.iter().any(|counted| counted.len() > 0);
        let is_whole = !self.counted.iter().any(Counted::is_full);
        self.unsaid = match (self.negotiated.refresh, self.unsaid) {
            (true, _) => Unsaid::Nothing,
            (false, Unsaid::Unknown) => Unsaid::Unknown,
            // What was kept is not counted.
            (false, _) if !kept && has_kept => Unsaid::Unknown,
            (false, _) if kept && has_counted && is_whole => Unsaid::Counted,
            (false, _) if kept && has_counted => Unsaid::Unknown,
            (false, _) => Unsaid::Nothing,
        };
        if kept && self.unsaid != Unsaid::Counted {
            self.counted.iter_mut().for_each(Counted::clear);
        }
    }

    /// What was counted is said again, or is gone.
    pub(super) fn find_said(&mut self, family: Family, fingerprint: u64, path_id: u32) {
        self.counted[family.index()].remove(fingerprint, path_id);
        if self.counted.iter().all(|counted| counted.len() == 0) {
            self.unsaid = Unsaid::Nothing;
        }
    }

    /// Whether the peer takes messages of more than 4,096 octets (RFC 8654).
    pub(super) fn takes_long(&self) -> bool {
        self.negotiated.wire.extended_messages
    }
}

/// Distinct prefixes by fingerprint: 8 octets each, no path and no attribute; of further paths to
/// one (RFC 7911) as much.
#[derive(Default)]
pub(super) struct Counted {
    prefixes: ahash::AHashSet<u64>,
    /// Where a path has an identifier that is not 0: the identifiers.
    path_ids: ahash::AHashMap<u64, SmallVec<[u32; 2]>>,
}

impl Counted {
    pub(super) fn insert(&mut self, fingerprint: u64, path_id: u32) {
        let is_new = !self.prefixes.contains(&fingerprint);
        if is_new && self.prefixes.len() >= COUNTED_MAX {
            return;
        }
        self.prefixes.insert(fingerprint);
        match self.path_ids.get_mut(&fingerprint) {
            Some(ids) if ids.contains(&path_id) || ids.len() >= PATHS_OF_SOURCE_MAX => {}
            Some(ids) => ids.push(path_id),
            None if is_new && path_id == 0 => {}
            None if is_new => drop(self.path_ids.insert(fingerprint, smallvec![path_id])),
            None if path_id == 0 => {}
            None => drop(self.path_ids.insert(fingerprint, smallvec![0, path_id])),
        }
    }

    pub(super) fn remove(&mut self, fingerprint: u64, path_id: u32) {
        if let Some(ids) = self.path_ids.get_mut(&fingerprint) {
            ids.retain(|id| *id != path_id);
            if !ids.is_empty() {
                return;
            }
            self.path_ids.remove(&fingerprint);
        } else if path_id != 0 {
            return;
        }
        self.prefixes.remove(&fingerprint);
    }

    pub(super) fn len(&self) -> u64 {
        self.prefixes.len() as u64
    }

    /// Whether more may have come than were counted.
    fn is_full(&self) -> bool {
        self.prefixes.len() >= COUNTED_MAX
    }

    pub(super) fn clear(&mut self) {
        *self = Counted::default();
    }
}

/// Counting stops here: four full tables.
const COUNTED_MAX: usize = 4 << 20;

impl Peer {
    pub(super) fn connection(&self, slot: Slot) -> Option<ConnectionId> {
        self.connections[slot as usize]
    }

    /// Whether the peer is of another AS, as far as that is known.
    pub(super) fn kind(&self) -> PeerKind {
        let asn = match &self.established {
            Some(established) => Some(established.negotiated.peer_asn),
            None => self.expected_asn(),
        };
        match asn == Some(self.neighbor.local_asn) {
            true => PeerKind::Internal,
            false => PeerKind::External,
        }
    }

    /// See [`expected_asn`].
    pub(super) fn expected_asn(&self) -> Option<u32> {
        expected_asn(&self.neighbor)
    }
}

/// The AS that a peer is expected to have, if it is a certain one.
pub(super) fn expected_asn(neighbor: &Neighbor) -> Option<u32> {
    use crate::config::PeerAsn;
    match neighbor.peer_asn {
        PeerAsn::Number(asn) => Some(asn),
        PeerAsn::Internal => Some(neighbor.local_asn),
        PeerAsn::Any | PeerAsn::External => None,
    }
}

/// What a peer of this kind is a client of. Where `peerASN` leaves the kind to the session, it may
/// turn out to be one that cannot be that.
pub(super) fn client_of(neighbor: &Neighbor, kind: PeerKind) -> Option<Client> {
    neighbor.client.filter(|client| match client {
        Client::RouteReflector => kind == PeerKind::Internal,
        Client::RouteServer => kind == PeerKind::External,
    })
}

/// What the table knows of a peer whose session is up.
pub(super) fn source_info(neighbor: &Neighbor, negotiated: &Negotiated) -> SourceInfo {
    let internal = negotiated.peer_asn == neighbor.local_asn;
    SourceInfo {
        kind: match (internal, neighbor.client) {
            (false, Some(Client::RouteServer)) => SourceKind::Served,
            (false, _) => SourceKind::External,
            (true, Some(Client::RouteReflector)) => SourceKind::Client,
            (true, _) => SourceKind::Internal,
        },
        asn: negotiated.peer_asn,
        router_id: negotiated.peer_router_id,
        address: Some(neighbor.address),
    }
}

/// The socket options of a neighbor's connections.
///
/// RFC 5082 §3: with GTSM, 255 is sent and `256 - hops` is the least taken. Without, an external
/// peer is reached by exactly `ebgpMultihop` hops; an internal one may be anywhere.
pub(super) fn socket_options(neighbor: &Neighbor) -> SocketOptions {
    let internal = matches!(neighbor.peer_asn, crate::config::PeerAsn::Internal)
        || neighbor.peer_asn == crate::config::PeerAsn::Number(neighbor.local_asn);
    // RFC-DONE 5082 §3: With GTSM 255 is sent, and 256 - hops is the least taken.
    let (send_ttl, min_ttl) = match (neighbor.ttl_security, internal) {
        (true, _) => (
            Some(255),
            Some(u8::MAX - neighbor.ebgp_multihop.saturating_sub(1)),
        ),
        (false, true) => (None, None),
        (false, false) => (Some(neighbor.ebgp_multihop), None),
    };
    let password = match &neighbor.password {
        Password::Key(key) => Some(Arc::clone(key)),
        Password::None | Password::Missing(_) => None,
    };
    SocketOptions {
        password,
        send_ttl,
        min_ttl,
    }
}

/// The peers of a shard.
#[derive(Default)]
pub(super) struct Peers {
    /// Boxed, so that thousands more do not leave copies of the list behind.
    places: Vec<Option<Box<Peer>>>,
    free: Vec<u32>,
    by_address: std::collections::BTreeMap<(InstanceId, PeerAddress), PeerId>,
    timers: BTreeSet<(Time, PeerId)>,
}

impl Peers {
    pub(super) fn add(&mut self, peer: Peer) -> PeerId {
        let key = (peer.instance, peer.neighbor.address);
        let place = match self.free.pop() {
            Some(place) => place,
            None => {
                self.places.push(None);
                (self.places.len() - 1) as u32
            }
        };
        let id = MemberId(place);
        self.places[place as usize] = Some(Box::new(peer));
        self.by_address.insert(key, id);
        id
    }

    pub(super) fn remove(&mut self, id: PeerId) -> Option<Box<Peer>> {
        let peer = self.places.get_mut(id.0 as usize)?.take()?;
        let key = (peer.instance, peer.neighbor.address);
        if self.by_address.get(&key) == Some(&id) {
            self.by_address.remove(&key);
        }
        if let Some(time) = peer.armed {
            self.timers.remove(&(time, id));
        }
        self.free.push(id.0);
        Some(peer)
    }

    pub(super) fn get(&self, id: PeerId) -> Option<&Peer> {
        self.places.get(id.0 as usize)?.as_deref()
    }

    pub(super) fn get_mut(&mut self, id: PeerId) -> Option<&mut Peer> {
        self.places.get_mut(id.0 as usize)?.as_deref_mut()
    }

    pub(super) fn find(&self, instance: InstanceId, address: PeerAddress) -> Option<PeerId> {
        self.by_address.get(&(instance, address)).copied()
    }

    /// In the order of instance and address.
    pub(super) fn iter(&self) -> impl Iterator<Item = (PeerId, &Peer)> {
        let ids = self.by_address.values();
        ids.filter_map(|id| Some((*id, self.get(*id)?)))
    }

    pub(super) fn ids(&self) -> Vec<PeerId> {
        self.by_address.values().copied().collect()
    }

    /// Sets the peer's timer to what is due of it next.
    pub(super) fn arm(&mut self, id: PeerId) {
        let Some(peer) = self.places.get_mut(id.0 as usize).and_then(Option::as_mut) else {
            return;
        };
        let wanted = peer.next_timeout();
        if wanted == peer.armed {
            return;
        }
        if let Some(old) = peer.armed {
            self.timers.remove(&(old, id));
        }
        if let Some(new) = wanted {
            self.timers.insert((new, id));
        }
        peer.armed = wanted;
    }

    pub(super) fn next_timeout(&self) -> Option<Time> {
        self.timers.first().map(|(time, _)| *time)
    }

    /// A peer whose timer is due.
    pub(super) fn pop_due(&mut self, now: Time) -> Option<PeerId> {
        let (time, id) = *self.timers.first().filter(|(time, _)| *time <= now)?;
        self.timers.remove(&(time, id));
        if let Some(peer) = self.get_mut(id) {
            peer.armed = None;
        }
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC-SHOWN 7911 §3
    #[test]
    fn a_prefix_is_counted_once_until_its_last_path_goes() {
        let mut counted = Counted::default();
        for path_id in [0, 3, 7, 3] {
            counted.insert(1, path_id);
        }
        counted.insert(2, 5);
        counted.insert(3, 0);
        assert_eq!(counted.len(), 3);
        counted.remove(1, 9);
        counted.remove(1, 0);
        counted.remove(1, 7);
        counted.remove(3, 1);
        assert_eq!(counted.len(), 3);
        counted.remove(1, 3);
        counted.remove(3, 0);
        counted.remove(2, 5);
        assert_eq!(counted.len(), 0);
        assert!(counted.path_ids.is_empty());
    }
}
