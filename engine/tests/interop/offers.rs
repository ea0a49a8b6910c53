//! What routers offer with everything switched on, read from their OPENs: `docs/interop.md` says of
//! what they lack that they do still.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use codec::{Capability, Message, Open};
use engine::time::Clock;
use tempfile::TempDir;

use crate::bird::Bird;
use crate::cells::{FEATURES, NOT_OFFERED};
use crate::exabgp::Exabgp;
use crate::frr::Frr;
use crate::gobgp::GOBGPD;
use crate::lab::{Lab, RINGBGP_V4, RINGBGP_V6, ROUTER_V4, ROUTER_V6};
use crate::openbgpd::BGPD;
use crate::process::{DEADLINE, Process};
use crate::router::RouterKind;

/// The first OPEN that a router sends to ringbgp's address.
fn open<R>(lab: &Lab, address: &str, start: impl FnOnce() -> R) -> Open {
    let octets = std::thread::scope(|scope| {
        let listening = scope.spawn(|| {
            lab.node.enter();
            let listener = TcpListener::bind((address, 179)).expect("the port is free");
            listener.set_nonblocking(true).expect("it need not block");
            first_message(&listener)
        });
        let _router = start();
        listening.join().expect("the router connects")
    });
    match codec::parse_message(&octets) {
        Ok(Message::Open(open)) => open,
        other => panic!("{other:?} in place of an OPEN"),
    }
}

fn first_message(listener: &TcpListener) -> Vec<u8> {
    let clock = Clock::system();
    let start = clock.now();
    while clock.now().saturating_since(start) < DEADLINE {
        let Ok((mut stream, _)) = listener.accept() else {
            std::thread::sleep(Duration::from_millis(50));
            continue;
        };
        stream.set_nonblocking(false).expect("it may block");
        let timeout = Some(Duration::from_secs(5));
        stream.set_read_timeout(timeout).expect("it may end");
        let mut octets = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut buffer) {
            octets.extend_from_slice(&buffer[..read]);
            let framed = codec::frame(&octets, codec::MAX_LEN).expect("it is framed");
            if let Some(length) = framed {
                octets.truncate(length);
                // FRR may give its first connection up with 5/0 before it opens the next one.
                if matches!(codec::parse_message(&octets), Ok(Message::Notification(_))) {
                    break;
                }
                return octets;
            }
        }
    }
    panic!("no OPEN came within {DEADLINE:?}");
}

/// Whether an OPEN offers a feature.
fn offers(open: &Open, feature: &str) -> bool {
    open.capabilities.iter().any(|capability| match capability {
        Capability::RouteRefresh => feature == "refresh",
        Capability::EnhancedRouteRefresh => feature == "enhanced refresh",
        Capability::GracefulRestart {
            notification,
            families,
            ..
        } => match feature {
            "restart" => !families.is_empty(),
            "notification" => *notification,
            _ => false,
        },
        Capability::LongLivedGracefulRestart(families) => {
            feature == "long-lived restart" && !families.is_empty()
        }
        Capability::AddPath(_) => feature == "add-path",
        Capability::ExtendedMessages => feature == "extended messages",
        Capability::ExtendedNextHop(_) => feature == "extended next hop",
        Capability::Role(_) => feature == "roles",
        _ => false,
    })
}

/// The router offers everything but what the page says it lacks.
fn check(name: &str, open: &Open) {
    for feature in FEATURES.iter().filter(|feature| feature.is_offered) {
        assert_eq!(
            offers(open, feature.name),
            !feature.lacks.contains(&name) && !NOT_OFFERED.contains(&(name, feature.name)),
            "{name}: {}: {:?}",
            feature.name,
            open.capabilities
        );
    }
}

#[test]
fn bird_offers_what_the_page_says() {
    let Some(lab) = Lab::for_routers(&[RouterKind::Bird]) else {
        return;
    };
    let text = format!(
        "log stderr all;
router id {ROUTER_V4};
protocol device {{}}
protocol bgp ringbgp {{
  local {ROUTER_V4} as 65002;
  neighbor {RINGBGP_V4} as 65001;
  direct;
  strict bind yes;
  connect delay time 1;
  connect retry time 1;
  error wait time 1, 2;
  local role customer;
  enable extended messages yes;
  graceful restart on;
  long lived graceful restart on;
  ipv4 {{ import all; export none; add paths on; extended next hop on; }};
  ipv6 {{ import all; export none; add paths on; }};
}}
"
    );
    let open = open(&lab, RINGBGP_V4, || Bird::start_with(&lab.router, &text));
    check("bird", &open);
}

