//! From the watcher's deltas to the shards and the listeners.
//!
//! Runs on the watcher's thread and may block there when a shard is behind. Invariants: an
//! instance's table reaches a shard before anything else of the instance; the directory names a
//! peer's shard only once that shard was told of the peer; one change of routes is at most one
//! command a shard.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rib::{Rib, RibOptions, Selection, ShardId};
use tokio::sync::watch;

use super::listening::{self, Neighbors};
use super::placement::{Placement, shard_of};
use crate::config::{Delta, InstanceId, InstanceSettings, Neighbor, OriginChange};
use crate::ring::{Directory, InboxSender, ListenPlan, Message};
use crate::shard::ShardCommand;

/// Places peers on shards and deals out what changes.
pub struct Dispatcher {
    shards: Arc<[InboxSender<ShardCommand>]>,
    directory: Arc<ArcSwap<Directory>>,
    plans: watch::Sender<Arc<ListenPlan>>,
    placement: Placement,
    instances: BTreeMap<InstanceId, Known>,
}

/// What was told of an instance.
struct Known {
    rib: Arc<Rib>,
    settings: Arc<InstanceSettings>,
    neighbors: Neighbors,
}

impl Dispatcher {
    pub(super) fn new(
        shards: Arc<[InboxSender<ShardCommand>]>,
        directory: Arc<ArcSwap<Directory>>,
        plans: watch::Sender<Arc<ListenPlan>>,
    ) -> Dispatcher {
        Dispatcher {
            placement: Placement::new(shards.len()),
            shards,
            directory,
            plans,
            instances: BTreeMap::new(),
        }
    }

    /// Carries out one change of the desired state.
    pub fn dispatch(&mut self, deltas: impl IntoIterator<Item = Delta>) {
        let mut directory = None;
        for delta in deltas {
            if !matches!(delta, Delta::Origins(..)) {
                let current = || Directory::clone(&self.directory.load());
                let directory = directory.get_or_insert_with(current);
                self.dispatch_settings(delta, directory);
            } else if let Delta::Origins(instance, changes) = delta {
                self.deal(instance, changes);
            }
        }
        if let Some(directory) = directory {
            self.directory.store(Arc::new(directory));
            self.plan();
        }
    }

    fn dispatch_settings(&mut self, delta: Delta, directory: &mut Directory) {
        match delta {
            Delta::Instance(id, settings) => {
                directory.name(id, Arc::clone(&settings.name));
                self.set_instance(id, settings);
            }
            Delta::InstanceGone(id) => {
                if let Some(known) = self.instances.remove(&id) {
                    for peer in known.neighbors.keys() {
                        directory.remove(id, *peer);
                        self.placement.remove(id, *peer);
                    }
                }
                directory.remove_instance(id);
                self.tell_all(&Delta::InstanceGone(id));
            }
            Delta::Neighbors(id, neighbors) => self.set_neighbors(id, neighbors, directory),
            Delta::NeighborGone(id, peer) => {
                directory.remove(id, peer);
                self.remove_neighbor(id, peer);
            }
            Delta::Origins(..) => {}
        }
    }

    fn set_instance(&mut self, id: InstanceId, settings: Arc<InstanceSettings>) {
        if let Some(known) = self.instances.get_mut(&id) {
            known.settings = Arc::clone(&settings);
        } else {
            let rib = Rib::new(RibOptions {
                shards: self.shards.len() as u8,
                selection: Selection::default(),
            });
            for (index, shard) in self.shards.iter().enumerate() {
                let writer = rib.writer(ShardId(index as u8));
                tell(shard, ShardCommand::Instance(id, writer));
            }
            let known = Known {
                rib,
                settings: Arc::clone(&settings),
                neighbors: Neighbors::new(),
            };
            self.instances.insert(id, known);
        }
        self.tell_all(&Delta::Instance(id, settings));
    }

    /// Places the neighbors and tells each shard of its own in one command; nobody of an instance
    /// that was never told of.
    fn set_neighbors(
        &mut self,
        id: InstanceId,
        neighbors: Box<[Arc<Neighbor>]>,
        directory: &mut Directory,
    ) {
        let Some(known) = self.instances.get_mut(&id) else {
            return;
        };
        let mut hands: BTreeMap<u8, Vec<Arc<Neighbor>>> = BTreeMap::new();
        for neighbor in neighbors {
            let peer = neighbor.address;
            known.neighbors.insert(peer, Arc::clone(&neighbor));
            let shard = self.placement.place(id, &neighbor);
            directory.insert(id, peer, shard);
            hands.entry(shard).or_default().push(neighbor);
        }
        for (shard, hand) in hands {
            self.tell(shard, Delta::Neighbors(id, hand.into_boxed_slice()));
        }
    }

    fn remove_neighbor(&mut self, id: InstanceId, peer: IpAddr) {
        if let Some(known) = self.instances.get_mut(&id) {
            known.neighbors.remove(&peer);
        }
        if let Some(shard) = self.placement.remove(id, peer) {
            self.tell(shard, Delta::NeighborGone(id, peer));
        }
    }

    /// Deals routes of our own to the shards that originate them.
    fn deal(&self, instance: InstanceId, changes: Box<[OriginChange]>) {
        let count = self.shards.len();
        if count == 1 {
            self.tell(0, Delta::Origins(instance, changes));
            return;
        }
        let mut hands: Vec<Vec<OriginChange>> = vec![Vec::new(); count];
        for change in changes {
            if let Some(hand) = hands.get_mut(shard_of(change.prefix, count)) {
                hand.push(change);
            }
        }
        let Some(known) = self.instances.get(&instance) else {
            return;
        };
        // All shares are open before the first is sent, so that none is told by itself.
        let dealt = (0u8..).zip(hands).filter(|(_, hand)| !hand.is_empty());
        let shares: Vec<_> = dealt
            .map(|(shard, hand)| (shard, hand, known.rib.open_change(ShardId(shard))))
            .collect();
        for (shard, hand, open) in shares {
            if let Some(shard) = self.shards.get(usize::from(shard)) {
                let hand = hand.into_boxed_slice();
                tell(shard, ShardCommand::Originate(instance, hand, open));
            }
        }
    }

    fn plan(&self) {
        let instances = self.instances.iter();
        let plan =
            listening::plan(instances.map(|(id, known)| (*id, &*known.settings, &known.neighbors)));
        self.plans.send_if_modified(|current| {
            let changed = **current != plan;
            if changed {
                *current = Arc::new(plan);
            }
            changed
        });
    }

    fn tell(&self, shard: u8, delta: Delta) {
        if let Some(shard) = self.shards.get(usize::from(shard)) {
            tell(shard, ShardCommand::Delta(delta));
        }
    }

    fn tell_all(&self, delta: &Delta) {
        for shard in self.shards.iter() {
            tell(shard, ShardCommand::Delta(delta.clone()));
        }
    }
}

fn tell(shard: &InboxSender<ShardCommand>, command: ShardCommand) {
    // A shard that is gone belongs to an engine that stops.
    let _ = shard.send(Message::Command(command));
}
