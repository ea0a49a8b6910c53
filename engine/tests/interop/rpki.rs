//! Origin validation by a cache that others wrote: what it says decides over routes, as policy has it;
//! its going and coming decides over nothing.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use codec::{AsPath, AttributeWriter, Ipv4Prefix, Origin};
use serde_json::Value;

use crate::daemon::{Daemon, config};
use crate::process::{DEADLINE, eventually, eventually_within};
use crate::scripted::{Addresses, PEER_ASN, Peer, RINGBGP_ASN};
use crate::stayrtr::{Stayrtr, Vrp};

const SENDER: u8 = 10;
const RECEIVER: u8 = 11;
const FIRST: u8 = 20;
const SECOND: u8 = 21;

/// What is invalid is refused.
const STRICT: &str = "apiVersion: ringbgp.io/v1alpha1
kind: RoutePolicy
metadata: {name: strict}
spec:
  defaultAction: Accept
  statements:
  - {name: invalid, match: {validationStates: [Invalid]}, action: Reject}
";

/// Where a cache of this test listens.
fn cache(addresses: Addresses, number: u8) -> SocketAddr {
    SocketAddr::from((addresses.host(number), 18_282))
}

/// The daemon's manifest, with caches by preference.
fn manifest(addresses: Addresses, caches: &[u8]) -> String {
    let mut options = addresses.options();
    let caches: Vec<String> = (1..)
        .zip(caches)
        .map(|(preference, number)| {
            let cache = cache(addresses, *number);
            let (address, port) = (cache.ip(), cache.port());
            format!("{{address: {address}, port: {port}, preference: {preference}}}")
        })
        .collect();
    options += &format!(
        "    rpki: {{caches: [{}], retrySeconds: 1}}\n",
        caches.join(", ")
    );
    config(
        RINGBGP_ASN,
        &options,
        &[
            addresses.neighbor(SENDER, "import: strict"),
            addresses.neighbor(RECEIVER, "export: all"),
        ],
    )
}

/// A daemon, a peer that says routes and one that is told them.
struct Scene {
    daemon: Daemon<'static>,
    sender: Peer,
    receiver: Peer,
}

impl Scene {
    fn start(addresses: Addresses, caches: &[u8]) -> Scene {
        let config = manifest(addresses, caches);
        let manifests = [("config.yaml", config.as_str()), ("policy.yaml", STRICT)];
        let daemon = Daemon::start(None, &manifests);
        Scene {
            daemon,
            sender: Peer::establish(addresses, SENDER),
            receiver: Peer::establish(addresses, RECEIVER),
        }
    }

    fn announce(&mut self, prefixes: &[String]) {
        let mut attributes = Vec::new();
        let mut writer = AttributeWriter::new(&mut attributes);
        writer.origin(Origin::Igp);
        writer.as_path(&AsPath::default(), &[PEER_ASN], true);
        writer.next_hop([192, 0, 2, 10].into());
        for prefixes in prefixes.chunks(200) {
            let mut nlri = Vec::new();
            for prefix in prefixes {
                let net: ipnet::Ipv4Net = prefix.parse().expect("a prefix");
                let prefix = Ipv4Prefix::masked(net.addr(), net.prefix_len());
                codec::encode_nlri(prefix, None, &mut nlri);
            }
            let mut message = Vec::new();
            codec::encode_update(&attributes, &nlri, &mut message);
            self.sender.send(&message);
        }
    }

    /// Announces a prefix and withdraws it again, and waits until the receiver has heard of both.
    fn change(&mut self, prefix: &str) {
        self.announce(&[prefix.to_owned()]);
        self.receiver.wait_for("what is new is told", |peer| {
            peer.table.contains_key(prefix)
        });
        self.sender.withdraw(prefix);
        self.receiver.wait_for("what is gone is told", |peer| {
            !peer.table.contains_key(prefix)
        });
    }

    /// Nothing was ever withdrawn from the receiver but these.
    fn only_withdrawn(&self, invalid: &BTreeSet<String>) {
        let mut withdrawn = self.receiver.withdrawn.difference(invalid);
        assert_eq!(withdrawn.next(), None, "it never was invalid");
    }

    /// Waits until the receiver holds exactly these.
    fn wait_for(&mut self, wanted: &BTreeSet<String>) {
        self.receiver
            .wait_for("what is not invalid is told", |peer| {
                peer.table.keys().eq(wanted)
            });
    }

    fn cache(&self, place: usize) -> Result<Value, String> {
        let rows = self.daemon.ask(&["rpki"])?;
        rows.get(place)
            .cloned()
            .ok_or_else(|| format!("no cache {place} in {rows}"))
    }

