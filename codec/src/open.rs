//! The OPEN message.
//!
//! Read first: RFC 4271 §4.2 and §6.2, RFC 5492, RFC 6286, RFC 6793, RFC 7607, RFC 9072. An
//! [`Open`] that was read has a usable version, AS number, identifier and hold time; whether they
//! suit this neighbor is the session's business.

use std::net::Ipv4Addr;

use crate::capability::{Capability, encode_capability};
use crate::header::{HEADER_LEN, MAX_LEN, MessageType, begin_message, end_message};
use crate::notification::{self, Notification, UNSPECIFIC, open};
use crate::wire::Reader;

/// The AS number that stands for those that do not fit in two octets (RFC 6793).
pub const AS_TRANS: u32 = 23456;

/// An OPEN message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Open {
    /// Always 4.
    pub version: u8,
    /// The speaker's AS number: that of capability 65 if it is there, else the two-octet field.
    pub asn: u32,
    /// The proposed hold time in seconds: 0, or at least 3.
    pub hold_time: u16,
    /// The BGP identifier, not 0.
    pub identifier: Ipv4Addr,
    /// In the order of the message; duplicates and unknown ones are kept.
    pub capabilities: Vec<Capability>,
}

impl Open {
    /// Reads the body of an OPEN.
    pub(crate) fn parse(body: &[u8]) -> Result<Open, Notification> {
        let mut reader = Reader::new(body);
        let fields = (|| Some((reader.u8()?, reader.u16()?, reader.u16()?, reader.u32()?)))();
        let Some((version, two_octet_asn, hold_time, identifier)) = fields else {
            return Err(fault(UNSPECIFIC));
        };
        // RFC-DONE 4271 §6.2: Version, AS, identifier, hold time and parameters are judged in this order.
        if version != 4 {
            return Err(fault(open::UNSUPPORTED_VERSION).with_data(&[0, 4]));
        }
        let capabilities = parse_parameters(reader)?;
        let asn = capabilities
            .iter()
            .find_map(|capability| match capability {
                Capability::FourOctetAs(asn) => Some(*asn),
                _ => None,
            })
            .unwrap_or(u32::from(two_octet_asn));
        // RFC-DONE 7607 §2: AS 0 in OPEN is refused with 2/2.
        // RFC-DONE 6793 §4.2.1: So is AS_TRANS as a speaker's own number.
        // RFC 7607 §2; RFC 6793 §4.2.1: AS_TRANS is nobody's own number.
        if two_octet_asn == 0 || asn == 0 || asn == AS_TRANS {
            return Err(fault(open::BAD_PEER_AS));
        }
        // RFC-DONE 6286 §2.1: A BGP identifier is any 32 bits but zero.
        // RFC 6286 §2.1: any identifier but zero.
        if identifier == 0 {
            return Err(fault(open::BAD_IDENTIFIER));
        }
        if matches!(hold_time, 1 | 2) {
            return Err(fault(open::UNACCEPTABLE_HOLD_TIME));
        }
        Ok(Open {
            version,
            asn,
            hold_time,
            identifier: Ipv4Addr::from(identifier),
            capabilities,
        })
    }
}

