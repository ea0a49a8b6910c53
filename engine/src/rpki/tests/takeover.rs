//! Several caches: preference, take-over, and what nobody may see of it.

use super::*;

/// Of another cache, which does not know AS 65002's.
const OTHERS: &[(&str, u8, u32)] = &[("198.51.100.0/24", 24, 65002)];

// RFC-SHOWN 8210 §10
#[test]
fn the_next_cache_takes_over_and_gives_back() {
    let mut bed = Bed::new(&[(2, 20), (1, 10)]);
    bed.pass(0);
    assert!(bed.is_open(1) && !bed.is_open(2));
    bed.synchronize(1, 1, VRPS);
    assert_eq!(bed.row(2).state, RpkiState::Standby);
    bed.close(1);
    // What the first said counts until the second has answered.
    bed.connect(2);
    assert_eq!(bed.state("192.0.2.0/24"), Validation::Valid);
    assert!(bed.row(1).in_use && !bed.row(2).in_use);
    bed.answer(2, 5, OTHERS);
    assert_eq!(bed.state("192.0.2.0/24"), Validation::NotFound);
    assert_eq!(bed.state("198.51.100.0/24"), Validation::Valid);
    assert!(bed.row(2).in_use && !bed.row(1).in_use);
    // The first is back, and asked only for what is new.
    bed.pass(1);
    bed.connect(1);
    assert_eq!(bed.state("198.51.100.0/24"), Validation::Valid);
    assert_eq!(bed.take_heard(1), [Heard::Serial(SESSION, 1)]);
    bed.say(1, &[say::response(SESSION), say::end(SESSION, 1, TIMERS)]);
    assert_eq!(bed.state("192.0.2.0/24"), Validation::Valid);
    assert!(!bed.is_open(2));
    assert_eq!(bed.row(2).state, RpkiState::Standby);
}

#[test]
fn all_caches_are_tried_in_turn() {
    let mut bed = Bed::new(&[(1, 1), (2, 2), (3, 3)]);
    bed.pass(0);
    bed.close(1);
    bed.pass(0);
    bed.close(2);
    bed.synchronize(3, 1, VRPS);
    assert_eq!(bed.state("192.0.2.0/24"), Validation::Valid);
    // The others are tried again, ever more rarely, and the one in use is left alone.
    let mut attempts = 0;
    for _ in 0..100 {
        bed.pass(1);
        for host in [1, 2] {
            if bed.is_open(host) {
                attempts += 1;
                bed.close(host);
            }
        }
        assert!(bed.is_open(3));
    }
    assert!((10..=16).contains(&attempts), "{attempts} attempts");
    // The second is better than the third.
    while !bed.is_open(2) {
        bed.pass(1);
    }
    bed.synchronize(2, 1, VRPS);
    assert!(!bed.is_open(3) && bed.row(2).in_use);
}

#[test]
fn a_cache_that_says_nonsense_or_nothing_is_no_cache() {
    let endings: [fn(&mut Bed); 3] = [
        |bed| bed.say(1, &[vec![1, 99, 0, 0, 0, 0, 0, 8]]),
        |bed| bed.say(1, &[say::notify(SESSION, 2), say::error(1, 2, "")]),
        |bed| {
            bed.pass(3630);
        },
    ];
    for end in endings {
        let mut bed = Bed::new(&[(1, 1), (2, 2)]);
        bed.synchronize(1, 1, VRPS);
        end(&mut bed);
        bed.synchronize(2, 1, OTHERS);
        assert_eq!(bed.state("198.51.100.0/24"), Validation::Valid);
    }
}

#[test]
fn caches_change_live() {
    let mut bed = Bed::new(&[(1, 1)]);
    bed.synchronize(1, 1, VRPS);
    // A better one comes: the other stays in use until that has answered.
    bed.configure(&[(1, 5), (2, 1)]);
    assert_eq!(bed.state("192.0.2.0/24"), Validation::Valid);
    bed.synchronize(2, 1, OTHERS);
    assert_eq!(bed.state("192.0.2.0/24"), Validation::NotFound);
    // It is replaced by another: its data stays until that has answered.
    bed.configure(&[(3, 1)]);
    assert!(!bed.is_open(1) && !bed.is_open(2));
    assert_eq!(bed.state("198.51.100.0/24"), Validation::Valid);
    let rows = bed.caches.rows(bed.now, "default");
    let [new, left] = &rows[..] else {
        panic!("{rows:?}");
    };
    assert!(!new.in_use && left.in_use);
    assert_eq!(left.serial, Some(1));
    assert!(left.ipv4_vrps.is_some_and(|vrps| vrps > 0) && left.expires_in_seconds.is_some());
    let why = left.last_error.as_deref().unwrap_or_default();
    assert!(why.contains("not in the settings any more"), "{why}");
    bed.synchronize(3, 1, VRPS);
    assert_eq!(bed.caches.rows(bed.now, "default").len(), 1);
    assert_eq!(bed.state("192.0.2.0/24"), Validation::Valid);
    // The same settings once more change nothing.
    let told = bed.changes.len();
    bed.configure(&[(3, 1)]);
    assert!(bed.is_open(3));
    assert_eq!(bed.changes.len(), told);
}

/// A cache is replaced by an equal one: nobody hears of it.
#[test]
fn an_equal_table_changes_nothing() {
    let mut bed = Bed::new(&[(1, 1), (2, 2)]);
    bed.synchronize(1, 1, VRPS);
    bed.close(1);
    bed.synchronize(2, 9, VRPS);
    let told = bed.changes.iter().filter(|changed| !changed.is_empty());
    assert_eq!(told.count(), 1);
}
