//! Routers that announce: synthetic tables, encoded before the first session comes up.
//!
//! The mix is drawn from a seed with a generator of our own, so that one command line gives the
//! same octets everywhere. Prefixes of one router are distinct; an attribute set is shared by a
//! run of neighbouring prefixes, as in a real table.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use codec::{
    AsPath, AttributeWriter, Family, IpPrefix, Ipv4Prefix, Ipv6Prefix, NextHop, Origin, WireFormat,
};

use crate::clock;
use crate::network::Observer;
use crate::random::Random;
use crate::sink::Sink;

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

/// Prefix lengths with their weights: `24:61,16-23:39`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LengthMix(Vec<(u8, u8, u64)>);

impl FromStr for LengthMix {
    type Err = String;

    fn from_str(text: &str) -> Result<LengthMix, String> {
        let parse = |part: &str| -> Option<(u8, u8, u64)> {
            let (lengths, weight) = part.split_once(':').unwrap_or((part, "1"));
            let (low, high) = lengths.split_once('-').unwrap_or((lengths, lengths));
            let (low, high) = (low.parse().ok()?, high.parse().ok()?);
            (low <= high && high <= 128).then_some((low, high, weight.parse().ok()?))
        };
        let parts: Option<Vec<_>> = text.split(',').map(parse).collect();
        parts.map(LengthMix).ok_or_else(|| {
            format!("{text:?} is no mix of prefix lengths; one is 24:61,16-23:39 (length:weight)")
        })
    }
}

impl LengthMix {
    fn draw(&self, random: &mut Random) -> u8 {
        let total: u64 = self.0.iter().map(|(_, _, weight)| weight).sum();
        let mut ticket = random.below(total.max(1));
        for (low, high, weight) in &self.0 {
            if ticket < *weight {
                return low + random.below(u64::from(high - low) + 1) as u8;
            }
            ticket -= weight;
        }
        self.0[0].0
    }
}

/// Encodes a whole table: UPDATEs and the End-of-RIB marker, in pieces of whole messages.
pub(crate) fn encode(table: &Table, announcer: Announcer) -> Arc<[Bytes]> {
    let mut random = Random::new(table.seed);
    let prefixes = draw_prefixes(table, &mut random);
    let mut pieces = Vec::new();
    let mut piece = Vec::new();
    for group in prefixes.chunks(table.per_attributes.max(1)) {
        encode_group(table.family, group, announcer, &mut random, &mut piece);
        if piece.len() >= PIECE_OCTETS {
            pieces.push(Bytes::from(std::mem::take(&mut piece)));
        }
    }
    codec::encode_end_of_rib(table.family, &mut piece);
    pieces.push(Bytes::from(piece));
    pieces.into()
}

fn encode_group(
    family: Family,
    prefixes: &[IpPrefix],
    announcer: Announcer,
    random: &mut Random,
    out: &mut Vec<u8>,
) {
    let next_hop = match (family, announcer.next_hop) {
        (Family::Ipv6Unicast, IpAddr::V6(address)) => NextHop::V6(address),
        (Family::Ipv6Unicast, IpAddr::V4(address)) => NextHop::V6(address.to_ipv6_mapped()),
        (_, IpAddr::V4(address)) => NextHop::V4(address),
        // Plain IPv4 needs an IPv4 next hop.
        (_, IpAddr::V6(_)) => NextHop::V4(DOCUMENTATION_NEXT_HOP),
    };
    let attributes = draw_attributes(announcer, &next_hop, random);
    let room = match family {
        Family::Ipv4Unicast => codec::update_room(codec::MAX_LEN, attributes.len()),
        _ => codec::mp_update_room(codec::MAX_LEN, &next_hop, attributes.len()),
    };
    let mut nlri = Vec::new();
    let mut flush = |nlri: &mut Vec<u8>| {
        match family {
            Family::Ipv4Unicast => codec::encode_update(&attributes, nlri, out),
            _ => codec::encode_mp_update(family, &next_hop, &attributes, nlri, out),
        }
        nlri.clear();
    };
    for prefix in prefixes {
        if nlri.len() + NLRI_OCTETS_MAX > room {
            flush(&mut nlri);
        }
        match prefix {
            IpPrefix::V4(prefix) => codec::encode_nlri(*prefix, None, &mut nlri),
            IpPrefix::V6(prefix) => codec::encode_nlri(*prefix, None, &mut nlri),
        }
    }
    flush(&mut nlri);
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

fn draw_prefixes(table: &Table, random: &mut Random) -> Vec<IpPrefix> {
    let mut seen = HashSet::with_capacity(table.prefixes);
    let mut prefixes = Vec::with_capacity(table.prefixes);
    // A mix of short lengths may hold fewer prefixes than were asked for: stop in the end.
    let mut tries = table.prefixes.saturating_mul(64);
    while prefixes.len() < table.prefixes && tries > 0 {
        tries -= 1;
        let length = table.lengths.draw(random);
        let prefix = match table.family {
            Family::Ipv4Unicast => {
                // 1.0.0.0 to 126.255.255.255 without 10/8: nothing that a martian filter takes.
                let bits = 0x0100_0000 + random.below(0x7e00_0000) as u32;
                if bits >> 24 == 10 {
                    continue;
                }
                IpPrefix::V4(Ipv4Prefix::masked(Ipv4Addr::from(bits), length))
            }
            _ => {
                // Within 2000::/3, which is what is given out.
                let bits = (1 << 125) | (u128::from(random.next()) << 61);
                IpPrefix::V6(Ipv6Prefix::masked(Ipv6Addr::from(bits), length))
            }
        };
        if seen.insert(prefix) {
            prefixes.push(prefix);
        }
    }
    prefixes
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
        eprintln!("router {router} has written its table after {seconds:.3} s");
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
/// A piece is closed with the message that brings it past this.
const PIECE_OCTETS: usize = 64 * 1024;
/// The longest prefix on the wire: its length and 16 octets.
const NLRI_OCTETS_MAX: usize = 17;

#[cfg(test)]
mod tests {
    use codec::{FamilySet, Message, PeerKind};

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

    #[test]
    fn a_mix_that_makes_no_sense_is_refused() {
        assert!("".parse::<LengthMix>().is_err());
        assert!("24:".parse::<LengthMix>().is_err());
        assert!("23-16".parse::<LengthMix>().is_err());
        assert!("24,16-23:39".parse::<LengthMix>().is_ok());
    }
}
