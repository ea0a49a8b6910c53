//! Watching a running engine: events of its shards, in the words of the admin model.

use std::sync::Arc;
use std::task::Context;

use codec::IpPrefix;

use crate::admin::api::EventStream;
use crate::model::{Route, WatchEvent, afi_name, attributes};
use crate::shard::{Event, Watched};

/// How many may watch at a time.
pub(super) const WATCHERS_MAX: usize = 16;

/// Peers that are named of those who are told the same.
const NAMED_MAX: usize = 8;

/// The stream of one watch, whose own routes `name_sources` names the rules of; `place` is given back
/// with it.
pub(super) fn stream<P: Send + 'static>(
    name_sources: impl Fn(&mut [Route]) + Send + 'static,
    mut watched: Watched,
    place: P,
) -> EventStream {
    EventStream::new(move |cx: &mut Context<'_>| {
        let _ = &place;
        watched.poll_next(cx).map(|next| {
            next.map(|(lost, event)| {
                let mut events = events_of(&name_sources, event);
                if lost > 0 {
                    events.push(WatchEvent::Lost { count: lost });
                }
                events
            })
        })
    })
}

fn events_of(name_sources: &impl Fn(&mut [Route]), event: Event) -> Vec<WatchEvent> {
    match event {
        Event::Session {
            instance,
            peer,
            from,
            to,
            reason,
        } => vec![WatchEvent::Session {
            instance: instance.to_string(),
            peer_address: peer.to_string(),
            from,
            to,
            reason,
        }],
        Event::Routes {
            instance,
            peer,
            withdrawn,
            announced,
            attributes,
            judged,
        } => {
            let peer_address = peer.map(|peer| peer.to_string());
            let withdrawn = withdrawn
                .iter()
                .map(|prefix| gone(&instance, *prefix, peer_address.clone()));
            let mut events: Vec<WatchEvent> = withdrawn.collect();
            let routes = announced.iter().map(|(prefix, standing)| {
                let mut route = Route::new(&instance, *prefix);
                route.peer_address.clone_from(&peer_address);
                attributes::fill(&mut route, &attributes);
                route.accepted = standing.accepted;
                route.rejected_by = standing.rejected_by.as_deref().map(str::to_owned);
                route.best = standing.best;
                route
            });
            let mut routes: Vec<Route> = routes.collect();
            name_sources(&mut routes);
            let event = match judged {
                true => WatchEvent::Judged,
                false => WatchEvent::Announced,
            };
            events.extend(routes.into_iter().map(Box::new).map(event));
            events
        }
        Event::Told {
            instance,
            peers,
            withdrawn,
            announced,
            attributes,
        } => {
            let peer_count = peers.len();
            let named = peers.iter().take(NAMED_MAX).map(ToString::to_string);
            let named: Vec<String> = named.collect();
            let gone = withdrawn.iter().map(|prefix| WatchEvent::Retracted {
                peer_count,
                peers: named.clone(),
                instance: instance.to_string(),
                afi: afi_name(prefix.family()).to_owned(),
                safi: "unicast".to_owned(),
                prefix: prefix.to_string(),
            });
            let mut events: Vec<WatchEvent> = gone.collect();
            events.extend(announced.iter().map(|prefix| {
                let mut route = Box::new(Route::new(&instance, *prefix));
                attributes::fill(&mut route, &attributes);
                route.accepted = true;
                WatchEvent::Advertised {
                    peer_count,
                    peers: named.clone(),
                    route,
                }
            }));
            events
        }
    }
}

fn gone(instance: &Arc<str>, prefix: IpPrefix, peer_address: Option<String>) -> WatchEvent {
    WatchEvent::Withdrawn {
        instance: instance.to_string(),
        afi: afi_name(prefix.family()).to_owned(),
        safi: "unicast".to_owned(),
        prefix: prefix.to_string(),
        peer_address,
    }
}
