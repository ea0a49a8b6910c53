//! Statements that no route can meet behind what those before them set, or decide together.

use super::*;

fn with(change: impl Fn(&mut Match)) -> Match {
    let mut asked = Match::default();
    change(&mut asked);
    asked
}

fn within(ranges: &[PrefixRange]) -> Match {
    with(|m| (m.by_prefix, m.prefixes) = (true, ranges.to_vec()))
}

fn standard_match(any: &[&str], all: &[&str], none: &[&str]) -> Match {
    let read = |list: &[&str]| list.iter().map(|p| Standard::parse(p).unwrap()).collect();
    with(|m| {
        m.standard = CommunityMatch {
            any: read(any),
            all: read(all),
            none: read(none),
        };
    })
}

/// What is said of the last statement, which accepts; of those before nothing is.
fn of_the_last(mut before: Vec<Statement>, last: Match) -> Option<String> {
    before.push(statement("last", last, Action::Accept));
    let place = before.len() - 1;
    let mut found = never(&policy(before));
    assert!(found.iter().all(|(of, _)| *of == place), "{found:?}");
    found.pop().map(|(_, why)| why)
}

#[test]
fn what_a_statement_before_sets_counts() {
    let sets = |change: &dyn Fn(&mut Set)| {
        let mut first = statement("sets", Match::default(), Action::Next);
        change(&mut first.set);
        first
    };
    let standard_set = |add: &[&str], remove: &[&str], replace: Option<&[&str]>| {
        let values = |list: &[&str]| list.iter().map(|v| standard(v).unwrap()).collect();
        let remove = remove.iter().map(|p| Standard::parse(p).unwrap());
        let of = CommunitySet {
            add: values(add),
            remove: remove.collect(),
            replace: replace.map(values),
        };
        sets(&|set| set.standard = of.clone())
    };
    let med = |value| sets(&|set| set.med = Some(value));
    let high = with(|m| m.med = Some(100..=u32::MAX));
    let preference = sets(&|set| set.local_preference = Some(200));
    let prepend = sets(&|set| set.prepend = Some((65001, 2)));
    let hop = sets(&|set| set.next_hop = Some(SetNextHop::Address("10.0.0.1".parse().unwrap())));
    let via = with(|m| m.next_hops = vec![prefix("10.0.0.8/29")]);
    let mut via_v4 = via.clone();
    via_v4.families = [Family::Ipv4Unicast].into_iter().collect();
    let short = with(|m| m.as_path_length = Some(0..=1));
    let own = with(|m| m.as_path_regexes = vec![AsPathRegex::new("^$").unwrap()]);
    for (first, last, key) in [
        (med(SetMed::Value(50)), high.clone(), "med"),
        (med(SetMed::Remove), high.clone(), "med"),
        (med(SetMed::Add(100)), with(|m| m.med = Some(0..=99)), "med"),
        (med(SetMed::Add(100)), high.clone(), ""),
        (med(SetMed::Value(100)), high.clone(), ""),
        (
            preference.clone(),
            with(|m| m.local_preference = Some(0..=199)),
            "localPreference",
        ),
        (
            preference,
            with(|m| m.local_preference = Some(200..=200)),
            "",
        ),
        (prepend.clone(), short, "asPath.length"),
        (prepend.clone(), own, "prepended"),
        (prepend, with(|m| m.as_path_length = Some(2..=2)), ""),
        (hop.clone(), via_v4, "nextHops"),
        (hop, via, ""),
        (
            standard_set(&["1:1"], &[], None),
            standard_match(&[], &[], &["1:*"]),
            "standard",
        ),
        (
            standard_set(&["1:1"], &[], None),
            standard_match(&[], &[], &["1:2"]),
            "",
        ),
        (
            standard_set(&[], &["1:*"], None),
            standard_match(&["1:1", "1:2"], &[], &[]),
            "standard",
        ),
        (
            standard_set(&[], &["1:*"], None),
            standard_match(&["1:1", "2:2"], &[], &[]),
            "",
        ),
        (
            standard_set(&["1:1"], &["1:*"], None),
            standard_match(&["1:1"], &[], &[]),
            "",
        ),
        (
            standard_set(&[], &[], Some(&["1:1"])),
            standard_match(&[], &["1:2"], &[]),
            "standard",
        ),
        (
            standard_set(&[], &[], Some(&["1:1"])),
            standard_match(&[], &["1:*"], &[]),
            "",
        ),
    ] {
        let found = of_the_last(vec![first.clone()], last.clone());
        match key {
            "" => assert_eq!(found, None, "{last:?}"),
            key => assert!(
                found.as_ref().is_some_and(|why| why.contains(key)),
                "{key}: {found:?}"
            ),
        }
        // Some of the routes only.
        let mut some = first;
        some.matches.origins = vec![Origin::Igp];
        assert_eq!(of_the_last(vec![some.clone()], last.clone()), None, "{key}");
        // All that the last one is about.
        let mut last = last;
        last.origins = vec![Origin::Igp];
        assert_eq!(
            of_the_last(vec![some], last).is_some(),
            !key.is_empty(),
            "{key}"
        );
    }
    let why = of_the_last(
        vec![med(SetMed::Value(50)), med(SetMed::Value(60))],
        high.clone(),
    );
    assert_eq!(
        why.as_deref(),
        Some("no route has such `med` behind statement sets, which sets it")
    );
    let mut sometimes = med(SetMed::Value(100));
    sometimes.matches.origins = vec![Origin::Egp];
    assert_eq!(
        of_the_last(vec![med(SetMed::Value(50)), sometimes], high),
        None
    );
}

