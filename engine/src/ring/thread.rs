//! The thread of a shard: first without a ring, with its first socket on one.
//!
//! A shard whose peers have not come yet costs a parked thread and nothing else; it still does the
//! table work of the routes that are dealt to it.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::core::{Action, Core};
use super::drive::{AbortOnPanic, First, MESSAGES_PER_TURN, Shared, wake};
use super::epoll::Epoll;
use super::inbox::{Inbox, InboxSender, Message};
use super::io::Io;
use super::probe::IoDriver;
use super::uring::Uring;
use crate::time::Clock;

/// A running shard. Ends after [`Message::Shutdown`].
#[derive(Debug)]
pub struct ShardThread {
    thread: JoinHandle<()>,
}

impl ShardThread {
    /// Waits until it has ended.
    pub fn join(self) {
        // A panic of a shard ends the process, so there is none to pass on.
        let _ = self.thread.join();
    }
}

/// What a shard's thread is started with.
pub struct ShardStart<C: Core> {
    /// Of the thread, at most 15 octets.
    pub name: String,
    /// The clock that all shards of an engine share.
    pub clock: Clock,
    /// Where its messages arrive.
    pub inbox: Inbox<C::Command>,
    /// The ways to all shards of the engine, itself included, by number.
    pub siblings: Arc<[InboxSender<C::Command>]>,
    /// What it runs on.
    pub driver: IoDriver,
    /// The core it is pinned to, if any.
    pub cpu: Option<usize>,
}

/// Starts a shard. `core` makes its core, on the new thread.
///
/// # Errors
/// No thread can be made.
pub fn spawn_shard<C: Core>(
    start: ShardStart<C>,
    core: impl FnOnce() -> C + Send + 'static,
) -> io::Result<ShardThread> {
    let thread = std::thread::Builder::new()
        .name(start.name.clone())
        .spawn(move || {
            let _guard = AbortOnPanic;
            if let Some(cpu) = start.cpu {
                pin(cpu);
            }
            run(start, core());
        })?;
    Ok(ShardThread { thread })
}

fn run<C: Core>(start: ShardStart<C>, mut core: C) {
    let Some(first) = run_without_sockets(&start, &mut core) else {
        return;
    };
    if start.driver == IoDriver::Uring {
        match Uring::runtime() {
            Ok(runtime) => return run_on::<C, Uring>(&runtime, start, core, first),
            // The probe passed, so this is a limit that several rings reach together.
            Err(error) => {
                tracing::warn!(shard = %start.name, "no ring for this shard ({error}), it runs on epoll");
            }
        }
    }
    match Epoll::runtime() {
        Ok(runtime) => run_on::<C, Epoll>(&runtime, start, core, first),
        Err(error) => panic!("neither io_uring nor epoll can be had: {error}"),
    }
}

fn run_on<C: Core, I: Io>(runtime: &I::Runtime, start: ShardStart<C>, core: C, first: First) {
    let shared = Shared::<C, I>::new(core, start.clock, start.inbox, start.siblings);
    I::run(runtime, shared.run(first));
}

/// Turns without a runtime, until a socket is needed (what for is returned) or the shard is to end.
fn run_without_sockets<C: Core>(start: &ShardStart<C>, core: &mut C) -> Option<First> {
    let inbox = &start.inbox;
    inbox.attach();
    loop {
        inbox.begin_turn();
        let mut more = true;
        for _ in 0..MESSAGES_PER_TURN {
            match inbox.try_recv() {
                Some(Message::Command(command)) => core.handle_command(start.clock.now(), command),
                Some(Message::Accepted { instance, socket }) => {
                    return Some(First::Accepted { instance, socket });
                }
                Some(Message::Shutdown) => return None,
                None => {
                    more = false;
                    break;
                }
            }
        }
        let now = start.clock.now();
        if core.poll_timeout().is_some_and(|due| due <= now) {
            // Without sockets nothing waits in one.
            core.handle_timeout(now, &mut |_| false);
        }
        more |= core.work(now);
        while let Some(action) = core.poll_action() {
            match action {
                Action::Wake(shards) => wake(&start.siblings, shards),
                Action::Connect { .. } => return Some(First::Action(action)),
                // Of connections that there are not.
                Action::Close { .. }
                | Action::SetOptions { .. }
                | Action::Pause { .. }
                | Action::Resume { .. } => {}
            }
        }
        if !more && inbox.may_park() {
            park(core.poll_timeout().map(|due| due.saturating_since(now)));
        }
    }
}

fn park(time: Option<Duration>) {
    match time {
        Some(time) => std::thread::park_timeout(time),
        None => std::thread::park(),
    }
}

/// Pins the current thread; a refusal costs speed only.
fn pin(cpu: usize) {
    if let Err(error) = super::cpus::pin(cpu) {
        tracing::warn!("cannot pin a shard to CPU {cpu}: {error}");
    }
}
