//! All simulated routers on real sockets: one thread, one poll loop.
//!
//! Here live listening, dialling, reading and writing. What a router is told goes to an
//! [`Observer`]; what it announces is handed over ready as octets. Invariant: a router has at most
//! one established session.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use codec::{Notification, WireFormat};
use socket2::{Domain, Protocol, Socket, Type};

use crate::clock;
use crate::poll::{Poller, Readiness};
use crate::speaker::{Event, Over, Speaker, SpeakerConfig};

/// One simulated router, before it runs.
#[derive(Clone, Debug)]
pub(crate) struct RouterConfig {
    /// The address that it listens on and dials from.
    pub(crate) address: IpAddr,
    /// Its BGP side.
    pub(crate) speaker: SpeakerConfig,
    /// What it announces once a session stands: messages in order, in pieces of whole messages.
    pub(crate) script: Arc<[Bytes]>,
}

/// Where routers meet their peers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meeting {
    /// The port that every router listens on, if any.
    pub(crate) listen: Option<u16>,
    /// The peer that every router dials, if any.
    pub(crate) connect: Option<SocketAddr>,
    /// Whether a router hangs up once its script is written.
    pub(crate) once: bool,
}

/// Hears what the routers are told.
pub(crate) trait Observer {
    /// A router's session stands.
    fn established(&mut self, router: usize);
    /// A router was told an UPDATE of `octets` octets in all; `read_at` is when its last octet had
    /// been read.
    fn update(
        &mut self,
        router: usize,
        wire: &WireFormat,
        body: &[u8],
        octets: usize,
        read_at: Instant,
    );
    /// A router's session that stood is down.
    fn down(&mut self, router: usize, why: &str);
    /// A connection ended before its session stood.
    fn failed(&mut self, router: usize, why: &str);
    /// The loop has handled all that was ready. `Some`: it ends, with this exit code.
    fn turn(&mut self, now: Instant) -> Option<u8>;
    /// A router has written its whole script.
    fn script_written(&mut self, _router: usize) {}
}

/// All routers and their sockets.
pub(crate) struct Network {
    poller: Poller,
    meeting: Meeting,
    routers: Vec<Router>,
    connections: HashMap<u64, Connection>,
    next_token: u64,
    buffer: Vec<u8>,
}

struct Router {
    config: RouterConfig,
    listener: Option<TcpListener>,
    /// The tokens of its connections: one, or two while they collide.
    connections: Vec<u64>,
    dial_at: Instant,
    /// It has said all it had to say, and hung up.
    done: bool,
}

struct Connection {
    router: usize,
    socket: TcpStream,
    /// This side dialled.
    outgoing: bool,
    connecting: bool,
    watches_writes: bool,
    speaker: Speaker,
    /// Its session stood at some time.
    stood: bool,
    /// Pieces of the router's script that have been queued.
    said: usize,
}

impl Network {
    /// Opens the listeners.
    pub(crate) fn new(configs: Vec<RouterConfig>, meeting: Meeting) -> io::Result<Network> {
        let poller = Poller::new()?;
        let mut routers = Vec::with_capacity(configs.len());
        for (index, config) in configs.into_iter().enumerate() {
            let listener = match meeting.listen {
                Some(port) => Some(listen(SocketAddr::new(config.address, port))?),
                None => None,
            };
            if let Some(listener) = &listener {
                poller.add(listener, index as u64, false)?;
            }
            routers.push(Router {
                config,
                listener,
                connections: Vec::new(),
                dial_at: clock::now(),
                done: false,
            });
        }
        Ok(Network {
            poller,
            meeting,
            next_token: routers.len() as u64,
            routers,
            connections: HashMap::new(),
            buffer: vec![0; READ_OCTETS],
        })
    }

    /// Runs until the observer ends it; returns its exit code.
    pub(crate) fn run(&mut self, observer: &mut dyn Observer) -> io::Result<u8> {
        let mut ready = Vec::new();
        let mut timers_at = clock::now();
        loop {
            let now = clock::now();
            if now >= timers_at {
                self.handle_time(now, observer);
                timers_at = now + TICK;
            }
            if let Some(code) = observer.turn(now) {
                self.say_goodbye(now);
                return Ok(code);
            }
            ready.clear();
            self.poller
                .wait(timers_at.saturating_duration_since(now), &mut ready)?;
            for readiness in &ready {
                self.handle_ready(*readiness, observer)?;
            }
        }
    }