#[test]
fn what_several_statements_cover_together_is_found() {
    let family = |family: Family| with(|m| m.families = [family].into_iter().collect());
    let (v4, v6) = (family(Family::Ipv4Unicast), family(Family::Ipv6Unicast));
    let med = |range: RangeInclusive<u32>| with(|m| m.med = Some(range.clone()));
    let origins = |of: &[Origin]| with(|m| m.origins = of.to_vec());
    let states = |of: &[Validation]| with(|m| m.validation = of.to_vec());
    let peers = |range: RangeInclusive<u32>| {
        with(|m| m.neighbors.get_or_insert_default().asns = vec![range.clone()])
    };
    let kind = |kind| with(|m| m.neighbors.get_or_insert_default().kinds = vec![kind]);
    let halves = [range("10.0.0.0/9", 9, 32), range("10.128.0.0/9", 9, 32)];
    let mut by_set = policy(vec![]);
    by_set.sets = vec![PrefixSet {
        name: "all".into(),
        ranges: vec![range("0.0.0.0/0", 0, 32)],
    }];
    for (what, before, last, covered) in [
        (
            "families",
            vec![v4.clone(), v6.clone()],
            Match::default(),
            true,
        ),
        ("one family", vec![v4.clone()], Match::default(), false),
        (
            "all prefixes",
            vec![
                within(&[range("0.0.0.0/0", 0, 32)]),
                within(&[range("::/0", 0, 128)]),
            ],
            Match::default(),
            true,
        ),
        (
            "but for hosts",
            vec![within(&[range("0.0.0.0/0", 0, 31)]), v6.clone()],
            Match::default(),
            false,
        ),
        (
            "halves",
            vec![within(&halves[..1]), within(&halves[1..])],
            within(&[range("10.0.0.0/8", 9, 32)]),
            true,
        ),
        (
            "halves and the whole",
            vec![within(&halves[..1]), within(&halves[1..])],
            within(&[range("10.0.0.0/8", 8, 32)]),
            false,
        ),
        (
            "halves of one list",
            vec![within(&halves)],
            within(&[range("10.0.0.0/8", 9, 32)]),
            true,
        ),
        (
            "med",
            vec![med(10..=20), med(0..=9), med(21..=u32::MAX)],
            Match::default(),
            true,
        ),
        (
            "med with a gap",
            vec![med(0..=9), med(11..=u32::MAX)],
            Match::default(),
            false,
        ),
        (
            "origins",
            vec![
                origins(&[Origin::Igp]),
                origins(&[Origin::Egp, Origin::Incomplete]),
            ],
            Match::default(),
            true,
        ),
        (
            "states",
            vec![states(&[Validation::Valid]), states(&[Validation::Invalid])],
            states(&[Validation::Invalid, Validation::Valid]),
            true,
        ),
        (
            "peers",
            vec![peers(1..=50), peers(51..=100)],
            peers(20..=80),
            true,
        ),
        (
            "peers with a gap",
            vec![peers(1..=50), peers(52..=100)],
            peers(20..=80),
            false,
        ),
        (
            "kinds",
            vec![kind(PeerKind::External), kind(PeerKind::Internal)],
            Match::default(),
            true,
        ),
        (
            "with and without",
            vec![
                standard_match(&["1:1"], &[], &[]),
                standard_match(&[], &[], &["1:1"]),
            ],
            Match::default(),
            true,
        ),
        (
            "with one and without another",
            vec![
                standard_match(&["1:1"], &[], &[]),
                standard_match(&[], &[], &["1:2"]),
            ],
            Match::default(),
            false,
        ),
        (
            "in two aspects",
            vec![
                v4.clone(),
                with(|m| (m.families, m.med) = (v6.families, Some(0..=5))),
                med(6..=9),
            ],
            med(0..=9),
            true,
        ),
        (
            "what is left of one family",
            vec![v4.clone()],
            med(0..=9),
            false,
        ),
    ] {
        let names = before.iter().enumerate();
        let before = names.map(|(n, of)| statement(&format!("s{n}"), of.clone(), Action::Reject));
        let found = of_the_last(before.collect(), last);
        assert_eq!(found.is_some(), covered, "{what}: {found:?}");
    }
    let rejects = |name, matches| statement(name, matches, Action::Reject);
    assert_eq!(
        of_the_last(
            vec![rejects("a", v4.clone()), rejects("b", v6.clone())],
            Match::default()
        ),
        Some("statements a and b together decide all of its routes before".into())
    );
    // What a `not` leaves out is taken away too.
    let mut last = statement("last", Match::default(), Action::Accept);
    last.not = Some(v6);
    let found = never(&policy(vec![rejects("a", v4), last]));
    assert_eq!(
        found[0].1,
        "statement a decides all of its routes before, but for those of its `not`"
    );
}

