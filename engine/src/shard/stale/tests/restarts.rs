//! A router that restarts, or does not come back, or comes back as another.

use codec::notification::cease;
use codec::{GracefulRestartFamily, Notification};

use super::*;
use crate::config::{GracefulRestart, PeerAsn};
use crate::policy::{Action, Match, Policy, RoutePolicy, Set, Statement, Validation};
use crate::rpki::{Publication, VrpTable};

const RESTART_TIME: Duration = Duration::from_secs(100);
const STALE_TIME: Duration = Duration::from_secs(300);

/// What the router says of its restarts.
pub(super) struct Says {
    restarting: bool,
    notification: bool,
    named: bool,
    forwarding: bool,
}

pub(super) const RESTARTS: Says = Says {
    restarting: false,
    notification: false,
    named: true,
    forwarding: false,
};

pub(super) const RESTARTED: Says = Says {
    restarting: true,
    notification: false,
    named: true,
    forwarding: true,
};

/// It asks for nothing of its own to be kept.
pub(super) const HELPS: Says = Says {
    restarting: false,
    notification: false,
    named: false,
    forwarding: false,
};

pub(super) fn graceful(says: &Says) -> Vec<Capability> {
    let family = GracefulRestartFamily {
        afi: FAMILY.afi(),
        safi: FAMILY.safi(),
        forwarding: says.forwarding,
    };
    vec![Capability::GracefulRestart {
        restarting: says.restarting,
        notification: says.notification,
        restart_time: RESTART_TIME.as_secs() as u16,
        families: if says.named { vec![family] } else { vec![] },
    }]
}

fn with_notification(says: Says) -> Says {
    Says {
        notification: true,
        ..says
    }
}

pub(super) fn helper() -> Neighbor {
    Neighbor {
        graceful_restart: GracefulRestart {
            stale_time: STALE_TIME,
            ..GracefulRestart::default()
        },
        ..neighbor()
    }
}

/// Ten routes of a router that restarts so.
fn told(says: &Says) -> Bed {
    let mut bed = Bed::new(helper());
    bed.establish(graceful(says));
    bed.announce(0..10);
    bed.end_of_rib();
    bed.fresh(0..10);
    bed.heard.clear();
    bed
}

// RFC-SHOWN 4724 §4.2
#[test]
fn the_routes_of_a_router_that_restarts_stay_until_it_has_said_what_it_has_now() {
    let mut bed = told(&RESTARTS);
    bed.lose();
    bed.stale(0..10);
    bed.pass(Duration::from_secs(60));
    bed.stale(0..10);
    bed.establish(graceful(&RESTARTED));
    bed.stale(0..10);
    bed.announce(0..7);
    bed.announce(30..31);
    assert_eq!(bed.routes().iter().filter(|(_, stale)| *stale).count(), 3);
    bed.end_of_rib();
    bed.fresh((0..7).chain(30..31));
    assert_eq!(bed.received(), 8);
    // Once: what comes after it has nothing to sweep.
    bed.pass(STALE_TIME * 2);
    bed.end_of_rib();
    bed.fresh((0..7).chain(30..31));
}

// RFC-SHOWN 7313 §4
#[test]
fn a_refresh_that_begins_before_end_of_rib_is_none() {
    let says = |says| {
        let mut capabilities = graceful(says);
        capabilities.extend(enhanced());
        capabilities
    };
    let mut bed = Bed::new(helper());
    bed.establish(says(&RESTARTS));
    bed.announce(0..10);
    // Nor on a first session: everything that is said is new.
    bed.bound(RouteRefresh::BEGIN);
    bed.fresh(0..10);
    bed.end_of_rib();
    bed.lose();
    bed.establish(says(&RESTARTED));
    bed.announce(0..4);
    bed.bound(RouteRefresh::BEGIN);
    assert_eq!(bed.routes().iter().filter(|(_, stale)| *stale).count(), 6);
    bed.announce(0..1);
    bed.bound(RouteRefresh::END);
    assert_eq!(bed.routes().len(), 10);
    bed.end_of_rib();
    bed.fresh(0..4);
    // The end of what was ignored, and a refresh that counts.
    bed.bound(RouteRefresh::END);
    bed.fresh(0..4);
    bed.bound(RouteRefresh::BEGIN);
    bed.stale(0..4);
    bed.announce(0..2);
    bed.bound(RouteRefresh::END);
    bed.fresh(0..2);
}

