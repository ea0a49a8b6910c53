//! `routeReflectorClient` and `routeServerClient` of a neighbor.

use super::fields::{Field, Fields};
use super::neighbor::OwnAsn;
use crate::config::{Client, Export, Import, PeerAsn, Role};
use crate::watcher::fault::Report;

/// What the neighbor is a client of. The rest of its settings is read already; No
/// number of `own_asn` is a fault of its own.
pub(super) fn client(
    fields: &mut Fields<'_>,
    (peer_asn, own_asn): (Option<PeerAsn>, OwnAsn),
    (import, export): (&Import, &Export),
    role: Option<Role>,
    report: &mut Report,
) -> Option<Client> {
    let reflector = wanted(fields, "routeReflectorClient", report);
    let server = wanted(fields, "routeServerClient", report);
    let internal = match peer_asn? {
        PeerAsn::Internal => Some(true),
        PeerAsn::External => Some(false),
        PeerAsn::Number(asn) => own_asn.number.map(|own| asn == own),
        PeerAsn::Any => None,
    };
    let (field, client) = match (reflector, server) {
        (None, None) => return None,
        (Some(_), Some(field)) => {
            field.fault(report, "routeReflectorClient is there too: one of the two");
            return None;
        }
        (Some(field), None) if internal == Some(false) => {
            let message = format!(
                "true is not accepted for a peer of another AS than ours{}: a reflector's clients \
                 are internal peers (RFC 4456)",
                own_asn.origin()
            );
            field.fault(report, message);
            return None;
        }
        (None, Some(field)) if internal == Some(true) => {
            let message = format!(
                "true is not accepted for a peer of our own AS{}: a route server's clients are \
                 external peers (RFC 7947)",
                own_asn.origin()
            );
            field.fault(report, message);
            return None;
        }
        (None, Some(field)) if role == Some(Role::RouteServerClient) => {
            let message = "true does not go with role: rs-client, by which the neighbor is the \
                           route server and we its client: role rs, or none, is accepted";
            field.fault(report, message);
            return None;
        }
        (Some(field), None) => (field, Client::RouteReflector),
        (None, Some(field)) => (field, Client::RouteServer),
    };
    if *import == Import::None && matches!(export, Export::Originated | Export::None) {
        let message = "true has no effect: nothing of this neighbor is passed on while its import \
                       is none, and nothing to it unless its export is all or a RoutePolicy";
        field.warn(report, message);
    }
    Some(client)
}

/// The field, if it says true.
fn wanted<'n>(
    fields: &mut Fields<'n>,
    name: &'static str,
    report: &mut Report,
) -> Option<Field<'n>> {
    let field = fields.get(name)?;
    (field.boolean(report) == Some(true)).then_some(field)
}
