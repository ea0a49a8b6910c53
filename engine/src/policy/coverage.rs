//! Whether one condition holds for all that another one is about.
//!
//! Sound, not complete: what is said to be covered is; of what is not plain from the lists
//! themselves nothing is said. A range of prefixes is covered by one range, never by several together.

use std::ops::RangeInclusive;

use codec::{Family, FamilySet, IpPrefix};

use super::communities::Pattern;
use super::spec::{CommunityMatch, Match, NeighborMatch, PrefixRange, RoutePolicy, Set};

/// Looks for coverage, as long as that takes no more than so many comparisons.
pub(super) struct Coverage<'p> {
    policy: &'p RoutePolicy,
    left: usize,
}

/// What statements in between change: what asks for it may hold before and not behind them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Changed {
    next_hop: bool,
    as_path: bool,
    med: bool,
    local_preference: bool,
    standard: bool,
    large: bool,
    extended: bool,
}

impl Changed {
    /// And what this changes.
    pub(super) fn and(self, set: &Set) -> Changed {
        Changed {
            next_hop: self.next_hop || set.next_hop.is_some(),
            as_path: self.as_path || set.prepend.is_some(),
            med: self.med || set.med.is_some(),
            local_preference: self.local_preference || set.local_preference.is_some(),
            standard: self.standard || !set.standard.is_empty(),
            large: self.large || !set.large.is_empty(),
            extended: self.extended || !set.extended.is_empty(),
        }
    }

    /// Whether a condition asks for any of it.
    pub(super) fn matters_to(self, asked: &Match) -> bool {
        let asks_path = !asked.as_path_regexes.is_empty()
            || asked.as_path_length.is_some()
            || !asked.origin_asns.is_empty();
        (self.next_hop && !asked.next_hops.is_empty())
            || (self.as_path && asks_path)
            || (self.med && asked.med.is_some())
            || (self.local_preference && asked.local_preference.is_some())
            || (self.standard && !asked.standard.is_empty())
            || (self.large && !asked.large.is_empty())
            || (self.extended && !asked.extended.is_empty())
    }
}

impl<'p> Coverage<'p> {
    pub(super) fn new(policy: &'p RoutePolicy, comparisons_max: usize) -> Coverage<'p> {
        Coverage {
            policy,
            left: comparisons_max,
        }
    }

    /// Whether `wide` holds wherever `narrow` does. Once too much was compared, false.
    pub(super) fn covers(&mut self, wide: &Match, narrow: &Match) -> bool {
        self.spend(1)
            && neighbors(wide.neighbors.as_ref(), narrow.neighbors.as_ref())
            && wide.sources.is_none_or(|wide| {
                let narrow = narrow.sources;
                narrow.is_some_and(|narrow| narrow.bits() & !wide.bits() == 0)
            })
            && range(&wide.med, &narrow.med)
            && range(&wide.local_preference, &narrow.local_preference)
            && range(&wide.as_path_length, &narrow.as_path_length)
            && all_of(&wide.origins, &narrow.origins, |a, b| a == b)
            && all_of(&wide.validation, &narrow.validation, |a, b| a == b)
            && communities(&wide.standard, &narrow.standard)
            && communities(&wide.large, &narrow.large)
            && communities(&wide.extended, &narrow.extended)
            && all_of(&wide.origin_asns, &narrow.origin_asns, within)
            && all_of(&wide.next_hops, &narrow.next_hops, contains)
            && all_of(&wide.as_path_regexes, &narrow.as_path_regexes, |a, b| {
                a == b
            })
            && self.of_families(narrow, wide.families)
            && self.prefixes(wide, narrow)
    }

    fn spend(&mut self, comparisons: usize) -> bool {
        let left = self.left.checked_sub(comparisons);
        self.left = left.unwrap_or(0);
        left.is_some()
    }

    /// Whether a condition is about routes of these families alone.
    fn of_families(&mut self, narrow: &Match, families: FamilySet) -> bool {
        let within = |family| families.contains(family) || !narrow.families.contains(family);
        if Family::ALL.into_iter().all(within) {
            return true;
        }
        let policy = self.policy;
        let mut all = ranges(policy, narrow);
        narrow.by_prefix && all.all(|range| self.spend(1) && within(range.prefix.family()))
    }

    fn prefixes(&mut self, wide: &Match, narrow: &Match) -> bool {
        if !wide.by_prefix {
            return true;
        }
        if !narrow.by_prefix {
            return false;
        }
        let policy = self.policy;
        // A set that both name needs no look inside.
        let sets = narrow.prefix_sets.iter();
        let others = sets.filter(|set| !wide.prefix_sets.contains(set));
        let others = others.filter_map(|set| policy.sets.get(usize::from(*set)));
        let others = others.flat_map(|set| &set.ranges).chain(&narrow.prefixes);
        for narrow in others {
            let mut all = ranges(policy, wide);
            if !all.any(|wide| self.spend(1) && range_contains(wide, narrow)) {
                return false;
            }
        }
        true
    }
}

/// The ranges of all lists of a condition.
pub(super) fn ranges<'p>(
    policy: &'p RoutePolicy,
    of: &'p Match,
) -> impl Iterator<Item = &'p PrefixRange> {
    let sets = of.prefix_sets.iter();
    let sets = sets.filter_map(|set| policy.sets.get(usize::from(*set)));
    sets.flat_map(|set| &set.ranges).chain(&of.prefixes)
}

