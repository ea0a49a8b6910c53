//! Packing: changes of single prefixes become full UPDATE messages, and messages become runs.
//!
//! A batch holds each prefix once, or with ADD-PATH each path of it (RFC 7911), in its newest state; withdraws leave before announcements;
//! batches leave in order. NLRI is grouped by advert, so one message never mixes sources and is
//! encoded once for all who get it. A message leaves when it is full; [`Packer::flush`] sends the
//! rest. What leaves are runs of messages (`run`).
//!
//! RFC 4271 §4.3, RFC 4760 §3 and §4, RFC 7606 §5.1 (MP_REACH_NLRI first, one kind of NLRI an
//! UPDATE).

use ahash::AHashMap;
use codec::{Family, IpPrefix, MAX_EXTENDED_LEN, MAX_LEN};
use rib::{PrefixId, SourceId};
use smallvec::SmallVec;

use super::advert::{AdvertId, Told};
use super::form::{longest_nlri, room, split};
use super::run::{Audience, Packed, Run, Takers};

/// More open messages than this are not kept: what arrives with one attribute set arrives
/// together, so an old open message will hardly be filled.
const OPEN_MESSAGES_MAX: usize = 1024;

/// Open messages whose attributes take more than this leave: those that are longer than 4,096 octets
/// could come to 64 MiB.
const FORMS_OCTETS_MAX: usize = 4 << 20;

/// NLRI of one message. A set of attributes has about five prefixes in an Internet table, whose
/// NLRI take four octets each: these need no memory of their own.
type NlriBuffer = SmallVec<[u8; 40]>;

/// Collects changes for one cohort.
#[derive(Default)]
pub(super) struct Packer {
    announcements: InOrder<(Family, AdvertId, Audience), Announcement>,
    withdrawals: InOrder<(Family, Audience, Takers), NlriBuffer>,
    /// The forms of the open announcements, one behind the other.
    forms: Vec<u8>,
    /// The prefixes that this batch names.
    open: [OpenIds; Family::ALL.len()],
    run: Run,
    /// The last prefix that no message of 4,096 octets could announce since somebody asked.
    oversized: Option<(IpPrefix, Audience)>,
    /// See [`super::Fault::InvertedBatch`].
    #[cfg(test)]
    pub(super) inverts: bool,
    /// See [`super::Fault::OwnPathBack`].
    #[cfg(test)]
    pub(super) tells_own_paths: bool,
}

struct Announcement {
    audience: Audience,
    takers: Takers,
    /// Where its form stands.
    form: (u32, u32),
    room: usize,
    nlri: NlriBuffer,
}

impl Packer {
    /// The prefix is announced with `advert` from now on.
    pub(super) fn announce(
        &mut self,
        id: PrefixId,
        prefix: IpPrefix,
        advert: AdvertId,
        told: Told<'_>,
    ) {
        self.begin(prefix.family(), id);
        let source = told.adverts.get(advert).source;
        self.push_announcement((prefix, None), (advert, told), Audience::AllBut(source));
    }

    /// A path of the prefix is announced to `audience` under an identifier. The batch has
    /// [begun](Packer::begin) the prefix.
    pub(super) fn announce_path(
        &mut self,
        (prefix, path_id): (IpPrefix, u32),
        advert: AdvertId,
        told: Told<'_>,
        audience: Audience,
    ) {
        self.push_announcement((prefix, Some(path_id)), (advert, told), audience);
    }

    /// The path of an identifier is withdrawn from `audience`. The batch has
    /// [begun](Packer::begin) the prefix.
    pub(super) fn withdraw_path(&mut self, prefix: IpPrefix, path_id: u32, audience: Audience) {
        self.push_withdrawal((prefix, Some(path_id)), audience, Takers::All);
    }

    /// All but these members, in what is packed next.
    pub(super) fn all_but_each(&mut self, members: &[SourceId]) -> Audience {
        match members {
            [] => Audience::All,
            [member] => Audience::AllBut(*member),
            _ => self.run.all_but_each(members),
        }
    }

    /// An audience is told of the prefix with `advert`, beside what was packed of it just now for
    /// the others, or with nothing for them ([`Packer::begin`]).
    pub(super) fn announce_to(
        &mut self,
        prefix: IpPrefix,
        advert: AdvertId,
        told: Told<'_>,
        audience: Audience,
    ) {
        self.push_announcement((prefix, None), (advert, told), audience);
    }

