//! What no cache may say: each ends the connection with a report, and changes no state.

use super::*;

/// What is wrong, the code that the cache is told, and after which it is said: a query, or a Cache
/// Response.
fn corpus() -> Vec<(&'static str, u16, bool, Vec<u8>)> {
    let body = |flags, length, max_length| {
        let mut body = vec![flags, length, max_length, 0, 192, 0, 2, 0];
        body.extend(65002u32.to_be_bytes());
        body
    };
    let long = |mut pdu: Vec<u8>, length: u32| {
        pdu[4..8].copy_from_slice(&length.to_be_bytes());
        pdu
    };
    let mut wide = vec![1, 32, 48, 0];
    wide.extend(
        "2001:db8::1"
            .parse::<std::net::Ipv6Addr>()
            .unwrap()
            .octets(),
    );
    wide.extend([0; 4]);
    let mut narrow = wide.clone();
    narrow[1] = 129;
    vec![
        ("no length", 0, true, long(say::response(7), 0)),
        ("shorter than a header", 0, true, long(say::response(7), 7)),
        ("endless", 0, true, long(say::response(7), u32::MAX)),
        (
            "more than is taken",
            0,
            true,
            long(say::response(7), 65_537),
        ),
        ("a type that is not", 5, true, say::pdu(1, 99, 0, &[])),
        (
            "a type that was never used",
            5,
            true,
            say::pdu(1, 5, 0, &[0; 12]),
        ),
        ("a query", 3, true, say::pdu(1, 1, 7, &[0; 4])),
        ("a reset query", 3, true, say::pdu(1, 2, 0, &[])),
        ("a long response", 0, false, say::pdu(1, 3, 7, &[0; 4])),
        ("a response too many", 0, true, say::response(SESSION)),
        (
            "a short prefix",
            0,
            true,
            say::pdu(1, 4, 0, &body(1, 24, 24)[..11]),
        ),
        ("a long prefix", 0, true, say::pdu(1, 4, 0, &[0; 13])),
        (
            "a length of 33",
            0,
            true,
            say::pdu(1, 4, 0, &body(1, 33, 33)),
        ),
        (
            "a length of 255",
            0,
            true,
            say::pdu(1, 4, 0, &body(1, 255, 255)),
        ),
        (
            "a maximum below",
            0,
            true,
            say::pdu(1, 4, 0, &body(1, 24, 23)),
        ),
        (
            "a maximum above",
            0,
            true,
            say::pdu(1, 4, 0, &body(1, 24, 33)),
        ),
        ("host bits", 0, true, say::pdu(1, 4, 0, &body(1, 16, 24))),
        ("IPv6 host bits", 0, true, say::pdu(1, 6, 0, &wide)),
        ("a length of 129", 0, true, say::pdu(1, 6, 0, &narrow)),
        (
            "an IPv4 prefix as IPv6",
            0,
            true,
            say::pdu(1, 6, 0, &body(1, 24, 24)),
        ),
        (
            "a record before its response",
            0,
            false,
            say::record(1, true, VRPS[0]),
        ),
        (
            "an end before its response",
            0,
            false,
            say::end(SESSION, 2, TIMERS),
        ),
        (
            "an end without timers",
            0,
            true,
            say::pdu(1, 7, SESSION, &[0; 4]),
        ),
        (
            "an end that is too long",
            0,
            true,
            say::pdu(1, 7, SESSION, &[0; 20]),
        ),
        ("an end of another session", 0, true, say::end(8, 2, TIMERS)),
        ("a reset in an answer", 0, true, say::reset()),
        ("a long reset", 0, false, say::pdu(1, 8, 0, &[0])),
        ("a short router key", 0, true, say::pdu(1, 9, 0, &[0; 24])),
        ("a withdrawal of nothing", 6, true, {
            let mut pdus = say::record(1, false, ("203.0.113.0/24", 24, 65002));
            pdus.extend(say::end(SESSION, 2, TIMERS));
            pdus
        }),
        ("an announcement twice", 7, true, {
            let mut pdus = say::record(1, true, VRPS[0]);
            pdus.extend(say::end(SESSION, 2, TIMERS));
            pdus
        }),
        ("another version", 8, true, say::record(0, true, VRPS[0])),
        ("a later version", 8, true, say::record(2, true, VRPS[0])),
    ]
}

// RFC-SHOWN 8210 §12
#[test]
fn each_is_reported_and_changes_nothing() {
    for (what, code, answered, said) in corpus() {
        let mut bed = Bed::new(&[(1, 1)]);
        bed.synchronize(1, 1, VRPS);
        bed.pass(3600);
        assert_eq!(bed.take_heard(1), [Heard::Serial(SESSION, 1)], "{what}");
        if answered {
            bed.say(1, &[say::response(SESSION)]);
        }
        bed.say(1, &[said]);
        assert_eq!(bed.take_heard(1), [Heard::Error(code)], "{what}");
        assert!(!bed.is_open(1), "{what}");
        assert_eq!(bed.state("192.0.2.0/24"), Validation::Valid, "{what}");
        assert_eq!(bed.state("198.51.100.0/24"), Validation::Invalid, "{what}");
        let error = bed.row(1).last_error.unwrap();
        assert!(error.contains("protocol"), "{what}: {error}");
        // It is asked again after the Retry Interval, not before.
        bed.pass(599);
        assert!(!bed.is_open(1), "{what}");
        bed.pass(1);
        assert!(bed.is_open(1), "{what}");
        bed.connect(1);
        // What it has and what we have may not fit together.
        assert_eq!(bed.take_heard(1), [Heard::Reset], "{what}");
    }
}

#[test]
fn a_report_is_never_answered() {
    for said in [
        say::error(1, 0, "you sent nonsense"),
        say::error(1, 99, "\u{7}\n"),
        // Its own lengths are wrong.
        say::pdu(1, 10, 0, &[0, 0, 0, 9, 0, 0, 0, 0]),
        say::pdu(1, 10, 0, &[]),
        // Of a version that is none.
        say::error(9, 4, "version 9"),
    ] {
        let mut bed = Bed::new(&[(1, 1)]);
        bed.connect(1);
        bed.take_heard(1);
        bed.say(1, &[said]);
        assert_eq!(bed.take_heard(1), []);
        assert!(!bed.is_open(1));
        let error = bed.row(1).last_error.unwrap();
        assert!(!error.contains(char::is_control), "{error:?}");
    }
}

/// No octets of a cache bring the router down, whichever they are.
#[test]
fn random_octets_do_no_harm() {
    let mut random = crate::random::Random::new(1);
    let good = [
        say::response(SESSION),
        say::record(1, true, ("203.0.113.0/24", 24, 65002)),
        say::pdu(1, 9, 0, &[0; 40]),
        say::error(1, 2, "none"),
        say::end(SESSION, 2, TIMERS),
    ]
    .concat();
    for _ in 0..2000 {
        let mut bed = Bed::new(&[(1, 1)]);
        bed.synchronize(1, 1, VRPS);
        bed.pass(3600);
        let mut octets = good.clone();
        for _ in 0..=random.below(4) {
            let at = random.below(octets.len());
            octets[at] = random.next() as u8;
        }
        octets.truncate(random.below(octets.len()) + 1);
        bed.say(1, &[octets]);
        bed.pass(7200);
        assert_eq!(bed.state("192.0.2.0/24"), Validation::NotFound);
    }
}
