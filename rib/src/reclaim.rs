//! Ids of prefixes that lost their last path go to other prefixes, in cycles.
//!
//! An id may stand in what a shard told its peers, or has yet to tell them, long after its slot is
//! empty; nobody counts where. So every now and then one writer condemns the idle slots, each shard
//! says which of those ids it still holds, and what is then still condemned is buried:
//!
//! 1. *Condemning.* One writer, at most one a family, turns idle slots to condemned and sets the
//!    bits of their ids among the candidates. Then it asks every writer, itself too.
//! 2. *Answering.* Each writer goes through the candidates: one that its shard holds it makes idle
//!    again and takes off the candidates. Then it is done, by one bit.
//! 3. *Burying.* The last to answer turns the candidates that are condemned still to buried, takes
//!    them out of the trie and, once every guard of that moment is gone, gives them to `free`.
//!
//! Invariants: a slot is condemned only between 1 and 3 of one cycle. A candidate whose slot is
//! condemned in 3 was condemned all the time since 1, as a path makes of it anything but condemned,
//! and going it leaves idle: so it had no path meanwhile, and no shard can have come to hold it after
//! it answered. Only after an id is out of the trie does its grace period begin: whoever found it
//! there is gone when it is given out anew.

use std::collections::VecDeque;

use codec::Family;
use crossbeam_utils::CachePadded;

use crate::epoch::Grace;
use crate::ids::{PrefixId, ShardId, ShardMask};
use crate::rib::Rib;
use crate::segments::Segments;
use crate::slot::Slot;
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::writer::RibWriter;

/// Candidates that one call looks at, and ids that it condemns, in each family.
const QUANTUM: usize = if cfg!(loom) { 2 } else { 4096 };
/// Words that one call looks through, with or without candidates.
const WORDS: u32 = if cfg!(loom) { 1 } else { 4096 };
/// Idle ids from which on a cycle may begin, unless [`Rib::reclaim_from`] says otherwise.
const IDLE_MIN: u32 = 65_536;
/// After a cycle that freed less than half of what it condemned, calls that no other begins in, at
/// most. Each such cycle in a row doubles them.
const REST_MAX: u32 = 255;

/// The cycle of one family, as all writers see it.
pub(crate) struct Cycle {
    /// 1 while a cycle is under way.
    busy: AtomicU32,
    /// Writers that have yet to answer.
    asked: AtomicU64,
    candidates: Segments<AtomicU64>,
    /// Words of candidates of this cycle.
    words: AtomicU32,
    /// Slots that this cycle condemned.
    condemned: AtomicU32,
    /// Calls before the next cycle, and how many the last one asked for.
    rest: AtomicU32,
    patience: AtomicU32,
    idle_min: AtomicU32,
    /// Per shard: slots that its writer made idle, less those that it put a path into or buried.
    /// Written by that writer alone; their sum is the number of slots that are idle or condemned.
    idle: Box<[CachePadded<AtomicU64>]>,
}

/// What a writer has to do for the cycle of a family; the number is of the next word of ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Waiting,
    Condemning(u32),
    Answering(u32),
    Burying(u32),
}

/// A writer's part in the cycles of a family.
#[derive(Default)]
pub(crate) struct Duty {
    stage: Stage,
    /// Ids that this writer buried in this cycle.
    buried: u32,
    /// Ids that were buried, each batch until no reader is left that can have found them in the trie.
    waiting: VecDeque<(Grace, Vec<u32>)>,
}

impl Cycle {
    pub(crate) fn new(shards: u8) -> Cycle {
        Cycle {
            busy: AtomicU32::new(0),
            asked: AtomicU64::new(0),
            candidates: Segments::new(),
            words: AtomicU32::new(0),
            condemned: AtomicU32::new(0),
            rest: AtomicU32::new(0),
            patience: AtomicU32::new(0),
            idle_min: AtomicU32::new(IDLE_MIN),
            idle: (0..shards).map(|_| AtomicU64::new(0).into()).collect(),
        }
    }

    /// Notes what a change of the shard's writer did to the number of idle slots.
    #[inline]
    pub(crate) fn count_idle(&self, shard: ShardId, change: i64) {
        let idle = &self.idle[shard.index()];
        // Only this writer writes it.
        let now = idle.load(Ordering::Relaxed).wrapping_add_signed(change);
        idle.store(now, Ordering::Relaxed);
    }

    /// Slots that are idle or condemned; about as many while others write.
    pub(crate) fn idle(&self) -> u32 {
        let counts = self.idle.iter().map(|count| count.load(Ordering::Relaxed));
        let sum = counts.fold(0, u64::wrapping_add) as i64;
        u32::try_from(sum).unwrap_or(0)
    }
}

