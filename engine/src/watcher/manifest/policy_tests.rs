//! What a RoutePolicy gets for good and for bad text.

use std::sync::Arc;

use super::*;
use crate::policy::{Action, Policy, SetMed, SetNextHop};

fn read_text(text: &str) -> Contents {
    let file = Arc::from("f.yaml");
    let of = Reading {
        file: &file,
        node: "node-1",
    };
    read(of, text.as_bytes())
}

fn said(contents: &Contents) -> Vec<String> {
    contents.faults.iter().map(ToString::to_string).collect()
}

/// `spec` begins in line 5.
fn with_spec(spec: &str) -> Contents {
    let mut text = String::from(
        "apiVersion: ringbgp.io/v1alpha1\nkind: RoutePolicy\nmetadata: {name: from-tor}\nspec:\n",
    );
    for line in spec.lines() {
        text.push_str(&format!("  {line}\n"));
    }
    read_text(&text)
}

fn policy(contents: &Contents) -> Arc<Policy> {
    match &contents.resources[..] {
        [
            Resource {
                body: Body::RoutePolicy(policy, _),
                ..
            },
        ] => Arc::clone(policy),
        other => panic!("{other:?} {:?}", said(contents)),
    }
}

#[test]
fn the_contracts_example_is_read_whole() {
    let contents = with_spec(
        r#"
prefixSets:
  pods: [{prefix: 10.244.0.0/16, ge: 24, le: 28}, "2001:db8::/32"]
defaultAction: Reject
statements:
- name: customers
  match:
    families: [{afi: ipv4, safi: unicast}]
    neighbors: {addresses: [10.0.0.0/24], peerASNs: ["65100-65199"], templates: [tor], types: [External]}
    sources: [Received, NetworkPolicy, PodCIDR]
    prefixSets: [pods, internet-bogons]
    prefixes: [{prefix: 192.0.2.0/24, le: 32}]
    nextHops: [10.0.0.0/24]
    asPath: {regexes: ["^65002( .*)?$"], length: {min: 1, max: 20}, originASNs: ["64512-65534"]}
    communities:
      standard: {any: ["65000:*", no-export], all: [], none: []}
      large: {any: ["65000:*:1"]}
      extended: {any: ["rt:65000:*"]}
    med: {min: 0, max: 100}
    localPreference: {min: 100}
    origins: [IGP]
    validationStates: [Valid, NotFound]
  not: {prefixes: [{prefix: 10.244.9.0/24}]}
  set:
    localPreference: 200
    med: {value: 50}
    asPathPrepend: {asn: 65001, count: 3}
    nextHop: Self
    communities: {standard: {add: ["65000:1"], remove: ["65000:9*"]}}
  action: Accept
"#,
    );
    assert_eq!(said(&contents), [""; 0]);
    let policy = policy(&contents);
    let spec = policy.spec();
    assert_eq!((&*spec.name, spec.default_accepts), ("from-tor", false));
    assert_eq!((spec.sets.len(), spec.sets[0].ranges.len()), (2, 2));
    let statement = &spec.statements[0];
    assert_eq!(statement.action, Action::Accept);
    assert_eq!(statement.matches.prefix_sets, [0, 1]);
    assert_eq!(statement.matches.prefixes[0].longest, 32);
    assert_eq!(statement.matches.local_preference, Some(100..=u32::MAX));
    assert_eq!(statement.matches.standard.any.len(), 2);
    assert_eq!(statement.set.med, Some(SetMed::Value(50)));
    assert_eq!(statement.set.next_hop, Some(SetNextHop::Own));
    assert_eq!(statement.set.prepend, Some((65001, 3)));
}

