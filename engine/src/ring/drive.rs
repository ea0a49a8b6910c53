//! The loop of a shard that has sockets: turns of inbox, timers, work and outputs, then a sleep.
//!
//! Written once for both drivers. The core is borrowed for one call at a time and never across an
//! await. Invariant: between two turns the thread either sleeps or breathes, so a shard with much
//! to do still lets every socket have its turn.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::Future;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::connection::{self, Connection};
use super::core::{Action, ConnectionId, Core, ShardMask};
use super::inbox::{Inbox, InboxSender, Message};
use super::io::Io;
use super::limits;
use crate::config::InstanceId;
use crate::time::{Clock, Time};

/// Messages taken in one turn.
pub(super) const MESSAGES_PER_TURN: usize = 256;

/// Octets read from one peer before the others have their turn.
const READ_BUFFER_LEN: usize = 64 * 1024;

/// The least time between two looks at the memory of the process.
const MEMORY_INTERVAL: Duration = Duration::from_millis(250);

/// How long a shutdown may take before what is left is dropped; the process promises 2 s.
const SHUTDOWN_TIME: Duration = Duration::from_millis(1500);

/// What a shard had in hand when it first needed a socket.
pub(super) enum First {
    /// The core asked for something.
    Action(Action),
    /// A peer connected.
    Accepted {
        /// Where it arrived.
        instance: InstanceId,
        /// Its socket.
        socket: OwnedFd,
    },
}

/// What the loop and the tasks of a shard's connections share.
pub(super) struct Shared<C: Core, I: Io> {
    pub(super) core: RefCell<C>,
    pub(super) clock: Clock,
    pub(super) connections: RefCell<HashMap<ConnectionId, Rc<Connection<I>>>>,
    /// The one receive buffer of the shard.
    pub(super) buffer: RefCell<Box<[u8]>>,
    inbox: Inbox<C::Command>,
    siblings: Arc<[InboxSender<C::Command>]>,
    /// Set once the shard is to end: when to stop waiting for its connections.
    deadline: Cell<Option<Time>>,
    /// Memory is not looked at before this.
    memory_due: Cell<Time>,
}

impl<C: Core, I: Io> Shared<C, I> {
    pub(super) fn new(
        core: C,
        clock: Clock,
        inbox: Inbox<C::Command>,
        siblings: Arc<[InboxSender<C::Command>]>,
    ) -> Rc<Shared<C, I>> {
        Rc::new(Shared {
            core: RefCell::new(core),
            clock,
            connections: RefCell::default(),
            buffer: RefCell::new(vec![0; READ_BUFFER_LEN].into_boxed_slice()),
            inbox,
            siblings,
            deadline: Cell::new(None),
            memory_due: Cell::default(),
        })
    }

    /// Runs until shutdown.
    pub(super) async fn run(self: Rc<Self>, first: First) {
        match first {
            First::Action(action) => self.act(action),
            First::Accepted { instance, socket } => connection::accept(&self, instance, socket),
        }
        loop {
            self.inbox.begin_turn();
            let mut more = self.take_messages();
            let now = self.clock.now();
            self.look_at_memory(now);
            more |= {
                let mut core = self.core.borrow_mut();
                if core.poll_timeout().is_some_and(|due| due <= now) {
                    core.handle_timeout(now, &mut |connection| self.has_unread(connection));
                }
                core.work(now)
            };
            self.settle();
            if self.is_finished(now) {
                return;
            }
            let due = self.due();
            let late = due.is_some_and(|due| due <= now);
            if more || late || !self.inbox.may_park() {
                I::breathe().await;
                continue;
            }
            let woken = self.inbox.notify().notified();
            match due {
                None => woken.await,
                Some(due) => {
                    let due = tokio::time::Instant::from_std(self.clock.instant(due));
                    // Either way the next turn looks at everything.
                    let _ = tokio::time::timeout_at(due, woken).await;
                }
            }
        }
    }

