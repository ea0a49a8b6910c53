//! One node of the trie: a cell whose content is an immutable block, replaced whole.
//!
//! A node spans five bits. Its block is `u32` words: a bitmap of 64 bits in two of them, then an
//! [`Entry`] for each bit that is set, in the order of the bits. Bits from 0 to 31 are of the prefixes
//! that end in the node (`1 << l | v` for the `l`-bit value `v`, `l` from 0 to 4), those from
//! [`CHILDREN`] on of its 32 children. A child is the number of a node, or a *leaf*: the id of the
//! only prefix below. A null cell is a node with nothing in it.
//!
//! Invariants: a published block is never written to; a block only ever gives way to one with the
//! same entries and one more, one id less, or a node instead of a leaf, by compare-and-swap on the
//! cell, whose winner retires it; a block is never empty. Child nodes are *numbers* of cells that never
//! move, not pointers inside a block: replacing a block can therefore not lose what happens below it
//! meanwhile. They are never taken out, for the same reason. A leaf has nothing below it that could
//! be lost: whoever makes a node of it, or takes it out, changes the cell that names it.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::ptr;

use crate::epoch::Pinned;
use crate::segments::Zeroed;
use crate::sync::{AtomicPtr, Ordering};

/// Bits that a node spans.
pub(crate) const STRIDE: u8 = 5;

/// The first bit of the bitmap that is a child's.
pub(crate) const CHILDREN: u32 = 32;
/// What ids and node numbers are below: the bit that tells one from the other.
const ID_TAG: u32 = 1 << 31;

const HEAD_WORDS: usize = 2;
const MAX_WORDS: usize = HEAD_WORDS + 31 + 32;
static EMPTY: [u32; HEAD_WORDS] = [0; HEAD_WORDS];

pub(crate) struct NodeCell {
    block: AtomicPtr<u32>,
}

impl Default for NodeCell {
    fn default() -> NodeCell {
        NodeCell {
            block: AtomicPtr::new(ptr::null_mut()),
        }
    }
}

// SAFETY: one atomic pointer, null by default, and null is all zeroes.
unsafe impl Zeroed for NodeCell {}

/// The content of a node at one moment: its bitmap, and where its entries are.
#[derive(Clone, Copy)]
pub(crate) struct Node<'g> {
    block: *mut u32,
    bits: u64,
    guard: PhantomData<&'g ()>,
}

/// What a node has at one bit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// The id of the prefix that ends here or, at a child's bit, of the only one below.
    Id(u32),
    /// The number of a child.
    Node(u32),
}

impl Entry {
    #[inline]
    fn word(self) -> u32 {
        let (Entry::Id(number) | Entry::Node(number)) = self;
        debug_assert!(number < ID_TAG);
        match self {
            Entry::Id(id) => id | ID_TAG,
            Entry::Node(number) => number,
        }
    }

    #[inline]
    fn of(word: u32) -> Entry {
        if word & ID_TAG != 0 {
            Entry::Id(word & !ID_TAG)
        } else {
            Entry::Node(word)
        }
    }
}

