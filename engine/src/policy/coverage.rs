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

use super::as_path::AsPathRegex;
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

/// What it takes to compare two conditions, beside the elements of their lists.
const GAPS_COST: usize = 4;
const APART_COST: usize = 4;

/// Ranges of a set that are compared one by one; more are looked up.
const COMPARED_MAX: usize = 32;

/// Pairs of ranges of prefixes that are looked at to find out whether two lists meet.
const PAIRS_MAX: usize = 256;

/// What statements change: what asks for it may hold before and not behind them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Changed {
    pub(super) next_hop: bool,
    pub(super) as_path: bool,
    pub(super) med: bool,
    pub(super) local_preference: bool,
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
        let asks_path = asks(asked, Aspect::Regexes)
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

impl Aspect {
    /// All, those last that take longest to compare.
    const ALL: [Aspect; 17] = [
        Aspect::Sources,
        Aspect::Med,
        Aspect::LocalPreference,
        Aspect::PathLength,
        Aspect::Origins,
        Aspect::Validation,
        Aspect::Kinds,
        Aspect::Templates,
        Aspect::PeerAsns,
        Aspect::Addresses,
        Aspect::OriginAsns,
        Aspect::NextHops,
        Aspect::Regexes,
        Aspect::Standard,
        Aspect::Large,
        Aspect::Extended,
        Aspect::Prefix,
    ];
}

