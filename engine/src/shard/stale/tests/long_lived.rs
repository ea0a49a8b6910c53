//! A router that stays away past its restart time, where both know long-lived graceful restart.

use codec::LongLivedFamily;

use super::restarts::{HELPS, RESTARTED, RESTARTS, graceful, helper};
use super::*;
use crate::policy::{Action, CommunitySet, Match, Policy, RoutePolicy, Set, Standard, Statement};

const RESTART_TIME: Duration = Duration::from_secs(100);
const NO_LLGR: u32 = 0xffff_0007;

fn lasting(says: &super::restarts::Says, seconds: u32, forwarding: bool) -> Vec<Capability> {
    let mut capabilities = graceful(says);
    capabilities.push(Capability::LongLivedGracefulRestart(vec![
        LongLivedFamily {
            afi: FAMILY.afi(),
            safi: FAMILY.safi(),
            forwarding,
            stale_time: seconds,
        },
    ]));
    capabilities
}

fn keeper(seconds: u64) -> Neighbor {
    Neighbor {
        long_lived: Some(Duration::from_secs(seconds)),
        ..helper()
    }
}

/// Ten routes of a router that asks for `theirs` seconds of us, who allow `ours`; three more that are
/// not for this.
fn told(ours: u64, theirs: u32) -> Bed {
    let mut bed = Bed::new(keeper(ours));
    bed.establish(lasting(&RESTARTS, theirs, false));
    bed.announce(0..10);
    bed.announce_with(20..23, &[7, NO_LLGR]);
    bed.end_of_rib();
    bed
}

fn communities(bed: &Bed, number: u8) -> Vec<u32> {
    let guard = bed.rib.guard();
    let id = bed
        .rib
        .lookup(IpPrefix::V4(prefix(number)), &guard)
        .unwrap();
    let path = bed.rib.best(FAMILY, id, &guard).unwrap();
    let bytes = bed.rib.attributes(path.attributes, &guard).bytes;
    codec::AttributeSet::new(bytes).communities().collect()
}

/// Communities that import policy changes so.
fn setting(standard: CommunitySet<u32, Standard>) -> Neighbor {
    let policy = Policy::new(RoutePolicy {
        name: "communities".into(),
        statements: vec![Statement {
            name: "all".into(),
            matches: Match::default(),
            not: None,
            set: Set {
                standard,
                ..Set::default()
            },
            action: Action::Accept,
        }],
        ..RoutePolicy::default()
    });
    Neighbor {
        import: Import::Policy(Arc::new(policy)),
        ..keeper(1000)
    }
}

fn replacing(by: u32) -> Neighbor {
    setting(CommunitySet {
        replace: Some(vec![by]),
        ..CommunitySet::default()
    })
}

fn adding(community: u32) -> Neighbor {
    setting(CommunitySet {
        add: vec![community],
        ..CommunitySet::default()
    })
}

// RFC-SHOWN 9494 §4.2
#[test]
fn past_the_restart_time_routes_stay_marked_for_their_long_time() {
    let mut bed = told(1000, 600);
    bed.lose();
    bed.pass(RESTART_TIME - Duration::from_secs(1));
    bed.stale((0..10).chain(20..23));
    assert_eq!(communities(&bed, 3), [0; 0]);
    bed.pass(Duration::from_secs(1));
    bed.stale(0..10);
    assert_eq!(communities(&bed, 3), [rib::LLGR_STALE]);
    bed.pass(Duration::from_secs(599));
    bed.stale(0..10);
    bed.pass(Duration::from_secs(1));
    bed.fresh([]);
}

// RFC-SHOWN 9494 §3.1
#[test]
fn our_own_bound_counts_if_it_is_shorter_and_none_if_we_have_none() {
    let mut bed = told(50, 600);
    bed.lose();
    bed.pass(RESTART_TIME + Duration::from_secs(49));
    bed.stale(0..10);
    bed.pass(Duration::from_secs(1));
    bed.fresh([]);
    let mut bed = Bed::new(helper());
    bed.establish(lasting(&RESTARTS, 600, false));
    bed.announce(0..3);
    bed.lose();
    bed.pass(RESTART_TIME);
    bed.fresh([]);
}

