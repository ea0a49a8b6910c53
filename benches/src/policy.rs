//! A route policy as a large network has them: many statements, and a long prefix list.

use std::net::Ipv4Addr;
use std::sync::Arc;

use codec::{IpPrefix, Ipv4Prefix};
use engine::policy::{
    Action, AsPathRegex, CommunityMatch, Match, Policy, PrefixRange, PrefixSet, RoutePolicy, Set,
    Standard, Statement, standard,
};

/// A policy of so many statements: on communities, AS paths, origins and short prefix lists, each of
/// which few routes meet; and a last one that takes what stands in a set of so many prefixes, which
/// is a part of all, and tags it.
pub fn long(statements: u32, prefixes: u32) -> Arc<Policy> {
    let mut all: Vec<Statement> = (0..statements - 1).map(rare).collect();
    let mut last = statement("known".into(), Action::Accept);
    last.matches.by_prefix = true;
    last.matches.prefix_sets = vec![0];
    last.set.standard.add = standard("65000:7").into_iter().collect();
    all.push(last);
    // Every other number of those that streams have, and others.
    let range = |number: u32| exactly(number.wrapping_mul(2).wrapping_mul(0x9e37_79b1) << 8, 24);
    Arc::new(Policy::new(RoutePolicy {
        name: "long".into(),
        sets: vec![PrefixSet {
            name: "known".into(),
            ranges: (0..prefixes).map(range).collect(),
        }],
        statements: all,
        default_accepts: true,
    }))
}

fn rare(number: u32) -> Statement {
    let mut rare = statement(format!("rare-{number}"), Action::Reject);
    let asked = &mut rare.matches;
    match number % 10 {
        0..4 => {
            let pattern = Standard::parse(&format!("65010:{number}"));
            asked.standard = CommunityMatch {
                any: pattern.into_iter().collect(),
                ..CommunityMatch::default()
            };
        }
        4..7 => {
            let regex = AsPathRegex::new(&format!("_{}_", 400_000 + number));
            asked.as_path_regexes = regex.into_iter().collect();
        }
        7..9 => asked.origin_asns = vec![300_000 + number..=300_000 + number],
        _ => {
            asked.by_prefix = true;
            let range = |at: u32| exactly(0x0a00_0000 | number << 12 | at << 8, 24);
            asked.prefixes = (0..8).map(range).collect();
            asked.med = Some(1_000_000..=2_000_000);
        }
    }
    rare
}

fn statement(name: String, action: Action) -> Statement {
    Statement {
        name: name.into(),
        matches: Match::default(),
        not: None,
        set: Set::default(),
        action,
    }
}

fn exactly(bits: u32, length: u8) -> PrefixRange {
    PrefixRange {
        prefix: IpPrefix::V4(Ipv4Prefix::masked(Ipv4Addr::from(bits), length)),
        shortest: length,
        longest: length,
    }
}
