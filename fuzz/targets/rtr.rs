//! What caches of the RPKI may say, in any order and at any time, to the router's side of RTR
//! (RFC 8210): whole PDUs and any octets, with time, lost connections and new settings in between.
//! Whatever it is: no panic, one connection a cache, short answers; of one cache, no difference between
//! octets that come at once and one by one (between two it may matter what is known when); and a table is what one cache said up to an End of Data, as a plain
//! reader beside it has it, or empty. Never half of it.
#![no_main]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use codec::{IpPrefix, Ipv4Prefix, Ipv6Prefix};
use engine::config::{Rpki, RtrCache};
use engine::rpki::{Action, Caches, ConnectionId, Publication, VrpTable};
use engine::time::Time;
use libfuzzer_sys::fuzz_target;

/// Octets of an answer: a quoted PDU and a text are short.
const SENT_MAX: usize = 2048;

fuzz_target!(|input: &[u8]| {
    let mut input = Input(input);
    let mut bed = Bed::new(input.octet() & 1 == 0);
    while let Some(step) = input.next() {
        bed.step(step, &mut input);
        assert_eq!(bed.at_once.table, bed.one_by_one.table);
        assert_eq!(bed.at_once.open, bed.one_by_one.open);
    }
});

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn octet(&mut self) -> u8 {
        self.next().unwrap_or(0)
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken.to_vec()
    }
}

type Vrps = BTreeSet<(IpPrefix, u8, u32)>;

/// The router's side, and what it asked for.
struct Router {
    caches: Caches,
    /// The connections that it has, by the cache's number.
    open: BTreeMap<u8, ConnectionId>,
    /// Those of them that stand: over others nothing is said.
    standing: BTreeSet<ConnectionId>,
    table: Option<Arc<VrpTable>>,
}

impl Router {
    fn new() -> Router {
        Router {
            caches: Caches::new(1),
            open: BTreeMap::new(),
            standing: BTreeSet::new(),
            table: None,
        }
    }

    /// The connection of a cache over which something can be said.
    fn standing(&self, host: u8) -> Option<ConnectionId> {
        let id = self.open.get(&host)?;
        self.standing.get(id).copied()
    }

    /// Carries out what it asks for. `sent` is told of each message, by the cache's number.
    fn settle(&mut self, mut sent: impl FnMut(u8, &[u8])) {
        while let Some(action) = self.caches.poll_action() {
            let host = |open: &BTreeMap<u8, ConnectionId>, id| {
                let mut known = open.iter().filter(|(_, known)| **known == id);
                *known.next().expect("a connection that is open").0
            };
            match action {
                Action::Dial(id, address) => {
                    let before = self.open.insert(address.port() as u8, id);
                    assert_eq!(before, None, "one connection a cache");
                }
                Action::Send(id, octets) => {
                    assert!(octets.len() <= SENT_MAX, "{} octets", octets.len());
                    sent(host(&self.open, id), &octets);
                }
                Action::Close(id) => {
                    let host = host(&self.open, id);
                    self.open.remove(&host);
                }
            }
        }
        while let Some(Publication { table, .. }) = self.caches.poll_publication() {
            self.table = table;
        }
    }
}

/// What a plain reader makes of what a cache says.
#[derive(Default)]
struct Reader {
    octets: Vec<u8>,
    /// The open query is for everything.
    for_everything: bool,
    /// What was said since the Cache Response; none: it contradicts itself.
    answer: Option<Option<Vrps>>,
    /// Up to the last End of Data.
    complete: Vrps,
    /// Up to the one before, if the last octet made it the last.
    before: Option<Vrps>,
}

impl Reader {
    /// Takes an octet. Whether it was the last of an End of Data that cannot be taken.
    fn take(&mut self, octet: u8) -> bool {
        self.before = None;
        self.octets.push(octet);
        let [_, kind, _, _, a, b, c, d, ..] = self.octets[..] else {
            return false;
        };
        if self.octets.len() < u32::from_be_bytes([a, b, c, d]) as usize {
            return false;
        }
        let pdu = std::mem::take(&mut self.octets);
        match kind {
            3 => {
                let base = match self.for_everything {
                    true => Vrps::new(),
                    false => self.complete.clone(),
                };
                self.answer = Some(Some(base));
            }
            4 | 6 => {
                if let (Some(answer), Some((announced, vrp))) = (&mut self.answer, record(&pdu)) {
                    let fits = answer.as_mut().is_some_and(|vrps| match announced {
                        true => vrps.insert(vrp),
                        false => vrps.remove(&vrp),
                    });
                    if !fits {
                        *answer = None;
                    }
                }
            }
            7 => match self.answer.take() {
                Some(Some(vrps)) => self.before = Some(std::mem::replace(&mut self.complete, vrps)),
                _ => return true,
            },
            _ => {}
        }
        false
    }

