//! Rows of one table as people are shown them: the Loc-RIB, an Adj-RIB-In or an Adj-RIB-Out.
//!
//! Nothing is kept between two answers: every row is made from the RIB and from what groups hold.

use codec::{Family, IpPrefix, NextHop};
use rib::{Guard, Path, PathFlags, PrefixId, Rib, SourceId};

use crate::group::{
    ExportView, Group, Refusal, Tables, ToldPath, export_path, fits_message, split_form,
};
use crate::model::{Route, RoutesKind, RoutesQuery, attributes};
use crate::shard::import;
use crate::shard::instance::Instance;
use crate::shard::peer::{Established, Peer};

/// One table of an instance: the Loc-RIB, or those of a peer whose session is up.
pub(super) struct Table<'a> {
    pub(super) instance: &'a Instance,
    pub(super) rib: &'a Rib,
    pub(super) guard: &'a Guard,
    pub(super) established: Option<(&'a Peer, &'a Established)>,
    /// Of whom the peer's paths are, be its session up or expected back.
    pub(super) source: Option<SourceId>,
}

impl Table<'_> {
    pub(super) fn routes(
        &self,
        query: &RoutesQuery,
        id: PrefixId,
        prefix: IpPrefix,
        out: &mut Vec<Route>,
    ) {
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
    pub(super) fn all_told(
        &self,
        established: &Established,
        family: Family,
        id: PrefixId,
    ) -> Vec<ToldPath> {
        let group = self.instance.group(established.group);
        let told =
            |group: &Group| group.told(established.source, family, id, (self.rib, self.guard));
        group.map(told).unwrap_or_default()
    }

    pub(super) fn path(
        &self,
        kind: RoutesKind,
        prefix: IpPrefix,
        path: &Path,
        best: bool,
    ) -> Route {
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

    pub(super) fn told(
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
    pub(super) fn path_of(&self, told: &ToldPath, family: Family, id: PrefixId) -> Option<Path> {
        let paths = self.rib.paths(family, id, self.guard);
        let is_meant = |path: &Path| {
            path.source == told.source && told.received.is_none_or(|id| id == path.path_id)
        };
        self.rib.ranked(paths, self.guard).find(is_meant)
    }

    pub(super) fn tables(&self) -> Tables<'_> {
        (self.rib, self.guard, self.instance.vrps.table.as_deref())
    }

    pub(super) fn export(
        &self,
        view: &ExportView,
        prefix: IpPrefix,
        path: &Path,
    ) -> Result<Vec<u8>, Refusal> {
        let mut form = Vec::new();
        export_path(view, self.tables(), prefix, path, &mut form)?;
        Ok(form)
    }
}

/// Whether what a peer is to be told of a prefix fits in a message that it takes.
pub(super) fn fits(told: &ToldPath, established: &Established) -> bool {
    let max_len = established.negotiated.wire.max_len();
    fits_message(&told.form, told.path_id, max_len)
}
