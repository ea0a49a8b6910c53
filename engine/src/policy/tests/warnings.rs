//! Statements that no route can meet, and those that look like it.

use super::*;

#[test]
fn statements_that_nothing_can_meet_are_found() {
    let accept = |name, matches| statement(name, matches, Action::Accept);
    let med = Match {
        med: Some(1..=1),
        ..Match::default()
    };
    let clash = Match {
        standard: CommunityMatch {
            all: vec![Standard::parse("1:1").unwrap()],
            none: vec![Standard::parse("1:1").unwrap()],
            any: vec![],
        },
        ..Match::default()
    };
    let no_prefix = Match {
        by_prefix: true,
        ..Match::default()
    };
    let mut nothing = accept("nothing", Match::default());
    nothing.not = Some(Match::default());
    let found = never(&policy(vec![
        accept("a", med.clone()),
        accept("b", med),
        accept("c", clash),
        accept("d", no_prefix),
        nothing,
        accept("rest", Match::default()),
        accept(
            "late",
            Match {
                med: Some(2..=2),
                ..Match::default()
            },
        ),
    ]));
    let places: Vec<usize> = found.iter().map(|(place, _)| *place).collect();
    assert_eq!(places, [1, 2, 3, 4, 6]);
    assert_eq!(found[0].1, "statement a decides all of its routes before");
}

#[test]
fn what_an_earlier_statement_covers_is_found() {
    let with = |change: &dyn Fn(&mut Match)| {
        let mut asked = Match::default();
        change(&mut asked);
        asked
    };
    let ranges = |ranges: &[PrefixRange]| {
        with(&|m| {
            m.by_prefix = true;
            m.prefixes = ranges.to_vec();
        })
    };
    let standard = |any: &[&str], all: &[&str], none: &[&str]| {
        let read = |list: &[&str]| list.iter().map(|p| Standard::parse(p).unwrap()).collect();
        with(&|m| {
            m.standard = CommunityMatch {
                any: read(any),
                all: read(all),
                none: read(none),
            };
        })
    };
    let neighbors = |asns: &[RangeInclusive<u32>], addresses: &[&str]| {
        with(&|m| {
            m.neighbors = Some(NeighborMatch {
                asns: asns.to_vec(),
                addresses: addresses.iter().map(|text| prefix(text)).collect(),
                ..NeighborMatch::default()
            });
        })
    };
    let only = |family: Family| with(&|m| m.families = [family].into_iter().collect());
    let med = |range: RangeInclusive<u32>| with(&|m| m.med = Some(range.clone()));
    let path = |regexes: &[&str]| {
        with(&|m| {
            let read = regexes.iter().map(|text| AsPathRegex::new(text).unwrap());
            m.as_path_regexes = read.collect();
        })
    };
    let ten = range("10.0.0.0/8", 8, 32);
    let narrow = range("10.1.0.0/16", 20, 24);
    let twenty = range("20.0.0.0/8", 8, 32);
    let own = with(&|m| m.sources = Some(Sources::POD_CIDR));
    let pods_and_services =
        with(&|m| m.sources = Some(Sources::POD_CIDR.with(Sources::NETWORK_POLICY)));
    for (what, wide, late, covered) in [
        (
            "one range in another",
            ranges(&[ten]),
            ranges(&[narrow]),
            true,
        ),
        ("a range is wider", ranges(&[narrow]), ranges(&[ten]), false),
        (
            "both in a list",
            ranges(&[twenty, ten]),
            ranges(&[narrow, twenty]),
            true,
        ),
        (
            "one is not there",
            ranges(&[ten]),
            ranges(&[narrow, twenty]),
            false,
        ),
        ("any prefix", ranges(&[ten]), Match::default(), false),
        (
            "of one family",
            only(Family::Ipv4Unicast),
            ranges(&[narrow]),
            true,
        ),
        (
            "of the other",
            only(Family::Ipv6Unicast),
            ranges(&[narrow]),
            false,
        ),
        ("of any", only(Family::Ipv4Unicast), Match::default(), false),
        ("med", med(0..=9), med(5..=9), true),
        ("med further", med(0..=9), med(5..=10), false),
        ("med or none", med(0..=9), Match::default(), false),
        (
            "pattern",
            standard(&["65000:*"], &[], &[]),
            standard(&["65000:1"], &[], &[]),
            true,
        ),
        (
            "no pattern",
            standard(&["65000:*"], &[], &[]),
            standard(&["65001:1"], &[], &[]),
            false,
        ),
        (
            "one of two",
            standard(&["1:1", "1:2"], &[], &[]),
            standard(&["1:2"], &[], &[]),
            true,
        ),
        (
            "two of one",
            standard(&["1:1"], &[], &[]),
            standard(&["1:1", "1:2"], &[], &[]),
            false,
        ),
        (
            "all of two",
            standard(&[], &["1:1"], &[]),
            standard(&[], &["1:2", "1:1"], &[]),
            true,
        ),
        (
            "any by all",
            standard(&["1:*"], &[], &[]),
            standard(&[], &["1:1", "2:2"], &[]),
            true,
        ),
        (
            "one is not all",
            standard(&[], &["1:1", "1:2"], &[]),
            standard(&[], &["1:1"], &[]),
            false,
        ),
        (
            "lacks more",
            standard(&[], &[], &["1:1"]),
            standard(&[], &[], &["1:*"]),
            true,
        ),
        (
            "lacks less",
            standard(&[], &[], &["1:*"]),
            standard(&[], &[], &["1:1"]),
            false,
        ),
        (
            "neighbors",
            neighbors(&[1..=9], &["10.0.0.0/8"]),
            neighbors(&[2..=3, 5..=5], &["10.1.0.0/16", "10.2.0.0/16"]),
            true,
        ),
        (
            "other neighbors",
            neighbors(&[1..=9], &[]),
            neighbors(&[9..=10], &[]),
            false,
        ),
        (
            "neighbors or all",
            neighbors(&[1..=9], &[]),
            Match::default(),
            false,
        ),
        ("sources", pods_and_services.clone(), own.clone(), true),
        ("more sources", own, pods_and_services, false),
        ("regexes", path(&["_1_", "_2_"]), path(&["_2_"]), true),
        (
            "other regexes",
            path(&["_1_"]),
            path(&["_1_", "_2_"]),
            false,
        ),
    ] {
        for action in [Action::Accept, Action::Reject, Action::Next] {
            let first = statement("wide", wide.clone(), action);
            let rest = statement("late", late.clone(), Action::Next);
            let found = never(&policy(vec![first, rest]));
            let expected = covered && action != Action::Next;
            assert_eq!(!found.is_empty(), expected, "{what}, {action:?}: {found:?}");
        }
    }
}

