//! `maxPrefixes` of a neighbor.

use std::time::Duration;

use super::fields::Fields;
use crate::config::{LimitAction, MaxPrefixes};
use crate::watcher::fault::Report;

/// More than this of one family are not counted under `import: none`, and nobody says as many.
const MOST: u32 = 4 << 20;

/// How many prefixes the neighbor may say.
pub(super) fn max_prefixes(fields: &mut Fields<'_>, report: &mut Report) -> MaxPrefixes {
    let mut limits = MaxPrefixes::default();
    let field = fields.get("maxPrefixes");
    let Some(mut fields) = field.and_then(|field| field.fields(report)) else {
        return limits;
    };
    for (name, most) in ["ipv4", "ipv6"].into_iter().zip(&mut limits.most) {
        let field = fields.get(name);
        let number = field.and_then(|field| field.integer(0..=MOST, report));
        *most = number.filter(|most| *most > 0);
    }
    let percent = fields.get("warningPercent");
    if let Some(percent) = percent.and_then(|field| field.integer(1..=100, report)) {
        limits.warning_percent = percent;
    }
    let restart = fields.get("restartAfterSeconds");
    let seconds = restart
        .as_ref()
        .and_then(|field| field.integer(0..=u32::MAX, report));
    let restart_after = seconds.filter(|seconds| *seconds > 0);
    let words = [("reset", true), ("warn", false)];
    let action = fields.get("action");
    let resets = action.and_then(|field| field.word(&words, report)) != Some(false);
    limits.action = match resets {
        true => LimitAction::Reset(restart_after.map(|s| Duration::from_secs(s.into()))),
        false => LimitAction::Warn,
    };
    if let Some(field) = restart.filter(|_| !resets && restart_after.is_some()) {
        field.warn(report, "has no effect: action is warn");
    }
    fields.close_strictly(report);
    limits
}
