//! Routes as `ringbgp routes` asks for them and shows them, a page at a time.

use codec::{Family, IpPrefix};
use serde::{Deserialize, Serialize};

use super::text::{SAFI_UNICAST, afi_name, family_text, peer_text, prefix_text};
use crate::config::{PeerAddress, RouteSource};

/// One path of one prefix, as `ringbgp routes … -o json` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// `default`, or the name of a BGP instance.
    pub instance: String,
    /// `ipv4` or `ipv6`.
    pub afi: String,
    /// `unicast`.
    pub safi: String,
    /// The prefix, for example `10.0.1.0/24`.
    pub prefix: String,
    /// The peer that the path was learned from, with `%zone` where there is one; none for own
    /// routes.
    pub peer_address: Option<String>,
    /// The peer that the path is told to; only in `routes advertised`.
    pub advertised_to: Option<String>,
    /// NEXT_HOP, or the global next hop of MP_REACH_NLRI. None for own routes in the Loc-RIB: each
    /// peer is told its own.
    pub next_hop: Option<String>,
    /// The second, link-local next hop of RFC 2545 §3.
    pub link_local_next_hop: Option<String>,
    /// `IGP`, `EGP` or `INCOMPLETE`.
    pub origin: Option<String>,
    /// The AS_PATH; empty for a path that has not left its AS.
    pub as_path: Option<Vec<Segment>>,
    /// LOCAL_PREF.
    pub local_pref: Option<u32>,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// RFC 1997 values as `65000:1`.
    pub communities: Option<Vec<String>>,
    /// RFC 8092 values as `65000:1:2`.
    pub large_communities: Option<Vec<String>>,
    /// RFC 4360 values as `rt:65000:1`, then RFC 5701 values as `rt:[2001:db8::1]:100`; of other types
    /// than `rt` and `soo` as hexadecimal digits after `0x`.
    pub extended_communities: Option<Vec<String>>,
    /// ORIGINATOR_ID (RFC 4456).
    #[serde(rename = "originatorID")]
    pub originator_id: Option<String>,
    /// CLUSTER_LIST (RFC 4456).
    pub cluster_list: Option<Vec<String>>,
    /// Only to Customer (RFC 9234).
    pub otc: Option<u32>,
    /// Attributes carried along without being understood.
    pub unknown_attributes: Option<Vec<UnknownAttribute>>,
    /// Whether this is the path in use for its prefix.
    pub best: bool,
    /// Whether import let it through; true for own routes.
    pub accepted: bool,
    /// What rejected it.
    pub rejected_by: Option<String>,
    /// Its peer has yet to say it again: kept past the end of its session (RFC 4724, RFC 9494), or of
    /// before a refresh that goes on (RFC 7313).
    pub stale: bool,
    /// The state of origin validation (RFC 6811): `valid`, `invalid` or `notFound`; none where no cache
    /// is configured, and of own routes but as they are told.
    pub validation: Option<String>,
    /// The path identifier (RFC 7911); none without ADD-PATH.
    pub path_id: Option<u32>,
    /// The rule that asks for it; none for learned routes.
    pub source: Option<Source>,
    /// AGGREGATOR: who made one route of several.
    pub aggregator: Option<Aggregator>,
    /// ATOMIC_AGGREGATE: an aggregate whose AS_PATH lacks ASes on the way.
    pub atomic_aggregate: bool,
}

impl Route {
    /// A path of `prefix` with no attributes yet, accepted and not best.
    pub fn new(instance: &str, prefix: IpPrefix) -> Route {
        Route {
            instance: instance.to_owned(),
            afi: afi_name(prefix.family()).to_owned(),
            safi: SAFI_UNICAST.to_owned(),
            prefix: prefix.to_string(),
            peer_address: None,
            advertised_to: None,
            next_hop: None,
            link_local_next_hop: None,
            origin: None,
            as_path: None,
            local_pref: None,
            med: None,
            communities: None,
            large_communities: None,
            extended_communities: None,
            originator_id: None,
            cluster_list: None,
            otc: None,
            unknown_attributes: None,
            best: false,
            accepted: true,
            rejected_by: None,
            stale: false,
            validation: None,
            path_id: None,
            source: None,
            aggregator: None,
            atomic_aggregate: false,
        }
    }
}

/// The router that aggregated a route (RFC 4271 §5.1.7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aggregator {
    /// Its AS.
    pub asn: u32,
    /// Its BGP identifier.
    pub address: String,
}

/// A segment of an AS_PATH.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// What the numbers mean.
    #[serde(rename = "type")]
    pub kind: SegmentKind,
    /// The AS numbers in the order of the attribute.
    pub asns: Vec<u32>,
}

/// The types of AS_PATH segments (RFC 4271 §4.3, RFC 5065 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names of the RFCs")]
pub enum SegmentKind {
    Sequence,
    Set,
    ConfedSequence,
    ConfedSet,
}

/// A path attribute that is carried along without being understood (RFC 4271 §5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnknownAttribute {
    /// The attribute's type code.
    #[serde(rename = "type")]
    pub code: u8,
    /// The attribute's flags: as received, and with Partial (RFC 4271 §5) as peers are told.
    pub flags: u8,
    /// The value's octets in hexadecimal.
    pub value: String,
}

/// Which rule of which resource asks for a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// For example `CiliumNetworkPolicy`.
    pub kind: String,
    /// None for cluster-wide kinds.
    pub namespace: Option<String>,
    /// The resource's name.
    pub name: String,
    /// For example `spec.egress[0].toCIDR[1]`.
    pub rule: String,
}

impl From<&RouteSource> for Source {
    fn from(source: &RouteSource) -> Source {
        Source {
            kind: source.kind.to_string(),
            namespace: (!source.namespace.is_empty()).then(|| source.namespace.to_string()),
            name: source.name.to_string(),
            rule: source.rule.to_string(),
        }
    }
}

