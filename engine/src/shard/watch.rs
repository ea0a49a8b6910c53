//! What happens, for whoever watches: changes of sessions, what peers announce and withdraw and what
//! becomes of that, what goes without their saying so, own routes, and what peers are told.
//!
//! A watch is a bounded queue between the shards and one reader. A shard never waits for it: what
//! finds no room is lost, counted, and not even read. Nobody watching costs one look at an empty
//! list for each UPDATE, none for a route. Invariant: a watch whose reader is gone is dropped with
//! the next thing that happens.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use codec::{IpPrefix, NlriField, WireFormat};
use rib::AttributeId;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::config::{OriginChange, PeerAddress};
use crate::model::PeerState;

/// Events that may wait for a reader; an UPDATE is one.
pub(super) const WAITING_MAX: usize = 256;

/// Prefixes of one event that is not about an UPDATE.
const PREFIXES_MAX: usize = 1024;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A session entered another state.
    Session {
        /// The instance's name.
        instance: Arc<str>,
        /// The peer.
        peer: PeerAddress,
        /// The state before.
        from: PeerState,
        /// The state now.
        to: PeerState,
        /// What ended, was refused or could not be had, if that is why.
        reason: Option<String>,
    },
    /// An UPDATE of a peer, a change of own routes, or something else that routes came to.
    Routes {
        /// The instance's name.
        instance: Arc<str>,
        /// None: own routes.
        peer: Option<PeerAddress>,
        /// What goes.
        withdrawn: Box<[IpPrefix]>,
        /// What comes or changes.
        announced: Box<[(IpPrefix, Standing)]>,
        /// The attributes of what is announced, in canonical form.
        attributes: Bytes,
        /// Nobody announced it: it was judged anew, by other policies, filters, own routes or VRPs.
        judged: bool,
    },
    /// An UPDATE on its way to peers.
    Told {
        /// The instance's name.
        instance: Arc<str>,
        /// Which of them, as far as the watch is of them.
        peers: Box<[PeerAddress]>,
        /// What goes.
        withdrawn: Box<[IpPrefix]>,
        /// What comes or changes.
        announced: Box<[IpPrefix]>,
        /// The attributes of what is announced as they are told, in canonical form.
        attributes: Bytes,
    },
}

/// What became of a path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// It may be used.
    pub accepted: bool,
    /// Why not, if not.
    pub rejected_by: Option<Arc<str>>,
    /// It is the one that is used.
    pub best: bool,
}

impl Standing {
    /// Of an own route: it beats every learned one.
    const OWN: Standing = Standing {
        accepted: true,
        rejected_by: None,
        best: true,
    };
}

/// The shards' end of a watch.
#[derive(Clone, Debug)]
pub struct Watch {
    instance: Option<Arc<str>>,
    peer: Option<PeerAddress>,
    sender: Sender<Event>,
    lost: Arc<AtomicU64>,
}

/// The reader's end of a watch.
#[derive(Debug)]
pub struct Watched {
    receiver: Receiver<Event>,
    lost: Arc<AtomicU64>,
}

/// A watch of one instance or all, one peer or all and the own routes.
pub fn watch(instance: Option<Arc<str>>, peer: Option<PeerAddress>) -> (Watch, Watched) {
    let (sender, receiver) = channel(WAITING_MAX);
    let lost = Arc::new(AtomicU64::new(0));
    let watch = Watch {
        instance,
        peer,
        sender,
        lost: Arc::clone(&lost),
    };
    (watch, Watched { receiver, lost })
}

impl Watched {
    /// The next event, and how many were lost since the one before. None: the shards are gone.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(u64, Event)>> {
        let event = self.receiver.poll_recv(cx);
        // A count and nothing more: it may as well be told with the event after.
        event.map(|event| event.map(|event| (self.lost.swap(0, Ordering::Relaxed), event)))
    }
}

impl Watch {
    /// `peers`: whom it is about; none: nobody, or our own routes.
    fn wants(&self, instance: &str, peers: &[PeerAddress]) -> bool {
        self.instance
            .as_deref()
            .is_none_or(|wanted| wanted == instance)
            && self.peer.is_none_or(|wanted| peers.contains(&wanted))
    }

