//! What a desired state would have announced to whom, without starting anything.
//!
//! The next hop is worked out by the function that sessions use; only the session's local address
//! is an estimate, the one that the kernel would choose now.

use std::fmt::Write;
use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;

use codec::{Family, IpPrefix};
use serde::Serialize;

use super::policies::Policies;
use super::told::Receiver;
use crate::admin::render;
use crate::config::{
    DesiredState, Export, Instance, Neighbor, NextHopIpv6, Origin, Password, PeerAddress,
};
use crate::group::own_next_hop;
use crate::interfaces::Interfaces;
use crate::interfaces::socket_address;
use crate::model::attributes::{community, large_community};
use crate::model::{Source, afi_name};
use crate::watcher::neighbors;

/// One own route and whom it goes to.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Announcement {
    instance: String,
    afi: &'static str,
    safi: &'static str,
    prefix: String,
    local_pref: u32,
    communities: Option<Vec<String>>,
    large_communities: Option<Vec<String>>,
    peers: Arc<[Receiver]>,
    sources: Vec<Source>,
}

/// The next hop of own routes, as far as it can be known.
struct OwnNextHop {
    address: Option<String>,
    note: Option<String>,
    of_this_machine: bool,
}

/// Why a neighbor is told no own routes of a family.
enum Untold {
    /// Its settings.
    Never(String),
    /// There is no next hop for them.
    NoNextHop(&'static str),
}

/// Every own route, by instance and prefix.
pub(super) fn announcements(
    desired: &DesiredState,
    interfaces: &dyn Interfaces,
) -> Vec<Announcement> {
    let enabled = desired.instances.values().filter(|i| i.enabled);
    enabled
        .flat_map(|instance| {
            let by_family = Family::ALL.map(|family| receivers(instance, family, interfaces));
            let mut policies = Policies::new(instance);
            let origins = instance.origins.iter();
            origins.map(move |(prefix, origin)| {
                let peers = &by_family[prefix.family().index()];
                let peers = policies.judge(*prefix, origin, peers);
                announcement(instance, *prefix, origin, peers)
            })
        })
        .collect()
}

fn announcement(
    instance: &Instance,
    prefix: IpPrefix,
    origin: &Origin,
    peers: Arc<[Receiver]>,
) -> Announcement {
    let attributes = &origin.attributes;
    let communities = attributes.communities.iter();
    let communities: Vec<String> = communities.map(|c| community(*c)).collect();
    let large = attributes.large_communities.iter();
    let large: Vec<String> = large.map(|c| large_community(*c)).collect();
    Announcement {
        instance: instance.name.to_string(),
        afi: afi_name(prefix.family()),
        safi: "unicast",
        prefix: prefix.to_string(),
        local_pref: attributes.local_preference,
        communities: (!communities.is_empty()).then_some(communities),
        large_communities: (!large.is_empty()).then_some(large),
        peers,
        sources: origin.sources.iter().map(Source::from).collect(),
    }
}

fn receivers(instance: &Instance, family: Family, interfaces: &dyn Interfaces) -> Vec<Receiver> {
    neighbors(instance)
        .map(|(peer_address, neighbor)| {
            let told = told(neighbor, family, interfaces);
            let lacks_next_hop = matches!(told, Err(Untold::NoNextHop(_)));
            let (own, reason) = match told {
                Ok(own) => (Some(own), None),
                Err(Untold::Never(reason)) => (None, Some(reason)),
                Err(Untold::NoNextHop(reason)) => (None, Some(reason.to_owned())),
            };
            Receiver {
                peer_address,
                announced: own.is_some(),
                of_this_machine: match &own {
                    Some(own) => own.of_this_machine,
                    None => lacks_next_hop,
                },
                next_hop_note: own.as_ref().and_then(|own| own.note.clone()),
                next_hop: own.and_then(|own| own.address),
                next_hop_by: None,
                attributes: None,
                reason,
                lacks_next_hop,
                differs: String::new(),
            }
        })
        .collect()
}

/// The next hop that `neighbor` is told with own routes of `family`, as far as it can be known; or
/// why it is told none.
fn told(
    neighbor: &Neighbor,
    family: Family,
    interfaces: &dyn Interfaces,
) -> Result<OwnNextHop, Untold> {
    if !neighbor.families.contains(family) {
        let why = format!("{family} is not among its families");
        return Err(Untold::Never(why));
    }
    if neighbor.export == Export::None {
        return Err(Untold::Never("its export is none".to_owned()));
    }
    if let Password::Missing(why) = &neighbor.password {
        return Err(Untold::Never(format!("its session stays idle: {why}")));
    }
    socket_address(neighbor.address, BGP_PORT).map_err(Untold::Never)?;
    let local = neighbor
        .local_address
        .or_else(|| source_towards(neighbor.address));
    let unknown = |note: String| OwnNextHop {
        address: None,
        note: Some(note),
        of_this_machine: true,
    };
    let Some(local) = local else {
        let words = "next hop by the address of its session: this machine has no way to it now";
        return Ok(unknown(words.to_owned()));
    };
    let own = |extended| own_next_hop(family, neighbor, local, extended, interfaces);
    if family == Family::Ipv4Unicast
        && local.is_ipv6()
        && neighbor.next_hop_ipv4.is_none()
        && neighbor.capabilities.extended_next_hop
        && let Ok(extended) = own(true)
    {
        let without = match own(false) {
            Ok(next_hop) => next_hop.address().to_string(),
            Err(why) => format!("not announced: {why}"),
        };
        return Ok(unknown(format!(
            "next hop {} if the session negotiates extended next hop (RFC 8950), else {without}",
            extended.address()
        )));
    }
    let next_hop = own(false).map_err(Untold::NoNextHop)?.address();
    let is_said = match family {
        Family::Ipv4Unicast => neighbor.next_hop_ipv4.is_some(),
        Family::Ipv6Unicast => matches!(neighbor.next_hop_ipv6, NextHopIpv6::Address(_)),
    };
    let is_local = neighbor.local_address == Some(next_hop.to_canonical());
    Ok(OwnNextHop {
        address: Some(next_hop.to_string()),
        note: None,
        of_this_machine: !is_said && !is_local,
    })
}

/// The address that the kernel would connect from. Nothing is sent: connecting a datagram socket
/// only looks up the route.
fn source_towards(peer: PeerAddress) -> Option<IpAddr> {
    let any: IpAddr = match peer.ip() {
        IpAddr::V4(_) => [0; 4].into(),
        IpAddr::V6(_) => [0; 16].into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    let remote = socket_address(peer, BGP_PORT).ok()?;
    socket.connect(remote).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// What is to be known of next hops that were worked out on another machine than the node's.
pub(super) fn note(announcements: &[Announcement], node: &str, machine: &str) -> Option<String> {
    let is_part = |long: &str, short: &str| {
        let rest = long.strip_prefix(short);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    // A node's name may be the long form of its hostname, or the short one.
    let [node_name, machine_name] = [node, machine].map(str::to_ascii_lowercase);
    if is_part(&node_name, &machine_name) || is_part(&machine_name, &node_name) {
        return None;
    }
    let mut peers = announcements.iter().flat_map(|told| told.peers.iter());
    peers.any(|peer| peer.of_this_machine).then(|| {
        format!("next hops are this machine's ({machine}), not those of {node}: run it on the node")
    })
}

/// The announcements for people.
pub(super) fn text(announcements: &[Announcement]) -> String {
    let mut text = String::new();
    for announcement in announcements {
        push(announcement, &mut text);
    }
    let _ = match announcements.len() {
        1 => writeln!(text, "1 own route on this node."),
        count => writeln!(text, "{count} own routes on this node."),
    };
    text
}

fn push(announcement: &Announcement, text: &mut String) {
    let _ = write!(text, "{}", announcement.prefix);
    if announcement.instance != "default" {
        let _ = write!(text, " (instance {})", announcement.instance);
    }
    let _ = write!(text, ", local preference {}", announcement.local_pref);
    for (name, values) in [
        ("communities", &announcement.communities),
        ("large communities", &announcement.large_communities),
    ] {
        if let Some(values) = values {
            let _ = write!(text, ", {name} {}", values.join(" "));
        }
    }
    text.push('\n');
    for source in &announcement.sources {
        let _ = writeln!(text, "  by {} {}", render::resource(source), source.rule);
    }
    if announcement.peers.is_empty() {
        text.push_str("  to nobody: there are no neighbors\n");
    }
    for peer in announcement.peers.iter() {
        let address = &peer.peer_address;
        let by = peer.next_hop_by.as_ref();
        let by = by.map_or_else(String::new, |by| format!(" (set by {by})"));
        let differs = &peer.differs;
        let _ = match (&peer.reason, &peer.next_hop, &peer.next_hop_note) {
            (Some(reason), ..) => writeln!(text, "  not to {address}: {reason}"),
            (None, Some(next_hop), _) => {
                writeln!(text, "  to {address}, next hop {next_hop}{by}{differs}")
            }
            (None, None, Some(note)) => writeln!(text, "  to {address}, {note}{differs}"),
            (None, None, None) => writeln!(text, "  to {address}{differs}"),
        };
    }
}

const BGP_PORT: u16 = 179;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watcher::check;

    struct NoInterfaces;

    impl Interfaces for NoInterfaces {
        fn beside(&self, _local: IpAddr) -> Vec<IpAddr> {
            Vec::new()
        }
    }

    fn desired(neighbors: &str) -> DesiredState {
        desired_under(neighbors, "{statements: []}")
    }

    fn desired_under(neighbors: &str, spec: &str) -> DesiredState {
        let directory = tempfile::tempdir().unwrap();
        let config = format!(
            "apiVersion: cilium.io/v2alpha1\nkind: CiliumConfig\n\
             metadata: {{name: cilium-config}}\nspec:\n  bgpPeering:\n    localASN: 65001\n    \
             guard: {{allow: [10.0.0.0/8, '2001:db8::/32']}}\n    neighbors: {neighbors}\n    \
             advertise: {{attributes: {{communities: {{standard: ['65000:1']}}}}}}\n"
        );
        let policy = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\n\
                      metadata: {name: web}\n\
                      spec: {endpointSelector: {}, egress: [{toCIDR: [10.0.1.0/24, '2001:db8:1::/48']}]}\n";
        std::fs::write(directory.path().join("c.yaml"), config).unwrap();
        std::fs::write(directory.path().join("p.yaml"), policy).unwrap();
        let policy = format!(
            "apiVersion: ringbgp.io/v1alpha1\nkind: RoutePolicy\nmetadata: {{name: out}}\nspec: {spec}\n"
        );
        std::fs::write(directory.path().join("r.yaml"), policy).unwrap();
        let options = crate::watcher::Options {
            node_name: "node-1".to_owned(),
            allow_second_speaker: false,
        };
        let checked = check(directory.path(), &options);
        assert_eq!(checked.faults, [], "the manifests are right");
        checked.state
    }

    #[test]
    fn routes_are_shown_with_rule_neighbors_and_next_hops() {
        let neighbors = "[{peerAddress: 127.0.0.2, peerASN: 65001, localAddress: 127.0.0.1}]";
        let announcements = announcements(&desired(neighbors), &NoInterfaces);
        let by = "  by CiliumNetworkPolicy default/web spec.egress[0].toCIDR";
        let why = "the session's interface has no or several global IPv6 addresses: set \
                   nextHop.ipv6";
        assert_eq!(
            text(&announcements),
            format!(
                "10.0.1.0/24, local preference 100, communities 65000:1\n{by}[0]\n  \
                 to 127.0.0.2, next hop 127.0.0.1\n\
                 2001:db8:1::/48, local preference 100, communities 65000:1\n{by}[1]\n  \
                 not to 127.0.0.2: {why}\n\
                 2 own routes on this node.\n"
            )
        );
        let json = serde_json::to_value(&announcements).unwrap();
        assert_eq!(json[0]["peers"][0]["nextHop"], "127.0.0.1");
        let told = &json[0]["peers"][0]["attributes"];
        assert_eq!(
            (&told["localPref"], &told["asPath"], &told["med"]),
            (
                &100.into(),
                &serde_json::json!([]),
                &serde_json::Value::Null
            )
        );
        assert_eq!(told["communities"], serde_json::json!(["65000:1"]));
        assert!(json[1]["peers"][0]["attributes"].is_null());
        assert_eq!(json[1]["peers"][0]["nextHop"], serde_json::Value::Null);
    }

    #[test]
    fn what_export_policy_rejects_is_shown_with_the_statement() {
        let neighbors = "[{peerAddress: 127.0.0.2, peerASN: 65001, localAddress: 127.0.0.1, \
                         export: out}]";
        let mut desired = desired_under(
            neighbors,
            "{statements: [{name: no, action: Reject, match: {prefixes: [10.0.1.0/24]}}]}",
        );
        let shown = text(&announcements(&desired, &NoInterfaces));
        let why = "not to 127.0.0.2: rejected by RoutePolicy out, statement no\n";
        assert!(shown.contains(why), "{shown}");
        let instance = desired.instances.values_mut().next().unwrap();
        instance.origins.retain(|prefix, _| prefix.length() == 48);
        let shown = text(&announcements(&desired, &NoInterfaces));
        assert!(!shown.contains("statement no"), "{shown}");
    }

    #[test]
    fn a_next_hop_that_policy_sets_is_the_one_that_is_shown() {
        let neighbors = "[{peerAddress: 127.0.0.2, peerASN: 65001, localAddress: 127.0.0.1, \
                         export: out}]";
        let desired = desired_under(
            neighbors,
            "{statements: [\
             {name: v4, action: Next, set: {nextHop: 192.0.2.9}}, \
             {name: v6, action: Next, match: {families: [{afi: ipv6, safi: unicast}]}, \
             set: {nextHop: '2001:db8::9'}}, \
             {name: own, action: Next, match: {prefixes: ['10.0.2.0/24']}, set: {nextHop: Self}}, \
             {name: rest, action: Accept, set: {med: {value: 5}}}]}",
        );
        let announcements = announcements(&desired, &NoInterfaces);
        let shown = text(&announcements);
        for line in [
            "to 127.0.0.2, next hop 192.0.2.9 (set by RoutePolicy out, statement v4), MED 5\n",
            // Without the policy there would be none, and the route would not be announced.
            "to 127.0.0.2, next hop 2001:db8::9 (set by RoutePolicy out, statement v6), MED 5\n",
        ] {
            assert!(shown.contains(line), "{line} is not in\n{shown}");
        }
        let json = serde_json::to_value(&announcements).unwrap();
        assert_eq!(
            json[1]["peers"][0]["nextHopBy"],
            "RoutePolicy out, statement v6"
        );
        let neighbors = "[{peerAddress: 127.0.0.2, peerASN: 65001, localAddress: 127.0.0.1, \
                         export: out, families: [{afi: ipv4, safi: unicast}]}]";
        let desired = desired_under(
            neighbors,
            "{statements: [{name: set, action: Next, set: {nextHop: 192.0.2.9}}, \
             {name: own, action: Accept, set: {nextHop: Self}}]}",
        );
        let shown = text(&self::announcements(&desired, &NoInterfaces));
        let line = "to 127.0.0.2, next hop 127.0.0.1\n";
        assert!(shown.contains(line), "{shown}");
    }

    #[test]
    fn what_policy_sets_is_shown_for_each_who_is_told() {
        let neighbors = "[{peerAddress: 127.0.0.2, peerASN: 65001, localAddress: 127.0.0.1, \
                         export: out}, {peerAddress: 127.0.0.3, peerASN: 65002, localAddress: \
                         127.0.0.1, export: out}, {peerAddress: 127.0.0.4, peerASN: 65002, \
                         localAddress: 127.0.0.1, sendCommunities: []}]";
        let desired = desired_under(
            neighbors,
            "{statements: [{name: all, action: Accept, match: {prefixes: [10.0.1.0/24]}, set: \
             {med: {value: 9}, localPreference: 400, \
             communities: {standard: {add: ['65001:9']}}, asPathPrepend: {asn: 65001, count: 2}}}]}",
        );
        let announcements = announcements(&desired, &NoInterfaces);
        let shown = text(&announcements);
        let communities = "communities 65000:1 65001:9";
        for line in [
            // LOCAL_PREF is sent to internal peers only.
            format!(
                "  to 127.0.0.2, next hop 127.0.0.1, AS path 65001 65001, local preference 400, \
                 MED 9, {communities}\n"
            ),
            format!(
                "  to 127.0.0.3, next hop 127.0.0.1, AS path 65001 65001 65001, MED 9, \
                 {communities}\n"
            ),
            "  to 127.0.0.4, next hop 127.0.0.1, no communities\n".to_owned(),
        ] {
            assert!(shown.contains(&line), "{line} is not in\n{shown}");
        }
        let json = serde_json::to_value(&announcements).unwrap();
        let told = &json[0]["peers"][1]["attributes"];
        assert_eq!((&told["med"], &told["origin"]), (&9.into(), &"IGP".into()));
        assert!(told["localPref"].is_null());
        assert_eq!(
            told["asPath"][0]["asns"],
            serde_json::json!([65001, 65001, 65001])
        );
        assert_eq!(
            json[0]["peers"][0]["attributes"]["communities"],
            serde_json::json!(["65000:1", "65001:9"])
        );
    }

    #[test]
    fn a_next_hop_that_the_session_decides_is_said_to_be_so() {
        let neighbors = "[{peerAddress: '::2', peerASN: 65002, localAddress: '::1', \
                         capabilities: {extendedNextHop: true}}]";
        let announcements = announcements(&desired(neighbors), &NoInterfaces);
        let shown = text(&announcements);
        let line = "  to ::2, next hop ::1 if the session negotiates extended next hop (RFC 8950), \
                    else not announced: the session is over IPv6";
        assert!(shown.contains(line), "{shown}");
        assert!(shown.contains("  to ::2, next hop ::1\n"), "{shown}");
        let json = serde_json::to_value(&announcements).unwrap();
        assert!(json[0]["peers"][0]["nextHop"].is_null());
        let note = json[0]["peers"][0]["nextHopNote"].as_str().unwrap();
        assert!(note.starts_with("next hop ::1 if"), "{note}");
    }

    #[test]
    fn next_hops_of_another_machine_are_said_to_be_its() {
        let of_machine = announcements(
            &desired("[{peerAddress: 127.0.0.2, peerASN: 65001}]"),
            &NoInterfaces,
        );
        let words =
            "next hops are this machine's (laptop), not those of node-1: run it on the node";
        assert_eq!(
            note(&of_machine, "node-1", "laptop").as_deref(),
            Some(words)
        );
        for machine in ["node-1", "NODE-1", "node-1.example.com"] {
            assert_eq!(note(&of_machine, "node-1", machine), None, "{machine}");
        }
        assert_eq!(note(&of_machine, "node-1.example.com", "node-1"), None);
        assert!(note(&of_machine, "node-1", "node-10").is_some());
        // The resources say them.
        let said = "[{peerAddress: 127.0.0.2, peerASN: 65001, nextHop: {ipv4: 192.0.2.1, ipv6: \
                    '2001:db8::1'}}]";
        let said = announcements(&desired(said), &NoInterfaces);
        assert_eq!(note(&said, "node-1", "laptop"), None);
    }

    #[test]
    fn nothing_goes_over_an_interface_that_is_not_there() {
        let neighbors = "[{peerAddress: 'fe80::9%nosuch', peerASN: 65002}]";
        let shown = text(&announcements(&desired(neighbors), &NoInterfaces));
        let why = "\n  not to fe80::9%nosuch: this machine has no interface nosuch, ";
        assert_eq!(shown.matches(why).count(), 2, "{shown}");
    }

    #[test]
    fn a_switched_off_instance_announces_nothing() {
        let mut desired = desired("[]");
        let shown = text(&announcements(&desired, &NoInterfaces));
        assert!(
            shown.contains("to nobody: there are no neighbors"),
            "{shown}"
        );
        desired
            .instances
            .values_mut()
            .for_each(|i| i.enabled = false);
        let shown = text(&announcements(&desired, &NoInterfaces));
        assert_eq!(shown, "0 own routes on this node.\n");
    }

    #[test]
    fn the_source_address_is_the_kernels_choice() {
        let loopback: IpAddr = [127, 0, 0, 1].into();
        assert_eq!(source_towards(loopback.into()), Some(loopback));
    }
}
