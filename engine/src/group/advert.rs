//! Adverts: the interned pair (exported attributes, source peer) that an Adj-RIB-Out holds.
//!
//! "Same as sent" compares adverts, never attributes alone: of two neighbors with equal attributes
//! the one that loses the best route must hear of the other's. Exported forms are memoised per
//! (attribute id, generation) for as long as an advert holds them, so export runs once per
//! attribute set and view.
//!
//! Invariant: `references` of an advert is the number of Adj-RIB-Out entries that hold its id.
//! An advert whose count fell to zero stays until [`Adverts::reap`], since an open UPDATE may
//! still be keyed by its id.

use std::collections::VecDeque;
use std::sync::Arc;

use ahash::AHashMap;
use codec::Family;
use rib::{AttributeId, Attributes, SourceId};

use super::export::{Exported, Refusal, export};
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
#[derive(Clone, Debug)]
pub struct Advert {
    /// Shared by all adverts with these attributes.
    pub exported: Arc<Exported>,
    /// The member that the path was learned from, which never gets it back; none: no member.
    pub source: Option<SourceId>,
    form: FormId,
    references: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct FormId(u32);

/// An exported form that at least one advert holds.
struct Form {
    exported: Arc<Exported>,
    adverts: u32,
    memo_keys: VecDeque<MemoKey>,
}

/// An attribute set, told apart from others that had its id before, as sources that are alike said
/// it.
type MemoKey = (Family, AttributeId, u32, PathSource);

/// Many attribute sets may export alike (MEDs that are not sent, say); past this many the oldest
/// key is forgotten, so that the memo does not grow with churn.
const MEMO_KEYS_PER_FORM_MAX: usize = 256;

/// The adverts of one group.
#[derive(Default)]
pub(super) struct Adverts {
    adverts: Slots<Advert>,
    forms: Slots<Form>,
    unreferenced: Vec<AdvertId>,
    by_form: AHashMap<(FormId, Option<SourceId>), AdvertId>,
    by_bytes: AHashMap<Arc<Exported>, FormId>,
    memo: AHashMap<MemoKey, FormId>,
}

impl Adverts {
    /// The advert of a path with `attributes`, or why there is none. `member` is the one that the
    /// path came from. What nobody holds is gone after the next [`Adverts::reap`].
    pub(super) fn intern(
        &mut self,
        view: &ExportView,
        family: Family,
        (id, attributes): (AttributeId, &Attributes<'_>),
        source: PathSource,
        member: Option<SourceId>,
    ) -> Result<AdvertId, Refusal> {
        let key = (family, id, attributes.generation, source);
        let form = match self.memo.get(&key) {
            Some(form) => *form,
            None => {
                let form = self.form(export(view, family, source, attributes.bytes)?);
                self.memoise(key, form);
                form
            }
        };
        Ok(self.advert(form, member))
    }

    fn form(&mut self, exported: Exported) -> FormId {
        if let Some(form) = self.by_bytes.get(&exported) {
            return *form;
        }
        let exported = Arc::new(exported);
        let form = FormId(self.forms.insert(Form {
            exported: Arc::clone(&exported),
            adverts: 0,
            memo_keys: VecDeque::new(),
        }));
        self.by_bytes.insert(exported, form);
        form
    }

    fn memoise(&mut self, key: MemoKey, form: FormId) {
        let memo_keys = &mut self.forms.get_mut(form.0).memo_keys;
        memo_keys.push_back(key);
        if memo_keys.len() > MEMO_KEYS_PER_FORM_MAX
            && let Some(oldest) = memo_keys.pop_front()
        {
            self.memo.remove(&oldest);
        }
        self.memo.insert(key, form);
    }

    fn advert(&mut self, form: FormId, source: Option<SourceId>) -> AdvertId {
        if let Some(id) = self.by_form.get(&(form, source)) {
            return *id;
        }
        let id = AdvertId(self.adverts.insert(Advert {
            exported: Arc::clone(&self.forms.get(form.0).exported),
            source,
            form,
            references: 0,
        }));
        self.by_form.insert((form, source), id);
        self.forms.get_mut(form.0).adverts += 1;
        self.unreferenced.push(id);
        id
    }

    /// The advert of an id that is held, or was since the last reap.
    pub(super) fn get(&self, id: AdvertId) -> &Advert {
        self.adverts.get(id.0)
    }

    /// Counts one more Adj-RIB-Out entry.
    pub(super) fn hold(&mut self, id: AdvertId) {
        self.adverts.get_mut(id.0).references += 1;
    }

    /// Counts one Adj-RIB-Out entry less.
    pub(super) fn release(&mut self, id: AdvertId) {
        let advert = self.adverts.get_mut(id.0);
        advert.references -= 1;
        if advert.references == 0 {
            self.unreferenced.push(id);
        }
    }

    /// Frees what nobody holds. Only while no open UPDATE is keyed by an id.
    pub(super) fn reap(&mut self) {
        // An id may stand in the list twice: released, held again, released.
        for id in std::mem::take(&mut self.unreferenced) {
            let dead = self
                .adverts
                .try_get(id.0)
                .is_some_and(|a| a.references == 0);
            if dead {
                let advert = self.adverts.remove(id.0);
                self.by_form.remove(&(advert.form, advert.source));
                self.drop_form_reference(advert.form);
            }
        }
    }

    fn drop_form_reference(&mut self, form: FormId) {
        let entry = self.forms.get_mut(form.0);
        entry.adverts -= 1;
        if entry.adverts == 0 {
            let form = self.forms.remove(form.0);
            for key in &form.memo_keys {
                self.memo.remove(key);
            }
            self.by_bytes.remove(&form.exported);
        }
    }

    /// How many adverts await the next reap, at most.
    pub(super) fn unreferenced(&self) -> usize {
        self.unreferenced.len()
    }

    /// The sum of the counts: how many Adj-RIB-Out entries hold an advert.
    pub(super) fn references(&self) -> u64 {
        self.adverts.iter().map(|a| u64::from(a.references)).sum()
    }
}

/// A vector with reusable places. Place 0 is never given out.
struct Slots<T> {
    places: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slots<T> {
    fn default() -> Slots<T> {
        Slots {
            places: vec![None],
            free: Vec::new(),
        }
    }
}

impl<T> Slots<T> {
    fn insert(&mut self, value: T) -> u32 {
        if let Some(place) = self.free.pop() {
            self.places[place as usize] = Some(value);
            return place;
        }
        self.places.push(Some(value));
        u32::try_from(self.places.len() - 1).expect("no more values than prefixes, which fit u32")
    }

    fn remove(&mut self, place: u32) -> T {
        let value = self.places[place as usize].take();
        self.free.push(place);
        value.expect("only held places are removed")
    }

    fn try_get(&self, place: u32) -> Option<&T> {
        self.places[place as usize].as_ref()
    }

    fn get(&self, place: u32) -> &T {
        self.try_get(place).expect("only held places are read")
    }

    fn get_mut(&mut self, place: u32) -> &mut T {
        let value = self.places[place as usize].as_mut();
        value.expect("only held places are read")
    }

    fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().flatten()
    }
}
