//! Marks where only the best of the other sources' paths changed, for whoever wants them.
#![cfg(not(loom))]

use std::net::{IpAddr, Ipv4Addr};

use codec::{AttributeSet, AttributeWriter, Family, Ipv4Prefix};
use rib::{
    Path, PathFlags, PrefixId, Rib, RibOptions, RibWriter, Selection, ShardId, SourceId,
    SourceInfo, SourceKind,
};

const FAMILY: Family = Family::Ipv4Unicast;

struct Bed {
    writer: RibWriter,
    sources: Vec<SourceId>,
}

impl Bed {
    fn new() -> Bed {
        let rib = Rib::new(RibOptions {
            shards: 1,
            selection: Selection::default(),
        });
        let mut writer = rib.writer(ShardId(0));
        writer.subscribe(FAMILY, true);
        let sources = (0..4u32).map(|number| {
            writer.add_source(SourceInfo {
                kind: SourceKind::External,
                asn: 65000 + number,
                router_id: Ipv4Addr::from(number + 1),
                address: Some(IpAddr::V4(Ipv4Addr::from(0x0a00_0001 + number))),
            })
        });
        let sources = sources.collect();
        Bed { writer, sources }
    }

    /// A path of `length` AS numbers; of none: it is withdrawn.
    fn say(&mut self, source: usize, path_id: u32, length: usize, rejected: bool) {
        let source = self.sources[source];
        if length == 0 {
            self.writer.withdraw(prefix(), source, path_id);
            return;
        }
        let mut canonical = Vec::new();
        let asns = vec![65000; length];
        let none = AttributeSet::new(&[]).as_path();
        AttributeWriter::new(&mut canonical).as_path(&none, &asns, true);
        let attributes = self.writer.intern(&canonical).unwrap();
        let flags = match rejected {
            true => PathFlags::REJECTED,
            false => PathFlags::NONE,
        };
        let path = Path {
            attributes,
            source,
            path_id,
            flags,
        };
        self.writer.upsert(prefix(), path).unwrap();
        self.writer.release(attributes);
    }

    /// The best path, and the best of the others by choosing among them alone.
    fn places(&self) -> [Option<Path>; 2] {
        let rib = self.writer.rib();
        let guard = rib.guard();
        let paths = rib.paths(FAMILY, PrefixId(0), &guard);
        let best = paths.best();
        let other = best.and_then(|best| rib.best_but(&paths, best.source, &guard));
        [best, other]
    }

    fn is_dirty(&mut self) -> bool {
        self.writer.publish();
        let mut dirty = Vec::new();
        self.writer.take_dirty(usize::MAX, &mut dirty);
        !dirty.is_empty()
    }
}

fn prefix() -> Ipv4Prefix {
    Ipv4Prefix::masked(Ipv4Addr::new(20, 0, 0, 0), 24)
}

#[test]
fn a_change_of_the_next_best_is_marked_for_whoever_wants_it() {
    let mut bed = Bed::new();
    bed.say(0, 0, 1, false);
    assert!(bed.is_dirty());
    bed.say(1, 0, 2, false);
    assert!(!bed.is_dirty(), "nobody wants it");
    bed.writer.subscribe_runner_up(FAMILY, true);
    bed.say(2, 0, 3, false);
    assert!(!bed.is_dirty(), "third best");
    bed.say(0, 7, 2, false);
    assert!(!bed.is_dirty(), "another path of the best one's source");
    bed.say(1, 0, 0, false);
    assert!(bed.is_dirty());
    let [best, other] = bed.places().map(|path| path.map(|path| path.source));
    assert_eq!((best, other), (Some(bed.sources[0]), Some(bed.sources[2])));
    bed.say(2, 0, 3, true);
    assert!(bed.is_dirty(), "rejected now");
    assert_eq!(bed.places()[1], None);
    bed.writer.subscribe_runner_up(FAMILY, false);
    bed.say(2, 0, 2, false);
    assert!(!bed.is_dirty(), "nobody wants it any more");
}

