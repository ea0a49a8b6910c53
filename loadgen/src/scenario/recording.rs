//! Recorded dumps as scripts of simulated routers, and as what should be held in the end.
//!
//! A router says what its peer in the dump said, as its neighbor in another AS would pass it on: its
//! own AS number comes first in the path, its own next hop is the next hop, and what does not leave
//! an AS is left out. So are routes that some speakers refuse and others do not: with AS_SETs, with
//! the target's own AS, with well-known communities, of special blocks, or damaged; they are counted.

use std::path::Path;

use ahash::AHashMap;
use codec::{
    AttributeSet, AttributeWriter, Family, FamilySet, IpPrefix, Ipv4Prefix, Ipv6Prefix, Message,
    NextHop, Nlri, NlriField, PeerKind, Prefix, RawAttribute, WireFormat, code,
};
use smallvec::SmallVec;

use super::{Common, Failure};
use crate::mrt::{Dump, DumpPeer, Record};
use crate::output::remark;
use crate::script::{Pieces, Script};
use crate::space::is_given_out;
use crate::truth::{Party, Truth};
use crate::workload::Announcer;

/// What the peers of some dumps said.
pub(super) struct Recording {
    family: Family,
    dut_asn: u32,
    parties: Vec<Party>,
    common: Common,
    peers: AHashMap<DumpPeer, usize>,
    senders: Vec<Sender>,
    prefixes: AHashMap<IpPrefix, u32>,
    sets: Vec<SetOctets>,
    records: u64,
    routes: u64,
    withdrawals: u64,
    left_out: u64,
}

/// One peer of the dumps.
struct Sender {
    announcer: Announcer,
    script: Script,
    said: Pieces,
    /// By recorded octets, the number of a set; `None`: not to be announced.
    sets: AHashMap<Box<[u8]>, Option<u32>>,
    /// What it announces in the end: prefix to set.
    table: AHashMap<u32, u32>,
    /// Routes of a table dump that are not said yet, by set, in the order in which sets turned up.
    pending: Vec<(u32, Vec<IpPrefix>)>,
    pending_places: AHashMap<u32, usize>,
}

/// An attribute set of one sender.
struct SetOctets {
    sender: usize,
    /// As in an UPDATE: NEXT_HOP for IPv4 only.
    wire: Box<[u8]>,
    canonical: Box<[u8]>,
}

impl Recording {
    /// Nothing recorded yet.
    pub(super) fn new(common: &Common) -> Recording {
        Recording {
            family: common.family(),
            dut_asn: common.dut_asn,
            parties: Vec::new(),
            common: common.clone(),
            peers: AHashMap::new(),
            senders: Vec::new(),
            prefixes: AHashMap::new(),
            sets: Vec::new(),
            records: 0,
            routes: 0,
            withdrawals: 0,
            left_out: 0,
        }
    }

    /// Takes a dump.
    ///
    /// # Errors
    /// If it cannot be opened, or is damaged and `lenient` does not say to use what comes before.
    pub(super) fn read(&mut self, file: &Path, lenient: bool) -> Result<(), Failure> {
        let name = file.display();
        let mut dump =
            Dump::open(file).map_err(|error| Failure::Usage(format!("{name}: {error}")))?;
        loop {
            match dump.next() {
                Ok(Some(record)) => self.take(record),
                Ok(None) => break,
                Err(corrupt) if lenient => {
                    let records = dump.records();
                    remark!("{name}: {corrupt}; the {records} records before it are used");
                    break;
                }
                Err(corrupt) => {
                    return Err(Failure::Usage(format!(
                        "{name}: {corrupt} (--lenient uses the records before it)"
                    )));
                }
            }
        }
        self.records += dump.records();
        Ok(())
    }

    /// All dumps are read.
    pub(super) fn finish(&mut self) {
        for sender in &mut self.senders {
            sender.say_pending(&self.sets);
            sender.script.end_of_rib();
            let family = self.family;
            let script = std::mem::replace(&mut sender.script, Script::new(family));
            sender.said = script.finish();
        }
    }

    /// One line about what was read.
    pub(super) fn summary(&self) -> String {
        format!(
            "{} records: {} routers announce {} routes and withdraw {}; {} routes are left out",
            self.records,
            self.senders.len(),
            self.routes,
            self.withdrawals,
            self.left_out
        )
    }

