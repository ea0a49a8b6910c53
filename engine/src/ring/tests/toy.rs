//! A core that echoes, tells a test what it is told, and does what the test commands.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::config::{InstanceId, PeerAddress};
use crate::ring::*;
use crate::session::ConnectFailure;
use crate::time::{Clock, Time};

/// Longer than anything that works takes.
pub(super) const SOON: Duration = Duration::from_secs(10);

/// The instance that knows no peer.
pub(super) const REFUSED: InstanceId = InstanceId(9);

pub(super) enum Command {
    Connect(ConnectionId, Arc<ConnectTarget>),
    Send(ConnectionId, Vec<Bytes>),
    SendAndClose(ConnectionId, Vec<Bytes>),
    Close(ConnectionId),
    SetOptions(ConnectionId, SocketOptions),
    TimerAfter(Duration),
    /// Holds the thread up from the first word to the second; its timer is due after that.
    Behind(Receiver<()>),
    WorkForEver,
    Pause(ConnectionId),
    Resume(ConnectionId),
    Wake(ShardMask),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Event {
    Connected(ConnectionId, SocketAddr, SocketAddr),
    ConnectFailed(ConnectionId, ConnectFailure),
    Accepted(ConnectionId, std::net::IpAddr),
    Closed(ConnectionId, String),
    /// All octets of one queue so far.
    Written(ConnectionId, usize),
    /// How late it was.
    Timeout(Duration),
    /// With the timeout: the connections with octets in their sockets.
    Unread(Vec<ConnectionId>),
}

struct Toy {
    events: Sender<Event>,
    turns: Arc<AtomicUsize>,
    queues: HashMap<ConnectionId, VecDeque<Bytes>>,
    written: HashMap<ConnectionId, usize>,
    writable: VecDeque<ConnectionId>,
    actions: VecDeque<Action>,
    timer: Option<Time>,
    endless: bool,
    next: u32,
}

impl Toy {
    fn queue(&mut self, connection: ConnectionId, slices: impl IntoIterator<Item = Bytes>) {
        let queue = self.queues.entry(connection).or_default();
        if queue.is_empty() {
            self.writable.push_back(connection);
        }
        queue.extend(slices);
    }

    fn tell(&self, event: Event) {
        let _ = self.events.send(event);
    }
}

impl Core for Toy {
    type Command = Command;

    fn handle_command(&mut self, now: Time, command: Command) {
        match command {
            Command::Connect(connection, to) => {
                self.actions.push_back(Action::Connect { connection, to });
            }
            Command::Send(connection, slices) => self.queue(connection, slices),
            Command::SendAndClose(connection, slices) => {
                self.queue(connection, slices);
                self.actions.push_back(Action::Close { connection });
            }
            Command::Close(connection) => self.actions.push_back(Action::Close { connection }),
            Command::SetOptions(connection, options) => {
                self.actions.push_back(Action::SetOptions {
                    connection,
                    options: Arc::new(options),
                })
            }
            Command::TimerAfter(delay) => self.timer = Some(now + delay),
            Command::Behind(held) => {
                let _ = (held.recv(), held.recv());
                self.timer = Some(now);
            }
            Command::Pause(connection) => self.actions.push_back(Action::Pause { connection }),
            Command::Resume(connection) => self.actions.push_back(Action::Resume { connection }),
            Command::WorkForEver => self.endless = true,
            Command::Wake(shards) => self.actions.push_back(Action::Wake(shards)),
        }
    }

    fn handle_shutdown(&mut self, _: Time) {
        for connection in self.queues.keys() {
            self.actions.push_back(Action::Close {
                connection: *connection,
            });
        }
    }

    fn handle_connected(
        &mut self,
        _: Time,
        connection: ConnectionId,
        local: SocketAddr,
        remote: SocketAddr,
    ) {
        self.queues.entry(connection).or_default();
        self.tell(Event::Connected(connection, local, remote));
    }

    fn handle_connect_failed(&mut self, _: Time, connection: ConnectionId, why: ConnectFailure) {
        self.tell(Event::ConnectFailed(connection, why));
    }

    fn handle_accepted(
        &mut self,
        _: Time,
        instance: InstanceId,
        _: SocketAddr,
        peer: PeerAddress,
    ) -> Option<ConnectionId> {
        if instance == REFUSED {
            return None;
        }
        self.next += 1;
        let connection = ConnectionId(1000 + self.next);
        self.queues.entry(connection).or_default();
        self.tell(Event::Accepted(connection, peer.ip()));
        Some(connection)
    }

    fn handle_bytes(&mut self, _: Time, connection: ConnectionId, bytes: &[u8]) {
        self.queue(connection, [Bytes::copy_from_slice(bytes)]);
    }

    fn handle_closed(&mut self, _: Time, connection: ConnectionId, words: String) {
        self.queues.remove(&connection);
        self.tell(Event::Closed(connection, words));
    }

    fn poll_transmit(
        &mut self,
        connection: ConnectionId,
        slices: &mut Vec<Bytes>,
        max_octets: usize,
    ) -> usize {
        let Some(queue) = self.queues.get_mut(&connection) else {
            return 0;
        };
        let mut octets = 0;
        while let Some(front) = queue.front_mut() {
            if octets == max_octets {
                break;
            }
            let part = front.split_to(front.len().min(max_octets - octets));
            octets += part.len();
            slices.push(part);
            if front.is_empty() {
                queue.pop_front();
            }
        }
        octets
    }

