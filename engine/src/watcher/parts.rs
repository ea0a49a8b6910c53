//! Parts of the settings that are not valid, beside the rest that is: each keeps its last good form.
//!
//! Only neighbors and overlays of nodes are such parts. What is wrong elsewhere in the settings concerns
//! all of them.

use std::collections::{BTreeMap, BTreeSet};

use super::manifest::agree;
use super::resource::{BgpPeering, NeighborSpec, Whom};

impl BgpPeering {
    /// Whether some of its parts are not valid.
    pub(super) fn is_partial(&self) -> bool {
        self.lacks_neighbors() || !self.faulty.nodes.is_empty()
    }

    /// Whether neighbors are among them.
    pub(super) fn lacks_neighbors(&self) -> bool {
        self.faulty.nameless || !self.faulty.neighbors.is_empty()
    }

    /// Takes what is not valid as it is in `before`, which is in force. None: it can't be beside the rest.
    pub(super) fn keep(&mut self, before: &BgpPeering) -> Option<Kept> {
        let whom = |spec: &NeighborSpec| spec.whom;
        let here: BTreeSet<Whom> = self.neighbors.iter().map(whom).collect();
        let faulty: BTreeSet<Whom> = self.faulty.neighbors.iter().map(whom).collect();
        let mut kept = Kept::default();
        let mut specs = Vec::new();
        for spec in &before.neighbors {
            let is_kept = if here.contains(&spec.whom) {
                false
            } else if faulty.contains(&spec.whom) {
                kept.faulty.insert(spec.whom)
            } else {
                // One that can't be told any more may be any of those that are not here.
                self.faulty.nameless && kept.unnamed.insert(spec.whom)
            };
            specs.extend(is_kept.then(|| spec.clone()));
        }
        for name in std::mem::take(&mut self.faulty.nodes) {
            // Where it had none, that stays too.
            if let Some(overlay) = before.nodes.get(&name) {
                self.nodes.insert(name, overlay.clone());
            }
        }
        // What has no AS of ours of its own would be another neighbor under another one.
        let inherits = specs.iter().any(|spec| spec.local_asn.is_none());
        if inherits && self.local_asns() != before.local_asns() {
            return None;
        }
        let faulty = &mut self.faulty.neighbors;
        faulty.retain(|of| !kept.faulty.contains(&of.whom));
        self.neighbors.extend(specs);
        agree(&self.neighbors).then_some(kept)
    }

    /// Our AS, and what it is on single nodes.
    fn local_asns(&self) -> (Option<u32>, BTreeMap<&str, u32>) {
        let nodes = self.nodes.iter();
        let other = nodes.filter_map(|(name, overlay)| Some((&**name, overlay.local_asn?)));
        (self.local_asn, other.collect())
    }
}

/// The neighbors that stay as they were.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Those that are not valid.
    faulty: BTreeSet<Whom>,
    /// Those that are not there any more, where it can't be told of one who it is.
    unnamed: BTreeSet<Whom>,
}

impl Kept {
    /// What is to be said of them.
    pub(super) fn words(&self) -> impl Iterator<Item = String> {
        let shown = |all: &BTreeSet<Whom>| {
            let shown = all.iter().take(SHOWN_MAX).map(ToString::to_string);
            let shown: Vec<String> = shown.collect();
            match all.len().saturating_sub(SHOWN_MAX) {
                0 => shown.join(", "),
                more => format!("{} and {more} more", shown.join(", ")),
            }
        };
        let faulty = (!self.faulty.is_empty()).then(|| {
            let names = shown(&self.faulty);
            format!("neighbors that are not valid stay in force as they were: {names}")
        });
        let unnamed = (!self.unnamed.is_empty()).then(|| {
            let names = shown(&self.unnamed);
            format!(
                "neighbors that are not written any more stay in force, since one whose address \
                 can't be read may be any of them: {names}"
            )
        });
        faulty.into_iter().chain(unnamed)
    }
}

