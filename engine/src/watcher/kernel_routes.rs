//! The gateways of the kernel's routes, asked of rtnetlink (RFC 3549).
//!
//! The text tables under /proc show of a route with several next hops the first alone, and those that
//! point to next hop objects not at all. Asked when somebody wants to know, and not followed. What the
//! kernel says is read with every length checked; a message that does not hold what it says is passed
//! over.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use codec::Family;
use socket2::{Domain, Protocol, Socket, Type};

use crate::config::PeerAddress;
use crate::interfaces::peer_address;

/// Messages read of a table: a node may hold the whole Internet's, and its gateways stand in front.
const MESSAGES_MAX: usize = 4096;

/// The kernel answers at once; whatever else listens on such sockets must not stop us.
const TIMEOUT: Duration = Duration::from_secs(1);

/// A piece of an answer is at most this long.
const PIECE_MAX: usize = 64 << 10;

/// A route that leads over gateways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KernelRoute {
    /// It is the way to everything: its prefix has no bits.
    pub(super) is_default: bool,
    pub(super) metric: u32,
    /// In the kernel's order, each with its link if it is link-local; never empty.
    pub(super) gateways: Vec<PeerAddress>,
}

/// The routes of the main table that lead over gateways of the same family, at most so many as stand
/// in [`MESSAGES_MAX`] messages.
///
/// # Errors
/// Whatever the system says if it does not tell.
pub(super) fn routes(family: Family) -> io::Result<Vec<KernelRoute>> {
    let kind = Type::RAW.cloexec();
    let mut socket = Socket::new(Domain::from(libc::AF_NETLINK), kind, None::<Protocol>)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.write_all(&request(family))?;
    let mut routes = Vec::new();
    let mut piece = vec![0; PIECE_MAX];
    let mut messages = 0;
    while messages < MESSAGES_MAX {
        let octets = match socket.read(&mut piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        let mut rest = &piece[..octets];
        while let Some((kind, body)) = next_message(&mut rest) {
            match kind {
                NLMSG_DONE => return Ok(routes),
                NLMSG_ERROR => {
                    let error = body
                        .first_chunk()
                        .map_or(0, |code| i32::from_ne_bytes(*code));
                    return Err(io::Error::from_raw_os_error(error.wrapping_neg()));
                }
                RTM_NEWROUTE => routes.extend(route(family, body, peer_address)),
                _ => {}
            }
            messages += 1;
        }
    }
    Ok(routes)
}

/// RTM_GETROUTE, for all routes of a family.
fn request(family: Family) -> Vec<u8> {
    let mut octets = Vec::with_capacity(HEADER_LEN + ROUTE_LEN);
    octets.extend(((HEADER_LEN + ROUTE_LEN) as u32).to_ne_bytes());
    octets.extend(RTM_GETROUTE.to_ne_bytes());
    octets.extend(NLM_F_REQUEST_DUMP.to_ne_bytes());
    // Sequence and port, which nobody needs on a socket for one question.
    octets.extend([0; 8]);
    octets.push(address_family(family));
    octets.extend([0; ROUTE_LEN - 1]);
    octets
}

/// Takes the next message off: its type and what follows its header.
fn next_message<'a>(rest: &mut &'a [u8]) -> Option<(u16, &'a [u8])> {
    let length = u32::from_ne_bytes(*rest.first_chunk()?) as usize;
    let kind = u16::from_ne_bytes(*rest.get(4..)?.first_chunk()?);
    let body = rest.get(HEADER_LEN..length)?;
    *rest = rest.get(aligned(length)..).unwrap_or_default();
    Some((kind, body))
}

