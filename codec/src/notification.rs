//! The NOTIFICATION message: its codes, its words for people, its bytes.
//!
//! Read first: RFC 4271 §4.5 and §6, RFC 4486, RFC 6608, RFC 7313, RFC 8538, RFC 9003, RFC 9234,
//! RFC 9384, RFC 9687. Every fatal fault in this crate *is* a [`Notification`]: what the peer must
//! be told. Data in one is always a copy of octets that were really received, or a constant; a
//! length field of the peer never bounds it.

use std::borrow::Cow;
use std::fmt::{self, Display, Write as _};

use bytes::Bytes;

use crate::header::{MAX_LEN, MessageType, begin_message, end_message};

/// Code 1: Message Header Error.
pub const MESSAGE_HEADER: u8 = 1;
/// Code 2: OPEN Message Error.
pub const OPEN: u8 = 2;
/// Code 3: UPDATE Message Error.
pub const UPDATE: u8 = 3;
/// Code 4: Hold Timer Expired.
pub const HOLD_TIMER_EXPIRED: u8 = 4;
/// Code 5: Finite State Machine Error.
pub const FSM: u8 = 5;
/// Code 6: Cease.
pub const CEASE: u8 = 6;
/// Code 7: ROUTE-REFRESH Message Error.
pub const ROUTE_REFRESH: u8 = 7;
/// Code 8: Send Hold Timer Expired (RFC 9687).
pub const SEND_HOLD_TIMER_EXPIRED: u8 = 8;

/// The subcode of a code that has none, and "unspecific" of those that do.
pub const UNSPECIFIC: u8 = 0;

/// Subcodes of [`MESSAGE_HEADER`].
pub mod message_header {
    /// Connection Not Synchronized.
    pub const NOT_SYNCHRONIZED: u8 = 1;
    /// Bad Message Length; data: the length field.
    pub const BAD_LENGTH: u8 = 2;
    /// Bad Message Type; data: the type field.
    pub const BAD_TYPE: u8 = 3;
}

/// Subcodes of [`OPEN`].
pub mod open {
    /// Unsupported Version Number; data: the largest version spoken, two octets.
    pub const UNSUPPORTED_VERSION: u8 = 1;
    /// Bad Peer AS.
    pub const BAD_PEER_AS: u8 = 2;
    /// Bad BGP Identifier.
    pub const BAD_IDENTIFIER: u8 = 3;
    /// Unsupported Optional Parameter.
    pub const UNSUPPORTED_PARAMETER: u8 = 4;
    /// Unacceptable Hold Time.
    pub const UNACCEPTABLE_HOLD_TIME: u8 = 6;
    /// Unsupported Capability (RFC 5492 §5); data: the capabilities.
    pub const UNSUPPORTED_CAPABILITY: u8 = 7;
    /// Role Mismatch (RFC 9234 §4.2).
    pub const ROLE_MISMATCH: u8 = 11;
}

/// Subcodes of [`UPDATE`].
pub mod update {
    /// Malformed Attribute List.
    pub const MALFORMED_ATTRIBUTE_LIST: u8 = 1;
    /// Unrecognized Well-known Attribute; data: the attribute.
    pub const UNRECOGNIZED_WELL_KNOWN: u8 = 2;
    /// Missing Well-known Attribute; data: its code.
    pub const MISSING_WELL_KNOWN: u8 = 3;
    /// Attribute Flags Error; data: the attribute.
    pub const ATTRIBUTE_FLAGS: u8 = 4;
    /// Attribute Length Error; data: the attribute.
    pub const ATTRIBUTE_LENGTH: u8 = 5;
    /// Invalid ORIGIN Attribute; data: the attribute.
    pub const INVALID_ORIGIN: u8 = 6;
    /// Invalid NEXT_HOP Attribute; data: the attribute.
    pub const INVALID_NEXT_HOP: u8 = 8;
    /// Optional Attribute Error; data: the attribute.
    pub const OPTIONAL_ATTRIBUTE: u8 = 9;
    /// Invalid Network Field.
    pub const INVALID_NETWORK_FIELD: u8 = 10;
    /// Malformed AS_PATH.
    pub const MALFORMED_AS_PATH: u8 = 11;
}

/// Subcodes of [`FSM`] (RFC 6608): the state in which a message was not expected.
pub mod fsm {
    /// In OpenSent.
    pub const OPEN_SENT: u8 = 1;
    /// In OpenConfirm.
    pub const OPEN_CONFIRM: u8 = 2;
    /// In Established.
    pub const ESTABLISHED: u8 = 3;
}

