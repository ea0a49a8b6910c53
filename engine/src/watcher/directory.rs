//! One directory of manifests, followed by its events.
//!
//! No thread and no clock: events, answers of the file system and the time come in, the store
//! changes. The rules are the contract's:
//! - a file is read when it was closed after writing, renamed here or linked here, and when the
//!   `..data` link of a ConfigMap mount is swapped; never because it was modified;
//! - a file that is gone counts as deleted a moment later, when it is neither back under its name,
//!   nor here under another, nor gone with the directory itself;
//! - a directory that can't be listed changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, CreateKind, Event, EventKind, ModifyKind, RenameMode};

use super::fault::Severity;
use super::manifest::FILE_SIZE_MAX;
use super::store::Store;
use crate::time::Time;

/// How long a file must be gone to be deleted. Editors move a file away just before they write it
/// anew, and `rm -r` takes the files before the directory.
pub(crate) const REMOVAL_GRACE: Duration = Duration::from_millis(50);
/// The same in a directory that was away itself, while it is filled again.
const RETURN_GRACE: Duration = Duration::from_secs(1);
/// The link that a ConfigMap mount swaps.
const SWAP_LINK: &str = "..data";

/// A directory and what is known of its files.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    /// The same path from the root on, as events have it: they must be told of the directory
    /// itself, however it was written.
    watched: PathBuf,
    store: Store,
    known: BTreeMap<String, Signature>,
    removals: BTreeMap<String, Time>,
    identity: Option<(u64, u64)>,
    /// The directory was away. (Its inode says nothing: a new directory may have the same.)
    was_lost: bool,
    /// The directory came back without a single manifest: nobody deleted those.
    came_back_empty: bool,
}

/// What tells one content of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Signature {
    inode: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// What a batch of events says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    names: BTreeMap<String, Change>,
    /// The `..data` link was swapped.
    swapped: bool,
    /// The directory itself is gone or moved.
    lost: bool,
    /// Events are missing.
    incomplete: bool,
}

/// The last that was heard of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// Its content is complete.
    Complete,
    /// It appeared: complete if it is a link, else somebody is about to write it.
    Appeared,
    /// Somebody is writing it.
    Writing,
    Gone,
}

/// A file's content that is not in the store yet.
pub(crate) struct Staged {
    name: String,
    content: Result<(Vec<u8>, Signature), io::Error>,
}