    fn hang_up(&mut self) {
        self.octets.clear();
        self.answer = None;
    }
}

fn record(pdu: &[u8]) -> Option<(bool, (IpPrefix, u8, u32))> {
    let [flags, length, max_length, _, rest @ ..] = pdu.get(8..)? else {
        return None;
    };
    let (address, asn) = rest.split_at_checked(rest.len().checked_sub(4)?)?;
    let prefix = match address.len() {
        4 => {
            let address = Ipv4Addr::from(<[u8; 4]>::try_from(address).ok()?);
            IpPrefix::V4(Ipv4Prefix::new(address, *length)?)
        }
        16 => {
            let address = Ipv6Addr::from(<[u8; 16]>::try_from(address).ok()?);
            IpPrefix::V6(Ipv6Prefix::new(address, *length)?)
        }
        _ => return None,
    };
    let asn = u32::from_be_bytes(asn.try_into().ok()?);
    Some((flags & 1 == 1, (prefix, *max_length, asn)))
}

struct Bed {
    now: Time,
    /// There is one cache at most.
    alone: bool,
    at_once: Router,
    one_by_one: Router,
    readers: BTreeMap<u8, Reader>,
    /// What a cache is about to say.
    held: BTreeMap<u8, Vec<u8>>,
    /// The table that was last looked at.
    checked: Option<Arc<VrpTable>>,
}

impl Bed {
    fn new(alone: bool) -> Bed {
        let mut bed = Bed {
            now: Time(0),
            alone,
            at_once: Router::new(),
            one_by_one: Router::new(),
            readers: BTreeMap::new(),
            held: BTreeMap::new(),
            checked: None,
        };
        bed.configure(&[0, 1]);
        bed
    }

    /// One thing that happens: what, by four bits; of which cache; in which version; whether what it
    /// says waits for what it says next.
    fn step(&mut self, step: u8, input: &mut Input<'_>) {
        let host = step >> 4 & 1;
        let version = 1 - (step >> 5 & 1);
        let waits = step >> 6 & 1 == 1;
        let said = match step & 15 {
            0 => {
                let length = usize::from(input.octet());
                input.take(length)
            }
            1 => pdu(version, 3, session(input), &[]),
            2 | 3 => {
                let is_ipv4 = step & 15 == 2;
                let [flags, prefix, max_length, asn] = [(); 4].map(|()| input.octet());
                vrp(version, is_ipv4, [flags, prefix, max_length, asn])
            }
            4 => {
                let session = session(input);
                let mut body = u32::from(input.octet()).to_be_bytes().to_vec();
                if version == 1 {
                    let seconds = [(); 3].map(|()| u32::from(input.octet()) << 5);
                    body.extend(seconds.iter().flat_map(|seconds| seconds.to_be_bytes()));
                }
                pdu(version, 7, session, &body)
            }
            5 => pdu(version, 8, 0, &[]),
            6 => {
                let session = session(input);
                pdu(version, 0, session, &u32::from(input.octet()).to_be_bytes())
            }
            7 => {
                let text = input.octet();
                let mut body = 0u32.to_be_bytes().to_vec();
                body.extend(u32::from(text).to_be_bytes());
                body.extend(std::iter::repeat_n(text, usize::from(text)));
                pdu(version, 10, u16::from(input.octet()), &body)
            }
            8 => {
                for router in [&mut self.at_once, &mut self.one_by_one] {
                    let id = router.open.get(&host);
                    router.standing.extend(id);
                }
                return self.both(host, |caches, now, id| caches.handle_connected(now, id));
            }
            9 => {
                self.both(host, |caches, now, id| {
                    caches.handle_closed(now, id, "closed")
                });
                for router in [&mut self.at_once, &mut self.one_by_one] {
                    router.open.remove(&host);
                }
                self.settle();
                return;
            }
            10 => {
                let seconds = Duration::from_secs(u64::from(input.octet()) << 4);
                return self.pass(seconds);
            }
            11 => {
                let hosts: &[u8] = match input.octet() & 3 {
                    0 => &[],
                    1 => &[0],
                    2 => &[1],
                    _ => &[0, 1],
                };
                return self.configure(hosts);
            }
            _ => vec![input.octet()],
        };
        let held = self.held.entry(host).or_default();
        held.extend(said);
        if !waits && !held.is_empty() {
            let said = std::mem::take(held);
            self.say(host, &said);
        }
    }

