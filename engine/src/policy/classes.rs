//! What is remembered of attributes and prefixes in general: which conditions a set meets makes its
//! class, and what a prefix of one class meets under it is worked out once.
//!
//! Most sets of a table are of few classes, so most routes are answered by two numbers. All of it is
//! bounded, and may be forgotten at any time.

use ahash::AHashMap;
use smallvec::SmallVec;

use super::compile::Applied;
use super::condition::Facts;
use super::trie::{Class, Label};

/// Classes of attribute sets, at most about so many.
const CLASSES_MAX: usize = 4096;
/// And so many conditions in all of them.
const HELD_MAX: usize = 1 << 20;
/// Steps that are remembered; a place each, by what they are of.
const STEPS: usize = 4096;

/// The conditions that hold for attributes, as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AttributeClass(u32);

/// Classes of attributes.
#[derive(Default)]
pub(super) struct Classes {
    by_held: AHashMap<Box<[u16]>, AttributeClass>,
    held: Vec<Box<[u16]>>,
    /// Conditions in all of them.
    total: usize,
    scratch: Vec<u16>,
}

/// What a route meets from one statement on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Step {
    /// Statements that say `Next` and change nothing.
    pub(super) passed: Box<[u16]>,
    /// The one at which something comes of it.
    pub(super) stop: Option<u16>,
}

/// Steps by what they are of.
#[derive(Default)]
pub(super) struct Steps(Vec<Option<(Place, Step)>>);

/// A class of attributes, a statement and a class of prefixes, as one number.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place(u64);

impl Classes {
    /// Whether it is time to forget them; a few more are no harm.
    pub(super) fn is_full(&self) -> bool {
        self.held.len() >= CLASSES_MAX || self.total >= HELD_MAX
    }

    /// Forgets all; what was remembered by class has to go too.
    pub(super) fn clear(&mut self) {
        self.by_held.clear();
        self.held.clear();
        self.total = 0;
    }

    /// The class of attributes.
    pub(super) fn of(&mut self, applied: &Applied, facts: &Facts<'_>) -> AttributeClass {
        let held = &mut self.scratch;
        applied.policy.statements.held(facts, held);
        if let Some(known) = self.by_held.get(held.as_slice()) {
            return *known;
        }
        let class = AttributeClass(self.held.len() as u32);
        self.total += held.len();
        self.held.push(held.as_slice().into());
        self.by_held.insert(held.as_slice().into(), class);
        class
    }

    /// The conditions that hold.
    pub(super) fn held(&self, class: AttributeClass) -> &[u16] {
        self.held.get(class.0 as usize).map_or(&[], |held| held)
    }
}

impl Steps {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// What is met from a statement on.
    #[inline]
    pub(super) fn step(
        &mut self,
        applied: &Applied,
        classes: &Classes,
        (attributes, from, prefix): (AttributeClass, u16, Class),
    ) -> &Step {
        if self.0.is_empty() {
            self.0.resize(STEPS, None);
        }
        let place = Place::of(attributes, from, prefix);
        let kept = &mut self.0[place.index()];
        if kept.as_ref().is_none_or(|(of, _)| *of != place) {
            *kept = None;
        }
        let (_, step) = kept.get_or_insert_with(|| {
            let step = work_out(applied, classes.held(attributes), from, prefix);
            (place, step)
        });
        step
    }
}

#[inline(never)]
fn work_out(applied: &Applied, held: &[u16], mut from: u16, prefix: Class) -> Step {
    let policy = &applied.policy;
    let lists: SmallVec<[Label; 16]> = policy.trie.lists_of(prefix).collect();
    let mut passed = Vec::new();
    let stop = loop {
        let met = policy.statements.first_met(applied, from, held, &lists);
        match met {
            Some(met) if !policy.statements.stops(met) => {
                passed.push(met);
                from = met + 1;
            }
            stop => break stop,
        }
    };
    Step {
        passed: passed.into(),
        stop,
    }
}

impl Place {
    fn of(attributes: AttributeClass, from: u16, prefix: Class) -> Place {
        let attributes = u64::from(attributes.0) << 47;
        Place(attributes | u64::from(from) << 32 | u64::from(prefix.number()))
    }

    fn index(self) -> usize {
        let mixed = self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> (u64::BITS - STEPS.ilog2())) as usize
    }
}

// A class and a statement do not meet in a place.
const _: () = assert!(super::STATEMENTS_MAX < 1 << 15 && STEPS.is_power_of_two());
