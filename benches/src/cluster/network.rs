//! The cluster's pipes and its virtual clock.
//!
//! A pipe carries octets in order and takes 1 to 3 ms, always the same for one pipe, so that what
//! two reflectors tell somebody does not arrive at once. Time goes on to what arrives next, or to
//! the next timer of a reflector. What the shards do is charged to reflectors, and that each slice
//! that they send is put in a pipe, where a daemon would have its system calls; the counting and the
//! nodes are not.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::AddAssign;
use std::time::Duration;

use ahash::AHashMap;
use bytes::Bytes;
use codec::{Message, PeerKind, WireFormat};
use engine::config::Delta;
use engine::shard::{Action, ConnectionId, Shard, ShardCommand};
use engine::time::Time;
use rib::{Rib, RibOptions, Selection};

use super::node::Node;
use super::{Layout, Role};
use crate::rig::{INSTANCE, shard_over};

/// A network that has not come to rest by so many moments never will.
const MOMENTS_MAX: usize = 20_000;
/// What a socket is given at once at most.
const WRITE: usize = 1 << 20;

/// A pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkId(usize);

/// UPDATEs that passed pipes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traffic {
    /// Messages.
    pub updates: u64,
    /// Prefixes announced in them.
    pub announced: u64,
    /// Prefixes withdrawn in them.
    pub withdrawn: u64,
    /// Their octets.
    pub octets: u64,
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Traffic) {
        self.updates += other.updates;
        self.announced += other.announced;
        self.withdrawn += other.withdrawn;
        self.octets += other.octets;
    }
}

/// CPU time that reflectors took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// Over what they were told, in nanoseconds.
    pub taking: u64,
    /// Over the table, and telling, in nanoseconds.
    pub telling: u64,
}

struct Link {
    ends: [End; 2],
    delay: Duration,
    /// A KEEPALIVE arrived at that end.
    kept: [bool; 2],
    is_open: bool,
}

#[derive(Clone, Copy)]
enum End {
    /// By which of its sessions.
    Node(usize, usize),
    /// None: not accepted yet.
    Reflector(usize, Option<ConnectionId>),
}

enum Parcel {
    /// Somebody connects.
    Knock,
    Octets(Bytes),
    /// The other end is no more.
    Closed,
}

struct Reflector {
    shard: Shard,
    /// It knows its neighbors.
    is_started: bool,
    links: AHashMap<ConnectionId, LinkId>,
    /// What has arrived; none: the end of a connection.
    inbox: Vec<(ConnectionId, Option<Bytes>)>,
}

/// The cluster at work.
pub struct Network {
    /// Who there is.
    pub layout: Layout,
    /// By number.
    pub nodes: Vec<Node>,
    /// What passed from each role to each since [`Network::reset`].
    pub traffic: [[Traffic; 3]; 3],
    /// What it cost each role.
    pub costs: [Cost; 3],
    now: Time,
    reflectors: Vec<Option<Reflector>>,
    links: Vec<Link>,
    /// By the time of arrival: at which end of which pipe.
    in_flight: BTreeMap<Time, Vec<(LinkId, usize, Parcel)>>,
    format: WireFormat,
}

impl Network {
    /// All nodes, and nobody else yet.
    pub fn new(layout: Layout) -> Network {
        let nodes = 0..layout.nodes();
        Network {
            nodes: nodes.map(|number| Node::new(&layout, number)).collect(),
            traffic: Default::default(),
            costs: Default::default(),
            now: Time::default(),
            reflectors: (0..layout.reflectors()).map(|_| None).collect(),
            links: Vec::new(),
            in_flight: BTreeMap::new(),
            format: WireFormat {
                peer: PeerKind::Internal,
                ..WireFormat::default()
            },
            layout,
        }
    }

    /// Makes a reflector, whose neighbors are not told to it yet.
    pub fn make(&mut self, number: usize) {
        let rib = Rib::new(RibOptions {
            shards: 1,
            selection: Selection::default(),
        });
        self.reflectors[number] = Some(Reflector {
            shard: shard_over(&rib, 0, self.layout.reflector_address(number)),
            is_started: false,
            links: AHashMap::new(),
            inbox: Vec::new(),
        });
    }

