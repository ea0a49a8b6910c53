//! The fields that the contract names and that are not built yet.
//!
//! They are known by name, so that nobody reads "unknown field" where "not yet" is meant, and they
//! are never ignored: whatever asks for more than the field's being off is a fault.

use super::fields::{Field, Fields};
use super::node::Value;
use crate::watcher::fault::Report;

/// What may be written for now.
enum Off {
    /// Nothing.
    Never,
    /// Anything: without another field it has no effect.
    Anything,
    False,
    Zero,
    EmptyText,
    EmptyList,
    EmptyMap,
    /// A mapping with these fields.
    Fields(&'static [(&'static str, Off)]),
}

/// Fields of `spec.bgpPeering`.
const PEERING: &[(&str, Off)] = &[
    ("clusterID", Off::Never),
    ("nodes", Off::EmptyList),
    ("templates", Off::EmptyMap),
    (
        "rpki",
        Off::Fields(&[
            ("caches", Off::EmptyList),
            ("refreshSeconds", Off::Anything),
            ("retrySeconds", Off::Anything),
            ("expireSeconds", Off::Anything),
        ]),
    ),
    ("limits", Off::Fields(&[("memoryBytes", Off::Never)])),
];

/// Fields of a neighbor.
const NEIGHBOR: &[(&str, Off)] = &[
    ("template", Off::Never),
    ("peerPrefix", Off::Never),
    ("autoDiscovery", Off::Never),
    ("maxDynamicPeers", Off::Anything),
    (
        "gracefulRestart",
        Off::Fields(&[
            ("enabled", Off::False),
            ("helper", Off::False),
            ("restartTimeSeconds", Off::Anything),
            ("staleTimeSeconds", Off::Anything),
            ("selectionDeferralSeconds", Off::Anything),
            ("notification", Off::Anything),
        ]),
    ),
    (
        "longLivedGracefulRestart",
        Off::Fields(&[("enabled", Off::False), ("staleTimeSeconds", Off::Anything)]),
    ),
    (
        "capabilities",
        Off::Fields(&[
            ("extendedMessages", Off::False),
            ("extendedNextHop", Off::False),
            ("enhancedRefresh", Off::False),
            ("fqdn", Off::False),
        ]),
    ),
    (
        "addPaths",
        Off::Fields(&[("send", Off::Zero), ("receive", Off::False)]),
    ),
    ("routeReflectorClient", Off::False),
    ("routeServerClient", Off::False),
    ("role", Off::EmptyText),
    ("roleStrict", Off::False),
    (
        "builtinFilters",
        Off::Fields(&[
            ("martians", Off::False),
            ("asSet", Off::False),
            ("firstAS", Off::False),
            ("ownPrefixes", Off::False),
        ]),
    ),
    (
        "maxPrefixes",
        Off::Fields(&[
            ("ipv4", Off::Zero),
            ("ipv6", Off::Zero),
            ("action", Off::Anything),
            ("warningPercent", Off::Anything),
            ("restartAfterSeconds", Off::Anything),
        ]),
    ),
];

/// Says which fields of `spec.bgpPeering` are not built yet.
pub(super) fn in_peering(fields: &mut Fields<'_>, report: &mut Report) {
    refuse(fields, PEERING, report);
}

/// Says which fields of a neighbor are not built yet.
pub(super) fn in_neighbor(fields: &mut Fields<'_>, report: &mut Report) {
    refuse(fields, NEIGHBOR, report);
}

/// Whether this is a kind of the contract that is not read yet.
pub(super) fn is_kind(group: &str, kind: &str) -> bool {
    match group {
        "cilium.io" => kind.starts_with("CiliumBGP"),
        "ringbgp.io" => true,
        _ => false,
    }
}

fn refuse(fields: &mut Fields<'_>, table: &'static [(&'static str, Off)], report: &mut Report) {
    for (name, off) in table {
        if let Some(field) = fields.get(name) {
            judge(&field, off, report);
        }
    }
}

fn judge(field: &Field<'_>, off: &'static Off, report: &mut Report) {
    let value = &field.node.value;
    let accepted = match off {
        Off::Never => {
            return field.fault(report, "not supported yet; leave it out");
        }
        Off::Anything => return,
        Off::False if *value == Value::Bool(false) => return,
        Off::Zero if *value == Value::Integer(0) => return,
        Off::EmptyText if matches!(value, Value::String(text) if text.is_empty()) => return,
        Off::EmptyList if matches!(value, Value::List(list) if list.is_empty()) => return,
        Off::EmptyMap if matches!(value, Value::Map(map) if map.is_empty()) => return,
        Off::Fields(table) => {
            if let Some(mut fields) = field.fields(report) {
                refuse(&mut fields, table, report);
                fields.close_strictly(report);
            }
            return;
        }
        Off::False => "false",
        Off::Zero => "0",
        Off::EmptyText => "\"\"",
        Off::EmptyList => "[]",
        Off::EmptyMap => "{}",
    };
    field.fault(
        report,
        format!(
            "{} is not supported yet; accepted for now: {accepted}",
            value.describe()
        ),
    );
}