/// Subcodes of [`CEASE`] (RFC 4486, RFC 8538, RFC 9384).
pub mod cease {
    /// Maximum Number of Prefixes Reached.
    pub const MAX_PREFIXES: u8 = 1;
    /// Administrative Shutdown; may carry a shutdown communication (RFC 9003).
    pub const ADMINISTRATIVE_SHUTDOWN: u8 = 2;
    /// Peer De-configured.
    pub const PEER_DECONFIGURED: u8 = 3;
    /// Administrative Reset; may carry a shutdown communication (RFC 9003).
    pub const ADMINISTRATIVE_RESET: u8 = 4;
    /// Connection Rejected.
    pub const CONNECTION_REJECTED: u8 = 5;
    /// Other Configuration Change.
    pub const OTHER_CONFIGURATION_CHANGE: u8 = 6;
    /// Connection Collision Resolution.
    pub const CONNECTION_COLLISION: u8 = 7;
    /// Out of Resources.
    pub const OUT_OF_RESOURCES: u8 = 8;
    /// Hard Reset (RFC 8538 §3.1); data: the code, subcode and data of the real reason.
    pub const HARD_RESET: u8 = 9;
    // RFC-DONE 9384 §3: BFD Down of a peer is shown by its name.
    // RFC-LEFT 9384 §3: No BFD is built, so BFD Down is never sent.
    /// BFD Down (RFC 9384).
    pub const BFD_DOWN: u8 = 10;
}

/// Subcodes of [`ROUTE_REFRESH`] (RFC 7313).
pub mod route_refresh {
    /// Invalid Message Length; data: the whole message.
    pub const INVALID_LENGTH: u8 = 1;
}

/// A NOTIFICATION message: why a session ends.
///
/// `Display` gives its words, safe for logs: `Cease/Administrative Shutdown: "maintenance"`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Notification {
    /// The error code.
    pub code: u8,
    /// The error subcode; 0 where the code has none.
    pub subcode: u8,
    /// What the code and subcode say it holds; often nothing.
    pub data: Bytes,
}

impl Notification {
    /// A notification without data.
    pub fn new(code: u8, subcode: u8) -> Notification {
        Notification {
            code,
            subcode,
            data: Bytes::new(),
        }
    }

    /// The same with a copy of `data`, cut to what a NOTIFICATION of 4096 octets can carry.
    pub fn with_data(mut self, data: &[u8]) -> Notification {
        self.data = Bytes::copy_from_slice(data.get(..MAX_DATA).unwrap_or(data));
        self
    }

    /// A Cease with one of the subcodes of [`cease`].
    pub fn cease(subcode: u8) -> Notification {
        Notification::new(CEASE, subcode)
    }

    /// The same with a shutdown communication (RFC 9003 §2), cut at a character to 255 octets.
    pub fn with_shutdown_communication(self, words: &str) -> Notification {
        // RFC-DONE 9003 §2: A shutdown communication is UTF-8 of at most 255 octets, shown escaped.
        let mut end = words.len().min(255);
        while !words.is_char_boundary(end) {
            end -= 1;
        }
        let words = words.get(..end).unwrap_or_default();
        let mut data = Vec::with_capacity(1 + words.len());
        data.push(u8::try_from(words.len()).unwrap_or(0));
        data.extend_from_slice(words.as_bytes());
        self.with_data(&data)
    }

    /// The shutdown communication of an Administrative Shutdown or Reset, if it carries a valid
    /// one. Octets that are not UTF-8 are replaced; the text is as hostile as its sender.
    pub fn shutdown_communication(&self) -> Option<Cow<'_, str>> {
        let speaks = matches!(
            self.subcode,
            cease::ADMINISTRATIVE_SHUTDOWN | cease::ADMINISTRATIVE_RESET
        );
        let (length, words) = self.data.split_first()?;
        // RFC 9003 §3: a length that runs past the data is logged as octets, not trusted.
        let words = words.get(..usize::from(*length))?;
        (self.code == CEASE && speaks && !words.is_empty()).then(|| String::from_utf8_lossy(words))
    }

    /// A Hard Reset that wraps this (RFC 8538 §3.1). Data past what a NOTIFICATION can carry is cut.
    pub fn in_hard_reset(&self) -> Notification {
        let mut data = vec![self.code, self.subcode];
        data.extend_from_slice(&self.data);
        Notification::cease(cease::HARD_RESET).with_data(&data)
    }

    /// What a Hard Reset wraps (RFC 8538 §3.1).
    pub fn hard_reset_reason(&self) -> Option<Notification> {
        if self.code != CEASE || self.subcode != cease::HARD_RESET || self.data.len() < 2 {
            return None;
        }
        Some(Notification {
            code: *self.data.first()?,
            subcode: *self.data.get(1)?,
            data: self.data.slice(2..),
        })
    }

    /// Reads the body of a NOTIFICATION, at least two octets long.
    pub(crate) fn parse(body: &[u8]) -> Option<Notification> {
        let (head, data) = body.split_first_chunk::<2>()?;
        Some(Notification {
            code: head[0],
            subcode: head[1],
            data: Bytes::copy_from_slice(data),
        })
    }
}

