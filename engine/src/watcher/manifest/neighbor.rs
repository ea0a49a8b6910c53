//! One element of `spec.bgpPeering.neighbors`, and what it may have from a template.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use codec::{Family, FamilySet};

use super::capabilities::capabilities;
use super::client::client;
use super::fields::{Field, Fields};
use super::graceful::{graceful_restart, long_lived};
use super::max_prefixes::max_prefixes;
use super::node::Value;
use super::peering::BGP_PORT;
use super::role::role;
use super::templates::Templates;
use crate::config::{
    AddPaths, BuiltinFilters, Export, Import, NextHopIpv6, NextHopSelf, PeerAddress, PeerAsn,
    SendCommunities, Timers,
};
use crate::policy::Policy;
use crate::watcher::fault::Report;
use crate::watcher::resource::{Auth, NeighborSpec, Place, Whom};

const SECONDS_MAX: u32 = 65_535;

/// Our AS on the node for which the settings are read.
#[derive(Clone, Copy, Default)]
pub(super) struct OwnAsn {
    /// None: only neighbors say one.
    pub(super) number: Option<u32>,
    /// It is another one than on nodes without an overlay.
    pub(super) is_of_node: bool,
}

impl OwnAsn {
    /// Towards a neighbor, which may say one of its own.
    fn towards(self, neighbor: Option<u32>) -> OwnAsn {
        match neighbor {
            Some(_) => OwnAsn {
                number: neighbor,
                is_of_node: false,
            },
            None => self,
        }
    }

    /// Where it comes from, in a sentence about it.
    pub(super) fn origin(self) -> String {
        match self.number.filter(|_| self.is_of_node) {
            Some(asn) => format!(" (which is {asn} on this node, by spec.bgpPeering.nodes)"),
            None => String::new(),
        }
    }
}

/// The neighbors that one element describes: one an address.
pub(super) fn neighbors(
    element: &Field<'_>,
    templates: &Templates<'_>,
    own_asn: OwnAsn,
    report: &mut Report,
) -> Vec<NeighborSpec> {
    let Some(layered) = templates.under(element, report) else {
        return Vec::new();
    };
    let Some(mut fields) = layered.fields(report) else {
        return Vec::new();
    };
    let template = fields.get("template");
    let template = template.and_then(|field| field.name(report)).map(Arc::from);
    let whom = whom(&mut fields, report);
    let spec = settings(&mut fields, &whom, own_asn, report);
    if own_asn.towards(spec.local_asn).number.is_none() {
        let message = "is missing: our AS, here, as spec.bgpPeering.localASN, or as that of this \
                       node in spec.bgpPeering.nodes";
        report.fault(fields.line, &fields.path_of("localASN"), message);
    }
    fields.close_strictly(report);
    let of = |(whom, line)| NeighborSpec {
        whom,
        line,
        template: template.clone(),
        ..spec.clone()
    };
    whom.into_iter().map(of).collect()
}

/// Whom an element means that is not valid, to be kept away, and whether that is all of them.
pub(super) fn named(element: &Field<'_>) -> (Vec<NeighborSpec>, bool) {
    let unsaid = &mut Report::new("".into());
    let Some(mut fields) = element.fields(unsaid) else {
        return (Vec::new(), false);
    };
    let named = whom(&mut fields, unsaid);
    let is_all = !named.is_empty() && unsaid.faults() == 0;
    let spec = settings(&mut fields, &[], OwnAsn::default(), unsaid);
    let of = |(whom, line)| {
        away(NeighborSpec {
            whom,
            line,
            ..spec.clone()
        })
    };
    (named.into_iter().map(of).collect(), is_all)
}

/// The same neighbor, kept away, and under no policy.
pub(super) fn away(spec: NeighborSpec) -> NeighborSpec {
    let why = format!("{} on line {} is not valid: mend it", spec.path, spec.line);
    NeighborSpec {
        auth: Auth::Withheld(why.into()),
        import: Import::None,
        export: Export::None,
        ..spec
    }
}

/// Reads a template by itself, so that one that nobody uses is looked at too.
pub(super) fn check_template(
    template: &Field<'_>,
    own_asn: OwnAsn,
    report: &mut Report,
) -> Option<()> {
    let mut fields = template.fields(report)?;
    settings(&mut fields, &[], own_asn, report);
    fields.close_strictly(report);
    Some(())
}

