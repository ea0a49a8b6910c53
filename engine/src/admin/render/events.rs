//! What `watch` shows, for people.

use super::super::model::WatchEvent;
use super::{DEFAULT_INSTANCE, or_dash, path_and_origin, state};

/// A line about something that happened.
pub fn event(event: &WatchEvent) -> String {
    let of = |instance: &str, peer: Option<&str>| {
        let peer = peer.unwrap_or("self");
        match instance {
            DEFAULT_INSTANCE => peer.to_owned(),
            instance => format!("{instance} {peer}"),
        }
    };
    match event {
        WatchEvent::Session {
            instance,
            peer_address,
            from,
            to,
            reason,
        } => {
            let reason = reason
                .as_ref()
                .map_or(String::new(), |why| format!(": {why}"));
            let peer = of(instance, Some(peer_address));
            format!("{peer} {} -> {}{reason}\n", state(*from), state(*to))
        }
        WatchEvent::Announced(route) | WatchEvent::Judged(route) => {
            let sign = match event {
                WatchEvent::Judged(_) => '~',
                _ => '+',
            };
            let standing = match (route.best, route.accepted) {
                (true, _) => ", best",
                (false, true) => "",
                (false, false) => ", not accepted",
            };
            format!(
                "{} {sign} {} via {}, AS path {}{standing}\n",
                of(&route.instance, route.peer_address.as_deref()),
                route.prefix,
                or_dash(route.next_hop.as_ref()),
                path_and_origin(route)
            )
        }
        WatchEvent::Withdrawn {
            instance,
            prefix,
            peer_address,
            ..
        } => format!("{} - {prefix}\n", of(instance, peer_address.as_deref())),
        WatchEvent::Advertised {
            peer_count,
            peers,
            route,
        } => format!(
            "to {} + {} via {}, AS path {}\n",
            receivers(&route.instance, peers, *peer_count),
            route.prefix,
            or_dash(route.next_hop.as_ref()),
            path_and_origin(route)
        ),
        WatchEvent::Retracted {
            peer_count,
            peers,
            instance,
            prefix,
            ..
        } => format!(
            "to {} - {prefix}\n",
            receivers(instance, peers, *peer_count)
        ),
        WatchEvent::Lost { count } => {
            format!("({count} UPDATEs and changes of sessions are not shown: too many at once)\n")
        }
    }
}

/// Whom something is told.
fn receivers(instance: &str, named: &[String], count: usize) -> String {
    let names = named.join(", ");
    let instance = match instance {
        DEFAULT_INSTANCE => String::new(),
        instance => format!("{instance} "),
    };
    match count.saturating_sub(named.len()) {
        0 => format!("{instance}{names}"),
        more => format!("{instance}{names} and {more} more"),
    }
}
