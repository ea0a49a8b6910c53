//! What each kind gets for good and for bad text.

mod neighbors;
mod policies;

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::config::{AddPaths, Client, GracefulRestart, Import, NextHopIpv6, PeerAsn, Selection};
use crate::watcher::resource::{Auth, BgpPeering, CidrTarget, PodCidrs};

fn read_text(text: &str) -> Contents {
    read_octets(text.as_bytes())
}

fn read_octets(octets: &[u8]) -> Contents {
    let file = Arc::from("f.yaml");
    let of = Reading {
        file: &file,
        node: "node-1",
    };
    read(of, octets)
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
    // A template is nobody's as long as nobody names it.
    let is_partial = |resource: &Resource| resource.peering().is_some_and(BgpPeering::is_partial);
    assert!(
        contents.resources.iter().all(is_partial) || expected.contains("templates."),
        "taken: {contents:?}"
    );
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
            "nodes: [{name: a, neighbors: [{peerAddress: 10.0.0.6, localAddress: 10.0.0.4}, \
             {peerAddress: 10.0.0.6, localAddress: 10.0.0.5}]}]",
            "f.yaml:10: spec.bgpPeering.nodes[0].neighbors[1]: 10.0.0.6 is there twice: one element",
        ),
        (
            "listenPort: 0179",
            "listenPort: 179, with a leading zero, a decimal point or an exponent, is not \
             accepted: write 179: a number from 1 to 65535 in digits alone",
        ),
        ("listenPort: 179.0", "1 to 65535 in digits alone"),
        ("listenPort: 1e3", "listenPort: 1000, with a leading zero"),
        (
            "listenPort: 1.5",
            "1.5 is not accepted: a number from 1 to 65535, a whole one",
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
    let contents = read_octets(b"a: 1\nb: \xff\n");
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
