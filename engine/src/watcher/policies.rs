//! Which RoutePolicy a neighbor's `import` or `export` names.
//!
//! A policy that says the same as the one in force *is* the one in force, so that its hits go on and
//! nothing is evaluated anew. One that is deleted stays in force while a neighbor names it; one that
//! was never there lets nothing through.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::evaluate::warning;
use super::fault::Fault;
use super::resource::{Body, Key, Kind, NeighborSpec};
use super::store::InForce;
use super::view::View;
use crate::config::{DesiredState, Export, Import, Neighbor};
use crate::policy::Policy;

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
    let neighbors = instances.flat_map(|instance| {
        let dynamic = instance.dynamic_neighbors.values();
        let each = instance.neighbors.values().map(|neighbor| &**neighbor);
        each.chain(dynamic.map(|range| &range.settings))
    });
    let policies = neighbors.flat_map(named);
    let there = policies.filter(|policy| !policy.is_missing());
    there.map(|policy| (&**policy.name(), policy)).collect()
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
                Import::Policy(self.find(view, (spec, "import"), named.name(), warnings))
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
                Export::Policy(self.find(view, (spec, "export"), named.name(), warnings))
            }
            other => other.clone(),
        }
    }

    fn find(
        &mut self,
        view: &View<'_>,
        (spec, field): (&NeighborSpec, &str),
        name: &Arc<str>,
        warnings: &mut Vec<Fault>,
    ) -> Arc<Policy> {
        let (policy, why) = self.look_up(name);
        if let Some(why) = why {
            let at = (spec.line, format!("{}.{field}", spec.path));
            warnings.push(warning(view, at, why));
        }
        policy
    }

    fn look_up(&mut self, name: &Arc<str>) -> (Arc<Policy>, Option<String>) {
        let standing = self.standing.get(&**name).copied();
        let resource = self.resource(name);
        let why = match (resource, standing) {
            (Some(_), _) => None,
            (None, Some(_)) => Some(format!(
                "RoutePolicy {name} is gone: it stays in force until no neighbor names it"
            )),
            (None, None) => Some(format!(
                "RoutePolicy {name} is not there: everything is rejected until it is"
            )),
        };
        if let Some(found) = self.found.get(name) {
            return (Arc::clone(found), why);
        }
        let policy = match (resource, standing) {
            (Some(written), Some(standing)) if written == standing => Arc::clone(standing),
            (Some(written), _) => Arc::clone(written),
            (None, Some(standing)) => Arc::clone(standing),
            (None, None) => Arc::new(Policy::missing(name)),
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
        match &self.in_force.resources.get(&key)?.body {
            Body::RoutePolicy(policy) => Some(policy),
            _ => None,
        }
    }
}
