//! What is said never to be met is not: policies of few values and aspects, so that statements often
//! cover each other, and routes of the same values.

use codec::FamilySet;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::*;

/// One thing that a condition asks for.
#[derive(Clone, Debug)]
enum Ask {
    Family(Family),
    Ranges(Vec<PrefixRange>),
    Sets(Vec<u16>),
    Addresses(Vec<IpPrefix>),
    PeerAsns(Vec<RangeInclusive<u32>>),
    Kinds(Vec<PeerKind>),
    Templates(Vec<Arc<str>>),
    Sources(Sources),
    Med(RangeInclusive<u32>),
    LocalPreference(RangeInclusive<u32>),
    Length(RangeInclusive<u32>),
    Origins(Vec<Origin>),
    Validation(Vec<Validation>),
    Standard([Vec<Standard>; 3]),
    Large([Vec<Large>; 3]),
    Extended([Vec<Extended>; 3]),
    OriginAsns(Vec<RangeInclusive<u32>>),
    NextHops(Vec<IpPrefix>),
    Regexes(Vec<AsPathRegex>),
}

impl Ask {
    fn of(self, asked: &mut Match) {
        fn communities<P>([any, all, none]: [Vec<P>; 3]) -> CommunityMatch<P> {
            CommunityMatch { any, all, none }
        }
        match self {
            Ask::Family(family) => asked.families = [family].into_iter().collect(),
            Ask::Ranges(ranges) => (asked.by_prefix, asked.prefixes) = (true, ranges),
            Ask::Sets(sets) => (asked.by_prefix, asked.prefix_sets) = (true, sets),
            Ask::Addresses(of) => asked.neighbors.get_or_insert_default().addresses = of,
            Ask::PeerAsns(of) => asked.neighbors.get_or_insert_default().asns = of,
            Ask::Kinds(of) => asked.neighbors.get_or_insert_default().kinds = of,
            Ask::Templates(of) => asked.neighbors.get_or_insert_default().templates = of,
            Ask::Sources(of) => asked.sources = Some(of),
            Ask::Med(range) => asked.med = Some(range),
            Ask::LocalPreference(range) => asked.local_preference = Some(range),
            Ask::Length(range) => asked.as_path_length = Some(range),
            Ask::Origins(of) => asked.origins = of,
            Ask::Validation(of) => asked.validation = of,
            Ask::Standard(of) => asked.standard = communities(of),
            Ask::Large(of) => asked.large = communities(of),
            Ask::Extended(of) => asked.extended = communities(of),
            Ask::OriginAsns(of) => asked.origin_asns = of,
            Ask::NextHops(of) => asked.next_hops = of,
            Ask::Regexes(of) => asked.as_path_regexes = of,
        }
    }
}

fn numbers() -> impl Strategy<Value = RangeInclusive<u32>> {
    let least = prop_oneof![Just(0), 0u32..4];
    let most = prop_oneof![Just(u32::MAX), 0u32..5];
    (least, most).prop_map(|(a, b)| a.min(b)..=a.max(b))
}

fn some<T: Clone + std::fmt::Debug + 'static>(of: Vec<T>) -> impl Strategy<Value = Vec<T>> {
    prop::collection::vec(prop::sample::select(of), 1..3)
}

fn parsed<T>(texts: &[&str], parse: fn(&str) -> Option<T>) -> Vec<T> {
    texts.iter().map(|text| parse(text).unwrap()).collect()
}

fn patterns<T: Clone + std::fmt::Debug + 'static>(
    of: Vec<T>,
) -> impl Strategy<Value = [Vec<T>; 3]> {
    let few = || {
        let of = prop::sample::select(of.clone());
        prop::collection::vec(of, 0..2)
    };
    [few(), few(), few()]
}

