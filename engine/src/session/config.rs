//! What a session is told about its neighbor, and which changes of it cost a reset.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use codec::{AS_TRANS, FamilySet};

use crate::config::{
    AddPaths, Capabilities, GracefulRestart, Neighbor, Password, PeerAddress, PeerAsn, Role, Timers,
};

/// The part of a [`Neighbor`] that its session acts on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    /// The peer's address.
    pub peer_address: PeerAddress,
    /// The port that is dialled.
    pub peer_port: u16,
    /// The source address of our connections, if bound.
    pub local_address: Option<IpAddr>,
    /// Our AS towards this peer.
    pub local_asn: u32,
    /// Our BGP identifier; not 0.0.0.0.
    pub router_id: Ipv4Addr,
    /// What the peer's OPEN may carry.
    pub peer_asn: PeerAsn,
    /// Wait for the peer to connect.
    pub passive: bool,
    /// A sentence that says why this session must not be started (a key that cannot be had,
    /// another speaker on the node); none: it may.
    pub withheld: Option<Arc<str>>,
    /// Connections are signed (RFC 2385). A peer with another key is silent: only words need this.
    pub keyed: bool,
    /// Timers.
    pub timers: Timers,
    /// The address families offered.
    pub families: FamilySet,
    /// Graceful restart of either side.
    pub graceful_restart: GracefulRestart,
    /// Long-lived graceful restart is offered, with this time (RFC 9494).
    pub long_lived: Option<Duration>,
    /// Enhanced route refresh is offered (RFC 7313).
    pub enhanced_refresh: bool,
    /// What we are to the peer (RFC 9234); none: not told.
    pub role: Option<Role>,
    /// A peer that does not tell its role is refused.
    pub role_strict: bool,
    /// Several paths a prefix.
    pub add_paths: AddPaths,
    /// What else is offered.
    pub capabilities: Capabilities,
    /// The name of this node, as OPEN tells it; none: it does not.
    pub host_name: Option<Arc<str>>,
}

impl SessionConfig {
    /// The session's part of a neighbor.
    pub fn of(neighbor: &Neighbor) -> SessionConfig {
        SessionConfig {
            peer_address: neighbor.address,
            peer_port: neighbor.port,
            local_address: neighbor.local_address,
            local_asn: neighbor.local_asn,
            router_id: neighbor.router_id,
            peer_asn: neighbor.peer_asn,
            passive: neighbor.passive,
            withheld: match &neighbor.password {
                Password::Missing(why) => Some(why.clone()),
                Password::None | Password::Key(_) => None,
            },
            keyed: matches!(neighbor.password, Password::Key(_)),
            timers: neighbor.timers,
            families: neighbor.families,
            graceful_restart: neighbor.graceful_restart,
            long_lived: neighbor.long_lived,
            enhanced_refresh: neighbor.enhanced_refresh,
            role: neighbor.role,
            role_strict: neighbor.role_strict,
            add_paths: neighbor.add_paths,
            capabilities: neighbor.capabilities,
            host_name: neighbor.host_name.clone(),
        }
    }

    /// Whether a live session under `old` has to be reset to follow this: only for what OPEN
    /// negotiates or the connection is bound to. The peer's AS is not among it: a session whose
    /// peer the new setting still allows stays ([`SessionConfig::allows`]).
    pub fn needs_reset(&self, old: &SessionConfig) -> bool {
        self.peer_address != old.peer_address
            || self.peer_port != old.peer_port
            || self.local_address != old.local_address
            || self.local_asn != old.local_asn
            || self.router_id != old.router_id
            || self.families != old.families
            || self.enhanced_refresh != old.enhanced_refresh
            || self.add_paths.receive != old.add_paths.receive
            || offered(&self.graceful_restart) != offered(&old.graceful_restart)
            || self.long_lived != old.long_lived
            || self.role != old.role
            || self.capabilities != old.capabilities
            || self.host_name != old.host_name
            || (self.add_paths.send > 0) != (old.add_paths.send > 0)
            || self.timers.hold != old.timers.hold
    }

    /// Whether a peer of this AS number is the one that is configured. AS 0 (RFC 7607) and
    /// AS_TRANS (RFC 6793 §9) are nobody's.
    pub fn allows(&self, asn: u32) -> bool {
        if asn == 0 || asn == AS_TRANS {
            return false;
        }
        match self.peer_asn {
            PeerAsn::Number(number) => asn == number,
            PeerAsn::Any => true,
            PeerAsn::Internal => asn == self.local_asn,
            PeerAsn::External => asn != self.local_asn,
        }
    }
}

/// What OPEN says of graceful restart.
fn offered(settings: &GracefulRestart) -> (bool, bool, bool, Duration) {
    let restart_time = match settings.enabled {
        true => settings.restart_time,
        false => Duration::ZERO,
    };
    (
        settings.enabled,
        settings.helper,
        settings.notification,
        restart_time,
    )
}
