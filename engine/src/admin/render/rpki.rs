//! Origin validation, for people.

use std::fmt::Write;

use super::super::model::{CoveringVrp, Route, RpkiCache, RpkiState};
use super::{DEFAULT_INSTANCE, duration, or_dash, table};

/// The caches as a table.
pub fn rpki(caches: &[RpkiCache], wide: bool) -> String {
    if caches.is_empty() {
        return "No cache is configured: origins are not validated.\n".to_owned();
    }
    let named = caches
        .iter()
        .any(|cache| cache.instance != DEFAULT_INSTANCE);
    let mut columns = vec![
        "",
        "CACHE",
        "PREFERENCE",
        "STATE",
        "SERIAL",
        "IPV4 VRPS",
        "IPV6 VRPS",
        "EXPIRES IN",
    ];
    if named || wide {
        columns.insert(1, "INSTANCE");
    }
    if wide {
        columns.extend(["VERSION", "SESSION", "NEXT ATTEMPT"]);
    }
    columns.push("LAST ERROR");
    let rows = caches.iter().map(|cache| row(cache, named, wide));
    let mut text = table(Some(&columns), rows.collect(), &mut Vec::new());
    text.push_str("*: routes are judged by what this cache says\n");
    text
}

fn row(cache: &RpkiCache, named: bool, wide: bool) -> Vec<String> {
    let address = match cache.address.contains(':') {
        true => format!("[{}]:{}", cache.address, cache.port),
        false => format!("{}:{}", cache.address, cache.port),
    };
    let mut row = vec![
        if cache.in_use { "*" } else { "" }.to_owned(),
        address,
        cache.preference.to_string(),
        state(cache.state).to_owned(),
        or_dash(cache.serial),
        or_dash(cache.ipv4_vrps),
        or_dash(cache.ipv6_vrps),
        or_dash(cache.expires_in_seconds.map(duration)),
    ];
    if named || wide {
        row.insert(1, cache.instance.clone());
    }
    if wide {
        row.push(or_dash(cache.version));
        row.push(or_dash(cache.session_id));
        row.push(or_dash(cache.next_attempt_seconds.map(duration)));
    }
    row.push(or_dash(cache.last_error.as_ref()));
    row
}

fn state(state: RpkiState) -> &'static str {
    match state {
        RpkiState::Standby => "standby",
        RpkiState::Waiting => "waiting",
        RpkiState::Connecting => "connecting",
        RpkiState::Synchronizing => "synchronizing",
        RpkiState::Synchronized => "synchronized",
    }
}

/// The VRPs that cover a prefix, and what follows for its paths.
pub(super) fn push_vrps(text: &mut String, vrps: &[CoveringVrp], paths: &[Route]) {
    if vrps.is_empty() {
        text.push_str("Origin validation: notFound, no VRP covers it\n");
        return;
    }
    text.push_str("Origin validation: judged by these VRPs\n");
    for vrp in vrps {
        let CoveringVrp {
            prefix,
            max_length,
            asn,
        } = vrp;
        let _ = match asn {
            0 => writeln!(
                text,
                "  {prefix} up to /{max_length}: nobody may originate it (AS 0)"
            ),
            asn => writeln!(text, "  {prefix} up to /{max_length} of AS {asn}"),
        };
    }
    for path in paths {
        if let Some(state) = &path.validation {
            let _ = writeln!(text, "  from {}: {state}", super::from(path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_for_people() {
        assert!(rpki(&[], false).starts_with("No cache"));
        let cache = RpkiCache {
            instance: "default".to_owned(),
            address: "2001:db8::1".to_owned(),
            port: 323,
            preference: 1,
            state: RpkiState::Synchronized,
            version: Some(1),
            session_id: Some(7),
            serial: Some(9),
            ipv4_vrps: Some(500_000),
            ipv6_vrps: Some(0),
            in_use: true,
            expires_in_seconds: Some(7200),
            next_attempt_seconds: None,
            last_error: None,
        };
        let lost = RpkiCache {
            state: RpkiState::Waiting,
            next_attempt_seconds: Some(600),
            ..cache.clone()
        };
        let text = rpki(&[cache], false);
        for part in ["*  [2001:db8::1]:323", "synchronized", "500000", "2h"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(rpki(&[lost], true).contains("10m"));
    }
}
