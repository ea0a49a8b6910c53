//! Resources to desired state to deltas.
//!
//! Here live the sources of resources, the rules that turn resources into sessions and routes,
//! and the thread that does so while the daemon runs. Nothing here knows a session, a shard or a
//! table: what leaves is a list of [`Delta`]s.

mod fault;
pub mod manifest;
pub mod resource;
pub mod selector;

pub use fault::{Fault, Severity};

pub use crate::config::{Delta, DesiredState, InstanceSettings, OriginChange, diff};
