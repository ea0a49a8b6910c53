//! Manifests in, own routes and neighbors out: the rules of policies, guard and pod CIDRs.

mod pod_cidrs;
mod route_policies;

use std::io;
use std::path::Path;
use std::sync::Arc;

use codec::{Family, IpPrefix};
use ipnet::IpNet;

use super::explain::{Explanation, explain};
use super::gateways::Gateways;
use super::unmet::Unmet;
use super::*;
use crate::config::{Import, Instance, Password, PeerAddress};

/// A node at 10.0.0.5/24 behind the gateway 10.0.0.1.
pub(super) struct TestHost;

impl Host for TestHost {
    fn network(&self) -> HostNetwork {
        HostNetwork {
            addresses: vec!["10.0.0.5".parse().unwrap()],
            subnets: vec![prefix("10.0.0.0/24")],
            gateways: vec!["10.0.0.1".parse().unwrap()],
        }
    }

    fn default_gateways(&self, family: Family) -> Vec<PeerAddress> {
        match family {
            Family::Ipv4Unicast => vec!["10.0.0.1".parse().unwrap()],
            Family::Ipv6Unicast => vec!["fe80::1%eth0".parse().unwrap()],
        }
    }

    fn password_file(&self, path: &Path) -> io::Result<Vec<u8>> {
        match path.to_str() {
            Some("/etc/key") => Ok(b"hush\n".to_vec()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

fn prefix(text: &str) -> IpPrefix {
    IpPrefix::from(text.parse::<IpNet>().unwrap())
}

struct World {
    store: Store,
    state: DesiredState,
    warnings: Vec<String>,
}

impl World {
    /// Settings with one neighbor, and `more` within `bgpPeering`.
    fn new(more: &str) -> World {
        let mut world = World {
            store: Store::new("m").on_node("node-1"),
            state: DesiredState::default(),
            warnings: vec![],
        };
        world.put("config.yaml", &config(more));
        world
    }

    fn put(&mut self, name: &str, text: &str) -> Vec<Delta> {
        self.store.put(name, text.as_bytes());
        self.turn()
    }

    fn remove(&mut self, name: &str) -> Vec<Delta> {
        self.store.remove(name);
        self.turn()
    }

    fn turn(&mut self) -> Vec<Delta> {
        let in_force = self.store.settle();
        let mut gateways = Gateways::default();
        gateways.follow(&in_force, &TestHost);
        let evaluation = evaluate(&in_force, &TestHost, &options(), &gateways, &self.state);
        let deltas = diff(&self.state, &evaluation.state);
        let mut unmet = Unmet::default();
        let unmet = unmet.warnings(&in_force);
        let faults = in_force.faults.iter().chain(&evaluation.warnings);
        let faults = faults.chain(unmet);
        self.warnings = faults
            .map(ToString::to_string)
            .filter(|line| !line.contains("guard.allow: is empty"))
            .collect();
        self.state = evaluation.state;
        deltas
    }

    fn instance(&self) -> &Instance {
        &self.state.instances[&DEFAULT_INSTANCE]
    }

    fn routes(&self) -> Vec<String> {
        self.instance()
            .origins
            .keys()
            .map(ToString::to_string)
            .collect()
    }

    fn password(&self) -> String {
        let neighbor = &self.instance().neighbors[&"10.0.0.6".parse::<PeerAddress>().unwrap()];
        match &neighbor.password {
            Password::Key(key) => String::from_utf8_lossy(key).into_owned(),
            other => format!("{other:?}"),
        }
    }

    fn explain(&mut self, text: &str) -> Explanation {
        let in_force = self.store.settle();
        let network = TestHost.network();
        explain(prefix(text), &in_force, &network, &options(), &self.state)
    }

    fn reasons(&mut self, text: &str) -> String {
        let explanation = self.explain(text);
        let claims = explanation.claims.iter().map(|claim| claim.reason.clone());
        claims
            .chain(explanation.notes.clone())
            .collect::<Vec<_>>()
            .join("\n")
    }
}

fn options() -> Options {
    Options {
        node_name: "node-1".into(),
        allow_second_speaker: false,
    }
}

fn config(more: &str) -> String {
    let mut text = String::from(
        "apiVersion: cilium.io/v2alpha1\nkind: CiliumConfig\nmetadata: {name: cilium-config}\n\
         spec:\n  bgpPeering:\n    localASN: 65001\n",
    );
    if !more.contains("neighbors:") {
        text.push_str("    neighbors: [{peerAddress: 10.0.0.6, peerASN: 65001}]\n");
    }
    for line in more.lines() {
        text.push_str(&format!("    {line}\n"));
    }
    text
}

fn policy(name: &str, egress: &str) -> String {
    format!(
        "---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\n\
         metadata: {{name: {name}, namespace: shop, labels: {{bgp: \"{name}\"}}}}\n\
         spec: {{endpointSelector: {{matchLabels: {{app: frontend}}}}, egress: [{egress}]}}\n"
    )
}

fn to_cidr(name: &str, cidrs: &str) -> String {
    policy(name, &format!("{{toCIDR: [{cidrs}]}}"))
}

fn to_cidr_set(name: &str, sets: &str) -> String {
    policy(name, &format!("{{toCIDRSet: [{sets}]}}"))
}

const NODE: &str = "---\napiVersion: cilium.io/v2\nkind: CiliumNode\n\
    metadata: {name: node-1, labels: {rack: a}}\n\
    spec: {addresses: [{type: InternalIP, ip: 10.0.0.5}], ipam: {podCIDRs: [10.244.1.0/24]}}\n";

const CLUSTER: &str = "guard: {clusterCIDRs: [10.244.0.0/16]}";

#[test]
fn a_node_has_what_is_different_on_it() {
    let of_node_1 = |world: &World| {
        let instance = world.instance().clone();
        let neighbor =
            |text: &str| instance.neighbors[&text.parse::<PeerAddress>().unwrap()].clone();
        let (plain, own) = (neighbor("10.0.0.6"), neighbor("10.0.0.7"));
        (instance, plain, own)
    };
    let settings = |nodes: &str| {
        format!(
            "routerID: 192.0.2.9\nlistenPort: 1790\nnodes: [{nodes}]\nneighbors:\n\
             - {{peerAddress: 10.0.0.6, peerASN: 65002}}\n\
             - {{peerAddress: 10.0.0.7, peerASN: 65002, localASN: 65010}}\n"
        )
    };
    let overlay = "routerID: 192.0.2.1, clusterID: 192.0.2.2, localASN: 65101, listenPort: 1791, \
                   neighbors: [{peerAddress: 10.0.0.6, localAddress: 10.0.0.5}]";
    let mut world = World::new(&settings(&format!("{{name: node-2, {overlay}}}")));
    let (instance, plain, _) = of_node_1(&world);
    assert_eq!(instance.router_id.to_string(), "192.0.2.9");
    assert_eq!((instance.listen[0].port(), plain.local_asn), (1790, 65001));
    assert_eq!(plain.local_address, None);
    let text = config(&settings(&format!("{{name: node-1, {overlay}}}")));
    world.put("config.yaml", &text);
    let (instance, plain, own) = of_node_1(&world);
    assert_eq!(instance.router_id.to_string(), "192.0.2.1");
    assert_eq!((instance.listen[0].port(), plain.local_asn), (1791, 65101));
    assert_eq!(plain.router_id, instance.router_id);
    assert_eq!(plain.cluster_id.to_string(), "192.0.2.2");
    assert_eq!(plain.local_address, "10.0.0.5".parse().ok());
    assert_eq!((own.local_asn, own.local_address), (65010, None));
}

#[test]
fn every_neighbor_knows_all_as_numbers_that_are_ours() {
    let text = "nodes: [{name: node-1, localASN: 65101}]\nneighbors:\n\
                - {peerAddress: 10.0.0.6, peerASN: 65002}\n\
                - {peerAddress: 10.0.0.7, peerASN: 65002, localASN: 65300}\n\
                - {peerPrefix: 10.1.0.0/24, peerASN: 65003, localASN: 65010}\n\
                - {peerAddress: 10.0.0.8, peerASN: 65002, localASN: 65300}\n";
    let world = World::new(text);
    let instance = world.instance();
    let ranges = instance.dynamic_neighbors.values();
    let ranges = ranges.map(|range| &range.settings.own_asns);
    let named = instance.neighbors.values();
    let all = named.map(|neighbor| &neighbor.own_asns).chain(ranges);
    let all: Vec<&[u32]> = all.map(|own| &own[..]).collect();
    assert_eq!(all, [&[65010, 65101, 65300][..]; 4]);
}

#[test]
fn default_gateways_are_neighbors_but_for_those_that_are_named() {
    let discover = |family: &str| {
        format!(
            "- {{autoDiscovery: {{mode: DefaultGateway, addressFamily: {family}}}, \
             peerASN: external}}\n"
        )
    };
    let (ipv4, ipv6) = (discover("ipv4"), discover("ipv6"));
    let named = "- {peerAddress: 10.0.0.1, peerASN: 65009}\n";
    let world = World::new(&format!("neighbors:\n{ipv4}{ipv6}{named}"));
    let neighbors = &world.instance().neighbors;
    let shown: Vec<String> = neighbors.keys().map(ToString::to_string).collect();
    assert_eq!(shown, ["10.0.0.1", "fe80::1%eth0"]);
    let named = &neighbors[&"10.0.0.1".parse::<PeerAddress>().unwrap()];
    assert_eq!(named.peer_asn, crate::config::PeerAsn::Number(65009));
}

#[test]
fn a_policy_comes_and_goes() {
    let mut world = World::new("");
    let deltas = world.put("p.yaml", &to_cidr("allow-external-access", "10.0.1.0/24"));
    assert_eq!(world.routes(), ["10.0.1.0/24"]);
    assert!(matches!(&deltas[..], [.., Delta::Origins(_, changes)] if changes.len() == 1));
    let source = &world.instance().origins[&prefix("10.0.1.0/24")].sources[0];
    assert_eq!(&*source.rule, "spec.egress[0].toCIDR[0]");
    assert_eq!(
        (&*source.namespace, &*source.name),
        ("shop", "allow-external-access")
    );
    let deltas = world.remove("p.yaml");
    assert!(
        matches!(&deltas[..], [.., Delta::Origins(_, changes)] if changes[0].attributes.is_none())
    );
    assert_eq!(world.routes(), [""; 0]);
}

#[test]
fn a_prefix_goes_with_the_last_policy_that_owns_it() {
    let mut world = World::new("");
    world.put("a.yaml", &to_cidr("a", "10.0.1.0/24"));
    assert_eq!(world.put("b.yaml", &to_cidr("b", "10.0.1.0/24")), []);
    assert_eq!(
        world.instance().origins[&prefix("10.0.1.0/24")]
            .sources
            .len(),
        2
    );
    assert_eq!(world.remove("a.yaml"), []);
    let deltas = world.remove("b.yaml");
    assert!(matches!(&deltas[..], [.., Delta::Origins(_, changes)] if changes.len() == 1));
}

#[test]
fn specs_count_and_deny_does_not() {
    let mut world = World::new("");
    world.put(
        "p.yaml",
        "apiVersion: cilium.io/v2\nkind: CiliumClusterwideNetworkPolicy\nmetadata: {name: p}\n\
         specs:\n- {endpointSelector: {}, egress: [{toCIDR: [10.0.1.0/24]}]}\n\
         - {endpointSelector: {}, egressDeny: [{toCIDR: [10.0.2.0/24]}]}\n\
         - {nodeSelector: {matchLabels: {rack: a}}, egress: [{toCIDR: [10.0.3.0/24]}]}\n\
         - {nodeSelector: {matchLabels: {rack: b}}, egress: [{toCIDR: [10.0.4.0/24]}]}\n",
    );
    assert_eq!(world.routes(), ["10.0.1.0/24"]);
    world.put("node.yaml", NODE);
    assert_eq!(world.routes(), ["10.0.1.0/24", "10.0.3.0/24"]);
    assert!(
        world
            .reasons("10.0.4.0/24")
            .contains("nodeSelector does not select this node")
    );
}

#[test]
fn exceptions_are_taken_out() {
    let mut world = World::new("");
    world.put(
        "p.yaml",
        &to_cidr_set(
            "p",
            "{cidr: 192.0.2.0/24, except: [192.0.2.0/25, 192.0.2.192/26]}",
        ),
    );
    assert_eq!(world.routes(), ["192.0.2.128/26"]);
    assert!(
        world
            .reasons("192.0.2.128/26")
            .contains("what the exceptions leave of 192.0.2.0/24")
    );
    assert!(
        world
            .reasons("192.0.2.0/26")
            .contains("asked for, except 192.0.2.0/25")
    );
}

#[test]
fn everything_but_the_private_ranges_announces_nothing() {
    let mut world = World::new("");
    world.put(
        "p.yaml",
        &to_cidr_set(
            "p",
            "{cidr: 0.0.0.0/0, except: [10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16]}",
        ),
    );
    assert_eq!(world.routes(), [""; 0]);
    assert!(
        world.warnings[0].contains("default route is never announced"),
        "{:?}",
        world.warnings
    );
    for text in ["0.0.0.0/0", "64.0.0.0/2", "8.8.8.0/24"] {
        let explanation = world.explain(text);
        assert!(!explanation.originated);
        let reason = &explanation.claims[0].reason;
        assert!(reason.contains("refuses 0.0.0.0/0 as written"), "{reason}");
        assert!(reason.contains("contributes nothing"), "{reason}");
    }
}

#[test]
fn a_refused_cidr_leaves_the_others_alone() {
    let mut world = World::new("guard: {deny: [10.0.3.0/24]}");
    world.put(
        "p.yaml",
        &to_cidr("p", "10.0.1.0/24, 10.0.3.0/24, 127.0.0.1/32, 10.0.0.0/16"),
    );
    assert_eq!(world.routes(), ["10.0.1.0/24"]);
    let said = world.warnings.join("\n");
    assert_eq!(world.warnings.len(), 3, "{said}");
    assert!(said.contains("m/p.yaml:5: warning: CiliumNetworkPolicy shop/p spec.egress[0]"));
    assert!(said.contains("guard.deny has 10.0.3.0/24"));
    assert!(said.contains("covers the gateway 10.0.0.1"));
}

#[test]
fn groups_by_name_and_by_label() {
    let mut world = World::new("");
    let group = |name: &str, cidrs: &str| {
        format!(
            "---\napiVersion: cilium.io/v2\nkind: CiliumCIDRGroup\n\
             metadata: {{name: {name}, labels: {{side: out}}}}\nspec: {{externalCIDRs: [{cidrs}]}}\n"
        )
    };
    world.put(
        "p.yaml",
        &to_cidr_set(
            "p",
            "{cidrGroupRef: one}, {cidrGroupSelector: {matchLabels: {side: out}}}",
        ),
    );
    assert!(world.warnings[0].contains("CiliumCIDRGroup one is not there"));
    world.put(
        "g.yaml",
        &(group("one", "10.1.0.0/24") + &group("two", "10.2.0.0/24")),
    );
    assert_eq!(world.routes(), ["10.1.0.0/24", "10.2.0.0/24"]);
    assert!(world.warnings.is_empty());
    let one = &world.instance().origins[&prefix("10.1.0.0/24")];
    assert_eq!(one.sources.len(), 2);
    let claim = &world.explain("10.2.0.0/24").claims[0];
    assert!(claim.originates && claim.reason.contains("CiliumCIDRGroup two"));
    assert_eq!(claim.location, "m/g.yaml:10");
    world.put("g.yaml", &group("two", ""));
    assert_eq!(world.routes(), [""; 0]);
}

#[test]
fn selectors_of_policies_and_namespaces() {
    let select = |what: &str| World::new(&format!("advertise: {{{what}}}"));
    let mut world = select("policySelector: {matchLabels: {bgp: a}}");
    world.put(
        "p.yaml",
        &(to_cidr("a", "10.0.1.0/24") + &to_cidr("b", "10.0.2.0/24")),
    );
    assert_eq!(world.routes(), ["10.0.1.0/24"]);
    assert!(
        world
            .reasons("10.0.2.0/24")
            .contains("policySelector does not select")
    );
    let mut world = select("namespaceSelector: {matchLabels: {team: red}}");
    world.put("p.yaml", &to_cidr("a", "10.0.1.0/24"));
    assert_eq!(world.routes(), [""; 0]);
    let namespace =
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {team: red}}\n";
    world.put("n.yaml", namespace);
    assert_eq!(world.routes(), ["10.0.1.0/24"]);
    let mut world = select("namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: shop}}");
    world.put("p.yaml", &to_cidr("a", "10.0.1.0/24"));
    assert_eq!(world.routes(), ["10.0.1.0/24"]);
    let mut world = select("networkPolicies: Off");
    world.put("p.yaml", &to_cidr("a", "10.0.1.0/24"));
    assert_eq!(world.routes(), [""; 0]);
}

#[test]
fn past_max_prefixes_nothing_new_goes_out_and_what_stands_stays() {
    let mut world = World::new("guard: {maxPrefixes: {ipv4: 2}}");
    world.put("b.yaml", &to_cidr("b", "10.0.8.0/24, 10.0.9.0/24"));
    world.put("a.yaml", &to_cidr("a", "10.0.1.0/24, 2001:db8::/32"));
    assert_eq!(
        world.routes(),
        ["10.0.8.0/24", "10.0.9.0/24", "2001:db8::/32"]
    );
    assert!(
        world.warnings.join("\n").contains("held back: 1"),
        "{:?}",
        world.warnings
    );
    assert!(
        world
            .reasons("10.0.1.0/24")
            .contains("maxPrefixes holds it back")
    );
    world.put("b.yaml", &to_cidr("b", "10.0.9.0/24"));
    assert_eq!(
        world.routes(),
        ["10.0.1.0/24", "10.0.9.0/24", "2001:db8::/32"]
    );
}

#[test]
fn attributes_change_in_place() {
    let mut world = World::new("");
    world.put("p.yaml", &to_cidr("p", "10.0.1.0/24"));
    let deltas = world.put(
        "config.yaml",
        &config(
            "advertise: {attributes: {localPreference: 200, communities: {standard: ['1:2']}}}",
        ),
    );
    let [Delta::Origins(_, changes)] = &deltas[..] else {
        panic!("{deltas:?}")
    };
    let attributes = changes[0].attributes.as_ref().unwrap();
    assert_eq!(attributes.local_preference, 200);
    assert_eq!(attributes.communities, [1 << 16 | 2]);
}

#[test]
fn the_router_id_is_given_or_the_nodes_or_a_hash() {
    let mut world = World::new("routerID: 192.168.1.1");
    assert_eq!(world.instance().router_id.to_string(), "192.168.1.1");
    let mut world2 = World::new("");
    let hashed = world2.instance().router_id;
    assert!(!hashed.is_unspecified());
    world2.put("node.yaml", NODE);
    assert_eq!(world2.instance().router_id.to_string(), "10.0.0.5");
    world2.remove("node.yaml");
    assert_eq!(world2.instance().router_id, hashed);
    world.put("node.yaml", NODE);
    assert_eq!(world.instance().router_id.to_string(), "192.168.1.1");
}

#[test]
fn the_cluster_id_is_given_or_the_router_id() {
    let cluster_id = |settings: &str| {
        let world = World::new(settings);
        let neighbors = &world.instance().neighbors;
        let neighbor = neighbors.values().next().unwrap();
        neighbor.cluster_id.to_string()
    };
    assert_eq!(cluster_id("routerID: 192.168.1.1"), "192.168.1.1");
    assert_eq!(
        cluster_id("routerID: 192.168.1.1\nclusterID: 192.168.1.7"),
        "192.168.1.7"
    );
}

#[test]
fn neighbors_change_alone() {
    let mut world = World::new("");
    let with = |timers: &str| {
        config(&format!(
            "neighbors:\n- {{peerAddress: 10.0.0.6, peerASN: 65001{timers}}}\n\
             - {{peerAddress: 10.0.0.7, peerASN: any}}"
        ))
    };
    let deltas = world.put("config.yaml", &with(""));
    assert!(
        matches!(&deltas[..], [Delta::Neighbors(_, n)] if n.len() == 1 && n[0].address.to_string() == "10.0.0.7")
    );
    let deltas = world.put("config.yaml", &with(", timers: {holdTimeSeconds: 9}"));
    assert!(
        matches!(&deltas[..], [Delta::Neighbors(_, n)] if n.len() == 1 && n[0].timers.hold.as_secs() == 9)
    );
    let deltas = world.put("config.yaml", &config(""));
    assert_eq!(deltas.len(), 2);
    assert!(matches!(deltas[0], Delta::NeighborGone(_, _)));
    let deltas = world.put("config.yaml", &config("enabled: false"));
    assert!(matches!(&deltas[..], [Delta::Instance(_, settings)] if !settings.enabled));
}

#[test]
fn passwords_or_why_there_is_none() {
    let neighbor = |auth: &str| {
        World::new(&format!(
            "neighbors: [{{peerAddress: 10.0.0.6, peerASN: 1, {auth}}}]"
        ))
    };
    assert_eq!(neighbor("authPasswordFile: /etc/key").password(), "hush");
    assert!(
        neighbor("authPasswordFile: /none")
            .password()
            .contains("can't be read")
    );
    let mut world = neighbor("authSecretRef: bgp-auth");
    assert!(
        world
            .password()
            .contains("Secret kube-system/bgp-auth is not there")
    );
    assert!(
        world.warnings[0].contains("stays idle"),
        "{:?}",
        world.warnings
    );
    let secret = |namespace: &str, data: &str| {
        format!(
            "apiVersion: v1\nkind: Secret\n\
             metadata: {{name: bgp-auth, namespace: {namespace}}}\n{data}\n"
        )
    };
    world.put(
        "s.yaml",
        &secret("kube-system", "data: {password: aHVzaA==}"),
    );
    assert_eq!(world.password(), "hush");
    world.put("s.yaml", &secret("kube-system", "data: {other: aHVzaA==}"));
    assert!(world.password().contains("has no key password"));
    let long = format!("stringData: {{password: {}}}", "x".repeat(81));
    world.put("s.yaml", &secret("kube-system", &long));
    assert!(world.password().contains("81 octets"));
    world.put(
        "s.yaml",
        &secret("elsewhere", "stringData: {password: moved}"),
    );
    assert!(world.password().contains("is not there"));
    world.put(
        "map.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cilium-config, namespace: kube-system}\n\
         data: {bgp-secrets-namespace: elsewhere}\n",
    );
    assert_eq!(world.password(), "moved");
}

#[test]
fn while_cilium_speaks_itself_neighbors_stay_idle() {
    let mut world = World::new("");
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cilium-config, namespace: \
               kube-system}\ndata: {enable-bgp-control-plane: \"true\"}\n";
    world.put("map.yaml", map);
    assert!(world.password().contains("--allow-second-speaker"));
    world.put("map.yaml", &map.replace("true", "false"));
    assert_eq!(world.password(), "None");
}

#[test]
fn without_settings_there_is_nothing() {
    let mut world = World {
        store: Store::new("m"),
        state: DesiredState::default(),
        warnings: vec![],
    };
    assert_eq!(world.put("p.yaml", &to_cidr("p", "10.0.1.0/24")), []);
    assert!(
        world
            .reasons("10.0.1.0/24")
            .contains("there is no CiliumConfig")
    );
    let deltas = world.put("config.yaml", &config(""));
    assert!(matches!(
        &deltas[..],
        [
            Delta::Instance(..),
            Delta::Origins(..),
            Delta::Neighbors(..)
        ]
    ));
    // It vanishes, and nothing else does.
    assert_eq!(world.remove("config.yaml"), []);
}

#[test]
fn one_cidr_of_a_large_group_is_a_delta_of_one() {
    let group = |skip: Option<u32>| {
        let mut text = String::from(
            "apiVersion: cilium.io/v2\nkind: CiliumCIDRGroup\nmetadata: {name: g}\nspec:\n  \
             externalCIDRs:\n",
        );
        for i in (0..5_000u32).filter(|i| Some(*i) != skip) {
            text.push_str(&format!("  - 20.{}.{}.0/24\n", i >> 8, i & 255));
        }
        text
    };
    let mut world = World::new("");
    world.put("p.yaml", &to_cidr_set("p", "{cidrGroupRef: g}"));
    world.put("g.yaml", &group(None));
    assert_eq!(world.routes().len(), 5_000);
    let deltas = world.put("g.yaml", &group(Some(77)));
    assert!(matches!(&deltas[..], [Delta::Origins(_, changes)] if changes.len() == 1));
}

#[test]
#[ignore = "a measurement"]
fn a_hundred_thousand_cidrs() {
    let clock = crate::time::Clock::system();
    let mut text = String::from(
        "apiVersion: cilium.io/v2\nkind: CiliumCIDRGroup\nmetadata: {name: g}\nspec:\n  \
         externalCIDRs:\n",
    );
    for i in 0..100_000u32 {
        text.push_str(&format!(
            "  - 2{}.{}.{}.0/24\n",
            i >> 16,
            i >> 8 & 255,
            i & 255
        ));
    }
    let mut world = World::new("");
    world.put("p.yaml", &to_cidr_set("p", "{cidrGroupRef: g}"));
    for round in 0..3 {
        let start = clock.now();
        world.store.put("g.yaml", text.as_bytes());
        let parsed = clock.now();
        let deltas = world.turn();
        let end = clock.now();
        println!(
            "round {round}: parse {:?}, evaluate and diff {:?}, {} deltas",
            parsed.saturating_since(start),
            end.saturating_since(parsed),
            deltas.len()
        );
        text.push_str(&format!("  - 30.0.{round}.0/24\n"));
    }
}
