//! Routes that outlive the session of the peer that said them: the helper's side of graceful restart
//! (RFC 4724 §4.2, RFC 8538 §4).
//!
//! A peer that is held to restart loses its connection and not its routes: they stay in the table
//! under their source, marked stale, used as before, until the peer is back and has said them again
//! (`stale`), or does not come back, or comes back as somebody who does not know of them. Meanwhile they
//! are judged like everybody's: by the policy, filters and VRPs of now, and by what the session that ended
//! had negotiated.
//!
//! Invariants: a peer has an [`Established`] or a [`Retained`] or neither, never both; what has
//! nobody who may bring it back is in the instance's queue of removals, with its source.

use std::sync::Arc;

use codec::{Family, FamilySet};
use rib::{IdSet, PrefixId, SourceId};

use super::Shard;
use super::instance::Instance;
use super::peer::{Established, Peer, PeerId, source_info};
use super::stale::{Cause, Stale};
use crate::config::{Import, Neighbor};
use crate::session::{Graceful, Negotiated, SessionConfig};
use crate::time::Time;

/// What a peer that is away has in the table.
pub(super) struct Retained {
    /// What it had as its session ended, and what has become of that; of its connection, group and
    /// counters nothing is meant any more.
    pub(super) had: Box<Established>,
    /// The peer is expected back with the routes of a family by then, if these are not long-lived.
    back_by: [Time; Family::ALL.len()],
    /// Families whose routes are long-lived by now (RFC 9494).
    long_lived: FamilySet,
    /// Families of which the instance hears for it, though no session may be left that is told them.
    heard: FamilySet,
}

impl Retained {
    /// When something of it is due.
    pub(super) fn until(&self) -> Time {
        let ends = Family::ALL.map(|family| self.family_until(family));
        let ends = ends.into_iter().flatten().min();
        ends.or(self.back_by.into_iter().max()).unwrap_or_default()
    }

    /// When the time of a family's routes is over, if it has any.
    fn family_until(&self, family: Family) -> Option<Time> {
        let until = self.had.stale[family.index()].as_ref()?.until;
        match self.long_lived.contains(family) {
            true => Some(until),
            false => Some(until.min(self.back_by[family.index()])),
        }
    }

    /// How many prefixes of a family came from the peer, and how many of them are used.
    pub(super) fn counts(&self, family: Family) -> (u64, u64) {
        let family = family.index();
        let received = self.had.adj_rib_in[family].len() as u64;
        (received, received - self.had.rejected[family].len() as u64)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.had.adj_rib_in.iter().all(IdSet::is_empty)
    }

    /// Whether the peer may come back with the routes of a family under these settings.
    fn is_expected(&self, neighbor: &Neighbor, family: Family) -> bool {
        let lasts = !self.long_lived.contains(family) || neighbor.long_lived.is_some();
        neighbor.import != Import::None
            && neighbor.graceful_restart.helper
            && neighbor.families.contains(family)
            && SessionConfig::of(neighbor).allows(self.had.negotiated.peer_asn)
            && lasts
    }

    /// The paths of a family must go.
    fn give_up(&mut self, instance: &mut Instance, family: Family) {
        let had = &mut self.had;
        let ids = std::mem::take(&mut had.adj_rib_in[family.index()]);
        had.rejected[family.index()] = IdSet::default();
        had.unrepeated[family.index()] = IdSet::default();
        had.reconsider[family.index()] = IdSet::default();
        had.stale[family.index()] = None;
        if self.heard.contains(family) {
            self.heard.remove(family);
            instance.hear_no_more(family);
        }
        instance.remove_paths(had.source, family, ids);
    }
}

/// The families of which a session's routes stay when it ends.
fn kept(neighbor: &Neighbor, graceful: &Graceful) -> FamilySet {
    if neighbor.import == Import::None {
        return FamilySet::NONE;
    }
    graceful.kept()
}

