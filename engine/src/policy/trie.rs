//! Which lists of prefixes hold a prefix: one immutable trie for all lists of a policy.
//!
//! Four bits a level. A node has a bit for each of the 30 prefixes of 1 to 4 bits that end in it,
//! and one for each of its 16 children; children, and the rules of the prefixes that end in a node,
//! stand side by side, so that counting bits finds them. A look-up visits one node for four bits and
//! tells every list whose prefix contains the one asked for and whose lengths fit.

use codec::{Family, IpPrefix, Prefix};

use super::spec::PrefixRange;

/// Which list of a policy.
pub(super) type Label = u16;

const STRIDE: u8 = 4;

/// The lists of one policy.
#[derive(Debug, Default)]
pub(super) struct PrefixTrie {
    families: [OfFamily; Family::ALL.len()],
}

#[derive(Debug, Default)]
struct OfFamily {
    /// The first is the root; empty: there is no rule below length 0.
    nodes: Vec<Node>,
    /// Where the rules of a prefix begin; those of the next one end them.
    begins: Vec<u32>,
    rules: Vec<Rule>,
    /// Of the prefix of length 0.
    of_all: Vec<Rule>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Node {
    /// Prefixes that end here and have rules, by [`place`].
    ending: u32,
    children: u16,
    first_child: u32,
    /// The first of them in `begins`.
    first_ending: u32,
}

#[derive(Clone, Copy, Debug)]
struct Rule {
    shortest: u8,
    longest: u8,
    label: Label,
}

/// A prefix as bits, with the rule that it stands for.
type Entry = (u128, u8, Rule);

impl PrefixTrie {
    pub(super) fn new<'a>(lists: impl Iterator<Item = (Label, &'a PrefixRange)>) -> PrefixTrie {
        let mut entries: [Vec<Entry>; Family::ALL.len()] = Default::default();
        for (label, range) in lists {
            let (bits, length) = bits_of(range.prefix);
            let rule = Rule {
                shortest: range.shortest,
                longest: range.longest,
                label,
            };
            entries[range.prefix.family().index()].push((bits, length, rule));
        }
        PrefixTrie {
            families: entries.map(OfFamily::new),
        }
    }

    /// Tells each list that holds the prefix; one may be told several times.
    #[inline]
    pub(super) fn find(&self, prefix: IpPrefix, found: impl FnMut(Label)) {
        let (bits, length) = bits_of(prefix);
        self.families[prefix.family().index()].find(bits, length, found);
    }

    /// Nodes and rules, for people.
    pub(super) fn size(&self) -> (usize, usize) {
        let sizes = self.families.iter();
        let sizes = sizes.map(|of| (of.nodes.len(), of.rules.len() + of.of_all.len()));
        sizes.fold((0, 0), |(nodes, rules), of| (nodes + of.0, rules + of.1))
    }
}

impl OfFamily {
    fn new(mut entries: Vec<Entry>) -> OfFamily {
        entries.sort_by_key(|(bits, length, _)| (*bits, *length));
        let mut of = OfFamily::default();
        let below = entries.partition_point(|(bits, length, _)| (*bits, *length) <= (0, 0));
        of.of_all = entries[..below].iter().map(|(_, _, rule)| *rule).collect();
        let entries = &entries[below..];
        if !entries.is_empty() {
            of.nodes.push(Node::default());
            of.fill(0, entries, 0);
        }
        of.begins.push(of.rules.len() as u32);
        of
    }

    /// Fills a node of which all entries begin with the same `depth` bits.
    fn fill(&mut self, at: usize, entries: &[Entry], depth: u8) {
        let mut here: Vec<(u8, Rule)> = Vec::new();
        let mut children: Vec<(u8, &[Entry])> = Vec::new();
        for of_nibble in entries.chunk_by(|a, b| nibble(a.0, depth) == nibble(b.0, depth)) {
            let Some((bits, _, _)) = of_nibble.first() else {
                continue;
            };
            let ends = |entry: &&Entry| entry.1 <= depth + STRIDE;
            let ending = of_nibble.iter().filter(ends);
            here.extend(
                ending.map(|(bits, length, rule)| {
                    (place(nibble(*bits, depth), length - depth), *rule)
                }),
            );
            // Sorted by bits, then length: those that end here stand among the others only where
            // the bits behind are zero, so they come first.
            let first = of_nibble.iter().take_while(|entry| ends(entry)).count();
            if let Some(longer) = of_nibble.get(first..).filter(|longer| !longer.is_empty()) {
                children.push((nibble(*bits, depth), longer));
            }
        }
        here.sort_by_key(|(place, _)| *place);
        let mut node = Node {
            first_ending: self.begins.len() as u32,
            first_child: self.nodes.len() as u32,
            ..Node::default()
        };
        for of_place in here.chunk_by(|a, b| a.0 == b.0) {
            node.ending |= of_place.first().map_or(0, |(place, _)| 1 << place);
            self.begins.push(self.rules.len() as u32);
            self.rules.extend(of_place.iter().map(|(_, rule)| *rule));
        }
        for (nibble, _) in &children {
            node.children |= 1 << nibble;
            self.nodes.push(Node::default());
        }
        self.nodes[at] = node;
        for (place, (_, longer)) in children.into_iter().enumerate() {
            self.fill(node.first_child as usize + place, longer, depth + STRIDE);
        }
    }

