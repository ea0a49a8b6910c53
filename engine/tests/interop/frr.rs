//! FRR: zebra and bgpd from /usr/lib/frr, started directly and asked through vtysh.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::lab::{Lab, Namespace};
use crate::process::{Process, eventually, output};
use crate::router::{Learned, Router, RouterSpec, Table, parse_json};

pub(crate) const ZEBRA: &str = "/usr/lib/frr/zebra";
pub(crate) const BGPD: &str = "/usr/lib/frr/bgpd";
pub(crate) const VTYSH: &str = "/usr/bin/vtysh";

/// A running FRR.
pub(crate) struct Frr {
    bgpd: Process,
    _zebra: Process,
    peer: String,
    directory: TempDir,
}

impl Frr {
    /// Starts FRR as `spec` says.
    pub(crate) fn start(lab: &Lab, spec: &RouterSpec) -> Frr {
        Frr::start_with(
            spec.host(lab),
            &configuration(spec),
            spec.local(),
            spec.peer(),
        )
    }

    /// Starts FRR with a configuration of bgpd of one's own; `local` and `peer` are its address and
    /// ringbgp's in it.
    pub(crate) fn start_with(host: &Namespace, bgpd_conf: &str, local: &str, peer: &str) -> Frr {
        let directory = TempDir::new().expect("a temporary directory");
        let at = |name: &str| directory.path().join(name);
        fs::write(at("zebra.conf"), "").expect("zebra.conf is written");
        fs::write(at("bgpd.conf"), bgpd_conf).expect("bgpd.conf is written");
        // Both daemons become the user frr before they write here.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777))
            .expect("the directory's mode is set");
        let zebra = start(host, directory.path(), "zebra", ZEBRA, &[]);
        wait_for_socket(&at("zebra.vty"));
        let bgpd = start(host, directory.path(), "bgpd", BGPD, &["--listenon", local]);
        wait_for_socket(&at("bgpd.vty"));
        Frr {
            bgpd,
            _zebra: zebra,
            peer: peer.to_owned(),
            directory,
        }
    }

    /// Runs commands in vtysh, as an operator would.
    pub(crate) fn vtysh(&self, commands: &[&str]) -> Result<String, String> {
        let mut vtysh = Command::new(VTYSH);
        vtysh.arg("--vty_socket").arg(self.directory.path());
        vtysh.args(["-d", "bgpd"]);
        for command in commands {
            vtysh.args(["-c", command]);
        }
        output(&mut vtysh)
    }
}

impl Router for Frr {
    fn learned(&self) -> Result<Table, String> {
        let mut table = Table::new();
        for family in ["ipv4", "ipv6"] {
            let answer = self.vtysh(&[&format!("show bgp {family} unicast json detail")])?;
            let answer = parse_json(&answer)?;
            for (prefix, paths) in answer["routes"].as_object().into_iter().flatten() {
                let paths = paths.as_array().into_iter().flatten();
                let mut ours = paths.filter(|path| path["peer"]["peerId"] == self.peer.as_str());
                if let Some(path) = ours.next() {
                    table.insert(prefix.clone(), learned(path));
                }
            }
        }
        Ok(table)
    }

    fn crash(&mut self) {
        self.bgpd.kill();
    }

    fn restart(&mut self, lab: &Lab, spec: &RouterSpec) {
        // It has its own networks only seconds after its start, and would end its RIB before.
        spec.host(lab).unplug(true);
        let at = |name: &str| self.directory.path().join(name);
        let _ = fs::remove_file(at("bgpd.vty"));
        fs::write(at("bgpd.conf"), configuration(spec)).expect("bgpd.conf is written");
        let listen = ["--listenon", spec.local()];
        self.bgpd = start(spec.host(lab), self.directory.path(), "bgpd", BGPD, &listen);
        eventually("bgpd has its networks", || {
            let table = self.vtysh(&["show bgp ipv4 unicast json"])?;
            match spec.announced(false).all(|prefix| table.contains(prefix)) {
                true => Ok(()),
                false => Err(table),
            }
        });
        spec.host(lab).unplug(false);
    }

    fn reset(&self) {
        let command = format!("clear bgp {}", self.peer);
        self.vtysh(&[&command]).expect("FRR resets the session");
    }

    fn shut_down(&self) {
        let shutdown = format!("neighbor {} shutdown", self.peer);
        self.vtysh(&["configure terminal", "router bgp", &shutdown])
            .expect("FRR shuts the session down");
    }

    fn ask_refresh(&self) {
        let command = format!("clear bgp ipv4 unicast {} soft in", self.peer);
        self.vtysh(&[&command]).expect("FRR asks again");
    }

    fn session(&self) -> String {
        self.vtysh(&["show bgp neighbors json"])
            .and_then(|answer| parse_json(&answer))
            .map(|answer| format!("FRR's session is {}", answer[&self.peer]["bgpState"]))
            .unwrap_or_else(|error| error)
    }
}