/// How many ids a family has, by what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdCounts {
    /// All there are: every id is below this.
    pub limit: u32,
    /// Those whose prefixes have no path any more.
    pub idle: u32,
    /// Those that no prefix has.
    pub free: u32,
}

impl Rib {
    /// How many ids a family has; about as many while shards write.
    pub fn id_counts(&self, family: Family) -> IdCounts {
        IdCounts {
            limit: self.id_limit(family),
            idle: self.cycle(family).idle(),
            free: self.table(family).free.count(),
        }
    }

    /// Lets reclaiming begin with as many idle ids, at least 1, in a family: for tests, whose tables
    /// are small.
    pub fn reclaim_from(&self, idle: u32) {
        for family in Family::ALL {
            let idle_min = &self.cycle(family).idle_min;
            idle_min.store(idle.max(1), Ordering::Relaxed);
        }
    }
}

impl RibWriter {
    /// One bounded piece of reclaiming ids whose prefixes have no path. Call it each turn, at a
    /// point where nothing is in hand that was read from the table: `holds` says whether the shard
    /// still has an id in what it told anybody or has yet to tell. It is asked only of ids without
    /// a path; one that it has come to hold since the last call must have had a path meanwhile.
    ///
    /// Gives the shards to wake, because they are asked something, and whether there is more to do
    /// at once. Nothing is reclaimed unless every writer that was handed out calls this.
    pub fn reclaim(
        &mut self,
        mut holds: impl FnMut(Family, PrefixId) -> bool,
    ) -> (ShardMask, bool) {
        let (mut wake, mut more) = (0, false);
        for family in Family::ALL {
            let stage = &mut self.duties[family.index()].stage;
            if *stage == Stage::Waiting && self.is_asked(family) {
                self.duties[family.index()].stage = Stage::Answering(0);
            }
            let next = match self.duties[family.index()].stage {
                Stage::Waiting => self.begin(family, &mut more),
                Stage::Condemning(word) => self.condemn(family, word, &mut wake),
                Stage::Answering(word) => self.answer(family, word, &mut holds),
                Stage::Burying(word) => self.bury(family, word),
            };
            self.duties[family.index()].stage = next;
            more |= next != Stage::Waiting;
        }
        (wake, more)
    }

    fn is_asked(&self, family: Family) -> bool {
        // Pairs with the release in `condemn`: the candidates are seen.
        let asked = self.rib().cycle(family).asked.load(Ordering::Acquire);
        asked & self.shard().mask() != 0
    }

