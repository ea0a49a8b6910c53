//! The session against itself and against hand-made messages, on a virtual clock.

mod collisions;
mod events;
mod malformed;
mod opens;
mod pair;
mod scripted;
mod timers;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use codec::FamilySet;

use super::SessionConfig;
use crate::config::{AddPaths, Capabilities, GracefulRestart, PeerAsn, Timers};
use crate::time::Time;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn at(seconds: u64) -> Time {
    Time(seconds * 1_000_000_000)
}

fn local() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 5], 179))
}

/// 10.0.0.5, AS 65001, towards 10.0.0.6, AS 65002.
fn config() -> SessionConfig {
    SessionConfig {
        peer_address: Ipv4Addr::new(10, 0, 0, 6).into(),
        peer_port: 179,
        local_address: None,
        local_asn: 65001,
        router_id: Ipv4Addr::new(10, 0, 0, 5),
        peer_asn: PeerAsn::Number(65002),
        passive: false,
        withheld: None,
        keyed: false,
        timers: Timers::default(),
        families: FamilySet::ALL,
        graceful_restart: GracefulRestart {
            helper: false,
            ..GracefulRestart::default()
        },
        long_lived: None,
        enhanced_refresh: true,
        role: None,
        role_strict: false,
        add_paths: AddPaths::default(),
        capabilities: Capabilities::default(),
        host_name: Some("node-1".into()),
    }
}
