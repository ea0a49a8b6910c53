//! What a process and its descendants have used: CPU time and memory, from `/proc`.

use std::fs;
use std::path::Path;

use ahash::AHashMap;
use serde::Serialize;

/// The target's processes, and their CPU time when the measurement began.
pub(crate) struct ProcessMeter {
    pid: u32,
    began: CpuTime,
}

/// What was used.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Usage {
    /// CPU seconds since the measurement began, user and kernel.
    pub(crate) cpu_seconds: f64,
    /// The most memory that was resident since then, where the kernel lets it be reset; else ever.
    pub(crate) peak_rss_bytes: u64,
    /// What is resident now.
    pub(crate) rss_bytes: u64,
}

/// CPU time of a tree of processes, from two sources.
#[derive(Default)]
struct CpuTime {
    /// In ticks of the accounting clock; of ended threads too.
    ticks: u64,
    /// In nanoseconds, by thread; of threads that live.
    nanos: AHashMap<u32, u64>,
}

impl ProcessMeter {
    /// Begins to measure; `None` if there is no such process.
    pub(crate) fn begin(pid: u32) -> Option<ProcessMeter> {
        if !Path::new(&format!("/proc/{pid}")).exists() {
            return None;
        }
        for pid in tree(pid) {
            // Needs the right to trace the process; without it the peak is that of its whole life.
            let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
        }
        Some(ProcessMeter {
            pid,
            began: cpu_time(pid),
        })
    }

    /// What was used up to now.
    pub(crate) fn usage(&self) -> Usage {
        let now = cpu_time(self.pid);
        let since = |(thread, nanos): (&u32, &u64)| {
            nanos.saturating_sub(self.began.nanos.get(thread).copied().unwrap_or(0))
        };
        let nanos = now.nanos.iter().map(since).sum::<u64>() as f64 / 1e9;
        let ticks = now.ticks.saturating_sub(self.began.ticks) as f64 / TICKS_PER_SECOND;
        // The fine clock forgets threads that have ended: then the coarse one is ahead of it.
        let cpu_seconds = if ticks > nanos + COARSENESS {
            ticks
        } else {
            nanos
        };
        let mut usage = Usage {
            cpu_seconds,
            peak_rss_bytes: 0,
            rss_bytes: 0,
        };
        for pid in tree(self.pid) {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            usage.peak_rss_bytes += status_bytes(&status, "VmHWM:");
            usage.rss_bytes += status_bytes(&status, "VmRSS:");
        }
        usage
    }
}

/// CPU seconds that this process has used.
pub(crate) fn own_cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// A process and its descendants.
fn tree(root: u32) -> Vec<u32> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        if let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
            && let Some(fields) = stat_fields(pid)
            && let Some(parent) = fields.get(1).and_then(|field| field.parse::<u32>().ok())
        {
            parents.push((pid, parent));
        }
    }
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(parent) = tree.get(next).copied() {
        let children = parents.iter().filter(|(_, p)| *p == parent);
        tree.extend(children.map(|(pid, _): &(u32, u32)| *pid));
        next += 1;
    }
    tree
}

/// The fields of `/proc/PID/stat` behind the name: state, parent, …
fn stat_fields(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in brackets and may hold anything, brackets too.
    let (_, rest) = stat.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

fn cpu_time(root: u32) -> CpuTime {
    let mut time = CpuTime::default();
    for pid in tree(root) {
        let fields = stat_fields(pid).unwrap_or_default();
        let field = |index: usize| fields.get(index).and_then(|f| f.parse::<u64>().ok());
        time.ticks += field(11).unwrap_or(0) + field(12).unwrap_or(0);
        for task in fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let schedstat = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            let nanos = schedstat.split_whitespace().next().map(str::parse);
            let thread = task.file_name().to_str().map(str::parse);
            if let (Some(Ok(thread)), Some(Ok(nanos))) = (thread, nanos) {
                time.nanos.insert(thread, nanos);
            }
        }
    }
    time
}

fn status_bytes(status: &str, field: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|line| line.split_whitespace().next());
    kib.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// `USER_HZ`, which Linux has fixed at 100 for what it tells of processes.
const TICKS_PER_SECOND: f64 = 100.0;
/// How far the coarse clock may be ahead by rounding alone, in seconds.
const COARSENESS: f64 = 0.03;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let meter = ProcessMeter::begin(std::process::id()).expect("it exists");
        let before = own_cpu_seconds();
        let mut usage = meter.usage();
        while usage.cpu_seconds < 0.05 {
            assert!(own_cpu_seconds() - before < 10.0, "{usage:?}");
            usage = meter.usage();
        }
        assert!(usage.rss_bytes > 0 && usage.peak_rss_bytes >= usage.rss_bytes);
        assert!(ProcessMeter::begin(0).is_none());
    }
}
