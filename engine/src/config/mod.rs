//! The validated desired state: what the resources ask of this node, as plain values.
//!
//! No I/O, no resource kinds, no parsing: the watcher builds these values, everything below reads
//! them. Every type compares by value, so that "did this change?" is an equality test.
//! RFC numbers beside a field name where its meaning comes from.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use codec::{AttributeWriter, FamilySet, IpPrefix};
pub use rib::{PeerAddress, Selection};

use crate::policy::{Policy, Sources};

mod delta;
mod dynamic;
mod keepers;
mod limits;
mod martians;
mod role;

pub use keepers::Keepers;
pub use limits::{LimitAction, MaxPrefixes};
pub use martians::is_martian;
pub use role::Role;
mod rpki;

pub use delta::{Delta, DesiredState, InstanceSettings, OriginChange, diff};
pub use dynamic::{DynamicNeighbors, host_prefix, longest_match};
pub use rpki::{Rpki, RtrCache};

/// Which BGP instance of this daemon; at most 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(pub u8);

/// One BGP instance: its own RIB, sessions and groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// `default`, or the name of a BGP instance.
    pub name: Arc<str>,
    /// False: every session is closed with Cease/Administrative Shutdown.
    pub enabled: bool,
    /// BGP identifier (RFC 6286): any non-zero 32 bits.
    pub router_id: Ipv4Addr,
    /// Where connections are accepted; empty: only connect.
    pub listen: Vec<SocketAddr>,
    /// Octets of the process's memory past which peers that use more than their share are not read.
    pub memory_max: u64,
    /// The caches by whose data origins are validated (RFC 8210).
    pub rpki: Arc<Rpki>,
    /// How best paths are chosen.
    pub selection: Selection,
    /// The neighbors by address.
    pub neighbors: BTreeMap<PeerAddress, Arc<Neighbor>>,
    /// Neighbors that are only known by where they connect from.
    pub dynamic_neighbors: BTreeMap<IpPrefix, Arc<DynamicNeighbors>>,
    /// What this node originates.
    pub origins: BTreeMap<IpPrefix, Origin>,
}

impl Instance {
    /// An instance of which nothing but its router id is said: it is called `default`, is enabled and
    /// listens nowhere, has no neighbors and no routes, and its memory has no limit. The one place to
    /// fill in a field for whoever makes instances without resources; what reads resources names every
    /// field, so that none is forgotten there.
    pub fn new(router_id: Ipv4Addr) -> Instance {
        Instance {
            name: "default".into(),
            enabled: true,
            router_id,
            listen: Vec::new(),
            memory_max: u64::MAX,
            rpki: Arc::default(),
            selection: Selection::default(),
            neighbors: BTreeMap::new(),
            dynamic_neighbors: BTreeMap::new(),
            origins: BTreeMap::new(),
        }
    }
}

