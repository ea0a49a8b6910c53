//! Which prefix ids a group has in its hands: what its members were told, or have yet to be told.
//!
//! The table gives an id that no shard holds to another prefix (`RibWriter::reclaim`). Invariant:
//! an id of which nothing here is left can only come back by a path, through [`Group::apply`].

use codec::Family;
use rib::{IdSet, PrefixId};

use super::Group;
use super::advert::AdvertId;
use super::cohort::Cohort;

impl Group {
    /// Whether the group still needs the id of a prefix that has no path: it is announced, or its
    /// end has yet to be told to somebody.
    pub fn holds(&self, family: Family, id: PrefixId) -> bool {
        #[cfg(test)]
        if self.fault == Some(super::Fault::NothingHeld) {
            return false;
        }
        let mut cohorts = std::iter::once(&self.in_sync).chain(&self.lagging);
        self.advert_of(family, id) != AdvertId::NONE
            || !self.paths.get(family, id).all().is_empty()
            || cohorts.any(|cohort| cohort_holds(cohort, family, id))
    }
}

fn cohort_holds(cohort: &Cohort, family: Family, id: PrefixId) -> bool {
    let in_set = |set: &IdSet| !set.is_empty() && set.contains(id);
    let mut sets = cohort.sets().into_iter();
    sets.any(|sets| in_set(&sets[family.index()])) || cohort.packer.holds(family, id)
}
