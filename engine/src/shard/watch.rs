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
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{Delta, Import, Neighbor};
    use crate::policy::Policy;
    use crate::shard::ShardCommand;
    use crate::shard::rig::{INSTANCE, Rig, neighbor};

    fn watching(peer: Option<&str>) -> (Rig, Watched) {
        let mut rig = Rig::new();
        let neighbors = ["10.0.0.6", "10.0.0.7"].map(|address| Arc::new(neighbor(address)));
        rig.tell(Delta::Neighbors(INSTANCE, neighbors.into()));
        let (watch, watched) = watch(None, peer.map(|peer| peer.parse().unwrap()));
        rig.command(ShardCommand::Watch(watch));
        (rig, watched)
    }

    fn next(watched: &mut Watched) -> Option<(u64, Event)> {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match watched.poll_next(&mut cx) {
            Poll::Ready(event) => event,
            Poll::Pending => None,
        }
    }

    fn said(watched: &mut Watched) -> Vec<String> {
        let mut said = Vec::new();
        while let Some((_, event)) = next(watched) {
            said.push(match event {
                Event::Session { peer, from, to, .. } => {
                    format!("{peer} {from:?} {to:?}")
                }
                Event::Routes {
                    peer,
                    withdrawn,
                    announced,
                    judged,
                    ..
                } => {
                    let sign = if judged { '~' } else { '+' };
                    let standing = announced
                        .first()
                        .map(|(_, of)| match (of.best, of.accepted) {
                            (true, _) => " best",
                            (false, true) => " accepted",
                            (false, false) => " rejected",
                        });
                    let (gone, there) = (withdrawn.len(), announced.len());
                    let standing = standing.unwrap_or_default();
                    format!("{peer:?} -{gone} {sign}{there}{standing}")
                }
                Event::Told {
                    peers,
                    withdrawn,
                    announced,
                    ..
                } => {
                    let peers: Vec<String> = peers.iter().map(ToString::to_string).collect();
                    let (gone, there) = (withdrawn.len(), announced.len());
                    format!("to {} -{gone} +{there}", peers.join(" "))
                }
            });
        }
        said
    }

    /// 20.0.0.0/24 announced with AS path and next hop, or withdrawn.
    fn update(announced: bool) -> Vec<u8> {
        let prefix = [24, 20, 0, 0];
        let attributes: &[u8] = &[
            0x40, 1, 1, 0, 0x40, 2, 6, 2, 1, 0, 0, 0xfd, 0xea, 0x40, 3, 4, 10, 0, 0, 6,
        ];
        let (withdrawn, attributes, nlri): (&[u8], &[u8], &[u8]) = match announced {
            true => (&[], attributes, &prefix),
            false => (&prefix, &[], &[]),
        };
        let mut body = Vec::new();
        body.extend((withdrawn.len() as u16).to_be_bytes());
        body.extend(withdrawn);
        body.extend((attributes.len() as u16).to_be_bytes());
        body.extend(attributes);
        body.extend(nlri);
        let mut message = vec![0xff; 16];
        message.extend((19 + body.len() as u16).to_be_bytes());
        message.push(2);
        message.extend(body);
        message
    }

    #[test]
    fn sessions_and_routes_are_told_as_they_change() {
        let (mut rig, mut watched) = watching(None);
        let peer = rig.establish("10.0.0.6", 65002);
        assert_eq!(
            said(&mut watched),
            [
                "10.0.0.6 Active OpenSent",
                "10.0.0.6 OpenSent OpenConfirm",
                "10.0.0.6 OpenConfirm Established"
            ]
        );
        rig.say(peer, &update(true));
        rig.say(peer, &update(false));
        rig.originate(&["10.0.1.0/24", "10.0.2.0/24"]);
        let of_peer = |what: &str| format!("Some(10.0.0.6) {what}");
        let expected = [
            of_peer("-0 +1 best"),
            of_peer("-1 +0"),
            "None -0 +2 best".to_owned(),
            "to 10.0.0.6 -0 +2".to_owned(),
        ];
        assert_eq!(said(&mut watched), expected);
        rig.closed_by_peer(peer);
        let Some((0, Event::Session { reason, .. })) = next(&mut watched) else {
            panic!("nothing was told of the end");
        };
        assert!(reason.unwrap().contains("the peer closed"));
    }

    /// The changes of sessions, each with its reason.
    fn changes(watched: &mut Watched) -> Vec<String> {
        let mut changes = Vec::new();
        while let Some((_, event)) = next(watched) {
            if let Event::Session {
                from, to, reason, ..
            } = event
            {
                let reason = reason.as_deref().unwrap_or("-");
                changes.push(format!("{from:?} {to:?} {reason}"));
            }
        }
        changes
    }

    #[test]
    fn a_change_of_a_session_has_a_reason_only_where_that_is_why() {
        let (mut rig, mut watched) = watching(Some("10.0.0.6"));
        rig.establish("10.0.0.6", 65002);
        let mut drain = |rig: &mut Rig, wait| {
            rig.command(ShardCommand::Drain {
                instance: None,
                peer: "10.0.0.6".parse().ok(),
                wait,
                reply: Box::new(|_| ()),
            });
            rig.pass(Duration::from_secs(1));
            changes(&mut watched)
        };
        let drained = drain(&mut rig, Some(Duration::ZERO));
        let why = "the session with peer 10.0.0.6 was closed with Cease/Administrative Shutdown: \
                   \"drained by its operator\"";
        let last = drained.last().unwrap();
        assert_eq!(*last, format!("Established Idle {why}"));
        assert_eq!(drain(&mut rig, None), ["Idle Active -"]);
        let active = Neighbor {
            passive: false,
            ..neighbor("10.0.0.6")
        };
        rig.tell(Delta::Neighbors(INSTANCE, [Arc::new(active)].into()));
        assert_eq!(changes(&mut watched), ["Active Connect -"]);
        for _ in 0..2 {
            let connection = *rig.open.keys().last().unwrap();
            let now = rig.now;
            rig.shard
                .handle_connect_failed(now, connection, "connection refused");
            rig.open.remove(&connection);
            rig.turn();
            let failed = changes(&mut watched);
            let why =
                "Connect Active cannot connect to peer 10.0.0.6 port 179 (connection refused)";
            assert!(failed[0].starts_with(why), "{failed:?}");
            rig.pass(Duration::from_secs(5));
            assert_eq!(changes(&mut watched), ["Active Connect -"]);
        }
    }

    #[test]
    fn what_becomes_of_routes_that_nobody_says_again_is_told() {
        let (mut rig, mut watched) = watching(None);
        let peer = rig.establish("10.0.0.6", 65002);
        rig.say(peer, &update(true));
        said(&mut watched);
        let mut import = |rig: &mut Rig, import| {
            let settings = Neighbor {
                import,
                ..neighbor("10.0.0.6")
            };
            rig.tell(Delta::Neighbors(INSTANCE, [Arc::new(settings)].into()));
            said(&mut watched)
        };
        let missing = Import::Policy(Arc::new(Policy::missing(&"gone".into())));
        let rejected = import(&mut rig, missing);
        assert_eq!(rejected, ["Some(10.0.0.6) -0 ~1 rejected"]);
        let accepted = import(&mut rig, Import::All);
        assert_eq!(accepted, ["Some(10.0.0.6) -0 ~1 best"]);
        rig.closed_by_peer(peer);
        let ended = said(&mut watched);
        assert!(
            ended.contains(&"Some(10.0.0.6) -1 +0".to_owned()),
            "{ended:?}"
        );
    }

    /// Why the first announced route of the next event is not used.
    fn rejected_by(watched: &mut Watched) -> Option<Arc<str>> {
        let Some((_, Event::Routes { announced, .. })) = next(watched) else {
            panic!("nothing was told of routes");
        };
        let (_, standing) = announced.first().unwrap();
        assert_eq!(standing.accepted, standing.rejected_by.is_none());
        standing.rejected_by.clone()
    }

    #[test]
    fn what_is_not_accepted_is_told_with_what_rejected_it() {
        let (mut rig, mut watched) = watching(Some("10.0.0.6"));
        let peer = rig.establish("10.0.0.6", 65002);
        said(&mut watched);
        let tell = |rig: &mut Rig, change: &dyn Fn(&mut Neighbor)| {
            let mut settings = neighbor("10.0.0.6");
            change(&mut settings);
            rig.tell(Delta::Neighbors(INSTANCE, [Arc::new(settings)].into()));
        };
        rig.say(peer, &update(true));
        assert_eq!(rejected_by(&mut watched), None);
        let is_loop = "AS loop: our own AS number 65002 stands in the AS_PATH";
        tell(&mut rig, &|of| of.own_asns = Arc::from([65001, 65002]));
        assert_eq!(rejected_by(&mut watched).as_deref(), Some(is_loop));
        rig.say(peer, &update(true));
        assert_eq!(rejected_by(&mut watched).as_deref(), Some(is_loop));
        let missing = Import::Policy(Arc::new(Policy::missing(&"gone".into())));
        tell(&mut rig, &|of| of.import = missing.clone());
        rig.say(peer, &update(true));
        let by = rejected_by(&mut watched).unwrap();
        assert!(by.contains("gone"), "{by}");
        tell(&mut rig, &|of| of.import = Import::None);
        said(&mut watched);
        rig.say(peer, &update(true));
        let by = rejected_by(&mut watched).unwrap();
        assert!(by.starts_with("import is none"), "{by}");
        tell(&mut rig, &|of| of.max_prefixes.most = [Some(0), None]);
        said(&mut watched);
        rig.say(peer, &update(true));
        let by = rejected_by(&mut watched).unwrap();
        assert!(by.starts_with("maxPrefixes"), "{by}");
    }

    /// Once for all to whom the same octets go; who said a route is not told it.
    #[test]
    fn what_peers_are_told_is_told() {
        let (mut rig, mut watched) = watching(None);
        let one = rig.establish("10.0.0.6", 65002);
        rig.establish("10.0.0.7", 65003);
        said(&mut watched);
        rig.originate(&["10.0.1.0/24", "10.0.2.0/24"]);
        let told = said(&mut watched);
        assert_eq!(
            told,
            ["None -0 +2 best", "to 10.0.0.6 10.0.0.7 -0 +2"].map(str::to_owned)
        );
        rig.say(one, &update(true));
        rig.say(one, &update(false));
        let expected = [
            "Some(10.0.0.6) -0 +1 best",
            "to 10.0.0.7 -0 +1",
            "Some(10.0.0.6) -1 +0",
            "to 10.0.0.7 -1 +0",
        ];
        assert_eq!(said(&mut watched), expected);
        // One of them alone.
        let (watch, mut watched) = watch(None, Some("10.0.0.7".parse().unwrap()));
        rig.command(ShardCommand::Watch(watch));
        rig.originate(&["10.0.3.0/24"]);
        assert_eq!(said(&mut watched), ["to 10.0.0.7 -0 +1"]);
    }

    #[test]
    fn a_route_past_the_limit_is_never_shown_as_used() {
        let (mut rig, mut watched) = watching(None);
        let mut limited = neighbor("10.0.0.6");
        limited.max_prefixes.most = [Some(0), None];
        rig.tell(Delta::Neighbors(INSTANCE, [Arc::new(limited)].into()));
        let peer = rig.establish("10.0.0.6", 65002);
        said(&mut watched);
        rig.say(peer, &update(true));
        let told = said(&mut watched);
        assert_eq!(told[0], "Some(10.0.0.6) -0 +1 rejected");
        assert_eq!(told[1], "10.0.0.6 Established Idle");
    }

    #[test]
    fn one_peer_alone_can_be_watched() {
        let (mut rig, mut watched) = watching(Some("10.0.0.7"));
        rig.establish("10.0.0.6", 65002);
        rig.originate(&["10.0.1.0/24"]);
        assert_eq!(said(&mut watched), [""; 0]);
        rig.establish("10.0.0.7", 65003);
        let told = said(&mut watched);
        assert_eq!((told.len(), &*told[3]), (4, "to 10.0.0.7 -0 +1"));
    }

    #[test]
    fn who_does_not_read_loses_and_is_told_how_much() {
        let (mut rig, mut watched) = watching(None);
        let peer = rig.establish("10.0.0.6", 65002);
        said(&mut watched);
        for _ in 0..WAITING_MAX + 7 {
            rig.say(peer, &update(true));
        }
        let (lost, _) = next(&mut watched).unwrap();
        assert_eq!(lost, 7);
        assert_eq!(said(&mut watched).len(), WAITING_MAX - 1);
        rig.say(peer, &update(true));
        assert_eq!(next(&mut watched).unwrap().0, 0);
        // A reader that is gone is forgotten.
        drop(watched);
        rig.say(peer, &update(true));
        assert!(rig.shard.watches.is_empty());
    }
}
