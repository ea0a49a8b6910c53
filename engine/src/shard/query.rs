//! Answers about the state of a shard: sessions, tables, and why a prefix is told or not.
//!
//! Every answer is bounded: a table is walked a page at a time, so that no session waits for a
//! reader.

use codec::{Capability, Family, IpPrefix, NextHop, PeerKind};
use rib::{Guard, Path, PathFlags, PrefixId, Rib, SourceId};

use super::command::{PrefixView, Query};
use super::instance::Instance;
use super::limits::warning;
use super::memory::PAUSED_WORDS;
use super::peer::{Established, Peer, Unsaid, client_of};
use super::refresh::unasked_words;
use super::{Shard, TOO_LONG_WORDS, import, receive};
use crate::config::{Client, Import, InstanceId, PeerAddress};
use crate::group::{
    ExportView, Group, Refusal, Tables, ToldPath, export_path, fits_message, split_form,
    walk_policy,
};
use crate::model::attributes;
use crate::model::{
    self, FamilyCounts, PeerState, PeerVerdict, PolicyStep, ROUTES_PAGE, Route, RoutesCursor,
    RoutesKind, RoutesQuery, RoutesReply,
};
use crate::policy::Walk;
use crate::session::State;
use crate::time::Time;

/// VRPs that are shown of those that cover a prefix.
const VRPS_MAX: usize = 100;

/// Prefixes that are looked at for one page, whether they are in it or not.
const VISITED_MAX: usize = 8192;

impl Shard {
    pub(super) fn answer(&self, now: Time, query: Query) {
        match query {
            Query::Peers(instance, reply) => reply(self.peers_now(now, instance.as_deref())),
            Query::Routes(query, reply) => reply(self.routes(&query)),
            Query::Explain(instance, prefix, reply) => {
                reply(self.explain(now, instance.as_deref(), prefix));
            }
        }
    }

    fn peers_now(&self, now: Time, instance: Option<&str>) -> Vec<model::Peer> {
        let is_meant = |of: &Instance| instance.is_none_or(|wanted| wanted == of.name());
        let there = self.peers.iter().filter_map(|(_, peer)| {
            let of = self.instances.get(&peer.instance)?;
            is_meant(of).then(|| self.peer_now(now, of, peer))
        });
        let instances = self.instances.iter().filter(|(_, of)| is_meant(of));
        let away = instances.flat_map(|(id, of)| self.drained_and_away(now, *id, of));
        there.chain(away).collect()
    }

    fn peer_now(&self, now: Time, instance: &Instance, peer: &Peer) -> model::Peer {
        let established = peer.established.as_ref();
        let counts = |family| match established {
            Some(established) => {
                let (received, accepted) = receive::counts(&peer.neighbor, established, family);
                let group = instance.group(established.group);
                let source = established.source;
                let long = established.takes_long();
                let advertised = group.map_or(0, |g| g.announced_to(source, family, long));
                FamilyCounts::new(family, received, accepted, advertised)
            }
            None => {
                let (received, accepted) = peer
                    .retained
                    .as_ref()
                    .map_or((0, 0), |kept| kept.counts(family));
                FamilyCounts::new(family, received, accepted, 0)
            }
        };
        let stale = |family: Family| {
            let stale = peer.learned()?.stale[family.index()].as_ref()?;
            Some(stale.ids.len() as u64)
        };
        let family = |family| FamilyCounts {
            stale: stale(family).unwrap_or_default(),
            ..counts(family)
        };
        let since = now.saturating_since(match established {
            Some(established) => established.since,
            None => peer.session.since(),
        });
        let client = match established {
            Some(_) => client_of(&peer.neighbor, peer.kind()),
            None => peer.neighbor.client,
        };
        let drain = self.drain_state(now, peer);
        let holds_now = match (&drain, established) {
            (Some((_, words)), _) => Some(words.clone()),
            (None, Some(established)) if established.paused => Some(PAUSED_WORDS.to_owned()),
            (None, Some(established)) => {
                warning(&peer.neighbor, established).or_else(|| unasked(peer, established))
            }
            (None, None) => None,
        };
        let error_age = || {
            let at = peer.session.last_error_at()?;
            Some(now.saturating_since(at).as_secs())
        };
        model::Peer {
            instance: instance.name().to_owned(),
            peer_address: peer.neighbor.address.to_string(),
            peer_asn: match established {
                Some(established) => Some(established.negotiated.peer_asn),
                None => peer.expected_asn(),
            },
            peer_hostname: established.and_then(|up| hostname(&up.negotiated.received)),
            local_address: established.map(|e| e.negotiated.local_address.ip().to_string()),
            local_asn: peer.neighbor.local_asn,
            route_reflector_client: client == Some(Client::RouteReflector),
            route_server_client: client == Some(Client::RouteServer),
            state: state(peer.session.state()),
            uptime_seconds: established.map(|_| since.as_secs()),
            downtime_seconds: established.is_none().then_some(since.as_secs()),
            drain: drain.as_ref().map(|(state, _)| *state),
            last_error_age_seconds: match holds_now {
                Some(_) => None,
                None => error_age(),
            },
            last_error: holds_now.or_else(|| peer.session.last_error().map(str::to_owned)),
            group: established.map(|e| e.group as u32),
            shard: self.id.0,
            malformed_updates: peer.malformed.counts(),
            families: peer.neighbor.families.iter().map(family).collect(),
        }
    }

