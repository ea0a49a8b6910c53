//! The fields that the contract names and that are not built yet.
//!
//! They are known by name, so that nobody reads "unknown field" where "not yet" is meant. A value
//! passes if it asks for nothing beyond what ringbgp does; anything else is a fault, whether or not it
//! is the contract's default and whether or not it would have an effect. Nothing is ignored.

use super::fields::Fields;
use super::node::Value;
use crate::watcher::fault::Report;

/// Fields of a neighbor's `timers`, of which 0 asks for nothing.
const TIMERS: &[&str] = &["advertisementIntervalSeconds"];

/// Says which fields of a neighbor's `timers` are not built yet.
pub(super) fn in_timers(fields: &mut Fields<'_>, report: &mut Report) {
    for name in TIMERS {
        let field = fields.get(name);
        if let Some(field) = field.filter(|field| field.node.value != Value::Integer(0)) {
            let written = field.node.value.describe();
            let message = format!("{written} is not supported yet; accepted for now: 0");
            field.fault(report, message);
        }
    }
}

/// Whether this is a kind of the contract that is not read yet.
pub(super) fn is_kind(group: &str, kind: &str) -> bool {
    match group {
        "cilium.io" => kind.starts_with("CiliumBGP"),
        "ringbgp.io" => kind != "RoutePolicy",
        _ => false,
    }
}
