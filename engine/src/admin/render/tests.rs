//! Tables and texts as people get them.

use super::*;
use crate::admin::model::{
    Aggregator, Claim, Explanation, FamilyCounts, MalformedUpdates, PeerVerdict, PolicyStep,
    ReceivedPath, SentPath, parse_prefix,
};
use codec::Family;

pub(crate) fn peer() -> Peer {
    Peer {
        instance: "default".to_owned(),
        peer_address: "10.0.0.6".to_owned(),
        peer_asn: Some(65001),
        peer_hostname: None,
        local_address: Some("10.0.0.5".to_owned()),
        local_asn: 65001,
        state: PeerState::Established,
        route_reflector_client: false,
        route_server_client: false,
        uptime_seconds: Some(185),
        downtime_seconds: None,
        drain: None,
        last_error: None,
        last_error_age_seconds: None,
        group: Some(0),
        shard: 0,
        malformed_updates: MalformedUpdates::default(),
        families: vec![FamilyCounts::new(Family::Ipv4Unicast, 3, 2, 1)],
    }
}

#[test]
fn peers_have_their_columns_and_the_faults_stand_below() {
    let fault = Fault {
        file: Some("a.yaml".to_owned()),
        line: Some(7),
        path: Some("spec.x".to_owned()),
        message: "unknown field; remove it".to_owned(),
        warning: false,
    };
    assert_eq!(
        peers(&[peer()], &[fault], false),
        "PEER      AS     STATE        UP/DOWN FOR  IPV4   IPV6  LAST ERROR\n\
         10.0.0.6  65001  established  3m05s        3/2/1  -     -\n\
         IPV4, IPV6: prefixes received/accepted/advertised\n\
         Faults in force\n  a.yaml:7: spec.x: unknown field; remove it\n"
    );
}

#[test]
fn an_error_that_is_over_is_shown_only_if_wide_and_with_its_age() {
    let mut was_down = peer();
    was_down.last_error = Some("the router was silent".to_owned());
    was_down.last_error_age_seconds = Some(185);
    let shown = |peer: &Peer, wide| peers(std::slice::from_ref(peer), &[], wide);
    assert!(!shown(&was_down, false).contains("silent"));
    assert!(shown(&was_down, true).contains("the router was silent (3m05s ago)\n"));
    was_down.state = PeerState::Active;
    assert!(shown(&was_down, false).contains("the router was silent\n"));
    // What is so now, whatever the state.
    let mut drained = peer();
    drained.last_error = Some("being drained".to_owned());
    assert!(shown(&drained, false).contains("being drained\n"));
    assert!(shown(&drained, true).contains("being drained\n"));
}

#[test]
fn what_is_stale_is_marked() {
    let mut away = peer();
    away.state = PeerState::Active;
    away.families[0] = FamilyCounts {
        stale: 3,
        ..FamilyCounts::new(Family::Ipv4Unicast, 3, 2, 0)
    };
    let shown = peers(&[away], &[], false);
    assert!(shown.contains("  3/2/0, 3 stale  "), "{shown}");
    assert!(shown.contains("; stale: received, and not"), "{shown}");

    let mut route = Route::new("default", parse_prefix("10.0.1.0/24").unwrap());
    (route.best, route.stale) = (true, true);
    let mark = |route: &Route, wide| {
        let page = RoutesTable::new(wide).page(std::slice::from_ref(route));
        let line = page.lines().nth(1).unwrap().trim_end().to_owned();
        let words = line.split("  ").map(str::to_owned);
        let last = words.clone().last().unwrap().trim().to_owned();
        (words.clone().next().unwrap(), last)
    };
    assert_eq!(mark(&route, false).0, "*s");
    assert_eq!(mark(&route, true).1, "stale");
    assert!(attributes(&route).ends_with(", stale: its peer has yet to say it again"));
    route.best = false;
    route.communities = Some(vec!["65535:6".to_owned()]);
    assert_eq!(mark(&route, false).0, "s");
    assert_eq!(mark(&route, true).1, "long-lived stale");
    route.accepted = false;
    assert_eq!(mark(&route, false).0, "xs");
    assert!(attributes(&route).contains(", long-lived stale: "));
}