    fn routes(&self, query: &RoutesQuery) -> RoutesReply {
        let mut page = Page::new(query);
        let mut instances: Vec<_> = self.instances.iter().collect();
        instances.sort_by_key(|(id, _)| **id);
        for (id, instance) in instances {
            let meant = query.instance.as_deref();
            if meant.is_some_and(|wanted| wanted != instance.name()) || page.is_before(*id) {
                continue;
            }
            match query.kind {
                RoutesKind::Available => self.walk(&mut page, *id, instance, None),
                RoutesKind::Received | RoutesKind::Advertised => {
                    let peers = self.peers.iter().map(|(_, peer)| peer);
                    let peers = peers.filter(|peer| peer.instance == *id);
                    for peer in peers {
                        let address = peer.neighbor.address;
                        if query.peer.is_none_or(|wanted| wanted == address) {
                            self.walk(&mut page, *id, instance, Some(peer));
                        }
                    }
                }
            }
        }
        page.reply
    }

    /// Walks the families of one table, as far as the page goes.
    fn walk(&self, page: &mut Page<'_>, id: InstanceId, instance: &Instance, peer: Option<&Peer>) {
        let established = match peer {
            None => None,
            Some(peer) => match (&peer.established, page.query.kind) {
                (Some(established), _) => Some((peer, &**established)),
                // What a peer that restarts had said is still there.
                (None, RoutesKind::Received) if peer.retained.is_some() => None,
                (None, _) => return,
            },
        };
        if let Some((peer, _)) = established
            && page.query.kind == RoutesKind::Received
            && peer.neighbor.import == Import::None
        {
            page.note(format!(
                "routes received from {} are counted and not kept: import is none",
                peer.neighbor.address
            ));
            return;
        }
        if let Some((peer, established)) = established
            && page.query.kind == RoutesKind::Received
            && let Some(words) = unasked(peer, established)
        {
            page.note(words);
        }
        let address = peer.map(|peer| peer.neighbor.address);
        let rib = instance.writer.rib();
        let guard = rib.guard();
        for family in Family::ALL {
            if page.query.family.is_some_and(|wanted| wanted != family) {
                continue;
            }
            let Some(after) = page.start(id, address, family) else {
                continue;
            };
            let mut ids = Vec::new();
            let limit = page.visits_left();
            list(rib, family, page.query, after, limit, &guard, &mut ids);
            let whole = ids.len() < limit;
            for (prefix_id, prefix) in &ids {
                let table = Table {
                    instance,
                    rib,
                    guard: &guard,
                    established,
                    source: peer.and_then(Peer::learned).map(|learned| learned.source),
                };
                table.routes(page.query, *prefix_id, *prefix, &mut page.reply.routes);
                if page.reply.routes.len() >= ROUTES_PAGE {
                    page.end(self.id.0, id, address, family, *prefix);
                    return;
                }
            }
            page.visited += ids.len();
            if !whole && let Some((_, last)) = ids.last() {
                page.end(self.id.0, id, address, family, *last);
                return;
            }
        }
    }

    fn explain(&self, now: Time, instance: Option<&str>, prefix: IpPrefix) -> Vec<PrefixView> {
        let mut instances: Vec<_> = self.instances.iter().collect();
        instances.sort_by_key(|(id, _)| **id);
        instances.retain(|(_, of)| instance.is_none_or(|wanted| wanted == of.name()));
        instances
            .into_iter()
            .map(|(id, instance)| self.explain_in(now, (*id, instance), prefix))
            .collect()
    }

