//! Why a peer is told a prefix, or not, in words.
//!
//! Import and export are asked again, by the same code that judges routes: what is said here is what
//! happens there.

use codec::{IpPrefix, PeerKind};
use rib::{Path, PrefixId};

use super::state;
use super::table::{Table, fits};
use crate::group::{Group, walk_policy};
use crate::model::{PeerVerdict, PolicyStep};
use crate::policy::Walk;
use crate::shard::peer::{Established, Peer};
use crate::shard::{TOO_LONG_WORDS, import};

/// What became of a route, and the statements of a policy that it met on its way.
type Judged = (String, Vec<PolicyStep>);

fn judged(walk: &Walk) -> Judged {
    (walk.words(), PolicyStep::of(walk))
}

impl Table<'_> {
    /// What became of what the peer says of a prefix.
    fn import(&self, id: Option<PrefixId>, prefix: IpPrefix) -> Option<Judged> {
        let (peer, established) = self.established?;
        let paths = self.rib.paths(prefix.family(), id?, self.guard);
        let own = paths
            .iter()
            .find(|path| path.source == established.source)?;
        let received = self.instance.writer.received(own.attributes);
        let received = self.rib.attributes(received, self.guard).bytes;
        let of = (&*peer.neighbor, established);
        let rejection = import::explain(self.instance, of, prefix, received);
        // What is refused before policy is asked never got there.
        let asked = matches!(rejection, None | Some(import::Rejection::Policy(_)));
        let walk = || import::walk(self.instance, of, prefix, received);
        let walk = asked.then(walk).flatten();
        let form = walk
            .as_ref()
            .and_then(|walk| walk.verdict.form.attributes.clone());
        let is_lowered = rejection.is_none()
            && established.kind(&peer.neighbor) == PeerKind::External
            && import::is_shutting_down(form.as_deref().unwrap_or(received));
        let (mut words, steps) = match (walk, rejection) {
            (Some(walk), _) => judged(&walk),
            (None, Some(rejection)) => (format!("rejected by {}", rejection.words()), Vec::new()),
            (None, None) => ("accepted, its import is all".to_owned(), Vec::new()),
        };
        // Behind whatever policy set.
        if is_lowered {
            words += "; then GRACEFUL_SHUTDOWN: local preference 0 (RFC 8326)";
        }
        Some((words, steps))
    }

    /// Why a peer that is told another path is not told the best one.
    fn why_not_best(
        &self,
        peer: &Peer,
        established: &Established,
        (id, prefix): (PrefixId, IpPrefix),
        best: &Path,
    ) -> String {
        let from = match self.rib.source(best.source, self.guard).address {
            Some(address) => format!("the best path, from {address},"),
            None => "the best path, our own route,".to_owned(),
        };
        if best.source == established.source {
            return format!("the best path came from {} itself", peer.neighbor.address);
        }
        let family = prefix.family();
        let told = self.all_told(established, family, id);
        let mut told = told.iter();
        if told.any(|told| self.path_of(told, family, id) == Some(*best)) {
            return format!("{from} is not told: {TOO_LONG_WORDS}");
        }
        let view = self.instance.group(established.group).map(Group::view);
        match view.map(|view| (view, self.export(view, prefix, best))) {
            Some((view, Err(refusal))) => {
                format!("{from} must not be told to it: {}", view.words(refusal))
            }
            _ => format!("{from} is about to be announced"),
        }
    }

    /// What export policy says of the path that a peer would be told.
    fn export_policy(&self, id: Option<PrefixId>, prefix: IpPrefix) -> Option<Judged> {
        let (_, established) = self.established?;
        let (id, family) = (id?, prefix.family());
        let group = self.instance.group(established.group)?;
        let told = group.told(established.source, family, id, (self.rib, self.guard));
        let told = told.first().and_then(|told| self.path_of(told, family, id));
        let refused = || {
            let paths = self.rib.paths(family, id, self.guard);
            let mut ranked = self.rib.ranked(paths, self.guard);
            ranked.find(|path| path.source != established.source)
        };
        let path = told.or_else(refused)?;
        walk_policy(group.view(), self.tables(), prefix, &path).map(|walk| judged(&walk))
    }
}

/// Why a peer is told a prefix, or not; `drain`: what being drained means for it, if it is.
pub(super) fn verdict(
    table: &Table<'_>,
    (peer, drain): (&Peer, Option<&str>),
    id: Option<PrefixId>,
    prefix: IpPrefix,
) -> PeerVerdict {
    let told = |advertised, reason: &str, route| {
        let (import, import_steps) = table.import(id, prefix).unzip();
        let (export, export_steps) = table.export_policy(id, prefix).unzip();
        PeerVerdict {
            peer_address: peer.neighbor.address.to_string(),
            state: state(peer.session.state()),
            advertised,
            reason: reason.to_owned(),
            import,
            import_steps: import_steps.unwrap_or_default(),
            export,
            export_steps: export_steps.unwrap_or_default(),
            best_export: None,
            best_export_steps: Vec::new(),
            route,
        }
    };
    let family = prefix.family();
    let Some((_, established)) = table.established else {
        let why = peer.session.last_error().unwrap_or("the session is not up");
        let words = drain.map_or_else(|| format!("not established: {why}"), str::to_owned);
        return told(false, &words, None);
    };
    if !established.negotiated.families.contains(family) {
        return told(false, &format!("the session does not carry {family}"), None);
    }
    let Some(group) = table.instance.group(established.group) else {
        return told(false, "the session is coming up", None);
    };
    let Some((id, best)) = id.and_then(|id| Some((id, table.rib.best(family, id, table.guard)?)))
    else {
        return told(false, "no usable path for the prefix", None);
    };
    let mut paths = table.all_told(established, family, id);
    let are_any = !paths.is_empty();
    paths.retain(|path| fits(path, established));
    if are_any && paths.is_empty() {
        return told(false, TOO_LONG_WORDS, None);
    }
    if let Some(path) = paths.first() {
        let route = table.told(peer, established, (id, prefix), path);
        let why = match route.best {
            true => None,
            false => Some(table.why_not_best(peer, established, (id, prefix), &best)),
        };
        let mut reason = match &why {
            None => "announced".to_owned(),
            Some(why) => format!("announced: the best of the others; {why}"),
        };
        if paths.len() > 1 {
            reason += &format!(" ({} paths, of which this is the first)", paths.len());
        }
        if group.view().graceful_shutdown {
            reason += match group.view().peer {
                PeerKind::External => "; being drained: with GRACEFUL_SHUTDOWN (RFC 8326)",
                PeerKind::Internal => {
                    "; being drained: with GRACEFUL_SHUTDOWN and local preference 0 (RFC 8326)"
                }
            };
        }
        let mut verdict = told(true, &reason, Some(route));
        if why.is_some() && best.source != established.source {
            let walk = walk_policy(group.view(), table.tables(), prefix, &best);
            let (words, steps) = walk.map(|walk| judged(&walk)).unzip();
            verdict.best_export = words;
            verdict.best_export_steps = steps.unwrap_or_default();
        }
        return verdict;
    }
    if best.source == established.source {
        return told(
            false,
            "the best path came from this peer (split horizon)",
            None,
        );
    }
    match table.export(group.view(), prefix, &best) {
        Ok(_) => told(false, "about to be announced", None),
        Err(refusal) => told(false, &group.view().words(refusal), None),
    }
}
