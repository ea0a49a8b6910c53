//! Routers that announce: synthetic tables, encoded before the first session comes up.
//!
//! The mix is drawn from a seed with a generator of our own, so that one command line gives the
//! same octets everywhere. Prefixes of one router are distinct; an attribute set is shared by a
//! run of neighbouring prefixes, as in a real table.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use codec::{AsPath, AttributeWriter, Family, NextHop, Origin, WireFormat};

use crate::clock;
use crate::network::Observer;
use crate::output::remark;
use crate::random::Random;
use crate::script::{Pieces, Script};
use crate::sink::Sink;
use crate::space::{LengthMix, draw_prefixes};

/// What a router announces.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) family: Family,
    pub(crate) prefixes: usize,
    pub(crate) lengths: LengthMix,
    /// Prefixes that share an attribute set.
    pub(crate) per_attributes: usize,
    pub(crate) seed: u64,
}

/// Who announces it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Announcer {
    pub(crate) asn: u32,
    /// Sessions are inside one AS: LOCAL_PREF is sent, the own AS is not in the path.
    pub(crate) internal: bool,
    pub(crate) next_hop: IpAddr,
}

/// Encodes a whole table: UPDATEs and the End-of-RIB marker, in pieces of whole messages.
pub(crate) fn encode(table: &Table, announcer: Announcer) -> Pieces {
    let mut random = Random::new(table.seed);
    let prefixes = draw_prefixes(table.family, table.prefixes, &table.lengths, &mut random);
    let next_hop = match (table.family, announcer.next_hop) {
        (Family::Ipv6Unicast, IpAddr::V6(address)) => NextHop::V6(address),
        (Family::Ipv6Unicast, IpAddr::V4(address)) => NextHop::V6(address.to_ipv6_mapped()),
        (_, IpAddr::V4(address)) => NextHop::V4(address),
        // Plain IPv4 needs an IPv4 next hop.
        (_, IpAddr::V6(_)) => NextHop::V4(DOCUMENTATION_NEXT_HOP),
    };
    let mut script = Script::new(table.family);
    for group in prefixes.chunks(table.per_attributes.max(1)) {
        let attributes = draw_attributes(announcer, &next_hop, &mut random);
        script.announce(&attributes, &next_hop, group.iter().copied());
    }
    script.end_of_rib();
    script.finish()
}

fn draw_attributes(announcer: Announcer, next_hop: &NextHop, random: &mut Random) -> Vec<u8> {
    let mut path: Vec<u32> = Vec::new();
    if !announcer.internal {
        path.push(announcer.asn);
    }
    for _ in 0..random.below(6) {
        path.push(100_000 + random.below(80_000) as u32);
    }
    let communities: Vec<u32> = (0..1 + random.below(5))
        .map(|_| (64_000 << 16) | random.below(1000) as u32)
        .collect();
    let mut octets = Vec::new();
    let mut writer = AttributeWriter::new(&mut octets);
    writer.origin(Origin::Igp);
    writer.as_path(&AsPath::new(&[]), &path, true);
    if let NextHop::V4(address) = next_hop {
        writer.next_hop(*address);
    }
    if announcer.internal {
        writer.local_pref(100);
    }
    writer.communities(&communities);
    octets
}

/// The observer behind `blast`: says when everything is written, and ends with `--once`.
pub(crate) struct Blast {
    sink: Sink,
    routers: usize,
    written: usize,
    once: bool,
    started_at: Instant,
}

impl Blast {
    /// For `routers` routers, heard through `sink`.
    pub(crate) fn new(sink: Sink, routers: usize, once: bool) -> Blast {
        Blast {
            sink,
            routers,
            written: 0,
            once,
            started_at: clock::now(),
        }
    }
}

impl Observer for Blast {
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
        self.sink.update(router, wire, body, octets, read_at);
    }

    fn down(&mut self, router: usize, why: &str) {
        self.sink.down(router, why);
    }

    fn failed(&mut self, router: usize, why: &str) {
        self.sink.failed(router, why);
    }

    fn script_written(&mut self, router: usize) {
        self.written += 1;
        let seconds = (clock::now() - self.started_at).as_secs_f64();
        remark!("router {router} has written its table after {seconds:.3} s");
    }

    fn turn(&mut self, now: Instant) -> Option<u8> {
        if self.once && self.written >= self.routers {
            return Some(0);
        }
        self.sink.turn(now)
    }
}

/// A next hop for whoever has none that a peer would take: 192.0.2.1 (RFC 5737).
pub(crate) const DOCUMENTATION_NEXT_HOP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use bytes::Bytes;
    use codec::{FamilySet, IpPrefix, Message, PeerKind};

    use super::*;

    fn table(family: Family, prefixes: usize, lengths: &str) -> Table {
        Table {
            family,
            prefixes,
            lengths: lengths.parse().unwrap(),
            per_attributes: 5,
            seed: 1,
        }
    }

    /// Reads a script back: distinct prefixes and messages.
    fn read_back(script: &[Bytes]) -> (HashSet<IpPrefix>, usize) {
        let wire = WireFormat {
            families: FamilySet::ALL,
            peer: PeerKind::Internal,
            ..WireFormat::default()
        };
        let (mut prefixes, mut messages) = (HashSet::new(), 0);
        for piece in script {
            let mut rest = piece.as_ref();
            while let Some(length) = codec::frame(rest, codec::MAX_LEN).unwrap() {
                let Message::Update(body) = codec::parse_message(&rest[..length]).unwrap() else {
                    panic!("a script holds UPDATEs only");
                };
                let update = codec::parse_update(body, &wire).unwrap();
                assert!(update.faults.is_empty(), "{:?}", update.faults);
                prefixes.extend(update.announced.iter().map(|(_, prefix)| prefix));
                let mp = update.mp_announced.iter().flat_map(|mp| mp.nlri.iter());
                prefixes.extend(mp.map(|(_, prefix)| prefix));
                messages += 1;
                rest = &rest[length..];
            }
            assert!(rest.is_empty(), "pieces end with a message");
        }
        (prefixes, messages)
    }

    #[test]
    fn a_script_reads_back_as_the_table_that_was_asked_for() {
        let announcer = Announcer {
            asn: 65100,
            internal: false,
            next_hop: DOCUMENTATION_NEXT_HOP.into(),
        };
        let script = encode(
            &table(Family::Ipv4Unicast, 10_000, "24:61,16-23:39"),
            announcer,
        );
        let (prefixes, messages) = read_back(&script);
        assert_eq!((prefixes.len(), messages), (10_000, 2_001));
        let script = encode(&table(Family::Ipv6Unicast, 1_000, "48"), announcer);
        let (prefixes, messages) = read_back(&script);
        assert_eq!((prefixes.len(), messages), (1_000, 201));
    }

    #[test]
    fn large_groups_fill_messages() {
        let announcer = Announcer {
            asn: 65100,
            internal: true,
            next_hop: DOCUMENTATION_NEXT_HOP.into(),
        };
        let mut table = table(Family::Ipv4Unicast, 100_000, "24");
        table.per_attributes = 100_000;
        let (prefixes, messages) = read_back(&encode(&table, announcer));
        assert_eq!(prefixes.len(), 100_000);
        assert!(messages <= 101, "{messages}");
    }
}
