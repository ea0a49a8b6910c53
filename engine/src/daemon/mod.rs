//! The engine as a value: its threads, how they are started, asked and stopped.
//!
//! Threads: *control* (accepts connections, answers the admin interface; plain epoll), one for the
//! caches of the RPKI where there are any, the shards
//! (sessions and tables; one core and one ring each), and whoever calls the [`Dispatcher`], the
//! watcher's thread. Nothing is global: two engines live in one process. Invariants: deltas reach
//! each shard in the order in which the watcher gave them; a stopped engine has closed its
//! sessions and holds no thread.

mod dispatcher;
mod handle;
mod listening;
mod placement;
#[cfg(test)]
mod tests;
mod watching;

use std::hash::{BuildHasher, Hasher};
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use rib::ShardId;
use tokio::runtime::{Handle, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};

pub use dispatcher::Dispatcher;
use dispatcher::Listening;
pub use handle::{EngineHandle, Grounds, Resources};
pub use placement::shard_of;

use crate::interfaces::SystemInterfaces;
use crate::ring::{
    Directory, Handover, InboxSender, IoMode, ListenFailure, ListenFailures, ListenPlan, Message,
    Publish, RtrClients, ShardStart, ShardThread, Unavailable, choose, default_shards, inbox,
    listen_as_planned, raise_descriptor_limit, spawn_shard, usable_cpus,
};
use crate::shard::{Deferral, DynamicPeers, EstablishedPeers, Shard, ShardCommand, ShardOptions};
use crate::time::Clock;

/// How an engine is made.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Threads that carry sessions, 1 to 64; none: as many as there are CPUs to use, at most 8.
    pub shards: Option<u8>,
    /// Whether each shard is bound to a CPU.
    pub pin: bool,
    /// How shards reach the network.
    pub io: IoMode,
    /// After a restart: what OPEN says of it, and until when peers are told nothing, since their own
    /// routes are to come first (RFC 4724 §4.1).
    pub deferral: Deferral,
}

/// An engine cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// io_uring was insisted on.
    #[error(transparent)]
    Io(#[from] Unavailable),
    /// A thread or a runtime cannot be made.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] io::Error),
}

/// A running engine. Stops when told so; dropping it stops it too.
pub struct Engine {
    handle: EngineHandle,
    shards: Vec<ShardThread>,
    senders: Arc<[InboxSender<ShardCommand>]>,
    control: Handle,
    control_thread: Option<JoinHandle<()>>,
    rtr: RtrClients,
    /// Dropped to end the control thread.
    stop_control: Option<oneshot::Sender<()>>,
    failures: mpsc::UnboundedReceiver<ListenFailure>,
}

impl Engine {
    /// Starts the threads. The engine does nothing until the dispatcher is given deltas.
    ///
    /// # Errors
    /// io_uring is insisted on and not to be had, or the machine has no thread left.
    pub fn start(options: &EngineOptions) -> Result<(Engine, Dispatcher), StartError> {
        let (driver, why) = choose(options.io)?;
        let count = options.shards.map_or_else(default_shards, usize::from);
        let count = count.clamp(1, usize::from(ShardId::LIMIT));
        tracing::info!(shards = count, io = %driver, "{why}");
        if let Err(error) = raise_descriptor_limit() {
            tracing::warn!("the limit of descriptors, and so of peers, stays as it is: {error}");
        }

        let (senders, inboxes): (Vec<_>, Vec<_>) =
            (0..count).map(|_| inbox::<ShardCommand>()).unzip();
        let senders: Arc<[InboxSender<ShardCommand>]> = senders.into();
        let directory = Arc::new(ArcSwap::from_pointee(Directory::default()));
        let (plans, plan) = watch::channel(Arc::new(ListenPlan::default()));
        let (answer, followed) = crossbeam_channel::unbounded();
        let (is_settled, settled) = watch::channel(true);
        let (report, failures) = mpsc::unbounded_channel();
        let (stop_control, stopped) = oneshot::channel();

        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let control = runtime.handle().clone();
        let clock = Clock::system();
        let handover = Handover::new(Arc::clone(&directory), Arc::clone(&senders), settled, clock);
        let standing = ListenFailures::default();
        control.spawn(listen_as_planned(
            plan,
            Arc::new(handover),
            answer,
            report,
            Arc::clone(&standing),
        ));
        let rtr = RtrClients::new(clock, publish_to(Arc::clone(&senders)));
        let mut engine = Engine {
            handle: EngineHandle::new(
                Arc::clone(&senders),
                Arc::clone(&directory),
                standing,
                rtr.clone(),
            ),
            rtr: rtr.clone(),
            shards: Vec::with_capacity(count),
            senders: Arc::clone(&senders),
            control,
            control_thread: Some(spawn_control(runtime, stopped)?),
            stop_control: Some(stop_control),
            failures,
        };
        let cpus = usable_cpus();
        let established = EstablishedPeers::default();
        let dynamic_peers = DynamicPeers::default();
        let deferral = options.deferral.clone();
        for (index, inbox) in inboxes.into_iter().enumerate() {
            let start = ShardStart {
                name: format!("bgp-shard-{index}"),
                clock,
                inbox,
                siblings: Arc::clone(&senders),
                driver,
                cpu: cpus
                    .get(index % cpus.len())
                    .copied()
                    .filter(|_| options.pin),
            };
            let shard = make_shard(
                index,
                established.clone(),
                dynamic_peers.clone(),
                deferral.clone(),
            );
            engine.shards.push(spawn_shard(start, shard)?);
        }
        let listening = Listening {
            plans,
            followed,
            is_settled,
        };
        let dispatcher = Dispatcher::new(senders, directory, listening, rtr, deferral);
        Ok((engine, dispatcher))
    }

