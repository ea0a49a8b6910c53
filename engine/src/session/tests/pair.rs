//! Two sessions and the network between them: delays, chopped bytes, resets, one seed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::random::Random;
use crate::session::{Accept, Session, SessionAction, SessionConfig, Slot, State};
use crate::time::Time;

/// Two sessions that dial each other.
pub(super) struct Pair {
    pub(super) now: Time,
    pub(super) sides: [Side; 2],
    links: Vec<Link>,
    queue: BinaryHeap<Reverse<(Time, u64, Pending)>>,
    sequence: u64,
    random: Random,
    max_delay: Duration,
}

/// One end, its session and what was seen of it.
pub(super) struct Side {
    pub(super) session: Session,
    pub(super) ups: u32,
    pub(super) downs: u32,
    slots: [Option<usize>; 2],
    dialling: Option<usize>,
    address: SocketAddr,
    /// Nobody listens here.
    pub(super) deaf: bool,
}

/// A connection; `busy_until` keeps each direction in order.
struct Link {
    dialer: usize,
    busy_until: [Time; 2],
    inbox: [Vec<u8>; 2],
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Pending {
    Syn {
        link: usize,
    },
    Established {
        link: usize,
    },
    Refused {
        link: usize,
    },
    Bytes {
        link: usize,
        to: usize,
        bytes: Vec<u8>,
    },
    Fin {
        link: usize,
        to: usize,
    },
}

impl Pair {
    pub(super) fn new(configs: [SessionConfig; 2], seed: u64, max_delay: Duration) -> Pair {
        let mut random = Random::new(seed);
        let sides = configs.map(|config| Side {
            session: Session::new(config, random.next()),
            ups: 0,
            downs: 0,
            slots: [None; 2],
            dialling: None,
            address: SocketAddr::from(([10, 0, 0, 1], 179)),
            deaf: false,
        });
        Pair {
            now: Time(0),
            sides,
            links: Vec::new(),
            queue: BinaryHeap::new(),
            sequence: 0,
            random,
            max_delay,
        }
    }

    pub(super) fn start(&mut self) {
        for side in 0..2 {
            self.sides[side].session.handle_start(self.now);
            self.drain(side);
        }
    }

    /// Runs to `end`; true if it got there, false if `done` held first.
    pub(super) fn run_until(&mut self, end: Time, mut done: impl FnMut(&Pair) -> bool) -> bool {
        loop {
            if done(self) {
                return false;
            }
            let event = self.queue.peek().map(|Reverse((at, ..))| *at);
            let timer = (0..2)
                .filter_map(|side| self.sides[side].session.poll_timeout())
                .min();
            let Some(next) = [event, timer].into_iter().flatten().min() else {
                self.now = end;
                return true;
            };
            if next > end {
                self.now = end;
                return true;
            }
            self.now = self.now.max(next);
            // Bytes before timers: what arrived by now was heard by now.
            if event.is_some_and(|at| at <= self.now)
                && let Some(Reverse((_, _, pending))) = self.queue.pop()
            {
                self.happen(pending);
                continue;
            }
            for side in 0..2 {
                if self.sides[side].session.poll_timeout() <= Some(self.now) {
                    self.sides[side].session.handle_timeout(self.now);
                    self.drain(side);
                }
            }
        }
    }

    pub(super) fn both_established(&self) -> bool {
        self.sides
            .iter()
            .all(|side| side.session.state() == State::Established)
    }

    /// The link that each side has Established.
    pub(super) fn established_links(&self) -> [Option<usize>; 2] {
        [0, 1].map(|side| {
            let side = &self.sides[side];
            let (slot, _) = side.session.established()?;
            side.slots[slot as usize]
        })
    }

    /// Who dialled a link.
    pub(super) fn dialer(&self, link: usize) -> usize {
        self.links[link].dialer
    }

    /// Cuts every connection, noticed by both ends at different times.
    pub(super) fn reset_all(&mut self) {
        for link in 0..self.links.len() {
            for to in 0..2 {
                self.schedule_on(link, to, |to| Pending::Fin { link, to });
            }
        }
    }

