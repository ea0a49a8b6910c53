//! A policy made ready to run: its prefix lists as one trie, what it asks of neighbors answered.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use codec::{Family, IpPrefix, NextHop, PeerKind};

use super::condition;
use super::spec::{PrefixRange, RoutePolicy, SetNextHop};
use super::statements::Statements;
use super::trie::{Label, PrefixTrie};

/// A RoutePolicy, compiled. Two that say the same are equal, whatever their hits.
pub struct Policy {
    spec: RoutePolicy,
    /// Of `spec`.
    fingerprint: u64,
    /// There is no such policy: everything is rejected.
    missing: bool,
    pub(super) trie: PrefixTrie,
    pub(super) statements: Statements,
    uses: Uses,
    /// Routes by the statement that they met, and of those that none decided.
    hits: Box<[AtomicU64]>,
}

/// What a policy looks at beside the route.
#[derive(Clone, Copy, Debug, Default)]
struct Uses {
    neighbors: bool,
    own_address: bool,
    peer_address: bool,
    validation: bool,
}

/// A neighbor, as policies see it.
#[derive(Clone, Copy, Debug)]
pub struct Neighbor<'a> {
    /// Its address.
    pub address: IpAddr,
    /// Its AS.
    pub asn: u32,
    /// Whether it is of our AS.
    pub kind: PeerKind,
    /// The template that it was written over.
    pub template: Option<&'a str>,
}

/// Routes that met a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatementHits {
    /// The statement's name; none: those that no statement decided.
    pub statement: Option<Arc<str>>,
    /// How many, since the policy has been in force in this form.
    pub hits: u64,
}

impl Policy {
    /// Compiles what a policy says.
    pub fn new(spec: RoutePolicy) -> Policy {
        let sets = (0..).zip(spec.sets.iter().map(|set| set.ranges.as_slice()));
        let mut lists: Vec<(Label, &[PrefixRange])> = sets.collect();
        let statements = Statements::new(&spec, |part| {
            let mut labels = part.prefix_sets.clone();
            part.by_prefix.then(|| {
                // One of its own, if only to be empty: a list of nothing holds nothing.
                let own = lists.len() as Label;
                labels.push(own);
                lists.push((own, &part.prefixes));
                labels.into()
            })
        });
        let ranges = lists.iter();
        let ranges = ranges.flat_map(|(label, list)| list.iter().map(|range| (*label, range)));
        let trie = PrefixTrie::new(ranges);
        let uses = Uses::of(&spec);
        let fingerprint = fingerprint(&spec);
        let hits = (0..=spec.statements.len()).map(|_| AtomicU64::new(0));
        Policy {
            fingerprint,
            missing: false,
            trie,
            statements,
            uses,
            hits: hits.collect(),
            spec,
        }
    }

    /// Stands for a policy that is not there: it rejects everything.
    pub fn missing(name: &Arc<str>) -> Policy {
        let spec = RoutePolicy {
            name: Arc::clone(name),
            ..RoutePolicy::default()
        };
        Policy {
            missing: true,
            ..Policy::new(spec)
        }
    }

    /// Whether it stands for a policy that is not there.
    pub fn is_missing(&self) -> bool {
        self.missing
    }

    /// What it says.
    pub fn spec(&self) -> &RoutePolicy {
        &self.spec
    }

    /// The name of the resource.
    pub fn name(&self) -> &Arc<str> {
        &self.spec.name
    }

    /// Nodes and rules of the trie.
    pub fn trie_size(&self) -> (usize, usize) {
        self.trie.size()
    }

    /// Counts routes that met a statement; `None`: that none decided.
    pub(super) fn count(&self, statement: Option<u16>, routes: u64) {
        let place = statement.map_or(self.spec.statements.len(), usize::from);
        if let Some(hits) = self.hits.get(place) {
            hits.fetch_add(routes, Ordering::Relaxed);
        }
    }

    /// How many routes met each statement, then how many none decided.
    pub fn hits(&self) -> Vec<StatementHits> {
        let names = self.spec.statements.iter();
        let names = names.map(|statement| Some(Arc::clone(&statement.name)));
        let all = names.chain([None]).zip(&self.hits);
        all.map(|(statement, hits)| StatementHits {
            statement,
            hits: hits.load(Ordering::Relaxed),
        })
        .collect()
    }

