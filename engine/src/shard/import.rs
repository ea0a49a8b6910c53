//! What becomes of a path that came in: the checks of RFC 4271 and 4456, the built-in filters, import
//! policy, and GRACEFUL_SHUTDOWN, in this order.
//!
//! Everything that is asked of attributes is asked once for a set of them; of prefixes only what
//! depends on them. A path that is refused keeps its attributes as received, marked; one that policy
//! changed has a set that was made of those, which finds them again.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use ahash::AHashMap;
use codec::{AttributeSet, Family, IpPrefix, NextHop, PeerKind, code, flags};
use rib::{AttributeId, PathFlags, PrefixId};
use smallvec::SmallVec;

use super::instance::Instance;
use super::long_lived;
use super::peer::Established;
use crate::config::{Import, Neighbor, Role, is_martian};
use crate::policy::{
    Applied, Evaluator, GRACEFUL_SHUTDOWN, Key, Sources, Subject, Validation, Verdict, Walk,
    with_local_preference,
};
use crate::rpki::route_origin;

/// Why a path is kept, but not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rejection {
    /// By which AS number of ours.
    AsLoop(u32),
    OwnNextHop,
    LoopbackNextHop,
    OwnOriginator,
    OwnCluster,
    RouteLeak,
    AsSet,
    FirstAs,
    Martian,
    OwnPrefix,
    /// By which policy and statement.
    Policy(String),
}

impl Rejection {
    /// For people.
    pub(super) fn words(&self) -> Cow<'_, str> {
        Cow::Borrowed(match self {
            Rejection::AsLoop(asn) => {
                return Cow::Owned(format!(
                    "AS loop: our own AS number {asn} stands in the AS_PATH"
                ));
            }
            Rejection::OwnNextHop => "the next hop is our own address, or one that we tell as ours",
            Rejection::LoopbackNextHop => {
                "the next hop is a loopback address of the peer's machine"
            }
            Rejection::OwnOriginator => "reflection loop: ORIGINATOR_ID is our router id",
            Rejection::OwnCluster => "reflection loop: our cluster id stands in the CLUSTER_LIST",
            Rejection::RouteLeak => {
                "route leak: it carries OTC, and so was to go to customers only (RFC 9234 §5)"
            }
            Rejection::AsSet => "builtinFilters.asSet: the AS_PATH has an AS_SET (RFC 9774)",
            Rejection::FirstAs => {
                "builtinFilters.firstAS: the AS_PATH does not begin with the peer's AS"
            }
            Rejection::Martian => "builtinFilters.martians: no route may have this prefix",
            Rejection::OwnPrefix => "builtinFilters.ownPrefixes: we originate this prefix",
            Rejection::Policy(by) => return Cow::Borrowed(by),
        })
    }
}

/// Import policies as they are run: one for all peers to which a policy does the same.
#[derive(Default)]
pub(super) struct Imports {
    /// Each with how many peers it is for.
    places: Vec<Option<(Evaluator, usize)>>,
    by: AHashMap<Applied, usize>,
}

impl Imports {
    /// Its place, for one peer more.
    pub(super) fn take(&mut self, applied: Applied) -> usize {
        if let Some(place) = self.by.get(&applied).copied() {
            if let Some((_, peers)) = &mut self.places[place] {
                *peers += 1;
            }
            return place;
        }
        let place = match self.places.iter().position(Option::is_none) {
            Some(place) => place,
            None => {
                self.places.push(None);
                self.places.len() - 1
            }
        };
        self.places[place] = Some((Evaluator::new(applied.clone()), 1));
        self.by.insert(applied, place);
        place
    }

    /// For one peer less.
    pub(super) fn give_back(&mut self, place: usize) {
        if let Some((evaluator, peers)) = &mut self.places[place] {
            *peers -= 1;
            if *peers == 0 {
                evaluator.flush();
                self.by.remove(evaluator.applied());
                self.places[place] = None;
            }
        }
    }

