//! One peer's session: the finite state machine of RFC 4271 §8 as a value.
//!
//! No I/O, no clock, no source of random numbers: time and a seed are arguments, messages come in
//! whole, what is to be done goes out as [`SessionAction`]s. The shard owns the sockets' side of
//! it and everything about routes; here is nothing that knows a prefix.
//!
//! A session has two slots for connections, so that both ends may dial at once. Each connection
//! goes OpenSent → OpenConfirm → Established by itself; where two meet, `collision` says which
//! stays. What no connection covers (dialling, waiting, being held back) is the `Standing`.
//!
//! Invariants: at most one connection is Established; every `Established` action is followed by
//! at most one `Down`, and none comes without it; a stopped session has no connection and no
//! timer; [`Session::last_error`] is a sentence with the mend.
//!
//! Where RFC 4271 is not followed to the letter: ConnectRetryTime is the longest wait between
//! attempts, not the only one (`backoff`); after a connection that merely ended the peer may
//! connect again at once (RFC 4271 goes through Idle, which refuses); DelayOpen is not built.

// RFC-DONE 4271 §8: Six states and the mandatory events, two connections at once.
// RFC-LEFT 4271 §8.1.1: DelayOpen is not built.
// RFC-DONE 4271 §10: ConnectRetry, hold and KEEPALIVE timers, jittered by 0.75 to 1.
// RFC-LEFT 4271 §9.2.1.2: No minimum time between own originations but that between advertisements, which is 0 unless set.

mod action;
mod backoff;
mod collision;
mod config;
mod connection;
mod exchange;
mod fsm;
mod open;
mod operator;
mod restart;
#[cfg(test)]
mod tests;
mod waiting;
mod words;

use std::collections::VecDeque;

use bytes::Bytes;
use codec::Notification;

pub use action::{
    Accept, ConnectFailure, Counters, Down, Negotiated, Received, SessionAction, Slot, State,
};
pub use config::SessionConfig;
pub use restart::{Graceful, OwnRestart};

use crate::random::Random;
use crate::time::Time;
use backoff::Ladder;
use connection::{Connection, Phase, earliest};

/// One peer's finite state machine.
#[derive(Debug)]
pub struct Session {
    config: SessionConfig,
    random: Random,
    /// The operator wants it up.
    started: bool,
    standing: Standing,
    connections: [Option<Connection>; 2],
    dial_ladder: Ladder,
    idle_hold_ladder: Ladder,
    actions: VecDeque<SessionAction>,
    /// The state that was logged last.
    shown: State,
    /// See [`Session::since`].
    since: Time,
    last_failure: Option<(Time, Failure)>,
    /// What failed or ended since that was asked last.
    reason: Option<String>,
    counters: Counters,
    own_restart: OwnRestart,
}

/// Why a session failed.
#[derive(Debug)]
struct Failure {
    /// For people, with the mend.
    words: String,
    cause: Cause,
    /// It ended an Established session.
    ended_session: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// One side said what is wrong: somebody's configuration or software has to change.
    Said,
    /// No connection, or it ended without a word.
    Bare,
}

impl Failure {
    /// The session must not be started.
    fn withheld(why: &str) -> Failure {
        Failure {
            words: why.to_owned(),
            cause: Cause::Said,
            ended_session: false,
        }
    }
}

/// What a session does beside its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Stopped or withheld (`None`), or held back until a time.
    Idle { until: Option<Time> },
    /// Waiting for the peer and, unless passive or already connected, for the next attempt.
    Active { retry: Option<Time> },
    /// An attempt is under way.
    Connect { deadline: Time },
}

impl Session {
    /// A session that is not started. `seed` decides its jitter.
    pub fn new(config: SessionConfig, seed: u64) -> Session {
        Session {
            config,
            random: Random::new(seed),
            started: false,
            standing: Standing::Idle { until: None },
            connections: [None, None],
            dial_ladder: Ladder::default(),
            idle_hold_ladder: Ladder::default(),
            actions: VecDeque::new(),
            shown: State::Idle,
            since: Time::default(),
            last_failure: None,
            reason: None,
            counters: Counters::default(),
            own_restart: OwnRestart::default(),
        }
    }

    /// What the session was told.
    pub fn config(&self) -> &SessionConfig {
        &self.config
    }

    /// The state: of two connections, the further one's.
    pub fn state(&self) -> State {
        let standing = match self.standing {
            Standing::Idle { .. } => State::Idle,
            Standing::Active { .. } => State::Active,
            Standing::Connect { .. } => State::Connect,
        };
        self.connections
            .iter()
            .flatten()
            .map(Connection::state)
            .max()
            .unwrap_or(standing)
    }

    /// When the session came up or was lost, whatever was tried since; before it ever stood, when it was
    /// started.
    pub fn since(&self) -> Time {
        self.since
    }

    /// Why the session last failed, in one sentence with the mend. Stays while it is up again.
    pub fn last_error(&self) -> Option<&str> {
        let failure = self.last_failure.as_ref();
        failure.map(|(_, failure)| &*failure.words)
    }

    /// When it failed so: of several attempts that failed alike, the last.
    pub fn last_error_at(&self) -> Option<Time> {
        self.last_failure.as_ref().map(|(at, _)| *at)
    }

    /// What failed or ended since this was asked last: why the state changed since, if it did.
    pub fn take_reason(&mut self) -> Option<String> {
        self.reason.take()
    }

