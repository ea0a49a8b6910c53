//! Shards without sockets: the same octets, fed from memory to 1 shard and to several.
//!
//! `shards [--prefixes N] [--senders N] [--receivers N] [--shards 1,2] [--rounds N] [--ingest]`
//!
//! Every sender announces its share of the prefixes, five to an attribute set, in pieces as a
//! socket would give them; receivers are told all of them. Senders are dealt out over the shards,
//! receivers too, so that each shard with receivers reads the whole table. With `--ingest` nobody
//! is told anything: what is left is parsing, table and best path. Prints the seconds of each
//! round, and the median of the first count of shards over that of each other one.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use codec::{AsPath, AttributeWriter, Capability, FamilySet, Ipv4Prefix, Open, Origin};
use engine::config::{
    Delta, Export, Import, InstanceId, InstanceSettings, Neighbor, NextHopIpv6, NextHopSelf,
    Password, PeerAsn, SendCommunities, Timers,
};
use engine::group::{BACKLOG_MAX, Interfaces};
use engine::shard::{ConnectionId, EstablishedPeers, Shard, ShardCommand, ShardOptions};
use engine::time::Time;
use rib::{Rib, RibOptions, Selection, ShardId};

// As in the daemon.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const INSTANCE: InstanceId = InstanceId(0);
const LOCAL: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
/// What a shard reads of a socket at a time.
const PIECE: usize = 64 << 10;
const PER_ATTRIBUTES: u32 = 5;

struct Options {
    prefixes: u32,
    senders: u32,
    receivers: u32,
    shards: Vec<usize>,
    rounds: usize,
    ingest: bool,
}

struct NoInterfaces;

impl Interfaces for NoInterfaces {
    fn beside(&self, _: IpAddr) -> Vec<IpAddr> {
        Vec::new()
    }
}

fn main() {
    let options = options();
    let streams: Vec<Vec<u8>> = (0..options.senders)
        .map(|sender| stream(&options, sender))
        .collect();
    let mut first = None;
    for count in &options.shards {
        let mut seconds: Vec<f64> = (0..options.rounds)
            .map(|_| round(&options, *count, &streams).as_secs_f64())
            .collect();
        seconds.sort_by(f64::total_cmp);
        let median = seconds[seconds.len() / 2];
        let ratio = *first.get_or_insert(median) / median;
        println!("{count} shards: {median:.3} s, {ratio:.2} x, all {seconds:.3?}");
    }
}

fn options() -> Options {
    let mut options = Options {
        prefixes: 1_000_000,
        senders: 8,
        receivers: 2,
        shards: vec![1, 2],
        rounds: 5,
        ingest: false,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        if word == "--ingest" {
            options.ingest = true;
            continue;
        }
        let value = words.next().unwrap_or_default();
        let number = || value.parse().unwrap_or_else(|_| usage());
        match word.as_str() {
            "--prefixes" => options.prefixes = number(),
            "--senders" => options.senders = number(),
            "--receivers" => options.receivers = number(),
            "--rounds" => options.rounds = number() as usize,
            "--shards" => {
                let counts = value.split(',').map(str::parse);
                options.shards = counts.collect::<Result<_, _>>().unwrap_or_else(|_| usage());
            }
            _ => usage(),
        }
    }
    options
}

fn usage() -> ! {
    eprintln!(
        "usage: shards [--prefixes N] [--senders N] [--receivers N] [--shards 1,2] [--rounds N] [--ingest]"
    );
    std::process::exit(2)
}

/// All that a sender says once its session is up.
fn stream(options: &Options, sender: u32) -> Vec<u8> {
    let share = options.prefixes / options.senders;
    let mut out = Vec::new();
    let (mut attributes, mut nlri) = (Vec::new(), Vec::new());
    let numbers: Vec<u32> = (sender * share..(sender + 1) * share).collect();
    for (set, numbers) in numbers.chunks(PER_ATTRIBUTES as usize).enumerate() {
        attributes.clear();
        nlri.clear();
        let set = set as u32;
        let mut writer = AttributeWriter::new(&mut attributes);
        writer.origin(Origin::Igp);
        let path = [
            100_001 + sender,
            3000 + set % 977,
            200_000 + set,
            64_500 + set % 13,
        ];
        writer.as_path(&AsPath::new(&[]), &path, true);
        writer.next_hop(Ipv4Addr::new(192, 0, 2, 1));
        writer.communities(&[set, set ^ 0xffff_0000, (65_000 << 16) | (set % 100)]);
        for number in numbers {
            codec::encode_nlri(prefix(*number), None, &mut nlri);
        }
        codec::encode_update(&attributes, &nlri, &mut out);
    }
    out
}

