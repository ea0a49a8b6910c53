//! Dense numbers for prefixes, shared by all receivers.
//!
//! The prefixes of a scenario are known beforehand: the number of each is its place in ascending
//! order, so that a receiver's table is a bit set. Neighbours often arrive together, in one UPDATE;
//! so the number after the last one is tried before a hash table is. What nobody expected gets
//! numbers behind the expected ones. Budget: 5 ns a prefix that follows its neighbour, one cache
//! miss more for one that does not.

use ahash::AHashMap;
use codec::{IpPrefix, Ipv4Prefix, Ipv6Prefix, Prefix};

use crate::random::mix;

/// Numbers for the expected prefixes, and for strays as they turn up.
pub(crate) struct PrefixIds {
    /// In ascending order: IPv4, then IPv6.
    expected: Vec<IpPrefix>,
    ipv4: Keys,
    ipv6: Keys,
    strays: AHashMap<IpPrefix, u32>,
    stray_prefixes: Vec<IpPrefix>,
    first_stray: u32,
}

/// The keys of one family in the order of their prefixes, and a hash table over their places.
struct Keys {
    keys: Vec<u64>,
    /// Open addressing, at most half full, so that most searches end at the first probe.
    places: Box<[u32]>,
    shift: u32,
}

impl PrefixIds {
    /// Numbers for these prefixes.
    pub(crate) fn new(expected: &[IpPrefix]) -> PrefixIds {
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        expected.dedup();
        let keys_v4 = expected.iter().filter_map(|prefix| match prefix {
            IpPrefix::V4(prefix) => Some(key_v4(*prefix)),
            IpPrefix::V6(_) => None,
        });
        let keys_v6 = expected.iter().filter_map(|prefix| match prefix {
            IpPrefix::V4(_) => None,
            IpPrefix::V6(prefix) => Some(key_v6(*prefix)),
        });
        PrefixIds {
            ipv4: Keys::new(keys_v4.collect()),
            ipv6: Keys::new(keys_v6.collect()),
            strays: AHashMap::new(),
            stray_prefixes: Vec::new(),
            // Whole words: no stray has a place in a bit set over the expected prefixes.
            first_stray: (expected.len() as u32).next_multiple_of(64),
            expected,
        }
    }

    /// The expected prefixes; the number of each is its place.
    pub(crate) fn expected(&self) -> &[IpPrefix] {
        &self.expected
    }

    /// The first number of a prefix that nobody expected.
    pub(crate) fn first_stray(&self) -> u32 {
        self.first_stray
    }

    /// The prefix of a number, expected or stray.
    pub(crate) fn prefix(&self, id: u32) -> Option<IpPrefix> {
        match id.checked_sub(self.first_stray) {
            Some(stray) => self.stray_prefixes.get(stray as usize).copied(),
            None => self.expected.get(id as usize).copied(),
        }
    }

    /// The number of a prefix of either family; `after` is that of the prefix before it, or any.
    pub(crate) fn id(&mut self, prefix: IpPrefix, after: u32) -> u32 {
        match prefix {
            IpPrefix::V4(prefix) => self.id_v4(prefix, after),
            IpPrefix::V6(prefix) => self.id_v6(prefix, after),
        }
    }

    /// The number of an IPv4 prefix; `after` is that of the prefix before it, or any.
    #[inline]
    pub(crate) fn id_v4(&mut self, prefix: Ipv4Prefix, after: u32) -> u32 {
        match self.ipv4.find(key_v4(prefix), after.wrapping_add(1)) {
            Some(place) => place,
            None => self.stray(prefix.erase()),
        }
    }

    /// The number of an IPv6 prefix; `after` is that of the prefix before it, or any.
    #[inline]
    pub(crate) fn id_v6(&mut self, prefix: Ipv6Prefix, after: u32) -> u32 {
        let base = self.ipv4.keys.len() as u32;
        let next = after.wrapping_add(1).wrapping_sub(base);
        let id = self.ipv6.find(key_v6(prefix), next).map(|p| base + p);
        match id {
            // Keys of long prefixes are hashes.
            Some(id)
                if prefix.length() <= KEY_BITS || self.expected[id as usize] == prefix.erase() =>
            {
                id
            }
            _ => self.stray(prefix.erase()),
        }
    }