/// One neighbor, with every default filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbor {
    /// The peer's address; the key of the neighbor in its instance.
    pub address: PeerAddress,
    /// The port to connect to.
    pub port: u16,
    /// What the peer's OPEN may carry.
    pub peer_asn: PeerAsn,
    /// Our AS towards this peer.
    pub local_asn: u32,
    /// Our BGP identifier towards this peer (the instance's).
    pub router_id: Ipv4Addr,
    /// Our CLUSTER_ID (RFC 4456 §7): the instance's.
    pub cluster_id: Ipv4Addr,
    /// The source address of our connections, if bound.
    pub local_address: Option<IpAddr>,
    /// Wait for the peer to connect.
    pub passive: bool,
    /// TCP MD5 (RFC 2385).
    pub password: Password,
    /// TTL towards external peers, 1 to 255.
    pub ebgp_multihop: u8,
    /// GTSM (RFC 5082): send 255, accept 256 - `ebgp_multihop` and above.
    pub ttl_security: bool,
    /// Timers of the session.
    pub timers: Timers,
    /// The address families offered.
    pub families: FamilySet,
    /// What we are to the peer (RFC 9234), where it is an external one; none: not told.
    pub role: Option<Role>,
    /// A peer that does not tell its role is refused.
    pub role_strict: bool,
    /// How many prefixes the peer may say.
    pub max_prefixes: MaxPrefixes,
    /// Several paths a prefix (RFC 7911).
    pub add_paths: AddPaths,
    /// What else is offered.
    pub capabilities: Capabilities,
    /// The name of this node, as OPEN tells it; none: it does not.
    pub host_name: Option<Arc<str>>,
    /// Next hop of IPv4 routes that carry ourselves as next hop; none: the session's address.
    pub next_hop_ipv4: Option<Ipv4Addr>,
    /// Next hop of IPv6 routes that carry ourselves as next hop.
    pub next_hop_ipv6: NextHopIpv6,
    /// Whether learned routes are sent with ourselves as next hop.
    pub next_hop_self: NextHopSelf,
    /// Whether it is a client of ours, and of which kind.
    pub client: Option<Client>,
    /// What comes in.
    pub import: Import,
    /// What goes out.
    pub export: Export,
    /// Which kinds of communities go out.
    pub send_communities: SendCommunities,
    /// Graceful restart of either side (RFC 4724, RFC 8538).
    pub graceful_restart: GracefulRestart,
    /// How long a peer's routes are kept at most once its restart takes too long (RFC 9494); none: not
    /// at all, and long-lived graceful restart is not offered.
    pub long_lived: Option<Duration>,
    /// Enhanced route refresh is offered (RFC 7313).
    pub enhanced_refresh: bool,
    /// Every AS number that is ours in the instance, towards this peer or another, in ascending order:
    /// a route whose AS_PATH has one of them went through us already.
    pub own_asns: Arc<[u32]>,
    /// How often AS numbers of ours, all told, may stand in a received AS_PATH before the route is a
    /// loop.
    pub allow_own_asn: u8,
    /// What is refused on receipt whatever `import` says.
    pub builtin_filters: BuiltinFilters,
    /// The template that it was written over, for policies.
    pub template: Option<Arc<str>>,
}

impl Neighbor {
    /// A neighbor of which nothing but this is said: every default of `CiliumConfig`, and the router
    /// id as cluster id. The one place to fill in a field for whoever makes neighbors without
    /// resources; what reads resources names every field, so that none is forgotten there.
    pub fn new(
        address: PeerAddress,
        router_id: Ipv4Addr,
        local_asn: u32,
        peer_asn: PeerAsn,
    ) -> Neighbor {
        Neighbor {
            address,
            port: 179,
            peer_asn,
            local_asn,
            router_id,
            cluster_id: router_id,
            local_address: None,
            passive: false,
            password: Password::None,
            ebgp_multihop: 1,
            ttl_security: false,
            timers: Timers::default(),
            families: FamilySet::ALL,
            role: None,
            role_strict: false,
            max_prefixes: MaxPrefixes::default(),
            add_paths: AddPaths::default(),
            capabilities: Capabilities::default(),
            host_name: None,
            next_hop_ipv4: None,
            next_hop_ipv6: NextHopIpv6::Auto,
            next_hop_self: NextHopSelf::Auto,
            client: None,
            import: Import::None,
            export: Export::Originated,
            send_communities: SendCommunities::default(),
            graceful_restart: GracefulRestart::default(),
            long_lived: None,
            enhanced_refresh: true,
            own_asns: Arc::from([local_asn]),
            allow_own_asn: 0,
            builtin_filters: BuiltinFilters::default(),
            template: None,
        }
    }
}

/// A neighbor of AS 65002.
#[cfg(test)]
pub(crate) fn some_neighbor(address: &str) -> Neighbor {
    let (address, router_id) = (address.parse().unwrap(), Ipv4Addr::new(10, 0, 0, 5));
    Neighbor::new(address, router_id, 65001, PeerAsn::Number(65002))
}

