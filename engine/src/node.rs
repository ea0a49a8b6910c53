//! A whole node: the watcher that reads resources, the engine that speaks BGP, and the admin
//! socket, started and stopped in the right order.
//!
//! `run` has one of these, `demo` has two. Nothing here decides anything. Invariant: the watcher
//! ends before the engine does, so that a stopping node is not given new work.

use std::path::PathBuf;
use std::sync::Arc;

use codec::IpPrefix;

use crate::admin::server;
use crate::admin::socket::AdminSocket;
use crate::daemon::{Engine, EngineHandle, EngineOptions, Grounds, Resources};
use crate::model::{Claim, Fault, Policy, Source};
use crate::ring::IoMode;
use crate::shard::Deferral;
use crate::state::{Belongs, StateDirectory, StateWriter};
use crate::watcher::{Keep, Options, SharedKnowledge, SystemHost, Watcher};

/// What a node is started with.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// The directory of resources.
    pub manifests: PathBuf,
    /// Which node this is in them.
    pub known_as: Options,
    /// Threads that carry sessions; none: as many as there are CPUs to use, at most 8.
    pub shards: Option<u8>,
    /// Whether each shard is bound to a CPU.
    pub pin: bool,
    /// How shards reach the network.
    pub io: IoMode,
    /// Where questions are answered; none: nowhere.
    pub admin: Option<PathBuf>,
    /// Where what survives the process is kept; none: nowhere.
    pub state: Option<PathBuf>,
}

/// A running node. Stops when dropped.
pub struct Node {
    // Dropped in this order.
    _watcher: Watcher,
    _state: Option<StateWriter>,
    engine: Engine,
    handle: EngineHandle,
}

impl Node {
    /// Starts everything.
    ///
    /// # Errors
    /// One sentence with the mend.
    pub fn start(options: NodeOptions) -> Result<Node, String> {
        // First, since it tells whether another daemon is at work here.
        let socket = options
            .admin
            .as_deref()
            .map(AdminSocket::bind)
            .transpose()?;
        let state = options.state.as_deref().map(|path| {
            let node = &options.known_as.node_name;
            StateDirectory::open(path, Belongs::here(&options.manifests, node)?)
        });
        let (state, before) = state
            .transpose()?
            .map_or((None, None), StateDirectory::load);
        let (engine, mut dispatcher) = Engine::start(&EngineOptions {
            shards: options.shards,
            pin: options.pin,
            io: options.io,
            deferral: before.as_ref().map_or_else(Deferral::default, |saved| {
                Deferral::after_restart(saved.keepers.clone())
            }),
        })
        .map_err(|error| error.to_string())?;
        let output = move |deltas| dispatcher.dispatch(deltas);
        let (changed, changes) = crossbeam_channel::bounded(1);
        let keep = state.is_some().then(|| Keep {
            before: before.map(|saved| saved.forms).unwrap_or_default(),
            changed,
        });
        let no_thread =
            |error| format!("cannot start a thread: {error}; raise the limit on threads");
        let watcher = Watcher::start(
            options.manifests,
            options.known_as,
            Box::new(SystemHost),
            keep,
            output,
        )
        .map_err(no_thread)?;
        let writer = state.map(|state| StateWriter::start(state, watcher.knowledge(), changes));
        let writer = writer.transpose().map_err(no_thread)?;
        let resources = Arc::new(Known(watcher.knowledge()));
        let handle = engine.handle().with_resources(resources);
        if let Some(socket) = socket {
            let serving = server::serve(socket, handle.clone());
            engine.control().spawn(async move {
                if let Err(error) = serving.await {
                    tracing::error!(%error, "the admin socket is gone; start the daemon again");
                }
            });
        }
        Ok(Node {
            _watcher: watcher,
            _state: writer,
            engine,
            handle,
        })
    }

    /// What asks the node. Cheap to clone.
    pub fn handle(&self) -> EngineHandle {
        self.handle.clone()
    }

    /// Waits for SIGTERM or SIGINT.
    ///
    /// # Errors
    /// One sentence: the node cannot listen where the resources ask it to.
    pub fn wait_for_signal(&mut self) -> Result<(), String> {
        self.engine
            .wait_for_signal()
            .map_err(|error| error.to_string())
    }

    /// Closes every session with Cease/Administrative Shutdown and ends all threads, within 2 s.
    pub fn stop(self) {
        drop(self);
    }
}

/// What the watcher knows, in the words of the admin model.
struct Known(SharedKnowledge);

impl Resources for Known {
    fn are_read(&self) -> bool {
        self.0.load().is_read()
    }

    fn faults(&self) -> Vec<Fault> {
        self.0.load().faults().iter().map(Fault::from).collect()
    }

    fn explain(&self, prefix: IpPrefix) -> Vec<Grounds> {
        let knowledge = self.0.load();
        let explained = knowledge.explain(prefix);
        let claims = explained.claims.iter().map(|claim| Claim {
            source: Source::from(&claim.source),
            location: Some(claim.location.clone()),
            originates: claim.originates,
            reason: claim.reason.clone(),
        });
        vec![Grounds {
            instance: DEFAULT_INSTANCE.to_owned(),
            claims: claims.collect(),
            near: explained.near.iter().map(ToString::to_string).collect(),
            notes: explained.notes,
        }]
    }

    fn policies(&self, instance: Option<&str>) -> Vec<Policy> {
        let knowledge = self.0.load();
        let policies = knowledge
            .policies(instance)
            .into_iter()
            .map(|known| Policy {
                import_of: known.import_of,
                export_of: known.export_of,
                ..Policy::of(&known.policy)
            });
        policies.collect()
    }

    fn source(&self, instance: &str, prefix: IpPrefix) -> Option<Source> {
        self.0.load().source(instance, prefix).map(Source::from)
    }
}

/// The instance that `CiliumConfig` describes, the only one so far.
const DEFAULT_INSTANCE: &str = "default";
