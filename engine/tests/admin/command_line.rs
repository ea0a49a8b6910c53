//! The binary as scripts meet it: exit codes, what goes to which stream.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;

use engine::admin::model::DrainState;
use engine::admin::{server, socket::AdminSocket};

use crate::fake::Fake;

/// Runs the binary; gives exit code, standard output, standard error.
pub(crate) fn ringbgp(arguments: &[&str]) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_ringbgp"))
        .args(arguments)
        .output()
        .unwrap();
    (
        status.code().unwrap(),
        String::from_utf8(stdout).unwrap(),
        String::from_utf8(stderr).unwrap(),
    )
}

/// Serves the fake engine on `path` for as long as the test runs.
fn serve_fake(path: &Path) {
    serve(path, Fake::default());
}

fn serve(path: &Path, fake: Fake) {
    let socket = AdminSocket::bind(path).unwrap();
    thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(server::serve(socket, fake))
    });
}

#[test]
fn usage_is_2_and_help_and_version_are_0() {
    assert_eq!(ringbgp(&["frobnicate"]).0, 2);
    assert_eq!(ringbgp(&["routes"]).0, 2);
    assert_eq!(ringbgp(&["routes", "available", "--longer"]).0, 2);
    for (two, said) in [
        (
            ["10.1.0.0/24", "10.2.0.0/24"],
            "one prefix too many after 10.1.0.0/24",
        ),
        (["ipv4", "ipv6"], "one family too many after ipv4"),
    ] {
        let (code, _, stderr) = ringbgp(&[&["routes", "available"], &two[..]].concat());
        assert_eq!(code, 2);
        assert!(stderr.contains(said), "{stderr}");
    }
    let (code, _, stderr) = ringbgp(&["explain", "10.0.1.7/24"]);
    assert_eq!(code, 2);
    assert!(
        stderr.contains("host bits set; write 10.0.1.0/24"),
        "{stderr}"
    );
    assert_eq!(ringbgp(&["--help"]).0, 0);
    let (code, _, stderr) = ringbgp(&["run", "--manifests", "/nowhere", "--log-level", "loud"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("\"loud\" is not a log level"), "{stderr}");
    let (code, stdout, _) = ringbgp(&["--version"]);
    assert_eq!(code, 0);
    assert!(stdout.starts_with("ringbgp 0."), "{stdout}");
}

#[test]
fn no_daemon_is_3_with_the_mend_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nobody.sock");
    for command in [&["peers"][..], &["explain", "10.0.0.0/8"], &["reset"]] {
        let admin = ["--admin", path.to_str().unwrap()];
        let (code, stdout, stderr) = ringbgp(&[command, &admin].concat());
        assert_eq!((code, stdout.as_str()), (3, ""));
        assert!(stderr.contains("start it with `ringbgp run`"), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

#[test]
fn answers_go_to_standard_output_in_the_form_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ringbgp.sock");
    serve_fake(&path);
    let admin = path.to_str().unwrap();

    let (code, stdout, stderr) = ringbgp(&["peers", "--admin", admin]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.contains("10.0.0.6"), "{stdout}");
    assert!(stdout.contains("connection refused"), "{stdout}");

    let (code, stdout, _) = ringbgp(&["routes", "available", "-o", "json", "--admin", admin]);
    assert_eq!(code, 0);
    let routes: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(routes[0]["prefix"], "10.0.1.0/24", "pages make one array");
    assert_eq!(routes[1]["prefix"], "2001:db8::/32");
    assert_eq!(routes[0]["nextHop"], serde_json::Value::Null);

    let (code, stdout, _) = ringbgp(&["reset", "10.0.0.6", "--admin", admin]);
    assert_eq!((code, stdout.as_str()), (0, "1 peer reset.\n"));
    // Of all, this one is none.
    let (code, stdout, stderr) = ringbgp(&["reset", "--admin", admin]);
    assert_eq!((code, &*stdout), (0, "No peer reset.\n"));
    assert_eq!(
        stderr,
        "ringbgp: 10.0.0.6 was not reset: it has no session\n"
    );

    let (code, stdout, _) = ringbgp(&["refresh", "10.0.0.6", "--admin", admin]);
    assert_eq!((code, &*stdout), (0, "1 peer asked for its routes.\n"));

    assert_eq!(ringbgp(&["drain", "--wait", "60", "--admin", admin]).0, 2);
    let (code, stdout, _) = ringbgp(&["undrain", "--admin", admin]);
    assert_eq!((code, &*stdout), (0, "No peer was drained.\n"));
}

#[test]
fn drained_is_who_is_drained_in_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("drained.sock");
    let drain = Some(DrainState::Drained);
    serve(&path, Fake { drain });
    let drain = ["drain", "10.0.0.6", "--wait", "0s", "--admin"];
    let (code, stdout, _) = ringbgp(&[&drain[..], &[path.to_str().unwrap()]].concat());
    assert_eq!(code, 0);
    assert!(stdout.starts_with("1 peer drained; "), "{stdout}");
    // By the next look somebody said `undrain`.
    let path = directory.path().join("undrained.sock");
    serve_fake(&path);
    let (code, stdout, stderr) = ringbgp(&[&drain[..], &[path.to_str().unwrap()]].concat());
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert_eq!(
        stderr,
        "ringbgp: the drain was ended by `undrain` after 0 s: 1 of 1 peer is not drained \
         (10.0.0.6)\n"
    );
}

#[test]
fn what_is_watched_is_one_line_each_until_the_daemon_stops() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ringbgp.sock");
    serve_fake(&path);
    let admin = path.to_str().unwrap();
    let (code, stdout, stderr) = ringbgp(&["watch", "--admin", admin]);
    let lost = "(3 UPDATEs and changes of sessions are not shown: too many at once)";
    assert_eq!(stdout, format!("10.0.0.6 - 10.0.1.0/24\n{lost}\n"));
    assert_eq!(code, 3);
    assert!(stderr.contains("stopped"), "{stderr}");
    let (_, stdout, _) = ringbgp(&["watch", "-o", "json", "--admin", admin]);
    let lines: Vec<serde_json::Value> = stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        (&lines[0]["event"], &lines[0]["safi"]),
        (&"withdrawn".into(), &"unicast".into())
    );
    assert_eq!(lines[1], serde_json::json!({"event": "lost", "count": 3}));
}

