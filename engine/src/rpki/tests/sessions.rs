//! One cache: queries, answers, timers, versions.

use super::*;

// RFC-SHOWN 8210 §5
#[test]
fn a_cache_is_asked_and_believed() {
    let mut bed = Bed::new(&[(1, 1)]);
    assert_eq!(bed.state("192.0.2.0/24"), Validation::NotFound);
    bed.connect(1);
    assert_eq!(bed.take_heard(1), [Heard::Reset]);
    bed.say(1, &[say::response(SESSION), say::record(1, true, VRPS[0])]);
    // Half an answer is none.
    assert_eq!(bed.state("192.0.2.0/24"), Validation::NotFound);
    let rest = [
        say::record(1, true, VRPS[1]),
        // A router key is of no use here.
        say::pdu(1, 9, 0x0100, &[1; 40]),
        say::record(1, true, VRPS[2]),
        say::end(SESSION, 1, TIMERS),
    ];
    bed.say(1, &rest);
    assert_eq!(bed.state("192.0.2.0/24"), Validation::Valid);
    assert_eq!(bed.state("198.51.100.0/24"), Validation::Invalid);
    assert_eq!(bed.state("2001:db8:1::/48"), Validation::Valid);
    assert_eq!(bed.state("203.0.113.0/24"), Validation::NotFound);
    let row = bed.row(1);
    assert_eq!((row.state, row.in_use), (RpkiState::Synchronized, true));
    assert_eq!((row.session_id, row.serial), (Some(SESSION), Some(1)));
    assert_eq!((row.ipv4_vrps, row.ipv6_vrps), (Some(2), Some(1)));
    assert_eq!((row.version, row.expires_in_seconds), (Some(1), Some(7200)));
    assert_eq!(row.last_error, None);
}

#[test]
fn octets_may_come_one_by_one() {
    let mut bed = Bed::new(&[(1, 1)]);
    bed.connect(1);
    let mut octets = say::response(SESSION);
    octets.extend(say::record(1, true, VRPS[0]));
    octets.extend(say::end(SESSION, 1, TIMERS));
    for octet in octets {
        bed.say(1, &[vec![octet]]);
    }
    assert_eq!(bed.state("192.0.2.0/24"), Validation::Valid);
}

/// However its octets are cut: what it said up to End of Data holds, and what is wrong behind that
/// ends the connection.
#[test]
fn an_answer_is_used_that_a_fault_follows_at_once() {
    let mut bed = Bed::new(&[(1, 1)]);
    bed.connect(1);
    let mut octets = say::response(SESSION);
    octets.extend(say::record(1, true, VRPS[0]));
    octets.extend(say::end(SESSION, 1, TIMERS));
    octets.extend(say::pdu(1, 99, 0, &[]));
    bed.say(1, &[octets]);
    assert!(!bed.open.contains_key(&1));
    assert_eq!(bed.state("192.0.2.0/24"), Validation::Valid);
}

#[test]
fn what_is_new_is_asked_for_when_due_and_when_told() {
    let mut bed = Bed::new(&[(1, 1)]);
    bed.synchronize(1, 1, VRPS);
    bed.pass(3599);
    assert_eq!(bed.take_heard(1), []);
    bed.pass(1);
    assert_eq!(bed.take_heard(1), [Heard::Serial(SESSION, 1)]);
    // Nothing is new: nobody is told.
    let told = bed.changes.len();
    bed.say(1, &[say::response(SESSION), say::end(SESSION, 1, TIMERS)]);
    assert_eq!(bed.changes.len(), told);
    // One that is known is no news.
    bed.say(1, &[say::notify(SESSION, 1)]);
    assert_eq!(bed.take_heard(1), []);
    bed.say(1, &[say::notify(SESSION, 2)]);
    assert_eq!(bed.take_heard(1), [Heard::Serial(SESSION, 1)]);
    let answer = [
        say::response(SESSION),
        say::record(1, false, VRPS[0]),
        say::record(1, true, ("192.0.2.0/24", 24, 65009)),
        // While it is answered more is new.
        say::notify(SESSION, 3),
        say::end(SESSION, 2, TIMERS),
    ];
    bed.say(1, &answer);
    assert_eq!(bed.state("192.0.2.0/24"), Validation::Invalid);
    assert_eq!(bed.state("2001:db8:1::/48"), Validation::Valid);
    let changed = bed.changes.last().unwrap();
    assert_eq!(
        (changed.len(), changed.get(0)),
        (1, Some(ip("192.0.2.0/24")))
    );
    bed.pass(0);
    assert_eq!(bed.take_heard(1), [Heard::Serial(SESSION, 2)]);
}

