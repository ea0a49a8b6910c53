//! What each kind gets for good and for bad text.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::config::{AddPaths, Client, GracefulRestart, Import, NextHopIpv6, PeerAsn, Selection};
use crate::watcher::resource::{Auth, BgpPeering, CidrTarget, PodCidrs};

fn read_text(text: &str) -> Contents {
    read(&Arc::from("f.yaml"), text.as_bytes())
}

pub(super) fn said(contents: &Contents) -> Vec<String> {
    contents.faults.iter().map(ToString::to_string).collect()
}

/// `spec.bgpPeering` starts on line 5 with its first field on line 6.
fn config(body: &str) -> Contents {
    let mut text = String::from(
        "apiVersion: cilium.io/v2alpha1\nkind: CiliumConfig\nmetadata: {name: cilium-config}\n\
         spec:\n  bgpPeering:\n",
    );
    for line in body.lines() {
        text.push_str(&format!("    {line}\n"));
    }
    read_text(&text)
}

pub(super) fn peering(contents: &Contents) -> &BgpPeering {
    match &contents.resources[..] {
        [
            Resource {
                body: Body::Config(peering),
                ..
            },
        ] => peering,
        other => panic!("{other:?} {:?}", said(contents)),
    }
}

pub(super) fn assert_fault(contents: &Contents, expected: &str) {
    assert!(contents.resources.is_empty(), "taken: {contents:?}");
    let said = said(contents);
    assert!(
        said.iter().any(|line| line.contains(expected)),
        "{expected:?} is not in {said:#?}"
    );
}

const NEIGHBOR: &str = "localASN: 65001\nneighbors:\n- peerAddress: 10.0.0.6\n  peerASN: 65001\n";

pub(super) fn with(more: &str) -> Contents {
    config(&format!("{NEIGHBOR}{more}"))
}

// RFC-SHOWN 8212 §2
#[test]
fn defaults_are_filled_in() {
    let contents = config(NEIGHBOR);
    assert_eq!(said(&contents), [""; 0]);
    let peering = peering(&contents);
    assert!(peering.enabled);
    assert_eq!(peering.selection, Selection::default());
    assert_eq!(peering.listen_port, 179);
    assert_eq!(peering.listen_addresses.len(), 2);
    assert_eq!(peering.advertise.pod_cidrs, PodCidrs::CoveredByPolicy);
    assert_eq!(peering.advertise.attributes.local_preference, 100);
    assert_eq!(peering.guard.lengths, [(8, 32), (16, 128)]);
    let neighbor = &peering.neighbors[0];
    assert_eq!(neighbor.port, 179);
    assert_eq!(neighbor.peer_asn, PeerAsn::Number(65001));
    assert_eq!((peering.local_asn, neighbor.local_asn), (Some(65001), None));
    assert_eq!(neighbor.import, Import::None);
    assert_eq!(neighbor.next_hop_ipv6, NextHopIpv6::Auto);
    assert_eq!(neighbor.timers, crate::config::Timers::default());
    assert_eq!(
        neighbor.capabilities,
        crate::config::Capabilities::default()
    );
    assert!(neighbor.fqdn);
}

#[test]
fn everything_supported_is_taken() {
    let contents = config(
        "enabled: false\nbestPath: {alwaysCompareMED: true, preferExistingExternal: true}\nlistenAddresses: [10.0.0.5, '::1']\nlistenPort: 1179\n\
         routerID: 192.168.1.1\nlocalASN: 4200000001\n\
         advertise:\n  networkPolicies: Off\n  policySelector: {matchLabels: {a: b}}\n  \
         namespaceSelector: {matchExpressions: [{key: x, operator: Exists}]}\n  podCIDRs: Off\n  \
         attributes: {communities: {standard: ['65000:1', 70000], wellKnown: [no-export], \
         large: ['1:2:3']}, localPreference: 200}\n\
         guard:\n  deny: [10.0.0.0/8, {prefix: 10.0.0.0/8, ge: 9}]\n  allow: [192.0.2.0/24]\n  \
         prefixLength: {ipv4: {min: 16, max: 24}}\n  maxPrefixes: {ipv6: 10}\n  \
         clusterCIDRs: [10.244.0.0/16]\n\
         neighbors:\n- peerAddresses: [10.0.0.6, '2001:db8::6']\n  peerPort: 1790\n  \
         peerASN: external\n  localASN: 65010\n  passive: true\n  \
         authSecretRef: bgp-auth\n  ebgpMultihop: 3\n  ttlSecurity: true\n  \
         timers: {connectRetryTimeSeconds: 5, holdTimeSeconds: 9, keepAliveTimeSeconds: 3, \
         sendHoldTimeSeconds: 20, advertisementIntervalSeconds: 15}\n  \
         families: [{afi: ipv4, safi: unicast}]\n  nextHop: {ipv4: 10.0.0.5, ipv6: mapped}\n  \
         maxPrefixes: {ipv4: 10, action: reset, warningPercent: 50, restartAfterSeconds: 5}\n  \
         role: rs-client\n  roleStrict: true\n  \
         capabilities: {extendedMessages: false, extendedNextHop: false, fqdn: false}\n  \
         nextHopSelf: Always\n  import: all\n  export: all\n  sendCommunities: [large]\n  \
         allowOwnASN: 1\n",
    );
    assert_eq!(said(&contents), [""; 0]);
    let peering = peering(&contents);
    assert!(!peering.enabled && !peering.advertise.network_policies);
    let selection = peering.selection;
    assert!(selection.always_compare_med && selection.prefer_existing_external);
    let attributes = &peering.advertise.attributes;
    assert_eq!(
        attributes.communities,
        [70000, 65000 << 16 | 1, 0xffff_ff01]
    );
    assert_eq!(attributes.large_communities, [[1, 2, 3]]);
    let deny: Vec<_> = peering
        .guard
        .deny
        .iter()
        .map(|m| (m.shortest, m.longest))
        .collect();
    assert_eq!(deny, [(8, 8), (9, 32)]);
    assert_eq!(peering.guard.allow[0].longest, 32);
    assert_eq!(peering.neighbors.len(), 2);
    assert_eq!(peering.neighbors[1].whom.to_string(), "2001:db8::6");
    assert_eq!(peering.neighbors[1].local_asn, Some(65010));
    let neighbor = &peering.neighbors[0];
    assert_eq!(neighbor.role, Some(crate::config::Role::RouteServerClient));
    assert!(neighbor.role_strict);
    let interval = neighbor.timers.advertisement_interval;
    assert_eq!(interval, std::time::Duration::from_secs(15));
    let limits = neighbor.max_prefixes;
    assert_eq!(
        (limits.most, limits.warning_percent),
        ([Some(10), None], 50)
    );
    let again = std::time::Duration::from_secs(5);
    assert_eq!(
        limits.action,
        crate::config::LimitAction::Reset(Some(again))
    );
    let offered = peering.neighbors[0].capabilities;
    assert!(!offered.extended_messages && !offered.extended_next_hop && !peering.neighbors[0].fqdn);
}

