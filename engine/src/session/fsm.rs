//! What a connection and its peer can do: the events of RFC 4271 §8.1 that are not the operator's.
//!
//! One `handle_*` an event; every one ends with the transition logged and its actions queued.

use std::net::SocketAddr;

use codec::notification::cease;
use codec::{Family, Message, Notification};

use super::action::{Accept, ConnectFailure, Received, SessionAction, Slot};
use super::backoff::Penalty;
use super::connection::{Connection, Phase};
use super::exchange::Ending;
use super::{Session, Standing, words};
use crate::time::Time;

impl Session {
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
    pub fn handle_connect_failed(&mut self, now: Time, why: impl Into<ConnectFailure>) {
        let why = why.into();
        if !matches!(self.standing, Standing::Connect { .. }) {
            return;
        }
        self.fail_to_dial(now, &why);
        self.standing = Standing::Active { retry: None };
        if self.connections.iter().all(Option::is_none) {
            self.hold_off(now, Penalty::Dial);
        } else {
            self.wait_beside(now);
        }
        self.note(now, why.words());
    }

    /// The peer connected to us (event 17); `local` is our end. If it is taken, OPEN is sent.
    pub fn handle_accepted(&mut self, now: Time, local: SocketAddr) -> Accept {
        if !self.started || self.config.withheld.is_some() {
            return Accept::Refused(Some(Notification::cease(cease::CONNECTION_REJECTED)));
        }
        if let Some((slot, _)) = self.established() {
            return self.accept_beside(now, slot, local);
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

    /// The peer connects though its session on `slot` is up.
    ///
    // RFC-DONE 4724 §4.2: a peer that is expected to restart may connect anew. Unlike there, the old
    // connection stays until the new one's OPEN is good: a connection alone may be a late collision.
    fn accept_beside(&mut self, now: Time, slot: Slot, local: SocketAddr) -> Accept {
        if !self.may_restart() {
            // RFC 4271 §6.8: a connection in Established stays.
            return Accept::Refused(Some(Notification::cease(cease::CONNECTION_COLLISION)));
        }
        self.end(now, slot.other(), Ending::Collided);
        if slot == Slot::Incoming {
            self.connections.swap(0, 1);
            self.actions.push_back(SessionAction::MakeRoom);
        }
        self.actions.push_back(SessionAction::Accepted);
        self.open_connection(now, Slot::Incoming, local);
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

    /// The slots whose hold timer is due at `now`: of these the caller has to say, before
    /// [`Session::handle_timeout`], where octets wait unread ([`Session::handle_unread`]).
    pub fn holds_due(&self, now: Time) -> impl Iterator<Item = Slot> + use<> {
        let due = Slot::ALL.map(|slot| {
            let connection = self.connections[slot.index()].as_ref();
            connection.is_some_and(|connection| connection.is_hold_due(now))
        });
        Slot::ALL.into_iter().filter(move |slot| due[slot.index()])
    }

    /// Octets of `slot` arrived and were not read yet: the peer is not silent, we are behind. Its
    /// hold timer, if it is due, starts anew for a short while; what is read then restarts it in
    /// earnest, or does not.
    pub fn handle_unread(&mut self, now: Time, slot: Slot) {
        if let Some(connection) = &mut self.connections[slot.index()]
            && connection.is_hold_due(now)
        {
            connection.postpone_hold(now);
        }
    }

    /// The peer is listened to again after it was not for a while: its hold timer starts anew.
    pub fn handle_listening(&mut self, now: Time) {
        for connection in self.connections.iter_mut().flatten() {
            if let Phase::Established(phase) = &mut connection.phase {
                phase.heard(now);
            }
        }
    }

    /// Time has come to [`Session::poll_timeout`]. See [`Session::holds_due`] for what comes before.
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
                self.fail_to_dial(now, &"no answer".into());
                self.dial(now);
                self.note(now, "no answer");
            }
            Standing::Idle { .. } | Standing::Active { .. } | Standing::Connect { .. } => {}
        }
    }
}
