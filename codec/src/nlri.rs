//! NLRI: prefixes as they stand in UPDATEs, and next hops.
//!
//! Read first: RFC 4271 §4.3, RFC 4760 §5, RFC 7911 §3, RFC 2545 §3, RFC 8950 §3. An [`Nlri`] was
//! validated as a whole when it was made, so walking it cannot fail. Budget: at most 5 ns a plain
//! IPv4 prefix, read or written, and no allocation.

use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::prefix::{Family, IpPrefix, Ipv4Prefix, Ipv6Prefix, Prefix};

/// A run of prefixes of one family, known to be well formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nlri<'a> {
    octets: &'a [u8],
    family: Family,
    add_path: bool,
}

impl<'a> Nlri<'a> {
    /// The prefixes in `octets`, each with a path identifier if `add_path`; `None` if a length is
    /// beyond its family or the last one is cut short. Bits past a prefix's length may be
    /// anything (RFC 4271 §4.3).
    pub fn new(octets: &'a [u8], family: Family, add_path: bool) -> Option<Nlri<'a>> {
        let max_length = match family {
            Family::Ipv4Unicast => Ipv4Prefix::MAX_LENGTH,
            Family::Ipv6Unicast => Ipv6Prefix::MAX_LENGTH,
        };
        let mut rest = octets;
        while !rest.is_empty() {
            if add_path {
                rest = rest.get(4..)?;
            }
            let (length, after) = rest.split_first()?;
            if *length > max_length {
                return None;
            }
            rest = after.get(octets_of(*length)..)?;
        }
        Some(Nlri {
            octets,
            family,
            add_path,
        })
    }

    /// No prefix.
    pub fn empty(family: Family) -> Nlri<'static> {
        Nlri {
            octets: &[],
            family,
            add_path: false,
        }
    }

    /// Whether there is no prefix.
    pub fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// The family of the prefixes.
    pub fn family(&self) -> Family {
        self.family
    }

    /// The prefixes as they came.
    pub fn octets(&self) -> &'a [u8] {
        self.octets
    }

    /// IPv4 prefixes with their path identifiers (0 without ADD-PATH); none if the family is
    /// another.
    pub fn iter_v4(&self) -> NlriIter<'a, Ipv4Prefix> {
        self.iter_as()
    }

    /// IPv6 prefixes with their path identifiers (0 without ADD-PATH); none if the family is
    /// another.
    pub fn iter_v6(&self) -> NlriIter<'a, Ipv6Prefix> {
        self.iter_as()
    }

    /// The prefixes with their path identifiers (0 without ADD-PATH).
    pub fn iter(&self) -> impl Iterator<Item = (u32, IpPrefix)> + use<'a> {
        let v4 = self.iter_v4().map(|(id, prefix)| (id, prefix.erase()));
        v4.chain(self.iter_v6().map(|(id, prefix)| (id, prefix.erase())))
    }

    fn iter_as<P: ReadPrefix>(&self) -> NlriIter<'a, P> {
        NlriIter {
            rest: if self.family == P::FAMILY {
                self.octets
            } else {
                &[]
            },
            add_path: self.add_path,
            prefix: PhantomData,
        }
    }
}

/// Walks an [`Nlri`].
#[derive(Clone, Debug)]
pub struct NlriIter<'a, P> {
    rest: &'a [u8],
    add_path: bool,
    prefix: PhantomData<P>,
}

impl<P: ReadPrefix> Iterator for NlriIter<'_, P> {
    type Item = (u32, P);

    #[inline]
    fn next(&mut self) -> Option<(u32, P)> {
        let mut path_id = 0;
        if self.add_path {
            let (id, rest) = self.rest.split_first_chunk::<4>()?;
            path_id = u32::from_be_bytes(*id);
            self.rest = rest;
        }
        let (length, after) = self.rest.split_first()?;
        let prefix = P::read(after, *length);
        self.rest = after.get(octets_of(*length)..)?;
        Some((path_id, prefix))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let shortest = if self.add_path { 5 } else { 1 };
        (0, Some(self.rest.len() / shortest))
    }
}

/// A prefix that can be read from the octets after its length.
pub trait ReadPrefix: Prefix {
    /// The prefix of `length` bits that `octets` start with; what lies behind it is masked off.
    fn read(octets: &[u8], length: u8) -> Self;
}

