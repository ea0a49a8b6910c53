//! An exported form: one run of octets that holds the next hop and the attributes with which the peers
//! of a view are told a path, and how much room it leaves in a message.

use std::net::{Ipv4Addr, Ipv6Addr};

use codec::NextHop;

/// The longest NLRI: a length octet and an IPv6 address.
const NLRI_LEN_MAX: usize = 17;
/// What a path identifier adds to it.
const PATH_ID_LEN: usize = 4;

/// Writes the head of an exported form; the attributes come behind it. A form is one run of octets: how
/// long the MP next hop is (0: none), the next hop, the attributes.
pub(super) fn begin_form(next_hop: Option<NextHop>, out: &mut Vec<u8>) {
    match next_hop {
        None => out.push(0),
        Some(NextHop::V4(address)) => {
            out.push(4);
            out.extend_from_slice(&address.octets());
        }
        Some(NextHop::V6(address)) => {
            out.push(16);
            out.extend_from_slice(&address.octets());
        }
        Some(NextHop::V6WithLinkLocal(global, link_local)) => {
            out.push(32);
            out.extend_from_slice(&global.octets());
            out.extend_from_slice(&link_local.octets());
        }
    }
}

/// Takes apart what [`export`](super::export::export) wrote: the next hop of an MP_REACH_NLRI (none: NEXT_HOP stands among
/// the attributes), and the attributes in wire form.
pub fn split(form: &[u8]) -> (Option<NextHop>, &[u8]) {
    let Some((length, rest)) = form.split_first() else {
        return (None, &[]);
    };
    match length {
        4 => match rest.split_first_chunk::<4>() {
            Some((address, rest)) => (Some(NextHop::V4(Ipv4Addr::from(*address))), rest),
            None => (None, rest),
        },
        16 => match rest.split_first_chunk::<16>() {
            Some((address, rest)) => (Some(NextHop::V6(Ipv6Addr::from(*address))), rest),
            None => (None, rest),
        },
        32 => match rest.split_first_chunk::<32>() {
            Some((both, rest)) => (NextHop::parse(both), rest),
            None => (None, rest),
        },
        _ => (None, rest),
    }
}

/// Octets of NLRI beside a form in a message of `max_len`.
pub(super) fn room(form: &[u8], max_len: usize) -> usize {
    match split(form) {
        (Some(next_hop), attributes) => codec::mp_update_room(max_len, &next_hop, attributes.len()),
        (None, attributes) => codec::update_room(max_len, attributes.len()),
    }
}

/// Whether a message of `max_len` octets can announce a prefix, or a path of it, with a form.
pub fn fits(form: &[u8], path_id: Option<u32>, max_len: usize) -> bool {
    room(form, max_len) >= longest_nlri(path_id)
}

#[inline]
pub(super) fn longest_nlri(path_id: Option<u32>) -> usize {
    match path_id {
        None => NLRI_LEN_MAX,
        Some(_) => PATH_ID_LEN + NLRI_LEN_MAX,
    }
}