/// Distinct prefixes of 24 bits in no order: an odd factor permutes the numbers of 24 bits.
fn prefix(number: u32) -> Ipv4Prefix {
    Ipv4Prefix::masked(Ipv4Addr::from(number.wrapping_mul(0x9e37_79b1) << 8), 24)
}

#[expect(
    clippy::disallowed_methods,
    reason = "this program is about the time it takes"
)]
fn round(options: &Options, shards: usize, streams: &[Vec<u8>]) -> Duration {
    let rib = Rib::new(RibOptions {
        shards: shards as u8,
        selection: Selection::default(),
    });
    let fed = AtomicUsize::new(0);
    let mut rigs: Vec<Rig> = (0..shards)
        .map(|shard| Rig::new(&rib, shard as u8))
        .collect();
    for sender in 0..options.senders {
        let export = if options.ingest {
            Export::None
        } else {
            Export::All
        };
        rigs[sender as usize % shards].connect(sender, export, Some(sender as usize));
    }
    let receivers = if options.ingest { 0 } else { options.receivers };
    for receiver in 0..receivers {
        let number = options.senders + receiver;
        rigs[receiver as usize % shards].connect(number, Export::All, None);
    }
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for rig in &mut rigs {
            let fed = &fed;
            scope.spawn(move || rig.run(streams, fed, shards));
        }
    });
    let taken = begin.elapsed();
    assert_eq!(rib.id_limit(codec::Family::Ipv4Unicast), options.prefixes);
    taken
}

/// A shard and what is fed to it.
struct Rig {
    shard: Shard,
    senders: Vec<(ConnectionId, usize)>,
}

impl Rig {
    fn new(rib: &Arc<Rib>, shard: u8) -> Rig {
        let id = ShardId(shard);
        let mut shard = Shard::new(ShardOptions {
            id,
            seed: 1,
            interfaces: Box::new(NoInterfaces),
            backlog_max: BACKLOG_MAX,
            established: EstablishedPeers::default(),
        });
        let now = Time::default();
        shard.handle_command(now, ShardCommand::Instance(INSTANCE, rib.writer(id)));
        let settings = InstanceSettings {
            name: "default".into(),
            enabled: true,
            router_id: LOCAL,
            listen: Vec::new(),
            memory_max: u64::MAX,
        };
        shard.handle_command(
            now,
            ShardCommand::Delta(Delta::Instance(INSTANCE, Arc::new(settings))),
        );
        Rig {
            shard,
            senders: Vec::new(),
        }
    }

    /// Brings up the session of a simulated router.
    fn connect(&mut self, number: u32, export: Export, sender: Option<usize>) {
        let now = Time::default();
        let neighbor = neighbor(number, export);
        let remote = SocketAddr::new(neighbor.address, 40_000);
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

    fn run(&mut self, streams: &[Vec<u8>], fed: &AtomicUsize, shards: usize) {
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
    Neighbor {
        address: Ipv4Addr::from(0x7f01_0001 + number).into(),
        port: 179,
        peer_asn: PeerAsn::Number(100_001 + number),
        local_asn: 65_000,
        router_id: LOCAL,
        cluster_id: LOCAL,
        client: None,
        local_address: None,
        passive: true,
        password: Password::None,
        ebgp_multihop: 1,
        ttl_security: false,
        timers: Timers::default(),
        families: FamilySet::ALL,
        next_hop_ipv4: None,
        next_hop_ipv6: NextHopIpv6::Auto,
        next_hop_self: NextHopSelf::Auto,
        import: Import::All,
        export,
        send_communities: SendCommunities {
            standard: true,
            large: true,
            extended: true,
        },
        allow_own_asn: 0,
    }
}