    pub(super) fn get(&self, place: usize) -> Option<&Evaluator> {
        self.places
            .get(place)?
            .as_ref()
            .map(|(evaluator, _)| evaluator)
    }

    fn get_mut(&mut self, place: usize) -> Option<&mut Evaluator> {
        self.places
            .get_mut(place)?
            .as_mut()
            .map(|(evaluator, _)| evaluator)
    }

    /// Whether a peer's import policy asks for the state of origin validation.
    pub(super) fn asks_for_validation(&self, place: Option<usize>) -> bool {
        let evaluator = place.and_then(|place| self.get(place));
        evaluator.is_some_and(|evaluator| evaluator.applied().asks_for_validation())
    }

    /// Adds what was counted to the policies' hits.
    pub(super) fn flush(&mut self) {
        for (evaluator, _) in self.places.iter_mut().flatten() {
            evaluator.flush();
        }
    }
}

/// Octets that policy made, none where it made none, and the set of them.
type Made = (Option<Arc<[u8]>>, AttributeId);

/// One attribute set on its way in. Its octets stand in the instance's `canonical`.
pub(super) struct Incoming {
    received: AttributeId,
    key: Key,
    /// What becomes of every prefix but those that a filter refuses.
    settled: Option<(AttributeId, PathFlags)>,
    external: bool,
    /// Where the routes come from, if policy asks what that is worth (RFC 6811).
    origin: Option<Option<u32>>,
    /// What policy made of it, and the sets of that.
    made: SmallVec<[Made; 2]>,
}

impl Incoming {
    /// Whether these are the attributes.
    pub(super) fn is_of(&self, received: AttributeId) -> bool {
        self.received == received
    }

    /// What becomes of every prefix, if no filter looks at prefixes.
    pub(super) fn settled(&self, neighbor: &Neighbor) -> Option<(AttributeId, PathFlags)> {
        self.settled.filter(|(_, flags)| {
            let filters = neighbor.builtin_filters;
            flags.contains(PathFlags::REJECTED) || !(filters.martians || filters.own_prefixes)
        })
    }
}

impl Instance {
    /// Begins with attributes as received, which stand in `canonical` and whose id is `received`. The
    /// caller keeps its count until the paths are in the table.
    pub(super) fn begin_incoming(
        &mut self,
        neighbor: &Neighbor,
        established: &Established,
        received: AttributeId,
        family: Family,
    ) -> Incoming {
        let rib = self.writer.rib();
        let set = AttributeSet::new(&self.canonical);
        let rejected = judge(neighbor, established, &set).is_some();
        let external = established.kind(neighbor) == PeerKind::External;
        let asks =
            self.vrps.table.is_some() && self.imports.asks_for_validation(established.import);
        let mut incoming = Incoming {
            received,
            key: Key {
                attributes: received.bits(),
                generation: rib.attributes(received, &rib.guard()).generation,
                family,
                sources: Sources::RECEIVED,
                validation: Validation::NotFound,
            },
            settled: rejected.then_some((received, PathFlags::REJECTED)),
            external,
            origin: asks.then(|| route_origin(&set.as_path(), neighbor.local_asn)),
            made: SmallVec::new(),
        };
        if !rejected && established.import.is_none() {
            incoming.settled = Some(match external && is_shutting_down(&self.canonical) {
                true => self.pass(&mut incoming, None),
                false => (received, PathFlags::NONE),
            });
        }
        incoming
    }

    /// What becomes of the path to one prefix: its attributes and marks. Sets that are made here
    /// keep a count until the paths are in the table.
    pub(super) fn judge_incoming(
        &mut self,
        incoming: &mut Incoming,
        neighbor: &Neighbor,
        established: &Established,
        prefix: IpPrefix,
    ) -> (AttributeId, PathFlags) {
        if neighbor.builtin_filters.martians && is_martian(prefix) {
            return (incoming.received, PathFlags::REJECTED);
        }
        if neighbor.builtin_filters.own_prefixes && self.is_echo(prefix) {
            return (incoming.received, PathFlags::REJECTED);
        }
        if let Some(settled) = incoming.settled {
            return settled;
        }
        let Some(verdict) = self.run_policy(incoming, established, prefix) else {
            return (incoming.received, PathFlags::REJECTED);
        };
        match verdict.accepted {
            true => self.pass(incoming, verdict.form.attributes),
            false => (incoming.received, PathFlags::REJECTED),
        }
    }

