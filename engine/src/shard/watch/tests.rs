//! What a watch is told, and when it is told nothing.

use std::time::Duration;

use super::*;
use crate::config::{Delta, Import, Neighbor};
use crate::policy::Policy;
use crate::shard::ShardCommand;
use crate::shard::rig::{INSTANCE, Rig, neighbor};

fn watching(peer: Option<&str>) -> (Rig, Watched) {
    let mut rig = Rig::new();
    let neighbors = ["10.0.0.6", "10.0.0.7"].map(|address| Arc::new(neighbor(address)));
    rig.tell(Delta::Neighbors(INSTANCE, neighbors.into()));
    let (watch, watched) = watch(None, peer.map(|peer| peer.parse().unwrap()));
    rig.command(ShardCommand::Watch(watch));
    (rig, watched)
}

fn next(watched: &mut Watched) -> Option<(u64, Event)> {
    let mut cx = Context::from_waker(std::task::Waker::noop());
    match watched.poll_next(&mut cx) {
        Poll::Ready(event) => event,
        Poll::Pending => None,
    }
}

fn said(watched: &mut Watched) -> Vec<String> {
    let mut said = Vec::new();
    while let Some((_, event)) = next(watched) {
        said.push(match event {
            Event::Session { peer, from, to, .. } => {
                format!("{peer} {from:?} {to:?}")
            }
            Event::Routes {
                peer,
                withdrawn,
                announced,
                judged,
                ..
            } => {
                let sign = if judged { '~' } else { '+' };
                let standing = announced
                    .first()
                    .map(|(_, of)| match (of.best, of.accepted) {
                        (true, _) => " best",
                        (false, true) => " accepted",
                        (false, false) => " rejected",
                    });
                let (gone, there) = (withdrawn.len(), announced.len());
                let standing = standing.unwrap_or_default();
                format!("{peer:?} -{gone} {sign}{there}{standing}")
            }
            Event::Told {
                peers,
                withdrawn,
                announced,
                ..
            } => {
                let peers: Vec<String> = peers.iter().map(ToString::to_string).collect();
                let (gone, there) = (withdrawn.len(), announced.len());
                format!("to {} -{gone} +{there}", peers.join(" "))
            }
        });
    }
    said
}

/// 20.0.0.0/24 announced with AS path and next hop, or withdrawn.
fn update(announced: bool) -> Vec<u8> {
    let prefix = [24, 20, 0, 0];
    let attributes: &[u8] = &[
        0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xea, 0x40, 3, 4, 10, 0, 0, 6,
    ];
    let (withdrawn, attributes, nlri): (&[u8], &[u8], &[u8]) = match announced {
        true => (&[], attributes, &prefix),
        false => (&prefix, &[], &[]),
    };
    let mut body = Vec::new();
    body.extend((withdrawn.len() as u16).to_be_bytes());
    body.extend(withdrawn);
    body.extend((attributes.len() as u16).to_be_bytes());
    body.extend(attributes);
    body.extend(nlri);
    let mut message = vec![0xff; 16];
    message.extend((19 + body.len() as u16).to_be_bytes());
    message.push(2);
    message.extend(body);
    message
}

#[test]
fn sessions_and_routes_are_told_as_they_change() {
    let (mut rig, mut watched) = watching(None);
    let peer = rig.establish("10.0.0.6", 65002);
    assert_eq!(
        said(&mut watched),
        [
            "10.0.0.6 Active OpenSent",
            "10.0.0.6 OpenSent OpenConfirm",
            "10.0.0.6 OpenConfirm Established"
        ]
    );
    rig.say(peer, &update(true));
    rig.say(peer, &update(false));
    rig.originate(&["10.0.1.0/24", "10.0.2.0/24"]);
    let of_peer = |what: &str| format!("Some(10.0.0.6) {what}");
    let expected = [
        of_peer("-0 +1 best"),
        of_peer("-1 +0"),
        "None -0 +2 best".to_owned(),
        "to 10.0.0.6 -0 +2".to_owned(),
    ];
    assert_eq!(said(&mut watched), expected);
    rig.closed_by_peer(peer);
    let Some((0, Event::Session { reason, .. })) = next(&mut watched) else {
        panic!("nothing was told of the end");
    };
    assert!(reason.unwrap().contains("the peer closed"));
}

