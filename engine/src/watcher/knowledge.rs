//! What the watcher knows at one moment, for whoever asks: a snapshot that no question holds up.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use codec::IpPrefix;

use super::evaluate::Options;
use super::explain::{Explanation, explain};
use super::fault::Fault;
use super::host::HostNetwork;
use super::policies::{self, KnownPolicy};
use super::store::{Forms, InForce};
use crate::config::{DesiredState, Keepers, RouteSource};

/// The newest [`Knowledge`]; replaced as a whole before the deltas that follow from it go out.
pub type SharedKnowledge = Arc<ArcSwap<Knowledge>>;

/// Resources in force and what they came to.
#[derive(Clone, Debug, Default)]
pub struct Knowledge {
    pub(crate) is_read: bool,
    pub(crate) in_force: Arc<InForce>,
    pub(crate) network: Arc<HostNetwork>,
    pub(crate) options: Options,
    pub(crate) state: Arc<DesiredState>,
    pub(crate) faults: Arc<[Fault]>,
    pub(crate) forms: Arc<Forms>,
}

impl Knowledge {
    /// Whether the resources were read at all.
    pub fn is_read(&self) -> bool {
        self.is_read
    }

    /// What is wrong at this moment, sorted by file and line.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// The desired state.
    pub fn state(&self) -> &Arc<DesiredState> {
        &self.state
    }

    /// The texts that the resources in force came from, if they are kept.
    pub fn forms(&self) -> &Forms {
        &self.forms
    }

    /// The own routes that are announced, by instance.
    pub fn announced(&self) -> BTreeMap<String, Vec<String>> {
        let instances = self.state.instances.values();
        let routes = instances.map(|instance| {
            let prefixes = instance.origins.keys().map(ToString::to_string);
            (instance.name.to_string(), prefixes.collect())
        });
        routes.collect()
    }

    /// Who is asked to keep our routes over a restart.
    pub fn keepers(&self) -> Keepers {
        Keepers::of(&self.state)
    }

    /// What the resources have to do with a prefix.
    pub fn explain(&self, prefix: IpPrefix) -> Explanation {
        explain(
            prefix,
            &self.in_force,
            &self.network,
            &self.options,
            &self.state,
        )
    }

    /// Every route policy that there is or that is in force, by name, with the neighbors of one instance,
    /// or of all, that are under it.
    pub fn policies(&self, instance: Option<&str>) -> Vec<KnownPolicy> {
        policies::all(&self.in_force, &self.state, instance)
    }

    /// The first of the rules that ask for an own route.
    pub fn source(&self, instance: &str, prefix: IpPrefix) -> Option<&RouteSource> {
        let mut instances = self.state.instances.values();
        let instance = instances.find(|candidate| &*candidate.name == instance)?;
        instance.origins.get(&prefix)?.sources.first()
    }
}
