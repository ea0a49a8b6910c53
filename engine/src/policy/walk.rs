//! One route's way through a policy, for people: what it met, and what became of it.
//!
//! Nothing is remembered, and nothing counts as a hit.

use std::sync::Arc;

use codec::IpPrefix;

use super::change::passes_over;
use super::compile::{Applied, Policy};
use super::keys;
use super::spec::{Action, Set};
use super::tree::{Evaluator, Key, Subject, Verdict};

/// What a policy made of one route.
#[derive(Clone, Debug)]
pub struct Walk {
    /// The policy.
    pub policy: Arc<Policy>,
    /// What became of the route.
    pub verdict: Verdict,
    /// The statements that it met, in order. The last one decided, unless none did.
    pub met: Vec<u16>,
    /// Of them, those whose `nextHop` was not set: it is not of the route's family.
    passed_over: Vec<u16>,
}

/// What a statement did to a route that met it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// What it set.
    pub set: Vec<String>,
    /// What it was to set and did not, and why.
    pub passed_over: Option<String>,
}

impl Walk {
    /// Walks a route through a policy.
    pub fn new(applied: Applied, subject: &Subject<'_>, prefix: IpPrefix) -> Walk {
        let key = Key {
            attributes: 0,
            generation: 0,
            family: subject.family,
            sources: subject.sources,
            validation: subject.validation,
        };
        let policy = Arc::clone(applied.policy());
        let mut evaluator = Evaluator::new(applied);
        let (verdict, _) = evaluator.judge(key, subject, prefix);
        let met: Vec<u16> = evaluator.met().collect();
        let is_passed_over = |place: &u16| {
            let statement = policy.spec().statements.get(usize::from(*place));
            let next_hop = statement.and_then(|statement| statement.set.next_hop);
            next_hop.is_some_and(|to| passes_over(to, subject.family, evaluator.applied()))
        };
        let passed_over = met.iter().copied().filter(is_passed_over).collect();
        Walk {
            policy,
            verdict,
            met,
            passed_over,
        }
    }

    /// Whether the statement at a place rejected the route, be it that it could not make us its next hop.
    pub fn is_rejected_by(&self, place: u16) -> bool {
        !self.verdict.accepted && self.verdict.statement == Some(place)
    }

    /// Whether it was rejected by a statement that was to make us its next hop and could not.
    fn lacks_ourselves(&self) -> bool {
        let by = self.verdict.statement.map(usize::from);
        let by = by.and_then(|by| self.policy.spec().statements.get(by));
        !self.verdict.accepted && by.is_some_and(|by| by.action != Action::Reject)
    }

    /// What the statement at a place did to the route.
    pub fn done(&self, place: u16) -> Done {
        let statement = self.policy.spec().statements.get(usize::from(place));
        // Who rejects a route changes nothing on it.
        let Some(statement) = statement.filter(|by| by.action != Action::Reject) else {
            return Done::default();
        };
        if self.is_rejected_by(place) {
            return Done {
                set: Vec::new(),
                passed_over: Some(NO_OWN_NEXT_HOP.to_owned()),
            };
        }
        let is_passed_over = self.passed_over.contains(&place);
        let not_set = statement.set.next_hop.filter(|_| is_passed_over);
        Done {
            set: match not_set {
                None => keys::changes(&statement.set),
                Some(_) => keys::changes(&Set {
                    next_hop: None,
                    ..statement.set.clone()
                }),
            },
            passed_over: not_set.map(|to| {
                let what = keys::next_hop(to);
                format!("{what} passed over: not of the route's family")
            }),
        }
    }

    /// What decided, as `RoutePolicy from-tor, statement customers`, and why, where its action does
    /// not say so.
    pub fn by(&self) -> String {
        let by = self.policy.words(self.verdict.statement);
        match self.lacks_ourselves() {
            true => format!("{by}: {NO_OWN_NEXT_HOP}"),
            false => by,
        }
    }

    /// What became of the route in one phrase.
    pub fn words(&self) -> String {
        let done = match self.verdict.accepted {
            true => "accepted",
            false => "rejected",
        };
        format!("{done} by {}", self.by())
    }
}

const NO_OWN_NEXT_HOP: &str =
    "nextHop Self cannot be set, as we have no next hop of the route's family on this session";
