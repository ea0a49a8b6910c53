//! A progress bar for who watches. It draws on standard error, and only on a terminal.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// A bar that is drawn now and then.
pub(crate) struct Progress {
    bar: ProgressBar,
    what: &'static str,
    drawn_at: Option<Instant>,
}

impl Progress {
    /// A bar, or none that is ever seen.
    pub(crate) fn new(shown: bool) -> Progress {
        let bar = if shown {
            ProgressBar::new(0)
        } else {
            ProgressBar::hidden()
        };
        // A template that is not understood leaves the plain style.
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style);
        }
        Progress {
            bar,
            what: "",
            drawn_at: None,
        }
    }

    /// Whether it is time to draw; what there is to draw may cost something.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        !self.bar.is_hidden() && self.drawn_at.is_none_or(|at| now - at >= REDRAW)
    }

    /// Draws how many of how many of these there are.
    pub(crate) fn draw(&mut self, now: Instant, what: &'static str, done: usize, all: usize) {
        self.drawn_at = Some(now);
        if self.what != what {
            self.what = what;
            self.bar.set_message(what);
            self.bar.reset_eta();
        }
        self.bar.set_length(all as u64);
        self.bar.set_position(done as u64);
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

const TEMPLATE: &str = "{elapsed:>4} {msg:<10} {bar:40} {human_pos}/{human_len} {per_sec}";
/// How often the bar is drawn.
const REDRAW: Duration = Duration::from_millis(100);
