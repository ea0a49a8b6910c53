//! Graceful restart with real routers: they restart, and we do.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use codec::{Capability, Family, GracefulRestartFamily, Notification};
use engine::time::Clock;
use serde_json::Value;

use crate::daemon::{Daemon, config, neighbor, policy};
use crate::exabgp::Exabgp;
use crate::lab::{Lab, ROUTER_V4};
use crate::process::eventually;
use crate::router::{Router, RouterKind, RouterSpec};
use crate::scripted::{Addresses, End, Peer, RINGBGP_ASN};

const OURS: [&str; 2] = ["10.0.1.0/24", "10.0.2.0/24"];
const THEIRS: [&str; 2] = ["192.168.100.0/24", "192.168.101.0/24"];
/// What each side no longer says when it is back.
const NO_LONGER_OURS: &str = "10.0.9.0/24";
const NO_LONGER_THEIRS: &str = "192.168.109.0/24";

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

/// How many looks have begun and are over.
#[derive(Default)]
struct Looks {
    begun: AtomicUsize,
    over: AtomicUsize,
}

impl Looks {
    /// Waits for one that begins from now on.
    fn wait_for_one_more(&self) {
        let wanted = self.begun.load(Ordering::SeqCst) + 1;
        eventually("it was looked", || match self.over.load(Ordering::SeqCst) {
            over if over >= wanted => Ok(()),
            over => Err(format!("{over} looks of {wanted}")),
        });
    }
}

/// Looks again and again while `happens` goes on, and panics if it ever does not hold.
fn holds_while(look: impl Fn() -> Result<(), String> + Sync, happens: impl FnOnce(&Looks)) {
    let clock = Clock::system();
    let looks = Looks::default();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let begun = clock.now();
                let before = looks.begun.fetch_add(1, Ordering::SeqCst);
                if let Err(lost) = look() {
                    panic!("after {before} looks: {lost}");
                }
                looks.over.fetch_add(1, Ordering::SeqCst);
                let spent = clock.now().saturating_since(begun);
                std::thread::sleep(LOOK_EVERY.saturating_sub(spent));
            }
        });
        {
            let _over = Over(&over);
            happens(&looks);
        }
        looking.join().expect("no route is lost");
    });
}

/// Ends the looking, also where what happens panics.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
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

/// The router is killed and started again: none of its routes is lost meanwhile, and what it no longer
/// announces goes once it has said all.
fn the_router_restarts(kind: RouterKind) {
    let Some(lab) = Lab::for_routers(&[kind]) else {
        return;
    };
    let spec = spec();
    let mut before = spec.clone();
    before.announce.push(NO_LONGER_THEIRS);
    let mut router = kind.start(&lab, &before);
    let daemon = start(&lab, false);
    daemon.wait_established(ROUTER_V4);
    daemon.wait_for_some_prefixes(&["routes", "received"], &before.announce);
    router.wait_for(&OURS);
    holds_while(
        || has_theirs(&daemon),
        |looks| {
            let again = || daemon.log().matches("has said its routes again").count();
            let before = again();
            router.crash();
            looks.wait_for_one_more();
            router.restart(&lab, &spec);
            eventually("the session is a new one", || match again() > before {
                true => Ok(()),
                false => Err(daemon.peer(ROUTER_V4)?.to_string()),
            });
        },
    );
    wait_until_nothing_is_stale(&daemon);
    let all = [OURS, THEIRS].concat();
    daemon.wait_for_prefixes(&["routes", "available"], &all);
    router.wait_for(&OURS);
}

// RFC-SHOWN 4724 §4.2
// INTEROP frr: restart in
#[test]
fn frr_restarts_and_loses_no_route_here() {
    the_router_restarts(RouterKind::Frr);
}

// RFC-SHOWN 4724 §4.2
// INTEROP bird: restart in
#[test]
fn bird_restarts_and_loses_no_route_here() {
    the_router_restarts(RouterKind::Bird);
}

