//! `RoutePolicy` (`ringbgp.io/v1alpha1`): the statements as written to the statements as they run.
//!
//! Conditions are in `policy_match`, changes in `policy_set`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use codec::{Family, FamilySet};

use super::fields::{Field, Fields};
use super::guard::prefix_match;
use super::policy_match::match_of;
use super::policy_set::set_of;
use crate::policy::{
    Action, AsPathRegex, INTERNET_BOGONS, Match, Policy, PrefixRange, PrefixSet, RoutePolicy,
    SETS_MAX, STATEMENTS_MAX, Set, SetNextHop, Statement, internet_bogons, never_matching,
};
use crate::watcher::fault::Report;
use crate::watcher::resource::{Body, Mention, Place, PolicyPlaces};

/// Names that mean something else as a neighbor's `import` or `export`.
const RESERVED: &[&str] = &["none", "all", "originated"];

/// The prefix sets of one policy by name, and what it names that is not its own.
pub(super) struct Sets {
    sets: Vec<PrefixSet>,
    places: BTreeMap<Arc<str>, u16>,
    templates: Vec<Mention>,
    /// The places of those that have a fault.
    faulty: BTreeSet<u16>,
}

impl Sets {
    /// Whether the sets that a statement names are all as they are meant.
    fn are_whole(&self, statement: &Statement) -> bool {
        let parts = [Some(&statement.matches), statement.not.as_ref()];
        let mut named = parts
            .into_iter()
            .flatten()
            .flat_map(|part| &part.prefix_sets);
        named.all(|set| !self.faulty.contains(set))
    }

    /// The family of the routes that a condition is about, if it is one.
    fn only_family(&self, of: &Match) -> Option<Family> {
        let named = of.prefix_sets.iter();
        if named.clone().any(|set| self.faulty.contains(set)) {
            return None;
        }
        let sets = named.filter_map(|set| self.sets.get(usize::from(*set)));
        let ranges = sets.flat_map(|set| &set.ranges).chain(&of.prefixes);
        let families = match of.by_prefix {
            true => ranges.map(|range| range.prefix.family()).collect(),
            false => FamilySet::ALL,
        };
        let mut families = families.intersection(of.families).iter();
        let family = families.next()?;
        families.next().is_none().then_some(family)
    }

    /// The place of a set; the one that is built in joins the others when it is named.
    pub(super) fn place(&mut self, field: &Field<'_>, report: &mut Report) -> Option<u16> {
        let name = field.name(report)?;
        if name == INTERNET_BOGONS && !self.places.contains_key(INTERNET_BOGONS) {
            self.add(internet_bogons());
        }
        let place = self.places.get(name.as_str()).copied();
        if place.is_none() {
            let known = self.places.keys().map(|name| &**name);
            let mut known: Vec<&str> = known.filter(|name| *name != INTERNET_BOGONS).collect();
            known.truncate(NAMES_TOLD);
            known.push(INTERNET_BOGONS);
            let known = known.join(", ");
            return field.refuse(
                report,
                format!("a set of spec.prefixSets; there are {known}"),
            );
        }
        place
    }

    /// Notes a template that is named.
    pub(super) fn template(&mut self, field: &Field<'_>, report: &mut Report) -> Option<Arc<str>> {
        let name: Arc<str> = field.name(report)?.into();
        self.templates.push(Mention {
            name: Arc::clone(&name),
            path: field.path.as_str().into(),
            line: field.line,
        });
        Some(name)
    }

    fn add(&mut self, set: PrefixSet) {
        self.places
            .insert(Arc::clone(&set.name), self.sets.len() as u16);
        self.sets.push(set);
    }
}

/// Names that a message tells at most.
const NAMES_TOLD: usize = 10;

/// What `spec` says, compiled.
pub(super) fn policy(
    name: &Arc<str>,
    document: &mut Fields<'_>,
    report: &mut Report,
) -> Option<Body> {
    if RESERVED.contains(&&**name) {
        let message = format!(
            "{name} is not accepted: as a neighbor's import or export the word means something else"
        );
        report.fault(document.line, &document.path_of("metadata.name"), message);
    }
    let spec = document.require("spec", "with statements", report)?;
    let mut fields = spec.fields(report)?;
    let mut sets = prefix_sets(&mut fields, report);
    let actions = [("Accept", true), ("Reject", false)];
    let default = fields.get("defaultAction");
    let default = default.and_then(|field| field.word(&actions, report));
    let written = fields.require("statements", "a list, which may be empty", report);
    let written = written
        .and_then(|field| field.list(report))
        .unwrap_or_default();
    fields.close_strictly(report);
    if written.len() > STATEMENTS_MAX {
        let count = written.len();
        spec.fault(
            report,
            format!("{count} statements; at most {STATEMENTS_MAX} are accepted"),
        );
        return None;
    }
    let (statements, unread) = statements(&written, &mut sets, report);
    let policy = RoutePolicy {
        name: Arc::clone(name),
        sets: sets.sets,
        statements,
        default_accepts: default.unwrap_or(false),
    };
    let mut never = BTreeSet::new();
    for (place, why) in never_matching(&policy, &unread) {
        never.insert(place);
        let regexes = &policy.statements[place].matches.as_path_regexes;
        if !regexes.is_empty() && !regexes.iter().any(AsPathRegex::can_match) {
            // Said of each of them.
            continue;
        }
        if let Some(field) = written.get(place) {
            field.warn(report, format!("the statement can never match: {why}"));
        }
    }
    let places = PolicyPlaces {
        statements: written.iter().map(place).collect(),
        templates: sets.templates,
        never,
    };
    Some(Body::RoutePolicy(Arc::new(Policy::new(policy)), places))
}

