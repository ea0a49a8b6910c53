//! Which RoutePolicy a neighbor's `import` or `export` names.
//!
//! A policy that says the same as the one in force *is* the one in force, so that its hits go on and
//! nothing is evaluated anew. One that is deleted stays in force while a neighbor names it (`store`);
//! one that was never there lets nothing through.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::evaluate::warning;
use super::fault::Fault;
use super::resource::{Body, Key, Kind, NeighborSpec, Place, Resource};
use super::store::InForce;
use super::view::View;
use crate::config::{DesiredState, Export, Import, Instance, Neighbor};
use crate::policy::{Action, Policy, SetNextHop};

/// The policies that there are, and those that are in force.
pub(crate) struct Policies<'a> {
    in_force: &'a InForce,
    standing: BTreeMap<&'a str, &'a Arc<Policy>>,
    /// What was found already.
    found: BTreeMap<Arc<str>, Arc<Policy>>,
}

/// The policies that a neighbor names.
fn named(neighbor: &Neighbor) -> impl Iterator<Item = &Arc<Policy>> {
    let import = match &neighbor.import {
        Import::Policy(policy) => Some(policy),
        Import::None | Import::All => None,
    };
    let export = match &neighbor.export {
        Export::Policy(policy) => Some(policy),
        Export::None | Export::All | Export::Originated => None,
    };
    import.into_iter().chain(export)
}

/// The policies that neighbors are under, by name.
fn standing(state: &DesiredState) -> BTreeMap<&str, &Arc<Policy>> {
    let instances = state.instances.values();
    let policies = instances.flat_map(neighbors).flat_map(|(_, of)| named(of));
    let there = policies.filter(|policy| !policy.is_missing());
    there.map(|policy| (&**policy.name(), policy)).collect()
}

/// A route policy and who is under it.
#[derive(Clone, Debug)]
pub struct KnownPolicy {
    /// The policy.
    pub policy: Arc<Policy>,
    /// Neighbors whose `import` it is, as they are written.
    pub import_of: Vec<String>,
    /// Neighbors whose `export` it is.
    pub export_of: Vec<String>,
}

/// Every policy that is there or in force, in the order of names, with those of one instance, or of all,
/// that are under it.
pub(crate) fn all(
    in_force: &InForce,
    state: &DesiredState,
    instance: Option<&str>,
) -> Vec<KnownPolicy> {
    let resources = in_force.resources.values();
    let resources = resources.chain(in_force.gone_policies.values());
    let there = resources.filter_map(policy_of);
    let there = there.map(|policy| (&**policy.name(), policy));
    let mut policies: BTreeMap<&str, &Arc<Policy>> = there.collect();
    policies.extend(standing(state));
    let mut all: BTreeMap<&str, KnownPolicy> = policies
        .into_iter()
        .map(|(name, policy)| {
            let known = KnownPolicy {
                policy: Arc::clone(policy),
                import_of: Vec::new(),
                export_of: Vec::new(),
            };
            (name, known)
        })
        .collect();
    let instances = state.instances.values();
    let meant = instances.filter(|of| instance.is_none_or(|wanted| wanted == &*of.name));
    for (who, neighbor) in meant.flat_map(neighbors) {
        if let Import::Policy(policy) = &neighbor.import
            && let Some(known) = all.get_mut(&**policy.name())
        {
            known.import_of.push(who.clone());
        }
        if let Export::Policy(policy) = &neighbor.export
            && let Some(known) = all.get_mut(&**policy.name())
        {
            known.export_of.push(who);
        }
    }
    all.into_values().collect()
}

/// Every neighbor, dynamic ones by prefix, with what it is called.
pub fn neighbors(instance: &Instance) -> impl Iterator<Item = (String, &Neighbor)> {
    let each = instance.neighbors.iter();
    let each = each.map(|(address, neighbor)| (address.to_string(), &**neighbor));
    let dynamic = instance.dynamic_neighbors.iter();
    let dynamic = dynamic.map(|(prefix, range)| (prefix.to_string(), &range.settings));
    each.chain(dynamic)
}

