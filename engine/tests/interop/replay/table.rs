//! One session of a replay: what it says, what it is told, and whether that is what it should be.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bgpkit_parser::models::{AsnLength, BgpMessage};
use bgpkit_parser::parser::bgp::parse_bgp_message;
use bytes::Bytes;
use engine::time::Clock;
use ipnet::IpNet;

use super::dump::apply;
use super::reference::{Route, Winner};
use crate::scripted::Peer;

/// What a session is told, beside what it should be told.
pub(crate) struct Table<'w> {
    stream: TcpStream,
    unread: Vec<u8>,
    /// Its place among the speakers, or one past them.
    place: usize,
    winners: &'w HashMap<IpNet, Winner>,
    held: HashMap<IpNet, Arc<Route>>,
    /// Prefixes that are not as they should be.
    wrong: usize,
}

impl<'w> Table<'w> {
    pub(crate) fn new(peer: Peer, place: usize, winners: &'w HashMap<IpNet, Winner>) -> Table<'w> {
        let (stream, unread) = peer.into_parts();
        let mut table = Table {
            stream,
            unread,
            place,
            winners,
            held: HashMap::new(),
            wrong: 0,
        };
        let missing = winners.keys().filter(|prefix| table.due(prefix).is_some());
        table.wrong = missing.count();
        table
    }

    /// The route that the session should hold; nobody hears of his own.
    fn due(&self, prefix: &IpNet) -> Option<&'w Arc<Route>> {
        let winner = self.winners.get(prefix)?;
        let told = winner.told.as_ref();
        told.filter(|_| winner.speaker != self.place)
    }

    fn is_right(&self, prefix: &IpNet) -> bool {
        self.due(prefix) == self.held.get(prefix)
    }

    /// Says all that there is to say, and reads until everybody has and all is as it should be.
    pub(crate) fn play(&mut self, says: &[u8], all_said: &AtomicBool) {
        self.stream.write_all(says).expect("the daemon reads on");
        let clock = Clock::system();
        let mut moved = clock.now();
        loop {
            // While others speak yet there may be nothing to hear.
            let may_end = all_said.load(Ordering::Acquire);
            if self.read() || !may_end {
                moved = clock.now();
            } else if self.wrong == 0 {
                return;
            } else if clock.now().saturating_since(moved) > PATIENCE {
                panic!("session {}: {}", self.place, self.complaint());
            }
        }
    }

    /// Reads what there is; whether any UPDATE was among it.
    fn read(&mut self) -> bool {
        let mut buffer = [0; 65536];
        let octets = match self.stream.read(&mut buffer) {
            Ok(0) => panic!("session {}: the daemon hung up", self.place),
            Ok(octets) => octets,
            Err(_) => return false,
        };
        self.unread.extend_from_slice(&buffer[..octets]);
        let unread = Bytes::from(std::mem::take(&mut self.unread));
        let mut at = 0;
        let mut told = false;
        while let Some(length) =
            codec::frame(&unread[at..], codec::MAX_LEN).expect("the daemon frames its messages")
        {
            told |= self.take(unread.slice(at..at + length));
            at += length;
        }
        self.unread.extend_from_slice(&unread[at..]);
        told
    }

    /// Whether it was an UPDATE.
    fn take(&mut self, mut message: Bytes) -> bool {
        let octets = message.clone();
        match parse_bgp_message(&mut message, false, &AsnLength::Bits32) {
            Ok(BgpMessage::Update(update)) => {
                let warnings = update.attributes.validation_warnings();
                // A marker of the end of IPv4, or a withdrawal, has no attributes.
                assert!(warnings.is_empty(), "{warnings:?} in {octets:02x?}");
                apply(&update, |prefix, route| {
                    let was_right = self.is_right(&prefix);
                    match route {
                        Some(route) => self.held.insert(prefix, Arc::clone(route)),
                        None => self.held.remove(&prefix),
                    };
                    match (was_right, self.is_right(&prefix)) {
                        (true, false) => self.wrong += 1,
                        (false, true) => self.wrong -= 1,
                        _ => {}
                    }
                });
                true
            }
            Ok(BgpMessage::KeepAlive) => false,
            other => panic!("session {}: {other:?} in {octets:02x?}", self.place),
        }
    }

    /// The first prefixes that are wrong.
    fn complaint(&self) -> String {
        let prefixes = self.winners.keys().chain(self.held.keys());
        let wrong = prefixes.filter(|prefix| !self.is_right(prefix));
        let shown: Vec<String> = wrong
            .take(1)
            .map(|prefix| {
                let (due, held) = (self.due(prefix), self.held.get(prefix));
                format!("{prefix} should be {due:?}, is {held:?}")
            })
            .collect();
        let unread = self.unread.len();
        format!(
            "{} are wrong, {unread} octets unread: {}",
            self.wrong,
            shown.join("\n")
        )
    }
}

/// As `eventually`, for what takes as long as a dump does.
pub(crate) fn eventually_replayed(what: &str, mut probe: impl FnMut() -> Result<(), String>) {
    let clock = Clock::system();
    let start = clock.now();
    while let Err(complaint) = probe() {
        let waited = clock.now().saturating_since(start);
        assert!(
            waited < DEADLINE,
            "{what}: not within {DEADLINE:?}; {complaint}"
        );
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Silence after which what is wrong stays wrong.
const PATIENCE: Duration = Duration::from_secs(20);
const DEADLINE: Duration = Duration::from_secs(600);
