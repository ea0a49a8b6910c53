//! What there is to show with programs that others wrote: the features, the routers and caches, and
//! who lacks which feature. What no router has, a scripted speaker shows. `docs/interop.md` is made from
//! this and from tags; `offers` holds what can be seen in an OPEN against the routers themselves.

#![allow(dead_code)] // each program uses its part

/// A table of the page: features by parties.
pub(crate) struct Table {
    /// Its heading and what stands below that.
    pub(crate) title: &'static str,
    pub(crate) words: &'static str,
    /// Who has a column: the name in tags, and on the page.
    pub(crate) parties: &'static [(&'static str, &'static str)],
    pub(crate) features: &'static [Feature],
}

pub(crate) const TABLES: [Table; 3] = [
    Table {
        title: "Routers",
        words: "",
        parties: &ROUTERS,
        features: &FEATURES,
    },
    Table {
        title: "Caches of the RPKI",
        words: "RTR (8210, and 6810 with a cache that knows no better) and what follows for routes (6811).\n\
                That data of a cache that stays away expires takes ten minutes at least, and is shown on\n\
                a virtual clock ([`without_a_cache_everything_is_not_found_in_the_end`](../engine/src/rpki/tests/sessions.rs)).\n\n",
        parties: &[("stayrtr", "stayrtr 0.5.1")],
        features: &CACHE_FEATURES,
    },
    Table {
        title: "A scripted speaker",
        words: "What no router here has, or not in each direction, is shown with a peer that says what a\n\
                test tells it, towards the running daemon.\n\n",
        parties: &[("scripted", "scripted speaker")],
        features: &SCRIPTED_FEATURES,
    },
];

/// The routers, by their names in tags, as the page calls them.
pub(crate) const ROUTERS: [(&str, &str); 5] = [
    ("bird", "BIRD 2.0.12"),
    ("frr", "FRR 8.4.4"),
    ("gobgp", "GoBGP 3.10"),
    ("openbgpd", "OpenBGPD 7.7"),
    ("exabgp", "ExaBGP 4.2.21"),
];

/// What a router does towards us.
pub(crate) const IN: &str = "←";
/// What we do towards a router.
pub(crate) const OUT: &str = "→";
/// Both.
pub(crate) const BOTH: &str = "↔";

/// Something that two speakers do with each other.
pub(crate) struct Feature {
    /// In tags.
    pub(crate) name: &'static str,
    pub(crate) words: &'static str,
    /// The arrows that complete a cell.
    pub(crate) ways: &'static str,
    /// Who lacks it altogether.
    pub(crate) lacks: &'static [&'static str],
    /// It is offered by a capability, so that an OPEN shows who has it.
    pub(crate) is_offered: bool,
}

const fn of_all(name: &'static str, words: &'static str) -> Feature {
    Feature {
        name,
        words,
        ways: BOTH,
        lacks: &[],
        is_offered: false,
    }
}

/// With this alone the other side has something to do.
const fn taken(name: &'static str, words: &'static str) -> Feature {
    Feature {
        ways: IN,
        ..of_all(name, words)
    }
}

/// With this alone we have something to do.
const fn done(name: &'static str, words: &'static str) -> Feature {
    Feature {
        ways: OUT,
        ..of_all(name, words)
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
        ways: BOTH,
        lacks,
        is_offered: true,
    }
}

pub(crate) const FEATURES: [Feature; 21] = [
    of_all("sessions", "Sessions and routes, IPv4 and IPv6"),
    of_all(
        "all capabilities",
        "Every capability at once, of both sides",
    ),
    Feature {
        lacks: &["gobgp"],
        ..of_all(
            "no capabilities",
            "As few capabilities as it can have; two-octet AS numbers (6793)",
        )
    },
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
        &[],
    ),
    offered(
        "notification",
        "Graceful restart over NOTIFICATION (8538)",
        &["bird", "openbgpd", "exabgp"],
    ),
    Feature {
        lacks: &["bird", "openbgpd", "exabgp"],
        ..of_all("hard reset", "Hard Reset (8538)")
    },
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
    of_all("reflection", "Route reflection (4456)"),
    of_all("route server", "Route server (7947)"),
    of_all("max-prefix", "A limit on prefixes (4486)"),
    of_all("graceful shutdown", "Graceful shutdown (8326)"),
    of_all("dynamic", "Neighbors by prefix"),
];

/// What a router takes part in, but does not offer.
pub(crate) const NOT_OFFERED: [(&str, &str); 1] = [("openbgpd", "restart")];

/// What a cache does and what comes of it: everything but our queries is the cache's.
pub(crate) const CACHE_FEATURES: [Feature; 8] = [
    of_all("version 1", "Version 1 (8210)"),
    of_all("version 0", "Version 0 (6810)"),
    taken(
        "new data",
        "New VRPs while routes change: no route is told wrongly in between",
    ),
    taken("killed", "Killed: what it said counts on"),
    taken(
        "restarted",
        "Started again, as a new session with other VRPs",
    ),
    taken(
        "hangs",
        "Stopped: given up, what it said counts until another one answers",
    ),
    taken("takes over", "The next cache takes over"),
    taken("gives back", "The preferred one is back"),
];

/// What a peer does that says what it is told to.
pub(crate) const SCRIPTED_FEATURES: [Feature; 13] = [
    of_all(
        "send hold",
        "Send hold timer: who stops reading is told 8/0 and dropped; who says that we did, is understood (9687)",
    ),
    of_all(
        "hard reset",
        "Both have the N bit: a Hard Reset (6/9) takes routes, another NOTIFICATION does not (8538)",
    ),
    of_all(
        "plain notification",
        "A peer without the N bit, as BIRD: no Hard Reset, and every NOTIFICATION takes routes (8538)",
    ),
    of_all(
        "long-lived restart",
        "Routes that are kept for long, towards who knows that and who does not (9494)",
    ),
    of_all(
        "role mismatch",
        "Roles that do not fit, or lack where they must not: 2/11 (9234)",
    ),
    of_all(
        "two-octet as",
        "A speaker of two-octet AS numbers: AS_TRANS, AS4_PATH (6793)",
    ),
    taken(
        "extended open",
        "An OPEN with more parameters than 255 octets (9072)",
    ),
    taken(
        "refresh length",
        "A bound of a refresh that has another length: 7/1 (7313)",
    ),
    taken(
        "confederation",
        "Confederation segments of an outsider: treat-as-withdraw (5065)",
    ),
    taken(
        "long message",
        "More than 4,096 octets of a peer that did not offer that: 1/2 (8654)",
    ),
    of_all(
        "unknown attributes",
        "Unknown attributes: transitive ones go on, others do not (4271)",
    ),
    taken(
        "malformed",
        "Malformed UPDATEs: each costs what it must, and no more (7606)",
    ),
    taken(
        "nonsense",
        "Nonsense, silence, half messages: NOTIFICATION and its reason, other sessions stand (4271)",
    ),
];
