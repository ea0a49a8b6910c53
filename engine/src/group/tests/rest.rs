//! A large group rests after it told all its members something small.

use std::time::Duration;

use super::*;
use crate::time::Time;

/// So many that telling them takes longer than timers are fine.
const MEMBERS: u32 = 600;
const REST: Duration = Duration::from_micros(4 * MEMBERS as u64);

impl Bed {
    /// A turn, as a shard has it. True: it has more to do at once.
    fn turn_at(&mut self, now: Time) -> bool {
        self.group.begin_turn(now);
        self.look();
        match self.group.is_resting() {
            true => self.group.deliver_in_sync(&mut self.routers),
            false => self.group.flush_live(&mut self.routers),
        }
        let guard = Rib::pin();
        let more = self.group.work(&mut self.writer, &guard, &mut self.routers);
        self.group.audit();
        more
    }

    fn told(&self, number: u32) -> usize {
        let prefix = IpPrefix::V4(prefix(number));
        let tables = self.routers.tables.values();
        tables.filter(|table| table.contains_key(&prefix)).count()
    }
}

#[test]
fn what_changes_while_a_large_group_rests_leaves_together() {
    let mut bed = Bed::new();
    let members: Vec<MemberId> = (0..MEMBERS).map(|number| bed.join(number)).collect();
    let everybody_else = members.len() - 1;
    let start = Time::default() + Duration::from_secs(1);
    bed.turn_at(start);
    assert_eq!(bed.group.next_timeout(), None, "nothing was said");

    bed.announce(members[0], prefix(1), 1);
    bed.turn_at(start);
    assert_eq!(
        bed.told(1),
        everybody_else,
        "the first change leaves at once"
    );
    assert_eq!(bed.group.next_timeout(), None, "nothing waits");

    // Two more, and somebody new: it hears its table at once, and the rest with the others.
    let soon = start + Duration::from_micros(10);
    bed.announce(members[0], prefix(2), 1);
    assert!(!bed.turn_at(soon));
    let late = bed.join(MEMBERS);
    bed.announce(members[0], prefix(3), 1);
    while bed.turn_at(soon) {}
    assert_eq!((bed.told(2), bed.told(3)), (1, 1), "the new member's table");
    assert!(!bed.routers.end_of_rib.contains_key(&late));
    assert_eq!(bed.group.next_timeout(), Some(start + REST));
    let messages = bed.routers.messages[&members[1]];

    assert!(!bed.turn_at(start + REST));
    assert_eq!(
        (bed.told(2), bed.told(3)),
        (everybody_else + 1, everybody_else + 1)
    );
    assert_eq!(bed.routers.messages[&members[1]], messages + 1);
    assert_eq!(bed.routers.end_of_rib[&late], 1);
    let rested = start + REST + Duration::from_millis(2);
    assert!(!bed.turn_at(rested));
    assert!(bed.group.is_quiet());
    assert_eq!(bed.group.next_timeout(), None);
}

#[test]
fn a_slow_member_that_is_told_by_itself_makes_nobody_wait() {
    let mut bed = Bed::new();
    let members: Vec<MemberId> = (0..MEMBERS).map(|number| bed.join(number)).collect();
    let slow = members[7];
    let start = Time::default() + Duration::from_secs(1);
    bed.turn_at(start);
    bed.routers
        .backlog
        .insert(slow, super::super::BACKLOG_MAX + 1);
    bed.announce(members[0], prefix(1), 1);
    bed.turn_at(start);
    // It waits apart, and misses this.
    let later = start + REST;
    bed.announce(members[0], prefix(2), 1);
    bed.turn_at(later);
    assert_eq!(bed.told(2), members.len() - 2);

    let rested = later + REST;
    bed.routers.backlog.remove(&slow);
    bed.turn_at(rested);
    assert_eq!(bed.told(2), members.len() - 1, "the slow one too");
    bed.announce(members[0], prefix(3), 1);
    bed.turn_at(rested + Duration::from_micros(10));
    assert_eq!(bed.told(3), members.len() - 1, "at once");
}
