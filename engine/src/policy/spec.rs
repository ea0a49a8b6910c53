//! What a RoutePolicy says, as plain values: read from a manifest, compared, hashed.
//!
//! No rules here: what the values mean is `compile`'s and `tree`'s. Invariant: a policy that exists
//! is valid (names are unique, indices of sets are in range, ranges are not empty).

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use codec::{FamilySet, IpPrefix, Origin, PeerKind};

use super::as_path::AsPathRegex;
use super::communities::{Extended, Large, Standard};

/// One RoutePolicy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RoutePolicy {
    /// The resource's name.
    pub name: Arc<str>,
    /// Its prefix sets, and those that are built in and that it names.
    pub sets: Vec<PrefixSet>,
    /// In the order in which they are asked.
    pub statements: Vec<Statement>,
    /// What becomes of a route that no statement decides.
    pub default_accepts: bool,
}

/// A named list of prefixes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PrefixSet {
    /// Its name in the policy.
    pub name: Arc<str>,
    /// What it holds.
    pub ranges: Vec<PrefixRange>,
}

/// The prefixes within one, of some lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PrefixRange {
    /// The outer prefix.
    pub prefix: IpPrefix,
    /// The shortest length that is meant.
    pub shortest: u8,
    /// The longest length that is meant.
    pub longest: u8,
}

/// One statement.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Statement {
    /// Unique in its policy.
    pub name: Arc<str>,
    /// It is about these routes …
    pub matches: Match,
    /// … but for these.
    pub not: Option<Match>,
    /// What is changed on the routes that it is about, unless they are rejected.
    pub set: Set,
    /// What becomes of them.
    pub action: Action,
}

/// What becomes of a route that a statement is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// It passes.
    Accept,
    /// It does not pass.
    Reject,
    /// The next statement is asked.
    Next,
}

/// A condition: every key that is there has to hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Match {
    /// Of these families.
    pub families: FamilySet,
    /// From, on export to, one of these.
    pub neighbors: Option<NeighborMatch>,
    /// Where the route comes from; none: anywhere.
    pub sources: Option<Sources>,
    /// In one of these sets, by index; with `prefixes` one list.
    pub prefix_sets: Vec<u16>,
    /// Or one of these.
    pub prefixes: Vec<PrefixRange>,
    /// Whether `prefixes` or `prefix_sets` are there at all.
    pub by_prefix: bool,
    /// A next hop within one of these; empty: any.
    pub next_hops: Vec<IpPrefix>,
    /// An AS_PATH that one of these finds; empty: any.
    pub as_path_regexes: Vec<AsPathRegex>,
    /// Of this length, as best path selection counts it.
    pub as_path_length: Option<RangeInclusive<u32>>,
    /// Originated by one of these ASes; empty: any.
    pub origin_asns: Vec<RangeInclusive<u32>>,
    /// RFC 1997 communities.
    pub standard: CommunityMatch<Standard>,
    /// RFC 8092 communities.
    pub large: CommunityMatch<Large>,
    /// RFC 4360 communities.
    pub extended: CommunityMatch<Extended>,
    /// MULTI_EXIT_DISC; 0 where there is none.
    pub med: Option<RangeInclusive<u32>>,
    /// LOCAL_PREF; 100 where there is none.
    pub local_preference: Option<RangeInclusive<u32>>,
    /// ORIGIN is one of these; empty: any.
    pub origins: Vec<Origin>,
    /// The state of origin validation is one of these; empty: any.
    pub validation: Vec<Validation>,
}

impl Default for Match {
    fn default() -> Match {
        Match {
            families: FamilySet::ALL,
            neighbors: None,
            sources: None,
            prefix_sets: Vec::new(),
            prefixes: Vec::new(),
            by_prefix: false,
            next_hops: Vec::new(),
            as_path_regexes: Vec::new(),
            as_path_length: None,
            origin_asns: Vec::new(),
            standard: CommunityMatch::default(),
            large: CommunityMatch::default(),
            extended: CommunityMatch::default(),
            med: None,
            local_preference: None,
            origins: Vec::new(),
            validation: Vec::new(),
        }
    }
}

/// Which neighbors: every key that is there has to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct NeighborMatch {
    /// Their addresses are within one of these; empty: any.
    pub addresses: Vec<IpPrefix>,
    /// Their AS is one of these; empty: any.
    pub asns: Vec<RangeInclusive<u32>>,
    /// They are of one of these kinds; empty: any.
    pub kinds: Vec<PeerKind>,
    /// They were written over one of these templates; empty: whatever.
    pub templates: Vec<Arc<str>>,
}

/// Communities of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CommunityMatch<P> {
    /// The route has one of these; empty: whatever.
    pub any: Vec<P>,
    /// It has all of these.
    pub all: Vec<P>,
    /// It has none of these.
    pub none: Vec<P>,
}

impl<P> Default for CommunityMatch<P> {
    fn default() -> CommunityMatch<P> {
        CommunityMatch {
            any: Vec::new(),
            all: Vec::new(),
            none: Vec::new(),
        }
    }
}

