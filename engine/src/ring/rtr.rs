//! Connections to caches of the RPKI, on a thread of their own (plain epoll).
//!
//! The thread begins with the first cache that is configured, so that nobody pays for it who has none;
//! it is neither a shard's nor the control thread, since half a million VRPs are sorted here. It does
//! what [`Caches`] ask and hands on what they publish. No RTR here. What it is sent waits in one bounded
//! queue, so a cache is read no faster than what it says is taken in.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use crate::config::{InstanceId, Rpki};
use crate::model::RpkiCache;
use crate::rpki::{Action, Caches, ConnectionId, Publication};
use crate::time::Clock;

/// Takes what is valid from now on, on the thread of the caches; may block there.
pub type Publish = Arc<dyn Fn(InstanceId, Publication) + Send + Sync>;

/// The caches of all instances. Cheap to clone.
#[derive(Clone)]
pub struct RtrClients {
    publish: Publish,
    clock: Clock,
    thread: Arc<OnceLock<RtrThread>>,
}

struct RtrThread {
    sender: mpsc::Sender<Message>,
    /// Taken by who stops it.
    thread: Mutex<Option<JoinHandle<()>>>,
}

enum Message {
    /// None: the instance is gone.
    Configure(InstanceId, Option<(Arc<str>, Rpki)>),
    Rows(oneshot::Sender<Vec<RpkiCache>>),
    Stop,
    Heard(InstanceId, ConnectionId, Heard),
}

enum Heard {
    Connected,
    Octets(Vec<u8>),
    Closed(String),
}

impl RtrClients {
    /// None yet.
    pub fn new(clock: Clock, publish: Publish) -> RtrClients {
        RtrClients {
            publish,
            clock,
            thread: Arc::default(),
        }
    }

    /// Follows an instance's settings; none: it is gone. Blocks while the thread is behind.
    pub fn configure(&self, instance: InstanceId, settings: Option<(Arc<str>, Rpki)>) {
        let has_caches = settings
            .as_ref()
            .is_some_and(|(_, of)| !of.caches.is_empty());
        if self.thread.get().is_none() && has_caches {
            self.start();
        }
        if let Some(thread) = self.thread.get() {
            // It is gone with the engine.
            let _ = thread
                .sender
                .blocking_send(Message::Configure(instance, settings));
        }
    }

    fn start(&self) {
        let (sender, receiver) = mpsc::channel(MESSAGES_MAX);
        let driver = Driver {
            publish: Arc::clone(&self.publish),
            clock: self.clock,
            instances: BTreeMap::new(),
            connections: HashMap::new(),
            sender: sender.clone(),
        };
        match spawn(driver, receiver) {
            Ok(thread) => {
                // Only the dispatcher comes here, and it is one.
                let _ = self.thread.set(RtrThread {
                    sender,
                    thread: Mutex::new(Some(thread)),
                });
            }
            Err(error) => {
                tracing::error!("no cache of the RPKI is asked: cannot start a thread: {error}");
            }
        }
    }

    /// The caches, for people. None: the thread is stopping or stuck.
    pub async fn rows(&self) -> Option<Vec<RpkiCache>> {
        let Some(thread) = self.thread.get() else {
            return Some(Vec::new());
        };
        let (sender, receiver) = oneshot::channel();
        thread.sender.send(Message::Rows(sender)).await.ok()?;
        receiver.await.ok()
    }

    /// Closes all connections and ends the thread.
    pub fn stop(&self) {
        let Some(running) = self.thread.get() else {
            return;
        };
        let _ = running.sender.blocking_send(Message::Stop);
        let thread = running
            .thread
            .lock()
            .ok()
            .and_then(|mut thread| thread.take());
        if let Some(thread) = thread {
            // A panic was printed.
            let _ = thread.join();
        }
    }
}

fn spawn(driver: Driver, receiver: mpsc::Receiver<Message>) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name("bgp-rtr".to_owned())
        .spawn(move || runtime.block_on(driver.run(receiver)))
}

struct Driver {
    publish: Publish,
    clock: Clock,
    instances: BTreeMap<InstanceId, (Arc<str>, Caches)>,
    connections: HashMap<(InstanceId, ConnectionId), Connection>,
    sender: mpsc::Sender<Message>,
}

struct Connection {
    outgoing: mpsc::UnboundedSender<Vec<u8>>,
    reading: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // What is queued is still written, by another task.
        self.reading.abort();
    }
}

impl Driver {
    async fn run(mut self, mut receiver: mpsc::Receiver<Message>) {
        loop {
            let caches = self.instances.values();
            let due = caches.filter_map(|(_, caches)| caches.poll_timeout()).min();
            let message = match due {
                None => receiver.recv().await,
                Some(due) => {
                    let due = self.clock.instant(due).into();
                    match tokio::time::timeout_at(due, receiver.recv()).await {
                        Ok(message) => message,
                        Err(_) => {
                            self.expire();
                            continue;
                        }
                    }
                }
            };
            let now = self.clock.now();
            match message {
                None | Some(Message::Stop) => return,
                Some(Message::Configure(id, settings)) => self.configure(id, settings),
                Some(Message::Rows(reply)) => {
                    let rows = self.instances.values();
                    let rows = rows.flat_map(|(name, caches)| caches.rows(now, name));
                    // Whoever asked may have given up.
                    let _ = reply.send(rows.collect());
                }
                Some(Message::Heard(id, connection, heard)) => {
                    if let Some((_, caches)) = self.instances.get_mut(&id) {
                        match heard {
                            Heard::Connected => caches.handle_connected(now, connection),
                            Heard::Octets(octets) => caches.handle_bytes(now, connection, &octets),
                            Heard::Closed(words) => {
                                self.connections.remove(&(id, connection));
                                caches.handle_closed(now, connection, &words);
                            }
                        }
                        self.carry_out(id);
                    }
                }
            }
        }
    }

