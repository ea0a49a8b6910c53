//! Connections as the shard sees them: bytes in, cut into messages; messages out, queued.
//!
//! Invariant: a queue always starts at a message boundary, since whole messages are taken out of
//! it; so a KEEPALIVE may go ahead of what waits.

use std::collections::VecDeque;
use std::time::Duration;

use ahash::AHashMap;
use bytes::Bytes;
use codec::{HEADER_LEN, Notification};

use super::command::ConnectionId;
use super::peer::PeerId;
use crate::group::backlog_to_go_on;
use crate::session::Slot;

/// Slices that the driver is given at once, and writes by one system call: the kernel copies as many
/// descriptors of memory in.
pub const SLICES_AT_ONCE: usize = 64;

/// What a slice counts at least as backlog. Those of a table that comes in small pieces take more
/// memory in the queues of thousands than the octets do, which they share: where many wait, the peer
/// is better told later, of everything at once.
const SLICE_BACKLOG: usize = 16 << 10;

/// One connection.
pub(super) struct Connection {
    pub(super) peer: PeerId,
    pub(super) slot: Slot,
    /// The start of a message whose rest has not arrived: less than one message. Empty, it owns no
    /// memory: an idle peer costs none.
    partial: Vec<u8>,
    queue: VecDeque<Bytes>,
    /// Octets that the socket has not taken: queued here, or with the driver.
    backlog: usize,
    /// Octets of it that the driver has.
    with_driver: usize,
    /// Times that a route was not announced, being too long.
    oversized: u64,
}

impl Connection {
    fn new(peer: PeerId, slot: Slot) -> Connection {
        Connection {
            peer,
            slot,
            partial: Vec::new(),
            queue: VecDeque::new(),
            backlog: 0,
            with_driver: 0,
            oversized: 0,
        }
    }

    /// A route was not announced here, being too long. How often that was so by now.
    pub(super) fn count_oversized(&mut self) -> u64 {
        self.oversized += 1;
        self.oversized
    }

    /// Octets that the socket has not taken.
    pub(super) fn backlog(&self) -> usize {
        self.backlog
    }

    /// As [`Connection::backlog`], with small slices counted for what they cost.
    pub(super) fn cost(&self) -> usize {
        self.backlog.max(self.queue.len() * SLICE_BACKLOG)
    }

    /// Whether what is queued, `before` at first, fell to where the peer's group may go on.
    fn has_drained(&self, before: usize, backlog_max: usize) -> bool {
        let enough = backlog_to_go_on(backlog_max);
        before > enough && self.cost() <= enough
    }

    /// Takes the start of a message that did not arrive whole.
    pub(super) fn take_partial(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.partial)
    }

    /// Keeps the start of a message.
    pub(super) fn keep_partial(&mut self, partial: Vec<u8>) {
        self.partial = partial;
    }
}

/// The connections of a shard.
pub(super) struct Connections {
    live: AHashMap<ConnectionId, Connection>,
    writable: VecDeque<ConnectionId>,
    /// Connections whose backlog was empty and is not any more.
    backlogged: Vec<ConnectionId>,
    next: u32,
    /// Closed by us; the driver still sends what is queued.
    closing: AHashMap<ConnectionId, VecDeque<Bytes>>,
    backlog_max: usize,
    /// How often what is queued for some peer fell to where its group may go on.
    drained: u64,
    rest_a_member: Duration,
}

impl Connections {
    /// `backlog_max`, `rest_a_member`: see [`super::ShardOptions`].
    pub(super) fn new(backlog_max: usize, rest_a_member: Duration) -> Connections {
        Connections {
            live: AHashMap::new(),
            writable: VecDeque::new(),
            backlogged: Vec::new(),
            next: 0,
            closing: AHashMap::new(),
            backlog_max,
            drained: 0,
            rest_a_member,
        }
    }

    pub(super) fn backlog_max(&self) -> usize {
        self.backlog_max
    }

    pub(super) fn drained(&self) -> u64 {
        self.drained
    }

    pub(super) fn rest_a_member(&self) -> Duration {
        self.rest_a_member
    }