#[test]
fn what_is_written_wrong_is_named() {
    let cases = [
        (
            "frobnicate: 1",
            "f.yaml:10: spec.bgpPeering.frobnicate: unknown field",
        ),
        ("listenPorts: 1", "unknown field; did you mean listenPort?"),
        (
            "guard: {deny: [10.0.0.1/8]}",
            "host bits are set, write 10.0.0.0/8",
        ),
        (
            "routerID: 0.0.0.0",
            "spec.bgpPeering.routerID: 0.0.0.0 is not accepted",
        ),
        ("listenPort: 0", "a number from 1 to 65535"),
        ("enabled: maybe", "true or false"),
        (
            "advertise: {networkPolicies: LocalEndpoints}",
            "not supported yet",
        ),
        (
            "advertise: {attributes: {communities: {standard: [x]}}}",
            "a community",
        ),
        (
            "guard: {prefixLength: {ipv4: {min: 25, max: 24}}}",
            "no length is left",
        ),
        ("guard: {maxPrefixes: 5}", "a mapping is expected"),
        (
            "clusterID: 0.0.0.0",
            "spec.bgpPeering.clusterID: 0.0.0.0 is not accepted",
        ),
        ("clusterID: 7", "spec.bgpPeering.clusterID: 7 is not"),
        (
            "nodes: [{name: a}, {name: a}]",
            "spec.bgpPeering.nodes[1]: a is there twice",
        ),
        ("nodes: [{listenPort: 1}]", "nodes[0].name: is missing"),
        (
            "nodes: [{name: a, neighbors: [{peerAddress: 10.0.0.9, localAddress: 10.0.0.5}]}]",
            "nodes[0].neighbors[0].peerAddress: \"10.0.0.9\" is not accepted: the peerAddress of",
        ),
        (
            "nodes: [{name: a, neighbors: [{peerAddress: 10.0.0.6, localAddress: '::5'}]}]",
            "::5 and the peer's 10.0.0.6 are not of one family",
        ),
        (
            "templates: {tor: {peerAddress: 10.0.0.6}}",
            "templates.tor.peerAddress: unknown field",
        ),
        (
            "templates: {tor: {passive: 1}}",
            "f.yaml:10: spec.bgpPeering.templates.tor.passive: 1 is not accepted",
        ),
        (
            "limits: {memoryBytes: 1}",
            "limits.memoryBytes: 1 is not accepted: a number from 33554432",
        ),
        ("limits: {memory: 1}", "unknown field"),
        (
            "bestPath: {alwaysCompareMED: 1}",
            "spec.bgpPeering.bestPath.alwaysCompareMED: 1 is not accepted",
        ),
        ("bestPath: {alwaysCompareMed: true}", "unknown field"),
    ];
    for (more, expected) in cases {
        assert_fault(&with(more), expected);
    }
}

