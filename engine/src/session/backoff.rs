//! How long a session waits before it tries again.
//!
//! Two ladders, each of its own session, so that a peer that flaps costs nobody else anything:
//! - *dial*: after a connection that could not be had or that ended without a protocol fault.
//!   1 s, 2 s, 4 s … up to ConnectRetryTime. Meanwhile the peer may connect to us (Active).
//! - *idle hold*: after a protocol fault of either side (RFC 4271 §8.1.1 IdleHoldTimer,
//!   DampPeerOscillations). 1 s, 2 s, 4 s … up to 60 s. Meanwhile nothing is accepted (Idle).
//!
//! ConnectRetryTime is thus the longest wait between attempts, not the only one: a router that
//! was away for a moment is found again in a moment.
//! A session that stood for [`SETTLED`], a start by the operator and a new configuration send
//! both ladders back to their first step.

use std::time::Duration;

use codec::Notification;
use codec::notification::{self as code, cease};

use super::exchange::reason;

/// The first step of both ladders.
pub(super) const FIRST: Duration = Duration::from_secs(1);
/// The last step of the idle-hold ladder.
pub(super) const IDLE_HOLD_CAP: Duration = Duration::from_secs(60);
/// A session that was Established this long is not held to have flapped.
pub(super) const SETTLED: Duration = Duration::from_secs(30);

/// A delay that doubles from [`FIRST`] to a cap.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ladder {
    steps: u32,
}

impl Ladder {
    /// The next delay, at most `cap`, before jitter.
    pub(super) fn next(&mut self, cap: Duration) -> Duration {
        let factor = 1u32.checked_shl(self.steps).unwrap_or(u32::MAX);
        self.steps = self.steps.saturating_add(1);
        FIRST.saturating_mul(factor).min(cap)
    }

    /// Back to the first step.
    pub(super) fn reset(&mut self) {
        self.steps = 0;
    }
}

/// How a session goes on after a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Penalty {
    /// Nobody's fault: first step again, no growth.
    Quick,
    /// The dial ladder.
    Dial,
    /// The idle-hold ladder.
    IdleHold,
}

impl Penalty {
    /// After we sent `notification`.
    pub(super) fn of_sent(notification: &Notification) -> Penalty {
        let notification = &reason(notification);
        match notification.code {
            code::HOLD_TIMER_EXPIRED | code::SEND_HOLD_TIMER_EXPIRED => Penalty::Dial,
            code::CEASE if is_planned(notification.subcode) => Penalty::Quick,
            _ => Penalty::IdleHold,
        }
    }

    /// After the peer sent `notification`.
    pub(super) fn of_received(notification: &Notification) -> Penalty {
        let notification = &reason(notification);
        match notification.code {
            code::CEASE if is_planned(notification.subcode) => Penalty::Quick,
            code::CEASE | code::HOLD_TIMER_EXPIRED | code::SEND_HOLD_TIMER_EXPIRED => Penalty::Dial,
            _ => Penalty::IdleHold,
        }
    }
}

/// Ceases after which a session is meant to come back at once.
fn is_planned(subcode: u8) -> bool {
    matches!(
        subcode,
        cease::ADMINISTRATIVE_RESET
            | cease::OTHER_CONFIGURATION_CHANGE
            | cease::CONNECTION_COLLISION
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ladder_doubles_to_its_cap_and_stays_there() {
        let mut ladder = Ladder::default();
        let seconds: Vec<u64> = (0..9)
            .map(|_| ladder.next(IDLE_HOLD_CAP).as_secs())
            .collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        for _ in 0..100 {
            assert_eq!(ladder.next(IDLE_HOLD_CAP), IDLE_HOLD_CAP);
        }
        ladder.reset();
        assert_eq!(ladder.next(IDLE_HOLD_CAP), FIRST);
    }
}