/// Everything about a neighbor but who it is.
fn settings(
    fields: &mut Fields<'_>,
    whom: &[(Whom, u32)],
    own_asn: OwnAsn,
    report: &mut Report,
) -> NeighborSpec {
    let peer_asn = fields.get("peerASN");
    if peer_asn.is_none() && !whom.is_empty() {
        let message = format!("is missing: {PEER_ASN}");
        report.fault(fields.line, &fields.path_of("peerASN"), message);
    }
    let peer_asn = peer_asn.and_then(|field| peer_asn_of(&field, report));
    let local_asn = fields.get("localASN");
    let local_asn = local_asn.and_then(|field| as_number(&field, report));
    let own_asn = own_asn.towards(local_asn);
    let timers = fields.get("timers");
    let timers = timers.map_or_else(Timers::default, |field| timers_of(&field, report));
    let families = fields.get("families");
    let families = families.map_or(FamilySet::ALL, |field| families_of(&field, report));
    let (next_hop_ipv4, next_hop_ipv6) = match fields.get("nextHop") {
        Some(field) => next_hops(&field, report),
        None => (None, NextHopIpv6::Auto),
    };
    let import =
        policy_word(fields, "import", IMPORT, Import::Policy, report).unwrap_or(Import::None);
    let export =
        policy_word(fields, "export", EXPORT, Export::Policy, report).unwrap_or(Export::Originated);
    let capabilities = capabilities(fields, report);
    let (role, role_strict) = role(fields, (peer_asn, own_asn), report);
    let graceful_restart = graceful_restart(fields, report);
    NeighborSpec {
        line: fields.line,
        path: fields.path.as_str().into(),
        whom: Whom::Address(Ipv4Addr::UNSPECIFIED.into()),
        max_dynamic_peers: number(fields, "maxDynamicPeers", 1..=MAX_DYNAMIC_PEERS_MAX, report)
            .unwrap_or(MAX_DYNAMIC_PEERS),
        port: number(fields, "peerPort", 1..=u16::MAX, report).unwrap_or(BGP_PORT),
        peer_asn: peer_asn.unwrap_or(PeerAsn::Any),
        local_asn,
        local_address: local_address(fields, whom, report),
        passive: flag(fields, "passive", report),
        auth: auth(fields, report),
        ebgp_multihop: number(fields, "ebgpMultihop", 1..=255, report).unwrap_or(1),
        ttl_security: flag(fields, "ttlSecurity", report),
        timers,
        families,
        max_prefixes: max_prefixes(fields, report),
        role,
        role_strict,
        add_paths: add_paths(fields, report),
        capabilities: capabilities.offered,
        fqdn: capabilities.fqdn,
        next_hop_ipv4,
        next_hop_ipv6,
        next_hop_self: word(fields, "nextHopSelf", NEXT_HOP_SELF, report)
            .unwrap_or(NextHopSelf::Auto),
        client: client(
            fields,
            (peer_asn, own_asn),
            (&import, &export),
            role,
            report,
        ),
        import,
        import_at: place_of(fields, "import"),
        export,
        export_at: place_of(fields, "export"),
        send_communities: send_communities(fields, report),
        graceful_restart,
        long_lived: long_lived(fields, &graceful_restart, report),
        enhanced_refresh: capabilities.enhanced_refresh,
        allow_own_asn: number(fields, "allowOwnASN", 0..=255, report).unwrap_or(0),
        builtin_filters: builtin_filters(fields, report),
        template: None,
    }
}

const PEER_ASN: &str = "a number from 1 to 4294967295, any, internal or external";

/// Reserved: where an AS has two octets it stands for one that needs four (RFC 6793 §9).
const AS_TRANS: u32 = 23_456;

const NEXT_HOP_SELF: &[(&str, NextHopSelf)] = &[
    ("Auto", NextHopSelf::Auto),
    ("Always", NextHopSelf::Always),
    ("Never", NextHopSelf::Never),
];
const IMPORT: &[(&str, Import)] = &[("none", Import::None), ("all", Import::All)];
const EXPORT: &[(&str, Export)] = &[
    ("originated", Export::Originated),
    ("all", Export::All),
    ("none", Export::None),
];

