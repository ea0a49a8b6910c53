//! What sessions ask for, carried out: connections, messages, and their place in table and groups.

use std::sync::Arc;

use codec::{Family, FamilySet, NextHop, PeerKind};

use super::command::{Action, ConnectTarget};
use super::import::role_of;
use super::peer::{Established, Peer, PeerId, Unsaid, client_of, socket_options, source_info};
use super::{Shard, Wire, import, query};
use crate::config::Export;
use crate::group::{ExportView, Otc, own_next_hop};
use crate::policy::Applied;
use crate::session::{Down, Negotiated, SessionAction, Slot};
use crate::time::Time;

impl Shard {
    /// Does what the session asks, in order.
    pub(super) fn drain(&mut self, now: Time, id: PeerId) {
        while let Some(action) = self.next_session_action(id) {
            self.perform(now, id, action);
        }
        self.show_state(id);
        self.hold_if_drained(now, id);
        self.peers.arm(id);
        self.forget_if_gone(id);
    }

    /// Tells whoever watches that the session is in another state.
    fn show_state(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let state = peer.session.state();
        let before = std::mem::replace(&mut peer.shown, state);
        let reason = peer.session.take_reason();
        if before == state || self.watches.is_empty() {
            return;
        }
        if let Some(instance) = self.instances.get(&peer.instance) {
            let (name, address) = (instance.name(), peer.neighbor.address);
            let states = (query::state(before), query::state(state));
            self.watches.session(name, address, states, reason);
        }
    }

    fn next_session_action(&mut self, id: PeerId) -> Option<SessionAction> {
        self.peers.get_mut(id)?.session.poll_action()
    }

