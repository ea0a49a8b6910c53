//! The plain reference: which of several routes is the best, what a neighbor in another AS is told
//! of it, and which routes the built-in filters refuse. Written from the RFCs over what
//! bgpkit-parser read; nothing of the codec, the table or the engine is used.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use bgpkit_parser::models::{
    AsPath, AsPathSegment, AttrFlags, Attribute, AttributeValue, Attributes, Community,
    NextHopAddress,
};
use ipnet::IpNet;

use super::dump::Speaker;

/// A route's attributes, by their codes, and its next hop, however the message carried it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    next_hop: Option<IpAddr>,
    /// The length bit is not part of the flags.
    attributes: BTreeMap<u8, (AttrFlags, AttributeValue)>,
}

/// Who we are.
pub(crate) struct Ours {
    pub(crate) asn: u32,
    pub(crate) next_hop: [IpAddr; 2],
}

/// The best route of a prefix.
pub(crate) struct Winner {
    /// Whose it is.
    pub(crate) speaker: usize,
    /// What others are told; `None` where a community forbids it.
    pub(crate) told: Option<Arc<Route>>,
}

/// Why a route is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Refusal {
    AsLoop,
    AsSet,
    FirstAs,
    Martian,
}

impl Refusal {
    /// How the daemon's words for it begin.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Refusal::AsLoop => "AS loop",
            Refusal::AsSet => "builtinFilters.asSet",
            Refusal::FirstAs => "builtinFilters.firstAS",
            Refusal::Martian => "builtinFilters.martians",
        }
    }
}

impl Route {
    pub(crate) fn new(attributes: &Attributes) -> Route {
        let mut route = Route {
            next_hop: None,
            attributes: BTreeMap::new(),
        };
        for Attribute { value, flag } in attributes.clone().into_attributes_iter() {
            match &value {
                AttributeValue::NextHop(address) => {
                    route.next_hop.get_or_insert(*address);
                }
                AttributeValue::MpReachNlri(nlri) => match nlri.next_hop {
                    Some(NextHopAddress::Ipv4(address)) => route.next_hop = Some(address.into()),
                    Some(
                        NextHopAddress::Ipv6(address) | NextHopAddress::Ipv6LinkLocal(address, _),
                    ) => route.next_hop = Some(address.into()),
                    _ => {}
                },
                AttributeValue::MpUnreachNlri(_) => {}
                _ => {
                    let flags = flag.difference(AttrFlags::EXTENDED);
                    // RFC 7606 §3 g: the first of several counts.
                    let entry = route.attributes.entry(value.attr_code());
                    entry.or_insert((flags, value));
                }
            }
        }
        route
    }

    fn value(&self, code: u8) -> Option<&AttributeValue> {
        self.attributes.get(&code).map(|(_, value)| value)
    }

    fn as_path(&self) -> AsPath {
        match self.value(AS_PATH) {
            Some(AttributeValue::AsPath(path)) => path.clone(),
            _ => AsPath::new(),
        }
    }

    /// RFC 7607 §2: such a route is treated as withdrawn.
    pub(crate) fn has_as_0(&self) -> bool {
        self.as_path().contains_asn(0.into())
    }

    /// The AS that it was learned from (RFC 4271 §5.1.2).
    fn first_as(&self) -> Option<u32> {
        match self.as_path().iter_segments().next() {
            Some(AsPathSegment::AsSequence(asns)) => asns.first().map(|asn| asn.to_u32()),
            _ => None,
        }
    }

    fn med(&self) -> u32 {
        match self.value(MED) {
            Some(AttributeValue::MultiExitDiscriminator(med)) => *med,
            _ => 0,
        }
    }

    fn origin(&self) -> u8 {
        match self.value(ORIGIN) {
            Some(AttributeValue::Origin(origin)) => *origin as u8,
            _ => panic!("a route without ORIGIN"),
        }
    }

