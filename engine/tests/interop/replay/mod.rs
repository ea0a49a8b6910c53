//! Recorded tables and updates of the Internet, said again to the daemon by one session for each
//! router that a dump names. What every session is told has to be what a plain reference makes of
//! another program's reading of the dump, attribute by attribute; and with the built-in filters on,
//! exactly the routes are missing that those name.
//!
//! The dumps are not part of the repository (`RINGBGP_TEST_DATA`). A part of each is replayed;
//! `RINGBGP_REPLAY_WHOLE=1` replays all of it.

mod dump;
mod reference;
mod table;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use ipnet::IpNet;
use serde_json::Value;

use crate::daemon::{Daemon, config};
use crate::lab::skipped;
use crate::process::eventually;
use crate::scripted::{Addresses, Peer, RINGBGP_ASN};
use dump::{Share, Speaker};
use reference::{Ours, Refusal};
use table::Table;

/// How often something was refused.
type Refused = BTreeMap<Refusal, usize>;

fn dump(name: &str, share: Share) -> Option<Vec<Speaker>> {
    let root = std::env::var_os("RINGBGP_TEST_DATA").map(PathBuf::from);
    let path = root.map(|root| root.join("mrt").join(name));
    let Some(path) = path.filter(|path| path.exists()) else {
        return skipped(&format!("RINGBGP_TEST_DATA has no {name}"));
    };
    let whole = std::env::var("RINGBGP_REPLAY_WHOLE").is_ok_and(|value| value == "1");
    Some(dump::read(&path, if whole { Share::WHOLE } else { share }))
}

/// Replays a dump with the built-in filters on or off. How many routes were refused, by reason.
fn replay(speakers: &[Speaker], filters: bool) -> Refused {
    let ours = Ours {
        asn: RINGBGP_ASN,
        next_hop: NEXT_HOP.map(|address| address.parse().expect("an address")),
    };
    let addresses = Addresses::new();
    let settings = match filters {
        true => "",
        false => {
            ", builtinFilters: {martians: false, asSet: false, firstAS: false, ownPrefixes: false}"
        }
    };
    let neighbor = |number: u8, asn: u32| {
        let more =
            format!("import: all, export: all, timers: {{holdTimeSeconds: {HOLD_TIME}}}{settings}");
        let neighbor = addresses.neighbor(number, &more);
        neighbor.replace("peerASN: 65002", &format!("peerASN: {asn}"))
    };
    let parties: Vec<(u8, u32)> = (FIRST..)
        .zip(speakers.iter().map(|speaker| speaker.asn))
        .chain([(SINK, SINK_ASN)])
        .collect();
    let neighbors: Vec<String> = parties
        .iter()
        .map(|(number, asn)| neighbor(*number, *asn))
        .collect();
    let text = config(RINGBGP_ASN, &addresses.options(), &neighbors);
    let daemon = Daemon::start(None, &[("config.yaml", &text)]);

    let winners = reference::winners(speakers, &ours, filters);
    let all_said = AtomicBool::new(false);
    // Each holds its session until all are content.
    let _tables: Vec<Table<'_>> = std::thread::scope(|scope| {
        let start = |(place, (number, asn)): (usize, &(u8, u32))| {
            let peer = Peer::establish_in(*asn, addresses, *number, HOLD_TIME);
            let mut table = Table::new(peer, place, &winners);
            let says = speakers.get(place).map(|speaker| speaker.says.as_slice());
            let all_said = &all_said;
            scope.spawn(move || {
                table.play(says.unwrap_or_default(), all_said);
                table
            })
        };
        let playing: Vec<_> = parties.iter().enumerate().map(start).collect();
        let said = Said(&all_said);
        for (speaker, (number, _)) in speakers.iter().zip(&parties) {
            let address = addresses.host(*number).to_string();
            wait_until_read(&daemon, &address, speaker, &ours, filters);
        }
        drop(said);
        let tables = playing.into_iter().map(|table| table.join());
        tables
            .map(|table| table.expect("a session is told what it should be"))
            .collect()
    });

    let mut refused = Refused::new();
    for (speaker, (number, _)) in speakers.iter().zip(&parties) {
        let address = addresses.host(*number).to_string();
        let due = refusals(speaker, &ours, filters);
        check_refusals(&daemon, &address, &due);
        for refusal in due.into_values() {
            *refused.entry(refusal).or_default() += 1;
        }
    }
    let told = winners.values().filter(|winner| winner.told.is_some());
    println!(
        "{} sessions, {} prefixes, {} told, refused {refused:?}",
        parties.len(),
        winners.len(),
        told.count()
    );
    refused
}

