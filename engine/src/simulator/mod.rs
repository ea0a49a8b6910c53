//! The simulator: shards, sessions, groups and table on a virtual clock and a virtual network,
//! from one integer.
//!
//! A seed makes a node with its desired state, routers that peer with it, a network that delays,
//! chops, stalls and breaks, and what happens to all of them. The node's shards are the daemon's
//! own; the routers are plain ones on the codec alone. Whenever everything has come to rest, every
//! router must hold exactly what a plain oracle says. Equal seeds give equal runs, so a failing
//! one is replayed by `ringbgp simulate --seed N`.
//!
//! Where to read on: `world` is the loop, `scenario` what can happen, `node` the driver of the
//! shards, `network` and `router` the other side, `oracle` what is right.

mod command;
mod network;
mod node;
mod oracle;
mod policy;
mod route;
mod router;
mod scenario;
#[cfg(test)]
mod tests;
mod world;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub use command::{SimulateArgs, command};
pub use world::Summary;
use world::World;

use crate::time::Time;

/// How a run is to be made, beside its seed.
#[derive(Clone, Copy, Debug, Default)]
pub struct SimulateOptions {
    /// Write what happens to standard error.
    pub trace: bool,
    /// Break the engine in a known way, to see that it is found.
    #[cfg(test)]
    pub fault: Option<crate::group::Fault>,
}

impl SimulateOptions {
    /// With nothing planted.
    pub fn traced(trace: bool) -> SimulateOptions {
        SimulateOptions {
            trace,
            #[cfg(test)]
            fault: None,
        }
    }
}

/// A run that went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// When on the virtual clock.
    pub at: Time,
    /// What was wrong.
    pub words: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.at.0 as f64 / 1e9;
        write!(
            f,
            "seed {} failed after {seconds:.6} simulated seconds: {}\nreplay it with: ringbgp \
             simulate --seed {} --trace",
            self.seed, self.words, self.seed
        )
    }
}

impl std::error::Error for Failure {}

/// Makes the run of a seed.
///
/// # Errors
/// What went wrong, be it a wrong table, no rest, or a panic of the engine.
pub fn simulate(seed: u64, options: SimulateOptions) -> Result<Summary, Failure> {
    let mut world = World::new(seed, options.trace);
    #[cfg(test)]
    if let Some(fault) = options.fault {
        world.plant(fault);
    }
    let result = catch_unwind(AssertUnwindSafe(|| world.run()));
    let words = match result {
        Ok(Ok(summary)) => return Ok(summary),
        Ok(Err(words)) => words,
        Err(panic) => format!("the engine panicked: {}", panic_words(&*panic)),
    };
    Err(Failure {
        seed,
        at: world.now(),
        words,
    })
}

fn panic_words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "without words".to_owned())
}
