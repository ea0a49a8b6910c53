//! The daemon and the demo as processes, on loopback addresses and free ports.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::command_line::ringbgp;

/// A process whose standard output is read line by line; it is killed if the test fails.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    fn start(arguments: &[&str]) -> Running {
        Running::start_logging_to(Stdio::null(), arguments)
    }

    fn start_logging_to(log: Stdio, arguments: &[&str]) -> Running {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ringbgp"))
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Running { child, lines }
    }

    /// Waits for a line that contains `words`.
    fn wait_for(&self, words: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("no line contains {words:?}"));
            if line.contains(words) {
                return line;
            }
        }
    }

    /// Sends a signal; gives the exit code.
    fn end_by(mut self, signal: Signal) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The example with ports that are free here.
fn copy_quickstart(to: &Path) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart");
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let text = fs::read_to_string(entry.path()).unwrap();
        let text = text.replace("1790", &free_port().to_string());
        fs::write(to.join(entry.file_name()), text).unwrap();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn the_demo_shows_routes_come_and_go() {
    let directory = tempfile::tempdir().unwrap();
    copy_quickstart(directory.path());
    let demo = Running::start(&["demo", "--manifests", directory.path().to_str().unwrap()]);
    demo.wait_for("session with the node up");
    demo.wait_for("+ 2001:db8:1::/48 arrived");
    let (code, _, stderr) = ringbgp(&["demo", "--manifests", directory.path().to_str().unwrap()]);
    assert_eq!(code, 1, "a second one has no room");
    assert!(stderr.contains("cannot listen on 127.0.0.2"), "{stderr}");
    fs::write(directory.path().join("more.yaml"), MORE).unwrap();
    let line = demo.wait_for("+ 198.51.100.128/25 arrived");
    assert!(line.contains(" ms: next hop "), "{line}");
    demo.wait_for("by CiliumNetworkPolicy default/more spec.egress[0].toCIDR[0]");
    fs::remove_file(directory.path().join("more.yaml")).unwrap();
    demo.wait_for("- 198.51.100.128/25 gone");
    assert_eq!(demo.end_by(Signal::INT), Some(0));
}

#[test]
fn every_command_refuses_an_instance_that_is_not_there() {
    let home = Home::quickstart();
    let admin = &*home.admin;
    let _daemon = Running::start(&home.run());
    wait_for_routes(admin);
    for command in [
        &["peers"][..],
        &["routes", "available"],
        &["explain", "10.0.1.0/24"],
        &["policies"],
        &["rpki"],
        &["refresh"],
        &["reset"],
        &["drain"],
        &["undrain"],
        &["watch"],
    ] {
        let more = ["--instance", "blue", "--admin", admin];
        let (code, stdout, stderr) = ringbgp(&[command, &more].concat());
        assert_eq!((code, &*stdout), (1, ""), "{command:?}");
        assert_eq!(stderr, "ringbgp: there is no instance \"blue\"\n");
    }
    let policies = ["policies", "--instance", "default", "--admin", admin];
    assert_eq!(ringbgp(&policies).1, "No route policies.\n");
}

#[test]
fn a_log_that_cannot_be_written_costs_no_session() {
    let (_, nobody_reads) = std::io::pipe().unwrap();
    let full = fs::OpenOptions::new().write(true).open("/dev/full");
    for log in [Stdio::from(nobody_reads), Stdio::from(full.unwrap())] {
        let home = Home::quickstart();
        let admin = &*home.admin;
        let mut daemon = Running::start_logging_to(log, &home.run());
        wait_for_routes(admin);
        // One more word to log, on the watcher's thread.
        fs::write(home.directory.path().join("more.yaml"), "a: [").unwrap();
        wait_until("the fault is in force", || {
            let (code, stdout, _) = ringbgp(&["peers", "--admin", admin]);
            code == 0 && stdout.contains("more.yaml")
        });
        assert_eq!(daemon.child.try_wait().unwrap(), None);
        assert_eq!(daemon.end_by(Signal::TERM), Some(0));
    }
}

/// Manifests for a daemon, and its socket beside them.
struct Home {
    directory: tempfile::TempDir,
    admin: String,
}

impl Home {
    /// The example.
    fn quickstart() -> Home {
        let home = Home::empty();
        copy_quickstart(home.directory.path());
        home
    }

    fn empty() -> Home {
        let directory = tempfile::tempdir().unwrap();
        let admin = directory.path().join("admin.sock");
        let admin = admin.to_str().unwrap().to_owned();
        Home { directory, admin }
    }

    fn manifests(&self) -> &str {
        self.directory.path().to_str().unwrap()
    }

    /// What the daemon is run with.
    fn run(&self) -> Vec<&str> {
        let run = ["run", "--shards", "1", "--node-name", "node-1"];
        let places = ["--admin", &self.admin, "--manifests", self.manifests()];
        [&run[..], &places].concat()
    }
}

