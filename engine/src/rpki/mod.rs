//! Origin validation: what caches of the RPKI say (RTR, RFC 8210), and what follows for a route
//! (RFC 6811).
//!
//! No I/O, no clock: [`Caches`] speaks to the caches of one instance, bytes and timers in, bytes and
//! dials out, and hands over a [`VrpTable`] whenever what is valid has changed. Nothing here refuses a
//! route: a state is a state, and what follows from it is a policy's.
//!
//! Invariants: a table in use is whole, what one cache said between two Ends of Data; it is replaced
//! in one step; what a cache says wrongly ends its connection and changes no table. Without data
//! every route is NotFound.

mod cache;
mod caches;
mod error;
mod origin;
mod pdu;
mod table;
mod talk;

pub use caches::{Action, Caches, ConnectionId, Publication};
pub use origin::route_origin;
pub use table::{Changed, Vrp, VrpTable};

#[cfg(test)]
mod tests;
