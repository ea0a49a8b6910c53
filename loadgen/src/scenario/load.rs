//! `load` and `fanout`: tables that go from senders to receivers through the target.

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::{Common, Failure, Results, Run};
use crate::script::{Pieces, Script};
use crate::workload::{Variant, Workload};

/// Arguments of `load`.
#[derive(Args, Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LoadArgs {
    /// Routers that announce.
    #[arg(long, default_value_t = 2)]
    pub(crate) senders: usize,
    /// Prefixes that each of them announces.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) prefixes: usize,
    /// All senders announce the same prefixes; the run then ends when nothing moves any more.
    #[arg(long)]
    pub(crate) overlap: bool,
    /// Routers that listen.
    #[arg(long, default_value_t = 1)]
    pub(crate) receivers: usize,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) common: Common,
}

/// Arguments of `fanout`.
#[derive(Args, Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FanoutArgs {
    /// Prefixes that the sender announces.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) prefixes: usize,
    /// Routers that listen.
    #[arg(long, default_value_t = 50)]
    pub(crate) receivers: usize,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) common: Common,
}

/// Runs `load`.
pub(super) fn load(args: &LoadArgs) -> Result<Results, Failure> {
    let owners = if args.overlap { 1 } else { args.senders };
    let shape = args.common.shape(owners, args.prefixes);
    let workload = Workload::draw(&shape).map_err(Failure::Usage)?;
    let scripts = (0..args.senders)
        .map(|sender| {
            let owner = if args.overlap { 0 } else { sender };
            script(args, &workload, sender, owner)
        })
        .collect();
    let routers = args.senders + args.receivers;
    let mut run = Run::new(&args.common, routers, &workload.prefixes, |router| {
        router >= args.senders
    })?;
    send(&mut run, scripts, args.overlap)
}

/// Runs `fanout`.
pub(super) fn fanout(args: &FanoutArgs) -> Result<Results, Failure> {
    load(&LoadArgs {
        senders: 1,
        prefixes: args.prefixes,
        overlap: false,
        receivers: args.receivers,
        common: args.common.clone(),
    })
}

fn send(run: &mut Run<'_>, scripts: Vec<Pieces>, until_idle: bool) -> Result<Results, Failure> {
    run.establish()?;
    for sender in 0..scripts.len() {
        run.fleet.discard(sender);
    }
    run.release();
    run.expect_everything();
    for (sender, script) in scripts.iter().enumerate() {
        run.say(sender, script);
    }
    run.wait_until_complete()?;
    if until_idle {
        run.wait_until_idle(IDLE)?;
    }
    Ok(run.finish())
}

fn script(args: &LoadArgs, workload: &Workload, sender: usize, owner: usize) -> Pieces {
    let mut script = Script::new(workload.family);
    let variant = |run: u32| Variant {
        path_length: args
            .overlap
            .then(|| overlap_path_length(run, sender, args.senders)),
        ..Variant::default()
    };
    let announcer = args.common.announcer(sender);
    workload.announce(workload.owned(owner), &announcer, variant, &mut script);
    script.end_of_rib();
    script.finish()
}

/// Of the senders of one prefix, exactly one has the shortest path, and each has its share of wins.
fn overlap_path_length(run: u32, sender: usize, senders: usize) -> usize {
    let turn = (run as usize + sender) % senders;
    let shortest = 1 + (run as usize / senders) % 3;
    if turn == 0 {
        shortest
    } else {
        shortest + 1 + turn % 3
    }
}

/// Silence after which a run is over.
const IDLE: Duration = Duration::from_millis(300);
