//! One connection's way from OPEN to Established: a type a state, so that what a state does not
//! have (a peer's AS before its OPEN, a KEEPALIVE timer before that) cannot be asked for.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::action::{Negotiated, State};
use super::config::SessionConfig;
use crate::random::Random;
use crate::time::Time;

/// How long a hold timer that is due waits for the reading of what has arrived, before it is looked
/// at again. Long for a thread that is behind, short beside any hold time.
const UNREAD_GRACE: Duration = Duration::from_secs(1);

/// A connection with what its state knows.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) local: SocketAddr,
    pub(super) phase: Phase,
}

/// Where a connection stands.
#[derive(Debug)]
pub(super) enum Phase {
    OpenSent(OpenSent),
    OpenConfirm(OpenConfirm),
    Established(Established),
}

/// We sent OPEN and wait for the peer's.
#[derive(Debug)]
pub(super) struct OpenSent {
    /// The "large" hold timer of RFC 4271 §8.2.2.
    expires: Time,
}

/// Both OPENs are good; we sent KEEPALIVE and wait for the peer's.
#[derive(Debug)]
pub(super) struct OpenConfirm {
    negotiated: Arc<Negotiated>,
    expires: Time,
    keepalive_at: Option<Time>,
}

/// Up.
#[derive(Debug)]
pub(super) struct Established {
    pub(super) negotiated: Arc<Negotiated>,
    pub(super) since: Time,
    hold_expires: Option<Time>,
    keepalive_at: Option<Time>,
    send_hold: Duration,
    send_hold_expires: Option<Time>,
}

/// What a connection's timers ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    /// Send a KEEPALIVE; the timer is set again.
    Keepalive,
    /// Nothing was heard for this long.
    HoldExpired(Duration),
    /// Nothing was taken by the peer for this long.
    SendHoldExpired(Duration),
}

impl Connection {
    pub(super) fn new(now: Time, local: SocketAddr, config: &SessionConfig) -> Connection {
        Connection {
            local,
            phase: Phase::OpenSent(OpenSent {
                expires: now + config.timers.open,
            }),
        }
    }

    pub(super) fn state(&self) -> State {
        match &self.phase {
            Phase::OpenSent(_) => State::OpenSent,
            Phase::OpenConfirm(_) => State::OpenConfirm,
            Phase::Established(_) => State::Established,
        }
    }

    /// When a timer of this connection is due next.
    pub(super) fn next_timeout(&self) -> Option<Time> {
        match &self.phase {
            Phase::OpenSent(phase) => Some(phase.expires),
            Phase::OpenConfirm(phase) => earliest([Some(phase.expires), phase.keepalive_at]),
            Phase::Established(phase) => earliest([
                phase.hold_expires,
                phase.keepalive_at,
                phase.send_hold_expires,
            ]),
        }
    }

    /// Whether nothing was heard for the time that the peer has to say something.
    pub(super) fn is_hold_due(&self, now: Time) -> bool {
        let expires = match &self.phase {
            Phase::OpenSent(phase) => Some(phase.expires),
            Phase::OpenConfirm(phase) => Some(phase.expires),
            Phase::Established(phase) => phase.hold_expires,
        };
        is_due(expires, now)
    }

    /// The hold timer, which is due, starts anew for a short while.
    pub(super) fn postpone_hold(&mut self, now: Time) {
        let later = now + UNREAD_GRACE;
        match &mut self.phase {
            Phase::OpenSent(phase) => phase.expires = later,
            Phase::OpenConfirm(phase) => phase.expires = later,
            Phase::Established(phase) => phase.hold_expires = Some(later),
        }
    }

    /// The most urgent timer that is due at `now`; call until it is [`Due::Nothing`].
    pub(super) fn take_due(
        &mut self,
        now: Time,
        config: &SessionConfig,
        random: &mut Random,
    ) -> Due {
        match &mut self.phase {
            Phase::OpenSent(phase) if is_due(Some(phase.expires), now) => {
                Due::HoldExpired(config.timers.open)
            }
            Phase::OpenSent(_) => Due::Nothing,
            Phase::OpenConfirm(phase) => {
                if is_due(Some(phase.expires), now) {
                    return Due::HoldExpired(confirm_time(&phase.negotiated, config));
                }
                take_keepalive(&mut phase.keepalive_at, &phase.negotiated, now, random)
            }
            Phase::Established(phase) => {
                if is_due(phase.hold_expires, now) {
                    return Due::HoldExpired(phase.negotiated.hold_time);
                }
                if is_due(phase.send_hold_expires, now) {
                    return Due::SendHoldExpired(phase.send_hold);
                }
                take_keepalive(&mut phase.keepalive_at, &phase.negotiated, now, random)
            }
        }
    }
}

