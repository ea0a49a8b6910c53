//! What the program says: results on standard output, everything else on standard error.
//!
//! A reader that leaves early, as `head` does, ends the program without a word, with the exit code
//! that a shell shows for a program that died of SIGPIPE. The standard library ignores that signal,
//! and its own macros panic in its place.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};
use std::process;

/// Says a line on standard output.
macro_rules! say {
    ($($words:tt)*) => {
        $crate::output::line(&mut ::std::io::stdout().lock(), format_args!($($words)*))
    };
}

/// Says a line on standard error.
macro_rules! remark {
    ($($words:tt)*) => {
        $crate::output::line(&mut ::std::io::stderr().lock(), format_args!($($words)*))
    };
}

pub(crate) use {remark, say};

/// Writes a line. Ends the program if nobody reads any more, or what is said cannot be kept.
pub(crate) fn line(out: &mut impl Write, words: Arguments<'_>) {
    let written = out.write_fmt(format_args!("{words}\n"));
    match written.and_then(|()| out.flush()) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => process::exit(READER_LEFT),
        Err(error) => {
            // If standard error itself is what fails, nothing is left to say it to.
            let _ = writeln!(io::stderr(), "ringbgp-loadgen: cannot write: {error}");
            process::exit(1);
        }
    }
}

/// 128 and the number of SIGPIPE.
const READER_LEFT: i32 = 128 + 13;