    fn delay(&mut self) -> Duration {
        let max = u64::try_from(self.max_delay.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(1 + self.random.next() % max.max(1))
    }

    fn schedule_on(&mut self, link: usize, to: usize, make: impl FnOnce(usize) -> Pending) {
        let earliest = self.now + self.delay();
        let at = earliest.max(self.links[link].busy_until[to] + Duration::from_nanos(1));
        self.links[link].busy_until[to] = at;
        self.sequence += 1;
        let entry = (at, self.sequence, make(to));
        self.queue.push(Reverse(entry));
    }

    fn happen(&mut self, pending: Pending) {
        match pending {
            Pending::Syn { link } => self.syn(link),
            Pending::Established { link } => {
                let dialer = self.links[link].dialer;
                let side = &mut self.sides[dialer];
                if side.dialling == Some(link) {
                    side.dialling = None;
                    side.slots[Slot::Outgoing as usize] = Some(link);
                    side.session.handle_connected(self.now, side.address);
                    self.drain(dialer);
                } else {
                    self.schedule_on(link, 1 - dialer, |to| Pending::Fin { link, to });
                }
            }
            Pending::Refused { link } => {
                let dialer = self.links[link].dialer;
                let side = &mut self.sides[dialer];
                if side.dialling == Some(link) {
                    side.dialling = None;
                    side.session
                        .handle_connect_failed(self.now, "connection refused");
                    self.drain(dialer);
                }
            }
            Pending::Bytes { link, to, bytes } => self.bytes(link, to, &bytes),
            Pending::Fin { link, to } => {
                if let Some(slot) = self.slot_of(to, link) {
                    self.sides[to].slots[slot as usize] = None;
                    self.sides[to]
                        .session
                        .handle_closed(self.now, slot, "end of stream");
                    self.drain(to);
                }
            }
        }
    }

    fn syn(&mut self, link: usize) {
        let dialer = self.links[link].dialer;
        let acceptor = 1 - dialer;
        if self.sides[acceptor].deaf {
            self.schedule_on(link, dialer, |_| Pending::Refused { link });
            return;
        }
        // The kernel accepts before the session is asked.
        self.schedule_on(link, dialer, |_| Pending::Established { link });
        let side = &mut self.sides[acceptor];
        match side.session.handle_accepted(self.now, side.address) {
            Accept::Taken => self.drain_accepting(acceptor, Some(link)),
            Accept::Refused(notification) => {
                if let Some(notification) = notification {
                    let mut message = Vec::new();
                    codec::encode_notification(&notification, &mut message);
                    self.send(link, dialer, &message);
                }
                self.schedule_on(link, dialer, |to| Pending::Fin { link, to });
            }
        }
    }

    fn bytes(&mut self, link: usize, to: usize, bytes: &[u8]) {
        self.links[link].inbox[to].extend_from_slice(bytes);
        loop {
            let Some(slot) = self.slot_of(to, link) else {
                return;
            };
            let inbox = &self.links[link].inbox[to];
            let Some(length) =
                codec::frame(inbox, codec::MAX_LEN).expect("sessions frame their messages")
            else {
                return;
            };
            let message: Vec<u8> = self.links[link].inbox[to].drain(..length).collect();
            self.sides[to]
                .session
                .handle_message(self.now, slot, &message);
            self.drain(to);
        }
    }

    fn slot_of(&self, side: usize, link: usize) -> Option<Slot> {
        Slot::ALL
            .into_iter()
            .find(|slot| self.sides[side].slots[*slot as usize] == Some(link))
    }

    fn send(&mut self, link: usize, to: usize, message: &[u8]) {
        let mut rest = message;
        while !rest.is_empty() {
            let length = 1 + (self.random.next() as usize) % rest.len();
            let (piece, more) = rest.split_at(length);
            let bytes = piece.to_vec();
            self.schedule_on(link, to, |to| Pending::Bytes { link, to, bytes });
            rest = more;
        }
    }

    fn drain(&mut self, side: usize) {
        self.drain_accepting(side, None);
    }

    fn drain_accepting(&mut self, side: usize, mut accepting: Option<usize>) {
        self.sides[side].session.audit();
        while let Some(action) = self.sides[side].session.poll_action() {
            match action {
                SessionAction::Connect => {
                    let link = self.links.len();
                    self.links.push(Link {
                        dialer: side,
                        busy_until: [self.now; 2],
                        inbox: [Vec::new(), Vec::new()],
                    });
                    assert!(self.sides[side].dialling.replace(link).is_none());
                    self.schedule_on(link, 1 - side, |_| Pending::Syn { link });
                }
                SessionAction::Accepted => {
                    let slot = &mut self.sides[side].slots[Slot::Incoming as usize];
                    assert!(slot.is_none(), "accepted over a connection");
                    *slot = accepting.take();
                }
                SessionAction::MakeRoom => self.sides[side].slots.swap(0, 1),
                SessionAction::Transmit(slot, message) => {
                    let link = self.sides[side].slots[slot as usize]
                        .expect("messages go to connections that are there");
                    self.send(link, 1 - side, &message);
                }
                SessionAction::Close(slot) => {
                    let taken = self.sides[side].slots[slot as usize].take();
                    if let Some(link) = taken {
                        self.schedule_on(link, 1 - side, |to| Pending::Fin { link, to });
                    } else {
                        assert_eq!(slot, Slot::Outgoing);
                        assert!(self.sides[side].dialling.take().is_some());
                    }
                }
                SessionAction::Established(..) => self.sides[side].ups += 1,
                SessionAction::Down(_) => self.sides[side].downs += 1,
            }
        }
        let side = &self.sides[side];
        let up = u32::from(side.session.state() == State::Established);
        assert_eq!(side.ups, side.downs + up, "every up has one down");
    }
}
