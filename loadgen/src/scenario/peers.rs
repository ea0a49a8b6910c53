//! `peers`: many routers that come up at once, idle or each with a few routes of its own.

use clap::Args;
use serde::Serialize;

use super::options::routers;
use super::{Common, Failure, Results, Run};
use crate::clock;
use crate::latency::Latencies;
use crate::script::Script;
use crate::truth::{Party, Truth};
use crate::workload::{Variant, Workload};

/// Arguments of `peers`.
#[derive(Args, Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PeersArgs {
    /// Routers.
    #[arg(long, default_value = "1000", value_parser = routers)]
    pub(crate) peers: usize,
    /// Prefixes that each announces as soon as its session stands; everyone is to be told all.
    #[arg(long, default_value_t = 0)]
    pub(crate) reconnect_prefixes: usize,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) common: Common,
}

impl PeersArgs {
    pub(super) fn parties(&self) -> Vec<Party> {
        self.common.parties(self.peers)
    }
}

/// Runs `peers`.
pub(super) fn peers(args: &PeersArgs) -> Result<Results, Failure> {
    let each = args.reconnect_prefixes;
    let shape = args.common.shape(args.peers, each);
    let workload = Workload::draw(&shape).map_err(Failure::Usage)?;
    let parties = args.parties();
    let mut run = Run::new(&args.common, parties, &workload.prefixes, |_| true)?;
    for peer in 0..args.peers {
        let announcer = run.announcer(peer);
        let mut script = Script::new(workload.family);
        let runs = workload.owned(peer);
        workload.announce(runs, &announcer, |_| Variant::default(), &mut script);
        script.end_of_rib();
        run.fleet.greet(peer, script.finish());
        run.refuse_loops(peer);
        run.receivers
            .expect(peer, each * args.peers.saturating_sub(1));
    }

    run.release();
    let began = clock::now();
    run.dial_all();
    run.wait(|receivers, _| receivers.standing() == args.peers)?;
    run.note_established(began);
    let mut latencies = Latencies::new();
    for up_at in run.receivers.up_at() {
        latencies.record(up_at.saturating_duration_since(began), 1);
    }
    run.set_latency(latencies.latency());
    if each > 0 {
        run.wait_until_complete()?;
    }
    run.end_with_sessions();
    if args.common.verify {
        run.verify(&truth(&workload, &run))?;
    }
    run.finish()
}

fn truth(workload: &Workload, routers: &Run<'_>) -> Truth {
    let mut truth = routers.truth(workload.prefixes.len());
    for (run, owner) in workload.runs() {
        let announcer = routers.announcer(owner);
        let set = workload.attributes(run, &announcer, Variant::default());
        let set = truth.add_set(owner, set.canonical());
        truth.add_routes(workload.ids_of(run), &[set]);
    }
    truth
}
