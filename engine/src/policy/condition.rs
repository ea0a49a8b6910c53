//! Whether the conditions of a statement hold for attributes; prefixes are `trie`'s.

use std::cell::OnceCell;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use codec::{AttributeSet, Family, Origin};

use super::communities::Pattern;
use super::compile::{Neighbor, within};
use super::gates::Gates;
use super::spec::{CommunityMatch, Match, NeighborMatch, Sources, Validation};
use super::tree::Subject;

/// LOCAL_PREF of a route that has none.
const DEFAULT_LOCAL_PREFERENCE: u32 = 100;

/// What conditions ask of an attribute set, read once.
pub(super) struct Facts<'a> {
    family: Family,
    sources: Sources,
    validation: Validation,
    set: AttributeSet<'a>,
    next_hop: Option<IpAddr>,
    as_path_length: u32,
    origin_asn: Option<u32>,
    /// Made for the first that asks.
    as_path: OnceCell<String>,
    standard: Vec<u32>,
    large: Vec<[u32; 3]>,
    extended: Vec<[u8; 8]>,
    med: u32,
    local_preference: u32,
    origin: Option<Origin>,
}

impl<'a> Facts<'a> {
    pub(super) fn of(subject: &Subject<'a>) -> Facts<'a> {
        let set = AttributeSet::new(subject.attributes);
        let as_path = set.as_path();
        Facts {
            family: subject.family,
            sources: subject.sources,
            validation: subject.validation,
            set,
            next_hop: set.next_hop().map(|next_hop| next_hop.address()),
            as_path_length: u32::try_from(as_path.path_length()).unwrap_or(u32::MAX),
            origin_asn: as_path.origin_as(),
            as_path: OnceCell::new(),
            standard: set.communities().collect(),
            large: set.large_communities().collect(),
            extended: set.extended_communities().collect(),
            med: set.med().unwrap_or(0),
            local_preference: set.local_pref().unwrap_or(DEFAULT_LOCAL_PREFERENCE),
            origin: set.origin(),
        }
    }

    /// The statements of a policy from one on that the set may meet, in order.
    pub(super) fn candidates(&self, gates: &Gates, from: u16, out: &mut Vec<u16>) {
        let asns = self.set.as_path();
        gates.candidates(from, &self.standard, asns.asns(), self.origin_asn, out);
    }

    /// Whether all conditions hold, but for those on prefixes and neighbors.
    pub(super) fn meet(&self, asked: &Match) -> bool {
        asked.families.contains(self.family)
            && asked.sources.is_none_or(|of| of.meets(self.sources))
            && in_range(&asked.med, self.med)
            && in_range(&asked.local_preference, self.local_preference)
            && in_range(&asked.as_path_length, self.as_path_length)
            // RFC-DONE 6811 §3: policy matches on the state, and nothing else follows from it.
            && one_of(&asked.validation, |state| *state == self.validation)
            && one_of(&asked.origins, |origin| Some(*origin) == self.origin)
            && communities(&asked.standard, &self.standard)
            && communities(&asked.large, &self.large)
            && communities(&asked.extended, &self.extended)
            && (asked.origin_asns.is_empty() || self.originated_by(&asked.origin_asns))
            && (asked.next_hops.is_empty()
                || self
                    .next_hop
                    .is_some_and(|next_hop| within(next_hop, &asked.next_hops)))
            && one_of(&asked.as_path_regexes, |regex| {
                regex.matches(self.as_path())
            })
    }

    fn originated_by(&self, asns: &[RangeInclusive<u32>]) -> bool {
        self.origin_asn
            .is_some_and(|origin| asns.iter().any(|asns| asns.contains(&origin)))
    }

    fn as_path(&self) -> &str {
        self.as_path.get_or_init(|| self.set.as_path().to_string())
    }
}

/// Whether a neighbor is one of those that are meant.
pub(super) fn neighbor(asked: &NeighborMatch, neighbor: &Neighbor<'_>) -> bool {
    (asked.addresses.is_empty() || within(neighbor.address, &asked.addresses))
        && one_of(&asked.asns, |asns| asns.contains(&neighbor.asn))
        && one_of(&asked.kinds, |kind| *kind == neighbor.kind)
        && one_of(&asked.templates, |name| Some(&**name) == neighbor.template)
}

fn in_range(asked: &Option<RangeInclusive<u32>>, value: u32) -> bool {
    asked.as_ref().is_none_or(|range| range.contains(&value))
}

/// An empty list asks for nothing.
fn one_of<T>(asked: &[T], holds: impl FnMut(&T) -> bool) -> bool {
    asked.is_empty() || asked.iter().any(holds)
}

fn communities<P: Pattern>(asked: &CommunityMatch<P>, values: &[P::Value]) -> bool {
    let has = |pattern: &P| values.iter().any(|value| pattern.matches(*value));
    one_of(&asked.any, has) && asked.all.iter().all(has) && !asked.none.iter().any(has)
}
