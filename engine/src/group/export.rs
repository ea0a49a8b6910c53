//! Export: what a path looks like to the peers of one view.
//!
//! RFC 4271 §5 and §9.1.3 (which attributes go to whom), RFC 1997 (well-known communities),
//! RFC 4456 (reflection, see `reflect`), RFC 7947 §2.2 (what a route server leaves as it is),
//! RFC 6793 §4.2.2 (two-octet peers), RFC 2545 §3 (IPv6 next hops), RFC 8326 §4.2 (sessions that
//! are about to be closed).
//!
//! A pure function of the view, the attributes and what a [`PathSource`] holds: that is what makes
//! it right to run it once for all paths that are alike in these, and to share the result.

use codec::{AttributeSet, AttributeWriter, Family, NextHop, PeerKind, RawAttribute, code, flags};
use rib::{LLGR_STALE, SourceKind};

use super::form::begin_form;
use super::reflect::{self, PathSource};
use super::refusal::Refusal;
use super::view::ExportView;
use crate::config::{Export, NextHopSelf};
use crate::policy::{GRACEFUL_SHUTDOWN, NextHopChoice};

/// LOCAL_PREF of routes that came without one (RFC 4271 §9.1.1 leaves it to us; everybody's 100).
const DEFAULT_LOCAL_PREF: u32 = 100;

const NO_EXPORT: u32 = 0xffff_ff01;
const NO_ADVERTISE: u32 = 0xffff_ff02;
const NO_EXPORT_SUBCONFED: u32 = 0xffff_ff03;

/// Appends the form in which the peers of `view` are told a path of `family`: next hop and
/// attributes, which [`split`](super::form::split) takes apart.
///
/// # Errors
/// Why they are not told; what was appended by then means nothing.
pub fn export(
    view: &ExportView,
    family: Family,
    source: PathSource,
    canonical: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    let set = AttributeSet::new(canonical);
    admit(view, source, &set)?;
    let next_hop = next_hop(view, family, source, &set)?;
    let mp_next_hop = match (family, next_hop) {
        (Family::Ipv4Unicast, NextHop::V4(_)) => None,
        _ => Some(next_hop),
    };
    out.reserve(canonical.len() + 64);
    begin_form(mp_next_hop, out);
    if write(view, source, &set, next_hop, mp_next_hop.is_none(), out) {
        return Err(Refusal::TooLong);
    }
    Ok(())
}

fn admit(view: &ExportView, source: PathSource, set: &AttributeSet<'_>) -> Result<(), Refusal> {
    match (&view.export, source.kind) {
        // Policy was asked before.
        (Export::Originated, SourceKind::Local) | (Export::All | Export::Policy(_), _) => {}
        (Export::None | Export::Originated, _) => return Err(Refusal::ExportPolicy),
    }
    let internal = source.is_internal() && view.peer == PeerKind::Internal;
    // RFC-DONE 4271 §9.2: What an internal peer said is not told to another one.
    // RFC-DONE 4456 §6: But by a reflector: from and to its clients.
    if internal && source.originator.is_none() {
        return Err(Refusal::InternalToInternal);
    }
    // RFC-DONE 9234 §5: A route with OTC is not told to providers, peers and route servers.
    if view.otc.stopped && set.otc().is_some() {
        return Err(Refusal::OnlyToCustomer);
    }
    // RFC-DONE 9494 §4.3: a stale route goes to peers that know what that is, and to others outside the
    // AS not at all.
    // RFC-DONE 9494 §4.6: inside the AS the others are told a stale route as the last resort.
    if !view.long_lived && view.peer == PeerKind::External && is_stale(source, set) {
        return Err(Refusal::LongLivedStale);
    }
    // What we originate ourselves carries these communities to the peers, not against them; and a
    // route server does not act on what its clients say to each other (RFC 7947 §2.2.4).
    if source.kind == SourceKind::Local || view.is_between_clients(source.kind) {
        return Ok(());
    }
    let external = view.peer == PeerKind::External;
    // RFC-DONE 1997: NO_EXPORT, NO_ADVERTISE and NO_EXPORT_SUBCONFED are heeded.
    // RFC-LEFT 3765 §2: NOPEER is passed on as any other community, also where our role is peer; policy
    // can match it, as no-peer.
    let forbidden = set.communities().any(|community| match community {
        NO_ADVERTISE => true,
        NO_EXPORT | NO_EXPORT_SUBCONFED => external,
        _ => false,
    });
    if forbidden {
        return Err(Refusal::WellKnownCommunity);
    }
    Ok(())
}

