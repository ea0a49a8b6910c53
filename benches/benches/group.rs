//! Packing and fan-out: what one core needs to tell a table to the members of an update group.

use std::hint::black_box;

use benches::fan_out::{PREFIXES, source, table, tell};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rib::SourceId;

fn packing(criterion: &mut Criterion) {
    for (name, sharing, members) in [
        ("one attribute set, 1 member", PREFIXES, 1),
        ("5 prefixes a set, 1 member", 5, 1),
        ("5 prefixes a set, 100 members", 5, 100),
    ] {
        let (_rib, mut writer, ids) = table(sharing);
        let members: Vec<SourceId> = (1..=members).map(|n| source(&mut writer, n)).collect();
        let mut group = criterion.benchmark_group("group: tell 100,000 prefixes");
        group.throughput(Throughput::Elements(u64::from(PREFIXES)));
        group.sample_size(10);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let counter = tell(&mut writer, &ids, &members);
                black_box((counter.octets, counter.runs))
            });
        });
        group.finish();
    }
}

criterion_group!(benches, packing);
criterion_main!(benches);
