//! Our own restart: what OPEN says of it, and how long nobody is told anything.

use super::restarts::{RESTARTED, RESTARTS, graceful, helper};
use super::*;
use crate::config::{DesiredState, Instance, Keepers, OriginAttributes, OriginChange};

/// A neighbor that keeps our routes.
fn keeper() -> Neighbor {
    let mut neighbor = helper();
    neighbor.graceful_restart.enabled = true;
    neighbor
}

/// A shard that has one route of its own, and waits for so many peers.
fn restarted(neighbor: Neighbor, peers: usize) -> (Bed, Deferral) {
    let deferral = Deferral::after_restart(None);
    deferral.expect(peers);
    deferral.begin();
    let mut bed = Bed::after(deferral.clone(), neighbor);
    bed.originate([prefix(200)]);
    (bed, deferral)
}

impl Bed {
    fn originate(&mut self, prefixes: impl IntoIterator<Item = Ipv4Prefix>) {
        let attributes = Arc::new(OriginAttributes {
            communities: vec![],
            large_communities: vec![],
            local_preference: 100,
        });
        let changes = prefixes.into_iter().map(|prefix| OriginChange {
            prefix: IpPrefix::V4(prefix),
            attributes: Some(Arc::clone(&attributes)),
            kinds: Default::default(),
        });
        let changes = changes.collect();
        self.command(ShardCommand::Delta(Delta::Origins(INSTANCE, changes)));
    }
}

// RFC-SHOWN 4724 §4.1
#[test]
fn after_a_restart_peers_are_told_nothing_until_what_they_say_has_come() {
    let (mut bed, deferral) = restarted(keeper(), 1);
    bed.establish(graceful(&RESTARTS));
    bed.announce(0..3);
    assert_eq!(bed.heard, ["open R F", "keepalive"]);
    bed.end_of_rib();
    assert!(deferral.is_over());
    assert_eq!(bed.heard[2..], ["update", "end"]);
    // Our next session is none after a restart, and what we told stands.
    bed.lose();
    bed.heard.clear();
    bed.establish(graceful(&RESTARTS));
    assert_eq!(bed.heard[0], "open F");
    assert_eq!(bed.heard[2..], ["update", "end"]);
}

// RFC-SHOWN 4724 §4.1
#[test]
fn end_of_rib_comes_behind_all_that_was_deferred_however_much_it_is() {
    let (mut bed, _) = restarted(keeper(), 1);
    let many = (0..20_000).map(|number| Ipv4Prefix::masked((0x1500_0000 | number << 8).into(), 24));
    bed.originate(many);
    bed.establish(graceful(&RESTARTS));
    bed.end_of_rib();
    let told = |word| move |heard: &&String| heard.as_str() == word;
    assert!(bed.heard.iter().filter(told("update")).count() > 10);
    assert_eq!(bed.heard.iter().filter(told("end")).count(), 1);
    assert_eq!(bed.heard.last().unwrap(), "end");
}

/// Nor does it go before what would wait for an advertisement interval.
// RFC-SHOWN 4724 §4.1
#[test]
fn end_of_rib_comes_behind_what_was_deferred_with_an_interval_too() {
    let mut neighbor = keeper();
    neighbor.timers.advertisement_interval = Duration::from_secs(5);
    let (mut bed, _) = restarted(neighbor, 1);
    bed.establish(graceful(&RESTARTS));
    // Its prefix came into the table after its group.
    bed.originate([prefix(201)]);
    bed.end_of_rib();
    let told = bed.heard.iter().filter(|heard| *heard == "update").count();
    let end = bed.heard.iter().position(|heard| heard == "end");
    assert_eq!(end, Some(bed.heard.len() - 1));
    bed.pass(Duration::from_secs(20));
    let after = bed.heard.iter().filter(|heard| *heard == "update").count();
    assert_eq!(after, told, "{:?}", bed.heard);
}

// RFC-SHOWN 4724 §4.1
#[test]
fn they_are_told_after_the_deferral_time_at_the_latest() {
    let (mut bed, deferral) = restarted(keeper(), 1);
    bed.establish(graceful(&RESTARTS));
    bed.pass(Duration::from_secs(29));
    assert!(!bed.heard.contains(&"update".to_owned()));
    bed.pass(Duration::from_secs(1));
    assert!(deferral.is_over());
    assert!(
        bed.heard
            .ends_with(&["update".to_owned(), "end".to_owned()])
    );
}

// RFC-SHOWN 4724 §4.1
#[test]
fn who_restarted_too_or_knows_no_end_is_not_waited_for() {
    for capabilities in [graceful(&RESTARTED), vec![Capability::RouteRefresh]] {
        let (mut bed, deferral) = restarted(keeper(), 1);
        bed.establish(capabilities);
        assert!(deferral.is_over());
        assert_eq!(bed.heard[2..], ["update", "end"]);
    }
}

// RFC-SHOWN 4724 §4.1
#[test]
fn end_of_rib_is_waited_for_in_the_families_that_a_peer_names() {
    let ipv6 = Capability::Multiprotocol { afi: 2, safi: 1 };
    let names_none = Capability::GracefulRestart {
        restarting: false,
        notification: false,
        restart_time: 0,
        families: vec![],
    };
    for (named, is_over) in [(graceful(&RESTARTS), true), (vec![names_none], false)] {
        let mut keeper = keeper();
        keeper.families = FamilySet::ALL;
        let (mut bed, deferral) = restarted(keeper, 1);
        let mut capabilities = named;
        capabilities.push(ipv6.clone());
        bed.establish(capabilities);
        bed.announce(0..3);
        assert!(!deferral.is_over());
        bed.end_of_rib();
        assert_eq!(deferral.is_over(), is_over);
    }
}

