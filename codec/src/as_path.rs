//! AS paths as views over their octets.
//!
//! Read first: RFC 4271 §4.3 and §9.1.2.2, RFC 5065, RFC 6793, RFC 7606 §7.2, RFC 7607. An
//! [`AsPath`] never fails to be walked: over octets that do not parse, it just ends early.

use std::fmt::{self, Display};

use crate::wire::Reader;

/// The value of an AS_PATH attribute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AsPath<'a> {
    octets: &'a [u8],
    width: Width,
}

/// Octets in an AS number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Width {
    Two,
    #[default]
    Four,
}

impl Width {
    pub(crate) fn octets(self) -> usize {
        match self {
            Width::Two => 2,
            Width::Four => 4,
        }
    }
}

/// What the order of the AS numbers in a segment means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SegmentKind {
    /// AS_SET: unordered.
    Set = 1,
    /// AS_SEQUENCE: the latest AS first.
    Sequence = 2,
    /// AS_CONFED_SEQUENCE (RFC 5065).
    ConfedSequence = 3,
    /// AS_CONFED_SET (RFC 5065).
    ConfedSet = 4,
}

impl SegmentKind {
    fn from_octet(octet: u8) -> Option<SegmentKind> {
        Some(match octet {
            1 => SegmentKind::Set,
            2 => SegmentKind::Sequence,
            3 => SegmentKind::ConfedSequence,
            4 => SegmentKind::ConfedSet,
            _ => return None,
        })
    }

    /// Whether the segment stays within a confederation.
    pub fn is_confed(self) -> bool {
        matches!(self, SegmentKind::ConfedSequence | SegmentKind::ConfedSet)
    }
}

/// A segment of an AS path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsPathSegment<'a> {
    /// What it is.
    pub kind: SegmentKind,
    octets: &'a [u8],
    width: Width,
}

impl<'a> AsPathSegment<'a> {
    /// The AS numbers in the order of the wire.
    pub fn asns(&self) -> impl Iterator<Item = u32> + use<'a> {
        let width = self.width;
        self.octets.chunks_exact(width.octets()).map(move |octets| {
            // A two-octet number is a four-octet one whose upper half is zero.
            octets
                .iter()
                .fold(0, |asn, octet| asn << 8 | u32::from(*octet))
        })
    }

    /// How many AS numbers it has.
    pub fn len(&self) -> usize {
        self.octets.len() / self.width.octets()
    }

    /// Whether it has no AS number.
    pub fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// What the segment adds to the length of a path (RFC 4271 §9.1.2.2 a, RFC 5065 §5.3).
    pub(crate) fn path_length(&self) -> usize {
        match self.kind {
            SegmentKind::Sequence => self.len(),
            SegmentKind::Set => 1,
            SegmentKind::ConfedSequence | SegmentKind::ConfedSet => 0,
        }
    }
}

impl<'a> AsPath<'a> {
    /// The path in an attribute value with four-octet AS numbers.
    pub fn new(octets: &'a [u8]) -> AsPath<'a> {
        AsPath {
            octets,
            width: Width::Four,
        }
    }

    pub(crate) fn with_width(octets: &'a [u8], width: Width) -> AsPath<'a> {
        AsPath { octets, width }
    }

    /// The octets of the attribute value.
    pub fn octets(&self) -> &'a [u8] {
        self.octets
    }

    /// The segments in the order of the wire.
    pub fn segments(&self) -> impl Iterator<Item = AsPathSegment<'a>> + use<'a> {
        let mut reader = Reader::new(self.octets);
        let width = self.width;
        std::iter::from_fn(move || read_segment(&mut reader, width))
    }

    /// The AS numbers of all segments in the order of the wire.
    pub fn asns(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.segments().flat_map(|segment| segment.asns())
    }

    /// Whether the path is empty, as on routes of our own AS.
    pub fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// The length that best-path selection compares: a set counts 1, a confederation segment 0
    /// (RFC 4271 §9.1.2.2 a, RFC 5065 §5.3).
    // RFC-LEFT 5065 §4: There is no member role; confederation segments count 0 in a length.
    pub fn path_length(&self) -> usize {
        self.segments().map(|segment| segment.path_length()).sum()
    }

    /// Whether `asn` is anywhere in the path.
    pub fn contains(&self, asn: u32) -> bool {
        self.asns().any(|other| other == asn)
    }

    /// How often `asn` is in the path.
    pub fn count(&self, asn: u32) -> usize {
        self.asns().filter(|other| *other == asn).count()
    }

    /// The leftmost AS number of the first AS_SEQUENCE.
    pub fn first_as(&self) -> Option<u32> {
        self.segments()
            .find(|segment| segment.kind == SegmentKind::Sequence)
            .and_then(|segment| segment.asns().next())
    }

    /// The AS that the route was learned from, for comparing MEDs: the leftmost of an AS_SEQUENCE
    /// with nothing but confederation segments before it (RFC 4271 §9.1.2.2 c, RFC 5065 §5.3).
    pub fn neighbor_as(&self) -> Option<u32> {
        self.segments()
            .find(|segment| !segment.kind.is_confed())
            .filter(|segment| segment.kind == SegmentKind::Sequence)
            .and_then(|segment| segment.asns().next())
    }

    /// The AS that originated the route: the rightmost of a final AS_SEQUENCE.
    pub fn origin_as(&self) -> Option<u32> {
        self.segments()
            .last()
            .filter(|segment| segment.kind == SegmentKind::Sequence)
            .and_then(|segment| segment.asns().last())
    }

    /// Whether the path has an AS_SET or AS_CONFED_SET, which RFC 9774 deprecates.
    pub fn has_set(&self) -> bool {
        self.segments()
            .any(|segment| matches!(segment.kind, SegmentKind::Set | SegmentKind::ConfedSet))
    }

    /// Whether the path has a confederation segment.
    pub fn has_confed(&self) -> bool {
        self.segments().any(|segment| segment.kind.is_confed())
    }

    /// Whether some AS number does not fit in two octets.
    pub fn needs_four_octets(&self) -> bool {
        self.asns().any(|asn| asn > u32::from(u16::MAX))
    }

    /// What is wrong with the path, if anything (RFC 7606 §7.2, RFC 7607 §2).
    pub(crate) fn fault(&self, confed_allowed: bool) -> Option<&'static str> {
        let mut reader = Reader::new(self.octets);
        while !reader.is_empty() {
            let Some(segment) = read_segment(&mut reader, self.width) else {
                return Some("a segment is malformed");
            };
            if segment.is_empty() {
                return Some("a segment is empty");
            }
            if segment.kind.is_confed() && !confed_allowed {
                return Some("a confederation segment from outside (RFC 5065)");
            }
            // RFC-DONE 7607 §2: AS 0 in AS_PATH: the routes are withdrawn; elsewhere: the attribute is discarded.
            if segment.asns().any(|asn| asn == 0) {
                return Some("AS 0 in the path (RFC 7607)");
            }
        }
        None
    }
}

