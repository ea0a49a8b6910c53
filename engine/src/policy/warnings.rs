//! Statements that no route can meet, as far as that is plain from what is written.
//!
//! A statement is looked at behind those before it: what they set narrows what there is (`known`), what
//! they decide is covered by one of them (`coverage`) or by several together (`cut`). Invariant: a
//! statement that can be met is never named.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use codec::{Family, IpPrefix};

use super::as_path::AsPathRegex;
use super::coverage::{Changed, Coverage, excludes, ranges};
use super::cut::Left;
use super::given::{Given, of_own};
use super::known::Known;
use super::path_grammar::{Grammar, Steps};
use super::spec::{Action, Match, RoutePolicy, Statement};

/// Comparisons for one policy: past it no more is found, so that a long policy is read quickly.
const COMPARISONS_MAX: usize = 12_000_000;

/// Those that are left for single statements: once there are no more, nothing is looked for that several
/// do together.
const FOR_SINGLE: usize = 8_000_000;

/// Steps to find out whether an AS_PATH is as lengths, origins and expressions together say.
const STEPS_MAX: usize = 2_000_000;

/// Statements that are looked at together, and how often.
const TOGETHER_MAX: usize = 256;
const ROUNDS_MAX: usize = 32;

/// Statements that a message names at most.
const NAMED_MAX: usize = 4;

/// A statement that decides or changes, and what is changed from there on.
struct Before<'p> {
    statement: &'p Statement,
    changed: Changed,
}

/// What is known while a policy is looked at.
struct Look<'p> {
    policy: &'p RoutePolicy,
    coverage: Coverage<'p>,
    steps: Steps,
    before: Vec<Before<'p>>,
    /// What any statement before may have changed.
    changed: Changed,
    given: &'p Given,
}

/// The statements that can never be met, by place, and why. Of those in places that could not be read
/// as they are meant nothing is said, and whatever they might do is reckoned with.
pub fn never_matching(policy: &RoutePolicy, unread: &BTreeSet<usize>) -> Vec<(usize, String)> {
    let given = Given::default();
    let mut look = Look::new(policy, &given, COMPARISONS_MAX);
    look.all_never(unread)
}

/// What else can never be met, beside the statements that are `known`, by routes that all have what is
/// given; as far as these comparisons last, which get less. What several statements do together is not
/// looked for.
pub fn never_matching_here(
    policy: &RoutePolicy,
    known: &BTreeSet<usize>,
    given: &Given,
    comparisons: &mut usize,
) -> Vec<(usize, String)> {
    let most = FOR_SINGLE.min(*comparisons);
    let mut look = Look::new(policy, given, most);
    let mut all = Vec::new();
    for (place, statement) in policy.statements.iter().enumerate() {
        if known.contains(&place) {
            continue;
        }
        match look.never_here(statement) {
            Some(why) => all.push((place, why)),
            None => look.pass(statement),
        }
    }
    let steps = STEPS_MAX.min(most) - look.steps.0;
    *comparisons = comparisons.saturating_sub(most - look.coverage.left() + steps);
    all
}

