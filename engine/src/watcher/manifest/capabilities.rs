//! `capabilities` of a neighbor: what its OPEN offers beside what every neighbor is offered.

use super::fields::Fields;
use crate::config;
use crate::watcher::fault::Report;

/// What `capabilities` switches on or off.
#[derive(Clone, Copy, Debug)]
pub(super) struct Capabilities {
    pub(super) enhanced_refresh: bool,
    pub(super) offered: config::Capabilities,
    pub(super) fqdn: bool,
}

/// All that may be switched off is on unless it is.
pub(super) fn capabilities(fields: &mut Fields<'_>, report: &mut Report) -> Capabilities {
    let mut capabilities = Capabilities {
        enhanced_refresh: true,
        offered: config::Capabilities::default(),
        fqdn: true,
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
    let offered = &mut capabilities.offered;
    switch("extendedMessages", &mut offered.extended_messages);
    switch("extendedNextHop", &mut offered.extended_next_hop);
    switch("fqdn", &mut capabilities.fqdn);
    fields.close_strictly(report);
    capabilities
}
