//! One cache: the router's side of RTR (RFC 8210), over one connection after another.
//!
//! Invariants: data is what the last End of Data completed, and it lives until its Expire Interval or
//! until the cache is known to be another one; a connection ends with the first thing that is wrong on
//! it; an Error Report is never answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::error::{ErrorCode, Fault};
use super::pdu::{self, Header, Intervals, Pdu, Version};
use super::table::VrpTable;
use super::talk::{Data, End, Exchange, Talk, Wish, out_of_place};
use crate::config::RtrCache;
use crate::model::RpkiState;
use crate::random::Random;
use crate::time::Time;

/// How long a connection may take to stand.
const DIAL_TIME: Duration = Duration::from_secs(10);
/// The first wait after a connection that was lost or could not be had; it doubles up to the Retry
/// Interval, of the cache or of the settings: the shorter one.
const RECONNECT_FIRST: Duration = Duration::from_secs(1);

pub(super) struct Cache {
    pub(super) settings: RtrCache,
    defaults: Intervals,
    phase: Phase,
    /// Nobody better is there.
    wanted: bool,
    /// It could not be used when it was last tried: the next one by preference is.
    pub(super) failed: bool,
    /// Its data must not be used any more.
    pub(super) is_flushed: bool,
    /// Its data was completed just now, whatever became of the connection since.
    pub(super) is_completed: bool,
    /// To begin with on the next connection.
    version: Version,
    pub(super) data: Option<Data>,
    /// The last Serial Query was answered wrongly or not: the next query is for everything.
    starts_over: bool,
    attempts: u32,
    pub(super) last_error: Option<String>,
    pub(super) wishes: Vec<Wish>,
    random: Random,
}

enum Phase {
    Down { again: Time },
    Dialling { until: Time },
    Up(Talk),
}

