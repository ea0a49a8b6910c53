//! Where log events go: standard error, as text for people or as JSON, one event a line.

use std::io::{self, IsTerminal, Write};

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::output::Failure;

/// How the daemon logs.
#[derive(Debug, Args)]
pub(super) struct LogArgs {
    /// The form of the log
    #[arg(long, value_enum, default_value_t)]
    log_format: LogFormat,
    /// error, warn, info, debug, trace; or one for each module, as engine::session=debug,info
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: String,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum LogFormat {
    /// For people
    #[default]
    Text,
    /// For log collectors
    Json,
}

/// Starts logging; once in a process.
///
/// # Errors
/// If the level is not understood.
pub(super) fn start(args: &LogArgs) -> Result<(), Failure> {
    let level = &args.log_level;
    // Alone, an unknown word would be taken for a module whose every event is wanted.
    let is_known = level.contains('=') || level.parse::<LevelFilter>().is_ok();
    let filter = EnvFilter::builder().parse(level).ok().filter(|_| is_known);
    let filter = filter.ok_or_else(|| {
        Failure::Usage(format!(
            "{level:?} is not a log level; error, warn, info, debug and trace are accepted"
        ))
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Lossy(io::stderr()))
        // Told by eprintln!, which panics where the log itself can't be written.
        .log_internal_errors(false)
        .with_ansi(io::stderr().is_terminal());
    match args.log_format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}

/// Loses what can't be written: a log that is full or that nobody reads costs lines, not sessions.
struct Lossy<W>(W);

impl<W: Write> Write for Lossy<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.write(bytes) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Ok(bytes.len()),
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = self.0.flush();
        Ok(())
    }
}
