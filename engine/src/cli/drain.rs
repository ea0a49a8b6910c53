//! `drain` and `undrain`: graceful shutdown (RFC 8326), asked for and waited for.

use std::time::Duration;

use clap::Args;

use super::ask::{AskArgs, block_on};
use super::output::{Failure, Format, json, print};
use crate::admin::client::Client;
use crate::config::PeerAddress;
use crate::model::{DrainQuery, DrainReply, DrainState, PeersQuery};

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

/// Returns once the sessions are closed, so that a node can be stopped behind it.
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

async fn wait_until_closed(client: &mut Client, args: &DrainArgs) -> Result<(), Failure> {
    let query = PeersQuery {
        instance: args.ask.instance.clone(),
    };
    let wanted = args.peer.map(|peer| peer.to_string());
    loop {
        let peers = client.peers(&query).await?;
        let mut meant = peers.iter().filter(|peer| {
            wanted
                .as_ref()
                .is_none_or(|wanted| *wanted == peer.peer_address)
        });
        if !meant.any(|peer| peer.drain == Some(DrainState::Draining)) {
            return Ok(());
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
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
