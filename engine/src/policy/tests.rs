//! Tables of cases, by what they are about, and routes in plain form for them.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use codec::{AsPath, AttributeSet, AttributeWriter, Family, IpPrefix, NextHop, Origin, PeerKind};

use super::*;

mod changes;
mod conditions;
mod reference;
mod soundness;
mod together;
mod warnings;

/// A route in plain form.
#[derive(Clone, Debug, PartialEq)]
struct Route {
    prefix: IpPrefix,
    sources: Sources,
    validation: Validation,
    as_path: Vec<u32>,
    next_hop: Option<Ipv4Addr>,
    communities: Vec<u32>,
    large: Vec<[u32; 3]>,
    extended: Vec<[u8; 8]>,
    med: Option<u32>,
    local_preference: Option<u32>,
    origin: Origin,
}

fn prefix(text: &str) -> IpPrefix {
    text.parse::<ipnet::IpNet>().unwrap().into()
}

fn range(text: &str, shortest: u8, longest: u8) -> PrefixRange {
    PrefixRange {
        prefix: prefix(text),
        shortest,
        longest,
    }
}

fn route() -> Route {
    Route {
        prefix: prefix("192.0.2.0/24"),
        sources: Sources::RECEIVED,
        validation: Validation::NotFound,
        as_path: vec![65002, 65003],
        next_hop: Some(Ipv4Addr::new(10, 0, 0, 6)),
        communities: vec![65000 << 16 | 1, 65000 << 16 | 99],
        large: vec![[65000, 5, 1]],
        extended: vec![extended("rt:65000:7").unwrap()],
        med: Some(50),
        local_preference: None,
        origin: Origin::Igp,
    }
}

fn segment(asns: &[u32]) -> Vec<u8> {
    let mut octets = Vec::new();
    if !asns.is_empty() {
        octets.extend([2, asns.len() as u8]);
        octets.extend(asns.iter().flat_map(|asn| asn.to_be_bytes()));
    }
    octets
}

impl Route {
    fn canonical(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = AttributeWriter::new(&mut out);
        writer.origin(self.origin);
        writer.as_path(&AsPath::new(&segment(&self.as_path)), &[], true);
        if let Some(next_hop) = self.next_hop {
            writer.next_hop(next_hop);
        }
        if let Some(med) = self.med {
            writer.med(med);
        }
        if let Some(preference) = self.local_preference {
            writer.local_pref(preference);
        }
        writer.communities(&self.communities);
        writer.extended_communities(&self.extended);
        writer.large_communities(&self.large);
        // An attribute that policy knows nothing of.
        writer.raw(0xe0, 99, &[1, 2, 3]);
        out
    }

    /// With what stands in a canonical set.
    fn read(&self, canonical: &[u8]) -> Route {
        let set = AttributeSet::new(canonical);
        assert_eq!(set.get(99).unwrap().value, [1, 2, 3]);
        assert!(set.iter().is_sorted_by(|a, b| a.code < b.code));
        Route {
            as_path: set.as_path().asns().collect(),
            next_hop: match set.next_hop() {
                Some(NextHop::V4(address)) => Some(address),
                _ => None,
            },
            communities: set.communities().collect(),
            large: set.large_communities().collect(),
            extended: set.extended_communities().collect(),
            med: set.med(),
            local_preference: set.local_pref(),
            origin: set.origin().unwrap(),
            ..self.clone()
        }
    }
}

const NEIGHBOR: Neighbor<'static> = Neighbor {
    address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 6)),
    asn: 65002,
    kind: PeerKind::External,
    template: Some("tor"),
};
const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);

fn evaluator(policy: RoutePolicy) -> Evaluator {
    let policy = Arc::new(Policy::new(policy));
    let own = [Some(NextHop::V4(OWN)), None];
    Evaluator::new(Applied::on_import(&policy, &NEIGHBOR, own))
}

fn asked<'a>(id: u32, route: &Route, canonical: &'a [u8]) -> (Key, Subject<'a>) {
    let family = route.prefix.family();
    let key = Key {
        attributes: id,
        generation: 0,
        family,
        sources: route.sources,
        validation: route.validation,
    };
    let subject = Subject {
        family,
        sources: key.sources,
        validation: key.validation,
        attributes: canonical,
    };
    (key, subject)
}

/// What becomes of a route: the one that passes, and by which statement.
fn judge(evaluator: &mut Evaluator, id: u32, route: &Route) -> (Option<Route>, Option<u16>) {
    let canonical = route.canonical();
    let (key, subject) = asked(id, route, &canonical);
    let (verdict, _) = evaluator.judge(key, &subject, route.prefix);
    let form = verdict.form.attributes.as_deref().unwrap_or(&canonical);
    let passed = verdict.accepted.then(|| route.read(form));
    (passed, verdict.statement)
}

/// Whether every prefix meets the same with these attributes.
fn is_settled(evaluator: &mut Evaluator, id: u32, route: &Route) -> bool {
    let canonical = route.canonical();
    let (key, subject) = asked(id, route, &canonical);
    evaluator.judge(key, &subject, route.prefix).1
}

fn statement(name: &str, matches: Match, action: Action) -> Statement {
    Statement {
        name: name.into(),
        matches,
        not: None,
        set: Set::default(),
        action,
    }
}

fn policy(statements: Vec<Statement>) -> RoutePolicy {
    RoutePolicy {
        name: "p".into(),
        statements,
        ..RoutePolicy::default()
    }
}

/// What is said of statements that can never be met.
fn never(policy: &RoutePolicy) -> Vec<(usize, String)> {
    never_matching(policy, &std::collections::BTreeSet::new())
}

#[test]
fn a_missing_policy_rejects_everything_and_says_so() {
    let missing = Policy::missing(&"gone".into());
    assert!(missing.is_missing());
    assert_eq!(
        missing.words(None),
        "RoutePolicy gone, which is not there and so lets nothing through"
    );
    assert_ne!(missing, Policy::new(missing.spec().clone()));
    let mut evaluator = evaluator(missing.spec().clone());
    assert_eq!(judge(&mut evaluator, 0, &route()), (None, None));
}

#[test]
fn bogons_are_what_the_contract_says() {
    let set = internet_bogons();
    let holds = |text: &str| {
        let prefix = prefix(text);
        set.ranges.iter().any(|range| {
            range.prefix.contains(prefix)
                && (range.shortest..=range.longest).contains(&prefix.length())
        })
    };
    for bogon in [
        "10.1.0.0/16",
        "192.168.1.0/24",
        "100.64.0.0/12",
        "8.8.8.0/25",
        "2001:db8:1::/48",
        "2600::/49",
    ] {
        assert!(holds(bogon), "{bogon}");
    }
    for fine in ["8.8.8.0/24", "2600::/48", "0.0.0.0/0", "100.0.0.0/8"] {
        assert!(!holds(fine), "{fine}");
    }
}
