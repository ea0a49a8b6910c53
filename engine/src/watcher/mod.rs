//! Resources to desired state to deltas.
//!
//! Here live the sources of resources, the rules that turn resources into sessions and routes,
//! and the thread that does so while the daemon runs. Nothing here knows a session, a shard or a
//! table: what leaves is a list of [`Delta`]s.

mod check;
mod directory;
mod evaluate;
pub mod explain;
mod fault;
mod gateways;
mod guard;
mod host;
mod kernel_routes;
mod knowledge;
pub mod manifest;
mod parts;
mod policies;
mod prefix_set;
pub mod resource;
mod routes;
pub mod selector;
mod store;
#[cfg(test)]
mod tests;
mod unmet;
mod view;
mod watch;

pub use check::{Checked, check};
pub use evaluate::{DEFAULT_INSTANCE, Evaluation, Options, evaluate};
pub use fault::{Fault, Severity};
pub use gateways::Gateways;
pub use host::{Host, HostNetwork, SystemHost};
pub use knowledge::{Knowledge, SharedKnowledge};
pub use policies::{KnownPolicy, neighbors};
pub use store::{Forms, InForce, Store};
pub use watch::{Keep, Watcher};

pub use crate::config::{Delta, DesiredState, InstanceSettings, OriginChange, diff};
