//! An update group over a table, and members that take everything at once.

use std::net::Ipv4Addr;
use std::sync::Arc;

use bytes::Bytes;
use codec::{AttributeSet, AttributeWriter, Family, Ipv4Prefix, Origin, PeerKind};
use engine::group::{ExportView, Group, MemberId, Outbox};
use rib::{
    Path, PathFlags, PrefixId, Rib, RibOptions, RibWriter, Selection, ShardId, SourceId,
    SourceInfo, SourceKind,
};

/// How many prefixes a [`table`] has.
pub const PREFIXES: u32 = 100_000;

/// Counts what it is given, as sockets that take everything at once.
#[derive(Default)]
pub struct Counter {
    /// All that was sent, over all members.
    pub octets: usize,
    /// In how many pieces.
    pub runs: usize,
}

impl Outbox for Counter {
    fn send(&mut self, _member: MemberId, messages: Bytes) {
        self.octets += messages.len();
        self.runs += 1;
    }

    fn backlog(&self, _member: MemberId) -> usize {
        0
    }
}

/// What external peers with four-octet AS numbers are told: everything.
pub fn view() -> ExportView {
    ExportView::plain(PeerKind::External, 65001, Ipv4Addr::new(10, 0, 0, 5))
}

/// An external peer, one for each number.
pub fn source(writer: &mut RibWriter, number: u32) -> SourceId {
    writer.add_source(SourceInfo {
        kind: SourceKind::External,
        asn: 65100 + number,
        router_id: Ipv4Addr::from(number + 1),
        address: Some(Ipv4Addr::from(0x0a01_0000 + number).into()),
    })
}

/// A table of [`PREFIXES`] in which `sharing` neighboring prefixes have one attribute set.
pub fn table(sharing: u32) -> (Arc<Rib>, RibWriter, Vec<PrefixId>) {
    let rib = Rib::new(RibOptions {
        shards: 1,
        selection: Selection::default(),
    });
    let mut writer = rib.writer(ShardId(0));
    let sender = source(&mut writer, 0);
    let mut ids = Vec::new();
    for number in 0..PREFIXES {
        let mut canonical = Vec::new();
        let mut attributes = AttributeWriter::new(&mut canonical);
        attributes.origin(Origin::Igp);
        let asns = [65100, 64512 + number / sharing % 500, number / sharing];
        attributes.as_path(&AttributeSet::new(&[]).as_path(), &asns, true);
        attributes.next_hop(Ipv4Addr::new(10, 1, 0, 1));
        let attributes = writer.intern(&canonical).expect("room for attributes");
        let path = Path {
            attributes,
            source: sender,
            path_id: 0,
            flags: PathFlags::NONE,
        };
        let prefix = Ipv4Prefix::masked(Ipv4Addr::from(0x1400_0000 + (number << 8)), 24);
        ids.push(writer.upsert(prefix, path).expect("room for prefixes").id);
        writer.release(attributes);
    }
    writer.publish();
    (rib, writer, ids)
}

/// A new group with members, told the whole table in quanta as a shard does.
pub fn tell(writer: &mut RibWriter, ids: &[PrefixId], members: &[SourceId]) -> Counter {
    let mut counter = Counter::default();
    let mut group = Group::new(view(), writer.rib(), 1);
    for (number, source) in (0u32..).zip(members) {
        group.join(MemberId(number), *source, &mut counter);
    }
    let guard = Rib::pin();
    for quantum in ids.chunks(4096) {
        group.apply(writer, &guard, Family::Ipv4Unicast, quantum);
        group.deliver_in_sync(&mut counter);
    }
    group.flush_live(&mut counter);
    for attributes in group.into_counts() {
        writer.release(attributes);
    }
    counter
}
