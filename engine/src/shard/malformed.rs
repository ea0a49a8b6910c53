//! What malformed UPDATEs of a peer did, by what that was: counted, and logged with the message
//! (RFC 7606 §6).
//!
//! Of a peer that goes on sending them a burst of lines is logged, then one each while; each says how
//! many were passed over before it. Every action has lines of its own, so that many of one hide none of
//! another. Counts and lines are the peer's, not the session's, which may be what one costs. Nothing is
//! put together for what is not logged.

use std::time::Duration;

use codec::{FaultAction, IpPrefix, Notification, Update};

use crate::config::PeerAddress;
use crate::model;
use crate::time::Time;

/// Lines of an action that are logged however fast they come.
const BURST: u32 = 10;

/// How long it takes until another one may be.
const EACH: Duration = Duration::from_secs(10);

/// How many UPDATEs did what, and what of that is logged.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Malformed {
    attribute_discard: u64,
    treat_as_withdraw: u64,
    routes_withdrawn: u64,
    session_reset: u64,
    discard_lines: Lines,
    withdraw_lines: Lines,
    reset_lines: Lines,
}

/// A bucket of lines that fills with time.
#[derive(Clone, Copy, Debug, Default)]
struct Lines {
    /// When as many as in a burst may be logged again.
    full_at: Time,
    passed_over: u64,
}

impl Lines {
    /// Whether one may be logged, and if so, how many were not since the one before.
    fn take(&mut self, now: Time) -> Option<u64> {
        let full_at = self.full_at.max(now) + EACH;
        if full_at.saturating_since(now) > EACH * BURST {
            self.passed_over += 1;
            return None;
        }
        self.full_at = full_at;
        Some(std::mem::take(&mut self.passed_over))
    }
}

impl Malformed {
    /// Of an UPDATE some attributes are wrong, and the session goes on.
    // RFC-DONE 7606 §6: What a malformed attribute did is counted, and logged with the prefixes and the
    // message; of many, one each 10 s, with how many were not.
    pub(super) fn take(&mut self, now: Time, peer: PeerAddress, update: &Update<'_>, body: &[u8]) {
        let withdraws = update.treat_as_withdraw();
        if withdraws {
            announced(update, |_| self.routes_withdrawn += 1);
            self.treat_as_withdraw += 1;
        } else {
            self.attribute_discard += 1;
        }
        for fault in &update.faults {
            let (action, times, lines) = match fault.action {
                FaultAction::AttributeDiscard => (
                    "attribute-discard",
                    self.attribute_discard,
                    &mut self.discard_lines,
                ),
                FaultAction::TreatAsWithdraw => (
                    "treat-as-withdraw",
                    self.treat_as_withdraw,
                    &mut self.withdraw_lines,
                ),
            };
            let Some(not_logged) = lines.take(now) else {
                continue;
            };
            tracing::warn!(
                %peer,
                attribute = fault.code,
                action,
                withdrawn = withdraws.then(|| prefixes(update)),
                times,
                not_logged,
                update = %hexadecimal(body),
                "malformed path attribute: {fault}"
            );
        }
    }

    /// An UPDATE costs the session.
    pub(super) fn take_reset(
        &mut self,
        now: Time,
        peer: PeerAddress,
        why: &Notification,
        body: &[u8],
    ) {
        self.session_reset += 1;
        if let Some(not_logged) = self.reset_lines.take(now) {
            tracing::warn!(
                %peer,
                action = "session-reset",
                times = self.session_reset,
                not_logged,
                update = %hexadecimal(body),
                "malformed UPDATE: {why}"
            );
        }
    }

    /// For whoever asks.
    pub(super) fn counts(&self) -> model::MalformedUpdates {
        model::MalformedUpdates {
            attribute_discard: self.attribute_discard,
            treat_as_withdraw: self.treat_as_withdraw,
            routes_withdrawn: self.routes_withdrawn,
            session_reset: self.session_reset,
        }
    }
}

/// Prefixes that are named; the message has them all.
const PREFIXES_MAX: usize = 8;

