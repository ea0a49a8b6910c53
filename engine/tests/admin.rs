//! The admin server and its client over a real Unix socket, with an engine that knows its answers.

use engine::admin::api::{ApiError, EngineApi};
use engine::admin::client::{Client, ClientError};
use engine::admin::model::{
    ExplainQuery, Explanation, FamilyCounts, Fault, Peer, PeerState, PeersQuery, ResetQuery,
    ResetReply, Route, RoutesCursor, RoutesKind, RoutesQuery, RoutesReply, parse_prefix,
};
use engine::admin::{server, socket::AdminSocket};

#[derive(Clone)]
struct Fake;

impl EngineApi for Fake {
    async fn peers(&self, query: PeersQuery) -> Result<Vec<Peer>, ApiError> {
        match query.instance {
            Some(name) => Err(ApiError::NotFound(format!("there is no instance {name:?}"))),
            None => Ok(vec![peer()]),
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

    async fn reset(&self, query: ResetQuery) -> Result<ResetReply, ApiError> {
        Ok(ResetReply {
            peers: query.peer.iter().count(),
        })
    }

    async fn faults(&self) -> Result<Vec<Fault>, ApiError> {
        Ok(Vec::new())
    }
}

fn peer() -> Peer {
    Peer {
        instance: "default".to_owned(),
        peer_address: "10.0.0.6".to_owned(),
        peer_asn: None,
        local_address: None,
        local_asn: 65001,
        state: PeerState::Active,
        uptime_seconds: None,
        downtime_seconds: Some(9),
        last_error: Some("connection refused".to_owned()),
        group: None,
        shard: 0,
        families: vec![FamilyCounts::new(codec::Family::Ipv4Unicast, 0, 0, 0)],
    }
}

#[test]
fn questions_and_answers_go_round() {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(converse());
}

async fn converse() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ringbgp.sock");
    let serving = tokio::spawn(server::serve(AdminSocket::bind(&path).unwrap(), Fake));
    let mut client = Client::connect(&path).await.unwrap();

    assert_eq!(client.peers(&PeersQuery::default()).await, Ok(vec![peer()]));
    assert_eq!(client.faults().await, Ok(Vec::new()));
    let mut query = RoutesQuery::all(RoutesKind::Received);
    query.peer = Some("10.0.0.6".parse().unwrap());
    let first = client.routes(&query).await.unwrap();
    query.cursor = first.more;
    let second = client.routes(&query).await.unwrap();
    assert_eq!(first.routes[0].prefix, "10.0.1.0/24");
    assert_eq!(second.routes[0].prefix, "2001:db8::/32");
    assert_eq!(second.more, None);

    let peer = query.peer;
    let reset = client
        .reset(&ResetQuery {
            instance: None,
            peer,
        })
        .await;
    assert_eq!(reset, Ok(ResetReply { peers: 1 }));

    let instance = Some("blue".to_owned());
    let unknown = client.peers(&PeersQuery { instance }).await;
    let words = "there is no instance \"blue\"".to_owned();
    assert_eq!(unknown, Err(ClientError::Refused(words)));
    let prefix = parse_prefix("10.0.0.0/8").unwrap();
    let stopping = client
        .explain(&ExplainQuery {
            instance: None,
            prefix,
        })
        .await;
    let words = "the engine is stopping".to_owned();
    assert_eq!(stopping, Err(ClientError::Refused(words)));

    drop(client);
    serving.abort();
    assert!(serving.await.unwrap_err().is_cancelled());
    assert!(!path.exists(), "the socket goes with its server");
    let gone = Client::connect(&path).await.err().unwrap();
    assert!(matches!(gone, ClientError::Unreachable(_)), "{gone}");
}
