//! What is wrong with a resource, for the person who wrote it.
//!
//! A fault makes its resource invalid, or the part of it that it is confined to: the last good form stays
//! in force. A warning does not.
//! Both are one line: `file:line: path.to.field: what is wrong, what is accepted`.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// The resource is not taken in this form.
    Fault,
    /// The resource is taken.
    Warning,
}

/// One fault or warning.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// The file, as the directory was named.
    pub file: Arc<str>,
    /// Counted from 1; 0 if it concerns the file or directory as a whole.
    pub line: u32,
    /// Fault or warning.
    pub severity: Severity,
    /// For example `spec.bgpPeering.neighbors[0].peerASN`; empty: the document itself.
    pub path: String,
    /// What is wrong and what is accepted.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        f.write_str(": ")?;
        if self.severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// At most this many warnings are kept of one file: a hundred thousand masked CIDRs are one
/// mistake, not a hundred thousand.
const REPORTED_MAX: usize = 200;

/// Collects the faults and warnings of one file.
#[derive(Debug)]
pub(crate) struct Report {
    file: Arc<str>,
    list: Vec<Fault>,
    faults: usize,
    confined: usize,
    dropped: usize,
}

impl Report {
    pub(crate) fn new(file: Arc<str>) -> Report {
        Report {
            file,
            list: Vec::new(),
            faults: 0,
            confined: 0,
            dropped: 0,
        }
    }

    pub(crate) fn fault(&mut self, line: u32, path: &str, message: impl Into<String>) {
        self.faults += 1;
        self.add(Severity::Fault, line, path, message);
    }

    pub(crate) fn warn(&mut self, line: u32, path: &str, message: impl Into<String>) {
        self.add(Severity::Warning, line, path, message);
    }

    fn add(&mut self, severity: Severity, line: u32, path: &str, message: impl Into<String>) {
        if self.list.len() >= REPORTED_MAX {
            self.dropped += 1;
            return;
        }
        self.list.push(Fault {
            file: Arc::clone(&self.file),
            line,
            severity,
            path: path.to_owned(),
            message: message.into(),
        });
    }

    /// How many faults there were until now.
    pub(crate) fn faults(&self) -> usize {
        self.faults
    }

    /// How many of them are about a resource as a whole; one that adds none is valid.
    pub(crate) fn unconfined(&self) -> usize {
        self.faults - self.confined
    }

    /// Reads a part of a resource whose faults are its own: the rest is valid without it. Gives what was
    /// read, and whether it is good.
    pub(crate) fn confine<T>(&mut self, read: impl FnOnce(&mut Report) -> T) -> (T, bool) {
        let (faults, confined) = (self.faults, self.confined);
        let part = read(self);
        self.confined = confined + self.faults - faults;
        (part, self.faults == faults)
    }

    pub(crate) fn into_list(mut self) -> Vec<Fault> {
        if self.dropped > 0 {
            let severity = if self.faults > 0 {
                Severity::Fault
            } else {
                Severity::Warning
            };
            self.list.push(Fault {
                file: self.file,
                line: 0,
                severity,
                path: String::new(),
                message: format!("and {} more of this kind", self.dropped),
            });
        }
        self.list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_each_and_not_too_many() {
        let mut report = Report::new("a.yaml".into());
        report.fault(3, "spec.x", "is wrong, y is accepted");
        for line in 0..1000 {
            report.warn(line, "", "host bits");
        }
        assert_eq!(report.faults(), 1);
        let list = report.into_list();
        assert_eq!(
            list[0].to_string(),
            "a.yaml:3: spec.x: is wrong, y is accepted"
        );
        assert_eq!(list[2].to_string(), "a.yaml:1: warning: host bits");
        assert_eq!(list.len(), REPORTED_MAX + 1);
        assert!(list[REPORTED_MAX].to_string().contains("801 more"));
    }
}