/// Appends a NOTIFICATION message; data past 4075 octets is left out.
pub fn encode_notification(notification: &Notification, out: &mut Vec<u8>) {
    let start = begin_message(MessageType::Notification, out);
    out.extend_from_slice(&[notification.code, notification.subcode]);
    let data = &notification.data;
    out.extend_from_slice(data.get(..MAX_DATA).unwrap_or(data));
    end_message(start, out);
}

impl std::error::Error for Notification {}

impl Display for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_nested(f, true)
    }
}

impl Notification {
    fn fmt_nested(&self, f: &mut fmt::Formatter<'_>, unwrap: bool) -> fmt::Result {
        match code_words(self.code) {
            Some(words) => f.write_str(words)?,
            None => write!(f, "Error code {}", self.code)?,
        }
        match subcode_words(self.code, self.subcode) {
            Some(words) => write!(f, "/{words}")?,
            None if self.subcode != UNSPECIFIC => write!(f, "/subcode {}", self.subcode)?,
            None => {}
        }
        if let Some(words) = self.shutdown_communication() {
            // RFC 9003 §6: the text may try to confuse whoever reads the log.
            return write!(f, ": \"{}\"", words.escape_debug());
        }
        if unwrap && let Some(reason) = self.hard_reset_reason() {
            f.write_str(" (")?;
            reason.fmt_nested(f, false)?;
            return f.write_char(')');
        }
        fmt_data(&self.data, f)
    }
}

fn fmt_data(data: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if data.is_empty() {
        return Ok(());
    }
    f.write_str(" (data ")?;
    for octet in data.iter().take(MAX_SHOWN_DATA) {
        write!(f, "{octet:02x}")?;
    }
    if data.len() > MAX_SHOWN_DATA {
        write!(f, "… {} octets", data.len())?;
    }
    f.write_char(')')
}

fn code_words(code: u8) -> Option<&'static str> {
    Some(match code {
        MESSAGE_HEADER => "Message Header Error",
        OPEN => "OPEN Message Error",
        UPDATE => "UPDATE Message Error",
        HOLD_TIMER_EXPIRED => "Hold Timer Expired",
        FSM => "Finite State Machine Error",
        CEASE => "Cease",
        ROUTE_REFRESH => "ROUTE-REFRESH Message Error",
        SEND_HOLD_TIMER_EXPIRED => "Send Hold Timer Expired",
        _ => return None,
    })
}

fn subcode_words(code: u8, subcode: u8) -> Option<&'static str> {
    Some(match (code, subcode) {
        (MESSAGE_HEADER, message_header::NOT_SYNCHRONIZED) => "Connection Not Synchronized",
        (MESSAGE_HEADER, message_header::BAD_LENGTH) => "Bad Message Length",
        (MESSAGE_HEADER, message_header::BAD_TYPE) => "Bad Message Type",
        (OPEN, open::UNSUPPORTED_VERSION) => "Unsupported Version Number",
        (OPEN, open::BAD_PEER_AS) => "Bad Peer AS",
        (OPEN, open::BAD_IDENTIFIER) => "Bad BGP Identifier",
        (OPEN, open::UNSUPPORTED_PARAMETER) => "Unsupported Optional Parameter",
        (OPEN, open::UNACCEPTABLE_HOLD_TIME) => "Unacceptable Hold Time",
        (OPEN, open::UNSUPPORTED_CAPABILITY) => "Unsupported Capability",
        (OPEN, open::ROLE_MISMATCH) => "Role Mismatch",
        (UPDATE, update::MALFORMED_ATTRIBUTE_LIST) => "Malformed Attribute List",
        (UPDATE, update::UNRECOGNIZED_WELL_KNOWN) => "Unrecognized Well-known Attribute",
        (UPDATE, update::MISSING_WELL_KNOWN) => "Missing Well-known Attribute",
        (UPDATE, update::ATTRIBUTE_FLAGS) => "Attribute Flags Error",
        (UPDATE, update::ATTRIBUTE_LENGTH) => "Attribute Length Error",
        (UPDATE, update::INVALID_ORIGIN) => "Invalid ORIGIN Attribute",
        (UPDATE, update::INVALID_NEXT_HOP) => "Invalid NEXT_HOP Attribute",
        (UPDATE, update::OPTIONAL_ATTRIBUTE) => "Optional Attribute Error",
        (UPDATE, update::INVALID_NETWORK_FIELD) => "Invalid Network Field",
        (UPDATE, update::MALFORMED_AS_PATH) => "Malformed AS_PATH",
        (FSM, fsm::OPEN_SENT) => "Unexpected Message in OpenSent State",
        (FSM, fsm::OPEN_CONFIRM) => "Unexpected Message in OpenConfirm State",
        (FSM, fsm::ESTABLISHED) => "Unexpected Message in Established State",
        (CEASE, cease::MAX_PREFIXES) => "Maximum Number of Prefixes Reached",
        (CEASE, cease::ADMINISTRATIVE_SHUTDOWN) => "Administrative Shutdown",
        (CEASE, cease::PEER_DECONFIGURED) => "Peer De-configured",
        (CEASE, cease::ADMINISTRATIVE_RESET) => "Administrative Reset",
        (CEASE, cease::CONNECTION_REJECTED) => "Connection Rejected",
        (CEASE, cease::OTHER_CONFIGURATION_CHANGE) => "Other Configuration Change",
        (CEASE, cease::CONNECTION_COLLISION) => "Connection Collision Resolution",
        (CEASE, cease::OUT_OF_RESOURCES) => "Out of Resources",
        (CEASE, cease::HARD_RESET) => "Hard Reset",
        (CEASE, cease::BFD_DOWN) => "BFD Down",
        (ROUTE_REFRESH, route_refresh::INVALID_LENGTH) => "Invalid Message Length",
        _ => return None,
    })
}

