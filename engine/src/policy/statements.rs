//! The statements of a policy as they are run: what they ask of attributes, each question once, and
//! which of them to look at for attributes and a prefix.
//!
//! Two statements that ask the same of attributes have one *condition*, so it is answered once for
//! both. Conditions that hold, and lists that hold the prefix, name the statements that wait for
//! them; no others are looked at.

use ahash::AHashMap;

use super::compile::Applied;
use super::condition::Facts;
use super::gates::Gates;
use super::spec::{Action, Match, RoutePolicy, Statement};
use super::trie::Label;

/// The statements of one policy.
#[derive(Debug, Default)]
pub(super) struct Statements {
    /// What is asked of attributes; the first asks for nothing.
    conditions: Vec<Match>,
    gates: Gates,
    all: Vec<Compiled>,
    by_condition: Vec<Waiting>,
    /// By list, the statements that ask for its prefixes, in order.
    by_list: Vec<Vec<u16>>,
}

#[derive(Debug)]
struct Compiled {
    matches: Part,
    not: Option<Part>,
    /// Whether meeting it ends the way of a route, or changes it.
    stops: bool,
}

/// A `match` or a `not`.
#[derive(Debug)]
struct Part {
    condition: u16,
    /// The prefix has to be in one of these; none: whatever it is.
    lists: Option<Box<[Label]>>,
}

/// The statements whose `match` has one condition, in order.
#[derive(Debug, Default)]
struct Waiting {
    /// Those that ask nothing of the prefix there,
    free: Vec<u16>,
    /// and the others.
    bound: Vec<u16>,
}

/// What attributes leave of a statement.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    /// It cannot be met.
    Never,
    /// It is met by every prefix.
    Always,
    /// The prefix decides, by the `match` alone or by `not` too.
    Prefix { not: bool },
}

