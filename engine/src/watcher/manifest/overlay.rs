//! `spec.bgpPeering.nodes`: what is different on single nodes, since one object serves all.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::fields::Field;
use super::neighbor::{as_number, own_address};
use super::peering::identifier;
use crate::config::PeerAddress;
use crate::watcher::fault::Report;
use crate::watcher::resource::{Faulty, NeighborSpec, NodeOverlay, Whom};

/// The overlays by the name of their node.
pub(super) fn overlays(
    field: &Field<'_>,
    neighbors: &[NeighborSpec],
    faulty: &mut Faulty,
    report: &mut Report,
) -> BTreeMap<Arc<str>, NodeOverlay> {
    let good = neighbors.iter().map(|neighbor| neighbor.whom);
    let known = good.chain(faulty.neighbors.iter().map(|neighbor| neighbor.whom));
    let known = known.filter_map(|whom| match whom {
        Whom::Address(address) => Some(address),
        Whom::Prefix(_) | Whom::DefaultGateways(_) => None,
    });
    let known: BTreeSet<PeerAddress> = known.collect();
    let known = (!faulty.nameless).then_some(known);
    let mut overlays = BTreeMap::new();
    for element in field.list(report).unwrap_or_default() {
        // Without a name it may be any node's.
        let Some(name) = name(&element, report) else {
            continue;
        };
        let (overlay, is_good) = report.confine(|report| {
            if overlays.contains_key(&name) {
                element.fault(report, format!("{name} is there twice: one element a node"));
            }
            overlay(&element, known.as_ref(), report)
        });
        match overlay.filter(|_| is_good) {
            Some(overlay) => {
                overlays.insert(name, overlay);
            }
            // Also where another element of the node is good: it is not known which one is meant.
            None => {
                overlays.remove(&name);
                faulty.nodes.insert(name);
            }
        }
    }
    overlays.retain(|name, _| !faulty.nodes.contains(name));
    overlays
}

/// Our AS on a node, where its overlay says another one. What is wrong with overlays is not said here.
pub(super) fn local_asn(field: &Field<'_>, node: &str) -> Option<u32> {
    let unsaid = &mut Report::new("".into());
    let elements = field.list(unsaid)?;
    let mut own = elements
        .iter()
        .filter(|element| name(element, unsaid).is_some_and(|name| &*name == node));
    let mut fields = own.next()?.fields(&mut Report::new("".into()))?;
    as_number(&fields.get("localASN")?, &mut Report::new("".into()))
}

fn name(element: &Field<'_>, report: &mut Report) -> Option<Arc<str>> {
    let mut fields = element.fields(report)?;
    let name = fields.require("name", "the name of a node", report);
    name.and_then(|field| field.name(report)).map(Arc::from)
}

fn overlay(
    element: &Field<'_>,
    known: Option<&BTreeSet<PeerAddress>>,
    report: &mut Report,
) -> Option<NodeOverlay> {
    let mut fields = element.fields(report)?;
    fields.get("name");
    let id = fields.get("routerID");
    let router_id = id.and_then(|field| identifier(&field, report));
    let id = fields.get("clusterID");
    let cluster_id = id.and_then(|field| identifier(&field, report));
    let local_asn = fields.get("localASN");
    let local_asn = local_asn.and_then(|field| as_number(&field, report));
    let port = fields.get("listenPort");
    let listen_port = port.and_then(|field| field.integer(1..=u16::MAX, report));
    let mut local_addresses = BTreeMap::new();
    let list = fields.get("neighbors").and_then(|field| field.list(report));
    for element in list.unwrap_or_default() {
        let Some((peer, local)) = local_address(&element, known, report) else {
            continue;
        };
        if local_addresses.insert(peer, local).is_some() {
            element.fault(
                report,
                format!("{peer} is there twice: one element a neighbor"),
            );
        }
    }
    fields.close_strictly(report);
    Some(NodeOverlay {
        router_id,
        cluster_id,
        local_asn,
        listen_port,
        local_addresses,
    })
}

/// A neighbor's address, and ours towards it. `known`: the neighbors that there are, if all can be told.
fn local_address(
    element: &Field<'_>,
    known: Option<&BTreeSet<PeerAddress>>,
    report: &mut Report,
) -> Option<(PeerAddress, IpAddr)> {
    let mut fields = element.fields(report)?;
    let peer_field = fields.require("peerAddress", "the address of a neighbor", report);
    let local_field = fields.require("localAddress", "an address of the node", report);
    fields.close_strictly(report);
    let (peer_field, local_field) = (peer_field?, local_field?);
    let peer = peer_field.peer_address(report)?;
    let local = own_address(&local_field, report)?;
    if known.is_some_and(|known| !known.contains(&peer)) {
        return peer_field.refuse(
            report,
            "the peerAddress of one of spec.bgpPeering.neighbors",
        );
    }
    if peer.ip().is_ipv4() != local.is_ipv4() {
        let message = format!("{local} and the peer's {peer} are not of one family");
        local_field.fault(report, message);
        return None;
    }
    Some((peer, local))
}
