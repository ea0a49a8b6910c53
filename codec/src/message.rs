//! Framing: where a message starts and ends in a stream, and which kind it is.
//!
//! Read first: RFC 4271 §4.1 and §6.1, RFC 2918, RFC 7313, RFC 8654. The header is judged as soon
//! as it is there: a wrong marker octet, length or type is a fault before the rest has come.

use crate::header::{
    HEADER_LEN, MARKER_LEN, MAX_EXTENDED_LEN, MAX_LEN, MessageType, begin_message, end_message,
};
use crate::notification::{self, Notification, message_header};
use crate::open::Open;
use crate::prefix::FamilySet;
use crate::wire::Reader;

/// Whether the peer is in our AS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PeerKind {
    /// In another AS.
    #[default]
    External,
    /// In ours.
    Internal,
}

/// What OPEN negotiated that changes how an UPDATE's bytes read and write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WireFormat {
    /// AS numbers in AS_PATH and AGGREGATOR take four octets (RFC 6793).
    pub four_octet_as: bool,
    /// Families in which the peer's NLRI carry a path identifier (RFC 7911).
    pub add_path_receive: FamilySet,
    /// Families in which our NLRI carry a path identifier.
    pub add_path_send: FamilySet,
    /// UPDATE, NOTIFICATION and ROUTE-REFRESH may take 65535 octets (RFC 8654).
    pub extended_messages: bool,
    /// IPv4 NLRI may have an IPv6 next hop (RFC 8950).
    pub extended_next_hop: bool,
    /// Families that both sides speak; others are ignored on receipt.
    pub families: FamilySet,
    /// Decides what LOCAL_PREF, ORIGINATOR_ID and CLUSTER_LIST are worth (RFC 7606 §7).
    pub peer: PeerKind,
}

/// Plain IPv4 from an external peer with four-octet AS numbers.
impl Default for WireFormat {
    fn default() -> WireFormat {
        WireFormat {
            four_octet_as: true,
            add_path_receive: FamilySet::NONE,
            add_path_send: FamilySet::NONE,
            extended_messages: false,
            extended_next_hop: false,
            families: FamilySet::from_iter([crate::Family::Ipv4Unicast]),
            peer: PeerKind::External,
        }
    }
}

impl WireFormat {
    /// The longest message that may come or go, in octets.
    pub fn max_len(&self) -> usize {
        if self.extended_messages {
            MAX_EXTENDED_LEN
        } else {
            MAX_LEN
        }
    }
}

/// A message, read as far as it can be read without what OPEN negotiated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// OPEN.
    Open(Open),
    /// The body of an UPDATE, for [`parse_update`](crate::parse_update).
    Update(&'a [u8]),
    /// NOTIFICATION.
    Notification(Notification),
    /// KEEPALIVE.
    Keepalive,
    /// ROUTE-REFRESH.
    RouteRefresh(RouteRefresh),
}

/// A ROUTE-REFRESH message (RFC 2918, RFC 7313).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouteRefresh {
    /// Address family identifier.
    pub afi: u16,
    /// Subsequent address family identifier.
    pub safi: u8,
    /// One of the constants of this type; unknown ones are to be ignored (RFC 7313 §5).
    pub subtype: u8,
}

impl RouteRefresh {
    /// A request for the routes of a family.
    pub const REQUEST: u8 = 0;
    /// Beginning of Route Refresh.
    pub const BEGIN: u8 = 1;
    /// End of Route Refresh.
    pub const END: u8 = 2;
}

/// Finds the first message in a stream of octets.
///
/// `Ok(None)`: more octets are needed. `Ok(Some(length))`: a whole message of `length` octets
/// starts `bytes`. `max_len` is [`WireFormat::max_len`], or [`MAX_LEN`] before OPEN.
///
/// # Errors
/// The NOTIFICATION for a header that cannot be right (RFC 4271 §6.1), as early as it shows.
pub fn frame(bytes: &[u8], max_len: usize) -> Result<Option<usize>, Notification> {
    let Some(header) = bytes.first_chunk::<HEADER_LEN>() else {
        // A stranger that speaks another protocol is told at its first octet, not at its 19th.
        let synchronized = bytes.iter().take(MARKER_LEN).all(|octet| *octet == 0xff);
        return if synchronized {
            Ok(None)
        } else {
            Err(not_synchronized())
        };
    };
    // RFC-DONE 4271 §6.1: A header is judged as soon as it is there: marker, length, type.
    let (length, _) = check_header(header, max_len)?;
    Ok((bytes.len() >= length).then_some(length))
}

/// Reads one whole message, header included, as [`frame`] found it.
///
/// # Errors
/// The NOTIFICATION that answers it (RFC 4271 §6.1, §6.2; RFC 7313 §5).
pub fn parse_message(message: &[u8]) -> Result<Message<'_>, Notification> {
    let Some((header, body)) = message.split_first_chunk::<HEADER_LEN>() else {
        return Err(bad_length(message.len()));
    };
    let (length, message_type) = check_header(header, MAX_EXTENDED_LEN)?;
    if length != message.len() {
        return Err(bad_length(length));
    }
    match message_type {
        MessageType::Open => Open::parse(body).map(Message::Open),
        MessageType::Update => Ok(Message::Update(body)),
        MessageType::Notification => Notification::parse(body)
            .map(Message::Notification)
            .ok_or_else(|| bad_length(length)),
        MessageType::Keepalive => Ok(Message::Keepalive),
        MessageType::RouteRefresh => parse_route_refresh(message, body).map(Message::RouteRefresh),
    }
}

