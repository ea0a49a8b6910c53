//! Tables that change under routes, seen from peers.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use codec::{IpPrefix, Ipv4Prefix, Prefix};

use super::{QUANTUM, WALKS_MAX};
use crate::config::{Export, Import, Rpki, RtrCache};
use crate::model::RoutesKind;
use crate::policy::{Action, Policy, Validation};
use crate::rpki::{Publication, VrpTable};
use crate::shard::ShardCommand;
use crate::shard::bed::{Bed, ip, policy, statement};
use crate::shard::rig::INSTANCE;

/// What is not valid is refused, what is not known is let through.
fn strict() -> Arc<Policy> {
    policy(vec![
        statement("invalid", Action::Reject, |s| {
            s.matches.validation = vec![Validation::Invalid];
        }),
        statement("rest", Action::Accept, |_| {}),
    ])
}

fn table(vrps: &[(&str, u8, u32)]) -> Arc<VrpTable> {
    let vrps: Vec<(IpPrefix, u8, u32)> = vrps
        .iter()
        .map(|(prefix, max_length, asn)| (ip(prefix), *max_length, *asn))
        .collect();
    Arc::new(VrpTable::of(&vrps))
}

/// A bed whose table may be replaced.
struct Validated {
    bed: Bed,
    table: Option<Arc<VrpTable>>,
}

impl Validated {
    fn new(bed: Bed) -> Validated {
        Validated { bed, table: None }
    }

    fn publication(&mut self, table: Option<Arc<VrpTable>>) -> Publication {
        let nothing = VrpTable::default();
        let old = self.table.as_deref().unwrap_or(&nothing);
        let changed = Arc::new(old.changed(table.as_deref().unwrap_or(&nothing)));
        self.table.clone_from(&table);
        Publication { table, changed }
    }

    fn publish(&mut self, vrps: &[(&str, u8, u32)]) {
        let publication = self.publication(Some(table(vrps)));
        self.bed
            .rig
            .command(ShardCommand::Vrps(INSTANCE, publication));
        self.bed.read();
    }

    fn judged(&self) -> u64 {
        self.bed.rig.shard.instances[&INSTANCE].vrps.judged
    }

    fn validations(&mut self, kind: RoutesKind) -> Vec<(String, Option<String>)> {
        let routes = self.bed.routes(kind);
        let shown = routes
            .into_iter()
            .map(|route| (route.prefix, route.validation));
        shown.collect()
    }
}

fn announced(bed: &mut Bed, prefixes: &[&str]) {
    for prefix in prefixes {
        bed.announce(prefix, |_| {});
    }
}

// RFC-SHOWN 6811 §4
#[test]
fn a_new_table_decides_over_what_was_said_before() {
    let bed = Bed::new(|[one, _]| one.import = Import::Policy(strict()));
    let mut on = Validated::new(bed);
    announced(&mut on.bed, &["20.0.1.0/24", "20.0.2.0/24", "30.0.0.0/16"]);
    assert_eq!(on.bed.table.len(), 3);
    // Both would be invalid; what is not covered is nobody's business.
    on.publish(&[("20.0.0.0/16", 24, 65009)]);
    assert_eq!(on.bed.table.len(), 1);
    assert_eq!((on.bed.messages, on.judged()), (2, 2));
    let by: Vec<_> = on
        .bed
        .received()
        .into_iter()
        .map(|r| r.rejected_by)
        .collect();
    let invalid = Some("RoutePolicy p, statement invalid".to_owned());
    assert_eq!(by, [invalid.clone(), invalid, None]);
    // One turns valid, the other stays as it is: it is not looked at again.
    on.publish(&[("20.0.0.0/16", 24, 65009), ("20.0.1.0/24", 24, 65002)]);
    assert!(on.bed.told("20.0.1.0/24").is_some());
    assert_eq!((on.bed.messages, on.judged()), (1, 3));
    // What comes now is judged by the table as it is.
    announced(&mut on.bed, &["20.0.3.0/24", "40.0.0.0/16"]);
    assert!(on.bed.told("20.0.3.0/24").is_none());
    assert!(on.bed.told("40.0.0.0/16").is_some());
    // Data that is gone refuses nothing.
    on.publish(&[]);
    assert_eq!(on.bed.table.len(), 5);
    assert_eq!(on.judged(), 6, "the valid one too, which is not found now");
}

