//! A shard without sockets, and simulated routers that feed it from memory.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use codec::{Capability, Open};
use engine::config::{
    BuiltinFilters, Delta, Export, Import, Instance, InstanceId, Neighbor, PeerAsn,
};
use engine::group::{BACKLOG_MAX, REST_A_MEMBER};
use engine::interfaces::Interfaces;
use engine::shard::{ConnectionId, EstablishedPeers, Shard, ShardCommand, ShardOptions};
use engine::time::Time;
use rib::{Rib, ShardId};

/// The one instance of such a shard.
pub const INSTANCE: InstanceId = InstanceId(0);
const LOCAL: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
/// What a shard reads of a socket at a time.
const PIECE: usize = 64 << 10;

/// A shard as a daemon has it, of an instance over this table, without peers.
pub fn shard_over(rib: &Arc<Rib>, shard: u8, router_id: Ipv4Addr) -> Shard {
    let id = ShardId(shard);
    let mut shard = Shard::new(ShardOptions {
        id,
        seed: 1,
        interfaces: Box::new(NoInterfaces),
        backlog_max: BACKLOG_MAX,
        rest_a_member: REST_A_MEMBER,
        established: EstablishedPeers::default(),
        dynamic_peers: Default::default(),
        deferral: Default::default(),
    });
    let now = Time::default();
    shard.handle_command(now, ShardCommand::Instance(INSTANCE, rib.writer(id)));
    let settings = Instance::new(router_id).settings();
    shard.handle_command(
        now,
        ShardCommand::Delta(Delta::Instance(INSTANCE, Arc::new(settings))),
    );
    shard
}

struct NoInterfaces;

impl Interfaces for NoInterfaces {
    fn beside(&self, _: IpAddr) -> Vec<IpAddr> {
        Vec::new()
    }
}

/// A shard and what is fed to it.
pub struct Rig {
    /// What the peers that connect from now on are under on import.
    pub import: Import,
    shard: Shard,
    senders: Vec<(ConnectionId, usize)>,
}

impl Rig {
    /// A shard of an instance over this table, without peers.
    pub fn new(rib: &Arc<Rib>, shard: u8) -> Rig {
        Rig {
            import: Import::All,
            shard: shard_over(rib, shard, LOCAL),
            senders: Vec::new(),
        }
    }

    /// Brings up the session of a simulated router; `sender` is the place of its stream in what
    /// [`Rig::run`] is given.
    pub fn connect(&mut self, number: u32, export: Export, sender: Option<usize>) {
        let now = Time::default();
        let neighbor = Neighbor {
            import: self.import.clone(),
            ..neighbor(number, export)
        };
        let remote = neighbor.address;
        let delta = Delta::Neighbors(INSTANCE, [Arc::new(neighbor)].into());
        self.shard.handle_command(now, ShardCommand::Delta(delta));
        let local = SocketAddr::new(LOCAL.into(), 179);
        let connection = self.shard.handle_accepted(now, INSTANCE, local, remote);
        let connection = connection.expect("the neighbor was just made known");
        let mut octets = Vec::new();
        let open = Open {
            version: 4,
            asn: 100_001 + number,
            hold_time: 90,
            identifier: Ipv4Addr::from(0x7f01_0001 + number),
            capabilities: vec![
                Capability::Multiprotocol { afi: 1, safi: 1 },
                Capability::FourOctetAs(100_001 + number),
            ],
        };
        codec::encode_open(&open, &mut octets);
        codec::encode_keepalive(&mut octets);
        self.shard.handle_bytes(now, connection, &octets);
        self.settle();
        if let Some(sender) = sender {
            self.senders.push((connection, sender));
        }
    }

    /// Feeds every sender's stream and works until all is told; `fed` counts the shards, of `shards`,
    /// that have nothing more to feed.
    pub fn run(&mut self, streams: &[Vec<u8>], fed: &AtomicUsize, shards: usize) {
        let now = Time::default();
        let mut feeds: Vec<_> = self
            .senders
            .iter()
            .map(|(connection, sender)| (*connection, streams[*sender].chunks(PIECE)))
            .collect();
        // The senders take turns, as sockets do.
        while !feeds.is_empty() {
            feeds.retain_mut(|(connection, pieces)| {
                let piece = pieces.next();
                if let Some(piece) = piece {
                    self.shard.handle_bytes(now, *connection, piece);
                    self.settle();
                }
                piece.is_some()
            });
        }
        fed.fetch_add(1, Ordering::AcqRel);
        // What the others still feed is told here too.
        while fed.load(Ordering::Acquire) < shards || !self.shard.is_quiet() {
            if !self.settle() {
                std::thread::yield_now();
            }
        }
    }

    /// A turn: table work, and everything queued goes. Whether there is more.
    fn settle(&mut self) -> bool {
        let now = Time::default();
        let more = self.shard.work(now);
        while self.shard.poll_action().is_some() {}
        let mut slices = Vec::new();
        while let Some(connection) = self.shard.poll_writable() {
            loop {
                let octets = self.shard.poll_transmit(connection, &mut slices, 1 << 20);
                if octets == 0 {
                    break;
                }
                slices.clear();
                self.shard.handle_written(now, connection, octets);
            }
        }
        more
    }
}

fn neighbor(number: u32, export: Export) -> Neighbor {
    let address = Ipv4Addr::from(0x7f01_0001 + number);
    let peer_asn = PeerAsn::Number(100_001 + number);
    Neighbor {
        passive: true,
        export,
        // The streams are of the whole space.
        builtin_filters: BuiltinFilters {
            martians: false,
            ..BuiltinFilters::default()
        },
        ..Neighbor::new(address.into(), LOCAL, 65_000, peer_asn)
    }
}
