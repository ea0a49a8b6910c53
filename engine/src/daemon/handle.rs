//! Questions to a running engine, and their answers put together from its shards.
//!
//! No call holds up a shard: a question waits in its inbox, an answer is bounded, and a shard that
//! is behind is given up on.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use codec::IpPrefix;
use tokio::sync::{Semaphore, oneshot};

use super::watching::{WATCHERS_MAX, stream};
use crate::admin::api::{ApiError, EngineApi, EventStream};
use crate::config::{InstanceId, PeerAddress};
use crate::model::{
    Claim, DrainQuery, DrainReply, ExplainQuery, Explanation, Fault, Peer, PeersQuery,
    PoliciesQuery, Policy, RefreshQuery, RefreshReply, ResetQuery, ResetReply, Route, RoutesCursor,
    RoutesKind, RoutesQuery, RoutesReply, RpkiCache, RpkiQuery, Source, WatchQuery, parse_prefix,
};
use crate::ring::{Directory, InboxSender, ListenFailure, ListenFailures, Message, RtrClients};
use crate::shard::{PrefixView, Query, Reply, ShardCommand, watch};

/// What the resources have to do with a prefix in one instance.
#[derive(Clone, Debug, Default)]
pub struct Grounds {
    /// The instance's name.
    pub instance: String,
    /// Rule by rule.
    pub claims: Vec<Claim>,
    /// Own routes that cover the prefix or lie within it, at most a few.
    pub near: Vec<String>,
    /// What holds whatever the rules say, one sentence each.
    pub notes: Vec<String>,
}

/// What the watcher knows and the shards do not. Asked on the control thread: must not block long.
pub trait Resources: Send + Sync {
    /// Whether they were read at all.
    fn are_read(&self) -> bool;

    /// What is wrong in the resources at this moment, sorted.
    fn faults(&self) -> Vec<Fault>;

    /// What the resources have to do with a prefix, one entry an instance.
    fn explain(&self, prefix: IpPrefix) -> Vec<Grounds>;

    /// The route policies, by name; `instance`: only its neighbors are said to be under them.
    fn policies(&self, instance: Option<&str>) -> Vec<Policy>;

    /// The rule that asks for an own route.
    fn source(&self, instance: &str, prefix: IpPrefix) -> Option<Source>;
}

/// Asks a running engine. Cheap to clone.
#[derive(Clone)]
pub struct EngineHandle {
    shards: Arc<[InboxSender<ShardCommand>]>,
    directory: Arc<ArcSwap<Directory>>,
    not_listening: ListenFailures,
    resources: Option<Arc<dyn Resources>>,
    /// Free places for those who watch.
    watchers: Arc<Semaphore>,
    rtr: RtrClients,
}

/// How long a shard may take to answer.
const ANSWER_TIME: Duration = Duration::from_secs(5);

impl EngineHandle {
    pub(super) fn new(
        shards: Arc<[InboxSender<ShardCommand>]>,
        directory: Arc<ArcSwap<Directory>>,
        not_listening: ListenFailures,
        rtr: RtrClients,
    ) -> EngineHandle {
        EngineHandle {
            shards,
            directory,
            not_listening,
            resources: None,
            watchers: Arc::new(Semaphore::new(WATCHERS_MAX)),
            rtr,
        }
    }

    /// The same, with what the watcher knows in its answers.
    pub fn with_resources(mut self, resources: Arc<dyn Resources>) -> EngineHandle {
        self.resources = Some(resources);
        self
    }

    /// The shards that the instance's peer lives on, one for each instance that has it.
    fn owners(&self, instance: Option<&str>, peer: PeerAddress) -> Vec<u8> {
        let directory = self.directory.load();
        let named = directory.instances();
        let meant = named.filter(|(_, name)| instance.is_none_or(|wanted| wanted == &***name));
        let mut owners: Vec<u8> = meant
            .filter_map(|(id, _)| directory.owner(*id, peer))
            .collect();
        owners.sort_unstable();
        owners.dedup();
        owners
    }

    async fn check(
        &self,
        instance: Option<&str>,
        peer: Option<PeerAddress>,
    ) -> Result<(), ApiError> {
        if let Some(wanted) = instance {
            let directory = self.directory.load();
            if !directory.instances().any(|(_, name)| &**name == wanted) {
                return Err(ApiError::NotFound(format!(
                    "there is no instance {wanted:?}"
                )));
            }
        }
        match peer {
            Some(peer) if !self.is_known(instance, peer).await? => Err(not_a_neighbor(peer)),
            _ => Ok(()),
        }
    }

