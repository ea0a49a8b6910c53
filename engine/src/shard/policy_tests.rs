//! Policy and built-in filters, seen from peers: what is told, and that nothing is asked of them.

use std::net::Ipv4Addr;
use std::sync::Arc;

use codec::{AttributeWriter, Origin};

use super::bed::{Bed, ONE, TWO, Told, ip, own_change, policy, statement};
use super::rig::{INSTANCE, Rig, neighbor};
use super::*;
use crate::config::{BuiltinFilters, Delta, Export, Import, Role};
use crate::model::{Route, RoutesKind};
use crate::policy::{
    Action, CommunityMatch, GRACEFUL_SHUTDOWN, Policy, PrefixRange, SetMed, SetNextHop, Sources,
    Standard, Statement, standard,
};

fn within(statement: &mut Statement, prefix: &str) {
    statement.matches.by_prefix = true;
    statement.matches.prefixes.push(PrefixRange {
        prefix: ip(prefix),
        shortest: ip(prefix).length(),
        longest: 32,
    });
}

const NO_FILTERS: BuiltinFilters = BuiltinFilters {
    martians: false,
    as_set: false,
    first_as: false,
    own_prefixes: false,
};

#[test]
fn import_policy_is_followed_live_from_what_was_received() {
    let tagging = |community: &str| {
        let value = standard(community).unwrap();
        policy(vec![
            statement("twenty", Action::Accept, |s| {
                within(s, "20.0.0.0/8");
                s.set.standard.add = vec![value];
            }),
            statement("rest", Action::Reject, |_| {}),
        ])
    };
    let first = tagging("65001:1");
    let mut bed = Bed::new(|[one, _]| one.import = Import::Policy(Arc::clone(&first)));
    bed.announce("20.0.1.0/24", |_| {});
    bed.announce("30.0.1.0/24", |_| {});
    assert_eq!(
        bed.told("20.0.1.0/24").unwrap().communities,
        [65001 << 16 | 1]
    );
    assert_eq!(bed.told("30.0.1.0/24"), None);
    let received = bed.received();
    // As they were received, whatever policy made of them.
    assert_eq!(received.len(), 2);
    assert!(received.iter().all(|route| route.communities.is_none()));
    assert!(received[0].accepted && !received[1].accepted);
    assert_eq!(
        received[1].rejected_by.as_deref(),
        Some("RoutePolicy p, statement rest")
    );
    let available = bed.routes(RoutesKind::Available);
    assert_eq!(available[0].communities.as_deref().unwrap(), ["65001:1"]);
    let import = bed.verdict(ONE, "20.0.1.0/24").import;
    assert_eq!(
        import.as_deref(),
        Some("accepted by RoutePolicy p, statement twenty")
    );
    let import = bed.verdict(ONE, "30.0.1.0/24").import;
    assert_eq!(
        import.as_deref(),
        Some("rejected by RoutePolicy p, statement rest")
    );
    assert_eq!(bed.verdict(TWO, "20.0.1.0/24").import, None);
    let hits: Vec<u64> = first.hits().into_iter().map(|of| of.hits).collect();
    assert_eq!(hits, [1, 1, 0]);

    bed.change(|[one, _]| one.import = Import::Policy(tagging("65001:2")));
    assert_eq!(
        bed.told("20.0.1.0/24").unwrap().communities,
        [65001 << 16 | 2]
    );
    assert_eq!(bed.messages, 1, "only the difference is told");
    bed.change(|[one, _]| one.import = Import::Policy(tagging("65001:2")));
    assert_eq!(bed.messages, 0);
    bed.change(|[one, _]| one.import = Import::All);
    assert_eq!(bed.table.len(), 2);
    assert!(bed.told("20.0.1.0/24").unwrap().communities.is_empty());
    let gone = Arc::new(Policy::missing(&"gone".into()));
    bed.change(|[one, _]| one.import = Import::Policy(gone));
    assert_eq!(bed.table.len(), 0);
    let why = "RoutePolicy gone, which is not there and so lets nothing through";
    assert_eq!(
        bed.rejected_by(),
        [Some(why.to_owned()), Some(why.to_owned())]
    );
    assert_eq!(bed.rig.peers()[0].families[0].accepted, 0);
    assert_eq!(bed.rig.peers()[0].families[0].received, 2);
}

