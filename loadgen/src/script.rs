//! What a router says, encoded before it is said: pieces of whole messages, ready for large writes.

use std::sync::Arc;

use bytes::Bytes;
use codec::{Family, IpPrefix, NextHop};

/// Octets ready to be written: each piece holds whole messages.
pub(crate) type Pieces = Arc<[Bytes]>;

/// Writes messages of one family, one after the other.
pub(crate) struct Script {
    family: Family,
    pieces: Vec<Bytes>,
    piece: Vec<u8>,
    nlri: Vec<u8>,
}

impl Script {
    /// Nothing said yet.
    pub(crate) fn new(family: Family) -> Script {
        Script {
            family,
            pieces: Vec::new(),
            piece: Vec::new(),
            nlri: Vec::new(),
        }
    }

    /// Announces prefixes with one attribute set, in as few UPDATEs as they fit. `attributes` as on
    /// the wire: with NEXT_HOP for IPv4, without for IPv6.
    pub(crate) fn announce(
        &mut self,
        attributes: &[u8],
        next_hop: &NextHop,
        prefixes: impl IntoIterator<Item = IpPrefix>,
    ) {
        let room = match self.family {
            Family::Ipv4Unicast => codec::update_room(codec::MAX_LEN, attributes.len()),
            Family::Ipv6Unicast => {
                codec::mp_update_room(codec::MAX_LEN, next_hop, attributes.len())
            }
        };
        let family = self.family;
        self.fill(room, prefixes, |nlri, out| match family {
            Family::Ipv4Unicast => codec::encode_update(attributes, nlri, out),
            Family::Ipv6Unicast => {
                codec::encode_mp_update(family, next_hop, attributes, nlri, out);
            }
        });
    }

    /// Withdraws prefixes, in full messages.
    pub(crate) fn withdraw(&mut self, prefixes: impl IntoIterator<Item = IpPrefix>) {
        let family = self.family;
        let room = codec::withdraw_room(codec::MAX_LEN, family);
        self.fill(room, prefixes, |nlri, out| {
            codec::encode_withdraw(family, nlri, out);
        });
    }

    /// The End-of-RIB marker.
    pub(crate) fn end_of_rib(&mut self) {
        codec::encode_end_of_rib(self.family, &mut self.piece);
    }

    /// Ends a piece here, so that what follows can be said at another time.
    pub(crate) fn cut(&mut self) {
        if !self.piece.is_empty() {
            self.pieces
                .push(Bytes::from(std::mem::take(&mut self.piece)));
        }
    }

    /// All that was said.
    pub(crate) fn finish(mut self) -> Pieces {
        self.cut();
        self.pieces.into()
    }

    fn fill(
        &mut self,
        room: usize,
        prefixes: impl IntoIterator<Item = IpPrefix>,
        encode: impl Fn(&[u8], &mut Vec<u8>),
    ) {
        self.nlri.clear();
        for prefix in prefixes {
            if self.nlri.len() + NLRI_OCTETS_MAX > room {
                encode(&self.nlri, &mut self.piece);
                self.nlri.clear();
            }
            match prefix {
                IpPrefix::V4(prefix) => codec::encode_nlri(prefix, None, &mut self.nlri),
                IpPrefix::V6(prefix) => codec::encode_nlri(prefix, None, &mut self.nlri),
            }
        }
        if !self.nlri.is_empty() {
            encode(&self.nlri, &mut self.piece);
        }
        if self.piece.len() >= PIECE_OCTETS {
            self.cut();
        }
    }
}

/// A piece is closed with the message that brings it past this: what one write takes at most.
const PIECE_OCTETS: usize = 256 * 1024;
/// The longest prefix on the wire: its length and 16 octets.
const NLRI_OCTETS_MAX: usize = 17;