impl Changes {
    /// Adds one event of the directory that is watched as `path`.
    pub(crate) fn add(&mut self, path: &Path, event: &notify::Result<Event>) {
        let Ok(event) = event else {
            self.incomplete = true;
            return;
        };
        self.incomplete |= event.need_rescan();
        let change = match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => Change::Complete,
            EventKind::Modify(ModifyKind::Name(RenameMode::To)) => Change::Complete,
            EventKind::Modify(ModifyKind::Name(RenameMode::From)) => Change::Gone,
            EventKind::Modify(ModifyKind::Data(_)) => Change::Writing,
            EventKind::Create(CreateKind::File | CreateKind::Any) => Change::Appeared,
            EventKind::Remove(_) => Change::Gone,
            _ => return,
        };
        for at in &event.paths {
            if at == path {
                self.lost |= change == Change::Gone;
            } else if let Some(name) = at.file_name().and_then(|name| name.to_str()) {
                if name == SWAP_LINK {
                    self.swapped |= change != Change::Gone;
                } else if is_manifest(name) {
                    self.names.insert(name.to_owned(), change);
                }
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Changes::default()
    }

    /// Whether the content that was just read of a file is doubtful: more was heard of it since.
    fn touches(&self, name: &str) -> bool {
        matches!(
            self.names.get(name),
            Some(Change::Complete | Change::Writing)
        )
    }
}

/// Whether a file of this name is read.
pub(crate) fn is_manifest(name: &str) -> bool {
    !name.starts_with('.')
        && [".yaml", ".yml", ".json"]
            .iter()
            .any(|end| name.ends_with(end))
}

impl Directory {
    /// Of the resources as they count on this node.
    pub(crate) fn new(path: &Path, node: &str) -> Directory {
        Directory {
            path: path.to_owned(),
            watched: std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
            store: Store::new(&path.to_string_lossy()).on_node(node),
            known: BTreeMap::new(),
            removals: BTreeMap::new(),
            identity: None,
            was_lost: false,
            came_back_empty: false,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What to watch, and what events call the directory.
    pub(crate) fn watched(&self) -> &Path {
        &self.watched
    }

    pub(crate) fn store(&mut self) -> &mut Store {
        &mut self.store
    }

    /// Whether it can be listed.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check(&self) -> io::Result<()> {
        self.list().map(drop)
    }

    /// Whether this is still the directory that was listed last.
    pub(crate) fn is_same(&self) -> bool {
        let now = fs::metadata(&self.path).map(|metadata| identity(&metadata));
        now.ok() == self.identity
    }

    /// Lists the directory and stages what is new or different; what is missing is about to be
    /// deleted.
    ///
    /// # Errors
    /// It can't be listed: nothing changes.
    pub(crate) fn scan(&mut self, now: Time) -> io::Result<Vec<Staged>> {
        let (names, subdirectories) = self.list()?;
        let was_away = std::mem::take(&mut self.was_lost) || self.came_back_empty;
        self.identity = fs::metadata(&self.path).ok().map(|m| identity(&m));
        self.came_back_empty = was_away && names.is_empty() && !self.known.is_empty();
        self.set_notices(&subdirectories);
        if !self.came_back_empty {
            let grace = if was_away {
                RETURN_GRACE
            } else {
                REMOVAL_GRACE
            };
            self.schedule_missing(&names, now + grace);
        }
        let staged = names.into_iter().filter_map(|name| {
            let before = self.known.get(&name);
            let unchanged =
                before.is_some() && signature(&self.path.join(&name)).ok().as_ref() == before;
            (!unchanged).then(|| self.stage(name))
        });
        Ok(staged.collect())
    }

    /// Reads what a batch of events says is complete.
    ///
    /// # Errors
    /// The directory is gone or can't be listed: nothing changes.
    pub(crate) fn stage_changes(&mut self, now: Time, changes: Changes) -> io::Result<Vec<Staged>> {
        if changes.lost {
            return Err(io::ErrorKind::NotFound.into());
        }
        if changes.incomplete || self.came_back_empty {
            return self.scan(now);
        }
        let mut names = BTreeSet::new();
        for (name, change) in changes.names {
            match change {
                Change::Complete => {
                    names.insert(name);
                }
                Change::Appeared if self.is_link(&name) => {
                    names.insert(name);
                }
                Change::Appeared | Change::Writing => {}
                Change::Gone => self.schedule(name, now + REMOVAL_GRACE),
            }
        }
        if changes.swapped {
            let (listed, _) = self.list()?;
            self.schedule_missing(&listed, now + REMOVAL_GRACE);
            names.extend(listed.into_iter().filter(|name| self.is_link(name)));
        }
        Ok(names.into_iter().map(|name| self.stage(name)).collect())
    }

    /// Puts what was read into the store, unless events say that it was being written meanwhile.
    /// Whether anything changed.
    pub(crate) fn commit(&mut self, now: Time, staged: Vec<Staged>, since: &Changes) -> bool {
        let mut changed = false;
        for Staged { name, content } in staged {
            if since.touches(&name) {
                continue;
            }
            match content {
                Ok((content, signature)) => {
                    self.removals.remove(&name);
                    self.follow_rename(&name, signature);
                    self.store.put(&name, &content);
                    self.known.insert(name, signature);
                    changed = true;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.schedule(name, now + REMOVAL_GRACE);
                }
                Err(error) => {
                    self.removals.remove(&name);
                    self.store.put_unreadable(&name, &error.to_string());
                    self.known.remove(&name);
                    changed = true;
                }
            }
        }
        changed
    }

    /// When the next deletion is due.
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        self.removals.values().min().copied()
    }

