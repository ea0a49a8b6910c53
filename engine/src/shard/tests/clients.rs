//! Peers that become a route server's clients, and stop being ones, under their sessions (RFC 7947).

use super::*;
use crate::config::Client;

const SEVEN: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7));
const EIGHT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 8));
const NO_EXPORT: u32 = 0xffff_ff01;

fn neighbor_that_is(address: &str, asn: u32, client: Option<Client>) -> Neighbor {
    Neighbor {
        client,
        ..neighbor(address, asn)
    }
}

// RFC-SHOWN 7947 §2.2.4
#[test]
fn no_export_keeps_a_route_from_clients_while_who_said_it_is_none() {
    let client = Some(Client::RouteServer);
    let mut bed = Bed::new();
    bed.configure(neighbor_that_is("10.0.0.7", 65007, None));
    bed.configure(neighbor_that_is("10.0.0.8", 65008, client));
    let seven = bed.connect(SEVEN, &open(65007, 7, &[]));
    let eight = bed.connect(EIGHT, &open(65008, 8, &[]));
    bed.say(
        seven,
        &announce(1, 65007, 7, |writer| writer.communities(&[NO_EXPORT])),
    );
    bed.say(seven, &announce(2, 65007, 7, |_| ()));
    let told = |bed: &mut Bed| changes(&bed.messages(eight), &WireFormat::default());
    assert_eq!(told(&mut bed), (vec![erased(2)], vec![]));
    let verdict = bed.verdict(erased(1), EIGHT);
    assert!(verdict.reason.contains("RFC 1997"), "{verdict:?}");
    bed.configure(neighbor_that_is("10.0.0.7", 65007, client));
    assert_eq!(told(&mut bed), (vec![erased(1)], vec![]));
    bed.configure(neighbor_that_is("10.0.0.7", 65007, None));
    assert_eq!(told(&mut bed), (vec![], vec![erased(1)]));
    assert!(bed.closed.is_empty(), "and no session ends");
}
