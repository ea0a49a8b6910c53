//! What all routers have in common: what a test asks of them, and how they answer.

use std::collections::BTreeMap;
use std::path::Path;

use crate::lab::{
    Lab, Namespace, RINGBGP_V4, RINGBGP_V6, ROUTER_V4, ROUTER_V6, SECOND_ROUTER_V4,
    SECOND_ROUTER_V6,
};
use crate::process::eventually;
use crate::{bird, exabgp, frr, gobgp, openbgpd};

/// A daemon that speaks BGP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RouterKind {
    Frr,
    Bird,
    Gobgp,
    Openbgpd,
    Exabgp,
}

/// The family of a session's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    Ipv4,
    Ipv6,
}

/// How a router is configured towards ringbgp. Both families are activated where a session can
/// carry them.
#[derive(Clone, Debug)]
pub(crate) struct RouterSpec {
    pub(crate) asn: u32,
    pub(crate) peer_asn: u32,
    pub(crate) over: Over,
    /// On the second router's host.
    pub(crate) second: bool,
    pub(crate) password: Option<&'static str>,
    pub(crate) gtsm: bool,
    pub(crate) passive: bool,
    /// It restarts gracefully, and helps who does.
    pub(crate) graceful: bool,
    /// With `graceful`: its restart time, and that of its routes past it (RFC 9494), in seconds.
    pub(crate) long_lived: Option<(u32, u32)>,
    /// What its neighbor statement has beside, in its own words; `PEER` is ringbgp.
    pub(crate) of_neighbor: &'static str,
    /// The same of each family of that.
    pub(crate) of_family: &'static str,
    /// It knows ringbgp by a prefix only, and waits for it to connect.
    pub(crate) by_prefix: bool,
    /// The MED of what it announces.
    pub(crate) med: Option<u32>,
    /// What it announces has these: a standard, a large and an extended community, a route target.
    pub(crate) communities: Option<[&'static str; 3]>,
    /// Prefixes that it announces.
    pub(crate) announce: Vec<&'static str>,
}

/// A route that a router learned from ringbgp.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Learned {
    /// The global next hop.
    pub(crate) next_hop: String,
    pub(crate) as_path: Vec<u32>,
    pub(crate) local_pref: Option<u32>,
    pub(crate) med: Option<u32>,
    pub(crate) originator_id: Option<String>,
    pub(crate) cluster_list: Vec<String>,
    pub(crate) communities: Vec<String>,
    pub(crate) large_communities: Vec<String>,
    /// Route targets are `rt:` and the value, whatever the router calls them.
    pub(crate) extended_communities: Vec<String>,
}

/// Prefix to route.
pub(crate) type Table = BTreeMap<String, Learned>;

/// A running router.
pub(crate) trait Router: Sync {
    /// The routes of both families that it learned from ringbgp.
    fn learned(&self) -> Result<Table, String>;

    /// SIGKILL.
    fn crash(&mut self) {
        panic!("nobody kills this router");
    }

    /// After a crash: a start that continues what was, as it is configured now. Only where the router
    /// can do that.
    fn restart(&mut self, _: &Lab, _: &RouterSpec) {
        panic!("this router does not restart gracefully");
    }

    /// Has it reset the session, with a NOTIFICATION that is no Hard Reset.
    fn reset(&self) {
        panic!("nobody has this router reset the session");
    }

    /// Has it shut the session down, as its operator would.
    fn shut_down(&self) {
        panic!("nobody has this router shut the session down");
    }

    /// Has it ask ringbgp for its routes again.
    fn ask_refresh(&self) {
        panic!("nobody has this router ask");
    }

    /// Its view of the session with ringbgp, for complaints.
    fn session(&self) -> String;
}

