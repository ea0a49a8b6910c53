//! What every router must hold once nothing moves any more: a plain, slow reference.
//!
//! Written from the standards' words and the contract, not from the engine: RFC 4271 §9.1.2.2 as
//! eliminations from a list, export as one function of one route. No sharing, no memory of what
//! was sent before. Read it beside RFC 4271 §5 and §9, RFC 4456 §6, §8 and §9, RFC 7947 §2,
//! RFC 8326 §4, RFC 6811 §2.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use codec::{Family, FamilySet, IpPrefix, WireFormat};

use super::policy::{self, Judged, Seen};
use super::route::{Route, Table};
use super::scenario::{GRACEFUL_SHUTDOWN, Vrp};
use crate::config::{
    Client, Export, Import, Instance, Neighbor, NextHopIpv6, NextHopSelf, Role, Selection,
};
use crate::policy::Validation;

/// A session that is up, as the oracle sees it.
#[derive(Debug)]
pub(super) struct Peering<'w> {
    /// How the node is configured for it.
    pub(super) neighbor: Arc<Neighbor>,
    /// The router's AS and identifier.
    pub(super) asn: u32,
    pub(super) router_id: Ipv4Addr,
    /// What the router announces.
    pub(super) routes: Table,
    /// The families that both sides speak.
    pub(super) families: FamilySet,
    /// What the router negotiated.
    pub(super) format: &'w WireFormat,
    /// Our end of the connection.
    pub(super) local: IpAddr,
    /// The router knows what LLGR_STALE means (RFC 9494).
    pub(super) long_lived: bool,
    /// The session is about to be closed, and the router is told so (RFC 8326).
    pub(super) draining: bool,
}

/// The addresses of the node that are no session's: what `Auto` finds on the interface.
#[derive(Clone, Copy, Debug)]
pub(super) struct NodeAddresses {
    pub(super) ipv4: Ipv4Addr,
    pub(super) ipv6: Ipv6Addr,
}

/// A route in the node's table: who said it (`None`: the node itself), and what.
#[derive(Clone, Debug)]
struct Candidate {
    from: Option<usize>,
    external: bool,
    /// Of ours as a reflector.
    client: bool,
    /// Of ours as a route server.
    served: bool,
    router_id: Ipv4Addr,
    address: Option<IpAddr>,
    path_id: u32,
    route: Route,
}

/// The state of a route from an AS, word by word (RFC 6811 §2).
pub(super) fn validate(vrps: Option<&BTreeSet<Vrp>>, prefix: IpPrefix, origin: u32) -> Validation {
    let vrps = vrps.into_iter().flatten();
    let covering = vrps.filter(|(within, ..)| within.contains(prefix));
    let covering: Vec<&Vrp> = covering.collect();
    let matches =
        |(_, longest, asn): &&Vrp| prefix.length() <= *longest && *asn == origin && origin != 0;
    match covering.iter().copied().any(|vrp| matches(&vrp)) {
        true => Validation::Valid,
        false if covering.is_empty() => Validation::NotFound,
        false => Validation::Invalid,
    }
}

