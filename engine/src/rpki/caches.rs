//! The caches of one instance: which of them is spoken to, and whose data is used.
//!
//! RFC 8210 §10: the most preferred cache is tried first; the next one is tried as long as that fails,
//! and left again once that is back. Data is used until a cache that is in sync says otherwise, or it
//! expires; then there is none. Settings may change under all of it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use super::cache::Cache;
use super::pdu::Intervals;
use super::table::{Changed, VrpTable};
use super::talk::Wish;
use crate::config::Rpki;
use crate::model::{RpkiCache, RpkiState};
use crate::time::Time;

/// One connection to a cache. Never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What is asked of whoever has the sockets.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Connect. Answered by `handle_connected` or `handle_closed`, unless it is closed first.
    Dial(ConnectionId, SocketAddr),
    /// Send this.
    Send(ConnectionId, Vec<u8>),
    /// Send what is queued, then close. Nothing more is heard of the connection.
    Close(ConnectionId),
}

/// What is valid from now on.
#[derive(Clone, Debug)]
pub struct Publication {
    /// None: no cache is configured.
    pub table: Option<Arc<VrpTable>>,
    /// Where it differs from the one before.
    pub changed: Arc<Changed>,
}

/// The caches of one instance. See the module's page.
pub struct Caches {
    /// The most preferred first.
    caches: Vec<(Cache, Option<ConnectionId>)>,
    in_use: Option<InUse>,
    published: Option<Arc<VrpTable>>,
    actions: VecDeque<Action>,
    publications: VecDeque<Publication>,
    seed: u64,
    connections: u64,
}

struct InUse {
    table: Arc<VrpTable>,
    from: SocketAddr,
    until: Time,
    preference: u8,
    session: u16,
    serial: u32,
}

/// What is to be said of a cache whose data is used though it is configured no more.
const NOT_IN_SETTINGS: &str = "it is not in the settings any more: what it said counts until one of \
                               those in the settings has answered, or until it expires; caches: [] \
                               ends it";

impl InUse {
    /// For people, where the cache is configured no more.
    fn row(&self, now: Time, instance: &str) -> RpkiCache {
        let (ipv4, ipv6) = self.table.counts();
        RpkiCache {
            instance: instance.to_owned(),
            address: self.from.ip().to_string(),
            port: self.from.port(),
            preference: self.preference,
            state: RpkiState::Standby,
            version: None,
            session_id: Some(self.session),
            serial: Some(self.serial),
            ipv4_vrps: Some(ipv4 as u64),
            ipv6_vrps: Some(ipv6 as u64),
            in_use: true,
            expires_in_seconds: Some(self.until.saturating_since(now).as_secs()),
            next_attempt_seconds: None,
            last_error: Some(NOT_IN_SETTINGS.to_owned()),
        }
    }
}

impl Caches {
    /// None yet. The seed decides their jitter.
    pub fn new(seed: u64) -> Caches {
        Caches {
            caches: Vec::new(),
            in_use: None,
            published: None,
            actions: VecDeque::new(),
            publications: VecDeque::new(),
            seed,
            connections: 0,
        }
    }

    /// Follows the settings. A cache that stays keeps its connection and its data; data in use stays
    /// until there is other, it expires, or there is no cache at all.
    pub fn configure(&mut self, now: Time, settings: &Rpki) {
        let defaults = Intervals {
            refresh: settings.refresh,
            retry: settings.retry,
            expire: settings.expire,
        };
        let mut old = std::mem::take(&mut self.caches);
        for wanted in &settings.caches {
            let known = old
                .iter()
                .position(|(cache, _)| cache.address() == wanted.address);
            let (mut cache, connection) = match known {
                Some(place) => old.swap_remove(place),
                None => {
                    self.seed = self.seed.wrapping_add(1);
                    (Cache::new(now, *wanted, defaults, self.seed), None)
                }
            };
            cache.settings = *wanted;
            cache.set_defaults(defaults);
            self.caches.push((cache, connection));
        }
        self.caches
            .sort_by_key(|(cache, _)| cache.settings.preference);
        for (_, connection) in old {
            self.actions.extend(connection.map(Action::Close));
        }
        self.settle(now);
    }

    /// A connection that was asked for stands.
    pub fn handle_connected(&mut self, now: Time, connection: ConnectionId) {
        self.with(connection, |cache| cache.handle_connected(now));
        self.settle(now);
    }

    /// Octets arrived.
    pub fn handle_bytes(&mut self, now: Time, connection: ConnectionId, octets: &[u8]) {
        self.with(connection, |cache| cache.handle_bytes(now, octets));
        self.settle(now);
    }

    /// A connection could not be had, or is gone; `words` say why.
    pub fn handle_closed(&mut self, now: Time, connection: ConnectionId, words: &str) {
        if let Some(place) = self.place(connection) {
            let (cache, known) = &mut self.caches[place];
            *known = None;
            cache.handle_closed(now, words);
        }
        self.settle(now);
    }

    /// The time that `poll_timeout` named has come.
    pub fn handle_timeout(&mut self, now: Time) {
        for (cache, _) in &mut self.caches {
            cache.handle_timeout(now);
        }
        self.settle(now);
    }

    /// When `handle_timeout` is wanted next.
    pub fn poll_timeout(&self) -> Option<Time> {
        let caches = self
            .caches
            .iter()
            .filter_map(|(cache, _)| cache.poll_timeout());
        caches
            .chain(self.in_use.as_ref().map(|data| data.until))
            .min()
    }

