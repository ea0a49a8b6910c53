//! `ringbgp watch` beside a daemon that runs.

use tempfile::TempDir;

use crate::daemon::{Daemon, config, policy};
use crate::process::eventually;
use crate::scripted::{Addresses, Peer, RINGBGP_ASN};

const PEER: u8 = 10;
const THEIRS: &str = "203.0.113.0/24";

#[test]
fn sessions_and_routes_are_shown_as_they_change() {
    let addresses = Addresses::new();
    let neighbor = addresses.neighbor(PEER, "import: all");
    let config = config(RINGBGP_ASN, &addresses.options(), &[neighbor]);
    let daemon = Daemon::start(None, &[("config.yaml", &config)]);
    let directory = TempDir::new().expect("a temporary directory");
    let watch = daemon.watch(&directory.path().join("watch.log"));
    // It shows what happens once it is there.
    let mut number = 0;
    eventually("own routes are shown", || {
        number += 1;
        let prefix = format!("10.0.{number}.0/24");
        daemon.write("own.yaml", &policy("own", &[&prefix]));
        let shown = watch.log();
        shown.contains("self + 10.0.").then_some(()).ok_or(shown)
    });
    let shows = |words: &str| {
        eventually(&format!("{words:?} is shown"), || {
            let shown = watch.log();
            shown.contains(words).then_some(()).ok_or(shown)
        });
    };
    let peer = addresses.host(PEER);
    let mut session = Peer::establish(addresses, PEER);
    shows(&format!("{peer} openConfirm -> established\n"));
    session.announce(THEIRS);
    shows(&format!(
        "{peer} + {THEIRS} via 192.0.2.10, AS path 65002 IGP, best\n"
    ));
    daemon.write(
        "config.yaml",
        &config.replace("import: all", "import: none-of-it"),
    );
    shows(&format!(
        "{peer} ~ {THEIRS} via 192.0.2.10, AS path 65002 IGP, not accepted: "
    ));
    session.withdraw(THEIRS);
    shows(&format!("{peer} - {THEIRS}\n"));
    daemon.remove("own.yaml");
    shows("self - 10.0.");
    drop(session);
    shows(&format!("{peer} established -> "));
}