    /// Tells a reflector of its neighbors, and has the nodes among them connect.
    pub fn start(&mut self, number: usize) {
        let neighbors = self.layout.neighbors(number).into();
        if let Some(reflector) = &mut self.reflectors[number] {
            let delta = ShardCommand::Delta(Delta::Neighbors(INSTANCE, neighbors));
            reflector.shard.handle_command(self.now, delta);
            reflector.is_started = true;
        }
        if let Some(pod) = self.layout.pod_of_reflector(number) {
            for node in self.layout.nodes_of(pod) {
                self.dial(End::Node(node, number % 2), number);
            }
        }
    }

    /// A reflector dies without a word.
    pub fn kill(&mut self, number: usize) {
        let dead = self.reflectors[number].take();
        for link in dead.into_iter().flat_map(|dead| dead.links.into_values()) {
            let at = self.end_of(link, number);
            self.send(link, 1 - at, Parcel::Closed);
        }
    }

    /// Whether a reflector lives.
    pub fn is_alive(&self, number: usize) -> bool {
        self.reflectors[number].is_some()
    }

    /// A node announces one of its prefixes, or withdraws it.
    pub fn change(&mut self, node: usize, kind: usize, announces: bool) {
        self.nodes[node].announces[kind] = announces;
        self.say(node, std::array::from_fn(|at| at == kind));
    }

    /// All nodes announce everything, at once.
    pub fn announce_all(&mut self) {
        for node in 0..self.nodes.len() {
            self.nodes[node].announces = [true; 2];
            self.say(node, [true; 2]);
        }
    }

    /// Counts from zero.
    pub fn reset(&mut self) {
        self.traffic = Default::default();
        self.costs = Default::default();
    }

    /// Virtual time.
    pub fn now(&self) -> Time {
        self.now
    }

    /// How many sessions there are when everybody who was started is connected.
    pub fn sessions(&self) -> usize {
        let alive = |number: &usize| {
            let reflector = self.reflectors[*number].as_ref();
            reflector.is_some_and(|reflector| reflector.is_started)
        };
        let tops = self.layout.tops();
        let living = tops.iter().filter(|top| alive(top)).count();
        let pods = (0..tops[0]).filter(alive).count();
        pods * (self.layout.nodes_a_pod + living) + usize::from(living == 2)
    }

    /// Goes on until nothing moves and all sessions are up. Returns at how many moments something
    /// happened.
    ///
    /// # Errors
    /// It does not come to rest, or somebody said what nobody should.
    pub fn run(&mut self) -> Result<usize, String> {
        for moments in 0..MOMENTS_MAX {
            let arrival = self.in_flight.keys().next().copied();
            if arrival.is_none() && self.is_quiet() {
                return Ok(moments);
            }
            let living = self.reflectors.iter().flatten();
            let timers = living.filter_map(|reflector| reflector.shard.poll_timeout());
            let Some(next) = timers.chain(arrival).min() else {
                return Err("sessions are missing, and nobody does anything about it".into());
            };
            self.now = self.now.max(next);
            self.deliver()?;
            for number in 0..self.reflectors.len() {
                if let Some(mut reflector) = self.reflectors[number].take() {
                    self.turn(number, &mut reflector);
                    self.reflectors[number] = Some(reflector);
                }
            }
        }
        Err(format!(
            "no rest after {MOMENTS_MAX} moments: something bounces"
        ))
    }

    fn is_quiet(&self) -> bool {
        let up = |link: &&Link| link.is_open && link.kept == [true; 2];
        let mut living = self.reflectors.iter().flatten();
        living.all(|reflector| reflector.shard.is_quiet())
            && self.links.iter().filter(up).count() == self.sessions()
    }

    /// Everything that is due arrives.
    fn deliver(&mut self) -> Result<(), String> {
        while let Some(entry) = self.in_flight.first_entry() {
            if *entry.key() > self.now {
                break;
            }
            for (link, at, parcel) in entry.remove() {
                if !self.links[link.0].is_open {
                    continue;
                }
                match parcel {
                    Parcel::Knock => self.knock(link),
                    Parcel::Octets(octets) => self.arrive(link, at, octets)?,
                    Parcel::Closed => self.close(link, at),
                }
            }
        }
        Ok(())
    }

