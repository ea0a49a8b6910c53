//! The life of one connection: opened or accepted, read, written, closed.
//!
//! One task reads (it is the task that connected, if we did), one writes while there is something
//! to write, one closes. Invariants: one operation in flight a direction; every operation is
//! awaited to its end, and what must end sooner is ended by `shutdown` or a cancel on the socket;
//! once the core closed a connection it hears no more of it, and what it had queued is still sent.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::sync::Notify;

use super::core::{ConnectTarget, ConnectionId, Core, SocketOptions};
use super::drive::{Shared, spawn};
use super::io::{Batch, Io};
use super::socket;
use crate::config::InstanceId;
use crate::interfaces::{peer_address, socket_address};
use crate::session::ConnectFailure;

/// Octets taken from the core for one write.
const WRITE_OCTETS: usize = 256 * 1024;

/// How long a closing connection may take to send what is queued.
const FLUSH_TIME: Duration = Duration::from_millis(800);

/// How long a closing connection then waits for the peer's end.
const DRAIN_TIME: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The kernel is connecting.
    Connecting,
    /// The core knows it.
    Open,
    /// The core closed it: queued bytes are sent, what arrives is thrown away.
    Closing,
    /// It broke or was closed by the peer; operations in flight are about to end.
    Ended,
}

/// One connection of a shard.
pub(super) struct Connection<I: Io> {
    id: ConnectionId,
    remote: IpAddr,
    stream: I::Stream,
    phase: Cell<Phase>,
    reading: Cell<bool>,
    writing: Cell<bool>,
    /// The core wants nothing read while the connection is open.
    paused: Cell<bool>,
    /// It may be read again.
    resumed: Notify,
    /// Reading or writing ended; only a closing task waits for it.
    stopped: Notify,
}

impl<I: Io> Connection<I> {
    fn new(id: ConnectionId, remote: IpAddr, stream: I::Stream, phase: Phase) -> Rc<Self> {
        Rc::new(Connection {
            id,
            remote,
            stream,
            phase: Cell::new(phase),
            reading: Cell::new(phase == Phase::Open),
            writing: Cell::new(false),
            paused: Cell::new(false),
            resumed: Notify::new(),
            stopped: Notify::new(),
        })
    }

    /// Whether nothing must be read now. A connection that closes is drained all the same.
    fn is_paused(&self) -> bool {
        self.paused.get() && self.phase.get() == Phase::Open
    }

    /// Whether octets wait in the socket. The end of the stream is none.
    pub(super) fn has_unread(&self) -> bool {
        self.phase.get() == Phase::Open && socket::has_unread(&self.stream)
    }

    fn shutdown(&self, how: Shutdown) {
        // A connection that is already broken refuses; its operations have ended by themselves.
        let _ = SockRef::from(&self.stream).shutdown(how);
    }
}

/// Opens a connection that the core asked for.
pub(super) fn open<C: Core, I: Io>(
    shared: &Rc<Shared<C, I>>,
    id: ConnectionId,
    to: Arc<ConnectTarget>,
) {
    let stream = socket_address(to.peer, to.port)
        .and_then(|remote| Ok((socket::outgoing(&to, remote)?, remote)))
        .map_err(ConnectFailure::Here)
        .and_then(|(socket, remote)| {
            let stream = I::begin_connect(socket, remote);
            let stream = stream.map_err(|error| socket::connect_failure(&error, &to))?;
            Ok((stream, remote))
        });
    match stream {
        Ok((stream, remote)) => {
            let connection = Connection::new(id, remote.ip(), stream, Phase::Connecting);
            remember(shared, &connection);
            spawn(connect(Rc::clone(shared), connection, remote, to));
        }
        Err(why) => {
            let now = shared.clock.now();
            shared.core.borrow_mut().handle_connect_failed(now, id, why);
        }
    }
}

fn remember<C: Core, I: Io>(shared: &Shared<C, I>, connection: &Rc<Connection<I>>) {
    let known = shared
        .connections
        .borrow_mut()
        .insert(connection.id, Rc::clone(connection));
    assert!(
        known.is_none(),
        "a core gave the name of a live connection again"
    );
}