// RFC-SHOWN 8210 §6
#[test]
fn timers_are_bounded() {
    for (said, refresh, expire) in [
        ([0, 0, 0], 1, 600),
        ([1, 1, 100_000], 1, 100_000),
        ([90_000, 9_000, 200_000], 86_400, 172_800),
        // What is held is asked for before it expires.
        ([3600, 600, 600], 599, 600),
    ] {
        let mut bed = Bed::new(&[(1, 1)]);
        bed.connect(1);
        bed.take_heard(1);
        bed.say(1, &[say::response(SESSION), say::end(SESSION, 1, said)]);
        assert_eq!(bed.row(1).expires_in_seconds, Some(expire), "{said:?}");
        bed.pass(refresh - 1);
        assert_eq!(bed.take_heard(1), [], "{said:?}");
        bed.pass(1);
        assert_eq!(bed.take_heard(1), [Heard::Serial(SESSION, 1)], "{said:?}");
    }
}

#[test]
fn a_cache_that_cannot_say_what_is_new_says_everything() {
    let mut bed = Bed::new(&[(1, 1)]);
    bed.synchronize(1, 9, VRPS);
    bed.pass(3600);
    assert_eq!(bed.take_heard(1), [Heard::Serial(SESSION, 9)]);
    bed.say(1, &[say::reset()]);
    assert_eq!(bed.take_heard(1), [Heard::Reset]);
    // Until it has said it, what was said counts.
    let first = [
        say::response(8),
        say::record(1, true, ("192.0.2.0/24", 24, 65009)),
    ];
    bed.say(1, &first);
    assert_eq!(bed.state("192.0.2.0/24"), Validation::Valid);
    bed.say(1, &[say::end(8, 1, TIMERS)]);
    assert_eq!(bed.state("192.0.2.0/24"), Validation::Invalid);
    assert_eq!(bed.state("2001:db8:1::/48"), Validation::NotFound);
    let row = bed.row(1);
    assert_eq!((row.session_id, row.serial), (Some(8), Some(1)));
}

#[test]
fn a_cache_that_is_gone_is_dialled_again_and_its_data_stays() {
    let mut bed = Bed::new(&[(1, 1)]);
    bed.synchronize(1, 1, VRPS);
    bed.close(1);
    assert_eq!(bed.row(1).state, RpkiState::Waiting);
    let next = bed.row(1).next_attempt_seconds;
    assert!(next.is_some_and(|seconds| seconds <= 1), "{next:?}");
    assert_eq!(bed.row(1).last_error.as_deref(), Some("the cache closed"));
    bed.pass(1);
    assert!(bed.is_open(1));
    // It does not answer; the next attempt is later, the one after that later still.
    bed.pass(10);
    assert!(!bed.is_open(1));
    assert_eq!(bed.state("192.0.2.0/24"), Validation::Valid);
    bed.pass(2);
    assert!(bed.is_open(1));
    bed.connect(1);
    assert_eq!(bed.take_heard(1), [Heard::Serial(SESSION, 1)]);
    bed.say(1, &[say::response(SESSION), say::end(SESSION, 1, TIMERS)]);
    assert_eq!(bed.row(1).state, RpkiState::Synchronized);
    assert_eq!(bed.row(1).last_error, None);
    assert_eq!(bed.row(1).next_attempt_seconds, None);
}