    /// What the Established connection negotiated, and its slot.
    pub fn established(&self) -> Option<(Slot, &std::sync::Arc<Negotiated>)> {
        Slot::ALL.into_iter().find_map(|slot| {
            match &self.connections[slot.index()].as_ref()?.phase {
                Phase::Established(phase) => Some((slot, &phase.negotiated)),
                Phase::OpenSent(_) | Phase::OpenConfirm(_) => None,
            }
        })
    }

    /// The longest message that may come on `slot` now: what both OPENs allow, once the peer's is
    /// there.
    // RFC-DONE 8654 §4: Longer messages are taken once both sides offered it, else refused with 1/2.
    pub fn message_len_max(&self, slot: Slot) -> usize {
        let connection = self.connections[slot.index()].as_ref();
        let negotiated = connection.and_then(|connection| match &connection.phase {
            Phase::OpenSent(_) => None,
            Phase::OpenConfirm(phase) => Some(phase.negotiated()),
            Phase::Established(phase) => Some(&phase.negotiated),
        });
        negotiated.map_or(codec::MAX_LEN, |negotiated| negotiated.wire.max_len())
    }

    /// What happened so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The next thing to do, if any. Drain it after every `handle_*`.
    pub fn poll_action(&mut self) -> Option<SessionAction> {
        let action = self.actions.pop_front();
        if action.is_none() {
            // Thousands of idle sessions keep no room for what they may do.
            self.actions = VecDeque::new();
        }
        action
    }

    /// When [`Session::handle_timeout`] is due next. Changes with every `handle_*`.
    pub fn poll_timeout(&self) -> Option<Time> {
        let standing = match self.standing {
            Standing::Idle { until } => until,
            Standing::Active { retry } => retry,
            Standing::Connect { deadline } => Some(deadline),
        };
        let [outgoing, incoming] = &self.connections;
        earliest([
            standing,
            outgoing.as_ref().and_then(Connection::next_timeout),
            incoming.as_ref().and_then(Connection::next_timeout),
        ])
    }

    /// The session's invariants; for tests and the simulator.
    ///
    /// # Panics
    /// If one is broken.
    pub fn audit(&self) {
        let established = self
            .connections
            .iter()
            .flatten()
            .filter(|connection| connection.state() == State::Established)
            .count();
        assert!(established <= 1, "two connections are Established");
        let connected = self.connections.iter().flatten().count();
        if established == 1 {
            let restarts = self.may_restart();
            assert!(
                connected == 1 || restarts,
                "a second connection beside the Established one"
            );
            assert_eq!(
                self.standing,
                Standing::Active { retry: None },
                "an Established session dials"
            );
        }
        if !self.started {
            assert_eq!(connected, 0, "a stopped session has a connection");
            assert_eq!(self.standing, Standing::Idle { until: None });
        } else if connected == 0 && !self.config.passive && self.config.withheld.is_none() {
            assert!(
                self.poll_timeout().is_some(),
                "a started session waits for nothing"
            );
        }
        if let Standing::Connect { .. } = self.standing {
            assert!(
                self.connections[Slot::Outgoing.index()].is_none(),
                "dials with an outgoing connection"
            );
        }
        assert_eq!(self.shown, self.state(), "a transition was not logged");
    }

    fn transmit(&mut self, slot: Slot, message: Vec<u8>) {
        self.actions
            .push_back(SessionAction::Transmit(slot, Bytes::from(message)));
    }

    fn transmit_keepalive(&mut self, slot: Slot) {
        let mut message = Vec::new();
        codec::encode_keepalive(&mut message);
        self.transmit(slot, message);
        self.counters.keepalives_sent += 1;
    }

    fn transmit_notification(&mut self, slot: Slot, notification: &Notification) {
        let mut message = Vec::new();
        codec::encode_notification(notification, &mut message);
        self.transmit(slot, message);
        self.counters.notifications_sent += 1;
    }

    /// Notes why the session failed. What somebody has to configure is not hidden by an attempt
    /// that meets a closed door afterwards: that is most often its consequence.
    fn fail(&mut self, now: Time, failure: Failure) {
        self.reason = Some(failure.words.clone());
        let bare = failure.cause == Cause::Bare;
        let known = self.last_failure.as_ref();
        if known.is_some_and(|(_, known)| bare && known.cause == Cause::Said) {
            return;
        }
        self.last_failure = Some((now, failure));
    }

    /// No connection could be had. Said in the log when the reason is a new one, as the state may
    /// not change at all.
    fn fail_to_dial(&mut self, now: Time, why: &ConnectFailure) {
        let words = words::unreachable(&self.config, why);
        if self.last_error() != Some(&words) {
            tracing::warn!(peer = %self.config.peer_address, "{words}");
        }
        let failure = Failure {
            words,
            cause: Cause::Bare,
            ended_session: false,
        };
        self.fail(now, failure);
    }

    /// The session is up: what kept it from coming up is over. Why the one before it went down
    /// stays until something else happens to this one, whatever that is.
    fn forget_obstacles(&mut self) {
        self.last_failure
            .take_if(|(_, failure)| !failure.ended_session);
        if let Some((_, failure)) = &mut self.last_failure {
            failure.cause = Cause::Bare;
        }
    }

    /// Logs the transition, if there was one: one event each.
    fn note(&mut self, now: Time, reason: &str) {
        let state = self.state();
        if state == self.shown {
            return;
        }
        tracing::info!(
            peer = %self.config.peer_address,
            from = self.shown.name(),
            to = state.name(),
            reason,
            "session"
        );
        let established = |state| state == State::Established;
        if established(self.shown) != established(state) || self.since == Time::default() {
            self.since = now;
        }
        self.shown = state;
    }
}
