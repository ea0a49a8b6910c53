//! The prefix trie of one family: prefix to id, ordered walks, longest match.
//!
//! A tree bitmap with a stride of five bits, so that a /24 and the four lengths above it share a
//! node, and so do a /48 and those above it. Nodes are only ever added; prefixes go too. Knows nothing of paths;
//! who owns an id and what is stored for it is `table`'s business.
//!
//! Nodes at a depth of fifteen bits are also listed in a flat array by those bits, filled as they
//! are made: most prefixes are longer, and find their node there without the levels above it.
//!
//! Invariants: node 0 is the root; each other node is the child of exactly one node; an id is
//! entered at exactly one place. A prefix of length `n` ends in the node at depth `n / 5`. What the
//! flat array names is reached from the root too.

#[allow(unsafe_code)]
mod node;

use std::ops::ControlFlow;

use crate::epoch::Pinned;
use crate::ids::Full;
use crate::segments::Segments;
use crate::sync::{AtomicU32, Ordering};
use node::{Entry, Node, NodeCell, STRIDE};

const ROOT: u32 = 0;
/// Depth of the nodes that the flat array lists. (Less under the model checker, whose arrays are
/// small.)
const FLAT_DEPTH: u8 = if cfg!(loom) { STRIDE } else { 3 * STRIDE };
/// Keys that are looked for together, so that their cache misses overlap.
pub(crate) const WINDOW: usize = 16;
/// Nodes there can be; far below what numbers can tell apart, so that racing claims cannot wrap.
const MAX_NODES: u32 = 1 << 31;

/// A prefix as the trie sees it: left-aligned bits and a length. Ordered as prefixes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) bits: u128,
    pub(crate) length: u8,
}

impl Key {
    /// Whether `other` is this prefix or lies within it.
    pub(crate) fn contains(self, other: Key) -> bool {
        self.length <= other.length && self.agrees(other)
    }

    /// Whether one of the two lies within the other.
    fn agrees(self, other: Key) -> bool {
        let length = self.length.min(other.length);
        length == 0 || (self.bits ^ other.bits) >> (128 - u32::from(length)) == 0
    }

    /// The place in the flat array, where the prefix is long enough to have one.
    #[inline]
    fn flat(self) -> Option<u32> {
        let place = self.bits >> (128 - u32::from(FLAT_DEPTH));
        (self.length >= FLAT_DEPTH).then_some(place as u32)
    }

    /// The five bits at `depth`; zeroes past the end.
    #[inline]
    fn chunk(self, depth: u8) -> u32 {
        // Shifts of 128 bits are dear, and all of IPv4 and most of IPv6 stands in the upper half.
        if depth <= 64 - STRIDE {
            (((self.bits >> 64) as u64) << depth >> (64 - STRIDE)) as u32
        } else {
            (self.bits << depth >> (128 - STRIDE)) as u32
        }
    }

    /// If the prefix ends in the node at `depth`: its bit in that node's prefix bitmap.
    #[inline]
    fn end(self, depth: u8) -> Option<u32> {
        let rest = self.length - depth;
        (rest < STRIDE).then(|| 1 << rest | self.chunk(depth) >> (STRIDE - rest))
    }
}

pub(crate) struct Trie {
    nodes: Segments<NodeCell>,
    claimed: AtomicU32,
    /// Nodes at `FLAT_DEPTH` by the bits above them; 0 where none was listed yet.
    flat: Segments<AtomicU32>,
}

/// How far down the trie a key was followed.
#[derive(Clone, Copy, Default)]
pub(crate) struct Place {
    number: u32,
    depth: u8,
    /// The prefix's, if it was found.
    pub(crate) id: Option<u32>,
}

/// A node number that lost a race, kept by its writer for the next time.
#[derive(Default)]
pub(crate) struct SpareNode {
    lost: Option<u32>,
    /// Numbers that this writer claimed and has not used, all of one cache line of cells.
    fresh: std::ops::Range<u32>,
}

/// Node numbers claimed at once. The model checker pays for each.
const NODES_AT_ONCE: u32 = if cfg!(loom) { 1 } else { 8 };

impl Trie {
    pub(crate) fn new() -> Trie {
        let nodes = Segments::new();
        nodes.grow(ROOT);
        Trie {
            nodes,
            claimed: AtomicU32::new(ROOT + 1),
            flat: Segments::new(),
        }
    }

