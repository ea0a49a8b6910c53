//! The virtual network: connections with delay, bounded buffers, chopped reads and writes, stalls,
//! partitions and resets.
//!
//! Knows octets, not messages, and who is at which end only as a number. Invariants: octets of one
//! direction arrive in the order in which they were written, each once; an end that closed hears
//! nothing more; what is written and not yet read never exceeds the pipe's capacity.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::random::Random;
use crate::time::Time;

/// One connection, or the attempt at one; never used twice.
pub(super) type LinkId = usize;

/// An end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum End {
    /// The one that connected.
    Dialer,
    /// The one that was connected to.
    Acceptor,
}

impl End {
    pub(super) fn other(self) -> End {
        match self {
            End::Dialer => End::Acceptor,
            End::Acceptor => End::Dialer,
        }
    }
}

/// What the network brings to an end.
#[derive(Debug)]
pub(super) enum Delivery {
    /// Somebody connects: for the acceptor, who answers with `accept` or `refuse`.
    Knock(LinkId),
    /// The connection stands: for the dialer.
    Connected(LinkId),
    /// There is none: for the dialer.
    Refused(LinkId),
    /// Octets for an end.
    Octets(LinkId, End, Vec<u8>),
    /// Nothing more comes for an end, with the words of a socket.
    Closed(LinkId, End, &'static str),
    /// An end that could not write may try again.
    Room(LinkId, End),
}

/// How bad the network is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    /// The longest delay of a piece of octets.
    pub(super) delay: Duration,
    /// Octets that are on the way in one direction at most.
    pub(super) capacity: usize,
    /// The longest piece that arrives at once.
    pub(super) piece: usize,
}

#[derive(Debug)]
struct Link {
    /// The router of the link: partitions are of routers.
    router: usize,
    /// What travels from an end, by that end.
    pipes: [Pipe; 2],
    /// Whether each end is still there.
    open: [bool; 2],
    /// Reset: what is on the way is lost.
    reset: bool,
}

