//! What one condition leaves of another where they differ in one aspect alone.
//!
//! With it several statements are found to cover a later one together. Sound, not complete: what is
//! left is at least what there is.

use std::ops::RangeInclusive;

use codec::{FamilySet, Origin, PeerKind};

use super::communities::Pattern;
use super::coverage::{
    Aspect, Coverage, contains, excludes, implies_any, implies_no, implies_one, within,
};
use super::prefix_ranges::without;
use super::spec::{CommunityMatch, Match, PrefixRange, Sources, Validation};

/// Ranges of prefixes of a condition of which parts are taken, and parts that there may be then.
const PARTS_MAX: usize = 1024;

/// Ranges that take parts of others; of more, each takes what it holds as a whole.
const TAKING_MAX: usize = 256;

/// What is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// As much as before, as far as is known.
    All,
    /// Less.
    Some,
    /// Nothing.
    Nothing,
}

impl Coverage<'_> {
    /// Takes from `of` what `by` holds for, which covers it in all but this aspect.
    pub(super) fn cut(&self, of: &mut Match, by: &Match, aspect: Aspect) -> Left {
        let nothing = Default::default();
        let by_neighbors = by.neighbors.as_ref().unwrap_or(&nothing);
        match aspect {
            Aspect::Prefix => return self.cut_prefixes(of, by),
            Aspect::Standard => return self.cut_communities(&mut of.standard, &by.standard),
            Aspect::Large => return self.cut_communities(&mut of.large, &by.large),
            Aspect::Extended => return self.cut_communities(&mut of.extended, &by.extended),
            Aspect::Med => return cut_range(&mut of.med, &by.med),
            Aspect::LocalPreference => {
                return cut_range(&mut of.local_preference, &by.local_preference);
            }
            Aspect::PathLength => return cut_range(&mut of.as_path_length, &by.as_path_length),
            Aspect::Sources => return cut_sources(&mut of.sources, by.sources),
            _ => {}
        }
        let neighbors = of.neighbors.get_or_insert_default();
        let same = |a: &_, b: &_| a == b;
        match aspect {
            Aspect::Addresses => {
                self.drop(&mut neighbors.addresses, &by_neighbors.addresses, contains)
            }
            Aspect::PeerAsns => {
                let all = 0..=u32::MAX;
                self.cut_ranges(or_all(&mut neighbors.asns, &[all]), &by_neighbors.asns)
            }
            Aspect::Kinds => {
                let all = [PeerKind::External, PeerKind::Internal];
                self.drop(
                    or_all(&mut neighbors.kinds, &all),
                    &by_neighbors.kinds,
                    |a, b| a == b,
                )
            }
            Aspect::Templates => self.drop(&mut neighbors.templates, &by_neighbors.templates, same),
            // RFC 7606 §3 d: nobody's route is without ORIGIN.
            Aspect::Origins => {
                let all = [Origin::Igp, Origin::Egp, Origin::Incomplete];
                self.drop(or_all(&mut of.origins, &all), &by.origins, |a, b| a == b)
            }
            Aspect::Validation => {
                let all = [Validation::Valid, Validation::Invalid, Validation::NotFound];
                self.drop(or_all(&mut of.validation, &all), &by.validation, |a, b| {
                    a == b
                })
            }
            // Routes without any are of no list.
            Aspect::OriginAsns => self.cut_ranges(&mut of.origin_asns, &by.origin_asns),
            Aspect::NextHops => self.drop(&mut of.next_hops, &by.next_hops, contains),
            Aspect::Regexes => {
                self.drop(&mut of.as_path_regexes, &by.as_path_regexes, |a, b| a == b)
            }
            _ => Left::All,
        }
    }

    /// Of a list of which one has to hold, those that are covered go.
    fn drop<T>(&self, list: &mut Vec<T>, by: &[T], covers: impl Fn(&T, &T) -> bool) -> Left {
        if list.is_empty() || !self.spend(list.len() * by.len()) {
            return Left::All;
        }
        let before = list.len();
        list.retain(|of| !by.iter().any(|by| covers(by, of)));
        left(list.len(), before)
    }

    fn cut_ranges(&self, list: &mut Vec<RangeInclusive<u32>>, by: &[RangeInclusive<u32>]) -> Left {
        if list.is_empty() || !self.spend(list.len() * by.len()) {
            return Left::All;
        }
        let before = list.clone();
        for by in by {
            list.retain_mut(|of| match trimmed(of, by) {
                Some(less) => {
                    *of = less;
                    true
                }
                None => false,
            });
        }
        match list.is_empty() {
            true => Left::Nothing,
            false if *list == before => Left::All,
            false => Left::Some,
        }
    }

    /// What is left fails the one thing that `by` asks for more.
    fn cut_communities<P: Pattern + Clone>(
        &self,
        of: &mut CommunityMatch<P>,
        by: &CommunityMatch<P>,
    ) -> Left {
        let asked = of.any.len() + of.all.len() + 1;
        if !self.spend((of.none.len() + by.any.len()) * (asked + by.any.len())) {
            return Left::All;
        }
        if !implies_any(by, of) {
            let new = by.any.iter().filter(|any| !implies_no(*any, of));
            let new: Vec<P> = new.cloned().collect();
            if new.is_empty() {
                return Left::All;
            }
            of.none.extend(new);
        } else if let Some(lacks) = by.all.iter().find(|one| !implies_one(*one, of)) {
            if implies_no(lacks, of) {
                return Left::All;
            }
            of.none.push(lacks.clone());
        } else if let Some(has) = by.none.iter().find(|none| !implies_no(*none, of)) {
            if implies_one(has, of) {
                return Left::All;
            }
            of.all.push(has.clone());
        }
        if excludes(&of.none, of) {
            return Left::Nothing;
        }
        let CommunityMatch { any, none, .. } = of;
        any.retain(|any| !none.iter().any(|none| none.covers(any)));
        Left::Some
    }

    fn cut_prefixes(&self, of: &mut Match, by: &Match) -> Left {
        let Some(mut parts) = self.ranges(of, PARTS_MAX) else {
            return Left::All;
        };
        let before = parts.len();
        let changed = match self.ranges(by, TAKING_MAX) {
            Some(taking) => {
                let fits = self.spend(parts.len() * taking.len());
                if !fits {
                    return Left::All;
                }
                let mut changed = false;
                for by in &taking {
                    changed |= take(&mut parts, by);
                    if parts.len() > PARTS_MAX {
                        return Left::All;
                    }
                }
                changed
            }
            None => {
                parts.retain(|range| {
                    let meant = by.families.contains(range.prefix.family());
                    !(meant && self.holds(by, range))
                });
                parts.len() < before
            }
        };
        if !changed {
            return Left::All;
        }
        let is_empty = parts.is_empty();
        of.families = FamilySet::ALL;
        of.prefix_sets = Vec::new();
        of.by_prefix = true;
        of.prefixes = parts;
        if is_empty { Left::Nothing } else { Left::Some }
    }
}