/// Appends a KEEPALIVE message.
pub fn encode_keepalive(out: &mut Vec<u8>) {
    let start = begin_message(MessageType::Keepalive, out);
    end_message(start, out);
}

/// Appends a ROUTE-REFRESH message.
pub fn encode_route_refresh(refresh: &RouteRefresh, out: &mut Vec<u8>) {
    let start = begin_message(MessageType::RouteRefresh, out);
    out.extend_from_slice(&refresh.afi.to_be_bytes());
    out.extend_from_slice(&[refresh.subtype, refresh.safi]);
    end_message(start, out);
}

fn parse_route_refresh(message: &[u8], body: &[u8]) -> Result<RouteRefresh, Notification> {
    let invalid = || {
        Notification::new(
            notification::ROUTE_REFRESH,
            notification::route_refresh::INVALID_LENGTH,
        )
        .with_data(message)
    };
    let mut reader = Reader::new(body);
    let fields = (|| Some((reader.u16()?, reader.u8()?, reader.u8()?)))();
    let (afi, subtype, safi) = fields.ok_or_else(invalid)?;
    // RFC 7313 §5. With subtype 0, what follows is an outbound route filter (RFC 5291) that we
    // never negotiated: the request stands without it.
    if matches!(subtype, RouteRefresh::BEGIN | RouteRefresh::END) && !reader.is_empty() {
        return Err(invalid());
    }
    Ok(RouteRefresh { afi, safi, subtype })
}

/// The length and type of a header, both within what RFC 4271 §6.1 and RFC 8654 §4 allow.
fn check_header(
    header: &[u8; HEADER_LEN],
    max_len: usize,
) -> Result<(usize, MessageType), Notification> {
    let [marker @ .., high, low, type_octet] = header;
    if *marker != [0xff; MARKER_LEN] {
        return Err(not_synchronized());
    }
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    let (message_type, range) = match type_octet {
        1 => (MessageType::Open, 29..=MAX_LEN),
        2 => (MessageType::Update, 23..=max_len),
        3 => (MessageType::Notification, 21..=max_len),
        4 => (MessageType::Keepalive, HEADER_LEN..=HEADER_LEN),
        5 => (MessageType::RouteRefresh, 23..=max_len),
        _ if !(HEADER_LEN..=max_len).contains(&length) => return Err(bad_length(length)),
        other => {
            return Err(
                Notification::new(notification::MESSAGE_HEADER, message_header::BAD_TYPE)
                    .with_data(&[*other]),
            );
        }
    };
    if !range.contains(&length) {
        return Err(bad_length(length));
    }
    Ok((length, message_type))
}

fn not_synchronized() -> Notification {
    Notification::new(
        notification::MESSAGE_HEADER,
        message_header::NOT_SYNCHRONIZED,
    )
}

fn bad_length(length: usize) -> Notification {
    let length = u16::try_from(length).unwrap_or(u16::MAX);
    Notification::new(notification::MESSAGE_HEADER, message_header::BAD_LENGTH)
        .with_data(&length.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(length: u16, message_type: u8) -> Vec<u8> {
        let mut bytes = vec![0xff; 16];
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.push(message_type);
        bytes
    }

    #[test]
    fn frames_in_a_chopped_stream() {
        let mut stream = Vec::new();
        encode_keepalive(&mut stream);
        let refresh = RouteRefresh {
            afi: 2,
            safi: 1,
            subtype: RouteRefresh::REQUEST,
        };
        encode_route_refresh(&refresh, &mut stream);
        for end in 0..19 {
            assert_eq!(frame(&stream[..end], MAX_LEN), Ok(None));
        }
        assert_eq!(frame(&stream[..19], MAX_LEN), Ok(Some(19)));
        assert_eq!(parse_message(&stream[..19]), Ok(Message::Keepalive));
        assert_eq!(frame(&stream[19..], MAX_LEN), Ok(Some(23)));
        assert_eq!(
            parse_message(&stream[19..]),
            Ok(Message::RouteRefresh(refresh))
        );
    }

    // RFC-SHOWN 4271 §6.1
    #[test]
    fn header_faults() {
        let fault = |bytes: &[u8], max| {
            let fault = frame(bytes, max).unwrap_err();
            (fault.code, fault.subcode, fault.data.to_vec())
        };
        assert_eq!(fault(b"GET / HTTP/1.1", MAX_LEN), (1, 1, vec![]));
        assert_eq!(fault(&header(18, 4), MAX_LEN), (1, 2, vec![0, 18]));
        assert_eq!(fault(&header(20, 4), MAX_LEN), (1, 2, vec![0, 20]));
        assert_eq!(fault(&header(28, 1), MAX_LEN), (1, 2, vec![0, 28]));
        assert_eq!(fault(&header(4097, 2), MAX_LEN), (1, 2, vec![16, 1]));
        assert_eq!(
            fault(&header(4097, 1), MAX_EXTENDED_LEN),
            (1, 2, vec![16, 1])
        );
        assert_eq!(fault(&header(19, 6), MAX_LEN), (1, 3, vec![6]));
        assert_eq!(frame(&header(4097, 2), MAX_EXTENDED_LEN), Ok(None));
    }

    #[test]
    fn refresh_markers_have_one_length() {
        let mut message = header(24, 5);
        message.extend_from_slice(&[0, 1, RouteRefresh::BEGIN, 1, 0]);
        let fault = parse_message(&message).unwrap_err();
        assert_eq!((fault.code, fault.subcode), (7, 1));
        assert_eq!(fault.data, message);
        message[21] = RouteRefresh::REQUEST;
        assert!(parse_message(&message).is_ok());
    }
}
