//! Both drivers under the same tests, on real sockets of the loopback network.

mod toy;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::config::InstanceId;
use crate::session::ConnectFailure::{Here, There};
use toy::{Command, Event, Running, SOON, start, start_many};

/// Runs `body` on every driver that this machine has.
fn on_both(body: impl Fn(IoDriver)) {
    for mode in [IoMode::Uring, IoMode::Epoll] {
        match choose(mode) {
            Ok((driver, _)) => {
                println!("on {driver}");
                body(driver);
            }
            Err(why) => println!("skipped: {why}"),
        }
    }
}

/// Runs `body`, which tells how long the shard took for something, on every driver; a machine that is busy
/// with something else gets four more tries to be within the bound.
fn on_both_within(bound: Duration, body: impl Fn(IoDriver) -> Duration) {
    on_both(|driver| {
        let mut took = (0..5).map(|_| body(driver));
        assert!(took.any(|took| took < bound), "never within {bound:?}");
    });
}

/// A loopback address that no other test uses.
fn fresh_address() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let process = std::process::id();
    Ipv4Addr::new(
        127,
        (process >> 8) as u8 | 1,
        process as u8,
        NEXT.fetch_add(1, Ordering::Relaxed),
    )
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((fresh_address(), 0)).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn target(remote: SocketAddr) -> ConnectTarget {
    ConnectTarget {
        peer: remote.ip().into(),
        port: remote.port(),
        local: None,
        options: SocketOptions::default(),
    }
}

/// A connected pair; the second end has gone through the shard's inbox.
fn accepted(shard: &Running) -> (TcpStream, ConnectionId) {
    let (listener, address) = listener();
    let ours = TcpStream::connect(address).unwrap();
    ours.set_read_timeout(Some(SOON)).unwrap();
    let (theirs, _) = listener.accept().unwrap();
    shard.send(Message::Accepted {
        instance: InstanceId(0),
        socket: OwnedFd::from(theirs),
    });
    let connection = shard.wait(|event| match event {
        Event::Accepted(connection, remote) => {
            assert_eq!(*remote, ours.local_addr().unwrap().ip());
            Some(*connection)
        }
        _ => None,
    });
    (ours, connection)
}

#[test]
fn connects_from_the_address_asked_for_and_echoes() {
    on_both(|driver| {
        let (listener, remote) = listener();
        let shard = start(driver);
        let local = IpAddr::V4(fresh_address());
        shard.connect(
            1,
            ConnectTarget {
                local: Some(local),
                ..target(remote)
            },
        );
        let (mut peer, from) = listener.accept().unwrap();
        assert_eq!(from.ip(), local);
        shard.wait(|event| {
            (*event == Event::Connected(ConnectionId(1), from, remote)).then_some(())
        });
        peer.set_read_timeout(Some(SOON)).unwrap();
        for _ in 0..3 {
            peer.write_all(b"hello").unwrap();
            let mut answer = [0; 5];
            peer.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"hello");
        }
        drop(peer);
        let words = shard.wait_closed(ConnectionId(1));
        assert_eq!(words, "the peer closed the connection");
    });
}

#[test]
fn a_refused_connection_is_said_in_words() {
    on_both(|driver| {
        let (listener, remote) = listener();
        drop(listener);
        let shard = start(driver);
        shard.connect(1, target(remote));
        let why = shard.wait_connect_failed(ConnectionId(1));
        assert!(
            matches!(&why, There(why) if why.starts_with("connection refused")),
            "{why:?}"
        );
        let foreign = Some("192.0.2.1".parse().unwrap());
        shard.connect(
            2,
            ConnectTarget {
                local: foreign,
                ..target(remote)
            },
        );
        let why = shard.wait_connect_failed(ConnectionId(2));
        let words = "the local address 192.0.2.1 is not on this machine; ";
        assert!(
            matches!(&why, Here(why) if why.starts_with(words)),
            "{why:?}"
        );
        shard.connect(
            3,
            ConnectTarget {
                peer: "fe80::9%nosuch".parse().unwrap(),
                ..target(remote)
            },
        );
        let why = shard.wait_connect_failed(ConnectionId(3));
        let words = "this machine has no interface nosuch, ";
        assert!(
            matches!(&why, Here(why) if why.starts_with(words)),
            "{why:?}"
        );
    });
}

