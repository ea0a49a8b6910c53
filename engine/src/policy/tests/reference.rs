//! Evaluation against a plain reference, with policies and routes drawn at random.

use proptest::prelude::*;

use super::*;

/// Statement by statement, on plain values.
/// The statements that it meets are counted.
fn reference(
    policy: &RoutePolicy,
    route: &Route,
    hits: &mut [u64],
) -> (Option<Route>, Option<u16>) {
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
        hits[usize::from(place)] += 1;
        if statement.action == Action::Reject {
            return (None, Some(place));
        }
        change(&statement.set, &mut route);
        if statement.action == Action::Accept {
            return (Some(route), Some(place));
        }
    }
    hits[policy.statements.len()] += 1;
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

/// Whatever the order, with what is remembered and without: verdicts, forms, hits, and whether
/// prefixes are told apart.
fn runs_as_the_reference(policy: &RoutePolicy, sets: &[Route], prefixes: &[IpPrefix]) {
    let mut evaluator = evaluator(policy.clone());
    let mut met = vec![0u64; policy.statements.len() + 1];
    for (id, set) in (0..).zip(sets) {
        let mut seen = Vec::new();
        for round in 0..2 {
            for prefix in prefixes {
                let route = Route {
                    prefix: *prefix,
                    ..set.clone()
                };
                let wanted = reference(policy, &route, &mut met);
                assert_eq!(judge(&mut evaluator, id, &route), wanted, "round {round}");
                seen.push((wanted, is_settled(&mut evaluator, id, &route)));
                reference(policy, &route, &mut met);
            }
        }
        for ((passed, by), settled) in &seen {
            let without_prefix = |passed: &Option<Route>| {
                passed.clone().map(|route| Route {
                    prefix: prefix("0.0.0.0/0"),
                    ..route
                })
            };
            let (first, first_by) = &seen[0].0;
            let same = without_prefix(passed) == without_prefix(first) && by == first_by;
            assert!(same || !settled, "settled, and yet it differs");
        }
    }
    evaluator.flush();
    let counted: Vec<u64> = evaluator
        .applied()
        .policy()
        .hits()
        .iter()
        .map(|of| of.hits)
        .collect();
    assert_eq!(counted, met);
    for (place, why) in never(policy) {
        assert_eq!(met[place], 0, "met, though {why}");
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