// RFC-SHOWN 9494 §4.3
#[test]
fn no_export_policy_makes_a_stale_route_one_for_peers_that_do_not_know_these() {
    let clean = policy(vec![statement("clean", Action::Accept, |s| {
        s.set.standard.remove = vec![Standard::parse("*:*").unwrap()];
    })]);
    let mut bed = Bed::new(|[one, two]| {
        one.export = Export::None;
        two.export = Export::Policy(clean);
    });
    // Alike behind the policy.
    bed.announce("20.0.1.0/24", |w| w.communities(&[7]));
    bed.announce("20.0.2.0/24", |w| w.communities(&[7, rib::LLGR_STALE]));
    bed.announce("20.0.3.0/24", |w| w.communities(&[7]));
    assert!(bed.table.keys().eq(&[ip("20.0.1.0/24"), ip("20.0.3.0/24")]));
    assert!(bed.reason("20.0.2.0/24").contains("LLGR_STALE"));
    bed.announce("20.0.1.0/24", |w| w.communities(&[7, rib::LLGR_STALE]));
    assert!(bed.table.keys().eq(&[ip("20.0.3.0/24")]));
}

#[test]
fn export_policy_is_followed_live_for_its_peers_alone() {
    let export = policy(vec![
        statement("no-31", Action::Reject, |s| within(s, "31.0.0.0/8")),
        statement("tagged", Action::Accept, |s| {
            s.matches.standard = CommunityMatch {
                any: vec![Standard::parse("65002:*").unwrap()],
                ..CommunityMatch::default()
            };
            s.set.med = Some(SetMed::Value(7));
            s.set.prepend = Some((65001, 2));
            s.set.next_hop = Some(SetNextHop::Unchanged);
            s.set.standard.remove = vec![Standard::parse("65002:*").unwrap()];
        }),
        statement("rest", Action::Accept, |s| {
            within(s, "30.0.0.0/7");
            s.set.next_hop = Some(SetNextHop::Address("192.0.2.1".parse().unwrap()));
        }),
    ]);
    let mut bed = Bed::new(|[one, two]| {
        // In no group that the other could move to.
        one.export = Export::None;
        two.export = Export::Policy(export);
    });
    bed.announce("20.0.1.0/24", |w| w.communities(&[65002 << 16 | 9]));
    bed.announce("30.0.1.0/24", |_| {});
    bed.announce("31.0.1.0/24", |_| {});
    bed.announce("40.0.1.0/24", |_| {});
    let tagged = Told {
        med: Some(7),
        communities: vec![],
        as_path: vec![65001, 65001, 65001, 65002],
        next_hop: Some(Ipv4Addr::new(10, 0, 0, 6)),
    };
    assert_eq!(bed.told("20.0.1.0/24"), Some(&tagged));
    let rest = bed.told("30.0.1.0/24").unwrap();
    assert_eq!(
        (rest.next_hop, rest.med),
        (Some(Ipv4Addr::new(192, 0, 2, 1)), None)
    );
    assert_eq!(bed.table.len(), 2);
    assert_eq!(
        bed.reason("31.0.1.0/24"),
        "rejected by RoutePolicy p, statement no-31"
    );
    assert_eq!(
        bed.reason("40.0.1.0/24"),
        "rejected by RoutePolicy p, defaultAction"
    );
    let export = bed.verdict(TWO, "20.0.1.0/24").export;
    assert_eq!(
        export.as_deref(),
        Some("accepted by RoutePolicy p, statement tagged")
    );
    let advertised = bed.routes(RoutesKind::Advertised);
    let to_two = advertised
        .iter()
        .filter(|r| r.advertised_to.as_deref() == Some(TWO));
    assert_eq!(to_two.count(), 2);

    let open = policy(vec![statement("all", Action::Accept, |_| {})]);
    bed.change(|[_, two]| two.export = Export::Policy(Arc::clone(&open)));
    assert_eq!(bed.table.len(), 4);
    assert_eq!(bed.messages, 4, "all four differ from before");
    bed.change(|[_, two]| two.export = Export::All);
    assert_eq!(bed.messages, 0, "the same is told");
    bed.change(|[_, two]| two.export = Export::Policy(Arc::new(Policy::missing(&"x".into()))));
    assert_eq!(bed.table.len(), 0);
    let why = "rejected by RoutePolicy x, which is not there and so lets nothing through";
    assert_eq!(bed.reason("20.0.1.0/24"), why);
}

