//! Update groups: peers with one export view share one Adj-RIB-Out, and each UPDATE is encoded
//! once for all of them.
//!
//! A group knows no sockets and no sessions: it reads the RIB, keeps what its members have been
//! told as one flat array of adverts, and hands messages to an [`Outbox`].
//!
//! Invariants ([`Group::audit`] checks them): the in-sync cohort has been told exactly the
//! Adj-RIB-Out, but for what stands in its open messages; every other cohort, once its sets are
//! empty, too. A member never holds a path learned from itself. Each advert's count is the number
//! of Adj-RIB-Out entries that hold it.

mod advert;
mod apply;
mod apply_paths;
mod cohort;
mod eligible;
mod entry;
mod export;
#[cfg(test)]
mod fault;
mod form;
mod heard;
mod holds;
mod pace;
mod pack;
mod paths;
mod policy;
mod reflect;
mod refusal;
mod run;
mod view;
mod walk;

#[cfg(test)]
mod export_tests;
#[cfg(test)]
mod paths_tests;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use ahash::AHashMap;
use bytes::Bytes;
use codec::{Family, FamilySet, IpPrefix, RouteRefresh};
use rib::{AttributeId, Guard, PrefixId, Rib, RibWriter, SourceId};

use crate::policy::{Applied, Evaluator};
use crate::rpki::VrpTable;
pub use advert::AdvertId;
use advert::{Adverts, Exporter};
pub use cohort::MemberId;
use cohort::{Cohort, Member, unite};
pub use cohort::{PathIds, Sets};
use entry::Seconds;
pub use export::export;
#[cfg(test)]
pub use fault::Fault;
pub use form::{fits as fits_message, split as split_form};
pub use heard::Before;
use heard::Heard;
use pace::Pace;
pub use pace::REST_A_MEMBER;
use paths::PathLists;
pub use policy::{Tables, export_path, origin_rules, walk_policy};
pub use reflect::PathSource;
pub use refusal::Refusal;
pub use view::{ExportView, Otc, own_next_hop};
#[cfg(test)]
use walk::can_go_on;
use walk::{deliver, is_slow, refresh_message};

/// Where a group's messages go: the connections of the shard.
pub trait Outbox {
    /// Queues whole messages, one behind the other, for a member.
    fn send(&mut self, member: MemberId, messages: Bytes);
    /// Octets queued for a member that its socket has not taken, more where they are small pieces.
    fn backlog(&self, member: MemberId) -> usize;

    /// Whether a member can take messages of more than 4,096 octets (RFC 8654).
    fn takes_long(&self, _member: MemberId) -> bool {
        false
    }

    /// A member was told that a prefix is withdrawn, since no message that it can take announces it.
    fn say_oversized(&mut self, _member: MemberId, _prefix: IpPrefix) {}

    /// A member with more than this queued waits in a cohort of its own; the others go on.
    fn backlog_max(&self) -> usize {
        BACKLOG_MAX
    }

    /// Another number after each time that what is queued for some member fell to where its cohort
    /// may [go on](backlog_to_go_on); none: that is not known, so look.
    fn drained(&self) -> Option<u64> {
        None
    }

    /// How long a group rests for each member that it told something small.
    fn rest_a_member(&self) -> Duration {
        REST_A_MEMBER
    }
}

/// The usual [`Outbox::backlog_max`]. What is queued for members that keep pace is the same octets
/// for all of them; so this is about what a group takes, not what a member takes.
pub const BACKLOG_MAX: usize = 4 << 20;

/// A cohort goes on when one of its members has no more than this queued, where `max` is the most.
pub fn backlog_to_go_on(max: usize) -> usize {
    max / 8
}

/// Past this many cohorts the two nearest are merged.
const COHORTS_MAX: usize = 32;

/// Prefixes that one cohort is told of in one turn.
const QUANTUM: usize = 4096;

