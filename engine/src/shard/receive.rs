//! What comes in: the UPDATEs of one peer become paths in the table.
//!
//! RFC 4271 §9 (AS loops, own next hop), RFC 4456 §8 (own ORIGINATOR_ID, own cluster id), RFC 7606
//! (what a malformed attribute does), RFC 4271 §3.1 and §4.3 (a prefix both withdrawn and
//! announced is announced).
//!
//! Invariant: once `arrivals` are settled, `adj_rib_in` of a peer holds exactly the prefixes that
//! have a path of its source.

use codec::{AttributeSet, Family, Nlri, NlriField, Notification, Update};
use rib::{Path, PathFlags};

use super::instance::Instance;
use super::peer::{Established, Peer};
use crate::config::{Import, Neighbor};

/// Why a path is kept, but not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rejection {
    AsLoop,
    OwnNextHop,
    LoopbackNextHop,
    OwnOriginator,
    OwnCluster,
}

impl Rejection {
    /// For people.
    pub(super) fn words(self) -> &'static str {
        match self {
            Rejection::AsLoop => "AS loop: our own AS number stands in the AS_PATH",
            Rejection::OwnNextHop => "the next hop is our own address",
            Rejection::LoopbackNextHop => {
                "the next hop is a loopback address of the peer's machine"
            }
            Rejection::OwnOriginator => "reflection loop: ORIGINATOR_ID is our router id",
            Rejection::OwnCluster => "reflection loop: our cluster id stands in the CLUSTER_LIST",
        }
    }
}

/// Takes the body of an UPDATE. What it says is in the table once [`settle`] was called. Gives the
/// family whose End-of-RIB it is.
///
/// # Errors
/// The NOTIFICATION that ends the session.
pub(super) fn update(
    instance: &mut Instance,
    peer: &mut Peer,
    body: &[u8],
) -> Result<Option<Family>, Notification> {
    let Some(established) = &mut peer.established else {
        return Ok(None);
    };
    let update = codec::parse_update(body, &established.negotiated.wire)?;
    let neighbor = &peer.neighbor;
    if !update.faults.is_empty() {
        report(neighbor, established, &update, body);
    }
    withdraw(instance, neighbor, established, &update.withdrawn);
    if let Some(unreachable) = &update.mp_withdrawn {
        withdraw(instance, neighbor, established, &unreachable.nlri);
    }
    let fields = [
        (NlriField::Plain, Some(&update.announced)),
        (
            NlriField::MpReach,
            update.mp_announced.as_ref().map(|mp| &mp.nlri),
        ),
    ];
    for (field, nlri) in fields {
        let Some(nlri) = nlri.filter(|nlri| !nlri.is_empty()) else {
            continue;
        };
        if update.treat_as_withdraw() {
            withdraw(instance, neighbor, established, nlri);
        } else {
            announce(instance, neighbor, established, &update, field, nlri);
        }
    }
    Ok(update.end_of_rib())
}

/// Puts what UPDATEs of the peer said into the table: before anything else is done with the peer,
/// and before another one is read.
pub(super) fn settle(instance: &mut Instance, peer: &mut Peer) {
    if let Some(established) = &mut peer.established {
        instance.settle_arrivals(established);
    }
}

fn withdraw(
    instance: &mut Instance,
    neighbor: &Neighbor,
    established: &mut Established,
    nlri: &Nlri<'_>,
) {
    let family = nlri.family().index();
    for (path_id, prefix) in nlri.iter() {
        if neighbor.import == Import::None {
            established.counted[family].remove(fingerprint(&prefix), path_id);
            continue;
        }
        instance.take_withdrawal(established, prefix, path_id);
    }
}

