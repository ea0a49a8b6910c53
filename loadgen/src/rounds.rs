//! How long a change of a manifest takes to reach every router.
//!
//! A round writes one of two texts over a file and closes it; it ends when the last router has
//! read the last octet that brings it to exactly the prefixes in that text. The clock starts just
//! before the close, as the daemon reads files on close-after-write: after it, the writer may not
//! run again before the daemon has.

use std::fs::File;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use codec::{IpPrefix, Ipv4Prefix, Ipv6Prefix, WireFormat};
use hdrhistogram::Histogram;
use serde_json::json;

use crate::clock;
use crate::holdings::fingerprint;
use crate::latency::Latencies;
use crate::network::Observer;
use crate::output::{remark, say};
use crate::sink::Sink;

/// One text, and what every router holds while it is in force.
pub(crate) struct Side {
    text: String,
    prefixes: usize,
    fingerprint: u64,
}

/// The observer behind `rounds`.
pub(crate) struct Rounds {
    sink: Sink,
    routers: usize,
    file: PathBuf,
    sides: [Side; 2],
    left: usize,
    json: bool,
    /// The side that was written last, and when; `None` before the first round.
    written: Option<(usize, Instant)>,
    last_read_at: Instant,
    started_at: Instant,
    updates_before: u64,
    latencies: Latencies,
    /// UPDATEs that a router was told in a round, rounded up.
    updates: Histogram<u64>,
}

impl Side {
    /// A text in which every word that reads as a prefix is one.
    pub(crate) fn new(text: String) -> Side {
        let mut prefixes: Vec<IpPrefix> = text
            .split(|c: char| c.is_whitespace() || "[],\"'".contains(c))
            .filter_map(parse_prefix)
            .collect();
        prefixes.sort_unstable();
        prefixes.dedup();
        let sum = |sum: u64, prefix: &IpPrefix| sum.wrapping_add(fingerprint(*prefix));
        Side {
            fingerprint: prefixes.iter().fold(0, sum),
            prefixes: prefixes.len(),
            text,
        }
    }

    /// The text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

impl Rounds {
    /// `count` rounds over `file`, the sides in turn; the first is in force.
    pub(crate) fn new(
        sink: Sink,
        routers: usize,
        file: PathBuf,
        sides: [Side; 2],
        count: usize,
        json: bool,
    ) -> Rounds {
        Rounds {
            sink,
            routers,
            file,
            sides,
            left: count,
            json,
            written: None,
            last_read_at: clock::now(),
            started_at: clock::now(),
            updates_before: 0,
            latencies: Latencies::new(),
            updates: Histogram::new_with_bounds(1, UPDATES_MAX, 3)
                .expect("the bounds are constant and valid"),
        }
    }

    fn write(&mut self, side: usize) -> io::Result<()> {
        self.updates_before = self.sink.totals().updates;
        let mut file = File::create(&self.file)?;
        file.write_all(self.sides[side].text.as_bytes())?;
        self.written = Some((side, clock::now()));
        drop(file);
        Ok(())
    }

    fn record(&mut self, since: Instant) {
        let latency = self.last_read_at.saturating_duration_since(since);
        self.latencies.record(latency, 1);
        let updates = self.sink.totals().updates - self.updates_before;
        self.updates
            .saturating_record(updates.div_ceil(self.routers as u64));
        self.left -= 1;
    }

    fn print(&self) {
        let micros = |seconds: f64| (seconds * 1e9).round() / 1e3;
        let percentiles = self.latencies.percentiles().unwrap_or_default();
        let histogram = self.latencies.histogram();
        let mut line = json!({
            "rounds": self.latencies.count(),
            "routers": self.routers,
            "prefixes": [self.sides[0].prefixes, self.sides[1].prefixes],
            "p50Micros": micros(percentiles.p50),
            "p90Micros": micros(percentiles.p90),
            "p99Micros": micros(percentiles.p99),
            "maxMicros": micros(percentiles.max),
            "updatesPerRouter": [self.updates.min(), self.updates.max()],
        });
        if self.json {
            line["histogram"] = json!(histogram);
            say!("{line}");
            return;
        }
        for (name, value) in line.as_object().into_iter().flatten() {
            say!("{name:<22} {value}");
        }
    }
}

impl Observer for Rounds {
    fn established(&mut self, router: usize) {
        self.sink.established(router);
    }

    fn update(
        &mut self,
        router: usize,
        wire: &WireFormat,
        body: &[u8],
        octets: usize,
        read_at: Instant,
    ) {
        self.last_read_at = read_at;
        self.sink.update(router, wire, body, octets, read_at);
    }

    fn down(&mut self, router: usize, why: &str) {
        self.sink.down(router, why);
        remark!("router {router} is down: {why}");
    }

    fn failed(&mut self, router: usize, why: &str) {
        self.sink.failed(router, why);
    }

    fn turn(&mut self, now: Instant) -> Option<u8> {
        if let Some(code) = self.sink.give_up_on_target(now) {
            return Some(code);
        }
        if self.sink.is_out_of_time(now) {
            let done = self.latencies.count();
            remark!("{done} rounds were done in time, {} are left", self.left);
            return Some(1);
        }
        let (side, since) = self.written.unwrap_or((0, self.started_at));
        if !self.sink.all_hold(self.sides[side].fingerprint) {
            if now.duration_since(since) < ROUND_MAX {
                return None;
            }
            remark!(
                "not every router holds the {} prefixes asked for, the poorest {}: given up \
                 after {ROUND_MAX:?}",
                self.sides[side].prefixes,
                self.sink.fewest_held(),
            );
            return Some(1);
        }
        // A pause between rounds, so that each starts from rest, and what comes late is counted.
        if now.saturating_duration_since(self.last_read_at) < REST {
            return None;
        }
        if self.written.is_some() {
            self.record(since);
        }
        if self.left == 0 {
            self.print();
            return Some(0);
        }
        if let Err(error) = self.write(1 - side) {
            remark!("cannot write {}: {error}", self.file.display());
            return Some(1);
        }
        None
    }
}

fn parse_prefix(word: &str) -> Option<IpPrefix> {
    let (address, length) = word.split_once('/')?;
    let length = length.parse().ok()?;
    match address.parse().ok()? {
        IpAddr::V4(address) => Ipv4Prefix::new(address, length).map(IpPrefix::V4),
        IpAddr::V6(address) => Ipv6Prefix::new(address, length).map(IpPrefix::V6),
    }
}

/// A round that takes longer ends the run.
const ROUND_MAX: Duration = Duration::from_secs(30);
/// More UPDATEs than a router is told in a round.
const UPDATES_MAX: u64 = 60_000_000_000;
/// Looked at as often as the network has its timers looked at.
const REST: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_is_the_prefixes_in_its_text() {
        let flow = Side::new("toCIDR: [10.0.0.0/24, \"2001:db8::/32\"] # v1/x".into());
        let block = Side::new("- 2001:db8::/32\n- 10.0.0.0/24\n- 10.0.0.0/24\n".into());
        assert_eq!((flow.prefixes, block.prefixes), (2, 2));
        assert_eq!(flow.fingerprint, block.fingerprint);
        let other = Side::new("- 10.0.0.0/25\n- 2001:db8::/32\n".into());
        assert_ne!(flow.fingerprint, other.fingerprint);
    }
}
