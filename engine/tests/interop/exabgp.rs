//! ExaBGP: it says what its configuration lists, and hands on what it hears as JSON, a line a
//! message.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::lab::{Lab, Namespace};
use crate::process::Process;
use crate::router::{Learned, Over, Router, RouterSpec, Table, parse_json};

pub(crate) const EXABGP: &str = "/usr/sbin/exabgp";

/// In a line about a ROUTE-REFRESH.
pub(crate) const REFRESH: &str = "\"type\": \"refresh\"";

/// A running ExaBGP.
pub(crate) struct Exabgp {
    exabgp: Process,
    directory: TempDir,
}

impl Exabgp {
    /// Starts ExaBGP as `spec` says; the session carries the family that it runs over, and those that
    /// `of_family` adds.
    pub(crate) fn start(lab: &Lab, spec: &RouterSpec) -> Exabgp {
        let listens = spec.by_prefix.then(|| spec.local());
        Exabgp::start_as(spec.host(lab), &configuration(spec), listens)
    }

    /// Starts ExaBGP with a neighbor of one's own; `API` in it stands for what hands on messages.
    pub(crate) fn start_with(host: &Namespace, neighbor: &str) -> Exabgp {
        Exabgp::start_as(host, neighbor, None)
    }

    fn start_as(host: &Namespace, neighbor: &str, listens: Option<&str>) -> Exabgp {
        let directory = TempDir::new().expect("a temporary directory");
        let at = |name: &str| directory.path().join(name);
        // What it says on its standard output are commands; it ends with ExaBGP.
        let program = format!(
            "#!/bin/sh\ntail -n +1 -f --pid=$$ {} &\nexec cat > {}\n",
            at("commands").display(),
            at("heard").display()
        );
        fs::write(at("commands"), "").expect("the commands can be made");
        fs::write(at("hear"), program).expect("the program is written");
        fs::set_permissions(at("hear"), fs::Permissions::from_mode(0o755))
            .expect("the program's mode is set");
        configure(directory.path(), neighbor);
        Exabgp {
            exabgp: start(host, directory.path(), listens),
            directory,
        }
    }
}

impl Exabgp {
    /// What it handed on, a line a message.
    pub(crate) fn heard(&self) -> String {
        fs::read_to_string(self.directory.path().join("heard")).unwrap_or_default()
    }

    /// What it learned, by prefix and identifier of the path; without ADD-PATH that is empty.
    pub(crate) fn paths(&self) -> Result<BTreeMap<(String, String), Learned>, String> {
        let heard = self.heard();
        let mut table = BTreeMap::new();
        // The last line may be on its way.
        let whole = heard.rsplit_once('\n').map_or("", |(whole, _)| whole);
        for line in whole.lines() {
            // Neither that nor the answer to a command is JSON.
            if line.contains(REFRESH) || !line.starts_with('{') {
                continue;
            }
            let message = parse_json(line)?;
            if message["neighbor"]["state"] == "down" {
                table.clear();
            }
            let update = &message["neighbor"]["message"]["update"];
            let prefixes = |of: &Value| -> Vec<(String, String)> {
                let routes = of.as_array().into_iter().flatten();
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                routes
                    .map(|route| (text(&route["nlri"]), text(&route["path-information"])))
                    .collect()
            };
            for routes in update["withdraw"].as_object().into_iter().flatten() {
                for prefix in prefixes(routes.1) {
                    table.remove(&prefix);
                }
            }
            let announced = update["announce"].as_object().into_iter().flatten();
            for (next_hop, routes) in announced.filter_map(|(_, of)| of.as_object()).flatten() {
                for prefix in prefixes(routes) {
                    table.insert(prefix, learned(next_hop, &update["attribute"]));
                }
            }
        }
        Ok(table)
    }
}

impl Router for Exabgp {
    fn learned(&self) -> Result<Table, String> {
        let paths = self.paths()?.into_iter();
        Ok(paths
            .map(|((prefix, _), learned)| (prefix, learned))
            .collect())
    }

    fn crash(&mut self) {
        self.exabgp.kill();
    }

    fn restart(&mut self, lab: &Lab, spec: &RouterSpec) {
        configure(self.directory.path(), &configuration(spec));
        self.exabgp = start(spec.host(lab), self.directory.path(), None);
    }

