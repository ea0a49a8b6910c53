//! What is in force after files come, break and go.

use super::*;

fn policy(name: &str, cidr: &str) -> String {
    format!(
        "---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {{name: {name}}}\n\
         spec: {{endpointSelector: {{}}, egress: [{{toCIDR: [{cidr}]}}]}}\n"
    )
}

fn config(listen_port: &str) -> String {
    format!(
        "apiVersion: cilium.io/v2alpha1\nkind: CiliumConfig\nmetadata: {{name: cilium-config}}\n\
         spec: {{bgpPeering: {{localASN: 65001, listenPort: {listen_port}}}}}\n"
    )
}

fn names(store: &mut Store) -> Vec<String> {
    let in_force = store.settle();
    let prefix = |resource: &Resource| match &resource.body {
        Body::Policy(policy) => format!("{:?}", policy.rules[0].entries[0].target),
        _ => String::new(),
    };
    let line = |r: &Arc<Resource>| format!("{} {}", r.key.name, prefix(r));
    in_force.resources.values().map(line).collect()
}

fn said(store: &mut Store) -> String {
    let faults = store.settle().faults;
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

#[test]
fn a_broken_file_keeps_everything() {
    let mut store = Store::new("/m/");
    let good = policy("a", "10.0.1.0/24") + &policy("b", "10.0.2.0/24");
    store.put("x.yaml", good.as_bytes());
    let before = names(&mut store);
    assert_eq!(before.len(), 2);
    for half in [
        &good[..good.len() - 20],
        "a: [",
        "\u{0}",
        "",
        "  \n",
        "# nothing\n",
        "---\n",
    ] {
        store.put("x.yaml", half.as_bytes());
        assert_eq!(names(&mut store), before, "{half:?}");
        assert!(said(&mut store).contains("/m/x.yaml:"), "{half:?}");
    }
    // Written again.
    store.put("x.yaml", policy("a", "10.0.3.0/24").as_bytes());
    assert_eq!(names(&mut store).len(), 1);
    assert_eq!(said(&mut store), "");
    store.remove("x.yaml");
    assert_eq!(names(&mut store).len(), 0);
}

#[test]
fn a_file_that_never_held_anything() {
    let mut store = Store::new("m");
    store.put("a.yaml", b"");
    assert!(said(&mut store).contains("m/a.yaml: the file is empty"));
    store.put("a.yaml", b"# to be done\n");
    assert_eq!(said(&mut store), "");
}

#[test]
fn an_invalid_resource_keeps_its_last_form_alone() {
    let mut store = Store::new("m");
    let text = |a: &str, b: &str| policy("a", a) + &policy("b", b);
    store.put("x.yaml", text("10.0.1.0/24", "10.0.2.0/24").as_bytes());
    store.put("x.yaml", text("10.0.1.0/99", "10.0.9.0/24").as_bytes());
    let names = names(&mut store);
    assert!(
        names[0].contains("10.0.1.0/24") && names[1].contains("10.0.9.0/24"),
        "{names:?}"
    );
    assert!(said(&mut store).contains("10.0.1.0/99"));
    // Invalid from the start: there is no form to keep.
    let mut store = Store::new("m");
    store.put("x.yaml", text("10.0.1.0/99", "10.0.9.0/24").as_bytes());
    assert_eq!(store.settle().resources.len(), 1);
}

#[test]
fn a_nameless_document_deletes_nothing() {
    let mut store = Store::new("m");
    let a = policy("a", "10.0.1.0/24");
    store.put(
        "x.yaml",
        (a.clone() + &policy("b", "10.0.2.0/24")).as_bytes(),
    );
    store.put(
        "x.yaml",
        (a.clone() + "---\nkind: CiliumNetworkPolicy\n").as_bytes(),
    );
    assert_eq!(names(&mut store).len(), 2);
    store.put("x.yaml", a.as_bytes());
    assert_eq!(names(&mut store).len(), 1);
}

#[test]
fn a_renamed_file_takes_its_last_forms_along() {
    let mut store = Store::new("m");
    store.put("x.yaml", policy("a", "10.0.1.0/24").as_bytes());
    store.put("x.yaml", b"a: [");
    store.rename("x.yaml", "y.yaml");
    store.put("y.yaml", b"a: [");
    assert_eq!(names(&mut store).len(), 1);
    assert_eq!(store.names().collect::<Vec<_>>(), [&Arc::from("y.yaml")]);
}

#[test]
fn of_two_the_first_by_path_counts_and_both_are_named() {
    let mut store = Store::new("m");
    store.put("b.yaml", policy("a", "10.0.2.0/24").as_bytes());
    store.put("a.yaml", policy("a", "10.0.1.0/24").as_bytes());
    assert!(names(&mut store)[0].contains("10.0.1.0/24"));
    let said = said(&mut store);
    assert!(said.contains("m/b.yaml:2: CiliumNetworkPolicy default/a is already in m/a.yaml:2"));
    store.remove("a.yaml");
    assert!(names(&mut store)[0].contains("10.0.2.0/24"));
}

#[test]
fn settings_that_vanish_stay() {
    let mut store = Store::new("m");
    let port = |store: &mut Store| {
        let config = store.settle().config;
        config.and_then(|config| Some(config.peering()?.listen_port))
    };
    store.put("c.yaml", config("1179").as_bytes());
    assert_eq!(port(&mut store), Some(1179));
    store.put("c.yaml", config("0").as_bytes());
    assert_eq!(port(&mut store), Some(1179));
    store.remove("c.yaml");
    assert_eq!(port(&mut store), Some(1179));
    assert!(said(&mut store).contains("CiliumConfig cilium-config is gone"));
    store.put("c.yaml", config("1180").as_bytes());
    assert_eq!(port(&mut store), Some(1180));
    assert_eq!(said(&mut store), "");
}

#[test]
fn the_object_comes_before_the_config_map() {
    let map = |port: u16| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: cilium-config, namespace: \
             kube-system}}\ndata:\n  bgpPeering: |\n    localASN: 65001\n    listenPort: {port}\n"
        )
    };
    let port = |store: &mut Store| {
        let config = store.settle().config;
        config.and_then(|config| Some(config.peering()?.listen_port))
    };
    let mut store = Store::new("m");
    store.put("a.yaml", map(1).as_bytes());
    assert_eq!(port(&mut store), Some(1));
    store.put("b.yaml", config("2").as_bytes());
    assert_eq!(port(&mut store), Some(2));
    store.remove("b.yaml");
    assert_eq!(port(&mut store), Some(1));
    store.remove("a.yaml");
    assert_eq!(port(&mut store), Some(1));
}

