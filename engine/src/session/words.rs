//! Sentences for the operator: what happened, and the mend.

use std::time::Duration;

use codec::Notification;
use codec::notification::{self as code, cease, message_header, open};

use super::action::{ConnectFailure, State};
use super::config::SessionConfig;
use super::exchange::reason;
use crate::config::PeerAddress;

/// The peer ended the session with this NOTIFICATION.
pub(super) fn received(config: &SessionConfig, notification: &Notification) -> String {
    let peer = config.peer_address;
    let reason = reason(notification);
    let mend = match (reason.code, reason.subcode) {
        (code::MESSAGE_HEADER, _) => {
            "it could not read our messages; look for a middlebox that rewrites the connection"
                .to_owned()
        }
        (code::OPEN, open::BAD_PEER_AS) => format!(
            "it expects another AS than our {}; correct its neighbor statement or localASN here",
            config.local_asn
        ),
        (code::OPEN, open::BAD_IDENTIFIER) => format!(
            "it does not take our BGP identifier {}; give each router its own",
            config.router_id
        ),
        (code::OPEN, open::UNACCEPTABLE_HOLD_TIME) => {
            "it wants a longer hold time; raise holdTimeSeconds".to_owned()
        }
        (code::OPEN, open::UNSUPPORTED_CAPABILITY) => {
            "it misses a capability, most often a family; activate our families there or change \
             families here"
                .to_owned()
        }
        (code::OPEN, open::ROLE_MISMATCH) => match config.role {
            Some(role) => format!(
                "our role {} does not fit the one that it has, or wants to be told; correct role \
                 here or there (RFC 9234)",
                role.word()
            ),
            None => "it wants to be told our role; set role here (RFC 9234)".to_owned(),
        },
        (code::OPEN, _) => "it refuses our OPEN; its log says why".to_owned(),
        (code::UPDATE, _) => "it could not take a route of ours; its log says which".to_owned(),
        (code::HOLD_TIMER_EXPIRED, _) => {
            "it heard nothing from us for its hold time; check the path and the load of this node"
                .to_owned()
        }
        (code::SEND_HOLD_TIMER_EXPIRED, _) => {
            "its messages were not taken for too long; check the load of this node".to_owned()
        }
        (code::CEASE, cease::MAX_PREFIXES) => {
            "we sent more routes than it allows; raise its limit or announce fewer".to_owned()
        }
        (code::CEASE, cease::ADMINISTRATIVE_SHUTDOWN) => {
            "it was shut down over there; it comes back when its operator starts it".to_owned()
        }
        (code::CEASE, cease::PEER_DECONFIGURED) => {
            "this neighbor was removed over there; configure it again or remove it here".to_owned()
        }
        (code::CEASE, cease::ADMINISTRATIVE_RESET | cease::OTHER_CONFIGURATION_CHANGE) => {
            "its operator did that; the session comes back by itself".to_owned()
        }
        (code::CEASE, cease::CONNECTION_REJECTED) => {
            "it does not want this connection now; see whether this neighbor is enabled there"
                .to_owned()
        }
        (code::CEASE, cease::CONNECTION_COLLISION) => {
            "two connections met; one is opened again by itself".to_owned()
        }
        (code::CEASE, cease::OUT_OF_RESOURCES) => {
            "it ran out of memory or room; mend that over there".to_owned()
        }
        _ => "its log says why".to_owned(),
    };
    format!("peer {peer} closed the session with {notification}: {mend}")
}

/// We ended the session because of what the peer sent, or because the operator wants it.
pub(super) fn sent(peer: PeerAddress, notification: &Notification) -> String {
    let what = match (notification.code, notification.subcode) {
        (code::CEASE, _) => {
            return format!("the session with peer {peer} was closed with {notification}");
        }
        (code::MESSAGE_HEADER, message_header::NOT_SYNCHRONIZED) => {
            "sent octets that are no BGP message: see what listens on that address"
        }
        (code::OPEN, open::UNSUPPORTED_VERSION) => {
            "speaks another version of BGP than 4: update the router"
        }
        (code::OPEN, open::BAD_PEER_AS) => {
            "says AS 0 or AS 23456 (AS_TRANS), which is nobody's: correct the router's AS; one \
             above 65535 needs the 4-octet AS capability"
        }
        (code::OPEN, open::BAD_IDENTIFIER) => {
            "says BGP identifier 0.0.0.0: set a router id on the router"
        }
        (code::OPEN, open::UNACCEPTABLE_HOLD_TIME) => {
            "offers a hold time of 1 or 2 s: set it to 0, or to 3 s or more, on the router"
        }
        _ => "sent what BGP does not allow: look at the router's software and its log",
    };
    format!("peer {peer} {what} (answered with {notification})")
}

/// A message that the state of the connection has no place for.
pub(super) fn unexpected(peer: PeerAddress, kind: &str, state: State) -> String {
    format!(
        "peer {peer} sent {kind} in state {}, where BGP does not allow it: look at the router's \
         software and its log",
        state.name()
    )
}

/// The connection ended under us.
pub(super) fn lost(peer: PeerAddress, state: State, why: &str) -> String {
    match state {
        State::OpenSent => format!(
            "peer {peer} took the connection and ended it without a BGP message ({why}): see \
             whether this node is a neighbor there, with the address it connects from"
        ),
        _ => format!(
            "the connection to peer {peer} ended ({why}): look at the router and the path to it"
        ),
    }
}

/// The connection could not be had.
pub(super) fn unreachable(config: &SessionConfig, why: &ConnectFailure) -> String {
    let why = match why {
        ConnectFailure::Here(why) => {
            return format!(
                "cannot connect to peer {} from here: {why}",
                config.peer_address
            );
        }
        ConnectFailure::There(why) => why,
    };
    // A kernel drops what is signed with another key in silence (RFC 2385 §2).
    let keys = if config.keyed {
        ", and that both sides have the same MD5 password"
    } else {
        ""
    };
    format!(
        "cannot connect to peer {} port {} ({why}): see whether BGP runs there and the path is \
         open{keys}",
        config.peer_address, config.peer_port
    )
}

/// Nothing came for the hold time.
pub(super) fn silent(peer: PeerAddress, state: State, time: Duration) -> String {
    let seconds = time.as_secs();
    match state {
        State::OpenSent => format!(
            "peer {peer} took the connection and sent no OPEN for {seconds} s: see whether this \
             node is a neighbor there"
        ),
        _ => format!(
            "peer {peer} was silent for the hold time of {seconds} s: look at the router, its \
             load and the path to it"
        ),
    }
}

/// Nothing was taken for the send hold time.
pub(super) fn stuck(peer: PeerAddress, time: Duration) -> String {
    format!(
        "peer {peer} took none of our messages for {} s (Send Hold Timer Expired): the router \
         stopped reading; look at its load, or restart its BGP",
        time.as_secs()
    )
}

/// One of two connections was closed.
pub(super) fn collided(peer: PeerAddress) -> String {
    format!("two connections with peer {peer} met, one was closed; nothing to mend")
}

/// It opened another connection while one was up.
pub(super) fn restarted(peer: PeerAddress) -> String {
    format!("peer {peer} opened a new session over the one that was up: it restarted")
}

/// Our process ends, and the connection without a word.
pub(super) fn left(peer: PeerAddress) -> String {
    format!("ringbgp stops; peer {peer} keeps our routes until it is back (RFC 4724)")
}