#[test]
fn a_connect_that_is_no_longer_wanted_ends_and_is_not_reported() {
    on_both_within(Duration::from_millis(300), |driver| {
        // A listener whose queue is full answers no SYN.
        let full =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        full.bind(&SocketAddr::from((fresh_address(), 0)).into())
            .unwrap();
        full.listen(0).unwrap();
        let remote = full.local_addr().unwrap().as_socket().unwrap();
        let _queued: Vec<TcpStream> = std::iter::from_fn(|| {
            TcpStream::connect_timeout(&remote, Duration::from_millis(100)).ok()
        })
        .take(8)
        .collect();
        let shard = start(driver);
        shard.connect(1, target(remote));
        shard.expect_silence(Duration::from_millis(100));
        shard.command(Command::Close(ConnectionId(1)));
        shard.expect_silence(Duration::from_millis(100));
        shard.stop()
    });
}

#[test]
fn a_slow_reader_gets_every_octet() {
    on_both(|driver| {
        let shard = start(driver);
        let (mut peer, connection) = accepted(&shard);
        socket2::SockRef::from(&peer)
            .set_recv_buffer_size(65_536)
            .unwrap();
        const LEN: usize = 6_000_000;
        let sent: Vec<u8> = (0..LEN).map(|index| (index / 7) as u8).collect();
        // Slices of odd lengths, far more than one write takes.
        let slices = sent.chunks(1013).map(Bytes::copy_from_slice).collect();
        shard.command(Command::Send(connection, slices));
        std::thread::sleep(Duration::from_millis(50));
        let mut received = Vec::new();
        let mut chunk = [0; 50_000];
        while received.len() < LEN {
            let count = peer.read(&mut chunk).unwrap();
            assert_ne!(count, 0);
            received.extend_from_slice(&chunk[..count]);
        }
        assert!(received == sent);
        shard.wait(|event| (*event == Event::Written(connection, LEN)).then_some(()));
    });
}

#[test]
fn what_is_queued_is_sent_before_a_close_even_with_input_unread() {
    on_both(|driver| {
        let shard = start(driver);
        for round in 0..20 {
            let (mut peer, connection) = accepted(&shard);
            peer.write_all(&vec![7; 200_000]).unwrap();
            let last = vec![
                Bytes::from(vec![round; 100_000]),
                Bytes::from_static(b"goodbye"),
            ];
            shard.command(Command::SendAndClose(connection, last));
            peer.write_all(b"more that nobody reads").unwrap();
            let mut received = Vec::new();
            peer.read_to_end(&mut received).unwrap();
            assert!(received.ends_with(b"goodbye"), "{} octets", received.len());
        }
    });
}

#[test]
fn a_close_does_not_wait_for_a_peer_that_does_not_read() {
    on_both_within(Duration::from_millis(1500), |driver| {
        let shard = start(driver);
        let (peer, connection) = accepted(&shard);
        let endless = vec![Bytes::from(vec![1; 20_000_000])];
        shard.command(Command::SendAndClose(connection, endless));
        let took = shard.stop();
        drop(peer);
        took
    });
}

#[test]
fn nothing_is_reported_of_a_connection_after_its_close() {
    on_both_within(Duration::from_millis(300), |driver| {
        let shard = start(driver);
        let (mut peer, connection) = accepted(&shard);
        shard.command(Command::SendAndClose(connection, vec![]));
        let mut rest = Vec::new();
        peer.write_all(b"late").unwrap();
        peer.read_to_end(&mut rest).unwrap();
        drop(peer);
        shard.expect_silence(Duration::from_millis(100));
        shard.stop()
    });
}

#[test]
fn an_unknown_peer_is_closed_without_a_word() {
    on_both(|driver| {
        let shard = start(driver);
        let (listener, address) = listener();
        let mut peer = TcpStream::connect(address).unwrap();
        peer.set_read_timeout(Some(SOON)).unwrap();
        let (theirs, _) = listener.accept().unwrap();
        shard.send(Message::Accepted {
            instance: toy::REFUSED,
            socket: OwnedFd::from(theirs),
        });
        assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0);
    });
}

#[test]
fn a_reset_is_told_as_one() {
    on_both(|driver| {
        let shard = start(driver);
        let (peer, connection) = accepted(&shard);
        socket2::SockRef::from(&peer)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(peer);
        let words = shard.wait_closed(connection);
        assert_eq!(words, "the peer reset the connection");
    });
}

#[test]
fn five_hundred_connections_live_on_one_shard() {
    on_both_within(Duration::from_millis(1500), |driver| {
        let shard = start(driver);
        let (listener, address) = listener();
        let mut peers = Vec::new();
        for _ in 0..500 {
            let peer = TcpStream::connect(address).unwrap();
            peer.set_read_timeout(Some(SOON)).unwrap();
            let (theirs, _) = listener.accept().unwrap();
            shard.send(Message::Accepted {
                instance: InstanceId(0),
                socket: OwnedFd::from(theirs),
            });
            peers.push(peer);
        }
        for round in 0..5u8 {
            for (index, peer) in peers.iter_mut().enumerate() {
                peer.write_all(&[index as u8, round]).unwrap();
            }
            for (index, peer) in peers.iter_mut().enumerate() {
                let mut answer = [0; 2];
                peer.read_exact(&mut answer).unwrap();
                assert_eq!(answer, [index as u8, round]);
            }
        }
        let took = shard.stop();
        for peer in &mut peers {
            assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0);
        }
        took
    });
}

