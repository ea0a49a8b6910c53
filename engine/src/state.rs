//! What survives the process in `--state DIR`: the proof that this is a restart, and the last good
//! form of every resource.
//!
//! Graceful restart (RFC 4724) has a speaker say in OPEN that it restarted and that it still forwards
//! what it told before. That is only so if the machine has not started anew meanwhile, if this is the
//! same node reading the same source, and if nothing that was announced is forgotten because its
//! manifest is broken just now. So exactly that is kept: boot id, node and source, the texts that the
//! resources in force came from, what was announced, and who was asked to keep it. A file that says otherwise, or cannot be
//! read whole, is not used, and that is said in one sentence. One of another node of this boot is left
//! as it is, since that node has it still to find: a name that was mistyped costs nobody's routes.
//!
//! The directory is one daemon's, which holds a lock on it for as long as it runs: another one would
//! take this one's routes for its own, and either would overwrite what the other has to find.
//!
//! Written by a thread of its own, at most once a second, and once more at the end; a file is replaced
//! as a whole. It holds the texts of Secrets: only its owner may read it. Nothing is flushed to the
//! disk: what a power failure loses belongs to a boot that is over.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::Receiver;
use serde::{Deserialize, Serialize};

use crate::config::Keepers;
use crate::time::Clock;
use crate::watcher::{Forms, Knowledge, SharedKnowledge};

/// The file in the directory.
const NAME: &str = "state";
/// The least time between two writings.
const INTERVAL: Duration = Duration::from_secs(1);
/// The first line of the file, before checksum and length.
const MAGIC: &str = "ringbgp-state-1";
/// More than any node's manifests; what is larger is damaged.
const OCTETS_MAX: u64 = 1 << 30;

/// Whose state it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Belongs {
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot: String,
    /// The source of the resources.
    pub source: String,
    /// The node's name.
    pub node: String,
}

/// What is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Saved {
    /// Whose it is.
    pub belongs: Belongs,
    /// Where the resources in force came from.
    pub forms: Forms,
    /// The own routes that were announced, by instance.
    pub announced: BTreeMap<String, Vec<String>>,
    /// Who was asked to keep them; none: the file is of a version that did not say, and whoever is asked
    /// now is held to have been.
    #[serde(default)]
    pub keepers: Option<Keepers>,
}

impl Belongs {
    /// This boot of this machine, and this node reading this directory.
    ///
    /// # Errors
    /// One sentence: the machine does not say which boot it is.
    pub fn here(directory: &Path, node: &str) -> Result<Belongs, String> {
        let boot = fs::read_to_string(BOOT_ID).map_err(|error| {
            format!("{BOOT_ID} cannot be read ({error}); start without --state")
        })?;
        let directory = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
        Ok(Belongs {
            boot: boot.trim().to_owned(),
            source: format!("manifests {}", directory.display()),
            node: node.to_owned(),
        })
    }

    /// Why state of `other` is not ours to use.
    fn refuses(&self, other: &Belongs) -> Option<Unused> {
        let is_not = |what: &str, theirs: &str, ours: &str| {
            format!("it is of {what} {theirs:?}, and this is {ours:?}")
        };
        match (self, other) {
            _ if self.boot != other.boot => {
                Some("it is of another boot of this machine".to_owned().into())
            }
            _ if self.node != other.node => Some(Unused {
                why: is_not("node", &other.node, &self.node),
                is_anothers: true,
            }),
            _ if self.source != other.source => {
                Some(is_not("source", &other.source, &self.source).into())
            }
            _ => None,
        }
    }
}

/// Why a file is not used.
#[derive(Debug)]
struct Unused {
    why: String,
    /// Another node has it still to find. All else is of no use to anybody.
    is_anothers: bool,
}

impl From<String> for Unused {
    fn from(why: String) -> Unused {
        Unused {
            why,
            is_anothers: false,
        }
    }
}

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The state directory of a running node.
#[derive(Debug)]
pub struct StateDirectory {
    path: PathBuf,
    belongs: Belongs,
    /// Locked; none where the file system knows no locks. The kernel lets it go with the process.
    _lock: Option<fs::File>,
}

