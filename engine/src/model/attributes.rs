//! Path attributes as the text of a [`Route`].
//!
//! Reads canonical attribute bytes (`codec::AttributeSet`) and decides nothing. Invariant: an
//! attribute that is not there leaves its field at none.

use std::fmt::Write;
use std::net::Ipv6Addr;

use codec::{AttributeSet, NextHop, Origin, SegmentKind as CodecSegmentKind, code};

use super::{Aggregator, Route, Segment, SegmentKind, UnknownAttribute};
use crate::policy::extended_text;

/// Fills in everything that stands in the path attributes.
pub fn fill(route: &mut Route, canonical: &[u8]) {
    let set = AttributeSet::new(canonical);
    (route.next_hop, route.link_local_next_hop) = match set.next_hop() {
        None => (None, None),
        Some(NextHop::V4(address)) => (Some(address.to_string()), None),
        Some(NextHop::V6(address)) => (Some(address.to_string()), None),
        Some(NextHop::V6WithLinkLocal(global, link_local)) => {
            (Some(global.to_string()), Some(link_local.to_string()))
        }
    };
    route.origin = set.origin().map(|origin| origin_name(origin).to_owned());
    route.as_path = set.get(code::AS_PATH).map(|_| segments(&set));
    route.local_pref = set.local_pref();
    route.med = set.med();
    route.communities = some(set.communities().map(community).collect());
    route.large_communities = some(set.large_communities().map(large_community).collect());
    let extended = set.extended_communities().map(extended_text);
    let of_ipv6 = set.ipv6_extended_communities().map(ipv6_extended_text);
    route.extended_communities = some(extended.chain(of_ipv6).collect());
    route.originator_id = set.originator_id().map(|id| id.to_string());
    route.cluster_list = some(set.cluster_list().map(|id| id.to_string()).collect());
    route.otc = set.otc();
    route.aggregator = set.aggregator().map(|by| Aggregator {
        asn: by.asn,
        address: by.identifier.to_string(),
    });
    route.atomic_aggregate = set.atomic_aggregate();
    // Its form is checked, its meaning is not ours to know (RFC 8669).
    let prefix_sid = set.get(code::PREFIX_SID);
    route.unknown_attributes = some(
        set.unknown()
            .chain(prefix_sid)
            .map(|attribute| UnknownAttribute {
                code: attribute.code,
                flags: attribute.flags,
                value: hexadecimal(attribute.value),
            })
            .collect(),
    );
}

fn segments(set: &AttributeSet<'_>) -> Vec<Segment> {
    let path = set.as_path();
    path.segments()
        .map(|segment| Segment {
            kind: match segment.kind {
                CodecSegmentKind::Sequence => SegmentKind::Sequence,
                CodecSegmentKind::Set => SegmentKind::Set,
                CodecSegmentKind::ConfedSequence => SegmentKind::ConfedSequence,
                CodecSegmentKind::ConfedSet => SegmentKind::ConfedSet,
            },
            asns: segment.asns().collect(),
        })
        .collect()
}

/// The attribute is there if it has a value: canonical lists are never empty.
fn some<T>(values: Vec<T>) -> Option<Vec<T>> {
    (!values.is_empty()).then_some(values)
}

fn origin_name(origin: Origin) -> &'static str {
    match origin {
        Origin::Igp => "IGP",
        Origin::Egp => "EGP",
        Origin::Incomplete => "INCOMPLETE",
    }
}

/// An RFC 1997 value as `65000:1`.
pub fn community(value: u32) -> String {
    format!("{}:{}", value >> 16, value & 0xffff)
}

/// An RFC 8092 value as `65000:1:2`.
pub fn large_community([global, first, second]: [u32; 3]) -> String {
    format!("{global}:{first}:{second}")
}

/// An RFC 5701 value as `rt:[2001:db8::1]:100` or `soo:[2001:db8::1]:100`; what is of another type as 40
/// hexadecimal digits after `0x`.
fn ipv6_extended_text(value: [u8; 20]) -> String {
    // RFC-DONE 5701 §2: Route targets and route origins of IPv6 addresses are shown.
    let [kind, subtype, address @ .., high, low] = value;
    let name = match (kind, subtype) {
        (0x00, 0x02) => "rt",
        (0x00, 0x03) => "soo",
        _ => return format!("0x{}", hexadecimal(&value)),
    };
    let local = u16::from_be_bytes([high, low]);
    format!("{name}:[{}]:{local}", Ipv6Addr::from(address))
}

