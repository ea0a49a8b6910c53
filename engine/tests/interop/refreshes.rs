//! Route refresh with real routers, asked for by either side.

use crate::daemon::{Daemon, config, neighbor, policy};
use crate::exabgp::{Exabgp, REFRESH};
use crate::lab::{Lab, RINGBGP_V4, ROUTER_V4};
use crate::openbgpd::Openbgpd;
use crate::process::eventually;
use crate::router::{Router, RouterKind, RouterSpec, parse_json};

const OURS: [&str; 3] = ["10.0.1.0/24", "10.0.2.0/24", "10.0.3.0/24"];

/// Both sides ask each other for their routes again; nothing is lost, and nothing stays stale.
/// `bounded`: the router knows enhanced route refresh (RFC 7313). `of_neighbor`: what it needs to be
/// told for that.
fn refresh_each_other(kind: RouterKind, bounded: bool, of_neighbor: &'static str) {
    let Some(lab) = Lab::for_routers(&[kind]) else {
        return;
    };
    let spec = RouterSpec {
        announce: vec!["192.168.100.0/24", "192.168.101.0/24"],
        of_neighbor,
        ..RouterSpec::new(65002, 65001)
    };
    let families = format!(
        "import: all, families: [{{afi: ipv4, safi: unicast}}], capabilities: {{enhancedRefresh: \
         {bounded}}}"
    );
    let router = kind.start(&lab, &spec);
    let daemon = Daemon::start(
        Some(&lab.node),
        &[
            (
                "config.yaml",
                &config(65001, "", &[neighbor(ROUTER_V4, 65002, &families)]),
            ),
            ("policy.yaml", &policy("ours", &OURS)),
        ],
    );
    daemon.wait_established(ROUTER_V4);
    router.wait_for(&OURS);
    let received = ["routes", "received", "ipv4", "--peer", ROUTER_V4];
    daemon.wait_for_some_prefixes(&received, &spec.announce);

    let answer = daemon.ask(&["refresh", ROUTER_V4]).expect("it is asked");
    assert_eq!(answer["peers"], 1, "{answer}");
    if bounded {
        eventually("the router refreshes between bounds", || {
            let log = daemon.log();
            match log.contains("begins to refresh") && log.contains("has said its routes again") {
                true => Ok(()),
                false => Err("not yet".to_owned()),
            }
        });
    }
    daemon.wait_for_some_prefixes(&received, &spec.announce);
    let routes = daemon.ask(&received).expect("routes");
    let rows = routes.as_array().expect("rows");
    assert!(rows.iter().all(|row| row["stale"] == false), "{routes}");

    // What is told afterwards arrives behind the answer.
    router.ask_refresh();
    daemon.write("more.yaml", &policy("more", &["10.0.4.0/24"]));
    router.wait_for(&[OURS[0], OURS[1], OURS[2], "10.0.4.0/24"]);
    daemon.wait_established(ROUTER_V4);
}

// RFC-SHOWN 7313 §4
// INTEROP frr: refresh, enhanced refresh
#[test]
fn frr_refreshes_and_is_refreshed() {
    refresh_each_other(RouterKind::Frr, true, "");
}

// RFC-SHOWN 7313 §4
// INTEROP bird: refresh, enhanced refresh
#[test]
fn bird_refreshes_and_is_refreshed() {
    refresh_each_other(RouterKind::Bird, true, "");
}

// RFC-SHOWN 2918 §4
// INTEROP gobgp: refresh
#[test]
fn gobgp_refreshes_and_is_refreshed() {
    refresh_each_other(RouterKind::Gobgp, false, "");
}

// RFC-SHOWN 7313 §4
// INTEROP openbgpd: refresh out, enhanced refresh out
#[test]
fn openbgpd_is_refreshed_between_bounds() {
    let Some(lab) = Lab::for_routers(&[RouterKind::Openbgpd]) else {
        return;
    };
    let spec = RouterSpec {
        of_neighbor: "  announce enhanced refresh yes\n",
        ..RouterSpec::new(65002, 65001)
    };
    let openbgpd = Openbgpd::start(&lab, &spec);
    let daemon = start(&lab);
    daemon.wait_established(ROUTER_V4);
    (&openbgpd as &dyn Router).wait_for(&OURS);
    let received = || -> Result<[u64; 3], String> {
        let shown = openbgpd.bgpctl(&["show", "neighbor", RINGBGP_V4])?;
        let stats = &parse_json(&shown)?["neighbors"][0]["stats"];
        let bounds = &stats["route-refresh"]["received"];
        let counts = [
            &stats["message"]["received"]["updates"],
            &bounds["borr"],
            &bounds["eorr"],
        ];
        let counts: Option<Vec<u64>> = counts.iter().map(|count| count.as_u64()).collect();
        counts
            .and_then(|counts| counts.try_into().ok())
            .ok_or(shown)
    };
    let [updates, ..] = received().expect("OpenBGPD counts");
    openbgpd.ask_refresh();
    eventually("our routes come again, between bounds", || {
        let now = received()?;
        // Of two families, of which we have routes in one.
        match now[0] > updates && now[1..] == [2, 2] {
            true => Ok(()),
            false => Err(format!("{now:?} after {updates} UPDATEs")),
        }
    });
}

