//! `spec.bgpPeering`: read strictly, defaults filled in.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use codec::IpPrefix;

use super::fields::Field;
use super::neighbor::OwnAsn;
use super::templates::Templates;
use super::{guard, neighbor, overlay, rpki};
use crate::config::{Rpki, Selection, host_prefix};
use crate::watcher::fault::Report;
use crate::watcher::resource::{Auth, BgpPeering, Faulty, NeighborSpec, Whom};

/// The port of BGP (RFC 4271 §8.2.1).
pub(super) const BGP_PORT: u16 = 179;

/// `limits.memoryBytes`, unless it is given.
const MEMORY_MAX: u64 = 1 << 30;

/// The least that it may be: below that the daemon would be past it with hardly a route.
const MEMORY_MAX_LEAST: u64 = 32 << 20;

/// The settings as they count on a node; what is wrong is in the report, and then they must not be used.
pub(super) fn peering(field: &Field<'_>, node: &str, report: &mut Report) -> Option<BgpPeering> {
    let mut fields = field.fields(report)?;
    let enabled = fields.get("enabled");
    let enabled = enabled.and_then(|field| field.boolean(report));
    let listen_addresses = match fields.get("listenAddresses") {
        Some(field) => listen_addresses(&field, report),
        None => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
    };
    let listen_port = fields.get("listenPort");
    let listen_port = listen_port.and_then(|field| field.integer(1..=u16::MAX, report));
    let router_id = fields.get("routerID");
    let router_id = router_id.and_then(|field| identifier(&field, report));
    let cluster_id = fields.get("clusterID");
    let cluster_id = cluster_id.and_then(|field| identifier(&field, report));
    let local_asn = fields.get("localASN");
    let local_asn = local_asn.and_then(|field| neighbor::as_number(&field, report));
    let of_node = fields.get("nodes");
    let of_node = of_node.and_then(|field| overlay::local_asn(&field, node));
    let own_asn = OwnAsn {
        number: of_node.or(local_asn),
        is_of_node: of_node.is_some(),
    };
    let advertise = fields.get_written("advertise", report);
    let advertise_line = advertise.as_ref().map(|field| field.line);
    let advertise = advertise.map_or_else(guard::default_advertise, |field| {
        guard::advertise(&field, report)
    });
    let guard_spec = fields.get_written("guard", report);
    let guard_line = guard_spec.as_ref().map(|field| field.line);
    let guard_spec =
        guard_spec.map_or_else(guard::default_guard, |field| guard::guard(&field, report));
    let templates = fields.get_written("templates", report);
    let templates = templates.map_or_else(Templates::default, |field| {
        Templates::read(&field, own_asn, report)
    });
    let mut faulty = Faulty::default();
    let list = fields.get_written("neighbors", report);
    let neighbors = list.map_or_else(Vec::new, |field| {
        neighbors(&field, (&templates, own_asn), &mut faulty, report)
    });
    let nodes = fields.get_written("nodes", report);
    let nodes = nodes.map_or_else(BTreeMap::new, |field| {
        overlay::overlays(&field, &neighbors, &mut faulty, report)
    });
    let limits = fields.get_written("limits", report);
    let memory_max = limits.and_then(|field| memory_max(&field, report));
    let rpki = fields.get_written("rpki", report);
    let rpki = rpki.map_or_else(Rpki::default, |field| rpki::rpki(&field, report));
    let best_path = fields.get_written("bestPath", report);
    let selection = best_path.map_or_else(Selection::default, |field| selection(&field, report));
    if listen_addresses.is_empty() {
        warn_of_waiting(&neighbors, report);
    }
    fields.close_strictly(report);
    Some(BgpPeering {
        enabled: enabled.unwrap_or(true),
        listen_addresses,
        listen_port: listen_port.unwrap_or(BGP_PORT),
        router_id,
        cluster_id,
        local_asn,
        memory_max: memory_max.unwrap_or(MEMORY_MAX),
        rpki: Arc::new(rpki),
        selection,
        advertise,
        guard: guard_spec,
        guard_line: guard_line.or(advertise_line).unwrap_or(field.line),
        neighbors,
        nodes,
        faulty,
    })
}

