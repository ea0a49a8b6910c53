//! The public corpus of malformed messages, as far as it is about OPEN and the FSM. Skipped where
//! `RINGBGP_TEST_DATA` does not name the directory that holds it.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use super::scripted::{drain, hear, open_bytes, peer_open};
use super::{at, config, local};
use crate::session::{Session, Slot};

struct Case {
    name: String,
    profile: String,
    message: Vec<u8>,
    expected: Vec<String>,
}

fn cases() -> Option<Vec<Case>> {
    let path = PathBuf::from(std::env::var_os("RINGBGP_TEST_DATA")?).join("malformed.txt");
    let text = std::fs::read_to_string(path).expect("the corpus can be read");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    Some(lines.filter_map(case).collect())
}

fn case(line: &str) -> Option<Case> {
    let mut fields = line.split(" | ");
    let (name, profile) = fields.next()?.split_once('@')?;
    let message = hex(fields.next()?);
    let expected = fields.next()?.split(" or ").map(str::to_owned).collect();
    Some(Case {
        name: name.to_owned(),
        profile: profile.to_owned(),
        message,
        expected,
    })
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .trim()
        .chars()
        .map(|c| c.to_digit(16).expect("a hex digit") as u8)
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

/// What the session did, in the corpus's words.
fn outcome(case: &Case) -> String {
    let mut us = config();
    us.router_id = Ipv4Addr::new(192, 0, 2, 1);
    us.peer_address = Ipv4Addr::new(192, 0, 2, 2).into();
    let mut session = Session::new(us, 1);
    session.handle_start(at(0));
    session.handle_connected(at(0), local());
    if case.profile == "openconfirm" {
        let mut open = peer_open();
        open.identifier = Ipv4Addr::new(192, 0, 2, 2);
        hear(&mut session, at(0), Slot::Outgoing, &open_bytes(&open));
    }
    drain(&mut session);
    match codec::frame(&case.message, codec::MAX_LEN) {
        Err(notification) => session.handle_fault(at(1), Slot::Outgoing, notification),
        Ok(length) => {
            assert_eq!(length, Some(case.message.len()), "{}", case.name);
            hear(&mut session, at(1), Slot::Outgoing, &case.message);
        }
    }
    let done = drain(&mut session);
    match done.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["keepalive to Outgoing"] => "accept".to_owned(),
        ["close Outgoing"] => "close".to_owned(),
        [sent, "close Outgoing"] => {
            format!("reset {}", sent.trim_end_matches(" to Outgoing"))
        }
        _ => format!("{done:?}"),
    }
}

#[test]
fn every_case_about_open_and_the_fsm_ends_as_it_should() {
    let Some(cases) = cases() else {
        eprintln!("skipped: RINGBGP_TEST_DATA is not set");
        return;
    };
    let mut run = 0;
    for case in cases {
        if case.profile != "opensent" && case.profile != "openconfirm" {
            continue;
        }
        let outcome = outcome(&case);
        assert!(
            case.expected.contains(&outcome),
            "{}: {outcome}, expected {:?}",
            case.name,
            case.expected
        );
        run += 1;
    }
    assert!(run > 30, "only {run} cases");
}
