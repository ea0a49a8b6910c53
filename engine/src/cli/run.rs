//! `ringbgp run`: the daemon's options.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::log::{self, LogArgs};
use super::node_name::NodeArgs;
use super::output::Failure;
use crate::admin::DEFAULT_SOCKET;
use crate::node::{Node, NodeOptions};
use crate::ring::IoMode;

/// What the daemon reads and how it runs.
#[derive(Debug, Args)]
#[command(after_help = "Not built yet: --kubernetes, --http.")]
pub(super) struct RunArgs {
    /// A directory of Kubernetes YAML, watched live
    #[arg(long, value_name = "DIR")]
    manifests: PathBuf,
    #[command(flatten)]
    node: NodeArgs,
    /// Threads that carry sessions, at most 64 [default: the CPUs it may use, at most 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    shards: Option<u8>,
    /// Bind each shard to a core
    #[arg(long)]
    pin: bool,
    /// How shards reach the network
    #[arg(long, value_enum, default_value_t)]
    io: Io,
    /// The Unix socket for `peers`, `routes`, `explain`, `reset`
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    admin: PathBuf,
    /// A directory for what survives the process: with it, peers with `gracefulRestart.enabled` keep
    /// our routes over a restart
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    #[command(flatten)]
    log: LogArgs,
}

/// Runs the daemon until SIGTERM or SIGINT.
pub(super) fn run(args: RunArgs) -> Result<(), Failure> {
    let options = NodeOptions {
        manifests: args.manifests,
        known_as: args.node.resolve()?,
        shards: args.shards,
        pin: args.pin,
        io: match args.io {
            Io::Auto => IoMode::Auto,
            Io::Uring => IoMode::Uring,
            Io::Epoll => IoMode::Epoll,
        },
        admin: Some(args.admin),
        state: args.state,
    };
    log::start(&args.log)?;
    let mut node = Node::start(options).map_err(Failure::Asked)?;
    let ended = node.wait_for_signal().map_err(Failure::Asked);
    node.stop();
    ended
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Io {
    /// io_uring where the kernel allows it, else epoll; the log says which and why
    #[default]
    Auto,
    /// io_uring
    Uring,
    /// epoll
    Epoll,
}
