//! Two engines in one process that speak BGP over the loopback network.

mod reflector;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use codec::{FamilySet, IpPrefix};

use super::*;
use crate::admin::api::{ApiError, EngineApi};
use crate::admin::model::{
    DrainQuery, ExplainQuery, Peer, PeerState, PeersQuery, ResetQuery, RoutesKind, RoutesQuery,
    parse_prefix,
};
use crate::config::{
    DesiredState, DynamicNeighbors, Import, Instance, InstanceId, Neighbor, Origin,
    OriginAttributes, Password, diff, some_neighbor,
};

/// An engine with the state it was last told of.
struct Node {
    engine: Engine,
    dispatcher: Dispatcher,
    state: DesiredState,
    address: SocketAddr,
}

const INSTANCE: InstanceId = InstanceId(0);

impl Node {
    fn start(io: IoMode, shards: u8, address: SocketAddr) -> Node {
        let (engine, dispatcher) = Engine::start(&EngineOptions {
            shards: Some(shards),
            pin: false,
            io,
            deferral: Default::default(),
        })
        .unwrap();
        Node {
            engine,
            dispatcher,
            state: DesiredState::default(),
            address,
        }
    }

    fn change(&mut self, change: impl FnOnce(&mut Instance)) {
        let mut state = self.state.clone();
        let router_id = match self.address.ip() {
            IpAddr::V4(address) => address,
            IpAddr::V6(_) => Ipv4Addr::new(10, 0, 0, 6),
        };
        let instance = state.instances.entry(INSTANCE).or_insert_with(|| Instance {
            listen: vec![self.address],
            ..Instance::new(router_id)
        });
        change(instance);
        self.dispatcher.dispatch(diff(&self.state, &state));
        self.state = state;
    }

    fn originate(&mut self, count: u16, local_preference: u32) {
        let attributes = Arc::new(OriginAttributes {
            communities: vec![],
            large_communities: vec![],
            local_preference,
        });
        self.change(|instance| {
            instance.origins = (0..count)
                .map(|number| {
                    let origin = Origin {
                        attributes: Arc::clone(&attributes),
                        sources: vec![],
                        kinds: crate::policy::Sources::NETWORK_POLICY,
                    };
                    (route(number), origin)
                })
                .collect();
        });
    }

    fn ask<T, F: Future<Output = T>>(&self, question: impl FnOnce(EngineHandle) -> F) -> T {
        self.engine
            .control()
            .block_on(question(self.engine.handle()))
    }

    fn peer(&self) -> Option<Peer> {
        let query = PeersQuery::default();
        let peers = self.ask(|handle| async move { handle.peers(query).await });
        peers.unwrap().into_iter().next()
    }

    fn is_established(&self) -> bool {
        self.peer()
            .is_some_and(|peer| peer.state == PeerState::Established)
    }

    /// How many routes a table has, over all its pages.
    fn count(&self, kind: RoutesKind) -> usize {
        let mut query = RoutesQuery::all(kind);
        let mut count = 0;
        loop {
            let page = query.clone();
            let reply = self
                .ask(|handle| async move { handle.routes(page).await })
                .unwrap();
            count += reply.routes.len();
            match reply.more {
                Some(more) => query.cursor = Some(more),
                None => return count,
            }
        }
    }
}

fn route(number: u16) -> IpPrefix {
    let [high, low] = number.to_be_bytes();
    parse_prefix(&format!("10.{high}.{low}.0/24")).unwrap()
}

/// Asks until it is so, for at most 20 s.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("not in time: {what}");
}

fn free_address(last: u8) -> SocketAddr {
    let address = Ipv4Addr::new(127, 11, std::process::id() as u8, last);
    let probe = TcpListener::bind((address, 0)).unwrap();
    probe.local_addr().unwrap()
}

/// The neighbor that `to` is for an engine at `from`.
fn towards(from: SocketAddr, to: SocketAddr, local_asn: u32, peer_asn: u32) -> Neighbor {
    let mut towards = some_neighbor(&to.ip().to_string());
    towards.port = to.port();
    towards.local_address = Some(from.ip());
    towards.local_asn = local_asn;
    towards.own_asns = Arc::from([local_asn]);
    towards.peer_asn = crate::config::PeerAsn::Number(peer_asn);
    towards.families = FamilySet::ALL;
    towards.import = Import::All;
    towards.next_hop_ipv4 = Some(own_next_hop(from));
    towards.timers.connect_retry = Duration::from_secs(1);
    if let IpAddr::V4(address) = from.ip() {
        towards.router_id = address;
    }
    towards
}

