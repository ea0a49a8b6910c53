//! Options that OPEN negotiates, and limits, against routers: roles (RFC 9234), extended messages
//! (RFC 8654), extended next hop (RFC 8950), the number of prefixes.

use crate::bird::Bird;
use crate::daemon::{Daemon, config, neighbor, policy};
use crate::exabgp::Exabgp;
use crate::frr::Frr;
use crate::lab::{
    Lab, RINGBGP_V4, RINGBGP_V6, ROUTER_V4, ROUTER_V6, SECOND_ROUTER_V4, SECOND_ROUTER_V6,
};
use crate::openbgpd::Openbgpd;
use crate::process::eventually;
use crate::router::{Over, Router, RouterKind, RouterSpec, parse_json};

const LONG: usize = 400;

/// BIRD in an AS over IPv6 with every option, and perhaps a role; it announces 192.168.`net`.0/24 and,
/// with more communities than 4,096 octets hold, the one after it.
fn bird((local, id): (&str, &str), asn: u32, role: Option<&str>, net: u8) -> String {
    let communities: String = (0..LONG)
        .map(|number| format!("bgp_large_community.add((65002, 1, {number})); "))
        .collect();
    let role = role.map_or(String::new(), |role| format!("local role {role};"));
    format!(
        "log stderr all;
router id {id};
protocol device {{}}
protocol static {{
  ipv4;
  route 192.168.{net}.0/24 blackhole;
  route 192.168.{long}.0/24 blackhole {{ {communities} }};
}}
protocol bgp ringbgp {{
  local {local} as {asn};
  neighbor {RINGBGP_V6} as 65001;
  direct;
  strict bind yes;
  connect delay time 1;
  connect retry time 1;
  error wait time 1, 2;
  {role}
  enable extended messages yes;
  ipv4 {{ import all; export where source = RTS_STATIC; extended next hop yes; }};
}}
",
        long = net + 1
    )
}

const FIRST: (&str, &str) = (ROUTER_V6, ROUTER_V4);
const SECOND: (&str, &str) = (SECOND_ROUTER_V6, SECOND_ROUTER_V4);

