//! Path attributes: their codes, their flags, and views over attribute blocks.
//!
//! Read first: RFC 4271 §4.3 and §5, and RFC 6396 §4.3.4 for the short form of MP_REACH_NLRI that
//! canonical blocks use. A view never allocates and never panics; over octets that do not parse it
//! ends early, and a value of the wrong length reads as absent.

use std::net::Ipv4Addr;

use crate::as_path::AsPath;
use crate::nlri::NextHop;
use crate::wire::Reader;

/// Attribute type codes.
pub mod code {
    /// ORIGIN.
    pub const ORIGIN: u8 = 1;
    /// AS_PATH.
    pub const AS_PATH: u8 = 2;
    /// NEXT_HOP.
    pub const NEXT_HOP: u8 = 3;
    /// MULTI_EXIT_DISC.
    pub const MED: u8 = 4;
    /// LOCAL_PREF.
    pub const LOCAL_PREF: u8 = 5;
    /// ATOMIC_AGGREGATE.
    pub const ATOMIC_AGGREGATE: u8 = 6;
    /// AGGREGATOR.
    pub const AGGREGATOR: u8 = 7;
    /// COMMUNITIES (RFC 1997).
    pub const COMMUNITIES: u8 = 8;
    /// ORIGINATOR_ID (RFC 4456).
    pub const ORIGINATOR_ID: u8 = 9;
    /// CLUSTER_LIST (RFC 4456).
    pub const CLUSTER_LIST: u8 = 10;
    /// MP_REACH_NLRI (RFC 4760).
    pub const MP_REACH_NLRI: u8 = 14;
    /// MP_UNREACH_NLRI (RFC 4760).
    pub const MP_UNREACH_NLRI: u8 = 15;
    /// EXTENDED COMMUNITIES (RFC 4360).
    pub const EXTENDED_COMMUNITIES: u8 = 16;
    /// AS4_PATH (RFC 6793).
    pub const AS4_PATH: u8 = 17;
    /// AS4_AGGREGATOR (RFC 6793).
    pub const AS4_AGGREGATOR: u8 = 18;
    /// IPv6 Address Specific Extended Community (RFC 5701).
    pub const IPV6_EXTENDED_COMMUNITIES: u8 = 25;
    /// AIGP (RFC 7311).
    pub const AIGP: u8 = 26;
    /// LARGE_COMMUNITY (RFC 8092).
    pub const LARGE_COMMUNITIES: u8 = 32;
    /// Only to Customer (RFC 9234).
    pub const ONLY_TO_CUSTOMER: u8 = 35;
    /// BGP Prefix-SID (RFC 8669).
    pub const PREFIX_SID: u8 = 40;

    /// What an attribute is called, if it is known here.
    pub fn name(code: u8) -> Option<&'static str> {
        Some(match code {
            ORIGIN => "ORIGIN",
            AS_PATH => "AS_PATH",
            NEXT_HOP => "NEXT_HOP",
            MED => "MULTI_EXIT_DISC",
            LOCAL_PREF => "LOCAL_PREF",
            ATOMIC_AGGREGATE => "ATOMIC_AGGREGATE",
            AGGREGATOR => "AGGREGATOR",
            COMMUNITIES => "COMMUNITIES",
            ORIGINATOR_ID => "ORIGINATOR_ID",
            CLUSTER_LIST => "CLUSTER_LIST",
            MP_REACH_NLRI => "MP_REACH_NLRI",
            MP_UNREACH_NLRI => "MP_UNREACH_NLRI",
            EXTENDED_COMMUNITIES => "EXTENDED_COMMUNITIES",
            AS4_PATH => "AS4_PATH",
            AS4_AGGREGATOR => "AS4_AGGREGATOR",
            IPV6_EXTENDED_COMMUNITIES => "IPV6_EXTENDED_COMMUNITIES",
            AIGP => "AIGP",
            LARGE_COMMUNITIES => "LARGE_COMMUNITY",
            ONLY_TO_CUSTOMER => "ONLY_TO_CUSTOMER",
            PREFIX_SID => "PREFIX_SID",
            _ => return None,
        })
    }
}

/// Bits of the attribute flags octet (RFC 4271 §4.3).
pub mod flags {
    /// Optional, that is, not well-known.
    pub const OPTIONAL: u8 = 0x80;
    /// Passed on by those who do not know it.
    pub const TRANSITIVE: u8 = 0x40;
    /// Somebody on the way did not know it.
    pub const PARTIAL: u8 = 0x20;
    /// The length has two octets.
    pub const EXTENDED_LENGTH: u8 = 0x10;
}

/// One path attribute as it stands in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RawAttribute<'a> {
    /// The bits of [`flags`].
    pub flags: u8,
    /// The type code.
    pub code: u8,
    /// The value, without its length.
    pub value: &'a [u8],
}