    // RFC-DONE 7454 §6.1.4: what peers say of a prefix that we originate is not used.
    // RFC-LEFT 7454 §6.1.4: What lies within a prefix that we originate is refused by policy only.
    /// Whether we originate a prefix. If so it is noted, to be looked at again when we don't.
    fn is_echo(&mut self, prefix: IpPrefix) -> bool {
        if !self.writer.rib().has_own(prefix.family()) {
            return false;
        }
        let id = self.originated(prefix);
        if let Some(id) = id {
            self.echoes[prefix.family().index()].insert(id);
        }
        id.is_some()
    }

    /// The id of a prefix that we originate.
    pub(super) fn originated(&self, prefix: IpPrefix) -> Option<PrefixId> {
        let rib = self.writer.rib();
        let guard = rib.guard();
        let id = rib.lookup(prefix, &guard)?;
        let best = rib.best(prefix.family(), id, &guard)?;
        best.flags.contains(PathFlags::LOCAL).then_some(id)
    }

    fn run_policy(
        &mut self,
        incoming: &Incoming,
        established: &Established,
        prefix: IpPrefix,
    ) -> Option<Verdict> {
        let evaluator = self.imports.get_mut(established.import?)?;
        let state = incoming
            .origin
            .and_then(|origin| self.vrps.state(prefix, origin));
        let key = Key {
            validation: state.unwrap_or(Validation::NotFound),
            ..incoming.key
        };
        let subject = Subject {
            family: key.family,
            sources: key.sources,
            validation: key.validation,
            attributes: &self.canonical,
        };
        Some(evaluator.judge(key, &subject, prefix).0)
    }

    /// A path that policy let through, as it made it.
    fn pass(
        &mut self,
        incoming: &mut Incoming,
        form: Option<Arc<[u8]>>,
    ) -> (AttributeId, PathFlags) {
        let known = incoming.made.iter().find(|(made, _)| match (made, &form) {
            (None, None) => true,
            (Some(made), Some(form)) => Arc::ptr_eq(made, form),
            _ => false,
        });
        if let Some((_, id)) = known {
            return (*id, PathFlags::NONE);
        }
        let octets = form.as_deref().unwrap_or(&self.canonical);
        // RFC-DONE 8326 §4.1: routes with GRACEFUL_SHUTDOWN from external peers get LOCAL_PREF 0.
        let lowered = (incoming.external && is_shutting_down(octets))
            .then(|| with_local_preference(octets, 0));
        let octets = lowered.as_deref().unwrap_or(octets);
        let marked = form
            .as_ref()
            .and_then(|_| long_lived::mark_again(&self.canonical, octets));
        let octets = marked.as_deref().unwrap_or(octets);
        if octets == self.canonical {
            incoming.made.push((form, incoming.received));
            return (incoming.received, PathFlags::NONE);
        }
        match self.writer.intern_made_of(octets, incoming.received) {
            Ok(id) => {
                self.arrivals.keep(id);
                incoming.made.push((form, id));
                (id, PathFlags::NONE)
            }
            Err(_) => {
                self.refuse("attribute sets");
                (incoming.received, PathFlags::REJECTED)
            }
        }
    }
}

impl Established {
    pub(super) fn kind(&self, neighbor: &Neighbor) -> PeerKind {
        match self.negotiated.peer_asn == neighbor.local_asn {
            true => PeerKind::Internal,
            false => PeerKind::External,
        }
    }
}

/// What we are to a peer: roles are of external peers (RFC 9234 §4).
pub(super) fn role_of(neighbor: &Neighbor, established: &Established) -> Option<Role> {
    let external = established.kind(neighbor) == PeerKind::External;
    neighbor.role.filter(|_| external)
}

