//! Which lists of prefixes hold a prefix: one immutable trie for all lists of a policy.
//!
//! Prefixes that the same lists hold are of one [`Class`], a small number, so that what is worked out
//! for one of them serves for all.
//!
//! Four bits a level. A node has a bit for each of the 30 prefixes of 1 to 4 bits that end in it,
//! and one for each of its 16 children; children, and what is known of the prefixes that end in a
//! node, stand side by side, so that counting bits finds them. Lists hold ranges of lengths, so with
//! each prefix stand the classes of the prefixes within, by length: what holds it, and what is
//! around it; few rows of those are different. A look-up so visits one node for four bits, and reads
//! nothing else but the row of the last prefix on its way.

use ahash::AHashMap;
use codec::{Family, IpPrefix, Prefix};
use smallvec::SmallVec;

use super::spec::PrefixRange;

/// Which list of a policy.
pub(super) type Label = u16;

/// The lists that hold a prefix, all told. Prefixes of one class are in the same lists; those of two
/// classes may be, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Class(u32);

impl Class {
    /// One for each.
    pub(super) fn number(self) -> u32 {
        self.0
    }
}

const STRIDE: u8 = 4;

/// The lists of one policy.
#[derive(Debug)]
pub(super) struct PrefixTrie {
    families: [OfFamily; Family::ALL.len()],
    classes: Vec<Member>,
    ranges: usize,
}

/// A class is that of another with one list more; the first is that of no list.
#[derive(Clone, Copy, Debug)]
struct Member {
    others: Class,
    label: Label,
}

#[derive(Debug, Default)]
struct OfFamily {
    /// The first is the root; empty: there is no rule below length 0.
    nodes: Vec<Node>,
    /// Where the row of steps begins of the prefix of length 0.
    outer: u32,
    /// And of each prefix that ends in a node, but where all of a node have the same.
    endings: Vec<u32>,
    /// Rows of classes up to a length each, the last for all lengths.
    steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Node {
    /// Prefixes that end here and have rules, by [`place`].
    ending: u32,
    children: u16,
    first_child: u32,
    /// The first of them in `endings`; with [`SAME`], where the row begins of all.
    rows: u32,
}

const SAME: u32 = 1 << 31;

/// Prefixes up to a length, those above the step before, are of this class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Step {
    longest: u8,
    class: Class,
}

type Steps = SmallVec<[Step; 4]>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
        let mut ranges = 0;
        for (label, range) in lists {
            let (bits, length) = bits_of(range.prefix);
            let rule = Rule {
                shortest: range.shortest,
                longest: range.longest,
                label,
            };
            entries[range.prefix.family().index()].push((bits, length, rule));
            ranges += 1;
        }
        let mut classes = Classes::default();
        PrefixTrie {
            families: entries.map(|entries| Builder::run(entries, &mut classes)),
            classes: classes.members,
            ranges,
        }
    }

    /// The class of a prefix.
    #[inline]
    pub(super) fn class_of(&self, prefix: IpPrefix) -> Class {
        let (bits, length) = bits_of(prefix);
        self.families[prefix.family().index()].class_of(bits, length)
    }

    /// The lists that hold the prefixes of a class, each once.
    pub(super) fn lists_of(&self, mut class: Class) -> impl Iterator<Item = Label> {
        std::iter::from_fn(move || {
            let member = self.classes.get((class.0 as usize).checked_sub(1)?)?;
            class = member.others;
            Some(member.label)
        })
    }

    /// Nodes and rules, for people.
    pub(super) fn size(&self) -> (usize, usize) {
        let nodes = self.families.iter().map(|of| of.nodes.len()).sum();
        (nodes, self.ranges)
    }
}

impl OfFamily {
    #[inline]
    fn class_of(&self, mut bits: u128, length: u8) -> Class {
        let mut row = self.outer | SAME;
        let (mut at, mut left) = (0, length);
        while let Some(node) = self.nodes.get(at) {
            let nibble = (bits >> (u128::BITS - u32::from(STRIDE))) as usize;
            let on_the_way = ON_THE_WAY[usize::from(left.min(STRIDE))][nibble];
            if let Some(last) = (node.ending & on_the_way).checked_ilog2() {
                row = node.rows;
                if row & SAME == 0 {
                    row += (node.ending & ((1 << last) - 1)).count_ones();
                }
            }
            let bit = 1u16 << nibble;
            if left <= STRIDE || node.children & bit == 0 {
                break;
            }
            let before = (node.children & (bit - 1)).count_ones();
            at = (node.first_child + before) as usize;
            bits <<= STRIDE;
            left -= STRIDE;
        }
        let begin = match row & SAME {
            0 => self.endings.get(row as usize).copied().unwrap_or_default(),
            _ => row & !SAME,
        };
        let steps = self.steps.get(begin as usize..).unwrap_or_default();
        let step = steps.iter().find(|step| length <= step.longest);
        step.map_or(Class::default(), |step| step.class)
    }
}

/// Classes by what they are made of.
#[derive(Default)]
struct Classes {
    members: Vec<Member>,
    known: AHashMap<(Class, Label), Class>,
}

impl Classes {
    /// The class of what the lists of another one hold, and one more.
    fn with(&mut self, others: Class, label: Label) -> Class {
        if let Some(known) = self.known.get(&(others, label)) {
            return *known;
        }
        let mut at = others;
        let class = loop {
            if at == Class::default() {
                self.members.push(Member { others, label });
                break Class(self.members.len() as u32);
            }
            let member = self.members[at.0 as usize - 1];
            if member.label == label {
                break others;
            }
            at = member.others;
        };
        self.known.insert((others, label), class);
        class
    }
}