impl Cache {
    pub(super) fn new(now: Time, settings: RtrCache, defaults: Intervals, seed: u64) -> Cache {
        Cache {
            settings,
            defaults,
            phase: Phase::Down { again: now },
            wanted: false,
            failed: false,
            is_flushed: false,
            is_completed: false,
            version: Version::One,
            data: None,
            starts_over: false,
            attempts: 0,
            last_error: None,
            wishes: Vec::new(),
            random: Random::new(seed),
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.settings.address
    }

    /// Other timers, until the cache gives its own.
    pub(super) fn set_defaults(&mut self, defaults: Intervals) {
        self.defaults = defaults;
    }

    /// Whether it is to be spoken to.
    pub(super) fn set_wanted(&mut self, now: Time, wanted: bool) {
        if self.wanted == wanted {
            return;
        }
        self.wanted = wanted;
        self.attempts = 0;
        self.failed = false;
        if wanted {
            self.last_error = None;
        }
        self.hang_up(now);
        if !wanted {
            self.data = None;
        }
        self.handle_timeout(now);
    }

    /// Whether what it has is what it says now.
    pub(super) fn in_sync(&self) -> bool {
        self.data.is_some() && matches!(&self.phase, Phase::Up(talk) if talk.in_sync)
    }

    pub(super) fn state(&self) -> RpkiState {
        match &self.phase {
            Phase::Down { .. } if !self.wanted => RpkiState::Standby,
            Phase::Down { .. } => RpkiState::Waiting,
            Phase::Dialling { .. } => RpkiState::Connecting,
            Phase::Up(_) if self.in_sync() => RpkiState::Synchronized,
            Phase::Up(Talk {
                exchange: Exchange::Idle { .. },
                ..
            }) => RpkiState::Waiting,
            Phase::Up(_) => RpkiState::Synchronizing,
        }
    }

    /// When it is dialled or asked again while it is waited for ([`RpkiState::Waiting`]).
    pub(super) fn next_attempt(&self) -> Option<Time> {
        if self.state() != RpkiState::Waiting {
            return None;
        }
        match &self.phase {
            Phase::Down { again } => Some(*again),
            Phase::Up(Talk {
                exchange: Exchange::Idle { until },
                ..
            }) => Some(*until),
            Phase::Dialling { .. } | Phase::Up(_) => None,
        }
    }

    /// The version that is spoken, or was last.
    pub(super) fn version(&self) -> Option<u8> {
        match (&self.phase, &self.data) {
            (Phase::Up(talk), _) if talk.agreed => Some(talk.version.bits()),
            (_, data) => data.as_ref().map(|data| data.version.bits()),
        }
    }

    pub(super) fn session(&self) -> Option<u16> {
        self.data.as_ref().map(|data| data.session)
    }

    pub(super) fn handle_connected(&mut self, now: Time) {
        if !matches!(self.phase, Phase::Dialling { .. }) {
            return;
        }
        let mut talk = Talk {
            version: self.version,
            agreed: false,
            partial: Vec::new(),
            exchange: Exchange::Idle { until: now },
            notified: None,
            in_sync: false,
        };
        let data = self.data.as_ref().filter(|_| !self.starts_over);
        talk.ask(now, data, &mut self.wishes);
        self.phase = Phase::Up(talk);
    }

    /// The connection could not be had, or is gone; `words` say why.
    pub(super) fn handle_closed(&mut self, now: Time, words: &str) {
        // A lost connection is no failed query: it is dialled again soon.
        let wait = self.reconnect_wait();
        self.fail(now, words.to_owned(), wait);
    }

    pub(super) fn handle_bytes(&mut self, now: Time, octets: &[u8]) {
        let Phase::Up(talk) = &mut self.phase else {
            return;
        };
        talk.hear(now);
        let mut partial = std::mem::take(&mut talk.partial);
        partial.extend_from_slice(octets);
        let mut rest = partial.as_slice();
        while let Phase::Up(talk) = &mut self.phase {
            let header = match Header::read(rest) {
                Ok(Some(header)) if rest.len() >= header.length => header,
                Ok(_) => {
                    talk.partial = rest.to_vec();
                    return;
                }
                Err(fault) => return self.end(now, End::Fault(fault), rest),
            };
            let (pdu, after) = rest.split_at(header.length);
            rest = after;
            if let Err(end) = self.handle_pdu(now, header, pdu) {
                return self.end(now, end, pdu);
            }
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Time) {
        if self.data.as_ref().is_some_and(|data| data.until <= now) {
            self.data = None;
            if matches!(&self.phase, Phase::Up(talk) if talk.exchange.adds()) {
                // There is nothing left that the answer could be added to.
                let words = "did not refresh its data before that expired".to_owned();
                return self.fail(now, words, Duration::ZERO);
            }
        }
        match &mut self.phase {
            Phase::Down { again } if self.wanted && *again <= now => {
                self.phase = Phase::Dialling {
                    until: now + DIAL_TIME,
                };
                self.wishes.push(Wish::Dial);
            }
            Phase::Dialling { until } if *until <= now => {
                let words = format!("does not answer within {} s", DIAL_TIME.as_secs());
                let wait = self.reconnect_wait();
                self.fail(now, words, wait);
            }
            Phase::Up(talk) => match &talk.exchange {
                Exchange::Idle { until } if *until <= now => {
                    talk.ask(now, self.data.as_ref(), &mut self.wishes);
                }
                Exchange::Asked { patience, .. } | Exchange::Answered { patience, .. }
                    if patience.until() <= now =>
                {
                    let words = "stalls: it owes the rest of its answer".to_owned();
                    let wait = self.reconnect_wait();
                    self.fail(now, words, wait);
                }
                _ => {}
            },
            _ => {}
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Time> {
        let expiry = self.data.as_ref().map(|data| data.until);
        let next = match &self.phase {
            Phase::Down { again } => self.wanted.then_some(*again),
            Phase::Dialling { until } => Some(*until),
            Phase::Up(talk) => Some(match &talk.exchange {
                Exchange::Idle { until } => *until,
                Exchange::Asked { patience, .. } | Exchange::Answered { patience, .. } => {
                    patience.until()
                }
            }),
        };
        expiry.into_iter().chain(next).min()
    }

    fn handle_pdu(&mut self, now: Time, header: Header, pdu: &[u8]) -> Result<(), End> {
        let Phase::Up(talk) = &mut self.phase else {
            return Ok(());
        };
        if !talk.agree(header)? {
            return Ok(());
        }
        match pdu::parse(header, talk.version, pdu)? {
            Pdu::ErrorReport { code, text } => return self.handle_report(now, code, &text),
            Pdu::SerialNotify { session, serial } => {
                let data = self.data.as_ref();
                talk.handle_notify(now, session, serial, data, &mut self.wishes)?;
            }
            Pdu::CacheResponse { session } => talk.begin(session, self.data.as_ref())?,
            Pdu::Ipv4 { announced, vrp } => talk.records()?.ipv4.push((vrp, announced)),
            Pdu::Ipv6 { announced, vrp } => talk.records()?.ipv6.push((vrp, announced)),
            Pdu::RouterKey => {
                talk.records()?;
            }
            Pdu::CacheReset => talk.handle_reset(now, &mut self.wishes)?,
            Pdu::EndOfData {
                session,
                serial,
                intervals,
            } => self.handle_end_of_data(now, session, serial, intervals)?,
        }
        Ok(())
    }

    fn handle_report(&mut self, now: Time, code: ErrorCode, text: &str) -> Result<(), End> {
        let Phase::Up(talk) = &mut self.phase else {
            return Ok(());
        };
        let words = match text {
            "" => format!("reports an error: {code}"),
            text => format!("reports an error: {code}: {text}"),
        };
        // RFC-DONE 8210 §12: "No Data Available" is the one report that ends nothing: the cache is
        // asked again after the Retry Interval, and the next one by preference meanwhile.
        if code == ErrorCode::NoDataAvailable && matches!(talk.exchange, Exchange::Asked { .. }) {
            talk.in_sync = false;
            let until = now + self.retry_interval();
            if let Phase::Up(talk) = &mut self.phase {
                talk.exchange = Exchange::Idle { until };
            }
            self.note(words);
            return Ok(());
        }
        Err(End::Reported(words))
    }

    fn handle_end_of_data(
        &mut self,
        now: Time,
        session: u16,
        serial: u32,
        intervals: Option<Intervals>,
    ) -> Result<(), End> {
        let Phase::Up(talk) = &mut self.phase else {
            return Ok(());
        };
        self.starts_over |= talk.exchange.adds();
        let idle = Exchange::Idle { until: now };
        let (reset, begun, records) = match std::mem::replace(&mut talk.exchange, idle) {
            Exchange::Answered {
                reset,
                session,
                records,
                ..
            } => (reset, session, records),
            _ => return Err(out_of_place("End of Data").into()),
        };
        // RFC-LEFT 8210 §5.1: a session id in End of Data that is not its own Cache Response's flushes
        // nothing: an answer that contradicts itself is malformed, and does not tell that the data is
        // another cache's. It is not used, the connection is dropped, and everything is asked for anew.
        if session != begun {
            self.starts_over = true;
            let words = format!("an answer of session {begun} ends as one of session {session}");
            return Err(Fault::corrupt(words).into());
        }
        let old = self.data.as_ref().map(|data| &data.table);
        let table = match old.filter(|_| !reset) {
            Some(old) if records.len() == 0 => Arc::clone(old),
            Some(old) => Arc::new(old.with(records)?),
            None => {
                let table = VrpTable::default().with(records)?;
                // What is there already is not told of again.
                match old.filter(|old| ***old == table) {
                    Some(old) => Arc::clone(old),
                    None => Arc::new(table),
                }
            }
        };
        let intervals = intervals.map_or(self.defaults, bounded);
        let was_in_sync = std::mem::replace(&mut talk.in_sync, true);
        if !was_in_sync {
            let (ipv4, ipv6) = table.counts();
            tracing::info!(cache = %self.settings.address, serial, vrps = ipv4 + ipv6, "in sync with the cache");
        }
        let next = match talk.notified.take() {
            Some(newer) if newer != serial => now,
            _ => now + intervals.refresh,
        };
        talk.exchange = Exchange::Idle { until: next };
        self.data = Some(Data {
            table,
            version: talk.version,
            session,
            serial,
            until: now + intervals.expire,
            intervals,
        });
        self.is_completed = true;
        self.starts_over = false;
        self.failed = false;
        self.attempts = 0;
        self.last_error = None;
        Ok(())
    }

    /// Ends the connection for what stands in `pdu`, or begins there.
    fn end(&mut self, now: Time, end: End, pdu: &[u8]) {
        let Phase::Up(talk) = &self.phase else {
            return;
        };
        let version = talk.version;
        let retry = self.retry_interval();
        let (fault, words, wait) = match end {
            End::Fault(fault) => {
                let words = format!("breaks the protocol: {fault}");
                (Some(fault), words, retry)
            }
            // RFC-DONE 8210 §5.1: a session id that is not the one of the data: the connection is
            // dropped, and the data with it.
            End::Another(fault) => {
                self.data = None;
                self.is_flushed = true;
                let words = format!("is another one than before: {fault}");
                (Some(fault), words, self.reconnect_wait())
            }
            // A cache that started anew may say so like this: it is asked for everything soon.
            End::Reported(words) if self.is_serial_open() => (None, words, self.reconnect_wait()),
            End::Reported(words) => (None, words, retry),
            // RFC-DONE 8210 §7: a cache that knows version 0 only is spoken to in version 0, at once.
            End::Downgrade => {
                self.version = Version::Zero;
                return self.hang_up(now);
            }
        };
        if let Some(fault) = fault
            && pdu.get(1) != Some(&ERROR_REPORT)
        {
            let mut report = Vec::new();
            pdu::report(version, &fault, pdu, &mut report);
            self.wishes.push(Wish::Send(report));
        }
        self.fail(now, words, wait);
    }

    fn fail(&mut self, now: Time, words: String, wait: Duration) {
        if matches!(self.phase, Phase::Down { .. }) {
            return;
        }
        self.starts_over |= matches!(&self.phase, Phase::Up(talk) if talk.exchange.adds());
        self.note(words);
        if self.data.is_none() {
            self.version = Version::One;
        }
        self.hang_up(now + wait);
    }

    /// Notes what is wrong with the cache. People are told when it is other than before: an outage is
    /// one thing, however many attempts it takes.
    fn note(&mut self, words: String) {
        self.failed = true;
        if self.last_error.as_ref() != Some(&words) {
            tracing::warn!(cache = %self.address(), "the cache {words}");
            self.last_error = Some(words);
        }
    }

    fn hang_up(&mut self, again: Time) {
        if !matches!(self.phase, Phase::Down { .. }) {
            self.wishes.push(Wish::Close);
        }
        self.phase = Phase::Down { again };
    }

    /// Whether a Serial Query has no answer yet.
    fn is_serial_open(&self) -> bool {
        let Phase::Up(talk) = &self.phase else {
            return false;
        };
        matches!(talk.exchange, Exchange::Asked { reset: false, .. })
    }

    /// As the cache last said, or by the settings: before it a query that failed SHOULD NOT be tried
    /// again (RFC 8210 §6).
    fn retry_interval(&self) -> Duration {
        let data = self.data.as_ref();
        data.map_or(self.defaults, |data| data.intervals).retry
    }

    fn reconnect_wait(&mut self) -> Duration {
        let factor = 1u32.checked_shl(self.attempts).unwrap_or(u32::MAX);
        self.attempts = self.attempts.saturating_add(1);
        let wait = RECONNECT_FIRST.saturating_mul(factor);
        // The Retry Interval is about queries that failed (RFC 8210 §6): one that a cache gave, often
        // ten minutes, need not keep from it once it is back who has settings that say less.
        let most = self.retry_interval().min(self.defaults.retry);
        self.random.jitter(wait.min(most))
    }
}

const ERROR_REPORT: u8 = 10;

// RFC-DONE 8210 §6: the timers of End of Data, within the bounds that the RFC gives them, and what is
// held is asked for anew before it expires.
fn bounded(said: Intervals) -> Intervals {
    let within = |duration: Duration, least, most| {
        duration.clamp(Duration::from_secs(least), Duration::from_secs(most))
    };
    let expire = within(said.expire, 600, 172_800);
    let before = expire - Duration::from_secs(1);
    Intervals {
        refresh: within(said.refresh, 1, 86_400).min(before),
        retry: within(said.retry, 1, 7_200).min(before),
        expire,
    }
}
