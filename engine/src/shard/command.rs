//! What a shard takes and gives: the vocabulary between it, its driver and the other threads.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rib::{OpenChange, RibWriter, ShardMask};

use super::watch::Watch;
use crate::config::{Delta, InstanceId, OriginChange, PeerAddress};
use crate::model::{
    CoveringVrp, Peer, PeerVerdict, RefreshReply, ResetReply, Route, RoutesQuery, RoutesReply,
};
use crate::rpki::Publication;
use codec::IpPrefix;

/// One connection of a shard. Never given twice while the first may still be closing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u32);

/// What a shard asks of its driver.
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
    /// Read nothing from a connection until [`Action::Resume`]: no read is armed on it. It is
    /// written to as before; closing it resumes it.
    Pause {
        /// Which one.
        connection: ConnectionId,
    },
    /// Read again.
    Resume {
        /// Which one.
        connection: ConnectionId,
    },
    /// Other shards that have something to do.
    Wake(ShardMask),
}

/// Where to connect to, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectTarget {
    /// The peer.
    pub peer: PeerAddress,
    /// Its port.
    pub port: u16,
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

/// Takes the answer to a query, on the shard's thread: must not block.
pub type Reply<T> = Box<dyn FnOnce(T) + Send>;

/// What other threads ask of a shard.
pub enum ShardCommand {
    /// An instance's table. Comes before any delta that names the instance.
    Instance(InstanceId, RibWriter),
    /// A step of the desired state. [`Delta::Neighbors`] goes to the shard that owns the peers,
    /// [`Delta::Origins`] to the shard that owns the prefixes, the others to all.
    Delta(Delta),
    /// This shard's share of [`Delta::Origins`], one of several.
    Originate(InstanceId, Box<[OriginChange]>, OpenChange),
    /// What is valid of an instance's routes from now on (RFC 6811). Goes to all shards.
    Vrps(InstanceId, Publication),
    /// Something to be answered.
    Query(Query),
    /// Reset sessions: Cease/Administrative Reset. Answers how many, and whose not.
    Reset {
        /// None: in all instances.
        instance: Option<String>,
        /// None: every peer.
        peer: Option<PeerAddress>,
        /// Takes what came of it.
        reply: Reply<ResetReply>,
    },
    /// Shut sessions down gracefully (RFC 8326) and keep them down, or end that. Answers which peers
    /// that does something to.
    Drain {
        /// None: in all instances.
        instance: Option<String>,
        /// None: every peer, also those that come later.
        peer: Option<PeerAddress>,
        /// How long peers have to find other paths; none: they come up again.
        wait: Option<Duration>,
        /// Takes the peers: also those that are not there and would come from a prefix, be it to this
        /// shard or to another.
        reply: Reply<Vec<(InstanceId, PeerAddress)>>,
    },
    /// Ask peers for their routes again (RFC 2918). Answers whom it asked and whom not.
    Refresh {
        /// None: in all instances.
        instance: Option<String>,
        /// None: every peer.
        peer: Option<PeerAddress>,
        /// Takes what came of it.
        reply: Reply<RefreshReply>,
    },
    /// Tell somebody what happens from now on.
    Watch(Watch),
    /// Another shard marked prefixes for this one.
    Wake,
}

/// Questions about the state of a shard. Each answer is bounded.
pub enum Query {
    /// The sessions of this shard.
    Peers(Option<String>, Reply<Vec<Peer>>),
    /// One page of a table: the Loc-RIB, or this shard's peers' tables.
    Routes(RoutesQuery, Reply<RoutesReply>),
    /// What this shard's peers are told of a prefix, and why; with the Loc-RIB's paths.
    Explain(Option<String>, IpPrefix, Reply<Vec<PrefixView>>),
}

/// What a shard knows of one prefix in one instance.
#[derive(Clone, Debug)]
pub struct PrefixView {
    /// The instance's name.
    pub instance: String,
    /// The VRPs that cover it; none: no cache is configured.
    pub vrps: Option<Vec<CoveringVrp>>,
    /// The paths in the Loc-RIB; the same from every shard.
    pub paths: Vec<Route>,
    /// This shard's peers.
    pub peers: Vec<PeerVerdict>,
}
