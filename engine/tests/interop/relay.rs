//! ringbgp between two routers: as a transit router, a route reflector (RFC 4456) and a route
//! server (RFC 7947). What counts is what stands at the far end.

use std::net::Ipv4Addr;

use codec::{AttributeWriter, Origin};

use crate::daemon::{Daemon, config, neighbor};
use crate::lab::{Lab, RINGBGP_V4, ROUTER_V4, ROUTER_V6, SECOND_ROUTER_V4, SECOND_ROUTER_V6};
use crate::process::eventually;
use crate::router::{Learned, Router, RouterKind, RouterSpec};
use crate::scripted::{Addresses, Peer, RINGBGP_ASN};

const CLUSTER: &str = "192.0.2.77";
const MED: u32 = 7;
/// What each router alone announces: IPv4, and IPv6 where both can carry it.
const ALONE: [[&str; 2]; 2] = [
    ["192.168.100.0/24", "2001:db8:100::/48"],
    ["192.168.101.0/24", "2001:db8:101::/48"],
];
/// What both announce, where they do.
const COMMON: &str = "192.168.200.0/24";
const LOCAL: [[&str; 2]; 2] = [[ROUTER_V4, ROUTER_V6], [SECOND_ROUTER_V4, SECOND_ROUTER_V6]];

/// Two routers with ringbgp between them, which both import and export everything.
struct Scene<'lab> {
    asns: [u32; 2],
    /// Only the first of a router's own prefixes goes around.
    ipv4_only: bool,
    routers: Vec<Box<dyn Router>>,
    daemon: Daemon<'lab>,
}

impl<'lab> Scene<'lab> {
    /// `more` is said of both neighbors.
    fn start(
        lab: &'lab Lab,
        kinds: [RouterKind; 2],
        asns: [u32; 2],
        common: bool,
        more: &str,
    ) -> Scene<'lab> {
        let ipv4_only = kinds.contains(&RouterKind::Gobgp) || kinds.contains(&RouterKind::Exabgp);
        let router = |index: usize| {
            let mut announce = ALONE[index].to_vec();
            if ipv4_only {
                announce.truncate(1);
            }
            announce.extend(common.then_some(COMMON));
            let spec = RouterSpec {
                second: index == 1,
                med: Some(MED),
                announce,
                ..RouterSpec::new(asns[index], RINGBGP_ASN)
            };
            kinds[index].start(lab, &spec)
        };
        let routers = vec![router(0), router(1)];
        let text = both(asns, [more, more]);
        let daemon = Daemon::start(Some(&lab.node), &[("config.yaml", &text)]);
        for local in LOCAL {
            daemon.wait_established(local[0]);
        }
        Scene {
            asns,
            ipv4_only,
            routers,
            daemon,
        }
    }

    fn own(&self, router: usize) -> &'static [&'static str] {
        match self.ipv4_only {
            true => &ALONE[router][..1],
            false => &ALONE[router],
        }
    }

    /// Waits until each router holds what the other one announces, and hands on each route with
    /// the router that announced it and the index of the family.
    fn check(&self, more: &[&str], check: impl Fn(&Learned, usize, usize)) {
        for (router, other) in [(0, 1), (1, 0)] {
            let mut wanted = self.own(other).to_vec();
            wanted.extend(more);
            let table = self.routers[router].wait_for(&wanted);
            for prefix in wanted {
                check(&table[prefix], other, usize::from(prefix.contains(':')));
            }
        }
    }
}

fn both(asns: [u32; 2], more: [&str; 2]) -> String {
    let neighbors = [0, 1].map(|index| {
        let more = format!("import: all, export: all{}", more[index]);
        neighbor(LOCAL[index][0], asns[index], &more)
    });
    let options = format!("    clusterID: {CLUSTER}\n");
    config(RINGBGP_ASN, &options, &neighbors)
}

const PAIRS: [[RouterKind; 2]; 3] = [
    [RouterKind::Frr, RouterKind::Bird],
    [RouterKind::Openbgpd, RouterKind::Gobgp],
    [RouterKind::Exabgp, RouterKind::Bird],
];

#[test]
fn a_transit_router_puts_itself_between_two_ases() {
    for kinds in PAIRS {
        let Some(lab) = Lab::for_routers(&kinds) else {
            return;
        };
        let scene = Scene::start(&lab, kinds, [65002, 65003], false, "");
        scene.check(&[], |route, from, family| {
            assert_eq!(route.as_path, [RINGBGP_ASN, scene.asns[from]]);
            if family == 0 {
                assert_eq!(route.next_hop, RINGBGP_V4);
            }
            // RFC 4271 §5.1.4: a MED that came from outside goes no further.
            assert!(matches!(route.med, None | Some(0)), "{route:?}");
        });
    }
}

// INTEROP bird, frr, gobgp, openbgpd, exabgp: reflection
#[test]
fn a_reflector_tells_its_clients_of_each_other() {
    let client = ", routeReflectorClient: true";
    for kinds in PAIRS {
        let asns = [RINGBGP_ASN; 2];
        let Some(lab) = Lab::for_routers(&kinds) else {
            return;
        };
        let mut scene = Scene::start(&lab, kinds, asns, false, client);
        let reflected = |route: &Learned, from: usize, family: usize| {
            assert_eq!(route.originator_id.as_deref(), Some(LOCAL[from][0]));
            assert_eq!(route.cluster_list, [CLUSTER]);
            assert_eq!(route.next_hop, LOCAL[from][family], "unchanged");
            assert_eq!(route.as_path, [0; 0]);
            assert_eq!(route.med, Some(MED));
            assert_eq!(route.local_pref, Some(100));
        };
        scene.check(&[], reflected);
        let groups = LOCAL.map(|local| scene.daemon.wait_established(local[0])["group"].clone());
        // But for GoBGP and ExaBGP, which have sessions of one family here.
        let together = groups[0] == groups[1];
        assert_eq!(together, !scene.ipv4_only, "clients share one group");

        // Two that are no clients hear nothing of each other; one is enough for both.
        scene.daemon.write("config.yaml", &both(asns, ["", ""]));
        for router in &scene.routers {
            router.wait_for(&[]);
        }
        scene.daemon.write("config.yaml", &both(asns, [client, ""]));
        scene.check(&[], reflected);
        for local in LOCAL {
            let peer = scene.daemon.wait_established(local[0]);
            assert!(peer["lastError"].is_null(), "no session was reset: {peer}");
        }

        // A client that dies takes its routes along.
        scene.routers.pop();
        scene.routers[0].wait_for(&[]);
    }
}

