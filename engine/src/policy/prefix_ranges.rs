//! Ranges of prefixes: how two lie to each other, what one leaves of another, and many of them in
//! order, to find those that hold one.

use codec::{Family, IpPrefix, Ipv4Prefix, Ipv6Prefix, Prefix};

use super::spec::PrefixRange;

/// All prefixes of a family.
pub(super) fn of_family(family: Family) -> PrefixRange {
    let (prefix, longest) = match family {
        Family::Ipv4Unicast => (Ipv4Prefix::from_left_aligned(0, 0).erase(), 32),
        Family::Ipv6Unicast => (Ipv6Prefix::from_left_aligned(0, 0).erase(), 128),
    };
    PrefixRange {
        prefix,
        shortest: 0,
        longest,
    }
}

/// Whether the one holds all of the other.
pub(super) fn range_contains(wide: &PrefixRange, narrow: &PrefixRange) -> bool {
    wide.prefix.contains(narrow.prefix)
        && wide.shortest <= narrow.shortest
        && narrow.longest <= wide.longest
}

/// Whether they have a prefix in common.
pub(super) fn ranges_meet(a: &PrefixRange, b: &PrefixRange) -> bool {
    let inner = match (a.prefix.contains(b.prefix), b.prefix.contains(a.prefix)) {
        (true, _) => b.prefix.length(),
        (_, true) => a.prefix.length(),
        (false, false) => return false,
    };
    let from = a.shortest.max(b.shortest).max(inner);
    from <= a.longest.min(b.longest)
}

/// What `by` leaves of a range; none: all of it.
pub(super) fn without(of: &PrefixRange, by: &PrefixRange) -> Option<Vec<PrefixRange>> {
    if !ranges_meet(of, by) {
        return None;
    }
    let mut left = Vec::new();
    let mut add = |prefix: IpPrefix, shortest: u8, longest: Option<u8>| {
        let shortest = shortest.max(prefix.length());
        if let Some(longest) = longest.filter(|longest| shortest <= *longest) {
            left.push(PrefixRange {
                prefix,
                shortest,
                longest,
            });
        }
    };
    let mut inner = of.prefix;
    let mut shortest = of.shortest;
    if !by.prefix.contains(of.prefix) {
        // What is too short to lie within the other one, and what lies beside it.
        inner = by.prefix;
        let depth = inner.length();
        add(of.prefix, of.shortest, Some(of.longest.min(depth - 1)));
        shortest = shortest.max(depth);
        for length in of.prefix.length()..depth {
            add(beside(inner, length), shortest, Some(of.longest));
        }
    }
    let before = by.shortest.max(inner.length()).checked_sub(1);
    add(inner, shortest, before.map(|before| before.min(of.longest)));
    add(
        inner,
        shortest.max(by.longest.saturating_add(1)),
        Some(of.longest),
    );
    Some(left)
}

/// The prefix of one more than so many bits that differs from another one in the last of them.
fn beside(prefix: IpPrefix, length: u8) -> IpPrefix {
    fn flipped<P: Prefix>(prefix: P, length: u8) -> IpPrefix {
        let bit = 1 << (127 - u32::from(length));
        P::from_left_aligned(prefix.bits_left_aligned() ^ bit, length + 1).erase()
    }
    match prefix {
        IpPrefix::V4(prefix) => flipped(prefix, length),
        IpPrefix::V6(prefix) => flipped(prefix, length),
    }
}

/// Many ranges, in the order of their prefixes.
pub(super) struct Index {
    sorted: Vec<PrefixRange>,
    /// The lengths of the outer prefixes by family.
    lengths: [Vec<u8>; Family::ALL.len()],
}

impl Index {
    pub(super) fn new(ranges: &[PrefixRange]) -> Index {
        let mut sorted = ranges.to_vec();
        sorted.sort_unstable_by_key(|range| range.prefix);
        let lengths = Family::ALL.map(|family| {
            let mut is_there = [false; 129];
            for range in ranges.iter().filter(|r| r.prefix.family() == family) {
                is_there[usize::from(range.prefix.length())] = true;
            }
            (0..=128)
                .filter(|length| is_there[usize::from(*length)])
                .collect()
        });
        Index { sorted, lengths }
    }

    /// What it takes to look for one.
    pub(super) fn comparisons(&self, range: &PrefixRange) -> usize {
        let lengths = self.lengths[range.prefix.family().index()].len();
        lengths * (self.sorted.len().checked_ilog2().unwrap_or(0) as usize + 1)
    }

    /// Whether one of them holds all of a range.
    pub(super) fn holds(&self, range: &PrefixRange) -> bool {
        let lengths = self.lengths[range.prefix.family().index()].iter();
        let mut lengths = lengths.take_while(|length| **length <= range.prefix.length());
        lengths.any(|length| {
            let outer = shortened(range.prefix, *length);
            let from = self.sorted.partition_point(|of| of.prefix < outer);
            let mut same = self.sorted[from..]
                .iter()
                .take_while(|of| of.prefix == outer);
            same.any(|of| range_contains(of, range))
        })
    }
}

fn shortened(prefix: IpPrefix, length: u8) -> IpPrefix {
    match prefix {
        IpPrefix::V4(prefix) => {
            Ipv4Prefix::from_left_aligned(prefix.bits_left_aligned(), length).erase()
        }
        IpPrefix::V6(prefix) => {
            Ipv6Prefix::from_left_aligned(prefix.bits_left_aligned(), length).erase()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prefix() -> impl Strategy<Value = IpPrefix> {
        (0u32..16, 24u8..=29).prop_map(|(n, length)| {
            IpPrefix::V4(Ipv4Prefix::masked((0x0a00_0000 | n << 3).into(), length))
        })
    }

    fn range() -> impl Strategy<Value = PrefixRange> {
        (prefix(), 0u8..4, 0u8..4).prop_map(|(prefix, from, more)| PrefixRange {
            prefix,
            shortest: prefix.length() + from,
            longest: (prefix.length() + from + more).min(32),
        })
    }

    fn has(range: &PrefixRange, prefix: IpPrefix) -> bool {
        range.prefix.contains(prefix) && (range.shortest..=range.longest).contains(&prefix.length())
    }

    /// Every prefix within 10.0.0.0/24 and that itself.
    fn all() -> impl Iterator<Item = IpPrefix> {
        (24u8..=32).flat_map(|length| {
            let step = 1usize << (32 - length);
            let bits = (0x0a00_0000u32..=0x0a00_00ff).step_by(step);
            bits.map(move |bits| IpPrefix::V4(Ipv4Prefix::masked(bits.into(), length)))
        })
    }

    proptest! {
        #[test]
        fn what_is_left_is_what_is_not_taken(of in range(), by in range()) {
            let left = without(&of, &by);
            prop_assert_eq!(left.is_some(), all().any(|p| has(&of, p) && has(&by, p)));
            let left = left.unwrap_or_else(|| vec![of]);
            for prefix in all() {
                let parts = left.iter().filter(|range| has(range, prefix)).count();
                prop_assert_eq!(parts, usize::from(has(&of, prefix) && !has(&by, prefix)), "{}", prefix);
            }
        }

        #[test]
        fn an_index_finds_what_is_there(all in prop::collection::vec(range(), 0..20), sought in range()) {
            let plain = all.iter().any(|range| range_contains(range, &sought));
            prop_assert_eq!(Index::new(&all).holds(&sought), plain);
        }
    }
}
