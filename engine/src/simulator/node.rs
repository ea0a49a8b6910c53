//! The node under test: its shards, and the driver that stands in for rings, control thread and
//! watcher.
//!
//! It calls the shards as a ring does (see [`crate::shard`]): inputs, a quantum of work, then
//! outputs until there are none, then a sleep until the timer, a message or a wake. Between turns
//! others have theirs, so every order that threads could bring about comes up with some seed; but
//! a shard that was not woken does not get a turn, and one connection's octets are never mixed.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use codec::IpPrefix;
use rib::{Collector, Rib, RibOptions, Selection, ShardId};

use super::network::{End, LinkId, Network};
use crate::config::{Delta, InstanceId, OriginChange, host_prefix};
use crate::interfaces::Interfaces;
use crate::random::Random;
use crate::rpki::Publication;
use crate::shard::{
    Action, ConnectionId, Deferral, DynamicPeers, EstablishedPeers, Shard, ShardCommand,
    ShardOptions,
};
use crate::time::Time;

/// The one instance.
pub(super) const INSTANCE: InstanceId = InstanceId(0);

/// Octets queued for a peer past which it waits apart from its group.
const BACKLOG_MAX: usize = 16 << 10;
/// Much longer than in earnest, as there are few members.
const REST_A_MEMBER: Duration = Duration::from_millis(3);

/// How long a closed connection may take to send what is queued, as a ring has it.
const FLUSH_TIME: Duration = Duration::from_secs(1);

/// Prefix ids without a path from which on they are given to others.
const IDLE_IDS_MIN: u32 = 1;

/// The node.
pub(super) struct Node {
    rib: Arc<Rib>,
    shards: Vec<Host>,
    /// The shard of each peer, as the control thread has it.
    placement: BTreeMap<IpAddr, usize>,
    /// Where dynamic peers connect from.
    ranges: Vec<IpPrefix>,
    /// The instance's name, as its settings have it.
    name: Arc<str>,
    sockets: BTreeMap<Socket, State>,
    by_link: BTreeMap<LinkId, Socket>,
    addresses: Vec<IpAddr>,
    /// After a restart with state: whether peers are told nothing yet.
    deferral: Deferral,
    random: Random,
    audits: u64,
    /// Large tables are not looked over at every step.
    audit_every: u64,
}

/// A connection of a shard.
type Socket = (usize, ConnectionId);

struct Host {
    shard: Shard,
    inbox: VecDeque<(Time, ShardCommand)>,
    turn_at: Option<Time>,
    /// The network took octets since the last turn: there may be room for more work.
    written: bool,
}

struct State {
    link: LinkId,
    end: End,
    /// Taken from the shard, and not yet by the network.
    pending: VecDeque<Bytes>,
    /// The shard closed it: what is queued has this long.
    closing: Option<Time>,
}

/// The node's interface holds one address of each family beside the session's.
struct OneEach(Vec<IpAddr>);

impl Interfaces for OneEach {
    fn beside(&self, _local: IpAddr) -> Vec<IpAddr> {
        self.0.clone()
    }
}

