//! The commands that ask a running daemon: `peers`, `routes`, `explain`, `policies`, `reset`,
//! `refresh`, `rpki`.

use std::fmt::Display;
use std::future::Future;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use codec::{Family, IpPrefix};

use super::output::{Failure, Format, JsonArray, complain, json, print};
use crate::admin::client::Client;
use crate::admin::{DEFAULT_SOCKET, render};
use crate::config::PeerAddress;
use crate::model::{
    ExplainQuery, PeersQuery, PoliciesQuery, RefreshQuery, ResetQuery, RoutesKind, RoutesQuery,
    RpkiQuery, afi_name, parse_prefix,
};

/// Whom to ask, and how to print the answer.
#[derive(Debug, Args)]
pub(super) struct AskArgs {
    /// The daemon's Unix socket
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    pub(super) admin: PathBuf,
    /// Only this BGP instance
    #[arg(long, value_name = "NAME")]
    pub(super) instance: Option<String>,
    /// The form of the output
    #[arg(short, long, value_enum, default_value_t)]
    pub(super) output: Format,
}

#[derive(Debug, Args)]
pub(super) struct PeersArgs {
    #[command(flatten)]
    ask: AskArgs,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Marks before a route: * the path in use; s stale, its peer has yet to say it \
                        again; x rejected on import"
)]
pub(super) struct RoutesArgs {
    /// The table
    #[arg(value_enum)]
    table: TableName,
    /// Only this family, only this prefix
    #[arg(value_name = "ipv4|ipv6|PREFIX", num_args = 0..=2, value_parser = parse_filter)]
    filter: Vec<Filter>,
    /// Only the routes of this peer: learned from it or, if advertised, told to it
    #[arg(long, value_name = "ADDRESS")]
    peer: Option<PeerAddress>,
    /// With a prefix: also what lies within it
    #[arg(long)]
    longer: bool,
    #[command(flatten)]
    ask: AskArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum TableName {
    /// The Loc-RIB: all paths, the one in use marked
    Available,
    /// The Adj-RIB-In: what peers announced, before import policy
    Received,
    /// The Adj-RIB-Out: what peers are told
    Advertised,
}

#[derive(Clone, Copy, Debug)]
enum Filter {
    Family(Family),
    Prefix(IpPrefix),
}

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The prefix
    #[arg(value_parser = parse_prefix)]
    prefix: IpPrefix,
    #[command(flatten)]
    ask: AskArgs,
}

#[derive(Debug, Args)]
pub(super) struct PoliciesArgs {
    /// Only this policy
    name: Option<String>,
    #[command(flatten)]
    ask: AskArgs,
}

#[derive(Debug, Args)]
pub(super) struct ResetArgs {
    /// Only this peer
    peer: Option<PeerAddress>,
    #[command(flatten)]
    ask: AskArgs,
}

#[derive(Debug, Args)]
pub(super) struct RefreshArgs {
    /// Only this peer
    peer: Option<PeerAddress>,
    #[command(flatten)]
    ask: AskArgs,
}

#[derive(Debug, Args)]
pub(super) struct RpkiArgs {
    #[command(flatten)]
    ask: AskArgs,
}

pub(super) fn rpki(args: RpkiArgs) -> Result<(), Failure> {
    let query = RpkiQuery {
        instance: args.ask.instance,
    };
    let caches = block_on(async {
        let mut client = Client::connect(&args.ask.admin).await?;
        Ok(client.rpki(&query).await?)
    })?;
    match args.ask.output {
        Format::Json => {
            let mut array = JsonArray::default();
            array.push(&caches)?;
            array.finish()
        }
        format => print(&render::rpki(&caches, format == Format::Wide)),
    }
}

