//! Verdicts and canonical forms on small messages; the corpora are in `tests/`.

use super::*;
use crate::{AttributeSet, FamilySet, PeerKind};

const ORIGIN: &[u8] = &[0x40, 1, 1, 0];
const PATH: &[u8] = &[0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xea];
const NEXT_HOP: &[u8] = &[0x40, 3, 4, 192, 0, 2, 1];
const PREFIX: &[u8] = &[24, 203, 0, 113];

fn format() -> WireFormat {
    WireFormat {
        families: FamilySet::ALL,
        ..WireFormat::default()
    }
}

fn body(attributes: &[&[u8]], announced: &[u8]) -> Vec<u8> {
    let block = attributes.concat();
    let mut body = vec![0, 0];
    body.extend_from_slice(&(block.len() as u16).to_be_bytes());
    body.extend_from_slice(&block);
    body.extend_from_slice(announced);
    body
}

fn canonical(body: &[u8], format: &WireFormat, which: NlriField) -> Vec<u8> {
    let update = parse_update(body, format).unwrap();
    assert!(!update.treat_as_withdraw(), "{:?}", update.faults);
    let mut out = Vec::new();
    update.canonical(which, &mut out);
    out
}

#[test]
fn a_clean_block_is_its_own_canonical_form() {
    let body = body(&[ORIGIN, PATH, NEXT_HOP], PREFIX);
    let update = parse_update(&body, &format()).unwrap();
    assert!(update.normal && update.faults.is_empty());
    assert_eq!(update.announced.iter().count(), 1);
    assert_eq!(
        canonical(&body, &format(), NlriField::Plain),
        [ORIGIN, PATH, NEXT_HOP].concat()
    );
}

// RFC-SHOWN 4271 §5
#[test]
fn order_and_flags_do_not_matter() {
    let untidy = body(
        &[
            &[0xc0, 8, 12, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 1],
            &[0x7f, 2, 0, 6, 2, 1, 0, 0, 0xfd, 0xea],
            NEXT_HOP,
            &[0x80, 99, 1, 5],
            ORIGIN,
            &[0xe1, 101, 1, 6],
            &[0xc3, 100, 1, 5],
        ],
        PREFIX,
    );
    let expected = [
        ORIGIN,
        PATH,
        NEXT_HOP,
        &[0xc0, 8, 8, 0, 0, 0, 1, 0, 0, 0, 2],
        &[0xc0, 100, 1, 5],
        &[0xe0, 101, 1, 6],
    ]
    .concat();
    let out = canonical(&untidy, &format(), NlriField::Plain);
    assert_eq!(out, expected);
    let tidy = body(&[&out], PREFIX);
    assert!(parse_update(&tidy, &format()).unwrap().normal);
}

// RFC-SHOWN 4760 §3
// RFC-SHOWN 2545 §3
#[test]
fn multiprotocol_routes_keep_their_next_hop_only() {
    let mut reach = vec![0x80, 14, 26, 0, 2, 1, 16];
    reach.extend_from_slice(&[0x20; 16]);
    reach.extend_from_slice(&[0, 32, 0x20, 1, 0x0d, 0xb8]);
    let message = body(&[&reach, ORIGIN, PATH, NEXT_HOP], &[]);
    let out = canonical(&message, &format(), NlriField::MpReach);
    let set = AttributeSet::new(&out);
    let codes: Vec<u8> = set.iter().map(|a| a.code).collect();
    assert_eq!(codes, [1, 2, 14]);
    assert_eq!(set.next_hop(), Some(NextHop::V6([0x20; 16].into())));

    let v4 = [0x80, 14, 13, 0, 1, 1, 4, 192, 0, 2, 1, 0, 24, 203, 0, 113];
    let message = body(&[&v4, ORIGIN, PATH], &[]);
    let out = canonical(&message, &format(), NlriField::MpReach);
    assert_eq!(out, [ORIGIN, PATH, NEXT_HOP].concat());
}