impl Node {
    /// A node with `shards` shards and these addresses, one of each family, whose process began or
    /// restarted as `deferral` says. Its invariants are checked at every step, or at every so many.
    pub(super) fn new(
        shards: usize,
        addresses: Vec<IpAddr>,
        audit_every: u64,
        deferral: Deferral,
        seed: u64,
    ) -> Node {
        let mut random = Random::new(seed);
        let options = RibOptions {
            shards: u8::try_from(shards).unwrap_or(u8::MAX),
            selection: Selection::default(),
        };
        // Which id a prefix gets depends on when memory is freed, so nobody else may hold that up;
        // and tables are small here.
        let rib = Rib::with_collector(options, Collector::new());
        rib.reclaim_from(IDLE_IDS_MIN);
        let established = EstablishedPeers::default();
        let dynamic_peers = DynamicPeers::default();
        let hosts = (0..shards).map(|index| {
            let id = ShardId(u8::try_from(index).unwrap_or(u8::MAX));
            let mut shard = Shard::new(ShardOptions {
                id,
                seed: random.next(),
                interfaces: Box::new(OneEach(addresses.clone())),
                // Small tables: what is to be seen of slow peers must be seen in them.
                backlog_max: BACKLOG_MAX,
                rest_a_member: REST_A_MEMBER,
                established: established.clone(),
                dynamic_peers: dynamic_peers.clone(),
                deferral: deferral.clone(),
            });
            let writer = rib.writer(id);
            shard.handle_command(Time::default(), ShardCommand::Instance(INSTANCE, writer));
            Host {
                shard,
                inbox: VecDeque::new(),
                turn_at: None,
                written: false,
            }
        });
        Node {
            shards: hosts.collect(),
            rib,
            placement: BTreeMap::new(),
            ranges: Vec::new(),
            name: Arc::default(),
            sockets: BTreeMap::new(),
            by_link: BTreeMap::new(),
            addresses,
            deferral,
            random,
            audits: 0,
            audit_every,
        }
    }

    /// Plants a fault in every shard.
    #[cfg(test)]
    pub(super) fn plant(&mut self, fault: crate::group::Fault) {
        for host in &mut self.shards {
            host.shard.plant(fault);
        }
    }

    /// Sends a change of the desired state on its way to the shards, as the dispatcher does.
    pub(super) fn dispatch(&mut self, now: Time, deltas: Vec<Delta>) {
        let count = self.shards.len();
        let told_settings = deltas
            .iter()
            .any(|delta| !matches!(delta, Delta::Origins(..)));
        for delta in deltas {
            match delta {
                Delta::Instance(..) | Delta::InstanceGone(..) | Delta::DynamicNeighbors(..) => {
                    match &delta {
                        Delta::Instance(_, settings) => {
                            self.name = Arc::clone(&settings.name);
                            self.rib.set_selection(settings.selection);
                        }
                        Delta::DynamicNeighbors(_, ranges) => {
                            self.ranges = ranges.iter().map(|range| range.prefix).collect();
                        }
                        _ => {}
                    }
                    for shard in 0..count {
                        self.tell(now, shard, ShardCommand::Delta(delta.clone()));
                    }
                }
                Delta::Neighbors(instance, neighbors) => {
                    let mut hands: BTreeMap<usize, Vec<_>> = BTreeMap::new();
                    for neighbor in neighbors {
                        let free = self.random.below(count);
                        let address = neighbor.address.ip();
                        let dynamic = self.dynamic_owner(address);
                        let known = self.placement.get(&address).copied();
                        let shard = *self.placement.entry(address).or_insert(free);
                        if known.is_none()
                            && self.deferral.awaits(&self.name, &neighbor)
                            && !self.deferral.is_over()
                        {
                            self.deferral.expect(1);
                        }
                        if let (None, Some(before)) = (known, dynamic)
                            && before != shard
                        {
                            // It may be connected as a dynamic peer.
                            let gone = Delta::NeighborGone(instance, neighbor.address);
                            self.tell(now, before, ShardCommand::Delta(gone));
                        }
                        hands.entry(shard).or_default().push(neighbor);
                    }
                    for (shard, hand) in hands {
                        let delta = Delta::Neighbors(instance, hand.into_boxed_slice());
                        self.tell(now, shard, ShardCommand::Delta(delta));
                    }
                }
                Delta::NeighborGone(_, address) => {
                    if let Some(shard) = self.placement.remove(&address.ip()) {
                        self.tell(now, shard, ShardCommand::Delta(delta));
                    }
                }
                Delta::Origins(instance, changes) => {
                    let mut hands: Vec<Vec<OriginChange>> = vec![Vec::new(); count];
                    for change in changes {
                        hands[shard_of(change.prefix, count)].push(change);
                    }
                    let dealt = hands.into_iter().enumerate();
                    let shares: Vec<_> = dealt
                        .filter(|(_, hand)| !hand.is_empty())
                        .map(|(shard, hand)| {
                            let open = self.rib.open_change(ShardId(shard as u8));
                            (shard, hand.into_boxed_slice(), open)
                        })
                        .collect();
                    for (shard, hand, open) in shares {
                        self.tell(now, shard, ShardCommand::Originate(instance, hand, open));
                    }
                }
            }
        }
        // Whoever is to be waited for after a restart has been counted.
        if told_settings {
            self.deferral.begin();
        }
    }

