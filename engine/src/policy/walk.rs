//! One route's way through a policy, for people: what it met, and what became of it.
//!
//! Nothing is remembered, and nothing counts as a hit.

use std::sync::Arc;

use codec::IpPrefix;

use super::compile::{Applied, Policy};
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
        let met = evaluator.met().collect();
        Walk {
            policy,
            verdict,
            met,
        }
    }

    /// What decided, as `RoutePolicy from-tor, statement customers`.
    pub fn by(&self) -> String {
        self.policy.words(self.verdict.statement)
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