impl RouterSpec {
    /// An active router in `asn` over IPv4 without extras.
    pub(crate) fn new(asn: u32, peer_asn: u32) -> RouterSpec {
        RouterSpec {
            asn,
            peer_asn,
            over: Over::Ipv4,
            second: false,
            password: None,
            gtsm: false,
            passive: false,
            graceful: false,
            long_lived: None,
            of_neighbor: "",
            of_family: "",
            by_prefix: false,
            med: None,
            communities: None,
            announce: vec!["192.168.100.0/24", "2001:db8:100::/48"],
        }
    }

    /// The router's address.
    pub(crate) fn local(&self) -> &'static str {
        match self.over {
            Over::Ipv4 => self.id(),
            Over::Ipv6 if self.second => SECOND_ROUTER_V6,
            Over::Ipv6 => ROUTER_V6,
        }
    }

    /// Its identifier: the IPv4 address of its host. Above ringbgp's, so it wins collisions.
    pub(crate) fn id(&self) -> &'static str {
        match self.second {
            true => SECOND_ROUTER_V4,
            false => ROUTER_V4,
        }
    }

    /// Its host.
    pub(crate) fn host<'lab>(&self, lab: &'lab Lab) -> &'lab Namespace {
        match self.second {
            true => &lab.second,
            false => &lab.router,
        }
    }

    /// ringbgp's address.
    pub(crate) fn peer(&self) -> &'static str {
        match self.over {
            Over::Ipv4 => RINGBGP_V4,
            Over::Ipv6 => RINGBGP_V6,
        }
    }

    /// The IPv4 (`false`) or IPv6 (`true`) part of what it announces.
    pub(crate) fn announced(&self, ipv6: bool) -> impl Iterator<Item = &'static str> {
        let prefixes = self.announce.iter().copied();
        prefixes.filter(move |prefix| prefix.contains(':') == ipv6)
    }
}

impl RouterKind {
    /// A program that it needs and that is not there.
    pub(crate) fn missing_program(self) -> Option<&'static str> {
        let programs: &[&str] = match self {
            RouterKind::Frr => &[frr::ZEBRA, frr::BGPD, frr::VTYSH],
            RouterKind::Bird => &[bird::BIRD, bird::BIRDC],
            RouterKind::Gobgp => &[gobgp::GOBGPD, gobgp::GOBGP],
            RouterKind::Openbgpd => &[openbgpd::BGPD, openbgpd::BGPCTL],
            RouterKind::Exabgp => &[exabgp::EXABGP],
        };
        programs
            .iter()
            .copied()
            .find(|program| !Path::new(program).exists())
    }

    /// Starts the router at its end of the lab.
    pub(crate) fn start(self, lab: &Lab, spec: &RouterSpec) -> Box<dyn Router> {
        match self {
            RouterKind::Frr => Box::new(frr::Frr::start(lab, spec)),
            RouterKind::Bird => Box::new(bird::Bird::start(lab, spec)),
            RouterKind::Gobgp => Box::new(gobgp::Gobgp::start(lab, spec)),
            RouterKind::Openbgpd => Box::new(openbgpd::Openbgpd::start(lab, spec)),
            RouterKind::Exabgp => Box::new(exabgp::Exabgp::start(lab, spec)),
        }
    }
}

impl dyn Router + '_ {
    /// Waits until the router has learned exactly these prefixes; returns its table.
    pub(crate) fn wait_for(&self, prefixes: &[&str]) -> Table {
        let mut wanted: Vec<&str> = prefixes.to_vec();
        wanted.sort_unstable();
        eventually(&format!("the router holds {wanted:?}"), || {
            let table = self.learned()?;
            let mut held: Vec<&str> = table.keys().map(String::as_str).collect();
            held.sort_unstable();
            if held == wanted {
                Ok(table)
            } else {
                Err(format!("it holds {held:?}; {}", self.session()))
            }
        })
    }
}

/// What a test that cannot parse an answer says.
pub(crate) fn parse_json(text: &str) -> Result<serde_json::Value, String> {
    serde_json::from_str(text).map_err(|error| format!("{error} in {text:?}"))
}
