//! Running a policy: what becomes of one attribute set, by what its prefixes meet.
//!
//! A route goes from statement to statement that something comes of; which is next follows from the
//! class of its attributes and that of its prefix (`classes`). What comes of it, attributes changed
//! or a verdict, is a node of a tree that is kept for each attribute set: the root has the
//! attributes as they came, and a way leads from a node to the next by the statement that is met.
//! So of all routes of a set the changes are made once.
//!
//! Invariant: a verdict equals that of asking the statements one by one, which the tests do.

use std::sync::Arc;

use codec::{Family, IpPrefix};

use super::change::{change, lacks_ourselves};
use super::classes::{AttributeClass, Classes, Steps};
use super::compile::Applied;
use super::condition::Facts;
use super::spec::{Action, Sources, Validation};

/// Attribute sets whose trees are kept, at most; a place each, by id. As many as a core has at hand:
/// prefixes of a set mostly come together, and a new tree takes the room of an old one.
const TREES: usize = 512;

/// Nodes of all trees, at most about so many; past it all are forgotten.
const NODES_MAX: usize = 65_536;

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
    classes: Classes,
    steps: Steps,
    trees: Vec<Option<Box<Tree>>>,
    /// In all trees.
    nodes: usize,
    hits: Hits,
}

/// Routes by statement, not yet added to the policy's.
#[derive(Default)]
struct Hits {
    counts: Vec<u64>,
    touched: Vec<u16>,
    /// Where the last route was counted, in order.
    last: Vec<u16>,
}

/// What becomes of one attribute set.
struct Tree {
    key: Key,
    /// The first is the root.
    nodes: Vec<Node>,
    /// Where a statement that is met leads, by node and statement, in order.
    ways: Vec<(u32, u16, u32)>,
}

enum Node {
    /// There are statements to come.
    Open(Open),
    Ended(Verdict),
}

#[derive(Clone)]
struct Open {
    form: Form,
    /// Of the attributes as they are here.
    class: AttributeClass,
    /// The next statement.
    from: u16,
    /// Whether every prefix meets the same next.
    settled: bool,
}

/// Stands for no statement in a tree's ways.
const NONE: u16 = u16::MAX;

