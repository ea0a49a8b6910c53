//! One run of a scenario: its routers, its clock, and how it may fail.

use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use codec::IpPrefix;

use super::results::{Established, LoadgenUsage, Phase, Results};
use super::{Common, results};
use crate::clock;
use crate::fleet::Fleet;
use crate::latency::Latency;
use crate::network::PATIENCE;
use crate::output::remark;
use crate::plot;
use crate::process::{self, ProcessMeter, Usage};
use crate::progress::Progress;
use crate::receivers::{Counts, Receivers};
use crate::script::Pieces;
use crate::sink::SILENT;
use crate::truth::{Differences, Party, Truth};
use crate::workload::Announcer;

/// Why a run came to no result.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It was asked for what cannot be.
    Usage(String),
    /// What was expected did not come.
    Missing(String),
    /// The target is dead, refuses, is silent, or does not speak BGP.
    Target(String),
}

impl Failure {
    /// One sentence.
    pub(crate) fn words(&self) -> &str {
        match self {
            Failure::Usage(words) | Failure::Missing(words) | Failure::Target(words) => words,
        }
    }

    /// Says it on standard error; the exit code of the process.
    pub(crate) fn report(&self) -> u8 {
        remark!("ringbgp-loadgen: {}", self.words());
        match self {
            Failure::Missing(_) => 1,
            Failure::Usage(_) => 2,
            Failure::Target(_) => 3,
        }
    }
}

/// What fails on this machine, not at the target.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Missing(error.to_string())
    }
}

/// A run from its first connection to its last UPDATE.
pub(crate) struct Run<'c> {
    pub(crate) fleet: Fleet,
    pub(crate) receivers: Receivers,
    common: &'c Common,
    parties: Vec<Party>,
    counting: Vec<usize>,
    give_up_at: Instant,
    /// When the run ends if no session stands by then.
    expected_at: Instant,
    established: Established,
    released_at: Instant,
    own_cpu_began: f64,
    meter: Option<ProcessMeter>,
    ended_at: Option<Instant>,
    /// What was used until the end of what is timed.
    used: Option<(Option<Usage>, f64)>,
    killed: Vec<usize>,
    verified: Option<bool>,
    latency: Option<Latency>,
    phases: Vec<Phase>,
    progress: Progress,
    /// What had been received when, where that will be drawn: from the release, in seconds.
    timeline: Option<Vec<(f64, f64)>>,
}

