//! Round trips over recorded traffic: read, write again, read again, equal.

mod support;

use codec::{
    AttributeSet, Family, Message, NextHop, NlriField, Notification, PeerKind, Update, WireFormat,
    code, encode_mp_update, encode_notification, encode_open, encode_update, encode_withdraw,
    frame, parse_message, parse_update,
};
use support::mrt::{Record, Recorded, RibEntry};

/// What a dump turned out to hold.
#[derive(Debug, Default)]
struct Tally {
    updates: usize,
    other_messages: usize,
    routes: usize,
    faults: usize,
    withdrawn_by_fault: usize,
    resets: usize,
}

fn canonical(update: &Update<'_>, which: NlriField) -> Vec<u8> {
    let mut out = Vec::new();
    update.canonical(which, &mut out);
    out
}

fn body(message: &[u8]) -> &[u8] {
    match parse_message(message) {
        Ok(Message::Update(body)) => body,
        other => panic!("not an UPDATE: {other:?}"),
    }
}

/// Unknown transitive attributes come out byte for byte, marked Partial if they were (RFC 4271 §5).
fn check_unknown(update: &Update<'_>, canonical: &[u8]) {
    let set = AttributeSet::new(canonical);
    for attribute in update.attributes.iter() {
        if code::name(attribute.code).is_none() && attribute.flags & 0x40 != 0 {
            let kept = set.get(attribute.code).unwrap();
            assert_eq!(kept.value, attribute.value);
            assert_eq!(kept.flags & 0xe0, 0xc0 | attribute.flags & 0x20);
        }
    }
}

fn check_update(body: &[u8], format: &WireFormat, tally: &mut Tally) -> Result<(), Notification> {
    let update = parse_update(body, format)?;
    tally.faults += update.faults.len();
    if update.treat_as_withdraw() {
        tally.withdrawn_by_fault += 1;
        return Ok(());
    }
    let again_format = support::rewritten_format(format);
    for which in [NlriField::Plain, NlriField::MpReach] {
        let nlri = match which {
            NlriField::Plain => Some(update.announced),
            NlriField::MpReach => update.mp_announced.map(|reach| reach.nlri),
        };
        let Some(nlri) = nlri.filter(|nlri| !nlri.is_empty()) else {
            continue;
        };
        let add_path = format.add_path_receive.contains(nlri.family());
        let attributes = canonical(&update, which);
        check_unknown(&update, &attributes);
        assert!(
            AttributeSet::new(&attributes)
                .iter()
                .is_sorted_by(|a, b| a.code < b.code)
        );

        let message = support::rewrite(&update, which, add_path);
        let again = parse_update(self::body(&message), &again_format)?;
        assert!(
            again.faults.is_empty(),
            "{:?} in {message:02x?}",
            again.faults
        );
        assert_eq!(canonical(&again, which), attributes);
        let again_nlri = match which {
            NlriField::Plain => again.announced,
            NlriField::MpReach => again.mp_announced.unwrap().nlri,
        };
        assert!(again_nlri.iter().eq(nlri.iter()));
        assert_eq!(
            again.mp_announced.map(|reach| reach.next_hop),
            update
                .mp_announced
                .map(|reach| reach.next_hop)
                .filter(|_| which == NlriField::MpReach)
        );
    }
    let withdrawn = [
        Some(update.withdrawn),
        update.mp_withdrawn.map(|unreach| unreach.nlri),
    ];
    for nlri in withdrawn.into_iter().flatten() {
        let mut message = Vec::new();
        encode_withdraw(nlri.family(), nlri.octets(), &mut message);
        let again = parse_update(self::body(&message), &again_format)?;
        let plain = again.withdrawn.iter();
        let multiprotocol = again.mp_withdrawn.map(|unreach| unreach.nlri);
        let multiprotocol = multiprotocol.iter().flat_map(|nlri| nlri.iter());
        assert!(plain.chain(multiprotocol).eq(nlri.iter()));
    }
    Ok(())
}

fn check_message(recorded: &Recorded<'_>, tally: &mut Tally) {
    let Recorded { format, message } = recorded;
    let result = (|| {
        let length = frame(message, format.max_len())?;
        assert_eq!(length, Some(message.len()));
        let mut out = Vec::new();
        match parse_message(message)? {
            Message::Update(body) => {
                tally.updates += 1;
                return check_update(body, format, tally);
            }
            Message::Open(open) => {
                encode_open(&open, &mut out);
                assert_eq!(parse_message(&out)?, Message::Open(open));
            }
            Message::Notification(notification) => {
                encode_notification(&notification, &mut out);
                assert_eq!(out, *message, "{notification}");
            }
            Message::Keepalive | Message::RouteRefresh(_) => {}
        }
        tally.other_messages += 1;
        Ok::<_, Notification>(())
    })();
    if let Err(notification) = result {
        println!("reset {notification} by {message:02x?}");
        tally.resets += 1;
    }
}