    pub(super) fn add(&mut self, peer: PeerId, slot: Slot) -> ConnectionId {
        let id = self.free_id();
        self.live.insert(id, Connection::new(peer, slot));
        id
    }

    /// A connection that is closed once the driver sent a last message on it.
    pub(super) fn add_closing(&mut self, message: Bytes) -> ConnectionId {
        let id = self.free_id();
        self.closing.insert(id, VecDeque::from([message]));
        self.writable.push_back(id);
        id
    }

    fn free_id(&mut self) -> ConnectionId {
        loop {
            let id = ConnectionId(self.next);
            self.next = self.next.wrapping_add(1);
            if !self.live.contains_key(&id) && !self.closing.contains_key(&id) {
                return id;
            }
        }
    }

    pub(super) fn get(&self, id: ConnectionId) -> Option<&Connection> {
        self.live.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.live.get_mut(&id)
    }

    /// Forgets a connection that the driver says is gone.
    pub(super) fn remove(&mut self, id: ConnectionId) -> Option<Connection> {
        self.closing.remove(&id);
        self.live.remove(&id)
    }

    /// The shard is done with a connection: what is queued is for the driver to send.
    pub(super) fn close(&mut self, id: ConnectionId) {
        if let Some(connection) = self.live.remove(&id)
            && !connection.queue.is_empty()
        {
            self.closing.insert(id, connection.queue);
        }
    }

    /// Drops what is queued and not yet with the driver.
    pub(super) fn clear_queue(&mut self, id: ConnectionId) {
        if let Some(connection) = self.live.get_mut(&id) {
            let cost = connection.cost();
            connection.queue.clear();
            connection.backlog = connection.with_driver;
            self.drained += u64::from(connection.has_drained(cost, self.backlog_max));
        }
    }

    pub(super) fn send(&mut self, id: ConnectionId, message: Bytes, urgent: bool) {
        let Some(connection) = self.live.get_mut(&id) else {
            return;
        };
        if connection.queue.is_empty() {
            self.writable.push_back(id);
        }
        if connection.backlog == 0 {
            self.backlogged.push(id);
        }
        connection.backlog += message.len();
        if urgent {
            connection.queue.push_front(message);
        } else {
            connection.queue.push_back(message);
        }
    }

    /// See [`super::Shard::poll_transmit`].
    pub(super) fn take(&mut self, id: ConnectionId, slices: &mut Vec<Bytes>, max: usize) -> usize {
        let taken = match self.live.get_mut(&id) {
            Some(connection) => {
                let cost = connection.cost();
                let taken = take_messages(&mut connection.queue, slices, max);
                connection.with_driver += taken;
                self.drained += u64::from(connection.has_drained(cost, self.backlog_max));
                return taken;
            }
            None => match self.closing.get_mut(&id) {
                Some(queue) => take_messages(queue, slices, max),
                None => 0,
            },
        };
        if taken == 0 {
            self.closing.remove(&id);
        }
        taken
    }

    /// The socket took octets. Returns the backlog that is left.
    pub(super) fn written(&mut self, id: ConnectionId, octets: usize) -> Option<usize> {
        let connection = self.live.get_mut(&id)?;
        let cost = connection.cost();
        connection.with_driver = connection.with_driver.saturating_sub(octets);
        connection.backlog = connection.backlog.saturating_sub(octets);
        self.drained += u64::from(connection.has_drained(cost, self.backlog_max));
        Some(connection.backlog)
    }

    pub(super) fn poll_writable(&mut self) -> Option<ConnectionId> {
        self.writable.pop_front()
    }

    /// The next connection that went from no backlog to some.
    pub(super) fn pop_backlogged(&mut self) -> Option<ConnectionId> {
        self.backlogged.pop()
    }
}

/// At least one message if there is any, so that a long one is not stuck behind a small `max`. An
/// empty queue owns no memory.
fn take_messages(queue: &mut VecDeque<Bytes>, slices: &mut Vec<Bytes>, max: usize) -> usize {
    let mut taken = 0;
    for _ in 0..SLICES_AT_ONCE {
        match queue.front() {
            Some(message) if taken == 0 || taken + message.len() <= max => taken += message.len(),
            _ => break,
        }
        slices.extend(queue.pop_front());
    }
    if queue.is_empty() {
        *queue = VecDeque::new();
    }
    taken
}