#[test]
fn what_a_not_leaves_out_may_be_of_no_concern() {
    let origins = |of: Origin| with(|m| m.origins = vec![of]);
    let mut first = statement("a", Match::default(), Action::Accept);
    first.not = Some(origins(Origin::Egp));
    let of = |last: Match| of_the_last(vec![first.clone()], last).is_some();
    assert!(of(origins(Origin::Igp)));
    assert!(!of(origins(Origin::Egp)));
    assert!(!of(Match::default()));
    first.not = Some(within(&[range("10.0.0.0/8", 8, 32)]));
    let of = |last: Match| of_the_last(vec![first.clone()], last).is_some();
    assert!(of(within(&[range("11.0.0.0/8", 8, 32)])));
    assert!(of(with(
        |m| m.families = [Family::Ipv6Unicast].into_iter().collect()
    )));
    assert!(!of(within(&[range("10.1.0.0/16", 16, 16)])));
}

#[test]
fn communities_are_excluded_by_pattern() {
    let is_found = |any: &[&str], all: &[&str], none: &[&str]| {
        of_the_last(vec![], standard_match(any, all, none)).is_some()
    };
    assert!(is_found(&[], &["65000:1"], &["65000:*"]));
    assert!(is_found(&["65000:1", "65000:9*"], &[], &["65000:*"]));
    assert!(is_found(&["no-export"], &[], &["65535:*"]));
    assert!(!is_found(&["65000:1", "65001:1"], &[], &["65000:*"]));
    assert!(!is_found(&[], &["65000:*"], &["65000:1"]));
}

#[test]
fn large_policies_are_looked_at_within_a_bound() {
    let accept = |n: u32, matches| statement(&format!("s{n}"), matches, Action::Accept);
    let big: Vec<PrefixRange> = (0..200_000u32)
        .map(|n| PrefixRange {
            prefix: IpPrefix::V4(codec::Ipv4Prefix::masked(
                (0x1000_0000 + (n << 8)).into(),
                24,
            )),
            shortest: 24,
            longest: 24,
        })
        .collect();
    let customer = |n: u32| {
        let inside = IpPrefix::V4(codec::Ipv4Prefix::masked(
            (0x1000_0000 + (n << 8)).into(),
            24,
        ));
        let asked = within(&[PrefixRange {
            prefix: inside,
            shortest: 24,
            longest: 24,
        }]);
        Match {
            med: Some(n..=n),
            ..asked
        }
    };
    let of_big = with(|m| (m.by_prefix, m.prefix_sets) = (true, vec![0]));
    let mut statements: Vec<Statement> = (0..998).map(|n| accept(n, customer(n))).collect();
    statements.insert(0, statement("first", of_big.clone(), Action::Reject));
    statements.push(accept(1000, of_big));
    let mut all = policy(statements);
    all.sets = vec![PrefixSet {
        name: "big".into(),
        ranges: big,
    }];
    let found = never(&all);
    assert_eq!(found.len(), 999, "{:?}", found.first());
    // Lists of communities that have nothing in common.
    let texts = |n: u32| -> Vec<String> { (0..10).map(|m| format!("{n}:{m}")).collect() };
    let by_community = (0..1000).map(|n| {
        let texts = texts(n);
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        accept(n, standard_match(&texts, &[], &[]))
    });
    let mut by_community: Vec<Statement> = by_community.collect();
    by_community.push(accept(1000, standard_match(&["998:5"], &[], &[])));
    assert_eq!(never(&policy(by_community)).len(), 1);
    // Without the set in front, each of the others is compared with each.
    all.statements.remove(0);
    all.statements.push(accept(1001, customer(997)));
    let found = never(&all);
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn what_could_not_be_read_may_be_anything() {
    let med = with(|m| m.med = Some(5..=5));
    let high = with(|m| m.med = Some(100..=u32::MAX));
    let mut sets = statement("sets", Match::default(), Action::Next);
    sets.set.med = Some(SetMed::Value(50));
    let family = with(|m| m.families = [Family::Ipv4Unicast].into_iter().collect());
    let statements = vec![
        statement("by med", med.clone(), Action::Reject),
        statement("by family", family.clone(), Action::Reject),
        sets,
        statement("unread", Match::default(), Action::Accept),
        statement("med again", med, Action::Accept),
        statement("family again", family, Action::Accept),
        statement("high", high, Action::Accept),
    ];
    let places = |unread: &[usize]| -> Vec<usize> {
        let unread = unread.iter().copied().collect();
        let found = never_matching(&policy(statements.clone()), &unread);
        found.into_iter().map(|(place, _)| place).collect()
    };
    assert_eq!(places(&[]), [4, 5, 6]);
    assert_eq!(places(&[3]), [5]);
}
