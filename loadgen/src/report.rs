//! What a run measured, as a table for people or JSON for scripts.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::output::say;

/// Running totals over all routers.
#[derive(Default)]
pub(crate) struct Totals {
    pub(crate) updates: u64,
    pub(crate) octets: u64,
    pub(crate) announced: u64,
    pub(crate) withdrawn: u64,
    pub(crate) end_of_rib: u64,
    first_read_at: Option<Instant>,
    last_read_at: Option<Instant>,
}

/// One line of results.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    /// Simulated routers.
    routers: usize,
    /// Of these, how many have a session that stands.
    established: usize,
    /// Prefixes that the router with the fewest holds.
    prefixes: usize,
    /// UPDATE messages, without End-of-RIB markers.
    updates: u64,
    /// Their octets.
    octets: u64,
    announced: u64,
    withdrawn: u64,
    end_of_rib: u64,
    /// Prefixes announced or withdrawn for each UPDATE.
    nlri_per_update: f64,
    /// From the first octet of an UPDATE to the last, in seconds.
    transfer_seconds: f64,
    /// From the start of the program to the last octet of an UPDATE, in seconds.
    seconds: f64,
}

impl Totals {
    /// Counts one UPDATE.
    pub(crate) fn add(&mut self, octets: usize, announced: u64, withdrawn: u64, read_at: Instant) {
        self.updates += 1;
        self.octets += octets as u64;
        self.announced += announced;
        self.withdrawn += withdrawn;
        self.first_read_at.get_or_insert(read_at);
        self.last_read_at = Some(read_at);
    }

    /// The results up to now.
    pub(crate) fn report(
        &self,
        started_at: Instant,
        routers: usize,
        established: usize,
        prefixes: usize,
    ) -> Report {
        let until_last = |since: Option<Instant>| match (since, self.last_read_at) {
            (Some(since), Some(last)) => last.saturating_duration_since(since),
            _ => Duration::ZERO,
        };
        Report {
            routers,
            established,
            prefixes,
            updates: self.updates,
            octets: self.octets,
            announced: self.announced,
            withdrawn: self.withdrawn,
            end_of_rib: self.end_of_rib,
            nlri_per_update: if self.updates == 0 {
                0.0
            } else {
                (self.announced + self.withdrawn) as f64 / self.updates as f64
            },
            transfer_seconds: until_last(self.first_read_at).as_secs_f64(),
            seconds: until_last(Some(started_at)).as_secs_f64(),
        }
    }
}

impl Report {
    /// Prints the results on standard output.
    pub(crate) fn print(&self, json: bool) {
        if json {
            say!("{}", serde_json::json!(self));
            return;
        }
        say!("routers          {:>12}", self.routers);
        say!("  established    {:>12}", self.established);
        say!("prefixes held    {:>12}", self.prefixes);
        say!("UPDATE messages  {:>12}", self.updates);
        say!("  octets         {:>12}", self.octets);
        say!("  announced      {:>12}", self.announced);
        say!("  withdrawn      {:>12}", self.withdrawn);
        say!("  NLRI an UPDATE {:>12.1}", self.nlri_per_update);
        say!("End-of-RIB       {:>12}", self.end_of_rib);
        say!("transfer seconds {:>12.4}", self.transfer_seconds);
        say!("seconds          {:>12.4}", self.seconds);
    }
}
