//! What a run measured: a table for people, JSON for scripts.

use comfy_table::{Cell, CellAlignment, Table, presets};
use serde::Serialize;
use serde_json::{Value, json};

use crate::latency::Latency;
use crate::output::say;
use crate::process::Usage;
use crate::receivers::Counts;

/// The results of a run.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Results {
    /// From the release of the senders until the last receiver held everything.
    pub(crate) seconds: f64,
    pub(crate) dut: Option<Usage>,
    pub(crate) loadgen: LoadgenUsage,
    pub(crate) established: Established,
    pub(crate) receivers: Received,
    pub(crate) latency: Option<Latency>,
    /// Whether the tables were compared and are right; `None`: not compared.
    pub(crate) verified: Option<bool>,
    pub(crate) phases: Vec<Phase>,
}

/// What the load generator itself used.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LoadgenUsage {
    pub(crate) cpu_seconds: f64,
    /// It was busier than the target, and had no time left: the figures are its own.
    pub(crate) bottleneck: bool,
}

/// How the sessions came up.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Established {
    /// From the first dial until the last session stood.
    pub(crate) seconds: f64,
    pub(crate) sessions: usize,
}

/// What the receivers were told.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Received {
    /// Announced and withdrawn.
    pub(crate) nlri: u64,
    pub(crate) updates: u64,
    pub(crate) withdrawn: u64,
    pub(crate) octets: u64,
    pub(crate) nlri_per_update: f64,
}

/// A part of a run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Phase {
    pub(crate) name: String,
    pub(crate) seconds: f64,
}

impl From<Counts> for Received {
    fn from(counts: Counts) -> Received {
        let nlri = counts.announced + counts.withdrawn;
        Received {
            nlri,
            updates: counts.updates,
            withdrawn: counts.withdrawn,
            octets: counts.octets,
            nlri_per_update: nlri as f64 / counts.updates.max(1) as f64,
        }
    }
}

impl Results {
    /// 1 if tables were compared and differ.
    pub(crate) fn exit_code(&self) -> u8 {
        u8::from(self.verified == Some(false))
    }

    /// Prints them on standard output.
    pub(crate) fn print(&self, scenario: &str, arguments: &Value, json: bool) {
        if json {
            let mut object = json!({"scenario": scenario, "arguments": arguments});
            if let (Value::Object(object), Ok(Value::Object(results))) =
                (&mut object, serde_json::to_value(self))
            {
                object.extend(results);
            }
            say!("{object}");
            return;
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        for (name, figure) in self.rows() {
            table.add_row([Cell::new(name), Cell::new(figure)]);
        }
        if let Some(figures) = table.column_mut(1) {
            figures.set_cell_alignment(CellAlignment::Right);
        }
        say!("{scenario}\n{table}");
        if self.loadgen.bottleneck {
            say!("The load generator was the bottleneck: the target may well be faster.");
        }
    }

    /// Names and figures, for people.
    fn rows(&self) -> Vec<(String, String)> {
        let mut rows = Vec::new();
        let mut row = |name: &str, figure: String| rows.push((name.to_owned(), figure));
        let seconds = |seconds: f64| format!("{seconds:.4} s");
        let megabytes = |octets: u64| format!("{:.1} MB", octets as f64 / 1e6);
        row("time", seconds(self.seconds));
        for phase in &self.phases {
            row(&format!("  {}", phase.name), seconds(phase.seconds));
        }
        if let Some(latency) = &self.latency {
            let percentiles = &latency.percentiles;
            row("latency p50", seconds(percentiles.p50));
            row("  p90", seconds(percentiles.p90));
            row("  p99", seconds(percentiles.p99));
            row("  max", seconds(percentiles.max));
        }
        row("sessions", self.established.sessions.to_string());
        row("  up after", seconds(self.established.seconds));
        row("NLRI received", self.receivers.nlri.to_string());
        row("  of them withdrawn", self.receivers.withdrawn.to_string());
        row("UPDATEs", self.receivers.updates.to_string());
        row(
            "  NLRI in each",
            format!("{:.1}", self.receivers.nlri_per_update),
        );
        row("  octets", self.receivers.octets.to_string());
        if let Some(dut) = &self.dut {
            row("CPU of the target", seconds(dut.cpu_seconds));
            row("  peak RSS", megabytes(dut.peak_rss_bytes));
            row("  RSS in the end", megabytes(dut.rss_bytes));
        }
        row("CPU of the routers", seconds(self.loadgen.cpu_seconds));
        if let Some(verified) = self.verified {
            let words = if verified {
                "as they should be"
            } else {
                "wrong"
            };
            row("tables", words.into());
        }
        rows
    }
}

/// Whether the load generator, with its one thread, was busy all the time and the target was not
/// the busier of the two.
pub(crate) fn is_bottleneck(seconds: f64, own: f64, dut: Option<&Usage>) -> bool {
    own >= 0.9 * seconds && dut.is_none_or(|dut| dut.cpu_seconds < own)
}