/// The whole of what stands behind the header.
fn hexadecimal(body: &[u8]) -> String {
    body.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// What an UPDATE announces.
fn announced(update: &Update<'_>, mut each: impl FnMut(IpPrefix)) {
    let mp = update.mp_announced.as_ref().map(|mp| &mp.nlri);
    for nlri in std::iter::once(&update.announced).chain(mp) {
        nlri.iter().for_each(|(_, prefix)| each(prefix));
    }
}

/// The first of them, and how many more there are.
fn prefixes(update: &Update<'_>) -> String {
    let (mut first, mut more) = (Vec::new(), 0u64);
    announced(update, |prefix| match first.len() < PREFIXES_MAX {
        true => first.push(prefix.to_string()),
        false => more += 1,
    });
    let mut text = first.join(" ");
    if more > 0 {
        text += &format!(" and {more} more");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use codec::WireFormat;

    use super::*;
    use crate::config::{Delta, Import, Neighbor};
    use crate::log_of::warnings_of;
    use crate::shard::rig::{INSTANCE, Rig, neighbor};

    const PEER: &str = "10.0.0.6";

    /// An UPDATE that announces so many prefixes from 20.0.0.0/24 on.
    fn update(attributes: &[u8], prefixes: u8) -> Vec<u8> {
        let mut body = vec![0, 0];
        body.extend((attributes.len() as u16).to_be_bytes());
        body.extend(attributes);
        body.extend((0..prefixes).flat_map(|n| [24, 20, 0, n]));
        let mut message = vec![0xff; 16];
        message.extend((19 + body.len() as u16).to_be_bytes());
        message.push(2);
        message.extend(body);
        message
    }

    const AS_PATH: [u8; 9] = [0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xea];
    const NEXT_HOP: [u8; 7] = [0x40, 3, 4, 10, 0, 0, 6];
    /// There is no ORIGIN 9.
    const WRONG_ORIGIN: [u8; 4] = [0x40, 1, 1, 9];
    const ORIGIN: [u8; 4] = [0x40, 1, 1, 0];
    /// ATOMIC_AGGREGATE has no value.
    const WRONG_AGGREGATE: [u8; 4] = [0x40, 6, 1, 0];

    fn counts(rig: &mut Rig) -> model::MalformedUpdates {
        rig.peers()[0].malformed_updates.clone()
    }

    #[test]
    fn what_malformed_updates_did_is_counted_by_action_beyond_the_session() {
        let mut rig = Rig::new();
        let settings = Neighbor {
            import: Import::All,
            ..neighbor(PEER)
        };
        let settings = Box::new([Arc::new(settings)]);
        rig.tell(Delta::Neighbors(INSTANCE, settings));
        let peer = rig.establish(PEER, 65002);
        assert_eq!(counts(&mut rig), model::MalformedUpdates::default());
        rig.say(
            peer,
            &update(&[&WRONG_ORIGIN[..], &AS_PATH, &NEXT_HOP].concat(), 3),
        );
        rig.say(
            peer,
            &update(
                &[&ORIGIN[..], &AS_PATH, &NEXT_HOP, &WRONG_AGGREGATE].concat(),
                5,
            ),
        );
        let so_far = model::MalformedUpdates {
            attribute_discard: 1,
            treat_as_withdraw: 1,
            routes_withdrawn: 3,
            session_reset: 0,
        };
        assert_eq!(counts(&mut rig), so_far);
        // NLRI that can't be read.
        let mut message = update(&[&ORIGIN[..], &AS_PATH, &NEXT_HOP].concat(), 1);
        *message.get_mut(19 + 4 + 20).unwrap() = 33;
        rig.say(peer, &message);
        assert_eq!(
            counts(&mut rig),
            model::MalformedUpdates {
                session_reset: 1,
                ..so_far
            }
        );
    }

    /// The rig with its one session up.
    fn established() -> (Rig, crate::shard::ConnectionId) {
        let mut rig = Rig::new();
        let settings = Box::new([Arc::new(neighbor(PEER))]);
        rig.tell(Delta::Neighbors(INSTANCE, settings));
        let peer = rig.establish(PEER, 65002);
        (rig, peer)
    }

    fn not_logged(line: &str) -> u64 {
        let (_, after) = line.split_once("not_logged=").unwrap();
        let digits = after.split(' ').next().unwrap();
        digits.parse().unwrap()
    }

    #[test]
    fn one_now_and_then_is_always_logged() {
        let (mut rig, peer) = established();
        let wrong = update(&[&WRONG_ORIGIN[..], &AS_PATH, &NEXT_HOP].concat(), 1);
        for time in 0..40 {
            let lines = warnings_of(|| rig.say(peer, &wrong));
            assert_eq!(lines.len(), 1, "the {time}th: {lines:?}");
            assert_eq!(not_logged(&lines[0]), 0);
            assert!(lines[0].contains("20.0.0.0/24"), "{lines:?}");
            rig.now = rig.now + Duration::from_secs(15);
        }
    }

    #[test]
    fn of_a_flood_some_are_logged_and_the_rest_is_counted_and_another_action_is_heard() {
        let (mut rig, peer) = established();
        let wrong = update(&[&WRONG_ORIGIN[..], &AS_PATH, &NEXT_HOP].concat(), 1);
        let flood = |rig: &mut Rig| {
            warnings_of(|| {
                for _ in 0..100 {
                    rig.say(peer, &wrong);
                }
            })
        };
        let lines = flood(&mut rig);
        assert_eq!(lines.len(), 10);
        assert!(lines.iter().all(|line| not_logged(line) == 0));
        rig.now = rig.now + Duration::from_millis(9_999);
        assert_eq!(flood(&mut rig).len(), 0);
        rig.now = rig.now + Duration::from_millis(1);
        let lines = flood(&mut rig);
        assert_eq!(lines.len(), 1);
        assert_eq!(not_logged(&lines[0]), 90 + 100);
        // Of the flood before, all but that one.
        rig.now = rig.now + Duration::from_secs(25);
        let lines = flood(&mut rig);
        let counts: Vec<u64> = lines.iter().map(|line| not_logged(line)).collect();
        assert_eq!(counts, [99, 0]);
        let discarded = [&ORIGIN[..], &AS_PATH, &NEXT_HOP, &WRONG_AGGREGATE].concat();
        let lines = warnings_of(|| rig.say(peer, &update(&discarded, 1)));
        assert_eq!(lines.len(), 1);
        assert!(lines[0].contains("attribute-discard"), "{lines:?}");
    }

    #[test]
    fn the_first_prefixes_are_named_and_the_rest_is_counted() {
        let attributes = [&WRONG_ORIGIN[..], &AS_PATH, &NEXT_HOP].concat();
        let named = |count| {
            let message = update(&attributes, count);
            prefixes(&codec::parse_update(&message[19..], &WireFormat::default()).unwrap())
        };
        assert_eq!(named(2), "20.0.0.0/24 20.0.1.0/24");
        let many = named(11);
        assert!(many.ends_with("20.0.7.0/24 and 3 more"), "{many}");
    }
}
