//! What messages and timers do to a connection, and how it ends.
//!
//! `end` is the one way by which a connection goes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use codec::notification::{self as code, cease};
use codec::{Family, Notification, Open};

use super::action::{Down, SessionAction, Slot, State};
use super::backoff::{Penalty, SETTLED};
use super::collision::{self, Speaker};
use super::connection::{Connection, Due, Phase};
use super::{Cause, Failure, Session, Standing, open, restart, words};
use crate::time::Time;

/// How long after a session came up another connection may still be one that was opened beside it.
const LATE_COLLISION: Duration = Duration::from_secs(10);

/// How a connection ended.
pub(super) enum Ending {
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
    /// The peer restarted and opened another one (RFC 4724 §4.2).
    Replaced,
    /// Our process ends, and the peer keeps our routes.
    Leaving,
}

impl Ending {
    /// Whether somebody said what has to change, or the connection merely ended.
    fn cause(&self) -> Cause {
        let notification = match self {
            Ending::Sent(notification, _) | Ending::Received(notification) => notification,
            Ending::Lost(_)
            | Ending::Collided
            | Ending::Stuck(_)
            | Ending::Replaced
            | Ending::Leaving => return Cause::Bare,
        };
        let notification = &reason(notification);
        match (notification.code, notification.subcode) {
            (code::HOLD_TIMER_EXPIRED | code::SEND_HOLD_TIMER_EXPIRED, _) => Cause::Bare,
            (
                code::CEASE,
                cease::ADMINISTRATIVE_RESET
                | cease::OTHER_CONFIGURATION_CHANGE
                | cease::CONNECTION_COLLISION,
            ) => Cause::Bare,
            _ => Cause::Said,
        }
    }
}

impl Session {
    pub(super) fn open_connection(&mut self, now: Time, slot: Slot, local: SocketAddr) {
        self.connections[slot.index()] = Some(Connection::new(now, local, &self.config));
        let mut message = Vec::new();
        codec::encode_open(&open::offer(&self.config, self.own_restart), &mut message);
        self.transmit(slot, message);
        self.counters.opens_sent += 1;
    }