    /// Leaves of every peer the row of the shard that it lives on, or would if it came: of an address
    /// within a prefix each shard knows whether it is drained.
    fn keep_owned(&self, peers: &mut Vec<Peer>) {
        let directory = self.directory.load();
        let named = directory.instances();
        let ids: BTreeMap<&str, InstanceId> = named.map(|(id, name)| (&**name, *id)).collect();
        peers.retain(|peer| {
            let id = ids.get(&*peer.instance);
            let place = id.zip(peer.peer_address.parse().ok());
            let owner = place.and_then(|(id, address)| directory.owner(*id, address));
            owner.is_none_or(|owner| owner == peer.shard)
        });
    }

    /// Whether a peer is a neighbor by its address, or a dynamic one that is there or drained.
    async fn is_known(&self, instance: Option<&str>, peer: PeerAddress) -> Result<bool, ApiError> {
        let named = {
            let directory = self.directory.load();
            let mut instances = directory.instances();
            instances.any(|(id, name)| {
                instance.is_none_or(|wanted| wanted == &**name) && directory.is_named(*id, peer)
            })
        };
        if named {
            return Ok(true);
        }
        let shown = peer.to_string();
        for shard in self.owners(instance, peer) {
            let instance = instance.map(str::to_owned);
            let query = |reply| ShardCommand::Query(Query::Peers(instance, reply));
            let peers: Vec<Peer> = self.ask(usize::from(shard), query).await?;
            if peers.iter().any(|known| known.peer_address == shown) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Asks one shard.
    async fn ask<T: Send + 'static>(
        &self,
        shard: usize,
        command: impl FnOnce(Reply<T>) -> ShardCommand,
    ) -> Result<T, ApiError> {
        let (sender, receiver) = oneshot::channel();
        let reply: Reply<T> = Box::new(move |answer| {
            // Whoever asked may have given up.
            let _ = sender.send(answer);
        });
        let busy = || ApiError::Unavailable("the engine is busy or stopping; ask again".to_owned());
        let target = self.shards.get(shard).ok_or_else(busy)?;
        target
            .try_send(Message::Command(command(reply)))
            .map_err(|_| busy())?;
        match tokio::time::timeout(ANSWER_TIME, receiver).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) | Err(_) => Err(busy()),
        }
    }

    async fn ask_all<T: Send + 'static>(
        &self,
        command: impl Fn(Reply<T>) -> ShardCommand,
    ) -> Result<Vec<T>, ApiError> {
        let mut answers = Vec::with_capacity(self.shards.len());
        for shard in 0..self.shards.len() {
            answers.push(self.ask(shard, &command).await?);
        }
        Ok(answers)
    }

    /// Names the rule behind each own route.
    fn name_sources(&self, routes: &mut [Route]) {
        let Some(resources) = &self.resources else {
            return;
        };
        for route in routes {
            if route.peer_address.is_none()
                && route.source.is_none()
                && let Ok(prefix) = parse_prefix(&route.prefix)
            {
                route.source = resources.source(&route.instance, prefix);
            }
        }
    }

    fn grounds(&self, prefix: IpPrefix) -> BTreeMap<String, Grounds> {
        let resources = self.resources.as_ref();
        let grounds = resources.map_or_else(Vec::new, |resources| resources.explain(prefix));
        let by_name = grounds.into_iter().map(|of| (of.instance.clone(), of));
        by_name.collect()
    }
}

impl EngineApi for EngineHandle {
    async fn peers(&self, query: PeersQuery) -> Result<Vec<Peer>, ApiError> {
        let resources = self.resources.as_ref();
        if resources.is_some_and(|resources| !resources.are_read()) {
            return Err(ApiError::Unavailable(
                "the resources have not been read yet, so there are no peers yet; ask again"
                    .to_owned(),
            ));
        }
        self.check(query.instance.as_deref(), None).await?;
        let answers = self
            .ask_all(|reply| ShardCommand::Query(Query::Peers(query.instance.clone(), reply)))
            .await?;
        let mut peers: Vec<Peer> = answers.into_iter().flatten().collect();
        self.keep_owned(&mut peers);
        peers.sort_by_cached_key(|peer| (peer.instance.clone(), address_key(&peer.peer_address)));
        Ok(peers)
    }