impl<'p> Look<'p> {
    fn new(policy: &'p RoutePolicy, given: &'p Given, comparisons_max: usize) -> Look<'p> {
        Look {
            policy,
            coverage: Coverage::new(policy, comparisons_max),
            steps: Steps(STEPS_MAX.min(comparisons_max)),
            before: Vec::new(),
            changed: Changed::default(),
            given,
        }
    }

    fn all_never(&mut self, unread: &BTreeSet<usize>) -> Vec<(usize, String)> {
        let mut all = Vec::new();
        let look = self;
        for (place, statement) in look.policy.statements.iter().enumerate() {
            if unread.contains(&place) {
                look.pass_unread();
                continue;
            }
            match look.never(statement) {
                Some(why) => all.push((place, why)),
                None => look.pass(statement),
            }
        }
        all
    }

    /// Goes on behind a statement.
    fn pass(&mut self, statement: &'p Statement) {
        let is_next = statement.action == Action::Next;
        if is_next && statement.set.is_empty() {
            return;
        }
        self.before.push(Before {
            statement,
            changed: Changed::default(),
        });
        if is_next {
            self.changed = self.changed.and(&statement.set);
            for before in self.before.iter_mut().rev() {
                let changed = before.changed.and(&statement.set);
                if changed == before.changed {
                    // Since those before it all of that has been changed too.
                    break;
                }
                before.changed = changed;
            }
        }
    }

    /// Goes on behind one of which nothing is known: it may change everything.
    fn pass_unread(&mut self) {
        let decides = |before: &Before<'_>| before.statement.action != Action::Next;
        self.before.retain(decides);
        self.changed = Changed::EVERYTHING;
        for before in &mut self.before {
            before.changed = Changed::EVERYTHING;
        }
    }

    fn never(&mut self, statement: &Statement) -> Option<String> {
        let why = contradiction(self.policy, &mut self.steps, statement);
        if why.is_some() {
            return why;
        }
        let asked = &statement.matches;
        let families = self.coverage.families(asked);
        let v4 = |prefix: &IpPrefix| prefix.family() == Family::Ipv4Unicast;
        // RFC 8950: the other way round there are such routes.
        if !families.contains(Family::Ipv4Unicast)
            && !asked.next_hops.is_empty()
            && asked.next_hops.iter().all(v4)
        {
            return Some("its routes are IPv6 and its `nextHops` IPv4".into());
        }
        if let Some(why) = of_own(asked, self.changed) {
            return Some(why.into());
        }
        self.never_here(statement)
    }

    /// The rest, for which it matters what is given and what statements before do.
    fn never_here(&mut self, statement: &Statement) -> Option<String> {
        let asked = &statement.matches;
        let families = self.coverage.families(asked);
        if let Some(why) = self.given.contradicts(asked, families, self.changed) {
            return Some(why.into());
        }
        let mut narrow = match self.narrowed(statement) {
            Ok(narrow) => narrow,
            Err(why) => return Some(why),
        };
        let longer = narrow.as_path_length != statement.matches.as_path_length;
        if longer && as_path(&narrow, &mut self.steps).is_some() {
            return Some("no AS_PATH is as its `asPath` says once one before has prepended".into());
        }
        self.given.narrow(&mut narrow);
        if self.given.begins_with_peer && self.begins_otherwise(&narrow) {
            return Some(
                "the AS_PATH of an external neighbor begins with its AS \
                 (`builtinFilters.firstAS`), and none that does is as its `asPath` says"
                    .into(),
            );
        }
        if let Some(not) = &statement.not
            && self.coverage.covers(not, &narrow)
        {
            return Some(NOT.into());
        }
        self.decided(statement, narrow)
    }

    /// Whether no path that begins with a neighbor's AS is as is asked for.
    fn begins_otherwise(&mut self, asked: &Match) -> bool {
        let length = &asked.as_path_length;
        if length.as_ref().is_some_and(RangeInclusive::is_empty) {
            return true;
        }
        let peers = asked.neighbors.as_ref().map_or(&[][..], |of| &of.asns);
        let first = match self.changed.as_path {
            true => &[],
            false => peers,
        };
        let regexes = &asked.as_path_regexes;
        if regexes.is_empty() || (first.is_empty() && !regexes.iter().all(|of| of.matches(""))) {
            return false;
        }
        let steps = &mut self.steps;
        let paths = Grammar::beginning_with(first, length, &asked.origin_asns, steps);
        paths.is_some_and(|paths| !regexes.iter().any(|of| of.can_be_in(&paths, steps)))
    }

    /// What a statement asks for, and what else its routes have since statements before set it.
    fn narrowed(&self, later: &Statement) -> Result<Match, String> {
        let mut known = Known::default();
        let setting = self.before.iter();
        let setting = setting.filter(|before| before.statement.action == Action::Next);
        for before in setting.clone() {
            if self.coverage.is_spent() {
                return Ok(later.matches.clone());
            }
            let statement = before.statement;
            let is_sure = !self.depends(before);
            if is_sure && self.coverage.apart(&statement.matches, &later.matches) {
                continue;
            }
            let all = is_sure
                && self.coverage.covers(&statement.matches, &later.matches)
                && self.leaves_nothing(statement, &later.matches, later);
            known.behind(&statement.set, all);
        }
        let mut narrow = later.matches.clone();
        let families = self.coverage.families(&narrow);
        known
            .narrow(&mut narrow, families)
            .map_err(|(what, sets)| {
                let by = setting.clone().rfind(|before| sets(&before.statement.set));
                let by = by.map_or("", |before| &before.statement.name);
                format!("no route has such `{what}` behind statement {by}, which sets it")
            })?;
        Ok(narrow)
    }

    /// Whether a statement asks for something that was changed since.
    fn depends(&self, before: &Before<'_>) -> bool {
        let Before { statement, changed } = before;
        let mut parts = [Some(&statement.matches), statement.not.as_ref()]
            .into_iter()
            .flatten();
        parts.any(|part| changed.matters_to(part))
    }

    /// Whether what a statement leaves out by its `not` is none of what a later one is about.
    fn leaves_nothing(&self, statement: &Statement, of: &Match, later: &Statement) -> bool {
        let covered = |left| {
            let also = later.not.as_ref();
            also.is_some_and(|also| self.coverage.covers(also, left))
        };
        let not = statement.not.as_ref();
        not.is_none_or(|left| self.coverage.apart(left, of) || covered(left))
    }

    /// Whether statements before decide all that one is about.
    fn decided(&self, later: &Statement, narrow: Match) -> Option<String> {
        let mut several = Vec::new();
        for before in &self.before {
            if self.coverage.is_spent() {
                return None;
            }
            let statement = before.statement;
            if statement.action == Action::Next || self.depends(before) {
                continue;
            }
            let Some(gaps) = self.coverage.gaps(&statement.matches, &narrow) else {
                continue;
            };
            if gaps.is_empty() && self.leaves_nothing(statement, &narrow, later) {
                return Some(said(&[&statement.name], false));
            }
            let fits = several.len() < TOGETHER_MAX && self.coverage.left() > FOR_SINGLE;
            if fits && !self.coverage.apart(&statement.matches, &narrow) {
                several.push(statement);
            }
        }
        self.decided_together(later, narrow, &several)
    }

    fn decided_together(
        &self,
        later: &Statement,
        mut rest: Match,
        several: &[&Statement],
    ) -> Option<String> {
        let mut by: Vec<&str> = Vec::new();
        let mut by_not = false;
        for _ in 0..ROUNDS_MAX {
            let mut less = false;
            if let Some(not) = &later.not {
                let left = self.take(&mut rest, not);
                by_not |= left != Left::All;
                less |= left != Left::All;
                if left == Left::Nothing {
                    return Some(said(&by, by_not));
                }
            }
            for statement in several {
                if self.coverage.left() < FOR_SINGLE {
                    return None;
                }
                if !self.leaves_nothing(statement, &rest, later) {
                    continue;
                }
                let left = self.take(&mut rest, &statement.matches);
                if left == Left::All {
                    continue;
                }
                less = true;
                if !by.contains(&&*statement.name) {
                    by.push(&statement.name);
                }
                if left == Left::Nothing {
                    return Some(said(&by, by_not));
                }
            }
            if !less {
                break;
            }
        }
        None
    }

    /// Takes from a condition what another one holds for, where that is plain.
    fn take(&self, rest: &mut Match, by: &Match) -> Left {
        match self.coverage.gaps(by, rest).as_deref() {
            Some([]) => Left::Nothing,
            Some([aspect]) => self.coverage.cut(rest, by, *aspect),
            _ => Left::All,
        }
    }
}

const NOT: &str = "its `not` holds for all that its `match` is about";

fn said(by: &[&str], by_not: bool) -> String {
    let but = match by_not {
        true => ", but for those of its `not`",
        false => "",
    };
    let more = by.len().saturating_sub(NAMED_MAX);
    match by {
        [] => NOT.into(),
        [one] => format!("statement {one} decides all of its routes before{but}"),
        [all @ .., last] if more == 0 => format!(
            "statements {} and {last} together decide all of its routes before{but}",
            all.join(", ")
        ),
        all => format!(
            "statements {} and {more} more together decide all of its routes before{but}",
            all[..NAMED_MAX].join(", ")
        ),
    }
}

fn contradiction(policy: &RoutePolicy, steps: &mut Steps, statement: &Statement) -> Option<String> {
    let asked = &statement.matches;
    if statement.not.as_ref() == Some(&Match::default()) {
        return Some("its `not` is empty, which is every route".into());
    }
    if excludes(&asked.standard.none, &asked.standard)
        || excludes(&asked.large.none, &asked.large)
        || excludes(&asked.extended.none, &asked.extended)
    {
        return Some(
            "its `none` has what its `any` or `all` asks for among the communities".into(),
        );
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
