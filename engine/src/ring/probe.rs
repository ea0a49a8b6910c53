//! Which of the twins can run here: a ring is made and thrown away, and a refusal is put in words.
//!
//! Nothing here keeps a ring or opens a socket.

use std::fmt;
use std::fs;
use std::io;
use std::str::FromStr;

use super::uring;

/// What was asked for with `--io`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IoMode {
    /// io_uring, or epoll where that is not to be had.
    #[default]
    Auto,
    /// io_uring or nothing.
    Uring,
    /// epoll.
    Epoll,
}

impl FromStr for IoMode {
    type Err = String;

    fn from_str(text: &str) -> Result<IoMode, String> {
        match text {
            "auto" => Ok(IoMode::Auto),
            "uring" => Ok(IoMode::Uring),
            "epoll" => Ok(IoMode::Epoll),
            _ => Err("accepted are auto, uring, epoll".to_owned()),
        }
    }
}

/// What the shards run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoDriver {
    /// One io_uring a shard.
    Uring,
    /// One epoll a shard.
    Epoll,
}

impl fmt::Display for IoDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            IoDriver::Uring => "io_uring",
            IoDriver::Epoll => "epoll",
        })
    }
}

/// io_uring was asked for and is not to be had.
#[derive(Debug, thiserror::Error)]
#[error("io_uring cannot be used: {0}; allow it, or start with --io auto or --io epoll")]
pub struct Unavailable(String);

/// Picks the driver: what it is, and in words why.
///
/// # Errors
/// `mode` insists on io_uring, which cannot be had.
pub fn choose(mode: IoMode) -> Result<(IoDriver, String), Unavailable> {
    decide(mode, uring::try_ring)
}

fn decide(
    mode: IoMode,
    try_ring: impl FnOnce() -> io::Result<()>,
) -> Result<(IoDriver, String), Unavailable> {
    if mode == IoMode::Epoll {
        return Ok((IoDriver::Epoll, "as asked for with --io".to_owned()));
    }
    match (try_ring(), mode) {
        (Ok(()), IoMode::Uring) => Ok((IoDriver::Uring, "as asked for with --io".to_owned())),
        (Ok(()), _) => Ok((
            IoDriver::Uring,
            "io_uring, as this kernel allows it".to_owned(),
        )),
        (Err(error), IoMode::Uring) => Err(Unavailable(refusal(&error))),
        (Err(error), _) => {
            let why = format!("io_uring cannot be used: {}", refusal(&error));
            Ok((IoDriver::Epoll, why))
        }
    }
}

/// Who most likely refused, by errno and by what the machine says of itself.
fn refusal(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => forbidden().to_owned(),
        Some(libc::ENOSYS) if seccomp_filters() => {
            "a seccomp profile forbids it, or the kernel is built without it".to_owned()
        }
        Some(libc::ENOSYS) => "the kernel is built without it, or older than 5.1".to_owned(),
        Some(libc::ENOMEM) => {
            "no memory may be locked for it (raise RLIMIT_MEMLOCK or the container's memlock limit)"
                .to_owned()
        }
        Some(libc::EINVAL) => "the kernel is older than 6.0".to_owned(),
        Some(libc::EMFILE | libc::ENFILE) => "no file descriptor is left".to_owned(),
        _ => error.to_string(),
    }
}

fn forbidden() -> &'static str {
    let disabled = fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    match disabled.trim() {
        "2" => "the kernel setting kernel.io_uring_disabled is 2",
        "1" => "the kernel setting kernel.io_uring_disabled is 1, which wants CAP_SYS_ADMIN",
        _ if seccomp_filters() => {
            "a seccomp profile forbids it (the RuntimeDefault of containerd and Docker does)"
        }
        _ => "not permitted (a seccomp profile or a security module)",
    }
}

fn seccomp_filters() -> bool {
    fs::read_to_string("/proc/self/status")
        .unwrap_or_default()
        .lines()
        .any(|line| {
            line.strip_prefix("Seccomp:")
                .is_some_and(|mode| mode.trim() == "2")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(errno: i32) -> io::Result<()> {
        Err(io::Error::from_raw_os_error(errno))
    }

    #[test]
    fn auto_falls_back_and_says_why() {
        let (driver, why) = decide(IoMode::Auto, || refused(libc::EPERM)).unwrap();
        assert_eq!(driver, IoDriver::Epoll);
        assert!(why.starts_with("io_uring cannot be used: "), "{why}");
        let (driver, _) = decide(IoMode::Auto, || Ok(())).unwrap();
        assert_eq!(driver, IoDriver::Uring);
    }

    #[test]
    fn uring_where_it_is_refused_is_one_sentence_with_the_mend() {
        for errno in [libc::EPERM, libc::ENOSYS, libc::ENOMEM, libc::EINVAL] {
            let words = decide(IoMode::Uring, || refused(errno))
                .unwrap_err()
                .to_string();
            assert!(words.contains("--io epoll"), "{words}");
            assert!(!words.contains('\n'));
        }
    }

    #[test]
    fn epoll_asks_nobody() {
        let (driver, _) = decide(IoMode::Epoll, || panic!("not asked for")).unwrap();
        assert_eq!(driver, IoDriver::Epoll);
    }
}
