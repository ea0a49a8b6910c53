//! The gateways of the kernel's routes, asked of rtnetlink (RFC 3549).
//!
//! The text tables under /proc show of a route with several next hops the first alone, and those that
//! point to next hop objects not at all. Asked when somebody wants to know, and not followed. A
//! message that can't be read is passed over.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use codec::Family;
use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
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
        while let Ok(message) = NetlinkBuffer::new_checked(rest) {
            let length = message.length() as usize;
            match NetlinkMessage::deserialize(rest).map(|message| message.payload) {
                Ok(NetlinkPayload::Done(_)) => return Ok(routes),
                Ok(NetlinkPayload::Error(error)) => return Err(error.to_io()),
                Ok(NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(message))) => {
                    routes.extend(route(family, &message, peer_address));
                }
                _ => {}
            }
            messages += 1;
            // Every message begins at a multiple of four octets.
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
    Ok(routes)
}

/// RTM_GETROUTE, for all routes of a family.
fn request(family: Family) -> Vec<u8> {
    let mut routes = RouteMessage::default();
    routes.header.address_family = address_family(family);
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let payload = NetlinkPayload::from(RouteNetlinkMessage::GetRoute(routes));
    let mut message = NetlinkMessage::new(header, payload);
    message.finalize();
    let mut octets = vec![0; message.buffer_len()];
    message.serialize(&mut octets);
    octets
}

/// What a RTM_NEWROUTE says. None: it is not a route to somewhere over a gateway.
fn route(
    family: Family,
    message: &RouteMessage,
    on_link: impl Fn(SocketAddr) -> Option<PeerAddress>,
) -> Option<KernelRoute> {
    let header = &message.header;
    if header.address_family != address_family(family)
        || header.kind != RouteType::Unicast
        // A cached answer, not a route of the table.
        || header.flags.contains(RouteFlags::Cloned)
    {
        return None;
    }
    let (mut table, mut metric, mut link) = (u32::from(header.table), 0, 0);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Priority(number) => metric = *number,
            RouteAttribute::Oif(number) => link = *number,
            _ => {}
        }
    }
    if table != u32::from(RouteHeader::RT_TABLE_MAIN) {
        return None;
    }
    let gateway = |attribute: &RouteAttribute, link: u32| match *attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(address)) => {
            on_link(SocketAddr::new(address.into(), 0))
        }
        RouteAttribute::Gateway(RouteAddress::Inet6(address)) => {
            on_link(SocketAddrV6::new(address, 0, 0, link).into())
        }
        _ => None,
    };
    let mut gateways = Vec::new();
    for attribute in &message.attributes {
        gateways.extend(gateway(attribute, link));
        if let RouteAttribute::MultiPath(hops) = attribute {
            for hop in hops {
                let own = hop.attributes.iter();
                gateways.extend(own.filter_map(|own| gateway(own, hop.interface_index)));
            }
        }
    }
    gateways.retain(|gateway| is_of(family, gateway.ip()));
    (!gateways.is_empty()).then_some(KernelRoute {
        is_default: header.destination_prefix_length == 0,
        metric,
        gateways,
    })
}

fn is_of(family: Family, address: IpAddr) -> bool {
    address.is_ipv6() == (family == Family::Ipv6Unicast)
}

fn address_family(family: Family) -> AddressFamily {
    match family {
        Family::Ipv4Unicast => AddressFamily::Inet,
        Family::Ipv6Unicast => AddressFamily::Inet6,
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::route::RouteNextHop;

    use super::*;

    fn gateway(address: &str) -> RouteAttribute {
        let address: IpAddr = address.parse().unwrap();
        RouteAttribute::Gateway(address.into())
    }

    fn next_hop(link: u32, attributes: Vec<RouteAttribute>) -> RouteNextHop {
        let mut hop = RouteNextHop::default();
        hop.interface_index = link;
        hop.attributes = attributes;
        hop
    }

    fn message(family: Family, length: u8, attributes: Vec<RouteAttribute>) -> RouteMessage {
        let mut message = RouteMessage::default();
        message.header.address_family = address_family(family);
        message.header.destination_prefix_length = length;
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.kind = RouteType::Unicast;
        message.attributes = attributes;
        message
    }

    fn read(family: Family, message: &RouteMessage) -> Option<KernelRoute> {
        route(family, message, |remote| match remote {
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
        let (v4, v6) = (Family::Ipv4Unicast, Family::Ipv6Unicast);
        let hops = vec![
            next_hop(2, vec![gateway("10.0.0.1")]),
            // Without a gateway: the link itself.
            next_hop(3, Vec::new()),
            next_hop(4, vec![gateway("10.0.1.1")]),
        ];
        let attributes = vec![
            RouteAttribute::Table(254),
            RouteAttribute::Priority(100),
            RouteAttribute::MultiPath(hops),
        ];
        let route = read(v4, &message(v4, 0, attributes)).unwrap();
        assert_eq!((route.is_default, route.metric), (true, 100));
        assert_eq!(shown(&route), ["10.0.0.1", "10.0.1.1"]);

        let hops = [2, 3].map(|link| next_hop(link, vec![gateway("fe80::1")]));
        let several = vec![RouteAttribute::MultiPath(hops.into())];
        let several = read(v6, &message(v6, 48, several)).unwrap();
        assert!(!several.is_default);
        assert_eq!(shown(&several), ["fe80::1%eth2", "fe80::1%eth3"]);
        let single = vec![gateway("fe80::1"), RouteAttribute::Oif(7)];
        let single = read(v6, &message(v6, 0, single)).unwrap();
        assert_eq!(shown(&single), ["fe80::1%eth7"]);
    }

    #[test]
    fn what_is_no_way_over_a_gateway_of_the_main_table_is_none() {
        let (v4, v6) = (Family::Ipv4Unicast, Family::Ipv6Unicast);
        let over = |attributes| message(v4, 0, attributes);
        assert!(read(v4, &message(v4, 24, Vec::new())).is_none());
        let other = vec![RouteAttribute::Table(1000), gateway("10.0.0.1")];
        assert!(read(v4, &over(other)).is_none());
        let mut blackhole = over(vec![gateway("10.0.0.1")]);
        blackhole.header.kind = RouteType::BlackHole;
        assert!(read(v4, &blackhole).is_none());
        let mut cached = over(vec![gateway("10.0.0.1")]);
        cached.header.flags = RouteFlags::Cloned;
        assert!(read(v4, &cached).is_none());
        assert!(read(v6, &over(vec![gateway("10.0.0.1")])).is_none());
        assert!(read(v4, &over(vec![gateway("2001:db8::1")])).is_none());
    }

    #[test]
    fn the_kernel_answers() {
        for family in Family::ALL {
            let routes = routes(family).unwrap();
            assert!(routes.iter().all(|route| !route.gateways.is_empty()));
        }
    }
}