/// Adverts that may await freeing before open messages are sent early. Each holds an attribute set:
/// sixteen times as many made churn take 34 MB in place of 24, and packed no better.
const UNREFERENCED_MAX: usize = 4_096;

/// A path of a prefix, as a member is told it.
pub struct ToldPath {
    /// The identifier that it is sent with; none without ADD-PATH (RFC 7911).
    pub path_id: Option<u32>,
    /// Where it was learned.
    pub source: SourceId,
    /// With ADD-PATH, the identifier that it came with.
    pub received: Option<u32>,
    /// A form to be taken apart by [`split_form`].
    pub form: Vec<u8>,
}

/// What a member is owed once it was told all.
#[derive(Clone, Copy)]
pub struct OwedEnds {
    end_of_rib: FamilySet,
    /// Families of which a refresh began.
    refreshed: FamilySet,
}

/// Peers that are told the same.
pub struct Group {
    view: ExportView,
    /// Runs the view's policy.
    policy: Option<Evaluator>,
    /// What is valid of routes, for policies that ask (RFC 6811).
    vrps: Option<Arc<VrpTable>>,
    adj_rib_out: [Vec<AdvertId>; Family::ALL.len()],
    /// What the members that those adverts came from are told instead.
    seconds: Seconds,
    /// In families with ADD-PATH, in place of both.
    paths: PathLists,
    adverts: Adverts,
    /// Announced prefixes by family: all, and by where they were learned.
    announced: [u64; Family::ALL.len()],
    announced_from: AHashMap<SourceId, [u64; Family::ALL.len()]>,
    /// Those of them that take longer messages than everybody can, by where they were learned.
    long_from: AHashMap<SourceId, [u64; Family::ALL.len()]>,
    /// Members that are owed nothing but the newest changes.
    in_sync: Cohort,
    lagging: Vec<Cohort>,
    /// Where every member is, by its source.
    sources: AHashMap<SourceId, MemberId>,
    /// The ids below `limit` from `next` on have not been evaluated since the group was made.
    unevaluated: [std::ops::Range<u32>; Family::ALL.len()],
    pace: Pace,
    #[cfg(test)]
    fault: Option<Fault>,
}

impl Group {
    /// A group with no members. Before this the caller has subscribed to the dirty marks of the
    /// view's families, so that what changes from here on is not missed. `seed` decides its jitter.
    pub fn new(view: ExportView, rib: &Rib, seed: u64) -> Group {
        let limit = |family| match view.families.contains(family) {
            true => 0..rib.id_limit(family),
            false => 0..0,
        };
        let unevaluated = Family::ALL.map(limit);
        Group {
            policy: view.policy.clone().map(Evaluator::new),
            vrps: None,
            view,
            adj_rib_out: Default::default(),
            seconds: Seconds::default(),
            paths: PathLists::default(),
            adverts: Adverts::default(),
            announced: Default::default(),
            announced_from: AHashMap::new(),
            long_from: AHashMap::new(),
            in_sync: Cohort::default(),
            lagging: Vec::new(),
            sources: AHashMap::new(),
            unevaluated,
            pace: Pace::new(seed),
            #[cfg(test)]
            fault: None,
        }
    }

    /// Plants a fault.
    #[cfg(test)]
    pub fn plant(&mut self, fault: Option<Fault>) {
        self.fault = fault;
        self.in_sync.packer.inverts = fault == Some(Fault::InvertedBatch);
        self.in_sync.packer.tells_own_paths = fault == Some(Fault::OwnPathBack);
    }

    /// What the members have in common.
    pub fn view(&self) -> &ExportView {
        &self.view
    }

    /// How many members there are.
    pub fn members(&self) -> usize {
        self.sources.len()
    }

