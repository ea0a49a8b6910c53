//! Routers that listen: they print or count what they are told.

use std::time::{Duration, Instant};

use codec::{AttributeFault, AttributeSet, FaultAction, NextHop, NlriField, Update, WireFormat};
use serde_json::json;

use crate::clock;
use crate::holdings::Holdings;
use crate::network::{Observer, PATIENCE};
use crate::output::{remark, say};
use crate::report::Totals;

/// What a sink does with what it is told, and when it ends.
#[derive(Clone, Debug)]
pub(crate) struct SinkOptions {
    /// Print nothing but the results.
    pub(crate) count: bool,
    /// JSON instead of text.
    pub(crate) json: bool,
    /// The routers dial a target, rather than wait for who comes.
    pub(crate) dials: bool,
    /// End well once every router holds at least so many prefixes.
    pub(crate) expect: Option<usize>,
    /// End after so long, badly if something was expected.
    pub(crate) timeout: Option<Duration>,
}

/// The observer behind `sink`; `blast` uses it too, with its own end.
pub(crate) struct Sink {
    options: SinkOptions,
    names: Vec<String>,
    up: Vec<bool>,
    holdings: Holdings,
    totals: Totals,
    started_at: Instant,
    canonical: Vec<u8>,
    /// Some session stood at some time.
    was_up: bool,
    /// Why the last attempt came to nothing.
    failure: Option<String>,
}

/// What is known of a target that neither refuses nor answers.
pub(crate) const SILENT: &str = "nobody answers there";

/// The exit code where the target is dead or refuses.
const TARGET_DEAD: u8 = 3;

impl Sink {
    /// Sinks for routers of these names.
    pub(crate) fn new(options: SinkOptions, names: Vec<String>) -> Sink {
        Sink {
            options,
            up: vec![false; names.len()],
            holdings: Holdings::new(names.len()),
            names,
            totals: Totals::default(),
            started_at: clock::now(),
            canonical: Vec::new(),
            was_up: false,
            failure: None,
        }
    }

    /// How many routers have a session that stands.
    pub(crate) fn routers_up(&self) -> usize {
        self.up.iter().filter(|up| **up).count()
    }

    /// Prefixes that the router with the fewest holds.
    pub(crate) fn fewest_held(&self) -> usize {
        let held = (0..self.names.len()).map(|router| self.holdings.held(router));
        held.min().unwrap_or(0)
    }

    /// Whether every router is up and holds exactly the prefixes of this fingerprint.
    pub(crate) fn all_hold(&self, fingerprint: u64) -> bool {
        let hold = |router| self.holdings.fingerprint(router) == fingerprint;
        self.up.iter().all(|up| *up) && (0..self.names.len()).all(hold)
    }

    /// Says so, if no session came up in time: the exit code.
    pub(crate) fn give_up_on_target(&self, now: Instant) -> Option<u8> {
        let patience = match (self.options.timeout, &self.failure) {
            (Some(timeout), _) if self.options.dials => timeout.min(PATIENCE),
            (Some(timeout), _) => timeout,
            (None, None) if !self.options.dials => return None,
            (None, _) => PATIENCE,
        };
        if self.was_up || now.duration_since(self.started_at) < patience {
            return None;
        }
        let seconds = patience.as_secs_f64();
        let why = self.failure.as_deref().unwrap_or(SILENT);
        remark!("ringbgp-loadgen: no session came up in {seconds} s: {why}");
        Some(TARGET_DEAD)
    }

    /// Whether the time given by `--timeout` has passed.
    pub(crate) fn is_out_of_time(&self, now: Instant) -> bool {
        let elapsed = now.duration_since(self.started_at);
        self.options
            .timeout
            .is_some_and(|timeout| elapsed >= timeout)
    }

    /// Counts so far.
    pub(crate) fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Prints the results so far.
    pub(crate) fn print_report(&self) {
        self.totals
            .report(
                self.started_at,
                self.names.len(),
                self.routers_up(),
                self.fewest_held(),
            )
            .print(self.options.json);
    }

    fn take_announced(&mut self, router: usize, update: &Update<'_>) -> u64 {
        let mut announced = 0;
        let fields = [
            (NlriField::Plain, Some(update.announced)),
            (NlriField::MpReach, update.mp_announced.map(|mp| mp.nlri)),
        ];
        for (field, nlri) in fields {
            let Some(nlri) = nlri.filter(|nlri| !nlri.is_empty()) else {
                continue;
            };
            if !self.options.count {
                self.canonical.clear();
                update.canonical(field, &mut self.canonical);
            }
            for (_, prefix) in nlri.iter() {
                announced += 1;
                self.holdings.insert(router, prefix);
                if !self.options.count {
                    let attributes = AttributeSet::new(&self.canonical);
                    let prefix = prefix.to_string();
                    print_announce(&self.names[router], &prefix, attributes, self.options.json);
                }
            }
        }
        announced
    }