#[test]
fn what_is_wrong_with_a_neighbor_is_named() {
    let cases = [
        (
            "peerASN: 0",
            "neighbors[0].peerASN: 0 is not accepted: a number from 1",
        ),
        (
            "peerASN: 1\ntimers: {holdTimeSeconds: 2}",
            "0, or 3 to 65535",
        ),
        (
            "peerASN: 1\ntimers: {holdTimeSecond: 9}",
            "did you mean holdTimeSeconds?",
        ),
        (
            "peerASN: 1\ntimers: {advertisementIntervalSeconds: -5}",
            "advertisementIntervalSeconds: -5 is not accepted: a number from 0",
        ),
        (
            "peerASN: 1\ntimers: {sendHoldTimeSeconds: 90}",
            "is not above holdTimeSeconds",
        ),
        (
            "peerASN: 1\nimport: [from-tor]",
            "import: a list is not accepted: text is expected",
        ),
        (
            "peerASN: 1\nbuiltinFilters: {martian: false}",
            "did you mean martians?",
        ),
        (
            "peerASN: 1\ngracefulRestart: {enabled: 1}",
            "gracefulRestart.enabled: 1 is not accepted: true or false",
        ),
        (
            "peerASN: 1\ngracefulRestart: {enbled: false}",
            "did you mean enabled?",
        ),
        (
            "peerASN: 1\nrole: client",
            "role: \"client\" is not accepted: one of provider, rs, rs-client, customer, peer",
        ),
        (
            "peerASN: internal\nrole: customer",
            "roles are of external peers (RFC 9234)",
        ),
        (
            "peerASN: 65001\nrole: peer",
            "roles are of external peers (RFC 9234)",
        ),
        ("peerASN: 1\nroleStrict: 1", "true or false"),
        (
            "peerASN: 1\ncapabilities: {extendedMessages: 1}",
            "capabilities.extendedMessages: 1 is not accepted: true or false",
        ),
        (
            "peerASN: 1\ncapabilities: {extendedMesages: true}",
            "did you mean extendedMessages?",
        ),
        (
            "peerASN: 1\nrouteReflectorClient: true",
            "routeReflectorClient: true is not accepted for a peer of another AS",
        ),
        (
            "peerASN: external\nrouteReflectorClient: true",
            "a reflector's clients are internal peers (RFC 4456)",
        ),
        (
            "peerASN: 65001\nrouteServerClient: true",
            "routeServerClient: true is not accepted for a peer of our own AS",
        ),
        (
            "peerASN: internal\nrouteServerClient: true",
            "a route server's clients are external peers (RFC 7947)",
        ),
        (
            "peerASN: any\nrouteReflectorClient: true\nrouteServerClient: true",
            "routeServerClient: routeReflectorClient is there too: one of the two",
        ),
        (
            "peerASN: any\nimport: all\nrole: rs-client\nrouteServerClient: true",
            "f.yaml:12: spec.bgpPeering.neighbors[0].routeServerClient: true does not go with role: \
             rs-client",
        ),
        ("peerASN: 65001\nrouteReflectorClient: yes", "true or false"),
        (
            "peerASN: 1\nmaxPrefixes: {ipv4: -1}",
            "maxPrefixes.ipv4: -1 is not accepted: a number from 0 to 4194304",
        ),
        (
            "peerASN: 1\nmaxPrefixes: {ipv4: 5, action: drop}",
            "one of reset, warn",
        ),
        (
            "peerASN: 1\nmaxPrefixes: {warningPercent: 0}",
            "a number from 1 to 100",
        ),
        (
            "peerASN: 1\ntemplate: tor",
            "neighbors[0].template: \"tor\" is not accepted: there are no templates",
        ),
        ("peerASN: 1\nlocalAddress: '::5'", "not of one family"),
        ("peerASN: 1\nfamilies: []", "no family is left"),
        (
            "peerASN: 1\nauthSecretRef: a\nauthPasswordFile: b",
            "one of the two",
        ),
        ("passive: true", "peerASN: is missing"),
    ];
    for (fields, expected) in cases {
        let fields = fields.replace('\n', "\n  ");
        let body = format!("localASN: 65001\nneighbors:\n- peerAddress: 10.0.0.6\n  {fields}\n");
        assert_fault(&config(&body), expected);
    }
    let addresses = [
        ("fe80::1", "a link-local address needs its interface"),
        ("fe80::1%", "1 to 15 characters"),
        ("2001:db8::6%eth0", "only a link-local address"),
        ("224.0.0.1", "one host"),
        ("10.0.0.0/24", "an IP address"),
    ];
    for (address, expected) in addresses {
        let body = format!("localASN: 1\nneighbors: [{{peerAddress: '{address}', peerASN: 1}}]");
        assert_fault(&config(&body), expected);
    }
    assert_fault(
        &config("neighbors: [{peerAddress: 10.0.0.6, peerASN: 1}]"),
        "neighbors[0].localASN: is missing",
    );
}

#[test]
fn next_hops_are_addresses_that_a_router_can_use() {
    let refused = [
        "fe80::1",
        "::ffff:1.2.3.4",
        "::",
        "ff02::1",
        "1.2.3.4",
        "fe80::1%eth0",
        "Mapped",
    ];
    for ipv6 in refused {
        let expected = format!(
            "nextHop.ipv6: \"{ipv6}\" is not accepted: the global IPv6 address of one host, or \
             mapped"
        );
        let contents = with(&format!("  nextHop: {{ipv6: '{ipv6}'}}\n"));
        assert_fault(&contents, &expected);
    }
    for ipv4 in ["0.0.0.0", "224.0.0.1", "255.255.255.255", "2001:db8::1"] {
        let expected = format!("nextHop.ipv4: \"{ipv4}\" is not accepted: the IPv4 address of one");
        let contents = with(&format!("  nextHop: {{ipv4: '{ipv4}'}}\n"));
        assert_fault(&contents, &expected);
    }
    let contents = with("  nextHop: {ipv4: 10.0.0.5, ipv6: 2001:db8::5}\n");
    let address = NextHopIpv6::Address("2001:db8::5".parse().unwrap());
    assert_eq!(peering(&contents).neighbors[0].next_hop_ipv6, address);
}

#[test]
fn clients_of_reflectors_and_route_servers_are_taken() {
    let contents = config(
        "localASN: 65001\nclusterID: 192.0.2.1\nneighbors:\n\
         - {peerAddress: 10.0.0.1, peerASN: 65001, import: all, routeReflectorClient: true}\n\
         - {peerAddress: 10.0.0.2, peerASN: 65002, export: all, role: rs, \
         routeServerClient: true}\n\
         - {peerAddress: 10.0.0.3, peerASN: any, import: all, routeReflectorClient: true}\n\
         - {peerAddress: 10.0.0.4, peerASN: 65001, routeReflectorClient: false, \
         routeServerClient: false}\n",
    );
    assert_eq!(said(&contents), [""; 0]);
    let peering = peering(&contents);
    assert_eq!(peering.cluster_id, Some([192, 0, 2, 1].into()));
    let clients: Vec<_> = peering.neighbors.iter().map(|n| n.client).collect();
    let reflected = Some(Client::RouteReflector);
    let served = Some(Client::RouteServer);
    assert_eq!(clients, [reflected, served, reflected, None]);
}