    /// Another table of VRPs, as the RTR thread tells it.
    pub(super) fn publish(&mut self, now: Time, publication: &Publication) {
        for shard in 0..self.shards.len() {
            let command = ShardCommand::Vrps(INSTANCE, publication.clone());
            self.tell(now, shard, command);
        }
    }

    /// `ringbgp reset PEER`.
    pub(super) fn reset(&mut self, now: Time, peer: IpAddr) {
        for shard in 0..self.shards.len() {
            let command = ShardCommand::Reset {
                instance: None,
                peer: Some(peer.into()),
                reply: Box::new(|_| {}),
            };
            self.tell(now, shard, command);
        }
    }

    /// The process is killed: its kernel closes or breaks what it had open.
    pub(super) fn die(mut self, now: Time, net: &mut Network) {
        for state in self.sockets.values() {
            match self.random.percent(50) {
                true => net.close(now, state.link, state.end),
                false => net.reset(now, state.link),
            }
        }
    }

    /// `ringbgp drain [PEER] --wait`, or without a time `ringbgp undrain [PEER]`.
    pub(super) fn drain(&mut self, now: Time, peer: Option<IpAddr>, wait: Option<Duration>) {
        for shard in 0..self.shards.len() {
            let command = ShardCommand::Drain {
                instance: None,
                peer: peer.map(Into::into),
                wait,
                reply: Box::new(|_| {}),
            };
            self.tell(now, shard, command);
        }
    }

    /// `ringbgp refresh PEER`.
    pub(super) fn ask_for_routes(&mut self, now: Time, peer: IpAddr) {
        for shard in 0..self.shards.len() {
            let command = ShardCommand::Refresh {
                instance: None,
                peer: Some(peer.into()),
                reply: Box::new(|_| {}),
            };
            self.tell(now, shard, command);
        }
    }

    /// Whether routes of some peer are stale: it is expected back, or to say them again.
    pub(super) fn has_stale_routes(&self) -> bool {
        self.shards.iter().any(|host| host.shard.has_stale_routes())
    }

    /// Whether the shards have nothing to do and nothing to say.
    pub(super) fn is_quiet(&self) -> bool {
        let at_rest =
            |host: &Host| host.inbox.is_empty() && host.turn_at.is_none() && host.shard.is_quiet();
        let said = |state: &State| state.pending.is_empty() && state.closing.is_none();
        self.shards.iter().all(at_rest) && self.sockets.values().all(said)
    }

    /// Looks over shards and table.
    ///
    /// # Panics
    /// If an invariant does not hold.
    pub(super) fn audit(&self) {
        for host in &self.shards {
            host.shard.audit();
        }
        self.rib.audit();
    }

    /// The shard and update group of each peer whose session is up.
    pub(super) fn groups(&self) -> BTreeMap<IpAddr, (usize, u32)> {
        let mut groups = BTreeMap::new();
        for (shard, host) in self.shards.iter().enumerate() {
            for (address, group) in host.shard.groups() {
                groups.insert(address.ip(), (shard, group));
            }
        }
        groups
    }

