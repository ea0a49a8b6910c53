//! What comes in: the UPDATEs of one peer become paths in the table.
//!
//! RFC 7606 (what a malformed attribute does), RFC 4271 §3.1 and §4.3 (a prefix both withdrawn and
//! announced is announced). Which paths are used, and with which attributes, is `import`'s.
//!
//! Invariant: once `arrivals` are settled, `adj_rib_in` of a peer holds exactly the prefixes that
//! have a path of its source.

use codec::{Family, Nlri, NlriField, Notification, Update};
use rib::{AttributeId, Path, PathFlags};

use super::import::mark_for_customers;
use super::instance::Instance;
use super::peer::{Established, Peer, Unsaid};
use crate::config::{Import, Neighbor};
use crate::time::Time;

/// Takes the body of an UPDATE. What it says is in the table once [`settle`] was called. Gives the
/// family whose End-of-RIB it is.
///
/// # Errors
/// The NOTIFICATION that ends the session.
pub(super) fn update(
    now: Time,
    instance: &mut Instance,
    peer: &mut Peer,
    body: &[u8],
) -> Result<Option<Family>, Notification> {
    let Some(established) = &mut peer.established else {
        return Ok(None);
    };
    let neighbor = &peer.neighbor;
    let update = match codec::parse_update(body, &established.negotiated.wire) {
        Ok(update) => update,
        Err(notification) => {
            peer.malformed
                .take_reset(now, neighbor.address, &notification, body);
            return Err(notification);
        }
    };
    if !update.faults.is_empty() {
        peer.malformed.take(now, neighbor.address, &update, body);
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
    find_said(neighbor, established, nlri);
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
    find_said(neighbor, established, nlri);
    instance.canonical.clear();
    update.canonical(field, &mut instance.canonical);
    mark_for_customers(neighbor, established, &mut instance.canonical);
    let Ok(attributes) = instance.writer.intern(&instance.canonical) else {
        // The attribute store is full: what was announced before under these prefixes is not
        // true any more, so it goes.
        instance.refuse("attribute sets");
        withdraw(instance, neighbor, established, nlri);
        return;
    };
    established.volume.attribute_octets += instance.canonical.len() as u64;
    instance.begin_announcements(established, attributes);
    let family = nlri.family();
    let mut incoming = instance.begin_incoming(neighbor, established, attributes, family);
    // RFC-DONE 7911 §2: paths of one prefix are told apart by the identifiers that their peer gave
    // them.
    let add_path = established.negotiated.wire.add_path_receive;
    let identified = match add_path.contains(family) {
        true => PathFlags::IDENTIFIED,
        false => PathFlags::NONE,
    };
    let source = established.source;
    let path = |path_id, (attributes, flags): (AttributeId, PathFlags)| Path {
        attributes,
        source,
        path_id,
        flags: flags | identified,
    };
    let before = instance.arrivals.announced();
    match incoming.settled(neighbor) {
        Some(settled) => {
            let paths = nlri.iter();
            let paths = paths.map(|(path_id, prefix)| (prefix, path(path_id, settled)));
            instance.arrivals.announce(paths);
        }
        None => {
            for (path_id, prefix) in nlri.iter() {
                let judged = instance.judge_incoming(&mut incoming, neighbor, established, prefix);
                instance
                    .arrivals
                    .announce([(prefix, path(path_id, judged))]);
            }
        }
    }
    established.volume.announced += (instance.arrivals.announced() - before) as u64;
}

/// What is missing since it was not kept when it was said, is less by these.
fn find_said(neighbor: &Neighbor, established: &mut Established, nlri: &Nlri<'_>) {
    if established.unsaid != Unsaid::Counted || neighbor.import == Import::None {
        return;
    }
    for (path_id, prefix) in nlri.iter() {
        established.find_said(nlri.family(), fingerprint(&prefix), path_id);
    }
}

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
