//! The sessions of all routers of a scenario, on real sockets: each router dials the target.
//!
//! Here live dialling, large reads and writes, and the choice between hearing and discarding what
//! comes in. What a router is told goes to an [`Ear`]. Not here: what routers announce and when.
//! Invariant: a router has at most one connection. Budget: one system call for up to 256 KiB each
//! way; thousands of routers on one thread.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bytes::Bytes;
use codec::{Notification, WireFormat};
use rustix::net::RecvFlags;

use crate::clock;
use crate::network::dial;
use crate::poll::{Poller, Readiness};
use crate::script::Pieces;
use crate::speaker::{Event, Over, Speaker, SpeakerConfig};

/// Hears what the routers of a fleet are told.
pub(crate) trait Ear {
    /// A router's session stands.
    fn established(&mut self, router: usize, now: Instant);
    /// A router was told an UPDATE of `octets` octets in all.
    fn update(
        &mut self,
        router: usize,
        wire: &WireFormat,
        body: &[u8],
        octets: usize,
        read_at: Instant,
    );
    /// Octets came that were thrown away unread.
    fn discarded(&mut self, octets: usize, read_at: Instant);
    /// A connection ended; `stood`: its session had come up.
    fn down(&mut self, router: usize, over: Over, stood: bool);
}

/// All routers and their sockets.
pub(crate) struct Fleet {
    poller: Poller,
    target: SocketAddr,
    routers: Vec<Router>,
    buffer: Vec<u8>,
    ready: Vec<Readiness>,
    timers_at: Instant,
    dials_at_once: usize,
}

/// Who a router is.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// The address that it dials from.
    pub(crate) address: IpAddr,
    /// Its BGP side.
    pub(crate) speaker: SpeakerConfig,
}

struct Router {
    identity: Identity,
    link: Option<Link>,
    /// When it dials, if it is to be connected and is not.
    dial_at: Option<Instant>,
    discards: bool,
    greeting: Pieces,
}

struct Link {
    socket: TcpStream,
    speaker: Speaker,
    /// The begin of a message that has not come in whole.
    partial: Vec<u8>,
    connecting: bool,
    watches_writes: bool,
    stood: bool,
}

impl Fleet {
    /// Routers that dial nobody yet.
    pub(crate) fn new(identities: Vec<Identity>, target: SocketAddr) -> io::Result<Fleet> {
        let router = |identity| Router {
            identity,
            link: None,
            dial_at: None,
            discards: false,
            greeting: Pieces::default(),
        };
        Ok(Fleet {
            poller: Poller::new()?,
            target,
            routers: identities.into_iter().map(router).collect(),
            buffer: vec![0; READ_OCTETS],
            ready: Vec::new(),
            timers_at: clock::now(),
            dials_at_once: usize::MAX,
        })
    }

    /// Has no more than so many sessions on their way up at once: some speakers listen with a queue
    /// of a few connections, and what it has no room for is tried again after seconds.
    pub(crate) fn dial_at_most(&mut self, at_once: usize) {
        self.dials_at_once = at_once;
    }

    /// A router dials now, and again whenever its connection ends.
    pub(crate) fn dial(&mut self, router: usize) {
        let now = clock::now();
        self.routers[router].dial_at = Some(now);
        self.timers_at = now;
    }

    /// Queues whole messages; they leave as fast as the target takes them.
    pub(crate) fn say(&mut self, router: usize, messages: Bytes) {
        if let Some(link) = &mut self.routers[router].link {
            link.speaker.say(messages, clock::now());
            link.want_writes(&self.poller, router);
        }
    }

    /// From now on, what comes in for the router is thrown away by the kernel, unread.
    pub(crate) fn discard(&mut self, router: usize) {
        self.routers[router].discards = true;
    }

    /// What a router says as soon as its session stands, each time.
    pub(crate) fn greet(&mut self, router: usize, greeting: Pieces) {
        self.routers[router].greeting = greeting;
    }

    /// The router dies: its connection is closed without a word, and it does not come back.
    pub(crate) fn kill(&mut self, router: usize) {
        let router = &mut self.routers[router];
        router.link = None;
        router.dial_at = None;
    }