#[test]
fn whatever_happens_the_mark_says_whether_one_of_the_two_changed() {
    let mut bed = Bed::new();
    bed.writer.subscribe_runner_up(FAMILY, true);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 33) % below
    };
    let told = |path: Option<Path>| path.map(|path| (path.source, path.path_id, path.attributes));
    for step in 0..20_000 {
        let before = bed.places().map(told);
        bed.say(
            next(4) as usize,
            next(2) as u32,
            next(4) as usize,
            next(6) == 0,
        );
        let after = bed.places().map(told);
        assert_eq!(bed.is_dirty(), before != after, "step {step}");
    }
    bed.writer.audit();
}

const PREFIXES: u32 = 64;

fn numbered(number: u32) -> Ipv4Prefix {
    Ipv4Prefix::masked(Ipv4Addr::from(0x1400_0000 + (number << 8)), 24)
}

/// Says and withdraws two sources' paths to random prefixes, a few between publications.
fn churn(writer: &mut RibWriter, seed: u64, steps: u32) {
    let sources = [1, 2].map(|number| {
        writer.add_source(SourceInfo {
            kind: SourceKind::External,
            asn: 65000,
            router_id: Ipv4Addr::from(seed as u32 * 2 + number),
            address: None,
        })
    });
    let attributes = [1, 2, 3].map(|length| {
        let mut canonical = Vec::new();
        let none = AttributeSet::new(&[]).as_path();
        AttributeWriter::new(&mut canonical).as_path(&none, &vec![65000; length], true);
        writer.intern(&canonical).unwrap()
    });
    let mut random = seed | 1 << 40;
    for step in 0..steps {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let draw = (random >> 33) as u32;
        let (prefix, source) = (numbered(draw % PREFIXES), sources[(draw >> 8) as usize % 2]);
        match (draw >> 12) as usize % 4 {
            3 => drop(writer.withdraw(prefix, source, 0)),
            length => {
                let path = Path {
                    attributes: attributes[length],
                    source,
                    path_id: 0,
                    flags: PathFlags::NONE,
                };
                writer.upsert(prefix, path).unwrap();
            }
        }
        if step % 8 == 0 {
            writer.publish();
            writer.flush();
        }
    }
    writer.publish();
}

/// A shard that begins to ask while others write ends up with what the table holds.
#[test]
fn whoever_begins_to_ask_amid_changes_misses_none() {
    let steps = if cfg!(debug_assertions) {
        20_000
    } else {
        100_000
    };
    let rib = Rib::new(RibOptions {
        shards: 3,
        selection: Selection::default(),
    });
    let mut reader = rib.writer(ShardId(2));
    let read = |id: PrefixId| {
        let guard = rib.guard();
        let paths = rib.paths(FAMILY, id, &guard);
        let best = paths.best();
        let other = best.and_then(|best| rib.best_but(&paths, best.source, &guard));
        [best, other]
    };
    // Each writer claims ids a word of marks at a time.
    let mut known = vec![[None; 2]; PREFIXES as usize + 2 * 64];
    std::thread::scope(|scope| {
        let writers = [0, 1].map(|shard| {
            let rib = &rib;
            scope.spawn(move || churn(&mut rib.writer(ShardId(shard)), u64::from(shard), steps))
        });
        // Somewhere in the midst of it, as often as not.
        while rib.id_limit(FAMILY) < 2 * 64 && !writers.iter().all(|w| w.is_finished()) {
            std::thread::yield_now();
        }
        reader.subscribe(FAMILY, true);
        reader.subscribe_runner_up(FAMILY, true);
        for id in 0..rib.id_limit(FAMILY) {
            known[id as usize] = read(PrefixId(id));
        }
        let mut dirty = Vec::new();
        loop {
            let done = writers.iter().all(|writer| writer.is_finished());
            reader.take_dirty(usize::MAX, &mut dirty);
            for (_, id) in dirty.drain(..) {
                known[id.0 as usize] = read(id);
            }
            if done && !reader.has_dirty() {
                break;
            }
        }
    });
    for id in 0..rib.id_limit(FAMILY) {
        assert_eq!(known[id as usize], read(PrefixId(id)), "{id}");
    }
}