#[test]
fn check_names_faults_and_says_what_would_be_announced() {
    let quickstart = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/quickstart");
    let check = ["check", "--node-name", "node-1", "--manifests"];
    let (code, stdout, stderr) = ringbgp(&[&check[..], &[quickstart]].concat());
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.contains("  to 127.0.0.2, next hop "), "{stdout}");
    assert!(!stdout.contains("Note: "), "the manifests say next hops");

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    fs::write(directory.path().join("p.yaml"), POLICY_WITH_HOST_BITS).unwrap();
    let (code, stdout, stderr) = ringbgp(&[&check[..], &[path, "-o", "json"]].concat());
    assert_eq!((code, stderr.as_str()), (0, ""), "warnings pass");
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(report["announcements"], serde_json::json!([]));
    assert_eq!(ringbgp(&[&check[..], &[path, "--strict"]].concat()).0, 1);

    fs::write(directory.path().join("c.yaml"), "a: [").unwrap();
    let (code, _, stderr) = ringbgp(&[&check[..], &[path]].concat());
    assert_eq!(code, 1);
    assert!(stderr.contains("c.yaml:1: "), "{stderr}");
    assert!(stderr.contains("p.yaml:5: warning: "), "{stderr}");
}

const POLICY_WITH_HOST_BITS: &str = "apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: p}
spec:
  egress: [{toCIDR: [10.0.1.7/24]}]
";

#[test]
fn what_the_daemon_does_not_know_is_1() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ringbgp.sock");
    serve_fake(&path);
    let admin = path.to_str().unwrap();

    let (code, stdout, stderr) = ringbgp(&["peers", "--instance", "blue", "--admin", admin]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert_eq!(stderr, "ringbgp: there is no instance \"blue\"\n");
}
