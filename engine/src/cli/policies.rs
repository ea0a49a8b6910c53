//! What export policies would make of own routes, for `check`.

use std::sync::Arc;

use codec::{AttributeSet, IpPrefix, PeerKind};

use super::announcements::Receiver;
use crate::config::{Export, Instance, Neighbor, Origin, PeerAsn};
use crate::policy::{
    self, Applied, Evaluator, Key, NextHopChoice, Policy, SetNextHop, Subject, Validation,
};
use crate::watcher::neighbors;

/// The export policy of each neighbor, in their order.
pub(super) struct Policies(Vec<Option<Evaluator>>);

impl Policies {
    pub(super) fn new(instance: &Instance) -> Policies {
        let policies = neighbors(instance).map(|(_, neighbor)| match &neighbor.export {
            Export::Policy(policy) => Some(Evaluator::new(applied(policy, neighbor))),
            Export::All | Export::Originated | Export::None => None,
        });
        Policies(policies.collect())
    }

    /// Those who are told a route, once policies were asked.
    pub(super) fn judge(
        &mut self,
        prefix: IpPrefix,
        origin: &Origin,
        peers: Arc<[Receiver]>,
    ) -> Arc<[Receiver]> {
        if self.0.iter().all(Option::is_none) {
            return peers;
        }
        let attributes = origin.attributes.canonical();
        // Two sets are never in one place.
        let place = Arc::as_ptr(&origin.attributes).addr() as u64;
        let key = Key {
            attributes: place as u32,
            generation: (place >> 32) as u32,
            family: prefix.family(),
            sources: origin.kinds,
            validation: Validation::NotFound,
        };
        let subject = Subject {
            family: key.family,
            sources: key.sources,
            validation: key.validation,
            attributes: &attributes,
        };
        let judged = peers.iter().zip(&mut self.0).map(|(peer, evaluator)| {
            let asked = peer.announced || peer.lacks_next_hop;
            match evaluator.as_mut().filter(|_| asked) {
                Some(evaluator) => judge(evaluator, (key, &subject), prefix, peer),
                None => peer.clone(),
            }
        });
        judged.collect()
    }
}

/// What a neighbor is told of one route, by its policy and, if that does not say, by its settings.
fn judge(
    evaluator: &mut Evaluator,
    (key, subject): (Key, &Subject<'_>),
    prefix: IpPrefix,
    peer: &Receiver,
) -> Receiver {
    let (verdict, _) = evaluator.judge(key, subject, prefix);
    let policy = evaluator.applied().policy();
    if !verdict.accepted {
        let words = policy.words(verdict.statement);
        return Receiver {
            announced: false,
            next_hop: None,
            reason: Some(format!("rejected by {words}")),
            ..peer.clone()
        };
    }
    let attributes = verdict.form.attributes.as_deref();
    let attributes = AttributeSet::new(attributes.unwrap_or(subject.attributes));
    let is_set = verdict.form.next_hop == NextHopChoice::Unchanged;
    // An own route has no next hop but from a policy.
    let Some(next_hop) = attributes.next_hop().filter(|_| is_set) else {
        return peer.clone();
    };
    let next_hop = next_hop.address();
    let sets = |place: &u16| {
        let statement = policy.spec().statements.get(usize::from(*place));
        statement.is_some_and(|by| by.set.next_hop == Some(SetNextHop::Address(next_hop)))
    };
    let by = evaluator.met().filter(sets).last();
    Receiver {
        announced: true,
        next_hop: Some(next_hop.to_string()),
        next_hop_by: Some(policy.words(by)),
        reason: None,
        ..peer.clone()
    }
}

/// As far as the neighbor is known before its session stands.
fn applied(policy: &Arc<Policy>, neighbor: &Neighbor) -> Applied {
    let asn = match neighbor.peer_asn {
        PeerAsn::Number(asn) => asn,
        PeerAsn::Internal => neighbor.local_asn,
        PeerAsn::Any | PeerAsn::External => 0,
    };
    let seen = policy::Neighbor {
        address: neighbor.address.ip(),
        asn,
        kind: match asn == neighbor.local_asn {
            true => PeerKind::Internal,
            false => PeerKind::External,
        },
        template: neighbor.template.as_deref(),
    };
    Applied::on_export(policy, &seen)
}
