//! A simulated router: a plain BGP speaker on the codec alone.
//!
//! It shares no line with the engine's sessions, groups and table, so that a bug there cannot hide
//! behind itself here. It is simple where the engine is fast: one queue of octets a connection, one
//! ordered map as table, timers read on every step. What the engine sends must be flawless: an
//! attribute fault, a message out of place or an unexpected NOTIFICATION fails the run.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use codec::{
    AddPath, Capability, ExtendedNextHop, Family, FamilySet, GracefulRestartFamily, IpPrefix,
    LongLivedFamily, Message, NextHop, NlriField, Notification, Open, PeerKind, RouteRefresh,
    Update, WireFormat,
};

use super::network::{End, LinkId, Network};
use super::route::{Route, Table};
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
    table: Table,
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

    /// Announces or changes a path.
    pub(super) fn announce(
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
    pub(super) fn withdraw(&mut self, now: Time, name: (IpPrefix, u32), net: &mut Network) {
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
    pub(super) fn said(&self, format: &WireFormat) -> Table {
        let told = told(&self.routes, format).into_iter();
        let said = told.filter_map(|((prefix, path_id), route)| {
            let said = route.said(prefix.family(), format, self.spec.address_ipv4)?;
            Some(((prefix, path_id), said))
        });
        said.collect()
    }

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

    pub(super) fn on_closed(&mut self, now: Time, link: LinkId) {
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
        timers.chain(self.dial_at).min()
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
            table: Table::new(),
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

    fn open(&self) -> Open {
        let families = self.spec.families.iter();
        let mut capabilities: Vec<Capability> = families
            .map(|family| Capability::Multiprotocol {
                afi: family.afi(),
                safi: family.safi(),
            })
            .collect();
        capabilities.push(Capability::RouteRefresh);
        if self.spec.enhanced_refresh {
            capabilities.push(Capability::EnhancedRouteRefresh);
        }
        if let Some(graceful) = self.spec.graceful {
            let families = self.spec.families.iter();
            capabilities.push(Capability::GracefulRestart {
                restarting: self.restarted,
                notification: graceful.notification,
                restart_time: graceful.restart_time,
                families: families
                    .map(|family| GracefulRestartFamily {
                        afi: family.afi(),
                        safi: family.safi(),
                        forwarding: self.restarted && graceful.preserves,
                    })
                    .collect(),
            });
            if let Some(stale_time) = graceful.long_lived {
                let families = self.spec.families.iter();
                let long_lived = families.map(|family| LongLivedFamily {
                    afi: family.afi(),
                    safi: family.safi(),
                    forwarding: self.restarted && graceful.preserves,
                    stale_time,
                });
                capabilities.push(Capability::LongLivedGracefulRestart(long_lived.collect()));
            }
        }
        capabilities.extend(self.spec.role.map(|role| Capability::Role(role.code())));
        if self.spec.capabilities.extended_messages {
            capabilities.push(Capability::ExtendedMessages);
        }
        if self.spec.capabilities.extended_next_hop {
            capabilities.push(ipv4_over_ipv6());
        }
        if self.spec.four_octet_as {
            capabilities.push(Capability::FourOctetAs(self.spec.asn));
        }
        if self.spec.add_path_send || self.spec.add_path_receive {
            let families = self.spec.families.iter();
            let offers = families.map(|family| AddPath {
                afi: family.afi(),
                safi: family.safi(),
                receive: self.spec.add_path_receive,
                send: self.spec.add_path_send,
            });
            capabilities.push(Capability::AddPath(offers.collect()));
        }
        Open {
            version: 4,
            asn: self.spec.asn,
            hold_time: self.spec.hold_time,
            identifier: self.spec.router_id,
            capabilities,
        }
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

    fn on_open(
        &mut self,
        now: Time,
        link: LinkId,
        open: &Open,
        net: &mut Network,
    ) -> Result<(), String> {
        let spec = self.spec.clone();
        let mut families = FamilySet::NONE;
        let (mut four_octet_as, mut enhanced_refresh) = (false, false);
        let [mut sends, mut receives] = [FamilySet::NONE; 2];
        let mut theirs = Capabilities {
            extended_messages: false,
            extended_next_hop: false,
        };
        for capability in &open.capabilities {
            match capability {
                Capability::Multiprotocol { afi, safi } => {
                    if let Some(family) = Family::from_afi_safi(*afi, *safi) {
                        families.insert(family);
                    }
                }
                Capability::FourOctetAs(asn) if *asn == open.asn => four_octet_as = true,
                Capability::EnhancedRouteRefresh => enhanced_refresh = true,
                Capability::AddPath(offers) => {
                    for offer in offers {
                        let Some(family) = Family::from_afi_safi(offer.afi, offer.safi) else {
                            return Err(format!("the engine offers {offer:?}"));
                        };
                        if offer.send {
                            sends.insert(family);
                        }
                        if offer.receive {
                            receives.insert(family);
                        }
                    }
                }
                Capability::GracefulRestart { .. } => {}
                Capability::LongLivedGracefulRestart(_) => {}
                Capability::RouteRefresh | Capability::Fqdn { .. } => {}
                Capability::Role(role) => {
                    let wanted = spec.role.map(|role| role.counterpart().code());
                    if wanted.is_some_and(|wanted| wanted != *role) {
                        return Err(format!("the engine says that its role is {role}"));
                    }
                }
                Capability::ExtendedMessages => theirs.extended_messages = true,
                other if *other == ipv4_over_ipv6() => theirs.extended_next_hop = true,
                other => return Err(format!("the engine offers {other:?}, which it does not do")),
            }
        }
        if open.asn != spec.node_asn {
            return Err(format!(
                "the engine says AS {}, not {}",
                open.asn, spec.node_asn
            ));
        }
        let Some(connection) = self.connection(link) else {
            return Ok(());
        };
        let hold_time = u64::from(open.hold_time.min(spec.hold_time));
        connection.hold_time = Duration::from_secs(hold_time);
        if hold_time > 0 {
            connection.expires = now + connection.hold_time;
            connection.keepalive_at = now + connection.hold_time / 3;
        }
        connection.peer_id = open.identifier;
        connection.enhanced_refresh = enhanced_refresh && spec.enhanced_refresh;
        let families = families.intersection(spec.families);
        let both = |ours: bool, theirs: FamilySet| match ours {
            true => families.intersection(theirs),
            false => FamilySet::NONE,
        };
        connection.format = WireFormat {
            four_octet_as: four_octet_as && spec.four_octet_as,
            add_path_receive: both(spec.add_path_receive, sends),
            add_path_send: both(spec.add_path_send, receives),
            families,
            extended_messages: theirs.extended_messages && spec.capabilities.extended_messages,
            extended_next_hop: theirs.extended_next_hop && spec.capabilities.extended_next_hop,
            peer: match open.asn == spec.asn {
                true => PeerKind::Internal,
                false => PeerKind::External,
            },
        };
        if connection.format.families.is_empty() {
            connection.end_with(now, &Notification::new(2, 7), net);
            return Ok(());
        }
        connection.phase = Phase::OpenConfirm;
        codec::encode_keepalive(&mut connection.outbox);
        connection.push(now, net);
        self.resolve_collision(now, link, open, net);
        Ok(())
    }

    /// RFC 4271 §6.8 and RFC 6286 §2.3, from the text.
    fn resolve_collision(&mut self, now: Time, link: LinkId, open: &Open, net: &mut Network) {
        let ours = (u32::from(self.spec.router_id), self.spec.asn);
        let theirs = (u32::from(open.identifier), open.asn);
        let keep = if ours > theirs {
            End::Dialer
        } else {
            End::Acceptor
        };
        let other = self
            .connections
            .iter()
            .find(|c| c.link != link && !c.ending && c.phase >= Phase::OpenConfirm);
        let loser = match other {
            None => return,
            Some(other) if other.phase == Phase::Established => link,
            Some(other) if other.end == keep => link,
            Some(other) => other.link,
        };
        if let Some(loser) = self.connection(loser) {
            loser.end_with(now, &Notification::cease(7), net);
        }
    }

    fn on_up(&mut self, now: Time, link: LinkId, net: &mut Network) {
        let others = self.connections.iter_mut().filter(|c| c.link != link);
        for other in others {
            other.end_with(now, &Notification::cease(7), net);
        }
        if let Some(connection) = self.connection(link) {
            connection.phase = Phase::Established;
            if connection.hold_time.is_zero() {
                connection.expires = Time(u64::MAX);
            }
        }
        self.tell_all(now, link, FamilySet::ALL, net);
    }

    fn on_refresh(
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

    /// Tells a family again, between its bounds where both ends know them.
    fn tell_again(&mut self, now: Time, link: LinkId, family: Family, net: &mut Network) {
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
    pub(super) fn forget_and_refresh(&mut self, now: Time, every: usize, net: &mut Network) {
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
    fn tell_all(&mut self, now: Time, link: LinkId, families: FamilySet, net: &mut Network) {
        self.tell_routes(link, families);
        if let Some(connection) = self.connection(link) {
            for family in families.intersection(connection.format.families).iter() {
                codec::encode_end_of_rib(family, &mut connection.outbox);
            }
            connection.push(now, net);
        }
    }

    fn tell_routes(&mut self, link: LinkId, families: FamilySet) {
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

    fn on_update(&mut self, link: LinkId, body: &[u8]) -> Result<(), String> {
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
            return Ok(());
        }
        let gone = update.mp_withdrawn.iter().flat_map(|mp| mp.nlri.iter());
        for (path_id, prefix) in update.withdrawn.iter().chain(gone) {
            self.table.remove(&(prefix, path_id));
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
                if let Some(stale) = &mut self.stale[prefix.family().index()] {
                    stale.remove(&(prefix, path_id));
                }
            }
        }
        Ok(())
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

/// IPv4 routes with IPv6 next hops (RFC 8950 §4).
fn ipv4_over_ipv6() -> Capability {
    Capability::ExtendedNextHop(vec![ExtendedNextHop {
        afi: 1,
        safi: 1,
        next_hop_afi: 2,
    }])
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