    fn knock(&mut self, link: LinkId) {
        let [dialer, End::Reflector(number, _)] = self.links[link.0].ends else {
            return;
        };
        let address = |end: &End| match end {
            End::Node(node, _) => self.layout.node_address(*node),
            End::Reflector(number, _) => self.layout.reflector_address(*number),
        };
        let remote = IpAddr::from(address(&dialer));
        let local = IpAddr::from(self.layout.reflector_address(number));
        let (local, now) = (SocketAddr::new(local, 179), self.now);
        let accepted = self.reflectors[number].as_mut().and_then(|reflector| {
            let shard = &mut reflector.shard;
            let connection = shard.handle_accepted(now, INSTANCE, local, remote.into())?;
            reflector.links.insert(connection, link);
            Some(connection)
        });
        self.links[link.0].ends[1] = End::Reflector(number, accepted);
        self.links[link.0].is_open = accepted.is_some();
        match dialer {
            End::Node(node, which) if accepted.is_some() => {
                let octets = self.nodes[node].open(&self.layout, which, link);
                self.send(link, 1, Parcel::Octets(octets.into()));
            }
            End::Reflector(dialer, Some(connection)) => {
                if let Some(reflector) = &mut self.reflectors[dialer] {
                    let shard = &mut reflector.shard;
                    if accepted.is_some() {
                        let own = SocketAddr::new(remote, 179);
                        shard.handle_connected(now, connection, own, local);
                    } else {
                        reflector.links.remove(&connection);
                        shard.handle_connect_failed(now, connection, "refused");
                    }
                }
            }
            _ => {}
        }
    }

    fn arrive(&mut self, link: LinkId, at: usize, octets: Bytes) -> Result<(), String> {
        let ends = self.links[link.0].ends;
        let [from, to] = [ends[1 - at], ends[at]].map(|end| self.role(&end) as usize);
        let mut traffic = Traffic::default();
        let (mut rest, mut answer) = (&octets[..], Vec::new());
        while let Ok(Some(length)) = codec::frame(rest, codec::MAX_LEN) {
            let (message, more) = rest.split_at(length.min(rest.len()));
            rest = more;
            let message = codec::parse_message(message).map_err(|fault| fault.to_string())?;
            match &message {
                Message::Update(body) => {
                    let update = codec::parse_update(body, &self.format);
                    let update = update.map_err(|fault| fault.to_string())?;
                    traffic += Traffic {
                        updates: 1,
                        announced: update.announced.iter_v4().count() as u64,
                        withdrawn: update.withdrawn.iter_v4().count() as u64,
                        octets: length as u64,
                    };
                    if let End::Node(node, which) = ends[at] {
                        self.nodes[node].learn(&self.layout, which, &update);
                    }
                    continue;
                }
                Message::Notification(words) => return Err(words.to_string()),
                Message::Keepalive => self.links[link.0].kept[at] = true,
                _ => {}
            }
            if let End::Node(node, which) = ends[at] {
                self.nodes[node].hear(&self.layout, which, &message, &mut answer);
            }
        }
        if !rest.is_empty() {
            return Err("a pipe was given less than a message".into());
        }
        self.traffic[from][to] += traffic;
        if !answer.is_empty() {
            self.send(link, 1 - at, Parcel::Octets(answer.into()));
        }
        if let End::Reflector(number, Some(connection)) = ends[at]
            && let Some(reflector) = &mut self.reflectors[number]
        {
            reflector.inbox.push((connection, Some(octets)));
        }
        Ok(())
    }

    fn close(&mut self, link: LinkId, at: usize) {
        self.links[link.0].is_open = false;
        match self.links[link.0].ends[at] {
            End::Node(node, which) => self.nodes[node].close(which),
            End::Reflector(number, connection) => {
                let reflector = self.reflectors[number].as_mut();
                if let (Some(reflector), Some(connection)) = (reflector, connection) {
                    reflector.links.remove(&connection);
                    reflector.inbox.push((connection, None));
                }
            }
        }
    }

