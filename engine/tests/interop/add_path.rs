//! ADD-PATH (RFC 7911), both ways: ExaBGP announces several paths to one prefix, once to ringbgp,
//! which passes them on to a router, and once to the router, which passes them on to ringbgp. The
//! paths are told apart by the AS that each ends with, and taken away one by one.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::daemon::{Daemon, config, neighbor};
use crate::exabgp::Exabgp;
use crate::frr::Frr;
use crate::lab::{Lab, RINGBGP_V4, ROUTER_V4, SECOND_ROUTER_V4, skipped};
use crate::process::{Process, eventually, output};
use crate::router::{RouterKind, parse_json};
use crate::scripted::RINGBGP_ASN;
use crate::{bird, gobgp, openbgpd};

const EXABGP: &str = "/usr/sbin/exabgp";
const PREFIX: &str = "10.9.1.0/24";
const ROUTER_ASN: u32 = 65002;
const FEEDER_ASN: u32 = 65003;
/// What the paths end with.
const ENDS: [u32; 3] = [64801, 64802, 64803];

/// ExaBGP on the second host, which does as it is told.
struct Feeder {
    _exabgp: Process,
    commands: File,
    _directory: TempDir,
}

impl Feeder {
    /// Towards a peer.
    fn start(lab: &Lab, peer: &str, peer_asn: u32) -> Feeder {
        let directory = TempDir::new().expect("a temporary directory");
        let at = |name: &str| directory.path().join(name);
        let commands = File::create(at("commands")).expect("the commands can be made");
        let text = format!(
            "process feed {{ run /usr/bin/tail -n +1 -f {commands}; encoder text; }}
neighbor {peer} {{
  router-id {SECOND_ROUTER_V4};
  local-address {SECOND_ROUTER_V4};
  local-as {FEEDER_ASN};
  peer-as {peer_asn};
  family {{ ipv4 unicast; }}
  capability {{ add-path send; }}
  api {{ processes [ feed ]; }}
}}
",
            commands = at("commands").display(),
        );
        fs::write(at("exabgp.conf"), text).expect("exabgp.conf is written");
        let mut command = lab.second.command(EXABGP);
        command
            .env("exabgp.daemon.user", "root")
            .env("exabgp.api.cli", "false")
            .arg(at("exabgp.conf"));
        Feeder {
            _exabgp: Process::start("exabgp", &mut command, &at("exabgp.log")),
            commands,
            _directory: directory,
        }
    }

    fn say(&mut self, verb: &str, end: u32) {
        let id = end - ENDS[0] + 1;
        writeln!(
            self.commands,
            "{verb} route {PREFIX} next-hop {SECOND_ROUTER_V4} as-path [ {FEEDER_ASN} {end} ] \
             path-information 0.0.0.{id}"
        )
        .expect("a command is written");
    }
}

/// A router with ADD-PATH both ways towards ringbgp, and towards the feeder.
enum Router {
    Bird(Running),
    Frr(Frr),
    Gobgp(Running),
    Openbgpd(Running),
    Exabgp(Exabgp),
}

struct Running {
    _process: Process,
    directory: TempDir,
}

impl Router {
    fn start(lab: &Lab, kind: RouterKind) -> Router {
        if kind == RouterKind::Frr {
            let text = frr();
            return Router::Frr(Frr::start_with(&lab.router, &text, ROUTER_V4, RINGBGP_V4));
        }
        if kind == RouterKind::Exabgp {
            return Router::Exabgp(Exabgp::start_with(&lab.router, &exabgp()));
        }
        let directory = TempDir::new().expect("a temporary directory");
        let at = |name: &str| directory.path().join(name);
        let socket = at("socket").display().to_string();
        let (text, program) = match kind {
            RouterKind::Bird => (bird(), bird::BIRD),
            RouterKind::Gobgp => (gobgp(), gobgp::GOBGPD),
            _ => (openbgpd(&socket), openbgpd::BGPD),
        };
        fs::write(at("conf"), text).expect("a configuration is written");
        let mut command = lab.router.command(program);
        match kind {
            RouterKind::Bird => {
                command.args(["-f", "-s", &socket, "-c"]).arg(at("conf"));
            }
            RouterKind::Gobgp => {
                command.args(["-t", "toml", "--pprof-disable", "--api-hosts"]);
                command.arg(format!("unix://{socket}"));
                command.arg("-f").arg(at("conf"));
            }
            _ => {
                restrict(&at("conf"));
                fs::create_dir_all("/run/openbgpd").expect("/run/openbgpd can be made");
                command.args(["-d", "-v", "-f"]).arg(at("conf"));
            }
        }
        let running = Running {
            _process: Process::start("router", &mut command, &at("log")),
            directory,
        };
        match kind {
            RouterKind::Bird => Router::Bird(running),
            RouterKind::Gobgp => Router::Gobgp(running),
            _ => Router::Openbgpd(running),
        }
    }

