//! What the admin server asks of the engine, as a trait, so that server and client are tested
//! without one.
//!
//! Invariant: no call holds up a shard; answers are put together from bounded pages.

use std::future::Future;
use std::task::{Context, Poll};

use serde::{Deserialize, Serialize};

use super::model::{
    DrainQuery, DrainReply, ExplainQuery, Explanation, Fault, Peer, PeersQuery, PoliciesQuery,
    Policy, RefreshQuery, RefreshReply, ResetQuery, ResetReply, RoutesQuery, RoutesReply,
    RpkiCache, RpkiQuery, WatchEvent, WatchQuery,
};

/// The running engine, as the admin server sees it. Cheap to clone; called on the control
/// thread's runtime.
///
/// # Errors
/// Every call fails with [`ApiError::NotFound`] if it names an instance, a peer or a prefix that
/// the engine does not know, and with [`ApiError::Unavailable`] while the engine starts or stops.
pub trait EngineApi: Clone + Send + Sync + 'static {
    /// The sessions, by instance and address.
    fn peers(&self, query: PeersQuery) -> impl Future<Output = Result<Vec<Peer>, ApiError>> + Send;

    /// One page of a table.
    fn routes(
        &self,
        query: RoutesQuery,
    ) -> impl Future<Output = Result<RoutesReply, ApiError>> + Send;

    /// Why a prefix is announced, or not: one entry for each instance that it concerns.
    fn explain(
        &self,
        query: ExplainQuery,
    ) -> impl Future<Output = Result<Vec<Explanation>, ApiError>> + Send;

    /// Closes sessions with Cease/Administrative Reset; they come up again.
    fn reset(&self, query: ResetQuery)
    -> impl Future<Output = Result<ResetReply, ApiError>> + Send;

    /// What happens from now on.
    fn watch(
        &self,
        query: WatchQuery,
    ) -> impl Future<Output = Result<EventStream, ApiError>> + Send;

    /// Shuts sessions down gracefully (RFC 8326) and keeps them down, or ends that.
    fn drain(&self, query: DrainQuery)
    -> impl Future<Output = Result<DrainReply, ApiError>> + Send;

    /// Asks peers for their routes again (RFC 2918).
    fn refresh(
        &self,
        query: RefreshQuery,
    ) -> impl Future<Output = Result<RefreshReply, ApiError>> + Send;

    /// What the route policies compiled to, and their hits, by name.
    fn policies(
        &self,
        query: PoliciesQuery,
    ) -> impl Future<Output = Result<Vec<Policy>, ApiError>> + Send;

    /// The caches of the RPKI, by instance and preference.
    fn rpki(
        &self,
        query: RpkiQuery,
    ) -> impl Future<Output = Result<Vec<RpkiCache>, ApiError>> + Send;

    /// What is wrong at this moment: where we cannot listen, then what is wrong in the resources, each
    /// sorted.
    fn faults(&self) -> impl Future<Output = Result<Vec<Fault>, ApiError>> + Send;
}

/// Events one after the other, as they come; it ends with the engine.
pub struct EventStream(Box<PollEvents>);

type PollEvents = dyn FnMut(&mut Context<'_>) -> Poll<Option<Vec<WatchEvent>>> + Send;

impl EventStream {
    /// A stream that is polled with `next`.
    pub fn new(
        next: impl FnMut(&mut Context<'_>) -> Poll<Option<Vec<WatchEvent>>> + Send + 'static,
    ) -> EventStream {
        EventStream(Box::new(next))
    }

    /// The next events; none: there will be no more.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Vec<WatchEvent>>> {
        (self.0)(cx)
    }
}

/// Why the engine has no answer: one sentence with the mend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase", tag = "error", content = "message")]
pub enum ApiError {
    /// The instance, peer or prefix asked for is not known.
    #[error("{0}")]
    NotFound(String),
    /// What was asked makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The engine is starting, stopping or too slow.
    #[error("{0}")]
    Unavailable(String),
}