fn kept() -> Store {
    let mut store = Store::new("m");
    store.restore(Forms::default());
    store
}

/// What a store comes to that begins with what this one kept.
fn again(store: &Store) -> InForce {
    let forms = serde_json::to_string(&store.forms()).unwrap();
    let mut again = Store::new("m");
    again.restore(serde_json::from_str(&forms).unwrap());
    again.settle()
}

#[test]
fn what_is_in_force_comes_back_from_the_texts_it_came_from() {
    let mut store = kept();
    let text = |a: &str, b: &str| policy("a", a) + &policy("b", b);
    let steps = [
        ("x.yaml", text("10.0.1.0/24", "10.0.2.0/24")),
        ("config.yaml", config("1790")),
        // One form from each of three texts.
        ("x.yaml", text("10.0.1.0/99", "10.0.3.0/24")),
        ("x.yaml", text("10.0.1.0/98", "10.0.3.0/99")),
        ("x.yaml", "a: [".to_owned()),
        ("config.yaml", config("abc")),
        ("y.yaml", policy("c", "10.0.4.0/24")),
    ];
    for (name, text) in &steps {
        store.put(name, text.as_bytes());
        let before = store.settle();
        let again = again(&store);
        assert_eq!(again.resources, before.resources, "{name}: {text}");
        assert_eq!(again.config, before.config);
    }
    assert_eq!(store.settle().resources.len(), 4);
    // Settings outlive their file.
    store.remove("config.yaml");
    let before = store.settle();
    assert!(before.config.is_some() && !store.contains("config.yaml"));
    assert_eq!(again(&store).config, before.config);
    assert_eq!(again(&store).resources, before.resources);
    store.put("other.yaml", config("1791").as_bytes());
    store.settle();
    assert!(store.forms().outliving.is_empty());
}

fn route_policy(name: &str, preference: u32) -> String {
    format!(
        "---\napiVersion: ringbgp.io/v1alpha1\nkind: RoutePolicy\nmetadata: {{name: {name}}}\n\
         spec: {{statements: [{{name: a, action: Accept, set: {{localPreference: {preference}}}}}]}}\n"
    )
}

fn under(import: &str, export: &str) -> String {
    let neighbor = format!("peerAddress: 10.0.0.6, import: {import}, export: {export}");
    config("1790").replace(
        "1790",
        &format!("1790, neighbors: [{{{neighbor}, peerASN: 65002}}]"),
    )
}

/// The policies that are gone and in force.
fn gone_policies(in_force: &InForce) -> Vec<&str> {
    in_force.gone_policies.keys().map(|name| &**name).collect()
}