    /// What the paths to the prefix end with that it has from ringbgp, in ascending order.
    fn ends(&self) -> Result<Vec<u32>, String> {
        let mut ends = match self {
            Router::Bird(running) => {
                let mut command = Command::new(bird::BIRDC);
                command
                    .arg("-s")
                    .arg(running.directory.path().join("socket"));
                let question = ["show", "route", "all", "protocol", "ringbgp"];
                let answer = output(command.args(question))?;
                let paths = answer.lines().filter(|line| line.contains("BGP.as_path:"));
                paths.filter_map(last_number).collect()
            }
            Router::Frr(frr) => {
                let question = format!("show bgp ipv4 unicast {PREFIX} json");
                let answer = parse_json(&frr.vtysh(&[&question])?)?;
                let from = |path: &&Value| path["peer"]["peerId"] == RINGBGP_V4;
                let paths = answer["paths"].as_array().into_iter().flatten();
                let paths = paths.filter(from);
                paths
                    .filter_map(|path| last_number(path["aspath"]["string"].as_str()?))
                    .collect()
            }
            Router::Gobgp(running) => {
                let socket = running.directory.path().join("socket");
                let mut command = Command::new(gobgp::GOBGP);
                command.arg("--target");
                command.arg(format!("unix://{}", socket.display()));
                let question = ["-j", "global", "rib", "-a", "ipv4"];
                let answer = parse_json(&output(command.args(question))?)?;
                let paths = answer[PREFIX].as_array().into_iter().flatten();
                let paths = paths.filter(|path| path["neighbor-ip"] == RINGBGP_V4);
                paths.filter_map(gobgp_end).collect()
            }
            Router::Openbgpd(running) => {
                let mut command = Command::new(openbgpd::BGPCTL);
                command
                    .arg("-s")
                    .arg(running.directory.path().join("socket"));
                let question = ["-j", "show", "rib", "detail"];
                let answer = parse_json(&output(command.args(question))?)?;
                let paths = answer["rib"].as_array().into_iter().flatten();
                let paths = paths.filter(|path| {
                    path["prefix"] == PREFIX && path["neighbor"]["remote_addr"] == RINGBGP_V4
                });
                paths
                    .filter_map(|path| last_number(path["aspath"].as_str()?))
                    .collect::<Vec<u32>>()
            }
            Router::Exabgp(exabgp) => {
                let paths = exabgp.paths()?.into_iter();
                let paths = paths.filter(|((prefix, id), _)| prefix == PREFIX && !id.is_empty());
                paths
                    .filter_map(|(_, learned)| learned.as_path.last().copied())
                    .collect()
            }
        };
        ends.sort_unstable();
        Ok(ends)
    }
}

fn restrict(file: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::Permissions::from_mode(0o600);
    fs::set_permissions(file, mode).expect("the configuration's mode is set");
}

fn last_number(text: &str) -> Option<u32> {
    text.split_whitespace().next_back()?.parse().ok()
}

fn gobgp_end(path: &Value) -> Option<u32> {
    let mut attributes = path["attrs"].as_array()?.iter();
    let as_path = attributes.find(|attribute| attribute["type"] == 2)?;
    let asns = as_path["as_paths"][0]["asns"].as_array()?;
    asns.last()?
        .as_u64()
        .and_then(|asn| u32::try_from(asn).ok())
}

