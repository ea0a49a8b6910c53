//! The BGP session of one simulated router on one connection, as a value: octets in, octets out,
//! time as an argument, no socket. Deliberately not the engine's session.
//!
//! Read first: RFC 4271 §4 and §8 (only the part from OpenSent on: a connection exists already),
//! RFC 5492, RFC 6793.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use codec::{Capability, Family, FamilySet, Message, Notification, Open, PeerKind, WireFormat};

/// What a simulated router says about itself.
#[derive(Clone, Debug)]
pub(crate) struct SpeakerConfig {
    /// Its AS number.
    pub(crate) asn: u32,
    /// The AS number that its peer must have; `None`: any.
    pub(crate) peer_asn: Option<u32>,
    /// Its BGP identifier.
    pub(crate) router_id: Ipv4Addr,
    /// The families that it offers.
    pub(crate) families: FamilySet,
    /// The hold time that it offers, in seconds.
    pub(crate) hold_time: u16,
}

/// One connection's session.
pub(crate) struct Speaker {
    config: SpeakerConfig,
    state: State,
    /// A message that has not come in whole yet.
    partial: Vec<u8>,
    /// Whole messages to write, in order.
    queue: VecDeque<Bytes>,
    heard_at: Instant,
    said_at: Instant,
}

/// RFC 4271 §8.2.2, from the point where a connection exists.
enum State {
    OpenSent,
    OpenConfirm(Agreed),
    Established(Agreed),
    Closing,
}

/// What the two OPENs came to.
#[derive(Clone, Debug)]
pub(crate) struct Agreed {
    /// How UPDATEs read and write.
    pub(crate) wire: WireFormat,
    /// The peer's BGP identifier.
    pub(crate) peer_id: Ipv4Addr,
    /// The lower of the two hold times; `None`: neither KEEPALIVEs nor a hold timer.
    pub(crate) hold_time: Option<Duration>,
}

/// What came out of the octets that were handed in.
pub(crate) enum Event<'a> {
    /// The peer's OPEN is accepted: the moment for collision detection (RFC 4271 §6.8).
    Opened(&'a Agreed),
    /// The session stands.
    Established,
    /// The body of an UPDATE and the length of its whole message.
    Update(&'a WireFormat, &'a [u8], usize),
}

/// Why a session is over. What is still queued should be written before the close.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Over {
    /// In words.
    pub(crate) words: String,
    /// One side refuses the other's OPEN: to dial again is of no use.
    pub(crate) is_refusal: bool,
}

impl Over {
    /// An end that says nothing about the next try.
    pub(crate) fn new(words: impl Into<String>) -> Over {
        Over {
            words: words.into(),
            is_refusal: false,
        }
    }
}

impl Speaker {
    /// A session on a connection that has just come up; the OPEN is queued.
    pub(crate) fn new(config: SpeakerConfig, now: Instant) -> Speaker {
        let mut capabilities: Vec<Capability> = config
            .families
            .iter()
            .map(|family| Capability::Multiprotocol {
                afi: family.afi(),
                safi: family.safi(),
            })
            .collect();
        capabilities.push(Capability::RouteRefresh);
        capabilities.push(Capability::FourOctetAs(config.asn));
        let open = Open {
            version: 4,
            asn: config.asn,
            hold_time: config.hold_time,
            identifier: config.router_id,
            capabilities,
        };
        let mut octets = Vec::new();
        codec::encode_open(&open, &mut octets);
        Speaker {
            config,
            state: State::OpenSent,
            partial: Vec::new(),
            queue: VecDeque::from([Bytes::from(octets)]),
            heard_at: now,
            said_at: now,
        }
    }

