//! Generated input: nothing panics, and what was written reads back.

mod support;

use codec::{
    AttributeSet, Family, FamilySet, MAX_LEN, Message, NlriField, PeerKind, WireFormat,
    encode_notification, encode_open, frame, parse_message, parse_update,
};
use proptest::collection::vec;
use proptest::prelude::*;

fn any_format() -> impl Strategy<Value = WireFormat> {
    let families = (0..4u8).prop_map(|bits| {
        Family::ALL
            .into_iter()
            .filter(|family| bits & (1 << family.index()) != 0)
            .collect::<FamilySet>()
    });
    (any::<[bool; 4]>(), families.clone(), families).prop_map(|(bits, families, add_path)| {
        WireFormat {
            four_octet_as: bits[0],
            add_path_receive: add_path,
            add_path_send: add_path,
            extended_messages: bits[1],
            extended_next_hop: bits[2],
            families,
            peer: if bits[3] {
                PeerKind::Internal
            } else {
                PeerKind::External
            },
        }
    })
}

/// Uses all that there is of a message.
fn exhaust(message: &[u8], format: &WireFormat) {
    let Ok(Some(length)) = frame(message, format.max_len()) else {
        return;
    };
    match parse_message(&message[..length]) {
        Ok(Message::Update(body)) => exhaust_update(body, format),
        Ok(Message::Open(open)) => {
            let mut out = Vec::new();
            encode_open(&open, &mut out);
            assert_eq!(parse_message(&out), Ok(Message::Open(open)));
        }
        Ok(Message::Notification(notification)) => {
            let words = notification.to_string();
            assert!(words.chars().all(|c| !c.is_control()), "{words:?}");
        }
        Ok(_) => {}
        Err(notification) => {
            let mut out = Vec::new();
            encode_notification(&notification, &mut out);
            assert!(out.len() <= MAX_LEN);
        }
    }
}

fn exhaust_update(body: &[u8], format: &WireFormat) {
    let Ok(update) = parse_update(body, format) else {
        return;
    };
    let _ = (update.end_of_rib(), update.attributes.iter().count());
    for which in [NlriField::Plain, NlriField::MpReach] {
        let mut canonical = Vec::new();
        update.canonical(which, &mut canonical);
        let set = AttributeSet::new(&canonical);
        assert!(set.iter().is_sorted_by(|a, b| a.code < b.code));
        let _ = (
            set.as_path().to_string(),
            set.next_hop(),
            set.aggregator(),
            set.origin(),
        );
        let _ = (set.communities().count(), set.large_communities().count());
        let nlri = match which {
            NlriField::Plain => Some(update.announced),
            NlriField::MpReach => update.mp_announced.map(|reach| reach.nlri),
        };
        let Some(nlri) = nlri.filter(|nlri| !nlri.is_empty()) else {
            continue;
        };
        if update.treat_as_withdraw() || canonical.len() + nlri.octets().len() > 60_000 {
            continue;
        }
        // What was accepted is written without fault, and canonical stays canonical.
        let add_path = format.add_path_receive.contains(nlri.family());
        let message = support::rewrite(&update, which, add_path);
        let again_format = support::rewritten_format(format);
        let Ok(Message::Update(again)) = parse_message(&message) else {
            panic!("not an UPDATE");
        };
        let again = parse_update(again, &again_format).unwrap();
        assert!(again.faults.is_empty(), "{:?}", again.faults);
        let mut twice = Vec::new();
        again.canonical(which, &mut twice);
        assert_eq!(twice, canonical);
    }
}

/// An attribute block that is nearly right.
fn any_block() -> impl Strategy<Value = Vec<u8>> {
    let attribute = (
        prop_oneof![
            5 => prop::sample::select(vec![0x40u8, 0x80, 0xc0, 0x50, 0x90, 0xd0]),
            1 => any::<u8>()
        ],
        prop_oneof![5 => prop::sample::select(vec![1u8, 2, 3, 4, 5, 6, 7, 8, 9, 10, 14, 15, 16, 17, 18, 25, 26, 32, 35, 40]), 1 => any::<u8>()],
        vec(prop_oneof![3 => 0..4u8, 1 => any::<u8>()], 0..24),
    );
    vec(attribute, 0..8).prop_map(|attributes| {
        let mut out = vec![
            0x40, 1, 1, 0, 0x40, 3, 4, 192, 0, 2, 1, 0x40, 2, 4, 2, 1, 0, 9,
        ];
        for (flags, code, value) in attributes {
            out.extend_from_slice(&[flags, code]);
            if flags & 0x10 != 0 {
                out.push(0);
            }
            out.push(value.len() as u8);
            out.extend_from_slice(&value);
        }
        out
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_octets(octets in vec(any::<u8>(), 0..300), format in any_format()) {
        exhaust(&octets, &format);
        exhaust_update(&octets, &format);
        let mut message = vec![0xff; 16];
        message.extend_from_slice(&(octets.len() as u16 + 18).to_be_bytes());
        message.extend_from_slice(&octets);
        exhaust(&message, &format);
    }

    #[test]
    fn nearly_right_attributes(
        block in any_block(),
        nlri in vec(any::<u8>(), 0..8),
        format in any_format(),
    ) {
        let mut body = vec![0, 0];
        body.extend_from_slice(&(block.len() as u16).to_be_bytes());
        body.extend_from_slice(&block);
        exhaust_update(&[&body[..], &[8, 10]].concat(), &format);
        body.extend_from_slice(&nlri);
        exhaust_update(&body, &format);
    }

    #[test]
    fn mutated_messages(
        (mut message, _, _) in support::generated::any_update(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        format in any_format(),
    ) {
        for (at, octet) in changes {
            let at = at.index(message.len());
            message[at] = octet;
        }
        exhaust(&message, &format);
    }

    #[test]
    fn what_was_written_reads_back((message, words, attributes) in support::generated::any_update()) {
        prop_assert!(message.len() <= MAX_LEN);
        let format = WireFormat { families: FamilySet::ALL, ..WireFormat::default() };
        let Ok(Message::Update(body)) = parse_message(&message) else {
            panic!("not an UPDATE");
        };
        let update = parse_update(body, &format).unwrap();
        prop_assert!(update.faults.is_empty(), "{:?}", update.faults);
        let (nlri, which) = match update.mp_announced {
            Some(reach) => (reach.nlri, NlriField::MpReach),
            None => (update.announced, NlriField::Plain),
        };
        prop_assert!(nlri.iter().map(|(_, prefix)| prefix.to_string()).eq(words));
        let mut canonical = Vec::new();
        update.canonical(which, &mut canonical);
        let (read, written) = (AttributeSet::new(&canonical), AttributeSet::new(&attributes));
        prop_assert_eq!(read.as_path(), written.as_path());
        prop_assert_eq!(read.med(), written.med());
        let mut seen = std::collections::BTreeSet::new();
        let communities = written.communities().filter(|community| seen.insert(*community));
        prop_assert!(read.communities().eq(communities));
    }
}