// RFC-SHOWN 9494 §4.5
#[test]
fn without_graceful_restart_its_long_lived_form_says_nothing() {
    let mut bed = Bed::new(keeper(1000));
    let mut alone = lasting(&RESTARTS, 600, false);
    alone.retain(|capability| !matches!(capability, Capability::GracefulRestart { .. }));
    bed.establish(alone);
    bed.announce(0..10);
    bed.lose();
    bed.fresh([]);
}

/// Graceful restart names no family, so that its time is zero for those of the long-lived form.
// RFC-SHOWN 9494 §4.2
#[test]
fn a_family_that_only_the_long_lived_form_names_is_kept_by_that_at_once() {
    let told = || {
        let mut bed = Bed::new(keeper(1000));
        bed.establish(lasting(&HELPS, 600, false));
        bed.announce(0..10);
        bed.announce_with(20..23, &[7, NO_LLGR]);
        bed.end_of_rib();
        bed.lose();
        bed.stale(0..10);
        assert_eq!(communities(&bed, 3), [rib::LLGR_STALE]);
        bed
    };
    let mut bed = told();
    bed.pass(Duration::from_secs(599));
    bed.stale(0..10);
    bed.pass(Duration::from_secs(1));
    bed.fresh([]);
    // Back in time, it brings back what it says that it still forwards.
    let mut bed = told();
    bed.establish(lasting(&HELPS, 600, true));
    bed.stale(0..10);
    bed.announce(0..4);
    bed.end_of_rib();
    bed.fresh(0..4);
    let mut bed = told();
    bed.establish(lasting(&HELPS, 600, false));
    bed.fresh([]);
}

// RFC-SHOWN 9494 §4.2
#[test]
fn a_router_that_is_back_late_brings_back_what_it_still_forwards() {
    let mut bed = told(1000, 600);
    bed.lose();
    bed.pass(RESTART_TIME + Duration::from_secs(60));
    bed.establish(lasting(&RESTARTED, 600, true));
    bed.stale(0..10);
    assert_eq!(communities(&bed, 3), [rib::LLGR_STALE]);
    bed.announce(0..4);
    assert_eq!(communities(&bed, 3), [0; 0]);
    bed.end_of_rib();
    bed.fresh(0..4);
    assert_eq!(bed.received(), 4);
    let mut bed = told(1000, 600);
    bed.lose();
    bed.pass(RESTART_TIME + Duration::from_secs(60));
    bed.establish(lasting(&RESTARTED, 600, false));
    bed.fresh([]);
}

// RFC-SHOWN 9494 §4.2
#[test]
fn coming_and_going_does_not_make_the_long_time_longer() {
    let mut bed = told(1000, 600);
    bed.lose();
    bed.pass(RESTART_TIME);
    for _ in 0..5 {
        bed.establish(lasting(&RESTARTED, 600, true));
        bed.stale(0..10);
        bed.lose();
        bed.pass(RESTART_TIME);
        bed.stale(0..10);
    }
    bed.pass(Duration::from_secs(99));
    bed.stale(0..10);
    bed.pass(Duration::from_secs(1));
    bed.fresh([]);
}

#[test]
fn a_neighbor_that_is_not_kept_for_long_any_more_loses_what_was() {
    let mut bed = told(1000, 600);
    bed.lose();
    bed.pass(RESTART_TIME);
    bed.stale(0..10);
    bed.change(helper());
    bed.fresh([]);
    // Within the restart time that is what counts.
    let mut bed = told(1000, 600);
    bed.lose();
    bed.change(helper());
    bed.stale((0..10).chain(20..23));
    bed.pass(RESTART_TIME);
    bed.fresh([]);
}