async fn connect<C: Core, I: Io>(
    shared: Rc<Shared<C, I>>,
    connection: Rc<Connection<I>>,
    remote: SocketAddr,
    to: Arc<ConnectTarget>,
) {
    let result = match I::connected(&connection.stream, remote).await {
        Ok(()) => socket::addresses(&connection.stream),
        Err(error) => Err(error),
    };
    let now = shared.clock.now();
    if connection.phase.get() != Phase::Connecting {
        // No longer wanted. A connection that came about all the same is closed by the drop.
        discard(&shared, connection.id);
        shared.forget(connection.id);
        return;
    }
    match result {
        Ok((local, remote)) => {
            connection.phase.set(Phase::Open);
            connection.reading.set(true);
            shared
                .core
                .borrow_mut()
                .handle_connected(now, connection.id, local, remote);
            shared.changed();
            read(shared, connection).await;
        }
        Err(error) => {
            connection.phase.set(Phase::Ended);
            shared.forget(connection.id);
            let why = socket::connect_failure(&error, &to);
            shared
                .core
                .borrow_mut()
                .handle_connect_failed(now, connection.id, why);
            shared.changed();
        }
    }
}

/// Takes a connection that a peer opened.
pub(super) fn accept<C: Core, I: Io>(
    shared: &Rc<Shared<C, I>>,
    instance: InstanceId,
    socket: OwnedFd,
) {
    // Any of this fails only for a connection that broke since it was accepted.
    let Ok((local, remote)) = socket::addresses(&socket) else {
        return;
    };
    if socket::set_common(&socket, remote.is_ipv6()).is_err() {
        return;
    }
    let Ok(stream) = I::adopt(socket) else {
        return;
    };
    let now = shared.clock.now();
    // An interface that has no name any more is gone, and its connections with it.
    let Some(peer) = peer_address(remote) else {
        return;
    };
    let id = shared
        .core
        .borrow_mut()
        .handle_accepted(now, instance, local, peer);
    let Some(id) = id else { return };
    let connection = Connection::new(id, remote.ip(), stream, Phase::Open);
    remember(shared, &connection);
    spawn(read(Rc::clone(shared), connection));
    shared.settle();
}

/// Reads until the connection ends: for the core while it is open, for nobody while it closes.
async fn read<C: Core, I: Io>(shared: Rc<Shared<C, I>>, connection: Rc<Connection<I>>) {
    let end = loop {
        while connection.is_paused() {
            connection.resumed.notified().await;
        }
        if let Err(error) = I::readable(&connection.stream).await {
            break Err(error);
        }
        if connection.is_paused() {
            // While the poll was armed.
            continue;
        }
        let mut buffer = shared.buffer.borrow_mut();
        let count = match I::receive(&connection.stream, &mut buffer) {
            Ok(0) => break Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => break Err(error),
        };
        if connection.phase.get() == Phase::Open {
            let now = shared.clock.now();
            let bytes = buffer.get(..count).unwrap_or_default();
            shared
                .core
                .borrow_mut()
                .handle_bytes(now, connection.id, bytes);
            drop(buffer);
            shared.changed();
        }
    };
    connection.reading.set(false);
    connection.stopped.notify_one();
    let words = match end {
        Ok(()) => "the peer closed the connection".to_owned(),
        Err(error) => socket::closed_words(&error),
    };
    fail(&shared, &connection, words);
}

/// Starts the writing task, unless it runs already.
pub(super) fn start_writing<C: Core, I: Io>(
    shared: &Rc<Shared<C, I>>,
    connection: &Rc<Connection<I>>,
) {
    if matches!(connection.phase.get(), Phase::Open | Phase::Closing)
        && !connection.writing.replace(true)
    {
        spawn(write(Rc::clone(shared), Rc::clone(connection)));
    }
}

