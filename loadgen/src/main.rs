//! Simulated BGP routers. Built on `codec` alone, so that a fault of the engine cannot hide itself.
//!
//! Here is the command line. The scenarios that load a speaker are in [`scenario`], over the dialled
//! sessions of [`fleet`]; `relay` is the target that they are measured against. `sink` is told
//! routes, `blast` announces them, `rounds` measures how long a change of a manifest takes to arrive:
//! these three meet their peers either way, over [`network`]. One thread drives all routers of a
//! process over plain non-blocking sockets.
#![forbid(unsafe_code)]

mod blast;
mod clock;
mod fleet;
mod glance;
mod holdings;
mod latency;
mod ledger;
mod mrt;
mod network;
mod output;
mod plot;
mod poll;
mod prefix_ids;
mod process;
mod progress;
mod random;
mod receivers;
mod relay;
mod report;
mod rounds;
mod scenario;
mod script;
mod sink;
mod space;
mod speaker;
mod truth;
mod workload;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use clap::{Args, Parser, Subcommand};
use codec::{Family, FamilySet};

use crate::blast::{Announcer, Blast, DOCUMENTATION_NEXT_HOP, Table};
use crate::network::{Meeting, Network, Observer, RouterConfig};
use crate::output::remark;
use crate::plot::Figure;
use crate::relay::Relay;
use crate::rounds::{Rounds, Side};
use crate::scenario::{FamilyName, Scenario};
use crate::script::Pieces;
use crate::sink::{Sink, SinkOptions};
use crate::space::LengthMix;
use crate::speaker::SpeakerConfig;

/// Simulated BGP routers for tests and measurements.
#[derive(Parser)]
#[command(name = "ringbgp-loadgen", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Routers that print or count what they are told.
    Sink(SinkArgs),
    /// Routers that announce a synthetic table.
    Blast(BlastArgs),
    /// Measures how long a change of a manifest takes to reach every router.
    Rounds(RoundsArgs),
    #[command(flatten)]
    Scenario(Scenario),
    /// A target without a routing table: forwards each router's UPDATEs to all others.
    Relay(RelayArgs),
    /// Draws results: bars, or lines where runs differ in a number.
    Plot(PlotArgs),
    /// Prints the routers that a scenario uses, as the target must know them: ADDRESS ASN.
    Neighbors {
        #[command(subcommand)]
        scenario: Scenario,
    },
}

#[derive(Args)]
struct PlotArgs {
    /// Files with what scenarios printed with --json, one object a line; each is named after its
    /// file.
    #[arg(required = true)]
    results: Vec<PathBuf>,
    /// The picture.
    #[arg(long)]
    svg: PathBuf,
    /// The figure that is drawn.
    #[arg(long, default_value = "seconds")]
    figure: Figure,
}

#[derive(Args)]
struct RelayArgs {
    /// Where to listen, as ADDRESS:PORT.
    #[arg(long)]
    listen: SocketAddr,
    /// Routers that will come at most.
    #[arg(long, default_value_t = 1024)]
    routers: usize,
    /// AS number of the relay.
    #[arg(long, default_value_t = 65_000)]
    dut_asn: u32,
}

/// Who the routers are and how they meet their peers.
#[derive(Args, Clone)]
struct RouterArgs {
    /// Number of routers; each has the address after the one before.
    #[arg(long, default_value_t = 1)]
    routers: usize,
    /// Address of the first router.
    #[arg(long, default_value = "127.0.0.2")]
    address: IpAddr,
    /// Port that every router listens on.
    #[arg(long, required_unless_present = "connect")]
    listen: Option<u16>,
    /// Peer that every router dials, as ADDRESS:PORT.
    #[arg(long)]
    connect: Option<SocketAddr>,
    /// AS number of the first router.
    #[arg(long, default_value_t = 65002)]
    asn: u32,
    /// What is added to the AS number from router to router.
    #[arg(long, default_value_t = 0)]
    asn_step: u32,
    /// AS number that peers must have [default: any].
    #[arg(long)]
    peer_asn: Option<u32>,
    /// BGP identifier of the first router [default: its IPv4 address].
    #[arg(long)]
    router_id: Option<Ipv4Addr>,
    /// Families offered.
    #[arg(long, value_delimiter = ',', default_value = "ipv4,ipv6")]
    families: Vec<FamilyName>,
    /// Hold time offered, in seconds.
    #[arg(long, default_value_t = 90)]
    hold_time: u16,
    /// Results as JSON.
    #[arg(long)]
    json: bool,
    /// End after so many seconds; exit code 1 if what was expected did not come.
    #[arg(long)]
    timeout: Option<f64>,
}

#[derive(Args)]
struct SinkArgs {
    #[command(flatten)]
    routers: RouterArgs,
    /// Print only the results, not each route.
    #[arg(long)]
    count: bool,
    /// End once every router holds at least this many prefixes.
    #[arg(long)]
    expect: Option<usize>,
}

#[derive(Args)]
struct BlastArgs {
    #[command(flatten)]
    routers: RouterArgs,
    /// Prefixes announced by each router.
    #[arg(long, default_value_t = 1000)]
    prefixes: usize,
    /// Family announced.
    #[arg(long, default_value = "ipv4")]
    family: FamilyName,
    /// Mix of prefix lengths, such as 24:61,16-23:39 [default: that of the Internet].
    #[arg(long)]
    lengths: Option<LengthMix>,
    /// Prefixes that share an attribute set.
    #[arg(long, default_value_t = 5)]
    per_attributes: usize,
    /// All routers announce the same prefixes.
    #[arg(long)]
    overlap: bool,
    /// Where the table is drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Next hop announced [default: the router's address, 192.0.2.1 where that is a loopback one].
    #[arg(long)]
    next_hop: Option<IpAddr>,
    /// Announce as inside the routers' own AS (iBGP).
    #[arg(long)]
    internal: bool,
    /// Hang up once everything is written, instead of keeping the sessions up.
    #[arg(long)]
    once: bool,
}