    /// The node's address towards a peer.
    pub(super) fn local_for(&self, peer: IpAddr) -> IpAddr {
        let fitting = self
            .addresses
            .iter()
            .find(|a| a.is_ipv4() == peer.is_ipv4());
        fitting
            .copied()
            .unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED))
    }

    /// Whether this link is a connection of a shard.
    pub(super) fn has(&self, link: LinkId) -> bool {
        self.by_link.contains_key(&link)
    }

    /// The links that are connections of the shards, or attempts.
    pub(super) fn links(&self) -> impl Iterator<Item = LinkId> {
        self.by_link.keys().copied()
    }

    // ----- what the network brings ------------------------------------------------------------

    /// A router at `remote` connects.
    pub(super) fn on_knock(&mut self, now: Time, link: LinkId, remote: IpAddr, net: &mut Network) {
        let named = self.placement.get(&remote).copied();
        let Some(shard) = named.or_else(|| self.dynamic_owner(remote)) else {
            net.refuse(now, link);
            return;
        };
        net.accept(now, link);
        let local = SocketAddr::new(self.local_for(remote), 179);
        let host = &mut self.shards[shard].shard;
        match host.handle_accepted(now, INSTANCE, local, remote.into()) {
            None => net.close(now, link, End::Acceptor),
            Some(connection) => self.add((shard, connection), link, End::Acceptor),
        }
        self.settle(now, shard, net);
    }

    /// The shard of a peer that connects from a prefix of dynamic ones: always the same one.
    fn dynamic_owner(&self, peer: IpAddr) -> Option<usize> {
        let own = host_prefix(peer);
        let within = self.ranges.iter().any(|range| range.contains(own));
        within.then(|| shard_of(own, self.shards.len()))
    }

    pub(super) fn on_connected(
        &mut self,
        now: Time,
        link: LinkId,
        peer: IpAddr,
        net: &mut Network,
    ) {
        let Some((shard, connection)) = self.by_link.get(&link).copied() else {
            net.close(now, link, End::Dialer);
            return;
        };
        let local = SocketAddr::new(self.local_for(peer), 40_000);
        let remote = SocketAddr::new(peer, 179);
        let host = &mut self.shards[shard].shard;
        host.handle_connected(now, connection, local, remote);
        self.settle(now, shard, net);
    }

    pub(super) fn on_refused(&mut self, now: Time, link: LinkId, net: &mut Network) {
        if let Some((shard, connection)) = self.forget(link) {
            let host = &mut self.shards[shard].shard;
            host.handle_connect_failed(now, connection, "connection refused");
            self.settle(now, shard, net);
        }
    }

    pub(super) fn on_octets(&mut self, now: Time, link: LinkId, octets: &[u8], net: &mut Network) {
        let Some((shard, connection)) = self.open_socket(link) else {
            return;
        };
        self.shards[shard]
            .shard
            .handle_bytes(now, connection, octets);
        self.settle(now, shard, net);
    }

    pub(super) fn on_closed(&mut self, now: Time, link: LinkId, words: &str, net: &mut Network) {
        let reported = self.open_socket(link).is_some();
        if let Some((shard, connection)) = self.forget(link)
            && reported
        {
            let host = &mut self.shards[shard].shard;
            host.handle_closed(now, connection, words.to_owned());
            self.settle(now, shard, net);
        }
    }

    pub(super) fn on_room(&mut self, now: Time, link: LinkId, net: &mut Network) {
        if let Some(socket) = self.by_link.get(&link).copied() {
            self.pump(now, socket, net);
            self.settle(now, socket.0, net);
        }
    }

    // ----- turns ------------------------------------------------------------------------------

    /// When a shard has its next turn, or a flush has to end.
    pub(super) fn next_time(&self) -> Option<Time> {
        let turns = self.shards.iter().filter_map(|host| {
            let message = host.inbox.front().map(|(at, _)| *at);
            let timer = host.shard.poll_timeout();
            [message, timer, host.turn_at].into_iter().flatten().min()
        });
        let flushes = self.sockets.values().filter_map(|state| state.closing);
        turns.chain(flushes).min()
    }

    pub(super) fn on_time(&mut self, now: Time, net: &mut Network) {
        for shard in 0..self.shards.len() {
            let host = &self.shards[shard];
            let message = host.inbox.front().is_some_and(|(at, _)| *at <= now);
            let timer = host.shard.poll_timeout().is_some_and(|at| at <= now);
            let due = host.turn_at.is_some_and(|at| at <= now);
            if message || timer || due {
                self.turn(now, shard, net);
            }
        }
        self.end_flushes(now, net);
    }

    fn turn(&mut self, now: Time, shard: usize, net: &mut Network) {
        let host = &mut self.shards[shard];
        host.turn_at = None;
        while let Some((_, command)) = host.inbox.pop_front_if(|(at, _)| *at <= now) {
            host.shard.handle_command(now, command);
        }
        if host.shard.poll_timeout().is_some_and(|at| at <= now) {
            let sockets = &self.sockets;
            let mut unread = |connection| {
                let state = sockets.get(&(shard, connection));
                state.is_some_and(|state| net.has_unread(state.link, state.end))
            };
            host.shard.handle_timeout(now, &mut unread);
        }
        let more = host.shard.work(now);
        self.settle(now, shard, net);
        let host = &mut self.shards[shard];
        let again = std::mem::take(&mut host.written) || more;
        host.turn_at = again.then(|| now + Duration::from_micros(1));
    }

    /// Carries out what a shard asks for, and has it looked over.
    fn settle(&mut self, now: Time, shard: usize, net: &mut Network) {
        while let Some(action) = self.shards[shard].shard.poll_action() {
            self.act(now, shard, action, net);
        }
        while let Some(connection) = self.shards[shard].shard.poll_writable() {
            self.pump(now, (shard, connection), net);
        }
        self.audits += 1;
        if self.audits.is_multiple_of(self.audit_every) {
            self.shards[shard].shard.audit();
        }
        let pause = self.random.up_to(Duration::from_micros(300));
        self.wake(now + pause, shard);
    }

    fn act(&mut self, now: Time, shard: usize, action: Action, net: &mut Network) {
        match action {
            Action::Connect { connection, to } => {
                let router = router_of(to.peer.ip());
                let link = net.dial(now, router);
                self.add((shard, connection), link, End::Dialer);
            }
            Action::Close { connection } => {
                let socket = (shard, connection);
                if let Some(state) = self.sockets.get_mut(&socket) {
                    state.closing = Some(now + FLUSH_TIME);
                    net.pause(now, state.link, state.end, false);
                    self.pump(now, socket, net);
                }
            }
            Action::SetOptions { .. } => {}
            Action::Pause { connection } => self.pause(now, (shard, connection), true, net),
            Action::Resume { connection } => self.pause(now, (shard, connection), false, net),
            Action::Wake(shards) => {
                for other in 0..self.shards.len() {
                    if shards & (1 << other) != 0 {
                        let pause = self.random.up_to(Duration::from_micros(300));
                        self.wake(now + pause, other);
                    }
                }
            }
        }
    }

    fn pause(&self, now: Time, socket: Socket, paused: bool, net: &mut Network) {
        if let Some(state) = self.sockets.get(&socket) {
            net.pause(now, state.link, state.end, paused);
        }
    }

    /// The process has this much memory.
    #[cfg(test)]
    pub(super) fn on_memory(&mut self, now: Time, octets: u64, net: &mut Network) {
        for shard in 0..self.shards.len() {
            self.shards[shard].shard.handle_memory(now, octets);
            self.settle(now, shard, net);
        }
    }

    /// Writes what the shard has and the network takes.
    fn pump(&mut self, now: Time, socket: Socket, net: &mut Network) {
        let (shard, connection) = socket;
        let Some(state) = self.sockets.get_mut(&socket) else {
            return;
        };
        loop {
            if state.pending.is_empty() {
                let most = 1 + self.random.below(16 * 1024);
                let mut slices = Vec::new();
                let host = &mut self.shards[shard].shard;
                if host.poll_transmit(connection, &mut slices, most) == 0 {
                    break;
                }
                state.pending.extend(slices);
            }
            let Some(slice) = state.pending.front_mut() else {
                break;
            };
            let taken = net.write(now, state.link, state.end, slice);
            let _ = slice.split_to(taken);
            let is_blocked = !slice.is_empty();
            if !is_blocked {
                state.pending.pop_front();
            }
            if taken > 0 {
                let host = &mut self.shards[shard];
                host.shard.handle_written(now, connection, taken);
                host.written = true;
            }
            if is_blocked {
                return;
            }
        }
        if state.closing.is_some() {
            let (link, end) = (state.link, state.end);
            net.close(now, link, end);
            self.forget(link);
        }
    }

    fn end_flushes(&mut self, now: Time, net: &mut Network) {
        let late = |state: &State| state.closing.is_some_and(|at| at <= now);
        let late: Vec<(Socket, LinkId)> = self
            .sockets
            .iter()
            .filter(|(_, state)| late(state))
            .map(|(socket, state)| (*socket, state.link))
            .collect();
        for ((shard, connection), link) in late {
            let mut slices = Vec::new();
            let host = &mut self.shards[shard].shard;
            while host.poll_transmit(connection, &mut slices, usize::MAX) > 0 {}
            net.reset(now, link);
            self.forget(link);
        }
    }

    fn tell(&mut self, now: Time, shard: usize, command: ShardCommand) {
        let host = &mut self.shards[shard];
        let earliest = host.inbox.back().map_or(now, |(at, _)| *at);
        let at = (now + self.random.up_to(Duration::from_millis(2))).max(earliest);
        host.inbox.push_back((at, command));
    }

    fn wake(&mut self, at: Time, shard: usize) {
        let turn = &mut self.shards[shard].turn_at;
        *turn = Some(turn.map_or(at, |before| before.min(at)));
    }

    fn add(&mut self, socket: Socket, link: LinkId, end: End) {
        let state = State {
            link,
            end,
            pending: VecDeque::new(),
            closing: None,
        };
        assert!(
            self.sockets.insert(socket, state).is_none(),
            "a connection's name was given twice"
        );
        self.by_link.insert(link, socket);
    }

    fn forget(&mut self, link: LinkId) -> Option<Socket> {
        let socket = self.by_link.remove(&link)?;
        self.sockets.remove(&socket);
        Some(socket)
    }

    /// The connection of a link, unless the shard closed it.
    fn open_socket(&self, link: LinkId) -> Option<Socket> {
        let socket = self.by_link.get(&link)?;
        let state = self.sockets.get(socket)?;
        state.closing.is_none().then_some(*socket)
    }
}

/// Any even spread will do that stays the same for a prefix.
fn shard_of(prefix: IpPrefix, shards: usize) -> usize {
    let (bits, length) = match prefix {
        IpPrefix::V4(prefix) => (
            codec::Prefix::bits_left_aligned(prefix),
            codec::Prefix::length(prefix),
        ),
        IpPrefix::V6(prefix) => (
            codec::Prefix::bits_left_aligned(prefix),
            codec::Prefix::length(prefix),
        ),
    };
    let folded = (bits >> 64) as u64 ^ bits as u64 ^ u64::from(length);
    Random::new(folded).below(shards)
}

/// Routers are numbered by the last group of their address, from 1.
pub(super) fn router_of(address: IpAddr) -> usize {
    let last = match address {
        IpAddr::V4(address) => u16::from(address.octets()[3]),
        IpAddr::V6(address) => address.segments()[7],
    };
    usize::from(last).saturating_sub(1)
}