impl Shard {
    /// A session ended that its peer's routes outlive. `established` is what it had.
    ///
    // RFC-DONE 4724 §4.2: the routes of a peer that restarts stay, marked stale.
    pub(super) fn retain(&mut self, now: Time, id: PeerId, established: Box<Established>) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let Some(instance) = self.instances.get_mut(&peer.instance) else {
            return;
        };
        let heard = established.negotiated.families;
        let graceful = established.negotiated.graceful.clone().unwrap_or_default();
        let kept = kept(&peer.neighbor, &graceful);
        let mut retained = Retained {
            had: established,
            back_by: Family::ALL.map(|family| now + graceful.restart_time_of(family)),
            long_lived: FamilySet::NONE,
            // Since before its group lost it.
            heard,
        };
        retained.shorten(&peer.neighbor);
        let until = now + peer.neighbor.graceful_restart.stale_time;
        for family in Family::ALL {
            if kept.contains(family) {
                let lasts = !graceful.long_lived[family.index()].is_zero();
                let keeps = graceful.notification || lasts;
                retained.mark(instance, (id, family), until, keeps);
            } else {
                retained.give_up(instance, family);
            }
        }
        if retained.is_empty() {
            return instance.remove_all(retained);
        }
        tracing::info!(
            peer = %peer.neighbor.address,
            routes = retained.had.adj_rib_in.iter().map(IdSet::len).sum::<usize>(),
            seconds = graceful.restart_time.as_secs(),
            "the peer is held to restart: its routes stay meanwhile"
        );
        peer.retained = Some(Box::new(retained));
        self.peers.arm(id);
        // Without a restart time, be it of a family alone, it has been away for long at once.
        self.end_absence(now, id);
    }

    /// A peer is back: what it had is its own again, as far as it says that it still forwards by it.
    pub(super) fn take_back(&mut self, id: PeerId, established: &mut Established) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let Some(instance) = self.instances.get_mut(&peer.instance) else {
            return;
        };
        let Some(mut retained) = peer.retained.take() else {
            return;
        };
        let negotiated = &established.negotiated;
        if !instance.is_still(&retained, &peer.neighbor, negotiated) {
            // Somebody else has its address.
            return instance.remove_all(*retained);
        }
        // RFC-DONE 4724 §4.2: what the peer does not forward any more, or does not name, goes at once.
        for family in Family::ALL {
            // RFC 7911 §2: with path identifiers or without, what it says now is of other paths.
            let identified = |of: &Negotiated| of.wire.add_path_receive.contains(family);
            let alike = identified(&retained.had.negotiated) == identified(negotiated);
            let stands = alike
                && negotiated.graceful.as_ref().is_some_and(|graceful| {
                    // RFC-DONE 9494 §4.2: the same of long-lived routes, by their own capability.
                    let forwarding = match retained.long_lived.contains(family) {
                        true => graceful.long_lived_forwarding,
                        false => graceful.forwarding,
                    };
                    negotiated.families.contains(family) && forwarding.contains(family)
                });
            if !stands {
                retained.give_up(instance, family);
            }
        }
        instance.writer.remove_source(established.source);
        // What is missed until its group hears is made good, as all of it is judged anew then.
        retained
            .heard
            .iter()
            .for_each(|family| instance.hear_no_more(family));
        let had = retained.had;
        instance.end_import(&had);
        established.source = had.source;
        established.adj_rib_in = had.adj_rib_in;
        established.rejected = had.rejected;
        established.unrepeated = had.unrepeated;
        established.stale = had.stale;
        established.volume = had.volume;
    }

    /// Nobody will bring the peer's routes back: they go.
    pub(super) fn give_up(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let retained = peer.retained.take();
        if let (Some(retained), Some(instance)) = (retained, self.instances.get_mut(&peer.instance))
        {
            instance.remove_all(*retained);
        }
        self.peers.arm(id);
        self.forget_if_gone(id);
    }

    /// A peer that is away: its settings, what it has, and where.
    fn away(&mut self, id: PeerId) -> Option<(&Neighbor, &mut Retained, &mut Instance)> {
        let peer = self.peers.get_mut(id)?;
        let instance = self.instances.get_mut(&peer.instance)?;
        Some((&peer.neighbor, peer.retained.as_deref_mut()?, instance))
    }

    /// New settings of a peer that is away: what nobody may bring back under them goes at once.
    pub(super) fn give_up_unexpected(&mut self, id: PeerId) {
        let Some((neighbor, retained, instance)) = self.away(id) else {
            return;
        };
        retained.shorten(neighbor);
        for family in Family::ALL {
            if !retained.is_expected(neighbor, family) {
                retained.give_up(instance, family);
            }
        }
        if retained.is_empty() {
            self.give_up(id);
        }
        self.peers.arm(id);
    }

    /// The peer did not come back in time.
    ///
    // RFC-DONE 4724 §4.2: past the peer's restart time, or our own bound, stale routes go.
    pub(super) fn end_absence(&mut self, now: Time, id: PeerId) {
        let Some((neighbor, retained, instance)) = self.away(id) else {
            return;
        };
        for family in Family::ALL {
            let until = retained.family_until(family);
            if until.is_none_or(|until| until > now) {
                continue;
            }
            let may_last = neighbor.long_lived.is_some();
            let lasts = retained.may_last(now, family).filter(|_| may_last);
            tracing::warn!(
                peer = %neighbor.address,
                %family,
                seconds = lasts.map(|until| until.saturating_since(now).as_secs()),
                "the peer did not come back in time: its routes are removed, or stay as the least \
                 preferred ones for as many seconds"
            );
            match lasts {
                Some(until) => retained.last(instance, id, family, until),
                None => retained.give_up(instance, family),
            }
        }
        if retained.is_empty() {
            self.give_up(id);
        }
        self.peers.arm(id);
    }
}

impl Retained {
    /// Until when a family's routes may stay past the restart time (RFC 9494 §4.2).
    fn may_last(&self, now: Time, family: Family) -> Option<Time> {
        let graceful = self.had.negotiated.graceful.as_ref()?;
        let time = graceful.long_lived[family.index()];
        let stale = self.had.stale[family.index()].as_ref()?;
        let until = stale.long_lived_until.unwrap_or(now + time);
        (!time.is_zero() && until > now && !self.long_lived.contains(family)).then_some(until)
    }