/// Between attempts at a cache that is gone: less than it said of its queries, if the settings do.
#[test]
fn the_settings_bound_the_wait_for_a_cache_that_is_gone() {
    for (retry, longest) in [(2, 2), (1000, 600)] {
        let mut bed = Bed::new(&[(1, 1)]);
        bed.retry = Duration::from_secs(retry);
        bed.configure(&[(1, 1)]);
        // It says 600 s.
        bed.synchronize(1, 1, VRPS);
        bed.close(1);
        let mut waits = Vec::new();
        for _ in 0..12 {
            let mut wait = 0;
            while !bed.is_open(1) {
                bed.pass(1);
                wait += 1;
            }
            waits.push(wait);
            bed.close(1);
        }
        let most = waits.iter().copied().max();
        assert!(
            most.is_some_and(|most| (longest * 3 / 4..=longest).contains(&most)),
            "{waits:?}"
        );
    }
}

#[test]
fn an_outage_is_told_once() {
    let mut bed = Bed::new(&[(1, 1)]);
    bed.retry = Duration::from_secs(2);
    bed.configure(&[(1, 1)]);
    let outage = |bed: &mut Bed| {
        bed.synchronize(1, 1, VRPS);
        for _ in 0..10 {
            bed.close(1);
            bed.pass(2);
        }
    };
    let told = crate::log_of::warnings_of(|| outage(&mut bed));
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].contains("the cache closed"), "{told:#?}");
    // It is back, and what is wrong later is told anew.
    bed.connect(1);
    bed.take_heard(1);
    bed.say(1, &[say::response(SESSION), say::end(SESSION, 1, TIMERS)]);
    let told = crate::log_of::warnings_of(|| {
        bed.close(1);
        bed.pass(2);
        bed.connect(1);
        bed.say(1, &[say::error(1, 1, "")]);
    });
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told[1].contains("Internal Error"), "{told:#?}");
}

/// Some caches that started anew end the connection of who asks for what is new, with or without a
/// report.
#[test]
fn a_cache_that_started_anew_is_asked_for_everything() {
    let endings: [fn(&mut Bed); 2] = [
        |bed| bed.close(1),
        |bed| bed.say(1, &[say::error(1, 0, "session ID mismatch")]),
    ];
    for end in endings {
        let mut bed = Bed::new(&[(1, 1)]);
        bed.synchronize(1, 1, VRPS);
        bed.close(1);
        bed.pass(1);
        bed.connect(1);
        assert_eq!(bed.take_heard(1), [Heard::Serial(SESSION, 1)]);
        end(&mut bed);
        assert_eq!(bed.state("192.0.2.0/24"), Validation::Valid);
        bed.pass(2);
        bed.synchronize(1, 0, &VRPS[1..]);
        assert_eq!(bed.state("192.0.2.0/24"), Validation::NotFound);
        bed.pass(3600);
        assert_eq!(bed.take_heard(1), [Heard::Serial(SESSION, 0)]);
    }
}

// RFC-SHOWN 8210 §6
#[test]
fn without_a_cache_everything_is_not_found_in_the_end() {
    let mut bed = Bed::new(&[(1, 1)]);
    bed.synchronize(1, 1, VRPS);
    bed.close(1);
    bed.pass(7199);
    assert_eq!(bed.state("192.0.2.0/24"), Validation::Valid);
    assert_eq!(bed.state("198.51.100.0/24"), Validation::Invalid);
    bed.pass(1);
    for prefix in ["192.0.2.0/24", "198.51.100.0/24", "2001:db8::/32"] {
        assert_eq!(bed.state(prefix), Validation::NotFound);
    }
    assert_eq!(bed.changes.last().map(|changed| changed.len()), Some(3));
    // What has expired is no base for what is new.
    while !bed.is_open(1) {
        bed.pass(1);
    }
    bed.synchronize(1, 5, VRPS);
    assert_eq!(bed.state("192.0.2.0/24"), Validation::Valid);
}

