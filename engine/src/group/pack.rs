//! Packing: changes of single prefixes become full UPDATE messages.
//!
//! A batch holds each prefix once, in its newest state; withdraws leave before announcements;
//! batches leave in order. NLRI is grouped by advert, so one message never mixes sources and is
//! encoded once for all who get it. A message leaves when it is full; [`Packer::flush`] sends the
//! rest.
//!
//! RFC 4271 §4.3, RFC 4760 §3 and §4, RFC 7606 §5.1 (MP_REACH_NLRI first, one kind of NLRI an
//! UPDATE).

use std::sync::Arc;

use ahash::AHashMap;
use bytes::Bytes;
use codec::{Family, IpPrefix, MAX_LEN};
use rib::{IdSet, PrefixId, SourceId};

use super::advert::{Advert, AdvertId};
use super::export::Exported;

/// Who gets a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Audience {
    /// All members of the cohort.
    All,
    /// All but the member with this source.
    AllBut(SourceId),
    /// This one only.
    Only(SourceId),
}

/// A whole message and who gets it.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    /// Who gets it.
    pub(super) audience: Audience,
    /// The message with its header.
    pub(super) message: Bytes,
}

/// More open messages than this are not kept: what arrives with one attribute set arrives
/// together, so an old open message will hardly be filled.
const OPEN_MESSAGES_MAX: usize = 1024;

/// The longest NLRI: a length octet and an IPv6 address.
const NLRI_LEN_MAX: usize = 17;

/// Collects changes for one cohort.
#[derive(Default)]
pub(super) struct Packer {
    announcements: InOrder<(Family, AdvertId), Announcement>,
    withdrawals: InOrder<(Family, Audience), Withdrawal>,
    /// The prefixes whose NLRI stands in an open message.
    open: [IdSet; Family::ALL.len()],
    /// The same for messages to one member alone: they may not be overtaken by what that member
    /// is told of the prefix afterwards.
    open_private: [IdSet; Family::ALL.len()],
    packed: Vec<Packed>,
    /// Prefixes that no message of 4,096 octets can announce: their attributes leave no room.
    oversized: u64,
}

struct Announcement {
    exported: Arc<Exported>,
    audience: Audience,
    room: usize,
    nlri: Vec<u8>,
    ids: Vec<PrefixId>,
}

#[derive(Default)]
struct Withdrawal {
    nlri: Vec<u8>,
    ids: Vec<PrefixId>,
}

impl Packer {
    /// The prefix is announced with `advert` from now on.
    pub(super) fn announce(
        &mut self,
        id: PrefixId,
        prefix: IpPrefix,
        key: AdvertId,
        advert: &Advert,
    ) {
        let family = prefix.family();
        self.begin(family, id);
        let announcement = self
            .announcements
            .get_or_insert_with((family, key), || Announcement::new(advert));
        if announcement.room < NLRI_LEN_MAX {
            // RFC 8654 §4: what cannot be said is withdrawn, not left as it was.
            let audience = announcement.audience;
            self.oversized += 1;
            if self.oversized.is_power_of_two() {
                tracing::warn!(
                    %prefix,
                    times = self.oversized,
                    "not announced: its attributes leave no room for it in a message"
                );
            }
            self.push_withdrawal(id, prefix, audience);
            return;
        }
        let before = announcement.nlri.len();
        encode_nlri(prefix, &mut announcement.nlri);
        let mut full = None;
        if announcement.nlri.len() > announcement.room {
            let rest = announcement.nlri.split_off(before);
            full = Some((
                std::mem::take(&mut announcement.ids),
                announcement.encode(family),
            ));
            announcement.nlri = rest;
        }
        announcement.ids.push(id);
        let open = &mut self.open[family.index()];
        if let Some((ids, message)) = full {
            for id in ids {
                open.remove(id);
            }
            self.packed.push(message);
        }
        open.insert(id);
        self.bound();
    }

    /// The prefix is withdrawn from `audience`.
    pub(super) fn withdraw(&mut self, id: PrefixId, prefix: IpPrefix, audience: Audience) {
        self.begin(prefix.family(), id);
        self.push_withdrawal(id, prefix, audience);
    }

    /// The member with `source` is told to forget the prefix, beside the announcement of it to the
    /// others that was packed just now: its own path displaced what it had been told.
    pub(super) fn withdraw_from_source(
        &mut self,
        id: PrefixId,
        prefix: IpPrefix,
        source: SourceId,
    ) {
        self.push_withdrawal(id, prefix, Audience::Only(source));
    }