fn number<T>(
    fields: &mut Fields<'_>,
    name: &'static str,
    range: std::ops::RangeInclusive<T>,
    report: &mut Report,
) -> Option<T>
where
    T: TryFrom<i128> + std::fmt::Display + Copy + PartialOrd,
{
    fields.get(name)?.integer(range, report)
}

fn flag(fields: &mut Fields<'_>, name: &'static str, report: &mut Report) -> bool {
    let field = fields.get(name);
    field.and_then(|field| field.boolean(report)) == Some(true)
}

fn word<T: Copy>(
    fields: &mut Fields<'_>,
    name: &'static str,
    words: &[(&str, T)],
    report: &mut Report,
) -> Option<T> {
    fields.get(name)?.word(words, report)
}

/// Where a field is written, here or in the template.
fn place_of(fields: &mut Fields<'_>, name: &'static str) -> Place {
    let (line, path) = match fields.get(name) {
        Some(field) => (field.line, field.path),
        None => (fields.line, fields.path_of(name)),
    };
    Place {
        line,
        path: path.into(),
    }
}

/// `import` and `export`: a few words; any other is the name of a RoutePolicy. The policy is looked
/// for when all resources are known: until then it is one that is not there.
fn policy_word<T: Clone>(
    fields: &mut Fields<'_>,
    name: &'static str,
    words: &[(&str, T)],
    policy: fn(Arc<Policy>) -> T,
    report: &mut Report,
) -> Option<T> {
    let field = fields.get(name)?;
    let text = field.name(report)?;
    let word = words.iter().find(|(word, _)| *word == text);
    Some(match word {
        Some((_, meaning)) => meaning.clone(),
        None => policy(Arc::new(Policy::missing(&text.into()))),
    })
}

/// An AS number; 0 is reserved (RFC 7607).
pub(super) fn as_number(field: &Field<'_>, report: &mut Report) -> Option<u32> {
    field.integer(1..=u32::MAX, report)
}

fn peer_asn_of(field: &Field<'_>, report: &mut Report) -> Option<PeerAsn> {
    let asn = match &field.node.value {
        Value::Integer(number) if *number > 0 => u32::try_from(*number).ok().map(PeerAsn::Number),
        Value::String(text) => match text.as_str() {
            "any" => Some(PeerAsn::Any),
            "internal" => Some(PeerAsn::Internal),
            "external" => Some(PeerAsn::External),
            _ => None,
        },
        _ => None,
    };
    if asn == Some(PeerAsn::Number(AS_TRANS)) {
        field.warn(
            report,
            "23456 is AS_TRANS (RFC 6793), which is nobody's: write the peer's own AS",
        );
    }
    if asn.is_none() {
        field.fault(
            report,
            format!(
                "{} is not accepted: {PEER_ASN}",
                field.node.value.describe()
            ),
        );
    }
    asn
}

/// `maxDynamicPeers`, unless it is given.
const MAX_DYNAMIC_PEERS: u32 = 1000;

/// The most that it may be: as many sessions as a process may have descriptors.
const MAX_DYNAMIC_PEERS_MAX: u32 = 1_000_000;

/// Which peers are meant, each with its line.
fn whom(fields: &mut Fields<'_>, report: &mut Report) -> Vec<(Whom, u32)> {
    let discovery = fields.get("autoDiscovery");
    let Some(prefix) = fields.get("peerPrefix") else {
        if let Some(field) = discovery {
            let whom = default_gateways(fields, &field, report);
            return whom.map(|whom| (whom, field.line)).into_iter().collect();
        }
        let max = fields.get("maxDynamicPeers");
        if let Some(field) = max.filter(|field| !fields.is_beneath(field)) {
            field.fault(
                report,
                "is not for a neighbor with an address: only with peerPrefix",
            );
        }
        let addresses = addresses(fields, report).into_iter();
        return addresses
            .map(|(address, line)| (Whom::Address(address), line))
            .collect();
    };
    for other in ["peerAddress", "peerAddresses", "autoDiscovery"] {
        if let Some(field) = fields.get(other) {
            field.fault(report, "peerPrefix is there too: one of them");
        }
    }
    for useless in ["peerPort", "localAddress"] {
        if let Some(field) = fields
            .get(useless)
            .filter(|field| !fields.is_beneath(field))
        {
            field.fault(
                report,
                "is not for a peerPrefix: its peers are never connected to",
            );
        }
    }
    let whom = prefix.strict_prefix(report).map(Whom::Prefix);
    whom.map(|whom| (whom, prefix.line)).into_iter().collect()
}