// RFC-SHOWN 4724 §4.1
#[test]
fn who_was_not_asked_to_keep_our_routes_is_waited_for_only_once_it_is_there() {
    let (mut bed, deferral) = restarted(helper(), 1);
    assert!(!deferral.awaits("default", &helper()), "it may be away");
    assert!(deferral.awaits("default", &keeper()));
    bed.pass(Duration::from_secs(1));
    bed.establish(graceful(&RESTARTS));
    // The one that is waited for from the start is done.
    assert!(!deferral.release() && !deferral.is_over());
    bed.announce(0..3);
    assert_eq!(bed.heard, ["open", "keepalive"]);
    bed.end_of_rib();
    assert!(deferral.is_over());
    assert_eq!(bed.heard[2..], ["update", "end"]);

    // It comes too late to be waited for.
    let (mut bed, deferral) = restarted(helper(), 0);
    bed.establish(graceful(&RESTARTS));
    assert!(deferral.is_over());
    assert_eq!(bed.heard[2..], ["update", "end"]);
}

#[test]
fn who_goes_again_is_waited_for_only_if_it_may_keep_our_routes() {
    for neighbor in [helper(), keeper()] {
        let may_keep = neighbor.graceful_restart.enabled;
        let (mut bed, deferral) = restarted(neighbor, 1 + usize::from(may_keep));
        bed.establish(graceful(&RESTARTS));
        bed.lose();
        assert_eq!(deferral.release(), !may_keep, "another one is done");
        assert_eq!(deferral.is_over(), !may_keep);
    }
}

/// Peers that come and go could keep all others waiting for as long as they like.
// RFC-SHOWN 4724 §4.1
#[test]
fn the_wait_is_no_longer_for_who_comes_again() {
    let (mut bed, deferral) = restarted(helper(), 1);
    bed.establish(graceful(&RESTARTS));
    for _ in 0..3 {
        bed.pass(Duration::from_secs(11));
        bed.lose();
        bed.establish(graceful(&RESTARTS));
    }
    assert!(
        deferral.release(),
        "the one that is waited for from the start is done"
    );
}

#[test]
fn a_neighbor_that_is_not_asked_to_keep_routes_any_more_is_not_waited_for() {
    let (mut bed, deferral) = restarted(keeper(), 1);
    bed.change(helper());
    assert!(deferral.is_over());
    // Nor one of which nothing is taken any more, be it there or not.
    for is_there in [true, false] {
        let (mut bed, deferral) = restarted(keeper(), 1);
        if is_there {
            bed.establish(graceful(&RESTARTS));
        }
        let mut deaf = keeper();
        deaf.import = Import::None;
        bed.change(deaf);
        assert!(deferral.is_over());
    }
}

#[test]
fn a_neighbor_that_is_removed_is_not_waited_for() {
    let (mut bed, deferral) = restarted(keeper(), 1);
    bed.command(ShardCommand::Delta(Delta::NeighborGone(
        INSTANCE,
        PEER.into(),
    )));
    assert!(deferral.is_over());
}

#[test]
fn nobody_is_waited_for_whose_routes_are_not_taken() {
    let mut neighbor = keeper();
    neighbor.import = Import::None;
    let (mut bed, deferral) = restarted(neighbor.clone(), 0);
    assert!(!deferral.awaits("default", &neighbor));
    bed.establish(graceful(&RESTARTS));
    assert_eq!(bed.heard, ["open R F", "keepalive", "update", "end"]);
}

/// Only who had been asked to keep our routes before is told of the restart, and waited for.
// RFC-SHOWN 4724 §4.1
#[test]
fn who_is_asked_to_keep_our_routes_only_now_is_told_of_no_restart() {
    let keepers = |neighbors: &[Neighbor]| {
        let neighbors = neighbors
            .iter()
            .map(|neighbor| (neighbor.address, Arc::new(neighbor.clone())));
        let instance = Instance {
            neighbors: neighbors.collect(),
            ..Instance::new(Ipv4Addr::new(10, 0, 0, 5))
        };
        let state = DesiredState {
            instances: [(INSTANCE, instance)].into(),
        };
        // As the state file has them.
        let text = serde_json::to_string(&Keepers::of(&state)).unwrap();
        serde_json::from_str::<Keepers>(&text).unwrap()
    };
    for (before, said, waits) in [
        (vec![], "open", false),
        (vec![helper()], "open", false),
        (vec![keeper()], "open R F", true),
    ] {
        let deferral = Deferral::after_restart(Some(keepers(&before)));
        assert_eq!(deferral.awaits("default", &keeper()), waits);
        assert!(!deferral.awaits("other", &keeper()));
        deferral.expect(usize::from(waits));
        deferral.begin();
        let mut bed = Bed::after(deferral.clone(), keeper());
        bed.establish(graceful(&RESTARTS));
        assert_eq!(bed.heard[0], said);
        assert_eq!(deferral.is_over(), !waits);
    }
}

#[test]
fn a_first_start_says_neither() {
    let mut bed = Bed::new(keeper());
    bed.establish(graceful(&RESTARTS));
    assert_eq!(bed.heard, ["open", "keepalive", "end"]);
}
