//! Which AS a route is held to come from (RFC 6811 §2).

use codec::{AsPath, SegmentKind};

// RFC-DONE 6811 §2: the origin AS is the last of a final AS_SEQUENCE, our own where the path is empty or
// ends in a confederation, and none where it ends in an AS_SET.
/// The AS that a route is held to come from; none: no VRP matches it.
pub fn route_origin(as_path: &AsPath<'_>, own_asn: u32) -> Option<u32> {
    let Some(last) = as_path.segments().last() else {
        return Some(own_asn);
    };
    match last.kind {
        SegmentKind::Sequence => last.asns().last(),
        SegmentKind::Set => None,
        SegmentKind::ConfedSequence | SegmentKind::ConfedSet => Some(own_asn),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(segments: &[(u8, &[u32])]) -> Option<u32> {
        let mut octets = Vec::new();
        for (kind, asns) in segments {
            octets.extend([*kind, asns.len() as u8]);
            octets.extend(asns.iter().flat_map(|asn| asn.to_be_bytes()));
        }
        route_origin(&AsPath::new(&octets), 65001)
    }

    // RFC-SHOWN 6811 §2
    #[test]
    fn where_a_route_comes_from() {
        assert_eq!(origin(&[]), Some(65001));
        assert_eq!(origin(&[(2, &[65002, 65003])]), Some(65003));
        assert_eq!(origin(&[(2, &[65002]), (1, &[65003, 65004])]), None);
        assert_eq!(origin(&[(1, &[65003]), (2, &[65004])]), Some(65004));
        assert_eq!(origin(&[(3, &[65100])]), Some(65001));
        assert_eq!(origin(&[(4, &[65100])]), Some(65001));
    }
}