// RFC-SHOWN 4724 §4.2
#[test]
fn a_router_that_does_not_come_back_in_time_loses_its_routes() {
    let mut bed = told(&RESTARTS);
    bed.lose();
    bed.pass(RESTART_TIME - Duration::from_secs(1));
    bed.stale(0..10);
    bed.pass(Duration::from_secs(1));
    bed.fresh([]);
    bed.establish(graceful(&RESTARTED));
    bed.announce(0..1);
    bed.fresh(0..1);
}

// RFC-SHOWN 4724 §4.2
#[test]
fn a_router_that_never_says_end_of_rib_loses_what_it_did_not_say_again() {
    let mut bed = told(&RESTARTS);
    bed.lose();
    bed.pass(Duration::from_secs(50));
    bed.establish(graceful(&RESTARTED));
    bed.announce(0..2);
    bed.pass(STALE_TIME - Duration::from_secs(51));
    assert_eq!(bed.routes().len(), 10);
    bed.pass(Duration::from_secs(1));
    bed.fresh(0..2);
}

// RFC-SHOWN 4724 §4.2
#[test]
fn what_a_router_does_not_forward_or_name_any_more_goes_as_soon_as_it_is_back() {
    let not_forwarding = Says {
        forwarding: false,
        ..RESTARTED
    };
    let not_named = Says {
        named: false,
        ..RESTARTED
    };
    for capabilities in [
        graceful(&not_forwarding),
        graceful(&not_named),
        vec![Capability::RouteRefresh],
    ] {
        let mut bed = told(&RESTARTS);
        bed.lose();
        bed.stale(0..10);
        bed.establish(capabilities);
        bed.fresh([]);
        assert_eq!(bed.received(), 0);
    }
}

#[test]
fn another_router_at_the_address_inherits_nothing() {
    let mut bed = told(&RESTARTS);
    bed.lose();
    bed.establish_as(Ipv4Addr::new(10, 0, 0, 66), graceful(&RESTARTED));
    bed.fresh([]);
    bed.announce(0..1);
    bed.fresh(0..1);
}

// RFC-SHOWN 4724 §3
#[test]
fn who_offers_no_restart_or_is_not_helped_loses_its_routes_with_its_session() {
    let nameless = Says {
        named: false,
        ..RESTARTS
    };
    let mut bed = told(&nameless);
    bed.lose();
    bed.fresh([]);
    let mut settings = helper();
    settings.graceful_restart.helper = false;
    let mut bed = Bed::new(settings);
    bed.establish(graceful(&RESTARTS));
    bed.announce(0..3);
    bed.lose();
    bed.fresh([]);
}

#[test]
fn routes_go_at_once_when_new_settings_let_nobody_bring_them_back() {
    type Change = fn(&mut Neighbor);
    let ending: [Change; 5] = [
        |settings| settings.peer_asn = PeerAsn::Number(65012),
        |settings| settings.peer_asn = PeerAsn::Internal,
        |settings| settings.graceful_restart.helper = false,
        |settings| settings.families = FamilySet::from_iter([Family::Ipv6Unicast]),
        |settings| settings.import = Import::None,
    ];
    let harmless: [Change; 4] = [
        |settings| settings.peer_asn = PeerAsn::Any,
        |settings| settings.peer_asn = PeerAsn::External,
        |settings| settings.families = FamilySet::ALL,
        |settings| settings.timers.hold = Duration::from_secs(60),
    ];
    let all = ending.map(|change| (change, 0)).into_iter();
    for (change, left) in all.chain(harmless.map(|change| (change, 10))) {
        let mut settings = helper();
        change(&mut settings);
        let mut bed = told(&RESTARTS);
        bed.lose();
        bed.change(settings.clone());
        bed.stale(0..left);
        if left > 0 {
            bed.establish(graceful(&RESTARTED));
            bed.stale(0..left);
        }
    }
    // Also where the change itself ends the session, and routes would outlive that.
    for change in &ending[..4] {
        let mut settings = helper();
        change(&mut settings);
        let mut bed = told(&with_notification(RESTARTS));
        bed.change(settings);
        bed.fresh([]);
    }
}

// RFC-SHOWN 8538 §4
#[test]
fn routes_outlive_a_notification_only_where_both_said_so() {
    let reset = Notification::cease(cease::ADMINISTRATIVE_RESET);
    let mut bed = told(&RESTARTS);
    bed.notify(&reset);
    bed.fresh([]);
    let mut bed = told(&with_notification(RESTARTS));
    bed.notify(&reset);
    bed.stale(0..10);
    let mut settings = helper();
    settings.graceful_restart.notification = false;
    let mut bed = Bed::new(settings);
    bed.establish(graceful(&with_notification(RESTARTS)));
    bed.announce(0..3);
    bed.notify(&reset);
    bed.fresh([]);
}

