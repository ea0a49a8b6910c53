//! Graceful shutdown as its initiator (RFC 8326): `drain` and `undrain`.
//!
//! What is drained is remembered by address in the instance, for as long as the daemon runs: peers
//! that are configured, or connect, later are held by it too. A peer whose session is up is first
//! told everything with GRACEFUL_SHUTDOWN, which is a matter of its export view; its session goes
//! once that is sent and the time that it has from then on is over. One that restarts has the same time:
//! its routes stay for it. Of whoever comes from a prefix (`dynamic`) the address is all
//! that is left then: it is shown for as long as it is drained.
//!
//! Invariant: a drained peer's session is up only while `Peer::draining` says until when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use codec::Notification;
use codec::notification::cease;

use super::instance::Instance;
use super::peer::{Peer, PeerId};
use super::{Shard, peer};
use crate::config::{Client, InstanceId, PeerAddress, longest_match};
use crate::model::{self, DrainState, FamilyCounts, PeerState};
use crate::time::Time;

/// Between two looks whether a peer was told everything by now, the first one so long after it is
/// drained.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A peer that takes so little that it is not told everything in this much more than its time is closed
/// all the same.
const TOLD_WITHIN: Duration = Duration::from_secs(60);

/// Which peers of an instance are drained: none or all, but for some.
#[derive(Default)]
pub(super) struct Drained {
    all: bool,
    but: BTreeSet<PeerAddress>,
    /// Addresses within prefixes that were drained, and since when nobody is there: what an operator
    /// named, and who was a peer then.
    away: BTreeMap<PeerAddress, Time>,
}

impl Drained {
    pub(super) fn holds(&self, address: PeerAddress) -> bool {
        self.all != self.but.contains(&address)
    }

    fn set(&mut self, address: Option<PeerAddress>, drained: bool) {
        if !drained {
            self.away
                .retain(|away, _| address.is_some_and(|address| address != *away));
        }
        match address {
            None => {
                self.all = drained;
                self.but.clear();
            }
            Some(address) if self.all == drained => {
                self.but.remove(&address);
            }
            Some(address) => {
                self.but.insert(address);
            }
        }
    }
}

/// A session that is about to be closed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draining {
    /// How long the peer has to find other paths once it was told.
    wait: Duration,
    /// When it has had its time; none: it was not told everything yet.
    until: Option<Time>,
    /// When it is closed all the same.
    at_last: Time,
    look_at: Time,
}

impl Draining {
    pub(super) fn next_timeout(&self) -> Time {
        self.look_at
    }
}

impl Peer {
    /// Neither up nor held to restart.
    fn is_without_routes(&self) -> bool {
        self.established.is_none() && self.retained.is_none()
    }
}

impl Shard {
    /// Drains peers, or (no `wait`) lets them come up again. Returns whom that does something to: of
    /// those that are not there, who could come from a prefix.
    pub(super) fn set_drained(
        &mut self,
        now: Time,
        instance: Option<&str>,
        address: Option<PeerAddress>,
        wait: Option<Duration>,
    ) -> Vec<(InstanceId, PeerAddress)> {
        let peers = self.meant(instance, address);
        let known = peers.iter().filter_map(|id| self.peers.get(*id));
        let mut answer: Vec<_> = known
            .filter(|peer| wait.is_some() || self.is_drained(peer))
            .map(|peer| (peer.instance, peer.neighbor.address))
            .collect();
        for (id, of) in &mut self.instances {
            if instance.is_some_and(|wanted| wanted != of.name()) {
                continue;
            }
            let is_away = |address: &PeerAddress| {
                longest_match(&of.dynamic_neighbors, address.ip()).is_some()
                    && self.peers.find(*id, *address).is_none()
            };
            let drained = &mut of.drained;
            match (address.filter(is_away), address, wait) {
                (Some(away), _, Some(_)) => {
                    drained.away.entry(away).or_insert(now);
                    answer.push((*id, away));
                }
                (Some(away), _, None) if drained.holds(away) => answer.push((*id, away)),
                (None, None, None) => {
                    let away = drained.away.keys().filter(|away| is_away(away));
                    answer.extend(away.map(|away| (*id, *away)));
                }
                _ => {}
            }
            drained.set(address, wait.is_some());
        }
        for id in &peers {
            match wait {
                Some(wait) => self.begin_draining(now, *id, wait),
                None => self.end_draining(now, *id),
            }
        }
        // RFC-DONE 8326 §4.2: the peer is told all its routes again, with GRACEFUL_SHUTDOWN.
        self.regroup(&peers);
        answer
    }

