//! One core's work: its peers, their sessions, update groups and share of the table.
//!
//! No I/O, no clock, no random source: a driver (a ring, or the simulator) calls `handle_*` with
//! the time and what happened, and takes what is to be done from `poll_*`. A turn of the driver:
//! commands, `handle_*`, [`Shard::work`], then `poll_action`, `poll_writable` and `poll_transmit`
//! until they are empty, then its timer is set to `poll_timeout`.
//!
//! Invariants: a peer lives on exactly one shard; a connection belongs to one peer and slot until
//! it is closed; a peer has a source and a group exactly while its session is established.

mod command;
mod connection;
mod instance;
mod peer;
mod query;
mod receive;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ahash::AHashMap;
use bytes::Bytes;
use codec::notification::cease;
use codec::{Family, Notification, RouteRefresh};
use rib::{RibWriter, ShardId, SourceInfo, SourceKind};

pub use command::{
    Action, ConnectTarget, ConnectionId, PrefixView, Query, Reply, ShardCommand, SocketOptions,
};
use connection::{Connections, next_message};
use instance::Instance;
use peer::{Established, Peer, PeerId, Peers, socket_options};

use crate::config::{Delta, Import, InstanceId, Neighbor};
use crate::group::{ExportView, Interfaces, MemberId, Outbox, own_next_hop};
use crate::session::{Accept, Received, Session, SessionAction, SessionConfig, Slot};
use crate::time::Time;

/// What a shard is made with.
pub struct ShardOptions {
    /// Which one it is.
    pub id: ShardId,
    /// Decides the jitter of its sessions.
    pub seed: u64,
    /// Asked for next hops when a session comes up.
    pub interfaces: Box<dyn Interfaces>,
}

/// One core's work. See the module's page.
pub struct Shard {
    id: ShardId,
    seed: u64,
    interfaces: Box<dyn Interfaces>,
    instances: AHashMap<InstanceId, Instance>,
    peers: Peers,
    connections: Connections,
    actions: VecDeque<Action>,
    /// No session may come up again.
    shut_down: bool,
    #[cfg(any(test, feature = "planted-faults"))]
    fault: Option<crate::group::Fault>,
}

impl Shard {
    /// A shard without instances and peers.
    pub fn new(options: ShardOptions) -> Shard {
        Shard {
            id: options.id,
            seed: options.seed,
            interfaces: options.interfaces,
            instances: AHashMap::new(),
            peers: Peers::default(),
            connections: Connections::default(),
            actions: VecDeque::new(),
            shut_down: false,
            #[cfg(any(test, feature = "planted-faults"))]
            fault: None,
        }
    }

    /// Plants a fault in every group that is made from now on.
    #[cfg(any(test, feature = "planted-faults"))]
    pub fn plant(&mut self, fault: crate::group::Fault) {
        self.fault = Some(fault);
        for instance in self.instances.values_mut() {
            instance.fault = Some(fault);
        }
    }

    /// Takes a command of another thread.
    pub fn handle_command(&mut self, now: Time, command: ShardCommand) {
        match command {
            ShardCommand::Instance(id, writer) => self.add_instance(id, writer),
            ShardCommand::Delta(delta) => self.handle_delta(now, delta),
            ShardCommand::Query(query) => self.answer(now, query),
            ShardCommand::Reset {
                instance,
                peer,
                reply,
            } => reply(self.reset(now, instance.as_deref(), peer)),
            // The marks are in the table; the turn's `work` finds them.
            ShardCommand::Wake => {}
        }
    }

    /// Closes every session with Cease/Administrative Shutdown and opens none again.
    pub fn handle_shutdown(&mut self, now: Time) {
        self.shut_down = true;
        for id in self.peers.ids() {
            self.stop(now, id, Notification::cease(cease::ADMINISTRATIVE_SHUTDOWN));
        }
    }

    /// A connection that was asked for stands.
    pub fn handle_connected(
        &mut self,
        now: Time,
        connection: ConnectionId,
        local: SocketAddr,
        _remote: SocketAddr,
    ) {
        if let Some(id) = self.peer_of(connection)
            && let Some(peer) = self.peers.get_mut(id)
        {
            peer.session.handle_connected(now, local);
            self.drain(now, id);
        }
    }

