//! What is known of all routes that come to a policy, since the settings say who is under it.
//!
//! Invariant: what is given holds for each of them, wherever they stand in the policy.

use codec::FamilySet;

use super::coverage::Changed;
use super::spec::{Match, NeighborMatch, Sources};

/// What every route has that comes to a policy; by itself: anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// It is of one of these families.
    pub families: FamilySet,
    /// It comes from no other sources than these.
    pub sources: Sources,
    /// Its neighbor is one of these; an empty list: anyone.
    pub neighbors: NeighborMatch,
    /// LOCAL_PREF is not taken from who says it, so that nothing but the policy gives it one.
    pub without_local_preference: bool,
    /// AS_PATH begins with the neighbor's AS, sets aside.
    pub begins_with_peer: bool,
}

impl Default for Given {
    fn default() -> Given {
        Given {
            families: FamilySet::ALL,
            sources: Sources::ALL,
            neighbors: NeighborMatch::default(),
            without_local_preference: false,
            begins_with_peer: false,
        }
    }
}

impl Given {
    /// Why no route that comes to the policy is so; `changed`: what statements before may have set.
    pub(super) fn contradicts(
        &self,
        asked: &Match,
        families: FamilySet,
        changed: Changed,
    ) -> Option<&'static str> {
        if !families.is_empty() && families.intersection(self.families).is_empty() {
            return Some("no neighbor that names the policy has its `families`");
        }
        if let Some(sources) = asked.sources
            && !sources.meets(self.sources)
        {
            return Some("no route that comes to the policy is of its `sources`");
        }
        if self.without_local_preference
            && !changed.local_preference
            && let Some(range) = &asked.local_preference
            && !range.contains(&super::condition::DEFAULT_LOCAL_PREFERENCE)
        {
            return Some(
                "LOCAL_PREF of external neighbors is not taken, so that it is 100, which its \
                 `localPreference` leaves out",
            );
        }
        None
    }

    /// Says it in a condition.
    pub(super) fn narrow(&self, asked: &mut Match) {
        fn or<T: Clone>(list: &mut Vec<T>, given: &[T]) {
            if list.is_empty() {
                list.extend_from_slice(given);
            }
        }
        asked.families = asked.families.intersection(self.families);
        if self.sources != Sources::ALL {
            let sources = asked.sources.unwrap_or(Sources::ALL).bits() & self.sources.bits();
            asked.sources = Some(Sources::from_bits(sources));
        }
        if self.neighbors != NeighborMatch::default() {
            let neighbors = asked.neighbors.get_or_insert_default();
            or(&mut neighbors.addresses, &self.neighbors.addresses);
            or(&mut neighbors.asns, &self.neighbors.asns);
            or(&mut neighbors.kinds, &self.neighbors.kinds);
            or(&mut neighbors.templates, &self.neighbors.templates);
        }
        if self.begins_with_peer {
            let length = asked.as_path_length.take().unwrap_or(0..=u32::MAX);
            asked.as_path_length = Some((*length.start()).max(1)..=*length.end());
        }
    }
}

/// Why none of our own routes is so, where a condition is about these alone: they have an empty
/// AS_PATH, ORIGIN IGP, no MED and no next hop.
pub(super) fn of_own(asked: &Match, changed: Changed) -> Option<&'static str> {
    let sources = asked.sources?;
    if sources.meets(Sources::RECEIVED) {
        return None;
    }
    if !asked.origins.is_empty() && !asked.origins.contains(&codec::Origin::Igp) {
        return Some("own routes have ORIGIN IGP");
    }
    let no_zero = asked.med.as_ref().is_some_and(|med| *med.start() > 0);
    if no_zero && !changed.med {
        return Some("own routes have no MED, which counts as 0");
    }
    if !asked.next_hops.is_empty() && !changed.next_hop {
        return Some("own routes have no next hop before export gives them one");
    }
    let long = asked.as_path_length.as_ref();
    let long = long.is_some_and(|length| *length.start() > 0);
    let finds_empty = || asked.as_path_regexes.iter().any(|regex| regex.matches(""));
    let asks_more = !asked.as_path_regexes.is_empty() && !finds_empty();
    if (long || asks_more || !asked.origin_asns.is_empty()) && !changed.as_path {
        return Some("own routes have an empty AS_PATH");
    }
    None
}
