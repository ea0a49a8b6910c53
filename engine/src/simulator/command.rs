//! `ringbgp simulate`: runs for developers.

use clap::Args;

use super::{Failure, SimulateOptions, simulate};

/// What `ringbgp simulate` takes.
#[derive(Clone, Debug, Args)]
pub struct SimulateArgs {
    /// The first seed
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// How many seeds to run, from the first on
    #[arg(long, default_value_t = 1)]
    pub seeds: u64,
    /// Write everything that happens to standard error
    #[arg(long)]
    pub trace: bool,
}

/// Runs the seeds and prints one line each, up to the first failure.
///
/// # Errors
/// The failure, with the command that replays it.
pub fn command(args: &SimulateArgs) -> Result<(), Failure> {
    let options = SimulateOptions::traced(args.trace);
    for seed in args.seed..args.seed.saturating_add(args.seeds) {
        let summary = simulate(seed, options)?;
        println!(
            "seed {seed}: {} events, {} routes compared, {} steps, {} simulated seconds, {:016x}",
            summary.events,
            summary.compared,
            summary.steps,
            summary.end.0 / 1_000_000_000,
            summary.fingerprint
        );
    }
    Ok(())
}
