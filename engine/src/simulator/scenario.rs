//! What a seed makes: a node's desired state, its routers, and what happens to them.
//!
//! Everything that could be constant is drawn; ranges are small, so that routes, paths and times
//! meet each other often.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use codec::{Family, FamilySet, IpPrefix, Ipv4Prefix, Ipv6Prefix};

use super::network::Weather;
use super::node::INSTANCE;
use super::oracle::NodeAddresses;
use super::policy;
use super::route::Route;
use super::router::{RouterGraceful, RouterSpec};
use crate::config::{
    AddPaths, BuiltinFilters, Capabilities, Client, DesiredState, DynamicNeighbors, Export,
    GracefulRestart, Import, Instance, Neighbor, NextHopIpv6, NextHopSelf, Origin,
    OriginAttributes, PeerAsn, Role, SendCommunities, Timers,
};
use crate::random::Random;

/// The AS of the node.
pub(super) const NODE_ASN: u32 = 65001;

/// The node's addresses.
pub(super) const NODE: NodeAddresses = NodeAddresses {
    ipv4: Ipv4Addr::new(10, 0, 0, 200),
    ipv6: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 200),
};

/// Cluster ids that the node has: its router id, or one of its own.
const CLUSTER_IDS: [Ipv4Addr; 2] = [NODE.ipv4, Ipv4Addr::new(192, 0, 2, 77)];

/// RFC 9494 §2.
const LLGR_STALE: u32 = 0xffff_0006;
const NO_LLGR: u32 = 0xffff_0007;

/// RFC 8326 §5.1.
pub(super) const GRACEFUL_SHUTDOWN: u32 = 0xffff_0000;

/// What the node is, mostly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Theme {
    /// A bit of everything.
    Mixed,
    /// A route reflector of its AS.
    Reflector,
    /// A route server between other ASes.
    Server,
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The resources ask for other routes.
    ChangeOrigins,
    /// The resources ask for other settings of a neighbor.
    ChangeNeighbor,
    /// The resources name a neighbor no more, or again.
    ToggleNeighbor,
    /// The resources ask for other settings of whoever connects from a prefix, or for none.
    ChangeRange,
    /// The resources name another cluster id.
    ChangeCluster,
    /// The resources switch BGP off or on.
    ToggleInstance,
    /// The caches of the RPKI say something else.
    ChangeVrps,
    /// A router announces and withdraws.
    ChangeRoutes,
    /// A router asks for its routes again.
    Refresh,
    /// A router forgets routes in silence and refreshes what it said.
    ForgetAndRefresh,
    /// Our operator asks a router for its routes.
    AskForRoutes,
    /// A router loses its power, or has it back.
    TogglePower,
    /// Connections of a router break.
    Break,
    /// A router stops reading for a while.
    Stall,
    /// Nothing reaches a router for a while.
    Cut,
    /// A router's operator resets its sessions.
    Clear,
    /// Our operator resets the session with a router.
    Reset,
    /// Our operator drains the session with a router, or with all, or undrains it (RFC 8326).
    Drain,
    /// A router sends garbage.
    Garbage,
}

/// Events, as often as they are listed.
const EVENTS: [Event; 38] = [
    Event::ChangeOrigins,
    Event::ChangeOrigins,
    Event::ChangeOrigins,
    Event::ChangeOrigins,
    Event::ChangeOrigins,
    Event::ChangeOrigins,
    Event::ChangeRoutes,
    Event::ChangeRoutes,
    Event::ChangeRoutes,
    Event::ChangeRoutes,
    Event::ChangeRoutes,
    Event::ChangeRoutes,
    Event::ChangeNeighbor,
    Event::ChangeNeighbor,
    Event::ToggleNeighbor,
    Event::ChangeCluster,
    Event::ToggleInstance,
    Event::Refresh,
    Event::ForgetAndRefresh,
    Event::ForgetAndRefresh,
    Event::AskForRoutes,
    Event::TogglePower,
    Event::TogglePower,
    Event::Break,
    Event::Break,
    Event::Stall,
    Event::Stall,
    Event::Cut,
    Event::Clear,
    Event::Reset,
    Event::Drain,
    Event::Drain,
    Event::ChangeVrps,
    Event::ChangeVrps,
    Event::ChangeVrps,
    Event::ChangeVrps,
    Event::ChangeRange,
    Event::ToggleNeighbor,
];

