//! Marks where only other paths than the best changed, for whoever wants them; their order; and how
//! many of one source there may be.
#![cfg(not(loom))]

use std::net::Ipv4Addr;

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
                address: Some(Ipv4Addr::from(0x0a00_0001 + number).into()),
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

    /// The usable paths in order of preference.
    fn ranked(&self) -> Vec<Path> {
        let rib = self.writer.rib();
        let guard = rib.guard();
        let paths = rib.paths(FAMILY, PrefixId(0), &guard);
        rib.ranked(paths, &guard).collect()
    }

    /// Whose they are.
    fn order(&self) -> Vec<(usize, u32)> {
        let number = |path: &Path| self.sources.iter().position(|s| *s == path.source);
        let ranked = self.ranked();
        let order = ranked.iter().map(|path| (number(path), path.path_id));
        order.map(|(number, id)| (number.unwrap(), id)).collect()
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
fn a_change_of_any_path_is_marked_for_whoever_wants_it() {
    let mut bed = Bed::new();
    bed.say(0, 0, 1, false);
    assert!(bed.is_dirty());
    bed.say(1, 0, 2, false);
    assert!(!bed.is_dirty(), "nobody wants it");
    bed.writer.subscribe_others(FAMILY, true);
    bed.say(2, 0, 3, false);
    assert!(bed.is_dirty(), "third best");
    bed.say(0, 7, 2, false);
    assert!(bed.is_dirty(), "another path of the best one's source");
    assert_eq!(bed.order(), [(0, 0), (0, 7), (1, 0), (2, 0)]);
    bed.say(0, 7, 2, false);
    assert!(!bed.is_dirty(), "nothing new");
    bed.say(3, 0, 1, true);
    assert!(!bed.is_dirty(), "of no use");
    bed.say(1, 0, 0, false);
    assert!(bed.is_dirty());
    bed.say(2, 0, 3, true);
    assert!(bed.is_dirty(), "rejected now");
    assert_eq!(bed.order(), [(0, 0), (0, 7)]);
    bed.writer.subscribe_others(FAMILY, false);
    bed.say(2, 0, 2, false);
    assert!(!bed.is_dirty(), "nobody wants it any more");
}

#[test]
fn whatever_happens_the_mark_says_whether_a_usable_path_changed() {
    let mut bed = Bed::new();
    bed.writer.subscribe_others(FAMILY, true);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 33) % below
    };
    for step in 0..20_000 {
        let before = bed.ranked();
        bed.say(
            next(4) as usize,
            next(2) as u32,
            next(4) as usize,
            next(6) == 0,
        );
        let after = bed.ranked();
        assert_eq!(bed.is_dirty(), before != after, "step {step}");
    }
    bed.writer.audit();
}

#[test]
fn of_one_source_a_prefix_takes_a_bounded_number_of_paths() {
    let mut bed = Bed::new();
    let most = rib::PATHS_OF_SOURCE_MAX as u32;
    for path_id in 0..most {
        bed.say(0, path_id, 1, false);
    }
    let path = |bed: &Bed, source: usize, path_id| Path {
        source: bed.sources[source],
        path_id,
        ..bed.ranked()[0]
    };
    let surplus = path(&bed, 0, most);
    assert_eq!(bed.writer.upsert(prefix(), surplus), Err(rib::Full::Paths));
    let known = Path {
        flags: PathFlags::STALE,
        ..path(&bed, 0, 7)
    };
    assert!(bed.writer.upsert(prefix(), known).is_ok(), "it is there");
    let other = path(&bed, 1, most);
    assert!(bed.writer.upsert(prefix(), other).is_ok(), "another source");
    assert!(bed.writer.withdraw(prefix(), bed.sources[0], 7).is_some());
    assert!(
        bed.writer.upsert(prefix(), surplus).is_ok(),
        "there is room"
    );
    assert_eq!(bed.ranked().len(), most as usize + 1);
    bed.writer.audit();
}

#[test]
fn a_stale_path_makes_room_for_one_of_its_source_that_is_new() {
    let mut bed = Bed::new();
    let most = rib::PATHS_OF_SOURCE_MAX as u32;
    for path_id in 0..most {
        bed.say(0, path_id, 1 + path_id as usize % 2, false);
    }
    bed.say(1, 0, 1, false);
    let sources = bed.sources.clone();
    // The best path and one behind it; of another source it is no matter.
    for (source, number) in [(0, 0), (1, 0)] {
        let ids = [PrefixId(0)];
        bed.writer
            .flag_ids(FAMILY, &ids, sources[source], PathFlags::STALE);
        assert_eq!(bed.order()[0], (0, number));
    }
    let template = bed.ranked()[0];
    let mut put = |path_id| {
        let flags = PathFlags::NONE;
        let path = Path {
            path_id,
            flags,
            ..template
        };
        bed.writer.upsert(prefix(), path)
    };
    for path_id in most..2 * most {
        assert!(put(path_id).unwrap().new_path, "{path_id}");
    }
    assert_eq!(put(0), Err(rib::Full::Paths), "none is stale any more");
    assert!(!put(most).unwrap().new_path);
    let ids = bed.order().into_iter().filter(|(source, _)| *source == 0);
    assert_eq!(ids.clone().count(), most as usize);
    assert!(ids.into_iter().all(|(_, path_id)| path_id >= most));
    assert!(bed.order().contains(&(1, 0)), "the other source's stays");
    bed.writer.audit();
}

#[test]
fn what_of_a_source_may_be_used_is_told_with_each_change() {
    let mut bed = Bed::new();
    bed.say(0, 1, 1, false);
    let template = bed.ranked()[0];
    let mut put = |path_id, flags| {
        let path = Path {
            path_id,
            flags,
            ..template
        };
        bed.writer.upsert(prefix(), path).unwrap().usable_of_source
    };
    assert!(put(2, PathFlags::REJECTED), "the first path may");
    assert!(!put(1, PathFlags::REJECTED));
    assert!(put(2, PathFlags::NONE));
    let gone = bed.writer.withdraw(prefix(), template.source, 2).unwrap();
    assert!(!gone.usable_of_source && !gone.last_of_source);
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
        rib.ranked(paths, &guard).collect::<Vec<Path>>()
    };
    // Each writer claims ids a word of marks at a time.
    let mut known = vec![Vec::new(); PREFIXES as usize + 2 * 64];
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
        reader.subscribe_others(FAMILY, true);
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
