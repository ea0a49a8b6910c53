//! `role` and `roleStrict` of a neighbor (RFC 9234).

use super::fields::Fields;
use super::neighbor::OwnAsn;
use super::node::Value;
use crate::config::{PeerAsn, Role};
use crate::watcher::fault::Report;

/// What we are to the neighbor, and whether it has to tell what it is to us.
pub(super) fn role(
    fields: &mut Fields<'_>,
    (peer_asn, own_asn): (Option<PeerAsn>, OwnAsn),
    report: &mut Report,
) -> (Option<Role>, bool) {
    let strict = fields.get("roleStrict");
    let is_strict = strict.as_ref().and_then(|field| field.boolean(report)) == Some(true);
    let is_empty = |value: &Value| matches!(value, Value::String(text) if text.is_empty());
    let field = fields
        .get("role")
        .filter(|field| !is_empty(&field.node.value));
    let Some(field) = field else {
        if let Some(strict) = strict.filter(|_| is_strict) {
            strict.warn(report, "true has no effect: there is no role");
        }
        return (None, is_strict);
    };
    let words = Role::ALL.map(|role| (role.word(), role));
    let role = field.word(&words, report);
    let internal = match peer_asn {
        Some(PeerAsn::Internal) => true,
        Some(PeerAsn::Number(asn)) => Some(asn) == own_asn.number,
        Some(PeerAsn::Any | PeerAsn::External) | None => false,
    };
    if internal && role.is_some() {
        let message = format!(
            "is not accepted for a peer of our own AS{}: roles are of external peers (RFC 9234)",
            own_asn.origin()
        );
        field.fault(report, message);
    }
    (role, is_strict)
}
