//! One node of the trie: a cell whose content is an immutable block, replaced whole.
//!
//! A node spans five bits. Its block is `u32` words: a bitmap of the prefixes that end in it (bit
//! `1 << l | v` for the `l`-bit value `v`, `l` from 0 to 4), a bitmap of its 32 children, then the
//! id of each prefix and the number of each child, in the order of the bits. A null cell is a node
//! with nothing in it.
//!
//! Invariants: a published block is never written to; a block only ever gives way to one with the
//! same entries and one more, or one prefix less, by compare-and-swap on the cell, whose winner
//! retires it; a block is never empty. Children are *numbers* of cells that never move, not pointers
//! inside a block: replacing a block can therefore not lose what happens below it meanwhile. They
//! are never taken out, for the same reason.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::ptr;

use crate::epoch::Pinned;
use crate::segments::Zeroed;
use crate::sync::{AtomicPtr, Ordering};

/// Bits that a node spans.
pub(crate) const STRIDE: u8 = 5;

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

/// The content of a node at one moment: its bitmaps, and where its entries are.
#[derive(Clone, Copy)]
pub(crate) struct Node<'g> {
    block: *mut u32,
    prefixes: u32,
    children: u32,
    guard: PhantomData<&'g ()>,
}

/// One more entry for a node.
#[derive(Clone, Copy)]
pub(crate) enum Entry {
    /// The id of the prefix at this bit of the prefix bitmap.
    Prefix { bit: u32, id: u32 },
    /// The number of the child at this bit of the child bitmap.
    Child { bit: u32, node: u32 },
}

impl NodeCell {
    #[inline]
    pub(crate) fn load<'g>(&self, _: Pinned<'g>) -> Node<'g> {
        // Pairs with the release in `add`: the block is seen whole, and with it the prefix that was
        // stored for each id before the id was entered.
        let block = self.block.load(Ordering::Acquire);
        let head = if block.is_null() {
            EMPTY.as_ptr()
        } else {
            block.cast_const()
        };
        // SAFETY: a block that is not null was made by `allocate`, so it has a head of two words,
        // as `EMPTY` has; and the guard of `'g`, held while it was in the cell, keeps it from being
        // freed.
        let (prefixes, children) = unsafe { (*head, *head.add(1)) };
        Node {
            block,
            prefixes,
            children,
            guard: PhantomData,
        }
    }

    /// Adds an entry that `node` does not have. `false`: the cell no longer holds `node`.
    pub(crate) fn add(&self, node: Node<'_>, entry: Entry, pinned: Pinned<'_>) -> bool {
        self.replace(node, allocate_with(node, entry), pinned)
    }

    /// Takes out the prefix at a bit, which `node` has. `false`: the cell no longer holds `node`.
    pub(crate) fn remove(&self, node: Node<'_>, bit: u32, pinned: Pinned<'_>) -> bool {
        self.replace(node, allocate_without(node, bit), pinned)
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
        prefixes: 0,
        children: 0,
        guard: PhantomData,
    };

    /// The id of the prefix at a bit of the prefix bitmap.
    #[inline]
    pub(crate) fn prefix(&self, bit: u32) -> Option<u32> {
        (self.prefixes >> bit & 1 != 0).then(|| self.entry(rank(self.prefixes, bit)))
    }

    /// The number of the child at a bit of the child bitmap.
    #[inline]
    pub(crate) fn child(&self, bit: u32) -> Option<u32> {
        let before = self.prefixes.count_ones() as usize;
        (self.children >> bit & 1 != 0).then(|| self.entry(before + rank(self.children, bit)))
    }

    /// The entry at a place. Below the number of entries, or there is no such thing.
    #[inline]
    fn entry(&self, at: usize) -> u32 {
        debug_assert!(at < self.entries());
        // SAFETY: callers found a bit of a bitmap set, so the node is not empty, its block has one
        // word after the head for each bit that is set in the two bitmaps, and `at` counts some of
        // those without that bit. The block is readable for `'g` (see `load`).
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
        (self.prefixes.count_ones() + self.children.count_ones()) as usize
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
fn rank(bits: u32, bit: u32) -> usize {
    (bits & ((1 << bit) - 1)).count_ones() as usize
}

/// A block with the entries of `node` and one more.
fn allocate_with(node: Node<'_>, entry: Entry) -> *mut u32 {
    let (prefixes, children) = (node.prefixes, node.children);
    let (at, value, prefixes, children) = match entry {
        Entry::Prefix { bit, id } => {
            debug_assert!(bit < 32 && prefixes >> bit & 1 == 0);
            (rank(prefixes, bit), id, prefixes | 1 << bit, children)
        }
        Entry::Child { bit, node } => {
            debug_assert!(bit < 32 && children >> bit & 1 == 0);
            let at = prefixes.count_ones() as usize + rank(children, bit);
            (at, node, prefixes, children | 1 << bit)
        }
    };
    let start = allocate(prefixes, children, node.entries() + 1);
    let old = node.entry_words();
    // SAFETY: the new block has one entry more than the old, `at` is not past the end of the old,
    // and each entry is written: those before `at`, the new one, those after.
    unsafe {
        let new = start.add(HEAD_WORDS);
        ptr::copy_nonoverlapping(old, new, at);
        new.add(at).write(value);
        ptr::copy_nonoverlapping(old.add(at), new.add(at + 1), node.entries() - at);
    }
    start
}

/// A block with the entries of `node` but the prefix at a bit; null where that leaves none.
fn allocate_without(node: Node<'_>, bit: u32) -> *mut u32 {
    debug_assert!(bit < 32 && node.prefixes >> bit & 1 != 0);
    let left = node.entries() - 1;
    if left == 0 {
        return ptr::null_mut();
    }
    let at = rank(node.prefixes, bit);
    let start = allocate(node.prefixes & !(1 << bit), node.children, left);
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

/// A block with these bitmaps and so many entries, yet to be written.
fn allocate(prefixes: u32, children: u32, entries: usize) -> *mut u32 {
    debug_assert_eq!(
        entries,
        (prefixes.count_ones() + children.count_ones()) as usize
    );
    let length = HEAD_WORDS + entries;
    debug_assert!(length <= MAX_WORDS);
    let layout = block_layout(length);
    // SAFETY: at least two words, so not of zero size.
    let start = unsafe { alloc(layout) }.cast::<u32>();
    if start.is_null() {
        handle_alloc_error(layout);
    }
    // SAFETY: the head was just allocated.
    unsafe {
        start.write(prefixes);
        start.add(1).write(children);
    }
    start
}

/// # Safety
/// `block` was made by `allocate` and is not freed.
unsafe fn block_words(block: *mut u32) -> usize {
    // SAFETY: every block has a head of two bitmaps, which say how many words follow.
    let (prefixes, children) = unsafe { (*block, *block.add(1)) };
    HEAD_WORDS + (prefixes.count_ones() + children.count_ones()) as usize
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
