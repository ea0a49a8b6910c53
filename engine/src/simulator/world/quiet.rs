//! When everything has come to rest, and whether every router then holds what the oracle says.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use codec::{FamilySet, IpPrefix, WireFormat};

use super::World;
use crate::config::{Instance, Neighbor, host_prefix};
use crate::simulator::oracle::{Peering, expected_tables, sharing_key};
use crate::simulator::route::{Route, Table};
use crate::simulator::router::Router;
use crate::simulator::scenario::{Drained, NODE};

/// How long it may take to come to rest: back-off, hold times and OPEN's own are within it.
const QUIET_WITHIN: Duration = Duration::from_secs(900);

impl World {
    /// Runs until nothing moves and every session that can be up is up.
    pub(super) fn rest(&mut self) -> Result<(), String> {
        let deadline = self.now + QUIET_WITHIN;
        loop {
            self.run_until(self.now + Duration::from_millis(500))?;
            let Some(why) = self.restless() else {
                return Ok(());
            };
            if self.now >= deadline {
                let limit = QUIET_WITHIN.as_secs();
                return Err(format!("no rest within {limit} s: {why}"));
            }
        }
    }

    pub(super) fn restless(&self) -> Option<String> {
        for router in &self.routers {
            let address = router.spec.address;
            let expected = self.expected_session(router);
            let found = router
                .established()
                .filter(|(link, _)| self.node.has(*link));
            let held = self.scenario.drained(router.spec.index).is_some();
            match (&expected, found) {
                // Its session ended, or never was, while it is drained: it stays so.
                (Some(_), None) if held && router.established().is_none() => {}
                (Some(_), None) => return Some(format!("router {address} has no session")),
                (None, Some(_)) => {
                    return Some(format!(
                        "router {address} has a session that it must not have"
                    ));
                }
                _ => {}
            }
            if let (Some((_, families)), Some(_)) = (&expected, found)
                && router.ended_ribs() != *families
            {
                return Some(format!("router {address} waits for End-of-RIB"));
            }
            if router.is_refreshing() {
                return Some(format!("router {address} waits for the end of a refresh"));
            }
        }
        // The other end of a session that is gone may take a hold time to find out.
        for link in self.node.links() {
            let router = &self.routers[self.network.router(link)];
            if router.established().is_none_or(|(up, _)| up != link) {
                return Some(format!("the node waits for {}", router.spec.address));
            }
        }
        if self.node.has_stale_routes() {
            return Some("the node waits for a router to say its routes again".to_owned());
        }
        if !self.routers.iter().all(Router::is_quiet) {
            return Some("a router has something to say".to_owned());
        }
        if !self.network.is_quiet() {
            return Some("octets are on the way".to_owned());
        }
        (!self.node.is_quiet()).then(|| "the node has something to do".to_owned())
    }

    /// The session that a router must have: its neighbor, and the families.
    pub(super) fn expected_session(&self, router: &Router) -> Option<(Arc<Neighbor>, FamilySet)> {
        self.expected_session_of(router, router.up)
    }

    fn expected_session_of(&self, router: &Router, up: bool) -> Option<(Arc<Neighbor>, FamilySet)> {
        let instance = self.told.instances.values().next()?;
        let neighbor = neighbor_of(instance, router.spec.address)?;
        let dialled = router.spec.dials || (!neighbor.passive && router.spec.listens);
        let families = neighbor.families.intersection(router.spec.families);
        let config = crate::session::SessionConfig::of(&neighbor);
        let allowed = config.allows(router.spec.asn);
        let closed = self.scenario.drained(router.spec.index) == Some(Drained::Briefly);
        let wanted =
            up && instance.enabled && dialled && allowed && !closed && !families.is_empty();
        wanted.then_some((neighbor, families))
    }

    pub(super) fn compare(&mut self) -> Result<(), String> {
        self.node.audit();
        let instance = self
            .told
            .instances
            .values()
            .next()
            .ok_or("the node has no instance")?;
        let mut peerings = Vec::new();
        let mut held: Vec<(IpAddr, &Table)> = Vec::new();
        let mut away = None;
        for router in &self.routers {
            if let Some((index, format)) = &self.away
                && *index == router.spec.index
                && let Some((neighbor, families)) = self.expected_session_of(router, true)
            {
                // It is not told anything, and what it said before it went stands.
                away = Some(self.peering(router, neighbor, families, format));
                continue;
            }
            let (Some((neighbor, families)), Some(table), Some((_, format))) = (
                self.expected_session(router),
                router.table(),
                router.established(),
            ) else {
                continue;
            };
            peerings.push(self.peering(router, neighbor, families, format));
            held.push((router.spec.address, table));
        }
        let up = peerings.len();
        peerings.extend(away);
        let expected = expected_tables(instance, self.scenario.vrps(), &peerings, NODE);
        let mut compared = 0;
        for (expected, (address, held)) in expected.iter().zip(&held) {
            if let Some(difference) = Difference::between(expected, &by_prefix(held)) {
                return Err(format!("router {address} {difference}"));
            }
            compared += held.len() as u64;
        }
        self.compare_sharing(&peerings[..up])?;
        self.summary.compared += compared;
        Ok(())
    }

