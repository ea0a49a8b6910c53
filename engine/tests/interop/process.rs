//! Programs that a test starts, and waiting for what they do.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use engine::time::Clock;
use rustix::process::{Pid, Signal, kill_process};

/// A running program. Dropped, it is killed; if the test is failing then, its log is printed.
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program with its output in `log` (appended).
    pub(crate) fn start(name: &str, command: &mut Command, log: &Path) -> Process {
        let file = File::options().create(true).append(true).open(log);
        let file = file.expect("the log can be opened");
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("the log can be shared"))
            .stderr(file)
            .spawn();
        Process {
            name: name.to_owned(),
            child: child.unwrap_or_else(|error| panic!("cannot start {name}: {error}")),
            log: log.to_owned(),
        }
    }

    /// SIGKILL, and wait until it is gone.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("a signal can be sent");
    }

    /// SIGTERM; the exit code once it is gone.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        eventually(
            &format!("{} ends after SIGTERM", self.name),
            || match self.child.try_wait() {
                Ok(Some(status)) => Ok(status.code()),
                Ok(None) => Err("still running".to_owned()),
                Err(error) => Err(error.to_string()),
            },
        )
    }

    /// Everything that it has printed.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("---- log of {} ----\n{}", self.name, self.log());
        }
    }
}

/// Runs a program to its end; its standard output if it ended well.
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!(
            "{command:?}: {}: {}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ))
    }
}

/// Probes until the probe is content; panics with its last complaint once the deadline is past.
pub(crate) fn eventually<T>(what: &str, probe: impl FnMut() -> Result<T, String>) -> T {
    eventually_within(DEADLINE, what, probe)
}

/// The same with a deadline of one's own, where what is waited for takes its time.
pub(crate) fn eventually_within<T>(
    deadline: Duration,
    what: &str,
    mut probe: impl FnMut() -> Result<T, String>,
) -> T {
    let clock = Clock::system();
    let start = clock.now();
    loop {
        match probe() {
            Ok(value) => return value,
            Err(complaint) if clock.now().saturating_since(start) > deadline => {
                panic!("{what}: not within {deadline:?}; last: {complaint}")
            }
            Err(_) => std::thread::sleep(PROBE_EVERY),
        }
    }
}

/// Long enough for a busy machine with two cores: a test that meets it is broken, not slow.
pub(crate) const DEADLINE: Duration = Duration::from_secs(40);
const PROBE_EVERY: Duration = Duration::from_millis(50);
