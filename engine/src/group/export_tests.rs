//! What export makes of a path, by what the peer and the source are to us.

use std::net::{Ipv4Addr, Ipv6Addr};

use codec::{AttributeSet, AttributeWriter, Family, NextHop, Origin, PeerKind};
use rib::{SourceInfo, SourceKind, Summary};

use super::export::export;
use super::form::split;
use super::reflect::PathSource;
use super::refusal::Refusal;
use super::view::ExportView;
use crate::config::{Client, NextHopSelf, SendCommunities};
use crate::policy::NextHopChoice;

const SELF: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
const CLUSTER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const THIRD: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 99);
const NO_EXPORT: u32 = 0xffff_ff01;
const NO_ADVERTISE: u32 = 0xffff_ff02;
const NO_EXPORT_SUBCONFED: u32 = 0xffff_ff03;

fn view(peer: PeerKind, client: Option<Client>) -> ExportView {
    ExportView {
        client,
        cluster_id: (peer == PeerKind::Internal).then_some(CLUSTER),
        ..ExportView::plain(peer, 65001, SELF)
    }
}

fn client() -> ExportView {
    view(PeerKind::Internal, Some(Client::RouteReflector))
}

fn non_client() -> ExportView {
    view(PeerKind::Internal, None)
}

fn served() -> ExportView {
    view(PeerKind::External, Some(Client::RouteServer))
}