fn bird() -> String {
    let protocol = |name: &str, peer: &str, asn: u32, export: &str, ways: &str| {
        format!(
            "protocol bgp {name} {{
  local {ROUTER_V4} as {ROUTER_ASN};
  neighbor {peer} as {asn};
  direct;
  strict bind yes;
  connect delay time 1;
  connect retry time 1;
  error wait time 1, 2;
  ipv4 {{ import all; export {export}; add paths {ways}; }};
}}
"
        )
    };
    format!(
        "log stderr all;\nrouter id {ROUTER_V4};\nprotocol device {{}}\n{}{}",
        protocol("ringbgp", RINGBGP_V4, RINGBGP_ASN, "all", "on"),
        protocol("feeder", SECOND_ROUTER_V4, FEEDER_ASN, "none", "rx"),
    )
}

fn frr() -> String {
    format!(
        "router bgp {ROUTER_ASN}
 bgp router-id {ROUTER_V4}
 no bgp ebgp-requires-policy
 neighbor {RINGBGP_V4} remote-as {RINGBGP_ASN}
 neighbor {RINGBGP_V4} timers connect 1
 neighbor {SECOND_ROUTER_V4} remote-as {FEEDER_ASN}
 neighbor {SECOND_ROUTER_V4} timers connect 1
 address-family ipv4 unicast
  neighbor {RINGBGP_V4} addpath-tx-all-paths
 exit-address-family
"
    )
}

fn gobgp() -> String {
    let neighbor = |peer: &str, asn: u32| {
        format!(
            "[[neighbors]]
  [neighbors.config]
    neighbor-address = \"{peer}\"
    peer-as = {asn}
  [neighbors.transport.config]
    local-address = \"{ROUTER_V4}\"
  [neighbors.timers.config]
    connect-retry = 1
    idle-hold-time-after-reset = 1
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = \"ipv4-unicast\"
    [neighbors.afi-safis.add-paths.config]
      receive = true
      send-max = 8
"
        )
    };
    format!(
        "[global.config]\n  as = {ROUTER_ASN}\n  router-id = \"{ROUTER_V4}\"\n{}{}",
        neighbor(RINGBGP_V4, RINGBGP_ASN),
        neighbor(SECOND_ROUTER_V4, FEEDER_ASN)
    )
}

fn openbgpd(socket: &str) -> String {
    let neighbor = |peer: &str, asn: u32| {
        format!(
            "neighbor {peer} {{
  remote-as {asn}
  local-address {ROUTER_V4}
  announce IPv4 unicast
  announce add-path recv yes
  announce add-path send all
  enforce neighbor-as no
}}
"
        )
    };
    format!(
        "AS {ROUTER_ASN}\nrouter-id {ROUTER_V4}\nlisten on {ROUTER_V4}\nsocket \"{socket}\"\n\
         fib-update no\n{}{}allow from any\nallow to any\n",
        neighbor(RINGBGP_V4, RINGBGP_ASN),
        neighbor(SECOND_ROUTER_V4, FEEDER_ASN)
    )
}

fn exabgp() -> String {
    format!(
        "neighbor {RINGBGP_V4} {{
  router-id {ROUTER_V4};
  local-address {ROUTER_V4};
  local-as {ROUTER_ASN};
  peer-as {RINGBGP_ASN};
  family {{ ipv4 unicast; }}
  capability {{ add-path receive; }}
  API
}}
"
    )
}

/// A lab, where ExaBGP is there too.
fn lab(kind: RouterKind) -> Option<Lab> {
    if !Path::new(EXABGP).exists() {
        return skipped(&format!("ExaBGP is not installed ({EXABGP} is missing)"));
    }
    Lab::for_routers(&[kind])
}

/// What the paths end with that ringbgp was told by a peer; each has an identifier of its own.
fn received(daemon: &Daemon<'_>, kind: &str, peer: &str) -> Result<Vec<u32>, String> {
    let routes = daemon.ask(&["routes", kind, "--peer", peer])?;
    let mut routes: Vec<Value> = routes.as_array().cloned().unwrap_or_default();
    routes.retain(|route| route["prefix"] == PREFIX);
    let mut ids: Vec<Option<u64>> = routes.iter().map(|r| r["pathId"].as_u64()).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.len() != routes.len() || ids.contains(&None) {
        return Err(format!("identifiers are missing or shared: {routes:?}"));
    }
    let last = |route: &Value| route["asPath"][0]["asns"].as_array()?.last()?.as_u64();
    let mut ends: Vec<u32> = routes
        .iter()
        .filter_map(|route| u32::try_from(last(route)?).ok())
        .collect();
    ends.sort_unstable();
    Ok(ends)
}

