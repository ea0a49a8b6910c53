//! What no router here does, or not in each direction: with a peer that says what it is told to.

use std::net::Ipv4Addr;

use codec::notification::{self, cease, message_header, open, route_refresh};
use codec::{
    AsPath, AttributeWriter, Capability, Family, GracefulRestartFamily, LongLivedFamily,
    Notification, Origin,
};

use crate::daemon::{Daemon, config, policy};
use crate::process::eventually;
use crate::scripted::{Addresses, End, PEER_ASN, Peer, RINGBGP_ASN, nlri};

const OURS: &str = "10.0.1.0/24";
const THEIRS: &str = "203.0.113.0/24";
/// What is said behind something that is to have no effect.
const SENTINEL: &str = "198.51.100.0/24";
const PEER: u8 = 10;
const OTHER: u8 = 11;
const INTERNAL: u8 = 12;
const ROUTES: [&str; 2] = ["routes", "available"];

/// A daemon in an AS with two external neighbors that have these options.
fn start(asn: u32, more: &str) -> (Daemon<'static>, Addresses) {
    let addresses = Addresses::new();
    let neighbors = externals(addresses, more);
    (start_with(asn, addresses, &neighbors), addresses)
}

fn externals(addresses: Addresses, more: &str) -> Vec<String> {
    let more = format!("import: all, export: all{more}");
    let neighbors = [PEER, OTHER].map(|number| addresses.neighbor(number, &more));
    neighbors.to_vec()
}

fn start_with(asn: u32, addresses: Addresses, neighbors: &[String]) -> Daemon<'static> {
    let config = config(asn, &addresses.options(), neighbors);
    let manifests = [
        ("config.yaml", &*config),
        ("policy.yaml", &*policy("ours", &[OURS])),
    ];
    Daemon::start(None, &manifests)
}

/// Both families are kept by who restarts, over a NOTIFICATION too or not.
fn restarts(notification: bool, restart_time: u16) -> Capability {
    let family = |family: Family| GracefulRestartFamily {
        afi: family.afi(),
        safi: family.safi(),
        forwarding: true,
    };
    Capability::GracefulRestart {
        restarting: false,
        notification,
        restart_time,
        families: Family::ALL.map(family).to_vec(),
    }
}

fn long_lived() -> Capability {
    let family = |family: Family| LongLivedFamily {
        afi: family.afi(),
        safi: family.safi(),
        forwarding: true,
        stale_time: 3600,
    };
    Capability::LongLivedGracefulRestart(Family::ALL.map(family).to_vec())
}

/// The NOTIFICATION that ends a connection, and its code and subcode.
fn notification(peer: &mut Peer) -> (Notification, (u8, u8)) {
    match peer.wait_for_end() {
        End::Notification(said) => {
            let code = (said.code, said.subcode);
            (said, code)
        }
        End::Closed => panic!("closed without a word"),
    }
}

fn notify(peer: &mut Peer, notification: &Notification) {
    let mut octets = Vec::new();
    codec::encode_notification(notification, &mut octets);
    peer.send(&octets);
    assert_eq!(peer.wait_for_end(), End::Closed, "it is not answered");
}

