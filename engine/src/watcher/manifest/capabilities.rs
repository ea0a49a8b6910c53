//! `capabilities` of a neighbor: what its OPEN offers beside what every neighbor is offered.

use super::fields::Fields;
use super::unsupported;
use crate::watcher::fault::Report;

/// What `capabilities` switches on or off.
#[derive(Clone, Copy, Debug)]
pub(super) struct Capabilities {
    pub(super) enhanced_refresh: bool,
}

/// All that may be switched off is on unless it is.
pub(super) fn capabilities(fields: &mut Fields<'_>, report: &mut Report) -> Capabilities {
    let mut capabilities = Capabilities {
        enhanced_refresh: true,
    };
    let field = fields.get("capabilities");
    let Some(mut fields) = field.and_then(|field| field.fields(report)) else {
        return capabilities;
    };
    let mut switch = |name, into: &mut bool| {
        let field = fields.get(name);
        if let Some(on) = field.and_then(|field| field.boolean(report)) {
            *into = on;
        }
    };
    switch("enhancedRefresh", &mut capabilities.enhanced_refresh);
    unsupported::in_capabilities(&mut fields, report);
    fields.close_strictly(report);
    capabilities
}
