//! The admin server: HTTP and JSON on a Unix socket, on the control thread's runtime.
//!
//! It translates and nothing else. Bodies are bounded; a fault in the query is answered with one
//! sentence.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Json;
use axum::Router;
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use hyper::body::{Body, Bytes, Frame};
use serde::Serialize;

use super::api::{ApiError, EngineApi, EventStream};
use super::model::{
    DrainQuery, ExplainQuery, PeersQuery, PoliciesQuery, RefreshQuery, ResetQuery, RoutesQuery,
    RpkiQuery, WatchQuery,
};
use super::socket::AdminSocket;

/// Answers on `socket` until it is dropped, which takes the socket's file away.
///
/// # Errors
/// If the socket cannot be handed to the runtime.
pub async fn serve(socket: AdminSocket, api: impl EngineApi) -> io::Result<()> {
    let listener = tokio::net::UnixListener::from_std(socket.listener()?)?;
    axum::serve(listener, router(api)).await
}

fn router<A: EngineApi>(api: A) -> Router {
    Router::new()
        .route("/v1/peers", post(peers::<A>))
        .route("/v1/routes", post(routes::<A>))
        .route("/v1/explain", post(explain::<A>))
        .route("/v1/reset", post(reset::<A>))
        .route("/v1/refresh", post(refresh::<A>))
        .route("/v1/drain", post(drain::<A>))
        .route("/v1/watch", post(watch::<A>))
        .route("/v1/policies", post(policies::<A>))
        .route("/v1/rpki", post(rpki::<A>))
        .route("/v1/faults", post(faults::<A>))
        .layer(DefaultBodyLimit::max(QUERY_OCTETS_MAX))
        .with_state(api)
}

type Query<Q> = Result<Json<Q>, JsonRejection>;

async fn peers<A: EngineApi>(State(api): State<A>, query: Query<PeersQuery>) -> Response {
    match query {
        Ok(Json(query)) => answer(api.peers(query).await),
        Err(fault) => refuse(&fault),
    }
}

async fn routes<A: EngineApi>(State(api): State<A>, query: Query<RoutesQuery>) -> Response {
    match query {
        Ok(Json(query)) => answer(api.routes(query).await),
        Err(fault) => refuse(&fault),
    }
}

async fn explain<A: EngineApi>(State(api): State<A>, query: Query<ExplainQuery>) -> Response {
    match query {
        Ok(Json(query)) => answer(api.explain(query).await),
        Err(fault) => refuse(&fault),
    }
}

async fn reset<A: EngineApi>(State(api): State<A>, query: Query<ResetQuery>) -> Response {
    match query {
        Ok(Json(query)) => answer(api.reset(query).await),
        Err(fault) => refuse(&fault),
    }
}

async fn refresh<A: EngineApi>(State(api): State<A>, query: Query<RefreshQuery>) -> Response {
    match query {
        Ok(Json(query)) => answer(api.refresh(query).await),
        Err(fault) => refuse(&fault),
    }
}

/// Events as they come, one line of JSON each. It ends with the connection.
async fn watch<A: EngineApi>(State(api): State<A>, query: Query<WatchQuery>) -> Response {
    match query {
        Ok(Json(query)) => match api.watch(query).await {
            Ok(stream) => axum::body::Body::new(Lines(stream)).into_response(),
            Err(error) => answer::<()>(Err(error)),
        },
        Err(fault) => refuse(&fault),
    }
}

/// A stream of events as the body of an answer.
struct Lines(EventStream);

impl Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_next(cx).map(|events| {
            let mut lines = Vec::new();
            for event in events? {
                // It is made of strings and numbers: there is nothing to fail on.
                if serde_json::to_writer(&mut lines, &event).is_ok() {
                    lines.push(b'\n');
                }
            }
            Some(Ok(Frame::data(lines.into())))
        })
    }
}

async fn drain<A: EngineApi>(State(api): State<A>, query: Query<DrainQuery>) -> Response {
    match query {
        Ok(Json(query)) => answer(api.drain(query).await),
        Err(fault) => refuse(&fault),
    }
}

async fn policies<A: EngineApi>(State(api): State<A>, query: Query<PoliciesQuery>) -> Response {
    match query {
        Ok(Json(query)) => answer(api.policies(query).await),
        Err(fault) => refuse(&fault),
    }
}

async fn rpki<A: EngineApi>(State(api): State<A>, query: Query<RpkiQuery>) -> Response {
    match query {
        Ok(Json(query)) => answer(api.rpki(query).await),
        Err(fault) => refuse(&fault),
    }
}

async fn faults<A: EngineApi>(State(api): State<A>) -> Response {
    answer(api.faults().await)
}

fn answer<T: Serialize>(result: Result<T, ApiError>) -> Response {
    match result {
        Ok(value) => Json(value).into_response(),
        Err(error) => {
            let status = match error {
                ApiError::NotFound(_) => StatusCode::NOT_FOUND,
                ApiError::Invalid(_) => StatusCode::BAD_REQUEST,
                ApiError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            };
            (status, Json(error)).into_response()
        }
    }
}

fn refuse(fault: &JsonRejection) -> Response {
    answer::<()>(Err(ApiError::Invalid(fault.body_text())))
}

/// A query is a few hundred octets.
const QUERY_OCTETS_MAX: usize = 16 * 1024;