fn listen_addresses(field: &Field<'_>, report: &mut Report) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for element in field.list(report).unwrap_or_default() {
        let Some(address) = element.ip(report) else {
            continue;
        };
        if addresses.contains(&address) {
            element.fault(report, format!("{address} is listed twice"));
        }
        addresses.push(address);
    }
    addresses
}

/// `limits`.
fn memory_max(field: &Field<'_>, report: &mut Report) -> Option<u64> {
    let mut fields = field.fields(report)?;
    let memory = fields.get("memoryBytes");
    let memory = memory.and_then(|field| field.integer(MEMORY_MAX_LEAST..=u64::MAX, report));
    fields.close_strictly(report);
    memory
}

/// `bestPath`.
fn selection(field: &Field<'_>, report: &mut Report) -> Selection {
    let Some(mut fields) = field.fields(report) else {
        return Selection::default();
    };
    let mut flag = |name| fields.get(name).and_then(|field| field.boolean(report));
    let always = flag("alwaysCompareMED");
    let existing = flag("preferExistingExternal");
    fields.close_strictly(report);
    Selection {
        always_compare_med: always.unwrap_or(false),
        prefer_existing_external: existing.unwrap_or(false),
    }
}

/// A router id or cluster id: any non-zero 32 bits (RFC 6286 §2.1, RFC 4456 §7).
pub(super) fn identifier(field: &Field<'_>, report: &mut Report) -> Option<Ipv4Addr> {
    let id = field.ipv4(report)?;
    if id.is_unspecified() {
        field.fault(report, "0.0.0.0 is not accepted: any other IPv4 address");
        return None;
    }
    Some(id)
}