    /// How many routers say something.
    pub(super) fn senders(&self) -> usize {
        self.senders.len()
    }

    /// Whether anything is announced at all.
    pub(super) fn is_silent(&self) -> bool {
        self.routes == 0
    }

    /// What a router says.
    pub(super) fn script(&self, sender: usize) -> &Pieces {
        &self.senders[sender].said
    }

    /// The prefixes that somebody announces in the end, in ascending order.
    pub(super) fn expected(&self) -> Vec<IpPrefix> {
        let mut announced = vec![false; self.prefixes.len()];
        for prefix in self.senders.iter().flat_map(|sender| sender.table.keys()) {
            announced[*prefix as usize] = true;
        }
        let all = self.prefixes.iter();
        let announced = all.filter(|(_, number)| announced[**number as usize]);
        let mut expected: Vec<IpPrefix> = announced.map(|(prefix, _)| *prefix).collect();
        expected.sort_unstable();
        expected
    }

    /// Which routes there are in the end.
    pub(super) fn truth(&self, mut truth: Truth, expected: &[IpPrefix]) -> Truth {
        for set in &self.sets {
            truth.add_set(set.sender, set.canonical.to_vec());
        }
        let mut routes: Vec<SmallVec<[u32; 2]>> = vec![SmallVec::new(); self.prefixes.len()];
        for (prefix, set) in self.senders.iter().flat_map(|sender| &sender.table) {
            routes[*prefix as usize].push(*set);
        }
        for (place, prefix) in (0..).zip(expected) {
            if let Some(number) = self.prefixes.get(prefix) {
                truth.add_routes(place..place + 1, &routes[*number as usize]);
            }
        }
        truth
    }

    fn take(&mut self, record: Record<'_>) {
        match record {
            Record::Table(prefix, routes) if prefix.family() == self.family => {
                for route in routes {
                    self.take_route(route.peer, prefix, route.attributes);
                }
            }
            Record::Message(peer, format, message) => {
                match codec::parse_message(message) {
                    Ok(Message::Update(body)) => self.take_update(peer, &format, body),
                    Ok(_) => {}
                    // What it said is not known: one at least.
                    Err(_) => self.left_out += 1,
                }
            }
            Record::Down(peer) => self.take_down(peer),
            Record::Table(..) | Record::Other => {}
        }
    }

    fn take_route(&mut self, peer: DumpPeer, prefix: IpPrefix, attributes: &[u8]) {
        let Some(sender) = self.sender(peer) else {
            return;
        };
        let set = self
            .set(sender, attributes)
            .filter(|_| is_given_out(prefix));
        let number = self.number(prefix);
        let sender = &mut self.senders[sender];
        match set {
            // With path identifiers, a peer may have several routes: the first stands for them.
            Some(set) if !sender.table.contains_key(&number) => {
                sender.table.insert(number, set);
                let places = &mut sender.pending_places;
                let place = *places.entry(set).or_insert(sender.pending.len());
                if place == sender.pending.len() {
                    sender.pending.push((set, Vec::new()));
                }
                sender.pending[place].1.push(prefix);
                self.routes += 1;
            }
            _ => self.left_out += 1,
        }
    }

    fn take_update(&mut self, peer: DumpPeer, format: &WireFormat, body: &[u8]) {
        let Ok(update) = codec::parse_update(body, format) else {
            self.left_out += 1;
            return;
        };
        let announces = |nlri: Nlri<'_>| !nlri.is_empty() && nlri.family() == self.family;
        let reach = update.mp_announced.map(|mp| mp.nlri);
        if !self.peers.contains_key(&peer)
            && !announces(update.announced)
            && !reach.is_some_and(announces)
        {
            return;
        }
        let Some(sender) = self.sender(peer) else {
            return;
        };
        let (announced, mp_announced) = (update.announced, update.mp_announced.map(|mp| mp.nlri));
        let mut withdrawn = vec![
            Some(update.withdrawn),
            update.mp_withdrawn.map(|mp| mp.nlri),
        ];
        if update.treat_as_withdraw() {
            withdrawn.extend([Some(announced), mp_announced]);
        }
        for nlri in withdrawn.into_iter().flatten() {
            self.withdraw(sender, nlri);
        }
        if update.treat_as_withdraw() {
            return;
        }
        let fields = [
            (NlriField::Plain, Some(announced)),
            (NlriField::MpReach, mp_announced),
        ];
        for (field, nlri) in fields {
            if let Some(nlri) = nlri.filter(|n| !n.is_empty() && n.family() == self.family) {
                let mut canonical = Vec::new();
                update.canonical(field, &mut canonical);
                match self.set(sender, &canonical) {
                    Some(set) => self.announce(sender, set, nlri),
                    // What it replaces is gone all the same.
                    None => {
                        self.left_out += nlri.iter().count() as u64;
                        self.withdraw(sender, nlri);
                    }
                }
            }
        }
    }

