//! What `peers`, `routes`, `explain` and `reset` ask and answer, with the JSON names that scripts
//! lean on.
//!
//! Values only: no I/O, no rendering. Invariant: what is absent is `null`, never 0 or "", and no
//! field is ever left out. The shards and the watcher fill these in, the command line shows them.

pub mod attributes;
mod peer;
mod policy;
mod rpki;

use std::net::IpAddr;

use codec::{Family, IpPrefix};
use serde::{Deserialize, Serialize};

pub use peer::{DrainState, FamilyCounts, MalformedUpdates, Peer, PeerState};
pub use policy::{Policy, PolicyStep, PrefixSet, Statement};

use crate::config::{PeerAddress, RouteSource};
use crate::watcher;

pub use rpki::{CoveringVrp, RpkiCache, RpkiQuery, RpkiState};

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
    /// RFC 4360 values as `rt:65000:1`.
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
        }
    }
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
    /// The attribute's flags.
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

/// Which sessions are meant: those of every instance, or of one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PeersQuery {
    /// The name of an instance; none: all of them.
    #[serde(default)]
    pub instance: Option<String>,
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

/// Which prefix is to be explained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExplainQuery {
    /// The name of an instance; none: all of them.
    #[serde(default)]
    pub instance: Option<String>,
    /// The prefix.
    #[serde(with = "required_prefix_text")]
    pub prefix: IpPrefix,
}

/// Why a prefix is announced, or not, in one instance: resource, rule, guard, policy, attributes,
/// peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// `default`, or the name of a BGP instance.
    pub instance: String,
    /// The prefix asked about.
    pub prefix: String,
    /// Whether any peer is told it.
    pub announced: bool,
    /// What the resources ask for and what became of it, by resource and rule.
    pub claims: Vec<Claim>,
    /// Own routes that cover the prefix or lie within it, at most a few.
    pub near: Vec<String>,
    /// What holds whatever the rules say, one sentence each.
    pub notes: Vec<String>,
    /// The VRPs that cover it, the nearest first (RFC 6811), at most 100; none: no cache is
    /// configured.
    pub vrps: Option<Vec<CoveringVrp>>,
    /// The paths of exactly this prefix in the Loc-RIB.
    pub paths: Vec<Route>,
    /// Each peer, and whether it is told.
    pub peers: Vec<PeerVerdict>,
}

/// What one rule of a resource has to do with a prefix, and what the guard said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// The rule.
    pub source: Source,
    /// Where the rule is written, as `file:line`; none where it did not come from a file.
    pub location: Option<String>,
    /// Whether the rule makes the prefix an own route.
    pub originates: bool,
    /// Why, or why not, in one sentence.
    pub reason: String,
}

/// Whether one peer is told a prefix, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerVerdict {
    /// The peer's address, with `%zone` where there is one.
    pub peer_address: String,
    /// Where the session stands.
    pub state: PeerState,
    /// Whether the prefix is in its Adj-RIB-Out.
    pub advertised: bool,
    /// Why, or why not, in a few words: the export setting, the session, the next hop.
    pub reason: String,
    /// What became of what the peer itself says of the prefix; none: it says nothing, or nothing is
    /// kept of it.
    pub import: Option<String>,
    /// The statements of its import policy that this met, in order.
    pub import_steps: Vec<PolicyStep>,
    /// What its export policy says of the path that it would be told; none: its `export` names no
    /// policy, or there is no path.
    pub export: Option<String>,
    /// The statements of its export policy that the path met, in order.
    pub export_steps: Vec<PolicyStep>,
    /// What its export policy says of the best path, where it is told another one since the best is not
    /// for it; none: it is told the best or nothing, the best came from it, or there is no policy.
    pub best_export: Option<String>,
    /// The statements of its export policy that the best path met, in order.
    pub best_export_steps: Vec<PolicyStep>,
    /// The route as told; none if it is not.
    pub route: Option<Route>,
}

