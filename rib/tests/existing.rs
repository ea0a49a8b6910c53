//! The best path that stands, where it is to stay before others as good (RFC 5004): through all the ways
//! in which a slot changes, what is best follows from what was best before.
#![cfg(not(loom))]

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use codec::{Family, Ipv4Prefix, Prefix};
use proptest::prelude::*;
use rib::{
    Candidate, Path, PathFlags, Rib, RibOptions, RibWriter, Selection, ShardId, SourceId,
    SourceInfo, SourceKind, Summary, select_from,
};

const PREFER: Selection = Selection {
    always_compare_med: false,
    prefer_existing_external: true,
};

/// The first is inside the AS; the last two are sessions with one router.
fn info(number: u8) -> SourceInfo {
    SourceInfo {
        kind: match number {
            0 => SourceKind::Internal,
            _ => SourceKind::External,
        },
        asn: 65000 + u32::from(number),
        router_id: Ipv4Addr::new(1, 1, 1, number.min(3)),
        address: Some(Ipv4Addr::new(10, 0, 0, number).into()),
    }
}

/// Canonical attributes: MEDs and neighbor ASes.
fn attributes(variant: u8) -> Vec<u8> {
    let mut bytes = vec![0x40, 1, 1, 0];
    bytes.extend([0x40, 2, 6, 2, 1, 0, 0, 0, 1 + variant / 2]);
    bytes.extend([0x80, 4, 4, 0, 0, 0, variant % 2]);
    bytes
}

struct World {
    writer: RibWriter,
    sources: Vec<SourceId>,
    /// By source: attributes, and whether they were refused.
    paths: BTreeMap<u8, (u8, bool)>,
    best: Option<u8>,
}

impl World {
    fn new() -> World {
        let rib = Rib::new(RibOptions {
            shards: 1,
            selection: PREFER,
        });
        let mut writer = rib.writer(ShardId(0));
        let sources = (0..5).map(|n| writer.add_source(info(n))).collect();
        World {
            writer,
            sources,
            paths: BTreeMap::new(),
            best: None,
        }
    }

    fn apply(&mut self, source: u8, said: Option<(u8, bool)>) {
        let prefix = Ipv4Prefix::masked(Ipv4Addr::new(20, 0, 0, 0), 24);
        let id = self.sources[usize::from(source)];
        let changed = match said {
            Some((variant, refused)) => {
                let attributes = self.writer.intern(&attributes(variant)).unwrap();
                let path = Path {
                    attributes,
                    source: id,
                    path_id: 0,
                    flags: match refused {
                        true => PathFlags::REJECTED,
                        false => PathFlags::NONE,
                    },
                };
                let upserted = self.writer.upsert(prefix, path).unwrap();
                self.writer.release(attributes);
                self.paths.insert(source, (variant, refused));
                upserted.best_changed
            }
            None => {
                self.paths.remove(&source);
                let withdrawn = self.writer.withdraw(prefix, id, 0);
                withdrawn.is_some_and(|withdrawn| withdrawn.best_changed)
            }
        };
        let stood = self.best;
        self.best = self.expected();
        // The same path with other attributes is another best path.
        assert!(changed || self.best == stood);
        self.writer.audit();
        let rib = self.writer.rib();
        let guard = rib.guard();
        let id = rib.lookup(prefix.erase(), &guard);
        let best = id.and_then(|id| rib.best(Family::Ipv4Unicast, id, &guard));
        let expected = self.best.map(|best| self.sources[usize::from(best)]);
        assert_eq!(best.map(|best| best.source), expected, "{:?}", self.paths);
    }

    fn expected(&self) -> Option<u8> {
        let candidates: Vec<Candidate> = self
            .paths
            .iter()
            .map(|(source, (variant, refused))| {
                let info = info(*source);
                Candidate {
                    usable: !refused,
                    local: false,
                    external: info.kind == SourceKind::External,
                    router_id: info.router_id.into(),
                    address: info.address,
                    path_id: 0,
                    summary: Summary::of(&attributes(*variant)),
                }
            })
            .collect();
        let sources: Vec<u8> = self.paths.keys().copied().collect();
        let existing = sources.iter().position(|source| Some(*source) == self.best);
        Some(sources[select_from(PREFER, &candidates, existing)?])
    }
}

proptest! {
    #[test]
    fn what_is_best_follows_from_what_was(
        steps in prop::collection::vec(
            (0..5u8, prop::option::weighted(0.7, (0..4u8, prop::bool::weighted(0.1)))), 1..40,
        ),
    ) {
        let mut world = World::new();
        for (source, said) in steps {
            world.apply(source, said);
        }
    }
}

// RFC-SHOWN 5004 §3
#[test]
fn a_lower_identifier_that_comes_later_takes_nothing_over() {
    let mut world = World::new();
    world.apply(2, Some((0, false)));
    world.apply(1, Some((0, false)));
    assert_eq!(world.best, Some(2));
    // Said anew, and as good, it stays.
    world.apply(2, Some((2, false)));
    assert_eq!(world.best, Some(2));
    // Gone and back, it is the later one.
    world.apply(2, None);
    world.apply(2, Some((0, false)));
    assert_eq!(world.best, Some(1));
    // Of two sessions with one router the lower address is best, whichever stands.
    let mut world = World::new();
    world.apply(4, Some((0, false)));
    world.apply(3, Some((0, false)));
    assert_eq!(world.best, Some(3));
}
