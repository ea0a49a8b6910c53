//! The resources that this daemon reads, reduced to what it reads of them.
//!
//! Values only: no files, no rules. A resource here is valid; what was wrong with it was said when
//! it was read. Sources (manifests, later the API server) make them, the store keeps them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use codec::{Family, FamilySet, IpPrefix};

use super::selector::Selector;
use crate::config::{
    AddPaths, BuiltinFilters, Capabilities, Client, Export, GracefulRestart, Import, MaxPrefixes,
    NextHopIpv6, NextHopSelf, OriginAttributes, PeerAddress, PeerAsn, Role, Rpki, Selection,
    SendCommunities, Timers,
};

/// The labels of an object.
pub type Labels = BTreeMap<Arc<str>, Arc<str>>;

/// A kind of resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `cilium.io/v2alpha1`, with `spec.bgpPeering`.
    CiliumConfig,
    /// Core; only the one named `cilium-config` is read.
    ConfigMap,
    /// `ringbgp.io/v1alpha1`.
    RoutePolicy,
    /// `cilium.io/v2`.
    CiliumNetworkPolicy,
    /// `cilium.io/v2`.
    CiliumClusterwideNetworkPolicy,
    /// `cilium.io/v2` and `v2alpha1`.
    CiliumCidrGroup,
    /// `cilium.io/v2`.
    CiliumNode,
    /// Core.
    Node,
    /// Core; for `namespaceSelector`.
    Namespace,
    /// Core; for passwords.
    Secret,
}

impl Kind {
    /// The name in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Kind::CiliumConfig => "CiliumConfig",
            Kind::RoutePolicy => "RoutePolicy",
            Kind::ConfigMap => "ConfigMap",
            Kind::CiliumNetworkPolicy => "CiliumNetworkPolicy",
            Kind::CiliumClusterwideNetworkPolicy => "CiliumClusterwideNetworkPolicy",
            Kind::CiliumCidrGroup => "CiliumCIDRGroup",
            Kind::CiliumNode => "CiliumNode",
            Kind::Node => "Node",
            Kind::Namespace => "Namespace",
            Kind::Secret => "Secret",
        }
    }

    /// Whether its objects live in namespaces. `CiliumConfig` is read as one for the cluster.
    pub fn is_namespaced(self) -> bool {
        matches!(
            self,
            Kind::ConfigMap | Kind::CiliumNetworkPolicy | Kind::Secret
        )
    }
}

/// What names one resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The kind.
    pub kind: Kind,
    /// Empty for kinds without one.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.name())?;
        f.write_str(" ")?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

/// A valid resource and where it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    /// Its name.
    pub key: Key,
    /// The file, as the directory was named.
    pub file: Arc<str>,
    /// The line on which its document starts.
    pub line: u32,
    /// `metadata.labels`.
    pub labels: Labels,
    /// The rest.
    pub body: Body,
}

/// What is read of each kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// Kind `CiliumConfig`.
    Config(Box<BgpPeering>),
    /// Kind `ConfigMap`.
    ConfigMap(Box<ConfigMap>),
    /// Kind `RoutePolicy`, compiled, and where it is written.
    RoutePolicy(Arc<crate::policy::Policy>, PolicyPlaces),
    /// Both kinds of network policy.
    Policy(Policy),
    /// Kind `CiliumCIDRGroup`.
    CidrGroup(CidrGroup),
    /// Kinds `CiliumNode` and `Node`.
    Node(NodeBody),
    /// Kind `Namespace`: only its labels count.
    Namespace,
    /// Kind `Secret`: the key `password`, if it is there and readable; else why not.
    Secret(Result<Arc<[u8]>, Arc<str>>),
}

/// Where a `RoutePolicy` says what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyPlaces {
    /// Its statements.
    pub statements: Vec<Place>,
    /// The templates that it names.
    pub templates: Vec<Mention>,
    /// The statements, by place, of which it was said on reading that they can never match.
    pub never: BTreeSet<usize>,
}

/// Where a resource names something of another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mention {
    /// The name.
    pub name: Arc<str>,
    /// For example `spec.statements[0].match.neighbors.templates[0]`.
    pub path: Arc<str>,
    /// Where it is written.
    pub line: u32,
}

/// The ConfigMap `cilium-config`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConfigMap {
    /// `bgpPeering`.
    pub peering: Option<BgpPeering>,
    /// `cluster-pool-ipv4-cidr` and `cluster-pool-ipv6-cidr`.
    pub cluster_cidrs: Vec<IpPrefix>,
    /// `bgp-secrets-namespace`.
    pub secrets_namespace: Option<Arc<str>>,
    /// `enable-bgp-control-plane: "true"`: Cilium speaks BGP itself.
    pub cilium_speaks: bool,
}

