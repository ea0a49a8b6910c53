//! `flap`: of two senders one dies, and the receiver is to be told what that changes.

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{Common, Failure, Results, Run};
use crate::clock;
use crate::latency::Schedule;
use crate::receivers::Wanted;
use crate::script::{Pieces, Script};
use crate::truth::{Party, Truth};
use crate::workload::{Announcer, Variant, Workload};

/// Arguments of `flap`.
#[derive(Args, Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FlapArgs {
    /// Prefixes that go, or whose best route goes.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) prefixes: usize,
    /// What the death of the sender means.
    #[arg(long, default_value = "withdraw")]
    pub(crate) mode: FlapMode,
    /// In replace mode: both senders are in one AS and announce equal attributes, so that the
    /// receiver keeps what it has.
    #[arg(long)]
    pub(crate) same_as: bool,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) common: Common,
}

/// What the death of a sender means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FlapMode {
    /// Its own prefixes are withdrawn.
    Withdraw,
    /// Another route wins each of the prefixes that both announce.
    Replace,
}

/// Runs `flap`.
pub(super) fn flap(args: &FlapArgs) -> Result<Results, Failure> {
    if args.same_as && args.mode != FlapMode::Replace {
        return Err(Failure::Usage("--same-as goes with --mode replace".into()));
    }
    let owners = match args.mode {
        FlapMode::Withdraw => 2,
        FlapMode::Replace => 1,
    };
    let shape = args.common.shape(owners, args.prefixes);
    let workload = Workload::draw(&shape).map_err(Failure::Usage)?;
    let parties = args.parties();
    let mut run = Run::new(&args.common, parties, &workload.prefixes, |router| {
        router == RECEIVER
    })?;
    run.establish()?;
    if args.mode == FlapMode::Replace && !args.same_as {
        run.receivers.want(Wanted::Version(version(DYING)));
    }
    run.expect_everything();
    run.discard(DYING);
    run.say(DYING, &script(args, &workload, &run, DYING));
    if args.mode == FlapMode::Replace {
        // Speakers that prefer the older of two equal routes are to prefer the same one.
        run.wait_until_complete()?;
    }
    run.discard(SURVIVOR);
    run.say(SURVIVOR, &script(args, &workload, &run, SURVIVOR));
    run.wait_until_complete()?;
    run.wait_until_idle(IDLE)?;
    if args.common.verify {
        run.verify(&truth(args, &workload, &run, &[DYING, SURVIVOR]))?;
    }

    match args.mode {
        FlapMode::Withdraw => run.receivers.expect(RECEIVER, args.prefixes),
        FlapMode::Replace if args.same_as => {}
        FlapMode::Replace => run.receivers.want(Wanted::Version(version(SURVIVOR))),
    }
    run.release();
    run.receivers.keep_schedule(Schedule::at_once(clock::now()));
    run.kill(DYING);
    if args.same_as {
        // Nothing need change at the receiver: it is over when nothing moves.
        run.wait_until_idle(IDLE)?;
    } else {
        run.wait_until_complete()?;
    }
    run.set_latency_of_schedule();
    if args.common.verify {
        run.verify(&truth(args, &workload, &run, &[SURVIVOR]))?;
    }
    run.finish()
}

impl FlapArgs {
    pub(super) fn parties(&self) -> Vec<Party> {
        let mut parties = self.common.parties(RECEIVER + 1);
        if self.same_as {
            parties[SURVIVOR].asn = parties[DYING].asn;
        }
        parties
    }

    /// Attributes are drawn by router and next hops counted by it: with equal ones, both senders
    /// announce as the first of them would.
    fn announcer(&self, run: &Run<'_>, sender: usize) -> Announcer {
        run.announcer(if self.same_as { DYING } else { sender })
    }
}

fn variant(args: &FlapArgs, run: u32, sender: usize) -> Variant {
    if args.mode == FlapMode::Withdraw || args.same_as {
        return Variant::default();
    }
    // The one that dies has the shorter path.
    let shorter = 1 + run as usize % 4;
    Variant {
        version: version(sender),
        path_length: Some(shorter + sender),
        bare: false,
    }
}

fn script(args: &FlapArgs, workload: &Workload, routers: &Run<'_>, sender: usize) -> Pieces {
    let mut script = Script::new(workload.family);
    let runs = workload.owned(match args.mode {
        FlapMode::Withdraw => sender,
        FlapMode::Replace => 0,
    });
    let variant = |run| variant(args, run, sender);
    let announcer = args.announcer(routers, sender);
    workload.announce(runs, &announcer, variant, &mut script);
    script.end_of_rib();
    script.finish()
}

/// What should be held while these senders live.
fn truth(args: &FlapArgs, workload: &Workload, routers: &Run<'_>, living: &[usize]) -> Truth {
    let mut truth = routers.truth(workload.prefixes.len());
    for (run, owner) in workload.runs() {
        let announces = |sender: &&usize| args.mode == FlapMode::Replace || **sender == owner;
        let sets = living.iter().filter(announces).map(|sender| {
            let announcer = args.announcer(routers, *sender);
            let set = workload.attributes(run, &announcer, variant(args, run, *sender));
            truth.add_set(*sender, set.canonical())
        });
        let sets: Vec<u32> = sets.collect();
        truth.add_routes(workload.ids_of(run), &sets);
    }
    truth
}

/// The mark of a sender's routes.
fn version(sender: usize) -> u16 {
    sender as u16 + 1
}

/// The sender that dies; of the two it has the lower address and identifier.
const DYING: usize = 0;
const SURVIVOR: usize = 1;
const RECEIVER: usize = 2;
/// Silence after which nothing moves any more.
const IDLE: Duration = Duration::from_millis(300);
