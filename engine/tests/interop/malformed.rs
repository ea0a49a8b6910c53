//! The public corpus of malformed messages, end to end: each case costs a live session what the
//! corpus says, and no more. Skipped where `RINGBGP_TEST_DATA` does not name its directory.
//!
//! Every case has a neighbor of its own: a baseline is announced, the case is sent, then a
//! sentinel; once that has come in, the Adj-RIB-In shows what the case did.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use codec::{AsPath, AttributeWriter, Family, Ipv4Prefix, Ipv6Prefix, NextHop, Origin};
use serde_json::Value;

use crate::daemon::{Daemon, config};
use crate::lab::skipped;
use crate::process::eventually;
use crate::scripted::{Addresses, End, PEER_ASN, Peer, RINGBGP_ASN};

const BASELINE: [&str; 2] = ["203.0.113.0/24", "2001:db8:113::/48"];
const BASELINE_MED: u32 = 777;
const SENTINEL: &str = "198.51.100.0/24";
const TESTER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

struct Case {
    name: String,
    profile: Profile,
    message: Vec<u8>,
    expected: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Profile {
    External,
    Internal,
    TwoOctetAs,
}

/// What a case did.
#[derive(Debug)]
enum Outcome {
    Reset(u8, u8),
    Closed,
    /// The session stands; the MEDs of the baseline's prefixes that are still there.
    Stands([Option<Option<u64>>; 2]),
}

// RFC-SHOWN 7606 §6
// INTEROP scripted: malformed in
#[test]
fn each_case_costs_what_it_must() {
    let Some(cases) = cases() else { return };
    let addresses = Addresses::new();
    let neighbors: Vec<String> = (0u8..)
        .zip(&cases)
        .map(|(index, case)| {
            addresses
                .neighbor(FIRST_PEER + index, "import: all, export: none")
                .replace(
                    &format!("peerASN: {PEER_ASN}"),
                    &format!("peerASN: {}", case.profile.asn()),
                )
        })
        .collect();
    let config = config(RINGBGP_ASN, &addresses.options(), &neighbors)
        .replace("routerID: 10.0.0.5", "routerID: 192.0.2.1");
    let daemon = Daemon::start(None, &[("config.yaml", &config)]);
    let mut wrong = Vec::new();
    for (number, case) in (FIRST_PEER..).zip(&cases) {
        let outcome = try_case(&daemon, addresses, number, case);
        let mut alternatives = case.expected.split(" or ");
        if !alternatives.any(|expected| outcome.is(expected)) {
            let (name, expected) = (&case.name, &case.expected);
            wrong.push(format!("{name}: expected {expected}, got {outcome:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}\n", wrong.join("\n"));
}

fn try_case(daemon: &Daemon<'_>, addresses: Addresses, number: u8, case: &Case) -> Outcome {
    let address = addresses.host(number).to_string();
    let mut peer = Peer::connect(addresses, number);
    let four_octet = case.profile != Profile::TwoOctetAs;
    let identifier = addresses.host(number);
    peer.send_open_with(case.profile.asn(), identifier, 90, four_octet);
    peer.wait_established();
    peer.send(&announcements(case.profile, &BASELINE));
    daemon.wait_for_prefixes(&["routes", "received", "--peer", &address], &BASELINE);
    peer.send(&case.message);
    peer.send(&announcements(case.profile, &[SENTINEL]));
    let question = ["routes", "received", "--peer", &address];
    let outcome = eventually(&format!("{} has an outcome", case.name), || {
        match peer.poll_end() {
            Some(End::Notification(notification)) => {
                return Ok(Outcome::Reset(notification.code, notification.subcode));
            }
            Some(End::Closed) => return Ok(Outcome::Closed),
            None => {}
        }
        let routes = daemon.ask(&question)?;
        if med(&routes, SENTINEL).is_none() {
            return Err(format!("no sentinel in {routes}"));
        }
        Ok(Outcome::Stands(BASELINE.map(|prefix| med(&routes, prefix))))
    });
    let counter = match (&*case.expected, &outcome) {
        // What is not malformed, but refused by a filter, is kept.
        ("taw", Outcome::Stands(_)) if is_kept(&daemon.ask(&question)) => None,
        ("taw", Outcome::Stands(_)) => Some("treatAsWithdraw"),
        // What of AS4_PATH is left out, as RFC 6793 has it, is no fault.
        ("discard", Outcome::Stands(_)) if !case.name.starts_with("as4") => {
            Some("attributeDiscard")
        }
        (_, Outcome::Reset(3, _)) => Some("sessionReset"),
        _ => None,
    };
    if let Some(counter) = counter {
        let peers = daemon.ask(&["peers"]).expect("the daemon answers");
        let mut peers = peers.as_array().into_iter().flatten();
        let peer = peers.find(|peer| peer["peerAddress"] == *address);
        let counts = &peer.expect("a named neighbor stays")["malformedUpdates"];
        assert_eq!(counts[counter], 1, "{}: {counts}", case.name);
    }
    outcome
}

/// The MED of a prefix, if a path to it is there and usable: a rejected one stays in the
/// Adj-RIB-In, marked, and counts as withdrawn.
fn med(routes: &Value, prefix: &str) -> Option<Option<u64>> {
    let mut rows = routes.as_array().into_iter().flatten();
    rows.find(|row| row["prefix"] == prefix && row["accepted"] == true)
        .map(|row| row["med"].as_u64())
}

/// Whether both of the baseline's prefixes are in the Adj-RIB-In, used or not.
fn is_kept(routes: &Result<Value, String>) -> bool {
    let routes = routes.as_ref().ok().and_then(Value::as_array);
    BASELINE.iter().all(|prefix| {
        let mut rows = routes.into_iter().flatten();
        rows.any(|row| row["prefix"] == **prefix)
    })
}

impl Outcome {
    fn is(&self, expected: &str) -> bool {
        let unchanged = Some(Some(u64::from(BASELINE_MED)));
        match (expected, self) {
            ("close", Outcome::Closed) => true,
            // A withdrawal that is accepted takes the baseline along.
            ("accept" | "afi-disable", Outcome::Stands(_)) => true,
            ("taw", Outcome::Stands(baseline)) => baseline.iter().any(Option::is_none),
            ("discard", Outcome::Stands(baseline)) => {
                baseline.iter().all(Option::is_some) && baseline.iter().any(|b| *b != unchanged)
            }
            ("ignore", Outcome::Stands(baseline)) => baseline.iter().all(|b| *b == unchanged),
            (_, Outcome::Reset(code, subcode)) => {
                expected == format!("reset {code}/{subcode}")
                    || expected == format!("reset {code}/*")
            }
            _ => false,
        }
    }
}

impl Profile {
    fn asn(self) -> u32 {
        match self {
            Profile::Internal => RINGBGP_ASN,
            Profile::External | Profile::TwoOctetAs => PEER_ASN,
        }
    }
}

/// UPDATEs that announce these prefixes as the corpus has it.
fn announcements(profile: Profile, prefixes: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    for prefix in prefixes {
        let (address, length) = prefix.split_once('/').expect("a prefix has a length");
        let length: u8 = length.parse().expect("a length is a number");
        let (mut attributes, mut nlri) = (Vec::new(), Vec::new());
        let mut writer = AttributeWriter::new(&mut attributes);
        writer.origin(Origin::Igp);
        let path = [PEER_ASN, 64500];
        writer.as_path(&AsPath::new(&[]), &path, profile != Profile::TwoOctetAs);
        let ipv6 = address.parse();
        if ipv6.is_err() {
            writer.next_hop(TESTER);
        }
        writer.med(BASELINE_MED);
        if profile == Profile::Internal {
            writer.local_pref(100);
        }
        match ipv6 {
            Ok(address) => {
                codec::encode_nlri(Ipv6Prefix::masked(address, length), None, &mut nlri);
                let next_hop = NextHop::V6("2001:db8::2".parse().expect("an address"));
                let family = Family::Ipv6Unicast;
                codec::encode_mp_update(family, &next_hop, &attributes, &nlri, &mut out);
            }
            Err(_) => {
                let address = address.parse().expect("an address");
                codec::encode_nlri(Ipv4Prefix::masked(address, length), None, &mut nlri);
                codec::encode_update(&attributes, &nlri, &mut out);
            }
        }
    }
    out
}

/// The cases of the profiles that ringbgp can be brought into; those of an OPEN that it does not
/// offer yet, or of a state before Established, are judged by the session's own tests.
fn cases() -> Option<Vec<Case>> {
    let Some(directory) = std::env::var_os("RINGBGP_TEST_DATA") else {
        return skipped("RINGBGP_TEST_DATA is not set");
    };
    let path = PathBuf::from(directory).join("malformed.txt");
    let text = std::fs::read_to_string(path).expect("the corpus can be read");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let cases = lines.filter_map(parse_case);
    // On sessions over the loopback interface, as here, that next hop is right.
    let cases = cases.filter(|case| case.name != "nexthop-127.0.0.1");
    Some(cases.collect())
}

fn parse_case(line: &str) -> Option<Case> {
    let mut fields = line.split(" | ");
    let (name, profile) = fields.next()?.split_once('@')?;
    let profile = match profile {
        "ebgp" => Profile::External,
        "ibgp" => Profile::Internal,
        "ebgp-as2" => Profile::TwoOctetAs,
        _ => return None,
    };
    let digits: Option<Vec<u8>> = fields
        .next()?
        .chars()
        .map(|digit| {
            digit
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        })
        .collect();
    let message = digits?
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect();
    Some(Case {
        name: name.to_owned(),
        profile,
        message,
        expected: fields.next()?.to_owned(),
    })
}

/// Host numbers of the cases' peers begin here; there are fewer cases than host numbers.
const FIRST_PEER: u8 = 10;
