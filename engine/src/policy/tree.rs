//! Running a policy: the statements as far as attributes decide them, kept for each attribute set,
//! and the few that are left for each prefix.
//!
//! For one attribute set the statements are walked once. What a statement asks of attributes either
//! fails, and it is passed over, or holds. If it asks nothing of the prefix it is met for certain;
//! else it is *open*, and what meeting it leads to is worked out when a prefix first does. A route
//! so goes down a small tree: a node is a row of segments, each with the statements that are open
//! under the attributes as they are there, and the verdict that is reached if none is met.
//!
//! Invariant: a verdict equals that of asking the statements one by one, which the tests do.

use std::sync::Arc;

use codec::{Family, IpPrefix};
use smallvec::SmallVec;

use super::change::change;
use super::compile::{Applied, Policy};
use super::condition::Facts;
use super::spec::{Action, Sources, Validation};
use super::trie::Label;

/// Attribute sets whose trees are kept, at most; a place each, by id.
const TREES: usize = 2048;

/// Nodes of one tree; past it the tree is cut back to its root.
const NODES_MAX: usize = 64;

/// Rows of open statements that are shared between trees.
const CHAINS: usize = 16;

/// Past this many open statements those are sought that the prefix could meet.
const FEW: usize = 16;

/// What tells a tree from others: an attribute set, and what conditions ask beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The id of the set.
    pub attributes: u32,
    /// Tells sets of the same id apart.
    pub generation: u32,
    /// The route's family.
    pub family: Family,
    /// Where it comes from.
    pub sources: Sources,
    /// Its state of origin validation.
    pub validation: Validation,
}

/// A route, but for its prefix.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Its family.
    pub family: Family,
    /// Where it comes from.
    pub sources: Sources,
    /// Its state of origin validation.
    pub validation: Validation,
    /// Its attributes in canonical form.
    pub attributes: &'a [u8],
}

/// What a policy made of the next hop, for the last step of export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum NextHopChoice {
    /// Nothing: the neighbor's settings say.
    #[default]
    BySettings,
    /// Ourselves.
    Own,
    /// What stands in the attributes.
    Unchanged,
}

/// What became of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it passes.
    pub accepted: bool,
    /// The statement that decided; none: `defaultAction`.
    pub statement: Option<u16>,
    /// What was made of it.
    pub form: Form,
}

/// A route's attributes on their way through a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// Its attributes; none: as they came.
    pub attributes: Option<Arc<[u8]>>,
    /// What was made of the next hop.
    pub next_hop: NextHopChoice,
    /// Whether MULTI_EXIT_DISC was set: then it goes to external peers too.
    pub sets_med: bool,
}

/// A policy with what is remembered of running it.
pub struct Evaluator {
    applied: Applied,
    trees: Vec<Option<Box<(Key, Tree)>>>,
    chains: Vec<Arc<Chain>>,
    hits: Hits,
}

/// Routes by statement, not yet added to the policy's.
#[derive(Default)]
struct Hits {
    counts: Vec<u64>,
    touched: Vec<u16>,
}

#[derive(Default)]
struct Tree {
    nodes: Vec<Node>,
}

#[derive(Default)]
struct Node {
    segments: Vec<Segment>,
    /// If no open statement is met.
    verdict: Verdict,
}

struct Segment {
    /// What the open statements are met with.
    form: Form,
    open: Arc<Chain>,
    /// Statements that are met for certain once none of the open ones was, and say `Next`.
    passed: SmallVec<[u16; 2]>,
    /// Where open statements lead that were met, by node.
    branches: Vec<(u16, u32)>,
}

/// Open statements in order.
#[derive(Debug, Default, PartialEq, Eq)]
struct Chain {
    links: Vec<Link>,
    /// The places of those that wait for no list.
    unbound: Vec<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Link {
    statement: u16,
    /// Met only by prefixes of its lists.
    by_match: bool,
    /// Not met by prefixes of its `not`'s lists.
    by_not: bool,
}

/// The lists that hold a prefix.
type Found = SmallVec<[Label; 8]>;

impl Evaluator {
    /// Nothing is remembered yet.
    pub fn new(applied: Applied) -> Evaluator {
        let statements = applied.policy.spec().statements.len();
        Evaluator {
            applied,
            trees: Vec::new(),
            chains: Vec::new(),
            hits: Hits {
                counts: vec![0; statements + 1],
                touched: Vec::new(),
            },
        }
    }