#[test]
fn what_a_statement_leaves_out_or_changes_in_between_counts() {
    let accept = |name, matches| statement(name, matches, Action::Accept);
    let within = |ranges: &[PrefixRange]| Match {
        by_prefix: true,
        prefixes: ranges.to_vec(),
        ..Match::default()
    };
    let ten = within(&[range("10.0.0.0/8", 8, 32)]);
    let narrow = within(&[range("10.1.0.0/16", 20, 24)]);
    let but = |mut of: Statement, not: &Match| {
        of.not = Some(not.clone());
        of
    };
    let places = |statements: Vec<Statement>| -> Vec<usize> {
        let found = never(&policy(statements));
        found.into_iter().map(|(place, _)| place).collect()
    };
    // Its own `not` is wider.
    let never = but(accept("a", narrow.clone()), &ten);
    assert_eq!(places(vec![never]), [0]);
    let some = but(accept("a", ten.clone()), &narrow);
    assert_eq!(places(vec![some.clone()]), [0; 0]);
    // What the first leaves out is left for the second.
    let later = accept("b", ten.clone());
    assert_eq!(places(vec![some.clone(), later.clone()]), [0; 0]);
    let later = but(later, &narrow);
    assert_eq!(places(vec![some, later]), [1]);
    // What was not so before may be so now.
    let med = Match {
        med: Some(5..=5),
        ..Match::default()
    };
    let mut makes = statement("makes", Match::default(), Action::Next);
    makes.set.med = Some(SetMed::Value(5));
    let rejects = statement("no", med.clone(), Action::Reject);
    let again = accept("again", med);
    assert_eq!(
        places(vec![rejects.clone(), makes.clone(), again.clone()]),
        [0; 0]
    );
    assert_eq!(places(vec![rejects, again]), [1]);
    let by_prefix = statement("no", ten, Action::Reject);
    assert_eq!(places(vec![by_prefix, makes, accept("again", narrow)]), [2]);
}

#[test]
fn paths_that_cannot_be_of_their_length_or_origin_are_found() {
    let regexes = |all: &[&str]| {
        all.iter()
            .map(|text| AsPathRegex::new(text).unwrap())
            .collect()
    };
    for (texts, length, origins, why) in [
        (
            &["^65002 65003$"][..],
            Some(3..=9),
            vec![],
            "regexes` and its `asPath.length` say",
        ),
        (
            &["_65002$"],
            None,
            vec![65003..=65010],
            "regexes` and its `asPath.originASNs` say",
        ),
        (
            &["^65002$", "^$"],
            Some(1..=9),
            vec![65003..=65003],
            "regexes` and its `asPath.length` and its `asPath.originASNs` say",
        ),
        (
            &["^065002$", "_99999999999_"],
            None,
            vec![],
            "is as its `asPath.regexes` say",
        ),
        (
            &[],
            Some(0..=0),
            vec![1..=9],
            "has no AS that originated it",
        ),
        (&["^65002 65003$", "^65002_"], Some(3..=9), vec![], ""),
        (&[], Some(1..=1), vec![1..=9], ""),
    ] {
        let asked = Match {
            as_path_regexes: regexes(texts),
            as_path_length: length,
            origin_asns: origins,
            ..Match::default()
        };
        let found = never(&policy(vec![statement("s", asked, Action::Accept)]));
        assert_eq!(found.is_empty(), why.is_empty(), "{texts:?}: {found:?}");
        assert!(
            found.iter().all(|(_, said)| said.contains(why)),
            "{found:?}"
        );
    }
}