    fn explain_in(
        &self,
        now: Time,
        (id, instance): (InstanceId, &Instance),
        prefix: IpPrefix,
    ) -> PrefixView {
        let rib = instance.writer.rib();
        let guard = rib.guard();
        let prefix_id = rib.lookup(prefix, &guard);
        let mut paths = Vec::new();
        if let Some(prefix_id) = prefix_id {
            let table = Table {
                instance,
                rib,
                guard: &guard,
                established: None,
                source: None,
            };
            let query = RoutesQuery::all(RoutesKind::Available);
            table.routes(&query, prefix_id, prefix, &mut paths);
        }
        let peers = self.peers.iter().map(|(_, peer)| peer);
        let peers = peers.filter(|peer| peer.instance == id);
        let verdicts = peers.map(|peer| {
            let table = Table {
                instance,
                rib,
                guard: &guard,
                established: peer.established.as_deref().map(|up| (peer, up)),
                source: peer.learned().map(|learned| learned.source),
            };
            let drain = self.drain_state(now, peer).map(|(_, words)| words);
            verdict(&table, (peer, drain.as_deref()), prefix_id, prefix)
        });
        let away = self.drained_and_away(now, id, instance).into_iter();
        let verdicts = verdicts.chain(away.map(|row| PeerVerdict {
            peer_address: row.peer_address,
            state: row.state,
            advertised: false,
            reason: row.last_error.unwrap_or_default(),
            import: None,
            import_steps: Vec::new(),
            export: None,
            export_steps: Vec::new(),
            best_export: None,
            best_export_steps: Vec::new(),
            route: None,
        }));
        PrefixView {
            instance: instance.name().to_owned(),
            vrps: covering(instance, prefix),
            paths,
            peers: verdicts.collect(),
        }
    }
}

/// The VRPs by which routes to a prefix are judged; none: no cache is configured.
fn covering(instance: &Instance, prefix: IpPrefix) -> Option<Vec<model::CoveringVrp>> {
    let table = instance.vrps.table.as_ref()?;
    let covering = table.covering(prefix).into_iter().take(VRPS_MAX);
    let shown = covering.map(|vrp| model::CoveringVrp {
        prefix: vrp.prefix.to_string(),
        max_length: vrp.max_length,
        asn: vrp.asn,
    });
    Some(shown.collect())
}

/// Why some of a peer's routes are missing, if they are.
fn unasked(peer: &Peer, established: &Established) -> Option<String> {
    let are_missing = peer.neighbor.import != Import::None && established.unsaid != Unsaid::Nothing;
    are_missing.then(|| unasked_words(peer.neighbor.address))
}

/// Collects one page.
struct Page<'q> {
    query: &'q RoutesQuery,
    reply: RoutesReply,
    visited: usize,
    /// Where to begin; none: the place has been reached.
    cursor: Option<RoutesCursor>,
}

impl<'q> Page<'q> {
    fn new(query: &'q RoutesQuery) -> Page<'q> {
        Page {
            query,
            reply: RoutesReply::default(),
            visited: 0,
            cursor: query.cursor.clone(),
        }
    }

    fn is_before(&self, instance: InstanceId) -> bool {
        let cursor = self.cursor.as_ref();
        cursor.is_some_and(|cursor| instance.0 < cursor.instance)
    }

    fn visits_left(&self) -> usize {
        VISITED_MAX.saturating_sub(self.visited).max(1)
    }

    /// Where a family's walk begins: `Some(None)` at its start; none: it was walked before, or the
    /// page is full.
    fn start(
        &mut self,
        instance: InstanceId,
        peer: Option<PeerAddress>,
        family: Family,
    ) -> Option<Option<IpPrefix>> {
        if self.reply.more.is_some() {
            return None;
        }
        let Some(cursor) = &self.cursor else {
            return Some(None);
        };
        let place = (instance.0, peer, Some(family));
        let begin = (cursor.instance, cursor.peer, cursor.family);
        if place < begin {
            return None;
        }
        let after = cursor.after.filter(|_| place == begin);
        self.cursor = None;
        Some(after)
    }

    fn end(
        &mut self,
        shard: u8,
        instance: InstanceId,
        peer: Option<PeerAddress>,
        family: Family,
        after: IpPrefix,
    ) {
        self.reply.more = Some(RoutesCursor {
            instance: instance.0,
            shard,
            peer,
            family: Some(family),
            after: Some(after),
        });
    }

    fn note(&mut self, note: String) {
        if !self.reply.notes.contains(&note) {
            self.reply.notes.push(note);
        }
    }
}

/// The prefixes that a query means, from a place on, in order.
fn list(
    rib: &Rib,
    family: Family,
    query: &RoutesQuery,
    after: Option<IpPrefix>,
    limit: usize,
    guard: &Guard,
    out: &mut Vec<(PrefixId, IpPrefix)>,
) {
    match query.prefix {
        Some(prefix) if prefix.family() != family => {}
        Some(prefix) if !query.longer => {
            let id = rib.lookup(prefix, guard).filter(|_| after.is_none());
            out.extend(id.map(|id| (id, prefix)));
        }
        within => rib.walk(family, within, after, limit, guard, |id, prefix| {
            out.push((id, prefix));
        }),
    }
}

/// One table of an instance: the Loc-RIB, or those of a peer whose session is up.
struct Table<'a> {
    instance: &'a Instance,
    rib: &'a Rib,
    guard: &'a Guard,
    established: Option<(&'a Peer, &'a Established)>,
    /// Of whom the peer's paths are, be its session up or expected back.
    source: Option<SourceId>,
}

