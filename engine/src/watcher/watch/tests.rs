//! The thread on a real directory: what people and tools do to files, and what comes of it.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;

use crossbeam_channel::{Receiver, unbounded};
use tempfile::TempDir;

use super::*;
use crate::watcher::tests::TestHost;

/// Longer than a deletion takes to count.
const QUIET: Duration = Duration::from_millis(250);
/// What inotify says in the moment before the directory is watched comes to light with the next look
/// at it, ten seconds later: more than that.
const PATIENCE: Duration = Duration::from_secs(30);

struct Scene {
    _root: TempDir,
    path: PathBuf,
    deltas: Receiver<Vec<Delta>>,
    routes: BTreeSet<String>,
    watcher: Watcher,
}

const CONFIG: &str = "apiVersion: cilium.io/v2alpha1\nkind: CiliumConfig\n\
    metadata: {name: cilium-config}\nspec:\n  bgpPeering:\n    localASN: 65001\n    \
    guard: {allow: [10.0.0.0/8]}\n    neighbors: [{peerAddress: 10.0.0.6, peerASN: 65001}]\n";

fn policy(name: &str, cidr: &str) -> String {
    format!(
        "---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {{name: {name}}}\n\
         spec: {{endpointSelector: {{}}, egress: [{{toCIDR: [{cidr}]}}]}}\n"
    )
}

impl Scene {
    /// A directory `m` that holds the settings.
    fn new() -> Scene {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("m");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("config.yaml"), CONFIG).unwrap();
        let mut scene = Scene::start(root, path);
        scene.wait_for("the settings", |scene| scene.watcher.state().is_some());
        scene
    }

    fn start(root: TempDir, path: PathBuf) -> Scene {
        Scene::start_after(root, path, None)
    }

    fn start_after(root: TempDir, path: PathBuf, before: Option<Forms>) -> Scene {
        let (sender, deltas) = unbounded();
        let output = move |deltas| sender.send(deltas).unwrap();
        let options = Options::default();
        let watcher = Watcher::start(
            path.clone(),
            options,
            Box::new(TestHost),
            before.map(|before| Keep {
                before,
                changed: bounded(1).0,
            }),
            output,
        )
        .unwrap();
        Scene {
            _root: root,
            path,
            deltas,
            routes: BTreeSet::new(),
            watcher,
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.at(name), text).unwrap();
    }

    fn take(&mut self, deltas: Vec<Delta>) {
        for delta in deltas {
            if let Delta::Origins(_, changes) = delta {
                for change in changes {
                    let prefix = change.prefix.to_string();
                    match change.attributes {
                        Some(_) => self.routes.insert(prefix),
                        None => self.routes.remove(&prefix),
                    };
                }
            }
        }
    }

    #[track_caller]
    fn wait_for(&mut self, what: &str, until: impl Fn(&Scene) -> bool) {
        let clock = Clock::system();
        while !until(self) {
            assert!(
                clock.now() < Time(0) + PATIENCE,
                "{what}: {:?}",
                self.routes
            );
            if let Ok(deltas) = self.deltas.recv_timeout(Duration::from_millis(10)) {
                self.take(deltas);
            }
        }
    }

    #[track_caller]
    fn expect(&mut self, routes: &[&str]) {
        let wanted: BTreeSet<String> = routes.iter().map(ToString::to_string).collect();
        self.wait_for(&format!("{routes:?}"), |scene| scene.routes == wanted);
    }

    /// Nothing at all is told for a while.
    #[track_caller]
    fn expect_quiet(&mut self) {
        if let Ok(deltas) = self.deltas.recv_timeout(QUIET) {
            panic!("{deltas:?}");
        }
    }

    fn said(&self) -> String {
        let knowledge = self.watcher.knowledge.load();
        let lines: Vec<String> = knowledge.faults().iter().map(ToString::to_string).collect();
        lines.join("\n")
    }
}

impl Watcher {
    fn state(&self) -> Option<Arc<DesiredState>> {
        let state = Arc::clone(self.knowledge.load().state());
        (!state.instances.is_empty()).then_some(state)
    }
}

#[test]
fn files_come_change_and_go() {
    let mut scene = Scene::new();
    scene.write("p.yaml", &policy("p", "10.1.0.0/24"));
    scene.expect(&["10.1.0.0/24"]);
    scene.write("p.yaml", &policy("p", "10.2.0.0/24"));
    scene.expect(&["10.2.0.0/24"]);
    scene.write(".hidden.yaml", &policy("q", "10.3.0.0/24"));
    scene.write("notes.txt", &policy("q", "10.3.0.0/24"));
    scene.write("q.json", "{\"apiVersion\": \"v1\", \"kind\": \"Event\"}");
    scene.expect_quiet();
    fs::remove_file(scene.at("p.yaml")).unwrap();
    scene.expect(&[]);
}

