//! Scenarios: what routers do to a target, and when it has coped.
//!
//! A scenario is a short procedure over a [`Run`]: draw a table, bring the sessions up, release the
//! senders, wait until every receiver holds what it should. Here is the command line of all of
//! them; what is measured is in [`results`].

mod load;
mod options;
mod results;
mod run;

use clap::Subcommand;
use serde::Serialize;

pub(crate) use load::{FanoutArgs, LoadArgs};
pub(crate) use options::{Common, FamilyName};
use results::Results;
pub(crate) use run::raise_file_limit;
use run::{Failure, Run};

/// A scenario with its arguments.
#[derive(Subcommand, Clone, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Scenario {
    /// Senders announce a table each, or all the same one, until every receiver holds it all.
    Load(LoadArgs),
    /// One sender announces a table to many receivers.
    Fanout(FanoutArgs),
}

impl Scenario {
    /// Runs it and prints what it measured; the exit code of the process.
    pub(crate) fn run(&self) -> u8 {
        let outcome = match self {
            Scenario::Load(args) => load::load(args),
            Scenario::Fanout(args) => load::fanout(args),
        };
        match outcome {
            Ok(results) => {
                let arguments = serde_json::to_value(self).unwrap_or_default();
                results.print(self.name(), &arguments, self.common().json);
                results.exit_code()
            }
            Err(failure) => {
                eprintln!("ringbgp-loadgen: {}", failure.words());
                failure.exit_code()
            }
        }
    }

    /// The routers that it uses, as the target must know them: one "ADDRESS ASN" a line.
    pub(crate) fn neighbors(&self) -> String {
        let common = self.common();
        let line = |router| format!("{} {}\n", common.address(router), common.asn(router));
        (0..self.routers()).map(line).collect()
    }

    fn name(&self) -> &'static str {
        match self {
            Scenario::Load(_) => "load",
            Scenario::Fanout(_) => "fanout",
        }
    }

    fn common(&self) -> &Common {
        match self {
            Scenario::Load(args) => &args.common,
            Scenario::Fanout(args) => &args.common,
        }
    }

    fn routers(&self) -> usize {
        match self {
            Scenario::Load(args) => args.senders + args.receivers,
            Scenario::Fanout(args) => 1 + args.receivers,
        }
    }
}
