//! Writing whole UPDATE messages around ready attributes and NLRI.
//!
//! Read first: RFC 4271 §4.3, RFC 4760 §3 and §4, RFC 7606 §5.1 (one kind of NLRI a message, the
//! multiprotocol attribute first), RFC 4724 §2 for End-of-RIB. The `*_room` functions say how many
//! octets of NLRI fit beside attributes of a length; the packer asks them before it fills.

use crate::attribute::{code, flags};
use crate::header::{HEADER_LEN, MessageType, begin_message, end_message};
use crate::nlri::NextHop;
use crate::prefix::Family;

/// Appends an UPDATE that announces plain IPv4 NLRI; `attributes` as on the wire, NEXT_HOP among
/// them.
///
/// # Panics
/// If the message passes 65535 octets; [`update_room`] tells before.
pub fn encode_update(attributes: &[u8], nlri: &[u8], out: &mut Vec<u8>) {
    let start = begin_message(MessageType::Update, out);
    out.extend_from_slice(&[0, 0]);
    append_length(attributes.len(), out);
    out.extend_from_slice(attributes);
    out.extend_from_slice(nlri);
    end_message(start, out);
}

/// Appends an UPDATE that announces NLRI of any family in MP_REACH_NLRI; `attributes` as on the
/// wire, without NEXT_HOP and MP_REACH_NLRI.
///
/// # Panics
/// If the message passes 65535 octets; [`mp_update_room`] tells before.
pub fn encode_mp_update(
    family: Family,
    next_hop: &NextHop,
    attributes: &[u8],
    nlri: &[u8],
    out: &mut Vec<u8>,
) {
    // RFC-DONE 7606 §5.1: MP_REACH_NLRI and MP_UNREACH_NLRI come first; one kind of prefixes an UPDATE.
    let value_len = REACH_FIXED_LEN + next_hop.wire_len() + nlri.len();
    let start = begin_message(MessageType::Update, out);
    out.extend_from_slice(&[0, 0]);
    append_length(header_len(value_len) + value_len + attributes.len(), out);
    append_header(code::MP_REACH_NLRI, value_len, out);
    append_family(family, out);
    out.push(next_hop.wire_len() as u8);
    next_hop.encode(out);
    out.push(0);
    out.extend_from_slice(nlri);
    out.extend_from_slice(attributes);
    end_message(start, out);
}

/// Appends an UPDATE that withdraws NLRI: in the plain field for IPv4, in MP_UNREACH_NLRI for
/// IPv6.
///
/// # Panics
/// If the message passes 65535 octets; [`withdraw_room`] tells before.
pub fn encode_withdraw(family: Family, nlri: &[u8], out: &mut Vec<u8>) {
    if family != Family::Ipv4Unicast {
        return encode_mp_withdraw(family, nlri, out);
    }
    let start = begin_message(MessageType::Update, out);
    append_length(nlri.len(), out);
    out.extend_from_slice(nlri);
    out.extend_from_slice(&[0, 0]);
    end_message(start, out);
}

/// Appends an UPDATE that withdraws NLRI of any family in MP_UNREACH_NLRI.
///
/// # Panics
/// If the message passes 65535 octets; seven less than [`withdraw_room`] of IPv4 always fit.
pub fn encode_mp_withdraw(family: Family, nlri: &[u8], out: &mut Vec<u8>) {
    let value_len = UNREACH_FIXED_LEN + nlri.len();
    let start = begin_message(MessageType::Update, out);
    out.extend_from_slice(&[0, 0]);
    append_length(header_len(value_len) + value_len, out);
    append_header(code::MP_UNREACH_NLRI, value_len, out);
    append_family(family, out);
    out.extend_from_slice(nlri);
    end_message(start, out);
}

/// Appends the End-of-RIB marker of a family (RFC 4724 §2).
pub fn encode_end_of_rib(family: Family, out: &mut Vec<u8>) {
    encode_withdraw(family, &[], out);
}