    /// Waits until a cache is in a state, and used or not.
    fn wait_for_cache(&self, place: usize, state: &str, in_use: bool) -> Value {
        eventually(&format!("cache {place} is {state}"), || {
            let row = self.cache(place)?;
            match row["state"] == state && row["inUse"] == in_use {
                true => Ok(row),
                false => Err(row.to_string()),
            }
        })
    }
}

fn prefixes(block: u8, count: usize) -> Vec<String> {
    (0..count)
        .map(|n| format!("{block}.{}.{}.0/24", n / 256, n % 256))
        .collect()
}

/// Every other prefix is the sender's, and the others somebody else's.
fn halves(prefixes: &[String], first: usize) -> Vec<Vrp<'_>> {
    let vrp = |(at, prefix)| {
        let asn = if at % 2 == first { PEER_ASN } else { 65_009 };
        (prefix, 24, asn)
    };
    prefixes
        .iter()
        .map(String::as_str)
        .enumerate()
        .map(vrp)
        .collect()
}

fn half(prefixes: &[String], first: usize) -> BTreeSet<String> {
    prefixes.iter().skip(first).step_by(2).cloned().collect()
}

// INTEROP stayrtr: version 1, new data in, killed in, restarted in
#[test]
fn a_cache_decides_is_killed_comes_back_and_changes_under_load() {
    let addresses = Addresses::new();
    let routes = prefixes(20, 1000);
    let address = cache(addresses, FIRST);
    let Some(mut stayrtr) = Stayrtr::start(address, 1, &halves(&routes, 0)) else {
        return;
    };
    let mut scene = Scene::start(addresses, &[FIRST]);
    // Until its VRPs are here every route is NotFound, and told.
    let row = scene.wait_for_cache(0, "synchronized", true);
    scene.announce(&routes);
    scene.wait_for(&half(&routes, 0));
    assert_eq!(
        (&row["ipv4VRPs"], &row["version"]),
        (&1000.into(), &1.into()),
        "{row}"
    );
    let shown = scene.daemon.ask(&["routes", "received", "20.0.1.0/24"]);
    let shown = shown.expect("the daemon answers");
    assert_eq!(shown[0]["validation"], "invalid", "{shown}");
    assert_eq!(
        shown[0]["rejectedBy"],
        "RoutePolicy strict, statement invalid"
    );
    let explained = scene.daemon.ask(&["explain", "20.0.0.0/24"]);
    let explained = explained.expect("the daemon answers");
    assert_eq!(explained[0]["vrps"][0]["asn"], PEER_ASN, "{explained}");
    assert_eq!(
        explained[0]["paths"][0]["validation"], "valid",
        "{explained}"
    );

    // New VRPs under load: other routes come meanwhile, which nobody vouches for.
    stayrtr.feed(&halves(&routes, 1));
    let more = prefixes(30, 20_000);
    for some in more.chunks(1000) {
        scene.announce(some);
    }
    let mut wanted = half(&routes, 1);
    wanted.extend(more);
    scene.wait_for(&wanted);
    scene.only_withdrawn(&half(&routes, 0));

    // It is gone: nothing else is, for as long as its data has not expired.
    stayrtr.kill();
    let row = scene.wait_for_cache(0, "waiting", true);
    assert_eq!(row["ipv4VRPs"], 1000, "{row}");
    assert!(row["expiresInSeconds"].as_u64() > Some(7000), "{row}");
    let (updates, withdrawn) = (scene.receiver.updates, scene.receiver.withdrawn.len());
    let sentinel = prefixes(40, 1);
    scene.announce(&sentinel);
    wanted.extend(sentinel);
    scene.wait_for(&wanted);
    assert_eq!(scene.receiver.updates, updates + 1);
    assert_eq!(scene.receiver.withdrawn.len(), withdrawn);

    // It is back as a new session, and says something else; other routes come meanwhile.
    stayrtr.feed(&halves(&routes, 0));
    stayrtr.run();
    let more = prefixes(50, 5000);
    for some in more.chunks(1000) {
        scene.announce(some);
    }
    for prefix in &routes {
        wanted.remove(prefix);
    }
    wanted.extend(half(&routes, 0));
    wanted.extend(more);
    scene.wait_for(&wanted);
    scene.only_withdrawn(&routes.iter().cloned().collect());

    // No cache, no state: everything is used.
    scene.daemon.write("config.yaml", &manifest(addresses, &[]));
    wanted.extend(routes);
    scene.wait_for(&wanted);
    let shown = scene.daemon.ask(&["routes", "received", "20.0.1.0/24"]);
    assert_eq!(
        shown.expect("the daemon answers")[0]["validation"],
        Value::Null
    );
}