/// Makes the trie of one family.
struct Builder<'c> {
    of: OfFamily,
    classes: &'c mut Classes,
    /// Rows of steps that there are, by where they begin.
    rows: AHashMap<Steps, u32>,
    /// What a row becomes with more rules: most prefixes of a list lie alike.
    made: AHashMap<(u32, SmallVec<[Rule; 2]>), u32>,
}

impl Builder<'_> {
    fn run(mut entries: Vec<Entry>, classes: &mut Classes) -> OfFamily {
        entries.sort_by_key(|(bits, length, _)| (*bits, *length));
        let mut builder = Builder {
            of: OfFamily::default(),
            classes,
            rows: AHashMap::new(),
            made: AHashMap::new(),
        };
        let nothing = Step {
            longest: u8::MAX,
            class: Class::default(),
        };
        let nothing = builder.row([nothing].into_iter().collect());
        let below = entries.partition_point(|(bits, length, _)| (*bits, *length) <= (0, 0));
        let (of_all, entries) = entries.split_at(below);
        let rules = of_all.iter().map(|(_, _, rule)| *rule);
        let outer = builder.row_with(nothing, rules.collect());
        builder.of.outer = outer;
        if !entries.is_empty() {
            builder.of.nodes.push(Node::default());
            builder.fill(0, entries, 0, outer);
        }
        builder.of
    }

    /// Fills a node of which all entries begin with the same `depth` bits; `outer` is the row of
    /// the last prefix around it.
    fn fill(&mut self, at: usize, entries: &[Entry], depth: u8, outer: u32) {
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
            first_child: self.of.nodes.len() as u32,
            ..Node::default()
        };
        let mut rows: SmallVec<[(u8, u32); 30]> = SmallVec::new();
        for of_place in here.chunk_by(|a, b| a.0 == b.0) {
            let Some((place, _)) = of_place.first() else {
                continue;
            };
            node.ending |= 1 << place;
            // Shorter ones come first, so that the last that is around is the longest.
            let around = rows
                .iter()
                .rev()
                .find(|(shorter, _)| is_within(*place, *shorter));
            let around = around.map_or(outer, |(_, row)| *row);
            let row = self.row_with(around, of_place.iter().map(|(_, rule)| *rule).collect());
            rows.push((*place, row));
        }
        node.rows = match rows.as_slice() {
            [(_, first), rest @ ..] if rest.iter().all(|(_, row)| row == first) => first | SAME,
            _ => self.of.endings.len() as u32,
        };
        if node.rows & SAME == 0 {
            self.of.endings.extend(rows.iter().map(|(_, row)| *row));
        }
        for (nibble, _) in &children {
            node.children |= 1 << nibble;
            self.of.nodes.push(Node::default());
        }
        self.of.nodes[at] = node;
        for (child, (nibble, longer)) in children.into_iter().enumerate() {
            let around = node.ending & ON_THE_WAY[usize::from(STRIDE)][usize::from(nibble)];
            let around = around.checked_ilog2().and_then(|last| {
                let mut rows = rows.iter();
                rows.find(|(place, _)| u32::from(*place) == last)
            });
            let outer = around.map_or(outer, |(_, row)| *row);
            self.fill(
                node.first_child as usize + child,
                longer,
                depth + STRIDE,
                outer,
            );
        }
    }

    /// The row of a prefix that has these rules, inside one of another row.
    fn row_with(&mut self, outer: u32, rules: SmallVec<[Rule; 2]>) -> u32 {
        let made = (outer, rules);
        if let Some(known) = self.made.get(&made) {
            return *known;
        }
        let mut steps: Steps = SmallVec::new();
        for step in &self.of.steps[outer as usize..] {
            steps.push(*step);
            if step.longest == u8::MAX {
                break;
            }
        }
        for rule in &made.1 {
            steps = self.with_rule(&steps, *rule);
        }
        let row = self.row(steps);
        self.made.insert(made, row);
        row
    }

    fn with_rule(&mut self, steps: &[Step], rule: Rule) -> Steps {
        let mut out: Steps = SmallVec::new();
        let mut push = |longest, class| match out.last_mut() {
            Some(Step {
                longest: last,
                class: same,
            }) if *same == class => *last = longest,
            _ => out.push(Step { longest, class }),
        };
        let mut shortest = 0;
        for step in steps {
            let inner = (shortest.max(rule.shortest), step.longest.min(rule.longest));
            if inner.0 > inner.1 {
                push(step.longest, step.class);
            } else {
                if shortest < inner.0 {
                    push(inner.0 - 1, step.class);
                }
                push(inner.1, self.classes.with(step.class, rule.label));
                if inner.1 < step.longest {
                    push(step.longest, step.class);
                }
            }
            shortest = step.longest.saturating_add(1);
        }
        out
    }

    /// Where a row begins; one that is there already is shared.
    fn row(&mut self, steps: Steps) -> u32 {
        if let Some(known) = self.rows.get(&steps) {
            return *known;
        }
        let begin = self.of.steps.len() as u32;
        self.of.steps.extend(&steps);
        self.rows.insert(steps, begin);
        begin
    }
}

/// Whether the prefix of a place lies within that of another one, of the same node.
fn is_within(place: u8, outer: u8) -> bool {
    let bits = |place: u8| (place + 2).ilog2() as u8;
    let (length, outer_length) = (bits(place), bits(outer));
    let number = |place: u8, length: u8| place + 2 - (1 << length);
    length > outer_length
        && number(place, length) >> (length - outer_length) == number(outer, outer_length)
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
        let mut labels: Vec<Label> = trie.lists_of(trie.class_of(prefix)).collect();
        labels.sort_unstable();
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
