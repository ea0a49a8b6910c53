//! A cluster whose nodes learn of each other by route reflectors (RFC 4456), in one process.
//!
//! Here: who there is and what each is called. Every node has the two reflectors of its pod, which
//! are one cluster (§7); each of these is a client of both top reflectors, which are a cluster each
//! and no clients of each other. The reflectors are shards of the daemon, the nodes plain speakers
//! ([`node`]); [`network`] joins them by pipes on a virtual clock.

pub mod network;
pub mod node;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use codec::{Family, FamilySet, Ipv4Prefix, Prefix};
use engine::config::{Client, Export, Import, Neighbor, PeerAsn};

/// The AS of everybody.
pub const ASN: u32 = 64_512;
/// A /24 of 10.0.0.0/8 each.
pub const NODES_MAX: usize = 1 << 16;

const NODES: u32 = 0xac10_0000;
const REFLECTORS: u32 = 0xac1f_0000;
const POD_CIDRS: u32 = 0x0a00_0000;
const HOSTS: u32 = 0xc0a8_0000;

/// What a speaker of the cluster is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A node, which announces.
    Node,
    /// One of the two reflectors of a pod.
    Pod,
    /// One of the two above them.
    Top,
}

impl Role {
    /// All of them, in the order of their numbers.
    pub const ALL: [Role; 3] = [Role::Node, Role::Pod, Role::Top];
}

/// Nodes, reflectors and prefixes go by number: nodes pod by pod, reflectors pod by pod and then
/// the tops, prefixes two a node.
#[derive(Clone, Debug)]
pub struct Layout {
    /// How many pods.
    pub pods: usize,
    /// How many nodes each has.
    pub nodes_a_pod: usize,
    /// The cluster id of each pod.
    pub clusters: Vec<Ipv4Addr>,
}

impl Layout {
    /// A cluster; each pod has a cluster id of its own.
    ///
    /// # Panics
    /// With more than [`NODES_MAX`] nodes.
    pub fn new(pods: usize, nodes_a_pod: usize) -> Layout {
        assert!(pods * nodes_a_pod <= NODES_MAX);
        let cluster = |pod| Ipv4Addr::from(0x0101_0000 + pod as u32);
        Layout {
            pods,
            nodes_a_pod,
            clusters: (0..pods).map(cluster).collect(),
        }
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> usize {
        self.pods * self.nodes_a_pod
    }

    /// How many reflectors there are.
    pub fn reflectors(&self) -> usize {
        2 * self.pods + 2
    }

    /// How many prefixes there are.
    pub fn prefixes(&self) -> usize {
        2 * self.nodes()
    }

    /// The nodes of a pod.
    pub fn nodes_of(&self, pod: usize) -> std::ops::Range<usize> {
        pod * self.nodes_a_pod..(pod + 1) * self.nodes_a_pod
    }

    /// The pod of a node.
    pub fn pod_of(&self, node: usize) -> usize {
        node / self.nodes_a_pod
    }

    /// The pod of a reflector; none: it is at the top.
    pub fn pod_of_reflector(&self, reflector: usize) -> Option<usize> {
        (reflector < 2 * self.pods).then_some(reflector / 2)
    }

    /// What a reflector is.
    pub fn role(&self, reflector: usize) -> Role {
        match self.pod_of_reflector(reflector) {
            Some(_) => Role::Pod,
            None => Role::Top,
        }
    }

    /// The reflectors at the top.
    pub fn tops(&self) -> [usize; 2] {
        [2 * self.pods, 2 * self.pods + 1]
    }

    /// Address, router id and next hop of a node.
    pub fn node_address(&self, node: usize) -> Ipv4Addr {
        Ipv4Addr::from(NODES + node as u32)
    }

    /// The node with this address.
    pub fn node_at(&self, address: Ipv4Addr) -> Option<usize> {
        let number = u32::from(address).checked_sub(NODES)? as usize;
        (number < self.nodes()).then_some(number)
    }

    /// Address and router id of a reflector.
    pub fn reflector_address(&self, reflector: usize) -> Ipv4Addr {
        Ipv4Addr::from(REFLECTORS + reflector as u32)
    }

    /// The reflector with this address.
    pub fn reflector_at(&self, address: IpAddr) -> Option<usize> {
        let IpAddr::V4(address) = address else {
            return None;
        };
        let number = u32::from(address).checked_sub(REFLECTORS)? as usize;
        (number < self.reflectors()).then_some(number)
    }

    /// The cluster id of a reflector.
    pub fn cluster_of(&self, reflector: usize) -> Ipv4Addr {
        match self.pod_of_reflector(reflector) {
            Some(pod) => self.clusters[pod],
            None => self.reflector_address(reflector),
        }
    }

    /// A node's pod CIDR (even numbers) or host route (odd ones).
    pub fn prefix(&self, number: usize) -> Ipv4Prefix {
        let node = (number / 2) as u32;
        match number % 2 {
            0 => Ipv4Prefix::masked(Ipv4Addr::from(POD_CIDRS + (node << 8)), 24),
            _ => Ipv4Prefix::masked(Ipv4Addr::from(HOSTS + node), 32),
        }
    }

    /// The number of a prefix, if it is one of ours.
    pub fn number(&self, prefix: Ipv4Prefix) -> Option<usize> {
        let address = u32::from(prefix.address());
        let number = match prefix.length() {
            24 => 2 * (address.checked_sub(POD_CIDRS)? >> 8),
            _ => 2 * address.checked_sub(HOSTS)? + 1,
        } as usize;
        (number < self.prefixes() && self.prefix(number) == prefix).then_some(number)
    }

    /// Whom a reflector has as neighbors.
    pub fn neighbors(&self, reflector: usize) -> Vec<Arc<Neighbor>> {
        let router_id = self.reflector_address(reflector);
        let neighbor = |address: Ipv4Addr, client: bool, passive| {
            Arc::new(Neighbor {
                passive,
                client: client.then_some(Client::RouteReflector),
                cluster_id: self.cluster_of(reflector),
                families: FamilySet::from_iter([Family::Ipv4Unicast]),
                import: Import::All,
                export: Export::All,
                ..Neighbor::new(address.into(), router_id, ASN, PeerAsn::Internal)
            })
        };
        let [first, second] = self.tops();
        match self.pod_of_reflector(reflector) {
            Some(pod) => {
                let nodes = self.nodes_of(pod).map(|node| self.node_address(node));
                let tops = [first, second].map(|top| self.reflector_address(top));
                nodes
                    .map(|address| neighbor(address, true, true))
                    .chain(tops.map(|address| neighbor(address, false, false)))
                    .collect()
            }
            None => {
                let clients = (0..first).map(|client| self.reflector_address(client));
                let other = if reflector == first { second } else { first };
                let beside = self.reflector_address(other);
                clients
                    .map(|address| neighbor(address, true, true))
                    .chain([neighbor(beside, false, reflector == second)])
                    .collect()
            }
        }
    }
}
