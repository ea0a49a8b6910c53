//! The corpus of malformed messages: what each must cost, as far as octets alone can tell.
//!
//! A case line is `name@profile | hex | expected | reference`; alternatives in `expected` are
//! joined by ` or `. Sessions judge the rest, and everything again, end to end.

mod support;

use codec::{
    FamilySet, Message, NlriField, Notification, PeerKind, WireFormat, frame, parse_message,
    parse_update,
};

/// Cases that need to know more than the message and the format.
const JUDGED_ABOVE: &[(&str, &str)] = &[
    ("open-as-wrong", "the session knows the neighbor's AS"),
    ("open-cap-role-mismatch", "the session knows its own role"),
    ("fsm-", "the session knows its state"),
    ("upd-nlri-multicast", "martians are policy"),
    ("nexthop-127.0.0.1", "right on a session over loopback"),
    ("aspath-own-as-loop", "the engine knows its own AS"),
    ("originator-is-me", "the engine knows its identifier"),
    ("clusterlist-has-me", "the engine knows its cluster"),
    ("otc-from-customer", "the session knows its own role"),
    (
        "addpath-withdraw-unknown-id",
        "the table knows its path ids",
    ),
    ("refresh-unknown-afi", "the session knows its families"),
    (
        "refresh-subtype-3",
        "the session ignores it: RouteRefresh::subtype",
    ),
    (
        "refresh-orf-truncated",
        "the session answers the refresh without the filter",
    ),
];

fn format(profile: &str) -> WireFormat {
    let mut format = WireFormat {
        families: FamilySet::ALL,
        ..WireFormat::default()
    };
    match profile {
        "ibgp" => format.peer = PeerKind::Internal,
        "ebgp-as2" => format.four_octet_as = false,
        "ebgp-addpath" => format.add_path_receive.insert(codec::Family::Ipv4Unicast),
        "ebgp-extmsg" => format.extended_messages = true,
        _ => {}
    }
    format
}

/// What the codec says about a message, in the words of the corpus.
fn outcome(message: &[u8], format: &WireFormat) -> Result<Vec<&'static str>, Notification> {
    let Some(length) = frame(message, format.max_len())? else {
        return Ok(vec!["incomplete"]);
    };
    let update = match parse_message(&message[..length])? {
        Message::Notification(_) => return Ok(vec!["close"]),
        Message::Update(body) => parse_update(body, format)?,
        _ => return Ok(vec!["accept"]),
    };
    if update.treat_as_withdraw() {
        return Ok(vec!["taw"]);
    }
    let reach = update
        .mp_announced
        .is_some_and(|reach| !reach.nlri.is_empty());
    let (which, announces) = match reach {
        true => (NlriField::MpReach, true),
        false => (NlriField::Plain, !update.announced.is_empty()),
    };
    let mut canonical = Vec::new();
    update.canonical(which, &mut canonical);
    let canonical = codec::AttributeSet::new(&canonical);
    let mut outcome = Vec::new();
    if !announces && update.withdrawn.is_empty() && update.mp_withdrawn.is_none() {
        outcome.push("ignore");
    }
    // An AS4_PATH that did not become the end of the path was discarded in part or whole.
    let path = canonical.as_path().octets();
    let as4_path = update.attributes.get(codec::code::AS4_PATH);
    let unmerged = as4_path.is_some_and(|as4_path| !path.ends_with(&as4_path.value[2..]));
    if update.faults.is_empty() && !unmerged {
        outcome.push("accept");
    } else {
        outcome.push("discard");
    }
    Ok(outcome)
}

fn matches(alternative: &str, outcome: &Result<Vec<&'static str>, Notification>) -> bool {
    match (alternative.split_once(' '), outcome) {
        (Some(("reset", codes)), Err(notification)) => {
            let (code, subcode) = codes.split_once('/').unwrap();
            code == notification.code.to_string()
                && (subcode == "*" || subcode == notification.subcode.to_string())
        }
        (None, Ok(words)) => words.contains(&alternative),
        _ => false,
    }
}

// RFC-SHOWN 7606 §3
// RFC-SHOWN 7606 §4
// RFC-SHOWN 7606 §5.2
// RFC-SHOWN 7606 §5.3
// RFC-SHOWN 7606 §7
// RFC-SHOWN 7607 §2
// RFC-SHOWN 6793 §6
// RFC-SHOWN 5065 §5
// RFC-SHOWN 8092 §6
// RFC-SHOWN 5701 §2
#[test]
fn every_case_costs_what_it_must() {
    let Some(path) = support::data("malformed.txt") else {
        return;
    };
    let corpus = String::from_utf8(support::read(&path)).unwrap();
    let (mut judged, mut above, mut wrong) = (0, 0, Vec::new());
    for line in corpus.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split(" | ").collect();
        let [case, hex, expected, _reference] = fields[..] else {
            panic!("not a case: {line}");
        };
        let (name, profile) = case.split_once('@').unwrap();
        let result = outcome(&support::unhex(hex), &format(profile));
        if JUDGED_ABOVE
            .iter()
            .any(|(prefix, _)| name.starts_with(prefix))
        {
            above += 1;
            continue;
        }
        judged += 1;
        if !expected.split(" or ").any(|one| matches(one, &result)) {
            wrong.push(format!("{case}: expected {expected}, got {result:?}"));
        }
    }
    println!("{judged} cases judged, {above} left to the session and the engine");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(judged > 150, "only {judged} cases");
}
