//! BGP messages, path attributes and NLRI: bytes to meaning and back.
//!
//! Knows no sockets, no time, no sessions and no tables. Reads are views over the caller's bytes,
//! writes fill the caller's buffer, faults carry what RFC 4271 or RFC 7606 says to do about them.
//! No octets that a peer can send make anything here panic.
#![forbid(unsafe_code)]

mod as_path;
mod attribute;
mod capability;
mod encode;
mod header;
mod message;
mod nlri;
pub mod notification;
mod open;
mod prefix;
mod update;
mod wire;
mod writer;

pub use as_path::{AsPath, AsPathSegment, SegmentKind};
pub use attribute::{Aggregator, AttributeSet, Origin, RawAttribute, code, flags};
pub use capability::{
    AddPath, Capability, ExtendedNextHop, GracefulRestartFamily, LongLivedFamily,
};
pub use encode::{
    encode_end_of_rib, encode_mp_update, encode_mp_withdraw, encode_update, encode_withdraw,
    mp_update_room, update_room, withdraw_room,
};
pub use header::{HEADER_LEN, MAX_EXTENDED_LEN, MAX_LEN};
pub use message::{
    Message, PeerKind, RouteRefresh, WireFormat, encode_keepalive, encode_route_refresh, frame,
    parse_message,
};
pub use nlri::{NextHop, Nlri, NlriIter, NlriOctets, ReadPrefix, encode_nlri};
pub use notification::{Notification, encode_notification};
pub use open::{AS_TRANS, Open, encode_open};
pub use prefix::{Family, FamilySet, IpPrefix, Ipv4Prefix, Ipv6Prefix, Prefix};
pub use update::{
    AttributeFault, Attributes, FaultAction, MpReach, MpUnreach, NlriField, Update, parse_update,
};
pub use writer::AttributeWriter;
