//! Adverts: the interned pair (exported attributes, source) that an Adj-RIB-Out holds.
//!
//! "Same as sent" compares adverts, never attributes alone: of two neighbors with equal attributes
//! the one that loses the best route must hear of the other's. Export runs once per attribute set,
//! source and view: its result is kept, as ready wire bytes, for as long as an Adj-RIB-Out holds it.
//!
//! A full table has hundreds of thousands of these, so an advert is one allocation (its bytes) and
//! three places in flat tables, about 60 octets beside the bytes.
//!
//! Invariants: `references` of an advert is the number of Adj-RIB-Out entries that hold its id. An
//! advert whose count fell to zero stays until [`Adverts::reap`], since an open UPDATE may still be
//! keyed by its id. A memo entry is believed only if both serial numbers in it still fit.

use std::net::{Ipv4Addr, Ipv6Addr};

use ahash::RandomState;
use codec::{Family, NextHop};
use hashbrown::HashTable;
use rib::{AttributeId, Attributes, SourceId, SourceKind};

use super::export::{Refusal, export};
use super::reflect::PathSource;
use super::view::ExportView;

/// Index of an advert in its group. [`AdvertId::NONE`] means "not announced".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AdvertId(u32);

impl AdvertId {
    /// Nothing is announced.
    pub const NONE: AdvertId = AdvertId(0);
}

/// What one prefix is announced with.
#[derive(Debug)]
pub struct Advert {
    form: Form,
    /// Where the path was learned; if that is a member, it never gets the path back.
    pub source: SourceId,
    references: u32,
    /// Tells this advert from earlier ones at its place.
    serial: u32,
    /// Of form and source, so that a table that grows need not read them all again.
    hash: u32,
}

impl Advert {
    /// Attributes in wire form, in ascending order of codes, without MP_REACH_NLRI.
    pub fn attributes(&self) -> &[u8] {
        self.form.attributes()
    }

    /// The next hop of an MP_REACH_NLRI; none: NEXT_HOP stands among the attributes.
    pub fn mp_next_hop(&self) -> Option<NextHop> {
        self.form.mp_next_hop()
    }

    /// Next hop and attributes, for those who compare or copy.
    pub(super) fn form(&self) -> &Form {
        &self.form
    }
}

/// An exported form as one run of octets: how long the MP next hop is (0: none), the next hop, the
/// attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Form(Box<[u8]>);

