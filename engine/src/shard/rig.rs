//! A shard alone, for tests: the peers are played by the test, on a virtual clock.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use codec::{AttributeSet, Capability, FamilySet, IpPrefix, Message, NlriField, Open, WireFormat};
use rib::{Rib, RibOptions, Selection, ShardId};

use super::*;
use crate::config::{
    Delta, Export, Import, Instance, Neighbor, OriginAttributes, OriginChange, PeerAsn,
};

pub(super) const INSTANCE: InstanceId = InstanceId(0);

/// What own routes carry.
pub(super) const COMMUNITY: u32 = 65_000 << 16 | 1;

type Announced = (String, Vec<u32>, Option<u32>);

/// The shard, and what it asked of its driver.
pub(super) struct Rig {
    /// Its table, which another shard may have a part in.
    pub(super) rib: Arc<Rib>,
    pub(super) shard: Shard,
    pub(super) now: Time,
    /// Connections that are not closed, with what was sent on them and not looked at.
    pub(super) open: BTreeMap<ConnectionId, VecDeque<Vec<u8>>>,
    /// What was sent on those that are closed.
    pub(super) closed: BTreeMap<ConnectionId, Vec<Vec<u8>>>,
    pub(super) options: Vec<(ConnectionId, Arc<SocketOptions>)>,
    pub(super) dialled: Vec<PeerAddress>,
}

struct NoInterfaces;

impl Interfaces for NoInterfaces {
    fn beside(&self, _local: IpAddr) -> Vec<IpAddr> {
        Vec::new()
    }
}

/// AS 65001, the peer any other.
pub(super) fn neighbor(address: &str) -> Neighbor {
    Neighbor {
        peer_asn: PeerAsn::External,
        passive: true,
        import: Import::All,
        export: Export::All,
        ..crate::config::some_neighbor(address)
    }
}

impl Rig {
    pub(super) fn new() -> Rig {
        let rib = Rib::new(RibOptions {
            shards: 2,
            selection: Selection::default(),
        });
        let mut shard = Shard::new(ShardOptions {
            id: ShardId(0),
            seed: 1,
            interfaces: Box::new(NoInterfaces),
            backlog_max: crate::group::BACKLOG_MAX,
            rest_a_member: crate::group::REST_A_MEMBER,
            established: EstablishedPeers::default(),
            dynamic_peers: DynamicPeers::default(),
            deferral: Default::default(),
        });
        let now = Time::default();
        shard.handle_command(
            now,
            ShardCommand::Instance(INSTANCE, rib.writer(ShardId(0))),
        );
        let mut rig = Rig {
            rib,
            shard,
            now,
            open: BTreeMap::new(),
            closed: BTreeMap::new(),
            options: Vec::new(),
            dialled: Vec::new(),
        };
        rig.tell(Delta::Instance(
            INSTANCE,
            Arc::new(Instance::new(Ipv4Addr::new(10, 0, 0, 5)).settings()),
        ));
        rig
    }

    pub(super) fn tell(&mut self, delta: Delta) {
        self.command(ShardCommand::Delta(delta));
    }

    pub(super) fn command(&mut self, command: ShardCommand) {
        self.shard.handle_command(self.now, command);
        self.turn();
    }

    /// As a driver does after every input.
    pub(super) fn turn(&mut self) {
        while self.shard.work(self.now) {}
        while let Some(action) = self.shard.poll_action() {
            self.transmit();
            match action {
                Action::Connect { connection, to } => {
                    self.dialled.push(to.peer);
                    self.open.insert(connection, VecDeque::new());
                }
                Action::Close { connection } => {
                    if let Some(sent) = self.open.remove(&connection) {
                        self.closed.insert(connection, sent.into());
                    }
                }
                Action::SetOptions {
                    connection,
                    options,
                } => self.options.push((connection, options)),
                Action::Pause { .. } | Action::Resume { .. } | Action::Wake(_) => {}
            }
        }
        self.transmit();
        self.shard.audit();
    }

    fn transmit(&mut self) {
        while let Some(connection) = self.shard.poll_writable() {
            let mut slices = Vec::new();
            let octets = self
                .shard
                .poll_transmit(connection, &mut slices, usize::MAX);
            self.shard.handle_written(self.now, connection, octets);
            let sent = self.open.entry(connection).or_default();
            for slice in slices {
                let mut rest = &slice[..];
                while let Ok(Some(length)) = codec::frame(rest, codec::MAX_LEN) {
                    sent.push_back(rest[..length].to_vec());
                    rest = &rest[length..];
                }
            }
        }
    }

    /// A peer connects. None: it is closed without a word.
    pub(super) fn connect(&mut self, peer: &str) -> Option<ConnectionId> {
        let remote: PeerAddress = peer.parse().unwrap();
        let local: IpAddr = match remote.ip() {
            IpAddr::V4(_) => [10, 0, 0, 5].into(),
            IpAddr::V6(_) if remote.is_link_local() => "fe80::5".parse().unwrap(),
            IpAddr::V6(_) => "2001:db8::5".parse().unwrap(),
        };
        let local = SocketAddr::new(local, 179);
        let connection = self
            .shard
            .handle_accepted(self.now, INSTANCE, local, remote)?;
        self.open.entry(connection).or_default();
        self.turn();
        Some(connection)
    }