    /// What it runs.
    pub fn applied(&self) -> &Applied {
        &self.applied
    }

    /// What the policy makes of a route, and whether it does the same whatever the prefix. `key`
    /// tells `subject` from all others.
    pub fn judge(&mut self, key: Key, subject: &Subject<'_>, prefix: IpPrefix) -> (Verdict, bool) {
        if self.trees.is_empty() {
            self.trees.resize_with(TREES, || None);
        }
        let place = place_of(&key);
        let mut kept = self.trees[place].take().filter(|kept| kept.0 == key);
        let kept_tree = kept.get_or_insert_with(|| Box::new((key, Tree::default())));
        let verdict = self.run(&mut kept_tree.1, subject, prefix);
        let settled = kept_tree.1.is_settled();
        self.trees[place] = kept;
        (verdict, settled)
    }

    /// Counts routes beyond the first that met what the last one did.
    pub fn count_alike(&mut self, verdict: &Verdict, more: u64) {
        self.hits.add(self.place(verdict.statement), more);
    }

    /// Adds what was counted to the policy's hits.
    pub fn flush(&mut self) {
        let Hits { counts, touched } = &mut self.hits;
        for place in touched.drain(..) {
            let routes = std::mem::take(&mut counts[usize::from(place)]);
            let statement = usize::from(place) < self.applied.policy.spec().statements.len();
            self.applied
                .policy
                .count(statement.then_some(place), routes);
        }
    }

    fn place(&self, statement: Option<u16>) -> u16 {
        statement.unwrap_or(self.applied.policy.spec().statements.len() as u16)
    }

    fn run(&mut self, tree: &mut Tree, subject: &Subject<'_>, prefix: IpPrefix) -> Verdict {
        if tree.nodes.is_empty() {
            let root = self.walk(subject, 0, Form::default());
            tree.nodes.push(root);
        }
        let mut found: Option<Found> = None;
        let mut at = 0;
        'node: loop {
            for place in 0..tree.nodes[at].segments.len() {
                let segment = &tree.nodes[at].segments[place];
                let policy = &self.applied.policy;
                let met = (!segment.open.links.is_empty())
                    .then(|| found.get_or_insert_with(|| find(policy, prefix)))
                    .and_then(|found| segment.open.first_met(policy, found));
                let Some(statement) = met else {
                    for passed in &segment.passed {
                        self.hits.add(*passed, 1);
                    }
                    continue;
                };
                let known = segment.branches.iter().find(|(by, _)| *by == statement);
                at = match known {
                    Some((_, node)) => *node as usize,
                    None => self.grow(tree, subject, (at, place), statement),
                };
                // The one that decides is counted below.
                if tree.nodes[at].verdict.statement != Some(statement) {
                    self.hits.add(statement, 1);
                }
                continue 'node;
            }
            break;
        }
        let verdict = tree.nodes[at].verdict.clone();
        self.hits.add(self.place(verdict.statement), 1);
        verdict
    }

    /// Works out where meeting an open statement leads. Returns the node.
    fn grow(
        &mut self,
        tree: &mut Tree,
        subject: &Subject<'_>,
        (at, place): (usize, usize),
        statement: u16,
    ) -> usize {
        let form = tree.nodes[at].segments[place].form.clone();
        let node = self.meet(subject, statement, form);
        if tree.nodes.len() >= NODES_MAX {
            // The node that we stand on is not needed any more, and the root only again.
            tree.nodes.truncate(1);
            for segment in &mut tree.nodes[0].segments {
                segment.branches.clear();
            }
            tree.nodes.push(node);
            return tree.nodes.len() - 1;
        }
        let new = tree.nodes.len();
        tree.nodes[at].segments[place]
            .branches
            .push((statement, new as u32));
        tree.nodes.push(node);
        new
    }

