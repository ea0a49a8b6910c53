//! Listening and accepting, on the control thread's runtime (plain epoll).
//!
//! The sockets follow a plan: what is planned and not open is opened (again and again, if it
//! cannot be had), what is open and not planned is closed, keys of TCP MD5 are set and removed
//! live. An accepted connection goes as a bare descriptor to the shard that owns the peer, before
//! any operation on it; a peer that nobody owns is closed at once, and that is said (`strangers`). No
//! BGP here.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use codec::IpPrefix;
use crossbeam_channel::Sender;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::inbox::{InboxSender, Message};
use super::strangers::Strangers;
use super::{port_owner, socket};
use crate::config::{InstanceId, PeerAddress, longest_match};
use crate::interfaces::peer_address;
use crate::time::Clock;

/// Which shard owns which peer, and what the instances are called.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    owners: HashMap<(InstanceId, PeerAddress), u8>,
    names: BTreeMap<InstanceId, Arc<str>>,
    /// Where dynamic peers connect from, and how many shards they are spread over.
    dynamic: BTreeMap<InstanceId, (BTreeMap<IpPrefix, ()>, u8)>,
}

impl Directory {
    /// Names an instance.
    pub fn name(&mut self, instance: InstanceId, name: Arc<str>) {
        self.names.insert(instance, name);
    }

    /// Forgets an instance; its peers are removed one by one.
    pub fn remove_instance(&mut self, instance: InstanceId) {
        self.names.remove(&instance);
        self.dynamic.remove(&instance);
    }

    /// The instances and their names.
    pub fn instances(&self) -> impl Iterator<Item = (&InstanceId, &Arc<str>)> {
        self.names.iter()
    }

    /// Names the owner of a peer.
    pub fn insert(&mut self, instance: InstanceId, peer: PeerAddress, shard: u8) {
        self.owners.insert((instance, peer), shard);
    }

    /// Forgets a peer.
    pub fn remove(&mut self, instance: InstanceId, peer: PeerAddress) {
        self.owners.remove(&(instance, peer));
    }

    /// Names the prefixes of dynamic peers of an instance, which are spread over `shards`.
    pub fn set_dynamic(
        &mut self,
        instance: InstanceId,
        prefixes: impl Iterator<Item = IpPrefix>,
        shards: u8,
    ) {
        let prefixes = prefixes.map(|prefix| (prefix, ())).collect();
        self.dynamic.insert(instance, (prefixes, shards.max(1)));
    }

    /// The shard that owns a peer, or would if it connected.
    pub fn owner(&self, instance: InstanceId, peer: PeerAddress) -> Option<u8> {
        let owner = self.owners.get(&(instance, peer)).copied();
        owner.or_else(|| self.dynamic_owner(instance, peer))
    }

    /// Whether a peer is a neighbor by its address, not by a prefix.
    pub fn is_named(&self, instance: InstanceId, peer: PeerAddress) -> bool {
        self.owners.contains_key(&(instance, peer))
    }

    /// The shard of a peer that connects from a prefix of dynamic ones: the same one at all times,
    /// whichever prefix it is.
    pub fn dynamic_owner(&self, instance: InstanceId, peer: PeerAddress) -> Option<u8> {
        let (prefixes, shards) = self.dynamic.get(&instance)?;
        longest_match(prefixes, peer.ip())?;
        let hash = ahash::RandomState::with_seeds(1, 2, 3, 4).hash_one(peer);
        Some((hash % u64::from(*shards)) as u8)
    }
}

/// What is to be listened on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListenPlan {
    /// By address and port.
    pub listeners: BTreeMap<SocketAddr, ListenerPlan>,
}

/// What one listener is for.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ListenerPlan {
    /// The instances that listen here; the first that knows a peer gets it.
    pub instances: Vec<InstanceId>,
    /// Keys of TCP MD5, of the listener's family, by where the peers are: of overlapping prefixes
    /// the kernel takes the longest.
    pub passwords: BTreeMap<IpPrefix, Arc<[u8]>>,
}

