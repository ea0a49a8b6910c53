//! How much a peer may say.

use std::time::Duration;

use codec::Family;

/// How many distinct prefixes of a family a peer may say, before policy, and what follows if it says
/// more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxPrefixes {
    /// The most, by family; none: any number.
    pub most: [Option<u32>; Family::ALL.len()],
    /// What follows.
    pub action: LimitAction,
    /// It is said when there are more than this part of the most, 1 to 100.
    pub warning_percent: u8,
}

/// What follows when a peer says more prefixes than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitAction {
    /// The session ends (RFC 4486). It comes back after this time; none: when the operator resets it.
    Reset(Option<Duration>),
    /// It is said.
    Warn,
}

/// No limit.
impl Default for MaxPrefixes {
    fn default() -> MaxPrefixes {
        MaxPrefixes {
            most: Default::default(),
            action: LimitAction::Reset(None),
            warning_percent: 80,
        }
    }
}
