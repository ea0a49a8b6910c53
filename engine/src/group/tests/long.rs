//! Attribute sets that do not fit in 4,096 octets: who is told, and who hears a withdrawal.

use super::*;

impl Bed {
    /// A path with so many communities that 4,096 octets do not hold it.
    fn announce_long(&mut self, member: MemberId, prefix: Ipv4Prefix) {
        let asn = self.asn(member);
        let communities: Vec<[u32; 3]> = (0..400).map(|n| [asn, 0, n]).collect();
        self.upsert_with(member, prefix, 1, &communities);
    }

    fn holds(&self, member: MemberId, prefix: Ipv4Prefix) -> bool {
        self.routers.tables[&member].contains_key(&IpPrefix::V4(prefix))
    }

    fn counted(&self, member: MemberId) -> u64 {
        let long = self.routers.long.contains(&member);
        let source = self.sources[&member];
        self.group.announced_to(source, Family::Ipv4Unicast, long)
    }
}

#[test]
fn one_group_tells_each_member_what_it_can_take() {
    let mut bed = Bed::new();
    let [says, able, unable] = [1, 2, 3].map(|number| bed.join(number));
    bed.routers.long = vec![able];
    bed.announce(says, prefix(1), 1);
    bed.settle();
    assert!(bed.holds(able, prefix(1)) && bed.holds(unable, prefix(1)));

    bed.announce_long(says, prefix(1));
    bed.announce_long(says, prefix(2));
    bed.settle();
    for number in [1, 2] {
        assert!(bed.holds(able, prefix(number)));
        assert!(!bed.holds(unable, prefix(number)));
    }
    assert_eq!((bed.counted(able), bed.counted(unable)), (2, 0));
    assert!(
        bed.routers
            .oversized
            .iter()
            .all(|(member, _)| *member == unable)
    );
    assert!(!bed.routers.oversized.is_empty());

    // Who comes later hears the same, from the walk.
    let late = bed.join(4);
    bed.routers.long.push(late);
    let late_and_unable = bed.join(5);
    bed.settle();
    assert!(bed.holds(late, prefix(2)) && !bed.holds(late_and_unable, prefix(2)));

    bed.announce(says, prefix(1), 1);
    bed.settle();
    assert!(bed.holds(unable, prefix(1)) && bed.holds(late_and_unable, prefix(1)));
    assert_eq!((bed.counted(able), bed.counted(unable)), (2, 1));
}
