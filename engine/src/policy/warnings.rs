//! Statements that no route can meet.

use codec::Family;

use super::spec::{Action, Match, PrefixRange, RoutePolicy};

/// The statements that can never be met, by place, and why.
pub fn never_matching(policy: &RoutePolicy) -> Vec<(usize, String)> {
    let mut all = Vec::new();
    let mut closed: Vec<usize> = Vec::new();
    for (place, statement) in policy.statements.iter().enumerate() {
        let asked = &statement.matches;
        let before = |earlier: &&usize| {
            let earlier = &policy.statements[**earlier];
            earlier.matches == *asked || earlier.matches == Match::default()
        };
        let why = if let Some(earlier) = closed.iter().find(before) {
            let name = &policy.statements[*earlier].name;
            Some(format!("statement {name} decides all of its routes before"))
        } else if statement.not.as_ref() == Some(&Match::default()) {
            Some("its `not` is empty, which is every route".into())
        } else if statement.not.as_ref() == Some(asked) {
            Some("its `not` asks for the same as its `match`".into())
        } else {
            contradiction(policy, asked)
        };
        if let Some(why) = why {
            all.push((place, why));
        } else if statement.action != Action::Next && statement.not.is_none() {
            closed.push(place);
        }
    }
    all
}

fn contradiction(policy: &RoutePolicy, asked: &Match) -> Option<String> {
    let has_both = |meets: bool| {
        meets.then(|| "a community stands in its `none`, and in its `any` or `all`".to_owned())
    };
    let standard = &asked.standard;
    let large = &asked.large;
    let extended = &asked.extended;
    has_both(
        clash(&standard.any, &standard.all, &standard.none)
            || clash(&large.any, &large.all, &large.none)
            || clash(&extended.any, &extended.all, &extended.none),
    )
    .or_else(|| prefixes(policy, asked))
}

/// All of `any`, or one of `all`, is excluded.
fn clash<P: PartialEq>(any: &[P], all: &[P], none: &[P]) -> bool {
    let excluded = |pattern: &P| none.contains(pattern);
    (!any.is_empty() && any.iter().all(excluded)) || all.iter().any(excluded)
}

fn prefixes(policy: &RoutePolicy, asked: &Match) -> Option<String> {
    if !asked.by_prefix {
        return None;
    }
    let sets = asked.prefix_sets.iter();
    let sets = sets.filter_map(|set| policy.sets.get(usize::from(*set)));
    let ranges: Vec<&PrefixRange> = sets
        .flat_map(|set| &set.ranges)
        .chain(&asked.prefixes)
        .collect();
    if ranges.is_empty() {
        return Some("its prefix sets are empty".into());
    }
    let of_family = |family: Family| ranges.iter().any(|range| range.prefix.family() == family);
    let meets = asked.families.iter().any(of_family);
    (!meets).then(|| "its prefixes are not of its families".to_owned())
}