/// Within 20.0.0.0/22 or 2001:db8::/46, and all of a family.
fn outer() -> impl Strategy<Value = IpPrefix> {
    let texts = [
        "0.0.0.0/0",
        "20.0.0.0/22",
        "20.0.0.0/23",
        "20.0.2.0/23",
        "20.0.0.0/24",
        "20.0.3.0/24",
        "::/0",
        "2001:db8::/46",
        "2001:db8::/47",
        "2001:db8:2::/47",
        "2001:db8:1::/48",
    ];
    prop::sample::select(texts.map(prefix).to_vec())
}

fn ranges() -> impl Strategy<Value = Vec<PrefixRange>> {
    let one = (outer(), 0u8..3, prop_oneof![0u8..3, Just(128)]).prop_map(|(prefix, from, more)| {
        let max = if prefix.family() == Family::Ipv4Unicast {
            32
        } else {
            128
        };
        let whole = more == 128;
        let shortest = prefix.length() + if whole { 0 } else { from };
        PrefixRange {
            prefix,
            shortest,
            longest: shortest.saturating_add(more).min(max),
        }
    });
    prop::collection::vec(one, 1..4)
}

/// How many things there are to ask for.
const ASPECTS: usize = 19;

/// One of them.
fn ask(aspect: usize) -> BoxedStrategy<Ask> {
    let hosts = || {
        let texts = ["10.0.0.0/31", "10.0.0.0/32", "10.0.0.1/32", "10.0.0.2/31"];
        some(texts.map(prefix).to_vec())
    };
    let asns = || prop::collection::vec(numbers(), 1..3);
    let kinds = || vec![PeerKind::External, PeerKind::Internal];
    let sources = || [1, 2, 4, 6, 7].map(Sources::from_bits).to_vec();
    let origins = || vec![Origin::Igp, Origin::Egp, Origin::Incomplete];
    let states = || vec![Validation::Valid, Validation::Invalid, Validation::NotFound];
    let regexes = || {
        let texts = [
            "_1_",
            "^2( .*)?$",
            "_3$",
            "^$",
            "^[12]$",
            "^1 2 3$",
            ".*",
            "^",
            "^.+$",
        ];
        texts.map(|text| AsPathRegex::new(text).unwrap()).to_vec()
    };
    let standard = || parsed(&["1:1", "1:2", "1:*", "2:1", "*:1"], Standard::parse);
    let large = || parsed(&["1:1:1", "1:*:1", "*:*:*"], Large::parse);
    let extended = || parsed(&["rt:1:1", "rt:1:*", "rt:*"], Extended::parse);
    match aspect {
        0 => numbers().prop_map(Ask::Med).boxed(),
        1 => numbers().prop_map(Ask::LocalPreference).boxed(),
        2 => numbers().prop_map(Ask::Length).boxed(),
        3 => some(origins()).prop_map(Ask::Origins).boxed(),
        4 => some(states()).prop_map(Ask::Validation).boxed(),
        5 => patterns(standard()).prop_map(Ask::Standard).boxed(),
        6 => patterns(large()).prop_map(Ask::Large).boxed(),
        7 => patterns(extended()).prop_map(Ask::Extended).boxed(),
        8 => asns().prop_map(Ask::OriginAsns).boxed(),
        9 => hosts().prop_map(Ask::NextHops).boxed(),
        10 => some(regexes()).prop_map(Ask::Regexes).boxed(),
        11 => prop::sample::select(Family::ALL.to_vec())
            .prop_map(Ask::Family)
            .boxed(),
        12 => ranges().prop_map(Ask::Ranges).boxed(),
        13 => some(vec![0u16, 1]).prop_map(Ask::Sets).boxed(),
        14 => hosts().prop_map(Ask::Addresses).boxed(),
        15 => asns().prop_map(Ask::PeerAsns).boxed(),
        16 => some(kinds()).prop_map(Ask::Kinds).boxed(),
        17 => some(vec!["a".into(), "b".into()])
            .prop_map(Ask::Templates)
            .boxed(),
        _ => prop::sample::select(sources())
            .prop_map(Ask::Sources)
            .boxed(),
    }
}

