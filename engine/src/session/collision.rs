//! Connection collision (RFC 4271 §6.8, RFC 6286 §2.3): which of two connections stays.

use std::cmp::Ordering;
use std::net::Ipv4Addr;

use super::action::Slot;

/// One side of a collision.
#[derive(Clone, Copy, Debug)]
pub(super) struct Speaker {
    pub(super) router_id: Ipv4Addr,
    pub(super) asn: u32,
}

/// The slot that stays: the connection opened by the speaker with the higher identifier as an
/// unsigned number, or with equal identifiers by the one with the larger AS number. Both equal
/// cannot be, as OPEN refuses that (RFC 6286 §2.2).
// RFC-DONE 6286 §2.3: Of equal identifiers, the connection of the larger AS stays.
pub(super) fn winner(ours: Speaker, theirs: Speaker) -> Slot {
    let order = u32::from(ours.router_id)
        .cmp(&u32::from(theirs.router_id))
        .then(ours.asn.cmp(&theirs.asn));
    match order {
        Ordering::Greater => Slot::Outgoing,
        Ordering::Less | Ordering::Equal => Slot::Incoming,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speaker(id: [u8; 4], asn: u32) -> Speaker {
        Speaker {
            router_id: Ipv4Addr::from(id),
            asn,
        }
    }

    #[test]
    fn both_sides_keep_the_same_connection() {
        let ids = [
            [0, 0, 0, 1],
            [10, 0, 0, 5],
            [127, 255, 255, 255],
            [200, 0, 0, 1],
        ];
        for a_id in ids {
            for b_id in ids {
                for (a_asn, b_asn) in [(65001, 65002), (65002, 65001), (4_200_000_000, 1)] {
                    let a = speaker(a_id, a_asn);
                    let b = speaker(b_id, b_asn);
                    // What is outgoing for the one is incoming for the other.
                    assert_eq!(winner(a, b), winner(b, a).other(), "{a:?} {b:?}");
                }
            }
        }
    }

    #[test]
    fn identifiers_compare_as_numbers_before_as_numbers() {
        let low = speaker([10, 0, 0, 5], 65002);
        let high = speaker([200, 0, 0, 1], 65001);
        assert_eq!(winner(high, low), Slot::Outgoing);
        assert_eq!(winner(low, high), Slot::Incoming);
    }
}