    fn expire(&mut self) {
        let now = self.clock.now();
        let ids: Vec<InstanceId> = self.instances.keys().copied().collect();
        for id in ids {
            if let Some((_, caches)) = self.instances.get_mut(&id)
                && caches.poll_timeout().is_some_and(|due| due <= now)
            {
                caches.handle_timeout(now);
                self.carry_out(id);
            }
        }
    }

    fn configure(&mut self, id: InstanceId, settings: Option<(Arc<str>, Rpki)>) {
        let Some((name, settings)) = settings else {
            self.instances.remove(&id);
            self.connections.retain(|(instance, _), _| *instance != id);
            return;
        };
        // Jitter need not be repeatable on a real machine, only different.
        let seed = ahash::RandomState::new().hash_one(id);
        let entry = self.instances.entry(id);
        let (known_as, caches) = entry.or_insert_with(|| (Arc::clone(&name), Caches::new(seed)));
        *known_as = name;
        caches.configure(self.clock.now(), &settings);
        self.carry_out(id);
    }

    /// Does what the caches of an instance ask.
    fn carry_out(&mut self, id: InstanceId) {
        let Some((_, caches)) = self.instances.get_mut(&id) else {
            return;
        };
        while let Some(action) = caches.poll_action() {
            match action {
                Action::Dial(connection, address) => {
                    let teller = Teller {
                        instance: id,
                        connection,
                        sender: self.sender.clone(),
                    };
                    let dialled = dial(address, teller);
                    self.connections.insert((id, connection), dialled);
                }
                Action::Send(connection, octets) => {
                    if let Some(known) = self.connections.get(&(id, connection)) {
                        // Who wrote is gone with the connection, which will be said.
                        let _ = known.outgoing.send(octets);
                    }
                }
                Action::Close(connection) => {
                    self.connections.remove(&(id, connection));
                }
            }
        }
        while let Some(publication) = caches.poll_publication() {
            (self.publish)(id, publication);
        }
    }
}

/// Tells the thread's loop of one connection.
struct Teller {
    instance: InstanceId,
    connection: ConnectionId,
    sender: mpsc::Sender<Message>,
}

impl Teller {
    /// Whether there is somebody to be told.
    async fn tell(&self, heard: Heard) -> bool {
        let message = Message::Heard(self.instance, self.connection, heard);
        self.sender.send(message).await.is_ok()
    }
}

/// A connection that is being made. How long that may take is the caches' to say.
fn dial(address: SocketAddr, teller: Teller) -> Connection {
    let (outgoing, queue) = mpsc::unbounded_channel();
    let reading = tokio::spawn(async move {
        let ended = match TcpStream::connect(address).await {
            Ok(stream) => {
                teller.tell(Heard::Connected).await;
                read(stream, queue, &teller).await
            }
            Err(error) => format!("cannot be reached: {error}"),
        };
        teller.tell(Heard::Closed(ended)).await;
    });
    Connection {
        outgoing,
        reading: reading.abort_handle(),
    }
}

/// Reads until the connection ends; why, for people.
async fn read(
    stream: TcpStream,
    queue: mpsc::UnboundedReceiver<Vec<u8>>,
    teller: &Teller,
) -> String {
    // A cache that vanished without a word is noticed before it is asked again.
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_TIME)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(3);
    // Without it only that takes longer.
    let _ = SockRef::from(&stream).set_tcp_keepalive(&keepalive);
    let (mut reader, writer) = stream.into_split();
    tokio::spawn(write(writer, queue));
    loop {
        let mut octets = Vec::with_capacity(READ_OCTETS);
        match reader.read_buf(&mut octets).await {
            Ok(0) => return "closed the connection".to_owned(),
            Ok(_) => {
                if !teller.tell(Heard::Octets(octets)).await {
                    return "is not needed any more".to_owned();
                }
            }
            Err(error) => return format!("broke the connection: {error}"),
        }
    }
}

/// Writes what is queued, until no more can be.
async fn write(mut writer: OwnedWriteHalf, mut queue: mpsc::UnboundedReceiver<Vec<u8>>) {
    while let Some(octets) = queue.recv().await {
        let written = tokio::time::timeout(WRITE_TIME, writer.write_all(&octets)).await;
        if !matches!(written, Ok(Ok(()))) {
            return;
        }
    }
}

/// Messages that wait for the thread, among them what was read and not taken in.
const MESSAGES_MAX: usize = 8;
/// Octets of one read.
const READ_OCTETS: usize = 64 * 1024;
/// How long a query of a few octets may take to be written.
const WRITE_TIME: Duration = Duration::from_secs(10);
const KEEPALIVE_TIME: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
