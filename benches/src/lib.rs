//! What the programs and benches of this crate share: input that is the same in every run, and the
//! smallest surroundings in which a table, an update group and a shard do what they do in a daemon.
//!
//! Nothing here measures; see `benches/` (criterion, for people), `src/bin/instructions.rs` (exact
//! counts, for CI), `src/bin/shards.rs` (one shard against two) and `src/bin/layout.rs` (a cluster
//! and its reflectors).

pub mod cluster;
pub mod fan_out;
pub mod input;
pub mod policy;
pub mod rig;
pub mod speaker;
pub mod updates;