// INTEROP bird, frr, gobgp, openbgpd, exabgp: route server
#[test]
fn a_route_server_is_not_there_in_what_it_passes_on() {
    for kinds in PAIRS {
        let asns = [65002, 65003];
        let Some(lab) = Lab::for_routers(&kinds) else {
            return;
        };
        let mut scene = Scene::start(&lab, kinds, asns, true, ", routeServerClient: true");
        // Each announces the common prefix too, and is told of the other's path to it.
        scene.check(&[COMMON], |route, from, family| {
            assert_eq!(route.as_path, [asns[from]]);
            assert_eq!(route.next_hop, LOCAL[from][family], "unchanged");
            assert_eq!(route.med, Some(MED));
            assert_eq!(route.originator_id, None);
        });
        // Which of the two is the best one is not what each of them is told.
        for (router, other) in [(0, 1), (1, 0)] {
            let question = ["routes", "advertised", "--peer", LOCAL[router][0], COMMON];
            let routes = scene.daemon.ask(&question).expect("an answer");
            assert_eq!(routes[0]["asPath"][0]["asns"][0], asns[other], "{routes}");
            assert_eq!(routes.as_array().map(Vec::len), Some(1), "{routes}");
        }
        scene.routers.pop();
        scene.routers[0].wait_for(&[]);
    }
}

/// The peer that says what went in circles.
const LOOPED: u8 = 10;
/// A client that hears what is left of it.
const CLIENT: u8 = 11;

// RFC-SHOWN 4456 §8
#[test]
fn what_was_reflected_here_before_is_refused() {
    let addresses = Addresses::new();
    let internal = |number| {
        let plain = addresses.neighbor(
            number,
            "import: all, export: all, routeReflectorClient: true",
        );
        plain.replace("peerASN: 65002", &format!("peerASN: {RINGBGP_ASN}"))
    };
    let options = format!("    clusterID: {CLUSTER}\n{}", addresses.options());
    let text = config(RINGBGP_ASN, &options, &[internal(LOOPED), internal(CLIENT)]);
    let daemon = Daemon::start(None, &[("config.yaml", &text)]);
    let mut looped = Peer::establish_internal(addresses, LOOPED);
    let mut client = Peer::establish_internal(addresses, CLIENT);

    let cluster: Ipv4Addr = CLUSTER.parse().expect("an address");
    let elsewhere = Ipv4Addr::new(192, 0, 2, 2);
    let router_id: Ipv4Addr = RINGBGP_V4.parse().expect("an address");
    let said: [(&str, Ipv4Addr, Ipv4Addr, Option<&str>); 3] = [
        (
            "10.9.1.0/24",
            router_id,
            elsewhere,
            Some("ORIGINATOR_ID is our router id"),
        ),
        (
            "10.9.2.0/24",
            elsewhere,
            cluster,
            Some("our cluster id stands in"),
        ),
        // Our router id is no cluster id while there is another.
        ("10.9.3.0/24", elsewhere, router_id, None),
    ];
    for (prefix, originator, cluster, _) in said {
        looped.send(&update(prefix, originator, cluster));
    }
    client.wait_for_prefixes(&["10.9.3.0/24"]);
    let from = addresses.host(LOOPED).to_string();
    for (prefix, _, _, words) in said {
        let route = eventually(&format!("{prefix} has come"), || {
            let routes = daemon.ask(&["routes", "received", "--peer", &from, prefix])?;
            match routes[0].is_null() {
                true => Err(routes.to_string()),
                false => Ok(routes[0].clone()),
            }
        });
        let rejected_by = route["rejectedBy"].as_str();
        assert_eq!(rejected_by.is_some(), words.is_some(), "{route}");
        assert!(
            rejected_by
                .unwrap_or_default()
                .contains(words.unwrap_or_default()),
            "{route}"
        );
    }
    assert!(
        looped.table.is_empty(),
        "nothing goes back to where it came from"
    );
}

fn update(prefix: &str, originator: Ipv4Addr, cluster: Ipv4Addr) -> Vec<u8> {
    let mut attributes = Vec::new();
    let mut writer = AttributeWriter::new(&mut attributes);
    writer.origin(Origin::Igp);
    writer.empty_as_path();
    writer.next_hop(Ipv4Addr::new(192, 0, 2, 9));
    writer.local_pref(100);
    writer.originator_id(originator);
    writer.cluster_list(&[cluster]);
    let (address, length) = prefix.split_once('/').expect("a prefix");
    let address: Ipv4Addr = address.parse().expect("an address");
    let length: u8 = length.parse().expect("a length");
    let mut nlri = Vec::new();
    codec::encode_nlri(codec::Ipv4Prefix::masked(address, length), None, &mut nlri);
    let mut octets = Vec::new();
    codec::encode_update(&attributes, &nlri, &mut octets);
    octets
}
