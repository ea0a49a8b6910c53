//! A table, and the one peer of each of its shards.

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::sync::Arc;

use codec::{Family, Prefix};
use rib::{
    AttributeId, Path, PathFlags, Rib, RibOptions, RibWriter, Selection, ShardId, SourceId,
    SourceInfo, SourceKind,
};

use crate::input::canonical;

/// The family that the speakers announce and subscribe to.
pub const FAMILY: Family = Family::Ipv4Unicast;
const ATTRIBUTE_SETS: u32 = 100_000;

/// One shard with one peer.
pub struct Speaker {
    /// The shard's side of the table.
    pub writer: RibWriter,
    /// The peer.
    pub source: SourceId,
    attributes: Vec<AttributeId>,
}

impl Speaker {
    /// A peer of that shard.
    pub fn new(rib: &Arc<Rib>, shard: u8) -> Speaker {
        let mut writer = rib.writer(ShardId(shard));
        writer.subscribe(FAMILY, true);
        let source = writer.add_source(SourceInfo {
            kind: SourceKind::External,
            asn: 65002,
            router_id: Ipv4Addr::new(192, 0, 2, 1 + shard),
            address: Some(Ipv4Addr::new(192, 0, 2, 1 + shard).into()),
        });
        let mut intern = |n| writer.intern(&canonical(n)).expect("room for a few");
        let attributes = (0..ATTRIBUTE_SETS).map(&mut intern).collect();
        Speaker {
            writer,
            source,
            attributes,
        }
    }

    /// As a shard does: a guard for what was read at once, then publish, take, flush.
    pub fn announce<P: Prefix>(&mut self, prefixes: &[P], salt: usize) {
        self.announce_in_calls_of(512, prefixes, salt);
    }

    /// The same with so many prefixes a call.
    pub fn announce_in_calls_of<P: Prefix>(&mut self, call: usize, prefixes: &[P], salt: usize) {
        let mut taken = Vec::new();
        for (turn, part) in prefixes.chunks(512).enumerate() {
            let guard = Rib::pin();
            for part in part.chunks(call) {
                let attributes = &self.attributes;
                let path = |(at, prefix): (usize, &P)| {
                    let set = (turn * 97 + at / 8 + salt) % attributes.len();
                    let path = Path {
                        attributes: attributes[set],
                        source: self.source,
                        path_id: 0,
                        flags: PathFlags::NONE,
                    };
                    (prefix.erase(), path)
                };
                let paths = part.iter().enumerate().map(path);
                self.writer.upsert_all(paths, |_, upserted| {
                    black_box(upserted.expect("room for the table"));
                });
            }
            drop(guard);
            self.writer.publish();
            taken.clear();
            self.writer.take_dirty(usize::MAX, &mut taken);
            self.writer.flush();
        }
    }
}

/// A table without prefixes, and a speaker of each shard.
pub fn table(shards: u8) -> (Arc<Rib>, Vec<Speaker>) {
    let rib = Rib::new(RibOptions {
        shards,
        selection: Selection::default(),
    });
    let speakers = (0..shards).map(|shard| Speaker::new(&rib, shard)).collect();
    (rib, speakers)
}