impl Table<'_> {
    fn routes(&self, query: &RoutesQuery, id: PrefixId, prefix: IpPrefix, out: &mut Vec<Route>) {
        let family = prefix.family();
        match (query.kind, self.established) {
            (RoutesKind::Advertised, Some((peer, established))) => {
                let told = self.all_told(established, family, id);
                let told = told.iter().filter(|path| fits(path, established));
                out.extend(told.map(|path| self.told(peer, established, (id, prefix), path)));
            }
            (kind, _) => {
                let best = self.rib.best(family, id, self.guard);
                for path in self.rib.paths(family, id, self.guard).iter() {
                    let meant = match kind {
                        RoutesKind::Received => self.source == Some(path.source),
                        _ => !path.flags.contains(PathFlags::REJECTED),
                    };
                    let source = self.rib.source(path.source, self.guard);
                    let from = query.peer.is_none() || query.peer == source.address;
                    if meant && from {
                        let best = best == Some(*path);
                        out.push(self.path(kind, prefix, path, best));
                    }
                }
            }
        }
    }

    /// What a peer is told of a prefix, in order of preference, whether or not a message has room for
    /// it.
    fn all_told(&self, established: &Established, family: Family, id: PrefixId) -> Vec<ToldPath> {
        let group = self.instance.group(established.group);
        let told =
            |group: &Group| group.told(established.source, family, id, (self.rib, self.guard));
        group.map(told).unwrap_or_default()
    }

    fn path(&self, kind: RoutesKind, prefix: IpPrefix, path: &Path, best: bool) -> Route {
        let source = self.rib.source(path.source, self.guard);
        let shown = match kind {
            // The peer's shard is asked, which owns them.
            RoutesKind::Received => self.instance.writer.received(path.attributes),
            RoutesKind::Available | RoutesKind::Advertised => path.attributes,
        };
        let attributes = self.rib.attributes(shown, self.guard);
        let mut route = Route::new(self.instance.name(), prefix);
        route.peer_address = source.address.map(|address| address.to_string());
        attributes::fill(&mut route, attributes.bytes);
        route.best = best;
        let is_identified = path.flags.contains(PathFlags::IDENTIFIED);
        route.path_id = is_identified.then_some(path.path_id);
        route.accepted = !path.flags.contains(PathFlags::REJECTED);
        route.stale = path.flags.contains(PathFlags::STALE);
        route.validation = self.validation(kind, prefix, path);
        if !route.accepted
            && let Some((peer, established)) = self.established
        {
            let of = (&*peer.neighbor, established);
            let rejection = import::explain(self.instance, of, prefix, attributes.bytes);
            route.rejected_by = rejection.map(|rejection| rejection.words().into_owned());
        }
        route
    }

    /// The state of a learned path as it came in; where the AS_PATH leaves its origin to us, only its
    /// peer's shard knows which of our ASes that is.
    fn validation(&self, kind: RoutesKind, prefix: IpPrefix, path: &Path) -> Option<String> {
        if path.flags.contains(PathFlags::LOCAL) {
            return None;
        }
        let origin = match (kind, self.established) {
            (RoutesKind::Received, Some((peer, _))) => {
                let own_asn = peer.neighbor.local_asn;
                self.instance.received_from(path, own_asn)
            }
            _ => self.instance.told_from(path),
        };
        let state = self.instance.vrps.state(prefix, origin);
        state.map(|state| state.name().to_owned())
    }

    fn told(
        &self,
        peer: &Peer,
        established: &Established,
        (id, prefix): (PrefixId, IpPrefix),
        told: &ToldPath,
    ) -> Route {
        let mut route = Route::new(self.instance.name(), prefix);
        let path = self.path_of(told, prefix.family(), id);
        match established.negotiated.wire.four_octet_as {
            true => attributes::fill(&mut route, split_form(&told.form).1),
            false => {
                let form = path.and_then(|path| self.in_full(established, prefix, &path));
                if let Some(form) = form {
                    attributes::fill(&mut route, split_form(&form).1);
                }
            }
        }
        if let Some(next_hop) = split_form(&told.form).0 {
            route.next_hop = Some(next_hop.address().to_string());
            if let NextHop::V6WithLinkLocal(_, link_local) = next_hop {
                route.link_local_next_hop = Some(link_local.to_string());
            }
        }
        let state = path.and_then(|path| {
            let origin = match path.flags.contains(PathFlags::LOCAL) {
                true => Some(peer.neighbor.local_asn),
                false => self.instance.told_from(&path),
            };
            self.instance.vrps.state(prefix, origin)
        });
        route.validation = state.map(|state| state.name().to_owned());
        let source = self.rib.source(told.source, self.guard);
        route.peer_address = source.address.map(|address| address.to_string());
        route.advertised_to = Some(peer.neighbor.address.to_string());
        route.path_id = told.path_id;
        route.best = path == self.rib.best(prefix.family(), id, self.guard);
        route.stale = path.is_some_and(|path| path.flags.contains(PathFlags::STALE));
        route
    }

    /// A two-octet peer is told AS_PATHs with stand-ins for long numbers: people are shown what
    /// they stand for.
    fn in_full(&self, established: &Established, prefix: IpPrefix, path: &Path) -> Option<Vec<u8>> {
        let view = ExportView {
            four_octet_as: true,
            ..self.instance.group(established.group)?.view().clone()
        };
        self.export(&view, prefix, path).ok()
    }

    /// The path in the table that a peer is told of. Without ADD-PATH that is the most preferred of
    /// its source.
    fn path_of(&self, told: &ToldPath, family: Family, id: PrefixId) -> Option<Path> {
        let paths = self.rib.paths(family, id, self.guard);
        let is_meant = |path: &Path| {
            path.source == told.source && told.received.is_none_or(|id| id == path.path_id)
        };
        self.rib.ranked(paths, self.guard).find(is_meant)
    }

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

    fn tables(&self) -> Tables<'_> {
        (self.rib, self.guard, self.instance.vrps.table.as_deref())
    }

    fn export(&self, view: &ExportView, prefix: IpPrefix, path: &Path) -> Result<Vec<u8>, Refusal> {
        let mut form = Vec::new();
        export_path(view, self.tables(), prefix, path, &mut form)?;
        Ok(form)
    }
}

