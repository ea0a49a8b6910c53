//! One run: the loop over time and what happens in it. When it has come to rest, and what must be so
//! then, is in `quiet`.

mod quiet;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use codec::{FamilySet, IpPrefix, WireFormat};

use super::network::{Delivery, End, LinkId, Network};
use super::node::Node;
use super::route::Route;
use super::router::Router;
use super::scenario::{Event, Scenario, Vrp};
use crate::config::{DesiredState, Keepers, diff};
use crate::random::Random;
use crate::rpki::{Publication, VrpTable};
use crate::shard::Deferral;
use crate::time::Time;

/// Times in a run at which everything has to come to rest and is compared.
const ROUNDS: usize = 3;
/// Events in a round at most.
const EVENTS_MAX: usize = 14;

/// What a run did, for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Steps of the loop.
    pub steps: u64,
    /// Things that were made to happen.
    pub events: u64,
    /// Routes that were compared at quiet.
    pub compared: u64,
    /// Simulated time at the end.
    pub end: Time,
    /// Folds every delivery and its time: equal seeds give equal runs.
    pub fingerprint: u64,
}

pub(super) struct World {
    now: Time,
    scenario: Scenario,
    network: Network,
    node: Node,
    routers: Vec<Router>,
    dialled_by: BTreeMap<LinkId, bool>,
    /// What the node was last told.
    told: DesiredState,
    summary: Summary,
    trace: bool,
    /// What is broken in the node, in whichever process of it.
    #[cfg(test)]
    fault: Option<crate::group::Fault>,
    /// What the node was last told of the RPKI.
    vrps: Option<Arc<VrpTable>>,
    /// A router whose session is down and whose routes must stay, with what its session came to.
    away: Option<(usize, WireFormat)>,
}

impl World {
    pub(super) fn new(seed: u64, trace: bool) -> World {
        let mut scenario = Scenario::new(seed);
        let network_seed = scenario.random.next();
        let node = scenario.node(Deferral::default());
        let specs = scenario.routers.clone();
        let routers = specs
            .into_iter()
            .map(|spec| Router::new(spec, scenario.random.next()));
        let routers: Vec<Router> = routers.collect();
        World {
            now: Time::default(),
            network: Network::new(routers.len(), scenario.weather, network_seed),
            node,
            routers,
            dialled_by: BTreeMap::new(),
            told: DesiredState::default(),
            summary: Summary::default(),
            trace,
            #[cfg(test)]
            fault: None,
            vrps: None,
            away: None,
            scenario,
        }
    }

    #[cfg(test)]
    pub(super) fn plant(&mut self, fault: crate::group::Fault) {
        self.fault = Some(fault);
        self.node.plant(fault);
    }

