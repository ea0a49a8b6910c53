//! Which keys a statement has, in a few words each: for people.

use super::communities::Pattern;
use super::spec::{
    CommunityMatch, CommunitySet, Match, RoutePolicy, Set, SetMed, SetNextHop, Statement,
};

/// The keys of a statement by when they are asked, those of `not` with `not` in front.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// Answered once a session.
    pub by_neighbor: Vec<String>,
    /// Answered once an attribute set.
    pub by_attributes: Vec<String>,
    /// Looked up for each route.
    pub by_prefix: Vec<String>,
    /// What is changed.
    pub set: Vec<String>,
}

impl Keys {
    /// The keys of a statement of `policy`.
    pub fn of(policy: &RoutePolicy, statement: &Statement) -> Keys {
        let mut keys = Keys::default();
        keys.add(policy, &statement.matches, "");
        if let Some(not) = &statement.not {
            keys.add(policy, not, "not ");
        }
        keys.set = changes(&statement.set);
        keys
    }

    fn add(&mut self, policy: &RoutePolicy, asked: &Match, not: &str) {
        if asked.neighbors.is_some() {
            self.by_neighbor.push(format!("{not}neighbors"));
        }
        let listed = [
            ("nextHops", asked.next_hops.len()),
            ("asPath.regexes", asked.as_path_regexes.len()),
            ("asPath.originASNs", asked.origin_asns.len()),
            ("communities.standard", patterns(&asked.standard)),
            ("communities.large", patterns(&asked.large)),
            ("communities.extended", patterns(&asked.extended)),
            ("origins", asked.origins.len()),
            ("validationStates", asked.validation.len()),
        ];
        let by_attributes = &mut self.by_attributes;
        if asked.families != codec::FamilySet::ALL {
            by_attributes.push(format!("{not}families"));
        }
        if asked.sources.is_some() {
            by_attributes.push(format!("{not}sources"));
        }
        for (key, count) in listed {
            if count > 0 {
                by_attributes.push(format!("{not}{key} ({count})"));
            }
        }
        for (key, is_there) in [
            ("asPath.length", asked.as_path_length.is_some()),
            ("med", asked.med.is_some()),
            ("localPreference", asked.local_preference.is_some()),
        ] {
            if is_there {
                by_attributes.push(format!("{not}{key}"));
            }
        }
        let sets = asked.prefix_sets.iter();
        let sets = sets.filter_map(|set| policy.sets.get(usize::from(*set)));
        for set in sets {
            let count = set.ranges.len();
            self.by_prefix.push(format!("{not}{} ({count})", set.name));
        }
        if !asked.prefixes.is_empty() {
            let count = asked.prefixes.len();
            self.by_prefix.push(format!("{not}prefixes ({count})"));
        }
    }
}

fn patterns<P>(asked: &CommunityMatch<P>) -> usize {
    asked.any.len() + asked.all.len() + asked.none.len()
}

pub(super) fn changes(set: &Set) -> Vec<String> {
    let mut changes = Vec::new();
    if let Some(preference) = set.local_preference {
        changes.push(format!("localPreference {preference}"));
    }
    match set.med {
        Some(SetMed::Value(med)) => changes.push(format!("med {med}")),
        Some(SetMed::Add(more)) => changes.push(format!("med {more:+}")),
        Some(SetMed::Remove) => changes.push("no med".to_owned()),
        None => {}
    }
    if let Some((asn, count)) = set.prepend {
        changes.push(format!("asPathPrepend {asn} x {count}"));
    }
    changes.extend(set.next_hop.map(next_hop));
    edits("standard", &set.standard, &mut changes);
    edits("large", &set.large, &mut changes);
    edits("extended", &set.extended, &mut changes);
    changes
}

pub(super) fn next_hop(next_hop: SetNextHop) -> String {
    match next_hop {
        SetNextHop::Own => "nextHop Self".to_owned(),
        SetNextHop::Unchanged => "nextHop Unchanged".to_owned(),
        SetNextHop::PeerAddress => "nextHop PeerAddress".to_owned(),
        SetNextHop::Address(address) => format!("nextHop {address}"),
    }
}

fn edits<P: Pattern>(kind: &str, set: &CommunitySet<P::Value, P>, changes: &mut Vec<String>) {
    if let Some(values) = &set.replace {
        let values = values.iter().map(|value| P::text_of(*value));
        let list = first_of(values.collect());
        changes.push(match list.is_empty() {
            true => format!("no {kind} communities"),
            false => format!("{kind} communities {list} instead of all"),
        });
    }
    let less = set
        .remove
        .iter()
        .map(|pattern| format!("-{}", pattern.text()));
    let more = set
        .add
        .iter()
        .map(|value| format!("+{}", P::text_of(*value)));
    let edits: Vec<String> = less.chain(more).collect();
    if !edits.is_empty() {
        changes.push(format!("{kind} communities {}", first_of(edits)));
    }
}

/// Past this many the rest of a list is counted.
const TOLD_MAX: usize = 6;

fn first_of(mut list: Vec<String>) -> String {
    let more = list.len().saturating_sub(TOLD_MAX);
    list.truncate(TOLD_MAX);
    let mut text = list.join(" ");
    if more > 0 {
        text += &format!(" and {more} more");
    }
    text
}
