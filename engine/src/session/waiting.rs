//! What a session does without a connection: dial, wait, hold back.
//!
//! `hold_off` is the one place that decides when the session tries again.

use std::time::Duration;

use super::action::{SessionAction, Slot, State};
use super::backoff::{FIRST, IDLE_HOLD_CAP, Penalty};
use super::connection::Connection;
use super::{Failure, Session, Standing};
use crate::time::Time;

/// How long an attempt may go unanswered. A peer that drops our SYNs in silence, as one with
/// another MD5 key does, is named after this long, not after the whole ConnectRetryTime.
const ATTEMPT_MAX: Duration = Duration::from_secs(10);

impl Session {
    /// Leaves Idle: dials, or waits for the peer if passive; stays if withheld.
    pub(super) fn begin(&mut self, now: Time, reason: &str) {
        if let Some(why) = self.config.withheld.clone() {
            self.fail(now, Failure::withheld(&why));
            self.standing = Standing::Idle { until: None };
            self.note(now, &why);
            return;
        }
        self.dial(now);
        self.note(now, reason);
    }

    /// Begins an attempt unless there is nothing to dial for.
    pub(super) fn dial(&mut self, now: Time) {
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
        let time = self.random.jitter(self.connect_retry().min(ATTEMPT_MAX));
        self.standing = Standing::Connect {
            deadline: now + time,
        };
        self.counters.attempts += 1;
        self.actions.push_back(SessionAction::Connect);
    }

    /// Decides when the session, left without a connection, tries again.
    pub(super) fn hold_off(&mut self, now: Time, penalty: Penalty) {
        if !self.started || self.config.withheld.is_some() {
            self.abandon_attempt();
            self.standing = Standing::Idle { until: None };
            if let (true, Some(why)) = (self.started, self.config.withheld.clone()) {
                self.fail(now, Failure::withheld(&why));
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
    pub(super) fn wait_beside(&mut self, now: Time) {
        if let Standing::Active { .. } = self.standing {
            let time = self.random.jitter(self.connect_retry().min(ATTEMPT_MAX));
            let retry = (!self.config.passive).then(|| now + time);
            self.standing = Standing::Active { retry };
        }
    }

    /// Ends an attempt that is under way.
    pub(super) fn abandon_attempt(&mut self) {
        if let Standing::Connect { .. } = self.standing {
            self.actions.push_back(SessionAction::Close(Slot::Outgoing));
            self.standing = Standing::Active { retry: None };
        }
    }

    pub(super) fn connect_retry(&self) -> Duration {
        self.config.timers.connect_retry.max(FIRST)
    }

    pub(super) fn reset_ladders(&mut self) {
        self.dial_ladder.reset();
        self.idle_hold_ladder.reset();
    }

    /// Logs the passage through Idle that the new standing would hide.
    pub(super) fn shown_through_idle(&mut self, now: Time, reason: &str) {
        let standing = std::mem::replace(&mut self.standing, Standing::Idle { until: None });
        self.note(now, reason);
        self.standing = standing;
    }
}