    fn communities(&self) -> &[Community] {
        match self.value(COMMUNITIES) {
            Some(AttributeValue::Communities(communities)) => communities,
            _ => &[],
        }
    }

    /// RFC 8326 §4.1: what is about to go is preferred last. LOCAL_PREF from outside counts for
    /// nothing (RFC 7606 §7.5).
    fn preference(&self) -> u32 {
        let is_going = |community: &Community| matches!(community, Community::Custom(asn, 0) if asn.to_u32() == 65535);
        match self.communities().iter().any(is_going) {
            true => 0,
            false => 100,
        }
    }

    /// RFC 1997.
    fn stays_here(&self) -> bool {
        self.communities().iter().any(|community| {
            matches!(
                community,
                Community::NoExport | Community::NoAdvertise | Community::NoExportSubConfed
            )
        })
    }

    /// Why it is not used, if so. `filters`: the built-in ones are on.
    pub(crate) fn refusal(
        &self,
        prefix: IpNet,
        speaker: u32,
        ours: &Ours,
        filters: bool,
    ) -> Option<Refusal> {
        let path = self.as_path();
        if path.contains_asn(ours.asn.into()) {
            return Some(Refusal::AsLoop);
        }
        if !filters {
            return None;
        }
        if has_set(&path) {
            return Some(Refusal::AsSet);
        }
        if self.first_as() != Some(speaker) {
            return Some(Refusal::FirstAs);
        }
        is_martian(prefix).then_some(Refusal::Martian)
    }

    /// As a neighbor in another AS is told it.
    fn exported(&self, prefix: IpNet, ours: &Ours) -> Route {
        let mut told = Route {
            next_hop: Some(ours.next_hop[usize::from(matches!(prefix, IpNet::V6(_)))]),
            attributes: BTreeMap::new(),
        };
        for (code, (flags, value)) in &self.attributes {
            // RFC 4271 §5, §5.1.4, §5.1.5, RFC 4456 §8: what stays inside an AS or between two
            // neighbors, and what only sessions with two-octet AS numbers need.
            if !flags.contains(AttrFlags::TRANSITIVE)
                || [LOCAL_PREF, AS4_PATH, AS4_AGGREGATOR].contains(code)
            {
                continue;
            }
            let mut flags = *flags;
            let value = match value {
                AttributeValue::AsPath(path) => AttributeValue::AsPath(prepended(path, ours.asn)),
                // RFC 7607 §2: discarded.
                AttributeValue::Aggregator { asn, .. } if asn.to_u32() == 0 => continue,
                // RFC 8092 §5, and for the others by habit: each counts once.
                AttributeValue::Communities(list) => AttributeValue::Communities(once(list)),
                AttributeValue::LargeCommunities(list) => {
                    AttributeValue::LargeCommunities(once(list))
                }
                AttributeValue::ExtendedCommunities(list) => {
                    // RFC 4360 §6: non-transitive ones stay.
                    let mut list = once(list);
                    list.retain(|community| {
                        u8::from(community.community_type()) & NON_TRANSITIVE == 0
                    });
                    if list.is_empty() {
                        continue;
                    }
                    AttributeValue::ExtendedCommunities(list)
                }
                other => other.clone(),
            };
            // RFC 4271 §5: who does not know an attribute says so.
            if !KNOWN.contains(code) {
                flags |= AttrFlags::PARTIAL;
            }
            told.attributes.insert(*code, (flags, value));
        }
        told
    }
}

