//! Best path selection: RFC 4271 §9.1.2.2 with the steps that RFC 4456 §9 adds.
//!
//! A pure function of the *set* of paths, unless an operator asks for the best path that stands to count
//! (RFC 5004): no order of arrival, no current best, no clock. That is
//! the invariant that makes every speaker of this engine, and every replay, agree; it is why MED,
//! which compares only paths of one neighbor AS and so is no ordering of all paths, comes as a step
//! that removes paths from the set, before the steps that order what is left.
//!
//! Next hops count as reachable at equal cost: step e does not tell paths apart.

// RFC-DONE 4271 §9.1.2.2: The ties are broken in the order of the text, but for step e.
// RFC-LEFT 4271 §9.1.2.2: Step e, the interior cost of the next hop, breaks no tie: it is not known.
// RFC-DONE 4456 §9: ORIGINATOR_ID for the identifier, and the shorter CLUSTER_LIST.
// RFC-DONE 4451 §3.2: A missing MED is 0, the lowest.
// RFC-DONE 4451 §3.3: MEDs are compared within one neighbor AS only, all its paths at once: their order
// does not count.
// RFC-DONE 4451 §3.3: Where the settings ask for it (`alwaysCompareMED`), between all neighbor ASes.
// RFC-LEFT 4271 §9.1.2.1: Whether a next hop can be resolved is not asked; all count as reachable.
// RFC-DONE 5004 §3: The external path that stands stays before others as good, where the settings ask for
// it (`preferExistingExternal`); without it order does not count.

use std::cmp::{Ordering, Reverse};

use smallvec::SmallVec;

use crate::peer_address::PeerAddress;
use crate::summary::Summary;

/// Deviations from the standard's order that an operator may ask for; all off by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Compare MED between paths of different neighbor ASes too (RFC 4451 §3.3).
    pub always_compare_med: bool,
    /// Let the best path that stands, if it is external, stay before others that are external and as
    /// good up to there, instead of the lowest identifier and address (RFC 5004). What is best then depends
    /// on the order of arrival.
    pub prefer_existing_external: bool,
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
    pub address: Option<PeerAddress>,
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
    let usable = candidates.iter().filter(|c| c.usable);
    let highest = usable.map(preference).min()?;
    let preferred = || {
        let all = candidates.iter().enumerate();
        all.filter(|(_, c)| c.usable && preference(c) == highest)
    };
    let mut others = preferred();
    let (mut best, first) = others.next()?;
    let (mut count, mut same_med) = (1, true);
    for (index, candidate) in others {
        count += 1;
        same_med &= candidate.summary.med == first.summary.med;
        if tie_break(candidate) < tie_break(&candidates[best]) {
            best = index;
        }
    }
    // RFC 4271 §9.1.2.2 c: of each neighbor AS only the paths with its lowest MED stay.
    let group = |candidate: &Candidate| group(selection, candidate);
    if same_med {
        return Some(best);
    }
    if count > FEW {
        return best_by_sorting(preferred(), group);
    }
    let beats =
        |a: &Candidate, b: &Candidate| a.summary.med < b.summary.med && group(a) == group(b);
    let stays = |c: &Candidate| !preferred().any(|(_, other)| beats(other, c));
    let left = preferred().filter(|(_, c)| stays(c));
    Some(left.min_by_key(|(_, c)| tie_break(c))?.0)
}

/// As [`select`], where the candidate at `existing` is the best path that stands, if one does.
pub fn select_from(
    selection: Selection,
    candidates: &[Candidate],
    existing: Option<usize>,
) -> Option<usize> {
    let chosen = select(selection, candidates)?;
    let existing = existing.filter(|_| selection.prefer_existing_external);
    existing
        .and_then(|existing| of_existing(selection, candidates, existing, chosen))
        .or(Some(chosen))
}

/// RFC 5004 §3: the best path of the speaker whose path stands, if that one is external and not worse
/// than the one that was `chosen` but by the steps that tell speakers apart.
fn of_existing(
    selection: Selection,
    candidates: &[Candidate],
    existing: usize,
    chosen: usize,
) -> Option<usize> {
    let (existing, chosen) = (&candidates[existing], &candidates[chosen]);
    let preferred = |c: &&Candidate| c.usable && preference(c) == preference(chosen);
    let others = || candidates.iter().filter(preferred);
    let beats = |a: &Candidate, b: &Candidate| {
        a.summary.med < b.summary.med && group(selection, a) == group(selection, b)
    };
    let is_left =
        |c: &Candidate| preferred(&c) && c.external && !others().any(|other| beats(other, c));
    if !is_left(existing) {
        return None;
    }
    let of_speaker = candidates
        .iter()
        .enumerate()
        .filter(|(_, c)| identifier(c) == identifier(existing) && is_left(c));
    Some(of_speaker.min_by_key(|(_, c)| tie_break(c))?.0)
}

