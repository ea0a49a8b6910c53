//! `spec.bgpPeering.nodes`: what is different on single nodes, since one object serves all.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::fields::Field;
use super::neighbor::{as_number, own_address};
use super::peering::identifier;
use crate::config::PeerAddress;
use crate::watcher::fault::Report;
use crate::watcher::resource::{NeighborSpec, NodeOverlay};

/// The overlays by the name of their node.
pub(super) fn overlays(
    field: &Field<'_>,
    neighbors: &[NeighborSpec],
    report: &mut Report,
) -> BTreeMap<Arc<str>, NodeOverlay> {
    let known = neighbors.iter().filter_map(NeighborSpec::address);
    let known: BTreeSet<PeerAddress> = known.collect();
    let mut overlays = BTreeMap::new();
    for element in field.list(report).unwrap_or_default() {
        let Some((name, overlay)) = overlay(&element, &known, report) else {
            continue;
        };
        if overlays.insert(Arc::clone(&name), overlay).is_some() {
            element.fault(report, format!("{name} is there twice: one element a node"));
        }
    }
    overlays
}

fn overlay(
    element: &Field<'_>,
    known: &BTreeSet<PeerAddress>,
    report: &mut Report,
) -> Option<(Arc<str>, NodeOverlay)> {
    let mut fields = element.fields(report)?;
    let name = fields.require("name", "the name of a node", report);
    let name = name.and_then(|field| field.name(report));
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
        local_addresses.extend(local_address(&element, known, report));
    }
    fields.close_strictly(report);
    let overlay = NodeOverlay {
        router_id,
        cluster_id,
        local_asn,
        listen_port,
        local_addresses,
    };
    Some((name?.into(), overlay))
}

/// A neighbor's address, and ours towards it.
fn local_address(
    element: &Field<'_>,
    known: &BTreeSet<PeerAddress>,
    report: &mut Report,
) -> Option<(PeerAddress, IpAddr)> {
    let mut fields = element.fields(report)?;
    let peer_field = fields.require("peerAddress", "the address of a neighbor", report);
    let local_field = fields.require("localAddress", "an address of the node", report);
    fields.close_strictly(report);
    let (peer_field, local_field) = (peer_field?, local_field?);
    let peer = peer_field.peer_address(report)?;
    let local = own_address(&local_field, report)?;
    if !known.contains(&peer) {
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