/// `neighbors`: the good ones. The faults of one are its own.
fn neighbors(
    field: &Field<'_>,
    (templates, own_asn): (&Templates<'_>, OwnAsn),
    faulty: &mut Faulty,
    report: &mut Report,
) -> Vec<NeighborSpec> {
    let mut neighbors = Vec::new();
    for element in field.list(report).unwrap_or_default() {
        let read = |report: &mut Report| neighbor::neighbors(&element, templates, own_asn, report);
        let (read, is_good) = report.confine(read);
        if is_good && !templates.is_faulty(&element) {
            neighbors.extend(read);
            continue;
        }
        let (named, is_all) = neighbor::named(&element);
        faulty.neighbors.extend(named);
        faulty.nameless |= !is_all;
    }
    let (odd, _) = report.confine(|report| at_odds(&neighbors, report));
    // Which of the elements of one neighbor is meant is not known.
    let named: BTreeSet<Whom> = faulty.neighbors.iter().map(|faulty| faulty.whom).collect();
    let mut good = Vec::with_capacity(neighbors.len());
    for (place, spec) in neighbors.into_iter().enumerate() {
        match odd.contains(&place) || named.contains(&spec.whom) {
            true => faulty.neighbors.push(neighbor::away(spec)),
            false => good.push(spec),
        }
    }
    faulty.neighbors.sort_by_key(|faulty| faulty.whom);
    faulty.neighbors.dedup_by_key(|faulty| faulty.whom);
    good
}

/// The places of neighbors that can't be beside others.
fn at_odds(neighbors: &[NeighborSpec], report: &mut Report) -> BTreeSet<usize> {
    let mut odd = BTreeSet::new();
    refuse_doubles(neighbors, &mut odd, report);
    refuse_unsigned(neighbors, &mut odd, report);
    refuse_two_keys(neighbors, &mut odd, report);
    odd
}

/// Whether neighbors of several texts can be beside each other.
pub(in crate::watcher) fn agree(neighbors: &[NeighborSpec]) -> bool {
    at_odds(neighbors, &mut Report::new("".into())).is_empty()
}

/// Neighbors that we wait for while nobody can connect.
fn warn_of_waiting(neighbors: &[NeighborSpec], report: &mut Report) {
    let waits = |of: &&NeighborSpec| of.passive || matches!(of.whom, Whom::Prefix(_));
    for neighbor in neighbors.iter().filter(waits) {
        let message = format!(
            "{} has to connect to us, and listenAddresses is empty: nobody can",
            neighbor.whom
        );
        report.warn(neighbor.line, &neighbor.path, message);
    }
}

fn refuse_doubles(neighbors: &[NeighborSpec], odd: &mut BTreeSet<usize>, report: &mut Report) {
    let mut first: BTreeMap<Whom, usize> = BTreeMap::new();
    for (place, neighbor) in neighbors.iter().enumerate() {
        let Some(first) = first.get(&neighbor.whom) else {
            first.insert(neighbor.whom, place);
            continue;
        };
        let before = &neighbors[*first];
        let what = match neighbor.whom {
            Whom::Address(_) => "address",
            Whom::Prefix(_) => "prefix",
            Whom::DefaultGateways(_) => "family",
        };
        let message = format!(
            "{} is already the {what} of {} on line {}: one neighbor for each {what}",
            neighbor.whom, before.path, before.line
        );
        report.fault(neighbor.line, &neighbor.path, message);
        odd.extend([*first, place]);
    }
}

/// A listener has keys by address, whichever link a connection comes in on: the kernel takes an
/// interface beside a key only for a VRF (`TCP_MD5SIG_EXT`).
fn refuse_two_keys(neighbors: &[NeighborSpec], odd: &mut BTreeSet<usize>, report: &mut Report) {
    let mut first: BTreeMap<IpAddr, &NeighborSpec> = BTreeMap::new();
    for (place, neighbor) in neighbors.iter().enumerate() {
        let Whom::Address(address) = neighbor.whom else {
            continue;
        };
        let before = *first.entry(address.ip()).or_insert(neighbor);
        if before.auth != neighbor.auth {
            let message = format!(
                "{address} and {} of {} on line {} have one address on two links and not one \
                 password: connections are answered by one key for an address, whatever link they \
                 come in on; give both the same authSecretRef or authPasswordFile, or none",
                before.whom, before.path, before.line
            );
            report.fault(neighbor.line, &neighbor.path, message);
            odd.insert(place);
        }
    }
}

/// A listener with a key for a prefix answers nobody within it who does not sign.
fn refuse_unsigned(neighbors: &[NeighborSpec], odd: &mut BTreeSet<usize>, report: &mut Report) {
    let signed: Vec<(IpPrefix, &NeighborSpec)> = neighbors
        .iter()
        .filter(|neighbor| neighbor.auth != Auth::None)
        .filter_map(|neighbor| match neighbor.whom {
            Whom::Prefix(prefix) => Some((prefix, neighbor)),
            Whom::Address(_) | Whom::DefaultGateways(_) => None,
        })
        .collect();
    for (place, neighbor) in neighbors.iter().enumerate() {
        if neighbor.auth != Auth::None {
            continue;
        }
        let own = match neighbor.whom {
            Whom::Address(address) => host_prefix(address.ip()),
            Whom::Prefix(prefix) => prefix,
            // Who they are is only known on the node.
            Whom::DefaultGateways(_) => continue,
        };
        let around = signed.iter().find(|(prefix, _)| prefix.contains(own));
        if let Some((prefix, by)) = around {
            let message = format!(
                "{} has no password and lies within {prefix} of {} on line {}, which has one: its \
                 connections would never be answered; give it one too",
                neighbor.whom, by.path, by.line
            );
            report.fault(neighbor.line, &neighbor.path, message);
            odd.insert(place);
        }
    }
}