impl Evaluator {
    /// Nothing is remembered yet.
    pub fn new(applied: Applied) -> Evaluator {
        let statements = applied.policy.spec().statements.len();
        Evaluator {
            applied,
            classes: Classes::default(),
            steps: Steps::default(),
            trees: Vec::new(),
            nodes: 0,
            hits: Hits {
                counts: vec![0; statements + 1],
                touched: Vec::new(),
                last: Vec::new(),
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
        if self.trees.is_empty() || self.nodes >= NODES_MAX || self.classes.is_full() {
            self.forget();
        }
        let place = place_of(&key);
        let kept = self.trees.get_mut(place).and_then(Option::take);
        let mut tree = match kept {
            Some(kept) if kept.key == key => kept,
            other => self.begin(other, key, subject),
        };
        let before = tree.nodes.len();
        let judged = self.run(&mut tree, subject, prefix);
        self.nodes += tree.nodes.len() - before;
        self.trees[place] = Some(tree);
        judged
    }

    /// The statements that the last route met, in order; the last of them decided, if one did.
    pub fn met(&self) -> impl Iterator<Item = u16> {
        let statements = self.applied.policy.spec().statements.len();
        let places = self.hits.last.iter().copied();
        places.filter(move |place| usize::from(*place) < statements)
    }

    /// Counts routes beyond the last one that met what it did.
    pub fn count_alike(&mut self, more: u64) {
        for place in &self.hits.last {
            self.hits.counts[usize::from(*place)] += more;
        }
    }

    /// Adds what was counted to the policy's hits.
    pub fn flush(&mut self) {
        let Hits {
            counts, touched, ..
        } = &mut self.hits;
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

    #[cold]
    fn forget(&mut self) {
        self.trees.clear();
        self.trees.resize_with(TREES, || None);
        self.nodes = 0;
        self.steps.clear();
        self.classes.clear();
    }

    /// A tree with its root, in the room of another one.
    #[inline(never)]
    fn begin(&mut self, room: Option<Box<Tree>>, key: Key, subject: &Subject<'_>) -> Box<Tree> {
        let mut tree = room.unwrap_or_else(|| {
            Box::new(Tree {
                key,
                nodes: Vec::new(),
                ways: Vec::new(),
            })
        });
        self.nodes -= tree.nodes.len();
        tree.key = key;
        tree.ways.clear();
        tree.nodes.clear();
        tree.nodes.push(self.open(subject, Form::default(), 0));
        self.nodes += 1;
        tree
    }

    #[inline(always)]
    fn run(&mut self, tree: &mut Tree, subject: &Subject<'_>, prefix: IpPrefix) -> (Verdict, bool) {
        let class = self.applied.policy.trie.class_of(prefix);
        self.hits.last.clear();
        let mut settled = true;
        let mut at = 0;
        loop {
            let open = match &tree.nodes[at as usize] {
                Node::Open(open) => open,
                Node::Ended(verdict) => {
                    self.hits.add(self.place(verdict.statement));
                    return (verdict.clone(), settled);
                }
            };
            settled &= open.settled;
            let of = (open.class, open.from, class);
            let step = self.steps.step(&self.applied, &self.classes, of);
            for passed in &step.passed {
                self.hits.add(*passed);
            }
            let stop = step.stop;
            let way = (at, stop.unwrap_or(NONE));
            at = match tree
                .ways
                .binary_search_by_key(&way, |(at, by, _)| (*at, *by))
            {
                Ok(place) => tree.ways[place].2,
                Err(place) => {
                    let node = self.follow(subject, open.form.clone(), stop);
                    let new = tree.nodes.len() as u32;
                    tree.nodes.push(node);
                    tree.ways.insert(place, (way.0, way.1, new));
                    new
                }
            };
            // The one that decides is counted with the verdict.
            if let (Some(stop), Node::Open(_)) = (stop, &tree.nodes[at as usize]) {
                self.hits.add(stop);
            }
        }
    }

    /// What follows from meeting a statement, or none.
    #[inline(never)]
    fn follow(&mut self, subject: &Subject<'_>, form: Form, statement: Option<u16>) -> Node {
        let spec = self.applied.policy.spec();
        let said = statement.and_then(|by| spec.statements.get(usize::from(by)));
        let (Some(statement), Some(said)) = (statement, said) else {
            return ended(spec.default_accepts, None, form);
        };
        let lacks_ourselves = lacks_ourselves(&said.set, subject.family, &self.applied);
        if said.action == Action::Reject || lacks_ourselves {
            return ended(false, Some(statement), form);
        }
        let form = self.changed(subject, form, statement);
        match said.action {
            Action::Next => self.open(subject, form, statement + 1),
            Action::Accept | Action::Reject => ended(true, Some(statement), form),
        }
    }

    /// The statements from one on are to come.
    fn open(&mut self, subject: &Subject<'_>, form: Form, from: u16) -> Node {
        let facts = Facts::of(&Subject {
            attributes: form.attributes.as_deref().unwrap_or(subject.attributes),
            ..*subject
        });
        let class = self.classes.of(&self.applied, &facts);
        let statements = &self.applied.policy.statements;
        let settled = statements.is_settled(&self.applied, from, self.classes.held(class));
        Node::Open(Open {
            form,
            class,
            from,
            settled,
        })
    }

    fn changed(&self, subject: &Subject<'_>, form: Form, statement: u16) -> Form {
        let statements = &self.applied.policy.spec().statements;
        let said = statements.get(usize::from(statement));
        let Some(said) = said.filter(|said| !said.set.is_empty()) else {
            return form;
        };
        let before = form.attributes.as_deref().unwrap_or(subject.attributes);
        let (octets, effects) = change(&said.set, subject.family, &self.applied, before);
        Form {
            attributes: octets.map(Arc::from).or(form.attributes),
            next_hop: effects.next_hop.unwrap_or(form.next_hop),
            sets_med: effects.sets_med.unwrap_or(form.sets_med),
        }
    }
}

/// What is rejected is shown as it came.
fn ended(accepted: bool, statement: Option<u16>, form: Form) -> Node {
    Node::Ended(Verdict {
        accepted,
        statement,
        form: if accepted { form } else { Form::default() },
    })
}

impl Hits {
    #[inline]
    fn add(&mut self, place: u16) {
        let count = &mut self.counts[usize::from(place)];
        if *count == 0 {
            self.touched.push(place);
        }
        *count += 1;
        self.last.push(place);
    }
}

fn place_of(key: &Key) -> usize {
    let mixed = key.attributes.wrapping_mul(0x9e37_79b9) ^ key.attributes >> 24;
    (mixed as usize ^ key.family.index() << 8 ^ (key.validation as usize) << 7) % TREES
}
