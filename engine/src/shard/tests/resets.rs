//! What the operator is told of a reset.

use std::time::Duration;

use super::*;
use crate::config::Password;

const PEER: &str = "10.0.0.6";

fn address() -> IpAddr {
    PEER.parse().unwrap()
}

/// A reset that brings no session up anew: what is said of it.
fn note(bed: &mut Bed) -> String {
    let reply = bed.reset();
    assert_eq!(
        (reply.peers, reply.notes.len()),
        (0, 1),
        "{:?}",
        reply.notes
    );
    reply.notes.into_iter().next().unwrap()
}

#[test]
fn only_sessions_that_are_closed_to_come_up_again_are_said_to_be_reset() {
    let mut bed = Bed::new();
    bed.configure(neighbor(PEER, 65002));
    let words = "10.0.0.6 was not reset: it has no session, and is waited for to connect (passive)";
    assert_eq!(note(&mut bed), words);
    bed.connect(address(), &open(65002, 6, &[]));
    let reset = bed.reset();
    assert_eq!(
        (reset.peers, reset.notes.len()),
        (1, 0),
        "{:?}",
        reset.notes
    );

    let mut active = neighbor(PEER, 65002);
    active.passive = false;
    bed.configure(active.clone());
    assert!(note(&mut bed).ends_with("no session, and is dialled again within a second"));
    active.password = Password::Missing("Secret kube-system/a is not there".into());
    bed.configure(active);
    assert!(note(&mut bed).ends_with("it stays idle: Secret kube-system/a is not there"));
}

#[test]
fn a_reset_lets_nobody_up_who_is_drained() {
    let mut bed = Bed::new();
    bed.configure(neighbor(PEER, 65002));
    bed.connect(address(), &open(65002, 6, &[]));
    bed.drain(Some(Duration::from_secs(60)));
    let words = "10.0.0.6 was closed and stays so: it is drained; `ringbgp undrain 10.0.0.6`";
    assert!(note(&mut bed).starts_with(words));
    assert!(bed.is_refused(address()));
    assert!(note(&mut bed).starts_with("10.0.0.6 was not reset: it is drained; "));
    bed.drain(None);
    bed.connect(address(), &open(65002, 6, &[]));
    assert_eq!(bed.reset().peers, 1);
}
