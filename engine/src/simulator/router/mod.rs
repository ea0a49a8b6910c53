//! A simulated router: a plain BGP speaker on the codec alone.
//!
//! It shares no line with the engine's sessions, groups and table, so that a bug there cannot hide
//! behind itself here. It is simple where the engine is fast: one queue of octets a connection, one
//! ordered map as table, timers read on every step. What the engine sends must be flawless: an
//! attribute fault, a message out of place or an unexpected NOTIFICATION fails the run.
//!
//! Here: what a router is, its connections and timers. How it opens a session is in `opening`, what it
//! says in `telling`, what it makes of what it is told in `hearing`.

mod hearing;
mod opening;
mod telling;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use codec::{Family, FamilySet, IpPrefix, Message, Notification, RouteRefresh, WireFormat};

use super::network::{End, LinkId, Network};
use super::route::Table;
use crate::config::{Capabilities, Role};
use crate::random::Random;
use crate::time::Time;

/// What a router is, for the whole run.
#[derive(Clone, Debug)]
pub(super) struct RouterSpec {
    pub(super) index: usize,
    /// Where it is reached, and its next hop in that family.
    pub(super) address: IpAddr,
    /// Its next hop in IPv6.
    pub(super) address_ipv6: Ipv6Addr,
    /// Its next hop in IPv4.
    pub(super) address_ipv4: Ipv4Addr,
    pub(super) asn: u32,
    pub(super) router_id: Ipv4Addr,
    /// The AS of the node that it peers with.
    pub(super) node_asn: u32,
    pub(super) dials: bool,
    pub(super) listens: bool,
    pub(super) hold_time: u16,
    pub(super) families: FamilySet,
    /// What it is to the node; none: it does not tell (RFC 9234).
    pub(super) role: Option<Role>,
    /// What else it offers.
    pub(super) capabilities: Capabilities,
    /// False: an old router that does not know 4-octet AS numbers.
    pub(super) four_octet_as: bool,
    /// It knows enhanced route refresh (RFC 7313).
    pub(super) enhanced_refresh: bool,
    /// Whether it sends several paths a prefix, and takes several (RFC 7911).
    pub(super) add_path_send: bool,
    pub(super) add_path_receive: bool,
    /// It asks its peers to keep its routes while it restarts (RFC 4724).
    pub(super) graceful: Option<RouterGraceful>,
}

/// How a router restarts.
#[derive(Clone, Copy, Debug)]
pub(super) struct RouterGraceful {
    pub(super) restart_time: u16,
    /// Over a NOTIFICATION too (RFC 8538).
    pub(super) notification: bool,
    /// It forwards meanwhile as before.
    pub(super) preserves: bool,
    /// It knows what long-lived stale routes are, and asks for so many seconds (RFC 9494).
    pub(super) long_lived: Option<u32>,
}

/// A router in the run.
#[derive(Debug)]
pub(super) struct Router {
    pub(super) spec: RouterSpec,
    pub(super) up: bool,
    /// What it announces: where only one path a prefix can be told, the first.
    pub(super) routes: Table,
    connections: Vec<Connection>,
    dialling: Option<LinkId>,
    dial_at: Option<Time>,
    /// What the node had told before it went away to restart, and how long that is kept.
    kept: Option<(Table, Time)>,
    /// It was up before.
    restarted: bool,
    random: Random,
}

#[derive(Debug)]
struct Connection {
    link: LinkId,
    end: End,
    phase: Phase,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    hold_time: Duration,
    expires: Time,
    keepalive_at: Time,
    format: WireFormat,
    peer_id: Ipv4Addr,
    /// What the node says of its restarts.
    node_restarts: NodeRestarts,
    table: Table,
    /// What the node had told before its restart and did not tell again yet.
    unconfirmed: BTreeSet<(IpPrefix, u32)>,
    ended_ribs: FamilySet,
    /// Both ends know enhanced route refresh.
    enhanced_refresh: bool,
    /// What was not told again since the node began to refresh a family.
    stale: [Option<BTreeSet<(IpPrefix, u32)>>; Family::ALL.len()],
    /// It sent garbage and waits for what that brings.
    spoiled: bool,
    /// Ended: goes once its octets are out.
    ending: bool,
}

/// The node's graceful restart capability (RFC 4724 §3), where both ends have one.
#[derive(Clone, Copy, Debug, Default)]
struct NodeRestarts {
    /// It restarted just now.
    #[cfg(test)]
    restarted: bool,
    time: Duration,
    families: FamilySet,
    /// Families of which what it told before stands.
    forwarding: FamilySet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    OpenSent,
    OpenConfirm,
    Established,
}

impl RouterSpec {
    /// Whether it knows what LLGR_STALE means.
    pub(super) fn knows_long_lived(&self) -> bool {
        self.graceful
            .is_some_and(|graceful| graceful.long_lived.is_some())
    }
}

