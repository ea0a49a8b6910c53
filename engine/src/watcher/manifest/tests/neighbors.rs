//! Neighbors and their templates: what they get for good and for bad text.

use super::*;

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

/// One neighbor, where our AS is 65001, and 65009 by the overlay of a node.
fn under_overlay(node: &str, neighbor: &str) -> Contents {
    config(&format!(
        "localASN: 65001\nnodes: [{{name: {node}, localASN: 65009}}]\n\
         neighbors:\n- {{peerAddress: 10.0.0.6, {neighbor}}}\n"
    ))
}

#[test]
fn the_as_that_counts_is_that_of_the_node() {
    for (neighbor, expected) in [
        (
            "peerASN: 65009, role: customer, roleStrict: true",
            "role: is not accepted for a peer of our own AS",
        ),
        (
            "peerASN: 65009, import: all, routeServerClient: true",
            "routeServerClient: true is not accepted for a peer of our own AS",
        ),
        (
            "peerASN: 65001, import: all, routeReflectorClient: true",
            "routeReflectorClient: true is not accepted for a peer of another AS",
        ),
    ] {
        let here = under_overlay("node-1", neighbor);
        assert_fault(&here, expected);
        assert_fault(
            &here,
            "(which is 65009 on this node, by spec.bgpPeering.nodes)",
        );
        assert!(said(&here)[0].starts_with("f.yaml:9: spec.bgpPeering.neighbors[0].ro"));
        // Another node's overlay is none of ours, nor is any where the neighbor says our AS.
        let own = format!("{neighbor}, localASN: 65001");
        for good in [
            under_overlay("node-2", neighbor),
            under_overlay("node-1", &own),
        ] {
            assert_eq!(said(&good), [""; 0]);
        }
        // What a template says is so for who names it.
        let contents = config(&format!(
            "localASN: 65001\nnodes: [{{name: node-1, localASN: 65009}}]\ntemplates: {{t: {{{neighbor}}}}}\n\
             neighbors:\n- {{peerAddress: 10.0.0.6, template: t}}\n"
        ));
        assert!(peering(&contents).neighbors.is_empty());
    }
    for good in [
        "peerASN: 65009, import: all, routeReflectorClient: true",
        "peerASN: 65001, role: customer",
    ] {
        assert_eq!(said(&under_overlay("node-1", good)), [""; 0]);
    }
}

#[test]
fn our_as_may_be_that_of_the_node_alone() {
    let of = |node: &str| {
        config(&format!(
            "nodes: [{{name: {node}, localASN: 65009}}]\n\
             neighbors: [{{peerAddress: 10.0.0.6, peerASN: 65002}}]\n"
        ))
    };
    assert_eq!(said(&of("node-1")), [""; 0]);
    let missing = "localASN: is missing: our AS, here, as spec.bgpPeering.localASN, or as that of";
    assert_fault(&of("node-2"), missing);
}
