//! The limits that a process inherits and may raise by itself, and the memory it has.

use std::io;

/// Raises the number of descriptors this process may hold to what it is allowed to: each peer takes
/// one, and the usual soft limit is 1,024. Returns the limit now in force.
///
/// # Errors
/// The kernel's answer; the old limit stays.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel writes one `rlimit` to `limit`, which is borrowed for the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if limit.rlim_cur < limit.rlim_max {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: the kernel reads one `rlimit` from `limit`, which lives during the call.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(limit.rlim_cur)
}

/// Octets of memory that the process has resident. None: `/proc` is not to be read.
pub(super) fn resident_memory() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    // SAFETY: no pointer goes in or out; an unknown name gives -1, which is no length.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    resident_of(&statm)?.checked_mul(u64::try_from(page).ok()?)
}

/// The second field: resident pages (proc_pid_statm(5)).
fn resident_of(statm: &str) -> Option<u64> {
    statm.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_the_second_field_in_pages() {
        assert_eq!(resident_of("2048 513 400 10 0 99 0\n"), Some(513));
        assert_eq!(resident_of("2048"), None);
        let before = resident_memory().unwrap();
        let held = vec![1u8; 64 << 20];
        let grown = resident_memory().unwrap().saturating_sub(before);
        assert!(grown > 32 << 20, "{grown}");
        drop(held);
    }

    #[test]
    fn the_limit_is_raised_once_and_stays() {
        let limit = raise_descriptor_limit().unwrap();
        assert_eq!(raise_descriptor_limit().unwrap(), limit);
    }
}
