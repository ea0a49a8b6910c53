//! What `ringbgp watch` asks, and the events that it is told.

use serde::{Deserialize, Serialize};

use super::text::peer_text;
use super::{PeerState, Route};
use crate::config::PeerAddress;

/// What is to be watched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WatchQuery {
    /// The name of an instance; none: all of them.
    #[serde(default)]
    pub instance: Option<String>,
    /// Only this peer; none: every one, and own routes.
    #[serde(default, with = "peer_text")]
    pub peer: Option<PeerAddress>,
}

/// Something that happened, one line of `watch`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "event")]
pub enum WatchEvent {
    /// A session entered another state.
    #[serde(rename_all = "camelCase")]
    Session {
        /// `default`, or the name of a BGP instance.
        instance: String,
        /// The peer's address, with `%zone` where there is one.
        peer_address: String,
        /// The state before.
        from: PeerState,
        /// The state now.
        to: PeerState,
        /// What ended, was refused or could not be had, if that is why: none where the session goes on
        /// by itself.
        reason: Option<String>,
    },
    /// A peer announced a route, or an own route came or changed: with its attributes as they came, and
    /// whether it is accepted and best then.
    Announced(Box<Route>),
    /// A route came to something else without being announced again: by other policies, filters, own
    /// routes or VRPs. With its attributes as they are now.
    Judged(Box<Route>),
    /// A peer withdrew a route, or it went without that, or an own route went.
    #[serde(rename_all = "camelCase")]
    Withdrawn {
        /// `default`, or the name of a BGP instance.
        instance: String,
        /// `ipv4` or `ipv6`.
        afi: String,
        /// `unicast`.
        safi: String,
        /// The prefix.
        prefix: String,
        /// None: an own route.
        peer_address: Option<String>,
    },
    /// Peers are told a route.
    #[serde(rename_all = "camelCase")]
    Advertised {
        /// How many.
        peer_count: usize,
        /// Some of them: all if they are few.
        peers: Vec<String>,
        /// What they are told: the attributes as they leave. It names no peer.
        route: Box<Route>,
    },
    /// Peers are told that a route is gone.
    #[serde(rename_all = "camelCase")]
    Retracted {
        /// How many.
        peer_count: usize,
        /// Some of them: all if they are few.
        peers: Vec<String>,
        /// `default`, or the name of a BGP instance.
        instance: String,
        /// `ipv4` or `ipv6`.
        afi: String,
        /// `unicast`.
        safi: String,
        /// The prefix.
        prefix: String,
    },
    /// The reader was too slow: so many UPDATEs and changes were not told.
    Lost {
        /// How many.
        count: u64,
    },
}
