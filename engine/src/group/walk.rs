//! What members are told apart from live changes: the group's first evaluation, the sets of
//! lagging cohorts, End-of-RIB, the ends of refreshes; and how cohorts split and come together.

use bytes::Bytes;
use codec::{Family, IpPrefix, RouteRefresh};
use rib::{Guard, PrefixId, Rib, RibWriter};

use super::advert::{AdvertId, Told};
use super::cohort::{Cohort, Member};
use super::eligible::tell_each;
use super::heard::Form;
use super::run::{Audience, Packed, Takers};
use super::{COHORTS_MAX, Group, Outbox, QUANTUM, backlog_to_go_on};

impl Group {
    /// Whether every prefix that was in the table when the group was made has been looked at.
    pub fn is_evaluated(&self) -> bool {
        self.unevaluated.iter().all(|ids| ids.is_empty())
    }

    /// Whether prefixes are looked at that were in the table when the group was made or changed.
    /// For members that were told something before it waits for their interval.
    pub fn is_evaluating(&self) -> bool {
        !self.is_evaluated() && self.pace.is_open()
    }

    /// Whether members are told what they are owed apart from live changes. Before the evaluation is
    /// over, "not announced" may only mean "not looked at". And what waited and may be told now goes
    /// first: after a restart it is of the first table, which End-of-RIB ends.
    fn is_ready(&self) -> bool {
        self.is_evaluated() && (self.pace.is_idle() || !self.pace.is_open())
    }

    pub(super) fn evaluate_some(&mut self, writer: &mut RibWriter, guard: &Guard) {
        if !self.is_evaluating() {
            return;
        }
        for family in Family::ALL {
            let range = &mut self.unevaluated[family.index()];
            let end = range.end.min(range.start.saturating_add(QUANTUM as u32));
            let ids: Vec<PrefixId> = (range.start..end).map(PrefixId).collect();
            range.start = end;
            self.apply(writer, guard, family, &ids);
        }
        // What waited meanwhile goes along.
        if self.is_evaluated() && self.pace.is_idle() {
            self.pace.begin(self.view.advertisement_interval);
        }
    }

    /// One turn of one lagging cohort.
    pub(super) fn tell_lagging(
        &mut self,
        place: usize,
        (rib, guard): (&Rib, &Guard),
        outbox: &mut impl Outbox,
    ) {
        if !self.is_ready() || !self.has_turn(&self.lagging[place], outbox) {
            return;
        }
        if self.lagging[place].is_walked() {
            let members = self.lagging[place].members.len();
            self.pace.rest(members, outbox.rest_a_member());
        }
        let mut ids = Vec::new();
        for family in Family::ALL {
            let of_walk = self.lagging[place].take(family, QUANTUM, &mut ids);
            for (at, id) in ids.drain(..).enumerate() {
                if at < of_walk || !self.was_heard(place, family, id) {
                    self.tell_one_lagging(place, (rib, guard), rib.prefix(family, id), id);
                }
            }
        }
        let cohort = &mut self.lagging[place];
        if cohort.is_level() {
            cohort.packer.flush();
        }
        deliver(cohort, outbox);
        self.split_slow(place, outbox);
    }

    /// Whether members that came from another group were told there of a prefix what they would be
    /// told of it here.
    fn was_heard(&mut self, place: usize, family: Family, id: PrefixId) -> bool {
        let cohort = &self.lagging[place];
        let heard = cohort.heard.as_ref();
        let Some((before, instead)) = heard.and_then(|heard| heard.forms(family, id)) else {
            return false;
        };
        let entry = self.entry(family, id);
        if entry.first == AdvertId::NONE || !entry.others.is_empty() {
            return false;
        }
        let form = |advert| self.adverts.form(advert);
        let now = form(entry.first);
        let hash = |form: Option<Form>| form.map(|(hash, _)| hash);
        let second = (entry.second != AdvertId::NONE).then(|| form(entry.second));
        let is_in = |(_, source): Form| self.is_member(source) && cohort.has_source(source);
        let sources_alike = now.1 == before.1 && hash(second) == hash(instead);
        if now.0 != before.0 || !sources_alike && (is_in(before) || is_in(now)) {
            return false;
        }
        self.lagging[place].displaced[family.index()].remove(id);
        true
    }