impl Statements {
    /// Of a policy; `lists` gives the lists of a part of a statement.
    pub(super) fn new<'p>(
        policy: &'p RoutePolicy,
        mut lists: impl FnMut(&'p Match) -> Option<Box<[Label]>>,
    ) -> Statements {
        let mut statements = Statements {
            conditions: vec![Match::default()],
            ..Statements::default()
        };
        let mut known: AHashMap<Match, u16> = [(Match::default(), 0)].into_iter().collect();
        let mut part = |conditions: &mut Vec<Match>, asked: &'p Match| {
            let condition = of_attributes(asked);
            let number = *known.entry(condition.clone()).or_insert_with(|| {
                conditions.push(condition);
                conditions.len() as u16 - 1
            });
            Part {
                condition: number,
                lists: lists(asked),
            }
        };
        for (number, said) in (0..).zip(&policy.statements) {
            let matches = part(&mut statements.conditions, &said.matches);
            let not = said.not.as_ref();
            let not = not.map(|not| part(&mut statements.conditions, not));
            statements.add(number, matches, not, said);
        }
        statements.gates = Gates::new(statements.conditions.iter());
        statements
    }

    fn add(&mut self, number: u16, matches: Part, not: Option<Part>, said: &Statement) {
        self.by_condition
            .resize_with(self.conditions.len(), Waiting::default);
        let waiting = &mut self.by_condition[usize::from(matches.condition)];
        match &matches.lists {
            None => waiting.free.push(number),
            Some(lists) => {
                waiting.bound.push(number);
                for list in lists {
                    let list = usize::from(*list);
                    if self.by_list.len() <= list {
                        self.by_list.resize_with(list + 1, Vec::new);
                    }
                    if self.by_list[list].last() != Some(&number) {
                        self.by_list[list].push(number);
                    }
                }
            }
        }
        self.all.push(Compiled {
            matches,
            not,
            stops: said.action != Action::Next || !said.set.is_empty(),
        });
    }

    /// The conditions that hold for attributes, in order.
    pub(super) fn held(&self, facts: &Facts<'_>, held: &mut Vec<u16>) {
        facts.candidates(&self.gates, held);
        held.retain(|condition| facts.meet(&self.conditions[usize::from(*condition)]));
    }

    /// Whether meeting a statement ends the way of a route, or changes it.
    pub(super) fn stops(&self, statement: u16) -> bool {
        self.all
            .get(usize::from(statement))
            .is_some_and(|of| of.stops)
    }

    /// The first statement from one on that is met, by the conditions and the lists that hold.
    pub(super) fn first_met(
        &self,
        applied: &Applied,
        from: u16,
        held: &[u16],
        lists: &[Label],
    ) -> Option<u16> {
        let in_one = |part: &Part| {
            let asked = part.lists.as_deref().unwrap_or_default();
            asked.iter().any(|list| lists.contains(list))
        };
        let is_met = |statement: u16| {
            let of = &self.all[usize::from(statement)];
            match self.left(applied, statement, held) {
                Left::Never => false,
                Left::Always => true,
                Left::Prefix { not } => {
                    (of.matches.lists.is_none() || in_one(&of.matches))
                        && !(not && of.not.as_ref().is_some_and(in_one))
                }
            }
        };
        let free = self.waiting(held).map(|waiting| &waiting.free);
        let bound = lists
            .iter()
            .filter_map(|l| self.by_list.get(usize::from(*l)));
        first_of(free.chain(bound), from, is_met)
    }

    /// Whether from one statement to the next that stops none asks for the prefix, under the
    /// conditions that hold.
    pub(super) fn is_settled(&self, applied: &Applied, from: u16, held: &[u16]) -> bool {
        let left = |statement: u16| self.left(applied, statement, held);
        let free = || self.waiting(held).map(|waiting| &waiting.free);
        let bound = self.waiting(held).map(|waiting| &waiting.bound);
        let certain = |statement| self.stops(statement) && left(statement) == Left::Always;
        let stop = first_of(free(), from, certain).unwrap_or(u16::MAX);
        let asks = |statement| statement >= stop || matches!(left(statement), Left::Prefix { .. });
        first_of(free().chain(bound), from, asks).is_none_or(|first| first >= stop)
    }

    fn waiting(&self, held: &[u16]) -> impl Iterator<Item = &Waiting> {
        held.iter()
            .filter_map(|condition| self.by_condition.get(usize::from(*condition)))
    }

    fn left(&self, applied: &Applied, statement: u16, held: &[u16]) -> Left {
        let number = usize::from(statement);
        let of = &self.all[number];
        let holds = |part: &Part, not: bool| {
            held.binary_search(&part.condition).is_ok() && applied.neighbor_holds(number, not)
        };
        if !holds(&of.matches, false) {
            return Left::Never;
        }
        match of.not.as_ref().filter(|not| holds(not, true)) {
            Some(Part { lists: None, .. }) => Left::Never,
            Some(_) => Left::Prefix { not: true },
            None if of.matches.lists.is_some() => Left::Prefix { not: false },
            None => Left::Always,
        }
    }
}

/// The first statement from one on in these rows for which something holds; rows are in order.
fn first_of<'r>(
    rows: impl Iterator<Item = &'r Vec<u16>>,
    from: u16,
    holds: impl Fn(u16) -> bool,
) -> Option<u16> {
    let mut first = None;
    for row in rows {
        let later = row.partition_point(|statement| *statement < from);
        let earlier = |statement: &&u16| first.is_none_or(|first| **statement < first);
        let mut sought = row[later..].iter().take_while(earlier);
        if let Some(found) = sought.find(|statement| holds(**statement)) {
            first = Some(*found);
        }
    }
    first
}

/// What is asked beside the neighbor and the prefix.
fn of_attributes(asked: &Match) -> Match {
    Match {
        neighbors: None,
        prefix_sets: Vec::new(),
        prefixes: Vec::new(),
        by_prefix: false,
        ..asked.clone()
    }
}