    /// The next thing asked.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The next change of what is valid.
    pub fn poll_publication(&mut self) -> Option<Publication> {
        self.publications.pop_front()
    }

    /// For people: the caches in the settings, and one that is not if its data is used still.
    pub fn rows(&self, now: Time, instance: &str) -> Vec<RpkiCache> {
        let in_seconds = |time: Time| time.saturating_since(now).as_secs();
        let row = |(cache, _): &(Cache, _)| {
            let in_use = self.in_use.as_ref();
            let in_use = in_use.filter(|data| data.from == cache.address());
            let data = cache.data.as_ref();
            let table = in_use
                .map(|used| &used.table)
                .or(data.map(|data| &data.table));
            let until = in_use
                .map(|used| used.until)
                .or(data.map(|data| data.until));
            RpkiCache {
                instance: instance.to_owned(),
                address: cache.address().ip().to_string(),
                port: cache.address().port(),
                preference: cache.settings.preference,
                state: cache.state(),
                version: cache.version(),
                session_id: cache.session(),
                serial: data.map(|data| data.serial),
                ipv4_vrps: table.map(|table| table.counts().0 as u64),
                ipv6_vrps: table.map(|table| table.counts().1 as u64),
                in_use: in_use.is_some(),
                expires_in_seconds: until.map(in_seconds),
                next_attempt_seconds: cache.next_attempt().map(in_seconds),
                last_error: cache.last_error.clone(),
            }
        };
        let is_known = |from| {
            let mut caches = self.caches.iter();
            caches.any(|(cache, _)| cache.address() == from)
        };
        let left = self.in_use.iter().filter(|data| !is_known(data.from));
        let left = left.map(|data| data.row(now, instance));
        self.caches.iter().map(row).chain(left).collect()
    }

    fn place(&self, connection: ConnectionId) -> Option<usize> {
        let mut caches = self.caches.iter();
        caches.position(|(_, known)| *known == Some(connection))
    }

    fn with(&mut self, connection: ConnectionId, change: impl FnOnce(&mut Cache)) {
        if let Some(place) = self.place(connection) {
            change(&mut self.caches[place].0);
        }
    }

    /// After whatever happened: who is spoken to, what is asked for, and what is valid.
    fn settle(&mut self, now: Time) {
        // RFC-DONE 8210 §10: caches are tried in order of preference, and a better one that is back
        // takes over.
        let mut wanted = true;
        for (cache, _) in &mut self.caches {
            cache.set_wanted(now, wanted);
            wanted &= cache.failed;
        }
        for place in 0..self.caches.len() {
            self.grant(place);
        }
        self.choose(now);
        self.publish();
    }

    fn grant(&mut self, place: usize) {
        let (cache, connection) = &mut self.caches[place];
        for wish in std::mem::take(&mut cache.wishes) {
            match (wish, *connection) {
                (Wish::Dial, _) => {
                    self.connections += 1;
                    let id = ConnectionId(self.connections);
                    *connection = Some(id);
                    self.actions.push_back(Action::Dial(id, cache.address()));
                }
                (Wish::Send(octets), Some(id)) => self.actions.push_back(Action::Send(id, octets)),
                (Wish::Close, Some(id)) => {
                    *connection = None;
                    self.actions.push_back(Action::Close(id));
                }
                // It closed by itself.
                (Wish::Send(_) | Wish::Close, None) => {}
            }
        }
        if std::mem::take(&mut cache.is_flushed) {
            let address = cache.address();
            self.in_use.take_if(|data| data.from == address);
        }
    }

    fn choose(&mut self, now: Time) {
        // What a fault ends behind the End of Data, in the same octets, was said in full all the same.
        let is_told = |cache: &Cache| cache.in_sync() || cache.is_completed;
        let mut told = self.caches.iter().filter(|(cache, _)| is_told(cache));
        let best = told.find_map(|(cache, _)| Some((cache, cache.data.as_ref()?)));
        if let Some((cache, data)) = best {
            self.in_use = Some(InUse {
                table: Arc::clone(&data.table),
                from: cache.address(),
                until: data.until,
                preference: cache.settings.preference,
                session: data.session,
                serial: data.serial,
            });
        }
        for (cache, _) in &mut self.caches {
            cache.is_completed = false;
        }
        let expired = self.in_use.take_if(|data| data.until <= now);
        if let Some(expired) = expired {
            let (ipv4, ipv6) = expired.table.counts();
            tracing::warn!(
                cache = %expired.from,
                vrps = ipv4 + ipv6,
                "what the cache said has expired: routes that it covered are held to be NotFound"
            );
        }
    }

    fn publish(&mut self) {
        let is_on = !self.caches.is_empty();
        if !is_on {
            self.in_use = None;
        }
        let used = self.in_use.as_ref().map(|data| Arc::clone(&data.table));
        let next = is_on.then(|| used.unwrap_or_default());
        let same = match (&self.published, &next) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new) || (old.is_empty() && new.is_empty()),
            (old, new) => old.is_none() && new.is_none(),
        };
        if same {
            return;
        }
        let nothing = VrpTable::default();
        let old = self.published.as_deref().unwrap_or(&nothing);
        let changed = Arc::new(old.changed(next.as_deref().unwrap_or(&nothing)));
        self.published.clone_from(&next);
        self.publications.push_back(Publication {
            table: next,
            changed,
        });
    }
}