/// A statement that means one neighbor takes it out of its group and, gone again, back into it.
#[test]
fn who_alone_has_another_policy_is_told_only_what_comes_out_otherwise() {
    let all = policy(vec![statement("all", Action::Accept, |_| {})]);
    let but = |prefix: &str| {
        let but = statement("but", Action::Reject, |s| within(s, prefix));
        policy(vec![but, statement("all", Action::Accept, |_| {})])
    };
    let mut bed = Bed::new(|neighbors| {
        for neighbor in neighbors {
            neighbor.export = Export::Policy(Arc::clone(&all));
        }
    });
    for number in 0..20 {
        bed.announce(&format!("20.0.{number}.0/24"), |_| {});
    }
    assert_eq!(bed.table.len(), 20);
    for (export, told, left) in [
        (but("99.0.0.0/8"), 0, 20),
        (Arc::clone(&all), 0, 20),
        (but("20.0.1.0/24"), 1, 19),
        (but("20.0.2.0/24"), 2, 19),
        (Arc::clone(&all), 1, 20),
    ] {
        bed.change(|[_, two]| two.export = Export::Policy(export));
        assert_eq!((bed.messages, bed.table.len()), (told, left));
    }
}

#[test]
fn members_that_go_different_ways_at_once_are_each_told_only_what_differs() {
    const PEERS: [&str; 3] = ["10.0.0.6", "10.0.0.7", "10.0.0.8"];
    const PREFIXES: [&str; 3] = ["20.0.1.0/24", "20.0.2.0/24", "20.0.3.0/24"];
    let all = || statement("all", Action::Accept, |_| {});
    let change = |rig: &mut Rig, policies: [Arc<Policy>; 3]| {
        let neighbors = PEERS.iter().zip(policies).map(|(peer, policy)| {
            let mut of = neighbor(peer);
            of.export = Export::Policy(policy);
            Arc::new(of)
        });
        rig.tell(Delta::Neighbors(INSTANCE, neighbors.collect()));
    };
    let mut rig = Rig::new();
    let one = policy(vec![all()]);
    change(&mut rig, [&one, &one, &one].map(Arc::clone));
    let connections = PEERS.map(|peer| rig.establish(peer, 65002));
    rig.originate(&PREFIXES);
    for connection in connections {
        assert_eq!(rig.announced(connection).len(), 3);
    }
    let apart = PREFIXES.map(|prefix| {
        let med = statement("med", Action::Accept, |s| {
            within(s, prefix);
            s.set.med = Some(SetMed::Value(7));
        });
        policy(vec![med, all()])
    });
    change(&mut rig, apart);
    for (connection, prefix) in connections.into_iter().zip(PREFIXES) {
        let told = rig.announced(connection);
        assert_eq!((told.len(), &*told[0].0), (1, prefix));
    }
}

#[test]
fn what_is_told_names_the_peer_that_it_was_learned_from() {
    let mut bed = Bed::new(|_| {});
    bed.announce("20.0.1.0/24", |_| {});
    bed.own("50.0.0.0/24", true);
    let from = |route: Route| (route.prefix, route.peer_address);
    let mut advertised = bed.routes(RoutesKind::Advertised);
    advertised.retain(|route| route.advertised_to.as_deref() == Some(TWO));
    let advertised: Vec<_> = advertised.into_iter().map(from).collect();
    let expected = [("20.0.1.0/24", Some(ONE)), ("50.0.0.0/24", None)]
        .map(|(prefix, from)| (prefix.to_owned(), from.map(str::to_owned)));
    assert_eq!(advertised, expected);
    for expected in expected {
        let route = bed.verdict(TWO, &expected.0).route.unwrap();
        assert_eq!(from(route), expected);
    }
}

