//! What export makes of own routes, for `check`: the steps that sessions take, by what is known of a
//! neighbor before its session stands.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use codec::{AttributeSet, Family, IpPrefix, NextHop, PeerKind};
use rib::{SourceKind, Summary};

use super::told::{Attributes, Receiver};
use crate::config::{Export, Instance, Neighbor, Origin, PeerAsn};
use crate::group::{ExportView, Otc, PathSource, Refusal, export, split_form};
use crate::policy::{
    self, Applied, Evaluator, Form, Key, NextHopChoice, Policy, SetNextHop, Subject, Validation,
};
use crate::watcher::neighbors;

/// What each neighbor is told, in their order.
pub(super) struct Policies {
    of: Vec<Told>,
    /// Without a policy all routes of a family that carry the same are told alike. By where the
    /// attributes are: two sets are never in one place.
    alike: HashMap<(usize, Family), Arc<[Receiver]>>,
}

struct Told {
    view: ExportView,
    policy: Option<Evaluator>,
}

impl Policies {
    pub(super) fn new(instance: &Instance) -> Policies {
        let of = neighbors(instance).map(|(_, neighbor)| Told {
            view: view(neighbor),
            policy: match &neighbor.export {
                Export::Policy(policy) => Some(Evaluator::new(applied(policy, neighbor))),
                Export::All | Export::Originated | Export::None => None,
            },
        });
        Policies {
            of: of.collect(),
            alike: HashMap::new(),
        }
    }

    /// Who is told a route and with what, once policies were asked.
    pub(super) fn judge(
        &mut self,
        prefix: IpPrefix,
        origin: &Origin,
        peers: &[Receiver],
    ) -> Arc<[Receiver]> {
        let place = Arc::as_ptr(&origin.attributes).addr();
        let are_alike = self.of.iter().all(|told| told.policy.is_none());
        let known = (place, prefix.family());
        if let Some(judged) = self.alike.get(&known) {
            return Arc::clone(judged);
        }
        let attributes = origin.attributes.canonical();
        let key = Key {
            attributes: place as u32,
            generation: (place as u64 >> 32) as u32,
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
        let judged = peers.iter().zip(&mut self.of).map(|(peer, told)| {
            match peer.announced || peer.lacks_next_hop {
                true => told.judge((key, &subject), prefix, peer),
                false => peer.clone(),
            }
        });
        let judged: Arc<[Receiver]> = judged.collect();
        if are_alike {
            self.alike.insert(known, Arc::clone(&judged));
        }
        judged
    }
}

impl Told {
    /// What a neighbor is told of one route, by its policy and, where that does not say, by its
    /// settings.
    fn judge(
        &mut self,
        (key, subject): (Key, &Subject<'_>),
        prefix: IpPrefix,
        peer: &Receiver,
    ) -> Receiver {
        let not_told = |reason| Receiver {
            announced: false,
            next_hop: None,
            next_hop_note: None,
            reason: Some(reason),
            ..peer.clone()
        };
        let mut form = Form::default();
        if let Some(evaluator) = &mut self.policy {
            let (verdict, _) = evaluator.judge(key, subject, prefix);
            if !verdict.accepted {
                let words = evaluator.applied().policy().words(verdict.statement);
                return not_told(format!("rejected by {words}"));
            }
            form = verdict.form;
        }
        let octets = form.attributes.as_deref().unwrap_or(subject.attributes);
        let family = subject.family;
        let source = PathSource {
            kind: SourceKind::Local,
            originator: None,
            next_hop: form.next_hop,
            sets_med: form.sets_med,
            stale: Summary::of(subject.attributes).long_lived_stale,
        };
        // What ours is `peer` says; here it only counts whether there is one.
        let own = match family {
            Family::Ipv4Unicast => NextHop::V4(Ipv4Addr::UNSPECIFIED),
            Family::Ipv6Unicast => NextHop::V6(Ipv6Addr::UNSPECIFIED),
        };
        self.view.own_next_hop[family.index()] = (!peer.lacks_next_hop).then_some(own);
        let mut out = Vec::new();
        match export(&self.view, family, source, octets, &mut out) {
            Ok(()) => {}
            Err(Refusal::NoNextHop) => return peer.clone(),
            Err(refusal) => return not_told(self.view.words(refusal)),
        }
        let own = Attributes::of(prefix, subject.attributes);
        let told = Attributes::of(prefix, split_form(&out).1);
        let plain = [self.view.local_asn];
        let plain = match self.view.peer {
            PeerKind::External => plain.as_slice(),
            PeerKind::Internal => &[],
        };
        let receiver = Receiver {
            announced: true,
            reason: None,
            differs: told.beside(&own, plain),
            attributes: Some(Arc::new(told)),
            ..peer.clone()
        };
        self.with_next_hop(&form, octets, receiver)
    }

    /// The same with the next hop that policy set, if it did.
    fn with_next_hop(&self, form: &Form, octets: &[u8], receiver: Receiver) -> Receiver {
        let is_set = form.next_hop == NextHopChoice::Unchanged;
        // An own route has no next hop but from a policy.
        let next_hop = AttributeSet::new(octets).next_hop().filter(|_| is_set);
        let (Some(next_hop), Some(evaluator)) = (next_hop, &self.policy) else {
            return receiver;
        };
        let next_hop = next_hop.address();
        let policy = evaluator.applied().policy();
        let sets = |place: &u16| {
            let statement = policy.spec().statements.get(usize::from(*place));
            statement.is_some_and(|by| by.set.next_hop == Some(SetNextHop::Address(next_hop)))
        };
        let by = evaluator.met().filter(sets).last();
        Receiver {
            next_hop: Some(next_hop.to_string()),
            next_hop_by: Some(policy.words(by)),
            next_hop_note: None,
            of_this_machine: false,
            ..receiver
        }
    }
}

/// As far as the neighbor is known before its session stands: that it speaks four-octet AS numbers.
fn view(neighbor: &Neighbor) -> ExportView {
    let kind = seen(neighbor).1;
    let role = neighbor.role.filter(|_| kind == PeerKind::External);
    ExportView {
        families: neighbor.families,
        next_hop_self: neighbor.next_hop_self,
        otc: Otc::of(role),
        export: neighbor.export.clone(),
        send_communities: neighbor.send_communities,
        ..ExportView::plain(kind, neighbor.local_asn, Ipv4Addr::UNSPECIFIED)
    }
}

/// Its AS number, if it is known, and whether it is ours; one that may have any is taken for external.
fn seen(neighbor: &Neighbor) -> (u32, PeerKind) {
    let asn = match neighbor.peer_asn {
        PeerAsn::Number(asn) => asn,
        PeerAsn::Internal => neighbor.local_asn,
        PeerAsn::Any | PeerAsn::External => 0,
    };
    match asn == neighbor.local_asn {
        true => (asn, PeerKind::Internal),
        false => (asn, PeerKind::External),
    }
}

fn applied(policy: &Arc<Policy>, neighbor: &Neighbor) -> Applied {
    let (asn, kind) = seen(neighbor);
    let seen = policy::Neighbor {
        address: neighbor.address.ip(),
        asn,
        kind,
        template: neighbor.template.as_deref(),
    };
    Applied::on_export(policy, &seen)
}
