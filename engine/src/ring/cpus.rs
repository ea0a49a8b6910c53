//! Which CPUs this process may use, and keeping a thread on one of them.

use std::fs;
use std::io;

/// The CPUs in the affinity mask of this process, ascending; never empty.
pub fn usable() -> Vec<usize> {
    // SAFETY: `cpu_set_t` is a plain bit array, for which all zeros is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes at most the size that is passed into `set`, which is borrowed
    // exclusively for the call.
    let result = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) };
    let cpus: Vec<usize> = if result == 0 {
        (0..libc::CPU_SETSIZE as usize)
            // SAFETY: the index is below CPU_SETSIZE, the number of bits in the set.
            .filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &set) })
            .collect()
    } else {
        Vec::new()
    };
    if cpus.is_empty() { vec![0] } else { cpus }
}

/// How many shards to run if nobody says: the CPUs this process may use, its cgroup's quota
/// counted, at most 8.
pub fn default_shards() -> usize {
    const MOST: usize = 8;
    let quota = cgroup_quota().unwrap_or(MOST);
    usable().len().min(quota).clamp(1, MOST)
}

/// Whole CPUs that the cgroup may use at once, rounded up; none if it has no limit.
fn cgroup_quota() -> Option<usize> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    // The unified hierarchy is the line "0::/path".
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mut path = std::path::Path::new("/sys/fs/cgroup").join(own.trim_start_matches('/'));
    let mut least = None;
    // A limit of any group above holds too.
    while path.starts_with("/sys/fs/cgroup") {
        if let Ok(text) = fs::read_to_string(path.join("cpu.max")) {
            least = least.into_iter().chain(parse_cpu_max(&text)).min();
        }
        if !path.pop() {
            break;
        }
    }
    least
}

/// `cpu.max`: quota and period in microseconds, or `max`.
fn parse_cpu_max(text: &str) -> Option<usize> {
    let mut words = text.split_ascii_whitespace();
    let quota: u64 = words.next()?.parse().ok()?;
    let period: u64 = words.next()?.parse().ok()?;
    if period == 0 {
        return None;
    }
    usize::try_from(quota.div_ceil(period).max(1)).ok()
}

/// Keeps the current thread on `cpu`.
///
/// # Errors
/// The kernel's answer: no such CPU, or not allowed.
pub(super) fn pin(cpu: usize) -> io::Result<()> {
    if cpu >= libc::CPU_SETSIZE as usize {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: `cpu_set_t` is a plain bit array, for which all zeros is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `cpu` is below CPU_SETSIZE, the number of bits in the set.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: the kernel reads the size that is passed from `set`, which lives during the call.
    let result = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quota_is_rounded_up() {
        assert_eq!(parse_cpu_max("max 100000\n"), None);
        assert_eq!(parse_cpu_max("150000 100000\n"), Some(2));
        assert_eq!(parse_cpu_max("20000 100000\n"), Some(1));
        assert_eq!(parse_cpu_max(""), None);
    }

    #[test]
    fn there_is_at_least_one_shard() {
        assert!((1..=8).contains(&default_shards()));
    }

    #[test]
    fn a_thread_can_be_pinned_to_a_cpu_it_may_use() {
        let cpu = usable()[0];
        std::thread::spawn(move || {
            pin(cpu).unwrap();
            assert_eq!(usable(), [cpu]);
        })
        .join()
        .unwrap();
    }
}
