//! How what one condition is about lies to what another one is about: whether it covers it, and whether
//! they have nothing in common.
//!
//! Sound, not complete: what is said to be covered is, and what is said to be apart is; of what is not
//! plain, or takes too long, neither is said. A range of prefixes is covered by one range, never by
//! several together: that is for `cut`.

use std::cell::{Cell, OnceCell};
use std::ops::RangeInclusive;

use codec::{Family, FamilySet, IpPrefix};
use smallvec::SmallVec;

use super::communities::Pattern;
use super::prefix_ranges::{Index, of_family, range_contains, ranges_meet};
use super::spec::{CommunityMatch, Match, NeighborMatch, PrefixRange, RoutePolicy, Set, Sources};

/// Looks for coverage, as long as that takes no more than so many comparisons.
pub(super) struct Coverage<'p> {
    policy: &'p RoutePolicy,
    left: Cell<usize>,
    /// Of the policy's prefix sets, of those in which something was looked for.
    indices: Vec<OnceCell<Index>>,
}

/// What a condition may ask about, each by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aspect {
    Prefix,
    Addresses,
    PeerAsns,
    Kinds,
    Templates,
    Sources,
    Med,
    LocalPreference,
    PathLength,
    Origins,
    Validation,
    Standard,
    Large,
    Extended,
    OriginAsns,
    NextHops,
    Regexes,
}

/// The aspects in which a condition does not cover another one.
pub(super) type Gaps = SmallVec<[Aspect; 2]>;

/// Gaps that are told; of more nothing follows.
const GAPS_MAX: usize = 2;

/// Ranges of a set that are compared one by one; more are looked up.
const COMPARED_MAX: usize = 32;

/// Pairs of ranges of prefixes that are looked at to find out whether two lists meet.
const PAIRS_MAX: usize = 256;