#[test]
fn a_client_that_nothing_is_passed_on_from_or_to_is_a_warning() {
    let contents = with("  routeReflectorClient: true\n");
    assert_eq!(
        said(&contents),
        [
            "f.yaml:10: warning: spec.bgpPeering.neighbors[0].routeReflectorClient: true has no \
             effect: nothing of this neighbor is passed on while its import is none, and nothing \
             to it unless its export is all or a RoutePolicy"
        ]
    );
    assert_eq!(
        peering(&contents).neighbors[0].client,
        Some(Client::RouteReflector)
    );
}

#[test]
fn enhanced_refresh_is_on_unless_it_is_switched_off() {
    let offers = |contents: &Contents| peering(contents).neighbors[0].enhanced_refresh;
    assert!(offers(&with("")));
    assert!(offers(&with("  capabilities: {}\n")));
    assert!(!offers(&with("  capabilities: {enhancedRefresh: false}\n")));
    assert_fault(
        &with("  capabilities: {enhancedRefresh: maybe}\n"),
        "capabilities.enhancedRefresh: \"maybe\" is not accepted: true or false",
    );
    assert_fault(
        &with("  capabilities: {enhancedRefrsh: true}\n"),
        "capabilities.enhancedRefrsh: unknown field",
    );
}

#[test]
fn several_paths_are_asked_for_each_way() {
    let add_paths = |contents: &Contents| peering(contents).neighbors[0].add_paths;
    let both = with("  addPaths: {send: 255, receive: true}\n");
    assert_eq!(said(&both), [""; 0]);
    let wanted = AddPaths {
        send: 255,
        receive: true,
    };
    assert_eq!(add_paths(&both), wanted);
    assert_eq!(add_paths(&with("")), AddPaths::default());
    assert_fault(
        &with("  addPaths: {send: 256}\n"),
        "addPaths.send: 256 is not accepted: a number from 0 to 255",
    );
    assert_fault(
        &with("  addPaths: {recieve: true}\n"),
        "did you mean receive?",
    );
}

#[test]
fn graceful_restart_is_read_with_its_defaults_and_bounds() {
    let read = |more: &str| peering(&with(more)).neighbors[0].graceful_restart;
    let defaults = GracefulRestart::default();
    assert!(!defaults.enabled && defaults.helper && defaults.notification);
    assert_eq!(read(""), defaults);
    assert_eq!(read("  gracefulRestart: {}\n"), defaults);
    let wanted = GracefulRestart {
        enabled: true,
        helper: false,
        restart_time: Duration::from_secs(4095),
        stale_time: Duration::from_secs(7),
        selection_deferral: Duration::from_secs(9),
        notification: false,
    };
    let written = "  gracefulRestart: {enabled: true, helper: false, restartTimeSeconds: 4095, \
                   staleTimeSeconds: 7, selectionDeferralSeconds: 9, notification: false}\n";
    assert_eq!(read(written), wanted);
    assert_fault(
        &with("  gracefulRestart: {restartTimeSeconds: 4096}\n"),
        "gracefulRestart.restartTimeSeconds: 4096 is not accepted: a number from 1 to 4095",
    );
    assert_fault(
        &with("  gracefulRestart: {restartTime: 60}\n"),
        "gracefulRestart.restartTime: unknown field",
    );
}

#[test]
fn long_lived_graceful_restart_is_off_unless_it_is_asked_for() {
    let read = |more: &str| peering(&with(more)).neighbors[0].long_lived;
    assert_eq!(read(""), None);
    let off = "  longLivedGracefulRestart: {enabled: false, staleTimeSeconds: 60}\n";
    assert_eq!(read(off), None);
    let on = "  longLivedGracefulRestart: {enabled: true}\n";
    assert_eq!(read(on), Some(Duration::from_secs(3600)));
    let on = "  longLivedGracefulRestart: {enabled: true, staleTimeSeconds: 16777215}\n";
    assert_eq!(read(on), Some(Duration::from_secs(0xff_ffff)));
    assert_fault(
        &with("  longLivedGracefulRestart: {staleTimeSeconds: 16777216}\n"),
        "longLivedGracefulRestart.staleTimeSeconds: 16777216 is not accepted",
    );
    let contents =
        with("  gracefulRestart: {helper: false}\n  longLivedGracefulRestart: {enabled: true}\n");
    assert!(
        said(&contents)[0].contains("warning"),
        "{:?}",
        said(&contents)
    );
    assert_eq!(peering(&contents).neighbors[0].long_lived, None);
}

#[test]
fn off_is_accepted_for_what_is_not_built() {
    let contents = with(
        "  addPaths: {send: 0, receive: false}\n  role: ''\n  maxPrefixes: {ipv4: 0, ipv6: 0, \
         restartAfterSeconds: 0}\n  timers: {advertisementIntervalSeconds: 0}\n  \
         roleStrict: false\n  \
         longLivedGracefulRestart: {enabled: false}\nlimits: {}\n",
    );
    assert_eq!(said(&contents), [""; 0]);
}

