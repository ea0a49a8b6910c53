//! The engine of ringbgp: sessions, shards, rings, the watcher and the admin interface.
//!
//! ```text
//!   watcher (1x) ──deltas──▶ dispatcher (on its thread)
//!                                │ crossbeam, one command a shard and change
//!                ┌───────────────┼───────────────┐
//!                ▼               ▼               ▼
//!             shard 0         shard 1    …    shard N      (ring: io_uring or epoll, 1x each)
//!                ▲  └──marks──▶  ▲  └──marks──▶  ▲          through the rib they share
//!                │ accepted sockets, questions   │
//!                └──────── control (1x) ─────────┘         accept, admin socket, signals
//! ```
//!
//! Start at [`shard`] (a turn of a core), then [`group`] (telling peers) and [`session`] (the finite
//! state machine). `ARCHITECTURE.md` says what must stay true and where to add a thing.

pub mod admin;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod demo;
pub mod group;
pub mod interfaces;
#[cfg(test)]
mod log_of;
pub mod model;
pub mod node;
pub mod policy;
mod random;
pub mod ring;
pub mod rpki;
pub mod session;
pub mod shard;
pub mod simulator;
pub mod state;
pub mod time;
pub mod watcher;