fn hexadecimal(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len() * 2);
    for octet in octets {
        let _ = write!(text, "{octet:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::model::parse_prefix;

    #[test]
    fn attributes_read_as_in_the_contract() {
        let canonical = [
            &[0x40, 1, 1, 0][..],
            &[
                0x40, 2, 16, 2, 2, 0, 0, 0xfd, 0xea, 0, 1, 0, 0, 1, 1, 0, 0, 0, 9,
            ],
            &[0x40, 3, 4, 10, 0, 0, 6],
            &[0x40, 6, 0],
            &[0xc0, 7, 8, 0, 1, 0, 0, 1, 2, 3, 4],
            &[0xc0, 8, 4, 0xfd, 0xe8, 0, 1],
            &[0xc0, 16, 8, 0, 2, 0xfd, 0xe8, 0, 0, 0, 1],
            &[0xc0, 25, 40],
            &IPV6_ROUTE_TARGET,
            &[0x40; 20],
            &[0xc0, 40, 2, 9, 9],
            &[0xe0, 99, 2, 0xab, 1],
        ]
        .concat();
        // The AS_PATH above: a sequence of 65002 and 65536, then a set of 9.
        let mut route = Route::new("default", parse_prefix("10.0.1.0/24").unwrap());
        fill(&mut route, &canonical);
        assert_eq!(route.origin.as_deref(), Some("IGP"));
        assert_eq!(route.next_hop.as_deref(), Some("10.0.0.6"));
        let path = route.as_path.unwrap();
        assert_eq!(path[0].asns, [65002, 65536]);
        assert_eq!(
            (path[1].kind, path[1].asns.as_slice()),
            (SegmentKind::Set, &[9][..])
        );
        assert_eq!(route.communities.unwrap(), ["65000:1"]);
        assert_eq!(
            route.extended_communities.unwrap(),
            [
                "rt:65000:1",
                "rt:[2001:db8::1]:100",
                "0x4040404040404040404040404040404040404040",
            ]
        );
        let aggregator = route.aggregator.unwrap();
        assert_eq!((aggregator.asn, &*aggregator.address), (65536, "1.2.3.4"));
        assert!(route.atomic_aggregate);
        let unknown = route.unknown_attributes.unwrap();
        let unknown: Vec<_> = unknown.iter().map(|it| (it.code, &*it.value)).collect();
        assert_eq!(unknown, [(99, "ab01"), (40, "0909")]);
        assert_eq!(
            (route.med, route.local_pref, route.cluster_list),
            (None, None, None)
        );
    }

    const IPV6_ROUTE_TARGET: [u8; 20] = [
        0, 2, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 100,
    ];

    // RFC-SHOWN 5701 §2
    #[test]
    fn extended_communities_of_each_form() {
        let shown = |value| extended_text(value);
        assert_eq!(shown([1, 2, 192, 0, 2, 1, 0, 7]), "rt:192.0.2.1:7");
        assert_eq!(shown([2, 3, 0, 1, 0, 0, 0, 7]), "soo:65536:7");
        assert_eq!(shown([2, 2, 0, 0, 0xfd, 0xe8, 0, 7]), "rt:65000L:7");
        assert_eq!(shown([3, 0x0b, 0, 0, 0, 0, 0, 1]), "0x030b000000000001");
        let mut of_ipv6 = IPV6_ROUTE_TARGET;
        assert_eq!(ipv6_extended_text(of_ipv6), "rt:[2001:db8::1]:100");
        of_ipv6[1] = 3;
        assert_eq!(ipv6_extended_text(of_ipv6), "soo:[2001:db8::1]:100");
        of_ipv6[0] = 0x40;
        assert_eq!(
            ipv6_extended_text(of_ipv6),
            "0x400320010db80000000000000000000000010064"
        );
    }
}