/// What statements change: what asks for it may hold before and not behind them.
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
    /// All that there is to change.
    pub(super) const EVERYTHING: Changed = Changed {
        next_hop: true,
        as_path: true,
        med: true,
        local_preference: true,
        standard: true,
        large: true,
        extended: true,
    };

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
            left: Cell::new(comparisons_max),
            indices: policy.sets.iter().map(|_| OnceCell::new()).collect(),
        }
    }

    pub(super) fn spend(&self, comparisons: usize) -> bool {
        let left = self.left.get().checked_sub(comparisons);
        self.left.set(left.unwrap_or(0));
        left.is_some()
    }

    /// Whether all that may be compared has been.
    pub(super) fn is_spent(&self) -> bool {
        self.left.get() == 0
    }

    /// Whether `wide` holds wherever `narrow` does.
    pub(super) fn covers(&self, wide: &Match, narrow: &Match) -> bool {
        self.gaps(wide, narrow).is_some_and(|gaps| gaps.is_empty())
    }

    /// In what `wide` may not hold where `narrow` does. None: in too much, or it is not known.
    pub(super) fn gaps(&self, wide: &Match, narrow: &Match) -> Option<Gaps> {
        let mut gaps = Gaps::new();
        let mut add = |aspect, times: usize| {
            gaps.extend(std::iter::repeat_n(aspect, times.min(GAPS_MAX + 1)));
            gaps.len() <= GAPS_MAX
        };
        let within_range = |wide, narrow| usize::from(!range(wide, narrow));
        let few = self.spend(1)
            && self.neighbors(wide.neighbors.as_ref(), narrow.neighbors.as_ref(), &mut add)
            && add(Aspect::Sources, usize::from(!sources(wide, narrow)))
            && add(Aspect::Med, within_range(&wide.med, &narrow.med))
            && add(
                Aspect::LocalPreference,
                within_range(&wide.local_preference, &narrow.local_preference),
            )
            && add(
                Aspect::PathLength,
                within_range(&wide.as_path_length, &narrow.as_path_length),
            )
            && add(
                Aspect::Origins,
                self.lacks(&wide.origins, &narrow.origins, |a, b| a == b),
            )
            && add(
                Aspect::Validation,
                self.lacks(&wide.validation, &narrow.validation, |a, b| a == b),
            )
            && add(
                Aspect::Standard,
                self.communities(&wide.standard, &narrow.standard),
            )
            && add(Aspect::Large, self.communities(&wide.large, &narrow.large))
            && add(
                Aspect::Extended,
                self.communities(&wide.extended, &narrow.extended),
            )
            && add(
                Aspect::OriginAsns,
                self.lacks(&wide.origin_asns, &narrow.origin_asns, within),
            )
            && add(
                Aspect::NextHops,
                self.lacks(&wide.next_hops, &narrow.next_hops, contains),
            )
            && add(
                Aspect::Regexes,
                self.lacks(&wide.as_path_regexes, &narrow.as_path_regexes, |a, b| {
                    a == b
                }),
            )
            && add(Aspect::Prefix, usize::from(!self.prefixes(wide, narrow)));
        (few && !self.is_spent()).then_some(gaps)
    }

    /// 0 or 1: of two lists of which one element has to hold, whether one of the narrow one is not
    /// covered. An empty one asks for nothing.
    fn lacks<T>(&self, wide: &[T], narrow: &[T], covers: impl Fn(&T, &T) -> bool) -> usize {
        let is_covered = |narrow: &T| wide.iter().any(|wide| covers(wide, narrow));
        let all = wide.is_empty()
            || (!narrow.is_empty()
                && self.spend(wide.len() * narrow.len())
                && narrow.iter().all(is_covered));
        usize::from(!all)
    }

    fn neighbors(
        &self,
        wide: Option<&NeighborMatch>,
        narrow: Option<&NeighborMatch>,
        add: &mut impl FnMut(Aspect, usize) -> bool,
    ) -> bool {
        let Some(wide) = wide else {
            return true;
        };
        let nothing = NeighborMatch::default();
        let narrow = narrow.unwrap_or(&nothing);
        add(
            Aspect::Addresses,
            self.lacks(&wide.addresses, &narrow.addresses, contains),
        ) && add(
            Aspect::PeerAsns,
            self.lacks(&wide.asns, &narrow.asns, within),
        ) && add(
            Aspect::Kinds,
            self.lacks(&wide.kinds, &narrow.kinds, |a, b| a == b),
        ) && add(
            Aspect::Templates,
            self.lacks(&wide.templates, &narrow.templates, |a, b| a == b),
        )
    }

    /// How many of the things that `wide` asks for `narrow` does not.
    fn communities<P: Pattern>(
        &self,
        wide: &CommunityMatch<P>,
        narrow: &CommunityMatch<P>,
    ) -> usize {
        if wide.is_empty() {
            return 0;
        }
        let count = |of: &CommunityMatch<P>| of.any.len() + of.all.len() + of.none.len();
        if !self.spend(count(wide) * count(narrow)) {
            return GAPS_MAX + 1;
        }
        let any = usize::from(!implies_any(wide, narrow));
        let all = wide.all.iter().filter(|wide| !implies_one(*wide, narrow));
        let none = wide.none.iter().filter(|wide| !implies_no(*wide, narrow));
        any + all.count() + none.count()
    }

    fn prefixes(&self, wide: &Match, narrow: &Match) -> bool {
        if !wide.by_prefix {
            return self.of_families(narrow, wide.families);
        }
        if !narrow.by_prefix {
            let mut all = narrow.families.iter();
            return all.all(|family| {
                wide.families.contains(family) && self.holds(wide, &of_family(family))
            });
        }
        if !self.of_families(narrow, wide.families) {
            return false;
        }
        // A set that both name needs no look inside.
        let sets = narrow.prefix_sets.iter();
        let others = sets.filter(|set| !wide.prefix_sets.contains(set));
        let others = others.filter_map(|set| self.policy.sets.get(usize::from(*set)));
        let others = others.flat_map(|set| &set.ranges).chain(&narrow.prefixes);
        let mut others = others.filter(|range| narrow.families.contains(range.prefix.family()));
        others.all(|range| self.holds(wide, range))
    }

    /// Whether a condition is about routes of these families alone.
    fn of_families(&self, narrow: &Match, families: FamilySet) -> bool {
        let within = |family| families.contains(family) || !narrow.families.contains(family);
        if Family::ALL.into_iter().all(within) {
            return true;
        }
        let mut all = ranges(self.policy, narrow);
        narrow.by_prefix && all.all(|range| self.spend(1) && within(range.prefix.family()))
    }

    /// Whether one of a condition's ranges holds all of this one.
    pub(super) fn holds(&self, wide: &Match, range: &PrefixRange) -> bool {
        let has = |all: &[PrefixRange]| {
            self.spend(all.len()) && all.iter().any(|wide| range_contains(wide, range))
        };
        let mut sets = wide.prefix_sets.iter().map(|set| usize::from(*set));
        has(&wide.prefixes)
            || sets.any(|set| match self.policy.sets.get(set) {
                Some(of) if of.ranges.len() <= COMPARED_MAX => has(&of.ranges),
                Some(of) => {
                    let index = self.indices[set].get_or_init(|| Index::new(&of.ranges));
                    self.spend(index.comparisons(range)) && index.holds(range)
                }
                None => false,
            })
    }

    /// All ranges of a condition, if they are not more than these.
    pub(super) fn ranges(&self, of: &Match, max: usize) -> Option<Vec<PrefixRange>> {
        if !of.by_prefix {
            return Some(of.families.iter().map(of_family).collect());
        }
        let count = self.count(of);
        let within = |range: &&PrefixRange| of.families.contains(range.prefix.family());
        let all = || ranges(self.policy, of).filter(within).copied().collect();
        (count <= max && self.spend(count)).then(all)
    }

    /// Whether there is no route for which both hold.
    pub(super) fn apart(&self, a: &Match, b: &Match) -> bool {
        let neighbors = a.neighbors.as_ref().zip(b.neighbors.as_ref());
        let lists =
            a.next_hops.len() * b.next_hops.len() + a.origin_asns.len() * b.origin_asns.len();
        self.spend(1 + lists)
            && (a.families.intersection(b.families).is_empty()
                || neighbors.is_some_and(|(a, b)| self.other_neighbors(a, b))
                || a.sources.zip(b.sources).is_some_and(other_sources)
                || other_range(&a.med, &b.med)
                || other_range(&a.local_preference, &b.local_preference)
                || other_range(&a.as_path_length, &b.as_path_length)
                || no_common(&a.origins, &b.origins, |a, b| a == b)
                || no_common(&a.validation, &b.validation, |a, b| a == b)
                || no_common(&a.origin_asns, &b.origin_asns, overlap)
                || no_common(&a.next_hops, &b.next_hops, hosts_meet)
                || self.other_communities(&a.standard, &b.standard)
                || self.other_communities(&a.large, &b.large)
                || self.other_communities(&a.extended, &b.extended)
                || self.other_prefixes(a, b))
    }

    fn other_neighbors(&self, a: &NeighborMatch, b: &NeighborMatch) -> bool {
        let lists = a.addresses.len() * b.addresses.len()
            + a.asns.len() * b.asns.len()
            + a.templates.len() * b.templates.len();
        self.spend(lists)
            && (no_common(&a.addresses, &b.addresses, hosts_meet)
                || no_common(&a.asns, &b.asns, overlap)
                || no_common(&a.kinds, &b.kinds, |a, b| a == b)
                || no_common(&a.templates, &b.templates, |a, b| a == b))
    }

    fn other_communities<P: Pattern>(&self, a: &CommunityMatch<P>, b: &CommunityMatch<P>) -> bool {
        if a.is_empty() || b.is_empty() {
            return false;
        }
        let asked = |of: &CommunityMatch<P>| of.any.len() + of.all.len();
        self.spend(a.none.len() * asked(b) + b.none.len() * asked(a))
            && (excludes(&a.none, b) || excludes(&b.none, a))
    }

    fn other_prefixes(&self, a: &Match, b: &Match) -> bool {
        let all = |of| ranges(self.policy, of);
        let is_of = |of: &Match, range: &PrefixRange| of.families.contains(range.prefix.family());
        let meant = |range: &PrefixRange| is_of(a, range) && is_of(b, range);
        match (a.by_prefix, b.by_prefix) {
            (false, false) => false,
            (true, false) => self.count(a) <= PAIRS_MAX && !all(a).any(meant),
            (false, true) => self.count(b) <= PAIRS_MAX && !all(b).any(meant),
            (true, true) => {
                let pairs = self.count(a).saturating_mul(self.count(b));
                let meets = |of: &PrefixRange| meant(of) && all(b).any(|by| ranges_meet(of, by));
                pairs <= PAIRS_MAX && self.spend(pairs) && !all(a).any(meets)
            }
        }
    }

    /// How many ranges a condition has.
    fn count(&self, of: &Match) -> usize {
        let sets = of.prefix_sets.iter();
        let sets = sets.filter_map(|set| self.policy.sets.get(usize::from(*set)));
        of.prefixes.len() + sets.map(|set| set.ranges.len()).sum::<usize>()
    }

    /// The families of the routes that a condition is about, or more.
    pub(super) fn families(&self, of: &Match) -> FamilySet {
        if !of.by_prefix || self.count(of) > PAIRS_MAX {
            return of.families;
        }
        let families = ranges(self.policy, of).map(|range| range.prefix.family());
        families.collect::<FamilySet>().intersection(of.families)
    }
}

