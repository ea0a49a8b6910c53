//! A shard and one scripted router, on virtual time.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use codec::{
    AttributeWriter, Capability, Family, FamilySet, IpPrefix, Ipv4Prefix, Message, Notification,
    Open, Origin, RouteRefresh,
};
use rib::{PathFlags, Rib, RibOptions, Selection, ShardId};

use crate::config::{
    Delta, Export, Import, InstanceId, InstanceSettings, Neighbor, NextHopIpv6, NextHopSelf,
    Password, PeerAsn, SendCommunities, Timers,
};
use crate::group::Interfaces;
use crate::shard::{Action, ConnectionId, EstablishedPeers, Shard, ShardCommand, ShardOptions};
use crate::time::Time;

const INSTANCE: InstanceId = InstanceId(0);
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 6));
const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 5));
const FAMILY: Family = Family::Ipv4Unicast;

struct Nothing;

impl Interfaces for Nothing {
    fn beside(&self, _: IpAddr) -> Vec<IpAddr> {
        Vec::new()
    }
}

/// The shard, and what the router did last.
pub(super) struct Bed {
    shard: Shard,
    rib: Arc<Rib>,
    now: Time,
    connection: ConnectionId,
    neighbor: Neighbor,
    /// What the router was sent on all its connections, in order.
    heard: Vec<String>,
    closed: Vec<ConnectionId>,
}

fn neighbor() -> Neighbor {
    Neighbor {
        address: PEER,
        port: 179,
        peer_asn: PeerAsn::Number(65002),
        local_asn: 65001,
        router_id: Ipv4Addr::new(10, 0, 0, 5),
        cluster_id: Ipv4Addr::new(10, 0, 0, 5),
        local_address: None,
        passive: true,
        password: Password::None,
        ebgp_multihop: 1,
        ttl_security: false,
        timers: Timers::default(),
        families: [FAMILY].into_iter().collect::<FamilySet>(),
        next_hop_ipv4: None,
        next_hop_ipv6: NextHopIpv6::Auto,
        next_hop_self: NextHopSelf::Auto,
        client: None,
        import: Import::All,
        export: Export::All,
        send_communities: SendCommunities {
            standard: true,
            large: true,
            extended: true,
        },
        enhanced_refresh: true,
        allow_own_asn: 0,
    }
}

/// What the router offers beside IPv4 and its AS number.
fn enhanced() -> Vec<Capability> {
    vec![Capability::RouteRefresh, Capability::EnhancedRouteRefresh]
}

fn prefix(number: u8) -> Ipv4Prefix {
    Ipv4Prefix::masked(Ipv4Addr::new(20, 0, number, 0), 24)
}

impl Bed {
    fn new(neighbor: Neighbor) -> Bed {
        let rib = Rib::new(RibOptions {
            shards: 1,
            selection: Selection::default(),
        });
        let mut shard = Shard::new(ShardOptions {
            id: ShardId(0),
            seed: 1,
            interfaces: Box::new(Nothing),
            backlog_max: 1 << 20,
            established: EstablishedPeers::default(),
        });
        let now = Time(1_000_000_000);
        let writer = rib.writer(ShardId(0));
        shard.handle_command(now, ShardCommand::Instance(INSTANCE, writer));
        let settings = Arc::new(InstanceSettings {
            name: "default".into(),
            enabled: true,
            router_id: Ipv4Addr::new(10, 0, 0, 5),
            listen: vec![],
            memory_max: u64::MAX,
        });
        shard.handle_command(
            now,
            ShardCommand::Delta(Delta::Instance(INSTANCE, settings)),
        );
        let mut bed = Bed {
            shard,
            rib,
            now,
            connection: ConnectionId(0),
            neighbor: neighbor.clone(),
            heard: Vec::new(),
            closed: Vec::new(),
        };
        bed.change(neighbor);
        bed
    }

    fn change(&mut self, neighbor: Neighbor) {
        self.neighbor = neighbor.clone();
        let delta = Delta::Neighbors(INSTANCE, Box::new([Arc::new(neighbor)]));
        self.command(ShardCommand::Delta(delta));
    }

