//! What the ring drives: the methods of a shard, as a trait, so that both twins can be tested
//! with a toy in its place.
//!
//! No I/O, no clock. Invariant: a driver calls these in the order that [`Core`] states, from one
//! thread.

use std::net::SocketAddr;

use bytes::Bytes;

use crate::config::{InstanceId, PeerAddress};
use crate::session::ConnectFailure;
use crate::shard::{Shard, ShardCommand};
use crate::time::Time;

pub(super) use crate::shard::SLICES_AT_ONCE;
pub use crate::shard::{Action, ConnectTarget, ConnectionId, SocketOptions};
pub use rib::ShardMask;

/// A shard as its driver sees it: inputs by `handle_*`, outputs by `poll_*`.
///
/// A turn of the driver: inbox, `handle_*`, `work`, then `poll_action`, `poll_writable` and
/// `poll_transmit` until they are empty, then the timer is set to `poll_timeout`.
pub trait Core: 'static {
    /// What arrives from other threads.
    type Command: Send + 'static;

    /// Takes a command.
    fn handle_command(&mut self, now: Time, command: Self::Command);

    /// Closes every session and opens none again. The driver ends when no connection is left.
    fn handle_shutdown(&mut self, now: Time);

    /// A connection that was asked for stands.
    fn handle_connected(
        &mut self,
        now: Time,
        connection: ConnectionId,
        local: SocketAddr,
        remote: SocketAddr,
    );

    /// A connection that was asked for could not be had.
    fn handle_connect_failed(&mut self, now: Time, connection: ConnectionId, why: ConnectFailure);

    /// A peer connected. None: it is closed without a word.
    fn handle_accepted(
        &mut self,
        now: Time,
        instance: InstanceId,
        local: SocketAddr,
        peer: PeerAddress,
    ) -> Option<ConnectionId>;

    /// Bytes arrived.
    fn handle_bytes(&mut self, now: Time, connection: ConnectionId, bytes: &[u8]);

    /// The peer closed, or the connection broke; `words` say which. The connection is no more.
    fn handle_closed(&mut self, now: Time, connection: ConnectionId, words: String);

    /// Takes at most `max_octets` queued octets out of the core, and returns how many. What is
    /// taken is sent. Slices are appended to `slices`.
    fn poll_transmit(
        &mut self,
        connection: ConnectionId,
        slices: &mut Vec<Bytes>,
        max_octets: usize,
    ) -> usize;

    /// The kernel took `octets` more.
    fn handle_written(&mut self, now: Time, connection: ConnectionId, octets: usize);

    /// The next connection that went from nothing to send to something to send.
    fn poll_writable(&mut self) -> Option<ConnectionId>;

    /// One bounded quantum of work. True: there is more.
    fn work(&mut self, now: Time) -> bool;

    /// The time that `poll_timeout` named has come. `unread` says whether octets of a connection
    /// wait in its socket.
    fn handle_timeout(&mut self, now: Time, unread: &mut dyn FnMut(ConnectionId) -> bool);

    /// The process has `octets` of memory resident.
    fn handle_memory(&mut self, now: Time, octets: u64);

    /// When `handle_timeout` is wanted next.
    fn poll_timeout(&self) -> Option<Time>;

    /// The next thing asked of the driver.
    fn poll_action(&mut self) -> Option<Action>;
}

impl Core for Shard {
    type Command = ShardCommand;

    fn handle_command(&mut self, now: Time, command: ShardCommand) {
        self.handle_command(now, command);
    }

    fn handle_shutdown(&mut self, now: Time) {
        self.handle_shutdown(now);
    }

    fn handle_connected(
        &mut self,
        now: Time,
        connection: ConnectionId,
        local: SocketAddr,
        remote: SocketAddr,
    ) {
        self.handle_connected(now, connection, local, remote);
    }

    fn handle_connect_failed(&mut self, now: Time, connection: ConnectionId, why: ConnectFailure) {
        self.handle_connect_failed(now, connection, why);
    }

    fn handle_accepted(
        &mut self,
        now: Time,
        instance: InstanceId,
        local: SocketAddr,
        peer: PeerAddress,
    ) -> Option<ConnectionId> {
        self.handle_accepted(now, instance, local, peer)
    }

    fn handle_bytes(&mut self, now: Time, connection: ConnectionId, bytes: &[u8]) {
        self.handle_bytes(now, connection, bytes);
    }

    fn handle_closed(&mut self, now: Time, connection: ConnectionId, words: String) {
        self.handle_closed(now, connection, words);
    }

    fn poll_transmit(
        &mut self,
        connection: ConnectionId,
        slices: &mut Vec<Bytes>,
        max_octets: usize,
    ) -> usize {
        self.poll_transmit(connection, slices, max_octets)
    }

    fn handle_written(&mut self, now: Time, connection: ConnectionId, octets: usize) {
        self.handle_written(now, connection, octets);
    }

    fn poll_writable(&mut self) -> Option<ConnectionId> {
        self.poll_writable()
    }

    fn work(&mut self, now: Time) -> bool {
        self.work(now)
    }

    fn handle_timeout(&mut self, now: Time, unread: &mut dyn FnMut(ConnectionId) -> bool) {
        self.handle_timeout(now, unread);
    }

    fn handle_memory(&mut self, now: Time, octets: u64) {
        self.handle_memory(now, octets);
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.poll_timeout()
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.poll_action()
    }
}
