//! Capabilities of an OPEN message: read all, written as given.
//!
//! Read first: RFC 5492 and, by code: 1 RFC 4760, 2 RFC 2918, 5 RFC 8950, 6 RFC 8654, 9 RFC 9234,
//! 64 RFC 4724 and RFC 8538, 65 RFC 6793, 69 RFC 7911, 70 RFC 7313, 71 RFC 9494, 73 the FQDN
//! draft. A capability whose length contradicts its own format makes the OPEN malformed; one that
//! is unknown, or only tells a name, never does.

use bytes::Bytes;

use crate::wire::Reader;

/// One capability.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Capability {
    /// Multiprotocol Extensions: one family.
    Multiprotocol {
        /// Address family identifier.
        afi: u16,
        /// Subsequent address family identifier.
        safi: u8,
    },
    /// Route Refresh; the old code 128 reads as the same.
    RouteRefresh,
    /// Enhanced Route Refresh.
    EnhancedRouteRefresh,
    /// Extended Messages.
    ExtendedMessages,
    /// Extended Next Hop Encoding.
    ExtendedNextHop(Vec<ExtendedNextHop>),
    /// Four-octet AS numbers, with the speaker's own.
    FourOctetAs(u32),
    /// Graceful Restart.
    GracefulRestart {
        /// The speaker has restarted (R).
        restarting: bool,
        /// The speaker keeps routes over a NOTIFICATION (N, RFC 8538).
        notification: bool,
        /// Seconds within which the speaker expects to be back, at most 4095.
        restart_time: u16,
        /// Families it applies to.
        families: Vec<GracefulRestartFamily>,
    },
    /// ADD-PATH. Entries with a mode that RFC 7911 does not know are dropped on receipt.
    AddPath(Vec<AddPath>),
    /// Long-lived Graceful Restart.
    LongLivedGracefulRestart(Vec<LongLivedFamily>),
    /// BGP Role: 0 provider, 1 route server, 2 its client, 3 customer, 4 peer.
    Role(u8),
    /// The speaker's names; hostile octets until proven otherwise.
    Fqdn {
        /// Host name.
        host: Bytes,
        /// Domain name.
        domain: Bytes,
    },
    /// Any other, or one whose value is only for people and does not parse.
    Unknown {
        /// Capability code.
        code: u8,
        /// Capability value.
        data: Bytes,
    },
}

/// A family whose NLRI may be sent with next hops of another (RFC 8950 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ExtendedNextHop {
    /// Address family identifier of the NLRI.
    pub afi: u16,
    /// Subsequent address family identifier of the NLRI; two octets here.
    pub safi: u16,
    /// Address family identifier of the next hop.
    pub next_hop_afi: u16,
}

/// A family of a Graceful Restart capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GracefulRestartFamily {
    /// Address family identifier.
    pub afi: u16,
    /// Subsequent address family identifier.
    pub safi: u8,
    /// Forwarding state was preserved (F).
    pub forwarding: bool,
}

/// A family of a Long-lived Graceful Restart capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LongLivedFamily {
    /// Address family identifier.
    pub afi: u16,
    /// Subsequent address family identifier.
    pub safi: u8,
    /// Forwarding state was preserved (F).
    pub forwarding: bool,
    /// Seconds for which stale routes may be kept, 24 bits.
    pub stale_time: u32,
}

/// A family of an ADD-PATH capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddPath {
    /// Address family identifier.
    pub afi: u16,
    /// Subsequent address family identifier.
    pub safi: u8,
    /// The speaker can receive several paths of a prefix.
    pub receive: bool,
    /// The speaker can send several paths of a prefix.
    pub send: bool,
}

impl Capability {
    /// The capability code on the wire.
    pub fn code(&self) -> u8 {
        match self {
            Capability::Multiprotocol { .. } => 1,
            Capability::RouteRefresh => 2,
            Capability::ExtendedNextHop(_) => 5,
            Capability::ExtendedMessages => 6,
            Capability::Role(_) => 9,
            Capability::GracefulRestart { .. } => 64,
            Capability::FourOctetAs(_) => 65,
            Capability::AddPath(_) => 69,
            Capability::EnhancedRouteRefresh => 70,
            Capability::LongLivedGracefulRestart(_) => 71,
            Capability::Fqdn { .. } => 73,
            Capability::Unknown { code, .. } => *code,
        }
    }

    /// Appends the capabilities of one optional parameter; `None` if they are malformed.
    pub(crate) fn parse_all(parameter: &[u8], capabilities: &mut Vec<Capability>) -> Option<()> {
        let mut reader = Reader::new(parameter);
        while let Some(code) = reader.u8() {
            let value = reader.u8_prefixed()?;
            capabilities.push(Capability::parse(code, value)?);
        }
        Some(())
    }