    #[inline]
    fn push_announcement(
        &mut self,
        (prefix, path_id): (IpPrefix, Option<u32>),
        (advert, told): (AdvertId, Told<'_>),
        audience: Audience,
    ) {
        let family = prefix.family();
        let longest = longest_nlri(path_id);
        let forms = &mut self.forms;
        let announcement = self
            .announcements
            .get_or_insert_with((family, advert, audience), || {
                Announcement::new((advert, told), audience, longest, forms)
            });
        if announcement.nlri.len() + longest > announcement.room {
            announcement.encode(family, &self.forms, &mut self.run);
        }
        if announcement.room >= longest {
            append_nlri(prefix, path_id, &mut announcement.nlri);
        }
        // RFC-DONE 8654 §4: Whom an UPDATE would be too long for is told a withdrawal in its place.
        if let Some(untold) = announcement.untold(longest) {
            self.oversized = Some((prefix, audience));
            self.push_withdrawal((prefix, path_id), audience, untold);
        }
    }

    /// A prefix that some of an audience had to hear withdrawn since this was asked last, as no
    /// message that they can take announces it.
    pub(super) fn take_oversized(&mut self) -> Option<(IpPrefix, Audience)> {
        self.oversized.take()
    }

    /// The prefix is withdrawn from `audience`.
    pub(super) fn withdraw(&mut self, id: PrefixId, prefix: IpPrefix, audience: Audience) {
        self.begin(prefix.family(), id);
        self.push_withdrawal((prefix, None), audience, Takers::All);
    }

    /// The member with `source` is told to forget the prefix, beside what was packed of it just now
    /// for the others, or with nothing for them ([`Packer::begin`]).
    pub(super) fn withdraw_from_source(&mut self, prefix: IpPrefix, source: SourceId) {
        self.push_withdrawal((prefix, None), Audience::Only(source), Takers::All);
    }

    #[inline]
    fn push_withdrawal(
        &mut self,
        (prefix, path_id): (IpPrefix, Option<u32>),
        audience: Audience,
        takers: Takers,
    ) {
        let family = prefix.family();
        let nlri = self
            .withdrawals
            .get_or_insert_with((family, audience, takers), NlriBuffer::default);
        if nlri.len() + longest_nlri(path_id) > codec::withdraw_room(MAX_LEN, family) {
            codec::encode_withdraw(family, nlri, self.run.of(audience, takers));
            nlri.clear();
        }
        append_nlri(prefix, path_id, nlri);
    }

    /// What the member that the best path came from is told instead of it.
    pub(super) fn tell_source(
        &mut self,
        told: Told<'_>,
        prefix: IpPrefix,
        source: SourceId,
        second: AdvertId,
    ) {
        match second {
            AdvertId::NONE => self.withdraw_from_source(prefix, source),
            advert => self.announce_to(prefix, advert, told, Audience::Only(source)),
        }
    }

    /// A fault that tests plant: what is open goes back to where it was learned, too.
    #[cfg(test)]
    pub(super) fn tell_sources_too(&mut self) {
        for (_, announcement) in &mut self.announcements.entries {
            announcement.audience = Audience::All;
        }
    }

    /// Ends the batch: every open message leaves, withdraws first.
    pub(super) fn flush(&mut self) {
        if self.is_flushed() {
            return;
        }
        // RFC-DONE 4271 §4.3: Routes that share attributes share an UPDATE; withdrawals leave first.
        for ((family, audience, takers), nlri) in self.withdrawals.drain() {
            codec::encode_withdraw(family, &nlri, self.run.of(audience, takers));
        }
        // Each prefix stands once in a batch for each member, so the order of its announcements is free: those for
        // the same members together make the longest runs.
        self.announcements
            .sort_by_key(|announcement| (announcement.takers, announcement.audience.order()));
        for ((family, ..), mut announcement) in self.announcements.drain() {
            announcement.encode(family, &self.forms, &mut self.run);
        }
        self.forms.clear();
        self.open.iter_mut().for_each(OpenIds::clear);
        self.run.end_batch();
    }

    /// What is ready, in the order in which it must leave.
    pub(super) fn take_packed(&mut self) -> Vec<Packed> {
        self.run.take()
    }

    /// Whether no message is open. Then no advert id is in use here.
    pub(super) fn is_flushed(&self) -> bool {
        self.announcements.len() == 0 && self.withdrawals.len() == 0
    }

    /// Whether this batch names a prefix.
    pub(super) fn holds(&self, family: Family, id: PrefixId) -> bool {
        self.open[family.index()].contains(id)
    }

    /// What is told of the prefix from here on is of one batch. The one that is open may name the
    /// prefix already, in an older state, or be as large as one may be: then it has to leave first.
    pub(super) fn begin(&mut self, family: Family, id: PrefixId) {
        let family = family.index();
        if self.announcements.len() + self.withdrawals.len() > OPEN_MESSAGES_MAX
            || self.forms.len() > FORMS_OCTETS_MAX
        {
            self.flush();
        }
        #[cfg(test)]
        if self.inverts {
            return;
        }
        if !self.open[family].insert(id) {
            self.flush();
            self.open[family].insert(id);
        }
    }
}

/// The ids that a batch names: a bit each, and which words to clear when it ends.
#[derive(Default)]
struct OpenIds {
    words: Vec<u64>,
    touched: Vec<u32>,
}

impl OpenIds {
    /// Adds `id`. Whether it was not named yet.
    #[inline]
    fn insert(&mut self, id: PrefixId) -> bool {
        let (place, bit) = ((id.0 / 64) as usize, 1 << (id.0 % 64));
        if self.words.len() <= place {
            self.words.resize(place + 1, 0);
        }
        let word = &mut self.words[place];
        if *word == 0 {
            self.touched.push(place as u32);
        }
        let fresh = *word & bit == 0;
        *word |= bit;
        fresh
    }

