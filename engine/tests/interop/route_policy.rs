//! RoutePolicies between two routers: FRR says, BIRD hears. Policies change under the sessions, and
//! neither is reset nor asked for anything.

use crate::daemon::{Daemon, config, neighbor};
use crate::lab::{Lab, ROUTER_V4, SECOND_ROUTER_V4};
use crate::process::eventually;
use crate::router::{Learned, Router, RouterKind, RouterSpec};
use crate::scripted::RINGBGP_ASN;

const SAID: [&str; 3] = ["192.168.100.0/24", "192.168.101.0/24", "192.168.102.0/24"];
const ASNS: [u32; 2] = [65002, 65003];

fn route_policy(name: &str, statements: &str) -> String {
    format!(
        "apiVersion: ringbgp.io/v1alpha1\nkind: RoutePolicy\nmetadata: {{name: {name}}}\n\
         spec:\n  prefixSets: {{some: [192.168.100.0/24, {{prefix: 192.168.101.0/24, le: 25}}]}}\n  \
         statements:\n{statements}"
    )
}

/// The first router's routes are taken by `some`, with a tag.
fn import(tag: &str) -> String {
    route_policy(
        "from-first",
        &format!(
            "  - name: some\n    match: {{prefixSets: [some], asPath: {{regexes: ['^65002$']}}}}\n    \
             set: {{communities: {{standard: {{add: ['{tag}']}}}}}}\n    action: Accept\n"
        ),
    )
}

fn export(prepend: u8, med: u32) -> String {
    route_policy(
        "to-second",
        &format!(
            "  - name: tagged\n    match: {{communities: {{standard: {{any: ['65001:*']}}}}}}\n    \
             not: {{prefixes: [192.168.101.0/24]}}\n    \
             set: {{med: {{value: {med}}}, asPathPrepend: {{asn: 65001, count: {prepend}}}}}\n    \
             action: Accept\n"
        ),
    )
}

fn wait_for(router: &dyn Router, what: &str, holds: impl Fn(&Learned) -> bool) {
    eventually(what, || {
        let table = router.learned()?;
        match table.get(SAID[0]) {
            Some(route) if table.len() == 1 && holds(route) => Ok(()),
            _ => Err(format!("it holds {table:?}; {}", router.session())),
        }
    });
}

#[test]
fn policies_change_between_frr_and_bird_and_no_session_is_reset() {
    let kinds = [RouterKind::Frr, RouterKind::Bird];
    let Some(lab) = Lab::for_routers(&kinds) else {
        return;
    };
    let router = |index: usize| {
        let spec = RouterSpec {
            second: index == 1,
            announce: if index == 0 { SAID.to_vec() } else { vec![] },
            ..RouterSpec::new(ASNS[index], RINGBGP_ASN)
        };
        kinds[index].start(&lab, &spec)
    };
    let [_first, second] = [router(0), router(1)];
    let neighbors = [
        neighbor(ROUTER_V4, ASNS[0], "import: from-first"),
        neighbor(SECOND_ROUTER_V4, ASNS[1], "export: to-second"),
    ];
    let settings = config(RINGBGP_ASN, "", &neighbors);
    let daemon = Daemon::start(
        Some(&lab.node),
        &[
            ("config.yaml", &settings),
            ("in.yaml", &import("65001:1")),
            ("out.yaml", &export(1, 30)),
        ],
    );
    for local in [ROUTER_V4, SECOND_ROUTER_V4] {
        daemon.wait_established(local);
    }
    daemon.wait_for_prefixes(&["routes", "available"], &SAID[..2]);
    daemon.wait_for_prefixes(&["routes", "received", "--peer", ROUTER_V4], &SAID);
    wait_for(&*second, "the path is prepended", |route| {
        route.as_path == [RINGBGP_ASN, RINGBGP_ASN, ASNS[0]]
            && route.med == Some(30)
            && route
                .communities
                .iter()
                .any(|c| c.contains("65001") && c.contains('1'))
    });
    let explained = daemon.ask(&["explain", SAID[2]]).expect("it is explained");
    let of_first = &explained[0]["peers"][0];
    assert_eq!(
        of_first["import"],
        "rejected by RoutePolicy from-first, defaultAction"
    );

    // Export, then import, then a policy that goes and comes.
    daemon.write("out.yaml", &export(2, 40));
    wait_for(&*second, "the new prepending", |route| {
        route.as_path.len() == 4 && route.med == Some(40)
    });
    daemon.write("in.yaml", &import("65009:1"));
    second.wait_for(&[]);
    daemon.write("in.yaml", &import("65001:2"));
    wait_for(&*second, "the path again", |route| route.med == Some(40));
    daemon.remove("out.yaml");
    daemon.write("in.yaml", &import("65009:1"));
    second.wait_for(&[]);
    let policies = daemon.ask(&["policies"]).expect("policies are shown");
    assert_eq!(policies[0]["name"], "from-first");
    assert_eq!(
        policies[1]["name"], "to-second",
        "in force while it is named"
    );
    assert!(
        policies[0]["statements"][0]["hits"].as_u64() >= Some(2),
        "{policies}"
    );
    for local in [ROUTER_V4, SECOND_ROUTER_V4] {
        let peer = daemon.wait_established(local);
        assert!(peer["lastError"].is_null(), "no session was reset: {peer}");
    }
}