    fn begin_draining(&mut self, now: Time, id: PeerId, wait: Duration) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        if peer.is_without_routes() {
            self.close_drained(now, id);
            return;
        }
        peer.draining = Some(Draining {
            wait,
            until: None,
            at_last: now + wait + TOLD_WITHIN,
            look_at: now + LOOK_AGAIN,
        });
        self.peers.arm(id);
    }

    fn end_draining(&mut self, now: Time, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.draining = None;
            let instance = self.instances.get(&peer.instance);
            if instance.is_some_and(super::Instance::enabled) {
                self.start(now, id);
            }
        }
        self.peers.arm(id);
    }

    /// The peer's timer fired.
    pub(super) fn look_at_draining(&mut self, now: Time, id: PeerId) {
        let draining = self.peers.get(id).and_then(|peer| peer.draining);
        let Some(mut draining) = draining.filter(|draining| draining.look_at <= now) else {
            return;
        };
        if draining.until.is_none() && self.was_told_everything(id) {
            draining.until = Some(now + draining.wait);
        }
        let until = draining.until.unwrap_or(draining.at_last);
        if until <= now {
            return self.close_drained(now, id);
        }
        draining.look_at = draining.until.unwrap_or(until.min(now + LOOK_AGAIN));
        if let Some(peer) = self.peers.get_mut(id) {
            peer.draining = Some(draining);
        }
    }

    fn was_told_everything(&self, id: PeerId) -> bool {
        let Some(peer) = self.peers.get(id) else {
            return true;
        };
        let Some(established) = &peer.established else {
            return true;
        };
        let instance = self.instances.get(&peer.instance);
        let group = instance.and_then(|instance| instance.group(established.group));
        let connection = self.connections.get(established.connection);
        group.is_none_or(|group| group.has_told(id))
            && connection.is_none_or(|connection| connection.backlog() == 0)
    }

    /// A session that ended by itself while it was being drained is not begun again, unless the peer
    /// restarts: what it had said is there for as long as others need to find other paths.
    pub(super) fn hold_if_drained(&mut self, now: Time, id: PeerId) {
        let is_over = |peer: &Peer| peer.draining.is_some() && peer.is_without_routes();
        if self.peers.get(id).is_some_and(is_over) {
            self.close_drained(now, id);
        }
    }

    fn close_drained(&mut self, now: Time, id: PeerId) {
        if let Some(peer) = self.peers.get_mut(id) {
            peer.draining = None;
            let instance = self.instances.get_mut(&peer.instance);
            if let Some(instance) = instance.filter(|_| peer.dynamic.is_some()) {
                // It is no peer any more once its connection is closed.
                instance.drained.away.insert(peer.neighbor.address, now);
            }
        }
        let notification = Notification::cease(cease::ADMINISTRATIVE_SHUTDOWN);
        self.stop(
            now,
            id,
            notification.with_shutdown_communication("drained by its operator"),
        );
    }

    pub(super) fn is_drained(&self, peer: &Peer) -> bool {
        let instance = self.instances.get(&peer.instance);
        instance.is_some_and(|instance| instance.drained.holds(peer.neighbor.address))
    }

    /// How far a drained peer is, and for people what that means.
    pub(super) fn drain_state(&self, now: Time, peer: &Peer) -> Option<(DrainState, String)> {
        if !self.is_drained(peer) {
            return None;
        }
        Some(match &peer.draining {
            Some(Draining { until, wait, .. }) => {
                let when = match until {
                    Some(until) => format!("in {} s", until.saturating_since(now).as_secs()),
                    None => format!("{} s after that", wait.as_secs()),
                };
                let words = match peer.established {
                    Some(_) => format!(
                        "being drained: it is told all routes with GRACEFUL_SHUTDOWN, and the \
                         session is closed {when}; `ringbgp undrain` keeps it"
                    ),
                    None => format!(
                        "being drained: it restarts, and what it had said is removed {when}; \
                         `ringbgp undrain` keeps it"
                    ),
                };
                (DrainState::Draining, words)
            }
            None => (DrainState::Drained, DRAINED_WORDS.to_owned()),
        })
    }

    /// The rows of drained addresses within prefixes that nobody is at.
    pub(super) fn drained_and_away(
        &self,
        now: Time,
        id: InstanceId,
        instance: &Instance,
    ) -> Vec<model::Peer> {
        let away = instance.drained.away.iter();
        let rows = away.filter_map(|(address, since)| {
            let range = longest_match(&instance.dynamic_neighbors, address.ip())?;
            if !instance.drained.holds(*address) || self.peers.find(id, *address).is_some() {
                return None;
            }
            let settings = &range.settings;
            let families = settings.families.iter();
            Some(model::Peer {
                instance: instance.name().to_owned(),
                peer_address: address.to_string(),
                peer_asn: peer::expected_asn(settings),
                peer_hostname: None,
                local_address: None,
                local_asn: settings.local_asn,
                route_reflector_client: settings.client == Some(Client::RouteReflector),
                route_server_client: settings.client == Some(Client::RouteServer),
                state: PeerState::Idle,
                uptime_seconds: None,
                downtime_seconds: Some(now.saturating_since(*since).as_secs()),
                drain: Some(DrainState::Drained),
                last_error: Some(DRAINED_WORDS.to_owned()),
                last_error_age_seconds: None,
                group: None,
                shard: self.id.0,
                malformed_updates: Default::default(),
                families: families
                    .map(|family| FamilyCounts::new(family, 0, 0, 0))
                    .collect(),
            })
        });
        rows.collect()
    }
}