fn policy_of(resource: &Arc<Resource>) -> Option<&Arc<Policy>> {
    match &resource.body {
        Body::RoutePolicy(policy, _) => Some(policy),
        _ => None,
    }
}

fn of(place: &Place) -> (u32, String) {
    (place.line, place.path.to_string())
}

/// On export `PeerAddress` cannot mean the receiver, which would refuse itself as next hop.
fn peer_address_told(view: &View<'_>, spec: &NeighborSpec, policy: &Policy) -> Option<Fault> {
    let mut statements = policy.spec().statements.iter();
    let sets = statements.find(|statement| {
        statement.set.next_hop == Some(SetNextHop::PeerAddress)
            && statement.action != Action::Reject
    })?;
    let why = format!(
        "RoutePolicy {}, statement {} sets nextHop: PeerAddress, which on export is this speaker's \
         own address, as no router takes itself for a next hop: write Self",
        policy.name(),
        sets.name
    );
    Some(warning(view, of(&spec.export_at), why))
}

impl<'a> Policies<'a> {
    pub(crate) fn new(in_force: &'a InForce, state: &'a DesiredState) -> Policies<'a> {
        Policies {
            in_force,
            standing: standing(state),
            found: BTreeMap::new(),
        }
    }

    pub(crate) fn import(
        &mut self,
        view: &View<'_>,
        spec: &NeighborSpec,
        warnings: &mut Vec<Fault>,
    ) -> Import {
        match &spec.import {
            Import::Policy(named) => {
                Import::Policy(self.find(view, &spec.import_at, named.name(), warnings))
            }
            other => other.clone(),
        }
    }

    pub(crate) fn export(
        &mut self,
        view: &View<'_>,
        spec: &NeighborSpec,
        warnings: &mut Vec<Fault>,
    ) -> Export {
        match &spec.export {
            Export::Policy(named) => {
                let policy = self.find(view, &spec.export_at, named.name(), warnings);
                warnings.extend(peer_address_told(view, spec, &policy));
                Export::Policy(policy)
            }
            other => other.clone(),
        }
    }

    fn find(
        &mut self,
        view: &View<'_>,
        place: &Place,
        name: &Arc<str>,
        warnings: &mut Vec<Fault>,
    ) -> Arc<Policy> {
        let (policy, why) = self.look_up(name);
        if let Some(why) = why {
            warnings.push(warning(view, of(place), why));
        }
        policy
    }

    fn look_up(&mut self, name: &Arc<str>) -> (Arc<Policy>, Option<String>) {
        let gone = self.in_force.gone_policies.get(name);
        let (resource, why) = match (self.resource(name), gone) {
            (Some(there), _) => (Some(there), None),
            (None, Some(gone)) => {
                let why = format!(
                    "RoutePolicy {name} is gone: it stays in force until no neighbor names it"
                );
                (policy_of(gone), Some(why))
            }
            (None, None) => {
                let why =
                    format!("RoutePolicy {name} is not there: everything is rejected until it is");
                (None, Some(why))
            }
        };
        if let Some(found) = self.found.get(name) {
            return (Arc::clone(found), why);
        }
        let policy = match (resource, self.standing.get(&**name)) {
            (Some(written), Some(standing)) if written == *standing => Arc::clone(standing),
            (Some(written), _) => Arc::clone(written),
            (None, _) => Arc::new(Policy::missing(name)),
        };
        self.found.insert(Arc::clone(name), Arc::clone(&policy));
        (policy, why)
    }

    fn resource(&self, name: &Arc<str>) -> Option<&'a Arc<Policy>> {
        let key = Key {
            kind: Kind::RoutePolicy,
            namespace: "".into(),
            name: Arc::clone(name),
        };
        policy_of(self.in_force.resources.get(&key)?)
    }
}