#[test]
fn a_neighbor_lies_over_its_template() {
    let contents = config(
        "localASN: 65001\ntemplates:\n  tor:\n    peerASN: 65002\n    passive: true\n    \
         timers: {holdTimeSeconds: 9, keepAliveTimeSeconds: 3}\n    \
         families: [{afi: ipv4, safi: unicast}, {afi: ipv6, safi: unicast}]\n    \
         authSecretRef: of-tors\n    import: all\n\
         neighbors:\n- {peerAddress: 10.0.0.6, template: tor}\n\
         - peerAddress: 10.0.0.7\n  template: tor\n  peerASN: internal\n  passive: false\n  \
         timers: {keepAliveTimeSeconds: 2}\n  families: [{afi: ipv6, safi: unicast}]\n  \
         authPasswordFile: /key\n  import: null\n",
    );
    assert_eq!(said(&contents), [""; 0]);
    let [same, own] = &peering(&contents).neighbors[..] else {
        panic!("{contents:?}")
    };
    let seconds =
        |timers: &crate::config::Timers| (timers.hold.as_secs(), timers.keepalive.as_secs());
    assert_eq!(same.peer_asn, PeerAsn::Number(65002));
    assert!(same.passive);
    assert_eq!(seconds(&same.timers), (9, 3));
    assert_eq!(same.auth, Auth::Secret("of-tors".into()));
    // The neighbor wins, mappings merge, lists are replaced, null says nothing.
    assert_eq!(own.peer_asn, PeerAsn::Internal);
    assert!(!own.passive);
    assert_eq!(seconds(&own.timers), (9, 2));
    assert_eq!(own.families.iter().count(), 1);
    assert_eq!(own.auth, Auth::File("/key".into()));
    assert_eq!(own.import, Import::All);
}

#[test]
fn what_is_wrong_in_a_template_is_said_once_and_with_its_line() {
    let contents = config(
        "localASN: 65001\ntemplates:\n  tor:\n    peerASN: 65002\n    \
         timers: {holdTimeSeconds: 1}\n    frob: 1\n\
         neighbors:\n- {peerAddresses: [10.0.0.6, 10.0.0.7], template: tor}\n\
         - {peerAddress: 10.0.0.8, template: leaf}\n",
    );
    assert_fault(
        &contents,
        "f.yaml:10: spec.bgpPeering.templates.tor.timers: holdTimeSeconds is 1 or 2",
    );
    assert_fault(&contents, "f.yaml:11: spec.bgpPeering.templates.tor.frob");
    assert_fault(
        &contents,
        "f.yaml:14: spec.bgpPeering.neighbors[1].template: \"leaf\" is not accepted: one of \
         the templates tor",
    );
    let mut said = said(&contents);
    said.sort_unstable();
    said.dedup();
    assert_eq!(said.len(), 3, "{said:#?}");
}

#[test]
fn five_thousand_neighbors_are_ten_lines() {
    let addresses: Vec<String> = (0..5_000)
        .map(|n: u32| std::net::Ipv4Addr::from(0x0a00_0100 + n).to_string())
        .collect();
    let contents = config(&format!(
        "localASN: 65001\ntemplates:\n  tor: {{peerASN: external, passive: true}}\n\
         neighbors:\n- template: tor\n  peerAddresses: [{}]\n",
        addresses.join(", ")
    ));
    assert_eq!(said(&contents), [""; 0]);
    let neighbors = &peering(&contents).neighbors;
    assert_eq!(neighbors.len(), 5_000);
    assert!(
        neighbors
            .iter()
            .all(|n| n.passive && n.peer_asn == PeerAsn::External)
    );
}

#[test]
fn each_field_that_is_accepted_is_named_once() {
    for whom in ["peerAddress: 10.0.0.6", "peerPrefix: 10.0.0.0/24"] {
        let body = format!("localASN: 1\nneighbors: [{{{whom}, peerASN: 1, zzzzzzzzzz: 1}}]");
        let said = said(&config(&body));
        let (_, accepted) = said[0].split_once("accepted are ").unwrap();
        let mut seen = std::collections::BTreeSet::new();
        let twice = accepted.split(", ").find(|field| !seen.insert(*field));
        assert_eq!(twice, None, "{accepted}");
    }
}

#[test]
fn a_prefix_stands_for_whoever_connects_from_it() {
    let contents = config(
        "localASN: 65001\ntemplates: {tor: {peerASN: external, peerPort: 1790}}\nneighbors:\n\
         - {peerPrefix: 10.0.0.0/24, maxDynamicPeers: 5, template: tor}\n\
         - {peerPrefix: '2001:db8::/32', peerASN: any}\n",
    );
    assert_eq!(said(&contents), [""; 0]);
    let neighbors = &peering(&contents).neighbors;
    let of = |n: &crate::watcher::resource::NeighborSpec| (n.whom.to_string(), n.max_dynamic_peers);
    assert_eq!(of(&neighbors[0]), ("10.0.0.0/24".into(), 5));
    assert_eq!(of(&neighbors[1]), ("2001:db8::/32".into(), 1000));
    let faults = [
        (
            "peerPrefix: 10.0.0.1/24",
            "host bits are set, write 10.0.0.0/24",
        ),
        (
            "peerPrefix: 10.0.0.0/24, peerAddress: 10.0.0.1",
            "peerPrefix is there too",
        ),
        (
            "peerPrefix: 10.0.0.0/24, peerPort: 1790",
            "never connected to",
        ),
        (
            "peerPrefix: 10.0.0.0/24, localAddress: 10.0.0.5",
            "never connected to",
        ),
        (
            "peerPrefix: 10.0.0.0/24, maxDynamicPeers: 0",
            "a number from 1 to",
        ),
        (
            "peerAddress: 10.0.0.6, maxDynamicPeers: 5",
            "only with peerPrefix",
        ),
    ];
    for (fields, expected) in faults {
        let body = format!("localASN: 1\nneighbors: [{{{fields}, peerASN: 1}}]");
        assert_fault(&config(&body), expected);
    }
    let twice =
        "neighbors: [{peerPrefix: 10.0.0.0/24, peerASN: 1}, {peerPrefix: 10.0.0.0/24, peerASN: 2}]";
    let expected = "10.0.0.0/24 is already the prefix of";
    assert_fault(&config(&format!("localASN: 1\n{twice}")), expected);
}