fn wait_for(what: &str, wanted: &[u32], ends: impl Fn() -> Result<Vec<u32>, String>) {
    eventually(&format!("{what} has the paths {wanted:?}"), || {
        let held = ends()?;
        match held == wanted {
            true => Ok(()),
            false => Err(format!("it has {held:?}")),
        }
    });
}

/// Says the paths and takes them away one by one; each time `check` is told which are left.
fn one_by_one(feeder: &mut Feeder, check: impl Fn(&[u32])) {
    for (count, end) in ENDS.into_iter().enumerate() {
        feeder.say("announce", end);
        check(&ENDS[..=count]);
    }
    // The best one is the first: its place is taken each time.
    for (count, end) in ENDS.into_iter().enumerate() {
        feeder.say("withdraw", end);
        check(&ENDS[count + 1..]);
    }
    feeder.say("announce", ENDS[1]);
    check(&ENDS[1..2]);
}

fn a_router_is_told_several_paths(kind: RouterKind) {
    let Some(lab) = lab(kind) else {
        return;
    };
    let several = "import: all, export: all, addPaths: {send: 8, receive: true}";
    let neighbors = [
        neighbor(ROUTER_V4, ROUTER_ASN, several),
        neighbor(SECOND_ROUTER_V4, FEEDER_ASN, several),
    ];
    let text = config(RINGBGP_ASN, "", &neighbors);
    let daemon = Daemon::start(Some(&lab.node), &[("config.yaml", &text)]);
    let router = Router::start(&lab, kind);
    let mut feeder = Feeder::start(&lab, RINGBGP_V4, RINGBGP_ASN);
    daemon.wait_established(ROUTER_V4);
    daemon.wait_established(SECOND_ROUTER_V4);
    one_by_one(&mut feeder, |wanted| {
        wait_for("ringbgp", wanted, || {
            received(&daemon, "received", SECOND_ROUTER_V4)
        });
        wait_for("the router", wanted, || router.ends());
        let told = received(&daemon, "advertised", ROUTER_V4);
        assert_eq!(told.as_deref(), Ok(wanted));
    });
}

fn a_router_tells_several_paths(kind: RouterKind) {
    let Some(lab) = lab(kind) else {
        return;
    };
    let several = "import: all, addPaths: {receive: true}";
    let text = config(RINGBGP_ASN, "", &[neighbor(ROUTER_V4, ROUTER_ASN, several)]);
    let daemon = Daemon::start(Some(&lab.node), &[("config.yaml", &text)]);
    let _router = Router::start(&lab, kind);
    let mut feeder = Feeder::start(&lab, ROUTER_V4, ROUTER_ASN);
    daemon.wait_established(ROUTER_V4);
    one_by_one(&mut feeder, |wanted| {
        wait_for("ringbgp", wanted, || {
            received(&daemon, "received", ROUTER_V4)
        });
    });
    let peer = daemon.wait_established(ROUTER_V4);
    assert_eq!(peer["families"][0]["received"], 1, "one prefix: {peer}");
}

// RFC-SHOWN 7911 §3
// INTEROP bird: add-path
// INTEROP exabgp: add-path in
#[test]
fn bird_and_exabgp_have_several_paths() {
    a_router_is_told_several_paths(RouterKind::Bird);
    a_router_tells_several_paths(RouterKind::Bird);
}

// INTEROP frr: add-path
#[test]
fn frr_and_exabgp_have_several_paths() {
    a_router_is_told_several_paths(RouterKind::Frr);
    a_router_tells_several_paths(RouterKind::Frr);
}

// INTEROP gobgp: add-path
#[test]
fn gobgp_and_exabgp_have_several_paths() {
    a_router_is_told_several_paths(RouterKind::Gobgp);
    a_router_tells_several_paths(RouterKind::Gobgp);
}

// INTEROP openbgpd: add-path
#[test]
fn openbgpd_and_exabgp_have_several_paths() {
    a_router_is_told_several_paths(RouterKind::Openbgpd);
    a_router_tells_several_paths(RouterKind::Openbgpd);
}

// INTEROP exabgp: add-path out
#[test]
fn exabgp_has_several_paths_by_way_of_us() {
    a_router_is_told_several_paths(RouterKind::Exabgp);
}
