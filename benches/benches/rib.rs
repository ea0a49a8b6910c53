//! The routing table at the size of the Internet's.
//!
//! Budgets: 5 M upserts a second and core at a million prefixes (200 ns each), 20 ns a best path,
//! 48 octets a prefix with one path and 24 a further path, attributes aside. The prefixes are those
//! of `prefixes/fulltable.ipv4.txt.gz` under `RINGBGP_TEST_DATA`, else as many made-up ones.

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::str::FromStr;

use benches::input::{Random, candidates, canonical, made_up};
use benches::speaker::{FAMILY, table};
use codec::{Family, Ipv4Prefix, Ipv6Prefix, Prefix};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use rib::{IdSet, PrefixId, Rib, Selection, select};

/// As the daemon's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The table's prefixes in ascending order.
fn prefixes() -> Vec<Ipv4Prefix> {
    let mut prefixes = recorded("ipv4", Ipv4Prefix::new).unwrap_or_else(|| made_up(1_000_000));
    prefixes.sort_unstable();
    prefixes.dedup();
    prefixes
}

fn recorded<A: FromStr, P>(family: &str, new: fn(A, u8) -> Option<P>) -> Option<Vec<P>> {
    let root = PathBuf::from(std::env::var_os("RINGBGP_TEST_DATA")?);
    let file = root.join(format!("prefixes/fulltable.{family}.txt.gz"));
    let unpacked = Command::new("gzip").arg("-dc").arg(file).output().ok()?;
    let text = String::from_utf8(unpacked.stdout).ok()?;
    let prefix = |line: &str| {
        let (address, length) = line.split_whitespace().next()?.split_once('/')?;
        new(address.parse().ok()?, length.parse().ok()?)
    };
    Some(text.lines().filter_map(prefix).collect()).filter(|prefixes: &Vec<_>| !prefixes.is_empty())
}

/// Prints what the table takes.
fn memory(rib: &Rib, family: Family, what: &str) {
    let memory = rib.memory(&Rib::pin());
    let ids = f64::from(rib.id_limit(family));
    let each = |octets: usize| octets as f64 / ids;
    println!(
        "memory, {what}: {ids} prefixes, octets a prefix: trie {:.1}, prefix {:.1}, slot {:.1}, \
         lists {:.1}, marks {:.1}; in all {:.1}",
        each(memory.tries),
        each(memory.prefixes),
        each(memory.slots),
        each(memory.path_lists),
        each(memory.marks),
        each(memory.without_attributes()),
    );
}

fn upsert(c: &mut Criterion) {
    let sorted = prefixes();
    let shuffled = Random(7).shuffled(&sorted);
    let mut group = c.benchmark_group("rib/upsert");
    group
        .sample_size(10)
        .throughput(Throughput::Elements(sorted.len() as u64));
    for (order, prefixes) in [("in order", &sorted), ("shuffled", &shuffled)] {
        group.bench_function(format!("new, {order}"), |b| {
            b.iter_batched(
                || table(1),
                |(rib, mut speakers)| {
                    speakers[0].announce(prefixes, 0);
                    (rib, speakers)
                },
                BatchSize::PerIteration,
            );
        });
    }
    let (rib, mut speakers) = table(3);
    speakers[0].announce(&sorted, 0);
    memory(&rib, FAMILY, "one path");
    for (order, prefixes) in [("in order", &sorted), ("shuffled", &shuffled)] {
        let mut salt = 0;
        group.bench_function(format!("other attributes, {order}"), |b| {
            b.iter(|| {
                salt += 1;
                speakers[0].announce(prefixes, salt);
            });
        });
    }
    let mut salt = 0;
    group.bench_function("other attributes, shuffled, five a call", |b| {
        b.iter(|| {
            salt += 1;
            speakers[0].announce_in_calls_of(5, &shuffled, salt);
        });
    });
    speakers[1].announce(&sorted, 0);
    memory(&rib, FAMILY, "two paths");
    let mut salt = 0;
    group.bench_function("other attributes beside a second path, in order", |b| {
        b.iter(|| {
            salt += 1;
            speakers[1].announce(&sorted, salt);
        });
    });
    speakers[2].announce(&sorted, 0);
    memory(&rib, FAMILY, "three paths");
}