#[test]
fn a_link_local_neighbor_is_on_a_link_and_gateways_are_found_by_family() {
    let contents = config(
        "localASN: 65001\nneighbors:\n- {peerAddress: 'fe80::1%eth0', peerASN: external}\n\
         - {peerAddresses: ['fe80::1%eth1', 10.0.0.6], peerASN: external}\n\
         - {autoDiscovery: {mode: DefaultGateway, addressFamily: ipv6}, peerASN: external}\n",
    );
    assert_eq!(said(&contents), [""; 0]);
    let neighbors = peering(&contents).neighbors.iter();
    let whom: Vec<String> = neighbors.map(|n| n.whom.to_string()).collect();
    let (first, second) = ("fe80::1%eth0", "fe80::1%eth1");
    assert_eq!(whom[..3], [first, second, "10.0.0.6"]);
    assert!(whom[3].starts_with("the default gateways"));
    let faults = [
        (
            "mode: Magic, addressFamily: ipv4",
            "autoDiscovery.mode: \"Magic\"",
        ),
        (
            "mode: DefaultGateway",
            "autoDiscovery.addressFamily: is missing",
        ),
    ];
    for (discovery, expected) in faults {
        let body =
            format!("localASN: 1\nneighbors: [{{autoDiscovery: {{{discovery}}}, peerASN: 1}}]");
        assert_fault(&config(&body), expected);
    }
}

#[test]
fn one_address_on_two_links_has_one_password() {
    let with = |one: &str, other: &str| {
        config(&format!(
            "localASN: 1\nneighbors:\n\
             - {{peerAddress: fe80::1%eth0, peerASN: any{one}}}\n\
             - {{peerAddress: fe80::1%eth1, peerASN: any{other}}}\n"
        ))
    };
    let expected = "neighbors[1]: fe80::1%eth1 and fe80::1%eth0 of spec.bgpPeering.neighbors[0]";
    assert_fault(&with(", authSecretRef: a", ", authSecretRef: b"), expected);
    assert_fault(&with("", ", authSecretRef: b"), expected);
    for same in ["", ", authSecretRef: a"] {
        assert_eq!(said(&with(same, same)), [""; 0]);
    }
}

#[test]
fn nobody_within_a_signed_prefix_goes_unsigned() {
    let with = |other: &str| {
        config(&format!(
            "localASN: 1\nneighbors:\n\
             - {{peerPrefix: 10.0.0.0/16, peerASN: any, authSecretRef: a}}\n- {{{other}, peerASN: any}}\n"
        ))
    };
    for inside in ["peerAddress: 10.0.7.6", "peerPrefix: 10.0.7.0/24"] {
        let expected = "spec.bgpPeering.neighbors[1]: 10.0.7";
        assert_fault(&with(inside), expected);
        assert_fault(
            &with(inside),
            "lies within 10.0.0.0/16 of spec.bgpPeering.neighbors[0]",
        );
        let signed = format!("{inside}, authPasswordFile: /key");
        assert_eq!(said(&with(&signed)), [""; 0]);
    }
    assert_eq!(said(&with("peerPrefix: 10.0.0.0/8")), [""; 0]);
}

#[test]
fn two_neighbors_with_one_address_name_both_lines() {
    let contents = with("- peerAddress: 10.0.0.6\n  peerASN: 65002\n");
    assert_fault(
        &contents,
        "f.yaml:10: spec.bgpPeering.neighbors[1]: 10.0.0.6 is already",
    );
    assert_fault(&contents, "neighbors[0] on line 8");
}

#[test]
fn the_config_map_holds_the_same() {
    let contents = read_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cilium-config, namespace: kube-system}\n\
         data:\n  cluster-pool-ipv4-cidr: 10.244.0.0/16\n  enable-bgp-control-plane: \"true\"\n  \
         bgp-secrets-namespace: secrets\n  debug: 'false'\n  bgpPeering: |\n    localASN: 65001\n    \
         neighbors:\n    - peerAddress: 10.0.0.6\n      peerASN: 65001\n",
    );
    assert_eq!(said(&contents), [""; 0]);
    let Body::ConfigMap(map) = &contents.resources[0].body else {
        panic!("{contents:?}")
    };
    assert!(map.cilium_speaks);
    assert_eq!(map.secrets_namespace.as_deref(), Some("secrets"));
    assert_eq!(map.cluster_cidrs.len(), 1);
    assert_eq!(map.peering.as_ref().unwrap().neighbors[0].line, 12);
    let contents = read_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cilium-config}\n\
         data:\n  bgpPeering: |\n    localASN: 65001\n    listenPrt: 1\n",
    );
    assert_fault(
        &contents,
        "f.yaml:7: data.bgpPeering.listenPrt: unknown field; did you mean",
    );
    assert_eq!(contents.invalid.len(), 1);
}

const POLICY: &str = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata:\n  \
                      name: p\n  namespace: n\nspec:\n  endpointSelector: {}\n";

fn policy(egress: &str) -> Contents {
    read_text(&format!("{POLICY}{egress}"))
}

fn targets(contents: &Contents) -> Vec<String> {
    let Body::Policy(policy) = &contents.resources[0].body else {
        panic!("{contents:?}")
    };
    let entries = policy.rules.iter().flat_map(|rule| &rule.entries);
    entries
        .map(|entry| match &entry.target {
            CidrTarget::Cidr(prefix) => format!("{} {prefix}", entry.rule),
            other => format!("{} {other:?}", entry.rule),
        })
        .collect()
}

