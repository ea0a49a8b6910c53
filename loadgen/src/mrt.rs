//! Reading MRT dumps, compressed or not.
//!
//! Read first: RFC 6396 (TABLE_DUMP_V2, BGP4MP and BGP4MP_ET), RFC 8050 (ADD-PATH). What is here
//! trusts nothing: a record whose lengths do not add up is told with its number and offset.
//! Attributes and messages come out as octets; what they mean is for `codec`.

use std::fmt::{self, Display};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use bzip2::bufread::MultiBzDecoder;
use codec::{Family, FamilySet, IpPrefix, Nlri, PeerKind, WireFormat};
use flate2::bufread::MultiGzDecoder;

/// A dump, read record by record.
pub(crate) struct Dump {
    input: Box<dyn Read>,
    /// Of the record that is read next, from 1.
    number: u64,
    /// Where it begins, in octets of the uncompressed dump.
    offset: u64,
    body: Vec<u8>,
    /// The latest PEER_INDEX_TABLE.
    peers: Vec<DumpPeer>,
}

/// Why a dump cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Corrupt {
    /// The record, from 1.
    pub(crate) number: u64,
    /// Where it begins, in octets of the uncompressed dump.
    pub(crate) offset: u64,
    pub(crate) words: String,
}

/// A router whose routes a dump holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct DumpPeer {
    pub(crate) address: IpAddr,
    pub(crate) asn: u32,
}

/// What a record holds.
#[derive(Debug)]
pub(crate) enum Record<'d> {
    /// A prefix of a table, with the routes of some peers.
    Table(IpPrefix, Vec<TableRoute<'d>>),
    /// A BGP message that a peer sent, header included, and how to read it.
    Message(DumpPeer, WireFormat, &'d [u8]),
    /// A peer's session is no longer established.
    Down(DumpPeer),
    /// A table of peers, or a record of a kind that holds no routes of unicast.
    Other,
}

/// A route of a table dump.
#[derive(Debug)]
pub(crate) struct TableRoute<'d> {
    pub(crate) peer: DumpPeer,
    /// Attributes with four-octet AS numbers; MP_REACH_NLRI may be short (RFC 6396 §4.3.4).
    pub(crate) attributes: &'d [u8],
}

impl Dump {
    /// Opens a dump; what it is compressed with shows in its first octets.
    pub(crate) fn open(path: &Path) -> io::Result<Dump> {
        let mut file = BufReader::with_capacity(BUFFER_OCTETS, File::open(path)?);
        let begin = file.fill_buf()?;
        let input: Box<dyn Read> = if begin.starts_with(&[0x1f, 0x8b]) {
            let decoder = MultiGzDecoder::new(file);
            Box::new(BufReader::with_capacity(BUFFER_OCTETS, decoder))
        } else if begin.starts_with(b"BZh") {
            let decoder = MultiBzDecoder::new(file);
            Box::new(BufReader::with_capacity(BUFFER_OCTETS, decoder))
        } else {
            Box::new(file)
        };
        Ok(Dump::new(input))
    }

    fn new(input: Box<dyn Read>) -> Dump {
        Dump {
            input,
            number: 1,
            offset: 0,
            body: Vec::new(),
            peers: Vec::new(),
        }
    }

    /// Records read so far.
    pub(crate) fn records(&self) -> u64 {
        self.number - 1
    }

