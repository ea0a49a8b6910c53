//! A shard with peers that the tests play, octet by octet, on a virtual clock.

mod clients;
mod explained;
mod intervals;
mod limits;
mod loops;
mod options;
mod resets;
mod roles;
mod shown;
mod stale;
mod unasked;
mod withheld;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use codec::{
    AttributeWriter, Capability, Family, IpPrefix, Ipv4Prefix, Message, Notification, Open, Origin,
    WireFormat,
};
use rib::{Rib, RibOptions, Selection, ShardId};

use super::*;
use crate::config::{Delta, Import, Instance, Neighbor, NextHopSelf, PeerAsn};
use crate::model::{self, Route, RoutesKind, RoutesQuery};

const INSTANCE: InstanceId = InstanceId(0);
const ASN: u32 = 65001;

/// A shard and what its peers have been sent.
struct Bed {
    shard: Shard,
    now: Time,
    told: BTreeMap<ConnectionId, Vec<u8>>,
    closed: Vec<ConnectionId>,
}

/// The interface of the node has this address beside the sessions'.
struct OneAddress;

impl Interfaces for OneAddress {
    fn beside(&self, _: IpAddr) -> Vec<IpAddr> {
        vec![IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9))]
    }
}

impl Bed {
    fn new() -> Bed {
        let rib = Rib::new(RibOptions {
            shards: 1,
            selection: Selection::default(),
        });
        let mut shard = Shard::new(ShardOptions {
            id: ShardId(0),
            seed: 1,
            interfaces: Box::new(OneAddress),
            backlog_max: 4 << 20,
            rest_a_member: crate::group::REST_A_MEMBER,
            established: EstablishedPeers::default(),
            dynamic_peers: Default::default(),
            deferral: Default::default(),
        });
        let now = Time(1_000_000_000);
        let settings = Instance::new(Ipv4Addr::new(10, 0, 0, 5)).settings();
        let writer = rib.writer(ShardId(0));
        shard.handle_command(now, ShardCommand::Instance(INSTANCE, writer));
        let delta = Delta::Instance(INSTANCE, Arc::new(settings));
        shard.handle_command(now, ShardCommand::Delta(delta));
        Bed {
            shard,
            now,
            told: BTreeMap::new(),
            closed: Vec::new(),
        }
    }

    /// A neighbor comes, or changes.
    fn configure(&mut self, neighbor: Neighbor) {
        let delta = Delta::Neighbors(INSTANCE, Box::new([Arc::new(neighbor)]));
        self.shard
            .handle_command(self.now, ShardCommand::Delta(delta));
        self.run();
    }

    /// A neighbor of this address connects and says this OPEN; the session is up, unless the OPEN
    /// was refused.
    fn connect(&mut self, address: IpAddr, open: &Open) -> ConnectionId {
        let local: IpAddr = match address {
            IpAddr::V4(_) => "10.0.0.5".parse().unwrap(),
            IpAddr::V6(_) => "2001:db8::5".parse().unwrap(),
        };
        let remote = SocketAddr::new(address, 40_000);
        let local = SocketAddr::new(local, 179);
        let accepted = self
            .shard
            .handle_accepted(self.now, INSTANCE, local, remote.ip().into());
        let connection = accepted.expect("it is taken");
        let mut octets = Vec::new();
        codec::encode_open(open, &mut octets);
        codec::encode_keepalive(&mut octets);
        self.say(connection, &octets);
        connection
    }

    /// A peer says something.
    fn say(&mut self, connection: ConnectionId, octets: &[u8]) {
        // Never more than a driver's buffer holds.
        for octets in octets.chunks(64 << 10) {
            self.shard.handle_bytes(self.now, connection, octets);
        }
        self.run();
    }