#[test]
fn a_shard_with_endless_work_still_serves_its_sockets() {
    on_both(|driver| {
        let shard = start(driver);
        let (mut peer, _) = accepted(&shard);
        shard.command(Command::WorkForEver);
        for _ in 0..100 {
            peer.write_all(b"x").unwrap();
            let mut answer = [0];
            peer.read_exact(&mut answer).unwrap();
        }
        // And new connections come about.
        let (listener, remote) = listener();
        shard.connect(77, target(remote));
        shard.wait(|event| matches!(event, Event::Connected(ConnectionId(77), ..)).then_some(()));
        drop(listener);
    });
}

#[test]
fn timers_fire_in_time_and_an_idle_shard_sleeps() {
    on_both_within(Duration::from_millis(50), |driver| {
        let shard = start(driver);
        let (_peer, _) = accepted(&shard);
        shard.command(Command::TimerAfter(Duration::from_millis(60)));
        let late = shard.wait(|event| match event {
            Event::Timeout(late) => Some(*late),
            _ => None,
        });
        shard.expect_rest();
        late
    });
}

#[test]
fn a_timer_is_told_which_connections_have_octets_in_their_sockets() {
    on_both(|driver| {
        let shard = start(driver);
        let (mut talks, talking) = accepted(&shard);
        let (_silent, _) = accepted(&shard);
        let (ended, _) = accepted(&shard);
        // While the shard is held up, one peer speaks and another closes.
        let (hold, held) = crossbeam_channel::bounded(0);
        shard.command(Command::Behind(held));
        hold.send(()).unwrap();
        talks.write_all(b"still here").unwrap();
        ended.shutdown(std::net::Shutdown::Write).unwrap();
        hold.send(()).unwrap();
        let unread = shard.wait(|event| match event {
            Event::Unread(connections) => Some(connections.clone()),
            _ => None,
        });
        assert_eq!(unread, [talking]);
        // It is still there to be read.
        let mut answer = [0; 10];
        talks.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"still here");
    });
}

#[test]
fn a_paused_connection_is_not_read_but_written_and_others_are_served() {
    on_both_within(Duration::from_millis(300), |driver| {
        let shard = start(driver);
        let (mut paused, connection) = accepted(&shard);
        let (mut other, _) = accepted(&shard);
        shard.command(Command::Pause(connection));
        // What the shard says to it still leaves; it tells that the pause has begun, too.
        let said = vec![Bytes::from_static(b"now")];
        shard.command(Command::Send(connection, said));
        let mut answer = [0; 3];
        paused.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"now");
        paused.write_all(b"later").unwrap();
        for _ in 0..50 {
            other.write_all(b"x").unwrap();
            other.read_exact(&mut [0]).unwrap();
        }
        shard.command(Command::TimerAfter(Duration::ZERO));
        let unread = shard.wait(|event| match event {
            Event::Unread(connections) => Some(connections.clone()),
            _ => None,
        });
        assert_eq!(unread, [connection]);
        shard.command(Command::Resume(connection));
        let mut answer = [0; 5];
        paused.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"later");
        // Paused ones close and end as all others.
        shard.command(Command::Pause(connection));
        shard.command(Command::SendAndClose(
            connection,
            vec![Bytes::from_static(b"bye")],
        ));
        let mut rest = Vec::new();
        paused.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, b"bye");
        drop((paused, other));
        shard.stop()
    });
}

#[test]
fn reading_goes_on_whatever_is_still_to_be_written() {
    on_both(|driver| {
        let shard = start(driver);
        // Far more than sockets hold, in both directions, of peers that take nothing.
        let flood = vec![7; 32 << 20];
        let mut peers = [accepted(&shard), accepted(&shard)];
        std::thread::scope(|scope| {
            for (peer, connection) in &mut peers {
                let queued = vec![Bytes::from(vec![1; 32 << 20])];
                shard.command(Command::Send(*connection, queued));
                peer.set_write_timeout(Some(SOON)).unwrap();
                scope.spawn(|| peer.write_all(&flood).unwrap());
            }
        });
    });
}

