//! Which router holds which prefixes.
//!
//! Prefixes get dense ids that all routers share, and each router is one bit set over them, so
//! that a hundred routers with the same hundred thousand prefixes cost one map and a hundred
//! bit sets. Invariants: `held[r]` is the number of bits set in `sets[r]`, `fingerprints[r]` the
//! sum of their prefixes' fingerprints.

use ahash::AHashMap;
use codec::{IpPrefix, Ipv4Prefix, Ipv6Prefix, Prefix};

use crate::random::mix;

/// The tables of all simulated routers.
pub(crate) struct Holdings {
    ipv4: AHashMap<Ipv4Prefix, u32>,
    ipv6: AHashMap<Ipv6Prefix, u32>,
    next_id: u32,
    sets: Vec<Vec<u64>>,
    held: Vec<usize>,
    fingerprints: Vec<u64>,
}

impl Holdings {
    /// Empty tables for `routers` routers.
    pub(crate) fn new(routers: usize) -> Holdings {
        Holdings {
            ipv4: AHashMap::new(),
            ipv6: AHashMap::new(),
            next_id: 0,
            sets: vec![Vec::new(); routers],
            held: vec![0; routers],
            fingerprints: vec![0; routers],
        }
    }

    /// How many prefixes a router holds.
    pub(crate) fn held(&self, router: usize) -> usize {
        self.held[router]
    }

    /// A number that two routers share if they hold the same prefixes, and else almost never:
    /// the sum of [`fingerprint`] over them.
    pub(crate) fn fingerprint(&self, router: usize) -> u64 {
        self.fingerprints[router]
    }

    /// The router now holds the prefix.
    pub(crate) fn insert(&mut self, router: usize, prefix: IpPrefix) {
        let next = self.next_id;
        let id = match prefix {
            IpPrefix::V4(prefix) => *self.ipv4.entry(prefix).or_insert(next),
            IpPrefix::V6(prefix) => *self.ipv6.entry(prefix).or_insert(next),
        };
        if id == next {
            self.next_id += 1;
        }
        let (word, bit) = place(id);
        let set = &mut self.sets[router];
        if set.len() <= word {
            set.resize(word + 1, 0);
        }
        if set[word] & bit == 0 {
            set[word] |= bit;
            self.held[router] += 1;
            let sum = &mut self.fingerprints[router];
            *sum = sum.wrapping_add(fingerprint(prefix));
        }
    }

    /// The router no longer holds the prefix.
    pub(crate) fn remove(&mut self, router: usize, prefix: IpPrefix) {
        let id = match prefix {
            IpPrefix::V4(prefix) => self.ipv4.get(&prefix),
            IpPrefix::V6(prefix) => self.ipv6.get(&prefix),
        };
        let Some((word, bit)) = id.map(|id| place(*id)) else {
            return;
        };
        if let Some(entry) = self.sets[router].get_mut(word)
            && *entry & bit != 0
        {
            *entry &= !bit;
            self.held[router] -= 1;
            let sum = &mut self.fingerprints[router];
            *sum = sum.wrapping_sub(fingerprint(prefix));
        }
    }

    /// The router holds nothing: its session is down.
    pub(crate) fn clear(&mut self, router: usize) {
        self.sets[router].clear();
        self.held[router] = 0;
        self.fingerprints[router] = 0;
    }
}

/// A well-mixed number for a prefix, the same in every run.
pub(crate) fn fingerprint(prefix: IpPrefix) -> u64 {
    let bits = match prefix {
        IpPrefix::V4(prefix) => prefix.bits_left_aligned(),
        IpPrefix::V6(prefix) => prefix.bits_left_aligned(),
    };
    let mut mixed = mix((bits >> 64) as u64);
    mixed = mix(mixed ^ bits as u64);
    mix(mixed ^ u64::from(prefix.length()) ^ ((prefix.family().index() as u64) << 8))
}

fn place(id: u32) -> (usize, u64) {
    ((id / 64) as usize, 1 << (id % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(octet: u8) -> IpPrefix {
        IpPrefix::V4(Ipv4Prefix::masked([10, octet, 0, 0].into(), 24))
    }

    #[test]
    fn each_router_counts_its_own_distinct_prefixes() {
        let mut holdings = Holdings::new(2);
        for octet in 0..200 {
            holdings.insert(0, prefix(octet));
            holdings.insert(0, prefix(octet));
        }
        holdings.insert(1, prefix(7));
        holdings.remove(0, prefix(7));
        holdings.remove(0, prefix(7));
        holdings.remove(0, prefix(201));
        assert_eq!((holdings.held(0), holdings.held(1)), (199, 1));
        assert_eq!(holdings.fingerprint(1), fingerprint(prefix(7)));
        holdings.clear(0);
        assert_eq!((holdings.held(0), holdings.held(1)), (0, 1));
    }
}