/// Neighbors that a message names at most.
const SHOWN_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use crate::watcher::{Forms, Store};

    /// The settings with these neighbors, and more.
    fn settings(neighbors: &[&str], more: &str) -> String {
        let mut text =
            "apiVersion: cilium.io/v2alpha1\nkind: CiliumConfig\nmetadata: {name: cilium-config}\n\
                        spec:\n  bgpPeering:\n    localASN: 65001\n"
                .to_owned();
        text += more;
        text += "    neighbors:\n";
        for neighbor in neighbors {
            text += &format!("    - {{{neighbor}}}\n");
        }
        text
    }

    /// Each neighbor that is in force, with its port.
    fn neighbors(store: &mut Store) -> Vec<String> {
        let in_force = store.settle();
        let config = in_force.config.as_ref().and_then(|config| config.peering());
        let neighbors = config.map_or(&[][..], |peering| &peering.neighbors);
        let mut shown: Vec<String> = neighbors
            .iter()
            .map(|neighbor| format!("{} {}", neighbor.whom, neighbor.port))
            .collect();
        shown.sort();
        shown
    }

    fn faults(store: &mut Store) -> Vec<String> {
        let faults = store.settle().faults;
        faults.iter().map(ToString::to_string).collect()
    }

    const FIRST: &str = "peerAddress: 10.0.0.6, peerASN: 65002";
    const SECOND: &str = "peerAddress: 10.0.0.7, peerASN: 65002";
    const WRONG: &str = "peerAddress: 10.0.0.7, peerASN: 65002, peerPort: 1700, role: nonsense";

    #[test]
    fn a_neighbor_that_is_not_valid_keeps_its_last_form_and_the_others_change() {
        let mut store = Store::new("m");
        store.put("c.yaml", settings(&[FIRST, SECOND], "").as_bytes());
        let first = format!("{FIRST}, peerPort: 1179");
        let third = "peerAddress: 10.0.0.8, peerASN: 65002";
        let text = settings(&[&first, WRONG, third], "");
        store.put("c.yaml", text.as_bytes());
        let changed = ["10.0.0.6 1179", "10.0.0.7 179", "10.0.0.8 179"];
        assert_eq!(neighbors(&mut store), changed);
        let said = faults(&mut store);
        assert!(said[0].contains("m/c.yaml:9: spec.bgpPeering.neighbors[1].role"));
        assert!(said[1].ends_with("stay in force as they were: 10.0.0.7"));
        // As often as it is written.
        store.put("c.yaml", text.as_bytes());
        assert_eq!(neighbors(&mut store), changed);
        // One that nobody ever wrote right is not there, and its absence is no fault of the others.
        let mut fresh = Store::new("m");
        fresh.put("c.yaml", text.as_bytes());
        assert_eq!(neighbors(&mut fresh), ["10.0.0.6 1179", "10.0.0.8 179"]);
        // It is gone once nothing names it.
        store.put("c.yaml", settings(&[&first], "").as_bytes());
        assert_eq!(neighbors(&mut store), ["10.0.0.6 1179"]);
        assert_eq!(faults(&mut store), [""; 0]);
    }

    #[test]
    fn what_counts_in_part_survives_the_process() {
        let mut store = Store::new("m");
        store.restore(Forms::default());
        store.put("c.yaml", settings(&[FIRST, SECOND], "").as_bytes());
        let first = format!("{FIRST}, peerPort: 1179");
        store.put("c.yaml", settings(&[&first, WRONG], "").as_bytes());
        let mut again = Store::new("m");
        again.restore(store.forms());
        assert_eq!(neighbors(&mut again), ["10.0.0.6 1179", "10.0.0.7 179"]);
    }

    #[test]
    fn a_form_survives_the_process_however_often_the_rest_is_written() {
        let mut store = Store::new("m");
        store.restore(Forms::default());
        let third = "peerAddress: 10.0.0.8, peerASN: 65002";
        let wrong_third = format!("{third}, role: nonsense");
        let first = |port: u32| format!("{FIRST}, peerPort: {port}");
        store.put("c.yaml", settings(&[&first(1), SECOND], "").as_bytes());
        store.put("c.yaml", settings(&[&first(2), WRONG], "").as_bytes());
        store.put(
            "c.yaml",
            settings(&[&first(3), WRONG, third], "").as_bytes(),
        );
        for port in 4..100 {
            let text = settings(&[&first(port), WRONG, &wrong_third], "");
            store.put("c.yaml", text.as_bytes());
        }
        let forms = store.forms();
        let shown = ["10.0.0.6 99", "10.0.0.7 179", "10.0.0.8 179"];
        assert_eq!(neighbors(&mut store), shown);
        let mut again = Store::new("m");
        again.restore(forms);
        assert_eq!(neighbors(&mut again), shown);
        // One that was taken out meanwhile does not come back.
        let text = settings(&[&first(100), WRONG], "");
        store.put("c.yaml", text.as_bytes());
        store.put(
            "c.yaml",
            settings(&[&first(101), WRONG, &wrong_third], "").as_bytes(),
        );
        let shown = ["10.0.0.6 101", "10.0.0.7 179"];
        assert_eq!(neighbors(&mut store), shown);
        let mut again = Store::new("m");
        again.restore(store.forms());
        assert_eq!(neighbors(&mut again), shown);
    }

    #[test]
    fn one_that_can_not_be_told_may_be_any_that_is_not_here() {
        let mut store = Store::new("m");
        store.put("c.yaml", settings(&[FIRST, SECOND], "").as_bytes());
        let nobody = "peerAddress: 10.0.0.300, peerASN: 65002";
        let first = format!("{FIRST}, peerPort: 1179");
        store.put("c.yaml", settings(&[&first, nobody], "").as_bytes());
        assert_eq!(neighbors(&mut store), ["10.0.0.6 1179", "10.0.0.7 179"]);
        let said = faults(&mut store);
        assert!(
            said[1].contains("not written any more stay in force"),
            "{said:?}"
        );
        // So of a list, of which a part can be read.
        let some = "peerAddresses: [10.0.0.6, 10.0.0.300], peerASN: 65002";
        store.put("c.yaml", settings(&[some], "").as_bytes());
        assert_eq!(neighbors(&mut store), ["10.0.0.6 1179", "10.0.0.7 179"]);
    }

    #[test]
    fn a_template_is_as_good_as_who_names_it() {
        let mut store = Store::new("m");
        let of =
            |port: &str| format!("    templates: {{tor: {{peerASN: 65002, peerPort: {port}}}}}\n");
        let tor = "peerAddress: 10.0.0.7, template: tor";
        store.put("c.yaml", settings(&[FIRST, tor], &of("1179")).as_bytes());
        let first = format!("{FIRST}, peerPort: 1180");
        store.put("c.yaml", settings(&[&first, tor], &of("70000")).as_bytes());
        assert_eq!(neighbors(&mut store), ["10.0.0.6 1180", "10.0.0.7 1179"]);
        // Also what it says rightly, and to who says otherwise what it says wrongly.
        let wrong = "    templates: {tor: {peerASN: zero, peerPort: 1700}}\n";
        let own = format!("{tor}, peerASN: 65002");
        store.put("c.yaml", settings(&[FIRST, &own], wrong).as_bytes());
        assert_eq!(neighbors(&mut store), ["10.0.0.6 179", "10.0.0.7 1179"]);
        // One that is not there.
        store.put("c.yaml", settings(&[FIRST, tor], "").as_bytes());
        assert_eq!(neighbors(&mut store), ["10.0.0.6 179", "10.0.0.7 1179"]);
    }

    #[test]
    fn a_last_form_that_can_not_be_beside_the_others_keeps_them_all() {
        let mut store = Store::new("m");
        store.put("c.yaml", settings(&[SECOND], "").as_bytes());
        let around = "peerPrefix: 10.0.0.0/24, peerASN: 65002, authSecretRef: key";
        let wrong = format!("{WRONG}, authSecretRef: key");
        store.put("c.yaml", settings(&[around, &wrong], "").as_bytes());
        assert_eq!(neighbors(&mut store), ["10.0.0.7 179"]);
        let said = faults(&mut store).join("\n");
        assert!(
            said.contains("can't stay as they were beside the rest"),
            "{said}"
        );
    }

    #[test]
    fn a_last_form_that_would_be_of_another_as_keeps_all_of_the_settings() {
        let mut store = Store::new("m");
        store.put("c.yaml", settings(&[FIRST, SECOND], "").as_bytes());
        for asn in ["", "    localASN: 65077\n"] {
            let first = format!("{FIRST}, localASN: 65001, peerPort: 1179");
            let text = settings(&[&first, WRONG], "").replace("    localASN: 65001\n", asn);
            store.put("c.yaml", text.as_bytes());
            assert_eq!(neighbors(&mut store), ["10.0.0.6 179", "10.0.0.7 179"]);
        }
        // One that says its own is the same under any.
        let own = format!("{SECOND}, localASN: 65001");
        store.put("c.yaml", settings(&[FIRST, &own], "").as_bytes());
        let wrong = format!("{WRONG}, localASN: 65001");
        let text = settings(&[FIRST, &wrong], "").replace("localASN: 65001\n", "localASN: 65077\n");
        store.put("c.yaml", text.as_bytes());
        let in_force = store.settle();
        let config = in_force.config.as_ref().and_then(|config| config.peering());
        assert_eq!(config.and_then(|peering| peering.local_asn), Some(65077));
        assert_eq!(neighbors(&mut store).len(), 2);
    }

    #[test]
    fn two_elements_of_one_neighbor_keep_the_form_before_them() {
        let mut store = Store::new("m");
        store.put("c.yaml", settings(&[FIRST, SECOND], "").as_bytes());
        let other = format!("{SECOND}, peerPort: 1700");
        for doubled in [&other, WRONG] {
            store.put("c.yaml", settings(&[doubled, FIRST, SECOND], "").as_bytes());
            assert_eq!(neighbors(&mut store), ["10.0.0.6 179", "10.0.0.7 179"]);
        }
    }

    #[test]
    fn settings_that_vanished_and_come_back_in_part_are_known() {
        let mut store = Store::new("m");
        store.put("c.yaml", settings(&[FIRST, SECOND], "").as_bytes());
        store.settle();
        store.remove("c.yaml");
        store.settle();
        store.put("c.yaml", settings(&[FIRST, WRONG], "").as_bytes());
        assert_eq!(neighbors(&mut store), ["10.0.0.6 179", "10.0.0.7 179"]);
    }

    #[test]
    fn what_is_wrong_with_the_settings_themselves_keeps_all_of_them() {
        let mut store = Store::new("m");
        store.put("c.yaml", settings(&[FIRST], "").as_bytes());
        store.put(
            "c.yaml",
            settings(&[SECOND], "    listenPort: 0\n").as_bytes(),
        );
        assert_eq!(neighbors(&mut store), ["10.0.0.6 179"]);
    }

    #[test]
    fn an_overlay_that_is_not_valid_keeps_its_last_form_and_concerns_no_other_node() {
        let overlay = |store: &mut Store, node: &str| {
            let in_force = store.settle();
            let config = in_force.config.as_ref().and_then(|config| config.peering());
            let peering = config.expect("there are settings");
            let id = peering
                .nodes
                .get(node)
                .and_then(|overlay| overlay.router_id);
            (
                id.map(|id| id.to_string()),
                peering.faulty.nodes.contains(node),
            )
        };
        let nodes = |a: &str, b: &str| {
            format!("    nodes: [{{name: a, routerID: {a}}}, {{name: b, routerID: {b}}}]\n")
        };
        let mut store = Store::new("m");
        store.put(
            "c.yaml",
            settings(&[FIRST], &nodes("10.0.0.1", "ten")).as_bytes(),
        );
        assert_eq!(overlay(&mut store, "a"), (Some("10.0.0.1".into()), false));
        // What it should be is not known.
        assert_eq!(overlay(&mut store, "b"), (None, true));
        let good = settings(&[FIRST], &nodes("10.0.0.1", "10.0.0.2"));
        store.put("c.yaml", good.as_bytes());
        store.put(
            "c.yaml",
            settings(&[FIRST], &nodes("10.0.0.3", "ten")).as_bytes(),
        );
        assert_eq!(overlay(&mut store, "a"), (Some("10.0.0.3".into()), false));
        assert_eq!(overlay(&mut store, "b"), (Some("10.0.0.2".into()), false));
        // Where it had none, it goes on without.
        let mut store = Store::new("m");
        store.put("c.yaml", settings(&[FIRST], "").as_bytes());
        store.put(
            "c.yaml",
            settings(&[FIRST], &nodes("10.0.0.3", "ten")).as_bytes(),
        );
        assert_eq!(overlay(&mut store, "b"), (None, false));
    }
}