/// What an engine tells as its next hop: one that is no other engine's.
fn own_next_hop(of: SocketAddr) -> Ipv4Addr {
    let last = match of.ip() {
        IpAddr::V4(address) => address.octets()[3],
        IpAddr::V6(address) => address.octets()[15],
    };
    Ipv4Addr::new(192, 0, 2, last)
}

fn insert(node: &mut Node, neighbor: Neighbor) {
    node.change(|instance| {
        instance
            .neighbors
            .insert(neighbor.address, Arc::new(neighbor));
    });
}

fn modes() -> Vec<IoMode> {
    let mut modes = vec![IoMode::Uring, IoMode::Epoll];
    modes.retain(|mode| match choose(*mode) {
        Ok(_) => true,
        Err(why) => {
            println!("skipped: {why}");
            false
        }
    });
    modes
}

#[test]
fn two_engines_tell_each_other_their_routes() {
    for (index, io) in modes().into_iter().enumerate() {
        for (shards, peer_asn) in [(1, 65001), (3, 65002)] {
            let last = (index * 8 + usize::from(shards) * 2) as u8;
            let (left, right) = (free_address(last), free_address(last + 1));
            let mut one = Node::start(io, shards, left);
            let mut other = Node::start(io, 1, right);
            one.originate(2000, 100);
            insert(&mut one, towards(left, right, 65001, peer_asn));
            insert(&mut other, towards(right, left, peer_asn, 65001));
            until("established", || {
                one.is_established() && other.is_established()
            });
            until("all routes", || other.count(RoutesKind::Available) == 2000);
            until("counted", || one.count(RoutesKind::Advertised) == 2000);
            assert_eq!(other.count(RoutesKind::Received), 2000);

            one.originate(1500, 100);
            until("withdrawn", || other.count(RoutesKind::Available) == 1500);

            let query = ExplainQuery {
                instance: None,
                prefix: route(7),
            };
            let explained = one.ask(|handle| async move { handle.explain(query).await });
            assert!(explained.unwrap()[0].announced);

            let reset = ResetQuery::default();
            let reset = one.ask(|handle| async move { handle.reset(reset).await });
            assert_eq!(reset.unwrap().peers, 1);
            until("up again", || {
                one.is_established() && other.count(RoutesKind::Available) == 1500
            });

            one.change(|instance| instance.neighbors.clear());
            until("gone", || other.count(RoutesKind::Available) == 0);
            let words = other.peer().unwrap().last_error.unwrap();
            assert!(words.contains("Peer De-configured"), "{words}");

            let clock = Clock::system();
            drop((one, other));
            let took = clock.now().saturating_since(crate::time::Time(0));
            assert!(took < Duration::from_secs(2), "took {took:?}");
        }
    }
}

#[test]
fn a_stopped_engine_says_so_to_its_peers() {
    for (index, io) in modes().into_iter().enumerate() {
        let last = 100 + index as u8 * 2;
        let (left, right) = (free_address(last), free_address(last + 1));
        let mut one = Node::start(io, 2, left);
        let mut other = Node::start(io, 2, right);
        insert(&mut one, towards(left, right, 65001, 65002));
        insert(&mut other, towards(right, left, 65002, 65001));
        until("established", || {
            one.is_established() && other.is_established()
        });
        drop(one);
        until("down", || !other.is_established());
        let words = other.peer().unwrap().last_error.unwrap();
        assert!(words.contains("Administrative Shutdown"), "{words}");
    }
}

