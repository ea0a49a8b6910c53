//! `ringbgp check`: says what is wrong with manifests and what this node would announce to whom.
//! Starts nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::announcements::{Announcement, announcements, note, text};
use super::node_name::{NodeArgs, hostname};
use super::output::{Failure, Format, complain, json, print};
use crate::interfaces::SystemInterfaces;
use crate::model::Fault;
use crate::watcher;

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// A directory of Kubernetes YAML
    #[arg(long, value_name = "DIR")]
    manifests: PathBuf,
    #[command(flatten)]
    node: NodeArgs,
    /// Let warnings fail the check too
    #[arg(long)]
    strict: bool,
    /// The form of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// What `check -o json` prints.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    faults: Vec<Fault>,
    announcements: Vec<Announcement>,
    /// What is to be known of the announcements.
    note: Option<String>,
    /// Kinds that are not read, with how many objects there are of each.
    passed_over: BTreeMap<String, usize>,
}

pub(super) fn check(args: CheckArgs) -> Result<(), Failure> {
    let options = args.node.resolve()?;
    let checked = watcher::check(&args.manifests, &options);
    let passes = checked.passes(args.strict);
    let announcements = announcements(&checked.state, &SystemInterfaces);
    let machine = hostname().unwrap_or_default();
    let report = Report {
        faults: checked.faults.iter().map(Fault::from).collect(),
        note: note(&announcements, &options.node_name, &machine),
        announcements,
        passed_over: checked.passed_over,
    };
    if args.output == Format::Json {
        print(&(json(&report)? + "\n"))?;
    } else {
        for fault in &report.faults {
            complain(&fault.to_string());
        }
        for (kind, count) in &report.passed_over {
            complain(&format!(
                "{count} of kind {kind} passed over: the kind is not read"
            ));
        }
        let note = report.note.iter().map(|note| format!("Note: {note}\n"));
        print(&(text(&report.announcements) + &note.collect::<String>()))?;
    }
    if passes {
        return Ok(());
    }
    let warnings = report.faults.iter().filter(|f| f.warning).count();
    Err(Failure::Asked(format!(
        "{} and {} in {}; mend them and check again",
        count(report.faults.len() - warnings, "fault"),
        count(warnings, "warning"),
        args.manifests.display()
    )))
}

fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}
