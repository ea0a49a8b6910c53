//! Whether a neighbor is told own routes, and what these carry then, for `check`. Reads attributes and
//! decides nothing.

use std::sync::Arc;

use codec::IpPrefix;
use serde::Serialize;

use crate::model::{Route, Segment, attributes};

/// Whether a neighbor is told own routes of one family once its session stands.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Receiver {
    pub(super) peer_address: String,
    pub(super) announced: bool,
    /// None if not announced, or if only the session will tell.
    pub(super) next_hop: Option<String>,
    /// The policy and statement that set the next hop; none: the neighbor's settings do.
    pub(super) next_hop_by: Option<String>,
    /// What the next hop depends on, where only the session will tell.
    pub(super) next_hop_note: Option<String>,
    /// What the route carries as it is told; none if it is not announced.
    pub(super) attributes: Option<Arc<Attributes>>,
    /// Why it is not announced.
    pub(super) reason: Option<String>,
    /// All that it lacks is a next hop, which a policy may set.
    #[serde(skip)]
    pub(super) lacks_next_hop: bool,
    /// The next hop, or that there is none, comes from this machine's addresses and not from the
    /// resources.
    #[serde(skip)]
    pub(super) of_this_machine: bool,
    /// What it is told other than the own route carries, for people.
    #[serde(skip)]
    pub(super) differs: String,
}

/// What a route carries beside the next hop, named as in `routes -o json`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Attributes {
    origin: Option<String>,
    as_path: Option<Vec<Segment>>,
    local_pref: Option<u32>,
    med: Option<u32>,
    communities: Option<Vec<String>>,
    large_communities: Option<Vec<String>>,
    extended_communities: Option<Vec<String>>,
    otc: Option<u32>,
}

impl Attributes {
    pub(super) fn of(prefix: IpPrefix, canonical: &[u8]) -> Attributes {
        let mut route = Route::new("", prefix);
        attributes::fill(&mut route, canonical);
        Attributes {
            origin: route.origin,
            as_path: route.as_path,
            local_pref: route.local_pref,
            med: route.med,
            communities: route.communities,
            large_communities: route.large_communities,
            extended_communities: route.extended_communities,
            otc: route.otc,
        }
    }

    /// What is other than in `own`, or was not to be expected of it: `, MED 9`. `plain`: the AS path of
    /// who is told it with nothing prepended. LOCAL_PREF counts only where it is told.
    pub(super) fn beside(&self, own: &Attributes, plain: &[u32]) -> String {
        let mut parts = Vec::new();
        let segments = self.as_path.iter().flatten();
        let path: Vec<u32> = segments.flat_map(|s| s.asns.iter().copied()).collect();
        if path != plain {
            let path: Vec<String> = path.iter().map(u32::to_string).collect();
            parts.push(format!("AS path {}", path.join(" ")));
        }
        if self.local_pref != own.local_pref {
            parts.extend(self.local_pref.map(|is| format!("local preference {is}")));
        }
        parts.extend(self.med.map(|med| format!("MED {med}")));
        for (name, told, own) in [
            ("communities", &self.communities, &own.communities),
            (
                "large communities",
                &self.large_communities,
                &own.large_communities,
            ),
            (
                "extended communities",
                &self.extended_communities,
                &own.extended_communities,
            ),
        ] {
            match told {
                told if told == own => {}
                Some(values) => parts.push(format!("{name} {}", values.join(" "))),
                None => parts.push(format!("no {name}")),
            }
        }
        parts.extend(self.otc.map(|asn| format!("OTC {asn}")));
        parts.into_iter().map(|part| format!(", {part}")).collect()
    }
}