pub(super) fn peers(args: PeersArgs) -> Result<(), Failure> {
    let instance = args.ask.instance;
    let (peers, faults) = block_on(async {
        let mut client = Client::connect(&args.ask.admin).await?;
        let peers = client.peers(&PeersQuery { instance }).await?;
        Ok((peers, client.faults().await?))
    })?;
    match args.ask.output {
        Format::Json => {
            let mut array = JsonArray::default();
            array.push(&peers)?;
            array.finish()
        }
        format => print(&render::peers(&peers, &faults, format == Format::Wide)),
    }
}

pub(super) fn routes(args: RoutesArgs) -> Result<(), Failure> {
    let query = routes_query(&args)?;
    let shown = block_on(print_routes(&args.ask, query.clone()))?;
    match query.prefix {
        Some(prefix) if shown == 0 => Err(Failure::Asked(unknown_prefix(prefix, &args))),
        _ => Ok(()),
    }
}

fn routes_query(args: &RoutesArgs) -> Result<RoutesQuery, Failure> {
    let mut query = RoutesQuery::all(match args.table {
        TableName::Available => RoutesKind::Available,
        TableName::Received => RoutesKind::Received,
        TableName::Advertised => RoutesKind::Advertised,
    });
    query.instance.clone_from(&args.ask.instance);
    query.peer = args.peer;
    query.longer = args.longer;
    for filter in &args.filter {
        match *filter {
            Filter::Family(family) => {
                only_one("family", query.family.map(afi_name), afi_name(family))?;
                query.family = Some(family);
            }
            Filter::Prefix(prefix) => {
                only_one("prefix", query.prefix, prefix)?;
                query.prefix = Some(prefix);
            }
        }
    }
    match (query.prefix, query.family) {
        (None, _) if query.longer => Err(Failure::Usage(
            "--longer needs a prefix; write for example `10.0.0.0/8 --longer`".to_owned(),
        )),
        (Some(prefix), Some(family)) if prefix.family() != family => Err(Failure::Asked(format!(
            "{prefix} is not an {} prefix; leave the family out",
            afi_name(family)
        ))),
        _ => Ok(query),
    }
}

/// A fault if there was one already.
fn only_one<T: Display>(what: &str, before: Option<T>, now: T) -> Result<(), Failure> {
    match before {
        None => Ok(()),
        Some(before) => Err(Failure::Usage(format!(
            "{now} is one {what} too many after {before}; ask for one at a time"
        ))),
    }
}

/// Prints page after page; gives the number of routes.
async fn print_routes(ask: &AskArgs, mut query: RoutesQuery) -> Result<usize, Failure> {
    let mut client = Client::connect(&ask.admin).await?;
    let mut array = JsonArray::default();
    let mut table = render::RoutesTable::new(ask.output == Format::Wide);
    let mut shown = 0;
    loop {
        let page = client.routes(&query).await?;
        shown += page.routes.len();
        match ask.output {
            Format::Json => array.push(&page.routes)?,
            _ => print(&table.page(&page.routes))?,
        }
        for note in page.notes {
            complain(&format!("ringbgp: {note}"));
        }
        match page.more {
            Some(cursor) => query.cursor = Some(cursor),
            None => break,
        }
    }
    match ask.output {
        Format::Json => array.finish()?,
        _ if shown == 0 && query.prefix.is_none() => print("No routes.\n")?,
        _ => {}
    }
    Ok(shown)
}

fn unknown_prefix(prefix: IpPrefix, args: &RoutesArgs) -> String {
    let mend = if args.longer {
        "leave the prefix out to see all routes"
    } else {
        "add --longer to see what lies within it, or ask `ringbgp explain`"
    };
    format!("{prefix} is not in this table; {mend}")
}

