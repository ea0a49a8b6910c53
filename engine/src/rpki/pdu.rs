//! PDUs of RTR: octets to meaning and back (RFC 8210 §5; version 0 is RFC 6810).
//!
//! Nothing is allocated by what a cache says. Whether a PDU fits its moment is `cache`'s to judge.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use codec::{Ipv4Prefix, Ipv6Prefix, Prefix};

use super::error::{ErrorCode, Fault};
use super::table::Vrp;

/// The octets of every PDU's header.
pub(super) const HEADER: usize = 8;

/// The longest PDU that is taken: Router Keys and Error Reports have no length of their own.
const LENGTH_MAX: usize = 1 << 16;

/// Octets of a PDU that an Error Report quotes, and of its text.
const QUOTED_MAX: usize = 512;

/// The versions that this speaker knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    /// RFC 6810: no timers, no router keys.
    Zero,
    /// RFC 8210.
    One,
}

impl Version {
    pub(super) fn bits(self) -> u8 {
        self as u8
    }
}

/// The timers of a cache (RFC 8210 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Intervals {
    pub(super) refresh: Duration,
    pub(super) retry: Duration,
    pub(super) expire: Duration,
}

/// What every PDU begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) version: u8,
    pub(super) kind: u8,
    /// Session id, error code, flags or nothing.
    pub(super) field: u16,
    /// Of the whole PDU.
    pub(super) length: usize,
}

impl Header {
    /// None: it is not all there.
    ///
    /// # Errors
    /// No PDU has this length.
    pub(super) fn read(octets: &[u8]) -> Result<Option<Header>, Fault> {
        let [version, kind, high, low, a, b, c, d, ..] = *octets else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([a, b, c, d]);
        match usize::try_from(length) {
            Ok(length) if (HEADER..=LENGTH_MAX).contains(&length) => Ok(Some(Header {
                version,
                kind,
                field: u16::from_be_bytes([high, low]),
                length,
            })),
            _ => Err(Fault::corrupt(format!(
                "a PDU of type {kind} says that it has {length} octets"
            ))),
        }
    }
}

// RFC-DONE 8210 §5: every PDU that a router is sent, and the queries and reports that it sends.
/// What a cache may say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pdu {
    SerialNotify {
        session: u16,
        serial: u32,
    },
    CacheResponse {
        session: u16,
    },
    Ipv4 {
        announced: bool,
        vrp: Vrp<Ipv4Prefix>,
    },
    Ipv6 {
        announced: bool,
        vrp: Vrp<Ipv6Prefix>,
    },
    EndOfData {
        session: u16,
        serial: u32,
        /// Version 0 has none.
        intervals: Option<Intervals>,
    },
    CacheReset,
    /// Not used: BGPsec is not spoken.
    RouterKey,
    ErrorReport {
        code: ErrorCode,
        text: String,
    },
}

/// Reads a whole PDU of a version that is known.
///
/// # Errors
/// It is not as its type and version want it, or none that a router is sent.
pub(super) fn parse(header: Header, version: Version, pdu: &[u8]) -> Result<Pdu, Fault> {
    let body = pdu.get(HEADER..).unwrap_or_default();
    match (header.kind, version) {
        (0, _) => Ok(Pdu::SerialNotify {
            session: header.field,
            serial: exactly::<4>(header, body).map(u32::from_be_bytes)?,
        }),
        (1 | 2, _) => Err(Fault::new(
            ErrorCode::InvalidRequest,
            "the cache sent a query, which is for routers to send",
        )),
        (3, _) => {
            exactly::<0>(header, body)?;
            Ok(Pdu::CacheResponse {
                session: header.field,
            })
        }
        (4, _) => ipv4(exactly(header, body)?),
        (6, _) => ipv6(exactly(header, body)?),
        (7, _) => end_of_data(header, version, body),
        (8, _) => exactly::<0>(header, body).map(|_| Pdu::CacheReset),
        // A key has a Subject Key Identifier, an AS number and something of its own.
        (9, Version::One) if body.len() > 24 => Ok(Pdu::RouterKey),
        (9, Version::One) => Err(wrong_length(header)),
        (10, _) => error_report(header, body),
        (kind, _) => Err(Fault::new(
            ErrorCode::UnsupportedType,
            format!("version {} has no PDU of type {kind}", header.version),
        )),
    }
}

fn exactly<const N: usize>(header: Header, body: &[u8]) -> Result<[u8; N], Fault> {
    body.try_into().map_err(|_| wrong_length(header))
}

fn wrong_length(header: Header) -> Fault {
    Fault::corrupt(format!(
        "a PDU of type {} cannot have {} octets",
        header.kind, header.length
    ))
}

