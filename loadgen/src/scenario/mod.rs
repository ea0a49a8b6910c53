//! Scenarios: what routers do to a target, and when it has coped.
//!
//! A scenario is a short procedure over a [`Run`]: draw a table, bring the sessions up, release the
//! senders, wait until every receiver holds what it should. Here is the command line of all of
//! them; what is measured is in [`results`].

mod churn;
mod flap;
mod load;
mod options;
mod peers;
mod recording;
mod reload;
mod replay;
mod results;
mod run;

use clap::Subcommand;
use serde::Serialize;

use churn::ChurnArgs;
use flap::FlapArgs;
use load::{FanoutArgs, LoadArgs};
use options::Common;
pub(crate) use options::FamilyName;
use peers::PeersArgs;
use reload::ReloadArgs;
use replay::ReplayArgs;
use results::Results;
pub(crate) use run::raise_file_limit;
use run::{Failure, Run};

use crate::output::say;
use crate::truth::Party;

/// A scenario with its arguments.
#[derive(Subcommand, Clone, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Scenario {
    /// Senders announce a table each, or all the same one, until every receiver holds it all.
    Load(LoadArgs),
    /// One sender announces a table to many receivers.
    Fanout(FanoutArgs),
    /// One sender withdraws its table and announces it with other attributes, again and again.
    Churn(ChurnArgs),
    /// Of two senders one dies: its prefixes go, or another route wins.
    Flap(FlapArgs),
    /// Many sessions come up at once, and may each bring a few prefixes.
    Peers(PeersArgs),
    /// A command changes the target's policy, and every client must be told everything anew.
    Reload(ReloadArgs),
    /// One router for each peer of recorded MRT dumps says what that peer said.
    Replay(ReplayArgs),
}

impl Scenario {
    /// Runs it and prints what it measured; the exit code of the process.
    pub(crate) fn run(&self) -> u8 {
        let outcome = match self {
            Scenario::Load(args) => load::load(args),
            Scenario::Fanout(args) => load::load(&args.as_load()),
            Scenario::Churn(args) => churn::churn(args),
            Scenario::Flap(args) => flap::flap(args),
            Scenario::Peers(args) => peers::peers(args),
            Scenario::Reload(args) => reload::reload(args),
            Scenario::Replay(args) => replay::replay(args),
        };
        match outcome {
            Ok(results) => {
                let arguments = serde_json::to_value(self).unwrap_or_default();
                results.print(self.name(), &arguments, self.common().json);
                results.exit_code()
            }
            Err(failure) => failure.report(),
        }
    }

    /// Prints the routers that it uses, as the target must know them: one "ADDRESS ASN" a line; the
    /// exit code of the process.
    pub(crate) fn print_neighbors(&self) -> u8 {
        match self.parties() {
            Ok(parties) => {
                for party in parties {
                    say!("{} {}", party.address, party.asn);
                }
                0
            }
            Err(failure) => failure.report(),
        }
    }

    fn parties(&self) -> Result<Vec<Party>, Failure> {
        Ok(match self {
            Scenario::Load(args) => args.parties(),
            Scenario::Fanout(args) => args.as_load().parties(),
            Scenario::Churn(args) => args.parties(),
            Scenario::Flap(args) => args.parties(),
            Scenario::Peers(args) => args.parties(),
            Scenario::Reload(args) => args.parties(),
            Scenario::Replay(args) => args.neighbors()?,
        })
    }

    fn name(&self) -> &'static str {
        match self {
            Scenario::Load(_) => "load",
            Scenario::Fanout(_) => "fanout",
            Scenario::Churn(_) => "churn",
            Scenario::Flap(_) => "flap",
            Scenario::Peers(_) => "peers",
            Scenario::Reload(_) => "reload",
            Scenario::Replay(_) => "replay",
        }
    }

    fn common(&self) -> &Common {
        match self {
            Scenario::Load(args) => &args.common,
            Scenario::Fanout(args) => &args.common,
            Scenario::Churn(args) => &args.common,
            Scenario::Flap(args) => &args.common,
            Scenario::Peers(args) => &args.common,
            Scenario::Reload(args) => &args.common,
            Scenario::Replay(args) => &args.common,
        }
    }
}