/// How long a router that is drained keeps its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drained {
    /// A few seconds: at quiet it is gone.
    Briefly,
    /// Past the end of the run, unless it ends by itself.
    Lastingly,
}

/// What our operator asks for: of which router (none: of all), and for how long; none: undrain.
pub(super) type DrainCommand = (Option<usize>, Option<Duration>);

/// A prefix, the longest that may be announced of it, and who may (RFC 6811); 0: nobody.
pub(super) type Vrp = (IpPrefix, u8, u32);

/// Whom VRPs name: ASes of routers, of the node and of what they say, and nobody.
const ORIGINS: [u32; 7] = [NODE_ASN, 65002, 65003, 64500, 64501, 4_200_000_001, 0];

/// What a seed makes, and the numbers that are left to draw.
#[derive(Debug)]
pub(super) struct Scenario {
    pub(super) random: Random,
    pub(super) shards: usize,
    pub(super) weather: Weather,
    pub(super) routers: Vec<RouterSpec>,
    pub(super) desired: DesiredState,
    /// Neighbors as they were made, by router.
    neighbors: Vec<Arc<Neighbor>>,
    /// Routers that are no neighbors by name unless something happens: they connect from a prefix.
    unnamed: BTreeSet<usize>,
    prefixes: Vec<IpPrefix>,
    theme: Theme,
    cluster_id: Ipv4Addr,
    /// What caches say; none: there is no cache.
    vrps: Option<BTreeSet<Vrp>>,
    /// The routers that are drained.
    drained: BTreeMap<usize, Drained>,
    /// Routes carry attributes of kilobytes: queues fill, peers fall behind.
    bulky: bool,
}

impl Scenario {
    pub(super) fn new(seed: u64) -> Scenario {
        let mut random = Random::new(seed);
        let bulky = random.percent(6);
        let weather = Weather {
            delay: *random.pick(&[
                Duration::from_micros(50),
                Duration::from_millis(5),
                Duration::from_millis(300),
            ]),
            capacity: *random.pick(&[600, 8 * 1024, 64 * 1024]),
            piece: *random.pick(&[30, 1500, 64 * 1024]),
        };
        let weather = match bulky {
            true => Weather {
                capacity: 64 * 1024,
                piece: 64 * 1024,
                ..weather
            },
            false => weather,
        };
        let theme = *random.pick(&[Theme::Mixed, Theme::Mixed, Theme::Reflector, Theme::Server]);
        let cluster_id = *random.pick(&CLUSTER_IDS);
        let count = 1 + random.below(5);
        let routers = (0..count).map(|index| router(index, theme, &mut random));
        let mut routers: Vec<RouterSpec> = routers.collect();
        if bulky {
            // Long enough to fall far behind in.
            routers.iter_mut().for_each(|router| router.hold_time = 90);
        }
        let neighbors = routers.iter().map(|router| {
            let mut neighbor = neighbor(router, theme, cluster_id, &mut random);
            if bulky {
                neighbor.timers.hold = Duration::from_secs(90);
                neighbor.export = Export::All;
            }
            Arc::new(neighbor)
        });
        let neighbors: Vec<Arc<Neighbor>> = neighbors.collect();
        let has_ranges = random.percent(40);
        let unnamed = routers.iter().filter(|router| router.dials);
        let unnamed: BTreeSet<usize> = unnamed
            .map(|router| router.index)
            .filter(|_| has_ranges && random.percent(50))
            .collect();
        let instance = Instance {
            name: "default".into(),
            enabled: true,
            router_id: Ipv4Addr::new(10, 0, 0, 200),
            listen: vec![],
            memory_max: 1 << 30,
            rpki: Arc::default(),
            neighbors: BTreeMap::new(),
            dynamic_neighbors: BTreeMap::new(),
            origins: BTreeMap::new(),
        };
        let mut scenario = Scenario {
            shards: 1 + random.below(2),
            weather,
            routers,
            desired: DesiredState {
                instances: BTreeMap::from([(INSTANCE, instance)]),
            },
            neighbors,
            unnamed,
            prefixes: prefixes(bulky),
            theme,
            cluster_id,
            vrps: None,
            drained: BTreeMap::new(),
            bulky,
            random,
        };
        scenario.name_neighbors();
        if has_ranges {
            ranges().for_each(|prefix| scenario.set_range(prefix));
        }
        scenario
    }