    fn handle_written(&mut self, _: Time, connection: ConnectionId, octets: usize) {
        let written = self.written.entry(connection).or_default();
        *written += octets;
        let written = *written;
        self.tell(Event::Written(connection, written));
    }

    fn poll_writable(&mut self) -> Option<ConnectionId> {
        self.writable.pop_front()
    }

    fn work(&mut self, _: Time) -> bool {
        self.turns.fetch_add(1, Ordering::SeqCst);
        self.endless
    }

    fn handle_timeout(&mut self, now: Time, unread: &mut dyn FnMut(ConnectionId) -> bool) {
        if let Some(due) = self.timer.take() {
            self.tell(Event::Timeout(now.saturating_since(due)));
            let mut waiting: Vec<_> = self.queues.keys().copied().collect();
            waiting.retain(|connection| unread(*connection));
            self.tell(Event::Unread(waiting));
        }
    }

    fn handle_memory(&mut self, _: Time, octets: u64) {
        assert!(octets > 0);
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.timer
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
}

/// A shard with a toy in it. Dropping it stops it.
pub(super) struct Running {
    sender: InboxSender<Command>,
    events: Receiver<Event>,
    turns: Arc<AtomicUsize>,
    thread: Option<ShardThread>,
}

pub(super) fn start(driver: IoDriver) -> Running {
    start_many(driver, 1).remove(0)
}

pub(super) fn start_many(driver: IoDriver, count: usize) -> Vec<Running> {
    let (senders, inboxes): (Vec<_>, Vec<_>) = (0..count).map(|_| inbox::<Command>()).unzip();
    let siblings: Arc<[InboxSender<Command>]> = senders.into();
    inboxes
        .into_iter()
        .enumerate()
        .map(|(index, inbox)| {
            let (events_in, events) = unbounded();
            let turns = Arc::new(AtomicUsize::new(0));
            let sender = siblings[index].clone();
            let start = ShardStart {
                name: format!("toy-{index}"),
                clock: Clock::system(),
                inbox,
                siblings: Arc::clone(&siblings),
                driver,
                cpu: None,
            };
            let counter = Arc::clone(&turns);
            let toy = move || Toy {
                events: events_in,
                turns: counter,
                queues: HashMap::new(),
                written: HashMap::new(),
                writable: VecDeque::new(),
                actions: VecDeque::new(),
                timer: None,
                endless: false,
                next: 0,
            };
            Running {
                sender,
                events,
                turns,
                thread: Some(spawn_shard(start, toy).unwrap()),
            }
        })
        .collect()
}

impl Running {
    pub(super) fn send(&self, message: Message<Command>) {
        self.sender.send(message).unwrap();
    }

    pub(super) fn command(&self, command: Command) {
        self.send(Message::Command(command));
    }

    pub(super) fn connect(&self, id: u32, to: ConnectTarget) {
        self.command(Command::Connect(ConnectionId(id), Arc::new(to)));
    }

    /// Waits for the first event that `pick` takes; earlier ones are dropped.
    pub(super) fn wait<T>(&self, pick: impl Fn(&Event) -> Option<T>) -> T {
        loop {
            let event = self.events.recv_timeout(SOON).expect("an event");
            if let Some(picked) = pick(&event) {
                return picked;
            }
        }
    }

    pub(super) fn wait_closed(&self, id: ConnectionId) -> String {
        self.wait(|event| match event {
            Event::Closed(connection, words) if *connection == id => Some(words.clone()),
            _ => None,
        })
    }

    pub(super) fn wait_connect_failed(&self, id: ConnectionId) -> ConnectFailure {
        self.wait(|event| match event {
            Event::ConnectFailed(connection, why) if *connection == id => Some(why.clone()),
            _ => None,
        })
    }

    /// Fails if a connection is reported of within `time`; progress of writing is no report.
    pub(super) fn expect_silence(&self, time: Duration) {
        std::thread::sleep(time);
        let mut events = self.events.try_iter();
        if let Some(event) = events.find(|event| !matches!(event, Event::Written(..))) {
            panic!("{event:?}");
        }
    }

    pub(super) fn turns(&self) -> usize {
        self.turns.load(Ordering::SeqCst)
    }

    /// Fails if it never stands still.
    pub(super) fn expect_rest(&self) {
        let mut rests = (0..10).map(|_| {
            let before = self.turns();
            std::thread::sleep(Duration::from_millis(100));
            self.turns() == before
        });
        assert!(rests.any(|rests| rests), "it turns with nothing to do");
    }

    pub(super) fn wait_for_turn_after(&self, before: usize) {
        for _ in 0..10_000 {
            if self.turns() > before {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("no turn");
    }

    pub(super) fn stop(mut self) -> Duration {
        let clock = Clock::system();
        self.send(Message::Shutdown);
        self.thread.take().expect("runs").join();
        clock.now().saturating_since(Time(0))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = self.sender.send(Message::Shutdown);
            thread.join();
        }
    }
}
