//! The least time between two changes that members are told of: what the view asks for (RFC 4271
//! §9.2.1.1), and what keeps a shard from doing nothing else.
//!
//! A group with an interval does not look at what changes as it changes: the prefixes wait until
//! the interval is over and are then looked at once, in their newest state, and packed as ever.
//! Withdrawals wait as announcements do. What a member is owed for itself, its first table or a
//! refresh, comes at once.
//!
//! Telling many members of a small change takes longer than the change is worth. Where a group has
//! hundreds, it *rests* after it told all of them something, about as long as that took, and what
//! changes meanwhile leaves together: packed, in one slice of each member's queue. Full messages and
//! first tables are not held back.
//!
//! Invariant: nothing waits without a time at which it goes ([`Group::next_timeout`]); what waits is
//! bounded by the table.

use std::time::Duration;

use codec::{Family, FamilySet};
use rib::{Guard, IdSet, PrefixId, RibWriter};

use super::cohort::{Cohort, Member, Sets};
use super::{Group, QUANTUM};
use crate::random::Random;
use crate::time::Time;

/// What telling a member of a change costs a shard, about: a place in a queue and a write.
pub const REST_A_MEMBER: Duration = Duration::from_micros(4);

/// Timers are no finer than this: a shorter rest is none.
const REST_MIN: Duration = Duration::from_millis(1);

/// When a group may tell its members of changes, and what waits for that.
pub(super) struct Pace {
    random: Random,
    now: Time,
    /// Nothing that changed is told before this.
    next: Time,
    /// Small changes are not handed on before this.
    rested: Time,
    /// Whether that is yet to come, as of this turn's begin.
    resting: bool,
    /// How often a member was told of something small in this turn.
    told: u32,
    /// What changed meanwhile.
    waiting: Sets,
    /// What is being told, in quanta, since the last interval ended.
    going: Sets,
}

impl Pace {
    pub(super) fn new(seed: u64) -> Pace {
        Pace {
            random: Random::new(seed),
            now: Time::default(),
            next: Time::default(),
            rested: Time::default(),
            resting: false,
            told: 0,
            waiting: Sets::default(),
            going: Sets::default(),
        }
    }

    /// Whether members may be told now of what changed.
    pub(super) fn is_open(&self) -> bool {
        self.next <= self.now
    }

    /// Nothing waits.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.iter().chain(&self.going).all(IdSet::is_empty)
    }

    /// Members were told: an interval begins.
    pub(super) fn begin(&mut self, interval: Duration) {
        // RFC 4271 §10: jittered as the other timers are.
        self.next = self.now + self.random.jitter(interval);
    }

    /// Another interval holds from now on; what waits for the old one goes.
    pub(super) fn follow(&mut self, old: Duration, new: Duration) {
        if old != new {
            self.next = self.now;
        }
    }

    /// So many members were told of something small: with the next turn a rest begins, if they were
    /// many. One that is slow and told by itself makes nobody wait.
    pub(super) fn rest(&mut self, members: usize, a_member: Duration) {
        self.told = self
            .told
            .saturating_add(members.try_into().unwrap_or(u32::MAX));
        let rest = a_member.saturating_mul(self.told);
        if rest >= REST_MIN {
            self.rested = self.now + rest;
        }
    }

    /// Whether small changes are held back in this turn.
    pub(super) fn is_resting(&self) -> bool {
        self.resting
    }

    fn note(&mut self, family: Family, ids: &[PrefixId]) {
        self.waiting[family.index()].extend(ids.iter().copied());
    }
}

impl Group {
    /// A turn begins.
    pub fn begin_turn(&mut self, now: Time) {
        self.pace.now = now;
        self.pace.resting = self.pace.rested > now;
        self.pace.told = 0;
    }

    /// The newest state of prefixes is another one: members are told, or it waits.
    // RFC-DONE 4271 §9.2.1.1: Changes wait for the neighbor's advertisement interval, jittered, and go in their newest state.
    pub fn take_changes(
        &mut self,
        writer: &mut RibWriter,
        guard: &Guard,
        family: Family,
        ids: &[PrefixId],
    ) {
        if self.view.advertisement_interval.is_zero() {
            self.apply(writer, guard, family, ids);
        } else if self.view.families.contains(family) {
            self.pace.note(family, ids);
        }
    }

    /// One quantum of what waited for the interval, if it is over. True: there is more that can be
    /// told now. An evaluation goes first: else, where something changes in each interval, what
    /// waited would begin the next one each time, and the evaluation never had its turn.
    pub fn apply_waiting(&mut self, writer: &mut RibWriter, guard: &Guard) -> bool {
        if self.pace.is_idle() || !self.pace.is_open() || !self.is_evaluated() {
            return false;
        }
        if self.pace.going.iter().all(IdSet::is_empty) {
            self.pace.going = std::mem::take(&mut self.pace.waiting);
        }
        let mut ids = Vec::new();
        for family in FamilySet::ALL.iter() {
            self.pace.going[family.index()].take_first(QUANTUM, &mut ids);
            self.apply(writer, guard, family, &ids);
            ids.clear();
        }
        let more = self.pace.going.iter().any(|ids| !ids.is_empty());
        if !more {
            self.pace.begin(self.view.advertisement_interval);
        }
        more
    }

    /// Whether small changes are held back until the group has rested.
    pub fn is_resting(&self) -> bool {
        self.pace.is_resting()
    }

    /// When an interval or a rest ends for which something waits.
    pub fn next_timeout(&self) -> Option<Time> {
        let waits = !self.pace.is_idle() || !self.is_evaluated();
        let interval = (waits && !self.pace.is_open()).then_some(self.pace.next);
        let held_back = self.pace.rested > self.pace.now && self.holds_back();
        let rest = held_back.then_some(self.pace.rested);
        interval.into_iter().chain(rest).min()
    }

    /// Whether there is something that leaves once the group has rested.
    fn holds_back(&self) -> bool {
        !self.in_sync.packer.is_flushed()
            || self.lagging.iter().any(Cohort::is_walked)
            || self.in_sync.members.iter().any(Member::is_owed)
    }
}