fn next_hop(
    view: &ExportView,
    family: Family,
    source: PathSource,
    set: &AttributeSet<'_>,
) -> Result<NextHop, Refusal> {
    let by_settings = || match (source.kind, view.next_hop_self) {
        (SourceKind::Local, _) | (_, NextHopSelf::Always) => true,
        (_, NextHopSelf::Never) => false,
        (kind, NextHopSelf::Auto) => view.peer == PeerKind::External && !view.is_transparent(kind),
    };
    // RFC-DONE 4271 §5.1.3: Ourselves towards external peers and for own routes, else as it came.
    let own = match source.next_hop {
        NextHopChoice::BySettings => by_settings(),
        NextHopChoice::Own => true,
        // An own route has none until policy gives it one.
        NextHopChoice::Unchanged => set.next_hop().is_none() && by_settings(),
    };
    if own {
        return view.own_next_hop[family.index()].ok_or(Refusal::NoNextHop);
    }
    match set.next_hop() {
        Some(NextHop::V6(_) | NextHop::V6WithLinkLocal(..))
            if family == Family::Ipv4Unicast && !view.extended_next_hop =>
        {
            Err(Refusal::Ipv6NextHop)
        }
        // RFC-DONE 2545 §3: A link-local next hop, a half or all of one, stays on the link it came from.
        Some(NextHop::V6(address) | NextHop::V6WithLinkLocal(address, _)) => {
            // Also where it stands in the global half.
            match address.is_unicast_link_local() {
                true => Err(Refusal::NoNextHop),
                false => Ok(NextHop::V6(address)),
            }
        }
        Some(next_hop) => Ok(next_hop),
        None => Err(Refusal::NoNextHop),
    }
}

/// Returns whether an attribute had to be left out.
fn write(
    view: &ExportView,
    source: PathSource,
    set: &AttributeSet<'_>,
    next_hop: NextHop,
    plain_next_hop: bool,
    out: &mut Vec<u8>,
) -> bool {
    let external = view.peer == PeerKind::External;
    let mut writer = AttributeWriter::new(out);
    let transparent = view.is_transparent(source.kind);
    let at_border = external && !view.is_between_clients(source.kind);
    // RFC-DONE 4271 §5.1.2: Our AS is put first towards external peers, and nothing towards internal ones.
    let own_asn = [view.local_asn];
    let prepend = match external && !transparent {
        true => own_asn.as_slice(),
        false => &[],
    };
    if let Some(origin) = set.origin() {
        writer.origin(origin);
    }
    writer.as_path(&set.as_path(), prepend, view.four_octet_as);
    if let (true, NextHop::V4(address)) = (plain_next_hop, next_hop) {
        writer.next_hop(address);
    }
    // RFC-DONE 4271 §5.1.4: A received MED stops at the border of our AS.
    // RFC 4271 §5.1.4: a received MED stops at the border of our AS.
    let keeps_med = !external || transparent || source.sets_med;
    if let (true, Some(med)) = (keeps_med, set.med()) {
        writer.med(med);
    }
    let stale = is_stale(source, set);
    let last_resort = stale && !view.long_lived;
    // RFC-DONE 4271 §5.1.5: LOCAL_PREF goes to internal peers always, to external ones never.
    if !external {
        // RFC 8326 §4 is about external sessions. Inside the AS nobody heeds the community: the lowest
        // LOCAL_PREF goes with it.
        writer.local_pref(match view.graceful_shutdown || last_resort {
            true => 0,
            false => set.local_pref().unwrap_or(DEFAULT_LOCAL_PREF),
        });
    }
    // RFC-DONE 9234 §5: A route without OTC that is told to a customer, a peer or a client of ours as a
    // route server gets it with our AS.
    let mut marked = view.otc.attached && set.otc().is_none();
    let mut reflected = source.originator;
    let is_marked = stale || view.graceful_shutdown;
    let mut marks = is_marked;
    let goes = |code| passes(view, code) && !(is_marked && code == code::COMMUNITIES);
    for attribute in set.iter().filter(|attribute| goes(attribute.code)) {
        if attribute.code >= code::COMMUNITIES && std::mem::take(&mut marks) {
            writer.communities(&marked_communities(view, set, stale));
        }
        if attribute.code > code::CLUSTER_LIST
            && let Some(originator) = reflected.take()
        {
            reflect::write(view, originator, set, &mut writer);
        }
        if attribute.code > code::ONLY_TO_CUSTOMER && std::mem::take(&mut marked) {
            write_otc(view, source, &mut writer);
        }
        match attribute.code {
            code::EXTENDED_COMMUNITIES if at_border => {
                write_transitive::<8>(&mut writer, &attribute);
            }
            code::IPV6_EXTENDED_COMMUNITIES if at_border => {
                write_transitive::<20>(&mut writer, &attribute);
            }
            code::AGGREGATOR if let Some(aggregator) = set.aggregator() => {
                writer.aggregator(&aggregator, view.four_octet_as);
            }
            // RFC-DONE 4271 §5: Unknown transitive attributes pass byte for byte, with Partial; others stop.
            _ if !attribute.is_known() => {
                let flags = attribute.flags | flags::PARTIAL;
                writer.raw(flags, attribute.code, attribute.value);
            }
            _ => writer.raw(attribute.flags, attribute.code, attribute.value),
        }
    }
    if marks {
        writer.communities(&marked_communities(view, set, stale));
    }
    if let Some(originator) = reflected {
        reflect::write(view, originator, set, &mut writer);
    }
    if marked {
        write_otc(view, source, &mut writer);
    }
    // RFC-DONE 6793 §4.2.2: An old peer is told AS_TRANS, with AS4_PATH and AS4_AGGREGATOR beside it.
    // RFC 6793 §4.2.2: what two octets cannot carry goes beside it.
    if !view.four_octet_as {
        writer.as4_path(&set.as_path(), prepend);
        if let Some(aggregator) = set.aggregator() {
            writer.as4_aggregator(&aggregator);
        }
    }
    writer.overflowed()
}