    /// The members are told something else from now on: everything is evaluated anew, and told
    /// where it differs. Returns the old view. The families have to be the same.
    pub fn change_view(&mut self, view: ExportView, rib: &Rib) -> ExportView {
        assert_eq!(self.view.families, view.families);
        if self.view.policy != view.policy {
            self.count_hits();
            self.policy = view.policy.clone().map(Evaluator::new);
        }
        let (old, new) = (
            self.view.advertisement_interval,
            view.advertisement_interval,
        );
        self.pace.follow(old, new);
        self.adverts.forget();
        for family in view.families.iter() {
            self.unevaluated[family.index()] = 0..rib.id_limit(family);
        }
        std::mem::replace(&mut self.view, view)
    }

    /// Whether the view's policy asks for states of origin validation.
    pub fn asks_for_validation(&self) -> bool {
        let policy = self.view.policy.as_ref();
        policy.is_some_and(Applied::asks_for_validation)
    }

    /// What is valid from now on. The caller marks what has another state for it.
    pub fn set_vrps(&mut self, vrps: Option<Arc<VrpTable>>) {
        self.vrps = vrps;
    }

    /// A peer came up. It is owed the whole Adj-RIB-Out and then End-of-RIB for each family.
    pub fn join(&mut self, id: MemberId, source: SourceId, outbox: &mut impl Outbox) {
        self.sources.insert(source, id);
        let member = self.member(id, source);
        let walking = self
            .lagging
            .iter_mut()
            .find(|cohort| cohort.can_be_joined());
        match walking {
            Some(cohort) => cohort.join(member),
            None if self.announced.iter().all(|count| *count == 0) => {
                self.flush_live(outbox);
                self.in_sync.members.push(member);
            }
            None => {
                let walk = self.announced_ids(self.view.families);
                self.lagging.push(Cohort::new_whole(vec![member], walk));
            }
        }
        self.bound_cohorts(outbox);
    }

    /// Members of another group come over, with what they were told there: what this group does not
    /// announce, they have to hear withdrawn, and what it tells alike, not at all.
    pub fn move_in(
        &mut self,
        members: &[(MemberId, SourceId)],
        before: &Before,
        outbox: &mut impl Outbox,
    ) {
        let sources = members.iter().map(|(id, source)| (*source, *id));
        self.sources.extend(sources);
        let mut walk = self.announced_ids(self.view.families);
        unite(&mut walk, &before.ids);
        let members = members.iter().map(|(id, source)| self.member(*id, *source));
        let mut cohort = Cohort::new_whole(members.collect(), walk);
        cohort.displaced = before.ids.clone();
        cohort.foreign = before.path_ids.clone();
        cohort.heard = before.heard.clone();
        self.lagging.push(cohort);
        self.bound_cohorts(outbox);
    }

    fn member(&self, id: MemberId, source: SourceId) -> Member {
        Member {
            id,
            source,
            owed: self.view.families,
            refreshed: FamilySet::NONE,
            late: false,
        }
    }

    /// For a view that [wants others](ExportView::wants_others_at_all): a member that joined has
    /// paths already, and what it is told instead where they are the best was not worked out while
    /// it was no member.
    pub fn adopt(&mut self, writer: &mut RibWriter, guard: &Guard, adj_rib_in: &Sets) {
        for family in Family::ALL {
            let ids: Vec<PrefixId> = adj_rib_in[family.index()].iter().collect();
            self.apply(writer, guard, family, &ids);
        }
    }

