//! The default gateways, for neighbors that are found by them (`autoDiscovery`).
//!
//! Read once for each form of the settings, and not followed: a session does not come and go with a
//! route that a routing daemon is about to change.

use std::sync::Arc;

use codec::Family;

use super::host::Host;
use super::resource::{Resource, Whom};
use super::store::InForce;
use crate::config::PeerAddress;

/// The gateways of both families' default routes, and the settings they were looked up for.
#[derive(Clone, Debug, Default)]
pub struct Gateways {
    settings: Option<Arc<Resource>>,
    by_family: [Vec<PeerAddress>; Family::ALL.len()],
}

impl Gateways {
    /// Looks again if the settings are new.
    pub fn follow(&mut self, in_force: &InForce, host: &dyn Host) {
        let same = match (&self.settings, &in_force.config) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new) || old.peering() == new.peering(),
            (old, new) => old.is_none() && new.is_none(),
        };
        if same {
            return;
        }
        self.settings.clone_from(&in_force.config);
        let peering = in_force.config.as_ref().and_then(|config| config.peering());
        let neighbors = || peering.into_iter().flat_map(|peering| &peering.neighbors);
        for family in Family::ALL {
            let is_wanted = neighbors().any(|spec| spec.whom == Whom::DefaultGateways(family));
            self.by_family[family.index()] = match is_wanted {
                true => host.default_gateways(family),
                false => Vec::new(),
            };
        }
    }

    /// Those of a family, in ascending order.
    pub fn of(&self, family: Family) -> &[PeerAddress] {
        &self.by_family[family.index()]
    }
}