/// Of two aspects, each asked for or not.
fn matches((a, b): (usize, usize)) -> impl Strategy<Value = Match> {
    let asks = (
        prop::option::weighted(0.7, ask(a)),
        prop::option::weighted(0.3, ask(b)),
    );
    asks.prop_map(|(a, b)| {
        let mut asked = Match::default();
        a.into_iter().chain(b).for_each(|ask| ask.of(&mut asked));
        asked
    })
}

/// What a statement sets: what an aspect is about, if it can be set.
fn set(aspect: usize) -> BoxedStrategy<Set> {
    let med = prop_oneof![
        (0u32..4).prop_map(SetMed::Value),
        (-2i64..3).prop_map(SetMed::Add),
        Just(SetMed::Remove),
    ];
    let next_hop = prop_oneof![
        Just(SetNextHop::Own),
        Just(SetNextHop::PeerAddress),
        Just(SetNextHop::Unchanged),
        Just(SetNextHop::Address("10.0.0.1".parse().unwrap())),
        Just(SetNextHop::Address("2001:db8::1".parse().unwrap())),
    ];
    let values = parsed(&["1:1", "1:2", "2:1"], standard);
    let values = prop::collection::vec(prop::sample::select(values), 0..2);
    let removed = parsed(&["1:1", "1:*", "2:1", "*:*"], Standard::parse);
    let removed = prop::collection::vec(prop::sample::select(removed), 0..2);
    let communities = prop_oneof![
        (values.clone(), removed).prop_map(|(add, remove)| (None, add, remove)),
        values.prop_map(|values| (Some(values), vec![], vec![])),
    ];
    match aspect {
        0 => med
            .prop_map(|med| Set {
                med: Some(med),
                ..Set::default()
            })
            .boxed(),
        1 => (0u32..4)
            .prop_map(|of| Set {
                local_preference: Some(of),
                ..Set::default()
            })
            .boxed(),
        2 | 8 | 10 => (1u32..4, 1u8..3)
            .prop_map(|of| Set {
                prepend: Some(of),
                ..Set::default()
            })
            .boxed(),
        9 => next_hop
            .prop_map(|of| Set {
                next_hop: Some(of),
                ..Set::default()
            })
            .boxed(),
        5 => communities
            .prop_map(|(replace, add, remove)| Set {
                standard: CommunitySet {
                    replace,
                    remove,
                    add,
                },
                ..Set::default()
            })
            .boxed(),
        _ => Just(Set::default()).boxed(),
    }
}

/// Statements that ask for two things and set what is mostly one of these.
fn policies() -> impl Strategy<Value = RoutePolicy> {
    let aspects = (0..ASPECTS, 0..ASPECTS);
    let statements = aspects.prop_flat_map(|aspects| {
        let actions = [Action::Accept, Action::Reject, Action::Next, Action::Next];
        let actions = actions.to_vec();
        let action = prop::sample::select(actions);
        let not = prop::option::weighted(0.2, matches(aspects));
        let statement = (matches(aspects), not, set(aspects.0), action);
        prop::collection::vec(statement, 2..7)
    });
    let sets = prop::collection::vec(ranges(), 2);
    (statements, sets).prop_map(|(statements, sets)| RoutePolicy {
        name: "random".into(),
        default_accepts: true,
        sets: sets
            .into_iter()
            .map(|ranges| PrefixSet {
                name: "s".into(),
                ranges,
            })
            .collect(),
        statements: (0..)
            .zip(statements)
            .map(|(place, (matches, not, set, action))| Statement {
                name: format!("s{place}").into(),
                matches,
                not,
                set,
                action,
            })
            .collect(),
    })
}