/// The changes of sessions, each with its reason.
fn changes(watched: &mut Watched) -> Vec<String> {
    let mut changes = Vec::new();
    while let Some((_, event)) = next(watched) {
        if let Event::Session {
            from, to, reason, ..
        } = event
        {
            let reason = reason.as_deref().unwrap_or("-");
            changes.push(format!("{from:?} {to:?} {reason}"));
        }
    }
    changes
}

#[test]
fn a_change_of_a_session_has_a_reason_only_where_that_is_why() {
    let (mut rig, mut watched) = watching(Some("10.0.0.6"));
    rig.establish("10.0.0.6", 65002);
    let mut drain = |rig: &mut Rig, wait| {
        rig.command(ShardCommand::Drain {
            instance: None,
            peer: "10.0.0.6".parse().ok(),
            wait,
            reply: Box::new(|_| ()),
        });
        rig.pass(Duration::from_secs(1));
        changes(&mut watched)
    };
    let drained = drain(&mut rig, Some(Duration::ZERO));
    let why = "the session with peer 10.0.0.6 was closed with Cease/Administrative Shutdown: \
               \"drained by its operator\"";
    let last = drained.last().unwrap();
    assert_eq!(*last, format!("Established Idle {why}"));
    assert_eq!(drain(&mut rig, None), ["Idle Active -"]);
    let active = Neighbor {
        passive: false,
        ..neighbor("10.0.0.6")
    };
    rig.tell(Delta::Neighbors(INSTANCE, [Arc::new(active)].into()));
    assert_eq!(changes(&mut watched), ["Active Connect -"]);
    for _ in 0..2 {
        let connection = *rig.open.keys().last().unwrap();
        let now = rig.now;
        rig.shard
            .handle_connect_failed(now, connection, "connection refused");
        rig.open.remove(&connection);
        rig.turn();
        let failed = changes(&mut watched);
        let why = "Connect Active cannot connect to peer 10.0.0.6 port 179 (connection refused)";
        assert!(failed[0].starts_with(why), "{failed:?}");
        rig.pass(Duration::from_secs(5));
        assert_eq!(changes(&mut watched), ["Active Connect -"]);
    }
}

#[test]
fn what_becomes_of_routes_that_nobody_says_again_is_told() {
    let (mut rig, mut watched) = watching(None);
    let peer = rig.establish("10.0.0.6", 65002);
    rig.say(peer, &update(true));
    said(&mut watched);
    let mut import = |rig: &mut Rig, import| {
        let settings = Neighbor {
            import,
            ..neighbor("10.0.0.6")
        };
        rig.tell(Delta::Neighbors(INSTANCE, [Arc::new(settings)].into()));
        said(&mut watched)
    };
    let missing = Import::Policy(Arc::new(Policy::missing(&"gone".into())));
    let rejected = import(&mut rig, missing);
    assert_eq!(rejected, ["Some(10.0.0.6) -0 ~1 rejected"]);
    let accepted = import(&mut rig, Import::All);
    assert_eq!(accepted, ["Some(10.0.0.6) -0 ~1 best"]);
    rig.closed_by_peer(peer);
    let ended = said(&mut watched);
    assert!(
        ended.contains(&"Some(10.0.0.6) -1 +0".to_owned()),
        "{ended:?}"
    );
}

/// Why the first announced route of the next event is not used.
fn rejected_by(watched: &mut Watched) -> Option<Arc<str>> {
    let Some((_, Event::Routes { announced, .. })) = next(watched) else {
        panic!("nothing was told of routes");
    };
    let (_, standing) = announced.first().unwrap();
    assert_eq!(standing.accepted, standing.rejected_by.is_none());
    standing.rejected_by.clone()
}