    fn contains(&self, id: PrefixId) -> bool {
        let word = self.words.get((id.0 / 64) as usize);
        word.is_some_and(|word| word >> (id.0 % 64) & 1 != 0)
    }

    fn clear(&mut self) {
        for place in self.touched.drain(..) {
            self.words[place as usize] = 0;
        }
    }
}

/// A map that drains in the order of insertion, so that what leaves does not depend on hashing.
struct InOrder<K, V> {
    entries: Vec<(K, V)>,
    places: AHashMap<K, usize>,
}

impl<K, V> Default for InOrder<K, V> {
    fn default() -> InOrder<K, V> {
        InOrder {
            entries: Vec::new(),
            places: AHashMap::new(),
        }
    }
}

impl<K: Copy + Eq + std::hash::Hash, V> InOrder<K, V> {
    fn get_or_insert_with(&mut self, key: K, value: impl FnOnce() -> V) -> &mut V {
        // What comes next mostly belongs where the last one went.
        let last = self.entries.last().is_some_and(|(last, _)| *last == key);
        let place = if last {
            self.entries.len() - 1
        } else {
            *self.places.entry(key).or_insert_with(|| {
                self.entries.push((key, value()));
                self.entries.len() - 1
            })
        };
        &mut self.entries[place].1
    }

    fn len(&self) -> usize {
        self.entries.len()
    }

    /// Orders what is about to be drained; equal ones stay in the order of insertion.
    fn sort_by_key<O: Ord>(&mut self, order: impl Fn(&V) -> O) {
        self.entries.sort_by_key(|(_, value)| order(value));
    }

    fn drain(&mut self) -> impl Iterator<Item = (K, V)> {
        self.places.clear();
        self.entries.drain(..)
    }
}

impl Announcement {
    /// An open message with the form of an advert, which is written behind `forms`: the advert may
    /// be gone when the message leaves.
    fn new(
        (advert, told): (AdvertId, Told<'_>),
        audience: Audience,
        longest: usize,
        forms: &mut Vec<u8>,
    ) -> Announcement {
        let start = forms.len();
        let written = told.adverts.write_form(advert, told.from, forms);
        let form = &forms[start..];
        // Where nothing can be said any more there is room for nothing.
        let room = |max_len| if written { room(form, max_len) } else { 0 };
        let (short, long) = (room(MAX_LEN), room(MAX_EXTENDED_LEN));
        let (takers, room) = match short < longest && long >= longest {
            true => (Takers::OfLong, long),
            false => (Takers::All, short),
        };
        let start = start as u32;
        Announcement {
            audience,
            takers,
            form: (start, forms.len() as u32),
            room,
            nlri: NlriBuffer::new(),
        }
    }

    /// Who of the audience is not told; none: all are.
    fn untold(&self, longest: usize) -> Option<Takers> {
        match self.takers {
            _ if self.room < longest => Some(Takers::All),
            Takers::OfLong => Some(Takers::OfShort),
            Takers::All | Takers::OfShort => None,
        }
    }

    /// Writes the message, unless nothing stands in it; it is open for more then.
    fn encode(&mut self, family: Family, forms: &[u8], run: &mut Run) {
        if self.nlri.is_empty() {
            return;
        }
        let (next_hop, attributes) = split(&forms[self.form.0 as usize..self.form.1 as usize]);
        let out = run.of(self.audience, self.takers);
        match next_hop {
            None => codec::encode_update(attributes, &self.nlri, out),
            Some(next_hop) => {
                codec::encode_mp_update(family, &next_hop, attributes, &self.nlri, out);
            }
        }
        self.nlri.clear();
    }
}

#[inline]
fn append_nlri(prefix: IpPrefix, path_id: Option<u32>, out: &mut NlriBuffer) {
    // RFC-DONE 7911 §3: the identifier stands before each prefix, announced or withdrawn.
    if let Some(path_id) = path_id {
        out.extend_from_slice(&path_id.to_be_bytes());
    }
    match prefix {
        IpPrefix::V4(prefix) => out.extend_from_slice(codec::NlriOctets::new(prefix).octets()),
        IpPrefix::V6(prefix) => out.extend_from_slice(codec::NlriOctets::new(prefix).octets()),
    }
}