    /// What members may hold: of the prefixes that are announced, and of those that were once and whose
    /// end somebody is still owed; and with ADD-PATH the identifiers of paths.
    pub fn told_by_now(&mut self) -> Before {
        let mut path_ids = PathIds::default();
        for family in self.view.families.iter() {
            let lists = self.paths.of(family);
            let ids = lists.flat_map(|(id, list)| list.all().iter().map(move |path| (id, path.id)));
            path_ids.add(family, ids);
        }
        let mut unknown = self.seconds.with_others();
        unite(&mut unknown, self.paths.ended());
        for cohort in &mut self.lagging {
            path_ids.merge(&cohort.foreign);
            unite(&mut unknown, cohort.missed());
            for owed in [&cohort.walk, &cohort.changed, &cohort.displaced] {
                unite(&mut unknown, owed);
            }
        }
        let mut ids = self.announced_ids(self.view.families);
        unite(&mut ids, &unknown);
        let heard = Heard {
            adverts: [&self.adj_rib_out, self.seconds.adverts()].map(Clone::clone),
            forms: self.adverts.forms(),
            unknown,
        };
        Before {
            ids,
            path_ids,
            heard: Some(Arc::new(heard)),
        }
    }

    /// A peer went down or changes groups.
    pub fn leave(&mut self, id: MemberId, source: SourceId, outbox: &mut impl Outbox) {
        self.flush_all(outbox);
        self.sources.remove(&source);
        self.in_sync.remove(id);
        for cohort in &mut self.lagging {
            cohort.remove(id);
        }
        self.lagging.retain(|cohort| !cohort.members.is_empty());
    }

    // RFC-DONE 2918 §4: a peer that asks is told its Adj-RIB-Out of the family again.
    // RFC-DONE 7313 §4: BoRR goes out before the family is told again, EoRR behind it.
    /// A member asks to hear a family again (RFC 2918 §4). `told_bounds`: it is told where that begins
    /// and ends (RFC 7313), unless its End-of-RIB has yet to come, before which nothing may begin.
    pub fn refresh(
        &mut self,
        id: MemberId,
        family: Family,
        told_bounds: bool,
        outbox: &mut impl Outbox,
    ) {
        self.flush_all(outbox);
        let mut families = FamilySet::NONE;
        families.insert(family);
        let again = self.announced_ids(families);
        let mut cohorts = std::iter::once(&mut self.in_sync).chain(&mut self.lagging);
        let found = cohorts.find_map(|cohort| Some((cohort.remove(id)?, cohort.fork())));
        let Some((mut member, mut cohort)) = found else {
            return;
        };
        let untold = member.owed.contains(family) || member.refreshed.contains(family);
        if told_bounds && !untold {
            member.refreshed.insert(family);
            outbox.send(id, refresh_message(family, RouteRefresh::BEGIN));
        }
        cohort.members.push(member);
        cohort.walk[family.index()].union_with(&again[family.index()]);
        cohort.heard = None;
        self.lagging.retain(|cohort| !cohort.members.is_empty());
        self.lagging.push(cohort);
        self.bound_cohorts(outbox);
    }

    /// What a member is owed behind what it is told: End-of-RIB, and the ends of refreshes.
    pub fn owed_ends(&self, id: MemberId) -> Option<OwedEnds> {
        let mut cohorts = std::iter::once(&self.in_sync).chain(&self.lagging);
        let member = cohorts.find_map(|cohort| cohort.members.iter().find(|m| m.id == id));
        member.map(|member| OwedEnds {
            end_of_rib: member.owed,
            refreshed: member.refreshed,
        })
    }

    /// A member that came over is told here what its old group owed it behind all.
    pub fn take_over_ends(&mut self, id: MemberId, ends: OwedEnds) {
        let cohorts = std::iter::once(&mut self.in_sync).chain(&mut self.lagging);
        for member in cohorts.flat_map(|cohort| &mut cohort.members) {
            if member.id == id {
                (member.owed, member.refreshed) = (ends.end_of_rib, ends.refreshed);
            }
        }
    }

