//! One run of a scenario: its routers, its clock, and how it may fail.

use std::io;
use std::time::{Duration, Instant};

use codec::IpPrefix;

use super::results::{Established, LoadgenUsage, Phase, Results};
use super::{Common, results};
use crate::clock;
use crate::fleet::Fleet;
use crate::process::{self, ProcessMeter};
use crate::receivers::Receivers;
use crate::script::Pieces;

/// Why a run came to no result.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It was asked for what cannot be.
    Usage(String),
    /// What was expected did not come.
    Missing(String),
    /// The target is dead, refuses, or does not speak BGP.
    Target(String),
}

impl Failure {
    /// One sentence.
    pub(crate) fn words(&self) -> &str {
        match self {
            Failure::Usage(words) | Failure::Missing(words) | Failure::Target(words) => words,
        }
    }

    /// The exit code of the process.
    pub(crate) fn exit_code(&self) -> u8 {
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
    routers: usize,
    counting: Vec<usize>,
    give_up_at: Instant,
    established: Established,
    released_at: Instant,
    own_cpu_began: f64,
    meter: Option<ProcessMeter>,
    ended_at: Option<Instant>,
    phases: Vec<Phase>,
    phase_began: Instant,
}

impl<'c> Run<'c> {
    /// Routers that dial nobody yet; `counting` says whose tables count. They will be told no
    /// prefix but those `expected`.
    pub(crate) fn new(
        common: &'c Common,
        routers: usize,
        expected: &[IpPrefix],
        counting: impl Fn(usize) -> bool,
    ) -> Result<Run<'c>, Failure> {
        if routers == 0 {
            return Err(Failure::Usage("a scenario needs a router".into()));
        }
        raise_file_limit(routers)?;
        let identities = (0..routers).map(|router| common.identity(router));
        let now = clock::now();
        Ok(Run {
            fleet: Fleet::new(identities.collect(), common.target)?,
            receivers: Receivers::new(routers, expected, &counting),
            common,
            routers,
            counting: (0..routers).filter(|router| counting(*router)).collect(),
            give_up_at: now
                .checked_add(common.timeout())
                .unwrap_or(now + Duration::from_secs(1 << 30)),
            established: Established::default(),
            released_at: now,
            own_cpu_began: 0.0,
            meter: None,
            ended_at: None,
            phases: Vec::new(),
            phase_began: now,
        })
    }

    /// Dials with all routers until every session stands, and the target has said End-of-RIB to
    /// all or nothing for a while.
    pub(crate) fn establish(&mut self) -> Result<(), Failure> {
        let began = clock::now();
        self.dial_all();
        let routers = self.routers;
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
        (0..self.routers).for_each(|router| self.fleet.dial(router));
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
        self.released_at = clock::now();
        self.phase_began = self.released_at;
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

    /// Waits until nothing has come in for so long; the run ended with the last that came.
    pub(crate) fn wait_until_idle(&mut self, silence: Duration) -> Result<(), Failure> {
        self.wait(|receivers, now| {
            receivers.are_complete() && now - receivers.last_octets_at() >= silence
        })?;
        self.ended_at = self.ended_at.max(Some(self.receivers.last_octets_at()));
        Ok(())
    }

    /// Runs the routers until `done`.
    pub(crate) fn wait(
        &mut self,
        done: impl Fn(&Receivers, Instant) -> bool,
    ) -> Result<(), Failure> {
        loop {
            let now = clock::now();
            if let Some(trouble) = self.receivers.trouble() {
                let name = self.common.address(trouble.router);
                let target = self.common.target;
                let words = &trouble.words;
                return Err(Failure::Target(format!("{target}: router {name} {words}")));
            }
            if done(&self.receivers, now) {
                return Ok(());
            }
            if now >= self.give_up_at {
                return Err(Failure::Missing(self.what_is_missing()));
            }
            let until = self.give_up_at.min(now + LOOK_AGAIN);
            self.fleet.turn(until, &mut self.receivers)?;
        }
    }

    /// What was measured; the routers hang up.
    pub(crate) fn finish(&mut self) -> Results {
        let ended_at = self.ended_at.unwrap_or_else(clock::now);
        let seconds = ended_at
            .saturating_duration_since(self.released_at)
            .as_secs_f64();
        let dut = self.meter.as_ref().map(ProcessMeter::usage);
        let own = process::own_cpu_seconds() - self.own_cpu_began;
        self.fleet.say_goodbye();
        Results {
            seconds,
            dut,
            loadgen: LoadgenUsage {
                cpu_seconds: own,
                bottleneck: results::is_bottleneck(seconds, own, dut.as_ref()),
            },
            established: self.established,
            receivers: self.receivers.counts().into(),
            latency: None,
            verified: None,
            phases: std::mem::take(&mut self.phases),
        }
    }

    fn what_is_missing(&self) -> String {
        let seconds = self.common.timeout;
        let standing = self.receivers.standing();
        if standing < self.routers {
            return format!(
                "{standing} of {} sessions stand after {seconds} s",
                self.routers
            );
        }
        let missing = self
            .receivers
            .missing(|router| self.common.address(router).to_string());
        format!("{missing} after {seconds} s")
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

/// Silence after which a target that sends no End-of-RIB counts as settled.
const SETTLED: Duration = Duration::from_millis(50);
/// How often a run looks at its clock while nothing happens.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
