//! A node of the cluster: a plain speaker on the codec alone.
//!
//! It announces its prefixes and keeps, for each of its two reflectors, which route it was told for
//! each prefix. A route is read down to what may differ between right ones: whose it is and which
//! top it came by. Whatever else it says is *odd*, and kept in words.

use std::net::Ipv4Addr;

use codec::{
    AttributeSet, AttributeWriter, Capability, Message, NextHop, Open, Origin, Update,
    encode_keepalive, encode_nlri, encode_open, encode_update, encode_withdraw,
};

use super::network::LinkId;
use super::{ASN, Layout};

/// LOCAL_PREF of all routes.
const LOCAL_PREF: u32 = 100;

/// What a node holds for one prefix from one of its reflectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held(u32);

impl Held {
    /// No route.
    pub const NONE: Held = Held(u32::MAX);
    /// A route that no reflector here may make.
    pub const ODD: Held = Held(u32::MAX - 1);

    /// A route of that node: both next hop and ORIGINATOR_ID name it, and CLUSTER_LIST is the pod
    /// of whoever holds it, then, where that is another one, a top and the node's own pod.
    pub fn of(node: usize, top: Option<usize>) -> Held {
        Held((node << 2 | top.map_or(0, |top| top + 1)) as u32)
    }

    /// Which top it came by, the first (0) or the second.
    pub fn top(self) -> Option<usize> {
        (self.0 as usize & 3).checked_sub(1)
    }
}

/// A session with one of the two reflectors.
pub struct Session {
    /// The pipe; none: it is down.
    pub link: Option<LinkId>,
    /// By the number of the prefix.
    pub held: Box<[Held]>,
    is_up: bool,
}

/// A node.
pub struct Node {
    number: usize,
    /// With the first and the second reflector of its pod.
    pub sessions: [Session; 2],
    /// Which of its two prefixes it announces.
    pub announces: [bool; 2],
    /// What was odd last.
    pub odd: String,
}

impl Node {
    /// A node without sessions, which announces nothing yet.
    pub fn new(layout: &Layout, number: usize) -> Node {
        let session = || Session {
            link: None,
            held: vec![Held::NONE; layout.prefixes()].into(),
            is_up: false,
        };
        Node {
            number,
            sessions: [session(), session()],
            announces: [false; 2],
            odd: String::new(),
        }
    }

    /// The first octets of a session.
    pub fn open(&mut self, layout: &Layout, which: usize, link: LinkId) -> Vec<u8> {
        self.sessions[which].link = Some(link);
        let open = Open {
            version: 4,
            asn: ASN,
            hold_time: 90,
            identifier: layout.node_address(self.number),
            capabilities: vec![
                Capability::Multiprotocol { afi: 1, safi: 1 },
                Capability::FourOctetAs(ASN),
            ],
        };
        let mut octets = Vec::new();
        encode_open(&open, &mut octets);
        octets
    }

    /// A session ended.
    pub fn close(&mut self, which: usize) {
        let session = &mut self.sessions[which];
        session.link = None;
        session.is_up = false;
        session.held.fill(Held::NONE);
    }

    /// Takes a message other than UPDATE; what it answers goes to `out`.
    pub fn hear(&mut self, layout: &Layout, which: usize, message: &Message, out: &mut Vec<u8>) {
        let session = &mut self.sessions[which];
        match message {
            Message::Open(_) => encode_keepalive(out),
            // The reflector sends one now and then, and expects as many.
            Message::Keepalive if session.is_up => encode_keepalive(out),
            Message::Keepalive => {
                session.is_up = true;
                out.extend(self.say(layout, self.announces));
            }
            _ => {}
        }
    }

    /// What it says of those of its prefixes: what it announces, or that it does not.
    pub fn say(&self, layout: &Layout, of: [bool; 2]) -> Vec<u8> {
        let (mut said, mut gone, mut out) = (Vec::new(), Vec::new(), Vec::new());
        for kind in (0..2).filter(|kind| of[*kind]) {
            let prefix = layout.prefix(2 * self.number + kind);
            let nlri = if self.announces[kind] {
                &mut said
            } else {
                &mut gone
            };
            encode_nlri(prefix, None, nlri);
        }
        if !gone.is_empty() {
            encode_withdraw(codec::Family::Ipv4Unicast, &gone, &mut out);
        }
        if !said.is_empty() {
            let mut attributes = Vec::new();
            let mut writer = AttributeWriter::new(&mut attributes);
            writer.origin(Origin::Igp);
            writer.empty_as_path();
            writer.next_hop(layout.node_address(self.number));
            writer.local_pref(LOCAL_PREF);
            encode_update(&attributes, &said, &mut out);
        }
        out
    }

    /// Takes what a reflector tells.
    pub fn learn(&mut self, layout: &Layout, which: usize, update: &Update<'_>) {
        for (_, prefix) in update.withdrawn.iter_v4() {
            match layout.number(prefix) {
                Some(number) => self.sessions[which].held[number] = Held::NONE,
                None => self.odd = format!("{prefix}, which is nobody's, is withdrawn"),
            }
        }
        if update.announced.is_empty() {
            return;
        }
        let set = AttributeSet::new(update.attributes.block());
        let route = match read(layout, layout.pod_of(self.number), &set) {
            Some(route) if update.faults.is_empty() => route,
            _ => {
                self.odd = words(&set);
                Held::ODD
            }
        };
        for (_, prefix) in update.announced.iter_v4() {
            match layout.number(prefix) {
                Some(number) => self.sessions[which].held[number] = route,
                None => self.odd = format!("{prefix}, which is nobody's, is announced"),
            }
        }
    }
}

/// None: it is odd.
fn read(layout: &Layout, pod: usize, set: &AttributeSet<'_>) -> Option<Held> {
    let node = layout.node_at(set.originator_id()?)?;
    let plain = set.next_hop() == Some(NextHop::V4(layout.node_address(node)))
        && set.origin() == Some(Origin::Igp)
        && set.as_path().is_empty()
        && set.local_pref() == Some(LOCAL_PREF);
    let mut clusters = set.cluster_list();
    let mine = clusters.next() == Some(layout.clusters[pod]);
    let top = match (layout.pod_of(node) == pod, clusters.next()) {
        (true, None) => None,
        (false, Some(top)) => {
            let is = |reflector: &usize| layout.cluster_of(*reflector) == top;
            let top = layout.tops().iter().position(is)?;
            let theirs = Some(layout.clusters[layout.pod_of(node)]);
            if clusters.next() != theirs || clusters.next().is_some() {
                return None;
            }
            Some(top)
        }
        _ => return None,
    };
    (plain && mine).then_some(Held::of(node, top))
}

fn words(set: &AttributeSet<'_>) -> String {
    let clusters: Vec<Ipv4Addr> = set.cluster_list().collect();
    let (next_hop, originator) = (set.next_hop(), set.originator_id());
    format!("next hop {next_hop:?}, ORIGINATOR_ID {originator:?}, CLUSTER_LIST {clusters:?}")
}