    /// The next record; `None` at the end.
    ///
    /// # Errors
    /// If the dump is cut short or makes no sense; nothing can be read behind that.
    pub(crate) fn next(&mut self) -> Result<Option<Record<'_>>, Corrupt> {
        let (number, offset) = (self.number, self.offset);
        let corrupt = |words: String| Corrupt {
            number,
            offset,
            words,
        };
        let mut header = [0; HEADER_OCTETS];
        match read_full(&mut self.input, &mut header) {
            Ok(0) => return Ok(None),
            Ok(HEADER_OCTETS) => {}
            Ok(_) => return Err(corrupt("the dump ends inside a header".into())),
            Err(error) => return Err(corrupt(error.to_string())),
        }
        let [_, _, _, _, k0, k1, s0, s1, length @ ..] = header;
        let (kind, subtype) = (u16::from_be_bytes([k0, k1]), u16::from_be_bytes([s0, s1]));
        let length = u32::from_be_bytes(length) as usize;
        if length > RECORD_OCTETS_MAX {
            return Err(corrupt(format!("a record of {length} octets")));
        }
        self.body.resize(length, 0);
        match read_full(&mut self.input, &mut self.body) {
            Ok(octets) if octets == length => {}
            Ok(octets) => {
                return Err(corrupt(format!(
                    "the dump ends after {octets} of its {length} octets"
                )));
            }
            Err(error) => return Err(corrupt(error.to_string())),
        }
        let record = read_record(kind, subtype, Octets(&self.body), &mut self.peers);
        let record = record.ok_or_else(|| corrupt("its lengths do not add up".into()))?;
        self.number += 1;
        self.offset += (HEADER_OCTETS + length) as u64;
        Ok(Some(record))
    }
}

/// "record 12 at octet 3456: the dump ends inside a header"
impl Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "record {} at octet {}: {}",
            self.number, self.offset, self.words
        )
    }
}

fn read_record<'d>(
    kind: u16,
    subtype: u16,
    mut body: Octets<'d>,
    peers: &mut Vec<DumpPeer>,
) -> Option<Record<'d>> {
    const TABLE_DUMP_V2: u16 = 13;
    const BGP4MP: u16 = 16;
    const BGP4MP_ET: u16 = 17;
    match (kind, subtype) {
        (TABLE_DUMP_V2, 1) => {
            *peers = peer_table(body)?;
            Some(Record::Other)
        }
        (TABLE_DUMP_V2, 2 | 8) => table(body, Family::Ipv4Unicast, subtype == 8, peers),
        (TABLE_DUMP_V2, 4 | 10) => table(body, Family::Ipv6Unicast, subtype == 10, peers),
        (BGP4MP, _) => message(body, subtype),
        (BGP4MP_ET, _) => {
            body.take(4)?; // microseconds
            message(body, subtype)
        }
        _ => Some(Record::Other),
    }
}

/// RFC 6396 §4.3.1.
fn peer_table(mut body: Octets<'_>) -> Option<Vec<DumpPeer>> {
    body.take(4)?; // the collector's identifier
    let name = body.u16()?;
    body.take(usize::from(name))?;
    let count = body.u16()?;
    let peer = |_| {
        let kind = body.u8()?;
        body.take(4)?; // the peer's identifier
        let address = body.address(kind & 1 != 0)?;
        let asn = body.asn(kind & 2 != 0)?;
        Some(DumpPeer { address, asn })
    };
    (0..count).map(peer).collect()
}

/// RFC 6396 §4.3.2, RFC 8050 §4.
fn table<'d>(
    mut body: Octets<'d>,
    family: Family,
    add_path: bool,
    peers: &[DumpPeer],
) -> Option<Record<'d>> {
    body.take(4)?; // sequence number
    let length = body.0.first().copied()?;
    let prefix = body.take(1 + usize::from(length).div_ceil(8))?;
    let (_, prefix) = Nlri::new(prefix, family, false)?.iter().next()?;
    let count = body.u16()?;
    let route = |_| {
        let peer = *peers.get(usize::from(body.u16()?))?;
        body.take(4)?; // when it was received
        if add_path {
            body.take(4)?;
        }
        let length = body.u16()?;
        let attributes = body.take(usize::from(length))?;
        Some(TableRoute { peer, attributes })
    };
    let routes: Option<Vec<_>> = (0..count).map(route).collect();
    Some(Record::Table(prefix, routes?))
}

