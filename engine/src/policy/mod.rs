//! RoutePolicy: what is taken of what comes in, and told of what could go out, and with which
//! attributes.
//!
//! `spec` is what a policy says; `compile` makes it a [`Policy`]; [`Applied`] is one as a neighbor
//! meets it; an [`Evaluator`] runs that over routes, a [`Walk`] over one for people. Knows attributes and prefixes, and no tables,
//! sessions or groups: evaluation is a function of the policy, the neighbor, the attributes and the
//! prefix, and of nothing else.
//!
//! Speed comes from classes. Conditions on attributes are asked once for each attribute set, equal
//! ones of several statements once for all (`statements`), and those that hold are its class; all
//! lists of prefixes of a policy are one trie (`trie`), which tells the class of a prefix. What a
//! class meets under another is worked out once (`classes`), and what a statement makes of a set
//! once for the set (`tree`); for each route there is left to look these up.

mod as_path;
mod change;
mod classes;
mod communities;
mod compile;
mod condition;
mod coverage;
mod cut;
mod gates;
mod given;
mod keys;
mod known;
mod path_grammar;
mod prefix_ranges;
mod spec;
mod statements;
#[cfg(test)]
mod tests;
mod tree;
mod trie;
mod walk;
mod warnings;

pub use as_path::AsPathRegex;
pub use communities::{
    Extended, GRACEFUL_SHUTDOWN, Large, Standard, WELL_KNOWN, extended, extended_text, large,
    standard,
};
pub use compile::{Applied, Neighbor, Policy, StatementHits};
pub use given::Given;
pub use keys::Keys;
pub use spec::{
    Action, CommunityMatch, CommunitySet, INTERNET_BOGONS, Match, NeighborMatch, PrefixRange,
    PrefixSet, RoutePolicy, Set, SetMed, SetNextHop, Sources, Statement, Validation,
    internet_bogons,
};
pub use tree::{Evaluator, Form, Key, NextHopChoice, Subject, Verdict};
pub use walk::{Done, Walk};
pub use warnings::{never_matching, never_matching_here};

pub use change::with_local_preference;

/// Statements of one policy.
pub const STATEMENTS_MAX: usize = 16_384;
/// Prefix sets of one policy.
pub const SETS_MAX: usize = 16_384;
