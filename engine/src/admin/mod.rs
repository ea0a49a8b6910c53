//! What the running daemon tells and is told: values with stable JSON names, a server on a Unix
//! socket and its client.
//!
//! Here live the model, its carriage over HTTP and its rendering for people. Nothing here decides
//! about routes or sessions: the answers come from the engine through one small trait,
//! [`api::EngineApi`].
//!
//! Every call is `POST /v1/NAME` with the query as JSON; `curl --unix-socket` is a client too.

pub mod api;
pub mod client;
pub use crate::model;
pub mod render;
pub mod server;
pub mod socket;

/// Where the daemon listens for its commands if nothing else is said.
pub const DEFAULT_SOCKET: &str = "/run/ringbgp/ringbgp.sock";