/// RFC 6396 §4.4. What the collector itself sent is none of its peers' routes, and messages with
/// path identifiers hold several routes for a prefix, which a session without them cannot say.
fn message(mut body: Octets<'_>, subtype: u16) -> Option<Record<'_>> {
    let (wide, is_state) = match subtype {
        0 => (false, true),
        1 => (false, false),
        4 => (true, false),
        5 => (true, true),
        _ => return Some(Record::Other),
    };
    let (asn, local) = (body.asn(wide)?, body.asn(wide)?);
    body.take(2)?; // interface
    let is_ipv6 = match body.u16()? {
        1 => false,
        2 => true,
        _ => return None,
    };
    let address = body.address(is_ipv6)?;
    body.address(is_ipv6)?;
    let peer = DumpPeer { address, asn };
    if is_state {
        const ESTABLISHED: u16 = 6;
        let (_, new) = (body.u16()?, body.u16()?);
        return Some(match new {
            ESTABLISHED => Record::Other,
            _ => Record::Down(peer),
        });
    }
    let format = WireFormat {
        four_octet_as: wide,
        extended_messages: true,
        extended_next_hop: true,
        families: FamilySet::ALL,
        peer: if asn == local {
            PeerKind::Internal
        } else {
            PeerKind::External
        },
        ..WireFormat::default()
    };
    is_framed(body.0).then_some(Record::Message(peer, format, body.0))
}

/// Whether this is one BGP message whose lengths fit: a header, and in an UPDATE two more.
fn is_framed(octets: &[u8]) -> bool {
    const UPDATE: u8 = 2;
    let fits = || {
        let mut message = Octets(octets);
        message.take(16)?; // marker
        let (length, kind) = (message.u16()?, message.u8()?);
        if kind == UPDATE {
            for _ in ["withdrawn routes", "attributes"] {
                let length = message.u16()?;
                message.take(usize::from(length))?;
            }
        }
        Some(usize::from(length) == octets.len() && (1..=5).contains(&kind))
    };
    fits() == Some(true)
}

/// What is left of a record.
struct Octets<'d>(&'d [u8]);

impl<'d> Octets<'d> {
    fn take(&mut self, octets: usize) -> Option<&'d [u8]> {
        let (head, rest) = self.0.split_at_checked(octets)?;
        self.0 = rest;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn asn(&mut self, wide: bool) -> Option<u32> {
        if wide {
            self.array().map(u32::from_be_bytes)
        } else {
            self.u16().map(u32::from)
        }
    }

    fn address(&mut self, is_ipv6: bool) -> Option<IpAddr> {
        if is_ipv6 {
            let octets = self.array::<16>()?;
            Some(Ipv6Addr::from(octets).into())
        } else {
            let octets = self.array::<4>()?;
            Some(Ipv4Addr::from(octets).into())
        }
    }
}