/// Appends an OPEN message, all capabilities in one parameter, in the long form of RFC 9072 when
/// the short one does not hold them.
///
/// A capability is left out when its value passes 255 octets or the message would pass 4096.
pub fn encode_open(message: &Open, out: &mut Vec<u8>) {
    let mut capabilities = Vec::new();
    for capability in &message.capabilities {
        let end = capabilities.len();
        encode_capability(capability, &mut capabilities);
        if capabilities.len() > MAX_CAPABILITIES {
            capabilities.truncate(end);
        }
    }

    let start = begin_message(MessageType::Open, out);
    let two_octet_asn = u16::try_from(message.asn).unwrap_or(AS_TRANS as u16);
    out.push(message.version);
    out.extend_from_slice(&two_octet_asn.to_be_bytes());
    out.extend_from_slice(&message.hold_time.to_be_bytes());
    out.extend_from_slice(&message.identifier.octets());
    match capabilities.len() {
        0 => out.push(0),
        length @ 1..=MAX_SHORT_CAPABILITIES => {
            out.extend_from_slice(&[length as u8 + 2, CAPABILITIES, length as u8]);
        }
        length => {
            // RFC-DONE 9072 §2: Parameters past 255 octets go out, and any come in, in the long form.
            // RFC 9072 §2: both lengths grow to two octets.
            out.extend_from_slice(&[255, EXTENDED]);
            out.extend_from_slice(&(length as u16 + 3).to_be_bytes());
            out.push(CAPABILITIES);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
    }
    out.extend_from_slice(&capabilities);
    end_message(start, out);
}

/// Reads the optional parameters, their length field included, to the end of the message.
fn parse_parameters(mut reader: Reader<'_>) -> Result<Vec<Capability>, Notification> {
    let malformed = || fault(UNSPECIFIC);
    let length = usize::from(reader.u8().ok_or_else(malformed)?);
    let mut extended = false;
    // RFC 9072 §2: once the first type is 255, the short length no longer counts.
    if length != 0 && reader.rest().first() == Some(&EXTENDED) {
        extended = true;
        reader.u8();
        let length = usize::from(reader.u16().ok_or_else(malformed)?);
        if length != reader.rest().len() {
            return Err(malformed());
        }
    } else if length != reader.rest().len() {
        return Err(malformed());
    }

    let mut capabilities = Vec::new();
    while let Some(parameter) = reader.u8() {
        // RFC-DONE 5492 §4: Capabilities may stand in any number of parameters, each several times.
        if parameter != CAPABILITIES {
            // 255 in a later place is unknown as well (RFC 9072 §2).
            return Err(fault(open::UNSUPPORTED_PARAMETER));
        }
        let value = if extended {
            reader.u16_prefixed()
        } else {
            reader.u8_prefixed()
        };
        Capability::parse_all(value.ok_or_else(malformed)?, &mut capabilities)
            .ok_or_else(malformed)?;
    }
    Ok(capabilities)
}

fn fault(subcode: u8) -> Notification {
    Notification::new(notification::OPEN, subcode)
}

/// The parameter type that carries capabilities (RFC 5492).
const CAPABILITIES: u8 = 2;
/// The first parameter type that announces the long form (RFC 9072).
const EXTENDED: u8 = 255;
/// What the short form holds beside the parameter's own two octets, with 255 left free.
const MAX_SHORT_CAPABILITIES: usize = 252;
/// What the long form holds in an OPEN, which stays at 4096 octets (RFC 8654 §4).
const MAX_CAPABILITIES: usize = MAX_LEN - HEADER_LEN - 10 - 6;

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{Message, parse_message};

    fn open(capabilities: Vec<Capability>) -> Open {
        Open {
            version: 4,
            asn: 4_200_000_001,
            hold_time: 90,
            identifier: Ipv4Addr::new(192, 0, 2, 1),
            capabilities,
        }
    }

    fn round_trip(message: &Open) -> (usize, Open) {
        let mut out = Vec::new();
        encode_open(message, &mut out);
        match parse_message(&out) {
            Ok(Message::Open(read)) => (out.len(), read),
            other => panic!("read back as {other:?}"),
        }
    }

    // RFC-SHOWN 9072 §2
    #[test]
    fn short_and_long_forms() {
        let mut message = open(vec![Capability::FourOctetAs(4_200_000_001)]);
        assert_eq!(round_trip(&message), (29 + 2 + 6, message.clone()));
        for octets in [240, 244, 245, 255] {
            message.capabilities.push(Capability::Unknown {
                code: 200,
                data: Bytes::from(vec![1; octets]),
            });
            assert_eq!(round_trip(&message).1, message);
        }
        assert!(round_trip(&message).0 > 29 + 255);
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        let unknown = |octets: usize| Capability::Unknown {
            code: 200,
            data: Bytes::from(vec![1; octets]),
        };
        let mut message = open(vec![unknown(256), Capability::FourOctetAs(4_200_000_001)]);
        assert_eq!(round_trip(&message).1.capabilities.len(), 1);
        message.capabilities.extend((0..20).map(|_| unknown(255)));
        let (octets, read) = round_trip(&message);
        assert!(octets <= MAX_LEN && read.capabilities.len() == 16);
    }

    // RFC-SHOWN 4271 §6.2
    // RFC-SHOWN 7607 §2
    // RFC-SHOWN 6286 §2.1
    #[test]
    fn faults() {
        let mut out = Vec::new();
        encode_open(
            &open(vec![Capability::FourOctetAs(4_200_000_001)]),
            &mut out,
        );
        let fault = |at: usize, octets: &[u8]| {
            let mut message = out.clone();
            message[at..at + octets.len()].copy_from_slice(octets);
            let fault = parse_message(&message).unwrap_err();
            (fault.code, fault.subcode, fault.data.to_vec())
        };
        assert_eq!(fault(19, &[3]), (2, 1, vec![0, 4]));
        assert_eq!(fault(20, &[0, 0]), (2, 2, vec![]));
        assert_eq!(fault(33, &[0, 0, 0, 0]), (2, 2, vec![]));
        assert_eq!(fault(22, &[0, 2]), (2, 6, vec![]));
        assert_eq!(fault(24, &[0, 0, 0, 0]), (2, 3, vec![]));
        assert_eq!(fault(29, &[99]), (2, 4, vec![]));
        assert_eq!(fault(28, &[7]), (2, 0, vec![]));
        assert_eq!(fault(30, &[5]), (2, 0, vec![]));
    }

    #[test]
    fn a_plain_speaker_has_no_capabilities() {
        let mut message = open(vec![]);
        message.asn = 65001;
        assert_eq!(round_trip(&message), (29, message));
    }
}
