//! Each change of `set`, and what later statements see of it.

use super::*;

#[test]
fn each_change_changes_what_it_says() {
    let community = |text: &str| standard(text).unwrap();
    let cases: Vec<(&str, Set, Route)> = vec![
        ("nothing", Set::default(), route()),
        (
            "LOCAL_PREF",
            Set {
                local_preference: Some(200),
                ..Set::default()
            },
            Route {
                local_preference: Some(200),
                ..route()
            },
        ),
        (
            "MED",
            Set {
                med: Some(SetMed::Value(7)),
                ..Set::default()
            },
            Route {
                med: Some(7),
                ..route()
            },
        ),
        (
            "less MED than there is",
            Set {
                med: Some(SetMed::Add(-60)),
                ..Set::default()
            },
            Route {
                med: Some(0),
                ..route()
            },
        ),
        (
            "more MED than there can be",
            Set {
                med: Some(SetMed::Add(i64::from(u32::MAX))),
                ..Set::default()
            },
            Route {
                med: Some(u32::MAX),
                ..route()
            },
        ),
        (
            "no MED",
            Set {
                med: Some(SetMed::Remove),
                ..Set::default()
            },
            Route {
                med: None,
                ..route()
            },
        ),
        (
            "prepend",
            Set {
                prepend: Some((65001, 3)),
                ..Set::default()
            },
            Route {
                as_path: vec![65001, 65001, 65001, 65002, 65003],
                ..route()
            },
        ),
        (
            "next hop: an address",
            Set {
                next_hop: Some(SetNextHop::Address("192.0.2.9".parse().unwrap())),
                ..Set::default()
            },
            Route {
                next_hop: Some("192.0.2.9".parse().unwrap()),
                ..route()
            },
        ),
        (
            "next hop: an address of the other family",
            Set {
                next_hop: Some(SetNextHop::Address("2001:db8::9".parse().unwrap())),
                ..Set::default()
            },
            route(),
        ),
        (
            "next hop: ourselves",
            Set {
                next_hop: Some(SetNextHop::Own),
                ..Set::default()
            },
            Route {
                next_hop: Some(OWN),
                ..route()
            },
        ),
        (
            "next hop: the peer",
            Set {
                next_hop: Some(SetNextHop::PeerAddress),
                ..Set::default()
            },
            Route {
                next_hop: Some(Ipv4Addr::new(10, 0, 0, 6)),
                ..route()
            },
        ),
        (
            "communities: add and remove",
            Set {
                standard: CommunitySet {
                    add: vec![community("65000:1"), community("no-export")],
                    remove: vec![Standard::parse("65000:9*").unwrap()],
                    replace: None,
                },
                ..Set::default()
            },
            Route {
                communities: vec![community("65000:1"), community("no-export")],
                ..route()
            },
        ),
        (
            "communities: replace all kinds by nothing",
            Set {
                standard: CommunitySet {
                    replace: Some(vec![]),
                    ..CommunitySet::default()
                },
                large: CommunitySet {
                    replace: Some(vec![]),
                    ..CommunitySet::default()
                },
                extended: CommunitySet {
                    replace: Some(vec![]),
                    ..CommunitySet::default()
                },
                ..Set::default()
            },
            Route {
                communities: vec![],
                large: vec![],
                extended: vec![],
                ..route()
            },
        ),
        (
            "large and extended",
            Set {
                large: CommunitySet {
                    add: vec![[1, 2, 3]],
                    ..CommunitySet::default()
                },
                extended: CommunitySet {
                    remove: vec![Extended::parse("rt:*").unwrap()],
                    ..CommunitySet::default()
                },
                ..Set::default()
            },
            Route {
                large: vec![[65000, 5, 1], [1, 2, 3]],
                extended: vec![],
                ..route()
            },
        ),
    ];
    for (what, set, wanted) in cases {
        let mut changing = statement("s", Match::default(), Action::Accept);
        changing.set = set;
        let mut changing = evaluator(policy(vec![changing]));
        let (passed, by) = judge(&mut changing, 0, &route());
        assert_eq!(passed, Some(wanted), "{what}");
        assert_eq!(by, Some(0));
    }
}

#[test]
fn later_statements_see_what_next_changed() {
    let mut first = statement("first", Match::default(), Action::Next);
    first.matches.by_prefix = true;
    first.matches.prefixes = vec![range("192.0.2.0/24", 24, 24)];
    first.set.local_preference = Some(200);
    let mut second = statement("second", Match::default(), Action::Accept);
    second.matches.local_preference = Some(200..=200);
    let mut both = evaluator(policy(vec![first, second]));
    let (passed, by) = judge(&mut both, 0, &route());
    assert_eq!((passed.unwrap().local_preference, by), (Some(200), Some(1)));
    let other = Route {
        prefix: prefix("192.0.3.0/24"),
        ..route()
    };
    assert_eq!(judge(&mut both, 0, &other), (None, None));
    both.flush();
    let hits = both.applied().policy().hits();
    let hits: Vec<u64> = hits.into_iter().map(|of| of.hits).collect();
    assert_eq!(hits, [1, 1, 1]);
}

/// We have no next hop for IPv6 here.
#[test]
fn on_import_a_statement_that_cannot_make_us_the_next_hop_rejects() {
    let ours = |action| Statement {
        set: Set {
            next_hop: Some(SetNextHop::Own),
            ..Set::default()
        },
        ..statement("ours", Match::default(), action)
    };
    let ipv6 = Route {
        prefix: prefix("2001:db8::/32"),
        ..route()
    };
    for action in [Action::Accept, Action::Next, Action::Reject] {
        let rest = statement("rest", Match::default(), Action::Accept);
        let spec = policy(vec![ours(action), rest]);
        let mut import = evaluator(spec.clone());
        assert_eq!(judge(&mut import, 0, &ipv6), (None, Some(0)));
        let (passed, _) = judge(&mut import, 1, &route());
        assert_eq!(passed.is_some(), action != Action::Reject);
        // On export it is the last step that finds out.
        let on_export = Applied::on_export(&Arc::new(Policy::new(spec)), &NEIGHBOR);
        let (passed, _) = judge(&mut Evaluator::new(on_export), 0, &ipv6);
        assert_eq!(passed.is_some(), action != Action::Reject);
    }
}