#[test]
fn what_is_wrong_with_a_policy_is_named() {
    let accept = |rest: &str| format!("statements: [{{name: a, action: Accept, {rest}}}]");
    for (spec, expected) in [
        ("{}", "spec.statements: is missing"),
        (
            "statements: [{action: Accept}]",
            "statements[0].name: is missing",
        ),
        (
            "statements: [{name: a}]",
            "statements[0].action: is missing: Accept, Reject or Next",
        ),
        (
            "statements: [{name: a, action: Drop}]",
            "one of Accept, Reject, Next",
        ),
        (
            "statements:\n- {name: a, action: Next}\n- {name: a, action: Next}",
            "f.yaml:7: spec.statements[1]: the name a is already taken in line 6",
        ),
        (
            "statements: []\ndefaultAction: Next",
            "one of Accept, Reject",
        ),
        ("statements: []\nprefixsets: {}", "did you mean prefixSets?"),
        (
            "statements: []\nprefixSets: {internet-bogons: []}",
            "that is built in",
        ),
        (
            "statements: []\nprefixSets: {a: [10.0.0.1/8]}",
            "host bits are set",
        ),
        (
            &accept("match: {prefixSets: [pods]}"),
            "a set of spec.prefixSets; there are internet-bogons",
        ),
        (
            &accept("match: {prefixSets: [internet-bogons, x]}, not: {prefixSets: [y]}"),
            "not.prefixSets[0]: \"y\" is not accepted: a set of spec.prefixSets; there are internet-bogons",
        ),
        (
            &accept(r"match: {asPath: {regexes: ['^{65002 65003}$']}}"),
            r"; the { of an AS_SET is written \{",
        ),
        (
            &accept("match: {communities: {standard: {any: [no-exprt]}}}"),
            "no-export-subconfed, no-peer",
        ),
        (
            &accept("match: {nextHops: [10.0.0]}"),
            "a prefix or an address, for example",
        ),
        (
            &accept("match: {prefixes: []}"),
            "prefixes: is empty: at least one",
        ),
        (
            &accept("match: {prefixes: [{prefix: 10.0.0.0/8, ge: 7}]}"),
            "a number from 8 to 32",
        ),
        (
            &accept("match: {asPath: {regexes: ['(1']}}"),
            "unclosed group; a regular expression",
        ),
        (
            &accept("match: {asPath: {length: {min: 3, max: 2}}}"),
            "min 3 is above max 2",
        ),
        (
            &accept("match: {asPath: {originASNs: [5-3]}}"),
            "or a range like 65100-65199",
        ),
        (
            &accept("match: {communities: {standard: {any: [x]}}}"),
            "for example 65000:1, 65000:*",
        ),
        (
            &accept("match: {communities: {large: {any: ['1:2']}}}"),
            "for example 65000:1:2",
        ),
        (
            &accept("match: {communities: {extended: {any: ['x:1:2']}}}"),
            "for example rt:65000:1",
        ),
        (
            &accept("match: {communities: {extended: {any: ['rt: 65000:*']}}}"),
            "\"rt: 65000:*\" is not accepted: no community is like this: behind rt: or soo:",
        ),
        (
            &accept("match: {communities: {standard: {any: ['70000*:1']}}}"),
            "no community is like this: two parts, each a number from 0 to 65535",
        ),
        (
            &accept("set: {communities: {large: {remove: ['5000000000*:*:*']}}}"),
            "no community is like this: three parts, each a number from 0 to 4294967295",
        ),
        (
            &accept("match: {communities: {any: ['1:2']}}"),
            "unknown field",
        ),
        (&accept("match: {med: {}}"), "is empty: min, max or both"),
        (
            &accept("match: {sources: [Elsewhere]}"),
            "one of Received, NetworkPolicy",
        ),
        (
            &accept("match: {sources: [Received, Service]}"),
            "match.sources[1]: \"Service\" is not supported yet; accepted for now: Received, \
             NetworkPolicy, PodCIDR",
        ),
        (
            &accept("match: {neighbors: {peerASNs: [0]}}"),
            "peerASNs[0]: 0 is not accepted: AS 0 is nobody's (RFC 7607)",
        ),
        (
            &accept("set: {communities: {large: {replace: ['1:2:3'], add: ['1:2:4']}}}"),
            "communities.large: replace takes the place of all there are",
        ),
        (
            &accept("set: {communities: {standard: {replace: [], remove: ['1:*']}}}"),
            "communities.standard: replace takes the place of all there are",
        ),
        (&accept("match: {origins: []}"), "is empty: at least one"),
        (
            &accept("set: {med: {value: 1, add: 1}}"),
            "set.med: has value and add: one of value, add and remove",
        ),
        (
            &accept("set: {med: {remove: false}}"),
            "true, or leave it out",
        ),
        (
            &accept("set: {asPathPrepend: {asn: 1, count: 0}}"),
            "a number from 1 to 32",
        ),
        (
            &accept("set: {asPathPrepend: {count: 2}}"),
            "asn: is missing",
        ),
        (
            &accept("set: {nextHop: Mine}"),
            "Self, Unchanged, PeerAddress or the address",
        ),
        (
            &accept("set: {nextHop: 224.0.0.1}"),
            "the address of one host",
        ),
        (
            &accept("set: {communities: {standard: {add: ['65000:*']}}}"),
            "is not accepted: for example 65000:1 or no-export",
        ),
    ] {
        let contents = with_spec(spec);
        assert!(contents.resources.is_empty(), "taken: {spec}");
        let said = said(&contents);
        assert!(
            said.iter().any(|line| line.contains(expected)),
            "{expected:?} not in {said:#?}"
        );
    }
    let contents = read_text(
        "apiVersion: ringbgp.io/v1alpha1\nkind: RoutePolicy\nmetadata: {name: all}\n\
         spec: {statements: []}\n",
    );
    assert!(
        said(&contents)[0].contains("all is not accepted"),
        "{:?}",
        said(&contents)
    );
}

#[test]
fn what_can_never_match_is_a_warning_with_its_line() {
    let contents = with_spec(
        "statements:\n- {name: rest, action: Accept}\n- {name: late, action: Reject, set: {localPreference: 1}}",
    );
    policy(&contents);
    assert_eq!(
        said(&contents),
        [
            "f.yaml:7: warning: spec.statements[1].set: has no effect: the statement rejects",
            "f.yaml:7: warning: spec.statements[1]: the statement can never match: statement rest \
             decides all of its routes before",
        ]
    );
}