impl<P> CommunityMatch<P> {
    /// Whether it asks for nothing.
    pub fn is_empty(&self) -> bool {
        self.any.is_empty() && self.all.is_empty() && self.none.is_empty()
    }
}

/// Where a route comes from: a set, since several rules may ask for one own route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sources(u8);

impl Sources {
    /// No source.
    pub const NONE: Sources = Sources(0);
    /// Learned from a peer.
    pub const RECEIVED: Sources = Sources(1);
    /// Asked for by a network policy.
    pub const NETWORK_POLICY: Sources = Sources(2);
    /// This node's pod CIDR.
    pub const POD_CIDR: Sources = Sources(4);
    /// Asked for by a Service.
    pub const SERVICE: Sources = Sources(8);
    /// Every source.
    pub const ALL: Sources = Sources(15);
    /// How many there are.
    pub const COUNT: usize = 4;

    /// These and those of `other`.
    #[must_use]
    pub fn with(self, other: Sources) -> Sources {
        Sources(self.0 | other.0)
    }

    /// Whether the two have one in common.
    pub fn meets(self, other: Sources) -> bool {
        self.0 & other.0 != 0
    }

    /// One bit each.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// The set of these bits.
    pub fn from_bits(bits: u8) -> Sources {
        Sources(bits & 15)
    }
}

/// The state of origin validation (RFC 6811 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Validation {
    /// A VRP covers and matches the route.
    Valid,
    /// VRPs cover it, and none matches.
    Invalid,
    /// No VRP covers it.
    NotFound,
}

impl Validation {
    /// As JSON and people are told.
    pub fn name(self) -> &'static str {
        match self {
            Validation::Valid => "valid",
            Validation::Invalid => "invalid",
            Validation::NotFound => "notFound",
        }
    }
}

/// What is changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Set {
    /// LOCAL_PREF.
    pub local_preference: Option<u32>,
    /// MULTI_EXIT_DISC.
    pub med: Option<SetMed>,
    /// An AS number put in front of AS_PATH, and how often.
    pub prepend: Option<(u32, u8)>,
    /// The next hop.
    pub next_hop: Option<SetNextHop>,
    /// RFC 1997 communities.
    pub standard: CommunitySet<u32, Standard>,
    /// RFC 8092 communities.
    pub large: CommunitySet<[u32; 3], Large>,
    /// RFC 4360 communities.
    pub extended: CommunitySet<[u8; 8], Extended>,
}

impl Set {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        *self == Set::default()
    }
}

/// What becomes of MULTI_EXIT_DISC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SetMed {
    /// It has this value.
    Value(u32),
    /// This is added; it stays within its range, and 0 is added to where there is none.
    Add(i64),
    /// It goes.
    Remove,
}

/// What becomes of the next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SetNextHop {
    /// Ourselves. A route of a family for which we are none on the session is rejected on import, and
    /// not told on export.
    Own,
    /// As it came, whatever the neighbor's `nextHopSelf`.
    Unchanged,
    /// The address of the peer that said the route; on export, where that would tell a peer itself
    /// as next hop, ourselves.
    PeerAddress,
    /// This address. A route of the other family keeps its next hop.
    Address(IpAddr),
}

/// What becomes of communities of one kind: first `replace`, then `remove`, then `add`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CommunitySet<V, P> {
    /// These instead of all that there are.
    pub replace: Option<Vec<V>>,
    /// What these match goes.
    pub remove: Vec<P>,
    /// These come, each once.
    pub add: Vec<V>,
}

impl<V, P> Default for CommunitySet<V, P> {
    fn default() -> CommunitySet<V, P> {
        CommunitySet {
            replace: None,
            remove: Vec::new(),
            add: Vec::new(),
        }
    }
}

impl<V, P> CommunitySet<V, P> {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.replace.is_none() && self.remove.is_empty() && self.add.is_empty()
    }
}

/// The name of the prefix set that is built in.
pub const INTERNET_BOGONS: &str = "internet-bogons";

/// What has no place in the Internet's table: private (RFC 1918), documentation (RFC 5737, RFC
/// 3849, RFC 9637) and shared (RFC 6598) space, and prefixes longer than /24 and /48.
pub fn internet_bogons() -> PrefixSet {
    const WITHIN: &[&str] = &[
        "10.0.0.0/8",
        "100.64.0.0/10",
        "172.16.0.0/12",
        "192.0.2.0/24",
        "192.168.0.0/16",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "2001:db8::/32",
        "3fff::/20",
    ];
    let within = WITHIN.iter().filter_map(|text| text.parse().ok());
    let within = within.map(|net: ipnet::IpNet| PrefixRange {
        prefix: net.into(),
        shortest: net.prefix_len(),
        longest: net.max_prefix_len(),
    });
    let long = [("0.0.0.0/0", 25, 32), ("::/0", 49, 128)];
    let long = long.into_iter().filter_map(|(text, shortest, longest)| {
        let net: ipnet::IpNet = text.parse().ok()?;
        Some(PrefixRange {
            prefix: net.into(),
            shortest,
            longest,
        })
    });
    PrefixSet {
        name: INTERNET_BOGONS.into(),
        ranges: within.chain(long).collect(),
    }
}