/// Checks on what comes in, each of which can be switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BuiltinFilters {
    /// Prefixes that no route may have: 0.0.0.0/8 and longer, 127.0.0.0/8, 224.0.0.0/4, 240.0.0.0/4,
    /// `::`, `::1`, fe80::/10, ff00::/8, and what lies within them.
    pub martians: bool,
    /// An AS_SET in the AS_PATH (RFC 9774).
    pub as_set: bool,
    /// An external peer's AS_PATH that does not begin with its AS (RFC 4271 §6.3), unless our role
    /// says that it is a route server.
    pub first_as: bool,
    /// Prefixes that we originate ourselves.
    pub own_prefixes: bool,
}

impl Default for BuiltinFilters {
    fn default() -> BuiltinFilters {
        BuiltinFilters {
            martians: true,
            as_set: true,
            first_as: true,
            own_prefixes: true,
        }
    }
}

/// What AS number a peer may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerAsn {
    /// This one and no other.
    Number(u32),
    /// Whatever its OPEN carries, but 0.
    Any,
    /// Our own.
    Internal,
    /// Any but our own.
    External,
}

/// Whether and how segments are signed (RFC 2385).
#[derive(Clone, PartialEq, Eq)]
pub enum Password {
    /// Not signed.
    None,
    /// Signed with this key, 1 to 80 octets.
    Key(Arc<[u8]>),
    /// A key is asked for that cannot be had: neither dialled nor accepted. The words say why.
    Missing(Arc<str>),
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Password::None => f.write_str("None"),
            Password::Key(_) => f.write_str("Key(…)"),
            Password::Missing(why) => write!(f, "Missing({why})"),
        }
    }
}

/// Timers of a session; RFC 4271 §10 with this project's defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// Between attempts to connect, jittered.
    pub connect_retry: Duration,
    /// Offered in OPEN, in whole seconds; 0 or at least 3 s.
    pub hold: Duration,
    /// Between KEEPALIVEs, at most a third of the negotiated hold time.
    pub keepalive: Duration,
    /// A peer that offers less (and not 0) is refused with 2/6.
    pub min_hold: Duration,
    /// How long OPEN may take: the "large" hold time of RFC 4271 §8.2.2.
    pub open: Duration,
    /// RFC 9687; none: max(8 min, 2 x negotiated hold time).
    pub send_hold: Option<Duration>,
    /// The least time between two changes that the peer is told of, jittered; zero: none.
    pub advertisement_interval: Duration,
}

impl Default for Timers {
    fn default() -> Timers {
        Timers {
            connect_retry: Duration::from_secs(120),
            hold: Duration::from_secs(90),
            keepalive: Duration::from_secs(30),
            min_hold: Duration::from_secs(3),
            open: Duration::from_secs(240),
            send_hold: None,
            advertisement_interval: Duration::ZERO,
        }
    }
}

/// Several paths to one prefix (RFC 7911), in every family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AddPaths {
    /// How many we send at most; 0: one, as without ADD-PATH.
    pub send: u8,
    /// Whether we take several.
    pub receive: bool,
}

/// Graceful restart, of either side of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GracefulRestart {
    /// Peers are asked to keep our routes while we restart.
    pub enabled: bool,
    /// We keep a peer's routes while it restarts.
    pub helper: bool,
    /// Within this we are back, we tell peers; at most 4095 s.
    pub restart_time: Duration,
    /// How long a peer's routes are kept at most that it has not said again.
    pub stale_time: Duration,
    /// After our restart: how long we wait at most for what peers say, before we say anything.
    pub selection_deferral: Duration,
    /// Routes outlive a NOTIFICATION and an expired hold timer, if the peer does it so too (RFC 8538).
    pub notification: bool,
}

