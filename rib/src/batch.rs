//! Paths put in and taken out, many at a time.
//!
//! A window of prefixes goes through each stage together: down the trie level by level, then to the
//! slots, then the edits in the order in which they were given. At the size of the Internet's table
//! each of those is a cache miss, and misses that don't depend on each other overlap. What is read
//! ahead is only read: every edit looks at its slot again, so a prefix may stand in a batch twice.

use std::hint::black_box;

use codec::{Family, IpPrefix, Prefix};
use crossbeam_epoch::Guard;
use smallvec::SmallVec;

use crate::epoch::Pinned;
use crate::ids::{Full, PrefixId, SourceId};
use crate::path::{Path, PathFlags};
use crate::slot::Snapshot;
use crate::table::key_of;
use crate::trie::{Key, WINDOW};
use crate::writer::{RibWriter, Upserted, Withdrawn};

/// Prefixes of one family, and what is to be done with each.
struct Window<T> {
    family: Family,
    keys: SmallVec<[Key; WINDOW]>,
    what: SmallVec<[T; WINDOW]>,
    /// What came in earlier windows.
    before: usize,
}

impl<T: Copy> Window<T> {
    fn new() -> Window<T> {
        Window {
            family: Family::ALL[0],
            keys: SmallVec::new(),
            what: SmallVec::new(),
            before: 0,
        }
    }

    /// Adds what comes next, after `full` has dealt with what there is, if that has to go first.
    #[inline]
    fn add(&mut self, prefix: IpPrefix, what: T, full: impl FnOnce(&Window<T>)) {
        if self.keys.len() == WINDOW || prefix.family() != self.family {
            full(self);
            self.before += self.keys.len();
            self.keys.clear();
            self.what.clear();
            self.family = prefix.family();
        }
        self.keys.push(key_of(prefix));
        self.what.push(what);
    }
}

impl RibWriter {
    /// Adds each path, or replaces the one of the same source and path id, in order. Each slot
    /// takes a count of its own on the attributes. `each` is told what became of each path, by its
    /// place. Panics if the attributes or the source of a path are not this shard's.
    pub fn upsert_all(
        &mut self,
        paths: impl IntoIterator<Item = (IpPrefix, Path)>,
        mut each: impl FnMut(usize, Result<Upserted, Full>),
    ) {
        let guard = self.rib().guard();
        let mut window = Window::new();
        for (prefix, path) in paths {
            window.add(prefix, path, |full| {
                self.upsert_window(full, &guard, &mut each);
            });
        }
        self.upsert_window(&window, &guard, &mut each);
        self.bound_released(&guard);
    }

    /// As [`RibWriter::upsert_all`], for one path.
    pub fn upsert<P: Prefix>(&mut self, prefix: P, path: Path) -> Result<Upserted, Full> {
        let mut result = Err(Full::Prefixes);
        self.upsert_all([(prefix.erase(), path)], |_, upserted| result = upserted);
        result
    }

    /// Takes out the path of each prefix and path id that is of this source, in order. `each` is
    /// told what became of each, by its place; `None`: there was no such path.
    pub fn withdraw_all(
        &mut self,
        source: SourceId,
        paths: impl IntoIterator<Item = (IpPrefix, u32)>,
        mut each: impl FnMut(usize, Option<Withdrawn>),
    ) {
        self.assert_own_source(source);
        let guard = self.rib().guard();
        let mut window = Window::new();
        for (prefix, path_id) in paths {
            window.add(prefix, path_id, |full| {
                self.withdraw_window(full, source, &guard, &mut each);
            });
        }
        self.withdraw_window(&window, source, &guard, &mut each);
        self.bound_released(&guard);
    }

    /// As [`RibWriter::withdraw_all`], for one path.
    pub fn withdraw<P: Prefix>(
        &mut self,
        prefix: P,
        source: SourceId,
        path_id: u32,
    ) -> Option<Withdrawn> {
        let mut result = None;
        self.withdraw_all(source, [(prefix.erase(), path_id)], |_, withdrawn| {
            result = withdrawn;
        });
        result
    }

    /// Takes out all paths of this source to these prefixes, as when its session ends. `each` is
    /// told of those that there were.
    pub fn withdraw_ids(
        &mut self,
        family: Family,
        ids: &[PrefixId],
        source: SourceId,
        mut each: impl FnMut(Withdrawn),
    ) {
        self.assert_own_source(source);
        let guard = self.rib().guard();
        let pinned = self.rib().pinned(&guard);
        self.of_each(family, ids, pinned, |writer, id| {
            if let Some(withdrawn) = writer.take(family, id, source, None, pinned) {
                each(withdrawn);
            }
        });
        self.bound_released(&guard);
    }