    fn parse(code: u8, value: &[u8]) -> Option<Capability> {
        // RFC-DONE 5492 §3: A capability that is not known is passed over.
        let unknown = || Capability::Unknown {
            code,
            data: Bytes::copy_from_slice(value),
        };
        Some(match code {
            1 => {
                let [afi @ .., _reserved, safi] = value.first_chunk::<4>()?;
                exactly(value, 4)?;
                Capability::Multiprotocol {
                    afi: u16::from_be_bytes(*afi),
                    safi: *safi,
                }
            }
            2 | 128 if value.is_empty() => Capability::RouteRefresh,
            5 => Capability::ExtendedNextHop(each(value, parse_extended_next_hop)?),
            6 if value.is_empty() => Capability::ExtendedMessages,
            9 => {
                exactly(value, 1)?;
                Capability::Role(*value.first()?)
            }
            64 => parse_graceful_restart(value)?,
            65 => Capability::FourOctetAs(u32::from_be_bytes(value.try_into().ok()?)),
            69 => {
                let mut families = each(value, parse_add_path)?;
                families.retain(|family| family.receive || family.send);
                Capability::AddPath(families)
            }
            70 if value.is_empty() => Capability::EnhancedRouteRefresh,
            71 => Capability::LongLivedGracefulRestart(each(value, parse_long_lived)?),
            73 => parse_fqdn(value).unwrap_or_else(unknown),
            _ => unknown(),
        })
    }
}

/// Appends a capability: code, length, value. Nothing is appended when the value passes 255
/// octets; numbers wider than their field are cut to it.
pub(crate) fn encode_capability(capability: &Capability, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[capability.code(), 0]);
    encode_value(capability, out);
    match u8::try_from(out.len() - start - 2) {
        Ok(length) => {
            if let Some(octet) = out.get_mut(start + 1) {
                *octet = length;
            }
        }
        Err(_) => out.truncate(start),
    }
}

fn encode_value(capability: &Capability, out: &mut Vec<u8>) {
    match capability {
        Capability::RouteRefresh
        | Capability::EnhancedRouteRefresh
        | Capability::ExtendedMessages => {}
        Capability::Multiprotocol { afi, safi } => {
            out.extend_from_slice(&afi.to_be_bytes());
            out.extend_from_slice(&[0, *safi]);
        }
        Capability::ExtendedNextHop(entries) => {
            for entry in entries {
                out.extend_from_slice(&entry.afi.to_be_bytes());
                out.extend_from_slice(&entry.safi.to_be_bytes());
                out.extend_from_slice(&entry.next_hop_afi.to_be_bytes());
            }
        }
        Capability::FourOctetAs(asn) => out.extend_from_slice(&asn.to_be_bytes()),
        Capability::GracefulRestart {
            restarting,
            notification,
            restart_time,
            families,
        } => {
            let flags = u16::from(*restarting) << 15 | u16::from(*notification) << 14;
            out.extend_from_slice(&(flags | restart_time & 0x0fff).to_be_bytes());
            for family in families {
                out.extend_from_slice(&family.afi.to_be_bytes());
                out.extend_from_slice(&[family.safi, forwarding_flag(family.forwarding)]);
            }
        }
        Capability::AddPath(families) => {
            for family in families {
                let mode = u8::from(family.receive) | u8::from(family.send) << 1;
                out.extend_from_slice(&family.afi.to_be_bytes());
                out.extend_from_slice(&[family.safi, mode]);
            }
        }
        Capability::LongLivedGracefulRestart(families) => {
            for family in families {
                let [_, seconds @ ..] = family.stale_time.to_be_bytes();
                out.extend_from_slice(&family.afi.to_be_bytes());
                out.extend_from_slice(&[family.safi, forwarding_flag(family.forwarding)]);
                out.extend_from_slice(&seconds);
            }
        }
        Capability::Role(role) => out.push(*role),
        Capability::Fqdn { host, domain } => {
            for name in [host, domain] {
                let name = name.get(..255).unwrap_or(name);
                out.push(name.len() as u8);
                out.extend_from_slice(name);
            }
        }
        Capability::Unknown { data, .. } => out.extend_from_slice(data),
    }
}

fn forwarding_flag(forwarding: bool) -> u8 {
    u8::from(forwarding) << 7
}

fn exactly(value: &[u8], octets: usize) -> Option<()> {
    (value.len() == octets).then_some(())
}

/// Reads entries of one size to the end of a value; `None` if the last one is incomplete.
fn each<T, const N: usize>(value: &[u8], parse: fn([u8; N]) -> T) -> Option<Vec<T>> {
    let (entries, []) = value.as_chunks::<N>() else {
        return None;
    };
    Some(entries.iter().map(|entry| parse(*entry)).collect())
}