#[test]
fn own_routes_are_told_by_what_asks_for_them() {
    let of = |sources| {
        policy(vec![statement("own", Action::Accept, |s| {
            s.matches.sources = Some(sources);
        })])
    };
    let mut bed = Bed::new(|[_, two]| two.export = Export::Policy(of(Sources::POD_CIDR)));
    bed.own("50.0.0.0/24", true);
    assert_eq!(bed.table.len(), 1);
    assert_eq!(
        bed.told("50.0.0.0/24").unwrap().next_hop,
        Some(Ipv4Addr::new(10, 0, 0, 5))
    );
    bed.change(|[_, two]| two.export = Export::Policy(of(Sources::NETWORK_POLICY)));
    assert_eq!(bed.table.len(), 0);
    let both = Sources::RECEIVED.with(Sources::POD_CIDR);
    bed.change(|[_, two]| two.export = Export::Policy(of(both)));
    assert_eq!(bed.table.len(), 1);
}

#[test]
fn explain_walks_a_route_through_both_policies() {
    let walked = || {
        policy(vec![
            statement("elsewhere", Action::Reject, |s| within(s, "99.0.0.0/8")),
            statement("looked-at", Action::Next, |s| within(s, "20.0.0.0/8")),
            statement("tagged", Action::Next, |s| {
                s.set.med = Some(SetMed::Value(5));
                s.set.standard.add = vec![standard("65001:1").unwrap()];
            }),
            statement("tens", Action::Accept, |s| within(s, "20.0.1.0/24")),
        ])
    };
    let mut bed = Bed::new(|[one, two]| {
        one.import = Import::Policy(walked());
        two.export = Export::Policy(walked());
    });
    bed.announce("20.0.1.0/24", |_| {});
    bed.announce("30.0.1.0/24", |_| {});
    bed.announce("99.0.1.0/24", |_| {});
    let words = |steps: Vec<crate::model::PolicyStep>| -> Vec<String> {
        let words = steps.into_iter().map(|step| {
            assert_eq!(step.policy, "p");
            let by = step.statement.unwrap_or_default();
            format!("{by} [{}] {}", step.set.join(", "), step.action)
        });
        words.collect()
    };
    let tagged = "tagged [med 5, standard communities +65001:1] Next";
    let accepted = ["looked-at [] Next", tagged, "tens [] Accept"];
    assert_eq!(
        words(bed.verdict(ONE, "20.0.1.0/24").import_steps),
        accepted
    );
    assert_eq!(
        words(bed.verdict(TWO, "20.0.1.0/24").export_steps),
        accepted
    );
    let undecided = [tagged, " [] Reject"];
    assert_eq!(
        words(bed.verdict(ONE, "30.0.1.0/24").import_steps),
        undecided
    );
    let rejected = ["elsewhere [] Reject"];
    assert_eq!(
        words(bed.verdict(ONE, "99.0.1.0/24").import_steps),
        rejected
    );
}

#[test]
fn explain_says_what_graceful_shutdown_makes_of_a_preference() {
    let mut bed = Bed::new(|[one, _]| {
        one.import = Import::Policy(policy(vec![
            statement("preferred", Action::Accept, |s| {
                within(s, "20.0.0.0/8");
                s.set.local_preference = Some(150);
            }),
            statement("cleared", Action::Accept, |s| {
                within(s, "30.0.0.0/8");
                s.set.standard.remove = vec![Standard::parse("65535:0").unwrap()];
            }),
        ]));
    });
    let import = |bed: &mut Bed, prefix: &str, communities: &[u32]| {
        bed.announce(prefix, |writer| writer.communities(communities));
        bed.verdict(ONE, prefix).import.unwrap()
    };
    let plain = import(&mut bed, "20.0.1.0/24", &[7]);
    assert_eq!(plain, "accepted by RoutePolicy p, statement preferred");
    let lowered = "; then GRACEFUL_SHUTDOWN: local preference 0 (RFC 8326)";
    let marked = import(&mut bed, "20.0.1.0/24", &[7, GRACEFUL_SHUTDOWN]);
    assert_eq!(marked, plain + lowered);
    // Not where policy took it off, nor where the route is not used.
    for prefix in ["30.0.1.0/24", "40.0.1.0/24"] {
        let words = import(&mut bed, prefix, &[GRACEFUL_SHUTDOWN]);
        assert!(!words.contains("GRACEFUL_SHUTDOWN"), "{words}");
    }
    bed.change(|[one, _]| one.import = Import::All);
    let all = import(&mut bed, "20.0.1.0/24", &[GRACEFUL_SHUTDOWN]);
    assert_eq!(all, format!("accepted, its import is all{lowered}"));
}