/// Marks canonical attributes of a provider, peer or route server as for customers only, unless they
/// are.
// RFC-DONE 9234 §5: A route of a provider, a peer or a route server without OTC gets it with their AS.
pub(super) fn mark_for_customers(
    neighbor: &Neighbor,
    established: &Established,
    canonical: &mut Vec<u8>,
) {
    let role = role_of(neighbor, established);
    if !role.is_some_and(Role::marks_what_it_hears) || AttributeSet::new(canonical).otc().is_some()
    {
        return;
    }
    let before = AttributeSet::new(canonical)
        .iter()
        .take_while(|attribute| attribute.code < code::ONLY_TO_CUSTOMER);
    let at: usize = before.map(|attribute| attribute.wire_len()).sum();
    let [a, b, c, d] = established.negotiated.peer_asn.to_be_bytes();
    // RFC 4271 §5: Partial, as it is not the originator that attaches it.
    let flags = flags::OPTIONAL | flags::TRANSITIVE | flags::PARTIAL;
    canonical.splice(at..at, [flags, code::ONLY_TO_CUSTOMER, 4, a, b, c, d]);
}

/// What a neighbor is under on import, if it is a policy. `own` is what we are as next hop on the
/// session.
pub(super) fn applied(
    neighbor: &Neighbor,
    established: &Established,
    own: [Option<NextHop>; Family::ALL.len()],
) -> Option<Applied> {
    let Import::Policy(policy) = &neighbor.import else {
        return None;
    };
    let seen = crate::policy::Neighbor {
        address: neighbor.address.ip(),
        asn: established.negotiated.peer_asn,
        kind: established.kind(neighbor),
        template: neighbor.template.as_deref(),
    };
    Some(Applied::on_import(policy, &seen, own))
}

/// The addresses that are ourselves to a peer: our end of the session, and what we are as next hop on
/// it; as IPv4 where they only map that (RFC 4291 §2.5.5.2).
pub(super) type OwnAddresses = SmallVec<[IpAddr; 4]>;