// RFC-SHOWN 4724 §4.2
// INTEROP gobgp: restart in
#[test]
fn gobgp_restarts_and_loses_no_route_here() {
    the_router_restarts(RouterKind::Gobgp);
}

// RFC-SHOWN 4724 §4.2
// INTEROP exabgp: restart in
#[test]
fn exabgp_restarts_and_loses_no_route_here() {
    the_router_restarts(RouterKind::Exabgp);
}

fn holds_ours(router: &dyn Router) -> Result<(), String> {
    let table = router.learned()?;
    match OURS.iter().all(|wanted| table.contains_key(*wanted)) {
        true => Ok(()),
        false => Err(format!("the router holds {:?}", table.keys())),
    }
}

/// We are killed, then ended, and each time started again: the router never loses a route of ours, and
/// what we no longer announce goes once we have said all.
fn we_restart(kind: RouterKind) {
    let Some(lab) = Lab::for_routers(&[kind]) else {
        return;
    };
    let router = kind.start(&lab, &spec());
    let mut daemon = start(&lab, true);
    daemon.write("gone.yaml", &policy("gone", &[NO_LONGER_OURS]));
    daemon.wait_established(ROUTER_V4);
    router.wait_for(&[OURS[0], OURS[1], NO_LONGER_OURS]);
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
        |looks| {
            daemon.crash();
            looks.wait_for_one_more();
            daemon.remove("gone.yaml");
            daemon.run();
            daemon.wait_established(ROUTER_V4);
            daemon.wait_for_some_prefixes(&["routes", "received"], &THEIRS);
            // A session that is lost again before End-of-RIB takes what was stale with it (RFC 4724
            // §4.2). The first of these may be told with the table, the second comes behind all.
            let mut told = OURS.to_vec();
            for (file, prefix) in [("more", "10.0.3.0/24"), ("last", "10.0.4.0/24")] {
                daemon.write(&format!("{file}.yaml"), &policy(file, &[prefix]));
                told.push(prefix);
                router.wait_for(&told);
            }
            daemon.restart();
            daemon.wait_established(ROUTER_V4);
            daemon.wait_for_some_prefixes(&["routes", "received"], &THEIRS);
            daemon.write("new.yaml", &policy("new", &["10.0.5.0/24"]));
            told.push("10.0.5.0/24");
            router.wait_for(&told);
        },
    );
    assert!(
        daemon.log().contains("this is a restart"),
        "{}",
        daemon.log()
    );
}

// RFC-SHOWN 4724 §4.1
// INTEROP frr: restart out
#[test]
fn we_restart_and_lose_no_route_at_frr() {
    we_restart(RouterKind::Frr);
}

// RFC-SHOWN 4724 §4.1
// INTEROP bird: restart out
#[test]
fn we_restart_and_lose_no_route_at_bird() {
    we_restart(RouterKind::Bird);
}

// RFC-SHOWN 4724 §4.1
// INTEROP gobgp: restart out
#[test]
fn we_restart_and_lose_no_route_at_gobgp() {
    we_restart(RouterKind::Gobgp);
}