    /// Carries out the deletions that are due. Whether anything changed.
    ///
    /// # Errors
    /// The directory can't be listed, so nothing in it was deleted.
    pub(crate) fn handle_timeout(&mut self, now: Time) -> io::Result<bool> {
        let due = self.removals.iter().filter(|(_, at)| **at <= now);
        let due: Vec<String> = due.map(|(name, _)| name.clone()).collect();
        if due.is_empty() {
            return Ok(false);
        }
        self.list()?;
        if !self.is_same() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut changed = false;
        for name in due {
            self.removals.remove(&name);
            // A file that is back is read when it is complete.
            if fs::metadata(self.path.join(&name)).is_ok() {
                continue;
            }
            self.known.remove(&name);
            self.store.remove(&name);
            changed = true;
        }
        Ok(changed)
    }

    /// A file that is here under a new name, while the old one waits to be deleted, was renamed.
    fn follow_rename(&mut self, name: &str, signature: Signature) {
        if self.known.contains_key(name) {
            return;
        }
        let mut waiting = self.removals.keys();
        let old = waiting.find(|old| {
            let before = self.known.get(*old);
            before.is_some_and(|before| before.inode == signature.inode)
        });
        if let Some(old) = old.cloned() {
            self.removals.remove(&old);
            self.known.remove(&old);
            self.store.rename(&old, name);
        }
    }

    fn stage(&self, name: String) -> Staged {
        let content = read(&self.path.join(&name));
        Staged { name, content }
    }

    fn schedule(&mut self, name: String, at: Time) {
        if self.store.contains(&name) {
            self.removals.entry(name).or_insert(at);
        }
    }

    fn schedule_missing(&mut self, listed: &BTreeSet<String>, at: Time) {
        let names = self.store.names().map(ToString::to_string);
        let missing: Vec<String> = names.filter(|name| !listed.contains(name)).collect();
        for name in missing {
            self.schedule(name, at);
        }
    }

    /// The manifests, and the names of subdirectories.
    fn list(&self) -> io::Result<(BTreeSet<String>, Vec<String>)> {
        let mut names = BTreeSet::new();
        let mut subdirectories = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if entry.file_type()?.is_dir() {
                if !name.starts_with('.') {
                    subdirectories.push(name);
                }
            } else if is_manifest(&name) {
                names.insert(name);
            }
        }
        Ok((names, subdirectories))
    }

    fn is_link(&self, name: &str) -> bool {
        let metadata = fs::symlink_metadata(self.path.join(name));
        metadata.is_ok_and(|metadata| metadata.is_symlink() || metadata.nlink() > 1)
    }

    fn set_notices(&mut self, subdirectories: &[String]) {
        let empty = self.came_back_empty.then(|| {
            let message = "the directory came back without manifests: what it held stays in force";
            (Severity::Warning, message.to_owned())
        });
        let passed = (!subdirectories.is_empty()).then(|| {
            let message = format!("subdirectories are not read: {}", subdirectories.join(", "));
            (Severity::Warning, message)
        });
        self.store.set_notices(empty.into_iter().chain(passed));
    }

    /// The directory was away: what is missing in it when it is back may still come.
    pub(crate) fn set_away(&mut self) {
        self.was_lost = true;
        self.removals.clear();
    }

    /// Says that the directory can't be listed.
    pub(crate) fn set_lost(&mut self, why: &str) {
        self.set_away();
        let message = format!("the directory can't be listed, what it held stays in force: {why}");
        self.store.set_notices([(Severity::Fault, message)]);
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn signature(path: &Path) -> io::Result<Signature> {
    fs::metadata(path).map(|metadata| signature_of(&metadata))
}

fn signature_of(metadata: &Metadata) -> Signature {
    Signature {
        inode: identity(metadata),
        size: metadata.size(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    }
}

/// A regular file, whole; anything else could block for ever.
fn read(path: &Path) -> io::Result<(Vec<u8>, Signature)> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.size() > FILE_SIZE_MAX as u64 {
        let size = metadata.size();
        let message = format!("it has {size} octets, at most {FILE_SIZE_MAX} are read");
        return Err(io::Error::other(message));
    }
    let mut content = Vec::with_capacity(metadata.size() as usize + 1);
    file.by_ref()
        .take(FILE_SIZE_MAX as u64 + 1)
        .read_to_end(&mut content)?;
    Ok((content, signature_of(&metadata)))
}
