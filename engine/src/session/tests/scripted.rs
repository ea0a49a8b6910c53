//! A session alone, with the peer played by the test.

use std::net::Ipv4Addr;

use codec::{Capability, Message, Notification, Open};

use super::{at, config, local};
use crate::session::{Accept, Received, Session, SessionAction, SessionConfig, Slot, State};
use crate::time::Time;

/// What a session did, in words short enough for a table.
pub(super) fn drain(session: &mut Session) -> Vec<String> {
    session.audit();
    let mut done = Vec::new();
    while let Some(action) = session.poll_action() {
        done.push(match action {
            SessionAction::Accepted => continue,
            SessionAction::MakeRoom => "make room".to_owned(),
            SessionAction::Connect => "connect".to_owned(),
            SessionAction::Transmit(slot, message) => format!("{} to {slot:?}", name(&message)),
            SessionAction::Close(slot) => format!("close {slot:?}"),
            SessionAction::Established(slot, _) => format!("up {slot:?}"),
            SessionAction::Down(_) => "down".to_owned(),
        });
    }
    done
}

fn name(message: &[u8]) -> String {
    match codec::parse_message(message).expect("what a session sends is well-formed") {
        Message::Open(_) => "open".to_owned(),
        Message::Keepalive => "keepalive".to_owned(),
        Message::Notification(Notification { code, subcode, .. }) => format!("{code}/{subcode}"),
        Message::Update(_) => "update".to_owned(),
        Message::RouteRefresh(_) => "refresh".to_owned(),
    }
}

/// The OPEN of a good peer of [`config`].
pub(super) fn peer_open() -> Open {
    Open {
        version: 4,
        asn: 65002,
        hold_time: 90,
        identifier: Ipv4Addr::new(10, 0, 0, 6),
        capabilities: vec![
            Capability::Multiprotocol { afi: 1, safi: 1 },
            Capability::Multiprotocol { afi: 2, safi: 1 },
            Capability::RouteRefresh,
            Capability::FourOctetAs(65002),
        ],
    }
}

pub(super) fn open_bytes(open: &Open) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec::encode_open(open, &mut bytes);
    bytes
}

pub(super) fn keepalive_bytes() -> Vec<u8> {
    let mut bytes = Vec::new();
    codec::encode_keepalive(&mut bytes);
    bytes
}

pub(super) fn notification_bytes(code: u8, subcode: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let notification = Notification {
        code,
        subcode,
        data: bytes::Bytes::new(),
    };
    codec::encode_notification(&notification, &mut bytes);
    bytes
}

/// End-of-RIB of IPv4: the smallest UPDATE.
pub(super) fn update_bytes() -> Vec<u8> {
    let mut bytes = vec![0xff; 16];
    bytes.extend_from_slice(&[0, 23, 2, 0, 0, 0, 0]);
    bytes
}

pub(super) fn refresh_bytes(afi: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    codec::encode_route_refresh(
        &codec::RouteRefresh {
            afi,
            safi: 1,
            subtype: 0,
        },
        &mut bytes,
    );
    bytes
}

/// Hands in a message; true if the shard has something to do.
pub(super) fn hear(session: &mut Session, now: Time, slot: Slot, message: &[u8]) -> bool {
    !matches!(
        session.handle_message(now, slot, message),
        Received::Nothing
    )
}

/// A session in `state` with one connection on `slot` (Outgoing below OpenSent), at second 1,
/// with nothing left to drain.
pub(super) fn session_in(state: State, slot: Slot, config: SessionConfig) -> Session {
    let mut session = Session::new(config, 1);
    let now = at(1);
    if state == State::Idle {
        return session;
    }
    session.handle_start(now);
    if state >= State::Active && (slot == Slot::Incoming || state == State::Active) {
        if session.state() == State::Connect {
            session.handle_connect_failed(now, "connection refused");
        }
        if state > State::Active {
            assert_eq!(session.handle_accepted(now, local()), Accept::Taken);
        }
    } else if state > State::Active {
        session.handle_connected(now, local());
    }
    if state >= State::OpenConfirm {
        hear(&mut session, now, slot, &open_bytes(&peer_open()));
    }
    if state >= State::Established {
        hear(&mut session, now, slot, &keepalive_bytes());
    }
    assert_eq!(session.state(), state);
    drain(&mut session);
    session
}

/// [`session_in`] with the usual configuration and an outgoing connection.
pub(super) fn outgoing_in(state: State) -> Session {
    session_in(state, Slot::Outgoing, config())
}