impl<'a> RawAttribute<'a> {
    /// Reads one attribute; `None` if it overruns the block.
    pub(crate) fn read(reader: &mut Reader<'a>) -> Option<RawAttribute<'a>> {
        let [flags, code] = reader.array()?;
        let value = if flags & flags::EXTENDED_LENGTH != 0 {
            reader.u16_prefixed()?
        } else {
            reader.u8_prefixed()?
        };
        Some(RawAttribute { flags, code, value })
    }

    /// Whether this crate has a name for it, and so knows its flags.
    pub fn is_known(&self) -> bool {
        expected_flags(self.code).is_some()
    }

    /// Octets that it takes with its flags, code and length.
    pub fn wire_len(&self) -> usize {
        let long = self.flags & flags::EXTENDED_LENGTH != 0;
        (if long { 4 } else { 3 }) + self.value.len()
    }

    /// Appends the attribute, the length in as few octets as it takes; the other flags stay.
    ///
    /// # Panics
    /// If the value is longer than 65535 octets.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let flags = self.flags & !flags::EXTENDED_LENGTH;
        match u8::try_from(self.value.len()) {
            Ok(length) => out.extend_from_slice(&[flags, self.code, length]),
            Err(_) => {
                let length = self.value.len();
                assert!(length <= usize::from(u16::MAX), "value of {length} octets");
                out.extend_from_slice(&[flags | flags::EXTENDED_LENGTH, self.code]);
                out.extend_from_slice(&(length as u16).to_be_bytes());
            }
        }
        out.extend_from_slice(self.value);
    }
}

/// The Optional and Transitive bits that a known attribute must have; `None` for unknown codes.
pub(crate) fn expected_flags(code: u8) -> Option<u8> {
    use code::*;
    const WELL_KNOWN: u8 = flags::TRANSITIVE;
    const NON_TRANSITIVE: u8 = flags::OPTIONAL;
    const TRANSITIVE: u8 = flags::OPTIONAL | flags::TRANSITIVE;
    Some(match code {
        ORIGIN | AS_PATH | NEXT_HOP | LOCAL_PREF | ATOMIC_AGGREGATE => WELL_KNOWN,
        MED | ORIGINATOR_ID | CLUSTER_LIST | MP_REACH_NLRI | MP_UNREACH_NLRI | AIGP => {
            NON_TRANSITIVE
        }
        AGGREGATOR
        | COMMUNITIES
        | EXTENDED_COMMUNITIES
        | AS4_PATH
        | AS4_AGGREGATOR
        | IPV6_EXTENDED_COMMUNITIES
        | LARGE_COMMUNITIES
        | ONLY_TO_CUSTOMER
        | PREFIX_SID => TRANSITIVE,
        _ => return None,
    })
}

/// The ORIGIN of a route; lower is preferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// Interior to the originating AS.
    Igp = 0,
    /// Learned by EGP.
    Egp = 1,
    /// Learned by some other means.
    Incomplete = 2,
}

impl Origin {
    /// The origin of a wire value.
    pub fn from_octet(octet: u8) -> Option<Origin> {
        Some(match octet {
            0 => Origin::Igp,
            1 => Origin::Egp,
            2 => Origin::Incomplete,
            _ => return None,
        })
    }
}

/// Who aggregated a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Aggregator {
    /// Its AS.
    pub asn: u32,
    /// Its BGP identifier.
    pub identifier: Ipv4Addr,
}

/// A view over a block of attributes with four-octet AS numbers, as [`Update::canonical`] and
/// [`AttributeWriter`] make them.
///
/// [`Update::canonical`]: crate::Update::canonical
/// [`AttributeWriter`]: crate::AttributeWriter
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AttributeSet<'a>(&'a [u8]);

impl<'a> AttributeSet<'a> {
    /// The view. The octets are trusted to be well formed; others are read as far as they go.
    pub fn new(octets: &'a [u8]) -> AttributeSet<'a> {
        AttributeSet(octets)
    }

    /// The octets of the block.
    pub fn octets(&self) -> &'a [u8] {
        self.0
    }

    /// The attributes in the order of the block.
    pub fn iter(&self) -> impl Iterator<Item = RawAttribute<'a>> + Clone + use<'a> {
        RawAttributes(Reader::new(self.0))
    }