/// A received route with something in every attribute that an export rule is about.
fn route(more: impl FnOnce(&mut AttributeWriter<'_>)) -> Vec<u8> {
    let mut canonical = Vec::new();
    let mut writer = AttributeWriter::new(&mut canonical);
    writer.origin(Origin::Egp);
    writer.as_path(&AttributeSet::new(&[]).as_path(), &[65002, 65003], true);
    writer.next_hop(THIRD);
    writer.med(7);
    writer.local_pref(150);
    more(&mut writer);
    canonical
}

fn said_by(kind: SourceKind, router_id: [u8; 4]) -> SourceInfo {
    SourceInfo {
        kind,
        asn: 65001,
        router_id: router_id.into(),
        address: None,
    }
}

fn told(view: &ExportView, from: SourceInfo, canonical: &[u8]) -> Result<Vec<u8>, Refusal> {
    let source = PathSource::of(view, &from, &Summary::of(canonical));
    let mut form = Vec::new();
    export(view, Family::Ipv4Unicast, source, canonical, &mut form)?;
    Ok(split(&form).1.to_vec())
}

fn codes(attributes: &[u8]) -> Vec<u8> {
    AttributeSet::new(attributes)
        .iter()
        .map(|a| a.code)
        .collect()
}

// RFC-SHOWN 4271 §9.2
// RFC-SHOWN 4456 §6
#[test]
fn who_hears_whom_within_the_as() {
    use SourceKind::{Client, External, Internal};
    let plain = route(|_| ());
    let cases = [
        (Internal, non_client(), false),
        (Internal, client(), true),
        (Client, non_client(), true),
        (Client, client(), true),
        (External, non_client(), true),
        (External, client(), true),
    ];
    for (from, to, heard) in cases {
        let answer = told(&to, said_by(from, [1, 1, 1, 1]), &plain);
        match heard {
            true => assert!(answer.is_ok(), "{from:?} to {to:?}"),
            false => assert_eq!(answer, Err(Refusal::InternalToInternal)),
        }
    }
}

// RFC-SHOWN 4456 §8
// RFC-SHOWN 4271 §5.1.5
#[test]
fn a_reflected_route_is_marked_and_otherwise_unchanged() {
    let plain = route(|writer| {
        writer.communities(&[NO_EXPORT, 7]);
        writer.extended_communities(&[[0x40, 2, 0, 0, 0, 0, 0, 1]]);
        writer.large_communities(&[[1, 2, 3]]);
    });
    let from = said_by(SourceKind::Client, [1, 1, 1, 1]);
    for to in [client(), non_client()] {
        let attributes = told(&to, from, &plain).unwrap();
        // In ascending order, as RFC 4271 §5 asks for.
        assert_eq!(codes(&attributes), [1, 2, 3, 4, 5, 8, 9, 10, 16, 32]);
        let set = AttributeSet::new(&attributes);
        assert_eq!(set.originator_id(), Some([1, 1, 1, 1].into()));
        assert_eq!(set.cluster_list().collect::<Vec<_>>(), [CLUSTER]);
        for attribute in AttributeSet::new(&plain).iter() {
            assert_eq!(set.get(attribute.code), Some(attribute));
        }
    }
}

#[test]
fn a_route_that_was_reflected_before_keeps_its_originator_and_the_clusters_behind_ours() {
    let earlier = Ipv4Addr::new(3, 3, 3, 3);
    let reflected = route(|writer| {
        writer.originator_id([2, 2, 2, 2].into());
        writer.cluster_list(&[earlier]);
    });
    let from = said_by(SourceKind::Internal, [1, 1, 1, 1]);
    let attributes = told(&client(), from, &reflected).unwrap();
    let set = AttributeSet::new(&attributes);
    assert_eq!(set.originator_id(), Some([2, 2, 2, 2].into()));
    assert_eq!(set.cluster_list().collect::<Vec<_>>(), [CLUSTER, earlier]);
    assert_eq!(codes(&attributes), [1, 2, 3, 4, 5, 9, 10]);
    // Both stop at the border of the AS.
    for to in [view(PeerKind::External, None), served()] {
        let attributes = told(&to, from, &reflected).unwrap();
        assert!(!codes(&attributes).contains(&9) && !codes(&attributes).contains(&10));
    }
}

// RFC-SHOWN 4360 §6
// RFC-SHOWN 5701 §2
#[test]
fn extended_communities_that_are_not_transitive_stop_at_the_border() {
    let (passing, stopping) = ([0, 2, 0, 0, 0, 0, 0, 1], [0x40, 2, 0, 0, 0, 0, 0, 1]);
    let mut ipv6 = [[0; 20]; 2];
    ipv6[1][0] = 0x40;
    let with_both = route(|writer| {
        writer.extended_communities(&[stopping, passing]);
        writer.raw(0xc0, codec::code::IPV6_EXTENDED_COMMUNITIES, &ipv6.concat());
    });
    let only_stopping = route(|writer| {
        writer.extended_communities(&[stopping]);
        writer.raw(0xc0, codec::code::IPV6_EXTENDED_COMMUNITIES, &ipv6[1]);
    });
    let from = said_by(SourceKind::External, [1, 1, 1, 1]);
    let external = view(PeerKind::External, None);
    let attributes = told(&external, from, &with_both).unwrap();
    let set = AttributeSet::new(&attributes);
    assert_eq!(set.extended_communities().collect::<Vec<_>>(), [passing]);
    let of_ipv6 = set.get(codec::code::IPV6_EXTENDED_COMMUNITIES).unwrap();
    assert_eq!(of_ipv6.value, ipv6[0]);
    let attributes = told(&external, from, &only_stopping).unwrap();
    assert_eq!(codes(&attributes), [1, 2, 3]);
    // Inside the AS all pass.
    let attributes = told(&non_client(), from, &with_both).unwrap();
    for code in [
        codec::code::EXTENDED_COMMUNITIES,
        codec::code::IPV6_EXTENDED_COMMUNITIES,
    ] {
        let (sent, kept) = (
            AttributeSet::new(&with_both),
            AttributeSet::new(&attributes),
        );
        assert_eq!(kept.get(code), sent.get(code));
    }
}

#[test]
fn a_session_that_is_about_to_be_closed_says_so_with_every_route() {
    const GRACEFUL_SHUTDOWN: u32 = 0xffff_0000;
    let ends = |view: ExportView, standard| ExportView {
        graceful_shutdown: true,
        send_communities: SendCommunities {
            standard,
            ..view.send_communities
        },
        ..view
    };
    let from = said_by(SourceKind::Client, [1, 1, 1, 1]);
    let (plain, marked) = (
        route(|writer| writer.large_communities(&[[1, 2, 3]])),
        route(|writer| writer.communities(&[7, GRACEFUL_SHUTDOWN])),
    );
    let told = |view: &ExportView, canonical: &[u8]| {
        let attributes = told(view, from, canonical).unwrap();
        let set = AttributeSet::new(&attributes);
        let communities: Vec<u32> = set.communities().collect();
        (codes(&attributes), communities, set.local_pref())
    };
    let (codes, communities, local_pref) = told(&ends(client(), true), &plain);
    assert_eq!(codes, [1, 2, 3, 4, 5, 8, 9, 10, 32]);
    assert_eq!(
        (&communities[..], local_pref),
        (&[GRACEFUL_SHUTDOWN][..], Some(0))
    );
    let (_, communities, local_pref) = told(&ends(view(PeerKind::External, None), true), &marked);
    assert_eq!(
        (&communities[..], local_pref),
        (&[7, GRACEFUL_SHUTDOWN][..], None)
    );
    // Whatever sendCommunities says, the operator asked for this one.
    let (codes, communities, _) = told(&ends(client(), false), &marked);
    assert_eq!(codes, [1, 2, 3, 4, 5, 8, 9, 10]);
    assert_eq!(communities, [GRACEFUL_SHUTDOWN]);
}

#[test]
fn what_is_not_reflected_is_not_marked() {
    let plain = route(|_| ());
    let from = said_by(SourceKind::External, [1, 1, 1, 1]);
    for to in [client(), non_client()] {
        assert_eq!(codes(&told(&to, from, &plain).unwrap()), [1, 2, 3, 4, 5]);
    }
}

#[test]
fn the_originator_tells_sources_apart_only_where_it_is_written() {
    let (one, other) = ([1, 1, 1, 1], [2, 2, 2, 2]);
    let alike = |to: &ExportView, kind, canonical: &[u8]| {
        let summary = Summary::of(canonical);
        let of = |id| PathSource::of(to, &said_by(kind, id), &summary);
        of(one) == of(other)
    };
    let plain = route(|_| ());
    let reflected = route(|writer| writer.originator_id([9, 9, 9, 9].into()));
    assert!(!alike(&client(), SourceKind::Client, &plain));
    assert!(!alike(&client(), SourceKind::Internal, &plain));
    assert!(alike(&client(), SourceKind::Client, &reflected));
    assert!(alike(&client(), SourceKind::External, &plain));
    assert!(alike(&served(), SourceKind::External, &plain));
    assert!(alike(
        &view(PeerKind::External, None),
        SourceKind::Client,
        &plain
    ));
}

// RFC-SHOWN 7947 §2.2
// RFC-SHOWN 7947 §2.2.4
#[test]
fn a_route_server_client_is_told_what_its_fellows_said_as_they_said_it() {
    let plain = route(|writer| {
        writer.communities(&[NO_EXPORT]);
        writer.extended_communities(&[[0x40, 2, 0, 0, 0, 0, 0, 1]]);
    });
    let from = said_by(SourceKind::Served, [1, 1, 1, 1]);
    let attributes = told(&served(), from, &plain).unwrap();
    let set = AttributeSet::new(&attributes);
    // All but LOCAL_PREF, which external peers are never told (RFC 4271 §5.1.5).
    assert_eq!(codes(&attributes), [1, 2, 3, 4, 8, 16]);
    assert_eq!(set.as_path().to_string(), "65002 65003");
    assert_eq!(set.next_hop(), Some(NextHop::V4(THIRD)));
    assert_eq!(set.med(), Some(7));
    assert_eq!(set.communities().collect::<Vec<_>>(), [NO_EXPORT]);
    assert_eq!(set.extended_communities().count(), 1);
    // Asked for, the next hop is ours all the same.
    let always = ExportView {
        next_hop_self: NextHopSelf::Always,
        ..served()
    };
    let attributes = told(&always, from, &plain).unwrap();
    let next_hop = AttributeSet::new(&attributes).next_hop();
    assert_eq!(next_hop, Some(NextHop::V4(SELF)));
}

// RFC-SHOWN 7947 §2.2.4
#[test]
fn communities_of_who_is_no_client_are_heeded_towards_the_clients_of_a_route_server() {
    let (passing, stopping) = ([0, 2, 0, 0, 0, 0, 0, 1], [0x40, 2, 0, 0, 0, 0, 0, 1]);
    let ipv6 = [0x40; 20];
    let plain = said_by(SourceKind::External, [1, 1, 1, 1]);
    let fellow = said_by(SourceKind::Served, [1, 1, 1, 1]);
    for community in [NO_EXPORT, NO_EXPORT_SUBCONFED, NO_ADVERTISE] {
        let marked = route(|writer| writer.communities(&[7, community]));
        let refused = Err(Refusal::WellKnownCommunity);
        assert_eq!(told(&served(), plain, &marked), refused);
        assert!(told(&served(), fellow, &marked).is_ok());
        // A client asks as anybody else what is not for the other clients.
        let external = view(PeerKind::External, None);
        assert_eq!(told(&external, fellow, &marked), refused);
    }
    let marked = route(|writer| {
        writer.communities(&[7]);
        writer.extended_communities(&[stopping, passing]);
        writer.raw(0xc0, codec::code::IPV6_EXTENDED_COMMUNITIES, &ipv6);
    });
    let read = |from| {
        let attributes = told(&served(), from, &marked).unwrap();
        let set = AttributeSet::new(&attributes);
        let way = (set.as_path().to_string(), set.next_hop(), set.med());
        let extended: Vec<[u8; 8]> = set.extended_communities().collect();
        (way, codes(&attributes), extended)
    };
    // The way is told as it came, whoever said it.
    let way = || {
        let next_hop = Some(NextHop::V4(THIRD));
        ("65002 65003".to_owned(), next_hop, Some(7))
    };
    let heeded = (way(), vec![1, 2, 3, 4, 8, 16], vec![passing]);
    assert_eq!(read(plain), heeded);
    let kept = (way(), vec![1, 2, 3, 4, 8, 16, 25], vec![stopping, passing]);
    assert_eq!(read(fellow), kept);
}

// RFC-SHOWN 4271 §5.1.2
// RFC-SHOWN 4271 §5.1.3
// RFC-SHOWN 4271 §5.1.4
#[test]
fn what_external_peers_say_goes_on_within_the_as_as_it_came_and_out_of_it_as_ours() {
    let plain = route(|_| ());
    let read = |to: &ExportView, kind| {
        let attributes = told(to, said_by(kind, [1, 1, 1, 1]), &plain).unwrap();
        let set = AttributeSet::new(&attributes);
        (set.as_path().to_string(), set.next_hop(), set.med())
    };
    let (as_came, ours) = ("65002 65003".to_owned(), "65001 65002 65003".to_owned());
    let (third, own) = (Some(NextHop::V4(THIRD)), Some(NextHop::V4(SELF)));
    let within = (as_came.clone(), third, Some(7));
    assert_eq!(read(&non_client(), SourceKind::External), within);
    let external = view(PeerKind::External, None);
    for from in [SourceKind::External, SourceKind::Internal] {
        assert_eq!(read(&external, from), (ours.clone(), own, None));
    }
    // An own route has us as next hop within the AS too.
    let (as_path, next_hop, _) = read(&non_client(), SourceKind::Local);
    assert_eq!((as_path, next_hop), (as_came, own));
}

// RFC-SHOWN 2545 §3
#[test]
fn a_link_local_next_hop_stays_on_its_link_wherever_in_the_next_hop_it_stands() {
    let own = NextHop::V6("2001:db8::5".parse().unwrap());
    let unchanged = |view: ExportView| ExportView {
        families: codec::FamilySet::ALL,
        extended_next_hop: true,
        own_next_hop: [Some(NextHop::V4(SELF)), Some(own)],
        ..view
    };
    let never = ExportView {
        next_hop_self: NextHopSelf::Never,
        ..view(PeerKind::External, None)
    };
    let views = [non_client(), client(), served(), never].map(unchanged);
    let (global, link_local) = ("2001:db8::2", "fe80::2");
    // What came, and what goes on.
    let cases = [
        (vec![global], Some(global)),
        (vec![global, link_local], Some(global)),
        (vec![link_local], None),
        (vec![link_local, link_local], None),
        (vec!["::", link_local], None),
    ];
    for (came, goes_on) in cases {
        let octets: Vec<u8> = came
            .iter()
            .flat_map(|address| address.parse::<Ipv6Addr>().unwrap().octets())
            .collect();
        let next_hop = NextHop::parse(&octets).unwrap();
        let mut canonical = Vec::new();
        let mut writer = AttributeWriter::new(&mut canonical);
        writer.origin(Origin::Igp);
        writer.as_path(&AttributeSet::new(&[]).as_path(), &[65002], true);
        writer.mp_next_hop(Family::Ipv6Unicast, &next_hop);
        for (kind, view) in views.iter().flat_map(|view| {
            let kinds = [SourceKind::External, SourceKind::Client];
            kinds.map(|kind| (kind, view))
        }) {
            let from = said_by(kind, [1, 1, 1, 1]);
            let source = PathSource {
                next_hop: NextHopChoice::Unchanged,
                ..PathSource::of(view, &from, &Summary::of(&canonical))
            };
            for family in Family::ALL {
                let mut form = Vec::new();
                let answer = export(view, family, source, &canonical, &mut form);
                let wanted = goes_on.map(|address| NextHop::V6(address.parse().unwrap()));
                match wanted {
                    Some(_) => assert_eq!((answer, split(&form).0), (Ok(()), wanted)),
                    None => assert_eq!(answer, Err(Refusal::NoNextHop), "{came:?} {family}"),
                }
            }
        }
    }
}

// RFC-SHOWN 1997
#[test]
fn well_known_communities_keep_a_route_from_those_that_they_are_about() {
    let external = view(PeerKind::External, None);
    // Whether external and internal peers hear of it.
    let cases = [
        (7, [true, true]),
        (NO_EXPORT, [false, true]),
        (NO_EXPORT_SUBCONFED, [false, true]),
        (NO_ADVERTISE, [false, false]),
    ];
    for (community, heard) in cases {
        let marked = route(|writer| writer.communities(&[7, community]));
        for (to, heard) in [&external, &non_client()].into_iter().zip(heard) {
            let answer = told(to, said_by(SourceKind::External, [1, 1, 1, 1]), &marked);
            match heard {
                true => assert!(answer.is_ok(), "{community:#x} to {:?}", to.peer),
                false => assert_eq!(answer, Err(Refusal::WellKnownCommunity)),
            }
            // What we originate carries them to the peers, not against them.
            assert!(told(to, said_by(SourceKind::Local, [0; 4]), &marked).is_ok());
        }
    }
}

#[test]
fn a_route_server_client_is_an_external_peer_for_what_our_own_as_says() {
    let plain = route(|_| ());
    for kind in [SourceKind::Local, SourceKind::Internal] {
        let from = said_by(kind, [1, 1, 1, 1]);
        let attributes = told(&served(), from, &plain).unwrap();
        let set = AttributeSet::new(&attributes);
        assert_eq!(set.as_path().to_string(), "65001 65002 65003");
        assert_eq!(set.next_hop(), Some(NextHop::V4(SELF)));
        assert_eq!(set.med(), None);
    }
    let kept = route(|writer| writer.communities(&[NO_EXPORT]));
    let from = said_by(SourceKind::Internal, [1, 1, 1, 1]);
    let refused = told(&served(), from, &kept);
    assert_eq!(refused, Err(Refusal::WellKnownCommunity));
}

// RFC-SHOWN 9494 §4.3
// RFC-SHOWN 9494 §4.6
#[test]
fn a_stale_route_is_told_to_who_knows_what_that_is_and_inside_the_as_as_the_last_resort() {
    let stale = route(|writer| writer.communities(&[7, rib::LLGR_STALE]));
    let from = || said_by(SourceKind::External, [1, 1, 1, 1]);
    let to = |peer, long_lived, standard| ExportView {
        long_lived,
        send_communities: SendCommunities {
            standard,
            large: true,
            extended: true,
        },
        ..view(peer, None)
    };
    let external = to(PeerKind::External, false, true);
    assert_eq!(
        told(&external, from(), &stale),
        Err(Refusal::LongLivedStale)
    );
    let read = |view: &ExportView| {
        let form = told(view, from(), &stale).unwrap();
        let set = AttributeSet::new(&form);
        (set.local_pref(), set.communities().collect::<Vec<u32>>())
    };
    let knows = to(PeerKind::External, true, true);
    assert_eq!(read(&knows), (None, vec![7, rib::LLGR_STALE]));
    let knows = to(PeerKind::Internal, true, true);
    assert_eq!(read(&knows), (Some(150), vec![7, rib::LLGR_STALE]));
    let last = to(PeerKind::Internal, false, true);
    let marks = vec![7, rib::LLGR_STALE, NO_EXPORT];
    assert_eq!(read(&last), (Some(0), marks));
    // The mark is not for the neighbor's settings to take off.
    let bare = to(PeerKind::External, true, false);
    assert_eq!(read(&bare), (None, vec![rib::LLGR_STALE]));
}

// RFC-SHOWN 9494 §4.3
#[test]
fn a_route_that_was_stale_before_export_policy_is_so_behind_it() {
    let cleaned = route(|writer| {
        writer.extended_communities(&[[0, 2, 0, 0, 0, 0, 0, 1]]);
        writer.large_communities(&[[1, 2, 3]]);
    });
    let told = |view: &ExportView| {
        let from = said_by(SourceKind::External, [1, 1, 1, 1]);
        let source = PathSource {
            stale: true,
            ..PathSource::of(view, &from, &Summary::of(&cleaned))
        };
        let mut form = Vec::new();
        export(view, Family::Ipv4Unicast, source, &cleaned, &mut form)?;
        Ok(split(&form).1.to_vec())
    };
    let to = |peer, long_lived| ExportView {
        long_lived,
        ..view(peer, None)
    };
    let cases = [
        (PeerKind::External, true, None, vec![rib::LLGR_STALE]),
        (PeerKind::Internal, true, Some(150), vec![rib::LLGR_STALE]),
        (
            PeerKind::Internal,
            false,
            Some(0),
            vec![rib::LLGR_STALE, NO_EXPORT],
        ),
    ];
    for (peer, long_lived, local_pref, communities) in cases {
        let form = told(&to(peer, long_lived)).unwrap();
        let set = AttributeSet::new(&form);
        assert_eq!(set.local_pref(), local_pref);
        assert_eq!(set.communities().collect::<Vec<u32>>(), communities);
        assert!(codes(&form).ends_with(&[8, 16, 32]));
    }
    let refused = told(&to(PeerKind::External, false));
    assert_eq!(refused, Err(Refusal::LongLivedStale));
}
