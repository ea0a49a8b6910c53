//! The answers of the daemon as text for people.
//!
//! Pure functions from the model to strings; scripts read the JSON instead. Nothing here depends
//! on a terminal, so that output reads the same in a pipe.

mod events;
mod explain;
mod rpki;

use std::fmt::Write;

use comfy_table::{ColumnConstraint, Table, Width, presets};

use super::model::{Fault, Peer, PeerState, Policy, Route, Segment, SegmentKind, Source};

pub use events::event;
pub use explain::explanation;
pub use rpki::rpki;

/// The sessions as a table, and under it the faults in force.
pub fn peers(peers: &[Peer], faults: &[Fault], wide: bool) -> String {
    let named = peers.iter().any(|peer| peer.instance != DEFAULT_INSTANCE);
    let mut columns = vec!["PEER", "AS", "STATE", "UP/DOWN FOR", "IPV4", "IPV6"];
    if named || wide {
        columns.insert(0, "INSTANCE");
    }
    if wide {
        columns.extend(["HOSTNAME", "LOCAL", "LOCAL AS", "CLIENT", "GROUP", "SHARD"]);
        columns.push("MALFORMED");
    }
    columns.push("LAST ERROR");
    let mut text = String::new();
    if peers.is_empty() {
        text.push_str("No peers.\n");
    } else {
        let rows = peers.iter().map(|peer| peer_row(peer, named, wide));
        text.push_str(&table(Some(&columns), rows.collect(), &mut Vec::new()));
        text.push_str("IPV4, IPV6: prefixes received/accepted/advertised");
        let mut families = peers.iter().flat_map(|peer| &peer.families);
        if families.any(|family| family.stale > 0) {
            text.push_str("; stale: received, and not said again since the peer went away");
        }
        text.push('\n');
        if wide {
            text.push_str(
                "MALFORMED: UPDATEs that cost attributes/their routes/the session (RFC 7606)\n",
            );
        }
    }
    push_faults(&mut text, faults);
    text
}

fn peer_row(peer: &Peer, named: bool, wide: bool) -> Vec<String> {
    let since = peer.uptime_seconds.or(peer.downtime_seconds);
    let mut row = vec![
        peer.peer_address.clone(),
        or_dash(peer.peer_asn),
        state(peer.state).to_owned(),
        or_dash(since.map(duration)),
        counts(peer, "ipv4"),
        counts(peer, "ipv6"),
    ];
    if named || wide {
        row.insert(0, peer.instance.clone());
    }
    if wide {
        row.push(or_dash(peer.peer_hostname.as_ref()));
        row.push(or_dash(peer.local_address.as_ref()));
        row.push(peer.local_asn.to_string());
        row.push(client(peer).to_owned());
        row.push(or_dash(peer.group));
        row.push(peer.shard.to_string());
        let malformed = &peer.malformed_updates;
        row.push(format!(
            "{}/{}/{}",
            malformed.attribute_discard, malformed.treat_as_withdraw, malformed.session_reset
        ));
    }
    row.push(or_dash(last_error(peer, wide)));
    row
}

/// What is so now, or why the session is down. Why it was down before it came up again is shown only if
/// wide, with its age.
fn last_error(peer: &Peer, wide: bool) -> Option<String> {
    let words = peer.last_error.clone()?;
    match peer.last_error_age_seconds {
        Some(age) if wide => Some(format!("{words} ({} ago)", duration(age))),
        Some(_) if peer.state == PeerState::Established => None,
        _ => Some(words),
    }
}

fn client(peer: &Peer) -> &'static str {
    match (peer.route_reflector_client, peer.route_server_client) {
        (true, _) => "reflector",
        (_, true) => "server",
        _ => "-",
    }
}

fn counts(peer: &Peer, afi: &str) -> String {
    let family = peer.families.iter().find(|family| family.afi == afi);
    or_dash(family.map(|f| {
        let counts = format!("{}/{}/{}", f.received, f.accepted, f.advertised);
        match f.stale {
            0 => counts,
            stale => format!("{counts}, {stale} stale"),
        }
    }))
}

/// A table of routes that is printed page by page, its columns aligned across the pages.
#[derive(Debug, Default)]
pub struct RoutesTable {
    /// Whether the columns of `-o wide` are shown.
    pub wide: bool,
    started: bool,
    widths: Vec<u16>,
}

impl RoutesTable {
    /// A table that has printed nothing yet.
    pub fn new(wide: bool) -> RoutesTable {
        RoutesTable {
            wide,
            ..RoutesTable::default()
        }
    }