    fn push_withdrawal(&mut self, id: PrefixId, prefix: IpPrefix, audience: Audience) {
        let family = prefix.family();
        let withdrawal = self
            .withdrawals
            .get_or_insert_with((family, audience), Withdrawal::default);
        let before = withdrawal.nlri.len();
        encode_nlri(prefix, &mut withdrawal.nlri);
        let mut full = None;
        if withdrawal.nlri.len() > codec::withdraw_room(MAX_LEN, family) {
            let rest = withdrawal.nlri.split_off(before);
            full = Some((
                std::mem::take(&mut withdrawal.ids),
                encode_withdrawal(family, audience, &withdrawal.nlri),
            ));
            withdrawal.nlri = rest;
        }
        withdrawal.ids.push(id);
        let open = match audience {
            Audience::Only(_) => &mut self.open_private[family.index()],
            Audience::All | Audience::AllBut(_) => &mut self.open[family.index()],
        };
        if let Some((ids, message)) = full {
            for id in ids {
                open.remove(id);
            }
            self.packed.push(message);
        }
        open.insert(id);
        self.bound();
    }

    /// Ends the batch: every open message leaves, withdraws first.
    pub(super) fn flush(&mut self) {
        for ((family, audience), withdrawal) in self.withdrawals.drain() {
            let message = encode_withdrawal(family, audience, &withdrawal.nlri);
            self.packed.push(message);
        }
        for ((family, _), announcement) in self.announcements.drain() {
            if !announcement.nlri.is_empty() {
                self.packed.push(announcement.encode(family));
            }
        }
        for open in self.open.iter_mut().chain(&mut self.open_private) {
            open.clear();
        }
    }

    /// Messages that are ready, in the order in which they must leave.
    pub(super) fn take_packed(&mut self) -> Vec<Packed> {
        std::mem::take(&mut self.packed)
    }

    /// Whether no message is open. Then no advert id is in use here.
    pub(super) fn is_flushed(&self) -> bool {
        self.announcements.len() == 0 && self.withdrawals.len() == 0
    }

    /// Whether a prefix stands in an open message.
    pub(super) fn holds(&self, family: Family, id: PrefixId) -> bool {
        let family = family.index();
        self.open[family].contains(id) || self.open_private[family].contains(id)
    }

    /// A prefix may stand in an open message with an older state. That batch has to leave first.
    fn begin(&mut self, family: Family, id: PrefixId) {
        if self.holds(family, id) {
            self.flush();
        }
    }

    fn bound(&mut self) {
        if self.announcements.len() + self.withdrawals.len() > OPEN_MESSAGES_MAX {
            self.flush();
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

    fn drain(&mut self) -> impl Iterator<Item = (K, V)> {
        self.places.clear();
        self.entries.drain(..)
    }
}

impl Announcement {
    fn new(advert: &Advert) -> Announcement {
        let exported = Arc::clone(&advert.exported);
        let length = exported.attributes.len();
        let room = match &exported.mp_next_hop {
            None => codec::update_room(MAX_LEN, length),
            Some(next_hop) => codec::mp_update_room(MAX_LEN, next_hop, length),
        };
        Announcement {
            exported,
            audience: advert.source.map_or(Audience::All, Audience::AllBut),
            room,
            nlri: Vec::with_capacity(64),
            ids: Vec::new(),
        }
    }

    fn encode(&self, family: Family) -> Packed {
        let attributes = &self.exported.attributes;
        let mut out = Vec::with_capacity(64 + attributes.len() + self.nlri.len());
        match &self.exported.mp_next_hop {
            None => codec::encode_update(attributes, &self.nlri, &mut out),
            Some(next_hop) => {
                codec::encode_mp_update(family, next_hop, attributes, &self.nlri, &mut out);
            }
        }
        Packed {
            audience: self.audience,
            message: Bytes::from(out),
        }
    }
}

fn encode_withdrawal(family: Family, audience: Audience, nlri: &[u8]) -> Packed {
    let mut out = Vec::with_capacity(64 + nlri.len());
    codec::encode_withdraw(family, nlri, &mut out);
    Packed {
        audience,
        message: Bytes::from(out),
    }
}

fn encode_nlri(prefix: IpPrefix, out: &mut Vec<u8>) {
    match prefix {
        IpPrefix::V4(prefix) => codec::encode_nlri(prefix, None, out),
        IpPrefix::V6(prefix) => codec::encode_nlri(prefix, None, out),
    }
}