fn write_otc(view: &ExportView, source: PathSource, writer: &mut AttributeWriter<'_>) {
    // RFC 4271 §5: Partial, where it is not the originator that attaches it.
    let partial = match source.kind {
        SourceKind::Local => 0,
        _ => flags::PARTIAL,
    };
    let flags = flags::OPTIONAL | flags::TRANSITIVE | partial;
    writer.raw(flags, code::ONLY_TO_CUSTOMER, &view.local_asn.to_be_bytes());
}

/// Also if export policy made it so.
fn is_stale(source: PathSource, set: &AttributeSet<'_>) -> bool {
    source.stale || set.communities().any(|community| community == LLGR_STALE)
}

// RFC-DONE 9494 §4.3: LLGR_STALE is not taken off, whatever export policy does and whatever communities
// the neighbor is sent.
/// The communities that go out anyway, and those that say that the route is stale or that the session is
/// about to go. These are sent whatever `sendCommunities` says: an operator asked for a drain.
fn marked_communities(view: &ExportView, set: &AttributeSet<'_>, stale: bool) -> Vec<u32> {
    let sent = set.communities().filter(|_| view.send_communities.standard);
    let mut communities: Vec<u32> = sent.collect();
    // To internal peers that don't know what LLGR_STALE means.
    let last_resort = stale && !view.long_lived;
    let marks = [
        (stale, LLGR_STALE),
        (last_resort, NO_EXPORT),
        (view.graceful_shutdown, GRACEFUL_SHUTDOWN),
    ];
    for (is_due, mark) in marks {
        if is_due && !communities.contains(&mark) {
            communities.push(mark);
        }
    }
    communities
}

/// Whether an attribute that has no writer of its own above goes out as it is.
fn passes(view: &ExportView, code: u8) -> bool {
    match code {
        code::ORIGIN
        | code::AS_PATH
        | code::NEXT_HOP
        | code::MED
        | code::LOCAL_PREF
        | code::MP_REACH_NLRI => false,
        // RFC 4456 §8: only what is reflected carries them, and then `reflect` writes them.
        code::ORIGINATOR_ID | code::CLUSTER_LIST => false,
        code::COMMUNITIES => view.send_communities.standard,
        code::LARGE_COMMUNITIES => view.send_communities.large,
        code::EXTENDED_COMMUNITIES | code::IPV6_EXTENDED_COMMUNITIES => {
            view.send_communities.extended
        }
        _ => true,
    }
}

/// Extended communities of `N` octets, without those that stop at the border of the AS.
// RFC-DONE 4360 §6: Non-transitive extended communities stop at the border of the AS.
// RFC-DONE 5701 §2: So do those of IPv6 addresses.
fn write_transitive<const N: usize>(
    writer: &mut AttributeWriter<'_>,
    attribute: &RawAttribute<'_>,
) {
    const NON_TRANSITIVE: u8 = 0x40;
    let (communities, _) = attribute.value.as_chunks::<N>();
    let kept: Vec<u8> = communities
        .iter()
        .filter(|community| community[0] & NON_TRANSITIVE == 0)
        .flatten()
        .copied()
        .collect();
    if !kept.is_empty() {
        writer.raw(attribute.flags, attribute.code, &kept);
    }
}