/// What a RTM_NEWROUTE says. None: it is not a route to somewhere over a gateway.
fn route(
    family: Family,
    body: &[u8],
    on_link: impl Fn(SocketAddr) -> Option<PeerAddress>,
) -> Option<KernelRoute> {
    let &[of, prefix_length, _, _, table, _, _, kind, ..] = body.first_chunk::<ROUTE_LEN>()?;
    let flags = u32::from_ne_bytes(*body.get(8..)?.first_chunk()?);
    if of != address_family(family) || kind != RTN_UNICAST || flags & RTM_F_CLONED != 0 {
        return None;
    }
    let attributes = || Attributes(&body[ROUTE_LEN..]);
    let number = |wanted| {
        let value = attributes().find(|(kind, _)| *kind == wanted)?.1;
        Some(u32::from_ne_bytes(*value.first_chunk()?))
    };
    if number(RTA_TABLE).unwrap_or_else(|| table.into()) != RT_TABLE_MAIN {
        return None;
    }
    let gateway = |attributes: Attributes<'_>, interface: u32| {
        let mut found = attributes.filter(|(kind, _)| *kind == RTA_GATEWAY);
        let address = address(family, found.next()?.1)?;
        on_link(match address {
            IpAddr::V6(v6) => std::net::SocketAddrV6::new(v6, 0, 0, interface).into(),
            IpAddr::V4(_) => SocketAddr::new(address, 0),
        })
    };
    let mut gateways = Vec::new();
    gateways.extend(gateway(attributes(), number(RTA_OIF).unwrap_or(0)));
    for (_, hops) in attributes().filter(|(kind, _)| *kind == RTA_MULTIPATH) {
        gateways.extend(NextHops(hops).filter_map(|(interface, own)| gateway(own, interface)));
    }
    (!gateways.is_empty()).then(|| KernelRoute {
        is_default: prefix_length == 0,
        metric: number(RTA_PRIORITY).unwrap_or(0),
        gateways,
    })
}

fn address(family: Family, octets: &[u8]) -> Option<IpAddr> {
    Some(match family {
        Family::Ipv4Unicast => Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?).into(),
        Family::Ipv6Unicast => Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).into(),
    })
}

fn address_family(family: Family) -> u8 {
    match family {
        Family::Ipv4Unicast => libc::AF_INET as u8,
        Family::Ipv6Unicast => libc::AF_INET6 as u8,
    }
}

/// `rtattr`s: length, type, value.
#[derive(Clone, Copy)]
struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let length = u16::from_ne_bytes(*self.0.first_chunk()?) as usize;
        let kind = u16::from_ne_bytes(*self.0.get(2..)?.first_chunk()?);
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(aligned(length)..).unwrap_or_default();
        Some((kind, value))
    }
}

/// `rtnexthop`s: length, flags, weight, interface, attributes of their own.
struct NextHops<'a>(&'a [u8]);

