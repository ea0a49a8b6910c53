//! Route refresh (RFC 2918, RFC 7313): peers that ask us for routes, and peers that we ask.

use bytes::Bytes;
use codec::{Family, RouteRefresh};

use super::peer::PeerId;
use super::stale::Cause;
use super::{Shard, Wire};
use crate::config::PeerAddress;
use crate::model::RefreshReply;
use crate::time::Time;

impl Shard {
    /// A peer sent ROUTE-REFRESH.
    pub(super) fn take_refresh(&mut self, now: Time, id: PeerId, refresh: RouteRefresh) {
        let Some(family) = Family::from_afi_safi(refresh.afi, refresh.safi) else {
            return;
        };
        let peer = self.peers.get(id);
        let Some(established) = peer.and_then(|peer| peer.established.as_ref()) else {
            return;
        };
        let enhanced = established.negotiated.enhanced_refresh;
        match refresh.subtype {
            RouteRefresh::REQUEST => self.tell_again(id, family, enhanced),
            RouteRefresh::BEGIN if enhanced => self.begin_refresh(now, id, family),
            RouteRefresh::END if enhanced => self.end_stale(id, family, Cause::Refresh),
            // RFC-DONE 7313 §5: other subtypes, and bounds that were not agreed on, are ignored.
            _ => {}
        }
    }

    fn tell_again(&mut self, id: PeerId, family: Family, told_bounds: bool) {
        let Some(peer) = self.peers.get(id) else {
            return;
        };
        let (Some(established), Some(instance)) =
            (&peer.established, self.instances.get_mut(&peer.instance))
        else {
            return;
        };
        let place = established.group;
        let mut outbox = Wire {
            peers: &self.peers,
            connections: &mut self.connections,
            told: &mut self.told,
        };
        if let Some(group) = instance.group_mut(place) {
            group.refresh(id, family, told_bounds, &mut outbox);
        }
    }

    /// Asks peers for all their routes: what an operator wants.
    pub(super) fn ask_for_routes(
        &mut self,
        instance: Option<&str>,
        address: Option<PeerAddress>,
    ) -> RefreshReply {
        let mut reply = RefreshReply::default();
        for id in self.meant(instance, address) {
            match self.ask_again(id) {
                Ok(()) => reply.peers += 1,
                Err(why) => reply.notes.push(why),
            }
        }
        reply
    }

    /// Asks a peer whose session is up for all its routes.
    ///
    /// # Errors
    /// Why it cannot be asked, with the mend.
    pub(super) fn ask_again(&mut self, id: PeerId) -> Result<(), String> {
        let Some(peer) = self.peers.get(id) else {
            return Ok(());
        };
        let address = peer.neighbor.address;
        let Some(established) = &peer.established else {
            return Err(format!(
                "{address} was not asked: its session is not up, and when it is, all routes come"
            ));
        };
        // RFC-DONE 2918 §4: only a peer that offered the capability is asked.
        if !established.negotiated.refresh {
            return Err(unasked_words(address));
        }
        let connection = established.connection;
        for family in established.negotiated.families.iter() {
            let refresh = RouteRefresh {
                afi: family.afi(),
                safi: family.safi(),
                subtype: RouteRefresh::REQUEST,
            };
            let mut message = Vec::new();
            codec::encode_route_refresh(&refresh, &mut message);
            self.connections
                .send(connection, Bytes::from(message), false);
        }
        Ok(())
    }
}

/// For people: why a peer's routes are not asked for, and the mend.
pub(super) fn unasked_words(address: PeerAddress) -> String {
    format!(
        "{address} was not asked for its routes: it did not offer route refresh (RFC 2918); `ringbgp \
         reset {address}` has it send everything again"
    )
}