#[test]
fn a_neighbor_that_is_removed_takes_its_long_lived_routes_along() {
    let mut bed = told(1000, 600);
    bed.lose();
    bed.pass(RESTART_TIME);
    bed.command(ShardCommand::Delta(Delta::NeighborGone(
        INSTANCE,
        PEER.into(),
    )));
    bed.fresh([]);
}

// RFC-SHOWN 9494 §4.3
#[test]
fn no_import_policy_takes_the_mark_off() {
    let mut bed = told(1000, 600);
    bed.change(replacing(1));
    bed.lose();
    bed.pass(RESTART_TIME);
    assert_eq!(communities(&bed, 3), [1, rib::LLGR_STALE]);
    // Judged anew, also once it is back.
    bed.change(replacing(2));
    assert_eq!(communities(&bed, 3), [2, rib::LLGR_STALE]);
    bed.establish(lasting(&RESTARTED, 600, true));
    bed.change(setting(CommunitySet {
        remove: vec![Standard::parse("*:*").unwrap()],
        ..CommunitySet::default()
    }));
    assert_eq!(communities(&bed, 3), [rib::LLGR_STALE]);
    bed.stale(0..10);
    bed.announce(0..4);
    assert_eq!(communities(&bed, 3), [0; 0]);
    assert_eq!(communities(&bed, 4), [rib::LLGR_STALE]);
    bed.end_of_rib();
    bed.fresh(0..4);
}

// RFC-SHOWN 9494 §4.2
#[test]
fn a_policy_too_may_say_that_routes_are_not_for_this() {
    let mut bed = told(1000, 600);
    bed.change(adding(NO_LLGR));
    bed.lose();
    bed.stale((0..10).chain(20..23));
    bed.pass(RESTART_TIME);
    bed.fresh([]);
    // Also while they are kept so.
    let mut bed = told(1000, 600);
    bed.lose();
    bed.pass(RESTART_TIME);
    bed.stale(0..10);
    bed.change(adding(NO_LLGR));
    bed.fresh([]);
}

// RFC-SHOWN 7313 §4
#[test]
fn a_refresh_before_end_of_rib_does_not_keep_long_lived_routes_for_longer() {
    let says = |says| {
        let mut capabilities = lasting(says, 600, true);
        capabilities.extend(enhanced());
        capabilities
    };
    let mut bed = Bed::new(keeper(1000));
    bed.establish(says(&RESTARTS));
    bed.announce(0..10);
    bed.end_of_rib();
    bed.lose();
    bed.pass(RESTART_TIME);
    for _ in 0..5 {
        bed.establish(says(&RESTARTED));
        bed.bound(RouteRefresh::BEGIN);
        bed.lose();
        bed.pass(RESTART_TIME);
        bed.stale(0..10);
    }
    bed.pass(Duration::from_secs(99));
    bed.stale(0..10);
    bed.pass(Duration::from_secs(1));
    bed.fresh([]);
}

#[test]
fn a_lower_bound_of_ours_counts_for_what_is_left_of_the_long_time() {
    let mut bed = told(1000, 600);
    bed.lose();
    bed.pass(RESTART_TIME + Duration::from_secs(100));
    // Higher than what the router asked for, and then lower.
    bed.change(keeper(900));
    bed.change(keeper(200));
    bed.pass(Duration::from_secs(99));
    bed.stale(0..10);
    bed.pass(Duration::from_secs(1));
    bed.fresh([]);
    // Lowered within the restart time.
    let mut bed = told(1000, 600);
    bed.lose();
    bed.change(keeper(200));
    bed.pass(RESTART_TIME + Duration::from_secs(199));
    bed.stale(0..10);
    bed.pass(Duration::from_secs(1));
    bed.fresh([]);
    // Already over.
    let mut bed = told(1000, 600);
    bed.lose();
    bed.pass(RESTART_TIME + Duration::from_secs(100));
    bed.change(keeper(50));
    bed.pass(Duration::from_secs(1));
    bed.fresh([]);
}