#[test]
fn what_is_not_accepted_is_told_with_what_rejected_it() {
    let (mut rig, mut watched) = watching(Some("10.0.0.6"));
    let peer = rig.establish("10.0.0.6", 65002);
    said(&mut watched);
    let tell = |rig: &mut Rig, change: &dyn Fn(&mut Neighbor)| {
        let mut settings = neighbor("10.0.0.6");
        change(&mut settings);
        rig.tell(Delta::Neighbors(INSTANCE, [Arc::new(settings)].into()));
    };
    rig.say(peer, &update(true));
    assert_eq!(rejected_by(&mut watched), None);
    let is_loop = "AS loop: our own AS number 65002 stands in the AS_PATH";
    tell(&mut rig, &|of| of.own_asns = Arc::from([65001, 65002]));
    assert_eq!(rejected_by(&mut watched).as_deref(), Some(is_loop));
    rig.say(peer, &update(true));
    assert_eq!(rejected_by(&mut watched).as_deref(), Some(is_loop));
    let missing = Import::Policy(Arc::new(Policy::missing(&"gone".into())));
    tell(&mut rig, &|of| of.import = missing.clone());
    rig.say(peer, &update(true));
    let by = rejected_by(&mut watched).unwrap();
    assert!(by.contains("gone"), "{by}");
    tell(&mut rig, &|of| of.import = Import::None);
    said(&mut watched);
    rig.say(peer, &update(true));
    let by = rejected_by(&mut watched).unwrap();
    assert!(by.starts_with("import is none"), "{by}");
    tell(&mut rig, &|of| of.max_prefixes.most = [Some(0), None]);
    said(&mut watched);
    rig.say(peer, &update(true));
    let by = rejected_by(&mut watched).unwrap();
    assert!(by.starts_with("maxPrefixes"), "{by}");
}

/// Once for all to whom the same octets go; who said a route is not told it.
#[test]
fn what_peers_are_told_is_told() {
    let (mut rig, mut watched) = watching(None);
    let one = rig.establish("10.0.0.6", 65002);
    rig.establish("10.0.0.7", 65003);
    said(&mut watched);
    rig.originate(&["10.0.1.0/24", "10.0.2.0/24"]);
    let told = said(&mut watched);
    assert_eq!(
        told,
        ["None -0 +2 best", "to 10.0.0.6 10.0.0.7 -0 +2"].map(str::to_owned)
    );
    rig.say(one, &update(true));
    rig.say(one, &update(false));
    let expected = [
        "Some(10.0.0.6) -0 +1 best",
        "to 10.0.0.7 -0 +1",
        "Some(10.0.0.6) -1 +0",
        "to 10.0.0.7 -1 +0",
    ];
    assert_eq!(said(&mut watched), expected);
    // One of them alone.
    let (watch, mut watched) = watch(None, Some("10.0.0.7".parse().unwrap()));
    rig.command(ShardCommand::Watch(watch));
    rig.originate(&["10.0.3.0/24"]);
    assert_eq!(said(&mut watched), ["to 10.0.0.7 -0 +1"]);
}

#[test]
fn a_route_past_the_limit_is_never_shown_as_used() {
    let (mut rig, mut watched) = watching(None);
    let mut limited = neighbor("10.0.0.6");
    limited.max_prefixes.most = [Some(0), None];
    rig.tell(Delta::Neighbors(INSTANCE, [Arc::new(limited)].into()));
    let peer = rig.establish("10.0.0.6", 65002);
    said(&mut watched);
    rig.say(peer, &update(true));
    let told = said(&mut watched);
    assert_eq!(told[0], "Some(10.0.0.6) -0 +1 rejected");
    assert_eq!(told[1], "10.0.0.6 Established Idle");
}

#[test]
fn one_peer_alone_can_be_watched() {
    let (mut rig, mut watched) = watching(Some("10.0.0.7"));
    rig.establish("10.0.0.6", 65002);
    rig.originate(&["10.0.1.0/24"]);
    assert_eq!(said(&mut watched), [""; 0]);
    rig.establish("10.0.0.7", 65003);
    let told = said(&mut watched);
    assert_eq!((told.len(), &*told[3]), (4, "to 10.0.0.7 -0 +1"));
}

#[test]
fn who_does_not_read_loses_and_is_told_how_much() {
    let (mut rig, mut watched) = watching(None);
    let peer = rig.establish("10.0.0.6", 65002);
    said(&mut watched);
    for _ in 0..WAITING_MAX + 7 {
        rig.say(peer, &update(true));
    }
    let (lost, _) = next(&mut watched).unwrap();
    assert_eq!(lost, 7);
    assert_eq!(said(&mut watched).len(), WAITING_MAX - 1);
    rig.say(peer, &update(true));
    assert_eq!(next(&mut watched).unwrap().0, 0);
    // A reader that is gone is forgotten.
    drop(watched);
    rig.say(peer, &update(true));
    assert!(rig.shard.watches.is_empty());
}
