//! How commands print and how they fail.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::ValueEnum;
use serde::Serialize;

use crate::admin::client::ClientError;

/// The form of what is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    #[default]
    Table,
    /// For people with wide terminals
    Wide,
    /// For scripts; the field names are stable
    Json,
}

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(super) enum Failure {
    /// A fault in what was asked: one sentence with the mend.
    Asked(String),
    /// Options that do not go together: one sentence with the mend.
    Usage(String),
    /// The daemon can't be reached.
    Unreachable(String),
    /// Whoever read our output has enough.
    PipeClosed,
}

impl Failure {
    /// Says it on standard error and gives the exit code.
    pub(super) fn report(self) -> ExitCode {
        match self {
            Failure::Asked(words) => {
                complain(&format!("ringbgp: {words}"));
                ExitCode::from(1)
            }
            Failure::Usage(words) => {
                complain(&format!("ringbgp: {words}"));
                ExitCode::from(2)
            }
            Failure::Unreachable(words) => {
                complain(&format!("ringbgp: {words}"));
                ExitCode::from(3)
            }
            Failure::PipeClosed => ExitCode::SUCCESS,
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        match error {
            ClientError::Unreachable(words) => Failure::Unreachable(words),
            ClientError::Refused(words) => Failure::Asked(words),
        }
    }
}

impl From<crate::simulator::Failure> for Failure {
    fn from(failure: crate::simulator::Failure) -> Failure {
        Failure::Asked(failure.to_string())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::PipeClosed,
            _ => Failure::Asked(format!("cannot write to standard output: {error}")),
        }
    }
}

/// Writes a line to standard error; where that can't be written, the line is lost and the exit
/// code still tells (`eprintln!` would panic).
pub(super) fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Writes `text` to standard output.
///
/// # Errors
/// As writing does; a closed pipe is a quiet end.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

/// A JSON array that is written element by element, one a line.
#[derive(Debug, Default)]
pub(super) struct JsonArray {
    started: bool,
}

impl JsonArray {
    /// Writes more elements.
    ///
    /// # Errors
    /// As writing does.
    pub(super) fn push<T: Serialize>(&mut self, values: &[T]) -> Result<(), Failure> {
        let mut text = String::new();
        for value in values {
            text.push_str(if self.started { ",\n" } else { "[\n" });
            self.started = true;
            text.push_str(&json(value)?);
        }
        print(&text)
    }

    /// Writes the end.
    ///
    /// # Errors
    /// As writing does.
    pub(super) fn finish(self) -> Result<(), Failure> {
        print(if self.started { "\n]\n" } else { "[]\n" })
    }
}

/// A value as JSON on one line.
///
/// # Errors
/// Never for the values of the model; the signature keeps the caller free of a panic.
pub(super) fn json<T: Serialize>(value: &T) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| Failure::Asked(error.to_string()))
}