    /// As [`RibWriter::withdraw_ids`], but only the paths that have all of `flags`.
    pub fn withdraw_flagged(
        &mut self,
        family: Family,
        ids: &[PrefixId],
        (source, flags): (SourceId, PathFlags),
        mut each: impl FnMut(Withdrawn),
    ) {
        self.assert_own_source(source);
        let guard = self.rib().guard();
        let pinned = self.rib().pinned(&guard);
        self.of_each(family, ids, pinned, |writer, id| {
            if let Some(withdrawn) = writer.take_flagged(family, id, (source, flags), pinned) {
                each(withdrawn);
            }
        });
        self.bound_released(&guard);
    }

    /// Sets flags on all paths of this source to these prefixes. Selection and export must not read
    /// the flags: no mark follows.
    pub fn flag_ids(
        &mut self,
        family: Family,
        ids: &[PrefixId],
        source: SourceId,
        flags: PathFlags,
    ) {
        self.assert_own_source(source);
        let guard = self.rib().guard();
        let pinned = self.rib().pinned(&guard);
        self.of_each(family, ids, pinned, |writer, id| {
            writer.flag(family, id, source, flags, pinned);
        });
    }

    /// Visits each id, reading ahead what the visit will read.
    fn of_each(
        &mut self,
        family: Family,
        ids: &[PrefixId],
        pinned: Pinned<'_>,
        mut visit: impl FnMut(&mut RibWriter, PrefixId),
    ) {
        for ids in ids.chunks(WINDOW) {
            self.read_ahead(family, ids.iter().map(|id| id.0), pinned);
            for id in ids {
                visit(self, *id);
            }
        }
    }

    /// As [`RibWriter::withdraw_ids`], for one prefix.
    pub fn withdraw_id(
        &mut self,
        family: Family,
        id: PrefixId,
        source: SourceId,
    ) -> Option<Withdrawn> {
        let mut result = None;
        self.withdraw_ids(family, &[id], source, |withdrawn| result = Some(withdrawn));
        result
    }

    fn upsert_window(
        &mut self,
        window: &Window<Path>,
        guard: &Guard,
        each: &mut impl FnMut(usize, Result<Upserted, Full>),
    ) {
        let family = window.family;
        let pinned = self.rib().pinned(guard);
        let table = self.rib().table(family);
        let places = table.find_all(&window.keys, pinned);
        self.read_ahead(family, places.iter().filter_map(|place| place.id), pinned);
        let lanes = window.keys.iter().zip(places).zip(&window.what);
        for (at, ((key, place), path)) in lanes.enumerate() {
            self.assert_own(path.attributes);
            self.assert_own_source(path.source);
            let upserted = self.put(family, *key, place, *path, pinned);
            each(window.before + at, upserted);
        }
    }

    fn withdraw_window(
        &mut self,
        window: &Window<u32>,
        source: SourceId,
        guard: &Guard,
        each: &mut impl FnMut(usize, Option<Withdrawn>),
    ) {
        let family = window.family;
        let pinned = self.rib().pinned(guard);
        let table = self.rib().table(family);
        let places = table.find_all(&window.keys, pinned);
        self.read_ahead(family, places.iter().filter_map(|place| place.id), pinned);
        for (at, (place, path_id)) in places.iter().zip(&window.what).enumerate() {
            let id = place.id.map(PrefixId);
            let withdrawn = id.and_then(|id| self.take(family, id, source, Some(*path_id), pinned));
            each(window.before + at, withdrawn);
        }
    }

    /// Reads what edits of these ids, at most a window of them, will read.
    fn read_ahead(&self, family: Family, ids: impl Iterator<Item = u32>, pinned: Pinned<'_>) {
        let table = self.rib().table(family);
        let slots = ids.filter_map(|id| table.slot(id));
        let snapshots: SmallVec<[Snapshot<'_>; WINDOW]> =
            slots.map(|slot| slot.load(pinned)).collect();
        let mut read = 0;
        for snapshot in snapshots {
            match snapshot.only() {
                // Its count will be taken off.
                Some(path) => read ^= self.interner().count(path.attributes),
                // What comes and goes will be compared with it.
                None => {
                    let best = snapshot.best();
                    let set =
                        best.and_then(|best| self.rib().attributes.get(best.attributes, pinned));
                    read ^= set.map_or(0, |set| set.summary.local_pref);
                }
            }
        }
        black_box(read);
    }
}