/// `autoDiscovery`.
fn default_gateways(
    fields: &mut Fields<'_>,
    field: &Field<'_>,
    report: &mut Report,
) -> Option<Whom> {
    for other in ["peerAddress", "peerAddresses"] {
        if let Some(field) = fields.get(other) {
            field.fault(report, "autoDiscovery is there too: one of them");
        }
    }
    let mut discovery = field.fields(report)?;
    let mode = discovery.require("mode", "DefaultGateway", report);
    let mode = mode.and_then(|field| field.word(&[("DefaultGateway", ())], report));
    let families = [("ipv4", Family::Ipv4Unicast), ("ipv6", Family::Ipv6Unicast)];
    let family = discovery.require("addressFamily", "ipv4 or ipv6", report);
    let family = family.and_then(|field| field.word(&families, report));
    discovery.close_strictly(report);
    mode?;
    family.map(Whom::DefaultGateways)
}

/// `peerAddress` or `peerAddresses`, each with its line.
fn addresses(fields: &mut Fields<'_>, report: &mut Report) -> Vec<(PeerAddress, u32)> {
    let one = fields.get("peerAddress");
    let several = fields.get("peerAddresses");
    let elements = match (one, several) {
        (Some(_), Some(several)) => {
            several.fault(report, "peerAddress is there too: one of the two");
            return Vec::new();
        }
        (Some(one), None) => vec![one],
        (None, Some(several)) => {
            let elements = several.list(report).unwrap_or_default();
            if elements.is_empty() {
                several.fault(report, "is empty: at least one address");
            }
            elements
        }
        (None, None) => {
            let path = fields.path_of("peerAddress");
            let message = "is missing: the neighbor's address, or peerPrefix or autoDiscovery";
            report.fault(fields.line, &path, message);
            return Vec::new();
        }
    };
    elements
        .iter()
        .filter_map(|element| Some((peer_address(element, report)?, element.line)))
        .collect()
}

fn peer_address(field: &Field<'_>, report: &mut Report) -> Option<PeerAddress> {
    let address = field.peer_address(report)?;
    let refused = match address.ip() {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => "write it as an IPv4 address",
        IpAddr::V6(_) if address.is_link_local() && address.zone().is_none() => {
            "a link-local address needs its interface, for example fe80::6%eth0"
        }
        ip if ip.is_unspecified() || ip.is_multicast() => "the address of one host is expected",
        IpAddr::V4(v4) if v4.is_broadcast() => "the address of one host is expected",
        _ => return Some(address),
    };
    field.fault(report, format!("{address} is not accepted: {refused}"));
    None
}

fn local_address(
    fields: &mut Fields<'_>,
    whom: &[(Whom, u32)],
    report: &mut Report,
) -> Option<IpAddr> {
    let field = fields.get("localAddress")?;
    let local = own_address(&field, report)?;
    for (whom, _) in whom {
        if let Whom::Address(peer) = whom
            && peer.ip().is_ipv4() != local.is_ipv4()
        {
            let message = format!("{local} and the peer's {peer} are not of one family");
            field.fault(report, message);
        }
        if let Whom::Address(peer) = whom
            && peer.ip() == local
        {
            let message = format!("{local} is the peer's address too: no session comes of that");
            field.warn(report, message);
        }
    }
    Some(local)
}

/// An address that sessions may be bound to.
pub(super) fn own_address(field: &Field<'_>, report: &mut Report) -> Option<IpAddr> {
    let local = field.ip(report)?;
    if local.is_unspecified() || local.is_multicast() {
        let message = format!("{local} is not accepted: an address of this node");
        field.fault(report, message);
        return None;
    }
    Some(local)
}