fn routes() -> impl Strategy<Value = Route> {
    let few = || prop::option::of(0u32..6);
    let prefixes = [
        "20.0.0.0/22",
        "20.0.0.0/23",
        "20.0.1.0/24",
        "20.0.2.0/24",
        "20.0.3.0/25",
        "0.0.0.0/0",
        "21.0.0.0/8",
        "2001:db8::/46",
        "2001:db8::/48",
        "2001:db8:2::/47",
        "2001:db8:3::/48",
        "::/0",
    ];
    let hops = [0, 1, 2].map(|host| Some(Ipv4Addr::new(10, 0, 0, host)));
    let hops = hops.into_iter().chain([None]).collect::<Vec<_>>();
    let sources = [1, 2, 4, 6].map(Sources::from_bits).to_vec();
    let states = vec![Validation::Valid, Validation::Invalid, Validation::NotFound];
    let origins = vec![Origin::Igp, Origin::Egp, Origin::Incomplete];
    let values = parsed(&["1:1", "1:2", "2:1", "2:2"], standard);
    let extended = parsed(&["rt:1:1", "rt:1:2", "soo:1:1"], extended);
    (
        (
            prop::sample::select(prefixes.map(prefix).to_vec()),
            prop::sample::select(sources),
            prop::sample::select(states),
            prop::sample::select(origins),
            prop::sample::select(hops),
        ),
        prop::collection::vec(1u32..5, 0..5),
        prop::collection::btree_set(prop::sample::select(values), 0..3),
        prop::collection::vec(
            prop::sample::select(vec![[1, 1, 1], [1, 2, 1], [2, 2, 2]]),
            0..2,
        ),
        prop::collection::vec(prop::sample::select(extended), 0..2),
        (few(), few()),
    )
        .prop_map(
            |(plain, as_path, communities, large, extended, (med, preference))| {
                let (prefix, sources, validation, origin, next_hop) = plain;
                let is_v4 = prefix.family() == Family::Ipv4Unicast;
                // Own routes have nothing but their communities and LOCAL_PREF.
                let is_own = !sources.meets(Sources::RECEIVED);
                Route {
                    prefix,
                    sources,
                    validation,
                    origin: if is_own { Origin::Igp } else { origin },
                    next_hop: next_hop.filter(|_| is_v4 && !is_own),
                    as_path: if is_own { Vec::new() } else { as_path },
                    communities: communities.into_iter().collect(),
                    large,
                    extended,
                    med: med.filter(|_| !is_own),
                    local_preference: preference,
                }
            },
        )
}

/// Neighbors of every kind.
fn neighbors() -> Vec<Neighbor<'static>> {
    let mut all = Vec::new();
    for host in 0..3u8 {
        for (asn, kind) in [
            (0, PeerKind::External),
            (2, PeerKind::Internal),
            (9, PeerKind::External),
        ] {
            all.push(Neighbor {
                address: Ipv4Addr::new(10, 0, 0, host).into(),
                asn,
                kind,
                template: [None, Some("a"), Some("b")][usize::from(host)],
            });
        }
    }
    all
}

#[test]
fn nothing_meets_what_is_said_never_to_be_met() {
    const POLICIES: usize = 1_500;
    const ROUTES: usize = 600;
    let mut runner = TestRunner::deterministic();
    let routes = prop::collection::vec(routes(), ROUTES);
    let routes = routes.new_tree(&mut runner).unwrap().current();
    let policies = policies();
    let mut found = [0usize; 3];
    for _ in 0..POLICIES {
        let policy = policies.new_tree(&mut runner).unwrap().current();
        let never = never(&policy);
        for (_, why) in &never {
            let kind = match why {
                _ if why.contains("together") => 2,
                _ if why.contains("behind") => 1,
                _ => 0,
            };
            found[kind] += 1;
        }
        if never.is_empty() {
            continue;
        }
        let hits = hits(&policy, &routes, &Given::default());
        for (place, why) in never {
            assert_eq!(hits[place], 0, "{why}: {:#?}", policy.statements);
        }
    }
    assert!(found[0] > 500 && found[1] > 5 && found[2] > 20, "{found:?}");
}

