//! The binary under test, run and asked as its users do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::lab::Namespace;
use crate::process::{Process, eventually, output};
use crate::router::parse_json;

const RINGBGP: &str = env!("CARGO_BIN_EXE_ringbgp");

/// A running ringbgp with a manifest directory of its own.
pub(crate) struct Daemon<'lab> {
    process: Option<Process>,
    namespace: Option<&'lab Namespace>,
    directory: TempDir,
    keeps_state: bool,
}

impl<'lab> Daemon<'lab> {
    /// Starts the daemon on a lab's host, or here on the loopback interface, with these manifests
    /// (name and text).
    pub(crate) fn start(
        namespace: Option<&'lab Namespace>,
        manifests: &[(&str, &str)],
    ) -> Daemon<'lab> {
        Daemon::start_keeping(namespace, manifests, false)
    }

    /// The same, with a directory for what survives the process, or without.
    pub(crate) fn start_keeping(
        namespace: Option<&'lab Namespace>,
        manifests: &[(&str, &str)],
        keeps_state: bool,
    ) -> Daemon<'lab> {
        let mut daemon = Daemon {
            process: None,
            namespace,
            directory: TempDir::new().expect("a temporary directory"),
            keeps_state,
        };
        fs::create_dir(daemon.manifests()).expect("the manifest directory is made");
        for (name, text) in manifests {
            daemon.write(name, text);
        }
        daemon.run();
        daemon
    }

    /// The directory that it watches.
    pub(crate) fn manifests(&self) -> PathBuf {
        self.directory.path().join("manifests")
    }

    /// Writes a manifest in one go.
    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.manifests().join(name), text).expect("a manifest is written");
    }

    /// Deletes a manifest.
    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.manifests().join(name)).expect("a manifest is deleted");
    }

    /// Kills the daemon as a crash would, and starts it again.
    pub(crate) fn crash_and_restart(&mut self) {
        self.crash();
        self.run();
    }

    /// Kills the daemon as a crash would.
    pub(crate) fn crash(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Ends the daemon as its supervisor would, and starts it again.
    pub(crate) fn restart(&mut self) {
        assert_eq!(self.terminate(), Some(0));
        self.run();
    }

    /// Where it keeps what survives it.
    pub(crate) fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// SIGTERM; its exit code.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        self.process.as_mut().and_then(Process::terminate)
    }

    /// Starts it once it has ended.
    pub(crate) fn run(&mut self) {
        let mut command = match self.namespace {
            Some(namespace) => namespace.command(RINGBGP),
            None => Command::new(RINGBGP),
        };
        command
            .arg("run")
            .arg("--manifests")
            .arg(self.manifests())
            .arg("--admin")
            .arg(self.socket())
            .args(["--node-name", NODE, "--log-level", "debug"]);
        if self.keeps_state {
            command.arg("--state").arg(self.state());
        }
        if let Ok(io) = std::env::var("RINGBGP_TEST_IO") {
            command.args(["--io", &io]);
        }
        let log = self.directory.path().join("ringbgp.log");
        self.process = Some(Process::start("ringbgp", &mut command, &log));
        eventually("ringbgp answers", || self.ask(&["peers"]));
    }

    /// `ringbgp watch`, which prints into a file.
    pub(crate) fn watch(&self, log: &Path) -> Process {
        let mut command = Command::new(RINGBGP);
        command.args(["watch", "--admin"]).arg(self.socket());
        Process::start("watch", &mut command, log)
    }

    /// A question on the command line, answered as JSON.
    pub(crate) fn ask(&self, question: &[&str]) -> Result<Value, String> {
        let mut command = Command::new(RINGBGP);
        command.args(question).args(["-o", "json", "--admin"]);
        parse_json(&output(command.arg(self.socket()))?)
    }

    /// The row of `ringbgp peers` for one peer.
    pub(crate) fn peer(&self, address: &str) -> Result<Value, String> {
        let peers = self.ask(&["peers"])?;
        let mut rows = peers.as_array().into_iter().flatten();
        rows.find(|row| row["peerAddress"] == address)
            .cloned()
            .ok_or_else(|| format!("no peer {address} in {peers}"))
    }

    /// Waits until the session with a peer stands; the peer's row.
    pub(crate) fn wait_established(&self, address: &str) -> Value {
        eventually(&format!("{address} is established"), || {
            let peer = self.peer(address)?;
            if peer["state"] == "established" {
                Ok(peer)
            } else {
                Err(peer.to_string())
            }
        })
    }

    /// Waits until a peer's last error contains one of some words; the error.
    pub(crate) fn wait_for_error(&self, address: &str, words: &[&str]) -> String {
        eventually(
            &format!("the error of {address} has one of {words:?}"),
            || {
                let peer = self.peer(address)?;
                let error = peer["lastError"].as_str().unwrap_or_default().to_owned();
                if words.iter().any(|word| error.contains(word)) {
                    Ok(error)
                } else {
                    Err(peer.to_string())
                }
            },
        )
    }

    /// Prefixes in the answer to `routes …`.
    pub(crate) fn prefixes(&self, question: &[&str]) -> Result<Vec<String>, String> {
        let routes = self.ask(question)?;
        let rows = routes.as_array().into_iter().flatten();
        let mut prefixes: Vec<String> = rows
            .filter_map(|row| row["prefix"].as_str().map(str::to_owned))
            .collect();
        prefixes.sort_unstable();
        Ok(prefixes)
    }

    /// Waits until `routes …` has exactly these prefixes.
    pub(crate) fn wait_for_prefixes(&self, question: &[&str], wanted: &[&str]) {
        let mut wanted = wanted.to_vec();
        wanted.sort_unstable();
        eventually(&format!("{question:?} has {wanted:?}"), || {
            let prefixes = self.prefixes(question)?;
            if prefixes == wanted {
                Ok(())
            } else {
                Err(format!("it has {prefixes:?}"))
            }
        });
    }

    /// Waits until `routes …` has these prefixes among others.
    pub(crate) fn wait_for_some_prefixes(&self, question: &[&str], wanted: &[&str]) {
        eventually(&format!("{question:?} has {wanted:?} among others"), || {
            let prefixes = self.prefixes(question)?;
            if wanted
                .iter()
                .all(|wanted| prefixes.iter().any(|prefix| prefix == wanted))
            {
                Ok(())
            } else {
                Err(format!("it has {prefixes:?}"))
            }
        });
    }

    /// Everything that it has logged.
    pub(crate) fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("ringbgp.sock")
    }
}

