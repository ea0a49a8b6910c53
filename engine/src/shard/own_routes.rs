//! Own routes: how they come into an instance's table and leave it, and that what peers say of their
//! prefixes is judged anew for it.
//!
//! Invariant: the table says that there may be own routes of a family before the first of a shard is in it
//! and until the last of it is out.

use std::sync::Arc;

use codec::{Family, FamilySet};
use rib::{AttributeId, IdSet, OpenChange, Path, PathFlags};

use super::instance::{Instance, QUANTUM};
use crate::config::{OriginAttributes, OriginChange};
use crate::group::origin_rules;

/// Changes of own routes, as far as they are carried out.
pub(super) struct Origination {
    changes: Box<[OriginChange]>,
    done: usize,
    /// Other shards have a share of the same change.
    open: Option<OpenChange>,
}

impl Instance {
    /// Queues changes of own routes.
    pub(super) fn originate(&mut self, changes: Box<[OriginChange]>, open: Option<OpenChange>) {
        self.originations.push_back(Origination {
            changes,
            done: 0,
            open,
        });
    }

    /// One bounded piece of what is queued.
    pub(super) fn run_originations(&mut self) {
        let mut budget = QUANTUM;
        while budget > 0
            && let Some(mut origination) = self.originations.pop_front()
        {
            let begin = origination.done;
            let end = origination.changes.len().min(begin + budget);
            budget -= end - begin;
            self.originate_some(&origination.changes[begin..end]);
            if end < origination.changes.len() {
                origination.done = end;
                self.originations.push_front(origination);
            } else {
                self.settled.extend(origination.open);
            }
        }
    }

    fn originate_some(&mut self, changes: &[OriginChange]) {
        // Routes of one change mostly share their attributes: intern them once.
        let mut last: Option<(Arc<OriginAttributes>, AttributeId)> = None;
        let mut full = false;
        for change in changes {
            let Some(attributes) = &change.attributes else {
                let own = &mut self.own[change.prefix.family().index()];
                let mut gone = false;
                self.writer
                    .withdraw_all(self.local, [(change.prefix, 0)], |_, withdrawn| {
                        gone = withdrawn.is_some();
                    });
                *own -= usize::from(gone);
                if gone && *own == 0 {
                    self.writer.set_originating(change.prefix.family(), false);
                }
                continue;
            };
            let id = match &last {
                Some((known, id)) if Arc::ptr_eq(known, attributes) || known == attributes => *id,
                _ => {
                    if let Some((_, id)) = last.take() {
                        self.writer.release(id);
                    }
                    let Ok(id) = self.writer.intern(&attributes.canonical()) else {
                        self.refuse("attribute sets");
                        continue;
                    };
                    last = Some((Arc::clone(attributes), id));
                    id
                }
            };
            let family = change.prefix.family();
            if self.own[family.index()] == 0 {
                self.writer.set_originating(family, true);
            }
            let path = Path {
                attributes: id,
                source: self.local,
                path_id: 0,
                flags: PathFlags::LOCAL.with(PathFlags::of_rules(origin_rules(change.kinds))),
            };
            self.writer
                .upsert_all([(change.prefix, path)], |_, upserted| {
                    full |= upserted.is_err();
                    let is_new = upserted.is_ok_and(|upserted| upserted.new_path);
                    self.own[family.index()] += usize::from(is_new);
                });
            if self.own[family.index()] == 0 {
                self.writer.set_originating(family, false);
            }
            if std::mem::take(&mut full) {
                self.refuse("prefixes or paths");
            }
        }
        if let Some((_, id)) = last {
            self.writer.release(id);
        }
    }

    /// The families of which there are own routes.
    pub(super) fn own_families(&self) -> FamilySet {
        let rib = self.writer.rib();
        let families = Family::ALL.into_iter();
        families.filter(|family| rib.has_own(*family)).collect()
    }

    /// Where an own route came or went, what peers say of the prefix is judged anew.
    pub(super) fn note_own_changes(&mut self) {
        // The last own route may be gone whose echoes are here.
        if self.own_families().is_empty() && self.echoes.iter().all(IdSet::is_empty) {
            return;
        }
        let rib = self.writer.rib();
        let guard = rib.guard();
        for (family, id) in &self.dirty {
            let paths = rib.paths(*family, *id, &guard);
            let is_own = paths
                .best()
                .is_some_and(|best| best.flags.contains(PathFlags::LOCAL));
            let changed = match is_own {
                true => paths
                    .iter()
                    .any(|path| !path.flags.contains(PathFlags::LOCAL)),
                false => self.echoes[family.index()].remove(*id),
            };
            if changed {
                self.own_changed.push((*family, *id));
            }
        }
    }
}