#[test]
fn states_are_shown_and_none_without_caches() {
    let mut on = Validated::new(Bed::new(|_| {}));
    announced(&mut on.bed, &["20.0.1.0/24", "20.0.2.0/24", "30.0.0.0/16"]);
    let none = on.validations(RoutesKind::Received);
    assert!(none.iter().all(|(_, validation)| validation.is_none()));
    on.publish(&[("20.0.1.0/24", 24, 65002), ("20.0.2.0/24", 24, 65009)]);
    // No policy asks: nothing is judged, nobody is told anything, and all is used.
    assert_eq!((on.bed.messages, on.judged()), (0, 0));
    assert_eq!(on.bed.table.len(), 3);
    let expected: Vec<_> = [
        ("20.0.1.0/24", "valid"),
        ("20.0.2.0/24", "invalid"),
        ("30.0.0.0/16", "notFound"),
    ]
    .map(|(prefix, state)| (prefix.to_owned(), Some(state.to_owned())))
    .into();
    for kind in [
        RoutesKind::Received,
        RoutesKind::Available,
        RoutesKind::Advertised,
    ] {
        assert_eq!(on.validations(kind), expected, "{kind:?}");
    }
}

// RFC-SHOWN 6811 §3
#[test]
fn export_follows_states_too() {
    let mut on = Validated::new(Bed::new(|[_, two]| two.export = Export::Policy(strict())));
    // One attribute set, three prefixes.
    announced(&mut on.bed, &["20.0.1.0/24", "20.0.2.0/24", "30.0.0.0/16"]);
    assert_eq!(on.bed.table.len(), 3);
    on.publish(&[("20.0.1.0/24", 24, 65002), ("20.0.2.0/24", 24, 65009)]);
    assert!(on.bed.told("20.0.2.0/24").is_none());
    assert_eq!((on.bed.table.len(), on.bed.messages), (2, 1));
    announced(&mut on.bed, &["20.0.2.0/24"]);
    assert!(on.bed.told("20.0.2.0/24").is_none());
    on.publish(&[]);
    assert_eq!((on.bed.table.len(), on.bed.messages), (3, 1));
}

#[test]
fn a_policy_that_begins_to_ask_judges_by_the_table_that_there_is() {
    let mut on = Validated::new(Bed::new(|_| {}));
    announced(&mut on.bed, &["20.0.1.0/24", "20.0.2.0/24"]);
    on.publish(&[("20.0.2.0/24", 24, 65009)]);
    on.bed
        .change(|[one, _]| one.import = Import::Policy(strict()));
    assert!(on.bed.told("20.0.1.0/24").is_some());
    assert!(on.bed.told("20.0.2.0/24").is_none());
}

/// Tables come faster than they are walked, and routes between them.
#[test]
fn tables_that_overtake_each_other_end_as_the_last() {
    let bed = Bed::new(|[one, _]| one.import = Import::Policy(strict()));
    let mut on = Validated::new(bed);
    let prefixes: Vec<String> = (0..64).map(|n| format!("20.0.{n}.0/24")).collect();
    let mut random = crate::random::Random::new(7);
    for round in 0..60 {
        for _ in 0..=random.below(7) {
            let vrps: Vec<(&str, u8, u32)> = prefixes
                .iter()
                .filter_map(|prefix| match random.below(4) {
                    0 => Some((prefix.as_str(), 24, 65002)),
                    1 => Some((prefix.as_str(), 24, 65009)),
                    _ => None,
                })
                .collect();
            let publication = on.publication(Some(table(&vrps)));
            let shard = &mut on.bed.rig.shard;
            shard.handle_command(on.bed.rig.now, ShardCommand::Vrps(INSTANCE, publication));
            if random.percent(30) {
                shard.revalidate_some();
            }
            if random.percent(50) {
                let prefix = random.pick(&prefixes).clone();
                on.bed.announce_only(&prefix);
            }
        }
        on.bed.rig.turn();
        on.bed.read();
        let table = on.table.clone().unwrap();
        for route in on.bed.received() {
            let state = table.validate(ip(&route.prefix), Some(65002));
            let accepted = state != Validation::Invalid;
            assert_eq!(route.accepted, accepted, "round {round}: {}", route.prefix);
            assert_eq!(on.bed.told(&route.prefix).is_some(), accepted);
        }
    }
}

/// Each table changes everything before the walk of the one before it is through.
#[test]
fn tables_that_come_faster_than_walks_end_let_them_end() {
    const ROUTES: usize = 2 * WALKS_MAX * QUANTUM;
    let bed = Bed::new(|[one, _]| one.import = Import::Policy(strict()));
    let mut on = Validated::new(bed);
    let prefix = |n: usize| Ipv4Prefix::masked(Ipv4Addr::from(0x1000_0000 + ((n as u32) << 8)), 24);
    let prefixes: Vec<Ipv4Prefix> = (0..ROUTES).map(prefix).collect();
    for some in prefixes.chunks(800) {
        on.bed.announce_many(some);
    }
    let end = prefix(ROUTES - QUANTUM).erase();
    let comes_to_the_end = (0..4 * WALKS_MAX).any(|round| {
        let around = ("16.0.0.0/8", 24 + round as u8 % 2, 65002);
        let publication = on.publication(Some(table(&[around])));
        let rig = &mut on.bed.rig;
        rig.shard
            .handle_command(rig.now, ShardCommand::Vrps(INSTANCE, publication));
        rig.shard.work(rig.now);
        let walks = &rig.shard.instances[&INSTANCE].vrps.walks;
        assert!(walks.len() <= WALKS_MAX);
        walks[0].after >= Some(end)
    });
    assert!(comes_to_the_end);
}