    fn command(&mut self, command: ShardCommand) {
        self.shard.handle_command(self.now, command);
        self.turn();
    }

    /// The router connects and says OPEN and KEEPALIVE.
    fn establish(&mut self, capabilities: Vec<Capability>) {
        let (local, remote) = (SocketAddr::new(LOCAL, 179), SocketAddr::new(PEER, 40_000));
        let accepted = self
            .shard
            .handle_accepted(self.now, INSTANCE, local, remote);
        self.connection = accepted.expect("the connection is taken");
        self.turn();
        let mut capabilities = capabilities;
        capabilities.push(Capability::Multiprotocol {
            afi: FAMILY.afi(),
            safi: FAMILY.safi(),
        });
        capabilities.push(Capability::FourOctetAs(65002));
        let mut octets = Vec::new();
        let open = Open {
            version: 4,
            asn: 65002,
            hold_time: 90,
            identifier: Ipv4Addr::new(10, 0, 0, 6),
            capabilities,
        };
        codec::encode_open(&open, &mut octets);
        codec::encode_keepalive(&mut octets);
        self.say(&octets);
    }

    fn say(&mut self, octets: &[u8]) {
        self.shard.handle_bytes(self.now, self.connection, octets);
        self.turn();
    }

    fn announce(&mut self, numbers: impl IntoIterator<Item = u8>) {
        let (mut attributes, mut nlri) = (Vec::new(), Vec::new());
        let mut writer = AttributeWriter::new(&mut attributes);
        writer.origin(Origin::Igp);
        writer.as_path(&codec::AsPath::default(), &[65002], true);
        writer.next_hop(Ipv4Addr::new(10, 0, 0, 6));
        for number in numbers {
            codec::encode_nlri(prefix(number), None, &mut nlri);
        }
        let mut octets = Vec::new();
        codec::encode_update(&attributes, &nlri, &mut octets);
        self.say(&octets);
    }

    fn bound(&mut self, subtype: u8) {
        let mut octets = Vec::new();
        let refresh = RouteRefresh {
            afi: FAMILY.afi(),
            safi: FAMILY.safi(),
            subtype,
        };
        codec::encode_route_refresh(&refresh, &mut octets);
        self.say(&octets);
    }

    /// Until nothing is left to do now.
    fn turn(&mut self) {
        while self.shard.work(self.now) {}
        while let Some(action) = self.shard.poll_action() {
            if let Action::Close { connection } = action {
                self.hear(connection);
                self.closed.push(connection);
            }
        }
        while let Some(connection) = self.shard.poll_writable() {
            self.hear(connection);
        }
        self.shard.audit();
        self.rib.audit();
    }

    fn hear(&mut self, connection: ConnectionId) {
        let mut slices: Vec<Bytes> = Vec::new();
        while self.shard.poll_transmit(connection, &mut slices, 1 << 20) > 0 {}
        let octets: Vec<u8> = slices.concat();
        self.shard
            .handle_written(self.now, connection, octets.len());
        let mut rest = &octets[..];
        while let Some(length) = codec::frame(rest, codec::MAX_LEN).unwrap() {
            let heard = match codec::parse_message(&rest[..length]).unwrap() {
                Message::Open(_) => "open".to_owned(),
                Message::Keepalive => "keepalive".to_owned(),
                Message::Update(_) => "update".to_owned(),
                Message::Notification(Notification { code, subcode, .. }) => {
                    format!("{code}/{subcode}")
                }
                Message::RouteRefresh(refresh) => format!("refresh {}", refresh.subtype),
            };
            self.heard.push(heard);
            rest = &rest[length..];
        }
    }

