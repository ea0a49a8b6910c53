//! `load` and `fanout`: tables that go from senders to receivers through the target.

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::options::routers;
use super::{Common, Failure, Results, Run};
use crate::script::{Pieces, Script};
use crate::truth::{Party, Truth};
use crate::workload::{Announcer, Variant, Workload};

/// Arguments of `load`.
#[derive(Args, Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LoadArgs {
    /// Routers that announce.
    #[arg(long, default_value = "2", value_parser = routers)]
    pub(crate) senders: usize,
    /// Prefixes that each of them announces.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) prefixes: usize,
    /// All senders announce the same prefixes; the run then ends when nothing moves any more.
    #[arg(long)]
    pub(crate) overlap: bool,
    /// Routers that listen.
    #[arg(long, default_value = "1", value_parser = routers)]
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
    #[arg(long, default_value = "50", value_parser = routers)]
    pub(crate) receivers: usize,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) common: Common,
}

/// Runs `load`.
pub(super) fn load(args: &LoadArgs) -> Result<Results, Failure> {
    if args.senders == 0 {
        return Err(Failure::Usage("a load needs a sender".into()));
    }
    let owners = if args.overlap { 1 } else { args.senders };
    let shape = args.common.shape(owners, args.prefixes);
    let workload = Workload::draw(&shape).map_err(Failure::Usage)?;
    let parties = args.parties();
    let mut run = Run::new(&args.common, parties, &workload.prefixes, |router| {
        router >= args.senders
    })?;
    let scripts = (0..args.senders).map(|sender| {
        let owner = if args.overlap { 0 } else { sender };
        script(args, &workload, &run.announcer(sender), owner)
    });
    let scripts = scripts.collect();
    send(&mut run, scripts, args.overlap)?;
    if args.common.verify {
        run.verify(&truth(args, &workload, &run))?;
    }
    run.finish()
}

impl LoadArgs {
    pub(super) fn parties(&self) -> Vec<Party> {
        self.common.parties(self.senders + self.receivers)
    }
}

impl FanoutArgs {
    /// A load from one sender.
    pub(super) fn as_load(&self) -> LoadArgs {
        LoadArgs {
            senders: 1,
            prefixes: self.prefixes,
            overlap: false,
            receivers: self.receivers,
            common: self.common.clone(),
        }
    }
}

fn send(run: &mut Run<'_>, scripts: Vec<Pieces>, until_idle: bool) -> Result<(), Failure> {
    run.establish()?;
    for sender in 0..scripts.len() {
        run.discard(sender);
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
    Ok(())
}

fn script(args: &LoadArgs, workload: &Workload, sender: &Announcer, owner: usize) -> Pieces {
    let mut script = Script::new(workload.family);
    let variant = |run| variant(args, run, sender.router);
    workload.announce(workload.owned(owner), sender, variant, &mut script);
    script.end_of_rib();
    script.finish()
}

fn variant(args: &LoadArgs, run: u32, sender: usize) -> Variant {
    let path_length = || overlap_path_length(run, sender, args.senders);
    Variant {
        path_length: args.overlap.then(path_length),
        ..Variant::default()
    }
}

fn truth(args: &LoadArgs, workload: &Workload, routers: &Run<'_>) -> Truth {
    let mut truth = routers.truth(workload.prefixes.len());
    for (run, owner) in workload.runs() {
        let senders = if args.overlap {
            0..args.senders
        } else {
            owner..owner + 1
        };
        let sets = senders.map(|sender| {
            let variant = variant(args, run, sender);
            let set = workload.attributes(run, &routers.announcer(sender), variant);
            truth.add_set(sender, set.canonical())
        });
        let sets: Vec<u32> = sets.collect();
        truth.add_routes(workload.ids_of(run), &sets);
    }
    truth
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