fn range_contains(wide: &PrefixRange, narrow: &PrefixRange) -> bool {
    wide.prefix.contains(narrow.prefix)
        && wide.shortest <= narrow.shortest
        && narrow.longest <= wide.longest
}

fn neighbors(wide: Option<&NeighborMatch>, narrow: Option<&NeighborMatch>) -> bool {
    let Some(wide) = wide else {
        return true;
    };
    let nothing = NeighborMatch::default();
    let narrow = narrow.unwrap_or(&nothing);
    all_of(&wide.addresses, &narrow.addresses, contains)
        && all_of(&wide.asns, &narrow.asns, within)
        && all_of(&wide.kinds, &narrow.kinds, |a, b| a == b)
        && all_of(&wide.templates, &narrow.templates, |a, b| a == b)
}

/// Of two lists of which one element has to hold: each of the narrow one is covered. An empty one
/// asks for nothing.
fn all_of<T>(wide: &[T], narrow: &[T], covers: impl Fn(&T, &T) -> bool) -> bool {
    let is_covered = |narrow: &T| wide.iter().any(|wide| covers(wide, narrow));
    wide.is_empty() || (!narrow.is_empty() && narrow.iter().all(is_covered))
}

fn contains(wide: &IpPrefix, narrow: &IpPrefix) -> bool {
    wide.contains(*narrow)
}

fn within(wide: &RangeInclusive<u32>, narrow: &RangeInclusive<u32>) -> bool {
    wide.contains(narrow.start()) && wide.contains(narrow.end())
}

fn range(wide: &Option<RangeInclusive<u32>>, narrow: &Option<RangeInclusive<u32>>) -> bool {
    let any = 0..=u32::MAX;
    let wide = wide.as_ref().unwrap_or(&any);
    within(wide, narrow.as_ref().unwrap_or(&any))
}

fn communities<P: Pattern + PartialEq>(
    wide: &CommunityMatch<P>,
    narrow: &CommunityMatch<P>,
) -> bool {
    let covers = |wide: &P, narrow: &P| {
        wide == narrow || narrow.only().is_some_and(|only| wide.matches(only))
    };
    let in_any = |narrow: &P| wide.any.iter().any(|wide| covers(wide, narrow));
    let any = all_of(&wide.any, &narrow.any, covers) || narrow.all.iter().any(in_any);
    let has = |wide: &P| narrow.all.iter().any(|narrow| covers(wide, narrow));
    let lacks = |wide: &P| narrow.none.iter().any(|narrow| covers(narrow, wide));
    any && wide.all.iter().all(has) && wide.none.iter().all(lacks)
}