    /// The event as far as the watch is of it.
    fn share(&self, event: &Event) -> Event {
        let mut event = event.clone();
        if let (Event::Told { peers, .. }, Some(peer)) = (&mut event, self.peer) {
            *peers = [peer].into();
        }
        event
    }
}

/// The watches of a shard.
#[derive(Debug, Default)]
pub(super) struct Watches(Vec<Watch>);

impl Watches {
    pub(super) fn add(&mut self, watch: Watch) {
        self.0.retain(|known| !known.sender.is_closed());
        self.0.push(watch);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Tells everybody whom it concerns. It is only put together if somebody has room for it.
    fn tell(&mut self, instance: &str, peers: &[PeerAddress], event: impl FnOnce() -> Vec<Event>) {
        let mut event = Some(event);
        let mut made: Vec<Event> = Vec::new();
        self.0.retain(|watch| {
            if !watch.wants(instance, peers) {
                return true;
            }
            if watch.sender.capacity() == 0 {
                watch.lost.fetch_add(1, Ordering::Relaxed);
                return !watch.sender.is_closed();
            }
            if let Some(make) = event.take() {
                made = make();
            }
            made.iter()
                .all(|event| match watch.sender.try_send(watch.share(event)) {
                    Ok(()) => true,
                    Err(TrySendError::Full(_)) => {
                        watch.lost.fetch_add(1, Ordering::Relaxed);
                        true
                    }
                    Err(TrySendError::Closed(_)) => false,
                })
        });
    }

    pub(super) fn session(
        &mut self,
        instance: &str,
        peer: PeerAddress,
        (from, to): (PeerState, PeerState),
        reason: Option<String>,
    ) {
        self.tell(instance, &[peer], || {
            vec![Event::Session {
                instance: instance.into(),
                peer,
                from,
                to,
                reason,
            }]
        });
    }

    /// An UPDATE that was taken.
    pub(super) fn update(
        &mut self,
        instance: &str,
        peer: PeerAddress,
        wire: &WireFormat,
        body: &[u8],
        mut standing: impl FnMut(IpPrefix) -> Standing,
    ) {
        self.tell(instance, &[peer], || {
            let said = read(wire, body).into_iter();
            said.map(|said| Event::Routes {
                instance: instance.into(),
                peer: Some(peer),
                withdrawn: said.withdrawn.into(),
                announced: (said.announced.into_iter())
                    .map(|prefix| (prefix, standing(prefix)))
                    .collect(),
                attributes: said.attributes,
                judged: false,
            })
            .collect()
        });
    }

    /// Paths of a peer that were judged anew and came to something else, each with its attributes.
    pub(super) fn judged<'a>(
        &mut self,
        instance: &str,
        peer: PeerAddress,
        paths: &[(IpPrefix, AttributeId)],
        attributes: impl Fn(AttributeId) -> &'a [u8],
        mut standing: impl FnMut(IpPrefix) -> Standing,
    ) {
        let alike = paths.chunk_by(|(_, a), (_, b)| a == b);
        for paths in alike.flat_map(|paths| paths.chunks(PREFIXES_MAX)) {
            self.tell(instance, &[peer], || {
                let announced = paths.iter().map(|(prefix, _)| (*prefix, standing(*prefix)));
                let announced = announced.collect();
                let of = paths.first().map(|(_, of)| attributes(*of));
                vec![Event::Routes {
                    instance: instance.into(),
                    peer: Some(peer),
                    withdrawn: Box::default(),
                    announced,
                    attributes: Bytes::copy_from_slice(of.unwrap_or_default()),
                    judged: true,
                }]
            });
        }
    }