    fn ask_refresh(&self) {
        let commands = self.directory.path().join("commands");
        let commands = fs::File::options().append(true).open(commands);
        let mut commands = commands.expect("the commands are there");
        writeln!(commands, "announce route-refresh ipv4 unicast").expect("a command is written");
    }

    fn session(&self) -> String {
        fs::read_to_string(self.directory.path().join("exabgp.log")).unwrap_or_default()
    }
}

fn configure(directory: &Path, neighbor: &str) {
    let program = directory.join("hear").display().to_string();
    let process = format!("process hear {{ run {program}; encoder json; }}\n");
    let api = "api { processes [ hear ]; receive { parsed; update; refresh; } neighbor-changes; }";
    let text = process + &neighbor.replace("API", api);
    fs::write(directory.join("exabgp.conf"), text).expect("exabgp.conf is written");
}

/// It connects, and listens only where that is asked for.
fn start(host: &Namespace, directory: &Path, listens: Option<&str>) -> Process {
    let mut command = host.command(EXABGP);
    if let Some(address) = listens {
        command.env("exabgp.tcp.bind", address);
    }
    command
        .env("exabgp.daemon.user", "root")
        .env("exabgp.api.cli", "false")
        .env("exabgp.log.destination", "stdout")
        .arg(directory.join("exabgp.conf"));
    Process::start("exabgp", &mut command, &directory.join("exabgp.log"))
}

fn configuration(spec: &RouterSpec) -> String {
    let ipv6 = spec.over == Over::Ipv6;
    let family = if ipv6 { "ipv6 unicast" } else { "ipv4 unicast" };
    let med = spec.med.map_or(String::new(), |med| format!(" med {med}"));
    let communities = spec
        .communities
        .map_or(String::new(), |[standard, large, target]| {
            format!(
                " community [{standard}] large-community [{large}] extended-community [target:{target}]"
            )
        });
    let local = spec.local();
    let routes: String = spec
        .announce
        .iter()
        .filter(|prefix| !spec.of_family.is_empty() || prefix.contains(':') == ipv6)
        .map(|prefix| format!("    route {prefix} next-hop {local}{med}{communities};\n"))
        .collect();
    let mut options = String::new();
    if let Some(password) = spec.password {
        options += &format!("  md5-password \"{password}\";\n");
    }
    if spec.graceful {
        options += "  capability { graceful-restart 60; }\n";
    }
    options += spec.of_neighbor;
    let peer = match spec.by_prefix {
        true => {
            options += "  passive true;\n";
            "10.0.0.0/24"
        }
        false => spec.peer(),
    };
    if spec.gtsm {
        options += "  incoming-ttl 255;\n  outgoing-ttl 255;\n";
    }
    format!(
        "neighbor {peer} {{
  router-id {id};
  local-address {local};
  local-as {asn};
  peer-as {peer_asn};
{options}  family {{ {family}; {of_family} }}
  static {{
{routes}  }}
  API
}}
",
        id = spec.id(),
        of_family = spec.of_family,
        asn = spec.asn,
        peer_asn = spec.peer_asn,
    )
}

fn learned(next_hop: &str, attributes: &Value) -> Learned {
    let numbers = |value: &Value| -> Vec<u32> {
        let values = value.as_array().into_iter().flatten();
        values
            .filter_map(|value| value.as_u64().and_then(|v| u32::try_from(v).ok()))
            .collect()
    };
    let number = |value: &Value| value.as_u64().and_then(|v| u32::try_from(v).ok());
    let joined = |name: &str| -> Vec<String> {
        let lists = attributes[name].as_array().into_iter().flatten();
        let words = lists.map(|list| numbers(list).iter().map(u32::to_string).collect());
        words.map(|words: Vec<String>| words.join(":")).collect()
    };
    let extended = attributes["extended-community"]
        .as_array()
        .into_iter()
        .flatten();
    let clusters = attributes["cluster-list"].as_array().into_iter().flatten();
    Learned {
        next_hop: next_hop.to_owned(),
        as_path: numbers(&attributes["as-path"]),
        local_pref: number(&attributes["local-preference"]),
        med: number(&attributes["med"]),
        originator_id: attributes["originator-id"].as_str().map(str::to_owned),
        cluster_list: clusters
            .filter_map(|id| id.as_str().map(str::to_owned))
            .collect(),
        communities: joined("community"),
        large_communities: joined("large-community"),
        extended_communities: extended
            .filter_map(|value| value["string"].as_str())
            .map(|text| text.replace("target:", "rt:"))
            .collect(),
    }
}
