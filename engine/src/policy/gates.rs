//! Which statements an attribute set can meet at all: those that ask for a community, or for an AS in
//! its path, that it does not have, are not looked at.
//!
//! A statement has at most one kind of gate, the first that its `match` offers. Invariant: a
//! statement whose `match` holds for an attribute set is among its [`Gates::candidates`].

use ahash::AHashMap;

use super::spec::{Match, Statement};

/// Values that one statement may be listed under.
const VALUES_MAX: usize = 32;

/// What a statement cannot be met without: one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Gate {
    Community(u32),
    Origin(u32),
    Asn(u32),
}

/// The statements of a policy by their gates.
#[derive(Debug, Default)]
pub(super) struct Gates {
    by_gate: AHashMap<Gate, Vec<u16>>,
    /// Those without any.
    open: Vec<u16>,
}

impl Gates {
    pub(super) fn new(statements: &[Statement]) -> Gates {
        let mut gates = Gates::default();
        for (place, statement) in (0..).zip(statements) {
            match gates_of(&statement.matches) {
                Some(of) => {
                    for gate in of {
                        let listed = gates.by_gate.entry(gate).or_default();
                        if listed.last() != Some(&place) {
                            listed.push(place);
                        }
                    }
                }
                None => gates.open.push(place),
            }
        }
        gates
    }

    /// The statements from one on that a set with these communities and this path may meet, in
    /// order.
    pub(super) fn candidates(
        &self,
        from: u16,
        communities: &[u32],
        asns: impl Iterator<Item = u32>,
        origin: Option<u32>,
        out: &mut Vec<u16>,
    ) {
        out.clear();
        let later = |list: &[u16]| list.partition_point(|place| *place < from);
        out.extend(&self.open[later(&self.open)..]);
        if self.by_gate.is_empty() {
            return;
        }
        let open = out.len();
        let gates = communities.iter().copied().map(Gate::Community);
        let gates = gates
            .chain(asns.map(Gate::Asn))
            .chain(origin.map(Gate::Origin));
        for gate in gates {
            if let Some(listed) = self.by_gate.get(&gate) {
                out.extend(&listed[later(listed)..]);
            }
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
