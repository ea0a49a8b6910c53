//! A router with several paths to a prefix (RFC 7911) that restarts.

use super::restarts::{RESTARTED, graceful, helper};
use super::*;

/// Two paths and one of a router that is away now, and what it offers.
fn several_told_and_lost() -> (Bed, Vec<Capability>) {
    let (neighbor, mut capabilities) = several();
    let neighbor = Neighbor {
        graceful_restart: helper().graceful_restart,
        ..neighbor
    };
    let mut bed = Bed::new(neighbor);
    capabilities.extend(graceful(&RESTARTED));
    bed.establish(capabilities.clone());
    bed.announce_paths([(1, Some(1)), (1, Some(2)), (2, Some(1))], 65002);
    bed.end_of_rib();
    bed.lose();
    (bed, capabilities)
}

// RFC-SHOWN 4724 §4.2
#[test]
fn of_several_paths_a_second_restart_keeps_those_that_were_said_in_between() {
    let (mut bed, capabilities) = several_told_and_lost();
    bed.establish(capabilities.clone());
    bed.announce_paths([(1, Some(2)), (1, Some(3))], 65002);
    assert_eq!(bed.paths(1), [(1, true), (2, false), (3, false)]);
    bed.lose();
    assert_eq!(bed.paths(1), [(2, true), (3, true)]);
    assert_eq!(bed.paths(2), []);
    bed.establish(capabilities.clone());
    bed.announce_paths([(1, Some(3))], 65002);
    bed.end_of_rib();
    assert_eq!((bed.paths(1), bed.counts()), (vec![(3, false)], (1, 1)));
    // Said in part, and then nothing of what is there once more: nobody is waited for any more.
    bed.lose();
    bed.establish(capabilities);
    bed.lose();
    assert_eq!(bed.paths(1), []);
    assert!(!bed.shard.has_stale_routes());
    assert!(
        bed.shard.is_quiet(),
        "its source goes too, without waiting for anything else"
    );
}

// RFC-SHOWN 7911 §3
#[test]
fn a_router_that_names_its_paths_anew_after_a_restart_loses_none_for_want_of_room() {
    let (mut bed, capabilities) = several_told_and_lost();
    let say = |bed: &mut Bed, ids: std::ops::Range<u32>| {
        bed.announce_paths(ids.map(|path_id| (1, Some(path_id))), 65002);
        bed.end_of_rib();
    };
    bed.establish(capabilities.clone());
    say(&mut bed, 1..201);
    bed.lose();
    bed.establish(capabilities);
    say(&mut bed, 1001..1201);
    let named: Vec<(u32, bool)> = (1001..1201).map(|path_id| (path_id, false)).collect();
    assert_eq!((bed.paths(1), bed.counts()), (named, (1, 1)));
}

#[test]
fn paths_with_and_without_identifiers_do_not_outlive_each_other() {
    let (mut bed, capabilities) = several_told_and_lost();
    let mut alone = enhanced();
    alone.extend(graceful(&RESTARTED));
    assert_eq!(bed.paths(1), [(1, true), (2, true)]);
    // What it withdraws or says now could not be told to be the same.
    bed.establish(alone);
    assert_eq!((bed.paths(1), bed.paths(2)), (vec![], vec![]));
    bed.announce(1..3);
    bed.end_of_rib();
    assert_eq!((bed.paths(1), bed.counts()), (vec![(0, false)], (2, 2)));
    bed.lose();
    bed.establish(capabilities);
    assert_eq!((bed.paths(1), bed.paths(2)), (vec![], vec![]));
    bed.announce_paths([(1, Some(2))], 65002);
    bed.end_of_rib();
    assert_eq!((bed.paths(1), bed.counts()), (vec![(2, false)], (1, 1)));
}
