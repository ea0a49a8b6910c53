//! What `rpki` asks and answers.

use serde::{Deserialize, Serialize};

/// One cache of the RPKI, as `ringbgp rpki -o json` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RpkiCache {
    /// `default`, or the name of a BGP instance.
    pub instance: String,
    /// Its address.
    pub address: String,
    /// Its port.
    pub port: u16,
    /// As configured; the least is used.
    pub preference: u8,
    /// Where it stands.
    pub state: RpkiState,
    /// The version of RTR that is spoken with it.
    pub version: Option<u8>,
    /// The session of its data; none without any.
    #[serde(rename = "sessionID")]
    pub session_id: Option<u16>,
    /// The serial of its data.
    pub serial: Option<u32>,
    /// Validated ROA payloads for IPv4.
    #[serde(rename = "ipv4VRPs")]
    pub ipv4_vrps: Option<u64>,
    /// Validated ROA payloads for IPv6.
    #[serde(rename = "ipv6VRPs")]
    pub ipv6_vrps: Option<u64>,
    /// Whether routes are judged by its data.
    pub in_use: bool,
    /// Until its data is used no more, unless it is refreshed.
    pub expires_in_seconds: Option<u64>,
    /// Until it is tried again; none unless it is waited for.
    pub next_attempt_seconds: Option<u64>,
    /// What went wrong last; none since it went right.
    pub last_error: Option<String>,
}

/// Where a cache stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RpkiState {
    /// A preferred one is used, or is being tried; or it is in use still and not in the settings any more.
    Standby,
    /// It is tried again later.
    Waiting,
    /// A connection is being made.
    Connecting,
    /// It owes an answer to the first query of its connection.
    Synchronizing,
    /// It has answered, and is asked again in time.
    Synchronized,
}

/// Which caches are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RpkiQuery {
    /// Only those of this instance.
    pub instance: Option<String>,
}

/// A validated ROA payload that covers a prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CoveringVrp {
    /// Its prefix.
    pub prefix: String,
    /// Up to which length the AS may originate what lies within the prefix.
    pub max_length: u8,
    /// The AS; 0: nobody may.
    pub asn: u32,
}