/// RFC 5004 §3: between external paths of different speakers the one that stands stays.
fn stands_before(selection: Selection, existing: &Candidate, other: &Candidate) -> bool {
    selection.prefer_existing_external
        && existing.external
        && other.external
        && identifier(existing) != identifier(other)
}

/// The speaker's BGP identifier, or that of the originator (RFC 4456 §9).
fn identifier(candidate: &Candidate) -> u32 {
    let originator = candidate.summary.originator_id;
    originator.map_or(candidate.router_id, u32::from)
}

/// Whether `best`, which [`select_from`] chose from a set, is its choice still once `gone`, another one
/// of the set, is taken out. False also where that can't be told from the two.
pub(crate) fn outlives(selection: Selection, best: &Candidate, gone: &Candidate) -> bool {
    // What goes may have kept others out by its MED: of its own neighbor AS, in which `best`, where
    // it is of it too, keeps out the same ones, having no higher MED.
    !gone.usable
        || preference(gone) > preference(best)
        || group(selection, gone) == group(selection, best)
}

/// Which of the two [`select_from`] chooses once `new` joins a set of which `best` stands: whether
/// it is `new`. `None`: that can't be told from the two.
pub(crate) fn overtakes(selection: Selection, best: &Candidate, new: &Candidate) -> Option<bool> {
    if !new.usable {
        return Some(false);
    }
    match preference(new).cmp(&preference(best)) {
        Ordering::Less => return Some(true),
        Ordering::Greater => return Some(false),
        Ordering::Equal => {}
    }
    let is_first = tie_break(new) < tie_break(best) && !stands_before(selection, best, new);
    if group(selection, new) != group(selection, best) {
        // Neither keeps the other out; whether a third one keeps `new` out, only the set tells.
        return if is_first { None } else { Some(false) };
    }
    match new.summary.med.cmp(&best.summary.med) {
        // `best` is out, and with it whatever it stood before.
        Ordering::Less => None,
        Ordering::Equal => Some(is_first),
        Ordering::Greater => Some(false),
    }
}

/// Whether some candidate strikes another out by its MED, wherever it stands in preference.
pub(crate) fn med_decides(
    selection: Selection,
    candidates: impl Iterator<Item = Candidate>,
) -> bool {
    let usable = candidates.filter(|candidate| candidate.usable);
    let key = |c: Candidate| ((preference(&c), group(selection, &c)), c.summary.med);
    let mut keys: SmallVec<[_; 8]> = usable.map(key).collect();
    keys.sort_unstable();
    keys.windows(2)
        .any(|pair| pair[0].0 == pair[1].0 && pair[0].1 != pair[1].1)
}

/// Paths of which MED takes all but those with the lowest (RFC 4271 §9.1.2.2 c).
fn group(selection: Selection, candidate: &Candidate) -> u32 {
    match selection.always_compare_med {
        true => 0,
        false => candidate.summary.neighbor_as,
    }
}

/// RFC 4271 §9.1.1 and §9.1.2.2 a, b, as one number of which the smallest wins: own routes, no
/// long-lived stale ones, degree of preference, length of AS_PATH, ORIGIN.
///
// RFC-DONE 9494 §4.4: a route with LLGR_STALE is the least preferred, whoever attached it.
fn preference(candidate: &Candidate) -> (Reverse<bool>, bool, Reverse<u32>, u16, u8) {
    let summary = &candidate.summary;
    (
        Reverse(candidate.local),
        summary.long_lived_stale,
        Reverse(summary.local_pref),
        summary.path_length,
        summary.origin,
    )
}

/// RFC 4271 §9.1.2.2 d, f, g with RFC 4456 §9: eBGP before iBGP, lowest identifier (of the
/// originator where the route was reflected), shortest CLUSTER_LIST, lowest peer address; at last
/// the path id, which tells paths of one peer apart.
fn tie_break(candidate: &Candidate) -> (Reverse<bool>, u32, u16, Option<PeerAddress>, u32) {
    let summary = &candidate.summary;
    (
        Reverse(candidate.external),
        identifier(candidate),
        summary.cluster_list_length,
        candidate.address,
        candidate.path_id,
    )
}