/// A node that announces one route.
fn manifests(neighbors: &[String]) -> [(&'static str, String); 2] {
    [
        ("config.yaml", config(65001, "", neighbors)),
        ("policy.yaml", policy("external", &["192.0.2.0/24"])),
    ]
}

/// What is said by a second BIRD goes on to the router in question.
fn second() -> String {
    neighbor(SECOND_ROUTER_V6, 65003, "import: all")
}

fn start<'lab>(lab: &'lab Lab, manifests: &[(&'static str, String); 2]) -> Daemon<'lab> {
    let manifests = manifests
        .each_ref()
        .map(|(name, text)| (*name, text.as_str()));
    Daemon::start(Some(&lab.node), &manifests)
}

// INTEROP bird: extended messages, extended next hop, roles
#[test]
fn bird_negotiates_all_options_both_ways() {
    let Some(lab) = Lab::for_routers(&[RouterKind::Bird]) else {
        return;
    };
    let options = "import: all, export: all, role: provider, roleStrict: true";
    let first = neighbor(ROUTER_V6, 65002, options);
    let ringbgp = start(&lab, &manifests(&[first, second()]));
    let _second = Bird::start_with(&lab.second, &bird(SECOND, 65003, None, 110));
    let bird = Bird::start_with(&lab.router, &bird(FIRST, 65002, Some("customer"), 100));
    ringbgp.wait_established(ROUTER_V6);
    for prefix in ["192.0.2.0/24", "192.168.111.0/24"] {
        let learned = bird.wait_for_one(prefix);
        // Our address on the session, and OTC towards a customer.
        let next_hop = format!("BGP.next_hop: {RINGBGP_V6}");
        assert!(learned.contains(&next_hop), "{learned}");
        assert!(learned.contains("BGP.otc: 65001"), "{learned}");
    }
    let long = bird.wait_for_one("192.168.111.0/24");
    assert_eq!(long.matches("(65002, 1, ").count(), LONG, "{long}");

    let received = ["routes", "received", "--peer", ROUTER_V6];
    let wanted = ["192.168.100.0/24", "192.168.101.0/24"];
    ringbgp.wait_for_prefixes(&received, &wanted);
    let routes = ringbgp.ask(&received).unwrap();
    for route in routes.as_array().unwrap() {
        assert_eq!(route["nextHop"], ROUTER_V6);
        assert_eq!(route["accepted"], true);
    }
    let long = routes[1]["largeCommunities"].as_array().unwrap();
    assert_eq!(long.len(), LONG);
}

#[test]
fn bird_with_a_role_that_does_not_fit_is_refused_with_words() {
    let Some(lab) = Lab::for_routers(&[RouterKind::Bird]) else {
        return;
    };
    let options = "import: all, role: provider";
    let ringbgp = start(&lab, &manifests(&[neighbor(ROUTER_V6, 65002, options)]));
    let _bird = Bird::start_with(&lab.router, &bird(FIRST, 65002, Some("peer"), 100));
    ringbgp.wait_for_error(ROUTER_V6, &["role is peer", "our role provider"]);
}

// INTEROP bird: max-prefix out
#[test]
fn bird_that_says_too_much_is_held_until_it_may() {
    let Some(lab) = Lab::for_routers(&[RouterKind::Bird]) else {
        return;
    };
    let options = "import: all, maxPrefixes: {ipv4: 1}";
    let ringbgp = start(&lab, &manifests(&[neighbor(ROUTER_V6, 65002, options)]));
    let bird = Bird::start_with(&lab.router, &bird(FIRST, 65002, None, 100));
    ringbgp.wait_for_error(ROUTER_V6, &["more than the 1 prefixes"]);
    eventually("BIRD is told", || {
        let said = bird.session();
        match said.contains("Maximum number of prefixes") {
            true => Ok(()),
            false => Err(said),
        }
    });
    let options = "import: all, maxPrefixes: {ipv4: 2}";
    let [(name, text), _] = manifests(&[neighbor(ROUTER_V6, 65002, options)]);
    ringbgp.write(name, &text);
    ringbgp.wait_established(ROUTER_V6);
}

// RFC-SHOWN 4271 §9.1.2
// INTEROP frr: extended messages, roles
#[test]
fn frr_has_a_role_and_takes_long_messages() {
    let Some(lab) = Lab::for_routers(&[RouterKind::Frr, RouterKind::Bird]) else {
        return;
    };
    let options = "import: all, export: all, role: customer, roleStrict: true";
    let first = neighbor(ROUTER_V4, 65002, options);
    let ringbgp = start(&lab, &manifests(&[first, second()]));
    let _second = Bird::start_with(&lab.second, &bird(SECOND, 65003, None, 110));
    let bgpd = format!(
        "router bgp 65002
 bgp router-id {ROUTER_V4}
 no bgp ebgp-requires-policy
 no bgp network import-check
 neighbor {RINGBGP_V4} remote-as 65001
 neighbor {RINGBGP_V4} update-source {ROUTER_V4}
 neighbor {RINGBGP_V4} timers connect 1
 neighbor {RINGBGP_V4} local-role provider
 address-family ipv4 unicast
  neighbor {RINGBGP_V4} activate
  network 192.168.100.0/24
 exit-address-family
"
    );
    let frr = Frr::start_with(&lab.router, &bgpd, ROUTER_V4, RINGBGP_V4);
    ringbgp.wait_established(ROUTER_V4);
    let received = |prefix| {
        let question = ["routes", "received", "--peer", ROUTER_V4];
        ringbgp.wait_for_some_prefixes(&question, &[prefix]);
        let question = [&question[..], &[prefix]].concat();
        ringbgp.ask(&question).unwrap()[0].clone()
    };
    assert_eq!(
        received("192.168.100.0/24")["otc"],
        65002,
        "of our provider"
    );
    // It says what it was told, too: a loop, and long.
    let back = received("192.168.111.0/24");
    assert_eq!(back["largeCommunities"].as_array().unwrap().len(), LONG);
    assert_eq!(back["accepted"], false);
    eventually("FRR learned the long route", || {
        let table = frr.learned()?;
        match table.contains_key("192.168.111.0/24") {
            true => Ok(()),
            false => Err(format!("{:?}; {}", table.keys(), frr.session())),
        }
    });
    let shown = frr
        .vtysh(&["show bgp ipv4 unicast 192.168.111.0/24"])
        .unwrap();
    assert_eq!(shown.matches("65002:1:").count(), LONG, "{shown}");
}

/// IPv4 routes over IPv6, with the addresses of that as next hops, both ways.
fn ipv4_has_ipv6_next_hops(kind: RouterKind, of_neighbor: &'static str) {
    let Some(lab) = Lab::for_routers(&[kind]) else {
        return;
    };
    let spec = RouterSpec {
        over: Over::Ipv6,
        of_neighbor,
        announce: vec!["192.168.100.0/24"],
        ..RouterSpec::new(65002, 65001)
    };
    let router = kind.start(&lab, &spec);
    next_hops_are_of_the_session(&lab, &*router);
}

/// 192.0.2.0/24 goes to the router and 192.168.100.0/24 comes of it, over IPv6.
fn next_hops_are_of_the_session(lab: &Lab, router: &dyn Router) {
    let neighbor = neighbor(ROUTER_V6, 65002, "import: all");
    let ringbgp = start(lab, &manifests(&[neighbor]));
    ringbgp.wait_established(ROUTER_V6);
    let table = router.wait_for(&["192.0.2.0/24"]);
    assert_eq!(table["192.0.2.0/24"].next_hop, RINGBGP_V6);
    let received = [
        "routes",
        "received",
        "--peer",
        ROUTER_V6,
        "192.168.100.0/24",
    ];
    ringbgp.wait_for_prefixes(&received, &["192.168.100.0/24"]);
    let routes = ringbgp.ask(&received).unwrap();
    assert_eq!(routes[0]["nextHop"], ROUTER_V6, "{routes}");
    assert_eq!(routes[0]["accepted"], true, "{routes}");
}

// RFC-SHOWN 8950 §4
// INTEROP exabgp: extended next hop
#[test]
fn exabgp_has_ipv4_with_ipv6_next_hops() {
    let Some(lab) = Lab::for_routers(&[RouterKind::Exabgp]) else {
        return;
    };
    let text = format!(
        "neighbor {RINGBGP_V6} {{
  router-id {ROUTER_V4};
  local-address {ROUTER_V6};
  local-as 65002;
  peer-as 65001;
  capability {{ nexthop enable; }}
  family {{ ipv4 unicast; ipv6 unicast; }}
  nexthop {{ ipv4 unicast ipv6; }}
  static {{ route 192.168.100.0/24 next-hop {ROUTER_V6}; }}
  API
}}
"
    );
    let exabgp = Exabgp::start_with(&lab.router, &text);
    next_hops_are_of_the_session(&lab, &exabgp);
}

// RFC-SHOWN 8950 §4
// INTEROP frr: extended next hop
#[test]
fn frr_has_ipv4_with_ipv6_next_hops() {
    let offer = " neighbor PEER capability extended-nexthop";
    ipv4_has_ipv6_next_hops(RouterKind::Frr, offer);
}

// RFC-SHOWN 8950 §4
// INTEROP gobgp: extended next hop
#[test]
fn gobgp_has_ipv4_with_ipv6_next_hops() {
    let family = "  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = \"ipv4-unicast\"
";
    ipv4_has_ipv6_next_hops(RouterKind::Gobgp, family);
}

// RFC-SHOWN 9234 §4.2
// INTEROP openbgpd: roles
#[test]
fn openbgpd_has_a_role() {
    let Some(lab) = Lab::for_routers(&[RouterKind::Openbgpd]) else {
        return;
    };
    let spec = RouterSpec {
        of_neighbor: "  announce policy customer\n",
        announce: vec!["192.168.100.0/24"],
        ..RouterSpec::new(65002, 65001)
    };
    let openbgpd = Openbgpd::start(&lab, &spec);
    let with_role = |role: &str| {
        let options = format!("import: all, role: {role}, roleStrict: true");
        manifests(&[neighbor(ROUTER_V4, 65002, &options)])
    };
    let ringbgp = start(&lab, &with_role("provider"));
    ringbgp.wait_established(ROUTER_V4);
    let received = ["routes", "received", "--peer", ROUTER_V4];
    ringbgp.wait_for_prefixes(&received, &["192.168.100.0/24"]);
    // Ours goes to a customer with OTC.
    eventually("OpenBGPD shows our OTC", || {
        let shown = openbgpd.bgpctl(&["show", "rib", "detail", "192.0.2.0/24"])?;
        let otc = parse_json(&shown)?["rib"][0]["attributes"].to_string();
        match otc.contains("65001") {
            true => Ok(()),
            false => Err(format!("{shown}; {}", openbgpd.session())),
        }
    });
    let [(name, text), _] = with_role("customer");
    ringbgp.write(name, &text);
    ringbgp.wait_for_error(ROUTER_V4, &["role"]);
}

// RFC-SHOWN 8654 §4
// INTEROP exabgp: extended messages
#[test]
fn exabgp_says_and_takes_long_messages() {
    let Some(lab) = Lab::for_routers(&[RouterKind::Exabgp, RouterKind::Bird]) else {
        return;
    };
    let long: Vec<String> = (0..LONG)
        .map(|number| format!("65002:1:{number}"))
        .collect();
    let spec = RouterSpec {
        of_neighbor: "  capability { extended-message enable; }\n",
        announce: vec!["192.168.100.0/24"],
        communities: Some(["65002:1", long.join(" ").leak(), "65002:1"]),
        ..RouterSpec::new(65002, 65001)
    };
    let exabgp = RouterKind::Exabgp.start(&lab, &spec);
    let _second = Bird::start_with(&lab.second, &bird(SECOND, 65003, None, 110));
    let first = neighbor(ROUTER_V4, 65002, "import: all, export: all");
    let ringbgp = start(&lab, &manifests(&[first, second()]));
    ringbgp.wait_established(ROUTER_V4);
    let received = [
        "routes",
        "received",
        "--peer",
        ROUTER_V4,
        "192.168.100.0/24",
    ];
    ringbgp.wait_for_prefixes(&received, &["192.168.100.0/24"]);
    let routes = ringbgp.ask(&received).unwrap();
    let communities = routes[0]["largeCommunities"].as_array().unwrap();
    assert_eq!(communities.len(), LONG);
    eventually("ExaBGP heard the long route", || {
        let table = exabgp.learned()?;
        match table
            .get("192.168.111.0/24")
            .map(|route| route.large_communities.len())
        {
            Some(LONG) => Ok(()),
            other => Err(format!("{other:?}; {}", exabgp.session())),
        }
    });
}

impl Bird {
    /// What BIRD says of a prefix that it learned from ringbgp.
    fn wait_for_one(&self, prefix: &str) -> String {
        eventually(&format!("BIRD holds {prefix}"), || {
            let answer = self.birdc(&["show", "route", "all", prefix, "protocol", "ringbgp"])?;
            match answer.contains("BGP.as_path") {
                true => Ok(answer),
                false => Err(format!("{answer}; {}", self.session())),
            }
        })
    }
}