    /// Every router is a neighbor by name, but for those that connect from a prefix.
    fn name_neighbors(&mut self) {
        let numbered = self.neighbors.iter().enumerate();
        let named = numbered.filter(|(router, _)| !self.unnamed.contains(router));
        let named = named.map(|(_, neighbor)| (neighbor.address, Arc::clone(neighbor)));
        let named = named.collect();
        self.instance().neighbors = named;
    }

    /// Whoever connects from a prefix is told this and that.
    fn set_range(&mut self, prefix: IpPrefix) {
        let spec = self.random.pick(&self.routers).clone();
        let drawn = neighbor(&spec, self.theme, self.cluster_id, &mut self.random);
        let address: IpAddr = match prefix {
            IpPrefix::V4(prefix) => prefix.address().into(),
            IpPrefix::V6(prefix) => prefix.address().into(),
        };
        let peer_asn = *self.random.pick(&[
            PeerAsn::Any,
            PeerAsn::Any,
            PeerAsn::Any,
            PeerAsn::External,
            PeerAsn::Internal,
        ]);
        let settings = Neighbor {
            address: address.into(),
            peer_asn,
            passive: true,
            // Not of one of those that may come.
            role: None,
            ..drawn
        };
        let range = DynamicNeighbors {
            prefix,
            max_peers: 100,
            settings,
        };
        let ranges = &mut self.instance().dynamic_neighbors;
        ranges.insert(prefix, Arc::new(range));
    }

    /// Other settings for whoever connects from a prefix, or none.
    pub(super) fn change_range(&mut self) {
        let all: Vec<IpPrefix> = ranges().collect();
        let prefix = *self.random.pick(&all);
        if self.random.percent(30) {
            self.instance().dynamic_neighbors.remove(&prefix);
        } else {
            self.set_range(prefix);
        }
    }

    /// At how many steps the node's invariants are checked.
    pub(super) fn audit_every(&self) -> u64 {
        if self.bulky { 16 } else { 1 }
    }

    pub(super) fn draw_event(&mut self) -> Event {
        if self.random.percent(2) {
            return Event::Garbage;
        }
        // What is large is there to make peers fall behind while more changes come.
        if self.bulky && self.random.percent(60) {
            return *self
                .random
                .pick(&[Event::Stall, Event::ChangeOrigins, Event::ChangeOrigins]);
        }
        *self.random.pick(&EVENTS)
    }

    /// How long until the next thing happens: often before the last one has settled.
    pub(super) fn draw_pause(&mut self) -> Duration {
        let most = *self.random.pick(&[
            Duration::from_micros(200),
            Duration::from_millis(20),
            Duration::from_secs(2),
            Duration::from_secs(15),
        ]);
        let most = match self.bulky {
            true => most.min(Duration::from_secs(2)),
            false => most,
        };
        self.random.up_to(most)
    }

    pub(super) fn instance(&mut self) -> &mut Instance {
        self.desired
            .instances
            .get_mut(&INSTANCE)
            .expect("the one instance is never removed")
    }