/// Not timed: what the long, sparse paths of IPv6 cost.
fn ipv6(_: &mut Criterion) {
    if let Some(prefixes) = recorded("ipv6", Ipv6Prefix::new) {
        let (rib, mut speakers) = table(1);
        speakers[0].announce(&prefixes, 0);
        memory(&rib, Family::Ipv6Unicast, "one path, IPv6");
    }
}

fn read(c: &mut Criterion) {
    let sorted = prefixes();
    let shuffled = Random(7).shuffled(&sorted);
    let (rib, mut speakers) = table(1);
    speakers[0].announce(&sorted, 0);
    let guard = Rib::pin();
    let mut group = c.benchmark_group("rib/read");
    group
        .sample_size(10)
        .throughput(Throughput::Elements(sorted.len() as u64));
    for (order, prefixes) in [("in order", &sorted), ("shuffled", &shuffled)] {
        let erased: Vec<_> = prefixes.iter().map(|prefix| prefix.erase()).collect();
        group.bench_function(format!("lookup, {order}"), |b| {
            b.iter(|| erased.iter().filter_map(|p| rib.lookup(*p, &guard)).count());
        });
    }
    let mut random = Random(3);
    let addresses: Vec<_> = sorted
        .iter()
        .map(|_| Ipv4Prefix::masked(Ipv4Addr::from(random.below(0xe000_0000)), 32).erase())
        .collect();
    group.bench_function("longest match", |b| {
        b.iter(|| {
            addresses
                .iter()
                .filter_map(|p| rib.longest_match(*p, &guard))
                .count()
        });
    });
    group.bench_function("walk", |b| {
        b.iter(|| {
            let mut sum = 0u64;
            rib.walk(FAMILY, None, None, usize::MAX, &guard, |id, _| {
                sum += u64::from(id.0)
            });
            sum
        });
    });
    group.bench_function("best, by id", |b| {
        let ids = || (0..rib.id_limit(FAMILY)).map(PrefixId);
        b.iter(|| {
            ids()
                .filter(|id| rib.best(FAMILY, *id, &guard).is_some())
                .count()
        });
    });
    let ids: Vec<_> = (0..rib.id_limit(FAMILY)).map(PrefixId).collect();
    for (order, ids) in [("in order", &ids), ("shuffled", &Random(7).shuffled(&ids))] {
        group.bench_function(format!("best of each, {order}"), |b| {
            b.iter(|| {
                let mut sum = 0u64;
                rib.best_of_each(FAMILY, ids, &guard, |_, best| {
                    sum += best.map_or(0, |best| u64::from(best.generation));
                });
                sum
            });
        });
    }
}

fn best_path(c: &mut Criterion) {
    let mut group = c.benchmark_group("rib/best path");
    for paths in [2u32, 4, 16, 256] {
        let mut random = Random(5);
        for (what, meds) in [("equal MEDs", 1), ("MEDs", 3)] {
            let candidates = candidates(paths, meds, &mut random);
            group.bench_function(format!("{paths} paths, {what}"), |b| {
                b.iter(|| select(Selection::default(), black_box(&candidates)));
            });
        }
    }
}

fn attributes(c: &mut Criterion) {
    let (_, mut speakers) = table(1);
    let writer = &mut speakers[0].writer;
    let bytes: Vec<_> = (0..1000).map(|n| canonical(n * 97)).collect();
    let mut group = c.benchmark_group("rib/attributes");
    group.throughput(Throughput::Elements(bytes.len() as u64));
    group.bench_function("intern and release, known", |b| {
        b.iter(|| {
            for bytes in &bytes {
                let id = writer.intern(bytes).expect("room");
                writer.release(black_box(id));
            }
        });
    });
    group.finish();
    let mut group = c.benchmark_group("rib/id set");
    group.throughput(Throughput::Elements(100_000));
    group.bench_function("insert in order, then take", |b| {
        let mut out = Vec::new();
        b.iter(|| {
            let mut set: IdSet = (0..100_000).map(PrefixId).collect();
            out.clear();
            set.take_first(usize::MAX, &mut out);
            out.len()
        });
    });
}

criterion_group!(benches, ipv6, upsert, read, best_path, attributes);
criterion_main!(benches);