impl OpenSent {
    /// The peer's OPEN is good.
    pub(super) fn confirm(
        &self,
        negotiated: Arc<Negotiated>,
        now: Time,
        config: &SessionConfig,
        random: &mut Random,
    ) -> OpenConfirm {
        OpenConfirm {
            expires: now + confirm_time(&negotiated, config),
            keepalive_at: next_keepalive(&negotiated, now, random),
            negotiated,
        }
    }
}

impl OpenConfirm {
    pub(super) fn negotiated(&self) -> &Arc<Negotiated> {
        &self.negotiated
    }

    /// The peer's KEEPALIVE came.
    pub(super) fn establish(&self, now: Time, config: &SessionConfig) -> Established {
        let mut established = Established {
            negotiated: self.negotiated.clone(),
            since: now,
            hold_expires: None,
            keepalive_at: self.keepalive_at,
            send_hold: send_hold_time(&self.negotiated, config),
            send_hold_expires: None,
        };
        established.heard(now);
        established
    }
}

impl Established {
    /// A message came: the hold timer starts anew.
    pub(super) fn heard(&mut self, now: Time) {
        let hold_time = self.negotiated.hold_time;
        self.hold_expires = (!hold_time.is_zero()).then(|| now + hold_time);
    }

    /// RFC 9687: the timer runs while something waits to be taken, and starts anew with every
    /// octet that is. A socket that is merely writable proves nothing.
    pub(super) fn backlog(&mut self, now: Time, queued: usize) {
        // RFC-DONE 9687 §3: Nothing taken for the send hold time: the connection is dropped.
        if queued == 0 {
            self.send_hold_expires = None;
        } else if self.send_hold_expires.is_none() {
            self.send_hold_expires = Some(now + self.send_hold);
        }
    }

    /// The peer's side took octets.
    pub(super) fn progress(&mut self, now: Time) {
        if self.send_hold_expires.is_some() {
            self.send_hold_expires = Some(now + self.send_hold);
        }
    }

    /// Follows changed timers; those that OPEN negotiated stay.
    pub(super) fn reconfigure(&mut self, now: Time, keepalive: Duration, config: &SessionConfig) {
        if self.negotiated.keepalive != keepalive {
            let mut negotiated = Negotiated::clone(&self.negotiated);
            negotiated.keepalive = keepalive;
            self.negotiated = Arc::new(negotiated);
            if let Some(at) = self.keepalive_at {
                self.keepalive_at = Some(at.min(now + keepalive));
            }
        }
        self.send_hold = send_hold_time(&self.negotiated, config);
    }
}

/// RFC 9687 §4: the larger of 8 minutes and twice the hold time, unless it is set.
fn send_hold_time(negotiated: &Negotiated, config: &SessionConfig) -> Duration {
    config
        .timers
        .send_hold
        .unwrap_or_else(|| Duration::from_secs(480).max(negotiated.hold_time * 2))
}

/// The hold time of OpenConfirm. With a hold time of 0 RFC 4271 would wait for ever; the bound of
/// OpenSent stands in, as a peer that says nothing more must not hold the slot.
fn confirm_time(negotiated: &Negotiated, config: &SessionConfig) -> Duration {
    if negotiated.hold_time.is_zero() {
        config.timers.open
    } else {
        negotiated.hold_time
    }
}

fn take_keepalive(
    at: &mut Option<Time>,
    negotiated: &Negotiated,
    now: Time,
    random: &mut Random,
) -> Due {
    if !is_due(*at, now) {
        return Due::Nothing;
    }
    *at = next_keepalive(negotiated, now, random);
    Due::Keepalive
}

// RFC 4271 §4.4: never more than one a second, whatever the jitter.
fn next_keepalive(negotiated: &Negotiated, now: Time, random: &mut Random) -> Option<Time> {
    let interval = negotiated.keepalive;
    (!interval.is_zero()).then(|| now + random.jitter(interval).max(Duration::from_secs(1)))
}

fn is_due(at: Option<Time>, now: Time) -> bool {
    at.is_some_and(|at| at <= now)
}

/// The first of several timers.
pub(super) fn earliest<const N: usize>(times: [Option<Time>; N]) -> Option<Time> {
    times.into_iter().flatten().min()
}