    /// Some routes of our own come, change or go.
    pub(super) fn change_origins(&mut self) {
        let count = match self.bulky {
            true => 250 + self.random.below(250),
            false => 1 + self.random.below(12),
        };
        let goes = match self.bulky {
            true => 20,
            false => *self.random.pick(&[0, 30, 60, 100]),
        };
        for _ in 0..count {
            let prefix = *self.random.pick(&self.prefixes);
            if self.random.percent(goes) {
                self.instance().origins.remove(&prefix);
                continue;
            }
            let origin = Origin {
                attributes: Arc::new(self.draw_origin_attributes()),
                sources: vec![],
                kinds: crate::policy::Sources::NETWORK_POLICY,
            };
            self.instance().origins.insert(prefix, origin);
        }
    }

    /// Some VRPs come or go; now and then all do, with the caches or without.
    pub(super) fn change_vrps(&mut self) {
        match self.random.below(12) {
            0 => return self.vrps = None,
            1 => self.vrps = Some(BTreeSet::new()),
            _ => {}
        }
        let mut vrps = self.vrps.take().unwrap_or_default();
        for _ in 0..1 + self.random.below(16) {
            if self.random.percent(30) {
                let place = self.random.below(vrps.len());
                if let Some(gone) = vrps.iter().nth(place).copied() {
                    vrps.remove(&gone);
                }
                continue;
            }
            // Around prefixes of the run, and of them.
            let prefix = *self.random.pick(&self.prefixes);
            let shorter = self.random.below(13) as u8;
            let prefix = shortened(prefix, prefix.length().saturating_sub(shorter));
            let longest = prefix.length() + self.random.below(14) as u8;
            let asn = *self.random.pick(&ORIGINS);
            let most = if prefix.family() == Family::Ipv4Unicast {
                32
            } else {
                128
            };
            vrps.insert((prefix, longest.min(most), asn));
        }
        self.vrps = Some(vrps);
    }

    /// What caches say.
    pub(super) fn vrps(&self) -> Option<&BTreeSet<Vrp>> {
        self.vrps.as_ref()
    }

    fn draw_origin_attributes(&mut self) -> OriginAttributes {
        let large_communities = match self.bulky {
            true => {
                let value = self.random.below(1000) as u32;
                (0..250).map(|n| [NODE_ASN, value, n]).collect()
            }
            false if self.random.percent(20) => vec![[NODE_ASN, 1, 2]],
            false if self.random.percent(8) => long_communities(1),
            false => vec![],
        };
        OriginAttributes {
            communities: match self.random.below(4) {
                0 => vec![0xffff_ff01],
                1 => vec![0xfde9_0001, 0xfde9_0002],
                _ => vec![],
            },
            large_communities,
            local_preference: *self.random.pick(&[100, 200]),
        }
    }

    /// Some settings of one neighbor change; false if it is not configured.
    pub(super) fn change_neighbor(&mut self, router: usize) -> bool {
        let spec = &self.routers[router];
        let drawn = neighbor(spec, self.theme, self.cluster_id, &mut self.random);
        let mut changed = Neighbor::clone(&self.neighbors[router]);
        match self.random.below(16) {
            12 => changed.graceful_restart = drawn.graceful_restart,
            13 => {
                changed.role = drawn.role;
                changed.capabilities = drawn.capabilities;
                changed.host_name = drawn.host_name;
            }
            14 => changed.builtin_filters = drawn.builtin_filters,
            0 => changed.export = drawn.export,
            1 => changed.import = drawn.import,
            2 => changed.families = drawn.families,
            3 => changed.timers = drawn.timers,
            4 => changed.next_hop_self = drawn.next_hop_self,
            5 => changed.send_communities = drawn.send_communities,
            6 => changed.next_hop_ipv6 = drawn.next_hop_ipv6,
            7 => changed.next_hop_ipv4 = drawn.next_hop_ipv4,
            8 => changed.passive = drawn.passive,
            9 => changed.allow_own_asn = drawn.allow_own_asn,
            10 => changed.client = drawn.client,
            11 => changed.add_paths = drawn.add_paths,
            _ => changed.peer_asn = drawn.peer_asn,
        }
        let changed = Arc::new(changed);
        self.neighbors[router] = changed.clone();
        let neighbors = &mut self.instance().neighbors;
        let known = neighbors.get_mut(&changed.address);
        known.map(|known| *known = changed).is_some()
    }