    fn perform(&mut self, now: Time, id: PeerId, action: SessionAction) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        match action {
            SessionAction::Connect => {
                let connection = self.connections.add(id, Slot::Outgoing);
                peer.connections[Slot::Outgoing as usize] = Some(connection);
                let neighbor = &peer.neighbor;
                let to = Arc::new(ConnectTarget {
                    peer: neighbor.address,
                    port: neighbor.port,
                    local: neighbor.local_address,
                    options: socket_options(neighbor),
                });
                self.actions.push_back(Action::Connect { connection, to });
            }
            SessionAction::Accepted => {
                peer.connections[Slot::Incoming as usize] = peer.next_incoming.take();
            }
            SessionAction::MakeRoom => {
                let connection = peer.connections[Slot::Incoming as usize].take();
                peer.connections[Slot::Outgoing as usize] = connection;
                let live = connection.and_then(|id| self.connections.get_mut(id));
                if let Some(live) = live {
                    live.slot = Slot::Outgoing;
                }
            }
            SessionAction::Transmit(slot, message) => {
                if let Some(connection) = peer.connection(slot) {
                    // A KEEPALIVE need not wait behind the table that it keeps alive.
                    let urgent = peer.established.is_some() && is_keepalive(&message);
                    self.connections.send(connection, message, urgent);
                }
            }
            SessionAction::Close(slot) => self.close(id, slot),
            SessionAction::Established(slot, negotiated) => self.up(now, id, slot, negotiated),
            SessionAction::Down(down) => self.down(now, id, &down),
        }
    }

    fn close(&mut self, id: PeerId, slot: Slot) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        if let Some(connection) = peer.connections[slot as usize].take() {
            self.connections.close(connection);
            self.actions.push_back(Action::Close { connection });
        }
    }

    fn up(&mut self, now: Time, id: PeerId, slot: Slot, negotiated: Arc<Negotiated>) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let Some(connection) = peer.connection(slot) else {
            return;
        };
        let Some(instance) = self.instances.get_mut(&peer.instance) else {
            return;
        };
        tracing::debug!(
            peer = %peer.neighbor.address,
            graceful = ?negotiated.graceful,
            "graceful restart"
        );
        let source = instance
            .writer
            .add_source(source_info(&peer.neighbor, &negotiated));
        let mut established = Box::new(Established {
            connection,
            negotiated,
            source,
            group: 0,
            since: now,
            adj_rib_in: Default::default(),
            rejected: Default::default(),
            unrepeated: Default::default(),
            reconsider: Default::default(),
            import: None,
            own_addresses: Default::default(),
            counted: Default::default(),
            unsaid: Unsaid::default(),
            ended: FamilySet::NONE,
            stale: Default::default(),
            limit_levels: Default::default(),
            volume: Default::default(),
            paused: false,
            withheld: FamilySet::NONE,
        });
        self.take_back(id, &mut established);
        let source = established.source;
        if let Some(peer) = self.peers.get_mut(id) {
            peer.established = Some(established);
        }
        self.established.one_more();
        let Some(view) = self.view_of(id) else {
            return;
        };
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let Some(instance) = self.instances.get_mut(&peer.instance) else {
            return;
        };
        let own = view.own_next_hop;
        let place = instance.group_of(view);
        if let Some(established) = &mut peer.established {
            established.group = place;
            established.own_addresses = import::own_addresses(established, own);
            let applied = import::applied(&peer.neighbor, established, own);
            established.import = applied.map(|applied| instance.imports.take(applied));
        }
        let mut outbox = Wire {
            peers: &self.peers,
            connections: &mut self.connections,
            told: &mut self.told,
        };
        if let Some(group) = instance.group_mut(place) {
            group.join(id, source, &mut outbox);
        }
        self.adopt(id, place);
        self.warn_of_withheld(id);
        // What it had before it restarted was judged by what was so then.
        self.reconsider_all(id);
        self.look_whether_to_wait(now, id);
    }

    /// A peer that restarted has paths already: what it is told instead of those of its own that are
    /// the best, was not worked out while it was away.
    fn adopt(&mut self, id: PeerId, place: usize) {
        let Some(peer) = self.peers.get(id) else {
            return;
        };
        let (Some(established), Some(instance)) =
            (&peer.established, self.instances.get_mut(&peer.instance))
        else {
            return;
        };
        let guard = instance.writer.rib().guard();
        let (writer, group) = instance.writer_and_group(place);
        if let Some(group) = group.filter(|group| group.view().wants_others_at_all()) {
            group.adopt(writer, &guard, &established.adj_rib_in);
        }
    }

    fn down(&mut self, now: Time, id: PeerId, down: &Down) {
        self.settle_arrivals(id);
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        let Some(established) = peer.established.take() else {
            return;
        };
        self.established.one_less();
        let instance_id = peer.instance;
        self.connections.clear_queue(established.connection);
        let Some(instance) = self.instances.get_mut(&instance_id) else {
            return;
        };
        let mut outbox = Wire {
            peers: &self.peers,
            connections: &mut self.connections,
            told: &mut self.told,
        };
        if down.graceful {
            let families = established.negotiated.families;
            families.iter().for_each(|family| instance.hear_on(family));
        }
        instance.leave(established.group, id, established.source, &mut outbox);
        if down.graceful {
            self.retain(now, id, established);
        } else {
            instance.end_import(&established);
            instance.tear_down(established.source, established.adj_rib_in, true);
        }
        self.look_whether_to_wait_on(id);
    }

    /// What a peer whose session is up is told, as far as it changes bytes.
    pub(super) fn view_of(&self, id: PeerId) -> Option<ExportView> {
        let peer = self.peers.get(id)?;
        let established = peer.established.as_ref()?;
        let negotiated = &established.negotiated;
        let neighbor = &peer.neighbor;
        Some(ExportView {
            peer: peer.kind(),
            local_asn: neighbor.local_asn,
            four_octet_as: negotiated.wire.four_octet_as,
            families: negotiated.families,
            // Own routes carry our own next hop, whatever it is.
            otc: Otc::of(role_of(neighbor, established)),
            extended_next_hop: negotiated.wire.extended_next_hop
                && !matches!(neighbor.export, Export::Originated | Export::None),
            own_next_hop: self.own_next_hops(peer)?,
            next_hop_self: neighbor.next_hop_self,
            client: client_of(neighbor, peer.kind()),
            cluster_id: match peer.kind() {
                PeerKind::Internal => Some(neighbor.cluster_id),
                #[cfg(test)]
                _ if self.fault == Some(crate::group::Fault::Unshared) => {
                    Some(negotiated.peer_router_id)
                }
                PeerKind::External => None,
            },
            long_lived: negotiated.long_lived,
            export: neighbor.export.clone(),
            policy: export_policy(peer),
            send_communities: neighbor.send_communities,
            graceful_shutdown: peer.draining.is_some(),
            advertisement_interval: neighbor.timers.advertisement_interval,
            add_paths: Family::ALL.map(|family| {
                // What the session negotiated decides the bytes, until it is reset.
                let several = negotiated.wire.add_path_send.contains(family);
                if several {
                    neighbor.add_paths.send.max(1)
                } else {
                    0
                }
            }),
        })
    }

    /// What we are as next hop to a peer that is up, or was until it went away.
    pub(super) fn own_next_hops(
        &self,
        peer: &Peer,
    ) -> Option<[Option<NextHop>; Family::ALL.len()]> {
        let negotiated = &peer.learned()?.negotiated;
        Some(Family::ALL.map(|family| {
            if !negotiated.families.contains(family) {
                return None;
            }
            self.own_next_hop(peer, negotiated, family).ok()
        }))
    }

    /// What we are as next hop to a peer for a family that the session has, or why there is none.
    pub(super) fn own_next_hop(
        &self,
        peer: &Peer,
        negotiated: &Negotiated,
        family: Family,
    ) -> Result<NextHop, &'static str> {
        let local = negotiated.local_address.ip();
        let extended = negotiated.wire.extended_next_hop;
        let interfaces = self.interfaces.as_ref();
        own_next_hop(family, &peer.neighbor, local, extended, interfaces)
    }

    /// Tells sessions whose queue went from empty to not, for the send hold timer (RFC 9687).
    pub(super) fn report_backlogs(&mut self, now: Time) {
        while let Some(connection) = self.connections.pop_backlogged() {
            let Some(live) = self.connections.get(connection) else {
                continue;
            };
            let (id, slot, backlog) = (live.peer, live.slot, live.backlog());
            if let Some(peer) = self.peers.get_mut(id) {
                peer.session.handle_backlog(now, slot, backlog);
                self.peers.arm(id);
            }
        }
    }
}

/// The export policy of a peer whose session is up.
fn export_policy(peer: &Peer) -> Option<Applied> {
    let (Export::Policy(policy), Some(established)) = (&peer.neighbor.export, &peer.established)
    else {
        return None;
    };
    let seen = crate::policy::Neighbor {
        address: peer.neighbor.address.ip(),
        asn: established.negotiated.peer_asn,
        kind: peer.kind(),
        template: peer.neighbor.template.as_deref(),
    };
    Some(Applied::on_export(policy, &seen))
}

fn is_keepalive(message: &[u8]) -> bool {
    message.len() == codec::HEADER_LEN
}