// RFC-SHOWN 8538 §4
#[test]
fn routes_outlive_an_expired_hold_timer_where_both_said_so() {
    for (says, left) in [(RESTARTS, 0), (with_notification(RESTARTS), 10)] {
        let mut bed = told(&says);
        for _ in 0..90 {
            bed.now = bed.now + Duration::from_secs(1);
            bed.shard.handle_timeout(bed.now, &mut |_| false);
            bed.turn();
        }
        assert_eq!(bed.heard.last().unwrap(), "4/0");
        bed.stale(0..left);
    }
}

// RFC-SHOWN 8538 §3.1
#[test]
fn a_hard_reset_ends_it_and_its_reason_is_told() {
    let mut bed = told(&with_notification(RESTARTS));
    let reason = Notification::cease(cease::ADMINISTRATIVE_SHUTDOWN)
        .with_shutdown_communication("maintenance");
    bed.notify(&reason.in_hard_reset());
    bed.fresh([]);
    let (_, peer) = bed.shard.peers.iter().next().unwrap();
    let error = peer.session.last_error().unwrap();
    assert!(
        error.contains("maintenance") && error.contains("it was shut down over there"),
        "{error}"
    );
}

/// The prefixes of which a path is used.
fn used(bed: &Bed) -> Vec<u8> {
    let guard = bed.rib.guard();
    let is_used = |number: &u8| {
        let id = bed.rib.lookup(IpPrefix::V4(prefix(*number)), &guard);
        id.is_some_and(|id| bed.rib.best(FAMILY, id, &guard).is_some())
    };
    (0..=u8::MAX).filter(is_used).collect()
}

#[test]
fn what_a_router_that_is_away_had_said_is_judged_by_the_policy_of_now() {
    let importing = |import| Neighbor { import, ..helper() };
    let reject = || Import::Policy(Arc::new(Policy::missing(&"gone".into())));
    let mut bed = told(&RESTARTS);
    bed.lose();
    bed.change(importing(reject()));
    assert_eq!(used(&bed), [0; 0]);
    bed.stale(0..10);
    bed.change(importing(Import::All));
    assert_eq!(used(&bed).len(), 10);
    // With settings that ask for another session too.
    let mut other = importing(reject());
    other.timers.hold = Duration::from_secs(60);
    bed.change(other.clone());
    assert_eq!(used(&bed), [0; 0]);
    bed.stale(0..10);
    other.import = Import::All;
    bed.change(other);
    bed.establish(graceful(&RESTARTED));
    bed.announce(0..10);
    bed.end_of_rib();
    assert_eq!((used(&bed).len(), bed.counts()), (10, (10, 10)));
}

// RFC-SHOWN 6811 §4
#[test]
fn what_a_router_that_is_away_had_said_is_judged_by_the_vrps_of_now() {
    let invalid = Match {
        validation: vec![Validation::Invalid],
        ..Match::default()
    };
    let strict = Policy::new(RoutePolicy {
        name: "strict".into(),
        statements: vec![Statement {
            name: "invalid".into(),
            matches: invalid,
            not: None,
            set: Set::default(),
            action: Action::Reject,
        }],
        default_accepts: true,
        ..RoutePolicy::default()
    });
    let mut bed = Bed::new(Neighbor {
        import: Import::Policy(Arc::new(strict)),
        ..helper()
    });
    bed.establish(graceful(&RESTARTS));
    bed.announce(0..10);
    bed.end_of_rib();
    bed.lose();
    let mut before = Arc::new(VrpTable::default());
    let everybody = (0..=u8::MAX).collect::<Vec<_>>();
    for asn in [65009, 65002] {
        let vrps = everybody
            .iter()
            .map(|n| (IpPrefix::V4(prefix(*n)), 24, asn));
        let after = Arc::new(VrpTable::of(&vrps.collect::<Vec<_>>()));
        let publication = Publication {
            changed: Arc::new(before.changed(&after)),
            table: Some(Arc::clone(&after)),
        };
        before = after;
        bed.command(ShardCommand::Vrps(INSTANCE, publication));
        assert_eq!(used(&bed).len(), if asn == 65002 { 10 } else { 0 });
        bed.stale(0..10);
    }
}

// RFC-SHOWN 4724 §4.2
#[test]
fn a_second_restart_before_the_first_is_over_keeps_only_what_was_said_in_between() {
    let mut bed = told(&RESTARTS);
    bed.lose();
    bed.establish(graceful(&RESTARTED));
    bed.announce(0..4);
    bed.lose();
    bed.stale(0..4);
    bed.establish(graceful(&RESTARTED));
    bed.announce(0..1);
    bed.end_of_rib();
    bed.fresh(0..1);
}