    /// What asks the engine. Cheap to clone.
    pub fn handle(&self) -> EngineHandle {
        self.handle.clone()
    }

    /// The control thread's runtime, for the admin server and what else waits rather than works.
    pub fn control(&self) -> &Handle {
        &self.control
    }

    /// Waits for SIGTERM or SIGINT.
    ///
    /// # Errors
    /// The listeners that were asked for first cannot be had and never will be: their port is
    /// taken, or not permitted.
    pub fn wait_for_signal(&mut self) -> Result<(), WaitError> {
        let failures = &mut self.failures;
        self.control.block_on(async {
            let mut terminate = signal(SignalKind::terminate()).map_err(WaitError::Signals)?;
            let mut interrupt = signal(SignalKind::interrupt()).map_err(WaitError::Signals)?;
            std::future::poll_fn(|cx| {
                if terminate.poll_recv(cx).is_ready() || interrupt.poll_recv(cx).is_ready() {
                    return std::task::Poll::Ready(Ok(()));
                }
                failures.poll_recv(cx).map(|failure| match failure {
                    Some(failure) => Err(WaitError::Listen(failure)),
                    None => Ok(()),
                })
            })
            .await
        })
    }

    /// Closes every session with Cease/Administrative Shutdown and ends the threads. Takes at
    /// most 2 s.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.rtr.stop();
        for sender in self.senders.iter() {
            // A shard that is gone needs no telling.
            let _ = sender.send(Message::Shutdown);
        }
        for shard in self.shards.drain(..) {
            shard.join();
        }
        drop(self.stop_control.take());
        if let Some(thread) = self.control_thread.take() {
            // It runs nothing of ours that may panic unseen: the panic was printed.
            let _ = thread.join();
        }
    }
}

/// A running engine cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    /// No listener where the resources ask for one.
    #[error(transparent)]
    Listen(ListenFailure),
    /// The process cannot hear its signals.
    #[error("cannot wait for signals: {0}")]
    Signals(io::Error),
}

fn spawn_control(runtime: Runtime, stopped: oneshot::Receiver<()>) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name("bgp-control".to_owned())
        .spawn(move || {
            // Ends when the sender is dropped; nothing is ever sent.
            let _ = runtime.block_on(stopped);
            runtime.shutdown_background();
        })
}

/// Tells every shard what is valid from now on.
fn publish_to(shards: Arc<[InboxSender<ShardCommand>]>) -> Publish {
    Arc::new(move |instance, publication| {
        for shard in shards.iter() {
            let command = ShardCommand::Vrps(instance, publication.clone());
            // A shard that is gone belongs to an engine that stops.
            let _ = shard.send(Message::Command(command));
        }
    })
}

fn make_shard(
    index: usize,
    established: EstablishedPeers,
    dynamic_peers: DynamicPeers,
    deferral: Deferral,
) -> impl FnOnce() -> Shard + Send + 'static {
    // Jitter need not be repeatable on a real machine, only different: each hasher has new keys.
    let seed = std::collections::hash_map::RandomState::new()
        .build_hasher()
        .finish();
    move || {
        Shard::new(ShardOptions {
            id: ShardId(index as u8),
            seed,
            interfaces: Box::new(SystemInterfaces),
            backlog_max: crate::group::BACKLOG_MAX,
            rest_a_member: crate::group::REST_A_MEMBER,
            established,
            dynamic_peers,
            deferral,
        })
    }
}