    /// The first attribute with `code`.
    pub fn get(&self, code: u8) -> Option<RawAttribute<'a>> {
        self.iter().find(|attribute| attribute.code == code)
    }

    /// ORIGIN.
    pub fn origin(&self) -> Option<Origin> {
        let [octet] = self.fixed(code::ORIGIN)?;
        Origin::from_octet(octet)
    }

    /// AS_PATH; an absent one reads as empty.
    pub fn as_path(&self) -> AsPath<'a> {
        self.get(code::AS_PATH)
            .map(|attribute| AsPath::new(attribute.value))
            .unwrap_or_default()
    }

    /// The next hop, from NEXT_HOP or the short form of MP_REACH_NLRI.
    pub fn next_hop(&self) -> Option<NextHop> {
        self.iter().find_map(|attribute| match attribute.code {
            code::NEXT_HOP => NextHop::parse(attribute.value),
            code::MP_REACH_NLRI => {
                let (length, next_hop) = attribute.value.split_first()?;
                NextHop::parse(next_hop.get(..usize::from(*length))?)
            }
            _ => None,
        })
    }

    /// MULTI_EXIT_DISC.
    pub fn med(&self) -> Option<u32> {
        self.fixed(code::MED).map(u32::from_be_bytes)
    }

    /// LOCAL_PREF.
    pub fn local_pref(&self) -> Option<u32> {
        self.fixed(code::LOCAL_PREF).map(u32::from_be_bytes)
    }

    /// Whether ATOMIC_AGGREGATE is there.
    pub fn atomic_aggregate(&self) -> bool {
        self.get(code::ATOMIC_AGGREGATE).is_some()
    }

    /// AGGREGATOR.
    pub fn aggregator(&self) -> Option<Aggregator> {
        let [a, b, c, d, identifier @ ..] = self.fixed::<8>(code::AGGREGATOR)?;
        Some(Aggregator {
            asn: u32::from_be_bytes([a, b, c, d]),
            identifier: Ipv4Addr::from(identifier),
        })
    }

    /// COMMUNITIES.
    pub fn communities(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.entries(code::COMMUNITIES).map(u32::from_be_bytes)
    }

    /// LARGE_COMMUNITY: global administrator and two local parts.
    pub fn large_communities(&self) -> impl Iterator<Item = [u32; 3]> + use<'a> {
        self.entries::<12>(code::LARGE_COMMUNITIES)
            .map(|[a, b, c, d, e, f, g, h, i, j, k, l]| {
                [[a, b, c, d], [e, f, g, h], [i, j, k, l]].map(u32::from_be_bytes)
            })
    }

    /// EXTENDED COMMUNITIES.
    pub fn extended_communities(&self) -> impl Iterator<Item = [u8; 8]> + use<'a> {
        self.entries(code::EXTENDED_COMMUNITIES)
    }

    /// IPv6 EXTENDED COMMUNITIES (RFC 5701): type, sub-type, IPv6 address, local administrator.
    pub fn ipv6_extended_communities(&self) -> impl Iterator<Item = [u8; 20]> + use<'a> {
        self.entries(code::IPV6_EXTENDED_COMMUNITIES)
    }

    /// ORIGINATOR_ID.
    pub fn originator_id(&self) -> Option<Ipv4Addr> {
        self.fixed(code::ORIGINATOR_ID).map(Ipv4Addr::from)
    }

    /// CLUSTER_LIST, the latest cluster first.
    pub fn cluster_list(&self) -> impl Iterator<Item = Ipv4Addr> + use<'a> {
        self.entries(code::CLUSTER_LIST).map(Ipv4Addr::from)
    }

    /// Only to Customer: the AS that set it.
    pub fn otc(&self) -> Option<u32> {
        self.fixed(code::ONLY_TO_CUSTOMER).map(u32::from_be_bytes)
    }

    /// The attributes that this crate has no name for.
    pub fn unknown(&self) -> impl Iterator<Item = RawAttribute<'a>> + use<'a> {
        self.iter().filter(|attribute| !attribute.is_known())
    }

    fn fixed<const N: usize>(&self, code: u8) -> Option<[u8; N]> {
        self.get(code)?.value.try_into().ok()
    }

    fn entries<const N: usize>(&self, code: u8) -> impl Iterator<Item = [u8; N]> + use<'a, N> {
        let value = self.get(code).map_or(&[][..], |attribute| attribute.value);
        value.as_chunks::<N>().0.iter().copied()
    }
}

/// Walks the attributes of a block up to the first that overruns it.
#[derive(Clone, Debug)]
pub(crate) struct RawAttributes<'a>(pub(crate) Reader<'a>);

impl<'a> Iterator for RawAttributes<'a> {
    type Item = RawAttribute<'a>;

    #[inline]
    fn next(&mut self) -> Option<RawAttribute<'a>> {
        RawAttribute::read(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_and_malformed_values_read_as_absent() {
        let set = AttributeSet::new(&[0x40, 1, 2, 0, 0, 0x80, 4, 3, 0, 0, 0, 0x40, 5, 200]);
        assert_eq!(
            (set.origin(), set.med(), set.local_pref()),
            (None, None, None)
        );
        assert_eq!(set.iter().count(), 2);
        assert!(set.as_path().is_empty() && set.next_hop().is_none());
    }

    #[test]
    fn long_values_take_the_extended_length() {
        for (octets, header) in [(255, 3), (256, 4)] {
            let value = vec![0; octets];
            let attribute = RawAttribute {
                flags: 0xc0,
                code: 99,
                value: &value,
            };
            let mut out = Vec::new();
            attribute.encode(&mut out);
            assert_eq!(out.len(), header + octets);
            let read = AttributeSet::new(&out).get(99).unwrap();
            assert_eq!(read.value, attribute.value);
        }
    }
}