    /// A connection that was asked for could not be had; `words` say why.
    pub fn handle_connect_failed(&mut self, now: Time, connection: ConnectionId, words: String) {
        let Some(id) = self.forget_connection(connection) else {
            return;
        };
        if let Some(peer) = self.peers.get_mut(id) {
            peer.session.handle_connect_failed(now, &words);
            self.drain(now, id);
        }
    }

    /// A peer connected. None: it is closed without a word.
    pub fn handle_accepted(
        &mut self,
        now: Time,
        instance: InstanceId,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Option<ConnectionId> {
        let id = self.peers.find(instance, remote.ip())?;
        let peer = self.peers.get_mut(id)?;
        let accepted = peer.session.handle_accepted(now, local);
        if accepted == Accept::Refused(None) {
            self.drain(now, id);
            return None;
        }
        let connection = self.connections.add(id, Slot::Incoming);
        if let Accept::Refused(Some(notification)) = accepted {
            let mut message = Vec::new();
            codec::encode_notification(&notification, &mut message);
            self.connections
                .send(connection, Bytes::from(message), false);
            self.connections.close(connection);
            self.actions.push_back(Action::Close { connection });
            self.drain(now, id);
            return Some(connection);
        }
        if let Some(peer) = self.peers.get_mut(id) {
            // It takes the slot by an action that is queued, behind the close of one that stands
            // there.
            peer.next_incoming = Some(connection);
            let options = Arc::new(socket_options(&peer.neighbor));
            self.actions.push_back(Action::SetOptions {
                connection,
                options,
            });
        }
        self.drain(now, id);
        Some(connection)
    }

    /// Bytes arrived.
    pub fn handle_bytes(&mut self, now: Time, connection: ConnectionId, bytes: &[u8]) {
        let Some(live) = self.connections.get_mut(connection) else {
            return;
        };
        let (peer, slot) = (live.peer, live.slot);
        let mut partial = live.take_partial();
        let mut rest = bytes;
        // The message may have been the last of its connection.
        while self.connections.get(connection).is_some() {
            match next_message(&mut partial, &mut rest) {
                Ok(Some(message)) => self.handle_message(now, peer, slot, message.octets()),
                Ok(None) => break,
                Err(notification) => self.handle_fault(now, peer, slot, notification),
            }
        }
        if let Some(live) = self.connections.get_mut(connection) {
            live.keep_partial(partial);
        }
    }

    /// The peer closed, or the connection broke; `words` say which. The connection is no more.
    pub fn handle_closed(&mut self, now: Time, connection: ConnectionId, words: String) {
        let slot = self.connections.get(connection).map(|live| live.slot);
        let (Some(id), Some(slot)) = (self.forget_connection(connection), slot) else {
            return;
        };
        if let Some(peer) = self.peers.get_mut(id) {
            peer.session.handle_closed(now, slot, &words);
            self.drain(now, id);
        }
    }

    /// Takes at most about `max_octets` queued octets, in whole messages, and returns how many.
    /// What is taken is sent. Slices are appended to `slices`.
    pub fn poll_transmit(
        &mut self,
        connection: ConnectionId,
        slices: &mut Vec<Bytes>,
        max_octets: usize,
    ) -> usize {
        self.connections.take(connection, slices, max_octets)
    }

    /// The kernel took `octets` more.
    pub fn handle_written(&mut self, now: Time, connection: ConnectionId, octets: usize) {
        let Some(backlog) = self.connections.written(connection, octets) else {
            return;
        };
        let Some(live) = self.connections.get(connection) else {
            return;
        };
        let (id, slot) = (live.peer, live.slot);
        if let Some(peer) = self.peers.get_mut(id) {
            peer.session.handle_written(now, slot, octets);
            peer.session.handle_backlog(now, slot, backlog);
            self.peers.arm(id);
        }
    }

    /// The next connection that went from nothing to send to something to send.
    pub fn poll_writable(&mut self) -> Option<ConnectionId> {
        self.connections.poll_writable()
    }

    /// One bounded quantum of table work. True: there is more that can be done now.
    pub fn work(&mut self, now: Time) -> bool {
        let mut more = false;
        for instance in self.instances.values_mut() {
            let mut outbox = Wire {
                peers: &self.peers,
                connections: &mut self.connections,
            };
            let (wake, busy) = instance.work(&mut outbox);
            more |= busy;
            if wake != 0 {
                self.actions.push_back(Action::Wake(wake));
            }
        }
        self.report_backlogs(now);
        more
    }

    /// The time that `poll_timeout` named has come.
    pub fn handle_timeout(&mut self, now: Time) {
        while let Some(id) = self.peers.pop_due(now) {
            if let Some(peer) = self.peers.get_mut(id) {
                peer.session.handle_timeout(now);
            }
            self.drain(now, id);
        }
    }

    /// When `handle_timeout` is wanted next.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.peers.next_timeout()
    }