/// Something wrong in what the resources ask, in force until it is mended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// The file.
    pub file: String,
    /// The line in it, from 1.
    pub line: Option<u32>,
    /// The field, for example `spec.bgpPeering.neighbors[0].peerASN`; none: the whole document.
    pub path: Option<String>,
    /// What is wrong and what is accepted.
    pub message: String,
    /// True: what was asked for is in force all the same.
    pub warning: bool,
}

impl From<&watcher::Fault> for Fault {
    fn from(fault: &watcher::Fault) -> Fault {
        Fault {
            file: fault.file.to_string(),
            line: (fault.line > 0).then_some(fault.line),
            path: (!fault.path.is_empty()).then(|| fault.path.clone()),
            message: fault.message.clone(),
            warning: fault.severity == watcher::Severity::Warning,
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if self.warning {
            f.write_str(": warning")?;
        }
        if let Some(path) = &self.path {
            write!(f, ": {path}")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Which sessions are to be reset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResetQuery {
    /// The name of an instance; none: all of them.
    #[serde(default)]
    pub instance: Option<String>,
    /// The peer; none: every one.
    #[serde(default, with = "peer_text")]
    pub peer: Option<PeerAddress>,
}

/// What a reset did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResetReply {
    /// How many peers' sessions, up or coming up, were closed to come up again, or are held down no
    /// longer (`maxPrefixes`).
    pub peers: usize,
    /// Why others were not, one sentence each.
    pub notes: Vec<String>,
}

/// What is to be watched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WatchQuery {
    /// The name of an instance; none: all of them.
    #[serde(default)]
    pub instance: Option<String>,
    /// Only this peer; none: every one, and own routes.
    #[serde(default, with = "peer_text")]
    pub peer: Option<PeerAddress>,
}

/// Something that happened, one line of `watch`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "event")]
pub enum WatchEvent {
    /// A session entered another state.
    #[serde(rename_all = "camelCase")]
    Session {
        /// `default`, or the name of a BGP instance.
        instance: String,
        /// The peer's address, with `%zone` where there is one.
        peer_address: String,
        /// The state before.
        from: PeerState,
        /// The state now.
        to: PeerState,
        /// What ended, was refused or could not be had, if that is why: none where the session goes on
        /// by itself.
        reason: Option<String>,
    },
    /// A peer announced a route, or an own route came or changed: with its attributes as they came, and
    /// whether it is accepted and best then.
    Announced(Box<Route>),
    /// A route came to something else without being announced again: by other policies, filters, own
    /// routes or VRPs. With its attributes as they are now.
    Judged(Box<Route>),
    /// A peer withdrew a route, or it went without that, or an own route went.
    #[serde(rename_all = "camelCase")]
    Withdrawn {
        /// `default`, or the name of a BGP instance.
        instance: String,
        /// `ipv4` or `ipv6`.
        afi: String,
        /// `unicast`.
        safi: String,
        /// The prefix.
        prefix: String,
        /// None: an own route.
        peer_address: Option<String>,
    },
    /// Peers are told a route.
    #[serde(rename_all = "camelCase")]
    Advertised {
        /// How many.
        peer_count: usize,
        /// Some of them: all if they are few.
        peers: Vec<String>,
        /// What they are told: the attributes as they leave. It names no peer.
        route: Box<Route>,
    },
    /// Peers are told that a route is gone.
    #[serde(rename_all = "camelCase")]
    Retracted {
        /// How many.
        peer_count: usize,
        /// Some of them: all if they are few.
        peers: Vec<String>,
        /// `default`, or the name of a BGP instance.
        instance: String,
        /// `ipv4` or `ipv6`.
        afi: String,
        /// `unicast`.
        safi: String,
        /// The prefix.
        prefix: String,
    },
    /// The reader was too slow: so many UPDATEs and changes were not told.
    Lost {
        /// How many.
        count: u64,
    },
}

/// Which peers are to be drained (RFC 8326), or to come up again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DrainQuery {
    /// The name of an instance; none: all of them.
    #[serde(default)]
    pub instance: Option<String>,
    /// The peer; none: every one, also those that come later.
    #[serde(default, with = "peer_text")]
    pub peer: Option<PeerAddress>,
    /// How long the peers have to find other paths, in seconds; none: they come up again.
    pub wait_seconds: Option<u32>,
}

/// What was begun, or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainReply {
    /// How many peers are drained for it, or are not any more and were before: those that are there, and
    /// addresses within prefixes that are known to be drained.
    pub peers: usize,
}

