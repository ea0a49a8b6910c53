//! What people see of routes that their peer has yet to say again.

use std::time::Duration;

use codec::{GracefulRestartFamily, LongLivedFamily};

use super::*;

const SAYS: &str = "10.0.0.6";
const HEARS: &str = "10.0.0.7";
const FAMILY: Family = Family::Ipv4Unicast;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A peer that is back within 100 s, and one whose routes may stay for an hour after that.
fn restarts() -> [Capability; 2] {
    let (afi, safi) = (FAMILY.afi(), FAMILY.safi());
    [
        Capability::GracefulRestart {
            restarting: false,
            notification: false,
            restart_time: 100,
            families: vec![GracefulRestartFamily {
                afi,
                safi,
                forwarding: true,
            }],
        },
        Capability::LongLivedGracefulRestart(vec![LongLivedFamily {
            afi,
            safi,
            forwarding: true,
            stale_time: 3600,
        }]),
    ]
}

#[test]
fn routes_of_a_peer_that_is_away_are_shown_as_stale_until_it_says_them_again() {
    let mut bed = Bed::new();
    let mut says = neighbor(SAYS, 65002);
    says.long_lived = Some(Duration::from_secs(3600));
    bed.configure(says);
    bed.configure(neighbor(HEARS, 65003));
    let saying = bed.connect(address(SAYS), &open(65002, 6, &restarts()));
    // It knows what LLGR_STALE is, so that it goes on being told.
    bed.connect(address(HEARS), &open(65003, 7, &restarts()));
    for number in 1..=2 {
        bed.say(saying, &announce(number, 65002, 6, |_| ()));
    }
    let stale = |bed: &Bed| {
        let peer = bed.peer(address(SAYS)).families[FAMILY.index()].stale;
        let advertised = bed.routes(RoutesKind::Advertised, address(HEARS));
        let received = bed.routes(RoutesKind::Received, address(SAYS));
        let count = |routes: Vec<Route>| routes.iter().filter(|route| route.stale).count();
        let told = bed.verdict(erased(1), address(HEARS)).route.unwrap();
        (peer, count(received), count(advertised), told.stale)
    };
    assert_eq!(stale(&bed), (0, 0, 0, false));

    bed.shard.handle_closed(bed.now, saying, "lost".to_owned());
    bed.run();
    assert_eq!(stale(&bed), (2, 2, 2, true));
    // Past its restart time they stay on, marked for all to see.
    bed.wait(101);
    assert_eq!(stale(&bed), (2, 2, 2, true));
    let told = bed.verdict(erased(1), address(HEARS)).route.unwrap();
    assert_eq!(told.communities, Some(vec!["65535:6".to_owned()]));

    let saying = bed.connect(address(SAYS), &open(65002, 6, &restarts()));
    bed.say(saying, &announce(1, 65002, 6, |_| ()));
    assert_eq!(stale(&bed), (1, 1, 1, false));
    let mut end = Vec::new();
    codec::encode_end_of_rib(FAMILY, &mut end);
    bed.say(saying, &end);
    assert_eq!(stale(&bed), (0, 0, 0, false));
    assert_eq!(bed.peer(address(SAYS)).families[FAMILY.index()].received, 1);
}

/// A drain of all that finds a router restarting: others have their time to find paths around it too.
#[test]
fn the_routes_of_a_peer_that_restarts_stay_for_as_long_as_a_drain_waits() {
    let mut bed = Bed::new();
    bed.configure(neighbor(SAYS, 65002));
    bed.configure(neighbor(HEARS, 65003));
    let saying = bed.connect(address(SAYS), &open(65002, 6, &restarts()[..1]));
    let hearing = bed.connect(address(HEARS), &open(65003, 7, &[]));
    bed.say(saying, &announce(1, 65002, 6, |_| ()));
    bed.messages(hearing);
    bed.shard.handle_closed(bed.now, saying, "lost".to_owned());
    bed.run();

    bed.drain(Some(Duration::from_secs(20)));
    bed.wait(19);
    let told = bed.verdict(erased(1), address(HEARS)).route.unwrap();
    assert_eq!(told.communities, Some(vec!["65535:0".to_owned()]));
    let words = bed.peer(address(SAYS)).last_error.unwrap();
    assert!(words.contains("removed in 1 s"), "{words}");
    bed.wait(2);
    let family = bed.peer(address(SAYS)).families[FAMILY.index()].clone();
    assert_eq!((family.received, family.stale), (0, 0));
    assert!(bed.is_refused(address(SAYS)));
}