    fn tell_one_lagging(
        &mut self,
        place: usize,
        (rib, guard): (&Rib, &Guard),
        prefix: IpPrefix,
        id: PrefixId,
    ) {
        let family = prefix.family();
        if self.paths_max(family) > 0 {
            return self.tell_paths_lagging(place, (rib, guard), prefix, id);
        }
        let advert_id = self.advert_of(family, id);
        let displaced = self.lagging[place].displaced[family.index()].remove(id);
        if advert_id == AdvertId::NONE {
            let packer = &mut self.lagging[place].packer;
            packer.withdraw(id, prefix, Audience::All);
            return;
        }
        let entry = self.entry(family, id);
        let told = Told::by(&self.adverts, &self.view, (rib, guard));
        let source = self.adverts.get(advert_id).source;
        let cohort = &mut self.lagging[place];
        if !entry.others.is_empty() {
            return tell_each(&mut cohort.packer, told, (id, prefix), &entry);
        }
        cohort.packer.announce(id, prefix, advert_id, told);
        #[cfg(test)]
        if self.fault == Some(super::Fault::WrongSplitHorizon) {
            cohort.packer.tell_sources_too();
        }
        let second = entry.second;
        if (displaced || second != AdvertId::NONE) && cohort.has_source(source) {
            cohort.packer.tell_source(told, prefix, source, second);
        }
    }

    /// Members with too much queued stay behind, so that the others can go on.
    fn split_slow(&mut self, place: usize, outbox: &mut impl Outbox) {
        let cohort = &mut self.lagging[place];
        let slow = cohort.members.iter().filter(|m| is_slow(m, outbox)).count();
        if slow == 0 || slow == cohort.members.len() {
            return;
        }
        let (slow, rest) = std::mem::take(&mut cohort.members)
            .into_iter()
            .partition(|member| is_slow(member, outbox));
        cohort.members = rest;
        let mut behind = cohort.fork();
        behind.members = slow;
        // What is open here has left the sets of both: the slow ones get it too.
        cohort.packer.flush();
        for packed in cohort.packer.take_packed() {
            send(&packed, &cohort.members, outbox);
            send(&packed, &behind.members, outbox);
        }
        self.lagging.push(behind);
        self.bound_cohorts(outbox);
    }

    /// Cohorts that are owed nothing more join the in-sync one, if their members keep up.
    pub(super) fn settle(&mut self, outbox: &mut impl Outbox) {
        let ready = self.is_ready();
        let mut settled = Vec::new();
        let mut place = 0;
        while place < self.lagging.len() {
            let cohort = &mut self.lagging[place];
            if !cohort.is_walked() || self.pace.is_resting() {
                place += 1;
                continue;
            }
            cohort.packer.flush();
            deliver(cohort, outbox);
            let late = cohort.split_latecomers();
            if ready {
                tell_ends(&mut cohort.members, outbox);
            }
            if cohort.is_level() {
                let (level, behind): (Vec<_>, Vec<_>) = std::mem::take(&mut cohort.members)
                    .into_iter()
                    .partition(|member| has_room(member, outbox));
                settled.extend(level);
                cohort.members = behind;
            }
            if cohort.members.is_empty() {
                self.lagging.remove(place);
            } else {
                place += 1;
            }
            self.lagging.extend(late);
        }
        if !settled.is_empty() {
            // They have been told all that stands in the open messages.
            self.flush_live(outbox);
            self.in_sync.members.extend(settled);
        }
        if ready && !self.pace.is_resting() && self.in_sync.members.iter().any(Member::is_owed) {
            self.flush_live(outbox);
            tell_ends(&mut self.in_sync.members, outbox);
        }
        self.bound_cohorts(outbox);
        if self.lagging.is_empty() {
            self.paths.forget_some_ends(QUANTUM);
        }
        self.reap();
    }

    /// Whether a lagging cohort is told something in this turn. Past its walk it is told small
    /// changes, as the in-sync one is, and those wait while the group rests.
    pub(super) fn has_turn(&self, cohort: &Cohort, outbox: &impl Outbox) -> bool {
        can_go_on(cohort, outbox) && !(cohort.is_walked() && self.pace.is_resting())
    }