fn place(field: &Field<'_>) -> Place {
    Place {
        line: field.line,
        path: field.path.as_str().into(),
    }
}

/// The statements, and the places of those that have a fault, or name a set that has one.
fn statements(
    written: &[Field<'_>],
    sets: &mut Sets,
    report: &mut Report,
) -> (Vec<Statement>, BTreeSet<usize>) {
    let mut statements = Vec::with_capacity(written.len());
    let mut unread = BTreeSet::new();
    let mut names: BTreeMap<Arc<str>, u32> = BTreeMap::new();
    for (place, field) in written.iter().enumerate() {
        let faults_before = report.faults();
        let read = statement(field, sets, report);
        let is_whole = report.faults() == faults_before;
        if !(is_whole && read.as_ref().is_some_and(|of| sets.are_whole(of))) {
            unread.insert(place);
        }
        let Some(statement) = read else {
            // It keeps its place.
            statements.push(nothing());
            continue;
        };
        if let Some(line) = names.insert(Arc::clone(&statement.name), field.line) {
            let message = format!(
                "the name {} is already taken in line {line}: each statement has its own",
                statement.name
            );
            field.fault(report, message);
        }
        statements.push(statement);
    }
    (statements, unread)
}

/// A statement that does nothing.
fn nothing() -> Statement {
    Statement {
        name: "".into(),
        matches: Match::default(),
        not: None,
        set: Set::default(),
        action: Action::Next,
    }
}

fn prefix_sets(fields: &mut Fields<'_>, report: &mut Report) -> Sets {
    let mut sets = Sets {
        sets: Vec::new(),
        places: BTreeMap::new(),
        templates: Vec::new(),
        faulty: BTreeSet::new(),
    };
    let Some(all) = fields.get("prefixSets") else {
        return sets;
    };
    let Some(named) = all.fields(report) else {
        return sets;
    };
    for (name, field) in named.all() {
        if name == INTERNET_BOGONS {
            let message = "this name is that of the set that is built in: take another one";
            field.fault(report, message);
            continue;
        }
        if sets.sets.len() >= SETS_MAX {
            all.fault(
                report,
                format!("at most {SETS_MAX} prefix sets are accepted"),
            );
            break;
        }
        let faults_before = report.faults();
        let set = PrefixSet {
            name: name.into(),
            ranges: ranges(&field, report),
        };
        if report.faults() > faults_before {
            sets.faulty.insert(sets.sets.len() as u16);
        }
        sets.add(set);
    }
    sets
}

/// A list of prefixes: `"10.0.0.0/8"`, which means exactly itself, or a mapping with `ge` and `le`.
pub(super) fn ranges(field: &Field<'_>, report: &mut Report) -> Vec<PrefixRange> {
    let elements = field.list(report).unwrap_or_default();
    let read = |element: &Field<'_>| {
        let range = prefix_match(element, false, report)?;
        Some(PrefixRange {
            prefix: range.prefix,
            shortest: range.shortest,
            longest: range.longest,
        })
    };
    elements.iter().filter_map(read).collect()
}

fn statement(field: &Field<'_>, sets: &mut Sets, report: &mut Report) -> Option<Statement> {
    let mut fields = field.fields(report)?;
    let name = fields.require("name", "it is shown by policies and explain", report);
    let name = name.and_then(|field| field.name(report));
    let matches = fields.get("match");
    let matches = matches.map_or_else(Match::default, |field| match_of(&field, sets, report));
    let not = fields.get("not");
    let not = not.map(|field| match_of(&field, sets, report));
    let set = fields.get("set");
    let changes = set
        .as_ref()
        .map_or_else(Set::default, |field| set_of(field, report));
    let actions = [
        ("Accept", Action::Accept),
        ("Reject", Action::Reject),
        ("Next", Action::Next),
    ];
    let action = fields.require("action", "Accept, Reject or Next", report);
    let action = action.and_then(|field| field.word(&actions, report));
    fields.close_strictly(report);
    if let (Some(field), Some(Action::Reject)) = (&set, action)
        && !changes.is_empty()
    {
        field.warn(report, "has no effect: the statement rejects");
    }
    if let (Some(field), Some(SetNextHop::Address(address))) = (&set, changes.next_hop)
        && let Some(other) = sets.only_family(&matches)
        && (other == Family::Ipv4Unicast) != address.is_ipv4()
    {
        let message = format!(
            "nextHop {address} has no effect: the statement is about {other} routes, which keep their \
             next hop"
        );
        field.warn(report, message);
    }
    Some(Statement {
        name: name?.into(),
        matches,
        not,
        set: changes,
        action: action?,
    })
}
