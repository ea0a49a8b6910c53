//! What policies ask for and nothing else in the settings gives: templates that no neighbor is of,
//! neighbors that none under the policy can be, states of validation without a cache, sources,
//! families and attributes that no route of these neighbors has.
//!
//! Of all nodes, not of this one alone, since all may read the same files. Invariant: what can be is
//! never said not to be; where it takes too long to tell, nothing is said.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use codec::{Family, FamilySet, IpPrefix, Ipv4Prefix, Ipv6Prefix, PeerKind};

use super::fault::{Fault, Severity};
use super::resource::{BgpPeering, Body, NeighborSpec, PodCidrs, PolicyPlaces, Resource, Whom};
use super::store::InForce;
use crate::config::{Export, Import, PeerAsn, Role, host_prefix, is_martian};
use crate::policy::{
    Action, Given, Match, NeighborMatch, RoutePolicy, Sources, Statement, Validation,
    never_matching_here,
};

/// Templates that a message tells at most.
const TEMPLATES_TOLD: usize = 10;

/// Neighbors that are looked at for the statements of all policies.
const LOOKS_MAX: usize = 2_000_000;

/// Comparisons of statements with each other, for all policies.
const COMPARISONS_MAX: usize = 2_000_000;

/// Neighbors whose addresses and ASes are told apart; of more under a policy they are not looked at.
const TOLD_APART_MAX: usize = 64;

/// What was found, and of which resources: it is looked for anew only where one of these is another one,
/// since it takes tens of milliseconds for a long policy, and changes of network policies are waiting.
#[derive(Default)]
pub(crate) struct Unmet {
    config: Option<Arc<Resource>>,
    policies: Vec<Arc<Resource>>,
    warnings: Vec<Fault>,
}

impl Unmet {
    /// Of every policy that there is.
    pub(crate) fn warnings(&mut self, in_force: &InForce) -> &[Fault] {
        if !self.is_of(in_force) {
            self.config.clone_from(&in_force.config);
            self.policies = policies(in_force).cloned().collect();
            self.warnings.clear();
            let config = self.config.as_ref();
            let peering = config.and_then(|config| config.peering());
            // Who a neighbor that is not valid was to be is not known.
            if let Some(peering) = peering.filter(|peering| !peering.lacks_neighbors()) {
                warn(&self.policies, peering, &mut self.warnings);
            }
        }
        &self.warnings
    }

    fn is_of(&self, in_force: &InForce) -> bool {
        let config = self.config.iter().zip(&in_force.config);
        self.config.is_some() == in_force.config.is_some()
            && config.into_iter().all(|(a, b)| Arc::ptr_eq(a, b))
            && self.policies.len() == policies(in_force).count()
            && (self.policies.iter().zip(policies(in_force))).all(|(a, b)| Arc::ptr_eq(a, b))
    }
}

fn policies(in_force: &InForce) -> impl Iterator<Item = &Arc<Resource>> {
    let all = in_force.resources.values();
    all.filter(|resource| matches!(resource.body, Body::RoutePolicy(..)))
}

fn warn(policies: &[Arc<Resource>], peering: &BgpPeering, warnings: &mut Vec<Fault>) {
    let neighbors = peering.neighbors.iter();
    let templates: BTreeSet<&str> = neighbors.filter_map(|of| of.template.as_deref()).collect();
    let mut looks = LOOKS_MAX;
    let mut comparisons = COMPARISONS_MAX;
    for resource in policies {
        let Body::RoutePolicy(policy, places) = &resource.body else {
            continue;
        };
        unknown_templates(resource, places, &templates, warnings);
        let users = Users::of(policy.name(), peering);
        let mut known = places.never.clone();
        let mut never = Vec::new();
        for (place, statement) in policy.spec().statements.iter().enumerate() {
            if places.never.contains(&place) {
                continue;
            }
            let why = why(statement, &users, peering, &templates, &mut looks);
            let why = why.or_else(|| users.martians(policy.spec(), statement, &mut looks));
            if let Some(why) = why {
                known.insert(place);
                never.push((place, why));
            }
        }
        users.warn_of_unsent(resource, policy.spec(), places, warnings);
        let given = users.given(peering);
        if given != Given::default() {
            never.extend(never_matching_here(
                policy.spec(),
                &known,
                &given,
                &mut comparisons,
            ));
        }
        for (place, why) in never {
            let Some(place) = places.statements.get(place) else {
                continue;
            };
            let message = format!("the statement can never match: {why}");
            warnings.push(warning(resource, place.line, &place.path, message));
        }
    }
}

