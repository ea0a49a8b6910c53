//! Extended messages, extended next hop, names: what two OPENs come to.

use codec::{ExtendedNextHop, NextHop};

use super::*;

const SAYS: &str = "10.0.0.6";
const HEARS: &str = "10.0.0.7";

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Too much for one message of 4,096 octets.
fn long(writer: &mut AttributeWriter<'_>) {
    let communities: Vec<[u32; 3]> = (0..400).map(|n| [65002, 1, n]).collect();
    writer.large_communities(&communities);
}

/// One peer that says, one that hears; each offers what it is given.
fn two(says: &[Capability], hears: &[Capability]) -> (Bed, ConnectionId, ConnectionId) {
    let mut bed = Bed::new();
    bed.configure(neighbor(SAYS, 65002));
    bed.configure(neighbor(HEARS, 65003));
    let saying = bed.connect(address(SAYS), &open(65002, 6, says));
    let hearing = bed.connect(address(HEARS), &open(65003, 7, hears));
    bed.messages(hearing);
    (bed, saying, hearing)
}

// RFC-SHOWN 8654 §4
#[test]
fn a_long_message_is_passed_on_to_who_can_take_it() {
    let extended = [Capability::ExtendedMessages];
    let (mut bed, saying, hearing) = two(&extended, &extended);
    let update = announce(1, 65002, 6, long);
    assert!(update.len() > 4096);
    // In pieces, as a socket may bring it.
    for piece in update.chunks(1000) {
        bed.say(saying, piece);
    }
    let messages = bed.messages(hearing);
    assert!(messages.iter().any(|message| message.len() > 4096));
    let (announced, _) = changes(&messages, &WireFormat::default());
    assert_eq!(announced, [erased(1)]);
    assert!(bed.verdict(erased(1), address(HEARS)).advertised);
    assert_eq!(bed.peer(address(HEARS)).families[0].advertised, 1);
}

// RFC-SHOWN 8654 §4
#[test]
fn whoever_cannot_take_it_is_told_a_withdrawal_and_the_operator_why() {
    let (mut bed, saying, hearing) = two(&[Capability::ExtendedMessages], &[]);
    bed.say(saying, &announce(1, 65002, 6, |_| ()));
    bed.say(saying, &announce(2, 65002, 6, |_| ()));
    let (announced, _) = changes(&bed.messages(hearing), &WireFormat::default());
    assert_eq!(announced, [erased(1), erased(2)]);

    bed.say(saying, &announce(1, 65002, 6, long));
    let (announced, withdrawn) = changes(&bed.messages(hearing), &WireFormat::default());
    assert_eq!((announced, withdrawn), (vec![], vec![erased(1)]));
    let verdict = bed.verdict(erased(1), address(HEARS));
    assert!(!verdict.advertised);
    assert!(verdict.reason.contains("RFC 8654"), "{}", verdict.reason);
    let told = bed.routes(RoutesKind::Advertised, address(HEARS));
    assert_eq!(told.len(), 1, "only what it was told");
    assert_eq!(bed.peer(address(HEARS)).families[0].advertised, 1);

    // Short again, it comes back.
    bed.say(saying, &announce(1, 65002, 6, |_| ()));
    let (announced, _) = changes(&bed.messages(hearing), &WireFormat::default());
    assert_eq!(announced, [erased(1)]);
    assert_eq!(bed.peer(address(HEARS)).families[0].advertised, 2);
    bed.say(saying, &withdraw(1));
    assert_eq!(bed.peer(address(HEARS)).families[0].advertised, 1);
}

// RFC-SHOWN 8654 §4
#[test]
fn a_long_message_of_a_peer_that_did_not_offer_it_is_refused() {
    let (mut bed, saying, _) = two(&[], &[]);
    bed.say(saying, &announce(1, 65002, 6, long));
    let notification = bed.notification(saying).unwrap();
    assert_eq!((notification.code, notification.subcode), (1, 2));
    let length = announce(1, 65002, 6, long).len() as u16;
    assert_eq!(&notification.data[..], length.to_be_bytes());
}

#[test]
fn peers_with_and_without_long_messages_share_a_group() {
    let (bed, ..) = two(&[Capability::ExtendedMessages], &[]);
    let group = |peer| bed.peer(address(peer)).group;
    assert_eq!(group(SAYS), group(HEARS));
}

fn ipv4_over_ipv6() -> Capability {
    Capability::ExtendedNextHop(vec![ExtendedNextHop {
        afi: 1,
        safi: 1,
        next_hop_afi: 2,
    }])
}

/// The next hop of the first announcement among messages.
fn next_hop(messages: &[Vec<u8>], format: &WireFormat) -> Option<NextHop> {
    messages.iter().find_map(|message| {
        let Ok(Message::Update(body)) = codec::parse_message(message) else {
            return None;
        };
        let update = codec::parse_update(body, format).unwrap();
        let reach = update.mp_announced.filter(|mp| !mp.nlri.is_empty());
        let plain = update.attributes.get(codec::code::NEXT_HOP);
        match reach {
            Some(reach) => Some(reach.next_hop),
            None => plain.and_then(|attribute| NextHop::parse(attribute.value)),
        }
    })
}