/// The file that is locked; it says which process did that last.
const LOCK: &str = "lock";

impl StateDirectory {
    /// Makes the directory if it is not there, and looks whether it can be written to and is nobody
    /// else's.
    ///
    /// # Errors
    /// One sentence with the mend.
    pub fn open(path: &Path, belongs: Belongs) -> Result<StateDirectory, String> {
        let unwritable = |error: io::Error| {
            format!(
                "--state {} cannot be written to ({error}); name a directory of this user's",
                path.display()
            )
        };
        let mut builder = fs::DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(path);
        made.map_err(unwritable)?;
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let lock = options.mode(0o600).open(path.join(LOCK));
        let directory = StateDirectory {
            path: path.to_owned(),
            belongs,
            _lock: lock_for_life(lock.map_err(unwritable)?, path)?,
        };
        directory.create_new().map_err(unwritable)?;
        Ok(directory)
    }

    /// What was saved, if it is ours and whole, and the directory, if it is ours to write to. What is
    /// not is said, once.
    pub fn load(self) -> (Option<StateDirectory>, Option<Saved>) {
        match self.read() {
            Ok(saved) => {
                if let Some(saved) = &saved {
                    tracing::info!(
                        routes = saved.announced.values().map(Vec::len).sum::<usize>(),
                        "this is a restart: the process before announced routes that peers may keep"
                    );
                }
                (Some(self), saved)
            }
            Err(Unused { why, is_anothers }) => {
                let file = self.path.join(NAME);
                let file = file.display();
                if is_anothers {
                    tracing::error!(
                        "{file} is neither used nor overwritten: {why}; nothing is kept for a restart: \
                         start with that --node-name, or with --state and a directory of this node's \
                         own, or remove the file if that node is gone"
                    );
                    return (None, None);
                }
                tracing::warn!(
                    "{file} is not used: {why}; routes are announced as after a first start"
                );
                (Some(self), None)
            }
        }
    }

    fn read(&self) -> Result<Option<Saved>, Unused> {
        let file = self.path.join(NAME);
        let octets = match fs::metadata(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string().into()),
            Ok(metadata) if metadata.len() > OCTETS_MAX => {
                return Err("it is damaged: it is far too long".to_owned().into());
            }
            Ok(_) => fs::read(&file).map_err(|error| error.to_string())?,
        };
        let body = unsealed(&octets)
            .ok_or_else(|| "it is damaged: its checksum is not that of its text".to_owned())?;
        let saved: Saved = serde_json::from_slice(body).map_err(|error| {
            format!("it is damaged, or of another version of ringbgp ({error})")
        })?;
        match self.belongs.refuses(&saved.belongs) {
            Some(why) => Err(why),
            None => Ok(Some(saved)),
        }
    }

    fn write(&self, knowledge: &Knowledge) -> io::Result<()> {
        let saved = Saved {
            belongs: self.belongs.clone(),
            forms: knowledge.forms().clone(),
            announced: knowledge.announced(),
            keepers: Some(knowledge.keepers()),
        };
        let body = serde_json::to_vec(&saved)?;
        let mut file = self.create_new()?;
        file.write_all(seal(&body).as_bytes())?;
        file.write_all(&body)?;
        fs::rename(self.path.join(TEMPORARY), self.path.join(NAME))
    }

    fn create_new(&self) -> io::Result<fs::File> {
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        options.open(self.path.join(TEMPORARY))
    }
}

