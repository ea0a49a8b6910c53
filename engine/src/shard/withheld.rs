//! Own routes that a peer is not told for want of a next hop: that people hear of it.
//!
//! What the next hop is, or why there is none, is `own_next_hop`'s to say. Invariant: it is said once
//! in a session, and again only after it was otherwise; never of a family that has no own routes.

use codec::{Family, FamilySet};

use super::Shard;
use super::peer::PeerId;
use crate::config::Export;

impl Shard {
    /// Looks whether own routes of a family came for the first time, from whichever shard.
    pub(super) fn look_for_own_families(&mut self) {
        let mut changed = Vec::new();
        for (id, instance) in &mut self.instances {
            let families = instance.own_families();
            if std::mem::replace(&mut instance.known_own_families, families) != families {
                changed.push(*id);
            }
        }
        for instance in changed {
            for id in self.peers_of(instance) {
                self.warn_of_withheld(id);
            }
        }
    }

    /// Warns of the families whose own routes are withheld from a peer that is up, if that is new.
    pub(super) fn warn_of_withheld(&mut self, id: PeerId) {
        let withheld = self.withheld(id);
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let address = peer.neighbor.address;
        let Some(established) = &mut peer.established else {
            return;
        };
        let before = std::mem::take(&mut established.withheld);
        for (family, why) in withheld {
            established.withheld.insert(family);
            if !before.contains(family) {
                tracing::warn!(
                    peer = %address,
                    %family,
                    "own routes of this family are not announced to the peer: {why}"
                );
            }
        }
    }

    fn withheld(&self, id: PeerId) -> Vec<(Family, &'static str)> {
        let Some(peer) = self.peers.get(id) else {
            return Vec::new();
        };
        let (Some(established), Some(instance)) =
            (&peer.established, self.instances.get(&peer.instance))
        else {
            return Vec::new();
        };
        let told = match peer.neighbor.export {
            Export::None => FamilySet::NONE,
            Export::Originated | Export::All | Export::Policy(_) => established.negotiated.families,
        };
        let Some(group) = instance.group(established.group) else {
            return Vec::new();
        };
        // Its group knows already; why there is none is found out only for people, as it takes a look at
        // the machine's interfaces.
        let lacks = |family: &Family| group.view().own_next_hop[family.index()].is_none();
        let families = told.intersection(instance.own_families()).iter();
        let why = |family| {
            self.own_next_hop(peer, &established.negotiated, family)
                .err()
        };
        families
            .filter(lacks)
            .filter_map(|family| Some((family, why(family)?)))
            .collect()
    }
}
