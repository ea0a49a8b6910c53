//! The only place with sockets: what moves bytes, time and commands between the world and a shard.
//!
//! One thread drives one [`Core`] (a shard). The loop (`drive`) and the life of a connection
//! (`connection`) are written once; beneath them stand two small sets of verbs, on io_uring
//! (`uring`) and on epoll (`epoll`), so that the twins differ in nothing else. `control` accepts
//! connections and hands them out, `rtr` speaks to caches of the RPKI, `socket` knows the options, `probe` says which twin can run.
//!
//! Nothing here knows a BGP message, a timer's meaning or a route. Invariants: an operation that
//! was handed to the kernel is always awaited; at most one operation is in flight a direction of a
//! connection; a connection on which nothing arrives owns no receive buffer; between two bounded
//! quanta of work the thread parks, which is when the ring is submitted.

mod connection;
mod control;
mod core;
mod cpus;
mod drive;
mod epoll;
mod inbox;
mod io;
mod limits;
mod port_owner;
mod probe;
mod rtr;
mod socket;
mod strangers;
#[cfg(test)]
mod tests;
mod thread;
mod uring;

pub use control::{
    Directory, Followed, Handover, ListenFailure, ListenFailures, ListenPlan, ListenerPlan,
    listen_as_planned,
};
pub use core::{Action, ConnectTarget, ConnectionId, Core, ShardMask, SocketOptions};
pub use cpus::{default_shards, usable as usable_cpus};
pub use inbox::{Inbox, InboxFull, InboxSender, Message, inbox};
pub use limits::raise_descriptor_limit;
pub use probe::{IoDriver, IoMode, Unavailable, choose};
pub use rtr::{Publish, RtrClients};
pub use socket::{PasswordUnusable, listen, set_password};
pub use thread::{ShardStart, ShardThread, spawn_shard};