/// Whether a condition asks for an aspect at all.
fn asks(of: &Match, aspect: Aspect) -> bool {
    let neighbors = |asks: fn(&NeighborMatch) -> bool| of.neighbors.as_ref().is_some_and(asks);
    match aspect {
        Aspect::Prefix => of.by_prefix || of.families != FamilySet::ALL,
        Aspect::Addresses => neighbors(|of| !of.addresses.is_empty()),
        Aspect::PeerAsns => neighbors(|of| !of.asns.is_empty()),
        Aspect::Kinds => neighbors(|of| !of.kinds.is_empty()),
        Aspect::Templates => neighbors(|of| !of.templates.is_empty()),
        Aspect::Sources => of.sources.is_some(),
        Aspect::Med => of.med.is_some(),
        Aspect::LocalPreference => of.local_preference.is_some(),
        Aspect::PathLength => of.as_path_length.is_some(),
        Aspect::Origins => !of.origins.is_empty(),
        Aspect::Validation => !of.validation.is_empty(),
        Aspect::Standard => !of.standard.is_empty(),
        Aspect::Large => !of.large.is_empty(),
        Aspect::Extended => !of.extended.is_empty(),
        Aspect::OriginAsns => !of.origin_asns.is_empty(),
        Aspect::NextHops => !of.next_hops.is_empty(),
        Aspect::Regexes => {
            let regexes = &of.as_path_regexes;
            !regexes.is_empty() && !regexes.iter().any(AsPathRegex::finds_all)
        }
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

    /// How many comparisons are left.
    pub(super) fn left(&self) -> usize {
        self.left.get()
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
        if !self.spend(GAPS_COST) {
            return None;
        }
        for aspect in Aspect::ALL {
            if !asks(wide, aspect) {
                continue;
            }
            let lacking = self.lacking(wide, narrow, aspect).min(GAPS_MAX + 1);
            gaps.extend(std::iter::repeat_n(aspect, lacking));
            if gaps.len() > GAPS_MAX {
                return None;
            }
        }
        (!self.is_spent()).then_some(gaps)
    }

    /// How many things `wide` asks for of one aspect that `narrow` does not.
    fn lacking(&self, wide: &Match, narrow: &Match, aspect: Aspect) -> usize {
        let nothing = NeighborMatch::default();
        let wide_neighbors = wide.neighbors.as_ref().unwrap_or(&nothing);
        let neighbors = narrow.neighbors.as_ref().unwrap_or(&nothing);
        let covered = match aspect {
            Aspect::Addresses => {
                self.all_of(&wide_neighbors.addresses, &neighbors.addresses, contains)
            }
            Aspect::PeerAsns => self.all_of(&wide_neighbors.asns, &neighbors.asns, within),
            Aspect::Kinds => self.all_of(&wide_neighbors.kinds, &neighbors.kinds, same),
            Aspect::Templates => self.all_of(&wide_neighbors.templates, &neighbors.templates, same),
            Aspect::Sources => sources(wide, narrow),
            Aspect::Med => range(&wide.med, &narrow.med),
            Aspect::LocalPreference => range(&wide.local_preference, &narrow.local_preference),
            Aspect::PathLength => range(&wide.as_path_length, &narrow.as_path_length),
            Aspect::Origins => self.all_of(&wide.origins, &narrow.origins, same),
            Aspect::Validation => self.all_of(&wide.validation, &narrow.validation, same),
            Aspect::Standard => return self.communities(&wide.standard, &narrow.standard),
            Aspect::Large => return self.communities(&wide.large, &narrow.large),
            Aspect::Extended => return self.communities(&wide.extended, &narrow.extended),
            Aspect::OriginAsns => self.all_of(&wide.origin_asns, &narrow.origin_asns, within),
            Aspect::NextHops => self.all_of(&wide.next_hops, &narrow.next_hops, contains),
            Aspect::Regexes => self.all_of(&wide.as_path_regexes, &narrow.as_path_regexes, same),
            Aspect::Prefix => self.prefixes(wide, narrow),
        };
        usize::from(!covered)
    }

    /// Of two lists of which one element has to hold: each of the narrow one is covered. An empty one
    /// asks for nothing.
    fn all_of<T>(&self, wide: &[T], narrow: &[T], covers: impl Fn(&T, &T) -> bool) -> bool {
        let is_covered =
            |narrow: &T| self.spend(wide.len()) && wide.iter().any(|wide| covers(wide, narrow));
        wide.is_empty() || (!narrow.is_empty() && narrow.iter().all(is_covered))
    }

    /// How many of the things that `wide` asks for `narrow` does not.
    fn communities<P: Pattern>(
        &self,
        wide: &CommunityMatch<P>,
        narrow: &CommunityMatch<P>,
    ) -> usize {
        let in_any = |narrow: &P| {
            self.spend(wide.any.len()) && wide.any.iter().any(|wide| wide.covers(narrow))
        };
        let any = wide.any.is_empty()
            || (!narrow.any.is_empty() && narrow.any.iter().all(in_any))
            || narrow.all.iter().any(in_any);
        let asked = narrow.any.len() + narrow.all.len();
        let all = wide.all.iter();
        let all = all.filter(|wide| !(self.spend(asked) && implies_one(*wide, narrow)));
        let none = wide.none.iter();
        let none =
            none.filter(|wide| !(self.spend(narrow.none.len()) && implies_no(*wide, narrow)));
        usize::from(!any) + all.chain(none).take(GAPS_MAX + 1).count()
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
        self.spend(APART_COST)
            && (a.families.intersection(b.families).is_empty()
                || a.sources.zip(b.sources).is_some_and(other_sources)
                || other_range(&a.med, &b.med)
                || other_range(&a.local_preference, &b.local_preference)
                || other_range(&a.as_path_length, &b.as_path_length)
                || self.no_common(&a.origins, &b.origins, same)
                || self.no_common(&a.validation, &b.validation, same)
                || neighbors.is_some_and(|(a, b)| self.other_neighbors(a, b))
                || self.no_common(&a.origin_asns, &b.origin_asns, overlap)
                || self.no_common(&a.next_hops, &b.next_hops, hosts_meet)
                || self.other_communities(&a.standard, &b.standard)
                || self.other_communities(&a.large, &b.large)
                || self.other_communities(&a.extended, &b.extended)
                || self.other_prefixes(a, b))
    }

    fn other_neighbors(&self, a: &NeighborMatch, b: &NeighborMatch) -> bool {
        self.no_common(&a.kinds, &b.kinds, same)
            || self.no_common(&a.templates, &b.templates, same)
            || self.no_common(&a.asns, &b.asns, overlap)
            || self.no_common(&a.addresses, &b.addresses, hosts_meet)
    }

    /// Of two lists of which one element has to hold: none of the one meets any of the other.
    fn no_common<T>(&self, a: &[T], b: &[T], meet: impl Fn(&T, &T) -> bool) -> bool {
        let meets = |a: &T| b.iter().any(|b| meet(a, b));
        !a.is_empty() && !b.is_empty() && self.spend(a.len() * b.len()) && !a.iter().any(meets)
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

fn same<T: PartialEq>(a: &T, b: &T) -> bool {
    a == b
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
