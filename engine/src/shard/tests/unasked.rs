//! Routes that a peer without route refresh said while they were not kept.

use super::*;

const PEER: &str = "10.0.0.6";

fn address() -> IpAddr {
    PEER.parse().unwrap()
}

fn import(bed: &mut Bed, import: Import) {
    bed.configure(Neighbor {
        import,
        ..neighbor(PEER, 65002)
    });
}

/// What `peers` and `routes received` say of it.
fn said(bed: &Bed) -> (Option<String>, Vec<String>) {
    let answer = Arc::new(Mutex::new(None));
    let to = Arc::clone(&answer);
    let reply = Box::new(move |routes: model::RoutesReply| *to.lock().unwrap() = Some(routes));
    let query = RoutesQuery::all(RoutesKind::Received);
    bed.shard.answer(bed.now, Query::Routes(query, reply));
    let notes = answer.lock().unwrap().take().unwrap().notes;
    let peer = bed.peer(address());
    assert_eq!(peer.last_error_age_seconds, None, "it is so now");
    (peer.last_error, notes)
}

fn words() -> (Option<String>, Vec<String>) {
    let words =
        "10.0.0.6 was not asked for its routes: it did not offer route refresh (RFC 2918); \
                 `ringbgp reset 10.0.0.6` has it send everything again"
            .to_owned();
    (Some(words.clone()), vec![words])
}

const NOTHING: (Option<String>, Vec<String>) = (None, Vec::new());

#[test]
fn what_is_missing_is_told_until_it_was_said_again() {
    let mut bed = Bed::new();
    import(&mut bed, Import::None);
    let peer = bed.connect(address(), &open(65002, 6, &[]));
    for number in 0..3 {
        bed.say(peer, &announce(number, 65002, 6, |_| ()));
    }
    assert_eq!(said(&bed).0, None);
    import(&mut bed, Import::All);
    assert_eq!(said(&bed), words());
    assert_eq!(bed.peer(address()).families[0].received, 0);
    bed.say(peer, &announce(0, 65002, 6, |_| ()));
    bed.say(peer, &announce(7, 65002, 6, |_| ()));
    bed.say(peer, &withdraw(1));
    assert_eq!(said(&bed), words());
    bed.say(peer, &announce(2, 65002, 6, |_| ()));
    assert_eq!(said(&bed), NOTHING);
    assert_eq!(bed.peer(address()).families[0].received, 3);
}

#[test]
fn or_until_the_session_is_a_new_one() {
    let mut bed = Bed::new();
    import(&mut bed, Import::All);
    let peer = bed.connect(address(), &open(65002, 6, &[]));
    bed.say(peer, &announce(0, 65002, 6, |_| ()));
    // What was kept before is as little known.
    import(&mut bed, Import::None);
    bed.say(peer, &announce(1, 65002, 6, |_| ()));
    import(&mut bed, Import::All);
    bed.say(peer, &announce(1, 65002, 6, |_| ()));
    assert_eq!(said(&bed), words());
    bed.reset();
    bed.connect(address(), &open(65002, 6, &[]));
    assert_eq!(
        bed.peer(address()).last_error_age_seconds,
        Some(0),
        "why it was reset"
    );
}

#[test]
fn nothing_is_missing_of_a_peer_that_is_asked_or_had_said_nothing() {
    for (refresh, prefixes) in [(true, 3), (false, 0)] {
        let mut bed = Bed::new();
        import(&mut bed, Import::None);
        let more = [Capability::RouteRefresh];
        let more = if refresh { &more[..] } else { &[] };
        let peer = bed.connect(address(), &open(65002, 6, more));
        for number in 0..prefixes {
            bed.say(peer, &announce(number, 65002, 6, |_| ()));
        }
        import(&mut bed, Import::All);
        assert_eq!(said(&bed), NOTHING);
    }
}
