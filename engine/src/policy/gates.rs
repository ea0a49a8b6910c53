//! Which conditions an attribute set can meet at all: those that ask for a community, or for an AS in
//! its path, that it does not have, are not looked at.
//!
//! A condition has at most one kind of gate, the first that it offers. Invariant: a condition that
//! holds for an attribute set is among its [`Gates::candidates`].

use ahash::AHashMap;

use super::communities::Pattern;
use super::spec::Match;

/// Values that one condition may be listed under.
const VALUES_MAX: usize = 32;

/// What a condition cannot be met without: one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Gate {
    Community(u32),
    Origin(u32),
    Asn(u32),
}

/// Conditions by their gates.
#[derive(Debug, Default)]
pub(super) struct Gates {
    by_gate: AHashMap<Gate, Vec<u16>>,
    /// Those without any.
    open: Vec<u16>,
    /// Whether a condition is behind gates of each kind.
    communities: bool,
    origins: bool,
    asns: bool,
}

impl Gates {
    /// Of conditions in the order of their numbers.
    pub(super) fn new<'a>(conditions: impl Iterator<Item = &'a Match>) -> Gates {
        let mut gates = Gates::default();
        for (number, condition) in (0..).zip(conditions) {
            let Some(of) = gates_of(condition) else {
                gates.open.push(number);
                continue;
            };
            for gate in of {
                match gate {
                    Gate::Community(_) => gates.communities = true,
                    Gate::Origin(_) => gates.origins = true,
                    Gate::Asn(_) => gates.asns = true,
                }
                let listed = gates.by_gate.entry(gate).or_default();
                if listed.last() != Some(&number) {
                    listed.push(number);
                }
            }
        }
        gates
    }

    /// The conditions that a set with these communities and this path may meet, in order.
    pub(super) fn candidates(
        &self,
        communities: impl Iterator<Item = u32>,
        asns: impl Iterator<Item = u32>,
        origin: impl FnOnce() -> Option<u32>,
        out: &mut Vec<u16>,
    ) {
        out.clear();
        out.extend(&self.open);
        let open = out.len();
        let mut pass = |gate| {
            if let Some(listed) = self.by_gate.get(&gate) {
                out.extend(listed);
            }
        };
        if self.communities {
            communities.map(Gate::Community).for_each(&mut pass);
        }
        if self.asns {
            asns.map(Gate::Asn).for_each(&mut pass);
        }
        if self.origins {
            origin().map(Gate::Origin).into_iter().for_each(&mut pass);
        }
        if out.len() > open {
            out.sort_unstable();
            out.dedup();
        }
    }
}

fn gates_of(asked: &Match) -> Option<Vec<Gate>> {
    let any: Option<Vec<Gate>> = asked
        .standard
        .any
        .iter()
        .map(|pattern| pattern.only().map(Gate::Community))
        .collect();
    let any = any.filter(|gates| !gates.is_empty());
    let all = || {
        let mut all = asked.standard.all.iter();
        Some(vec![
            all.find_map(|pattern| pattern.only().map(Gate::Community))?,
        ])
    };
    let fit = |gates: &Vec<Gate>| gates.len() <= VALUES_MAX;
    any.filter(fit)
        .or_else(all)
        .or_else(|| origins(asked).filter(fit))
        .or_else(|| paths(asked).filter(fit))
}

fn origins(asked: &Match) -> Option<Vec<Gate>> {
    let count = |asns: &std::ops::RangeInclusive<u32>| u64::from(asns.end() - asns.start()) + 1;
    let total: u64 = asked.origin_asns.iter().map(count).sum();
    let few = (1..=VALUES_MAX as u64).contains(&total);
    few.then(|| {
        asked
            .origin_asns
            .iter()
            .cloned()
            .flatten()
            .map(Gate::Origin)
            .collect()
    })
}

fn paths(asked: &Match) -> Option<Vec<Gate>> {
    let regexes = asked.as_path_regexes.iter();
    let required: Option<Vec<Gate>> = regexes.map(|r| r.required_asn().map(Gate::Asn)).collect();
    required.filter(|gates| !gates.is_empty())
}
