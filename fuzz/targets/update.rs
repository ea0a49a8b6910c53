//! UPDATEs on any session. The first octet picks the format, the rest is the body. What is
//! accepted is written again from its canonical form and must read back the same, without fault.
#![no_main]

use codec::{
    AttributeSet, AttributeWriter, Family, FamilySet, Message, NextHop, Nlri, NlriField, PeerKind,
    Update, WireFormat, code, encode_mp_update, encode_nlri, encode_update, parse_message,
    parse_update,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((bits, body)) = input.split_first() else {
        return;
    };
    let format = format(*bits);
    let Ok(update) = parse_update(body, &format) else {
        return;
    };
    for nlri in [
        Some(update.withdrawn),
        update.mp_withdrawn.map(|unreach| unreach.nlri),
    ] {
        nlri.iter()
            .for_each(|nlri| assert!(nlri.iter().count() <= body.len()));
    }
    for fault in &update.faults {
        let _ = fault.to_string();
    }
    let _ = update.end_of_rib();
    read_back(&update, NlriField::Plain, Some(update.announced), &format);
    let mp_announced = update.mp_announced.map(|reach| reach.nlri);
    read_back(&update, NlriField::MpReach, mp_announced, &format);
});

fn format(bits: u8) -> WireFormat {
    let bit = |index: u8| bits & 1 << index != 0;
    let families = |wide: bool| {
        if wide {
            FamilySet::ALL
        } else {
            FamilySet::NONE
        }
    };
    WireFormat {
        four_octet_as: bit(0),
        peer: if bit(1) {
            PeerKind::Internal
        } else {
            PeerKind::External
        },
        add_path_receive: families(bit(2)),
        add_path_send: families(bit(2)),
        extended_next_hop: bit(3),
        extended_messages: true,
        families: if bit(4) {
            [Family::Ipv4Unicast].into_iter().collect()
        } else {
            FamilySet::ALL
        },
    }
}

fn read_back(update: &Update<'_>, which: NlriField, nlri: Option<Nlri<'_>>, format: &WireFormat) {
    let mut canonical = Vec::new();
    update.canonical(which, &mut canonical);
    let set = AttributeSet::new(&canonical);
    assert!(set.iter().is_sorted_by(|a, b| a.code < b.code));
    let _ = set.as_path().to_string();
    let Some(nlri) = nlri.filter(|nlri| !nlri.is_empty()) else {
        return;
    };
    if update.treat_as_withdraw() || canonical.len() + nlri.octets().len() > 60_000 {
        return;
    }

    let add_path = format.add_path_receive.contains(nlri.family());
    let mut prefixes = Vec::new();
    for (id, prefix) in nlri.iter_v4() {
        encode_nlri(prefix, add_path.then_some(id), &mut prefixes);
    }
    for (id, prefix) in nlri.iter_v6() {
        encode_nlri(prefix, add_path.then_some(id), &mut prefixes);
    }
    let mut message = Vec::new();
    match (which, set.next_hop()) {
        (NlriField::MpReach, Some(next_hop)) => {
            write_mp(&next_hop, nlri.family(), set, &prefixes, &mut message);
        }
        _ => encode_update(&canonical, &prefixes, &mut message),
    }
    let format = WireFormat {
        four_octet_as: true,
        ..*format
    };
    let Ok(Message::Update(body)) = parse_message(&message) else {
        panic!("not an UPDATE");
    };
    let again = parse_update(body, &format).expect("accepted before");
    assert!(again.faults.is_empty(), "{:?}", again.faults);
    let mut twice = Vec::new();
    again.canonical(which, &mut twice);
    assert_eq!(twice, canonical);
    let read = match which {
        NlriField::Plain => again.announced,
        NlriField::MpReach => again.mp_announced.expect("written").nlri,
    };
    assert!(read.iter().eq(nlri.iter()));
}

fn write_mp(
    next_hop: &NextHop,
    family: Family,
    set: AttributeSet<'_>,
    prefixes: &[u8],
    message: &mut Vec<u8>,
) {
    let mut attributes = Vec::new();
    let mut writer = AttributeWriter::new(&mut attributes);
    for attribute in set.iter() {
        if !matches!(attribute.code, code::NEXT_HOP | code::MP_REACH_NLRI) {
            writer.raw(attribute.flags, attribute.code, attribute.value);
        }
    }
    encode_mp_update(family, next_hop, &attributes, prefixes, message);
}
