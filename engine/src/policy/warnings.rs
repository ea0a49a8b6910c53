//! Statements that no route can meet, as far as that is plain from what is written.

use super::as_path::AsPathRegex;
use super::coverage::{Changed, Coverage, ranges};
use super::path_grammar::{Grammar, Steps};
use super::spec::{Action, Match, RoutePolicy, Statement};

/// Comparisons for one policy: past it no more is found, so that a long policy is read quickly.
const COMPARISONS_MAX: usize = 20_000_000;

/// Steps to find out whether an AS_PATH is as lengths, origins and expressions together say.
const STEPS_MAX: usize = 2_000_000;

/// An earlier statement that decides, and what changed since.
struct Closed<'p> {
    statement: &'p Statement,
    changed: Changed,
}

/// The statements that can never be met, by place, and why.
pub fn never_matching(policy: &RoutePolicy) -> Vec<(usize, String)> {
    let mut all = Vec::new();
    let mut closed: Vec<Closed<'_>> = Vec::new();
    let mut coverage = Coverage::new(policy, COMPARISONS_MAX);
    let mut steps = Steps(STEPS_MAX);
    for (place, statement) in policy.statements.iter().enumerate() {
        let why = contradiction(policy, &mut coverage, &mut steps, statement)
            .or_else(|| decided_before(&mut coverage, &closed, statement));
        if let Some(why) = why {
            all.push((place, why));
        } else if statement.action == Action::Next {
            for earlier in &mut closed {
                earlier.changed = earlier.changed.and(&statement.set);
            }
        } else {
            closed.push(Closed {
                statement,
                changed: Changed::default(),
            });
        }
    }
    all
}

/// Whether an earlier statement decides all that one is about.
fn decided_before(
    coverage: &mut Coverage<'_>,
    closed: &[Closed<'_>],
    later: &Statement,
) -> Option<String> {
    let decides = |earlier: &&Closed<'_>| {
        let Closed { statement, changed } = earlier;
        if changed.matters_to(&statement.matches)
            || !coverage.covers(&statement.matches, &later.matches)
        {
            return false;
        }
        // What the earlier one leaves out, the later one has to leave out too.
        match (&statement.not, &later.not) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(left), Some(also)) => !changed.matters_to(left) && coverage.covers(also, left),
        }
    };
    let earlier = closed.iter().find(decides)?;
    let name = &earlier.statement.name;
    Some(format!("statement {name} decides all of its routes before"))
}

fn contradiction(
    policy: &RoutePolicy,
    coverage: &mut Coverage<'_>,
    steps: &mut Steps,
    statement: &Statement,
) -> Option<String> {
    let asked = &statement.matches;
    if let Some(not) = &statement.not {
        if *not == Match::default() {
            return Some("its `not` is empty, which is every route".into());
        }
        if coverage.covers(not, asked) {
            return Some("its `not` holds for all that its `match` is about".into());
        }
    }
    let standard = &asked.standard;
    let large = &asked.large;
    let extended = &asked.extended;
    if clash(&standard.any, &standard.all, &standard.none)
        || clash(&large.any, &large.all, &large.none)
        || clash(&extended.any, &extended.all, &extended.none)
    {
        return Some("a community stands in its `none`, and in its `any` or `all`".into());
    }
    as_path(asked, steps).or_else(|| prefixes(policy, asked))
}

/// Whether no path is as `asPath` says, all of it together.
fn as_path(asked: &Match, steps: &mut Steps) -> Option<String> {
    let (length, origins) = (&asked.as_path_length, &asked.origin_asns);
    let of_length = length.as_ref().map(|_| "`asPath.length`");
    let of_origin = (!origins.is_empty()).then_some("`asPath.originASNs`");
    if let (Some(length), Some(_)) = (length, of_origin)
        && *length.end() == 0
    {
        return Some("a path of its `asPath.length` has no AS that originated it".into());
    }
    let regexes = &asked.as_path_regexes;
    if regexes.is_empty() {
        return None;
    }
    if !regexes.iter().any(AsPathRegex::can_match) {
        return Some("no AS_PATH is as its `asPath.regexes` say".into());
    }
    let others: Vec<&str> = of_length.into_iter().chain(of_origin).collect();
    if others.is_empty() {
        return None;
    }
    let paths = Grammar::of(length, origins, steps)?;
    let can = regexes.iter().any(|regex| regex.can_be_in(&paths, steps));
    let others = others.join(" and its ");
    (!can).then(|| format!("no AS_PATH is as its `asPath.regexes` and its {others} say"))
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
    if ranges(policy, asked).next().is_none() {
        return Some("its prefix sets are empty".into());
    }
    let mut families = ranges(policy, asked).map(|range| range.prefix.family());
    let meets = families.any(|family| asked.families.contains(family));
    (!meets).then(|| "its prefixes are not of its families".to_owned())
}
