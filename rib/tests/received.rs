//! Attribute sets that policy made of others: they keep those, and are told apart by them.

use std::net::Ipv4Addr;

use codec::{AttributeWriter, Ipv4Prefix};
use rib::{
    Path, PathFlags, Rib, RibOptions, RibWriter, Selection, ShardId, SourceInfo, SourceKind,
};

fn writer() -> RibWriter {
    let rib = Rib::new(RibOptions {
        shards: 1,
        selection: Selection::default(),
    });
    rib.writer(ShardId(0))
}

fn set(med: u32) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = AttributeWriter::new(&mut out);
    writer.empty_as_path();
    writer.med(med);
    out
}

#[test]
fn what_was_received_stays_as_long_as_what_was_made_of_it() {
    let mut writer = writer();
    let source = writer.add_source(SourceInfo {
        kind: SourceKind::External,
        asn: 65002,
        router_id: Ipv4Addr::new(10, 0, 0, 6),
        address: None,
    });
    let received = writer.intern(&set(1)).unwrap();
    let made = writer.intern_made_of(&set(2), received).unwrap();
    let prefix = Ipv4Prefix::masked(Ipv4Addr::new(20, 0, 0, 0), 24);
    let path = Path {
        attributes: made,
        source,
        path_id: 0,
        flags: PathFlags::NONE,
    };
    writer.upsert(prefix, path).unwrap();
    writer.release(received);
    writer.release(made);
    assert_eq!(writer.attribute_sets(), 2);
    assert_eq!(writer.received(made), received);
    assert_eq!(writer.received(received), received);
    let rib = writer.rib().clone();
    assert_eq!(rib.attributes(received, &rib.guard()).bytes, set(1));
    writer.audit();
    writer.withdraw(prefix, source, 0);
    assert_eq!(writer.attribute_sets(), 0);
    writer.audit();
}

#[test]
fn equal_sets_of_different_origin_are_different() {
    let mut writer = writer();
    let received = [1, 2].map(|med| writer.intern(&set(med)).unwrap());
    let plain = writer.intern(&set(9)).unwrap();
    let made = received.map(|of| writer.intern_made_of(&set(9), of).unwrap());
    assert_ne!(made[0], made[1]);
    assert!(!made.contains(&plain));
    assert_eq!(writer.intern_made_of(&set(9), received[0]), Ok(made[0]));
    assert_eq!(writer.intern(&set(9)), Ok(plain));
    for id in [made[0], made[0], made[1], plain, plain] {
        writer.release(id);
    }
    for id in received {
        writer.release(id);
    }
    assert_eq!(writer.attribute_sets(), 0);
    writer.audit();
}
