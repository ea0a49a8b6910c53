//! Address families and prefixes in their packed form.
//!
//! `ipnet` serves at the edges, where people write prefixes; here and above, a prefix is an
//! integer and a length, and its host bits are zero: that is the invariant of this module.

use std::fmt::{self, Debug, Display};
use std::hash::Hash;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// An address family that this speaker exchanges (RFC 4760): AFI and SAFI together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// AFI 1, SAFI 1.
    Ipv4Unicast,
    /// AFI 2, SAFI 1.
    Ipv6Unicast,
}

impl Family {
    /// Every family, in the order of [`Family::index`].
    pub const ALL: [Family; 2] = [Family::Ipv4Unicast, Family::Ipv6Unicast];

    /// A dense number for arrays with one entry a family.
    pub fn index(self) -> usize {
        self as usize
    }

    /// The address family identifier on the wire.
    pub fn afi(self) -> u16 {
        match self {
            Family::Ipv4Unicast => 1,
            Family::Ipv6Unicast => 2,
        }
    }

    /// The subsequent address family identifier on the wire.
    pub fn safi(self) -> u8 {
        1
    }

    /// The family of an AFI and SAFI pair, if it is one of ours.
    pub fn from_afi_safi(afi: u16, safi: u8) -> Option<Family> {
        match (afi, safi) {
            (1, 1) => Some(Family::Ipv4Unicast),
            (2, 1) => Some(Family::Ipv6Unicast),
            _ => None,
        }
    }
}

impl Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::Ipv4Unicast => "ipv4/unicast",
            Family::Ipv6Unicast => "ipv6/unicast",
        })
    }
}

/// A set of families.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct FamilySet(u8);

impl FamilySet {
    /// No family.
    pub const NONE: FamilySet = FamilySet(0);
    /// Every family of [`Family::ALL`].
    pub const ALL: FamilySet = FamilySet(0b11);

    /// Whether `family` is in the set.
    pub fn contains(self, family: Family) -> bool {
        self.0 & (1 << family.index()) != 0
    }

    /// Adds `family`.
    pub fn insert(&mut self, family: Family) {
        self.0 |= 1 << family.index();
    }

    /// Takes `family` out.
    pub fn remove(&mut self, family: Family) {
        self.0 &= !(1 << family.index());
    }

    /// The families in both sets.
    pub fn intersection(self, other: FamilySet) -> FamilySet {
        FamilySet(self.0 & other.0)
    }

    /// Whether the set has no family.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The families of the set in ascending order.
    pub fn iter(self) -> impl Iterator<Item = Family> {
        Family::ALL.into_iter().filter(move |f| self.contains(*f))
    }
}

impl FromIterator<Family> for FamilySet {
    fn from_iter<I: IntoIterator<Item = Family>>(families: I) -> FamilySet {
        let mut set = FamilySet::NONE;
        for family in families {
            set.insert(family);
        }
        set
    }
}

impl Debug for FamilySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// A prefix of one family, packed. Host bits are zero.
pub trait Prefix: Copy + Ord + Hash + Debug + Display + Send + Sync + 'static {
    /// The family that these prefixes belong to.
    const FAMILY: Family;
    /// The longest prefix length: 32 or 128.
    const MAX_LENGTH: u8;

    /// The prefix length in bits, at most [`Prefix::MAX_LENGTH`].
    fn length(self) -> u8;

    /// The address, its first bit in the most significant place of 128.
    fn bits_left_aligned(self) -> u128;

    /// The prefix of `length` bits (clamped to [`Prefix::MAX_LENGTH`]) of a left-aligned address;
    /// bits past the length are dropped.
    fn from_left_aligned(bits: u128, length: u8) -> Self;

    /// The family-erased form.
    fn erase(self) -> IpPrefix;
}

/// An IPv4 prefix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ipv4Prefix {
    bits: u32,
    length: u8,
}

/// An IPv6 prefix.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ipv6Prefix {
    bits: u128,
    length: u8,
}

impl Ipv4Prefix {
    /// The prefix, unless the length exceeds 32 or a host bit is set.
    pub fn new(address: Ipv4Addr, length: u8) -> Option<Ipv4Prefix> {
        let prefix = Ipv4Prefix::masked(address, length);
        (length <= 32 && prefix.bits == u32::from(address)).then_some(prefix)
    }

    /// The prefix of the first `length` bits (at most 32) of an address.
    pub fn masked(address: Ipv4Addr, length: u8) -> Ipv4Prefix {
        let length = length.min(32);
        let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
        Ipv4Prefix {
            bits: u32::from(address) & mask,
            length,
        }
    }

    /// The first address.
    pub fn address(self) -> Ipv4Addr {
        Ipv4Addr::from(self.bits)
    }
}

impl Ipv6Prefix {
    /// The prefix, unless the length exceeds 128 or a host bit is set.
    pub fn new(address: Ipv6Addr, length: u8) -> Option<Ipv6Prefix> {
        let prefix = Ipv6Prefix::masked(address, length);
        (length <= 128 && prefix.bits == u128::from(address)).then_some(prefix)
    }

