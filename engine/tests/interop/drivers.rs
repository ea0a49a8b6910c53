//! The lab itself: the drivers of the routers, tried on each other without ringbgp. Where these
//! fail, nothing that the other tests say about ringbgp counts.

use crate::lab::{Lab, RINGBGP_V4, RINGBGP_V6};
use crate::process::{Process, output};
use crate::router::{Over, RouterKind, RouterSpec};

/// BIRD stands in for ringbgp: the same addresses, the same session.
fn bird_in_place_of_ringbgp(kind: RouterKind, over: Over) {
    let Some(lab) = Lab::for_routers(&[kind, RouterKind::Bird]) else {
        return;
    };
    let mut spec = RouterSpec::new(65002, 65001);
    spec.over = over;
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let configuration = directory.path().join("bird.conf");
    let text = format!(
        "router id {RINGBGP_V4};
protocol device {{}}
protocol static {{ ipv4; route 10.0.1.0/24 blackhole {{ bgp_community.add((65001, 7)); }}; }}
protocol static {{ ipv6; route 2001:db8:1::/48 blackhole; }}
protocol bgp {{
  local {local} as 65001; neighbor {peer} as 65002;
  connect delay time 1; connect retry time 1; error wait time 1, 2;
  {families}
}}
",
        local = spec.peer(),
        peer = spec.local(),
        families = match over {
            Over::Ipv4 => "ipv4 { import all; export where source = RTS_STATIC; };",
            Over::Ipv6 => "ipv6 { import all; export where source = RTS_STATIC; };",
        },
    );
    std::fs::write(&configuration, text).expect("bird.conf is written");
    let mut bird = lab.node.command(crate::bird::BIRD);
    bird.arg("-f").arg("-c").arg(&configuration);
    bird.arg("-s").arg(directory.path().join("bird.ctl"));
    let _bird = Process::start("bird", &mut bird, &directory.path().join("bird.log"));

    let router = kind.start(&lab, &spec);
    let (prefix, next_hop) = match over {
        Over::Ipv4 => ("10.0.1.0/24", RINGBGP_V4),
        Over::Ipv6 => ("2001:db8:1::/48", RINGBGP_V6),
    };
    let table = router.wait_for(&[prefix]);
    assert_eq!(table[prefix].next_hop, next_hop);
    assert_eq!(table[prefix].as_path, [65001]);
    if over == Over::Ipv4 {
        assert_eq!(table[prefix].communities, ["65001:7"]);
    }
}

#[test]
fn frr_learns_from_bird() {
    bird_in_place_of_ringbgp(RouterKind::Frr, Over::Ipv4);
    bird_in_place_of_ringbgp(RouterKind::Frr, Over::Ipv6);
}

#[test]
fn bird_learns_from_bird() {
    bird_in_place_of_ringbgp(RouterKind::Bird, Over::Ipv4);
    bird_in_place_of_ringbgp(RouterKind::Bird, Over::Ipv6);
}

#[test]
fn gobgp_learns_from_bird() {
    bird_in_place_of_ringbgp(RouterKind::Gobgp, Over::Ipv4);
    bird_in_place_of_ringbgp(RouterKind::Gobgp, Over::Ipv6);
}

#[test]
fn openbgpd_learns_from_bird() {
    bird_in_place_of_ringbgp(RouterKind::Openbgpd, Over::Ipv4);
    bird_in_place_of_ringbgp(RouterKind::Openbgpd, Over::Ipv6);
}

#[test]
fn the_cable_carries_packets_of_both_families() {
    let Some(lab) = Lab::for_routers(&[]) else {
        return;
    };
    for address in [RINGBGP_V4, RINGBGP_V6] {
        let mut ping = lab.router.command("ip");
        ping.args(["route", "get", address]);
        let route = output(&mut ping).expect("a route exists");
        assert!(route.contains("eth0"), "{route}");
    }
}