fn warning(resource: &Resource, line: u32, path: &str, message: String) -> Fault {
    Fault {
        file: Arc::clone(&resource.file),
        line,
        severity: Severity::Warning,
        path: path.to_owned(),
        message,
    }
}

/// Templates that a policy names and no neighbor is written over: what asks for one never matches.
fn unknown_templates(
    resource: &Resource,
    places: &PolicyPlaces,
    known: &BTreeSet<&str>,
    warnings: &mut Vec<Fault>,
) {
    let unknown = places.templates.iter();
    for named in unknown.filter(|of| !known.contains(&*of.name)) {
        let mut names: Vec<&str> = known.iter().copied().collect();
        names.truncate(TEMPLATES_TOLD);
        let there = match names.is_empty() {
            true => "no neighbor names a template".to_owned(),
            false => format!("neighbors name {}", names.join(", ")),
        };
        let message = format!("no neighbor is of the template {}: {there}", named.name);
        warnings.push(warning(resource, named.line, &named.path, message));
    }
}

/// Who is under a policy.
struct Users<'v> {
    peers: Vec<Peer<'v>>,
    on_import: bool,
    on_export: bool,
}

/// What a neighbor may be, as policies see it.
struct Peer<'v> {
    address: IpPrefix,
    asns: RangeInclusive<u32>,
    internal: bool,
    external: bool,
    template: Option<&'v str>,
    families: FamilySet,
    /// As an external peer it says no route with an empty AS_PATH.
    named_first: bool,
    without_martians: bool,
}

