//! `advertise` and `guard` of `spec.bgpPeering`.

use codec::Family;

use super::fields::{Field, Fields, longest};
use super::metadata::selector;
use super::node::Value;
use crate::config::OriginAttributes;
use crate::policy::WELL_KNOWN;
use crate::watcher::fault::Report;
use crate::watcher::resource::{Advertise, GuardSpec, PodCidrs, PrefixMatch};
use crate::watcher::selector::Selector;

/// Standard communities on one route; with the large ones they leave room for prefixes in every
/// message of 4,096 octets.
const STANDARD_MAX: usize = 128;
/// Large communities on one route.
const LARGE_MAX: usize = 64;

/// What is announced when nothing is written.
pub(super) fn default_advertise() -> Advertise {
    Advertise {
        network_policies: true,
        policy_selector: Selector::default(),
        namespace_selector: Selector::default(),
        pod_cidrs: PodCidrs::CoveredByPolicy,
        attributes: OriginAttributes {
            communities: Vec::new(),
            large_communities: Vec::new(),
            local_preference: 100,
        },
    }
}

/// The guard when nothing is written.
pub(super) fn default_guard() -> GuardSpec {
    GuardSpec {
        deny: Vec::new(),
        allow: Vec::new(),
        lengths: [(8, 32), (16, 128)],
        max_prefixes: [200_000, 200_000],
        cluster_cidrs: None,
    }
}

pub(super) fn advertise(field: &Field<'_>, report: &mut Report) -> Advertise {
    let mut advertise = default_advertise();
    let Some(mut fields) = field.fields(report) else {
        return advertise;
    };
    if let Some(field) = fields.get("networkPolicies") {
        if matches!(&field.node.value, Value::String(text) if text == "LocalEndpoints") {
            field.fault(
                report,
                "\"LocalEndpoints\" is not supported yet; accepted for now: Applied, Off",
            );
        } else {
            advertise.network_policies = field
                .word(&[("Applied", true), ("Off", false)], report)
                .unwrap_or(true);
        }
    }
    if let Some(field) = fields.get("policySelector") {
        advertise.policy_selector = selector(&field, true, report);
    }
    if let Some(field) = fields.get("namespaceSelector") {
        advertise.namespace_selector = selector(&field, true, report);
    }
    if let Some(field) = fields.get("podCIDRs") {
        let words = [
            ("CoveredByPolicy", PodCidrs::CoveredByPolicy),
            ("All", PodCidrs::All),
            ("Off", PodCidrs::Off),
        ];
        advertise.pod_cidrs = field.word(&words, report).unwrap_or(PodCidrs::Off);
    }
    if let Some(field) = fields.get("attributes") {
        attributes(&field, &mut advertise.attributes, report);
    }
    fields.close_strictly(report);
    advertise
}

fn attributes(field: &Field<'_>, attributes: &mut OriginAttributes, report: &mut Report) {
    let Some(mut fields) = field.fields(report) else {
        return;
    };
    if let Some(field) = fields.get("localPreference") {
        attributes.local_preference = field.integer(0..=u32::MAX, report).unwrap_or(100);
    }
    if let Some(field) = fields.get("communities")
        && let Some(mut communities) = field.fields(report)
    {
        let standard = communities.get("standard");
        collect(
            standard,
            &mut attributes.communities,
            standard_community,
            report,
        );
        let well_known = communities.get("wellKnown");
        let by_name = |field: &Field<'_>, report: &mut Report| field.word(WELL_KNOWN, report);
        collect(well_known, &mut attributes.communities, by_name, report);
        let large = communities.get("large");
        collect(
            large,
            &mut attributes.large_communities,
            large_community,
            report,
        );
        communities.close_strictly(report);
        let counts = [
            (
                "standard and well-known",
                attributes.communities.len(),
                STANDARD_MAX,
            ),
            ("large", attributes.large_communities.len(), LARGE_MAX),
        ];
        for (which, count, max) in counts {
            if count > max {
                let message = format!("{count} {which} communities; at most {max} are accepted");
                field.fault(report, message);
            }
        }
    }
    fields.close_strictly(report);
}

