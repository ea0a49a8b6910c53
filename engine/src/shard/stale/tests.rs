//! A shard and one scripted router, on virtual time: refreshes here, restarts in `restarts`.

mod limits;
mod long_lived;
mod own_restarts;
mod paths;
mod restarts;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use codec::{
    AddPath, AttributeWriter, Capability, Family, FamilySet, IpPrefix, Ipv4Prefix, Message,
    Notification, Open, Origin, RouteRefresh,
};
use rib::{PathFlags, Rib, RibOptions, Selection, ShardId};

use crate::config::{
    Delta, Export, Import, Instance, InstanceId, Neighbor, OriginAttributes, OriginChange,
};
use crate::interfaces::Interfaces;
use crate::shard::Deferral;
use crate::shard::receive;
use crate::shard::{
    Action, ConnectionId, DynamicPeers, EstablishedPeers, Shard, ShardCommand, ShardOptions,
};
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
        passive: true,
        families: [FAMILY].into_iter().collect::<FamilySet>(),
        import: Import::All,
        export: Export::All,
        ..crate::config::some_neighbor(&PEER.to_string())
    }
}

/// A neighbor of which several paths a prefix are taken, and what its router offers.
fn several() -> (Neighbor, Vec<Capability>) {
    let mut neighbor = neighbor();
    neighbor.add_paths.receive = true;
    let mut capabilities = enhanced();
    capabilities.push(Capability::AddPath(vec![AddPath {
        afi: FAMILY.afi(),
        safi: FAMILY.safi(),
        receive: false,
        send: true,
    }]));
    (neighbor, capabilities)
}

/// OPEN and KEEPALIVE of the router.
fn opening(identifier: Ipv4Addr, mut capabilities: Vec<Capability>) -> Vec<u8> {
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
        identifier,
        capabilities,
    };
    codec::encode_open(&open, &mut octets);
    codec::encode_keepalive(&mut octets);
    octets
}

/// An UPDATE of the router: paths through `asn`, of path identifiers (RFC 7911) where they have some.
fn announcement(paths: impl IntoIterator<Item = (u8, Option<u32>)>, asn: u32) -> Vec<u8> {
    let (mut attributes, mut nlri) = (Vec::new(), Vec::new());
    let mut writer = AttributeWriter::new(&mut attributes);
    writer.origin(Origin::Igp);
    writer.as_path(&codec::AsPath::default(), &[asn], true);
    writer.next_hop(Ipv4Addr::new(10, 0, 0, 6));
    for (number, path_id) in paths {
        codec::encode_nlri(prefix(number), path_id, &mut nlri);
    }
    let mut octets = Vec::new();
    codec::encode_update(&attributes, &nlri, &mut octets);
    octets
}

/// What the router offers beside IPv4 and its AS number.
fn enhanced() -> Vec<Capability> {
    vec![Capability::RouteRefresh, Capability::EnhancedRouteRefresh]
}

/// What an OPEN says of restarts.
fn opened(open: &Open) -> String {
    let mut words = "open".to_owned();
    for capability in &open.capabilities {
        if let Capability::GracefulRestart {
            restarting,
            families,
            ..
        } = capability
        {
            words += if *restarting { " R" } else { "" };
            let forwarding = families.iter().filter(|family| family.forwarding);
            words += &" F".repeat(forwarding.count());
        }
    }
    words
}

fn prefix(number: u8) -> Ipv4Prefix {
    Ipv4Prefix::masked(Ipv4Addr::new(20, 0, number, 0), 24)
}

impl Bed {
    fn new(neighbor: Neighbor) -> Bed {
        Bed::after(Deferral::default(), neighbor)
    }

    fn after(deferral: Deferral, neighbor: Neighbor) -> Bed {
        let rib = Rib::new(RibOptions {
            shards: 1,
            selection: Selection::default(),
        });
        let mut shard = Shard::new(ShardOptions {
            id: ShardId(0),
            seed: 1,
            interfaces: Box::new(Nothing),
            backlog_max: 1 << 20,
            rest_a_member: crate::group::REST_A_MEMBER,
            established: EstablishedPeers::default(),
            dynamic_peers: DynamicPeers::default(),
            deferral,
        });
        let now = Time(1_000_000_000);
        let writer = rib.writer(ShardId(0));
        shard.handle_command(now, ShardCommand::Instance(INSTANCE, writer));
        let settings = Arc::new(Instance::new(Ipv4Addr::new(10, 0, 0, 5)).settings());
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
        self.establish_as(Ipv4Addr::new(10, 0, 0, 6), capabilities);
    }

