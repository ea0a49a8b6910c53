//! Reading and writing UPDATEs.
//!
//! Budgets: 5 ns a plain NLRI read or written; the canonical form of a clean attribute block costs
//! little more than copying it. Elements are prefixes where a figure is per prefix.

use std::hint::black_box;

use benches::updates::{attributes, format, message, packed, v4, v6};
use codec::{
    Family, HEADER_LEN, MAX_LEN, NlriField, encode_nlri, encode_update, parse_update, update_room,
};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

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