/// Which peers are to be asked for their routes again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RefreshQuery {
    /// The name of an instance; none: all of them.
    #[serde(default)]
    pub instance: Option<String>,
    /// The peer; none: every one.
    #[serde(default, with = "peer_text")]
    pub peer: Option<PeerAddress>,
}

/// What came of asking for routes again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshReply {
    /// How many peers were asked.
    pub peers: usize,
    /// Why others were not, one sentence each.
    pub notes: Vec<String>,
}

/// The name of a family's AFI: `ipv4` or `ipv6`.
pub fn afi_name(family: Family) -> &'static str {
    match family {
        Family::Ipv4Unicast => "ipv4",
        Family::Ipv6Unicast => "ipv6",
    }
}

/// A prefix as people write it; host bits are a fault.
///
/// # Errors
/// What is wrong and what is accepted, for example that host bits are set.
pub fn parse_prefix(text: &str) -> Result<IpPrefix, String> {
    let host = text.parse::<IpAddr>().ok().map(ipnet::IpNet::from);
    let Some(net) = host.or_else(|| text.parse().ok()) else {
        return Err(format!(
            "{text:?} is not a prefix; write for example 10.0.1.0/24 or 2001:db8::/32"
        ));
    };
    if net.addr() != net.network() {
        return Err(format!("{text} has host bits set; write {}", net.trunc()));
    }
    Ok(IpPrefix::from(net))
}

/// How many routes a page holds at most, all paths of its last prefix aside: what a shard answers
/// without keeping its sessions waiting.
pub const ROUTES_PAGE: usize = 512;

const SAFI_UNICAST: &str = "unicast";

/// An optional family as `ipv4` or `ipv6`.
mod family_text {
    use codec::Family;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    pub(super) fn serialize<S: Serializer>(
        family: &Option<Family>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        family.map(super::afi_name).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Family>, D::Error> {
        match Option::<String>::deserialize(deserializer)?.as_deref() {
            None => Ok(None),
            Some("ipv4") => Ok(Some(Family::Ipv4Unicast)),
            Some("ipv6") => Ok(Some(Family::Ipv6Unicast)),
            Some(other) => Err(de::Error::custom(format!(
                "{other:?} is not a family; ipv4 and ipv6 are accepted"
            ))),
        }
    }
}

/// An optional prefix as text.
mod prefix_text {
    use codec::IpPrefix;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    pub(super) fn serialize<S: Serializer>(
        prefix: &Option<IpPrefix>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        prefix
            .map(|prefix| prefix.to_string())
            .serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<IpPrefix>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| super::parse_prefix(&text))
            .transpose()
            .map_err(de::Error::custom)
    }
}

/// An optional peer's address as text, with `%zone` where there is one.
mod peer_text {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    use crate::config::PeerAddress;

    pub(super) fn serialize<S: Serializer>(
        peer: &Option<PeerAddress>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        peer.map(|peer| peer.to_string()).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<PeerAddress>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| text.parse())
            .transpose()
            .map_err(de::Error::custom)
    }
}

/// A prefix as text.
mod required_prefix_text {
    use codec::IpPrefix;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(
        prefix: &IpPrefix,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(prefix)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<IpPrefix, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::parse_prefix(&text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
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
                r#""name":"allow-external-access","rule":"spec.egress[0].toCIDR[0]"}}"#
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

    #[test]
    fn prefixes_with_host_bits_are_faults_and_hosts_are_host_routes() {
        assert_eq!(
            parse_prefix("10.0.1.7/24").unwrap_err(),
            "10.0.1.7/24 has host bits set; write 10.0.1.0/24"
        );
        assert!(parse_prefix("ten/8").unwrap_err().contains("not a prefix"));
        assert_eq!(parse_prefix("10.0.0.1").unwrap().to_string(), "10.0.0.1/32");
    }
}