// RFC-SHOWN 7606 §5.2
#[test]
fn faults_in_messages_that_announce_nothing_reset() {
    let bad_origin: &[u8] = &[0x40, 1, 1, 3];
    let unreach: &[u8] = &[0x80, 15, 3, 0, 2, 1];
    for attributes in [&[bad_origin][..], &[unreach, bad_origin], &[&[0x40]]] {
        let error = parse_update(&body(attributes, &[]), &format()).unwrap_err();
        assert_eq!(error.code, notification::UPDATE);
    }
    let error = parse_update(&body(&[bad_origin], &[]), &format()).unwrap_err();
    assert_eq!((error.subcode, &error.data[..]), (6, &[0x40, 1, 1, 3][..]));
    // The same fault beside a route costs only the route; a discard costs neither.
    let message = body(&[bad_origin, PATH, NEXT_HOP], PREFIX);
    let update = parse_update(&message, &format()).unwrap();
    assert!(update.treat_as_withdraw());
    let atomic: &[u8] = &[0x40, 6, 1, 0];
    assert!(parse_update(&body(&[atomic], &[]), &format()).is_ok());
}

// RFC-SHOWN 4760 §4
#[test]
fn end_of_rib_of_each_family() {
    let of = |body: &[u8], format: &WireFormat| parse_update(body, format).unwrap().end_of_rib();
    let v6 = body(&[&[0x80, 15, 3, 0, 2, 1]], &[]);
    assert_eq!(of(&[0; 4], &format()), Some(Family::Ipv4Unicast));
    assert_eq!(of(&v6, &format()), Some(Family::Ipv6Unicast));
    assert_eq!(of(&v6, &WireFormat::default()), None);
    let with_origin = body(&[&[0x80, 15, 3, 0, 2, 1], ORIGIN], &[]);
    assert_eq!(of(&with_origin, &format()), None);
    let withdrawal = [0, 4, 24, 203, 0, 113, 0, 0];
    assert_eq!(of(&withdrawal, &format()), None);
}

#[test]
fn families_that_were_not_negotiated_are_ignored() {
    let only_v6 = WireFormat {
        families: [Family::Ipv6Unicast].into_iter().collect(),
        ..format()
    };
    let message = body(&[ORIGIN, PATH, NEXT_HOP], PREFIX);
    let update = parse_update(&message, &only_v6).unwrap();
    assert!(update.announced.is_empty());
    assert_eq!(update.ignored_family, Some((1, 1)));
}

fn merged(path: &[u8], as4_path: &[u8], more: &[&[u8]]) -> String {
    let attribute = |flags, code, value: &[u8]| {
        let mut out = Vec::new();
        RawAttribute { flags, code, value }.encode(&mut out);
        out
    };
    let path = attribute(0x40, 2, path);
    let as4_path = attribute(0xc0, 17, as4_path);
    let mut attributes = vec![ORIGIN, &path, NEXT_HOP];
    attributes.extend_from_slice(more);
    attributes.push(&as4_path);
    let two_octet = WireFormat {
        four_octet_as: false,
        peer: PeerKind::Internal,
        ..format()
    };
    let out = canonical(&body(&attributes, PREFIX), &two_octet, NlriField::Plain);
    AttributeSet::new(&out).as_path().to_string()
}

// RFC-SHOWN 6793 §4.2.3
#[test]
fn as4_path_is_merged() {
    // RFC 6793 §4.2.3. 64500 23456 23456, of which AS4_PATH knows the last two.
    let path = [2, 3, 0xfb, 0xf4, 0x5b, 0xa0, 0x5b, 0xa0];
    let as4_path = [2, 2, 0, 3, 0x0d, 0x40, 0, 3, 0x0d, 0x41];
    assert_eq!(merged(&path, &as4_path, &[]), "64500 200000 200001");
    // Longer than AS_PATH: ignored.
    let short = [2, 1, 0x5b, 0xa0];
    assert_eq!(merged(&short, &as4_path, &[]), "23456");
    // Too short to hold an AS number: discarded.
    assert_eq!(merged(&short, &[2, 0], &[]), "23456");
    // A set counts one; confederation segments are refused in AS4_PATH.
    let path = [2, 1, 0, 7, 1, 2, 0, 5, 0, 6, 2, 1, 0x5b, 0xa0];
    let as4_path = [3, 1, 0, 0, 0, 1, 2, 1, 0, 3, 0x0d, 0x40];
    assert_eq!(merged(&path, &as4_path, &[]), "7 {5 6} 200000");
}

