//! Caches played by the test, on a virtual clock.

mod malformed;
mod sessions;
mod takeover;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use codec::IpPrefix;

use super::{Action, Caches, Changed, ConnectionId, Publication, VrpTable};
use crate::config::{Rpki, RtrCache};
use crate::model::{RpkiCache, RpkiState};
use crate::policy::Validation;
use crate::time::Time;

const SESSION: u16 = 7;

/// PDUs as a cache writes them.
mod say {
    use super::*;

    pub(super) fn pdu(version: u8, kind: u8, field: u16, body: &[u8]) -> Vec<u8> {
        let mut pdu = vec![version, kind];
        pdu.extend(field.to_be_bytes());
        pdu.extend((8 + body.len() as u32).to_be_bytes());
        pdu.extend(body);
        pdu
    }

    pub(super) fn notify(session: u16, serial: u32) -> Vec<u8> {
        pdu(1, 0, session, &serial.to_be_bytes())
    }

    pub(super) fn response(session: u16) -> Vec<u8> {
        pdu(1, 3, session, &[])
    }

    pub(super) fn record(version: u8, announced: bool, vrp: (&str, u8, u32)) -> Vec<u8> {
        let (prefix, max_length, asn) = vrp;
        let prefix = ip(prefix);
        let mut body = vec![u8::from(announced), prefix.length(), max_length, 0];
        let kind = match prefix {
            IpPrefix::V4(prefix) => {
                body.extend(prefix.address().octets());
                4
            }
            IpPrefix::V6(prefix) => {
                body.extend(prefix.address().octets());
                6
            }
        };
        body.extend(asn.to_be_bytes());
        pdu(version, kind, 0, &body)
    }

    /// With Refresh, Retry and Expire Interval.
    pub(super) fn end(session: u16, serial: u32, timers: [u32; 3]) -> Vec<u8> {
        let mut body = serial.to_be_bytes().to_vec();
        body.extend(timers.iter().flat_map(|seconds| seconds.to_be_bytes()));
        pdu(1, 7, session, &body)
    }

    pub(super) fn reset() -> Vec<u8> {
        pdu(1, 8, 0, &[])
    }

    pub(super) fn error(version: u8, code: u16, text: &str) -> Vec<u8> {
        let mut body = 0u32.to_be_bytes().to_vec();
        body.extend((text.len() as u32).to_be_bytes());
        body.extend(text.as_bytes());
        pdu(version, 10, code, &body)
    }
}

const TIMERS: [u32; 3] = [3600, 600, 7200];

fn ip(text: &str) -> IpPrefix {
    text.parse::<ipnet::IpNet>().unwrap().into()
}

/// What a router sent.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Serial(u16, u32),
    Reset,
    Error(u16),
    /// Of version 0.
    Old(u8),
}

fn heard(mut octets: &[u8]) -> Vec<Heard> {
    let mut all = Vec::new();
    while let [version, kind, high, low, a, b, c, d, ..] = *octets {
        let (pdu, rest) = octets.split_at(u32::from_be_bytes([a, b, c, d]) as usize);
        let field = u16::from_be_bytes([high, low]);
        all.push(match (version, kind) {
            (0, kind) => Heard::Old(kind),
            (_, 1) => Heard::Serial(field, u32::from_be_bytes(pdu[8..].try_into().unwrap())),
            (_, 2) => Heard::Reset,
            (_, 10) => Heard::Error(field),
            other => panic!("{other:?}"),
        });
        octets = rest;
    }
    assert!(octets.is_empty());
    all
}

/// The router's caches, and what it did.
struct Bed {
    caches: Caches,
    now: Time,
    /// Connections that were asked for and not closed, by the cache's last octet.
    open: BTreeMap<u8, ConnectionId>,
    heard: BTreeMap<u8, Vec<Heard>>,
    table: Option<Arc<VrpTable>>,
    changes: Vec<Arc<Changed>>,
    /// `retrySeconds`.
    retry: Duration,
}

impl Bed {
    /// Caches by the last octet of their address, with their preferences.
    fn new(caches: &[(u8, u8)]) -> Bed {
        let mut bed = Bed {
            caches: Caches::new(1),
            now: Time(0),
            open: BTreeMap::new(),
            heard: BTreeMap::new(),
            table: None,
            changes: Vec::new(),
            retry: Rpki::default().retry,
        };
        bed.configure(caches);
        bed
    }

