//! What peers are told, for whoever watches: read out of the messages that groups hand out, so that it
//! is what left for the peer, and nothing of it is worked out twice.
//!
//! Invariant: without a watch nothing is kept; with one at most as many messages of a turn as may wait
//! for a reader. Messages that a group hands to many members are read once.

use ahash::AHashMap;
use bytes::Bytes;
use codec::{Message, WireFormat};

use super::Shard;
use super::watch::WAITING_MAX;
use crate::group::MemberId;

/// What groups handed out since it was last looked at.
#[derive(Default)]
pub(super) struct Told {
    /// Somebody watches.
    pub(super) watched: bool,
    messages: Vec<(Bytes, Vec<MemberId>)>,
    /// Places in `messages`, by where the octets are: those stay as long as they are held.
    known: AHashMap<(usize, usize), usize>,
    lost: u64,
}

impl Told {
    /// Messages on their way to a member.
    #[inline]
    pub(super) fn note(&mut self, member: MemberId, messages: &Bytes) {
        if self.watched {
            self.keep(member, messages);
        }
    }

    fn keep(&mut self, member: MemberId, messages: &Bytes) {
        let place = (messages.as_ptr() as usize, messages.len());
        if let Some(known) = self.known.get(&place) {
            return self.messages[*known].1.push(member);
        }
        if self.messages.len() == WAITING_MAX {
            self.lost += 1;
            return;
        }
        self.known.insert(place, self.messages.len());
        self.messages.push((messages.clone(), vec![member]));
    }
}

impl Shard {
    /// Tells whoever watches what peers were told in this turn.
    pub(super) fn show_told(&mut self) {
        if self.told.messages.is_empty() {
            return;
        }
        let told = std::mem::take(&mut self.told);
        self.told.watched = told.watched;
        self.watches.lose(told.lost);
        for (messages, members) in told.messages {
            let peers: Vec<_> = members
                .iter()
                .filter_map(|member| self.peers.get(*member))
                .collect();
            let Some(first) = peers.first() else {
                continue;
            };
            let (Some(established), Some(instance)) =
                (&first.established, self.instances.get(&first.instance))
            else {
                continue;
            };
            // What one end sends the other receives.
            let sent = &established.negotiated.wire;
            let wire = WireFormat {
                add_path_receive: sent.add_path_send,
                ..*sent
            };
            let addresses: Vec<_> = peers.iter().map(|peer| peer.neighbor.address).collect();
            let mut rest = &messages[..];
            while let Ok(Some(length)) = codec::frame(rest, codec::MAX_EXTENDED_LEN) {
                let (message, more) = rest.split_at(length);
                rest = more;
                if let Ok(Message::Update(body)) = codec::parse_message(message) {
                    self.watches.told(instance.name(), &addresses, &wire, body);
                }
            }
        }
    }
}