#[test]
fn a_half_written_file_changes_nothing() {
    let mut scene = Scene::new();
    let text = policy("p", "10.1.0.0/24") + &policy("q", "10.2.0.0/24");
    scene.write("p.yaml", &text);
    scene.expect(&["10.1.0.0/24", "10.2.0.0/24"]);
    let next = policy("p", "10.1.0.0/24") + &policy("q", "10.3.0.0/24");
    // A writer that is slow.
    let mut file = fs::File::create(scene.at("p.yaml")).unwrap();
    file.write_all(&next.as_bytes()[..policy("p", "10.1.0.0/24").len()])
        .unwrap();
    file.sync_all().unwrap();
    scene.expect_quiet();
    // Another file meanwhile.
    scene.write("r.yaml", &policy("r", "10.9.0.0/24"));
    scene.expect(&["10.1.0.0/24", "10.2.0.0/24", "10.9.0.0/24"]);
    file.write_all(&next.as_bytes()[policy("p", "10.1.0.0/24").len()..])
        .unwrap();
    drop(file);
    scene.expect(&["10.1.0.0/24", "10.3.0.0/24", "10.9.0.0/24"]);
    // A writer that dies.
    let mut file = fs::File::create(scene.at("p.yaml")).unwrap();
    file.write_all(&text.as_bytes()[..text.len() - 20]).unwrap();
    drop(file);
    scene.expect_quiet();
    assert!(
        scene.said().contains("its last good form stays in force"),
        "{}",
        scene.said()
    );
}

#[test]
fn a_file_truncated_and_written_again() {
    let mut scene = Scene::new();
    scene.write("p.yaml", &policy("p", "10.1.0.0/24"));
    scene.expect(&["10.1.0.0/24"]);
    scene.write("p.yaml", "");
    scene.expect_quiet();
    assert!(
        scene.said().contains("no documents any more"),
        "{}",
        scene.said()
    );
    scene.write("p.yaml", &policy("p", "10.1.0.0/24"));
    scene.expect_quiet();
    assert_eq!(scene.said(), "");
}

#[test]
fn renames_withdraw_nothing() {
    let mut scene = Scene::new();
    scene.write("p.yaml", &policy("p", "10.1.0.0/24"));
    scene.expect(&["10.1.0.0/24"]);
    fs::rename(scene.at("p.yaml"), scene.at("q.yaml")).unwrap();
    scene.expect_quiet();
    // As editors save: the old file goes to a backup, a new one is written, the backup goes.
    fs::rename(scene.at("q.yaml"), scene.at("q.yaml~")).unwrap();
    scene.write("q.yaml", &policy("p", "10.1.0.0/24"));
    fs::remove_file(scene.at("q.yaml~")).unwrap();
    scene.expect_quiet();
    // Atomically, as tools do.
    scene.write("q.yaml.tmp", &policy("p", "10.2.0.0/24"));
    fs::rename(scene.at("q.yaml.tmp"), scene.at("q.yaml")).unwrap();
    scene.expect(&["10.2.0.0/24"]);
    // Away for good.
    fs::rename(
        scene.at("q.yaml"),
        scene.path.parent().unwrap().join("q.yaml"),
    )
    .unwrap();
    scene.expect(&[]);
}

#[test]
fn a_directory_that_vanishes_changes_nothing() {
    let mut scene = Scene::new();
    scene.write("p.yaml", &policy("p", "10.1.0.0/24"));
    scene.expect(&["10.1.0.0/24"]);
    let aside = scene.path.with_extension("aside");
    fs::rename(&scene.path, &aside).unwrap();
    scene.expect_quiet();
    assert!(scene.said().contains("can't be listed"), "{}", scene.said());
    fs::rename(&aside, &scene.path).unwrap();
    scene.wait_for("the directory", |scene| scene.said().is_empty());
    scene.write("p.yaml", &policy("p", "10.2.0.0/24"));
    scene.expect(&["10.2.0.0/24"]);
    fs::remove_dir_all(&scene.path).unwrap();
    scene.expect_quiet();
    // It comes back empty, then with one file of two.
    fs::create_dir(&scene.path).unwrap();
    scene.wait_for("a notice", |scene| {
        scene.said().contains("without manifests")
    });
    scene.expect_quiet();
    scene.write("p.yaml", &policy("p", "10.3.0.0/24"));
    scene.expect(&["10.3.0.0/24"]);
    assert!(scene.watcher.state().is_some());
}

