//! This project's codec and table beside those of others, on the same input in the same run.
//!
//! The codecs all frame a stream, read every attribute and every prefix; netgauze and bgpkit build
//! owned messages of them, routecore and ours read in place (an attribute becomes a value of its own
//! where routecore is asked for what it says). Only ours judges damage by RFC 7606
//! on the way. The maps take one path a prefix: `prefix-trie` belongs to one thread, the map of
//! locked shards is how GoBGP and RustyBGP share a table; neither selects a best path, marks what
//! changed for other readers, or counts attribute sets, as ours does in the same figures.
//! Elements are prefixes.

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::sync::Mutex;

use ahash::{AHashMap, RandomState};
use benches::input::{Random, made_up};
use benches::speaker::table;
use benches::updates::{attributes, format, message, v4};
use bgpkit_parser::models::{AsnLength, BgpMessage as BgpkitMessage};
use bgpkit_parser::parser::bgp::parse_bgp_message;
use bytes::Bytes;
use codec::{
    Family, Ipv4Prefix, MAX_LEN, Message, Prefix, encode_nlri, encode_update, frame, parse_message,
    parse_update,
};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ipnet::Ipv4Net;
use netgauze_bgp_pkt::BgpMessage as NetgauzeMessage;
use netgauze_bgp_pkt::wire::deserializer::BgpParsingContext;
use netgauze_parse_utils::WritablePdu;
use netgauze_parse_utils::reader::SliceReader;
use netgauze_parse_utils::traits::ParseFromWithOneInput;
use prefix_trie::PrefixMap;
use rib::Rib;
use routecore::bgp::message::{SessionConfig, UpdateMessage};
use routecore::bgp::nlri::afisafi::{Ipv4UnicastNlri, Ipv6UnicastNlri};

// As in the daemon, for all of them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The messages of a stream.
fn messages(mut octets: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let length = frame(octets, MAX_LEN).expect("a sound stream")?;
        let (message, rest) = octets.split_at(length);
        octets = rest;
        Some(message)
    })
}

fn ours(octets: &[u8]) -> usize {
    let format = format();
    let count = |message| {
        let Ok(Message::Update(body)) = parse_message(message) else {
            return 0;
        };
        let update = parse_update(body, &format).expect("a sound UPDATE");
        let reach = update.mp_announced.map(|reach| reach.nlri);
        update.announced.iter_v4().map(black_box).count()
            + reach.map_or(0, |nlri| nlri.iter_v6().map(black_box).count())
    };
    messages(octets).map(count).sum()
}

fn routecore(octets: &[u8]) -> usize {
    let config = SessionConfig::modern();
    let count = |message| {
        let update = UpdateMessage::from_octets(message, &config).expect("a sound UPDATE");
        for attribute in update.path_attributes().expect("sound attributes") {
            let owned = attribute.and_then(|attribute| attribute.to_owned());
            black_box(owned.expect("a sound attribute"));
        }
        let v4 = update.typed_announcements::<_, Ipv4UnicastNlri>();
        if let Ok(Some(v4)) = v4 {
            return v4.map(black_box).count();
        }
        let v6 = update.typed_announcements::<_, Ipv6UnicastNlri>();
        v6.expect("sound NLRI")
            .map_or(0, |v6| v6.map(black_box).count())
    };
    messages(octets).map(count).sum()
}

fn netgauze_message(message: &[u8], context: &mut BgpParsingContext) -> NetgauzeMessage {
    let mut reader = SliceReader::new(message);
    NetgauzeMessage::parse(&mut reader, context).expect("a sound UPDATE")
}

/// The messages, since all that this library read is in them.
fn netgauze(octets: &[u8]) -> usize {
    let mut context = BgpParsingContext::asn2_default();
    context.set_asn4(true);
    let mut read = |message| {
        black_box(netgauze_message(message, &mut context));
    };
    messages(octets).map(&mut read).count()
}

fn bgpkit_message(mut message: Bytes) -> BgpkitMessage {
    parse_bgp_message(&mut message, false, &AsnLength::Bits32).expect("a sound UPDATE")
}

/// The messages, since all that this library read is in them.
fn bgpkit(octets: &Bytes) -> usize {
    let read = |message| {
        black_box(bgpkit_message(octets.slice_ref(message)));
    };
    messages(octets).map(read).count()
}

