//! Cohorts: the members of a group that stand at the same position.
//!
//! A cohort is a list of members and the set of prefixes that they still have to hear of. Its
//! state of a prefix is always the group's newest; so two cohorts may be merged at any time by
//! uniting their sets, and a member that is slow, new or asks for a refresh is simply in a cohort
//! whose set is not empty yet. A spurious withdraw is allowed, a missing one never.

use std::cell::Cell;
use std::sync::Arc;

use codec::{Family, FamilySet};
use rib::{IdSet, PrefixId, SourceId};

use super::heard::Heard;
use super::pack::Packer;

/// A peer within its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub u32);

/// One prefix set a family.
pub type Sets = [IdSet; Family::ALL.len()];

/// A member and what it is owed apart from its cohort's set.
pub(super) struct Member {
    pub(super) id: MemberId,
    /// What its own paths carry in the RIB; it never gets those back.
    pub(super) source: SourceId,
    /// End-of-RIB markers to be sent once the first walk is over (RFC 4724 §2).
    pub(super) owed: FamilySet,
    /// Families of which a refresh began and is to be ended once the walk is over (RFC 7313 §4).
    pub(super) refreshed: FamilySet,
    /// It joined a walk that was under way, and missed what had been told by then.
    pub(super) late: bool,
}

impl Member {
    /// Whether it is to be told that something ended, once the walk is over.
    pub(super) fn is_owed(&self) -> bool {
        !(self.owed.is_empty() && self.refreshed.is_empty())
    }
}

/// The identifiers under which paths were told in another group (RFC 7911), by prefix. Shared, since
/// cohorts split.
#[derive(Clone, Default)]
pub struct PathIds([SharedIds; Family::ALL.len()]);

/// In ascending order; none at all is the rule.
type SharedIds = Option<Arc<[(PrefixId, u32)]>>;

impl PathIds {
    /// Of a prefix.
    pub(super) fn of(&self, family: Family, id: PrefixId) -> &[(PrefixId, u32)] {
        let Some(all) = &self.0[family.index()] else {
            return &[];
        };
        let start = all.partition_point(|(known, _)| *known < id);
        let length = all[start..].partition_point(|(known, _)| *known == id);
        &all[start..start + length]
    }

    /// Adds identifiers of a family.
    pub(super) fn add(&mut self, family: Family, more: impl Iterator<Item = (PrefixId, u32)>) {
        let known = self.0[family.index()].iter().flat_map(|all| all.iter());
        let mut all: Vec<(PrefixId, u32)> = known.copied().chain(more).collect();
        all.sort_unstable();
        all.dedup();
        self.0[family.index()] = (!all.is_empty()).then(|| all.into());
    }

    /// Adds those of another.
    pub(super) fn merge(&mut self, other: &PathIds) {
        for family in Family::ALL {
            if let Some(more) = &other.0[family.index()] {
                self.add(family, more.iter().copied());
            }
        }
    }
}

/// Members at one position.
#[derive(Default)]
pub(super) struct Cohort {
    pub(super) members: Vec<Member>,
    /// A walk of the table that is under way: what new members and refreshes are owed.
    pub(super) walk: Sets,
    /// Changes since; told first, they are the live ones.
    pub(super) changed: Sets,
    /// Prefixes whose best path is now one of a member that had been told another one before; with
    /// ADD-PATH, of which somebody has to forget a path.
    pub(super) displaced: Sets,
    /// What members that came from another group may hold under identifiers of there.
    pub(super) foreign: PathIds,
    /// What they were told there of what the walk still owes.
    pub(super) heard: Option<Arc<Heard>>,
    /// The walk began with all that was announced, so that who joins it misses nothing but what has
    /// been told since. A refresh walks one family.
    whole: bool,
    /// What has been told since the walk began.
    walked: Sets,
    /// What the late members missed, or more: what had been told when the last of them came.
    late: Sets,
    /// Somebody came late since something was told.
    came_late: bool,
    pub(super) packer: Packer,
    /// [`Outbox::drained`](super::Outbox::drained) when no member had room: until it is another, none
    /// has.
    pub(super) full_at: Cell<Option<u64>>,
}

impl Cohort {
    /// Members who are owed these prefixes.
    pub(super) fn new(members: Vec<Member>, walk: Sets) -> Cohort {
        Cohort {
            members,
            walk,
            ..Cohort::default()
        }
    }

    /// Members who are owed these prefixes, which are all that are announced.
    pub(super) fn new_whole(members: Vec<Member>, walk: Sets) -> Cohort {
        Cohort {
            whole: true,
            ..Cohort::new(members, walk)
        }
    }

    /// Whether a new member may join the walk: it is under way, leads through the whole table and leaves
    /// nothing out.
    pub(super) fn can_be_joined(&self) -> bool {
        self.whole && self.heard.is_none() && !self.is_walked()
    }

    /// Everything that names ids: what is owed, and what late members may have missed.
    pub(super) fn sets(&self) -> [&Sets; 5] {
        let Cohort {
            walk,
            changed,
            displaced,
            walked,
            late,
            ..
        } = self;
        [walk, changed, displaced, walked, late]
    }