/// Takes the lock, and writes into it who has it. None: there is no such thing here.
///
/// # Errors
/// One sentence with the mend: another daemon has it.
fn lock_for_life(mut lock: fs::File, directory: &Path) -> Result<Option<fs::File>, String> {
    match lock.try_lock() {
        Ok(()) => {
            // For people only: who cannot be named is another process all the same.
            let _ = lock
                .set_len(0)
                .and_then(|()| lock.rewind())
                .and_then(|()| writeln!(lock, "{}", std::process::id()));
            Ok(Some(lock))
        }
        Err(fs::TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let named = lock.read_to_string(&mut holder).is_ok() && !holder.trim().is_empty();
            let holder = match named {
                true => format!("another daemon, process {}", holder.trim()),
                false => "another daemon".to_owned(),
            };
            Err(format!(
                "--state {} is in use by {holder}; stop that one, or name a directory of this \
                 daemon's own",
                directory.display()
            ))
        }
        Err(fs::TryLockError::Error(error)) => {
            tracing::warn!(
                "--state {} cannot be locked ({error}): see to it that no other daemon is started \
                 with it",
                directory.display()
            );
            Ok(None)
        }
    }
}

/// What is being written.
const TEMPORARY: &str = "state.new";

/// The line before a text.
fn seal(body: &[u8]) -> String {
    format!("{MAGIC} {:016x} {}\n", checksum(body), body.len())
}

/// The text behind its line, if both fit.
fn unsealed(octets: &[u8]) -> Option<&[u8]> {
    let end = octets.iter().position(|octet| *octet == b'\n')?;
    let (line, body) = octets.split_at(end + 1);
    (line == seal(body).as_bytes()).then_some(body)
}

