//! `watch`: changes of sessions and routes, a line each, as they happen.

use clap::Args;

use super::ask::{AskArgs, block_on};
use super::output::{Failure, Format, json, print};
use crate::admin::client::Client;
use crate::admin::render;
use crate::config::PeerAddress;
use crate::model::WatchQuery;

#[derive(Debug, Args)]
pub(super) struct WatchArgs {
    /// Only this peer: its session, what it announces and withdraws
    peer: Option<PeerAddress>,
    #[command(flatten)]
    ask: AskArgs,
}

/// Goes on until it is interrupted, its output is closed or the daemon stops.
pub(super) fn watch(args: WatchArgs) -> Result<(), Failure> {
    let query = WatchQuery {
        instance: args.ask.instance,
        peer: args.peer,
    };
    let format = args.ask.output;
    block_on(async {
        let mut client = Client::connect(&args.ask.admin).await?;
        let show = |event| match format {
            Format::Json => print(&(json(&event)? + "\n")),
            format => print(&render::event(&event, format == Format::Wide)),
        };
        client.watch(&query, show).await
    })
}
