//! One session, as `ringbgp peers` shows it.

use codec::Family;
use serde::{Deserialize, Serialize};

use super::text::{SAFI_UNICAST, afi_name};

/// One session, as `ringbgp peers -o json` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// `default`, or the name of a BGP instance.
    pub instance: String,
    /// The peer's address, with `%zone` where there is one.
    pub peer_address: String,
    /// The AS of the peer: as it said in OPEN, else as configured; none while any would do.
    #[serde(rename = "peerASN")]
    pub peer_asn: Option<u32>,
    /// The name that the peer gives itself in OPEN; none while it is not established, or gives none.
    /// As hostile as the peer, but for control characters, which are replaced.
    pub peer_hostname: Option<String>,
    /// Our end of the connection; none without one.
    pub local_address: Option<String>,
    /// Our AS towards this peer.
    #[serde(rename = "localASN")]
    pub local_asn: u32,
    /// Whether it is a client that this speaker reflects routes for (RFC 4456).
    pub route_reflector_client: bool,
    /// Whether it is a client of this speaker as a route server (RFC 7947).
    pub route_server_client: bool,
    /// Where the session stands.
    pub state: PeerState,
    /// Seconds since the session was established; none while it is not.
    pub uptime_seconds: Option<u64>,
    /// Seconds since the session was lost or, if it never stood, since it was configured; none
    /// while it is established.
    pub downtime_seconds: Option<u64>,
    /// Whether an operator has it drained (RFC 8326).
    pub drain: Option<DrainState>,
    /// Why the session went down last, or does not come up.
    pub last_error: Option<String>,
    /// Seconds since that happened; none where `lastError` says what is so now (the peer is drained, or
    /// not read, or says more prefixes than it is to, or was not asked for routes that are missing), and
    /// without it.
    pub last_error_age_seconds: Option<u64>,
    /// The update group, numbered within the shard; none while it is not established.
    pub group: Option<u32>,
    /// The shard that the peer lives on.
    pub shard: u8,
    /// What was wrong in its UPDATEs.
    pub malformed_updates: MalformedUpdates,
    /// Prefix counts, one entry for each configured family.
    pub families: Vec<FamilyCounts>,
}

/// What malformed UPDATEs of a peer did (RFC 7606), since it was configured or, if dynamic, came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MalformedUpdates {
    /// Those of which attributes were discarded, and the routes stood.
    pub attribute_discard: u64,
    /// Those whose announced routes were taken as withdrawn.
    pub treat_as_withdraw: u64,
    /// The routes of those.
    pub routes_withdrawn: u64,
    /// Those that cost the session.
    pub session_reset: u64,
}

/// How far a peer is that an operator has drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DrainState {
    /// It is told that the session will be closed.
    Draining,
    /// The session is closed and stays so.
    Drained,
}

/// The state of a session (RFC 4271 §8.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names of the RFC")]
pub enum PeerState {
    Idle,
    Connect,
    Active,
    OpenSent,
    OpenConfirm,
    Established,
}

/// Prefixes exchanged with one peer in one family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FamilyCounts {
    /// `ipv4` or `ipv6`.
    pub afi: String,
    /// `unicast`.
    pub safi: String,
    /// Distinct prefixes in the Adj-RIB-In, before policy.
    pub received: u64,
    /// Those of them that import policy let through.
    pub accepted: u64,
    /// Prefixes in the Adj-RIB-Out.
    pub advertised: u64,
    /// Those of the received that the peer has yet to say again, since it went away (RFC 4724, RFC
    /// 9494) or because it refreshes (RFC 7313).
    pub stale: u64,
}

impl FamilyCounts {
    /// The counts of `family`, with nothing stale.
    pub fn new(family: Family, received: u64, accepted: u64, advertised: u64) -> FamilyCounts {
        FamilyCounts {
            afi: afi_name(family).to_owned(),
            safi: SAFI_UNICAST.to_owned(),
            received,
            accepted,
            advertised,
            stale: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_has_exactly_the_promised_json() {
        let peer = Peer {
            instance: "default".to_owned(),
            peer_address: "10.0.0.6".to_owned(),
            peer_asn: Some(65001),
            peer_hostname: Some("tor1".to_owned()),
            local_address: None,
            local_asn: 65001,
            route_reflector_client: true,
            route_server_client: false,
            state: PeerState::OpenSent,
            uptime_seconds: None,
            downtime_seconds: Some(3),
            drain: None,
            last_error: Some("Cease/Administrative Shutdown".to_owned()),
            last_error_age_seconds: Some(3),
            group: None,
            shard: 1,
            malformed_updates: MalformedUpdates {
                attribute_discard: 1,
                ..MalformedUpdates::default()
            },
            families: vec![FamilyCounts::new(Family::Ipv4Unicast, 3, 2, 1)],
        };
        assert_eq!(
            serde_json::to_string(&peer).unwrap(),
            concat!(
                r#"{"instance":"default","peerAddress":"10.0.0.6","peerASN":65001,"#,
                r#""peerHostname":"tor1","localAddress":null,"localASN":65001,"routeReflectorClient":true,"#,
                r#""routeServerClient":false,"state":"openSent","#,
                r#""uptimeSeconds":null,"downtimeSeconds":3,"#,
                r#""drain":null,"lastError":"Cease/Administrative Shutdown","#,
                r#""lastErrorAgeSeconds":3,"group":null,"shard":1,"#,
                r#""malformedUpdates":{"attributeDiscard":1,"treatAsWithdraw":0,"#,
                r#""routesWithdrawn":0,"sessionReset":0},"#,
                r#""families":[{"afi":"ipv4","safi":"unicast","received":3,"accepted":2,"#,
                r#""advertised":1,"stale":0}]}"#
            )
        );
    }
}