/// Waits until the daemon answers with a route of the example.
fn wait_for_routes(admin: &str) {
    let question = ["routes", "available", "10.244.1.0/24", "--admin", admin];
    wait_until("the daemon answers", || ringbgp(&question).0 == 0);
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let pause = Duration::from_millis(50);
    let mut left = PATIENCE;
    while !holds() {
        let rest = left.checked_sub(pause);
        left = rest.unwrap_or_else(|| panic!("not yet: {what}"));
        thread::sleep(pause);
    }
}

#[test]
fn the_daemon_answers_and_ends_on_sigterm() {
    let home = Home::quickstart();
    let (admin, manifests) = (&*home.admin, home.manifests());
    let state = home.directory.path().join("state");
    let state = state.to_str().unwrap();
    let run = [&home.run()[..], &["--state", state]].concat();
    let daemon = Running::start(&run);
    wait_for_routes(admin);
    let (code, stdout, _) = ringbgp(&["peers", "-o", "json", "--admin", admin]);
    assert_eq!(code, 0);
    let peers: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(peers[0]["peerAddress"], "127.0.0.2");
    assert_eq!(peers[0]["uptimeSeconds"], serde_json::Value::Null);
    let (code, _, stderr) = ringbgp(&["reset", "127.0.0.9", "--admin", admin]);
    assert_eq!(code, 1);
    assert!(stderr.contains("127.0.0.9"), "{stderr}");
    let (code, _, stderr) = ringbgp(&["refresh", "127.0.0.9", "--admin", admin]);
    assert_eq!(code, 1);
    assert!(stderr.contains("127.0.0.9"), "{stderr}");
    let (code, _, stderr) = ringbgp(&["refresh", "127.0.0.2", "--admin", admin]);
    assert_eq!(code, 1);
    assert!(stderr.contains("its session is not up"), "{stderr}");
    let (code, _, stderr) = ringbgp(&["reset", "127.0.0.2", "--admin", admin]);
    assert_eq!(code, 1);
    assert!(stderr.contains("was not reset: it has no"), "{stderr}");
    let (code, _, stderr) = ringbgp(&["undrain", "127.0.0.2", "--admin", admin]);
    assert_eq!(code, 1);
    assert!(stderr.contains("127.0.0.2 is not drained"), "{stderr}");

    let (code, _, stderr) = ringbgp(&run);
    assert_eq!(code, 1, "its socket is taken");
    assert!(stderr.contains("another daemon answers"), "{stderr}");
    let other = home.directory.path().join("other.sock");
    let run = ["run", "--admin", other.to_str().unwrap()];
    let run = [&run[..], &["--manifests", manifests, "--state", state]].concat();
    let (code, _, stderr) = ringbgp(&run);
    assert_eq!(code, 1, "its state directory is taken");
    let pid = daemon.child.id();
    let words = format!("is in use by another daemon, process {pid}; stop that one");
    assert!(stderr.contains(&words), "{stderr}");
    assert_eq!(daemon.end_by(Signal::TERM), Some(0));
    assert!(!Path::new(admin).exists());
}