/// Over IPv6, without which it does not offer IPv6 next hops.
#[test]
fn frr_offers_what_the_page_says() {
    let Some(lab) = Lab::for_routers(&[RouterKind::Frr]) else {
        return;
    };
    let peer = RINGBGP_V6;
    let of_family = |family: &str| {
        format!(
            " address-family {family} unicast
  neighbor {peer} activate
  neighbor {peer} addpath-tx-all-paths
 exit-address-family
"
        )
    };
    let text = format!(
        "router bgp 65002
 bgp router-id {ROUTER_V4}
 no bgp default ipv4-unicast
 no bgp ebgp-requires-policy
 bgp graceful-restart
 bgp graceful-restart preserve-fw-state
 bgp long-lived-graceful-restart stale-time 3600
 neighbor {peer} remote-as 65001
 neighbor {peer} update-source {ROUTER_V6}
 neighbor {peer} timers connect 1
 neighbor {peer} local-role customer
 neighbor {peer} capability extended-nexthop
{}{}",
        of_family("ipv4"),
        of_family("ipv6")
    );
    let open = open(&lab, peer, || {
        Frr::start_with(&lab.router, &text, ROUTER_V6, peer)
    });
    check("frr", &open);
}

#[test]
fn gobgp_offers_what_the_page_says() {
    let Some(lab) = Lab::for_routers(&[RouterKind::Gobgp]) else {
        return;
    };
    let of_family = |family: &str| {
        format!(
            "  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = \"{family}\"
    [neighbors.afi-safis.mp-graceful-restart.config]
      enabled = true
    [neighbors.afi-safis.long-lived-graceful-restart.config]
      enabled = true
      restart-time = 3600
    [neighbors.afi-safis.add-paths.config]
      receive = true
      send-max = 8
"
        )
    };
    let text = format!(
        "[global.config]
  as = 65002
  router-id = \"{ROUTER_V4}\"
[[neighbors]]
  [neighbors.config]
    neighbor-address = \"{RINGBGP_V4}\"
    peer-as = 65001
  [neighbors.transport.config]
    local-address = \"{ROUTER_V4}\"
  [neighbors.timers.config]
    connect-retry = 1
    idle-hold-time-after-reset = 1
  [neighbors.graceful-restart.config]
    enabled = true
    restart-time = 60
    notification-enabled = true
    long-lived-enabled = true
{}{}",
        of_family("ipv4-unicast"),
        of_family("ipv6-unicast")
    );
    let directory = TempDir::new().expect("a temporary directory");
    let at = |name: &str| directory.path().join(name);
    fs::write(at("gobgp.toml"), text).expect("gobgp.toml is written");
    let mut command = lab.router.command(GOBGPD);
    command
        .args(["-t", "toml", "--pprof-disable", "-f"])
        .arg(at("gobgp.toml"))
        .arg("--api-hosts")
        .arg(format!("unix://{}", at("api.sock").display()));
    let open = open(&lab, RINGBGP_V4, || {
        Process::start("gobgpd", &mut command, &at("gobgpd.log"))
    });
    check("gobgp", &open);
}

// INTEROP-LACKS openbgpd: restart in: asks nobody to keep routes: its capability names no family
#[test]
fn openbgpd_offers_what_the_page_says() {
    let Some(lab) = Lab::for_routers(&[RouterKind::Openbgpd]) else {
        return;
    };
    let directory = TempDir::new().expect("a temporary directory");
    let at = |name: &str| directory.path().join(name);
    let text = format!(
        "AS 65002
router-id {ROUTER_V4}
listen on {ROUTER_V4}
socket \"{}\"
fib-update no
neighbor {RINGBGP_V4} {{
  remote-as 65001
  local-address {ROUTER_V4}
  announce IPv4 unicast
  announce IPv6 unicast
  announce refresh yes
  announce enhanced refresh yes
  announce restart yes
  announce add-path recv yes
  announce add-path send all
  announce policy customer
}}
",
        at("bgpd.sock").display()
    );
    fs::create_dir_all("/run/openbgpd").expect("/run/openbgpd can be made");
    fs::write(at("bgpd.conf"), text).expect("bgpd.conf is written");
    fs::set_permissions(at("bgpd.conf"), fs::Permissions::from_mode(0o600))
        .expect("the configuration's mode is set");
    let mut command = lab.router.command(BGPD);
    command.args(["-d", "-v", "-f"]).arg(at("bgpd.conf"));
    let open = open(&lab, RINGBGP_V4, || {
        Process::start("openbgpd", &mut command, &at("bgpd.log"))
    });
    check("openbgpd", &open);
}

#[test]
fn exabgp_offers_what_the_page_says() {
    let Some(lab) = Lab::for_routers(&[RouterKind::Exabgp]) else {
        return;
    };
    let text = format!(
        "neighbor {RINGBGP_V4} {{
  router-id {ROUTER_V4};
  local-address {ROUTER_V4};
  local-as 65002;
  peer-as 65001;
  capability {{
    route-refresh enable;
    graceful-restart 120;
    extended-message enable;
    nexthop enable;
    add-path send/receive;
  }}
  family {{ ipv4 unicast; ipv6 unicast; }}
  nexthop {{ ipv4 unicast ipv6; }}
  add-path {{ ipv4 unicast; ipv6 unicast; }}
  API
}}
"
    );
    let open = open(&lab, RINGBGP_V4, || Exabgp::start_with(&lab.router, &text));
    check("exabgp", &open);
}
