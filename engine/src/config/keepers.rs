//! Who was asked to keep our routes over a restart (RFC 4724): what has to be known of the settings of a
//! process once it is gone.

use std::collections::BTreeMap;

use codec::{Family, FamilySet};
use serde::{Deserialize, Serialize};

use super::{DesiredState, Neighbor};

/// By instance, and by the neighbor's address or the prefix that it connects from: the families of which
/// the routes were to be kept, as AFI and SAFI.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keepers(BTreeMap<String, BTreeMap<String, Vec<(u16, u8)>>>);

impl Keepers {
    /// Those of a desired state.
    pub fn of(state: &DesiredState) -> Keepers {
        let instances = state.instances.values().filter(|of| of.enabled);
        let by_instance = instances.map(|instance| {
            let named = instance.neighbors.values();
            let named = named.map(|neighbor| (neighbor.address.to_string(), &**neighbor));
            let ranges = instance.dynamic_neighbors.values();
            let ranges = ranges.map(|range| (range.prefix.to_string(), &range.settings));
            let asked = |(_, neighbor): &(String, &Neighbor)| neighbor.graceful_restart.enabled;
            let keepers = named.chain(ranges).filter(asked);
            let keepers = keepers.map(|(place, neighbor)| (place, numbers(neighbor.families)));
            (instance.name.to_string(), keepers.collect())
        });
        Keepers(by_instance.collect())
    }

    /// The families that a neighbor was asked to keep, if any.
    pub fn families(&self, instance: &str, place: &str) -> FamilySet {
        let kept = self.0.get(instance).and_then(|of| of.get(place));
        let families = kept.into_iter().flatten();
        families
            .filter_map(|(afi, safi)| Family::from_afi_safi(*afi, *safi))
            .collect()
    }
}

fn numbers(families: FamilySet) -> Vec<(u16, u8)> {
    let families = families.iter();
    families
        .map(|family| (family.afi(), family.safi()))
        .collect()
}