#[derive(Debug, Default)]
struct Pipe {
    /// Octets written and not read.
    on_the_way: usize,
    /// When the last piece arrives: the next comes after it.
    busy_until: Time,
    /// The reader does not read before this.
    stalled_until: Time,
    /// The reader does not read at all.
    paused: bool,
    /// The writer found no room.
    blocked: bool,
    /// What arrived while the reader did not read, in order.
    unread: Vec<(u64, Pending)>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Pending {
    Knock(LinkId),
    Connected(LinkId),
    Refused(LinkId),
    Octets(LinkId, End, Vec<u8>),
    Closed(LinkId, End, &'static str),
    Room(LinkId, End),
    /// An end reads again.
    Reads(LinkId, End),
}

/// The network between the node and its routers.
#[derive(Debug)]
pub(super) struct Network {
    links: Vec<Link>,
    queue: BinaryHeap<Reverse<(Time, u64, Pending)>>,
    sequence: u64,
    random: Random,
    weather: Weather,
    /// By router: nothing arrives, either way, before this.
    cut_until: Vec<Time>,
}

impl Network {
    pub(super) fn new(routers: usize, weather: Weather, seed: u64) -> Network {
        Network {
            links: Vec::new(),
            queue: BinaryHeap::new(),
            sequence: 0,
            random: Random::new(seed),
            weather,
            cut_until: vec![Time::default(); routers],
        }
    }

    /// Connects; the answer comes by [`Network::deliver`]. `router` is the router of the two.
    pub(super) fn dial(&mut self, now: Time, router: usize) -> LinkId {
        let link = self.links.len();
        self.links.push(Link {
            router,
            pipes: [Pipe::default(), Pipe::default()],
            open: [true; 2],
            reset: false,
        });
        self.send(now, link, End::Dialer, Pending::Knock(link));
        link
    }

    /// The acceptor's kernel takes the connection.
    pub(super) fn accept(&mut self, now: Time, link: LinkId) {
        self.send(now, link, End::Acceptor, Pending::Connected(link));
    }

    /// Nobody listens.
    pub(super) fn refuse(&mut self, now: Time, link: LinkId) {
        self.links[link].open[End::Acceptor as usize] = false;
        self.send(now, link, End::Acceptor, Pending::Refused(link));
    }

    /// Writes what there is room for, in pieces; returns how much that was.
    pub(super) fn write(&mut self, now: Time, link: LinkId, from: End, octets: &[u8]) -> usize {
        let capacity = self.weather.capacity;
        let pipe = &mut self.links[link].pipes[from as usize];
        let room = capacity.saturating_sub(pipe.on_the_way).min(octets.len());
        pipe.blocked = room < octets.len();
        pipe.on_the_way += room;
        let mut rest = &octets[..room];
        while !rest.is_empty() {
            let length = 1 + self.random.below(self.weather.piece.min(rest.len()));
            let (piece, more) = rest.split_at(length);
            let pending = Pending::Octets(link, from.other(), piece.to_vec());
            self.send(now, link, from, pending);
            rest = more;
        }
        room
    }

    /// An end closes: the other hears of it after everything that was written.
    pub(super) fn close(&mut self, now: Time, link: LinkId, end: End) {
        if std::mem::take(&mut self.links[link].open[end as usize]) {
            let pending = Pending::Closed(link, end.other(), "end of stream");
            self.send(now, link, end, pending);
        }
    }

    /// The connection breaks: what is on the way is lost, each end hears of it when it does.
    pub(super) fn reset(&mut self, now: Time, link: LinkId) {
        self.links[link].reset = true;
        for pipe in &mut self.links[link].pipes {
            pipe.unread.clear();
        }
        for end in [End::Dialer, End::Acceptor] {
            let pending = Pending::Closed(link, end, "connection reset by peer");
            self.send(now, link, end.other(), pending);
        }
    }

    /// An end vanishes without a word, as a machine that loses power: the other learns of it when
    /// it writes and the router is not cut off any more.
    pub(super) fn vanish(&mut self, link: LinkId, end: End) {
        self.links[link].open[end as usize] = false;
    }

    /// An end reads nothing before `until`.
    pub(super) fn stall(&mut self, link: LinkId, reader: End, until: Time) {
        let pipe = &mut self.links[link].pipes[reader.other() as usize];
        pipe.stalled_until = pipe.stalled_until.max(until);
        self.queue(until, Pending::Reads(link, reader));
    }

    /// An end reads nothing until it says so, or reads again.
    pub(super) fn pause(&mut self, now: Time, link: LinkId, reader: End, paused: bool) {
        let pipe = &mut self.links[link].pipes[reader.other() as usize];
        if std::mem::replace(&mut pipe.paused, paused) && !paused {
            self.queue(now, Pending::Reads(link, reader));
        }
    }

    /// Whether an end of the link reads nothing until it says so.
    #[cfg(test)]
    pub(super) fn is_paused(&self, link: LinkId) -> bool {
        self.links[link].pipes.iter().any(|pipe| pipe.paused)
    }

    /// Whether octets have arrived at an end that it did not read.
    pub(super) fn has_unread(&self, link: LinkId, reader: End) -> bool {
        let link = &self.links[link];
        let mut unread = link.pipes[reader.other() as usize].unread.iter();
        !link.reset && unread.any(|(_, pending)| matches!(pending, Pending::Octets(..)))
    }

    /// Nothing reaches or leaves a router before `until`.
    pub(super) fn cut(&mut self, router: usize, until: Time) {
        self.cut_until[router] = self.cut_until[router].max(until);
    }

    /// How many links there have been.
    pub(super) fn links(&self) -> usize {
        self.links.len()
    }

    /// The router of a link.
    pub(super) fn router(&self, link: LinkId) -> usize {
        self.links[link].router
    }

    /// When the next delivery is due.
    pub(super) fn next_time(&self) -> Option<Time> {
        self.queue.peek().map(|Reverse((at, ..))| *at)
    }

    /// The next delivery that is due.
    pub(super) fn deliver(&mut self, now: Time) -> Option<Delivery> {
        while self.next_time().is_some_and(|at| at <= now) {
            let Reverse((at, sequence, pending)) = self.queue.pop()?;
            if let Some(later) = self.postponed(now, &pending) {
                // With its number it keeps its place.
                self.queue.push(Reverse((later, sequence, pending)));
                continue;
            }
            if let Pending::Reads(link, reader) = pending {
                self.read_again(at, now, link, reader);
            } else if let Some(unread) = self.unread_pipe(now, &pending) {
                unread.push((sequence, pending));
            } else if let Some(delivery) = self.arrive(now, pending) {
                return Some(delivery);
            }
        }
        None
    }

    /// Whether no octets are on the way, other than to those that are gone, and no end waits to
    /// hear of a reset.
    pub(super) fn is_quiet(&self) -> bool {
        self.links.iter().all(|link| match (link.open, link.reset) {
            ([false, false], _) => true,
            (_, true) => false,
            ([true, true], false) => link.pipes.iter().all(|pipe| pipe.on_the_way == 0),
            (_, false) => true,
        })
    }

    /// Until when nothing gets through to where `pending` goes.
    fn postponed(&self, now: Time, pending: &Pending) -> Option<Time> {
        let link = match pending {
            Pending::Octets(link, ..)
            | Pending::Closed(link, ..)
            | Pending::Knock(link)
            | Pending::Connected(link)
            | Pending::Refused(link) => *link,
            Pending::Room(..) | Pending::Reads(..) => return None,
        };
        let until = self.cut_until[self.links[link].router];
        (until > now).then_some(until)
    }

    /// Where `pending` waits if its reader does not read now.
    fn unread_pipe(&mut self, now: Time, pending: &Pending) -> Option<&mut Vec<(u64, Pending)>> {
        let (Pending::Octets(link, reader, _) | Pending::Closed(link, reader, _)) = pending else {
            return None;
        };
        let link = &mut self.links[*link];
        let pipe = &mut link.pipes[reader.other() as usize];
        let reads = pipe.reads(now) && pipe.unread.is_empty();
        (!reads && !link.reset).then_some(&mut pipe.unread)
    }

    /// What waited is delivered, in order, before anything that came after it.
    fn read_again(&mut self, at: Time, now: Time, link: LinkId, reader: End) {
        let link = &mut self.links[link];
        let pipe = &mut link.pipes[reader.other() as usize];
        if pipe.reads(now) || link.reset {
            let unread = pipe.unread.drain(..);
            self.queue
                .extend(unread.map(|(sequence, pending)| Reverse((at, sequence, pending))));
        }
    }

    fn arrive(&mut self, now: Time, pending: Pending) -> Option<Delivery> {
        match pending {
            Pending::Knock(link) => Some(Delivery::Knock(link)),
            Pending::Connected(link) => {
                self.links[link].open[End::Dialer as usize].then_some(Delivery::Connected(link))
            }
            Pending::Refused(link) => {
                let waits = std::mem::take(&mut self.links[link].open[End::Dialer as usize]);
                waits.then_some(Delivery::Refused(link))
            }
            // Seen to before.
            Pending::Reads(..) => None,
            Pending::Room(link, end) => {
                let open = self.links[link].open[end as usize] && !self.links[link].reset;
                open.then_some(Delivery::Room(link, end))
            }
            Pending::Octets(link, end, octets) => {
                let state = &mut self.links[link];
                let pipe = &mut state.pipes[end.other() as usize];
                pipe.on_the_way -= octets.len();
                if std::mem::take(&mut pipe.blocked) {
                    self.queue(now, Pending::Room(link, end.other()));
                }
                if self.links[link].reset {
                    return None;
                }
                if !self.links[link].open[end as usize] {
                    // Nobody is there: the kernel answers with a reset.
                    let reset = Pending::Closed(link, end.other(), "connection reset by peer");
                    self.send(now, link, end, reset);
                    return None;
                }
                Some(Delivery::Octets(link, end, octets))
            }
            Pending::Closed(link, end, words) => {
                let open = std::mem::take(&mut self.links[link].open[end as usize]);
                open.then_some(Delivery::Closed(link, end, words))
            }
        }
    }

    /// Sends in the order of the direction from `end`.
    fn send(&mut self, now: Time, link: LinkId, end: End, pending: Pending) {
        let delay = self.random.up_to(self.weather.delay);
        let pipe = &mut self.links[link].pipes[end as usize];
        let at = (now + delay).max(pipe.busy_until);
        pipe.busy_until = at;
        self.queue(at, pending);
    }

    fn queue(&mut self, at: Time, pending: Pending) {
        self.sequence += 1;
        self.queue.push(Reverse((at, self.sequence, pending)));
    }
}

impl Pipe {
    fn reads(&self, now: Time) -> bool {
        !self.paused && self.stalled_until <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_arrive_whole_in_order_and_never_past_the_capacity() {
        for seed in 0..50 {
            let weather = Weather {
                delay: Duration::from_millis(20),
                capacity: 64,
                piece: 10,
            };
            let mut network = Network::new(1, weather, seed);
            let mut now = Time(0);
            let link = network.dial(now, 0);
            let sent: Vec<u8> = (0..=255).cycle().take(5000).collect();
            let mut written = 0;
            let mut read = Vec::new();
            let (mut closed, mut saw_unread) = (false, false);
            network.stall(link, End::Acceptor, Time(3_000_000_000));
            while let Some(next) = network.next_time() {
                now = now.max(next);
                let delivery = network.deliver(now);
                let stalls = now < Time(3_000_000_000);
                assert!(stalls || !network.has_unread(link, End::Acceptor) || delivery.is_some());
                saw_unread |= network.has_unread(link, End::Acceptor);
                let Some(delivery) = delivery else {
                    continue;
                };
                match delivery {
                    Delivery::Knock(link) => network.accept(now, link),
                    Delivery::Connected(_) | Delivery::Room(..) => {
                        written += network.write(now, link, End::Dialer, &sent[written..]);
                        assert!(written - read.len() <= 64);
                        if written == sent.len() {
                            network.close(now, link, End::Dialer);
                        }
                    }
                    Delivery::Octets(_, End::Acceptor, octets) => read.extend(octets),
                    Delivery::Closed(_, End::Acceptor, _) => closed = true,
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(read, sent);
            assert!(saw_unread);
            assert!(!network.has_unread(link, End::Acceptor));
            assert!(closed && now >= Time(3_000_000_000));
        }
    }
}