/// Says when it is gone that all has been said, or that waiting for it has failed.
struct Said<'a>(&'a AtomicBool);

impl Drop for Said<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn refusals(speaker: &Speaker, ours: &Ours, filters: bool) -> HashMap<IpNet, Refusal> {
    let refusal = |(prefix, route): (&IpNet, &std::sync::Arc<reference::Route>)| {
        let refusal = route.refusal(*prefix, speaker.asn, ours, filters)?;
        Some((*prefix, refusal))
    };
    speaker.routes.iter().filter_map(refusal).collect()
}

/// Waits until the daemon has taken all that a speaker says, and counts of it what it should.
fn wait_until_read(
    daemon: &Daemon<'_>,
    address: &str,
    speaker: &Speaker,
    ours: &Ours,
    filters: bool,
) {
    let refused = refusals(speaker, ours, filters).len();
    let (received, accepted) = (speaker.routes.len(), speaker.routes.len() - refused);
    table::eventually_replayed(&format!("{received} routes of {address} are read"), || {
        let peer = daemon.peer(address)?;
        let sum = |field: &str| -> u64 {
            let families = peer["families"].as_array().into_iter().flatten();
            families.filter_map(|family| family[field].as_u64()).sum()
        };
        match (sum("received"), sum("accepted")) == (received as u64, accepted as u64) {
            true => Ok(()),
            false => Err(format!("accepted should be {accepted}: {peer}")),
        }
    });
}

/// The daemon says of the routes that are refused, and of no others, why they are.
fn check_refusals(daemon: &Daemon<'_>, address: &str, due: &HashMap<IpNet, Refusal>) {
    if due.len() > ASKED_MAX {
        return;
    }
    for (prefix, refusal) in due {
        let prefix = prefix.to_string();
        let question = ["routes", "received", "--peer", address, &prefix];
        let route = eventually(&format!("{prefix} of {address} is told"), || {
            let routes = daemon.ask(&question)?;
            let mut routes = routes.as_array().into_iter().flatten();
            routes
                .find(|route| route["prefix"] == prefix.as_str())
                .cloned()
                .ok_or_else(|| "it is not there".to_owned())
        });
        let words = route["rejectedBy"].as_str().unwrap_or_default();
        assert!(words.starts_with(refusal.words()), "{refusal:?}: {route}");
        assert_eq!(route["accepted"], Value::Bool(false), "{route}");
    }
}

/// Two full tables and three small ones of 2010, on which AS_SETs still stand.
#[test]
fn a_table_of_2010() {
    let share = Share {
        every: 8,
        messages: 0,
    };
    let Some(speakers) = dump("rib.rrc06.20100701.0759.bz2", share) else {
        return;
    };
    assert_eq!(speakers.len(), 5);
    assert_eq!(replay(&speakers, false), Refused::new());
    let due = Refused::from([(Refusal::AsSet, 123), (Refusal::FirstAs, 1)]);
    assert_eq!(replay(&speakers, true), due);
}

/// What twenty routers said in a quarter of an hour of 2026, with withdrawals and communities.
#[test]
fn updates_of_2026() {
    let share = Share {
        every: 1,
        messages: 35_000,
    };
    let Some(speakers) = dump("updates.20260222.1530.bz2", share) else {
        return;
    };
    assert_eq!(speakers.len(), 20);
    assert_eq!(replay(&speakers, false), Refused::new());
    assert_eq!(
        replay(&speakers, true),
        Refused::from([(Refusal::AsSet, 2)])
    );
}

/// A route collector sending its table: no AS_PATH begins with its AS.
#[test]
fn a_session_of_2015() {
    let share = Share {
        every: 1,
        messages: 3_000,
    };
    let Some(speakers) = dump("updates.et-header.2015.gz", share) else {
        return;
    };
    assert_eq!(speakers.len(), 1);
    let loops = replay(&speakers, false);
    assert!(loops.keys().all(|refusal| *refusal == Refusal::AsLoop));
    let refused = replay(&speakers, true);
    assert!(refused[&Refusal::AsSet] > 0 && refused[&Refusal::FirstAs] > 0);
    assert_eq!(refused.values().sum::<usize>(), speakers[0].routes.len());
}

const NEXT_HOP: [&str; 2] = ["192.0.2.5", "2001:db8::5"];
/// Long enough that nobody has to send a KEEPALIVE while a dump is replayed.
const HOLD_TIME: u16 = 3600;
/// The number of the first speaker.
const FIRST: u8 = 10;
const SINK: u8 = 250;
const SINK_ASN: u32 = 65100;
/// Up to so many refused routes of a speaker the daemon is asked for its reasons.
const ASKED_MAX: usize = 500;
