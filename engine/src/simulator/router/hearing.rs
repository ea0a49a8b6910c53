//! What a router makes of the node's UPDATEs and refreshes. They must be flawless.

use codec::{Family, NlriField, RouteRefresh, Update};

use super::{Connection, Router};
use crate::simulator::network::{LinkId, Network};
use crate::simulator::route::Route;
use crate::time::Time;

impl Router {
    pub(super) fn on_refresh(
        &mut self,
        now: Time,
        link: LinkId,
        refresh: RouteRefresh,
        net: &mut Network,
    ) -> Result<(), String> {
        let family = Family::from_afi_safi(refresh.afi, refresh.safi);
        let family = family.ok_or("the engine refreshes a family that nobody knows")?;
        if refresh.subtype == RouteRefresh::REQUEST {
            self.tell_again(now, link, family, net);
            return Ok(());
        }
        match self.connection(link) {
            Some(connection) => connection.on_refresh_bound(family, refresh.subtype),
            None => Ok(()),
        }
    }

    pub(super) fn on_update(&mut self, link: LinkId, body: &[u8]) -> Result<(), String> {
        let Some(connection) = self.connection(link) else {
            return Ok(());
        };
        let format = connection.format;
        let update = codec::parse_update(body, &format)
            .map_err(|fault| format!("the engine sent a malformed UPDATE: {fault}"))?;
        if let Some(fault) = update.faults.first() {
            return Err(format!("the engine sent a faulty attribute: {fault:?}"));
        }
        if let Some(family) = update.ignored_family {
            return Err(format!(
                "the engine sent a family that was not negotiated: {family:?}"
            ));
        }
        connection.learn(&update)
    }
}

impl Connection {
    /// RFC 7313 §4, taken at its word.
    fn on_refresh_bound(&mut self, family: Family, subtype: u8) -> Result<(), String> {
        if !self.enhanced_refresh || !self.ended_ribs.contains(family) {
            return Err("the engine bounds a refresh too early, or unasked".to_owned());
        }
        let stale = &mut self.stale[family.index()];
        if subtype == RouteRefresh::BEGIN {
            let told = self.table.keys().copied();
            let told = told
                .filter(|(prefix, _)| prefix.family() == family)
                .collect();
            if stale.replace(told).is_some() {
                return Err("the engine begins a refresh within a refresh".to_owned());
            }
            return Ok(());
        }
        let stale = stale.take();
        for prefix in stale.ok_or("the engine ends a refresh that did not begin")? {
            self.table.remove(&prefix);
        }
        Ok(())
    }

    fn learn(&mut self, update: &Update<'_>) -> Result<(), String> {
        if let Some(family) = update.end_of_rib() {
            self.ended_ribs.insert(family);
            // RFC 4724 §4.2: what was not told again since the restart goes.
            let unconfirmed = std::mem::take(&mut self.unconfirmed);
            for name in unconfirmed {
                match name.0.family() == family {
                    true => drop(self.table.remove(&name)),
                    false => drop(self.unconfirmed.insert(name)),
                }
            }
            return Ok(());
        }
        let gone = update.mp_withdrawn.iter().flat_map(|mp| mp.nlri.iter());
        for (path_id, prefix) in update.withdrawn.iter().chain(gone) {
            self.table.remove(&(prefix, path_id));
            self.unconfirmed.remove(&(prefix, path_id));
        }
        let announced = [
            (NlriField::Plain, Some(&update.announced)),
            (
                NlriField::MpReach,
                update.mp_announced.as_ref().map(|mp| &mp.nlri),
            ),
        ];
        for (field, nlri) in announced {
            let Some(nlri) = nlri.filter(|nlri| !nlri.is_empty()) else {
                continue;
            };
            let mut canonical = Vec::new();
            update.canonical(field, &mut canonical);
            let route = Route::read(&canonical)?;
            for (path_id, prefix) in nlri.iter() {
                self.table.insert((prefix, path_id), route.clone());
                self.unconfirmed.remove(&(prefix, path_id));
                if let Some(stale) = &mut self.stale[prefix.family().index()] {
                    stale.remove(&(prefix, path_id));
                }
            }
        }
        Ok(())
    }
}
