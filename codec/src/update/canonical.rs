//! The canonical form of attributes: equal routes have equal octets.
//!
//! Attributes are sorted by code, their flags and lengths in one form, AS numbers four octets wide
//! with AS4_PATH and AS4_AGGREGATOR merged in (RFC 6793 §4.2.3), repeated community values gone,
//! unknown transitive attributes kept byte for byte and marked Partial, others gone (RFC 4271 §5).
//! A block that already is so, as most are, is copied in one piece.

use std::collections::BTreeSet;

use smallvec::SmallVec;

use super::{NlriField, Update};
use crate::as_path::{AsPath, AsPathSegment, SegmentKind, Width};
use crate::attribute::{RawAttribute, code, expected_flags, flags};
use crate::nlri::NextHop;
use crate::open::AS_TRANS;
use crate::prefix::Family;
use crate::writer::AttributeWriter;

impl Update<'_> {
    /// Appends the canonical form of the attributes of the plain IPv4 NLRI, or of the MP_REACH
    /// NLRI with MP_REACH_NLRI cut down to its next hop (RFC 6396 §4.3.4). An IPv4 next hop is
    /// always NEXT_HOP, however the route was carried.
    ///
    /// Means something only where the field announces prefixes and nothing is treated as
    /// withdrawn.
    pub fn canonical(&self, which: NlriField, out: &mut Vec<u8>) {
        if self.normal && which == NlriField::Plain {
            out.extend_from_slice(self.attributes.block());
            return;
        }
        let mut attributes: SmallVec<[RawAttribute<'_>; 16]> = self.attributes.iter().collect();
        let mut mp_next_hop = None;
        if which == NlriField::MpReach {
            attributes.retain(|attribute| attribute.code != code::NEXT_HOP);
            mp_next_hop = self.mp_announced.map(|reach| reach.next_hop);
            if let Some(next_hop) = &mp_next_hop {
                // A place in the order; the value comes from the next hop itself.
                attributes.push(RawAttribute {
                    flags: 0,
                    code: next_hop_code(next_hop),
                    value: &[],
                });
            }
        }
        attributes.sort_by_key(|attribute| attribute.code);

        let mut writer = AttributeWriter::new(out);
        for attribute in &attributes {
            match (attribute.code, mp_next_hop) {
                (code::NEXT_HOP, Some(NextHop::V4(address))) => writer.next_hop(address),
                (code::MP_REACH_NLRI, Some(next_hop)) => {
                    writer.mp_next_hop(Family::Ipv6Unicast, &next_hop);
                }
                (code::AS_PATH, _) if !self.four_octet_as => {
                    writer.raw(flags::TRANSITIVE, code::AS_PATH, &merged_path(&attributes));
                }
                (code::AGGREGATOR, _) if !self.four_octet_as => {
                    let flags = canonical_flags(attribute).unwrap_or(0);
                    writer.raw(flags, code::AGGREGATOR, &merged_aggregator(&attributes));
                }
                // RFC-DONE 6793 §4.2.3: AS4_PATH and AS4_AGGREGATOR of an old speaker are merged in.
                // Merged, or from a speaker that should not have sent them.
                (code::AS4_PATH | code::AS4_AGGREGATOR, _) => {}
                _ => write(attribute, &mut writer),
            }
        }
    }
}

/// Whether an attribute already is as [`write`] would leave it.
pub(super) fn is_normal(attribute: &RawAttribute<'_>) -> bool {
    let Some(mut expected) = canonical_flags(attribute) else {
        return false;
    };
    if attribute.value.len() > 255 {
        expected |= flags::EXTENDED_LENGTH;
    }
    attribute.flags == expected && !has_repeats(attribute)
}

fn next_hop_code(next_hop: &NextHop) -> u8 {
    match next_hop {
        NextHop::V4(_) => code::NEXT_HOP,
        NextHop::V6(_) | NextHop::V6WithLinkLocal(..) => code::MP_REACH_NLRI,
    }
}

/// The flags of an attribute that is kept, but for the length bit; `None` if it is not.
fn canonical_flags(attribute: &RawAttribute<'_>) -> Option<u8> {
    const OPTIONAL_TRANSITIVE: u8 = flags::OPTIONAL | flags::TRANSITIVE;
    match expected_flags(attribute.code) {
        // We cannot add to the accumulated metric; it stops here.
        Some(_) if attribute.code == code::AIGP => None,
        // RFC 4271 §4.3: Partial means something on optional transitive attributes only, and
        // once set it stays.
        Some(OPTIONAL_TRANSITIVE) => Some(OPTIONAL_TRANSITIVE | attribute.flags & flags::PARTIAL),
        Some(expected) => Some(expected),
        // RFC 4271 §5: an unknown one is passed on as it is, and marked only then.
        None if attribute.flags & flags::TRANSITIVE != 0 => {
            Some(OPTIONAL_TRANSITIVE | attribute.flags & flags::PARTIAL)
        }
        None => None,
    }
}

fn write(attribute: &RawAttribute<'_>, writer: &mut AttributeWriter<'_>) {
    let Some(flags) = canonical_flags(attribute) else {
        return;
    };
    if has_repeats(attribute) {
        writer.raw(flags, attribute.code, &without_repeats(attribute));
    } else {
        writer.raw(flags, attribute.code, attribute.value);
    }
}

/// The size of the values in an attribute that is a set of them.
fn entry_size(code: u8) -> Option<usize> {
    Some(match code {
        code::COMMUNITIES => 4,
        code::EXTENDED_COMMUNITIES => 8,
        code::LARGE_COMMUNITIES => 12,
        code::IPV6_EXTENDED_COMMUNITIES => 20,
        _ => return None,
    })
}

