//! Hold, keepalive, retry, idle-hold and send-hold on the clock.

use codec::Notification;
use codec::notification::cease;

use super::scripted::{
    drain, hear, keepalive_bytes, notification_bytes, open_bytes, outgoing_in, peer_open,
};
use super::{at, config, local, seconds};
use crate::session::{Accept, Session, Slot, State};
use crate::time::Time;

/// Runs the timers of a session on which nothing else happens, up to `end`.
fn run(session: &mut Session, end: Time) -> Vec<(Time, String)> {
    let mut done = Vec::new();
    while let Some(next) = session.poll_timeout().filter(|next| *next <= end) {
        session.handle_timeout(next);
        done.extend(drain(session).into_iter().map(|action| (next, action)));
    }
    done
}

// RFC-SHOWN 4271 §4.4
// RFC-SHOWN 4271 §10
#[test]
fn keepalives_are_jittered_and_at_most_a_third_of_the_hold_time() {
    let mut session = outgoing_in(State::Established);
    let mut sent = Vec::new();
    let mut now = at(1);
    for _ in 0..200 {
        now = session.poll_timeout().expect("a timer runs");
        hear(&mut session, now, Slot::Outgoing, &keepalive_bytes());
        session.handle_timeout(now);
        if drain(&mut session).contains(&"keepalive to Outgoing".to_owned()) {
            sent.push(now);
        }
    }
    let gaps: Vec<_> = sent
        .windows(2)
        .map(|w| w[1].saturating_since(w[0]))
        .collect();
    assert!(
        gaps.iter()
            .all(|gap| *gap >= seconds(30) * 3 / 4 && *gap <= seconds(30))
    );
    assert!(gaps.iter().min() < gaps.iter().max());
    assert!(now > at(100));
}

#[test]
fn with_a_hold_time_of_zero_there_are_no_timers() {
    let mut session = outgoing_in(State::OpenSent);
    let mut open = peer_open();
    open.hold_time = 0;
    hear(&mut session, at(1), Slot::Outgoing, &open_bytes(&open));
    hear(&mut session, at(1), Slot::Outgoing, &keepalive_bytes());
    assert_eq!(session.state(), State::Established);
    assert_eq!(session.poll_timeout(), None);
}

// RFC-SHOWN 4271 §6.5
#[test]
fn a_silent_peer_is_given_up_after_the_hold_time() {
    let mut session = outgoing_in(State::Established);
    hear(&mut session, at(50), Slot::Outgoing, &keepalive_bytes());
    let done = run(&mut session, at(139));
    assert!(
        done.iter()
            .all(|(_, action)| action == "keepalive to Outgoing")
    );
    let done = run(&mut session, at(140));
    assert!(
        done.contains(&(at(140), "4/0 to Outgoing".to_owned())),
        "{done:?}"
    );
    let words = session.last_error().expect("there is an error");
    assert!(
        words.contains("silent for the hold time of 90 s"),
        "{words}"
    );
}

#[test]
fn a_hold_timer_waits_for_octets_that_wait() {
    let mut session = outgoing_in(State::Established);
    let (slot, due) = (Slot::Outgoing, at(91));
    run(&mut session, at(90));
    assert_eq!(session.holds_due(at(90)).count(), 0);
    for second in 0..300 {
        let now = due + seconds(second);
        assert_eq!(session.holds_due(now).collect::<Vec<_>>(), [slot]);
        session.handle_unread(now, slot);
        session.handle_timeout(now);
        drain(&mut session);
        assert_eq!(session.state(), State::Established);
    }
    // What is read starts the timer in earnest; before it is due, waiting octets change nothing.
    let read = at(391);
    hear(&mut session, read, slot, &keepalive_bytes());
    session.handle_unread(read + seconds(89), slot);
    let done = run(&mut session, read + seconds(90));
    assert!(
        done.contains(&(read + seconds(90), "4/0 to Outgoing".to_owned())),
        "{done:?}"
    );
}

#[test]
fn octets_that_wait_once_give_a_silent_peer_no_more_than_a_moment() {
    for (state, due) in [(State::OpenSent, 241), (State::OpenConfirm, 91)] {
        let mut session = outgoing_in(state);
        run(&mut session, at(due - 1));
        session.handle_unread(at(due), Slot::Outgoing);
        session.handle_timeout(at(due));
        assert_eq!(session.state(), state);
        let done = run(&mut session, at(due + 1));
        assert!(
            done.contains(&(at(due + 1), "4/0 to Outgoing".to_owned())),
            "{state:?}: {done:?}"
        );
    }
}

#[test]
fn open_may_take_the_open_time_and_no_longer() {
    let mut session = outgoing_in(State::OpenSent);
    assert!(run(&mut session, at(240)).is_empty());
    let done = run(&mut session, at(241));
    assert_eq!(done[0], (at(241), "4/0 to Outgoing".to_owned()));
}

