//! Peers whose settings changed so that they are told something else: whole groups change their
//! view, single members change groups.
//!
//! Invariant: a member's group is that of its view once [`Shard::regroup`] returns.

use std::collections::BTreeMap;

use super::peer::PeerId;
use super::{Shard, Wire};
use crate::config::InstanceId;
use crate::group::{Before, ExportView};

/// Members of one group that go the same way.
struct Move {
    instance: InstanceId,
    from: usize,
    view: ExportView,
    members: Vec<PeerId>,
}

impl Shard {
    /// Follows new settings of peers, as far as they change what the peers are told.
    pub(super) fn regroup(&mut self, peers: &[PeerId]) {
        let mut before = None;
        for wanted in self.moves(peers) {
            if !self.change_group_view(&wanted) {
                self.change_groups(wanted, &mut before);
            }
        }
        for id in peers {
            self.warn_of_withheld(*id);
        }
    }

    fn moves(&self, peers: &[PeerId]) -> Vec<Move> {
        let mut moves: BTreeMap<(InstanceId, usize), Vec<Move>> = BTreeMap::new();
        for id in peers {
            let Some((instance, from, view)) = self.wanted_view(*id) else {
                continue;
            };
            let of_group = moves.entry((instance, from)).or_default();
            match of_group.iter_mut().find(|known| known.view == view) {
                Some(known) => known.members.push(*id),
                None => of_group.push(Move {
                    instance,
                    from,
                    view,
                    members: vec![*id],
                }),
            }
        }
        moves.into_values().flatten().collect()
    }

    /// The view of a peer whose session is up, if it is not its group's.
    fn wanted_view(&self, id: PeerId) -> Option<(InstanceId, usize, ExportView)> {
        let view = self.view_of(id)?;
        let peer = self.peers.get(id)?;
        let from = peer.established.as_ref()?.group;
        let group = self.instances.get(&peer.instance)?.group(from)?;
        (*group.view() != view).then_some((peer.instance, from, view))
    }

    /// All members of a group want the same: the group itself changes, and tells them only what
    /// differs. False: it has other members, or another group has that view already.
    fn change_group_view(&mut self, wanted: &Move) -> bool {
        let Some(instance) = self.instances.get_mut(&wanted.instance) else {
            return false;
        };
        let members = instance.group(wanted.from).map(|group| group.members());
        members == Some(wanted.members.len()) && instance.change_view(wanted.from, &wanted.view)
    }

    /// `before`: what members of the group that was left last may hold, which is all of its table and
    /// does not change as members leave.
    fn change_groups(&mut self, wanted: Move, before: &mut Option<((InstanceId, usize), Before)>) {
        let Some(instance) = self.instances.get_mut(&wanted.instance) else {
            return;
        };
        let left = (wanted.instance, wanted.from);
        if before.as_ref().is_none_or(|(of, _)| *of != left) {
            let group = instance.group_mut(wanted.from);
            *before = group.map(|group| (left, group.told_by_now()));
        }
        let others = wanted.view.wants_others_at_all();
        let place = instance.group_of(wanted.view);
        let mut joining = Vec::new();
        let mut ends = Vec::new();
        let mut adj_ribs_in = Vec::new();
        for id in wanted.members {
            let established = self
                .peers
                .get_mut(id)
                .and_then(|peer| peer.established.as_mut());
            if let Some(established) = established {
                established.group = place;
                joining.push((id, established.source));
                let group = instance.group(wanted.from);
                let owed = group.and_then(|group| group.owed_ends(id));
                ends.extend(owed.map(|owed| (id, owed)));
                adj_ribs_in.extend(others.then(|| established.adj_rib_in.clone()));
            }
        }
        let mut outbox = Wire {
            peers: &self.peers,
            connections: &mut self.connections,
            told: &mut self.told,
        };
        for (id, source) in &joining {
            instance.leave(wanted.from, *id, *source, &mut outbox);
        }
        let guard = instance.writer.rib().guard();
        let (writer, group) = instance.writer_and_group(place);
        if let (Some(group), Some((_, before))) = (group, before) {
            group.move_in(&joining, before, &mut outbox);
            for (id, owed) in ends {
                group.take_over_ends(id, owed);
            }
            for adj_rib_in in adj_ribs_in {
                group.adopt(writer, &guard, &adj_rib_in);
            }
        }
    }
}
