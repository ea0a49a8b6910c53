//! `drain` and `undrain`: graceful shutdown (RFC 8326), asked for and waited for.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;

use super::ask::{AskArgs, block_on};
use super::output::{Failure, Format, json, print};
use crate::admin::client::Client;
use crate::config::PeerAddress;
use crate::model::{DrainQuery, DrainReply, DrainState, Peer, PeersQuery};
use crate::time::Clock;

#[derive(Debug, Args)]
pub(super) struct DrainArgs {
    /// Only this peer
    peer: Option<PeerAddress>,
    /// How long the peers have to find other paths, for example 90s, 2m or 0s
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_seconds)]
    wait: u32,
    #[command(flatten)]
    ask: AskArgs,
}

#[derive(Debug, Args)]
pub(super) struct UndrainArgs {
    /// Only this peer
    peer: Option<PeerAddress>,
    #[command(flatten)]
    ask: AskArgs,
}

/// Between two looks whether the sessions are closed.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// Peers that are named where more are meant.
const NAMED_MAX: usize = 5;

/// Returns once the sessions are closed, so that a node can be stopped behind it.
///
/// # Errors
/// Peers are not drained: somebody said `undrain` meanwhile, or the daemon is gone.
pub(super) fn drain(args: DrainArgs) -> Result<(), Failure> {
    let reply = block_on(async {
        let mut client = Client::connect(&args.ask.admin).await?;
        let reply = ask(&mut client, &args.ask, args.peer, Some(args.wait)).await?;
        wait_until_closed(&mut client, &args).await?;
        Ok(reply)
    })?;
    say(
        &args.ask,
        reply,
        "drained; `ringbgp undrain` lets them come up again",
        "No peer is there to be drained now; who comes later is.\n",
    )
}

/// Lets drained sessions come up again.
pub(super) fn undrain(args: UndrainArgs) -> Result<(), Failure> {
    let reply = block_on(async {
        let mut client = Client::connect(&args.ask.admin).await?;
        ask(&mut client, &args.ask, args.peer, None).await
    })?;
    let what = "not drained any more";
    say(&args.ask, reply, what, "No peer was drained.\n")
}

async fn ask(
    client: &mut Client,
    ask: &AskArgs,
    peer: Option<PeerAddress>,
    wait_seconds: Option<u32>,
) -> Result<DrainReply, Failure> {
    let query = DrainQuery {
        instance: ask.instance.clone(),
        peer,
        wait_seconds,
    };
    Ok(client.drain(&query).await?)
}

