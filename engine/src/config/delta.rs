//! The difference between two desired states, as the messages that travel to the shards.
//!
//! [`diff`] is pure: the daemon's watcher and the simulator both use it. Invariant: a receiver
//! that holds `old` and applies `diff(old, new)` in order holds `new`, as far as it concerns
//! sessions and routes (who asked for a route does not travel).

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use codec::IpPrefix;

use super::{
    DynamicNeighbors, Instance, InstanceId, Neighbor, Origin, OriginAttributes, PeerAddress, Rpki,
    Selection,
};
use crate::policy::Sources;

/// Everything that the resources ask of this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DesiredState {
    /// The BGP instances, at most 16.
    pub instances: BTreeMap<InstanceId, Instance>,
}

/// What an instance has beside its neighbors and routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceSettings {
    /// `default`, or the name of a BGP instance.
    pub name: Arc<str>,
    /// False: every session is closed with Cease/Administrative Shutdown.
    pub enabled: bool,
    /// BGP identifier (RFC 6286).
    pub router_id: Ipv4Addr,
    /// Where connections are accepted; empty: only connect.
    pub listen: Vec<SocketAddr>,
    /// Octets of the process's memory past which peers that use more than their share are not read.
    pub memory_max: u64,
    /// The caches by whose data origins are validated (RFC 8210).
    pub rpki: Arc<Rpki>,
    /// How best paths are chosen.
    pub selection: Selection,
}

/// One step from an old desired state towards a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delta {
    /// A new instance, or new settings of one.
    Instance(InstanceId, Arc<InstanceSettings>),
    /// The instance with its neighbors and routes is gone.
    InstanceGone(InstanceId),
    /// New neighbors, and new settings of others, all of one change together: peers that are told
    /// the same before and after stay together.
    Neighbors(InstanceId, Box<[Arc<Neighbor>]>),
    /// The neighbor of this address is gone.
    NeighborGone(InstanceId, PeerAddress),
    /// All prefixes of dynamic neighbors, since one of them came, changed or went.
    DynamicNeighbors(InstanceId, Box<[Arc<DynamicNeighbors>]>),
    /// Routes of our own that come, change or go; each prefix once, in ascending order.
    Origins(InstanceId, Box<[OriginChange]>),
}

/// What becomes of one route of our own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginChange {
    /// The prefix.
    pub prefix: IpPrefix,
    /// What it is announced with from now on; none: it is withdrawn.
    pub attributes: Option<Arc<OriginAttributes>>,
    /// Of what kinds the resources are that ask for it.
    pub kinds: Sources,
}

/// The steps that lead from `old` to `new`, in the order in which they must be applied.
///
/// Within an instance: settings, neighbors that go, routes, then neighbors that come. A new
/// session so finds the table complete, and its End-of-RIB is true.
pub fn diff(old: &DesiredState, new: &DesiredState) -> Vec<Delta> {
    let mut deltas: Vec<Delta> = old
        .instances
        .keys()
        .filter(|id| !new.instances.contains_key(id))
        .map(|id| Delta::InstanceGone(*id))
        .collect();
    for (id, instance) in &new.instances {
        diff_instance(*id, old.instances.get(id), instance, &mut deltas);
    }
    deltas
}

fn diff_instance(id: InstanceId, old: Option<&Instance>, new: &Instance, deltas: &mut Vec<Delta>) {
    let settings = new.settings();
    if old.map(Instance::settings).as_ref() != Some(&settings) {
        deltas.push(Delta::Instance(id, Arc::new(settings)));
    }
    let no_neighbors = BTreeMap::new();
    let old_neighbors = old.map_or(&no_neighbors, |old| &old.neighbors);
    for address in old_neighbors.keys() {
        if !new.neighbors.contains_key(address) {
            deltas.push(Delta::NeighborGone(id, *address));
        }
    }
    let no_origins = BTreeMap::new();
    let changes = diff_origins(old.map_or(&no_origins, |old| &old.origins), &new.origins);
    if !changes.is_empty() {
        deltas.push(Delta::Origins(id, changes.into_boxed_slice()));
    }
    let changed: Box<[_]> = new
        .neighbors
        .iter()
        .filter(|(address, neighbor)| old_neighbors.get(address) != Some(neighbor))
        .map(|(_, neighbor)| Arc::clone(neighbor))
        .collect();
    if !changed.is_empty() {
        deltas.push(Delta::Neighbors(id, changed));
    }
    let none = BTreeMap::new();
    if old.map_or(&none, |old| &old.dynamic_neighbors) != &new.dynamic_neighbors {
        let ranges = new.dynamic_neighbors.values().cloned().collect();
        deltas.push(Delta::DynamicNeighbors(id, ranges));
    }
}

