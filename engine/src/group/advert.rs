//! Adverts: the interned pair (exported attributes, source) that an Adj-RIB-Out holds.
//!
//! "Same as sent" compares adverts, never attributes alone: of two neighbors with equal attributes
//! the one that loses the best route must hear of the other's.
//!
//! Hashes of forms are of one key in all groups: members that go from one to another heard what they
//! would be told there where the hashes are alike.
//!
//! A full table has hundreds of thousands of these, so what is exported is not kept: an advert holds
//! a count on the attribute set that it was made of, and is exported anew for each message. Only of
//! sets that other shards own, which this one cannot hold, the exported form itself is kept.
//!
//! Invariants: `references` of an advert is the number of Adj-RIB-Out entries that hold its id. An
//! advert whose count fell to zero stays until [`Adverts::reap`], since an open UPDATE may still be
//! keyed by its id. An advert without `kept` holds one count on `attributes`.

use std::sync::OnceLock;

use ahash::RandomState;
use codec::Family;
use hashbrown::HashTable;
use rib::{AttributeId, Attributes, Guard, Rib, RibWriter, SourceId, SourceKind};

use super::export::export;
use super::form::fits;
use super::heard::Form;
use super::reflect::PathSource;
use super::refusal::Refusal;
use super::view::ExportView;
use crate::policy::NextHopChoice;

/// Index of an advert in its group. [`AdvertId::NONE`] means "not announced".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AdvertId(u32);

impl AdvertId {
    /// Nothing is announced.
    pub const NONE: AdvertId = AdvertId(0);

    pub(super) fn index(self) -> usize {
        self.0 as usize
    }

    #[cfg(test)]
    pub(super) fn numbered(number: u32) -> AdvertId {
        AdvertId(number)
    }
}

/// What one prefix is announced with.
#[derive(Debug)]
pub(super) struct Advert {
    /// Where the path was learned; if that is a member, it never gets the path back.
    pub(super) source: SourceId,
    references: u32,
    /// The exported form, where `attributes` are another shard's.
    kept: Option<Kept>,
    /// No message that everybody can take announces it (RFC 8654).
    pub(super) long: bool,
    /// Of the exported form.
    hash: u64,
    /// What it was made of, the last time.
    attributes: AttributeId,
    edition: u32,
    said: PathSource,
    /// None: the place is free.
    family: Option<Family>,
}

/// Thin, since most adverts have none.
type Kept = Box<Vec<u8>>;

/// The adverts of one group.
pub(super) struct Adverts {
    /// Place 0 is never given out.
    places: Vec<Advert>,
    free: Vec<u32>,
    unreferenced: Vec<AdvertId>,
    /// Ids by the hash of form and source.
    table: HashTable<u32>,
    hasher: RandomState,
    /// The last advert that was made of an attribute set, by family, shard and index: own routes of
    /// both families may share a set.
    memo: [Vec<Vec<AdvertId>>; Family::ALL.len()],
    /// The form of `scratch_of`, and room to compare with it.
    scratch: Vec<u8>,
    scratch_of: AdvertId,
    other: Vec<u8>,
    references: u64,
    /// Counts on attribute sets that nobody here needs any more.
    released: Vec<AttributeId>,
}

/// Where adverts get what they export: the view of their group, and the table under a guard.
#[derive(Clone, Copy)]
pub(super) struct Exporter<'a> {
    pub(super) view: &'a ExportView,
    pub(super) rib: &'a Rib,
    pub(super) guard: &'a Guard,
}

/// What a packer is to announce, and where it gets the form.
#[derive(Clone, Copy)]
pub(super) struct Told<'a> {
    pub(super) adverts: &'a Adverts,
    pub(super) from: Exporter<'a>,
}

impl<'a> Told<'a> {
    pub(super) fn by(
        adverts: &'a Adverts,
        view: &'a ExportView,
        (rib, guard): (&'a Rib, &'a Guard),
    ) -> Told<'a> {
        let from = Exporter { view, rib, guard };
        Told { adverts, from }
    }
}

/// The key of the hashes of forms.
static FORMS: OnceLock<RandomState> = OnceLock::new();

