//! What a seed makes: a node's desired state, its routers, and what happens to them.
//!
//! Everything that could be constant is drawn; ranges are small, so that routes, paths and times
//! meet each other often.

mod events;
mod peers;
mod routes;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use codec::IpPrefix;

pub(super) use events::Event;
use peers::{neighbor, ranges, router};
use routes::prefixes;
pub(super) use routes::{GRACEFUL_SHUTDOWN, Vrp};

use super::network::Weather;
use super::node::{INSTANCE, Node};
use super::oracle::NodeAddresses;
use super::router::RouterSpec;
use crate::config::{DesiredState, DynamicNeighbors, Export, Instance, Neighbor, PeerAsn};
use crate::random::Random;
use crate::shard::Deferral;

/// The AS of the node.
pub(super) const NODE_ASN: u32 = 65001;

/// The AS that the node is, at times, towards a neighbor that is not there.
const OTHER_ASN: u32 = 65100;

/// The node's addresses.
pub(super) const NODE: NodeAddresses = NodeAddresses {
    ipv4: Ipv4Addr::new(10, 0, 0, 200),
    ipv6: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 200),
};

/// Cluster ids that the node has: its router id, or one of its own.
const CLUSTER_IDS: [Ipv4Addr; 2] = [NODE.ipv4, Ipv4Addr::new(192, 0, 2, 77)];

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
            memory_max: 1 << 30,
            ..Instance::new(Ipv4Addr::new(10, 0, 0, 200))
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

    /// A process of the node that was told nothing yet. Its invariants are checked at every step, or
    /// where tables are large at every so many.
    pub(super) fn node(&mut self, deferral: Deferral) -> Node {
        let addresses = vec![IpAddr::V4(NODE.ipv4), IpAddr::V6(NODE.ipv6)];
        let audit_every = if self.bulky { 16 } else { 1 };
        let seed = self.random.next();
        Node::new(self.shards, addresses, audit_every, deferral, seed)
    }

    /// Every router is a neighbor by name that is asked to keep our routes, and is given the time to
    /// come back and say all of its own.
    #[cfg(test)]
    pub(super) fn ask_everybody_to_keep(&mut self) {
        self.unnamed.clear();
        for neighbor in &mut self.neighbors {
            let mut asked = Neighbor::clone(neighbor);
            asked.graceful_restart.enabled = true;
            asked.graceful_restart.restart_time = Duration::from_secs(600);
            asked.graceful_restart.selection_deferral = Duration::from_secs(600);
            *neighbor = Arc::new(asked);
        }
        self.name_neighbors();
    }

    pub(super) fn instance(&mut self) -> &mut Instance {
        self.desired
            .instances
            .get_mut(&INSTANCE)
            .expect("the one instance is never removed")
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

    /// What is the instance's and stands with every neighbor changes: the cluster id, and which AS
    /// numbers are ours.
    pub(super) fn change_cluster(&mut self) {
        self.cluster_id = *self.random.pick(&CLUSTER_IDS);
        let cluster_id = self.cluster_id;
        let own_asns: Arc<[u32]> = match self.random.percent(50) {
            true => Arc::from([NODE_ASN, OTHER_ASN]),
            false => Arc::from([NODE_ASN]),
        };
        let with_it = |neighbor: &Arc<Neighbor>| {
            let mut changed = Neighbor::clone(neighbor);
            changed.cluster_id = cluster_id;
            changed.own_asns = Arc::clone(&own_asns);
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
            changed.settings.own_asns = Arc::clone(&own_asns);
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

    /// Our process is another one: nobody is drained any more.
    pub(super) fn forget_drained(&mut self) {
        self.drained.clear();
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
}