impl ReadPrefix for Ipv4Prefix {
    #[inline]
    fn read(octets: &[u8], length: u8) -> Ipv4Prefix {
        let bits = match octets.first_chunk::<4>() {
            // The octets of the next prefix are read along and masked off.
            Some(address) => u32::from_be_bytes(*address),
            None => u32::from_be_bytes(padded(octets)),
        };
        Ipv4Prefix::masked(Ipv4Addr::from(bits), length)
    }
}

impl ReadPrefix for Ipv6Prefix {
    #[inline]
    fn read(octets: &[u8], length: u8) -> Ipv6Prefix {
        let bits = match octets.first_chunk::<16>() {
            Some(address) => u128::from_be_bytes(*address),
            None => u128::from_be_bytes(padded(octets)),
        };
        Ipv6Prefix::masked(Ipv6Addr::from(bits), length)
    }
}

/// Appends one prefix, after its path identifier if it has one.
#[inline]
pub fn encode_nlri<P: Prefix>(prefix: P, path_id: Option<u32>, out: &mut Vec<u8>) {
    if let Some(path_id) = path_id {
        out.extend_from_slice(&path_id.to_be_bytes());
    }
    // A copy of fixed size and a shorter end are cheaper than a copy of variable size.
    let length = prefix.length();
    let end = out.len() + 1 + octets_of(length);
    let bits = prefix.bits_left_aligned();
    if P::MAX_LENGTH <= 32 {
        let [a, b, c, d] = ((bits >> 96) as u32).to_be_bytes();
        out.extend_from_slice(&[length, a, b, c, d]);
    } else {
        let mut octets = [0; 17];
        let [first, address @ ..] = &mut octets;
        *first = length;
        *address = bits.to_be_bytes();
        out.extend_from_slice(&octets);
    }
    out.truncate(end);
}

/// One prefix as it stands in an UPDATE, for those who collect NLRI in buffers of their own.
#[derive(Clone, Copy, Debug)]
pub struct NlriOctets {
    octets: [u8; 17],
    length: u8,
}

impl NlriOctets {
    /// The NLRI of a prefix, without a path identifier.
    #[inline]
    pub fn new<P: Prefix>(prefix: P) -> NlriOctets {
        let mut octets = [0; 17];
        let [first, address @ ..] = &mut octets;
        *first = prefix.length();
        *address = prefix.bits_left_aligned().to_be_bytes();
        NlriOctets {
            octets,
            length: 1 + octets_of(prefix.length()) as u8,
        }
    }

    /// A length octet and the octets that it needs.
    #[inline]
    pub fn octets(&self) -> &[u8] {
        &self.octets[..usize::from(self.length)]
    }
}

/// Where a route's traffic is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NextHop {
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// One IPv6 address, as a rule a global one.
    V6(Ipv6Addr),
    /// A global and a link-local IPv6 address (RFC 2545 §3).
    V6WithLinkLocal(Ipv6Addr, Ipv6Addr),
}

impl NextHop {
    /// Reads a next hop of 4, 16 or 32 octets; `None` for any other length.
    pub fn parse(octets: &[u8]) -> Option<NextHop> {
        if let Ok(address) = <[u8; 4]>::try_from(octets) {
            return Some(NextHop::V4(Ipv4Addr::from(address)));
        }
        let (global, rest) = octets.split_first_chunk::<16>()?;
        if rest.is_empty() {
            return Some(NextHop::V6(Ipv6Addr::from(*global)));
        }
        let global = Ipv6Addr::from(*global);
        let link_local = Ipv6Addr::from(<[u8; 16]>::try_from(rest).ok()?);
        // So BIRD writes the next hop of a link that has no global address.
        if global.is_unspecified() && link_local.is_unicast_link_local() {
            return Some(NextHop::V6(link_local));
        }
        Some(NextHop::V6WithLinkLocal(global, link_local))
    }

    /// Octets on the wire: 4, 16 or 32.
    pub fn wire_len(&self) -> usize {
        match self {
            NextHop::V4(_) => 4,
            NextHop::V6(_) => 16,
            NextHop::V6WithLinkLocal(..) => 32,
        }
    }

    /// The address, the global one of two.
    pub fn address(&self) -> IpAddr {
        match self {
            NextHop::V4(address) => IpAddr::V4(*address),
            NextHop::V6(address) | NextHop::V6WithLinkLocal(address, _) => IpAddr::V6(*address),
        }
    }

