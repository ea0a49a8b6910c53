//! Where log events go: standard error, as text for people or as JSON, one event a line.

use std::io::{self, IsTerminal};

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

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
    let filter = EnvFilter::builder().parse(&args.log_level).map_err(|_| {
        Failure::Usage(format!(
            "{:?} is not a log level; error, warn, info, debug and trace are accepted",
            args.log_level
        ))
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    match args.log_format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}