    pub(super) fn say(&mut self, connection: ConnectionId, message: &[u8]) {
        self.shard.handle_bytes(self.now, connection, message);
        self.turn();
    }

    /// A peer connects and its session comes up.
    pub(super) fn establish(&mut self, peer: &str, asn: u32) -> ConnectionId {
        let connection = self.connect(peer).unwrap();
        let mut message = Vec::new();
        codec::encode_open(&open(peer, asn), &mut message);
        codec::encode_keepalive(&mut message);
        self.say(connection, &message);
        connection
    }

    pub(super) fn closed_by_peer(&mut self, connection: ConnectionId) {
        self.shard
            .handle_closed(self.now, connection, "the peer closed".to_owned());
        self.open.remove(&connection);
        self.turn();
    }

    /// The rows of `peers`.
    pub(super) fn peers(&mut self) -> Vec<crate::model::Peer> {
        let (sender, receiver) = std::sync::mpsc::channel();
        let reply: Reply<Vec<crate::model::Peer>> = Box::new(move |peers| {
            sender.send(peers).unwrap();
        });
        self.command(ShardCommand::Query(Query::Peers(None, reply)));
        receiver.recv().unwrap()
    }

    /// What `explain` says of a prefix and a peer.
    pub(super) fn verdict(&mut self, peer: &str, prefix: IpPrefix) -> crate::model::PeerVerdict {
        let (sender, receiver) = std::sync::mpsc::channel();
        let reply: Reply<Vec<PrefixView>> = Box::new(move |views| {
            sender.send(views).unwrap();
        });
        self.command(ShardCommand::Query(Query::Explain(None, prefix, reply)));
        let views = receiver.recv().unwrap().into_iter();
        let mut verdicts = views.flat_map(|view| view.peers);
        let found = verdicts.find(|verdict| verdict.peer_address == peer);
        found.unwrap()
    }

    pub(super) fn addresses(&mut self) -> Vec<String> {
        let peers = self.peers();
        peers.into_iter().map(|peer| peer.peer_address).collect()
    }

    /// Own routes, which all carry one community.
    pub(super) fn originate(&mut self, prefixes: &[&str]) {
        let attributes = Arc::new(OriginAttributes {
            communities: vec![COMMUNITY],
            large_communities: vec![],
            local_preference: 100,
        });
        let change = |text: &&str| OriginChange {
            prefix: text.parse::<ipnet::IpNet>().unwrap().into(),
            kinds: crate::policy::Sources::NETWORK_POLICY,
            attributes: Some(Arc::clone(&attributes)),
        };
        let changes = prefixes.iter().map(change).collect();
        self.tell(Delta::Origins(INSTANCE, changes));
    }

    /// What was announced on a connection since the last look: prefix, communities, LOCAL_PREF.
    pub(super) fn announced(&mut self, connection: ConnectionId) -> Vec<Announced> {
        let sent = std::mem::take(self.open.get_mut(&connection).unwrap());
        let mut announced = Vec::new();
        for message in sent {
            let Ok(Message::Update(body)) = codec::parse_message(&message) else {
                continue;
            };
            let wire = WireFormat {
                four_octet_as: true,
                families: FamilySet::ALL,
                peer: codec::PeerKind::Internal,
                ..WireFormat::default()
            };
            let update = codec::parse_update(body, &wire).unwrap();
            let mut canonical = Vec::new();
            update.canonical(NlriField::Plain, &mut canonical);
            let set = AttributeSet::new(&canonical);
            let communities: Vec<u32> = set.communities().collect();
            let of = |(_, prefix): (_, IpPrefix)| {
                (prefix.to_string(), communities.clone(), set.local_pref())
            };
            announced.extend(update.announced.iter().map(of));
        }
        announced
    }

    /// Lets time pass to the next timer, again and again until `time`.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.shard.poll_timeout().filter(|due| *due <= end) {
            self.now = due;
            self.shard.handle_timeout(due, &mut |_| false);
            self.turn();
        }
        self.now = end;
    }

    /// The NOTIFICATION that a closed connection ended with.
    pub(super) fn notification(&self, connection: ConnectionId) -> Notification {
        let message = self.closed[&connection].last().unwrap();
        match codec::parse_message(message).unwrap() {
            Message::Notification(notification) => notification,
            other => panic!("{other:?}"),
        }
    }
}

fn open(peer: &str, asn: u32) -> Open {
    let address: PeerAddress = peer.parse().unwrap();
    let identifier = match address.ip() {
        IpAddr::V4(address) => address,
        IpAddr::V6(_) => Ipv4Addr::new(10, 0, 0, 6),
    };
    Open {
        version: 4,
        asn,
        hold_time: 90,
        identifier,
        capabilities: vec![
            Capability::Multiprotocol { afi: 1, safi: 1 },
            Capability::RouteRefresh,
            Capability::FourOctetAs(asn),
        ],
    }
}