    /// The next lines: on the first page with the heading, for no routes nothing.
    pub fn page(&mut self, routes: &[Route]) -> String {
        if routes.is_empty() {
            return String::new();
        }
        let mut columns = vec![
            "", "PREFIX", "NEXT HOP", "FROM", "TO", "PREF", "MED", "AS PATH",
        ];
        if self.wide {
            columns.extend([
                "COMMUNITIES",
                "LARGE",
                "EXTENDED",
                "PATH ID",
                "INSTANCE",
                "MARKS",
            ]);
        }
        let heading = (!self.started).then_some(columns.as_slice());
        self.started = true;
        let rows = routes.iter().map(|route| route_row(route, self.wide));
        table(heading, rows.collect(), &mut self.widths)
    }
}

fn route_row(route: &Route, wide: bool) -> Vec<String> {
    let mut mark = match (route.best, route.accepted) {
        (true, _) => "*".to_owned(),
        (false, true) => String::new(),
        (false, false) => "x".to_owned(),
    };
    if route.stale {
        mark.push('s');
    }
    let mut row = vec![
        mark,
        route.prefix.clone(),
        or_dash(route.next_hop.as_ref()),
        from(route),
        or_dash(route.advertised_to.as_ref()),
        or_dash(route.local_pref),
        or_dash(route.med),
        path_and_origin(route),
    ];
    if wide {
        row.push(joined(route.communities.as_deref()));
        row.push(joined(route.large_communities.as_deref()));
        row.push(joined(route.extended_communities.as_deref()));
        row.push(or_dash(route.path_id));
        row.push(route.instance.clone());
        let marks = marks(route);
        row.push(or_dash((!marks.is_empty()).then(|| marks.join(", "))));
    }
    row
}

fn from(route: &Route) -> String {
    match (&route.peer_address, &route.source) {
        (Some(peer), _) => peer.clone(),
        (None, Some(source)) => format!("self: {}", resource(source)),
        (None, None) => "self".to_owned(),
    }
}

/// What is known of a route beside what it carries.
fn marks(route: &Route) -> Vec<String> {
    let mut marks = Vec::new();
    if let Some(rejected_by) = &route.rejected_by {
        marks.push(format!("rejected by {rejected_by}"));
    }
    marks.extend(stale(route).map(str::to_owned));
    if let Some(validation) = &route.validation {
        marks.push(format!("origin validation: {validation}"));
    }
    marks
}

/// In which way a route is stale.
fn stale(route: &Route) -> Option<&'static str> {
    let mut communities = route.communities.iter().flatten();
    let is_long_lived = communities.any(|community| community == LLGR_STALE);
    match (route.stale, is_long_lived) {
        (false, _) => None,
        (true, false) => Some("stale"),
        (true, true) => Some("long-lived stale"),
    }
}

/// What a route carries that stays past its peer's restart time (RFC 9494).
const LLGR_STALE: &str = "65535:6";

/// The route policies: one heading and one table of statements each.
pub fn policies(policies: &[Policy]) -> String {
    if policies.is_empty() {
        return "No route policies.\n".to_owned();
    }
    let mut text = String::new();
    for policy in policies {
        push_policy(&mut text, policy);
    }
    text
}

fn push_policy(text: &mut String, policy: &Policy) {
    let nobody = "nobody".to_owned();
    let of = |neighbors: &[String]| match neighbors.len() {
        0 => nobody.clone(),
        count if count > NEIGHBORS_TOLD => format!("{count} neighbors"),
        _ => neighbors.join(", "),
    };
    let _ = writeln!(
        text,
        "{}: import of {}; export of {}",
        policy.name,
        of(&policy.import_of),
        of(&policy.export_of)
    );
    let sets = policy.prefix_sets.iter();
    let sets: Vec<String> = sets
        .map(|set| format!("{} ({})", set.name, set.prefixes))
        .collect();
    if policy.trie_prefixes > 0 {
        let _ = write!(
            text,
            "{} prefixes in a trie of {} nodes",
            policy.trie_prefixes, policy.trie_nodes
        );
        if !sets.is_empty() {
            let _ = write!(text, "; sets: {}", sets.join(", "));
        }
        text.push('\n');
    }
    let columns = [
        "STATEMENT",
        "ONCE A SESSION",
        "ONCE A SET",
        "BY PREFIX",
        "SET",
        "ACTION",
        "HITS",
    ];
    let dashed = |keys: &[String]| or_dash((!keys.is_empty()).then(|| keys.join(", ")));
    let statements = policy.statements.iter().map(|statement| {
        vec![
            statement.name.clone(),
            dashed(&statement.by_neighbor),
            dashed(&statement.by_attributes),
            dashed(&statement.by_prefix),
            dashed(&statement.set),
            statement.action.clone(),
            statement.hits.to_string(),
        ]
    });
    let default = vec![
        "(defaultAction)".to_owned(),
        or_dash(None::<String>),
        or_dash(None::<String>),
        or_dash(None::<String>),
        or_dash(None::<String>),
        policy.default_action.clone(),
        policy.default_hits.to_string(),
    ];
    let rows = statements.chain([default]).collect();
    text.push_str(&table(Some(&columns), rows, &mut Vec::new()));
}