    fn announce(&mut self, sender: usize, set: u32, nlri: Nlri<'_>) {
        let prefixes: Vec<IpPrefix> = nlri.iter().map(|(_, prefix)| prefix).collect();
        let (usable, rest): (Vec<_>, Vec<_>) = prefixes.into_iter().partition(|p| is_given_out(*p));
        self.left_out += rest.len() as u64;
        self.routes += usable.len() as u64;
        for prefix in &usable {
            let number = self.number(*prefix);
            self.senders[sender].table.insert(number, set);
        }
        let sender = &mut self.senders[sender];
        sender.say_pending(&self.sets);
        sender.announce(&self.sets, set, &usable);
    }

    /// Withdraws what the router has announced of these.
    fn withdraw(&mut self, sender: usize, nlri: Nlri<'_>) {
        if nlri.family() != self.family {
            return;
        }
        let mut held = Vec::new();
        for (_, prefix) in nlri.iter() {
            let number = self.prefixes.get(&prefix);
            let table = &mut self.senders[sender].table;
            if number.is_some_and(|number| table.remove(number).is_some()) {
                held.push(prefix);
            }
        }
        self.withdrawals += held.len() as u64;
        let sender = &mut self.senders[sender];
        sender.say_pending(&self.sets);
        sender.script.withdraw(held);
    }

    fn take_down(&mut self, peer: DumpPeer) {
        let Some(sender) = self.peers.get(&peer).copied() else {
            return;
        };
        let sender = &mut self.senders[sender];
        sender.say_pending(&self.sets);
        let table = std::mem::take(&mut sender.table);
        let held = self.prefixes.iter();
        let held = held.filter(|(_, number)| table.contains_key(number));
        let mut held: Vec<IpPrefix> = held.map(|(prefix, _)| *prefix).collect();
        held.sort_unstable();
        self.withdrawals += held.len() as u64;
        sender.script.withdraw(held);
    }

    /// The router that speaks for a peer; none if there are too many.
    fn sender(&mut self, peer: DumpPeer) -> Option<usize> {
        if let Some(sender) = self.peers.get(&peer) {
            return Some(*sender);
        }
        let router = self.senders.len();
        if self.parties.len() <= router {
            self.parties = self.common.parties((router + 1).next_power_of_two());
        }
        let announcer = self.common.announcer(router, self.parties.get(router)?);
        self.senders.push(Sender {
            announcer,
            script: Script::new(self.family),
            said: Pieces::default(),
            sets: AHashMap::new(),
            table: AHashMap::new(),
            pending: Vec::new(),
            pending_places: AHashMap::new(),
        });
        self.peers.insert(peer, router);
        Some(router)
    }

    fn number(&mut self, prefix: IpPrefix) -> u32 {
        let next = self.prefixes.len() as u32;
        *self.prefixes.entry(prefix).or_insert(next)
    }

    /// The set that a router announces for recorded attributes, if it announces them at all.
    fn set(&mut self, sender: usize, attributes: &[u8]) -> Option<u32> {
        if let Some(number) = self.senders[sender].sets.get(attributes) {
            return *number;
        }
        let announcer = self.senders[sender].announcer;
        let set = adopt(self.family, attributes, &announcer, self.dut_asn);
        let number = set.map(|adopted| {
            self.sets.push(SetOctets {
                sender,
                wire: adopted.wire.into(),
                canonical: adopted.canonical.into(),
            });
            (self.sets.len() - 1) as u32
        });
        let sets = &mut self.senders[sender].sets;
        sets.insert(attributes.into(), number);
        number
    }
}