/// Whether a list of communities has a value twice (RFC 8092 §5: they count once).
fn has_repeats(attribute: &RawAttribute<'_>) -> bool {
    // RFC-DONE 8092 §3: A large community that stands twice counts once.
    match entry_size(attribute.code) {
        None => false,
        Some(4) => repeats::<4>(attribute.value),
        Some(8) => repeats::<8>(attribute.value),
        Some(12) => repeats::<12>(attribute.value),
        Some(_) => repeats::<20>(attribute.value),
    }
}

fn repeats<const N: usize>(value: &[u8]) -> bool {
    let (entries, _) = value.as_chunks::<N>();
    // Short lists, which nearly all are, need no sorting.
    if entries.len() <= 24 {
        let mut rest = entries;
        while let Some((first, after)) = rest.split_first() {
            if after.contains(first) {
                return true;
            }
            rest = after;
        }
        return false;
    }
    // Most lists are in ascending order already.
    if entries.is_sorted_by(|a, b| a < b) {
        return false;
    }
    let mut sorted = entries.to_vec();
    sorted.sort_unstable();
    !sorted.is_sorted_by(|a, b| a < b)
}

fn without_repeats(attribute: &RawAttribute<'_>) -> Vec<u8> {
    let size = entry_size(attribute.code).unwrap_or(1);
    let mut seen = BTreeSet::new();
    let entries = attribute.value.chunks_exact(size);
    entries
        .filter(|entry| seen.insert(*entry))
        .flatten()
        .copied()
        .collect()
}

type Value = SmallVec<[u8; 128]>;

fn value_of<'a>(attributes: &[RawAttribute<'a>], code: u8) -> Option<&'a [u8]> {
    let attribute = attributes.iter().find(|attribute| attribute.code == code)?;
    Some(attribute.value)
}

/// AGGREGATOR of a two-octet session in four octets (RFC 6793 §4.2.3).
fn merged_aggregator(attributes: &[RawAttribute<'_>]) -> SmallVec<[u8; 8]> {
    let narrow = value_of(attributes, code::AGGREGATOR).unwrap_or_default();
    match value_of(attributes, code::AS4_AGGREGATOR) {
        Some(wide) if is_as_trans(narrow) => SmallVec::from_slice(wide),
        _ => [0, 0].iter().chain(narrow).copied().collect(),
    }
}

/// AS_PATH of a two-octet session in four octets, with AS4_PATH merged in (RFC 6793 §4.2.3).
fn merged_path(attributes: &[RawAttribute<'_>]) -> Value {
    let narrow = value_of(attributes, code::AS_PATH).unwrap_or_default();
    let path = AsPath::with_width(narrow, Width::Two);
    let mut merged = Value::new();
    // An aggregator that knew only two octets has aggregated since; what AS4_PATH says is stale.
    let stale = value_of(attributes, code::AS4_AGGREGATOR).is_some()
        && value_of(attributes, code::AGGREGATOR).is_some_and(|value| !is_as_trans(value));
    let as4_path = value_of(attributes, code::AS4_PATH)
        .map(AsPath::new)
        .filter(|as4_path| !stale && as4_path.path_length() <= path.path_length());
    let Some(as4_path) = as4_path else {
        for segment in path.segments() {
            append(&segment, segment.len(), &mut merged);
        }
        return merged;
    };

    // What old speakers have put in front since.
    let mut missing = path.path_length() - as4_path.path_length();
    for segment in path.segments() {
        match segment.kind {
            SegmentKind::ConfedSequence | SegmentKind::ConfedSet => {
                append(&segment, segment.len(), &mut merged);
            }
            _ if missing == 0 => break,
            SegmentKind::Sequence => {
                let taken = segment.len().min(missing);
                append(&segment, taken, &mut merged);
                missing -= taken;
            }
            SegmentKind::Set => {
                append(&segment, segment.len(), &mut merged);
                missing -= 1;
            }
        }
    }
    // RFC 6793 §6: confederation segments have no place in AS4_PATH.
    let mut rest = as4_path
        .segments()
        .filter(|segment| !segment.kind.is_confed());
    if let Some(first) = rest.next() {
        join(&first, &mut merged);
        rest.for_each(|segment| append(&segment, segment.len(), &mut merged));
    }
    merged
}

fn is_as_trans(aggregator: &[u8]) -> bool {
    aggregator.starts_with(&(AS_TRANS as u16).to_be_bytes())
}

/// Appends the first `count` AS numbers of a segment as a segment.
fn append(segment: &AsPathSegment<'_>, count: usize, value: &mut Value) {
    value.extend_from_slice(&[segment.kind as u8, count as u8]);
    for asn in segment.asns().take(count) {
        value.extend_from_slice(&asn.to_be_bytes());
    }
}

/// Appends a segment; two sequences that together fit in one become one, as they were before old
/// speakers split them.
fn join(segment: &AsPathSegment<'_>, value: &mut Value) {
    let mut last = None;
    let mut at = 0;
    for earlier in AsPath::new(value).segments() {
        last = Some((at, earlier.kind, earlier.len()));
        at += 2 + 4 * earlier.len();
    }
    match last {
        Some((at, SegmentKind::Sequence, count))
            if segment.kind == SegmentKind::Sequence && count + segment.len() <= 255 =>
        {
            if let Some(octet) = value.get_mut(at + 1) {
                *octet = (count + segment.len()) as u8;
            }
            for asn in segment.asns() {
                value.extend_from_slice(&asn.to_be_bytes());
            }
        }
        _ => append(segment, segment.len(), value),
    }
}
