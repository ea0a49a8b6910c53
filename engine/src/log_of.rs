//! What is logged while a test does something on its thread.
//!
//! One subscriber serves all threads, and each has its own lines. A subscriber of a thread's own
//! would miss what another thread, which has none, logs first from the same place: that settles for
//! all of them that nobody listens.

use std::cell::RefCell;
use std::io;
use std::sync::Once;

thread_local! {
    /// None: nobody asks for this thread's.
    static LINES: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

struct Lines;

impl io::Write for Lines {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        LINES.with_borrow_mut(|lines| {
            if let Some(lines) = lines {
                lines.extend_from_slice(octets);
            }
        });
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The lines of warnings and worse.
pub(crate) fn warnings_of(act: impl FnOnce()) -> Vec<String> {
    static SUBSCRIBED: Once = Once::new();
    SUBSCRIBED.call_once(|| {
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::WARN)
            .with_ansi(false)
            .with_writer(|| Lines)
            .init();
    });
    LINES.set(Some(Vec::new()));
    act();
    let lines = LINES.take().unwrap_or_default();
    let text = String::from_utf8_lossy(&lines);
    text.lines().map(str::to_owned).collect()
}