    /// A turn of a reflector: what arrived, then work until there is no more, and all that is to
    /// be sent goes.
    fn turn(&mut self, number: usize, reflector: &mut Reflector) {
        let (now, begin) = (self.now, cpu_time());
        let inbox = std::mem::take(&mut reflector.inbox);
        for (connection, octets) in &inbox {
            match octets {
                Some(octets) => reflector.shard.handle_bytes(now, *connection, octets),
                None => reflector
                    .shard
                    .handle_closed(now, *connection, "closed".into()),
            }
        }
        let taken = cpu_time();
        if reflector.shard.poll_timeout().is_some_and(|due| due <= now) {
            reflector.shard.handle_timeout(now, &mut |_| false);
        }
        loop {
            let more = reflector.shard.work(now);
            self.carry(number, reflector);
            if !more {
                break;
            }
        }
        let cost = &mut self.costs[self.layout.role(number) as usize];
        cost.taking += taken - begin;
        cost.telling += cpu_time() - taken;
    }

    /// Does what a reflector asks for, and takes all that it wants to send.
    fn carry(&mut self, number: usize, reflector: &mut Reflector) {
        let mut slices = Vec::new();
        while let Some(action) = reflector.shard.poll_action() {
            match action {
                Action::Connect { connection, to } => {
                    if let Some(target) = self.layout.reflector_at(to.peer.ip()) {
                        let link = self.dial(End::Reflector(number, Some(connection)), target);
                        reflector.links.insert(connection, link);
                    }
                }
                Action::Close { connection } => {
                    self.transmit(number, reflector, connection, &mut slices);
                    if let Some(link) = reflector.links.remove(&connection) {
                        let at = self.end_of(link, number);
                        self.send(link, 1 - at, Parcel::Closed);
                    }
                }
                // There is one shard, memory without a bound, and no socket.
                _ => {}
            }
        }
        while let Some(connection) = reflector.shard.poll_writable() {
            self.transmit(number, reflector, connection, &mut slices);
        }
    }

    fn transmit(
        &mut self,
        number: usize,
        reflector: &mut Reflector,
        connection: ConnectionId,
        slices: &mut Vec<Bytes>,
    ) {
        let link = reflector.links.get(&connection).copied();
        loop {
            let shard = &mut reflector.shard;
            let octets = shard.poll_transmit(connection, slices, WRITE);
            if octets == 0 {
                return;
            }
            shard.handle_written(self.now, connection, octets);
            for octets in slices.drain(..) {
                if let Some(link) = link {
                    let at = self.end_of(link, number);
                    self.send(link, 1 - at, Parcel::Octets(octets));
                }
            }
        }
    }

    fn say(&mut self, node: usize, of: [bool; 2]) {
        let octets = Bytes::from(self.nodes[node].say(&self.layout, of));
        let links = [0, 1].map(|which| self.nodes[node].sessions[which].link);
        for link in links.into_iter().flatten() {
            self.send(link, 1, Parcel::Octets(octets.clone()));
        }
    }

    fn dial(&mut self, from: End, reflector: usize) -> LinkId {
        let link = LinkId(self.links.len());
        let dialer = match from {
            End::Node(node, _) => node,
            End::Reflector(number, _) => self.nodes.len() + number,
        };
        // Any rule would do that two pipes of one end seldom share.
        let delay = Duration::from_millis(1 + ((dialer * 7 + reflector * 5) / 3 % 3) as u64);
        self.links.push(Link {
            ends: [from, End::Reflector(reflector, None)],
            delay,
            kept: [false; 2],
            is_open: true,
        });
        self.send(link, 1, Parcel::Knock);
        link
    }

    fn send(&mut self, link: LinkId, to: usize, parcel: Parcel) {
        let at = self.now + self.links[link.0].delay;
        self.in_flight
            .entry(at)
            .or_default()
            .push((link, to, parcel));
    }

    /// At which end of a pipe a reflector is.
    fn end_of(&self, link: LinkId, reflector: usize) -> usize {
        let first = &self.links[link.0].ends[0];
        usize::from(!matches!(first, End::Reflector(number, _) if *number == reflector))
    }

    fn role(&self, end: &End) -> Role {
        match end {
            End::Node(..) => Role::Node,
            End::Reflector(number, _) => self.layout.role(*number),
        }
    }
}

/// CPU time of this thread, in nanoseconds.
fn cpu_time() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