    /// What refuses a route, for people: `RoutePolicy from-tor, statement customers`.
    pub fn words(&self, statement: Option<u16>) -> String {
        let name = &self.spec.name;
        let by = statement.and_then(|by| self.spec.statements.get(usize::from(by)));
        match by {
            _ if self.missing => {
                format!("RoutePolicy {name}, which is not there and so lets nothing through")
            }
            Some(by) => format!("RoutePolicy {name}, statement {}", by.name),
            None => format!("RoutePolicy {name}, defaultAction"),
        }
    }
}

impl Uses {
    fn of(spec: &RoutePolicy) -> Uses {
        let mut uses = Uses::default();
        for statement in &spec.statements {
            let parts = std::iter::once(&statement.matches).chain(&statement.not);
            for part in parts {
                uses.neighbors |= part.neighbors.is_some();
                uses.validation |= !part.validation.is_empty();
            }
            uses.own_address |= statement.set.next_hop == Some(SetNextHop::Own);
            uses.peer_address |= statement.set.next_hop == Some(SetNextHop::PeerAddress);
        }
        uses
    }
}

fn fingerprint(spec: &RoutePolicy) -> u64 {
    ahash::RandomState::with_seeds(1, 2, 3, 4).hash_one(spec)
}

impl PartialEq for Policy {
    fn eq(&self, other: &Policy) -> bool {
        self.fingerprint == other.fingerprint
            && self.missing == other.missing
            && self.spec == other.spec
    }
}

impl Eq for Policy {}

impl Hash for Policy {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.fingerprint.hash(state);
    }
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = if self.missing { " (missing)" } else { "" };
        write!(f, "Policy({}{state})", self.spec.name)
    }
}

/// A policy as one neighbor meets it: what it asks of neighbors is answered.
///
/// Neighbors to which it does the same are equal in this, so that they can share.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Applied {
    pub(super) policy: Arc<Policy>,
    /// Two bits a statement: whether its conditions on neighbors hold, of `match` and of `not`.
    /// None: the policy has no such conditions.
    neighbors: Option<Arc<[u64]>>,
    /// Ourselves as next hop by family, where a policy on import sets that.
    pub(super) own: Option<[Option<NextHop>; Family::ALL.len()]>,
    /// The peer's address, where a policy on import sets that.
    pub(super) peer: Option<IpAddr>,
}

impl Applied {
    /// For what a neighbor says. `own` is what we are as next hop on its session.
    pub fn on_import(
        policy: &Arc<Policy>,
        neighbor: &Neighbor<'_>,
        own: [Option<NextHop>; Family::ALL.len()],
    ) -> Applied {
        Applied {
            own: policy.uses.own_address.then_some(own),
            peer: policy.uses.peer_address.then_some(neighbor.address),
            ..Applied::on_export(policy, neighbor)
        }
    }

    /// For what a neighbor is told: there the next hops `Self` and `PeerAddress`, our end of the
    /// session, are the last step's, not the policy's.
    pub fn on_export(policy: &Arc<Policy>, neighbor: &Neighbor<'_>) -> Applied {
        Applied {
            policy: Arc::clone(policy),
            neighbors: policy.uses.neighbors.then(|| answers(policy, neighbor)),
            own: None,
            peer: None,
        }
    }

    /// The policy.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// Whether the state of origin validation decides anything.
    pub fn asks_for_validation(&self) -> bool {
        self.policy.uses.validation
    }

    /// Whether a statement's conditions on neighbors hold; `not`: those of its `not`.
    pub(super) fn neighbor_holds(&self, statement: usize, not: bool) -> bool {
        let place = 2 * statement + usize::from(not);
        self.neighbors.as_ref().is_none_or(|bits| {
            let word = bits.get(place / 64).copied().unwrap_or_default();
            word >> (place % 64) & 1 != 0
        })
    }
}

fn answers(policy: &Policy, neighbor: &Neighbor<'_>) -> Arc<[u64]> {
    let statements = &policy.spec.statements;
    let mut bits = vec![0u64; (2 * statements.len()).div_ceil(64)];
    for (place, statement) in statements.iter().enumerate() {
        let parts = [Some(&statement.matches), statement.not.as_ref()];
        for (not, part) in parts.into_iter().enumerate() {
            let asked = part.and_then(|part| part.neighbors.as_ref());
            if asked.is_none_or(|asked| condition::neighbor(asked, neighbor)) {
                let place = 2 * place + not;
                bits[place / 64] |= 1 << (place % 64);
            }
        }
    }
    bits.into()
}

/// Whether an address is in one of these.
pub(super) fn within(address: IpAddr, prefixes: &[IpPrefix]) -> bool {
    let host = ipnet::IpNet::from(address).into();
    prefixes
        .iter()
        .any(|prefix: &IpPrefix| prefix.contains(host))
}
