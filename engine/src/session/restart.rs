//! Graceful restart of either side (RFC 4724, RFC 8538, RFC 9494), as far as it is said in OPEN and
//! decided by how a session ends. What becomes of routes is the shard's.

use std::time::Duration;

use codec::notification::cease;
use codec::{
    Capability, Family, FamilySet, GracefulRestartFamily, LongLivedFamily, Notification, Open,
};

use super::Session;
use super::action::Slot;
use super::config::SessionConfig;
use super::exchange::Ending;
use crate::time::Time;

/// What this process may say of itself in OPEN: true only of what is so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnRestart {
    /// We have restarted and wait for what peers say (R).
    pub restarting: bool,
    /// Families in which what we told before stands still in forwarding (F).
    pub forwarding: FamilySet,
}

/// What the two OPENs came to in graceful restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graceful {
    /// The peer keeps our routes while we restart, in these families.
    pub ours: FamilySet,
    /// The peer has restarted (R), and waits for nobody.
    pub restarting: bool,
    /// Families of whose End-of-RIB the peer speaks: those that its capability names; all of the session
    /// where it names none at all (RFC 4724 §3).
    pub marked: FamilySet,
    /// Within this the peer is back once it is gone.
    pub restart_time: Duration,
    /// Families in which we keep the peer's routes while it restarts.
    pub families: FamilySet,
    /// Families in which the peer forwards as before its restart (F).
    pub forwarding: FamilySet,
    /// Both keep routes over a NOTIFICATION and an expired hold timer (RFC 8538).
    pub notification: bool,
    /// How long the peer's routes are kept past the restart time, by family (RFC 9494). Zero: not.
    pub long_lived: [Duration; Family::ALL.len()],
    /// Families in which the peer still forwards what it told before a long absence.
    pub long_lived_forwarding: FamilySet,
}

/// Appends what we offer.
pub(super) fn offer(config: &SessionConfig, own: OwnRestart, capabilities: &mut Vec<Capability>) {
    let settings = &config.graceful_restart;
    if !settings.enabled && !settings.helper {
        return;
    }
    // RFC-DONE 4724 §3: without families the capability says that we help, and mark End-of-RIB.
    let families = match settings.enabled {
        true => config.families,
        false => FamilySet::NONE,
    };
    let seconds = settings.restart_time.as_secs();
    capabilities.push(Capability::GracefulRestart {
        restarting: own.restarting && settings.enabled,
        notification: settings.notification,
        restart_time: match settings.enabled {
            true => u16::try_from(seconds).unwrap_or(u16::MAX),
            false => 0,
        },
        families: families
            .iter()
            .map(|family| GracefulRestartFamily {
                afi: family.afi(),
                safi: family.safi(),
                forwarding: own.forwarding.contains(family),
            })
            .collect(),
    });
    if let Some(stale_time) = config.long_lived {
        // RFC-DONE 9494 §3.1: offered with graceful restart, by family.
        let long_lived = config.families.iter().map(|family| LongLivedFamily {
            afi: family.afi(),
            safi: family.safi(),
            forwarding: own.forwarding.contains(family),
            stale_time: u32::try_from(stale_time.as_secs()).unwrap_or(u32::MAX),
        });
        capabilities.push(Capability::LongLivedGracefulRestart(long_lived.collect()));
    }
}

/// What our offer and the peer's OPEN come to; `families` are those of the session. `None`: one of
/// the two knows nothing of graceful restart.
pub(super) fn negotiate(
    config: &SessionConfig,
    open: &Open,
    families: FamilySet,
) -> Option<Graceful> {
    let settings = &config.graceful_restart;
    if !settings.enabled && !settings.helper {
        return None;
    }
    // RFC-DONE 4724 §3: of several the last counts.
    let theirs = open.capabilities.iter().rev().find_map(|capability| {
        let Capability::GracefulRestart {
            restarting,
            notification,
            restart_time,
            families,
        } = capability
        else {
            return None;
        };
        Some((*restarting, *notification, *restart_time, families))
    });
    let (restarting, notification, restart_time, offered) = theirs?;
    let mut graceful = Graceful {
        ours: match settings.enabled {
            true => families,
            false => FamilySet::NONE,
        },
        restarting,
        marked: match offered.is_empty() {
            true => families,
            false => named(offered).intersection(families),
        },
        restart_time: Duration::from_secs(restart_time.into()),
        notification: notification && settings.notification,
        ..Graceful::default()
    };
    if !settings.helper {
        return Some(graceful);
    }
    for entry in offered {
        let family = Family::from_afi_safi(entry.afi, entry.safi);
        if let Some(family) = family.filter(|family| families.contains(*family)) {
            graceful.families.insert(family);
            if entry.forwarding {
                graceful.forwarding.insert(family);
            }
        }
    }
    negotiate_long_lived(config, open, families, &mut graceful);
    Some(graceful)
}

