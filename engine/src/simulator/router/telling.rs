//! What a router says of its routes: each change, and all of them at the beginning and on refresh.

use std::net::{IpAddr, Ipv6Addr};

use codec::{Family, FamilySet, IpPrefix, NextHop, RouteRefresh, WireFormat};

use super::{Connection, Phase, Router, RouterSpec};
use crate::simulator::network::{LinkId, Network};
use crate::simulator::route::{Route, Table};
use crate::time::Time;

impl Router {
    /// Announces or changes a path.
    pub(in crate::simulator) fn announce(
        &mut self,
        now: Time,
        name: (IpPrefix, u32),
        route: Route,
        net: &mut Network,
    ) {
        self.routes.insert(name, route);
        self.tell_one(now, name, net);
    }

    /// Withdraws a path.
    pub(in crate::simulator) fn withdraw(
        &mut self,
        now: Time,
        name: (IpPrefix, u32),
        net: &mut Network,
    ) {
        self.routes.remove(&name);
        self.tell_one(now, name, net);
    }

    /// Tells the newest state of a path, or of the one that stands for all of its prefix.
    fn tell_one(&mut self, now: Time, (prefix, path_id): (IpPrefix, u32), net: &mut Network) {
        for connection in self.connections.iter_mut().filter(|c| c.speaks(prefix)) {
            let told = told(&self.routes, &connection.format);
            let identified = connection.format.add_path_send.contains(prefix.family());
            let name = (prefix, if identified { path_id } else { 0 });
            match told.get(&name) {
                Some(route) => connection.tell(&self.spec, &[name], route),
                None => connection.tell_gone(name),
            }
            connection.push(now, net);
        }
    }

    /// What it says on a session that came to this.
    pub(in crate::simulator) fn said(&self, format: &WireFormat) -> Table {
        let told = told(&self.routes, format).into_iter();
        let said = told.filter_map(|((prefix, path_id), route)| {
            let said = route.said(prefix.family(), format, self.spec.address_ipv4)?;
            Some(((prefix, path_id), said))
        });
        said.collect()
    }

    /// Tells a family again, between its bounds where both ends know them.
    pub(super) fn tell_again(
        &mut self,
        now: Time,
        link: LinkId,
        family: Family,
        net: &mut Network,
    ) {
        let Some(connection) = self.connection(link) else {
            return;
        };
        if !connection.enhanced_refresh {
            return self.tell_all(now, link, FamilySet::from_iter([family]), net);
        }
        connection.say_refresh(family, RouteRefresh::BEGIN);
        self.tell_routes(link, FamilySet::from_iter([family]));
        if let Some(connection) = self.connection(link) {
            connection.say_refresh(family, RouteRefresh::END);
            connection.push(now, net);
        }
    }

    /// Forgets some of its routes without a withdrawal, and refreshes: the node finds out by what
    /// is not told again (RFC 7313 §4).
    pub(in crate::simulator) fn forget_and_refresh(
        &mut self,
        now: Time,
        every: usize,
        net: &mut Network,
    ) {
        let links: Vec<LinkId> = self.connections.iter().map(|c| c.link).collect();
        let up: Vec<bool> = self
            .connections
            .iter()
            .map(|c| c.phase == Phase::Established && !c.ending && !c.spoiled)
            .collect();
        let knows = self.connections.iter().all(|c| c.enhanced_refresh);
        if !knows || links.is_empty() || up.contains(&false) {
            return;
        }
        let mut place = 0;
        self.routes.retain(|_, _| {
            place += 1;
            place % every != 0
        });
        for link in links {
            let families = self.connection(link).map(|c| c.format.families);
            for family in families.into_iter().flat_map(|families| families.iter()) {
                self.tell_again(now, link, family, net);
            }
        }
    }

    /// Every route of some families, several to a message where they are alike, then End-of-RIB.
    pub(super) fn tell_all(
        &mut self,
        now: Time,
        link: LinkId,
        families: FamilySet,
        net: &mut Network,
    ) {
        self.tell_routes(link, families);
        if let Some(connection) = self.connection(link) {
            for family in families.intersection(connection.format.families).iter() {
                codec::encode_end_of_rib(family, &mut connection.outbox);
            }
            connection.push(now, net);
        }
    }

