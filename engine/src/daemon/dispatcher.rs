//! From the watcher's deltas to the shards and the listeners.
//!
//! Runs on the watcher's thread and may block there when a shard is behind. Invariants: an
//! instance's table reaches a shard before anything else of the instance; the listeners that a
//! change asks for are open before a shard hears of the change; the directory names a peer's shard
//! only once that shard was told of the peer; one change of routes is at most one command a shard.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use crossbeam_channel::Receiver;
use rib::{Rib, RibOptions, ShardId};
use tokio::sync::watch;

use super::listening::{self, Neighbors};
use super::placement::{Placement, shard_of};
use crate::config::{
    Delta, InstanceId, InstanceSettings, Neighbor, OriginChange, PeerAddress, Rpki,
};
use crate::ring::{Directory, Followed, InboxSender, ListenPlan, Message, RtrClients};
use crate::shard::{Deferral, ShardCommand};

/// Places peers on shards and deals out what changes.
pub struct Dispatcher {
    shards: Arc<[InboxSender<ShardCommand>]>,
    directory: Arc<ArcSwap<Directory>>,
    listening: Listening,
    placement: Placement,
    instances: BTreeMap<InstanceId, Known>,
    rtr: RtrClients,
    /// Instances whose caches are to be configured once the shards know the instance; none: it is gone.
    caches: Vec<(InstanceId, Option<Arc<InstanceSettings>>)>,
    /// For the shards, in order, once the listeners are open.
    commands: Vec<(u8, ShardCommand)>,
    /// Counts the neighbors that are waited for after a restart, before they are dealt out.
    deferral: Deferral,
    /// The first listeners cannot be had: the process is about to say so and end.
    is_over: bool,
}