#[test]
fn shards_wake_each_other_with_and_without_sockets() {
    on_both(|driver| {
        let shards = start_many(driver, 3);
        let (_peer, _) = accepted(&shards[1]);
        for other in [1, 2] {
            for _ in 0..200 {
                let before = shards[other].turns();
                shards[0].command(Command::Wake(1 << other));
                shards[other].wait_for_turn_after(before);
            }
        }
    });
}

#[test]
fn a_shard_without_sockets_works_and_keeps_time() {
    on_both_within(Duration::from_millis(100), |driver| {
        let shard = start(driver);
        shard.command(Command::TimerAfter(Duration::from_millis(30)));
        shard.wait(|event| matches!(event, Event::Timeout(_)).then_some(()));
        shard.expect_rest();
        shard.stop()
    });
}

// RFC-SHOWN 2385 §2
#[test]
fn signed_connections_stand_and_wrong_keys_time_out() {
    let (_, any) = listener();
    let probe = listen(SocketAddr::new(any.ip(), 0)).unwrap();
    if let Err(why) = set_password(&probe, any.ip(), Some(b"key")) {
        println!("skipped: {why}");
        return;
    }
    on_both(|driver| {
        let local: IpAddr = fresh_address().into();
        let socket = listen(SocketAddr::new(fresh_address().into(), 0)).unwrap();
        let remote = socket.local_addr().unwrap().as_socket().unwrap();
        set_password(&socket, local, Some(b"right")).unwrap();
        socket.set_nonblocking(false).unwrap();
        let shard = start(driver);
        let signed = |key: &[u8]| ConnectTarget {
            peer: remote.ip().into(),
            port: remote.port(),
            local: Some(local),
            options: SocketOptions {
                password: Some(key.into()),
                ..SocketOptions::default()
            },
        };
        shard.connect(1, signed(b"right"));
        let (accepted, _) = socket.accept().unwrap();
        shard.wait(|event| matches!(event, Event::Connected(..)).then_some(()));
        // The key of both live ends changes without a reset.
        set_password(&accepted, local, Some(b"other")).unwrap();
        shard.command(Command::SetOptions(
            ConnectionId(1),
            signed(b"other").options,
        ));
        let mut accepted = TcpStream::from(accepted);
        accepted.set_read_timeout(Some(SOON)).unwrap();
        accepted.write_all(b"still here").unwrap();
        let mut answer = [0; 10];
        accepted.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"still here");
        shard.connect(2, signed(b"wrong"));
        shard.expect_silence(Duration::from_millis(300));
        shard.command(Command::Close(ConnectionId(2)));
    });
}

// RFC-SHOWN 5082 §3
#[test]
fn ttl_security_drops_what_comes_from_too_far() {
    on_both(|driver| {
        let shard = start(driver);
        for (ttl, passes) in [(255, true), (254, false)] {
            let (mut peer, connection) = accepted(&shard);
            let options = SocketOptions {
                min_ttl: Some(255),
                send_ttl: Some(255),
                ..SocketOptions::default()
            };
            shard.command(Command::SetOptions(connection, options));
            shard.command(Command::Send(
                connection,
                vec![Bytes::from_static(b"ready")],
            ));
            let mut ready = [0; 5];
            peer.read_exact(&mut ready).unwrap();
            peer.set_ttl(ttl).unwrap();
            let wait = if passes {
                SOON
            } else {
                Duration::from_millis(200)
            };
            peer.set_read_timeout(Some(wait)).unwrap();
            peer.write_all(b"hello").unwrap();
            assert_eq!(peer.read_exact(&mut ready).is_ok(), passes, "TTL {ttl}");
        }
    });
}

#[test]
fn ipv6_connections_have_the_same_options() {
    let Ok(socket) = listen("[::1]:0".parse().unwrap()) else {
        println!("skipped: this machine has no IPv6");
        return;
    };
    let local: IpAddr = "::1".parse().unwrap();
    let signed = set_password(&socket, local, Some(b"six")).is_ok();
    socket.set_nonblocking(false).unwrap();
    let remote = socket.local_addr().unwrap().as_socket().unwrap();
    on_both(|driver| {
        let shard = start(driver);
        let options = SocketOptions {
            password: signed.then(|| b"six"[..].into()),
            send_ttl: Some(255),
            min_ttl: Some(255),
        };
        let target = ConnectTarget {
            local: Some(local),
            options,
            ..target(remote)
        };
        shard.connect(1, target);
        let (accepted, _) = socket.accept().unwrap();
        shard.wait(|event| matches!(event, Event::Connected(..)).then_some(()));
        let mut accepted = TcpStream::from(accepted);
        accepted.set_read_timeout(Some(SOON)).unwrap();
        accepted.write_all(b"six").unwrap();
        let mut answer = [0; 3];
        accepted.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"six");
    });
}
