//! An engine that knows its answers by heart.

use engine::admin::api::{ApiError, EngineApi, EventStream};
use engine::admin::model::{
    DrainQuery, DrainReply, DrainState, ExplainQuery, Explanation, FamilyCounts, Fault, Peer,
    PeerState, PeersQuery, PoliciesQuery, Policy, RefreshQuery, RefreshReply, ResetQuery,
    ResetReply, Route, RoutesCursor, RoutesQuery, RoutesReply, RpkiCache, RpkiQuery, WatchEvent,
    WatchQuery, parse_prefix,
};

#[derive(Clone, Default)]
pub(crate) struct Fake {
    /// How far its peer is drained, whatever was asked.
    pub(crate) drain: Option<DrainState>,
}

impl EngineApi for Fake {
    async fn peers(&self, query: PeersQuery) -> Result<Vec<Peer>, ApiError> {
        match query.instance {
            Some(name) => Err(ApiError::NotFound(format!("there is no instance {name:?}"))),
            None => Ok(vec![Peer {
                drain: self.drain,
                ..peer()
            }]),
        }
    }

    async fn routes(&self, query: RoutesQuery) -> Result<RoutesReply, ApiError> {
        let first = parse_prefix("10.0.1.0/24").unwrap();
        let second = parse_prefix("2001:db8::/32").unwrap();
        let more = RoutesCursor {
            instance: 0,
            shard: 0,
            peer: query.peer,
            family: Some(first.family()),
            after: Some(first),
        };
        Ok(match query.cursor {
            None => RoutesReply {
                routes: vec![Route::new("default", first)],
                more: Some(more),
                notes: Vec::new(),
            },
            Some(cursor) => {
                assert_eq!(cursor, more);
                RoutesReply {
                    routes: vec![Route::new("default", second)],
                    ..RoutesReply::default()
                }
            }
        })
    }

    async fn explain(&self, _: ExplainQuery) -> Result<Vec<Explanation>, ApiError> {
        Err(ApiError::Unavailable("the engine is stopping".to_owned()))
    }

    async fn rpki(&self, _: RpkiQuery) -> Result<Vec<RpkiCache>, ApiError> {
        Ok(Vec::new())
    }

    async fn reset(&self, query: ResetQuery) -> Result<ResetReply, ApiError> {
        Ok(ResetReply {
            peers: query.peer.iter().count(),
            notes: query.peer.is_none().then(not_reset).into_iter().collect(),
        })
    }

    async fn watch(&self, _: WatchQuery) -> Result<EventStream, ApiError> {
        let gone = WatchEvent::Withdrawn {
            instance: "default".to_owned(),
            afi: "ipv4".to_owned(),
            safi: "unicast".to_owned(),
            prefix: "10.0.1.0/24".to_owned(),
            peer_address: Some("10.0.0.6".to_owned()),
        };
        let mut events = vec![vec![gone], vec![WatchEvent::Lost { count: 3 }]].into_iter();
        Ok(EventStream::new(move |_| {
            std::task::Poll::Ready(events.next())
        }))
    }

    async fn drain(&self, query: DrainQuery) -> Result<DrainReply, ApiError> {
        Ok(DrainReply {
            peers: query.peer.iter().count(),
        })
    }

    async fn refresh(&self, query: RefreshQuery) -> Result<RefreshReply, ApiError> {
        Ok(RefreshReply {
            peers: query.peer.iter().count(),
            notes: Vec::new(),
        })
    }

    async fn policies(&self, _: PoliciesQuery) -> Result<Vec<Policy>, ApiError> {
        Ok(Vec::new())
    }

    async fn faults(&self) -> Result<Vec<Fault>, ApiError> {
        Ok(Vec::new())
    }
}

fn not_reset() -> String {
    "10.0.0.6 was not reset: it has no session".to_owned()
}

pub(crate) fn peer() -> Peer {
    Peer {
        instance: "default".to_owned(),
        peer_address: "10.0.0.6".to_owned(),
        peer_asn: None,
        peer_hostname: None,
        local_address: None,
        local_asn: 65001,
        state: PeerState::Active,
        route_reflector_client: false,
        route_server_client: false,
        uptime_seconds: None,
        downtime_seconds: Some(9),
        drain: None,
        last_error: Some("connection refused".to_owned()),
        last_error_age_seconds: Some(9),
        group: None,
        shard: 0,
        malformed_updates: Default::default(),
        families: vec![FamilyCounts::new(codec::Family::Ipv4Unicast, 0, 0, 0)],
    }
}
