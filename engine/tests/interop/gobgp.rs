//! GoBGP: gobgpd, asked through its command line client over a Unix socket.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::lab::{Lab, ROUTER_V6};
use crate::process::{Process, eventually, output};
use crate::router::{Learned, Over, Router, RouterSpec, Table, parse_json};

pub(crate) const GOBGPD: &str = "/usr/bin/gobgpd";
pub(crate) const GOBGP: &str = "/usr/bin/gobgp";

/// A running GoBGP.
pub(crate) struct Gobgp {
    gobgpd: Process,
    peer: &'static str,
    directory: TempDir,
}

impl Gobgp {
    /// Starts GoBGP as `spec` says; the session carries the family that it runs over.
    pub(crate) fn start(lab: &Lab, spec: &RouterSpec) -> Gobgp {
        let directory = TempDir::new().expect("a temporary directory");
        let at = |name: &str| directory.path().join(name);
        fs::write(at("gobgp.toml"), configuration(spec)).expect("gobgp.toml is written");
        let gobgp = Gobgp {
            gobgpd: start(lab, spec, directory.path(), &[]),
            peer: spec.peer(),
            directory,
        };
        gobgp.announce(spec);
        gobgp
    }

    fn announce(&self, spec: &RouterSpec) {
        eventually("GoBGP answers", || self.ask(&["global"]));
        for prefix in &spec.announce {
            let family = match prefix.contains(':') {
                true => "ipv6",
                false => "ipv4",
            };
            let next_hop = match spec.over {
                Over::Ipv4 if family == "ipv4" => spec.id(),
                _ => ROUTER_V6,
            };
            let med = spec.med.map(|med| med.to_string());
            let mut command = vec![
                "global", "rib", "add", prefix, "origin", "igp", "nexthop", next_hop,
            ];
            command.extend(med.iter().flat_map(|med| ["med", med.as_str()]));
            if let Some([standard, large, target]) = spec.communities {
                command.extend(["community", standard, "large-community", large]);
                command.extend(["rt", target]);
            }
            command.extend(["-a", family]);
            self.ask(&command).expect("GoBGP announces a prefix");
        }
    }

    fn ask(&self, command: &[&str]) -> Result<String, String> {
        let socket = self.directory.path().join("api.sock");
        output(
            Command::new(GOBGP)
                .arg("--target")
                .arg(format!("unix://{}", socket.display()))
                .args(command),
        )
    }
}

impl Router for Gobgp {
    fn learned(&self) -> Result<Table, String> {
        let mut table = Table::new();
        for family in ["ipv4", "ipv6"] {
            let answer = self.ask(&["-j", "global", "rib", "-a", family])?;
            if answer.trim().is_empty() || answer.contains("Network not in table") {
                continue;
            }
            let answer = parse_json(&answer)?;
            for (prefix, paths) in answer.as_object().into_iter().flatten() {
                let paths = paths.as_array().into_iter().flatten();
                let mut ours = paths.filter(|path| path["neighbor-ip"] == self.peer);
                if let Some(path) = ours.next() {
                    table.insert(prefix.clone(), learned(path));
                }
            }
        }
        Ok(table)
    }

    fn crash(&mut self) {
        self.gobgpd.kill();
    }

    fn restart(&mut self, lab: &Lab, spec: &RouterSpec) {
        // It forgets what it was asked to announce, and is to say it before anybody hears it.
        spec.host(lab).unplug(true);
        self.gobgpd = start(lab, spec, self.directory.path(), &["-r"]);
        self.announce(spec);
        spec.host(lab).unplug(false);
    }

    fn reset(&self) {
        self.ask(&["neighbor", self.peer, "reset"])
            .expect("GoBGP resets the session");
    }

    fn shut_down(&self) {
        self.ask(&["neighbor", self.peer, "disable"])
            .expect("GoBGP shuts the session down");
    }

    fn ask_refresh(&self) {
        self.ask(&["neighbor", self.peer, "softresetin"])
            .expect("GoBGP asks again");
    }

    fn session(&self) -> String {
        self.ask(&["neighbor"]).unwrap_or_else(|error| error)
    }
}

fn start(lab: &Lab, spec: &RouterSpec, directory: &Path, more: &[&str]) -> Process {
    let at = |name: &str| directory.join(name);
    let _ = fs::remove_file(at("api.sock"));
    let mut command = spec.host(lab).command(GOBGPD);
    command
        .args(["-t", "toml", "-f"])
        .arg(at("gobgp.toml"))
        .args(["--pprof-disable", "--api-hosts"])
        .arg(format!("unix://{}", at("api.sock").display()))
        .args(more);
    Process::start("gobgpd", &mut command, &at("gobgpd.log"))
}

