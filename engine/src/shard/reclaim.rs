//! An instance's part in giving the ids of prefixes that are gone to others.

use rib::ShardMask;

use super::instance::Instance;
use crate::group::Group;

impl Instance {
    /// One bounded piece of it, at the end of a turn. Returns the shards to wake, and whether there
    /// is more to do.
    pub(super) fn reclaim(&mut self) -> (ShardMask, bool) {
        // They name ids, perhaps of paths that have gone already. None that begins later can name
        // one that has no path now.
        if self.is_tearing_down() {
            return (0, false);
        }
        let groups = &self.groups;
        self.writer.reclaim(|family, id| {
            let mut groups = groups.iter().flatten();
            groups.any(|group: &Group| group.holds(family, id))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    use bytes::Bytes;
    use codec::{Family, IpPrefix, Ipv4Prefix, Message, PeerKind, WireFormat};
    use rib::{Rib, RibOptions, Selection, ShardId, SourceInfo, SourceKind};

    use super::*;
    use crate::config::{Export, OriginAttributes, OriginChange};
    use crate::group::{ExportView, MemberId, Outbox};
    use crate::policy::Sources;
    use crate::time::Time;

    const FAMILY: Family = Family::Ipv4Unicast;

    /// The table of a router that is told, and how much its socket has not taken.
    #[derive(Default)]
    struct Router {
        table: BTreeSet<IpPrefix>,
        backlog: usize,
    }

    impl Router {
        fn take(&mut self, message: &[u8]) {
            let Ok(Message::Update(body)) = codec::parse_message(message) else {
                panic!("not an UPDATE");
            };
            let update = codec::parse_update(body, &WireFormat::default()).unwrap();
            for (_, prefix) in update.withdrawn.iter() {
                assert!(self.table.remove(&prefix), "{prefix} was not announced");
            }
            self.table
                .extend(update.announced.iter().map(|(_, prefix)| prefix));
        }
    }

    impl Outbox for Router {
        fn send(&mut self, _: MemberId, messages: Bytes) {
            let mut rest = &messages[..];
            while let Some(length) = codec::frame(rest, codec::MAX_LEN).expect("whole messages") {
                self.take(&rest[..length]);
                rest = &rest[length..];
            }
        }

        fn backlog(&self, _: MemberId) -> usize {
            self.backlog
        }
    }

    fn view() -> ExportView {
        ExportView {
            export: Export::Originated,
            ..ExportView::plain(PeerKind::External, 65001, Ipv4Addr::new(10, 0, 0, 5))
        }
    }

    fn prefixes(block: u32) -> impl Iterator<Item = IpPrefix> {
        let prefix = move |n: u32| Ipv4Prefix::masked(Ipv4Addr::from(block << 24 | n << 8), 24);
        (0..1000).map(prefix).map(IpPrefix::V4)
    }

    fn originate(instance: &mut Instance, block: u32, announced: bool) {
        let attributes = Arc::new(OriginAttributes {
            communities: Vec::new(),
            large_communities: Vec::new(),
            local_preference: 100,
        });
        let change = |prefix| OriginChange {
            prefix,
            attributes: announced.then(|| Arc::clone(&attributes)),
            kinds: Sources::NETWORK_POLICY,
        };
        instance.originate(prefixes(block).map(change).collect(), None);
    }

    /// An instance with one member, that has been told everything.
    fn instance(router: &mut Router) -> Instance {
        let rib = Rib::with_collector(
            RibOptions {
                shards: 1,
                selection: Selection::default(),
            },
            rib::Collector::new(),
        );
        rib.reclaim_from(100);
        let mut instance = Instance::new(rib.writer(ShardId(0)), 0);
        let source = instance.writer.add_source(SourceInfo {
            kind: SourceKind::External,
            asn: 65002,
            router_id: Ipv4Addr::new(192, 0, 2, 2),
            address: Some(Ipv4Addr::new(10, 0, 0, 6).into()),
        });
        let place = instance.group_of(view());
        if let Some(group) = instance.group_mut(place) {
            group.join(MemberId(0), source, router);
        }
        instance
    }

    fn work(instance: &mut Instance, router: &mut Router) {
        while instance.work(Time::default(), router, false).1 {}
        // What was replaced is freed only when the next turns come.
        for _ in 0..8 {
            instance.work(Time::default(), router, false);
        }
    }

    #[test]
    fn a_table_that_comes_and_goes_needs_no_more_ids() {
        let mut router = Router::default();
        let mut instance = instance(&mut router);
        for block in 20..40 {
            originate(&mut instance, block, true);
            work(&mut instance, &mut router);
            assert!(router.table.iter().copied().eq(prefixes(block)));
            originate(&mut instance, block, false);
            work(&mut instance, &mut router);
            assert!(router.table.is_empty());
            let counts = instance.writer.rib().id_counts(FAMILY);
            assert_eq!((counts.limit, counts.idle), (1000, 0), "{counts:?}");
            assert!(counts.free > 900, "{counts:?}");
        }
    }

    #[test]
    fn a_prefix_that_a_slow_member_has_yet_to_hear_withdrawn_keeps_its_id() {
        let mut router = Router::default();
        let mut instance = instance(&mut router);
        originate(&mut instance, 20, true);
        work(&mut instance, &mut router);
        router.backlog = usize::MAX;
        originate(&mut instance, 21, true);
        work(&mut instance, &mut router);
        // It is too far behind to be told this.
        originate(&mut instance, 20, false);
        work(&mut instance, &mut router);
        originate(&mut instance, 22, true);
        work(&mut instance, &mut router);
        let held = instance.writer.rib().id_counts(FAMILY);
        assert_eq!((held.limit, held.idle, held.free), (3000, 1000, 0));
        router.backlog = 0;
        work(&mut instance, &mut router);
        let both = prefixes(21).chain(prefixes(22));
        assert!(router.table.iter().copied().eq(both));
        // As often as it looked in vain, so long it waits.
        for _ in 0..300 {
            work(&mut instance, &mut router);
        }
        originate(&mut instance, 23, true);
        work(&mut instance, &mut router);
        let freed = instance.writer.rib().id_counts(FAMILY);
        assert_eq!((freed.limit, freed.idle, freed.free), (3000, 0, 0));
        assert_eq!(router.table.len(), 3000);
    }
}
