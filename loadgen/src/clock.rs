//! The one place that reads the machine's clock.

use std::time::Instant;

/// The current time.
#[expect(
    clippy::disallowed_methods,
    reason = "a load generator measures real time; everything else is handed the value"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
