//! `maxPrefixes`: a peer that says more than it may is warned of, or its session ends and stays down.
//!
//! Invariant: a peer that is held has a session that is stopped, whatever else would start it.

use codec::notification::cease;
use codec::{Family, Notification};

use super::peer::{Established, Peer, PeerId};
use super::watch::Standing;
use super::{Shard, receive};
use crate::config::{LimitAction, MaxPrefixes, Neighbor};
use crate::time::Time;

/// How near to its limit a peer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    #[default]
    Below,
    Near,
    Past,
}

/// A session that is down until a time; none: until the operator resets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) until: Option<Time>,
    /// Of which it said too many.
    family: Family,
}

/// Whether a peer says more prefixes than it may, so that its session is about to end.
pub(super) fn ends_session(peer: &Peer) -> bool {
    let Some(established) = &peer.established else {
        return false;
    };
    let mut families = established.negotiated.families.iter();
    matches!(peer.neighbor.max_prefixes.action, LimitAction::Reset(_))
        && families.any(|family| level(&peer.neighbor, established, family) == Level::Past)
}

/// What becomes of what ends its session.
pub(super) fn past() -> Standing {
    Standing {
        rejected_by: Some("maxPrefixes: the peer says more than it may".into()),
        ..Standing::default()
    }
}

impl Shard {
    /// Looks whether a peer says more prefixes than it may: after it said something, and when the
    /// limits change.
    pub(super) fn check_limits(&mut self, now: Time, id: PeerId) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let limits = peer.neighbor.max_prefixes;
        let Some(established) = &mut peer.established else {
            return;
        };
        let mut past = None;
        for family in established.negotiated.families.iter() {
            let level = level(&peer.neighbor, established, family);
            let before = &mut established.limit_levels[family.index()];
            if level > *before
                && let Some(words) = words(&limits, family, level)
            {
                tracing::warn!(peer = %peer.neighbor.address, "the peer says {words}");
            }
            *before = level;
            if level == Level::Past {
                past = past.or(Some(family));
            }
        }
        if let (Some(family), LimitAction::Reset(after)) = (past, limits.action) {
            self.hold(now, id, family, after.map(|after| now + after));
        }
    }

    // RFC-DONE 4486 §4: Maximum Number of Prefixes Reached tells the family and the limit.
    // RFC-DONE 4271 §6.7: A session whose peer says more prefixes than configured ends with Cease.
    // RFC-DONE 7454 §8: maxPrefixes warns of many prefixes, and ends the session past its limit.
    fn hold(&mut self, now: Time, id: PeerId, family: Family, until: Option<Time>) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let limits = peer.neighbor.max_prefixes;
        let most = limits.most[family.index()].unwrap_or_default();
        let mut data = family.afi().to_be_bytes().to_vec();
        data.push(family.safi());
        data.extend_from_slice(&most.to_be_bytes());
        let notification = Notification::cease(cease::MAX_PREFIXES).with_data(&data);
        // What it said is not kept over a graceful restart.
        let notification = peer.session.hard(notification);
        let said = words(&limits, family, Level::Past).unwrap_or_default();
        let mend = match until {
            Some(_) => "the session comes back by itself after restartAfterSeconds",
            None => "the session stays down until `ringbgp reset`",
        };
        let words = format!(
            "peer {} said {said}: {mend}; raise maxPrefixes here, or see why the router says so many",
            peer.neighbor.address
        );
        peer.held = Some(Held { until, family });
        peer.session.handle_stop_for(now, notification, words);
        self.drain(now, id);
        self.give_up(id);
    }

    /// The limits were others before: a session comes back whose limit, or what it leads to, is not the
    /// one that it is held for.
    pub(super) fn let_go_by(&mut self, now: Time, id: PeerId, before: &MaxPrefixes) {
        let peer = self.peers.get(id);
        let is_other = peer.is_some_and(|peer| {
            let limits = &peer.neighbor.max_prefixes;
            peer.held.is_some_and(|held| {
                let most = |limits: &MaxPrefixes| limits.most[held.family.index()];
                most(limits) != most(before) || limits.action != before.action
            })
        });
        if is_other {
            self.let_go(now, id);
        }
    }

    /// A session that is held comes back, if it is.
    pub(super) fn let_go(&mut self, now: Time, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(id)
            && peer.held.take().is_some()
        {
            let enabled = self.instances.get(&peer.instance);
            if enabled.is_some_and(super::instance::Instance::enabled) {
                self.start(now, id);
            }
        }
    }
}

/// Where a peer stands by what it has said so far, without what it has yet to say again: that it may as
/// well leave out. Who never comes to an end of saying things again may hold twice its limit.
fn level(neighbor: &Neighbor, established: &Established, family: Family) -> Level {
    let limits = neighbor.max_prefixes;
    let Some(most) = limits.most[family.index()] else {
        return Level::Below;
    };
    let (held, _) = receive::counts(neighbor, established, family);
    let said = held.saturating_sub(established.unrepeated[family.index()].len() as u64);
    match said {
        said if said > u64::from(most) || held > 2 * u64::from(most) => Level::Past,
        said if said > warned_past(most, limits.warning_percent) => Level::Near,
        _ => Level::Below,
    }
}

fn warned_past(most: u32, percent: u8) -> u64 {
    u64::from(most) * u64::from(percent) / 100
}

/// For people; none: there is nothing to say.
fn words(limits: &MaxPrefixes, family: Family, level: Level) -> Option<String> {
    let most = limits.most[family.index()]?;
    match level {
        Level::Below => None,
        Level::Near => Some(format!(
            "more than {} of at most {most} prefixes of {family} (maxPrefixes)",
            warned_past(most, limits.warning_percent)
        )),
        Level::Past => Some(format!(
            "more than the {most} prefixes of {family} that maxPrefixes allows"
        )),
    }
}

/// What the operator is told while a session that is up is near its limit or past it.
pub(super) fn warning(neighbor: &Neighbor, established: &Established) -> Option<String> {
    established.negotiated.families.iter().find_map(|family| {
        let level = established.limit_levels[family.index()];
        let words = words(&neighbor.max_prefixes, family, level)?;
        Some(format!("warning: the peer says {words}"))
    })
}