/// Whether patterns of which a route has none leave nothing of what a condition asks for.
pub(super) fn excludes<P: Pattern>(none: &[P], asked: &CommunityMatch<P>) -> bool {
    let excluded = |pattern: &P| none.iter().any(|none| none.covers(pattern));
    (!asked.any.is_empty() && asked.any.iter().all(excluded)) || asked.all.iter().any(excluded)
}

/// Whether what has the communities that `narrow` asks for has one of those of `wide`.
pub(super) fn implies_any<P: Pattern>(
    wide: &CommunityMatch<P>,
    narrow: &CommunityMatch<P>,
) -> bool {
    let in_any = |narrow: &P| wide.any.iter().any(|wide| wide.covers(narrow));
    wide.any.is_empty()
        || (!narrow.any.is_empty() && narrow.any.iter().all(in_any))
        || narrow.all.iter().any(in_any)
}

/// Whether it has this one,
pub(super) fn implies_one<P: Pattern>(wide: &P, narrow: &CommunityMatch<P>) -> bool {
    let covered = |narrow: &P| wide.covers(narrow);
    narrow.all.iter().any(covered) || (!narrow.any.is_empty() && narrow.any.iter().all(covered))
}

/// and whether it does not.
pub(super) fn implies_no<P: Pattern>(wide: &P, narrow: &CommunityMatch<P>) -> bool {
    narrow.none.iter().any(|narrow| narrow.covers(wide))
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

fn sources(wide: &Match, narrow: &Match) -> bool {
    wide.sources.is_none_or(|wide| {
        let narrow = narrow.sources;
        narrow.is_some_and(|narrow| narrow.bits() & !wide.bits() == 0)
    })
}

/// What is received is not our own too, while several may ask for one of ours.
fn other_sources((a, b): (Sources, Sources)) -> bool {
    let received = Sources::RECEIVED;
    let apart = |a: Sources, b: Sources| a == received && !b.meets(received);
    apart(a, b) || apart(b, a)
}

pub(super) fn contains(wide: &IpPrefix, narrow: &IpPrefix) -> bool {
    wide.contains(*narrow)
}

fn hosts_meet(a: &IpPrefix, b: &IpPrefix) -> bool {
    a.contains(*b) || b.contains(*a)
}

pub(super) fn within(wide: &RangeInclusive<u32>, narrow: &RangeInclusive<u32>) -> bool {
    wide.contains(narrow.start()) && wide.contains(narrow.end())
}

fn overlap(a: &RangeInclusive<u32>, b: &RangeInclusive<u32>) -> bool {
    a.start() <= b.end() && b.start() <= a.end()
}

/// Of two lists of which one element has to hold: none of the one meets any of the other.
fn no_common<T>(a: &[T], b: &[T], meet: impl Fn(&T, &T) -> bool) -> bool {
    let meets = |a: &T| b.iter().any(|b| meet(a, b));
    !a.is_empty() && !b.is_empty() && !a.iter().any(meets)
}

fn range(wide: &Option<RangeInclusive<u32>>, narrow: &Option<RangeInclusive<u32>>) -> bool {
    let any = 0..=u32::MAX;
    let wide = wide.as_ref().unwrap_or(&any);
    within(wide, narrow.as_ref().unwrap_or(&any))
}

fn other_range(a: &Option<RangeInclusive<u32>>, b: &Option<RangeInclusive<u32>>) -> bool {
    a.as_ref()
        .zip(b.as_ref())
        .is_some_and(|(a, b)| !overlap(a, b))
}