    /// All neighbors are told another cluster id.
    pub(super) fn change_cluster(&mut self) {
        self.cluster_id = *self.random.pick(&CLUSTER_IDS);
        let cluster_id = self.cluster_id;
        let with_it = |neighbor: &Arc<Neighbor>| {
            let mut changed = Neighbor::clone(neighbor);
            changed.cluster_id = cluster_id;
            Arc::new(changed)
        };
        self.neighbors = self.neighbors.iter().map(with_it).collect();
        let instance = self.instance();
        for neighbor in instance.neighbors.values_mut() {
            *neighbor = with_it(neighbor);
        }
        for range in instance.dynamic_neighbors.values_mut() {
            let mut changed = DynamicNeighbors::clone(range);
            changed.settings.cluster_id = cluster_id;
            *range = Arc::new(changed);
        }
    }

    pub(super) fn toggle_neighbor(&mut self, router: usize) {
        let neighbor = self.neighbors[router].clone();
        let neighbors = &mut self.instance().neighbors;
        if neighbors.remove(&neighbor.address).is_none() {
            neighbors.insert(neighbor.address, neighbor);
        }
    }

    /// A router is drained, or all are, or no more.
    pub(super) fn draw_drain(&mut self, router: usize) -> DrainCommand {
        let meant = (!self.random.percent(15)).then_some(router);
        let ends = self.drained.contains_key(&router) && self.random.percent(60);
        let (drained, wait) = match self.random.percent(50) {
            true => (Drained::Briefly, self.random.up_to(Duration::from_secs(5))),
            false => (Drained::Lastingly, Duration::from_secs(1 << 20)),
        };
        let routers = meant.map_or(0..self.routers.len(), |router| router..router + 1);
        for router in routers {
            match ends {
                true => self.drained.remove(&router),
                false => self.drained.insert(router, drained),
            };
        }
        (meant, (!ends).then_some(wait))
    }

    /// Whether a router is drained, and how.
    pub(super) fn drained(&self, router: usize) -> Option<Drained> {
        self.drained.get(&router).copied()
    }

    /// Every neighbor is configured, with its router's AS, nobody is drained, and BGP is on.
    pub(super) fn mend(&mut self) {
        self.drained.clear();
        for (router, neighbor) in self.routers.iter().zip(&mut self.neighbors) {
            let mut mended = Neighbor::clone(neighbor);
            mended.peer_asn = PeerAsn::Number(router.asn);
            *neighbor = Arc::new(mended);
        }
        self.name_neighbors();
        if !self.unnamed.is_empty() {
            let missing = |scenario: &mut Scenario, prefix: &IpPrefix| {
                !scenario.instance().dynamic_neighbors.contains_key(prefix)
            };
            for prefix in ranges() {
                if missing(self, &prefix) {
                    self.set_range(prefix);
                }
            }
        }
        self.instance().enabled = true;
    }

    /// A prefix of a family that a router speaks.
    pub(super) fn draw_prefix(&mut self, router: usize) -> Option<IpPrefix> {
        let prefix = *self.random.pick(&self.prefixes);
        let families = self.routers[router].families;
        families.contains(prefix.family()).then_some(prefix)
    }

