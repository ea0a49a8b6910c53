//! When pod CIDRs are announced.

use super::*;

#[test]
fn a_policy_cidr_that_contains_the_pod_cidr_switches_it_on() {
    let mut world = World::new(CLUSTER);
    world.put("node.yaml", NODE);
    assert_eq!(world.routes(), [""; 0]);
    world.put("p.yaml", &to_cidr("p", "10.244.0.0/16"));
    assert_eq!(world.routes(), ["10.244.1.0/24"]);
    assert!(
        world
            .reasons("10.244.1.0/24")
            .contains("10.244.0.0/16 covers it")
    );
    assert!(
        world
            .reasons("10.244.0.0/16")
            .contains("is not announced itself")
    );
    // An exception that overlaps takes it away again.
    world.put(
        "p.yaml",
        &to_cidr_set("p", "{cidr: 10.244.0.0/16, except: [10.244.1.128/25]}"),
    );
    assert_eq!(world.routes(), [""; 0]);
    assert!(
        world
            .reasons("10.244.1.0/24")
            .contains("overlaps its exception 10.244.1.128/25")
    );
    // Another exception does not.
    world.put(
        "p.yaml",
        &to_cidr_set("p", "{cidr: 10.244.0.0/16, except: [10.244.2.0/24]}"),
    );
    assert_eq!(world.routes(), ["10.244.1.0/24"]);
}

#[test]
fn an_overlap_is_no_cover_and_unions_do_not_count() {
    let mut world = World::new(CLUSTER);
    world.put("node.yaml", NODE);
    world.put("p.yaml", &to_cidr("p", "10.244.1.0/25, 10.244.1.128/25"));
    assert_eq!(world.routes(), [""; 0]);
    assert!(
        world
            .reasons("10.244.1.0/24")
            .contains("an overlap is no cover")
    );
    // The cluster's CIDRs elsewhere are not announced either.
    world.put("p.yaml", &to_cidr("p", "10.244.7.0/24, 10.245.0.0/24"));
    assert_eq!(world.routes(), ["10.245.0.0/24"]);
}

#[test]
fn pod_cidrs_all_and_off() {
    let mut world = World::new("advertise: {podCIDRs: All}");
    world.put("node.yaml", NODE);
    assert_eq!(world.routes(), ["10.244.1.0/24"]);
    assert_eq!(
        &*world.instance().origins[&prefix("10.244.1.0/24")].sources[0].kind,
        "CiliumNode"
    );
    let mut world = World::new("advertise: {podCIDRs: Off}");
    world.put("node.yaml", NODE);
    world.put("p.yaml", &to_cidr("p", "10.244.0.0/16"));
    assert_eq!(world.routes(), [""; 0]);
    assert!(
        world
            .reasons("10.244.1.0/24")
            .contains("advertise.podCIDRs is Off")
    );
    // A guard that refuses the CIDR as written.
    let mut world = World::new("guard: {deny: [10.244.0.0/16]}");
    world.put("node.yaml", NODE);
    world.put("p.yaml", &to_cidr("p", "10.244.0.0/16"));
    assert_eq!(world.routes(), [""; 0]);
}

#[test]
fn pod_cidrs_of_the_node_if_cilium_has_none() {
    let mut world = World::new("advertise: {podCIDRs: All}");
    let node = "apiVersion: v1\nkind: Node\nmetadata: {name: node-1}\n\
                spec: {podCIDRs: [10.9.1.0/24]}\n";
    world.put("node.yaml", node);
    assert_eq!(world.routes(), ["10.9.1.0/24"]);
    world.put("cilium.yaml", NODE);
    assert_eq!(world.routes(), ["10.244.1.0/24"]);
    let other = NODE.replace("name: node-1", "name: node-2");
    world.put("cilium.yaml", &other);
    assert_eq!(world.routes(), ["10.9.1.0/24"]);
}

#[test]
fn cluster_cidrs_come_from_the_config_map() {
    let mut world = World::new("");
    world.put(
        "p.yaml",
        &to_cidr("p", "10.128.1.0/24, fd00:1::/64, 10.200.0.0/16"),
    );
    assert_eq!(world.routes().len(), 3);
    world.put(
        "map.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cilium-config, namespace: kube-system}\n\
         data: {cluster-pool-ipv4-cidr: 10.128.0.0/16, cluster-pool-ipv6-cidr: 'fd00::/16'}\n",
    );
    assert_eq!(world.routes(), ["10.200.0.0/16"]);
    // It vanishes: what it said stays.
    world.remove("map.yaml");
    assert_eq!(world.routes(), ["10.200.0.0/16"]);
    assert!(
        world.warnings[0].contains("is gone"),
        "{:?}",
        world.warnings
    );
}