    pub(super) fn tell_routes(&mut self, link: LinkId, families: FamilySet) {
        let spec = self.spec.clone();
        let all = self.routes.clone();
        let Some(connection) = self.connection(link) else {
            return;
        };
        let routes = Vec::from_iter(told(&all, &connection.format));
        let families = families.intersection(connection.format.families);
        for family in families.iter() {
            let of_family: Vec<_> = routes
                .iter()
                .filter(|((prefix, _), _)| prefix.family() == family)
                .collect();
            for alike in of_family.chunk_by(|a, b| a.1 == b.1) {
                let names: Vec<(IpPrefix, u32)> = alike.iter().map(|(name, _)| *name).collect();
                connection.tell(&spec, &names, &alike[0].1);
            }
        }
    }
}

impl Connection {
    /// Whether routes of a prefix are to be told here now.
    fn speaks(&self, prefix: IpPrefix) -> bool {
        let up = self.phase == Phase::Established && !self.ending && !self.spoiled;
        up && self.format.families.contains(prefix.family())
    }

    fn say_refresh(&mut self, family: Family, subtype: u8) {
        let refresh = RouteRefresh {
            afi: family.afi(),
            safi: family.safi(),
            subtype,
        };
        codec::encode_route_refresh(&refresh, &mut self.outbox);
    }

    /// Queues the end of a path.
    fn tell_gone(&mut self, name: (IpPrefix, u32)) {
        let mut nlri = Vec::new();
        encode_name(name, &self.format, &mut nlri);
        codec::encode_withdraw(name.0.family(), &nlri, &mut self.outbox);
    }

    /// Queues one UPDATE, or of a long route one for each path; the prefixes are of one family. What
    /// cannot be said is withdrawn.
    fn tell(&mut self, spec: &RouterSpec, names: &[(IpPrefix, u32)], route: &Route) {
        let Some(family) = names.first().map(|(prefix, _)| prefix.family()) else {
            return;
        };
        let said = route.said(family, &self.format, spec.address_ipv4);
        let together = match &said {
            Some(route) if !route.is_long(&self.format, true) => names.len(),
            _ => 1,
        };
        for names in names.chunks(together) {
            let mut nlri = Vec::new();
            for name in names {
                encode_name(*name, &self.format, &mut nlri);
            }
            match &said {
                Some(route) => self.tell_one(spec, family, &nlri, route),
                None => codec::encode_withdraw(family, &nlri, &mut self.outbox),
            }
        }
    }

    fn tell_one(&mut self, spec: &RouterSpec, family: Family, nlri: &[u8], route: &Route) {
        let attributes = route.write(&self.format);
        match route.next_hop {
            IpAddr::V4(_) => codec::encode_update(&attributes, nlri, &mut self.outbox),
            IpAddr::V6(address) => {
                // Some routers add a link-local next hop (RFC 2545 §3).
                let next_hop = match spec.index % 2 {
                    0 => NextHop::V6(address),
                    _ => NextHop::V6WithLinkLocal(
                        address,
                        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1),
                    ),
                };
                codec::encode_mp_update(family, &next_hop, &attributes, nlri, &mut self.outbox);
            }
        }
    }
}

/// What is told of `routes` on a session: where it takes one path a prefix, the first of each.
fn told(routes: &Table, format: &WireFormat) -> Table {
    let mut told = Table::new();
    for ((prefix, path_id), route) in routes {
        let identified = format.add_path_send.contains(prefix.family());
        let path_id = if identified { *path_id } else { 0 };
        told.entry((*prefix, path_id))
            .or_insert_with(|| route.clone());
    }
    told
}

fn encode_name((prefix, path_id): (IpPrefix, u32), format: &WireFormat, out: &mut Vec<u8>) {
    let identified = format.add_path_send.contains(prefix.family());
    let path_id = identified.then_some(path_id);
    match prefix {
        IpPrefix::V4(prefix) => codec::encode_nlri(prefix, path_id, out),
        IpPrefix::V6(prefix) => codec::encode_nlri(prefix, path_id, out),
    }
}
