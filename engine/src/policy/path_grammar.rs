//! What the text of an AS_PATH can be at all, and whether an expression can be found in one.
//!
//! The texts of AS_PATHs are a regular language: numbers from 1 to 4294967295 in decimal, one space
//! apart, sets and confederation segments in brackets. [`Grammar`] is its automaton, if asked for only
//! of paths of some length or origin. An expression is walked through it part by part; what is kept
//! is the set of states in which one may be after a part. Invariant: these are at least those that
//! there are, so that what is found impossible is; where that takes too long, nothing is found.

use std::ops::RangeInclusive;

use ahash::AHashMap;
use regex_syntax::hir::{Class, Hir, HirKind, Look, Repetition};

/// What the text of a path is made of.
const LETTERS: &[u8; 17] = b"0123456789 {}()[]";
const SPACE: usize = 10;
/// Where opening brackets begin; the closing one is the next.
const BRACKETS: usize = 11;

/// ASes that are counted; more are that many.
const COUNTED_MAX: u32 = 32;
/// Ranges of origin ASes that are told apart.
const ORIGINS_MAX: usize = 32;
/// States of a grammar; plain paths take a hundred or two.
const STATES_MAX: usize = 8192;

/// Steps that may be taken. Shared by all walks for one policy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steps(pub(super) usize);

impl Steps {
    fn take(&mut self, steps: usize) -> bool {
        let left = self.0.checked_sub(steps);
        self.0 = left.unwrap_or(0);
        left.is_some()
    }
}

/// Where one is in a text.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    /// Opening bracket that is open, counted from 1; 0: none is.
    bracket: u8,
    at: At,
    /// The length of the path so far, as best path selection counts it.
    length: u32,
    /// Whether the first number outside of brackets is behind, or may be any.
    begun: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum At {
    /// In front of everything.
    Front,
    /// In front of a number, or of a bracket where none is open.
    Before,
    /// Behind some digits; of numbers between which nothing tells, the first.
    Number(u64),
    /// The same of the first one outside of brackets, if not any may stand there.
    First(u64),
    /// Behind a closing bracket.
    Closed,
}

/// The automaton of the paths of some lengths and origins.
pub(super) struct Grammar {
    /// By state and letter; the first state is the front.
    next: Vec<[Option<u16>; LETTERS.len()]>,
    /// States in which a path may end,
    ends: States,
    /// and those from which one may come to such.
    live: States,
}

impl Grammar {
    /// Of the paths of these lengths (none: any) that one of these ASes originated (empty: whichever),
    /// or of more than those. None: it would take too much.
    pub(super) fn of(
        length: &Option<RangeInclusive<u32>>,
        origins: &[RangeInclusive<u32>],
        steps: &mut Steps,
    ) -> Option<Grammar> {
        Grammar::new(&Wanted::new(length, origins, &[]), steps)
    }

    /// The same of paths whose first AS, sets aside, is one of these (empty: whichever, or none).
    pub(super) fn beginning_with(
        first: &[RangeInclusive<u32>],
        length: &Option<RangeInclusive<u32>>,
        origins: &[RangeInclusive<u32>],
        steps: &mut Steps,
    ) -> Option<Grammar> {
        Grammar::new(&Wanted::new(length, origins, first), steps)
    }

    fn new(wanted: &Wanted, steps: &mut Steps) -> Option<Grammar> {
        let front = State {
            bracket: 0,
            at: At::Front,
            length: 0,
            begun: wanted.first.is_empty(),
        };
        let mut states = vec![front];
        let mut places: AHashMap<State, u16> = [(front, 0)].into_iter().collect();
        let mut next = Vec::new();
        while let Some(state) = states.get(next.len()).copied() {
            if states.len() > STATES_MAX || !steps.take(LETTERS.len()) {
                return None;
            }
            next.push(std::array::from_fn(|letter| {
                let to = wanted.step(state, letter)?;
                Some(*places.entry(to).or_insert_with(|| {
                    states.push(to);
                    states.len() as u16 - 1
                }))
            }));
        }
        let mut ends = States::none(states.len());
        for (place, state) in states.iter().enumerate() {
            if wanted.may_end(*state) {
                ends.add(place);
            }
        }
        let live = live(&next, &ends);
        Some(Grammar { next, ends, live })
    }

    /// Whether an expression can be found in one of the paths. True where that takes too long to tell.
    pub(super) fn has(&self, expression: &Hir, steps: &mut Steps) -> bool {
        let mut walk = Walk {
            grammar: self,
            steps,
        };
        let after = walk.after(self.anywhere(), expression);
        after.is_none_or(|after| after.ended.any() || after.open.meets(&self.live))
    }

