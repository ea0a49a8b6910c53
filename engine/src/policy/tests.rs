//! Tables of cases for each condition and each change, and evaluation against a plain reference.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use codec::{AsPath, AttributeSet, AttributeWriter, Family, IpPrefix, NextHop, Origin, PeerKind};
use proptest::prelude::*;

use super::*;

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

/// What becomes of a route: the one that passes, and by which statement.
fn judge(evaluator: &mut Evaluator, id: u32, route: &Route) -> (Option<Route>, Option<u16>) {
    let key = Key {
        attributes: id,
        generation: 0,
        family: route.prefix.family(),
        sources: route.sources,
        validation: route.validation,
    };
    let canonical = route.canonical();
    let subject = Subject {
        family: route.prefix.family(),
        sources: route.sources,
        validation: route.validation,
        attributes: &canonical,
    };
    let (verdict, _) = evaluator.judge(key, &subject, route.prefix);
    let form = verdict.form.attributes.as_deref().unwrap_or(&canonical);
    let passed = verdict.accepted.then(|| route.read(form));
    (passed, verdict.statement)
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

/// Statement by statement, on plain values.
fn reference(policy: &RoutePolicy, route: &Route) -> (Option<Route>, Option<u16>) {
    let mut route = route.clone();
    for (place, statement) in (0..).zip(&policy.statements) {
        let met = meets(policy, &statement.matches, &route);
        if !met
            || statement
                .not
                .as_ref()
                .is_some_and(|not| meets(policy, not, &route))
        {
            continue;
        }
        if statement.action == Action::Reject {
            return (None, Some(place));
        }
        change(&statement.set, &mut route);
        if statement.action == Action::Accept {
            return (Some(route), Some(place));
        }
    }
    (policy.default_accepts.then_some(route), None)
}

fn meets(policy: &RoutePolicy, asked: &Match, route: &Route) -> bool {
    let holds = |range: &PrefixRange| {
        range.prefix.contains(route.prefix)
            && range.shortest <= route.prefix.length()
            && route.prefix.length() <= range.longest
    };
    if asked.by_prefix {
        let sets = asked.prefix_sets.iter();
        let in_set = sets
            .flat_map(|set| &policy.sets[usize::from(*set)].ranges)
            .any(holds);
        if !in_set && !asked.prefixes.iter().any(holds) {
            return false;
        }
    }
    let has = |values: &[u32], pattern: &Standard| {
        use super::communities::Pattern;
        values.iter().any(|value| pattern.matches(*value))
    };
    let communities = &asked.standard;
    let text: Vec<String> = route.as_path.iter().map(u32::to_string).collect();
    let text = text.join(" ");
    (communities.any.is_empty() || communities.any.iter().any(|p| has(&route.communities, p)))
        && communities.all.iter().all(|p| has(&route.communities, p))
        && !communities.none.iter().any(|p| has(&route.communities, p))
        && within(&asked.med, route.med.unwrap_or(0))
        && within(
            &asked.local_preference,
            route.local_preference.unwrap_or(100),
        )
        && within(&asked.as_path_length, route.as_path.len() as u32)
        && (asked.origin_asns.is_empty()
            || route
                .as_path
                .last()
                .is_some_and(|origin| asked.origin_asns.iter().any(|asns| asns.contains(origin))))
        && (asked.as_path_regexes.is_empty()
            || asked
                .as_path_regexes
                .iter()
                .any(|regex| regex.matches(&text)))
}

fn within(range: &Option<RangeInclusive<u32>>, value: u32) -> bool {
    range.as_ref().is_none_or(|range| range.contains(&value))
}

fn change(set: &Set, route: &mut Route) {
    use super::communities::Pattern;
    if let Some(preference) = set.local_preference {
        route.local_preference = Some(preference);
    }
    match set.med {
        Some(SetMed::Value(med)) => route.med = Some(med),
        Some(SetMed::Add(more)) => {
            let sum = i64::from(route.med.unwrap_or(0)) + more;
            route.med = Some(sum.clamp(0, i64::from(u32::MAX)) as u32);
        }
        Some(SetMed::Remove) => route.med = None,
        None => {}
    }
    if let Some((asn, count)) = set.prepend {
        for _ in 0..count {
            route.as_path.insert(0, asn);
        }
    }
    let gone = |value: &u32| set.standard.remove.iter().any(|p| p.matches(*value));
    route.communities.retain(|value| !gone(value));
    for value in &set.standard.add {
        if !route.communities.contains(value) {
            route.communities.push(*value);
        }
    }
}

fn some_range(max: u32) -> impl Strategy<Value = Option<RangeInclusive<u32>>> {
    prop::option::weighted(
        0.3,
        (0..=max, 0..=max).prop_map(|(a, b)| a.min(b)..=a.max(b)),
    )
}

fn some_prefix() -> impl Strategy<Value = IpPrefix> {
    (0u32..8, 20u8..=26).prop_map(|(n, length)| {
        let bits = 0x1400_0000 | n << 7;
        IpPrefix::V4(codec::Ipv4Prefix::masked(bits.into(), length))
    })
}

fn some_match() -> impl Strategy<Value = Match> {
    let patterns = || {
        let few = prop::sample::select(vec!["1:1", "1:2", "1:*", "2:1"]);
        let few = few.prop_map(|text| Standard::parse(text).unwrap());
        prop::collection::vec(few, 0..2)
    };
    let ranges = prop::collection::vec((some_prefix(), 0u8..4), 0..3);
    let regex = prop::sample::select(vec!["_1_", "^2( .*)?$", "_3$", "_1_2_", "1", "^$"]);
    (
        prop::option::weighted(0.6, (prop::collection::vec(0u16..3, 0..2), ranges)),
        (patterns(), patterns(), patterns()),
        (some_range(3), some_range(3), some_range(4)),
        prop::option::weighted(0.3, regex),
        some_range(3),
    )
        .prop_map(|(by_prefix, (any, all, none), ranges, regex, origin)| {
            let (med, preference, length) = ranges;
            let (prefix_sets, ranges) = by_prefix.clone().unwrap_or_default();
            let prefixes = ranges.into_iter().map(|(prefix, more)| PrefixRange {
                prefix,
                shortest: prefix.length(),
                longest: (prefix.length() + more).min(32),
            });
            Match {
                by_prefix: by_prefix.is_some(),
                prefix_sets,
                prefixes: prefixes.collect(),
                standard: CommunityMatch { any, all, none },
                med,
                local_preference: preference,
                as_path_length: length,
                as_path_regexes: regex
                    .map(|r| AsPathRegex::new(r).unwrap())
                    .into_iter()
                    .collect(),
                origin_asns: origin.into_iter().collect(),
                ..Match::default()
            }
        })
}

fn some_set() -> impl Strategy<Value = Set> {
    let med = prop_oneof![
        (0u32..4).prop_map(SetMed::Value),
        (-2i64..3).prop_map(SetMed::Add),
        Just(SetMed::Remove),
    ];
    let value = || prop::sample::select(vec!["1:1", "1:2", "2:1"]);
    (
        prop::option::weighted(0.2, 0u32..4),
        prop::option::weighted(0.2, med),
        prop::option::weighted(0.2, (1u32..4, 1u8..3)),
        prop::collection::vec(value().prop_map(|v| standard(v).unwrap()), 0..2),
        prop::collection::vec(value().prop_map(|v| Standard::parse(v).unwrap()), 0..2),
    )
        .prop_map(|(local_preference, med, prepend, add, remove)| Set {
            local_preference,
            med,
            prepend,
            standard: CommunitySet {
                add,
                remove,
                replace: None,
            },
            ..Set::default()
        })
}

fn some_policy(statements: RangeInclusive<usize>) -> impl Strategy<Value = RoutePolicy> {
    let action = prop::sample::select(vec![
        Action::Accept,
        Action::Reject,
        Action::Next,
        Action::Next,
    ]);
    let not = prop::option::weighted(0.3, some_match());
    let statement = (some_match(), not, some_set(), action);
    let set = prop::collection::vec((some_prefix(), 0u8..4), 0..4);
    (
        prop::collection::vec(statement, statements),
        prop::collection::vec(set, 3),
        any::<bool>(),
    )
        .prop_map(|(statements, sets, default_accepts)| RoutePolicy {
            name: "random".into(),
            default_accepts,
            sets: sets
                .into_iter()
                .map(|ranges| PrefixSet {
                    name: "s".into(),
                    ranges: ranges
                        .into_iter()
                        .map(|(prefix, more)| PrefixRange {
                            prefix,
                            shortest: prefix.length(),
                            longest: (prefix.length() + more).min(32),
                        })
                        .collect(),
                })
                .collect(),
            statements: statements
                .into_iter()
                .map(|(matches, not, set, action)| Statement {
                    name: "s".into(),
                    matches,
                    not,
                    set,
                    action,
                })
                .collect(),
        })
}

fn some_route() -> impl Strategy<Value = Route> {
    let value = prop::sample::select(vec!["1:1", "1:2", "2:1", "2:2"]);
    (
        some_prefix(),
        prop::collection::vec(1u32..4, 0..4),
        prop::collection::vec(value.prop_map(|v| standard(v).unwrap()), 0..3),
        prop::option::of(0u32..4),
        prop::option::of(0u32..4),
    )
        .prop_map(
            |(prefix, as_path, mut communities, med, local_preference)| {
                communities.sort_unstable();
                communities.dedup();
                Route {
                    prefix,
                    as_path,
                    communities,
                    med,
                    local_preference,
                    ..route()
                }
            },
        )
}

fn runs_as_the_reference(policy: &RoutePolicy, sets: &[Route], prefixes: &[IpPrefix]) {
    let mut evaluator = evaluator(policy.clone());
    let mut met = vec![0u64; policy.statements.len() + 1];
    for prefix in prefixes {
        for (id, set) in (0..).zip(sets) {
            let route = Route {
                prefix: *prefix,
                ..set.clone()
            };
            let (passed, by) = judge(&mut evaluator, id, &route);
            assert_eq!((passed, by), reference(policy, &route));
            met[by.map_or(policy.statements.len(), usize::from)] += 1;
        }
    }
    evaluator.flush();
    for (counted, met) in evaluator.applied().policy().hits().iter().zip(met) {
        assert!(counted.hits >= met, "those that decide are counted");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_small_policy_does_what_the_reference_does(
        policy in some_policy(0..=6),
        sets in prop::collection::vec(some_route(), 1..5),
        prefixes in prop::collection::vec(some_prefix(), 1..20),
    ) {
        runs_as_the_reference(&policy, &sets, &prefixes);
    }

    #[test]
    fn a_large_policy_does_what_the_reference_does(
        policy in some_policy(30..=60),
        sets in prop::collection::vec(some_route(), 1..5),
        prefixes in prop::collection::vec(some_prefix(), 1..20),
    ) {
        runs_as_the_reference(&policy, &sets, &prefixes);
    }
}
