//! What `watch` shows, for people.

use super::super::model::{Route, WatchEvent};
use super::{
    DEFAULT_INSTANCE, marks, or_dash, path_and_origin, preferences_and_communities, state,
};

/// A line about something that happened; `wide`: with all that a route carries.
pub fn event(event: &WatchEvent, wide: bool) -> String {
    let more = |route: &Route| match wide {
        true => more(route),
        false => String::new(),
    };
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
            let standing = match (route.best, &route.rejected_by) {
                (true, _) => ", best".to_owned(),
                (false, Some(by)) => format!(", not accepted: {by}"),
                (false, None) if route.accepted => String::new(),
                (false, None) => ", not accepted".to_owned(),
            };
            format!(
                "{} {sign} {} via {}, AS path {}{standing}{}\n",
                of(&route.instance, route.peer_address.as_deref()),
                route.prefix,
                or_dash(route.next_hop.as_ref()),
                path_and_origin(route),
                more(route)
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
            "to {} + {} via {}, AS path {}{}\n",
            receivers(&route.instance, peers, *peer_count),
            route.prefix,
            or_dash(route.next_hop.as_ref()),
            path_and_origin(route),
            more(route)
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

/// What a route carries and is beside next hop, AS path and its standing; what is not there is left out.
fn more(route: &Route) -> String {
    let mut parts = preferences_and_communities(route);
    parts.extend(route.path_id.map(|id| format!("path id {id}")));
    parts.extend(marks(route));
    parts.into_iter().map(|part| format!(", {part}")).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::parse_prefix;

    #[test]
    fn wide_adds_what_a_route_carries() {
        let mut route = Route::new("default", parse_prefix("10.0.1.0/24").unwrap());
        route.peer_address = Some("10.0.0.6".to_owned());
        route.next_hop = Some("10.0.0.6".to_owned());
        route.best = true;
        let narrow = "10.0.0.6 + 10.0.1.0/24 via 10.0.0.6, AS path -, best";
        let bare = WatchEvent::Announced(Box::new(route.clone()));
        assert_eq!(event(&bare, true), format!("{narrow}\n"));
        route.local_pref = Some(400);
        route.med = Some(9);
        route.communities = Some(vec!["65001:9".to_owned()]);
        route.large_communities = Some(vec!["65001:1:2".to_owned()]);
        route.path_id = Some(7);
        route.validation = Some("Valid".to_owned());
        let more = "local preference 400, MED 9, communities 65001:9, large communities 65001:1:2, \
                    path id 7, origin validation: Valid";
        let announced = WatchEvent::Announced(Box::new(route.clone()));
        assert_eq!(event(&announced, false), format!("{narrow}\n"));
        assert_eq!(event(&announced, true), format!("{narrow}, {more}\n"));
        let told = WatchEvent::Advertised {
            peer_count: 1,
            peers: vec!["10.0.0.7".to_owned()],
            route: Box::new(route),
        };
        let narrow = "to 10.0.0.7 + 10.0.1.0/24 via 10.0.0.6, AS path -";
        assert_eq!(event(&told, false), format!("{narrow}\n"));
        assert_eq!(event(&told, true), format!("{narrow}, {more}\n"));
    }
}