fn ipv4(body: [u8; 12]) -> Result<Pdu, Fault> {
    let [flags, length, max_length, _, a, b, c, d, asn @ ..] = body;
    let address = Ipv4Addr::new(a, b, c, d);
    let prefix = Ipv4Prefix::new(address, length);
    Ok(Pdu::Ipv4 {
        announced: flags & 1 != 0,
        vrp: vrp(
            prefix,
            (length, max_length),
            u32::from_be_bytes(asn),
            &address,
        )?,
    })
}

fn ipv6(body: [u8; 24]) -> Result<Pdu, Fault> {
    let [flags, length, max_length, _, rest @ ..] = body;
    let (address, asn) = rest.split_at(16);
    let address = address
        .try_into()
        .map_or(Ipv6Addr::UNSPECIFIED, |octets: [u8; 16]| octets.into());
    let asn = asn.try_into().map_or(0, u32::from_be_bytes);
    let prefix = Ipv6Prefix::new(address, length);
    Ok(Pdu::Ipv6 {
        announced: flags & 1 != 0,
        vrp: vrp(prefix, (length, max_length), asn, &address)?,
    })
}

fn vrp<P: Prefix>(
    prefix: Option<P>,
    (length, max_length): (u8, u8),
    asn: u32,
    address: &dyn std::fmt::Display,
) -> Result<Vrp<P>, Fault> {
    match prefix {
        Some(prefix) if (length..=P::MAX_LENGTH).contains(&max_length) => Ok(Vrp {
            prefix,
            max_length,
            asn,
        }),
        Some(prefix) => Err(Fault::corrupt(format!(
            "{prefix} has the maximum length {max_length}"
        ))),
        None => Err(Fault::corrupt(format!("{address}/{length} is no prefix"))),
    }
}

fn end_of_data(header: Header, version: Version, body: &[u8]) -> Result<Pdu, Fault> {
    let (serial, intervals) = match version {
        Version::Zero => (exactly::<4>(header, body)?, None),
        Version::One => {
            let body: [u8; 16] = exactly(header, body)?;
            let [s0, s1, s2, s3, timers @ ..] = body;
            let mut seconds = timers.chunks_exact(4).map(|octets| {
                let seconds = octets.try_into().map_or(0, u32::from_be_bytes);
                Duration::from_secs(u64::from(seconds))
            });
            let mut next = || seconds.next().unwrap_or_default();
            let intervals = Intervals {
                refresh: next(),
                retry: next(),
                expire: next(),
            };
            ([s0, s1, s2, s3], Some(intervals))
        }
    };
    Ok(Pdu::EndOfData {
        session: header.field,
        serial: u32::from_be_bytes(serial),
        intervals,
    })
}

fn error_report(header: Header, body: &[u8]) -> Result<Pdu, Fault> {
    let text = sized(body).and_then(|(_, rest)| sized(rest));
    match text {
        Some((text, [])) => Ok(Pdu::ErrorReport {
            code: ErrorCode::from_bits(header.field),
            text: words(text),
        }),
        _ => Err(wrong_length(header)),
    }
}

/// What a length stands before, and the rest.
fn sized(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = octets.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

/// Text of a cache, fit for a log.
fn words(octets: &[u8]) -> String {
    let text = String::from_utf8_lossy(&octets[..octets.len().min(QUOTED_MAX)]);
    text.chars().filter(|c| !c.is_control()).collect()
}

/// Writes a Serial Query.
pub(super) fn serial_query(version: Version, session: u16, serial: u32, out: &mut Vec<u8>) {
    begin(version, 1, session, HEADER + 4, out);
    out.extend(serial.to_be_bytes());
}

/// Writes a Reset Query.
pub(super) fn reset_query(version: Version, out: &mut Vec<u8>) {
    begin(version, 2, 0, HEADER, out);
}

/// Writes an Error Report about a PDU, of which the beginning is quoted.
pub(super) fn report(version: Version, fault: &Fault, pdu: &[u8], out: &mut Vec<u8>) {
    let pdu = &pdu[..pdu.len().min(QUOTED_MAX)];
    let text = fault.words.as_bytes();
    let text = &text[..fault.words.floor_char_boundary(QUOTED_MAX)];
    let length = HEADER + 8 + pdu.len() + text.len();
    begin(version, 10, fault.code.bits(), length, out);
    for part in [pdu, text] {
        out.extend((part.len() as u32).to_be_bytes());
        out.extend(part);
    }
}

fn begin(version: Version, kind: u8, field: u16, length: usize, out: &mut Vec<u8>) {
    out.extend([version.bits(), kind]);
    out.extend(field.to_be_bytes());
    out.extend((length as u32).to_be_bytes());
}