impl Form {
    pub(super) fn octets(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn attributes(&self) -> &[u8] {
        split(&self.0).1
    }

    pub(super) fn mp_next_hop(&self) -> Option<NextHop> {
        split(&self.0).0
    }
}

/// Writes the head of a form; the attributes come behind it.
pub(super) fn begin_form(next_hop: Option<NextHop>, out: &mut Vec<u8>) {
    match next_hop {
        None => out.push(0),
        Some(NextHop::V4(address)) => {
            out.push(4);
            out.extend_from_slice(&address.octets());
        }
        Some(NextHop::V6(address) | NextHop::V6WithLinkLocal(address, _)) => {
            out.push(16);
            out.extend_from_slice(&address.octets());
        }
    }
}

/// Takes apart what [`export`] wrote: the next hop of an MP_REACH_NLRI (none: NEXT_HOP stands among
/// the attributes), and the attributes in wire form.
pub fn split(form: &[u8]) -> (Option<NextHop>, &[u8]) {
    let Some((length, rest)) = form.split_first() else {
        return (None, &[]);
    };
    match length {
        4 => match rest.split_first_chunk::<4>() {
            Some((address, rest)) => (Some(NextHop::V4(Ipv4Addr::from(*address))), rest),
            None => (None, rest),
        },
        16 => match rest.split_first_chunk::<16>() {
            Some((address, rest)) => (Some(NextHop::V6(Ipv6Addr::from(*address))), rest),
            None => (None, rest),
        },
        _ => (None, rest),
    }
}

/// The last advert that was made of an attribute set.
#[derive(Clone, Copy, Default)]
struct Memo {
    /// Of the attribute set and the source: see [`edition`].
    edition: u32,
    advert: AdvertId,
    /// Of the advert: its place is reused for others.
    serial: u32,
}

/// The adverts of one group.
pub(super) struct Adverts {
    /// Place 0 is never given out.
    places: Vec<Advert>,
    free: Vec<u32>,
    unreferenced: Vec<AdvertId>,
    /// Ids by form and source.
    table: HashTable<u32>,
    hasher: RandomState,
    /// By family, shard and index of the attribute set: own routes of both families may share one.
    memo: [Vec<Vec<Memo>>; Family::ALL.len()],
    scratch: Vec<u8>,
    references: u64,
}

impl Default for Adverts {
    fn default() -> Adverts {
        let nothing = Advert {
            form: Form::default(),
            source: SourceId(0),
            references: 0,
            serial: 0,
            hash: 0,
        };
        Adverts {
            places: vec![nothing],
            free: Vec::new(),
            unreferenced: Vec::new(),
            table: HashTable::new(),
            hasher: RandomState::new(),
            memo: Default::default(),
            scratch: Vec::new(),
            references: 0,
        }
    }
}

impl Adverts {
    /// The advert of a path with `attributes` from `source`, or why there is none. What nobody
    /// holds is gone after the next [`Adverts::reap`].
    pub(super) fn intern(
        &mut self,
        view: &ExportView,
        family: Family,
        (id, attributes): (AttributeId, &Attributes<'_>),
        (source, said): (SourceId, PathSource),
    ) -> Result<AdvertId, Refusal> {
        let edition = edition(attributes, said.kind);
        if let Some(advert) = self.remembered(family, id, edition, source) {
            return Ok(advert);
        }
        self.scratch.clear();
        let mut scratch = std::mem::take(&mut self.scratch);
        let exported = export(view, family, said, attributes.bytes, &mut scratch);
        let advert = exported.map(|()| self.advert(&scratch, source));
        self.scratch = scratch;
        let advert = advert?;
        self.memoise(family, id, edition, advert);
        Ok(advert)
    }

    fn remembered(
        &self,
        family: Family,
        id: AttributeId,
        edition: u32,
        source: SourceId,
    ) -> Option<AdvertId> {
        let memos = self.memo[family.index()].get(id.shard().index())?;
        let memo = memos.get(id.index() as usize)?;
        let advert = self.get(memo.advert);
        (memo.advert != AdvertId::NONE
            && memo.edition == edition
            && memo.serial == advert.serial
            && advert.source == source)
            .then_some(memo.advert)
    }

    fn memoise(&mut self, family: Family, id: AttributeId, edition: u32, advert: AdvertId) {
        let serial = self.get(advert).serial;
        let (shard, index) = (id.shard().index(), id.index() as usize);
        let memo = &mut self.memo[family.index()];
        if memo.len() <= shard {
            memo.resize_with(shard + 1, Vec::new);
        }
        let memos = &mut memo[shard];
        if memos.len() <= index {
            memos.resize(index + 1, Memo::default());
        }
        memos[index] = Memo {
            edition,
            advert,
            serial,
        };
    }

    fn advert(&mut self, form: &[u8], source: SourceId) -> AdvertId {
        let hash = self.hasher.hash_one((form, source)) as u32;
        let places = &self.places;
        let same = |place: &u32| {
            let advert = &places[*place as usize];
            advert.source == source && advert.form.octets() == form
        };
        if let Some(place) = self.table.find(spread(hash), same) {
            return AdvertId(*place);
        }
        let place = self.place(Form(form.into()), source, hash);
        let places = &self.places;
        self.table.insert_unique(spread(hash), place, |place| {
            spread(places[*place as usize].hash)
        });
        let id = AdvertId(place);
        self.unreferenced.push(id);
        id
    }

    fn place(&mut self, form: Form, source: SourceId, hash: u32) -> u32 {
        if let Some(place) = self.free.pop() {
            let advert = &mut self.places[place as usize];
            advert.form = form;
            advert.source = source;
            advert.hash = hash;
            return place;
        }
        self.places.push(Advert {
            form,
            source,
            references: 0,
            serial: 0,
            hash,
        });
        u32::try_from(self.places.len() - 1).expect("no more adverts than prefixes, which fit u32")
    }

    /// The advert of an id that is held, or was since the last reap.
    pub(super) fn get(&self, id: AdvertId) -> &Advert {
        &self.places[id.0 as usize]
    }

    /// Counts `more` Adj-RIB-Out entries.
    pub(super) fn hold(&mut self, id: AdvertId, more: u32) {
        self.places[id.0 as usize].references += more;
        self.references += u64::from(more);
    }

    /// Counts one Adj-RIB-Out entry less.
    pub(super) fn release(&mut self, id: AdvertId) {
        let advert = &mut self.places[id.0 as usize];
        advert.references -= 1;
        self.references -= 1;
        if advert.references == 0 {
            self.unreferenced.push(id);
        }
    }

    /// Frees what nobody holds. Only while no open UPDATE is keyed by an id.
    pub(super) fn reap(&mut self) {
        // An id may stand in the list twice: released, held again, released.
        for id in std::mem::take(&mut self.unreferenced) {
            let advert = &self.places[id.0 as usize];
            if advert.references > 0 || advert.form.0.is_empty() {
                continue;
            }
            let hash = spread(advert.hash);
            if let Ok(entry) = self.table.find_entry(hash, |place| *place == id.0) {
                entry.remove();
            }
            let advert = &mut self.places[id.0 as usize];
            advert.form = Form::default();
            advert.serial = advert.serial.wrapping_add(1);
            self.free.push(id.0);
        }
        self.give_back();
    }

    /// Export gives something else from now on.
    pub(super) fn forget(&mut self) {
        self.memo = Default::default();
    }

    /// A table that came and went leaves no room behind.
    fn give_back(&mut self) {
        if self.table.is_empty() && self.places.len() > KEPT_PLACES {
            // Serial numbers begin anew, so what is remembered has to go too.
            *self = Adverts::default();
        }
    }

    /// How many adverts await the next reap, at most.
    pub(super) fn unreferenced(&self) -> usize {
        self.unreferenced.len()
    }

    /// The sum of the counts: how many Adj-RIB-Out entries hold an advert.
    pub(super) fn references(&self) -> u64 {
        self.references
    }
}

/// What may differ where the source and the id of an attribute set are the same: the set, since ids
/// are reused, and the source's being a client (RFC 4456), which changes under its paths.
fn edition(attributes: &Attributes<'_>, kind: SourceKind) -> u32 {
    attributes.generation << 2 | kind as u32
}

/// A hash whose high bits, which the table looks at first, are as good as its low ones.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Places kept although no advert is left.
const KEPT_PLACES: usize = 4096;