    /// Our own bound on the time past the restart time may be lower than when the peer was there: what
    /// is left of that time is shorter by as much.
    fn shorten(&mut self, neighbor: &Neighbor) {
        let (Some(bound), had) = (neighbor.long_lived, &mut self.had) else {
            return;
        };
        let Some(graceful) = &mut Arc::make_mut(&mut had.negotiated).graceful else {
            return;
        };
        for family in Family::ALL {
            let time = &mut graceful.long_lived[family.index()];
            let less = time.saturating_sub(bound);
            *time -= less;
            let Some(stale) = &mut had.stale[family.index()] else {
                continue;
            };
            if let Some(until) = &mut stale.long_lived_until {
                *until = *until - less;
                if self.long_lived.contains(family) {
                    stale.until = *until;
                }
            }
        }
    }

    fn last(&mut self, instance: &mut Instance, id: PeerId, family: Family, until: Time) {
        if let Some(stale) = &mut self.had.stale[family.index()] {
            stale.until = until;
            stale.long_lived_until = Some(until);
            instance.queue_long_lived(id, self.had.source, family, stale.ids.clone());
        }
        self.long_lived.insert(family);
    }

    /// Marks the paths of a family stale, until a time.
    ///
    // RFC-DONE 4724 §4.2: what was stale before goes, so that no restart after restart keeps it.
    // RFC-DONE 8538 §4: where both keep routes over a NOTIFICATION it stays, as long as it had.
    fn mark(
        &mut self,
        instance: &mut Instance,
        (peer, family): (PeerId, Family),
        until: Time,
        keeps: bool,
    ) {
        let (mut until, mut long_lived_until) = (until, None);
        let before = self.had.stale[family.index()].take();
        let ids = self.had.adj_rib_in[family.index()].clone();
        self.had.unrepeated[family.index()] = ids.clone();
        match before.filter(|stale| stale.cause == Cause::Restart) {
            // By path, not by prefix: of several to one (RFC 7911) some were said in between.
            Some(_) if !keeps => instance.renew_stale(peer, self.had.source, family, ids.clone()),
            before => {
                if let Some(stale) = before {
                    until = until.min(stale.until);
                    long_lived_until = stale.long_lived_until;
                }
                instance.mark_stale(self.had.source, family, ids.clone());
            }
        }
        if ids.is_empty() {
            return;
        }
        self.had.stale[family.index()] = Some(Stale {
            ids,
            cause: Cause::Restart,
            until,
            long_lived_until,
        });
    }
}

impl Instance {
    /// Whether the peer that negotiated this is the one whose routes were kept, to selection too.
    fn is_still(&self, retained: &Retained, neighbor: &Neighbor, negotiated: &Negotiated) -> bool {
        let rib = self.writer.rib();
        let known = *rib.source(retained.had.source, &rib.guard());
        known.selects_like(&source_info(neighbor, negotiated))
    }

    /// All that a peer that is away has in the table must go.
    fn remove_all(&mut self, retained: Retained) {
        retained
            .heard
            .iter()
            .for_each(|family| self.hear_no_more(family));
        self.end_import(&retained.had);
        self.tear_down(retained.had.source, retained.had.adj_rib_in, true);
    }

    /// Nothing that came from a peer is judged any more.
    pub(super) fn end_import(&mut self, had: &Established) {
        if let Some(place) = had.import {
            self.imports.give_back(place);
        }
    }

    fn remove_paths(&mut self, source: SourceId, family: Family, ids: IdSet) {
        if ids.is_empty() {
            return;
        }
        let mut all: [IdSet; Family::ALL.len()] = Default::default();
        all[family.index()] = ids;
        self.tear_down(source, all, false);
    }
}

impl Peer {
    /// What it has said, up or away.
    pub(super) fn learned(&self) -> Option<&Established> {
        let away = self.retained.as_ref().map(|away| &*away.had);
        self.established.as_deref().or(away)
    }

    /// The same, to change it.
    pub(super) fn learned_mut(&mut self) -> Option<&mut Established> {
        self.with_neighbor_mut().1
    }

    /// The same, beside the settings.
    pub(super) fn with_neighbor_mut(&mut self) -> (&Neighbor, Option<&mut Established>) {
        let away = self.retained.as_mut().map(|away| &mut *away.had);
        (&self.neighbor, self.established.as_deref_mut().or(away))
    }

    /// The last path to a prefix is gone.
    pub(super) fn forget(&mut self, family: Family, id: PrefixId) {
        if let Some(learned) = self.learned_mut() {
            learned.adj_rib_in[family.index()].remove(id);
            learned.rejected[family.index()].remove(id);
            learned.is_said(family, id);
        }
    }

    /// The paths to a prefix that are left are rejected ones.
    pub(super) fn is_rejected(&mut self, family: Family, id: PrefixId) {
        if let Some(learned) = self.learned_mut() {
            learned.rejected[family.index()].insert(id);
        }
    }
}
