//! Writing path attributes.
//!
//! [`AttributeWriter`] appends well-formed attributes to a caller's buffer, with the flags that
//! their RFCs ask for. The caller keeps the codes in ascending order (RFC 4271 §5).

use std::net::Ipv4Addr;

use crate::as_path::{AsPath, SegmentKind, Width};
use crate::attribute::{Aggregator, Origin, RawAttribute, code, expected_flags, flags};
use crate::nlri::NextHop;
use crate::open::AS_TRANS;
use crate::prefix::Family;

/// Appends attributes to a buffer.
///
/// A value that passes 65535 octets cannot be written: it is left out, and
/// [`AttributeWriter::overflowed`] says so; the route then must not be sent.
#[derive(Debug)]
pub struct AttributeWriter<'o> {
    out: &'o mut Vec<u8>,
    overflowed: bool,
}

impl<'o> AttributeWriter<'o> {
    /// Writes behind what `out` already holds.
    pub fn new(out: &'o mut Vec<u8>) -> AttributeWriter<'o> {
        AttributeWriter {
            out,
            overflowed: false,
        }
    }

    /// Whether an attribute was left out because its value passed 65535 octets.
    pub fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// ORIGIN.
    pub fn origin(&mut self, origin: Origin) {
        self.known(code::ORIGIN, &[origin as u8]);
    }

    /// AS_PATH: `path` behind the AS numbers of `prepend`, the first of which ends up leftmost
    /// (RFC 4271 §5.1.2 b). Without `four_octet`, numbers that need four octets become AS_TRANS,
    /// and [`AttributeWriter::as4_path`] is owed.
    pub fn as_path(&mut self, path: &AsPath<'_>, prepend: &[u32], four_octet: bool) {
        let width = if four_octet { Width::Four } else { Width::Two };
        self.deferred(code::AS_PATH, |out| {
            append_path(path, prepend, width, true, out);
        });
    }

    /// AS_PATH without any AS, as for routes of our own toward internal peers.
    pub fn empty_as_path(&mut self) {
        self.known(code::AS_PATH, &[]);
    }

    /// AS4_PATH for the same arguments as [`AttributeWriter::as_path`], if any AS number needs it;
    /// without confederation segments (RFC 6793 §3).
    pub fn as4_path(&mut self, path: &AsPath<'_>, prepend: &[u32]) {
        let wide = |asn: &u32| *asn > u32::from(u16::MAX);
        if prepend.iter().any(wide) || path.needs_four_octets() {
            self.deferred(code::AS4_PATH, |out| {
                append_path(path, prepend, Width::Four, false, out);
            });
        }
    }

    /// NEXT_HOP.
    pub fn next_hop(&mut self, next_hop: Ipv4Addr) {
        self.known(code::NEXT_HOP, &next_hop.octets());
    }

    /// The next hop of a family that is carried in MP_REACH_NLRI, in the short form of canonical
    /// blocks (RFC 6396 §4.3.4). It never goes to a peer like this: see
    /// [`encode_mp_update`](crate::encode_mp_update).
    pub fn mp_next_hop(&mut self, _family: Family, next_hop: &NextHop) {
        self.deferred(code::MP_REACH_NLRI, |out| {
            out.push(next_hop.wire_len() as u8);
            next_hop.encode(out);
        });
    }

    /// MULTI_EXIT_DISC.
    pub fn med(&mut self, med: u32) {
        self.known(code::MED, &med.to_be_bytes());
    }

    /// LOCAL_PREF.
    pub fn local_pref(&mut self, local_pref: u32) {
        self.known(code::LOCAL_PREF, &local_pref.to_be_bytes());
    }

    /// ATOMIC_AGGREGATE.
    pub fn atomic_aggregate(&mut self) {
        self.known(code::ATOMIC_AGGREGATE, &[]);
    }

    /// AGGREGATOR. Without `four_octet`, a number that needs four octets becomes AS_TRANS, and
    /// [`AttributeWriter::as4_aggregator`] is owed.
    pub fn aggregator(&mut self, aggregator: &Aggregator, four_octet: bool) {
        self.deferred(code::AGGREGATOR, |out| {
            let width = if four_octet { Width::Four } else { Width::Two };
            append_asn(aggregator.asn, width, out);
            out.extend_from_slice(&aggregator.identifier.octets());
        });
    }

    /// AS4_AGGREGATOR, if the AS number needs it.
    pub fn as4_aggregator(&mut self, aggregator: &Aggregator) {
        if aggregator.asn > u32::from(u16::MAX) {
            self.deferred(code::AS4_AGGREGATOR, |out| {
                append_asn(aggregator.asn, Width::Four, out);
                out.extend_from_slice(&aggregator.identifier.octets());
            });
        }
    }

    /// COMMUNITIES; nothing if there are none.
    pub fn communities(&mut self, communities: &[u32]) {
        self.list(code::COMMUNITIES, communities, |community, out| {
            out.extend_from_slice(&community.to_be_bytes());
        });
    }

    /// EXTENDED COMMUNITIES; nothing if there are none.
    pub fn extended_communities(&mut self, communities: &[[u8; 8]]) {
        self.list(code::EXTENDED_COMMUNITIES, communities, |community, out| {
            out.extend_from_slice(community);
        });
    }

    /// LARGE_COMMUNITY; nothing if there are none.
    pub fn large_communities(&mut self, communities: &[[u32; 3]]) {
        self.list(code::LARGE_COMMUNITIES, communities, |community, out| {
            for part in community {
                out.extend_from_slice(&part.to_be_bytes());
            }
        });
    }

    /// ORIGINATOR_ID.
    pub fn originator_id(&mut self, identifier: Ipv4Addr) {
        self.known(code::ORIGINATOR_ID, &identifier.octets());
    }

    /// CLUSTER_LIST, the latest cluster first; nothing if there is none.
    pub fn cluster_list(&mut self, clusters: &[Ipv4Addr]) {
        self.list(code::CLUSTER_LIST, clusters, |cluster, out| {
            out.extend_from_slice(&cluster.octets());
        });
    }

    /// Only to Customer.
    pub fn otc(&mut self, asn: u32) {
        self.known(code::ONLY_TO_CUSTOMER, &asn.to_be_bytes());
    }

    /// Any attribute as it is; the Extended Length bit follows the length.
    pub fn raw(&mut self, flags: u8, code: u8, value: &[u8]) {
        if value.len() > usize::from(u16::MAX) {
            self.overflowed = true;
            return;
        }
        RawAttribute { flags, code, value }.encode(self.out);
    }

    fn known(&mut self, code: u8, value: &[u8]) {
        self.raw(expected_flags(code).unwrap_or(0), code, value);
    }

    fn list<T>(&mut self, code: u8, entries: &[T], append: impl Fn(&T, &mut Vec<u8>)) {
        if !entries.is_empty() {
            self.deferred(code, |out| {
                for entry in entries {
                    append(entry, out);
                }
            });
        }
    }

    /// Writes a value in place and its header once the length is known.
    fn deferred(&mut self, code: u8, append: impl FnOnce(&mut Vec<u8>)) {
        let flags = expected_flags(code).unwrap_or(0);
        let start = self.out.len();
        self.out.extend_from_slice(&[flags, code, 0]);
        append(self.out);
        let length = self.out.len() - start - 3;
        if let Ok(length) = u8::try_from(length) {
            if let Some(octet) = self.out.get_mut(start + 2) {
                *octet = length;
            }
        } else if let Ok(length) = u16::try_from(length) {
            let [high, low] = length.to_be_bytes();
            let header = [flags | flags::EXTENDED_LENGTH, code, high, low];
            self.out.splice(start..start + 3, header);
        } else {
            self.out.truncate(start);
            self.overflowed = true;
        }
    }
}

/// Appends the value of an AS_PATH: `prepend`, then `path`, numbers in `width`.
fn append_path(path: &AsPath<'_>, prepend: &[u32], width: Width, confed: bool, out: &mut Vec<u8>) {
    let mut segments = path
        .segments()
        .filter(|segment| confed || !segment.kind.is_confed())
        .peekable();
    // RFC 4271 §5.1.2 b: our numbers join the first AS_SEQUENCE where it has room, and where a
    // path holds none or begins with a set they form one of their own.
    let joined = segments.next_if(|segment| {
        segment.kind == SegmentKind::Sequence && segment.len() + prepend.len() <= MAX_SEGMENT
    });
    if let Some(segment) = joined {
        let count = segment.len() + prepend.len();
        out.extend_from_slice(&[SegmentKind::Sequence as u8, count as u8]);
        for asn in prepend.iter().copied().chain(segment.asns()) {
            append_asn(asn, width, out);
        }
    } else {
        for part in prepend.chunks(MAX_SEGMENT) {
            out.extend_from_slice(&[SegmentKind::Sequence as u8, part.len() as u8]);
            for asn in part {
                append_asn(*asn, width, out);
            }
        }
    }
    for segment in segments {
        out.extend_from_slice(&[segment.kind as u8, segment.len() as u8]);
        for asn in segment.asns() {
            append_asn(asn, width, out);
        }
    }
}

fn append_asn(asn: u32, width: Width, out: &mut Vec<u8>) {
    match width {
        Width::Four => out.extend_from_slice(&asn.to_be_bytes()),
        Width::Two => {
            let asn = u16::try_from(asn).unwrap_or(AS_TRANS as u16);
            out.extend_from_slice(&asn.to_be_bytes());
        }
    }
}

/// AS numbers that one segment can hold.
const MAX_SEGMENT: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AttributeSet;

