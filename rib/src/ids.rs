//! The numbers by which shards, prefixes, sources and attribute sets are known.
//!
//! Values only. Invariant: an [`AttributeId`] names the shard that owns it, so that nobody else
//! ever counts or frees it.

use std::fmt::{self, Display};

/// A set of shards, bit `n` for shard `n`.
pub type ShardMask = u64;

/// A shard of the instance, below [`ShardId::LIMIT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u8);

impl ShardId {
    /// Shards an instance can have: what a [`ShardMask`] can tell apart.
    pub const LIMIT: u8 = 64;

    /// The set of this shard alone.
    pub fn mask(self) -> ShardMask {
        1 << self.0
    }

    /// For arrays with one entry a shard.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// A prefix of one family that has, or had, a path. Dense from 0. An id may be given to another
/// prefix once its own has no path, no shard holds it any more, and every guard under which it could
/// be found is gone: see [`crate::RibWriter::reclaim`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PrefixId(pub u32);

impl PrefixId {
    /// For flat arrays over ids.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Whoever a path was learned from: a peer, or this speaker itself. Below [`SourceId::LIMIT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub u32);

impl SourceId {
    /// Sources there can be at once: a path packs its source into 24 bits.
    pub const LIMIT: u32 = 1 << 24;

    /// For flat arrays over sources.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// An interned attribute set: the owning shard in the upper 8 bits, its index in the lower 24.
///
/// The number may be given to other attributes once nothing refers to it and every guard that
/// could have seen it is gone; together with [`crate::Attributes::generation`] it is unique.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttributeId(u32);

impl AttributeId {
    /// Attribute sets that one shard can hold at once.
    pub const LIMIT: u32 = 1 << 24;

    pub(crate) fn new(shard: ShardId, index: u32) -> AttributeId {
        debug_assert!(index < AttributeId::LIMIT);
        AttributeId(u32::from(shard.0) << 24 | index)
    }

    pub(crate) fn from_bits(bits: u32) -> AttributeId {
        AttributeId(bits)
    }

    /// As one number, which no other set in use has.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// The shard that interned these attributes and alone may count and release them.
    pub fn shard(self) -> ShardId {
        ShardId((self.0 >> 24) as u8)
    }

    /// Its place among that shard's attribute sets; dense, and reused.
    pub fn index(self) -> u32 {
        self.0 & (AttributeId::LIMIT - 1)
    }
}

/// A table has no room for more. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The shard holds [`AttributeId::LIMIT`] attribute sets.
    Attributes,
    /// The family has had as many distinct prefixes as ids are kept for.
    Prefixes,
    /// The source has [`crate::PATHS_OF_SOURCE_MAX`] other paths to the prefix, none of them stale.
    Paths,
}

impl Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Full::Attributes => "the shard's attribute table is full",
            Full::Prefixes => "the family's prefix table is full",
            Full::Paths => "the source has too many paths to the prefix",
        })
    }
}

impl std::error::Error for Full {}