impl Default for GracefulRestart {
    fn default() -> GracefulRestart {
        GracefulRestart {
            enabled: false,
            helper: true,
            restart_time: Duration::from_secs(120),
            stale_time: Duration::from_secs(180),
            selection_deferral: Duration::from_secs(30),
            notification: true,
        }
    }
}

/// What OPEN offers beside families, route refresh and 4-octet AS numbers. A session uses what both
/// sides offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Messages of up to 65,535 octets (RFC 8654).
    pub extended_messages: bool,
    /// IPv4 routes with IPv6 next hops (RFC 8950).
    pub extended_next_hop: bool,
}

/// Everything.
impl Default for Capabilities {
    fn default() -> Capabilities {
        Capabilities {
            extended_messages: true,
            extended_next_hop: true,
        }
    }
}

/// The next hop of IPv6 routes that carry ourselves as next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NextHopIpv6 {
    /// The session's local address, or the one global address of its interface.
    Auto,
    /// This address.
    Address(Ipv6Addr),
    /// The IPv4-mapped form of the session's local IPv4 address.
    Mapped,
}

/// Whether learned routes are sent with ourselves as next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NextHopSelf {
    /// Towards external peers yes, towards internal ones no.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What a peer is a client of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Client {
    /// Of a route reflector (RFC 4456): where it is an internal peer, what it says is told to all
    /// internal peers, and it is told what they say.
    RouteReflector,
    /// Of a route server (RFC 7947): where it is an external peer, it is told what external peers
    /// say with their AS_PATH, next hop and MED, and what other clients say with all their communities,
    /// whatever these ask for.
    RouteServer,
}

// RFC-DONE 8212 §2: Nothing comes in and nothing learned goes out unless import and export say so.
/// Which received routes are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Import {
    /// None is kept; they are counted.
    None,
    /// All.
    All,
    /// What a policy lets through, as it makes it. A policy that is not there lets nothing through.
    Policy(Arc<Policy>),
}

/// Which routes are told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Export {
    /// What this node originates.
    Originated,
    /// That, and what it learned.
    All,
    /// Nothing.
    None,
    /// What a policy lets through, as it makes it. A policy that is not there lets nothing through.
    Policy(Arc<Policy>),
}

/// Which kinds of communities are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SendCommunities {
    /// RFC 1997.
    pub standard: bool,
    /// RFC 8092.
    pub large: bool,
    /// RFC 4360 and RFC 5701.
    pub extended: bool,
}

/// All.
impl Default for SendCommunities {
    fn default() -> SendCommunities {
        SendCommunities {
            standard: true,
            large: true,
            extended: true,
        }
    }
}

/// A route that this node originates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// What it is announced with.
    pub attributes: Arc<OriginAttributes>,
    /// The resources that ask for it, sorted; the route goes with the last of them.
    pub sources: Vec<RouteSource>,
    /// Of what kinds those are, for policies.
    pub kinds: Sources,
}

/// Attributes of originated routes; ORIGIN is IGP, there is no MED.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OriginAttributes {
    /// RFC 1997 values, sorted, each once.
    pub communities: Vec<u32>,
    /// RFC 8092 values, sorted, each once.
    pub large_communities: Vec<[u32; 3]>,
    /// Sent to internal peers.
    pub local_preference: u32,
}

impl OriginAttributes {
    /// What own routes carry before export. It lacks a next hop: each peer is told its own.
    pub fn canonical(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = AttributeWriter::new(&mut out);
        writer.origin(codec::Origin::Igp);
        writer.empty_as_path();
        writer.local_pref(self.local_preference);
        writer.communities(&self.communities);
        writer.large_communities(&self.large_communities);
        out
    }
}

/// Which rule of which resource asks for a route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteSource {
    /// For example `CiliumNetworkPolicy`.
    pub kind: Arc<str>,
    /// Empty for cluster-wide kinds.
    pub namespace: Arc<str>,
    /// The resource's name.
    pub name: Arc<str>,
    /// For example `spec.egress[0].toCIDR[1]`.
    pub rule: Arc<str>,
}
