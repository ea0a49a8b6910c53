//! `set` of a RoutePolicy's statement.

use super::fields::{Field, Fields};
use super::node::Value;
use super::policy_match::{Accepted, EXTENDED, LARGE, STANDARD, communities_of};
use crate::policy::{
    CommunitySet, Extended, Large, Set, SetMed, SetNextHop, Standard, extended, large, standard,
};
use crate::watcher::fault::Report;

/// How often an AS number may be put in front of a path.
const PREPEND_MAX: u8 = 32;
/// Communities of one kind that may be added.
const ADDED_MAX: usize = 128;

pub(super) fn set_of(field: &Field<'_>, report: &mut Report) -> Set {
    let mut set = Set::default();
    let Some(mut fields) = field.fields(report) else {
        return set;
    };
    let preference = fields.get("localPreference");
    set.local_preference = preference.and_then(|field| field.integer(0..=u32::MAX, report));
    set.med = fields.get("med").and_then(|field| med_of(&field, report));
    let prepend = fields.get("asPathPrepend");
    set.prepend = prepend.and_then(|field| prepend_of(&field, report));
    let next_hop = fields.get("nextHop");
    set.next_hop = next_hop.and_then(|field| next_hop_of(&field, report));
    if let Some(field) = fields.get("communities")
        && let Some(mut kinds) = field.fields(report)
    {
        if let Some(kind) = kinds.get("standard") {
            set.standard = communities(&kind, (standard, Standard::parse), STANDARD, report);
        }
        if let Some(kind) = kinds.get("large") {
            set.large = communities(&kind, (large, Large::parse), LARGE, report);
        }
        if let Some(kind) = kinds.get("extended") {
            set.extended = communities(&kind, (extended, Extended::parse), EXTENDED, report);
        }
        kinds.close_strictly(report);
    }
    fields.close_strictly(report);
    set
}

fn med_of(field: &Field<'_>, report: &mut Report) -> Option<SetMed> {
    let mut fields = field.fields(report)?;
    let value = fields.get("value");
    let add = fields.get("add");
    let remove = fields.get("remove");
    fields.close_strictly(report);
    let most = i64::from(u32::MAX);
    match (value, add, remove) {
        (Some(value), None, None) => value.integer(0..=u32::MAX, report).map(SetMed::Value),
        (None, Some(add), None) => add.integer(-most..=most, report).map(SetMed::Add),
        (None, None, Some(remove)) => remove
            .boolean(report)?
            .then_some(SetMed::Remove)
            .or_else(|| remove.refuse(report, "true, or leave it out")),
        (None, None, None) => field.refuse(report, "one of value, add and remove"),
        (value, add, remove) => {
            let there = [("value", value), ("add", add), ("remove", remove)];
            let there = there.into_iter().filter(|(_, field)| field.is_some());
            let there: Vec<&str> = there.map(|(name, _)| name).collect();
            let there = there.join(" and ");
            field.fault(report, format!("has {there}: one of value, add and remove"));
            None
        }
    }
}

fn prepend_of(field: &Field<'_>, report: &mut Report) -> Option<(u32, u8)> {
    let mut fields = field.fields(report)?;
    let asn = fields.require("asn", "the AS number to put in front", report);
    let asn = asn.and_then(|field| super::neighbor::as_number(&field, report));
    let count = match fields.get("count") {
        Some(field) => field.integer(1..=PREPEND_MAX, report),
        None => Some(1),
    };
    fields.close_strictly(report);
    Some((asn?, count?))
}

fn next_hop_of(field: &Field<'_>, report: &mut Report) -> Option<SetNextHop> {
    const ACCEPTED: &str = "Self, Unchanged, PeerAddress or the address of one host";
    let Value::String(text) = &field.node.value else {
        return field.refuse(report, ACCEPTED);
    };
    match text.as_str() {
        "Self" => return Some(SetNextHop::Own),
        "Unchanged" => return Some(SetNextHop::Unchanged),
        "PeerAddress" => return Some(SetNextHop::PeerAddress),
        _ => {}
    }
    let address: Option<std::net::IpAddr> = text.parse().ok();
    let is_host = |address: &std::net::IpAddr| match address {
        std::net::IpAddr::V4(v4) => {
            !(v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast() || v4.is_loopback())
        }
        // RFC 2545 §3: the next hop is a global address.
        std::net::IpAddr::V6(v6) => {
            let no_host = v6.is_unspecified() || v6.is_multicast() || v6.is_loopback();
            !(no_host || v6.is_unicast_link_local() || v6.to_ipv4_mapped().is_some())
        }
    };
    match address.filter(is_host) {
        Some(address) => Some(SetNextHop::Address(address)),
        None => field.refuse(report, ACCEPTED),
    }
}

/// What reads a value or a pattern.
type Read<T> = fn(&str) -> Option<T>;

fn communities<V, P>(
    field: &Field<'_>,
    (value, pattern): (Read<V>, Read<P>),
    accepted: Accepted,
    report: &mut Report,
) -> CommunitySet<V, P> {
    let mut set = CommunitySet::default();
    let Some(mut fields) = field.fields(report) else {
        return set;
    };
    let values = |name, fields: &mut Fields<'_>, report: &mut Report| {
        let field = fields.get(name)?;
        let values = communities_of(&field, value, (accepted, accepted.value), report);
        if values.len() > ADDED_MAX {
            let count = values.len();
            field.fault(
                report,
                format!("{count} communities; at most {ADDED_MAX} are accepted"),
            );
        }
        Some(values)
    };
    set.replace = values("replace", &mut fields, report);
    set.add = values("add", &mut fields, report).unwrap_or_default();
    if let Some(field) = fields.get("remove") {
        set.remove = communities_of(&field, pattern, (accepted, accepted.pattern), report);
    }
    if set.replace.is_some() && !(set.add.is_empty() && set.remove.is_empty()) {
        let message =
            "replace takes the place of all there are: put into it what add and remove say";
        field.fault(report, message);
    }
    fields.close_strictly(report);
    set
}