/// Waits until all are drained that are to be.
///
/// # Errors
/// As soon as one of them is not any more: whoever asked is about to stop what carries its traffic.
async fn wait_until_closed(client: &mut Client, args: &DrainArgs) -> Result<(), Failure> {
    let query = PeersQuery {
        instance: args.ask.instance.clone(),
    };
    let clock = Clock::system();
    let begun = clock.now();
    let mut meant = BTreeSet::new();
    loop {
        let peers = client.peers(&query).await.map_err(|e| unknown(e.into()))?;
        let progress = progress(&peers, args.peer, &mut meant);
        match progress {
            Progress::Done => return Ok(()),
            Progress::Ended { by, lost } => {
                let words = ended(by, &lost, meant.len(), clock.now().saturating_since(begun));
                return Err(Failure::Asked(words));
            }
            Progress::Going => tokio::time::sleep(LOOK_INTERVAL).await,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Progress {
    Going,
    Done,
    /// These were to be drained, and are not.
    Ended {
        by: &'static str,
        lost: Vec<String>,
    },
}

/// How far a drain is; `meant`: all that it was seen to be about, by instance and address.
fn progress(
    peers: &[Peer],
    wanted: Option<PeerAddress>,
    meant: &mut BTreeSet<(String, String)>,
) -> Progress {
    let wanted = wanted.map(|peer| peer.to_string());
    let is_wanted = |peer: &&Peer| {
        let address = &peer.peer_address;
        wanted.as_ref().is_none_or(|wanted| wanted == address)
    };
    let name = |peer: &Peer| (peer.instance.clone(), peer.peer_address.clone());
    let peers: Vec<&Peer> = peers.iter().filter(is_wanted).collect();
    meant.extend(peers.iter().map(|peer| name(peer)));
    let held = peers.iter().filter(|peer| peer.drain.is_some());
    let held: BTreeSet<_> = held.map(|peer| name(peer)).collect();
    // Whoever is drained is shown, also with nobody there: who is not shown any more is not drained.
    let by = match peers.iter().any(|peer| peer.drain.is_none()) {
        true => "`undrain`",
        false => "a change of the configuration",
    };
    let lost = meant.difference(&held);
    let lost: Vec<String> = lost.map(|(_, address)| address.clone()).collect();
    let is_open = |peer: &&Peer| peer.drain == Some(DrainState::Draining);
    match (lost.is_empty(), peers.iter().any(is_open)) {
        (false, _) => Progress::Ended { by, lost },
        (true, true) => Progress::Going,
        (true, false) => Progress::Done,
    }
}

fn ended(by: &str, lost: &[String], meant: usize, after: Duration) -> String {
    let mut named = lost[..lost.len().min(NAMED_MAX)].join(", ");
    if lost.len() > NAMED_MAX {
        named += ", …";
    }
    let are = match lost.len() {
        1 => "is",
        _ => "are",
    };
    let peers = match meant {
        1 => "1 peer".to_owned(),
        meant => format!("{meant} peers"),
    };
    format!(
        "the drain was ended by {by} after {} s: {} of {peers} {are} not drained ({named})",
        after.as_secs(),
        lost.len()
    )
}

/// The daemon is gone under the drain.
fn unknown(failure: Failure) -> Failure {
    match failure {
        Failure::Unreachable(words) => Failure::Unreachable(format!(
            "it is not known whether the peers are drained, and a daemon that starts anew has \
             forgotten it: {words}"
        )),
        failure => failure,
    }
}

fn say(ask: &AskArgs, reply: DrainReply, what: &str, nobody: &str) -> Result<(), Failure> {
    match ask.output {
        Format::Json => print(&(json(&reply)? + "\n")),
        _ => print(&match reply.peers {
            0 => nobody.to_owned(),
            1 => format!("1 peer {what}.\n"),
            peers => format!("{peers} peers {what}.\n"),
        }),
    }
}

/// A number of seconds, minutes or hours, at most a day.
fn parse_seconds(text: &str) -> Result<u32, String> {
    const SECONDS_MAX: u32 = 86_400;
    let units = [("s", 1), ("m", 60), ("h", 3600)];
    let parsed = units.iter().find_map(|(unit, factor)| {
        let number: u32 = text.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(*factor)
    });
    parsed
        .filter(|seconds| *seconds <= SECONDS_MAX)
        .ok_or_else(|| "a time is expected, for example 90s, 2m or 1h; at most 24h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::render;

    fn peer(address: &str, drain: Option<DrainState>) -> Peer {
        Peer {
            drain,
            peer_address: address.to_owned(),
            ..render::tests::peer()
        }
    }

    #[test]
    fn only_who_is_drained_counts_as_drained() {
        const DRAINING: Option<DrainState> = Some(DrainState::Draining);
        const DRAINED: Option<DrainState> = Some(DrainState::Drained);
        let (one, other) = ("10.0.0.6", "10.0.0.7");
        let rows = |of: &[(&str, Option<DrainState>)]| -> Vec<Peer> {
            of.iter().map(|(at, drain)| peer(at, *drain)).collect()
        };
        let mut meant = BTreeSet::new();
        let mut look = |of: &[_], wanted: Option<&str>| {
            let wanted = wanted.map(|peer| peer.parse().unwrap());
            match progress(&rows(of), wanted, &mut meant) {
                Progress::Ended { by, lost } => {
                    Err(ended(by, &lost, meant.len(), Duration::from_secs(12)))
                }
                other => Ok(other == Progress::Done),
            }
        };
        assert_eq!(look(&[], None), Ok(true));
        assert_eq!(look(&[(one, DRAINED), (other, None)], Some(one)), Ok(true));
        assert_eq!(look(&[(one, DRAINING), (other, DRAINED)], None), Ok(false));
        let said = "the drain was ended by `undrain` after 12 s: ";
        assert_eq!(
            look(&[(one, None), (other, DRAINED)], None),
            Err(format!("{said}1 of 2 peers is not drained ({one})"))
        );
        assert_eq!(
            look(&[(one, None), (other, None)], None),
            Err(format!(
                "{said}2 of 2 peers are not drained ({one}, {other})"
            ))
        );
        let gone = "the drain was ended by a change of the configuration after 12 s: ";
        assert_eq!(
            look(&[(one, DRAINED)], None),
            Err(format!("{gone}1 of 2 peers is not drained ({other})"))
        );
        assert_eq!(look(&[(one, DRAINED), (other, DRAINED)], None), Ok(true));
    }

    #[test]
    fn times_as_people_write_them() {
        assert_eq!(parse_seconds("60s"), Ok(60));
        assert_eq!(parse_seconds("2m"), Ok(120));
        assert_eq!(parse_seconds("24h"), Ok(86_400));
        assert_eq!(parse_seconds("0s"), Ok(0));
        for wrong in ["", "60", "-1s", "25h", "99999999999s", "1d"] {
            assert!(parse_seconds(wrong).is_err(), "{wrong}");
        }
    }
}