fn collect<T: Ord>(
    field: Option<Field<'_>>,
    into: &mut Vec<T>,
    read: impl Fn(&Field<'_>, &mut Report) -> Option<T>,
    report: &mut Report,
) {
    let elements = field.and_then(|field| field.list(report));
    for element in elements.unwrap_or_default() {
        into.extend(read(&element, report));
    }
    into.sort_unstable();
    into.dedup();
}

fn standard_community(field: &Field<'_>, report: &mut Report) -> Option<u32> {
    let text = field.scalar(report)?;
    let value = match text.split_once(':') {
        Some((high, low)) => match (high.parse::<u16>(), low.parse::<u16>()) {
            (Ok(high), Ok(low)) => Some(u32::from(high) << 16 | u32::from(low)),
            _ => None,
        },
        None => text.parse().ok(),
    };
    if value.is_none() {
        field.fault(
            report,
            format!(
                "{} is not accepted: a community, for example \"65000:1\"",
                field.node.value.describe()
            ),
        );
    }
    value
}

fn large_community(field: &Field<'_>, report: &mut Report) -> Option<[u32; 3]> {
    let text = field.scalar(report)?;
    let parts: Vec<u32> = text
        .split(':')
        .map_while(|part| part.parse().ok())
        .collect();
    match <[u32; 3]>::try_from(parts) {
        Ok(value) if text.split(':').count() == 3 => Some(value),
        _ => {
            field.fault(
                report,
                format!(
                    "{} is not accepted: a large community, for example \"65000:1:2\"",
                    field.node.value.describe()
                ),
            );
            None
        }
    }
}

pub(super) fn guard(field: &Field<'_>, report: &mut Report) -> GuardSpec {
    let mut guard = default_guard();
    let Some(mut fields) = field.fields(report) else {
        return guard;
    };
    if let Some(field) = fields.get("deny") {
        guard.deny = prefix_matches(&field, false, report);
    }
    if let Some(field) = fields.get("allow") {
        guard.allow = prefix_matches(&field, true, report);
    }
    if let Some(field) = fields.get("prefixLength") {
        per_family(&field, report, |family, field, report| {
            guard.lengths[family.index()] =
                length_range(&field, family, guard.lengths[family.index()], report);
        });
    }
    if let Some(field) = fields.get("maxPrefixes") {
        per_family(&field, report, |family, field, report| {
            if let Some(max) = field.integer(0..=u32::MAX, report) {
                guard.max_prefixes[family.index()] = max as usize;
            }
        });
    }
    if let Some(field) = fields.get("clusterCIDRs") {
        let elements = field.list(report).unwrap_or_default();
        let prefixes = elements.iter().filter_map(|e| e.strict_prefix(report));
        guard.cluster_cidrs = Some(prefixes.collect());
    }
    fields.close_strictly(report);
    guard
}

fn per_family(
    field: &Field<'_>,
    report: &mut Report,
    mut read: impl FnMut(Family, Field<'_>, &mut Report),
) {
    let Some(mut fields) = field.fields(report) else {
        return;
    };
    for (name, family) in [("ipv4", Family::Ipv4Unicast), ("ipv6", Family::Ipv6Unicast)] {
        if let Some(field) = fields.get(name) {
            read(family, field, report);
        }
    }
    fields.close_strictly(report);
}

fn length_range(
    field: &Field<'_>,
    family: Family,
    default: (u8, u8),
    report: &mut Report,
) -> (u8, u8) {
    let Some(mut fields) = field.fields(report) else {
        return default;
    };
    let bound = |fields: &mut Fields<'_>, name, default, report: &mut Report| {
        let field = fields.get(name);
        field.map_or(default, |field| {
            field
                .integer(0..=longest(family), report)
                .unwrap_or(default)
        })
    };
    let min = bound(&mut fields, "min", default.0, report);
    let max = bound(&mut fields, "max", default.1, report);
    fields.close_strictly(report);
    if min > max {
        field.fault(
            report,
            format!("min {min} is above max {max}: no length is left"),
        );
    }
    (min, max)
}

/// `"10.0.0.0/8"`, or a mapping with `ge` and `le`. A bare prefix means exactly itself in a list of
/// refusals, and itself with all that lies within in a list of permissions.
fn prefix_matches(field: &Field<'_>, or_longer: bool, report: &mut Report) -> Vec<PrefixMatch> {
    let elements = field.list(report).unwrap_or_default();
    elements
        .iter()
        .filter_map(|element| prefix_match(element, or_longer, report))
        .collect()
}

pub(super) fn prefix_match(
    field: &Field<'_>,
    or_longer: bool,
    report: &mut Report,
) -> Option<PrefixMatch> {
    let Value::Map(_) = field.node.value else {
        let prefix = field.strict_prefix(report)?;
        let exactly = prefix.length();
        return Some(PrefixMatch {
            prefix,
            shortest: exactly,
            longest: if or_longer {
                longest(prefix.family())
            } else {
                exactly
            },
        });
    };
    let mut fields = field.fields(report)?;
    let prefix = fields.require("prefix", "for example 10.0.0.0/8", report);
    let prefix = prefix.and_then(|field| field.strict_prefix(report));
    let (ge, le) = (fields.get("ge"), fields.get("le"));
    fields.close_strictly(report);
    let prefix = prefix?;
    let range = prefix.length()..=longest(prefix.family());
    let open_ended = or_longer || ge.is_some();
    let shortest = match ge {
        Some(field) => field.integer(range.clone(), report)?,
        None => prefix.length(),
    };
    let longest = match le {
        Some(field) => field.integer(shortest..=*range.end(), report)?,
        None if open_ended => *range.end(),
        None => prefix.length(),
    };
    Some(PrefixMatch {
        prefix,
        shortest,
        longest,
    })
}