#[test]
fn a_path_that_comes_while_older_ones_are_about_to_go_is_known_as_the_peers() {
    let mut bed = told(&RESTARTS);
    bed.lose();
    bed.establish(graceful(&RESTARTED));
    // Its second restart and what it says then come before a turn.
    let words = "connection reset".to_owned();
    bed.shard.handle_closed(bed.now, bed.connection, words);
    bed.establish_at_once(graceful(&RESTARTED), 3..5);
    bed.end_of_rib();
    bed.fresh(3..5);
    assert_eq!((bed.received(), bed.counts()), (2, (2, 2)));
}

// RFC-SHOWN 8538 §4
#[test]
fn restart_after_restart_keeps_routes_no_longer_than_the_first_where_notifications_are_no_end() {
    let mut bed = told(&with_notification(RESTARTS));
    let mut left = STALE_TIME;
    while left > Duration::from_secs(40) {
        bed.lose();
        bed.pass(Duration::from_secs(40));
        left -= Duration::from_secs(40);
        bed.stale(0..10);
        bed.establish(graceful(&with_notification(RESTARTED)));
        bed.stale(0..10);
    }
    bed.pass(left);
    bed.fresh([]);
}

// RFC-SHOWN 4724 §4.2
#[test]
fn a_new_session_over_the_one_that_is_up_is_a_restart() {
    let mut bed = told(&RESTARTS);
    let first = bed.connection;
    bed.establish(graceful(&RESTARTED));
    assert_ne!(bed.connection, first);
    assert_eq!(bed.closed, [first], "the old connection goes");
    assert!(
        !bed.heard.iter().any(|heard| heard.contains('/')),
        "{:?}",
        bed.heard
    );
    bed.stale(0..10);
    bed.announce(0..2);
    bed.end_of_rib();
    bed.fresh(0..2);
    // And once more, over one that took the other's place.
    bed.pass(Duration::from_secs(10));
    bed.establish(graceful(&RESTARTED));
    bed.announce(0..1);
    bed.end_of_rib();
    bed.fresh(0..1);
}

#[test]
fn a_collision_that_is_late_is_no_restart() {
    let mut bed = told(&RESTARTS);
    let first = bed.connection;
    bed.establish(graceful(&RESTARTS));
    assert_eq!(bed.heard, ["open", "6/7"]);
    assert_eq!(bed.closed, [bed.connection]);
    bed.connection = first;
    bed.announce(10..11);
    bed.fresh(0..11);
    // Nor does one that says what the OPEN of the session said too.
    let mut beside = told(&RESTARTED);
    beside.establish(graceful(&RESTARTED));
    assert_eq!(beside.heard, ["open", "6/7"]);
    // Later it can be none: the peer has lost the first one, and did not restart.
    bed.pass(Duration::from_secs(10));
    let not_restarted = Says {
        restarting: false,
        ..RESTARTED
    };
    bed.establish(graceful(&not_restarted));
    assert!(bed.closed.contains(&first));
    bed.stale(0..11);
}

#[test]
fn a_connection_without_a_good_open_leaves_the_session_alone() {
    let mut bed = told(&RESTARTS);
    let first = bed.connection;
    let (local, remote) = (SocketAddr::new(LOCAL, 179), SocketAddr::new(PEER, 40_001));
    let second = bed
        .shard
        .handle_accepted(bed.now, INSTANCE, local, remote.ip().into())
        .unwrap();
    bed.turn();
    bed.shard
        .handle_closed(bed.now, second, "connection reset".to_owned());
    bed.turn();
    bed.announce(10..12);
    bed.fresh(0..12);
    assert_eq!(bed.connection, first);
    let (_, peer) = bed.shard.peers.iter().next().unwrap();
    assert_eq!(peer.session.last_error(), None);
    // Nor does one that waits for ever.
    let third = bed
        .shard
        .handle_accepted(bed.now, INSTANCE, local, remote.ip().into());
    bed.pass(Duration::from_secs(250));
    assert!(bed.closed.contains(&third.unwrap()));
    bed.fresh(0..12);
}

#[test]
fn without_graceful_restart_a_second_connection_is_refused() {
    let mut bed = Bed::new(helper());
    bed.establish(vec![]);
    bed.announce(0..3);
    bed.heard.clear();
    let (local, remote) = (SocketAddr::new(LOCAL, 179), SocketAddr::new(PEER, 40_001));
    bed.shard
        .handle_accepted(bed.now, INSTANCE, local, remote.ip().into());
    bed.turn();
    assert_eq!(bed.heard, ["6/7"]);
    bed.fresh(0..3);
}