    fn handle_ready(&mut self, ready: Readiness, observer: &mut dyn Observer) -> io::Result<()> {
        match usize::try_from(ready.token) {
            Ok(router) if router < self.routers.len() => self.accept(router),
            _ => {
                let outcome = self.handle_connection(ready, observer);
                if let Err(over) = outcome {
                    self.close(ready.token, &over, observer);
                }
                Ok(())
            }
        }
    }

    fn accept(&mut self, router: usize) -> io::Result<()> {
        let Some(listener) = &self.routers[router].listener else {
            return Ok(());
        };
        match listener.accept() {
            Ok((socket, _)) => {
                socket.set_nonblocking(true)?;
                socket.set_nodelay(true)?;
                self.add_connection(router, socket, false)
            }
            Err(error) if is_passing(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn dial(&mut self, router: usize, peer: SocketAddr) -> io::Result<()> {
        let socket = dial(self.routers[router].config.address, peer)?;
        self.add_connection(router, socket, true)
    }

    fn add_connection(
        &mut self,
        router: usize,
        socket: TcpStream,
        outgoing: bool,
    ) -> io::Result<()> {
        let token = self.next_token;
        self.next_token += 1;
        self.poller.add(&socket, token, true)?;
        let speaker = Speaker::new(self.routers[router].config.speaker.clone(), clock::now());
        self.routers[router].connections.push(token);
        self.connections.insert(
            token,
            Connection {
                router,
                socket,
                outgoing,
                connecting: outgoing,
                watches_writes: true,
                speaker,
                stood: false,
                said: 0,
            },
        );
        Ok(())
    }

    fn handle_connection(
        &mut self,
        ready: Readiness,
        observer: &mut dyn Observer,
    ) -> Result<(), Over> {
        let Some(connection) = self.connections.get_mut(&ready.token) else {
            return Ok(()); // it lost a collision earlier in this turn
        };
        if connection.connecting && ready.writable {
            if let Some(error) = connection.socket.take_error().map_err(broken)? {
                return Err(broken(error));
            }
            connection.connecting = false;
        }
        let mut opened_id = None;
        if ready.readable && !connection.connecting {
            match connection.socket.read(&mut self.buffer) {
                Ok(0) => return Err(Over::new("the peer closed the connection")),
                Ok(octets) => {
                    let read_at = clock::now();
                    let (router, stood) = (connection.router, &mut connection.stood);
                    let report = |event: Event<'_>| match event {
                        Event::Opened(agreed) => opened_id = Some(agreed.peer_id),
                        Event::Established => {
                            *stood = true;
                            observer.established(router);
                        }
                        Event::Update(wire, body, octets) => {
                            observer.update(router, wire, body, octets, read_at);
                        }
                    };
                    let read = &self.buffer[..octets];
                    connection.speaker.receive(read, read_at, report)?;
                }
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(broken(error)),
            }
        }
        if let Some(peer_id) = opened_id {
            self.settle_collision(ready.token, u32::from(peer_id), observer)?;
        }
        self.write(ready.token, observer)
    }

    /// RFC 4271 §6.8: of two connections with one peer, the one that the side with the higher
    /// identifier opened stays, unless one of them stands already.
    fn settle_collision(
        &mut self,
        token: u64,
        peer_id: u32,
        observer: &mut dyn Observer,
    ) -> Result<(), Over> {
        let connection = &self.connections[&token];
        let router = &self.routers[connection.router];
        let Some(other) = router.connections.iter().copied().find(|t| *t != token) else {
            return Ok(());
        };
        let local_id = u32::from(router.config.speaker.router_id);
        let other_stands = self.connections[&other].speaker.agreed().is_some();
        let keep_outgoing = local_id > peer_id;
        let loser = if other_stands || connection.outgoing != keep_outgoing {
            token
        } else {
            other
        };
        let collision = Notification::cease(7);
        let over = match self.connections.get_mut(&loser) {
            Some(connection) => connection.speaker.refuse(&collision, clock::now()),
            None => return Ok(()),
        };
        if loser == token {
            return Err(over);
        }
        self.close(loser, &over, observer);
        Ok(())
    }

    /// Writes until the socket is full or nothing is left to say.
    fn write(&mut self, token: u64, observer: &mut dyn Observer) -> Result<(), Over> {
        let Some(connection) = self.connections.get_mut(&token) else {
            return Ok(());
        };
        if connection.connecting {
            return Ok(());
        }
        let router = &mut self.routers[connection.router];
        let full = loop {
            if connection.speaker.next_write().is_none() && connection.speaker.agreed().is_some() {
                let script = &router.config.script;
                if let Some(piece) = script.get(connection.said) {
                    connection.said += 1;
                    connection.speaker.say(piece.clone(), clock::now());
                } else if connection.said == script.len() && !script.is_empty() {
                    connection.said += 1;
                    observer.script_written(connection.router);
                    if self.meeting.once {
                        router.done = true;
                        let cease = Notification::cease(2);
                        return Err(connection.speaker.refuse(&cease, clock::now()));
                    }
                }
            }
            let Some(octets) = connection.speaker.next_write() else {
                break false;
            };
            match connection.socket.write(octets) {
                Ok(octets) => connection.speaker.written(octets),
                Err(error) if is_passing(&error) => break true,
                Err(error) => return Err(broken(error)),
            }
        };
        if connection.watches_writes != full {
            connection.watches_writes = full;
            self.poller
                .watch_writes(&connection.socket, token, full)
                .map_err(broken)?;
        }
        Ok(())
    }

    fn handle_time(&mut self, now: Instant, observer: &mut dyn Observer) {
        let tokens: Vec<u64> = self.connections.keys().copied().collect();
        for token in tokens {
            let Some(connection) = self.connections.get_mut(&token) else {
                continue;
            };
            let outcome = connection.speaker.handle_time(now);
            if let Err(over) = outcome.and_then(|()| self.write(token, observer)) {
                self.close(token, &over, observer);
            }
        }
        let Some(peer) = self.meeting.connect else {
            return;
        };
        for index in 0..self.routers.len() {
            let router = &mut self.routers[index];
            if router.done || !router.connections.is_empty() || now < router.dial_at {
                continue;
            }
            router.dial_at = now + DIAL_AGAIN;
            if let Err(error) = self.dial(index, peer) {
                observer.failed(index, &format!("cannot dial {peer}: {error}"));
            }
        }
    }

    fn close(&mut self, token: u64, over: &Over, observer: &mut dyn Observer) {
        let Some(mut connection) = self.connections.remove(&token) else {
            return;
        };
        flush(&mut connection);
        let router = connection.router;
        self.routers[router].connections.retain(|t| *t != token);
        self.routers[router].dial_at = clock::now() + DIAL_AGAIN;
        if connection.stood {
            observer.down(router, &over.words);
        } else {
            observer.failed(router, &over.words);
        }
    }

    /// Cease/Administrative Shutdown to everyone, as far as their sockets take it.
    fn say_goodbye(&mut self, now: Instant) {
        for (_, mut connection) in self.connections.drain() {
            if !connection.connecting {
                let _ = connection.speaker.refuse(&Notification::cease(2), now);
                flush(&mut connection);
            }
        }
    }
}

/// Writes what the socket takes at once, and no more: the connection is about to be dropped.
fn flush(connection: &mut Connection) {
    while let Some(octets) = connection.speaker.next_write() {
        match connection.socket.write(octets) {
            Ok(octets) => connection.speaker.written(octets),
            Err(_) => break,
        }
    }
}

/// Begins to connect from an address; the socket is writable once that has come to an end.
pub(crate) fn dial(from: IpAddr, peer: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(
        Domain::for_address(peer),
        Type::STREAM.nonblocking().cloexec(),
        Some(Protocol::TCP),
    )?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    match socket.connect(&peer.into()) {
        Err(error) if error.raw_os_error() != Some(EINPROGRESS) => Err(error),
        _ => Ok(socket.into()),
    }
}

/// Listens without blocking.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let words = |error: io::Error| io::Error::other(format!("cannot listen on {address}: {error}"));
    let open = || {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM.nonblocking().cloexec(),
            Some(Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    open().map_err(words)
}

fn broken(error: io::Error) -> Over {
    Over::new(error.to_string())
}

fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// Octets read from a socket at once.
const READ_OCTETS: usize = 256 * 1024;
/// How often timers are looked at.
const TICK: Duration = Duration::from_millis(100);
/// How long a target that no session came up with is dialled again.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// How long a router waits before it dials again.
const DIAL_AGAIN: Duration = Duration::from_millis(300);
/// Connections that may wait to be accepted; the kernel takes net.core.somaxconn if that is less.
const BACKLOG: i32 = 16_384;
/// `EINPROGRESS` on Linux.
const EINPROGRESS: i32 = 115;
