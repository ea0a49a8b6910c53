//! What a session takes and gives: the vocabulary between it and the shard.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::restart::Graceful;
use bytes::Bytes;
use codec::{Capability, FamilySet, Notification, RouteRefresh, WireFormat};
use std::sync::Arc;

/// The two places for a connection that a session has. Each holds at most one; both may be taken
/// until the collision is resolved (RFC 4271 §6.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// The connection that we opened.
    Outgoing,
    /// The connection that the peer opened.
    Incoming,
}

impl Slot {
    /// Both.
    pub const ALL: [Slot; 2] = [Slot::Outgoing, Slot::Incoming];

    /// The other one.
    pub fn other(self) -> Slot {
        match self {
            Slot::Outgoing => Slot::Incoming,
            Slot::Incoming => Slot::Outgoing,
        }
    }

    pub(super) fn index(self) -> usize {
        self as usize
    }
}

/// The states of RFC 4271 §8.2.2. Of two connections, a session shows the further one's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Stopped, withheld, or held back after an error: nothing is dialled, nothing accepted.
    Idle,
    /// A connection attempt is under way.
    Connect,
    /// Waiting: for the peer, or for the next attempt.
    Active,
    /// OPEN sent.
    OpenSent,
    /// OPEN received and accepted.
    OpenConfirm,
    /// Up.
    Established,
}

impl State {
    /// The name in output and logs: `idle connect active openSent openConfirm established`.
    pub fn name(self) -> &'static str {
        match self {
            State::Idle => "idle",
            State::Connect => "connect",
            State::Active => "active",
            State::OpenSent => "openSent",
            State::OpenConfirm => "openConfirm",
            State::Established => "established",
        }
    }
}

/// What became of a connection that the peer opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accept {
    /// It becomes [`Slot::Incoming`] with the [`SessionAction::Accepted`] that is queued; one
    /// that stood there before is closed ahead of that.
    Taken,
    /// Close it, after the NOTIFICATION if there is one.
    Refused(Option<Notification>),
}

/// What a received message asks of the shard.
#[derive(Debug)]
pub enum Received<'a> {
    /// Nothing: the session dealt with it.
    Nothing,
    /// The body of an UPDATE. Only while Established.
    Update(&'a [u8]),
    /// The peer wants a negotiated family again. Only while Established.
    RouteRefresh(RouteRefresh),
}

/// What a session asks of the shard, in order.
#[derive(Clone, Debug)]
pub enum SessionAction {
    /// Open a connection to the peer; answer with `handle_connected` or `handle_connect_failed`.
    Connect,
    /// From here on [`Slot::Incoming`] means the connection that was taken last.
    Accepted,
    /// From here on [`Slot::Outgoing`], which is free, means the connection that was
    /// [`Slot::Incoming`]: the peer opened another one.
    MakeRoom,
    /// Send a whole message.
    Transmit(Slot, Bytes),
    /// Close after what was transmitted is flushed, or end the attempt that is under way. The
    /// slot is free at once. The driver bounds the flush, as the peer may never read it.
    Close(Slot),
    /// The session is up on this slot.
    Established(Slot, Arc<Negotiated>),
    /// The session is down. Comes once for each [`SessionAction::Established`], before the
    /// NOTIFICATION and the close that go with it, so that queued UPDATEs can be dropped first.
    Down(Down),
}

/// Why a connection could not be had, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectFailure {
    /// Something of this machine is in the way; with the mend.
    Here(String),
    /// The peer did not answer, or refused.
    There(String),
}

impl ConnectFailure {
    /// What was in the way.
    pub fn words(&self) -> &str {
        match self {
            ConnectFailure::Here(words) | ConnectFailure::There(words) => words,
        }
    }
}

impl From<&str> for ConnectFailure {
    fn from(words: &str) -> ConnectFailure {
        ConnectFailure::There(words.to_owned())
    }
}

/// Why an Established session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Down {
    /// A sentence for the operator.
    pub words: String,
    /// The NOTIFICATION that is being sent, if any.
    pub sent: Option<Notification>,
    /// The NOTIFICATION that the peer sent, if any.
    pub received: Option<Notification>,
    /// The peer's routes may outlive it: it is held to restart.
    pub graceful: bool,
}

/// What the two OPENs came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// How UPDATEs read and write.
    pub wire: WireFormat,
    /// The peer's AS number.
    pub peer_asn: u32,
    /// The peer's BGP identifier.
    pub peer_router_id: Ipv4Addr,
    /// The smaller of both offers; zero: neither hold timer nor KEEPALIVEs.
    pub hold_time: Duration,
    /// Between KEEPALIVEs before jitter; zero: none are sent.
    pub keepalive: Duration,
    /// Our end of the connection.
    pub local_address: SocketAddr,
    /// The families that both sides speak; never empty.
    pub families: FamilySet,
    /// The peer can be asked for its routes again (RFC 2918).
    pub refresh: bool,
    /// Beginning and end of a refresh are told, both ways (RFC 7313).
    pub enhanced_refresh: bool,
    /// The peer offered long-lived graceful restart (RFC 9494).
    pub long_lived: bool,
    /// Graceful restart, if both know it.
    pub graceful: Option<Graceful>,
    /// What our OPEN offered.
    pub offered: Vec<Capability>,
    /// What the peer's OPEN offered.
    pub received: Vec<Capability>,
}

/// What happened to a session since it was made; wraps never in practice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Times that it became Established.
    pub established: u64,
    /// Connection attempts: the ConnectRetryCounter of RFC 4271 §8.1.1.
    pub attempts: u64,
    /// OPENs sent.
    pub opens_sent: u64,
    /// OPENs received, good or not.
    pub opens_received: u64,
    /// KEEPALIVEs sent.
    pub keepalives_sent: u64,
    /// KEEPALIVEs received.
    pub keepalives_received: u64,
    /// NOTIFICATIONs sent.
    pub notifications_sent: u64,
    /// NOTIFICATIONs received.
    pub notifications_received: u64,
    /// UPDATEs received.
    pub updates_received: u64,
    /// ROUTE-REFRESHes received.
    pub refreshes_received: u64,
}