/// `spec.bgpPeering` of `CiliumConfig`, with every default filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct BgpPeering {
    /// False: all sessions are closed.
    pub enabled: bool,
    /// Empty: don't listen.
    pub listen_addresses: Vec<IpAddr>,
    /// TCP port.
    pub listen_port: u16,
    /// If it was given.
    pub router_id: Option<Ipv4Addr>,
    /// If it was given.
    pub cluster_id: Option<Ipv4Addr>,
    /// If it was given.
    pub local_asn: Option<u32>,
    /// `limits.memoryBytes`.
    pub memory_max: u64,
    /// `rpki`.
    pub rpki: Arc<Rpki>,
    /// `bestPath`.
    pub selection: Selection,
    /// What this node originates.
    pub advertise: Advertise,
    /// What it never originates.
    pub guard: GuardSpec,
    /// Where that is written; else where `advertise` is, or the settings begin.
    pub guard_line: u32,
    /// One entry an address or prefix; these differ.
    pub neighbors: Vec<NeighborSpec>,
    /// What is different on single nodes, by their names.
    pub nodes: BTreeMap<Arc<str>, NodeOverlay>,
    /// What of these two is not valid, and so not among them.
    pub faulty: Faulty,
}

/// Neighbors and nodes that are there and not valid, by what can be told of them: their last good forms
/// stay in force, and those of the others don't.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faulty {
    /// The neighbors, of whom nothing counts but who they are: they are kept away.
    pub neighbors: Vec<NeighborSpec>,
    /// There are some of which not even that can be told.
    pub nameless: bool,
    /// The nodes.
    pub nodes: BTreeSet<Arc<str>>,
}

/// An element of `nodes`: what is given stands in for what all nodes have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeOverlay {
    /// `routerID`.
    pub router_id: Option<Ipv4Addr>,
    /// `clusterID`.
    pub cluster_id: Option<Ipv4Addr>,
    /// `localASN`; neighbors with one of their own keep it.
    pub local_asn: Option<u32>,
    /// `listenPort`.
    pub listen_port: Option<u16>,
    /// `localAddress` by the neighbor's address.
    pub local_addresses: BTreeMap<PeerAddress, IpAddr>,
}

/// `advertise`.
#[derive(Clone, Debug, PartialEq)]
pub struct Advertise {
    /// Whether the CIDRs of network policies are announced.
    pub network_policies: bool,
    /// Labels of the policies that count.
    pub policy_selector: Selector,
    /// Labels of the namespaces whose policies count.
    pub namespace_selector: Selector,
    /// This node's own pod CIDRs.
    pub pod_cidrs: PodCidrs,
    /// What all of it is announced with.
    pub attributes: OriginAttributes,
}

/// When this node's pod CIDRs are announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodCidrs {
    /// Those that one policy CIDR as written contains.
    CoveredByPolicy,
    /// All.
    All,
    /// None.
    Off,
}

/// `guard`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardSpec {
    /// Never announced.
    pub deny: Vec<PrefixMatch>,
    /// If not empty: nothing else is announced.
    pub allow: Vec<PrefixMatch>,
    /// Shortest and longest length by [`codec::Family::index`].
    pub lengths: [(u8, u8); 2],
    /// Own routes by [`codec::Family::index`].
    pub max_prefixes: [usize; 2],
    /// None: those of the ConfigMap.
    pub cluster_cidrs: Option<Vec<IpPrefix>>,
}

/// A prefix and the lengths of the prefixes within it that are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixMatch {
    /// The outer prefix.
    pub prefix: IpPrefix,
    /// The shortest length that is meant.
    pub shortest: u8,
    /// The longest length that is meant.
    pub longest: u8,
}

impl PrefixMatch {
    /// Whether `prefix` is meant.
    pub fn matches(&self, prefix: IpPrefix) -> bool {
        self.prefix.contains(prefix) && (self.shortest..=self.longest).contains(&prefix.length())
    }
}