    /// Cease/Administrative Shutdown to the target from everyone, as far as sockets take it.
    pub(crate) fn say_goodbye(&mut self) {
        let now = clock::now();
        for router in &mut self.routers {
            router.dial_at = None;
            if let Some(mut link) = router.link.take()
                && link.stood
                && link.speaker.next_write().is_none()
            {
                let _ = link.speaker.refuse(&Notification::cease(2), now);
                let _ = link.write();
            }
        }
    }

    /// Waits for something to happen, at most until `until`, and handles all that has.
    pub(crate) fn turn(&mut self, until: Instant, ear: &mut impl Ear) -> io::Result<()> {
        let now = clock::now();
        if now >= self.timers_at {
            self.handle_time(now, ear);
            self.timers_at = now + TICK;
        }
        let wait = until.min(self.timers_at).saturating_duration_since(now);
        let mut ready = std::mem::take(&mut self.ready);
        ready.clear();
        self.poller.wait(wait, &mut ready)?;
        for readiness in &ready {
            let router = readiness.token as usize;
            if let Err(over) = self.handle_ready(router, *readiness, ear) {
                self.close(router, over, ear);
            }
        }
        self.ready = ready;
        Ok(())
    }

    fn handle_ready(
        &mut self,
        index: usize,
        ready: Readiness,
        ear: &mut impl Ear,
    ) -> Result<(), Over> {
        let router = &mut self.routers[index];
        let Some(link) = &mut router.link else {
            return Ok(()); // it was closed earlier in this turn
        };
        if link.connecting {
            if !ready.writable {
                return Ok(());
            }
            if let Some(error) = link.socket.take_error().map_err(broken)? {
                return Err(broken(error));
            }
            link.connecting = false;
        } else if ready.readable {
            if router.discards && link.stood {
                link.discard(&mut self.buffer, ear)?;
            } else {
                let stood = link.stood;
                link.read(index, &mut self.buffer, ear)?;
                if link.stood && !stood {
                    self.timers_at = clock::now(); // the next may dial
                    link.check_families()?;
                    for piece in router.greeting.iter() {
                        link.speaker.say(piece.clone(), clock::now());
                    }
                }
            }
        }
        if link.speaker.next_write().is_some() || link.watches_writes {
            let full = link.write()?;
            link.set_writes(full, &self.poller, index)?;
        }
        Ok(())
    }

    fn handle_time(&mut self, now: Instant, ear: &mut impl Ear) {
        let links = self
            .routers
            .iter()
            .filter_map(|router| router.link.as_ref());
        let mut coming = links.filter(|link| !link.stood).count();
        for index in 0..self.routers.len() {
            if let Some(link) = &mut self.routers[index].link {
                let outcome = link.speaker.handle_time(now);
                if link.speaker.next_write().is_some() {
                    link.want_writes(&self.poller, index);
                }
                if let Err(over) = outcome {
                    self.close(index, over, ear);
                }
            } else if coming < self.dials_at_once
                && self.routers[index].dial_at.is_some_and(|at| at <= now)
            {
                coming += 1;
                self.routers[index].dial_at = Some(now + DIAL_AGAIN);
                if let Err(error) = self.connect(index, now) {
                    ear.down(index, broken(error), false);
                }
            }
        }
    }

    fn connect(&mut self, index: usize, now: Instant) -> io::Result<()> {
        let router = &mut self.routers[index];
        let socket = dial(router.identity.address, self.target)?;
        self.poller.add(&socket, index as u64, true)?;
        router.link = Some(Link {
            socket,
            speaker: Speaker::new(router.identity.speaker.clone(), now),
            partial: Vec::new(),
            connecting: true,
            watches_writes: true,
            stood: false,
        });
        Ok(())
    }

    fn close(&mut self, index: usize, over: Over, ear: &mut impl Ear) {
        let router = &mut self.routers[index];
        if let Some(mut link) = router.link.take() {
            let _ = link.write(); // a NOTIFICATION, if there is one
            router.dial_at = router.dial_at.map(|_| clock::now() + DIAL_AGAIN);
            ear.down(index, over, link.stood);
        }
    }
}

