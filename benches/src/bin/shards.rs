//! Shards without sockets: the same octets, fed from memory to 1 shard and to several.
//!
//! `shards [--prefixes N] [--senders N] [--receivers N] [--shards 1,2] [--rounds N] [--ingest] [--parted]`
//!
//! Every sender announces its share of the prefixes, five to an attribute set, in pieces as a
//! socket would give them; receivers are told all of them. Senders are dealt out over the shards,
//! receivers too, so that each shard with receivers reads the whole table. With `--ingest` nobody
//! is told anything: what is left is parsing, table and best path. With `--parted` each sender's
//! prefixes are from a part of the address space of its own, so that shards have hardly any node of
//! the trie in common. Prints the seconds of each
//! round, and the median of the first count of shards over that of each other one.
//!
//! Several shards are measured *apart* too, each with a table and senders of its own and nothing in
//! common: what that gains is what the machine's cores give, for they share caches, memory and, on
//! many machines that are rented, more.

use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use benches::rig::Rig;
use benches::updates::{stream, stream_within};
use engine::config::Export;
use rib::{Rib, RibOptions, Selection};

// As in the daemon.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Options {
    prefixes: u32,
    senders: u32,
    receivers: u32,
    shards: Vec<usize>,
    rounds: usize,
    ingest: bool,
    parted: bool,
}

fn main() {
    let options = options();
    let streams: Vec<Vec<u8>> = (0..options.senders)
        .map(|sender| {
            let share = options.prefixes / options.senders;
            if options.parted {
                stream_within(share, sender, options.senders)
            } else {
                stream(share, sender)
            }
        })
        .collect();
    let mut first = None;
    for count in &options.shards {
        measure(&options, *count, false, &streams, &mut first);
        if *count > 1 {
            measure(&options, *count, true, &streams, &mut first);
        }
    }
}

fn measure(
    options: &Options,
    count: usize,
    apart: bool,
    streams: &[Vec<u8>],
    first: &mut Option<f64>,
) {
    let mut seconds: Vec<f64> = (0..options.rounds)
        .map(|_| round(options, count, apart, streams).as_secs_f64())
        .collect();
    seconds.sort_by(f64::total_cmp);
    let median = seconds[seconds.len() / 2];
    let ratio = *first.get_or_insert(median) / median;
    let how = if apart { " apart" } else { "" };
    println!("{count} shards{how}: {median:.3} s, {ratio:.2} x, all {seconds:.3?}");
}

fn options() -> Options {
    let mut options = Options {
        prefixes: 1_000_000,
        senders: 8,
        receivers: 2,
        shards: vec![1, 2],
        rounds: 5,
        ingest: false,
        parted: false,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--ingest" => options.ingest = true,
            "--parted" => options.parted = true,
            _ => read_number(&mut options, &word, &words.next().unwrap_or_default()),
        }
    }
    options
}

fn read_number(options: &mut Options, word: &str, value: &str) {
    let number = || value.parse().unwrap_or_else(|_| usage());
    match word {
        "--prefixes" => options.prefixes = number(),
        "--senders" => options.senders = number(),
        "--receivers" => options.receivers = number(),
        "--rounds" => options.rounds = number() as usize,
        "--shards" => {
            let counts = value.split(',').map(str::parse);
            options.shards = counts.collect::<Result<_, _>>().unwrap_or_else(|_| usage());
        }
        _ => usage(),
    }
}

fn usage() -> ! {
    eprintln!(
        "usage: shards [--prefixes N] [--senders N] [--receivers N] [--shards 1,2] [--rounds N] \
         [--ingest] [--parted]"
    );
    std::process::exit(2)
}

#[expect(
    clippy::disallowed_methods,
    reason = "this program is about the time it takes"
)]
fn round(options: &Options, shards: usize, apart: bool, streams: &[Vec<u8>]) -> Duration {
    let tables = if apart { shards } else { 1 };
    let ribs: Vec<_> = (0..tables)
        .map(|_| {
            Rib::new(RibOptions {
                shards: (shards / tables) as u8,
                selection: Selection::default(),
            })
        })
        .collect();
    let fed: Vec<AtomicUsize> = ribs.iter().map(|_| AtomicUsize::new(0)).collect();
    let mut rigs: Vec<Rig> = (0..shards)
        .map(|at| Rig::new(&ribs[at % tables], (at / tables) as u8))
        .collect();
    for sender in 0..options.senders {
        let export = if options.ingest {
            Export::None
        } else {
            Export::All
        };
        rigs[sender as usize % shards].connect(sender, export, Some(sender as usize));
    }
    let receivers = if options.ingest { 0 } else { options.receivers };
    for receiver in 0..receivers {
        let number = options.senders + receiver;
        rigs[receiver as usize % shards].connect(number, Export::All, None);
    }
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for (at, rig) in rigs.iter_mut().enumerate() {
            let fed = &fed[at % tables];
            scope.spawn(move || rig.run(streams, fed, shards / tables));
        }
    });
    let taken = begin.elapsed();
    let ids: usize = ribs
        .iter()
        .map(|rib| rib.id_limit(codec::Family::Ipv4Unicast) as usize)
        .sum();
    // Each shard claims ids many at a time, and may have some left.
    assert!((0..=64 * shards).contains(&(ids - options.prefixes as usize)));
    taken
}
