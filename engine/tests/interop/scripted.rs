//! A peer that does exactly what a test tells it, on the loopback interface: it needs neither
//! root nor a router. It records what it is told; nothing it does happens by itself, but for
//! KEEPALIVE in answer to an OPEN.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use codec::{
    AsPath, AttributeSet, AttributeWriter, Capability, Family, FamilySet, IpPrefix, Message,
    NlriField, Notification, Open, Origin, PeerKind, RouteRefresh, WireFormat,
};
use socket2::{Domain, Socket, Type};

use crate::process::{DEADLINE, eventually};

/// The AS of the daemon under test.
pub(crate) const RINGBGP_ASN: u32 = 65001;
/// The AS of scripted peers.
pub(crate) const PEER_ASN: u32 = 65002;

/// Addresses of one test: the daemon's and as many peers' as it likes.
#[derive(Clone, Copy)]
pub(crate) struct Addresses {
    net: u16,
    port: u16,
}

impl Addresses {
    /// Addresses that no other test of this process has, and a port that was free.
    pub(crate) fn new() -> Addresses {
        static NETS: AtomicU16 = AtomicU16::new(0);
        let net = NETS.fetch_add(1, Ordering::Relaxed);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        Addresses { net, port }
    }

    /// The daemon.
    pub(crate) fn daemon(self) -> Ipv4Addr {
        self.host(5)
    }

    /// The peer of a number above 5.
    pub(crate) fn host(self, number: u8) -> Ipv4Addr {
        let [high, low] = self.net.to_be_bytes();
        Ipv4Addr::new(127, 50 + high, low, number)
    }

    /// The part of `bgpPeering` that makes the daemon listen here.
    pub(crate) fn options(self) -> String {
        format!(
            "    listenAddresses: [{}]\n    listenPort: {}\n",
            self.daemon(),
            self.port
        )
    }

    /// A passive neighbor in the AS of scripted peers.
    pub(crate) fn neighbor(self, number: u8, more: &str) -> String {
        let comma = if more.is_empty() { "" } else { ", " };
        // A loopback address is no next hop (RFC 4271 §6.3): another one is announced.
        format!(
            "peerAddress: {}, peerASN: {PEER_ASN}, localAddress: {}, passive: true, \
             nextHop: {{ipv4: 192.0.2.5, ipv6: \"2001:db8::5\"}}{comma}{more}",
            self.host(number),
            self.daemon()
        )
    }
}

/// One connection to the daemon.
pub(crate) struct Peer {
    stream: TcpStream,
    unread: Vec<u8>,
    wire: WireFormat,
    /// What its OPENs offer beside families, refresh and AS number.
    offers: Vec<Capability>,
    /// The daemon's OPEN.
    pub(crate) open: Option<Open>,
    /// The body of the last UPDATE, without End-of-RIB markers.
    pub(crate) last_update: Vec<u8>,
    /// What is held: prefix to communities.
    pub(crate) table: BTreeMap<String, Vec<u32>>,
    /// Prefixes that were ever withdrawn.
    pub(crate) withdrawn: BTreeSet<String>,
    /// UPDATEs, without End-of-RIB markers.
    pub(crate) updates: usize,
    /// Families whose End-of-RIB came.
    pub(crate) end_of_rib: FamilySet,
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With a NOTIFICATION.
    Notification(Notification),
    /// Without.
    Closed,
}

impl Peer {
    /// Connects from the address of `number`, and says nothing.
    pub(crate) fn connect(addresses: Addresses, number: u8) -> Peer {
        Peer::connect_by(addresses, number, |_| Ok(()))
    }

    /// The same by a socket that is `prepared`.
    pub(crate) fn connect_by(
        addresses: Addresses,
        number: u8,
        prepared: impl Fn(&Socket) -> std::io::Result<()>,
    ) -> Peer {
        let to = SocketAddr::from((addresses.daemon(), addresses.port));
        let from = SocketAddr::from((addresses.host(number), 0));
        let stream = eventually(&format!("{to} accepts {from}"), || {
            let connect = || {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
                prepared(&socket)?;
                socket.bind(&from.into())?;
                socket.connect(&to.into())?;
                Ok::<TcpStream, std::io::Error>(socket.into())
            };
            connect().map_err(|error| error.to_string())
        });
        stream
            .set_read_timeout(Some(Duration::from_millis(100)))
            .expect("a read timeout can be set");
        Peer {
            stream,
            unread: Vec::new(),
            offers: Vec::new(),
            wire: WireFormat {
                families: FamilySet::ALL,
                peer: PeerKind::External,
                ..WireFormat::default()
            },
            open: None,
            last_update: Vec::new(),
            table: BTreeMap::new(),
            withdrawn: BTreeSet::new(),
            updates: 0,
            end_of_rib: FamilySet::NONE,
        }
    }

