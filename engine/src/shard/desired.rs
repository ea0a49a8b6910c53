//! Following the desired state: instances, neighbors and routes come, change and go live.
//!
//! A session is reset only for what OPEN negotiates or the connection is bound to; socket options,
//! import, export and next hops change under it.

use std::sync::Arc;

use codec::notification::cease;
use codec::{Family, IpPrefix, Notification};
use rib::{OpenChange, RibWriter};

use super::Shard;
use super::command::{Action, SocketOptions};
use super::import;
use super::instance::Instance;
use super::malformed::Malformed;
use super::peer::{Peer, PeerId, socket_options, source_info};
use crate::config::{Delta, Import, InstanceId, Neighbor, OriginChange, PeerAddress};
use crate::model::ResetReply;
use crate::session::{Session, SessionConfig, State};
use crate::time::Time;

impl Shard {
    pub(super) fn add_instance(&mut self, id: InstanceId, writer: RibWriter) {
        #[cfg_attr(not(test), expect(unused_mut, reason = "only faults change it"))]
        let mut instance = Instance::new(writer, self.seed);
        #[cfg(test)]
        {
            instance.fault = self.fault;
        }
        self.instances.insert(id, instance);
    }

    pub(super) fn handle_delta(&mut self, now: Time, delta: Delta) {
        match delta {
            Delta::Instance(id, settings) => {
                let Some(instance) = self.instances.get_mut(&id) else {
                    return;
                };
                let was_enabled = instance.enabled();
                let enabled = settings.enabled;
                let selection = settings.selection;
                let before = instance.settings.replace(settings);
                // A table is made with the selection of its first settings.
                if before.is_some_and(|before| before.selection != selection) {
                    instance.begin_reselecting();
                }
                if was_enabled != enabled {
                    self.enable(now, id, enabled);
                }
            }
            Delta::InstanceGone(id) => {
                for peer in self.peers_of(id) {
                    self.remove_peer(now, peer);
                }
                self.instances.remove(&id);
            }
            Delta::Neighbors(id, neighbors) => {
                let mut changed = Vec::new();
                for neighbor in neighbors {
                    match self.peers.find(id, neighbor.address) {
                        Some(peer) => {
                            let was_dynamic = self.make_static(peer);
                            self.change_peer(now, peer, neighbor);
                            if was_dynamic {
                                self.expect(now, peer);
                            }
                            changed.push(peer);
                        }
                        None => self.add_peer(now, id, neighbor),
                    }
                }
                self.regroup(&changed);
            }
            Delta::NeighborGone(id, address) => {
                if let Some(peer) = self.peers.find(id, address) {
                    self.remove_peer(now, peer);
                }
            }
            Delta::DynamicNeighbors(id, ranges) => self.set_dynamic_neighbors(now, id, &ranges),
            Delta::Origins(id, changes) => self.originate(id, changes, None),
        }
    }

    pub(super) fn originate(
        &mut self,
        id: InstanceId,
        changes: Box<[OriginChange]>,
        open: Option<OpenChange>,
    ) {
        if let Some(instance) = self.instances.get_mut(&id) {
            if !self.watches.is_empty() {
                self.watches.own(instance.name(), &changes);
            }
            instance.originate(changes, open);
        }
    }