fn read_segment<'a>(reader: &mut Reader<'a>, width: Width) -> Option<AsPathSegment<'a>> {
    let kind = SegmentKind::from_octet(reader.u8()?)?;
    let count = usize::from(reader.u8()?);
    Some(AsPathSegment {
        kind,
        octets: reader.take(count * width.octets())?,
        width,
    })
}

/// `65001 {1 2}`; confederation segments as `(65001 65002)` and `[65001 65002]`.
impl Display for AsPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, segment) in self.segments().enumerate() {
            let (open, close) = match segment.kind {
                SegmentKind::Sequence => ("", ""),
                SegmentKind::Set => ("{", "}"),
                SegmentKind::ConfedSequence => ("(", ")"),
                SegmentKind::ConfedSet => ("[", "]"),
            };
            f.write_str(if index == 0 { "" } else { " " })?;
            f.write_str(open)?;
            for (index, asn) in segment.asns().enumerate() {
                let space = if index == 0 { "" } else { " " };
                write!(f, "{space}{asn}")?;
            }
            f.write_str(close)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &[u8] = &[
        3, 1, 0, 0, 0xfd, 0xf2, // (65010)
        2, 2, 0, 0, 0xfd, 0xea, 0, 3, 0x0d, 0x40, // 65002 200000
        1, 2, 0, 0, 0, 1, 0, 0, 0, 2, // {1 2}
    ];

    #[test]
    fn walks_and_words() {
        let path = AsPath::new(PATH);
        assert_eq!(path.to_string(), "(65010) 65002 200000 {1 2}");
        assert_eq!(path.path_length(), 3);
        assert_eq!(path.first_as(), Some(65002));
        assert_eq!(path.neighbor_as(), Some(65002));
        assert_eq!(path.origin_as(), None);
        assert!(path.contains(200_000) && path.contains(65010) && !path.contains(3));
        assert!(path.has_set() && path.has_confed() && path.needs_four_octets());
        assert_eq!(path.fault(true), None);
        assert!(path.fault(false).is_some());
        assert_eq!(AsPath::default().path_length(), 0);
        assert_eq!(AsPath::new(&PATH[16..]).neighbor_as(), None);
    }

    #[test]
    fn two_octet_paths() {
        let path = AsPath::with_width(&[2, 2, 0xfd, 0xea, 0x5b, 0xa0], Width::Two);
        assert_eq!(path.to_string(), "65002 23456");
        assert_eq!(path.origin_as(), Some(23456));
        assert_eq!(path.fault(false), None);
    }

    #[test]
    fn malformed_paths_end_early() {
        for octets in [
            &[2, 3, 0, 0, 0, 1][..],
            &[2],
            &[0, 1, 0, 0, 0, 1],
            &[5, 1, 0, 0, 0, 1],
            &[2, 0],
            &[2, 1, 0, 0, 0, 0],
        ] {
            assert!(AsPath::new(octets).fault(true).is_some(), "{octets:?}");
            assert!(AsPath::new(octets).path_length() <= 1);
        }
    }
}
