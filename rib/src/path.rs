//! A path to a prefix: who said it, with which attributes, and what stands against it.
//!
//! Values only; how they are packed into words is the business of `slot`.

use std::marker::PhantomData;
use std::ops::{BitOr, Deref};

use smallvec::SmallVec;

use crate::ids::{AttributeId, SourceId};

/// Paths to one prefix that are kept of one source (RFC 7911). Past it, a path with a new path id takes
/// the place of a stale one, or is not taken.
pub const PATHS_OF_SOURCE_MAX: usize = 256;

/// One path of a prefix. A prefix has at most one for each (source, path id), and of one source at
/// most [`PATHS_OF_SOURCE_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// The attributes, interned by the shard that owns the source.
    pub attributes: AttributeId,
    /// Where it was learned.
    pub source: SourceId,
    /// The path identifier that the source gave it (RFC 7911), 0 without ADD-PATH.
    pub path_id: u32,
    /// What else is known of it.
    pub flags: PathFlags,
}

impl Path {
    /// What makes a path the same path as another, whatever it says.
    pub(crate) fn key(&self) -> (SourceId, u32) {
        (self.source, self.path_id)
    }

    /// Whether it may be the best path.
    pub fn is_usable(&self) -> bool {
        !self.flags.contains(PathFlags::REJECTED)
    }

    /// Whether export would tell the two apart: source, path id or attributes differ.
    pub(crate) fn same_route(&self, other: &Path) -> bool {
        self.key() == other.key()
            && self.attributes == other.attributes
            && self.flags.rules() == other.flags.rules()
    }
}

/// Marks on a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PathFlags(u8);

impl PathFlags {
    /// No mark.
    pub const NONE: PathFlags = PathFlags(0);
    /// Import policy or a check refused it: kept in the Adj-RIB-In, never the best path.
    pub const REJECTED: PathFlags = PathFlags(1);
    /// Kept over a restart of its peer (RFC 4724 §4.2).
    pub const STALE: PathFlags = PathFlags(2);
    /// Originated by this speaker; beats every learned path.
    pub const LOCAL: PathFlags = PathFlags(4);
    /// It came with a path identifier, which may be 0 (RFC 7911).
    pub const IDENTIFIED: PathFlags = PathFlags(8);

    const RULES: u8 = 0x70;

    /// Of what kinds the rules are that ask for an own path: three bits, which export may tell
    /// apart.
    pub fn of_rules(kinds: u8) -> PathFlags {
        PathFlags(kinds << 4 & PathFlags::RULES)
    }

    /// The bits that [`PathFlags::of_rules`] was given.
    pub fn rules(self) -> u8 {
        (self.0 & PathFlags::RULES) >> 4
    }

    /// Bits that a packed path has room for.
    pub(crate) const MASK: u8 = 0x7f;

    pub(crate) fn from_bits(bits: u8) -> PathFlags {
        PathFlags(bits & PathFlags::MASK)
    }

    pub(crate) fn bits(self) -> u8 {
        self.0
    }

    /// Whether every mark of `other` is set.
    pub fn contains(self, other: PathFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// These marks and those of `other`.
    pub fn with(self, other: PathFlags) -> PathFlags {
        PathFlags(self.0 | other.0)
    }

    /// These marks without those of `other`.
    pub fn without(self, other: PathFlags) -> PathFlags {
        PathFlags(self.0 & !other.0)
    }
}

impl BitOr for PathFlags {
    type Output = PathFlags;

    fn bitor(self, other: PathFlags) -> PathFlags {
        self.with(other)
    }
}

/// Paths on their way in or out of a slot: few, so on the stack.
pub(crate) type PathBuffer = SmallVec<[Path; 12]>;

/// All paths of a prefix at one moment, ordered by (source, path id), and which of them is best.
///
/// Their attributes can be read as long as the guard is held that this was read under.
#[derive(Clone, Debug)]
pub struct Paths<'g> {
    pub(crate) paths: PathBuffer,
    pub(crate) best: Option<Path>,
    pub(crate) guard: PhantomData<&'g ()>,
}

impl Paths<'_> {
    /// The best of them; `None` if none is usable.
    pub fn best(&self) -> Option<Path> {
        self.best
    }
}

impl Deref for Paths<'_> {
    type Target = [Path];

    fn deref(&self) -> &[Path] {
        &self.paths
    }
}