    /// The deepest node that is known to be on the way to a key without looking into any.
    #[inline]
    fn start(&self, key: Key) -> Place {
        let listed = key.flat().and_then(|place| self.flat.get(place));
        // Pairs with the release in `list`: the node is grown.
        match listed.map_or(ROOT, |number| number.load(Ordering::Acquire)) {
            ROOT => Place::default(),
            number => Place {
                number,
                depth: FLAT_DEPTH,
                id: None,
            },
        }
    }

    /// Lists a node that was just made, if it is at the depth for it.
    fn list(&self, key: Key, depth: u8, number: u32) {
        if depth == FLAT_DEPTH
            && let Some(place) = key.flat()
        {
            // Release: the node's parent named it before this.
            self.flat.grow(place).store(number, Ordering::Release);
        }
    }

    #[inline]
    fn node<'g>(&self, number: u32, pinned: Pinned<'g>) -> Node<'g> {
        self.cell(number).load(pinned)
    }

    #[inline]
    fn cell(&self, number: u32) -> &NodeCell {
        self.nodes
            .get(number)
            .expect("a node is grown before its parent names it")
    }

    /// The id of exactly this prefix.
    pub(crate) fn lookup(&self, key: Key, pinned: Pinned<'_>) -> Option<u32> {
        let mut place = self.start(key);
        while !place.step(key, self.node(place.number, pinned)) {}
        place.id
    }

    /// Follows up to [`WINDOW`] keys as far as they go, level by level, so that the cache misses of
    /// one don't wait for those of another.
    pub(crate) fn find_all(&self, keys: &[Key], pinned: Pinned<'_>) -> [Place; WINDOW] {
        let mut places = [Place::default(); WINDOW];
        for (place, key) in places.iter_mut().zip(keys) {
            *place = self.start(*key);
        }
        let mut open = (1u32 << keys.len().min(WINDOW)) - 1;
        let mut nodes = [Node::EMPTY; WINDOW];
        while open != 0 {
            // Nothing here depends on what another key's node holds.
            for at in bits(open) {
                nodes[at] = self.node(places[at].number, pinned);
            }
            for at in bits(open) {
                if places[at].step(keys[at], nodes[at]) {
                    open &= !(1 << at);
                }
            }
        }
        places
    }

    /// The id of this prefix, which was followed to `from`. Where it has none, `id` is asked for
    /// one, which is entered unless another writer is faster; an `id` that was asked for and not
    /// used is the caller's to keep.
    pub(crate) fn insert(
        &self,
        key: Key,
        from: Place,
        pinned: Pinned<'_>,
        spare: &mut SpareNode,
        mut id: impl FnMut() -> Result<u32, Full>,
    ) -> Result<u32, Full> {
        let Place {
            mut number,
            mut depth,
            ..
        } = from;
        loop {
            let cell = self.cell(number);
            let node = cell.load(pinned);
            if let Some(bit) = key.end(depth) {
                if let Some(id) = node.prefix(bit) {
                    return Ok(id);
                }
                let id = id()?;
                if cell.add(node, Entry::Prefix { bit, id }, pinned) {
                    return Ok(id);
                }
                continue;
            }
            let bit = key.chunk(depth);
            depth += STRIDE;
            if let Some(child) = node.child(bit) {
                number = child;
                continue;
            }
            let child = self.claim_node(spare)?;
            if cell.add(node, Entry::Child { bit, node: child }, pinned) {
                self.list(key, depth, child);
                number = child;
            } else {
                spare.lost = Some(child);
                depth -= STRIDE;
            }
        }
    }

    /// Takes out the prefix, if it still has this id.
    pub(crate) fn remove(&self, key: Key, id: u32, pinned: Pinned<'_>) {
        let mut place = self.start(key);
        while !place.step(key, self.node(place.number, pinned)) {}
        let Some(bit) = key.end(place.depth) else {
            return;
        };
        let cell = self.cell(place.number);
        loop {
            let node = cell.load(pinned);
            if node.prefix(bit) != Some(id) || cell.remove(node, bit, pinned) {
                return;
            }
        }
    }

    /// A node number that nobody else has, of an empty node.
    fn claim_node(&self, spare: &mut SpareNode) -> Result<u32, Full> {
        if let Some(number) = spare.lost.take() {
            return Ok(number);
        }
        if let Some(number) = spare.fresh.next() {
            self.nodes.grow(number);
            return Ok(number);
        }
        // Relaxed: the number's cell is published by the block that names it.
        if self.claimed.load(Ordering::Relaxed) >= MAX_NODES {
            return Err(Full::Prefixes);
        }
        let number = self.claimed.fetch_add(NODES_AT_ONCE, Ordering::Relaxed);
        spare.fresh = number + 1..number + NODES_AT_ONCE;
        self.nodes.grow(number);
        Ok(number)
    }

    /// The id of the longest prefix that contains `key` and that `accept` takes.
    pub(crate) fn longest_match(
        &self,
        key: Key,
        pinned: Pinned<'_>,
        accept: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        let (mut number, mut depth) = (ROOT, 0);
        let mut longest = None;
        loop {
            let node = self.node(number, pinned);
            let rest = (key.length - depth).min(STRIDE - 1);
            let chunk = key.chunk(depth);
            let found = (0..=rest)
                .rev()
                .filter_map(|length| node.prefix(1 << length | chunk >> (STRIDE - length)))
                .find(|id| accept(*id));
            longest = found.or(longest);
            if key.end(depth).is_some() {
                return longest;
            }
            match node.child(chunk) {
                Some(child) => number = child,
                None => return longest,
            }
            depth += STRIDE;
        }
    }

    /// Visits the prefixes within `within` and past `after`, in order, until `visit` breaks.
    pub(crate) fn walk(
        &self,
        within: Key,
        after: Option<Key>,
        pinned: Pinned<'_>,
        visit: &mut dyn FnMut(u32, Key) -> ControlFlow<()>,
    ) {
        let walk = Walk {
            trie: self,
            within,
            after,
            pinned,
        };
        // Broken off or done, there is nothing more to say.
        let _ = walk.node(ROOT, 0, 0, visit);
    }

    /// Octets of cells, blocks and what is listed.
    pub(crate) fn octets(&self, pinned: Pinned<'_>) -> usize {
        let claimed = self.claimed.load(Ordering::Relaxed);
        let nodes: usize = (0..claimed)
            .filter_map(|number| self.nodes.get(number))
            .map(|cell| size_of::<NodeCell>() + cell.load(pinned).block_octets())
            .sum();
        let listed = (0..1 << FLAT_DEPTH)
            .filter_map(|place| self.flat.get(place))
            .filter(|number| number.load(Ordering::Relaxed) != ROOT)
            .count();
        nodes + listed * size_of::<AtomicU32>()
    }
}

