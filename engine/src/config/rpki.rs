//! Where validated ROA payloads come from (RFC 8210).

use std::net::SocketAddr;
use std::time::Duration;

/// The caches of an instance, and what holds for them until they say otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rpki {
    /// At most 16, each address and port once; none: origins are not validated.
    pub caches: Vec<RtrCache>,
    /// Between queries of a cache that gives no Refresh Interval of its own.
    pub refresh: Duration,
    /// After a query that failed, likewise.
    pub retry: Duration,
    /// How long data is used that was not refreshed, likewise.
    pub expire: Duration,
}

/// One cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtrCache {
    /// Where it listens.
    pub address: SocketAddr,
    /// The cache of the least is used, as long as it can be.
    pub preference: u8,
}

impl Default for Rpki {
    /// No cache; the intervals of RFC 8210 §6.
    fn default() -> Rpki {
        Rpki {
            caches: Vec::new(),
            refresh: Duration::from_secs(3600),
            retry: Duration::from_secs(600),
            expire: Duration::from_secs(7200),
        }
    }
}