    /// The address, or both of two.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let link_local = match self {
            NextHop::V6WithLinkLocal(_, link_local) => Some(IpAddr::V6(*link_local)),
            NextHop::V4(_) | NextHop::V6(_) => None,
        };
        [self.address()].into_iter().chain(link_local)
    }

    /// Appends the next hop without its length.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            NextHop::V4(address) => out.extend_from_slice(&address.octets()),
            NextHop::V6(address) => out.extend_from_slice(&address.octets()),
            NextHop::V6WithLinkLocal(global, link_local) => {
                out.extend_from_slice(&global.octets());
                out.extend_from_slice(&link_local.octets());
            }
        }
    }
}

/// Octets that a prefix of `length` bits takes after its length octet.
#[inline]
fn octets_of(length: u8) -> usize {
    usize::from(length).div_ceil(8)
}

fn padded<const N: usize>(octets: &[u8]) -> [u8; N] {
    let mut address = [0; N];
    for (to, from) in address.iter_mut().zip(octets) {
        *to = *from;
    }
    address
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bits_past_the_length_do_not_count() {
        let octets = [20, 10, 1, 0xff, 0, 32, 192, 0, 2, 1, 1, 0xff];
        let nlri = Nlri::new(&octets, Family::Ipv4Unicast, false).unwrap();
        let words: Vec<String> = nlri.iter().map(|(_, p)| p.to_string()).collect();
        assert_eq!(
            words,
            ["10.1.240.0/20", "0.0.0.0/0", "192.0.2.1/32", "128.0.0.0/1"]
        );
        assert_eq!(nlri.iter_v6().count(), 0);
    }

    #[test]
    fn what_does_not_parse_is_no_nlri() {
        let refused =
            |octets: &[u8], family, add_path| Nlri::new(octets, family, add_path).is_none();
        assert!(refused(&[33, 1, 2, 3, 4, 5], Family::Ipv4Unicast, false));
        assert!(refused(&[129; 18], Family::Ipv6Unicast, false));
        assert!(refused(&[24, 1, 2], Family::Ipv4Unicast, false));
        assert!(refused(&[0, 0, 0, 1], Family::Ipv4Unicast, true));
        assert!(refused(&[0, 0, 0], Family::Ipv4Unicast, true));
        assert!(!refused(&[], Family::Ipv4Unicast, true));
    }

    // RFC-SHOWN 8950 §3
    #[test]
    fn a_link_local_next_hop_behind_none_stands_alone() {
        let link_local: Ipv6Addr = "fe80::6".parse().unwrap();
        let both = [[0; 16], link_local.octets()].concat();
        assert_eq!(NextHop::parse(&both), Some(NextHop::V6(link_local)));
    }

    #[test]
    fn next_hops_have_three_lengths() {
        for octets in 0..40usize {
            let parsed = NextHop::parse(&vec![1; octets]);
            assert_eq!(parsed.is_some(), [4, 16, 32].contains(&octets), "{octets}");
            if let Some(next_hop) = parsed {
                let mut out = Vec::new();
                next_hop.encode(&mut out);
                assert_eq!((out.len(), next_hop.wire_len()), (octets, octets));
            }
        }
    }

    proptest! {
        #[test]
        fn reads_what_was_written(
            v4 in proptest::collection::vec((any::<u32>(), any::<u32>(), 0u8..=32), 0..40),
            v6 in proptest::collection::vec((any::<u32>(), any::<u128>(), 0u8..=128), 0..40),
            add_path: bool,
        ) {
            let v4: Vec<_> = v4.into_iter()
                .map(|(id, bits, length)| (if add_path { id } else { 0 }, Ipv4Prefix::masked(bits.into(), length)))
                .collect();
            let mut out = Vec::new();
            for (id, prefix) in &v4 {
                encode_nlri(*prefix, add_path.then_some(*id), &mut out);
            }
            let nlri = Nlri::new(&out, Family::Ipv4Unicast, add_path).unwrap();
            prop_assert_eq!(nlri.iter_v4().collect::<Vec<_>>(), v4.clone());
            let plain: Vec<u8> = v4.iter().flat_map(|(_, p)| NlriOctets::new(*p).octets().to_vec()).collect();
            prop_assert!(add_path || plain == out);

            let v6: Vec<_> = v6.into_iter()
                .map(|(id, bits, length)| (if add_path { id } else { 0 }, Ipv6Prefix::masked(bits.into(), length)))
                .collect();
            let mut out = Vec::new();
            for (id, prefix) in &v6 {
                encode_nlri(*prefix, add_path.then_some(*id), &mut out);
            }
            let nlri = Nlri::new(&out, Family::Ipv6Unicast, add_path).unwrap();
            prop_assert_eq!(nlri.iter_v6().collect::<Vec<_>>(), v6);
        }
    }
}