// RFC-SHOWN 8950 §4
#[test]
fn ipv4_over_an_ipv6_session_has_the_next_hop_that_was_negotiated() {
    let extended = WireFormat {
        extended_next_hop: true,
        ..WireFormat::default()
    };
    let ours: NextHop = NextHop::V6("2001:db8::5".parse().unwrap());
    let beside: NextHop = NextHop::V4(Ipv4Addr::new(10, 0, 0, 9));
    for (offered, expected) in [(vec![ipv4_over_ipv6()], ours), (vec![], beside)] {
        let mut bed = Bed::new();
        bed.configure(neighbor(SAYS, 65002));
        bed.configure(neighbor("2001:db8::7", 65003));
        let saying = bed.connect(address(SAYS), &open(65002, 6, &[]));
        let hearing = bed.connect(address("2001:db8::7"), &open(65003, 7, &offered));
        bed.say(saying, &announce(1, 65002, 6, |_| ()));
        let messages = bed.messages(hearing);
        assert_eq!(next_hop(&messages, &extended), Some(expected));
        let told = bed.routes(RoutesKind::Advertised, address("2001:db8::7"));
        let shown = told[0].next_hop.as_deref();
        assert_eq!(shown, Some(&*expected.address().to_string()));
    }
}

// RFC-SHOWN 8950 §3
// RFC-SHOWN 8950 §4
#[test]
fn an_ipv6_next_hop_of_an_ipv4_route_goes_only_to_who_offered_to_take_it() {
    let theirs = NextHop::V6("2001:db8::6".parse().unwrap());
    let extended = WireFormat {
        extended_next_hop: true,
        ..WireFormat::default()
    };
    let mut bed = Bed::new();
    let mut internal = neighbor(SAYS, 65002);
    internal.next_hop_self = NextHopSelf::Never;
    bed.configure(internal);
    for hears in ["10.0.0.7", "10.0.0.8"] {
        let mut internal = neighbor(hears, ASN);
        internal.next_hop_self = NextHopSelf::Never;
        bed.configure(internal);
    }
    let saying = bed.connect(address(SAYS), &open(65002, 6, &[ipv4_over_ipv6()]));
    let able = bed.connect(address("10.0.0.7"), &open(ASN, 7, &[ipv4_over_ipv6()]));
    let unable = bed.connect(address("10.0.0.8"), &open(ASN, 8, &[]));
    let mut attributes = Vec::new();
    let mut writer = AttributeWriter::new(&mut attributes);
    writer.origin(Origin::Igp);
    writer.as_path(&codec::AsPath::default(), &[65002], true);
    let mut nlri = Vec::new();
    codec::encode_nlri(prefix(1), None, &mut nlri);
    let mut update = Vec::new();
    codec::encode_mp_update(
        Family::Ipv4Unicast,
        &theirs,
        &attributes,
        &nlri,
        &mut update,
    );
    bed.say(saying, &update);
    let received = bed.routes(RoutesKind::Received, address(SAYS));
    assert_eq!(received[0].next_hop.as_deref(), Some("2001:db8::6"));
    assert_eq!(next_hop(&bed.messages(able), &extended), Some(theirs));
    let (announced, _) = changes(&bed.messages(unable), &WireFormat::default());
    assert_eq!(announced, []);
    let verdict = bed.verdict(erased(1), address("10.0.0.8"));
    assert!(verdict.reason.contains("RFC 8950"), "{}", verdict.reason);
}

#[test]
fn the_name_that_a_peer_gives_itself_is_shown_escaped() {
    let name = |host: &'static [u8], domain: &'static [u8]| Capability::Fqdn {
        host: Bytes::from_static(host),
        domain: Bytes::from_static(domain),
    };
    for (offered, shown) in [
        (vec![name(b"tor1", b"")], Some("tor1")),
        (
            vec![name(b"tor1", b"example.net")],
            Some("tor1.example.net"),
        ),
        (
            vec![name(b"a\x1b[2J\xff", b"")],
            Some("a\\u{1b}[2J\u{fffd}"),
        ),
        // What turns the direction of text, and what no width is given to.
        (
            vec![name("a\u{202e}b\u{200b}".as_bytes(), "\u{85}".as_bytes())],
            Some("a\\u{202e}b\\u{200b}.\\u{85}"),
        ),
        (vec![name("tör1".as_bytes(), b"")], Some("tör1")),
        (vec![name(b"", b"")], None),
        (vec![], None),
    ] {
        let mut bed = Bed::new();
        bed.configure(neighbor(SAYS, 65002));
        bed.connect(address(SAYS), &open(65002, 6, &offered));
        assert_eq!(bed.peer(address(SAYS)).peer_hostname.as_deref(), shown);
    }
}