/// Some of what the settings may give.
fn givens() -> impl Strategy<Value = Given> {
    let families = vec![
        FamilySet::ALL,
        [Family::Ipv4Unicast].into_iter().collect(),
        [Family::Ipv6Unicast].into_iter().collect(),
    ];
    let sources = [1, 1, 3, 6, 15].map(Sources::from_bits).to_vec();
    let hosts = [
        vec![],
        vec![prefix("10.0.0.1/32")],
        vec![prefix("10.0.0.0/31")],
    ];
    let asns = vec![vec![], vec![2..=2], vec![0..=2]];
    let kinds = vec![vec![], vec![PeerKind::External]];
    let templates = vec![vec![], vec!["a".into()], vec!["a".into(), "b".into()]];
    let neighbors = (
        prop::sample::select(hosts.to_vec()),
        prop::sample::select(asns),
        prop::sample::select(kinds),
        prop::sample::select(templates),
    );
    let neighbors = neighbors.prop_map(|(addresses, asns, kinds, templates)| NeighborMatch {
        addresses,
        asns,
        kinds,
        templates,
    });
    let others = (prop::bool::ANY, prop::bool::ANY);
    (
        prop::sample::select(families),
        prop::sample::select(sources),
        neighbors,
        others,
    )
        .prop_map(
            |(families, sources, neighbors, (without_local_preference, begins_with_peer))| Given {
                families,
                sources,
                neighbors,
                without_local_preference,
                begins_with_peer,
            },
        )
}

#[test]
fn nothing_meets_what_is_said_never_to_be_met_by_what_is_given() {
    const POLICIES: usize = 1_500;
    const ROUTES: usize = 600;
    let mut runner = TestRunner::deterministic();
    let routes = prop::collection::vec(routes(), ROUTES);
    let routes = routes.new_tree(&mut runner).unwrap().current();
    let policies = (policies(), givens());
    let mut found = 0;
    for _ in 0..POLICIES {
        let (policy, given) = policies.new_tree(&mut runner).unwrap().current();
        let known = never(&policy).into_iter().map(|(place, _)| place).collect();
        let never = never_matching_here(&policy, &known, &given, &mut 1_000_000);
        if never.is_empty() {
            continue;
        }
        found += never.len();
        let hits = hits(&policy, &routes, &given);
        for (place, why) in never {
            assert_eq!(hits[place], 0, "{why}: {given:?} {:#?}", policy.statements);
        }
    }
    assert!(found > 300, "{found}");
}

fn is_given(given: &Given, route: &Route, neighbor: &Neighbor<'_>) -> bool {
    given.families.contains(route.prefix.family())
        && route.sources.bits() & !given.sources.bits() == 0
        && !(given.without_local_preference && route.local_preference.is_some())
        && !(given.begins_with_peer && route.as_path.first() != Some(&neighbor.asn))
}

/// How many of the routes, each from one of the neighbors, meet each statement.
fn hits(policy: &RoutePolicy, routes: &[Route], given: &Given) -> Vec<u64> {
    let policy = Arc::new(Policy::new(policy.clone()));
    let mut neighbors = neighbors();
    neighbors.retain(|neighbor| super::super::condition::neighbor(&given.neighbors, neighbor));
    for (place, neighbor) in neighbors.iter().enumerate() {
        let own = [Some(NextHop::V4(OWN)), None];
        let mut evaluator = Evaluator::new(Applied::on_import(&policy, neighbor, own));
        let routes = (0..).zip(routes).skip(place).step_by(neighbors.len());
        let routes = routes.filter(|(_, route)| is_given(given, route, neighbor));
        for (id, route) in routes {
            let canonical = route.canonical();
            let (key, subject) = asked(id, route, &canonical);
            evaluator.judge(key, &subject, route.prefix);
        }
        evaluator.flush();
    }
    policy.hits().into_iter().map(|of| of.hits).collect()
}