/// It keeps no table: the program that it hands routes to hears that all is gone.
// INTEROP-LACKS exabgp: restart out: keeps no routes for us, its program hears at once that we are down
#[test]
fn we_restart_and_exabgp_keeps_nothing() {
    let Some(lab) = Lab::for_routers(&[RouterKind::Exabgp]) else {
        return;
    };
    let exabgp = Exabgp::start(&lab, &spec());
    let router: &dyn Router = &exabgp;
    let daemon = settled(&lab, router);
    // It says so too of attempts before the daemon listens.
    let downs = || exabgp.heard().matches(r#""state": "down""#).count();
    let before = downs();
    drop(daemon);
    eventually("ExaBGP hands on that we are gone", || {
        match downs() > before {
            true => Ok(()),
            false => Err(exabgp.heard()),
        }
    });
}

// RFC-SHOWN 4724 §4.1
// INTEROP openbgpd: restart out
#[test]
fn we_restart_and_lose_no_route_at_openbgpd() {
    we_restart(RouterKind::Openbgpd);
}

/// Waits until of the router's routes all or none are there, marked as long-lived stale ones or not.
fn wait_for_theirs(daemon: &Daemon<'_>, count: usize, long_lived: bool) {
    eventually(&format!("{count} routes, long-lived: {long_lived}"), || {
        let routes = daemon.ask(&["routes", "available"])?;
        let rows = routes.as_array().into_iter().flatten();
        let is_theirs = |row: &&Value| THEIRS.iter().any(|prefix| row["prefix"] == *prefix);
        let is_marked = |row: &&Value| {
            let communities = row["communities"].as_array().into_iter().flatten();
            let mut marks = communities.filter(|community| **community == "65535:6");
            marks.next().is_some() && row["stale"] == true
        };
        let theirs: Vec<&Value> = rows.filter(is_theirs).collect();
        let marked = theirs.iter().copied().filter(&is_marked).count();
        let wanted = if long_lived { count } else { 0 };
        match (theirs.len(), marked) == (count, wanted) {
            true => Ok(()),
            false => Err(routes.to_string()),
        }
    });
}

/// A router that is killed and stays away: its routes stay, marked, for their long time, and go then.
fn the_router_stays_away(kind: RouterKind) {
    let Some(lab) = Lab::for_routers(&[kind]) else {
        return;
    };
    let spec = RouterSpec {
        long_lived: Some((1, 4)),
        ..spec()
    };
    let mut router = kind.start(&lab, &spec);
    let more = "import: all, longLivedGracefulRestart: {enabled: true}, families: [{afi: ipv4, safi: \
                unicast}]";
    let config = config(65001, "", &[neighbor(ROUTER_V4, 65002, more)]);
    let daemon = Daemon::start(Some(&lab.node), &[("config.yaml", &config)]);
    daemon.wait_established(ROUTER_V4);
    wait_for_theirs(&daemon, 2, false);
    router.crash();
    wait_for_theirs(&daemon, 2, true);
    wait_for_theirs(&daemon, 0, false);
}

// RFC-SHOWN 9494 §4.2
// INTEROP frr: long-lived restart in
#[test]
fn frr_stays_away_and_its_routes_stay_for_long() {
    the_router_stays_away(RouterKind::Frr);
}

// RFC-SHOWN 9494 §4.2
// INTEROP bird: long-lived restart in
#[test]
fn bird_stays_away_and_its_routes_stay_for_long() {
    the_router_stays_away(RouterKind::Bird);
}

// RFC-SHOWN 9494 §4.2
// INTEROP gobgp: long-lived restart in
#[test]
fn gobgp_stays_away_and_its_routes_stay_for_long() {
    the_router_stays_away(RouterKind::Gobgp);
}

/// Waits until the router holds our routes, or none of them, and they are marked as long-lived stale
/// ones or not.
fn wait_for_ours(router: &dyn Router, held: bool, marked: bool) {
    eventually(&format!("ours: {held}, long-lived: {marked}"), || {
        let table = router.learned()?;
        let ours: Vec<_> = OURS
            .iter()
            .filter_map(|prefix| table.get(*prefix))
            .collect();
        let is_mark = |text: &String| ["65535:6", "llgr-stale"].contains(&text.as_str());
        let marks = ours
            .iter()
            .filter(|route| route.communities.iter().any(is_mark));
        let wanted = |yes: bool| if yes { OURS.len() } else { 0 };
        match (ours.len(), marks.count()) == (wanted(held), wanted(marked)) {
            true => Ok(()),
            false => Err(format!("{table:?}; {}", router.session())),
        }
    });
}

/// We are killed and stay away: our routes stay with the router, marked, for their long time.
fn we_stay_away(kind: RouterKind) {
    let Some(lab) = Lab::for_routers(&[kind]) else {
        return;
    };
    let spec = RouterSpec {
        long_lived: Some((60, 60)),
        ..spec()
    };
    let router = kind.start(&lab, &spec);
    let more = "import: all, gracefulRestart: {enabled: true, restartTimeSeconds: 1}, \
                longLivedGracefulRestart: {enabled: true, staleTimeSeconds: 4}, families: [{afi: \
                ipv4, safi: unicast}]";
    let config = config(65001, "", &[neighbor(ROUTER_V4, 65002, more)]);
    let manifests = [
        ("config.yaml", &*config),
        ("policy.yaml", &*policy("ours", &OURS)),
    ];
    let daemon = Daemon::start(Some(&lab.node), &manifests);
    daemon.wait_established(ROUTER_V4);
    wait_for_ours(&*router, true, false);
    drop(daemon);
    wait_for_ours(&*router, true, true);
    wait_for_ours(&*router, false, false);
}

// RFC-SHOWN 9494 §3.1
// INTEROP frr: long-lived restart out
#[test]
fn we_stay_away_and_frr_keeps_our_routes_for_long() {
    we_stay_away(RouterKind::Frr);
}

// RFC-SHOWN 9494 §3.1
// INTEROP bird: long-lived restart out
#[test]
fn we_stay_away_and_bird_keeps_our_routes_for_long() {
    we_stay_away(RouterKind::Bird);
}

// RFC-SHOWN 9494 §3.1
// INTEROP gobgp: long-lived restart out
#[test]
fn we_stay_away_and_gobgp_keeps_our_routes_for_long() {
    we_stay_away(RouterKind::Gobgp);
}

/// A session of a router that restarts gracefully, over a NOTIFICATION too; both have said all.
fn settled<'lab>(lab: &'lab Lab, router: &dyn Router) -> Daemon<'lab> {
    let daemon = start(lab, false);
    daemon.wait_established(ROUTER_V4);
    router.wait_for(&OURS);
    daemon.wait_for_some_prefixes(&["routes", "received"], &THEIRS);
    daemon
}

