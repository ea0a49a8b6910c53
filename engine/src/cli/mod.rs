//! The command line: what is offered, and how it ends.
//!
//! Exit codes: 0 done, 1 a fault in what was asked, 2 usage, 3 the daemon can't be reached.
//! Results go to standard output; errors to standard error, as one sentence with the mend.

mod announcements;
mod ask;
mod check;
mod drain;
mod log;
mod node_name;
mod output;
mod policies;
mod run;
mod told;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::demo;
use output::Failure;

/// A BGP speaker for the nodes of a Kubernetes cluster.
#[derive(Debug, Parser)]
#[command(name = "ringbgp", version = env!("RINGBGP_VERSION"), arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon
    Run(run::RunArgs),
    /// Say what is wrong with manifests and what would be announced to whom; start nothing
    Check(check::CheckArgs),
    /// See routes arrive at a router and go as files change; needs no privileges
    Demo(DemoArgs),
    /// Show the sessions, and the faults in force
    Peers(ask::PeersArgs),
    /// Show routes: the Loc-RIB, the Adj-RIB-In or the Adj-RIB-Out
    Routes(ask::RoutesArgs),
    /// Say why a prefix is announced, or not, to each peer
    Explain(ask::ExplainArgs),
    /// Show what the route policies compiled to, and how many routes met each statement
    Policies(ask::PoliciesArgs),
    /// Close sessions with Cease/Administrative Reset; they come up again
    Reset(ask::ResetArgs),
    /// Ask peers to send their routes again (RFC 2918); sessions stay up
    Refresh(ask::RefreshArgs),
    /// Shut sessions down gracefully (RFC 8326); they stay down until `undrain` or a restart
    Drain(drain::DrainArgs),
    /// Let drained sessions come up again
    Undrain(drain::UndrainArgs),
    /// Show changes of sessions and routes as they happen
    Watch(watch::WatchArgs),
    /// Show the caches of the RPKI that origins are validated by
    Rpki(ask::RpkiArgs),
    /// Run seeds of the simulator (for developers)
    #[command(hide = true)]
    Simulate(crate::simulator::SimulateArgs),
}

#[derive(Debug, Args)]
struct DemoArgs {
    /// A directory of Kubernetes YAML with a neighbor on a loopback address [default: an example]
    #[arg(long, value_name = "DIR")]
    manifests: Option<PathBuf>,
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(usage) => {
            let _ = usage.print();
            return ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2));
        }
    };
    let result = match command {
        Command::Run(args) => run::run(args),
        Command::Check(args) => check::check(args),
        Command::Demo(args) => demo::run(args.manifests.as_deref()).map_err(Failure::Asked),
        Command::Peers(args) => ask::peers(args),
        Command::Routes(args) => ask::routes(args),
        Command::Explain(args) => ask::explain(args),
        Command::Policies(args) => ask::policies(args),
        Command::Reset(args) => ask::reset(args),
        Command::Refresh(args) => ask::refresh(args),
        Command::Drain(args) => drain::drain(args),
        Command::Undrain(args) => drain::undrain(args),
        Command::Watch(args) => watch::watch(args),
        Command::Rpki(args) => ask::rpki(args),
        Command::Simulate(args) => crate::simulator::command(&args).map_err(Failure::from),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
