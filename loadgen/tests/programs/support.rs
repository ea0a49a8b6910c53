//! What the tests of the program share: running it, reading what it prints, a relay that ends with
//! its test.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;

/// The program with these arguments; its standard output is kept.
pub(crate) fn loadgen(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringbgp-loadgen"));
    command
        .args(arguments.split_whitespace())
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    command
}

/// Runs the program to its end.
pub(crate) fn run(arguments: &str) -> Output {
    loadgen(arguments)
        .stderr(Stdio::piped())
        .output()
        .expect("loadgen runs")
}

/// The last line on standard output.
pub(crate) fn json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|error| panic!("{error} in {text:?}"))
}

/// A program that ends with its test.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port on which nobody listens, each time another one: below those that the kernel gives to
/// connections, which come and go.
pub(crate) fn free_port() -> u16 {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id() * 31;
    for _ in 0..PORTS {
        let place = begin.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed)) % PORTS;
        let port = FIRST_PORT + place as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}

const FIRST_PORT: u16 = 20_000;
const PORTS: u32 = 10_000;

/// A null relay.
pub(crate) struct Relay {
    running: Running,
    pub(crate) address: String,
}

impl Relay {
    /// Starts one and waits until it listens.
    pub(crate) fn start() -> Relay {
        let address = format!("127.0.0.1:{}", free_port());
        let child = loadgen(&format!("relay --listen {address}")).spawn();
        let running = Running(child.expect("the relay starts"));
        for _ in 0..1000 {
            if TcpStream::connect(&address).is_ok() {
                return Relay { running, address };
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("the relay does not listen on {address}");
    }

    pub(crate) fn pid(&self) -> u32 {
        self.running.0.id()
    }

    /// Waits until the relay holds so many octets of what its routers said.
    pub(crate) fn wait_until_it_is_given(&self, octets: u64) {
        let begin = self.rss();
        for _ in 0..2000 {
            if self.rss() >= begin + octets {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("the relay is given nothing");
    }

    fn rss(&self) -> u64 {
        let path = format!("/proc/{}/statm", self.pid());
        let statm = std::fs::read_to_string(path).expect("it runs");
        let pages = statm.split_whitespace().nth(1).expect("resident pages");
        pages.parse::<u64>().expect("a number") * 4096
    }
}

/// BIRD, with a passive neighbor for each router of a scenario.
pub(crate) struct Bird {
    _running: Running,
    pub(crate) directory: tempfile::TempDir,
    pub(crate) address: String,
    options: BirdOptions,
    neighbors: String,
}

/// How BIRD treats its neighbors.
#[derive(Clone, Copy, Default)]
pub(crate) struct BirdOptions {
    /// Settings of the sessions, such as `rr client;`.
    pub(crate) session: &'static str,
    /// Settings of the channel, such as `next hop self;`.
    pub(crate) channel: &'static str,
}

impl Bird {
    /// Starts BIRD for a scenario and waits until it listens; `None`, said loudly, if there is no
    /// BIRD on this machine.
    pub(crate) fn start(scenario: &str, options: BirdOptions) -> Option<Bird> {
        if Command::new("bird").arg("--version").output().is_err() {
            return unavailable("there is no bird");
        }
        let output = run(&format!("neighbors {scenario}"));
        assert!(output.status.success(), "{output:?}");
        let port = free_port();
        let directory = tempfile::tempdir().expect("a directory");
        let mut bird = Bird {
            address: format!("127.0.0.1:{port}"),
            options,
            neighbors: String::from_utf8(output.stdout).expect("text"),
            _running: Running(Command::new("true").spawn().expect("true runs")),
            directory,
        };
        bird.configure("all");
        let child = Command::new("bird")
            .current_dir(bird.directory.path())
            .args(["-f", "-c", "bird.conf", "-s", "bird.ctl"])
            .spawn();
        bird._running = Running(child.expect("bird starts"));
        for _ in 0..1000 {
            if TcpStream::connect(&bird.address).is_ok() {
                return Some(bird);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("bird does not listen on {}", bird.address);
    }

    /// Writes its configuration, with what it exports.
    pub(crate) fn configure(&self, export: &str) {
        let port = self.address.rsplit(':').next().expect("a port");
        let BirdOptions { session, channel } = self.options;
        let mut text = format!(
            "log stderr {{ warning, error, fatal }};\nrouter id 10.255.0.1;\n\
             protocol device {{ scan time 1; }}\n\
             template bgp peers {{ local 127.0.0.1 port {port} as 65000; multihop; passive on;\n\
             {session} ipv4 {{ import all; export {export}; {channel} }}; }}\n"
        );
        for (number, line) in self.neighbors.lines().enumerate() {
            let (address, asn) = line.split_once(' ').expect("ADDRESS ASN");
            let protocol = format!("protocol bgp p{number} from peers");
            text.push_str(&format!("{protocol} {{ neighbor {address} as {asn}; }}\n"));
        }
        std::fs::write(self.directory.path().join("bird.conf"), text).expect("a file");
    }
}

/// The daemon of this repository, with a passive neighbor for each router of a scenario.
pub(crate) struct Ringbgp {
    _running: Running,
    _directory: tempfile::TempDir,
    pub(crate) address: String,
}

impl Ringbgp {
    /// Starts it and waits until it listens; `None`, said loudly, if it has not been built beside
    /// this program.
    pub(crate) fn start(scenario: &str) -> Option<Ringbgp> {
        let program = Path::new(env!("CARGO_BIN_EXE_ringbgp-loadgen")).with_file_name("ringbgp");
        if !program.exists() {
            return skipped(&format!("{} is not built", program.display()));
        }
        let output = run(&format!("neighbors {scenario}"));
        assert!(output.status.success(), "{output:?}");
        let port = free_port();
        let mut text = format!(
            "apiVersion: cilium.io/v2alpha1\nkind: CiliumConfig\nmetadata: {{name: cilium-config}}\n\
             spec:\n  bgpPeering:\n    localASN: 65000\n    routerID: 10.255.0.1\n    \
             listenAddresses: [127.0.0.1]\n    listenPort: {port}\n    neighbors:\n"
        );
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let (address, asn) = line.split_once(' ').expect("ADDRESS ASN");
            let neighbor = format!("peerAddress: {address}, peerASN: {asn}, passive: true");
            text.push_str(&format!("    - {{{neighbor}, import: all, export: all}}\n"));
        }
        let directory = tempfile::tempdir().expect("a directory");
        let manifests = directory.path().join("manifests");
        std::fs::create_dir(&manifests).expect("a directory");
        std::fs::write(manifests.join("config.yaml"), text).expect("a file");
        let child = Command::new(program)
            .args(["run", "--node-name", "node-1", "--manifests"])
            .arg(&manifests)
            .arg("--admin")
            .arg(directory.path().join("admin.sock"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let ringbgp = Ringbgp {
            _running: Running(child.expect("ringbgp starts")),
            _directory: directory,
            address: format!("127.0.0.1:{port}"),
        };
        for _ in 0..1000 {
            if TcpStream::connect(&ringbgp.address).is_ok() {
                return Some(ringbgp);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("ringbgp does not listen on {}", ringbgp.address);
    }
}

/// Says loudly that a test is skipped, or fails it where no router may be missing.
fn unavailable<T>(why: &str) -> Option<T> {
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
    let _ = writeln!(std::io::stderr(), "SKIPPED: {test}: {why}");
    None
}