#[test]
fn attempts_double_to_connect_retry_time_and_start_over_after_a_settled_session() {
    let mut session = Session::new(config(), 3);
    session.handle_start(at(0));
    let mut now = at(0);
    let mut waits = Vec::new();
    for _ in 0..12 {
        session.handle_connect_failed(now, "connection refused");
        let next = session.poll_timeout().expect("a retry is set");
        waits.push(next.saturating_since(now));
        now = next;
        session.handle_timeout(now);
        assert_eq!(session.state(), State::Connect);
        drain(&mut session);
    }
    for (step, wait) in waits.iter().enumerate() {
        let whole = seconds((1 << step).min(120));
        assert!(*wait >= whole * 3 / 4 && *wait <= whole, "{step}: {wait:?}");
    }
    session.handle_connected(now, local());
    hear(&mut session, now, Slot::Outgoing, &open_bytes(&peer_open()));
    hear(&mut session, now, Slot::Outgoing, &keepalive_bytes());
    now = now + seconds(31);
    session.handle_closed(now, Slot::Outgoing, "end of stream");
    assert!(session.poll_timeout() <= Some(now + seconds(1)));
}

#[test]
fn protocol_faults_hold_the_session_back_with_growing_delay() {
    let mut session = Session::new(config(), 3);
    session.handle_start(at(0));
    let mut now = at(0);
    for step in 0..10u32 {
        drain(&mut session);
        session.handle_connected(now, local());
        hear(&mut session, now, Slot::Outgoing, &keepalive_bytes());
        assert_eq!(session.state(), State::Idle);
        assert_eq!(session.handle_accepted(now, local()), Accept::Refused(None));
        let next = session.poll_timeout().expect("an idle hold runs");
        let whole = seconds((1u64 << step).min(60));
        let wait = next.saturating_since(now);
        assert!(wait >= whole * 3 / 4 && wait <= whole, "{step}: {wait:?}");
        now = next;
        session.handle_timeout(now);
        assert_eq!(session.state(), State::Connect);
    }
}

#[test]
fn planned_ends_cost_a_second_at_most() {
    for _ in 0..5 {
        let mut session = outgoing_in(State::Established);
        session.handle_reset(at(2), Notification::cease(cease::ADMINISTRATIVE_RESET));
        assert!(session.poll_timeout() <= Some(at(3)));
        assert_eq!(session.handle_accepted(at(2), local()), Accept::Taken);

        let mut session = outgoing_in(State::Established);
        hear(
            &mut session,
            at(2),
            Slot::Outgoing,
            &notification_bytes(6, 4),
        );
        assert!(session.poll_timeout() <= Some(at(3)));
        assert_eq!(session.handle_accepted(at(2), local()), Accept::Taken);
    }
}

// RFC-SHOWN 9687 §3
#[test]
fn a_peer_that_does_not_read_is_dropped_by_progress_not_by_writability() {
    let mut session = outgoing_in(State::Established);
    let mut changed = config();
    changed.timers.send_hold = Some(seconds(20));
    session.handle_config(at(1), changed);
    session.handle_backlog(at(10), Slot::Outgoing, 4096);
    session.handle_written(at(25), Slot::Outgoing, 1);
    session.handle_backlog(at(26), Slot::Outgoing, 9000);
    session.handle_written(at(27), Slot::Outgoing, 0);
    hear(&mut session, at(40), Slot::Outgoing, &keepalive_bytes());
    let done = run(&mut session, at(44));
    assert!(!done.iter().any(|(_, action)| action == "down"), "{done:?}");
    let done = run(&mut session, at(45));
    let dropped: Vec<_> = done.iter().map(|(_, action)| action.as_str()).collect();
    assert!(
        dropped.ends_with(&["down", "8/0 to Outgoing", "close Outgoing"]),
        "{dropped:?}"
    );
    let words = session.last_error().expect("there is an error");
    assert!(words.contains("Send Hold Timer Expired"), "{words}");
}

#[test]
fn without_a_backlog_no_send_hold_timer_runs() {
    let mut session = outgoing_in(State::Established);
    session.handle_backlog(at(2), Slot::Outgoing, 100);
    session.handle_backlog(at(3), Slot::Outgoing, 0);
    for second in (30..2000).step_by(30) {
        hear(&mut session, at(second), Slot::Outgoing, &keepalive_bytes());
        run(&mut session, at(second));
        assert_eq!(session.state(), State::Established);
    }
}

#[test]
fn the_default_send_hold_time_is_eight_minutes_or_twice_the_hold_time() {
    for (hold, expected) in [(90, 480), (600, 1200)] {
        let mut slow = config();
        slow.timers.hold = seconds(hold);
        let mut session = Session::new(slow, 1);
        session.handle_start(at(0));
        session.handle_connected(at(0), local());
        let mut open = peer_open();
        open.hold_time = u16::try_from(hold).expect("fits");
        hear(&mut session, at(0), Slot::Outgoing, &open_bytes(&open));
        hear(&mut session, at(0), Slot::Outgoing, &keepalive_bytes());
        session.handle_backlog(at(0), Slot::Outgoing, 1);
        let mut down = None;
        for second in 1..2000 {
            hear(&mut session, at(second), Slot::Outgoing, &keepalive_bytes());
            run(&mut session, at(second));
            if session.state() != State::Established {
                down = Some(second);
                break;
            }
        }
        assert_eq!(down, Some(expected));
    }
}
