//! Neighbors under route policies.

use super::*;

fn route_policy(name: &str, preference: u32) -> String {
    format!(
        "apiVersion: ringbgp.io/v1alpha1\nkind: RoutePolicy\nmetadata: {{name: {name}}}\n\
         spec: {{statements: [{{name: a, action: Accept, set: {{localPreference: {preference}}}}}]}}\n"
    )
}

#[test]
fn what_peer_address_means_on_export_is_said() {
    let mut world = World::new("");
    world.put(
        "p.yaml",
        &route_policy("out", 200).replace("localPreference: 200", "nextHop: PeerAddress"),
    );
    let under = |how: &str| {
        config(&format!(
            "neighbors: [{{peerAddress: 10.0.0.6, peerASN: 65001, {how}: out}}]\n"
        ))
    };
    world.put("config.yaml", &under("import"));
    assert!(!world.warnings.join("\n").contains("PeerAddress"));
    world.put("config.yaml", &under("export"));
    let said = world.warnings.join("\n");
    let why = "export: RoutePolicy out, statement a sets nextHop: PeerAddress, which on export";
    assert!(said.contains(why), "{said}");
}

#[test]
fn a_policy_that_a_template_names_in_vain_is_said_once_and_there() {
    let mut world = World::new("");
    world.put(
        "config.yaml",
        &config(
            "templates:\n  t1: {peerASN: 65001,\n    import: polz}\nneighbors:\n\
             - {peerAddress: 10.0.0.6, template: t1}\n\
             - {peerAddresses: [10.0.0.7, 10.0.0.8], template: t1}\n\
             - {peerAddress: 10.0.0.9, template: t1,\n  import: poly}\n",
        ),
    );
    let why = "is not there: everything is rejected until it is";
    let at = |line, path| format!("m/config.yaml:{line}: warning: spec.bgpPeering.{path}.import");
    assert_eq!(
        world.warnings,
        [
            format!("{}: RoutePolicy polz {why}", at(9, "templates.t1")),
            format!("{}: RoutePolicy poly {why}", at(14, "neighbors[2]")),
        ]
    );
}

#[test]
fn a_route_policy_lives_as_long_as_a_neighbor_names_it() {
    let under = |import: &str| {
        config(&format!(
            "neighbors: [{{peerAddress: 10.0.0.6, peerASN: 65001, import: {import}}}]\n"
        ))
    };
    let mut world = World::new("");
    world.put("config.yaml", &under("from-tor"));
    let import = |world: &World| {
        let neighbors = &world.instance().neighbors;
        match &neighbors.values().next().unwrap().import {
            Import::Policy(policy) => Arc::clone(policy),
            other => panic!("{other:?}"),
        }
    };
    assert!(import(&world).is_missing());
    let said = world.warnings.join("\n");
    assert!(
        said.contains("RoutePolicy from-tor is not there: everything is rejected"),
        "{said}"
    );
    world.put("p.yaml", &route_policy("from-tor", 200));
    let first = import(&world);
    assert!(!first.is_missing());
    // What says the same is the same, with its hits.
    world.put(
        "p.yaml",
        &format!("# again\n{}", route_policy("from-tor", 200)),
    );
    assert!(Arc::ptr_eq(&first, &import(&world)));
    // What can't be read changes nothing.
    world.put(
        "p.yaml",
        &route_policy("from-tor", 200).replace("Accept", "Drop"),
    );
    assert!(Arc::ptr_eq(&first, &import(&world)));
    let deltas = world.put("p.yaml", &route_policy("from-tor", 300));
    assert!(matches!(&deltas[..], [Delta::Neighbors(_, changed)] if changed.len() == 1));
    let second = import(&world);
    assert_ne!(first, second);
    assert_eq!(world.remove("p.yaml"), []);
    assert!(Arc::ptr_eq(&second, &import(&world)));
    let said = world.warnings.join("\n");
    assert!(
        said.contains("RoutePolicy from-tor is gone: it stays in force"),
        "{said}"
    );
    world.put("config.yaml", &under("all"));
    world.put("config.yaml", &under("from-tor"));
    assert!(import(&world).is_missing());
}