    fn establish_as(&mut self, identifier: Ipv4Addr, capabilities: Vec<Capability>) {
        self.accept();
        self.turn();
        self.say(&opening(identifier, capabilities));
    }

    /// The same, with routes behind it, and all before the shard has a turn.
    fn establish_at_once(
        &mut self,
        capabilities: Vec<Capability>,
        numbers: impl IntoIterator<Item = u8>,
    ) {
        self.accept();
        let mut octets = opening(Ipv4Addr::new(10, 0, 0, 6), capabilities);
        let numbers = numbers.into_iter().map(|number| (number, None));
        octets.extend(announcement(numbers, 65002));
        self.say(&octets);
    }

    fn accept(&mut self) {
        let accepted = self.shard.handle_accepted(
            self.now,
            INSTANCE,
            SocketAddr::new(LOCAL, 179),
            PEER.into(),
        );
        self.connection = accepted.expect("the connection is taken");
    }

    /// The router's end of the connection closes.
    fn lose(&mut self) {
        let words = "connection reset".to_owned();
        self.shard.handle_closed(self.now, self.connection, words);
        self.turn();
    }

    fn end_of_rib(&mut self) {
        let mut octets = Vec::new();
        codec::encode_end_of_rib(FAMILY, &mut octets);
        self.say(&octets);
    }

    fn notify(&mut self, notification: &Notification) {
        let mut octets = Vec::new();
        codec::encode_notification(notification, &mut octets);
        self.say(&octets);
    }

    fn say(&mut self, octets: &[u8]) {
        self.shard.handle_bytes(self.now, self.connection, octets);
        self.turn();
    }

    fn announce(&mut self, numbers: impl IntoIterator<Item = u8>) {
        self.announce_paths(numbers.into_iter().map(|number| (number, None)), 65002);
    }

    fn announce_with(&mut self, numbers: impl IntoIterator<Item = u8>, communities: &[u32]) {
        let (mut attributes, mut nlri) = (Vec::new(), Vec::new());
        let mut writer = AttributeWriter::new(&mut attributes);
        writer.origin(Origin::Igp);
        writer.as_path(&codec::AsPath::default(), &[65002], true);
        writer.next_hop(Ipv4Addr::new(10, 0, 0, 6));
        writer.communities(communities);
        for number in numbers {
            codec::encode_nlri(prefix(number), None, &mut nlri);
        }
        let mut octets = Vec::new();
        codec::encode_update(&attributes, &nlri, &mut octets);
        self.say(&octets);
    }

    /// Of path identifiers (RFC 7911), with a path through `asn`.
    fn announce_paths(&mut self, paths: impl IntoIterator<Item = (u8, Option<u32>)>, asn: u32) {
        self.say(&announcement(paths, asn));
    }

    fn withdraw_path(&mut self, number: u8, path_id: u32) {
        let (mut nlri, mut octets) = (Vec::new(), Vec::new());
        codec::encode_nlri(prefix(number), Some(path_id), &mut nlri);
        codec::encode_withdraw(FAMILY, &nlri, &mut octets);
        self.say(&octets);
    }

    /// The path identifiers of a prefix, and whether the path is stale.
    fn paths(&self, number: u8) -> Vec<(u32, bool)> {
        let guard = self.rib.guard();
        let id = self.rib.lookup(IpPrefix::V4(prefix(number)), &guard);
        let paths = id.map(|id| self.rib.paths(FAMILY, id, &guard));
        let paths = paths.iter().flat_map(|paths| paths.iter());
        let stale = |path: &rib::Path| path.flags.contains(PathFlags::STALE);
        paths.map(|path| (path.path_id, stale(path))).collect()
    }

    /// A route of our own comes or goes.
    fn own(&mut self, number: u8, there: bool) {
        let attributes = Arc::new(OriginAttributes {
            communities: vec![],
            large_communities: vec![],
            local_preference: 100,
        });
        let change = OriginChange {
            prefix: IpPrefix::V4(prefix(number)),
            attributes: there.then_some(attributes),
            kinds: crate::policy::Sources::POD_CIDR,
        };
        self.command(ShardCommand::Delta(Delta::Origins(
            INSTANCE,
            [change].into(),
        )));
    }

    /// Whether the shard wants to know, for a router that is away, which prefixes change.
    fn hears(&self) -> bool {
        self.shard.instances[&INSTANCE].away[FAMILY.index()] > 0
    }

