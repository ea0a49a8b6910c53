//! Changes of one peer's paths, collected while its octets are read and put into the table many at
//! a time: down a large table each change is a row of cache misses, and those of many overlap.
//!
//! Invariants: at most one of the two lists holds anything, so changes stay in their order; both
//! are empty whenever another peer is read or the session of this one changes. Each of `attributes`
//! is a count that is given back once the paths have their own.

use codec::IpPrefix;
use rib::{AttributeId, Path};

use super::instance::Instance;
use super::peer::Established;

/// Changes that are collected before they are made without being asked for.
const ARRIVALS_MAX: usize = 512;

/// What a peer said and is not in the table yet.
#[derive(Default)]
pub(super) struct Arrivals {
    announced: Vec<(IpPrefix, Path)>,
    attributes: Vec<AttributeId>,
    withdrawn: Vec<(IpPrefix, u32)>,
}

impl Arrivals {
    /// Takes over one count on attributes of paths that are announced.
    pub(super) fn keep(&mut self, attributes: AttributeId) {
        self.attributes.push(attributes);
    }

    /// Adds paths whose attributes are kept. Only after [`Instance::begin_announcements`].
    pub(super) fn announce(&mut self, paths: impl IntoIterator<Item = (IpPrefix, Path)>) {
        self.announced.extend(paths);
    }

    /// How many were added.
    pub(super) fn announced(&self) -> usize {
        self.announced.len()
    }
}

impl Instance {
    /// The peer withdraws a path.
    pub(super) fn take_withdrawal(
        &mut self,
        established: &mut Established,
        prefix: IpPrefix,
        path_id: u32,
    ) {
        if !self.arrivals.announced.is_empty() || self.arrivals.withdrawn.len() >= ARRIVALS_MAX {
            self.settle_arrivals(established);
        }
        self.arrivals.withdrawn.push((prefix, path_id));
    }

    /// The peer announces paths with `attributes`, of which the caller hands over one count: the
    /// paths are added from here on.
    pub(super) fn begin_announcements(
        &mut self,
        established: &mut Established,
        attributes: AttributeId,
    ) {
        if !self.arrivals.withdrawn.is_empty() || self.arrivals.announced.len() >= ARRIVALS_MAX {
            self.settle_arrivals(established);
        }
        self.arrivals.keep(attributes);
    }

    /// Puts what was collected into the table.
    pub(super) fn settle_arrivals(&mut self, established: &mut Established) {
        if !self.arrivals.withdrawn.is_empty() {
            self.settle_withdrawn(established);
        }
        self.settle_announced(established, true);
    }

    /// Puts paths into the table that were judged anew: the peer did not say them again.
    pub(super) fn settle_judged(&mut self, established: &mut Established) {
        self.settle_announced(established, false);
    }

    fn settle_withdrawn(&mut self, established: &mut Established) {
        let withdrawn = &self.arrivals.withdrawn;
        let source = established.source;
        self.writer
            .withdraw_all(source, withdrawn.iter().copied(), |at, gone| {
                let Some(gone) = gone else {
                    return;
                };
                let family = withdrawn[at].0.family().index();
                if gone.last_of_source {
                    established.adj_rib_in[family].remove(gone.id);
                    established.rejected[family].remove(gone.id);
                    established.is_said(withdrawn[at].0.family(), gone.id);
                } else if !gone.usable_of_source {
                    established.rejected[family].insert(gone.id);
                }
            });
        self.arrivals.withdrawn.clear();
    }

    fn settle_announced(&mut self, established: &mut Established, said: bool) {
        if !self.arrivals.announced.is_empty() {
            self.put_announced(established, said);
        }
        for attributes in self.arrivals.attributes.drain(..) {
            self.writer.release(attributes);
        }
    }

    fn put_announced(&mut self, established: &mut Established, said: bool) {
        let announced = std::mem::take(&mut self.arrivals.announced);
        if said {
            self.end_teardowns(established.source, &announced);
        }
        let mut refused = 0;
        // Of several paths to a prefix (RFC 7911) the others may still be stale: what has become of
        // each is in its mark.
        let several = established.negotiated.wire.add_path_receive;
        self.writer
            .upsert_all(announced.iter().copied(), |at, upserted| {
                let Ok(upserted) = upserted else {
                    refused += 1;
                    return;
                };
                let family = announced[at].0.family().index();
                established.adj_rib_in[family].insert(upserted.id);
                let rejected = &mut established.rejected[family];
                if !upserted.usable_of_source {
                    rejected.insert(upserted.id);
                } else if !rejected.is_empty() {
                    rejected.remove(upserted.id);
                }
                if said && several.contains(announced[at].0.family()) {
                    established.is_said_in_part(announced[at].0.family(), upserted.id);
                } else if said {
                    established.is_said(announced[at].0.family(), upserted.id);
                }
            });
        for _ in 0..refused {
            self.refuse("prefixes, or for more paths to one prefix from one peer");
        }
        // The room that it takes is kept for what comes next.
        self.arrivals.announced = announced;
        self.arrivals.announced.clear();
    }
}
