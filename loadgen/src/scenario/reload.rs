//! `reload`: the target's policy changes while one router keeps announcing, and every client is to
//! be told everything anew.
//!
//! A command makes the target strip all standard communities from what it exports; a client has
//! coped once it holds every prefix without any. The longest time from the start of the command until
//! then in which it was told nothing is its stall. With a target that has no policies, such as the
//! relay, the clients announce everything again without communities: it has the same to tell.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use super::options::routers;
use super::{Common, Failure, Results, Run};
use crate::clock;
use crate::latency::Latencies;
use crate::receivers::Wanted;
use crate::script::{Pieces, Script};
use crate::truth::{Party, Truth};
use crate::workload::{Variant, Workload};

/// Arguments of `reload`.
#[derive(Args, Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReloadArgs {
    /// Routers; each announces, and is told what the others announce.
    #[arg(long, default_value = "50", value_parser = routers)]
    pub(crate) clients: usize,
    /// Prefixes that each of them announces.
    #[arg(long, default_value_t = 500)]
    pub(crate) prefixes_each: usize,
    /// Shell command that makes the target strip all standard communities on export.
    #[arg(long, required_unless_present = "by_clients")]
    pub(crate) command: Option<String>,
    /// In place of a command: each client announces everything again without communities, so that a
    /// target without policies tells the same.
    #[arg(long, conflicts_with = "command")]
    pub(crate) by_clients: bool,
    /// Changes a second that the first client announces meanwhile; 0: none.
    #[arg(long, default_value_t = 1000)]
    pub(crate) churn: u32,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) common: Common,
}

/// What the first client announces while the policy changes: its runs in turn, ever new versions.
struct Churn {
    /// By run of the first client, the version announced last.
    versions: Vec<u16>,
    next: usize,
    bare: bool,
    rate: u32,
    began: Instant,
    said: u64,
}

/// Runs `reload`.
pub(super) fn reload(args: &ReloadArgs) -> Result<Results, Failure> {
    let shape = args.common.shape(args.clients, args.prefixes_each);
    let workload = Workload::draw(&shape).map_err(Failure::Usage)?;
    let mut run = Run::new(&args.common, args.parties(), &workload.prefixes, |_| true)?;
    for client in 0..args.clients {
        let mut script = Script::new(workload.family);
        let announcer = run.announcer(client);
        let runs = workload.owned(client);
        workload.announce(runs, &announcer, |_| Variant::default(), &mut script);
        script.end_of_rib();
        run.fleet.greet(client, script.finish());
        run.refuse_loops(client);
        let others = args.clients.saturating_sub(1);
        run.receivers.expect(client, args.prefixes_each * others);
    }
    run.establish()?;
    run.wait_until_complete()?;
    run.wait_until_idle(IDLE)?;

    let bare = |client| bare_table(&workload, &run, client);
    let bare_tables: Vec<Pieces> = (0..args.clients)
        .filter(|_| args.by_clients)
        .map(bare)
        .collect();
    run.receivers.want(Wanted::Bare);
    run.release();
    let mut churn = Churn {
        versions: vec![0; workload.owned(CHURNING).len()],
        next: 0,
        bare: args.by_clients,
        rate: args.churn,
        began: clock::now(),
        said: 0,
    };
    run.receivers.time_stalls(churn.began);
    let mut command = args.command.as_deref().map(spawn).transpose()?;
    for (client, table) in bare_tables.iter().enumerate() {
        run.say(client, table);
    }
    while !run.receivers.are_complete() {
        churn.say_what_is_due(&workload, &mut run);
        run.step(clock::now() + CHURN_EVERY)?;
        if let Some(command) = &mut command
            && let Some(status) = command.try_wait()?
        {
            succeeded(status)?;
        }
    }
    run.wait_until_complete()?;
    note_figures(&mut run, churn.began);
    if args.common.verify {
        run.verify(&truth(&workload, &run, &churn.versions))?;
    }
    let results = run.finish()?;
    if let Some(mut command) = command {
        succeeded(command.wait()?)?;
    }
    Ok(results)
}

/// All that a client announces, as the target would tell it under its new policy.
fn bare_table(workload: &Workload, run: &Run<'_>, client: usize) -> Pieces {
    let mut script = Script::new(workload.family);
    let (announcer, runs) = (run.announcer(client), workload.owned(client));
    workload.announce_packed(runs, &announcer, variant(0, true), &mut script);
    script.finish()
}

fn succeeded(status: ExitStatus) -> Result<(), Failure> {
    if status.success() {
        return Ok(());
    }
    Err(Failure::Missing(format!("the command failed: {status}")))
}

impl ReloadArgs {
    pub(super) fn parties(&self) -> Vec<Party> {
        self.common.parties(self.clients)
    }
}

impl Churn {
    fn say_what_is_due(&mut self, workload: &Workload, run: &mut Run<'_>) {
        let elapsed = clock::now() - self.began;
        let due = (elapsed.as_secs_f64() * f64::from(self.rate)) as u64;
        let runs = workload.owned(CHURNING);
        if self.said >= due || runs.is_empty() {
            return;
        }
        let announcer = run.announcer(CHURNING);
        let mut script = Script::new(workload.family);
        while self.said < due {
            let place = self.next % runs.len();
            let version = self.versions[place].wrapping_add(1).max(1);
            self.versions[place] = version;
            let variant = |_| variant(version, self.bare);
            workload.announce(&runs[place..=place], &announcer, variant, &mut script);
            self.said += workload.ids_of(runs[place]).len() as u64;
            self.next += 1;
        }
        run.say(CHURNING, &script.finish());
    }
}

/// Stalls as the latency, completion as phases.
fn note_figures(run: &mut Run<'_>, began: Instant) {
    let (mut completions, mut stalls) = (Latencies::new(), Latencies::new());
    for (complete_at, stall) in run.receivers.completions() {
        completions.record(complete_at.saturating_duration_since(began), 1);
        stalls.record(stall, 1);
    }
    run.set_latency(stalls.latency());
    if let Some(completion) = completions.percentiles() {
        run.add_phase("complete p50", completion.p50);
        run.add_phase("complete p99", completion.p99);
        run.add_phase("complete max", completion.max);
    }
}

fn spawn(command: &str) -> Result<Child, Failure> {
    let spawned = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        // Standard output is for results.
        .stdout(Stdio::null())
        .spawn();
    spawned.map_err(|error| Failure::Missing(format!("cannot run sh: {error}")))
}

fn variant(version: u16, bare: bool) -> Variant {
    Variant {
        version,
        bare,
        ..Variant::default()
    }
}

/// Everything as it was announced last, without communities.
fn truth(workload: &Workload, routers: &Run<'_>, versions: &[u16]) -> Truth {
    let mut truth = routers.truth(workload.prefixes.len());
    for client in 0..routers.routers() {
        let announcer = routers.announcer(client);
        for (place, run) in workload.owned(client).iter().enumerate() {
            let version = versions.get(place).filter(|_| client == CHURNING);
            let variant = variant(version.copied().unwrap_or(0), true);
            let set = workload.attributes(*run, &announcer, variant);
            let set = truth.add_set(client, set.canonical());
            truth.add_routes(workload.ids_of(*run), &[set]);
        }
    }
    truth
}

/// The client that keeps announcing.
const CHURNING: usize = 0;
/// How often it does.
const CHURN_EVERY: Duration = Duration::from_millis(5);
/// Silence after which all have been told the first table.
const IDLE: Duration = Duration::from_millis(300);
