//! What `explain` says of a peer that is told other than the best path as it is, and of a route that a
//! policy cannot make what it is to make of it.

use std::net::Ipv6Addr;

use codec::AddPath;

use super::loops::by_way_of;
use super::*;
use crate::config::{AddPaths, Client, Export, NextHopIpv6};
use crate::policy::{Action, SetMed, SetNextHop};
use crate::shard::bed::{policy, statement};

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

/// What a router offers that sends, or takes, several paths of a prefix.
fn several(receive: bool) -> Capability {
    Capability::AddPath(vec![AddPath {
        afi: 1,
        safi: 1,
        receive,
        send: !receive,
    }])
}

#[test]
fn each_path_that_a_peer_is_told_is_explained() {
    const MANY: &str = "10.0.0.9";
    let mut bed = route_server(vec![]);
    bed.configure(Neighbor {
        export: Export::Policy(policy(vec![
            statement("of-other", Action::Accept, |s| {
                s.matches.origin_asns = vec![65004..=65004];
                s.set.med = Some(SetMed::Value(9));
            }),
            statement("rest", Action::Accept, |_| {}),
        ])),
        add_paths: AddPaths {
            send: 2,
            receive: false,
        },
        client: Some(Client::RouteServer),
        ..neighbor(MANY, 65005)
    });
    bed.connect(address(MANY), &open(65005, 9, &[several(true)]));
    let verdict = bed.verdict(erased(1), address(MANY));
    let words = "announced (2 paths, of which this is the first)";
    assert_eq!(verdict.reason, words);
    let first = verdict.route.unwrap();
    assert_eq!(first.peer_address.as_deref(), Some(BEST));
    assert_eq!(
        verdict.export.as_deref(),
        Some("accepted by RoutePolicy p, statement rest")
    );
    let [other] = verdict.other_paths.as_slice() else {
        panic!("{:?}", verdict.other_paths);
    };
    assert_eq!(other.route.peer_address.as_deref(), Some(OTHER));
    assert_eq!(other.route.advertised_to.as_deref(), Some(MANY));
    assert_eq!(other.route.med, Some(9));
    assert!(other.route.path_id.is_some() && other.route.path_id != first.path_id);
    assert_eq!(
        other.export.as_deref(),
        Some("accepted by RoutePolicy p, statement of-other")
    );
    assert_eq!(other.export_steps[0].set, ["med 9"]);
    // Who is told one path has nothing more.
    let verdict = bed.verdict(erased(1), address(OTHER));
    assert_eq!(verdict.other_paths, []);
    assert_eq!(verdict.received.unwrap().next_hop.as_deref(), Some(OTHER));
    assert_eq!(verdict.other_received, []);
}

#[test]
fn each_path_that_a_peer_says_is_explained() {
    let mut bed = Bed::new();
    bed.configure(Neighbor {
        import: Import::Policy(policy(vec![
            statement("not-three", Action::Reject, |s| {
                s.matches.med = Some(3..=3);
            }),
            statement("rest", Action::Accept, |_| {}),
        ])),
        add_paths: AddPaths {
            send: 0,
            receive: true,
        },
        ..neighbor(BEST, 65002)
    });
    let connection = bed.connect(address(BEST), &open(65002, 6, &[several(false)]));
    for id in (1..=19).rev() {
        bed.say(connection, &announce_path(id));
    }
    let verdict = bed.verdict(erased(1), address(BEST));
    let accepted = "accepted by RoutePolicy p, statement rest";
    assert_eq!(verdict.received.unwrap().path_id, Some(1));
    assert_eq!(verdict.import.as_deref(), Some(accepted));
    let others = verdict.other_received;
    let ids: Vec<_> = others
        .iter()
        .filter_map(|path| path.route.path_id)
        .collect();
    assert_eq!(ids, (2..=17).collect::<Vec<_>>());
    assert_eq!(verdict.received_not_shown, 2);
    assert_eq!(others[0].import, accepted);
    assert_eq!(
        others[1].import,
        "rejected by RoutePolicy p, statement not-three"
    );
    assert_eq!(others[1].import_steps[0].action, "Reject");
    assert!(!others[1].route.accepted && others[1].route.med == Some(3));
}