    /// What follows from meeting a statement.
    fn meet(&mut self, subject: &Subject<'_>, statement: u16, form: Form) -> Node {
        let policy = Arc::clone(&self.applied.policy);
        let Some(said) = policy.spec().statements.get(usize::from(statement)) else {
            return Node::default();
        };
        match said.action {
            Action::Next => {
                let form = self.changed(subject, &form, statement);
                self.walk(subject, statement + 1, form)
            }
            Action::Accept => Node::closed(Verdict {
                accepted: true,
                statement: Some(statement),
                form: self.changed(subject, &form, statement),
            }),
            Action::Reject => Node::closed(Verdict {
                accepted: false,
                statement: Some(statement),
                form: Form::default(),
            }),
        }
    }

    /// The statements from one on, as far as attributes decide them.
    fn walk(&mut self, subject: &Subject<'_>, from: u16, mut form: Form) -> Node {
        let policy = Arc::clone(&self.applied.policy);
        let mut segments = Vec::new();
        let mut links = Vec::new();
        let mut attributes = form.attributes.clone();
        let mut at = from;
        let mut candidates = Vec::new();
        'form: loop {
            let shown = Subject {
                attributes: attributes.as_deref().unwrap_or(subject.attributes),
                ..*subject
            };
            let facts = Facts::of(&shown);
            facts.candidates(&policy.gates, at, &mut candidates);
            for statement in candidates.iter().copied() {
                let Some(link) = self.link(&facts, statement) else {
                    continue;
                };
                let Some(said) = policy.spec().statements.get(usize::from(statement)) else {
                    continue;
                };
                at = statement + 1;
                if link.by_match || link.by_not {
                    links.push(link);
                    continue;
                }
                if said.action == Action::Next && said.set.is_empty() {
                    // Only counted; it tells nothing apart.
                    self.close_segment(&mut segments, &mut links, &form, Some(statement));
                    continue;
                }
                let changed = match said.action {
                    Action::Reject => Form::default(),
                    Action::Accept | Action::Next => self.changed(subject, &form, statement),
                };
                if said.action == Action::Next {
                    self.close_segment(&mut segments, &mut links, &form, Some(statement));
                    form = changed;
                    attributes = form.attributes.clone();
                    continue 'form;
                }
                self.close_segment(&mut segments, &mut links, &form, None);
                let verdict = Verdict {
                    accepted: said.action == Action::Accept,
                    statement: Some(statement),
                    form: changed,
                };
                return Node { segments, verdict };
            }
            break;
        }
        self.close_segment(&mut segments, &mut links, &form, None);
        let accepted = policy.spec().default_accepts;
        let verdict = Verdict {
            accepted,
            statement: None,
            form: if accepted { form } else { Form::default() },
        };
        Node { segments, verdict }
    }

    fn close_segment(
        &mut self,
        segments: &mut Vec<Segment>,
        links: &mut Vec<Link>,
        form: &Form,
        passed: Option<u16>,
    ) {
        if links.is_empty() && passed.is_none() {
            return;
        }
        segments.push(Segment {
            form: form.clone(),
            open: self.shared(std::mem::take(links)),
            passed: passed.into_iter().collect(),
            branches: Vec::new(),
        });
    }

    /// A row that was made lately is the same memory.
    fn shared(&mut self, links: Vec<Link>) -> Arc<Chain> {
        if let Some(known) = self.chains.iter().find(|chain| chain.links == links) {
            return Arc::clone(known);
        }
        let unbound = (0..).zip(&links).filter(|(_, link)| !link.by_match);
        let chain = Arc::new(Chain {
            unbound: unbound.map(|(place, _)| place).collect(),
            links,
        });
        if self.chains.len() >= CHAINS {
            self.chains.remove(0);
        }
        self.chains.push(Arc::clone(&chain));
        chain
    }

    /// Whether a statement can be met; none: not with these attributes.
    fn link(&self, facts: &Facts<'_>, statement: u16) -> Option<Link> {
        let place = usize::from(statement);
        let said = self.applied.policy.spec().statements.get(place)?;
        if !self.applied.neighbor_holds(place, false) || !facts.meet(&said.matches) {
            return None;
        }
        let not = said.not.as_ref();
        let not = not.filter(|not| self.applied.neighbor_holds(place, true) && facts.meet(not));
        if not.is_some_and(|not| !not.by_prefix) {
            return None;
        }
        Some(Link {
            statement,
            by_match: said.matches.by_prefix,
            by_not: not.is_some(),
        })
    }

    fn changed(&self, subject: &Subject<'_>, form: &Form, statement: u16) -> Form {
        let said = self
            .applied
            .policy
            .spec()
            .statements
            .get(usize::from(statement));
        let Some(said) = said.filter(|said| !said.set.is_empty()) else {
            return form.clone();
        };
        let before = form.attributes.as_deref().unwrap_or(subject.attributes);
        let (octets, effects) = change(&said.set, subject.family, &self.applied, before);
        Form {
            attributes: octets
                .map_or_else(|| form.attributes.clone(), |octets| Some(octets.into())),
            next_hop: effects.next_hop.unwrap_or(form.next_hop),
            sets_med: effects.sets_med.unwrap_or(form.sets_med),
        }
    }
}

