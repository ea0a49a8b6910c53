//! The watcher's thread: events of the directory in, deltas out.
//!
//! Whatever events wait are one change, carried out at once when no more wait: there is no timer
//! between a closed file and its deltas. The thread sleeps while nothing happens, but for two looks
//! at what sends no events: every ten seconds, whether the directory is still the one that is followed
//! (a watch stays with a directory that is renamed, mounted over, or led to by a link); and now and
//! then the machine's addresses and password files.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};
use notify::event::{AccessKind, AccessMode, Event, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

use super::directory::{Changes, Directory};
use super::evaluate::{Options, evaluate};
use super::fault::{Fault, Severity};
use super::gateways::Gateways;
use super::host::{Host, HostNetwork};
use super::knowledge::{Knowledge, SharedKnowledge};
use super::store::Forms;
use super::unmet::Unmet;
use crate::config::{Delta, DesiredState, Password, diff};
use crate::time::{Clock, Time};

/// Events that may wait; past it the directory is read anew instead.
const EVENTS_MAX: usize = 4096;
/// Between two looks whether the directory is still the same: one question to the kernel.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// Between two looks at the machine's addresses and the password files.
const SURROUNDINGS_INTERVAL: Duration = Duration::from_secs(30);
/// Between two looks for a directory that is not there.
const ABSENT_INTERVAL: Duration = Duration::from_millis(500);

/// For a watcher whose resources outlive the process.
#[derive(Debug)]
pub struct Keep {
    /// What was in force before; counts once the directory can be listed.
    pub before: Forms,
    /// Told of each change, after it is in the knowledge; one note is as good as many.
    pub changed: Sender<()>,
}

/// The running thread. Dropping it stops it.
pub struct Watcher {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    knowledge: SharedKnowledge,
}

impl Watcher {
    /// Starts to follow `directory`; it need not exist yet. `output` gets every change once, on
    /// the watcher's thread.
    ///
    /// # Errors
    /// The machine has no thread left.
    pub fn start(
        directory: PathBuf,
        options: Options,
        host: Box<dyn Host>,
        keep: Option<Keep>,
        output: impl FnMut(Vec<Delta>) + Send + 'static,
    ) -> io::Result<Watcher> {
        let (stop, stopped) = bounded(0);
        let knowledge = SharedKnowledge::default();
        let shared = Arc::clone(&knowledge);
        let thread = thread::Builder::new()
            .name("watcher".into())
            .spawn(move || {
                let output = Box::new(output);
                let follower = Follower::new(&directory, options, host, keep, output, shared);
                follower.run(&stopped);
            })?;
        Ok(Watcher {
            stop: Some(stop),
            thread: Some(thread),
            knowledge,
        })
    }

    /// What it knows, for `peers`, `explain` and the log.
    pub fn knowledge(&self) -> SharedKnowledge {
        Arc::clone(&self.knowledge)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the watcher's thread panicked");
        }
    }
}

type Output = Box<dyn FnMut(Vec<Delta>) + Send>;

struct Follower {
    clock: Clock,
    directory: Directory,
    events: Receiver<notify::Result<Event>>,
    sender: Sender<notify::Result<Event>>,
    overflow: Arc<AtomicBool>,
    /// What was in force before the process began, until the directory is listed.
    before: Option<Forms>,
    /// None while the directory is not there.
    watch: Option<RecommendedWatcher>,
    next_look: Time,
    next_surroundings: Time,
    turn: Turn,
    /// Why the directory is not there.
    absent: Option<String>,
}

/// What becomes of a change in the store.
struct Turn {
    changed: Option<Sender<()>>,
    options: Options,
    host: Box<dyn Host>,
    output: Output,
    shared: SharedKnowledge,
    gateways: Gateways,
    unmet: Unmet,
    state: Arc<DesiredState>,
    network: HostNetwork,
    said: Vec<Fault>,
    passed_over: BTreeSet<String>,
}

impl Follower {
    fn new(
        path: &Path,
        options: Options,
        host: Box<dyn Host>,
        keep: Option<Keep>,
        output: Output,
        shared: SharedKnowledge,
    ) -> Follower {
        let (before, changed) = keep.map(|keep| (keep.before, keep.changed)).unzip();
        let (sender, events) = bounded(EVENTS_MAX);
        Follower {
            clock: Clock::system(),
            directory: Directory::new(path, &options.node_name),
            events,
            sender,
            overflow: Arc::new(AtomicBool::new(false)),
            watch: None,
            next_look: Time(0),
            next_surroundings: Time(0),
            before,
            turn: Turn {
                changed,
                options,
                host,
                output,
                shared,
                gateways: Gateways::default(),
                unmet: Unmet::default(),
                state: Arc::default(),
                network: HostNetwork::default(),
                said: Vec::new(),
                passed_over: BTreeSet::new(),
            },
            absent: None,
        }
    }

