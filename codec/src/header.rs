//! The header of every message: its size, its types, and how one is written (RFC 4271 §4.1).

/// Octets in a message header: marker, length, type.
pub const HEADER_LEN: usize = 19;
/// The longest message of plain BGP-4, in octets.
pub const MAX_LEN: usize = 4096;
/// The longest message after Extended Messages was negotiated (RFC 8654), in octets.
pub const MAX_EXTENDED_LEN: usize = 65535;
pub(crate) const MARKER_LEN: usize = 16;

/// The type octet of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MessageType {
    Open = 1,
    Update = 2,
    Notification = 3,
    Keepalive = 4,
    RouteRefresh = 5,
}

/// Appends a header whose length [`end_message`] fills in; returns where it starts.
pub(crate) fn begin_message(message_type: MessageType, out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0xff; HEADER_LEN]);
    if let Some(octet) = out.last_mut() {
        *octet = message_type as u8;
    }
    start
}

/// Writes the length of the message that started at `start` and ends here.
///
/// # Panics
/// If it is longer than [`MAX_EXTENDED_LEN`].
pub(crate) fn end_message(start: usize, out: &mut [u8]) {
    let length = out.len() - start;
    assert!(length <= MAX_EXTENDED_LEN, "message of {length} octets");
    let field = start + MARKER_LEN..start + MARKER_LEN + 2;
    if let Some(field) = out.get_mut(field) {
        field.copy_from_slice(&(length as u16).to_be_bytes());
    }
}