fn auth(fields: &mut Fields<'_>, report: &mut Report) -> Auth {
    let mut secret = fields.get("authSecretRef");
    let mut file = fields.get("authPasswordFile");
    if let (Some(of_secret), Some(of_file)) = (&secret, &file) {
        // The neighbor's own wins over the template's other one.
        match (fields.is_beneath(of_secret), fields.is_beneath(of_file)) {
            (true, false) => secret = None,
            (false, true) => file = None,
            _ => {}
        }
    }
    match (secret, file) {
        (None, None) => Auth::None,
        (Some(_), Some(file)) => {
            file.fault(report, "authSecretRef is there too: one of the two");
            Auth::None
        }
        (Some(field), None) => match field.name(report) {
            Some(name) => Auth::Secret(Arc::from(name)),
            None => Auth::None,
        },
        (None, Some(field)) => match field.string(report) {
            Some("") | None => {
                field.fault(report, "the path of a file is expected");
                Auth::None
            }
            Some(path) => Auth::File(path.into()),
        },
    }
}

fn timers_of(field: &Field<'_>, report: &mut Report) -> Timers {
    let mut timers = Timers::default();
    let Some(mut fields) = field.fields(report) else {
        return timers;
    };
    let seconds = |fields: &mut Fields<'_>, name, least, into: &mut Duration, report: &mut _| {
        if let Some(value) = number(fields, name, least..=SECONDS_MAX, report) {
            *into = Duration::from_secs(value.into());
        }
    };
    let retry = &mut timers.connect_retry;
    seconds(&mut fields, "connectRetryTimeSeconds", 1, retry, report);
    seconds(&mut fields, "holdTimeSeconds", 0, &mut timers.hold, report);
    let keepalive_is_given = fields.get("keepAliveTimeSeconds").is_some();
    let keepalive = &mut timers.keepalive;
    seconds(&mut fields, "keepAliveTimeSeconds", 1, keepalive, report);
    seconds(
        &mut fields,
        "minHoldTimeSeconds",
        3,
        &mut timers.min_hold,
        report,
    );
    seconds(&mut fields, "openTimeSeconds", 1, &mut timers.open, report);
    let mut send_hold = Duration::ZERO;
    seconds(
        &mut fields,
        "sendHoldTimeSeconds",
        0,
        &mut send_hold,
        report,
    );
    timers.send_hold = (!send_hold.is_zero()).then_some(send_hold);
    seconds(
        &mut fields,
        "advertisementIntervalSeconds",
        0,
        &mut timers.advertisement_interval,
        report,
    );
    fields.close_strictly(report);
    if keepalive_is_given && !timers.hold.is_zero() && timers.keepalive > timers.hold {
        field.fault(
            report,
            "keepAliveTimeSeconds is above holdTimeSeconds: at most that",
        );
    }
    check_hold(field, &timers, report);
    timers
}

/// RFC 4271 §4.2 (0, or at least three seconds) and RFC 9687 §4 (send hold above hold).
fn check_hold(field: &Field<'_>, timers: &Timers, report: &mut Report) {
    if timers.hold.is_zero() {
        return;
    }
    if timers.hold < Duration::from_secs(3) {
        field.fault(report, "holdTimeSeconds is 1 or 2: 0, or 3 to 65535");
    } else if timers.hold < timers.min_hold {
        let message = "holdTimeSeconds is below minHoldTimeSeconds: no peer could be taken";
        field.fault(report, message);
    }
    if timers.send_hold.is_some_and(|send| send <= timers.hold) {
        let message = "sendHoldTimeSeconds is not above holdTimeSeconds: 0, or more than that";
        field.fault(report, message);
    }
}

pub(super) fn families_of(field: &Field<'_>, report: &mut Report) -> FamilySet {
    let mut families = FamilySet::NONE;
    for element in field.list(report).unwrap_or_default() {
        let Some(mut fields) = element.fields(report) else {
            continue;
        };
        let afis = [("ipv4", Family::Ipv4Unicast), ("ipv6", Family::Ipv6Unicast)];
        let afi = fields.require("afi", "ipv4 or ipv6", report);
        let afi = afi.and_then(|field| field.word(&afis, report));
        let safi = fields.require("safi", "unicast", report);
        let safi = safi.and_then(|field| field.word(&[("unicast", ())], report));
        fields.close_strictly(report);
        if let (Some(family), Some(())) = (afi, safi) {
            if families.contains(family) {
                element.warn(report, format!("{family} is listed twice"));
            }
            families.insert(family);
        }
    }
    if families.is_empty() {
        field.fault(
            report,
            "no family is left: at least one of ipv4 and ipv6 unicast",
        );
    }
    families
}

