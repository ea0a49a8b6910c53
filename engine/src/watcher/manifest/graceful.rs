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

/// What the capability's 24 bits can say (RFC 9494 §3.1).
const LONG_LIVED_MAX: u32 = 0xff_ffff;
const LONG_LIVED_TIME: Duration = Duration::from_secs(3600);

/// `longLivedGracefulRestart`: its stale time, if it is enabled.
pub(super) fn long_lived(
    fields: &mut Fields<'_>,
    settings: &GracefulRestart,
    report: &mut Report,
) -> Option<Duration> {
    let field = fields.get("longLivedGracefulRestart")?;
    let mut fields = field.fields(report)?;
    let enabled = fields.get("enabled");
    let enabled = enabled.filter(|field| field.boolean(report) == Some(true));
    let time = fields.get("staleTimeSeconds");
    let time = time.and_then(|field| field.integer(1..=LONG_LIVED_MAX, report));
    fields.close_strictly(report);
    let enabled = enabled?;
    if !settings.enabled && !settings.helper {
        let message =
            "true has no effect: gracefulRestart is off, enabled and helper (RFC 9494 §3)";
        enabled.warn(report, message);
        return None;
    }
    Some(time.map_or(LONG_LIVED_TIME, |time| Duration::from_secs(u64::from(time))))
}