#[test]
fn a_password_is_changed_under_a_live_session() {
    for (index, io) in modes().into_iter().enumerate() {
        let last = 150 + index as u8 * 2;
        let (left, right) = (free_address(last), free_address(last + 1));
        let mut one = Node::start(io, 1, left);
        let mut other = Node::start(io, 1, right);
        let signed = |key: &[u8]| {
            let mut pair = [
                towards(left, right, 65001, 65001),
                towards(right, left, 65001, 65001),
            ];
            for neighbor in &mut pair {
                neighbor.password = Password::Key(key.into());
                neighbor.ttl_security = true;
            }
            pair
        };
        let [a, b] = signed(b"first");
        insert(&mut one, a);
        insert(&mut other, b);
        until("established", || {
            one.is_established() && other.is_established()
        });
        let uptimes = |one: &Node, other: &Node| {
            [one, other].map(|node| node.peer().and_then(|peer| peer.uptime_seconds))
        };
        // A session that was reset would count from 0 again.
        until("up for a while", || {
            uptimes(&one, &other).iter().all(|up| *up >= Some(2))
        });
        let [a, b] = signed(b"second");
        insert(&mut one, a);
        insert(&mut other, b);
        one.originate(10, 100);
        until("told", || other.count(RoutesKind::Available) == 10);
        let after = uptimes(&one, &other);
        assert!(after.iter().all(|up| *up >= Some(2)), "{after:?}");
    }
}

#[test]
fn what_the_engine_does_not_know_is_not_found() {
    let address = free_address(200);
    let mut node = Node::start(IoMode::Auto, 2, address);
    node.change(|_| {});
    let unknown = Some("10.9.9.9".parse().unwrap());
    let routes = RoutesQuery {
        peer: unknown,
        ..RoutesQuery::all(RoutesKind::Received)
    };
    let routes = node.ask(|handle| async move { handle.routes(routes).await });
    assert!(matches!(routes, Err(ApiError::NotFound(_))));
    let peers = PeersQuery {
        instance: Some("nobody".to_owned()),
    };
    let peers = node.ask(|handle| async move { handle.peers(peers).await });
    assert!(matches!(peers, Err(ApiError::NotFound(_))));
    let query = ExplainQuery {
        instance: None,
        prefix: route(1),
    };
    let explained = node.ask(|handle| async move { handle.explain(query).await });
    assert!(matches!(explained, Err(ApiError::NotFound(_))));
}

#[test]
fn an_address_within_a_prefix_is_undrained_while_nobody_has_it() {
    let address = free_address(214);
    let mut node = Node::start(IoMode::Auto, 3, address);
    node.change(|instance| {
        let prefix = parse_prefix("10.9.0.0/24").unwrap();
        let range = DynamicNeighbors {
            prefix,
            max_peers: 9,
            settings: some_neighbor("10.9.0.0"),
        };
        instance.dynamic_neighbors.insert(prefix, Arc::new(range));
    });
    let drain = |peer: Option<&str>, wait_seconds| {
        let query = DrainQuery {
            instance: None,
            peer: peer.map(|peer| peer.parse().unwrap()),
            wait_seconds,
        };
        let reply = node.ask(|handle| async move { handle.drain(query).await });
        reply.map(|reply| reply.peers)
    };
    let is_unknown = |peer| matches!(drain(Some(peer), None), Err(ApiError::NotFound(_)));
    assert!(is_unknown("10.9.0.7"), "it is not drained");
    assert_eq!(drain(None, Some(0)).unwrap(), 0);
    assert_eq!(drain(Some("10.9.0.7"), None).unwrap(), 1);
    assert!(is_unknown("10.9.0.7"), "it is not drained any more");
    assert!(is_unknown("10.8.0.7"), "it is none of ours");
}

#[test]
fn listeners_are_open_before_a_neighbor_is_known() {
    let address = free_address(212);
    let mut node = Node::start(IoMode::Auto, 1, address);
    let mut passive = towards(address, free_address(213), 65001, 65002);
    passive.passive = true;
    insert(&mut node, passive);
    assert!(node.peer().is_some());
    std::net::TcpStream::connect(address).unwrap();
}

#[test]
fn a_port_that_is_taken_at_the_start_ends_the_wait() {
    let address = free_address(210);
    let _owner = TcpListener::bind(address).unwrap();
    let mut node = Node::start(IoMode::Auto, 1, address);
    let router = TcpListener::bind(free_address(211)).unwrap();
    router.set_nonblocking(true).unwrap();
    let to = router.local_addr().unwrap();
    insert(&mut node, towards(address, to, 65001, 65002));
    let error = node.engine.wait_for_signal().unwrap_err().to_string();
    assert!(error.contains("is taken by"), "{error}");
    assert!(node.peer().is_none(), "it was told of a neighbor");
    let dialled = router.accept().unwrap_err();
    assert_eq!(dialled.kind(), std::io::ErrorKind::WouldBlock);
}