/// Which table is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RoutesKind {
    /// The Loc-RIB.
    Available,
    /// The Adj-RIB-In of the peers, before import policy.
    Received,
    /// The Adj-RIB-Out of the peers.
    Advertised,
}

/// Which routes are meant, and from where on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RoutesQuery {
    /// The table.
    pub kind: RoutesKind,
    /// The name of an instance; none: all of them.
    #[serde(default)]
    pub instance: Option<String>,
    /// Only this family.
    #[serde(default, with = "family_text")]
    pub family: Option<Family>,
    /// Only the paths of this peer: learned from it or, in the Adj-RIB-Out, told to it.
    #[serde(default, with = "peer_text")]
    pub peer: Option<PeerAddress>,
    /// Only this prefix.
    #[serde(default, with = "prefix_text")]
    pub prefix: Option<IpPrefix>,
    /// With `prefix`: also everything within it.
    #[serde(default)]
    pub longer: bool,
    /// Where the page before ended; none: the first page.
    #[serde(default)]
    pub cursor: Option<RoutesCursor>,
}

impl RoutesQuery {
    /// All routes of a table from its start.
    pub fn all(kind: RoutesKind) -> RoutesQuery {
        RoutesQuery {
            kind,
            instance: None,
            family: None,
            peer: None,
            prefix: None,
            longer: false,
            cursor: None,
        }
    }

    /// Whether a route of `prefix` is among those meant. Instance, peer and cursor are the
    /// answerer's to look at.
    pub fn matches(&self, prefix: IpPrefix) -> bool {
        if self.family.is_some_and(|family| family != prefix.family()) {
            return false;
        }
        match self.prefix {
            None => true,
            Some(wanted) if self.longer => wanted.contains(prefix),
            Some(wanted) => wanted == prefix,
        }
    }
}

/// The place after which the next page goes on. Pages run by instance, shard, peer and prefix, in
/// ascending order; whoever answers uses as many of these as it walks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RoutesCursor {
    /// The instance's number.
    pub instance: u8,
    /// The shard that the page came from.
    pub shard: u8,
    /// The peer that was being walked; none in the Loc-RIB, or before the first peer.
    #[serde(with = "peer_text")]
    pub peer: Option<PeerAddress>,
    /// The family that was being walked; none: `shard` and `peer` start afresh.
    #[serde(with = "family_text")]
    pub family: Option<Family>,
    /// The last prefix that the page before reached; none: the family starts afresh.
    #[serde(with = "prefix_text")]
    pub after: Option<IpPrefix>,
}

/// One page of routes. A page may be short, even empty, and still not be the last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoutesReply {
    /// At most about [`ROUTES_PAGE`] of them; all paths of one prefix stand in one page.
    pub routes: Vec<Route>,
    /// Where the next page starts; none: this was the last.
    pub more: Option<RoutesCursor>,
    /// What a reader must know to read the table right, one sentence each: for example that a
    /// peer's received routes are counted and not kept.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// How many routes a page holds at most, all paths of its last prefix aside: what a shard answers
/// without keeping its sessions waiting.
pub const ROUTES_PAGE: usize = 512;

#[cfg(test)]
mod tests {
    use super::super::parse_prefix;
    use super::*;

    #[test]
    fn a_route_has_exactly_the_promised_json() {
        let mut route = Route::new("default", parse_prefix("10.0.1.0/24").unwrap());
        route.as_path = Some(vec![Segment {
            kind: SegmentKind::ConfedSequence,
            asns: vec![65001, 4_200_000_000],
        }]);
        route.communities = Some(vec!["65000:1".to_owned()]);
        route.source = Some(Source {
            kind: "CiliumNetworkPolicy".to_owned(),
            namespace: Some("default".to_owned()),
            name: "allow-external-access".to_owned(),
            rule: "spec.egress[0].toCIDR[0]".to_owned(),
        });
        route.aggregator = Some(Aggregator {
            asn: 65002,
            address: "1.2.3.4".to_owned(),
        });
        assert_eq!(
            serde_json::to_string(&route).unwrap(),
            concat!(
                r#"{"instance":"default","afi":"ipv4","safi":"unicast","#,
                r#""prefix":"10.0.1.0/24","peerAddress":null,"advertisedTo":null,"#,
                r#""nextHop":null,"linkLocalNextHop":null,"origin":null,"#,
                r#""asPath":[{"type":"confedSequence","asns":[65001,4200000000]}],"#,
                r#""localPref":null,"med":null,"communities":["65000:1"],"#,
                r#""largeCommunities":null,"extendedCommunities":null,"originatorID":null,"#,
                r#""clusterList":null,"otc":null,"unknownAttributes":null,"best":false,"#,
                r#""accepted":true,"rejectedBy":null,"stale":false,"validation":null,"#,
                r#""pathId":null,"source":{"kind":"CiliumNetworkPolicy","namespace":"default","#,
                r#""name":"allow-external-access","rule":"spec.egress[0].toCIDR[0]"},"#,
                r#""aggregator":{"asn":65002,"address":"1.2.3.4"},"atomicAggregate":false}"#
            )
        );
    }

    #[test]
    fn a_query_means_a_prefix_or_what_lies_within_it() {
        let mut query = RoutesQuery::all(RoutesKind::Available);
        let inner = parse_prefix("10.0.1.0/24").unwrap();
        query.prefix = Some(parse_prefix("10.0.0.0/8").unwrap());
        assert!(!query.matches(inner));
        query.longer = true;
        assert!(query.matches(inner));
        query.family = Some(Family::Ipv6Unicast);
        assert!(!query.matches(inner));
    }
}