#[test]
fn policies_are_read_leniently() {
    let contents = policy(
        "  egress:\n  - toCIDR: [10.0.1.0/24, 10.0.2.7/24, 192.0.2.1]\n  - toCIDRSet:\n    \
         - cidr: 10.0.0.0/8\n      except: [10.96.0.0/12, 11.0.0.0/8]\n  \
         - toEndpoints: [{}]\n    toPorts: []\n  egressDeny:\n  - toCIDR: [10.9.0.0/16]\n  \
         unheardOf: 1\n",
    );
    assert_eq!(
        targets(&contents),
        [
            "spec.egress[0].toCIDR[0] 10.0.1.0/24",
            "spec.egress[0].toCIDR[1] 10.0.2.0/24",
            "spec.egress[0].toCIDR[2] 192.0.2.1/32",
            "spec.egress[1].toCIDRSet[0] 10.0.0.0/8",
        ]
    );
    let said = said(&contents);
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].starts_with("f.yaml:9: warning: spec.egress[0].toCIDR[1]: \"10.0.2.7/24\""));
    assert!(said[1].contains("takes nothing out"));
}

#[test]
fn exceptions_that_take_all_or_nothing_are_warnings() {
    let cases = [
        (
            "10.9.0.0/16",
            "10.9.0.0/16 covers 10.9.1.0/24 entirely: nothing of it is left",
        ),
        ("10.9.1.0/24", "covers 10.9.1.0/24 entirely"),
        (
            "10.9.2.0/24",
            "10.9.2.0/24 does not overlap 10.9.1.0/24: it takes nothing out",
        ),
        ("2001:db8::/32", "it takes nothing out"),
    ];
    for (except, expected) in cases {
        let set = format!("{{cidr: 10.9.1.0/24, except: ['{except}']}}");
        let contents = policy(&format!("  egress:\n  - toCIDRSet: [{set}]\n"));
        assert_eq!(targets(&contents).len(), 1);
        let said = said(&contents);
        assert!(
            said.len() == 1 && said[0].contains(expected),
            "{except}: {said:?}"
        );
    }
    let set = "{cidr: 10.9.1.0/24, except: [10.9.1.0/25]}";
    let contents = policy(&format!("  egress:\n  - toCIDRSet: [{set}]\n"));
    assert_eq!(said(&contents), [""; 0]);
}

#[test]
fn misspelt_fields_that_would_be_read_are_warnings() {
    let contents = policy("  egress:\n  - toCIDRs: [10.0.1.0/24]\n");
    assert_eq!(targets(&contents).len(), 0);
    assert!(said(&contents)[0].contains("warning: spec.egress[0].toCIDRs: unknown field"));
    let contents = policy("  egres:\n  - toCIDR: [10.0.1.0/24]\n");
    assert!(said(&contents)[0].contains("did you mean egress?"));
}

#[test]
fn a_policy_with_a_broken_cidr_is_invalid() {
    let contents = policy("  egress:\n  - toCIDR: [10.0.1.0/33]\n");
    assert_fault(
        &contents,
        "f.yaml:9: spec.egress[0].toCIDR[0]: \"10.0.1.0/33\" is not accepted",
    );
    assert_eq!(contents.invalid[0].to_string(), "CiliumNetworkPolicy n/p");
    let contents = policy("  egress:\n  - toCIDRSet: [{cidr: 10.0.0.0/8, cidrGroupRef: g}]\n");
    assert_fault(&contents, "exactly one of");
}

#[test]
fn a_policy_that_is_written_by_half_is_invalid() {
    let cases = [
        ("  egress:\n", "f.yaml:8: spec.egress: nothing is written"),
        (
            "  egress:\n  - toCIDR:\n",
            "spec.egress[0].toCIDR: nothing is written",
        ),
        (
            "  egress:\n  - toCIDRSet:\n",
            "spec.egress[0].toCIDRSet: nothing",
        ),
        (
            "  egress:\n  - toCIDRSet:\n    - cidr: 10.0.0.0/8\n      except:\n",
            "toCIDRSet[0].except: nothing is written",
        ),
        ("  nodeSelector:\n", "spec.nodeSelector: nothing is written"),
        ("specs:\n", "specs: nothing is written"),
    ];
    for (egress, expected) in cases {
        let contents = policy(egress);
        assert_fault(&contents, expected);
        assert_eq!(said(&contents).len(), 1);
        assert_eq!(contents.invalid[0].to_string(), "CiliumNetworkPolicy n/p");
    }
    let contents = read_text(
        "apiVersion: cilium.io/v2\nkind: CiliumCIDRGroup\nmetadata: {name: g}\n\
         spec:\n  externalCIDRs:\n",
    );
    assert_fault(&contents, "spec.externalCIDRs: nothing is written");
    // An empty list says what it means.
    let contents = policy("  egress: []\n");
    assert_eq!(said(&contents), [""; 0]);
}

#[test]
fn groups_nodes_secrets() {
    let contents = read_text(
        "apiVersion: v1\nkind: List\nitems:\n\
         - {apiVersion: cilium.io/v2alpha1, kind: CiliumCIDRGroup, metadata: {name: g}, \
         spec: {externalCIDRs: [10.0.1.0/24]}}\n\
         - {apiVersion: cilium.io/v2, kind: CiliumNode, metadata: {name: a}, spec: {addresses: \
         [{type: InternalIP, ip: 10.0.0.5}], ipam: {podCIDRs: [10.244.1.0/24], pools: \
         {allocated: [{pool: x, cidrs: [10.245.1.0/24]}]}}}}\n\
         - {apiVersion: v1, kind: Node, metadata: {name: a}, spec: {podCIDR: 10.1.0.0/24}, \
         status: {addresses: [{type: Hostname, address: a}, {type: InternalIP, address: '::5'}]}}\n\
         - {apiVersion: v1, kind: Secret, metadata: {name: s}, data: {password: aHVzaA==}}\n\
         - {apiVersion: v1, kind: Secret, metadata: {name: t}, stringData: {other: x}}\n\
         - {apiVersion: v1, kind: Namespace, metadata: {name: n, labels: {team: red}}}\n\
         - {apiVersion: apps/v1, kind: Deployment, metadata: {name: d}}\n",
    );
    assert_eq!(said(&contents), [""; 0]);
    assert_eq!(contents.documents, 7);
    assert_eq!(contents.passed_over.get("Deployment"), Some(&1));
    let bodies: Vec<&Body> = contents.resources.iter().map(|r| &r.body).collect();
    let [
        Body::CidrGroup(group),
        Body::Node(cilium),
        Body::Node(node),
        Body::Secret(secret),
        Body::Secret(empty),
        Body::Namespace,
    ] = bodies[..]
    else {
        panic!("{bodies:?}")
    };
    assert_eq!(group.cidrs.len(), 1);
    assert_eq!(cilium.pod_cidrs.len(), 2);
    assert_eq!(cilium.internal_addresses.len(), 1);
    assert_eq!(node.pod_cidrs.len(), 1);
    assert_eq!(node.addresses.len(), 1);
    assert_eq!(secret.as_deref(), Ok(b"hush".as_slice()));
    assert!(empty.as_ref().unwrap_err().contains("no key password"));
}