// RFC-SHOWN 8538 §3.1
#[test]
fn what_ends_a_session_for_good_is_a_hard_reset_and_keeps_no_routes() {
    let gone = || ShardCommand::Delta(Delta::NeighborGone(INSTANCE, PEER.into()));
    let reset = || ShardCommand::Reset {
        instance: None,
        peer: None,
        reply: Box::new(|_| {}),
    };
    let disabled = || {
        let settings = crate::config::InstanceSettings {
            enabled: false,
            ..Instance::new(Ipv4Addr::new(10, 0, 0, 5)).settings()
        };
        ShardCommand::Delta(Delta::Instance(INSTANCE, Arc::new(settings)))
    };
    let commands: [(&dyn Fn() -> ShardCommand, u8); 3] = [
        (&gone, cease::PEER_DECONFIGURED),
        (&reset, cease::ADMINISTRATIVE_RESET),
        (&disabled, cease::ADMINISTRATIVE_SHUTDOWN),
    ];
    for (command, subcode) in commands {
        let mut bed = told(&with_notification(RESTARTS));
        bed.command(command());
        assert_eq!(
            *bed.heard.last().unwrap(),
            format!("6/9 around 6/{subcode}")
        );
        bed.fresh([]);
        let mut bed = told(&RESTARTS);
        bed.command(command());
        assert_eq!(*bed.heard.last().unwrap(), format!("6/{subcode}"));
        bed.fresh([]);
        // While it is away too: at once, whatever time it had.
        let mut bed = told(&RESTARTS);
        bed.lose();
        bed.stale(0..10);
        bed.command(command());
        bed.fresh([]);
    }
}

#[test]
fn new_settings_that_need_a_new_session_keep_the_routes_over_it() {
    let mut bed = told(&with_notification(RESTARTS));
    let mut settings = helper();
    settings.timers.hold = Duration::from_secs(30);
    bed.change(settings.clone());
    assert_eq!(bed.heard.last().unwrap(), "6/6");
    bed.stale(0..10);
    settings.import = Import::None;
    bed.change(settings);
    bed.fresh([]);
}

// RFC-SHOWN 4724 §4
#[test]
fn a_process_that_ends_says_nothing_to_who_keeps_its_routes() {
    let mut settings = helper();
    settings.graceful_restart.enabled = true;
    let mut bed = Bed::new(settings);
    bed.establish(graceful(&RESTARTS));
    bed.heard.clear();
    bed.shard.handle_shutdown(bed.now);
    bed.turn();
    assert_eq!(bed.heard, [""; 0]);
    assert_eq!(bed.closed, [bed.connection]);
    // Not asked for, or not by both.
    let mut bed = told(&RESTARTS);
    bed.shard.handle_shutdown(bed.now);
    bed.turn();
    assert_eq!(bed.heard, ["6/2"]);
}

/// With no session left on the shard, so that nobody there is told what changes.
// RFC-SHOWN 7454 §6.1.4
#[test]
fn own_routes_that_come_and_go_decide_over_what_a_router_that_is_away_had_said() {
    let accepted = |bed: &Bed| {
        let guard = bed.rib.guard();
        let id = bed.rib.lookup(IpPrefix::V4(prefix(3)), &guard).unwrap();
        let paths = bed.rib.paths(FAMILY, id, &guard);
        let mut learned = paths.iter().filter(|p| !p.flags.contains(PathFlags::LOCAL));
        learned.next().map(rib::Path::is_usable)
    };
    let mut bed = told(&RESTARTS);
    bed.own(3, true);
    bed.own(3, false);
    bed.lose();
    assert_eq!(accepted(&bed), Some(true));
    bed.own(3, true);
    assert_eq!(accepted(&bed), Some(false));
    // The last one goes, and what was held to be its echo is looked at all the same.
    bed.own(3, false);
    assert_eq!(accepted(&bed), Some(true));
    assert!(!bed.rib.has_own(FAMILY));
    // Once it has nothing here any more, nobody hears.
    assert!(bed.hears());
    bed.pass(RESTART_TIME);
    bed.fresh([]);
    assert!(!bed.hears());
    // Nor, while it is away for the second time, of what it took along.
    let mut bed = told(&RESTARTS);
    bed.lose();
    bed.establish(graceful(&RESTARTED));
    bed.end_of_rib();
    bed.fresh([]);
    bed.lose();
    assert!(!bed.hears());
}