    async fn routes(&self, mut query: RoutesQuery) -> Result<RoutesReply, ApiError> {
        let instance = query.instance.clone();
        self.check(instance.as_deref(), query.peer).await?;
        let shard = query.cursor.as_ref().map_or(0, |cursor| cursor.shard);
        if query.cursor.as_ref().is_some_and(starts_afresh) {
            query.cursor = None;
        }
        // The Loc-RIB is one and the same from every shard, the other tables are the peers'.
        let mut shards: Vec<u8> = match (query.kind, query.peer) {
            (RoutesKind::Available, _) => vec![0],
            (_, Some(peer)) => self.owners(instance.as_deref(), peer),
            (_, None) => (0..self.shards.len() as u8).collect(),
        };
        shards.retain(|candidate| *candidate >= shard);
        let Some(shard) = shards.first().copied() else {
            return Ok(RoutesReply::default());
        };
        let mut reply = self
            .ask(usize::from(shard), |reply| {
                ShardCommand::Query(Query::Routes(query, reply))
            })
            .await?;
        if reply.more.is_none() {
            reply.more = shards.get(1).map(|next| afresh(*next));
        }
        self.name_sources(&mut reply.routes);
        Ok(reply)
    }

    async fn explain(&self, query: ExplainQuery) -> Result<Vec<Explanation>, ApiError> {
        self.check(query.instance.as_deref(), None).await?;
        let prefix = query.prefix;
        let answers = self
            .ask_all(|reply| {
                ShardCommand::Query(Query::Explain(query.instance.clone(), prefix, reply))
            })
            .await?;
        let mut grounds = self.grounds(prefix);
        let mut explanations: Vec<Explanation> = merge(answers)
            .into_iter()
            .map(|view| {
                let grounds = grounds.remove(&view.instance).unwrap_or_default();
                explain_in(view, prefix, grounds)
            })
            .collect();
        let is_known = |explanation: &Explanation| {
            let mut peers = explanation.peers.iter();
            !explanation.claims.is_empty()
                || !explanation.paths.is_empty()
                // What import rejects is known too.
                || peers.any(|peer| peer.import.is_some())
        };
        if explanations.iter().any(is_known) {
            explanations.retain(is_known);
        } else if explanations
            .iter()
            .all(|explanation| explanation.near.is_empty() && explanation.notes.is_empty())
        {
            return Err(ApiError::NotFound(format!(
                "no resource asks for {prefix} and no peer announces it"
            )));
        }
        for explanation in &mut explanations {
            self.name_sources(&mut explanation.paths);
            for peer in &mut explanation.peers {
                self.name_sources(peer.route.as_mut_slice());
                for other in &mut peer.other_paths {
                    self.name_sources(std::slice::from_mut(&mut other.route));
                }
            }
        }
        Ok(explanations)
    }

    async fn reset(&self, query: ResetQuery) -> Result<ResetReply, ApiError> {
        self.check(query.instance.as_deref(), query.peer).await?;
        let answers = self
            .ask_all(|reply| ShardCommand::Reset {
                instance: query.instance.clone(),
                peer: query.peer,
                reply,
            })
            .await?;
        let mut whole = ResetReply::default();
        for answer in answers {
            whole.peers += answer.peers;
            whole.notes.extend(answer.notes);
        }
        Ok(whole)
    }

    async fn watch(&self, query: WatchQuery) -> Result<EventStream, ApiError> {
        self.check(query.instance.as_deref(), query.peer).await?;
        let place = Arc::clone(&self.watchers).try_acquire_owned();
        let place = place.map_err(|_| {
            ApiError::Unavailable(format!(
                "{WATCHERS_MAX} are watching already; end one of them"
            ))
        })?;
        let (watch, watched) = watch(query.instance.map(Arc::from), query.peer);
        for shard in self.shards.iter() {
            let command = ShardCommand::Watch(watch.clone());
            shard.try_send(Message::Command(command)).map_err(|_| {
                ApiError::Unavailable("the engine is busy or stopping; ask again".to_owned())
            })?;
        }
        let handle = self.clone();
        let name_sources = move |routes: &mut [Route]| handle.name_sources(routes);
        Ok(stream(name_sources, watched, place))
    }