/// What became of a route, and the statements of a policy that it met on its way.
type Judged = (String, Vec<PolicyStep>);

fn judged(walk: &Walk) -> Judged {
    (walk.words(), PolicyStep::of(walk))
}

/// Whether what a peer is to be told of a prefix fits in a message that it takes.
fn fits(told: &ToldPath, established: &Established) -> bool {
    let max_len = established.negotiated.wire.max_len();
    fits_message(&told.form, told.path_id, max_len)
}

/// Why a peer is told a prefix, or not; `drain`: what being drained means for it, if it is.
fn verdict(
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

/// The name that a peer's capabilities tell, with nothing in it that could confuse a terminal.
fn hostname(capabilities: &[Capability]) -> Option<String> {
    let name = capabilities
        .iter()
        .find_map(|capability| match capability {
            Capability::Fqdn { host, domain } if domain.is_empty() => Some(host.to_vec()),
            Capability::Fqdn { host, domain } => Some([host, &b"."[..], domain].concat()),
            _ => None,
        })?;
    let text = String::from_utf8_lossy(&name);
    Some(text.replace(char::is_control, "\u{fffd}")).filter(|text| !text.is_empty())
}

pub(super) fn state(state: State) -> PeerState {
    match state {
        State::Idle => PeerState::Idle,
        State::Connect => PeerState::Connect,
        State::Active => PeerState::Active,
        State::OpenSent => PeerState::OpenSent,
        State::OpenConfirm => PeerState::OpenConfirm,
        State::Established => PeerState::Established,
    }
}