impl NodeCell {
    #[inline]
    pub(crate) fn load<'g>(&self, _: Pinned<'g>) -> Node<'g> {
        // Pairs with the release in `replace`: the block is seen whole, and with it the prefix that
        // was stored for each id before the id was entered, and what nodes below were filled with
        // before they were named.
        let block = self.block.load(Ordering::Acquire);
        let head = if block.is_null() {
            EMPTY.as_ptr()
        } else {
            block.cast_const()
        };
        Node {
            block,
            // SAFETY: a block that is not null was made by `allocate`, so it has a head of two
            // words, as `EMPTY` has; and the guard of `'g`, held while it was in the cell, keeps it
            // from being freed.
            bits: unsafe { head_bits(head) },
            guard: PhantomData,
        }
    }

    /// Puts an entry at a bit of `node`. `false`: the cell no longer holds `node`.
    pub(crate) fn set(&self, node: Node<'_>, bit: u32, entry: Entry, pinned: Pinned<'_>) -> bool {
        self.replace(node, allocate_with(node, bit, entry), pinned)
    }

    /// Takes out the id at a bit, which `node` has. `false`: the cell no longer holds `node`.
    pub(crate) fn remove(&self, node: Node<'_>, bit: u32, pinned: Pinned<'_>) -> bool {
        self.replace(node, allocate_without(node, bit), pinned)
    }

    /// Fills a cell that is empty and that no node names yet, with entries of different bits.
    pub(crate) fn fill(&self, entries: &[(u32, Entry)]) {
        debug_assert!(self.block.load(Ordering::Relaxed).is_null());
        // Relaxed: published by the block that names the cell.
        self.block.store(allocate_of(entries), Ordering::Relaxed);
    }

    /// Empties a cell that was filled and that no node names.
    pub(crate) fn empty(&self, pinned: Pinned<'_>) {
        self.replace(self.load(pinned), ptr::null_mut(), pinned);
    }

    fn replace(&self, node: Node<'_>, fresh: *mut u32, pinned: Pinned<'_>) -> bool {
        // Release publishes the block; acquire because this thread retires the old one.
        let swapped = self
            .block
            .compare_exchange(node.block, fresh, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok();
        let unused = if swapped { node.block } else { fresh };
        if unused.is_null() {
            return swapped;
        }
        if swapped {
            // SAFETY: the compare-and-swap took this block out, so it alone retires it and no new
            // reader finds it; readers that did hold guards, which deferral outlasts.
            unsafe {
                pinned.guard().defer_unchecked(move || {
                    free(unused);
                });
            }
        } else {
            // SAFETY: made for this call and never published.
            unsafe { free(unused) };
        }
        swapped
    }
}

impl Drop for NodeCell {
    fn drop(&mut self) {
        let block = self.block.load(Ordering::Relaxed);
        if !block.is_null() {
            // SAFETY: `&mut self`: nobody reads any more, and a block still in place was not
            // retired.
            unsafe { free(block) };
        }
    }
}

impl Node<'_> {
    /// A node with nothing in it.
    pub(crate) const EMPTY: Node<'static> = Node {
        block: ptr::null_mut(),
        bits: 0,
        guard: PhantomData,
    };

    /// What there is at a bit of the bitmap.
    #[inline]
    pub(crate) fn get(&self, bit: u32) -> Option<Entry> {
        (self.bits >> bit & 1 != 0).then(|| Entry::of(self.word(rank(self.bits, bit))))
    }

    /// The id at a bit of the bitmap.
    #[inline]
    pub(crate) fn id(&self, bit: u32) -> Option<u32> {
        match self.get(bit)? {
            Entry::Id(id) => Some(id),
            Entry::Node(_) => None,
        }
    }

    /// The entry at a place. Below the number of entries, or there is no such thing.
    #[inline]
    fn word(&self, at: usize) -> u32 {
        debug_assert!(at < self.entries());
        // SAFETY: callers found a bit of the bitmap set, so the node is not empty, its block has one
        // word after the head for each bit that is set in the bitmap, and `at` counts some of those
        // without that bit. The block is readable for `'g` (see `load`).
        unsafe { *self.block.add(HEAD_WORDS + at) }
    }

    /// Where the entries are; nothing may be read there if there are none.
    fn entry_words(&self) -> *const u32 {
        if self.block.is_null() {
            EMPTY.as_ptr()
        } else {
            self.block.cast_const().wrapping_add(HEAD_WORDS)
        }
    }

    fn entries(&self) -> usize {
        self.bits.count_ones() as usize
    }

    /// Octets outside the cell.
    pub(crate) fn block_octets(&self) -> usize {
        if self.block.is_null() {
            0
        } else {
            (HEAD_WORDS + self.entries()) * size_of::<u32>()
        }
    }
}

/// Set bits below `bit`.
#[inline]
fn rank(bits: u64, bit: u32) -> usize {
    (bits & ((1 << bit) - 1)).count_ones() as usize
}