#[test]
fn expressions_that_no_path_is_like_are_warnings_with_their_line() {
    let contents = with_spec(
        "statements:\n- name: a\n  action: Accept\n  match:\n    asPath:\n      regexes:\n      \
         - ^65002$\n      - ^AS65002$\n- {name: b, action: Accept, match: {asPath: {regexes: [^5$^6]}}}",
    );
    policy(&contents);
    let said = said(&contents);
    let starts = [
        "f.yaml:12: warning: spec.statements[0].match.asPath.regexes[1]: no AS_PATH is like this",
        "f.yaml:13: warning: spec.statements[1].match.asPath.regexes[0]: no AS_PATH is like this",
    ];
    assert_eq!(said.len(), starts.len(), "{said:#?}");
    for (said, start) in said.iter().zip(starts) {
        assert!(said.starts_with(start), "{said}");
    }
}

#[test]
fn addresses_stand_for_their_hosts() {
    let policy = policy(&with_spec(
        "statements: [{name: a, action: Accept, match: {nextHops: [10.0.0.6, '2001:db8::6', 10.1.0.0/16], \
         neighbors: {addresses: [10.0.0.7]}}}]",
    ));
    let asked = &policy.spec().statements[0].matches;
    let hops: Vec<String> = asked.next_hops.iter().map(ToString::to_string).collect();
    assert_eq!(hops, ["10.0.0.6/32", "2001:db8::6/128", "10.1.0.0/16"]);
    let neighbors = asked.neighbors.as_ref().unwrap();
    assert_eq!(neighbors.addresses[0].to_string(), "10.0.0.7/32");
}

#[test]
fn what_a_statement_says_in_vain_is_a_warning() {
    let v4 = "families: [{afi: ipv4, safi: unicast}]";
    let v6 = "prefixes: ['2001:db8::/32']";
    for (asked, next_hop, expected) in [
        (v4, "2001:db8::77", "nextHop 2001:db8::77 has no effect"),
        (v6, "10.0.0.7", "nextHop 10.0.0.7 has no effect"),
        (v6, "2001:db8::77", ""),
        ("", "10.0.0.7", ""),
        (
            "families: [{afi: ipv4, safi: unicast}, {afi: ipv4, safi: unicast}]",
            "10.0.0.7",
            "match.families[1]: ipv4/unicast is listed twice",
        ),
    ] {
        let contents = with_spec(&format!(
            "statements: [{{name: a, action: Accept, match: {{{asked}}}, set: {{nextHop: '{next_hop}'}}}}]"
        ));
        policy(&contents);
        let said = said(&contents);
        assert_eq!(said.len(), usize::from(!expected.is_empty()), "{said:?}");
        assert!(said.iter().all(|line| line.contains(expected)), "{said:?}");
    }
}

#[test]
fn what_can_never_match_is_said_beside_other_faults() {
    let of = |spec: &str| {
        let contents = with_spec(spec);
        assert!(contents.resources.is_empty(), "taken: {spec}");
        let mut warnings = said(&contents);
        warnings.retain(|line| line.contains("never match"));
        warnings
    };
    let found = of(
        "statements:\n- {name: a, action: Accept, match: {med: {max: 9}}}\n\
         - {name: b, action: Drop, match: {origins: [IGP]}}\n\
         - {action: Next}\n\
         - {name: c, action: Accept, match: {med: {max: 5}}}\n\
         - {name: d, action: Accept, match: {origins: [IGP]}}\n\
         - {name: e, action: Accept, match: {origins: [IGP]}}",
    );
    assert_eq!(
        found,
        [
            "f.yaml:11: warning: spec.statements[5]: the statement can never match: statement d \
             decides all of its routes before"
        ]
    );
    // A set that was not read whole may hold more than what was.
    let found = of(
        "prefixSets: {s: [10.0.0.1/8, 10.1.0.0/16], t: [10.1.0.0/16]}\nstatements:\n\
         - {name: a, action: Accept, match: {prefixes: [10.1.0.0/16]}}\n\
         - {name: b, action: Accept, match: {prefixSets: [s]}}\n\
         - {name: c, action: Accept, match: {prefixSets: [t]}}",
    );
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("spec.statements[2]"), "{found:?}");
}

#[test]
fn two_hundred_thousand_prefixes_are_read() {
    let mut spec = String::from(
        "statements: [{name: a, action: Accept, match: {prefixSets: [big]}}]\nprefixSets:\n  big:\n",
    );
    for n in 0..200_000u32 {
        let address = std::net::Ipv4Addr::from(0x1000_0000 + (n << 8));
        spec.push_str(&format!("  - {address}/24\n"));
    }
    let policy = policy(&with_spec(&spec));
    assert_eq!(policy.trie_size().1, 200_000);
}