    /// Lets time go by, with a KEEPALIVE of the router every 20 s while it is connected.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let step = Duration::from_secs(1);
        let mut seconds = 0;
        while self.now < end {
            self.now = (self.now + step).min(end);
            seconds += 1;
            if self.shard.poll_timeout().is_some_and(|at| at <= self.now) {
                self.shard.handle_timeout(self.now, &mut |_| false);
            }
            self.turn();
            if seconds % 20 == 0 {
                let mut octets = Vec::new();
                codec::encode_keepalive(&mut octets);
                self.say(&octets);
            }
        }
    }

    /// The prefixes that have a path, and whether it is stale.
    fn routes(&self) -> Vec<(u8, bool)> {
        let guard = self.rib.guard();
        let found = (0..=u8::MAX).filter_map(|number| {
            let id = self.rib.lookup(IpPrefix::V4(prefix(number)), &guard)?;
            let paths = self.rib.paths(FAMILY, id, &guard);
            let path = paths.first()?;
            Some((number, path.flags.contains(PathFlags::STALE)))
        });
        found.collect()
    }

    fn fresh(&self, numbers: impl IntoIterator<Item = u8>) {
        let wanted: Vec<_> = numbers.into_iter().map(|number| (number, false)).collect();
        assert_eq!(self.routes(), wanted);
    }

    fn received(&self) -> usize {
        let (_, peer) = self.shard.peers.iter().next().unwrap();
        let established = peer.established.as_ref().unwrap();
        established.adj_rib_in[FAMILY.index()].len()
    }
}

// RFC-SHOWN 7313 §4
#[test]
fn what_is_not_said_again_between_the_bounds_of_a_refresh_goes() {
    let mut bed = Bed::new(neighbor());
    bed.establish(enhanced());
    bed.announce(0..10);
    bed.bound(RouteRefresh::BEGIN);
    assert_eq!(bed.routes(), (0..10).map(|n| (n, true)).collect::<Vec<_>>());
    bed.announce(0..4);
    bed.announce(20..22);
    assert_eq!(bed.routes().iter().filter(|(_, stale)| *stale).count(), 6);
    bed.bound(RouteRefresh::END);
    bed.fresh([0, 1, 2, 3, 20, 21]);
    assert_eq!(bed.received(), 6);
    // An end without a beginning.
    bed.bound(RouteRefresh::END);
    bed.fresh([0, 1, 2, 3, 20, 21]);
}

// RFC-SHOWN 7313 §4
#[test]
fn a_refresh_that_does_not_end_ends_after_360_seconds() {
    let mut bed = Bed::new(neighbor());
    bed.establish(enhanced());
    bed.announce(0..10);
    bed.bound(RouteRefresh::BEGIN);
    bed.announce(0..4);
    bed.pass(Duration::from_secs(359));
    assert_eq!(bed.routes().len(), 10);
    bed.pass(Duration::from_secs(1));
    bed.fresh(0..4);
    assert_eq!(bed.received(), 4);
}

// RFC-SHOWN 7313 §5
#[test]
fn bounds_that_were_not_agreed_on_and_unknown_subtypes_are_ignored() {
    let mut bed = Bed::new(neighbor());
    bed.establish(vec![Capability::RouteRefresh]);
    bed.announce(0..3);
    bed.heard.clear();
    bed.bound(RouteRefresh::BEGIN);
    bed.bound(RouteRefresh::END);
    bed.bound(7);
    bed.fresh(0..3);
    assert_eq!(bed.heard, [""; 0]);
}

// RFC-SHOWN 2918 §3
#[test]
fn only_who_offered_it_is_asked_for_routes_and_the_others_are_named() {
    let ask = |bed: &mut Bed| {
        let (sender, receiver) = std::sync::mpsc::channel();
        bed.command(ShardCommand::Refresh {
            instance: None,
            peer: Some(PEER),
            reply: Box::new(move |reply| sender.send(reply).unwrap()),
        });
        receiver.recv().unwrap()
    };
    let mut bed = Bed::new(neighbor());
    let reply = ask(&mut bed);
    assert_eq!(reply.peers, 0);
    assert!(reply.notes[0].contains("its session is not up"));
    bed.establish(vec![]);
    bed.heard.clear();
    let reply = ask(&mut bed);
    assert_eq!((reply.peers, &bed.heard[..]), (0, &[][..]));
    assert!(reply.notes[0].contains("did not offer route refresh"));
    let mut bed = Bed::new(neighbor());
    bed.establish(enhanced());
    assert_eq!(ask(&mut bed).peers, 1);
    assert_eq!(bed.heard.last().unwrap(), "refresh 0");
}