    /// What a router could say of a prefix.
    pub(super) fn draw_route(&mut self, router: usize, family: Family) -> Route {
        let spec = self.routers[router].clone();
        let internal = spec.asn == NODE_ASN;
        let mut as_path = if internal { vec![] } else { vec![spec.asn] };
        for _ in 0..self.random.below(3) {
            as_path.push(*self.random.pick(&[64500, 64501, 4_200_000_001]));
        }
        if self.random.percent(4) {
            // A loop: it went through us already.
            as_path.push(NODE_ASN);
        }
        let third_party = self.random.percent(20);
        let next_hop = match (family, third_party) {
            (Family::Ipv4Unicast, false) if self.random.percent(20) => {
                IpAddr::V6(spec.address_ipv6)
            }
            (Family::Ipv4Unicast, false) => IpAddr::V4(spec.address_ipv4),
            (Family::Ipv4Unicast, true) => IpAddr::V4(Ipv4Addr::new(10, 0, 0, 99)),
            (Family::Ipv6Unicast, false) => IpAddr::V6(spec.address_ipv6),
            (Family::Ipv6Unicast, true) => {
                IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 99))
            }
        };
        let (originator_id, cluster_list) = self.draw_reflection(internal);
        Route {
            origin: self.random.below(2) as u8,
            as_path,
            next_hop,
            med: *self.random.pick(&[None, Some(0), Some(10), Some(20)]),
            local_pref: internal.then(|| *self.random.pick(&[50, 100, 200])),
            communities: match self.random.below(12) {
                0 => vec![0xffff_ff01],
                1 => vec![0xffff_ff02],
                2 => vec![0xffff_ff03],
                3..6 => vec![0xfbf4_0007],
                6 => vec![0xfbf4_0007, LLGR_STALE],
                7 => vec![NO_LLGR],
                8 => vec![0xfbf4_0007, GRACEFUL_SHUTDOWN],
                _ => vec![],
            },
            large_communities: match self.random.below(24) {
                0..4 => vec![[64500, 1, 1]],
                4 => long_communities(2),
                _ => vec![],
            },
            originator_id,
            cluster_list,
            otc: match self.random.below(10) {
                0 => Some(spec.asn),
                1 => Some(64500),
                _ => None,
            },
        }
    }

    /// Some routes were reflected on their way; that an external router says so is its mistake.
    fn draw_reflection(&mut self, internal: bool) -> (Option<Ipv4Addr>, Vec<Ipv4Addr>) {
        if !self.random.percent(if internal { 30 } else { 5 }) {
            return (None, vec![]);
        }
        // A router of the run, or, looped, the node.
        let originators = [
            Ipv4Addr::new(10, 0, 0, 2),
            Ipv4Addr::new(200, 0, 0, 3),
            NODE.ipv4,
        ];
        let others = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)];
        let mut clusters = others[..1 + self.random.below(2)].to_vec();
        if self.random.percent(15) {
            clusters.push(*self.random.pick(&CLUSTER_IDS));
        }
        (Some(*self.random.pick(&originators)), clusters)
    }
}

fn router(index: usize, theme: Theme, random: &mut Random) -> RouterSpec {
    let last = index as u16 + 1;
    let address_ipv4 = Ipv4Addr::new(10, 0, 0, index as u8 + 1);
    let address_ipv6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last);
    let asn = match theme {
        Theme::Reflector if random.percent(80) => NODE_ASN,
        Theme::Server if random.percent(80) => *random.pick(&[65002, 65002, 65003]),
        _ => *random.pick(&[NODE_ASN, NODE_ASN, 65002, 65003, 4_200_000_000]),
    };
    let (dials, listens) =
        *random.pick(&[(true, true), (true, true), (true, false), (false, true)]);
    // Above and below the node's, and between two ASes the same one.
    let router_id = match (random.below(3), asn == NODE_ASN) {
        (0, _) => Ipv4Addr::new(10, 0, 0, index as u8 + 1),
        (1, false) => Ipv4Addr::new(10, 0, 0, 200),
        _ => Ipv4Addr::new(200, 0, 0, index as u8 + 1),
    };
    RouterSpec {
        index,
        address: match random.percent(30) {
            true => IpAddr::V6(address_ipv6),
            false => IpAddr::V4(address_ipv4),
        },
        address_ipv6,
        address_ipv4,
        asn,
        router_id,
        node_asn: NODE_ASN,
        dials,
        listens,
        hold_time: *random.pick(&[9, 30, 90, 0]),
        families: draw_families(random),
        role: match (theme, random.percent(40)) {
            (Theme::Mixed, true) => Some(*random.pick(&Role::ALL)),
            _ => None,
        },
        capabilities: match theme {
            Theme::Mixed => draw_capabilities(random),
            _ => Capabilities {
                extended_messages: random.percent(70),
                ..Capabilities::default()
            },
        },
        four_octet_as: asn >= 65536 || random.percent(80),
        enhanced_refresh: random.percent(70),
        add_path_send: random.percent(50),
        add_path_receive: random.percent(70),
        graceful: random.percent(60).then(|| RouterGraceful {
            restart_time: *random.pick(&[5, 60, 120]),
            notification: random.percent(60),
            preserves: random.percent(70),
            long_lived: random.percent(50).then(|| *random.pick(&[3, 40])),
        }),
    }
}

