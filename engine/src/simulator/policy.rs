//! Route policies of a run: drawn from a number, written as a resource says them, and judged here as
//! plainly as they read. Nothing of the engine's evaluation is used.

use std::net::IpAddr;
use std::sync::Arc;

use codec::{Family, IpPrefix, Ipv4Prefix};

use super::route::Route;
use crate::policy::{
    Action, CommunityMatch, CommunitySet, Match, NeighborMatch, Policy, PrefixRange, PrefixSet,
    RoutePolicy, Set, SetMed, SetNextHop, Sources, Standard, Statement, Validation,
};
use crate::random::Random;

/// How many different policies there are: few, so that routers share them.
const POLICIES: usize = 40;

const LLGR_STALE: u32 = 0xffff_0006;

/// What names the policy of a number.
const NAME: &str = "drawn-";

/// Statements in order.
#[derive(Clone, Debug)]
pub(super) struct PlainPolicy {
    rules: Vec<Rule>,
    accepts: bool,
}

/// One statement: each thing that is there has to hold.
#[derive(Clone, Debug)]
struct Rule {
    /// Prefixes of `.0` and longer, from and to a length.
    within: Option<(IpPrefix, u8, u8)>,
    but_not: Option<IpPrefix>,
    community: Option<u32>,
    asn: Option<u32>,
    own: Option<bool>,
    med_at_most: Option<u32>,
    path_at_most: Option<u32>,
    validation: Option<Validation>,
    local_pref: Option<u32>,
    med: Option<Option<u32>>,
    prepend: Option<u32>,
    add: Option<u32>,
    remove: Option<u32>,
    next_hop: Option<NextHop>,
    action: Action,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NextHop {
    Own,
    Unchanged,
    Peer,
}

/// A route on its way through a policy.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    pub(super) route: Route,
    /// On export: whether the next hop is ours, if the policy says.
    pub(super) next_hop_is_own: Option<bool>,
    pub(super) sets_med: bool,
}

/// What a policy sees beside the route.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) prefix: IpPrefix,
    /// We asked for it ourselves.
    pub(super) own: bool,
    pub(super) peer: IpAddr,
    pub(super) asn: u32,
    pub(super) validation: Validation,
    /// On import: what we are as next hop. None: on export.
    pub(super) own_next_hop: Option<IpAddr>,
}

/// One of the policies, as a resource.
pub(super) fn draw(random: &mut Random) -> Arc<Policy> {
    let number = random.below(POLICIES);
    Arc::new(match number {
        0 => Policy::missing(&"missing".into()),
        _ => PlainPolicy::of(number).resource(number),
    })
}

/// The rules of a policy; none: it is not there.
pub(super) fn plain(policy: &Policy) -> Option<PlainPolicy> {
    let number = policy.name().strip_prefix(NAME)?;
    Some(PlainPolicy::of(number.parse().ok()?))
}

/// What of an export policy is different for routers: which rules are about the AS of one.
pub(super) fn sharing_key(policy: &Policy, asn: u32) -> (String, Vec<bool>) {
    let rules = plain(policy).map_or_else(Vec::new, |plain| plain.rules);
    let holds = |rule: &Rule| rule.asn.is_none_or(|wanted| wanted == asn);
    (policy.name().to_string(), rules.iter().map(holds).collect())
}

impl Judged {
    /// A route that no policy changed.
    pub(super) fn unchanged(route: &Route) -> Judged {
        Judged {
            route: route.clone(),
            next_hop_is_own: None,
            sets_med: false,
        }
    }
}

impl PlainPolicy {
    fn of(number: usize) -> PlainPolicy {
        let mut random = Random::new(number as u64);
        let rules = (0..1 + random.below(4)).map(|_| Rule::draw(&mut random));
        PlainPolicy {
            rules: rules.collect(),
            accepts: random.percent(60),
        }
    }

