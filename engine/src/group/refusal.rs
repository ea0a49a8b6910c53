//! Why a path is not told to the peers of a view.

/// Why a path is not told to the peers of a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The neighbor's `export` does not cover it.
    ExportPolicy,
    /// A statement of the export policy, or its `defaultAction`.
    Statement(Option<u16>),
    /// Internal peers hear from internal peers only through a reflector (RFC 4271 §9.2, RFC 4456).
    InternalToInternal,
    /// NO_ADVERTISE, NO_EXPORT or NO_EXPORT_SUBCONFED (RFC 1997).
    WellKnownCommunity,
    /// It was to go to customers only (RFC 9234).
    OnlyToCustomer,
    /// No next hop can be given.
    NoNextHop,
    /// The table has no room for what export policy made of it.
    NoRoom,
    /// It is an IPv4 route with an IPv6 next hop, which the peer did not offer to take (RFC 8950).
    Ipv6NextHop,
    /// The peers do not know what LLGR_STALE means (RFC 9494 §4.3).
    LongLivedStale,
    /// An attribute grew past what its length field can say.
    TooLong,
}

impl Refusal {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Refusal::Statement(_) => "export policy rejects it",
            Refusal::ExportPolicy => "the neighbor's `export` does not cover it",
            Refusal::InternalToInternal => {
                "it was learned from an internal peer, and internal peers of which neither is a routeReflectorClient hear each other directly (RFC 4456 §6)"
            }
            Refusal::WellKnownCommunity => "a well-known community forbids it (RFC 1997)",
            Refusal::OnlyToCustomer => {
                "it carries OTC, and so goes to customers only; by role this neighbor is a provider, a peer or a route server (RFC 9234 §5)"
            }
            Refusal::NoNextHop => "there is no next hop of its family for this session",
            Refusal::NoRoom => "the table has no room for what export policy made of it",
            Refusal::Ipv6NextHop => {
                "its next hop is an IPv6 address, which this session did not negotiate for IPv4 (RFC 8950): extendedNextHop on both sides, or nextHopSelf: Always"
            }
            Refusal::LongLivedStale => {
                "it is stale (LLGR_STALE), and the peer did not offer long-lived graceful restart (RFC 9494)"
            }
            Refusal::TooLong => "its attributes do not fit a message",
        }
    }
}