/// The dispatcher's ends of what joins it to the listeners.
pub(super) struct Listening {
    /// What is to be listened on.
    pub(super) plans: watch::Sender<Arc<ListenPlan>>,
    /// Every plan that was carried out.
    pub(super) followed: Receiver<Followed>,
    /// False while a change is on its way: accepted connections wait.
    pub(super) is_settled: watch::Sender<bool>,
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
        listening: Listening,
        rtr: RtrClients,
        deferral: Deferral,
    ) -> Dispatcher {
        Dispatcher {
            placement: Placement::new(shards.len()),
            shards,
            directory,
            listening,
            instances: BTreeMap::new(),
            rtr,
            caches: Vec::new(),
            commands: Vec::new(),
            deferral,
            is_over: false,
        }
    }

    /// Carries out one change of the desired state.
    pub fn dispatch(&mut self, deltas: impl IntoIterator<Item = Delta>) {
        if self.is_over {
            return;
        }
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
        let Some(directory) = directory else {
            self.send_commands();
            return;
        };
        // Whoever is to be waited for after a restart has been counted.
        self.deferral.begin();
        self.listening.is_settled.send_replace(false);
        self.is_over = !self.listen();
        if self.is_over {
            // Nobody is dialled by a daemon that is about to end.
            self.commands.clear();
            return;
        }
        self.send_commands();
        self.directory.store(Arc::new(directory));
        self.listening.is_settled.send_replace(true);
        self.configure_caches();
    }

    /// Caches of the RPKI are spoken to as long as the instance is enabled.
    fn configure_caches(&mut self) {
        for (id, settings) in self.caches.drain(..) {
            let settings = settings.map(|settings| {
                let caches = match settings.enabled {
                    true => Rpki::clone(&settings.rpki),
                    false => Rpki::default(),
                };
                (Arc::clone(&settings.name), caches)
            });
            self.rtr.configure(id, settings);
        }
    }

    fn send_commands(&mut self) {
        for (shard, command) in self.commands.drain(..) {
            if let Some(shard) = self.shards.get(usize::from(shard)) {
                // A shard that is gone belongs to an engine that stops.
                let _ = shard.send(Message::Command(command));
            }
        }
    }

    fn dispatch_settings(&mut self, delta: Delta, directory: &mut Directory) {
        match delta {
            Delta::Instance(id, settings) => {
                directory.name(id, Arc::clone(&settings.name));
                self.caches.push((id, Some(Arc::clone(&settings))));
                self.set_instance(id, settings);
            }
            Delta::InstanceGone(id) => {
                if let Some(known) = self.instances.remove(&id) {
                    for peer in known.neighbors.named.keys() {
                        directory.remove(id, *peer);
                        self.placement.remove(id, *peer);
                    }
                }
                directory.remove_instance(id);
                self.caches.push((id, None));
                self.tell_all(&Delta::InstanceGone(id));
            }
            Delta::Neighbors(id, neighbors) => self.set_neighbors(id, neighbors, directory),
            Delta::DynamicNeighbors(id, ranges) => {
                let prefixes = ranges.iter().map(|range| range.prefix);
                directory.set_dynamic(id, prefixes, self.shards.len() as u8);
                self.tell_all(&Delta::DynamicNeighbors(id, ranges.clone()));
                if let Some(known) = self.instances.get_mut(&id) {
                    known.neighbors.dynamic = ranges;
                }
            }
            Delta::NeighborGone(id, peer) => {
                directory.remove(id, peer);
                self.remove_neighbor(id, peer);
            }
            Delta::Origins(..) => {}
        }
    }

    fn set_instance(&mut self, id: InstanceId, settings: Arc<InstanceSettings>) {
        if let Some(known) = self.instances.get_mut(&id) {
            // Before the shards hear of it: they choose anew once they do.
            if known.settings.selection != settings.selection {
                known.rib.set_selection(settings.selection);
            }
            known.settings = Arc::clone(&settings);
        } else {
            let rib = Rib::new(RibOptions {
                shards: self.shards.len() as u8,
                selection: settings.selection,
            });
            for shard in 0..self.shards.len() as u8 {
                let writer = rib.writer(ShardId(shard));
                let command = ShardCommand::Instance(id, writer);
                self.commands.push((shard, command));
            }
            let known = Known {
                rib,
                settings: Arc::clone(&settings),
                neighbors: Neighbors::default(),
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
            if self.deferral.awaits(&known.settings.name, &neighbor)
                && !known.neighbors.named.contains_key(&peer)
                && !self.deferral.is_over()
            {
                self.deferral.expect(1);
            }
            let known = known.neighbors.named.insert(peer, Arc::clone(&neighbor));
            let shard = self.placement.place(id, &neighbor);
            let dynamic = directory.dynamic_owner(id, peer).filter(|of| *of != shard);
            if let (None, Some(before)) = (known, dynamic) {
                // It may be connected as a dynamic peer.
                let gone = Delta::NeighborGone(id, peer);
                self.commands.push((before, ShardCommand::Delta(gone)));
            }
            directory.insert(id, peer, shard);
            hands.entry(shard).or_default().push(neighbor);
        }
        for (shard, hand) in hands {
            self.tell(shard, Delta::Neighbors(id, hand.into_boxed_slice()));
        }
    }

    fn remove_neighbor(&mut self, id: InstanceId, peer: PeerAddress) {
        if let Some(known) = self.instances.get_mut(&id) {
            known.neighbors.named.remove(&peer);
        }
        if let Some(shard) = self.placement.remove(id, peer) {
            self.tell(shard, Delta::NeighborGone(id, peer));
        }
    }

    /// Deals routes of our own to the shards that originate them.
    fn deal(&mut self, instance: InstanceId, changes: Box<[OriginChange]>) {
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
        let commands = shares.into_iter().map(|(shard, hand, open)| {
            let hand = hand.into_boxed_slice();
            (shard, ShardCommand::Originate(instance, hand, open))
        });
        self.commands.extend(commands);
    }

    /// Has the listeners opened that are wanted now, and waits for it. False: those that were
    /// wanted first cannot be had.
    fn listen(&self) -> bool {
        let instances = self.instances.iter();
        let plan =
            listening::plan(instances.map(|(id, known)| (*id, &*known.settings, &known.neighbors)));
        if **self.listening.plans.borrow() == plan {
            return true;
        }
        let plan = Arc::new(plan);
        self.listening.plans.send_replace(Arc::clone(&plan));
        // Whoever opens listeners is gone with the engine.
        let mut followed = self.listening.followed.iter();
        let answer = followed.find(|followed| Arc::ptr_eq(&followed.plan, &plan));
        answer.is_none_or(|followed| followed.is_possible)
    }

    fn tell(&mut self, shard: u8, delta: Delta) {
        self.commands.push((shard, ShardCommand::Delta(delta)));
    }

    fn tell_all(&mut self, delta: &Delta) {
        for shard in 0..self.shards.len() as u8 {
            self.tell(shard, delta.clone());
        }
    }
}
