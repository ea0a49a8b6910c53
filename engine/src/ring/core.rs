//! What the ring drives: the methods of a shard, as a trait, so that both twins can be tested
//! with a toy in its place.
//!
//! No I/O, no clock. Invariant: a driver calls these in the order that [`Core`] states, from one
//! thread.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;

use crate::config::InstanceId;
use crate::time::Time;

/// One connection of a core. The core gives them out and never gives the same one twice while
/// the first may still be closing, which takes at most two seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u32);

/// A set of shards, one bit each.
pub type ShardMask = u64;

/// What a core asks of its driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Open a connection. Answered by `handle_connected` or `handle_connect_failed`, unless it is
    /// closed first.
    Connect {
        /// Its name from now on.
        connection: ConnectionId,
        /// Where to and how.
        to: Arc<ConnectTarget>,
    },
    /// Send what is queued, then close. Nothing more is reported of the connection.
    Close {
        /// Which one.
        connection: ConnectionId,
    },
    /// Change the options of a live connection.
    SetOptions {
        /// Which one.
        connection: ConnectionId,
        /// The options from now on.
        options: Arc<SocketOptions>,
    },
    /// Other shards that have something to do.
    Wake(ShardMask),
}

/// Where to connect to, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectTarget {
    /// The peer.
    pub remote: SocketAddr,
    /// The source address; none: the kernel's choice.
    pub local: Option<IpAddr>,
    /// The options of the socket.
    pub options: SocketOptions,
}

/// What is set on a connection beside NODELAY and the CS6 class, which all have.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SocketOptions {
    /// The key of TCP MD5 (RFC 2385), 1 to 80 octets.
    pub password: Option<Arc<[u8]>>,
    /// TTL or hop limit of what is sent; none: the kernel's default.
    pub send_ttl: Option<u8>,
    /// The least TTL or hop limit that is taken (RFC 5082); none: any.
    pub min_ttl: Option<u8>,
}

impl std::fmt::Debug for SocketOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SocketOptions")
            .field("password", &self.password.as_ref().map(|_| "…"))
            .field("send_ttl", &self.send_ttl)
            .field("min_ttl", &self.min_ttl)
            .finish()
    }
}

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

    /// A connection that was asked for could not be had; `words` say why.
    fn handle_connect_failed(&mut self, now: Time, connection: ConnectionId, words: String);

    /// A peer connected. None: it is closed without a word.
    fn handle_accepted(
        &mut self,
        now: Time,
        instance: InstanceId,
        local: SocketAddr,
        remote: SocketAddr,
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

    /// The time that `poll_timeout` named has come.
    fn handle_timeout(&mut self, now: Time);

    /// When `handle_timeout` is wanted next.
    fn poll_timeout(&mut self) -> Option<Time>;

    /// The next thing asked of the driver.
    fn poll_action(&mut self) -> Option<Action>;
}