impl fmt::Debug for ListenerPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenerPlan")
            .field("instances", &self.instances)
            .field("signed_peers", &self.passwords.keys())
            .finish()
    }
}

/// A listener cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot listen on {address}: {words}")]
pub struct ListenFailure {
    /// Where.
    pub address: SocketAddr,
    /// Why, and the mend.
    pub words: String,
}

impl ListenFailure {
    /// With it, whether waiting does not help: the port is another program's, or needs privileges.
    fn new(address: SocketAddr, error: &io::Error) -> (ListenFailure, bool) {
        let port = address.port();
        let (words, is_lasting) = match error.raw_os_error() {
            Some(libc::EADDRINUSE) => {
                let owner = port_owner::find(address);
                let owner = owner.map_or("another program".to_owned(), |owner| owner.to_string());
                (
                    format!(
                        "port {port} is taken by {owner}: stop that, or set another listenPort"
                    ),
                    true,
                )
            }
            Some(libc::EACCES) => (
                format!(
                    "port {port} needs the capability CAP_NET_BIND_SERVICE, or another listenPort"
                ),
                true,
            ),
            Some(libc::EADDRNOTAVAIL) => (
                format!("{} is not an address of this machine", address.ip()),
                false,
            ),
            Some(libc::EAFNOSUPPORT) => ("this machine has no IPv6".to_owned(), false),
            _ => (error.to_string(), false),
        };
        (ListenFailure { address, words }, is_lasting)
    }
}

/// A plan was carried out.
#[derive(Debug)]
pub struct Followed {
    /// Which one.
    pub plan: Arc<ListenPlan>,
    /// False: it is the first, and a listener of it cannot be had though one waits.
    pub is_possible: bool,
}

/// What is planned and cannot be opened at this moment.
pub type ListenFailures = Arc<ArcSwap<Vec<ListenFailure>>>;

/// Follows the plans until their sender is gone, and tells `followed` of each. What cannot be opened
/// stands in `standing` until it can, and is logged, once for each reason; if it is of the first plan
/// and waiting does not help, it goes to `failures` too.
pub async fn listen_as_planned<C: Send + 'static>(
    mut plans: watch::Receiver<Arc<ListenPlan>>,
    handover: Arc<Handover<C>>,
    followed: Sender<Followed>,
    failures: mpsc::UnboundedSender<ListenFailure>,
    standing: ListenFailures,
) {
    let mut listeners = Listeners {
        open: BTreeMap::new(),
        failed: BTreeMap::new(),
        is_first_plan: true,
        handover,
        failures,
        standing,
    };
    let mut is_new = true;
    loop {
        let plan = Arc::clone(&plans.borrow_and_update());
        let is_possible = listeners.follow(&plan);
        if std::mem::take(&mut is_new) {
            // Nobody asks once the engine stops.
            let _ = followed.send(Followed { plan, is_possible });
        }
        let changed = if listeners.failed.is_empty() {
            plans.changed().await
        } else {
            match tokio::time::timeout(RETRY_INTERVAL, plans.changed()).await {
                Ok(changed) => changed,
                // The same once more.
                Err(_) => continue,
            }
        };
        if changed.is_err() {
            return;
        }
        is_new = true;
    }
}

/// Between attempts to open what could not be opened.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// Between attempts to accept while no descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

struct Listeners<C> {
    open: BTreeMap<SocketAddr, Open>,
    /// What could not be opened, with what was reported.
    failed: BTreeMap<SocketAddr, ListenFailure>,
    /// No plan that asks for a listener was carried out yet.
    is_first_plan: bool,
    handover: Arc<Handover<C>>,
    failures: mpsc::UnboundedSender<ListenFailure>,
    standing: ListenFailures,
}

