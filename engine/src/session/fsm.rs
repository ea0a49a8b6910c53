//! The events of RFC 4271 §8.1 and what each does in each state.
//!
//! One `handle_*` an event; every one ends with the transition logged and its actions queued.
//! `end` is the one way by which a connection goes, `hold_off` the one place that decides when
//! the session tries again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use codec::notification::{self as code, cease};
use codec::{Family, Message, Notification, Open};

use super::action::{Accept, Down, Received, SessionAction, Slot, State};
use super::backoff::{FIRST, IDLE_HOLD_CAP, Penalty, SETTLED};
use super::collision::{self, Speaker};
use super::config::SessionConfig;
use super::connection::{Connection, Due, Phase};
use super::{Session, Standing, open, words};
use crate::time::Time;

/// How a connection ended.
enum Ending {
    /// We told the peer; the words are for the operator.
    Sent(Notification, String),
    /// The peer told us.
    Received(Notification),
    /// The transport ended; the driver knows.
    Lost(String),
    /// It lost against the other one (RFC 4271 §6.8).
    Collided,
    /// The peer does not read (RFC 9687).
    Stuck(String),
}

impl Session {
    /// The operator wants the session up (events 1 to 7): dials at once, or waits if passive.
    /// Nothing happens if it is started already.
    pub fn handle_start(&mut self, now: Time) {
        if self.started {
            return;
        }
        self.started = true;
        self.reset_ladders();
        self.begin(now, "started");
    }

    /// The operator wants the session down (events 2 and 8): every connection is told
    /// `notification`, most often a Cease with a shutdown communication (RFC 9003), and closed.
    pub fn handle_stop(&mut self, now: Time, notification: Notification) {
        self.started = false;
        self.close_all(now, &notification);
        self.note(now, &format!("stopped: {notification}"));
    }

    /// Closes every connection with `notification` and comes back by itself within a second. The
    /// peer may connect at once.
    pub fn handle_reset(&mut self, now: Time, notification: Notification) {
        if !self.started {
            return;
        }
        self.close_all(now, &notification);
        self.reset_ladders();
        self.note(now, &format!("reset: {notification}"));
        if self.config.withheld.is_some() {
            self.begin(now, "withheld");
        } else {
            self.hold_off(now, Penalty::Quick);
            self.note(now, "waits to connect again");
        }
    }

    /// Follows a changed configuration. Returns whether the session was up or coming up and had
    /// to be reset for it (Cease/Other Configuration Change).
    pub fn handle_config(&mut self, now: Time, config: SessionConfig) -> bool {
        if self.config == config {
            return false;
        }
        let old = std::mem::replace(&mut self.config, config);
        self.reset_ladders();
        if !self.started {
            return false;
        }
        let connected = self.connections.iter().any(Option::is_some);
        if connected && self.must_reset(&old) {
            self.handle_reset(now, Notification::cease(cease::OTHER_CONFIGURATION_CHANGE));
            return true;
        }
        self.reconfigure_established(now);
        if self.established().is_none() && !connected {
            // What is under way or waited for follows the old settings: begin anew.
            self.abandon_attempt();
            self.standing = Standing::Idle { until: None };
            self.begin(now, "configuration changed");
        }
        false
    }

    /// An attempt asked for by [`SessionAction::Connect`] succeeded (events 16 and 17); `local`
    /// is our end. Sends OPEN.
    pub fn handle_connected(&mut self, now: Time, local: SocketAddr) {
        if !matches!(self.standing, Standing::Connect { .. }) {
            // The attempt was given up meanwhile; its Close is on the way or done.
            return;
        }
        self.standing = Standing::Active { retry: None };
        self.open_connection(now, Slot::Outgoing, local);
        self.note(now, "connected");
    }

    /// An attempt asked for by [`SessionAction::Connect`] failed (event 18).
    pub fn handle_connect_failed(&mut self, now: Time, why: &str) {
        if !matches!(self.standing, Standing::Connect { .. }) {
            return;
        }
        self.last_error = Some(words::unreachable(&self.config, why));
        self.standing = Standing::Active { retry: None };
        if self.connections.iter().all(Option::is_none) {
            self.hold_off(now, Penalty::Dial);
        } else {
            self.wait_beside(now);
        }
        self.note(now, why);
    }