fn configuration(spec: &RouterSpec) -> String {
    let (peer, asn) = (spec.peer(), spec.asn);
    // Behind the networks that it is about, it would count seconds after the start only.
    let mut lines = vec!["route-map announced permit 1".to_owned()];
    lines.extend(spec.med.map(|med| format!(" set metric {med}")));
    if let Some([standard, large, target]) = spec.communities {
        lines.push(format!(" set community {standard}"));
        lines.push(format!(" set large-community {large}"));
        lines.push(format!(" set extcommunity rt {target}"));
    }
    lines.extend([
        format!("router bgp {asn}"),
        format!(" bgp router-id {}", spec.id()),
        " no bgp default ipv4-unicast".to_owned(),
        " no bgp ebgp-requires-policy".to_owned(),
        " no bgp network import-check".to_owned(),
        format!(" neighbor {peer} remote-as {}", spec.peer_asn),
        format!(" neighbor {peer} update-source {}", spec.local()),
        format!(" neighbor {peer} timers connect 1"),
        // A route server's AS does not stand in what it passes on.
        format!(" no neighbor {peer} enforce-first-as"),
    ]);
    if spec.graceful {
        lines.push(" bgp graceful-restart".to_owned());
        lines.push(" bgp graceful-restart preserve-fw-state".to_owned());
        lines.push(" no bgp hard-administrative-reset".to_owned());
        if let Some((restart, long_lived)) = spec.long_lived {
            lines.push(format!(" bgp graceful-restart restart-time {restart}"));
            lines.push(format!(
                " bgp long-lived-graceful-restart stale-time {long_lived}"
            ));
        }
    }
    if let Some(password) = spec.password {
        lines.push(format!(" neighbor {peer} password {password}"));
    }
    if spec.passive {
        lines.push(format!(" neighbor {peer} passive"));
    }
    if spec.gtsm {
        lines.push(format!(" neighbor {peer} ttl-security hops 1"));
    }
    lines.push(spec.of_neighbor.replace("PEER", peer));
    for (family, ipv6) in [("ipv4", false), ("ipv6", true)] {
        lines.push(format!(" address-family {family} unicast"));
        lines.push(format!("  neighbor {peer} activate"));
        lines.push(spec.of_family.replace("PEER", peer));
        lines.extend(
            spec.announced(ipv6)
                .map(|prefix| format!("  network {prefix} route-map announced")),
        );
        lines.push(" exit-address-family".to_owned());
    }
    lines.join("\n") + "\n"
}

fn learned(path: &serde_json::Value) -> Learned {
    let next_hops = path["nexthops"].as_array().into_iter().flatten();
    let mut global = next_hops.filter(|next_hop| next_hop["scope"] != "link-local");
    let words = |value: &serde_json::Value| -> Vec<String> {
        let text = value.as_str().unwrap_or_default();
        text.split_whitespace().map(str::to_owned).collect()
    };
    Learned {
        next_hop: global
            .next()
            .and_then(|next_hop| next_hop["ip"].as_str())
            .unwrap_or_default()
            .to_owned(),
        // "Local" stands for an empty path.
        as_path: words(&path["aspath"]["string"])
            .iter()
            .filter_map(|asn| asn.parse().ok())
            .collect(),
        local_pref: path["locPrf"].as_u64().and_then(|v| u32::try_from(v).ok()),
        med: path["metric"].as_u64().and_then(|v| u32::try_from(v).ok()),
        originator_id: path["originatorId"].as_str().map(str::to_owned),
        cluster_list: path["clusterList"]["list"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|cluster| cluster.as_str().map(str::to_owned))
            .collect(),
        communities: words(&path["community"]["string"]),
        large_communities: words(&path["largeCommunity"]["string"]),
        extended_communities: words(&path["extendedCommunity"]["string"])
            .iter()
            .map(|text| text.to_lowercase())
            .collect(),
    }
}

fn start(host: &Namespace, directory: &Path, name: &str, program: &str, more: &[&str]) -> Process {
    let at = |name: &str| directory.join(name);
    let mut command = host.command(program);
    command
        .arg("--config_file")
        .arg(at(&format!("{name}.conf")))
        .arg("--pid_file")
        .arg(at(&format!("{name}.pid")))
        .arg("--vty_socket")
        .arg(directory)
        .arg("--socket")
        .arg(at("zserv.api"))
        .args(["--vty_port", "0", "--log", "stdout"])
        .args(more);
    Process::start(name, &mut command, &at(&format!("{name}.log")))
}

fn wait_for_socket(path: &Path) {
    eventually(&format!("{} exists", path.display()), || {
        if path.exists() {
            Ok(())
        } else {
            Err("it does not".to_owned())
        }
    });
}