/// 500,000 VRPs that a cache says anew, all of them others than before, on a table of 200,000 routes
/// under a policy that asks: prints what it takes.
#[test]
#[ignore = "a measurement; run it optimized"]
fn half_a_million_vrps_are_replaced_at_once() {
    use crate::rpki::{Action, Caches};
    use crate::time::{Clock, Time};

    const VRPS: u32 = 500_000;
    const ROUTES: u32 = 200_000;
    let bed = Bed::new(|[one, _]| one.import = Import::Policy(strict()));
    let mut on = Validated::new(bed);
    let prefix = |n: u32| Ipv4Prefix::masked(Ipv4Addr::from(0x1000_0000 + (n << 8)), 24);
    let prefixes: Vec<Ipv4Prefix> = (0..ROUTES).map(prefix).collect();
    for some in prefixes.chunks(800) {
        on.bed.announce_many(some);
    }
    assert_eq!(on.bed.table.len(), ROUTES as usize);

    let mut caches = Caches::new(1);
    caches.configure(
        Time(0),
        &Rpki {
            caches: vec![RtrCache {
                address: "192.0.2.1:323".parse().unwrap(),
                preference: 1,
            }],
            ..Rpki::default()
        },
    );
    let clock = Clock::system();
    // Of the routes the first `turned` become invalid, then valid again; what the others' VRPs say
    // changes too, and none of their states does.
    let mut say = |round: u32, turned: u32| {
        // Asked for what is new, it says everything.
        let mut octets = match round {
            0 => Vec::new(),
            _ => vec![1, 8, 0, 0, 0, 0, 0, 8],
        };
        octets.extend([1, 3, 0, 7, 0, 0, 0, 8]);
        for n in 0..VRPS {
            let asn = if n < turned { 65_009 } else { 65_002 };
            octets.extend([1, 4, 0, 0, 0, 0, 0, 20, 1, 24, 24 + (round % 2) as u8, 0]);
            octets.extend(prefix(n).address().octets());
            octets.extend(u32::to_be_bytes(asn));
        }
        octets.extend([1, 7, 0, 7, 0, 0, 0, 24]);
        for word in [round, 3600, 600, 7200] {
            octets.extend(word.to_be_bytes());
        }
        // Over a connection of its own.
        let now = Time(0) + Duration::from_secs(u64::from(round) * 100);
        caches.handle_timeout(now);
        let mut connection = None;
        while let Some(action) = caches.poll_action() {
            if let Action::Dial(id, _) = action {
                connection = Some(id);
            }
        }
        let connection = connection.expect("it is dialled");
        caches.handle_connected(now, connection);
        let start = clock.now();
        for some in octets.chunks(64 * 1024) {
            caches.handle_bytes(now, connection, some);
        }
        let taken = clock.now().saturating_since(start);
        let mut publications = Vec::new();
        while let Some(publication) = caches.poll_publication() {
            publications.push(publication);
        }
        caches.handle_closed(now, connection, "closed");
        (taken, publications)
    };
    for (round, turned) in [(0, 0), (1, ROUTES), (2, 0), (3, 1_000), (4, 0)] {
        let (taken, publications) = say(round, turned);
        let before = on.judged();
        let start = clock.now();
        let mut longest = Duration::ZERO;
        let mut turns = 0;
        for publication in publications {
            let rig = &mut on.bed.rig;
            rig.shard
                .handle_command(rig.now, ShardCommand::Vrps(INSTANCE, publication));
            loop {
                let begin = clock.now();
                let more = rig.shard.work(rig.now);
                longest = longest.max(clock.now().saturating_since(begin));
                turns += 1;
                if !more {
                    break;
                }
            }
        }
        let judged_in = clock.now().saturating_since(start);
        on.bed.rig.turn();
        on.bed.read();
        println!(
            "{VRPS} VRPs replaced under {ROUTES} routes, {} judged anew: {taken:?} to take them in, \
             {judged_in:?} to judge and tell in {turns} turns, the longest {longest:?}",
            on.judged() - before
        );
        assert_eq!(on.bed.table.len() as u32, ROUTES - turned);
    }
}