    fn run(mut self, stopped: &Receiver<()>) {
        self.appear();
        loop {
            let now = self.clock.now();
            let due = self.directory.poll_timeout();
            let wake = due.map_or(self.next_look, |due| due.min(self.next_look));
            let first = select! {
                recv(stopped) -> _ => return,
                recv(self.events) -> event => event.ok(),
                default(wake.saturating_since(now)) => None,
            };
            let mut changes = Changes::default();
            if let Some(event) = first {
                changes.add(self.directory.watched(), &event);
            }
            self.follow(changes);
            self.delete_due();
            if self.clock.now() >= self.next_look {
                self.look();
            }
        }
    }

    /// Carries out what waits, until nothing does.
    fn follow(&mut self, mut changes: Changes) {
        loop {
            self.drain(&mut changes);
            if changes.is_empty() || self.watch.is_none() {
                return;
            }
            let now = self.clock.now();
            let staged = match self.directory.stage_changes(now, changes) {
                Ok(staged) => staged,
                Err(_) => return self.lose(),
            };
            // What was heard meanwhile may concern what was just read.
            changes = Changes::default();
            self.drain(&mut changes);
            if self.directory.commit(now, staged, &changes) {
                self.turn.take(&mut self.directory);
            }
        }
    }

    fn drain(&mut self, changes: &mut Changes) {
        for event in self.events.try_iter() {
            changes.add(self.directory.watched(), &event);
        }
        if self.overflow.swap(false, Ordering::Relaxed) {
            tracing::warn!("more happens in the directory than can be followed: it is read anew");
            let rescan = Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
            changes.add(self.directory.watched(), &Ok(rescan));
        }
    }

    fn delete_due(&mut self) {
        match self.directory.handle_timeout(self.clock.now()) {
            Ok(true) => self.turn.take(&mut self.directory),
            Ok(false) => {}
            Err(_) => self.lose(),
        }
    }

    /// The looks at what sends no events.
    fn look(&mut self) {
        if self.watch.is_none() {
            return self.appear();
        }
        let now = self.clock.now();
        self.next_look = now + LOOK_INTERVAL;
        if !self.directory.is_same() {
            return self.lose();
        }
        if now < self.next_surroundings {
            return;
        }
        self.next_surroundings = now + SURROUNDINGS_INTERVAL;
        if self.turn.surroundings_changed() {
            self.turn.take(&mut self.directory);
        }
    }

    /// Starts to follow the directory, if it is there.
    fn appear(&mut self) {
        // First the watch, then the look: nothing falls between them.
        let listed = self.watch_directory().and_then(|watch| {
            if self.before.is_some() {
                // What is put in before the first scan is missed by it where it is gone.
                self.directory.check()?;
            }
            if let Some(before) = self.before.take() {
                self.directory.store().restore(before);
            }
            let staged = self.directory.scan(self.clock.now())?;
            Ok((watch, staged))
        });
        match listed {
            Ok((watch, staged)) => {
                self.watch = Some(watch);
                self.absent = None;
                self.next_look = self.clock.now() + LOOK_INTERVAL;
                let mut changes = Changes::default();
                self.drain(&mut changes);
                self.directory.commit(self.clock.now(), staged, &changes);
                tracing::info!(directory = %self.directory.path().display(), "following the manifests");
                self.turn.take(&mut self.directory);
                self.follow(changes);
            }
            Err(error) => self.disappear(&error),
        }
    }

    /// The directory that was followed is not at its path any more; another may be there already.
    fn lose(&mut self) {
        self.watch = None;
        // What the old one still had to say concerns nobody.
        for _ in self.events.try_iter() {}
        self.directory.set_away();
        self.appear();
    }

    fn disappear(&mut self, error: &io::Error) {
        self.watch = None;
        self.next_look = self.clock.now() + ABSENT_INTERVAL;
        let message = match error.kind() {
            io::ErrorKind::NotFound => "it is not there".into(),
            _ => error.to_string(),
        };
        if self.absent.as_ref() != Some(&message) {
            self.directory.set_lost(&message);
            self.absent = Some(message);
            self.turn.take(&mut self.directory);
        }
    }

