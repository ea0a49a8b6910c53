//! How a command knows which node it speaks for.

use clap::Args;

use super::output::Failure;

/// Which node this is.
#[derive(Debug, Args)]
pub(super) struct NodeArgs {
    /// This node's name in the resources [default: the hostname]
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    node_name: Option<String>,
}

impl NodeArgs {
    /// The name as given, else the hostname.
    ///
    /// # Errors
    /// If there is neither.
    pub(super) fn resolve(self) -> Result<String, Failure> {
        let given = self.node_name.filter(|name| !name.is_empty());
        given.or_else(hostname).ok_or_else(|| {
            Failure::Asked(
                "this machine has no hostname; give the node's name with --node-name".to_owned(),
            )
        })
    }
}

fn hostname() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}
