//! What export policies would make of own routes, for `check`.

use std::sync::Arc;

use codec::{IpPrefix, PeerKind};

use super::announcements::Receiver;
use crate::config::{Export, Instance, Neighbor, Origin, PeerAsn};
use crate::policy::{self, Applied, Evaluator, Key, Policy, Subject, Validation};
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
            let evaluator = evaluator.as_mut().filter(|_| peer.announced);
            let words = evaluator.and_then(|evaluator| {
                let (verdict, _) = evaluator.judge(key, &subject, prefix);
                let words = evaluator.applied().policy().words(verdict.statement);
                (!verdict.accepted).then_some(words)
            });
            match words {
                Some(words) => Receiver {
                    announced: false,
                    next_hop: None,
                    reason: Some(format!("rejected by {words}")),
                    ..peer.clone()
                },
                None => peer.clone(),
            }
        });
        judged.collect()
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
