//! Small programs of which `perf/instructions` counts the instructions, under callgrind.
//!
//! `instructions` names the workloads; `instructions NAME` runs one and prints how many units it
//! did and what a unit is. Only what runs inside [`counted_region`] counts: the script lets
//! callgrind look nowhere else, so that set-up is free. A workload reads no clock, starts no thread
//! and takes its numbers from fixed seeds. What still differs between two runs is where the seeded
//! hash tables put things; the script's tolerance covers it.

use std::hint::black_box;
use std::sync::atomic::AtomicUsize;

use benches::fan_out::{self, tell};
use benches::input::{Random, candidates, canonical, made_up};
use benches::rig::Rig;
use benches::speaker::{FAMILY, Speaker, table};
use benches::updates::{format, message, stream, v4, v6};
use codec::{
    Family, HEADER_LEN, Ipv4Prefix, Message, NlriField, WireFormat, encode_nlri, frame,
    parse_message, parse_update,
};
use engine::config::{Export, Import};
use engine::group::{PathSource, export};
use engine::policy::NextHopChoice;
use rib::{Rib, RibOptions, Selection, SourceKind, select};

// As in the daemon.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PREFIXES: u32 = 100_000;

/// How many units were done, and what a unit is.
type Done = (u32, &'static str);

type Workload = (&'static str, fn() -> Done);

/// Every workload by its name in the baseline, in the order of a route's way through the daemon.
const WORKLOADS: [Workload; 22] = [
    ("decode-v4-5-a-message", || decode(&stream(PREFIXES, 0))),
    ("decode-v4-full", || decode(&full(Family::Ipv4Unicast))),
    ("decode-v6-full", || decode(&full(Family::Ipv6Unicast))),
    ("canonical-v4", canonical_form),
    ("encode-v4", || encode(&v4(1000))),
    ("encode-v6", || encode(&v6(1000))),
    ("attributes-new", attributes_new),
    ("attributes-known", attributes_known),
    ("upsert-in-order", || upsert(&sorted())),
    ("upsert-shuffled", || upsert(&Random(7).shuffled(&sorted()))),
    ("replace-shuffled", replace),
    ("ten-paths", ten_paths),
    ("best-path-4", || best_path(4)),
    ("best-path-16", || best_path(16)),
    ("lookup-shuffled", lookup),
    ("export", export_form),
    ("tell-1-member", || fan_out(5, 1)),
    ("tell-50-members", || fan_out(5, 50)),
    ("tell-one-set", || fan_out(fan_out::PREFIXES, 1)),
    ("shard-ingest", || shard(Import::All, Export::None, 0)),
    ("shard-ingest-policy", || {
        shard(long_policy(), Export::None, 0)
    }),
    ("shard-2-receivers", || shard(Import::All, Export::All, 2)),
];

fn main() {
    let Some(name) = std::env::args().nth(1) else {
        for (name, _) in WORKLOADS {
            println!("{name}");
        }
        return;
    };
    let Some((_, workload)) = WORKLOADS.iter().find(|(known, _)| *known == name) else {
        eprintln!("no workload {name}; without an argument all are named");
        std::process::exit(2);
    };
    let (units, unit) = workload();
    println!("{units} {unit}");
}

/// The one function in which callgrind counts; the script knows its name.
#[inline(never)]
fn counted_region<T>(work: impl FnOnce() -> T) -> T {
    black_box(work())
}

/// A hundred copies of a message with as many prefixes as fit.
fn full(family: Family) -> Vec<u8> {
    message(family, 2000).1.repeat(100)
}

/// Framed, parsed, and every prefix looked at, as a session does.
fn decode(octets: &[u8]) -> Done {
    let format = format();
    let count = counted_region(|| {
        let mut count = 0;
        each_update(octets, &format, |body| {
            let update = parse_update(body, &format).expect("a sound UPDATE");
            count += update.announced.iter_v4().map(black_box).count();
            if let Some(reach) = &update.mp_announced {
                count += reach.nlri.iter_v6().map(black_box).count();
            }
        });
        count
    });
    (count as u32, "prefix")
}

fn each_update(mut octets: &[u8], format: &WireFormat, mut take: impl FnMut(&[u8])) {
    while let Some(length) = frame(octets, format.max_len()).expect("a sound stream") {
        let (message, rest) = octets.split_at(length);
        let Ok(Message::Update(body)) = parse_message(message) else {
            unreachable!("UPDATEs only");
        };
        take(body);
        octets = rest;
    }
}

fn canonical_form() -> Done {
    let format = format();
    let message = message(Family::Ipv4Unicast, 1).1;
    let update = parse_update(&message[HEADER_LEN..], &format).expect("a sound UPDATE");
    let mut out = Vec::with_capacity(4096);
    counted_region(|| {
        for _ in 0..10_000 {
            out.clear();
            black_box(&update).canonical(NlriField::Plain, &mut out);
            black_box(&out);
        }
    });
    (10_000, "attribute set")
}

fn encode<P: codec::Prefix>(prefixes: &[P]) -> Done {
    let mut out = Vec::with_capacity(32_768);
    counted_region(|| {
        for _ in 0..100 {
            out.clear();
            for prefix in black_box(prefixes) {
                encode_nlri(*prefix, None, &mut out);
            }
            black_box(&out);
        }
    });
    (100 * prefixes.len() as u32, "prefix")
}

fn attributes_new() -> Done {
    let (_rib, mut speakers) = table(1);
    let writer = &mut speakers[0].writer;
    let sets: Vec<_> = (0..20_000).map(|n| canonical(1_000_000 + n)).collect();
    counted_region(|| {
        let intern = |bytes: &Vec<u8>| writer.intern(bytes).expect("room");
        let ids: Vec<_> = sets.iter().map(intern).collect();
        for id in ids {
            writer.release(id);
        }
        writer.publish();
        writer.flush();
    });
    (20_000, "attribute set")
}

fn attributes_known() -> Done {
    let (_rib, mut speakers) = table(1);
    let writer = &mut speakers[0].writer;
    let sets: Vec<_> = (0..20_000).map(|n| canonical(n * 5)).collect();
    counted_region(|| {
        for bytes in &sets {
            let id = writer.intern(bytes).expect("room");
            writer.release(black_box(id));
        }
    });
    (20_000, "attribute set")
}

fn sorted() -> Vec<Ipv4Prefix> {
    let mut prefixes = made_up(PREFIXES);
    prefixes.sort_unstable();
    prefixes.dedup();
    prefixes
}

fn upsert(prefixes: &[Ipv4Prefix]) -> Done {
    let (_rib, mut speakers) = table(1);
    counted_region(|| speakers[0].announce(prefixes, 0));
    (prefixes.len() as u32, "prefix")
}

fn replace() -> Done {
    let (_rib, mut speakers) = table(1);
    let prefixes = Random(7).shuffled(&sorted());
    speakers[0].announce(&sorted(), 0);
    counted_region(|| speakers[0].announce(&prefixes, 1));
    (prefixes.len() as u32, "prefix")
}

/// Ten peers of one shard announce the same prefixes, one after the other, then take them back.
fn ten_paths() -> Done {
    let (_rib, mut speakers) = table(1);
    let Speaker { writer, .. } = &mut speakers[0];
    let prefixes: Vec<_> = sorted().into_iter().step_by(5).collect();
    let attributes = writer.intern(&canonical(1)).expect("room");
    let peers: Vec<_> = (1..=10).map(|n| fan_out::source(writer, n)).collect();
    let mut taken = Vec::new();
    counted_region(|| {
        for source in &peers {
            for part in prefixes.chunks(512) {
                let _guard = Rib::pin();
                for prefix in part {
                    let path = rib::Path {
                        attributes,
                        source: *source,
                        path_id: 0,
                        flags: rib::PathFlags::NONE,
                    };
                    black_box(writer.upsert(*prefix, path).expect("room"));
                }
                turn(writer, &mut taken);
            }
        }
        for source in &peers {
            for part in prefixes.chunks(512) {
                let _guard = Rib::pin();
                for prefix in part {
                    black_box(writer.withdraw(*prefix, *source, 0));
                }
                turn(writer, &mut taken);
            }
        }
    });
    (10 * prefixes.len() as u32, "path, told and taken back")
}

/// The end of a shard's turn.
fn turn(writer: &mut rib::RibWriter, taken: &mut Vec<(Family, rib::PrefixId)>) {
    writer.publish();
    taken.clear();
    writer.take_dirty(usize::MAX, taken);
    writer.flush();
}

fn best_path(paths: u32) -> Done {
    let candidates = candidates(paths, 3, &mut Random(5));
    counted_region(|| {
        for _ in 0..10_000 {
            black_box(select(Selection::default(), black_box(&candidates)));
        }
    });
    (10_000, "selection")
}

fn lookup() -> Done {
    let (rib, mut speakers) = table(1);
    speakers[0].announce(&sorted(), 0);
    let prefixes = Random(7).shuffled(&sorted());
    let guard = Rib::pin();
    counted_region(|| {
        for prefix in &prefixes {
            black_box(rib.lookup(codec::Prefix::erase(*prefix), &guard));
        }
    });
    (prefixes.len() as u32, "prefix")
}

fn export_form() -> Done {
    let view = fan_out::view();
    let source = PathSource {
        kind: SourceKind::External,
        originator: None,
        next_hop: NextHopChoice::BySettings,
        sets_med: false,
        stale: false,
    };
    let set = canonical(1);
    let mut out = Vec::with_capacity(4096);
    counted_region(|| {
        for _ in 0..10_000 {
            out.clear();
            let set = black_box(&set);
            export(&view, FAMILY, source, set, &mut out).expect("told to everybody");
            black_box(&out);
        }
    });
    (10_000, "attribute set")
}

fn fan_out(sharing: u32, members: u32) -> Done {
    let (_rib, mut writer, ids) = fan_out::table(sharing);
    let sources: Vec<_> = (1..=members)
        .map(|number| fan_out::source(&mut writer, number))
        .collect();
    let counter = counted_region(|| tell(&mut writer, &ids, &sources));
    assert!(counter.octets > 0);
    (fan_out::PREFIXES, "prefix")
}

/// A shard, four senders, and receivers that are told everything.
fn shard(import: Import, export: Export, receivers: u32) -> Done {
    const SENDERS: u32 = 4;
    let streams: Vec<_> = (0..SENDERS)
        .map(|sender| stream(PREFIXES / SENDERS, sender))
        .collect();
    let rib = Rib::new(RibOptions {
        shards: 1,
        selection: Selection::default(),
    });
    let mut rig = Rig::new(&rib, 0);
    rig.import = import;
    for sender in 0..SENDERS {
        rig.connect(sender, export.clone(), Some(sender as usize));
    }
    for receiver in 0..receivers {
        rig.connect(SENDERS + receiver, Export::All, None);
    }
    counted_region(|| rig.run(&streams, &AtomicUsize::new(0), 1));
    assert_eq!(rib.id_limit(FAMILY), PREFIXES);
    (PREFIXES, "prefix")
}

fn long_policy() -> Import {
    Import::Policy(benches::policy::long(1000, 200_000))
}