    /// The prefix of the first `length` bits (at most 128) of an address.
    pub fn masked(address: Ipv6Addr, length: u8) -> Ipv6Prefix {
        Ipv6Prefix::from_left_aligned(u128::from(address), length)
    }

    /// The first address.
    pub fn address(self) -> Ipv6Addr {
        Ipv6Addr::from(self.bits)
    }
}

impl Prefix for Ipv4Prefix {
    const FAMILY: Family = Family::Ipv4Unicast;
    const MAX_LENGTH: u8 = 32;

    fn length(self) -> u8 {
        self.length
    }

    fn bits_left_aligned(self) -> u128 {
        u128::from(self.bits) << 96
    }

    fn from_left_aligned(bits: u128, length: u8) -> Ipv4Prefix {
        Ipv4Prefix::masked(Ipv4Addr::from((bits >> 96) as u32), length)
    }

    fn erase(self) -> IpPrefix {
        IpPrefix::V4(self)
    }
}

impl Prefix for Ipv6Prefix {
    const FAMILY: Family = Family::Ipv6Unicast;
    const MAX_LENGTH: u8 = 128;

    fn length(self) -> u8 {
        self.length
    }

    fn bits_left_aligned(self) -> u128 {
        self.bits
    }

    fn from_left_aligned(bits: u128, length: u8) -> Ipv6Prefix {
        let length = length.min(128);
        let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
        Ipv6Prefix {
            bits: bits & mask,
            length,
        }
    }

    fn erase(self) -> IpPrefix {
        IpPrefix::V6(self)
    }
}

impl Display for Ipv4Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address(), self.length)
    }
}

impl Display for Ipv6Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address(), self.length)
    }
}

impl Debug for Ipv4Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

impl Debug for Ipv6Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

/// A prefix of either family.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IpPrefix {
    /// IPv4.
    V4(Ipv4Prefix),
    /// IPv6.
    V6(Ipv6Prefix),
}

impl IpPrefix {
    /// The family.
    pub fn family(self) -> Family {
        match self {
            IpPrefix::V4(_) => Family::Ipv4Unicast,
            IpPrefix::V6(_) => Family::Ipv6Unicast,
        }
    }

    /// The prefix length in bits.
    pub fn length(self) -> u8 {
        match self {
            IpPrefix::V4(prefix) => prefix.length,
            IpPrefix::V6(prefix) => prefix.length,
        }
    }

    /// Whether `other` is of the same family and equals or lies within this prefix.
    pub fn contains(self, other: IpPrefix) -> bool {
        fn covers<P: Prefix>(outer: P, inner: P) -> bool {
            outer.length() <= inner.length()
                && P::from_left_aligned(inner.bits_left_aligned(), outer.length()) == outer
        }
        match (self, other) {
            (IpPrefix::V4(outer), IpPrefix::V4(inner)) => covers(outer, inner),
            (IpPrefix::V6(outer), IpPrefix::V6(inner)) => covers(outer, inner),
            _ => false,
        }
    }
}

/// Host bits are dropped.
impl From<IpNet> for IpPrefix {
    fn from(net: IpNet) -> IpPrefix {
        match net {
            IpNet::V4(net) => IpPrefix::V4(Ipv4Prefix::masked(net.addr(), net.prefix_len())),
            IpNet::V6(net) => IpPrefix::V6(Ipv6Prefix::masked(net.addr(), net.prefix_len())),
        }
    }
}

impl From<IpPrefix> for IpNet {
    fn from(prefix: IpPrefix) -> IpNet {
        match prefix {
            IpPrefix::V4(p) => IpNet::V4(Ipv4Net::new_assert(p.address(), p.length)),
            IpPrefix::V6(p) => IpNet::V6(Ipv6Net::new_assert(p.address(), p.length)),
        }
    }
}

impl Display for IpPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IpPrefix::V4(prefix) => Display::fmt(prefix, f),
            IpPrefix::V6(prefix) => Display::fmt(prefix, f),
        }
    }
}

impl Debug for IpPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_bits_are_refused_or_masked() {
        let address = Ipv4Addr::new(10, 0, 1, 1);
        assert_eq!(Ipv4Prefix::new(address, 24), None);
        assert_eq!(Ipv4Prefix::masked(address, 24).to_string(), "10.0.1.0/24");
        assert_eq!(Ipv4Prefix::masked(address, 0).to_string(), "0.0.0.0/0");
        assert_eq!(Ipv4Prefix::new(address, 33), None);
        let address: Ipv6Addr = "2001:db8::1".parse().unwrap();
        assert_eq!(Ipv6Prefix::masked(address, 64).to_string(), "2001:db8::/64");
        assert_eq!(Ipv6Prefix::masked(address, 0).to_string(), "::/0");
    }

    #[test]
    fn containment_stays_within_a_family() {
        let wide = IpPrefix::from("10.0.0.0/8".parse::<IpNet>().unwrap());
        let narrow = IpPrefix::from("10.1.0.0/16".parse::<IpNet>().unwrap());
        let other = IpPrefix::from("::/0".parse::<IpNet>().unwrap());
        assert!(wide.contains(narrow) && wide.contains(wide));
        assert!(!narrow.contains(wide) && !other.contains(narrow));
    }
}
