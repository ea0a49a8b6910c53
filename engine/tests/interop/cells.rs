//! What there is to show with routers that others wrote: the features, the routers, and which router
//! lacks which feature. `docs/interop.md` is made from this and from tags; `offers` holds what can be
//! seen in an OPEN against the routers themselves.

#![allow(dead_code)] // each program uses its part

/// The routers, by their names in tags, as the page calls them.
pub(crate) const ROUTERS: [(&str, &str); 5] = [
    ("bird", "BIRD 2.0.12"),
    ("frr", "FRR 8.4.4"),
    ("gobgp", "GoBGP 3.10"),
    ("openbgpd", "OpenBGPD 7.7"),
    ("exabgp", "ExaBGP 4.2.21"),
];

/// Something that two speakers do with each other.
pub(crate) struct Feature {
    /// In tags.
    pub(crate) name: &'static str,
    pub(crate) words: &'static str,
    /// The routers that lack it.
    pub(crate) lacks: &'static [&'static str],
    /// It is offered by a capability, so that an OPEN shows who has it.
    pub(crate) is_offered: bool,
}

const fn of_all(name: &'static str, words: &'static str) -> Feature {
    Feature {
        name,
        words,
        lacks: &[],
        is_offered: false,
    }
}

const fn offered(
    name: &'static str,
    words: &'static str,
    lacks: &'static [&'static str],
) -> Feature {
    Feature {
        name,
        words,
        lacks,
        is_offered: true,
    }
}

/// ExaBGP says what it is told to say: it has no table to reflect from or to limit.
const fn of_tables(name: &'static str, words: &'static str) -> Feature {
    Feature {
        name,
        words,
        lacks: &["exabgp"],
        is_offered: false,
    }
}

pub(crate) const FEATURES: [Feature; 18] = [
    of_all("sessions", "Sessions and routes, IPv4 and IPv6"),
    of_all("md5", "TCP MD5 (2385)"),
    of_all("gtsm", "GTSM (5082)"),
    of_all(
        "communities",
        "Standard, large and extended communities unchanged",
    ),
    offered("refresh", "Route refresh (2918)", &[]),
    offered(
        "enhanced refresh",
        "Enhanced route refresh (7313)",
        &["gobgp"],
    ),
    offered(
        "restart",
        "Graceful restart (4724): who restarts says so, the other keeps",
        &["openbgpd"],
    ),
    offered(
        "notification",
        "Graceful restart over NOTIFICATION (8538)",
        &["bird", "openbgpd", "exabgp"],
    ),
    offered(
        "long-lived restart",
        "Long-lived graceful restart (9494)",
        &["openbgpd", "exabgp"],
    ),
    offered("add-path", "ADD-PATH (7911)", &[]),
    offered(
        "extended messages",
        "Extended messages (8654)",
        &["gobgp", "openbgpd"],
    ),
    offered(
        "extended next hop",
        "IPv4 with an IPv6 next hop (8950)",
        &["openbgpd"],
    ),
    offered("roles", "Roles and OTC (9234)", &["gobgp", "exabgp"]),
    of_tables("reflection", "Route reflection (4456)"),
    of_tables("route server", "Route server (7947)"),
    of_tables("max-prefix", "A limit on prefixes (4486)"),
    of_all("graceful shutdown", "Graceful shutdown (8326)"),
    of_all("dynamic", "Neighbors by prefix"),
];