/// A policy that is deleted while a neighbor names it stands over a restart, under the same words.
#[test]
fn a_deleted_policy_that_a_neighbor_names_outlives_the_process() {
    let peering = format!(
        "    localASN: 65001
    listenAddresses: [127.0.0.1]
    listenPort: {}
    neighbors: [{{peerAddress: 127.0.0.2, peerASN: 65002, passive: true, import: tor}}]
",
        free_port()
    );
    let home = Home::empty();
    let admin = &*home.admin;
    let settings = format!(
        "apiVersion: cilium.io/v2alpha1\nkind: CiliumConfig\nmetadata: {{name: cilium-config}}\n\
         spec:\n  bgpPeering:\n{peering}"
    );
    fs::write(home.directory.path().join("config.yaml"), settings).unwrap();
    let policy = home.directory.path().join("policy.yaml");
    let text = "apiVersion: ringbgp.io/v1alpha1\nkind: RoutePolicy\nmetadata: {name: tor}\n\
                spec: {statements: [{name: first, action: Accept}]}\n";
    fs::write(&policy, text).unwrap();
    let state = home.directory.path().join("state");
    let run = [&home.run()[..], &["--state", state.to_str().unwrap()]].concat();
    let mut daemon = Running::start(&run);
    let said = |command: &str, words: &str| {
        wait_until(words, || {
            ringbgp(&[command, "--admin", admin]).1.contains(words)
        });
    };
    said("policies", "first");
    fs::remove_file(&policy).unwrap();
    let gone = "RoutePolicy tor is gone: it stays in force until no neighbor names it";
    for signal in [Signal::KILL, Signal::TERM] {
        said("peers", gone);
        wait_until("it is in the state", || {
            let written = fs::read_to_string(state.join("state")).unwrap_or_default();
            written.contains(r#"["RoutePolicy tor"]"#)
        });
        daemon.end_by(signal);
        daemon = Running::start(&run);
    }
    said("peers", gone);
    said("policies", "first");
    assert_eq!(daemon.end_by(Signal::TERM), Some(0));
}

/// Ten lines of settings, one of them a list of addresses.
#[test]
fn five_thousand_neighbors_of_a_template_are_ten_lines() {
    let address = |n: usize| format!("10.16.{}.{}", n / 250, n % 250 + 1);
    let addresses: Vec<String> = (0..5000).map(address).collect();
    let peering = format!(
        "    localASN: 65001
    listenAddresses: [127.0.0.1]
    listenPort: {}
    guard: {{allow: [198.51.100.128/25]}}
    templates:
      tor: {{peerASN: 65002, passive: true, import: all}}
    neighbors:
    - template: tor
      timers: {{holdTimeSeconds: 9, keepAliveTimeSeconds: 3}}
      peerAddresses: [{}]
",
        free_port(),
        addresses.join(", ")
    );
    assert_eq!(peering.lines().count(), 10);
    let directory = tempfile::tempdir().unwrap();
    let head = "apiVersion: cilium.io/v2alpha1
kind: CiliumConfig
metadata: {name: cilium-config}
spec:
  bgpPeering:
";
    fs::write(directory.path().join("c.yaml"), head.to_owned() + &peering).unwrap();
    fs::write(directory.path().join("p.yaml"), MORE).unwrap();
    let manifests = directory.path().to_str().unwrap();

    let (code, stdout, stderr) = ringbgp(&["check", "-o", "json", "--manifests", manifests]);
    assert_eq!(code, 0, "{stderr}");
    let checked: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let told = checked["announcements"][0]["peers"].as_array().unwrap();
    assert_eq!(told.len(), 5000);

    let admin = directory.path().join("admin.sock");
    let admin = admin.to_str().unwrap();
    let arguments = ["--manifests", manifests, "--admin", admin];
    let daemon = Running::start(&[&["run"][..], &arguments].concat());
    let rows = || -> Option<Vec<serde_json::Value>> {
        let (_, stdout, _) = ringbgp(&["peers", "-o", "json", "--admin", admin]);
        serde_json::from_str(&stdout).ok()
    };
    let is_active = |row: &serde_json::Value| row["state"] == "active";
    wait_until("5,000 sessions wait for their peers", || {
        rows().is_some_and(|rows| rows.iter().filter(|row| is_active(row)).count() == 5000)
    });
    assert_eq!(daemon.end_by(Signal::TERM), Some(0));
}

#[test]
fn a_taken_port_is_1_and_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let config = CONFIG.replace("PORT", &port.to_string());
    fs::write(directory.path().join("c.yaml"), config).unwrap();
    let admin = directory.path().join("admin.sock");
    let (code, _, stderr) = ringbgp(&[
        "run",
        "--manifests",
        directory.path().to_str().unwrap(),
        "--admin",
        admin.to_str().unwrap(),
        "--log-level",
        "error",
    ]);
    assert_eq!(code, 1);
    assert!(
        stderr.contains(&format!("port {port} is taken")),
        "{stderr}"
    );
}

#[test]
fn a_port_that_is_taken_later_is_a_fault_in_force_until_it_is_free() {
    let home = Home::empty();
    let admin = &*home.admin;
    let config = home.directory.path().join("c.yaml");
    let write = |port: u16| fs::write(&config, CONFIG.replace("PORT", &port.to_string())).unwrap();
    let port = free_port();
    write(port);
    let _daemon = Running::start(&home.run());
    wait_until("it listens", || {
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let port = address.port();
    write(port);
    let shown = || ringbgp(&["peers", "--admin", admin]).1;
    let words = format!("Faults in force\n  cannot listen on {address}: port {port} is taken by ");
    wait_until("the fault is shown", || shown().contains(&words));
    drop(taken);
    wait_until("it is mended", || !shown().contains("cannot listen"));
    TcpStream::connect(address).unwrap();
}

const MORE: &str = "apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: more}
spec: {endpointSelector: {}, egress: [{toCIDR: [198.51.100.128/25]}]}
";

const CONFIG: &str = "apiVersion: cilium.io/v2alpha1
kind: CiliumConfig
metadata: {name: cilium-config}
spec: {bgpPeering: {localASN: 65001, listenAddresses: [127.0.0.1], listenPort: PORT}}
";

/// Far more than anything here takes, for slow machines.
const PATIENCE: Duration = Duration::from_secs(20);
