//! Best path selection: RFC 4271 §9.1.2.2 with the steps that RFC 4456 §9 adds.
//!
//! A pure function of the *set* of paths: no order of arrival, no current best, no clock. That is
//! the invariant that makes every speaker of this engine, and every replay, agree; it is why MED,
//! which compares only paths of one neighbor AS and so is no ordering of all paths, comes as a step
//! that removes paths from the set, before the steps that order what is left.
//!
//! Next hops count as reachable at equal cost: step e does not tell paths apart.

use std::cmp::Reverse;
use std::net::IpAddr;

use smallvec::SmallVec;

use crate::summary::Summary;

/// Deviations from the standard's order that an operator may ask for; all off by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Compare MED between paths of different neighbor ASes too.
    pub always_compare_med: bool,
}

/// A path as selection sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Whether it may win at all: import policy and the checks took it.
    pub usable: bool,
    /// Whether this speaker originated it.
    pub local: bool,
    /// Whether it was learned over eBGP.
    pub external: bool,
    /// BGP identifier of the peer that said it.
    pub router_id: u32,
    /// The peer's address.
    pub address: Option<IpAddr>,
    /// The path identifier that the peer gave it.
    pub path_id: u32,
    /// What its attributes say.
    pub summary: Summary,
}

/// Which candidate is the best path; `None` if none is usable.
///
/// Candidates that differ in nothing but their place are equally good: the first of them wins.
/// That cannot happen to paths of one prefix, as address and path id tell them apart.
pub fn select(selection: Selection, candidates: &[Candidate]) -> Option<usize> {
    if let [only] = candidates {
        return only.usable.then_some(0);
    }
    let usable = || candidates.iter().enumerate().filter(|(_, c)| c.usable);
    let preference = usable().map(|(_, c)| preference(c)).min()?;
    let mut preferred = usable().filter(|(_, c)| self::preference(c) == preference);
    let (mut best, first) = preferred.next()?;
    let mut same_med = true;
    for (index, candidate) in preferred {
        same_med &= candidate.summary.med == first.summary.med;
        if tie_break(candidate) < tie_break(&candidates[best]) {
            best = index;
        }
    }
    if same_med {
        return Some(best);
    }
    let preferred = usable().filter(|(_, c)| self::preference(c) == preference);
    best_by_med(selection, preferred)
}

/// RFC 4271 §9.1.1 and §9.1.2.2 a, b, as one number of which the smallest wins: own routes, degree
/// of preference, length of AS_PATH, ORIGIN.
fn preference(candidate: &Candidate) -> (Reverse<bool>, Reverse<u32>, u32, u8) {
    let summary = &candidate.summary;
    (
        Reverse(candidate.local),
        Reverse(summary.local_pref),
        summary.path_length,
        summary.origin,
    )
}

/// RFC 4271 §9.1.2.2 d, f, g with RFC 4456 §9: eBGP before iBGP, lowest identifier (of the
/// originator where the route was reflected), shortest CLUSTER_LIST, lowest peer address; at last
/// the path id, which tells paths of one peer apart.
fn tie_break(candidate: &Candidate) -> (Reverse<bool>, u32, u16, Option<IpAddr>, u32) {
    let summary = &candidate.summary;
    (
        Reverse(candidate.external),
        summary.originator_id.unwrap_or(candidate.router_id),
        summary.cluster_list_length,
        candidate.address,
        candidate.path_id,
    )
}

/// RFC 4271 §9.1.2.2 c: of each neighbor AS only the paths with its lowest MED stay; then the
/// steps after it. Sorting keeps a prefix with thousands of paths from costing their square.
fn best_by_med<'c>(
    selection: Selection,
    preferred: impl Iterator<Item = (usize, &'c Candidate)>,
) -> Option<usize> {
    let group = |candidate: &Candidate| match selection.always_compare_med {
        true => 0,
        false => candidate.summary.neighbor_as,
    };
    let mut by_group: SmallVec<[(usize, &Candidate); 16]> = preferred.collect();
    by_group.sort_by_key(|(_, c)| (group(c), c.summary.med, tie_break(c)));
    by_group.dedup_by_key(|(_, c)| group(c));
    let best = by_group.iter().min_by_key(|(_, c)| tie_break(c))?;
    Some(best.0)
}
