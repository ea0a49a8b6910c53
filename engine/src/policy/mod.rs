//! RoutePolicy: what is taken of what comes in, and told of what could go out, and with which
//! attributes.
//!
//! `spec` is what a policy says; `compile` makes it a [`Policy`]; [`Applied`] is one as a neighbor
//! meets it; an [`Evaluator`] runs that over routes. Knows attributes and prefixes, and no tables,
//! sessions or groups: evaluation is a function of the policy, the neighbor, the attributes and the
//! prefix, and of nothing else.
//!
//! Speed comes from two things. Conditions on attributes are asked once for each attribute set, and
//! what is left, statements that depend on the prefix, is kept as a tree (`tree`). And all lists of
//! prefixes of a policy are one trie (`trie`), which a prefix is looked up in once.

mod as_path;
mod change;
mod communities;
mod compile;
mod condition;
mod gates;
mod keys;
mod spec;
#[cfg(test)]
mod tests;
mod tree;
mod trie;
mod warnings;

pub use as_path::AsPathRegex;
pub use communities::{
    Extended, GRACEFUL_SHUTDOWN, Large, Standard, WELL_KNOWN, extended, extended_text, large,
    standard,
};
pub use compile::{Applied, Neighbor, Policy, StatementHits};
pub use keys::Keys;
pub use spec::{
    Action, CommunityMatch, CommunitySet, INTERNET_BOGONS, Match, NeighborMatch, PrefixRange,
    PrefixSet, RoutePolicy, Set, SetMed, SetNextHop, Sources, Statement, Validation,
    internet_bogons,
};
pub use tree::{Evaluator, Form, Key, NextHopChoice, Subject, Verdict};
pub use warnings::never_matching;

pub use change::with_local_preference;

/// Statements of one policy.
pub const STATEMENTS_MAX: usize = 16_384;
/// Prefix sets of one policy.
pub const SETS_MAX: usize = 16_384;
