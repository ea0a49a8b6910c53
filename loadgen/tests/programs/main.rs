//! The program as people run it: against itself, against the null relay, and against routers by
//! others that are on the machine.

mod replay;
mod routers;
mod scenarios;
mod sink_and_blast;
mod support;