fn named(offered: &[GracefulRestartFamily]) -> FamilySet {
    let known = offered.iter();
    known
        .filter_map(|entry| Family::from_afi_safi(entry.afi, entry.safi))
        .collect()
}

/// Whether a peer knows what LLGR_STALE means.
pub(super) fn offers_long_lived(open: &Open) -> bool {
    let is_it =
        |capability: &Capability| matches!(capability, Capability::LongLivedGracefulRestart(_));
    open.capabilities.iter().any(is_it)
}

// RFC-DONE 9494 §4.5: without graceful restart its long-lived form says nothing.
// RFC-DONE 9494 §4.2: of a family that only the long-lived form names the restart time is zero.
fn negotiate_long_lived(
    config: &SessionConfig,
    open: &Open,
    families: FamilySet,
    graceful: &mut Graceful,
) {
    let Some(bound) = config.long_lived else {
        return;
    };
    let theirs = open.capabilities.iter().rev();
    let theirs = theirs
        .filter_map(|capability| match capability {
            Capability::LongLivedGracefulRestart(families) => Some(families),
            _ => None,
        })
        .next();
    for entry in theirs.into_iter().flatten() {
        let family = Family::from_afi_safi(entry.afi, entry.safi);
        if let Some(family) = family.filter(|family| families.contains(*family)) {
            let wanted = Duration::from_secs(entry.stale_time.into());
            graceful.long_lived[family.index()] = wanted.min(bound);
            if entry.forwarding {
                graceful.long_lived_forwarding.insert(family);
            }
        }
    }
}

/// Whether the routes of a peer may outlive a session that ended so.
///
/// RFC 4724 §4.2: any end but by NOTIFICATION. RFC 8538 §3 and §4: by NOTIFICATION too where both
/// said so, unless it is a Hard Reset.
pub(super) fn survives(graceful: Option<&Graceful>, ending: &Ending) -> bool {
    let Some(graceful) = graceful else {
        return false;
    };
    match ending {
        Ending::Lost(_) | Ending::Replaced | Ending::Leaving => true,
        // RFC-DONE 8538 §4: routes outlive a NOTIFICATION and an expired hold timer.
        Ending::Stuck(_) => graceful.notification,
        Ending::Sent(notification, _) | Ending::Received(notification) => {
            graceful.notification && !is_hard_reset(notification)
        }
        Ending::Collided => false,
    }
}

fn is_hard_reset(notification: &Notification) -> bool {
    notification.code == codec::notification::CEASE && notification.subcode == cease::HARD_RESET
}

impl Graceful {
    /// Whether the peer may be back, and its routes be kept until then.
    pub(super) fn may_restart(&self) -> bool {
        !self.families.is_empty() || !self.kept().is_empty()
    }

    /// Families in which the peer's routes are kept, be it for its restart or for long.
    pub fn kept(&self) -> FamilySet {
        let lasts = |family: &Family| !self.long_lived[family.index()].is_zero();
        let restarts = |family: &Family| !self.restart_time_of(*family).is_zero();
        let all = Family::ALL.into_iter();
        all.filter(|family| restarts(family) || lasts(family))
            .collect()
    }

    /// Within this the peer is back with the routes of a family once it is gone.
    pub fn restart_time_of(&self, family: Family) -> Duration {
        match self.families.contains(family) {
            true => self.restart_time,
            false => Duration::ZERO,
        }
    }
}

impl Session {
    /// What our OPENs say of ourselves until the session is up for the first time. From then on we
    /// have not restarted since, and what we told stands.
    pub fn set_own_restart(&mut self, own: OwnRestart) {
        self.own_restart = own;
    }

    pub(super) fn note_told(&mut self) {
        self.own_restart = OwnRestart {
            restarting: false,
            forwarding: FamilySet::ALL,
        };
    }

    // RFC-DONE 8538 §3.1: what is to end the session for good says so: Hard Reset around its code.
    /// The form in which the peer is told `notification` if its routes, and ours there, are not to
    /// outlive the session.
    pub fn hard(&self, notification: Notification) -> Notification {
        match self.graceful() {
            Some(graceful) if graceful.notification => notification.in_hard_reset(),
            _ => notification,
        }
    }

    pub(super) fn graceful(&self) -> Option<&Graceful> {
        self.established()?.1.graceful.as_ref()
    }

    /// The process ends. A peer that keeps our routes meanwhile loses its connection without a word
    /// (RFC 4724 §4), others are told `notification`.
    pub fn handle_leave(&mut self, now: Time, notification: Notification) {
        // RFC-DONE 4724 §4: to whoever keeps our routes the end of the process is no NOTIFICATION.
        if self
            .graceful()
            .is_some_and(|graceful| !graceful.ours.is_empty())
        {
            self.started = false;
            for slot in Slot::ALL {
                self.end(now, slot, Ending::Leaving);
            }
        }
        self.handle_stop(now, notification);
    }
}