    /// As a search begins: in front or within.
    fn anywhere(&self) -> Places {
        let mut open = States::none(self.next.len());
        (0..self.next.len()).for_each(|state| open.add(state));
        Places {
            open,
            ended: States::none(self.next.len()),
        }
    }
}

/// Whether an expression is plainly found in every path: it takes nothing at the beginning, or at the
/// end, of any text, or all that there is between the two.
pub(super) fn finds_all(of: &Hir) -> bool {
    match of.kind() {
        HirKind::Capture(capture) => finds_all(&capture.sub),
        HirKind::Alternation(all) => all.iter().any(finds_all),
        HirKind::Concat(all) => {
            let whole = all.iter().position(takes_all).is_some_and(|place| {
                let (before, after) = (&all[..place], &all[place + 1..]);
                before.iter().all(|of| takes_none(of, true))
                    && after.iter().all(|of| takes_none(of, false))
            });
            whole || takes_none(of, true) || takes_none(of, false)
        }
        _ => takes_none(of, true) || takes_none(of, false),
    }
}

/// Whether it can be met by nothing at all at the beginning, or the end, of every text.
fn takes_none(of: &Hir, at_beginning: bool) -> bool {
    match of.kind() {
        HirKind::Empty => true,
        HirKind::Literal(_) | HirKind::Class(_) => false,
        HirKind::Look(Look::Start | Look::StartLF) => at_beginning,
        HirKind::Look(Look::End | Look::EndLF) => !at_beginning,
        HirKind::Look(_) => false,
        HirKind::Repetition(many) => many.min == 0 || takes_none(&many.sub, at_beginning),
        HirKind::Capture(capture) => takes_none(&capture.sub, at_beginning),
        HirKind::Concat(all) => all.iter().all(|of| takes_none(of, at_beginning)),
        HirKind::Alternation(all) => all.iter().any(|of| takes_none(of, at_beginning)),
    }
}

/// Whether it can be met by any text as a whole: any letter, as often as wanted.
fn takes_all(of: &Hir) -> bool {
    match of.kind() {
        HirKind::Capture(capture) => takes_all(&capture.sub),
        HirKind::Repetition(Repetition {
            min: 0,
            max: None,
            sub,
            ..
        }) => match sub.kind() {
            HirKind::Class(class) => LETTERS.iter().all(|letter| is_in(class, *letter)),
            _ => false,
        },
        _ => false,
    }
}

/// The states from which one may come to an end.
fn live(next: &[[Option<u16>; LETTERS.len()]], ends: &States) -> States {
    let mut live = ends.clone();
    loop {
        let mut grew = false;
        // Later states are mostly reached from earlier ones.
        for (state, next) in next.iter().enumerate().rev() {
            let mut to = next.iter().flatten();
            if !live.has(state) && to.any(|to| live.has(usize::from(*to))) {
                live.add(state);
                grew = true;
            }
        }
        if !grew {
            return live;
        }
    }
}

/// What is asked of paths.
struct Wanted {
    length: RangeInclusive<u32>,
    /// From here on lengths are not told apart.
    counted: u32,
    origins: Vec<RangeInclusive<u32>>,
    first: Vec<RangeInclusive<u32>>,
    /// By the number of digits less one, sorted: the first numbers of those that are not told apart,
    /// in front of which nothing is open,
    outside: Vec<Vec<u64>>,
    /// and within brackets.
    inside: Vec<Vec<u64>>,
}

impl Wanted {
    fn new(
        length: &Option<RangeInclusive<u32>>,
        origins: &[RangeInclusive<u32>],
        first: &[RangeInclusive<u32>],
    ) -> Wanted {
        let (min, max) = match length {
            Some(length) => (*length.start(), *length.end()),
            None => (0, u32::MAX),
        };
        let min = min.min(COUNTED_MAX);
        let (counted, max) = match max < COUNTED_MAX {
            true => (max + 1, max),
            false => (min, u32::MAX),
        };
        let few = |asns: &[RangeInclusive<u32>]| match asns.len() <= ORIGINS_MAX {
            true => asns.to_vec(),
            false => Vec::new(),
        };
        let (origins, first) = (few(origins), few(first));
        let both = origins.iter().chain(&first);
        let bounds = both.flat_map(|asns| [*asns.start(), *asns.end()]);
        Wanted {
            length: min..=max,
            counted,
            outside: cuts(bounds.chain([u32::MAX])),
            inside: cuts([u32::MAX].into_iter()),
            origins,
            first,
        }
    }

