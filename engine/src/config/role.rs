//! BGP roles (RFC 9234): what our AS is to an external peer's.

/// What we are to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// It is our customer.
    Provider,
    /// It is a client of our route server.
    RouteServer,
    /// It is a route server, and we its client.
    RouteServerClient,
    /// It is our provider.
    Customer,
    /// Each hears of the other what its customers said.
    Peer,
}

impl Role {
    /// All of them.
    pub const ALL: [Role; 5] = [
        Role::Provider,
        Role::RouteServer,
        Role::RouteServerClient,
        Role::Customer,
        Role::Peer,
    ];

    /// The value in OPEN (RFC 9234 §4.1).
    pub fn code(self) -> u8 {
        match self {
            Role::Provider => 0,
            Role::RouteServer => 1,
            Role::RouteServerClient => 2,
            Role::Customer => 3,
            Role::Peer => 4,
        }
    }

    /// The word in settings.
    pub fn word(self) -> &'static str {
        match self {
            Role::Provider => "provider",
            Role::RouteServer => "rs",
            Role::RouteServerClient => "rs-client",
            Role::Customer => "customer",
            Role::Peer => "peer",
        }
    }

    /// What the peer is then (RFC 9234 §4.2).
    pub fn counterpart(self) -> Role {
        match self {
            Role::Provider => Role::Customer,
            Role::Customer => Role::Provider,
            Role::RouteServer => Role::RouteServerClient,
            Role::RouteServerClient => Role::RouteServer,
            Role::Peer => Role::Peer,
        }
    }

    /// Whether what the peer is told may go on to its customers only (RFC 9234 §5: towards customers,
    /// peers and clients of a route server).
    pub fn marks_what_it_tells(self) -> bool {
        matches!(self, Role::Provider | Role::Peer | Role::RouteServer)
    }

    /// Whether what the peer says may go on to customers only (RFC 9234 §5: of providers, peers and
    /// route servers); and what so may is not told to the peer.
    pub fn marks_what_it_hears(self) -> bool {
        matches!(self, Role::Customer | Role::Peer | Role::RouteServerClient)
    }
}