    fn path_octets(asns: &[u32]) -> Vec<u8> {
        let mut out = Vec::new();
        append_path(&AsPath::default(), asns, Width::Four, true, &mut out);
        out
    }

    #[test]
    fn reads_back_as_written() {
        let path = path_octets(&[65002, 200_000]);
        let mut out = Vec::new();
        let mut writer = AttributeWriter::new(&mut out);
        writer.origin(Origin::Egp);
        writer.as_path(&AsPath::new(&path), &[65001, 65001], true);
        writer.next_hop(Ipv4Addr::new(192, 0, 2, 1));
        writer.med(7);
        writer.local_pref(200);
        writer.atomic_aggregate();
        let aggregator = Aggregator {
            asn: 200_000,
            identifier: Ipv4Addr::new(1, 2, 3, 4),
        };
        writer.aggregator(&aggregator, true);
        writer.communities(&[1, 2]);
        writer.originator_id(Ipv4Addr::new(9, 9, 9, 9));
        writer.cluster_list(&[Ipv4Addr::new(8, 8, 8, 8)]);
        writer.extended_communities(&[[1; 8]]);
        writer.large_communities(&[[1, 2, 3]]);
        writer.otc(65002);
        writer.raw(0xe0, 99, &[1, 2]);
        assert!(!writer.overflowed());

        let set = AttributeSet::new(&out);
        assert!(set.iter().map(|a| a.code).is_sorted());
        assert_eq!(set.origin(), Some(Origin::Egp));
        assert_eq!(set.as_path().to_string(), "65001 65001 65002 200000");
        assert_eq!(
            set.next_hop(),
            Some(NextHop::V4(Ipv4Addr::new(192, 0, 2, 1)))
        );
        assert_eq!((set.med(), set.local_pref()), (Some(7), Some(200)));
        assert!(set.atomic_aggregate());
        assert_eq!(set.aggregator(), Some(aggregator));
        assert_eq!(set.communities().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(set.originator_id(), Some(Ipv4Addr::new(9, 9, 9, 9)));
        assert_eq!(set.cluster_list().count(), 1);
        assert_eq!(set.extended_communities().collect::<Vec<_>>(), [[1; 8]]);
        assert_eq!(set.large_communities().collect::<Vec<_>>(), [[1, 2, 3]]);
        assert_eq!(set.otc(), Some(65002));
        assert_eq!(set.unknown().map(|a| a.flags).collect::<Vec<_>>(), [0xe0]);
    }

    // RFC-SHOWN 6793 §4.2.2
    #[test]
    fn two_octet_peers_get_as_trans_and_as4_path() {
        let path = path_octets(&[65002]);
        let mut out = Vec::new();
        let mut writer = AttributeWriter::new(&mut out);
        writer.as_path(&AsPath::new(&path), &[200_000], false);
        writer.as4_path(&AsPath::new(&path), &[200_000]);
        let set = AttributeSet::new(&out);
        assert_eq!(
            set.get(code::AS_PATH).unwrap().value,
            [2, 2, 0x5b, 0xa0, 0xfd, 0xea]
        );
        let as4_path = set.get(code::AS4_PATH).unwrap();
        assert_eq!(AsPath::new(as4_path.value).to_string(), "200000 65002");
        let mut out = Vec::new();
        AttributeWriter::new(&mut out).as4_path(&AsPath::new(&path), &[65001]);
        assert!(out.is_empty());
    }

    #[test]
    fn prepending_to_full_segments_and_sets() {
        let full = path_octets(&[1; 255]);
        let mut out = Vec::new();
        AttributeWriter::new(&mut out).as_path(&AsPath::new(&full), &[2], true);
        let path = AttributeSet::new(&out).as_path();
        assert_eq!(
            path.segments().map(|s| s.len()).collect::<Vec<_>>(),
            [1, 255]
        );

        let set = [1, 1, 0, 0, 0, 9];
        let mut out = Vec::new();
        AttributeWriter::new(&mut out).as_path(&AsPath::new(&set), &[2], true);
        assert_eq!(AttributeSet::new(&out).as_path().to_string(), "2 {9}");
        let mut out = Vec::new();
        AttributeWriter::new(&mut out).as_path(&AsPath::new(&set), &[], true);
        assert_eq!(AttributeSet::new(&out).as_path().to_string(), "{9}");
    }

    #[test]
    fn a_value_that_cannot_be_written_is_left_out() {
        let mut out = Vec::new();
        let mut writer = AttributeWriter::new(&mut out);
        writer.communities(&vec![1; 16_384]);
        assert!(writer.overflowed() && out.is_empty());
    }
}