    /// Paths that went without their peers saying so.
    pub(super) fn gone(&mut self, instance: &str, gone: &[(PeerAddress, IpPrefix)]) {
        let alike = gone.chunk_by(|(a, _), (b, _)| a == b);
        for gone in alike.flat_map(|gone| gone.chunks(PREFIXES_MAX)) {
            let peer = gone.first().map(|(peer, _)| *peer);
            self.tell(instance, peer.as_slice(), || {
                vec![Event::Routes {
                    instance: instance.into(),
                    peer,
                    withdrawn: gone.iter().map(|(_, prefix)| *prefix).collect(),
                    announced: Box::default(),
                    attributes: Bytes::new(),
                    judged: false,
                }]
            });
        }
    }

    /// So many events were lost before they were looked at.
    pub(super) fn lose(&mut self, events: u64) {
        for watch in &self.0 {
            watch.lost.fetch_add(events, Ordering::Relaxed);
        }
    }

    /// An UPDATE on its way to peers; `wire`: as they read it.
    pub(super) fn told(
        &mut self,
        instance: &str,
        peers: &[PeerAddress],
        wire: &WireFormat,
        body: &[u8],
    ) {
        self.tell(instance, peers, || {
            let told = read(wire, body).into_iter();
            told.map(|said| Event::Told {
                instance: instance.into(),
                peers: peers.into(),
                withdrawn: said.withdrawn.into(),
                announced: said.announced.into(),
                attributes: said.attributes,
            })
            .collect()
        });
    }

    /// Own routes change.
    pub(super) fn own(&mut self, instance: &str, changes: &[OriginChange]) {
        let alike = changes.chunk_by(|a, b| a.attributes == b.attributes);
        for changes in alike.flat_map(|changes| changes.chunks(PREFIXES_MAX)) {
            self.tell(instance, &[], || {
                let prefixes = changes.iter().map(|change| change.prefix);
                let attributes = changes
                    .first()
                    .and_then(|change| change.attributes.as_ref());
                let own = |prefix| (prefix, Standing::OWN);
                let (withdrawn, announced) = match attributes {
                    Some(_) => (Box::default(), prefixes.map(own).collect()),
                    None => (prefixes.collect(), Box::default()),
                };
                vec![Event::Routes {
                    instance: instance.into(),
                    peer: None,
                    withdrawn,
                    announced,
                    attributes: attributes.map_or_else(Bytes::new, |of| of.canonical().into()),
                    judged: false,
                }]
            });
        }
    }
}

/// What a field of an UPDATE says.
#[derive(Default)]
struct Said {
    withdrawn: Vec<IpPrefix>,
    announced: Vec<IpPrefix>,
    attributes: Bytes,
}

/// What an UPDATE says: what it withdraws, then each of its fields that announces something.
fn read(wire: &WireFormat, body: &[u8]) -> Vec<Said> {
    // It was read before, or is our own, so it can be read.
    let Ok(update) = codec::parse_update(body, wire) else {
        return Vec::new();
    };
    let mut gone: Vec<IpPrefix> = update.withdrawn.iter().map(|(_, prefix)| prefix).collect();
    if let Some(unreachable) = &update.mp_withdrawn {
        gone.extend(unreachable.nlri.iter().map(|(_, prefix)| prefix));
    }
    let fields = [
        (NlriField::Plain, Some(&update.announced)),
        (
            NlriField::MpReach,
            update.mp_announced.as_ref().map(|mp| &mp.nlri),
        ),
    ];
    let mut said = Vec::new();
    for (field, nlri) in fields {
        let prefixes = nlri.into_iter().flat_map(|nlri| nlri.iter());
        let announced: Vec<IpPrefix> = prefixes.map(|(_, prefix)| prefix).collect();
        if update.treat_as_withdraw() {
            gone.extend(announced);
        } else if !announced.is_empty() {
            let mut attributes = Vec::new();
            update.canonical(field, &mut attributes);
            said.push(Said {
                withdrawn: Vec::new(),
                announced,
                attributes: attributes.into(),
            });
        }
    }
    if !gone.is_empty() {
        let withdrawn = gone;
        said.insert(
            0,
            Said {
                withdrawn,
                ..Said::default()
            },
        );
    }
    said
}

#[cfg(test)]
mod tests;
