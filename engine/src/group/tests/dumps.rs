//! Members that are told everything: new ones, after a refresh, and when a group changes its view.

use super::*;

/// A member joins a large table; a change comes while it is told that. What the others and the new
/// one have heard of the change when about a quarter of the table is told.
fn heard_during_a_dump(fault: Option<Fault>) -> [bool; 2] {
    let mut bed = Bed::new();
    let (a, b) = (bed.join(0), bed.join(1));
    for number in 0..50_000 {
        bed.announce(a, prefix(number), 1);
    }
    bed.settle();
    bed.group.plant(fault);
    let late = bed.join(2);
    bed.turn(4096);
    bed.announce(a, prefix(60_000), 1);
    bed.withdraw(a, prefix(49_999));
    bed.turn(4096);
    let [new, gone] = [60_000, 49_999].map(|number| IpPrefix::V4(prefix(number)));
    let heard = |member| {
        let table: &Table = &bed.routers.tables[&member];
        table.contains_key(&new) && !table.contains_key(&gone)
    };
    let dumping = bed.routers.tables[&late].len() < 15_000;
    let heard = [dumping && heard(b), dumping && heard(late)];
    bed.settle();
    bed.check();
    heard
}

#[test]
fn a_dump_for_a_new_member_waits_for_live_changes() {
    assert_eq!(heard_during_a_dump(None), [true, true]);
    assert_eq!(heard_during_a_dump(Some(Fault::DumpsFirst)), [false, false]);
}

#[test]
fn each_member_gets_one_end_of_rib() {
    let mut bed = Bed::new();
    let a = bed.join(0);
    bed.settle();
    for number in 0..10_000 {
        bed.announce(a, prefix(number), 1);
    }
    bed.settle();
    let late = bed.join(1);
    bed.turn(100);
    // This one joins the walk that is under way.
    let later = bed.join(2);
    bed.settle();
    bed.check();
    for member in [a, late, later] {
        assert_eq!(bed.routers.end_of_rib[&member], 1, "{member:?}");
    }
}

#[test]
fn a_refresh_tells_everything_again_to_that_member_only() {
    let mut bed = Bed::new();
    let (a, b) = (bed.join(0), bed.join(1));
    for number in 0..100 {
        bed.announce(a, prefix(number), 1);
    }
    bed.settle();
    let c = bed.join(2);
    bed.settle();
    bed.routers.tables.insert(b, Table::new());
    let before = bed.routers.messages[&c];
    bed.group
        .refresh(b, Family::Ipv4Unicast, false, &mut bed.routers);
    bed.settle();
    bed.check();
    assert_eq!(bed.routers.messages[&c], before);
    assert!(bed.routers.refreshed.is_empty());
}

// RFC-SHOWN 7313 §4
#[test]
fn a_refresh_between_its_bounds_tells_all_that_stands_and_ends_once() {
    let mut bed = Bed::new();
    let (a, b) = (bed.join(0), bed.join(1));
    for number in 0..100 {
        bed.announce(a, prefix(number), 1);
    }
    bed.settle();
    // What nobody announces any more, and the member never heard of the end of.
    bed.routers
        .tables
        .get_mut(&b)
        .unwrap()
        .insert(IpPrefix::V4(prefix(200)), String::new());
    bed.group
        .refresh(b, Family::Ipv4Unicast, true, &mut bed.routers);
    // Asked for again while it is told: one walk more, one end.
    bed.group
        .refresh(b, Family::Ipv4Unicast, true, &mut bed.routers);
    bed.announce(a, prefix(3), 2);
    bed.withdraw(a, prefix(4));
    bed.settle();
    bed.check();
    assert_eq!(bed.routers.refreshed[&b], 1);
    assert!(!bed.routers.refreshed.contains_key(&a));
}

// RFC-SHOWN 4724 §2
// RFC-SHOWN 7313 §4
#[test]
fn no_refresh_begins_before_end_of_rib() {
    let mut bed = Bed::new();
    let a = bed.join(0);
    for number in 0..100 {
        bed.announce(a, prefix(number), 1);
    }
    bed.settle();
    let b = bed.join(1);
    bed.group
        .refresh(b, Family::Ipv4Unicast, true, &mut bed.routers);
    bed.settle();
    bed.check();
    assert!(!bed.routers.refreshed.contains_key(&b));
    assert_eq!(bed.routers.end_of_rib[&b], 1);
}

#[test]
fn a_group_that_changes_its_view_tells_what_differs_and_nothing_else() {
    let mut bed = Bed::new();
    let (a, b) = (bed.join(0), bed.join(1));
    for number in 0..10_000 {
        bed.announce(a, prefix(number), 1);
    }
    bed.settle();
    let before = bed.routers.messages[&b];
    bed.change_view(65001);
    bed.settle();
    assert_eq!(bed.routers.messages[&b], before, "nothing differs");
    bed.change_view(65009);
    bed.settle();
    bed.check();
    let messages = bed.routers.messages[&b] - before;
    assert!((9..20).contains(&messages), "{messages} messages");
    assert_eq!(bed.routers.end_of_rib[&b], 1);
}