    /// Whether the members still have to hear of a prefix.
    pub(super) fn owes(&self, family: Family, id: PrefixId) -> bool {
        let family = family.index();
        self.walk[family].contains(id) || self.changed[family].contains(id)
    }

    /// Notes that the group's state of a prefix changed. `forget`: the member whose path it is now
    /// has to forget what it was told before.
    pub(super) fn mark(&mut self, family: Family, id: PrefixId, forget: bool) {
        let family = family.index();
        if forget {
            self.displaced[family].insert(id);
        }
        if !self.walk[family].contains(id) {
            self.changed[family].insert(id);
        }
    }

    /// Takes up to `max` prefixes that are next: live changes first, but never so many that the
    /// walk stands still. Returns where those of the walk begin.
    pub(super) fn take(&mut self, family: Family, max: usize, out: &mut Vec<PrefixId>) -> usize {
        let family = family.index();
        let live = if self.walk[family].is_empty() {
            max
        } else {
            max / 2
        };
        self.note_late();
        let walking = !self.is_walked();
        self.changed[family].take_first(live, out);
        let of_walk = out.len();
        self.walk[family].take_first(max - out.len().min(max), out);
        if walking {
            self.walked[family].extend(out.iter().copied());
        }
        of_walk
    }

    /// A new member joins the walk that is under way where it stands.
    pub(super) fn join(&mut self, mut member: Member) {
        self.full_at.set(None);
        member.late = self.walked.iter().any(|set| !set.is_empty());
        self.came_late |= member.late;
        self.members.push(member);
    }

    /// Who came late missed what had been told by then; so the last one's share is everybody's.
    fn note_late(&mut self) {
        if std::mem::take(&mut self.came_late) {
            self.late = self.walked.clone();
        }
    }

    /// Whether nothing is owed but End-of-RIB and what members missed.
    pub(super) fn is_level(&self) -> bool {
        self.is_walked() && self.changed.iter().all(IdSet::is_empty)
    }

    /// Whether the walk is over.
    pub(super) fn is_walked(&self) -> bool {
        self.walk.iter().all(IdSet::is_empty)
    }

    /// How many prefixes are owed.
    pub(super) fn owed(&self) -> usize {
        let sets = self.walk.iter().chain(&self.changed);
        sets.map(IdSet::len).sum()
    }

    pub(super) fn has_source(&self, source: SourceId) -> bool {
        self.members.iter().any(|member| member.source == source)
    }

    /// The member leaves; its messages that are still open go without it.
    pub(super) fn remove(&mut self, id: MemberId) -> Option<Member> {
        let place = self.members.iter().position(|member| member.id == id)?;
        Some(self.members.remove(place))
    }

    /// A cohort at the same position with no member.
    pub(super) fn fork(&self) -> Cohort {
        Cohort {
            members: Vec::new(),
            walk: self.walk.clone(),
            changed: self.changed.clone(),
            displaced: self.displaced.clone(),
            foreign: self.foreign.clone(),
            heard: self.heard.clone(),
            whole: self.whole,
            walked: self.walked.clone(),
            late: self.late.clone(),
            came_late: self.came_late,
            packer: Packer::default(),
            full_at: Cell::default(),
        }
    }

    /// Unites the sets: what either is owed, both are told. The caller has flushed both packers.
    pub(super) fn merge(&mut self, mut other: Cohort) {
        self.full_at.set(None);
        self.members.append(&mut other.members);
        unite(&mut self.walk, &other.walk);
        unite(&mut self.changed, &other.changed);
        unite(&mut self.displaced, &other.displaced);
        self.foreign.merge(&other.foreign);
        self.heard = None;
        self.whole |= other.whole;
        for cohort in [&mut *self, &mut other] {
            cohort.note_late();
        }
        unite(&mut self.walked, &other.walked);
        unite(&mut self.late, &other.late);
    }

    /// What late members missed of the walk, or more.
    pub(super) fn missed(&mut self) -> &Sets {
        self.note_late();
        &self.late
    }

    /// The walk is over: the members that came late, as a cohort that is owed what they missed.
    pub(super) fn split_latecomers(&mut self) -> Option<Cohort> {
        self.note_late();
        self.whole = false;
        self.walked = Sets::default();
        // Whoever came over was told everything anew by now.
        self.foreign = PathIds::default();
        self.heard = None;
        let walk = std::mem::take(&mut self.late);
        if !self.members.iter().any(|member| member.late) {
            return None;
        }
        let (mut members, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut self.members)
            .into_iter()
            .partition(|member| member.late);
        self.members = rest;
        for member in &mut members {
            member.late = false;
        }
        // The walk may end before all that changed meanwhile is told: that is owed to both.
        Some(Cohort {
            changed: self.changed.clone(),
            displaced: self.displaced.clone(),
            ..Cohort::new(members, walk)
        })
    }
}

/// Adds the second sets to the first.
pub(super) fn unite(into: &mut Sets, from: &Sets) {
    for (into, from) in into.iter_mut().zip(from) {
        into.union_with(from);
    }
}
