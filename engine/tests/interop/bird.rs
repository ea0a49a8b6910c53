//! BIRD 2, asked through birdc.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::lab::{Lab, Namespace};
use crate::process::{Process, eventually, output};
use crate::router::{Learned, Router, RouterSpec, Table};

pub(crate) const BIRD: &str = "/usr/sbin/bird";
pub(crate) const BIRDC: &str = "/usr/sbin/birdc";

/// A running BIRD.
pub(crate) struct Bird {
    bird: Process,
    directory: TempDir,
}

impl Bird {
    /// Starts BIRD as `spec` says.
    pub(crate) fn start(lab: &Lab, spec: &RouterSpec) -> Bird {
        Bird::start_with(spec.host(lab), &configuration(spec))
    }

    /// Starts BIRD with a configuration of one's own; its session is called `ringbgp`.
    pub(crate) fn start_with(host: &Namespace, bird_conf: &str) -> Bird {
        let directory = TempDir::new().expect("a temporary directory");
        let at = |name: &str| directory.path().join(name);
        fs::write(at("bird.conf"), bird_conf).expect("bird.conf is written");
        let bird = Bird {
            bird: start(host, directory.path(), &[]),
            directory,
        };
        eventually("BIRD answers", || bird.birdc(&["show", "status"]));
        bird
    }

    pub(crate) fn birdc(&self, command: &[&str]) -> Result<String, String> {
        let socket = self.directory.path().join("bird.ctl");
        output(
            Command::new(BIRDC)
                .args(["-v", "-s"])
                .arg(socket)
                .args(command),
        )
    }
}

impl Router for Bird {
    fn learned(&self) -> Result<Table, String> {
        let answer = self.birdc(&["show", "route", "all", "protocol", "ringbgp"])?;
        Ok(parse_routes(&answer))
    }

    fn crash(&mut self) {
        self.bird.kill();
    }

    fn restart(&mut self, lab: &Lab, spec: &RouterSpec) {
        let at = |name: &str| self.directory.path().join(name);
        let _ = fs::remove_file(at("bird.ctl"));
        fs::write(at("bird.conf"), configuration(spec)).expect("bird.conf is written");
        self.bird = start(spec.host(lab), self.directory.path(), &["-R"]);
        eventually("BIRD answers", || self.birdc(&["show", "status"]));
    }

    fn ask_refresh(&self) {
        self.birdc(&["reload", "in", "ringbgp"])
            .expect("BIRD asks again");
    }

    fn session(&self) -> String {
        self.birdc(&["show", "protocols", "all", "ringbgp"])
            .unwrap_or_else(|error| error)
    }
}

fn start(host: &Namespace, directory: &Path, more: &[&str]) -> Process {
    let at = |name: &str| directory.join(name);
    let mut command = host.command(BIRD);
    command
        .arg("-f")
        .arg("-c")
        .arg(at("bird.conf"))
        .arg("-s")
        .arg(at("bird.ctl"))
        .args(more);
    Process::start("bird", &mut command, &at("bird.log"))
}

fn configuration(spec: &RouterSpec) -> String {
    let mut attributes = String::new();
    if let Some(med) = spec.med {
        attributes += &format!("bgp_med = {med};");
    }
    if let Some(communities) = spec.communities {
        let [standard, large, target] = communities.map(|text| text.replace(':', ","));
        attributes += &format!(
            "bgp_community.add(({standard})); bgp_large_community.add(({large})); \
             bgp_ext_community.add((rt,{target}));"
        );
    }
    let routes = |ipv6: bool| -> String {
        spec.announced(ipv6)
            .map(|prefix| format!(" route {prefix} blackhole {{ {attributes} }};"))
            .collect()
    };
    let mut options = String::new();
    if let Some(password) = spec.password {
        options += &format!(" password \"{password}\";");
    }
    if spec.passive {
        options += " passive yes;";
    }
    if spec.gtsm {
        options += " ttl security on;";
    }
    if spec.graceful {
        options += " graceful restart on;";
        if let Some((restart, long_lived)) = spec.long_lived {
            options += &format!(
                " graceful restart time {restart}; long lived graceful restart on; long lived \
                 stale time {long_lived};"
            );
        }
    }
    format!(
        "log stderr all;
router id {id};
protocol device {{}}
protocol static {{ ipv4;{v4} }}
protocol static {{ ipv6;{v6} }}
protocol bgp ringbgp {{
  local {local} as {asn};
  neighbor {peer} as {peer_asn};
  direct;
  strict bind yes;
  connect delay time 1;
  connect retry time 1;
  error wait time 1, 2;{options}
  {of_neighbor}
  ipv4 {{ import all; export where source = RTS_STATIC; {of_family} }};
  ipv6 {{ import all; export where source = RTS_STATIC; {of_family} }};
}}
",
        of_neighbor = spec.of_neighbor,
        of_family = spec.of_family,
        id = spec.id(),
        v4 = routes(false),
        v6 = routes(true),
        local = spec.local(),
        asn = spec.asn,
        peer = spec.peer(),
        peer_asn = spec.peer_asn,
    )
}

/// Reads `show route all` in birdc's verbose form, where each line starts with a code:
/// `1007-` a route, `1012-` an attribute of it.
fn parse_routes(answer: &str) -> Table {
    let mut table = Table::new();
    let mut current: Option<String> = None;
    for line in answer.lines() {
        // A continuation line starts with a space in place of the code.
        let line = line
            .strip_prefix(|c: char| c.is_ascii_digit())
            .map_or(line, |rest| rest.get(4..).unwrap_or_default());
        let mut words = line.split_whitespace();
        let Some(first) = words.next() else { continue };
        let rest: Vec<&str> = words.collect();
        if first.contains('/') && first.starts_with(|c: char| c.is_ascii_hexdigit()) {
            table.insert(first.to_owned(), Learned::default());
            current = Some(first.to_owned());
            continue;
        }
        let Some(route) = current.as_ref().and_then(|prefix| table.get_mut(prefix)) else {
            continue;
        };
        match first {
            "BGP.next_hop:" => route.next_hop = rest.first().copied().unwrap_or("").to_owned(),
            "BGP.as_path:" => {
                route.as_path = rest.iter().filter_map(|asn| asn.parse().ok()).collect();
            }
            "BGP.med:" => route.med = rest.first().and_then(|v| v.parse().ok()),
            "BGP.originator_id:" => {
                route.originator_id = rest.first().map(|id| (*id).to_owned());
            }
            "BGP.cluster_list:" => {
                route.cluster_list = rest.iter().map(|id| (*id).to_owned()).collect();
            }
            "BGP.local_pref:" => route.local_pref = rest.first().and_then(|v| v.parse().ok()),
            "BGP.community:" => route.communities = communities(&rest),
            "BGP.large_community:" => route.large_communities = communities(&rest),
            "BGP.ext_community:" => route.extended_communities = communities(&rest),
            _ => {}
        }
    }
    table
}

/// "(65010, 1, 2) (65010, 1, 3)", cut at its spaces.
fn communities(words: &[&str]) -> Vec<String> {
    let text = words.concat();
    let list = text.split(['(', ')']).filter(|text| !text.is_empty());
    list.map(|text| text.replace(',', ":")).collect()
}
