//! How long a change of a manifest takes to reach every router.
//!
//! A round writes one of two texts over a file and closes it; it ends when the last router has
//! read the last octet that brings it to the number of prefixes which that text stands for. The
//! clock starts after the close, as the daemon reads files on close-after-write.

use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{fs, io};

use codec::WireFormat;
use hdrhistogram::Histogram;
use serde_json::json;

use crate::clock;
use crate::network::Observer;
use crate::sink::Sink;

/// One text and how many prefixes every router holds while it is in force.
pub(crate) struct Side {
    pub(crate) text: String,
    pub(crate) prefixes: usize,
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
    latency: Histogram<u64>,
    most_updates: u64,
}

impl Rounds {
    /// `count` rounds over `file`, the sides in turn.
    pub(crate) fn new(
        sink: Sink,
        routers: usize,
        file: PathBuf,
        sides: [Side; 2],
        count: usize,
        json: bool,
    ) -> Rounds {
        let histogram = Histogram::new_with_bounds(1, ROUND_NANOS_MAX, 3);
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
            latency: histogram.expect("the bounds are constant and valid"),
            most_updates: 0,
        }
    }

    fn write(&mut self, side: usize) -> io::Result<()> {
        self.updates_before = self.sink.totals().updates;
        fs::write(&self.file, &self.sides[side].text)?;
        self.written = Some((side, clock::now()));
        Ok(())
    }

    fn holds(&self, side: usize) -> bool {
        self.sink.routers_up() == self.routers
            && self.sink.fewest_held() == self.sides[side].prefixes
            && self.sink.most_held() == self.sides[side].prefixes
    }

    fn print(&self) {
        let micros = |quantile| self.latency.value_at_quantile(quantile) as f64 / 1000.0;
        let line = json!({
            "rounds": self.latency.len(),
            "routers": self.routers,
            "prefixes": [self.sides[0].prefixes, self.sides[1].prefixes],
            "p50Micros": micros(0.5),
            "p90Micros": micros(0.9),
            "p99Micros": micros(0.99),
            "maxMicros": micros(1.0),
            "mostUpdatesPerRouter": self.most_updates,
        });
        if self.json {
            println!("{line}");
            return;
        }
        for (name, value) in line.as_object().into_iter().flatten() {
            println!("{name:<22} {value}");
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
        eprintln!("router {router} is down: {why}");
    }

    fn failed(&mut self, router: usize, why: &str) {
        self.sink.failed(router, why);
    }

    fn turn(&mut self, now: Instant) -> Option<u8> {
        let (side, since) = self.written.unwrap_or((0, self.started_at));
        if !self.holds(side) {
            if now.duration_since(since) < ROUND_MAX {
                return None;
            }
            eprintln!(
                "routers hold {} to {} prefixes, not {}: given up after {ROUND_MAX:?}",
                self.sink.fewest_held(),
                self.sink.most_held(),
                self.sides[side].prefixes
            );
            return Some(1);
        }
        if self.written.is_some() {
            let nanos = self
                .last_read_at
                .saturating_duration_since(since)
                .as_nanos();
            self.latency
                .saturating_record(u64::try_from(nanos).unwrap_or(u64::MAX));
            let updates = self.sink.totals().updates - self.updates_before;
            self.most_updates = self.most_updates.max(updates.div_ceil(self.routers as u64));
            self.left -= 1;
        }
        if self.left == 0 {
            self.print();
            return Some(0);
        }
        // A pause between rounds, so that each starts from rest.
        if now.duration_since(self.last_read_at) < REST {
            std::thread::sleep(REST);
        }
        if let Err(error) = self.write(1 - side) {
            eprintln!("cannot write {}: {error}", self.file.display());
            return Some(1);
        }
        None
    }
}

/// A round that takes longer ends the run.
const ROUND_MAX: Duration = Duration::from_secs(30);
const ROUND_NANOS_MAX: u64 = 60_000_000_000;
const REST: Duration = Duration::from_millis(20);
