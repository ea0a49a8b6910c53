//! Routes that went through us already, by whichever of our AS numbers (RFC 4271 §9.1.2).

use codec::{Ipv6Prefix, NextHop};

use super::*;
use crate::config::NextHopIpv6;

const SEVEN: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7));
const EIGHT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 8));
const NINE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9));

/// We are 65100 to AS 65007, 65200 to AS 65008, and AS 65001 to AS 65009.
fn neighbors(own: &[u32], allowed: u8) -> [Neighbor; 3] {
    let of = |address: &str, asn, local_asn| Neighbor {
        local_asn,
        own_asns: Arc::from(own),
        allow_own_asn: allowed,
        ..neighbor(address, asn)
    };
    [
        of("10.0.0.7", 65007, 65100),
        of("10.0.0.8", 65008, 65200),
        of("10.0.0.9", 65009, 65001),
    ]
}

fn tell(bed: &mut Bed, own: &[u32], allowed: u8) {
    let neighbors = neighbors(own, allowed).map(Arc::new);
    let delta = Delta::Neighbors(INSTANCE, Box::new(neighbors));
    bed.shard
        .handle_command(bed.now, ShardCommand::Delta(delta));
    bed.run();
}

/// The route to `prefix(number)` with this AS_PATH.
fn with_path(number: u32, id: u8, path: &[u32]) -> Vec<u8> {
    let mut attributes = Vec::new();
    let mut writer = AttributeWriter::new(&mut attributes);
    writer.origin(Origin::Igp);
    writer.as_path(&codec::AsPath::default(), path, true);
    writer.next_hop(Ipv4Addr::new(10, 0, 0, id));
    let mut nlri = Vec::new();
    codec::encode_nlri(prefix(number), None, &mut nlri);
    let mut octets = Vec::new();
    codec::encode_update(&attributes, &nlri, &mut octets);
    octets
}

/// What keeps each of a peer's routes from being used.
fn refusals(bed: &Bed, address: IpAddr) -> Vec<Option<String>> {
    let routes = bed.routes(RoutesKind::Received, address).into_iter();
    routes.map(|route| route.rejected_by).collect()
}

fn by(asn: u32) -> Option<String> {
    let words = format!("AS loop: our own AS number {asn} stands in the AS_PATH");
    Some(words)
}

// RFC-SHOWN 4271 §9.1.2
#[test]
fn a_route_that_left_us_with_any_of_our_as_numbers_is_a_loop_wherever_it_comes_back() {
    let mut bed = Bed::new();
    tell(&mut bed, &[65001, 65100, 65200], 0);
    let connections = [(SEVEN, 65007, 7), (EIGHT, 65008, 8), (NINE, 65009, 9)]
        .map(|(address, asn, id)| bed.connect(address, &open(asn, id, &[])));
    let [seven, eight, nine] = connections;
    bed.say(eight, &with_path(1, 8, &[65008, 65009, 65001, 65007]));
    bed.say(nine, &with_path(2, 9, &[65009, 65200, 65008]));
    bed.say(seven, &with_path(3, 7, &[65007, 65100]));
    bed.say(seven, &with_path(4, 7, &[65007, 65300]));
    assert_eq!(refusals(&bed, EIGHT), [by(65001)]);
    assert_eq!(refusals(&bed, NINE), [by(65200)]);
    assert_eq!(refusals(&bed, SEVEN), [by(65100), None]);
    let (announced, _) = changes(&bed.messages(nine), &WireFormat::default());
    assert_eq!(announced, [erased(4)], "and nobody is told of loops");
}

#[test]
fn what_is_allowed_of_our_as_numbers_is_of_all_of_them_together() {
    let mut bed = Bed::new();
    tell(&mut bed, &[65001, 65100, 65200], 2);
    let nine = bed.connect(NINE, &open(65009, 9, &[]));
    bed.say(nine, &with_path(1, 9, &[65009, 65200, 65001]));
    bed.say(nine, &with_path(2, 9, &[65009, 65200, 65001, 65100]));
    assert_eq!(refusals(&bed, NINE), [None, by(65100)]);
}