    /// Connects and brings the session up.
    pub(crate) fn establish(addresses: Addresses, number: u8) -> Peer {
        Peer::establish_with(addresses, number, 90)
    }

    /// Connects and brings the session up with a hold time of one's own.
    pub(crate) fn establish_with(addresses: Addresses, number: u8, hold_time: u16) -> Peer {
        Peer::establish_in(PEER_ASN, addresses, number, hold_time)
    }

    /// Connects and brings the session up as a peer in the daemon's own AS.
    pub(crate) fn establish_internal(addresses: Addresses, number: u8) -> Peer {
        Peer::establish_in(RINGBGP_ASN, addresses, number, 90)
    }

    /// The same as [`Peer::establish`], with more capabilities in its OPEN.
    pub(crate) fn establish_offering(
        addresses: Addresses,
        number: u8,
        offers: &[Capability],
    ) -> Peer {
        eventually("a scripted session stands", || {
            let mut peer = Peer::connect(addresses, number);
            peer.offer(offers);
            peer.send_open(PEER_ASN, addresses.host(number), 90);
            match peer.finish_open() {
                Ok(()) => Ok(peer),
                Err(end) => Err(format!("{end:?}")),
            }
        })
    }

    /// Connects and brings the session up as a peer in an AS of one's own. The daemon may still be
    /// about to learn of its neighbor, so a refusal is tried again.
    pub(crate) fn establish_in(asn: u32, addresses: Addresses, number: u8, hold_time: u16) -> Peer {
        eventually("a scripted session stands", || {
            let mut peer = Peer::connect(addresses, number);
            if asn == RINGBGP_ASN {
                peer.wire.peer = PeerKind::Internal;
            }
            peer.send_open(asn, addresses.host(number), hold_time);
            match peer.finish_open() {
                Ok(()) => Ok(peer),
                Err(end) => Err(format!("{end:?}")),
            }
        })
    }

