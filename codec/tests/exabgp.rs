//! ExaBGP's vectors, decoded with the options of the session that each was made for, and encoded
//! again: the octets are the same.
//!
//! Exceptions are counted, so that none grows in silence: how attributes and capabilities are laid
//! out, which is free; families that are not ours, which are ignored; and what ExaBGP was told to write
//! although it is wrong.

mod support;

use std::collections::BTreeMap;
use std::fmt::Write;

use codec::{
    AsPath, AttributeSet, AttributeWriter, Family, FamilySet, Message, Nlri, NlriField, PeerKind,
    Update, WireFormat, code, encode_end_of_rib, encode_mp_update, encode_mp_withdraw,
    encode_notification, encode_open, encode_route_refresh, encode_update, encode_withdraw, flags,
    frame, parse_message, parse_update,
};

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// Octet by octet as it was.
    Equal,
    /// Its attributes are, in ascending order behind MP_REACH_NLRI (RFC 7606 §5.1), with lengths of
    /// one octet where that is enough.
    OtherOrder,
    /// Its capabilities are, all in one parameter.
    OneParameter,
    /// Its family is not ours: nothing of it is taken, its attributes stand as they were.
    OtherFamily,
    /// It is treated as a withdrawal, or resets the session.
    Wrong,
}

/// One line of the file.
struct Vector<'a> {
    file: &'a str,
    command: &'a str,
    message: Vec<u8>,
    json: &'a str,
}

impl Vector<'_> {
    /// How its session reads: ExaBGP tests inside one AS, but where the two differ.
    fn format(&self) -> WireFormat {
        let asn = |of: &str| {
            let rest = self.json.split_once("\"asn\":{")?.1;
            let number = rest.split_once(of)?.1.split([',', '}']).next()?;
            number.trim().parse::<u32>().ok()
        };
        let (local, peer) = (asn("\"local\":"), asn("\"peer\":"));
        let mut format = WireFormat {
            families: FamilySet::ALL,
            extended_messages: true,
            extended_next_hop: true,
            four_octet_as: !self.file.contains("no-asn4"),
            peer: match local == peer {
                true => PeerKind::Internal,
                false => PeerKind::External,
            },
            ..WireFormat::default()
        };
        if self.command.contains("path-information") || self.json.contains("path-information") {
            format.add_path_receive = FamilySet::ALL;
        }
        format
    }

    fn outcome(&self) -> Result<Outcome, String> {
        let format = self.format();
        let message = self.message.as_slice();
        if frame(message, format.max_len()) != Ok(Some(message.len())) {
            return Err("it is not framed".to_owned());
        }
        let mut again = Vec::new();
        match parse_message(message) {
            Err(_) => return Ok(Outcome::Wrong),
            Ok(Message::Open(open)) => {
                encode_open(&open, &mut again);
                let same = matches!(parse_message(&again), Ok(Message::Open(o)) if o == open);
                return match again == message {
                    true => Ok(Outcome::Equal),
                    false if same => Ok(Outcome::OneParameter),
                    false => Err(format!("{open:?}")),
                };
            }
            Ok(Message::Notification(notification)) => {
                encode_notification(&notification, &mut again);
            }
            Ok(Message::RouteRefresh(refresh)) => encode_route_refresh(&refresh, &mut again),
            Ok(Message::Keepalive) => codec::encode_keepalive(&mut again),
            Ok(Message::Update(body)) => {
                let Ok(update) = parse_update(body, &format) else {
                    return Ok(Outcome::Wrong);
                };
                if update.treat_as_withdraw() {
                    return Ok(Outcome::Wrong);
                }
                if update.ignored_family.is_some() {
                    return untouched(&update);
                }
                rewrite(&update, &format, &mut again);
            }
        }
        compare(message, &again)
    }
}

/// Nothing of a family that is not ours was taken.
fn untouched(update: &Update<'_>) -> Result<Outcome, String> {
    let reach = update.mp_announced.is_none() && update.mp_withdrawn.is_none();
    if !(reach && update.announced.is_empty() && update.withdrawn.is_empty()) {
        return Err(format!("something was taken: {update:?}"));
    }
    let all = AttributeSet::new(update.attributes.block());
    let kept: Vec<_> = update.attributes.iter().collect();
    let foreign = [code::MP_REACH_NLRI, code::MP_UNREACH_NLRI];
    let left: Vec<_> = all.iter().filter(|a| !foreign.contains(&a.code)).collect();
    match kept == left {
        true => Ok(Outcome::OtherFamily),
        false => Err(format!("{kept:?} of {left:?}, {:?}", update.faults)),
    }
}

/// Writes all that an UPDATE says with the writers of this crate, as its session has it.
fn rewrite(update: &Update<'_>, format: &WireFormat, out: &mut Vec<u8>) {
    if let Some(family) = update.end_of_rib() {
        encode_end_of_rib(family, out);
        return;
    }
    if !update.withdrawn.is_empty() {
        encode_withdraw(
            Family::Ipv4Unicast,
            &prefixes(&update.withdrawn, format),
            out,
        );
    }
    if let Some(unreach) = update.mp_withdrawn {
        let family = unreach.nlri.family();
        encode_mp_withdraw(family, &prefixes(&unreach.nlri, format), out);
    }
    if let Some(reach) = update.mp_announced {
        let attributes = attributes(update, NlriField::MpReach, format);
        let family = reach.nlri.family();
        let prefixes = prefixes(&reach.nlri, format);
        encode_mp_update(family, &reach.next_hop, &attributes, &prefixes, out);
    }
    let withdraws = !update.withdrawn.is_empty() || update.mp_withdrawn.is_some();
    if !update.announced.is_empty() || (update.mp_announced.is_none() && !withdraws) {
        let attributes = attributes(update, NlriField::Plain, format);
        encode_update(&attributes, &prefixes(&update.announced, format), out);
    }
}

