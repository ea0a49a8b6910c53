//! One core's work: its peers, their sessions, update groups and share of the table.
//!
//! No I/O, no clock, no random source: a driver (a ring, or the simulator) calls `handle_*` with
//! the time and what happened, and takes what is to be done from `poll_*`. A turn of the driver:
//! commands, `handle_*`, [`Shard::work`], then `poll_action`, `poll_writable` and `poll_transmit`
//! until they are empty, then its timer is set to `poll_timeout`.
//!
//! Invariants: a peer lives on exactly one shard; a connection belongs to one peer and slot until
//! it is closed; a peer has a source and a group exactly while its session is established.

mod arrivals;
#[cfg(test)]
mod bed;
mod command;
mod connection;
mod deferral;
mod desired;
mod dynamic;
mod graceful_shutdown;
mod import;
mod instance;
mod judgement;
mod limits;
mod long_lived;
mod malformed;
mod memory;
mod own_routes;
mod peer;
#[cfg(test)]
mod policy_tests;
mod query;
mod receive;
mod reclaim;
mod reconsider;
mod refresh;
mod regroup;
mod reselect;
mod retained;
#[cfg(test)]
mod rig;
mod sessions;
mod stale;
mod teardown;
#[cfg(test)]
mod tests;
mod told;
mod validation;
mod watch;
mod withheld;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ahash::AHashMap;
use bytes::Bytes;
use codec::notification::cease;
use codec::{IpPrefix, Notification};
use rib::ShardId;

pub use command::{
    Action, ConnectTarget, ConnectionId, PrefixView, Query, Reply, ShardCommand, SocketOptions,
};
pub use connection::SLICES_AT_ONCE;
use connection::{Connections, next_message};
pub use deferral::Deferral;
pub use dynamic::DynamicPeers;
use instance::Instance;
use judgement::Judgement;
pub use memory::EstablishedPeers;
use memory::Memory;
use peer::{Established, PeerId, Peers, socket_options};
use stale::Cause;
use told::Told;
use watch::Watches;
pub use watch::{Event, Watch, Watched, watch};

use crate::config::{InstanceId, PeerAddress};
use crate::group::{MemberId, Outbox};
use crate::interfaces::Interfaces;
use crate::session::{Accept, ConnectFailure, Received, Slot};
use crate::time::Time;