// RFC-SHOWN 5065 §5
#[test]
fn a_path_through_a_confederation_is_withdrawn_whoever_says_it() {
    for peer in [PeerKind::Internal, PeerKind::External] {
        for kind in [3, 4] {
            let path = [0x40, 2, 12, kind, 1, 0, 0, 0xfd, 0xea, 2, 1, 0, 0, 0, 7];
            let format = WireFormat { peer, ..format() };
            let message = body(&[ORIGIN, &path, NEXT_HOP], PREFIX);
            let update = parse_update(&message, &format).unwrap();
            assert!(update.treat_as_withdraw(), "{peer:?} {kind}");
        }
    }
}

#[test]
fn an_old_aggregator_makes_as4_path_stale() {
    let path = [2, 1, 0x5b, 0xa0];
    let as4_path = [2, 1, 0, 3, 0x0d, 0x40];
    let as4: &[u8] = &[0xc0, 18, 8, 0, 3, 0x0d, 0x40, 1, 1, 1, 1];
    let old: &[u8] = &[0xc0, 7, 6, 0, 9, 1, 1, 1, 1];
    let new: &[u8] = &[0xc0, 7, 6, 0x5b, 0xa0, 1, 1, 1, 1];
    assert_eq!(merged(&path, &as4_path, &[old, as4]), "23456");
    assert_eq!(merged(&path, &as4_path, &[new, as4]), "200000");
    assert_eq!(merged(&path, &as4_path, &[old]), "200000");
}

// RFC-SHOWN 8092 §3
#[test]
fn long_lists_lose_their_repeats() {
    let list = |n: u32| {
        (0..n)
            .chain(0..n)
            .flat_map(u32::to_be_bytes)
            .collect::<Vec<u8>>()
    };
    for n in [2, 40, 16_000 / 2] {
        let value = list(n);
        let mut communities = Vec::new();
        crate::AttributeWriter::new(&mut communities).raw(0xc0, 8, &value);
        let message = body(&[ORIGIN, PATH, NEXT_HOP, &communities], PREFIX);
        let out = canonical(&message, &format(), NlriField::Plain);
        let kept: Vec<u32> = AttributeSet::new(&out).communities().collect();
        assert_eq!(kept, (0..n).collect::<Vec<_>>());
    }
}

#[test]
fn faults_have_words() {
    let message = body(&[ORIGIN, PATH, NEXT_HOP, &[0x40, 5, 4, 0, 0, 0, 1]], PREFIX);
    let update = parse_update(&message, &format()).unwrap();
    assert_eq!(
        update.faults[0].to_string(),
        "LOCAL_PREF: from an external peer; attribute discarded"
    );
    assert!(update.attributes.get(5).is_none());
}

#[test]
fn absurd_paths_are_withdrawn() {
    let mut path = Vec::new();
    for _ in 0..33 {
        path.extend_from_slice(&[2, 255]);
        path.extend_from_slice(&[1; 1020]);
    }
    let mut attribute = Vec::new();
    crate::AttributeWriter::new(&mut attribute).raw(0x40, 2, &path);
    let message = body(&[ORIGIN, &attribute, NEXT_HOP], PREFIX);
    let update = parse_update(&message, &format()).unwrap();
    assert!(update.treat_as_withdraw());
    let two_octet = WireFormat {
        four_octet_as: false,
        ..format()
    };
    let update = parse_update(&message, &two_octet).unwrap();
    update.canonical(NlriField::Plain, &mut Vec::new());
    assert_eq!(merged(&[2, 1, 0x5b, 0xa0], &path, &[]), "23456");
}

#[test]
fn the_longest_merged_path_fits() {
    // 60 sets and a sequence that AS4_PATH does not know, 31 sets of 255 that it does.
    let mut path: Vec<u8> = (0..60).flat_map(|_| [1, 1, 0, 9]).collect();
    for _ in 0..30 {
        path.extend_from_slice(&[2, 255]);
        path.extend_from_slice(&[1; 510]);
    }
    let mut as4_path = Vec::new();
    for _ in 0..31 {
        as4_path.extend_from_slice(&[1, 255]);
        as4_path.extend_from_slice(&[1; 1020]);
    }
    let words = merged(&path, &as4_path, &[]);
    assert!(words.starts_with("{9} ") && words.ends_with("16843009}"));
    assert!(words.split(' ').count() > 15_000);
}
