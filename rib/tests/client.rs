//! A source that becomes a reflector's or a route server's client, or stops being one, while it has paths.
#![cfg(not(loom))]

use std::net::Ipv4Addr;

use codec::{AttributeWriter, Family, Ipv4Prefix};
use rib::{
    Path, PathFlags, PrefixId, Rib, RibOptions, RibWriter, Selection, ShardId, SourceId,
    SourceInfo, SourceKind,
};

fn info(kind: SourceKind) -> SourceInfo {
    SourceInfo {
        kind,
        asn: 65001,
        router_id: Ipv4Addr::new(10, 0, 0, 6),
        address: None,
    }
}

fn with_a_path(kind: SourceKind) -> (RibWriter, SourceId, PrefixId) {
    let rib = Rib::new(RibOptions {
        shards: 1,
        selection: Selection::default(),
    });
    let mut writer = rib.writer(ShardId(0));
    writer.subscribe(Family::Ipv4Unicast, true);
    let source = writer.add_source(info(kind));
    let mut canonical = Vec::new();
    AttributeWriter::new(&mut canonical).empty_as_path();
    let attributes = writer.intern(&canonical).unwrap();
    let prefix = Ipv4Prefix::masked(Ipv4Addr::new(20, 0, 0, 0), 24);
    let path = Path {
        attributes,
        source,
        path_id: 0,
        flags: PathFlags::NONE,
    };
    let id = writer.upsert(prefix, path).unwrap().id;
    writer.release(attributes);
    (writer, source, id)
}

fn dirty(writer: &mut RibWriter) -> Vec<(Family, PrefixId)> {
    writer.publish();
    let mut dirty = Vec::new();
    writer.take_dirty(usize::MAX, &mut dirty);
    dirty
}

#[test]
fn it_keeps_its_paths_and_they_are_marked_for_whoever_exports_them() {
    for (plain, client) in [
        (SourceKind::Internal, SourceKind::Client),
        (SourceKind::External, SourceKind::Served),
    ] {
        let (mut writer, source, id) = with_a_path(plain);
        dirty(&mut writer);
        writer.set_source(source, info(client));
        writer.mark(Family::Ipv4Unicast, id);
        assert_eq!(dirty(&mut writer), [(Family::Ipv4Unicast, id)]);
        let rib = writer.rib().clone();
        let guard = rib.guard();
        let best = rib.best(Family::Ipv4Unicast, id, &guard).unwrap();
        assert_eq!(rib.source(best.source, &guard).kind, client);
        rib.best_of_each(Family::Ipv4Unicast, &[id], &guard, |_, best| {
            assert_eq!(best.map(|best| best.kind), Some(client));
        });
        drop(guard);
        writer.audit();
    }
}

#[test]
#[should_panic(expected = "has paths")]
fn what_selection_reads_does_not_change_under_a_path() {
    let (mut writer, source, _) = with_a_path(SourceKind::Internal);
    writer.set_source(source, info(SourceKind::Served));
}
