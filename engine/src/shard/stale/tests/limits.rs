//! `maxPrefixes` counts what a router says, not what it has yet to say again.

use super::restarts::{RESTARTED, graceful, helper};
use super::*;
use crate::config::{LimitAction, MaxPrefixes};

/// A router that has said three prefixes, which is the most that it may, and what it offers.
fn full(neighbor: Neighbor, mut offered: Vec<Capability>) -> (Bed, Vec<Capability>) {
    offered.extend(graceful(&RESTARTED));
    let mut bed = Bed::new(Neighbor {
        max_prefixes: MaxPrefixes {
            most: [Some(3), None],
            action: LimitAction::Reset(None),
            warning_percent: 70,
        },
        graceful_restart: helper().graceful_restart,
        ..neighbor
    });
    bed.establish(offered.clone());
    (bed, offered)
}

fn said(numbers: std::ops::Range<u8>) -> Vec<u8> {
    announcement(numbers.map(|number| (number, None)), 65002)
}

#[track_caller]
fn is_past_its_limit(bed: &Bed) {
    assert_eq!(bed.heard.last().unwrap(), "6/1");
}

// RFC-SHOWN 4724 §4.2
// RFC-SHOWN 4486 §4
#[test]
fn a_router_may_come_back_with_as_many_other_prefixes() {
    let (mut bed, offered) = full(neighbor(), enhanced());
    bed.announce(0..3);
    bed.end_of_rib();
    bed.lose();
    bed.establish(offered);
    bed.announce(3..6);
    assert_eq!(bed.routes().len(), 6);
    // The end, and more behind it before the shard has had a turn to sweep.
    let mut octets = Vec::new();
    codec::encode_end_of_rib(FAMILY, &mut octets);
    octets.extend(said(3..6));
    bed.say(&octets);
    bed.fresh(3..6);
    assert_eq!(bed.counts(), (3, 3));
    bed.announce(6..7);
    is_past_its_limit(&bed);
}

// RFC-SHOWN 7313 §4
#[test]
fn a_refresh_may_put_other_prefixes_in_the_place_of_what_it_leaves_out() {
    let (mut bed, _) = full(neighbor(), enhanced());
    bed.announce(0..3);
    bed.end_of_rib();
    bed.bound(RouteRefresh::BEGIN);
    bed.announce(0..2);
    bed.announce(7..8);
    bed.bound(RouteRefresh::END);
    bed.fresh([0, 1, 7]);
    bed.bound(RouteRefresh::BEGIN);
    bed.announce(3..6);
    bed.announce(6..7);
    is_past_its_limit(&bed);
}

#[test]
fn refreshes_without_an_end_let_nobody_say_ever_more() {
    let (mut bed, _) = full(neighbor(), enhanced());
    bed.end_of_rib();
    for begin in [0, 3, 6] {
        assert!(bed.closed.is_empty());
        bed.announce(begin..begin + 3);
        bed.bound(RouteRefresh::BEGIN);
    }
    is_past_its_limit(&bed);
}

// RFC-SHOWN 7911 §2
#[test]
fn of_several_paths_one_that_is_said_again_has_its_prefix_count() {
    let (neighbor, offered) = several();
    let (mut bed, _) = full(neighbor, offered);
    let paths = |numbers: std::ops::Range<u8>, path_id| {
        let paths = numbers.map(move |number| (number, Some(path_id)));
        announcement(paths, 65002)
    };
    bed.say(&paths(0..3, 1));
    bed.end_of_rib();
    bed.bound(RouteRefresh::BEGIN);
    bed.say(&paths(0..3, 2));
    assert_eq!((bed.paths(0).len(), bed.closed.len()), (2, 0));
    bed.say(&paths(3..4, 2));
    is_past_its_limit(&bed);
}
