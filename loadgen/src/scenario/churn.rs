//! `churn`: a table that is withdrawn and announced anew, with other attributes, again and again.

use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use serde::Serialize;

use super::{Common, Failure, Results, Run};
use crate::clock;
use crate::latency::{Latencies, Schedule};
use crate::receivers::Wanted;
use crate::script::Script;
use crate::truth::{Party, Truth};
use crate::workload::{Announcer, Variant, Workload};

/// Arguments of `churn`.
#[derive(Args, Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ChurnArgs {
    /// Prefixes that the sender announces.
    #[arg(long, default_value_t = 100_000)]
    pub(crate) prefixes: usize,
    /// How often all are withdrawn and announced again.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) rounds: u16,
    /// Changes a second, each due at its own time [default: all are due at once].
    #[arg(long)]
    pub(crate) rate: Option<f64>,
    /// Each withdrawal and each announcement waits until the receiver has been told the one before,
    /// so that none can be passed over.
    #[arg(long, conflicts_with = "rate")]
    pub(crate) step: bool,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) common: Common,
}

impl ChurnArgs {
    pub(super) fn parties(&self) -> Vec<Party> {
        self.common.parties(RECEIVER + 1)
    }
}

/// One part of the sender's script, and when it is due after the start.
struct Due {
    after: Duration,
    pieces: Vec<Bytes>,
}

/// Runs `churn`.
pub(super) fn churn(args: &ChurnArgs) -> Result<Results, Failure> {
    let rate = match args.rate {
        Some(rate) if !(rate > 0.0 && rate.is_finite()) => {
            return Err(Failure::Usage("--rate must be above 0".into()));
        }
        rate => rate,
    };
    let shape = args.common.shape(1, args.prefixes);
    let workload = Workload::draw(&shape).map_err(Failure::Usage)?;
    let parties = args.parties();
    let mut run = Run::new(&args.common, parties, &workload.prefixes, |router| {
        router == RECEIVER
    })?;
    let sender = run.announcer(SENDER);
    run.establish()?;
    run.discard(SENDER);

    // The table of version 0 is there before the clock starts.
    let mut first = Script::new(workload.family);
    announce(&workload, workload.owned(0), &sender, 0, &mut first);
    first.end_of_rib();
    run.expect_everything();
    run.say(SENDER, &first.finish());
    run.wait_until_complete()?;

    let dues = rounds(args, &workload, &sender, rate);
    if args.step {
        step_by_step(&mut run, dues)?;
    } else {
        run.receivers.want(Wanted::Version(args.rounds));
        run.release();
        let schedule = Schedule::in_rounds(clock::now(), ranks(&workload), rate);
        run.receivers.keep_schedule(schedule);
        as_due(&mut run, dues)?;
        run.set_latency_of_schedule();
    }
    if args.common.verify {
        let truth = truth(args, &workload, &sender, run.truth(workload.prefixes.len()));
        run.verify(&truth)?;
    }
    run.finish()
}

/// Says every part when it is due, whatever has arrived by then.
fn as_due(run: &mut Run<'_>, dues: Vec<Due>) -> Result<(), Failure> {
    let began = clock::now();
    for due in dues {
        while clock::now() < began + due.after {
            run.step(began + due.after)?;
        }
        for piece in due.pieces {
            run.fleet.say(SENDER, piece);
        }
    }
    run.wait_until_complete()
}

/// Says the next part when the one before has arrived: withdrawals and announcements in turn.
fn step_by_step(run: &mut Run<'_>, dues: Vec<Due>) -> Result<(), Failure> {
    let mut latencies = Latencies::new();
    run.release();
    for (place, due) in dues.into_iter().enumerate() {
        let began = clock::now();
        if place % 2 == 0 {
            run.receivers.expect(RECEIVER, 0);
        } else {
            run.expect_everything();
        }
        for piece in due.pieces {
            run.fleet.say(SENDER, piece);
        }
        run.wait_until_complete()?;
        latencies.record(clock::now() - began, 1);
    }
    run.set_latency(latencies.latency());
    Ok(())
}

/// All rounds, cut where another part is due.
fn rounds(
    args: &ChurnArgs,
    workload: &Workload,
    sender: &Announcer,
    rate: Option<f64>,
) -> Vec<Due> {
    let mut dues = Vec::new();
    let mut changes = 0;
    let mut say = |count: usize, speak: &dyn Fn(&mut Script)| {
        let mut script = Script::new(workload.family);
        speak(&mut script);
        let after = rate.map_or(0.0, |rate| f64::from(changes) / rate);
        dues.push(Due {
            after: Duration::try_from_secs_f64(after).unwrap_or(Duration::MAX),
            pieces: script.finish().to_vec(),
        });
        changes += count as u32;
    };
    // With a rate, a part is a millisecond's worth of changes.
    let part = rate.map_or(usize::MAX, |rate| (rate / 1000.0).ceil() as usize);
    let runs = workload.owned(0);
    let runs_a_part = (part / args.common.per_attributes.max(1)).max(1);
    for version in 1..=args.rounds {
        for runs in runs.chunks(runs_a_part) {
            let prefixes = || runs.iter().flat_map(|run| workload.prefixes_of(*run));
            say(prefixes().count(), &|script| {
                script.withdraw(prefixes().copied());
            });
        }
        for runs in runs.chunks(runs_a_part) {
            let count = runs.iter().map(|run| workload.ids_of(*run).len()).sum();
            say(count, &|script| {
                announce(workload, runs, sender, version, script);
            });
        }
    }
    dues
}

fn announce(
    workload: &Workload,
    runs: &[u32],
    sender: &Announcer,
    version: u16,
    script: &mut Script,
) {
    workload.announce(runs, sender, |_| variant(version), script);
}

fn variant(version: u16) -> Variant {
    Variant {
        version,
        ..Variant::default()
    }
}

/// By the number of a prefix, its rank in the order of announcement.
fn ranks(workload: &Workload) -> Vec<u32> {
    let mut ranks = vec![0; workload.prefixes.len()];
    let order = workload.owned(0).iter();
    let prefixes = order.flat_map(|run| workload.ids_of(*run));
    for (rank, prefix) in (0..).zip(prefixes) {
        ranks[prefix as usize] = rank;
    }
    ranks
}

fn truth(args: &ChurnArgs, workload: &Workload, sender: &Announcer, mut truth: Truth) -> Truth {
    for (run, _) in workload.runs() {
        let set = workload.attributes(run, sender, variant(args.rounds));
        let set = truth.add_set(SENDER, set.canonical());
        truth.add_routes(workload.ids_of(run), &[set]);
    }
    truth
}

/// The router that announces.
const SENDER: usize = 0;
/// The router that listens.
const RECEIVER: usize = 1;
