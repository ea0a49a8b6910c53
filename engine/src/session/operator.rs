//! What the operator asks for: start, stop, reset, another configuration.

use codec::Notification;
use codec::notification::cease;

use super::action::Slot;
use super::backoff::Penalty;
use super::config::SessionConfig;
use super::connection::Phase;
use super::exchange::Ending;
use super::{Cause, Failure, Session, Standing, open, words};
use crate::time::Time;

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
        let why = format!("stopped: {notification}");
        self.note(now, &why);
        // Of a connection that is closed, more is known.
        self.reason.get_or_insert(why);
    }

    /// As [`Session::handle_stop`], with the words for the operator.
    pub fn handle_stop_for(&mut self, now: Time, notification: Notification, words: String) {
        self.handle_stop(now, notification);
        let failure = Failure {
            words,
            cause: Cause::Said,
            ended_session: true,
        };
        self.fail(now, failure);
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
        if let Some((_, failure)) = &mut self.last_failure {
            // What was wrong may be mended by this: what comes now counts again.
            failure.cause = Cause::Bare;
        }
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
        let connections = self.connections.iter().flatten();
        let mut peers = connections.filter_map(|connection| match &connection.phase {
            Phase::OpenSent(_) => None,
            Phase::OpenConfirm(phase) => Some(phase.negotiated()),
            Phase::Established(phase) => Some(&phase.negotiated),
        });
        // A key that cannot be had any more fails closed: what it signed does not outlive it.
        self.config.withheld.is_some()
            || self.config.needs_reset(old)
            || peers.any(|peer| {
                let is_refused = self.config.role_strict
                    && self.config.role.is_some()
                    && peer.peer_asn != self.config.local_asn
                    && open::roles(&peer.received).next().is_none();
                is_refused || !self.config.allows(peer.peer_asn)
            })
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
}
