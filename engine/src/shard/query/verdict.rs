//! Why a peer is told a prefix, or not, in words.
//!
//! Import and export are asked again, by the same code that judges routes: what is said here is what
//! happens there.

use codec::{IpPrefix, PeerKind};
use rib::{Path, PrefixId};

use super::state;
use super::table::{Table, fits};
use crate::group::{Group, ToldPath, walk_policy};
use crate::model::{PeerVerdict, PolicyStep, ReceivedPath, RoutesKind, SentPath};
use crate::policy::Walk;
use crate::shard::peer::{Established, Peer};
use crate::shard::{TOO_LONG_WORDS, import};

/// Paths that are shown of those that a peer says of one prefix: the first, and 16 others.
const RECEIVED_MAX: usize = 17;

/// What became of a route, and the statements of a policy that it met on its way.
type Judged = (String, Vec<PolicyStep>);

fn judged(walk: &Walk) -> Judged {
    (walk.words(), PolicyStep::of(walk))
}

impl Table<'_> {
    /// What the peer says of a prefix and what became of it, by path identifier; and how many more paths
    /// there are.
    fn received(&self, id: Option<PrefixId>, prefix: IpPrefix) -> (Vec<ReceivedPath>, usize) {
        let (Some((_, established)), Some(id)) = (self.established, id) else {
            return Default::default();
        };
        let family = prefix.family();
        let paths = self.rib.paths(family, id, self.guard);
        let own = paths
            .iter()
            .filter(|path| path.source == established.source);
        let mut own: Vec<&Path> = own.collect();
        own.sort_unstable_by_key(|path| path.path_id);
        let not_shown = own.len().saturating_sub(RECEIVED_MAX);
        let best = self.rib.best(family, id, self.guard);
        let shown = own.into_iter().take(RECEIVED_MAX).filter_map(|path| {
            let (import, import_steps) = self.import(prefix, path)?;
            let is_best = best == Some(*path);
            Some(ReceivedPath {
                route: self.path(RoutesKind::Received, prefix, path, is_best),
                import,
                import_steps,
            })
        });
        (shown.collect(), not_shown)
    }

    /// What became of a path that the peer says.
    fn import(&self, prefix: IpPrefix, path: &Path) -> Option<Judged> {
        let (peer, established) = self.established?;
        let received = self.instance.writer.received(path.attributes);
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
        let first = told.iter().find(|told| fits(told, established));
        let first = first.or(told.first());
        let told = first.and_then(|told| self.path_of(told, family, id));
        let refused = || {
            let paths = self.rib.paths(family, id, self.guard);
            let mut ranked = self.rib.ranked(paths, self.guard);
            ranked.find(|path| path.source != established.source)
        };
        let path = told.or_else(refused)?;
        self.walk_export(group, prefix, &path)
    }

    fn walk_export(&self, group: &Group, prefix: IpPrefix, path: &Path) -> Option<Judged> {
        walk_policy(group.view(), self.tables(), prefix, path).map(|walk| judged(&walk))
    }

    /// A path that a peer is told, and how it came through export policy.
    fn sent(
        &self,
        (peer, established): (&Peer, &Established),
        group: &Group,
        (id, prefix): (PrefixId, IpPrefix),
        told: &ToldPath,
    ) -> SentPath {
        let path = self.path_of(told, prefix.family(), id);
        let walk = path.and_then(|path| self.walk_export(group, prefix, &path));
        let (export, export_steps) = walk.unzip();
        SentPath {
            route: self.told(peer, established, (id, prefix), told),
            export,
            export_steps: export_steps.unwrap_or_default(),
        }
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
        let address = peer.neighbor.address.to_string();
        let state = state(peer.session.state());
        let mut verdict = PeerVerdict::not_told(address, state, reason.to_owned());
        verdict.advertised = advertised;
        verdict.route = route;
        let (received, not_shown) = table.received(id, prefix);
        let mut received = received.into_iter();
        if let Some(first) = received.next() {
            verdict.import = Some(first.import);
            verdict.import_steps = first.import_steps;
            verdict.received = Some(first.route);
        }
        verdict.other_received = received.collect();
        verdict.received_not_shown = not_shown as u64;
        let (export, export_steps) = table.export_policy(id, prefix).unzip();
        verdict.export = export;
        verdict.export_steps = export_steps.unwrap_or_default();
        verdict
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
            let (words, steps) = table.walk_export(group, prefix, &best).unzip();
            verdict.best_export = words;
            verdict.best_export_steps = steps.unwrap_or_default();
        }
        let others = paths[1..].iter();
        let sent = |path| table.sent((peer, established), group, (id, prefix), path);
        verdict.other_paths = others.map(sent).collect();
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