    fn watch_directory(&self) -> io::Result<RecommendedWatcher> {
        let sender = self.sender.clone();
        let overflow = Arc::clone(&self.overflow);
        let handler = move |event: notify::Result<Event>| {
            // Our own reading makes events too; nobody is woken for those.
            if is_telling(&event) && sender.try_send(event).is_err() {
                overflow.store(true, Ordering::Relaxed);
            }
        };
        let config = notify::Config::default();
        let mut watch = RecommendedWatcher::new(handler, config).map_err(into_io)?;
        watch
            .watch(self.directory.watched(), RecursiveMode::NonRecursive)
            .map_err(into_io)?;
        Ok(watch)
    }
}

impl Turn {
    /// Works out what is in force now and tells the difference.
    fn take(&mut self, directory: &mut Directory) {
        let store = directory.store();
        let in_force = store.settle();
        let forms = Arc::new(store.forms());
        self.log_passed_over(store.passed_over());
        self.gateways.follow(&in_force, &*self.host);
        let evaluation = evaluate(
            &in_force,
            &*self.host,
            &self.options,
            &self.gateways,
            &self.state,
        );
        self.network = self.host.network();
        let mut faults = in_force.faults.clone();
        faults.extend(evaluation.warnings);
        faults.extend_from_slice(self.unmet.warnings(&in_force));
        faults.sort_unstable();
        faults.dedup();
        self.log_faults(&faults);
        let deltas = diff(&self.state, &evaluation.state);
        let before = std::mem::replace(&mut self.state, Arc::new(evaluation.state));
        self.shared.store(Arc::new(Knowledge {
            is_read: true,
            in_force: Arc::new(in_force),
            network: Arc::new(self.network.clone()),
            options: self.options.clone(),
            state: Arc::clone(&self.state),
            faults: faults.into(),
            forms,
        }));
        if let Some(changed) = &self.changed {
            // Full: it is told already.
            let _ = changed.try_send(());
        }
        if !deltas.is_empty() {
            log_change(&deltas);
            (self.output)(deltas);
        }
        // A large state takes its time to go; nobody waits for that any more.
        drop(before);
    }

    /// Whether the machine, or a file with a password, may have changed.
    fn surroundings_changed(&self) -> bool {
        let instances = || self.state.instances.values();
        let named = instances().flat_map(|instance| instance.neighbors.values());
        let dynamic = instances().flat_map(|instance| instance.dynamic_neighbors.values());
        let named = named.map(|neighbor| &neighbor.password);
        let mut passwords = named.chain(dynamic.map(|range| &range.settings.password));
        passwords.any(|password| *password != Password::None) || self.host.network() != self.network
    }

    /// Each once, when it comes up, and once more when it is mended.
    fn log_faults(&mut self, faults: &[Fault]) {
        for fault in faults {
            if self.said.binary_search(fault).is_err() {
                match fault.severity {
                    Severity::Fault => tracing::error!("{fault}"),
                    Severity::Warning => tracing::warn!("{fault}"),
                }
            }
        }
        let is_open = |fault: &Fault| faults.binary_search(fault).is_ok();
        for fault in self.said.iter().filter(|fault| !is_open(fault)) {
            tracing::info!("no longer: {fault}");
        }
        self.said = faults.to_vec();
    }

    fn log_passed_over(&mut self, kinds: BTreeMap<&str, usize>) {
        for (kind, count) in kinds {
            if self.passed_over.insert(kind.to_owned()) {
                tracing::info!(kind, count, "this kind is not read");
            }
        }
    }
}

/// One line a change, however many routes it has.
fn log_change(deltas: &[Delta]) {
    let (mut announced, mut withdrawn, mut settings) = (0, 0, 0);
    for delta in deltas {
        match delta {
            Delta::Origins(_, changes) => {
                let gone = changes.iter().filter(|change| change.attributes.is_none());
                let gone = gone.count();
                withdrawn += gone;
                announced += changes.len() - gone;
            }
            _ => settings += 1,
        }
    }
    tracing::info!(
        announced,
        withdrawn,
        settings,
        "the resources ask for a change"
    );
}

/// Whether an event can change anything.
fn is_telling(event: &notify::Result<Event>) -> bool {
    let Ok(event) = event else {
        return true;
    };
    match event.kind {
        EventKind::Access(kind) => kind == AccessKind::Close(AccessMode::Write),
        EventKind::Modify(ModifyKind::Metadata(_)) => false,
        _ => true,
    }
}

fn into_io(error: notify::Error) -> io::Error {
    match error.kind {
        notify::ErrorKind::Io(error) => error,
        notify::ErrorKind::PathNotFound => io::ErrorKind::NotFound.into(),
        notify::ErrorKind::MaxFilesWatch => io::Error::other(
            "the limit on inotify watches is reached; raise fs.inotify.max_user_watches",
        ),
        _ => io::Error::other(error),
    }
}

#[cfg(test)]
mod tests;
