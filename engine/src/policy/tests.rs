//! Tables of cases for each condition and each change.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use codec::{AsPath, AttributeSet, AttributeWriter, Family, IpPrefix, NextHop, Origin, PeerKind};

use super::*;

mod reference;

/// A route in plain form.
#[derive(Clone, Debug, PartialEq)]
struct Route {
    prefix: IpPrefix,
    sources: Sources,
    validation: Validation,
    as_path: Vec<u32>,
    next_hop: Option<Ipv4Addr>,
    communities: Vec<u32>,
    large: Vec<[u32; 3]>,
    extended: Vec<[u8; 8]>,
    med: Option<u32>,
    local_preference: Option<u32>,
    origin: Origin,
}

fn prefix(text: &str) -> IpPrefix {
    text.parse::<ipnet::IpNet>().unwrap().into()
}

fn range(text: &str, shortest: u8, longest: u8) -> PrefixRange {
    PrefixRange {
        prefix: prefix(text),
        shortest,
        longest,
    }
}

fn route() -> Route {
    Route {
        prefix: prefix("192.0.2.0/24"),
        sources: Sources::RECEIVED,
        validation: Validation::NotFound,
        as_path: vec![65002, 65003],
        next_hop: Some(Ipv4Addr::new(10, 0, 0, 6)),
        communities: vec![65000 << 16 | 1, 65000 << 16 | 99],
        large: vec![[65000, 5, 1]],
        extended: vec![extended("rt:65000:7").unwrap()],
        med: Some(50),
        local_preference: None,
        origin: Origin::Igp,
    }
}

fn segment(asns: &[u32]) -> Vec<u8> {
    let mut octets = Vec::new();
    if !asns.is_empty() {
        octets.extend([2, asns.len() as u8]);
        octets.extend(asns.iter().flat_map(|asn| asn.to_be_bytes()));
    }
    octets
}

impl Route {
    fn canonical(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = AttributeWriter::new(&mut out);
        writer.origin(self.origin);
        writer.as_path(&AsPath::new(&segment(&self.as_path)), &[], true);
        if let Some(next_hop) = self.next_hop {
            writer.next_hop(next_hop);
        }
        if let Some(med) = self.med {
            writer.med(med);
        }
        if let Some(preference) = self.local_preference {
            writer.local_pref(preference);
        }
        writer.communities(&self.communities);
        writer.extended_communities(&self.extended);
        writer.large_communities(&self.large);
        // An attribute that policy knows nothing of.
        writer.raw(0xe0, 99, &[1, 2, 3]);
        out
    }

    /// With what stands in a canonical set.
    fn read(&self, canonical: &[u8]) -> Route {
        let set = AttributeSet::new(canonical);
        assert_eq!(set.get(99).unwrap().value, [1, 2, 3]);
        assert!(set.iter().is_sorted_by(|a, b| a.code < b.code));
        Route {
            as_path: set.as_path().asns().collect(),
            next_hop: match set.next_hop() {
                Some(NextHop::V4(address)) => Some(address),
                _ => None,
            },
            communities: set.communities().collect(),
            large: set.large_communities().collect(),
            extended: set.extended_communities().collect(),
            med: set.med(),
            local_preference: set.local_pref(),
            origin: set.origin().unwrap(),
            ..self.clone()
        }
    }
}

const NEIGHBOR: Neighbor<'static> = Neighbor {
    address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 6)),
    asn: 65002,
    kind: PeerKind::External,
    template: Some("tor"),
};
const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);

fn evaluator(policy: RoutePolicy) -> Evaluator {
    let policy = Arc::new(Policy::new(policy));
    let own = [Some(NextHop::V4(OWN)), None];
    Evaluator::new(Applied::on_import(&policy, &NEIGHBOR, own))
}

fn asked<'a>(id: u32, route: &Route, canonical: &'a [u8]) -> (Key, Subject<'a>) {
    let family = route.prefix.family();
    let key = Key {
        attributes: id,
        generation: 0,
        family,
        sources: route.sources,
        validation: route.validation,
    };
    let subject = Subject {
        family,
        sources: key.sources,
        validation: key.validation,
        attributes: canonical,
    };
    (key, subject)
}

/// What becomes of a route: the one that passes, and by which statement.
fn judge(evaluator: &mut Evaluator, id: u32, route: &Route) -> (Option<Route>, Option<u16>) {
    let canonical = route.canonical();
    let (key, subject) = asked(id, route, &canonical);
    let (verdict, _) = evaluator.judge(key, &subject, route.prefix);
    let form = verdict.form.attributes.as_deref().unwrap_or(&canonical);
    let passed = verdict.accepted.then(|| route.read(form));
    (passed, verdict.statement)
}

/// Whether every prefix meets the same with these attributes.
fn is_settled(evaluator: &mut Evaluator, id: u32, route: &Route) -> bool {
    let canonical = route.canonical();
    let (key, subject) = asked(id, route, &canonical);
    evaluator.judge(key, &subject, route.prefix).1
}

fn statement(name: &str, matches: Match, action: Action) -> Statement {
    Statement {
        name: name.into(),
        matches,
        not: None,
        set: Set::default(),
        action,
    }
}

fn policy(statements: Vec<Statement>) -> RoutePolicy {
    RoutePolicy {
        name: "p".into(),
        statements,
        ..RoutePolicy::default()
    }
}

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

#[test]
fn a_missing_policy_rejects_everything_and_says_so() {
    let missing = Policy::missing(&"gone".into());
    assert!(missing.is_missing());
    assert_eq!(
        missing.words(None),
        "RoutePolicy gone is not there: everything is rejected"
    );
    assert_ne!(missing, Policy::new(missing.spec().clone()));
    let mut evaluator = evaluator(missing.spec().clone());
    assert_eq!(judge(&mut evaluator, 0, &route()), (None, None));
}

#[test]
fn bogons_are_what_the_contract_says() {
    let set = internet_bogons();
    let holds = |text: &str| {
        let prefix = prefix(text);
        set.ranges.iter().any(|range| {
            range.prefix.contains(prefix)
                && (range.shortest..=range.longest).contains(&prefix.length())
        })
    };
    for bogon in [
        "10.1.0.0/16",
        "192.168.1.0/24",
        "100.64.0.0/12",
        "8.8.8.0/25",
        "2001:db8:1::/48",
        "2600::/49",
    ] {
        assert!(holds(bogon), "{bogon}");
    }
    for fine in ["8.8.8.0/24", "2600::/48", "0.0.0.0/0", "100.0.0.0/8"] {
        assert!(!holds(fine), "{fine}");
    }
}

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
    let found = never_matching(&policy(vec![
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
            let found = never_matching(&policy(vec![first, rest]));
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
        let found = never_matching(&policy(statements));
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
