//! Questions and answers through the client.

use engine::admin::client::{Client, ClientError};
use engine::admin::model::{
    ExplainQuery, PeersQuery, PoliciesQuery, ResetQuery, ResetReply, RoutesKind, RoutesQuery,
    parse_prefix,
};
use engine::admin::{server, socket::AdminSocket};

use crate::fake::{Fake, peer};

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
    let socket = AdminSocket::bind(&path).unwrap();
    let serving = tokio::spawn(server::serve(socket, Fake::default()));
    let mut client = Client::connect(&path).await.unwrap();

    assert_eq!(client.peers(&PeersQuery::default()).await, Ok(vec![peer()]));
    assert_eq!(client.faults().await, Ok(Vec::new()));
    assert_eq!(
        client.policies(&PoliciesQuery::default()).await,
        Ok(Vec::new())
    );
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
    assert_eq!(
        reset,
        Ok(ResetReply {
            peers: 1,
            notes: Vec::new()
        })
    );

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