/// A table's attributes are those of an UPDATE, but for the cut down MP_REACH_NLRI
/// (RFC 6396 §4.3.4).
fn check_route(route: &RibEntry<'_>, tally: &mut Tally) {
    tally.routes += 1;
    let block = AttributeSet::new(route.attributes);
    let mut message = Vec::new();
    let rest = support::without_next_hop(route.attributes);
    match (
        route.family,
        block.get(code::MP_REACH_NLRI),
        block.next_hop(),
    ) {
        (Family::Ipv4Unicast, _, _) => encode_update(route.attributes, &route.prefix, &mut message),
        (family, Some(_), Some(next_hop)) => {
            encode_mp_update(family, &next_hop, &rest, &route.prefix, &mut message);
        }
        // Some old daemons put the whole MP_REACH_NLRI into their tables.
        (_, Some(_), None) => encode_update(route.attributes, &[], &mut message),
        // And some made-up tables have no next hop at all.
        (family, None, _) => {
            let next_hop = NextHop::V6("2001:db8::1".parse().unwrap());
            encode_mp_update(family, &next_hop, &rest, &route.prefix, &mut message);
        }
    }
    let format = WireFormat {
        four_octet_as: route.four_octet_as,
        extended_messages: true,
        extended_next_hop: true,
        families: codec::FamilySet::ALL,
        // Tables show LOCAL_PREF of external routes too.
        peer: PeerKind::Internal,
        ..WireFormat::default()
    };
    if let Err(notification) = check_update(body(&message), &format, tally) {
        println!("reset {notification} by {message:02x?}");
        tally.resets += 1;
    }
}

fn check_dumps(names: &[&str]) {
    for name in names {
        let Some(path) = support::data(&format!("mrt/{name}")) else {
            continue;
        };
        let dump = support::read(&path);
        let mut tally = Tally::default();
        support::mrt::walk(&dump, &mut |record| match record {
            Record::Message(recorded) => check_message(&recorded, &mut tally),
            Record::Route(route) => check_route(&route, &mut tally),
        });
        println!("{name}: {tally:?}");
        assert!(tally.updates + tally.other_messages + tally.routes > 0);
        assert_eq!(tally.resets, 0, "{name}: recorded sessions did not reset");
    }
}

#[test]
fn small_dumps() {
    check_dumps(&[
        "bview.64k_stream_overflow.gz",
        "bview.ipv4_unicast_add_path.gz",
        "bview.ipv6_unicast_add_path.gz",
        "route-views.jinx.updates.20150401.0000.bz2",
        "rrc03.updates.20100227.1600.first-796-records.gz",
        "rrc06.updates.20150401.0000.gz",
        "rrc15.updates.20100227.1600.gz",
        "rrc15.updates.20100227.1610.gz",
        "sample.bird-mrtdump_bgp.mrt",
        "sample.bird-mrtdump_rib.mrt",
        "sample.bird6-mrtdump_bgp.mrt",
        "sample.bird6-mrtdump_rib.mrt",
        "sample.openbgpd_rib_table-v2.mrt",
        "sample.openbgpd_rib_table.mrt",
        "updates.20070211.0141.gz",
        "updates.20071015.1505.gz",
        "updates.20100722.2015.gz",
        "updates.20160811.1600.gz",
        "updates.long_withdrawal.gz",
    ]);
}

/// bgpdump shows this one as bits past a prefix; its last prefix also lacks its octets.
#[test]
fn a_cut_prefix_resets() {
    let Some(path) = support::data("mrt/updates.nlri_mask_trailing_bits.gz") else {
        return;
    };
    let mut tally = Tally::default();
    support::mrt::walk(&support::read(&path), &mut |record| match record {
        Record::Message(recorded) => check_message(&recorded, &mut tally),
        Record::Route(route) => check_route(&route, &mut tally),
    });
    assert_eq!(tally.resets, 1);
}

#[test]
fn modern_updates() {
    check_dumps(&["updates.20190101.0000.gz", "updates.20260222.1530.bz2"]);
}

#[test]
fn a_full_table_as_a_session_sent_it() {
    check_dumps(&["updates.et-header.2015.gz"]);
}

#[test]
fn full_tables() {
    check_dumps(&["bview.20020722.2337.gz", "rib.rrc06.20100701.0759.bz2"]);
}
