//! What the routers of an MRT dump said, twice: as octets to say again, and as bgpkit-parser, whose
//! authors never saw this project, reads them.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use bgpkit_parser::models::{
    Bgp4MpEnum, BgpMessage, BgpUpdateMessage, MrtMessage, NetworkPrefix, RibAfiEntries,
    TableDumpV2Message, TableDumpV2Type,
};
use bgpkit_parser::{BgpkitParser, RawMrtRecord};
use bytes::Bytes;
use codec::Ipv4Prefix;
use ipnet::IpNet;

use super::reference::{Route, has_set};

/// A router whose routes a dump holds.
pub(crate) struct Speaker {
    /// Where it was when the dump was made.
    address: IpAddr,
    pub(crate) asn: u32,
    /// The UPDATEs that say what it said.
    pub(crate) says: Vec<u8>,
    /// What it holds after that.
    pub(crate) routes: HashMap<IpNet, Arc<Route>>,
}

/// How much of a dump is used. What there is little of is used always.
#[derive(Clone, Copy)]
pub(crate) struct Share {
    /// Of tables every so many-th prefix.
    pub(crate) every: usize,
    /// Of recorded messages the first ones, in order.
    pub(crate) messages: usize,
}

impl Share {
    pub(crate) const WHOLE: Share = Share {
        every: 1,
        messages: usize::MAX,
    };
}

/// Reads a dump of IPv4 tables (TABLE_DUMP_V2), or of messages (BGP4MP with four-octet AS numbers).
pub(crate) fn read(path: &Path, share: Share) -> Vec<Speaker> {
    let file = BufReader::new(File::open(path).expect("the dump is opened"));
    let input: Box<dyn Read> = match path.extension().and_then(|e| e.to_str()) {
        Some("gz") => Box::new(flate2::read::MultiGzDecoder::new(file)),
        _ => Box::new(bzip2::read::MultiBzDecoder::new(file)),
    };
    let mut dump = Dump::default();
    let (mut prefixes, mut messages) = (0, 0);
    for raw in BgpkitParser::from_reader(input).into_raw_record_iter() {
        let octets = raw.message_bytes.clone();
        match parse(raw) {
            MrtMessage::TableDumpV2Message(TableDumpV2Message::PeerIndexTable(table)) => {
                // In the order of their indices.
                dump.speakers = (0..table.id_peer_map.len() as u16)
                    .map(|index| &table.id_peer_map[&index])
                    .map(|peer| Speaker::new(peer.peer_ip, peer.peer_asn.to_u32()))
                    .collect();
            }
            MrtMessage::TableDumpV2Message(TableDumpV2Message::RibAfi(entries)) => {
                assert_eq!(entries.rib_type, TableDumpV2Type::RibIpv4Unicast);
                prefixes += 1;
                if prefixes % share.every == 0 || dump.is_rare(&entries) {
                    dump.take_table(&entries, &octets);
                }
            }
            MrtMessage::Bgp4Mp(Bgp4MpEnum::Message(message)) => {
                let BgpMessage::Update(update) = &message.bgp_message else {
                    continue;
                };
                messages += 1;
                if messages > share.messages {
                    break;
                }
                let speaker = dump.speaker(message.peer_ip, message.peer_asn.to_u32());
                speaker.take_update(update, bgp_message(&octets));
            }
            _ => {}
        }
    }
    dump.say_tables();
    dump.speakers.retain(|speaker| !speaker.says.is_empty());
    dump.speakers
}

fn parse(raw: RawMrtRecord) -> MrtMessage {
    raw.parse().expect("the dump is whole").message
}

#[derive(Default)]
struct Dump {
    speakers: Vec<Speaker>,
    /// Of a table: by speaker and attributes, the NLRI.
    said: Vec<HashMap<Bytes, Vec<u8>>>,
    /// Equal attributes are read once.
    read: HashMap<Bytes, Arc<Route>>,
}

impl Dump {
    fn speaker(&mut self, address: IpAddr, asn: u32) -> &mut Speaker {
        let known = self
            .speakers
            .iter()
            .position(|speaker| (speaker.address, speaker.asn) == (address, asn));
        let place = known.unwrap_or_else(|| {
            self.speakers.push(Speaker::new(address, asn));
            self.speakers.len() - 1
        });
        &mut self.speakers[place]
    }

