//! Reading and writing UPDATEs.
//!
//! Budgets: 5 ns a plain NLRI read or written; the canonical form of a clean attribute block costs
//! little more than copying it. Elements are prefixes where a figure is per prefix.

use std::hint::black_box;
use std::net::{Ipv4Addr, Ipv6Addr};

use codec::{
    AsPath, AttributeWriter, Family, FamilySet, HEADER_LEN, Ipv4Prefix, Ipv6Prefix, MAX_LEN,
    NextHop, NlriField, Origin, Prefix, WireFormat, encode_mp_update, encode_nlri, encode_update,
    mp_update_room, parse_update, update_room,
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const NEXT_HOP_V6: NextHop = NextHop::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));

fn format() -> WireFormat {
    WireFormat {
        families: FamilySet::ALL,
        ..WireFormat::default()
    }
}

/// What a route of the Internet table typically has.
fn attributes(family: Family) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = AttributeWriter::new(&mut out);
    writer.origin(Origin::Igp);
    writer.as_path(&AsPath::default(), &[65002, 3356, 174, 64500], true);
    if family == Family::Ipv4Unicast {
        writer.next_hop(Ipv4Addr::new(192, 0, 2, 1));
    }
    writer.med(100);
    writer.communities(&[0x0d1c_0001, 0x0d1c_0002, 0x0d1c_0064, 0x0d1c_03e8]);
    writer.large_communities(&[[65002, 1, 2]]);
    out
}

fn v4(count: u32) -> Vec<Ipv4Prefix> {
    // Lengths as in the table: mostly 24, some shorter.
    let length = |index: u32| if index.is_multiple_of(4) { 22 } else { 24 };
    let address = |index: u32| Ipv4Addr::from(0x0a00_0000 + (index << 10));
    (0..count)
        .map(|index| Ipv4Prefix::masked(address(index), length(index)))
        .collect()
}

fn v6(count: u32) -> Vec<Ipv6Prefix> {
    let address = |index: u32| Ipv6Addr::from((0x2001_0db8_u128 << 96) | u128::from(index) << 80);
    (0..count)
        .map(|index| Ipv6Prefix::masked(address(index), 48))
        .collect()
}

/// As many of the prefixes as fit in `room` octets.
fn packed<P: Prefix>(prefixes: &[P], room: usize) -> (usize, Vec<u8>) {
    let mut nlri = Vec::new();
    for (count, prefix) in prefixes.iter().enumerate() {
        let end = nlri.len();
        encode_nlri(*prefix, None, &mut nlri);
        if nlri.len() > room {
            nlri.truncate(end);
            return (count, nlri);
        }
    }
    (prefixes.len(), nlri)
}

/// A whole message with as many of `count` prefixes as fit, and their number.
fn message(family: Family, count: u32) -> (u64, Vec<u8>) {
    let attributes = attributes(family);
    let mut out = Vec::new();
    let fit = if family == Family::Ipv4Unicast {
        let (fit, nlri) = packed(&v4(count), update_room(MAX_LEN, attributes.len()));
        encode_update(&attributes, &nlri, &mut out);
        fit
    } else {
        let room = mp_update_room(MAX_LEN, &NEXT_HOP_V6, attributes.len());
        let (fit, nlri) = packed(&v6(count), room);
        encode_mp_update(family, &NEXT_HOP_V6, &attributes, &nlri, &mut out);
        fit
    };
    (fit as u64, out)
}

fn parse(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec/parse_update");
    for (name, family, count) in [
        ("v4_one_prefix", Family::Ipv4Unicast, 1),
        ("v6_one_prefix", Family::Ipv6Unicast, 1),
        ("v4_full_message", Family::Ipv4Unicast, 2000),
        ("v6_full_message", Family::Ipv6Unicast, 2000),
    ] {
        let (fit, message) = message(family, count);
        let body = &message[HEADER_LEN..];
        group.throughput(Throughput::Elements(fit));
        group.bench_function(name, |b| {
            b.iter(|| {
                parse_update(black_box(body), &format())
                    .unwrap()
                    .faults
                    .len()
            });
        });
    }
    group.finish();
}

fn nlri_decode(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec/nlri_decode");
    for (name, family) in [("v4", Family::Ipv4Unicast), ("v6", Family::Ipv6Unicast)] {
        let (fit, message) = message(family, 2000);
        let update = parse_update(&message[HEADER_LEN..], &format()).unwrap();
        group.throughput(Throughput::Elements(fit));
        group.bench_function(name, |b| {
            let multiprotocol = update.mp_announced.map(|reach| reach.nlri);
            b.iter(|| {
                for (_, prefix) in black_box(update.announced).iter_v4() {
                    black_box(prefix);
                }
                for (_, prefix) in black_box(multiprotocol).iter().flat_map(|n| n.iter_v6()) {
                    black_box(prefix);
                }
            });
        });
    }
    group.finish();
}

fn canonical(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec/canonical");
    for (name, family, which) in [
        ("clean_v4", Family::Ipv4Unicast, NlriField::Plain),
        ("v6", Family::Ipv6Unicast, NlriField::MpReach),
    ] {
        let (_, message) = message(family, 1);
        let update = parse_update(&message[HEADER_LEN..], &format()).unwrap();
        let mut out = Vec::with_capacity(MAX_LEN);
        group.bench_function(name, |b| {
            b.iter(|| {
                out.clear();
                black_box(&update).canonical(which, &mut out);
                black_box(&out);
            });
        });
    }
    group.finish();
}

fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("codec/encode");
    let (v4, v6) = (v4(1000), v6(1000));
    let mut out = Vec::with_capacity(32_768);
    group.throughput(Throughput::Elements(1000));
    group.bench_function("nlri_v4", |b| {
        b.iter(|| {
            out.clear();
            for prefix in black_box(&v4) {
                encode_nlri(*prefix, None, &mut out);
            }
            black_box(&out);
        });
    });
    group.bench_function("nlri_v6", |b| {
        b.iter(|| {
            out.clear();
            for prefix in black_box(&v6) {
                encode_nlri(*prefix, None, &mut out);
            }
            black_box(&out);
        });
    });

    let attributes = attributes(Family::Ipv4Unicast);
    let (fit, nlri) = packed(&self::v4(2000), update_room(MAX_LEN, attributes.len()));
    group.throughput(Throughput::Elements(fit as u64));
    group.bench_function("v4_full_message", |b| {
        b.iter(|| {
            out.clear();
            encode_update(black_box(&attributes), black_box(&nlri), &mut out);
            black_box(&out);
        });
    });
    group.finish();
}

criterion_group!(benches, parse, nlri_decode, canonical, encode);
criterion_main!(benches);