impl Sender {
    fn say_pending(&mut self, sets: &[SetOctets]) {
        self.pending_places.clear();
        for (set, prefixes) in std::mem::take(&mut self.pending) {
            self.announce(sets, set, &prefixes);
        }
    }

    fn announce(&mut self, sets: &[SetOctets], set: u32, prefixes: &[IpPrefix]) {
        let wire = &sets[set as usize].wire;
        let next_hop = &self.announcer.next_hop;
        self.script
            .announce(wire, next_hop, prefixes.iter().copied());
    }
}

/// Recorded attributes as a router passes them on.
struct Adopted {
    wire: Vec<u8>,
    canonical: Vec<u8>,
}

/// Makes recorded attributes a router's own. `None` if speakers
/// differ in whether they take them, or pass them on.
fn adopt(family: Family, recorded: &[u8], announcer: &Announcer, dut_asn: u32) -> Option<Adopted> {
    let recorded = AttributeSet::new(recorded);
    let path = recorded.as_path();
    let is_odd = |asn| asn == 0 || asn == dut_asn || asn == codec::AS_TRANS;
    let is_well_known = |community: u32| community >= WELL_KNOWN_COMMUNITIES;
    if path.has_set()
        || path.has_confed()
        || path.asns().any(is_odd)
        || recorded.communities().any(is_well_known)
    {
        return None;
    }
    let kept = recorded.iter().map(|attribute| attribute.code);
    let mut codes: SmallVec<[u8; 16]> = kept.filter(|code| leaves_an_as(*code)).collect();
    codes.extend(matches!(announcer.next_hop, NextHop::V4(_)).then_some(code::NEXT_HOP));
    codes.extend(announcer.internal.then_some(code::LOCAL_PREF));
    codes.sort_unstable();
    codes.dedup();

    let mut wire = Vec::new();
    let mut writer = AttributeWriter::new(&mut wire);
    for code in codes {
        match (code, announcer.next_hop) {
            (code::AS_PATH, _) if !announcer.internal => {
                writer.as_path(&path, &[announcer.asn], true);
            }
            (code::NEXT_HOP, NextHop::V4(address)) => writer.next_hop(address),
            (code::LOCAL_PREF, _) => writer.local_pref(100),
            _ => {
                let RawAttribute { flags, value, .. } = recorded.get(code)?;
                writer.raw(flags, code, value);
            }
        }
    }
    let canonical = canonical(family, &wire, announcer)?;
    Some(Adopted { wire, canonical })
}

/// Whether an attribute of a recorded route is announced: not what names the next hop or belongs
/// inside an AS, nor what stands for wider attributes toward two-octet speakers.
fn leaves_an_as(code: u8) -> bool {
    !matches!(
        code,
        code::NEXT_HOP
            | code::LOCAL_PREF
            | code::ORIGINATOR_ID
            | code::CLUSTER_LIST
            | code::MP_REACH_NLRI
            | code::MP_UNREACH_NLRI
            | code::AS4_PATH
            | code::AS4_AGGREGATOR
            | code::AIGP
    )
}

/// The canonical form of attributes, if an UPDATE with them has no fault.
fn canonical(family: Family, wire: &[u8], announcer: &Announcer) -> Option<Vec<u8>> {
    let (any, field) = match family {
        Family::Ipv4Unicast => (
            Ipv4Prefix::masked([1, 0, 0, 0].into(), 8).erase(),
            NlriField::Plain,
        ),
        Family::Ipv6Unicast => (
            Ipv6Prefix::from_left_aligned(1 << 125, 3).erase(),
            NlriField::MpReach,
        ),
    };
    let mut script = Script::new(family);
    script.announce(wire, &announcer.next_hop, [any]);
    let said = script.finish();
    let format = WireFormat {
        families: FamilySet::from_iter([family]),
        peer: if announcer.internal {
            PeerKind::Internal
        } else {
            PeerKind::External
        },
        ..WireFormat::default()
    };
    let body = said.first()?.get(codec::HEADER_LEN..)?;
    let update = codec::parse_update(body, &format).ok()?;
    let mut canonical = Vec::new();
    update.canonical(field, &mut canonical);
    update.faults.is_empty().then_some(canonical)
}

/// From here on communities mean the same everywhere (RFC 1997 and after), such as that a route
/// must not leave the neighbor's AS.
const WELL_KNOWN_COMMUNITIES: u32 = 0xffff_0000;