#[test]
fn what_came_in_is_judged_anew_when_other_as_numbers_are_ours_and_no_session_ends() {
    let mut bed = Bed::new();
    tell(&mut bed, &[65001, 65100, 65200], 0);
    let eight = bed.connect(EIGHT, &open(65008, 8, &[]));
    let nine = bed.connect(NINE, &open(65009, 9, &[]));
    bed.say(nine, &with_path(1, 9, &[65009, 65300]));
    assert_eq!(refusals(&bed, NINE), [None]);
    bed.messages(eight);
    tell(&mut bed, &[65001, 65100, 65200, 65300], 0);
    assert_eq!(refusals(&bed, NINE), [by(65300)]);
    let (_, withdrawn) = changes(&bed.messages(eight), &WireFormat::default());
    assert_eq!(withdrawn, [erased(1)]);
    tell(&mut bed, &[65001, 65100, 65200], 0);
    assert_eq!(refusals(&bed, NINE), [None]);
    assert!(bed.closed.is_empty());
}

/// The route to a prefix of its own by the next hop.
pub(super) fn by_way_of(number: u32, next_hop: &str) -> Vec<u8> {
    let mut attributes = Vec::new();
    let mut writer = AttributeWriter::new(&mut attributes);
    writer.origin(Origin::Igp);
    writer.as_path(&codec::AsPath::default(), &[65007], true);
    let mut octets = Vec::new();
    let mut nlri = Vec::new();
    let next_hops: Vec<IpAddr> = next_hop.split(' ').map(|a| a.parse().unwrap()).collect();
    let next_hop = match next_hops[..] {
        [IpAddr::V4(address)] => {
            writer.next_hop(address);
            codec::encode_nlri(prefix(number), None, &mut nlri);
            codec::encode_update(&attributes, &nlri, &mut octets);
            return octets;
        }
        [IpAddr::V6(address)] => NextHop::V6(address),
        [IpAddr::V6(global), IpAddr::V6(link_local)] => {
            NextHop::V6WithLinkLocal(global, link_local)
        }
        _ => panic!("no next hop"),
    };
    let prefix = Ipv6Prefix::masked([0x2001, 0xdb8, number as u16, 0, 0, 0, 0, 0].into(), 48);
    codec::encode_nlri(prefix, None, &mut nlri);
    let family = Family::Ipv6Unicast;
    codec::encode_mp_update(family, &next_hop, &attributes, &nlri, &mut octets);
    octets
}

// RFC-SHOWN 4271 §6.3
#[test]
fn a_next_hop_that_is_ourselves_is_a_loop_by_whichever_address_we_tell() {
    const OURS: &str = "the next hop is our own address, or one that we tell as ours";
    let seven = |ipv4: Option<[u8; 4]>, ipv6: NextHopIpv6| Neighbor {
        next_hop_ipv4: ipv4.map(Ipv4Addr::from),
        next_hop_ipv6: ipv6,
        ..neighbor("10.0.0.7", 65007)
    };
    let told = NextHopIpv6::Address("2001:db8::1".parse().unwrap());
    let mut bed = Bed::new();
    bed.configure(seven(Some([192, 0, 2, 55]), told));
    bed.configure(neighbor("10.0.0.8", 65008));
    let connection = bed.connect(SEVEN, &open(65007, 7, &[]));
    let eight = bed.connect(EIGHT, &open(65008, 8, &[]));
    // Our end of the session, what we tell there, and neither.
    let ipv4 = ["10.0.0.5", "192.0.2.55", "192.0.2.56"];
    let ipv6 = [
        "::ffff:10.0.0.5",
        "::ffff:192.0.2.55",
        "2001:db8::1",
        "2001:db8::1 fe80::7",
        "2001:db8::2 fe80::7",
    ];
    for (number, next_hop) in (0..).zip(ipv4.into_iter().chain(ipv6)) {
        bed.say(connection, &by_way_of(number, next_hop));
    }
    let of = |bed: &Bed| -> Vec<bool> {
        let refused = refusals(bed, SEVEN).into_iter();
        refused
            .map(|by| {
                assert!(by.is_none() || by.as_deref() == Some(OURS), "{by:?}");
                by.is_some()
            })
            .collect()
    };
    let with_settings = [true, true, false, true, true, true, true, false];
    assert_eq!(of(&bed), with_settings);
    bed.messages(eight);
    // Judged anew when other addresses are told, without a reset.
    bed.configure(seven(None, NextHopIpv6::Mapped));
    let without = [true, false, false, true, false, false, false, false];
    assert_eq!(of(&bed), without);
    let (announced, _) = changes(&bed.messages(eight), &WireFormat::default());
    assert!(announced.contains(&erased(1)), "{announced:?}");
    bed.configure(seven(Some([192, 0, 2, 55]), told));
    assert_eq!(of(&bed), with_settings);
    let (_, withdrawn) = changes(&bed.messages(eight), &WireFormat::default());
    assert!(withdrawn.contains(&erased(1)), "{withdrawn:?}");
    assert!(bed.closed.is_empty());
}
