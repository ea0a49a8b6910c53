//! What the commands ask and answer, with the JSON names that scripts lean on.
//!
//! Values only: no I/O, no rendering. Invariant: what is absent is `null`, never 0 or "", and no
//! field is ever left out. The shards and the watcher fill these in, the command line shows them.

pub mod attributes;
mod peer;
mod policy;
mod route;
mod rpki;
mod text;
mod watch;

use codec::IpPrefix;
use serde::{Deserialize, Serialize};

pub use peer::{DrainState, FamilyCounts, MalformedUpdates, Peer, PeerState};
pub use policy::{PoliciesQuery, Policy, PolicyStep, PrefixSet, Statement};
pub use route::{
    Aggregator, ROUTES_PAGE, Route, RoutesCursor, RoutesKind, RoutesQuery, RoutesReply, Segment,
    SegmentKind, Source, UnknownAttribute,
};
pub use rpki::{CoveringVrp, RpkiCache, RpkiQuery, RpkiState};
pub use text::{afi_name, parse_prefix};
pub use watch::{WatchEvent, WatchQuery};

use crate::config::PeerAddress;
use crate::watcher;
use text::{peer_text, required_prefix_text};

/// Which sessions are meant: those of every instance, or of one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PeersQuery {
    /// The name of an instance; none: all of them.
    #[serde(default)]
    pub instance: Option<String>,
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
    /// What it says of the prefix, as received: what `import` is about.
    pub received: Option<Route>,
    /// What else it says of the prefix, with ADD-PATH (RFC 7911): by path identifier, at most 16.
    pub other_received: Vec<ReceivedPath>,
    /// How many paths it says of the prefix beyond those.
    pub received_not_shown: u64,
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
    /// The other paths of the prefix that it is told (`addPaths.send`), in order of preference.
    pub other_paths: Vec<SentPath>,
}

impl PeerVerdict {
    /// A peer that is told nothing, nor says anything.
    pub fn not_told(peer_address: String, state: PeerState, reason: String) -> PeerVerdict {
        PeerVerdict {
            peer_address,
            state,
            advertised: false,
            reason,
            import: None,
            import_steps: Vec::new(),
            received: None,
            other_received: Vec::new(),
            received_not_shown: 0,
            export: None,
            export_steps: Vec::new(),
            best_export: None,
            best_export_steps: Vec::new(),
            route: None,
            other_paths: Vec::new(),
        }
    }
}

/// One of the paths that a peer says of a prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReceivedPath {
    /// The path as received.
    pub route: Route,
    /// What became of it.
    pub import: String,
    /// The statements of the peer's import policy that it met, in order.
    pub import_steps: Vec<PolicyStep>,
}

/// One of the paths of a prefix that a peer is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SentPath {
    /// The path as told.
    pub route: Route,
    /// What the peer's export policy says of it; none: its `export` names no policy.
    pub export: Option<String>,
    /// The statements of its export policy that it met, in order.
    pub export_steps: Vec<PolicyStep>,
}

/// Something wrong in what the resources ask, or that cannot be done as they ask; in force until it is
/// mended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// The file; none: it is not of one file, as where a listener cannot be had.
    pub file: Option<String>,
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
            file: Some(fault.file.to_string()),
            line: (fault.line > 0).then_some(fault.line),
            path: (!fault.path.is_empty()).then(|| fault.path.clone()),
            message: fault.message.clone(),
            warning: fault.severity == watcher::Severity::Warning,
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some(file) = &self.file else {
            return f.write_str(&self.message);
        };
        f.write_str(file)?;
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