#[test]
fn a_policy_that_a_neighbor_names_outlives_its_file_and_the_process() {
    let mut store = kept();
    store.put("config.yaml", under("in", "out").as_bytes());
    let both = route_policy("in", 200) + &route_policy("out", 300) + &route_policy("other", 400);
    store.put("p.yaml", both.as_bytes());
    assert_eq!(gone_policies(&store.settle()), [""; 0]);
    // Taken out of a file that stays.
    store.put("p.yaml", route_policy("in", 201).as_bytes());
    let before = store.settle();
    assert_eq!(gone_policies(&before), ["out"]);
    assert_eq!(again(&store).gone_policies, before.gone_policies);
    assert_eq!(again(&store).resources, before.resources);
    // Gone with its file, and so are the settings.
    store.remove("p.yaml");
    store.settle();
    store.remove("config.yaml");
    let before = store.settle();
    assert_eq!(gone_policies(&before), ["in", "out"]);
    let after = again(&store);
    assert_eq!(after.gone_policies, before.gone_policies);
    assert_eq!((after.config, after.faults), (before.config, before.faults));
    // Back in a form that is not valid: its last good one counts.
    let wrong = route_policy("in", 7).replace("Accept", "Drop");
    store.put("q.yaml", wrong.as_bytes());
    let before = store.settle();
    assert_eq!(gone_policies(&before), ["out"]);
    let after = again(&store);
    let bodies = |of: &InForce| -> Vec<Body> {
        let resources = of.resources.values();
        resources.map(|resource| resource.body.clone()).collect()
    };
    assert_eq!(bodies(&after), bodies(&before));
    assert_eq!(after.gone_policies, before.gone_policies);
    store.remove("q.yaml");
    store.settle();
    // Dropped once nobody names it, also if it is named again.
    for import in ["all", "in"] {
        store.put("config.yaml", under(import, "out").as_bytes());
        assert_eq!(gone_policies(&store.settle()), ["out"]);
        assert_eq!(gone_policies(&again(&store)), ["out"]);
    }
}

#[test]
fn what_went_with_its_file_while_nobody_looked_outlives_it() {
    let mut store = kept();
    store.put("config.yaml", under("in", "all").as_bytes());
    store.put("p.yaml", route_policy("in", 200).as_bytes());
    store.put("x.yaml", policy("a", "10.0.1.0/24").as_bytes());
    let config = store.settle().config;
    let mut again = kept();
    again.restore(store.forms());
    for file in ["config.yaml", "p.yaml", "x.yaml"] {
        again.remove(file);
    }
    let in_force = again.settle();
    assert_eq!(gone_policies(&in_force), ["in"]);
    assert!(config.is_some() && in_force.config == config);
    assert!(in_force.resources.is_empty());
}

#[test]
fn texts_of_one_file_are_bounded_and_the_first_stays() {
    let mut store = kept();
    // Each text has the only good form of one policy.
    let name = |number: usize| format!("p{number:02}");
    let text = |good: usize| -> String {
        let before = (0..good).map(|number| policy(&name(number), "10.0.1.0/99"));
        let last = policy(&name(good), "10.0.1.0/24");
        before.chain([last]).collect()
    };
    for good in 0..60 {
        store.put("x.yaml", text(good).as_bytes());
    }
    assert_eq!(store.settle().resources.len(), 60);
    assert_eq!(store.forms().files["x.yaml"].len(), TEXTS_MAX);
    let known = again(&store).resources;
    let names: Vec<&str> = known.keys().map(|key| &*key.name).collect();
    assert_eq!(names.len(), TEXTS_MAX);
    assert_eq!((names[0], names[1]), ("p00", &*name(60 - (TEXTS_MAX - 1))));
    // What is written over and over in part is not kept each time.
    let mut store = kept();
    let text = |a: &str, b: &str| policy("a", a) + &policy("b", b);
    store.put("x.yaml", text("10.0.1.0/24", "10.0.2.0/24").as_bytes());
    for number in 3..100 {
        let b = format!("10.0.{number}.0/24");
        store.put("x.yaml", text("10.0.1.0/99", &b).as_bytes());
    }
    assert_eq!(store.forms().files["x.yaml"].len(), 2);
    assert_eq!(again(&store).resources, store.settle().resources);
    // Good as a whole: nothing older counts.
    store.put("x.yaml", text("10.0.7.0/24", "10.0.8.0/24").as_bytes());
    assert_eq!(store.forms().files["x.yaml"].len(), 1);
}

#[test]
fn no_text_is_kept_unless_it_is_asked_for() {
    let mut store = Store::new("m");
    store.put("x.yaml", policy("a", "10.0.1.0/24").as_bytes());
    store.settle();
    assert_eq!(store.forms(), Forms::default());
}