impl Router {
    pub(super) fn new(spec: RouterSpec, seed: u64) -> Router {
        Router {
            dial_at: spec.dials.then(Time::default),
            spec,
            up: true,
            routes: Table::new(),
            connections: Vec::new(),
            dialling: None,
            kept: None,
            restarted: false,
            random: Random::new(seed),
        }
    }

    /// The link of the session that is up, and what was negotiated on it.
    pub(super) fn established(&self) -> Option<(LinkId, &WireFormat)> {
        let connection = self.session()?;
        Some((connection.link, &connection.format))
    }

    /// What the engine told us.
    pub(super) fn table(&self) -> Option<&Table> {
        Some(&self.session()?.table)
    }

    /// What the engine told us, or had told before it went away, as long as that is kept.
    #[cfg(test)]
    pub(super) fn held(&self) -> Option<&Table> {
        let kept = self.kept.as_ref().map(|(table, _)| table);
        self.table().or(kept)
    }

    /// Whether its session began with a node that said that it had restarted (RFC 4724 §3).
    #[cfg(test)]
    pub(super) fn was_told_of_restart(&self) -> bool {
        self.session()
            .is_some_and(|session| session.node_restarts.restarted)
    }

    /// It knows graceful restart, if it did not.
    #[cfg(test)]
    pub(super) fn know_restarts(&mut self) {
        self.spec.graceful.get_or_insert(RouterGraceful {
            restart_time: 60,
            notification: true,
            preserves: true,
            long_lived: None,
        });
    }

    /// Families whose End-of-RIB came.
    pub(super) fn ended_ribs(&self) -> FamilySet {
        self.session()
            .map_or(FamilySet::NONE, |session| session.ended_ribs)
    }

    /// Whether the node began to refresh a family and did not end that.
    pub(super) fn is_refreshing(&self) -> bool {
        self.session()
            .is_some_and(|session| session.stale.iter().any(Option::is_some))
    }

    /// Whether everything it has to say is with the network.
    pub(super) fn is_quiet(&self) -> bool {
        self.connections
            .iter()
            .all(|connection| connection.outbox.is_empty() && !connection.ending)
    }

    pub(super) fn links(&self) -> Vec<(LinkId, End)> {
        self.connections.iter().map(|c| (c.link, c.end)).collect()
    }

    fn session(&self) -> Option<&Connection> {
        let mut live = self.connections.iter().filter(|c| !c.ending && !c.spoiled);
        live.find(|c| c.phase == Phase::Established)
    }

    // ----- what the run does to it ------------------------------------------------------------

    /// Asks for a family again.
    pub(super) fn ask_refresh(&mut self, now: Time, family: Family, net: &mut Network) {
        for connection in &mut self.connections {
            if connection.phase == Phase::Established && connection.format.families.contains(family)
            {
                let refresh = RouteRefresh {
                    afi: family.afi(),
                    safi: family.safi(),
                    subtype: RouteRefresh::REQUEST,
                };
                codec::encode_route_refresh(&refresh, &mut connection.outbox);
                connection.push(now, net);
            }
        }
    }

    /// Its operator resets the sessions.
    pub(super) fn clear(&mut self, now: Time, net: &mut Network) {
        for connection in &mut self.connections {
            connection.end_with(now, &Notification::cease(4), net);
        }
        self.settle(now);
    }

    /// It sends octets that are no message; true if there was a session to spoil.
    pub(super) fn send_garbage(&mut self, now: Time, net: &mut Network) -> bool {
        let session = self
            .connections
            .iter_mut()
            .find(|c| c.phase == Phase::Established && !c.ending && !c.spoiled);
        let Some(session) = session else {
            return false;
        };
        session.spoiled = true;
        let octets: Vec<u8> = (0..40).map(|_| (self.random.next() & 0x7f) as u8).collect();
        session.outbox.extend(octets);
        session.push(now, net);
        true
    }

    /// Power is lost. Without a hold time nobody would ever find out, so then the link is cut.
    pub(super) fn crash(&mut self, now: Time, net: &mut Network) {
        self.up = false;
        self.kept = None;
        for connection in self.connections.drain(..) {
            if connection.phase == Phase::Established && connection.hold_time.is_zero() {
                net.reset(now, connection.link);
            }
            net.vanish(connection.link, connection.end);
        }
        if let Some(link) = self.dialling.take() {
            net.vanish(link, End::Dialer);
        }
        self.dial_at = None;
    }

    /// Power is back.
    pub(super) fn restart(&mut self, now: Time) {
        self.up = true;
        self.restarted = true;
        self.redial(now);
    }

    // ----- what the network brings ------------------------------------------------------------