    fn configure(&mut self, caches: &[(u8, u8)]) {
        let cache = |(host, preference): &(u8, u8)| RtrCache {
            address: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, *host)), 323),
            preference: *preference,
        };
        let settings = Rpki {
            caches: caches.iter().map(cache).collect(),
            retry: self.retry,
            ..Rpki::default()
        };
        self.caches.configure(self.now, &settings);
        self.turn();
    }

    fn turn(&mut self) {
        while let Some(action) = self.caches.poll_action() {
            let host = |open: &BTreeMap<u8, ConnectionId>, id| {
                let mut hosts = open.iter();
                *hosts
                    .find(|(_, known)| **known == id)
                    .expect("it is open")
                    .0
            };
            match action {
                Action::Dial(id, address) => {
                    let IpAddr::V4(address) = address.ip() else {
                        panic!("{address}");
                    };
                    let before = self.open.insert(address.octets()[3], id);
                    assert_eq!(before, None, "one connection a cache");
                }
                Action::Send(id, octets) => {
                    let host = host(&self.open, id);
                    self.heard.entry(host).or_default().extend(heard(&octets));
                }
                Action::Close(id) => {
                    let host = host(&self.open, id);
                    self.open.remove(&host);
                }
            }
        }
        while let Some(Publication { table, changed }) = self.caches.poll_publication() {
            self.table = table;
            self.changes.push(changed);
        }
    }

    /// Lets time pass, timer by timer.
    fn pass(&mut self, seconds: u64) {
        let until = self.now + Duration::from_secs(seconds);
        while let Some(due) = self.caches.poll_timeout().filter(|due| *due <= until) {
            assert!(due >= self.now || due <= until);
            self.now = self.now.max(due);
            self.caches.handle_timeout(self.now);
            self.turn();
        }
        self.now = until;
    }

    fn connect(&mut self, host: u8) {
        self.pass(0);
        self.caches.handle_connected(self.now, self.open[&host]);
        self.turn();
    }

    fn say(&mut self, host: u8, pdus: &[Vec<u8>]) {
        let connection = self.open[&host];
        self.caches
            .handle_bytes(self.now, connection, &pdus.concat());
        self.turn();
    }

    fn close(&mut self, host: u8) {
        let connection = self.open.remove(&host).expect("it is open");
        self.caches
            .handle_closed(self.now, connection, "the cache closed");
        self.turn();
    }

    /// A cache answers the Reset Query of a new connection.
    fn synchronize(&mut self, host: u8, serial: u32, vrps: &[(&str, u8, u32)]) {
        self.connect(host);
        assert_eq!(self.take_heard(host), [Heard::Reset]);
        self.answer(host, serial, vrps);
    }

    fn answer(&mut self, host: u8, serial: u32, vrps: &[(&str, u8, u32)]) {
        let mut pdus = vec![say::response(SESSION)];
        pdus.extend(vrps.iter().map(|vrp| say::record(1, true, *vrp)));
        pdus.push(say::end(SESSION, serial, TIMERS));
        self.say(host, &pdus);
    }

    fn take_heard(&mut self, host: u8) -> Vec<Heard> {
        self.heard.remove(&host).unwrap_or_default()
    }

    fn is_open(&self, host: u8) -> bool {
        self.open.contains_key(&host)
    }

    /// The state of a route to a prefix from AS 65002.
    fn state(&self, prefix: &str) -> Validation {
        let table = self.table.as_ref().expect("caches are configured");
        table.validate(ip(prefix), Some(65002))
    }

    fn row(&self, host: u8) -> RpkiCache {
        let address = format!("10.0.0.{host}");
        let rows = self.caches.rows(self.now, "default");
        rows.into_iter()
            .find(|row| row.address == address)
            .expect("a row each")
    }
}

/// What the caches of these tests mostly have.
const VRPS: &[(&str, u8, u32)] = &[
    ("192.0.2.0/24", 24, 65002),
    ("198.51.100.0/24", 25, 65003),
    ("2001:db8::/32", 48, 65002),
];