fn prefixes(nlri: &Nlri<'_>, format: &WireFormat) -> Vec<u8> {
    let with_id = format.add_path_receive.contains(nlri.family());
    let mut out = Vec::new();
    for (id, prefix) in nlri.iter_v4() {
        codec::encode_nlri(prefix, with_id.then_some(id), &mut out);
    }
    for (id, prefix) in nlri.iter_v6() {
        codec::encode_nlri(prefix, with_id.then_some(id), &mut out);
    }
    out
}

/// The attributes in canonical form, AS numbers as wide as the session has them.
fn attributes(update: &Update<'_>, which: NlriField, format: &WireFormat) -> Vec<u8> {
    let mut canonical = Vec::new();
    update.canonical(which, &mut canonical);
    let mut out = Vec::new();
    let mut writer = AttributeWriter::new(&mut out);
    let set = AttributeSet::new(&canonical);
    for attribute in set.iter() {
        match attribute.code {
            // Stands in MP_REACH_NLRI.
            code::MP_REACH_NLRI => {}
            code::NEXT_HOP if which == NlriField::MpReach => {}
            code::AS_PATH => {
                writer.as_path(&AsPath::new(attribute.value), &[], format.four_octet_as);
            }
            code::AGGREGATOR if let Some(aggregator) = set.aggregator() => {
                writer.aggregator(&aggregator, format.four_octet_as);
            }
            _ => writer.raw(attribute.flags, attribute.code, attribute.value),
        }
    }
    out
}

/// How the octets of two messages differ.
fn compare(message: &[u8], again: &[u8]) -> Result<Outcome, String> {
    if message == again {
        return Ok(Outcome::Equal);
    }
    match Parts::of(message) == Parts::of(again) {
        true => Ok(Outcome::OtherOrder),
        false => Err(format!("{again:02x?}")),
    }
}

/// An UPDATE by its fields, attributes by their codes.
#[derive(Debug, PartialEq, Eq)]
struct Parts<'a> {
    withdrawn: &'a [u8],
    attributes: BTreeMap<u8, (u8, &'a [u8])>,
    nlri: &'a [u8],
}

impl Parts<'_> {
    fn of(message: &[u8]) -> Parts<'_> {
        fn prefixed(octets: &[u8]) -> (&[u8], &[u8]) {
            let length = usize::from(u16::from_be_bytes([octets[0], octets[1]]));
            octets[2..].split_at(length)
        }
        let (withdrawn, rest) = prefixed(&message[codec::HEADER_LEN..]);
        let (block, nlri) = prefixed(rest);
        let attributes = AttributeSet::new(block).iter();
        Parts {
            withdrawn,
            attributes: attributes
                .map(|a| (a.code, (a.flags & !flags::EXTENDED_LENGTH, a.value)))
                .collect(),
            nlri,
        }
    }
}

/// How many messages of a file came to what; panics if anything of one got lost.
fn outcomes<'a>(vectors: impl Iterator<Item = Vector<'a>>) -> BTreeMap<Outcome, usize> {
    let (mut counts, mut lost) = (BTreeMap::new(), String::new());
    for vector in vectors {
        match vector.outcome() {
            Ok(outcome) => *counts.entry(outcome).or_insert(0) += 1,
            Err(why) => {
                let Vector { file, command, .. } = vector;
                let message = vector.message;
                let _ = writeln!(lost, "{file}: {command}: {message:02x?}: {why}");
            }
        }
    }
    assert!(lost.is_empty(), "{lost}");
    counts
}

fn columns(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split('\t').collect())
}

fn text(name: &str) -> Option<String> {
    let path = support::data(&format!("messages/{name}"))?;
    Some(String::from_utf8(support::read(&path)).unwrap())
}

#[test]
fn encoding_vectors_come_out_as_they_went_in() {
    let Some(text) = text("exabgp-encoding.tsv.gz") else {
        return;
    };
    let vectors = columns(&text).map(|columns| Vector {
        file: columns[0],
        command: columns[2],
        message: support::unhex(columns[3]),
        json: columns.get(4).copied().unwrap_or_default(),
    });
    let due = [
        (Outcome::Equal, 230),
        (Outcome::OtherOrder, 31),
        (Outcome::OneParameter, 3),
        (Outcome::OtherFamily, 123),
        (Outcome::Wrong, 4),
    ];
    assert_eq!(outcomes(vectors), BTreeMap::from(due));
}

#[test]
fn decoding_vectors_come_out_as_they_went_in() {
    let Some(text) = text("exabgp-decoding.tsv.gz") else {
        return;
    };
    // What is no message nor the inside of one is NLRI of a family that is not ours.
    let rows = columns(&text).filter(|columns| !columns[1].starts_with("nlri"));
    let vectors = rows.map(|columns| Vector {
        file: columns[0],
        command: columns[1],
        message: with_header(support::unhex(columns[2])),
        json: columns.get(3).copied().unwrap_or_default(),
    });
    let due = [
        (Outcome::Equal, 1),
        (Outcome::OtherOrder, 1),
        (Outcome::OneParameter, 1),
        (Outcome::OtherFamily, 18),
    ];
    assert_eq!(outcomes(vectors), BTreeMap::from(due));
}

/// Some rows have the inside of an UPDATE only.
fn with_header(octets: Vec<u8>) -> Vec<u8> {
    let marker = [0xff; 16];
    if octets.starts_with(&marker) {
        return octets;
    }
    const UPDATE: u8 = 2;
    let length = (codec::HEADER_LEN + octets.len()) as u16;
    [&marker[..], &length.to_be_bytes(), &[UPDATE], &octets].concat()
}