struct Open {
    listener: Arc<TcpListener>,
    instances: Arc<ArcSwap<Vec<InstanceId>>>,
    passwords: BTreeMap<IpPrefix, Arc<[u8]>>,
    accepting: JoinHandle<()>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl<C: Send + 'static> Listeners<C> {
    /// False: see [`Followed`].
    fn follow(&mut self, plan: &ListenPlan) -> bool {
        let mut is_possible = true;
        self.open
            .retain(|address, _| plan.listeners.contains_key(address));
        self.failed
            .retain(|address, _| plan.listeners.contains_key(address));
        for (address, wanted) in &plan.listeners {
            if !self.open.contains_key(address) {
                is_possible &= self.try_open(*address);
            }
            if let Some(open) = self.open.get_mut(address) {
                open.follow(*address, wanted);
            }
        }
        self.is_first_plan &= plan.listeners.is_empty();
        if !self.failed.values().eq(self.standing.load().iter()) {
            let failed = self.failed.values().cloned().collect();
            self.standing.store(Arc::new(failed));
        }
        is_possible
    }

    /// False: it cannot be had, and the process ends for it.
    fn try_open(&mut self, address: SocketAddr) -> bool {
        let opened =
            socket::listen(address).and_then(|socket| TcpListener::from_std(socket.into()));
        match opened {
            Ok(listener) => {
                self.failed.remove(&address);
                tracing::info!(%address, "listening");
                let listener = Arc::new(listener);
                let instances = Arc::new(ArcSwap::default());
                let accepting = tokio::spawn(accept(
                    Arc::clone(&listener),
                    Arc::clone(&instances),
                    Arc::clone(&self.handover),
                ));
                let open = Open {
                    listener,
                    instances,
                    passwords: BTreeMap::new(),
                    accepting,
                };
                self.open.insert(address, open);
                true
            }
            Err(error) => {
                let (failure, is_lasting) = ListenFailure::new(address, &error);
                if self.failed.get(&address) == Some(&failure) {
                    return true;
                }
                tracing::warn!("{failure}");
                let is_fatal = is_lasting && self.is_first_plan;
                if is_fatal {
                    // Nobody waits for it while the engine stops.
                    let _ = self.failures.send(failure.clone());
                }
                self.failed.insert(address, failure);
                !is_fatal
            }
        }
    }
}

impl Open {
    fn follow(&mut self, address: SocketAddr, wanted: &ListenerPlan) {
        // Keys first: no unsigned connection of a new signed peer is taken in between.
        for peer in self.passwords.keys() {
            if !wanted.passwords.contains_key(peer) {
                self.set_password(address, *peer, None);
            }
        }
        for (peer, password) in &wanted.passwords {
            if self.passwords.get(peer) != Some(password) {
                self.set_password(address, *peer, Some(password));
            }
        }
        self.passwords.clone_from(&wanted.passwords);
        if **self.instances.load() != wanted.instances {
            self.instances.store(Arc::new(wanted.instances.clone()));
        }
    }

    fn set_password(&self, address: SocketAddr, peers: IpPrefix, password: Option<&[u8]>) {
        if let Err(error) = socket::set_password_of(&self.listener, peers, password) {
            tracing::error!(%address, %peers, "connections of these peers are not signed: {error}");
        }
    }
}

/// Where accepted connections go.
pub struct Handover<C> {
    /// Who owns which peer.
    directory: Arc<ArcSwap<Directory>>,
    /// The shards by number.
    shards: Arc<[InboxSender<C>]>,
    /// False while peers are being told of: what is accepted meanwhile waits.
    settled: watch::Receiver<bool>,
    clock: Clock,
    /// Locked while a connection is turned away; no route is.
    strangers: Mutex<Strangers>,
}

impl<C> Handover<C> {
    /// To these shards, by number; while `settled` is false, what is accepted waits.
    pub fn new(
        directory: Arc<ArcSwap<Directory>>,
        shards: Arc<[InboxSender<C>]>,
        settled: watch::Receiver<bool>,
        clock: Clock,
    ) -> Handover<C> {
        Handover {
            directory,
            shards,
            settled,
            clock,
            strangers: Mutex::default(),
        }
    }

