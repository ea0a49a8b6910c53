//! What an Adj-RIB-Out says of one prefix.
//!
//! All members are told the first advert, but for the member that its path came from. That one is
//! told nothing; or, as a route server's client, the best of the others (RFC 7947 §2.3): the second
//! advert, which is for it alone. So the members of a route server share one Adj-RIB-Out too. Where MED
//! strikes paths out, the first advert may not be the best of what is eligible for other clients
//! either (`eligible`): these are told others, which is rare.

use ahash::AHashMap;
use codec::Family;
use rib::{PrefixId, SourceId};

use super::advert::AdvertId;
use super::cohort::Sets;
use super::heard::ByPrefix;

/// The adverts of one prefix.
///
/// Invariant: there is a second one only where there is a first whose path came from a member, and
/// there are others only where there is a first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) first: AdvertId,
    pub(super) second: AdvertId,
    /// What single members are told instead of the first, by their sources in ascending order.
    pub(super) others: Others,
}

/// Adverts for single members; mostly there are none, which owns no memory.
pub(super) type Others = Vec<(SourceId, AdvertId)>;

impl Entry {
    /// All but the source are told this, and the source nothing.
    pub(super) fn of(first: AdvertId) -> Entry {
        Entry {
            first,
            second: AdvertId::NONE,
            others: Others::new(),
        }
    }
}

/// The second adverts of all prefixes. Owns no memory where there are none.
#[derive(Default)]
pub(super) struct Seconds {
    adverts: ByPrefix,
    /// How many each member is told, by family.
    told: AHashMap<SourceId, [u64; Family::ALL.len()]>,
    others: AHashMap<(Family, PrefixId), Others>,
}

impl Seconds {
    pub(super) fn get(&self, family: Family, id: PrefixId) -> AdvertId {
        let adverts = &self.adverts[family.index()];
        adverts.get(id.0 as usize).copied().unwrap_or_default()
    }

    pub(super) fn set(&mut self, family: Family, id: PrefixId, advert: AdvertId) {
        let adverts = &mut self.adverts[family.index()];
        let place = id.0 as usize;
        if adverts.len() <= place {
            if advert == AdvertId::NONE {
                return;
            }
            adverts.resize(place + 1, AdvertId::NONE);
        }
        adverts[place] = advert;
    }

    /// What single members are told instead of the first advert.
    pub(super) fn others(&self, family: Family, id: PrefixId) -> Others {
        if self.others.is_empty() {
            return Others::new();
        }
        let others = self.others.get(&(family, id));
        others.cloned().unwrap_or_default()
    }

    /// All of them.
    pub(super) fn adverts(&self) -> &ByPrefix {
        &self.adverts
    }

    /// The prefixes of which single members are told others.
    pub(super) fn with_others(&self) -> Sets {
        let mut sets = Sets::default();
        for (family, id) in self.others.keys() {
            sets[family.index()].insert(*id);
        }
        sets
    }

    pub(super) fn set_others(&mut self, family: Family, id: PrefixId, others: Others) {
        if !others.is_empty() {
            self.others.insert((family, id), others);
        } else if !self.others.is_empty() {
            self.others.remove(&(family, id));
        }
    }

    /// A member is told `by` more of them.
    pub(super) fn count(&mut self, source: SourceId, family: Family, by: i64) {
        let counts = self.told.entry(source).or_default();
        let count = &mut counts[family.index()];
        *count = count.wrapping_add_signed(by);
        if counts.iter().all(|count| *count == 0) {
            self.told.remove(&source);
        }
    }

    /// How many a member is told.
    pub(super) fn told(&self, source: SourceId, family: Family) -> u64 {
        let counts = self.told.get(&source);
        counts.map_or(0, |counts| counts[family.index()])
    }

    /// How many there are.
    pub(super) fn len(&self) -> u64 {
        let adverts = self.adverts.iter().flatten();
        let seconds = adverts.filter(|advert| **advert != AdvertId::NONE).count();
        let others: usize = self.others.values().map(Vec::len).sum();
        (seconds + others) as u64
    }
}