fn configuration(spec: &RouterSpec) -> String {
    let family = match spec.over {
        Over::Ipv4 => "ipv4-unicast",
        Over::Ipv6 => "ipv6-unicast",
    };
    let password = spec.password.map_or(String::new(), |password| {
        format!("    auth-password = \"{password}\"\n")
    });
    let gtsm = match spec.gtsm {
        true => "  [neighbors.ttl-security.config]\n    enabled = true\n    ttl-min = 255\n",
        false => "",
    };
    let (restart_time, long_lived) = spec.long_lived.unwrap_or((60, 0));
    let (mut session, mut of_family) = (String::new(), String::new());
    if spec.graceful {
        session = format!(
            "  [neighbors.graceful-restart.config]
    enabled = true
    restart-time = {restart_time}
    notification-enabled = true
    long-lived-enabled = {}
",
            long_lived > 0
        );
        of_family = "    [neighbors.afi-safis.mp-graceful-restart.config]
      enabled = true
"
        .to_owned();
    }
    if long_lived > 0 {
        of_family += &format!(
            "    [neighbors.afi-safis.long-lived-graceful-restart.config]
      enabled = true
      restart-time = {long_lived}
"
        );
    }
    if spec.by_prefix {
        return by_prefix(spec, family, &password);
    }
    of_family += spec.of_family;
    of_family += spec.of_neighbor;
    format!(
        "[global.config]
  as = {asn}
  router-id = \"{id}\"
[[neighbors]]
  [neighbors.config]
    neighbor-address = \"{peer}\"
    peer-as = {peer_asn}
{password}{gtsm}  [neighbors.transport.config]
    local-address = \"{local}\"
  [neighbors.timers.config]
    connect-retry = 1
    idle-hold-time-after-reset = 1
{session}  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = \"{family}\"
{of_family}",
        asn = spec.asn,
        id = spec.id(),
        peer = spec.peer(),
        peer_asn = spec.peer_asn,
        local = spec.local(),
    )
}

/// Whoever connects from the lab is one of a group.
fn by_prefix(spec: &RouterSpec, family: &str, password: &str) -> String {
    format!(
        "[global.config]
  as = {asn}
  router-id = \"{id}\"
[[peer-groups]]
  [peer-groups.config]
    peer-group-name = \"lab\"
    peer-as = {peer_asn}
{password}  [[peer-groups.afi-safis]]
    [peer-groups.afi-safis.config]
      afi-safi-name = \"{family}\"
[[dynamic-neighbors]]
  [dynamic-neighbors.config]
    prefix = \"10.0.0.0/24\"
    peer-group = \"lab\"
",
        asn = spec.asn,
        id = spec.id(),
        peer_asn = spec.peer_asn,
    )
}

fn learned(path: &Value) -> Learned {
    let attribute = |code: u64| {
        let attributes = path["attrs"].as_array().into_iter().flatten();
        let mut found = attributes.filter(move |attribute| attribute["type"] == code);
        found.next().cloned().unwrap_or_default()
    };
    let number = |value: &Value| value.as_u64().and_then(|v| u32::try_from(v).ok());
    let next_hop = match &attribute(3)["nexthop"] {
        Value::Null => attribute(14)["nexthop"].clone(),
        next_hop => next_hop.clone(),
    };
    let segments = attribute(2)["as_paths"].clone();
    let segments = segments.as_array().cloned().unwrap_or_default();
    let communities = attribute(8)["communities"].clone();
    let large = attribute(32)["value"].clone();
    let extended = attribute(16)["value"].clone();
    Learned {
        next_hop: next_hop.as_str().unwrap_or_default().to_owned(),
        as_path: segments
            .iter()
            .filter_map(|segment| segment["asns"].as_array())
            .flatten()
            .filter_map(number)
            .collect(),
        local_pref: number(&attribute(5)["value"]),
        med: number(&attribute(4)["metric"]),
        originator_id: attribute(9)["value"].as_str().map(str::to_owned),
        cluster_list: attribute(10)["value"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|cluster| cluster.as_str().map(str::to_owned))
            .collect(),
        communities: communities
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(number)
            .map(|value| format!("{}:{}", value >> 16, value & 0xffff))
            .collect(),
        large_communities: large
            .as_array()
            .into_iter()
            .flatten()
            .map(|value| {
                let parts = ["ASN", "LocalData1", "LocalData2"].map(|part| value[part].to_string());
                parts.join(":")
            })
            .collect(),
        extended_communities: extended
            .as_array()
            .into_iter()
            .flatten()
            .filter(|value| value["subtype"] == 2)
            .map(|value| format!("rt:{}", value["value"].as_str().unwrap_or_default()))
            .collect(),
    }
}
