//! A shard with two external peers, of which one says routes and the other hears them: for tests of what
//! policy, filters and VRPs make of them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use codec::{AttributeSet, AttributeWriter, IpPrefix, Message, NextHop, Origin, WireFormat};

use super::rig::{INSTANCE, Rig, neighbor};
use super::*;
use crate::config::{Delta, Neighbor, OriginAttributes, OriginChange};
use crate::model::{Route, RoutesKind, RoutesQuery};
use crate::policy::{Action, Match, Policy, RoutePolicy, Set, Sources, Statement};

pub(super) const ONE: &str = "10.0.0.6";
pub(super) const TWO: &str = "10.0.0.7";

/// What a router holds after what it was told: LOCAL_PREF, MED, communities, AS_PATH, next hop.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Told {
    pub(super) med: Option<u32>,
    pub(super) communities: Vec<u32>,
    pub(super) as_path: Vec<u32>,
    pub(super) next_hop: Option<Ipv4Addr>,
}

pub(super) struct Bed {
    pub(super) rig: Rig,
    pub(super) one: ConnectionId,
    pub(super) two: ConnectionId,
    /// What the second peer holds.
    pub(super) table: BTreeMap<IpPrefix, Told>,
    /// UPDATEs and others that it got since last looked at.
    pub(super) messages: usize,
    pub(super) settings: [Neighbor; 2],
}

impl Bed {
    /// Two external peers.
    pub(super) fn new(change: impl FnOnce(&mut [Neighbor; 2])) -> Bed {
        let mut rig = Rig::new();
        let mut settings = [neighbor(ONE), neighbor(TWO)];
        change(&mut settings);
        let neighbors = settings.clone().map(Arc::new);
        rig.tell(Delta::Neighbors(INSTANCE, neighbors.into()));
        let one = rig.establish(ONE, 65002);
        let two = rig.establish(TWO, 65003);
        let mut bed = Bed {
            rig,
            one,
            two,
            table: BTreeMap::new(),
            messages: 0,
            settings,
        };
        bed.read();
        bed
    }

    pub(super) fn change(&mut self, change: impl FnOnce(&mut [Neighbor; 2])) {
        change(&mut self.settings);
        let neighbors = self.settings.clone().map(Arc::new);
        self.rig.tell(Delta::Neighbors(INSTANCE, neighbors.into()));
        self.read();
    }