/// The router resets the session by a NOTIFICATION that is no Hard Reset: its routes stay.
/// `comes_back`: it is waited for, until it has said them again.
fn its_notification_takes_nothing(kind: RouterKind, comes_back: bool) {
    let Some(lab) = Lab::for_routers(&[kind]) else {
        return;
    };
    let router = kind.start(&lab, &spec());
    let daemon = settled(&lab, &*router);
    router.reset();
    eventually("its routes are stale", || {
        match stale_routes(&daemon)? >= THEIRS.len() {
            true => Ok(()),
            false => Err(daemon.peer(ROUTER_V4)?.to_string()),
        }
    });
    has_theirs(&daemon).expect("they are there");
    daemon.wait_for_error(ROUTER_V4, &["Cease/Administrative Reset"]);
    if !comes_back {
        return;
    }
    daemon.wait_established(ROUTER_V4);
    wait_until_nothing_is_stale(&daemon);
    daemon.wait_for_some_prefixes(&["routes", "received"], &THEIRS);
}

/// We close the session with Cease/Other Configuration Change, and the router keeps our routes until it
/// is up again.
fn our_notification_takes_nothing(kind: RouterKind) {
    let Some(lab) = Lab::for_routers(&[kind]) else {
        return;
    };
    let router = kind.start(&lab, &spec());
    let daemon = settled(&lab, &*router);
    let config = daemon.manifests().join("config.yaml");
    let text = std::fs::read_to_string(config).expect("the configuration is there");
    let changed = text.replace("timers: {", "timers: {holdTimeSeconds: 60, ");
    let router = &*router;
    holds_while(
        || holds_ours(router),
        |looks| {
            daemon.write("config.yaml", &changed);
            eventually("the session is closed", || {
                let log = daemon.log();
                match log.contains("was closed with Cease/Other Configuration Change") {
                    true => Ok(()),
                    false => Err(daemon.peer(ROUTER_V4)?.to_string()),
                }
            });
            looks.wait_for_one_more();
            daemon.wait_established(ROUTER_V4);
            daemon.wait_for_some_prefixes(&["routes", "received"], &THEIRS);
        },
    );
}

