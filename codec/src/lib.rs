//! BGP messages, path attributes and NLRI: bytes to meaning and back.
//!
//! Knows no sockets, no time, no sessions and no tables. Reads are views over the caller's bytes,
//! writes fill the caller's buffer, faults carry what RFC 4271 or RFC 7606 says to do about them.
#![forbid(unsafe_code)]

mod prefix;

pub use prefix::{Family, FamilySet, IpPrefix, Ipv4Prefix, Ipv6Prefix, Prefix};