/// As the last lines of [`select`], but a prefix with thousands of paths does not cost their square.
fn best_by_sorting<'c>(
    preferred: impl Iterator<Item = (usize, &'c Candidate)>,
    group: impl Fn(&Candidate) -> u32,
) -> Option<usize> {
    let mut left: Vec<(usize, &Candidate)> = preferred.collect();
    left.sort_unstable_by_key(|(at, c)| (group(c), c.summary.med, tie_break(c), *at));
    left.dedup_by_key(|(_, c)| group(c));
    Some(left.iter().min_by_key(|(_, c)| tie_break(c))?.0)
}

/// Paths up to which comparing each with each is cheaper than sorting.
const FEW: usize = 8;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::IpAddr;
    use std::net::Ipv4Addr;

    /// With and without MEDs compared between all.
    const SELECTIONS: [Selection; 2] = [
        Selection {
            always_compare_med: false,
            prefer_existing_external: false,
        },
        Selection {
            always_compare_med: true,
            prefer_existing_external: false,
        },
    ];

    /// The steps as the standard words them, each taking out of the set what it says.
    fn reference(
        selection: Selection,
        candidates: &[Candidate],
        existing: Option<Candidate>,
    ) -> Option<Candidate> {
        fn keep_lowest<K: Ord>(set: &mut Vec<Candidate>, key: impl Fn(&Candidate) -> K) {
            if let Some(lowest) = set.iter().map(&key).min() {
                set.retain(|candidate| key(candidate) == lowest);
            }
        }
        let mut set = candidates.to_vec();
        set.retain(|c| c.usable);
        keep_lowest(&mut set, |c| !c.local);
        keep_lowest(&mut set, |c| c.summary.long_lived_stale);
        keep_lowest(&mut set, |c| !c.summary.local_pref);
        keep_lowest(&mut set, |c| c.summary.path_length);
        keep_lowest(&mut set, |c| c.summary.origin);
        let all = set.clone();
        set.retain(|c| {
            !all.iter().any(|other| {
                let comparable = selection.always_compare_med
                    || other.summary.neighbor_as == c.summary.neighbor_as;
                comparable && other.summary.med < c.summary.med
            })
        });
        keep_lowest(&mut set, |c| !c.external);
        let left = set.clone();
        keep_lowest(&mut set, |c| {
            c.summary.originator_id.map_or(c.router_id, u32::from)
        });
        // RFC 5004 §3.
        if let Some(existing) = existing
            && selection.prefer_existing_external
            && existing.external
            && left.contains(&existing)
        {
            set = left;
            set.retain(|c| identifier(c) == identifier(&existing));
        }
        keep_lowest(&mut set, |c| c.summary.cluster_list_length);
        keep_lowest(&mut set, |c| c.address);
        keep_lowest(&mut set, |c| c.path_id);
        set.first().copied()
    }

    fn candidate() -> Candidate {
        Candidate {
            usable: true,
            local: false,
            external: true,
            router_id: 5,
            address: Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 5)).into()),
            path_id: 5,
            summary: Summary {
                local_pref: 100,
                med: 5,
                neighbor_as: 65001,
                path_length: 5,
                originator_id: None,
                cluster_list_length: 5,
                long_lived_stale: false,
                origin: 1,
            },
        }
    }

    // RFC-SHOWN 4271 §9.1.2.2
    // RFC-SHOWN 4456 §9
    // RFC-SHOWN 9494 §4.4
    #[test]
    fn each_step_outweighs_all_after_it() {
        type Change = fn(&mut Candidate);
        // In the order of the steps: what makes a path better, what makes it worse.
        let steps: [(Change, Change); 12] = [
            (|_| (), |c| c.usable = false),
            (|c| c.local = true, |_| ()),
            (|_| (), |c| c.summary.long_lived_stale = true),
            (
                |c| c.summary.local_pref = 101,
                |c| c.summary.local_pref = 99,
            ),
            (|c| c.summary.path_length = 4, |c| c.summary.path_length = 6),
            (|c| c.summary.origin = 0, |c| c.summary.origin = 2),
            (|c| c.summary.med = 4, |c| c.summary.med = 6),
            (|_| (), |c| c.external = false),
            (
                |c| c.router_id = 4,
                |c| c.summary.originator_id = Some(Ipv4Addr::from(6)),
            ),
            (
                |c| c.summary.cluster_list_length = 4,
                |c| c.summary.cluster_list_length = 6,
            ),
            (
                |c| c.address = None,
                |c| c.address = Some("::1".parse().unwrap()),
            ),
            (|c| c.path_id = 4, |c| c.path_id = 6),
        ];
        for decisive in 0..steps.len() {
            let (mut better, mut worse) = (candidate(), candidate());
            steps[decisive].0(&mut better);
            steps[decisive].1(&mut worse);
            for (improve, worsen) in &steps[decisive + 1..] {
                worsen(&mut better);
                improve(&mut worse);
            }
            let selection = Selection::default();
            assert_eq!(
                select(selection, &[better, worse]),
                Some(0),
                "step {decisive}"
            );
            assert_eq!(
                select(selection, &[worse, better]),
                Some(1),
                "step {decisive}"
            );
        }
    }

    /// The classic case in which comparing pairs in order of arrival goes in circles.
    // RFC-SHOWN 4451 §3.3
    #[test]
    fn med_removes_within_one_neighbor_as_only() {
        let path = |neighbor_as, med, router_id, external| {
            let mut path = candidate();
            path.summary.neighbor_as = neighbor_as;
            path.summary.med = med;
            path.router_id = router_id;
            path.external = external;
            path
        };
        let a = path(1, 10, 3, true);
        let b = path(1, 5, 9, true);
        let c = path(2, 0, 4, true);
        // b takes a out, though a has the lowest identifier; then c's beats b's.
        for order in [
            [a, b, c],
            [a, c, b],
            [b, a, c],
            [b, c, a],
            [c, a, b],
            [c, b, a],
        ] {
            let best = select(Selection::default(), &order).unwrap();
            assert_eq!(order[best], c);
            let always = Selection {
                always_compare_med: true,
                ..Selection::default()
            };
            assert_eq!(order[select(always, &order).unwrap()], c);
        }
        assert_eq!(
            select(Selection::default(), &[a, path(2, 0, 4, false)]),
            Some(0)
        );
    }

    #[test]
    fn nothing_usable_has_no_best() {
        let mut rejected = candidate();
        rejected.usable = false;
        assert_eq!(select(Selection::default(), &[]), None);
        assert_eq!(select(Selection::default(), &[rejected]), None);
        assert_eq!(select(Selection::default(), &[rejected, rejected]), None);
        assert_eq!(
            select(Selection::default(), &[rejected, candidate()]),
            Some(1)
        );
    }

    /// Every set of three from a small world, in every order.
    #[test]
    fn the_order_of_three_paths_never_matters() {
        let world: Vec<Candidate> = (0..48u32)
            .map(|n| {
                let mut path = candidate();
                path.usable = n % 12 != 11;
                path.summary.med = n % 2;
                path.summary.neighbor_as = n / 2 % 2;
                path.external = n / 4 % 2 == 0;
                path.router_id = n / 8 % 2;
                path.summary.path_length = n as u16 / 16;
                path.address = Some(IpAddr::V4(Ipv4Addr::from(n)).into());
                path
            })
            .collect();
        for selection in SELECTIONS {
            for a in 0..world.len() {
                for b in 0..a {
                    for c in 0..b {
                        let expected = reference(selection, &[world[a], world[b], world[c]], None);
                        for order in [
                            [a, b, c],
                            [a, c, b],
                            [b, a, c],
                            [b, c, a],
                            [c, a, b],
                            [c, b, a],
                        ] {
                            let set = order.map(|at| world[at]);
                            let best = select(selection, &set).map(|best| set[best]);
                            assert_eq!(best, expected, "{set:?}");
                        }
                    }
                }
            }
        }
    }

    fn any_candidate() -> impl Strategy<Value = Candidate> {
        let attributes = (99..101u32, 0..3u32, 0..3u32, 0..2u16, 0..3u8);
        let reflection = (
            prop::option::weighted(0.3, 0..3u32),
            0..2u16,
            prop::bool::weighted(0.2),
        );
        let rest = (any::<bool>(), 0..3u32, prop::option::of(0..2u8), 0..3u32);
        (
            prop::bool::weighted(0.8),
            prop::bool::weighted(0.1),
            attributes,
            reflection,
            rest,
        )
            .prop_map(|(usable, local, attributes, reflection, rest)| {
                let (local_pref, med, neighbor_as, path_length, origin) = attributes;
                let (originator_id, cluster_list_length, long_lived_stale) = reflection;
                let (external, router_id, address, path_id) = rest;
                Candidate {
                    usable,
                    local,
                    external,
                    router_id,
                    address: address.map(|n| IpAddr::V4(Ipv4Addr::new(10, 0, 0, n)).into()),
                    path_id,
                    summary: Summary {
                        local_pref,
                        med,
                        neighbor_as,
                        path_length,
                        originator_id: originator_id.map(Ipv4Addr::from),
                        cluster_list_length,
                        long_lived_stale,
                        origin,
                    },
                }
            })
    }

    proptest! {
        /// Where MED decides nothing, the best of some is the first of them in the order of all.
        #[test]
        fn without_med_the_order_of_all_is_the_order_of_some(
            set in prop::collection::vec(any_candidate(), 1..8),
            kept in prop::collection::vec(any::<bool>(), 8),
            always_compare_med: bool,
        ) {
            let selection = Selection { always_compare_med, ..Selection::default() };
            if med_decides(selection, set.iter().copied()) {
                return Ok(());
            }
            let is_kept = |candidate: &Candidate| {
                set.iter().zip(&kept).any(|(c, kept)| *kept && c == candidate)
            };
            let mut left = set.clone();
            let mut order = Vec::new();
            while let Some(at) = select(selection, &left) {
                order.push(left.remove(at));
            }
            let some: Vec<Candidate> = set.iter().copied().filter(is_kept).collect();
            let routes = |c: &Candidate| (tie_break(c), preference(c));
            let best = select(selection, &some).map(|at| routes(&some[at]));
            prop_assert_eq!(best, order.iter().find(|c| is_kept(c)).map(routes));
        }

        #[test]
        fn agrees_with_the_standards_words_in_any_order(
            candidates in prop_oneof![0..12usize, 0..100usize].prop_flat_map(|count| {
                prop::collection::vec(any_candidate(), count)
            }).prop_flat_map(|set| {
                (Just(set.clone()), Just(set).prop_shuffle())
            }),
            always_compare_med: bool,
        ) {
            let selection = Selection { always_compare_med, ..Selection::default() };
            let (set, shuffled) = candidates;
            let expected = reference(selection, &set, None);
            let routes = |c: Option<Candidate>| c.map(|c| (tie_break(&c), preference(&c)));
            for order in [set, shuffled] {
                let best = select(selection, &order).map(|best| order[best]);
                // Paths alike in all that the steps compare may differ only in what they do not.
                prop_assert_eq!(routes(best), routes(expected));
            }
        }

        // RFC-SHOWN 5004 §3
        #[test]
        fn an_external_path_that_stands_yields_to_better_ones_only(
            set in prop::collection::vec(any_candidate(), 1..12),
            existing in any::<prop::sample::Index>(),
            (always_compare_med, prefer_existing_external) in any::<(bool, bool)>(),
        ) {
            let selection = Selection { always_compare_med, prefer_existing_external };
            let existing = existing.index(set.len());
            let expected = reference(selection, &set, Some(set[existing]));
            let best = select_from(selection, &set, Some(existing)).map(|best| set[best]);
            let routes = |c: Option<Candidate>| c.map(|c| (tie_break(&c), preference(&c)));
            prop_assert_eq!(routes(best), routes(expected));
        }

        /// What is told from two paths alone is what the whole set says.
        #[test]
        fn shortcuts_agree_with_the_set(
            set in prop::collection::vec(any_candidate(), 1..8),
            new in any_candidate(),
            (gone, existing) in any::<(prop::sample::Index, prop::sample::Index)>(),
            (always_compare_med, prefer_existing_external) in any::<(bool, bool)>(),
        ) {
            let selection = Selection { always_compare_med, prefer_existing_external };
            let existing = Some(existing.index(set.len()));
            let Some(best) = select_from(selection, &set, existing) else { return Ok(()) };
            let routes = |c: &Candidate| (tie_break(c), preference(c));
            let gone = gone.index(set.len());
            if gone != best && outlives(selection, &set[best], &set[gone]) {
                let mut left = set.clone();
                left.remove(gone);
                let existing = Some(best - usize::from(gone < best));
                let now = select_from(selection, &left, existing).map(|at| routes(&left[at]));
                prop_assert_eq!(now, Some(routes(&set[best])));
            }
            let expected = match overtakes(selection, &set[best], &new) {
                Some(true) => new,
                Some(false) => set[best],
                None => return Ok(()),
            };
            let mut more = set.clone();
            more.push(new);
            let now = select_from(selection, &more, Some(best)).map(|at| routes(&more[at]));
            prop_assert_eq!(now, Some(routes(&expected)));
        }
    }
}