    /// One bounded piece of what is owed apart from live changes: the group's first evaluation,
    /// then the lagging cohorts. True if there is more that could be done now; members whose
    /// sockets have to drain first don't count.
    pub fn work(
        &mut self,
        writer: &mut RibWriter,
        guard: &Guard,
        outbox: &mut impl Outbox,
    ) -> bool {
        // What the last piece of an evaluation opened leaves with the next turn's live changes.
        let evaluating = self.is_evaluating();
        self.evaluate_some(writer, guard);
        for place in 0..self.lagging.len() {
            self.tell_lagging(place, (writer.rib(), guard), outbox);
            #[cfg(test)]
            while self.fault == Some(Fault::DumpsFirst) && can_go_on(&self.lagging[place], outbox) {
                self.tell_lagging(place, (writer.rib(), guard), outbox);
            }
        }
        self.settle(outbox);
        let forgetting = self.lagging.is_empty() && self.has_ends();
        let telling = self.is_evaluated();
        let mut lagging = self.lagging.iter().filter(|_| telling);
        evaluating || forgetting || lagging.any(|cohort| self.has_turn(cohort, outbox))
    }

    /// No more live changes are at hand: what is open for the in-sync members leaves.
    pub fn flush_live(&mut self, outbox: &mut impl Outbox) {
        if !self.in_sync.packer.is_flushed() {
            let members = self.in_sync.members.len();
            self.pace.rest(members, outbox.rest_a_member());
        }
        self.in_sync.packer.flush();
        self.deliver_in_sync(outbox);
    }

    /// Hands on the full messages for in-sync members, and moves those that are too slow into a
    /// cohort of their own.
    pub fn deliver_in_sync(&mut self, outbox: &mut impl Outbox) {
        // Who was sent nothing has not become slower.
        let sent = deliver(&mut self.in_sync, outbox);
        if sent && self.in_sync.members.iter().any(|m| is_slow(m, outbox)) {
            self.in_sync.packer.flush();
            deliver(&mut self.in_sync, outbox);
            let (slow, rest) = std::mem::take(&mut self.in_sync.members)
                .into_iter()
                .partition(|member| is_slow(member, outbox));
            self.in_sync.members = rest;
            self.lagging.push(Cohort::new(slow, Sets::default()));
            self.bound_cohorts(outbox);
        }
        if self.adverts.unreferenced() > UNREFERENCED_MAX {
            self.flush_all(outbox);
        }
        self.reap();
    }

    /// Adds what the view's policy met to its hits.
    pub fn count_hits(&mut self) {
        if let Some(policy) = &mut self.policy {
            policy.flush();
        }
    }

    /// Whether every member has been told everything.
    pub fn is_quiet(&self) -> bool {
        self.lagging.is_empty()
            && !self.has_ends()
            && self.in_sync.packer.is_flushed()
            && self.is_evaluated()
            && self.pace.is_idle()
            && self.in_sync.members.iter().all(|m| !m.is_owed())
    }

    /// Whether identifiers of paths that are gone are kept.
    fn has_ends(&self) -> bool {
        self.paths.ended().iter().any(|set| !set.is_empty())
    }

    /// Whether a member has been told everything, as far as it is known by now.
    pub fn has_told(&self, id: MemberId) -> bool {
        let member = self.in_sync.members.iter().find(|member| member.id == id);
        let is_told = member.is_some_and(|member| !member.is_owed());
        let nothing_waits = self.pace.is_idle() && self.is_evaluated();
        is_told && nothing_waits && self.in_sync.packer.is_flushed()
    }

    /// The advert of a prefix, [`AdvertId::NONE`] if it is not announced.
    pub fn advert_of(&self, family: Family, id: PrefixId) -> AdvertId {
        let entries = &self.adj_rib_out[family.index()];
        entries.get(id.0 as usize).copied().unwrap_or_default()
    }