#[test]
fn a_directory_that_is_renamed_is_missed_however_it_was_named() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("m");
    fs::create_dir(&path).unwrap();
    let text = CONFIG.to_owned() + &policy("p", "10.1.0.0/24");
    fs::write(path.join("c.yaml"), text).unwrap();
    // As `--manifests m` names it.
    let here = std::env::current_dir().unwrap();
    let up: PathBuf = here.components().skip(1).map(|_| "..").collect();
    let relative = up.join(path.strip_prefix("/").unwrap());
    let mut scene = Scene::start(root, relative);
    scene.expect(&["10.1.0.0/24"]);
    fs::rename(&path, path.with_extension("aside")).unwrap();
    scene.expect_quiet();
    let said = scene.said();
    assert!(said.contains("can't be listed"), "{said:?}");
    assert!(said.contains("it is not there"), "{said:?}");
}

#[test]
fn another_directory_in_its_place_is_followed_at_once() {
    let mut scene = Scene::new();
    scene.write("p.yaml", &policy("p", "10.1.0.0/24"));
    scene.expect(&["10.1.0.0/24"]);
    let next = scene.path.with_extension("next");
    fs::create_dir(&next).unwrap();
    fs::write(next.join("config.yaml"), CONFIG).unwrap();
    fs::write(next.join("p.yaml"), policy("p", "10.2.0.0/24")).unwrap();
    let clock = Clock::system();
    fs::rename(&scene.path, scene.path.with_extension("aside")).unwrap();
    fs::rename(&next, &scene.path).unwrap();
    scene.expect(&["10.2.0.0/24"]);
    assert!(clock.now() < Time(0) + ABSENT_INTERVAL * 2);
    scene.wait_for("no fault", |scene| scene.said().is_empty());
    scene.write("p.yaml", &policy("p", "10.3.0.0/24"));
    scene.expect(&["10.3.0.0/24"]);
}

#[test]
fn a_link_to_the_directory_that_is_led_elsewhere_is_followed() {
    let root = tempfile::tempdir().unwrap();
    for (name, cidr) in [("one", "10.1.0.0/24"), ("two", "10.2.0.0/24")] {
        fs::create_dir(root.path().join(name)).unwrap();
        let text = CONFIG.to_owned() + &policy("p", cidr);
        fs::write(root.path().join(name).join("c.yaml"), text).unwrap();
    }
    let path = root.path().join("m");
    symlink("one", &path).unwrap();
    let mut scene = Scene::start(root, path.clone());
    scene.expect(&["10.1.0.0/24"]);
    symlink("two", path.with_extension("new")).unwrap();
    fs::rename(path.with_extension("new"), &path).unwrap();
    scene.expect(&["10.2.0.0/24"]);
}

#[test]
fn it_waits_for_a_directory() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("later");
    let mut scene = Scene::start(root, path);
    scene.expect_quiet();
    fs::create_dir(&scene.path).unwrap();
    scene.write("c.yaml", &(CONFIG.to_owned() + &policy("p", "10.1.0.0/24")));
    scene.expect(&["10.1.0.0/24"]);
}

#[test]
fn a_config_map_mount_is_swapped_as_one_change() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("m");
    let version = |number: u32, cidrs: [&str; 2]| {
        let data = path.join(format!("..version-{number}"));
        fs::create_dir_all(&data).unwrap();
        fs::write(data.join("config.yaml"), CONFIG).unwrap();
        for (name, cidr) in ["a", "b"].iter().zip(cidrs) {
            fs::write(data.join(format!("{name}.yaml")), policy(name, cidr)).unwrap();
        }
        symlink(data.file_name().unwrap(), path.join("..data_tmp")).unwrap();
        fs::rename(path.join("..data_tmp"), path.join("..data")).unwrap();
    };
    version(1, ["10.1.0.0/24", "10.2.0.0/24"]);
    for name in ["config.yaml", "a.yaml", "b.yaml"] {
        symlink(Path::new("..data").join(name), path.join(name)).unwrap();
    }
    let mut scene = Scene::start(root, path.clone());
    scene.expect(&["10.1.0.0/24", "10.2.0.0/24"]);
    version(2, ["10.3.0.0/24", "10.4.0.0/24"]);
    let deltas = scene.deltas.recv_timeout(PATIENCE).unwrap();
    assert!(
        matches!(&deltas[..], [Delta::Origins(_, changes)] if changes.len() == 4),
        "{deltas:?}"
    );
    scene.expect_quiet();
}

#[test]
fn many_files_at_once() {
    let mut scene = Scene::new();
    for i in 0..500 {
        scene.write(
            &format!("{i}.yaml"),
            &policy(&format!("p{i}"), &format!("10.1.{}.{}/32", i >> 8, i & 255)),
        );
    }
    scene.wait_for("all", |scene| scene.routes.len() == 500);
    for i in 0..500 {
        fs::remove_file(scene.at(&format!("{i}.yaml"))).unwrap();
    }
    scene.expect(&[]);
}