/// Reads until the buffer is full or the input ends; how much there was.
fn read_full(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(octets) => filled += octets,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Timestamp, type, subtype and length.
const HEADER_OCTETS: usize = 12;
/// No record is longer: a prefix with 65535 routes of small attributes.
const RECORD_OCTETS_MAX: usize = 16 * 1024 * 1024;
const BUFFER_OCTETS: usize = 256 * 1024;

#[cfg(test)]
pub(crate) mod tests {
    use std::io::{Cursor, Write};

    use super::*;

    /// One record with its header.
    pub(crate) fn record(kind: u16, subtype: u16, body: &[u8]) -> Vec<u8> {
        let mut octets = vec![0; 4];
        octets.extend_from_slice(&kind.to_be_bytes());
        octets.extend_from_slice(&subtype.to_be_bytes());
        octets.extend_from_slice(&(body.len() as u32).to_be_bytes());
        octets.extend_from_slice(body);
        octets
    }

    /// A table of two peers: 10.0.0.1 in AS 7 and 2001:db8::1 in AS 70000.
    pub(crate) fn peers() -> Vec<u8> {
        let mut body = vec![0, 0, 0, 0, 0, 1, b'x', 0, 2];
        body.extend_from_slice(&[0, 0, 0, 0, 0, 10, 0, 0, 1, 0, 7]);
        body.extend_from_slice(&[3, 0, 0, 0, 0]);
        body.extend_from_slice(&"2001:db8::1".parse::<Ipv6Addr>().unwrap().octets());
        body.extend_from_slice(&70_000u32.to_be_bytes());
        record(13, 1, &body)
    }

    /// 20.0.0.0/8 from each of the two.
    pub(crate) fn table() -> Vec<u8> {
        let attributes = [
            0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0, 7, 0x40, 3, 4, 10, 0, 0, 1,
        ];
        let mut body = vec![0, 0, 0, 0, 8, 20, 0, 2];
        for peer in [0, 1] {
            body.extend_from_slice(&[0, peer, 0, 0, 0, 0, 0, attributes.len() as u8]);
            body.extend_from_slice(&attributes);
        }
        record(13, 2, &body)
    }

    /// A KEEPALIVE of AS 70000, in microseconds.
    fn keepalive() -> Vec<u8> {
        let mut body = vec![0; 4];
        body.extend_from_slice(&70_000u32.to_be_bytes());
        body.extend_from_slice(&[0, 0, 0, 9, 0, 0, 0, 1, 10, 0, 0, 1, 10, 0, 0, 2]);
        codec::encode_keepalive(&mut body);
        record(17, 4, &body)
    }

    fn dump(octets: &[u8]) -> Dump {
        Dump::new(Box::new(Cursor::new(octets.to_vec())))
    }

    #[test]
    fn tables_and_messages_are_read() {
        let mut dump = dump(&[peers(), table(), keepalive()].concat());
        assert!(matches!(dump.next(), Ok(Some(Record::Other))));
        match dump.next() {
            Ok(Some(Record::Table(prefix, routes))) => {
                assert_eq!(prefix.to_string(), "20.0.0.0/8");
                let asns: Vec<u32> = routes.iter().map(|route| route.peer.asn).collect();
                assert_eq!(asns, [7, 70_000]);
                assert_eq!(routes[0].attributes.len(), 20);
            }
            other => panic!("{other:?}"),
        }
        match dump.next() {
            Ok(Some(Record::Message(peer, format, message))) => {
                assert_eq!(peer.asn, 70_000);
                assert_eq!(peer.address, Ipv4Addr::new(10, 0, 0, 1));
                assert!(format.four_octet_as);
                assert_eq!(message.len(), codec::HEADER_LEN);
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(dump.next(), Ok(None)));
        assert_eq!(dump.records(), 3);
    }

    #[test]
    fn compressed_dumps_show_it_themselves() {
        let plain = [peers(), table()].concat();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain).unwrap();
        let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bzip2.write_all(&plain).unwrap();
        let (gzip, bzip2) = (gzip.finish().unwrap(), bzip2.finish().unwrap());
        for octets in [plain, gzip, bzip2] {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(&octets).unwrap();
            let mut dump = Dump::open(file.path()).unwrap();
            while dump.next().unwrap().is_some() {}
            assert_eq!(dump.records(), 2);
        }
    }

    #[test]
    fn a_dump_that_is_cut_says_where() {
        let whole = [peers(), table(), keepalive()].concat();
        let (first, second) = (peers().len(), peers().len() + table().len());
        for end in 0..whole.len() {
            let mut dump = dump(&whole[..end]);
            let corrupt = loop {
                match dump.next() {
                    Ok(Some(_)) => {}
                    Ok(None) => break None,
                    Err(corrupt) => break Some((corrupt.number, corrupt.offset as usize)),
                }
            };
            let expected = match end {
                0 => None,
                _ if end == first || end == second => None,
                _ if end < first => Some((1, 0)),
                _ if end < second => Some((2, first)),
                _ => Some((3, second)),
            };
            assert_eq!(corrupt, expected, "cut at {end}");
        }
    }

    #[test]
    fn lengths_that_lie_are_found() {
        let good = peers();
        for at in 0..good.len() - 12 {
            let mut octets = good.clone();
            octets[12 + at] = 0xff;
            let mut dump = dump(&octets);
            let _ = dump.next();
        }
        // A route of a peer that is not in the table.
        let words = dump(&table()).next().unwrap_err().to_string();
        assert_eq!(words, "record 1 at octet 0: its lengths do not add up");
        let huge = [&[0, 0, 0, 0, 0, 13, 0, 1][..], &[0xff; 4]].concat();
        let words = dump(&huge).next().unwrap_err().to_string();
        assert!(words.contains("a record of 4294967295 octets"), "{words}");
    }
}