impl Hits {
    fn add(&mut self, place: u16, routes: u64) {
        let count = &mut self.counts[usize::from(place)];
        if *count == 0 {
            self.touched.push(place);
        }
        *count += routes;
    }
}

impl Tree {
    /// Whether every prefix meets the same.
    fn is_settled(&self) -> bool {
        let root = self.nodes.first();
        root.is_some_and(|root| root.segments.iter().all(|s| s.open.links.is_empty()))
    }
}

impl Node {
    fn closed(verdict: Verdict) -> Node {
        Node {
            segments: Vec::new(),
            verdict,
        }
    }
}

impl Chain {
    /// The first statement that a prefix in these lists meets.
    fn first_met(&self, policy: &Policy, found: &Found) -> Option<u16> {
        let users = |label: &Label| policy.users.get(usize::from(*label)).map_or(&[][..], |u| u);
        let sought: usize = found.iter().map(|label| users(label).len()).sum();
        if self.links.len() <= FEW.max(sought) {
            let met = self.links.iter().find(|link| link.is_met(policy, found));
            return met.map(|link| link.statement);
        }
        let unbound = self
            .unbound
            .iter()
            .map(|place| &self.links[usize::from(*place)]);
        let mut met = unbound.filter(|link| link.is_met(policy, found));
        let mut first = met.next().map(|link| link.statement);
        for statement in found.iter().flat_map(users) {
            if first.is_some_and(|first| first <= *statement) {
                continue;
            }
            let by_statement = |link: &Link| link.statement;
            let place = self.links.binary_search_by_key(statement, by_statement);
            if place.is_ok_and(|place| self.links[place].is_met(policy, found)) {
                first = Some(*statement);
            }
        }
        first
    }
}

impl Link {
    fn is_met(&self, policy: &Policy, found: &Found) -> bool {
        let labels = &policy.labels[usize::from(self.statement)];
        let in_one = |lists: &[Label]| lists.iter().any(|label| found.contains(label));
        (!self.by_match || in_one(&labels.matches)) && !(self.by_not && in_one(&labels.not))
    }
}

fn find(policy: &Policy, prefix: IpPrefix) -> Found {
    let mut found = Found::new();
    policy.trie.find(prefix, |label| {
        if !found.contains(&label) {
            found.push(label);
        }
    });
    found
}

fn place_of(key: &Key) -> usize {
    let mixed = key.attributes.wrapping_mul(0x9e37_79b9) ^ key.attributes >> 24;
    (mixed as usize ^ key.family.index() << 5 ^ (key.validation as usize) << 9) % TREES
}