impl Link {
    fn read(&mut self, router: usize, buffer: &mut [u8], ear: &mut impl Ear) -> Result<(), Over> {
        let kept = self.partial.len();
        let (begin, rest) = buffer.split_at_mut(kept);
        let octets = match self.socket.read(rest) {
            Ok(0) => return Err(Over::new("the target closed the connection")),
            Ok(octets) => octets,
            Err(error) if is_passing(&error) => return Ok(()),
            Err(error) => return Err(broken(error)),
        };
        begin.copy_from_slice(&self.partial);
        let read_at = clock::now();
        let stood = &mut self.stood;
        let mut report = |event: Event<'_>| match event {
            Event::Opened(_) => {}
            Event::Established => {
                *stood = true;
                ear.established(router, read_at);
            }
            Event::Update(wire, body, octets) => ear.update(router, wire, body, octets, read_at),
        };
        let octets = &buffer[..kept + octets];
        let taken = self
            .speaker
            .receive_messages(octets, read_at, &mut report)?;
        self.partial.clear();
        self.partial.extend_from_slice(&octets[taken..]);
        Ok(())
    }

    /// With no family in common there is nothing to say to each other.
    fn check_families(&mut self) -> Result<(), Over> {
        let agreed = self.speaker.agreed();
        if agreed.is_some_and(|agreed| !agreed.wire.families.is_empty()) {
            return Ok(());
        }
        let unsupported = Notification::new(
            codec::notification::OPEN,
            codec::notification::open::UNSUPPORTED_CAPABILITY,
        );
        let mut over = self.speaker.refuse(&unsupported, clock::now());
        over.words = "the target does not speak the family that is to be announced".into();
        Err(over)
    }

    fn discard(&mut self, buffer: &mut [u8], ear: &mut impl Ear) -> Result<(), Over> {
        // On a TCP socket, MSG_TRUNC drops octets without copying them (tcp(7)).
        let octets = match rustix::net::recv(&self.socket, buffer, RecvFlags::TRUNC) {
            Ok((_, 0)) => return Err(Over::new("the target closed the connection")),
            Ok((_, octets)) => octets,
            Err(error) if is_passing(&error.into()) => return Ok(()),
            Err(error) => return Err(broken(error.into())),
        };
        let read_at = clock::now();
        self.speaker.heard(read_at);
        ear.discarded(octets, read_at);
        Ok(())
    }

    /// Writes until the socket is full or nothing is left to say; whether it is full. A flood gives
    /// way to the other sockets now and then.
    fn write(&mut self) -> Result<bool, Over> {
        for _ in 0..WRITES_A_TURN {
            let Some(octets) = self.speaker.next_write() else {
                return Ok(false);
            };
            match self.socket.write(octets) {
                Ok(octets) => self.speaker.written(octets),
                Err(error) if is_passing(&error) => return Ok(true),
                Err(error) => return Err(broken(error)),
            }
        }
        Ok(self.speaker.next_write().is_some())
    }

    fn set_writes(&mut self, watch: bool, poller: &Poller, router: usize) -> Result<(), Over> {
        if self.watches_writes != watch {
            self.watches_writes = watch;
            poller
                .watch_writes(&self.socket, router as u64, watch)
                .map_err(broken)?;
        }
        Ok(())
    }

    /// A socket that cannot be watched tells its error when it is read.
    fn want_writes(&mut self, poller: &Poller, router: usize) {
        let _ = self.set_writes(true, poller, router);
    }
}

fn broken(error: io::Error) -> Over {
    Over {
        is_refusal: error.kind() == ErrorKind::ConnectionRefused,
        words: match error.kind() {
            ErrorKind::ConnectionRefused => "nobody listens there".into(),
            ErrorKind::ConnectionReset => "the target reset the connection".into(),
            _ => error.to_string(),
        },
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// Octets read from a socket before the next one has its turn: with 700 of them whose buffers are full,
/// one is read again after 20 MB, about 0.1 s. (With eight times as much, that was the longest stall
/// that `reload` saw.)
const READ_OCTETS: usize = 32 * 1024;
/// Writes to one socket before the next one has its turn.
const WRITES_A_TURN: usize = 8;
/// How often timers are looked at.
const TICK: Duration = Duration::from_millis(100);
/// How long a router waits before it dials again.
const DIAL_AGAIN: Duration = Duration::from_millis(300);