    /// Prefixes received, and those of them that are accepted.
    fn counts(&self) -> (u64, u64) {
        let (_, peer) = self.shard.peers.iter().next().unwrap();
        let established = peer.established.as_ref().unwrap();
        receive::counts(&peer.neighbor, established, FAMILY)
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
                Message::Open(open) => opened(&open),
                Message::Keepalive => "keepalive".to_owned(),
                Message::Update([0, 0, 0, 0]) => "end".to_owned(),
                Message::Update(_) => "update".to_owned(),
                Message::Notification(said) => match said.hard_reset_reason() {
                    Some(reason) => format!("6/9 around {}/{}", reason.code, reason.subcode),
                    None => format!("{}/{}", said.code, said.subcode),
                },
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

    fn stale(&self, numbers: impl IntoIterator<Item = u8>) {
        let wanted: Vec<_> = numbers.into_iter().map(|number| (number, true)).collect();
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

// RFC-SHOWN 2918 §4
#[test]
fn only_who_offered_it_is_asked_for_routes_and_the_others_are_named() {
    let ask = |bed: &mut Bed| {
        let (sender, receiver) = std::sync::mpsc::channel();
        bed.command(ShardCommand::Refresh {
            instance: None,
            peer: Some(PEER.into()),
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

// RFC-SHOWN 7911 §2
#[test]
fn paths_are_kept_apart_and_prefixes_counted_once() {
    let (neighbor, capabilities) = several();
    let mut bed = Bed::new(neighbor);
    bed.establish(capabilities.clone());
    bed.announce_paths([(1, Some(0)), (1, Some(7)), (2, Some(7))], 65002);
    // Our own AS: a loop.
    bed.announce_paths([(1, Some(8)), (3, Some(8))], 65001);
    assert_eq!(bed.paths(1), [(0, false), (7, false), (8, false)]);
    assert_eq!(bed.counts(), (3, 2));
    bed.withdraw_path(1, 0);
    bed.withdraw_path(1, 9);
    assert_eq!((bed.paths(1).len(), bed.counts()), (2, (3, 2)));
    bed.withdraw_path(1, 7);
    assert_eq!((bed.paths(1), bed.counts()), (vec![(8, false)], (3, 1)));
    bed.announce_paths([(1, Some(8))], 65002);
    assert_eq!(bed.counts(), (3, 2));
    bed.withdraw_path(1, 8);
    assert_eq!(bed.counts(), (2, 1));
    // With the session everything goes, whatever it is called.
    bed.command(ShardCommand::Reset {
        instance: None,
        peer: Some(PEER.into()),
        reply: Box::new(|_| {}),
    });
    assert_eq!([1, 2, 3].map(|number| bed.paths(number).len()), [0; 3]);
    bed.establish(capabilities);
    bed.announce_paths([(1, Some(5))], 65002);
    assert_eq!(bed.paths(1), [(5, false)]);
}

#[test]
fn of_several_paths_those_go_that_a_refresh_does_not_bring() {
    let (neighbor, capabilities) = several();
    let mut bed = Bed::new(neighbor);
    bed.establish(capabilities);
    bed.announce_paths([(1, Some(1)), (1, Some(2)), (2, Some(1))], 65002);
    bed.bound(RouteRefresh::BEGIN);
    bed.announce_paths([(1, Some(2)), (1, Some(3))], 65002);
    assert_eq!(bed.paths(1), [(1, true), (2, false), (3, false)]);
    bed.bound(RouteRefresh::END);
    assert_eq!(bed.paths(1), [(2, false), (3, false)]);
    assert_eq!((bed.paths(2), bed.counts()), (vec![], (1, 1)));
}

#[test]
fn paths_that_come_before_older_ones_have_gone_do_not_keep_those() {
    let (neighbor, capabilities) = several();
    let mut bed = Bed::new(neighbor.clone());
    bed.establish(capabilities);
    bed.announce_paths([(1, Some(1)), (1, Some(2))], 65002);
    // The removal of what came is queued, and undone before it is carried out.
    for import in [Import::None, Import::All] {
        let neighbor = Arc::new(Neighbor {
            import,
            ..neighbor.clone()
        });
        let delta = Delta::Neighbors(INSTANCE, Box::new([neighbor]));
        bed.shard
            .handle_command(bed.now, ShardCommand::Delta(delta));
    }
    bed.announce_paths([(1, Some(2)), (1, Some(3))], 65002);
    assert_eq!(bed.paths(1), [(2, false), (3, false)]);
    assert_eq!(bed.counts(), (1, 1));
}