pub(super) fn explain(args: ExplainArgs) -> Result<(), Failure> {
    let query = ExplainQuery {
        instance: args.ask.instance,
        prefix: args.prefix,
    };
    let (explanations, faults) = block_on(async {
        let mut client = Client::connect(&args.ask.admin).await?;
        let explanations = client.explain(&query).await?;
        Ok((explanations, client.faults().await?))
    })?;
    if args.ask.output == Format::Json {
        let mut array = JsonArray::default();
        array.push(&explanations)?;
        array.finish()?;
    } else {
        let mut text: String = explanations.iter().map(render::explanation).collect();
        render::push_faults(&mut text, &faults);
        print(&text)?;
    }
    let known = explanations.iter().any(|e| {
        let is_said = e.peers.iter().any(|peer| peer.import.is_some());
        e.announced || is_said || !e.claims.is_empty() || !e.paths.is_empty()
    });
    if known {
        return Ok(());
    }
    Err(Failure::Asked(format!(
        "nothing is known of {}: no resource asks for it and no peer announced it; see \
         `ringbgp routes available`",
        args.prefix
    )))
}

pub(super) fn policies(args: PoliciesArgs) -> Result<(), Failure> {
    let query = PoliciesQuery {
        instance: args.ask.instance,
    };
    let mut policies = block_on(async {
        let mut client = Client::connect(&args.ask.admin).await?;
        Ok(client.policies(&query).await?)
    })?;
    if let Some(name) = &args.name {
        policies.retain(|policy| policy.name == *name);
        if policies.is_empty() {
            return Err(Failure::Asked(format!(
                "there is no RoutePolicy {name}; see `ringbgp policies`"
            )));
        }
    }
    match args.ask.output {
        Format::Json => {
            let mut array = JsonArray::default();
            array.push(&policies)?;
            array.finish()
        }
        _ => print(&render::policies(&policies)),
    }
}

pub(super) fn reset(args: ResetArgs) -> Result<(), Failure> {
    let query = ResetQuery {
        instance: args.ask.instance,
        peer: args.peer,
    };
    let reply = block_on(async {
        let mut client = Client::connect(&args.ask.admin).await?;
        Ok(client.reset(&query).await?)
    })?;
    if let (Some(peer), 0) = (args.peer, reply.peers) {
        return Err(nothing_done(peer, "reset", reply.notes));
    }
    if args.ask.output == Format::Json {
        return print(&(json(&reply)? + "\n"));
    }
    for note in &reply.notes {
        complain(&format!("ringbgp: {note}"));
    }
    print(&match reply.peers {
        0 => "No peer reset.\n".to_owned(),
        1 => "1 peer reset.\n".to_owned(),
        peers => format!("{peers} peers reset.\n"),
    })
}

/// Nothing came of what was asked of one peer.
fn nothing_done(peer: PeerAddress, what: &str, notes: Vec<String>) -> Failure {
    let why = notes.into_iter().next();
    Failure::Asked(
        why.unwrap_or_else(|| {
            format!("{peer} was not {what}: nobody is there; see `ringbgp peers`")
        }),
    )
}

pub(super) fn refresh(args: RefreshArgs) -> Result<(), Failure> {
    let query = RefreshQuery {
        instance: args.ask.instance,
        peer: args.peer,
    };
    let reply = block_on(async {
        let mut client = Client::connect(&args.ask.admin).await?;
        Ok(client.refresh(&query).await?)
    })?;
    if let (Some(peer), 0) = (args.peer, reply.peers) {
        return Err(nothing_done(peer, "asked", reply.notes));
    }
    if args.ask.output == Format::Json {
        return print(&(json(&reply)? + "\n"));
    }
    for note in &reply.notes {
        complain(&format!("ringbgp: {note}"));
    }
    print(&match reply.peers {
        0 => "No peer asked for its routes.\n".to_owned(),
        1 => "1 peer asked for its routes.\n".to_owned(),
        peers => format!("{peers} peers asked for their routes.\n"),
    })
}

fn parse_filter(text: &str) -> Result<Filter, String> {
    match text {
        "ipv4" => Ok(Filter::Family(Family::Ipv4Unicast)),
        "ipv6" => Ok(Filter::Family(Family::Ipv6Unicast)),
        prefix => parse_prefix(prefix).map(Filter::Prefix),
    }
}

pub(super) fn block_on<T>(asking: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Asked(format!("cannot wait for the daemon: {error}")))?
        .block_on(asking)
}