fn neighbor(
    router: &RouterSpec,
    theme: Theme,
    cluster_id: Ipv4Addr,
    random: &mut Random,
) -> Neighbor {
    let internal = router.asn == NODE_ASN;
    let kind = if internal {
        PeerAsn::Internal
    } else {
        PeerAsn::External
    };
    let wrong = if internal {
        PeerAsn::External
    } else {
        PeerAsn::Number(64999)
    };
    // What its kind of peer can be a client of; the other has no effect.
    let (fitting, other) = match internal {
        true => (Client::RouteReflector, Client::RouteServer),
        false => (Client::RouteServer, Client::RouteReflector),
    };
    let client = match theme {
        Theme::Mixed => *random.pick(&[None, None, Some(fitting), Some(other)]),
        _ => *random.pick(&[None, Some(fitting), Some(fitting), Some(fitting)]),
    };
    let plain = theme != Theme::Mixed && random.percent(70);
    let neighbor = Neighbor {
        peer_asn: match random.below(12) {
            0 => wrong,
            1..4 => PeerAsn::Any,
            4..7 => kind,
            _ => PeerAsn::Number(router.asn),
        },
        cluster_id,
        passive: router.dials && random.percent(25),
        timers: Timers {
            connect_retry: Duration::from_secs(*random.pick(&[5, 30, 120])),
            hold: Duration::from_secs(*random.pick(&[9, 30, 90])),
            keepalive: Duration::from_secs(*random.pick(&[3, 10, 30])),
            advertisement_interval: Duration::from_secs(*random.pick(&[0, 0, 0, 5])),
            ..Timers::default()
        },
        families: draw_families(random),
        add_paths: draw_add_paths(random),
        capabilities: draw_capabilities(random),
        // A router that does not tell its role may have any.
        role: match (router.role, random.percent(60)) {
            (_, false) => None,
            (Some(theirs), true) => Some(theirs.counterpart()),
            (None, true) if theme == Theme::Mixed => Some(*random.pick(&Role::ALL)),
            (None, true) => None,
        },
        host_name: random.percent(50).then(|| "node-1".into()),
        next_hop_ipv4: random.percent(10).then_some(Ipv4Addr::new(10, 0, 0, 201)),
        next_hop_ipv6: match random.below(4) {
            0 => NextHopIpv6::Address(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 201)),
            1 => NextHopIpv6::Mapped,
            _ => NextHopIpv6::Auto,
        },
        next_hop_self: *random.pick(&[
            NextHopSelf::Auto,
            NextHopSelf::Auto,
            NextHopSelf::Always,
            NextHopSelf::Never,
        ]),
        client,
        import: match random.percent(40) {
            true => Import::Policy(policy::draw(random)),
            false => random
                .pick(&[Import::All, Import::All, Import::All, Import::None])
                .clone(),
        },
        export: match random.percent(30) {
            true => Export::Policy(policy::draw(random)),
            false => random
                .pick(&[
                    Export::All,
                    Export::All,
                    Export::All,
                    Export::Originated,
                    Export::None,
                ])
                .clone(),
        },
        send_communities: SendCommunities {
            standard: random.percent(80),
            large: random.percent(80),
            extended: true,
        },
        graceful_restart: GracefulRestart {
            enabled: random.percent(30),
            helper: random.percent(80),
            stale_time: Duration::from_secs(*random.pick(&[20, 180])),
            notification: random.percent(70),
            ..GracefulRestart::default()
        },
        long_lived: random.percent(50).then_some(Duration::from_secs(20)),
        enhanced_refresh: random.percent(70),
        allow_own_asn: u8::from(random.percent(20)),
        builtin_filters: BuiltinFilters {
            own_prefixes: random.percent(60),
            ..BuiltinFilters::default()
        },
        ..Neighbor::new(router.address.into(), NODE.ipv4, NODE_ASN, PeerAsn::Any)
    };
    if !plain {
        return neighbor;
    }
    // Routers that are alike share groups.
    Neighbor {
        families: FamilySet::ALL,
        capabilities: Capabilities::default(),
        add_paths: AddPaths {
            send: match neighbor.add_paths.send {
                0..3 => 0,
                _ => 2,
            },
            ..neighbor.add_paths
        },
        next_hop_ipv4: None,
        next_hop_ipv6: NextHopIpv6::Auto,
        next_hop_self: NextHopSelf::Auto,
        import: Import::All,
        export: Export::All,
        send_communities: SendCommunities::default(),
        ..neighbor
    }
}