/// A block with the entries of `node`, but this one at a bit.
fn allocate_with(node: Node<'_>, bit: u32, entry: Entry) -> *mut u32 {
    debug_assert!(
        node.get(bit).is_none() || matches!(entry, Entry::Node(_)) && node.id(bit).is_some()
    );
    let at = rank(node.bits, bit);
    let start = allocate(node.bits | 1 << bit);
    // Past the one that gives way, if there is one.
    let rest = at + (node.bits >> bit & 1) as usize;
    let old = node.entry_words();
    // SAFETY: `at` and `rest` are not past the end of the old block, of which the new one has the
    // entries before `at` and those from `rest` on, and one between them. Each is written.
    unsafe {
        let new = start.add(HEAD_WORDS);
        ptr::copy_nonoverlapping(old, new, at);
        new.add(at).write(entry.word());
        ptr::copy_nonoverlapping(old.add(rest), new.add(at + 1), node.entries() - rest);
    }
    start
}

/// A block with the entries of `node` but the id at a bit; null where that leaves none.
fn allocate_without(node: Node<'_>, bit: u32) -> *mut u32 {
    debug_assert!(node.id(bit).is_some());
    let left = node.entries() - 1;
    if left == 0 {
        return ptr::null_mut();
    }
    let at = rank(node.bits, bit);
    let start = allocate(node.bits & !(1 << bit));
    let old = node.entry_words();
    // SAFETY: the old block has one entry more than the new, `at` is the place of one of the old,
    // and each entry of the new is written: those before `at`, those after.
    unsafe {
        let new = start.add(HEAD_WORDS);
        ptr::copy_nonoverlapping(old, new, at);
        ptr::copy_nonoverlapping(old.add(at + 1), new.add(at), left - at);
    }
    start
}

/// A block with these entries, of different bits.
fn allocate_of(entries: &[(u32, Entry)]) -> *mut u32 {
    let bits = entries.iter().fold(0, |bits, (bit, _)| bits | 1 << bit);
    let start = allocate(bits);
    assert_eq!(bits.count_ones() as usize, entries.len(), "one bit twice");
    for (bit, entry) in entries {
        // SAFETY: the block has one entry for each bit that is set, this one too, and each is
        // written, as no bit comes twice.
        unsafe {
            start.add(HEAD_WORDS + rank(bits, *bit)).write(entry.word());
        }
    }
    start
}

/// A block with this bitmap, its entries yet to be written.
fn allocate(bits: u64) -> *mut u32 {
    let length = HEAD_WORDS + bits.count_ones() as usize;
    debug_assert!(length <= MAX_WORDS);
    let layout = block_layout(length);
    // SAFETY: at least two words, so not of zero size.
    let start = unsafe { alloc(layout) }.cast::<u32>();
    if start.is_null() {
        handle_alloc_error(layout);
    }
    // SAFETY: the head was just allocated.
    unsafe {
        start.write(bits as u32);
        start.add(1).write((bits >> 32) as u32);
    }
    start
}

/// # Safety
/// Two words can be read there.
#[inline]
unsafe fn head_bits(head: *const u32) -> u64 {
    // SAFETY: the caller's contract.
    let (low, high) = unsafe { (*head, *head.add(1)) };
    u64::from(high) << 32 | u64::from(low)
}

/// # Safety
/// `block` was made by `allocate` and is not freed.
unsafe fn block_words(block: *mut u32) -> usize {
    // SAFETY: every block has a head, the bitmap, which says how many words follow.
    HEAD_WORDS + unsafe { head_bits(block) }.count_ones() as usize
}

fn block_layout(words: usize) -> Layout {
    Layout::array::<u32>(words).expect("at most MAX_WORDS")
}

/// # Safety
/// `block` was made by `allocate` and nobody refers to it any more.
unsafe fn free(block: *mut u32) {
    // SAFETY: the head is intact, since blocks are never written to, so the layout is the one that
    // `allocate` used.
    unsafe { dealloc(block.cast(), block_layout(block_words(block))) };
}