    /// What each router holds that has a session: by prefix, how many paths aside where there may be
    /// several, since those may be told under other identifiers, one after the other.
    #[cfg(test)]
    pub(super) fn held(&self) -> BTreeMap<usize, Held> {
        let up = self
            .routers
            .iter()
            .filter(|router| router.table().is_some());
        up.filter_map(|router| Some((router.spec.index, Held::by(router)?)))
            .collect()
    }

    /// Whether each router holds what it held.
    #[cfg(test)]
    pub(super) fn compare_held(&self, before: &BTreeMap<usize, Held>) -> Result<(), String> {
        for (index, before) in before {
            let router = &self.routers[*index];
            let now = Held::by(router);
            if now.as_ref() != Some(before) {
                let address = router.spec.address;
                return Err(format!(
                    "router {address} held {before:?}, and then {now:?}"
                ));
            }
        }
        Ok(())
    }

    fn peering<'w>(
        &self,
        router: &'w Router,
        neighbor: Arc<Neighbor>,
        families: FamilySet,
        format: &'w WireFormat,
    ) -> Peering<'w> {
        Peering {
            neighbor,
            asn: router.spec.asn,
            router_id: router.spec.router_id,
            routes: router.said(format),
            families,
            format,
            local: self.node.local_for(router.spec.address),
            long_lived: router.spec.knows_long_lived(),
            draining: self.scenario.drained(router.spec.index).is_some(),
        }
    }

    /// Whoever is told the same octets on one shard shares a group, and nobody else does.
    fn compare_sharing(&self, peerings: &[Peering<'_>]) -> Result<(), String> {
        let places = self.node.groups();
        let mut groups = BTreeMap::new();
        let mut keys = BTreeMap::new();
        for peering in peerings {
            let address = peering.neighbor.address;
            let Some(place @ (shard, _)) = places.get(&address.ip()) else {
                return Err(format!("router {address} is in no group"));
            };
            let key = (*shard, sharing_key(peering, NODE));
            let alike = *keys.entry(key).or_insert(address);
            let together = *groups.entry(*place).or_insert(address);
            if alike != together {
                return Err(format!(
                    "sharing is wrong: router {address} is told as {alike} is, and in the group of \
                     {together}"
                ));
            }
        }
        Ok(())
    }
}

/// What the settings say of the router at an address: by name, or else by the longest prefix that it
/// may connect from.
fn neighbor_of(instance: &Instance, address: IpAddr) -> Option<Arc<Neighbor>> {
    if let Some(named) = instance.neighbors.get(&address.into()) {
        return Some(Arc::clone(named));
    }
    let own = host_prefix(address);
    let around = instance.dynamic_neighbors.values();
    let around = around.filter(|range| range.prefix.contains(own));
    let range = around.max_by_key(|range| range.prefix.length())?;
    Some(Arc::new(range.neighbor(address.into())))
}

/// The paths to each prefix, whatever they are called.
fn by_prefix(table: &Table) -> BTreeMap<IpPrefix, Vec<&Route>> {
    let mut prefixes: BTreeMap<IpPrefix, Vec<&Route>> = BTreeMap::new();
    for ((prefix, _), route) in table {
        prefixes.entry(*prefix).or_default().push(route);
    }
    prefixes
}

/// What a router holds, be its session up or not: of each prefix the only route, or that there are some.
#[cfg(test)]
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Held(BTreeMap<IpPrefix, Option<Route>>);

#[cfg(test)]
impl Held {
    fn by(router: &Router) -> Option<Held> {
        let table = router.held()?.iter();
        let one_each = !router.spec.add_path_receive;
        let held = table.map(|((prefix, _), route)| (*prefix, one_each.then(|| route.clone())));
        Some(Held(held.collect()))
    }
}

/// The first prefix in which two tables differ, in more than the order of its paths.
struct Difference<'t> {
    prefix: IpPrefix,
    expected: Vec<&'t Route>,
    held: Vec<&'t Route>,
}

impl<'t> Difference<'t> {
    fn between(
        expected: &'t BTreeMap<IpPrefix, Vec<Route>>,
        held: &BTreeMap<IpPrefix, Vec<&'t Route>>,
    ) -> Option<Difference<'t>> {
        let prefixes = expected.keys().chain(held.keys());
        prefixes
            .map(|prefix| {
                let mut held = held.get(prefix).cloned().unwrap_or_default();
                let mut expected: Vec<_> = expected.get(prefix).into_iter().flatten().collect();
                held.sort();
                expected.sort();
                Difference {
                    prefix: *prefix,
                    expected,
                    held,
                }
            })
            .find(|difference| difference.expected != difference.held)
    }
}

impl fmt::Display for Difference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = |routes: &[&Route]| match routes {
            [] => "nothing".to_owned(),
            routes => {
                let words: Vec<String> = routes.iter().map(|route| route.to_string()).collect();
                words.join(", and ")
            }
        };
        write!(
            f,
            "holds of {}: {}; the oracle: {}",
            self.prefix,
            words(&self.held),
            words(&self.expected)
        )
    }
}
