//! Graceful restart with real routers: they restart, and we do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::daemon::{Daemon, config, neighbor, policy};
use crate::lab::{Lab, ROUTER_V4};
use crate::process::eventually;
use crate::router::{Router, RouterKind, RouterSpec};

const OURS: [&str; 2] = ["10.0.1.0/24", "10.0.2.0/24"];
const THEIRS: [&str; 2] = ["192.168.100.0/24", "192.168.101.0/24"];

/// How often it is looked whether a route is lost.
const LOOK_EVERY: Duration = Duration::from_millis(50);

fn spec() -> RouterSpec {
    RouterSpec {
        graceful: true,
        announce: THEIRS.to_vec(),
        ..RouterSpec::new(65002, 65001)
    }
}

fn start<'lab>(lab: &'lab Lab, keeps_state: bool) -> Daemon<'lab> {
    let more = "import: all, gracefulRestart: {enabled: true}, families: [{afi: ipv4, safi: \
                unicast}]";
    let config = config(65001, "", &[neighbor(ROUTER_V4, 65002, more)]);
    let manifests = [
        ("config.yaml", &*config),
        ("policy.yaml", &*policy("ours", &OURS)),
    ];
    Daemon::start_keeping(Some(&lab.node), &manifests, keeps_state)
}

/// Looks again and again while `happens` goes on, and panics if it ever does not hold.
fn holds_while(look: impl Fn() -> Result<(), String> + Sync, happens: impl FnOnce()) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let mut looks = 0;
            while !over.load(Ordering::Relaxed) {
                if let Err(lost) = look() {
                    panic!("after {looks} looks: {lost}");
                }
                looks += 1;
                std::thread::sleep(LOOK_EVERY);
            }
            looks
        });
        happens();
        over.store(true, Ordering::Relaxed);
        let looks = looking.join().expect("no route is lost");
        assert!(looks > 5, "{looks} looks");
    });
}

fn has_theirs(daemon: &Daemon<'_>) -> Result<(), String> {
    let prefixes = daemon.prefixes(&["routes", "available"])?;
    match THEIRS
        .iter()
        .all(|wanted| prefixes.iter().any(|p| p == wanted))
    {
        true => Ok(()),
        false => Err(format!("ringbgp holds {prefixes:?}")),
    }
}

fn wait_until_nothing_is_stale(daemon: &Daemon<'_>) {
    eventually("nothing is stale", || {
        let routes = daemon.ask(&["routes", "available"])?;
        let mut rows = routes.as_array().into_iter().flatten();
        match rows.any(|row| row["stale"] == true) {
            true => Err(routes.to_string()),
            false => Ok(()),
        }
    });
}

/// The router is killed and started again, and none of its routes is lost meanwhile.
fn the_router_restarts(kind: RouterKind) {
    let Some(lab) = Lab::for_routers(&[kind]) else {
        return;
    };
    let spec = spec();
    let mut router = kind.start(&lab, &spec);
    let daemon = start(&lab, false);
    daemon.wait_established(ROUTER_V4);
    daemon.wait_for_some_prefixes(&["routes", "received"], &THEIRS);
    router.wait_for(&OURS);
    holds_while(
        || has_theirs(&daemon),
        || {
            router.crash_and_restart(&lab, &spec);
            eventually("the session is a new one", || {
                let log = daemon.log();
                match log.contains("has said its routes again") {
                    true => Ok(()),
                    false => Err(daemon.peer(ROUTER_V4)?.to_string()),
                }
            });
        },
    );
    wait_until_nothing_is_stale(&daemon);
    has_theirs(&daemon).expect("they are there");
    router.wait_for(&OURS);
}

// RFC-SHOWN 4724 §4.2
#[test]
fn frr_restarts_and_loses_no_route_here() {
    the_router_restarts(RouterKind::Frr);
}

// RFC-SHOWN 4724 §4.2
#[test]
fn bird_restarts_and_loses_no_route_here() {
    the_router_restarts(RouterKind::Bird);
}

// RFC-SHOWN 4724 §4.2
#[test]
fn gobgp_restarts_and_loses_no_route_here() {
    the_router_restarts(RouterKind::Gobgp);
}

fn holds_ours(router: &dyn Router) -> Result<(), String> {
    let table = router.learned()?;
    match OURS.iter().all(|wanted| table.contains_key(*wanted)) {
        true => Ok(()),
        false => Err(format!("the router holds {:?}", table.keys())),
    }
}

/// We are killed, then ended, and each time started again: the router never loses a route of ours.
fn we_restart(kind: RouterKind) {
    let Some(lab) = Lab::for_routers(&[kind]) else {
        return;
    };
    let router = kind.start(&lab, &spec());
    let mut daemon = start(&lab, true);
    daemon.wait_established(ROUTER_V4);
    router.wait_for(&OURS);
    daemon.wait_for_some_prefixes(&["routes", "received"], &THEIRS);
    eventually("the state is written", || {
        match daemon.state().join("state").exists() {
            true => Ok(()),
            false => Err("not yet".to_owned()),
        }
    });
    // Broken while nobody looks: its last good form counts after the restart too.
    daemon.write("policy.yaml", &policy("ours", &["10.0.1.0/99"]));
    let router = &*router;
    holds_while(
        || holds_ours(router),
        || {
            daemon.crash_and_restart();
            daemon.wait_established(ROUTER_V4);
            daemon.wait_for_some_prefixes(&["routes", "received"], &THEIRS);
            daemon.restart();
            daemon.wait_established(ROUTER_V4);
            daemon.wait_for_some_prefixes(&["routes", "received"], &THEIRS);
            // Everything that we have to say is there, and what is new comes behind it.
            daemon.write("more.yaml", &policy("more", &["10.0.3.0/24"]));
            router.wait_for(&[OURS[0], OURS[1], "10.0.3.0/24"]);
        },
    );
    assert!(
        daemon.log().contains("this is a restart"),
        "{}",
        daemon.log()
    );
}

// RFC-SHOWN 4724 §4.1
#[test]
fn we_restart_and_lose_no_route_at_frr() {
    we_restart(RouterKind::Frr);
}

// RFC-SHOWN 4724 §4.1
#[test]
fn we_restart_and_lose_no_route_at_bird() {
    we_restart(RouterKind::Bird);
}

// RFC-SHOWN 4724 §4.1
#[test]
fn we_restart_and_lose_no_route_at_gobgp() {
    we_restart(RouterKind::Gobgp);
}