    /// Time goes on by this many seconds.
    fn wait(&mut self, seconds: u64) {
        let end = Time(self.now.0 + seconds * 1_000_000_000);
        while let Some(at) = self.shard.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.shard.handle_timeout(self.now, &mut |_| false);
            self.run();
        }
        self.now = end;
    }

    /// Everything that can be done now is done.
    fn run(&mut self) {
        while self.shard.work(self.now) {}
        while let Some(action) = self.shard.poll_action() {
            if let Action::Close { connection } = action {
                self.closed.push(connection);
            }
        }
        let mut slices: Vec<Bytes> = Vec::new();
        while let Some(connection) = self.shard.poll_writable() {
            loop {
                let octets = self.shard.poll_transmit(connection, &mut slices, 1 << 20);
                if octets == 0 {
                    break;
                }
                let told = self.told.entry(connection).or_default();
                slices.drain(..).for_each(|slice| told.extend(slice));
                self.shard.handle_written(self.now, connection, octets);
            }
        }
        self.shard.audit();
    }

    /// What a peer has been sent since this was asked last.
    fn messages(&mut self, connection: ConnectionId) -> Vec<Vec<u8>> {
        let mut rest = self.told.remove(&connection).unwrap_or_default();
        let mut messages = Vec::new();
        while let Some(length) = codec::frame(&rest, codec::MAX_EXTENDED_LEN).unwrap() {
            messages.push(rest.drain(..length).collect());
        }
        messages
    }

    /// Whether a connection from this address is turned away.
    fn is_refused(&mut self, address: IpAddr) -> bool {
        let local = SocketAddr::new("10.0.0.5".parse().unwrap(), 179);
        let accepted = self
            .shard
            .handle_accepted(self.now, INSTANCE, local, address.into());
        self.run();
        accepted.is_none_or(|connection| self.closed.contains(&connection))
    }

    /// The operator drains everything, or (none) no longer does.
    fn drain(&mut self, wait: Option<std::time::Duration>) {
        let command = ShardCommand::Drain {
            instance: None,
            peer: None,
            wait,
            reply: Box::new(|_| ()),
        };
        self.shard.handle_command(self.now, command);
        self.run();
    }

    /// The operator resets everything.
    fn reset(&mut self) -> model::ResetReply {
        let answer = Arc::new(Mutex::new(model::ResetReply::default()));
        let to = Arc::clone(&answer);
        let command = ShardCommand::Reset {
            instance: None,
            peer: None,
            reply: Box::new(move |reply| *to.lock().unwrap() = reply),
        };
        self.shard.handle_command(self.now, command);
        self.run();
        answer.lock().unwrap().clone()
    }

    /// The NOTIFICATION among what a peer has been sent since this was asked last.
    fn notification(&mut self, connection: ConnectionId) -> Option<Notification> {
        let messages = self.messages(connection);
        messages
            .iter()
            .find_map(|message| match codec::parse_message(message) {
                Ok(Message::Notification(notification)) => Some(notification),
                _ => None,
            })
    }

    fn peer(&self, address: IpAddr) -> model::Peer {
        let answer = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&answer);
        let reply = Box::new(move |peers| *to.lock().unwrap() = peers);
        self.shard.answer(self.now, Query::Peers(None, reply));
        let peers = std::mem::take(&mut *answer.lock().unwrap());
        let address = address.to_string();
        let mut peers = peers.into_iter();
        peers.find(|peer| peer.peer_address == address).unwrap()
    }

    fn routes(&self, kind: RoutesKind, address: IpAddr) -> Vec<Route> {
        let answer = Arc::new(Mutex::new(None));
        let to = Arc::clone(&answer);
        let reply = Box::new(move |routes| *to.lock().unwrap() = Some(routes));
        let mut query = RoutesQuery::all(kind);
        query.peer = Some(address.into());
        self.shard.answer(self.now, Query::Routes(query, reply));
        answer.lock().unwrap().take().unwrap().routes
    }

    /// Why a peer is told a prefix, or not.
    fn verdict(&self, prefix: IpPrefix, address: IpAddr) -> model::PeerVerdict {
        let answer = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&answer);
        let reply = Box::new(move |views| *to.lock().unwrap() = views);
        self.shard
            .answer(self.now, Query::Explain(None, prefix, reply));
        let views: Vec<PrefixView> = std::mem::take(&mut *answer.lock().unwrap());
        let address = address.to_string();
        let mut verdicts = views.into_iter().flat_map(|view| view.peers);
        verdicts
            .find(|verdict| verdict.peer_address == address)
            .unwrap()
    }
}

/// A passive neighbor that exchanges everything.
fn neighbor(address: &str, asn: u32) -> Neighbor {
    Neighbor {
        peer_asn: PeerAsn::Number(asn),
        ..super::rig::neighbor(address)
    }
}

/// The OPEN of a peer that offers this beside families and four-octet AS numbers.
fn open(asn: u32, id: u8, more: &[Capability]) -> Open {
    let mut capabilities: Vec<Capability> = Family::ALL
        .iter()
        .map(|family| Capability::Multiprotocol {
            afi: family.afi(),
            safi: family.safi(),
        })
        .collect();
    capabilities.push(Capability::FourOctetAs(asn));
    capabilities.extend_from_slice(more);
    Open {
        version: 4,
        asn,
        hold_time: 0,
        identifier: Ipv4Addr::new(10, 0, 0, id),
        capabilities,
    }
}

fn prefix(number: u32) -> Ipv4Prefix {
    Ipv4Prefix::masked(Ipv4Addr::from(0x1400_0000 + (number << 8)), 24)
}

fn erased(number: u32) -> IpPrefix {
    IpPrefix::V4(prefix(number))
}

/// An UPDATE that announces a prefix, as an external peer of `asn` at 10.0.0.`id` says it.
fn announce(number: u32, asn: u32, id: u8, more: impl FnOnce(&mut AttributeWriter<'_>)) -> Vec<u8> {
    let mut attributes = Vec::new();
    let mut writer = AttributeWriter::new(&mut attributes);
    writer.origin(Origin::Igp);
    let path = codec::AsPath::default();
    writer.as_path(&path, &[asn], true);
    writer.next_hop(Ipv4Addr::new(10, 0, 0, id));
    more(&mut writer);
    let mut nlri = Vec::new();
    codec::encode_nlri(prefix(number), None, &mut nlri);
    let mut octets = Vec::new();
    codec::encode_update(&attributes, &nlri, &mut octets);
    octets
}

fn withdraw(number: u32) -> Vec<u8> {
    let mut nlri = Vec::new();
    codec::encode_nlri(prefix(number), None, &mut nlri);
    let mut octets = Vec::new();
    codec::encode_withdraw(Family::Ipv4Unicast, &nlri, &mut octets);
    octets
}

/// The prefixes that messages announce and withdraw, in their order.
fn changes(messages: &[Vec<u8>], format: &WireFormat) -> (Vec<IpPrefix>, Vec<IpPrefix>) {
    let (mut announced, mut withdrawn) = (Vec::new(), Vec::new());
    for message in messages {
        let Ok(Message::Update(body)) = codec::parse_message(message) else {
            continue;
        };
        let update = codec::parse_update(body, format).unwrap();
        withdrawn.extend(update.withdrawn.iter().map(|(_, prefix)| prefix));
        let reach = update.mp_announced.iter().flat_map(|mp| mp.nlri.iter());
        announced.extend(
            update
                .announced
                .iter()
                .chain(reach)
                .map(|(_, prefix)| prefix),
        );
    }
    (announced, withdrawn)
}
