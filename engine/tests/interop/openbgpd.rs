//! OpenBGPD (the portable version), asked through bgpctl.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::lab::Lab;
use crate::process::{Process, eventually, output};
use crate::router::{Learned, Router, RouterSpec, Table, parse_json};

pub(crate) const BGPD: &str = "/usr/sbin/bgpd";
pub(crate) const BGPCTL: &str = "/usr/sbin/bgpctl";

/// A running OpenBGPD.
pub(crate) struct Openbgpd {
    bgpd: Process,
    peer: &'static str,
    directory: TempDir,
}

impl Openbgpd {
    /// Starts OpenBGPD as `spec` says.
    pub(crate) fn start(lab: &Lab, spec: &RouterSpec) -> Openbgpd {
        // Its processes confine themselves there, and the package leaves the making to systemd.
        fs::create_dir_all("/run/openbgpd").expect("/run/openbgpd can be made");
        let directory = TempDir::new().expect("a temporary directory");
        let at = |name: &str| directory.path().join(name);
        let socket = at("bgpd.sock").display().to_string();
        let configuration = configuration(spec, &socket);
        fs::write(at("bgpd.conf"), configuration).expect("bgpd.conf is written");
        // It refuses a configuration that others may read.
        fs::set_permissions(at("bgpd.conf"), fs::Permissions::from_mode(0o600))
            .expect("the configuration's mode is set");
        let mut command = spec.host(lab).command(BGPD);
        command.args(["-d", "-v", "-f"]).arg(at("bgpd.conf"));
        let openbgpd = Openbgpd {
            bgpd: Process::start("openbgpd", &mut command, &at("bgpd.log")),
            peer: spec.peer(),
            directory,
        };
        eventually("OpenBGPD answers", || openbgpd.bgpctl(&["show"]));
        openbgpd
    }

    pub(crate) fn bgpctl(&self, command: &[&str]) -> Result<String, String> {
        let socket = self.directory.path().join("bgpd.sock");
        output(
            Command::new(BGPCTL)
                .arg("-s")
                .arg(socket)
                .arg("-j")
                .args(command),
        )
    }
}

impl Router for Openbgpd {
    fn learned(&self) -> Result<Table, String> {
        let answer = self.bgpctl(&["show", "rib", "detail"])?;
        let answer = parse_json(&answer)?;
        let mut table = Table::new();
        for route in answer["rib"].as_array().into_iter().flatten() {
            if route["neighbor"]["remote_addr"] == self.peer {
                let prefix = route["prefix"].as_str().unwrap_or_default();
                table.insert(prefix.to_owned(), learned(route));
            }
        }
        Ok(table)
    }

    fn crash(&mut self) {
        self.bgpd.kill();
    }

    fn ask_refresh(&self) {
        self.bgpctl(&["neighbor", self.peer, "refresh"])
            .expect("OpenBGPD asks again");
    }

    fn session(&self) -> String {
        self.bgpctl(&["show", "neighbor"])
            .unwrap_or_else(|error| error)
    }
}

fn configuration(spec: &RouterSpec, socket: &str) -> String {
    let networks: String = spec
        .announce
        .iter()
        .map(|prefix| {
            let mut set = spec.med.map_or(String::new(), |med| format!("med {med} "));
            if let Some([standard, large, target]) = spec.communities {
                set += &format!(
                    "community {standard} large-community {large} ext-community rt {target}"
                );
            }
            match set.is_empty() {
                true => format!("network {prefix}\n"),
                false => format!("network {prefix} set {{ {set} }}\n"),
            }
        })
        .collect();
    let mut options = String::new();
    if let Some(password) = spec.password {
        options += &format!("  tcp md5sig password \"{password}\"\n");
    }
    if spec.gtsm {
        options += "  ttl-security yes\n";
    }
    if spec.graceful {
        options += "  announce restart yes\n";
    }
    options += spec.of_neighbor;
    let (neighbor, local_address) = match spec.by_prefix {
        true => ("10.0.0.0/24", String::new()),
        false => (spec.peer(), format!("  local-address {}\n", spec.local())),
    };
    format!(
        "AS {asn}
router-id {id}
listen on {local}
socket \"{socket}\"
fib-update no
{networks}neighbor {neighbor} {{
  remote-as {peer_asn}
{local_address}  announce IPv4 unicast
  announce IPv6 unicast
  enforce neighbor-as no
{options}}}
allow from any
allow to any
",
        asn = spec.asn,
        id = spec.id(),
        local = spec.local(),
        peer_asn = spec.peer_asn,
    )
}

fn learned(route: &Value) -> Learned {
    let words = |value: &Value| -> Vec<String> {
        let text = value.as_str().unwrap_or_default();
        text.split_whitespace().map(str::to_owned).collect()
    };
    // The attributes that have no name of their own, each with its value under one.
    let attribute = |name: &str| {
        let attributes = route["attributes"].as_array().into_iter().flatten();
        let mut values = attributes.map(|attribute| &attribute[name]);
        values
            .find(|value| !value.is_null())
            .cloned()
            .unwrap_or_default()
    };
    let list = |name: &str| -> Vec<String> {
        let values = route[name].as_array().into_iter().flatten();
        values
            .filter_map(|value| value.as_str().map(str::to_owned))
            .collect()
    };
    Learned {
        next_hop: route["exit_nexthop"].as_str().unwrap_or("").to_owned(),
        as_path: words(&route["aspath"])
            .iter()
            .filter_map(|asn| asn.parse().ok())
            .collect(),
        local_pref: route["localpref"]
            .as_u64()
            .and_then(|v| u32::try_from(v).ok()),
        med: route["metric"].as_u64().and_then(|v| u32::try_from(v).ok()),
        originator_id: attribute("originator").as_str().map(str::to_owned),
        cluster_list: attribute("cluster_list")
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|cluster| cluster.as_str().map(str::to_owned))
            .collect(),
        communities: list("communities"),
        large_communities: list("large_communities"),
        extended_communities: list("extended_communities")
            .iter()
            .map(|text| text.replace(' ', ":"))
            .collect(),
    }
}
