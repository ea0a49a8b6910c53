//! Origin validation of an instance's routes (RFC 6811): the table in use, and what a new one changes.
//!
//! A state is not kept with a path: it follows from the path and the table, and is asked for where a
//! policy or a reader asks. So without a policy that asks for states a new table costs nothing; with one,
//! the prefixes are walked under which the table changed, in bounded quanta, and what has another state
//! than before is judged anew. Nothing is asked of peers.
//!
//! Invariant: once the walks are done, every path of a peer, up or expected back, was judged by the newest table,
//! or has the state that it was judged by. A walk compares the newest table with the one before its own
//! change: a path that came in between is met by the walk of the change that it missed.

use std::collections::VecDeque;
use std::sync::Arc;

use ahash::AHashMap;
use codec::{AttributeSet, Family, IpPrefix, Ipv4Prefix, Ipv6Prefix, Prefix};
use rib::{AttributeId, Guard, Path, PathFlags, PrefixId, Rib, SourceId};

use super::Shard;
use super::instance::Instance;
use super::peer::PeerId;
use crate::config::InstanceId;
use crate::policy::Validation;
use crate::rpki::{Changed, Publication, VrpTable, route_origin};

/// Changed prefixes and prefixes of the table that are looked at in one turn.
const QUANTUM: usize = 4096;

/// Prefixes that are read ahead of the look at them.
const READ_AHEAD: usize = 16;

/// Walks there are; past it one in which everything is judged anew is in the place of those that wait.
const WALKS_MAX: usize = 4;

/// What is valid of an instance's routes.
#[derive(Default)]
pub(super) struct Vrps {
    /// None: no cache is configured.
    pub(super) table: Option<Arc<VrpTable>>,
    walks: VecDeque<Walk>,
    /// Paths whose state a new table changed and that were judged anew for it, since the start.
    pub(super) judged: u64,
}

/// Prefixes that are yet to be looked at after a change.
struct Walk {
    /// The table before the change; none: every path is judged anew.
    old: Option<Arc<VrpTable>>,
    changed: Arc<Changed>,
    /// Which of them is being walked, and after which prefix within it.
    at: usize,
    after: Option<IpPrefix>,
    /// The peers of this shard whose import policy asks for states, with our AS towards them.
    peers: AHashMap<SourceId, (PeerId, u32)>,
}

impl Vrps {
    /// The state of a route of an origin.
    pub(super) fn state(&self, prefix: IpPrefix, origin: Option<u32>) -> Option<Validation> {
        let table = self.table.as_ref()?;
        Some(table.validate(prefix, origin))
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.walks.is_empty()
    }
}

impl Shard {
    /// Takes a new table over.
    pub(super) fn take_vrps(&mut self, id: InstanceId, publication: Publication) {
        let mut peers = AHashMap::new();
        let of_instance = self.peers.iter().filter(|(_, peer)| peer.instance == id);
        let Some(instance) = self.instances.get_mut(&id) else {
            return;
        };
        for (peer_id, peer) in of_instance {
            if let Some(learned) = peer.learned()
                && instance.imports.asks_for_validation(learned.import)
            {
                peers.insert(learned.source, (peer_id, peer.neighbor.local_asn));
            }
        }
        let old = std::mem::replace(&mut instance.vrps.table, publication.table);
        for group in instance.groups.iter_mut().flatten() {
            group.set_vrps(instance.vrps.table.clone());
        }
        let asked = !peers.is_empty() || instance.exports_ask();
        if !asked || publication.changed.is_empty() {
            return;
        }
        let walks = &mut instance.vrps.walks;
        let too_many = walks.len() >= WALKS_MAX;
        if too_many {
            // The first goes on, or tables that come faster than walks end would let none end.
            walks.truncate(1);
        }
        walks.push_back(Walk {
            old: (!too_many).then(|| old.unwrap_or_default()),
            changed: match too_many {
                true => Arc::new(everything()),
                false => publication.changed,
            },
            at: 0,
            after: None,
            peers,
        });
    }

    // RFC-DONE 6811 §4: routes whose state new VRPs change are judged anew; their peers are not asked.
    /// One bounded piece of the walks. Whether there is more.
    pub(super) fn revalidate_some(&mut self) -> bool {
        let mut more = false;
        let mut affected = Vec::new();
        for instance in self.instances.values_mut() {
            if instance.vrps.is_quiet() {
                continue;
            }
            instance.walk_some(&mut affected);
            more |= !instance.vrps.is_quiet();
        }
        for (peer, source, family, id) in affected {
            self.reconsider_one(peer, source, family, id);
        }
        more
    }
}