    pub(super) fn peers_of(&self, instance: InstanceId) -> Vec<PeerId> {
        let peers = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.instance == instance);
        peers.map(|(id, _)| id).collect()
    }

    fn enable(&mut self, now: Time, instance: InstanceId, enabled: bool) {
        for id in self.peers_of(instance) {
            if enabled {
                self.start(now, id);
            } else {
                let notification = Notification::cease(cease::ADMINISTRATIVE_SHUTDOWN);
                let why = "BGP was disabled in the settings of this node";
                self.stop(now, id, notification.with_shutdown_communication(why));
            }
        }
    }

    /// Has a session come up, unless it must not.
    pub(super) fn start(&mut self, now: Time, id: PeerId) {
        let stays_down = |peer: &Peer| peer.held.is_some() || self.is_drained(peer);
        if self.shut_down || self.peers.get(id).is_some_and(stays_down) {
            return;
        }
        if let Some(peer) = self.peers.get_mut(id) {
            peer.session.handle_start(now);
            self.drain(now, id);
        }
    }

    /// For good: neither side keeps the other's routes.
    pub(super) fn stop(&mut self, now: Time, id: PeerId, notification: Notification) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.draining = None;
            let notification = peer.session.hard(notification);
            peer.session.handle_stop(now, notification);
            self.drain(now, id);
            self.give_up(id);
        }
    }

    /// Closes sessions, so that they come up anew.
    pub(super) fn reset(
        &mut self,
        now: Time,
        instance: Option<&str>,
        address: Option<PeerAddress>,
    ) -> ResetReply {
        let mut reply = ResetReply::default();
        for id in self.meant(instance, address) {
            match self.peers.get(id).and_then(|peer| self.without_reset(peer)) {
                None => reply.peers += 1,
                Some(why) => reply.notes.push(why),
            }
            if let Some(peer) = self.peers.get_mut(id) {
                let notification = Notification::cease(cease::ADMINISTRATIVE_RESET)
                    .with_shutdown_communication("reset by its operator");
                let notification = peer.session.hard(notification);
                peer.session.handle_reset(now, notification);
                self.drain(now, id);
                self.give_up(id);
                self.let_go(now, id);
            }
        }
        reply
    }

    /// What is to be said of a peer whose session a reset does not bring up anew; none: it does.
    fn without_reset(&self, peer: &Peer) -> Option<String> {
        let address = peer.neighbor.address;
        let has_session = peer.session.state() >= State::OpenSent;
        let instance = self.instances.get(&peer.instance);
        let why = if self.is_drained(peer) {
            let undrain = format!("it is drained; `ringbgp undrain {address}` lets it come up");
            if has_session {
                return Some(format!("{address} was closed and stays so: {undrain}"));
            }
            undrain
        } else if !instance.is_some_and(Instance::enabled) {
            "BGP is disabled in the settings of this node (enabled: false)".to_owned()
        } else if peer.held.is_some() || has_session {
            return None;
        } else if let Some(why) = &peer.session.config().withheld {
            format!("it stays idle: {why}")
        } else if peer.neighbor.passive {
            "it has no session, and is waited for to connect (passive)".to_owned()
        } else {
            "it has no session, and is dialled again within a second".to_owned()
        };
        let kept = match peer.retained {
            Some(_) => "; the routes that were kept until it is back are removed",
            None => "",
        };
        Some(format!("{address} was not reset: {why}{kept}"))
    }

    /// The peers that a command means.
    pub(super) fn meant(
        &self,
        instance: Option<&str>,
        address: Option<PeerAddress>,
    ) -> Vec<PeerId> {
        let is_meant = |peer: &Peer| {
            let name = self.instances.get(&peer.instance).map(Instance::name);
            instance.is_none_or(|wanted| name == Some(wanted))
                && address.is_none_or(|wanted| wanted == peer.neighbor.address)
        };
        let meant = self.peers.iter().filter(|(_, peer)| is_meant(peer));
        meant.map(|(id, _)| id).collect()
    }

    fn add_peer(&mut self, now: Time, instance: InstanceId, neighbor: Arc<Neighbor>) {
        let Some(enabled) = self.instances.get(&instance).map(Instance::enabled) else {
            return;
        };
        let id = self.peers.add(self.new_peer(instance, neighbor, None));
        self.expect(now, id);
        if enabled {
            self.start(now, id);
        }
    }

    /// A peer that is not started; `dynamic`: the prefix that it connects from.
    pub(super) fn new_peer(
        &self,
        instance: InstanceId,
        neighbor: Arc<Neighbor>,
        dynamic: Option<IpPrefix>,
    ) -> Peer {
        // Each session has jitter of its own, and the same one in every replay.
        let seeds = ahash::RandomState::with_seeds(self.seed, 1, 2, 3);
        let seed = seeds.hash_one((instance, neighbor.address));
        let mut session = Session::new(SessionConfig::of(&neighbor), seed);
        let place = match dynamic {
            Some(prefix) => prefix.to_string(),
            None => neighbor.address.to_string(),
        };
        session.set_own_restart(self.own_restart(instance, &place));
        Peer {
            instance,
            session,
            neighbor,
            connections: [None, None],
            next_incoming: None,
            established: None,
            retained: None,
            held: None,
            awaited: None,
            armed: None,
            malformed: Malformed::default(),
            shown: State::Idle,
            draining: None,
            dynamic,
        }
    }

    pub(super) fn remove_peer(&mut self, now: Time, id: PeerId) {
        self.stop(now, id, Notification::cease(cease::PEER_DECONFIGURED));
        self.forget_peer(id);
    }

    /// Follows new settings of a live neighbor: what can be changed under a session is, but for what
    /// it is told, which is [`Shard::regroup`]'s.
    pub(super) fn change_peer(&mut self, now: Time, id: PeerId, neighbor: Arc<Neighbor>) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let old = std::mem::replace(&mut peer.neighbor, Arc::clone(&neighbor));
        let options = socket_options(&neighbor);
        let options_changed = options != socket_options(&old);
        let mut reset = peer
            .session
            .handle_config(now, SessionConfig::of(&neighbor));
        if options_changed && !reset && peer.established.is_none() {
            // What is under way fails under the old key or TTL: begin anew.
            let notification = Notification::cease(cease::OTHER_CONFIGURATION_CHANGE);
            peer.session.handle_reset(now, notification);
            reset = true;
        }
        self.drain(now, id);
        self.look_whether_to_wait_on(id);
        if old.max_prefixes != neighbor.max_prefixes {
            self.let_go_by(now, id, &old.max_prefixes);
            self.check_limits(now, id);
        }
        let judged_alike = old.own_asns == neighbor.own_asns
            && old.allow_own_asn == neighbor.allow_own_asn
            && old.cluster_id == neighbor.cluster_id
            && old.builtin_filters == neighbor.builtin_filters
            && old.next_hop_ipv4 == neighbor.next_hop_ipv4
            && old.next_hop_ipv6 == neighbor.next_hop_ipv6
            && old.template == neighbor.template;
        self.change_source(id);
        self.give_up_unexpected(id);
        if reset {
            if old.import != neighbor.import || !judged_alike {
                // Its routes may outlive the session.
                self.change_import_policy(id);
                self.reconsider_all(id);
            }
            return;
        }
        if options_changed {
            self.set_options(id, options);
        }
        self.change_import(id, &old.import, &neighbor.import, judged_alike);
    }

    fn set_options(&mut self, id: PeerId, options: SocketOptions) {
        let options = Arc::new(options);
        let connections = self.peers.get(id).map(|peer| peer.connections);
        for connection in connections.into_iter().flatten().flatten() {
            self.actions.push_back(Action::SetOptions {
                connection,
                options: Arc::clone(&options),
            });
        }
    }

    /// Whom a peer's routes may go to changes with its being a client: export looks at them anew.
    fn change_source(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get(id) else {
            return;
        };
        let (Some(learned), Some(instance)) =
            (peer.learned(), self.instances.get_mut(&peer.instance))
        else {
            return;
        };
        let source = learned.source;
        let new = source_info(&peer.neighbor, &learned.negotiated);
        let rib = instance.writer.rib();
        let known = *rib.source(source, &rib.guard());
        if known == new {
            return;
        }
        if !known.selects_like(&new) {
            // Only of a peer that is away: its settings make another one of it.
            return self.give_up(id);
        }
        instance.writer.set_source(source, new);
        for family in Family::ALL {
            for prefix in learned.adj_rib_in[family.index()].iter() {
                instance.writer.mark(family, prefix);
            }
        }
    }

    fn change_import(&mut self, id: PeerId, old: &Import, new: &Import, judged_alike: bool) {
        if old == new && judged_alike {
            return;
        }
        self.change_import_policy(id);
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let Some(established) = &mut peer.established else {
            // What a peer that is away had said is judged like everybody's.
            return self.reconsider_all(id);
        };
        match (old, new) {
            (Import::None, Import::None) => return,
            (_, Import::None) => {
                established.change_keeping(false);
                let ids = std::mem::take(&mut established.adj_rib_in);
                established.rejected = Default::default();
                established.stale = Default::default();
                established.unrepeated = Default::default();
                established.reconsider = Default::default();
                if let Some(instance) = self.instances.get_mut(&peer.instance) {
                    instance.tear_down(established.source, ids, false);
                }
            }
            (Import::None, _) => established.change_keeping(true),
            // What came is there as it came.
            _ => return self.reconsider_all(id),
        }
        // What was not kept has to be asked for again; so has what is to be counted.
        self.ask_anew(id);
    }

    /// Gives a peer the import policy that its settings name, and what is ourselves to it.
    fn change_import_policy(&mut self, id: PeerId) {
        let peer = self.peers.get(id);
        let Some(own) = peer.and_then(|peer| self.own_next_hops(peer)) else {
            return;
        };
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let instance = self.instances.get_mut(&peer.instance);
        let ((neighbor, Some(learned)), Some(instance)) = (peer.with_neighbor_mut(), instance)
        else {
            return;
        };
        learned.own_addresses = import::own_addresses(learned, own);
        let applied = import::applied(neighbor, learned, own);
        let new = applied.map(|applied| instance.imports.take(applied));
        if let Some(old) = std::mem::replace(&mut learned.import, new) {
            instance.imports.give_back(old);
        }
    }

    fn ask_anew(&mut self, id: PeerId) {
        if let Err(why) = self.ask_again(id) {
            tracing::warn!("new settings hold for what comes from now on: {why}");
        }
    }
}