    /// Takes octets from the peer and reports what they meant, message by message.
    pub(crate) fn receive(
        &mut self,
        octets: &[u8],
        now: Instant,
        mut report: impl FnMut(Event<'_>),
    ) -> Result<(), Over> {
        let mut partial = std::mem::take(&mut self.partial);
        let rest = if partial.is_empty() {
            octets
        } else {
            partial.extend_from_slice(octets);
            partial.as_slice()
        };
        let taken = self.receive_messages(rest, now, &mut report)?;
        let rest = &rest[taken..];
        self.partial = rest.to_vec();
        Ok(())
    }

    /// Takes the whole messages that `octets` begins with; returns how many octets they were. The
    /// caller keeps the rest, and hands it in again with what follows it.
    pub(crate) fn receive_messages(
        &mut self,
        octets: &[u8],
        now: Instant,
        report: &mut impl FnMut(Event<'_>),
    ) -> Result<usize, Over> {
        self.heard_at = now;
        let mut taken = 0;
        loop {
            let rest = &octets[taken..];
            let framed =
                codec::frame(rest, codec::MAX_LEN).map_err(|fault| self.refuse(&fault, now))?;
            let Some(length) = framed else {
                return Ok(taken);
            };
            taken += length;
            self.receive_message(&rest[..length], now, report)?;
        }
    }

    fn receive_message(
        &mut self,
        octets: &[u8],
        now: Instant,
        report: &mut impl FnMut(Event<'_>),
    ) -> Result<(), Over> {
        let message = codec::parse_message(octets).map_err(|fault| self.refuse(&fault, now))?;
        match (message, &self.state) {
            (Message::Notification(notification), _) => {
                self.state = State::Closing;
                Err(Over {
                    words: format!("the peer sent {notification}"),
                    is_refusal: notification.code == codec::notification::OPEN,
                })
            }
            (Message::Open(open), State::OpenSent) => {
                let agreed = self
                    .agree(&open)
                    .map_err(|fault| self.refuse(&fault, now))?;
                self.say_keepalive(now);
                report(Event::Opened(&agreed));
                self.state = State::OpenConfirm(agreed);
                Ok(())
            }
            (Message::Keepalive, State::OpenConfirm(agreed)) => {
                report(Event::Established);
                self.state = State::Established(agreed.clone());
                Ok(())
            }
            (Message::Update(body), State::Established(agreed)) => {
                report(Event::Update(&agreed.wire, body, octets.len()));
                Ok(())
            }
            (Message::Keepalive | Message::RouteRefresh(_), State::Established(_))
            | (_, State::Closing) => Ok(()),
            // RFC 6608: FSM error.
            _ => Err(self.refuse(&Notification::new(5, 0), now)),
        }
    }

    fn agree(&self, open: &Open) -> Result<Agreed, Notification> {
        if self.config.peer_asn.is_some_and(|asn| asn != open.asn) {
            return Err(Notification::new(2, 2)); // RFC 4271 §6.2: Bad Peer AS
        }
        let offers = |wanted: &dyn Fn(&Capability) -> bool| open.capabilities.iter().any(wanted);
        // Tables are encoded before any session comes up, with four-octet AS numbers.
        if !offers(&|c| matches!(c, Capability::FourOctetAs(_))) {
            return Err(Notification::new(2, 7)); // RFC 5492 §5: Unsupported Capability
        }
        let multiprotocol = offers(&|c| matches!(c, Capability::Multiprotocol { .. }));
        let mut families = FamilySet::NONE;
        for family in self.config.families.iter() {
            let offered = offers(&|c| {
                matches!(c, Capability::Multiprotocol { afi, safi }
                    if (*afi, *safi) == (family.afi(), family.safi()))
            });
            // RFC 4760 §8: who offers no family speaks IPv4 unicast.
            if offered || (!multiprotocol && family == Family::Ipv4Unicast) {
                families.insert(family);
            }
        }
        let hold_time = self.config.hold_time.min(open.hold_time);
        Ok(Agreed {
            wire: WireFormat {
                families,
                peer: if open.asn == self.config.asn {
                    PeerKind::Internal
                } else {
                    PeerKind::External
                },
                ..WireFormat::default()
            },
            peer_id: open.identifier,
            hold_time: (hold_time > 0).then(|| Duration::from_secs(hold_time.into())),
        })
    }

    /// Whether the session stands.
    pub(crate) fn agreed(&self) -> Option<&Agreed> {
        match &self.state {
            State::Established(agreed) => Some(agreed),
            _ => None,
        }
    }

    /// Queues a KEEPALIVE if one is due; an error once the hold time has passed in silence.
    pub(crate) fn handle_time(&mut self, now: Instant) -> Result<(), Over> {
        let (State::OpenConfirm(agreed) | State::Established(agreed)) = &self.state else {
            return Ok(());
        };
        let Some(hold_time) = agreed.hold_time else {
            return Ok(());
        };
        if now.duration_since(self.heard_at) > hold_time {
            return Err(self.refuse(&Notification::new(4, 0), now));
        }
        if now.duration_since(self.said_at) > hold_time / 3 {
            self.say_keepalive(now);
        }
        Ok(())
    }

    /// Queues a NOTIFICATION and ends the session.
    pub(crate) fn refuse(&mut self, fault: &Notification, now: Instant) -> Over {
        let mut octets = Vec::new();
        codec::encode_notification(fault, &mut octets);
        self.say(octets.into(), now);
        self.state = State::Closing;
        Over {
            words: format!("sent {fault}"),
            is_refusal: fault.code == codec::notification::OPEN,
        }
    }

    /// Something came that is not looked at: the peer lives.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.heard_at = now;
    }

    /// Whole messages went out past the queue.
    pub(crate) fn said(&mut self, now: Instant) {
        self.said_at = now;
    }

    /// Queues whole messages.
    pub(crate) fn say(&mut self, messages: Bytes, now: Instant) {
        self.queue.push_back(messages);
        self.said_at = now;
    }

    /// What is to be written next.
    pub(crate) fn next_write(&self) -> Option<&[u8]> {
        self.queue.front().map(Bytes::as_ref)
    }

    /// The first `octets` of what is queued have been written.
    pub(crate) fn written(&mut self, octets: usize) {
        if let Some(front) = self.queue.front_mut() {
            let _ = front.split_to(octets.min(front.len()));
            if front.is_empty() {
                self.queue.pop_front();
            }
        }
    }

    fn say_keepalive(&mut self, now: Instant) {
        let mut octets = Vec::new();
        codec::encode_keepalive(&mut octets);
        self.say(octets.into(), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn config(asn: u32, peer_asn: Option<u32>) -> SpeakerConfig {
        SpeakerConfig {
            asn,
            peer_asn,
            router_id: Ipv4Addr::from(asn),
            families: FamilySet::ALL,
            hold_time: 90,
        }
    }

    /// Moves what `from` has to say to `to`, `chunk` octets at a time.
    fn carry(from: &mut Speaker, to: &mut Speaker, chunk: usize, now: Instant) -> Result<(), Over> {
        while let Some(octets) = from.next_write() {
            let octets = octets[..chunk.min(octets.len())].to_vec();
            from.written(octets.len());
            to.receive(&octets, now, |_| {})?;
        }
        Ok(())
    }

    #[test]
    fn two_speakers_come_up_whatever_the_chunks() {
        for chunk in [1, 7, 4096] {
            let now = clock::now();
            let mut a = Speaker::new(config(65001, Some(65002)), now);
            let mut b = Speaker::new(config(65002, None), now);
            for _ in 0..2 {
                carry(&mut a, &mut b, chunk, now).unwrap();
                carry(&mut b, &mut a, chunk, now).unwrap();
            }
            let agreed = a.agreed().expect("a is up");
            assert_eq!(agreed.wire.families, FamilySet::ALL);
            assert_eq!(agreed.wire.peer, PeerKind::External);
            assert_eq!(agreed.peer_id, Ipv4Addr::from(65002));
            assert!(b.agreed().is_some());
        }
    }

    #[test]
    fn a_wrong_as_is_refused_in_words() {
        let now = clock::now();
        let mut a = Speaker::new(config(65001, Some(65009)), now);
        let mut b = Speaker::new(config(65002, None), now);
        let over = carry(&mut b, &mut a, 4096, now).unwrap_err();
        assert!(
            over.is_refusal && over.words.contains("Bad Peer AS"),
            "{over:?}"
        );
    }

    #[test]
    fn silence_past_the_hold_time_ends_the_session() {
        let now = clock::now();
        let mut a = Speaker::new(config(65001, None), now);
        let mut b = Speaker::new(config(65002, None), now);
        for _ in 0..2 {
            carry(&mut a, &mut b, 4096, now).unwrap();
            carry(&mut b, &mut a, 4096, now).unwrap();
        }
        a.handle_time(now + Duration::from_secs(31)).unwrap();
        assert!(a.next_write().is_some(), "a KEEPALIVE is due");
        assert!(a.handle_time(now + Duration::from_secs(91)).is_err());
    }
}