/// A whole message: of the bytes that arrived, or put together.
pub(super) enum Framed<'a> {
    Arrived(&'a [u8]),
    Completed(Vec<u8>),
}

impl Framed<'_> {
    pub(super) fn octets(&self) -> &[u8] {
        match self {
            Framed::Arrived(octets) => octets,
            Framed::Completed(octets) => octets,
        }
    }
}

/// Cuts one message off `bytes`, completing `partial` first. None: all bytes are taken, and the
/// start of a message is in `partial`, which owns no memory if there is none. No message is longer
/// than `max_len` octets.
pub(super) fn next_message<'a>(
    partial: &mut Vec<u8>,
    bytes: &mut &'a [u8],
    max_len: usize,
) -> Result<Option<Framed<'a>>, Notification> {
    if partial.is_empty() {
        let Some(length) = codec::frame(bytes, max_len)? else {
            partial.extend_from_slice(std::mem::take(bytes));
            return Ok(None);
        };
        let (message, rest) = bytes.split_at(length.min(bytes.len()));
        *bytes = rest;
        return Ok(Some(Framed::Arrived(message)));
    }
    // First the header, so that the length is known, then the rest: two rounds at most.
    for _ in 0..2 {
        let missing = wanted_length(partial).saturating_sub(partial.len());
        let (head, rest) = bytes.split_at(missing.min(bytes.len()));
        partial.extend_from_slice(head);
        *bytes = rest;
        if codec::frame(partial, max_len)?.is_some() {
            return Ok(Some(Framed::Completed(std::mem::take(partial))));
        }
    }
    Ok(None)
}

/// How long the message that starts with `partial` is, as far as that is known.
fn wanted_length(partial: &[u8]) -> usize {
    match partial.get(16..18) {
        Some(&[high, low]) => usize::from(u16::from_be_bytes([high, low])).max(HEADER_LEN),
        _ => HEADER_LEN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::BACKLOG_MAX;

    fn connections() -> (Connections, ConnectionId) {
        let mut connections = Connections::new(BACKLOG_MAX, Duration::ZERO);
        let id = connections.add(crate::group::MemberId(1), Slot::Outgoing);
        (connections, id)
    }

    #[test]
    fn small_slices_count_for_what_they_cost_and_are_taken_in_bounded_numbers() {
        let (mut connections, id) = connections();
        let slices = 1 + BACKLOG_MAX / SLICE_BACKLOG;
        for _ in 0..slices {
            connections.send(id, Bytes::from_static(b"x"), false);
        }
        let cost = connections.get(id).map(Connection::cost);
        assert!(cost.is_some_and(|cost| cost > BACKLOG_MAX), "{cost:?}");
        let mut taken = Vec::new();
        while connections.take(id, &mut taken, usize::MAX) > 0 {
            assert!(taken.len() <= SLICES_AT_ONCE);
            taken.clear();
        }
        let connection = connections.get(id).unwrap();
        assert_eq!(connection.cost(), slices, "octets, all with the driver");
        assert_eq!(
            connection.queue.capacity(),
            0,
            "an empty queue owns nothing"
        );
        assert_eq!(connections.drained(), 1);
    }

    #[test]
    fn a_backlog_that_falls_is_counted_once_wherever_it_falls() {
        let (mut connections, id) = connections();
        let table = Bytes::from(vec![0; BACKLOG_MAX / 4]);
        connections.send(id, table.clone(), false);
        let mut slices = Vec::new();
        assert_eq!(connections.take(id, &mut slices, 1), table.len());
        assert_eq!(connections.drained(), 0, "the socket has not taken it");
        connections.written(id, table.len() / 2);
        assert_eq!(connections.drained(), 1);
        connections.written(id, table.len() / 2);
        assert_eq!(connections.drained(), 1);
        connections.send(id, table, false);
        connections.clear_queue(id);
        assert_eq!(connections.drained(), 2);
    }
}
