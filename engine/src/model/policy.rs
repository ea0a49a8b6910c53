//! What `policies` shows: what each RoutePolicy compiled to, who is under it, and its hits.

use serde::{Deserialize, Serialize};

use crate::policy;

/// Which route policies are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PoliciesQuery {
    /// The name of an instance, of whose neighbors alone is said which policies they are under; none: of
    /// all of them. The policies are the same for every instance.
    #[serde(default)]
    pub instance: Option<String>,
}

/// One RoutePolicy, as `ringbgp policies -o json` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// The resource's name.
    pub name: String,
    /// Neighbors whose `import` it is.
    pub import_of: Vec<String>,
    /// Neighbors whose `export` it is.
    pub export_of: Vec<String>,
    /// Its prefix sets.
    pub prefix_sets: Vec<PrefixSet>,
    /// Nodes of the one trie that all its prefix lists were compiled to.
    pub trie_nodes: u64,
    /// Prefixes in that trie.
    pub trie_prefixes: u64,
    /// In the order in which they are asked.
    pub statements: Vec<Statement>,
    /// `Accept` or `Reject`.
    pub default_action: String,
    /// Routes that no statement decided, since the policy is in force in this form.
    pub default_hits: u64,
}

/// One prefix set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefixSet {
    /// Its name in the policy.
    pub name: String,
    /// How many entries it has.
    pub prefixes: u64,
}

/// One statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    /// Its name.
    pub name: String,
    /// What is asked of the neighbor: answered once a session.
    pub by_neighbor: Vec<String>,
    /// What is asked of attributes: answered once an attribute set.
    pub by_attributes: Vec<String>,
    /// What is asked of the prefix: looked up for each route for which the rest holds.
    pub by_prefix: Vec<String>,
    /// What is changed.
    pub set: Vec<String>,
    /// `Accept`, `Reject` or `Next`.
    pub action: String,
    /// Routes that met it, since the policy is in force in this form: a route counts each time that it
    /// is judged, on export once for each update group.
    pub hits: u64,
}

/// A statement that a route met on its way through a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStep {
    /// The policy's name.
    pub policy: String,
    /// The statement's name; none: `defaultAction`, since no statement decided.
    pub statement: Option<String>,
    /// What it changed on the route.
    pub set: Vec<String>,
    /// What it was to change and did not, and why: a next hop that is not of the route's family, or on
    /// import our own, where we have none of that family; the latter rejects the route.
    pub passed_over: Option<String>,
    /// What became of the route there: `Accept`, `Reject` or `Next`, it went on.
    pub action: String,
}

impl PolicyStep {
    /// The steps of a walk, the one that decided last. Of a policy that is not there, none.
    pub fn of(walk: &policy::Walk) -> Vec<PolicyStep> {
        if walk.policy.is_missing() {
            return Vec::new();
        }
        let spec = walk.policy.spec();
        let step = |statement, done: policy::Done, action: String| PolicyStep {
            policy: spec.name.to_string(),
            statement,
            set: done.set,
            passed_over: done.passed_over,
            action,
        };
        let met = walk.met.iter().filter_map(|place| {
            let statement = spec.statements.get(usize::from(*place))?;
            let name = statement.name.to_string();
            let action = match walk.is_rejected_by(*place) {
                true => policy::Action::Reject,
                false => statement.action,
            };
            Some(step(Some(name), walk.done(*place), format!("{action:?}")))
        });
        let default = walk.verdict.statement.is_none().then(|| {
            let action = default_action(spec).to_owned();
            step(None, policy::Done::default(), action)
        });
        met.chain(default).collect()
    }
}

fn default_action(spec: &policy::RoutePolicy) -> &'static str {
    match spec.default_accepts {
        true => "Accept",
        false => "Reject",
    }
}

impl Policy {
    /// What is known of a policy but for its neighbors.
    pub fn of(policy: &policy::Policy) -> Policy {
        let spec = policy.spec();
        let (nodes, prefixes) = policy.trie_size();
        let hits = policy.hits();
        let hits_of = |place: usize| hits.get(place).map_or(0, |of| of.hits);
        let statements = spec.statements.iter().enumerate();
        let statements = statements.map(|(place, statement)| {
            let keys = policy::Keys::of(spec, statement);
            Statement {
                name: statement.name.to_string(),
                by_neighbor: keys.by_neighbor,
                by_attributes: keys.by_attributes,
                by_prefix: keys.by_prefix,
                set: keys.set,
                action: format!("{:?}", statement.action),
                hits: hits_of(place),
            }
        });
        let sets = spec.sets.iter().map(|set| PrefixSet {
            name: set.name.to_string(),
            prefixes: set.ranges.len() as u64,
        });
        Policy {
            name: spec.name.to_string(),
            import_of: Vec::new(),
            export_of: Vec::new(),
            prefix_sets: sets.collect(),
            trie_nodes: nodes as u64,
            trie_prefixes: prefixes as u64,
            statements: statements.collect(),
            default_action: default_action(spec).to_owned(),
            default_hits: hits_of(spec.statements.len()),
        }
    }
}