impl Place {
    /// Goes one node further down, if this `node` of the place leads there. Whether it is the last:
    /// then the id is known, or the prefix has none.
    #[inline]
    fn step(&mut self, key: Key, node: Node<'_>) -> bool {
        if let Some(bit) = key.end(self.depth) {
            self.id = node.prefix(bit);
            return true;
        }
        let Some(child) = node.child(key.chunk(self.depth)) else {
            return true;
        };
        self.number = child;
        self.depth += STRIDE;
        false
    }
}

/// The places of the bits that are set, lowest first.
fn bits(mut word: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let at = (word != 0).then_some(word.trailing_zeros() as usize)?;
        word &= word - 1;
        Some(at)
    })
}

struct Walk<'t, 'g> {
    trie: &'t Trie,
    within: Key,
    after: Option<Key>,
    pinned: Pinned<'g>,
}

impl Walk<'_, '_> {
    /// Preorder: a prefix comes before what lies within it. Depth is at most 26 nodes.
    fn node(
        &self,
        number: u32,
        bits: u128,
        depth: u8,
        visit: &mut dyn FnMut(u32, Key) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let node = self.trie.node(number, self.pinned);
        for chunk in 0..1u32 << STRIDE {
            let bits = bits | u128::from(chunk) << (128 - STRIDE) >> depth;
            // The prefixes whose first address is here: those long enough to have this chunk's
            // lowest set bit, shortest first.
            let shortest = STRIDE.saturating_sub(chunk.trailing_zeros() as u8);
            for rest in shortest..STRIDE {
                if let Some(id) = node.prefix(1 << rest | chunk >> (STRIDE - rest)) {
                    let length = depth + rest;
                    self.prefix(id, Key { bits, length }, visit)?;
                }
            }
            if let Some(child) = node.child(chunk) {
                let length = depth + STRIDE;
                if self.overlaps(Key { bits, length }) {
                    self.node(child, bits, length, visit)?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn prefix(
        &self,
        id: u32,
        key: Key,
        visit: &mut dyn FnMut(u32, Key) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let wanted = self.within.contains(key) && self.after.is_none_or(|after| key > after);
        if wanted {
            visit(id, key)
        } else {
            ControlFlow::Continue(())
        }
    }

    /// Whether a subtree can hold a prefix that is wanted.
    fn overlaps(&self, subtree: Key) -> bool {
        let last = subtree.bits | u128::MAX.checked_shr(subtree.length.into()).unwrap_or(0);
        self.within.agrees(subtree) && self.after.is_none_or(|after| last >= after.bits)
    }
}
