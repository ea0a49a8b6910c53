//! Network policies: what they get for good and for bad text.

use super::*;

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
