//! The resources as this node sees them: its settings, its node objects, the policies that count.
//!
//! Borrowed from one [`InForce`]; built anew for every evaluation and every question.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use codec::IpPrefix;

use super::guard::Guard;
use super::host::HostNetwork;
use super::resource::{
    BgpPeering, Body, CidrGroup, CidrTarget, Kind, Labels, NodeBody, NodeOverlay, Policy, Resource,
    Rule,
};
use super::store::{InForce, SYSTEM_NAMESPACE};

/// The label that Kubernetes gives every namespace.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

pub(crate) struct View<'a> {
    pub(crate) config: &'a Resource,
    pub(crate) peering: &'a BgpPeering,
    /// What is different on this node.
    pub(crate) overlay: NodeOverlay,
    pub(crate) guard: Guard,
    /// This node's pod CIDRs and the resource that names them.
    pub(crate) pod_cidrs: Vec<IpPrefix>,
    pub(crate) pod_cidrs_from: Option<&'a Resource>,
    /// Those and the cluster's: what a policy CIDR must not overlap to be announced itself.
    pub(crate) pod_networks: Vec<IpPrefix>,
    pub(crate) router_id: Ipv4Addr,
    pub(crate) cilium_speaks: bool,
    pub(crate) secrets_namespace: Arc<str>,
    in_force: &'a InForce,
    groups: BTreeMap<&'a str, (&'a Resource, &'a CidrGroup)>,
    node_labels: Labels,
}

/// One prefix that an entry of a policy names, and where that is written.
pub(crate) struct Named<'a> {
    pub(crate) prefix: IpPrefix,
    pub(crate) file: &'a Arc<str>,
    pub(crate) line: u32,
    /// The group that it stands in.
    pub(crate) group: Option<&'a Resource>,
}

