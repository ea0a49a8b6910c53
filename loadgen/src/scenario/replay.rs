//! `replay`: what the peers of recorded dumps said, said again by one router for each of them.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::options::routers;
use super::recording::Recording;
use super::{Common, Failure, Results, Run};
use crate::output::remark;
use crate::truth::Party;

/// Arguments of `replay`.
#[derive(Args, Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReplayArgs {
    /// MRT dumps, in the order in which they were recorded: TABLE_DUMP_V2, BGP4MP or BGP4MP_ET,
    /// plain, .gz or .bz2.
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// Use the records before a damaged one instead of refusing the file.
    #[arg(long)]
    pub(crate) lenient: bool,
    /// Routers that listen.
    #[arg(long, default_value = "1", value_parser = routers)]
    pub(crate) receivers: usize,
    #[command(flatten)]
    #[serde(flatten)]
    pub(crate) common: Common,
}

/// Runs `replay`.
pub(super) fn replay(args: &ReplayArgs) -> Result<Results, Failure> {
    let recording = args.read()?;
    remark!("{}", recording.summary());
    let parties = args.parties(recording.senders());
    let senders = recording.senders();
    let expected = recording.expected();
    let mut run = Run::new(&args.common, parties, &expected, |router| router >= senders)?;
    run.establish()?;
    for sender in 0..senders {
        run.discard(sender);
    }
    run.release();
    run.expect_everything();
    for sender in 0..senders {
        run.say(sender, recording.script(sender));
    }
    run.wait_until_complete()?;
    // Many routers announce the same prefixes, and some of them withdraw what they announced.
    run.wait_until_idle(IDLE)?;
    if args.common.verify {
        let truth = recording.truth(run.truth(expected.len()), &expected);
        run.verify(&truth)?;
    }
    run.finish()
}

impl ReplayArgs {
    /// The routers that the dumps need.
    pub(super) fn neighbors(&self) -> Result<Vec<Party>, Failure> {
        Ok(self.parties(self.read()?.senders()))
    }

    fn parties(&self, senders: usize) -> Vec<Party> {
        self.common.parties(senders + self.receivers)
    }

    fn read(&self) -> Result<Recording, Failure> {
        let mut recording = Recording::new(&self.common);
        for file in &self.files {
            recording.read(file, self.lenient)?;
        }
        recording.finish();
        if recording.is_silent() {
            let family = self.common.family();
            return Err(Failure::Usage(format!(
                "the dumps hold no routes of {family} that can be announced: {}",
                recording.summary()
            )));
        }
        Ok(recording)
    }
}

/// Silence after which nothing moves any more.
const IDLE: Duration = Duration::from_millis(300);