fn decode(c: &mut Criterion) {
    for (name, family, most) in [
        ("IPv4, 5 a message", Family::Ipv4Unicast, 5),
        ("IPv4, full messages", Family::Ipv4Unicast, 2000),
        ("IPv6, full messages", Family::Ipv6Unicast, 2000),
    ] {
        let (fit, message) = message(family, most);
        let sent = 10_000 / fit as usize;
        let prefixes = sent * fit as usize;
        let octets = message.repeat(sent);
        let octets = Bytes::from(octets);
        assert_eq!(ours(&octets), prefixes);
        assert_eq!(routecore(&octets), prefixes);
        assert_eq!([netgauze(&octets), bgpkit(&octets)], [sent, sent]);
        let mut group = c.benchmark_group(format!("against/decode {name}"));
        group.throughput(Throughput::Elements(prefixes as u64));
        group.bench_function("ringbgp", |b| b.iter(|| ours(black_box(&octets))));
        group.bench_function("routecore", |b| b.iter(|| routecore(black_box(&octets))));
        group.bench_function("netgauze-bgp-pkt", |b| {
            b.iter(|| netgauze(black_box(&octets)))
        });
        group.bench_function("bgpkit-parser", |b| b.iter(|| bgpkit(black_box(&octets))));
        group.finish();
    }
}

/// From what each library holds of a message to octets.
fn encode(c: &mut Criterion) {
    for (name, count) in [("5 prefixes", 5), ("900 prefixes", 900)] {
        let (fit, octets) = message(Family::Ipv4Unicast, count);
        assert_eq!(fit, u64::from(count));
        let mut group = c.benchmark_group(format!("against/encode IPv4, {name}"));
        group.throughput(Throughput::Elements(fit));
        let mut out = Vec::with_capacity(MAX_LEN);
        let (attributes, prefixes) = (attributes(Family::Ipv4Unicast), v4(count));
        let mut nlri = Vec::with_capacity(MAX_LEN);
        group.bench_function("ringbgp", |b| {
            b.iter(|| {
                out.clear();
                nlri.clear();
                for prefix in black_box(&prefixes) {
                    encode_nlri(*prefix, None, &mut nlri);
                }
                encode_update(black_box(&attributes), &nlri, &mut out);
            });
        });
        assert_eq!(out, octets);
        let mut context = BgpParsingContext::asn2_default();
        context.set_asn4(true);
        let message = netgauze_message(&octets, &mut context);
        group.bench_function("netgauze-bgp-pkt", |b| {
            b.iter(|| {
                out.clear();
                black_box(&message).write(&mut out).expect("room");
            });
        });
        assert_eq!(out.len(), octets.len());
        let message = bgpkit_message(Bytes::from(octets));
        group.bench_function("bgpkit-parser", |b| {
            b.iter(|| black_box(&message).encode(AsnLength::Bits32));
        });
        group.finish();
    }
}

/// A path as a map would hold it.
#[derive(Clone, Copy)]
struct Held {
    source: u32,
    #[expect(dead_code, reason = "part of what is stored")]
    path_id: u32,
    attributes: u64,
}

impl Held {
    fn of(attributes: usize) -> Held {
        Held {
            source: 1,
            path_id: 0,
            attributes: attributes as u64,
        }
    }
}

/// Locked maps, chosen by the prefix's hash.
struct Locked {
    hasher: RandomState,
    shards: Vec<Mutex<AHashMap<Ipv4Prefix, Vec<Held>>>>,
}

impl Locked {
    fn new() -> Locked {
        Locked {
            hasher: RandomState::with_seeds(1, 2, 3, 4),
            shards: (0..64).map(|_| Mutex::default()).collect(),
        }
    }

    fn shard(&self, prefix: &Ipv4Prefix) -> &Mutex<AHashMap<Ipv4Prefix, Vec<Held>>> {
        &self.shards[(self.hasher.hash_one(prefix) >> 58) as usize]
    }

    fn upsert(&self, prefix: Ipv4Prefix, path: Held) {
        let mut shard = self.shard(&prefix).lock().expect("nobody panics");
        let paths = shard.entry(prefix).or_default();
        match paths.iter_mut().find(|held| held.source == path.source) {
            Some(held) => *held = path,
            None => paths.push(path),
        }
    }