#[test]
fn members_that_come_over_forget_what_is_not_announced_here() {
    let mut bed = Bed::new();
    let a = bed.join(0);
    for number in 0..100 {
        bed.announce(a, prefix(number), 1);
    }
    bed.settle();
    for number in 100..200 {
        bed.announce(a, prefix(number), 1);
        bed.withdraw(a, prefix(number));
    }
    bed.settle();
    // Two members of another group, which told them of those that are gone here, too.
    let told: Vec<Ipv4Prefix> = (0..200).map(prefix).collect();
    let mut sets = Sets::default();
    let guard = Rib::pin();
    let ids = told
        .iter()
        .map(|p| bed.rib.lookup(IpPrefix::V4(*p), &guard));
    sets[0].extend(ids.flatten());
    drop(guard);
    let before = Before {
        ids: sets,
        ..Before::default()
    };
    let mut joining = Vec::new();
    for number in 1..3 {
        let member = MemberId(number);
        let source = bed.source(number);
        bed.sources.insert(member, source);
        let table = told.iter().map(|p| (IpPrefix::V4(*p), "old".to_owned()));
        bed.routers.tables.insert(member, table.collect());
        joining.push((member, source));
    }
    bed.group.move_in(&joining, &before, &mut bed.routers);
    bed.settle();
    bed.check();
}

/// What a new group would tell them alike they are not told again.
#[test]
fn who_comes_from_another_group_hears_only_what_differs() {
    for at_a_time in [1, 2, 9] {
        let mut bed = Bed::new();
        let (a, b, c) = (bed.join(0), bed.join(1), bed.join(2));
        for number in 0..200 {
            bed.announce(a, prefix(number), 1);
        }
        bed.announce(b, prefix(3), 2);
        bed.settle();
        let before = bed.routers.messages.clone();
        bed.move_over(view(), at_a_time);
        bed.settle();
        bed.check();
        assert_eq!(bed.routers.messages, before, "nothing at all");

        // Changes before the walk came there, one of them back to what was told, and one that shows
        // the path of another member.
        bed.move_over(view(), at_a_time);
        bed.announce(a, prefix(1), 2);
        bed.announce(a, prefix(2), 2);
        bed.look();
        bed.announce(a, prefix(2), 1);
        bed.withdraw(a, prefix(3));
        bed.settle();
        bed.check();
        let told = |member| bed.routers.messages[&member] - before[&member];
        // Whose path is another one now hears once more that it is not told its own.
        assert_eq!((told(a), told(c)), (2, 2));
        // Other forms are all told.
        let other = ExportView {
            local_asn: 65009,
            ..view()
        };
        bed.move_over(other, at_a_time);
        bed.settle();
        bed.check();
        bed.close();
    }
}

#[test]
fn a_member_that_comes_while_one_family_is_refreshed_is_told_both() {
    let mut bed = Bed::of(ExportView {
        families: FamilySet::ALL,
        own_next_hop: Family::ALL.map(|family| match family {
            Family::Ipv4Unicast => Some(codec::NextHop::V4(Ipv4Addr::new(10, 0, 0, 5))),
            Family::Ipv6Unicast => Some(codec::NextHop::V6("2001:db8::5".parse().unwrap())),
        }),
        ..view()
    });
    bed.writer.subscribe(Family::Ipv6Unicast, true);
    let (a, b) = (bed.join(0), bed.join(1));
    bed.announce(a, prefix(1), 1);
    let ipv6 = codec::Ipv6Prefix::masked("2001:db8:1::".parse().unwrap(), 48);
    bed.upsert(a, ipv6, 1);
    bed.settle();
    // Its socket takes nothing for now, so the refresh does not get on.
    bed.routers.backlog.insert(b, BACKLOG_MAX / 2);
    bed.group
        .refresh(b, Family::Ipv6Unicast, true, &mut bed.routers);
    bed.turn(4096);
    let late = bed.join(2);
    bed.routers.backlog.clear();
    bed.settle();
    assert_eq!(bed.routers.tables[&b].len(), 2);
    assert_eq!(bed.routers.tables[&late], bed.routers.tables[&b]);
}

#[test]
fn who_comes_late_to_a_walk_is_owed_what_changed_when_it_ends() {
    let mut bed = Bed::new();
    let a = bed.join(0);
    for number in 0..10_000 {
        bed.announce(a, prefix(number), 1);
    }
    bed.settle();
    bed.join(1);
    bed.turn(usize::MAX);
    bed.join(2);
    // More than the rest of the walk leaves room for.
    for number in 10_000..40_000 {
        bed.announce(a, prefix(number), 1);
    }
    bed.settle();
    bed.check();
}