#[test]
fn hits_count_routes_on_export_as_on_import() {
    let counting = || {
        policy(vec![
            statement("seen", Action::Next, |_| {}),
            statement("twenties", Action::Accept, |s| within(s, "20.0.0.0/8")),
            statement("rest", Action::Accept, |_| {}),
        ])
    };
    // With the middle statement every prefix is asked about; without it all share one answer.
    for prefixes_matter in [true, false] {
        let of = || match prefixes_matter {
            true => counting(),
            false => policy(vec![
                statement("seen", Action::Next, |_| {}),
                statement("rest", Action::Accept, |_| {}),
            ]),
        };
        let (import, export) = (of(), of());
        let mut bed = Bed::new(|[one, two]| {
            one.import = Import::Policy(Arc::clone(&import));
            one.export = Export::None;
            two.export = Export::Policy(Arc::clone(&export));
        });
        let prefixes: Vec<codec::Ipv4Prefix> = (0..100u8)
            .map(|n| codec::Ipv4Prefix::masked([20 + n % 2, 0, n, 0].into(), 24))
            .collect();
        bed.announce_many(&prefixes);
        assert_eq!(bed.table.len(), 100);
        let hits =
            |policy: &Policy| -> Vec<u64> { policy.hits().into_iter().map(|of| of.hits).collect() };
        let expected: &[u64] = match prefixes_matter {
            true => &[100, 50, 50, 0],
            false => &[100, 100, 0],
        };
        assert_eq!(hits(&import), expected);
        assert_eq!(hits(&export), expected);
    }
}

#[test]
fn nobody_is_told_itself_as_next_hop() {
    let peer_address = policy(vec![statement("peer", Action::Accept, |s| {
        s.set.next_hop = Some(SetNextHop::PeerAddress);
    })]);
    let mut bed = Bed::new(|[_, two]| two.export = Export::Policy(peer_address));
    bed.announce("20.0.1.0/24", |_| {});
    let told = bed.told("20.0.1.0/24").unwrap();
    assert_eq!(told.next_hop, Some(Ipv4Addr::new(10, 0, 0, 5)));
}

// RFC-SHOWN 8326 §4.1
#[test]
fn a_route_that_is_about_to_go_is_the_last_choice() {
    let mut bed = Bed::new(|_| {});
    let shutting_down = standard("graceful-shutdown").unwrap();
    bed.announce("20.0.1.0/24", |w| w.communities(&[shutting_down]));
    let available = bed.routes(RoutesKind::Available);
    assert_eq!(available[0].local_pref, Some(0));
    assert_eq!(bed.received()[0].local_pref, None);
    // After policy, which may say otherwise.
    let without = policy(vec![statement("no", Action::Accept, |s| {
        s.set.standard.replace = Some(vec![]);
    })]);
    bed.change(|[one, _]| one.import = Import::Policy(without));
    assert_eq!(bed.routes(RoutesKind::Available)[0].local_pref, None);
}