#[derive(Args)]
struct RoundsArgs {
    #[command(flatten)]
    routers: RouterArgs,
    /// The manifest that is written over, round by round.
    #[arg(long)]
    file: PathBuf,
    /// The text that is in force before the first round. A router then holds exactly the
    /// prefixes in it.
    #[arg(long)]
    first: PathBuf,
    /// The other text.
    #[arg(long)]
    second: PathBuf,
    /// Number of rounds.
    #[arg(long, default_value_t = 200)]
    rounds: usize,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Sink(args) => run_sink(&args),
        Command::Blast(args) => run_blast(&args),
        Command::Rounds(args) => run_rounds(&args),
        Command::Scenario(scenario) => Ok(scenario.run()),
        Command::Relay(args) => run_relay(&args),
        Command::Plot(args) => plot::draw_results(&args.results, args.figure, &args.svg)
            .map(|()| 0)
            .map_err(io::Error::other),
        Command::Neighbors { scenario } => Ok(scenario.print_neighbors()),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            remark!("ringbgp-loadgen: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_sink(args: &SinkArgs) -> io::Result<u8> {
    let mut sink = args.routers.sink(args.count, args.expect);
    let configs = args.routers.configs(|_, _| Arc::from([]));
    run(configs, args.routers.meeting(false), &mut sink)
}

fn run_blast(args: &BlastArgs) -> io::Result<u8> {
    let family = Family::from(args.family);
    let default_mix = || LengthMix::internet(family);
    let lengths = args.lengths.clone().unwrap_or_else(default_mix);
    let configs = args.routers.configs(|index, config| {
        let table = Table {
            family,
            prefixes: args.prefixes,
            lengths: lengths.clone(),
            per_attributes: args.per_attributes,
            seed: args.seed + if args.overlap { 0 } else { index as u64 },
        };
        let announcer = Announcer {
            asn: config.asn,
            internal: args.internal,
            next_hop: args
                .next_hop
                .unwrap_or(match args.routers.address_of(index) {
                    address if address.is_loopback() => DOCUMENTATION_NEXT_HOP.into(),
                    address => address,
                }),
        };
        blast::encode(&table, announcer)
    });
    let sink = args.routers.sink(true, None);
    let mut blast = Blast::new(sink, configs.len(), args.once);
    run(configs, args.routers.meeting(args.once), &mut blast)
}

fn run_relay(args: &RelayArgs) -> io::Result<u8> {
    scenario::raise_file_limit(args.routers)
        .map_err(|failure| io::Error::other(failure.words()))?;
    Relay::new(args.listen, args.dut_asn)?.run()?;
    Ok(0)
}

fn run_rounds(args: &RoundsArgs) -> io::Result<u8> {
    let side = |path: &PathBuf| fs::read_to_string(path).map(Side::new);
    let sides = [side(&args.first)?, side(&args.second)?];
    fs::write(&args.file, sides[0].text())?;
    let configs = args.routers.configs(|_, _| Arc::from([]));
    let mut rounds = Rounds::new(
        args.routers.sink(true, None),
        configs.len(),
        args.file.clone(),
        sides,
        args.rounds,
        args.routers.json,
    );
    run(configs, args.routers.meeting(false), &mut rounds)
}

fn run(
    configs: Vec<RouterConfig>,
    meeting: Meeting,
    observer: &mut dyn Observer,
) -> io::Result<u8> {
    Network::new(configs, meeting)?.run(observer)
}

impl RouterArgs {
    fn address_of(&self, index: usize) -> IpAddr {
        match self.address {
            IpAddr::V4(first) => Ipv4Addr::from(u32::from(first) + index as u32).into(),
            IpAddr::V6(first) => std::net::Ipv6Addr::from(u128::from(first) + index as u128).into(),
        }
    }

    fn configs(
        &self,
        mut script: impl FnMut(usize, &SpeakerConfig) -> Pieces,
    ) -> Vec<RouterConfig> {
        let families: FamilySet = self
            .families
            .iter()
            .map(|name| Family::from(*name))
            .collect();
        let config = |index: usize| {
            let address = self.address_of(index);
            let router_id = match (self.router_id, address) {
                (Some(first), _) => Ipv4Addr::from(u32::from(first) + index as u32),
                (None, IpAddr::V4(address)) => address,
                (None, IpAddr::V6(_)) => Ipv4Addr::from(0x0a00_0001 + index as u32),
            };
            let speaker = SpeakerConfig {
                asn: self.asn + self.asn_step * index as u32,
                peer_asn: self.peer_asn,
                router_id,
                families,
                hold_time: self.hold_time,
            };
            RouterConfig {
                address,
                script: script(index, &speaker),
                speaker,
            }
        };
        (0..self.routers).map(config).collect()
    }

    fn meeting(&self, once: bool) -> Meeting {
        Meeting {
            listen: self.listen,
            connect: self.connect,
            once,
        }
    }

    fn sink(&self, count: bool, expect: Option<usize>) -> Sink {
        let options = SinkOptions {
            count,
            json: self.json,
            dials: self.connect.is_some(),
            expect,
            timeout: self.timeout.map(Duration::from_secs_f64),
        };
        let names = (0..self.routers).map(|index| self.address_of(index).to_string());
        Sink::new(options, names.collect())
    }
}
