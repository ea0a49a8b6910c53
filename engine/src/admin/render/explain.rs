//! Why a prefix is announced, or not, as text: from the resource that asks for it to each peer.

use std::fmt::Write;

use super::super::model::{Claim, Explanation, PeerVerdict, PolicyStep, Route};
use super::{DEFAULT_INSTANCE, attributes, from, resource, rpki, state};

/// One instance's explanation of a prefix.
pub fn explanation(explanation: &Explanation) -> String {
    let mut text = String::new();
    let told = explanation.peers.iter().filter(|p| p.advertised).count();
    let all = explanation.peers.len();
    let _ = write!(text, "{}: ", explanation.prefix);
    let _ = match (told, all) {
        (_, 0) => write!(text, "announced to nobody: there are no peers"),
        (0, 1) => write!(text, "not announced to the one peer"),
        (1, 1) => write!(text, "announced to the one peer"),
        (0, _) => write!(text, "not announced to any of {all} peers"),
        _ => write!(text, "announced to {told} of {all} peers"),
    };
    if explanation.instance != DEFAULT_INSTANCE {
        let _ = write!(text, " (instance {})", explanation.instance);
    }
    text.push('\n');
    if explanation.claims.is_empty() && explanation.notes.is_empty() {
        text.push_str("No resource asks for it.\n");
    }
    push_claims(&mut text, &explanation.claims);
    for note in &explanation.notes {
        let _ = writeln!(text, "Note: {note}");
    }
    if !explanation.near.is_empty() {
        let _ = writeln!(text, "Own routes near it: {}", explanation.near.join(", "));
    }
    if let Some(vrps) = &explanation.vrps {
        rpki::push_vrps(&mut text, vrps, &explanation.paths);
    }
    if !explanation.paths.is_empty() {
        text.push_str("Paths\n");
        for path in &explanation.paths {
            let mark = if path.best { "best, " } else { "" };
            let _ = writeln!(text, "  {mark}from {}, {}", from(path), attributes(path));
        }
    }
    if !explanation.peers.is_empty() {
        text.push_str("Peers\n");
        for peer in &explanation.peers {
            push_verdict(&mut text, peer);
        }
    }
    text
}

fn push_claims(text: &mut String, claims: &[Claim]) {
    if claims.is_empty() {
        return;
    }
    text.push_str("Asked for by\n");
    for claim in claims {
        let _ = write!(text, "  {} {}", resource(&claim.source), claim.source.rule);
        if let Some(location) = &claim.location {
            let _ = write!(text, " ({location})");
        }
        let verdict = if claim.originates {
            "own route"
        } else {
            "no own route"
        };
        let _ = writeln!(text, "\n    {verdict}: {}", claim.reason);
    }
}

fn push_verdict(text: &mut String, peer: &PeerVerdict) {
    let verdict = if peer.advertised { "told" } else { "not told" };
    let _ = write!(
        text,
        "  {} ({}): {verdict}, {}",
        peer.peer_address,
        state(peer.state),
        peer.reason
    );
    if let Some(route) = &peer.route {
        let _ = write!(text, "; {}", attributes(route));
    }
    text.push('\n');
    push_received(text, peer);
    push_judged(
        text,
        "export of the best path",
        (peer.best_export.as_deref(), &peer.best_export_steps),
    );
    push_judged(text, "export", (peer.export.as_deref(), &peer.export_steps));
    for told in &peer.other_paths {
        let route = &told.route;
        let (from, shown) = (from(route), attributes(route));
        let id = path_id(route);
        let _ = writeln!(text, "    also told path{id}: from {from}, {shown}");
        push_judged(text, "export", (told.export.as_deref(), &told.export_steps));
    }
}

/// What became of what a peer itself says; of several paths, with what each is.
fn push_received(text: &mut String, peer: &PeerVerdict) {
    let of = |route: &Route| format!("its own path{} ({})", path_id(route), attributes(route));
    let first = peer.received.as_ref();
    let first = first.filter(|_| !peer.other_received.is_empty());
    let what = first.map_or_else(|| "its own path".to_owned(), of);
    push_judged(text, &what, (peer.import.as_deref(), &peer.import_steps));
    for path in &peer.other_received {
        let judged = (Some(path.import.as_str()), path.import_steps.as_slice());
        push_judged(text, &of(&path.route), judged);
    }
    if peer.received_not_shown > 0 {
        let left = peer.received_not_shown;
        let _ = writeln!(text, "    {left} more of its own paths are not shown");
    }
}

/// The path identifier, where there is one, as ` 7`.
fn path_id(route: &Route) -> String {
    let id = route.path_id;
    id.map_or_else(String::new, |id| format!(" {id}"))
}

fn push_judged(text: &mut String, what: &str, (by, steps): (Option<&str>, &[PolicyStep])) {
    if let Some(by) = by {
        let _ = writeln!(text, "    {what}: {by}");
    }
    push_steps(text, steps);
}

/// A route's way through a policy, unless the one statement that decided is all of it.
fn push_steps(text: &mut String, steps: &[PolicyStep]) {
    if let [only] = steps
        && only.set.is_empty()
        && only.passed_over.is_none()
    {
        return;
    }
    for step in steps {
        text.push_str("      ");
        let _ = match &step.statement {
            Some(statement) => write!(text, "statement {statement}: "),
            None => write!(text, "defaultAction: "),
        };
        if !step.set.is_empty() {
            let _ = write!(text, "set {}; ", step.set.join(", "));
        }
        if let Some(passed_over) = &step.passed_over {
            let _ = write!(text, "{passed_over}; ");
        }
        let _ = match step.action.as_str() {
            "Next" => writeln!(text, "went on"),
            action => writeln!(text, "{action}"),
        };
    }
}