    fn resource(&self, number: usize) -> Policy {
        let mut sets = Vec::new();
        let statements = self.rules.iter().enumerate();
        let statements = statements.map(|(place, rule)| rule.statement(place, &mut sets));
        let statements = statements.collect();
        Policy::new(RoutePolicy {
            name: format!("{NAME}{number}").into(),
            sets,
            statements,
            default_accepts: self.accepts,
        })
    }

    /// What becomes of a route; none: it is rejected.
    pub(super) fn judge(&self, seen: Seen, route: &Route) -> Option<Judged> {
        let mut judged = self.run(seen, route)?;
        // RFC 9494 §4.3: it is not for a policy to take off.
        let communities = &mut judged.route.communities;
        if route.communities.contains(&LLGR_STALE) && !communities.contains(&LLGR_STALE) {
            communities.push(LLGR_STALE);
        }
        Some(judged)
    }

    fn run(&self, seen: Seen, route: &Route) -> Option<Judged> {
        let mut judged = Judged::unchanged(route);
        for rule in self.rules.iter() {
            if !rule.is_about(seen, &judged.route) {
                continue;
            }
            if rule.action == Action::Reject {
                return None;
            }
            rule.change(seen, &mut judged);
            if rule.action == Action::Accept {
                return Some(judged);
            }
        }
        self.accepts.then_some(judged)
    }
}

impl Rule {
    fn draw(random: &mut Random) -> Rule {
        fn some<T>(random: &mut Random, times: u64, from: &[T]) -> Option<T>
        where
            T: Clone,
        {
            random.percent(times).then(|| random.pick(from).clone())
        }
        let v4 = |third: u8, length| {
            IpPrefix::V4(Ipv4Prefix::masked([172, 16, third, 0].into(), length))
        };
        let v6 = IpPrefix::from("2001:db8::/32".parse::<ipnet::IpNet>().expect("a prefix"));
        let communities = [0xfbf4_0007, 0xfde9_0001, 0xfde9_0063, 0xffff_ff01];
        let removed = [0xfbf4_0007, 0xfde9_0001, LLGR_STALE, 0xffff_ff01];
        Rule {
            within: some(
                random,
                50,
                &[
                    (v4(0, 12), 12, 32),
                    (v4(0, 12), 24, 24),
                    (v4(0, 21), 22, 25),
                    (v4(8, 21), 24, 32),
                    (v6, 48, 64),
                    (v6, 32, 128),
                ],
            ),
            but_not: some(random, 20, &[v4(3, 24), v4(0, 22)]),
            community: some(random, 20, &communities),
            asn: some(random, 20, &[65001, 65002, 65003]),
            own: some(random, 15, &[true, false]),
            med_at_most: some(random, 15, &[0, 10]),
            path_at_most: some(random, 15, &[0, 1, 2]),
            validation: some(
                random,
                25,
                &[Validation::Valid, Validation::Invalid, Validation::NotFound],
            ),
            local_pref: some(random, 30, &[50, 200, 300]),
            med: some(random, 30, &[None, Some(5), Some(10)]),
            prepend: some(random, 20, &[64_999, 4_200_000_009]),
            add: some(random, 30, &communities),
            remove: some(random, 20, &removed),
            next_hop: some(
                random,
                20,
                &[NextHop::Own, NextHop::Unchanged, NextHop::Peer],
            ),
            action: *random.pick(&[
                Action::Accept,
                Action::Accept,
                Action::Reject,
                Action::Next,
                Action::Next,
            ]),
        }
    }

    fn is_about(&self, seen: Seen, route: &Route) -> bool {
        let length = seen.prefix.length();
        let within = |(outer, from, to): (IpPrefix, u8, u8)| {
            outer.contains(seen.prefix) && from <= length && length <= to
        };
        self.within.is_none_or(within)
            && !self.but_not.is_some_and(|but| but.contains(seen.prefix))
            && self
                .community
                .is_none_or(|community| route.communities.contains(&community))
            && self.asn.is_none_or(|asn| asn == seen.asn)
            && self.own.is_none_or(|own| own == seen.own)
            && self.validation.is_none_or(|state| state == seen.validation)
            && self
                .med_at_most
                .is_none_or(|most| route.med.unwrap_or(0) <= most)
            && self
                .path_at_most
                .is_none_or(|most| route.as_path.len() <= most as usize)
    }

