//! The engine of ringbgp: sessions, shards, rings, the watcher and the admin interface.

pub mod admin;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod demo;
pub mod group;
pub mod interfaces;
pub mod model;
pub mod node;
mod random;
pub mod ring;
pub mod session;
pub mod shard;
pub mod simulator;
pub mod time;
pub mod watcher;