    #[inline]
    fn find(&self, bits: u128, length: u8, mut found: impl FnMut(Label)) {
        let mut tell = |rules: &[Rule]| {
            for rule in rules {
                if (rule.shortest..=rule.longest).contains(&length) {
                    found(rule.label);
                }
            }
        };
        tell(&self.of_all);
        let (mut at, mut depth) = (0, 0);
        while let Some(node) = self.nodes.get(at) {
            let nibble = nibble(bits, depth);
            let left = length - depth;
            let on_the_way = ON_THE_WAY[usize::from(left.min(STRIDE))][usize::from(nibble)];
            let mut ending = node.ending & on_the_way;
            while ending != 0 {
                let before = node.ending & ((ending & ending.wrapping_neg()) - 1);
                ending &= ending - 1;
                let place = (node.first_ending + before.count_ones()) as usize;
                let (begin, end) = (self.begins[place], self.begins[place + 1]);
                tell(&self.rules[begin as usize..end as usize]);
            }
            let bit = 1u16 << nibble;
            if left <= STRIDE || node.children & bit == 0 {
                return;
            }
            let before = (node.children & (bit - 1)).count_ones();
            at = (node.first_child + before) as usize;
            depth += STRIDE;
        }
    }
}

fn bits_of(prefix: IpPrefix) -> (u128, u8) {
    match prefix {
        IpPrefix::V4(prefix) => (prefix.bits_left_aligned(), prefix.length()),
        IpPrefix::V6(prefix) => (prefix.bits_left_aligned(), prefix.length()),
    }
}

fn nibble(bits: u128, depth: u8) -> u8 {
    (bits >> (128 - STRIDE - depth)) as u8 & 15
}

/// By how many bits are left, and the next four: the places of the prefixes that end within them.
const ON_THE_WAY: [[u32; 16]; STRIDE as usize + 1] = {
    let mut masks = [[0; 16]; STRIDE as usize + 1];
    let mut left = 1;
    while left <= STRIDE {
        let mut nibble = 0;
        while nibble < 16 {
            let shorter = masks[left as usize - 1][nibble as usize];
            masks[left as usize][nibble as usize] = shorter | 1 << place(nibble, left);
            nibble += 1;
        }
        left += 1;
    }
    masks
};

/// The place of the prefix of `length` bits, 1 to 4, in front of a nibble: shorter ones first.
const fn place(nibble: u8, length: u8) -> u8 {
    (1 << length) - 2 + (nibble >> (STRIDE - length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use codec::{Ipv4Prefix, Ipv6Prefix};
    use proptest::prelude::*;

    fn found(trie: &PrefixTrie, prefix: IpPrefix) -> Vec<Label> {
        let mut labels = Vec::new();
        trie.find(prefix, |label| labels.push(label));
        labels.sort_unstable();
        labels.dedup();
        labels
    }

    /// Few bits, so that prefixes meet.
    fn prefix() -> impl Strategy<Value = IpPrefix> {
        let bits = prop::collection::vec(prop::sample::select(vec![0u8, 1, 0x80, 0x11]), 4);
        (bits, 0u8..=32, any::<bool>()).prop_map(|(octets, length, v4)| {
            let bits = u32::from_be_bytes([octets[0], octets[1], octets[2], octets[3]]);
            match v4 {
                true => Ipv4Prefix::masked(bits.into(), length).erase(),
                false => {
                    let bits = u128::from(bits) << 96 | u128::from(bits) << 32 | 1;
                    Ipv6Prefix::masked(bits.into(), length * 4).erase()
                }
            }
        })
    }

    fn range() -> impl Strategy<Value = PrefixRange> {
        (prefix(), 0u8..=64, 0u8..=64).prop_map(|(prefix, more, longer)| {
            let (longest, length) = match prefix {
                IpPrefix::V4(prefix) => (32, prefix.length()),
                IpPrefix::V6(prefix) => (128, prefix.length()),
            };
            let shortest = (length + more).min(longest);
            PrefixRange {
                prefix,
                shortest,
                longest: (shortest + longer).min(longest),
            }
        })
    }

    proptest! {
        #[test]
        fn finds_what_a_plain_search_finds(
            lists in prop::collection::vec(prop::collection::vec(range(), 0..12), 1..6),
            asked in prop::collection::vec(prefix(), 1..60),
        ) {
            let all = lists.iter().enumerate();
            let trie = PrefixTrie::new(all.flat_map(|(label, list)| {
                list.iter().map(move |range| (label as Label, range))
            }));
            for prefix in asked {
                let holds = |range: &PrefixRange| {
                    range.prefix.contains(prefix)
                        && (range.shortest..=range.longest).contains(&prefix.length())
                };
                let wanted: Vec<Label> = (0..lists.len())
                    .filter(|label| lists[*label].iter().any(holds))
                    .map(|label| label as Label)
                    .collect();
                prop_assert_eq!(found(&trie, prefix), wanted);
            }
        }
    }
}
