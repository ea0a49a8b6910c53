//! Three network namespaces on one wire.

use std::fs;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::process::output;
use crate::router::RouterKind;

/// The host of ringbgp.
pub(crate) const RINGBGP_V4: &str = "10.0.0.5";
/// The host of ringbgp.
pub(crate) const RINGBGP_V6: &str = "2001:db8::5";
/// The host of the router.
pub(crate) const ROUTER_V4: &str = "10.0.0.6";
/// The host of the router.
pub(crate) const ROUTER_V6: &str = "2001:db8::6";
/// The host of a second router.
pub(crate) const SECOND_ROUTER_V4: &str = "10.0.0.7";
/// The host of a second router.
pub(crate) const SECOND_ROUTER_V6: &str = "2001:db8::7";

/// A lab of three hosts. Dropped, it goes away with everything that still runs in it.
pub(crate) struct Lab {
    /// The host of ringbgp.
    pub(crate) node: Namespace,
    /// The host of the router.
    pub(crate) router: Namespace,
    /// The host of a second router.
    pub(crate) second: Namespace,
}

/// One host.
pub(crate) struct Namespace {
    name: String,
}

impl Lab {
    /// A lab for tests that need these routers. `None` if something is missing: the test is
    /// skipped, and that has been said.
    pub(crate) fn for_routers(kinds: &[RouterKind]) -> Option<Lab> {
        for kind in kinds {
            if let Some(program) = kind.missing_program() {
                return unavailable(&format!("{kind:?} is not installed ({program} is missing)"));
            }
        }
        match Lab::build() {
            Ok(lab) => Some(lab),
            Err(why) => unavailable(&format!("network namespaces cannot be made: {why}")),
        }
    }

    fn build() -> Result<Lab, String> {
        static LABS: AtomicU32 = AtomicU32::new(0);
        remove_leftovers();
        let number = LABS.fetch_add(1, Ordering::Relaxed);
        let name = |side: &str| format!("{PREFIX}{}x{number}{side}", std::process::id());
        let node = Namespace::add(name("node"))?;
        let router = Namespace::add(name("router"))?;
        let second = Namespace::add(name("second"))?;
        // The node's interface is a bridge, so that the routers hear each other past it: what they
        // name as next hop has to be reached.
        ip(&["-n", &node.name, "link", "add", "eth0", "type", "bridge"])?;
        for (port, host) in [("port1", &router), ("port2", &second)] {
            ip(&[
                "link", "add", port, "netns", &node.name, "type", "veth", "peer", "name", "eth0",
                "netns", &host.name,
            ])?;
            let name = node.name.as_str();
            ip(&["-n", name, "link", "set", port, "master", "eth0", "up"])?;
        }
        node.configure(RINGBGP_V4, RINGBGP_V6)?;
        router.configure(ROUTER_V4, ROUTER_V6)?;
        second.configure(SECOND_ROUTER_V4, SECOND_ROUTER_V6)?;
        Ok(Lab {
            node,
            router,
            second,
        })
    }
}

impl Namespace {
    fn add(name: String) -> Result<Namespace, String> {
        ip(&["netns", "add", &name])?;
        Ok(Namespace { name })
    }

    fn configure(&self, ipv4: &str, ipv6: &str) -> Result<(), String> {
        let name = self.name.as_str();
        ip(&["-n", name, "link", "set", "lo", "up"])?;
        let address = format!("{ipv4}/24");
        ip(&["-n", name, "addr", "add", &address, "dev", "eth0"])?;
        let address = format!("{ipv6}/64");
        // Duplicate address detection would keep the address unusable for a second.
        ip(&["-n", name, "addr", "add", &address, "dev", "eth0", "nodad"])?;
        ip(&["-n", name, "link", "set", "eth0", "up"])
    }

    /// Moves the calling thread to this host, for good.
    pub(crate) fn enter(&self) {
        let host = fs::File::open(format!("/run/netns/{}", self.name)).expect("the host is there");
        let kind = Some(LinkNameSpaceType::Network);
        move_into_link_name_space(host.as_fd(), kind).expect("a thread can move");
    }

    /// Takes the host's cable out, or puts it back.
    pub(crate) fn unplug(&self, out: bool) {
        let state = if out { "down" } else { "up" };
        ip(&["-n", &self.name, "link", "set", "eth0", state]).expect("a cable can be handled");
    }

    /// A command that runs `program` on this host.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]);
        command.arg(program.as_ref());
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove_namespace(&self.name);
    }
}

/// Says loudly that a test is skipped, or fails it where no router may be missing.
pub(crate) fn unavailable<T>(why: &str) -> Option<T> {
    if std::env::var("RINGBGP_REQUIRE_ROUTERS").is_ok_and(|value| value == "1") {
        panic!("{why}, and RINGBGP_REQUIRE_ROUTERS=1 asks for it");
    }
    skipped(why)
}

/// Says loudly that a test is skipped.
pub(crate) fn skipped<T>(why: &str) -> Option<T> {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    // Past the capture of the test harness, so that it is seen.
    let _ = writeln!(io::stderr(), "SKIPPED: {test}: {why}");
    None
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    output(Command::new("ip").args(arguments)).map(|_| ())
}

fn remove_namespace(name: &str) {
    let pids = output(Command::new("ip").args(["netns", "pids", name])).unwrap_or_default();
    let pids = pids.split_whitespace().filter_map(|pid| pid.parse().ok());
    for pid in pids.filter_map(Pid::from_raw) {
        let _ = kill_process(pid, Signal::KILL);
    }
    let _ = ip(&["netns", "del", name]);
}

/// Namespaces of test runs that were killed before they could clean up.
fn remove_leftovers() {
    let Ok(entries) = fs::read_dir("/run/netns") else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split_once('x'))
            .and_then(|(pid, _)| pid.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            remove_namespace(&name);
        }
    }
}

const PREFIX: &str = "ringbgp";
