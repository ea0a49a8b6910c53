//! Each condition, on its own and in a `not`.

use super::*;

#[test]
fn each_condition_holds_or_not() {
    let any = |any: &[&str]| CommunityMatch {
        any: any
            .iter()
            .map(|text| Standard::parse(text).unwrap())
            .collect(),
        ..CommunityMatch::default()
    };
    let all = |all: &[&str]| CommunityMatch {
        all: all
            .iter()
            .map(|text| Standard::parse(text).unwrap())
            .collect(),
        ..CommunityMatch::default()
    };
    let none = |none: &[&str]| CommunityMatch {
        none: none
            .iter()
            .map(|text| Standard::parse(text).unwrap())
            .collect(),
        ..CommunityMatch::default()
    };
    let with = |change: &dyn Fn(&mut Match)| {
        let mut asked = Match::default();
        change(&mut asked);
        asked
    };
    let neighbors = |change: &dyn Fn(&mut NeighborMatch)| {
        let mut neighbors = NeighborMatch::default();
        change(&mut neighbors);
        with(&|asked| asked.neighbors = Some(neighbors.clone()))
    };
    let regex = |text: &str| with(&|m| m.as_path_regexes = vec![AsPathRegex::new(text).unwrap()]);
    let in_prefixes = |ranges: &[PrefixRange]| {
        with(&|m| {
            m.by_prefix = true;
            m.prefixes = ranges.to_vec();
        })
    };
    let only = |family: Family| with(&|m| m.families = [family].into_iter().collect());
    let cases: Vec<(&str, Match, bool)> = vec![
        ("nothing is asked", Match::default(), true),
        ("its family", only(Family::Ipv4Unicast), true),
        ("another family", only(Family::Ipv6Unicast), false),
        (
            "address",
            neighbors(&|n| n.addresses = vec![prefix("10.0.0.0/24")]),
            true,
        ),
        (
            "other address",
            neighbors(&|n| n.addresses = vec![prefix("10.0.1.0/24")]),
            false,
        ),
        (
            "asn",
            neighbors(&|n| n.asns = vec![1..=5, 65000..=65010]),
            true,
        ),
        ("other asn", neighbors(&|n| n.asns = vec![1..=5]), false),
        (
            "kind",
            neighbors(&|n| n.kinds = vec![PeerKind::External]),
            true,
        ),
        (
            "other kind",
            neighbors(&|n| n.kinds = vec![PeerKind::Internal]),
            false,
        ),
        (
            "template",
            neighbors(&|n| n.templates = vec!["tor".into()]),
            true,
        ),
        (
            "other template",
            neighbors(&|n| n.templates = vec!["spine".into()]),
            false,
        ),
        (
            "all of a neighbor",
            neighbors(&|n| {
                n.asns = vec![65002..=65002];
                n.kinds = vec![PeerKind::Internal];
            }),
            false,
        ),
        (
            "source",
            with(&|m| m.sources = Some(Sources::RECEIVED.with(Sources::SERVICE))),
            true,
        ),
        (
            "other source",
            with(&|m| m.sources = Some(Sources::POD_CIDR)),
            false,
        ),
        (
            "prefix",
            in_prefixes(&[range("192.0.2.0/24", 24, 24)]),
            true,
        ),
        (
            "within",
            in_prefixes(&[range("192.0.0.0/16", 20, 24)]),
            true,
        ),
        (
            "too long",
            in_prefixes(&[range("192.0.0.0/16", 16, 23)]),
            false,
        ),
        ("no prefixes", in_prefixes(&[]), false),
        (
            "next hop",
            with(&|m| m.next_hops = vec![prefix("10.0.0.6/32")]),
            true,
        ),
        (
            "other next hop",
            with(&|m| m.next_hops = vec![prefix("10.0.0.7/32")]),
            false,
        ),
        ("regex", regex("^65002 65003$"), true),
        ("other regex", regex("_65004_"), false),
        ("length", with(&|m| m.as_path_length = Some(2..=2)), true),
        (
            "other length",
            with(&|m| m.as_path_length = Some(3..=u32::MAX)),
            false,
        ),
        (
            "origin AS",
            with(&|m| m.origin_asns = vec![65003..=65003]),
            true,
        ),
        (
            "other origin AS",
            with(&|m| m.origin_asns = vec![65002..=65002]),
            false,
        ),
        (
            "any community",
            with(&|m| m.standard = any(&["1:1", "65000:*"])),
            true,
        ),
        (
            "no community of any",
            with(&|m| m.standard = any(&["1:1"])),
            false,
        ),
        (
            "all communities",
            with(&|m| m.standard = all(&["65000:1", "65000:9*"])),
            true,
        ),
        (
            "not all communities",
            with(&|m| m.standard = all(&["65000:1", "1:1"])),
            false,
        ),
        (
            "none",
            with(&|m| m.standard = none(&["1:1", "no-export"])),
            true,
        ),
        (
            "one of none",
            with(&|m| m.standard = none(&["*:99"])),
            false,
        ),
        (
            "large",
            with(&|m| m.large.any = vec![Large::parse("65000:*:1").unwrap()]),
            true,
        ),
        (
            "other large",
            with(&|m| m.large.all = vec![Large::parse("65000:*:2").unwrap()]),
            false,
        ),
        (
            "extended",
            with(&|m| m.extended.any = vec![Extended::parse("rt:65000:*").unwrap()]),
            true,
        ),
        (
            "other extended",
            with(&|m| m.extended.none = vec![Extended::parse("rt:65000:7").unwrap()]),
            false,
        ),
        ("med", with(&|m| m.med = Some(50..=50)), true),
        ("other med", with(&|m| m.med = Some(0..=49)), false),
        (
            "no LOCAL_PREF is 100",
            with(&|m| m.local_preference = Some(100..=100)),
            true,
        ),
        (
            "more LOCAL_PREF",
            with(&|m| m.local_preference = Some(101..=u32::MAX)),
            false,
        ),
        (
            "ORIGIN",
            with(&|m| m.origins = vec![Origin::Egp, Origin::Igp]),
            true,
        ),
        (
            "other ORIGIN",
            with(&|m| m.origins = vec![Origin::Incomplete]),
            false,
        ),
        (
            "state",
            with(&|m| m.validation = vec![Validation::NotFound]),
            true,
        ),
        (
            "other state",
            with(&|m| m.validation = vec![Validation::Invalid]),
            false,
        ),
    ];
    for (what, asked, wanted) in cases {
        let route = route();
        let mut accepting = evaluator(policy(vec![statement("s", asked.clone(), Action::Accept)]));
        assert_eq!(
            judge(&mut accepting, 0, &route).0.is_some(),
            wanted,
            "{what}"
        );
        let mut not = statement("s", Match::default(), Action::Accept);
        not.not = Some(asked);
        let mut accepting = evaluator(policy(vec![not]));
        assert_eq!(
            judge(&mut accepting, 0, &route).0.is_some(),
            !wanted,
            "not {what}"
        );
    }
}

#[test]
fn what_is_absent_has_the_value_that_stands_for_it() {
    let bare = Route {
        med: None,
        as_path: vec![],
        next_hop: None,
        ..route()
    };
    let with = |change: &dyn Fn(&mut Match)| {
        let mut asked = Match::default();
        change(&mut asked);
        let mut accepting = evaluator(policy(vec![statement("s", asked, Action::Accept)]));
        judge(&mut accepting, 0, &bare).0.is_some()
    };
    assert!(with(&|m| m.med = Some(0..=0)));
    assert!(with(&|m| m.as_path_length = Some(0..=0)));
    assert!(with(
        &|m| m.as_path_regexes = vec![AsPathRegex::new("^$").unwrap()]
    ));
    assert!(!with(&|m| m.next_hops = vec![prefix("0.0.0.0/0")]));
    assert!(!with(&|m| m.origin_asns = vec![0..=u32::MAX]));
}
