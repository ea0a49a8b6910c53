//! What the running daemon tells and is told: values with stable JSON names, a server on a Unix
//! socket and its client.
//!
//! Here live the model, its carriage over HTTP and its rendering for people. Nothing here decides
//! about routes or sessions: the answers come from the engine through one small trait.

pub mod api;
pub mod model;