    // Events 19, 21 and 22, and the collision check that comes with OPEN.
    pub(super) fn handle_open(&mut self, now: Time, slot: Slot, open: Open) {
        let Some(connection) = &self.connections[slot.index()] else {
            return;
        };
        if connection.state() != State::OpenSent {
            self.unexpected(now, slot, "a second OPEN");
            return;
        }
        let own = self.own_restart;
        let negotiated = match open::negotiate(&self.config, own, open, connection.local) {
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
        let graceful = negotiated.graceful.as_ref();
        let restarted = graceful.is_some_and(|graceful| graceful.restarting);
        if !self.survives_collision(now, slot, theirs, restarted) {
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
    /// `restarted`: the OPEN says that its speaker has.
    pub(super) fn survives_collision(
        &mut self,
        now: Time,
        slot: Slot,
        theirs: Speaker,
        restarted: bool,
    ) -> bool {
        let ours = Speaker {
            router_id: self.config.router_id,
            asn: self.config.local_asn,
        };
        let other = slot.other();
        let other_state = self.connections[other.index()]
            .as_ref()
            .map(Connection::state);
        // RFC-DONE 4271 §6.8: Of two connections the one of the higher identifier stays; Established always.
        let loser = match other_state {
            None | Some(State::OpenSent) => return true,
            Some(State::OpenConfirm) => collision::winner(ours, theirs).other(),
            // RFC-DONE 4724 §4.2: a peer that opens a new session has restarted.
            Some(_) if self.is_replaced(now, restarted) => {
                self.end(now, other, Ending::Replaced);
                return true;
            }
            Some(_) => slot,
        };
        self.end(now, loser, Ending::Collided);
        loser != slot
    }

    /// Whether the Established connection gives way to one whose OPEN just came. Not to one that the
    /// peer may have opened before it knew of the other: the collision is then merely late. Such an
    /// OPEN does not say that its speaker restarted, unless the other one's said so too.
    fn is_replaced(&self, now: Time, restarted: bool) -> bool {
        let known = self.graceful().is_some_and(|graceful| graceful.restarting);
        let since = self.connections.iter().flatten();
        let since = since.filter_map(|connection| match &connection.phase {
            Phase::Established(phase) => Some(phase.since),
            Phase::OpenSent(_) | Phase::OpenConfirm(_) => None,
        });
        let settled = |since: Time| now.saturating_since(since) >= LATE_COLLISION;
        self.may_restart() && ((restarted && !known) || since.into_iter().any(settled))
    }

    /// Whether the session is up with a peer whose routes are kept while it restarts.
    pub(super) fn may_restart(&self) -> bool {
        self.graceful()
            .is_some_and(super::restart::Graceful::may_restart)
    }

    // Event 26.
    pub(super) fn handle_keepalive(&mut self, now: Time, slot: Slot) {
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
                self.forget_obstacles();
                self.actions
                    .push_back(SessionAction::Established(slot, negotiated));
                self.note(now, "KEEPALIVE received");
            }
        }
    }

    /// Nothing stands beside an Established connection: neither another one nor an attempt.
    pub(super) fn enter_established(&mut self, now: Time, slot: Slot) {
        self.end(now, slot.other(), Ending::Collided);
        self.abandon_attempt();
        self.standing = Standing::Active { retry: None };
        self.note_told();
        self.counters.established += 1;
    }

    /// Restarts the hold timer; or, if the connection is not Established, ends it.
    pub(super) fn heard_in_established(&mut self, now: Time, slot: Slot, kind: &str) -> bool {
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

    pub(super) fn negotiated_family(&self, family: Family) -> bool {
        self.established()
            .is_some_and(|(_, negotiated)| negotiated.families.contains(family))
    }

    /// A message without a place in this state: NOTIFICATION 5 with the state (RFC 6608 §4).
    pub(super) fn unexpected(&mut self, now: Time, slot: Slot, kind: &str) {
        let Some(connection) = &self.connections[slot.index()] else {
            return;
        };
        let state = connection.state();
        // RFC-DONE 6608 §4: A message that its state has no place for: code 5 with the state.
        // RFC-DONE 4271 §6.6: A message that its state has no place for ends the connection with code 5.
        let subcode = match state {
            State::OpenSent => code::fsm::OPEN_SENT,
            State::OpenConfirm => code::fsm::OPEN_CONFIRM,
            State::Established => code::fsm::ESTABLISHED,
            State::Idle | State::Connect | State::Active => 0,
        };
        let notification = Notification::new(code::FSM, subcode);
        let words = words::unexpected(self.config.peer_address, kind, state);
        self.end(now, slot, Ending::Sent(notification, words));
    }

    pub(super) fn run_connection_timers(&mut self, now: Time, slot: Slot) {
        while let Some(connection) = &mut self.connections[slot.index()] {
            let peer = self.config.peer_address;
            match connection.take_due(now, &self.config, &mut self.random) {
                Due::Nothing => return,
                Due::Keepalive => self.transmit_keepalive(slot),
                Due::HoldExpired(time) => {
                    let words = words::silent(peer, connection.state(), time);
                    // RFC-DONE 4271 §6.5: Nothing heard for the hold time: code 4.
                    let notification = Notification::new(code::HOLD_TIMER_EXPIRED, 0);
                    self.end(now, slot, Ending::Sent(notification, words));
                }
                Due::SendHoldExpired(time) => {
                    self.end(now, slot, Ending::Stuck(words::stuck(peer, time)));
                }
            }
        }
    }

    /// The one way by which a connection goes.
    pub(super) fn end(&mut self, now: Time, slot: Slot, ending: Ending) {
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
                    Ending::Stuck(_) => Some(Notification::new(code::SEND_HOLD_TIMER_EXPIRED, 0)),
                    _ => None,
                },
                received: match &ending {
                    Ending::Received(notification) => Some(notification.clone()),
                    _ => None,
                },
                graceful: restart::survives(phase.negotiated.graceful.as_ref(), &ending),
            }));
        }
        self.close(slot, &ending);
        let alone = self.connections.iter().all(Option::is_none);
        // Beside one that is up, what became of another one says nothing of the session.
        if alone || (penalty != Penalty::Quick && self.established().is_none()) {
            let failure = Failure {
                words: words.clone(),
                cause: ending.cause(),
                ended_session: state == State::Established,
            };
            self.fail(now, failure);
        } else if state == State::Established {
            self.reason = Some(words.clone());
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
    pub(super) fn judge(&self, state: State, ending: &Ending) -> (String, Penalty) {
        let peer = self.config.peer_address;
        match ending {
            Ending::Sent(notification, words) => (words.clone(), Penalty::of_sent(notification)),
            Ending::Received(notification) => (
                words::received(&self.config, notification),
                Penalty::of_received(notification),
            ),
            Ending::Lost(why) => (words::lost(peer, state, why), Penalty::Dial),
            Ending::Collided => (words::collided(peer), Penalty::Quick),
            Ending::Replaced => (words::restarted(peer), Penalty::Quick),
            Ending::Leaving => (words::left(peer), Penalty::Quick),
            Ending::Stuck(words) => (words.clone(), Penalty::Dial),
        }
    }

    /// Tells the driver and the peer.
    pub(super) fn close(&mut self, slot: Slot, ending: &Ending) {
        match ending {
            Ending::Sent(notification, _) => {
                self.transmit_notification(slot, notification);
                self.actions.push_back(SessionAction::Close(slot));
            }
            // RFC-DONE 9687 §3: NOTIFICATION 8 goes out if the socket takes it in time.
            // What was queued went with the session; what is half written is finished first, or
            // the connection is reset when the driver's time for a flush is over.
            Ending::Stuck(_) => {
                let notification = Notification::new(code::SEND_HOLD_TIMER_EXPIRED, 0);
                self.transmit_notification(slot, &notification);
                self.actions.push_back(SessionAction::Close(slot));
            }
            Ending::Collided => {
                let notification = Notification::cease(cease::CONNECTION_COLLISION);
                self.transmit_notification(slot, &notification);
                self.actions.push_back(SessionAction::Close(slot));
            }
            // RFC-DONE 4271 §6.4: A NOTIFICATION is never answered.
            // A NOTIFICATION is never answered (RFC 4271 §6.4).
            Ending::Received(_) | Ending::Replaced | Ending::Leaving => {
                self.actions.push_back(SessionAction::Close(slot))
            }
            Ending::Lost(_) => {}
        }
    }
}

/// What a NOTIFICATION says, or what it wraps (RFC 8538 §3.1).
pub(super) fn reason(notification: &Notification) -> Notification {
    notification
        .hard_reset_reason()
        .unwrap_or_else(|| notification.clone())
}
