//! Reflection (RFC 4456): which routes pass between internal peers, and what marks them.
//!
//! A route that a client said goes to every internal peer, one that another internal peer said to
//! clients only. Whoever reflects adds ORIGINATOR_ID where there is none and its cluster id in front
//! of CLUSTER_LIST, and changes nothing else; whoever reads its own id in them refuses the route, on
//! receipt (`shard/receive.rs`).
//!
//! A reflected route does go back to the client that ORIGINATOR_ID names, if it came by way of
//! another peer: the client drops it (RFC 4456 §8). To keep it back would cost a group a look at
//! each member, and BIRD and FRR (with several peers in a group) send it too.

use std::net::Ipv4Addr;

use codec::{AttributeSet, AttributeWriter, PeerKind};
use rib::{SourceInfo, SourceKind, Summary};

use super::view::ExportView;
use crate::config::Client;
use crate::policy::NextHopChoice;

/// What export must know of where a path came from.
///
/// The export of an attribute set is shared by all paths whose sources are equal in this, so it
/// holds what changes bytes and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PathSource {
    /// Ourselves, an external or an internal peer, a client.
    pub kind: SourceKind,
    /// The ORIGINATOR_ID that the path is reflected with; none: it is not reflected.
    pub originator: Option<Ipv4Addr>,
    /// What export policy made of the next hop.
    pub next_hop: NextHopChoice,
    /// Whether export policy set MULTI_EXIT_DISC.
    pub sets_med: bool,
    /// Whether it had LLGR_STALE before export policy (RFC 9494).
    pub stale: bool,
}

impl PathSource {
    /// Of a path from `source` whose attributes are summed up in `summary`, for the peers of
    /// `view`.
    pub fn of(view: &ExportView, source: &SourceInfo, summary: &Summary) -> PathSource {
        let said = summary.originator_id;
        let originator = said.unwrap_or(source.router_id);
        PathSource {
            kind: source.kind,
            originator: reflects(view, source.kind).then_some(originator),
            next_hop: NextHopChoice::BySettings,
            sets_med: false,
            stale: summary.long_lived_stale,
        }
    }

    /// Whether an internal peer said it.
    pub(super) fn is_internal(&self) -> bool {
        matches!(self.kind, SourceKind::Internal | SourceKind::Client)
    }
}

/// RFC 4456 §6.
fn reflects(view: &ExportView, from: SourceKind) -> bool {
    let to_client = view.client == Some(Client::RouteReflector);
    view.peer == PeerKind::Internal
        && match from {
            SourceKind::Client => true,
            SourceKind::Internal => to_client,
            SourceKind::Local | SourceKind::External | SourceKind::Served => false,
        }
}

/// ORIGINATOR_ID and CLUSTER_LIST of a reflected route (RFC 4456 §8).
pub(super) fn write(
    view: &ExportView,
    originator: Ipv4Addr,
    set: &AttributeSet<'_>,
    writer: &mut AttributeWriter<'_>,
) {
    // RFC-DONE 4456 §8: ORIGINATOR_ID where there is none, and our cluster in front of CLUSTER_LIST.
    writer.originator_id(originator);
    let clusters: Vec<Ipv4Addr> = view
        .cluster_id
        .into_iter()
        .chain(set.cluster_list())
        .collect();
    writer.cluster_list(&clusters);
}