impl<'c> Run<'c> {
    /// Routers that dial nobody yet; `counting` says whose tables count. They will be told no
    /// prefix but those `expected`.
    pub(crate) fn new(
        common: &'c Common,
        parties: Vec<Party>,
        expected: &[IpPrefix],
        counting: impl Fn(usize) -> bool,
    ) -> Result<Run<'c>, Failure> {
        let routers = parties.len();
        if routers == 0 {
            return Err(Failure::Usage("a scenario needs a router".into()));
        }
        if let Some(pid) = common.pid
            && ProcessMeter::begin(pid).is_none()
        {
            return Err(Failure::Usage(format!("there is no process {pid}")));
        }
        if let Some(path) = &common.svg {
            // Before minutes of measuring, not behind them.
            let opened = File::options().create(true).append(true).open(path);
            opened.map_err(|error| Failure::Usage(format!("--svg {}: {error}", path.display())))?;
        }
        raise_file_limit(routers)?;
        let identities = parties.iter().map(|party| common.identity(party));
        let now = clock::now();
        let mut receivers = Receivers::new(routers, expected, &counting);
        if common.verify {
            receivers.keep_ledger();
        }
        Ok(Run {
            fleet: Fleet::new(identities.collect(), common.target)?,
            receivers,
            common,
            parties,
            counting: (0..routers).filter(|router| counting(*router)).collect(),
            give_up_at: now
                .checked_add(common.timeout())
                .unwrap_or(now + Duration::from_secs(1 << 30)),
            expected_at: now + PATIENCE,
            established: Established::default(),
            released_at: now,
            own_cpu_began: 0.0,
            meter: None,
            ended_at: None,
            used: None,
            killed: Vec::new(),
            verified: None,
            latency: None,
            phases: Vec::new(),
            progress: Progress::new(!common.no_progress),
            timeline: common.svg.as_ref().map(|_| Vec::new()),
        })
    }

    /// Dials with all routers until every session stands, and the target has said End-of-RIB to
    /// all or nothing for a while.
    pub(crate) fn establish(&mut self) -> Result<(), Failure> {
        let began = clock::now();
        self.fleet.dial_at_most(DIALS_AT_ONCE);
        self.dial_all();
        let routers = self.parties.len();
        self.wait(|receivers, _| receivers.standing() == routers)?;
        self.note_established(began);
        let stood_at = clock::now();
        self.wait(|receivers, now| {
            receivers.ended() == routers
                || now - receivers.last_octets_at().max(stood_at) >= SETTLED
        })
    }

    /// All routers begin to dial.
    pub(crate) fn dial_all(&mut self) {
        self.expected_at = clock::now() + self.patience();
        (0..self.parties.len()).for_each(|router| self.fleet.dial(router));
    }

    /// The sessions came up in the time since `began`.
    pub(crate) fn note_established(&mut self, began: Instant) {
        let last = self.receivers.up_at().max().unwrap_or(began);
        self.established = Established {
            seconds: (last - began).as_secs_f64(),
            sessions: self.receivers.standing(),
        };
    }

    /// The clock of the scenario starts.
    pub(crate) fn release(&mut self) {
        self.meter = self.common.pid.and_then(ProcessMeter::begin);
        self.own_cpu_began = process::own_cpu_seconds();
        self.used = None;
        if let Some(timeline) = &mut self.timeline {
            timeline.clear();
        }
        self.receivers.reset_counts();
        self.released_at = clock::now();
    }

    /// What follows is no part of what is timed.
    fn stop_the_clock(&mut self) -> (Option<Usage>, f64) {
        let (meter, began) = (&self.meter, self.own_cpu_began);
        *self.used.get_or_insert_with(|| {
            let own = process::own_cpu_seconds() - began;
            (meter.as_ref().map(ProcessMeter::usage), own)
        })
    }

    /// A sender is not interested in what it is told, unless tables are compared.
    pub(crate) fn discard(&mut self, router: usize) {
        if !self.common.verify {
            self.fleet.discard(router);
        }
    }

    /// How many routers there are.
    pub(crate) fn routers(&self) -> usize {
        self.parties.len()
    }

    /// A router refuses its own routes.
    pub(crate) fn refuse_loops(&mut self, router: usize) {
        self.receivers.refuse_loops(router, self.parties[router]);
    }

    /// A router as one that announces.
    pub(crate) fn announcer(&self, router: usize) -> Announcer {
        self.common.announcer(router, &self.parties[router])
    }

    /// What should be held, once it is known who announces what: nothing yet.
    pub(crate) fn truth(&self, prefixes: usize) -> Truth {
        Truth::new(self.common.export(), self.parties.clone(), prefixes)
    }

    /// A router dies, without a word.
    pub(crate) fn kill(&mut self, router: usize) {
        self.fleet.kill(router);
        self.killed.push(router);
    }

    /// Every router that counts is to hold all expected prefixes.
    pub(crate) fn expect_everything(&mut self) {
        let all = self.receivers.expected();
        for router in &self.counting {
            self.receivers.expect(*router, all);
        }
    }

    /// A router says all of this.
    pub(crate) fn say(&mut self, router: usize, script: &Pieces) {
        for piece in script.iter() {
            self.fleet.say(router, piece.clone());
        }
    }

    /// Waits until every router holds what it should.
    pub(crate) fn wait_until_complete(&mut self) -> Result<(), Failure> {
        self.wait(|receivers, _| receivers.are_complete())?;
        self.ended_at = self.receivers.complete_at();
        Ok(())
    }

    /// A figure beside the others.
    pub(crate) fn add_phase(&mut self, name: &str, seconds: f64) {
        self.phases.push(Phase {
            name: name.into(),
            seconds,
        });
    }

    /// How long it took for single things.
    pub(crate) fn set_latency(&mut self, latency: Option<Latency>) {
        self.latency = latency;
    }

    /// The way of changes is what took how long; more that come do not count.
    pub(crate) fn set_latency_of_schedule(&mut self) {
        let schedule = self.receivers.take_schedule();
        self.set_latency(schedule.and_then(|schedule| schedule.latencies().latency()));
    }

    /// Compares the tables of all routers that live with what they should be, if that was asked
    /// for; a target that is still at work gets time.
    pub(crate) fn verify(&mut self, truth: &Truth) -> Result<(), Failure> {
        if !self.common.verify {
            return Ok(());
        }
        self.stop_the_clock();
        let mut quiet = QUIET;
        loop {
            // Large tables take seconds to compare, in which nothing is read: that is no quiet.
            let began = clock::now();
            self.wait(|receivers, now| now - receivers.last_octets_at().max(began) >= quiet)?;
            let differences = self.differences(truth);
            if differences.count == 0 {
                self.verified = Some(self.verified != Some(false));
                return Ok(());
            }
            if quiet >= GIVE_UP_AFTER_QUIET {
                self.verified = Some(false);
                remark!("{} differences, the first of them:", differences.count);
                for line in differences.first {
                    remark!("  {line}");
                }
                return Ok(());
            }
            quiet *= 2;
        }
    }

    fn differences(&self, truth: &Truth) -> Differences {
        let Some(ledger) = self.receivers.ledger() else {
            return Differences::default();
        };
        let living = (0..self.parties.len()).filter(|router| !self.killed.contains(router));
        let name = |router: usize| self.parties[router].address.to_string();
        truth.compare(ledger, living, name, |id| self.receivers.prefix_name(id))
    }

    /// The run ended when the last session stood and the last router held what it should.
    pub(crate) fn end_with_sessions(&mut self) {
        let complete_at = self.receivers.complete_at();
        self.ended_at = self.receivers.up_at().max().max(complete_at);
    }

    /// Waits until nothing has come in for so long from now on; the run ended with the last that
    /// came.
    pub(crate) fn wait_until_idle(&mut self, silence: Duration) -> Result<(), Failure> {
        let began = clock::now();
        self.wait(|receivers, now| {
            let quiet_since = receivers.last_octets_at().max(began);
            receivers.are_complete() && now - quiet_since >= silence
        })?;
        self.ended_at = self.ended_at.max(Some(self.receivers.last_octets_at()));
        Ok(())
    }

    /// Runs the routers until `done`.
    pub(crate) fn wait(
        &mut self,
        done: impl Fn(&Receivers, Instant) -> bool,
    ) -> Result<(), Failure> {
        while !done(&self.receivers, clock::now()) {
            self.step(clock::now() + LOOK_AGAIN)?;
        }
        Ok(())
    }

    /// Runs the routers until something happens, at most until `until`.
    pub(crate) fn step(&mut self, until: Instant) -> Result<(), Failure> {
        let now = clock::now();
        let is_silent = self.receivers.standing() == 0 && now >= self.expected_at;
        if is_silent || now >= self.give_up_at {
            return Err(self.what_is_missing());
        }
        let until = self.give_up_at.min(until);
        self.fleet.turn(until, &mut self.receivers)?;
        self.watch(clock::now());
        match self.receivers.trouble() {
            Some(trouble) => {
                let name = self.parties[trouble.router].address;
                let target = self.common.target;
                let words = &trouble.words;
                Err(Failure::Target(format!("{target}: router {name} {words}")))
            }
            None => Ok(()),
        }
    }

    /// Keeps up the progress bar and the timeline.
    fn watch(&mut self, now: Instant) {
        if self.progress.is_due(now) {
            let (standing, routers) = (self.receivers.standing(), self.parties.len());
            let (held, target) = self.receivers.progress();
            if standing < routers || target == 0 {
                self.progress.draw(now, "sessions", standing, routers);
            } else {
                self.progress.draw(now, "prefixes", held, target);
            }
        }
        if let Some(timeline) = &mut self.timeline {
            let elapsed = now
                .saturating_duration_since(self.released_at)
                .as_secs_f64();
            let counts = self.receivers.counts();
            let received = (counts.announced + counts.withdrawn) as f64;
            let last = timeline.last().copied().unwrap_or((-1.0, -1.0));
            if elapsed - last.0 >= SAMPLE_SECONDS && received > last.1 {
                timeline.push((elapsed, received));
            }
        }
    }

    /// Draws what was received over time, and how long single things took, if that was asked for.
    ///
    /// # Errors
    /// If it cannot be written.
    fn draw(&mut self, seconds: f64, counts: Counts) -> Result<(), Failure> {
        let (Some(path), Some(mut timeline)) = (&self.common.svg, self.timeline.take()) else {
            return Ok(());
        };
        timeline.retain(|point| point.0 <= seconds);
        timeline.push((seconds, (counts.announced + counts.withdrawn) as f64));
        let title = format!("{} routers at {}", self.parties.len(), self.common.target);
        let curve = self.latency.as_ref().map(|latency| latency.curve.clone());
        plot::draw_run(path, &title, timeline, curve).map_err(Failure::Missing)
    }

    /// What was measured; the routers hang up.
    pub(crate) fn finish(&mut self) -> Result<Results, Failure> {
        let ended_at = self.ended_at.unwrap_or_else(clock::now);
        let seconds = ended_at
            .saturating_duration_since(self.released_at)
            .as_secs_f64();
        let (dut, own) = self.stop_the_clock();
        self.fleet.say_goodbye();
        self.progress.clear();
        let counts = self.receivers.counts();
        self.draw(seconds, counts)?;
        Ok(Results {
            seconds,
            dut,
            loadgen: LoadgenUsage {
                cpu_seconds: own,
                bottleneck: results::is_bottleneck(seconds, own, dut.as_ref()),
            },
            established: self.established,
            receivers: counts.into(),
            latency: self.latency.take(),
            verified: self.verified,
            phases: std::mem::take(&mut self.phases),
        })
    }

    /// How long a target may take for its first session.
    fn patience(&self) -> Duration {
        PATIENCE.min(self.common.timeout())
    }

    fn what_is_missing(&self) -> Failure {
        let (target, seconds) = (self.common.target, self.common.timeout);
        let (standing, routers) = (self.receivers.standing(), self.parties.len());
        if standing == 0 {
            let seconds = self.patience().as_secs_f64();
            let why = self.receivers.turned_away_by().unwrap_or(SILENT);
            let words = format!("{target}: no session came up in {seconds} s: {why}");
            return Failure::Target(words);
        }
        if standing < routers {
            let words =
                format!("{target}: {standing} of {routers} sessions stand after {seconds} s");
            return Failure::Target(words);
        }
        let missing = self
            .receivers
            .missing(|router| self.parties[router].address.to_string());
        Failure::Missing(format!("{missing} after {seconds} s"))
    }
}

/// A socket for each router and some more, as far as the hard limit goes.
pub(crate) fn raise_file_limit(routers: usize) -> Result<(), Failure> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let needed = routers as u64 + 64;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let raised = Rlimit {
        current: Some(needed),
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).map_err(|_| {
        Failure::Usage(format!(
            "{routers} routers need {needed} open files, more than ulimit -Hn allows"
        ))
    })
}

/// Sessions on their way up at once, where their coming up is not what is measured: speakers exist
/// that listen with a queue of 5.
const DIALS_AT_ONCE: usize = 4;
/// Silence after which a target that sends no End-of-RIB counts as settled.
const SETTLED: Duration = Duration::from_millis(50);
/// Silence after which tables are compared for the first time, and that after which what differs
/// counts as wrong.
const QUIET: Duration = Duration::from_millis(300);
const GIVE_UP_AFTER_QUIET: Duration = Duration::from_secs(4);
/// The least time between two points of a timeline.
const SAMPLE_SECONDS: f64 = 0.001;
/// How often a run looks at its clock while nothing happens.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