    pub(super) fn on_knock(&mut self, now: Time, link: LinkId, net: &mut Network) {
        let crowded = self.connections.len() >= 2;
        if !self.up || !self.spec.listens || crowded {
            net.refuse(now, link);
            return;
        }
        net.accept(now, link);
        self.begin(now, link, End::Acceptor, net);
    }

    pub(super) fn on_connected(&mut self, now: Time, link: LinkId, net: &mut Network) {
        if self.dialling == Some(link) {
            self.dialling = None;
            self.begin(now, link, End::Dialer, net);
        } else {
            net.close(now, link, End::Dialer);
        }
    }

    pub(super) fn on_refused(&mut self, now: Time, link: LinkId) {
        if self.dialling == Some(link) {
            self.dialling = None;
            self.redial(now);
        }
    }

    /// A connection is gone, and not by a NOTIFICATION: what the node told is kept, if it asked for
    /// that (RFC 4724 §4.2).
    pub(super) fn on_lost(&mut self, now: Time, link: LinkId) {
        let lost = self.connection(link);
        if let Some(lost) =
            lost.filter(|c| c.phase == Phase::Established && !c.ending && !c.spoiled)
        {
            let restarts = lost.node_restarts;
            let mut table = std::mem::take(&mut lost.table);
            table.retain(|name, _| {
                restarts.families.contains(name.0.family()) && !lost.unconfirmed.contains(name)
            });
            self.kept = (!restarts.time.is_zero()).then(|| (table, now + restarts.time));
        }
        self.on_closed(now, link);
    }

    fn on_closed(&mut self, now: Time, link: LinkId) {
        self.connections
            .retain(|connection| connection.link != link);
        self.redial(now);
    }

    pub(super) fn on_room(&mut self, now: Time, link: LinkId, net: &mut Network) {
        if let Some(connection) = self.connections.iter_mut().find(|c| c.link == link) {
            connection.push(now, net);
        }
        self.settle(now);
    }

    /// # Errors
    /// What the engine did wrong.
    pub(super) fn on_octets(
        &mut self,
        now: Time,
        link: LinkId,
        octets: &[u8],
        net: &mut Network,
    ) -> Result<(), String> {
        if let Some(connection) = self.connection(link) {
            connection.inbox.extend_from_slice(octets);
        }
        while let Some(message) = self.next_message(link)? {
            self.on_message(now, link, &message, net)?;
            self.settle(now);
        }
        Ok(())
    }

    pub(super) fn on_time(&mut self, now: Time, net: &mut Network) {
        self.kept.take_if(|(_, until)| *until <= now);
        for connection in &mut self.connections {
            connection.on_time(now, net);
        }
        self.settle(now);
        if self.dial_at.is_some_and(|at| at <= now) {
            self.dial_at = None;
            if self.up && self.connections.is_empty() && self.dialling.is_none() {
                self.dialling = Some(net.dial(now, self.spec.index));
            }
        }
        self.redial(now);
    }

    pub(super) fn next_time(&self) -> Option<Time> {
        let timers = self
            .connections
            .iter()
            .filter(|connection| !connection.ending)
            .map(|connection| connection.expires.min(connection.keepalive_at));
        let kept = self.kept.as_ref().map(|(_, until)| *until);
        timers.chain(self.dial_at).chain(kept).min()
    }

    // ----- inside -----------------------------------------------------------------------------

    fn connection(&mut self, link: LinkId) -> Option<&mut Connection> {
        self.connections.iter_mut().find(|c| c.link == link)
    }

    /// Connections that ended and have nothing left to say are gone; without any it dials again.
    fn settle(&mut self, now: Time) {
        self.connections
            .retain(|connection| !(connection.ending && connection.outbox.is_empty()));
        self.redial(now);
    }

    fn redial(&mut self, now: Time) {
        let idle = self.connections.is_empty() && self.dialling.is_none();
        if self.up && self.spec.dials && idle && self.dial_at.is_none() {
            self.dial_at = Some(now + self.random.jitter(Duration::from_secs(5)));
        }
    }

    fn begin(&mut self, now: Time, link: LinkId, end: End, net: &mut Network) {
        let mut connection = Connection {
            link,
            end,
            phase: Phase::OpenSent,
            inbox: Vec::new(),
            outbox: Vec::new(),
            hold_time: Duration::ZERO,
            expires: now + Duration::from_secs(240),
            keepalive_at: Time(u64::MAX),
            format: WireFormat::default(),
            peer_id: Ipv4Addr::UNSPECIFIED,
            node_restarts: NodeRestarts::default(),
            table: Table::new(),
            unconfirmed: BTreeSet::new(),
            ended_ribs: FamilySet::NONE,
            enhanced_refresh: false,
            stale: Default::default(),
            spoiled: false,
            ending: false,
        };
        codec::encode_open(&self.open(), &mut connection.outbox);
        connection.push(now, net);
        self.connections.push(connection);
    }