fn add_paths(fields: &mut Fields<'_>, report: &mut Report) -> AddPaths {
    let field = fields.get("addPaths");
    let Some(mut fields) = field.and_then(|field| field.fields(report)) else {
        return AddPaths::default();
    };
    let send = number(&mut fields, "send", 0..=u8::MAX, report).unwrap_or(0);
    let receive = flag(&mut fields, "receive", report);
    fields.close_strictly(report);
    AddPaths { send, receive }
}

fn next_hops(field: &Field<'_>, report: &mut Report) -> (Option<Ipv4Addr>, NextHopIpv6) {
    let (mut ipv4, mut ipv6) = (None, NextHopIpv6::Auto);
    let Some(mut fields) = field.fields(report) else {
        return (ipv4, ipv6);
    };
    let is_empty = |field: &Field<'_>| field.node.value == Value::String(String::new());
    if let Some(field) = fields.get("ipv4").filter(|field| !is_empty(field)) {
        ipv4 = next_hop_ipv4(&field, report);
    }
    if let Some(field) = fields.get("ipv6").filter(|field| !is_empty(field)) {
        ipv6 = next_hop_ipv6(&field, report);
    }
    fields.close_strictly(report);
    (ipv4, ipv6)
}

fn next_hop_ipv4(field: &Field<'_>, report: &mut Report) -> Option<Ipv4Addr> {
    if let Value::String(text) = &field.node.value
        && let Ok(address) = text.parse::<Ipv4Addr>()
        && !(address.is_unspecified() || address.is_multicast() || address.is_broadcast())
    {
        return Some(address);
    }
    field.refuse(report, "the IPv4 address of one host")
}

/// RFC 2545 §3: the next hop is a global address. A mapped one is not for every router, so it has
/// to be asked for by its word.
fn next_hop_ipv6(field: &Field<'_>, report: &mut Report) -> NextHopIpv6 {
    if let Value::String(text) = &field.node.value {
        if text == "mapped" {
            return NextHopIpv6::Mapped;
        }
        if let Ok(address) = text.parse::<Ipv6Addr>()
            && !(address.is_unspecified() || address.is_multicast())
            && !address.is_unicast_link_local()
            && address.to_ipv4_mapped().is_none()
        {
            return NextHopIpv6::Address(address);
        }
    }
    let accepted = "the global IPv6 address of one host, or mapped";
    field.refuse::<()>(report, accepted);
    NextHopIpv6::Auto
}

fn builtin_filters(fields: &mut Fields<'_>, report: &mut Report) -> BuiltinFilters {
    let mut filters = BuiltinFilters::default();
    let Some(field) = fields.get("builtinFilters") else {
        return filters;
    };
    if let Some(mut fields) = field.fields(report) {
        for (name, on) in [
            ("martians", &mut filters.martians),
            ("asSet", &mut filters.as_set),
            ("firstAS", &mut filters.first_as),
            ("ownPrefixes", &mut filters.own_prefixes),
        ] {
            let written = fields.get(name);
            *on = written
                .and_then(|field| field.boolean(report))
                .unwrap_or(*on);
        }
        fields.close_strictly(report);
    }
    filters
}

fn send_communities(fields: &mut Fields<'_>, report: &mut Report) -> SendCommunities {
    let all = SendCommunities {
        standard: true,
        large: true,
        extended: true,
    };
    let Some(field) = fields.get("sendCommunities") else {
        return all;
    };
    let mut send = SendCommunities {
        standard: false,
        large: false,
        extended: false,
    };
    for element in field.list(report).unwrap_or_default() {
        let words = [("standard", 0), ("large", 1), ("extended", 2)];
        match element.word(&words, report) {
            Some(0) => send.standard = true,
            Some(1) => send.large = true,
            Some(_) => send.extended = true,
            None => {}
        }
    }
    send
}