    fn take_withdrawn(&mut self, router: usize, update: &Update<'_>) -> u64 {
        let mut withdrawn = 0;
        let mut fields = vec![
            Some(update.withdrawn),
            update.mp_withdrawn.map(|mp| mp.nlri),
        ];
        if is_refused(update) {
            fields.push(Some(update.announced));
            fields.push(update.mp_announced.map(|mp| mp.nlri));
        }
        for nlri in fields.into_iter().flatten() {
            for (_, prefix) in nlri.iter() {
                withdrawn += 1;
                self.holdings.remove(router, prefix);
                if !self.options.count {
                    let name = &self.names[router];
                    if self.options.json {
                        let prefix = prefix.to_string();
                        let line = json!({"event": "withdraw", "router": name, "prefix": prefix});
                        say!("{line}");
                    } else {
                        say!("{name} withdraw {prefix}");
                    }
                }
            }
        }
        withdrawn
    }

    fn say(&self, router: usize, event: &str, why: &str) {
        if self.options.count {
            return;
        }
        let name = &self.names[router];
        if self.options.json {
            say!("{}", json!({"event": event, "router": name, "why": why}));
        } else {
            say!("{name} {event} {why}");
        }
    }
}

impl Observer for Sink {
    fn established(&mut self, router: usize) {
        self.was_up = true;
        self.up[router] = true;
        self.say(router, "established", "");
    }

    fn update(
        &mut self,
        router: usize,
        wire: &WireFormat,
        body: &[u8],
        octets: usize,
        read_at: Instant,
    ) {
        let update = match codec::parse_update(body, wire) {
            Ok(update) => update,
            Err(fault) => return self.say(router, "broken UPDATE", &fault.to_string()),
        };
        if let Some(family) = update.end_of_rib() {
            self.totals.end_of_rib += 1;
            return self.say(router, "end-of-rib", &family.to_string());
        }
        let withdrawn = self.take_withdrawn(router, &update);
        let announced = if is_refused(&update) {
            0
        } else {
            self.take_announced(router, &update)
        };
        self.totals.add(octets, announced, withdrawn, read_at);
    }

    fn down(&mut self, router: usize, why: &str) {
        self.up[router] = false;
        self.holdings.clear(router);
        self.say(router, "down", why);
    }

    fn failed(&mut self, router: usize, why: &str) {
        // It is tried again and again; the same words once are enough.
        if self.failure.as_deref() != Some(why) {
            self.say(router, "failed", why);
            self.failure = Some(why.to_owned());
        }
    }

    fn turn(&mut self, now: Instant) -> Option<u8> {
        let all_up = self.up.iter().all(|up| *up);
        let expected = self.options.expect;
        if all_up && expected.is_some_and(|expected| self.fewest_held() >= expected) {
            self.print_report();
            return Some(0);
        }
        if let Some(code) = self.give_up_on_target(now) {
            return Some(code);
        }
        if !self.is_out_of_time(now) {
            return None;
        }
        self.print_report();
        Some(u8::from(expected.is_some()))
    }
}

/// RFC 7606 §2: what came with a broken attribute counts as withdrawn. Simulated routers live on
/// loopback addresses, so that such a next hop is no fault here.
fn is_refused(update: &Update<'_>) -> bool {
    let is_next_hop = |fault: &AttributeFault| fault.code == codec::code::NEXT_HOP;
    update
        .faults
        .iter()
        .any(|fault| fault.action == FaultAction::TreatAsWithdraw && !is_next_hop(fault))
}

fn print_announce(router: &str, prefix: &str, attributes: AttributeSet<'_>, json: bool) {
    let next_hop = attributes.next_hop().map(|next_hop| match next_hop {
        NextHop::V4(address) => address.to_string(),
        NextHop::V6(address) | NextHop::V6WithLinkLocal(address, _) => address.to_string(),
    });
    let as_path = attributes.as_path().to_string();
    let communities: Vec<String> = attributes.communities().map(community).collect();
    let large: Vec<String> = attributes
        .large_communities()
        .map(|[a, b, c]| format!("{a}:{b}:{c}"))
        .collect();
    if json {
        let line = json!({
            "event": "announce",
            "router": router,
            "prefix": prefix,
            "nextHop": next_hop,
            "asPath": as_path,
            "localPref": attributes.local_pref(),
            "med": attributes.med(),
            "communities": communities,
            "largeCommunities": large,
        });
        say!("{line}");
        return;
    }
    let mut line = format!("{router} announce {prefix}");
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            line.push_str(&format!(" {name} {value}"));
        }
    };
    add("next-hop", next_hop);
    add("as-path", Some(format!("[{as_path}]")));
    add("local-pref", attributes.local_pref().map(|v| v.to_string()));
    add("med", attributes.med().map(|v| v.to_string()));
    add("communities", Some(communities.join(",")));
    add("large-communities", Some(large.join(",")));
    say!("{line}");
}

fn community(value: u32) -> String {
    format!("{}:{}", value >> 16, value & 0xffff)
}