/// What each prefix's best route is and how others are told it.
pub(crate) fn winners(speakers: &[Speaker], ours: &Ours, filters: bool) -> HashMap<IpNet, Winner> {
    let mut candidates: HashMap<IpNet, Vec<(usize, &Arc<Route>)>> = HashMap::new();
    for (index, speaker) in speakers.iter().enumerate() {
        for (prefix, route) in &speaker.routes {
            if route.refusal(*prefix, speaker.asn, ours, filters).is_none() {
                candidates.entry(*prefix).or_default().push((index, route));
            }
        }
    }
    // Routes that share their attributes share what others are told.
    let mut told: HashMap<*const Route, Arc<Route>> = HashMap::new();
    let winner = |(prefix, mut candidates): (IpNet, Vec<(usize, &Arc<Route>)>)| {
        let (speaker, best) = best(&mut candidates);
        let mut tell = || {
            let exported = told.entry(Arc::as_ptr(best));
            Arc::clone(exported.or_insert_with(|| Arc::new(best.exported(prefix, ours))))
        };
        let told = (!best.stays_here()).then(&mut tell);
        (prefix, Winner { speaker, told })
    };
    candidates.into_iter().map(winner).collect()
}

/// RFC 4271 §9.1.2.2 word for word, each step taking routes out of the set. All speakers are in
/// other ASes; their identifiers are their addresses, which ascend with their places.
fn best<'r>(set: &mut Vec<(usize, &'r Arc<Route>)>) -> (usize, &'r Arc<Route>) {
    keep_lowest(set, |route| u32::MAX - route.preference());
    keep_lowest(set, |route| route.as_path().route_len() as u32);
    keep_lowest(set, |route| u32::from(route.origin()));
    let all = set.clone();
    set.retain(|(_, route)| {
        !all.iter()
            .any(|(_, other)| other.first_as() == route.first_as() && other.med() < route.med())
    });
    *set.iter()
        .min_by_key(|(speaker, _)| *speaker)
        .expect("MED leaves one")
}

fn keep_lowest(set: &mut Vec<(usize, &Arc<Route>)>, key: impl Fn(&Route) -> u32) {
    let lowest = set.iter().map(|(_, route)| key(route)).min();
    set.retain(|(_, route)| Some(key(route)) == lowest);
}

/// Whether an AS_PATH has an AS_SET or an AS_CONFED_SET (RFC 9774).
pub(crate) fn has_set(path: &AsPath) -> bool {
    path.iter_segments().any(|segment| {
        matches!(
            segment,
            AsPathSegment::AsSet(_) | AsPathSegment::ConfedSet(_)
        )
    })
}

/// RFC 4271 §5.1.2 b.
fn prepended(path: &AsPath, asn: u32) -> AsPath {
    let mut segments: Vec<AsPathSegment> = path.iter_segments().cloned().collect();
    match segments.first_mut() {
        Some(AsPathSegment::AsSequence(asns)) if asns.len() < 255 => asns.insert(0, asn.into()),
        _ => segments.insert(0, AsPathSegment::sequence([asn])),
    }
    AsPath::from_segments(segments)
}

fn once<T: Clone + PartialEq>(list: &[T]) -> Vec<T> {
    let mut kept: Vec<T> = Vec::new();
    for value in list {
        if !kept.contains(value) {
            kept.push(value.clone());
        }
    }
    kept
}

/// 0/8, 127/8, 224/4, 240/4, ::, ::1, fe80::/10, ff00::/8, and what lies in them.
fn is_martian(prefix: IpNet) -> bool {
    const BLOCKS: [&str; 8] = [
        "0.0.0.0/8",
        "127.0.0.0/8",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/128",
        "::1/128",
        "fe80::/10",
        "ff00::/8",
    ];
    BLOCKS.iter().any(|block| {
        let block: IpNet = block.parse().expect("a prefix");
        block.contains(&prefix)
    })
}

const ORIGIN: u8 = 1;
const AS_PATH: u8 = 2;
const MED: u8 = 4;
const LOCAL_PREF: u8 = 5;
const COMMUNITIES: u8 = 8;
const AS4_PATH: u8 = 17;
const AS4_AGGREGATOR: u8 = 18;
/// The attributes that README names: what is not among them is passed on as unknown.
const KNOWN: [u8; 11] = [ORIGIN, AS_PATH, 3, 6, 7, COMMUNITIES, 16, 25, 32, 35, 40];
/// Of the type of an extended community.
const NON_TRANSITIVE: u8 = 0x40;