const DRAINED_WORDS: &str =
    "drained: it stays idle until `ringbgp undrain` or a restart of the daemon";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::{Delta, DynamicNeighbors, PeerAsn};
    use crate::model::{self, PeerState};
    use crate::shard::ShardCommand;
    use crate::shard::rig::{COMMUNITY, INSTANCE, Rig, neighbor};

    const GRACEFUL_SHUTDOWN: u32 = 0xffff_0000;
    const MINUTE: Duration = Duration::from_secs(60);

    fn rig() -> Rig {
        let mut rig = Rig::new();
        let mut internal = neighbor("10.0.0.7");
        internal.peer_asn = PeerAsn::Internal;
        let neighbors = [neighbor("10.0.0.6"), internal].map(Arc::new);
        rig.tell(Delta::Neighbors(INSTANCE, neighbors.into()));
        rig.originate(&["10.0.1.0/24"]);
        rig
    }

    /// How many peers that does something to.
    fn drain(rig: &mut Rig, peer: Option<&str>, wait: Option<Duration>) -> usize {
        let (sender, receiver) = std::sync::mpsc::channel();
        rig.command(ShardCommand::Drain {
            instance: None,
            peer: peer.map(|peer| peer.parse().unwrap()),
            wait,
            reply: Box::new(move |peers| sender.send(peers.len()).unwrap()),
        });
        receiver.recv().unwrap()
    }

    fn row(rig: &mut Rig, peer: &str) -> model::Peer {
        let rows = rig.peers();
        let row = rows.into_iter().find(|row| row.peer_address == peer);
        row.unwrap()
    }

    // RFC-SHOWN 8326 §4.2
    #[test]
    fn peers_are_told_have_their_time_and_are_closed() {
        let mut rig = rig();
        let external = rig.establish("10.0.0.6", 65002);
        let internal = rig.establish("10.0.0.7", 65001);
        let prefix = || "10.0.1.0/24".to_owned();
        let plain = (prefix(), vec![COMMUNITY], None);
        assert_eq!(rig.announced(external), [plain]);
        rig.announced(internal);
        assert_eq!(drain(&mut rig, None, Some(MINUTE)), 2);
        let marked = vec![COMMUNITY, GRACEFUL_SHUTDOWN];
        assert_eq!(rig.announced(external), [(prefix(), marked.clone(), None)]);
        assert_eq!(rig.announced(internal), [(prefix(), marked, Some(0))]);
        let draining = row(&mut rig, "10.0.0.6");
        assert_eq!(draining.drain, Some(DrainState::Draining));
        let words = draining.last_error.unwrap();
        assert!(words.contains("closed 60 s after that"), "{words}");
        rig.pass(LOOK_AGAIN);
        let words = row(&mut rig, "10.0.0.6").last_error.unwrap();
        assert!(words.contains("closed in 60 s"), "{words}");
        // What changes meanwhile is told with it too.
        rig.originate(&["10.0.2.0/24"]);
        assert_eq!(rig.announced(external)[0].1.len(), 2);
        rig.pass(MINUTE - Duration::from_secs(1));
        assert_eq!(row(&mut rig, "10.0.0.6").state, PeerState::Established);
        rig.pass(Duration::from_secs(2));
        let notification = rig.notification(external);
        assert_eq!(notification.subcode, cease::ADMINISTRATIVE_SHUTDOWN);
        assert_eq!(
            notification.shutdown_communication().unwrap(),
            "drained by its operator"
        );
        let drained = row(&mut rig, "10.0.0.7");
        assert_eq!(
            (drained.drain, drained.state),
            (Some(DrainState::Drained), PeerState::Idle)
        );
        assert!(drained.last_error.unwrap().contains("ringbgp undrain"));
    }

    #[test]
    fn explain_says_of_the_drained_what_peers_says() {
        let mut rig = rig();
        rig.establish("10.0.0.6", 65002);
        rig.establish("10.0.0.7", 65001);
        let reason = |rig: &mut Rig, peer: &str| {
            let prefix = "10.0.1.0/24".parse::<ipnet::IpNet>().unwrap();
            rig.verdict(peer, prefix.into()).reason
        };
        assert_eq!(reason(&mut rig, "10.0.0.6"), "announced");
        drain(&mut rig, None, Some(MINUTE));
        assert_eq!(
            reason(&mut rig, "10.0.0.6"),
            "announced; being drained: with GRACEFUL_SHUTDOWN (RFC 8326)"
        );
        assert_eq!(
            reason(&mut rig, "10.0.0.7"),
            "announced; being drained: with GRACEFUL_SHUTDOWN and local preference 0 (RFC 8326)"
        );
        rig.pass(MINUTE + Duration::from_secs(1));
        for peer in ["10.0.0.6", "10.0.0.7"] {
            assert_eq!(Some(reason(&mut rig, peer)), row(&mut rig, peer).last_error);
        }
        drain(&mut rig, None, None);
        let words = reason(&mut rig, "10.0.0.6");
        assert!(words.starts_with("not established: "), "{words}");
    }

    #[test]
    fn who_waits_for_the_advertisement_interval_has_its_time_from_then_on() {
        let interval = Duration::from_secs(20);
        let mut rig = rig();
        let mut paced = neighbor("10.0.0.6");
        paced.timers.advertisement_interval = interval;
        rig.tell(Delta::Neighbors(INSTANCE, [Arc::new(paced)].into()));
        let peer = rig.establish("10.0.0.6", 65002);
        rig.announced(peer);
        // The mark has to wait, and so has what changes meanwhile.
        drain(&mut rig, None, Some(Duration::from_secs(5)));
        rig.originate(&["10.0.2.0/24"]);
        let told = (0..300).find_map(|_| {
            rig.pass(Duration::from_millis(100));
            Some(rig.announced(peer)).filter(|told| !told.is_empty())
        });
        let marked = vec![COMMUNITY, GRACEFUL_SHUTDOWN];
        let change = |prefix: &str| (prefix.to_owned(), marked.clone(), None);
        let changes = ["10.0.1.0/24", "10.0.2.0/24"].map(change);
        assert_eq!(told.unwrap(), changes);
        rig.pass(Duration::from_secs(4));
        assert_eq!(row(&mut rig, "10.0.0.6").state, PeerState::Established);
        rig.pass(Duration::from_secs(2));
        assert_eq!(row(&mut rig, "10.0.0.6").state, PeerState::Idle);
    }

    #[test]
    fn the_drained_stay_down_until_they_are_not() {
        let mut rig = rig();
        rig.establish("10.0.0.7", 65001);
        assert_eq!(drain(&mut rig, Some("10.0.0.6"), Some(MINUTE)), 1);
        assert_eq!(row(&mut rig, "10.0.0.6").drain, Some(DrainState::Drained));
        assert_eq!(row(&mut rig, "10.0.0.7").drain, None);
        let refused = rig.connect("10.0.0.6").unwrap();
        assert_eq!(
            rig.notification(refused).subcode,
            cease::CONNECTION_REJECTED
        );
        // New settings do not bring it up.
        let mut changed = neighbor("10.0.0.6");
        changed.timers.hold = Duration::from_secs(30);
        rig.tell(Delta::Neighbors(INSTANCE, [Arc::new(changed)].into()));
        assert_eq!(row(&mut rig, "10.0.0.6").state, PeerState::Idle);
        assert_eq!(drain(&mut rig, Some("10.0.0.6"), None), 1);
        let back = rig.establish("10.0.0.6", 65002);
        assert_eq!(rig.announced(back)[0].1, [COMMUNITY]);
    }

    #[test]
    fn who_comes_while_all_are_drained_is_too() {
        let mut rig = Rig::new();
        drain(&mut rig, None, Some(MINUTE));
        let late = Arc::new(neighbor("10.0.0.6"));
        rig.tell(Delta::Neighbors(INSTANCE, [late].into()));
        assert_eq!(row(&mut rig, "10.0.0.6").drain, Some(DrainState::Drained));
        drain(&mut rig, Some("10.0.0.6"), None);
        assert_eq!(row(&mut rig, "10.0.0.6").state, PeerState::Active);
        drain(&mut rig, None, None);
        assert_eq!(row(&mut rig, "10.0.0.6").drain, None);
    }

    #[test]
    fn who_connects_from_a_prefix_is_kept_out_until_its_address_is_undrained() {
        let mut rig = Rig::new();
        let range = DynamicNeighbors {
            prefix: "10.9.0.0/24".parse::<ipnet::IpNet>().unwrap().into(),
            max_peers: 9,
            settings: neighbor("10.9.0.0"),
        };
        let ranges = [Arc::new(range)];
        rig.tell(Delta::DynamicNeighbors(INSTANCE, ranges.into()));
        let up = rig.establish("10.9.0.7", 65002);
        assert_eq!(drain(&mut rig, Some("10.9.0.7"), Some(Duration::ZERO)), 1);
        rig.pass(Duration::from_secs(1));
        assert!(rig.closed.contains_key(&up));
        let gone = row(&mut rig, "10.9.0.7");
        assert_eq!(
            (gone.state, gone.drain),
            (PeerState::Idle, Some(DrainState::Drained))
        );
        assert!(gone.downtime_seconds.is_some_and(|seconds| seconds <= 1));
        let refused = rig.connect("10.9.0.7").unwrap();
        assert_eq!(
            rig.notification(refused).subcode,
            cease::CONNECTION_REJECTED
        );
        assert_eq!(drain(&mut rig, Some("10.9.0.8"), None), 0, "is not drained");
        assert_eq!(
            drain(&mut rig, Some("10.8.0.7"), None),
            0,
            "is none of ours"
        );
        assert_eq!(drain(&mut rig, Some("10.9.0.7"), None), 1);
        rig.establish("10.9.0.7", 65002);
        assert_eq!(row(&mut rig, "10.9.0.7").state, PeerState::Established);
        assert_eq!(drain(&mut rig, Some("10.9.0.7"), None), 0, "is not drained");
    }

    #[test]
    fn an_address_within_a_prefix_is_drained_before_anybody_is_there() {
        let mut rig = Rig::new();
        let range = |prefix: &str| {
            Arc::new(DynamicNeighbors {
                prefix: prefix.parse::<ipnet::IpNet>().unwrap().into(),
                max_peers: 9,
                settings: neighbor("10.9.0.0"),
            })
        };
        let ranges = [range("10.9.0.0/24")];
        rig.tell(Delta::DynamicNeighbors(INSTANCE, ranges.into()));
        assert_eq!(drain(&mut rig, Some("10.8.0.7"), Some(MINUTE)), 0);
        assert_eq!(drain(&mut rig, Some("10.9.0.7"), Some(MINUTE)), 1);
        assert_eq!(row(&mut rig, "10.9.0.7").drain, Some(DrainState::Drained));
        let prefix: ipnet::IpNet = "10.0.1.0/24".parse().unwrap();
        let verdict = rig.verdict("10.9.0.7", prefix.into());
        assert!(!verdict.advertised && verdict.reason.contains("undrain"));
        let refused = rig.connect("10.9.0.7").unwrap();
        assert_eq!(
            rig.notification(refused).subcode,
            cease::CONNECTION_REJECTED
        );
        // Who was there when all were drained is shown, who comes by is not.
        rig.establish("10.9.0.8", 65002);
        drain(&mut rig, None, Some(Duration::ZERO));
        rig.pass(Duration::from_secs(1));
        rig.connect("10.9.0.9");
        assert_eq!(rig.addresses(), ["10.9.0.7", "10.9.0.8"]);
        assert_eq!(drain(&mut rig, Some("10.9.0.8"), None), 1);
        assert_eq!(rig.addresses(), ["10.9.0.7"]);
        // With their prefix they are nobody's.
        let ranges = [range("10.9.1.0/24")];
        rig.tell(Delta::DynamicNeighbors(INSTANCE, ranges.into()));
        assert_eq!(rig.addresses(), [""; 0]);
        let ranges = [range("10.9.0.0/16")];
        rig.tell(Delta::DynamicNeighbors(INSTANCE, ranges.into()));
        assert_eq!(drain(&mut rig, None, None), 1);
        assert_eq!(rig.addresses(), [""; 0]);
        rig.establish("10.9.0.7", 65002);
    }

    #[test]
    fn undrain_in_time_keeps_the_session_and_takes_the_mark_away() {
        let mut rig = rig();
        let peer = rig.establish("10.0.0.6", 65002);
        drain(&mut rig, None, Some(MINUTE));
        rig.announced(peer);
        drain(&mut rig, None, None);
        assert_eq!(rig.announced(peer)[0].1, [COMMUNITY]);
        rig.say(peer, &{
            let mut keepalive = Vec::new();
            codec::encode_keepalive(&mut keepalive);
            keepalive
        });
        rig.pass(Duration::from_secs(80));
        assert_eq!(row(&mut rig, "10.0.0.6").state, PeerState::Established);
    }

    #[test]
    fn a_session_that_ends_while_it_is_drained_is_not_begun_again() {
        let mut rig = rig();
        let peer = rig.establish("10.0.0.6", 65002);
        drain(&mut rig, None, Some(MINUTE));
        rig.closed_by_peer(peer);
        assert_eq!(row(&mut rig, "10.0.0.6").drain, Some(DrainState::Drained));
        assert_eq!(row(&mut rig, "10.0.0.6").state, PeerState::Idle);
        assert_eq!(rig.shard.poll_timeout(), None);
    }
}