// RFC-SHOWN 8538 §4
// INTEROP gobgp: notification
#[test]
fn a_notification_takes_nothing_with_gobgp() {
    // It takes half a minute off after a reset of its own.
    its_notification_takes_nothing(RouterKind::Gobgp, false);
    our_notification_takes_nothing(RouterKind::Gobgp);
}

// RFC-SHOWN 8538 §4
// INTEROP frr: notification
#[test]
fn a_notification_takes_nothing_with_frr() {
    its_notification_takes_nothing(RouterKind::Frr, true);
    our_notification_takes_nothing(RouterKind::Frr);
}

/// Both keep routes over a NOTIFICATION, but a Hard Reset takes them: the end that either side's operator
/// makes of the session. Restart times are longer than anything is waited for here.
/// `its`: the router knows how to send one; without that its routes stay.
fn a_hard_reset_takes_all(kind: RouterKind, of_neighbor: &'static str, its: bool) {
    let Some(lab) = Lab::for_routers(&[kind]) else {
        return;
    };
    let spec = RouterSpec {
        of_neighbor,
        ..spec()
    };
    let router = kind.start(&lab, &spec);
    let daemon = settled(&lab, &*router);
    let file = daemon.manifests().join("config.yaml");
    let text = std::fs::read_to_string(file).expect("the configuration is there");
    let (without, _) = text.split_once("    - {peer").expect("a neighbor");
    daemon.write(
        "config.yaml",
        &without.replace("neighbors:", "neighbors: []"),
    );
    router.wait_for(&[]);

    daemon.write("config.yaml", &text);
    daemon.wait_established(ROUTER_V4);
    daemon.wait_for_some_prefixes(&["routes", "received"], &THEIRS);
    router.shut_down();
    daemon.wait_for_error(ROUTER_V4, &["Administrative Shutdown"]);
    if its {
        daemon.wait_for_prefixes(&["routes", "available"], &OURS);
    } else {
        assert_eq!(stale_routes(&daemon), Ok(THEIRS.len()));
    }
}

// RFC-SHOWN 8538 §3.1
// INTEROP frr: hard reset
#[test]
fn a_hard_reset_takes_all_with_frr() {
    a_hard_reset_takes_all(RouterKind::Frr, " bgp hard-administrative-reset", true);
}

// RFC-SHOWN 8538 §3.1
// INTEROP gobgp: hard reset out
// INTEROP-LACKS gobgp: hard reset in: sends none, but a plain Cease, so that its routes stay when it is shut down
#[test]
fn a_hard_reset_takes_all_with_gobgp() {
    a_hard_reset_takes_all(RouterKind::Gobgp, "", false);
}

/// What a scripted peer offers: both families kept over a NOTIFICATION too.
fn offers(restarting: bool) -> [Capability; 1] {
    let families = Family::ALL.map(|family| GracefulRestartFamily {
        afi: family.afi(),
        safi: family.safi(),
        forwarding: restarting,
    });
    [Capability::GracefulRestart {
        restarting,
        notification: true,
        restart_time: 100,
        families: families.to_vec(),
    }]
}

const PEER: u8 = 10;

fn scripted(options: &str) -> (Daemon<'static>, Addresses) {
    let addresses = Addresses::new();
    let more = format!("import: all{options}");
    let neighbor = addresses.neighbor(PEER, &more);
    let config = config(RINGBGP_ASN, &addresses.options(), &[neighbor]);
    let manifests = [
        ("config.yaml", &*config),
        ("policy.yaml", &*policy("ours", &OURS)),
    ];
    (Daemon::start(None, &manifests), addresses)
}

fn stale_routes(daemon: &Daemon<'_>) -> Result<usize, String> {
    let routes = daemon.ask(&["routes", "available"])?;
    let rows = routes.as_array().into_iter().flatten();
    Ok(rows.filter(|row| row["stale"] == true).count())
}