/// Octets of data that fit beside header, code and subcode: a NOTIFICATION may reach a peer that
/// has not agreed to longer messages.
const MAX_DATA: usize = MAX_LEN - 21;
/// Octets of data shown by `Display`.
const MAX_SHOWN_DATA: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Message, parse_message};

    fn round_trip(notification: &Notification) -> Notification {
        let mut out = Vec::new();
        encode_notification(notification, &mut out);
        match parse_message(&out) {
            Ok(Message::Notification(read)) => read,
            other => panic!("read back as {other:?}"),
        }
    }

    #[test]
    fn words_and_octets() {
        let sent = Notification::cease(cease::ADMINISTRATIVE_SHUTDOWN)
            .with_shutdown_communication("back at 5");
        assert_eq!(round_trip(&sent), sent);
        assert_eq!(
            sent.to_string(),
            "Cease/Administrative Shutdown: \"back at 5\""
        );
        let plain = Notification::new(UPDATE, update::MISSING_WELL_KNOWN).with_data(&[1]);
        assert_eq!(
            plain.to_string(),
            "UPDATE Message Error/Missing Well-known Attribute (data 01)"
        );
        assert_eq!(
            Notification::new(99, 7).to_string(),
            "Error code 99/subcode 7"
        );
        assert_eq!(
            Notification::new(HOLD_TIMER_EXPIRED, 0).to_string(),
            "Hold Timer Expired"
        );
    }

    // RFC-SHOWN 9003 §2
    #[test]
    fn hostile_shutdown_communication() {
        let evil = Notification::cease(2).with_data(b"\x06\x1b[2J\xff\n");
        let words = evil.to_string();
        assert!(words.chars().all(|c| !c.is_control()), "{words:?}");
        let overrun = Notification::cease(2).with_data(b"\xffhello");
        assert_eq!(overrun.shutdown_communication(), None);
        assert!(overrun.to_string().contains("data ff68"));
        let empty = Notification::cease(2).with_data(&[0]);
        assert_eq!(empty.shutdown_communication(), None);
    }

    #[test]
    fn long_communications_end_at_a_character() {
        let sent = Notification::cease(4).with_shutdown_communication(&"é".repeat(200));
        assert_eq!(sent.data.len(), 255);
        assert_eq!(sent.shutdown_communication().unwrap().chars().count(), 127);
    }

    #[test]
    fn a_hard_reset_shows_what_it_wraps() {
        let inner = [6, 2, 2, b'h', b'i'];
        let outer = Notification::cease(cease::HARD_RESET).with_data(&inner);
        assert_eq!(
            outer.to_string(),
            "Cease/Hard Reset (Cease/Administrative Shutdown: \"hi\")"
        );
        assert_eq!(Notification::cease(9).hard_reset_reason(), None);
        let nested = Notification::cease(9).with_data(&[6, 9, 6, 9, 6, 9]);
        assert!(nested.to_string().len() < 80);
    }

    // RFC-SHOWN 9384 §3
    #[test]
    fn bfd_down_is_a_reason_with_a_name() {
        let notification = round_trip(&Notification::cease(cease::BFD_DOWN));
        assert_eq!(notification.to_string(), "Cease/BFD Down");
    }

    #[test]
    fn data_never_makes_the_message_too_long() {
        let long = Notification::new(ROUTE_REFRESH, 1).with_data(&vec![7; 60_000]);
        let mut out = Vec::new();
        encode_notification(&long, &mut out);
        assert_eq!(out.len(), MAX_LEN);
    }
}
