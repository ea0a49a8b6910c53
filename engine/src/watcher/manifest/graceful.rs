//! `gracefulRestart` and `longLivedGracefulRestart` of a neighbor.

use std::time::Duration;

use super::fields::{Field, Fields};
use crate::config::GracefulRestart;
use crate::watcher::fault::Report;

/// What the capability's 12 bits can say (RFC 4724 §3).
const RESTART_TIME_MAX: u32 = 4095;
/// A day: far beyond any restart.
const SECONDS_MAX: u32 = 86_400;

/// `gracefulRestart`, with its defaults.
pub(super) fn graceful_restart(fields: &mut Fields<'_>, report: &mut Report) -> GracefulRestart {
    let mut settings = GracefulRestart::default();
    let field = fields.get("gracefulRestart");
    let Some(mut fields) = field.and_then(|field| field.fields(report)) else {
        return settings;
    };
    let mut switch = |name, into: &mut bool| {
        let field: Option<Field<'_>> = fields.get(name);
        if let Some(on) = field.and_then(|field| field.boolean(report)) {
            *into = on;
        }
    };
    switch("enabled", &mut settings.enabled);
    switch("helper", &mut settings.helper);
    switch("notification", &mut settings.notification);
    let mut seconds = |name, most, into: &mut Duration| {
        let field: Option<Field<'_>> = fields.get(name);
        if let Some(value) = field.and_then(|field| field.integer(1..=most, report)) {
            *into = Duration::from_secs(u64::from(value));
        }
    };
    seconds(
        "restartTimeSeconds",
        RESTART_TIME_MAX,
        &mut settings.restart_time,
    );
    seconds("staleTimeSeconds", SECONDS_MAX, &mut settings.stale_time);
    let deferral = &mut settings.selection_deferral;
    seconds("selectionDeferralSeconds", SECONDS_MAX, deferral);
    fields.close_strictly(report);
    settings
}