    /// What a member is told of a prefix, in order of preference.
    pub fn told(
        &self,
        member: SourceId,
        family: Family,
        id: PrefixId,
        (rib, guard): (&Rib, &Guard),
    ) -> Vec<ToldPath> {
        let from = Exporter {
            view: &self.view,
            rib,
            guard,
        };
        let path = |advert, path_id, received| {
            let mut form = Vec::new();
            let written = self.adverts.write_form(advert, from, &mut form);
            written.then(|| ToldPath {
                path_id,
                source: self.adverts.get(advert).source,
                received,
                form,
            })
        };
        if self.paths_max(family) > 0 {
            let told = self.paths.get(family, id).told_to(member);
            return told
                .filter_map(|sent| path(sent.advert, Some(sent.id), Some(sent.path_id)))
                .collect();
        }
        let advert = self.told_by(&self.entry(family, id), member);
        let told = (advert != AdvertId::NONE).then(|| path(advert, None, None));
        told.flatten().into_iter().collect()
    }

    /// Counts on attribute sets that are no longer needed: the caller gives them back.
    pub fn take_released(&mut self) -> Vec<AttributeId> {
        self.adverts.take_released()
    }

    /// The group is no more. All its counts on attribute sets: the caller gives them back.
    pub fn into_counts(self) -> Vec<AttributeId> {
        self.adverts.into_counts()
    }

    /// How many prefixes a member is told of; `takes_long` as [`Outbox::takes_long`].
    pub fn announced_to(&self, source: SourceId, family: Family, takes_long: bool) -> u64 {
        let own = self.announced_from.get(&source);
        let own = own.map_or(0, |counts| counts[family.index()]);
        let long = self.long_from.iter().filter(|(from, _)| **from != source);
        let untold = match takes_long {
            true => 0,
            false => long.map(|(_, counts)| counts[family.index()]).sum(),
        };
        self.announced[family.index()] - own - untold + self.seconds.told(source, family)
    }

    /// The prefixes that are announced, of some families.
    fn announced_ids(&self, families: FamilySet) -> Sets {
        let mut sets = Sets::default();
        for family in families.iter() {
            let entries = self.adj_rib_out[family.index()].iter().zip(0u32..);
            for (_, id) in entries.filter(|(advert, _)| **advert != AdvertId::NONE) {
                sets[family.index()].insert(PrefixId(id));
            }
            let lists = self.paths.of(family);
            let live = lists.filter(|(_, list)| !list.live().is_empty());
            sets[family.index()].extend(live.map(|(id, _)| id));
        }
        sets
    }

    /// Panics if an invariant of this module does not hold. For tests and the simulator.
    pub fn audit(&self) {
        let held = self.adj_rib_out.iter().flatten();
        let held = held.filter(|advert| **advert != AdvertId::NONE).count() as u64;
        let lists = || Family::ALL.into_iter().flat_map(|f| self.paths.of(f));
        let sent: usize = lists().map(|(_, list)| list.live().len()).sum();
        let references = held + self.seconds.len() + sent as u64;
        assert_eq!(references, self.adverts.references(), "advert counts");
        let listed = lists().filter(|(_, list)| !list.live().is_empty()).count() as u64;
        let announced = self.announced.iter().sum::<u64>();
        assert_eq!(held + listed, announced, "announced counts");
        let held = self.adj_rib_out.iter().flatten();
        let long = held
            .filter(|advert| self.adverts.get(**advert).long)
            .count() as u64;
        let counted: u64 = self.long_from.values().flatten().sum();
        assert_eq!(long, counted, "counts of what needs long messages");
        for (_, list) in lists() {
            let mut ids: Vec<u32> = list.all().iter().map(|path| path.id).collect();
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), list.all().len(), "two paths have one identifier");
        }
        let cohorts = || std::iter::once(&self.in_sync).chain(&self.lagging);
        let members: usize = cohorts().map(|cohort| cohort.members.len()).sum();
        assert_eq!(members, self.sources.len(), "each member is in one cohort");
        assert!(
            self.in_sync.is_level(),
            "the in-sync cohort is owed nothing"
        );
        assert!(self.lagging.len() <= COHORTS_MAX, "cohorts are bounded");
        for cohort in &self.lagging {
            assert!(!cohort.members.is_empty(), "no cohort without members");
        }
    }
}
