//! Judging anew what came in before: after a change of import policy, filters, own routes or VRPs. Nothing
//! is asked of peers; what differs goes into the table and is told, and nothing else. What a peer said
//! that is away and expected back (`retained`) is judged like the rest.
//!
//! Done in bounded quanta, so that live changes pass between them. Level-triggered: a prefix in a
//! peer's set is judged by what is so when its turn comes, whatever changed before.

use std::sync::Arc;

use codec::{Family, IpPrefix};
use rib::{AttributeId, IdSet, Path, PathFlags, PrefixId, SourceId};

use super::Shard;
use super::import::Incoming;
use super::instance::Instance;
use super::judgement::Judgement;
use super::long_lived::is_excluded;
use super::peer::{Established, Peer, PeerId};
use crate::config::Import;

/// Prefixes that are judged anew in one turn: fewer than the table work of a turn, so that what it
/// leads to never makes live changes wait in line.
const QUANTUM: usize = 1024;

impl Shard {
    /// Everything that a peer said is to be judged anew.
    pub(super) fn reconsider_all(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        if peer.neighbor.import == Import::None {
            return;
        }
        if let Some(learned) = peer.learned_mut() {
            let was_idle = learned.reconsider.iter().all(IdSet::is_empty);
            for family in Family::ALL {
                let all = &learned.adj_rib_in[family.index()];
                learned.reconsider[family.index()].union_with(all);
            }
            if was_idle {
                self.reconsidering.push_back(id);
            }
        }
    }

    /// What a source said of a prefix is to be judged anew, if that is the peer's still.
    pub(super) fn reconsider_one(
        &mut self,
        id: PeerId,
        source: SourceId,
        family: Family,
        prefix: PrefixId,
    ) {
        let peer = self.peers.get_mut(id);
        let learned = peer.and_then(Peer::learned_mut);
        let Some(learned) = learned.filter(|learned| learned.source == source) else {
            return;
        };
        if learned.reconsider.iter().all(IdSet::is_empty) {
            self.reconsidering.push_back(id);
        }
        learned.reconsider[family.index()].insert(prefix);
    }

    /// One bounded piece of it. Whether there is more.
    pub(super) fn reconsider_some(&mut self) -> bool {
        self.find_echoes();
        let mut budget = QUANTUM;
        while budget > 0
            && let Some(id) = self.reconsidering.pop_front()
        {
            let Some(peer) = self.peers.get_mut(id) else {
                continue;
            };
            let Some(instance) = self.instances.get_mut(&peer.instance) else {
                continue;
            };
            let mut changed = Vec::new();
            budget -= reconsider(instance, (id, peer), budget, &mut changed);
            if let Some(learned) = peer.learned().filter(|_| !changed.is_empty()) {
                let rib = instance.writer.rib();
                let guard = rib.guard();
                let attributes = |of| rib.attributes(of, &guard).bytes;
                let mut judgement = Judgement::new(instance, (&peer.neighbor, learned), &guard);
                let standing = |prefix| judgement.standing(prefix);
                let (name, address) = (instance.name(), peer.neighbor.address);
                self.watches
                    .judged(name, address, &changed, attributes, standing);
            }
            let left = peer.learned();
            if left.is_some_and(|left| left.reconsider.iter().any(|set| !set.is_empty())) {
                // The others have their turn first.
                self.reconsidering.push_back(id);
            }
        }
        !self.reconsidering.is_empty()
    }

    /// Own routes that came or went decide over what peers say of their prefixes.
    fn find_echoes(&mut self) {
        for (instance_id, instance) in &mut self.instances {
            let changed = std::mem::take(&mut instance.own_changed);
            if changed.is_empty() {
                continue;
            }
            let rib = Arc::clone(instance.writer.rib());
            let guard = rib.guard();
            let mut sources: ahash::AHashMap<_, _> = ahash::AHashMap::new();
            for (id, peer) in self.peers.iter() {
                if let Some(learned) = peer.learned()
                    && peer.instance == *instance_id
                {
                    sources.insert(learned.source, id);
                }
            }
            for (family, prefix) in changed {
                for path in rib.paths(family, prefix, &guard).iter() {
                    let peer = sources.get(&path.source).copied();
                    let peer = peer.and_then(|id| Some((id, self.peers.get_mut(id)?)));
                    if let Some((id, peer)) = peer
                        && let Some(learned) = peer.learned_mut()
                    {
                        if learned.reconsider.iter().all(IdSet::is_empty) {
                            self.reconsidering.push_back(id);
                        }
                        learned.reconsider[family.index()].insert(prefix);
                    }
                }
            }
        }
    }
}

/// Paths that came to something else, with their attributes now.
type Changed = Vec<(IpPrefix, AttributeId)>;

/// Judges up to `max` prefixes of a peer anew. Returns how many. While somebody watches, `changed`
/// gets what came of it.
fn reconsider(
    instance: &mut Instance,
    (id, peer): (PeerId, &mut Peer),
    max: usize,
    changed: &mut Changed,
) -> usize {
    let (neighbor, Some(learned)) = peer.with_neighbor_mut() else {
        return 0;
    };
    let mut ids = Vec::new();
    let mut done = 0;
    for family in Family::ALL {
        learned.reconsider[family.index()].take_first(max - done, &mut ids);
        done += ids.len();
        let excluded = judge_anew(instance, (neighbor, learned), family, &ids, changed);
        instance.queue_long_lived(id, learned.source, family, excluded);
        ids.clear();
    }
    done
}

/// Returns the prefixes of which long-lived routes must not be kept any more, as policy has it now.
fn judge_anew(
    instance: &mut Instance,
    (neighbor, learned): (&crate::config::Neighbor, &mut Established),
    family: Family,
    ids: &[PrefixId],
    changed: &mut Changed,
) -> IdSet {
    let rib = Arc::clone(instance.writer.rib());
    let guard = rib.guard();
    let mut last: Option<Incoming> = None;
    let mut excluded = IdSet::default();
    let unsaid = learned.stale[family.index()].as_ref();
    let lasts = unsaid.is_some_and(|stale| stale.long_lived_until.is_some());
    for id in ids {
        let prefix = rib.prefix(family, *id);
        let paths = rib.paths(family, *id, &guard);
        for path in paths.iter().filter(|path| path.source == learned.source) {
            let received = instance.writer.received(path.attributes);
            let incoming = match &mut last {
                Some(incoming) if incoming.is_of(received) => incoming,
                last => {
                    instance.canonical.clear();
                    let octets = rib.attributes(received, &guard).bytes;
                    instance.canonical.extend_from_slice(octets);
                    // Its path may be the last that holds it.
                    instance.writer.hold(received);
                    instance.arrivals.keep(received);
                    last.insert(instance.begin_incoming(neighbor, learned, received, family))
                }
            };
            let (attributes, flags) = instance.judge_incoming(incoming, neighbor, learned, prefix);
            // RFC 9494 §4.2: NO_LLGR may come with a policy.
            let is_long_lived = lasts && path.flags.contains(PathFlags::STALE);
            if is_long_lived && is_excluded(rib.attributes(attributes, &guard).bytes) {
                excluded.insert(*id);
            }
            let judged = Path {
                attributes,
                flags: path.flags.without(PathFlags::REJECTED).with(flags),
                ..*path
            };
            if judged != *path {
                instance.arrivals.announce([(prefix, judged)]);
                if instance.watched {
                    changed.push((prefix, judged.attributes));
                }
            }
        }
    }
    drop(guard);
    instance.settle_judged(learned);
    excluded
}
