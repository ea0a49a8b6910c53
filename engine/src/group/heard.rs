//! What members heard in the group that they come from, so that here they are told only what differs.
//!
//! Two groups tell a prefix alike where the exported forms of their adverts are alike, which is known
//! by the forms' hashes, as between two adverts of one group. Values only; nothing here tells anybody.
//!
//! Invariant: what a [`Heard`] says of a prefix is so until the prefix has been told here: it is asked
//! for what a cohort's walk still owes, once.

use std::sync::Arc;

use codec::Family;
use rib::{PrefixId, SourceId};

use super::advert::AdvertId;
use super::cohort::{PathIds, Sets};

/// What members of a group may hold, for the group that they go to.
#[derive(Default)]
pub struct Before {
    /// The prefixes that any of them may hold.
    pub ids: Sets,
    /// With ADD-PATH, under which identifiers.
    pub path_ids: PathIds,
    /// What they were told of them, as far as that is known.
    pub(super) heard: Option<Arc<Heard>>,
}

/// The Adj-RIB-Out of another group. Shared, since cohorts split.
pub(super) struct Heard {
    /// The first and the second adverts by prefix, as in an [`Entry`](super::entry::Entry).
    pub(super) adverts: [ByPrefix; 2],
    /// Of each advert.
    pub(super) forms: Vec<Form>,
    /// Of these it is not known what members were told.
    pub(super) unknown: Sets,
}

/// Adverts by family and prefix.
pub(super) type ByPrefix = [Vec<AdvertId>; Family::ALL.len()];

/// What is told of a prefix: the hash of the exported form, and the source of the path.
pub(super) type Form = (u64, SourceId);

impl Heard {
    /// What all were told of a prefix, and what the source of that was told instead; none at all: they
    /// were told nothing, or it is not known.
    pub(super) fn forms(&self, family: Family, id: PrefixId) -> Option<(Form, Option<Form>)> {
        if self.unknown[family.index()].contains(id) {
            return None;
        }
        let form = |adverts: &ByPrefix| {
            let advert = *adverts[family.index()].get(id.index())?;
            let form = self.forms.get(advert.index()).copied();
            form.filter(|_| advert != AdvertId::NONE)
        };
        let [first, second] = &self.adverts;
        Some((form(first)?, form(second)))
    }
}