    /// Begins a cycle if it is worth one.
    fn begin(&mut self, family: Family, more: &mut bool) -> Stage {
        let cycle = self.rib().cycle(family);
        let min = cycle.idle_min.load(Ordering::Relaxed);
        // If all of them together have so many, one of them has its share.
        let own = cycle.idle[self.shard().index()].load(Ordering::Relaxed) as i64;
        if own < i64::from(min.div_ceil(cycle.idle.len() as u32)) {
            return Stage::Waiting;
        }
        let counts = self.rib().id_counts(family);
        let used = counts.limit.saturating_sub(counts.free);
        // A cycle looks at every slot: in a large table it must be worth that.
        if counts.idle < min || (used >= IDLE_MIN && counts.idle < used / 4) {
            return Stage::Waiting;
        }
        let rest = cycle.rest.load(Ordering::Relaxed);
        if rest > 0 {
            // Others may count it down too; then the next cycle comes a little earlier.
            cycle.rest.store(rest - 1, Ordering::Relaxed);
            *more |= cycle.patience.load(Ordering::Relaxed) < REST_MAX;
            return Stage::Waiting;
        }
        // Acquire: pairs with the release in `bury`, whatever the last cycle left.
        let begun = cycle
            .busy
            .compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed);
        if begun.is_err() {
            return Stage::Waiting;
        }
        cycle
            .words
            .store(counts.limit.div_ceil(64), Ordering::Relaxed);
        cycle.condemned.store(0, Ordering::Relaxed);
        Stage::Condemning(0)
    }

    fn condemn(&mut self, family: Family, from: u32, wake: &mut ShardMask) -> Stage {
        let (cycle, table) = (self.rib().cycle(family), self.rib().table(family));
        let words = cycle.words.load(Ordering::Relaxed);
        let limit = table.limit();
        let mut left = QUANTUM;
        for word in from..words.min(from + WORDS) {
            if left == 0 {
                return Stage::Condemning(word);
            }
            let ids = word * 64..limit.min(word * 64 + 64);
            let condemned = ids.filter(|id| table.slot(*id).is_some_and(Slot::condemn));
            let bits = condemned.fold(0, |bits, id| bits | 1u64 << (id % 64));
            if bits != 0 {
                cycle.candidates.grow(word).store(bits, Ordering::Relaxed);
                let count = bits.count_ones();
                cycle.condemned.fetch_add(count, Ordering::Relaxed);
                left = left.saturating_sub(count as usize);
            }
        }
        if from + WORDS < words {
            return Stage::Condemning(from + WORDS);
        }
        let writers = self.rib().writers();
        // Release: publishes the candidates to `is_asked`.
        cycle.asked.store(writers, Ordering::Release);
        *wake |= writers & !self.shard().mask();
        Stage::Answering(0)
    }

    fn answer(
        &mut self,
        family: Family,
        from: u32,
        holds: &mut impl FnMut(Family, PrefixId) -> bool,
    ) -> Stage {
        let (cycle, table) = (self.rib().cycle(family), self.rib().table(family));
        let words = cycle.words.load(Ordering::Relaxed);
        let mut left = QUANTUM;
        for word in from..words.min(from + WORDS) {
            if left == 0 {
                return Stage::Answering(word);
            }
            let Some(candidates) = cycle.candidates.get(word) else {
                continue;
            };
            let bits = candidates.load(Ordering::Relaxed);
            let held = ids_of(word, bits).filter(|id| holds(family, PrefixId(*id)));
            let held = held.fold(0, |held, id| held | 1u64 << (id % 64));
            if held != 0 {
                candidates.fetch_and(!held, Ordering::Relaxed);
                for slot in ids_of(word, held).filter_map(|id| table.slot(id)) {
                    slot.acquit();
                }
            }
            left = left.saturating_sub(bits.count_ones() as usize);
        }
        if from + WORDS < words {
            return Stage::Answering(from + WORDS);
        }
        let own = self.shard().mask();
        // Release: what this shard holds is off the candidates. Acquire: so is what the others do,
        // for the last.
        if cycle.asked.fetch_and(!own, Ordering::AcqRel) == own {
            self.duties[family.index()].buried = 0;
            Stage::Burying(0)
        } else {
            Stage::Waiting
        }
    }

    fn bury(&mut self, family: Family, from: u32) -> Stage {
        let guard = self.rib().guard();
        let (cycle, table) = (self.rib().cycle(family), self.rib().table(family));
        let pinned = self.rib().pinned(&guard);
        let words = cycle.words.load(Ordering::Relaxed);
        let mut buried = Vec::new();
        let mut next = from;
        while next < words.min(from + WORDS) && buried.len() < QUANTUM {
            let candidates = cycle.candidates.get(next);
            let bits = candidates.map_or(0, |bits| bits.swap(0, Ordering::Relaxed));
            let ids = ids_of(next, bits);
            buried.extend(ids.filter(|id| table.slot(*id).is_some_and(|slot| slot.bury())));
            next += 1;
        }
        for id in &buried {
            table.unlink(*id, pinned);
        }
        cycle.count_idle(self.shard(), -(buried.len() as i64));
        let all = self.duties[family.index()].buried + buried.len() as u32;
        let done = next >= words;
        if done {
            cycle.end(all);
        }
        self.note_edits(buried.len());
        let duty = &mut self.duties[family.index()];
        duty.buried = all;
        if !buried.is_empty() {
            duty.waiting.push_back((Grace::begin(&guard), buried));
        }
        if done {
            Stage::Waiting
        } else {
            Stage::Burying(next)
        }
    }

    /// Gives ids that no reader can find any more to those that are free.
    pub(crate) fn free_ids(&mut self) {
        for family in Family::ALL {
            let waiting = &mut self.duties[family.index()].waiting;
            let mut ids = Vec::new();
            while let Some((_, batch)) = waiting.pop_front_if(|(grace, _)| grace.is_over()) {
                ids.extend(batch);
            }
            if !ids.is_empty() {
                self.rib().table(family).free_ids(&ids);
            }
        }
    }

    /// Ids of a family that wait for readers, for the audit.
    pub(crate) fn waiting_ids(&self, family: Family) -> impl Iterator<Item = u32> {
        let waiting = &self.duties[family.index()].waiting;
        waiting.iter().flat_map(|(_, ids)| ids.iter().copied())
    }
}

impl Cycle {
    /// The cycle is over, and this many ids were buried.
    fn end(&self, buried: u32) {
        let condemned = self.condemned.load(Ordering::Relaxed);
        let patience = if buried < condemned / 2 {
            (self.patience.load(Ordering::Relaxed) * 2 + 1).min(REST_MAX)
        } else {
            0
        };
        self.patience.store(patience, Ordering::Relaxed);
        self.rest.store(patience, Ordering::Relaxed);
        // Release: pairs with the acquire in `begin`.
        self.busy.store(0, Ordering::Release);
    }
}

/// The ids of the bits that are set in a word.
fn ids_of(word: u32, mut bits: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = (bits != 0).then(|| bits.trailing_zeros())?;
        bits &= bits - 1;
        Some(word * 64 + bit)
    })
}
