//! Origin validation by a cache that others wrote: what it says decides over routes, as policy has it;
//! its going and coming decides over nothing.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use codec::{AsPath, AttributeWriter, Ipv4Prefix, Origin};
use serde_json::Value;

use crate::daemon::{Daemon, config};
use crate::process::eventually;
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

#[test]
fn a_cache_decides_is_killed_comes_back_and_changes_under_load() {
    let addresses = Addresses::new();
    let routes = prefixes(20, 1000);
    let address = cache(addresses, FIRST);
    let Some(mut stayrtr) = Stayrtr::start(address, 1, &halves(&routes, 0)) else {
        return;
    };
    let mut scene = Scene::start(addresses, &[FIRST]);
    scene.announce(&routes);
    scene.wait_for(&half(&routes, 0));
    let row = scene.wait_for_cache(0, "synchronized", true);
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

    // It is gone: nothing else is.
    stayrtr.kill();
    scene.wait_for_cache(0, "waiting", true);
    let (updates, withdrawn) = (scene.receiver.updates, scene.receiver.withdrawn.len());
    let sentinel = prefixes(40, 1);
    scene.announce(&sentinel);
    wanted.extend(sentinel);
    scene.wait_for(&wanted);
    assert_eq!(scene.receiver.updates, updates + 1);
    assert_eq!(scene.receiver.withdrawn.len(), withdrawn);

    // It is back as a new session, and says something else.
    stayrtr.feed(&halves(&routes, 0));
    stayrtr.run();
    for prefix in &routes {
        wanted.remove(prefix);
    }
    wanted.extend(half(&routes, 0));
    scene.wait_for(&wanted);

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

#[test]
fn the_next_cache_takes_over_and_gives_back() {
    let addresses = Addresses::new();
    let routes = prefixes(20, 100);
    let start =
        |number, first| Stayrtr::start(cache(addresses, number), 1, &halves(&routes, first));
    let (Some(mut first), Some(_second)) = (start(FIRST, 0), start(SECOND, 1)) else {
        return;
    };
    let mut scene = Scene::start(addresses, &[FIRST, SECOND]);
    scene.announce(&routes);
    scene.wait_for(&half(&routes, 0));
    scene.wait_for_cache(1, "standby", false);
    first.kill();
    scene.wait_for(&half(&routes, 1));
    scene.wait_for_cache(1, "synchronized", true);
    first.run();
    scene.wait_for(&half(&routes, 0));
    scene.wait_for_cache(0, "synchronized", true);
    scene.wait_for_cache(1, "standby", false);
}

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