    /// Whether there is an AS_SET, or a router of which there is little yet.
    fn is_rare(&self, entries: &RibAfiEntries) -> bool {
        entries.rib_entries.iter().any(|entry| {
            let path = entry.attributes.as_path();
            let speaker = &self.speakers[usize::from(entry.peer_index)];
            path.is_some_and(has_set) || speaker.routes.len() < LITTLE
        })
    }

    /// RFC 6396 §4.3.2: the octets beside what was read of them.
    fn take_table(&mut self, entries: &RibAfiEntries, octets: &Bytes) {
        self.said.resize_with(self.speakers.len(), HashMap::new);
        let mut at = 4 + 1 + usize::from(octets[4]).div_ceil(8) + 2;
        let prefix = entries.prefix.prefix.trunc();
        for entry in &entries.rib_entries {
            let length = usize::from(u16::from_be_bytes([octets[at + 6], octets[at + 7]]));
            let attributes = octets.slice(at + 8..at + 8 + length);
            at += 8 + length;
            let route = self.read.entry(attributes.clone());
            let route = route.or_insert_with(|| Arc::new(Route::new(&entry.attributes)));
            let speaker = usize::from(entry.peer_index);
            self.speakers[speaker]
                .routes
                .insert(prefix, Arc::clone(route));
            let nlri = self.said[speaker].entry(attributes).or_default();
            let IpNet::V4(prefix) = prefix else {
                panic!("{prefix} in a table of IPv4");
            };
            codec::encode_nlri(
                Ipv4Prefix::masked(prefix.addr(), prefix.prefix_len()),
                None,
                nlri,
            );
        }
    }

    /// Attributes as they stand in the dump, each set with all its prefixes.
    fn say_tables(&mut self) {
        for (speaker, said) in self.speakers.iter_mut().zip(&self.said) {
            for (attributes, nlri) in said {
                let room = codec::update_room(codec::MAX_LEN, attributes.len());
                for nlri in whole_prefixes(nlri, room) {
                    codec::encode_update(attributes, nlri, &mut speaker.says);
                }
            }
        }
    }
}

impl Speaker {
    fn new(address: IpAddr, asn: u32) -> Speaker {
        Speaker {
            address,
            asn,
            says: Vec::new(),
            routes: HashMap::new(),
        }
    }

    fn take_update(&mut self, update: &BgpUpdateMessage, octets: &[u8]) {
        let prefixes = update.announced_prefixes.iter();
        if prefixes.chain(&update.withdrawn_prefixes).any(is_guess) {
            return;
        }
        self.says.extend_from_slice(octets);
        apply(update, |prefix, route| match route {
            Some(route) if !route.has_as_0() => self.routes.insert(prefix, Arc::clone(route)),
            _ => self.routes.remove(&prefix),
        });
    }
}

/// Calls `change` for each prefix that an UPDATE announces, with the route, or withdraws.
pub(crate) fn apply<T>(
    update: &BgpUpdateMessage,
    mut change: impl FnMut(IpNet, Option<&Arc<Route>>) -> T,
) {
    let unreach = update.attributes.get_unreachable_nlri();
    let unreach = unreach.iter().flat_map(|nlri| &nlri.prefixes);
    for withdrawn in update.withdrawn_prefixes.iter().chain(unreach) {
        change(withdrawn.prefix.trunc(), None);
    }
    let route = Arc::new(Route::new(&update.attributes));
    let reach = update.attributes.get_reachable_nlri();
    let reach = reach.iter().flat_map(|nlri| &nlri.prefixes);
    for announced in update.announced_prefixes.iter().chain(reach) {
        change(announced.prefix.trunc(), Some(&route));
    }
}

/// bgpkit-parser takes a default route for the beginning of a path identifier, and guesses on.
fn is_guess(prefix: &NetworkPrefix) -> bool {
    prefix.path_id.is_some()
}

/// The message in a record of BGP4MP: all from its marker on.
fn bgp_message(record: &[u8]) -> &[u8] {
    let marker = [0xff; 16];
    let at = record.windows(marker.len()).position(|w| w == marker);
    &record[at.expect("a BGP message has a marker")..]
}

/// NLRI in pieces of at most `room` octets.
fn whole_prefixes(mut nlri: &[u8], room: usize) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while !nlri.is_empty() {
        let mut end = 0;
        while let Some(length) = nlri.get(end) {
            let next = end + 1 + usize::from(*length).div_ceil(8);
            if next > room {
                break;
            }
            end = next;
        }
        let (piece, rest) = nlri.split_at(end);
        pieces.push(piece);
        nlri = rest;
    }
    pieces
}

/// Routes of a router that are used in any case.
const LITTLE: usize = 20;