    #[cold]
    fn stray(&mut self, prefix: IpPrefix) -> u32 {
        let strays = &mut self.stray_prefixes;
        let next = self.first_stray + strays.len() as u32;
        *self.strays.entry(prefix).or_insert_with(|| {
            strays.push(prefix);
            next
        })
    }
}

impl Keys {
    fn new(keys: Vec<u64>) -> Keys {
        let size = (keys.len() * 2).next_power_of_two().max(2);
        let mut table = Keys {
            places: vec![EMPTY; size].into(),
            shift: 64 - size.trailing_zeros(),
            keys,
        };
        for place in 0..table.keys.len() {
            let mut slot = table.home(table.keys[place]);
            while table.places[slot] != EMPTY {
                slot = (slot + 1) & (size - 1);
            }
            table.places[slot] = place as u32;
        }
        table
    }

    /// The place of a key, which `guess` probably is.
    #[inline]
    fn find(&self, key: u64, guess: u32) -> Option<u32> {
        if self.keys.get(guess as usize) == Some(&key) {
            return Some(guess);
        }
        let mut slot = self.home(key);
        loop {
            let place = *self.places.get(slot)?;
            if *self.keys.get(place as usize)? == key {
                return Some(place);
            }
            slot = (slot + 1) & (self.places.len() - 1);
        }
    }

    #[inline]
    fn home(&self, key: u64) -> usize {
        // Fibonacci hashing: the high bits of the product depend on all bits of the key.
        (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift) as usize
    }
}

#[inline]
fn key_v4(prefix: Ipv4Prefix) -> u64 {
    (u64::from(u32::from(prefix.address())) << 8) | u64::from(prefix.length())
}

/// Exact up to [`KEY_BITS`], a hash beyond; the length stands in the last octet of both.
#[inline]
fn key_v6(prefix: Ipv6Prefix) -> u64 {
    let bits = prefix.bits_left_aligned();
    let mut high = (bits >> 64) as u64;
    if prefix.length() > KEY_BITS {
        high = mix(high ^ mix(bits as u64));
    }
    (high & !0xff) | u64::from(prefix.length())
}

/// The bits of an address that stand in a key as they are.
const KEY_BITS: u8 = 56;
/// No place: there are no keys behind it.
const EMPTY: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use codec::Family;

    use super::*;
    use crate::random::Random;
    use crate::space::{LengthMix, draw_prefixes};

    #[test]
    fn numbers_are_places_whatever_came_before() {
        let mut expected = Vec::new();
        for family in Family::ALL {
            let mix = LengthMix::internet(family);
            expected.extend(draw_prefixes(family, 5000, &mix, &mut Random::new(7)));
        }
        for text in ["2001:db8::1", "2001:db8::2"] {
            let address = text.parse().unwrap();
            expected.push(Ipv6Prefix::masked(address, 128).erase());
        }
        let mut ids = PrefixIds::new(&expected);
        expected.sort_unstable();
        assert_eq!(ids.expected(), expected);
        for (place, prefix) in expected.iter().enumerate() {
            let place = place as u32;
            for after in [place.wrapping_sub(1), 0, u32::MAX, place + 77] {
                assert_eq!(ids.id(*prefix, after), place);
            }
        }
    }

    #[test]
    fn strays_come_last() {
        let known = Ipv6Prefix::masked("2001:db8::1".parse().unwrap(), 128).erase();
        for expected in [&[known][..], &[]] {
            let mut ids = PrefixIds::new(expected);
            let strays = [
                Ipv4Prefix::masked([10, 0, 0, 0].into(), 8).erase(),
                Ipv6Prefix::masked("2001:db8::3".parse().unwrap(), 128).erase(),
            ];
            for _ in 0..2 {
                for (number, stray) in strays.iter().enumerate() {
                    let expected = ids.first_stray() + number as u32;
                    assert_eq!(ids.id(*stray, 0), expected);
                    assert_eq!(ids.prefix(expected), Some(*stray));
                }
            }
        }
    }
}