/// Octets of plain IPv4 NLRI that fit beside attributes of `attributes_len` octets in a message of
/// `max_len`; 0 if nothing does.
pub fn update_room(max_len: usize, attributes_len: usize) -> usize {
    max_len.saturating_sub(EMPTY_UPDATE_LEN + attributes_len)
}

/// The same for NLRI in MP_REACH_NLRI.
pub fn mp_update_room(max_len: usize, next_hop: &NextHop, attributes_len: usize) -> usize {
    let fixed = LONG_HEADER_LEN + REACH_FIXED_LEN + next_hop.wire_len();
    max_len.saturating_sub(EMPTY_UPDATE_LEN + fixed + attributes_len)
}

/// Octets of NLRI that [`encode_withdraw`] fits in a message of `max_len`.
pub fn withdraw_room(max_len: usize, family: Family) -> usize {
    let fixed = match family {
        Family::Ipv4Unicast => 0,
        Family::Ipv6Unicast => LONG_HEADER_LEN + UNREACH_FIXED_LEN,
    };
    max_len.saturating_sub(EMPTY_UPDATE_LEN + fixed)
}

fn append_length(octets: usize, out: &mut Vec<u8>) {
    assert!(octets <= usize::from(u16::MAX), "field of {octets} octets");
    out.extend_from_slice(&(octets as u16).to_be_bytes());
}

/// Octets before the value of an attribute.
fn header_len(value_len: usize) -> usize {
    if value_len > 255 { LONG_HEADER_LEN } else { 3 }
}

fn append_header(code: u8, value_len: usize, out: &mut Vec<u8>) {
    if value_len > 255 {
        out.extend_from_slice(&[flags::OPTIONAL | flags::EXTENDED_LENGTH, code]);
        append_length(value_len, out);
    } else {
        out.extend_from_slice(&[flags::OPTIONAL, code, value_len as u8]);
    }
}

fn append_family(family: Family, out: &mut Vec<u8>) {
    out.extend_from_slice(&family.afi().to_be_bytes());
    out.push(family.safi());
}

/// Header and the two length fields.
const EMPTY_UPDATE_LEN: usize = HEADER_LEN + 4;
/// Flags, code and a length of two octets.
const LONG_HEADER_LEN: usize = 4;
/// AFI, SAFI, next hop length and the reserved octet.
const REACH_FIXED_LEN: usize = 5;
/// AFI and SAFI.
const UNREACH_FIXED_LEN: usize = 3;

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;
    use crate::MAX_LEN;

    // RFC-SHOWN 7606 §5.1
    #[test]
    fn full_messages_reach_the_limit_and_no_further() {
        let next_hop = NextHop::V6(Ipv6Addr::LOCALHOST);
        for attributes in [0, 100, 3000] {
            let attributes = vec![0; attributes];
            let mut out = Vec::new();
            let room = update_room(MAX_LEN, attributes.len());
            encode_update(&attributes, &vec![0; room], &mut out);
            assert_eq!(out.len(), MAX_LEN);

            let mut out = Vec::new();
            let room = mp_update_room(MAX_LEN, &next_hop, attributes.len());
            let nlri = vec![0; room];
            encode_mp_update(Family::Ipv6Unicast, &next_hop, &attributes, &nlri, &mut out);
            assert_eq!(out.len(), MAX_LEN);
        }
        for family in Family::ALL {
            let mut out = Vec::new();
            encode_withdraw(family, &vec![0; withdraw_room(MAX_LEN, family)], &mut out);
            assert_eq!(out.len(), MAX_LEN);
        }
        assert_eq!(update_room(MAX_LEN, 5000), 0);
    }

    #[test]
    fn end_of_rib_octets() {
        let mut out = Vec::new();
        encode_end_of_rib(Family::Ipv4Unicast, &mut out);
        assert_eq!(out[16..], [0, 23, 2, 0, 0, 0, 0]);
        out.clear();
        encode_end_of_rib(Family::Ipv6Unicast, &mut out);
        assert_eq!(out[16..], [0, 29, 2, 0, 0, 0, 6, 0x80, 15, 3, 0, 2, 1]);
    }
}
