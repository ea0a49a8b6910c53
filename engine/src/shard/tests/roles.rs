//! Only to Customer (RFC 9234 §5), by what we are to who says and to who hears.

use codec::AttributeSet;

use super::*;
use crate::config::Role;

const SAYS: &str = "10.0.0.6";
const HEARS: &str = "10.0.0.7";

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn with_role(address: &str, asn: u32, role: Option<Role>) -> Neighbor {
    Neighbor {
        role,
        ..neighbor(address, asn)
    }
}

/// What becomes of a route that AS 65002 says with `otc`, we being `from` to it, on the way to AS
/// 65003, we being `to` to that: what it is received and told with, or why it is not used or told.
fn passed(
    from: Option<Role>,
    otc: Option<u32>,
    to: Option<Role>,
) -> (Result<Option<u32>, String>, Result<Option<u32>, String>) {
    let mut bed = Bed::new();
    bed.configure(with_role(SAYS, 65002, from));
    bed.configure(with_role(HEARS, 65003, to));
    let saying = bed.connect(address(SAYS), &open(65002, 6, &[]));
    let hearing = bed.connect(address(HEARS), &open(65003, 7, &[]));
    let update = announce(1, 65002, 6, |writer| {
        writer.communities(&[65002 << 16 | 1]);
        if let Some(otc) = otc {
            writer.otc(otc);
        }
        // Behind it, as attributes are in ascending order.
        writer.raw(0xe0, 99, &[7]);
    });
    bed.say(saying, &update);
    let received = bed.routes(RoutesKind::Received, address(SAYS)).remove(0);
    let heard = bed.messages(hearing).iter().find_map(|message| {
        let Ok(Message::Update(body)) = codec::parse_message(message) else {
            return None;
        };
        let update = codec::parse_update(body, &WireFormat::default()).unwrap();
        assert!(update.faults.is_empty());
        let mut canonical = Vec::new();
        update.canonical(codec::NlriField::Plain, &mut canonical);
        let set = AttributeSet::new(&canonical);
        let codes: Vec<u8> = set.iter().map(|attribute| attribute.code).collect();
        assert!(codes.is_sorted(), "{codes:?}");
        (!update.announced.is_empty()).then(|| set.otc())
    });
    let received = match received.accepted {
        true => Ok(received.otc),
        false => Err(received.rejected_by.unwrap()),
    };
    let verdict = bed.verdict(erased(1), address(HEARS));
    assert_eq!(heard.is_some(), verdict.advertised);
    (received, heard.ok_or(verdict.reason))
}

// RFC-SHOWN 9234 §5
#[test]
fn what_came_from_above_or_beside_is_marked_and_goes_to_customers_only() {
    let from_above = [Role::Customer, Role::Peer, Role::RouteServerClient];
    for from in from_above {
        let (received, told) = passed(Some(from), None, Some(Role::Provider));
        assert_eq!(received, Ok(Some(65002)), "marked with the peer's AS");
        assert_eq!(told, Ok(Some(65002)), "and left as it is");
        for to in from_above {
            let (_, told) = passed(Some(from), None, Some(to));
            let reason = told.unwrap_err();
            assert!(reason.contains("OTC"), "{reason}");
        }
        let (_, told) = passed(Some(from), None, None);
        assert_eq!(told, Ok(Some(65002)), "where there is no role, it is kept");
    }
}

// RFC-SHOWN 9234 §5
#[test]
fn what_came_from_below_goes_everywhere_and_is_marked_on_its_way_down() {
    for from in [Some(Role::Provider), Some(Role::RouteServer), None] {
        for to in [Role::Provider, Role::Peer, Role::RouteServer] {
            let (received, told) = passed(from, None, Some(to));
            assert_eq!(received, Ok(None));
            assert_eq!(told, Ok(Some(ASN)), "marked with our AS towards {to:?}");
        }
        for to in [Some(Role::Customer), Some(Role::RouteServerClient), None] {
            let (_, told) = passed(from, None, to);
            assert_eq!(told, Ok(None), "not marked towards {to:?}");
        }
    }
}

// RFC-SHOWN 9234 §5
#[test]
fn a_leaked_route_is_kept_and_not_used() {
    let leak = |from, otc| {
        let (received, told) = passed(Some(from), Some(otc), None);
        let reason = received.unwrap_err();
        assert!(reason.starts_with("route leak"), "{reason}");
        assert!(told.is_err());
    };
    leak(Role::Provider, 65002);
    leak(Role::RouteServer, 65009);
    leak(Role::Peer, 65009);
    let (received, _) = passed(Some(Role::Peer), Some(65002), None);
    assert_eq!(received, Ok(Some(65002)), "the peer marked it itself");
    for from in [Some(Role::Customer), Some(Role::RouteServerClient), None] {
        let (received, told) = passed(from, Some(65009), Some(Role::Provider));
        assert_eq!((received, told), (Ok(Some(65009)), Ok(Some(65009))));
    }
}

#[test]
fn roles_that_are_told_alike_share_a_group() {
    let mut bed = Bed::new();
    let roles = [
        Some(Role::Provider),
        Some(Role::RouteServer),
        Some(Role::Customer),
        Some(Role::RouteServerClient),
        Some(Role::Peer),
        None,
    ];
    let groups = (6..).zip(roles).map(|(id, role)| {
        let text = format!("10.0.0.{id}");
        bed.configure(with_role(&text, 65000 + u32::from(id), role));
        bed.connect(address(&text), &open(65000 + u32::from(id), id, &[]));
        bed.peer(address(&text)).group.unwrap()
    });
    let groups: Vec<u32> = groups.collect();
    assert_eq!(groups[0], groups[1]);
    assert_eq!(groups[2], groups[3]);
    let different: std::collections::BTreeSet<u32> = groups.into_iter().collect();
    assert_eq!(different.len(), 4);
}