    /// The next thing asked of the driver.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Whether no session has a connection.
    pub fn is_disconnected(&self) -> bool {
        self.connections.is_empty()
    }

    /// Whether no table work is left and every peer has been told everything. For tests and the
    /// simulator.
    pub fn is_quiet(&self) -> bool {
        self.instances.values().all(Instance::is_quiet)
    }

    /// Panics if an invariant of the shard or of what it holds is broken. For tests and the
    /// simulator.
    pub fn audit(&self) {
        for instance in self.instances.values() {
            for group in instance.groups.iter().flatten() {
                group.audit();
            }
        }
        for (id, peer) in self.peers.iter() {
            peer.session.audit();
            let established = peer.session.established().is_some();
            assert_eq!(peer.established.is_some(), established, "{id:?} is half up");
            for (slot, connection) in Slot::ALL.into_iter().zip(peer.connections) {
                let live = connection.and_then(|connection| self.connections.get(connection));
                assert_eq!(
                    live.is_some(),
                    connection.is_some(),
                    "{id:?} lost a connection"
                );
                if let Some(live) = live {
                    assert_eq!(
                        (live.peer, live.slot),
                        (id, slot),
                        "a connection changed hands"
                    );
                }
            }
        }
    }

    fn add_instance(&mut self, id: InstanceId, writer: RibWriter) {
        #[cfg_attr(
            not(any(test, feature = "planted-faults")),
            expect(unused_mut, reason = "only faults change it")
        )]
        let mut instance = Instance::new(writer);
        #[cfg(any(test, feature = "planted-faults"))]
        {
            instance.fault = self.fault;
        }
        self.instances.insert(id, instance);
    }

    fn handle_delta(&mut self, now: Time, delta: Delta) {
        match delta {
            Delta::Instance(id, settings) => {
                let Some(instance) = self.instances.get_mut(&id) else {
                    return;
                };
                let was_enabled = instance.enabled();
                let enabled = settings.enabled;
                instance.settings = Some(settings);
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
            Delta::Neighbor(id, neighbor) => match self.peers.find(id, neighbor.address) {
                Some(peer) => self.change_peer(now, peer, neighbor),
                None => self.add_peer(now, id, neighbor),
            },
            Delta::NeighborGone(id, address) => {
                if let Some(peer) = self.peers.find(id, address) {
                    self.remove_peer(now, peer);
                }
            }
            Delta::Origins(id, changes) => {
                if let Some(instance) = self.instances.get_mut(&id) {
                    instance.originate(changes);
                }
            }
        }
    }

    fn peers_of(&self, instance: InstanceId) -> Vec<PeerId> {
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
                self.stop(now, id, Notification::cease(cease::ADMINISTRATIVE_SHUTDOWN));
            }
        }
    }

    fn start(&mut self, now: Time, id: PeerId) {
        if self.shut_down {
            return;
        }
        if let Some(peer) = self.peers.get_mut(id) {
            peer.session.handle_start(now);
            self.drain(now, id);
        }
    }

    fn stop(&mut self, now: Time, id: PeerId, notification: Notification) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.session.handle_stop(now, notification);
            self.drain(now, id);
        }
    }

    fn reset(&mut self, now: Time, instance: Option<&str>, address: Option<IpAddr>) -> usize {
        let mut count = 0;
        for id in self.peers.ids() {
            let Some(peer) = self.peers.get_mut(id) else {
                continue;
            };
            let name = self.instances.get(&peer.instance).map(Instance::name);
            let meant = instance.is_none_or(|wanted| name == Some(wanted))
                && address.is_none_or(|wanted| wanted == peer.neighbor.address);
            if meant {
                let notification = Notification::cease(cease::ADMINISTRATIVE_RESET);
                peer.session.handle_reset(now, notification);
                self.drain(now, id);
                count += 1;
            }
        }
        count
    }

    fn add_peer(&mut self, now: Time, instance: InstanceId, neighbor: Arc<Neighbor>) {
        let Some(enabled) = self.instances.get(&instance).map(Instance::enabled) else {
            return;
        };
        // Each session has jitter of its own, and the same one in every replay.
        let seeds = ahash::RandomState::with_seeds(self.seed, 1, 2, 3);
        let seed = seeds.hash_one((instance, neighbor.address));
        let id = self.peers.add(Peer {
            instance,
            session: Session::new(SessionConfig::of(&neighbor), seed),
            neighbor,
            connections: [None, None],
            next_incoming: None,
            established: None,
            armed: None,
        });
        if enabled {
            self.start(now, id);
        }
    }

    fn remove_peer(&mut self, now: Time, id: PeerId) {
        self.stop(now, id, Notification::cease(cease::PEER_DECONFIGURED));
        self.peers.remove(id);
    }

    /// Follows new settings of a live neighbor: what can be changed under a session is.
    fn change_peer(&mut self, now: Time, id: PeerId, neighbor: Arc<Neighbor>) {
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
        if reset {
            return;
        }
        if options_changed {
            self.set_options(id, options);
        }
        self.change_import(id, old.import, neighbor.import);
        self.change_view(id);
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

    fn change_import(&mut self, id: PeerId, old: Import, new: Import) {
        if old == new {
            return;
        }
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let Some(established) = &mut peer.established else {
            return;
        };
        match new {
            Import::None => {
                let ids = std::mem::take(&mut established.adj_rib_in);
                established.rejected = Default::default();
                if let Some(instance) = self.instances.get_mut(&peer.instance) {
                    instance.tear_down(established.source, ids, false);
                }
            }
            Import::All => {
                for counted in &mut established.counted {
                    counted.clear();
                }
            }
        }
        // What was not kept has to be asked for again; so has what is to be counted.
        let connection = established.connection;
        for family in established.negotiated.families.iter() {
            let refresh = RouteRefresh {
                afi: family.afi(),
                safi: family.safi(),
                subtype: 0,
            };
            let mut message = Vec::new();
            codec::encode_route_refresh(&refresh, &mut message);
            self.connections
                .send(connection, Bytes::from(message), false);
        }
    }

    /// The peer changes groups if what it is told has to look different now.
    fn change_view(&mut self, id: PeerId) {
        let Some(view) = self.view_of(id) else {
            return;
        };
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let (Some(established), Some(instance)) = (
            &mut peer.established,
            self.instances.get_mut(&peer.instance),
        ) else {
            return;
        };
        let (source, old) = (established.source, established.group);
        let Some(group) = instance.group(old) else {
            return;
        };
        if *group.view() == view {
            return;
        }
        let told = group.told_ids(source);
        let place = instance.group_of(view);
        established.group = place;
        let adj_rib_in = established.adj_rib_in.clone();
        let mut outbox = Wire {
            peers: &self.peers,
            connections: &mut self.connections,
        };
        instance.leave(old, id, source, &mut outbox);
        let rib = Arc::clone(instance.writer.rib());
        if let Some(group) = instance.group_mut(place) {
            group.join(id, source, Some(told), &mut outbox);
            group.adopt(&rib, &rib.guard(), &adj_rib_in);
        }
    }

    fn peer_of(&self, connection: ConnectionId) -> Option<PeerId> {
        self.connections.get(connection).map(|live| live.peer)
    }

    fn forget_connection(&mut self, connection: ConnectionId) -> Option<PeerId> {
        let live = self.connections.remove(connection)?;
        if let Some(peer) = self.peers.get_mut(live.peer)
            && peer.connections[live.slot as usize] == Some(connection)
        {
            peer.connections[live.slot as usize] = None;
        }
        Some(live.peer)
    }

    fn handle_message(&mut self, now: Time, id: PeerId, slot: Slot, message: &[u8]) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        match peer.session.handle_message(now, slot, message) {
            Received::Nothing => self.drain(now, id),
            Received::Update(body) => {
                let Some(instance) = self.instances.get_mut(&peer.instance) else {
                    return;
                };
                match receive::update(instance, peer, body) {
                    Ok(()) => self.peers.arm(id),
                    Err(notification) => self.handle_fault(now, id, slot, notification),
                }
            }
            Received::RouteRefresh(refresh) => {
                self.refresh(id, refresh);
                self.drain(now, id);
            }
        }
    }

    fn refresh(&mut self, id: PeerId, refresh: RouteRefresh) {
        let Some(family) = Family::from_afi_safi(refresh.afi, refresh.safi) else {
            return;
        };
        let Some(peer) = self.peers.get(id) else {
            return;
        };
        let (Some(established), Some(instance)) =
            (&peer.established, self.instances.get_mut(&peer.instance))
        else {
            return;
        };
        let place = established.group;
        let mut outbox = Wire {
            peers: &self.peers,
            connections: &mut self.connections,
        };
        if let Some(group) = instance.group_mut(place) {
            group.refresh(id, family, &mut outbox);
        }
    }

    fn handle_fault(&mut self, now: Time, id: PeerId, slot: Slot, notification: Notification) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.session.handle_fault(now, slot, notification);
            self.drain(now, id);
        }
    }

    /// Does what the session asks, in order.
    fn drain(&mut self, now: Time, id: PeerId) {
        while let Some(action) = self.next_session_action(id) {
            self.perform(now, id, action);
        }
        self.peers.arm(id);
    }

    fn next_session_action(&mut self, id: PeerId) -> Option<SessionAction> {
        self.peers.get_mut(id)?.session.poll_action()
    }

    fn perform(&mut self, now: Time, id: PeerId, action: SessionAction) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        match action {
            SessionAction::Connect => {
                let connection = self.connections.add(id, Slot::Outgoing);
                peer.connections[Slot::Outgoing as usize] = Some(connection);
                let neighbor = &peer.neighbor;
                let to = Arc::new(ConnectTarget {
                    remote: SocketAddr::new(neighbor.address, neighbor.port),
                    local: neighbor.local_address,
                    options: socket_options(neighbor),
                });
                self.actions.push_back(Action::Connect { connection, to });
            }
            SessionAction::Accepted => {
                peer.connections[Slot::Incoming as usize] = peer.next_incoming.take();
            }
            SessionAction::Transmit(slot, message) => {
                if let Some(connection) = peer.connection(slot) {
                    // A KEEPALIVE need not wait behind the table that it keeps alive.
                    let urgent = peer.established.is_some() && is_keepalive(&message);
                    self.connections.send(connection, message, urgent);
                }
            }
            SessionAction::Close(slot) => self.close(id, slot),
            SessionAction::Abort(slot) => {
                if let Some(connection) = peer.connection(slot) {
                    self.connections.clear_queue(connection);
                }
                self.close(id, slot);
            }
            SessionAction::Established(slot, negotiated) => self.up(now, id, slot, negotiated),
            SessionAction::Down(_) => self.down(id),
        }
    }

    fn close(&mut self, id: PeerId, slot: Slot) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        if let Some(connection) = peer.connections[slot as usize].take() {
            self.connections.close(connection);
            self.actions.push_back(Action::Close { connection });
        }
    }

    fn up(
        &mut self,
        now: Time,
        id: PeerId,
        slot: Slot,
        negotiated: Arc<crate::session::Negotiated>,
    ) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let Some(connection) = peer.connection(slot) else {
            return;
        };
        let Some(instance) = self.instances.get_mut(&peer.instance) else {
            return;
        };
        let kind = match negotiated.peer_asn == peer.neighbor.local_asn {
            true => SourceKind::Internal,
            false => SourceKind::External,
        };
        let source = instance.writer.add_source(SourceInfo {
            kind,
            asn: negotiated.peer_asn,
            router_id: negotiated.peer_router_id,
            address: Some(peer.neighbor.address),
        });
        peer.established = Some(Established {
            connection,
            negotiated,
            source,
            group: 0,
            since: now,
            adj_rib_in: Default::default(),
            rejected: Default::default(),
            counted: Default::default(),
            malformed_updates: 0,
        });
        let Some(view) = self.view_of(id) else {
            return;
        };
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let Some(instance) = self.instances.get_mut(&peer.instance) else {
            return;
        };
        let place = instance.group_of(view);
        if let Some(established) = &mut peer.established {
            established.group = place;
        }
        let mut outbox = Wire {
            peers: &self.peers,
            connections: &mut self.connections,
        };
        if let Some(group) = instance.group_mut(place) {
            group.join(id, source, None, &mut outbox);
        }
    }

    fn down(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let Some(established) = peer.established.take() else {
            return;
        };
        let instance_id = peer.instance;
        self.connections.clear_queue(established.connection);
        let Some(instance) = self.instances.get_mut(&instance_id) else {
            return;
        };
        let mut outbox = Wire {
            peers: &self.peers,
            connections: &mut self.connections,
        };
        instance.leave(established.group, id, established.source, &mut outbox);
        instance.tear_down(established.source, established.adj_rib_in, true);
    }

    /// What a peer whose session is up is told, as far as it changes bytes.
    fn view_of(&self, id: PeerId) -> Option<ExportView> {
        let peer = self.peers.get(id)?;
        let established = peer.established.as_ref()?;
        let negotiated = &established.negotiated;
        let neighbor = &peer.neighbor;
        let local = negotiated.local_address.ip();
        let own = |family| {
            if !negotiated.families.contains(family) {
                return None;
            }
            let next_hop = own_next_hop(family, neighbor, local, self.interfaces.as_ref());
            if let Err(why) = next_hop {
                tracing::warn!(
                    peer = %neighbor.address,
                    %family,
                    "own routes of this family are not announced to the peer: {why}"
                );
            }
            next_hop.ok()
        };
        Some(ExportView {
            peer: peer.kind(),
            local_asn: neighbor.local_asn,
            four_octet_as: negotiated.wire.four_octet_as,
            families: negotiated.families,
            own_next_hop: Family::ALL.map(own),
            next_hop_self: neighbor.next_hop_self,
            export: neighbor.export,
            send_communities: neighbor.send_communities,
        })
    }

    /// Tells sessions whose queue went from empty to not, for the send hold timer (RFC 9687).
    fn report_backlogs(&mut self, now: Time) {
        while let Some(connection) = self.connections.pop_backlogged() {
            let Some(live) = self.connections.get(connection) else {
                continue;
            };
            let (id, slot, backlog) = (live.peer, live.slot, live.backlog());
            if let Some(peer) = self.peers.get_mut(id) {
                peer.session.handle_backlog(now, slot, backlog);
                self.peers.arm(id);
            }
        }
    }
}

fn is_keepalive(message: &[u8]) -> bool {
    message.len() == codec::HEADER_LEN
}

/// The connections of members, as a group sees them.
struct Wire<'a> {
    peers: &'a Peers,
    connections: &'a mut Connections,
}

impl Wire<'_> {
    fn connection(&self, member: MemberId) -> Option<ConnectionId> {
        Some(self.peers.get(member)?.established.as_ref()?.connection)
    }
}

impl Outbox for Wire<'_> {
    fn send(&mut self, member: MemberId, message: Bytes) {
        if let Some(connection) = self.connection(member) {
            self.connections.send(connection, message, false);
        }
    }

    fn backlog(&self, member: MemberId) -> usize {
        let connection = self.connection(member);
        let live = connection.and_then(|connection| self.connections.get(connection));
        live.map_or(0, connection::Connection::backlog)
    }
}