    /// The connection, and what was read from it ahead, for a test that goes on by itself.
    pub(crate) fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.unread)
    }

    /// What its OPENs offer from now on, beside families, refresh and AS number.
    pub(crate) fn offer(&mut self, offers: &[Capability]) {
        self.offers = offers.to_vec();
    }

    /// Sends octets as they are.
    pub(crate) fn send(&mut self, octets: &[u8]) {
        // A daemon that has hung up is found out when its last words are read.
        let _ = self.stream.write_all(octets);
    }

    /// Sends an OPEN for both families.
    pub(crate) fn send_open(&mut self, asn: u32, identifier: Ipv4Addr, hold_time: u16) {
        self.send_open_with(asn, identifier, hold_time, true);
    }

    /// Sends an OPEN for both families, with or without four-octet AS numbers.
    pub(crate) fn send_open_with(
        &mut self,
        asn: u32,
        identifier: Ipv4Addr,
        hold_time: u16,
        four_octet_as: bool,
    ) {
        self.wire.four_octet_as = four_octet_as;
        let mut capabilities: Vec<Capability> = Family::ALL
            .iter()
            .map(|family| Capability::Multiprotocol {
                afi: family.afi(),
                safi: family.safi(),
            })
            .collect();
        capabilities.push(Capability::RouteRefresh);
        if four_octet_as {
            capabilities.push(Capability::FourOctetAs(asn));
        }
        capabilities.extend(self.offers.iter().cloned());
        let open = Open {
            version: 4,
            asn,
            hold_time,
            identifier,
            capabilities,
        };
        let mut octets = Vec::new();
        codec::encode_open(&open, &mut octets);
        self.send(&octets);
    }

    /// Sends a KEEPALIVE.
    pub(crate) fn send_keepalive(&mut self) {
        let mut octets = Vec::new();
        codec::encode_keepalive(&mut octets);
        self.send(&octets);
    }

    /// Announces an IPv4 prefix.
    pub(crate) fn announce(&mut self, prefix: &str) {
        let (mut attributes, mut octets) = (Vec::new(), Vec::new());
        let mut writer = AttributeWriter::new(&mut attributes);
        writer.origin(Origin::Igp);
        writer.as_path(&AsPath::default(), &[PEER_ASN], true);
        writer.next_hop(Ipv4Addr::new(192, 0, 2, 10));
        codec::encode_update(&attributes, &nlri(prefix), &mut octets);
        self.send(&octets);
    }

    /// Withdraws an IPv4 prefix.
    pub(crate) fn withdraw(&mut self, prefix: &str) {
        let mut octets = Vec::new();
        codec::encode_withdraw(Family::Ipv4Unicast, &nlri(prefix), &mut octets);
        self.send(&octets);
    }

    /// Asks for the routes of a family again.
    pub(crate) fn send_refresh(&mut self, family: Family) {
        let refresh = RouteRefresh {
            afi: family.afi(),
            safi: family.safi(),
            subtype: 0,
        };
        let mut octets = Vec::new();
        codec::encode_route_refresh(&refresh, &mut octets);
        self.send(&octets);
    }

    /// After an OPEN: waits for the daemon's KEEPALIVE and answers it.
    pub(crate) fn wait_established(&mut self) {
        if let Err(end) = self.finish_open() {
            panic!("the session ended with {end:?}");
        }
    }

    fn finish_open(&mut self) -> Result<(), End> {
        self.read_until(|message| matches!(message, Message::Keepalive))?;
        self.send_keepalive();
        Ok(())
    }

    /// Reads what has come; how the connection ended, if it has.
    pub(crate) fn poll_end(&mut self) -> Option<End> {
        self.read_message().err()
    }

    /// Reads until the table is as wanted.
    pub(crate) fn wait_for(&mut self, what: &str, wanted: impl Fn(&Peer) -> bool) {
        eventually(what, || {
            if wanted(self) {
                return Ok(());
            }
            match self.read_message() {
                Ok(_) => Err(format!("it holds {:?}", self.table.keys())),
                Err(end) => panic!("{what}: the session ended with {end:?}"),
            }
        });
    }

    /// Reads until exactly these prefixes are held.
    pub(crate) fn wait_for_prefixes(&mut self, prefixes: &[&str]) {
        let wanted: BTreeSet<&str> = prefixes.iter().copied().collect();
        self.wait_for(&format!("the peer holds {wanted:?}"), |peer| {
            peer.table
                .keys()
                .map(String::as_str)
                .eq(wanted.iter().copied())
        });
    }

    /// Reads on until the connection ends.
    pub(crate) fn wait_for_end(&mut self) -> End {
        eventually("the connection ends", || match self.read_message() {
            Ok(_) => Err("it stands".to_owned()),
            Err(end) => Ok(end),
        })
    }

    fn read_until(&mut self, wanted: impl Fn(&Message<'_>) -> bool) -> Result<(), End> {
        let start = engine::time::Clock::system();
        let from = start.now();
        while start.now().saturating_since(from) < DEADLINE {
            if let Some(message) = self.read_message()?
                && codec::parse_message(&message).is_ok_and(|message| wanted(&message))
            {
                return Ok(());
            }
        }
        panic!("the peer was not told what it waited for");
    }

    /// The next message, taken into account; `None` if none came for a moment.
    fn read_message(&mut self) -> Result<Option<Vec<u8>>, End> {
        loop {
            let framed = codec::frame(&self.unread, codec::MAX_LEN);
            if let Some(length) = framed.expect("the daemon frames its messages") {
                let message: Vec<u8> = self.unread.drain(..length).collect();
                self.take(&message)?;
                return Ok(Some(message));
            }
            let mut buffer = [0; 65536];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(End::Closed),
                Ok(octets) => self.unread.extend_from_slice(&buffer[..octets]),
                Err(error) if is_timeout(&error) => return Ok(None),
                Err(_) => return Err(End::Closed),
            }
        }
    }

    fn take(&mut self, message: &[u8]) -> Result<(), End> {
        match codec::parse_message(message).expect("the daemon sends good messages") {
            Message::Notification(notification) => Err(End::Notification(notification)),
            Message::Open(open) => {
                self.open = Some(open);
                Ok(())
            }
            Message::Update(body) => {
                self.take_update(body);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn take_update(&mut self, body: &[u8]) {
        let update = codec::parse_update(body, &self.wire).expect("the daemon sends good UPDATEs");
        assert!(update.faults.is_empty(), "{:?}", update.faults);
        if let Some(family) = update.end_of_rib() {
            self.end_of_rib.insert(family);
            return;
        }
        self.updates += 1;
        self.last_update = body.to_vec();
        let withdrawn = update.mp_withdrawn.iter().flat_map(|mp| mp.nlri.iter());
        for (_, prefix) in update.withdrawn.iter().chain(withdrawn) {
            self.table.remove(&prefix.to_string());
            self.withdrawn.insert(prefix.to_string());
        }
        for (field, nlri) in [
            (NlriField::Plain, Some(update.announced)),
            (NlriField::MpReach, update.mp_announced.map(|mp| mp.nlri)),
        ] {
            let mut canonical = Vec::new();
            update.canonical(field, &mut canonical);
            let communities: Vec<u32> = AttributeSet::new(&canonical).communities().collect();
            for (_, prefix) in nlri.iter().flat_map(|nlri| nlri.iter()) {
                self.table.insert(prefix.to_string(), communities.clone());
            }
        }
    }
}

/// A prefix as it stands in an UPDATE.
pub(crate) fn nlri(prefix: &str) -> Vec<u8> {
    let mut nlri = Vec::new();
    match engine::model::parse_prefix(prefix).expect("a prefix") {
        IpPrefix::V4(prefix) => codec::encode_nlri(prefix, None, &mut nlri),
        IpPrefix::V6(prefix) => panic!("{prefix} is not of IPv4"),
    }
    nlri
}

fn is_timeout(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}