/// What the router of each peering must hold.
pub(super) fn expected_tables(
    instance: &Instance,
    vrps: Option<&BTreeSet<Vrp>>,
    peerings: &[Peering<'_>],
    node: NodeAddresses,
) -> Vec<BTreeMap<IpPrefix, Vec<Route>>> {
    let mut prefixes: BTreeSet<IpPrefix> = instance.origins.keys().copied().collect();
    for peering in peerings {
        prefixes.extend(peering.routes.keys().map(|(prefix, _)| *prefix));
    }
    let mut tables = vec![BTreeMap::new(); peerings.len()];
    for prefix in prefixes {
        let candidates = candidates((instance, vrps), peerings, prefix, node);
        for (index, peering) in peerings.iter().enumerate() {
            if !peering.families.contains(prefix.family()) {
                continue;
            }
            let ranked = in_order(instance.selection, candidates.clone());
            // Split horizon: whoever said it does not hear it.
            let told = ranked.iter().map(|path| match path.from {
                Some(from) if from == index => None,
                _ => exported((path, vrps), peering, prefix, node),
            });
            // RFC 7947 §2.3: what a route server's client says itself, or must not hear, does not
            // hide what the others say.
            // RFC 7911: and where several paths are told, so are those behind what is left out.
            let mut told: Vec<Route> = match paths_told(peering, prefix.family()) {
                // The best of what is eligible for it: what is not, strikes nothing out by its MED.
                0 if is_served(peering) => {
                    let eligible = candidates.iter().filter(|path| {
                        path.from != Some(index)
                            && exported((path, vrps), peering, prefix, node).is_some()
                    });
                    let best = best_path(instance.selection, eligible.cloned().collect());
                    let best = best.and_then(|best| exported((&best, vrps), peering, prefix, node));
                    best.into_iter().collect()
                }
                0 => told.take(1).flatten().collect(),
                most => told.flatten().take(most).collect(),
            };
            // RFC 8654 §4: what does not fit in a message is not told, and nothing in its place.
            let has_id = paths_told(peering, prefix.family()) > 0;
            let takes_long = peering.format.extended_messages;
            told.retain(|route| takes_long || !route.is_long(peering.format, has_id));
            if !told.is_empty() {
                tables[index].insert(prefix, told);
            }
        }
    }
    tables
}

/// The paths in order of preference: the best of all, then the best of those that are left, and so
/// on. (Whoever is behind strikes nobody out by its MED.)
fn in_order(selection: Selection, mut left: Vec<Candidate>) -> Vec<Candidate> {
    let mut order = Vec::new();
    while let Some(best) = best_path(selection, left.clone()) {
        let key = |path: &Candidate| (path.from, path.path_id);
        left.retain(|path| key(path) != key(&best));
        order.push(best);
    }
    order
}

/// What we are to a router by role (RFC 9234).
fn role(peering: &Peering<'_>) -> Option<Role> {
    peering.neighbor.role.filter(|_| is_external(peering))
}

/// RFC 9234 §5, on ingress: 1 and 2.
fn is_leak(peering: &Peering<'_>, route: &Route) -> bool {
    match (role(peering), route.otc) {
        (Some(Role::Provider | Role::RouteServer), Some(_)) => true,
        (Some(Role::Peer), Some(by)) => by != peering.asn,
        _ => false,
    }
}

/// RFC 9234 §5, on ingress: 3.
fn mark_ingress(peering: &Peering<'_>, route: &mut Route) {
    let from_above = [Role::Customer, Role::Peer, Role::RouteServerClient];
    if role(peering).is_some_and(|role| from_above.contains(&role)) {
        route.otc = Some(route.otc.unwrap_or(peering.asn));
    }
}

/// How many paths a prefix go to a router at most; 0: one, and it has no say in which.
fn paths_told(peering: &Peering<'_>, family: Family) -> usize {
    match peering.format.add_path_receive.contains(family) {
        true => usize::from(peering.neighbor.add_paths.send),
        false => 0,
    }
}

/// A client of ours as a route server.
fn is_served(peering: &Peering<'_>) -> bool {
    is_external(peering) && peering.neighbor.client == Some(Client::RouteServer)
}

/// A client of ours as a reflector.
fn is_reflected(peering: &Peering<'_>) -> bool {
    !is_external(peering) && peering.neighbor.client == Some(Client::RouteReflector)
}

fn is_external(peering: &Peering<'_>) -> bool {
    peering.asn != peering.neighbor.local_asn
}

/// All that makes two routers be told different octets of one table: routers on one shard that are
/// alike in it share an update group, and no others do.
pub(super) fn sharing_key(peering: &Peering<'_>, node: NodeAddresses) -> impl Ord + use<> {
    let neighbor = &peering.neighbor;
    let own_next_hops: Vec<IpAddr> = peering
        .families
        .iter()
        .map(|family| own_next_hop(peering, family, node))
        .collect();
    let send = neighbor.send_communities;
    (
        (
            is_external(peering),
            is_served(peering),
            is_reflected(peering),
            peering.long_lived,
            peering.draining,
        ),
        (!is_external(peering)).then_some(neighbor.cluster_id),
        peering.format.four_octet_as,
        {
            use Role::{Customer, Peer, Provider, RouteServer, RouteServerClient};
            match role(peering) {
                None => 0,
                Some(Provider | RouteServer) => 1,
                Some(Customer | RouteServerClient) => 2,
                Some(Peer) => 3,
            }
        },
        own_next_hops,
        // Own routes never carry a next hop that is not ours.
        matches!(neighbor.export, Export::All | Export::Policy(_))
            && peering.format.extended_next_hop,
        neighbor.next_hop_self as u8,
        export_key(peering),
        Family::ALL.map(|family| paths_told(peering, family)),
        (
            (send.standard, send.large, send.extended),
            neighbor.timers.advertisement_interval,
        ),
    )
}

fn export_key(peering: &Peering<'_>) -> impl Ord + use<> {
    match &peering.neighbor.export {
        Export::Originated => (0, None),
        Export::All => (1, None),
        Export::None => (2, None),
        Export::Policy(policy) => {
            let key = policy::sharing_key(policy, peering.asn);
            (3, Some(key))
        }
    }
}

/// What import makes of a route.
fn imported(
    (peering, vrps): (&Peering<'_>, Option<&BTreeSet<Vrp>>),
    prefix: IpPrefix,
    route: Route,
    node: NodeAddresses,
) -> Option<Route> {
    let Import::Policy(named) = &peering.neighbor.import else {
        return Some(route);
    };
    let seen = Seen {
        prefix,
        own: false,
        peer: peering.neighbor.address.ip(),
        asn: peering.asn,
        // Without an AS in its path it comes from within ours.
        validation: validate(
            vrps,
            prefix,
            route
                .as_path
                .last()
                .copied()
                .unwrap_or(peering.neighbor.local_asn),
        ),
        own_next_hop: Some(own_next_hop(peering, prefix.family(), node)),
    };
    Some(policy::plain(named)?.judge(seen, &route)?.route)
}

fn candidates(
    (instance, vrps): (&Instance, Option<&BTreeSet<Vrp>>),
    peerings: &[Peering<'_>],
    prefix: IpPrefix,
    node: NodeAddresses,
) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    if let Some(origin) = instance.origins.get(&prefix) {
        let attributes = &origin.attributes;
        candidates.push(Candidate {
            from: None,
            path_id: 0,
            external: false,
            client: false,
            served: false,
            router_id: Ipv4Addr::UNSPECIFIED,
            address: None,
            route: Route {
                origin: 0,
                as_path: vec![],
                next_hop: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                med: None,
                local_pref: Some(attributes.local_preference),
                communities: attributes.communities.clone(),
                large_communities: attributes.large_communities.clone(),
                originator_id: None,
                cluster_list: vec![],
                otc: None,
            },
        });
    }
    let said = |peering: &Peering<'_>| -> Vec<(u32, Route)> {
        let of_prefix = peering.routes.range((prefix, 0)..=(prefix, u32::MAX));
        of_prefix
            .map(|((_, path_id), route)| (*path_id, route.clone()))
            .collect()
    };
    let said = peerings.iter().enumerate().flat_map(|(index, peering)| {
        let paths = said(peering).into_iter();
        paths.map(move |(path_id, route)| (index, peering, path_id, route))
    });
    for (index, peering, path_id, route) in said {
        let filters = peering.neighbor.builtin_filters;
        let echo = filters.own_prefixes && instance.origins.contains_key(&prefix);
        let accepted = || is_accepted(peering, &route, node);
        if peering.families.contains(prefix.family()) && !echo && accepted() {
            let external = is_external(peering);
            let mut route = route;
            mark_ingress(peering, &mut route);
            if external {
                // RFC 4271 §5.1.5: what an external peer says of LOCAL_PREF is ignored. So is what
                // it says of reflection (RFC 7606 §7.9, §7.10).
                route.local_pref = None;
                route.originator_id = None;
                route.cluster_list.clear();
            }
            let Some(mut route) = imported((peering, vrps), prefix, route, node) else {
                continue;
            };
            // RFC 8326 §4.1.
            if external && route.communities.contains(&GRACEFUL_SHUTDOWN) {
                route.local_pref = Some(0);
            }
            candidates.push(Candidate {
                from: Some(index),
                external,
                client: is_reflected(peering),
                served: is_served(peering),
                router_id: peering.router_id,
                address: Some(peering.neighbor.address.ip()),
                path_id,
                route,
            });
        }
    }
    candidates
}

fn is_accepted(peering: &Peering<'_>, route: &Route, node: NodeAddresses) -> bool {
    let neighbor = &peering.neighbor;
    // RFC 4271 §9.1.2: whichever of our AS numbers it was.
    let own = route
        .as_path
        .iter()
        .filter(|asn| neighbor.own_asns.contains(asn));
    // RFC 4456 §8: reflected by ourselves, or begun here.
    let looped = !is_external(peering)
        && (route.originator_id == Some(neighbor.router_id)
            || route.cluster_list.contains(&neighbor.cluster_id));
    neighbor.import != Import::None
        && !looped
        && !is_leak(peering, route)
        && own.count() <= usize::from(neighbor.allow_own_asn)
        && !is_ourselves(peering, route.next_hop, node)
}

/// RFC 4271 §6.3: our end of the session, or what we tell the router as our own next hop.
fn is_ourselves(peering: &Peering<'_>, next_hop: IpAddr, node: NodeAddresses) -> bool {
    let told = peering.families.iter();
    let mut ours: Vec<IpAddr> = told
        .map(|family| own_next_hop(peering, family, node))
        .collect();
    ours.push(peering.local);
    let plain = |address: IpAddr| address.to_canonical();
    ours.into_iter().any(|own| plain(own) == plain(next_hop))
}

/// RFC 4271 §9.1.2.2, step by step; each step strikes out what is worse.
fn best_path(selection: Selection, mut left: Vec<Candidate>) -> Option<Candidate> {
    // A path of our own beats every learned one.
    if let Some(own) = left.iter().find(|c| c.from.is_none()) {
        return Some(own.clone());
    }
    // RFC 9494 §4.2: what is long-lived and stale only where there is nothing else.
    if left.iter().any(|c| !is_stale(&c.route)) {
        left.retain(|c| !is_stale(&c.route));
    }
    let degree = |c: &Candidate| c.route.local_pref.unwrap_or(100);
    let most = left.iter().map(degree).max()?;
    left.retain(|c| degree(c) == most);
    // a) fewest AS numbers in the AS_PATH.
    let shortest = left.iter().map(|c| c.route.as_path.len()).min()?;
    left.retain(|c| c.route.as_path.len() == shortest);
    // b) lowest ORIGIN.
    let lowest = left.iter().map(|c| c.route.origin).min()?;
    left.retain(|c| c.route.origin == lowest);
    // c) lowest MED among those of one neighbor AS, or of all where the settings say so; a missing one
    // is 0.
    let med = |c: &Candidate| c.route.med.unwrap_or(0);
    let beaten = |c: &Candidate, all: &[Candidate]| {
        all.iter().any(|other| {
            let comparable = selection.always_compare_med
                || other.route.as_path.first() == c.route.as_path.first();
            comparable && med(other) < med(c)
        })
    };
    let all = left.clone();
    left.retain(|c| !beaten(c, &all));
    // d) external before internal.
    if left.iter().any(|c| c.external) {
        left.retain(|c| c.external);
    }
    // f) lowest identifier, of the originator where there is one; shortest CLUSTER_LIST (both
    // RFC 4456 §9); g) lowest address; of one peer's paths the lowest identifier. e) is the same for
    // all.
    let identifier = |c: &Candidate| c.route.originator_id.unwrap_or(c.router_id);
    let clusters = |c: &Candidate| c.route.cluster_list.len();
    left.into_iter()
        .min_by_key(|c| (identifier(c), clusters(c), c.address, c.path_id))
}

fn exported(
    (best, vrps): (&Candidate, Option<&BTreeSet<Vrp>>),
    peering: &Peering<'_>,
    prefix: IpPrefix,
    node: NodeAddresses,
) -> Option<Route> {
    let family = prefix.family();
    let neighbor = &peering.neighbor;
    let to_external = is_external(peering);
    // RFC 7947 §2.2: a route server leaves the way as it is, and what its clients say to each other.
    let unchanged = is_served(peering) && best.external;
    let between_clients = is_served(peering) && best.served;
    match (&neighbor.export, best.from) {
        (Export::None, _) | (Export::Originated, Some(_)) => return None,
        (Export::Originated, None) | (Export::All | Export::Policy(_), _) => {}
    }
    let judged = match &neighbor.export {
        Export::Policy(named) => {
            let seen = Seen {
                prefix,
                own: best.from.is_none(),
                peer: neighbor.address.ip(),
                asn: peering.asn,
                validation: validate(
                    vrps,
                    prefix,
                    best.route
                        .as_path
                        .last()
                        .copied()
                        .unwrap_or(neighbor.local_asn),
                ),
                own_next_hop: None,
            };
            policy::plain(named)?.judge(seen, &best.route)?
        }
        Export::Originated | Export::All | Export::None => Judged::unchanged(&best.route),
    };
    // What a policy gave an own route as next hop is one.
    let has_next_hop = best.from.is_some() || !judged.route.next_hop.is_unspecified();
    let best = &Candidate {
        route: judged.route.clone(),
        ..best.clone()
    };
    if best.from.is_some() && !between_clients && !is_advertisable(best, peering) {
        return None;
    }
    let myself = match neighbor.next_hop_self {
        _ if judged.next_hop_is_own == Some(true) => true,
        _ if judged.next_hop_is_own == Some(false) && has_next_hop => false,
        _ if best.from.is_none() => true,
        NextHopSelf::Always => true,
        NextHopSelf::Never => false,
        NextHopSelf::Auto => to_external && !unchanged,
    };
    let next_hop = match myself {
        true => own_next_hop(peering, family, node),
        false => best.route.next_hop,
    };
    // RFC 8950 §4: a peer that did not offer to take IPv6 next hops of IPv4 routes is told none.
    let foreign = family == Family::Ipv4Unicast && next_hop.is_ipv6();
    if foreign && !peering.format.extended_next_hop {
        return None;
    }
    let mut route = best.route.clone();
    // RFC 9234 §5, on egress.
    match role(peering) {
        Some(Role::Customer | Role::RouteServerClient | Role::Peer) if route.otc.is_some() => {
            return None;
        }
        Some(Role::Provider | Role::RouteServer | Role::Peer) => {
            route.otc = Some(route.otc.unwrap_or(neighbor.local_asn));
        }
        _ => {}
    }
    route.next_hop = next_hop;
    let internal_to_internal = best.from.is_some() && !best.external && !to_external;
    if internal_to_internal {
        // RFC 4456 §8.
        route.originator_id = Some(route.originator_id.unwrap_or(best.router_id));
        route.cluster_list.insert(0, neighbor.cluster_id);
    } else {
        route.originator_id = None;
        route.cluster_list.clear();
    }
    if unchanged {
        route.local_pref = None;
    } else if to_external {
        route.as_path.insert(0, neighbor.local_asn);
        route.local_pref = None;
        route.med = route.med.filter(|_| judged.sets_med);
    } else {
        route.local_pref = Some(route.local_pref.unwrap_or(100));
    }
    let stale = is_stale(&route);
    if !neighbor.send_communities.standard {
        route
            .communities
            .retain(|community| *community == LLGR_STALE);
    }
    // RFC 9494 §4.3.
    if stale && !peering.long_lived {
        if to_external {
            return None;
        }
        route.local_pref = Some(0);
        if !route.communities.contains(&0xffff_ff01) {
            route.communities.push(0xffff_ff01);
        }
    }
    if !neighbor.send_communities.large {
        route.large_communities.clear();
    }
    // RFC 8326 §4.2, whatever communities the neighbor is sent.
    if peering.draining {
        if !route.communities.contains(&GRACEFUL_SHUTDOWN) {
            route.communities.push(GRACEFUL_SHUTDOWN);
        }
        route.local_pref = (!to_external).then_some(0);
    }
    Some(route)
}

const LLGR_STALE: u32 = 0xffff_0006;

fn is_stale(route: &Route) -> bool {
    route.communities.contains(&LLGR_STALE)
}

/// RFC 4456 §6 (what internal peers say is passed on from and to clients only) and RFC 1997.
fn is_advertisable(best: &Candidate, peering: &Peering<'_>) -> bool {
    let to_external = is_external(peering);
    let has = |community| best.route.communities.contains(&community);
    let by_a_client = best.client || is_reflected(peering);
    let unreflected = !best.external && !to_external && !by_a_client;
    let no_advertise = has(0xffff_ff02);
    let no_export = has(0xffff_ff01) || has(0xffff_ff03);
    let forbidden = unreflected || no_advertise || (no_export && to_external);
    !forbidden
}

fn own_next_hop(peering: &Peering<'_>, family: Family, node: NodeAddresses) -> IpAddr {
    let neighbor = &peering.neighbor;
    match family {
        Family::Ipv4Unicast => match (neighbor.next_hop_ipv4, peering.local) {
            (Some(address), _) => IpAddr::V4(address),
            (None, IpAddr::V4(local)) => IpAddr::V4(local),
            (None, IpAddr::V6(local)) if peering.format.extended_next_hop => IpAddr::V6(local),
            (None, IpAddr::V6(_)) => IpAddr::V4(node.ipv4),
        },
        Family::Ipv6Unicast => match (neighbor.next_hop_ipv6, peering.local) {
            (NextHopIpv6::Address(address), _) => IpAddr::V6(address),
            (_, IpAddr::V6(local)) => IpAddr::V6(local),
            (NextHopIpv6::Mapped, IpAddr::V4(local)) => IpAddr::V6(local.to_ipv6_mapped()),
            (NextHopIpv6::Auto, IpAddr::V4(_)) => IpAddr::V6(node.ipv6),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(number: usize, as_path: &[u32], med: u32, id: u8) -> Candidate {
        Candidate {
            from: Some(number),
            external: true,
            client: false,
            served: false,
            router_id: Ipv4Addr::new(0, 0, 0, id),
            address: None,
            path_id: 0,
            route: Route {
                origin: 0,
                as_path: as_path.to_vec(),
                next_hop: IpAddr::V4(Ipv4Addr::LOCALHOST),
                med: Some(med),
                local_pref: None,
                communities: vec![],
                large_communities: vec![],
                originator_id: None,
                cluster_list: vec![],
                otc: None,
            },
        }
    }

    #[test]
    fn med_compares_only_within_a_neighbor_as() {
        // The classic: alone, 1 beats 2 by id; 3 takes 1 out by MED.
        let one = candidate(1, &[10, 9], 50, 1);
        let two = candidate(2, &[20, 9], 0, 2);
        let three = candidate(3, &[10, 9], 10, 3);
        let winner = |list: &[&Candidate]| {
            best_path(
                Selection::default(),
                list.iter().map(|c| (*c).clone()).collect(),
            )
            .and_then(|c| c.from)
        };
        assert_eq!(winner(&[&one, &two]), Some(1));
        assert_eq!(winner(&[&one, &two, &three]), Some(2));
        assert_eq!(winner(&[&three, &one]), Some(3));
    }

    #[test]
    fn each_step_goes_before_the_next() {
        let mut preferred = candidate(1, &[1, 2, 3], 9, 9);
        preferred.route.local_pref = Some(200);
        preferred.external = false;
        let short = candidate(2, &[7], 9, 9);
        let mut incomplete = candidate(3, &[7], 0, 1);
        incomplete.route.origin = 2;
        let mut internal = candidate(4, &[7], 9, 1);
        internal.external = false;
        let all = vec![incomplete, internal, short, preferred];
        assert_eq!(
            best_path(Selection::default(), all.clone()).and_then(|c| c.from),
            Some(1)
        );
        assert_eq!(
            best_path(Selection::default(), all[..3].to_vec()).and_then(|c| c.from),
            Some(2)
        );
        assert_eq!(
            best_path(Selection::default(), all[..2].to_vec()).and_then(|c| c.from),
            Some(4)
        );
    }
}