// RFC-SHOWN 8538 §3.1
// INTEROP scripted: hard reset out
#[test]
fn a_reset_is_a_hard_one_where_both_keep_routes_over_a_notification() {
    let (daemon, addresses) = scripted("");
    let mut peer = Peer::establish_offering(addresses, PEER, &offers(false));
    peer.announce("203.0.113.0/24");
    daemon.wait_for_some_prefixes(&["routes", "available"], &["203.0.113.0/24"]);
    daemon
        .ask(&["reset", &addresses.host(PEER).to_string()])
        .expect("it is reset");
    let End::Notification(notification) = peer.wait_for_end() else {
        panic!("closed without a word");
    };
    let reason = notification.hard_reset_reason().expect("a hard reset");
    assert_eq!((reason.code, reason.subcode), (6, 4), "{notification}");
    daemon.wait_for_prefixes(&["routes", "available"], &OURS);
}

// RFC-SHOWN 8538 §3.1
// INTEROP scripted: hard reset in
#[test]
fn a_hard_reset_of_the_peer_takes_its_routes_and_another_notification_does_not() {
    let (daemon, addresses) = scripted("");
    let end = |notification: Notification| {
        let mut peer = Peer::establish_offering(addresses, PEER, &offers(true));
        peer.announce("203.0.113.0/24");
        daemon.wait_for_some_prefixes(&["routes", "available"], &["203.0.113.0/24"]);
        let mut octets = Vec::new();
        codec::encode_notification(&notification, &mut octets);
        peer.send(&octets);
        assert_eq!(peer.wait_for_end(), End::Closed);
    };
    let shutdown = Notification::cease(2).with_shutdown_communication("new line card");
    end(Notification::cease(4));
    eventually("the route is stale", || match stale_routes(&daemon)? {
        1 => Ok(()),
        count => Err(format!("{count} are")),
    });
    end(shutdown.in_hard_reset());
    daemon.wait_for_prefixes(&["routes", "available"], &OURS);
    let peer = addresses.host(PEER).to_string();
    daemon.wait_for_error(&peer, &["new line card"]);
}

// RFC-SHOWN 4724 §4
#[test]
fn the_end_of_the_process_is_no_notification_to_who_keeps_our_routes() {
    for (options, words) in [
        (", gracefulRestart: {enabled: true}", None),
        ("", Some((6, 2))),
    ] {
        let (mut daemon, addresses) = scripted(options);
        let mut peer = Peer::establish_offering(addresses, PEER, &offers(false));
        peer.wait_for_prefixes(&OURS);
        assert_eq!(daemon.terminate(), Some(0));
        let said = match peer.wait_for_end() {
            End::Closed => None,
            End::Notification(said) => Some((said.code, said.subcode)),
        };
        assert_eq!(said, words, "{options}");
        assert!(peer.withdrawn.is_empty(), "{:?}", peer.withdrawn);
    }
}

/// Killed and started again with nobody who was asked to keep our routes: a neighbor that cannot be
/// reached delays no other one, however long it would be waited for.
#[test]
fn after_a_crash_a_neighbor_that_is_away_delays_nobody_where_none_keeps_our_routes() {
    let addresses = Addresses::new();
    let waits = "import: all, gracefulRestart: {selectionDeferralSeconds: 3600}";
    let neighbors = [PEER, PEER + 1].map(|number| addresses.neighbor(number, waits));
    let config = config(RINGBGP_ASN, &addresses.options(), &neighbors);
    let manifests = [
        ("config.yaml", &*config),
        ("policy.yaml", &*policy("ours", &OURS)),
    ];
    let mut daemon = Daemon::start_keeping(None, &manifests, true);
    eventually("the state is written", || {
        match daemon.state().join("state").exists() {
            true => Ok(()),
            false => Err("not yet".to_owned()),
        }
    });
    daemon.crash_and_restart();
    let mut peer = Peer::establish(addresses, PEER);
    peer.wait_for_prefixes(&OURS);
    assert!(
        daemon.log().contains("this is a restart"),
        "{}",
        daemon.log()
    );
}
