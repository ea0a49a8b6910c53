//! Two engines in one process, over loopback: the whole path from a delta to the other side's
//! table, for both drivers and for one and two shards.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use codec::{FamilySet, IpPrefix, Ipv4Prefix};
use engine::admin::api::EngineApi;
use engine::config::{
    Delta, Export, Import, InstanceId, InstanceSettings, Neighbor, NextHopIpv6, NextHopSelf,
    OriginAttributes, OriginChange, Password, PeerAsn, SendCommunities, Timers,
};
use engine::daemon::{Dispatcher, Engine, EngineOptions};
use engine::model::{PeersQuery, Route, RoutesKind, RoutesQuery};
use engine::ring::IoMode;

const INSTANCE: InstanceId = InstanceId(0);

/// An engine on an address of its own.
struct Speaker {
    engine: Engine,
    dispatcher: Dispatcher,
    address: Ipv4Addr,
    asn: u32,
    port: u16,
}

impl Speaker {
    fn start(io: IoMode, shards: u8, address: Ipv4Addr, asn: u32, port: u16) -> Speaker {
        let options = EngineOptions {
            shards: Some(shards),
            pin: false,
            io,
        };
        let (engine, mut dispatcher) = Engine::start(&options).expect("the engine starts");
        dispatcher.dispatch([Delta::Instance(
            INSTANCE,
            Arc::new(InstanceSettings {
                name: Arc::from("default"),
                enabled: true,
                router_id: address,
                listen: vec![SocketAddr::new(IpAddr::V4(address), port)],
            }),
        )]);
        Speaker {
            engine,
            dispatcher,
            address,
            asn,
            port,
        }
    }

    fn neighbor(&self, other: &Speaker, passive: bool) -> Neighbor {
        Neighbor {
            address: IpAddr::V4(other.address),
            port: other.port,
            peer_asn: PeerAsn::Number(other.asn),
            local_asn: self.asn,
            router_id: self.address,
            local_address: Some(IpAddr::V4(self.address)),
            passive,
            password: Password::None,
            ebgp_multihop: 1,
            ttl_security: false,
            timers: Timers::default(),
            families: FamilySet::ALL,
            next_hop_ipv4: None,
            next_hop_ipv6: NextHopIpv6::Mapped,
            next_hop_self: NextHopSelf::Auto,
            import: Import::All,
            export: Export::Originated,
            send_communities: SendCommunities {
                standard: true,
                large: true,
                extended: true,
            },
            allow_own_asn: 0,
        }
    }

    fn tell(&mut self, delta: Delta) {
        self.dispatcher.dispatch([delta]);
    }

    fn originate(&mut self, prefixes: impl IntoIterator<Item = IpPrefix>, there: bool) {
        let attributes = Arc::new(OriginAttributes {
            communities: vec![65001 << 16 | 1],
            large_communities: Vec::new(),
            local_preference: 100,
        });
        let changes = prefixes.into_iter().map(|prefix| OriginChange {
            prefix,
            attributes: there.then(|| Arc::clone(&attributes)),
        });
        self.tell(Delta::Origins(INSTANCE, changes.collect()));
    }

    fn available(&self) -> Vec<Route> {
        let handle = self.engine.handle();
        let mut query = RoutesQuery::all(RoutesKind::Available);
        let mut routes = Vec::new();
        self.engine.control().block_on(async {
            loop {
                let reply = handle.routes(query.clone()).await.expect("an answer");
                routes.extend(reply.routes);
                match reply.more {
                    Some(cursor) => query.cursor = Some(cursor),
                    None => return,
                }
            }
        });
        routes
    }

    fn state(&self) -> String {
        let handle = self.engine.handle();
        let peers = self
            .engine
            .control()
            .block_on(handle.peers(PeersQuery::default()));
        format!("{:?}", peers.expect("an answer"))
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's deadline")]
fn eventually(what: &str, mut condition: impl FnMut() -> bool, state: impl Fn() -> String) {
    let start = Instant::now();
    while !condition() {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "{what}: {}",
            state()
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn prefix(number: u32) -> IpPrefix {
    IpPrefix::V4(Ipv4Prefix::masked(
        Ipv4Addr::from(0x0a10_0000 + (number << 8)),
        24,
    ))
}

fn exchange(io: IoMode, shards: u8, net: u8) {
    let address = |last| Ipv4Addr::new(127, 90, net, last);
    let port = 17900 + u16::from(net);
    let mut left = Speaker::start(io, shards, address(1), 65001, port);
    let mut right = Speaker::start(io, shards, address(2), 65002, port);
    left.originate((0..1000).map(prefix), true);
    let (to_right, to_left) = (left.neighbor(&right, false), right.neighbor(&left, true));
    right.tell(Delta::Neighbor(INSTANCE, Arc::new(to_left)));
    left.tell(Delta::Neighbor(INSTANCE, Arc::new(to_right.clone())));
    let both = || format!("{}\n{}", left.state(), right.state());
    eventually(
        "the table arrives",
        || right.available().len() == 1000,
        both,
    );

    let route = right.available().remove(0);
    assert_eq!(route.next_hop, Some(left.address.to_string()));
    assert_eq!(route.communities, Some(vec!["65001:1".to_owned()]));
    assert_eq!(route.local_pref, None);
    assert_eq!(
        route.as_path.map(|path| path[0].asns.clone()),
        Some(vec![65001])
    );

    left.originate((0..999).map(prefix), false);
    let both = || format!("{}\n{}", left.state(), right.state());
    eventually(
        "the withdrawals arrive",
        || right.available().len() == 1,
        both,
    );

    left.tell(Delta::NeighborGone(INSTANCE, IpAddr::V4(right.address)));
    let both = || format!("{}\n{}", left.state(), right.state());
    eventually(
        "the session's end takes its routes",
        || right.available().is_empty(),
        both,
    );

    left.tell(Delta::Neighbor(INSTANCE, Arc::new(to_right)));
    let both = || format!("{}\n{}", left.state(), right.state());
    eventually(
        "the session comes back",
        || right.available().len() == 1,
        both,
    );
}

#[test]
fn routes_travel_over_epoll() {
    exchange(IoMode::Epoll, 1, 1);
}

#[test]
fn routes_travel_over_epoll_from_two_shards() {
    exchange(IoMode::Epoll, 2, 2);
}

#[test]
fn routes_travel_over_io_uring() {
    exchange(IoMode::Auto, 1, 3);
}

#[test]
fn routes_travel_over_io_uring_from_two_shards() {
    exchange(IoMode::Auto, 2, 4);
}