    fn change(&self, seen: Seen, judged: &mut Judged) {
        let route = &mut judged.route;
        if let Some(local_pref) = self.local_pref {
            route.local_pref = Some(local_pref);
        }
        if let Some(med) = self.med {
            route.med = med;
            judged.sets_med = med.is_some();
        }
        if let Some(asn) = self.prepend {
            route.as_path.insert(0, asn);
            route.as_path.insert(0, asn);
        }
        if let Some(gone) = self.remove {
            route.communities.retain(|community| *community != gone);
        }
        if let Some(new) = self.add
            && !route.communities.contains(&new)
        {
            route.communities.push(new);
        }
        let fits =
            |address: &IpAddr| address.is_ipv4() == (seen.prefix.family() == Family::Ipv4Unicast);
        match (self.next_hop, seen.own_next_hop) {
            (None, _) => {}
            (Some(NextHop::Unchanged), _) => judged.next_hop_is_own = Some(false),
            (Some(NextHop::Own), Some(own)) => route.next_hop = own,
            // Nobody is told itself as next hop.
            (Some(NextHop::Own | NextHop::Peer), None) => judged.next_hop_is_own = Some(true),
            (Some(NextHop::Peer), Some(_)) if fits(&seen.peer) => {
                route.next_hop = seen.peer;
                judged.next_hop_is_own = Some(false);
            }
            (Some(NextHop::Peer), Some(_)) => {}
        }
    }

    fn statement(&self, place: usize, sets: &mut Vec<PrefixSet>) -> Statement {
        let range = |prefix: IpPrefix, shortest, longest| PrefixRange {
            prefix,
            shortest,
            longest,
        };
        let mut matches = Match::default();
        if let Some((prefix, shortest, longest)) = self.within {
            matches.by_prefix = true;
            // Half of them as a set by name.
            if place.is_multiple_of(2) {
                matches.prefix_sets.push(sets.len() as u16);
                sets.push(PrefixSet {
                    name: format!("set-{place}").into(),
                    ranges: vec![range(prefix, shortest, longest)],
                });
            } else {
                matches.prefixes.push(range(prefix, shortest, longest));
            }
        }
        if let Some(community) = self.community {
            matches.standard = CommunityMatch {
                any: vec![Standard::exactly(community)],
                ..CommunityMatch::default()
            };
        }
        if let Some(asn) = self.asn {
            matches.neighbors = Some(NeighborMatch {
                asns: vec![asn..=asn],
                ..NeighborMatch::default()
            });
        }
        matches.sources = self.own.map(|own| match own {
            true => Sources::NETWORK_POLICY,
            false => Sources::RECEIVED,
        });
        matches.validation = self.validation.into_iter().collect();
        matches.med = self.med_at_most.map(|most| 0..=most);
        matches.as_path_length = self.path_at_most.map(|most| 0..=most);
        let not = self.but_not.map(|prefix| Match {
            by_prefix: true,
            prefixes: vec![range(prefix, 0, 32)],
            ..Match::default()
        });
        Statement {
            name: format!("rule-{place}").into(),
            matches,
            not,
            set: self.set(),
            action: self.action,
        }
    }

    fn set(&self) -> Set {
        Set {
            local_preference: self.local_pref,
            med: self
                .med
                .map(|med| med.map_or(SetMed::Remove, SetMed::Value)),
            prepend: self.prepend.map(|asn| (asn, 2)),
            next_hop: self.next_hop.map(|next_hop| match next_hop {
                NextHop::Own => SetNextHop::Own,
                NextHop::Unchanged => SetNextHop::Unchanged,
                NextHop::Peer => SetNextHop::PeerAddress,
            }),
            standard: CommunitySet {
                replace: None,
                remove: self.remove.map(Standard::exactly).into_iter().collect(),
                add: self.add.into_iter().collect(),
            },
            ..Set::default()
        }
    }
}