#[test]
fn pages_of_routes_line_up_under_one_heading() {
    let mut route = Route::new("default", parse_prefix("10.0.1.0/24").unwrap());
    route.best = true;
    route.as_path = Some(Vec::new());
    route.origin = Some("IGP".to_owned());
    let mut pages = RoutesTable::new(false);
    let first = pages.page(std::slice::from_ref(&route));
    let second = pages.page(&[route]);
    assert_eq!(
        first,
        "   PREFIX       NEXT HOP  FROM  TO  PREF  MED  AS PATH\n\
         *  10.0.1.0/24  -         self  -   -     -    (empty) IGP\n"
    );
    assert_eq!(first.lines().nth(1), second.lines().next());
    assert_eq!(pages.page(&[]), "");
}

#[test]
fn an_explanation_reads_from_the_resource_to_the_peer() {
    let text = explanation(&Explanation {
        instance: "default".to_owned(),
        prefix: "0.0.0.0/0".to_owned(),
        announced: false,
        claims: vec![Claim {
            source: Source {
                kind: "CiliumNetworkPolicy".to_owned(),
                namespace: Some("default".to_owned()),
                name: "world".to_owned(),
                rule: "spec.egress[0].toCIDRSet[0]".to_owned(),
            },
            location: Some("world.yaml:9".to_owned()),
            originates: false,
            reason: "the guard always refuses 0.0.0.0/0".to_owned(),
        }],
        near: vec!["10.0.1.0/24".to_owned()],
        notes: vec!["guard.maxPrefixes holds it back".to_owned()],
        vrps: None,
        paths: Vec::new(),
        peers: vec![PeerVerdict {
            export: Some("accepted by RoutePolicy out, statement b".to_owned()),
            export_steps: [
                ("a", vec!["med 5".to_owned()], "Next"),
                ("b", vec![], "Accept"),
            ]
            .map(|(statement, set, action)| PolicyStep {
                policy: "out".to_owned(),
                statement: Some(statement.to_owned()),
                set,
                passed_over: (action == "Next").then(|| "nextHop ::1 passed over".to_owned()),
                action: action.to_owned(),
            })
            .into(),
            best_export: Some("rejected by RoutePolicy out, statement c".to_owned()),
            ..PeerVerdict::not_told(
                "10.0.0.6".to_owned(),
                PeerState::Established,
                "no path".to_owned(),
            )
        }],
    });
    assert_eq!(
        text,
        "0.0.0.0/0: not announced to the one peer\n\
         Asked for by\n  CiliumNetworkPolicy default/world spec.egress[0].toCIDRSet[0] \
         (world.yaml:9)\n    no own route: the guard always refuses 0.0.0.0/0\n\
         Note: guard.maxPrefixes holds it back\n\
         Own routes near it: 10.0.1.0/24\n\
         Peers\n  10.0.0.6 (established): not told, no path\n    \
         export of the best path: rejected by RoutePolicy out, statement c\n    \
         export: accepted by RoutePolicy out, statement b\n      \
         statement a: set med 5; nextHop ::1 passed over; went on\n      statement b: Accept\n"
    );
}

