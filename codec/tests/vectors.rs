//! Messages that other implementations wrote or collected.

mod support;

use std::fmt::Write;

use codec::{
    Family, FamilySet, Message, Notification, PeerKind, WireFormat, frame, parse_message,
    parse_update,
};

/// Messages that ExaBGP was told to write although they are wrong: a part of the words, and why.
const REFUSED: &[(&str, &str)] = &[
    ("next-hop 255.255.255.255", "not a host address"),
    (
        "[0x99 0x60",
        "an unknown attribute with the Optional bit clear",
    ),
    (
        "[0x99 0x70",
        "an unknown attribute with the Optional bit clear",
    ),
    (
        "ipv6 unicast dead:beef:dead:beef:dead:beef:dead:beef/128 next-hop 170.",
        "an IPv4 next hop",
    ),
];

fn format(peer: PeerKind) -> WireFormat {
    WireFormat {
        families: FamilySet::ALL,
        extended_messages: true,
        extended_next_hop: true,
        peer,
        ..WireFormat::default()
    }
}

/// The prefixes that a message announces and withdraws, in words.
fn prefixes(message: &[u8], format: &WireFormat) -> Result<Vec<String>, String> {
    let reset = |notification: Notification| notification.to_string();
    let length = frame(message, format.max_len()).map_err(reset)?;
    assert_eq!(length, Some(message.len()));
    let Message::Update(body) = parse_message(message).map_err(reset)? else {
        return Ok(Vec::new());
    };
    let update = parse_update(body, format).map_err(reset)?;
    if update.treat_as_withdraw() {
        return Err(format!("{:?}", update.faults));
    }
    let multiprotocol = [
        update.mp_announced.map(|reach| reach.nlri),
        update.mp_withdrawn.map(|unreach| unreach.nlri),
    ];
    let plain = [Some(update.withdrawn), Some(update.announced)];
    let fields = plain.into_iter().chain(multiprotocol).flatten();
    Ok(fields
        .flat_map(|nlri| nlri.iter())
        .map(|(_, prefix)| prefix.to_string())
        .collect())
}

fn lines(name: &str) -> Option<String> {
    let path = support::data(&format!("messages/{name}"))?;
    Some(String::from_utf8(support::read(&path)).unwrap())
}

#[test]
fn exabgp_messages_mean_what_they_say() {
    let mut rows = Vec::new();
    for (name, words, hex) in [
        ("exabgp-decoding.tsv.gz", 3, 2),
        ("exabgp-encoding.tsv.gz", 4, 3),
    ] {
        let Some(file) = lines(name) else { return };
        rows.extend(
            file.lines()
                .filter(|line| !line.starts_with('#'))
                .map(|line| {
                    let columns: Vec<&str> = line.split('\t').collect();
                    let json = columns.get(words).copied().unwrap_or_default();
                    (
                        columns[0].to_string(),
                        format!("{}\n{json}", columns[words - 2]),
                        columns[hex].to_string(),
                    )
                }),
        );
    }
    let (mut messages, mut checked, mut wrong) = (0, 0, String::new());
    for (name, words, hex) in rows {
        let message = support::unhex(&hex);
        if !message.starts_with(&[0xff; 16]) {
            continue;
        }
        let mut format = format(PeerKind::Internal);
        if words.contains("path-information") {
            format.add_path_receive = [Family::Ipv4Unicast, Family::Ipv6Unicast]
                .into_iter()
                .collect();
        }
        format.four_octet_as = !name.contains("no-asn4");
        messages += 1;
        match prefixes(&message, &format) {
            Ok(prefixes) => {
                for prefix in prefixes {
                    // Some rows have octets only.
                    let address = prefix.split('/').next().unwrap();
                    checked += usize::from(words.len() > 1);
                    if words.len() > 1 && !words.contains(address) {
                        let _ = writeln!(wrong, "{name}: {prefix} is not in {words} {hex}");
                    }
                }
            }
            Err(_) if REFUSED.iter().any(|(part, _)| words.contains(part)) => {}
            Err(why) => {
                let _ = writeln!(wrong, "{name}: {why}: {words} {hex}");
            }
        }
    }
    println!("{messages} messages, {checked} prefixes");
    assert!(wrong.is_empty(), "{wrong}");
    assert!(messages > 100 && checked > 100);
}

/// Damaged messages of other projects: whatever they cost, they cost no more than the session.
#[test]
fn damaged_messages_are_survived() {
    for name in ["bio-rd-fuzz-corpus.txt", "opendaylight.bgp_hex.txt"] {
        let Some(file) = lines(name) else { return };
        for hex in file.split([' ', '\n']).filter(|word| word.len() > 38) {
            survive(&support::unhex(hex));
        }
        // One dump is spread over lines: take it apart at the markers.
        let octets = support::unhex(&file);
        for at in 0..octets.len().saturating_sub(19) {
            if octets[at..].starts_with(&[0xff; 16]) {
                survive(&octets[at..]);
            }
        }
    }
}

fn survive(stream: &[u8]) {
    let mut format = format(PeerKind::External);
    for four_octet_as in [true, false] {
        format.four_octet_as = four_octet_as;
        if let Ok(Some(length)) = frame(stream, format.max_len()) {
            let _ = prefixes(&stream[..length], &format);
        }
    }
}