    fn next_message(&mut self, link: LinkId) -> Result<Option<Vec<u8>>, String> {
        let Some(connection) = self.connection(link) else {
            return Ok(None);
        };
        if connection.ending {
            connection.inbox.clear();
            return Ok(None);
        }
        let length = codec::frame(&connection.inbox, connection.format.max_len())
            .map_err(|fault| format!("the engine's octets are no message: {fault}"))?;
        Ok(length.map(|length| connection.inbox.drain(..length).collect()))
    }

    fn on_message(
        &mut self,
        now: Time,
        link: LinkId,
        message: &[u8],
        net: &mut Network,
    ) -> Result<(), String> {
        let message = codec::parse_message(message)
            .map_err(|fault| format!("the engine sent a malformed message: {fault}"))?;
        let Some(connection) = self.connection(link) else {
            return Ok(());
        };
        connection.expires = match connection.hold_time.is_zero() {
            true if connection.phase == Phase::Established => Time(u64::MAX),
            true => connection.expires,
            false => now + connection.hold_time,
        };
        let phase = connection.phase;
        match (phase, message) {
            (_, Message::Notification(notification)) => {
                self.on_notification(now, link, &notification, net)
            }
            (Phase::OpenSent, Message::Open(open)) => self.on_open(now, link, &open, net),
            (Phase::OpenConfirm, Message::Keepalive) => {
                self.on_up(now, link, net);
                Ok(())
            }
            (Phase::Established, Message::Keepalive) => Ok(()),
            (Phase::Established, Message::Update(body)) => self.on_update(link, body),
            (Phase::Established, Message::RouteRefresh(refresh)) => {
                self.on_refresh(now, link, refresh, net)
            }
            (_, other) => Err(format!("the engine sent {other:?} in {phase:?}")),
        }
    }

    /// The engine may cease, may miss our KEEPALIVEs on a cut network, and may refuse an OPEN that
    /// its configuration does not allow. It must find no fault in what we say after that.
    fn on_notification(
        &mut self,
        now: Time,
        link: LinkId,
        notification: &Notification,
        net: &mut Network,
    ) -> Result<(), String> {
        let Some(connection) = self.connection(link) else {
            return Ok(());
        };
        let expected = match notification.code {
            4 | 6 | 8 => true,
            2 => connection.phase <= Phase::OpenConfirm,
            1 => connection.spoiled,
            _ => false,
        };
        if !expected {
            return Err(format!("the engine refuses a good message: {notification}"));
        }
        net.close(now, link, connection.end);
        self.on_closed(now, link);
        Ok(())
    }

    fn on_up(&mut self, now: Time, link: LinkId, net: &mut Network) {
        let others = self.connections.iter_mut().filter(|c| c.link != link);
        for other in others {
            other.end_with(now, &Notification::cease(7), net);
        }
        let kept = self.kept.take();
        if let Some(connection) = self.connection(link) {
            connection.phase = Phase::Established;
            // RFC 4724 §4.2: what the node does not say that it forwards by any more goes at once.
            let stands = connection.node_restarts.forwarding;
            let families = connection.format.families.intersection(stands);
            let kept = kept.into_iter().flat_map(|(table, _)| table);
            connection.table = kept
                .filter(|((prefix, _), _)| families.contains(prefix.family()))
                .collect();
            connection.unconfirmed = connection.table.keys().copied().collect();
            if connection.hold_time.is_zero() {
                connection.expires = Time(u64::MAX);
            }
        }
        self.tell_all(now, link, FamilySet::ALL, net);
    }
}

impl Connection {
    fn on_time(&mut self, now: Time, net: &mut Network) {
        if self.ending {
            return;
        }
        if self.expires <= now {
            self.end_with(now, &Notification::new(4, 0), net);
            return;
        }
        if self.keepalive_at <= now {
            self.keepalive_at = now + self.hold_time / 3;
            if !self.spoiled {
                codec::encode_keepalive(&mut self.outbox);
                self.push(now, net);
            }
        }
    }

    fn end_with(&mut self, now: Time, notification: &Notification, net: &mut Network) {
        if self.ending {
            return;
        }
        codec::encode_notification(notification, &mut self.outbox);
        self.ending = true;
        self.push(now, net);
    }

    /// Gives the network what it takes.
    fn push(&mut self, now: Time, net: &mut Network) {
        if !self.outbox.is_empty() {
            let taken = net.write(now, self.link, self.end, &self.outbox);
            self.outbox.drain(..taken);
        }
        if self.ending && self.outbox.is_empty() {
            net.close(now, self.link, self.end);
        }
    }
}