fn announce(
    instance: &mut Instance,
    neighbor: &Neighbor,
    established: &mut Established,
    update: &Update<'_>,
    field: NlriField,
    nlri: &Nlri<'_>,
) {
    if neighbor.import == Import::None {
        let counted = &mut established.counted[nlri.family().index()];
        for (path_id, prefix) in nlri.iter() {
            counted.insert(fingerprint(&prefix), path_id);
        }
        return;
    }
    instance.canonical.clear();
    update.canonical(field, &mut instance.canonical);
    let set = AttributeSet::new(&instance.canonical);
    let rejection = judge(neighbor, established, &set);
    let Ok(attributes) = instance.writer.intern(&instance.canonical) else {
        // The attribute store is full: what was announced before under these prefixes is not
        // true any more, so it goes.
        instance.refuse("attribute sets");
        withdraw(instance, neighbor, established, nlri);
        return;
    };
    let mut flags = match rejection {
        Some(_) => PathFlags::REJECTED,
        None => PathFlags::NONE,
    };
    // RFC-DONE 7911 §3: paths of one prefix are told apart by the identifiers that their peer gave
    // them.
    let add_path = established.negotiated.wire.add_path_receive;
    if add_path.contains(nlri.family()) {
        flags = flags | PathFlags::IDENTIFIED;
    }
    let source = established.source;
    let octets = instance.canonical.len() as u64;
    let mut announced = 0;
    let paths = nlri.iter().map(|(path_id, prefix)| {
        announced += 1;
        let path = Path {
            attributes,
            source,
            path_id,
            flags,
        };
        (prefix, path)
    });
    instance.take_announcements(established, attributes, paths);
    established.volume.announced += announced;
    established.volume.attribute_octets += octets;
}

/// Why a received route must not be used, if so.
pub(super) fn judge(
    neighbor: &Neighbor,
    established: &Established,
    attributes: &AttributeSet<'_>,
) -> Option<Rejection> {
    // RFC 4271 §9.1.2: a route with our own AS in its path went through us already.
    let own = attributes.as_path().count(neighbor.local_asn);
    if own > usize::from(neighbor.allow_own_asn) {
        return Some(Rejection::AsLoop);
    }
    // RFC 4271 §6.3: semantically wrong, ignored and not answered.
    let local = established.negotiated.local_address.ip();
    match attributes.next_hop().map(|next_hop| next_hop.address()) {
        Some(address) if address == local => return Some(Rejection::OwnNextHop),
        // Between two speakers on one machine it is as good as any.
        Some(address) if address.is_loopback() && !local.is_loopback() => {
            return Some(Rejection::LoopbackNextHop);
        }
        _ => {}
    }
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
    None
}

/// RFC 7606 §8 asks that what a malformed attribute did be logged. A peer that goes on with it is
/// logged ever more rarely: the 1st, 2nd, 4th, 8th … time.
fn report(neighbor: &Neighbor, established: &mut Established, update: &Update<'_>, body: &[u8]) {
    established.malformed_updates += 1;
    if !established.malformed_updates.is_power_of_two() {
        return;
    }
    let raw: String = body
        .iter()
        .take(LOGGED_OCTETS_MAX)
        .map(|octet| format!("{octet:02x}"))
        .collect();
    for fault in &update.faults {
        tracing::warn!(
            peer = %neighbor.address,
            attribute = fault.code,
            action = ?fault.action,
            times = established.malformed_updates,
            update = %raw,
            "malformed path attribute: {fault}"
        );
    }
}

/// Octets of a malformed UPDATE that are logged.
const LOGGED_OCTETS_MAX: usize = 512;

fn fingerprint(prefix: &codec::IpPrefix) -> u64 {
    ahash::RandomState::with_seeds(1, 2, 3, 4).hash_one(prefix)
}

/// How many prefixes of a family came from the peer, and how many of them are used.
pub(super) fn counts(neighbor: &Neighbor, established: &Established, family: Family) -> (u64, u64) {
    let family = family.index();
    if neighbor.import == Import::None {
        return (established.counted[family].len(), 0);
    }
    let received = established.adj_rib_in[family].len() as u64;
    let rejected = established.rejected[family].len() as u64;
    (received, received - rejected)
}
