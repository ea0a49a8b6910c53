//! stayrtr, a cache of the RPKI by others (RFC 8210), fed from a file.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::lab::unavailable;
use crate::process::Process;

const STAYRTR: &str = "/usr/bin/stayrtr";

/// A cache; dropped, it is gone.
pub(crate) struct Stayrtr {
    process: Option<Process>,
    address: SocketAddr,
    version: u8,
    /// How often it has itself asked, in seconds (with version 1, from the next `run` on).
    pub(crate) refresh: u32,
    directory: TempDir,
}

/// Prefix, maximum length and AS.
pub(crate) type Vrp<'a> = (&'a str, u8, u32);

impl Stayrtr {
    /// A cache that speaks a version of RTR. `None` if it is not installed: the test is skipped, and
    /// that has been said.
    pub(crate) fn start(address: SocketAddr, version: u8, vrps: &[Vrp<'_>]) -> Option<Stayrtr> {
        if !Path::new(STAYRTR).exists() {
            return unavailable(&format!("stayrtr is not installed ({STAYRTR} is missing)"));
        }
        let mut cache = Stayrtr {
            process: None,
            address,
            version,
            refresh: 3600,
            directory: TempDir::new().expect("a temporary directory"),
        };
        cache.feed(vrps);
        cache.run();
        Some(cache)
    }

    /// Has it say something else; it looks every second.
    pub(crate) fn feed(&self, vrps: &[Vrp<'_>]) {
        let mut text = r#"{"metadata":{},"roas":["#.to_owned();
        for (number, (prefix, max_length, asn)) in vrps.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            let _ = write!(
                text,
                r#"{comma}{{"prefix":"{prefix}","maxLength":{max_length},"asn":{asn},"ta":"t"}}"#
            );
        }
        text += "]}";
        // In one step, so that it never reads half of it.
        let next = self.directory.path().join("next.json");
        fs::write(&next, text).expect("VRPs are written");
        fs::rename(next, self.file()).expect("VRPs are put in place");
    }

    /// As a crash would.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    /// Has it hang with its connections open, or go on.
    pub(crate) fn hang(&self, hangs: bool) {
        let signal = if hangs { Signal::STOP } else { Signal::CONT };
        let process = self.process.as_ref();
        process.expect("it runs").signal(signal);
    }

    /// Starts it, or starts it anew.
    pub(crate) fn run(&mut self) {
        let mut command = Command::new(STAYRTR);
        command
            .args(["-checktime=false", "-refresh", "1", "-rtr.retry", "1"])
            .args(["-rtr.refresh", &self.refresh.to_string()])
            .args(["-metrics.addr", "", "-protocol", &self.version.to_string()])
            .args(["-bind", &self.address.to_string(), "-cache"])
            .arg(self.file());
        let log = self.directory.path().join("stayrtr.log");
        self.process = None;
        self.process = Some(Process::start("stayrtr", &mut command, &log));
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("vrps.json")
    }
}