#[test]
fn a_cache_that_stalls_is_given_up() {
    for half in [false, true] {
        let mut bed = Bed::new(&[(1, 1)]);
        bed.synchronize(1, 1, VRPS);
        bed.pass(3600);
        if half {
            bed.say(1, &[say::response(SESSION), say::record(1, false, VRPS[0])]);
        }
        bed.pass(29);
        assert!(bed.is_open(1));
        bed.pass(1);
        assert!(!bed.is_open(1));
        assert!(bed.row(1).last_error.unwrap().contains("stalls"));
        assert_eq!(bed.state("192.0.2.0/24"), Validation::Valid);
    }
}

#[test]
fn a_cache_that_trickles_is_given_up() {
    let mut bed = Bed::new(&[(1, 1)]);
    bed.connect(1);
    bed.say(1, &[say::response(SESSION)]);
    for _ in 0..30 {
        assert!(bed.is_open(1));
        bed.say(1, &[say::record(1, true, VRPS[0])]);
        bed.pass(20);
    }
    assert!(bed.row(1).last_error.unwrap().contains("stalls"));
}

// RFC-SHOWN 8210 §12
#[test]
fn a_cache_without_data_is_asked_later() {
    let mut bed = Bed::new(&[(1, 1)]);
    bed.connect(1);
    bed.take_heard(1);
    bed.say(1, &[say::error(1, 2, "still loading")]);
    let error = bed.row(1).last_error.unwrap();
    assert_eq!(error, "reports an error: No Data Available: still loading");
    bed.pass(599);
    assert!(bed.is_open(1));
    assert_eq!(bed.take_heard(1), []);
    bed.pass(1);
    assert_eq!(bed.take_heard(1), [Heard::Reset]);
    // Or as soon as it says that it has some.
    bed.say(1, &[say::error(1, 2, "")]);
    bed.say(1, &[say::notify(SESSION, 1)]);
    assert_eq!(bed.take_heard(1), [Heard::Reset]);
    bed.answer(1, 1, VRPS);
    assert_eq!(bed.state("192.0.2.0/24"), Validation::Valid);
}

// RFC-SHOWN 8210 §7
#[test]
fn an_old_cache_is_spoken_to_in_its_version() {
    let v0_end = say::pdu(0, 7, SESSION, &1u32.to_be_bytes());
    for first in [
        say::error(0, 4, "version 0 only"),
        say::pdu(0, 3, SESSION, &[]),
    ] {
        let mut bed = Bed::new(&[(1, 1)]);
        bed.connect(1);
        // Before the version is settled a notification means nothing.
        bed.say(1, &[say::pdu(0, 0, 3, &[0; 4])]);
        assert_eq!(bed.take_heard(1), [Heard::Reset]);
        bed.say(1, &[first]);
        assert!(!bed.is_open(1));
        bed.connect(1);
        assert_eq!(bed.take_heard(1), [Heard::Old(2)]);
        let answer = [
            say::pdu(0, 3, SESSION, &[]),
            say::record(0, true, VRPS[0]),
            v0_end.clone(),
        ];
        bed.say(1, &answer);
        assert_eq!(bed.state("192.0.2.0/24"), Validation::Valid);
        assert_eq!(bed.row(1).version, Some(0));
        // It gives no timers: ours count.
        assert_eq!(bed.row(1).expires_in_seconds, Some(7200));
        bed.pass(3600);
        assert_eq!(bed.take_heard(1), [Heard::Old(1)]);
    }
}