impl<'v> Users<'v> {
    fn of(name: &Arc<str>, peering: &'v BgpPeering) -> Users<'v> {
        let mut users = Users {
            peers: Vec::new(),
            on_import: false,
            on_export: false,
        };
        for spec in &peering.neighbors {
            let on_import = matches!(&spec.import, Import::Policy(of) if of.name() == name);
            let on_export = matches!(&spec.export, Export::Policy(of) if of.name() == name);
            if on_import || on_export {
                users.peers.push(Peer::of(spec, peering));
            }
            users.on_import |= on_import;
            users.on_export |= on_export;
        }
        users
    }

    /// What all routes have that come to the policy; of a policy that nobody is under, nothing.
    fn given(&self, peering: &BgpPeering) -> Given {
        let mut given = Given::default();
        if self.peers.is_empty() {
            return given;
        }
        let mut families = FamilySet::NONE;
        for peer in &self.peers {
            peer.families.iter().for_each(|of| families.insert(of));
        }
        given.families = families;
        let advertise = &peering.advertise;
        given.sources = Sources::RECEIVED;
        if self.on_export && advertise.network_policies {
            given.sources = given.sources.with(Sources::NETWORK_POLICY);
        }
        if self.on_export && advertise.pod_cidrs != PodCidrs::Off {
            given.sources = given.sources.with(Sources::POD_CIDR);
        }
        given.neighbors = self.neighbors();
        let external = !self.on_export && self.peers.iter().all(|peer| !peer.internal);
        given.without_local_preference = external;
        given.begins_with_peer = external && self.peers.iter().all(|peer| peer.named_first);
        given
    }

    /// LOCAL_PREF that is set for external neighbors alone, who are not told (RFC 4271 §5.1.5).
    fn warn_of_unsent(
        &self,
        resource: &Resource,
        policy: &RoutePolicy,
        places: &PolicyPlaces,
        warnings: &mut Vec<Fault>,
    ) {
        let told = self.on_import || self.peers.iter().any(|peer| peer.internal);
        let asks = |of: &Match| of.local_preference.is_some();
        let mut statements = policy.statements.iter();
        let asked = statements.any(|of| asks(&of.matches) || of.not.as_ref().is_some_and(asks));
        if told || asked || self.peers.is_empty() {
            return;
        }
        for (statement, place) in policy.statements.iter().zip(&places.statements) {
            if statement.set.local_preference.is_some() && statement.action != Action::Reject {
                let path = format!("{}.set.localPreference", place.path);
                let message = "has no effect: all neighbors whose export names the policy are \
                               external, and LOCAL_PREF is not sent to these";
                warnings.push(warning(resource, place.line, &path, message.to_owned()));
            }
        }
    }

    /// Whether a statement is about prefixes alone that are refused before it is asked.
    fn martians(
        &self,
        policy: &RoutePolicy,
        statement: &Statement,
        looks: &mut usize,
    ) -> Option<String> {
        let asked = &statement.matches;
        let refused = !self.on_export && self.peers.iter().all(|peer| peer.without_martians);
        if !asked.by_prefix || !refused || self.peers.is_empty() {
            return None;
        }
        let named = |set: &u16| policy.sets.get(usize::from(*set));
        let sets = asked.prefix_sets.iter().filter_map(named);
        let mut ranges = sets.flat_map(|set| &set.ranges).chain(&asked.prefixes);
        let all = ranges.all(|range| {
            let fits = looks.checked_sub(1);
            *looks = fits.unwrap_or(0);
            fits.is_some() && is_martian(range.prefix)
        });
        all.then(|| "its prefixes are refused before by builtinFilters.martians".to_owned())
    }

    fn neighbors(&self) -> NeighborMatch {
        fn add<T: PartialEq>(list: &mut Vec<T>, of: T) {
            if !list.contains(&of) {
                list.push(of);
            }
        }
        let mut all = NeighborMatch::default();
        let of_template = self.peers.iter().all(|peer| peer.template.is_some());
        for peer in &self.peers {
            if self.peers.len() <= TOLD_APART_MAX {
                add(&mut all.addresses, peer.address);
                add(&mut all.asns, peer.asns.clone());
                if let Some(name) = peer.template.filter(|_| of_template) {
                    add(&mut all.templates, name.into());
                }
            }
            if peer.internal {
                add(&mut all.kinds, PeerKind::Internal);
            }
            if peer.external {
                add(&mut all.kinds, PeerKind::External);
            }
        }
        all
    }
}

impl<'v> Peer<'v> {
    fn of(spec: &'v NeighborSpec, peering: &BgpPeering) -> Peer<'v> {
        let address = match spec.whom {
            Whom::Address(address) => host_prefix(address.ip()),
            Whom::Prefix(prefix) => prefix,
            Whom::DefaultGateways(family) => whole(family),
        };
        // Each node may be of another AS.
        let nodes = peering.nodes.values();
        let local_asns = match spec.local_asn {
            Some(asn) => vec![asn],
            None => {
                let own = nodes.filter_map(|node| node.local_asn);
                own.chain(peering.local_asn).collect()
            }
        };
        let (first, last) = (local_asns.iter().min(), local_asns.iter().max());
        let all = 1..=u32::MAX;
        let (asns, internal, external) = match spec.peer_asn {
            PeerAsn::Any => (all, true, true),
            PeerAsn::External => (all, false, true),
            PeerAsn::Internal => {
                let own = first.zip(last).map_or(all, |(first, last)| *first..=*last);
                (own, true, false)
            }
            PeerAsn::Number(asn) => (
                asn..=asn,
                local_asns.contains(&asn),
                local_asns.iter().any(|own| *own != asn),
            ),
        };
        Peer {
            address,
            asns,
            internal,
            external,
            template: spec.template.as_deref(),
            families: spec.families,
            without_martians: spec.builtin_filters.martians,
            named_first: spec.builtin_filters.first_as
                && spec.role != Some(Role::RouteServerClient),
        }
    }

    fn may_be(&self, asked: &NeighborMatch) -> bool {
        let at = |of: &IpPrefix| of.contains(self.address) || self.address.contains(*of);
        let of_asns = |asns: &RangeInclusive<u32>| {
            asns.start() <= self.asns.end() && self.asns.start() <= asns.end()
        };
        let of_kind = |kind: &PeerKind| match kind {
            PeerKind::Internal => self.internal,
            PeerKind::External => self.external,
        };
        let of_template = |name: &Arc<str>| Some(&**name) == self.template;
        (asked.addresses.is_empty() || asked.addresses.iter().any(at))
            && (asked.asns.is_empty() || asked.asns.iter().any(of_asns))
            && (asked.kinds.is_empty() || asked.kinds.iter().any(of_kind))
            && (asked.templates.is_empty() || asked.templates.iter().any(of_template))
    }
}

fn whole(family: Family) -> IpPrefix {
    match family {
        Family::Ipv4Unicast => IpPrefix::V4(Ipv4Prefix::masked(Ipv4Addr::UNSPECIFIED, 0)),
        Family::Ipv6Unicast => IpPrefix::V6(Ipv6Prefix::masked(Ipv6Addr::UNSPECIFIED, 0)),
    }
}

fn why(
    statement: &Statement,
    users: &Users<'_>,
    peering: &BgpPeering,
    templates: &BTreeSet<&str>,
    looks: &mut usize,
) -> Option<String> {
    let asked = &statement.matches;
    let states = &asked.validation;
    if peering.rpki.caches.is_empty()
        && !states.is_empty()
        && !states.contains(&Validation::NotFound)
    {
        let why = "spec.bgpPeering.rpki names no caches, without which every route is NotFound";
        return Some(why.into());
    }
    if let Some(sources) = asked.sources
        && users.on_import
        && !users.on_export
        && !sources.meets(Sources::RECEIVED)
    {
        let why = "neighbors name the policy as import alone, and what comes in is Received";
        return Some(why.into());
    }
    let neighbors = asked.neighbors.as_ref()?;
    let named = &neighbors.templates;
    let is_said = !named.is_empty() && !named.iter().any(|of| templates.contains(&**of));
    if is_said || users.peers.is_empty() {
        return None;
    }
    let lists = neighbors.addresses.len() + neighbors.asns.len() + named.len() + 1;
    let cost = users.peers.len().saturating_mul(lists);
    *looks = looks.checked_sub(cost)?;
    if users.peers.iter().any(|peer| peer.may_be(neighbors)) {
        return None;
    }
    let under = match users.peers.len() {
        1 => "the one neighbor that names the policy is not".to_owned(),
        count => format!("none of the {count} neighbors that name the policy is"),
    };
    Some(format!("{under} as its `neighbors` say"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watcher::store::Store;

    const CONFIG: &str = "apiVersion: cilium.io/v2alpha1\nkind: CiliumConfig\n\
        metadata: {name: cilium-config}\nspec: {bgpPeering: {localASN: 65001, neighbors: \
        [{peerAddress: 10.0.0.6, peerASN: 65002, import: p}]}}\n";

    fn policy(of: u32) -> String {
        format!(
            "apiVersion: ringbgp.io/v1alpha1\nkind: RoutePolicy\nmetadata: {{name: p}}\nspec:\n  \
             statements:\n  - {{name: s, match: {{neighbors: {{peerASNs: ['{of}']}}}}, action: Accept}}\n"
        )
    }

    #[test]
    fn it_is_looked_for_anew_where_a_policy_or_the_settings_changed() {
        let mut store = Store::new("d");
        store.put("c.yaml", CONFIG.as_bytes());
        store.put("p.yaml", policy(65009).as_bytes());
        let mut unmet = Unmet::default();
        assert_eq!(unmet.warnings(&store.settle()).len(), 1);
        store.put(
            "n.yaml",
            b"apiVersion: v1\nkind: Namespace\nmetadata: {name: n}\n",
        );
        assert!(unmet.is_of(&store.settle()));
        store.put("p.yaml", policy(65002).as_bytes());
        assert_eq!(unmet.warnings(&store.settle()), []);
        store.put("c.yaml", CONFIG.replace("65002", "65009").as_bytes());
        assert_eq!(unmet.warnings(&store.settle()).len(), 1);
        store.remove("p.yaml");
        assert_eq!(unmet.warnings(&store.settle()), []);
    }
}