    /// The peer connected to us (event 17); `local` is our end. If it is taken, OPEN is sent.
    pub fn handle_accepted(&mut self, now: Time, local: SocketAddr) -> Accept {
        if !self.started || self.config.withheld.is_some() {
            return Accept::Refused(Some(Notification::cease(cease::CONNECTION_REJECTED)));
        }
        if self.established().is_some() {
            // RFC 4271 §6.8: a connection in Established stays.
            return Accept::Refused(Some(Notification::cease(cease::CONNECTION_COLLISION)));
        }
        if let Standing::Idle { .. } = self.standing {
            return Accept::Refused(None);
        }
        if self.connections[Slot::Incoming.index()].is_some() {
            // A peer has one connection of its own at a time: a new one says that it gave up the
            // old one, whose end may never reach us.
            self.end(now, Slot::Incoming, Ending::Collided);
        }
        // RFC 4271 §8.2.2: the peer came first, so the next attempt waits.
        self.wait_beside(now);
        self.actions.push_back(SessionAction::Accepted);
        self.open_connection(now, Slot::Incoming, local);
        self.note(now, "accepted");
        Accept::Taken
    }

    /// A whole message, framed, arrived on `slot`.
    pub fn handle_message<'a>(&mut self, now: Time, slot: Slot, message: &'a [u8]) -> Received<'a> {
        if self.connections[slot.index()].is_none() {
            return Received::Nothing;
        }
        match codec::parse_message(message) {
            Err(notification) => {
                self.handle_fault(now, slot, notification);
                Received::Nothing
            }
            Ok(Message::Open(open)) => {
                self.counters.opens_received += 1;
                self.handle_open(now, slot, open);
                Received::Nothing
            }
            Ok(Message::Keepalive) => {
                self.counters.keepalives_received += 1;
                self.handle_keepalive(now, slot);
                Received::Nothing
            }
            Ok(Message::Notification(notification)) => {
                self.counters.notifications_received += 1;
                self.end(now, slot, Ending::Received(notification));
                Received::Nothing
            }
            Ok(Message::Update(body)) => {
                self.counters.updates_received += 1;
                if self.heard_in_established(now, slot, "an UPDATE") {
                    Received::Update(body)
                } else {
                    Received::Nothing
                }
            }
            Ok(Message::RouteRefresh(refresh)) => {
                self.counters.refreshes_received += 1;
                let family = Family::from_afi_safi(refresh.afi, refresh.safi);
                // RFC 2918 §4: a family that was not negotiated is ignored.
                if self.heard_in_established(now, slot, "a ROUTE-REFRESH")
                    && family.is_some_and(|family| self.negotiated_family(family))
                {
                    Received::RouteRefresh(refresh)
                } else {
                    Received::Nothing
                }
            }
        }
    }

    /// What came on `slot` cannot be read, or the shard's verdict on an UPDATE: the peer is told
    /// `notification` and the connection is closed.
    pub fn handle_fault(&mut self, now: Time, slot: Slot, notification: Notification) {
        let words = words::sent(self.config.peer_address, &notification);
        self.end(now, slot, Ending::Sent(notification, words));
    }

    /// The transport of `slot` ended (event 18): no Close follows.
    pub fn handle_closed(&mut self, now: Time, slot: Slot, why: &str) {
        self.end(now, slot, Ending::Lost(why.to_owned()));
    }

    /// How many octets wait to be taken by the peer's side of `slot`, after the number went from
    /// zero to some or back. Drives the send hold timer (RFC 9687).
    pub fn handle_backlog(&mut self, now: Time, slot: Slot, queued: usize) {
        if let Some(Connection {
            phase: Phase::Established(phase),
            ..
        }) = &mut self.connections[slot.index()]
        {
            phase.backlog(now, queued);
        }
    }

    /// The peer's side of `slot` took `octets`.
    pub fn handle_written(&mut self, now: Time, slot: Slot, octets: usize) {
        if octets == 0 {
            return;
        }
        if let Some(Connection {
            phase: Phase::Established(phase),
            ..
        }) = &mut self.connections[slot.index()]
        {
            phase.progress(now);
        }
    }

    /// Time has come to [`Session::poll_timeout`]. Bytes that arrived by `now` must have been
    /// handed in before, so that no hold timer expires over what waits in a socket.
    pub fn handle_timeout(&mut self, now: Time) {
        for slot in Slot::ALL {
            self.run_connection_timers(now, slot);
        }
        match self.standing {
            Standing::Idle { until: Some(until) } if until <= now => {
                self.begin(now, "idle hold is over");
            }
            Standing::Active { retry: Some(retry) } if retry <= now => {
                self.dial(now);
                self.note(now, "connects again");
            }
            Standing::Connect { deadline } if deadline <= now => {
                // RFC 4271 §8.2.2, event 9 in Connect: drop the attempt, begin another.
                self.abandon_attempt();
                self.last_error = Some(words::unreachable(&self.config, "no answer"));
                self.dial(now);
                self.note(now, "no answer");
            }
            Standing::Idle { .. } | Standing::Active { .. } | Standing::Connect { .. } => {}
        }
    }

    // ----- connections ------------------------------------------------------------------------

    fn open_connection(&mut self, now: Time, slot: Slot, local: SocketAddr) {
        self.connections[slot.index()] = Some(Connection::new(now, local, &self.config));
        let mut message = Vec::new();
        codec::encode_open(&open::offer(&self.config), &mut message);
        self.transmit(slot, message);
        self.counters.opens_sent += 1;
    }

    // Events 19, 21 and 22, and the collision check that comes with OPEN.
    fn handle_open(&mut self, now: Time, slot: Slot, open: Open) {
        let Some(connection) = &self.connections[slot.index()] else {
            return;
        };
        if connection.state() != State::OpenSent {
            self.unexpected(now, slot, "a second OPEN");
            return;
        }
        let negotiated = match open::negotiate(&self.config, open, connection.local) {
            Ok(negotiated) => Arc::new(negotiated),
            Err(refusal) => {
                self.end(now, slot, Ending::Sent(refusal.notification, refusal.words));
                return;
            }
        };
        let theirs = Speaker {
            router_id: negotiated.peer_router_id,
            asn: negotiated.peer_asn,
        };
        if !self.survives_collision(now, slot, theirs) {
            return;
        }
        if let Some(connection) = &mut self.connections[slot.index()]
            && let Phase::OpenSent(phase) = &connection.phase
        {
            let confirmed = phase.confirm(negotiated, now, &self.config, &mut self.random);
            connection.phase = Phase::OpenConfirm(confirmed);
            self.transmit_keepalive(slot);
            self.note(now, "OPEN received");
        }
    }

    /// RFC 4271 §6.8: judges the connection whose OPEN just came against one whose OPEN came
    /// before; closes the loser. False: it was this one.
    fn survives_collision(&mut self, now: Time, slot: Slot, theirs: Speaker) -> bool {
        let ours = Speaker {
            router_id: self.config.router_id,
            asn: self.config.local_asn,
        };
        let other = slot.other();
        let other_state = self.connections[other.index()]
            .as_ref()
            .map(Connection::state);
        let loser = match other_state {
            None | Some(State::OpenSent) => return true,
            Some(State::OpenConfirm) => collision::winner(ours, theirs).other(),
            Some(_) => slot,
        };
        self.end(now, loser, Ending::Collided);
        loser != slot
    }

    // Event 26.
    fn handle_keepalive(&mut self, now: Time, slot: Slot) {
        let Some(connection) = &mut self.connections[slot.index()] else {
            return;
        };
        match &mut connection.phase {
            Phase::OpenSent(_) => self.unexpected(now, slot, "a KEEPALIVE"),
            Phase::Established(phase) => phase.heard(now),
            Phase::OpenConfirm(phase) => {
                let established = phase.establish(now, &self.config);
                let negotiated = established.negotiated.clone();
                connection.phase = Phase::Established(established);
                self.enter_established(now, slot);
                self.actions
                    .push_back(SessionAction::Established(slot, negotiated));
                self.note(now, "KEEPALIVE received");
            }
        }
    }

    /// Nothing stands beside an Established connection: neither another one nor an attempt.
    fn enter_established(&mut self, now: Time, slot: Slot) {
        self.end(now, slot.other(), Ending::Collided);
        self.abandon_attempt();
        self.standing = Standing::Active { retry: None };
        self.counters.established += 1;
    }

    /// Restarts the hold timer; or, if the connection is not Established, ends it.
    fn heard_in_established(&mut self, now: Time, slot: Slot, kind: &str) -> bool {
        if let Some(Connection {
            phase: Phase::Established(phase),
            ..
        }) = &mut self.connections[slot.index()]
        {
            phase.heard(now);
            return true;
        }
        self.unexpected(now, slot, kind);
        false
    }

    fn negotiated_family(&self, family: Family) -> bool {
        self.established()
            .is_some_and(|(_, negotiated)| negotiated.families.contains(family))
    }

    /// A message without a place in this state: NOTIFICATION 5 with the state (RFC 6608 §4).
    fn unexpected(&mut self, now: Time, slot: Slot, kind: &str) {
        let Some(connection) = &self.connections[slot.index()] else {
            return;
        };
        let state = connection.state();
        let subcode = match state {
            State::OpenSent => code::fsm::OPEN_SENT,
            State::OpenConfirm => code::fsm::OPEN_CONFIRM,
            State::Established => code::fsm::ESTABLISHED,
            State::Idle | State::Connect | State::Active => 0,
        };
        let notification = Notification {
            code: code::FSM,
            subcode,
            data: Bytes::new(),
        };
        let words = words::unexpected(self.config.peer_address, kind, state);
        self.end(now, slot, Ending::Sent(notification, words));
    }

    fn run_connection_timers(&mut self, now: Time, slot: Slot) {
        while let Some(connection) = &mut self.connections[slot.index()] {
            let peer = self.config.peer_address;
            match connection.take_due(now, &self.config, &mut self.random) {
                Due::Nothing => return,
                Due::Keepalive => self.transmit_keepalive(slot),
                Due::HoldExpired(time) => {
                    let words = words::silent(peer, connection.state(), time);
                    let notification = Notification {
                        code: code::HOLD_TIMER_EXPIRED,
                        subcode: 0,
                        data: Bytes::new(),
                    };
                    self.end(now, slot, Ending::Sent(notification, words));
                }
                Due::SendHoldExpired(time) => {
                    self.end(now, slot, Ending::Stuck(words::stuck(peer, time)));
                }
            }
        }
    }

    /// The one way by which a connection goes.
    fn end(&mut self, now: Time, slot: Slot, ending: Ending) {
        let Some(connection) = self.connections[slot.index()].take() else {
            return;
        };
        let state = connection.state();
        let (words, penalty) = self.judge(state, &ending);
        if let Phase::Established(phase) = &connection.phase {
            if now.saturating_since(phase.since) >= SETTLED {
                self.reset_ladders();
            }
            self.actions.push_back(SessionAction::Down(Down {
                words: words.clone(),
                sent: match &ending {
                    Ending::Sent(notification, _) => Some(notification.clone()),
                    _ => None,
                },
                received: match &ending {
                    Ending::Received(notification) => Some(notification.clone()),
                    _ => None,
                },
            }));
        }
        self.close(slot, &ending);
        let alone = self.connections.iter().all(Option::is_none);
        if alone || penalty != Penalty::Quick {
            self.last_error = Some(words.clone());
        }
        if state >= State::OpenConfirm && alone {
            // RFC 4271 §8.2.2 goes through Idle from here.
            self.shown_through_idle(now, &words);
        }
        if alone {
            self.hold_off(now, penalty);
        } else if self.established().is_none() {
            self.wait_beside(now);
        }
        self.note(now, &words);
    }

    /// What the operator is told about an ending, and how the session goes on.
    fn judge(&self, state: State, ending: &Ending) -> (String, Penalty) {
        let peer = self.config.peer_address;
        match ending {
            Ending::Sent(notification, words) => (words.clone(), Penalty::of_sent(notification)),
            Ending::Received(notification) => (
                words::received(&self.config, notification),
                Penalty::of_received(notification),
            ),
            Ending::Lost(why) => (words::lost(peer, state, why), Penalty::Dial),
            Ending::Collided => (words::collided(peer), Penalty::Quick),
            Ending::Stuck(words) => (words.clone(), Penalty::Dial),
        }
    }

    /// Tells the driver and the peer.
    fn close(&mut self, slot: Slot, ending: &Ending) {
        match ending {
            Ending::Sent(notification, _) => {
                self.transmit_notification(slot, notification);
                self.actions.push_back(SessionAction::Close(slot));
            }
            Ending::Collided => {
                let notification = Notification::cease(cease::CONNECTION_COLLISION);
                self.transmit_notification(slot, &notification);
                self.actions.push_back(SessionAction::Close(slot));
            }
            // A NOTIFICATION is never answered (RFC 4271 §6.4).
            Ending::Received(_) => self.actions.push_back(SessionAction::Close(slot)),
            Ending::Stuck(_) => self.actions.push_back(SessionAction::Abort(slot)),
            Ending::Lost(_) => {}
        }
    }

    // ----- dialling and waiting ---------------------------------------------------------------

    /// Leaves Idle: dials, or waits for the peer if passive; stays if withheld.
    fn begin(&mut self, now: Time, reason: &str) {
        if let Some(why) = self.config.withheld.clone() {
            self.last_error = Some(why.to_string());
            self.standing = Standing::Idle { until: None };
            self.note(now, &why);
            return;
        }
        self.dial(now);
        self.note(now, reason);
    }

    /// Begins an attempt unless there is nothing to dial for.
    fn dial(&mut self, now: Time) {
        let furthest = self
            .connections
            .iter()
            .flatten()
            .map(Connection::state)
            .max();
        if self.config.passive
            || self.connections[Slot::Outgoing.index()].is_some()
            || furthest >= Some(State::OpenConfirm)
        {
            self.standing = Standing::Active { retry: None };
            return;
        }
        let time = self.random.jitter(self.connect_retry());
        self.standing = Standing::Connect {
            deadline: now + time,
        };
        self.counters.attempts += 1;
        self.actions.push_back(SessionAction::Connect);
    }

    /// Decides when the session, left without a connection, tries again.
    fn hold_off(&mut self, now: Time, penalty: Penalty) {
        if !self.started || self.config.withheld.is_some() {
            self.abandon_attempt();
            self.standing = Standing::Idle { until: None };
            if let (true, Some(why)) = (self.started, &self.config.withheld) {
                self.last_error = Some(why.to_string());
            }
            return;
        }
        let attempt_under_way = matches!(self.standing, Standing::Connect { .. });
        let delay = match penalty {
            Penalty::IdleHold => {
                self.abandon_attempt();
                let delay = self.idle_hold_ladder.next(IDLE_HOLD_CAP);
                let until = Some(now + self.random.jitter(delay));
                self.standing = Standing::Idle { until };
                return;
            }
            Penalty::Dial | Penalty::Quick if attempt_under_way => return,
            Penalty::Dial => self.dial_ladder.next(self.connect_retry()),
            Penalty::Quick => FIRST,
        };
        let delay = self.random.jitter(delay);
        let retry = (!self.config.passive).then(|| now + delay);
        self.standing = Standing::Active { retry };
    }

    /// While a connection is coming up, the next attempt is a whole ConnectRetryTime away.
    fn wait_beside(&mut self, now: Time) {
        if let Standing::Active { .. } = self.standing {
            let time = self.random.jitter(self.connect_retry());
            let retry = (!self.config.passive).then(|| now + time);
            self.standing = Standing::Active { retry };
        }
    }

    /// Ends an attempt that is under way.
    fn abandon_attempt(&mut self) {
        if let Standing::Connect { .. } = self.standing {
            self.actions.push_back(SessionAction::Close(Slot::Outgoing));
            self.standing = Standing::Active { retry: None };
        }
    }

    fn connect_retry(&self) -> Duration {
        self.config.timers.connect_retry.max(FIRST)
    }

    // ----- the operator -----------------------------------------------------------------------

    /// Every connection told and closed, no attempt, no timer.
    fn close_all(&mut self, now: Time, notification: &Notification) {
        let started = std::mem::replace(&mut self.started, false);
        self.abandon_attempt();
        for slot in Slot::ALL {
            let words = words::sent(self.config.peer_address, notification);
            self.end(now, slot, Ending::Sent(notification.clone(), words));
        }
        self.standing = Standing::Idle { until: None };
        self.started = started;
    }

    fn must_reset(&self, old: &SessionConfig) -> bool {
        let mut peers =
            self.connections
                .iter()
                .flatten()
                .filter_map(|connection| match &connection.phase {
                    Phase::OpenSent(_) => None,
                    Phase::OpenConfirm(phase) => Some(phase.negotiated().peer_asn),
                    Phase::Established(phase) => Some(phase.negotiated.peer_asn),
                });
        let coming_up = self.established().is_none();
        self.config.needs_reset(old)
            || peers.any(|asn| !self.config.allows(asn))
            || (coming_up && self.config.withheld.is_some())
    }

    fn reconfigure_established(&mut self, now: Time) {
        for connection in self.connections.iter_mut().flatten() {
            if let Phase::Established(phase) = &mut connection.phase {
                let hold_time = phase.negotiated.hold_time;
                let keepalive = open::keepalive_interval(&self.config, hold_time);
                phase.reconfigure(now, keepalive, &self.config);
            }
        }
    }

    fn reset_ladders(&mut self) {
        self.dial_ladder.reset();
        self.idle_hold_ladder.reset();
    }

    /// Logs the passage through Idle that the new standing would hide.
    fn shown_through_idle(&mut self, now: Time, reason: &str) {
        let standing = std::mem::replace(&mut self.standing, Standing::Idle { until: None });
        self.note(now, reason);
        self.standing = standing;
    }
}