fn parse_extended_next_hop([a, b, c, d, e, f]: [u8; 6]) -> ExtendedNextHop {
    ExtendedNextHop {
        afi: u16::from_be_bytes([a, b]),
        safi: u16::from_be_bytes([c, d]),
        next_hop_afi: u16::from_be_bytes([e, f]),
    }
}

fn parse_graceful_restart(value: &[u8]) -> Option<Capability> {
    let (head, families) = value.split_first_chunk::<2>()?;
    let head = u16::from_be_bytes(*head);
    Some(Capability::GracefulRestart {
        restarting: head & 0x8000 != 0,
        notification: head & 0x4000 != 0,
        restart_time: head & 0x0fff,
        families: each(families, |[a, b, safi, flags]| GracefulRestartFamily {
            afi: u16::from_be_bytes([a, b]),
            safi,
            forwarding: flags & 0x80 != 0,
        })?,
    })
}

// RFC 7911 §4: any value but 1, 2 and 3 is to be ignored.
fn parse_add_path([a, b, safi, mode]: [u8; 4]) -> AddPath {
    AddPath {
        afi: u16::from_be_bytes([a, b]),
        safi,
        receive: matches!(mode, 1 | 3),
        send: matches!(mode, 2 | 3),
    }
}

fn parse_long_lived([a, b, safi, flags, x, y, z]: [u8; 7]) -> LongLivedFamily {
    LongLivedFamily {
        afi: u16::from_be_bytes([a, b]),
        safi,
        forwarding: flags & 0x80 != 0,
        stale_time: u32::from_be_bytes([0, x, y, z]),
    }
}

fn parse_fqdn(value: &[u8]) -> Option<Capability> {
    let mut reader = Reader::new(value);
    let host = Bytes::copy_from_slice(reader.u8_prefixed()?);
    let domain = Bytes::copy_from_slice(reader.u8_prefixed()?);
    reader
        .is_empty()
        .then_some(Capability::Fqdn { host, domain })
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC-SHOWN 5492 §3
    // RFC-SHOWN 5492 §4
    #[test]
    fn every_kind_reads_back_as_written() {
        let all = vec![
            Capability::Multiprotocol { afi: 2, safi: 1 },
            Capability::RouteRefresh,
            Capability::EnhancedRouteRefresh,
            Capability::ExtendedMessages,
            Capability::ExtendedNextHop(vec![ExtendedNextHop {
                afi: 1,
                safi: 1,
                next_hop_afi: 2,
            }]),
            Capability::FourOctetAs(4_200_000_000),
            Capability::GracefulRestart {
                restarting: true,
                notification: true,
                restart_time: 4095,
                families: vec![GracefulRestartFamily {
                    afi: 1,
                    safi: 1,
                    forwarding: true,
                }],
            },
            Capability::AddPath(vec![AddPath {
                afi: 1,
                safi: 1,
                receive: true,
                send: false,
            }]),
            Capability::LongLivedGracefulRestart(vec![LongLivedFamily {
                afi: 2,
                safi: 1,
                forwarding: false,
                stale_time: 0xff_ffff,
            }]),
            Capability::Role(3),
            Capability::Fqdn {
                host: Bytes::from_static(b"tor1"),
                domain: Bytes::new(),
            },
            Capability::Unknown {
                code: 200,
                data: Bytes::from_static(&[1, 2, 3]),
            },
        ];
        let mut out = Vec::new();
        for capability in &all {
            encode_capability(capability, &mut out);
        }
        let mut read = Vec::new();
        Capability::parse_all(&out, &mut read).unwrap();
        assert_eq!(read, all);
    }

    #[test]
    fn lengths_that_cannot_be() {
        let malformed = |octets: &[u8]| Capability::parse_all(octets, &mut Vec::new()).is_none();
        for octets in [
            &[1, 3, 0, 1, 0][..],
            &[65, 0],
            &[64, 1, 0],
            &[64, 5, 0, 120, 0, 1, 1],
            &[69, 3, 0, 1, 1],
            &[71, 3, 0, 1, 1],
            &[9, 2, 0, 0],
            &[200],
            &[200, 9, 1],
        ] {
            assert!(malformed(octets), "{octets:?}");
        }
        assert!(!malformed(&[73, 5, 64, 104, 111, 115, 116]));
        assert!(!malformed(&[2, 1, 0]));
    }

    #[test]
    fn unknown_add_path_modes_are_dropped() {
        let mut read = Vec::new();
        Capability::parse_all(&[69, 8, 0, 1, 1, 7, 0, 2, 1, 3], &mut read).unwrap();
        let kept = AddPath {
            afi: 2,
            safi: 1,
            receive: true,
            send: true,
        };
        assert_eq!(read, [Capability::AddPath(vec![kept])]);
    }
}
