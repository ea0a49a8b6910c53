//! `check`: everything that `run` would say to a directory, and what it would come to. Starts
//! nothing, waits for nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::directory::{Changes, Directory};
use super::evaluate::{Options, evaluate};
use super::fault::{Fault, Severity};
use super::gateways::Gateways;
use super::host::{Host, SystemHost};
use super::manifest::CONFIG_NAME;
use super::unmet::Unmet;
use crate::config::DesiredState;
use crate::time::Time;

/// What `check` found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Faults and warnings, by file and line.
    pub faults: Vec<Fault>,
    /// What `run` would do.
    pub state: DesiredState,
    /// Kinds that are not read, with how many objects there are of each.
    pub passed_over: BTreeMap<String, usize>,
}

impl Checked {
    /// Whether all is well: no fault and, if `strict`, no warning.
    pub fn passes(&self, strict: bool) -> bool {
        let mut faults = self.faults.iter();
        !faults.any(|fault| strict || fault.severity == Severity::Fault)
    }
}

/// Reads a directory and works out what `run` with these options would do with it on this machine.
/// A directory that can't be listed is a fault.
pub fn check(directory: &Path, options: &Options) -> Checked {
    check_on(&SystemHost, directory, options)
}

fn check_on(host: &dyn Host, directory: &Path, options: &Options) -> Checked {
    let label: Arc<str> = directory.to_string_lossy().trim_end_matches('/').into();
    let about_directory = |severity, message: String| Fault {
        file: Arc::clone(&label),
        line: 0,
        severity,
        path: String::new(),
        message,
    };
    let mut followed = Directory::new(directory, &options.node_name);
    let staged = match followed.scan(Time(0)) {
        Ok(staged) => staged,
        Err(error) => {
            let message = format!("the directory can't be listed: {error}");
            return Checked {
                faults: vec![about_directory(Severity::Fault, message)],
                ..Checked::default()
            };
        }
    };
    followed.commit(Time(0), staged, &Changes::default());
    let store = followed.store();
    let in_force = store.settle();
    let mut gateways = Gateways::default();
    gateways.follow(&in_force, host);
    let standing = DesiredState::default();
    let evaluation = evaluate(&in_force, host, options, &gateways, &standing);
    let mut faults = evaluation.warnings;
    faults.extend_from_slice(Unmet::default().warnings(&in_force));
    faults.extend(in_force.faults);
    if in_force.config.is_none() {
        let message = format!(
            "there is no valid CiliumConfig named {CONFIG_NAME}, and no ConfigMap of that name \
             with bgpPeering: nothing is announced"
        );
        faults.push(about_directory(Severity::Warning, message));
    }
    faults.sort_unstable();
    faults.dedup();
    let passed_over = store.passed_over().into_iter();
    Checked {
        faults,
        state: evaluation.state,
        passed_over: passed_over.map(|(kind, n)| (kind.to_owned(), n)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watcher::tests::TestHost;
    use std::fs;

    const CONFIG: &str = "apiVersion: cilium.io/v2alpha1\nkind: CiliumConfig\n\
        metadata: {name: cilium-config}\nspec:\n  bgpPeering:\n    localASN: 65001\n    \
        guard: {allow: [10.0.0.0/8]}\n    neighbors: [{peerAddress: 10.0.0.6, peerASN: 65001}]\n";
    const POLICY: &str = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\n\
        metadata: {name: p}\nspec: {egress: [{toCIDR: [10.0.1.0/24]}]}\n";

    fn node_1() -> Options {
        Options {
            node_name: "node-1".to_owned(),
            allow_second_speaker: false,
        }
    }

    fn check_files(files: &[(&str, &str)]) -> Checked {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(directory.path().join(name), text).unwrap();
        }
        check_on(&TestHost, directory.path(), &node_1())
    }

    fn said(checked: &Checked) -> String {
        let lines: Vec<String> = checked.faults.iter().map(ToString::to_string).collect();
        lines.join("\n")
    }

    #[test]
    fn faults_fail_and_warnings_fail_when_strict() {
        let checked = check_files(&[("c.yaml", CONFIG), ("p.yaml", POLICY)]);
        assert_eq!(said(&checked), "");
        assert!(checked.passes(true));
        let instance = checked.state.instances.values().next().unwrap();
        assert_eq!(instance.origins.len(), 1);
        let misspelt = POLICY.replace("toCIDR", "toCidr");
        let checked = check_files(&[("c.yaml", CONFIG), ("p.yaml", &misspelt)]);
        assert!(checked.passes(false) && !checked.passes(true));
        assert!(said(&checked).contains("/p.yaml:4: warning: spec.egress[0].toCidr"));
        let checked = check_files(&[("c.yaml", CONFIG), ("p.yaml", "a: [")]);
        assert!(!checked.passes(false));
    }

    #[test]
    fn a_template_that_no_neighbor_is_of_is_named_with_its_line() {
        let config = CONFIG.replace(
            "neighbors: [{",
            "templates: {tor: {}, spine: {}}\n    neighbors: [{template: tor, ",
        );
        let policy = "apiVersion: ringbgp.io/v1alpha1\nkind: RoutePolicy\nmetadata: {name: r}\n\
            spec:\n  statements:\n  - name: a\n    action: Accept\n    match:\n      neighbors:\n        \
            templates: [tor, spine,\n          leaf]\n";
        let checked = check_files(&[("c.yaml", &config), ("r.yaml", policy)]);
        let said = said(&checked);
        let path = "spec.statements[0].match.neighbors.templates";
        for expected in [
            format!(
                "/r.yaml:10: warning: {path}[1]: no neighbor is of the template spine: neighbors name tor"
            ),
            format!("/r.yaml:11: warning: {path}[2]: no neighbor is of the template leaf"),
        ] {
            assert!(said.contains(&expected), "{expected} is not in\n{said}");
        }
        assert_eq!(checked.faults.len(), 2, "{said}");
    }

    /// What is said of a policy `r` with statements `a` to `f`, the settings changed so.
    fn never_met(change: impl Fn(&str) -> String) -> Vec<String> {
        let policy = "apiVersion: ringbgp.io/v1alpha1\nkind: RoutePolicy\nmetadata: {name: r}\n\
            spec:\n  statements:\n  \
            - {name: a, action: Next, match: {neighbors: {types: [External]}}}\n  \
            - {name: b, action: Next, match: {neighbors: {addresses: [10.0.1.0/24]}}}\n  \
            - {name: c, action: Next, match: {neighbors: {peerASNs: [65002-65003]}}}\n  \
            - {name: d, action: Next, match: {sources: [PodCIDR]}}\n  \
            - {name: e, action: Next, match: {validationStates: [Valid, Invalid]}}\n  \
            - {name: f, action: Next, match: {validationStates: [NotFound], sources: [Received], \
            neighbors: {addresses: [10.0.0.0/24], types: [Internal], peerASNs: [65001]}}}\n";
        let config = change(&CONFIG.replace("peerASN: 65001", "peerASN: 65001, import: r"));
        let checked = check_files(&[("c.yaml", &config), ("r.yaml", policy)]);
        assert!(checked.passes(false), "{}", said(&checked));
        let said = said(&checked);
        let lines = said
            .lines()
            .map(|line| line.split_once("/r.yaml:").unwrap().1);
        let lines: Vec<String> = lines.map(str::to_owned).collect();
        assert!(
            lines
                .iter()
                .all(|line| line.contains("the statement can never match: "))
        );
        lines
    }

    #[test]
    fn what_nobody_under_a_policy_can_be_is_named_with_its_line() {
        let of = |change: &dyn Fn(&str) -> String| -> Vec<String> {
            let lines = never_met(change).into_iter();
            lines.map(|line| line[..1].to_owned()).collect()
        };
        let found = never_met(str::to_owned);
        let at = |line: u8, why: &str| {
            let place = line - 6;
            format!(
                "{line}: warning: spec.statements[{place}]: the statement can never match: {why}"
            )
        };
        let not = "the one neighbor that names the policy is not as its `neighbors` say";
        let received = "neighbors name the policy as import alone, and what comes in is Received";
        let state = "spec.bgpPeering.rpki names no caches, without which every route is NotFound";
        let expected = [
            at(6, not),
            at(7, not),
            at(8, not),
            at(9, received),
            at(10, state),
        ];
        let expected: Vec<String> = expected.into_iter().collect();
        assert_eq!(found, expected);
        // Said on export too.
        let both = |config: &str| config.replace("import: r", "import: r, export: r");
        assert_eq!(of(&both), ["6", "7", "8", "1"]);
        // With a cache.
        let cached =
            |config: &str| format!("{config}    rpki: {{caches: [{{address: 10.0.0.9}}]}}\n");
        assert_eq!(of(&cached), ["6", "7", "8", "9"]);
        // One of two may be.
        let more = ", {peerPrefix: 10.0.1.128/25, peerASN: any, import: r}]";
        let two = |config: &str| config.replace("import: r}]", &format!("import: r}}{more}"));
        assert_eq!(of(&two), ["9", "1"]);
        // On another node it is of another AS.
        let elsewhere =
            |config: &str| format!("{config}    nodes: [{{name: node-2, localASN: 65009}}]\n");
        assert_eq!(of(&elsewhere), ["7", "8", "9", "1"]);
        // Nobody is under it: who will be is not known.
        let unused = |config: &str| config.replace(", import: r", "");
        assert_eq!(of(&unused), ["1"]);
    }

    #[test]
    fn who_is_not_valid_is_kept_away_also_from_a_prefix_around_it() {
        let config = CONFIG.replace(
            "neighbors: [{peerAddress: 10.0.0.6, peerASN: 65001}]",
            "neighbors: [{peerPrefix: 10.0.0.0/24, peerASN: any}, \
             {peerAddress: 10.0.0.70, peerASN: 65002, role: nonsense}]",
        );
        let checked = check_files(&[("c.yaml", &config)]);
        let instance = checked.state.instances.values().next().unwrap();
        let neighbor = instance.neighbors.values().next().unwrap();
        assert_eq!(neighbor.address.to_string(), "10.0.0.70");
        let crate::config::Password::Missing(why) = &neighbor.password else {
            panic!("{neighbor:?}");
        };
        assert!(why.contains("neighbors[1] on line 8 is not valid"), "{why}");
    }

    #[test]
    fn who_a_faulty_neighbor_was_to_be_is_not_known() {
        let check = |more: &str| {
            let neighbors = format!(
                "neighbors: [{{peerAddress: 10.0.0.6, peerASN: 65001, import: r}}, \
                 {{peerAddress: 10.0.0.7, peerASN: 65001, import: r{more}}}]"
            );
            let config = CONFIG.replace(
                "neighbors: [{peerAddress: 10.0.0.6, peerASN: 65001}]",
                &neighbors,
            );
            let policy = "apiVersion: ringbgp.io/v1alpha1\nkind: RoutePolicy\nmetadata: {name: r}\n\
                          spec: {statements: [{name: a, action: Accept, match: {neighbors: \
                          {addresses: [10.0.0.7/32]}}}]}\n";
            said(&check_files(&[("c.yaml", &config), ("r.yaml", policy)]))
        };
        assert_eq!(check(""), "");
        let faulty = check(", role: nonsense");
        assert!(faulty.contains("neighbors[1].role"), "{faulty}");
        assert!(!faulty.contains("can never match"), "{faulty}");
    }

    /// What can never match of a policy `r` with these statements, whose neighbors and other settings
    /// are these.
    fn never_under(settings: &str, statements: &[&str]) -> Vec<String> {
        let config = CONFIG.replace(
            "neighbors: [{peerAddress: 10.0.0.6, peerASN: 65001}]",
            settings,
        );
        let mut policy = String::from(
            "apiVersion: ringbgp.io/v1alpha1\nkind: RoutePolicy\nmetadata: {name: r}\nspec:\n  \
             statements:\n",
        );
        for (place, statement) in statements.iter().enumerate() {
            policy.push_str(&format!("  - {{name: s{place}, {statement}}}\n"));
        }
        let checked = check_files(&[("c.yaml", &config), ("r.yaml", &policy)]);
        assert!(checked.passes(false), "{}", said(&checked));
        let said = said(&checked);
        let whys = said
            .lines()
            .filter_map(|line| line.split_once("can never match: "));
        whys.map(|(_, why)| why.to_owned()).collect()
    }

    #[test]
    fn what_no_route_of_the_neighbors_has_is_found() {
        let v4 = "families: [{afi: ipv4, safi: unicast}]";
        let with =
            |rest: &str| format!("neighbors: [{{peerAddress: 10.0.0.6, peerASN: 65002, {rest}}}]");
        let import = with("import: r");
        let export = with("export: r");
        let other = ", {peerAddress: 10.0.0.7, peerASN: 65001, import: r}]";
        let and_internal = import.replace(']', other);
        let only_v4 = with(&format!("import: r, {v4}"));
        let no_filters = with("import: r, builtinFilters: {firstAS: false, martians: false}");
        let of_server = with("import: r, role: rs-client");
        let of_pods = |rest: &str| format!("match: {{sources: [PodCIDR], {rest}}}, action: Next");
        let asks = |rest: &str| format!("match: {{{rest}}}, action: Next");
        let preference = asks("localPreference: {min: 200}");
        let v6 = "families: [{afi: ipv6, safi: unicast}]";
        let empty = asks("asPath: {length: {max: 0}}");
        let martians = asks("prefixes: [{prefix: 127.0.0.0/8, le: 32}, 'fe80::/64']");
        let pods_off = format!("advertise: {{podCIDRs: 'Off'}}\n    {export}");
        let policies_off = format!("advertise: {{networkPolicies: 'Off'}}\n    {export}");
        let of_policies = asks("sources: [NetworkPolicy]");
        for (settings, statement, expected) in [
            (
                &import,
                &preference,
                "LOCAL_PREF of external neighbors is not taken",
            ),
            (&import, &asks("localPreference: {min: 100}"), ""),
            (&and_internal, &preference, ""),
            (&export, &preference, ""),
            (
                &only_v4,
                &asks(v6),
                "no neighbor that names the policy has its `families`",
            ),
            (
                &only_v4,
                &asks("prefixes: ['2001:db8::/32']"),
                "has its `families`",
            ),
            (&import, &asks(v6), ""),
            (
                &import,
                &asks(&format!("{v6}, nextHops: [10.0.0.0/8]")),
                "its `nextHops` IPv4",
            ),
            (
                &import,
                &asks(&format!("{v6}, nextHops: ['::ffff:10.0.0.0/120']")),
                "",
            ),
            (
                &import,
                &asks(&format!("{v4}, nextHops: ['2001:db8::/32']")),
                "",
            ),
            (
                &import,
                &empty,
                "begins with its AS (`builtinFilters.firstAS`)",
            ),
            (
                &import,
                &asks("asPath: {regexes: ['^$']}"),
                "begins with its AS",
            ),
            (&import, &asks("asPath: {regexes: ['^$', '_65002$']}"), ""),
            (
                &import,
                &asks("asPath: {regexes: ['^65007_', '^$']}"),
                "none that does is as",
            ),
            (&import, &asks("asPath: {regexes: ['_65007_']}"), ""),
            (&and_internal, &asks("asPath: {regexes: ['^65007_']}"), ""),
            (&no_filters, &asks("asPath: {regexes: ['^65007_']}"), ""),
            (&no_filters, &empty, ""),
            (&of_server, &empty, ""),
            (&and_internal, &empty, ""),
            (
                &import,
                &martians,
                "refused before by builtinFilters.martians",
            ),
            (&import, &asks("prefixes: [{prefix: 0.0.0.0/0, le: 8}]"), ""),
            (&no_filters, &martians, ""),
            (&export, &martians, ""),
            (
                &pods_off,
                &of_pods(""),
                "no route that comes to the policy is of its `sources`",
            ),
            (&export, &of_pods(""), ""),
            (&policies_off, &of_policies, "is of its `sources`"),
            (&pods_off, &of_policies, ""),
            (
                &export,
                &of_pods("asPath: {length: {min: 1}}"),
                "an empty AS_PATH",
            ),
            (
                &export,
                &of_pods("asPath: {regexes: ['_65002_']}"),
                "an empty AS_PATH",
            ),
            (&export, &of_pods("asPath: {regexes: ['^$']}"), ""),
            (
                &export,
                &of_pods("nextHops: [10.0.0.0/8]"),
                "have no next hop",
            ),
            (
                &export,
                &of_pods("origins: [EGP, INCOMPLETE]"),
                "have ORIGIN IGP",
            ),
            (
                &export,
                &of_pods("med: {min: 1}"),
                "no MED, which counts as 0",
            ),
            (&export, &of_pods("med: {max: 1}, origins: [IGP, EGP]"), ""),
        ] {
            let found = never_under(settings, &[statement.as_str()]);
            match expected {
                "" => assert_eq!(found, [""; 0], "{settings}: {statement}"),
                why => assert!(
                    found.len() == 1 && found[0].contains(why),
                    "{settings}: {statement}: {found:?}"
                ),
            }
        }
    }

    #[test]
    fn what_does_nothing_is_said() {
        let of = "neighbors: [{peerAddress: 10.0.0.6, peerASN: 65001}]";
        let set = "apiVersion: ringbgp.io/v1alpha1\nkind: RoutePolicy\nmetadata: {name: r}\nspec:\n  \
            statements: [{name: a, action: Accept, set: {localPreference: 9}}]\n";
        let asks = set.replace(
            "}}]",
            "}}, {name: b, action: Accept, match: {localPreference: {max: 9}}}]",
        );
        let ebgp = "neighbors: [{peerAddress: 10.0.0.6, peerASN: 65002, export: r}]";
        let ibgp = ebgp.replace("65002", "any");
        let unsent =
            "/r.yaml:5: warning: spec.statements[0].set.localPreference: has no effect: all";
        let nobody = "has to connect to us, and listenAddresses is empty: nobody can";
        for (settings, policy, expected) in [
            (ebgp.to_owned(), set, unsent),
            (ebgp.replace("export", "import"), set, ""),
            (ibgp, set, ""),
            (format!("listenAddresses: []\n    {of}"), set, ""),
            (
                format!(
                    "listenAddresses: []\n    {}",
                    of.replace('}', ", passive: true}")
                ),
                set,
                nobody,
            ),
            (
                format!(
                    "listenAddresses: []\n    {}",
                    of.replace("Address: 10.0.0.6", "Prefix: 10.0.0.0/24")
                ),
                set,
                nobody,
            ),
            (
                of.replace('}', ", localAddress: 10.0.0.6}"),
                set,
                "neighbors[0].localAddress: 10.0.0.6 is the peer's address too",
            ),
            (
                of.replace("65001", "23456"),
                set,
                "neighbors[0].peerASN: 23456 is AS_TRANS",
            ),
        ] {
            let checked = check_files(&[
                ("c.yaml", &CONFIG.replace(of, &settings)),
                ("r.yaml", policy),
            ]);
            let said = said(&checked);
            assert!(checked.passes(false), "{said}");
            assert_eq!(
                checked.faults.len(),
                usize::from(!expected.is_empty()),
                "{said}"
            );
            assert!(said.contains(expected), "{expected}: {said}");
        }
        let checked = check_files(&[("c.yaml", &CONFIG.replace(of, ebgp)), ("r.yaml", &asks)]);
        assert!(
            !said(&checked).contains("has no effect"),
            "{}",
            said(&checked)
        );
        let open = CONFIG.replace("guard: {allow: [10.0.0.0/8]}\n", "routerID: 10.0.0.1\n");
        let open = said(&check_files(&[("c.yaml", &open)]));
        assert!(
            open.contains("/c.yaml:5: warning: spec.bgpPeering.guard.allow: is empty"),
            "{open}"
        );
    }

    #[test]
    fn what_all_of_the_neighbors_routes_meet_counts_as_no_condition() {
        let of_tor = "templates: {tor: {peerASN: 65002, import: r}}\n    neighbors: \
            [{template: tor, peerAddress: 10.0.0.6}]";
        let also = of_tor.replace(
            "}]",
            "}, {peerAddress: 10.0.0.7, peerASN: 65003, import: r}]",
        );
        let exported = of_tor.replace("import: r", "export: r");
        for (settings, asked, is_all) in [
            (of_tor, "neighbors: {peerASNs: ['1-4294967295']}", true),
            (of_tor, "neighbors: {addresses: [0.0.0.0/0, '::/0']}", true),
            (of_tor, "neighbors: {addresses: [10.0.0.0/24]}", true),
            (of_tor, "neighbors: {templates: [tor]}", true),
            (&also, "neighbors: {templates: [tor]}", false),
            (&also, "neighbors: {types: [External]}", true),
            (&also, "neighbors: {peerASNs: [65002]}", false),
            (of_tor, "sources: [Received]", true),
            (&exported, "sources: [Received]", false),
            (
                &exported,
                "sources: [Received, NetworkPolicy, PodCIDR]",
                true,
            ),
            (of_tor, "asPath: {regexes: ['.*']}", true),
            (of_tor, "asPath: {regexes: ['^65002']}", false),
            (of_tor, "asPath: {length: {min: 1}}", true),
            (of_tor, "asPath: {length: {min: 2}}", false),
            (&exported, "asPath: {length: {min: 1}}", false),
        ] {
            let first = format!("match: {{{asked}}}, action: Accept");
            let found = never_under(settings, &[&first, "action: Reject"]);
            assert_eq!(
                found.len(),
                usize::from(is_all),
                "{settings}: {asked}: {found:?}"
            );
        }
        // What a statement sets is there behind it.
        let set = "set: {localPreference: 300}, action: Next";
        let asks = "match: {localPreference: {min: 200}}, action: Accept";
        assert_eq!(never_under(of_tor, &[set, asks]), [""; 0]);
    }

    #[test]
    fn a_key_that_many_miss_is_told_once() {
        let many = "templates: {tor: {peerASN: 65002, authPasswordFile: /none}}\n    neighbors: [\n    \
            {template: tor, peerAddress: 10.0.0.6},\n    {template: tor, peerAddress: 10.0.0.7},\n    \
            {template: tor, peerAddress: 10.0.0.8}]";
        let config = CONFIG.replace("neighbors: [{peerAddress: 10.0.0.6, peerASN: 65001}]", many);
        let checked = check_files(&[("c.yaml", &config)]);
        let said = said(&checked);
        let expected = "/c.yaml:10: warning: spec.bgpPeering.neighbors[0]: 10.0.0.6 and 2 more stay \
                        idle: the file /none can't be read";
        assert!(said.contains(expected), "{said}");
        assert_eq!(checked.faults.len(), 1, "{said}");
    }

    #[test]
    fn without_settings_or_directory() {
        let checked = check_files(&[("p.yaml", POLICY)]);
        assert!(said(&checked).contains("there is no valid CiliumConfig"));
        let checked = check(Path::new("/nonexistent/manifests"), &node_1());
        assert!(said(&checked).contains("/nonexistent/manifests: the directory can't be listed"));
        assert!(!checked.passes(false));
    }

    #[test]
    fn the_examples_are_without_a_word_of_blame() {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
        for (name, routes) in [
            ("quickstart", 5),
            ("article", 2),
            ("guarded", 5),
            ("large", 3),
            ("policies", 1),
        ] {
            let checked = check_on(&TestHost, &examples.join(name), &node_1());
            assert_eq!(said(&checked), "", "{name}");
            let instance = checked.state.instances.values().next().unwrap();
            assert_eq!(
                instance.origins.len(),
                routes,
                "{name}: {:?}",
                instance.origins
            );
            assert!(!instance.neighbors.is_empty(), "{name}");
        }
    }
}