/// FNV-1a: tells damage, keeps nobody out.
fn checksum(octets: &[u8]) -> u64 {
    octets.iter().fold(0xcbf2_9ce4_8422_2325, |sum, octet| {
        (sum ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The thread that writes. It ends when nobody is left to tell it of changes, after it has written
/// the last; dropped, it is waited for.
#[derive(Debug)]
pub struct StateWriter {
    thread: Option<JoinHandle<()>>,
}

impl StateWriter {
    /// Starts it. It writes `knowledge` whenever it is told of a change.
    ///
    /// # Errors
    /// The machine has no thread left.
    pub fn start(
        directory: StateDirectory,
        knowledge: SharedKnowledge,
        changes: Receiver<()>,
    ) -> io::Result<StateWriter> {
        let thread = thread::Builder::new()
            .name("state".into())
            .spawn(move || write_changes(&directory, &knowledge, &changes))?;
        Ok(StateWriter {
            thread: Some(thread),
        })
    }
}

impl Drop for StateWriter {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that writes the state panicked");
        }
    }
}

fn write_changes(directory: &StateDirectory, knowledge: &SharedKnowledge, changes: &Receiver<()>) {
    let clock = Clock::system();
    let mut failure = None;
    while changes.recv().is_ok() {
        write(directory, knowledge, &mut failure);
        let next = clock.now() + INTERVAL;
        let mut changed = false;
        // Until the time is over, or nobody is left to tell of a change.
        while let Ok(()) = changes.recv_timeout(next.saturating_since(clock.now())) {
            changed = true;
        }
        if changed {
            write(directory, knowledge, &mut failure);
        }
    }
}

/// A failure is said when it is a new one; what was written before stays, and is true still.
fn write(directory: &StateDirectory, knowledge: &SharedKnowledge, failure: &mut Option<String>) {
    let now = directory.write(&knowledge.load()).err();
    let now = now.map(|error| error.to_string());
    if let Some(why) = &now
        && now != *failure
    {
        tracing::error!(
            "the state cannot be written to {} ({why}): a restart would find what was there before",
            directory.path.display()
        );
    }
    *failure = now;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn belongs(boot: &str, source: &str, node: &str) -> Belongs {
        Belongs {
            boot: boot.to_owned(),
            source: source.to_owned(),
            node: node.to_owned(),
        }
    }

    fn open(path: &Path, belongs: Belongs) -> StateDirectory {
        StateDirectory::open(path, belongs).unwrap()
    }

    fn refusal(directory: &StateDirectory) -> String {
        directory.read().unwrap_err().why
    }

    #[test]
    fn what_is_written_is_read_by_its_own_only() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a/b");
        let ours = belongs("boot", "manifests /m", "node-1");
        let directory = open(&path, ours.clone());
        assert!(directory.read().unwrap().is_none(), "a first start");
        directory.write(&Knowledge::default()).unwrap();
        assert!(directory.read().unwrap().is_some());
        drop(directory);
        let mode = fs::metadata(path.join(NAME)).unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::mode(&mode) & 0o777, 0o600);
        for (other, words) in [
            (belongs("later", "manifests /m", "node-1"), "another boot"),
            (belongs("boot", "manifests /n", "node-1"), "of source"),
            (
                belongs("boot", "manifests /m", "node-2"),
                "of node \"node-1\"",
            ),
        ] {
            let refused = refusal(&open(&path, other));
            assert!(refused.contains(words), "{refused}");
        }
    }

    #[test]
    fn what_another_node_has_still_to_find_is_not_overwritten() {
        let place = tempfile::tempdir().unwrap();
        let ours = || belongs("boot", "manifests /m", "node-1");
        open(place.path(), ours())
            .write(&Knowledge::default())
            .unwrap();
        for (other, writes) in [
            (belongs("boot", "manifests /m", "node-2"), false),
            (belongs("boot", "manifests /n", "node-2"), false),
            // Of no use to anybody.
            (belongs("boot", "manifests /n", "node-1"), true),
            (belongs("later", "manifests /m", "node-2"), true),
        ] {
            let (directory, saved) = open(place.path(), other.clone()).load();
            assert!(saved.is_none());
            assert_eq!(directory.is_some(), writes, "{other:?}");
        }
        // Nor is the directory kept from the node that it is of.
        let (directory, saved) = open(place.path(), ours()).load();
        assert!(directory.is_some() && saved.is_some());
    }

    #[test]
    fn a_directory_is_one_daemons_as_long_as_that_runs() {
        let place = tempfile::tempdir().unwrap();
        let belongs = || belongs("boot", "s", "n");
        let first = open(place.path(), belongs());
        let error = StateDirectory::open(place.path(), belongs()).unwrap_err();
        let holder = format!(
            "is in use by another daemon, process {}; ",
            std::process::id()
        );
        assert!(error.contains(&holder), "{error}");
        assert!(
            error.ends_with("a directory of this daemon's own"),
            "{error}"
        );
        drop(first);
        // What an ended process left is no lock, whatever it says.
        fs::write(place.path().join(LOCK), "12345678\n").unwrap();
        open(place.path(), belongs());
        let holder = fs::read_to_string(place.path().join(LOCK)).unwrap();
        assert_eq!(holder.trim(), std::process::id().to_string());
    }

    #[test]
    fn damage_anywhere_is_found() {
        let place = tempfile::tempdir().unwrap();
        let directory = open(place.path(), belongs("boot", "s", "n"));
        directory.write(&Knowledge::default()).unwrap();
        let file = place.path().join(NAME);
        let good = fs::read(&file).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&file, &bad).unwrap();
            assert!(refusal(&directory).contains("it is damaged"), "octet {at}");
            fs::write(&file, &good[..at]).unwrap();
            assert!(refusal(&directory).contains("it is damaged"), "cut at {at}");
        }
        fs::write(&file, &good).unwrap();
        assert!(directory.read().unwrap().is_some());
    }

    #[test]
    fn a_directory_that_cannot_be_is_refused_with_the_mend() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        fs::write(&file, "").unwrap();
        let error = StateDirectory::open(&file, belongs("b", "s", "n")).unwrap_err();
        assert!(error.contains("name a directory of this user's"), "{error}");
    }

    #[test]
    fn the_last_change_is_written_before_the_writer_ends() {
        let place = tempfile::tempdir().unwrap();
        let directory = open(place.path(), belongs("boot", "s", "n"));
        let (changed, changes) = crossbeam_channel::bounded(1);
        let writer = StateWriter::start(directory, SharedKnowledge::default(), changes).unwrap();
        changed.send(()).unwrap();
        changed.send(()).unwrap();
        drop(changed);
        drop(writer);
        let directory = open(place.path(), belongs("boot", "s", "n"));
        assert!(directory.read().unwrap().is_some());
    }
}