impl<'a> View<'a> {
    /// None until there are settings, this node's own among them.
    pub(crate) fn new(
        in_force: &'a InForce,
        network: &HostNetwork,
        node_name: &str,
    ) -> Option<View<'a>> {
        let config: &Resource = in_force.config.as_ref()?;
        let peering = config.peering()?;
        if peering.faulty.nodes.contains(node_name) {
            return None;
        }
        let map = in_force
            .config_map
            .as_ref()
            .and_then(|map| map.config_map());
        let node_of = |kind| {
            let mut all = in_force.resources.values();
            all.find(|r| r.key.kind == kind && &*r.key.name == node_name)
        };
        let objects = [node_of(Kind::CiliumNode), node_of(Kind::Node)];
        let bodies = || {
            objects
                .iter()
                .flatten()
                .filter_map(|r| Some((*r, r.node()?)))
        };
        let pods = bodies().find(|(_, body)| !body.pod_cidrs.is_empty());
        let pod_cidrs = pods.map_or_else(Vec::new, |(_, body)| body.pod_cidrs.clone());
        let mut pod_networks = pod_cidrs.clone();
        match &peering.guard.cluster_cidrs {
            Some(cidrs) => pod_networks.extend(cidrs),
            None => pod_networks.extend(map.iter().flat_map(|map| &map.cluster_cidrs)),
        }
        let addresses: Vec<IpAddr> = bodies().flat_map(|(_, b)| b.addresses.clone()).collect();
        let neighbors = peering.neighbors.iter().map(|neighbor| neighbor.whom);
        let neighbors = neighbors.chain(peering.faulty.neighbors.iter().map(|faulty| faulty.whom));
        let guard = Guard::new(
            &peering.guard,
            network,
            &addresses,
            neighbors,
            &pod_networks,
        );
        let internal = bodies().flat_map(|(_, body)| body.internal_addresses.iter());
        let overlay = peering.nodes.get(node_name).cloned().unwrap_or_default();
        let router_id = overlay
            .router_id
            .or(peering.router_id)
            .or_else(|| internal.copied().find_map(ipv4));
        let mut node_labels = Labels::new();
        for resource in objects.iter().flatten() {
            node_labels.extend(resource.labels.clone());
        }
        Some(View {
            config,
            peering,
            overlay,
            guard,
            pod_cidrs,
            pod_cidrs_from: pods.map(|(resource, _)| &**resource),
            pod_networks,
            router_id: router_id.unwrap_or_else(|| router_id_of_name(node_name)),
            cilium_speaks: map.is_some_and(|map| map.cilium_speaks),
            secrets_namespace: map
                .and_then(|map| map.secrets_namespace.clone())
                .unwrap_or_else(|| SYSTEM_NAMESPACE.into()),
            in_force,
            groups: groups(in_force),
            node_labels,
        })
    }

    /// Where a field of the settings is written.
    pub(crate) fn settings_path(&self, field: &str) -> String {
        match self.config.key.kind {
            Kind::ConfigMap => format!("data.bgpPeering.{field}"),
            _ => format!("spec.bgpPeering.{field}"),
        }
    }

    /// All policies, whether they count or not.
    pub(crate) fn policies(&self) -> impl Iterator<Item = (&'a Resource, &'a Policy)> + use<'a> {
        let all = self.in_force.resources.values();
        all.filter_map(|resource| match &resource.body {
            Body::Policy(policy) => Some((&**resource, policy)),
            _ => None,
        })
    }

    /// Why a policy does not count here; none if it does.
    pub(crate) fn policy_is_out(&self, policy: &Resource) -> Option<&'static str> {
        let advertise = &self.peering.advertise;
        if !advertise.network_policies {
            return Some("advertise.networkPolicies is Off");
        }
        if !advertise.policy_selector.selects(&policy.labels) {
            return Some("advertise.policySelector does not select the policy");
        }
        if policy.key.kind == Kind::CiliumNetworkPolicy && !self.namespace_is_selected(policy) {
            return Some("advertise.namespaceSelector does not select its namespace");
        }
        None
    }

    fn namespace_is_selected(&self, policy: &Resource) -> bool {
        let selector = &self.peering.advertise.namespace_selector;
        if selector.is_empty() {
            return true;
        }
        let name = &policy.key.namespace;
        let mut all = self.in_force.resources.values();
        let object = all.find(|r| r.key.kind == Kind::Namespace && r.key.name == *name);
        let mut labels = object.map_or_else(Labels::new, |object| object.labels.clone());
        labels.insert(NAMESPACE_NAME.into(), Arc::clone(name));
        selector.selects(&labels)
    }

    /// Whether a rule counts on this node.
    pub(crate) fn rule_is_here(&self, rule: &Rule) -> bool {
        let mut selector = rule.node_selector.iter();
        selector.all(|selector| selector.selects(&self.node_labels))
    }

    /// The prefixes that a target names. The name of a group that is not there is the error.
    pub(crate) fn named(
        &self,
        policy: &'a Resource,
        line: u32,
        target: &'a CidrTarget,
    ) -> Result<Box<dyn Iterator<Item = Named<'a>> + 'a>, &'a str> {
        fn of_group<'g>(
            (resource, group): (&'g Resource, &'g CidrGroup),
        ) -> impl Iterator<Item = Named<'g>> {
            group.cidrs.iter().map(move |(prefix, line)| Named {
                prefix: *prefix,
                file: &resource.file,
                line: *line,
                group: Some(resource),
            })
        }
        match target {
            CidrTarget::Cidr(prefix) => Ok(Box::new(std::iter::once(Named {
                prefix: *prefix,
                file: &policy.file,
                line,
                group: None,
            }))),
            CidrTarget::Group(name) => match self.groups.get(&**name) {
                Some(group) => Ok(Box::new(of_group(*group))),
                None => Err(name),
            },
            CidrTarget::Groups(selector) => {
                let all = self.groups.values().copied();
                let selected: Vec<_> = all.filter(|(r, _)| selector.selects(&r.labels)).collect();
                Ok(Box::new(selected.into_iter().flat_map(of_group)))
            }
        }
    }

    /// The password in a Secret, or why there is none.
    pub(crate) fn secret(&self, name: &str) -> Result<Arc<[u8]>, String> {
        let namespace = &self.secrets_namespace;
        let mut all = self.in_force.resources.values();
        let secret = all.find(|resource| {
            let key = &resource.key;
            key.kind == Kind::Secret && key.namespace == *namespace && &*key.name == name
        });
        match secret.map(|secret| &secret.body) {
            Some(Body::Secret(Ok(password))) => Ok(Arc::clone(password)),
            Some(Body::Secret(Err(why))) => Err(format!("Secret {namespace}/{name} {why}")),
            _ => Err(format!("Secret {namespace}/{name} is not there")),
        }
    }

    /// The pod network that a policy CIDR reaches into.
    pub(crate) fn pod_network_of(&self, cidr: IpPrefix) -> Option<IpPrefix> {
        let mut all = self.pod_networks.iter().copied();
        all.find(|pods| pods.contains(cidr) || cidr.contains(*pods))
    }
}

impl Resource {
    fn node(&self) -> Option<&NodeBody> {
        match &self.body {
            Body::Node(node) => Some(node),
            _ => None,
        }
    }
}

fn groups(in_force: &InForce) -> BTreeMap<&str, (&Resource, &CidrGroup)> {
    let all = in_force.resources.values();
    all.filter_map(|resource| match &resource.body {
        Body::CidrGroup(group) => Some((&*resource.key.name, (&**resource, group))),
        _ => None,
    })
    .collect()
}

fn ipv4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) if !address.is_unspecified() => Some(address),
        _ => None,
    }
}

/// A router id for a node without an IPv4 address: FNV-1a of its name, the same after a restart.
fn router_id_of_name(name: &str) -> Ipv4Addr {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, octet| {
        (hash ^ u32::from(octet)).wrapping_mul(0x0100_0193)
    });
    Ipv4Addr::from(hash.max(1))
}
