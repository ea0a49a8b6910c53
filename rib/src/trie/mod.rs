//! The prefix trie of one family: prefix to id, ordered walks, longest match.
//!
//! A tree bitmap with a stride of five bits, so that a /24 and the four lengths above it share a
//! node, and so do a /48 and those above it. A prefix that is alone below a child's place needs no
//! nodes there: the place names its id, as a *leaf*, until a second one comes. Nodes are only ever
//! added; prefixes go too. Knows nothing of paths; who owns an id and what is stored for it is
//! `table`'s business, which says by [`Keys`] what prefix an id is.
//!
//! Nodes at a depth of fifteen bits are also listed in a flat array by those bits, filled as they
//! are made: most prefixes are longer, and find their node there without the levels above it.
//!
//! Invariants: node 0 is the root; each other node is the child of exactly one node; an id is
//! entered at exactly one place. A prefix of length `n` ends in the node at depth `n / 5`, or is a
//! leaf at the last place on its way that there is. What the flat array names is reached from the
//! root too. Whoever finds an id in a leaf under a guard may ask for its key under that guard: it
//! was stored before the id was entered, and stays until no such guard is left (see [`Keys`]).

#[allow(unsafe_code)]
mod node;

use std::ops::{ControlFlow, RangeInclusive};

use crate::epoch::Pinned;
use crate::ids::Full;
use crate::segments::Segments;
use crate::sync::{AtomicU32, Ordering};
use node::{CHILDREN, Entry, Node, NodeCell, STRIDE};