/// Asked, OpenBGPD 7.7 answers nothing: what it has to say next is new.
// INTEROP-LACKS openbgpd: refresh in: never answers, since it takes each family for one that was not negotiated
// INTEROP-LACKS openbgpd: enhanced refresh in: never answers, since it takes each family for one that was not negotiated
#[test]
fn openbgpd_answers_no_refresh() {
    for bounded in [false, true] {
        let Some(lab) = Lab::for_routers(&[RouterKind::Openbgpd]) else {
            return;
        };
        let spec = RouterSpec {
            of_neighbor: match bounded {
                true => "  announce enhanced refresh yes\n",
                false => "",
            },
            ..RouterSpec::new(65002, 65001)
        };
        let openbgpd = Openbgpd::start(&lab, &spec);
        let daemon = start(&lab);
        daemon.wait_established(ROUTER_V4);
        let received = ["routes", "received", "--peer", ROUTER_V4];
        daemon.wait_for_prefixes(&received, &spec.announce);
        let counts = || -> Result<[u64; 2], String> {
            let shown = openbgpd.bgpctl(&["show", "neighbor", RINGBGP_V4])?;
            let messages = &parse_json(&shown)?["neighbors"][0]["stats"]["message"];
            let counts = [
                &messages["sent"]["updates"],
                &messages["received"]["route_refresh"],
            ];
            let counts: Option<Vec<u64>> = counts.iter().map(|count| count.as_u64()).collect();
            counts
                .and_then(|counts| counts.try_into().ok())
                .ok_or(format!("{messages}"))
        };
        let [updates, asked] = counts().expect("OpenBGPD counts");
        daemon.ask(&["refresh", ROUTER_V4]).expect("it is asked");
        eventually("OpenBGPD is asked", || {
            let now = counts()?;
            // For two families.
            (now[1] == asked + 2)
                .then_some(())
                .ok_or(format!("{now:?}"))
        });
        let added = "192.168.200.0/24";
        openbgpd
            .bgpctl(&["network", "add", added])
            .expect("it announces one more");
        daemon.wait_for_some_prefixes(&received, &[added]);
        let [said, _] = counts().expect("OpenBGPD counts");
        assert_eq!(said, updates + 1, "only the new one");
        assert!(!daemon.log().contains("begins to refresh"));
    }
}

fn start(lab: &Lab) -> Daemon<'_> {
    let config = config(65001, "", &[neighbor(ROUTER_V4, 65002, "import: all")]);
    let manifests = [
        ("config.yaml", &*config),
        ("policy.yaml", &*policy("ours", &OURS)),
    ];
    Daemon::start(Some(&lab.node), &manifests)
}

const EXABGP_REFRESHES: &str = "  capability { route-refresh enable; }\n";

/// ExaBGP that offers refreshes and has our routes.
fn with_exabgp(lab: &Lab) -> (Exabgp, Daemon<'_>) {
    let spec = RouterSpec {
        of_neighbor: EXABGP_REFRESHES,
        ..RouterSpec::new(65002, 65001)
    };
    let exabgp = Exabgp::start(lab, &spec);
    let daemon = start(lab);
    daemon.wait_established(ROUTER_V4);
    (&exabgp as &dyn Router).wait_for(&OURS);
    (exabgp, daemon)
}

/// Without bounds, of which it knows nothing when it answers.
// INTEROP exabgp: refresh
#[test]
fn exabgp_refreshes_and_is_refreshed() {
    refresh_each_other(RouterKind::Exabgp, false, EXABGP_REFRESHES);
}

// RFC-SHOWN 7313 §4
// INTEROP exabgp: enhanced refresh out
#[test]
fn exabgp_is_refreshed_between_bounds() {
    let Some(lab) = Lab::for_routers(&[RouterKind::Exabgp]) else {
        return;
    };
    let (exabgp, _daemon) = with_exabgp(&lab);
    exabgp.ask_refresh();
    eventually("our routes come again, between bounds", || {
        let heard = exabgp.heard();
        let begin = heard.find("\"begin\"").ok_or("it does not begin")?;
        let rest = &heard[begin..];
        let end = rest.find("\"end\"").ok_or("it does not end")?;
        match OURS.iter().all(|prefix| rest[..end].contains(prefix)) {
            true => Ok(()),
            false => Err(rest.to_owned()),
        }
    });
}

/// An error of its own code, behind which it opens the next session.
// INTEROP-LACKS exabgp: enhanced refresh in: fails and ends the session when it is asked where bounds were negotiated
#[test]
fn exabgp_that_is_to_refresh_between_bounds_ends_the_session() {
    let Some(lab) = Lab::for_routers(&[RouterKind::Exabgp]) else {
        return;
    };
    let (exabgp, daemon) = with_exabgp(&lab);
    daemon.ask(&["refresh", ROUTER_V4]).expect("it is asked");
    eventually("ExaBGP ends the session", || {
        let heard = exabgp.heard();
        let asked = heard.find(REFRESH).ok_or("it is not asked")?;
        match heard[asked..].contains("\"state\": \"down\"") {
            true => Ok(()),
            false => Err(heard),
        }
    });
}