    fn step(&self, from: State, letter: usize) -> Option<State> {
        let to = |at| Some(State { at, ..from });
        match (from.at, letter) {
            (At::Front | At::Before, 1..=9) => {
                let number = self.alike(from, letter as u64);
                let number = match from.begun || from.bracket != 0 {
                    true => At::Number(number),
                    false => At::First(number),
                };
                match from.bracket {
                    0 => self.longer(State { at: number, ..from }),
                    _ => to(number),
                }
            }
            (At::Front | At::Before, BRACKETS..)
                if from.bracket == 0 && letter.is_multiple_of(2) == BRACKETS.is_multiple_of(2) =>
            {
                let open = State {
                    bracket: ((letter - BRACKETS) / 2 + 1) as u8,
                    at: At::Before,
                    ..from
                };
                // RFC 4271 §9.1.2.2 a, RFC 5065 §5.3: a set counts 1, a confederation segment 0.
                match LETTERS[letter] {
                    b'{' => self.longer(open),
                    _ => Some(open),
                }
            }
            (At::Number(number), 0..=9) => {
                let longer = number * 10 + letter as u64;
                let fits = longer <= u64::from(u32::MAX);
                fits.then(|| to(At::Number(self.alike(from, longer))))?
            }
            (At::First(number), 0..=9) => {
                let longer = number * 10 + letter as u64;
                let fits = longer <= u64::from(u32::MAX);
                fits.then(|| to(At::First(self.alike(from, longer))))?
            }
            (At::First(number), SPACE) => self.may_be_first(number).then_some(State {
                at: At::Before,
                begun: true,
                ..from
            }),
            (At::Number(_) | At::Closed, SPACE) => to(At::Before),
            (At::Number(_), BRACKETS..) => {
                let closes = usize::from(from.bracket) * 2 + BRACKETS - 1;
                let closed = State {
                    bracket: 0,
                    at: At::Closed,
                    ..from
                };
                (from.bracket != 0 && letter == closes).then_some(closed)
            }
            _ => None,
        }
    }

    /// With one more in the path; none: no path is that long.
    fn longer(&self, state: State) -> Option<State> {
        let length = (state.length + 1).min(self.counted);
        (length <= *self.length.end()).then_some(State { length, ..state })
    }

    /// The first of the numbers that are not told apart from one.
    fn alike(&self, at: State, number: u64) -> u64 {
        let all = match at.bracket {
            0 => &self.outside,
            _ => &self.inside,
        };
        let of_its_length = &all[number.ilog10() as usize];
        let before = of_its_length.partition_point(|first| *first <= number);
        of_its_length[before - 1]
    }

    fn may_be_first(&self, number: u64) -> bool {
        let number = u32::try_from(number).ok();
        number.is_some_and(|number| self.first.iter().any(|asns| asns.contains(&number)))
    }

    fn may_end(&self, state: State) -> bool {
        let origin = match state.at {
            At::Before => return false,
            At::Number(_) if state.bracket != 0 => return false,
            At::First(number) if !self.may_be_first(number) => return false,
            At::Number(number) | At::First(number) => u32::try_from(number).ok(),
            At::Front | At::Closed if !state.begun => return false,
            At::Front | At::Closed => None,
        };
        let is_wanted = |origin: u32| self.origins.iter().any(|asns| asns.contains(&origin));
        self.length.contains(&state.length)
            && (self.origins.is_empty() || origin.is_some_and(is_wanted))
    }
}

/// Where numbers of each count of digits begin to differ from smaller ones in how they, or what they
/// are the beginning of, compare with these.
fn cuts(bounds: impl Iterator<Item = u32>) -> Vec<Vec<u64>> {
    let mut cuts: Vec<Vec<u64>> = (0..10).map(|digits| vec![10u64.pow(digits)]).collect();
    for bound in bounds {
        let mut beginning = u64::from(bound);
        while let Some(digits) = beginning.checked_ilog10() {
            cuts[digits as usize].extend([beginning, beginning + 1]);
            beginning /= 10;
        }
    }
    for cuts in &mut cuts {
        cuts.sort_unstable();
        cuts.dedup();
    }
    cuts
}

/// A set of states.
#[derive(Clone, PartialEq, Eq)]
struct States(Vec<u64>);

impl States {
    fn none(of: usize) -> States {
        States(vec![0; of.div_ceil(64)])
    }

    fn add(&mut self, state: usize) {
        self.0[state / 64] |= 1 << (state % 64);
    }

    fn has(&self, state: usize) -> bool {
        self.0[state / 64] >> (state % 64) & 1 != 0
    }

    fn any(&self) -> bool {
        self.0.iter().any(|word| *word != 0)
    }

    fn count(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    fn meets(&self, other: &States) -> bool {
        self.0.iter().zip(&other.0).any(|(a, b)| a & b != 0)
    }

    fn change(&mut self, other: &States, change: impl Fn(u64, u64) -> u64) {
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word = change(*word, *other);
        }
    }