/// See [`OwnAddresses`].
pub(super) fn own_addresses(
    established: &Established,
    own: [Option<NextHop>; Family::ALL.len()],
) -> OwnAddresses {
    let local = established.negotiated.local_address.ip();
    let told = own.iter().flatten().flat_map(NextHop::addresses);
    let mut addresses = OwnAddresses::new();
    for address in [local].into_iter().chain(told) {
        let address = address.to_canonical();
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}

/// Why attributes must not be used, if so, before policy is asked.
pub(super) fn judge(
    neighbor: &Neighbor,
    established: &Established,
    attributes: &AttributeSet<'_>,
) -> Option<Rejection> {
    let as_path = attributes.as_path();
    // RFC-DONE 4271 §9.1.2: A route with our own AS in its path is not used.
    // RFC 4271 §9.1.2: a route with our own AS in its path went through us already, whichever of our
    // AS numbers it left us with.
    let is_own = |asn: &u32| neighbor.own_asns.binary_search(asn).is_ok();
    let mut own = as_path.asns().filter(is_own);
    if let Some(asn) = own.nth(usize::from(neighbor.allow_own_asn)) {
        return Some(Rejection::AsLoop(asn));
    }
    // RFC-DONE 4271 §6.3: A next hop that is ourselves, by our address or as we tell it, is not used.
    // Semantically wrong: ignored and not answered.
    // RFC-LEFT 7454 §10: A next hop that is not the peer itself is refused by policy only.
    // RFC-LEFT 7948 §4.8: A client's next hop is not held against the client's own addresses.
    let local = established.negotiated.local_address.ip();
    if let Some(next_hop) = attributes.next_hop() {
        let is_ours = |address: IpAddr| established.own_addresses.contains(&address.to_canonical());
        if next_hop.addresses().any(is_ours) {
            return Some(Rejection::OwnNextHop);
        }
        // Between two speakers on one machine it is as good as any.
        let is_loopback = next_hop.address().to_canonical().is_loopback();
        if is_loopback && !local.is_loopback() {
            return Some(Rejection::LoopbackNextHop);
        }
    }
    // RFC-DONE 4456 §8: Own ORIGINATOR_ID or cluster: not used.
    // RFC 4456 §8.
    if attributes.originator_id() == Some(neighbor.router_id) {
        return Some(Rejection::OwnOriginator);
    }
    if attributes
        .cluster_list()
        .any(|id| id == neighbor.cluster_id)
    {
        return Some(Rejection::OwnCluster);
    }
    let peer_asn = established.negotiated.peer_asn;
    // RFC-DONE 9234 §5: OTC from a customer or a route server's client, or from a peer with another AS
    // than the peer's, makes a route ineligible.
    let role = role_of(neighbor, established);
    let leaked = match (role, attributes.otc()) {
        (Some(Role::Provider | Role::RouteServer), Some(_)) => true,
        (Some(Role::Peer), Some(by)) => by != peer_asn,
        _ => false,
    };
    if leaked {
        return Some(Rejection::RouteLeak);
    }
    let filters = neighbor.builtin_filters;
    // RFC-DONE 9774 §3: routes with an AS_SET are not used.
    // RFC-LEFT 9774 §3: With `builtinFilters: {asSet: false}` routes with an AS_SET are used and passed on.
    if filters.as_set && as_path.has_set() {
        return Some(Rejection::AsSet);
    }
    let external = peer_asn != neighbor.local_asn;
    // RFC-DONE 7948 §4.5: a route server's paths need not begin with its AS, which it does not put in
    // front (RFC 7947 §2.2.2.1).
    let named_first = external && role != Some(Role::RouteServerClient);
    // RFC-DONE 4271 §6.3: an external peer's AS_PATH begins with its AS.
    // RFC-DONE 7454 §9: an external AS_PATH begins with the peer's AS, but for a route server.
    // RFC-LEFT 7454 §9: Private ASes and long paths are refused by policy only.
    if filters.first_as && named_first && as_path.first_as() != Some(peer_asn) {
        return Some(Rejection::FirstAs);
    }
    None
}

/// Why a path is not used, if so, all told: for people.
pub(super) fn explain(
    instance: &Instance,
    (neighbor, established): (&Neighbor, &Established),
    prefix: IpPrefix,
    received: &[u8],
) -> Option<Rejection> {
    let set = AttributeSet::new(received);
    if let Some(rejection) = judge(neighbor, established, &set) {
        return Some(rejection);
    }
    if neighbor.builtin_filters.martians && is_martian(prefix) {
        return Some(Rejection::Martian);
    }
    if neighbor.builtin_filters.own_prefixes && instance.originated(prefix).is_some() {
        return Some(Rejection::OwnPrefix);
    }
    let walk = walk(instance, (neighbor, established), prefix, received)?;
    (!walk.verdict.accepted).then(|| Rejection::Policy(walk.by()))
}

/// How a route goes through the neighbor's import policy; none: there is no policy.
pub(super) fn walk(
    instance: &Instance,
    (neighbor, established): (&Neighbor, &Established),
    prefix: IpPrefix,
    received: &[u8],
) -> Option<Walk> {
    let applied = instance.imports.get(established.import?)?.applied().clone();
    let origin = route_origin(&AttributeSet::new(received).as_path(), neighbor.local_asn);
    let state = instance.vrps.state(prefix, origin);
    let subject = Subject {
        family: prefix.family(),
        sources: Sources::RECEIVED,
        validation: state.unwrap_or(Validation::NotFound),
        attributes: received,
    };
    Some(Walk::new(applied, &subject, prefix))
}

/// Whether a route carries GRACEFUL_SHUTDOWN.
pub(super) fn is_shutting_down(canonical: &[u8]) -> bool {
    let mut communities = AttributeSet::new(canonical).communities();
    communities.any(|community| community == GRACEFUL_SHUTDOWN)
}