// RFC-SHOWN 9774 §3
// RFC-SHOWN 4271 §6.3
// RFC-SHOWN 7454 §6.1.1
// RFC-SHOWN 7454 §6.1.4
// RFC-SHOWN 7454 §9
#[test]
fn each_built_in_filter_refuses_and_says_so_until_it_is_switched_off() {
    let mut bed = Bed::new(|_| {});
    bed.announce("127.1.0.0/16", |_| {});
    let mut with_set = Vec::new();
    let mut writer = AttributeWriter::new(&mut with_set);
    writer.origin(Origin::Igp);
    // 65002 {1}
    writer.raw(0x40, 2, &[2, 1, 0, 0, 0xfd, 0xea, 1, 1, 0, 0, 0, 1]);
    writer.next_hop(Ipv4Addr::new(10, 0, 0, 6));
    bed.announce_with("20.0.1.0/24", &with_set);
    let mut other_first = Vec::new();
    let mut writer = AttributeWriter::new(&mut other_first);
    writer.origin(Origin::Igp);
    writer.as_path(&codec::AsPath::default(), &[65009, 65002], true);
    writer.next_hop(Ipv4Addr::new(10, 0, 0, 6));
    bed.announce_with("20.0.2.0/24", &other_first);
    bed.own("50.0.0.0/24", true);
    bed.announce("50.0.0.0/24", |_| {});
    let said: Vec<String> = bed.rejected_by().into_iter().flatten().collect();
    let filters: Vec<&str> = said
        .iter()
        .filter_map(|s| s.split_once(':').map(|s| s.0))
        .collect();
    assert_eq!(
        filters,
        [
            "builtinFilters.asSet",
            "builtinFilters.firstAS",
            "builtinFilters.ownPrefixes",
            "builtinFilters.martians",
        ]
    );
    assert_eq!(bed.table.len(), 1, "our own");
    bed.change(|[one, _]| one.builtin_filters = NO_FILTERS);
    assert_eq!(bed.rejected_by(), [None, None, None, None]);
    assert_eq!(bed.table.len(), 4);
    bed.change(|[one, _]| one.builtin_filters = BuiltinFilters::default());
    assert_eq!(bed.table.len(), 1);
}

// RFC-SHOWN 7948 §4.5
#[test]
fn a_route_server_need_not_stand_first_in_its_paths() {
    let mut via_others = Vec::new();
    let mut writer = AttributeWriter::new(&mut via_others);
    writer.origin(Origin::Igp);
    writer.as_path(&codec::AsPath::default(), &[65999, 65998], true);
    writer.next_hop(Ipv4Addr::new(10, 0, 0, 6));
    for role in Role::ALL {
        let mut bed = Bed::new(|[one, _]| one.role = Some(role));
        bed.announce_with("20.0.1.0/24", &via_others);
        let is_refused = bed.rejected_by() != [None];
        assert_eq!(is_refused, role != Role::RouteServerClient, "{role:?}");
    }
}

#[test]
fn an_echo_is_one_only_while_we_originate_the_prefix() {
    let mut bed = Bed::new(|_| {});
    bed.announce("50.0.0.0/24", |_| {});
    assert_eq!(bed.rejected_by(), [None]);
    bed.own("50.0.0.0/24", true);
    assert!(
        bed.rejected_by()[0]
            .as_deref()
            .unwrap()
            .contains("ownPrefixes")
    );
    assert_eq!(bed.told("50.0.0.0/24").unwrap().as_path, [65001]);
    bed.own("50.0.0.0/24", false);
    assert_eq!(bed.rejected_by(), [None]);
    assert_eq!(bed.told("50.0.0.0/24").unwrap().as_path, [65001, 65002]);
}

/// A shard without sessions.
struct Nobody;

impl crate::group::Outbox for Nobody {
    fn send(&mut self, _: MemberId, _: bytes::Bytes) {}

    fn backlog(&self, _: MemberId) -> usize {
        0
    }
}

#[test]
fn what_another_shard_originates_is_an_echo_whatever_this_one_was_told_by_then() {
    let mut bed = Bed::new(|_| {});
    let mut other = Instance::new(bed.rig.rib.writer(ShardId(1)), 0);
    let mut own = |bed: &mut Bed, prefix, there| {
        other.originate(Box::new([own_change(prefix, there)]), None);
        other.work(bed.rig.now, &mut Nobody, false);
        bed.rig.turn();
    };
    bed.announce("50.0.0.0/24", |_| {});
    own(&mut bed, "50.0.0.0/24", true);
    own(&mut bed, "50.0.1.0/24", true);
    bed.announce("50.0.1.0/24", |_| {});
    let is_echo =
        |why: &Option<String>| why.as_ref().is_some_and(|why| why.contains("ownPrefixes"));
    assert!(bed.rejected_by().iter().all(is_echo) && bed.rejected_by().len() == 2);
    own(&mut bed, "50.0.0.0/24", false);
    own(&mut bed, "50.0.1.0/24", false);
    assert_eq!(bed.rejected_by(), [None, None]);
}