/// A `CiliumConfig` with these neighbors, each a YAML flow mapping without its braces.
pub(crate) fn config(local_asn: u32, options: &str, neighbors: &[String]) -> String {
    let neighbors: String = neighbors
        .iter()
        .map(|neighbor| format!("    - {{{neighbor}}}\n"))
        .collect();
    format!(
        "apiVersion: cilium.io/v2alpha1
kind: CiliumConfig
metadata: {{name: cilium-config}}
spec:
  bgpPeering:
    routerID: 10.0.0.5
    localASN: {local_asn}
{options}    neighbors:
{neighbors}"
    )
}

/// A neighbor for [`config`]: it is dialled again every second.
pub(crate) fn neighbor(address: &str, asn: u32, more: &str) -> String {
    let comma = if more.is_empty() { "" } else { ", " };
    format!(
        "peerAddress: \"{address}\", peerASN: {asn}, \
         timers: {{connectRetryTimeSeconds: 1}}{comma}{more}"
    )
}

/// The policy of these CIDRs.
pub(crate) fn policy(name: &str, cidrs: &[&str]) -> String {
    let cidrs: Vec<String> = cidrs.iter().map(|cidr| format!("\"{cidr}\"")).collect();
    format!(
        "apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {{name: {name}, namespace: default}}
spec:
  endpointSelector: {{matchLabels: {{app: frontend}}}}
  egress:
  - toCIDR: [{}]
",
        cidrs.join(", ")
    )
}

/// A Secret with the key `password`.
pub(crate) fn secret(name: &str, password: &str) -> String {
    format!(
        "apiVersion: v1
kind: Secret
metadata: {{name: {name}, namespace: kube-system}}
stringData: {{password: \"{password}\"}}
"
    )
}

/// The name of the node that the daemon runs on.
pub(crate) const NODE: &str = "node-1";
