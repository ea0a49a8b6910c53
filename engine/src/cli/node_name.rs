//! How a command knows which node it speaks for.

use clap::Args;

use super::output::Failure;
use crate::watcher::Options;

/// Which node this is.
#[derive(Debug, Args)]
pub(super) struct NodeArgs {
    /// This node's name in the resources [default: the hostname]
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    node_name: Option<String>,
    /// Speak BGP although the ConfigMap cilium-config says that Cilium's own control plane does
    #[arg(long)]
    allow_second_speaker: bool,
}

impl NodeArgs {
    /// What the watcher is told: the name as given, else the hostname.
    ///
    /// # Errors
    /// If there is neither.
    pub(super) fn resolve(self) -> Result<Options, Failure> {
        let given = self.node_name.filter(|name| !name.is_empty());
        let node_name = given.or_else(hostname).ok_or_else(|| {
            Failure::Asked(
                "this machine has no hostname; give the node's name with --node-name".to_owned(),
            )
        })?;
        Ok(Options {
            node_name,
            allow_second_speaker: self.allow_second_speaker,
        })
    }
}

/// What this machine calls itself.
pub(super) fn hostname() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}