    /// Takes in what the second peer was told, and sees that the first was told nothing but
    /// UPDATEs and KEEPALIVEs: no session was reset, no refresh was asked for.
    pub(super) fn read(&mut self) {
        self.messages = 0;
        for connection in [self.one, self.two] {
            let messages = std::mem::take(self.rig.open.get_mut(&connection).expect("up"));
            for message in messages {
                match codec::parse_message(&message).unwrap() {
                    Message::Update(body) if connection == self.two => self.update(body),
                    Message::Update(_) | Message::Keepalive | Message::Open(_) => {}
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    pub(super) fn update(&mut self, body: &[u8]) {
        let update = codec::parse_update(body, &WireFormat::default()).unwrap();
        for (_, prefix) in update.withdrawn.iter() {
            self.messages += 1;
            self.table.remove(&prefix);
        }
        let mut canonical = Vec::new();
        update.canonical(codec::NlriField::Plain, &mut canonical);
        let set = AttributeSet::new(&canonical);
        for (_, prefix) in update.announced.iter() {
            self.messages += 1;
            let told = Told {
                med: set.med(),
                communities: set.communities().collect(),
                as_path: set.as_path().asns().collect(),
                next_hop: match set.next_hop() {
                    Some(NextHop::V4(address)) => Some(address),
                    _ => None,
                },
            };
            self.table.insert(prefix, told);
        }
    }

    /// The first peer announces a prefix.
    pub(super) fn announce(&mut self, prefix: &str, write: impl FnOnce(&mut AttributeWriter<'_>)) {
        let message = announcement(prefix, &plain(write));
        self.rig.say(self.one, &message);
        self.read();
    }

    /// As [`Bed::announce`], of many prefixes in one UPDATE.
    pub(super) fn announce_many(&mut self, prefixes: &[codec::Ipv4Prefix]) {
        let mut nlri = Vec::new();
        for prefix in prefixes {
            codec::encode_nlri(*prefix, None, &mut nlri);
        }
        let mut message = Vec::new();
        codec::encode_update(&plain(|_| {}), &nlri, &mut message);
        self.rig.say(self.one, &message);
        self.read();
    }

    /// As [`Bed::announce`], before the shard does any of its work.
    pub(super) fn announce_only(&mut self, prefix: &str) {
        let message = announcement(prefix, &plain(|_| {}));
        let now = self.rig.now;
        self.rig.shard.handle_bytes(now, self.one, &message);
    }

    pub(super) fn announce_with(&mut self, prefix: &str, attributes: &[u8]) {
        self.rig.say(self.one, &announcement(prefix, attributes));
        self.read();
    }

    pub(super) fn told(&self, prefix: &str) -> Option<&Told> {
        self.table.get(&ip(prefix))
    }

    pub(super) fn routes(&mut self, kind: RoutesKind) -> Vec<Route> {
        let (sender, receiver) = std::sync::mpsc::channel();
        let reply: Reply<crate::model::RoutesReply> = Box::new(move |reply| {
            sender.send(reply).unwrap();
        });
        let query = RoutesQuery::all(kind);
        self.rig
            .command(ShardCommand::Query(Query::Routes(query, reply)));
        receiver.recv().unwrap().routes
    }

    pub(super) fn received(&mut self) -> Vec<Route> {
        let all = self.routes(RoutesKind::Received);
        all.into_iter()
            .filter(|route| route.peer_address.as_deref() == Some(ONE))
            .collect()
    }

    pub(super) fn rejected_by(&mut self) -> Vec<Option<String>> {
        self.received()
            .into_iter()
            .map(|route| route.rejected_by)
            .collect()
    }

    pub(super) fn reason(&mut self, prefix: &str) -> String {
        self.verdict(TWO, prefix).reason
    }

    pub(super) fn verdict(&mut self, peer: &str, prefix: &str) -> crate::model::PeerVerdict {
        self.rig.verdict(peer, ip(prefix))
    }

    pub(super) fn own(&mut self, prefix: &str, there: bool) {
        let change = own_change(prefix, there);
        self.rig.tell(Delta::Origins(INSTANCE, Box::new([change])));
        self.read();
    }
}

/// A route of our own comes or goes.
pub(super) fn own_change(prefix: &str, there: bool) -> OriginChange {
    let attributes = Arc::new(OriginAttributes {
        communities: vec![],
        large_communities: vec![],
        local_preference: 100,
    });
    OriginChange {
        prefix: ip(prefix),
        attributes: there.then_some(attributes),
        kinds: Sources::POD_CIDR,
    }
}

pub(super) fn ip(text: &str) -> IpPrefix {
    text.parse::<ipnet::IpNet>().unwrap().into()
}

/// Attributes of the first peer's routes.
fn plain(write: impl FnOnce(&mut AttributeWriter<'_>)) -> Vec<u8> {
    let mut attributes = Vec::new();
    let mut writer = AttributeWriter::new(&mut attributes);
    writer.origin(Origin::Igp);
    writer.as_path(&codec::AsPath::default(), &[65002], true);
    writer.next_hop(Ipv4Addr::new(10, 0, 0, 6));
    write(&mut writer);
    attributes
}

/// An UPDATE.
fn announcement(prefix: &str, attributes: &[u8]) -> Vec<u8> {
    let IpPrefix::V4(prefix) = ip(prefix) else {
        panic!("IPv4 only");
    };
    let mut nlri = Vec::new();
    codec::encode_nlri(prefix, None, &mut nlri);
    let length = 23 + attributes.len() + nlri.len();
    let mut message = vec![0xff; 16];
    message.extend((length as u16).to_be_bytes());
    message.extend([2, 0, 0]);
    message.extend((attributes.len() as u16).to_be_bytes());
    message.extend(attributes);
    message.extend(nlri);
    message
}

pub(super) fn statement(
    name: &str,
    action: Action,
    change: impl FnOnce(&mut Statement),
) -> Statement {
    let mut statement = Statement {
        name: name.into(),
        matches: Match::default(),
        not: None,
        set: Set::default(),
        action,
    };
    change(&mut statement);
    statement
}

pub(super) fn policy(statements: Vec<Statement>) -> Arc<Policy> {
    Arc::new(Policy::new(RoutePolicy {
        name: "p".into(),
        statements,
        ..RoutePolicy::default()
    }))
}
