//! A small reader of MRT dumps (RFC 6396, RFC 8050): just what the tests need.

use codec::{Family, FamilySet, PeerKind, WireFormat};

/// A BGP message of a dump, header included, and how to read it.
#[derive(Debug)]
pub(crate) struct Recorded<'a> {
    pub(crate) format: WireFormat,
    pub(crate) message: &'a [u8],
}

/// A route of a table dump.
#[derive(Debug)]
pub(crate) struct RibEntry<'a> {
    pub(crate) family: Family,
    /// Length octet and prefix as in NLRI.
    pub(crate) prefix: Vec<u8>,
    pub(crate) four_octet_as: bool,
    pub(crate) attributes: &'a [u8],
}

/// What a dump holds.
#[derive(Debug)]
pub(crate) enum Record<'a> {
    Message(Recorded<'a>),
    Route(RibEntry<'a>),
}

/// Calls `visit` for every message and route of a dump; other records are skipped.
pub(crate) fn walk<'a>(dump: &'a [u8], visit: &mut dyn FnMut(Record<'a>)) {
    let mut dump = Octets(dump);
    while !dump.0.is_empty() {
        dump.take(4);
        let (kind, subtype) = (dump.u16(), dump.u16());
        let length = dump.u32() as usize;
        let mut body = Octets(dump.take(length));
        match (kind, subtype) {
            (12, 1) => old_table_entry(body, Family::Ipv4Unicast, visit),
            (12, 2) => old_table_entry(body, Family::Ipv6Unicast, visit),
            (13, 2) => table_entries(body, Family::Ipv4Unicast, false, visit),
            (13, 4) => table_entries(body, Family::Ipv6Unicast, false, visit),
            (13, 8) => table_entries(body, Family::Ipv4Unicast, true, visit),
            (13, 10) => table_entries(body, Family::Ipv6Unicast, true, visit),
            (16, _) => message(body, subtype, visit),
            (17, _) => {
                body.take(4);
                message(body, subtype, visit);
            }
            _ => {}
        }
    }
}

fn message<'a>(mut body: Octets<'a>, subtype: u16, visit: &mut dyn FnMut(Record<'a>)) {
    let (four_octet_as, add_path) = match subtype {
        1 | 6 => (false, false),
        4 | 7 => (true, false),
        8 | 10 => (false, true),
        9 | 11 => (true, true),
        _ => return,
    };
    let mut asn = || {
        if four_octet_as {
            body.u32()
        } else {
            u32::from(body.u16())
        }
    };
    let internal = asn() == asn();
    body.take(2);
    let address_len = if body.u16() == 1 { 4 } else { 16 };
    body.take(2 * address_len);
    let add_path = if add_path {
        FamilySet::ALL
    } else {
        FamilySet::NONE
    };
    visit(Record::Message(Recorded {
        format: WireFormat {
            four_octet_as,
            add_path_receive: add_path,
            add_path_send: add_path,
            extended_messages: true,
            extended_next_hop: true,
            families: FamilySet::ALL,
            peer: if internal {
                PeerKind::Internal
            } else {
                PeerKind::External
            },
        },
        message: body.0,
    }));
}

fn table_entries<'a>(
    mut body: Octets<'a>,
    family: Family,
    add_path: bool,
    visit: &mut dyn FnMut(Record<'a>),
) {
    body.take(4);
    let length = body.u8();
    let mut prefix = vec![length];
    prefix.extend_from_slice(body.take(usize::from(length).div_ceil(8)));
    for _ in 0..body.u16() {
        body.take(6);
        if add_path {
            body.take(4);
        }
        let length = usize::from(body.u16());
        visit(Record::Route(RibEntry {
            family,
            prefix: prefix.clone(),
            four_octet_as: true,
            attributes: body.take(length),
        }));
    }
}

fn old_table_entry<'a>(mut body: Octets<'a>, family: Family, visit: &mut dyn FnMut(Record<'a>)) {
    let address_len = if family == Family::Ipv4Unicast { 4 } else { 16 };
    body.take(4);
    let address = body.take(address_len);
    let length = body.u8();
    let mut prefix = vec![length];
    prefix.extend_from_slice(&address[..usize::from(length).div_ceil(8)]);
    body.take(5 + address_len + 2);
    let length = usize::from(body.u16());
    visit(Record::Route(RibEntry {
        family,
        prefix,
        four_octet_as: false,
        attributes: body.take(length),
    }));
}

/// Trusts the dump: panics where it is cut short.
struct Octets<'a>(&'a [u8]);

impl<'a> Octets<'a> {
    fn take(&mut self, octets: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(octets);
        self.0 = rest;
        head
    }

    fn u8(&mut self) -> u8 {
        self.take(1)[0]
    }

    fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.take(2).try_into().unwrap())
    }

    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.take(4).try_into().unwrap())
    }
}