    /// True: there may be more.
    fn take_messages(self: &Rc<Self>) -> bool {
        for _ in 0..MESSAGES_PER_TURN {
            let Some(message) = self.inbox.try_recv() else {
                return false;
            };
            match message {
                Message::Command(command) => {
                    let now = self.clock.now();
                    self.core.borrow_mut().handle_command(now, command);
                }
                Message::Accepted { instance, socket } => {
                    connection::accept(self, instance, socket);
                }
                Message::Shutdown => {
                    let now = self.clock.now();
                    self.core.borrow_mut().handle_shutdown(now);
                    self.deadline.set(Some(now + SHUTDOWN_TIME));
                }
            }
        }
        true
    }

    /// Tells the core how much memory the process has, every now and then.
    fn look_at_memory(&self, now: Time) {
        if now < self.memory_due.get() {
            return;
        }
        self.memory_due.set(now + MEMORY_INTERVAL);
        if let Some(octets) = limits::resident_memory() {
            self.core.borrow_mut().handle_memory(now, octets);
        }
    }

    /// Whether octets of a connection have arrived that its task was not given yet.
    fn has_unread(&self, connection: ConnectionId) -> bool {
        let connections = self.connections.borrow();
        let found = connections.get(&connection);
        found.is_some_and(|found| found.has_unread())
    }

    fn is_finished(&self, now: Time) -> bool {
        self.deadline
            .get()
            .is_some_and(|deadline| now >= deadline || self.connections.borrow().is_empty())
    }

    fn due(&self) -> Option<Time> {
        let core = self.core.borrow_mut().poll_timeout();
        core.into_iter().chain(self.deadline.get()).min()
    }

    /// Carries out what the core asks for, at once: nothing is reported of a connection after the
    /// core closed it.
    pub(super) fn settle(self: &Rc<Self>) {
        loop {
            let action = self.core.borrow_mut().poll_action();
            let Some(action) = action else { break };
            self.act(action);
        }
        loop {
            let writable = self.core.borrow_mut().poll_writable();
            let Some(writable) = writable else { break };
            let found = self.connections.borrow().get(&writable).cloned();
            if let Some(found) = found {
                connection::start_writing(self, &found);
            }
        }
    }

    fn act(self: &Rc<Self>, action: Action) {
        match action {
            Action::Connect { connection, to } => connection::open(self, connection, to),
            Action::Close { connection } => connection::close(self, connection),
            Action::SetOptions {
                connection,
                options,
            } => connection::set_options(self, connection, &options),
            Action::Pause { connection } => connection::pause(self, connection, true),
            Action::Resume { connection } => connection::pause(self, connection, false),
            Action::Wake(shards) => wake(&self.siblings, shards),
        }
    }

    /// After a task changed the core: its outputs now, its work and timers in the next turn.
    pub(super) fn changed(self: &Rc<Self>) {
        self.settle();
        self.inbox.notify().notify_one();
    }

    /// Forgets a connection whose operations have ended.
    pub(super) fn forget(&self, connection: ConnectionId) {
        self.connections.borrow_mut().remove(&connection);
        if self.deadline.get().is_some() {
            self.inbox.notify().notify_one();
        }
    }
}

/// Wakes the shards of a set.
pub(super) fn wake<C>(siblings: &[InboxSender<C>], shards: ShardMask) {
    for (index, sibling) in siblings.iter().enumerate() {
        if shards & (1 << index) != 0 {
            sibling.wake();
        }
    }
}

/// Starts a task of the current shard. A panic in it is a fault of ours that leaves the shard's
/// state half changed: the process ends, and its supervisor starts a sound one.
pub(super) fn spawn(task: impl Future<Output = ()> + 'static) {
    tokio::task::spawn_local(async move {
        let _guard = AbortOnPanic;
        task.await;
    });
}

/// Ends the process if dropped by a panic.
pub(super) struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}