/// The first prefix by a path identifier, which is its MED too.
fn announce_path(id: u32) -> Vec<u8> {
    let mut attributes = Vec::new();
    let mut writer = AttributeWriter::new(&mut attributes);
    writer.origin(Origin::Igp);
    writer.as_path(&codec::AsPath::default(), &[65002], true);
    writer.next_hop(Ipv4Addr::new(10, 0, 0, 6));
    writer.med(id);
    let mut nlri = Vec::new();
    codec::encode_nlri(prefix(1), Some(id), &mut nlri);
    let mut octets = Vec::new();
    codec::encode_update(&attributes, &nlri, &mut octets);
    octets
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

#[test]
fn a_route_that_import_cannot_give_our_next_hop_is_rejected_until_there_is_one() {
    const WORDS: &str = "RoutePolicy p, statement ours: nextHop Self cannot be set, as we have no \
                         next hop of the route's family on this session";
    const PEER: &str = "10.0.0.7";
    let importing = |next_hop_ipv6, action| Neighbor {
        next_hop_ipv6,
        import: Import::Policy(policy(vec![
            statement("first", Action::Next, |s| {
                s.set.local_preference = Some(7);
            }),
            statement("ours", action, |s| {
                s.set.med = Some(SetMed::Value(5));
                s.set.next_hop = Some(SetNextHop::Own);
            }),
            statement("rest", Action::Accept, |_| {}),
        ])),
        ..neighbor(PEER, 65007)
    };
    for action in [Action::Accept, Action::Next] {
        let mut bed = Bed::new();
        bed.configure(importing(NextHopIpv6::Auto, action));
        bed.configure(neighbor(BEST, 65002));
        let peer = bed.connect(address(PEER), &open(65007, 7, &[]));
        let hears = bed.connect(address(BEST), &open(65002, 6, &[]));
        bed.say(peer, &by_way_of(0, "192.0.2.56"));
        bed.say(peer, &by_way_of(1, "2001:db8::2"));
        let received = |bed: &Bed| -> Vec<(Option<String>, Option<String>)> {
            let routes = bed.routes(RoutesKind::Received, address(PEER)).into_iter();
            let seen = routes.map(|route| (route.next_hop, route.rejected_by));
            seen.collect()
        };
        let came = |at: &str, by: Option<&str>| (Some(at.to_owned()), by.map(str::to_owned));
        let ipv4 = || came("192.0.2.56", None);
        let used = |bed: &Bed| -> Vec<String> {
            let routes = bed.routes(RoutesKind::Available, address(PEER)).into_iter();
            routes.filter_map(|route| route.next_hop).collect()
        };
        // It is shown, and not told to anybody.
        assert_eq!(received(&bed), [ipv4(), came("2001:db8::2", Some(WORDS))]);
        assert_eq!(used(&bed), ["10.0.0.5"]);
        let (told, _) = changes(&bed.messages(hears), &WireFormat::default());
        assert_eq!(told, [erased(0)]);
        let net: ipnet::IpNet = "2001:db8:1::/48".parse().unwrap();
        let verdict = bed.verdict(net.into(), address(PEER));
        assert_eq!(verdict.import, Some(format!("rejected by {WORDS}")));
        let [first, ours] = &verdict.import_steps[..] else {
            panic!("{:?}", verdict.import_steps);
        };
        assert_eq!((&*first.action, first.set.len()), ("Next", 1));
        assert_eq!((&*ours.action, ours.set.len()), ("Reject", 0));
        let words = ours.passed_over.as_deref().unwrap();
        assert!(WORDS.ends_with(words), "{words}");
        // Once there is one, the route is used by that.
        let next_hop = NextHopIpv6::Address(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
        bed.configure(importing(next_hop, action));
        assert_eq!(received(&bed), [ipv4(), came("2001:db8::2", None)]);
        assert_eq!(used(&bed), ["10.0.0.5", "2001:db8::1"]);
    }
}