impl<'a> Iterator for NextHops<'a> {
    type Item = (u32, Attributes<'a>);

    fn next(&mut self) -> Option<(u32, Attributes<'a>)> {
        let length = u16::from_ne_bytes(*self.0.first_chunk()?) as usize;
        let interface = u32::from_ne_bytes(*self.0.get(4..)?.first_chunk()?);
        let own = self.0.get(8..length)?;
        self.0 = self.0.get(aligned(length)..).unwrap_or_default();
        Some((interface, Attributes(own)))
    }
}

/// Everything in such a message begins at a multiple of four octets.
fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// Of `nlmsghdr` and `rtmsg`, in octets.
const HEADER_LEN: usize = 16;
const ROUTE_LEN: usize = 12;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const RTN_UNICAST: u8 = 1;
const RT_TABLE_MAIN: u32 = 254;
/// A cached answer, not a route of the table.
const RTM_F_CLONED: u32 = 0x200;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut octets = ((4 + value.len()) as u16).to_ne_bytes().to_vec();
        octets.extend(kind.to_ne_bytes());
        octets.extend(value);
        octets.resize(aligned(octets.len()), 0);
        octets
    }

    fn next_hop(interface: u32, attributes: &[u8]) -> Vec<u8> {
        let mut octets = ((8 + attributes.len()) as u16).to_ne_bytes().to_vec();
        octets.extend([0, 0]);
        octets.extend(interface.to_ne_bytes());
        octets.extend(attributes);
        octets
    }

    fn message(family: Family, prefix_length: u8, attributes: &[Vec<u8>]) -> Vec<u8> {
        let mut octets = vec![address_family(family), prefix_length, 0, 0, 254, 3, 0, 1];
        octets.extend([0; 4]);
        octets.extend(attributes.concat());
        octets
    }

    fn read(family: Family, body: &[u8]) -> Option<KernelRoute> {
        route(family, body, |remote| match remote {
            SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() => {
                PeerAddress::on_link(remote.ip(), &format!("eth{}", v6.scope_id())).ok()
            }
            _ => Some(remote.ip().into()),
        })
    }

    fn shown(route: &KernelRoute) -> Vec<String> {
        route.gateways.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_route_with_several_next_hops_has_all_its_gateways() {
        let hops = [
            next_hop(2, &attribute(RTA_GATEWAY, &[10, 0, 0, 1])),
            // Without a gateway: the link itself.
            next_hop(3, &[]),
            next_hop(4, &attribute(RTA_GATEWAY, &[10, 0, 1, 1])),
        ];
        let attributes = [
            attribute(RTA_TABLE, &254u32.to_ne_bytes()),
            attribute(RTA_PRIORITY, &100u32.to_ne_bytes()),
            attribute(RTA_MULTIPATH, &hops.concat()),
        ];
        let route = read(
            Family::Ipv4Unicast,
            &message(Family::Ipv4Unicast, 0, &attributes),
        );
        let route = route.unwrap();
        assert_eq!((route.is_default, route.metric), (true, 100));
        assert_eq!(shown(&route), ["10.0.0.1", "10.0.1.1"]);

        let one = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).octets();
        let gateway = attribute(RTA_GATEWAY, &one);
        let hops = [next_hop(2, &gateway), next_hop(3, &gateway)].concat();
        let several = message(Family::Ipv6Unicast, 48, &[attribute(RTA_MULTIPATH, &hops)]);
        let several = read(Family::Ipv6Unicast, &several).unwrap();
        assert!(!several.is_default);
        assert_eq!(shown(&several), ["fe80::1%eth2", "fe80::1%eth3"]);
        let single = [gateway, attribute(RTA_OIF, &7u32.to_ne_bytes())];
        let single = read(
            Family::Ipv6Unicast,
            &message(Family::Ipv6Unicast, 0, &single),
        );
        assert_eq!(shown(&single.unwrap()), ["fe80::1%eth7"]);
    }

    #[test]
    fn what_is_no_way_over_a_gateway_of_the_main_table_is_none() {
        let family = Family::Ipv4Unicast;
        let gateway = attribute(RTA_GATEWAY, &[10, 0, 0, 1]);
        assert!(read(family, &message(family, 24, &[])).is_none());
        let other = attribute(RTA_TABLE, &1000u32.to_ne_bytes());
        assert!(read(family, &message(family, 0, &[other, gateway.clone()])).is_none());
        let mut blackhole = message(family, 0, std::slice::from_ref(&gateway));
        blackhole[7] = 6;
        assert!(read(family, &blackhole).is_none());
        assert!(read(Family::Ipv6Unicast, &message(family, 0, &[gateway])).is_none());
    }

    #[test]
    fn cut_anywhere_it_is_read_without_a_panic_and_to_an_end() {
        let hop = next_hop(2, &attribute(RTA_GATEWAY, &[10, 0, 0, 1]));
        let whole = message(Family::Ipv4Unicast, 0, &[attribute(RTA_MULTIPATH, &hop)]);
        for length in 0..whole.len() {
            read(Family::Ipv4Unicast, &whole[..length]);
        }
        for place in 0..whole.len() {
            for value in [0, 1, 3, 255] {
                let mut changed = whole.clone();
                changed[place] = value;
                read(Family::Ipv4Unicast, &changed);
                let mut rest = &changed[..];
                while next_message(&mut rest).is_some() {}
            }
        }
    }

    #[test]
    fn the_kernel_answers() {
        for family in Family::ALL {
            let routes = routes(family).unwrap();
            assert!(routes.iter().all(|route| !route.gateways.is_empty()));
        }
    }
}