const ROOT: u32 = 0;
/// Depth of the nodes that the flat array lists. (Less under the model checker, whose arrays are
/// small.)
const FLAT_DEPTH: u8 = if cfg!(loom) { STRIDE } else { 3 * STRIDE };
/// Keys that are looked for together, so that their cache misses overlap.
pub(crate) const WINDOW: usize = 16;
/// Nodes there can be; far below what an entry can tell from an id, so that racing claims stay below
/// that too.
const MAX_NODES: u32 = 1 << 30;

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

    /// The bit of the prefix in the node at `depth`: its own if it ends there, else a child's.
    #[inline]
    fn bit(self, depth: u8) -> u32 {
        self.end(depth)
            .unwrap_or_else(|| CHILDREN + self.chunk(depth))
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

/// What prefix each id is.
pub(crate) trait Keys {
    /// The key of an id that the trie names, or named under the guard at hand. It is there before
    /// the id is entered and no other before every guard is gone under which the id was found.
    fn key(&self, id: u32) -> Key;

    /// Whether it is this one. Asked for nearly every prefix that is looked for.
    fn is(&self, id: u32, key: Key) -> bool;
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
    /// The prefix's, if it was found: in this node, or as its leaf.
    pub(crate) id: Option<u32>,
}

/// Node numbers that a writer claimed and has not used, of empty nodes.
#[derive(Default)]
pub(crate) struct SpareNodes {
    /// At hand: of races that were lost, no more than the nodes of one chain.
    kept: Vec<u32>,
    /// Not looked at yet, all of one cache line of cells.
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
    pub(crate) fn lookup(&self, key: Key, keys: &impl Keys, pinned: Pinned<'_>) -> Option<u32> {
        let mut place = self.start(key);
        while !place.step(key, self.node(place.number, pinned), keys) {}
        place.id
    }

    /// Follows up to [`WINDOW`] prefixes as far as they go, level by level, so that the cache misses
    /// of one don't wait for those of another.
    pub(crate) fn find_all(
        &self,
        sought: &[Key],
        keys: &impl Keys,
        pinned: Pinned<'_>,
    ) -> [Place; WINDOW] {
        let mut places = [Place::default(); WINDOW];
        for (place, key) in places.iter_mut().zip(sought) {
            *place = self.start(*key);
        }
        let mut open = (1u32 << sought.len().min(WINDOW)) - 1;
        let mut nodes = [Node::EMPTY; WINDOW];
        while open != 0 {
            // Nothing here depends on what another key's node holds.
            for at in bits(open) {
                nodes[at] = self.node(places[at].number, pinned);
            }
            for at in bits(open) {
                if places[at].step(sought[at], nodes[at], keys) {
                    open &= !(1 << at);
                }
            }
        }
        places
    }

    /// The id of this prefix, which was followed to `place`. Where it has none, `id` is asked for
    /// one, which is entered unless another writer is faster; an `id` that was asked for and not
    /// used is the caller's to keep.
    pub(crate) fn insert(
        &self,
        key: Key,
        mut place: Place,
        keys: &impl Keys,
        pinned: Pinned<'_>,
        spare: &mut SpareNodes,
        mut id: impl FnMut() -> Result<u32, Full>,
    ) -> Result<u32, Full> {
        loop {
            let node = self.node(place.number, pinned);
            if !place.step(key, node, keys) {
                continue;
            }
            if let Some(id) = place.id {
                return Ok(id);
            }
            let id = id()?;
            let bit = key.bit(place.depth);
            let entered = match node.id(bit) {
                // A leaf, of another prefix.
                Some(other) => {
                    let both = [(key, id), (keys.key(other), other)];
                    self.fork(place, node, both, pinned, spare)?
                }
                None => {
                    let cell = self.cell(place.number);
                    cell.set(node, bit, Entry::Id(id), pinned)
                }
            };
            if entered {
                return Ok(id);
            }
        }
    }

    /// Puts a node that has both prefixes where `node`, that of the place, has the second as a leaf;
    /// a chain of nodes, if they go the same way further down. `false`: the node is another by now.
    fn fork(
        &self,
        place: Place,
        node: Node<'_>,
        both: [(Key, u32); 2],
        pinned: Pinned<'_>,
        spare: &mut SpareNodes,
    ) -> Result<bool, Full> {
        let [(key, _), (other, _)] = both;
        let first = place.depth + STRIDE;
        let mut last = first;
        while key.bit(last) == other.bit(last) {
            last += STRIDE;
        }
        let depths = (first..=last).step_by(STRIDE.into());
        self.claim_nodes(depths.len(), spare)?;
        let kept = spare.kept.len() - depths.len();
        let chain = &spare.kept[kept..];
        // All are filled before the first of them is named.
        for (at, depth) in depths.clone().enumerate() {
            let cell = self.cell(chain[at]);
            match chain.get(at + 1) {
                Some(next) => cell.fill(&[(key.bit(depth), Entry::Node(*next))]),
                None => cell.fill(&both.map(|(key, id)| (key.bit(depth), Entry::Id(id)))),
            }
        }
        let cell = self.cell(place.number);
        let top = Entry::Node(chain[0]);
        if !cell.set(node, key.bit(place.depth), top, pinned) {
            for number in chain {
                self.cell(*number).empty(pinned);
            }
            return Ok(false);
        }
        for (number, depth) in spare.kept.drain(kept..).zip(depths) {
            self.list(key, depth, number);
        }
        Ok(true)
    }

    /// Takes out the prefix, if it still has this id.
    pub(crate) fn remove(&self, key: Key, id: u32, keys: &impl Keys, pinned: Pinned<'_>) {
        let mut place = self.start(key);
        loop {
            let node = self.node(place.number, pinned);
            if !place.step(key, node, keys) {
                continue;
            }
            // If the node is another by now, a leaf may have gone further down.
            let cell = self.cell(place.number);
            if place.id != Some(id) || cell.remove(node, key.bit(place.depth), pinned) {
                return;
            }
        }
    }

    /// Sees to it that the writer has so many node numbers at hand, which nobody else has, of empty
    /// nodes.
    fn claim_nodes(&self, count: usize, spare: &mut SpareNodes) -> Result<(), Full> {
        while spare.kept.len() < count {
            if spare.fresh.is_empty() {
                // Relaxed: the number's cell is published by the block that names it.
                if self.claimed.load(Ordering::Relaxed) >= MAX_NODES {
                    return Err(Full::Prefixes);
                }
                let number = self.claimed.fetch_add(NODES_AT_ONCE, Ordering::Relaxed);
                spare.fresh = number..number + NODES_AT_ONCE;
            }
            for number in spare.fresh.by_ref().take(count - spare.kept.len()) {
                self.nodes.grow(number);
                spare.kept.push(number);
            }
        }
        Ok(())
    }

    /// The id of the longest prefix that contains `key` and that `accept` takes.
    pub(crate) fn longest_match(
        &self,
        key: Key,
        keys: &impl Keys,
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
                .filter_map(|length| node.id(1 << length | chunk >> (STRIDE - length)))
                .find(|id| accept(*id));
            longest = found.or(longest);
            if key.end(depth).is_some() {
                return longest;
            }
            match node.get(CHILDREN + chunk) {
                Some(Entry::Node(child)) => number = child,
                Some(Entry::Id(id)) => {
                    let found = keys.key(id).contains(key) && accept(id);
                    return found.then_some(id).or(longest);
                }
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
        keys: &impl Keys,
        pinned: Pinned<'_>,
        visit: &mut dyn FnMut(u32, Key) -> ControlFlow<()>,
    ) {
        let walk = Walk {
            trie: self,
            within,
            after,
            keys,
            pinned,
        };
        let Place { number, depth, .. } = self.start(within);
        let above = !u128::MAX.checked_shr(depth.into()).unwrap_or(0);
        // Broken off or done, there is nothing more to say.
        let _ = walk.node(number, within.bits & above, depth, visit);
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
    fn step(&mut self, key: Key, node: Node<'_>, keys: &impl Keys) -> bool {
        let bit = key.bit(self.depth);
        self.id = match node.get(bit) {
            Some(Entry::Node(child)) => {
                self.number = child;
                self.depth += STRIDE;
                return false;
            }
            // One that ends here is the prefix; a leaf may be another.
            Some(Entry::Id(id)) => (bit < CHILDREN || keys.is(id, key)).then_some(id),
            None => None,
        };
        true
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

struct Walk<'t, 'g, K> {
    trie: &'t Trie,
    keys: &'t K,
    within: Key,
    after: Option<Key>,
    pinned: Pinned<'g>,
}

impl<K: Keys> Walk<'_, '_, K> {
    /// Preorder: a prefix comes before what lies within it. Depth is at most 26 nodes.
    fn node(
        &self,
        number: u32,
        bits: u128,
        depth: u8,
        visit: &mut dyn FnMut(u32, Key) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let node = self.trie.node(number, self.pinned);
        for chunk in self.chunks(bits, depth) {
            let bits = bits | u128::from(chunk) << (128 - STRIDE) >> depth;
            // The prefixes whose first address is here: those long enough to have this chunk's
            // lowest set bit, shortest first.
            let shortest = STRIDE.saturating_sub(chunk.trailing_zeros() as u8);
            for rest in shortest..STRIDE {
                if let Some(id) = node.id(1 << rest | chunk >> (STRIDE - rest)) {
                    let length = depth + rest;
                    self.prefix(id, Key { bits, length }, visit)?;
                }
            }
            let length = depth + STRIDE;
            match node.get(CHILDREN + chunk) {
                Some(Entry::Node(child)) => self.node(child, bits, length, visit)?,
                // Alone below this chunk, so it comes where all that is below would.
                Some(Entry::Id(id)) => self.prefix(id, self.keys.key(id), visit)?,
                None => {}
            }
        }
        ControlFlow::Continue(())
    }

    /// The chunks of a node below which prefixes that are wanted can be. What lies below the others
    /// is not looked at: even the key of a leaf is a cache miss.
    fn chunks(&self, bits: u128, depth: u8) -> RangeInclusive<u32> {
        let (mut first, mut last) = (0, CHILDREN - 1);
        if let Some(rest) = self.within.length.checked_sub(depth) {
            first = self.within.chunk(depth);
            last = first | (CHILDREN - 1) >> rest.min(STRIDE);
        }
        if let Some(after) = self.after
            && (Key {
                bits,
                length: depth,
            })
            .agrees(Key {
                length: 128,
                ..after
            })
        {
            first = first.max(after.chunk(depth));
        }
        first..=last
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
}