/// Two caches that differ: each vouches for another half of the routes, and both for one more.
struct Pair {
    routes: Vec<String>,
    caches: [Stayrtr; 2],
    scene: Scene,
}

/// What both vouch for.
const STEADY: &str = "60.0.0.0/24";
/// What nobody vouches for.
const UNKNOWN: &str = "70.0.0.0/24";

impl Pair {
    /// The first says of itself to be asked that often. `None`: there is no stayrtr.
    fn start(refresh: u32) -> Option<Pair> {
        let addresses = Addresses::new();
        let routes = prefixes(20, 100);
        let start = |number, first| {
            let mut vrps = halves(&routes, first);
            vrps.push((STEADY, 24, PEER_ASN));
            Stayrtr::start(cache(addresses, number), 1, &vrps)
        };
        let mut caches = [start(FIRST, 0)?, start(SECOND, 1)?];
        caches[0].refresh = refresh;
        caches[0].run();
        let mut scene = Scene::start(addresses, &[FIRST, SECOND]);
        scene.wait_for_cache(0, "synchronized", true);
        scene.announce(&routes);
        scene.announce(&[STEADY.to_owned(), UNKNOWN.to_owned()]);
        let mut pair = Pair {
            routes,
            caches,
            scene,
        };
        pair.wait_for(0);
        pair.scene.wait_for_cache(1, "standby", false);
        Some(pair)
    }

    /// Waits until what counts is what this one says.
    fn wait_for(&mut self, cache: usize) {
        let mut wanted = half(&self.routes, cache);
        wanted.extend([STEADY.to_owned(), UNKNOWN.to_owned()]);
        self.scene.wait_for(&wanted);
    }

    /// The one that is preferred counts again, and nothing was withdrawn that is valid to both, or
    /// unknown.
    fn gives_back(mut self) {
        self.wait_for(0);
        self.scene.wait_for_cache(0, "synchronized", true);
        self.scene.wait_for_cache(1, "standby", false);
        let mut invalid: BTreeSet<String> = self.routes.iter().cloned().collect();
        invalid.insert(CHANGING.to_owned());
        self.scene.only_withdrawn(&invalid);
    }
}

/// What the sender announces and withdraws.
const CHANGING: &str = "80.0.0.0/24";

// INTEROP stayrtr: takes over in, gives back in
#[test]
fn the_next_cache_takes_over_and_gives_back() {
    let Some(mut pair) = Pair::start(3600) else {
        return;
    };
    pair.caches[0].kill();
    pair.wait_for(1);
    pair.scene.wait_for_cache(1, "synchronized", true);
    pair.caches[0].run();
    pair.gives_back();
}

/// It owes an answer for half a minute before it is given up.
// INTEROP stayrtr: hangs in, takes over in, gives back in
#[test]
fn a_cache_that_hangs_is_given_up_while_routes_change() {
    let Some(mut pair) = Pair::start(1) else {
        return;
    };
    pair.caches[0].hang(true);
    eventually_within(DEADLINE * 2, "the next one is asked", || {
        pair.scene.change(CHANGING);
        let [hung, next] = [pair.scene.cache(0)?, pair.scene.cache(1)?];
        let words = hung["lastError"].as_str().unwrap_or_default();
        match words.contains("stalls") {
            true => Ok(()),
            // Until then the data of the one that hangs counts.
            false if hung["inUse"] == true => Err(hung.to_string()),
            false => panic!("{hung}, {next}"),
        }
    });
    pair.wait_for(1);
    pair.scene.wait_for_cache(1, "synchronized", true);
    pair.scene.change(CHANGING);
    pair.caches[0].hang(false);
    pair.gives_back();
}

// INTEROP stayrtr: version 0
#[test]
fn a_cache_of_the_first_version_is_spoken_to_in_that() {
    let addresses = Addresses::new();
    let routes = prefixes(20, 10);
    let address = cache(addresses, FIRST);
    let Some(stayrtr) = Stayrtr::start(address, 0, &halves(&routes, 0)) else {
        return;
    };
    let mut scene = Scene::start(addresses, &[FIRST]);
    scene.announce(&routes);
    scene.wait_for(&half(&routes, 0));
    assert_eq!(scene.wait_for_cache(0, "synchronized", true)["version"], 0);
    stayrtr.feed(&halves(&routes, 1));
    scene.wait_for(&half(&routes, 1));
}