// RFC-SHOWN 8210 §5.1
#[test]
fn what_another_session_said_is_forgotten() {
    let mut bed = Bed::new(&[(1, 1)]);
    bed.synchronize(1, 1, VRPS);
    bed.pass(3600);
    bed.take_heard(1);
    bed.say(1, &[say::response(8)]);
    assert!(!bed.is_open(1));
    assert_eq!(bed.take_heard(1), [Heard::Error(0)]);
    assert_eq!(bed.state("192.0.2.0/24"), Validation::NotFound);
    bed.pass(1);
    bed.synchronize(1, 1, VRPS);
    assert_eq!(bed.state("192.0.2.0/24"), Validation::Valid);
    let mut bed = Bed::new(&[(1, 1)]);
    bed.synchronize(1, 1, VRPS);
    bed.say(1, &[say::notify(8, 1)]);
    assert!(!bed.is_open(1));
    assert_eq!(bed.state("192.0.2.0/24"), Validation::NotFound);
}

#[test]
fn an_answer_that_contradicts_itself_is_not_used_and_flushes_nothing() {
    let other: (&str, u8, u32) = ("203.0.113.0/24", 24, 65002);
    // To a Serial Query, and to a Reset Query after a Cache Reset.
    for resets in [false, true] {
        let mut bed = Bed::new(&[(1, 1)]);
        bed.synchronize(1, 1, VRPS);
        bed.pass(3600);
        assert_eq!(bed.take_heard(1), [Heard::Serial(SESSION, 1)]);
        if resets {
            bed.say(1, &[say::reset()]);
            assert_eq!(bed.take_heard(1), [Heard::Reset]);
        }
        let answer = [
            say::response(SESSION),
            say::record(1, true, other),
            say::end(8, 2, TIMERS),
        ];
        bed.say(1, &answer);
        assert_eq!(bed.take_heard(1), [Heard::Error(0)]);
        assert!(!bed.is_open(1));
        assert_eq!(bed.state("192.0.2.0/24"), Validation::Valid);
        assert_eq!(bed.state("203.0.113.0/24"), Validation::NotFound);
        // Asked again after the Retry Interval, for everything; until it expires the data stays.
        bed.pass(600);
        assert_eq!(bed.state("192.0.2.0/24"), Validation::Valid);
        bed.synchronize(1, 3, &[other]);
        assert_eq!(bed.state("192.0.2.0/24"), Validation::NotFound);
        assert_eq!(bed.state("203.0.113.0/24"), Validation::Valid);
    }
    let mut bed = Bed::new(&[(1, 1)]);
    bed.synchronize(1, 1, VRPS);
    bed.pass(3600);
    bed.say(1, &[say::response(SESSION), say::end(8, 2, TIMERS)]);
    bed.pass(3599);
    assert_eq!(bed.state("192.0.2.0/24"), Validation::Valid);
    bed.pass(1);
    assert_eq!(bed.state("192.0.2.0/24"), Validation::NotFound);
}

#[test]
fn data_that_expires_under_an_answer_is_asked_for_anew() {
    let mut bed = Bed::new(&[(1, 1)]);
    bed.connect(1);
    bed.take_heard(1);
    let timers = [599, 600, 600];
    let answer = [
        say::response(SESSION),
        say::record(1, true, VRPS[0]),
        say::end(SESSION, 1, timers),
    ];
    bed.say(1, &answer);
    bed.pass(599);
    assert_eq!(bed.take_heard(1), [Heard::Serial(SESSION, 1)]);
    bed.say(1, &[say::response(SESSION), say::record(1, true, VRPS[1])]);
    bed.pass(1);
    assert_eq!(bed.state("198.51.100.0/24"), Validation::NotFound);
    bed.synchronize(1, 2, VRPS);
    assert_eq!(bed.state("192.0.2.0/24"), Validation::Valid);
}

#[test]
fn no_cache_is_no_validation() {
    let mut bed = Bed::new(&[(1, 1)]);
    bed.synchronize(1, 1, VRPS);
    bed.configure(&[]);
    assert!(bed.table.is_none());
    assert_eq!(bed.changes.last().map(|changed| changed.len()), Some(3));
    assert!(bed.open.is_empty());
    assert_eq!(bed.caches.poll_timeout(), None);
    bed.configure(&[(2, 1)]);
    assert_eq!(bed.state("192.0.2.0/24"), Validation::NotFound);
}
