//! UPDATE messages as simulated routers send them.

use std::net::{Ipv4Addr, Ipv6Addr};

use codec::{
    AsPath, AttributeWriter, Family, FamilySet, Ipv4Prefix, Ipv6Prefix, MAX_LEN, NextHop, Origin,
    Prefix, WireFormat, encode_mp_update, encode_nlri, encode_update, mp_update_room, update_room,
};

/// How many prefixes of a [`stream`] share their attributes.
pub const PER_ATTRIBUTES: u32 = 5;
const NEXT_HOP_V6: NextHop = NextHop::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));

/// Both families, four-octet AS numbers.
pub fn format() -> WireFormat {
    WireFormat {
        families: FamilySet::ALL,
        ..WireFormat::default()
    }
}

/// What a route of the Internet table typically has.
pub fn attributes(family: Family) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = AttributeWriter::new(&mut out);
    writer.origin(Origin::Igp);
    writer.as_path(&AsPath::default(), &[65002, 3356, 174, 64500], true);
    if family == Family::Ipv4Unicast {
        writer.next_hop(Ipv4Addr::new(192, 0, 2, 1));
    }
    writer.med(100);
    writer.communities(&[0x0d1c_0001, 0x0d1c_0002, 0x0d1c_0064, 0x0d1c_03e8]);
    writer.large_communities(&[[65002, 1, 2]]);
    out
}

/// Distinct prefixes in ascending order.
pub fn v4(count: u32) -> Vec<Ipv4Prefix> {
    // Lengths as in the table: mostly 24, some shorter.
    let length = |index: u32| if index.is_multiple_of(4) { 22 } else { 24 };
    let address = |index: u32| Ipv4Addr::from(0x0a00_0000 + (index << 10));
    (0..count)
        .map(|index| Ipv4Prefix::masked(address(index), length(index)))
        .collect()
}

/// Distinct prefixes in ascending order.
pub fn v6(count: u32) -> Vec<Ipv6Prefix> {
    let address = |index: u32| Ipv6Addr::from((0x2001_0db8_u128 << 96) | u128::from(index) << 80);
    (0..count)
        .map(|index| Ipv6Prefix::masked(address(index), 48))
        .collect()
}

/// As many of the prefixes as fit in `room` octets.
pub fn packed<P: Prefix>(prefixes: &[P], room: usize) -> (usize, Vec<u8>) {
    let mut nlri = Vec::new();
    for (count, prefix) in prefixes.iter().enumerate() {
        let end = nlri.len();
        encode_nlri(*prefix, None, &mut nlri);
        if nlri.len() > room {
            nlri.truncate(end);
            return (count, nlri);
        }
    }
    (prefixes.len(), nlri)
}

/// A whole message with as many of `count` prefixes as fit, and their number.
pub fn message(family: Family, count: u32) -> (u64, Vec<u8>) {
    let attributes = attributes(family);
    let mut out = Vec::new();
    let fit = if family == Family::Ipv4Unicast {
        let (fit, nlri) = packed(&v4(count), update_room(MAX_LEN, attributes.len()));
        encode_update(&attributes, &nlri, &mut out);
        fit
    } else {
        let room = mp_update_room(MAX_LEN, &NEXT_HOP_V6, attributes.len());
        let (fit, nlri) = packed(&v6(count), room);
        encode_mp_update(family, &NEXT_HOP_V6, &attributes, &nlri, &mut out);
        fit
    };
    (fit as u64, out)
}

/// All that a sender says of `share` prefixes once its session is up: from all over the address
/// space, as those of the others.
pub fn stream(share: u32, sender: u32) -> Vec<u8> {
    say(sender, (sender * share..(sender + 1) * share).map(prefix))
}

/// The same, of prefixes from one of `parts` of the address space.
pub fn stream_within(share: u32, sender: u32, parts: u32) -> Vec<u8> {
    let size = (1 << 24) / parts.next_power_of_two();
    let within = |number: u32| number.wrapping_mul(FACTOR) % size;
    say(
        sender,
        (0..share).map(|number| of_bits(sender * size + within(number))),
    )
}

fn say(sender: u32, prefixes: impl Iterator<Item = Ipv4Prefix>) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut attributes, mut nlri) = (Vec::new(), Vec::new());
    let prefixes: Vec<_> = prefixes.collect();
    for (set, prefixes) in prefixes.chunks(PER_ATTRIBUTES as usize).enumerate() {
        attributes.clear();
        nlri.clear();
        let set = set as u32;
        let mut writer = AttributeWriter::new(&mut attributes);
        writer.origin(Origin::Igp);
        let path = [
            100_001 + sender,
            3000 + set % 977,
            200_000 + set,
            64_500 + set % 13,
        ];
        writer.as_path(&AsPath::new(&[]), &path, true);
        writer.next_hop(Ipv4Addr::new(192, 0, 2, 1));
        writer.communities(&[set, set ^ 0xffff_0000, (65_000 << 16) | (set % 100)]);
        for prefix in prefixes {
            codec::encode_nlri(*prefix, None, &mut nlri);
        }
        codec::encode_update(&attributes, &nlri, &mut out);
    }
    out
}

/// Distinct prefixes of 24 bits in no order.
fn prefix(number: u32) -> Ipv4Prefix {
    of_bits(number.wrapping_mul(FACTOR))
}

fn of_bits(bits: u32) -> Ipv4Prefix {
    Ipv4Prefix::masked(Ipv4Addr::from(bits << 8), 24)
}

/// Odd: multiplying by it permutes the numbers of 24 bits, or fewer.
const FACTOR: u32 = 0x9e37_79b1;