    fn configure(&mut self, hosts: &[u8]) {
        let cache = |host: &u8| RtrCache {
            address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), u16::from(*host)),
            preference: *host,
        };
        let most = if self.alone { 1 } else { 2 };
        let settings = Rpki {
            caches: hosts.iter().take(most).map(cache).collect(),
            ..Rpki::default()
        };
        for router in [&mut self.at_once, &mut self.one_by_one] {
            router.caches.configure(self.now, &settings);
        }
        self.settle();
        self.pass(Duration::ZERO);
    }

    fn both(&mut self, host: u8, does: impl Fn(&mut Caches, Time, ConnectionId)) {
        for router in [&mut self.at_once, &mut self.one_by_one] {
            if let Some(id) = router.open.get(&host) {
                does(&mut router.caches, self.now, *id);
            }
        }
        self.settle();
    }

    /// Lets time go by, timer by timer.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        // Timers that are always due would never end.
        for _ in 0..10_000 {
            let due = [&self.at_once, &self.one_by_one].map(|router| router.caches.poll_timeout());
            assert_eq!(due[0], due[1]);
            let Some(due) = due[0].filter(|due| *due <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(due);
            for router in [&mut self.at_once, &mut self.one_by_one] {
                router.caches.handle_timeout(self.now);
            }
            self.settle();
        }
        panic!("timers do not come to rest");
    }

    fn say(&mut self, host: u8, octets: &[u8]) {
        let connection = self.at_once.standing(host);
        let at_once = if self.alone { octets.len() } else { 1 };
        for piece in octets.chunks(at_once) {
            let Some(id) = connection.filter(|id| self.at_once.open.get(&host) == Some(id)) else {
                break;
            };
            self.at_once.caches.handle_bytes(self.now, id, piece);
            self.at_once.settle(|_, _| {});
        }
        let connection = self.one_by_one.standing(host);
        for octet in octets {
            let Some(id) = connection.filter(|id| self.one_by_one.open.get(&host) == Some(id))
            else {
                break;
            };
            let reader = self.readers.entry(host).or_default();
            let must_end = reader.take(*octet);
            self.one_by_one.caches.handle_bytes(self.now, id, &[*octet]);
            self.settle();
            let stands = self.one_by_one.open.get(&host) == Some(&id);
            assert!(
                !(must_end && stands),
                "an answer that contradicts itself is taken"
            );
            if !stands
                && let Some(reader) = self.readers.get_mut(&host)
                && let Some(before) = reader.before.take()
            {
                // What ends a connection completes nothing.
                reader.complete = before;
            }
        }
    }

    fn settle(&mut self) {
        self.at_once.settle(|_, _| {});
        let readers = &mut self.readers;
        self.one_by_one.settle(|host, sent| {
            let reader = readers.entry(host).or_default();
            match sent.get(1) {
                Some(1) => reader.for_everything = false,
                Some(2) => reader.for_everything = true,
                _ => {}
            }
        });
        for (host, reader) in &mut self.readers {
            if !self.one_by_one.open.contains_key(host) {
                reader.hang_up();
            }
        }
        self.check();
    }

    /// The table is what some cache has said in full, or empty.
    fn check(&mut self) {
        let table = &self.one_by_one.table;
        if table.as_ref().map(Arc::as_ptr) == self.checked.as_ref().map(Arc::as_ptr) {
            return;
        }
        self.checked.clone_from(table);
        let Some(table) = table else {
            return;
        };
        let is = |reader: &Reader| {
            let vrps: Vec<_> = reader.complete.iter().copied().collect();
            **table == VrpTable::of(&vrps)
        };
        assert!(
            table.is_empty() || self.readers.values().any(is),
            "half an answer is used"
        );
    }
}

/// One of few, so that they meet.
fn session(input: &mut Input<'_>) -> u16 {
    u16::from(input.octet() & 1)
}

fn vrp(version: u8, is_ipv4: bool, [flags, prefix, max_length, asn]: [u8; 4]) -> Vec<u8> {
    let length = 8 + (prefix >> 4);
    let mut body = vec![flags, length, max_length, 0];
    match is_ipv4 {
        true => body.extend([prefix & 15, 0, 0, 0]),
        false => {
            body.extend([0x20, prefix & 15]);
            body.extend([0; 14]);
        }
    }
    body.extend(u32::from(asn).to_be_bytes());
    pdu(version, if is_ipv4 { 4 } else { 6 }, 0, &body)
}

fn pdu(version: u8, kind: u8, field: u16, body: &[u8]) -> Vec<u8> {
    let mut pdu = vec![version, kind];
    pdu.extend(field.to_be_bytes());
    pdu.extend((8 + body.len() as u32).to_be_bytes());
    pdu.extend(body);
    pdu
}
