//! The fields that the contract names and that are not built yet.
//!
//! They are known by name, so that nobody reads "unknown field" where "not yet" is meant. One rule
//! judges them all, and it stands in [`Off`]: a value passes if it asks for nothing beyond what
//! ringbgp does, which for most is that the thing is off; anything else is a fault, whether or not
//! it is the contract's default and whether or not it would have an effect. Nothing is ignored.

use super::fields::{Field, Fields};
use super::node::Value;
use crate::watcher::fault::Report;

/// The value that asks for nothing, and so may be written for now.
enum Off {
    /// There is none: every value asks for something.
    Never,
    False,
    Zero,
    /// A mapping with these fields.
    Fields(&'static [(&'static str, Off)]),
}

/// Fields of a neighbor.
const NEIGHBOR: &[(&str, Off)] = &[(
    "longLivedGracefulRestart",
    Off::Fields(&[("enabled", Off::False), ("staleTimeSeconds", Off::Never)]),
)];

/// Fields of a neighbor's `timers`.
const TIMERS: &[(&str, Off)] = &[("advertisementIntervalSeconds", Off::Zero)];

/// Says which fields of a neighbor are not built yet.
pub(super) fn in_neighbor(fields: &mut Fields<'_>, report: &mut Report) {
    refuse(fields, NEIGHBOR, report);
}

/// Says which fields of a neighbor's `timers` are not built yet.
pub(super) fn in_timers(fields: &mut Fields<'_>, report: &mut Report) {
    refuse(fields, TIMERS, report);
}

/// Whether this is a kind of the contract that is not read yet.
pub(super) fn is_kind(group: &str, kind: &str) -> bool {
    match group {
        "cilium.io" => kind.starts_with("CiliumBGP"),
        "ringbgp.io" => kind != "RoutePolicy",
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
        Off::False if *value == Value::Bool(false) => return,
        Off::Zero if *value == Value::Integer(0) => return,
        Off::Fields(table) => {
            if let Some(mut fields) = field.fields(report) {
                refuse(&mut fields, table, report);
                fields.close_strictly(report);
            }
            return;
        }
        Off::False => "false",
        Off::Zero => "0",
    };
    field.fault(
        report,
        format!(
            "{} is not supported yet; accepted for now: {accepted}",
            value.describe()
        ),
    );
}
