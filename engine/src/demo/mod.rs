//! `ringbgp demo`: a node that reads manifests, and an external router in the same process that
//! shows what the node tells it.
//!
//! Needs no privileges, no cluster, no other program: loopback addresses, ports above 1023. The
//! two share nothing but the process and speak BGP over TCP. Invariant: what is printed is what
//! the router holds, never what the node meant to say.

mod changes;
mod observer;
mod router;
mod stage;

use std::fmt::Write as _;
use std::future::Future;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::admin::api::EngineApi;
use crate::node::{Node, NodeOptions};
use crate::ring::IoMode;
use crate::time::Clock;
use crate::watcher::{Options, check};
use changes::Changes;
use observer::Observer;
use router::Router;
use stage::Stage;

fn known_as(name: &str) -> Options {
    Options {
        node_name: name.to_owned(),
        allow_second_speaker: false,
    }
}

/// Runs the demo until SIGINT or SIGTERM. `manifests`: the directory that the node reads; none:
/// the example.
///
/// # Errors
/// One sentence with the mend.
pub fn run(manifests: Option<&Path>) -> Result<(), String> {
    let clock = Clock::system();
    let stage = Stage::set(manifests)?;
    let router = Router::of(&check(stage.manifests(), &known_as(NODE_NAME)).state)?;
    router.look_for_room()?;
    let routers_own = stage.write_router(&router.manifest())?;
    // The router stands first: who dials does so once, and not again two minutes later.
    let router_node = start(&routers_own, "router", None)?;
    let changes = Changes::watch(stage.manifests(), clock)
        .map_err(|error| format!("cannot watch {}: {error}", stage.manifests().display()))?;
    let node = start(stage.manifests(), NODE_NAME, Some(stage.admin()))?;
    print(&introduction(&stage, &router))?;

    let observer = Observer::new(node.handle(), router_node.handle());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot wait for signals: {error}"))?;
    let shown = runtime.block_on(show(observer, changes, clock));
    node.stop();
    router_node.stop();
    shown
}

fn start(manifests: &Path, name: &str, admin: Option<PathBuf>) -> Result<Node, String> {
    Node::start(NodeOptions {
        manifests: manifests.to_owned(),
        known_as: known_as(name),
        shards: Some(1),
        pin: false,
        io: IoMode::Auto,
        admin,
        state: None,
    })
}

/// Prints what happens at the router until a signal comes.
async fn show<A: EngineApi>(
    mut observer: Observer<A>,
    mut changes: Changes,
    clock: Clock,
) -> Result<(), String> {
    let started = clock.now();
    let mut signals =
        Signals::listen().map_err(|error| format!("cannot wait for signals: {error}"))?;
    loop {
        let since = clock
            .now()
            .saturating_since(changes.last().unwrap_or(started));
        let lately = (since < ATTRIBUTED_WITHIN).then_some(since);
        print(&observer.look(lately).await)?;
        let pause = if since < WATCHED_CLOSELY {
            CLOSE_LOOK
        } else {
            LOOK
        };
        if wait(&mut signals, &mut changes, pause).await == Woken::BySignal {
            return print("\nStopped: both sides closed the session.\n");
        }
    }
}

#[derive(PartialEq, Eq)]
enum Woken {
    BySignal,
    ToLook,
}

/// Waits for a signal, a change of a file, or the end of `pause`.
async fn wait(signals: &mut Signals, changes: &mut Changes, pause: Duration) -> Woken {
    let mut changed = std::pin::pin!(tokio::time::timeout(pause, changes.changed()));
    std::future::poll_fn(|cx| {
        if signals.poll(cx) {
            return Poll::Ready(Woken::BySignal);
        }
        changed.as_mut().poll(cx).map(|_| Woken::ToLook)
    })
    .await
}

/// The signals that end the demo.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Whether one came; if not, the task is woken when one does.
    fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        self.interrupt.poll_recv(cx).is_ready() || self.terminate.poll_recv(cx).is_ready()
    }
}

fn introduction(stage: &Stage, router: &Router) -> String {
    let mut text = String::new();
    let manifests = stage.manifests().display();
    let admin = stage.admin();
    let admin = admin.display();
    let _ = writeln!(
        text,
        "Two BGP speakers run in this process and talk over TCP on the loopback interface:\n\
         \x20 node    AS {}, {}: announces what the files in {manifests} ask for\n\
         \x20 router  AS {}, {}: prints below what it is told\n",
        router.node_asn, router.node_address, router.asn, router.address,
    );
    if stage.is_a_copy() {
        text.push_str("The files are a copy of the example, which goes with the demo.\n");
    }
    let _ = writeln!(
        text,
        "Edit {}, for example: add a CIDR, save, delete the file.\n\
         Ask the node from another terminal: ringbgp peers --admin {admin}\n\
         \x20                                   ringbgp explain PREFIX --admin {admin}\n\
         Stop with Ctrl-C.\n",
        stage.edited().display(),
    );
    text
}

/// Writes to standard output at once, terminal or not.
fn print(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|error| format!("cannot write to standard output: {error}"))
}

/// Looked at so often after a change, for the time it took to be worth reading.
const CLOSE_LOOK: Duration = Duration::from_millis(1);

/// And so often if nothing was changed.
const LOOK: Duration = Duration::from_millis(200);

/// How long after a change the looks stay close.
const WATCHED_CLOSELY: Duration = Duration::from_secs(2);

/// What happens later than this after a change has another cause.
const ATTRIBUTED_WITHIN: Duration = Duration::from_secs(10);

/// The node's name in the example's resources.
const NODE_NAME: &str = "node-1";