/// An empty list asks for nothing, which is all of these.
fn or_all<'l, T: Clone>(list: &'l mut Vec<T>, all: &[T]) -> &'l mut Vec<T> {
    if list.is_empty() {
        list.extend_from_slice(all);
    }
    list
}

fn left(now: usize, before: usize) -> Left {
    match now {
        0 => Left::Nothing,
        now if now < before => Left::Some,
        _ => Left::All,
    }
}

/// Takes a range out of a list; whether there was some of it.
fn take(parts: &mut Vec<PrefixRange>, by: &PrefixRange) -> bool {
    let mut added = Vec::new();
    let before = parts.len();
    parts.retain(|of| match without(of, by) {
        Some(left) => {
            added.extend(left);
            false
        }
        None => true,
    });
    let changed = parts.len() < before;
    parts.append(&mut added);
    changed
}

/// What is left of a range; all of it where that is not one range.
fn trimmed(of: &RangeInclusive<u32>, by: &RangeInclusive<u32>) -> Option<RangeInclusive<u32>> {
    if within(by, of) {
        None
    } else if by.contains(of.start()) {
        Some(by.end() + 1..=*of.end())
    } else if by.contains(of.end()) {
        Some(*of.start()..=by.start() - 1)
    } else {
        Some(of.clone())
    }
}

fn cut_range(of: &mut Option<RangeInclusive<u32>>, by: &Option<RangeInclusive<u32>>) -> Left {
    let Some(by) = by else {
        return Left::Nothing;
    };
    let before = of.clone().unwrap_or(0..=u32::MAX);
    match trimmed(&before, by) {
        None => Left::Nothing,
        Some(less) if less == before => Left::All,
        Some(less) => {
            *of = Some(less);
            Left::Some
        }
    }
}

/// A route that several ask for meets each; what is without one meets another.
fn cut_sources(of: &mut Option<Sources>, by: Option<Sources>) -> Left {
    let (Some(all), Some(by)) = (*of, by) else {
        return Left::All;
    };
    let less = Sources::from_bits(all.bits() & !by.bits());
    *of = Some(less);
    match less {
        Sources::NONE => Left::Nothing,
        less if less == all => Left::All,
        _ => Left::Some,
    }
}