/// What a shard is made with.
pub struct ShardOptions {
    /// Which one it is.
    pub id: ShardId,
    /// Decides the jitter of its sessions.
    pub seed: u64,
    /// Asked for next hops when a session comes up.
    pub interfaces: Box<dyn Interfaces>,
    /// Octets queued for a peer past which it waits apart from its group.
    pub backlog_max: usize,
    /// How long a group rests for each member that it told something small: meanwhile what changes
    /// is gathered.
    pub rest_a_member: Duration,
    /// Shared by all shards of an engine.
    pub established: EstablishedPeers,
    /// Shared by all shards of an engine.
    pub dynamic_peers: DynamicPeers,
    /// Shared by all shards of an engine.
    pub deferral: Deferral,
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
    established: EstablishedPeers,
    dynamic_peers: DynamicPeers,
    deferral: Deferral,
    /// It was not over when this shard looked last.
    defers: bool,
    /// Peers that are waited for no longer, once what they said is published.
    released: usize,
    memory: Memory,
    /// Peers of which something is to be judged anew.
    reconsidering: VecDeque<PeerId>,
    watches: Watches,
    told: Told,
    /// No session may come up again.
    shut_down: bool,
    #[cfg(test)]
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
            connections: Connections::new(options.backlog_max, options.rest_a_member),
            actions: VecDeque::new(),
            established: options.established,
            dynamic_peers: options.dynamic_peers,
            defers: !options.deferral.is_over(),
            released: 0,
            deferral: options.deferral,
            memory: Memory::default(),
            reconsidering: VecDeque::new(),
            watches: Watches::default(),
            told: Told::default(),
            shut_down: false,
            #[cfg(test)]
            fault: None,
        }
    }

    /// Plants a fault in every group that is made from now on.
    #[cfg(test)]
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
            ShardCommand::Originate(id, changes, open) => self.originate(id, changes, Some(open)),
            ShardCommand::Vrps(id, publication) => self.take_vrps(id, publication),
            ShardCommand::Query(query) => self.answer(now, query),
            ShardCommand::Reset {
                instance,
                peer,
                reply,
            } => reply(self.reset(now, instance.as_deref(), peer)),
            ShardCommand::Drain {
                instance,
                peer,
                wait,
                reply,
            } => reply(self.set_drained(now, instance.as_deref(), peer, wait)),
            ShardCommand::Refresh {
                instance,
                peer,
                reply,
            } => reply(self.ask_for_routes(instance.as_deref(), peer)),
            ShardCommand::Watch(watch) => self.watches.add(watch),
            // The marks are in the table; the turn's `work` finds them.
            ShardCommand::Wake => {}
        }
    }

    /// The process ends. Closes every session with Cease/Administrative Shutdown, or without a word
    /// where the peer keeps our routes until we are back (RFC 4724), and opens none again.
    pub fn handle_shutdown(&mut self, now: Time) {
        self.shut_down = true;
        for id in self.peers.ids() {
            if let Some(peer) = self.peers.get_mut(id) {
                let notification = Notification::cease(cease::ADMINISTRATIVE_SHUTDOWN);
                peer.session.handle_leave(now, notification);
                self.drain(now, id);
            }
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

    /// A connection that was asked for could not be had.
    pub fn handle_connect_failed(
        &mut self,
        now: Time,
        connection: ConnectionId,
        why: impl Into<ConnectFailure>,
    ) {
        let Some(id) = self.forget_connection(connection) else {
            return;
        };
        if let Some(peer) = self.peers.get_mut(id) {
            peer.session.handle_connect_failed(now, why);
            self.drain(now, id);
        }
    }

    /// A peer connected. None: it is closed without a word.
    pub fn handle_accepted(
        &mut self,
        now: Time,
        instance: InstanceId,
        local: SocketAddr,
        address: PeerAddress,
    ) -> Option<ConnectionId> {
        let id = match self.peers.find(instance, address) {
            Some(id) => id,
            None => match self.admit(now, instance, address) {
                Ok(id) => id,
                Err(notification) => return self.refuse(notification),
            },
        };
        let peer = self.peers.get_mut(id)?;
        if let Accept::Refused(notification) = peer.session.handle_accepted(now, local) {
            self.drain(now, id);
            return self.refuse(notification);
        }
        let connection = self.connections.add(id, Slot::Incoming);
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

    /// Closes a connection that is nobody's, after the NOTIFICATION if there is one.
    fn refuse(&mut self, notification: Option<Notification>) -> Option<ConnectionId> {
        let mut message = Vec::new();
        codec::encode_notification(&notification?, &mut message);
        let connection = self.connections.add_closing(Bytes::from(message));
        self.actions.push_back(Action::Close { connection });
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
            // What may come changes with an OPEN.
            let max_len = self
                .peers
                .get(peer)
                .map_or(codec::MAX_LEN, |peer| peer.session.message_len_max(slot));
            match next_message(&mut partial, &mut rest, max_len) {
                Ok(Some(message)) => self.handle_message(now, peer, slot, message.octets()),
                Ok(None) => break,
                Err(notification) => self.handle_fault(now, peer, slot, notification),
            }
        }
        if let Some(live) = self.connections.get_mut(connection) {
            live.keep_partial(partial);
        }
        self.settle_arrivals(peer);
        self.check_limits(now, peer);
        self.peers.arm(peer);
    }

    /// What the peer's UPDATEs said is in the table after this.
    fn settle_arrivals(&mut self, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(id)
            && let Some(instance) = self.instances.get_mut(&peer.instance)
        {
            receive::settle(instance, peer);
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
        for instance in self.instances.values_mut() {
            instance.watched = !self.watches.is_empty();
        }
        self.told.watched = !self.watches.is_empty();
        let mut more = self.revalidate_some();
        more |= self.reconsider_some();
        self.look_at_deferral();
        #[cfg(test)]
        if self.fault == Some(crate::group::Fault::Undeferred) {
            self.defers = false;
        }
        for instance in self.instances.values_mut() {
            let mut outbox = Wire {
                peers: &self.peers,
                connections: &mut self.connections,
                told: &mut self.told,
            };
            let (wake, busy) = instance.work(now, &mut outbox, self.defers);
            more |= busy;
            if wake != 0 {
                self.actions.push_back(Action::Wake(wake));
            }
        }
        more |= self.release_deferral();
        self.look_for_own_families();
        more |= self.note_swept();
        self.show_gone();
        self.show_told();
        self.report_backlogs(now);
        more
    }

    /// Tells whoever watches what went in this turn.
    fn show_gone(&mut self) {
        for instance in self.instances.values_mut() {
            let gone = std::mem::take(&mut instance.gone);
            if !gone.is_empty() {
                self.watches.gone(instance.name(), &gone);
            }
        }
    }

    /// The time that `poll_timeout` named has come. `unread` says whether octets of a connection
    /// have arrived that were not handed in yet: over those no hold timer expires.
    pub fn handle_timeout(&mut self, now: Time, unread: &mut dyn FnMut(ConnectionId) -> bool) {
        // The driver says how much memory there is in every turn.
        self.memory.look_at.take_if(|at| *at <= now);
        while let Some(id) = self.peers.pop_due(now) {
            if let Some(peer) = self.peers.get_mut(id) {
                for slot in peer.session.holds_due(now) {
                    if peer.connection(slot).is_some_and(&mut *unread) {
                        peer.session.handle_unread(now, slot);
                    }
                }
                peer.session.handle_timeout(now);
            }
            let held = self.peers.get(id).and_then(|peer| peer.held);
            if held.is_some_and(|held| held.until.is_some_and(|until| until <= now)) {
                self.let_go(now, id);
            }
            self.end_overdue(now, id);
            self.end_absence(now, id);
            self.look_at_draining(now, id);
            self.end_waiting(now, id);
            self.drain(now, id);
        }
    }

    /// When `handle_timeout` is wanted next.
    pub fn poll_timeout(&self) -> Option<Time> {
        let timers = self.peers.next_timeout().into_iter();
        let groups = self.instances.values().filter_map(Instance::next_timeout);
        timers.chain(self.memory.look_at).chain(groups).min()
    }

    /// The next thing asked of the driver.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Whether no table work is left and every peer has been told everything. For tests and the
    /// simulator.
    pub fn is_quiet(&self) -> bool {
        self.reconsidering.is_empty() && self.instances.values().all(Instance::is_quiet)
    }

    /// Whether routes of some peer are stale: it is expected back, or to say them again. For tests
    /// and the simulator.
    pub fn has_stale_routes(&self) -> bool {
        self.peers.iter().any(|(_, peer)| peer.has_stale_routes())
    }

    /// The update group of each peer whose session is up. For tests and the simulator.
    pub fn groups(&self) -> impl Iterator<Item = (PeerAddress, u32)> {
        let peers = self.peers.iter().map(|(_, peer)| peer);
        peers.filter_map(|peer| {
            let group = peer.established.as_ref()?.group;
            Some((peer.neighbor.address, group as u32))
        })
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
            assert!(
                peer.established.is_none() || peer.retained.is_none(),
                "{id:?} is up and away"
            );
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
                let taken = receive::update(now, instance, peer, body);
                if taken.is_ok() && !self.watches.is_empty() {
                    // What became of it is known once it is in the table.
                    receive::settle(instance, peer);
                    let is_too_much = limits::ends_session(peer);
                    if let Some(established) = &peer.established {
                        let guard = instance.writer.rib().guard();
                        let of = (&*peer.neighbor, &**established);
                        let mut judgement = Judgement::new(instance, of, &guard);
                        let wire = &established.negotiated.wire;
                        let address = peer.neighbor.address;
                        self.watches
                            .update(instance.name(), address, wire, body, |prefix| {
                                // Nobody is told of what ends the session that it came on.
                                match is_too_much {
                                    true => limits::past(),
                                    false => judgement.standing(prefix),
                                }
                            });
                    }
                }
                match taken {
                    Ok(None) => {}
                    Ok(Some(family)) => {
                        self.end_stale(id, family, Cause::Restart);
                        self.note_end_of_rib(id, family);
                    }
                    Err(notification) => self.handle_fault(now, id, slot, notification),
                }
            }
            Received::RouteRefresh(refresh) => {
                self.take_refresh(now, id, refresh);
                self.drain(now, id);
            }
        }
    }

    fn handle_fault(&mut self, now: Time, id: PeerId, slot: Slot, notification: Notification) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.session.handle_fault(now, slot, notification);
            self.drain(now, id);
        }
    }
}

