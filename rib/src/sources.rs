//! The table of sources: who paths are learned from, readable by every shard.
//!
//! Invariants: an entry is written only by the writer that owns the source, and while the source
//! has paths only in what selection does not read; `revision` changes before anybody can see a path under the new entry. A
//! number that was given back keeps its last entry until it is given out anew.

use std::net::Ipv4Addr;

use crate::peer_address::PeerAddress;

use crate::cell::EpochCell;
use crate::epoch::Pinned;
use crate::ids::SourceId;
use crate::segments::Segments;
use crate::sync::{AtomicU8, AtomicU32, AtomicU64, Ordering};

/// What kind of neighbor a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SourceKind {
    /// This speaker itself.
    Local,
    /// An eBGP peer.
    External,
    /// An iBGP peer.
    Internal,
    /// An iBGP peer that this speaker reflects routes for and to (RFC 4456). Selection makes no
    /// difference between it and any other iBGP peer; export does.
    Client,
    /// An eBGP peer that this speaker is a route server for (RFC 7947). Selection makes no
    /// difference between it and any other eBGP peer; export does.
    Served,
}

impl SourceKind {
    const ALL: [SourceKind; 5] = [
        SourceKind::Local,
        SourceKind::External,
        SourceKind::Internal,
        SourceKind::Client,
        SourceKind::Served,
    ];

    /// Whether it is a neighbor of another AS.
    pub fn is_external(self) -> bool {
        matches!(self, SourceKind::External | SourceKind::Served)
    }
}

/// What selection and export must know of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SourceInfo {
    /// Local, eBGP or iBGP.
    pub kind: SourceKind,
    /// The peer's AS; the speaker's own for a local source.
    pub asn: u32,
    /// The peer's BGP identifier.
    pub router_id: Ipv4Addr,
    /// The peer's address; `None` for a local source.
    pub address: Option<PeerAddress>,
}

impl SourceInfo {
    /// Whether selection could not tell the two apart.
    pub fn selects_like(&self, other: &SourceInfo) -> bool {
        let plain = |info: &SourceInfo| SourceInfo {
            kind: match info.kind {
                SourceKind::Client => SourceKind::Internal,
                SourceKind::Served => SourceKind::External,
                kind => kind,
            },
            ..*info
        };
        plain(self) == plain(other)
    }
}

pub(crate) struct Sources {
    entries: Segments<EpochCell<SourceInfo>>,
    /// The kind of each, plus one, where it was ever set: for readers who need no more.
    kinds: Segments<AtomicU8>,
    claimed: AtomicU32,
    revision: AtomicU64,
}

impl Sources {
    pub(crate) fn new() -> Sources {
        Sources {
            entries: Segments::new(),
            kinds: Segments::new(),
            claimed: AtomicU32::new(0),
            revision: AtomicU64::new(0),
        }
    }

    /// A number that was never given out. Panics past [`SourceId::LIMIT`].
    pub(crate) fn claim(&self) -> SourceId {
        let id = self.claimed.fetch_add(1, Ordering::Relaxed);
        assert!(id < SourceId::LIMIT, "no source numbers are left");
        SourceId(id)
    }

    pub(crate) fn set(&self, id: SourceId, info: SourceInfo, pinned: Pinned<'_>) {
        self.entries.grow(id.0).store(Box::new(info), pinned);
        // Relaxed: published by the slot that names the source.
        let kind = self.kinds.grow(id.0);
        kind.store(info.kind as u8 + 1, Ordering::Relaxed);
        // Release, so that whoever sees the new revision sees the entry. Before the owner's next
        // path of this source, so that whoever sees that path sees the new revision.
        self.revision.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn get<'g>(&self, id: SourceId, pinned: Pinned<'g>) -> Option<&'g SourceInfo> {
        self.entries.get(id.0)?.load(pinned)
    }

    /// The kind of a source that a path was read of.
    #[inline]
    pub(crate) fn kind(&self, id: SourceId) -> Option<SourceKind> {
        let kind = self.kinds.get(id.0)?.load(Ordering::Relaxed);
        let place = usize::from(kind).wrapping_sub(1);
        SourceKind::ALL.get(place).copied()
    }

    /// Changes with every [`Sources::set`].
    pub(crate) fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// Numbers given out so far.
    pub(crate) fn limit(&self) -> u32 {
        self.claimed.load(Ordering::Relaxed)
    }
}