#[test]
fn every_path_of_a_prefix_is_explained() {
    let route = |id, next_hop: &str| {
        let mut route = Route::new("default", parse_prefix("10.0.1.0/24").unwrap());
        route.next_hop = Some(next_hop.to_owned());
        route.path_id = Some(id);
        route.origin = Some("IGP".to_owned());
        route
    };
    let step = |set: &[&str], action: &str| PolicyStep {
        policy: "p".to_owned(),
        statement: Some("s".to_owned()),
        set: set.iter().map(|&set| set.to_owned()).collect(),
        passed_over: None,
        action: action.to_owned(),
    };
    let mut verdict = PeerVerdict::not_told(
        "10.0.0.6".to_owned(),
        PeerState::Established,
        "announced (2 paths, of which this is the first)".to_owned(),
    );
    verdict.advertised = true;
    verdict.route = Some(route(1, "192.0.2.1"));
    verdict.export = Some("accepted by RoutePolicy p, statement a".to_owned());
    verdict.other_paths = vec![SentPath {
        route: route(2, "192.0.2.2"),
        export: Some("accepted by RoutePolicy p, statement s".to_owned()),
        export_steps: vec![step(&["med 9"], "Accept")],
    }];
    verdict.import = Some("accepted, its import is all".to_owned());
    verdict.received = Some(route(7, "192.0.2.7"));
    let explained = |verdict: &PeerVerdict| {
        let text = explanation(&Explanation {
            instance: "default".to_owned(),
            prefix: "10.0.1.0/24".to_owned(),
            announced: true,
            claims: Vec::new(),
            near: Vec::new(),
            notes: Vec::new(),
            vrps: None,
            paths: Vec::new(),
            peers: vec![verdict.clone()],
        });
        let (_, peers) = text.split_once("Peers\n").unwrap();
        peers.to_owned()
    };
    let told = "  10.0.0.6 (established): told, announced (2 paths, of which this is the first); \
                next hop 192.0.2.1, AS path IGP\n";
    let exported = "    export: accepted by RoutePolicy p, statement a\n    \
                    also told path 2: from self, next hop 192.0.2.2, AS path IGP\n    \
                    export: accepted by RoutePolicy p, statement s\n      \
                    statement s: set med 9; Accept\n";
    let received = "    its own path: accepted, its import is all\n";
    assert_eq!(explained(&verdict), format!("{told}{received}{exported}"));

    verdict.other_received = vec![ReceivedPath {
        route: route(8, "192.0.2.8"),
        import: "rejected by RoutePolicy p, statement s".to_owned(),
        import_steps: vec![step(&[], "Reject")],
    }];
    verdict.received_not_shown = 3;
    let received = "    its own path 7 (next hop 192.0.2.7, AS path IGP): accepted, its import is \
                    all\n    its own path 8 (next hop 192.0.2.8, AS path IGP): rejected by \
                    RoutePolicy p, statement s\n    3 more of its own paths are not shown\n";
    assert_eq!(explained(&verdict), format!("{told}{received}{exported}"));
}

#[test]
fn a_route_says_who_aggregated_it() {
    let mut route = Route::new("default", parse_prefix("10.0.1.0/24").unwrap());
    route.aggregator = Some(Aggregator {
        asn: 65002,
        address: "1.2.3.4".to_owned(),
    });
    route.atomic_aggregate = true;
    assert_eq!(
        attributes(&route),
        "AS path -, aggregator 1.2.3.4 of AS 65002, atomic aggregate"
    );
}

#[test]
fn durations_show_their_two_largest_units() {
    let shown: Vec<String> = [45, 185, 7800, 1_047_600].map(duration).to_vec();
    assert_eq!(shown, ["45s", "3m05s", "2h10m", "12d03h"]);
}

#[test]
fn policies_show_what_they_compiled_to_and_their_hits() {
    let text = policies(&[Policy {
        name: "from-tor".to_owned(),
        import_of: vec!["10.0.0.6".to_owned()],
        export_of: vec![],
        prefix_sets: vec![crate::model::PrefixSet {
            name: "pods".to_owned(),
            prefixes: 2,
        }],
        trie_nodes: 9,
        trie_prefixes: 2,
        statements: vec![crate::model::Statement {
            name: "customers".to_owned(),
            by_neighbor: vec![],
            by_attributes: vec!["med".to_owned()],
            by_prefix: vec!["pods (2)".to_owned()],
            set: vec!["localPreference 200".to_owned()],
            action: "Accept".to_owned(),
            hits: 7,
        }],
        default_action: "Reject".to_owned(),
        default_hits: 1,
    }]);
    let lines: Vec<String> = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        lines,
        [
            "from-tor: import of 10.0.0.6; export of nobody",
            "2 prefixes in a trie of 9 nodes; sets: pods (2)",
            "STATEMENT ONCE A SESSION ONCE A SET BY PREFIX SET ACTION HITS",
            "customers - med pods (2) localPreference 200 Accept 7",
            "(defaultAction) - - - - Reject 1",
        ]
    );
    assert_eq!(policies(&[]), "No route policies.\n");
}
