//! Answers about the state of a shard: sessions, tables, and why a prefix is told or not.
//!
//! Every answer is bounded: a table is walked a page at a time, so that no session waits for a
//! reader.

mod table;
mod verdict;

use codec::{Capability, Family, IpPrefix};
use rib::{Guard, PrefixId, Rib};

use super::Shard;
use super::command::{PrefixView, Query};
use super::instance::Instance;
use super::limits::warning;
use super::memory::PAUSED_WORDS;
use super::peer::{Established, Peer, Unsaid, client_of};
use super::receive;
use super::refresh::unasked_words;
use crate::config::{Client, Import, InstanceId, PeerAddress};
use crate::model::{
    self, FamilyCounts, PeerState, PeerVerdict, ROUTES_PAGE, RoutesCursor, RoutesKind, RoutesQuery,
    RoutesReply,
};
use crate::session::State;
use crate::time::Time;
use table::Table;
use verdict::verdict;

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
        let verdicts = verdicts.chain(away.map(|row| {
            let reason = row.last_error.unwrap_or_default();
            PeerVerdict::not_told(row.peer_address, row.state, reason)
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

/// The name that a peer's capabilities tell, escaped as its shutdown communications are: nothing in it
/// can confuse a terminal, or its reader by writing backwards.
fn hostname(capabilities: &[Capability]) -> Option<String> {
    let name = capabilities
        .iter()
        .find_map(|capability| match capability {
            Capability::Fqdn { host, domain } if domain.is_empty() => Some(host.to_vec()),
            Capability::Fqdn { host, domain } => Some([host, &b"."[..], domain].concat()),
            _ => None,
        })?;
    let text = String::from_utf8_lossy(&name);
    Some(text.escape_debug().to_string()).filter(|text| !text.is_empty())
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
