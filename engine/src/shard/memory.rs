//! The memory cap: past it, peers that use more than their share are not read.
//!
//! The driver says how much memory the process has; what a peer uses of it is an estimate from its
//! paths. Pausing is the peer's business alone: everybody else is read on, the paused peer is still
//! told everything, and its hold timer waits for what is in the socket (`Shard::handle_timeout`).
//! Nothing here looks at what is still to be written: that never stops reading.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::Shard;
use super::command::Action;
use super::peer::{Established, PeerId};
use crate::config::PeerAddress;
use crate::time::Time;

/// While a peer is paused, memory is wanted again after this, though nothing else happens.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// What a path takes beside its attributes, in octets: its place in the table, in the Adj-RIB-In
/// and in what others were told of it, rounded up.
const PATH_OCTETS: u64 = 100;

/// A counted prefix of a peer with `import: none`, with the room its table has to spare.
const COUNTED_OCTETS: u64 = 16;

/// What a paused peer shows as its last error, and the mend.
pub(super) const PAUSED_WORDS: &str = "reading from this peer is paused: memory is past \
     limits.memoryBytes and this peer has more than its share; raise the limit or have it \
     announce less";

/// How many sessions are up, on all shards of an engine together.
///
/// A count and nothing more: no other memory is read because of it, so its order does not matter.
#[derive(Clone, Debug, Default)]
pub struct EstablishedPeers(Arc<AtomicUsize>);

impl EstablishedPeers {
    pub(super) fn one_more(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn one_less(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed) as u64
    }
}

/// What a shard knows of memory.
#[derive(Default)]
pub(super) struct Memory {
    /// While a peer is paused: when to look again.
    pub(super) look_at: Option<Time>,
    /// A peer was paused and reading did not go on yet.
    some_paused: bool,
    /// It was said that the cap is exceeded and no peer is to blame.
    said_nobody: bool,
}

/// What a peer announced in this session: how many prefixes, with attribute sets of how many
/// octets together.
#[derive(Default)]
pub(super) struct Volume {
    pub(super) announced: u64,
    pub(super) attribute_octets: u64,
}

impl Volume {
    fn attribute_octets_a_path(&self) -> u64 {
        self.attribute_octets
            .checked_div(self.announced)
            .unwrap_or(0)
    }
}

impl Established {
    /// About how many octets of memory the peer's routes take: each path counts
    /// [`PATH_OCTETS`] and the attribute octets that came with a prefix on average, as if no two
    /// UPDATEs shared an attribute set.
    fn memory(&self) -> u64 {
        let paths: usize = self.adj_rib_in.iter().map(rib::IdSet::len).sum();
        let counted: u64 = self.counted.iter().map(|counted| counted.len()).sum();
        let a_path = PATH_OCTETS + self.volume.attribute_octets_a_path();
        paths as u64 * a_path + counted * COUNTED_OCTETS
    }
}

impl Shard {
    /// The process has `octets` of memory resident. Past the smallest `limits.memoryBytes` of the
    /// instances, reading pauses from peers that have more than limit / established peers; under
    /// 95 % of it, it goes on.
    pub fn handle_memory(&mut self, now: Time, octets: u64) {
        let limits = self.instances.values();
        let limit = limits
            .filter_map(|instance| Some(instance.settings.as_ref()?.memory_max))
            .min();
        let Some(limit) = limit else { return };
        if octets > limit {
            self.memory.some_paused = self.pause_the_greedy(octets, limit);
        } else if octets < limit / 100 * 95 {
            self.memory.said_nobody = false;
            if std::mem::take(&mut self.memory.some_paused) {
                self.resume_all(now);
            }
        }
        self.memory.look_at = self.memory.some_paused.then(|| now + LOOK_AGAIN);
    }

    /// True: some peer is paused now.
    fn pause_the_greedy(&mut self, octets: u64, limit: u64) -> bool {
        let share = limit / self.established.count().max(1);
        let mut paused = false;
        for id in self.peers.ids() {
            let Some((peer, established)) = established_mut(self, id) else {
                continue;
            };
            let used = established.memory();
            if !established.paused && used > share {
                established.paused = true;
                let connection = established.connection;
                tracing::warn!(%peer, octets, limit, used, share, "{PAUSED_WORDS}");
                self.actions.push_back(Action::Pause { connection });
                paused = true;
            } else {
                paused |= established.paused;
            }
        }
        if !paused && !std::mem::replace(&mut self.memory.said_nobody, true) {
            tracing::warn!(
                octets,
                limit,
                share,
                "memory is past limits.memoryBytes, and no peer of this shard has more than its \
                 share: raise the limit, or have fewer peers and routes"
            );
        }
        paused
    }

    fn resume_all(&mut self, now: Time) {
        for id in self.peers.ids() {
            if let Some((peer, established)) = established_mut(self, id)
                && std::mem::take(&mut established.paused)
            {
                let connection = established.connection;
                tracing::info!(%peer, "reading goes on: memory is under 95 % of its limit");
                self.actions.push_back(Action::Resume { connection });
                if let Some(peer) = self.peers.get_mut(id) {
                    // It was not listened to: what it said meanwhile may still be on its way.
                    peer.session.handle_listening(now);
                    self.peers.arm(id);
                }
            }
        }
    }
}

fn established_mut(shard: &mut Shard, id: PeerId) -> Option<(PeerAddress, &mut Established)> {
    let peer = shard.peers.get_mut(id)?;
    let address = peer.neighbor.address;
    Some((address, peer.established.as_deref_mut()?))
}