/// Past this many the neighbors under a policy are counted.
const NEIGHBORS_TOLD: usize = 5;

/// The attributes of a route in one line.
pub fn attributes(route: &Route) -> String {
    let mut parts = Vec::new();
    if let Some(next_hop) = &route.next_hop {
        parts.push(format!("next hop {next_hop}"));
    }
    parts.push(format!("AS path {}", path_and_origin(route)));
    parts.extend(preferences_and_communities(route));
    if let Some(stale) = stale(route) {
        parts.push(format!("{stale}: its peer has yet to say it again"));
    }
    parts.join(", ")
}

fn preferences_and_communities(route: &Route) -> Vec<String> {
    let mut parts = Vec::new();
    if let Some(local_pref) = route.local_pref {
        parts.push(format!("local preference {local_pref}"));
    }
    if let Some(med) = route.med {
        parts.push(format!("MED {med}"));
    }
    for (name, values) in [
        ("communities", &route.communities),
        ("large communities", &route.large_communities),
        ("extended communities", &route.extended_communities),
    ] {
        if let Some(values) = values {
            parts.push(format!("{name} {}", values.join(" ")));
        }
    }
    if let Some(by) = &route.aggregator {
        parts.push(format!("aggregator {} of AS {}", by.address, by.asn));
    }
    if route.atomic_aggregate {
        parts.push("atomic aggregate".to_owned());
    }
    parts
}

/// Adds the faults in force, if there are any.
pub fn push_faults(text: &mut String, faults: &[Fault]) {
    if faults.is_empty() {
        return;
    }
    text.push_str("Faults in force\n");
    for fault in faults {
        let _ = writeln!(text, "  {fault}");
    }
}

/// A resource as `Kind namespace/name`.
pub fn resource(source: &Source) -> String {
    match &source.namespace {
        Some(namespace) => format!("{} {namespace}/{}", source.kind, source.name),
        None => format!("{} {}", source.kind, source.name),
    }
}

/// The AS path and the origin: `65001 {1 2} IGP`, `(empty) IGP`.
fn path_and_origin(route: &Route) -> String {
    let path = match route.as_path.as_deref() {
        None => None,
        Some([]) => Some("(empty)".to_owned()),
        Some(segments) => Some(segments.iter().map(segment).collect::<Vec<_>>().join(" ")),
    };
    let parts: Vec<String> = path.into_iter().chain(route.origin.clone()).collect();
    or_dash((!parts.is_empty()).then(|| parts.join(" ")))
}

fn segment(segment: &Segment) -> String {
    let asns: Vec<String> = segment.asns.iter().map(u32::to_string).collect();
    let asns = asns.join(" ");
    match segment.kind {
        SegmentKind::Sequence => asns,
        SegmentKind::Set => format!("{{{asns}}}"),
        SegmentKind::ConfedSequence => format!("({asns})"),
        SegmentKind::ConfedSet => format!("[{asns}]"),
    }
}

fn state(state: PeerState) -> &'static str {
    match state {
        PeerState::Idle => "idle",
        PeerState::Connect => "connect",
        PeerState::Active => "active",
        PeerState::OpenSent => "openSent",
        PeerState::OpenConfirm => "openConfirm",
        PeerState::Established => "established",
    }
}

/// Seconds in the two largest units that say something: `45s`, `3m05s`, `2h10m`, `12d03h`.
fn duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    if days > 0 {
        format!("{days}d{:02}h", hours % 24)
    } else if hours > 0 {
        format!("{hours}h{:02}m", minutes % 60)
    } else if minutes > 0 {
        format!("{minutes}m{:02}s", seconds % 60)
    } else {
        format!("{seconds}s")
    }
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn joined(values: Option<&[String]>) -> String {
    or_dash(values.map(|values| values.join(" ")))
}

/// Lines of aligned columns. `widths` carries the widths from one page to the next.
fn table(heading: Option<&[&str]>, rows: Vec<Vec<String>>, widths: &mut Vec<u16>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if let Some(heading) = heading {
        table.set_header(heading.iter().copied());
    }
    table.add_rows(rows);
    for (index, content) in table.column_max_content_widths().into_iter().enumerate() {
        match widths.get_mut(index) {
            Some(width) => *width = content.max(*width),
            None => widths.push(content),
        }
    }
    for (column, width) in table.column_iter_mut().zip(widths.iter()) {
        column.set_padding((0, 2));
        column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(width + 2)));
    }
    let mut text = table.trim_fmt();
    text.push('\n');
    text
}

const DEFAULT_INSTANCE: &str = "default";

#[cfg(test)]
pub(crate) mod tests;