    fn hand_over(&self, instances: &[InstanceId], remote: SocketAddr, stream: TcpStream) {
        let directory = self.directory.load();
        let Some(peer) = peer_address(remote) else {
            tracing::debug!(%remote, "closed a connection from a link without a name");
            return;
        };
        let owner = instances.iter().find_map(|instance| {
            let shard = directory.owner(*instance, peer)?;
            Some((*instance, self.shards.get(usize::from(shard))?))
        });
        let Some((instance, shard)) = owner else {
            let strangers = self.strangers.lock();
            let mut strangers = strangers.unwrap_or_else(PoisonError::into_inner);
            if let Some(words) = strangers.came(self.clock.now(), peer) {
                tracing::warn!("{words}");
            }
            return;
        };
        let Ok(stream) = stream.into_std() else {
            return;
        };
        let socket = OwnedFd::from(stream);
        if shard
            .try_send(Message::Accepted { instance, socket })
            .is_err()
        {
            tracing::warn!(%peer, "closed a connection: its shard is behind");
        }
    }
}

async fn accept<C>(
    listener: Arc<TcpListener>,
    instances: Arc<ArcSwap<Vec<InstanceId>>>,
    handover: Arc<Handover<C>>,
) {
    let mut settled = handover.settled.clone();
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                // An error: the engine stops, and the peers that it had are still known.
                let _ = settled.wait_for(|is_settled| *is_settled).await;
                handover.hand_over(&instances.load(), remote, stream);
            }
            Err(error) => match error.raw_os_error() {
                // The connection waits in the kernel until a descriptor is free.
                Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
                    tracing::warn!("cannot accept a connection: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
                // It broke before it was taken.
                _ => tracing::debug!("a connection broke before it was accepted: {error}"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::Ipv4Addr;

    use super::*;
    use crate::ring::inbox::{Inbox, inbox};

    struct Fixture {
        plans: watch::Sender<Arc<ListenPlan>>,
        failures: mpsc::UnboundedReceiver<ListenFailure>,
        standing: ListenFailures,
        inbox: Inbox<()>,
        runtime: tokio::runtime::Runtime,
        following: JoinHandle<()>,
    }

    fn fixture(peers: &[(InstanceId, std::net::IpAddr)]) -> Fixture {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let mut directory = Directory::default();
        for (instance, peer) in peers {
            directory.insert(*instance, (*peer).into(), 0);
        }
        let (sender, inbox) = inbox();
        let handover = Arc::new(Handover::new(
            Arc::new(ArcSwap::from_pointee(directory)),
            Arc::new([sender]),
            watch::channel(true).1,
            Clock::system(),
        ));
        let (plans, receiver) = watch::channel(Arc::default());
        let (reports, failures) = mpsc::unbounded_channel();
        let (answers, _) = crossbeam_channel::unbounded();
        let standing = ListenFailures::default();
        let following = runtime.spawn(listen_as_planned(
            receiver,
            handover,
            answers,
            reports,
            Arc::clone(&standing),
        ));
        Fixture {
            plans,
            failures,
            standing,
            inbox,
            runtime,
            following,
        }
    }

    fn plan(address: SocketAddr, instances: &[InstanceId]) -> Arc<ListenPlan> {
        let listener = ListenerPlan {
            instances: instances.to_vec(),
            passwords: BTreeMap::new(),
        };
        Arc::new(ListenPlan {
            listeners: BTreeMap::from([(address, listener)]),
        })
    }

    /// A free port of a loopback address.
    fn free(last: u8) -> SocketAddr {
        let address = Ipv4Addr::new(127, 9, std::process::id() as u8, last);
        let probe = std::net::TcpListener::bind((address, 0)).unwrap();
        probe.local_addr().unwrap()
    }

    async fn connect(address: SocketAddr, from: Ipv4Addr) -> TcpStream {
        for _ in 0..200 {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind((from, 0).into()).unwrap();
            if let Ok(stream) = socket.connect(address).await {
                return stream;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("nothing listens on {address}");
    }

    #[test]
    fn a_peer_reaches_the_instance_that_knows_it_and_a_stranger_nobody() {
        let address = free(1);
        let known = Ipv4Addr::new(127, 0, 0, 17);
        let mut fixture = fixture(&[(InstanceId(1), known.into())]);
        fixture
            .plans
            .send(plan(address, &[InstanceId(0), InstanceId(1)]))
            .unwrap();
        fixture.runtime.block_on(async {
            let stranger = connect(address, Ipv4Addr::new(127, 0, 0, 18)).await;
            let _peer = connect(address, known).await;
            let message = loop {
                tokio::time::sleep(Duration::from_millis(5)).await;
                if let Some(message) = fixture.inbox.try_recv() {
                    break message;
                }
            };
            let Message::Accepted { instance, socket } = message else {
                panic!("not a connection");
            };
            assert_eq!(instance, InstanceId(1));
            assert_eq!(
                crate::ring::socket::addresses(&socket).unwrap().1.ip(),
                known
            );
            let mut stranger = stranger.into_std().unwrap();
            stranger.set_nonblocking(false).unwrap();
            assert_eq!(stranger.read(&mut [0; 1]).unwrap(), 0);
        });
        assert!(fixture.failures.try_recv().is_err());
    }

    #[test]
    fn a_listener_goes_with_its_plan_and_the_task_with_its_sender() {
        let address = free(2);
        let fixture = fixture(&[]);
        fixture.plans.send(plan(address, &[InstanceId(0)])).unwrap();
        fixture.runtime.block_on(async {
            connect(address, Ipv4Addr::LOCALHOST).await;
            fixture.plans.send(Arc::default()).unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert!(TcpStream::connect(address).await.is_err());
            drop(fixture.plans);
            fixture.following.await.unwrap();
        });
    }

    #[test]
    fn what_cannot_be_listened_on_any_more_stands_as_a_failure_until_it_can() {
        let (before, after) = (free(4), free(5));
        let mut fixture = fixture(&[]);
        let follow = |address| {
            let plan = plan(address, &[InstanceId(0)]);
            fixture.plans.send(plan).unwrap();
        };
        let stands = |is_meant: fn(&[ListenFailure]) -> bool| {
            fixture.runtime.block_on(async {
                while !is_meant(&fixture.standing.load()) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            });
        };
        follow(before);
        fixture
            .runtime
            .block_on(connect(before, Ipv4Addr::LOCALHOST));
        let owner = std::net::TcpListener::bind(after).unwrap();
        follow(after);
        stands(|standing| !standing.is_empty());
        let standing = fixture.standing.load_full();
        assert_eq!(standing.len(), 1);
        let words = format!("cannot listen on {after}: port {} is taken", after.port());
        assert!(standing[0].to_string().starts_with(&words), "{standing:?}");
        drop(owner);
        // The same once more, sooner than after the interval.
        follow(after);
        stands(<[_]>::is_empty);
        fixture
            .runtime
            .block_on(connect(after, Ipv4Addr::LOCALHOST));
        assert!(fixture.failures.try_recv().is_err(), "nothing ends for it");
    }

    #[test]
    fn a_taken_port_names_its_owner() {
        let address = free(3);
        let _owner = std::net::TcpListener::bind(address).unwrap();
        let mut fixture = fixture(&[]);
        fixture.plans.send(plan(address, &[InstanceId(0)])).unwrap();
        let failure = fixture.runtime.block_on(fixture.failures.recv()).unwrap();
        let words = failure.to_string();
        let pid = std::process::id().to_string();
        assert!(
            words.contains("is taken by") && words.contains(&pid),
            "{words}"
        );
    }
}