    async fn drain(&self, query: DrainQuery) -> Result<DrainReply, ApiError> {
        let wait = query.wait_seconds;
        let instance = query.instance.as_deref();
        // An address within a prefix is drained, or was, whether or not somebody is there.
        let is_owned = |peer: &PeerAddress| !self.owners(instance, *peer).is_empty();
        let to_check = query.peer.filter(|peer| !is_owned(peer));
        self.check(instance, to_check).await?;
        let answers = self
            .ask_all(|reply| ShardCommand::Drain {
                instance: query.instance.clone(),
                peer: query.peer,
                wait: wait.map(|seconds| Duration::from_secs(seconds.into())),
                reply,
            })
            .await?;
        let directory = self.directory.load();
        let by_shard = (0u8..).zip(&answers);
        let peers = by_shard
            .flat_map(|(shard, meant)| meant.iter().map(move |meant| (shard, meant)))
            .filter(|(shard, (id, peer))| directory.owner(*id, *peer) == Some(*shard))
            .count();
        match query.peer {
            Some(peer) if peers == 0 => Err(ApiError::NotFound(format!(
                "{peer} is not drained; see `ringbgp peers`"
            ))),
            _ => Ok(DrainReply { peers }),
        }
    }

    async fn refresh(&self, query: RefreshQuery) -> Result<RefreshReply, ApiError> {
        self.check(query.instance.as_deref(), query.peer).await?;
        let answers = self
            .ask_all(|reply| ShardCommand::Refresh {
                instance: query.instance.clone(),
                peer: query.peer,
                reply,
            })
            .await?;
        let mut whole = RefreshReply::default();
        for answer in answers {
            whole.peers += answer.peers;
            whole.notes.extend(answer.notes);
        }
        Ok(whole)
    }

    async fn policies(&self, query: PoliciesQuery) -> Result<Vec<Policy>, ApiError> {
        let instance = query.instance.as_deref();
        self.check(instance, None).await?;
        let resources = self.resources.as_ref();
        Ok(resources.map_or_else(Vec::new, |resources| resources.policies(instance)))
    }

    async fn rpki(&self, query: RpkiQuery) -> Result<Vec<RpkiCache>, ApiError> {
        let wanted = query.instance.as_deref();
        self.check(wanted, None).await?;
        let rows = tokio::time::timeout(ANSWER_TIME, self.rtr.rows()).await;
        let Ok(Some(mut rows)) = rows else {
            let words = "the caches' thread is busy or stopping; ask again";
            return Err(ApiError::Unavailable(words.to_owned()));
        };
        rows.retain(|row| wanted.is_none_or(|wanted| wanted == row.instance));
        Ok(rows)
    }

    async fn faults(&self) -> Result<Vec<Fault>, ApiError> {
        let resources = self.resources.as_ref();
        let of_resources = resources.map_or_else(Vec::new, |resources| resources.faults());
        let not_listening = self.not_listening.load();
        let mut faults: Vec<Fault> = not_listening.iter().map(fault_of).collect();
        faults.extend(of_resources);
        Ok(faults)
    }
}

fn fault_of(failure: &ListenFailure) -> Fault {
    Fault {
        file: None,
        line: None,
        path: None,
        message: failure.to_string(),
        warning: false,
    }
}

fn not_a_neighbor(peer: PeerAddress) -> ApiError {
    ApiError::NotFound(format!("{peer} is not a neighbor"))
}

/// Addresses in their own order, others after them by name.
fn address_key(text: &str) -> (Option<IpAddr>, String) {
    (text.parse().ok(), text.to_owned())
}

/// The place where a shard's first page starts.
fn afresh(shard: u8) -> RoutesCursor {
    RoutesCursor {
        instance: 0,
        shard,
        peer: None,
        family: None,
        after: None,
    }
}

fn starts_afresh(cursor: &RoutesCursor) -> bool {
    *cursor == afresh(cursor.shard)
}

/// One view an instance: the paths of any shard, the peers of all.
fn merge(answers: Vec<Vec<PrefixView>>) -> Vec<PrefixView> {
    let mut merged: BTreeMap<String, PrefixView> = BTreeMap::new();
    for view in answers.into_iter().flatten() {
        match merged.get_mut(&view.instance) {
            Some(known) => known.peers.extend(view.peers),
            None => {
                merged.insert(view.instance.clone(), view);
            }
        }
    }
    merged.into_values().collect()
}

fn explain_in(mut view: PrefixView, prefix: IpPrefix, grounds: Grounds) -> Explanation {
    view.peers
        .sort_by_cached_key(|peer| address_key(&peer.peer_address));
    Explanation {
        instance: view.instance,
        prefix: prefix.to_string(),
        announced: view.peers.iter().any(|peer| peer.advertised),
        claims: grounds.claims,
        near: grounds.near,
        notes: grounds.notes,
        vrps: view.vrps,
        paths: view.paths,
        peers: view.peers,
    }
}