fn draw_add_paths(random: &mut Random) -> AddPaths {
    AddPaths {
        send: *random.pick(&[0, 0, 1, 2, 3, 4]),
        receive: random.percent(60),
    }
}

fn draw_capabilities(random: &mut Random) -> Capabilities {
    Capabilities {
        extended_messages: random.percent(70),
        extended_next_hop: random.percent(70),
    }
}

/// More than one message of 4,096 octets can hold.
fn long_communities(value: u32) -> Vec<[u32; 3]> {
    (0..400).map(|n| [NODE_ASN, value, n]).collect()
}

fn draw_families(random: &mut Random) -> FamilySet {
    let ipv4 = FamilySet::from_iter([Family::Ipv4Unicast]);
    *random.pick(&[FamilySet::ALL, FamilySet::ALL, FamilySet::ALL, ipv4])
}

/// Where routers may connect from without a name; one lies within another.
fn ranges() -> impl Iterator<Item = IpPrefix> {
    let v4 = |length| IpPrefix::V4(Ipv4Prefix::masked(Ipv4Addr::new(10, 0, 0, 0), length));
    let v6 = IpPrefix::V6(Ipv6Prefix::masked(NODE.ipv6, 112));
    [v4(28), v4(30), v6].into_iter()
}

fn shortened(prefix: IpPrefix, length: u8) -> IpPrefix {
    match prefix {
        IpPrefix::V4(prefix) => IpPrefix::V4(Ipv4Prefix::masked(prefix.address(), length)),
        IpPrefix::V6(prefix) => IpPrefix::V6(Ipv6Prefix::masked(prefix.address(), length)),
    }
}

/// The prefixes of the run: neighbors of each other, some within others.
fn prefixes(bulky: bool) -> Vec<IpPrefix> {
    let mut prefixes = Vec::new();
    let count = if bulky { 400 } else { 24 };
    for n in 0..count {
        let [_, _, high, low] = u32::to_be_bytes(n);
        let address = Ipv4Addr::new(172, 16 + high, low, 0);
        prefixes.push(IpPrefix::V4(Ipv4Prefix::masked(address, 24)));
    }
    for length in [8, 12, 16, 25, 32] {
        let address = Ipv4Addr::new(172, 16, 3, 129);
        prefixes.push(IpPrefix::V4(Ipv4Prefix::masked(address, length)));
    }
    for n in 0..10 {
        let address = Ipv6Addr::new(0x2001, 0xdb8, n, 0, 0, 0, 0, 1);
        let length = if n % 3 == 0 { 128 } else { 48 };
        prefixes.push(IpPrefix::V6(Ipv6Prefix::masked(address, length)));
    }
    prefixes
}