/// One neighbor as written.
#[derive(Clone, Debug, PartialEq)]
pub struct NeighborSpec {
    /// Where its address is written.
    pub line: u32,
    /// For example `spec.bgpPeering.neighbors[0]`.
    pub path: Arc<str>,
    /// Who it is.
    pub whom: Whom,
    /// With a prefix: how many there may be at a time.
    pub max_dynamic_peers: u32,
    /// The port to connect to.
    pub port: u16,
    /// What AS it may have.
    pub peer_asn: PeerAsn,
    /// Our AS towards it, if it is not the instance's.
    pub local_asn: Option<u32>,
    /// Our address, if bound.
    pub local_address: Option<IpAddr>,
    /// Wait for it to connect.
    pub passive: bool,
    /// Where the key is.
    pub auth: Auth,
    /// TTL towards an external peer.
    pub ebgp_multihop: u8,
    /// GTSM (RFC 5082).
    pub ttl_security: bool,
    /// Timers.
    pub timers: Timers,
    /// Families offered.
    pub families: FamilySet,
    /// `maxPrefixes`.
    pub max_prefixes: MaxPrefixes,
    /// `role`.
    pub role: Option<Role>,
    /// `roleStrict`.
    pub role_strict: bool,
    /// `addPaths`.
    pub add_paths: AddPaths,
    /// `capabilities`, without `fqdn`.
    pub capabilities: Capabilities,
    /// `capabilities.fqdn`.
    pub fqdn: bool,
    /// `nextHop.ipv4`.
    pub next_hop_ipv4: Option<Ipv4Addr>,
    /// `nextHop.ipv6`.
    pub next_hop_ipv6: NextHopIpv6,
    /// `nextHopSelf`.
    pub next_hop_self: NextHopSelf,
    /// `routeReflectorClient` or `routeServerClient`.
    pub client: Option<Client>,
    /// `import`.
    pub import: Import,
    /// Where `import` is written: in a template, perhaps.
    pub import_at: Place,
    /// `export`.
    pub export: Export,
    /// Where `export` is written.
    pub export_at: Place,
    /// `sendCommunities`.
    pub send_communities: SendCommunities,
    /// `gracefulRestart`.
    pub graceful_restart: GracefulRestart,
    /// `longLivedGracefulRestart`: the stale time, if it is enabled.
    pub long_lived: Option<Duration>,
    /// `capabilities.enhancedRefresh`.
    pub enhanced_refresh: bool,
    /// `allowOwnASN`.
    pub allow_own_asn: u8,
    /// `builtinFilters`.
    pub builtin_filters: BuiltinFilters,
    /// `template`.
    pub template: Option<Arc<str>>,
}

impl NeighborSpec {
    /// Its address, if it has one of its own.
    pub fn address(&self) -> Option<PeerAddress> {
        match self.whom {
            Whom::Address(address) => Some(address),
            Whom::Prefix(_) | Whom::DefaultGateways(_) => None,
        }
    }
}

/// Where a field is written, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Counted from 1.
    pub line: u32,
    /// For example `spec.bgpPeering.templates.tor.import`.
    pub path: Arc<str>,
}

/// Which peers a neighbor stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whom {
    /// `peerAddress`.
    Address(PeerAddress),
    /// `peerPrefix`: whoever connects from it.
    Prefix(IpPrefix),
    /// `autoDiscovery`: the gateways of the default routes of a family.
    DefaultGateways(Family),
}

impl fmt::Display for Whom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Whom::Address(address) => address.fmt(f),
            Whom::Prefix(prefix) => prefix.fmt(f),
            Whom::DefaultGateways(family) => write!(f, "the default gateways of {family}"),
        }
    }
}

/// Where the key of a session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// There is none.
    None,
    /// `authSecretRef`.
    Secret(Arc<str>),
    /// `authPasswordFile`.
    File(PathBuf),
    /// There must be no session, for this reason.
    Withheld(Arc<str>),
}

/// A network policy: what it lets pods reach, as far as it is named by CIDR.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    /// `spec` and the elements of `specs`.
    pub rules: Vec<Rule>,
}

/// One rule of a policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Present: the rule counts only on nodes that it selects.
    pub node_selector: Option<Selector>,
    /// Its egress CIDRs in the order of the text.
    pub entries: Vec<CidrEntry>,
}

/// One `toCIDR` element or one `toCIDRSet` element.
#[derive(Clone, Debug, PartialEq)]
pub struct CidrEntry {
    /// For example `spec.egress[0].toCIDR[1]`.
    pub rule: Arc<str>,
    /// Where it is written.
    pub line: u32,
    /// What it names.
    pub target: CidrTarget,
    /// What is taken out.
    pub except: Vec<IpPrefix>,
}

/// What an entry names.
#[derive(Clone, Debug, PartialEq)]
pub enum CidrTarget {
    /// A prefix.
    Cidr(IpPrefix),
    /// The group of this name.
    Group(Arc<str>),
    /// All groups with these labels.
    Groups(Selector),
}

/// A `CiliumCIDRGroup`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CidrGroup {
    /// `spec.externalCIDRs` with the line of each.
    pub cidrs: Vec<(IpPrefix, u32)>,
}

/// What is read of a `Node` or a `CiliumNode`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeBody {
    /// Addresses of type `InternalIP`.
    pub internal_addresses: Vec<IpAddr>,
    /// Addresses of any type.
    pub addresses: Vec<IpAddr>,
    /// The pod CIDRs of the node, pools included.
    pub pod_cidrs: Vec<IpPrefix>,
}