/// Why a peer is not told a route whose attributes leave no room for it in the longest message that
/// the peer takes.
const TOO_LONG_WORDS: &str = "its attributes do not fit in the messages that this session negotiated (RFC 8654): extendedMessages on both sides, or fewer communities";

/// The connections of members, as a group sees them.
struct Wire<'a> {
    peers: &'a Peers,
    connections: &'a mut Connections,
    told: &'a mut Told,
}

impl Wire<'_> {
    fn connection(&self, member: MemberId) -> Option<ConnectionId> {
        Some(self.peers.get(member)?.established.as_ref()?.connection)
    }
}

impl Outbox for Wire<'_> {
    fn send(&mut self, member: MemberId, message: Bytes) {
        if let Some(connection) = self.connection(member) {
            self.told.note(member, &message);
            self.connections.send(connection, message, false);
        }
    }

    fn backlog(&self, member: MemberId) -> usize {
        let connection = self.connection(member);
        let live = connection.and_then(|connection| self.connections.get(connection));
        live.map_or(0, connection::Connection::cost)
    }

    fn takes_long(&self, member: MemberId) -> bool {
        let peer = self.peers.get(member);
        peer.and_then(|peer| peer.established.as_deref())
            .is_some_and(Established::takes_long)
    }

    fn say_oversized(&mut self, member: MemberId, prefix: IpPrefix) {
        let connection = self.connection(member);
        let live = connection.and_then(|connection| self.connections.get_mut(connection));
        let times = live.map_or(0, connection::Connection::count_oversized);
        if let Some(peer) = self.peers.get(member)
            && times.is_power_of_two()
        {
            tracing::warn!(
                peer = %peer.neighbor.address,
                %prefix,
                times,
                "not announced to the peer: {TOO_LONG_WORDS}"
            );
        }
    }

    fn backlog_max(&self) -> usize {
        self.connections.backlog_max()
    }

    fn drained(&self) -> Option<u64> {
        Some(self.connections.drained())
    }

    fn rest_a_member(&self) -> Duration {
        self.connections.rest_a_member()
    }
}