#[test]
fn kinds_that_are_not_built_yet_are_faults() {
    let text = "apiVersion: cilium.io/v2\nkind: CiliumBGPClusterConfig\nmetadata: {name: x}\n";
    assert_fault(
        &read_text(text),
        "CiliumBGPClusterConfig is not supported yet",
    );
}

#[test]
fn a_kind_that_is_misspelt_is_named() {
    let document = |version: &str, kind: &str| {
        let text = format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: x}}\n");
        read_text(&text)
    };
    for kind in ["RoutPolicy", "RouteMap"] {
        let expected =
            format!("kind: there is no kind {kind} of ringbgp.io; did you mean RoutePolicy?");
        assert_fault(&document("ringbgp.io/v1alpha1", kind), &expected);
    }
    for (version, kind, expected) in [
        (
            "cilium.io/v2",
            "CiliumNetworkPolcy",
            "f.yaml:1: warning: kind: CiliumNetworkPolcy is not read; did you mean \
             CiliumNetworkPolicy?",
        ),
        ("v1", "Secrets", "did you mean Secret?"),
        (
            "ringbgp/v1alpha1",
            "RoutePolicy",
            "only read as ringbgp.io/v1alpha1",
        ),
    ] {
        let contents = document(version, kind);
        assert!(
            said(&contents)[0].contains(expected),
            "{:?}",
            said(&contents)
        );
        assert_eq!(contents.passed_over[kind], 1);
    }
    // Others' kinds are others' business.
    for (version, kind) in [("apps/v1", "Deployment"), ("longhorn.io/v1beta2", "Node")] {
        assert_eq!(said(&document(version, kind)), [""; 0]);
    }
}

#[test]
fn documents_that_are_no_objects() {
    for text in [
        "just words\n",
        "- a\n",
        "kind: Node\n",
        "apiVersion: v1\nkind: Node\n",
    ] {
        let contents = read_text(text);
        assert!(contents.nameless && !contents.faults.is_empty(), "{text}");
    }
    let contents = read_text("a: [1\n");
    assert!(contents.unreadable);
    let contents = read(&Arc::from("f.yaml"), b"a: 1\nb: \xff\n");
    assert!(contents.unreadable);
    assert_eq!(contents.faults[0].line, 2);
    let contents = read_text("");
    assert!(!contents.unreadable && contents.documents == 0);
}

#[test]
fn every_message_is_one_line() {
    let odd = "\"a\\nb\\e[31m\"";
    for text in [
        format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: {odd}}}\n"),
        format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: a, namespace: {odd}}}\n"),
        format!("apiVersion: v1\nkind: Node\nmetadata: {{name: a, labels: {{{odd}: [1]}}}}\n"),
        format!("apiVersion: ringbgp.io/v1\nkind: {odd}\nmetadata: {{name: a}}\n"),
        format!("apiVersion: cilium.io/{odd}\nkind: CiliumNode\nmetadata: {{name: a}}\n"),
    ] {
        let contents = read_text(&text);
        assert!(!contents.faults.is_empty(), "{text}");
        for line in said(&contents) {
            assert!(!line.contains(char::is_control), "{line:?}");
        }
    }
    let contents = with(&format!("  authSecretRef: {odd}\n  {odd}: 1\n"));
    assert_eq!(contents.faults.len(), 2);
    assert!(!said(&contents).concat().contains(char::is_control));
}

#[test]
fn the_operators_kind_of_the_same_name_is_passed_over() {
    let contents = read_text(
        "apiVersion: cilium.io/v1alpha1\nkind: CiliumConfig\nmetadata: {name: cilium}\n\
         spec: {ipam: {mode: kubernetes}}\n",
    );
    assert!(contents.faults.is_empty() && contents.resources.is_empty());
    assert_eq!(contents.passed_over.len(), 1);
    // Any other version is a slip.
    let contents = read_text(
        "apiVersion: cilium.io/v2alpha2\nkind: CiliumConfig\nmetadata: {name: cilium-config}\n\
         spec: {}\n",
    );
    assert!(contents.resources.is_empty());
    assert_eq!(
        said(&contents),
        ["f.yaml:1: warning: apiVersion: version v2alpha2 of CiliumConfig is not read: v2alpha1"]
    );
}

#[test]
fn settings_that_break_off_are_no_empty_settings() {
    for field in ["neighbors:", "guard:", "advertise:"] {
        let said = said(&config(&format!("    localASN: 65001\n    {field}\n")));
        let words = "nothing is written after it";
        assert!(
            said.iter().any(|line| line.contains(words)),
            "{field}: {said:?}"
        );
    }
}