impl Default for Adverts {
    fn default() -> Adverts {
        Adverts {
            places: vec![Advert::free()],
            free: Vec::new(),
            unreferenced: Vec::new(),
            table: HashTable::new(),
            hasher: FORMS.get_or_init(RandomState::new).clone(),
            memo: Default::default(),
            scratch: Vec::new(),
            scratch_of: AdvertId::NONE,
            other: Vec::new(),
            references: 0,
            released: Vec::new(),
        }
    }
}

impl Advert {
    fn free() -> Advert {
        Advert {
            source: SourceId(0),
            references: 0,
            kept: None,
            long: false,
            hash: 0,
            attributes: AttributeId::default(),
            edition: 0,
            said: PathSource {
                kind: SourceKind::Local,
                originator: None,
                next_hop: NextHopChoice::BySettings,
                sets_med: false,
                stale: false,
            },
            family: None,
        }
    }

    /// Of the prefixes; none: the place is free.
    pub(super) fn family(&self) -> Option<Family> {
        self.family
    }

    /// Appends the exported form. False, and nothing is appended: the view no longer tells it.
    fn write(&self, from: Exporter<'_>, out: &mut Vec<u8>) -> bool {
        if let Some(kept) = &self.kept {
            out.extend_from_slice(kept);
            return true;
        }
        let Some(family) = self.family else {
            return false;
        };
        let start = out.len();
        let attributes = from.rib.attributes(self.attributes, from.guard);
        let written = export(from.view, family, self.said, attributes.bytes, out).is_ok();
        if !written {
            out.truncate(start);
        }
        written
    }
}