/// Where a walk is in the tables before and after the change: it meets prefixes in order.
#[derive(Default)]
struct Cursors {
    old: usize,
    new: usize,
}

/// A path that has another state than it was judged by.
type Affected = (PeerId, SourceId, Family, PrefixId);

impl Instance {
    /// Whether a group's policy asks for states.
    fn exports_ask(&self) -> bool {
        self.groups
            .iter()
            .flatten()
            .any(|group| group.asks_for_validation())
    }

    fn walk_some(&mut self, affected: &mut Vec<Affected>) {
        let rib = Arc::clone(self.writer.rib());
        let guard = rib.guard();
        let mut left = QUANTUM;
        let mut met = Vec::new();
        while left > 0
            && let Some(mut walk) = self.vrps.walks.pop_front()
        {
            while left > 0
                && let Some(within) = walk.changed.get(walk.at)
            {
                let before = met.len();
                let family = within.family();
                let found = |id, prefix| met.push((id, prefix));
                rib.walk(family, Some(within), walk.after, left, &guard, found);
                let found = met.len() - before;
                if found < left {
                    walk.at += 1;
                    walk.after = None;
                } else {
                    walk.after = met.last().map(|(_, prefix)| *prefix);
                }
                // With the prefix that was looked for, found or not.
                left -= (found + 1).min(left);
            }
            self.look_at(&walk, &met, (&rib, &guard), affected);
            met.clear();
            if walk.at < walk.changed.len() {
                self.vrps.walks.push_front(walk);
            }
        }
    }

    /// Finds out which paths of prefixes that a walk met have another state than before.
    fn look_at(
        &mut self,
        walk: &Walk,
        met: &[(PrefixId, IpPrefix)],
        (rib, guard): (&Rib, &Guard),
        affected: &mut Vec<Affected>,
    ) {
        let exports_ask = self.exports_ask();
        let mut cursors = Cursors::default();
        for of_family in met.chunk_by(|a, b| a.1.family() == b.1.family()) {
            let family = of_family[0].1.family();
            for (at, (id, prefix)) in of_family.iter().copied().enumerate() {
                if at % READ_AHEAD == 0 {
                    let next = of_family[at..].iter().take(READ_AHEAD);
                    rib.read_ahead(family, next.map(|(id, _)| *id), guard);
                }
                #[cfg(test)]
                if self.fault == Some(crate::group::Fault::StaleValidation) && id.0 % 7 == 0 {
                    continue;
                }
                let mut has_turned = |origin| {
                    let new = self.vrps.table.as_ref();
                    let new = new.map_or(Validation::NotFound, |new| {
                        new.validate_next(&mut cursors.new, prefix, origin)
                    });
                    let old = walk.old.as_ref();
                    old.is_none_or(|old| old.validate_next(&mut cursors.old, prefix, origin) != new)
                };
                let paths = rib.paths(family, id, guard);
                let mut turned = 0;
                for path in paths.iter() {
                    if let Some((peer, own_asn)) = walk.peers.get(&path.source)
                        && has_turned(self.received_from(path, *own_asn))
                    {
                        turned += 1;
                        affected.push((*peer, path.source, family, id));
                    }
                }
                // Where ours come from depends on whom they are told to.
                let is_told_otherwise = |path: &Path| {
                    path.flags.contains(PathFlags::LOCAL) || has_turned(self.told_from(path))
                };
                let marked = exports_ask && paths.iter().any(is_told_otherwise);
                self.vrps.judged += turned;
                if marked {
                    self.writer.mark(family, id);
                }
            }
        }
    }

    /// The AS that a path of a peer of this shard was held to come from when it came in.
    pub(super) fn received_from(&self, path: &Path, own_asn: u32) -> Option<u32> {
        self.origin(self.writer.received(path.attributes), own_asn)
    }

    /// The AS that a learned path is held to come from as it is in the table.
    pub(super) fn told_from(&self, path: &Path) -> Option<u32> {
        let rib = self.writer.rib();
        self.origin(path.attributes, rib.source(path.source, &rib.guard()).asn)
    }

    fn origin(&self, attributes: AttributeId, own_asn: u32) -> Option<u32> {
        let rib = self.writer.rib();
        let guard = rib.guard();
        let octets = rib.attributes(attributes, &guard).bytes;
        route_origin(&AttributeSet::new(octets).as_path(), own_asn)
    }
}

fn everything() -> Changed {
    Changed {
        ipv4: vec![Ipv4Prefix::from_left_aligned(0, 0)],
        ipv6: vec![Ipv6Prefix::from_left_aligned(0, 0)],
    }
}

#[cfg(test)]
mod tests;
