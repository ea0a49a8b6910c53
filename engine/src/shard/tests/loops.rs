//! Routes that went through us already, by whichever of our AS numbers (RFC 4271 §9.1.2).

use super::*;

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
