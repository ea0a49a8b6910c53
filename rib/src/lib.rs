//! The routing table of one BGP instance, shared by every shard without a lock.
//!
//! Start at [`Rib`] (what anyone may read) and [`RibWriter`] (what one shard may change). Below
//! them: a prefix trie per family gives each prefix a dense id; a slot per id holds the paths and
//! the best of them in one atomic word; attributes are interned by their canonical bytes, each
//! shard for its own peers; dirty marks tell each shard which ids have a new best path.
//!
//! Knows no sockets, no clock, no sessions, no update groups and no Kubernetes. The invariants of
//! each structure are stated at the head of its file, the reasons and the measurements in
//! `rib/DESIGN.md`. `unsafe` is confined to the modules marked so below; everything else denies it.
#![deny(unsafe_code)]

mod attributes;
mod audit;
mod batch;
mod best;
#[allow(unsafe_code)]
mod cell;
mod change;
mod dirty;
mod edit;
mod epoch;
mod free;
mod id_set;
mod ids;
#[allow(unsafe_code)]
mod inbox;
mod interner;
mod memory;
#[cfg(all(test, loom))]
mod models;
mod path;
mod peer_address;
mod reclaim;
mod rib;
#[allow(unsafe_code)]
mod segments;
#[allow(unsafe_code)]
mod slot;
mod sources;
mod summary;
mod sync;
mod table;
mod trie;
mod writer;

pub use crossbeam_epoch::{Collector, Guard};

pub use attributes::Attributes;
pub use best::{Candidate, Selection, select, select_from};
pub use change::OpenChange;
pub use id_set::IdSet;
pub use ids::{AttributeId, Full, PrefixId, ShardId, ShardMask, SourceId};
pub use memory::Memory;
pub use path::{PATHS_OF_SOURCE_MAX, Path, PathFlags, Paths};
pub use peer_address::{NoPeerAddress, PeerAddress};
pub use reclaim::IdCounts;
pub use rib::{Best, Rib, RibOptions};
pub use sources::{SourceInfo, SourceKind};
pub use summary::{LLGR_STALE, Summary};
pub use writer::{RibWriter, Upserted, Withdrawn};