impl Adverts {
    /// The advert of a path with `attributes` from `source`, or why there is none. What nobody
    /// holds is gone after the next [`Adverts::reap`].
    pub(super) fn intern(
        &mut self,
        writer: &mut RibWriter,
        from: Exporter<'_>,
        family: Family,
        (id, attributes): (AttributeId, &Attributes<'_>),
        (source, said): (SourceId, PathSource),
    ) -> Result<AdvertId, Refusal> {
        let edition = edition(attributes, said);
        if let Some(advert) = self.remembered(family, id, edition, source) {
            return Ok(advert);
        }
        self.scratch.clear();
        self.scratch_of = AdvertId::NONE;
        export(from.view, family, said, attributes.bytes, &mut self.scratch)?;
        let hash = self.hasher.hash_one((&self.scratch, family));
        let advert = match self.find(from, family, hash, source) {
            Some(advert) => advert,
            None => {
                let own = id.shard() == writer.shard();
                if own {
                    writer.hold(id);
                }
                self.insert(Advert {
                    source,
                    references: 0,
                    kept: (!own).then(|| Box::new(self.scratch.clone())),
                    long: !fits(&self.scratch, None, codec::MAX_LEN),
                    hash,
                    attributes: id,
                    edition,
                    said,
                    family: Some(family),
                })
            }
        };
        self.scratch_of = advert;
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
        let memo = *memos.get(id.index() as usize)?;
        let advert = self.get(memo);
        (advert.family == Some(family)
            && advert.attributes == id
            && advert.edition == edition
            && advert.source == source)
            .then_some(memo)
    }

    fn memoise(&mut self, family: Family, id: AttributeId, edition: u32, advert: AdvertId) {
        let place = &mut self.places[advert.0 as usize];
        if place.kept.is_none() && place.attributes != id {
            return;
        }
        // Of a form that is kept it does not matter what it was made of.
        (place.attributes, place.edition) = (id, edition);
        let (shard, index) = (id.shard().index(), id.index() as usize);
        let memo = &mut self.memo[family.index()];
        if memo.len() <= shard {
            memo.resize_with(shard + 1, Vec::new);
        }
        let memos = &mut memo[shard];
        if memos.len() <= index {
            memos.resize(index + 1, AdvertId::NONE);
        }
        memos[index] = advert;
    }

    /// The advert whose form stands in `scratch`.
    fn find(
        &mut self,
        from: Exporter<'_>,
        family: Family,
        hash: u64,
        source: SourceId,
    ) -> Option<AdvertId> {
        let (places, other, scratch) = (&self.places, &mut self.other, &self.scratch);
        let place = self.table.find(key(hash, source), |place| {
            let advert = &places[*place as usize];
            let alike = advert.hash == hash && advert.source == source;
            other.clear();
            alike
                && advert.family == Some(family)
                && advert.write(from, other)
                && *other == *scratch
        })?;
        Some(AdvertId(*place))
    }

    fn insert(&mut self, advert: Advert) -> AdvertId {
        let key_of = key(advert.hash, advert.source);
        let place = match self.free.pop() {
            Some(place) => {
                self.places[place as usize] = advert;
                place
            }
            None => {
                self.places.push(advert);
                u32::try_from(self.places.len() - 1)
                    .expect("no more adverts than prefixes, which fit u32")
            }
        };
        let places = &self.places;
        self.table.insert_unique(key_of, place, |place| {
            let advert = &places[*place as usize];
            key(advert.hash, advert.source)
        });
        let id = AdvertId(place);
        self.unreferenced.push(id);
        id
    }

    /// Appends the form of an advert that is held, or was since the last reap. False, and nothing
    /// is appended: the view no longer tells it.
    pub(super) fn write_form(&self, id: AdvertId, from: Exporter<'_>, out: &mut Vec<u8>) -> bool {
        if id == self.scratch_of {
            out.extend_from_slice(&self.scratch);
            return true;
        }
        self.get(id).write(from, out)
    }

    /// What an advert tells.
    pub(super) fn form(&self, id: AdvertId) -> Form {
        let advert = self.get(id);
        (advert.hash, advert.source)
    }

    /// The same of all ids.
    pub(super) fn forms(&self) -> Vec<Form> {
        let places = self.places.iter();
        places.map(|advert| (advert.hash, advert.source)).collect()
    }

    /// Whether two adverts are told alike, whoever said them.
    pub(super) fn are_alike(&self, one: AdvertId, other: AdvertId) -> bool {
        self.get(one).hash == self.get(other).hash
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
        if self.unreferenced.is_empty() {
            return;
        }
        // An id may stand in the list twice: released, held again, released.
        let mut unreferenced = std::mem::take(&mut self.unreferenced);
        for id in unreferenced.drain(..) {
            let advert = &self.places[id.0 as usize];
            if advert.references > 0 || advert.family.is_none() {
                continue;
            }
            let key = key(advert.hash, advert.source);
            if let Ok(entry) = self.table.find_entry(key, |place| *place == id.0) {
                entry.remove();
            }
            let gone = std::mem::replace(&mut self.places[id.0 as usize], Advert::free());
            if gone.kept.is_none() {
                self.released.push(gone.attributes);
            }
            if self.scratch_of == id {
                self.scratch_of = AdvertId::NONE;
            }
            self.free.push(id.0);
        }
        if unreferenced.capacity() <= KEPT_PLACES {
            self.unreferenced = unreferenced;
        }
        self.give_back();
    }

    /// Export gives something else from now on.
    pub(super) fn forget(&mut self) {
        self.memo = Default::default();
        self.scratch_of = AdvertId::NONE;
    }

    /// A table that came and went leaves no room behind.
    fn give_back(&mut self) {
        if self.table.is_empty() && self.places.len() > KEPT_PLACES {
            *self = Adverts {
                released: std::mem::take(&mut self.released),
                ..Adverts::default()
            };
        }
    }

    /// Counts on attribute sets, to be given back to the table's writer.
    pub(super) fn take_released(&mut self) -> Vec<AttributeId> {
        std::mem::take(&mut self.released)
    }

    /// All counts on attribute sets: the group is no more.
    pub(super) fn into_counts(self) -> Vec<AttributeId> {
        let mut counts = self.released;
        let held = self.places.iter();
        let held = held.filter(|advert| advert.family.is_some() && advert.kept.is_none());
        counts.extend(held.map(|advert| advert.attributes));
        counts
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
/// are reused, the source's being a client (RFC 4456, RFC 7947), which changes under its paths, what
/// policy made of the next hop and the MED, and whether it took LLGR_STALE off.
fn edition(attributes: &Attributes<'_>, said: PathSource) -> u32 {
    let by_policy = (said.next_hop as u32) << 1 | u32::from(said.sets_med);
    let before_policy = u32::from(said.stale);
    attributes.generation << 7 | before_policy << 6 | by_policy << 3 | said.kind as u32
}

fn key(hash: u64, source: SourceId) -> u64 {
    hash ^ u64::from(source.0).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Places kept although no advert is left.
const KEPT_PLACES: usize = 4096;