/// An UPDATE of [`THEIRS`] with more attributes, or another path.
fn update(path: &[u8], more: impl FnOnce(&mut AttributeWriter<'_>)) -> Vec<u8> {
    let (mut attributes, mut octets) = (Vec::new(), Vec::new());
    let mut writer = AttributeWriter::new(&mut attributes);
    writer.origin(Origin::Igp);
    match path {
        [] => writer.as_path(&AsPath::default(), &[PEER_ASN], true),
        path => writer.raw(0x40, 2, path),
    }
    writer.next_hop(Ipv4Addr::new(192, 0, 2, 10));
    more(&mut writer);
    codec::encode_update(&attributes, &nlri(THEIRS), &mut octets);
    octets
}

// RFC-SHOWN 9687 §3
// INTEROP scripted: send hold in
#[test]
fn a_peer_whose_messages_were_not_taken_says_so() {
    let (daemon, addresses) = start(RINGBGP_ASN, "");
    let mut peer = Peer::establish(addresses, PEER);
    let said = Notification::new(notification::SEND_HOLD_TIMER_EXPIRED, 0);
    notify(&mut peer, &said);
    let words = "its messages were not taken for too long";
    daemon.wait_for_error(&addresses.host(PEER).to_string(), &[words]);
}

/// As BIRD, which restarts gracefully and does not know the N bit: no Hard Reset is wrapped around what
/// it is told, and whatever it says takes its routes at once.
// RFC-SHOWN 8538 §3.1
// INTEROP scripted: plain notification
#[test]
fn without_the_n_bit_resets_are_plain_and_take_all() {
    let (daemon, addresses) = start(RINGBGP_ASN, ", gracefulRestart: {enabled: true}");
    let settled = || {
        let mut peer = Peer::establish_offering(addresses, PEER, &[restarts(false, 100)]);
        peer.announce(THEIRS);
        daemon.wait_for_prefixes(&ROUTES, &[OURS, THEIRS]);
        peer
    };
    let reset = cease::ADMINISTRATIVE_RESET;
    let address = addresses.host(PEER).to_string();
    let mut peer = settled();
    daemon.ask(&["reset", &address]).expect("it is reset");
    let (said, code) = notification(&mut peer);
    assert_eq!(code, (notification::CEASE, reset), "{said}");
    daemon.wait_for_prefixes(&ROUTES, &[OURS]);

    let words = Notification::cease(reset).with_shutdown_communication("new line card");
    for said in [words.clone(), words.in_hard_reset()] {
        notify(&mut settled(), &said);
        daemon.wait_for_prefixes(&ROUTES, &[OURS]);
        daemon.wait_for_error(&address, &["new line card"]);
    }
    // Without a NOTIFICATION they stay.
    drop(settled());
    eventually("the route is stale", || {
        let routes = daemon.ask(&["routes", "available", THEIRS])?;
        match routes[0]["stale"] == true {
            true => Ok(()),
            false => Err(routes.to_string()),
        }
    });
}

/// We end the session for new settings: nothing that is hard, and the next OPEN says that what we told
/// stands.
// RFC-SHOWN 8538 §3.1
// INTEROP scripted: hard reset out
#[test]
fn new_settings_are_no_hard_reset_and_what_was_told_stands() {
    let (daemon, addresses) = start(RINGBGP_ASN, ", gracefulRestart: {enabled: true}");
    let mut peer = Peer::establish_offering(addresses, PEER, &[restarts(true, 100)]);
    peer.wait_for_prefixes(&[OURS]);
    peer.announce(THEIRS);
    daemon.wait_for_prefixes(&ROUTES, &[OURS, THEIRS]);
    let file = daemon.manifests().join("config.yaml");
    let text = std::fs::read_to_string(file).expect("the configuration is there");
    let text = text.replace("import: all", "timers: {holdTimeSeconds: 60}, import: all");
    daemon.write("config.yaml", &text);
    let (said, code) = notification(&mut peer);
    let expected = (notification::CEASE, cease::OTHER_CONFIGURATION_CHANGE);
    assert_eq!(code, expected, "{said}");
    // Ours is kept there, and theirs here.
    daemon.wait_for_prefixes(&ROUTES, &[OURS, THEIRS]);
    let mut peer = Peer::establish_offering(addresses, PEER, &[restarts(true, 100)]);
    let capabilities = &peer.open.as_ref().expect("an OPEN").capabilities;
    let ours = capabilities.iter().find_map(|capability| match capability {
        Capability::GracefulRestart {
            notification,
            families,
            ..
        } => Some((*notification, families.clone())),
        _ => None,
    });
    let (notification, families) = ours.expect("graceful restart");
    assert!(notification && families.len() == 2, "{families:?}");
    assert!(families.iter().all(|family| family.forwarding));
    peer.wait_for_prefixes(&[OURS]);
}

/// A peer that knows the long-lived form is told of a route that is kept for long; who does not is told
/// that it is gone, outside the AS, and inside that it is the last resort.
// RFC-SHOWN 9494 §4.3
// RFC-SHOWN 9494 §4.6
// INTEROP scripted: long-lived restart
#[test]
fn who_lacks_the_long_lived_form_is_not_told_of_what_is_kept_so() {
    const STALE: u32 = 0xffff_0006;
    const NO_EXPORT: u32 = 0xffff_ff01;
    for knows in [true, false] {
        let addresses = Addresses::new();
        let mut neighbors = externals(addresses, ", longLivedGracefulRestart: {enabled: true}");
        let internal = addresses.neighbor(INTERNAL, "export: all");
        let (theirs, ours) = (format!("N: {PEER_ASN}"), format!("N: {RINGBGP_ASN}"));
        neighbors.push(internal.replace(&theirs, &ours));
        let daemon = start_with(RINGBGP_ASN, addresses, &neighbors);
        let offers = [restarts(true, 1), long_lived()];
        let mut peer = Peer::establish_offering(addresses, PEER, &offers);
        let offers = if knows { &offers[..] } else { &[] };
        let mut other = Peer::establish_offering(addresses, OTHER, offers);
        let mut internal = Peer::establish_internal(addresses, INTERNAL);
        peer.announce(THEIRS);
        for peer in [&mut other, &mut internal] {
            peer.wait_for_prefixes(&[OURS, THEIRS]);
        }
        drop(peer);
        if knows {
            other.wait_for("the route is marked", |other| {
                other
                    .table
                    .get(THEIRS)
                    .is_some_and(|marks| *marks == [STALE])
            });
        } else {
            other.wait_for_prefixes(&[OURS]);
        }
        internal.wait_for("the route is the last resort", |internal| {
            let marks = internal.table.get(THEIRS);
            marks.is_some_and(|marks| [STALE, NO_EXPORT].iter().all(|mark| marks.contains(mark)))
        });
        drop(daemon);
    }
}

/// One that says no role where there must be one, one whose role does not fit, and one that finds that
/// ours does not.
// RFC-SHOWN 9234 §4.2
// INTEROP scripted: role mismatch
#[test]
fn roles_that_do_not_fit_are_refused_on_both_sides() {
    let (daemon, addresses) = start(RINGBGP_ASN, ", role: provider, roleStrict: true");
    let address = addresses.host(PEER).to_string();
    // Refused before, it is not heard at all for a while.
    let end = |open: &dyn Fn(&mut Peer)| {
        eventually("the connection is heard", || {
            let mut peer = Peer::connect(addresses, PEER);
            open(&mut peer);
            match peer.wait_for_end() {
                End::Closed if peer.open.is_none() => Err("it is not".to_owned()),
                end => Ok(end),
            }
        })
    };
    let mismatch = Notification::new(notification::OPEN, open::ROLE_MISMATCH);
    for offers in [&[][..], &[Capability::Role(4)]] {
        let said = end(&|peer| {
            peer.offer(offers);
            peer.send_open(PEER_ASN, addresses.host(PEER), 90);
        });
        let End::Notification(said) = said else {
            panic!("closed without a word");
        };
        let (code, subcode) = (mismatch.code, mismatch.subcode);
        assert_eq!((said.code, said.subcode), (code, subcode), "{said}");
        daemon.wait_for_error(&address, &["role"]);
    }
    let mut octets = Vec::new();
    codec::encode_notification(&mismatch, &mut octets);
    assert_eq!(end(&|peer| peer.send(&octets)), End::Closed);
    daemon.wait_for_error(&address, &["our role provider does not fit"]);
    // Ours is in the OPEN, and customers are welcome.
    let customer = Peer::establish_offering(addresses, PEER, &[Capability::Role(3)]);
    let capabilities = customer.open.expect("an OPEN").capabilities;
    assert!(
        capabilities.contains(&Capability::Role(0)),
        "{capabilities:?}"
    );
}

/// A speaker of two-octet AS numbers is told AS_TRANS, and the path as it is beside that; what it says is
/// put together of both.
// RFC-SHOWN 6793 §4.2.2
// RFC-SHOWN 6793 §4.2.3
// INTEROP scripted: two-octet as
#[test]
fn an_old_speaker_has_as_numbers_of_two_octets() {
    const ASN: u32 = 4_200_000_001;
    const TRANS: [u8; 2] = 23_456_u16.to_be_bytes();
    let (daemon, addresses) = start(ASN, "");
    let mut old = Peer::connect(addresses, PEER);
    old.send_open_with(PEER_ASN, addresses.host(PEER), 90, false);
    old.wait_established();
    let open = old.open.clone().expect("an OPEN");
    assert!(open.capabilities.contains(&Capability::FourOctetAs(ASN)));
    old.wait_for_prefixes(&[OURS]);
    let has = |wanted: &[u8]| {
        old.last_update
            .windows(wanted.len())
            .any(|part| part == wanted)
    };
    let as_path = [&[0x40, 2, 4, 2, 1][..], &TRANS].concat();
    let as4_path = [&[0xc0, 17, 6, 2, 1][..], &ASN.to_be_bytes()].concat();
    assert!(has(&as_path) && has(&as4_path), "{:?}", old.last_update);

    let [high, low] = u16::try_from(PEER_ASN).expect("a short one").to_be_bytes();
    let path = [2, 2, high, low, TRANS[0], TRANS[1]];
    let as4_path = [
        &[2, 2][..],
        &PEER_ASN.to_be_bytes(),
        &4_200_000_009_u32.to_be_bytes(),
    ];
    old.send(&update(&path, |writer| {
        writer.raw(0xc0, 17, &as4_path.concat())
    }));
    daemon.wait_for_prefixes(&ROUTES, &[OURS, THEIRS]);
    let shown = daemon
        .ask(&["routes", "available", THEIRS])
        .expect("a route");
    let asns = serde_json::json!([PEER_ASN, 4_200_000_009_u32]);
    assert_eq!(shown[0]["asPath"][0]["asns"], asns, "{shown}");
}

/// More capabilities than the short form holds.
// RFC-SHOWN 9072 §2
// INTEROP scripted: extended open in
#[test]
fn an_open_of_the_long_form_is_understood() {
    let (_daemon, addresses) = start(RINGBGP_ASN, "");
    let many: Vec<Capability> = (0..40)
        .map(|number| Capability::Unknown {
            code: 239,
            data: vec![number; 20].into(),
        })
        .collect();
    let mut peer = Peer::establish_offering(addresses, PEER, &many);
    peer.wait_for_prefixes(&[OURS]);
}

// RFC-SHOWN 7313 §5
// INTEROP scripted: refresh length in
#[test]
fn a_bound_of_a_refresh_has_its_length() {
    let (daemon, addresses) = start(RINGBGP_ASN, "");
    let offers = [Capability::EnhancedRouteRefresh];
    let mut peer = Peer::establish_offering(addresses, PEER, &offers);
    peer.wait_for_prefixes(&[OURS]);
    let mut octets = vec![0xff; 16];
    // BoRR of IPv4 unicast, and an octet more.
    octets.extend_from_slice(&[0, 24, 5, 0, 1, 1, 1, 0]);
    peer.send(&octets);
    let (said, code) = notification(&mut peer);
    let expected = (notification::ROUTE_REFRESH, route_refresh::INVALID_LENGTH);
    assert_eq!(code, expected, "{said}");
    daemon.wait_for_error(&addresses.host(PEER).to_string(), &["ROUTE-REFRESH"]);
}

/// A peer in no confederation of ours speaks of one: what it says so is as good as withdrawn.
// RFC-SHOWN 5065 §5
// INTEROP scripted: confederation in
#[test]
fn segments_of_a_confederation_from_outside_withdraw() {
    let (daemon, addresses) = start(RINGBGP_ASN, "");
    let mut peer = Peer::establish(addresses, PEER);
    let mut other = Peer::establish(addresses, OTHER);
    peer.send(&update(&[], |_| ()));
    other.wait_for_prefixes(&[OURS, THEIRS]);
    for segment in [3, 4] {
        let asn = PEER_ASN.to_be_bytes();
        let path = [&[segment, 1][..], &asn, &[2, 1], &asn].concat();
        peer.send(&update(&path, |_| ()));
        other.wait_for_prefixes(&[OURS]);
        peer.send(&update(&[], |_| ()));
        other.wait_for_prefixes(&[OURS, THEIRS]);
    }
    daemon.wait_established(&addresses.host(PEER).to_string());
}

/// It offered no extended messages, and the header of one comes.
// RFC-SHOWN 8654 §4
// INTEROP scripted: long message in
#[test]
fn a_long_message_of_who_did_not_offer_them_is_refused() {
    let (_daemon, addresses) = start(RINGBGP_ASN, "");
    let mut peer = Peer::establish(addresses, PEER);
    let mut header = vec![0xff; 16];
    header.extend_from_slice(&4097_u16.to_be_bytes());
    header.push(2);
    peer.send(&header);
    let (said, code) = notification(&mut peer);
    let expected = (notification::MESSAGE_HEADER, message_header::BAD_LENGTH);
    assert_eq!(code, expected, "{said}");
}

/// Nobody here knows them: a transitive one goes on as it came, and is marked as not understood by all; the
/// other one goes nowhere.
// RFC-SHOWN 4271 §5
// INTEROP scripted: unknown attributes
#[test]
fn unknown_attributes_go_on_if_they_may() {
    let (_daemon, addresses) = start(RINGBGP_ASN, "");
    let mut peer = Peer::establish(addresses, PEER);
    let mut other = Peer::establish(addresses, OTHER);
    other.wait_for_prefixes(&[OURS]);
    let (stays, goes) = ([1, 2, 3, 4, 5, 6, 7], [7, 6, 5, 4, 3, 2, 1]);
    peer.send(&update(&[], |writer| {
        writer.raw(0xc0, 200, &goes);
        writer.raw(0x80, 201, &stays);
    }));
    other.wait_for_prefixes(&[OURS, THEIRS]);
    let has = |wanted: &[u8]| {
        let mut parts = other.last_update.windows(wanted.len());
        parts.any(|part| part == wanted)
    };
    assert!(has(&[&[0xe0, 200, 7][..], &goes].concat()));
    assert!(!has(&stays), "{:?}", other.last_update);
    peer.announce(SENTINEL);
    other.wait_for_prefixes(&[OURS, THEIRS, SENTINEL]);
}
