//! Whether the conditions of a statement hold for attributes; prefixes are `trie`'s.

use std::cell::OnceCell;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use codec::{AttributeSet, Family, Origin};
use smallvec::SmallVec;

use super::communities::Pattern;
use super::compile::{Neighbor, within};
use super::gates::Gates;
use super::spec::{CommunityMatch, Match, NeighborMatch, Sources, Validation};
use super::tree::Subject;

/// LOCAL_PREF of a route that has none.
pub(super) const DEFAULT_LOCAL_PREFERENCE: u32 = 100;

/// What conditions ask of an attribute set, each read for the first that asks.
pub(super) struct Facts<'a> {
    family: Family,
    sources: Sources,
    validation: Validation,
    set: AttributeSet<'a>,
    as_path: OnceCell<String>,
    as_path_length: OnceCell<u32>,
    origin_asn: OnceCell<Option<u32>>,
    next_hop: OnceCell<Option<IpAddr>>,
    standard: OnceCell<SmallVec<[u32; 16]>>,
    large: OnceCell<SmallVec<[[u32; 3]; 4]>>,
    extended: OnceCell<SmallVec<[[u8; 8]; 4]>>,
    med: OnceCell<u32>,
    local_preference: OnceCell<u32>,
    origin: OnceCell<Option<Origin>>,
}

impl<'a> Facts<'a> {
    pub(super) fn of(subject: &Subject<'a>) -> Facts<'a> {
        Facts {
            family: subject.family,
            sources: subject.sources,
            validation: subject.validation,
            set: AttributeSet::new(subject.attributes),
            as_path: OnceCell::new(),
            as_path_length: OnceCell::new(),
            origin_asn: OnceCell::new(),
            next_hop: OnceCell::new(),
            standard: OnceCell::new(),
            large: OnceCell::new(),
            extended: OnceCell::new(),
            med: OnceCell::new(),
            local_preference: OnceCell::new(),
            origin: OnceCell::new(),
        }
    }

    /// The conditions that the set may meet, in order.
    pub(super) fn candidates(&self, gates: &Gates, out: &mut Vec<u16>) {
        let as_path = self.set.as_path();
        gates.candidates(
            self.set.communities(),
            as_path.asns(),
            || self.origin_asn(),
            out,
        );
    }

    /// Whether all conditions hold, but for those on prefixes and neighbors.
    pub(super) fn meet(&self, asked: &Match) -> bool {
        asked.families.contains(self.family)
            && asked.sources.is_none_or(|of| of.meets(self.sources))
            && in_range(&asked.med, || self.med())
            && in_range(&asked.local_preference, || self.local_preference())
            && in_range(&asked.as_path_length, || self.as_path_length())
            // RFC-DONE 6811 §3: policy matches on the state, and nothing else follows from it.
            && one_of(&asked.validation, |state| *state == self.validation)
            && one_of(&asked.origins, |origin| Some(*origin) == self.origin())
            && communities(&asked.standard, || self.standard())
            && communities(&asked.large, || self.large())
            && communities(&asked.extended, || self.extended())
            && (asked.origin_asns.is_empty() || self.originated_by(&asked.origin_asns))
            && (asked.next_hops.is_empty()
                || self
                    .next_hop()
                    .is_some_and(|next_hop| within(next_hop, &asked.next_hops)))
            && one_of(&asked.as_path_regexes, |regex| {
                regex.matches(self.as_path())
            })
    }

    fn originated_by(&self, asns: &[RangeInclusive<u32>]) -> bool {
        self.origin_asn()
            .is_some_and(|origin| asns.iter().any(|asns| asns.contains(&origin)))
    }

    fn as_path(&self) -> &str {
        self.as_path.get_or_init(|| self.set.as_path().to_string())
    }

    fn as_path_length(&self) -> u32 {
        let length = || self.set.as_path().path_length();
        *self
            .as_path_length
            .get_or_init(|| u32::try_from(length()).unwrap_or(u32::MAX))
    }

    fn origin_asn(&self) -> Option<u32> {
        let origin = || self.set.as_path().origin_as();
        *self.origin_asn.get_or_init(origin)
    }

    fn next_hop(&self) -> Option<IpAddr> {
        let next_hop = || self.set.next_hop().map(|next_hop| next_hop.address());
        *self.next_hop.get_or_init(next_hop)
    }

    fn standard(&self) -> &[u32] {
        let read = || self.set.communities().collect();
        self.standard.get_or_init(read)
    }

    fn large(&self) -> &[[u32; 3]] {
        let read = || self.set.large_communities().collect();
        self.large.get_or_init(read)
    }

    fn extended(&self) -> &[[u8; 8]] {
        let read = || self.set.extended_communities().collect();
        self.extended.get_or_init(read)
    }

    fn med(&self) -> u32 {
        *self.med.get_or_init(|| self.set.med().unwrap_or(0))
    }

    fn local_preference(&self) -> u32 {
        let said = || self.set.local_pref();
        *self
            .local_preference
            .get_or_init(|| said().unwrap_or(DEFAULT_LOCAL_PREFERENCE))
    }

    fn origin(&self) -> Option<Origin> {
        *self.origin.get_or_init(|| self.set.origin())
    }
}

/// Whether a neighbor is one of those that are meant.
pub(super) fn neighbor(asked: &NeighborMatch, neighbor: &Neighbor<'_>) -> bool {
    (asked.addresses.is_empty() || within(neighbor.address, &asked.addresses))
        && one_of(&asked.asns, |asns| asns.contains(&neighbor.asn))
        && one_of(&asked.kinds, |kind| *kind == neighbor.kind)
        && one_of(&asked.templates, |name| Some(&**name) == neighbor.template)
}

fn in_range(asked: &Option<RangeInclusive<u32>>, value: impl FnOnce() -> u32) -> bool {
    asked.as_ref().is_none_or(|range| range.contains(&value()))
}

/// An empty list asks for nothing.
fn one_of<T>(asked: &[T], holds: impl FnMut(&T) -> bool) -> bool {
    asked.is_empty() || asked.iter().any(holds)
}

fn communities<'v, P: Pattern>(
    asked: &CommunityMatch<P>,
    values: impl FnOnce() -> &'v [P::Value],
) -> bool
where
    P::Value: 'v,
{
    if asked.is_empty() {
        return true;
    }
    let values = values();
    let has = |pattern: &P| values.iter().any(|value| pattern.matches(*value));
    one_of(&asked.any, has) && asked.all.iter().all(has) && !asked.none.iter().any(has)
}