    fn lookup(&self, prefix: &Ipv4Prefix) -> Option<u64> {
        let shard = self.shard(prefix).lock().expect("nobody panics");
        Some(shard.get(prefix)?.first()?.attributes)
    }
}

fn net(prefix: &Ipv4Prefix) -> Ipv4Net {
    let ipnet::IpNet::V4(net) = prefix.erase().into() else {
        unreachable!("made of IPv4");
    };
    net
}

fn maps(c: &mut Criterion) {
    let mut sorted = made_up(1_000_000);
    sorted.sort_unstable();
    sorted.dedup();
    let shuffled = Random(7).shuffled(&sorted);
    for (order, prefixes) in [("in order", &sorted), ("shuffled", &shuffled)] {
        let nets: Vec<_> = prefixes.iter().map(net).collect();
        let mut group = c.benchmark_group(format!("against/upsert, new, {order}"));
        group
            .sample_size(10)
            .throughput(Throughput::Elements(prefixes.len() as u64));
        group.bench_function("ringbgp", |b| {
            let announce = |(rib, mut speakers): (_, Vec<benches::speaker::Speaker>)| {
                speakers[0].announce(prefixes, 0);
                (rib, speakers)
            };
            b.iter_batched(|| table(1), announce, BatchSize::PerIteration);
        });
        group.bench_function("prefix-trie", |b| {
            let insert = |mut map: PrefixMap<Ipv4Net, Held>| {
                for (at, net) in nets.iter().enumerate() {
                    map.insert(*net, Held::of(at));
                }
                map
            };
            b.iter_batched(PrefixMap::new, insert, BatchSize::PerIteration);
        });
        group.bench_function("locked maps", |b| {
            let upsert = |map: Locked| {
                for (at, prefix) in prefixes.iter().enumerate() {
                    map.upsert(*prefix, Held::of(at));
                }
                map
            };
            b.iter_batched(Locked::new, upsert, BatchSize::PerIteration);
        });
        group.finish();
    }
    lookups(c, &sorted, &shuffled);
}

fn lookups(c: &mut Criterion, sorted: &[Ipv4Prefix], shuffled: &[Ipv4Prefix]) {
    let (rib, mut speakers) = table(1);
    speakers[0].announce(sorted, 0);
    let mut map = PrefixMap::new();
    let locked = Locked::new();
    for (at, prefix) in sorted.iter().enumerate() {
        map.insert(net(prefix), Held::of(at));
        locked.upsert(*prefix, Held::of(at));
    }
    let count = shuffled.len();
    let mut group = c.benchmark_group("against/lookup, shuffled");
    group
        .sample_size(10)
        .throughput(Throughput::Elements(count as u64));
    let guard = Rib::pin();
    let erased: Vec<_> = shuffled.iter().map(|prefix| prefix.erase()).collect();
    let nets: Vec<_> = shuffled.iter().map(net).collect();
    group.bench_function("ringbgp", |b| {
        b.iter(|| erased.iter().filter_map(|p| rib.lookup(*p, &guard)).count());
    });
    group.bench_function("prefix-trie", |b| {
        b.iter(|| nets.iter().filter_map(|net| map.get(net)).count());
    });
    group.bench_function("locked maps", |b| {
        b.iter(|| shuffled.iter().filter_map(|p| locked.lookup(p)).count());
    });
    group.finish();

    let mut group = c.benchmark_group("against/longest match");
    group
        .sample_size(10)
        .throughput(Throughput::Elements(count as u64));
    let mut random = Random(3);
    let hosts: Vec<_> = (0..count)
        .map(|_| Ipv4Prefix::masked(Ipv4Addr::from(random.below(0xe000_0000)), 32))
        .collect();
    let erased: Vec<_> = hosts.iter().map(|prefix| prefix.erase()).collect();
    let nets: Vec<_> = hosts.iter().map(net).collect();
    group.bench_function("ringbgp", |b| {
        let matched = || erased.iter().filter_map(|p| rib.longest_match(*p, &guard));
        b.iter(|| matched().count());
    });
    group.bench_function("prefix-trie", |b| {
        b.iter(|| nets.iter().filter_map(|net| map.get_lpm(net)).count());
    });
    group.finish();
}

criterion_group!(benches, decode, encode, maps);
criterion_main!(benches);
