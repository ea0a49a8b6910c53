//! What `explain` says of a peer that is told other than the best path as it is.

use super::*;
use crate::config::{Client, Export};
use crate::policy::{Action, SetMed, SetNextHop};
use crate::shard::policy_tests::{policy, statement};

const BEST: &str = "10.0.0.6";
const OTHER: &str = "10.0.0.8";
const HEARS: &str = "10.0.0.7";

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Two say the same prefix to a route server: the third hears of it, by a policy of this kind.
fn route_server(statements: Vec<crate::policy::Statement>) -> Bed {
    let mut bed = Bed::new();
    let client = |at, asn| Neighbor {
        client: Some(Client::RouteServer),
        ..neighbor(at, asn)
    };
    bed.configure(client(BEST, 65002));
    bed.configure(client(OTHER, 65004));
    bed.configure(Neighbor {
        export: Export::Policy(policy(statements)),
        ..client(HEARS, 65003)
    });
    let best = bed.connect(address(BEST), &open(65002, 6, &[]));
    let other = bed.connect(address(OTHER), &open(65004, 8, &[]));
    bed.connect(address(HEARS), &open(65003, 7, &[]));
    bed.say(best, &announce(1, 65002, 6, |_| ()));
    bed.say(other, &announce(1, 65004, 8, |_| ()));
    bed
}

#[test]
fn who_is_told_another_path_is_told_why_not_the_best_one() {
    let bed = route_server(vec![
        statement("not-that", Action::Reject, |s| {
            s.matches.origin_asns = vec![65002..=65002];
        }),
        statement("rest", Action::Accept, |_| {}),
    ]);
    let verdict = bed.verdict(erased(1), address(HEARS));
    assert_eq!(verdict.route.unwrap().peer_address.as_deref(), Some(OTHER));
    assert_eq!(
        verdict.reason,
        "announced: the best of the others; the best path, from 10.0.0.6, must not be told to it: \
         rejected by RoutePolicy p, statement not-that"
    );
    assert_eq!(
        verdict.best_export.as_deref(),
        Some("rejected by RoutePolicy p, statement not-that")
    );
    let steps = verdict.best_export_steps;
    assert_eq!(steps[0].statement.as_deref(), Some("not-that"));
    assert_eq!(
        verdict.export.as_deref(),
        Some("accepted by RoutePolicy p, statement rest")
    );

    let verdict = bed.verdict(erased(1), address(BEST));
    assert_eq!(verdict.route.unwrap().peer_address.as_deref(), Some(OTHER));
    assert_eq!(
        verdict.reason,
        "announced: the best of the others; the best path came from 10.0.0.6 itself"
    );
    assert_eq!(verdict.best_export, None);

    let verdict = bed.verdict(erased(1), address(OTHER));
    assert_eq!(verdict.reason, "announced");
    assert_eq!(verdict.best_export, None);
}

#[test]
fn a_next_hop_of_the_other_family_was_passed_over() {
    let bed = route_server(vec![
        statement("other", Action::Next, |s| {
            s.set.med = Some(SetMed::Value(5));
            s.set.next_hop = Some(SetNextHop::Address(address("2001:db8::77")));
        }),
        statement("of-it", Action::Accept, |s| {
            s.set.next_hop = Some(SetNextHop::Address(address("192.0.2.9")));
        }),
    ]);
    let verdict = bed.verdict(erased(1), address(HEARS));
    let next_hop = verdict.route.unwrap().next_hop;
    assert_eq!(next_hop.as_deref(), Some("192.0.2.9"));
    let steps = verdict.export_steps;
    let words = "nextHop 2001:db8::77 passed over: not of the route's family";
    assert_eq!(steps[0].set, ["med 5"]);
    assert_eq!(steps[0].passed_over.as_deref(), Some(words));
    assert_eq!(steps[1].set, ["nextHop 192.0.2.9"]);
    assert_eq!(steps[1].passed_over, None);
}