/// Writes until the core has nothing more.
async fn write<C: Core, I: Io>(shared: Rc<Shared<C, I>>, connection: Rc<Connection<I>>) {
    let mut batch = Batch::default();
    let end = loop {
        if batch.is_empty() {
            let mut core = shared.core.borrow_mut();
            core.poll_transmit(connection.id, batch.refill(), WRITE_OCTETS);
            if batch.is_empty() {
                break Ok(());
            }
        }
        let (result, same) = I::write(&connection.stream, batch).await;
        batch = same;
        match result {
            Ok(octets) => batch.advance(octets),
            Err(error) => break Err(error),
        }
        let octets = result.unwrap_or_default();
        let now = shared.clock.now();
        shared
            .core
            .borrow_mut()
            .handle_written(now, connection.id, octets);
        shared.changed();
        if connection.phase.get() == Phase::Ended {
            break Ok(());
        }
    };
    connection.writing.set(false);
    connection.stopped.notify_one();
    if let Err(error) = end {
        fail(&shared, &connection, socket::closed_words(&error));
    }
}

/// The connection ended by itself: the core is told, the other direction is ended too.
fn fail<C: Core, I: Io>(shared: &Rc<Shared<C, I>>, connection: &Rc<Connection<I>>, words: String) {
    if connection.phase.get() != Phase::Open {
        return;
    }
    connection.phase.set(Phase::Ended);
    connection.resumed.notify_one();
    connection.shutdown(Shutdown::Both);
    shared.forget(connection.id);
    let now = shared.clock.now();
    shared
        .core
        .borrow_mut()
        .handle_closed(now, connection.id, words);
    shared.changed();
}

/// Closes a connection on behalf of the core.
pub(super) fn close<C: Core, I: Io>(shared: &Rc<Shared<C, I>>, id: ConnectionId) {
    let found = shared.connections.borrow().get(&id).cloned();
    // A core may close what has ended in the same moment.
    let Some(connection) = found else { return };
    match connection.phase.replace(Phase::Closing) {
        Phase::Connecting => {
            spawn(async move { I::cancel_connect(&connection.stream).await });
        }
        Phase::Open => {
            connection.resumed.notify_one();
            start_writing(shared, &connection);
            spawn(finish(Rc::clone(shared), connection));
        }
        before => connection.phase.set(before),
    }
}

/// Sends what is queued, says so, and waits for the peer's end: a socket that is closed with
/// unread input is reset, and a reset can overtake the NOTIFICATION.
async fn finish<C: Core, I: Io>(shared: Rc<Shared<C, I>>, connection: Rc<Connection<I>>) {
    if stopped_within(&connection, &connection.writing, FLUSH_TIME).await {
        connection.shutdown(Shutdown::Write);
        stopped_within(&connection, &connection.reading, DRAIN_TIME).await;
    } else {
        socket::abandon_on_close(&connection.stream);
    }
    connection.shutdown(Shutdown::Both);
    while connection.reading.get() || connection.writing.get() {
        connection.stopped.notified().await;
    }
    connection.phase.set(Phase::Ended);
    discard(&shared, connection.id);
    shared.forget(connection.id);
}

/// Has the core let go of what can no longer be sent.
fn discard<C: Core, I: Io>(shared: &Shared<C, I>, id: ConnectionId) {
    let mut slices = Vec::new();
    let mut core = shared.core.borrow_mut();
    while core.poll_transmit(id, &mut slices, WRITE_OCTETS) > 0 {
        slices.clear();
    }
}

/// True: the direction's task has ended in time.
async fn stopped_within<I: Io>(
    connection: &Connection<I>,
    running: &Cell<bool>,
    time: Duration,
) -> bool {
    let stopped = async {
        while running.get() {
            connection.stopped.notified().await;
        }
    };
    tokio::time::timeout(time, stopped).await.is_ok()
}

/// Stops reading from a connection, or goes on.
pub(super) fn pause<C: Core, I: Io>(shared: &Shared<C, I>, id: ConnectionId, paused: bool) {
    if let Some(connection) = shared.connections.borrow().get(&id) {
        connection.paused.set(paused);
        if !paused {
            connection.resumed.notify_one();
        }
    }
}

/// Changes the options of a live connection.
pub(super) fn set_options<C: Core, I: Io>(
    shared: &Shared<C, I>,
    id: ConnectionId,
    options: &SocketOptions,
) {
    let found = shared.connections.borrow().get(&id).cloned();
    let Some(connection) = found else { return };
    if let Err(words) = socket::apply(&connection.stream, connection.remote, options) {
        tracing::warn!(peer = %connection.remote, "cannot change the options of the connection: {words}");
    }
}