    fn iter(&self) -> impl Iterator<Item = usize> {
        let words = self.0.iter().enumerate();
        words.flat_map(|(place, word)| {
            let some = |word: u64| (word != 0).then_some(word);
            let bits = std::iter::successors(some(*word), move |word| some(word & (word - 1)));
            bits.map(move |word| place * 64 + word.trailing_zeros() as usize)
        })
    }
}

/// Where one may be after a part of an expression.
#[derive(Clone, PartialEq, Eq)]
struct Places {
    open: States,
    /// Where it has been said that nothing follows.
    ended: States,
}

impl Places {
    fn any(&self) -> bool {
        self.open.any() || self.ended.any()
    }

    fn change(&mut self, other: &Places, change: impl Fn(u64, u64) -> u64) {
        self.open.change(&other.open, &change);
        self.ended.change(&other.ended, &change);
    }
}

/// Through one expression.
struct Walk<'g, 's> {
    grammar: &'g Grammar,
    steps: &'s mut Steps,
}

impl Walk<'_, '_> {
    /// None: it took too long.
    fn after(&mut self, mut from: Places, part: &Hir) -> Option<Places> {
        if !self.steps.take(1) {
            return None;
        }
        if !from.any() {
            return Some(from);
        }
        match part.kind() {
            HirKind::Empty => Some(from),
            HirKind::Literal(literal) => literal.0.iter().try_fold(from, |at, octet| {
                self.after_octet(&at, |letter| letter == *octet)
            }),
            HirKind::Class(class) => self.after_octet(&from, |letter| is_in(class, letter)),
            HirKind::Look(Look::Start | Look::StartLF | Look::StartCRLF) => {
                let mut front = States::none(self.grammar.next.len());
                front.add(0);
                from.open.change(&front, |at, front| at & front);
                from.ended.change(&front, |at, front| at & front);
                Some(from)
            }
            HirKind::Look(Look::End | Look::EndLF | Look::EndCRLF) => {
                let Places { mut open, ended } = from;
                open.change(&self.grammar.ends, |at, ends| at & ends);
                open.change(&ended, |at, ended| at | ended);
                Some(Places {
                    ended: open,
                    open: States::none(self.grammar.next.len()),
                })
            }
            // Between words or not: it may be.
            HirKind::Look(_) => Some(from),
            HirKind::Capture(capture) => self.after(from, &capture.sub),
            HirKind::Concat(parts) => parts.iter().try_fold(from, |at, part| self.after(at, part)),
            HirKind::Alternation(parts) => {
                let mut all = self.nowhere();
                for part in parts {
                    all.change(&self.after(from.clone(), part)?, |a, b| a | b);
                }
                Some(all)
            }
            HirKind::Repetition(repetition) => self.after_repeated(from, repetition),
        }
    }

    fn nowhere(&self) -> Places {
        let none = States::none(self.grammar.next.len());
        Places {
            open: none.clone(),
            ended: none,
        }
    }

    fn after_octet(&mut self, from: &Places, may_be: impl Fn(u8) -> bool) -> Option<Places> {
        let letters = (0..LETTERS.len()).filter(|letter| may_be(LETTERS[*letter]));
        let letters: smallvec::SmallVec<[usize; LETTERS.len()]> = letters.collect();
        let mut after = self.nowhere();
        if !self.steps.take(from.open.count() * letters.len()) {
            return None;
        }
        for state in from.open.iter() {
            let next = &self.grammar.next[state];
            let to = letters.iter().filter_map(|letter| next[*letter]);
            to.for_each(|to| after.open.add(usize::from(to)));
        }
        Some(after)
    }

    fn after_repeated(&mut self, from: Places, repetition: &Repetition) -> Option<Places> {
        let mut at = from;
        for _ in 0..repetition.min {
            let after = self.after(at.clone(), &repetition.sub)?;
            if after == at {
                break;
            }
            at = after;
        }
        let mut all = at.clone();
        let mut times = repetition.min;
        // From what was there before there is nothing new to come to.
        while at.any() && repetition.max.is_none_or(|max| times < max) {
            at = self.after(at, &repetition.sub)?;
            at.change(&all, |at, all| at & !all);
            all.change(&at, |all, at| all | at);
            times += 1;
        }
        Some(all)
    }
}

fn is_in(class: &Class, letter: u8) -> bool {
    match class {
        Class::Unicode(class) => {
            let mut ranges = class.iter();
            ranges.any(|range| (range.start()..=range.end()).contains(&char::from(letter)))
        }
        Class::Bytes(class) => {
            let mut ranges = class.iter();
            ranges.any(|range| (range.start()..=range.end()).contains(&letter))
        }
    }
}

#[cfg(test)]
mod tests;