#[test]
fn special_files_do_not_hold_it_up() {
    let mut scene = Scene::new();
    let fifo = scene.at("fifo.yaml");
    let status = std::process::Command::new("mkfifo").arg(&fifo).status();
    if !status.is_ok_and(|status| status.success()) {
        println!("skipped: no mkfifo");
        return;
    }
    symlink("/dev/zero", scene.at("zero.yaml")).unwrap();
    symlink("nowhere", scene.at("dangling.yaml")).unwrap();
    scene.write("p.yaml", &policy("p", "10.1.0.0/24"));
    scene.expect(&["10.1.0.0/24"]);
    assert!(
        scene.said().contains("not a regular file"),
        "{}",
        scene.said()
    );
}

#[test]
fn questions_are_answered_from_the_newest_state() {
    let mut scene = Scene::new();
    scene.write("p.yaml", &policy("p", "10.1.0.0/24, 127.0.0.0/8"));
    scene.expect(&["10.1.0.0/24"]);
    let knowledge = scene.watcher.knowledge().load_full();
    let net: ipnet::IpNet = "10.1.0.0/24".parse().unwrap();
    assert!(knowledge.explain(net.into()).originated);
    let source = knowledge.source("default", net.into()).unwrap();
    assert_eq!(&*source.name, "p");
    assert!(knowledge.source("other", net.into()).is_none());
    assert!(
        knowledge
            .faults()
            .iter()
            .any(|f| f.message.contains("127.0.0.0/8"))
    );
}

#[test]
#[ignore = "a measurement"]
fn from_a_written_file_to_its_deltas() {
    let scene = Scene::new();
    let clock = Clock::system();
    let mut times: Vec<Duration> = (0..500)
        .map(|round| {
            let cidrs = (0..100).map(|i| format!("10.{}.{i}.0/32", round % 250));
            let text = policy("p", &cidrs.collect::<Vec<_>>().join(", "));
            let path = scene.at("p.yaml");
            // Writing counts too: the thread is often done before the writer runs on.
            let start = clock.now();
            fs::write(&path, text).unwrap();
            scene.deltas.recv_timeout(PATIENCE).unwrap();
            clock.now().saturating_since(start)
        })
        .collect();
    times.sort_unstable();
    println!(
        "p50 {:?} p99 {:?} max {:?}",
        times[250], times[495], times[499]
    );
}

/// What was kept of a directory whose one policy asked for 10.1.0.0/24, and that directory.
fn kept() -> (TempDir, PathBuf, Forms) {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("m");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("config.yaml"), CONFIG).unwrap();
    fs::write(path.join("p.yaml"), policy("p", "10.1.0.0/24")).unwrap();
    let mut scene = Scene::start_after(root, path, Some(Forms::default()));
    scene.expect(&["10.1.0.0/24"]);
    let forms = scene.watcher.knowledge.load().forms().clone();
    (scene._root, scene.path, forms)
}

#[test]
fn what_was_in_force_before_a_restart_is_so_where_it_broke_meanwhile() {
    let (root, path, before) = kept();
    fs::write(path.join("p.yaml"), policy("p", "10.1.0.0/99")).unwrap();
    fs::write(path.join("q.yaml"), policy("q", "10.2.0.0/24")).unwrap();
    let mut scene = Scene::start_after(root, path, Some(before));
    scene.expect(&["10.1.0.0/24", "10.2.0.0/24"]);
    assert!(scene.said().contains("10.1.0.0/99"), "{}", scene.said());
    scene.write("p.yaml", &policy("p", "10.3.0.0/24"));
    scene.expect(&["10.2.0.0/24", "10.3.0.0/24"]);
}

#[test]
fn a_file_that_went_while_nobody_looked_is_deleted() {
    let (root, path, before) = kept();
    fs::remove_file(path.join("p.yaml")).unwrap();
    let mut scene = Scene::start_after(root, path, Some(before));
    scene.write("q.yaml", &policy("q", "10.2.0.0/24"));
    scene.expect(&["10.2.0.0/24"]);
}

#[test]
fn nothing_is_asked_for_until_the_directory_is_there() {
    let (root, path, before) = kept();
    let away = path.with_file_name("away");
    fs::rename(&path, &away).unwrap();
    let mut scene = Scene::start_after(root, path.clone(), Some(before));
    let clock = Clock::system();
    while !scene.said().contains("it is not there") {
        assert!(clock.now() < Time(0) + PATIENCE, "{}", scene.said());
        thread::sleep(Duration::from_millis(5));
    }
    scene.expect_quiet();
    fs::write(away.join("p.yaml"), policy("p", "10.1.0.0/99")).unwrap();
    fs::rename(&away, &path).unwrap();
    scene.expect(&["10.1.0.0/24"]);
}