    /// The run.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub(super) fn run(&mut self) -> Result<Summary, String> {
        self.begin();
        for round in 0..ROUNDS {
            let events = 1 + self.scenario.random.below(EVENTS_MAX);
            for _ in 0..events {
                let pause = self.scenario.draw_pause();
                self.run_until(self.now + pause)?;
                self.happen()?;
            }
            if self.scenario.random.percent(75) {
                self.mend();
            }
            self.rest()?;
            self.log(|| format!("round {round} rests"));
            self.compare()?;
        }
        self.summary.end = self.now;
        Ok(self.summary)
    }

    /// A run in which everything comes up and then the node reads nothing for `time`, though its
    /// timers run. Returns the sessions before and after, by their links.
    #[cfg(test)]
    pub(super) fn run_unread(&mut self, time: Duration) -> Result<[Vec<LinkId>; 2], String> {
        self.begin();
        self.mend();
        self.rest()?;
        let before = self.sessions();
        for link in &before {
            for router in &self.routers {
                let ends = router.links();
                for (_, end) in ends.iter().filter(|(own, _)| own == link) {
                    self.network.stall(*link, end.other(), self.now + time);
                }
            }
        }
        self.run_until(self.now + time * 2)?;
        self.rest()?;
        self.compare()?;
        Ok([before, self.sessions()])
    }

    /// A run in which everything comes up, then memory is past its limit for `time` while routes
    /// change, and then it is not. Returns the sessions before and after, and how many were not
    /// read meanwhile.
    #[cfg(test)]
    pub(super) fn run_out_of_memory(
        &mut self,
        time: Duration,
    ) -> Result<([Vec<LinkId>; 2], usize), String> {
        self.scenario.instance().memory_max = 2_000;
        self.begin();
        self.mend();
        self.rest()?;
        let before = self.sessions();
        self.node.on_memory(self.now, 2_001, &mut self.network);
        for index in 0..self.routers.len() {
            self.change_routes(index);
        }
        self.run_until(self.now + time)?;
        let is_paused = |link: &&LinkId| self.network.is_paused(**link);
        let paused = before.iter().filter(is_paused).count();
        self.node.on_memory(self.now, 1_000, &mut self.network);
        self.rest()?;
        self.compare()?;
        Ok(([before, self.sessions()], paused))
    }

    /// A run in which everything comes up, and then one router after the other that may restart
    /// does so. While it is away, and until it has said everything again if it forwards as before,
    /// the others hold what they held. Returns how many restarted, and how many of those forwarded.
    #[cfg(test)]
    pub(super) fn run_restarts(&mut self) -> Result<[usize; 2], String> {
        self.begin();
        self.mend();
        self.rest()?;
        let mut counts = [0; 2];
        for index in 0..self.routers.len() {
            self.compare()?;
            let router = &self.routers[index];
            let (Some(graceful), Some((link, format))) =
                (router.spec.graceful, router.established())
            else {
                continue;
            };
            let format = *format;
            let settings = self
                .expected_session(router)
                .map(|(n, _)| n.graceful_restart);
            let time = Duration::from_secs(u64::from(graceful.restart_time));
            let helped = settings.filter(|settings| settings.helper);
            let Some(stale_time) = helped.map(|settings| settings.stale_time) else {
                continue;
            };
            self.network.reset(self.now, link);
            // The node hears of it, and finds nobody.
            self.routers[index].crash(self.now, &mut self.network);
            self.run_until(self.now + Duration::from_secs(1))?;
            self.away = Some((index, format));
            let until = self.now + time.min(stale_time).min(Duration::from_secs(10)) / 2;
            while self.now < until {
                self.run_until(self.now + Duration::from_millis(300))?;
                self.compare()?;
            }
            self.routers[index].restart(self.now);
            counts[0] += 1;
            let least = Duration::from_secs(60);
            if graceful.preserves && time.min(stale_time) >= least {
                counts[1] += 1;
                while self.restless().is_some() {
                    self.run_until(self.now + Duration::from_millis(100))?;
                    self.compare()?;
                    if self.now > until + least * 10 {
                        break;
                    }
                }
            }
            self.away = None;
            self.rest()?;
        }
        self.compare()?;
        Ok(counts)
    }

    /// A run in which everything comes up, everybody is asked to keep our routes, and then our process
    /// is killed and comes back with its state. Whatever the others have to say takes, until each is
    /// told all again it holds what it held. Returns how many routers that were.
    ///
    /// RFC 4724 §4.1 and §4.2, of both ends.
    #[cfg(test)]
    pub(super) fn run_own_restart(&mut self) -> Result<usize, String> {
        self.scenario.ask_everybody_to_keep();
        for router in &mut self.routers {
            router.know_restarts();
        }
        self.begin();
        self.mend();
        self.rest()?;
        self.compare()?;
        let before = self.held();
        let keepers = self.end_node();
        // All hear of it, and find nobody.
        self.run_until(self.now + Duration::from_secs(1))?;
        self.begin_node(Deferral::after_restart(Some(keepers)));
        let deadline = self.now + Duration::from_secs(600);
        while self.restless().is_some() && self.now < deadline {
            self.run_until(self.now + Duration::from_millis(100))?;
            self.compare_held(&before)?;
        }
        self.rest()?;
        self.compare()?;
        let unaware = before
            .keys()
            .find(|index| !self.routers[**index].was_told_of_restart());
        match unaware {
            Some(index) => Err(format!("router {index} was not told of the restart")),
            None => Ok(before.len()),
        }
    }

    #[cfg(test)]
    fn sessions(&self) -> Vec<LinkId> {
        let sessions = self.routers.iter().filter_map(Router::established);
        sessions.map(|(link, _)| link).collect()
    }

    pub(super) fn now(&self) -> Time {
        self.now
    }

    // ----- time -------------------------------------------------------------------------------

    fn run_until(&mut self, end: Time) -> Result<(), String> {
        loop {
            let routers = self.routers.iter().filter_map(Router::next_time);
            let others = [self.network.next_time(), self.node.next_time()];
            let next = routers.chain(others.into_iter().flatten()).min();
            match next {
                Some(next) if next <= end => self.now = self.now.max(next),
                _ => {
                    self.now = end;
                    return Ok(());
                }
            }
            self.summary.steps += 1;
            // What arrived by now is heard before timers run.
            while let Some(delivery) = self.network.deliver(self.now) {
                self.deliver(delivery)?;
            }
            self.node.on_time(self.now, &mut self.network);
            self.note_dials(true);
            for index in 0..self.routers.len() {
                let due = self.routers[index].next_time();
                if due.is_some_and(|at| at <= self.now) {
                    self.routers[index].on_time(self.now, &mut self.network);
                    self.note_dials(false);
                }
            }
        }
    }

    /// Remembers who dialled the links that are new.
    fn note_dials(&mut self, node: bool) {
        for link in self.dialled_by.len()..self.network.links() {
            self.dialled_by.insert(link, node);
        }
    }

    fn deliver(&mut self, delivery: Delivery) -> Result<(), String> {
        self.fold(&delivery);
        let (now, network) = (self.now, &mut self.network);
        let (link, end) = match &delivery {
            Delivery::Knock(link) => (*link, End::Acceptor),
            Delivery::Connected(link) | Delivery::Refused(link) => (*link, End::Dialer),
            Delivery::Octets(link, end, _) | Delivery::Closed(link, end, _) => (*link, *end),
            Delivery::Room(link, end) => (*link, *end),
        };
        let index = network.router(link);
        let router = &mut self.routers[index];
        let peer = router.spec.address;
        let for_node = self.dialled_by.get(&link) == Some(&(end == End::Dialer));
        match (for_node, delivery) {
            (true, Delivery::Knock(link)) => self.node.on_knock(now, link, peer, network),
            (true, Delivery::Connected(link)) => self.node.on_connected(now, link, peer, network),
            (true, Delivery::Refused(link)) => self.node.on_refused(now, link, network),
            (true, Delivery::Octets(link, _, octets)) => {
                self.node.on_octets(now, link, &octets, network);
            }
            (true, Delivery::Closed(link, _, words)) => {
                self.node.on_closed(now, link, words, network);
            }
            (true, Delivery::Room(link, _)) => self.node.on_room(now, link, network),
            (false, Delivery::Knock(link)) => router.on_knock(now, link, network),
            (false, Delivery::Connected(link)) => router.on_connected(now, link, network),
            (false, Delivery::Refused(link)) => router.on_refused(now, link),
            (false, Delivery::Octets(link, _, octets)) => router
                .on_octets(now, link, &octets, network)
                .map_err(|why| format!("router {peer}: {why}"))?,
            (false, Delivery::Closed(link, ..)) => router.on_lost(now, link),
            (false, Delivery::Room(link, _)) => router.on_room(now, link, network),
        }
        self.note_dials(for_node);
        Ok(())
    }

    fn fold(&mut self, delivery: &Delivery) {
        let kind = match delivery {
            Delivery::Knock(link) => *link as u64,
            Delivery::Connected(link) => 1 << 32 | *link as u64,
            Delivery::Refused(link) => 2 << 32 | *link as u64,
            Delivery::Octets(link, _, octets) => {
                let sum = octets.iter().fold(7u64, |sum, octet| {
                    sum.wrapping_mul(31).wrapping_add(u64::from(*octet))
                });
                3 << 32 ^ *link as u64 ^ sum
            }
            Delivery::Closed(link, ..) => 4 << 32 | *link as u64,
            Delivery::Room(link, _) => 5 << 32 | *link as u64,
        };
        let folded = self.summary.fingerprint ^ kind ^ self.now.0;
        self.summary.fingerprint = Random::new(folded).next();
        if self.trace {
            match delivery {
                Delivery::Octets(link, end, octets) => {
                    self.log(|| format!("link {link}: {} octets for {end:?}", octets.len()));
                }
                other => self.log(|| format!("{other:?}")),
            }
        }
    }

    fn log(&self, words: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{:>14.6} {}", self.now.0 as f64 / 1e9, words());
        }
    }

    // ----- events -----------------------------------------------------------------------------

    fn tell_node(&mut self) {
        let deltas = diff(&self.told, &self.scenario.desired);
        if !deltas.is_empty() {
            self.log(|| format!("the node is told {deltas:?}"));
        }
        self.told = self.scenario.desired.clone();
        self.node.dispatch(self.now, deltas);
    }

    /// Routes and resources that are there from the start.
    fn begin(&mut self) {
        for index in 0..self.routers.len() {
            self.change_routes(index);
        }
        self.scenario.change_origins();
        self.tell_node();
        if self.scenario.random.percent(60) {
            self.scenario.change_vrps();
            self.publish();
        }
    }

    /// Whatever was switched off is on again, so that most comparisons have something to compare.
    fn mend(&mut self) {
        self.scenario.mend();
        self.node.drain(self.now, None, None);
        for router in self.routers.iter_mut().filter(|router| !router.up) {
            router.restart(self.now);
        }
        self.tell_node();
    }

    fn happen(&mut self) -> Result<(), String> {
        let event = self.scenario.draw_event();
        let index = self.scenario.random.below(self.routers.len());
        self.log(|| format!("{event:?} router {index}"));
        self.summary.events += 1;
        match event {
            Event::ChangeOrigins => self.scenario.change_origins(),
            Event::ChangeNeighbor => {
                self.scenario.change_neighbor(index);
            }
            Event::ToggleNeighbor => self.scenario.toggle_neighbor(index),
            Event::ChangeRange => self.scenario.change_range(),
            Event::ChangeCluster => self.scenario.change_cluster(),
            Event::ChangeSelection => {
                let selection = &mut self.scenario.instance().selection;
                selection.always_compare_med = !selection.always_compare_med;
            }
            Event::ChangeVrps => {
                self.scenario.change_vrps();
                self.publish();
            }
            Event::Drain => self.drain(index),
            Event::RestartNode => self.restart_node()?,
            Event::ToggleInstance => {
                let instance = self.scenario.instance();
                instance.enabled = !instance.enabled;
            }
            other => self.happen_to_router(other, index),
        }
        self.tell_node();
        self.note_dials(false);
        Ok(())
    }

    /// Our process is killed, and is there again after a while.
    fn restart_node(&mut self) -> Result<(), String> {
        let random = &mut self.scenario.random;
        let knows = random.percent(70);
        let seconds = *random.pick(&[0, 1, 30]);
        let away = random.up_to(Duration::from_secs(seconds));
        let keepers = self.end_node();
        self.run_until(self.now + away)?;
        self.begin_node(match knows {
            true => Deferral::after_restart(Some(keepers)),
            false => Deferral::default(),
        });
        Ok(())
    }

    /// Our process is killed. Returns whom its state file names.
    fn end_node(&mut self) -> Keepers {
        // One that was told nothing knows nobody: nothing listens.
        let nobody = self.scenario.node(Deferral::default());
        let node = std::mem::replace(&mut self.node, nobody);
        node.die(self.now, &mut self.network);
        self.scenario.forget_drained();
        self.vrps = None;
        Keepers::of(&std::mem::take(&mut self.told))
    }

    /// Another process of ours reads what there is.
    fn begin_node(&mut self, deferral: Deferral) {
        self.node = self.scenario.node(deferral);
        #[cfg(test)]
        if let Some(fault) = self.fault {
            self.node.plant(fault);
        }
        self.tell_node();
        self.publish();
    }

    /// Tells the node what caches of the RPKI say.
    fn publish(&mut self) {
        let vrps = self.scenario.vrps();
        let vrps: Option<Vec<Vrp>> = vrps.map(|vrps| vrps.iter().copied().collect());
        self.log(|| format!("VRPs: {vrps:?}"));
        let table = vrps.map(|vrps| Arc::new(VrpTable::of(&vrps)));
        let nothing = VrpTable::default();
        let before = self.vrps.as_deref().unwrap_or(&nothing);
        let changed = Arc::new(before.changed(table.as_deref().unwrap_or(&nothing)));
        self.vrps.clone_from(&table);
        self.node.publish(self.now, &Publication { table, changed });
    }

    fn drain(&mut self, index: usize) {
        let (meant, wait) = self.scenario.draw_drain(index);
        self.log(|| format!("drain {meant:?} for {wait:?}"));
        let peer = meant.map(|index| self.routers[index].spec.address);
        self.node.drain(self.now, peer, wait);
    }

    fn happen_to_router(&mut self, event: Event, index: usize) {
        let now = self.now;
        let long = Duration::from_secs(1 + self.scenario.random.below(40) as u64);
        if event == Event::ChangeRoutes {
            self.change_routes(index);
            return;
        }
        let (router, network) = (&mut self.routers[index], &mut self.network);
        match event {
            Event::Refresh => {
                let families: Vec<_> = FamilySet::ALL.iter().collect();
                let family = *self.scenario.random.pick(&families);
                router.ask_refresh(now, family, network);
            }
            Event::ForgetAndRefresh => {
                let every = 1 + self.scenario.random.below(4);
                router.forget_and_refresh(now, every, network);
            }
            Event::AskForRoutes => self.node.ask_for_routes(now, router.spec.address),
            Event::TogglePower if router.up => router.crash(now, network),
            Event::TogglePower => router.restart(now),
            Event::Break => {
                for (link, _) in router.links() {
                    network.reset(now, link);
                }
            }
            Event::Stall => {
                for (link, end) in router.links() {
                    network.stall(link, end, now + long);
                    // Now and then we are behind too.
                    if long.as_secs().is_multiple_of(3) {
                        network.stall(link, end.other(), now + long);
                    }
                }
            }
            Event::Cut => network.cut(index, now + long),
            Event::Clear => router.clear(now, network),
            Event::Reset => self.node.reset(now, router.spec.address),
            Event::Garbage => {
                router.send_garbage(now, network);
            }
            _ => {}
        }
    }

    fn change_routes(&mut self, index: usize) {
        for _ in 0..1 + self.scenario.random.below(10) {
            let Some(prefix) = self.scenario.draw_prefix(index) else {
                continue;
            };
            let route = self.draw_route(index, prefix);
            let goes = self.scenario.random.percent(35);
            let router = &mut self.routers[index];
            let path_id = match router.spec.add_path_send {
                true => self.scenario.random.below(4) as u32,
                false => 0,
            };
            let name = (prefix, path_id);
            if goes {
                router.withdraw(self.now, name, &mut self.network);
            } else {
                router.announce(self.now, name, route, &mut self.network);
            }
        }
    }

    /// A route of a router's own, or what another router of its AS says already.
    fn draw_route(&mut self, index: usize, prefix: IpPrefix) -> Route {
        let route = self.scenario.draw_route(index, prefix.family());
        let asn = self.routers[index].spec.asn;
        let alike = self.routers.iter().filter(|router| router.spec.asn == asn);
        let said = alike.flat_map(|router| router.routes.range((prefix, 0)..=(prefix, u32::MAX)));
        match said.map(|(_, route)| route).next() {
            Some(said) if self.scenario.random.percent(30) => said.clone(),
            _ => route,
        }
    }
}