    pub(super) fn bound_cohorts(&mut self, outbox: &mut impl Outbox) {
        while self.lagging.len() > COHORTS_MAX {
            self.lagging.sort_by_key(Cohort::owed);
            let gaps = self.lagging.windows(2).enumerate();
            let nearest = gaps.min_by_key(|(_, pair)| pair[1].owed() - pair[0].owed());
            let place = nearest.map_or(0, |(place, _)| place);
            let mut other = self.lagging.remove(place + 1);
            for cohort in [&mut self.lagging[place], &mut other] {
                cohort.packer.flush();
                deliver(cohort, outbox);
            }
            self.lagging[place].merge(other);
        }
    }

    pub(super) fn flush_all(&mut self, outbox: &mut impl Outbox) {
        for cohort in std::iter::once(&mut self.in_sync).chain(&mut self.lagging) {
            cohort.packer.flush();
            deliver(cohort, outbox);
        }
        self.reap();
    }

    pub(super) fn reap(&mut self) {
        let cohorts = || std::iter::once(&self.in_sync).chain(&self.lagging);
        if cohorts().all(|cohort| cohort.packer.is_flushed()) {
            self.adverts.reap();
        }
    }
}

/// Whether a cohort is owed something, and one of its members has room for it.
pub(super) fn can_go_on(cohort: &Cohort, outbox: &impl Outbox) -> bool {
    if cohort.is_level() {
        return false;
    }
    let drained = outbox.drained();
    if drained.is_some() && drained == cohort.full_at.get() {
        return false;
    }
    let has_room = cohort.members.iter().any(|m| has_room(m, outbox));
    cohort.full_at.set(drained.filter(|_| !has_room));
    has_room
}

fn has_room(member: &Member, outbox: &impl Outbox) -> bool {
    outbox.backlog(member.id) <= backlog_to_go_on(outbox.backlog_max())
}

pub(super) fn is_slow(member: &Member, outbox: &impl Outbox) -> bool {
    outbox.backlog(member.id) > outbox.backlog_max()
}

/// Hands on what is ready. True: that was something.
pub(super) fn deliver(cohort: &mut Cohort, outbox: &mut impl Outbox) -> bool {
    let ready = cohort.packer.take_packed();
    for packed in &ready {
        send(packed, &cohort.members, outbox);
    }
    if let Some((prefix, audience)) = cohort.packer.take_oversized() {
        for member in &cohort.members {
            if audience.includes(member.source) && !outbox.takes_long(member.id) {
                outbox.say_oversized(member.id, prefix);
            }
        }
    }
    !ready.is_empty()
}

fn send(packed: &Packed, members: &[Member], outbox: &mut impl Outbox) {
    for member in members {
        let told = match packed.takers {
            Takers::All => true,
            Takers::OfLong => outbox.takes_long(member.id),
            Takers::OfShort => !outbox.takes_long(member.id),
        };
        if told {
            packed.give(member.source, |messages| outbox.send(member.id, messages));
        }
    }
}

/// The walk is over: End-of-RIB to new members, and the end of the refreshes that began.
fn tell_ends(members: &mut [Member], outbox: &mut impl Outbox) {
    for member in members {
        // RFC-DONE 4724 §2: End-of-RIB goes out once a family is complete, to every peer.
        for family in std::mem::take(&mut member.owed).iter() {
            let mut message = Vec::new();
            codec::encode_end_of_rib(family, &mut message);
            outbox.send(member.id, Bytes::from(message));
        }
        for family in std::mem::take(&mut member.refreshed).iter() {
            outbox.send(member.id, refresh_message(family, RouteRefresh::END));
        }
    }
}

pub(super) fn refresh_message(family: Family, subtype: u8) -> Bytes {
    let refresh = RouteRefresh {
        afi: family.afi(),
        safi: family.safi(),
        subtype,
    };
    let mut message = Vec::new();
    codec::encode_route_refresh(&refresh, &mut message);
    Bytes::from(message)
}