/// One walk over both sorted maps.
fn diff_origins(
    old: &BTreeMap<IpPrefix, Origin>,
    new: &BTreeMap<IpPrefix, Origin>,
) -> Vec<OriginChange> {
    let mut changes = Vec::new();
    let mut old = old.iter().peekable();
    let withdrawn = |prefix| OriginChange {
        prefix,
        attributes: None,
        kinds: Sources::NONE,
    };
    for (prefix, origin) in new {
        while let Some((gone, _)) = old.next_if(|(before, _)| *before < prefix) {
            changes.push(withdrawn(*gone));
        }
        let same = old
            .next_if(|(before, _)| *before == prefix)
            .is_some_and(|(_, before)| same_attributes(before, origin));
        if !same {
            changes.push(OriginChange {
                prefix: *prefix,
                attributes: Some(Arc::clone(&origin.attributes)),
                kinds: origin.kinds,
            });
        }
    }
    changes.extend(old.map(|(gone, _)| withdrawn(*gone)));
    changes
}

fn same_attributes(old: &Origin, new: &Origin) -> bool {
    let alike = Arc::ptr_eq(&old.attributes, &new.attributes) || old.attributes == new.attributes;
    alike && old.kinds == new.kinds
}

impl Instance {
    /// What of this instance travels as [`Delta::Instance`].
    pub fn settings(&self) -> InstanceSettings {
        InstanceSettings {
            name: Arc::clone(&self.name),
            enabled: self.enabled,
            router_id: self.router_id,
            listen: self.listen.clone(),
            memory_max: self.memory_max,
            rpki: Arc::clone(&self.rpki),
            selection: self.selection,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ipnet::IpNet;

    fn prefix(text: &str) -> IpPrefix {
        IpPrefix::from(text.parse::<IpNet>().unwrap())
    }

    fn attributes(local_preference: u32) -> Arc<OriginAttributes> {
        Arc::new(OriginAttributes {
            communities: vec![],
            large_communities: vec![],
            local_preference,
        })
    }

    fn state(origins: &[(&str, u32)]) -> DesiredState {
        let origins = origins
            .iter()
            .map(|(text, preference)| {
                let origin = Origin {
                    attributes: attributes(*preference),
                    sources: vec![],
                    kinds: Sources::NETWORK_POLICY,
                };
                (prefix(text), origin)
            })
            .collect();
        let instance = Instance {
            origins,
            ..Instance::new(Ipv4Addr::new(10, 0, 0, 5))
        };
        DesiredState {
            instances: BTreeMap::from([(InstanceId(0), instance)]),
        }
    }

    #[test]
    fn only_what_changed_travels() {
        let old = state(&[
            ("10.0.1.0/24", 100),
            ("10.0.2.0/24", 100),
            ("2001:db8::/32", 100),
        ]);
        let new = state(&[
            ("10.0.0.0/24", 100),
            ("10.0.2.0/24", 200),
            ("2001:db8::/32", 100),
        ]);
        let expected = [
            ("10.0.0.0/24", Some(attributes(100))),
            ("10.0.1.0/24", None),
            ("10.0.2.0/24", Some(attributes(200))),
        ]
        .map(|(text, attributes)| OriginChange {
            prefix: prefix(text),
            kinds: match attributes {
                Some(_) => Sources::NETWORK_POLICY,
                None => Sources::NONE,
            },
            attributes,
        });
        assert_eq!(
            diff(&old, &new),
            [Delta::Origins(InstanceId(0), Box::new(expected))]
        );
        assert_eq!(diff(&new, &new), []);
    }

    #[test]
    fn an_instance_comes_with_settings_first_and_goes_as_a_whole() {
        let new = state(&[("10.0.1.0/24", 100)]);
        let deltas = diff(&DesiredState::default(), &new);
        assert!(matches!(deltas[0], Delta::Instance(InstanceId(0), _)));
        assert!(matches!(&deltas[1], Delta::Origins(_, changes) if changes.len() == 1));
        assert_eq!(
            diff(&new, &DesiredState::default()),
            [Delta::InstanceGone(InstanceId(0))]
        );
    }
}
