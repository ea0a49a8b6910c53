//! The Unix socket that the daemon listens on for its commands.
//!
//! Invariants: nobody but the owner can connect, at no moment; a socket that somebody answers on
//! is never taken away; what we leave behind is removed if it is still ours.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// A listening socket in the file system; the file goes when this is dropped.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
    inode: (u64, u64),
}

impl AdminSocket {
    /// Listens on `path` with mode 0600. Makes the directory; replaces a socket that nobody
    /// answers on.
    ///
    /// # Errors
    /// One sentence with the mend: another daemon answers there, something else stands there, or
    /// the directory cannot be written.
    pub fn bind(path: &Path) -> Result<AdminSocket, String> {
        make_parent(path).map_err(|error| in_the_way(path, &error))?;
        if let Ok(found) = fs::symlink_metadata(path) {
            if !found.file_type().is_socket() {
                return Err(format!(
                    "{} exists and is not a socket; give another path with --admin",
                    path.display()
                ));
            }
            if UnixStream::connect(path).is_ok() {
                return Err(format!(
                    "another daemon answers on {}; stop it, or give this one another path with \
                     --admin",
                    path.display()
                ));
            }
        }
        bind_privately(path).map_err(|error| in_the_way(path, &error))
    }

    /// The listening socket, non-blocking.
    ///
    /// # Errors
    /// If the descriptor cannot be duplicated.
    pub fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }

    /// Where the socket is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        // Somebody may have put their own in its place meanwhile.
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == self.inode);
        if ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Binds in a directory that only the owner can enter, and moves the socket to its place when its
/// mode is right: there is no moment at which others could connect.
fn bind_privately(path: &Path) -> io::Result<AdminSocket> {
    let nursery = path.with_file_name(format!(".ringbgp-{}", std::process::id()));
    DirBuilder::new().mode(0o700).create(&nursery)?;
    let newborn = nursery.join("s");
    let bound = (|| {
        let listener = UnixListener::bind(&newborn)?;
        listener.set_nonblocking(true)?;
        fs::set_permissions(&newborn, Permissions::from_mode(0o600))?;
        let found = fs::symlink_metadata(&newborn)?;
        fs::rename(&newborn, path)?;
        Ok(AdminSocket {
            listener,
            path: path.to_owned(),
            inode: (found.dev(), found.ino()),
        })
    })();
    if bound.is_err() {
        let _ = fs::remove_file(&newborn);
    }
    let _ = fs::remove_dir(&nursery);
    bound
}

fn make_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => fs::create_dir_all(parent),
        _ => Ok(()),
    }
}

fn in_the_way(path: &Path, error: &io::Error) -> String {
    format!(
        "cannot listen on {}: {error}; give a path that this user can write with --admin",
        path.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_may_connect_and_nothing_is_left_behind() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/er/ringbgp.sock");
        let socket = AdminSocket::bind(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(socket);
        let left: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ringbgp.sock");
        drop(UnixListener::bind(&path).unwrap());
        let living = AdminSocket::bind(&path).unwrap();
        let refused = AdminSocket::bind(&path).unwrap_err();
        assert!(refused.contains("another daemon answers"), "{refused}");
        assert!(living.path().exists());
    }

    #[test]
    fn a_file_that_is_no_socket_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes.txt");
        fs::write(&path, "mine").unwrap();
        let refused = AdminSocket::bind(&path).unwrap_err();
        assert!(refused.contains("not a socket"), "{refused}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }
}
